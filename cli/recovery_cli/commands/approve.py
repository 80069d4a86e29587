"""`recovery approve`: somebody with authority agrees, to all of it, to less, or to another remedy."""

from typing import Any

import rich_click as click

from recovery_cli.databases import database_option
from recovery_cli.options import complete_word
from recovery_cli.steps import Step, approver_options, recovery_argument, step_options, taken, with_amount

STEP = Step(
    "an approval",
    '{"recovery": "...", "by": "...", "role": "...", "asked": "..."}',
    fields=("recovery", "by", "role", "amount", "remedy", "asked", "delegation", "note", "id"),
    needs=("recovery", "by", "role"),
    take=lambda engine, given: engine.approve(**with_amount(engine, given)),
    of_staff=("role",),
)


@click.command("approve")
@recovery_argument("pending")
@database_option
@approver_options
@click.option("--amount", metavar="AMOUNT", help="Less than was asked for, such as `18.50`.")
@click.option("--remedy", metavar="WORD", shell_complete=complete_word, help="Another one than was asked for.")
@click.option("--asked", metavar="HASH", help="`asked` in `recovery pending`: agrees to that and nothing newer.")
@click.option("--delegation", metavar="ID", help="The authority lent to you that you use.")
@click.option("--note", metavar="TEXT", help="Why, for whoever reads it later; kept where it can be erased.")
@step_options
@click.pass_context
def command(ctx: click.RichContext, /, **given: Any) -> None:
    """Agree to what is pending: to all of it, to less, or to another remedy.

    Your role must cover the whole case, with all that was used up by now. Where the policy asks for a second person
    it is then pending with that one. Your own requests are for others. The same again gets the same answer.

    In JSON it has the fields of the options.

    \b
    Examples:
      recovery approve pos-7-123 --by lead-1 --role supervisor
      recovery approve pos-7-123 --by lead-1 --role supervisor --amount 80 --note "A regular guest"
      recovery approve pos-7-123 --by lead-1 --role supervisor --delegation lent-1 --json

    Exit codes: 0 done, 1 some lines were refused, 2 you may not or the database cannot be used, 75 busy and nothing
    stored: ask again, 76 nobody knows: ask again.
    """
    taken(ctx, STEP, **given)
