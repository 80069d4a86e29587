"""Opening a log only to read: connections that cannot write, and a clear word where there is no log to read."""

import os
import shlex
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from recovery_engine.errors import LogError, StoreBusy
from recovery_engine.log.tables import SCHEMA_VERSION, metadata

_WAL_FIXED = (3, 51, 3)
_POSTGRESQL = {"postgres", "postgresql", "postgresql+psycopg"}
_SQLITE = {"sqlite", "sqlite+pysqlite"}
_BUSY_S = 5
_MAGIC = b"SQLite format 3\x00"
_CURE_URL = "give a file, `sqlite:///log.db`, or `postgresql://user@host/database`"


def sqlite_module() -> ModuleType:
    """The driver for SQLite: the interpreter's own, or, where that is too old, ``pysqlite3`` with a newer SQLite.

    INVARIANT: one process opens a log with one SQLite library only, and never opens the file in any other way: whoever
    closes it, takes away all the locks that the process has on it (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    if sqlite3.sqlite_version_info < _WAL_FIXED:
        try:
            newer = import_module("pysqlite3.dbapi2")
        except ImportError:
            return sqlite3
        if newer.sqlite_version_info > sqlite3.sqlite_version_info:
            return newer
    return sqlite3


def reader(database: str | Path) -> Engine:
    """An engine whose connections cannot write; *database* is a URL, or the path of a file.

    A transaction sees one state of the log from its first statement to its last. In an SQLite file that is not in WAL
    mode, writers wait while it lasts. Raises LogError where there is no log that can be read.
    """
    with database_problems(shown(database)):
        engine = _engine(database)
        try:
            with engine.begin() as connection:
                _check(connection, shown(database))
        except BaseException:
            engine.dispose()
            raise
        return engine


def shown(database: str | Path) -> str:
    """A database as messages name it: never with a password."""
    try:
        return make_url(str(database)).render_as_string(hide_password=True) if _scheme(database) else str(database)
    except (ArgumentError, ValueError):
        return f"{_scheme(database)}://..."


def sqlite_path(database: str | Path) -> Path | None:
    """The file of a log in SQLite, existing or not; None where the log is in PostgreSQL. Raises LogError."""
    scheme = _scheme(database)
    if scheme in _POSTGRESQL:
        return None
    if not scheme:
        return Path(database)
    if scheme not in _SQLITE:
        raise LogError(f"`{scheme}` is not a database that holds a recovery log", _CURE_URL)
    path = str(database).partition("://")[2].removeprefix("/")
    if path in ("", ":memory:"):
        raise LogError(f"{database}: a log in memory is seen only by the program that keeps it", _CURE_URL)
    return Path(path)


def _scheme(database: str | Path) -> str:
    scheme, found, _ = str(database).partition("://")
    return scheme if found and scheme.replace("+", "").isalnum() else ""


def schema_version(database: str | Path) -> int:
    """The version of a log's tables, whichever it is. Raises LogError where there is no log."""
    with database_problems(shown(database)):
        engine = _engine(database)
        try:
            with engine.begin() as connection:
                return _version(connection, shown(database))
        finally:
            engine.dispose()


def schema_problem(version: int, place: str) -> tuple[str, str] | None:
    """What keeps this version of the engine from using tables of *version*, and the cure; None where nothing does.

    *place* is the database as it is shown, and as a shell takes it.
    """
    if version > SCHEMA_VERSION:
        message = f"the tables of this log are of version {version}, and this engine knows {SCHEMA_VERSION}"
        return message, "install a newer recovery-engine"
    if version < SCHEMA_VERSION:
        cure = f"run `recovery db upgrade --database {shlex.quote(place)}`"
        return f"the tables of this log are of version {version}, an older one", cure
    return None


def _check(connection: Connection, place: str) -> None:
    """Raises LogError where the tables are not those of a log that this engine reads."""
    if problem := schema_problem(_version(connection, place), place):
        raise LogError(f"{place}: {problem[0]}", problem[1])
    found = inspect(connection)
    if missing := [name for name in sorted(metadata.tables) if not found.has_table(name)]:
        named = ", ".join(f"`{name}`" for name in missing)
        raise LogError(f"{place}: the log lacks {named}", "take it from a backup; `recovery log verify` checks it")


