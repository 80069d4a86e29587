"""What an engine answers and what then stands in the log: the same on SQLite and on PostgreSQL."""

import os
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from engines import (
    HEAD,
    LIMITS,
    POLICY,
    START,
    Clock,
    ask,
    assert_whole,
    connected,
    dollars,
    entries,
    merkle_root,
    opened,
    rows,
    tables,
)

from recovery_engine import LogError, Outcome, RecoveryEngine, RecoveryRequest
from recovery_engine.log.writing import group, store

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))

FULL = f"""{HEAD}{LIMITS}
facts: {{days: {{number: true, default: 0}}, staff: {{flag: true, default: false}}, fare: {{money: true}}}}
deny:
  - {{id: staff-purchase, when: {{staff: true}}, say: Staff purchases go through HR.}}
requires:
  - {{id: photo, when: {{category: quality}}, evidence: [photo]}}
"""


@pytest.fixture
def engine(log_url: str) -> Iterator[RecoveryEngine]:
    """An engine with the plain policy, and its log checked when the test is over."""
    with opened(log_url, POLICY) as engine:
        yield engine
    assert_whole(log_url)


# --- answers ----------------------------------------------------------------------------------------------------------


def test_within_the_limit_it_is_approved_and_stands_in_the_log(engine: RecoveryEngine, log_url: str) -> None:
    decision = engine.request(ask("r-1", "18.50"))
    assert (decision.outcome, decision.recovery, decision.replayed) == (Outcome.APPROVE, "r-1", False)
    (entry,) = entries(log_url, "decided")
    assert (entry["id"], entry["outcome"], entry["by"], entry["at_us"]) == ("r-1", "approve", "emp-1", START)
    assert entry["counts"] == {
        **{"bday": "2026-11-21", "remedy": "refund", "basis": "goodwill", "currency": "USD"},
        **{"amount": 1850, "times": 1},
    }


def test_over_the_limit_it_goes_to_the_lowest_role_that_may(engine: RecoveryEngine, log_url: str) -> None:
    decision = engine.request(ask("r-1", 251))
    assert (decision.outcome, decision.to) == (Outcome.ESCALATE, "manager")
    (entry,) = entries(log_url, "decided")
    assert (entry["to"], "counts" in entry) == ("manager", False)
    assert rows(log_url, "SELECT * FROM recovery_usage") == []


def test_a_denial_is_an_entry_with_its_reason(log_url: str) -> None:
    with opened(log_url, FULL) as engine:
        decision = engine.request(ask("r-1", facts={"staff": True}))
    assert (decision.outcome, decision.lines) == (Outcome.DENY, ("staff-purchase",))
    (entry,) = entries(log_url, "decided")
    assert entry["because"] == [["staff-purchase"]]
    assert rows(log_url, "SELECT line FROM recovery_line") == [("staff-purchase",)]
    assert_whole(log_url)


def test_an_incomplete_request_writes_nothing(log_url: str) -> None:
    with opened(log_url, FULL) as engine:
        before = tables(log_url)
        decision = engine.request(ask("r-1", category="quality", customer="K-1", note="cold"))
        assert (decision.outcome, decision.needs) == (Outcome.INCOMPLETE, ("photo",))
        assert (decision.recovery, decision.log_receipt, decision.due_us) == (None, None, None)
        assert tables(log_url) == before
        # The id is still free: the same request with the proof is decided.
        with_photo = ask("r-1", category="quality", customer="K-1", note="cold", evidence={"photo"})
        assert engine.request(with_photo).outcome == Outcome.APPROVE


def test_an_answer_and_a_grant_have_a_time_by_which_they_are_due(log_url: str) -> None:
    escalation = "escalation: {answer_within: {lead: 5 minutes}, fulfil_within: 2 days}\n"
    with opened(log_url, POLICY + escalation) as engine:
        assert engine.request(ask("granted")).due_us == START + 2 * 86_400_000_000
        assert engine.request(ask("asked", 150)).due_us == START + 300_000_000
        assert engine.request(ask("no-time-set", 300)).due_us is None
        assert engine.request(ask("asked", 150)).due_us == START + 300_000_000
    assert_whole(log_url)


def test_a_request_without_site_customer_receipt_or_words_is_decided(engine: RecoveryEngine, log_url: str) -> None:
    assert engine.request(ask("r-1", site=None)).outcome == Outcome.APPROVE
    (entry,) = entries(log_url, "decided")
    assert (entry["stream"], entry["request"]["site"]) == ("site:", "")


