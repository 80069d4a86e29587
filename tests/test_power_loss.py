"""Which settings of SQLite keep a promise when the power or the disk fails, and that our disk can tell.

``RECOVERY_TEST_SCALE=100`` multiplies how much is examined. The seeds are fixed.
"""

import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import islice
from random import Random
from typing import Any

import pysqlite3.dbapi2 as sqlite
import pytest

from tests.faulty_disk import Disk, Fault, Operation, faults
from tests.powerloss import Files, Record, record, restored, states

pytestmark = pytest.mark.slow

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))
PARTS = 3
SCHEMA = """
BEGIN;
CREATE TABLE part (number INTEGER, part INTEGER, content TEXT, PRIMARY KEY (number, part));
CREATE TABLE tally (parts INTEGER, filler TEXT);
INSERT INTO tally SELECT 0, printf('%3000s', value) FROM json_each('[1, 2, 3]');
COMMIT;
"""
DURABLE = [("wal", "full"), ("delete", "extra")]


def content(number: int, part: int) -> str:
    """Long enough that a transaction changes several pages."""
    return f"{number}/{part} " * 300


def opened(disk: Disk, journal: str, synchronous: str) -> Any:
    connection = disk.connect(disk.folder / "log.db")
    if connection.execute(f"PRAGMA journal_mode={journal}").fetchone() != (journal,):
        raise sqlite.OperationalError("the journal mode did not take")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute("PRAGMA wal_autocheckpoint=12")
    return connection


