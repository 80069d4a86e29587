"""Callers who wait are served together: one transaction, one order, and nobody pays for what a neighbour did wrong."""

import fcntl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from engines import (
    POLICY,
    Clock,
    ask,
    assert_whole,
    connected,
    entries,
    names,
    opened,
    rows,
    tables,
    together,
)

from recovery_engine import LogError, RecoveryEngine, StoreBusy
from recovery_engine.log.writing import postgres, sqlite, store
from recovery_engine.log.writing.group import Group, Wanted
from recovery_engine.log.writing.sqlite import SqliteDatabase


@pytest.fixture
def engine(log_url: str) -> Iterator[RecoveryEngine]:
    with opened(log_url, POLICY, clock=Clock(ticks=True)) as engine:
        yield engine
    assert_whole(log_url)


def asking(engine: RecoveryEngine, *requests: Any) -> list[Any]:
    return [lambda request=request: engine.request(request) for request in requests]


# --- one group --------------------------------------------------------------------------------------------------------


def test_callers_who_wait_share_one_commit(engine: RecoveryEngine, log_url: str) -> None:
    database = engine._store._database
    with patch.object(database, "finish", wraps=database.finish) as finish:
        answers = together(engine, *asking(engine, *(ask(f"r-{n}", 10, site=f"S{n % 3}") for n in range(20))))
    assert names(answers) == ["approve"] * 20
    assert finish.call_count == 1
    assert len({entry["at_us"] for entry in entries(log_url, "decided")}) == 1
    assert [answer.log_receipt.seq for answer in answers[::3]] == [1, 2, 3, 4, 5, 6, 7]


def test_a_group_has_at_most_64_members(engine: RecoveryEngine, log_url: str) -> None:
    database = engine._store._database
    with patch.object(database, "finish", wraps=database.finish) as finish:
        answers = together(engine, *asking(engine, *(ask(f"r-{n}", 1, employee=f"e-{n}") for n in range(100))))
    assert names(answers) == ["approve"] * 100
    assert finish.call_count >= 2
    assert rows(log_url, "SELECT count(*) FROM recovery_log WHERE kind = 'decided'") == [(100,)]


def test_members_see_what_those_before_them_were_given(engine: RecoveryEngine) -> None:
    split = [ask(f"r-{n}", 40, case="C-1", employee=f"e-{n}") for n in range(4)]
    assert names(together(engine, *asking(engine, *split))) == ["approve", "approve", "escalate", "escalate"]


def test_steps_of_one_recovery_may_follow_in_one_group(engine: RecoveryEngine) -> None:
    answers = together(
        engine,
        *asking(engine, ask("r-1"), ask("r-2")),
        lambda: engine.fulfil("r-1"),
        lambda: engine.void("r-1", "too late", by="emp-1"),
        lambda: engine.void("r-2", "mistake", by="emp-1"),
        lambda: engine.fulfil("r-1"),
        *asking(engine, ask("r-3", 100, case="C-r-2")),
    )
    assert names(answers) == ["approve", "approve", "done", "NotAllowed", "done", "done", "approve"]
    assert answers[5].replayed


def test_the_same_request_twice_in_a_group_is_one_entry(engine: RecoveryEngine, log_url: str) -> None:
    answers = together(engine, *asking(engine, ask("r-1"), ask("r-1"), ask("r-1", 11)))
    assert names(answers) == ["approve", "approve", "IdempotencyConflict"]
    assert [answer.replayed for answer in answers[:2]] == [False, True]
    assert len(entries(log_url, "decided")) == 1


def test_another_new_customer_under_the_same_id_is_a_conflict_in_a_group_too(engine: RecoveryEngine) -> None:
    answers = together(engine, *asking(engine, ask("r-1", customer="K-1"), ask("r-1", customer="K-2")))
    assert names(answers) == ["approve", "IdempotencyConflict"]


def test_a_customer_is_asked_for_and_forgotten_in_one_group(engine: RecoveryEngine, log_url: str) -> None:
    engine.request(ask("r-0", customer="K-1", note="cold"))
    answers = together(
        engine,
        *asking(engine, ask("r-1", customer="K-1", customer_name="Ann")),
        lambda: engine.forget("K-1", "asked for it"),
        *asking(engine, ask("r-2", customer="K-1", note="warm")),
        lambda: engine.forget("K-2", "asked for it"),
        *asking(engine, ask("r-3", customer="K-2", role="nobody"), ask("r-4", customer="K-2")),
    )
    assert names(answers) == ["approve", "done", "approve", "NotAllowed", "InvalidRequest", "approve"]
    (forgotten,) = entries(log_url, "forgotten")
    assert forgotten["fields"] == ["customer", "name", "note"]
    customers = [entry["request"]["customer"] for entry in entries(log_url, "decided")]
    assert customers[0] == customers[1] == forgotten["person"]
    assert len(set(customers)) == 3
    assert rows(log_url, "SELECT recovery FROM recovery_personal") == [("r-2",)]


