"""SQLite on a disk that remembers every operation, in order, and fails one if it is told to.

``Disk`` is a SQLite VFS (from apsw) over real files in a folder. ``Disk.connect`` gives a connection that looks like a
``sqlite3.Connection`` in autocommit mode (``isolation_level=None``) and raises the exceptions of pysqlite3.
"""

# ruff: noqa: N802 - SQLite names the methods of a VFS

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from sqlite3 import complete_statement
from typing import Any

import apsw
import pysqlite3.dbapi2 as sqlite

Bindings = Sequence[Any] | Mapping[str, Any]

IO_ERROR = {
    "open": apsw.SQLITE_CANTOPEN,
    "read": apsw.SQLITE_IOERR_READ,
    "write": apsw.SQLITE_IOERR_WRITE,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
    "sync": apsw.SQLITE_IOERR_FSYNC,
    "delete": apsw.SQLITE_IOERR_DELETE,
    "sync folder": apsw.SQLITE_IOERR_DIR_FSYNC,
}
"""What can be attempted on the disk, and the error when it fails."""
MESSAGE = {
    apsw.SQLITE_FULL: "database or disk is full",
    apsw.SQLITE_IOERR: "disk I/O error",
    apsw.SQLITE_CANTOPEN: "unable to open database file",
}

# When SQLite first syncs one of these that it made, it syncs the folder too (UNIXFILE_DIRSYNC in os_unix.c).
JOURNALS = apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
KEPT_FILES = JOURNALS | apsw.SQLITE_OPEN_MAIN_DB
EXCEPTIONS: dict[type[Exception], set[int]] = {
    sqlite.IntegrityError: {apsw.SQLITE_CONSTRAINT, apsw.SQLITE_MISMATCH},
    sqlite.DataError: {apsw.SQLITE_TOOBIG},
    sqlite.InternalError: {apsw.SQLITE_INTERNAL, apsw.SQLITE_NOTFOUND},
    sqlite.InterfaceError: {apsw.SQLITE_MISUSE, apsw.SQLITE_RANGE},
    sqlite.OperationalError: {
        *(apsw.SQLITE_ERROR, apsw.SQLITE_PERM, apsw.SQLITE_ABORT, apsw.SQLITE_BUSY, apsw.SQLITE_LOCKED),
        *(apsw.SQLITE_READONLY, apsw.SQLITE_INTERRUPT, apsw.SQLITE_IOERR, apsw.SQLITE_FULL, apsw.SQLITE_CANTOPEN),
        *(apsw.SQLITE_PROTOCOL, apsw.SQLITE_EMPTY, apsw.SQLITE_SCHEMA),
    },
}
"""As in _pysqlite_seterror: any other code is a DatabaseError."""
CHANGING = {"INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"}
_numbers = count()


@dataclass(frozen=True)
class Operation:
    """One change of the disk. ``file`` is a number, for a name may stand for several files, one after another.

    ``offset`` is in bytes; of a truncate it is the new size.
    """

    kind: str  # create, delete, write, truncate, sync, failed sync, sync folder
    file: int
    name: str
    offset: int = 0
    content: bytes = b""


@dataclass(frozen=True)
class Fault:
    """Fail the attempt of this number (from 0), and if ``forever`` all later ones too.

    With ``full`` the disk is full: only writes fail.
    """

    attempt: int
    full: bool = False
    forever: bool = False

    def strikes(self, number: int, kind: str) -> bool:
        """Whether the attempt *number*, of this *kind*, is to fail."""
        due = number == self.attempt or (self.forever and number > self.attempt)
        return due and (kind == "write" or not self.full)


def faults(attempts: Iterable[str]) -> Iterator[Fault]:
    """Every fault that a run with these *attempts* (``Disk.attempts`` of a run without fault) can meet."""
    for number, kind in enumerate(attempts):
        for forever in (False, True):
            yield Fault(number, False, forever)
            if kind == "write":
                yield Fault(number, True, forever)


