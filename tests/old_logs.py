"""The logs of the folder `corpus`, each written by an engine of its time, and all that is in a database."""

import gzip
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from databases import conninfo
from engines import rows

from recovery_engine import RecoveryEngine
from recovery_engine.log.opening import sqlite_module, sqlite_path

CORPUS = Path(__file__).with_name("corpus")
LOGS = sorted(path.name.removesuffix("-sqlite.sql.gz") for path in CORPUS.glob("*-sqlite.sql.gz"))
KEPT = ("recovery_log", "recovery_policy", "recovery_checkpoint", "recovery_subject", "recovery_personal")
LATER_US = 1_860_000_000_000_000  # after the last entry of every log


def text_of(name: str) -> str:
    return gzip.decompress((CORPUS / name).read_bytes()).decode()


def load(url: str, name: str = "v1") -> str:
    """The log *name* of the corpus in the empty database at *url*; the URL."""
    path = sqlite_path(url)
    with closing(sqlite_module().connect(str(path or ":memory:"))) as loaded:
        loaded.executescript(text_of(f"{name}-sqlite.sql.gz"))
        if path is None:
            with psycopg.connect(conninfo(url)) as connection:
                connection.execute(text_of(f"{name}-postgresql.sql.gz"))
                copy(loaded, connection)
    return url


def copy(loaded: Any, connection: Any) -> None:
    """The rows of a log in SQLite, into tables in PostgreSQL."""
    for (table,) in loaded.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        found = loaded.execute(f"SELECT * FROM {table} ORDER BY 1, 2")
        columns = ", ".join(column[0] for column in found.description)
        with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copying:
            for row in found:
                copying.write_row(row)


def everything(url: str) -> dict[str, Any]:
    """Every row of every table and view, and the statements or properties of all that there is."""
    if sqlite_path(url):
        made = rows(
            url, "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name LIKE 'recovery%' ORDER BY name"
        )
        named = [name for kind, name, *_ in made if kind in ("table", "view")]
    else:
        made = rows(url, OBJECTS)
        named = [name for (name,) in rows(url, f"SELECT relname FROM pg_class WHERE relkind IN ('r', 'v') AND {OURS}")]
    found = {name: sorted(rows(url, f"SELECT * FROM {name}"), key=repr) for name in named}
    return {"": made} | found


OURS = "relname LIKE 'recovery%'"
OBJECTS = f"""
SELECT relname, relkind::text, pg_get_userbyid(relowner)::text, relacl::text,
       CASE relkind WHEN 'v' THEN pg_get_viewdef(oid) WHEN 'i' THEN pg_get_indexdef(oid) END FROM pg_class WHERE {OURS}
UNION ALL SELECT tgname, tgenabled::text, NULL, NULL, pg_get_triggerdef(pg_trigger.oid)
  FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid WHERE {OURS}
UNION ALL SELECT proname, NULL, pg_get_userbyid(proowner)::text, proacl::text, pg_get_functiondef(oid)
  FROM pg_proc WHERE proname LIKE 'recovery%' ORDER BY 1, 2, 5"""


def schema(url: str) -> list[tuple[Any, ...]]:
    return rows(url, "SELECT version, engine FROM recovery_schema")


@contextmanager
def engine_on(url: str) -> Iterator[RecoveryEngine]:
    with RecoveryEngine.open(url, clock=lambda: LATER_US, environment={}) as engine:
        yield engine
