"""Tables of an older version made anew as this engine has them, from the entries, once those are sound."""

import os
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from recovery_engine.errors import LogError, OutcomeUnknown, TamperedLog
from recovery_engine.log.database import Unavailable
from recovery_engine.log.opening import database_problems, schema_problem, schema_version, sqlite_path
from recovery_engine.log.tables import PROJECTIONS, SCHEMA_VERSION, metadata, table_statements
from recovery_engine.log.verification.belongings import THERE, Belongings, PostgresBelongings, SqliteBelongings
from recovery_engine.log.verification.rebuild import IN_ORDER, insert, projections
from recovery_engine.log.verification.shelf import temporary_file
from recovery_engine.log.verification.snapshot import Progress, Snapshot
from recovery_engine.log.verification.verify import Examined, examine
from recovery_engine.log.views import VIEWS, Dialect, view_statements
from recovery_engine.log.writing.creation import place_of

_LOCK_MS = 5_000

_OWNER = "run it as the owner of the tables `recovery_...`, who may also create tables there"
_ROOM = "nothing was changed; make room for about as much as the log takes now, in `TMPDIR` too, and run it again"
_CURES = {
    "SQLITE_READONLY": "you may only read it; its owner has to run this",
    "SQLITE_FULL": _ROOM,
    "53100": _ROOM,
    "42501": _OWNER,
    "25006": "this connection only reads; run it on the primary server, as the owner of the tables",
}


class Upgraded(NamedTuple):
    """The version of the tables ``before`` and ``after``; ``entries``: read again, 0 where nothing was to be done."""

    before: int
    after: int
    entries: int


def upgrade(database: str | Path, progress: Progress | None = None) -> Upgraded:
    """Bring the tables of a log to the present version, in one transaction with everybody else kept out.

    Projections and views are made anew and filled from the entries; entries, policies, checkpoints and what is kept of
    people are not touched. The owners and privileges of what is made anew stay, and so do indexes and triggers of the
    host's. Where the version is the present one already, nothing is done. Raises, each with nothing changed,
    TamperedLog where the entries do not agree; StoreBusy where somebody else does not let go of the tables; LogError
    where there is no log, or a newer one, or it may not be changed. OutcomeUnknown: run it again.
    """
    if schema_version(database) == SCHEMA_VERSION:
        return Upgraded(SCHEMA_VERSION, SCHEMA_VERSION, 0)
    place = place_of(database, own_clock=True)
    _require_writable(database)
    with database_problems(place.name, _CURES):
        try:
            writing: Any = place.writing()
        except Unavailable as error:
            raise error.__cause__ or error from None
        try:
            if hasattr(writing.connection, "text_factory"):
                return _on_sqlite(writing.connection, place.name, progress)
            return _on_postgresql(writing.connection, place.name, progress)
        finally:
            writing.close()


def _require_writable(database: str | Path) -> None:
    path = sqlite_path(database)
    if path is not None and not all(os.access(one, os.W_OK) for one in (path, path.absolute().parent)):
        raise LogError(f"{path}: you may only read it, or the folder it is in", "its owner has to run this")


def _on_sqlite(connection: Any, name: str, progress: Progress | None) -> Upgraded:
    connection.execute("BEGIN IMMEDIATE")
    try:
        done = _upgraded(connection, "sqlite", SqliteBelongings(connection), name, progress)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return done


def _on_postgresql(connection: Any, name: str, progress: Progress | None) -> Upgraded:
    connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
    committing = False
    try:
        belongings = PostgresBelongings(connection, name)
        belongings.require_owner()
        _lock(connection)
        done = _upgraded(connection, "postgresql", belongings, name, progress)
        committing = True
        connection.execute("COMMIT")
    except BaseException as error:
        if not connection.closed:
            connection.execute("ROLLBACK")
        elif committing:
            message = f"{name}: the connection was lost, and nobody knows whether it was upgraded"
            raise OutcomeUnknown(message, "run it again to find out") from error
        if getattr(error, "sqlstate", "") == "2BP01":
            raise LogError(f"{name}: {_what_depends(error)}", "drop it, upgrade, and make it anew") from error
        raise
    return done


def _what_depends(error: Any) -> str:
    return str(error.diag.message_detail or error).strip().replace("\n", "; ")


def _lock(connection: Any) -> None:
    """Keep everybody else out; whoever reads the entries themselves may go on."""
    limits = {"lock_timeout": _LOCK_MS, "statement_timeout": 0, "idle_in_transaction_session_timeout": 0}
    for limit, value in limits.items():
        connection.execute("SELECT set_config(%s, %s, true)", (limit, str(value)))
    # Where the log is in a schema that is not the first to be searched, what is made anew belongs there too.
    connection.execute(
        "SELECT set_config('search_path', quote_ident(nspname), true) FROM pg_class AS c "
        "JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = to_regclass('recovery_schema')"
    )
    there = {name for (name,) in connection.execute(THERE, (sorted(metadata.tables),)).fetchall()}
    others = sorted(metadata.tables.keys() - set(IN_ORDER))
    for names, mode in ((IN_ORDER, "ACCESS EXCLUSIVE"), (others, "EXCLUSIVE")):
        connection.execute(f"LOCK TABLE {', '.join(name for name in names if name in there)} IN {mode} MODE")


def _upgraded(
    connection: Any, dialect: Dialect, belongings: Belongings, name: str, progress: Progress | None
) -> Upgraded:
    ((before,),) = connection.execute("SELECT version FROM recovery_schema").fetchall()
    if before == SCHEMA_VERSION:  # somebody else was faster
        return Upgraded(SCHEMA_VERSION, SCHEMA_VERSION, 0)
    if before > SCHEMA_VERSION and (problem := schema_problem(before, name)):
        raise LogError(f"{name}: {problem[0]}", problem[1])
    belongings.remember()
    # First what others could hold on to, so that nobody waits for the entries to be read only to be told so.
    for view in VIEWS:
        connection.execute(f"DROP VIEW IF EXISTS {view}")
    with closing(temporary_file()) as file:
        examined = examine(Snapshot(connection, dialect == "postgresql"), file, True, progress)
        report = examined.report()
        if report.has("tampered"):
            cure = "`recovery log verify` of the version that made the tables names every place"
            raise TamperedLog(f"{name}: {report.findings[0]}", cure)
        _make_anew(connection, dialect, examined)
    belongings.give_back()
    connection.execute(f"UPDATE recovery_schema SET version = {SCHEMA_VERSION}")
    return Upgraded(before, SCHEMA_VERSION, report.entries)


def _make_anew(connection: Any, dialect: Dialect, examined: Examined) -> None:
    for table in PROJECTIONS:
        connection.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in table_statements(table, dialect):
            connection.execute(statement)
    for table, rows in projections(examined):
        insert(connection, dialect == "postgresql", table, rows)
    for statement in view_statements(dialect):
        connection.execute(statement)
