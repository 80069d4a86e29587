"""`recovery amend`: the requester asks for less."""

from typing import Any

import rich_click as click

from recovery_cli.databases import database_option
from recovery_cli.steps import Step, recovery_argument, step_options, taken, with_amount

STEP = Step(
    "a change",
    '{"recovery": "...", "amount": "..."}',
    fields=("recovery", "amount", "by", "id"),
    needs=("recovery", "amount"),
    take=lambda engine, given: engine.amend(**with_amount(engine, given)),
)


@click.command("amend")
@recovery_argument("pending")
@database_option
@click.option("--amount", metavar="AMOUNT", help="Less than was asked for before, such as `80`.")
@click.option("--by", metavar="ID", help="Who asks for less; otherwise who asked for it.")
@step_options
@click.pass_context
def command(ctx: click.RichContext, /, **given: Any) -> None:
    """Ask for less than before; what was agreed to stands as far as it goes. For anything else withdraw, and ask anew.

    In JSON it has the fields `recovery`, `amount`, `by` and `id`.

    \b
    Examples:
      recovery amend pos-7-123 --amount 80
      recovery amend --json-file less.json --json

    Exit codes: 0 done, 1 some lines were refused, 2 it cannot follow or the database cannot be used, 75 busy and
    nothing stored: ask again, 76 nobody knows: ask again.
    """
    taken(ctx, STEP, **given)
