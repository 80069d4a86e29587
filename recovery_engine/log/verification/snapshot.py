"""One state of a log, read row by row with plain SQL, in bounded memory."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from recovery_engine.log.database import COLUMNS
from recovery_engine.log.opening import sqlite_module

Row = Sequence[Any]

_AT_ONCE = 2_000

_TOTAL = "SELECT count(*) FROM recovery_log"
_NEXT_STREAM = "SELECT min(stream) FROM recovery_log WHERE stream > CAST(? AS TEXT)"
_ENTRIES = (
    "SELECT seq, request_id, kind, at_us, continues, body, leaf, root FROM recovery_log "
    "WHERE stream = CAST(? AS TEXT) AND seq > ? ORDER BY seq LIMIT ?"
)
_BODY = "SELECT body FROM recovery_log WHERE stream = CAST(? AS TEXT) AND seq = ?"
_ROOT = "SELECT root FROM recovery_log WHERE stream = CAST(? AS TEXT) AND seq = ?"

LOWEST = -(1 << 63)
"""Below every seq that a database can hold."""


class Snapshot:
    """A connection of a driver (sqlite3 or psycopg) inside a transaction that sees one state of the log."""

    def __init__(self, connection: Any, postgresql: bool) -> None:
        self.connection, self.postgresql = connection, postgresql
        self._cursors = 0

    def rows(self, sql: str, *values: Any) -> list[Row]:
        """The rows of a statement with ``?`` for each value."""
        if self.postgresql:
            rows: list[Row] = self.connection.execute(sql.replace("?", "%s"), values, binary=True).fetchall()
            return rows
        bound = [_bindable(value) for value in values]
        try:
            rows = self.connection.execute(sql, bound).fetchall()
        except _errors() as error:
            self._read_any_text(error)
            rows = self.connection.execute(sql, bound).fetchall()
        return rows

    def scan(self, sql: str) -> Iterator[Row]:
        """The rows of a statement, some at a time. Several may be under way at once."""
        if self.postgresql:
            self._cursors += 1
            cursor = self.connection.cursor(f"recovery_{self._cursors}")
            cursor.itersize = _AT_ONCE
            with cursor:
                yield from cursor.execute(sql, binary=True)
            return
        given = 0
        try:
            for row in self.connection.execute(sql):
                given += 1
                yield row
        except _errors() as error:
            self._read_any_text(error)
            yield from islice(self.connection.execute(sql), given, None)

    def _read_any_text(self, error: Exception) -> None:
        """What is no UTF-8 compares unequal to all that is, instead of ending the run."""
        if "decode to UTF-8" not in str(error):
            raise error
        self.connection.text_factory = _text

    def table(self, name: str, by: str) -> Iterator[Row]:
        """Every row of a table, in the order of the columns *by*; its columns are those of ``COLUMNS``."""
        return self.scan(f"SELECT {', '.join(COLUMNS[name])} FROM {name} ORDER BY {by}")

    def total(self) -> int:
        """How many entries there are."""
        return int(self.rows(_TOTAL)[0][0])

    def streams(self) -> Iterator[str]:
        """The name of every stream that has an entry, in byte order."""
        if self.rows("SELECT count(*) FROM recovery_log WHERE stream = ''")[0][0]:
            yield ""
        last: Any = ""
        # A name that is no text ends it: the rows under it and after it are missed when all are counted.
        while type(last := self.rows(_NEXT_STREAM, last)[0][0]) is str:
            yield last

    def entries(self, stream: str, after: int, most: int) -> list[Row]:
        """The next rows of a stream: seq, request_id, kind, at_us, continues, body, leaf, root."""
        return self.rows(_ENTRIES, stream, after, most)

    def body(self, stream: str, seq: int) -> bytes | None:
        """The bytes of one entry; None where it is missing."""
        return _bytes(self.rows(_BODY, stream, seq))

    def root(self, stream: str, seq: int) -> bytes | None:
        """The root that stands beside an entry; None where it is missing."""
        return _bytes(self.rows(_ROOT, stream, seq))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _errors() -> type[Exception]:
    error: type[Exception] = sqlite_module().Error
    return error


def _bindable(value: Any) -> Any:
    return value if type(value) is not str or value.isascii() else value.encode("utf-8", "surrogateescape")


def _bytes(rows: list[Row]) -> bytes | None:
    return bytes(rows[0][0]) if rows else None


Progress = Callable[[int, int], None]
"""Told, again and again, how many entries are done, and of how many."""
