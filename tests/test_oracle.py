"""The engine answers as POLICY.md reads: compared with a second, plain implementation on thousands of requests.

``RECOVERY_TEST_SCALE=100`` multiplies how many. The seeds are fixed, so that a failure is the same for everybody.
"""

import os
from random import Random

import pytest

from recovery_engine import Decision, InvalidRequest, RecoveryRequest, Usage, parse_policy, shipped_policies
from recovery_engine.seats import Compiled
from tests.oracle import Case, PlainPolicy
from tests.strategies import LARGEST, RequestWriter, random_policy, with_amount

pytestmark = pytest.mark.slow

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))


def by_the_engine(decision: Decision) -> dict[str, object]:
    return {
        "outcome": str(decision.outcome),
        "to": decision.to,
        "second": decision.second,
        "needs": frozenset(decision.needs),
        "because": frozenset(decision.lines),
        "rungs": {rung.role: frozenset(rung.stopped_by) for rung in decision.rungs},
        "grantable_now": None if decision.grantable_now is None else decision.grantable_now.minor,
        "due": None if decision.due is None else decision.due.minor,
    }


def by_the_oracle(case: Case) -> dict[str, object]:
    answer = case.answer()
    return {
        "outcome": answer.outcome,
        "to": answer.to,
        "second": answer.second,
        "needs": answer.needs,
        "because": answer.because,
        "rungs": dict(case.rungs()),
        "grantable_now": case.grantable_now(),
        "due": case.due()[0] if case.basis == "owed" else None,
    }


def left_out(case: Case) -> set[str]:
    """The facts and words that the policy asks for and the request does not bring (rule 9)."""
    facts = {name for name in case.facts_asked() if case.request.facts.get(name) is None}
    return facts | {name for name in case.words_required() if getattr(case.request, name) is None}


def same_answer(plain: PlainPolicy, engine: Compiled, request: RecoveryRequest, usage: Usage) -> str:
    """The outcome, after checking that everything about it is as the oracle says; ``invalid`` where neither decides."""
    case, decided, refused = Case(plain, request, usage), {}, set()
    try:
        decided = by_the_engine(engine.decide(request, usage))
    except InvalidRequest as invalid:
        refused = {found.where for found in invalid.diagnostics}
    if refused != left_out(case):
        raise AssertionError(f"refused for {refused}, by the oracle for {left_out(case)}\n{shown(plain, case)}")
    if refused:
        return "invalid"
    expected = by_the_oracle(case)
    # Beyond what is due no owed line suffices; which of them a rung names besides the highest is left open.
    lower = {line["id"] for line in plain.lines("owed")} - {case.due()[1]}
    decided["rungs"] = {role: stopped_by - lower for role, stopped_by in decided["rungs"].items()}
    if decided != expected:
        differing = [name for name in expected if decided[name] != expected[name]]
        lines = [f"{name}: {decided[name]}, by the oracle {expected[name]}" for name in differing]
        raise AssertionError("\n".join([*lines, shown(plain, case)]))
    return str(decided["outcome"])


def shown(plain: PlainPolicy, case: Case) -> str:
    return f"{plain.text}\n{case.request}\n{case.usage}"


@pytest.mark.parametrize("seed", range(10))
def test_random_policies_are_decided_as_the_oracle_decides_them(seed: int) -> None:
    outcomes = set()
    for number in range(24 * SCALE):
        random = Random(f"{seed}/{number}")
        text, policy = random_policy(random)
        plain, engine, writer = PlainPolicy(text), Compiled(policy), RequestWriter(text, policy)
        for _ in range(40):
            outcomes.add(same_answer(plain, engine, *writer.request(random, missing=0.02)))
    assert outcomes == {"approve", "escalate", "deny", "incomplete", "invalid"}


@pytest.mark.parametrize("name", shipped_policies())
def test_shipped_policies_are_decided_as_the_oracle_decides_them(name: str) -> None:
    text = shipped_policies()[name].read_text()
    policy = parse_policy(text, name)
    plain, engine, writer, random = PlainPolicy(text), Compiled(policy), RequestWriter(text, policy), Random(name)
    outcomes = {same_answer(plain, engine, *writer.request(random, missing=0.01)) for _ in range(300 * SCALE)}
    assert {"approve", "deny"} <= outcomes or {"approve", "escalate"} <= outcomes


@pytest.mark.parametrize("seed", range(4))
def test_on_a_small_policy_every_amount_is_decided_as_the_oracle_decides_it(seed: int) -> None:
    for number in range(8 * SCALE):
        random = Random(f"every amount {seed}/{number}")
        text, policy = random_policy(random)
        plain, engine, writer = PlainPolicy(text), Compiled(policy), RequestWriter(text, policy)
        for _ in range(4):
            asked, usage = writer.request(random)
            approved = [0]
            for minor in range(3 * LARGEST):
                request = with_amount(asked, minor)
                case, decision = Case(plain, request, usage), engine.decide(request, usage)
                expected = case.answer()
                same = (str(decision.outcome), decision.to) == (expected.outcome, expected.to)
                assert same, f"{decision.outcome} {decision.to}, by the oracle {expected}\n{shown(plain, case)}"
                approved += [minor] if expected.outcome == "approve" else []
            most = Case(plain, asked, usage).grantable_now()
            assert most is None or most >= 3 * LARGEST or most == max(approved), shown(plain, case)
