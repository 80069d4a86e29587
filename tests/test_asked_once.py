"""Nobody is asked twice, a word given is kept, and what was said on the way can be forgotten."""

from collections.abc import Iterator
from typing import Any

import pytest
from answering import LEAD, TIMED, lend, used
from engines import DAY, SECOND, Clock, ask, assert_whole, dollars, entries, opened, rows

from recovery_engine import IdempotencyConflict, InvalidRequest, RecoveryEngine

CARD = "4111 1111 1111 1111"


@pytest.fixture
def engine(log_url: str, clock: Clock) -> Iterator[RecoveryEngine]:
    """An engine whose leads have five minutes and managers fifteen; its log is checked when the test is over."""
    with opened(log_url, TIMED, clock=clock) as engine:
        yield engine
    assert_whole(log_url)


# --- nobody is asked twice --------------------------------------------------------------------------------------------


def test_the_very_same_that_is_still_pending_is_joined(engine: RecoveryEngine, log_url: str) -> None:
    first = engine.request(ask("r-1", 150, case="C-1", note="cold"))
    again = engine.request(ask("r-2", 150, case="C-1", employee="emp-2", note="still cold"))
    assert (again.recovery, again.outcome, again.to, again.due_us) == ("r-1", "escalate", "lead", first.due_us)
    assert not again.replayed
    same = engine.request(ask("r-2", 150, case="C-1", employee="emp-2", note="still cold"))
    assert (same.recovery, same.replayed, same.log_receipt) == ("r-1", True, again.log_receipt)
    with pytest.raises(IdempotencyConflict):
        engine.request(ask("r-2", 151, case="C-1", employee="emp-2"))
    (waiting,) = engine.pending()
    assert waiting.again == ("emp-2",)
    assert [entry["recovery"] for entry in entries(log_url, "joined")] == ["r-1"]
    engine.approve("r-1", **LEAD)
    assert engine.request(ask("r-3", 150, case="C-1")).recovery == "r-3"


@pytest.mark.parametrize("other", [{"site": "S2"}, {"amount": 149}, {"role": "lead", "employee": "lea"}])
def test_another_site_or_amount_or_who_may_alone_is_not_joined(engine: RecoveryEngine, other: Any) -> None:
    engine.request(ask("r-1", 150, case="C-1"))
    fields: dict[str, Any] = {"amount": 150, "case": "C-1", "employee": "emp-2"} | other
    assert engine.request(ask("r-2", **fields)).recovery == "r-2"


def test_earlier_answers_are_shown_to_who_asks_and_to_who_decides(engine: RecoveryEngine) -> None:
    engine.request(ask("r-0", 501, case="C-1", receipt="R-1"))
    engine.request(ask("r-1", 150, case="C-1", receipt="R-1"))
    engine.decline("r-1", "not our fault", **LEAD)
    asked = engine.request(ask("r-2", 140, case="C-2", receipt="R-1", site="S2", employee="emp-9"))
    assert [(one.recovery, one.status, one.amount) for one in sorted(asked.before)] == [
        ("r-0", "denied", dollars(501)),
        ("r-1", "declined", dollars(150)),
    ]
    (waiting,) = engine.pending()
    assert [(one.recovery, one.status, one.closed_reason) for one in waiting.before] == [
        ("r-0", "denied", None),
        ("r-1", "declined", "not our fault"),
    ]


def test_a_queue_is_the_oldest_due_first_without_one_s_own(engine: RecoveryEngine, clock: Clock) -> None:
    engine.request(ask("b", 300, employee="lea", role="lead"))
    clock.now_us += SECOND
    engine.request(ask("a", 150, note="cold"))
    engine.request(ask("c", 150, site="S2"))
    assert [one.state.recovery for one in engine.pending()] == ["a", "c", "b"]
    assert [one.state.recovery for one in engine.pending(role="lead", site="S1")] == ["a"]
    assert [one.state.recovery for one in engine.pending(employee="lea")] == ["a", "c"]
    assert engine.pending()[0].note == "cold"


# --- promises ---------------------------------------------------------------------------------------------------------


def test_a_grant_is_a_promise_that_is_kept_late_or_broken(engine: RecoveryEngine, clock: Clock, log_url: str) -> None:
    for id in ("kept", "late", "broken", "overdue"):
        engine.request(ask(id, 150))
        engine.approve(id, **LEAD)
    engine.fulfil("kept", "rf-1")
    clock.now_us += 2 * DAY
    assert engine.promises("overdue") == ()
    clock.now_us += 1
    assert [one.state.recovery for one in engine.tick().overdue] == ["broken", "late", "overdue"]
    engine.fulfil("late", "rf-2")
    engine.void("broken", "not ours", by="lea")
    clock.now_us += SECOND
    engine.request(ask("open", 10))
    for standing in ("kept", "late", "broken", "overdue", "open"):
        assert [one.state.recovery for one in engine.promises(standing)] == [standing]
    assert [one.standing for one in engine.promises()] == ["overdue", "open"]
    with pytest.raises(InvalidRequest, match="did you mean `kept`"):
        engine.promises("keptt")


