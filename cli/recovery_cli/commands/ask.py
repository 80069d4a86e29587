"""`recovery ask`: somebody who was asked has a question first."""

from typing import Any

import rich_click as click

from recovery_cli.databases import database_option
from recovery_cli.steps import Step, approver_options, recovery_argument, step_options, taken

STEP = Step(
    "a question",
    '{"recovery": "...", "by": "...", "role": "...", "question": "..."}',
    fields=("recovery", "by", "role", "question", "id"),
    needs=("recovery", "by", "role", "question"),
    take=lambda engine, given: engine.ask(**given),
    of_staff=("role",),
)


@click.command("ask")
@recovery_argument("pending")
@database_option
@approver_options
@click.option("--question", metavar="TEXT", help="What you must know first; kept where it can be erased.")
@step_options
@click.pass_context
def command(ctx: click.RichContext, /, **given: Any) -> None:
    """Ask whoever asked, before you decide. Your time to answer stands still meanwhile, unless the policy lets it run.

    In JSON it has the fields of the options.

    \b
    Examples:
      recovery ask pos-7-123 --by lead-1 --role supervisor --question "Is there a photo?"
      recovery ask --json-file question.json --json

    Exit codes: 0 done, 1 some lines were refused, 2 you may not or the database cannot be used, 75 busy and nothing
    stored: ask again, 76 nobody knows: ask again.
    """
    taken(ctx, STEP, **given)
