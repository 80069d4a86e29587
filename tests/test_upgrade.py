"""A log that an older engine wrote is upgraded whole or not at all, and goes on; its entries stay byte for byte."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from databases import conninfo, new_role, postgres_admin
from engines import Clock, ask, assert_whole, opened, rows

from recovery_engine import LogError, RecoveryLog, TamperedLog, upgrade, verify
from recovery_engine.log.opening import sqlite_module
from recovery_engine.log.tables import SCHEMA_VERSION
from recovery_engine.log.verification import upgrade as upgrading

CORPUS = Path(__file__).resolve().parent / "corpus"
KEPT = ("recovery_log", "recovery_policy", "recovery_checkpoint", "recovery_subject", "recovery_personal")
LATER = 1_795_284_306_000_000 + 600 * 86_400_000_000


def old_sqlite(file: Path) -> str:
    with closing(sqlite_module().connect(str(file))) as connection:
        connection.executescript((CORPUS / "v1-sqlite.sql").read_text(encoding="utf-8"))
    return f"sqlite:///{file}"


def old_postgresql(url: str, file: Path) -> str:
    """The same rows in the tables that the old engine made in PostgreSQL."""
    old_sqlite(file)
    with psycopg.connect(conninfo(url)) as there, closing(sqlite_module().connect(str(file))) as here:
        there.execute((CORPUS / "v1-postgresql.sql").read_text(encoding="utf-8"))
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'recovery%' ORDER BY name"
        for (table,) in here.execute(tables).fetchall():
            order = " ORDER BY stream, seq" if table == "recovery_log" else ""
            for row in here.execute(f"SELECT * FROM {table}{order}").fetchall():
                there.execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", row)
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a log with tables of version 1."""
    if request.param == "sqlite":
        yield old_sqlite(tmp_path / "old.db")
    else:
        yield old_postgresql(request.getfixturevalue("postgres_url"), tmp_path / "rows.db")


def kept(url: str) -> dict[str, list[tuple[Any, ...]]]:
    return {table: sorted(rows(url, f"SELECT * FROM {table}"), key=repr) for table in KEPT}


def test_an_old_log_is_refused_with_the_command_that_cures_it(old: str) -> None:
    for use in (lambda: RecoveryLog.open(old), lambda: opened(old), lambda: verify(old)):
        with pytest.raises(LogError, match=r"of version 1, an older one .*recovery db upgrade"):
            use()


def test_it_is_upgraded_proves_and_goes_on(old: str) -> None:
    before = kept(old)
    assert upgrade(old) == (1, SCHEMA_VERSION)
    assert kept(old) == before
    assert verify(old).clean
    with RecoveryLog.open(old) as log:
        assert [step.kind for step in log.story("r-1").recoveries[0].steps] == ["decided", "fulfilled"]
        assert log.count() == 9
    with opened(old, clock=Clock(LATER), seed=1) as engine:
        assert engine.request(ask("r-10", 300, case="C-10")).to == "manager"
        assert engine.approve("r-10", by="m-1", role="manager").state.status == "granted"
        # What waited in the old log gets its answer in the new one.
        assert engine.decline("r-2", "too long ago", by="l-1", role="lead").state.status == "declined"
    assert_whole(old)


def test_upgrading_again_changes_nothing(old: str) -> None:
    upgrade(old)
    before = kept(old), rows(old, "SELECT * FROM recovery_state ORDER BY recovery")
    assert upgrade(old) == (SCHEMA_VERSION, SCHEMA_VERSION)
    assert (kept(old), rows(old, "SELECT * FROM recovery_state ORDER BY recovery")) == before


def test_cut_off_in_the_middle_the_old_version_is_whole(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kept(old), rows(old, "SELECT * FROM recovery_state ORDER BY recovery")

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(upgrading, "fill", full)
    with pytest.raises((OSError, LogError)):
        upgrade(old)
    assert (kept(old), rows(old, "SELECT * FROM recovery_state ORDER BY recovery")) == before
    assert rows(old, "SELECT version FROM recovery_schema") == [(1,)]
    monkeypatch.undo()
    assert upgrade(old) == (1, SCHEMA_VERSION)
    assert verify(old).clean


def test_tampered_entries_are_not_built_upon(tmp_path: Path) -> None:
    url = old_sqlite(tmp_path / "old.db")
    with closing(sqlite_module().connect(str(tmp_path / "old.db"))) as connection, connection:
        connection.execute("DROP TRIGGER recovery_log_no_update")
        connection.execute("UPDATE recovery_log SET leaf = zeroblob(32) WHERE request_id = 'r-3'")
    with pytest.raises(TamperedLog, match="site:S1 3:"):
        upgrade(url)
    assert rows(url, "SELECT version FROM recovery_schema") == [(1,)]


def test_a_newer_log_is_left_alone(tmp_path: Path) -> None:
    url = old_sqlite(tmp_path / "new.db")
    with closing(sqlite_module().connect(str(tmp_path / "new.db"))) as connection, connection:
        connection.execute("UPDATE recovery_schema SET version = 99")
    with pytest.raises(LogError, match="install a newer recovery-engine"):
        upgrade(url)


def test_an_auditor_may_read_the_new_tables_too(postgres_url: str, tmp_path: Path) -> None:
    url = old_postgresql(postgres_url, tmp_path / "rows.db")
    auditor = new_role(url, "auditor")
    with postgres_admin(url) as admin:
        admin.execute(f"GRANT SELECT ON recovery_state, recovery_audit TO {auditor}")
    upgrade(url)
    may = f"SELECT has_table_privilege('{auditor}', '{{}}', 'SELECT')"
    assert rows(url, may.format("recovery_state")) == rows(url, may.format("recovery_audit")) == [(True,)]
    assert rows(url, may.format("recovery_usage")) == [(False,)]
