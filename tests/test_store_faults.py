"""The disk fails, the power goes, the connection is cut: what was acknowledged stands, and the engine goes on.

``RECOVERY_TEST_SCALE=100`` multiplies how many faults and crash states are looked at. The seeds are fixed.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from random import Random
from threading import Thread
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import apsw
import pysqlite3.dbapi2 as pysqlite
import pytest
from databases import database_name, new_role, postgres_admin
from engines import HOUR, POLICY, Clock, ask, assert_whole, connected, dollars, entries, names, opened, rows, together
from proxy import Proxy

from recovery_engine import LogError, NotAllowed, OutcomeUnknown, RecoveryError, StoreBusy
from recovery_engine.log.opening import sqlite_module
from recovery_engine.log.writing import sqlite, store
from tests.faulty_disk import Disk, faults
from tests.powerloss import Files, Record, record, restored, states

pytestmark = pytest.mark.slow

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))
FILE = "recovery.db"
WAL, ROLLBACK_JOURNAL = (3, 53, 0), (3, 40, 0)
SETTINGS = {WAL: "wal + full", ROLLBACK_JOURNAL: "delete + extra"}
BOTH = pytest.mark.parametrize("version", [WAL, ROLLBACK_JOURNAL], ids=["WAL", "rollback journal"])


# --- on a disk that fails ---------------------------------------------------------------------------------------------


@contextmanager
def on(disk: Disk, version: tuple[int, ...]) -> Iterator[None]:
    """The engine's writer uses *disk*, with an SQLite that calls itself *version*; nobody waits long."""

    def connect(path: str, isolation_level: None, check_same_thread: bool, timeout: float) -> Any:
        return disk.connect(path, timeout)

    names = ("Error", "OperationalError", "IntegrityError", "DatabaseError")
    module = SimpleNamespace(
        connect=connect, sqlite_version_info=version, **{one: getattr(pysqlite, one) for one in names}
    )
    with (
        patch.object(sqlite, "sqlite_module", lambda: module),
        patch.object(sqlite, "_BUSY_S", 0.05),
        patch.object(store, "_FIRST_PAUSE_S", 0.0),
    ):
        yield


def a_day(version: tuple[int, ...], told_to_recover: bool = False) -> Any:
    """A run: some requests and steps, each acknowledged when it was answered."""

    def run(disk: Disk) -> None:
        with on(disk, version):
            try:
                engine = opened(disk.folder / FILE, POLICY, random=os.urandom)
            except RecoveryError:
                return
            commands = [
                *(
                    lambda n=n: engine.request(ask(f"r-{n}", customer=f"K-{n % 2}", note="cold" * 200))
                    for n in range(4)
                ),
                lambda: engine.fulfil("r-0", "rf-1"),
                lambda: engine.void("r-1", "mistake", by="emp-1"),
                lambda: engine.forget("K-1", "asked for it"),
                lambda: engine.request(ask("r-9", site="S2")),
            ]
            for command in commands:
                # Where the log did not take a request, the steps that follow it are not allowed.
                with suppress(LogError, NotAllowed):
                    receipt = command().log_receipt
                    disk.acknowledge((receipt.stream, receipt.seq, receipt.leaf))
            if told_to_recover:
                disk.fault = None
                receipt = engine.request(ask("r-last")).log_receipt
                assert receipt is not None
                disk.acknowledge((receipt.stream, receipt.seq, receipt.leaf))
            engine.close()

    return run


def assert_stands(files: Files, acknowledged: list[Any]) -> None:
    """An engine that opens *files* finds everything that was acknowledged, nothing half written, and goes on."""
    with restored(files) as folder:
        log = folder / FILE
        if acknowledged:
            stored = {(stream, seq, bytes(leaf).hex()) for stream, seq, leaf in rows(log, LEAVES)}
            assert set(acknowledged) <= stored
        with opened(log, POLICY, seed=1) as engine:
            engine.request(ask("after", customer="K-0"))
        assert_whole(log)


LEAVES = "SELECT stream, seq, leaf FROM recovery_log"


@pytest.fixture(scope="module")
def made() -> dict[tuple[int, ...], Record]:
    """What a day does to the disk, by the kind of journal."""
    return {version: record(a_day(version)) for version in (WAL, ROLLBACK_JOURNAL)}


@BOTH
def test_the_engine_asks_its_disk_for_what_keeps_a_promise(made: dict[Any, Record], version: tuple[int, ...]) -> None:
    done = made[version]
    assert len(done.acknowledged) == 8
    names = {operation.name for operation in done.operations}
    assert names >= {FILE, f"{FILE}-wal" if version == WAL else f"{FILE}-journal"}
    assert_stands(done.left, [token for _, token in done.acknowledged])


