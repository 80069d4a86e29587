"""`recovery delegate`: somebody lends their authority to somebody else, for a time."""

import time
from typing import Any

import rich_click as click

from recovery_cli.databases import database_option, staff_option
from recovery_cli.hosts import Fields, json_in
from recovery_cli.lending import recorded_document, show_recorded
from recovery_cli.options import complete_word, json_option, listed
from recovery_cli.steps import Step, taken
from recovery_cli.times import read_time
from recovery_engine import Money, RecordedDelegation, RecoveryEngine

FIELDS = ("id", "by", "to", "role", "sites", "remedies", "cap", "currency", "from", "until", "timezone")


def delegated(engine: RecoveryEngine, given: Fields) -> RecordedDelegation:
    """What stands in the log for the fields of JSON. Raises as ``delegate`` does."""
    zone, now_us = given.pop("timezone", "UTC"), time.time_ns() // 1000
    for name in ("from", "until"):
        if name in given:
            given[f"{name}_us"] = read_time(name, given.pop(name), zone, now_us)
    currency, sites = given.pop("currency", None), given.get("sites")
    if "cap" in given:
        given["cap"] = Money.of(given["cap"], currency or engine.policy(sites[0] if sites else None).currency)
    return engine.delegate(**given)


STEP = Step(
    "a delegation",
    '{"id": "...", "by": "...", "to": "...", "role": "...", "until": "2026-12-24"}',
    fields=FIELDS,
    needs=("id", "by", "to", "role", "until"),
    take=delegated,
    document=recorded_document,
    show=show_recorded,
)


@click.command("delegate")
@click.argument("id", required=False)
@database_option
@click.option("--by", metavar="ID", help="Who lends it.")
@click.option("--to", metavar="ID", help="To whom.")
@click.option("--role", metavar="WORD", shell_complete=complete_word, help="The authority of which role.")
@staff_option
@click.option("--sites", multiple=True, metavar="WORD", help="Only there; left out: everywhere. May be repeated.")
@click.option("--remedies", multiple=True, metavar="WORD", help="Only these; left out: all. May be repeated.")
@click.option("--cap", metavar="AMOUNT", help="The most for one case, with what the case had.")
@click.option("--currency", metavar="CODE", help="Of the cap; left out: the policy's.")
@click.option("--from", "from_", metavar="TIME", help="When it begins; left out: now.")
@click.option("--until", metavar="TIME", help="When it ends: from then on it is not in force.")
@click.option("--timezone", metavar="NAME", help="Of times without one, such as `America/Chicago`; left out: UTC.")
@json_in
@json_option
@click.pass_context
def command(
    ctx: click.RichContext, /, sites: tuple[str, ...], remedies: tuple[str, ...], from_: str | None, **given: Any
) -> None:
    """Lend authority for a time, under an ID of your own. It is not passed on; the log says in whose name it was used.

    A TIME is a day such as `2026-12-24`, which begins at 00:00; or `2026-12-24T18:00`, with `-06:00` behind it where
    it is not of --timezone; or `in 3 days`. In JSON it has the fields of the options and `id`.

    \b
    Examples:
      recovery delegate lent-1 --by mgr-1 --to lead-1 --role manager --until 2026-12-24
      recovery delegate lent-2 --by mgr-1 --to lead-1 --role manager --sites S001 --cap 250 \\
          --from 2026-12-24T18:00 --until "in 10 days" --timezone America/Chicago
      recovery delegate --json-file lent.json --json

    Exit codes: 0 lent, 1 some lines were refused, 2 it may not be lent so or the database cannot be used, 75 busy and
    nothing stored: ask again, 76 nobody knows: ask again.
    """
    given |= {"from": from_, "sites": listed(sites), "remedies": listed(remedies)}
    taken(ctx, STEP, **given)
