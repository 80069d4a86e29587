"""`recovery log forget`: who a customer is, erased; and what that does not reach."""

import rich_click as click

from recovery_cli.databases import database_option, writing
from recovery_cli.documents import receipt_document
from recovery_cli.options import json_option
from recovery_cli.render import plain, print_json

LIMITS = (
    "who comes back is a new customer: what was given before counts for nobody any more",
    "case, receipt, request and payment references still lead to the person through your own systems",
    "backups, exports and copies made before still hold it: let them age out",
)


@click.command("forget")
@click.argument("customer")
@database_option
@click.option("--ground", required=True, metavar="TEXT", help="Why, such as `asked for it`; it stays in the log.")
@click.option("--by", metavar="ID", help="Who answers for it.")
@json_option
def command(customer: str, database: str, ground: str, by: str | None, as_json: bool) -> None:
    """Erase who CUSTOMER is, your own reference: the link to it, and every name, contact and note.

    The entries stay, under a token that nobody can resolve any more, and the log still verifies.

    \b
    Examples:
      recovery log forget K-4711 --ground "asked for it" --by dpo-1

    Exit codes: 0 forgotten, 2 nobody is known by that reference, 75 busy: try again, 76 nobody knows: try again.
    """
    with writing(database) as engine:
        forgotten = engine.forget(customer, ground, by=by)
    receipt = forgotten.log_receipt
    if as_json:
        done = {"token": forgotten.token, "fields": forgotten.fields, "log_receipt": receipt_document(receipt)}
        print_json({**done, "limits": LIMITS})
        return
    erased = ", ".join(forgotten.fields)
    click.echo(f"forgotten: {plain(forgotten.token)}; erased: {erased}  [{receipt.stream} {receipt.seq}]")
    click.echo("what this does not reach:")
    for limit in LIMITS:
        click.echo(f"  - {limit}")
