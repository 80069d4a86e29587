"""`recovery tick`: what is due now: silent requests move up or end, and overdue promises are named."""

from typing import TYPE_CHECKING

import rich_click as click

from recovery_cli.databases import database_option, writing
from recovery_cli.options import json_option
from recovery_cli.promising import promise_document, show_promises
from recovery_cli.render import count, print_json
from recovery_cli.steps import show_step, step_document

if TYPE_CHECKING:
    from recovery_engine import Ticked


@click.command("tick")
@database_option
@click.option("--quiet", is_flag=True, help="Say nothing where no request was moved on.")
@json_option
def command(database: str, quiet: bool, as_json: bool) -> None:
    """Do what is due now: what nobody answered in time moves up, is declined or lapses, as the policy says.

    Silence never approves. It says what it did, and which promises are overdue. Run it as often as you like, from cron
    and on several machines at once: each step is taken once.

    \b
    Examples:
      recovery tick --database shop.db
      * * * * * recovery tick --quiet --database /srv/shop.db
      recovery tick --json

    Exit codes: 0 done, also where nothing was due; 2 the database cannot be used, 75 busy: the next one does the rest,
    76 nobody knows: the next one finds out.
    """
    with writing(database) as engine:
        ticked = engine.tick()
    if quiet and not ticked.steps:
        return
    if as_json:
        steps = [step_document(step) for step in ticked.steps]
        print_json({"steps": steps, "overdue": [promise_document(one) for one in ticked.overdue]})
    else:
        _show(ticked)


def _show(ticked: "Ticked") -> None:
    for step in ticked.steps:
        show_step(step)
    if not ticked.steps:
        click.echo("no request was left without an answer for too long")
    if ticked.overdue:
        click.echo(f"{count(len(ticked.overdue), 'promise')} overdue:")
        show_promises(ticked.overdue)
