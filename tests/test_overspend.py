"""However many processes spend at once, a budget for K grants gives K; and each way of losing that is noticed here."""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from engines import POLICY, ask, assert_whole, kind_of, opened, rows

from recovery_engine import StoreBusy
from recovery_engine.log.writing import postgres
from recovery_engine.log.writing.postgres import PostgresDatabase
from recovery_engine.log.writing.sqlite import SqliteDatabase

pytestmark = pytest.mark.slow

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))
GRANTS = 10 * SCALE
CUSTOMERS = ("K-1", "K-2", "K-3")
PROCESSES, THREADS, TURNS = 4, 4, 8 * SCALE
A_WHILE_S = 0.02
BUDGET = f"{POLICY}budgets:\n  - {{id: limit, per: customer, every: day, amount: {GRANTS}}}\n"

several = get_context("forkserver")
several.set_forkserver_preload(["recovery_engine.engine", "psycopg"])


class Spent(NamedTuple):
    """What callers were told was approved, and what the log holds; how many were turned away, and how many deadlocks
    PostgreSQL had to break."""

    told: int
    recorded: int
    busy: int = 0
    deadlocks: int = 0


# --- what would be wrong ----------------------------------------------------------------------------------------------


@contextmanager
def no_gate() -> Iterator[None]:
    """Processes do not wait in line for SQLite: nothing but its own lock is left."""
    with patch.object(SqliteDatabase, "take_turn", lambda self: None):
        yield


@contextmanager
def read_before_the_lock() -> Iterator[None]:
    """Sums are read outside of the transaction; the lock is taken to write."""
    finish, begin = SqliteDatabase.finish, PostgresDatabase.begin

    def begin_late(self: Any, *args: Any) -> None:
        time.sleep(A_WHILE_S)  # as somebody else's commit may take
        self.connection.execute("BEGIN IMMEDIATE")
        finish(self, *args)

    def read_early(self: Any, subjects: Any, streams: Any, others: Any, statements: Any) -> Any:
        versions = "SELECT subject, ver FROM recovery_subject_lock WHERE subject IN (?*)"
        early = self.batch([(versions, (subjects,)), *statements])
        time.sleep(A_WHILE_S)
        clock, (_, heads) = begin(self, subjects, streams, others, [])
        return clock, [early[0], heads, *early[1:]]

    with (
        no_gate(),
        patch.object(SqliteDatabase, "before", SqliteDatabase.batch),
        patch.object(SqliteDatabase, "finish", begin_late),
        patch.object(PostgresDatabase, "begin", read_early),
    ):
        yield


@contextmanager
def no_for_update() -> Iterator[None]:
    """Subjects are read, and not locked."""
    finish = PostgresDatabase.finish

    def finish_late(self: Any, *args: Any) -> None:
        time.sleep(A_WHILE_S)
        finish(self, *args)

    with (
        patch.object(postgres, "_SUBJECTS", postgres._SUBJECTS.removesuffix(" FOR UPDATE")),
        patch.object(PostgresDatabase, "finish", finish_late),
    ):
        yield


@contextmanager
def locks_per_command() -> Iterator[None]:
    """Each command of a group locks what it needs, in the order in which the commands came."""
    pipelined = PostgresDatabase._pipelined

    def one_by_one(self: Any, statements: list[tuple[str, Any]]) -> Any:
        at = next((at for at, (sql, _) in enumerate(statements) if sql == postgres._SUBJECTS), None)
        if at is None:
            return pipelined(self, statements)
        (subjects,) = statements[at][1]
        begun = pipelined(self, statements[:at])
        for subject in random.sample(subjects, len(subjects)):
            self.connection.execute(postgres._SUBJECTS, ([subject],))
            time.sleep(A_WHILE_S / 4)
        return [*begun, *pipelined(self, statements[at:])]

    with patch.object(PostgresDatabase, "_pipelined", one_by_one):
        yield


@contextmanager
def as_it_is() -> Iterator[None]:
    yield


# --- spending ---------------------------------------------------------------------------------------------------------


def till(url: str, number: int, change: Callable[[], Any], start: Any, told: Any) -> None:
    """A process at a site of its own, whose customers come to the other sites too; it tells how much it was granted."""
    with change(), opened(url, random=os.urandom) as engine:

        def cashier(thread: int) -> None:
            chance = random.Random(100 * number + thread)
            for turn in range(TURNS):
                id = f"r-{number}-{thread}-{turn}"
                request = ask(id, 1, site=f"S{number}", employee=f"e-{id}", customer=chance.choice(CUSTOMERS))
                try:
                    outcomes[str(engine.request(request).outcome)] += 1
                except StoreBusy:
                    outcomes["busy"] += 1

        outcomes: Counter[str] = Counter()
        start.wait()
        with ThreadPoolExecutor(THREADS) as cashiers:
            list(cashiers.map(cashier, range(THREADS)))
        told.put(outcomes)


def spent(url: str, change: Callable[[], Any]) -> Spent:
    """Let all processes spend, each with the same change to the code."""
    opened(url, BUDGET).close()
    start, told = several.Barrier(PROCESSES), several.SimpleQueue()
    tills = [several.Process(target=till, args=(url, n, change, start, told)) for n in range(PROCESSES)]
    for process in tills:
        process.start()
    for process in tills:
        process.join(120)
    assert [process.exitcode for process in tills] == [0] * PROCESSES
    (recorded,) = rows(url, "SELECT sum(amount_minor) FROM recovery_usage WHERE subject LIKE 'customer:%'")[0]
    deadlocks = 0
    if url.startswith("postgresql"):
        (deadlocks,) = rows(url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0]
    outcomes = sum((told.get() for _ in tills), Counter[str]())
    return Spent(outcomes["approve"], int(recorded) // 100, outcomes["busy"], deadlocks)


ALL = len(CUSTOMERS) * GRANTS


ASKED = (
    f"{PROCESSES * THREADS * TURNS:,} requests from {PROCESSES} processes of {THREADS} threads (seeds 0 to "
    f"{100 * PROCESSES - 100 + THREADS - 1}); {ALL:,} could be granted, {ALL:,} were"
)


def test_no_budget_is_overspent(log_url: str, record_property: Any) -> None:
    assert spent(log_url, as_it_is) == Spent(ALL, ALL)
    assert_whole(log_url)
    record_property("budgets", f"{kind_of(log_url)}: {ASKED}")


def test_no_budget_of_a_file_is_overspent_without_the_gate(tmp_path: Path, record_property: Any) -> None:
    log = f"sqlite:///{tmp_path / 'recovery.db'}"
    assert spent(log, no_gate) == Spent(ALL, ALL)
    assert_whole(log)
    record_property("budgets", f"sqlite, without the gate: {ASKED}")


def test_sums_that_are_read_before_the_lock_are_noticed(log_url: str) -> None:
    assert spent(log_url, read_before_the_lock).told > ALL


IMPATIENT = "&options=-cdeadlock_timeout%3D20ms"


def test_subjects_that_are_not_locked_are_noticed(postgres_url: str) -> None:
    assert spent(postgres_url + IMPATIENT, no_for_update).told > ALL


def test_locks_per_command_are_noticed(postgres_url: str) -> None:
    assert spent(postgres_url + IMPATIENT, locks_per_command).deadlocks > 0