# --- receipts ---------------------------------------------------------------------------------------------------------


def test_a_receipt_holds_the_leaf_and_the_root_at_commit(engine: RecoveryEngine, log_url: str) -> None:
    receipts = [engine.request(ask(f"r-{n}", n)).log_receipt for n in range(1, 12)]
    stored = rows(log_url, "SELECT body, leaf FROM recovery_log WHERE stream = 'site:S1' ORDER BY seq")
    leaves = [bytes(leaf) for _, leaf in stored]
    for receipt in receipts:
        assert receipt is not None
        assert receipt.stream == "site:S1"
        assert receipt.leaf == leaves[receipt.seq].hex()
        assert receipt.root == merkle_root(leaves[: receipt.seq + 1]).hex()
    assert [receipt.seq for receipt in receipts if receipt] == list(range(1, 12))


def test_each_site_has_a_stream_and_so_has_the_organisation(engine: RecoveryEngine, log_url: str) -> None:
    for site in ("S1", "S2", "S1"):
        engine.request(ask(f"r-{site}-{len(entries(log_url))}", site=site))
    kinds = rows(log_url, "SELECT stream, seq, kind FROM recovery_log")
    assert sorted(kinds) == [
        ("organisation", 0, "opened"),
        ("organisation", 1, "policy_loaded"),
        ("site:S1", 0, "opened"),
        ("site:S1", 1, "decided"),
        ("site:S1", 2, "decided"),
        ("site:S2", 0, "opened"),
        ("site:S2", 1, "decided"),
    ]
    assert len({entry["log"] for entry in entries(log_url, "opened")}) == 1


def test_callers_in_many_threads_are_all_answered(engine: RecoveryEngine, log_url: str) -> None:
    each = 12 * SCALE
    told: dict[str, Any] = {}

    def caller(number: int) -> None:
        for turn in range(each):
            name = f"r-{number}-{turn}"
            told[name] = engine.request(ask(name, employee=f"emp-{number}", site=f"S{turn % 3}")).log_receipt
            if turn % 4 == 0:
                engine.fulfil(name)
            elif turn % 4 == 1:
                engine.what_if(ask("", employee=f"emp-{number}", case=f"C-{name}"))

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = {
        (stream, seq): bytes(leaf).hex()
        for stream, seq, leaf in rows(log_url, "SELECT stream, seq, leaf FROM recovery_log")
    }
    assert len(told) == 16 * each
    assert all(stored[receipt.stream, receipt.seq] == receipt.leaf for receipt in told.values())
    assert len({(receipt.stream, receipt.seq) for receipt in told.values()}) == len(told)


# --- the same again ---------------------------------------------------------------------------------------------------


def same(one: Any, other: Any) -> bool:
    names = (
        "outcome",
        "to",
        "second",
        "needs",
        "lines",
        "rungs",
        "because",
        "grantable_now",
        "due",
        "amount",
        "due_us",
    )
    return all(getattr(one, name) == getattr(other, name) for name in (*names, "log_receipt", "recovery", "policy"))


@pytest.mark.parametrize("amount", [10, 150, 501], ids=["approved", "escalated", "denied"])
def test_the_same_request_again_gets_the_stored_answer(engine: RecoveryEngine, log_url: str, amount: int) -> None:
    first = engine.request(ask("r-1", amount, customer="K-1", note="cold soup"))
    engine.request(ask("r-2", 10, case="C-r-1", customer="K-1"))  # now the case had more
    before = tables(log_url)
    again = engine.request(ask("r-1", amount, customer="K-1", note="cold soup"))
    assert again.replayed
    assert same(first, again)
    assert tables(log_url) == before


def test_a_denial_stands_after_the_log_was_opened_again_under_a_kinder_policy(log_url: str) -> None:
    kinder = POLICY.replace("100, 250, 500", "1000, 2500, 5000")
    with opened(log_url, POLICY) as engine:
        first = engine.request(ask("r-1", 501))
    with opened(log_url, kinder) as engine:
        again = engine.request(ask("r-1", 501))
        assert engine.request(ask("r-2", 501)).outcome == Outcome.APPROVE
    assert first.outcome == again.outcome == Outcome.DENY
    assert again.replayed
    assert same(first, again)
    assert_whole(log_url)


