"""What may happen to a recovery next, rule by rule, without a log: values in, values out."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from asking import CLASSIC
from asking import ask as decided

from recovery_engine import Money, NotAllowed, Usage, parse_policy
from recovery_engine.decide import decide
from recovery_engine.model import RecoveryRequest
from recovery_engine.workflow import (
    FOLLOWS,
    Actor,
    Approval,
    Delegation,
    Silence,
    after_silence,
    agreed_by_asking,
    approval,
    capped_minor,
    due_after,
    due_after_answer,
    first_asked,
    is_agreed,
    is_silent,
    promise,
    require_answerer,
    require_approver,
    require_authority,
    require_delegation,
    require_follows,
    require_lendable,
    require_requester,
    tell_customer,
    waived,
    what_could,
)

SECOND = 1_000_000
NOON = 1_795_262_400_000_000
"""Saturday, 2026-11-21 12:00 UTC, in microseconds."""

TIMES = "escalation: {answer_within: {lead: 5 minutes, manager: 15 minutes}}\n"
POLICY = parse_policy(CLASSIC + TIMES)


@dataclass(frozen=True)
class Stands:
    """A clerk, Ann, has asked for 150 dollars; a lead is to answer until five past twelve."""

    recovery: str = "r-1"
    status: str = "pending"
    employee: str = "ann"
    role: str = "clerk"
    remedy: str = "refund"
    currency: str = "USD"
    asked_minor: int = 15_000
    to_role: str | None = "lead"
    second_role: str | None = None
    due_us: int | None = NOON + 300 * SECOND
    question_us: int | None = None
    approver: str | None = None
    approver_role: str | None = None
    on_behalf: str | None = None
    agreed_remedy: str | None = None
    agreed_minor: int | None = None
    second_by: str | None = None
    granted_us: int | None = None
    fulfilled_us: int | None = None
    closed_us: int | None = None
    closed_by: str | None = None


PENDING = Stands()
AGREED = replace(
    PENDING,
    approver="lea",
    approver_role="lead",
    agreed_remedy="voucher",
    agreed_minor=12_000,
    to_role="manager",
    second_role="manager",
)
"""Lea, a lead, has agreed to a voucher of 120; a manager must agree too."""

CLERK, LEAD, MANAGER = Actor("cy", "clerk"), Actor("leo", "lead"), Actor("max", "manager")


def refused(why: str, call: Any, *args: Any) -> None:
    """The call is not allowed, and says *why*."""
    with pytest.raises(NotAllowed, match=why):
        call(*args)


# --- what may follow --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["pending", "granted", "denied", "declined", "withdrawn", "lapsed", "voided"])
def test_only_what_is_pending_is_answered_and_only_what_was_granted_is_fulfilled_or_voided(status: str) -> None:
    may = {kind for kind, statuses in FOLLOWS.items() if status in statuses}
    while_pending = {
        "approved",
        "declined",
        "asked",
        "answered",
        "amended",
        "withdrawn",
        "joined",
        "lapsed",
        "moved_up",
    }
    assert may == {"pending": while_pending, "granted": {"fulfilled", "voided"}}.get(status, set())


def test_who_comes_second_learns_who_was_first_and_when() -> None:
    granted = replace(PENDING, status="granted", approver="lea", granted_us=NOON + 61 * SECOND)
    refused("`r-1` was granted by lea at 2026-11-21 12:01:01 UTC", require_follows, "approved", granted)
    second = replace(granted, second_by="max")
    refused("granted by max at", require_follows, "approved", second)
    for status in ("declined", "withdrawn", "voided"):
        closed = replace(PENDING, status=status, closed_by="leo", closed_us=NOON)
        refused(f"`r-1` was {status} by leo at 2026-11-21 12:00:00 UTC", require_follows, "approved", closed)
    lapsed = replace(PENDING, status="lapsed", closed_us=NOON)
    refused("`r-1` was lapsed at 2026-11-21 12:00:00 UTC", require_follows, "approved", lapsed)
    fulfilled = replace(granted, status="fulfilled", fulfilled_us=NOON + 90 * SECOND)
    refused("`r-1` was fulfilled at 2026-11-21 12:01:30 UTC", require_follows, "voided", fulfilled)
    refused("`r-1` is denied", require_follows, "approved", replace(PENDING, status="denied"))


def test_what_would_be_allowed_is_said() -> None:
    assert what_could(PENDING) == "it could be approved or declined or asked or amended or withdrawn"
    assert "answered" in what_could(replace(PENDING, question_us=NOON))
    assert what_could(replace(PENDING, status="granted")) == "it could be fulfilled or voided"
    assert what_could(replace(PENDING, status="denied")) == "nothing can follow"


def test_one_question_at_a_time_and_no_answer_without_a_question() -> None:
    require_follows("asked", PENDING)
    refused("open already", require_follows, "asked", replace(PENDING, question_us=NOON))
    require_follows("answered", replace(PENDING, question_us=NOON))
    refused("nobody has asked", require_follows, "answered", PENDING)


# --- who --------------------------------------------------------------------------------------------------------------


def test_the_requester_never_approves() -> None:
    refused("ann asked for it", require_approver, POLICY, PENDING, Actor("ann", "manager"), ())


def test_the_requester_never_approves_in_somebody_s_name_nor_by_lending_their_own() -> None:
    refused("ann asked for it", require_approver, POLICY, PENDING, Actor("ann", "manager", "max"), ())
    refused("ann asked for it", require_approver, POLICY, PENDING, Actor("leo", "lead", "ann"), ())


def test_nobody_agrees_twice() -> None:
    refused("lea agreed to it already", require_approver, POLICY, AGREED, Actor("lea", "manager"), ())
    refused("lea agreed to it already", require_approver, POLICY, AGREED, Actor("max", "manager", "lea"), ())
    lent = replace(AGREED, on_behalf="mia")
    refused("mia's name already", require_approver, POLICY, lent, Actor("mia", "manager"), ())


def test_the_requester_is_no_second_person_either() -> None:
    refused("ann asked for it", require_approver, POLICY, AGREED, Actor("ann", "manager"), ())


def test_whoever_asked_for_the_very_same_never_approves_it_nor_does_anybody_in_their_name() -> None:
    for standing, actor in ((PENDING, LEAD), (AGREED, MANAGER)):
        require_approver(POLICY, standing, actor, ("joe",))
        refused("asked for it too", require_approver, POLICY, standing, actor, ("joe", actor.employee))
    refused("joe asked for it too", require_approver, POLICY, PENDING, Actor("leo", "lead", "joe"), ("joe",))


def test_a_second_person_needs_the_role_and_agrees_in_their_own_name() -> None:
    require_approver(POLICY, AGREED, MANAGER, ())
    refused("lea agreed to it, and a lead cannot be the second person", require_approver, POLICY, AGREED, LEAD, ())
    refused("their own name", require_approver, POLICY, AGREED, Actor("leo", "manager", "mia"), ())


def test_nobody_approves_what_somebody_above_them_asks_for() -> None:
    above = replace(PENDING, role="manager")
    refused("a lead cannot approve what a manager", require_approver, POLICY, above, LEAD, ())
    require_approver(POLICY, replace(PENDING, role="lead"), LEAD, ())


def test_only_who_was_asked_or_stands_above_declines_and_asks() -> None:
    for actor in (LEAD, MANAGER):
        require_answerer(POLICY, PENDING, actor, "lead")
    refused("a clerk was not asked", require_answerer, POLICY, PENDING, CLERK, "lead")
    refused("ann asked for it", require_answerer, POLICY, PENDING, Actor("ann", "manager"), "lead")


def test_moving_up_takes_authority_from_nobody() -> None:
    moved = replace(PENDING, to_role="manager")
    require_answerer(POLICY, moved, LEAD, first_asked(POLICY, moved, "lead"))
    second = replace(AGREED, second_role="lead", to_role="lead")
    assert first_asked(POLICY, second, "manager") == "lead"
    assert first_asked(POLICY, PENDING, "manager") == "manager"


def test_only_the_requester_takes_it_back() -> None:
    require_requester(PENDING, "ann")
    refused("`r-1` is ann's", require_requester, PENDING, "leo")


# --- what -------------------------------------------------------------------------------------------------------------


def test_an_approver_grants_what_was_asked_or_less_or_another_remedy_and_never_more() -> None:
    assert approval(PENDING, None, None) == Approval("refund", 15_000)
    assert approval(PENDING, "voucher", 10_000) == Approval("voucher", 10_000)
    refused("more than the .150.00 that was asked for", approval, PENDING, None, 15_001)


def test_a_second_person_grants_what_the_first_agreed_to_or_less() -> None:
    assert approval(AGREED, None, None) == Approval("voucher", 12_000)
    assert approval(AGREED, "voucher", 11_000) == Approval("voucher", 11_000)
    refused("more than the .120.00 that was agreed to", approval, AGREED, None, 12_001)
    refused("lea agreed to voucher", approval, AGREED, "refund", None)


def test_the_agreement_of_who_asked_counts_where_only_the_second_person_was_missing() -> None:
    free, stopped = [["clerk"], ["lead"]], [["clerk", "standard"], ["lead"]]
    assert agreed_by_asking("escalate", "lead", "clerk", free)
    assert not agreed_by_asking("escalate", "lead", "clerk", stopped)
    assert not agreed_by_asking("escalate", None, "clerk", free)
    assert not agreed_by_asking("approve", "lead", "clerk", free)


def test_a_recovery_is_agreed_to_only_while_it_is_pending() -> None:
    assert is_agreed(AGREED)
    assert not is_agreed(PENDING)
    assert not is_agreed(replace(AGREED, status="granted"))


def authority(policy: str, role: str, amount: int, had: int = 0, **fields: Any) -> None:
    """Whether a *role* has authority for so many dollars on a case that had *had* already."""
    parsed = parse_policy(policy)
    request = RecoveryRequest(role=role, remedy="refund", amount=Money.of(str(amount), "USD"), **fields)
    decision = decide(parsed, request, Usage(on_case={"refund": 100 * had} if had else {}))
    require_authority(parsed, decision, Actor("leo", role))


def test_authority_covers_the_whole_case_not_just_the_rest() -> None:
    authority(CLASSIC, "lead", 150, had=100)
    refused("lead does not cover it: standard", authority, CLASSIC, "lead", 151, 100)


def test_who_is_stopped_is_told_what_they_may_and_who_else_could() -> None:
    with pytest.raises(NotAllowed) as error:
        authority(CLASSIC, "lead", 300)
    assert error.value.help == "grant up to $250.00, or ask manager, or decline it"


def test_someone_else_is_about_who_asks() -> None:
    policy = CLASSIC + "someone_else: [{id: own-family}]\n"
    authority(policy, "lead", 200)
    refused("standard", authority, policy, "lead", 300)


def test_proof_that_an_approver_may_do_without_is_named() -> None:
    policy = CLASSIC + "requires: [{id: photo, evidence: [photo], waivable_by: lead}]\n"
    parsed = parse_policy(policy)
    assert waived(parsed, decided(policy, role="lead", amount=150), "lead") == ["photo"]
    assert waived(parsed, decided(policy, role="lead", amount=150, evidence=["photo"]), "lead") == []
    refused("photo", authority, policy.replace("waivable_by: lead", "waivable_by: manager"), "lead", 150)


# --- silence ----------------------------------------------------------------------------------------------------------


def test_an_answer_is_overdue_from_the_moment_it_is_due() -> None:
    due = NOON + 300 * SECOND
    assert [is_silent(POLICY, PENDING, due + after) for after in (-1, 0, 1)] == [False, True, True]
    assert not is_silent(POLICY, replace(PENDING, due_us=None), due)
    assert not is_silent(POLICY, replace(PENDING, status="granted"), due)


def test_a_question_stops_the_clock_unless_the_policy_lets_it_run() -> None:
    asked, due = replace(PENDING, question_us=NOON + 60 * SECOND), NOON + 300 * SECOND
    assert not is_silent(POLICY, asked, due)
    assert due_after_answer(POLICY, asked, NOON + 100 * SECOND) == due + 40 * SECOND
    runs = parse_policy(CLASSIC + TIMES.replace("}}", "}, on_question: run}"))
    assert is_silent(runs, asked, due)
    assert due_after_answer(runs, asked, NOON + 100 * SECOND) == due


def test_an_answer_within_the_same_instant_gives_no_time_back() -> None:
    asked = replace(PENDING, question_us=NOON)
    assert due_after_answer(POLICY, asked, NOON) == PENDING.due_us
    assert due_after_answer(POLICY, replace(asked, due_us=None), NOON) is None


def test_silence_asks_the_next_role_that_may_and_lapses_at_the_top() -> None:
    assert after_silence(POLICY, PENDING, {"lead", "manager"}) == Silence("moved_up", "manager")
    assert after_silence(POLICY, PENDING, {"lead"}) == Silence("lapsed")
    assert after_silence(POLICY, replace(PENDING, to_role="manager"), {"manager"}) == Silence("lapsed")
    assert after_silence(POLICY, replace(AGREED, to_role="lead"), set()) == Silence("moved_up", "manager")


def test_silence_declines_where_the_policy_says_so() -> None:
    policy = parse_policy(CLASSIC + TIMES.replace("}}", "}, on_silence: decline}"))
    assert after_silence(policy, PENDING, {"manager"}) == Silence("declined")


def test_each_role_has_its_own_time() -> None:
    assert due_after(POLICY, "manager", NOON) == NOON + 900 * SECOND
    assert due_after(POLICY, "clerk", NOON) is due_after(POLICY, None, NOON) is None


# --- delegation -------------------------------------------------------------------------------------------------------

LENT = Delegation("d-1", "max", "lea", "manager", ("S1",), ("refund",), 30_000, "USD", NOON, NOON + 60 * SECOND)


def lent(
    delegation: Delegation = LENT,
    *,
    by: str = "lea",
    site: str = "S1",
    remedy: str = "refund",
    dollars: int = 100,
    had: int = 0,
    at_us: int = NOON,
) -> None:
    require_delegation(delegation, PENDING, by, site, Approval(remedy, 100 * dollars), 100 * had, at_us)


def test_lent_authority_is_in_force_from_its_first_instant_to_before_its_last() -> None:
    lent(at_us=NOON)
    lent(at_us=NOON + 60 * SECOND - 1)
    for at_us in (NOON - 1, NOON + 60 * SECOND):
        with pytest.raises(NotAllowed, match="not in force now"):
            lent(at_us=at_us)


def test_lent_authority_is_not_passed_on_and_ends_when_it_is_taken_back() -> None:
    with pytest.raises(NotAllowed, match="is lea's, and is not passed on"):
        lent(by="leo")
    with pytest.raises(NotAllowed, match="was revoked"):
        lent(LENT._replace(revoked_us=NOON))


def test_lent_authority_is_for_its_sites_and_remedies() -> None:
    with pytest.raises(NotAllowed, match="not for the site `S2`"):
        lent(site="S2")
    with pytest.raises(NotAllowed, match="not for voucher"):
        lent(remedy="voucher")
    lent(LENT._replace(sites=(), remedies=()), site="S2", remedy="voucher")


def test_a_cap_counts_the_whole_case_and_includes_its_last_cent() -> None:
    lent(dollars=200, had=100)
    with pytest.raises(NotAllowed, match=r"goes to .300\.00 for one case"):
        lent(dollars=201, had=100)
    lent(dollars=0, had=400)  # what costs nothing is over no cap
    with pytest.raises(NotAllowed, match="capped in EUR"):
        lent(LENT._replace(currency="EUR"))
    usage = Usage(on_case={"refund": 100, "voucher": 50}, owed_on_case={"refund": 7})
    assert (capped_minor(usage, "goodwill"), capped_minor(usage, "owed")) == (150, 7)


def pair(by: str, to: str, from_us: int = NOON, until_us: int = NOON + 60 * SECOND, **more: Any) -> Delegation:
    return LENT._replace(by=by, to=to, from_us=from_us, until_us=until_us, **more)


def test_authority_never_comes_back_to_whom_it_came_from() -> None:
    refused("max has that authority already", require_lendable, pair("max", "max"), [])
    refused("lea has lent authority to max", require_lendable, pair("max", "lea"), [pair("lea", "max")])
    chain = [pair("lea", "leo", role="lead"), pair("leo", "cy", role="clerk"), pair("cy", "max", role="clerk")]
    refused("directly or by others", require_lendable, pair("max", "lea"), chain)
    require_lendable(pair("max", "lea"), chain[:2])


def test_lent_authority_is_passed_on_in_neither_order() -> None:
    first, second = pair("max", "lea"), pair("lea", "leo")
    refused("max lent lea that authority, and it is not passed on", require_lendable, second, [first])
    refused("lea has lent that authority to leo", require_lendable, first, [second])
    for other in (second._replace(role="lead"), pair("lea", "leo", first.until_us, first.until_us + SECOND)):
        require_lendable(first, [other])
        require_lendable(other, [first])
    require_lendable(first, [second._replace(revoked_us=NOON)])


def test_a_circle_that_is_over_before_it_closes_is_none() -> None:
    later = {"from_us": NOON + 60 * SECOND, "until_us": NOON + 90 * SECOND}
    require_lendable(pair("max", "lea", **later), [pair("lea", "max")])
    require_lendable(pair("max", "lea"), [pair("lea", "max", revoked_us=NOON)])


# --- promises ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "due", "fulfilled", "standing"),
    [
        ("granted", 0, None, "open"),
        ("granted", -1, None, "overdue"),
        ("granted", None, None, "open"),
        ("fulfilled", 0, 0, "kept"),
        ("fulfilled", 0, 1, "late"),
        ("fulfilled", None, 9, "kept"),
        ("voided", 0, None, "broken"),
        ("pending", -1, None, None),
        ("denied", None, None, None),
    ],
)
def test_a_grant_is_a_promise(status: str, due: int | None, fulfilled: int | None, standing: str | None) -> None:
    due_us = None if due is None else NOON + due
    assert promise(status, due_us, None if fulfilled is None else NOON + fulfilled, NOON) == standing


# --- what the customer is told ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["approved", "escalated", "asked", "declined", "lapsed", "withdrawn", "voided"])
def test_the_customer_hears_a_sentence_that_shows_no_limit(what: str) -> None:
    sentence = tell_customer(POLICY, what, "lead", Money.of("150", "USD"), "refund")
    assert sentence.endswith(".")
    assert "{" not in sentence
    assert not {"100", "250", "500"} & set(sentence.replace(".", " ").split())


def test_the_customer_hears_who_has_it_now_and_by_when() -> None:
    told = tell_customer(POLICY, "escalated", "manager", Money.of("150", "USD"), "refund")
    assert "manager" in told
    assert "15 minutes" in told
    assert tell_customer(POLICY, "declined", "lead", Money.of("1", "USD"), "refund", "It was fixed.").endswith("fixed.")
