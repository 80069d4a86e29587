"""`recovery log reopen`: somebody answers for what was lost in a restore, and the log goes on."""

from typing import TYPE_CHECKING

import rich_click as click

from recovery_cli.commands.log.verify import anchors_in, vkey_option
from recovery_cli.databases import database_option, file_option, writing
from recovery_cli.documents import receipt_document
from recovery_cli.options import json_option
from recovery_cli.render import plain, print_json

if TYPE_CHECKING:
    from recovery_engine import Reopened


@click.command("reopen")
@database_option
@file_option("--anchor", "anchor_files", multiple=True, required=True, help="A checkpoint that the log lacks.")
@vkey_option
@click.option("--by", required=True, metavar="ID", help="Who answers for it.")
@json_option
@click.pass_context
def command(
    ctx: click.RichContext,
    database: str,
    anchor_files: tuple[str, ...],
    vkey_files: tuple[str, ...],
    by: str,
    as_json: bool,
) -> None:
    """Write into the log that it lacks entries which a checkpoint shows, as after a restore, and who says so.

    Until then no checkpoint is signed. What was lost stays lost: those who hold receipts for it can still show them.

    \b
    Examples:
      recovery log reopen --anchor november.notes --vkey log.key.vkey --by owner-1

    Exit codes: 0 written, or nothing is lost; 2 unusable input, 75 busy: try again, 76 nobody knows: try again.
    """
    anchors = anchors_in(ctx, anchor_files, vkey_files)
    with writing(database) as engine:
        reopened = engine.reopen(anchors, by=by)
    if as_json:
        print_json({"reopened": [_document(one) for one in reopened]})
        return
    for one in reopened:
        click.echo(f"{plain(str(one.lost))}: acknowledged  [{one.receipt.stream} {one.receipt.seq}]")
    if not reopened:
        click.echo("nothing is lost: the log holds all that the anchor shows")


def _document(one: "Reopened") -> dict[str, object]:
    lost = one.lost
    return {
        "stream": lost.stream,
        "lost_size": lost.size,
        "lost_root": lost.root.hex(),
        "has": lost.has,
        "log_receipt": receipt_document(one.receipt),
    }
