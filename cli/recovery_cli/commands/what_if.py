"""`recovery what-if`: the answer to one hypothetical request, with everything an employee needs to act on it."""

import re
from collections.abc import Mapping
from typing import Any

import rich_click as click

import recovery_engine
from recovery_cli.exits import FINE
from recovery_cli.hosts import read_object
from recovery_cli.options import (
    assignment_option,
    given_words,
    joined_facts,
    json_option,
    listed,
    policy_option,
    request_words,
)
from recovery_cli.policy_files import named_policy
from recovery_cli.render import note_lone_matcher, print_json, show_decision
from recovery_engine import Outcome, read_request

EXAMPLE = '{"role": "...", "amount": "18.50"}'
EXIT_STATUS = {Outcome.APPROVE: FINE, Outcome.ESCALATE: 10, Outcome.DENY: 20, Outcome.INCOMPLETE: 30}


@click.command("what-if")
@policy_option
@request_words
@click.option("--amount", metavar="AMOUNT", help="How much is asked for, such as `18.50`.")
@click.option("--bill", metavar="AMOUNT", help="What the customer paid.")
@click.option("--reason", metavar="CODE", help="A reason code of the policy.")
@click.option("--note", metavar="TEXT", help="What happened, in a sentence.")
@click.option("--occurred-on", metavar="DAY", help="When it went wrong, as `2026-12-01`: what is owed follows it.")
@click.option("--evidence", multiple=True, metavar="ITEM", help="Proof on file, such as `receipt`. May be repeated.")
@assignment_option("--fact", "fact", "NAME=VALUE", "A fact of the policy.")
@assignment_option("--on-case", "on_case", "REMEDY=AMOUNT", "What this case already had as goodwill.")
@assignment_option("--owed-on-case", "owed_on_case", "REMEDY=AMOUNT", "What it already had of what is owed.")
@assignment_option("--used", "used", "BUDGET=SUMS", "What a budget holds: `customer-90d=amount:50,times:3`.")
@click.option("--json-file", metavar="FILE|-", help="A request in JSON; options win over it.")
@click.option("--exit-status", is_flag=True, help="Exit 0 approve, 10 escalate, 20 deny, 30 incomplete.")
@json_option
@click.pass_context
def command(
    ctx: click.RichContext,
    /,
    policy_name: str,
    as_json: bool,
    exit_status: bool,
    json_file: str | None,
    fact: dict[str, str],
    used: dict[str, str],
    evidence: tuple[str, ...],
    **fields: Any,
) -> None:
    """Decide one request that nobody has made: who may, why, what would change it, and what to say.

    Nothing is logged and nothing is used up.

    \b
    Examples:
      recovery what-if --role frontline --remedy refund --amount 150
      recovery what-if --policy hotel --role front_desk --remedy comp_item \\
          --amount 25 --note "no hot water" --on-case comp_item=10
      recovery what-if --role frontline --amount 90 --exit-status --json
      recovery what-if --json-file request.json --amount 90
    """
    given = read_object(json_file, "a request", EXAMPLE) if json_file else {}
    given |= given_words(fields | {"used": _budgets(used)})
    if evidence:
        given["evidence"] = listed(evidence)
    given["facts"] = joined_facts(given.get("facts"), fact)
    policy = named_policy(policy_name)
    note_lone_matcher()
    decision = recovery_engine.decide(policy, *read_request(policy, given))
    if as_json:
        print_json(decision.as_dict())
    else:
        show_decision(decision)
    ctx.exit(EXIT_STATUS[decision.outcome] if exit_status else FINE)


def _budgets(used: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """``amount:50,times:3`` of each budget as a mapping."""
    return {budget: _figures(text) for budget, text in used.items()}


def _figures(text: str) -> dict[str, str]:
    figures = (figure.partition(":") for figure in re.split(r",(?=\s*[a-z]+:)", text))
    return {name.strip(): value.strip() for name, _, value in figures}
