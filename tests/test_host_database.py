"""The log lives in a host's own database, beside the host's tables, and neither disturbs the other."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from threading import Thread
from typing import Any
from unittest.mock import patch

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from engines import POLICY, ask, assert_whole, connected, entries, opened, rows, tables
from small_logs import writing_engine
from sqlalchemy import Engine, MetaData, inspect, text
from sqlalchemy.orm import registry
from sqlmodel import Field, Session, SQLModel, select

from recovery_engine import LogError
from recovery_engine.log.opening import sqlite_module, sqlite_path
from recovery_engine.log.tables import SCHEMA_VERSION, include_object, metadata
from recovery_engine.log.writing import sqlite

pytestmark = pytest.mark.slow


class Hosts(SQLModel, registry=registry(metadata=MetaData())):
    """The host's tables; in a registry of their own so that these tests leave nothing in the global one."""


class Ticket(Hosts, table=True):
    __tablename__ = "ticket"
    id: int | None = Field(default=None, primary_key=True)
    title: str = Field(index=True)


@pytest.fixture
def host(log_url: str) -> Iterator[Engine]:
    """The host's own engine, with a row in its table."""
    engine = writing_engine(log_url)
    Hosts.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Ticket(title="cold soup"))
        session.commit()
    yield engine
    engine.dispose()


def titles(host: Engine) -> list[str]:
    with Session(host) as session:
        return [ticket.title for ticket in session.exec(select(Ticket).order_by(Ticket.id)).all()]


def test_the_log_is_made_in_a_database_that_has_tables_already(host: Engine, log_url: str) -> None:
    with opened(log_url, POLICY) as engine:
        engine.request(ask("r-1"))
        with Session(host) as session:
            session.add(Ticket(title="late"))
            session.commit()
        engine.request(ask("r-2"))
    assert titles(host) == ["cold soup", "late"]
    assert_whole(log_url)


def test_nothing_of_ours_is_in_the_metadata_that_all_share() -> None:
    assert [name for name in SQLModel.metadata.tables if name.startswith("recovery_")] == []
    assert all(name.startswith("recovery_") for name in metadata.tables)
    assert "Ticket" not in {mapper.class_.__name__ for mapper in registry_of_the_log().mappers}


def registry_of_the_log() -> Any:
    return import_module("recovery_engine.log.tables").Table._sa_registry


def test_a_host_that_makes_all_its_tables_makes_none_of_ours(log_url: str) -> None:
    engine = writing_engine(log_url)
    SQLModel.metadata.create_all(engine)
    Hosts.metadata.create_all(engine)
    assert [name for name in inspect(engine).get_table_names() if name.startswith("recovery_")] == []
    engine.dispose()


def test_a_host_that_drops_all_its_tables_leaves_the_log(host: Engine, log_url: str) -> None:
    with opened(log_url, POLICY) as engine:
        engine.request(ask("r-1"))
        Hosts.metadata.drop_all(host)
        SQLModel.metadata.drop_all(host)
        engine.request(ask("r-2"))
    assert_whole(log_url)


def test_a_transaction_of_the_host_is_waited_for(host: Engine, log_url: str) -> None:
    answers: list[Any] = []
    with opened(log_url, POLICY) as engine, Session(host) as session:
        session.add(Ticket(title="under way"))
        session.flush()  # an SQLite file has one writer at a time
        asking = Thread(target=lambda: answers.append(engine.request(ask("r-1"))))
        asking.start()
        asking.join(0.1)
        session.commit()
        asking.join(30)
    assert [answer.outcome for answer in answers] == ["approve"]
    assert titles(host) == ["cold soup", "under way"]


# --- Alembic ----------------------------------------------------------------------------------------------------------


def test_autogenerate_sees_no_change(host: Engine, log_url: str) -> None:
    opened(log_url, POLICY).close()
    with host.connect() as connection:
        seen = MigrationContext.configure(connection)
        assert compare_metadata(seen, Hosts.metadata) != []  # it would drop our tables
        told = MigrationContext.configure(connection, opts={"include_object": include_object})
        assert compare_metadata(told, Hosts.metadata) == []


ENVIRONMENT = """
from alembic import context
from test_host_database import Hosts
from recovery_engine.log.tables import include_object

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=Hosts.metadata, include_object=include_object, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
"""
TEMPLATE = '''"""${message}"""
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None
import sqlalchemy as sa
import sqlmodel
from alembic import op

def upgrade() -> None:
    ${upgrades if upgrades else "pass"}

def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
'''


@pytest.fixture
def alembic(tmp_path: Path) -> Config:
    """The host's migrations."""
    scripts = tmp_path / "migrations"
    (scripts / "versions").mkdir(parents=True)
    (scripts / "env.py").write_text(dedent(ENVIRONMENT))
    (scripts / "script.py.mako").write_text(TEMPLATE)
    config = Config()
    config.set_main_option("script_location", str(scripts))
    return config