def add(connection: Any, number: int) -> None:
    """A transaction: PARTS new rows, and a change to three pages that all transactions change."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO part VALUES (?, ?, ?)", [(number, i, content(number, i)) for i in range(PARTS)])
    connection.execute("UPDATE tally SET parts = parts + ?", (PARTS,))
    connection.execute("COMMIT")


def add_and_promise(disk: Disk, connection: Any, number: int) -> None:
    add(connection, number)
    disk.acknowledge(number)


def promise_and_add(disk: Disk, connection: Any, number: int) -> None:
    disk.acknowledge(number)
    add(connection, number)


def transactions(
    journal: str, synchronous: str, count: int = 8, one: Callable[[Disk, Any, int], None] = add_and_promise
) -> Callable[[Disk], None]:
    """A run of *count* transactions on a new database, which goes on after a disk error as long as it can."""

    def run(disk: Disk) -> None:
        with suppress(sqlite.OperationalError), closing(opened(disk, journal, synchronous)) as connection:
            connection.executescript(SCHEMA)
            for number in range(count):
                with suppress(sqlite.OperationalError):
                    one(disk, connection, number)
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    return run


def flaw(files: Files, promised: list[int]) -> str | None:
    """What an ordinary SQLite finds wrong with *files*: damaged, half, lost, or None."""
    with restored(files) as folder, closing(sqlite.connect(folder / "log.db")) as connection:
        try:
            if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                return "damaged"
            if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'tally'").fetchall():
                return "lost" if promised else None
            rows = set(connection.execute("SELECT number, part, content FROM part"))
            tally = connection.execute("SELECT DISTINCT parts FROM tally").fetchall()
        except (sqlite.DatabaseError, UnicodeDecodeError):
            return "damaged"
    found = {number for number, _, _ in rows}
    if rows != {(number, i, content(number, i)) for number in found for i in range(PARTS)} or tally != [(len(rows),)]:
        return "half"
    return None if found.issuperset(promised) else "lost"


def flaws(made: Record, per_point: int) -> Counter[str | None]:
    return Counter(flaw(files, made.acknowledged_at(point)) for point, files in states(made, 1, per_point))


def counted(found: Counter[str | None]) -> str:
    bad = ", ".join(f"{found[what]:,} {what}" for what in ("lost", "half", "damaged") if found[what])
    return f"{found.total():,} states, {bad or 'no flaw'}"


@pytest.mark.parametrize(
    ("journal", "synchronous", "expected"),
    [
        ("wal", "normal", {"lost"}),
        ("delete", "full", {"lost"}),
        ("delete", "off", {"lost", "half", "damaged"}),
        ("wal", "full", set()),
        ("delete", "extra", set()),
    ],
)
def test_power_loss_does_to_transactions_what_the_settings_allow(
    journal: str, synchronous: str, expected: set[str], record_property: Any
) -> None:
    found = flaws(record(transactions(journal, synchronous)), 10 * SCALE)
    record_property("power loss", f"{journal} + {synchronous}: {counted(found)}")
    assert set(found) - {None} == expected


@pytest.mark.parametrize(("journal", "synchronous"), DURABLE)
def test_a_promise_given_before_the_commit_is_found_broken(journal: str, synchronous: str) -> None:
    assert flaws(record(transactions(journal, synchronous, 2, promise_and_add)), 2)["lost"]


@pytest.mark.parametrize(("journal", "synchronous"), DURABLE)
def test_power_may_fail_again_while_the_first_failure_is_repaired(
    journal: str, synchronous: str, record_property: Any
) -> None:
    def repair(disk: Disk) -> None:
        with closing(opened(disk, journal, synchronous)) as connection:
            if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'tally'").fetchone():
                add_and_promise(disk, connection, 99)

    made = record(transactions(journal, synchronous))
    first = [(point, files) for point, files in states(made, 2, 4) if len(files) > 1]
    found: Counter[str | None] = Counter()
    for point, files in Random(3).sample(first, min(len(first), 10 * SCALE)):
        again = record(repair, files)
        before = made.acknowledged_at(point)
        found.update(flaw(left, before + again.acknowledged_at(at)) for at, left in states(again, 4, 2))
    record_property("power loss, twice", f"{journal} + {synchronous}: {counted(found)}")
    assert set(found) == {None}


def contents(*operations: Operation, start: Files) -> set[bytes | None]:
    """What may be in the file `f` at the end; None: there is no such file."""
    made = Record(start, operations, (), ((len(operations), "done"),), {})
    return {files.get("f") for point, files in states(made, 5, 200) if point == len(operations)}


def test_what_was_synced_is_there_and_nothing_else() -> None:
    written, synced = Operation("write", 0, "f", 0, b"new"), Operation("sync", 0, "f")
    assert contents(written, synced, start={"f": b"old"}) == {b"new"}


def test_a_sync_of_one_file_leaves_the_others_unsynced() -> None:
    written, other = Operation("write", 0, "f", 0, b"new"), Operation("sync", 1, "g")
    assert {b"new", b"old"} <= contents(written, other, start={"f": b"old", "g": b""})


def test_an_unsynced_write_is_kept_dropped_torn_rubbish_or_a_hole() -> None:
    after = contents(Operation("write", 0, "f", 0, b"n" * 8192), start={"f": b"o"})
    assert {b"o", b"n" * 8192, b"o" + bytes(8191), b"n" * 512, b"n" * 4096, b"o" + bytes(4095) + b"n" * 4096} <= after
    assert any(len(found) == 8192 and not set(found) <= set(b"on\0") for found in after if found)


def test_unsynced_writes_happen_in_any_order() -> None:
    writes = [Operation("write", 0, "f", i, bytes([65 + i])) for i in range(3)]
    in_any_order = {b"ABC", b"ABx", b"AxC", b"xBC", b"Axx", b"xBx", b"xxC", b"xxx"}
    assert in_any_order <= contents(*writes, start={"f": b"xxx"})


def test_an_unsynced_truncate_may_be_lost() -> None:
    assert contents(Operation("truncate", 0, "f", 1), start={"f": b"old"}) == {b"o", b"old"}


def test_a_deleted_file_may_be_back_until_the_folder_is_synced() -> None:
    deleted, synced = Operation("delete", 0, "f"), Operation("sync folder", 0, "f")
    assert contents(deleted, start={"f": b"old"}) == {b"old", None}
    assert contents(deleted, synced, start={"f": b"old"}) == {None}


def test_a_new_file_may_be_missing_until_the_folder_is_synced_though_its_content_is() -> None:
    operations = Operation("create", 1, "f"), Operation("write", 1, "f", 0, b"new"), Operation("sync", 1, "f")
    assert contents(*operations, start={}) == {b"new", None}


def test_what_a_failed_sync_did_not_write_stays_unwritten() -> None:
    first, second = Operation("write", 0, "f", 0, b"1"), Operation("write", 0, "f", 1, b"2")
    failed, synced = Operation("failed sync", 0, "f"), Operation("sync", 0, "f")
    assert contents(first, failed, second, synced, start={"f": b"oo"}) == {b"o2"}
    assert contents(first, failed, first, second, synced, start={"f": b"oo"}) == {b"12"}


def test_faults_strike_once_or_from_then_on_and_a_full_disk_refuses_writes_only() -> None:
    def struck(fault: Fault) -> list[int]:
        return [n for n, kind in enumerate(("read", "write", "sync", "write")) if fault.strikes(n, kind)]

    assert [struck(Fault(1)), struck(Fault(1, forever=True))] == [[1], [1, 2, 3]]
    assert [struck(Fault(1, full=True)), struck(Fault(1, full=True, forever=True))] == [[1], [1, 3]]


def test_a_write_that_fails_is_half_done() -> None:
    whole = record(transactions("delete", "full", 0))
    cut = record(transactions("delete", "full", 0), fault=Fault(whole.attempts.index("write")))
    first, half = (next(one.content for one in made.operations if one.kind == "write") for made in (whole, cut))
    assert (len(half), cut.left) == (len(first) // 2, {"log.db": b""})


def all_faults(journal: str, synchronous: str, count: int) -> list[Fault]:
    return list(faults(record(transactions(journal, synchronous, count)).attempts))


@pytest.mark.parametrize(("journal", "synchronous"), DURABLE)
def test_promises_survive_every_disk_fault(journal: str, synchronous: str, record_property: Any) -> None:
    found: Counter[str | None] = Counter()
    told, count = [], min(2 + SCALE, 12)
    for fault in all_faults(journal, synchronous, count):
        made = record(transactions(journal, synchronous, count), fault=fault)
        promised = made.acknowledged_at(len(made.operations))
        found[flaw(made.left, promised)] += 1
        told.append(len(promised))
    record_property("disk faults", f"{journal} + {synchronous}: {counted(found)}")
    assert set(found) == {None}
    assert {0, count - 1} <= set(told), "one fault costs everything or one transaction"


def test_a_promise_given_before_the_commit_is_found_broken_by_a_fault() -> None:
    run = transactions("wal", "full", 1, promise_and_add)
    made = [record(run, fault=fault) for fault in all_faults("wal", "full", 1)]
    assert "lost" in {flaw(one.left, [token for _, token in one.acknowledged]) for one in made}


@pytest.mark.parametrize(("journal", "synchronous"), DURABLE)
def test_promises_survive_a_disk_fault_and_then_power_loss(
    journal: str, synchronous: str, record_property: Any
) -> None:
    syncs = [fault for fault in all_faults(journal, synchronous, 4) if not fault.full]
    found: Counter[str | None] = Counter()
    for fault in Random(6).sample(syncs, min(len(syncs), 5 * SCALE)):
        found += flaws(record(transactions(journal, synchronous, 4), fault=fault), 2)
    record_property("disk faults, then power loss", f"{journal} + {synchronous}: {counted(found)}")
    assert set(found) == {None}


def asked(connection: Any, sql: str, bindings: Any) -> Any:
    """An answer, or the error, in a form that can be compared."""
    try:
        rows = connection.execute(sql, bindings)
    except sqlite.Error as error:
        return type(error), str(error), connection.in_transaction
    answer = rows.description, rows.rowcount, list(islice(rows, 1)), rows.fetchone(), rows.fetchall()
    return *answer, connection.in_transaction


def test_a_connection_to_the_disk_answers_as_sqlite3_does() -> None:
    statements = [
        ("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT NOT NULL) STRICT", ()),
        ("INSERT INTO t VALUES (?, ?), (2, 'two'), (3, 'three'), (4, 'four')", (1, "one")),
        ("INSERT INTO t VALUES (:a, :b)", {"a": 5, "b": "five"}),
        ("SELECT a, b AS name FROM t", ()),
        ("SELECT a FROM t WHERE a > 100", ()),
        ("UPDATE t SET b = 'x' WHERE a < 3", ()),
        ("DELETE FROM t WHERE a > 100", ()),
        ("INSERT OR IGNORE INTO t VALUES (1, 'again')", ()),
        ("INSERT INTO t VALUES (1, 'again')", ()),
        ("INSERT INTO t VALUES (9, NULL)", ()),
        ("INSERT INTO t VALUES (9, x'00')", ()),
        ("SELEC", ()),
        ("SELECT * FROM u", ()),
        ("PRAGMA user_version", ()),
        ("BEGIN", ()),
        ("BEGIN", ()),
        ("COMMIT", ()),
        ("COMMIT", ()),
    ]

    def run(disk: Disk) -> None:
        ours, theirs = disk.connect(disk.folder / "log.db"), sqlite.connect(":memory:", isolation_level=None)
        for sql, bindings in statements:
            assert (sql, asked(ours, sql, bindings)) == (sql, asked(theirs, sql, bindings))
        many = [(n, "n") for n in range(10, 20)]
        assert {c.executemany("INSERT INTO t VALUES (?, ?)", many).rowcount for c in (ours, theirs)} == {10}

    record(run)


def test_a_busy_database_is_an_operational_error() -> None:
    def run(disk: Disk) -> None:
        first, second = (disk.connect(disk.folder / "log.db", timeout=0) for _ in range(2))
        first.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite.OperationalError, match="database is locked"):
            second.execute("BEGIN IMMEDIATE")

    record(run)


def test_a_commit_is_answered_although_the_checkpoint_after_it_failed() -> None:
    refused: list[int] = []

    def one(disk: Disk, connection: Any, number: int) -> None:
        try:
            add_and_promise(disk, connection, number)
        except sqlite.OperationalError:
            # A connection that refused a commit does not see it: what apsw raises after the commit must not get here.
            assert not connection.execute("SELECT 1 FROM part WHERE number = ?", (number,)).fetchone()
            refused.append(number)
            raise

    once = [fault for fault in all_faults("wal", "full", 4) if not fault.forever]
    told = Counter(len(record(transactions("wal", "full", 4, one), fault=fault).acknowledged) for fault in once)
    assert refused
    assert told[4] > 30
