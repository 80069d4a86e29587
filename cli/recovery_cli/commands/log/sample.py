"""`recovery log sample`: recoveries drawn by chance, so that somebody else can draw the same."""

import secrets
from typing import Any

import rich_click as click

from recovery_cli.databases import database_option, reading
from recovery_cli.documents import document, row_document
from recovery_cli.filtering import asked, filter_options, wanted
from recovery_cli.listing import show_rows
from recovery_cli.options import json_option
from recovery_cli.render import Figures, console, print_json


@click.command("sample")
@click.argument("size", type=click.IntRange(min=1))
@database_option
@click.option("--seed", metavar="TEXT", help="What the draw follows from; otherwise made up, and said.")
@filter_options
@json_option
@click.pass_context
def command(ctx: click.RichContext, /, size: int, database: str, seed: str | None, as_json: bool, **given: Any) -> None:
    """Draw SIZE recoveries by chance, in proportion to what became of them, at least one of each kind.

    The same log and the same seed give the same draw: in each kind those come first whose SHA-256 of the seed, a line
    feed and their id is lowest.

    \b
    Examples:
      recovery log sample 25 --seed audit-2026-11 --month 2026-11
      recovery log sample 100 --seed 7 --outcome approve --json
    """
    seed = secrets.token_hex(8) if seed is None else seed
    with reading(database) as log:
        filter = wanted(ctx, log, given)
        with asked():
            sample = log.sample(filter, size=size, seed=seed)
    if as_json:
        rows = [row_document(row) for row in sample.rows]
        print_json(document(sample) | {"rows": rows})
        return
    show_rows(sample.rows)
    out = console()
    out.print()
    made = Figures("kind", "there are", "drawn")
    for stratum in sample.strata:
        made.add_row(f"{stratum.outcome}, {stratum.status}", f"{stratum.population:,}", f"{stratum.drawn:,}")
    made.add_row("in all", f"{sample.population:,}", f"{len(sample.rows):,}", style="bold")
    out.print(made)
    out.print(f"seed: {sample.seed}", soft_wrap=True)
