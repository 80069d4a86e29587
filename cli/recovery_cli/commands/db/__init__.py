"""`recovery db`: the database that holds the log."""

import rich_click as click

from recovery_cli.verbs import Verbs

VERBS = {
    "status": ("status", "Say what the database holds, and whether this engine can use it."),
    "upgrade": ("upgrade", "Bring tables of an older version to that of this engine."),
}
"""Every verb with its module and what it does."""


@click.group("db", cls=Verbs, verbs=VERBS, package="recovery_cli.commands.db")
def command() -> None:
    """Look at the database that holds the log, and bring it up to date. Each verb answers in JSON with --json.

    \b
    Examples:
      recovery db status --database shop.db
      recovery db upgrade --database shop.db
    """
