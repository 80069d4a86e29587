"""The log in an SQLite file: one writer at a time, and every commit on the disk before it is acknowledged."""

import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakSet

from recovery_engine.errors import LogError
from recovery_engine.log.database import COLUMNS, CommitLost, Refused, Row, Statement, Unavailable, on_conflict
from recovery_engine.log.opening import sqlite_module

_BUSY_S = 5.0
_MOST_JOURNAL = 64 * 1024**2

_VERSIONS = "SELECT subject, ver FROM recovery_subject_lock WHERE subject IN (?*)"
_HEADS = "SELECT stream, size, frontier, last_leaf, last_at_us FROM recovery_stream WHERE stream IN (?*)"


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """Whether this SQLite has the fix of the WAL-reset bug (https://sqlite.org/wal.html, "The WAL-Reset Bug")."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


def connect(path: Path) -> Any:
    """A connection that loses nothing it has acknowledged. Raises LogError where the settings do not take."""
    module = sqlite_module()
    connection = module.connect(str(path), isolation_level=None, check_same_thread=False, timeout=_BUSY_S)
    try:
        for name, value in durable_settings(module.sqlite_version_info).items():
            connection.execute(f"PRAGMA {name}={value}")
            (got,) = connection.execute(f"PRAGMA {name}").fetchone()
            if got != value:
                message = f"{path}: SQLite keeps `{name}` at {got}, and a power cut could lose what was acknowledged"
                raise LogError(message, "close the other programs that use the file, or keep it on a local disk")
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute(f"PRAGMA journal_size_limit={_MOST_JOURNAL}")
    except BaseException:
        connection.close()
        raise
    return connection


def durable_settings(version: tuple[int, ...]) -> dict[str, str | int]:
    """The settings under which a power cut loses nothing that was acknowledged: FULL is 2, EXTRA is 3."""
    if wal_is_safe(version):
        return {"journal_mode": "wal", "synchronous": 2, **_REALLY}
    return {"journal_mode": "delete", "synchronous": 3, **_REALLY}


_REALLY = {"fullfsync": 1, "checkpoint_fullfsync": 1, "secure_delete": 1}
"""On macOS a sync reaches the disk only so; and what is forgotten must not stay in the file."""


class SqliteReading:
    """A read connection; use it inside a transaction."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._errors = sqlite_module()

    def batch(self, statements: Iterable[Statement]) -> list[list[Row]]:
        """The rows of each statement."""
        return [self.connection.execute(*_expanded(statement)).fetchall() for statement in statements]

    def look(self) -> int | None:
        """Begin a transaction that sees one state."""
        self.connection.execute("BEGIN")
        return None

    def rollback(self) -> None:
        """Give the transaction up."""
        with suppress(self._errors.Error):
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def _expanded(statement: Statement) -> Statement:
    """A statement with its lists written out."""
    sql, given = statement
    if "?*" not in sql:
        return statement
    values: list[Any] = []
    counts = []
    for value in given:
        if type(value) is list:
            counts.append(len(value))
            values += value
        else:
            values.append(value)
    return _with_marks(sql, tuple(counts)), tuple(values)


@lru_cache(maxsize=2_000)
def _with_marks(sql: str, counts: tuple[int, ...]) -> str:
    for count in counts:
        sql = sql.replace("?*", ",".join("?" * count), 1)
    return sql


class SqliteDatabase(SqliteReading):
    """The connection of the writer of this process."""

    locks_first, recovers = True, True

    def __init__(self, path: Path) -> None:
        module = sqlite_module()
        try:
            super().__init__(connect(path))
            self._gate = os.open(f"{path}-writer", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except (module.Error, OSError) as error:
            raise Unavailable(str(error)) from error
        self._wal = f"{path}-wal"
        self._files = {str(path): _identity(str(path))}
        _gates.add(self)
        self._inserts = {
            table: f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
            f"{on_conflict(table)}"
            for table, columns in COLUMNS.items()
        }

    def take_turn(self) -> None:
        """Wait for the other processes that write: first come, first served. Correctness does not rest on it."""
        try:
            fcntl.flock(self._gate, fcntl.LOCK_EX)
        except OSError as error:
            raise Unavailable(str(error)) from error

    def end_turn(self) -> None:
        """Let the next process write."""
        with suppress(OSError):
            fcntl.flock(self._gate, fcntl.LOCK_UN)

    def before(self, statements: Iterable[Statement]) -> list[list[Row]]:
        """Begins the transaction already: what is read here stands."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except self._errors.Error as error:
            raise Unavailable(str(error)) from error
        if self._wal not in self._files:
            self._files[self._wal] = _identity(self._wal)
        if not self._in_place():
            self.close()
            raise Unavailable("another file stands in its place")
        return self.batch(statements)

    def _in_place(self) -> bool:
        """Whether these are still the same files: SQLite would go on writing to one that was moved or replaced."""
        return all(_identity(path) == identity for path, identity in self._files.items())

    def begin(
        self, subjects: list[str], streams: list[str], others: list[str], statements: Iterable[Statement]
    ) -> tuple[int | None, list[list[Row]]]:
        """Everything is locked already."""
        return None, self.batch([(_VERSIONS, (subjects,)), (_HEADS, ([*streams, *others],)), *statements])

    def finish(self, inserts: Iterable[tuple[str, list[Row]]], statements: Iterable[Statement] = ()) -> None:
        """Write and commit. A failed COMMIT may be found committed after a crash: ask again."""
        execute, executemany = self.connection.execute, self.connection.executemany
        try:
            for table, rows in inserts:
                sql = self._inserts[table]
                cursor = execute(sql, rows[0]) if len(rows) == 1 else executemany(sql, rows)
                if cursor.rowcount != len(rows):
                    raise Refused(f"{cursor.rowcount} of {len(rows)} rows went into {table}")
            for statement in statements:
                execute(*_expanded(statement))
        except self._errors.IntegrityError as error:
            raise Refused(str(error)) from error
        try:
            self.connection.execute("COMMIT")
        except self._errors.Error as error:
            # A reader that does not let go is no reason to doubt: nothing but the journal was written so far.
            waited = self.connection.in_transaction and str(error) == "database is locked"
            raise (Unavailable if waited else CommitLost)(str(error)) from error
        if not self._in_place():
            self.close()
            raise CommitLost("another file was put in its place")

    def tidy(self) -> None:
        """Take what was forgotten out of the write-ahead log too, as far as readers let go of it."""
        with suppress(self._errors.Error):
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def errors(self) -> type[Exception]:
        """The root of what the driver raises."""
        root: type[Exception] = self._errors.Error
        return root

    def close(self) -> None:
        """Close the connection and the gate."""
        super().close()
        self.leave_gate()

    def leave_gate(self) -> None:
        """Close the gate."""
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


_gates: "WeakSet[SqliteDatabase]" = WeakSet()


def _leave_gates() -> None:
    """A forked child would hold the gate shut, even when its parent is gone."""
    for database in _gates:
        database.leave_gate()


os.register_at_fork(after_in_child=_leave_gates)
