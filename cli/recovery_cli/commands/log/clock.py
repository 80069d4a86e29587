"""`recovery log clock`: how the clock stands to the last entries, and the word that it is right."""

import time
from typing import TYPE_CHECKING

import rich_click as click

from recovery_cli.databases import database_option, reading, writing
from recovery_cli.documents import in_utc, iso, receipt_document
from recovery_cli.options import json_option
from recovery_cli.render import Figures, console, plain, print_json

if TYPE_CHECKING:
    from recovery_engine import StreamHead


@click.command("clock")
@database_option
@click.option("--accept", is_flag=True, help="Write that the clock is right, where it stands too far off.")
@click.option("--by", metavar="ID", help="Who answers for it.")
@json_option
@click.pass_context
def command(ctx: click.RichContext, database: str, accept: bool, by: str | None, as_json: bool) -> None:
    """Show how this machine's clock stands to the last entry of each stream, or accept the clock that counts.

    More than an hour behind the last entry or 400 days ahead of it nothing is written, until somebody accepts the
    clock: then `clock_set` stands in the log, and entries follow it. In PostgreSQL the server's clock counts.

    \b
    Examples:
      recovery log clock
      recovery log clock --accept --by owner-1

    Exit codes: 0 fine, 2 unusable input, 75 busy: try again, 76 nobody knows: try again.
    """
    if by and not accept:
        raise click.UsageError("--by goes with --accept", ctx)
    if not accept:
        with reading(database) as log:
            _show(log.streams(), as_json)
        return
    with writing(database) as engine:
        receipts = engine.accept_clock(by=by)
    if as_json:
        print_json({"accepted": [receipt_document(receipt) for receipt in receipts]})
        return
    for receipt in receipts:
        click.echo(f"accepted {in_utc(receipt.at_us)}  [{receipt.stream} {receipt.seq}]")
    if not receipts:
        click.echo("nothing to accept: the clock is near enough to every last entry")


def _show(heads: "tuple[StreamHead, ...]", as_json: bool) -> None:
    now_us = time.time_ns() // 1000
    if as_json:
        streams = [{"stream": head.stream, "last_at": iso(head.last_at_us)} for head in heads]
        print_json({"now": iso(now_us), "streams": streams})
        return
    made = Figures("stream", "last entry", "the clock is")
    for head in heads:
        made.add_row(plain(head.stream), in_utc(head.last_at_us), _apart(now_us - head.last_at_us))
    console().print(made)
    click.echo(f"by this machine's clock it is {in_utc(now_us)}")


def _apart(us: int) -> str:
    seconds = abs(us) // 1_000_000
    days, hours = divmod(seconds // 3600, 24)
    said = f"{days} d {hours} h" if days else f"{hours} h {seconds % 3600 // 60} min"
    return f"{said} {'ahead' if us >= 0 else 'behind'}"
