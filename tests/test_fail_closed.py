"""Whatever goes wrong with the matchers, nobody is paid by mistake: the top of the ladder is asked and told why."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from recovery_engine import (
    NO_USAGE,
    InvalidRequest,
    Money,
    Policy,
    RecoveryRequest,
    decide,
    load_policy,
    matcher_in_service,
    parse_policy,
)
from recovery_engine.rules import durable
from recovery_engine.rules.durable import MatcherFault
from recovery_engine.rules.encoding import Encoding
from recovery_engine.seats import Compiled
from tests.strategies import RequestWriter, random_policy

TEXT = """
policy: shop
currency: USD
ladder: [associate, lead, manager]
authority:
  - {id: standard, up_to: {total: [10, 50, unlimited]}}
owed:
  - {id: late, remedy: refund, amount: 20}
deny:
  - {id: never, when: {remedy: cash}}
requires:
  - {id: receipt, when: {amount: over 5}, evidence: [receipt]}
"""
ASKED = RecoveryRequest(role="associate", remedy="refund", amount=Money(500, "USD"))


@pytest.fixture
def policy() -> Policy:
    return parse_policy(TEXT, "shop.yaml")


def raises(error: BaseException) -> Callable[..., Any]:
    def match(*_: object) -> Any:
        raise error

    return match


def says_nothing(*_: object) -> frozenset[Any]:
    return frozenset()


def says_more(encoding: Encoding, words: Any, readings: Any) -> frozenset[Any]:
    return right(encoding, words, readings) | {("fits", "never")}


right = Encoding.match

FAULTS = {
    "durable-rules finds nothing": says_nothing,
    "durable-rules finds a line more": says_more,
    "the mark did not fire": raises(MatcherFault("the mark did not fire")),
    "a number out of range": raises(ValueError("`sum00` is 2**60, beyond ±2**53")),
    "no memory": raises(MemoryError()),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("role", ["associate", "lead", "manager"])
@pytest.mark.parametrize("basis", ["goodwill", "owed"])
@pytest.mark.parametrize("minor", [0, 500, 100_000])
def test_a_fault_asks_the_top_of_the_ladder(
    policy: Policy, monkeypatch: pytest.MonkeyPatch, fault: str, role: str, basis: str, minor: int
) -> None:
    monkeypatch.setattr(Encoding, "match", FAULTS[fault])
    request = replace(ASKED, role=role, basis=basis, amount=Money(minor, "USD"))
    decision = decide(policy, request)
    assert (decision.outcome, decision.to, decision.matcher) == ("escalate", "manager", "fault")
    assert decision.lines == ("matcher-fault",)
    assert (decision.second, decision.needs) == (None, ())
    assert not any(rung.may for rung in decision.rungs)
    assert decision.grantable_now == Money(0, "USD")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_explained_and_nothing_is_offered(
    policy: Policy, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(Encoding, "match", FAULTS[fault])
    decision = decide(policy, ASKED)
    (reason,) = decision.because
    assert reason.line == "matcher-fault"
    assert "could not be trusted" in reason.text
    assert decision.flip == ()
    assert decision.alternatives == ()
    assert "manager" in decision.tell_customer
    assert decision.as_dict()["matcher"] == "fault"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_not_remembered(policy: Policy, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    engine = Compiled(policy)
    with monkeypatch.context() as broken:
        broken.setattr(Encoding, "match", FAULTS[fault])
        assert engine.decide(ASKED, NO_USAGE).matcher == "fault"
    assert engine.decide(ASKED, NO_USAGE).outcome == "approve"
    assert engine.decide(ASKED, NO_USAGE).matcher == "both"


def test_what_both_matchers_found_before_a_fault_still_stands(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Compiled(policy)
    assert engine.decide(ASKED, NO_USAGE).outcome == "approve"
    monkeypatch.setattr(Encoding, "match", raises(MatcherFault("later")))
    assert engine.decide(ASKED, NO_USAGE).outcome == "approve", "the cell was decided by both"
    assert engine.decide(replace(ASKED, amount=Money(1500, "USD")), NO_USAGE).matcher == "fault"


def test_an_invalid_request_stays_invalid_while_the_matcher_fails(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Encoding, "match", raises(MatcherFault("broken")))
    with pytest.raises(InvalidRequest):
        decide(policy, replace(ASKED, role="boss"))


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(1)])
def test_a_wish_to_stop_is_not_taken_for_a_fault(
    policy: Policy, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    engine = Compiled(policy)
    with monkeypatch.context() as stopped:
        stopped.setattr(Encoding, "match", raises(stop))
        with pytest.raises(type(stop)):
            engine.decide(ASKED, NO_USAGE)
    assert engine.decide(ASKED, NO_USAGE).outcome == "approve"


# --- without durable-rules --------------------------------------------------------------------------------------------


def test_without_durable_rules_the_reference_serves_and_says_so(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "AVAILABLE", False)
    monkeypatch.setattr(durable, "WHY_NOT", "no module named durable_rules_engine")
    assert matcher_in_service() == ("reference", "no module named durable_rules_engine")
    engine = Compiled(policy)
    for minor, outcome in ((500, "approve"), (501, "incomplete"), (0, "approve")):
        decision = engine.decide(replace(ASKED, amount=Money(minor, "USD")), NO_USAGE)
        assert (decision.outcome, decision.matcher) == (outcome, "reference")


@pytest.mark.parametrize("seed", range(10))
def test_the_reference_alone_decides_as_both_do(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(seed)
    text, policy = random_policy(random)
    writer = RequestWriter(text, policy)
    requests = [writer.request(random) for _ in range(30)]
    both = Compiled(policy)
    monkeypatch.setattr(durable, "AVAILABLE", False)
    alone = Compiled(policy)
    for request, usage in requests:
        one, other = both.decide(request, usage), alone.decide(request, usage)
        assert (one.matcher, other.matcher) == ("both", "reference")
        assert replace(one, matcher="") == replace(other, matcher="")


# --- threads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_eight_threads_on_one_fresh_policy_get_the_same_answers(seed: int) -> None:
    random = Random(seed)
    text, policy = random_policy(random)
    writer = RequestWriter(text, policy)
    requests = [writer.request(random) for _ in range(150)]
    expected = [Compiled(policy).decide(request, usage) for request, usage in requests[:20]]
    together = threading.Barrier(8)

    def all_of_them(turn: int) -> list[Any]:
        together.wait()
        shifted = [*requests[turn * 15 :], *requests[: turn * 15]]
        answers = [decide(policy, request, usage) for request, usage in shifted]
        return [*answers[len(requests) - turn * 15 :], *answers[: len(requests) - turn * 15]]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(all_of_them, range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][:20] == expected
    assert all(decision.matcher == "both" for decision in answers[0])


def test_threads_on_a_shipped_policy_never_meet_a_fault() -> None:
    policy = load_policy("restaurant")
    writer = RequestWriter(TEXT, policy)
    decisions: list[str] = []

    def some(seed: int) -> None:
        random = Random(seed)
        for _ in range(200):
            decisions.append(decide(policy, *writer.request(random)).matcher)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(some, range(8)))
    assert set(decisions) == {"both"}
    assert len(decisions) == 1600