def _version(connection: Connection, place: str) -> int:
    if not inspect(connection).has_table("recovery_schema"):
        raise LogError(f"{place}: no recovery log here", "is it the right database?")
    version = connection.execute(select(metadata.tables["recovery_schema"].c.version)).scalar()
    if version is None:
        raise LogError(f"{place}: a recovery log that was never finished being made", "is it the right database?")
    return int(version)


# --- connections ------------------------------------------------------------------------------------------------------


def _engine(database: str | Path) -> Engine:
    path = sqlite_path(database)
    return _postgresql(str(database)) if path is None else _sqlite(path)


def _postgresql(database: str) -> Engine:
    try:
        url = make_url(database).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        raise LogError(f"{shown(database)}: not the URL of a database", _CURE_URL) from None
    try:
        engine = create_engine(_read_only(url), poolclass=NullPool)
    except ImportError:
        raise LogError("no driver for PostgreSQL", "pip install 'recovery-engine[postgres]'") from None

    @event.listens_for(engine, "connect")
    def _one_state(connection: Any, _: Any) -> None:
        connection.isolation_level = import_module("psycopg").IsolationLevel.REPEATABLE_READ
        connection.read_only = True

    return engine


def _read_only(url: URL) -> URL:
    """The URL with a default that makes the server refuse to write, whatever is sent."""
    given = url.query.get("options", "")
    options = f"{given if isinstance(given, str) else ' '.join(given)} -c default_transaction_read_only=on"
    return url.update_query_dict({"options": options.strip()})


