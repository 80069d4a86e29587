"""A log is opened so that it cannot be written; where there is none to read, the message says why and what to do."""

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from databases import new_role, postgres_admin
from small_logs import small_log, writing_engine
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from recovery_engine import LogError
from recovery_engine.log.opening import reader, schema_problem, shown, sqlite_module, sqlite_path
from recovery_engine.log.tables import SCHEMA_VERSION, metadata


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a small log in it."""
    made = tmp_path / "log.db"
    small_log().write(f"sqlite:///{made}")
    return made


def recoveries_in(database: str | Path) -> int:
    engine = reader(database)
    with engine.begin() as connection:
        return int(connection.execute(text("SELECT count(*) FROM recovery_state")).scalar_one())


def complaint(database: str | Path) -> str:
    with pytest.raises(LogError) as error:
        reader(database)
    return str(error.value)


# --- where it is ---


def test_a_log_is_named_by_a_path_or_a_url(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    for name in (path, str(path), "log.db", "sqlite:///log.db", f"sqlite:///{path}", "sqlite+pysqlite:///log.db"):
        assert recoveries_in(name) == 11


@pytest.mark.parametrize(
    "name", ["a b.db", "50%20off.db", "what?mode=rw", "a#b&c=d.db", "caf\u00e9 \u2603.db", "it's.db"]
)
def test_any_name_that_a_file_can_have_will_do(path: Path, name: str) -> None:
    odd = path.rename(path.with_name(name))
    assert recoveries_in(odd) == recoveries_in(f"sqlite:///{odd}") == 11


def test_postgresql_goes_by_three_names(postgres_url: str) -> None:
    small_log().write(postgres_url)
    for scheme in ("postgresql+psycopg", "postgresql", "postgres"):
        assert recoveries_in(postgres_url.replace("postgresql+psycopg", scheme)) == 11


def test_the_file_of_a_url() -> None:
    assert sqlite_path("sqlite:///log.db") == sqlite_path("log.db") == Path("log.db")
    assert sqlite_path("sqlite:////var/log.db") == Path("/var/log.db")
    assert sqlite_path("postgres://host/log") is None


# --- it cannot write ---

WRITES = [
    "DELETE FROM recovery_usage",
    "UPDATE recovery_state SET granted_minor = 1",
    "INSERT INTO recovery_subject_lock (subject, ver) VALUES ('x', 1)",
    "DROP TABLE recovery_line",
    "CREATE TABLE note (a TEXT)",
]


@pytest.mark.parametrize("write", WRITES)
def test_a_reader_cannot_write(log_url: str, write: str) -> None:
    engine = reader(small_log().write(log_url))
    with pytest.raises(DBAPIError, match=r"readonly database|read-only transaction"), engine.begin() as connection:
        connection.execute(text(write))


def test_a_reader_cannot_allow_itself_to_write(path: Path) -> None:
    engine = reader(path)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only=OFF")
        with pytest.raises(DBAPIError, match="readonly database"):
            connection.exec_driver_sql(WRITES[0])


def test_a_connection_to_a_file_only_answers_questions(path: Path) -> None:
    with reader(path).begin() as connection:
        assert connection.exec_driver_sql("PRAGMA query_only").scalar() == 1


def test_each_transaction_on_a_server_is_read_only_by_itself(postgres_url: str) -> None:
    engine = reader(small_log().write(postgres_url))
    with engine.connect() as connection:
        connection.execute(text("SET default_transaction_read_only = off"))
        connection.commit()
        with pytest.raises(DBAPIError, match="read-only transaction"):
            connection.execute(text(WRITES[0]))


def test_a_role_that_may_only_select_reads_the_log(postgres_url: str) -> None:
    small_log().write(postgres_url)
    auditor = new_role(postgres_url, "auditor")
    as_auditor = postgres_url.replace("postgres@", f"{auditor}@")
    assert "GRANT SELECT" in complaint(as_auditor)
    with postgres_admin(postgres_url) as admin:
        admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {auditor}")
    assert recoveries_in(as_auditor) == 11


def test_a_transaction_sees_one_state(log_url: str) -> None:
    engine = reader(small_log().write(log_url))
    grants = text("SELECT count(*) FROM recovery_usage")
    with engine.begin() as connection:
        before = connection.execute(grants).scalar_one()
        with writing_engine(log_url).begin() as writing:
            writing.execute(text("DELETE FROM recovery_usage"))
        assert connection.execute(grants).scalar_one() == before > 0
    with engine.begin() as connection:
        assert connection.execute(grants).scalar_one() == 0


# --- where there is no log ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "log.db: there is no such file"),
        (lambda path: (path.unlink(), path.mkdir()), "log.db: a folder, not a file"),
        (lambda path: path.write_bytes(b""), "log.db: an empty file; no recovery log here"),
        (lambda path: path.write_bytes(b"dear diary, " * 500), "log.db: not an SQLite database"),
        (lambda path: os.truncate(path, 7), "log.db: cut short: 7 bytes of 100"),
        (lambda path: os.truncate(path, 50), "log.db: cut short: 50 bytes of"),
        (lambda path: os.truncate(path, path.stat().st_size - 1), "log.db: cut short"),
        (lambda path: os.truncate(path, 8192), "log.db: cut short: 8,192 bytes of"),
        (lambda path: alter(path, "DROP TABLE recovery_schema"), "log.db: no recovery log here"),
        (lambda path: alter(path, "DELETE FROM recovery_schema"), "a recovery log that was never finished being made"),
        (lambda path: alter(path, "DROP TABLE recovery_line"), "the log lacks `recovery_line`"),
        (lambda path: alter(path, "UPDATE recovery_schema SET version = 99"), "install a newer recovery-engine"),
        (lambda path: alter(path, "UPDATE recovery_schema SET version = 0"), "run `recovery db upgrade --database"),
        (lambda path: path.write_bytes(path.read_bytes()[:100] + b"\xff" * (path.stat().st_size - 100)), "malformed"),
    ],
)
def test_what_is_no_log_is_refused(path: Path, change: Callable[[Path], object], message: str) -> None:
    change(path)
    assert message in complaint(path)
    assert "log.db" in complaint(path)


def alter(path: Path, sql: str) -> None:
    """Change it behind the log's back, in a file without a `-wal`."""
    with closing(sqlite_module().connect(str(path))) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute(sql)
        connection.commit()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://ann:secret@host/db", "`mysql` is not a database that holds a recovery log"),
        ("sqlite://", "a log in memory is seen only by the program that keeps it"),
        ("sqlite:///:memory:", "a log in memory is seen only by the program that keeps it"),
        ("postgresql://ann:secret@localhost:1/db", "is the server running"),
        ("postgresql://ann:secret@localhost:port/db", "not the URL of a database"),
    ],
)
def test_what_is_no_place_for_a_log_is_refused(url: str, message: str) -> None:
    assert message in complaint(url)
    assert "secret" not in complaint(url)


