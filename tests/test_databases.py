"""The databases that tests are given: empty, apart, gone at the end; and connections that are lost on purpose."""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from databases import (
    Server,
    conninfo,
    database_name,
    fresh_database,
    new_role,
    postgres_admin,
    shared_server,
    wait_until_stopped,
)
from proxy import Proxy
from sqlalchemy import create_engine, text

pytestmark = pytest.mark.slow

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"


@pytest.fixture
def by_proxy(postgres_url: str, postgres_proxy: Proxy) -> str:
    """How psycopg reaches a table `given (id)` by way of the proxy."""
    with postgres_admin(postgres_url) as admin:
        admin.execute("CREATE TABLE given (id int PRIMARY KEY)")
    return conninfo(postgres_proxy.url(database_name(postgres_url)))


def given(url: str) -> list[int]:
    with postgres_admin(url) as admin:
        return [number for (number,) in admin.execute("SELECT id FROM given ORDER BY id")]


# --- databases ---


def test_a_new_database_is_empty_and_speaks_sqlalchemy(log_url: str) -> None:
    engine = create_engine(log_url)
    with engine.connect() as connection:
        names = "SELECT name FROM sqlite_schema" if log_url.startswith("sqlite") else TABLES
        assert connection.execute(text(names)).all() == []
    engine.dispose()


