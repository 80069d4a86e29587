"""Bring the tables of an older engine to those of this one. The entries stay as they are, byte for byte."""

from contextlib import closing
from pathlib import Path
from typing import Any

from recovery_engine.errors import LogError, TamperedLog
from recovery_engine.log.database import Unavailable
from recovery_engine.log.opening import database_problems, schema_problem
from recovery_engine.log.tables import PROJECTIONS, SCHEMA_VERSION, guards, table_statements
from recovery_engine.log.verification.rebuild import fill, transaction
from recovery_engine.log.verification.shelf import temporary_file
from recovery_engine.log.verification.snapshot import Progress, Snapshot
from recovery_engine.log.verification.verify import examine
from recovery_engine.log.views import VIEWS, Dialect, view_statements
from recovery_engine.log.writing.creation import has_tables, place_of

_GRANTED = (
    "SELECT table_name, grantee FROM information_schema.role_table_grants WHERE privilege_type = 'SELECT' "
    "AND table_schema = current_schema() AND table_name = ANY(%s) AND grantee <> current_user"
)
_TRIGGERS_POSTGRESQL = (
    "SELECT t.tgname, c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal "
    "AND starts_with(t.tgname, 'recovery_') AND c.relnamespace = current_schema()::regnamespace"
)
_TRIGGERS_SQLITE = (
    "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger' AND substr(name, 1, 9) = 'recovery_'"
)


def upgrade(database: str | Path, progress: Progress | None = None) -> tuple[int, int]:
    """Make tables, views and guard-rails anew and fill them from the entries; the version before, and now.

    It is one transaction. Close every engine first. Where the tables are of this version nothing is done. Raises
    TamperedLog, with nothing changed, where the entries do not agree with each other; LogError where there is no log,
    where its tables are of a newer engine, or where it cannot be written to.
    """
    place = place_of(database, own_clock=True)
    with database_problems(place.name):
        try:
            writing: Any = place.writing()
        except Unavailable as error:
            raise LogError(f"{place.name}: cannot reach it: {error}", "is the server running?") from error
        try:
            if not has_tables(writing):
                raise LogError(f"{place.name}: no recovery log here", "is it the right database?")
            connection = writing.connection
            postgresql = not hasattr(connection, "text_factory")
            with transaction(connection, postgresql):
                if postgresql:
                    connection.execute("LOCK TABLE recovery_schema, recovery_log IN ACCESS EXCLUSIVE MODE")
                ((before,),) = connection.execute("SELECT version FROM recovery_schema").fetchall()
                if before > SCHEMA_VERSION and (problem := schema_problem(before)):
                    raise LogError(f"{place.name}: {problem[0]}", problem[1])
                if before < SCHEMA_VERSION:
                    _upgrade(connection, postgresql, place.name, progress)
            return int(before), SCHEMA_VERSION
        finally:
            writing.close()


def _upgrade(connection: Any, postgresql: bool, name: str, progress: Progress | None) -> None:
    execute = connection.execute
    with closing(temporary_file()) as file:
        examined = examine(Snapshot(connection, postgresql), file, True, progress)
        if examined.report().has("tampered"):
            raise TamperedLog(f"{name}: {examined.report().findings[0]}", "put it right before its tables are changed")
        readers = execute(_GRANTED, ([*VIEWS, *PROJECTIONS],)).fetchall() if postgresql else []
        for view in VIEWS:
            execute(f"DROP VIEW IF EXISTS {view}")
        for trigger, table in _triggers(connection, postgresql):
            execute(f"DROP TRIGGER {trigger}{f' ON {table}' if postgresql else ''}")
        if postgresql:
            execute("DROP FUNCTION IF EXISTS recovery_never_changed, recovery_log_append")
        for table in PROJECTIONS:
            execute(f"DROP TABLE IF EXISTS {table}")
        dialect: Dialect = "postgresql" if postgresql else "sqlite"
        for statement in (*table_statements(dialect, PROJECTIONS), *guards(dialect), *view_statements(dialect)):
            execute(statement)
        fill(connection, postgresql, examined)
        for table, grantee in readers:
            to = "PUBLIC" if grantee == "PUBLIC" else '"' + grantee.replace('"', '""') + '"'
            execute(f"GRANT SELECT ON {table} TO {to}")
        execute(f"UPDATE recovery_schema SET version = {SCHEMA_VERSION}")


def _triggers(connection: Any, postgresql: bool) -> list[tuple[str, str]]:
    """The guard-rails on the tables that stay."""
    found = connection.execute(_TRIGGERS_POSTGRESQL if postgresql else _TRIGGERS_SQLITE).fetchall()
    return [(str(trigger), str(table)) for trigger, table in found]
