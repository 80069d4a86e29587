"""`recovery db upgrade`: the tables of an older engine become those of this one."""

import rich_click as click

from recovery_cli.databases import database_option
from recovery_cli.options import json_option
from recovery_cli.progress import bar
from recovery_cli.render import print_json
from recovery_engine import upgrade


@click.command("upgrade")
@database_option
@json_option
def command(database: str, as_json: bool) -> None:
    """Bring the tables of an older engine to those of this one.

    Close every engine that has the log open. What follows from the entries is worked out again, in one transaction:
    where it is cut off, nothing has changed. The entries, policies, checkpoints and what is kept about people stay as
    they are. A log whose entries do not agree with themselves is refused.

    \b
    Examples:
      recovery db upgrade --database shop.db
      recovery db upgrade --database postgresql://app@db/shop --json

    Exit codes: 0 upgraded, or nothing to do, 1 the entries were tampered with, 2 unusable input, 75 busy: try again.
    """
    with bar("upgrading") as told:
        before, version = upgrade(database, progress=told)
    if as_json:
        print_json({"version_before": before, "version": version})
    elif before == version:
        click.echo(f"nothing to do: the tables are of version {before}")
    else:
        click.echo(f"upgraded from version {before} to {version}")