def test_a_new_customer_of_several_requests_is_one_and_costs_one_commit(engine: RecoveryEngine, log_url: str) -> None:
    database = engine._store._database
    with patch.object(database, "finish", wraps=database.finish) as finish:
        answers = together(engine, *asking(engine, *(ask(f"r-{n}", customer="K-1") for n in range(3))))
    assert names(answers) == ["approve"] * 3
    assert finish.call_count == 1
    assert len({entry["request"]["customer"] for entry in entries(log_url, "decided")}) == 1


def test_what_a_neighbour_just_told_of_a_person_is_erased_and_named(engine: RecoveryEngine, log_url: str) -> None:
    engine.request(ask("r-0", customer="K-1", note="cold"))
    answers = together(
        engine,
        *asking(engine, ask("r-1", customer="K-1", customer_name="Ann"), ask("r-2", customer="K-2", note="late")),
        lambda: engine.forget("K-1", "asked for it"),
    )
    assert names(answers) == ["approve", "approve", "done"]
    assert entries(log_url, "forgotten")[0]["fields"] == ["customer", "name", "note"]
    assert rows(log_url, "SELECT recovery FROM recovery_personal") == [("r-2",)]


def test_whoever_was_only_asked_for_in_vain_is_not_known(engine: RecoveryEngine) -> None:
    answers = together(
        engine, *asking(engine, ask("r-1", customer="K-1", role="nobody")), lambda: engine.forget("K-1", "asked for it")
    )
    assert names(answers) == ["InvalidRequest", "NotAllowed"]


# --- neighbours -------------------------------------------------------------------------------------------------------


class Poison:
    """A command with a fault of its own at one place."""

    def __init__(self, at: str) -> None:
        self.at = at

    def wants(self, wanted: Wanted) -> None:
        self._strike("wants")

    def locks(self, group: Group, wanted: Wanted) -> None:
        self._strike("locks")
        wanted.streams.add("site:S1")

    def run(self, group: Group) -> None:
        if self.at == "rows":
            group.keep_personal([("r-x", "note", None, None)])
        self._strike("run")

    def _strike(self, place: str) -> None:
        if self.at == place:
            raise ZeroDivisionError(place)


@pytest.mark.parametrize("at", ["wants", "locks", "run", "rows"])
def test_a_fault_of_one_member_concerns_it_alone(engine: RecoveryEngine, log_url: str, at: str) -> None:
    asked = asking(engine, *(ask(f"r-{n}", 10, customer=f"K-{n}", note="cold") for n in range(4)))
    poison = lambda: engine._store.run(Poison(at))  # noqa: E731
    answers = together(engine, *asked[:2], poison, *asked[2:])
    assert names(answers) == [
        "approve",
        "approve",
        "LogError" if at == "rows" else "ZeroDivisionError",
        *["approve"] * 2,
    ]
    assert [answer.replayed for answer in answers if hasattr(answer, "replayed")] == [False] * 4
    assert len(entries(log_url, "decided")) == 4
    assert engine.request(ask("r-9")).log_receipt


def test_what_is_refused_costs_its_neighbours_nothing(engine: RecoveryEngine) -> None:
    database = engine._store._database
    with patch.object(database, "finish", wraps=database.finish) as finish:
        answers = together(
            engine,
            *asking(engine, ask("r-1"), ask("r-2", role="nobody"), ask("r-1", 99)),
            lambda: engine.fulfil("nobody"),
            *asking(engine, ask("r-3")),
        )
    assert names(answers) == ["approve", "InvalidRequest", "IdempotencyConflict", "NotAllowed", "approve"]
    assert finish.call_count == 1


def test_an_id_that_another_process_takes_meanwhile_is_found_out(log_url: str) -> None:
    """The same id at two sites: no lock is shared, and the second writer meets the first one's row."""
    with opened(log_url, POLICY) as one, opened(log_url, POLICY) as other:
        database = one._store._database
        begin = database.begin

        def meanwhile(*args: Any) -> Any:
            found = begin(*args)
            if not isinstance(database, SqliteDatabase):
                other.request(ask("r-1", site="S2", employee="emp-2", case="C-2"))
            return found

        with patch.object(database, "begin", side_effect=meanwhile, autospec=False):
            answers = together(one, *asking(one, ask("r-1"), ask("r-2")))
    expected = ["approve", "approve"] if isinstance(database, SqliteDatabase) else ["IdempotencyConflict", "approve"]
    assert names(answers) == expected
    assert_whole(log_url)


def test_a_customer_whom_another_process_links_meanwhile_has_one_token(log_url: str) -> None:
    with opened(log_url, POLICY) as one, opened(log_url, POLICY, seed=1) as other:
        database = one._store._database
        before = database.before

        def meanwhile(*args: Any) -> Any:
            found = before(*args)
            if not isinstance(database, SqliteDatabase):
                other.request(ask(f"o-{time.monotonic_ns()}", customer="K-1", site="S2"))
            return found

        with patch.object(database, "before", side_effect=meanwhile):
            answers = together(one, *asking(one, ask("r-1", customer="K-1"), ask("r-2", customer="K-1")))
    assert names(answers) == ["approve", "approve"]
    assert len({entry["request"]["customer"] for entry in entries(log_url, "decided")}) == 1
    assert_whole(log_url)