@BOTH
def test_power_loss_takes_nothing_that_was_acknowledged(
    made: dict[Any, Record], version: tuple[int, ...], record_property: Any
) -> None:
    done = made[version]
    found = list(states(done, seed=1, per_point=1 + SCALE // 10))
    looked_at = Random(2).sample(found, min(len(found), 25 * SCALE))
    for point, files in looked_at:
        assert_stands(files, done.acknowledged_at(point))
    record_property("the log, power loss", f"{SETTINGS[version]}: {len(looked_at):,} states (seeds 1, 2), nothing lost")


@BOTH
@pytest.mark.parametrize("forever", [False, True], ids=["once", "until it is mended"])
def test_a_disk_that_is_full_or_fails_costs_no_acknowledged_entry(
    made: dict[Any, Record], version: tuple[int, ...], forever: bool, record_property: Any
) -> None:
    of_a_kind = [fault for fault in faults(made[version].attempts) if fault.forever == forever]
    tried = Random(3).sample(of_a_kind, min(len(of_a_kind), 15 * SCALE))
    for fault in tried:
        hurt = record(a_day(version, told_to_recover=True), fault=fault)
        assert_stands(hurt.left, [token for _, token in hurt.acknowledged])
    times = "until it was mended" if forever else "once"
    text = f"{SETTINGS[version]}: {len(tried):,} of {len(of_a_kind):,} operations failed {times} (seed 3), nothing lost"
    record_property("the log, disk faults", text)


@BOTH
def test_power_loss_after_a_failed_disk_takes_nothing_either(
    made: dict[Any, Record], version: tuple[int, ...], record_property: Any
) -> None:
    looked_at = 0
    syncs = [one for one in faults(made[version].attempts) if made[version].attempts[one.attempt].startswith("sync")]
    for fault in Random(4).sample(syncs, min(len(syncs), 3 * SCALE)):
        hurt = record(a_day(version), fault=fault)
        for point, files in islice(states(hurt, seed=5, per_point=1), 0, None, max(1, len(hurt.operations) // 6)):
            assert_stands(files, hurt.acknowledged_at(point))
            looked_at += 1
    text = f"{SETTINGS[version]}: {looked_at:,} states after a failed sync (seeds 4, 5), nothing lost"
    record_property("the log, disk faults, then power loss", text)


def test_a_new_connection_that_fails_at_its_first_question_is_busy(tmp_path: Path) -> None:
    with opened(tmp_path / FILE, POLICY) as engine, patch.object(store, "_MOST_TRYING_S", 0.1):
        engine._store._database.connection.close()
        with patch.object(store, "origin_in", side_effect=sqlite_module().OperationalError("disk I/O error")):
            for id in ("r-1", "r-2"):
                with pytest.raises(StoreBusy):
                    engine.request(ask(id))
        assert not engine.request(ask("r-1")).replayed


# --- over a connection that is cut ------------------------------------------------------------------------------------


@pytest.fixture
def way(postgres_proxy: Proxy, postgres_url: str) -> str:
    """A way to the database that can be cut."""
    return postgres_proxy.url(database_name(postgres_url))


def stored(url: str, id: str = "r-1") -> int:
    return len([entry for entry in entries(url) if entry["id"] == id])


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
@pytest.mark.parametrize("words", [b"BEGIN", b"FOR UPDATE", b"clock_timestamp", b"INSERT INTO recovery_log", b"COMMIT"])
def test_a_cut_connection_costs_the_caller_a_moment(
    postgres_proxy: Proxy, way: str, postgres_url: str, words: bytes, cut: str
) -> None:
    with opened(way, POLICY) as engine:
        engine.request(ask("r-0", customer="K-1", note="cold"))
        getattr(postgres_proxy, cut)(words)
        decision = engine.request(ask("r-1", customer="K-1", note="cold"))
        assert (decision.outcome, postgres_proxy.losses) == ("approve", 1)
        assert decision.log_receipt == engine.request(ask("r-1", customer="K-1", note="cold")).log_receipt
    assert stored(postgres_url) == 1
    assert_whole(postgres_url)


def test_nobody_but_the_engine_speaks_of_a_lost_connection(
    postgres_proxy: Proxy, way: str, postgres_url: str, tmp_path: Path
) -> None:
    """What the driver notes by itself would end up on the stderr of a program that does no logging."""
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    asking = [sys.executable, "-m", "recovery_cli", "request", "--database", way, "--policies", tmp_path]
    asking += "--role clerk --employee emp-1 --site S1 --case C-1 --remedy refund --amount 10 --id".split()
    said = []
    for id in ("r-1", "r-2"):
        postgres_proxy.cut_before(b"INSERT INTO recovery_log", times=len(said))
        said.append(subprocess.run([*asking, id], capture_output=True, text=True, timeout=60, check=False))
    assert postgres_proxy.losses == 1
    assert [one.returncode for one in said] == [0, 0]
    assert said[1].stderr == ""
    assert stored(postgres_url, "r-2") == 1


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
def test_every_command_survives_the_loss_of_its_commit(
    postgres_proxy: Proxy, way: str, postgres_url: str, cut: str
) -> None:
    with opened(way, POLICY) as engine:
        for command in (
            lambda: engine.request(ask("r-1", customer="K-1", note="cold")),
            lambda: engine.request(ask("r-2")),
            lambda: engine.fulfil("r-1", "rf-1"),
            lambda: engine.void("r-2", "mistake", by="emp-1"),
            lambda: engine.forget("K-1", "asked for it"),
        ):
            getattr(postgres_proxy, cut)(b"COMMIT")
            assert command().log_receipt
        assert postgres_proxy.losses == 5
    assert len(entries(postgres_url)) == 2 + 1 + 4 + 1
    assert_whole(postgres_url)


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
def test_no_answer_of_an_approver_is_doubled_by_the_loss_of_its_commit(
    postgres_proxy: Proxy, way: str, postgres_url: str, cut: str
) -> None:
    """None of them is given an id: one that is run again must find its own entry by itself."""
    policy = f"{POLICY}escalation: {{answer_within: {{lead: 5 minutes}}}}\n"
    clock = Clock()
    with opened(way, policy, clock=clock) as engine:
        for id in ("r-1", "r-2", "r-3", "r-4"):
            engine.request(ask(id, 200))
        lent = {"by": "mgr-1", "to": "lead-2", "role": "manager", "until_us": clock.now_us + HOUR}
        commands: list[tuple[Any, str]] = [
            (lambda: engine.ask("r-1", "Which room?", by="lead-1", role="lead"), "asked"),
            (lambda: engine.answer("r-1", "The blue one"), "answered"),
            (lambda: engine.ask("r-1", "Which room?", by="lead-1", role="lead"), "asked"),
            (lambda: engine.answer("r-1", "The blue one"), "answered"),
            (lambda: engine.amend("r-1", dollars(150)), "amended"),
            (lambda: engine.approve("r-1", by="lead-1", role="lead", note="so be it"), "approved"),
            (lambda: engine.decline("r-2", "no", by="lead-1", role="lead"), "declined"),
            (lambda: engine.withdraw("r-3"), "withdrawn"),
            (lambda: engine.delegate("lent", **lent), "delegated"),
            (lambda: engine.revoke("lent", by="mgr-1"), "revoked"),
        ]
        for command, kind in commands:
            before = entries(postgres_url)
            getattr(postgres_proxy, cut)(b"COMMIT")
            answered = command()
            (new,) = [entry for entry in entries(postgres_url) if entry not in before]
            assert (new["kind"], new["seq"]) == (kind, answered.log_receipt.seq)
            assert answered.replayed is (cut == "cut_after")
        clock.now_us += HOUR
        getattr(postgres_proxy, cut)(b"COMMIT")
        (step,) = engine.tick().steps
        assert (step.state.to_role, step.replayed) == ("manager", cut == "cut_after")
        assert len(entries(postgres_url, "moved_up")) == 1
        assert postgres_proxy.losses == len(commands) + 1
    assert_whole(postgres_url)


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
def test_a_group_that_lost_its_commit_is_answered(postgres_proxy: Proxy, way: str, postgres_url: str, cut: str) -> None:
    with opened(way, POLICY) as engine:
        calls = [lambda n=n: engine.request(ask(f"r-{n}", customer=f"K-{n}", note="cold")) for n in range(5)]
        getattr(postgres_proxy, cut)(b"COMMIT")
        answers = together(engine, *calls, lambda: engine.request(ask("r-x", role="nobody")))
    assert names(answers) == ["approve"] * 5 + ["InvalidRequest"]
    assert [answer.replayed for answer in answers[:5]] == [cut == "cut_after"] * 5
    assert len(entries(postgres_url, "decided")) == 5
    assert_whole(postgres_url)


def test_a_commit_that_is_still_under_way_is_waited_for(postgres_proxy: Proxy, way: str, postgres_url: str) -> None:
    answers: list[Any] = []
    with opened(way, POLICY) as engine:
        postgres_proxy.hold(b"COMMIT")
        caller = Thread(target=lambda: answers.append(engine.request(ask("r-1"))))
        caller.start()
        while not postgres_proxy.losses:
            caller.join(0.01)
        caller.join(0.3)  # the engine asks again by now, and waits for the locks of its own first attempt
        assert answers == []
        postgres_proxy.release()
        caller.join(30)
    assert [(answer.outcome, answer.replayed) for answer in answers] == [("approve", True)]
    assert stored(postgres_url) == 1


def test_a_commit_lost_again_and_again_is_told_as_unknown(postgres_proxy: Proxy, way: str, postgres_url: str) -> None:
    with opened(way, POLICY) as engine:
        postgres_proxy.cut_before(b"COMMIT", times=100)
        with pytest.raises(OutcomeUnknown, match="same id"):
            engine.request(ask("r-1"))
        postgres_proxy.pass_all()
        assert engine.request(ask("r-1")).outcome == "approve"
    assert stored(postgres_url) == 1


def test_a_server_that_is_down_is_busy_until_it_is_back(postgres_proxy: Proxy, way: str, tmp_path: Path) -> None:
    with opened(way, POLICY) as engine:
        engine.request(ask("r-0"))
        engine.what_if(ask("r-1"))
        upstream, postgres_proxy._upstream = postgres_proxy._upstream, tmp_path / "nowhere"
        postgres_proxy.cut_all()
        with pytest.raises(StoreBusy):
            engine.request(ask("r-1"))
        with pytest.raises(LogError):
            engine.what_if(ask("r-1"))
        with pytest.raises(LogError):
            opened(way, POLICY)
        postgres_proxy._upstream = upstream
        assert not engine.request(ask("r-1")).replayed
        assert engine.what_if(ask("r-2")).outcome == "approve"


def test_questions_outlive_a_lost_connection(postgres_proxy: Proxy, way: str) -> None:
    with opened(way, POLICY) as engine:
        engine.what_if(ask("r-1"))
        postgres_proxy.cut_all()
        assert engine.what_if(ask("r-1")).outcome == "approve"


def test_a_network_that_hangs_is_told_as_unknown_and_those_in_line_are_free(postgres_proxy: Proxy, way: str) -> None:
    with patch.object(store, "_MOST_TAKEN_S", 0.2), opened(way, POLICY, wait_s=0.2) as engine:
        engine.request(ask("r-0"))
        postgres_proxy.freeze()
        with pytest.raises(OutcomeUnknown):
            engine.request(ask("r-1"))
        with pytest.raises(StoreBusy):
            engine.request(ask("r-2"))
        postgres_proxy.pass_all()
        with patch.object(store, "_MOST_TAKEN_S", 60):
            assert engine.request(ask("r-1")).replayed
            assert not engine.request(ask("r-2")).replayed


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
@pytest.mark.parametrize("words", [b"CREATE TABLE recovery_log", b"COMMIT"])
def test_a_log_is_made_whole_or_not_at_all(
    postgres_proxy: Proxy, way: str, postgres_url: str, words: bytes, cut: str
) -> None:
    getattr(postgres_proxy, cut)(words)
    with pytest.raises(LogError):
        opened(way, POLICY)
    with opened(way, POLICY) as engine:
        engine.request(ask("r-1"))
    assert_whole(postgres_url)


@pytest.mark.parametrize("table", ["recovery_log", "recovery_state", "recovery_line", "recovery_usage"])
def test_what_a_server_leaves_out_in_silence_is_not_acknowledged(postgres_url: str, table: str) -> None:
    with opened(postgres_url, POLICY) as engine:
        with connected(postgres_url) as connection:
            connection.execute("CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
            connection.execute(f"CREATE TRIGGER skip BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION skip()")
        with pytest.raises(LogError, match="refuses"):
            engine.request(ask("a", 50))
        with connected(postgres_url) as connection:
            connection.execute(f"DROP TRIGGER skip ON {table}")
        assert engine.request(ask("a", 50)).log_receipt is not None
    assert_whole(postgres_url)


def test_a_role_that_may_not_write_is_told_so(postgres_url: str) -> None:
    reader = new_role(postgres_url, "reader")
    as_reader = postgres_url.replace("postgres@", f"{reader}@", 1)
    with pytest.raises(LogError, match="permission denied"):
        opened(as_reader, POLICY)
    with opened(postgres_url, POLICY) as engine:
        engine.request(ask("r-1"))
    with postgres_admin(postgres_url) as admin:
        admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}")
    with opened(as_reader) as engine:
        assert engine.what_if(ask("r-2")).outcome == "approve"
        with pytest.raises(LogError, match="permission denied"):
            engine.request(ask("r-2"))


def test_the_disk_of_these_tests_is_an_sqlite_of_our_time() -> None:
    assert tuple(map(int, apsw.sqlite_lib_version().split("."))) >= (3, 51, 3)