def test_a_password_is_never_shown() -> None:
    assert shown("postgresql://ann:secret@host/db") == "postgresql://ann:***@host/db"


def test_a_postgresql_database_without_a_log(postgres_url: str) -> None:
    assert "no recovery log here" in complaint(postgres_url)


def test_another_schema_version_says_what_to_do() -> None:
    assert schema_problem(SCHEMA_VERSION, "a b.db") is None
    newer, older = (schema_problem(SCHEMA_VERSION + step, "a b.db") for step in (1, -1))
    assert newer is not None
    assert older is not None
    assert newer[1] == "install a newer recovery-engine"
    assert older[1] == "run `recovery db upgrade --database 'a b.db'`"


# --- on media that cannot be written ---


def as_nobody(folder: Path, ask: Callable[[Callable[[], None]], str], meanwhile: Callable[[], object] = int) -> str:
    """The answer of somebody who may read the folder and not write to it; *ask* can let *meanwhile* happen."""
    for below in (*folder.iterdir(), folder):
        below.chmod(0o555 if below.is_dir() else 0o444)
    for above in folder.parents:
        if above.stat().st_uid == os.getuid() and not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o011)
    from_child, to_parent = os.pipe()
    from_parent, to_child = os.pipe()

    def let_it_happen() -> None:
        os.write(to_parent, b"\n")
        os.read(from_parent, 1)

    child = os.fork()
    if not child:
        try:
            if os.getuid() == 0:
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            answer = ask(let_it_happen)
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(to_parent, answer.encode())
        os._exit(0)
    os.close(to_parent)
    with os.fdopen(from_child) as told:
        answer = told.readline()
        if answer == "\n":
            meanwhile()
            os.write(to_child, b"\n")
        answer += told.read()
    os.waitpid(child, 0)
    os.close(from_parent)
    os.close(to_child)
    folder.chmod(0o755)
    return answer.strip()


