"""`recovery db upgrade`: the tables of an older version, as this engine has them."""

import rich_click as click

from recovery_cli.databases import database_option
from recovery_cli.options import json_option
from recovery_cli.progress import bar
from recovery_cli.render import count, print_json
from recovery_engine import upgrade


@click.command("upgrade")
@database_option
@json_option
def command(database: str, as_json: bool) -> None:
    """Bring the tables of a log to the version of this engine: once, after a newer recovery-engine was installed.

    What follows from the entries is worked out again from them; the entries are not touched, and must agree with
    themselves. It is done whole or not at all, and meanwhile nobody else gets in. Stop programs that still use an
    older engine before: their next write would be refused. Again, it does nothing.

    \b
    Examples:
      recovery db upgrade --database shop.db
      recovery db upgrade --database postgresql://owner@db/shop

    Exit codes: 0 upgraded, or nothing to do, 1 the entries were tampered with, 2 unusable input, 75 busy: try again,
    76 the connection was lost: run it again to find out.
    """
    with bar("upgrading") as told:
        done = upgrade(database, progress=told)
    if as_json:
        print_json(done._asdict())
    elif done.before == done.after:
        click.echo(f"the tables are of version {done.after} already: nothing to do")
    else:
        click.echo(
            f"upgraded from version {done.before} to {done.after}, with {count(done.entries, 'entry')} read again"
        )
