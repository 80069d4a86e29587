"""The log in PostgreSQL: many writers; the rows of subjects and streams are locked, always in the same order."""

import logging
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import count, islice
from typing import Any

from recovery_engine.errors import LogError
from recovery_engine.log.database import COLUMNS, CommitLost, Refused, Row, Statement, Unavailable, on_conflict

_LOCK_MS, _STATEMENT_MS, _IDLE_MS = 5_000, 20_000, 20_000

# In every transaction: what a session set may be gone, where connections are shared behind a pooler.
_LIMITS = "SELECT " + ", ".join(
    f"set_config('{name}', %s, true)"
    for name in (
        *("synchronous_commit", "lock_timeout", "statement_timeout"),
        "idle_in_transaction_session_timeout",
    )
)
_NEW_SUBJECTS = "INSERT INTO recovery_subject_lock SELECT name, 0 FROM unnest(%s::text[]) name ON CONFLICT DO NOTHING"
_NEW_STREAMS = (
    "INSERT INTO recovery_stream SELECT name, 0, ''::bytea, ''::bytea, 0 FROM unnest(%s::text[]) name "
    "ON CONFLICT DO NOTHING"
)
_SUBJECTS = "SELECT subject, ver FROM recovery_subject_lock WHERE subject = ANY(%s) ORDER BY subject FOR UPDATE"
_HEADS = "SELECT stream, size, frontier, last_leaf, last_at_us FROM recovery_stream WHERE stream = ANY(%s)"
_STREAMS = f"{_HEADS} ORDER BY stream FOR UPDATE"
_CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


def driver() -> Any:
    """psycopg 3. Raises LogError where it is not installed."""
    try:
        import psycopg
    except ImportError:
        raise LogError("the driver of PostgreSQL is not installed", "pip install 'recovery-engine[postgres]'") from None
    # What it notes of a lost connection is in our error. Without a handler Python would write it to stderr as well.
    logging.getLogger("psycopg").addHandler(_NOWHERE)
    return psycopg


_NOWHERE = logging.NullHandler()


def connect(address: str) -> Any:
    """A connection in autocommit mode. Raises Unavailable."""
    psycopg = driver()
    try:
        connection = psycopg.connect(address, autocommit=True, connect_timeout=10, application_name="recovery-engine")
    except psycopg.Error as error:
        raise Unavailable(str(error).strip()) from error
    # Of one type whatever their size, or each mixture of sizes would be a statement to prepare.
    connection.adapters.register_dumper(int, psycopg.types.numeric.Int8Dumper)
    return connection


def require_durability(connection: Any) -> str:
    """The ``synchronous_commit`` to commit with: the server's own where it is stronger than ``on``.

    Raises LogError where the server could lose what it has acknowledged.
    """
    found = dict(connection.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(_DURABLE)]))
    for name in ("fsync", "full_page_writes"):
        if found[name] != "on":
            message = f"the server runs with `{name} = {found[name]}`, and a power cut could lose what was acknowledged"
            raise LogError(message, f"set `{name} = on` in postgresql.conf")
    return "remote_apply" if found["synchronous_commit"] == "remote_apply" else "on"


_DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


def _translated(statement: Statement) -> tuple[str, tuple[Any, ...]]:
    sql, values = statement
    return _with_marks(sql), values


@lru_cache(maxsize=2_000)
def _with_marks(sql: str) -> str:
    return sql.replace("IN (?*)", "= ANY(%s)").replace("?", "%s")


class PostgresReading:
    """A read connection; use it inside a transaction."""

    def __init__(self, connection: Any, own_clock: bool) -> None:
        self.connection, self._own_clock, self._driver = connection, own_clock, driver()

    def batch(self, statements: Iterable[Statement]) -> list[list[Row]]:
        """The rows of each statement, in one round trip."""
        return self._pipelined([_translated(statement) for statement in statements])

    def _pipelined(self, statements: list[tuple[str, Any]]) -> list[list[Row]]:
        if len(statements) == 1:
            return [_rows(self.connection.execute(*statements[0]))]
        with self.connection.pipeline():
            cursors = [self.connection.execute(sql, values) for sql, values in statements]
        return [_rows(cursor) for cursor in cursors]

    def look(self) -> int | None:
        """Begin a transaction that sees one state."""
        _, ((clock,),) = self._pipelined([("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", None), (_CLOCK, None)])
        return int(clock) if self._own_clock else None

    def rollback(self) -> None:
        """Give the transaction up; on a broken connection the server does."""
        if not self.connection.closed:
            try:
                self.connection.execute("ROLLBACK")
            except self._driver.Error:
                self.connection.close()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def _rows(cursor: Any) -> list[Row]:
    return [] if cursor.rownumber is None else cursor.fetchall()  # asking for a description costs more than the rows


