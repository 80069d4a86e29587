"""RecoveryLog: a log as an auditor reads it. It cannot write, and every answer is of one state of the log."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Generic, Self, TypeVar
from weakref import WeakSet

from sqlalchemy import Connection, Engine

from recovery_engine.log.opening import database_problems, reader, shown
from recovery_engine.log.reading import export as exports
from recovery_engine.log.reading import following, queries
from recovery_engine.log.reading import story as stories
from recovery_engine.log.reading.export import Format, Progress, What
from recovery_engine.log.reading.filters import EVERYTHING, Filter
from recovery_engine.log.reading.queries import AuditRow, GrantReport, LogEntry, Sample, Stats, StreamHead
from recovery_engine.log.reading.story import Story
from recovery_engine.money import Money
from recovery_engine.policy.schema import Policy

Row = TypeVar("Row")


class Rows(Iterator[Row], Generic[Row]):
    """Rows that are fetched as they are gone through, in a transaction that ends with the last of them.

    Whoever stops earlier calls ``close``, uses it in a ``with``, or lets go of it.
    """

    def __init__(self, log: "RecoveryLog", ask: Callable[[Connection], Iterator[Row]]) -> None:
        with ExitStack() as opened:
            self._rows: Iterator[Row] = ask(opened.enter_context(log.transaction()))
            self._open = opened.pop_all()

    def __next__(self) -> Row:
        try:
            return next(self._rows)
        except StopIteration:
            self.close()
            raise
        except BaseException:
            self._rows = iter(())
            self._open.__exit__(*sys.exc_info())
            raise

    def close(self) -> None:
        """End the transaction; nothing more comes."""
        self._rows = iter(())
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RecoveryLog:
    """A log, open only to read. Safe to share between threads.

    >>> with RecoveryLog.open("sqlite:///recovery.db") as log:                              # doctest: +SKIP
    ...     for row in log.recoveries(Filter(site="S001", outcome="deny")):
    ...         print(row.recovery, row.asked, row.lines)
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine, self.name = engine, name
        self._unfinished: WeakSet[Rows[object]] = WeakSet()

    @classmethod
    def open(cls, database: str | Path) -> "RecoveryLog":
        """The log in a file, or at a URL of SQLite or PostgreSQL. Raises LogError where none can be read there."""
        return cls(reader(database), shown(database))

    def close(self) -> None:
        """End what is still being read, and let go of the database."""
        for rows in list(self._unfinished):
            rows.close()
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection that sees one state of the log and cannot write. What goes wrong is a LogError."""
        with database_problems(self.name), self._engine.begin() as connection:
            yield connection

    def _rows(self, ask: Callable[[Connection], Iterator[Row]]) -> Rows[Row]:
        rows = Rows(self, ask)
        self._unfinished.add(rows)  # type: ignore[arg-type]
        return rows

    def recoveries(self, wanted: Filter = EVERYTHING, *, limit: int | None = None) -> Rows[AuditRow]:
        """The recoveries that fit, by business day, time and id. Raises InvalidRequest with every mistake."""
        return self._rows(lambda connection: queries.recoveries(connection, wanted, limit))

    def count(self, wanted: Filter = EVERYTHING) -> int:
        """How many recoveries fit. Raises InvalidRequest with every mistake."""
        with self.transaction() as connection:
            return queries.count(connection, wanted)

    def sample(self, wanted: Filter = EVERYTHING, *, size: int, seed: str | int) -> Sample:
        """Some of the recoveries that fit, drawn so that others can draw the same. Raises InvalidRequest."""
        with self.transaction() as connection:
            return queries.sample(connection, wanted, size, seed)

    def stats(self, wanted: Filter = EVERYTHING) -> Stats:
        """What the recoveries that fit come to. Raises InvalidRequest with every mistake."""
        with self.transaction() as connection:
            return queries.stats(connection, wanted)

    def at_least(self, least: Money, month: str) -> GrantReport:
        """Every grant of at least so much in a month (``2026-11``), and totals by person. Raises InvalidRequest."""
        reports: list[GrantReport] = []

        def ask(connection: Connection) -> Iterator[AuditRow]:
            reports.append(queries.at_least(connection, least, month))
            return reports[0].grants

        rows = self._rows(ask)
        return replace(reports[0], grants=rows)

    def story(self, about: str, *, whole_case: bool = False, people: bool = False) -> Story:
        """What happened to a recovery, or in a case, step by step. Raises LogError where there is none.

        *whole_case*: all recoveries of the case, also where *about* is one of them. *people*: with names, notes,
        questions and answers, where they were not erased.
        """
        with self.transaction() as connection:
            return stories.story(connection, about, whole_case, people)

    def entries(self, stream: str | None = None, after: int | None = None) -> Rows[LogEntry]:
        """The entries of one stream or of all, those after a seq; their bytes are canonical. Raises InvalidRequest."""
        return self._rows(lambda connection: queries.entries(connection, stream, after))

    def follow(self, after: Mapping[str, int] | None = None, *, interval_s: float | None = None) -> Iterator[LogEntry]:
        """Every committed entry after a cursor, in order in each stream, new streams among them.

        *after* is the seq of the last entry seen, by stream; left out: from the beginning. A subscriber that puts down
        ``entry.seq`` under ``entry.stream`` once it has dealt with an entry, and begins again from there after a crash,
        gets each at least once. It ends when there is no more; with *interval_s* (seconds) it waits and looks again.
        Raises InvalidRequest, and LogError where the cursor is ahead of the log.
        """
        seen = following.read_cursor(after or {})
        while True:
            with self.transaction() as connection:
                found = following.next_entries(connection, seen)
            for entry in found:
                yield entry
                seen[entry.stream] = entry.seq
            if not found:
                if interval_s is None:
                    return
                time.sleep(interval_s)

    def policy(self, digest: str) -> Policy | None:
        """The policy of a digest, of those that were ever loaded; None where there is none. Raises LogError."""
        with self.transaction() as connection:
            return queries.policy(connection, digest)

    def streams(self) -> tuple[StreamHead, ...]:
        """Every stream, and how far it has come."""
        with self.transaction() as connection:
            return queries.heads(connection)

    def export(
        self,
        what: What,
        format: Format,
        out: str | Path | BinaryIO,
        wanted: Filter = EVERYTHING,
        *,
        progress: Progress | None = None,
    ) -> int:
        """Write ``recoveries`` or ``entries`` that fit as ``csv``, ``jsonl`` or ``parquet``; how many rows it was.

        In CSV a text that a spreadsheet would take for a formula has an apostrophe before it. Raises InvalidRequest,
        LogError.
        """
        with self.transaction() as connection:
            return exports.export(connection, wanted, what, format, out, progress)

    def export_sqlite(self, path: str | Path, *, people: bool = False, progress: Progress | None = None) -> int:
        """Copy the whole log to a new SQLite file, without people unless asked; how many rows. Raises LogError."""
        with self.transaction() as connection:
            return exports.export_sqlite(connection, path, people=people, progress=progress)
