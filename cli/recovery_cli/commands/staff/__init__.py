"""`recovery staff`: the directory of the people who may act."""

import rich_click as click

from recovery_cli.verbs import Verbs

VERBS = {
    "check": ("check", "Find what the people leave open: amounts that nobody at a site can approve."),
    "show": ("show", "List the people: who, in which role, where, when, with which limit of their own."),
}
"""Every verb with its module and what it does."""


@click.group("staff", cls=Verbs, verbs=VERBS, package="recovery_cli.commands.staff")
def command() -> None:
    """Look at a staff directory. Each verb answers in JSON with --json.

    \b
    Examples:
      recovery staff check staff.yaml --policy policies/
      recovery staff show staff.yaml
    """