class PostgresDatabase(PostgresReading):
    """The connection of the writer of this process."""

    # After an error in a pipeline the driver believes in prepared statements that the server does not have.
    locks_first, recovers = False, False

    def __init__(self, address: str, own_clock: bool) -> None:
        super().__init__(connect(address), own_clock)
        try:
            self._commits = require_durability(self.connection)
        except self._driver.Error as error:
            raise Unavailable(str(error).strip()) from error

    def take_turn(self) -> None:
        """The rows that are locked are the only gate."""

    def end_turn(self) -> None:
        """Nothing to give back."""

    def before(self, statements: Iterable[Statement]) -> list[list[Row]]:
        """Reads outside of any transaction."""
        try:
            return self.batch(statements)
        except self._driver.Error as error:
            raise self._failed(error) from error

    def begin(
        self, subjects: list[str], streams: list[str], others: list[str], statements: Iterable[Statement]
    ) -> tuple[int | None, list[list[Row]]]:
        """Lock and read in one round trip: every statement sees what was committed when it had its locks."""
        limits = (self._commits, str(_LOCK_MS), str(_STATEMENT_MS), str(_IDLE_MS))
        begun: list[tuple[str, Any]] = [("BEGIN ISOLATION LEVEL READ COMMITTED", None), (_LIMITS, limits)]
        begun += [(_NEW_SUBJECTS, (subjects,)), (_SUBJECTS, (subjects,))]
        begun += [(_NEW_STREAMS, (streams,)), (_STREAMS, (streams,)), (_HEADS, (others,)), (_CLOCK, None)]
        try:
            results = self._pipelined(begun + [_translated(statement) for statement in statements])
        except self._driver.Error as error:
            raise self._failed(error) from error
        _, _, _, versions, _, heads, other_heads, ((clock,),), *rest = results
        return int(clock) if self._own_clock else None, [versions, [*heads, *other_heads], *rest]

    def finish(self, inserts: Iterable[tuple[str, list[Row]]], statements: Iterable[Statement] = ()) -> None:
        """Write and commit in one round trip."""
        inserts = list(inserts)
        sql = _inserts(tuple((table, len(rows) == 1) for table, rows in inserts))
        values: list[Any] = []
        for _, rows in inserts:
            values += rows[0] if len(rows) == 1 else map(list, zip(*rows, strict=True))
        values += [len(rows) for _, rows in inserts]
        try:
            with self.connection.pipeline():
                # The raw one takes a statement as it stands; the usual one would read through a long one each time.
                self._driver.RawCursor(self.connection).execute(sql, values)
                for statement in statements:
                    self.connection.execute(*_translated(statement))
                self.connection.execute("COMMIT")
        except self._driver.Error as error:
            if self.connection.broken or self.connection.closed or error.sqlstate is None:
                raise CommitLost(str(error).strip()) from error
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> Exception:
        """What surely stored nothing: a server that may take it another time, or one that never will."""
        failed = Unavailable if isinstance(error, self._driver.OperationalError) else Refused
        return failed(str(error).strip())

    def now_us(self) -> int:
        """The server's clock, in UTC microseconds."""
        return int(self.connection.execute(_CLOCK).fetchone()[0])

    def tidy(self) -> None:
        """The rows that are dead stay until VACUUM takes them."""

    def errors(self) -> type[Exception]:
        """The root of what the driver raises."""
        root: type[Exception] = self._driver.Error
        return root


@lru_cache(maxsize=200)
def _inserts(tables: tuple[tuple[str, bool], ...]) -> str:
    """One statement that writes into several tables, each with whether it is a single row.

    Its values are those of all columns, table by table, then the number of rows of each table.
    """
    marks = (f"${number}" for number in count(1))
    added = ", ".join(f"{table}_added AS ({_insert(table, single, marks)} RETURNING 1)" for table, single in tables)
    counted = " AND ".join(f"(SELECT count(*) FROM {table}_added) = {next(marks)}" for table, _ in tables)
    # COMMIT is on its way already: a division by zero stops it where a row was not written.
    return f"WITH {added} SELECT 1 / ({counted})::int"


def _insert(table: str, single: bool, marks: Iterator[str]) -> str:
    columns = COLUMNS[table]
    if single:  # a value for each column costs the driver a fraction of what a list for each does
        rows = f"VALUES ({', '.join(islice(marks, len(columns)))})"
    else:
        rows = f"SELECT * FROM unnest({', '.join(f'{next(marks)}::{kind}[]' for kind in columns.values())})"
    return f"INSERT INTO {table} ({', '.join(columns)}) {rows}{on_conflict(table)}"
