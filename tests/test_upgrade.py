"""A log that an older engine wrote is brought up to date, whole or not at all, and nothing of it is lost.

The logs are those of the folder `corpus`, each written by an engine of its time.
"""

import json
import os
import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import psycopg
import pysqlite3.dbapi2 as pysqlite
import pytest
from click.testing import CliRunner, Result
from databases import new_role, postgres_admin
from engines import assert_whole, connected, rows
from old_logs import CORPUS, KEPT, LOGS, engine_on, everything, load, schema, text_of
from test_log_opening import as_nobody

from recovery_cli.main import cli
from recovery_engine import (
    LogError,
    Money,
    RecoveryEngine,
    RecoveryLog,
    RecoveryRequest,
    StoreBusy,
    TamperedLog,
    rebuild,
    story_lines,
    upgrade,
    verify,
)
from recovery_engine.log.opening import sqlite_module, sqlite_path
from recovery_engine.log.tables import PROJECTIONS, SCHEMA_VERSION, metadata
from recovery_engine.log.verification import upgrade as upgrading
from recovery_engine.log.writing import sqlite
from tests.faulty_disk import Disk, faults

pytestmark = pytest.mark.slow

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))
several = get_context("fork")


@pytest.fixture
def old(log_url: str) -> str:
    """A log with tables of version 1, in each database in turn."""
    return load(log_url)


# --- every log that an engine ever wrote ---


@pytest.mark.parametrize("name", LOGS)
def test_every_log_of_the_corpus_is_brought_up_to_date_proved_read_and_written_on(
    log_url: str, name: str, tmp_path: Path
) -> None:
    load(log_url, name)
    before = {table: rows(log_url, f"SELECT * FROM {table} ORDER BY 1, 2") for table in KEPT}
    ((version, made_by),) = schema(log_url)
    (count,) = rows(log_url, "SELECT count(*) FROM recovery_log")[0]
    assert upgrade(log_url) == (version, SCHEMA_VERSION, count)
    assert {table: rows(log_url, f"SELECT * FROM {table} ORDER BY 1, 2") for table in KEPT} == before
    assert schema(log_url) == [(SCHEMA_VERSION, made_by)]
    report = verify(log_url, keys=[(CORPUS / f"{name}.vkey").read_text().strip()])
    assert report.findings == ()
    assert report.replayed > 15
    assert_whole(log_url)
    with RecoveryLog.open(log_url) as log:
        assert "handed it over, reference rf-1" in "\n".join(story_lines(log.story("r-01")))
    exported = recovery("log", "export", "--database", log_url, "--entries", "--jsonl", str(tmp_path / "entries.jsonl"))
    assert exported.exit_code == 0, exported.output
    assert len((tmp_path / "entries.jsonl").read_bytes().splitlines()) == count
    write_on(log_url)
    assert rebuild(log_url).clean
    assert verify(log_url).findings == ()


def write_on(url: str) -> None:
    """All that an older log may be asked to go on with."""
    with engine_on(url) as engine:
        engine.accept_clock(by="owner-1")
        engine.void("r-20", "given twice", by="lead-1")
        assert engine.tick().steps  # what nobody answered for years
        assert {engine.recovery(id).status for id in ("r-04", "r-06", "r-07", "r-14")} <= {"lapsed", "pending"}
        request = RecoveryRequest(
            id="new-1", employee="emp-1", role="associate", site="S001", case="C-new", remedy="refund",
            category="delay", amount=Money.of("40", "USD"), customer="K-1",
        )  # fmt: skip
        assert engine.request(request).outcome == "escalate"
        engine.approve("new-1", by="lead-1", role="lead")
        engine.fulfil("new-1", "rf-new")
        assert engine.recovery("new-1").status == "fulfilled"


def test_the_corpus_has_a_log_of_every_version_before_this_one(tmp_path: Path) -> None:
    versions = [schema(load(f"sqlite:///{tmp_path / name}.db", name))[0][0] for name in LOGS]
    assert versions == list(range(1, SCHEMA_VERSION))


# --- what becomes of the tables ---


def test_the_columns_there_were_hold_what_they_held(old: str) -> None:
    before = {table: columns_and_rows(old, table) for table in PROJECTIONS if table != "recovery_delegation"}
    upgrade(old)
    for table, (columns, held) in before.items():
        if table in ("recovery_stream", "recovery_subject_lock"):
            held = [row for row in held if row[1]]  # the others only served to be locked
        lost = set(held) - set(rows(old, f"SELECT {columns} FROM {table}"))
        # Where two must agree and the first is who asked, version 1 did not say so yet.
        assert {row[0] for row in lost} == ({"r-06", "r-07"} if table == "recovery_state" else set())
        assert len(held) == rows(old, f"SELECT count(*) FROM {table}")[0][0]


def columns_and_rows(url: str, table: str) -> tuple[str, list[tuple[Any, ...]]]:
    with connected(url) as connection:
        found = connection.execute(f"SELECT * FROM {table}")
        return ", ".join(column[0] for column in found.description), [tuple(row) for row in found.fetchall()]