@pytest.mark.parametrize("which", ["one", "another"])
def test_two_tests_do_not_see_each_other(log_url: str, which: str) -> None:
    engine = create_engine(log_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE only_mine (id int)"))
    engine.dispose()


def test_a_database_is_gone_at_the_end_even_while_somebody_is_connected(postgres_server: Server) -> None:
    with fresh_database(postgres_server) as url:
        role = new_role(url, "auditor")
        forgotten = psycopg.connect(conninfo(url), user=role)
        forgotten.execute("SELECT 1")

    with postgres_admin(postgres_server.url()) as admin:
        databases = [name for (name,) in admin.execute("SELECT datname FROM pg_database")]
        roles = [name for (name,) in admin.execute("SELECT rolname FROM pg_roles")]
    assert database_name(url) not in databases
    assert role not in roles
    with pytest.raises(psycopg.OperationalError):
        forgotten.execute("SELECT 1")


def test_an_auditor_may_read_and_not_write(postgres_url: str) -> None:
    with postgres_admin(postgres_url) as admin:
        admin.execute("CREATE TABLE given (id int)")
        auditor = new_role(postgres_url, "auditor")
        admin.execute(f"GRANT SELECT ON given TO {auditor}")

    with psycopg.connect(conninfo(postgres_url), user=auditor, autocommit=True) as connection:
        assert connection.execute("SELECT id FROM given").fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO given VALUES (1)")


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes", "synchronous_commit"])
def test_the_server_keeps_what_it_has_acknowledged(postgres_url: str, setting: str) -> None:
    with postgres_admin(postgres_url) as admin:
        assert admin.execute(f"SHOW {setting}").fetchone() == ("on",)


def test_there_are_connections_for_eight_workers_with_twenty_each(postgres_url: str) -> None:
    with postgres_admin(postgres_url) as admin:
        (most,) = admin.execute("SELECT current_setting('max_connections')::int").fetchone() or (0,)
    assert most >= 8 * 20


# --- the server ---


def test_the_server_stops_when_its_last_user_leaves(tmp_path: Path) -> None:
    with shared_server(tmp_path) as first:
        with shared_server(tmp_path) as second:
            assert second == first
        assert first.socket.exists()

    assert not first.folder.exists()


USER = """
import signal, sys
from pathlib import Path
from databases import shared_server
signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background ignores it
with shared_server(Path(sys.argv[1])) as server:
    print(server.folder, (server.folder / "cluster/postmaster.pid").read_text().split()[0], flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_server_stops_however_its_user_ends(tmp_path: Path, how: signal.Signals) -> None:
    user = subprocess.Popen(
        [sys.executable, "-c", USER, str(tmp_path)],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert user.stdout is not None
    folder, postmaster = user.stdout.readline().split()

    os.killpg(user.pid, how)  # everybody whom Ctrl-C, or a job that is called off, would reach
    user.communicate()
    wait_until_stopped(Path(folder))

    assert not Path(folder).exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(postmaster), 0)


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    too_far_down = tmp_path / ("deep" * 30)
    too_far_down.mkdir()

    why = r"socket path .* is too long|Permission denied"
    with pytest.raises(RuntimeError, match=why), shared_server(tmp_path, too_far_down):
        pass
    assert list(too_far_down.iterdir()) == []


# --- connections that are lost ---


def commits(connection: psycopg.Connection, number: int) -> None:
    connection.execute("INSERT INTO given VALUES (%s)", [number])
    connection.commit()


def commits_in_a_pipeline(connection: psycopg.Connection, number: int) -> None:
    connection.autocommit = True
    with connection.pipeline():
        connection.execute("BEGIN")
        connection.execute("INSERT INTO given VALUES (%s)", [number])
        connection.execute("COMMIT")


def commits_and_reads_on(connection: psycopg.Connection, number: int) -> None:
    connection.autocommit = True
    with connection.pipeline():
        connection.execute("BEGIN")
        connection.execute("INSERT INTO given VALUES (%s)", [number])
        connection.execute("COMMIT")
        connection.execute("SELECT 1").fetchone()  # flushes, where a pipeline's end would sync


def commits_by_a_prepared_statement(connection: psycopg.Connection, number: int) -> None:
    connection.autocommit = True
    connection.execute("BEGIN")
    connection.execute("INSERT INTO given VALUES (%s)", [number])
    connection.execute("COMMIT", prepare=True)


def commits_in_one_query(connection: psycopg.Connection, number: int) -> None:
    connection.autocommit = True
    connection.execute(f"BEGIN; INSERT INTO given VALUES ({number}); COMMIT".encode())


WAYS = [
    commits,
    commits_in_a_pipeline,
    commits_and_reads_on,
    commits_by_a_prepared_statement,
    commits_in_one_query,
]
Way = Callable[[psycopg.Connection, int], None]


@contextlib.contextmanager
def lost(conninfo: str) -> Iterator[psycopg.Connection]:
    """A connection that is found to be lost."""
    connection = psycopg.connect(conninfo)
    with pytest.raises(psycopg.OperationalError):
        yield connection
    assert connection.broken


@pytest.mark.parametrize("commit", WAYS)
def test_cut_before_the_commit_the_row_is_absent(
    postgres_url: str, postgres_proxy: Proxy, by_proxy: str, commit: Way
) -> None:
    postgres_proxy.cut_before(b"COMMIT")

    with lost(by_proxy) as connection:
        commit(connection, 1)

    assert given(postgres_url) == []
    assert postgres_proxy.losses == 1


@pytest.mark.parametrize("commit", WAYS)
def test_cut_after_the_commit_the_row_is_present(
    postgres_url: str, postgres_proxy: Proxy, by_proxy: str, commit: Way
) -> None:
    postgres_proxy.cut_after(b"COMMIT")

    with lost(by_proxy) as connection:
        commit(connection, 1)

    assert given(postgres_url) == [1]
    assert postgres_proxy.losses == 1


@pytest.mark.parametrize("commit", WAYS)
def test_a_commit_that_is_held_happens_when_it_is_released(
    postgres_url: str, postgres_proxy: Proxy, by_proxy: str, commit: Way
) -> None:
    postgres_proxy.hold(b"COMMIT")

    with lost(by_proxy) as connection:
        commit(connection, 1)
    before = given(postgres_url)
    postgres_proxy.release()

    assert (before, given(postgres_url)) == ([], [1])


def test_while_a_commit_is_held_its_locks_are_too(postgres_proxy: Proxy, by_proxy: str) -> None:
    postgres_proxy.hold(b"COMMIT")
    with lost(by_proxy) as connection:
        commits(connection, 1)

    with psycopg.connect(by_proxy, options="-c lock_timeout=20", autocommit=True) as again:
        with pytest.raises(psycopg.errors.LockNotAvailable):
            again.execute("INSERT INTO given VALUES (1)")
        postgres_proxy.release()
        with pytest.raises(psycopg.errors.UniqueViolation):
            again.execute("INSERT INTO given VALUES (1)")


@pytest.mark.parametrize("commit", WAYS)
def test_everything_passes_where_nothing_is_planned(
    postgres_url: str, postgres_proxy: Proxy, by_proxy: str, commit: Way
) -> None:
    with psycopg.connect(by_proxy) as connection:
        for number in range(5 * SCALE):
            commit(connection, number)

    assert given(postgres_url) == list(range(5 * SCALE))
    assert postgres_proxy.losses == 0


def test_a_plan_is_followed_once_and_then_things_pass(postgres_url: str, postgres_proxy: Proxy, by_proxy: str) -> None:
    postgres_proxy.cut_before(b"COMMIT")
    postgres_proxy.cut_after(b"COMMIT")

    for number in (1, 2):
        with lost(by_proxy) as connection:
            commits(connection, number)
    with psycopg.connect(by_proxy) as connection:
        commits(connection, 3)

    assert given(postgres_url) == [2, 3]


def test_a_plan_can_be_forgotten(postgres_url: str, postgres_proxy: Proxy, by_proxy: str) -> None:
    postgres_proxy.cut_before(b"COMMIT", times=100)
    postgres_proxy.pass_all()

    with psycopg.connect(by_proxy) as connection:
        commits(connection, 1)

    assert given(postgres_url) == [1]


def test_other_words_do_not_meet_a_plan(postgres_proxy: Proxy, by_proxy: str) -> None:
    postgres_proxy.cut_before(b"commit")

    with psycopg.connect(by_proxy) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
        assert connection.execute("SELECT %s", ["COMMIT"]).fetchone() == ("COMMIT",)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("Commit")
        connection.close()


def spoken(proxy: Proxy, database: str, *queries: bytes, packet: int = 4096) -> bytes:
    """What is heard until the connection ends, when *queries* are sent without waiting, *packet* bytes at a time."""

    def message(kind: bytes, content: bytes) -> bytes:
        return kind + struct.pack("!i", len(content) + 4) + content

    greeting = struct.pack("!i", 3 << 16) + f"user\0postgres\0database\0{database}\0\0".encode()
    sent = message(b"", greeting) + b"".join(message(b"Q", query + b"\0") for query in queries)
    with socket.create_connection(("127.0.0.1", proxy.port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(sent), packet):
            client.sendall(sent[start : start + packet])
        return b"".join(iter(lambda: client.recv(4096), b""))


@pytest.mark.parametrize("packet", [1, 7])
def test_a_statement_is_met_however_its_bytes_arrive(
    postgres_url: str, postgres_proxy: Proxy, by_proxy: str, packet: int
) -> None:
    postgres_proxy.cut_before(b"COMMIT")

    spoken(postgres_proxy, database_name(postgres_url), b"BEGIN; INSERT INTO given VALUES (1); COMMIT", packet=packet)

    assert (given(postgres_url), postgres_proxy.losses) == ([], 1)


def test_an_answer_that_was_on_its_way_before_the_cut_arrives(
    postgres_url: str, postgres_proxy: Proxy, by_proxy: str
) -> None:
    postgres_proxy.cut_after(b"COMMIT")
    slow = b"SELECT 'earlier' FROM pg_sleep(0.05)"
    commit = b"BEGIN; INSERT INTO given VALUES (1) RETURNING 'later'; COMMIT"

    heard = spoken(postgres_proxy, database_name(postgres_url), slow, commit)

    assert (b"earlier" in heard, b"later" in heard, given(postgres_url)) == (True, False, [1])


def test_a_client_that_asks_for_encryption_is_told_there_is_none(by_proxy: str) -> None:
    with psycopg.connect(by_proxy, sslmode="prefer") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.fixture
def aside() -> Iterator[ThreadPoolExecutor]:
    """Runs what may be kept waiting."""
    with ThreadPoolExecutor() as threads:
        yield threads


def test_a_statement_can_be_cancelled_by_way_of_the_proxy(by_proxy: str, aside: ThreadPoolExecutor) -> None:
    begun = threading.Event()
    with psycopg.connect(by_proxy, autocommit=True) as connection:
        connection.add_notice_handler(lambda _: begun.set())
        answer = aside.submit(connection.execute, "DO $$ BEGIN RAISE NOTICE 'begun'; PERFORM pg_sleep(60); END $$")
        assert begun.wait(10)

        connection.cancel_safe(timeout=10)

        with pytest.raises(psycopg.errors.QueryCanceled):
            answer.result(10)


@pytest.mark.parametrize("when", ["now", "at the statement"])
def test_frozen_nothing_moves_and_nobody_is_told(
    postgres_proxy: Proxy, by_proxy: str, aside: ThreadPoolExecutor, when: str
) -> None:
    with psycopg.connect(by_proxy, autocommit=True) as connection:
        postgres_proxy.freeze() if when == "now" else postgres_proxy.freeze_at(b"SELECT")
        answer = aside.submit(connection.execute, "SELECT 1")
        with pytest.raises(TimeoutError):
            answer.result(0.05)

        postgres_proxy.pass_all()

        assert answer.result(10).fetchone() == (1,)


def test_what_was_frozen_at_the_end_is_lost(
    postgres_server: Server, postgres_url: str, by_proxy: str, aside: ThreadPoolExecutor
) -> None:
    with Proxy(postgres_server.socket) as proxy:
        connection = psycopg.connect(conninfo(proxy.url(database_name(postgres_url))), autocommit=True)
        proxy.freeze_at(b"INSERT")
        answer = aside.submit(connection.execute, "INSERT INTO given VALUES (1)")
        with pytest.raises(TimeoutError):
            answer.result(0.05)

    with pytest.raises(psycopg.OperationalError):
        answer.result(10)
    assert given(postgres_url) == []


def test_every_connection_can_be_lost_at_once(postgres_proxy: Proxy, by_proxy: str) -> None:
    connections = [psycopg.connect(by_proxy) for _ in range(3)]

    postgres_proxy.cut_all()

    for connection in connections:
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


def test_a_server_that_is_down_refuses(tmp_path: Path) -> None:
    with Proxy(tmp_path / "nobody listens here") as proxy, pytest.raises(psycopg.OperationalError):
        psycopg.connect(conninfo(proxy.url("postgres")))
