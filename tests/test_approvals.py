"""Who may approve what: decided afresh for the whole case, by another person, bound to what was asked."""

from collections.abc import Iterator
from typing import Any

import pytest
from answering import EYES, LEAD, MANAGER, MINUTE, OTHER, TIMED, granted, lend, refused, status, used
from engines import DAY, START, Clock, ask, assert_whole, dollars, entries, opened, rows

from recovery_engine import InvalidRequest, Outcome, RecoveryEngine


@pytest.fixture
def engine(log_url: str, clock: Clock) -> Iterator[RecoveryEngine]:
    """An engine whose leads have five minutes and managers fifteen; its log is checked when the test is over."""
    with opened(log_url, TIMED, clock=clock) as engine:
        yield engine
    assert_whole(log_url)


# --- authority --------------------------------------------------------------------------------------------------------


def test_who_has_the_authority_grants_it(engine: RecoveryEngine, log_url: str) -> None:
    assert engine.request(ask("r-1", 150)).to == "lead"
    done = engine.approve("r-1", note="A regular guest", **LEAD)
    assert (done.state.status, done.replayed, done.state.approver) == ("granted", False, "lea")
    assert granted(engine) == ("refund", 150)
    assert (used(log_url, "employee:lea"), used(log_url, "employee:emp-1")) == (150, 0)
    (entry,) = entries(log_url, "approved")
    assert (entry["by"], entry["role"], entry["due_us"]) == ("lea", "lead", START + 2 * DAY)
    asked = rows(log_url, "SELECT leaf FROM recovery_log WHERE request_id = 'r-1'")[0][0]
    assert entry["of"] == bytes(asked).hex()


def test_authority_covers_the_whole_case_and_not_just_the_rest(engine: RecoveryEngine) -> None:
    engine.request(ask("r-0", 100, case="C-1"))
    assert engine.request(ask("r-1", 151, case="C-1")).to == "manager"
    with refused("does not cover it: standard"):
        engine.approve("r-1", **LEAD)
    engine.approve("r-1", amount=dollars(150), **LEAD)
    assert granted(engine) == ("refund", 150)


def test_it_is_decided_afresh_with_what_the_case_had_meanwhile(engine: RecoveryEngine) -> None:
    engine.request(ask("r-1", 150, case="C-1"))
    engine.request(ask("r-2", 100, case="C-1", employee="emp-2", remedy="voucher"))
    engine.request(ask("r-3", 1, case="C-1", employee="emp-3"))
    engine.approve("r-3", **OTHER)  # now the case had 101
    with refused("standard"):
        engine.approve("r-1", **LEAD)
    assert status(engine) == "pending"
    engine.approve("r-1", **MANAGER)


MONTH = TIMED + "budgets: [{id: month, per: site, every: month, amount: 400, binds_below: manager}]\n"


def test_a_budget_that_was_filled_meanwhile_stops_it_and_one_that_was_freed_lets_it(with_policy: Any) -> None:
    engine = with_policy(MONTH)
    assert engine.request(ask("r-1", 150)).to == "lead"
    for number in range(3):
        engine.request(ask(f"f-{number}", 100, employee=f"f-{number}"))
    with refused("month"):
        engine.approve("r-1", **LEAD)
    engine.void("f-0", "given twice", by="lea")
    engine.approve("r-1", **LEAD)


def test_a_request_for_a_manager_is_a_lead_s_again_when_the_budget_is_free(with_policy: Any, clock: Clock) -> None:
    engine = with_policy(MONTH)
    for number in range(4):
        engine.request(ask(f"f-{number}", 100, employee=f"f-{number}"))
    assert engine.request(ask("r-1", 150)).to == "manager"
    clock.now_us += 10 * DAY  # another month
    engine.approve("r-1", **LEAD)


@pytest.mark.parametrize(
    ("limits", "may"), [("[10, 20, 30]", True), ("[1000, 1000, 1000]", False)], ids=["stricter", "wider"]
)
def test_it_stays_under_the_policy_of_the_request(with_policy: Any, clock: Clock, limits: str, may: bool) -> None:
    with_policy(TIMED).request(ask("r-1", 150 if may else 300))
    clock.now_us += DAY
    engine = with_policy(TIMED.replace("[100, 250, 500]", limits))
    assert engine.what_if(ask("", 150)).outcome == ("deny" if may else "approve")
    if may:
        engine.approve("r-1", **LEAD)
        engine.fulfil("r-1", "rf-1")
    else:
        with refused("standard"):
            engine.approve("r-1", **LEAD)


