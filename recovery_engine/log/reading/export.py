"""The log taken elsewhere: recoveries or entries as CSV, JSONL or Parquet, and the whole log as one SQLite file.

Whatever is written appears under its name only when it is complete and on the disk.
"""

import csv
import io
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Literal, get_args

import orjson
from sqlalchemy import ColumnElement, Connection, Select, func, literal_column, select

from recovery_engine.errors import InvalidRequest, LogError, did_you_mean
from recovery_engine.log.opening import sqlite_module
from recovery_engine.log.reading.filters import EVERYTHING, STATE, Filter, conditions
from recovery_engine.log.reading.queries import dialect_of, in_order, streamed
from recovery_engine.log.tables import metadata, statements
from recovery_engine.log.views import AUDIT, DAY, ENTRY, LOCAL, MONEY, NUMBER, TEXT, TIME, Shown, view_statements
from recovery_engine.policy.reading import UNKNOWN_WORD, problem

What = Literal["recoveries", "entries"]
Format = Literal["csv", "jsonl", "parquet"]
Progress = Callable[[int], None]
"""Told, again and again, how many rows are done."""

_LOG = metadata.tables["recovery_log"].alias("s")
_PEOPLE = ("recovery_subject", "recovery_personal")
_AT_ONCE = 1_000


def export(
    connection: Connection,
    wanted: Filter,
    what: What,
    format: Format,
    out: str | Path | BinaryIO,
    progress: Progress | None = None,
) -> int:
    """Write what fits to a file or a binary stream; how many rows it was.

    ``recoveries`` have the columns of the view ``recovery_audit``. ``entries`` are those about recoveries that fit, or
    all where the filter is empty; as JSONL they are the canonical bytes, one entry a line, so that anybody can hash
    them. In CSV a text that a spreadsheet would take for a formula (it begins with ``= + - @``, a tab or a carriage
    return) has an apostrophe before it; the other formats hold every text as it is.
    Raises InvalidRequest with every mistake in the filter, LogError where it cannot be written.
    """
    _check_words(what, format)
    columns, statement = _chosen(connection, wanted, what)
    bodies = format == "jsonl" and what == "entries"
    rows = _Counted(connection, statement.with_only_columns(_LOG.c.body) if bodies else statement, progress)
    if bodies:
        _write(out, (b"".join(bytes(body) + b"\n" for (body,) in some) for some in rows))
    elif format == "jsonl":
        _write(out, _json_lines(columns, rows))
    elif format == "csv":
        _write(out, _csv_lines(columns, rows, guarded=True))
    else:
        _write_parquet(out, columns, rows)
    return rows.count


def _check_words(what: str, format: str) -> None:
    asked = {"what": (what, get_args(What)), "format": (format, get_args(Format))}
    wrong = [
        problem(UNKNOWN_WORD, name, f"`{word}` cannot be exported", did_you_mean(str(word), known))
        for name, (word, known) in asked.items()
        if word not in known
    ]
    if wrong:
        raise InvalidRequest(wrong)


def _chosen(connection: Connection, wanted: Filter, what: What) -> tuple[tuple[Shown, ...], Select[Any]]:
    """The columns for people, and the statement that gives them."""
    dialect, fits = dialect_of(connection), conditions(connection, wanted)
    columns = AUDIT if what == "recoveries" else ENTRY
    cells: list[ColumnElement[Any]] = [literal_column(shown.sql(dialect)).label(shown.name) for shown in columns]
    if what == "recoveries":
        return columns, in_order(select(*cells).select_from(STATE)).where(*fits)
    ordered = select(*cells).select_from(_LOG).order_by(_LOG.c.stream, _LOG.c.seq)
    if wanted == EVERYTHING:
        return columns, ordered
    fitting = select(STATE.c.recovery).where(*fits)
    return columns, ordered.where(func.coalesce(_LOG.c.continues, _LOG.c.request_id).in_(fitting))


class _Counted:
    """Rows, some at a time, and how many have passed."""

    def __init__(self, connection: Connection, statement: Select[Any], progress: Progress | None) -> None:
        self._rows, self._progress, self.count = streamed(connection, statement), progress, 0

    def __iter__(self) -> Iterator[list[Sequence[Any]]]:
        while some := list(islice(self._rows, _AT_ONCE)):
            yield some
            self.count += len(some)
            if self._progress:
                self._progress(self.count)


# --- lines ------------------------------------------------------------------------------------------------------------

_FORMULA = frozenset("=+-@\t\r\uff1d\uff0b\uff0d\uff20")  # the last four: = + - @ in full width


def _csv_lines(columns: Sequence[Shown], rows: _Counted, *, guarded: bool) -> Iterator[bytes]:
    """RFC 4180, with its line ends: they make the writer quote a carriage return in a cell as well as a line feed."""
    texts = [guarded and column.kind == TEXT for column in columns]
    yield _csv([[column.name for column in columns]])
    for some in rows:
        yield _csv([[_defused(cell) if text else cell for cell, text in zip(row, texts, strict=True)] for row in some])


def _csv(rows: Iterable[Iterable[Any]]) -> bytes:
    lines = io.StringIO(newline="")
    csv.writer(lines).writerows(rows)
    return lines.getvalue().encode()


def _defused(cell: str | None) -> str | None:
    return f"'{cell}" if cell and cell[0] in _FORMULA else cell


def _json_lines(columns: Sequence[Shown], rows: _Counted) -> Iterator[bytes]:
    names = [column.name for column in columns]
    for some in rows:
        objects = (dict(zip(names, row, strict=True)) for row in some)
        yield b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in objects)