def count_or_complaint(database: Path) -> str:
    try:
        return str(recoveries_in(database))
    except LogError as error:
        return str(error)


@pytest.fixture
def in_wal_mode(path: Path) -> Path:
    """A log in WAL mode that was closed properly, alone in its folder."""
    assert path.read_bytes()[18:20] == b"\x02\x02"
    folder = path.parent / "media"
    folder.mkdir()
    return Path(shutil.copy(path, folder))


def test_a_log_on_read_only_media_is_read(in_wal_mode: Path) -> None:
    assert as_nobody(in_wal_mode.parent, lambda _: count_or_complaint(in_wal_mode)) == "11"


def test_an_empty_wal_beside_it_hides_nothing(in_wal_mode: Path) -> None:
    in_wal_mode.with_name("log.db-wal").touch()
    assert as_nobody(in_wal_mode.parent, lambda _: count_or_complaint(in_wal_mode)) == "11"


def with_newest_in_wal(path: Path) -> None:
    """One more recovery, which stands in the `-wal` only."""
    with closing(sqlite_module().connect(str(path))) as writing:
        columns = ", ".join(column.name for column in metadata.tables["recovery_state"].columns)
        renamed = columns.replace("recovery,", "'r-99',", 1)
        sql = f"INSERT INTO recovery_state ({columns}) SELECT {renamed} FROM recovery_state LIMIT 1"
        writing.execute(sql)
        writing.commit()
        copied = {ending: path.with_name(path.name + ending).read_bytes() for ending in ("", "-wal")}
    for ending, content in copied.items():
        path.with_name(path.name + ending).write_bytes(content)


def test_the_newest_entries_in_a_wal_are_read(in_wal_mode: Path) -> None:
    with_newest_in_wal(in_wal_mode)
    assert in_wal_mode.with_name("log.db-wal").stat().st_size > 0
    assert recoveries_in(in_wal_mode) == 12


def test_a_wal_that_cannot_be_read_is_never_passed_over(in_wal_mode: Path) -> None:
    with_newest_in_wal(in_wal_mode)
    answer = as_nobody(in_wal_mode.parent, lambda _: count_or_complaint(in_wal_mode))
    assert "its newest entries are in `log.db-wal`, which cannot be read here" in answer
    assert "read a copy of it, with its `-wal`" in answer


def test_a_log_read_without_locks_must_stand_still(in_wal_mode: Path) -> None:
    def read(let_it_happen: Callable[[], None]) -> str:
        engine = reader(in_wal_mode)
        with engine.begin() as connection:
            connection.execute(text("SELECT count(*) FROM recovery_state")).scalar_one()
            let_it_happen()
        return "it was not noticed"

    answer = as_nobody(in_wal_mode.parent, read, meanwhile=lambda: os.utime(in_wal_mode, ns=(1, 1)))
    assert "written to while it was read" in answer


def test_a_write_that_was_cut_off_is_named(path: Path) -> None:
    alter(path, "DELETE FROM recovery_usage")
    folder = path.parent / "media"
    folder.mkdir()
    with closing(sqlite_module().connect(str(path), isolation_level=None)) as writing:
        writing.execute("PRAGMA cache_size=1")
        writing.execute("BEGIN IMMEDIATE")
        writing.execute("UPDATE recovery_state SET status = 'lapsed'")
        writing.execute("CREATE TABLE filler AS SELECT randomblob(100000) FROM recovery_state")
        for ending in ("", "-journal"):
            shutil.copy(f"{path}{ending}", f"{folder / path.name}{ending}")
    answer = as_nobody(folder, lambda _: count_or_complaint(folder / path.name))
    assert "a write to it was cut off" in answer