def test_less_or_another_remedy_is_granted_and_never_more(engine: RecoveryEngine) -> None:
    engine.request(ask("r-1", 150))
    for more in (dollars("150.01"), dollars(200)):
        with refused("more than the .150.00 that was asked for"):
            engine.approve("r-1", amount=more, **MANAGER)
    with pytest.raises(InvalidRequest, match="EUR"):
        engine.approve("r-1", amount=type(more).of("10", "EUR"), **MANAGER)
    engine.approve("r-1", amount=dollars(120), remedy="voucher", **LEAD)
    assert granted(engine) == ("voucher", 120)


def test_a_role_that_is_not_on_the_ladder_and_a_recovery_that_is_not_there(engine: RecoveryEngine) -> None:
    engine.request(ask("r-1", 150))
    with pytest.raises(InvalidRequest, match="unknown role `boss`"):
        engine.approve("r-1", by="lea", role="boss")
    for call in (engine.approve, engine.decline, engine.ask):
        with refused("there is no recovery `r-9`"):
            call(*(("r-9",) if call == engine.approve else ("r-9", "why")), **LEAD)


def test_nobody_on_the_ladder_could_ever_approve_so_it_is_refused_at_once(engine: RecoveryEngine) -> None:
    assert engine.request(ask("r-1", 501)).outcome == Outcome.DENY
    with refused("`r-1` is denied"):
        engine.approve("r-1", **MANAGER)


# --- another person ---------------------------------------------------------------------------------------------------


def test_the_requester_never_approves_whatever_role_they_have_now(engine: RecoveryEngine) -> None:
    engine.request(ask("r-1", 150, employee="lea"))
    for role in ("clerk", "lead", "manager"):
        with refused("lea asked for it"):
            engine.approve("r-1", by="lea", role=role)
    with refused("lea asked for it"):
        engine.decline("r-1", "no", by="lea", role="manager")
    with refused("lea asked for it"):
        engine.ask("r-1", "why?", by="lea", role="manager")


def test_the_requester_never_approves_by_delegation(engine: RecoveryEngine) -> None:
    lend(engine)
    engine.request(ask("r-1", 150, employee="lea"))
    with refused("lea asked for it"):
        engine.approve("r-1", delegation="d-1", **LEAD)


def test_what_the_requester_lent_does_not_approve_for_them(engine: RecoveryEngine) -> None:
    lend(engine)
    assert engine.request(ask("r-1", 501 - 1, role="lead", employee="max")).to == "manager"
    with refused("max asked for it"):
        engine.approve("r-1", delegation="d-1", **LEAD)


def test_a_manager_over_their_own_limit_needs_another_manager(with_policy: Any) -> None:
    engine = with_policy(TIMED + "someone_else: [{id: own-table, when: {category: own}}]\n")
    assert engine.request(ask("r-1", 20, category="own", role="manager", employee="max")).to == "manager"
    with refused("max asked for it"):
        engine.approve("r-1", **MANAGER)
    engine.approve("r-1", by="mia", role="manager")


def test_someone_else_lets_another_person_of_the_same_role(with_policy: Any) -> None:
    engine = with_policy(TIMED + "someone_else: [{id: own-table}]\n")
    assert engine.request(ask("r-1", 20)).to == "clerk"
    with refused("emp-1 asked for it"):
        engine.approve("r-1", by="emp-1", role="clerk")
    engine.approve("r-1", by="emp-2", role="clerk")


def test_two_people_agree_where_four_eyes_are_asked(with_policy: Any, log_url: str) -> None:
    engine = with_policy(EYES)
    assert (engine.request(ask("r-1", 150)).to, status(engine)) == ("lead", "pending")
    first = engine.approve("r-1", **LEAD).state
    assert (first.status, first.to_role, first.due_us) == ("pending", "manager", START + 15 * MINUTE)
    assert used(log_url, "employee:lea") == 0
    assert engine.approve("r-1", **LEAD).replayed  # nobody twice: it is the same word again
    with refused("lea agreed to it already"):
        engine.approve("r-1", by="lea", role="manager", id="again")
    with refused("emp-1 asked for it"):
        engine.approve("r-1", by="emp-1", role="manager")
    with refused("a lead cannot be the second person"):
        engine.approve("r-1", **OTHER)
    engine.approve("r-1", **MANAGER)
    assert granted(engine) == ("refund", 150)
    assert (used(log_url, "employee:lea"), used(log_url, "employee:max")) == (150, 0)


