"""The laws of POLICY.md, one property each, on random policies whose requests keep close to the limits."""

import builtins
import os
import random as chance
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from recovery_engine import (
    Decision,
    InvalidRequest,
    Money,
    Policy,
    PolicyError,
    RecoveryRequest,
    Usage,
    Used,
    parse_policy,
)
from recovery_engine.rules import reference
from recovery_engine.rules.cells import cells, word_samples
from recovery_engine.seats import Compiled
from tests.strategies import EVIDENCE, LARGEST, Cases, RequestWriter, random_policy, randoms, some_cases, with_amount
from tests.test_oracle import SCALE

# A policy is small as it is; making a failing one smaller takes minutes and helps nobody.
law = settings(max_examples=40 * SCALE, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
BEYOND_EVERY_LIMIT = 10**12
APPROVE, ESCALATE, DENY, INCOMPLETE = "approve", "escalate", "deny", "incomplete"


def decided(cases: Cases) -> Iterator[tuple[Compiled, RecoveryRequest, Usage, Decision]]:
    engine = Compiled(cases.policy)
    for request, usage in cases.requests:
        yield engine, request, usage, engine.decide(request, usage)


def approves(engine: Compiled, request: RecoveryRequest, usage: Usage) -> bool:
    return engine.decide(request, usage).outcome == APPROVE


def changed(text: str, change: Callable[[dict[str, Any]], None]) -> Policy:
    """The policy of *text* after a change to its mapping."""
    raw = yaml.load(text, yaml.BaseLoader)
    change(raw)
    return parse_policy(yaml.safe_dump(raw, sort_keys=False, width=1000))


# --- deterministic, total, free of everything outside -----------------------------------------------------------------


@law
@given(some_cases(12))
def test_the_same_request_is_decided_the_same_every_time(cases: Cases) -> None:
    for engine, request, usage, decision in decided(cases):
        again, elsewhere = engine.decide(request, usage), Compiled(cases.policy).decide(request, usage)
        assert again == decision == elsewhere
        assert again.as_dict() == decision.as_dict() == elsewhere.as_dict()


@law
@given(some_cases(12))
def test_the_memo_never_changes_an_answer(cases: Cases) -> None:
    warm = Compiled(cases.policy)
    for request, usage in (*cases.requests, *reversed(cases.requests)):
        warm.decide(request, usage)
        warm.decide(with_amount(request, request.amount.minor + 1), usage)
    for request, usage in cases.requests:
        assert warm.decide(request, usage).as_dict() == Compiled(cases.policy).decide(request, usage).as_dict()


@law
@given(some_cases(30))
def test_a_request_that_lacks_nothing_is_always_decided(cases: Cases) -> None:
    for _, _, _, decision in decided(cases):
        assert decision.outcome in (APPROVE, ESCALATE, DENY, INCOMPLETE)
        assert (decision.to is not None) == (decision.outcome == ESCALATE)
        assert decision.outcome == APPROVE or decision.lines, "never a bare no"


def test_nothing_outside_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a decision asked for the time, for chance or for a file")

    cases = [_fixed_cases(seed) for seed in range(20)]
    for module, name in ((builtins, "open"), (time, "time"), (time, "time_ns"), (chance, "random")):
        monkeypatch.setattr(module, name, refuse)
    for case in cases:
        engine = Compiled(case.policy)
        for request, usage in case.requests:
            engine.decide(request, usage)


def test_another_process_decides_the_same() -> None:
    def answers(hash_seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        code = "from tests.test_laws import printed_answers; printed_answers()"
        ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        return ran.stdout

    assert answers("1") == answers("2") != ""


def printed_answers() -> None:
    for case in (_fixed_cases(seed) for seed in range(10)):
        for _, _, _, decision in decided(case):
            print(decision.as_dict())


def _fixed_cases(seed: int) -> Cases:
    random = Random(seed)
    text, policy = random_policy(random)
    writer = RequestWriter(text, policy)
    return Cases(text, policy, tuple(writer.request(random) for _ in range(10)))


# --- more is never less -----------------------------------------------------------------------------------------------


def raised(raw: dict[str, Any], random: Random) -> None:
    """One limit of the policy, higher."""
    cells = [(row, at) for line in raw["authority"] for row in line["up_to"].values() for at in _places(row)]
    figures = [
        (line, name)
        for section in ("ceilings", "budgets")
        for line in raw.get(section, [])
        for name in ("amount", "percent", "each", "times")
        if name in line
    ]
    holder, place = random.choice([*cells, *figures])
    if holder[place] == "none":
        holder[place] = random.choice(("0", "5", "unlimited"))
    elif holder[place] not in ("same", "unlimited"):
        whole, _, decimals = holder[place].partition(".")
        holder[place] = f"{int(whole) + random.choice((1, 7))}" + (f".{decimals}" if decimals else "")


def _places(row: list[str] | dict[str, str]) -> list[Any]:
    return list(row) if isinstance(row, dict) else list(range(len(row)))


@law
@given(some_cases(12), randoms)
def test_a_higher_limit_never_turns_an_approval_into_an_escalation(cases: Cases, random: Random) -> None:
    higher = Compiled(changed(cases.text, lambda raw: raised(raw, random)))
    for _, request, usage, before in decided(cases):
        after = higher.decide(request, usage)
        if before.outcome == APPROVE:
            assert after.outcome == APPROVE
        most = after.grantable_now
        assert most is None or (before.grantable_now is not None and before.grantable_now <= most)


@law
@given(some_cases(12), some_cases(1))
def test_a_further_deny_never_widens(cases: Cases, others: Cases) -> None:
    denials = yaml.load(others.text, yaml.BaseLoader).get("deny", [])
    own = [line for line in denials if set(line["when"]) | set(line.get("unless", {})) <= set(_names(cases.policy))]
    amount = {"id": "too-much", "when": {"amount": f"over {cases.requests[0][0].amount.decimal}"}}

    def add(raw: dict[str, Any]) -> None:
        raw["deny"] = [*raw.get("deny", []), *({**line, "id": f"more-{at}"} for at, line in enumerate(own)), amount]

    try:
        stricter = Compiled(changed(cases.text, add))
    except PolicyError:  # the other policy's words are not this one's
        stricter = Compiled(changed(cases.text, lambda raw: raw.update(deny=[*raw.get("deny", []), amount])))
    for _, request, usage, before in decided(cases):
        try:
            after = stricter.decide(request, usage)
        except InvalidRequest:  # the further line reads a word that this request does not bring
            continue
        assert after.outcome in (before.outcome, DENY)
        assert (after.to, after.second) in ((before.to, before.second), (None, None))
        most = before.grantable_now
        assert most is None or (after.grantable_now is not None and after.grantable_now <= most)
        assert {rung.role for rung in after.rungs if rung.may} <= {rung.role for rung in before.rungs if rung.may}


def _names(policy: Policy) -> list[str]:
    return ["remedy", "category", "severity", "site", "basis", "amount", "bill", *policy.facts]


@law
@given(some_cases(12), st.sets(st.sampled_from([*EVIDENCE, "note"]), min_size=1))
def test_more_evidence_never_worsens(cases: Cases, more: set[str]) -> None:
    best_first = [APPROVE, ESCALATE, INCOMPLETE, DENY]
    ladder = [*cases.policy.ladder]
    for engine, request, usage, before in decided(cases):
        codes = cases.policy.reason_codes.get(request.category or "", ())
        richer = replace(
            request,
            evidence=frozenset(request.evidence) | (more - {"note"}),
            note="what happened" if "note" in more else request.note,
            reason=request.reason or (codes[0] if codes and "note" in more else None),
        )
        after = engine.decide(richer, usage)
        assert best_first.index(after.outcome) <= best_first.index(before.outcome)
        if after.outcome == before.outcome == ESCALATE:  # nobody higher than before has to be asked
            asked = [max(ladder.index(role) for role in (d.to, d.second) if role) for d in (after, before)]
            assert asked[0] <= asked[1]
        assert set(after.needs) <= set(before.needs) or after.outcome != before.outcome or after.to != before.to
        assert {rung.role for rung in before.rungs if rung.may} <= {rung.role for rung in after.rungs if rung.may}
        most = after.grantable_now
        assert most is None or (before.grantable_now is not None and before.grantable_now <= most)


# --- splitting --------------------------------------------------------------------------------------------------------


def after_grant(policy: Policy, request: RecoveryRequest, usage: Usage) -> Usage:
    """The usage once *request* was granted, on the same business day."""
    minor, remedy = request.amount.minor, request.remedy
    if not minor:
        return usage
    if request.basis == "owed":
        return replace(usage, owed_on_case=added(usage.owed_on_case, remedy, minor))
    used = dict(usage.used)
    for budget in policy.budgets:
        if "remedy" not in budget.when.words or remedy in budget.when.words["remedy"]:
            spent, times = used.get(budget.id, Used())
            used[budget.id] = Used(spent + minor, times + (not usage.on_case))
    return Usage(added(usage.on_case, remedy, minor), usage.owed_on_case, used)


def added(book: Any, remedy: str, minor: int) -> dict[str, int]:
    return {**book, remedy: book.get(remedy, 0) + minor}


def both_approved(engine: Compiled, first: RecoveryRequest, second: RecoveryRequest, usage: Usage) -> bool:
    return approves(engine, first, usage) and approves(engine, second, after_grant(engine.policy, first, usage))


@law
@given(some_cases(12), randoms)
def test_splitting_a_grant_never_helps(cases: Cases, random: Random) -> None:
    for engine, request, usage, whole in decided(cases):
        if whole.outcome != APPROVE:
            minor = request.amount.minor
            for part in {0, 1, minor // 2, minor - 1, minor, random.randint(0, minor)} & set(range(minor + 1)):
                first, rest = with_amount(request, part), with_amount(request, minor - part)
                assert not both_approved(engine, first, rest, usage), f"{part} and then {minor - part}"


@law
@given(some_cases(12, rising=True), randoms)
def test_two_remedies_may_come_in_either_order_where_amounts_are_over_or_at_least(cases: Cases, random: Random) -> None:
    for engine, request, usage, _ in decided(cases):
        remedies = cases.policy.remedies or ("refund", "voucher")
        other = replace(request, remedy=random.choice([name for name in remedies if name != request.remedy]))
        for first in {request.amount.minor % (LARGEST // 2), 1, random.randint(0, LARGEST)}:
            one, two = with_amount(request, first), with_amount(other, random.randint(0, LARGEST // 2))
            assert both_approved(engine, one, two, usage) == both_approved(engine, two, one, usage)


# --- the ladder -------------------------------------------------------------------------------------------------------


@law
@given(some_cases(15, rising=True))
def test_what_a_role_may_approve_every_higher_role_may_where_every_row_rises(cases: Cases) -> None:
    for engine, request, usage, decision in decided(cases):
        own = cases.policy.rank(request.role)
        if decision.outcome == APPROVE:
            for higher in cases.policy.ladder[own + 1 :]:
                assert approves(engine, replace(request, role=higher), usage), higher
        # One employee's budget binds only the requester; among the others, who may is followed by those who may.
        others = [rung.may for rung in decision.rungs if rung.role != request.role]
        assert others == sorted(others)


# --- the two matchers -------------------------------------------------------------------------------------------------


@law
@given(some_cases(8), randoms)
def test_the_two_matchers_agree(cases: Cases, random: Random) -> None:
    engine = Compiled(cases.policy)
    assert engine.encoding is not None
    for request, usage in cases.requests:
        seat = engine.seat(request, usage)
        readings = {meter.key: meter.read(request.amount.minor, request, usage) for meter in seat.meters}
        assert engine.encoding.match(seat.words, readings) == reference.match(cases.policy, seat.words, readings)
    samples = list(word_samples(cases.policy, engine.classes))
    for words in random.sample(samples, min(8, len(samples))):
        for readings in _first(cells(cases.policy, words), 30):
            assert engine.encoding.match(words, readings) == reference.match(cases.policy, words, readings), words


def _first(items: Iterator[Any], count: int) -> list[Any]:
    return [item for item, _ in zip(items, range(count), strict=False)]


# --- never a bare no --------------------------------------------------------------------------------------------------


@law
@given(some_cases(12))
def test_what_is_grantable_now_is_approved_and_one_minor_unit_more_is_not(cases: Cases) -> None:
    for engine, request, usage, decision in decided(cases):
        most = decision.grantable_now
        if most is None:
            assert approves(engine, with_amount(request, BEYOND_EVERY_LIMIT), usage)
            continue
        assert most.minor == 0 or approves(engine, with_amount(request, most.minor), usage)
        for more in (1, 2, 3, 5, 8, 13, LARGEST, BEYOND_EVERY_LIMIT):
            assert not approves(engine, with_amount(request, most.minor + more), usage), f"{most} and {more} more"


@law
@given(some_cases(12))
def test_what_is_grantable_now_does_not_depend_on_what_was_asked(cases: Cases) -> None:
    for engine, request, usage, decision in decided(cases):
        for minor in (0, 1, LARGEST, BEYOND_EVERY_LIMIT):
            assert engine.decide(with_amount(request, minor), usage).grantable_now == decision.grantable_now


@law
@given(some_cases(12))
def test_every_alternative_is_approved_up_to_its_amount_and_none_is_forgotten(cases: Cases) -> None:
    for engine, request, usage, decision in decided(cases):
        found = {other.remedy: other.up_to for other in decision.alternatives}
        for remedy in cases.policy.remedies or ():
            other = replace(request, remedy=remedy, basis="goodwill", amount=Money(0, cases.policy.currency))
            most = engine.decide(other, usage).grantable_now
            if remedy in found:
                up_to = BEYOND_EVERY_LIMIT if found[remedy] is None else found[remedy].minor
                assert approves(engine, with_amount(other, up_to), usage), remedy
                assert found[remedy] is None or not approves(engine, with_amount(other, up_to + 1), usage), remedy
            elif remedy != request.remedy or request.basis == "owed":
                assert most is not None, remedy
                assert most.minor == 0, remedy


@law
@given(some_cases(12))
def test_a_reason_says_by_how_much_the_request_fell_short(cases: Cases) -> None:
    for _, request, _, decision in decided(cases):
        for reason in decision.because:
            if decision.outcome in (ESCALATE, DENY) and reason.limit is not None:
                assert reason.had is not None
                assert reason.had > reason.limit, reason
                assert reason.short_by == reason.had - reason.limit
            if decision.outcome == APPROVE and reason.limit is not None and request.amount.minor:
                assert reason.short_by == 0, reason


# --- flips: single changes that would let the requester settle it -----------------------------------------------------


def with_value(request: RecoveryRequest, name: str, value: int) -> RecoveryRequest:
    """The request with another amount, bill or number; money in minor units."""
    money = Money(value, request.amount.currency)
    if name in ("amount", "bill"):
        return replace(request, **{name: money})
    is_number = name == "days"
    return replace(request, facts={**request.facts, name: value if is_number else money})


def value_of(request: RecoveryRequest, name: str, policy: Policy) -> int | None:
    if name in ("amount", "bill"):
        money = getattr(request, name)
        return None if money is None else money.minor
    value = request.facts.get(name, policy.facts[name].default)
    return value.minor if isinstance(value, Money) else value


def with_word(request: RecoveryRequest, name: str, word: str) -> RecoveryRequest:
    if name in ("category", "severity"):
        return replace(request, **{name: word})
    return replace(request, facts={**request.facts, name: {"true": True, "false": False}.get(word, word)})


def may(engine: Compiled, request: RecoveryRequest, usage: Usage) -> bool:
    """Whether it is approved; a request that would need another fact first is not."""
    try:
        return approves(engine, request, usage)
    except InvalidRequest:
        return False


@law
@given(some_cases(16))
def test_every_flip_is_true(cases: Cases) -> None:
    kinds = {**{name: fact.kind for name, fact in cases.policy.facts.items()}, "amount": "money", "bill": "money"}
    for engine, request, usage, decision in decided(cases):
        assert decision.outcome != APPROVE or not decision.flip
        for name, change in decision.flip:
            if name == "evidence":
                note = "as told" if "note" in decision.needs else request.note
                codes = cases.policy.reason_codes.get(request.category or "", ())
                reason = codes[-1] if "reason" in decision.needs else request.reason
                evidence = frozenset(request.evidence) | set(decision.needs)
                proven = replace(request, evidence=evidence, note=note, reason=reason)
                assert approves(engine, proven, usage), change
            elif kinds.get(name) in ("money", "number"):
                number_flip_is_true(engine, request, usage, name, change)
            else:
                words = set(change.split(" or "))
                listed = ("true", "false") if kinds.get(name) == "flag" else cases.policy.words.known(name) or words
                now = {True: "true", False: "false"}.get(engine.words_of(request)[name], engine.words_of(request)[name])
                for word in set(listed) - {now}:
                    assert may(engine, with_word(request, name, word), usage) == (word in words), f"{name} {change}"


@law
@given(some_cases(4))
def test_no_flip_is_forgotten(cases: Cases) -> None:
    facts = cases.policy.facts.items()
    numbers = ["amount", "bill", *(name for name, fact in facts if fact.kind in ("number", "money"))]
    for engine, request, usage, decision in decided(cases):
        if decision.outcome != APPROVE:
            for name in set(numbers) - {flip.name for flip in decision.flip}:
                for value in range(request.amount.minor if name == "amount" else 3 * LARGEST):
                    assert not may(engine, with_value(request, name, value), usage), f"{name} {value} would do"


def number_flip_is_true(engine: Compiled, request: RecoveryRequest, usage: Usage, name: str, change: str) -> None:
    if change.endswith(", at no cost"):
        assert approves(engine, with_amount(request, 0), usage)
        return
    figure, _, direction = change.partition(" or ")
    edge = int(figure) if name == "days" else Money.of(figure, engine.policy.currency).minor
    now = value_of(request, name, engine.policy)
    assert may(engine, with_value(request, name, edge), usage), f"{name} {change}"
    lowest = 1 if name == "amount" else -60 if name == "days" else 0
    if now is not None:  # it is the nearest: between what is and the edge nothing would do
        between = range(max(now + 1, edge - 60), edge) if edge > now else range(edge + 1, min(now, edge + 60))
        for value in between:
            assert not may(engine, with_value(request, name, value), usage), f"{name} {change}, but {value} would do"
    if direction:
        for value in range(edge, edge + 60) if direction == "more" else range(max(lowest, edge - 60), edge):
            assert may(engine, with_value(request, name, value), usage), f"{name} {change}, but {value} would not do"