def _write(out: str | Path | BinaryIO, lines: Iterable[bytes]) -> None:
    if isinstance(out, str | Path):
        with whole_file(Path(out)) as partial, partial.open("wb") as file:
            _write(file, lines)
        return
    for some in lines:
        out.write(some)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """The name under which to write a file; it takes its own when it is complete and on the disk.

    Raises LogError where it cannot be written, and where it would take the place of a database.
    """
    path = path.resolve()
    _refuse_database(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        yield partial
        _sync(partial)
        os.replace(partial, path)
        _sync(path.parent)
    except OSError as error:
        raise LogError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _refuse_database(path: Path) -> None:
    # INVARIANT: the file is opened by SQLite only: were it a log that this process has open, closing it in any other
    # way would take away its locks.
    module = sqlite_module()
    with suppress(module.Error), closing(module.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        if connection.execute("PRAGMA page_count").fetchone() != (0,):
            raise LogError(f"{path} is a database", "choose another file")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- parquet ----------------------------------------------------------------------------------------------------------

_PARQUET_TYPES = {
    TEXT: "VARCHAR",
    MONEY: "DECIMAL(20, 4)",  # no currency has more digits after the point, no amount more before it
    TIME: "TIMESTAMPTZ",
    LOCAL: "TIMESTAMP",
    DAY: "DATE",
    NUMBER: "BIGINT",
}


def _write_parquet(out: str | Path | BinaryIO, columns: Sequence[Shown], rows: _Counted) -> None:
    try:
        import duckdb
    except ImportError:
        raise LogError("Parquet needs duckdb", "pip install 'recovery-engine[parquet]'") from None
    beside = Path(out).resolve().parent if isinstance(out, str | Path) else None
    try:
        with TemporaryDirectory(prefix="recovery-", suffix=".partial", dir=beside) as folder:
            plain, made = Path(folder) / "rows.csv", Path(folder) / "rows.parquet"
            with plain.open("wb") as file:
                _write(file, _csv_lines(columns, rows, guarded=False))
            with closing(
                duckdb.connect(config={"temp_directory": folder, "memory_limit": "400MB", "threads": 1})
            ) as database:
                database.execute(_copy(columns, plain, made))
            if isinstance(out, str | Path):
                with whole_file(Path(out)) as partial:
                    os.replace(made, partial)
            else:
                _pour(made, out)
    except (OSError, duckdb.Error) as error:
        raise LogError(f"cannot write Parquet: {str(error).splitlines()[0]}") from error


def _copy(columns: Sequence[Shown], plain: Path, made: Path) -> str:
    types = ", ".join(f"'{column.name}': '{_PARQUET_TYPES[column.kind]}'" for column in columns)
    read = f"read_csv({_quoted(plain)}, header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', "
    read += f"new_line = '\\r\\n', nullstr = '', buffer_size = 4000000, max_line_size = 400000, columns = {{{types}}})"
    return f"COPY (SELECT * FROM {read}) TO {_quoted(made)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20480)"


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _pour(path: Path, out: BinaryIO) -> None:
    with path.open("rb") as file:
        while some := file.read(1_000_000):
            out.write(some)


# --- the whole log as one file ----------------------------------------------------------------------------------------


def export_sqlite(
    connection: Connection, path: str | Path, *, people: bool = False, progress: Progress | None = None
) -> int:
    """Copy the log to a new SQLite file that needs nothing beside it, not even on read-only media; how many rows.

    The file has the same tables, views and guard-rails, and may be read but not written. What links tokens to
    customers, and texts about people, stay behind unless *people* is true. Raises LogError.
    """
    path = Path(path).resolve()
    for ending in ("", "-wal", "-journal", "-shm"):
        if path.with_name(path.name + ending).exists():
            raise LogError(f"{path}{ending} is already there", "choose another file")
    module = sqlite_module()
    with whole_file(path) as partial:
        try:
            with closing(module.connect(str(partial), isolation_level=None)) as copy:
                count = _copy_log(connection, copy, people, progress)
        except module.Error as error:
            raise LogError(f"cannot write {path}: {error}") from error
        partial.chmod(0o400 if people else 0o444)
    return count


def _copy_log(connection: Connection, copy: Any, people: bool, progress: Progress | None) -> int:
    for setting in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
        copy.execute(f"PRAGMA {setting}")
    copy.execute("BEGIN")
    making = list(statements("sqlite"))
    tables = [statement for statement in making if statement.startswith("CREATE TABLE")]
    for statement in tables:
        copy.execute(statement)
    count = 0
    for name in sorted(metadata.tables):
        if people or name not in _PEOPLE:
            count = _copy_table(connection, copy, name, count, progress)
    # The guard-rails come last: what is wrong with a log must be seen in its copy, too.
    for statement in [statement for statement in making if statement not in tables]:
        copy.execute(statement)
    for statement in view_statements("sqlite"):
        copy.execute(statement)
    copy.execute("COMMIT")
    return count


def _copy_table(connection: Connection, copy: Any, name: str, count: int, progress: Progress | None) -> int:
    table = metadata.tables[name]
    names = [column.name for column in table.columns]
    insert = f"INSERT INTO {name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    rows = streamed(connection, select(table).order_by(*table.primary_key.columns))
    while some := [tuple(row) for row in islice(rows, _AT_ONCE)]:
        copy.executemany(insert, some)
        count += len(some)
        if progress:
            progress(count)
    return count