def _sqlite(path: Path) -> Engine:
    module, uri = sqlite_module(), _openable(path)
    before = _seen(path)

    def connect() -> Any:
        connection = module.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_S, check_same_thread=False)
        for setting in ("query_only=ON", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {setting}")
        return connection

    engine = create_engine("sqlite://", module=module, creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _one_state(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    @event.listens_for(engine, "commit")
    def _nobody_wrote(_: Connection) -> None:
        if uri.endswith("immutable=1") and _seen(path) != before:
            raise LogError(f"{path}: written to while it was read, and it can only be read unlocked here", _CURE_COPY)

    return engine


_CURE_COPY = "read a copy of it, with its `-wal`, in a folder that you may write to"


def _openable(path: Path) -> str:
    """The URI under which SQLite opens the file for reading. Raises LogError."""
    _check_place(path)
    uri = f"file://{quote(os.fsencode(path.absolute()))}?mode=ro"
    module = sqlite_module()
    try:
        return _probed(path, uri)
    except module.OperationalError as error:
        # A file in WAL mode is read with the help of a `-shm` beside it, which cannot be made on read-only media.
        # INVARIANT: a `-wal` with anything in it may hold acknowledged entries, which `immutable` would hide.
        if not _in_wal_mode(path):
            raise LogError(f"{path}: {error}", _CURES.get(_name(error), "")) from error
        if _size(_beside(path, "-wal")):
            message = f"{path}: its newest entries are in `{path.name}-wal`, which cannot be read here"
            raise LogError(message, _CURE_COPY) from error
        return _probed(path, f"{uri}&immutable=1")
    except module.DatabaseError as error:
        _check_content(path)
        raise LogError(f"{path}: {error}", _CURES.get(_name(error), "")) from error


def _probed(path: Path, uri: str) -> str:
    with closing(sqlite_module().connect(uri, uri=True, timeout=_BUSY_S)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (pages,), (page,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
    # While a write is under way, or was cut off, the rest of the file may still be in one of these.
    if not any(_size(_beside(path, ending)) for ending in ("-wal", "-journal")):
        _require_size(path, pages * page)
    return uri


def _require_size(path: Path, says: int) -> None:
    if _size(path) < says:
        message = f"{path}: cut short: {_size(path):,} bytes of {says:,}"
        raise LogError(message, "copy it again, or take it from a backup")


def _check_place(path: Path) -> None:
    """Raises LogError where no file is there, or nothing in it."""
    if not path.exists():
        raise LogError(f"{path}: there is no such file", _CURE_URL)
    if path.is_dir():
        raise LogError(f"{path}: a folder, not a file", _CURE_URL)
    if not os.access(path, os.R_OK):
        raise LogError(f"{path}: cannot read it: permission denied", "ask its owner")
    if not _size(path) and not _size(_beside(path, "-wal")):
        raise LogError(f"{path}: an empty file; no recovery log here", "is it the right file?")


def _check_content(path: Path) -> None:
    """Raises LogError where a file that SQLite refused is no database, or shorter than it says."""
    with path.open("rb") as file:
        head = file.read(100)
    if not _MAGIC.startswith(head[:16]):
        raise LogError(f"{path}: not an SQLite database", "is it the right file?")
    page = int.from_bytes(head[16:18], "big")
    _require_size(path, max(100, (65_536 if page == 1 else page) * int.from_bytes(head[28:32], "big")))


def _in_wal_mode(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(20)[18:] == b"\x02\x02"


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _seen(path: Path) -> tuple[int, int, int]:
    """What changes when somebody writes."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_size, found.st_mtime_ns, _size(_beside(path, "-wal"))


# --- what a database says ---------------------------------------------------------------------------------------------

_DAMAGED = "take it from a backup; `recovery log verify` says what is wrong with a log"
_GRANT = "ask for `GRANT SELECT` on the tables `recovery_...`"

_CURES = {
    "SQLITE_BUSY": "another program is writing to it; try again",
    "SQLITE_LOCKED": "another program is writing to it; try again",
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_NOTADB": "is it the right file?",
    "SQLITE_IOERR": "the disk cannot be read; take it from a backup",
    "SQLITE_FULL": "sorting needs room for temporary files; name a folder with more in `SQLITE_TMPDIR`",
    "SQLITE_CANTOPEN": "a write to it was cut off; let the program that writes it open it once, or copy it",
    "SQLITE_READONLY": "a write to it was cut off; let the program that writes it open it once, or copy it",
    "08": "is the server running, and are the name and password right?",
    "42501": _GRANT,
    "42P01": "is it the right database?",
    "25006": "this connection only reads",
    "40001": "try again",
    "40P01": "try again",
    "55P03": "another program is using it; try again",
}
_BUSY = {"SQLITE_BUSY", "SQLITE_LOCKED", "40001", "40P01", "55P03"}
"""What may go well another time, and stored nothing."""


# What SQLite says, for drivers that do not name the error.
_NAMES = {
    "database is locked": "SQLITE_BUSY",
    "database table is locked": "SQLITE_LOCKED",
    "database disk image is malformed": "SQLITE_CORRUPT",
    "file is not a database": "SQLITE_NOTADB",
    "disk I/O error": "SQLITE_IOERR",
    "database or disk is full": "SQLITE_FULL",
    "unable to open database file": "SQLITE_CANTOPEN",
    "attempt to write a readonly database": "SQLITE_READONLY",
}


@contextmanager
def database_problems(place: str, cures: Mapping[str, str] = {}) -> Iterator[None]:
    """What a database refuses or fails at becomes a LogError that names the place and, where known, the cure.

    *cures*: those that are other ones than when a log is read, by the driver's name for the problem.
    """
    try:
        yield
    except DBAPIError as error:
        raise _said(place, error.orig or error, cures) from error
    except (sqlite_module().Error, SQLAlchemyError, OSError) as error:
        raise _said(place, error, cures) from error
    except Exception as error:
        if not hasattr(error, "sqlstate"):  # what only the driver of PostgreSQL raises, which may not be installed
            raise
        raise _said(place, error, cures) from error


def _said(place: str, error: BaseException, cures: Mapping[str, str]) -> LogError:
    first, *_ = str(error).strip().splitlines() or [type(error).__name__]
    name = _name(error)
    cure = (_CURES | dict(cures)).get(name, "")
    return (StoreBusy if name in _BUSY else LogError)(f"{place}: {first}", cure)


def _name(error: BaseException) -> str:
    """The driver's name for a problem: ``SQLITE_BUSY``, or the SQLSTATE of PostgreSQL; 08 where there is no server."""
    name = getattr(error, "sqlite_errorname", None) or _NAMES.get(str(error))
    if name:
        return "_".join(str(name).split("_")[:2])
    state = getattr(error, "sqlstate", "")
    if state is None and type(error).__name__ == "OperationalError":
        return "08"
    return str(state or "")
