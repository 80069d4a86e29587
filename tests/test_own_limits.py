"""One person's own limit: it counts in the place of the role's, for that person alone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from engines import entries, opened
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from recovery_engine import (
    Decision,
    IdempotencyConflict,
    InvalidRequest,
    Money,
    Outcome,
    OwnLimit,
    Policy,
    RecoveryLog,
    RecoveryRequest,
    Usage,
    decide,
    parse_policy,
    story_lines,
    verify,
)
from recovery_engine.decide import _compiled, _compiled_personally
from recovery_engine.log.entry import FIELDS
from recovery_engine.money import decimal_text
from recovery_engine.policy.own_limits import as_for
from tests.asking import CLASSIC, HEAD
from tests.strategies import LARGEST, Cases, some_cases
from tests.test_oracle import SCALE

law = settings(max_examples=10 * SCALE, deadline=None, derandomize=True, database=None, phases=[Phase.generate])

FAMILY = CLASSIC + "facts: {knows: {flag: true, default: false}}\nsomeone_else: [{id: family, when: {knows: true}}]\n"


def dollars(amount: str | int) -> Money:
    return Money.of(str(amount), "USD")


def at_most(amount: int) -> OwnLimit:
    return OwnLimit(at_most=dollars(amount))


def up_to(amount: int) -> OwnLimit:
    return OwnLimit(up_to=dollars(amount))


def asked(text: str | Policy, amount: int, own_limit: OwnLimit | None, role: str = "clerk", **more: Any) -> Decision:
    policy = parse_policy(text) if isinstance(text, str) else text
    request = RecoveryRequest(role, "refund", dollars(amount), employee="emp-104", own_limit=own_limit, **more)
    return decide(policy, request)


def said(decision: Decision) -> str:
    return f"{decision.outcome} {decision.to or ''}".strip()


# --- laws -------------------------------------------------------------------------------------------------------------


def personal_cases(cases: Cases) -> Iterator[tuple[RecoveryRequest, Usage, OwnLimit, Decision, Decision]]:
    """Each request with an own limit of either kind, and what is decided with it and without.

    One amount for all of them, because every other one is another policy to prepare.
    """
    money = Money(Random(cases.text).randint(0, LARGEST), cases.policy.currency)
    for request, usage in cases.requests:
        for own_limit in (OwnLimit(at_most=money), OwnLimit(up_to=money)):
            own = decide(cases.policy, replace(request, own_limit=own_limit), usage)
            yield request, usage, own_limit, own, decide(cases.policy, request, usage)


def most(decision: Decision) -> float:
    return float("inf") if decision.grantable_now is None else decision.grantable_now.minor


@law
@given(some_cases(12))
def test_at_most_never_widens_and_up_to_never_narrows(cases: Cases) -> None:
    for _, _, own_limit, own, plain in personal_cases(cases):
        less, more = (own, plain) if own_limit.at_most else (plain, own)
        assert less.outcome != Outcome.APPROVE or more.outcome == Outcome.APPROVE
        assert most(less) <= most(more)


@law
@given(some_cases(12))
def test_the_rungs_of_other_roles_stay_as_they_are(cases: Cases) -> None:
    for request, _, _, own, plain in personal_cases(cases):
        others = [(mine, theirs) for mine, theirs in zip(own.rungs, plain.rungs, strict=True) if mine != theirs]
        assert [mine.role for mine, _ in others] in ([], [request.role])
        assert own.policy == plain.policy


@law
@given(some_cases(12))
def test_it_is_as_if_the_policy_said_so_of_the_role(cases: Cases) -> None:
    """But for another person of the same role, who is asked where `someone_else` fits and at the top."""
    policy, edited = cases.policy, {}
    for request, usage, own_limit, own, _ in personal_cases(cases):
        key = request.role, own_limit
        edited[key] = edited.get(key) or edited_by_hand(cases, policy.rank(request.role), own_limit)
        by_hand = decide(edited[key], request, usage)
        assert own.grantable_now == by_hand.grantable_now
        assert own.alternatives == by_hand.alternatives
        assert own.rungs == by_hand.rungs
        if request.role != policy.ladder[-1] and not policy.someone_else:
            for name in ("outcome", "to", "second", "needs", "lines", "flip"):
                assert getattr(own, name) == getattr(by_hand, name), name
            figures = [(reason.line, reason.what, reason.had, reason.limit) for reason in own.because]
            assert figures == [(reason.line, reason.what, reason.had, reason.limit) for reason in by_hand.because]


def edited_by_hand(cases: Cases, rank: int, own_limit: OwnLimit) -> Policy:
    """The policy as its author would have to write it."""
    raw = yaml.load(cases.text, yaml.BaseLoader)
    for line, parsed in zip(raw["authority"], cases.policy.authority, strict=True):
        for row, cells in parsed.up_to.items():
            line["up_to"][row] = [
                edited_cell(cell, row, own_limit) if at == rank else shown(cell, cases.policy.currency)
                for at, cell in enumerate(cells)
            ]
    return parse_policy(yaml.safe_dump(raw, sort_keys=False, width=1000))


def shown(cell: int | str, currency: str) -> str:
    return cell if isinstance(cell, str) else decimal_text(cell, currency)


def edited_cell(cell: int | str, row: str, own_limit: OwnLimit) -> str:
    money = own_limit.at_most or own_limit.up_to
    assert money is not None
    if own_limit.at_most:
        lower = cell == "unlimited" or (not isinstance(cell, str) and cell > money.minor)
        return money.decimal if lower else shown(cell, money.currency)
    higher = row == "total" and not isinstance(cell, str) and cell < money.minor
    return money.decimal if higher else shown(cell, money.currency)


# --- in words ---------------------------------------------------------------------------------------------------------


def test_the_reason_says_whose_limit_it_is() -> None:
    (reason,) = asked(CLASSIC, 80, at_most(60)).because
    assert (reason.had, reason.limit, reason.short_by) == (8000, 6000, 2000)
    assert reason.text == "emp-104's own limit is $60.00 for one case (in all); this would make $80.00"
    (reason,) = asked(CLASSIC, 120, up_to(150)).because
    assert reason.text == "emp-104's own limit is $150.00 for one case (in all); this would make $120.00"


def test_a_limit_that_changes_nothing_is_not_spoken_of() -> None:
    (reason,) = asked(CLASSIC, 120, at_most(200)).because
    assert reason.text == "clerk may approve $100.00 for one case (in all); this would make $120.00"


def test_what_can_be_given_now_and_instead_follow_the_own_limit() -> None:
    decision = asked(CLASSIC.replace("authority", "remedies: [refund, voucher]\nauthority"), 80, at_most(60))
    assert decision.grantable_now == dollars(60)
    assert [(other.remedy, other.up_to) for other in decision.alternatives] == [("voucher", dollars(60))]
    assert decision.flip[0].change == "$60.00 or less"


# --- another person of the same role ----------------------------------------------------------------------------------


def test_a_new_manager_at_the_top_asks_another_manager() -> None:
    decision = asked(CLASSIC, 80, at_most(60), "manager")
    assert said(decision) == "escalate manager"
    assert said(asked(CLASSIC, 600, at_most(60), "manager")) == "deny"


def test_someone_else_of_the_role_has_the_limit_of_the_role() -> None:
    family = {"facts": {"knows": True}}
    assert said(asked(FAMILY, 80, at_most(60), **family)) == "escalate clerk"
    assert said(asked(FAMILY, 120, up_to(150), **family)) == "escalate lead"
    assert said(asked(FAMILY, 600, up_to(700), "manager", **family)) == "deny"


def test_four_eyes_bind_as_they_do() -> None:
    eyes = CLASSIC + "four_eyes: [{id: two, when: {amount: over 120}, second: lead}]\n"
    assert said(asked(eyes, 120, up_to(150))) == "approve"
    decision = asked(eyes, 121, up_to(150))
    assert (said(decision), decision.second) == ("escalate lead", "lead")


def test_a_row_of_one_remedy_still_binds() -> None:
    refunds = HEAD + "authority:\n  - {id: standard, up_to: {total: [100, 250, 500], refund: [40, 250, 500]}}\n"
    assert asked(refunds, 41, up_to(150)).outcome == Outcome.ESCALATE


# --- what is wrong with one -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own_limit", "message"),
    [
        (60, "a int where an own limit belongs"),
        (OwnLimit(), "either `at_most` or `up_to`"),
        (OwnLimit(dollars(1), dollars(2)), "either `at_most` or `up_to`"),
        (OwnLimit(at_most=60), "a int is not an amount of money"),  # type: ignore[arg-type]
        (OwnLimit(at_most=Money.of("60", "EUR")), "EUR is not the policy's currency"),
        (OwnLimit(up_to=Money(-1, "USD")), "below zero"),
        (OwnLimit(up_to=Money(2**60, "USD")), "too large"),
    ],
)
def test_an_own_limit_that_is_none_is_a_problem_of_the_request(own_limit: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as raised:
        asked(CLASSIC, 5, own_limit, "clark")
    assert [found.where for found in raised.value.diagnostics] == ["role", "own_limit"]


# --- memory -----------------------------------------------------------------------------------------------------------


def test_people_with_own_limits_do_not_push_policies_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recovery_engine.policy.own_limits._MOST_KEPT", 4)
    monkeypatch.setitem(decide.__globals__, "_MOST_POLICIES", 4)
    policy = parse_policy(CLASSIC)
    ready = decide.__globals__["compiled"](policy)
    for amount in range(1, 10):
        assert asked(policy, 99, at_most(amount)).outcome == Outcome.ESCALATE
    assert len(_compiled_personally) <= 4
    assert _compiled[id(policy), id(None)] is ready


def test_the_same_limit_of_two_people_is_prepared_once() -> None:
    policy = parse_policy(CLASSIC)
    assert as_for(policy, "clerk", at_most(60)) is as_for(policy, "clerk", at_most(60))
    assert as_for(policy, "clerk", at_most(60)) is not as_for(policy, "lead", at_most(60))
    assert as_for(policy, "clerk", at_most(60)).digest == policy.digest


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 200), st.integers(0, 200))
def test_memory_of_one_limit_never_answers_for_another(first: int, second: int) -> None:
    policy = parse_policy(CLASSIC)
    for limit in (first, second, first):
        assert asked(policy, 80, at_most(limit)).outcome == (Outcome.APPROVE if limit >= 80 else Outcome.ESCALATE)


# --- in the log -------------------------------------------------------------------------------------------------------


def request(id: str, own_limit: OwnLimit | None) -> RecoveryRequest:
    fields = {"employee": "emp-104", "site": "S1", "case": f"C-{id}", "own_limit": own_limit}
    return RecoveryRequest("clerk", "refund", dollars(80), id=id, **fields)  # type: ignore[arg-type]


def test_a_log_holds_the_own_limit_and_decides_the_same_again(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/log.db"
    with opened(database, CLASSIC) as engine:
        assert engine.what_if(request("r-1", at_most(60))).outcome == Outcome.ESCALATE
        assert engine.request(request("r-1", at_most(60))).outcome == Outcome.ESCALATE
        assert engine.request(request("r-1", at_most(60))).replayed
        assert engine.request(request("r-2", up_to(150))).outcome == Outcome.APPROVE
        with pytest.raises(IdempotencyConflict):
            engine.request(request("r-1", None))
    first, second = entries(database, "decided")
    assert (first["request"]["own_limit"], second["request"]["own_limit"]) == ({"at_most": 6000}, {"up_to": 15000})
    report = verify(database)
    assert (report.findings, report.replayed) == ((), 2)
    with RecoveryLog.open(database) as log:
        assert "emp-104's own limit is $60.00 for one case" in "\n".join(story_lines(log.story("r-1")))


def test_a_log_refuses_what_is_no_own_limit_with_all_else(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path}/log.db", CLASSIC) as engine, pytest.raises(InvalidRequest) as raised:
        engine.request(replace(request("", OwnLimit()), role="clark"))
    assert [found.where for found in raised.value.diagnostics] == ["id", "own_limit", "role"]


@pytest.mark.parametrize(
    ("value", "fine"),
    [
        ({"at_most": 6000}, True),
        ({"up_to": 0}, True),
        ({}, False),
        (6000, False),
        ({"at_most": -1}, False),
        ({"at_most": "6000"}, False),
        ({"at_most": 1, "up_to": 1}, False),
        ({"other": 1}, False),
    ],
)
def test_an_entry_says_either_kind_in_minor_units(value: Any, fine: bool) -> None:
    assert FIELDS["own_limit"](value) == fine
