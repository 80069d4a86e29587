"""`recovery delegations`: who lends authority to whom."""

import time

import rich_click as click

from recovery_cli.databases import database_option, writing
from recovery_cli.lending import delegation_document, show_delegation
from recovery_cli.options import json_option
from recovery_cli.render import print_json


@click.command("delegations")
@click.argument("person", required=False)
@database_option
@click.option("--all", "everything", is_flag=True, help="Also what is over or was revoked.")
@json_option
def command(person: str | None, database: str, everything: bool, as_json: bool) -> None:
    """List what is lent now or later: all of it, or what is lent by or to a PERSON.

    \b
    Examples:
      recovery delegations --database shop.db
      recovery delegations lead-1 --all --json
    """
    with writing(database) as engine:
        found = engine.delegations(person, all_of_them=everything)
    if as_json:
        print_json({"count": len(found), "delegations": [delegation_document(one) for one in found]})
        return
    for one in found:
        show_delegation(one, time.time_ns() // 1000)
    if not found:
        click.echo("nothing is lent", err=True)