def test_a_stricter_policy_breaks_no_promise(with_policy: Any, clock: Clock) -> None:
    first = with_policy(TIMED)
    first.request(ask("r-1", 150))
    first.approve("r-1", **LEAD)
    stricter = with_policy(TIMED.replace("[100, 250, 500]", "[1, 2, 3]").replace("2 days", "1 hours"))
    clock.now_us += DAY
    (one,) = stricter.promises()
    assert (one.standing, one.amount) == ("open", dollars(150))
    assert promise_of(stricter.fulfil("r-1", "rf-1")) == "fulfilled"


def promise_of(done: Any) -> str:
    return str(done.state.status)


def test_a_void_gives_back_to_those_for_whom_it_counted(engine: RecoveryEngine, log_url: str) -> None:
    lend(engine)
    engine.request(ask("r-1", 300, customer="K-1"))
    engine.approve("r-1", delegation="d-1", **LEAD)
    engine.void("r-1", "not ours", by="emp-1")
    assert [used(log_url, f"employee:{who}") for who in ("lea", "max", "emp-1")] == [0, 0, 0]
    assert rows(log_url, "SELECT sum(amount_minor), max(times) FROM recovery_usage") == [(0, 1)]


OWED = TIMED + "owed: [{id: late, when: {category: delay}, remedy: refund, amount: 120}]\n"


def test_owed_money_that_waits_for_a_second_look_is_granted_as_owed(with_policy: Any, log_url: str) -> None:
    engine = with_policy(OWED + "someone_else: [{id: own-table}]\n")
    claim = {"basis": "owed", "category": "delay"}
    assert engine.request(ask("r-1", 120, **claim)).to == "clerk"
    engine.approve("r-1", by="emp-2", role="clerk")
    found = rows(log_url, "SELECT DISTINCT basis, amount_minor, times FROM recovery_usage")
    assert found == [("owed", 12_000, 0)]


# --- people -----------------------------------------------------------------------------------------------------------


def test_what_was_said_on_the_way_is_forgotten_with_the_customer(engine: RecoveryEngine, log_url: str) -> None:
    said = ["Is she a regular?", "Ann Lee comes every week", "Ann is right"]
    engine.request(ask("r-1", 150, customer="K-1"))
    engine.request(ask("r-2", 150, customer="K-2"))
    for id in ("r-1", "r-2"):
        engine.ask(id, said[0], **LEAD)
        engine.answer(id, said[1])
        engine.approve(id, note=said[2], **LEAD)
    kept = "SELECT DISTINCT recovery FROM recovery_personal ORDER BY recovery"
    assert rows(log_url, kept) == [("r-1",), ("r-2",)]
    assert not any(text.encode() in bytes(body) for (body,) in rows(log_url, BODIES) for text in said)
    engine.forget("K-1", "asked for it")
    assert rows(log_url, kept) == [("r-2",)]
    (forgotten,) = entries(log_url, "forgotten")
    assert len(forgotten["fields"]) == 4


BODIES = "SELECT body FROM recovery_log"


def test_card_numbers_are_refused_in_every_text(engine: RecoveryEngine, log_url: str) -> None:
    engine.request(ask("r-1", 150))
    engine.request(ask("r-2", 150))
    engine.ask("r-2", "Which card?", **LEAD)
    before = entries(log_url)
    for call in (
        lambda: engine.approve("r-1", note=CARD, **LEAD),
        lambda: engine.approve("r-1", remedy=CARD, **LEAD),
        lambda: engine.decline("r-1", CARD, **LEAD),
        lambda: engine.ask("r-1", CARD, **LEAD),
        lambda: engine.answer("r-2", CARD),
        lambda: engine.answer("r-2", "see there", evidence=[CARD]),
        lambda: engine.withdraw("r-1", CARD),
        lambda: engine.approve("r-1", by=CARD.replace(" ", ""), role="lead"),
        lambda: lend(engine, sites=[CARD.replace(" ", "")]),
        lambda: lend(engine, remedies=[CARD]),
    ):
        with pytest.raises(InvalidRequest) as error:
            call()
        assert "4111" not in str(error.value)
    assert entries(log_url) == before


def test_sites_and_remedies_of_a_delegation_are_words(engine: RecoveryEngine) -> None:
    for fields in (
        {"sites": ["S1 S2"]},
        {"sites": [""]},
        {"remedies": [""]},
        {"remedies": ["a\nb"]},
        {"until_us": 1.5e18},
        {"from_us": "now"},
    ):
        with pytest.raises(InvalidRequest):
            lend(engine, **fields)
    lend(engine, sites="S1", remedies=["comp item", "refund"])
    (one,) = engine.delegations()
    assert (one.sites, one.remedies) == (("S1",), ("comp item", "refund"))
