"""`recovery log rebuild`: the tables beside the entries, worked out again."""

import rich_click as click

from recovery_cli.databases import database_option
from recovery_cli.documents import document
from recovery_cli.options import json_option
from recovery_cli.progress import bar
from recovery_cli.render import count, plain, print_json
from recovery_engine import rebuild


@click.command("rebuild")
@database_option
@json_option
def command(database: str, as_json: bool) -> None:
    """Work the tables beside the entries out again: where recoveries stand, what counts against limits.

    It is the cure where `verify` says that they drifted. A log whose entries do not agree with themselves is refused.
    Meanwhile nothing can be written.

    \b
    Examples:
      recovery log rebuild --database shop.db

    Exit codes: 0 rebuilt, 1 the entries were tampered with, 2 unusable input, 75 busy: try again.
    """
    with bar("rebuilding") as told:
        report = rebuild(database, progress=told)
    if as_json:
        print_json({"entries": report.entries, "found": report.found, "findings": document(report.findings)})
        return
    for finding in report.findings:
        click.echo(f"was wrong: {plain(str(finding))}")
    if report.found > len(report.findings):
        click.echo(f"... and {report.found - len(report.findings):,} more")
    click.echo(f"rebuilt from {count(report.entries, 'entry')}")