def test_the_tables_are_those_of_a_new_log(old: str, tmp_path: Path) -> None:
    upgrade(old)
    if sqlite_path(old):
        new = f"sqlite:///{tmp_path / 'new.db'}"
        RecoveryEngine.open(new, environment={}).close()
        assert set(everything(old)[""]) == set(everything(new)[""])
    audit, _ = columns_and_rows(old, "recovery_audit")
    assert "times_moved_up" in audit
    assert {name for name in everything(old) if name} >= set(metadata.tables)


def test_again_it_does_nothing(old: str) -> None:
    upgrade(old)
    before = everything(old)
    assert upgrade(old) == (SCHEMA_VERSION, SCHEMA_VERSION, 0)
    assert everything(old) == before


def test_progress_is_told_to_the_end(old: str) -> None:
    told: list[tuple[int, int]] = []
    entries = upgrade(old, lambda done, total: told.append((done, total))).entries
    assert told[-1] == (entries, entries)


# --- what is refused ---


def spoil(url: str, sql: str) -> None:
    """Change it behind the back of the guard-rails."""
    with connected(url) as connection:
        if sqlite_path(url):
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f"DROP TRIGGER {name}")
        else:
            connection.execute("ALTER TABLE recovery_log DISABLE TRIGGER ALL")
        connection.execute(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE recovery_log SET at_us = at_us + 1 WHERE request_id = 'r-05'",
        "DELETE FROM recovery_log WHERE request_id = 'r-20'",  # the newest of its stream
        "UPDATE recovery_policy SET yaml = yaml || ' '",
    ],
)
def test_a_log_that_was_tampered_with_is_left_as_it_is(old: str, sql: str) -> None:
    if "policy" in sql and not sqlite_path(old):
        with connected(old) as connection:
            connection.execute("ALTER TABLE recovery_policy DISABLE TRIGGER ALL")
    spoil(old, sql)
    before = everything(old)
    with pytest.raises(TamperedLog):
        upgrade(old)
    assert everything(old) == before


def test_a_newer_version_is_refused(old: str) -> None:
    spoil(old, f"UPDATE recovery_schema SET version = {SCHEMA_VERSION + 1}")
    before = everything(old)
    with pytest.raises(LogError, match="install a newer recovery-engine"):
        upgrade(old)
    assert everything(old) == before


def test_where_there_is_no_log_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="no such file"):
        upgrade(tmp_path / "gone.db")
    assert list(tmp_path.iterdir()) == []


def test_who_may_only_read_a_file_is_told_so(tmp_path: Path) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    load(f"sqlite:///{folder / 'log.db'}")

    def ask(_: Callable[[], None]) -> str:
        try:
            return str(upgrade(folder / "log.db"))
        except LogError as error:
            return str(error)

    assert "you may only read it" in as_nobody(folder, ask)


def test_a_role_that_may_only_read_is_told_who_has_to_run_it(postgres_url: str) -> None:
    load(postgres_url)
    auditor = new_role(postgres_url, "auditor")
    with postgres_admin(postgres_url) as admin:
        admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {auditor}")
    before = everything(postgres_url)
    with pytest.raises(LogError, match=r"these tables, which belong to `postgres`.*run it as `postgres`"):
        upgrade(postgres_url.replace("postgres@", f"{auditor}@"))
    assert everything(postgres_url) == before


# --- nobody else gets in ---


def test_whoever_holds_on_to_the_tables_is_waited_for_and_then_nothing_is_done(
    old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrading, "_LOCK_MS", 100)
    monkeypatch.setattr(sqlite, "_BUSY_S", 0.1)
    with connected(old) as holding:
        holding.execute("BEGIN IMMEDIATE" if sqlite_path(old) else "SELECT * FROM recovery_state")
        before = None if sqlite_path(old) else schema(old)
        with pytest.raises(StoreBusy):
            upgrade(old)
        assert before is None or schema(old) == before
    assert upgrade(old).before == 1


def test_meanwhile_nobody_writes(old: str) -> None:
    refused: list[str] = []

    def write(done: int, total: int) -> None:
        try:
            with connected(old) as connection:
                connection.execute("PRAGMA busy_timeout = 50" if sqlite_path(old) else "SET lock_timeout = 50")
                connection.execute("INSERT INTO recovery_subject_lock VALUES ('site:S1', 0)")
        except (psycopg.Error, sqlite_module().Error) as error:
            refused.append(str(error))

    upgrade(old, write)
    assert refused
    assert all("lock" in one for one in refused)


def test_an_engine_of_before_cannot_write_any_more(old: str) -> None:
    columns, (row, *_) = columns_and_rows(old, "recovery_state")
    upgrade(old)
    values = ", ".join("NULL" if value is None else repr(value) for value in ("r-99", *row[1:]))
    with pytest.raises((psycopg.Error, sqlite_module().Error), match="questions"), connected(old) as connection:
        connection.execute(f"INSERT INTO recovery_state ({columns}) VALUES ({values})")


# --- whole or not at all ---

