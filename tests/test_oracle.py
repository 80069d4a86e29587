"""The engine answers as POLICY.md reads: compared with a second, plain implementation on thousands of requests.

``RECOVERY_TEST_SCALE=100`` multiplies how many. The seeds are fixed, so that a failure is the same for everybody.
"""

import os
from random import Random

import pytest

from recovery_engine import Decision, InvalidRequest, Policy, RecoveryRequest, Usage, parse_policy, shipped_policies
from recovery_engine.decide import Compiled
from tests.oracle import Case, PlainPolicy
from tests.strategies import LARGEST, RequestWriter, random_policy, with_amount

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


def left_out(policy: Policy, case: Case) -> set[str]:
    """The facts and words that the policy asks for and the request does not bring (rule 9)."""
    facts = {name for name in case.facts_asked() if case.request.facts.get(name) is None}
    return facts | {name for name in case.words_required() if getattr(case.request, name) is None}


def same_answer(text: str, policy: Policy, engine: Compiled, request: RecoveryRequest, usage: Usage) -> str:
    """The outcome, after checking that everything about it is as the oracle says; ``invalid`` where neither decides."""
    case = Case(PlainPolicy(text), request, usage)
    missing = left_out(policy, case)
    try:
        decided = by_the_engine(engine.decide(request, usage))
    except InvalidRequest as invalid:
        assert {found.where for found in invalid.diagnostics} == missing, f"{text}\n{request}\n{invalid}"
        return "invalid"
    assert not missing, f"decided without {missing}\n{text}\n{request}"
    expected = by_the_oracle(case)
    if decided != expected:
        differing = [name for name in expected if decided[name] != expected[name]]
        lines = [f"{name}: {decided[name]}, by the oracle {expected[name]}" for name in differing]
        raise AssertionError("\n".join([text, str(request), str(usage), *lines]))
    return str(decided["outcome"])


@pytest.mark.parametrize("seed", range(10))
def test_random_policies_are_decided_as_the_oracle_decides_them(seed: int) -> None:
    outcomes = set()
    for number in range(16 * SCALE):
        random = Random(f"{seed}/{number}")
        text, policy = random_policy(random)
        engine, writer = Compiled(policy), RequestWriter(text, policy)
        for _ in range(40):
            request, usage = writer.request(random, missing=0.02)
            outcomes.add(same_answer(text, policy, engine, request, usage))
    assert outcomes == {"approve", "escalate", "deny", "incomplete", "invalid"}


@pytest.mark.parametrize("name", shipped_policies())
def test_shipped_policies_are_decided_as_the_oracle_decides_them(name: str) -> None:
    text = shipped_policies()[name].read_text()
    policy = parse_policy(text, name)
    engine, writer, random = Compiled(policy), RequestWriter(text, policy), Random(name)
    outcomes = {same_answer(text, policy, engine, *writer.request(random, missing=0.01)) for _ in range(400 * SCALE)}
    assert outcomes >= {"approve", "escalate"}


@pytest.mark.parametrize("seed", range(4))
def test_on_a_small_policy_every_amount_is_decided_as_the_oracle_decides_it(seed: int) -> None:
    for number in range(8 * SCALE):
        random = Random(f"every amount {seed}/{number}")
        text, policy = random_policy(random)
        engine, writer = Compiled(policy), RequestWriter(text, policy)
        for _ in range(4):
            asked, usage = writer.request(random)
            case, approved = Case(PlainPolicy(text), asked, usage), []
            for minor in range(3 * LARGEST):
                request = with_amount(asked, minor)
                decision = engine.decide(request, usage)
                expected = Case(PlainPolicy(text), request, usage).answer()
                assert (str(decision.outcome), decision.to) == (expected.outcome, expected.to), (
                    f"{text}\n{request}\n{usage}"
                )
                approved += [minor] if expected.outcome == "approve" else []
            most = case.grantable_now()
            if most is not None and most < 3 * LARGEST:
                assert max(approved, default=0) == most, f"{text}\n{asked}\n{usage}"
