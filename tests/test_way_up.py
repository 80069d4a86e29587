"""What time does to a request that waits: silence, questions, and authority that is lent for a while."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from unittest.mock import patch

import pytest
from answering import EYES, LEAD, MANAGER, MINUTE, OTHER, TIMED, granted, lend, refused, used
from engines import START, Clock, ask, assert_whole, dollars, entries, opened, rows, together

from recovery_engine import RecoveryEngine
from recovery_engine.log.writing.approving import Silent

pytestmark = pytest.mark.slow


@pytest.fixture
def engine(log_url: str, clock: Clock) -> Iterator[RecoveryEngine]:
    """An engine whose leads have five minutes and managers fifteen; its log is checked when the test is over."""
    with opened(log_url, TIMED, clock=clock) as engine:
        yield engine
    assert_whole(log_url)


# --- time and silence -------------------------------------------------------------------------------------------------


def test_an_approval_after_it_was_due_and_before_the_tick_stands(engine: RecoveryEngine, clock: Clock) -> None:
    engine.request(ask("r-1", 150))
    clock.now_us += 20 * MINUTE
    assert engine.pending()[0].overdue
    engine.approve("r-1", **LEAD)
    assert engine.tick().steps == ()
    assert granted(engine) == ("refund", 150)


def test_an_approval_that_crosses_with_moving_up_stands(engine: RecoveryEngine, clock: Clock) -> None:
    engine.request(ask("r-1", 150))
    (looked_at,) = engine.pending(role="lead")
    clock.now_us += 5 * MINUTE
    assert [step.state.to_role for step in engine.tick().steps] == ["manager"]
    engine.approve("r-1", asked=looked_at.asked, **LEAD)


def test_silence_moves_it_up_step_by_step_and_lapses_at_the_top(
    engine: RecoveryEngine, clock: Clock, log_url: str
) -> None:
    engine.request(ask("r-1", 150))
    clock.now_us += 5 * MINUTE - 1
    assert engine.tick().steps == ()
    clock.now_us += 1
    (moved,) = engine.tick().steps
    assert (moved.state.to_role, moved.state.due_us) == ("manager", clock.now_us + 15 * MINUTE)
    assert "manager" in moved.tell_customer
    clock.now_us += 15 * MINUTE
    (lapsed,) = engine.tick().steps
    assert lapsed.state.status == "lapsed"
    assert engine.tick().steps == ()
    with refused("`r-1` was lapsed at"):
        engine.approve("r-1", **MANAGER)
    assert rows(log_url, "SELECT * FROM recovery_usage") == []
    assert entries(log_url, "approved") == []


def test_for_lapse_whichever_commits_first_wins(engine: RecoveryEngine, clock: Clock) -> None:
    for id in ("r-1", "r-2"):
        engine.request(ask(id, 300))
    clock.now_us += 15 * MINUTE

    def lapse(id: str) -> Any:
        return engine._store.run(Silent(id))

    first, late = together(engine, lambda: engine.approve("r-1", **MANAGER), lambda: lapse("r-1"))
    assert (first.state.status, late) == ("granted", None)
    first, late = together(engine, lambda: lapse("r-2"), lambda: engine.approve("r-2", **MANAGER))
    assert first.state.status == "lapsed"
    assert "`r-2` was lapsed at" in str(late)


def test_silence_declines_where_the_policy_says_so_and_never_grants(with_policy: Any, clock: Clock) -> None:
    engine = with_policy(TIMED + "  on_silence: decline\n")
    engine.request(ask("r-1", 150))
    clock.now_us += 5 * MINUTE
    (step,) = engine.tick().steps
    assert (step.state.status, step.state.closed_by) == ("declined", None)
    assert "silence" not in step.tell_customer


def test_silence_goes_past_a_role_that_could_not_approve(with_policy: Any, clock: Clock) -> None:
    for_leads = "someone_else: [{id: own-table}]\nceilings: [{id: top, amount: 50, binds_below: manager}]\n"
    engine = with_policy(TIMED.replace("lead: 5", "clerk: 5 minutes, lead: 5") + for_leads)
    assert engine.request(ask("r-1", 40)).to == "clerk"
    engine.request(ask("r-2", 60))
    clock.now_us += 5 * MINUTE
    moved = [(step.recovery, step.state.to_role) for step in engine.tick().steps]
    assert moved == [("r-1", "lead")]
    assert engine.recovery("r-2").to_role == "manager"


def test_a_second_person_s_silence_moves_it_up_too(with_policy: Any, clock: Clock) -> None:
    engine = with_policy(EYES.replace("second: manager", "second: lead"))
    engine.request(ask("r-1", 80))
    clock.now_us += 5 * MINUTE
    assert [step.state.to_role for step in engine.tick().steps] == ["manager"]
    engine.approve("r-1", **LEAD)
    assert granted(engine) == ("refund", 80)


def test_a_tick_is_idempotent(engine: RecoveryEngine, clock: Clock, log_url: str) -> None:
    for number in range(3):
        engine.request(ask(f"r-{number}", 150))
    clock.now_us += 5 * MINUTE
    assert len(engine.tick().steps) == 3
    before = entries(log_url)
    assert [engine.tick().steps for _ in range(2)] == [(), ()]
    assert entries(log_url) == before


def test_two_engines_tick_at_once_and_each_step_is_made_once(
    engine: RecoveryEngine, clock: Clock, log_url: str
) -> None:
    silent = [f"r-{number}" for number in range(8)]
    for id in silent:
        engine.request(ask(id, 150))
    clock.now_us += 5 * MINUTE
    at_once = Barrier(2)

    def tick(one: RecoveryEngine) -> list[str]:
        at_once.wait()
        return [step.recovery for step in one.tick().steps]

    with opened(log_url, clock=clock, seed=1) as other, ThreadPoolExecutor(2) as machines:
        made = [recovery for steps in machines.map(tick, (engine, other)) for recovery in steps]
    assert sorted(made) == silent
    assert len(entries(log_url, "moved_up")) == len(silent)


# --- questions --------------------------------------------------------------------------------------------------------


def test_a_question_pauses_the_clock_of_silence(engine: RecoveryEngine, clock: Clock) -> None:
    engine.request(ask("r-1", 150))
    clock.now_us += 4 * MINUTE
    asked = engine.ask("r-1", "Is there a photo?", **LEAD)
    assert "one more thing" in asked.tell_customer
    clock.now_us += 60 * MINUTE
    assert engine.tick().steps == ()
    assert not engine.pending()[0].overdue
    assert engine.answer("r-1", "Here", evidence=["photo"]).state.due_us == START + 65 * MINUTE
    clock.now_us += MINUTE - 1
    assert engine.tick().steps == ()
    clock.now_us += 1
    assert len(engine.tick().steps) == 1


def test_the_clock_runs_on_where_the_policy_lets_it(with_policy: Any, clock: Clock) -> None:
    engine = with_policy(TIMED + "  on_question: run\n")
    engine.request(ask("r-1", 150))
    engine.ask("r-1", "Is there a photo?", **LEAD)
    clock.now_us += 5 * MINUTE
    assert [step.state.to_role for step in engine.tick().steps] == ["manager"]
    assert engine.answer("r-1", "Here").state.due_us == START + 20 * MINUTE


def test_an_approval_does_not_wait_for_the_answer(engine: RecoveryEngine) -> None:
    engine.request(ask("r-1", 150))
    engine.ask("r-1", "Is there a photo?", **LEAD)
    engine.approve("r-1", **OTHER)
    with refused("was granted by leo at"):
        engine.answer("r-1", "Here")


def test_who_asks_does_not_answer_and_a_question_is_open_once(engine: RecoveryEngine) -> None:
    engine.request(ask("r-1", 150))
    with refused("nobody has asked"):
        engine.answer("r-1", "Here")
    with refused("a clerk was not asked"):
        engine.ask("r-1", "Why?", by="emp-2", role="clerk")
    engine.ask("r-1", "Is there a photo?", **LEAD)
    with refused("is open already"):
        engine.ask("r-1", "And a receipt?", **OTHER)
    with refused("lea asked; somebody else must answer"):
        engine.answer("r-1", "There is", by="lea")
    engine.answer("r-1", "Here")
    engine.ask("r-1", "And a receipt?", **OTHER)
    engine.answer("r-1", "Here too", evidence=["receipt"])
    (waiting,) = engine.pending()
    told = [(one.by, one.question, one.answered_by, one.answer, one.evidence) for one in waiting.exchanges]
    assert told == [
        ("lea", "Is there a photo?", "emp-1", "Here", ()),
        ("leo", "And a receipt?", "emp-1", "Here too", ("receipt",)),
    ]


PROOF = TIMED + "requires: [{id: photo, when: {category: quality}, evidence: [photo], waivable_by: manager}]\n"


def test_who_may_do_without_proof_does_and_the_entry_says_so(with_policy: Any, log_url: str) -> None:
    engine = with_policy(PROOF)
    assert engine.request(ask("r-1", 300, category="quality")).to == "manager"
    with refused("photo"):
        engine.approve("r-1", amount=dollars(200), **LEAD)
    engine.approve("r-1", **MANAGER)
    assert entries(log_url, "approved")[0]["waived"] == ["photo"]


def test_proof_that_comes_with_the_answer_counts(with_policy: Any, log_url: str) -> None:
    engine = with_policy(PROOF)
    engine.request(ask("r-1", 200, category="quality"))
    engine.ask("r-1", "Is there a photo?", **MANAGER)
    engine.answer("r-1", "Here", evidence=["photo"])
    engine.approve("r-1", **LEAD)
    assert "waived" not in entries(log_url, "approved")[0]


# --- lent authority ---------------------------------------------------------------------------------------------------


def test_lent_authority_is_used_in_the_name_of_who_lent_it(engine: RecoveryEngine, log_url: str) -> None:
    lend(engine)
    engine.request(ask("r-1", 300))
    with refused("standard"):
        engine.approve("r-1", **LEAD)
    engine.approve("r-1", delegation="d-1", **LEAD)
    (entry,) = entries(log_url, "approved")
    assert (entry["by"], entry["role"], entry["for"], entry["delegation"]) == ("lea", "manager", "max", "d-1")
    assert [used(log_url, f"employee:{who}") for who in ("lea", "max", "emp-1")] == [300, 300, 0]


def test_what_is_lent_counts_for_the_budgets_of_both(with_policy: Any) -> None:
    engine = with_policy(TIMED + "budgets: [{id: own, per: employee, every: day, amount: 400}]\n")
    lend(engine)
    lend(engine, "d-2", by="mia", to="leo")
    for number, amount in enumerate((300, 300, 200)):
        engine.request(ask(f"r-{number}", amount, employee=f"emp-{number}"))
    engine.approve("r-0", delegation="d-1", **LEAD)  # Lea and Max have 100 left each
    lend(engine, "d-3", to="leo")
    with refused("max's authority .* own"):
        engine.approve("r-2", delegation="d-3", **OTHER)
    lend(engine, "d-4", by="mia")
    with refused("mia's authority .* own"):
        engine.approve("r-2", delegation="d-4", **LEAD)
    engine.approve("r-1", delegation="d-2", **OTHER)


def test_lent_authority_is_in_force_from_and_before(engine: RecoveryEngine, clock: Clock) -> None:
    lend(engine, from_us=START + MINUTE, until_us=START + 2 * MINUTE)
    for id in ("r-1", "r-2"):
        engine.request(ask(id, 300))
    with refused("`d-1` is not in force now"):
        engine.approve("r-1", delegation="d-1", **LEAD)
    clock.now_us += MINUTE
    engine.approve("r-1", delegation="d-1", **LEAD)
    clock.now_us += MINUTE
    with refused("`d-1` is not in force now"):
        engine.approve("r-2", delegation="d-1", **LEAD)


def test_lent_authority_is_for_its_sites_its_remedies_and_up_to_its_cap(engine: RecoveryEngine) -> None:
    lend(engine, sites=["S1"], remedies=["refund"], cap=dollars(350))
    engine.request(ask("r-0", 100, case="C-1"))
    engine.request(ask("r-1", 300, case="C-1"))
    engine.request(ask("r-2", 300, site="S2"))
    with refused("not for voucher"):
        engine.approve("r-1", remedy="voucher", delegation="d-1", **LEAD)
    with refused("not for the site `S2`"):
        engine.approve("r-2", delegation="d-1", **LEAD)
    with refused("goes to .350.00 for one case"):
        engine.approve("r-1", amount=dollars("250.01"), delegation="d-1", **LEAD)
    engine.approve("r-1", amount=dollars(250), delegation="d-1", **LEAD)


def test_lent_authority_goes_no_further_than_the_role_lent(engine: RecoveryEngine) -> None:
    lend(engine, by="leo", role="lead", to="cy")
    engine.request(ask("r-1", 300))
    with refused("leo's authority of a lead does not cover it"):
        engine.approve("r-1", by="cy", role="clerk", delegation="d-1")


def test_lent_authority_is_not_passed_on_and_never_comes_back(engine: RecoveryEngine) -> None:
    lend(engine)
    engine.request(ask("r-1", 300))
    with refused("is lea's, and is not passed on"):
        engine.approve("r-1", delegation="d-1", **OTHER)
    for by, to in (("max", "max"), ("lea", "max")):
        with refused("authority"):
            lend(engine, "back", by=by, to=to)
    with refused("max lent lea that authority, and it is not passed on"):
        lend(engine, "on", by="lea", to="leo")
    lend(engine, "own", by="lea", to="leo", role="lead")
    with refused("directly or by others"):
        lend(engine, "round", by="leo", to="max")
    with refused("there is no delegation `round`"):
        engine.approve("r-1", delegation="round", **LEAD)


def test_lent_authority_is_taken_back_by_who_lent_it(engine: RecoveryEngine) -> None:
    lend(engine)
    for id in ("r-1", "r-2"):
        engine.request(ask(id, 300))
    engine.approve("r-1", delegation="d-1", **LEAD)
    with refused("is max's"):
        engine.revoke("d-1", by="lea")
    assert engine.revoke("d-1", by="max").delegation.revoked_us == START
    assert engine.revoke("d-1", by="max").replayed
    with refused("`d-1` was revoked"):
        engine.approve("r-2", delegation="d-1", **LEAD)
    engine.fulfil("r-1")  # what was approved with it stands
    assert engine.delegations() == ()
    assert [one.delegation for one in engine.delegations("lea", all_of_them=True)] == ["d-1"]


def test_lent_authority_that_was_taken_back_just_before_the_lock_is_of_no_use(
    engine: RecoveryEngine, log_url: str, clock: Clock
) -> None:
    lend(engine)
    engine.request(ask("r-1", 300))
    database: Any = engine._store._database
    begin, gone = database.begin, []

    def revoked_first(*given: Any) -> Any:
        if not gone and log_url.startswith("postgresql"):
            gone.append(True)
            with opened(log_url, clock=clock, seed=9) as other:
                other.revoke("d-1", by="max")
        return begin(*given)

    with patch.object(database, "begin", revoked_first):
        if log_url.startswith("sqlite"):  # there everything is read under the lock
            engine.approve("r-1", delegation="d-1", **LEAD)
            return
        with refused("`d-1` was revoked"):
            engine.approve("r-1", delegation="d-1", **LEAD)