MOMENTS = ("examine", "_make_anew", "insert", "view_statements", "COMMIT")


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_it_leaves_the_old_version_whole(old: str, moment: str) -> None:
    before = everything(old)
    process = several.Process(target=killed_at, args=(old, moment))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert everything(old) == before
    assert upgrade(old).before == 1
    assert_whole(old)


def killed_at(url: str, moment: str) -> None:
    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    name = "_upgraded" if moment == "COMMIT" else moment
    original = getattr(upgrading, name)

    def runs_and_dies(*args: Any) -> None:
        done = original(*args)
        if not hasattr(done, "send"):
            die()
        list(done)
        die()

    with patch.object(upgrading, name, runs_and_dies):
        upgrade(url)


def test_a_disk_that_fails_or_is_full_leaves_the_old_version_whole_or_the_new(
    tmp_path: Path, record_property: Any
) -> None:
    text = text_of("v1-sqlite.sql.gz")

    def run(number: int, fault: Any) -> tuple[Path, list[str]]:
        folder = tmp_path / str(number)
        folder.mkdir()
        with closing(sqlite_module().connect(str(folder / "log.db"))) as loaded:
            loaded.executescript(text)
        disk = Disk(folder, fault)
        with on(disk), suppress(LogError):
            upgrade(folder / "log.db")
        disk.close()
        return folder / "log.db", disk.attempts

    whole, attempts = run(0, None)
    assert schema(str(whole))[0][0] == SCHEMA_VERSION
    chosen = list(faults(attempts))[:: max(1, len(list(faults(attempts))) // (60 * SCALE))]
    new, seen = everything(str(whole)), set()
    old = everything(load(f"sqlite:///{tmp_path / 'old.db'}"))
    for number, fault in enumerate(chosen, 1):
        path, _ = run(number, fault)
        found = everything(str(path))
        assert found in (old, new), fault
        seen.add(found == new)
    assert seen == {False, True}
    record_property("faults of a disk during an upgrade", f"{len(chosen)}")


@contextmanager
def on(disk: Disk) -> Iterator[None]:
    """What writes uses *disk*."""

    def connect(path: str, isolation_level: None, check_same_thread: bool, timeout: float) -> Any:
        connection = disk.connect(path, timeout)
        connection.text_factory = str
        return connection

    names = ("Error", "OperationalError", "IntegrityError", "DatabaseError")
    module = SimpleNamespace(
        connect=connect, sqlite_version_info=(3, 53, 0), **{one: getattr(pysqlite, one) for one in names}
    )
    with patch.object(sqlite, "sqlite_module", lambda: module), patch.object(sqlite, "_BUSY_S", 0.05):
        yield


@pytest.mark.parametrize("table", PROJECTIONS)
def test_a_server_without_room_leaves_the_old_version_whole(postgres_url: str, table: str) -> None:
    load(postgres_url)
    before, original = everything(postgres_url), upgrading.table_statements

    def statements(name: str, dialect: str) -> Iterator[str]:
        yield from original(name, dialect)
        if name == table:
            yield "DO $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$"

    with patch.object(upgrading, "table_statements", statements), pytest.raises(LogError, match=r"no space.*make room"):
        upgrade(postgres_url)
    assert everything(postgres_url) == before


# --- the command ---


def recovery(*args: str) -> Result:
    return CliRunner().invoke(cli, [*args], env={"COLUMNS": "200"})


def test_whoever_meets_an_older_version_is_told_what_to_run_and_it_works(old: str) -> None:
    name = str(sqlite_path(old) or old)
    for verb in (["db", "status"], ["log", "list"], ["log", "verify"], ["log", "rebuild"], ["fulfil", "r-01"]):
        said = recovery(*verb, "--database", name)
        assert said.exit_code == 2
        assert "of version 1, an older one" in said.stderr
        assert "run `recovery db upgrade --database" in said.stderr
    with pytest.raises(LogError, match="run `recovery db upgrade --database"):
        RecoveryEngine.open(old, environment={})
    told = recovery("db", "status", "--database", name).stderr
    said = recovery(*shlex.split(told.split("run `recovery ")[1].split("`")[0]))
    assert said.exit_code == 0, said.output
    assert said.stdout.startswith(f"upgraded from version 1 to {SCHEMA_VERSION}, with ")
    assert recovery("db", "status", "--database", name).exit_code == 0
    assert recovery("db", "upgrade", "--database", name).stdout == (
        f"the tables are of version {SCHEMA_VERSION} already: nothing to do\n"
    )
    again = json.loads(recovery("db", "upgrade", "--database", name, "--json").stdout)
    assert again == {"before": SCHEMA_VERSION, "after": SCHEMA_VERSION, "entries": 0}


def test_the_command_says_who_changed_an_entry_with_its_own_code(old: str) -> None:
    spoil(old, "UPDATE recovery_log SET at_us = at_us + 1 WHERE request_id = 'r-05'")
    said = recovery("db", "upgrade", "--database", old)
    assert said.exit_code == 1
    assert "site:S001" in said.stderr