def test_four_eyes_are_asked_although_the_requester_could_alone(with_policy: Any, log_url: str) -> None:
    engine = with_policy(EYES)
    assert engine.request(ask("r-1", 80)).to == "manager"
    with refused("emp-1 asked for it"):
        engine.approve("r-1", by="emp-1", role="manager")
    assert engine.approve("r-1", **MANAGER).state.second_by == "max"
    assert (granted(engine), used(log_url, "employee:emp-1")) == (("refund", 80), 80)


def test_the_second_person_is_stopped_where_the_first_one_s_authority_is_gone(with_policy: Any) -> None:
    engine = with_policy(EYES + "budgets: [{id: own, per: employee, every: day, amount: 200, binds_below: manager}]\n")
    engine.request(ask("r-1", 150))
    engine.approve("r-1", **LEAD)
    engine.request(ask("r-2", 50, role="lead", employee="lea"))
    engine.request(ask("r-3", 50, role="lead", employee="lea"))
    with refused("lead does not cover it: own"):
        engine.approve("r-1", **MANAGER)
    engine.void("r-3", "mistake", by="lea")
    engine.approve("r-1", **MANAGER)


def test_a_second_person_agrees_in_their_own_name_and_not_to_more(with_policy: Any) -> None:
    engine = with_policy(EYES)
    lend(engine, to="leo")
    lend(engine, "d-2", by="mia", to="lea")
    engine.request(ask("r-1", 150))
    engine.approve("r-1", amount=dollars(120), delegation="d-2", **LEAD)
    with refused("in their own name"):
        engine.approve("r-1", delegation="d-1", **OTHER)
    with refused("mia's name already"):
        engine.approve("r-1", by="mia", role="manager")
    with refused("more than the .120.00 that was agreed to"):
        engine.approve("r-1", amount=dollars(150), **MANAGER)
    engine.approve("r-1", amount=dollars(110), **MANAGER)
    assert granted(engine) == ("refund", 110)


# --- bound to what was asked ------------------------------------------------------------------------------------------


def test_an_approval_is_bound_to_what_was_looked_at(engine: RecoveryEngine) -> None:
    for id in ("r-1", "r-2"):
        engine.request(ask(id, 150))
    one, other = engine.pending(role="lead")
    with refused("what is approved is not what was asked for"):
        engine.approve("r-1", asked=other.asked, **LEAD)
    engine.approve("r-1", asked=one.asked, **LEAD)


def test_an_approval_that_crosses_with_a_lower_amount_stands_for_that(engine: RecoveryEngine, log_url: str) -> None:
    engine.request(ask("r-1", 150))
    (looked_at,) = engine.pending()
    engine.amend("r-1", dollars(120))
    with refused("more than the .120.00"):
        engine.approve("r-1", amount=looked_at.amount, **LEAD)
    engine.approve("r-1", asked=looked_at.asked, **LEAD)
    assert granted(engine) == ("refund", 120)
    (amended,) = rows(log_url, "SELECT leaf FROM recovery_log WHERE kind = 'amended'")
    assert entries(log_url, "approved")[0]["of"] == bytes(amended[0]).hex()


def test_only_less_is_asked_for_instead_and_only_by_the_requester(engine: RecoveryEngine) -> None:
    engine.request(ask("r-1", 150))
    for amount in (0, 150, 151):
        with refused("only less"):
            engine.amend("r-1", dollars(amount))
    with refused("`r-1` is emp-1's"):
        engine.amend("r-1", dollars(10), by="emp-2")
    assert engine.amend("r-1", dollars(140)).state.asked_minor == 14_000


def test_what_was_agreed_to_stands_as_far_as_less_goes(with_policy: Any) -> None:
    engine = with_policy(EYES)
    engine.request(ask("r-1", 150))
    engine.approve("r-1", amount=dollars(130), **LEAD)
    assert engine.amend("r-1", dollars(140)).state.agreed_minor == 13_000
    assert engine.amend("r-1", dollars(120)).state.agreed_minor == 12_000
    engine.approve("r-1", **MANAGER)
    assert granted(engine) == ("refund", 120)


def test_what_was_withdrawn_or_declined_is_not_approved_any_more(engine: RecoveryEngine) -> None:
    engine.request(ask("r-1", 150))
    engine.request(ask("r-2", 150))
    with refused("`r-1` is emp-1's"):
        engine.withdraw("r-1", by="lea")
    engine.withdraw("r-1", "settled otherwise")
    engine.decline("r-2", "not our fault", **LEAD)
    with refused("`r-1` was withdrawn by emp-1 at 2026-11-21 18:05:06 UTC"):
        engine.approve("r-1", **LEAD)
    with refused("`r-2` was declined by lea at"):
        engine.approve("r-2", **MANAGER)
