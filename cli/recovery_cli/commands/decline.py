"""`recovery decline`: somebody who was asked says no, for a reason."""

from typing import Any

import rich_click as click

from recovery_cli.databases import database_option
from recovery_cli.steps import Step, approver_options, recovery_argument, step_options, taken

STEP = Step(
    "a no",
    '{"recovery": "...", "by": "...", "role": "...", "reason": "..."}',
    fields=("recovery", "by", "role", "reason", "say", "id"),
    needs=("recovery", "by", "role", "reason"),
    take=lambda engine, given: engine.decline(**given),
    of_staff=("role",),
)


@click.command("decline")
@recovery_argument("pending")
@database_option
@approver_options
@click.option("--reason", metavar="TEXT", help="Why, in a word or a sentence; it stays in the log.")
@click.option("--say", metavar="TEXT", help="What the customer may be told of it; not stored.")
@step_options
@click.pass_context
def command(ctx: click.RichContext, /, **given: Any) -> None:
    """Say no to what is pending, for a reason; and read what can be given instead.

    Whoever asks again, elsewhere or for less, has this no in their answer. In JSON it has the fields of the options.

    \b
    Examples:
      recovery decline pos-7-123 --by lead-1 --role supervisor --reason "the bill was right"
      recovery decline pos-7-123 --by lead-1 --role supervisor --reason "no fault of ours" \\
          --say "The delay was the weather's."
      recovery decline --json-file no.json --json

    Exit codes: 0 done, 1 some lines were refused, 2 you may not or the database cannot be used, 75 busy and nothing
    stored: ask again, 76 nobody knows: ask again.
    """
    taken(ctx, STEP, **given)
