"""`recovery db`: the database that holds the log."""

import rich_click as click

from recovery_cli.verbs import Verbs

VERBS = {
    "status": ("status", "Say what the database holds, and whether this engine can use it."),
}
"""Every verb with its module and what it does."""


@click.group("db", cls=Verbs, verbs=VERBS, package="recovery_cli.commands.db")
def command() -> None:
    """Look at the database that holds the log. Each verb answers in JSON with --json.

    \b
    Examples:
      recovery db status --database shop.db
    """
