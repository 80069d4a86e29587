"""`recovery fulfil`: what was granted is in the customer's hands."""

from typing import Any

import rich_click as click

from recovery_cli.databases import database_option
from recovery_cli.steps import Step, recovery_argument, step_options, taken

STEP = Step(
    "a hand-over",
    '{"recovery": "...", "reference": "..."}',
    fields=("recovery", "reference", "by", "id"),
    needs=("recovery",),
    take=lambda engine, given: engine.fulfil(**given),
)


@click.command("fulfil")
@recovery_argument("granted")
@database_option
@click.option("--reference", metavar="ID", help="Of the payment, the voucher, the new order.")
@click.option("--by", metavar="ID", help="Who handed it over; otherwise who asked for it.")
@step_options
@click.pass_context
def command(ctx: click.RichContext, /, **given: Any) -> None:
    """Say that what was granted is in the customer's hands. The same again gets the same answer.

    In JSON it has the fields `recovery`, `reference`, `by` and `id`.

    \b
    Examples:
      recovery fulfil pos-7-123 --reference rf-9
      recovery fulfil pos-7-123 --by emp-104 --json
      recovery fulfil --json-lines < handed-over.jsonl

    Exit codes: 0 done, 1 some lines were refused, 2 it cannot follow or the database cannot be used, 75 busy and
    nothing stored: ask again, 76 nobody knows: ask again.
    """
    taken(ctx, STEP, **given)
