"""`recovery withdraw`: the requester takes back what is pending."""

from typing import Any

import rich_click as click

from recovery_cli.databases import database_option
from recovery_cli.steps import Step, recovery_argument, step_options, taken

STEP = Step(
    "a withdrawal",
    '{"recovery": "...", "reason": "..."}',
    fields=("recovery", "reason", "by", "id"),
    needs=("recovery",),
    take=lambda engine, given: engine.withdraw(**given),
)


@click.command("withdraw")
@recovery_argument("pending")
@database_option
@click.option("--reason", metavar="TEXT", help="Why, in a word or a sentence.")
@click.option("--by", metavar="ID", help="Who takes it back; otherwise who asked for it.")
@step_options
@click.pass_context
def command(ctx: click.RichContext, /, **given: Any) -> None:
    """Take back your request, while it is pending. The same again gets the same answer.

    In JSON it has the fields `recovery`, `reason`, `by` and `id`.

    \b
    Examples:
      recovery withdraw pos-7-123 --reason "settled otherwise"
      recovery withdraw --json-lines < withdrawn.jsonl

    Exit codes: 0 done, 1 some lines were refused, 2 it cannot follow or the database cannot be used, 75 busy and
    nothing stored: ask again, 76 nobody knows: ask again.
    """
    taken(ctx, STEP, **given)