@dataclass
class Disk:
    """The files of *folder* under a VFS that writes down ``operations``, ``attempts`` and what was ``acknowledged``."""

    folder: Path
    fault: Fault | None = None
    operations: list[Operation] = field(default_factory=list)
    attempts: list[str] = field(default_factory=list)
    acknowledged: list[tuple[int, Any]] = field(default_factory=list)
    """(operations done by then, token)."""

    def __post_init__(self) -> None:
        self.folder = self.folder.resolve()
        self.files = {path.name: number for number, path in enumerate(sorted(self.folder.iterdir()))}
        self._next_file = count(len(self.files))
        self._lock = threading.RLock()
        self._connections: list[Connection] = []
        self._vfs = _Vfs(self, f"disk-{next(_numbers)}")

    def connect(self, path: str | Path, timeout: float = 5.0) -> "Connection":
        """A connection to the database at *path*, or a ``file:`` address, in the folder. *timeout* is in seconds."""
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
        try:
            opened = apsw.Connection(str(path), flags, self._vfs.vfs_name)
        except apsw.Error as error:
            raise as_pysqlite3(error) from error
        opened.set_busy_timeout(round(timeout * 1000))
        self._connections.append(connection := Connection(opened))
        return connection

    def acknowledge(self, token: Any) -> None:
        """Write down that somebody was told *token* now: from here on it must not be lost."""
        with self._lock:
            self.acknowledged.append((len(self.operations), token))

    def contents(self) -> dict[str, bytes]:
        """The files as they are now."""
        return {name: (self.folder / name).read_bytes() for name in sorted(self.files)}

    def close(self) -> None:
        """Close what is still open, on a disk that is whole again, and let the VFS go."""
        self.fault = None
        for connection in self._connections:
            connection.close()
        self._vfs.unregister()

    def attempt(self, kind: str) -> None:
        """Count an attempt; raises the error that is due for it, if any."""
        self.attempts.append(kind)
        if self.fault and self.fault.strikes(len(self.attempts) - 1, kind):
            code = apsw.SQLITE_FULL if self.fault.full else IO_ERROR[kind]
            error: Any = apsw.exception_for(code)
            error.args, error.injected = (MESSAGE[code & 0xFF],), True
            raise error


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk, name: str) -> None:
        self.disk, self.vfs_name = disk, name
        super().__init__(name, "unix")

    def _name(self, path: str) -> str:
        assert Path(path).parent == self.disk.folder, f"`{path}` is not in `{self.disk.folder}`"
        return Path(path).name

    def xOpen(self, filename: Any, flags: list[int]) -> apsw.VFSFile:
        if not flags[0] & KEPT_FILES:
            return apsw.VFSFile("unix", filename, flags)
        disk, name = self.disk, self._name(filename if isinstance(filename, str) else filename.filename())
        with disk._lock:
            disk.attempt("open")
            opened = _File(disk, filename, flags, name)
            if name not in disk.files:
                disk.files[name] = next(disk._next_file)
                disk.operations.append(Operation("create", disk.files[name], name))
            opened.file = disk.files[name]
        return opened

    def xDelete(self, filename: str, syncdir: bool) -> None:
        name = self._name(filename)
        with self.disk._lock:
            self.disk.attempt("delete")
            super().xDelete(filename, False)
            self.disk.operations.append(Operation("delete", self.disk.files.pop(name), name))
            if syncdir:
                self.disk.attempt("sync folder")
                self.disk.operations.append(Operation("sync folder", -1, ""))


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, filename: Any, flags: list[int], name: str) -> None:
        self.disk, self.name, self.file = disk, name, -1
        self.sync_folder = bool(flags[0] & JOURNALS and flags[0] & apsw.SQLITE_OPEN_CREATE)
        super().__init__("unix", filename, flags)

    def _done(self, kind: str, offset: int = 0, content: bytes = b"") -> None:
        self.disk.operations.append(Operation(kind, self.file, self.name, offset, content))

    def xDeviceCharacteristics(self) -> int:
        # What an ordinary disk under Linux promises, whatever the file system of this folder promises on top.
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE

    def xRead(self, amount: int, offset: int) -> bytes:
        with self.disk._lock:
            self.disk.attempt("read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        with self.disk._lock:
            try:
                self.disk.attempt("write")
            except apsw.Error:
                # A write that fails has often begun.
                self._write(data[: len(data) // 2], offset)
                raise
            self._write(data, offset)

    def _write(self, content: bytes, offset: int) -> None:
        super().xWrite(content, offset)
        self._done("write", offset, bytes(content))

    def xTruncate(self, newsize: int) -> None:
        with self.disk._lock:
            self.disk.attempt("truncate")
            super().xTruncate(newsize)
            self._done("truncate", newsize)

    def xSync(self, flags: int) -> None:
        with self.disk._lock:
            try:
                self.disk.attempt("sync")
            except apsw.Error:
                self._done("failed sync")
                raise
            self._done("sync")
            if self.sync_folder:
                self._done("sync folder")
            self.sync_folder = False


class Rows:
    """The answer to a statement, with what callers use of a ``sqlite3.Cursor``; all rows are fetched at once."""

    def __init__(self) -> None:
        self.description: tuple[tuple[Any, ...], ...] | None = None
        self.rowcount = -1
        self._rows: list[tuple[Any, ...]] = []
        self._left = iter(self._rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._left

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, or None."""
        return next(self._left, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows that are left."""
        return list(self._left)


class Connection:
    """An apsw connection with the face of a ``sqlite3.Connection`` that has ``isolation_level=None``."""

    def __init__(self, opened: apsw.Connection) -> None:
        self._opened = opened
        self._committing = self._rolled_back = False
        opened.set_commit_hook(self._commit_begins)
        opened.set_rollback_hook(self._rollback_done)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._opened.in_transaction

    def execute(self, sql: str, bindings: Bindings = ()) -> Rows:
        """Run one statement."""
        rows = Rows()
        cursor = self._opened.cursor()
        changes = False

        def begins(cursor: apsw.Cursor, statement: str, _bindings: Any) -> bool:
            nonlocal changes
            columns = cursor.get_description()
            rows.description = tuple((name, declared, *[None] * 5) for name, declared in columns) or None
            changes = not cursor.is_readonly and statement.split(None, 1)[0].upper() in CHANGING
            return True

        cursor.exec_trace = begins
        with self._answering(sql):
            for row in cursor.execute(sql, bindings):
                rows._rows.append(row)
        if changes:
            rows.rowcount = self._opened.changes()
        return rows

    def executemany(self, sql: str, many: Iterable[Bindings]) -> Rows:
        """Run one statement for each of *many*; ``rowcount`` is the sum."""
        rows = Rows()
        rows.rowcount = sum(self.execute(sql, bindings).rowcount for bindings in many)
        return rows

    def executescript(self, script: str) -> Rows:
        """Commit what is open, as sqlite3 does, and run the statements of *script*."""
        if self.in_transaction:
            self.execute("COMMIT")
        statement = ""
        for piece in script.split(";"):
            statement += piece + ";"
            if complete_statement(statement):
                self.execute(statement)
                statement = ""
        self.execute(statement)
        return Rows()

    def close(self) -> None:
        """Close it. Like sqlite3, this says nothing of a checkpoint that failed."""
        with suppress(apsw.Error):
            self._opened.close()

    def _commit_begins(self) -> bool:
        self._committing = True
        return False

    def _rollback_done(self) -> None:
        self._rolled_back = True

    @contextmanager
    def _answering(self, sql: str) -> Iterator[None]:
        self._committing = self._rolled_back = False
        try:
            yield
        except apsw.Error as error:
            if not self._swallowed(sql, error):
                raise as_pysqlite3(error) from error

    def _swallowed(self, sql: str, error: apsw.Error) -> bool:
        """Whether SQLite answers "ok" in spite of *error*, which only apsw shows.

        It does when the transaction has ended as asked and what came after failed: the checkpoint after a commit, or
        reading pages again after a rollback.
        """
        if not getattr(error, "injected", False) or self.in_transaction:
            return False
        if self._committing:
            return not self._rolled_back
        return self._rolled_back and sql.lstrip().upper().startswith("ROLLBACK")


def as_pysqlite3(error: apsw.Error) -> Exception:
    """The exception pysqlite3 raises where apsw raises *error*."""
    code = getattr(error, "result", apsw.SQLITE_MISUSE) & 0xFF
    kind = next((kind for kind, codes in EXCEPTIONS.items() if code in codes), sqlite.DatabaseError)
    return kind(str(error))
