"""`recovery answer`: the approver's question is answered, perhaps with more proof."""

from typing import Any

import rich_click as click

from recovery_cli.databases import database_option
from recovery_cli.options import listed
from recovery_cli.steps import Step, recovery_argument, step_options, taken

STEP = Step(
    "an answer",
    '{"recovery": "...", "answer": "...", "evidence": ["photo"]}',
    fields=("recovery", "answer", "evidence", "by", "id"),
    needs=("recovery", "answer"),
    take=lambda engine, given: engine.answer(**given),
)


@click.command("answer")
@recovery_argument("pending")
@database_option
@click.option("--answer", metavar="TEXT", help="What was asked about; kept where it can be erased.")
@click.option("--evidence", multiple=True, metavar="ITEM", help="More proof, such as `photo`. May be repeated.")
@click.option("--by", metavar="ID", help="Who answers; otherwise who asked for the recovery.")
@step_options
@click.pass_context
def command(ctx: click.RichContext, /, evidence: tuple[str, ...], **given: Any) -> None:
    """Answer the approver's question, perhaps with more proof. Their time to answer runs on from where it stood.

    In JSON it has the fields of the options; `evidence` is a list.

    \b
    Examples:
      recovery answer pos-7-123 --answer "Here it is" --evidence photo
      recovery answer pos-7-123 --answer "She sat at table 7" --by emp-104 --json

    Exit codes: 0 done, 1 some lines were refused, 2 it cannot follow or the database cannot be used, 75 busy and
    nothing stored: ask again, 76 nobody knows: ask again.
    """
    taken(ctx, STEP, evidence=listed(evidence), **given)
