"""`recovery revoke`: lent authority is taken back."""

from typing import Any

import rich_click as click

from recovery_cli.databases import database_option
from recovery_cli.lending import recorded_document, show_recorded
from recovery_cli.steps import Step, step_options, taken

STEP = Step(
    "a revocation",
    '{"delegation": "...", "by": "..."}',
    fields=("delegation", "by", "id"),
    needs=("delegation", "by"),
    take=lambda engine, given: engine.revoke(**given),
    document=recorded_document,
    show=show_recorded,
)


@click.command("revoke")
@click.argument("delegation", required=False, metavar="ID")
@database_option
@click.option("--by", metavar="ID", help="Who takes it back: who lent it.")
@step_options
@click.pass_context
def command(ctx: click.RichContext, /, **given: Any) -> None:
    """Take lent authority back, under the ID it was lent with. What was approved with it stands.

    In JSON it has the fields `delegation`, `by` and `id`.

    \b
    Examples:
      recovery revoke lent-1 --by mgr-1
      recovery revoke lent-1 --by mgr-1 --json

    Exit codes: 0 taken back, 1 some lines were refused, 2 it cannot be or the database cannot be used, 75 busy and
    nothing stored: ask again, 76 nobody knows: ask again.
    """
    taken(ctx, STEP, **given)