def test_what_was_owed_is_answered_again_as_it_was_although_the_version_of_that_day_was_replaced(log_url: str) -> None:
    old = (
        POLICY.replace("shop\n", "shop\neffective: {from: 2026-11-01, until: 2026-11-10}\n")
        + "owed:\n  - {id: late, remedy: refund, amount: 20}\n"
    )
    new = POLICY.replace("shop\n", "shop\neffective: {from: 2026-11-11}\n")
    corrected = old.replace("amount: 20", "each: 5, per: hours") + "facts: {hours: {number: true}}\n"
    claim = ask("r-1", 15, basis="owed", occurred_on=date(2026, 11, 5))
    with opened(log_url, old, new) as engine:
        first = engine.request(claim)
        assert (first.outcome, first.due) == (Outcome.APPROVE, dollars(20))
    with opened(log_url, corrected) as engine:
        again = engine.request(claim)
    assert again.replayed
    assert same(first, again)


def everything(**changed: Any) -> RecoveryRequest:
    """A request with every field given that this policy knows."""
    fields: dict[str, Any] = {
        **{"site": "S1", "receipt": "R-1", "customer": "K-1", "category": "delay", "severity": "minor"},
        **{"bill": dollars(64), "reason": "B01", "note": "cold", "evidence": {"receipt"}, "case": "C-1"},
        **{"facts": {"days": 1, "fare": dollars(30)}, "occurred_on": date(2026, 11, 20)},
    }
    amount = changed.pop("amount", 18)
    return ask("r-1", amount, **(fields | changed))


def test_a_request_with_everything_is_replayed(log_url: str) -> None:
    with opened(log_url, FULL) as engine:
        first, again = engine.request(everything()), engine.request(everything())
    assert not first.replayed
    assert again.replayed
    assert_whole(log_url)


def test_texts_about_a_person_are_no_part_of_what_makes_two_requests_the_same(log_url: str) -> None:
    with opened(log_url, FULL) as engine:
        engine.request(everything())
        assert engine.request(everything(note="cold and late", customer_name="Ann")).replayed


# --- what follows a grant ---------------------------------------------------------------------------------------------


def test_a_grant_is_fulfilled_once(engine: RecoveryEngine, log_url: str) -> None:
    engine.request(ask("r-1"))
    first = engine.fulfil("r-1", "rf-1")
    again = engine.fulfil("r-1", "rf-1")
    assert (first.recovery, first.replayed, again.replayed) == ("r-1", False, True)
    assert first.log_receipt == again.log_receipt
    state = engine.recovery("r-1")
    assert state is not None
    assert (state.status, state.reference, state.fulfilled_us) == ("fulfilled", "rf-1", START)
    (entry,) = entries(log_url, "fulfilled")
    granted = rows(log_url, "SELECT leaf FROM recovery_log WHERE request_id = 'r-1'")[0][0]
    assert (entry["id"], entry["by"], entry["of"]) == ("~fulfil/r-1", "emp-1", bytes(granted).hex())


def test_a_void_gives_the_money_back_and_keeps_the_count(engine: RecoveryEngine, log_url: str) -> None:
    engine.request(ask("r-1", 100, receipt="R-1", customer="K-1"))
    assert engine.request(ask("r-2", 1, case="C-r-1", receipt="R-1", customer="K-1")).outcome == Outcome.ESCALATE
    voided = engine.void("r-1", "given twice", by="lead-1")
    assert engine.void("r-1", "given twice", by="lead-1").log_receipt == voided.log_receipt
    state = engine.recovery("r-1")
    assert state is not None
    assert (state.status, state.closed_by, state.closed_reason) == ("voided", "lead-1", "given twice")
    sums = rows(log_url, "SELECT subject, amount_minor, times FROM recovery_usage")
    assert {subject.split(":")[0]: (amount, times) for subject, amount, times in sums} == {
        **{"receipt": (0, 1), "customer": (0, 1), "employee": (0, 1), "site": (0, 1)},
    }
    assert engine.request(ask("r-3", 100, case="C-r-1", receipt="R-1", customer="K-1")).outcome == Outcome.APPROVE
    (third,) = [entry for entry in entries(log_url, "decided") if entry["id"] == "r-3"]
    assert third["counts"]["times"] == 0


