"""Write the projections of a log anew from its entries, once those are sound."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from recovery_engine.errors import LogError, TamperedLog
from recovery_engine.log.database import COLUMNS, Row, Unavailable
from recovery_engine.log.merkle import frontier_bytes
from recovery_engine.log.opening import database_problems
from recovery_engine.log.projection import delegation_row
from recovery_engine.log.proof.anchors import reading
from recovery_engine.log.verification.findings import Report
from recovery_engine.log.verification.shelf import temporary_file
from recovery_engine.log.verification.snapshot import Progress, Snapshot
from recovery_engine.log.verification.verify import Examined, compare_projections, examine
from recovery_engine.log.writing.creation import place_of

_AT_ONCE = 1_000

# INVARIANT: in the order in which writers come to them, so that nobody waits for somebody who waits for us.
IN_ORDER = (
    "recovery_subject_lock",
    "recovery_stream",
    "recovery_state",
    "recovery_line",
    "recovery_usage",
    "recovery_delegation",
)


def rebuild(database: str | Path, progress: Progress | None = None) -> Report:
    """Write every projection anew, in one transaction; the report says in what they had drifted.

    Entries, policies, checkpoints and what is kept of people are not touched. Engines that are open meanwhile remember
    sums from before: open them again. Raises TamperedLog, with nothing changed, where the entries themselves do not
    agree; LogError where there is no log, or it cannot be written to.
    """
    with reading(database):
        pass  # there is a log, and its tables are of our version
    place = place_of(database, own_clock=True)
    with database_problems(place.name):
        try:
            writing: Any = place.writing()
        except Unavailable as error:
            raise LogError(f"{place.name}: cannot reach it: {error}", "is the server running?") from error
        try:
            return _rebuilt(writing.connection, place.name, progress)
        finally:
            writing.close()


def _rebuilt(connection: Any, name: str, progress: Progress | None) -> Report:
    postgresql = not hasattr(connection, "text_factory")
    connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED" if postgresql else "BEGIN IMMEDIATE")
    try:
        if postgresql:
            connection.execute(f"LOCK TABLE {', '.join(IN_ORDER)} IN EXCLUSIVE MODE")
        snapshot = Snapshot(connection, postgresql)
        with closing(temporary_file()) as file:
            examined = examine(snapshot, file, True, progress)
            report = examined.report()
            if report.has("tampered"):
                raise TamperedLog(f"{name}: {report.findings[0]}", "`recovery log verify` names every place")
            compare_projections(snapshot, examined, examined.findings.of("drift"))
            for table, rows in projections(examined):
                connection.execute(f"DELETE FROM {table}")
                insert(connection, postgresql, table, rows)
        connection.execute("COMMIT")
    except BaseException:
        if not (postgresql and connection.closed):
            connection.execute("ROLLBACK")
        raise
    return examined.report()


def projections(examined: Examined) -> Iterator[tuple[str, Iterable[Row]]]:
    """Every projection with its rows, in the columns of ``COLUMNS``."""
    fold = examined.fold
    yield "recovery_subject_lock", fold.versions.items()
    yield (
        "recovery_stream",
        (
            (chain.name, chain.size, frontier_bytes(chain.frontier), bytes.fromhex(chain.last_leaf), chain.last_at_us)
            for chain in examined.chains
        ),
    )
    yield "recovery_state", (kept.state for _, kept in fold.recoveries.items())
    yield "recovery_line", ((name, line) for name, kept in fold.recoveries.items() for line in kept.lines)
    yield "recovery_usage", fold.tally.rows()
    yield "recovery_delegation", (delegation_row(fold.delegations[name]) for name in sorted(fold.delegations))


def insert(connection: Any, postgresql: bool, table: str, rows: Iterable[Row]) -> None:
    """Write the rows of a table, in the columns of ``COLUMNS``."""
    columns = COLUMNS[table]
    if postgresql:
        with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        return
    sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    taken = iter(rows)
    while batch := list(islice(taken, _AT_ONCE)):
        connection.executemany(sql, batch)
