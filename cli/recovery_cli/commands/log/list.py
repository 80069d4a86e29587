"""`recovery log list`: recoveries that fit a filter, one a line."""

import json
from itertools import count
from typing import Any

import rich_click as click

from recovery_cli.databases import database_option, reading
from recovery_cli.documents import row_document
from recovery_cli.filtering import asked, filter_options, wanted
from recovery_cli.listing import show_rows
from recovery_cli.options import json_option

USUAL = 100


@click.command("list")
@database_option
@filter_options
@click.option("--limit", type=click.IntRange(min=0), default=USUAL, show_default=True, metavar="N", help="At most.")
@click.option("--all", "everything", is_flag=True, help="As many as there are.")
@json_option
@click.pass_context
def command(
    ctx: click.RichContext, /, database: str, limit: int, everything: bool, as_json: bool, **given: Any
) -> None:
    """List recoveries, by business day. What is left out does not matter; of a filter given twice either will do.

    \b
    Examples:
      recovery log list --database shop.db
      recovery log list --site S001 --from 2026-11-01 --to 2026-11-15
      recovery log list --approver mgr-1 --amount-from 250 --status granted --status fulfilled
      recovery log list --line standard --outcome escalate --all --json
    """
    with reading(database) as log:
        filter = wanted(ctx, log, given)
        with asked():
            number = log.count(filter)
            rows = log.recoveries(filter, limit=None if everything else limit)
        with rows:
            if as_json:
                _print_json(map(row_document, rows), number)
                return
            show_rows(rows)
    if not number:
        click.echo("no recovery fits", err=True)
    elif number > limit and not everything:
        click.echo(f"... {number - limit:,} more; --all lists them", err=True)


def _print_json(documents: Any, number: int) -> None:
    """One document, written as it is read: a log may be larger than memory."""
    click.echo(f'{{\n  "count": {number},\n  "recoveries": [', nl=False)
    for at, document in zip(count(), documents, strict=False):
        click.echo(f"{',' if at else ''}\n    {json.dumps(document, ensure_ascii=False)}", nl=False)
    click.echo("\n  ]\n}")
