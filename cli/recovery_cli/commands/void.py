"""`recovery void`: what was granted is taken back before it reached the customer."""

from typing import Any

import rich_click as click

from recovery_cli.databases import database_option
from recovery_cli.steps import Step, recovery_argument, step_options, taken

STEP = Step(
    "a void",
    '{"recovery": "...", "reason": "...", "by": "..."}',
    fields=("recovery", "reason", "by", "id"),
    needs=("recovery", "reason", "by"),
    take=lambda engine, given: engine.void(**given),
)


@click.command("void")
@recovery_argument("granted")
@database_option
@click.option("--reason", metavar="TEXT", help="Why, in a word or a sentence.")
@click.option("--by", metavar="ID", help="Who takes it back.")
@step_options
@click.pass_context
def command(ctx: click.RichContext, /, **given: Any) -> None:
    """Take back what was granted, before it reached the customer. The money counts no longer; the case still does.

    The same again gets the same answer. In JSON it has the fields `recovery`, `reason`, `by` and `id`.

    \b
    Examples:
      recovery void pos-7-123 --reason "given twice" --by emp-7
      recovery void --json-file void.json --json

    Exit codes: 0 done, 1 some lines were refused, 2 it cannot follow or the database cannot be used, 75 busy and
    nothing stored: ask again, 76 nobody knows: ask again.
    """
    taken(ctx, STEP, **given)