def test_the_host_goes_up_and_down_its_versions_and_the_log_stays(log_url: str, alembic: Config) -> None:
    host = writing_engine(log_url)
    with opened(log_url, POLICY) as engine:
        engine.request(ask("r-1", customer="K-1", note="cold"))
    before = tables(log_url)

    def migrate(step: Any, *args: Any, **more: Any) -> None:
        with host.begin() as connection:
            alembic.attributes["connection"] = connection
            step(alembic, *args, **more)

    migrate(command.revision, "tickets", autogenerate=True)
    (script,) = Path(alembic.get_main_option("script_location") or "", "versions").glob("*.py")
    assert "create_table('ticket'" in script.read_text()
    assert "recovery_" not in script.read_text()
    migrate(command.upgrade, "head")
    assert "ticket" in inspect(host).get_table_names()
    migrate(command.downgrade, "base")
    assert "ticket" not in inspect(host).get_table_names()
    migrate(command.upgrade, "head")
    assert tables(log_url) == before
    with opened(log_url, POLICY) as engine:
        assert engine.request(ask("r-1", customer="K-1", note="cold")).replayed
        engine.request(ask("r-2"))
    assert_whole(log_url)
    host.dispose()


# --- what stands there already ----------------------------------------------------------------------------------------


def test_tables_of_a_newer_version_are_left_alone(log_url: str) -> None:
    with opened(log_url, POLICY) as engine:
        engine.request(ask("r-1"))
    before = tables(log_url)
    with connected(log_url) as connection:
        connection.execute(f"UPDATE recovery_schema SET version = {SCHEMA_VERSION + 1}")
    with pytest.raises(LogError, match=f"version {SCHEMA_VERSION + 1}, and this engine knows {SCHEMA_VERSION}"):
        opened(log_url, POLICY)
    with connected(log_url) as connection:
        connection.execute(f"UPDATE recovery_schema SET version = {SCHEMA_VERSION}")
    assert tables(log_url) == before


def test_tables_of_an_older_version_say_what_to_run(log_url: str) -> None:
    opened(log_url, POLICY).close()
    with connected(log_url) as connection:
        connection.execute(f"UPDATE recovery_schema SET version = {SCHEMA_VERSION - 1}")
    with pytest.raises(LogError, match="recovery db upgrade"):
        opened(log_url, POLICY)


def test_many_may_be_the_first_at_once(log_url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        engines = list(pool.map(lambda seed: opened(log_url, POLICY, seed=seed), range(8)))
    for number, engine in enumerate(engines):
        engine.request(ask(f"r-{number}"))
        engine.close()
    assert len({entry["log"] for entry in entries(log_url, "opened")}) == 1
    assert len(entries(log_url, "policy_loaded")) == 1
    assert_whole(log_url)


def test_a_database_of_a_host_that_has_isolation_of_its_own(postgres_url: str) -> None:
    with connected(postgres_url) as connection:
        connection.execute(
            "ALTER ROLE CURRENT_USER IN DATABASE "
            + name_of(connection)
            + " SET default_transaction_isolation = 'serializable'"
        )
    with opened(postgres_url, POLICY) as one, opened(postgres_url, POLICY) as other:
        for turn in range(3):
            one.request(ask(f"a-{turn}", customer="K-1"))
            other.request(ask(f"b-{turn}", customer="K-1"))
    assert_whole(postgres_url)


def name_of(connection: Any) -> str:
    return str(connection.execute("SELECT quote_ident(current_database())").fetchone()[0])


def test_a_log_may_live_in_a_schema_of_its_own(postgres_url: str) -> None:
    with connected(postgres_url) as connection:
        connection.execute("CREATE SCHEMA audit")
    there = f"{postgres_url}&options=-csearch_path%3Daudit"
    with opened(there, POLICY) as engine:
        engine.request(ask("r-1"))
    assert rows(postgres_url, "SELECT count(*) FROM audit.recovery_log") == [(4,)]
    assert_whole(there)


def test_a_file_of_the_host_in_another_mode_is_made_safe_or_refused(tmp_path: Path) -> None:
    log = f"sqlite:///{tmp_path / 'host.db'}"
    path = sqlite_path(log)
    with closing(sqlite_module().connect(str(path))) as host:
        host.execute("PRAGMA journal_mode=MEMORY")
        host.execute("CREATE TABLE ticket (id INTEGER)")
        host.execute("PRAGMA synchronous=OFF")
        with opened(log, POLICY) as engine:
            engine.request(ask("r-1"))
            assert engine._store._database.connection.execute("PRAGMA synchronous").fetchone()[0] >= 2
    assert_whole(log)


def test_a_host_that_reads_all_the_while_keeps_wal_from_being_set_and_is_told(tmp_path: Path) -> None:
    log = tmp_path / "host.db"
    with closing(sqlite_module().connect(str(log))) as host:
        host.execute("CREATE TABLE ticket (id INTEGER)")
        host.execute("BEGIN")
        host.execute("SELECT * FROM ticket").fetchall()
        with patch.object(sqlite, "_BUSY_S", 0.05), pytest.raises(LogError, match=r"locked|journal_mode"):
            opened(log, POLICY)
    with opened(log, POLICY) as engine:
        assert engine.request(ask("r-1")).outcome == "approve"


def test_views_show_the_host_what_is_in_the_log(host: Engine, log_url: str) -> None:
    with opened(log_url, POLICY) as engine:
        engine.request(ask("r-1", "18.50"))
    with host.connect() as connection:
        seen = connection.execute(text("SELECT * FROM recovery_audit")).mappings().all()
    assert len(seen) == 1