def test_a_step_that_is_told_again_says_how_it_stands_now(engine: RecoveryEngine) -> None:
    engine.request(ask("r-1", 200))
    steps = {
        "asked": lambda: engine.ask("r-1", "Which room?", by="lead-1", role="lead", id="q-1"),
        "answered": lambda: engine.answer("r-1", "The blue one", id="a-1"),
        "amended": lambda: engine.amend("r-1", dollars(150)),
        "approved": lambda: engine.approve("r-1", by="lead-1", role="lead"),
        "voided": lambda: engine.void("r-1", "mistake", by="emp-1"),
    }
    taken = {kind: step().tell_customer for kind, step in steps.items()}
    assert "one more thing" in taken["asked"]
    assert taken["answered"] == taken["amended"] == "I have asked my lead; you need not explain it again."
    again = [step() for step in steps.values()]
    assert {(one.replayed, one.tell_customer) for one in again} == {(True, "We have taken $150.00 as refund back.")}


def test_a_case_tells_its_recoveries_in_the_order_they_were_asked_for(engine: RecoveryEngine) -> None:
    for id, amount in (("b", 5), ("a", 300), ("c", 5)):
        engine.request(ask(id, amount, case="C-1"))
    assert [(state.recovery, state.status) for state in engine.case("C-1")] == [
        *(("b", "granted"), ("a", "pending"), ("c", "granted")),
    ]
    assert engine.case("C-2") == ()
    assert engine.recovery("nobody") is None


def test_no_cost_grants_can_be_voided_and_fulfilled_too(engine: RecoveryEngine, log_url: str) -> None:
    engine.request(ask("r-1", 0, remedy="apology"))
    engine.request(ask("r-2", 0, remedy="apology"))
    engine.void("r-1", "not needed", by="emp-1")
    engine.fulfil("r-2")
    assert rows(log_url, "SELECT * FROM recovery_usage") == []


# --- people -----------------------------------------------------------------------------------------------------------


def test_a_customer_stands_in_entries_as_a_token_and_texts_as_commitments(engine: RecoveryEngine, log_url: str) -> None:
    told = {
        "customer": "K-4711",
        "customer_name": "Ann Lee",
        "customer_contact": "ann@example.org",
        "note": "Cafe\u0301",
    }
    engine.request(ask("r-1", **told))
    bodies = b"".join(bytes(body) for (body,) in rows(log_url, "SELECT body FROM recovery_log"))
    assert not any(text.encode() in bodies for text in (*told.values(), "Café"))
    (entry,) = entries(log_url, "decided")
    assert sorted(entry["personal"]) == ["contact", "name", "note"]
    assert rows(log_url, "SELECT token, reference FROM recovery_subject") == [(entry["request"]["customer"], "K-4711")]
    kept = rows(log_url, "SELECT field, value FROM recovery_personal ORDER BY field")
    assert kept == [("contact", "ann@example.org"), ("name", "Ann Lee"), ("note", "Café")]


def test_a_customer_keeps_the_token_over_cases_and_engines(log_url: str) -> None:
    for number in range(2):
        with opened(log_url, POLICY) as engine:
            engine.request(ask(f"r-{number}", customer="K-1", site=f"S{number}"))
    assert len({entry["request"]["customer"] for entry in entries(log_url, "decided")}) == 1


def test_forgetting_looks_at_nobody_else_s_recoveries(tmp_path: Path) -> None:
    log = tmp_path / "recovery.db"
    opened(log, POLICY).close()
    with connected(log) as connection:
        for sql in (group._TEXTS, store._FORGET_TEXTS):
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", ("c_1",))]
            assert any("recovery_state_customer" in step for step in plan)
            assert not any(step.startswith("SCAN") for step in plan)


def test_forgetting_erases_link_and_texts_and_keeps_entries_and_sums(engine: RecoveryEngine, log_url: str) -> None:
    engine.request(ask("r-1", customer="K-1", note="cold", customer_name="Ann"))
    engine.request(ask("r-2", customer="K-2", note="late"))
    sums = tables(log_url)["recovery_usage"]
    forgotten = engine.forget("K-1", "asked for it", by="dpo")
    assert rows(log_url, "SELECT reference FROM recovery_subject") == [("K-2",)]
    assert rows(log_url, "SELECT recovery FROM recovery_personal") == [("r-2",)]
    assert tables(log_url)["recovery_usage"] == sums
    (entry,) = entries(log_url, "forgotten")
    assert (entry["person"], entry["fields"], entry["by"]) == (forgotten.token, ["customer", "name", "note"], "dpo")