# --- the line ---------------------------------------------------------------------------------------------------------


def test_who_gives_up_in_line_has_surely_stored_nothing(tmp_path: Path) -> None:
    log = tmp_path / "recovery.db"
    with opened(log, POLICY, wait_s=0.1) as engine:
        before = tables(log)
        with open(f"{log}-writer") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            for id in ("r-1", "r-2"):
                with pytest.raises(StoreBusy, match="did not take it within"):
                    engine.request(ask(id))
            assert engine.what_if(ask("r-1")).outcome == "approve"  # questions do not wait
            fcntl.flock(gate, fcntl.LOCK_UN)
        assert engine.request(ask("r-3")).outcome == "approve"
        assert [entry["id"] for entry in entries(log, "decided")] == ["r-3"]
        assert tables(log) != before
        assert not engine.request(ask("r-1")).replayed


@pytest.fixture
def impatient() -> Iterator[None]:
    """The database is waited for a moment only."""
    with (
        patch.object(sqlite, "_BUSY_S", 0.02),
        patch.object(postgres, "_LOCK_MS", 20),
        patch.object(store, "_MOST_TRYING_S", 0.3),
    ):
        yield


def test_a_database_locked_by_others_is_busy_for_all_who_wait_and_then_serves(impatient: None, tmp_path: Path) -> None:
    log = tmp_path / "recovery.db"
    with opened(log, POLICY) as engine:
        before = tables(log)
        with connected(log) as stranger:
            stranger.execute("BEGIN IMMEDIATE")
            started = time.monotonic()
            answers = together(engine, *asking(engine, *(ask(f"r-{n}") for n in range(30))))
            assert names(answers) == ["StoreBusy"] * 30
            assert time.monotonic() - started < 5
        assert tables(log) == before
        assert engine.request(ask("r-1")).outcome == "approve"
    assert_whole(log)


def test_a_subject_locked_by_others_is_busy_and_then_serves(impatient: None, postgres_url: str) -> None:
    with opened(postgres_url, POLICY) as engine:
        engine.request(ask("r-0"))
        with connected(postgres_url) as stranger:
            stranger.execute("SELECT * FROM recovery_subject_lock WHERE subject = 'employee:emp-1' FOR UPDATE")
            with pytest.raises(StoreBusy, match="lock timeout"):
                engine.request(ask("r-1"))
            for turn in range(10):  # statements become prepared on the way
                assert engine.request(ask(f"other-{turn}", employee="emp-2")).outcome == "approve"
        assert not engine.request(ask("r-1")).replayed
    assert_whole(postgres_url)


def test_the_writer_waits_for_a_reader_that_looks_at_the_whole_log(engine: RecoveryEngine, log_url: str) -> None:
    engine.request(ask("r-1"))
    with connected(log_url) as auditor:
        auditor.execute("BEGIN")
        first = auditor.execute("SELECT count(*) FROM recovery_log").fetchone()
        assert engine.request(ask("r-2")).outcome == "approve"
        assert auditor.execute("SELECT count(*) FROM recovery_log").fetchone() == first or "postgres" in log_url


# --- closing ----------------------------------------------------------------------------------------------------------


def test_closing_answers_everybody(log_url: str) -> None:
    engine = opened(log_url, POLICY)
    told: list[Any] = []

    def caller(number: int) -> None:
        for turn in range(100):
            try:
                told.append(engine.request(ask(f"r-{number}-{turn}", employee=f"e-{number}")).recovery)
            except LogError as error:
                told.append(error)
                return

    threads = [threading.Thread(target=caller, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    while not told:
        threads[0].join(0.001)
    started = time.monotonic()
    engine.close()
    for thread in threads:
        thread.join(30)
    assert time.monotonic() - started < 20
    assert not any(thread.is_alive() for thread in threads)
    stored = {entry["id"] for entry in entries(log_url, "decided")}
    assert {answer for answer in told if isinstance(answer, str)} == stored
    assert_whole(log_url)


def test_closing_while_another_process_writes_refuses_those_in_line(tmp_path: Path) -> None:
    log = tmp_path / "recovery.db"
    engine = opened(log, POLICY, wait_s=30)
    answers: list[Any] = []
    with patch.object(store, "_MOST_TAKEN_S", 0.2), open(f"{log}-writer") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)

        def caller() -> None:
            try:
                answers.append(engine.request(ask("r-1")).recovery)
            except StoreBusy as error:
                answers.append(error)

        thread = threading.Thread(target=caller)
        thread.start()
        engine.close()
        fcntl.flock(gate, fcntl.LOCK_UN)
        thread.join(30)
    assert [entry["id"] for entry in entries(log, "decided")] == [one for one in answers if isinstance(one, str)]
