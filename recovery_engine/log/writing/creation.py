"""Opening a log to write, and making its tables where there are none: in a file of its own or beside a host's."""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from recovery_engine.errors import LogError
from recovery_engine.log.database import CommitLost, Reading, Refused, Unavailable, Writing
from recovery_engine.log.entry import ORGANISATION
from recovery_engine.log.opening import database_problems, schema_problem, shown, sqlite_module, sqlite_path
from recovery_engine.log.policies import Policies
from recovery_engine.log.writing.group import Group, Origin, Random
from recovery_engine.log.writing.postgres import PostgresDatabase, PostgresReading
from recovery_engine.log.writing.postgres import connect as connect_postgres
from recovery_engine.log.writing.sqlite import SqliteDatabase, SqliteReading
from recovery_engine.log.writing.store import Clock, Store, origin_in, whole_clock

_VERSION = "SELECT version FROM recovery_schema"
_CREATING = 7_021_917_355  # any number: what PostgreSQL locks while the tables are made


class Place(NamedTuple):
    """A database: how to open it for the one writer of this process, and for reading."""

    name: str
    writing: Callable[[], Writing]
    reading: Callable[[], Reading]


def place_of(database: str | Path, own_clock: bool) -> Place:
    """The database that a URL or path names. Raises LogError."""
    path = sqlite_path(database)
    if path is not None:
        file = path.absolute()
        return Place(str(path), lambda: SqliteDatabase(file), lambda: _read_sqlite(file))
    address = re.sub(r"^\w+(\+\w+)?://", "postgresql://", str(database))
    return Place(
        shown(database), lambda: PostgresDatabase(address, own_clock), lambda: _read_postgres(address, own_clock)
    )


def _read_sqlite(path: Path) -> Reading:
    connection = sqlite_module().connect(str(path), isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA query_only=ON")
    return SqliteReading(connection)


def _read_postgres(address: str, own_clock: bool) -> Reading:
    return PostgresReading(connect_postgres(address), own_clock)


def open_store(
    database: str | Path,
    engine: str,
    clock: Clock | None,
    random: Random,
    wait_s: float,
    origin: str | None,
    tracks: Iterable[str],
) -> tuple[Store, Place]:
    """The log in *database*, made where there is none. Raises LogError."""
    place = place_of(database, clock is None)
    with database_problems(place.name):
        try:
            writing = place.writing()
            try:
                found = _origin(writing, place.name)
                found = found or _create(
                    writing, place.name, engine, whole_clock(clock), clock is None, random, origin, tracks
                )
            finally:
                writing.close()
        except (Unavailable, Refused, CommitLost) as error:
            raise error.__cause__ or error from None
    return Store(place.writing, found, engine, clock, random, wait_s), place


def _origin(writing: Writing, name: str) -> Origin | None:
    """What the first entry says; None where there are no tables yet. Raises LogError."""
    if not _has_tables(writing):
        return None
    ((version,),) = writing.batch([(_VERSION, ())])[0]
    if problem := schema_problem(int(version), name):
        raise LogError(f"{name}: {problem[0]}", problem[1])
    found = origin_in(writing)
    if found is None:
        raise LogError(f"{name}: the log has no first entry", "run `recovery log verify`")
    return found


def _has_tables(writing: Writing) -> bool:
    if isinstance(writing, SqliteDatabase):
        sql = "SELECT count(*) FROM sqlite_master WHERE name = 'recovery_schema'"
    else:
        # Of the name alone the server might remember that there is none.
        sql = "SELECT count(*) FROM pg_catalog.pg_class WHERE oid = to_regclass('recovery_schema')"
    return bool(writing.batch([(sql, ())])[0][0][0])


def _create(
    writing: Any,
    name: str,
    engine: str,
    clock: Clock,
    own_clock: bool,
    random: Random,
    origin: str | None,
    tracks: Iterable[str],
) -> Origin:
    """Make the tables and write the first entry, unless somebody else just did."""
    from recovery_engine.log.tables import SCHEMA_VERSION, statements
    from recovery_engine.log.views import view_statements

    dialect: Literal["sqlite", "postgresql"] = "sqlite" if isinstance(writing, SqliteDatabase) else "postgresql"
    execute = writing.connection.execute
    try:
        execute("BEGIN IMMEDIATE" if dialect == "sqlite" else "BEGIN ISOLATION LEVEL READ COMMITTED")
        if dialect == "postgresql":
            execute(f"SELECT pg_advisory_xact_lock({_CREATING})")
        if found := _origin(writing, name):
            writing.rollback()
            return found
        for statement in (*statements(dialect), *view_statements(dialect)):
            execute(statement)
        log = random(16).hex()
        opened = Origin(log, origin or f"recovery-engine/{log}", tuple(sorted(tracks)), engine)
        group = Group(writing, opened, Policies(()), random, engine)
        now_us = clock()
        if own_clock and dialect == "postgresql":
            now_us = writing.now_us()
        group.open_stream(ORGANISATION, now_us)
        execute(f"INSERT INTO recovery_schema (version, engine) VALUES ({SCHEMA_VERSION}, '{engine}')")
        writing.finish(group.inserts())
    except BaseException:
        with suppress(Exception):
            writing.rollback()
        raise
    return opened
