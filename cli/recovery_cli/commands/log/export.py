"""`recovery log export`: the log taken elsewhere, for spreadsheets, BI tools, and auditors with a copy of their own."""

from typing import Any

import rich_click as click

from recovery_cli.databases import database_option, file_option, reading
from recovery_cli.files import STANDARD_STREAM, Stdout, keep_apart
from recovery_cli.filtering import asked, filter_options, wanted
from recovery_cli.options import json_option
from recovery_cli.progress import bar
from recovery_cli.render import count, print_json
from recovery_engine import Filter

FORMATS = {
    "csv": "A table for spreadsheets.",
    "jsonl": "An object a line.",
    "parquet": "A table for BI tools; needs duckdb.",
    "sqlite": "The whole log as one file that anybody can query.",
}


def _formats(command: Any) -> Any:
    for name, help in reversed(FORMATS.items()):
        metavar = "FILE" if name == "sqlite" else "FILE|-"
        command = file_option(f"--{name}", name, metavar=metavar, help=help)(command)
    return command


@click.command("export")
@database_option
@_formats
@click.option("--entries", is_flag=True, help="The entries themselves; as JSONL their canonical bytes.")
@click.option(
    "--people",
    is_flag=True,
    help="Into SQLite also who customers are and texts about them (else `verify --without-people`).",
)
@filter_options
@json_option
@click.pass_context
def command(
    ctx: click.RichContext,
    /,
    database: str,
    entries: bool,
    people: bool,
    as_json: bool,
    csv: str | None,
    jsonl: str | None,
    parquet: str | None,
    sqlite: str | None,
    **given: Any,
) -> None:
    """Write recoveries, or the entries themselves, to a file; customers stay tokens.

    A file gets its name when it is complete. In CSV a text that a spreadsheet would take for a formula has an
    apostrophe before it.

    \b
    Examples:
      recovery log export --csv november.csv --month 2026-11
      recovery log export --jsonl - --site S001 | jq .amount_granted
      recovery log export --entries --jsonl log.jsonl
      recovery log export --parquet log.parquet
      recovery log export --sqlite copy.db
    """
    named = {name: out for name, out in zip(FORMATS, (csv, jsonl, parquet, sqlite), strict=True) if out}
    if len(named) != 1:
        raise click.UsageError("name one file: --csv, --jsonl, --parquet or --sqlite", ctx)
    [(format, out)] = named.items()
    if as_json and out == STANDARD_STREAM:
        raise click.UsageError("--json and the export both go to stdout: name a file", ctx)
    keep_apart(f"--{format}", out, [database])
    if format == "sqlite":
        if entries or any(given.values()):
            raise click.UsageError("--sqlite takes the whole log: leave out the filter", ctx)
        number, what = _whole(database, out, people), "row"
    elif people:
        raise click.UsageError("--people goes with --sqlite", ctx)
    else:
        number, what = _some(ctx, database, format, out, entries, given), "entry" if entries else "recovery"
    if as_json:
        print_json({"file": out, "format": format, "rows": number})
    else:
        click.echo(f"wrote {count(number, what)}" + ("" if out == STANDARD_STREAM else f" to {out}"), err=True)


def _whole(database: str, out: str, people: bool) -> int:
    with reading(database) as log, bar("copying") as told:
        return log.export_sqlite(out, people=people, progress=told)


def _some(ctx: click.Context, database: str, format: str, out: str, entries: bool, given: dict[str, Any]) -> int:
    sink: Any = Stdout() if out == STANDARD_STREAM else out
    with reading(database) as log:
        filter = wanted(ctx, log, given)

        def total() -> int | None:
            if not entries:
                return log.count(filter)
            return sum(head.size for head in log.streams()) if filter == Filter() else None

        with asked(), bar("exporting", total) as told:
            what = "entries" if entries else "recoveries"
            return log.export(what, format, sink, filter, progress=told)  # type: ignore[arg-type]