def test_who_comes_back_after_being_forgotten_is_new(engine: RecoveryEngine, log_url: str) -> None:
    engine.request(ask("r-1", customer="K-1"))
    old = engine.forget("K-1", "asked for it").token
    assert engine.request(ask("r-1", customer="K-1")).replayed
    engine.request(ask("r-2", customer="K-1"))
    tokens = [entry["request"]["customer"] for entry in entries(log_url, "decided")]
    assert tokens[0] == old != tokens[1]
    assert engine.forget("K-1", "asked again").token == tokens[1]


# --- questions --------------------------------------------------------------------------------------------------------


def test_what_if_and_headroom_leave_no_trace(engine: RecoveryEngine, log_url: str) -> None:
    engine.request(ask("r-1", 60, customer="K-1"))
    before = tables(log_url)
    asked = ask("", 60, case="C-r-1", customer="K-1", note="cold")
    assert engine.what_if(asked).outcome == Outcome.ESCALATE
    assert engine.what_if(ask("r-1", 5, case="C-9", customer="K-9")).outcome == Outcome.APPROVE
    (room,) = engine.headroom(employee="emp-1", role="clerk", site="S1", case="C-r-1", customer="K-1")
    assert room == ("refund", dollars(40))
    assert tables(log_url) == before
    with connected(log_url) as connection:  # not even a row that was only made to be locked
        assert connection.execute("SELECT count(*) FROM recovery_subject_lock WHERE ver = 0").fetchone()[0] == 0
    assert engine.request(ask("r-2", 40, case="C-r-1", customer="K-1")).outcome == Outcome.APPROVE


def test_headroom_is_exactly_what_is_approved(log_url: str) -> None:
    policy = POLICY + "remedies: [refund, voucher, apology]\nceilings: [{id: v, when: {remedy: voucher}, amount: 25}]\n"
    with opened(log_url, policy) as engine:
        engine.request(ask("r-0", 90, case="C-1"))
        for remedy, most in engine.headroom(employee="emp-1", role="clerk", site="S1", case="C-1"):
            assert most is not None
            over = ask("", "10.01", case="C-1", remedy=remedy)
            assert most == dollars(10)
            assert engine.what_if(ask("", 10, case="C-1", remedy=remedy)).outcome == Outcome.APPROVE
            assert engine.what_if(over).outcome == Outcome.ESCALATE
        for one in (["voucher"], "voucher"):
            assert engine.headroom(employee="emp-1", role="clerk", remedies=one) == (("voucher", dollars(25)),)


# --- opening ----------------------------------------------------------------------------------------------------------


def test_the_environment_wins_over_what_the_program_names(log_url: str, tmp_path: Path) -> None:
    named = tmp_path / "named.yaml"
    named.write_text(POLICY.replace("shop", "named"))
    environment = {"RECOVERY_DATABASE": log_url, "RECOVERY_POLICIES": str(named)}
    with RecoveryEngine.open(
        "sqlite:///nowhere/else.db", "no-such-folder", environment=environment, clock=Clock()
    ) as engine:
        assert engine.policy("S1").policy == "named"
        engine.request(ask("r-1"))
    assert [entry["id"] for entry in entries(log_url, "decided")] == ["r-1"]


def test_a_log_is_opened_again_without_policies_and_by_a_path(tmp_path: Path) -> None:
    with opened(tmp_path / "recovery.db", POLICY, origin="shop.example/till") as engine:
        engine.request(ask("r-1"))
    with opened(tmp_path / "recovery.db") as engine:
        assert engine.request(ask("r-1")).replayed
    assert {entry["origin"] for entry in entries(tmp_path / "recovery.db", "opened")} == {"shop.example/till"}


def test_an_engine_without_a_database_says_what_to_do() -> None:
    with pytest.raises(LogError, match="RECOVERY_DATABASE"):
        RecoveryEngine.open(environment={})


def test_a_closed_engine_refuses_and_may_be_closed_again(engine: RecoveryEngine) -> None:
    engine.close()
    engine.close()
    for asked in (lambda: engine.request(ask("r-1")), lambda: engine.recovery("r-1"), lambda: engine.fulfil("r-1")):
        with pytest.raises(LogError, match="closed"):
            asked()
