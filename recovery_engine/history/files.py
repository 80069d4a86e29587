"""History from a file: an export of the log, or a table that never saw it, told which column is what."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from recovery_engine.errors import Diagnostic, InvalidRequest, LogError, did_you_mean
from recovery_engine.history.needed import duckdb_module
from recovery_engine.history.table import LeftOut, fact_column, text, word
from recovery_engine.log.calendar import day_start_seconds
from recovery_engine.money import digits_of
from recovery_engine.policy.reading import ILL_TYPED, MISSING, UNKNOWN_NAME, from_reader
from recovery_engine.policy.schema import Policy
from recovery_engine.policy.words import Problem, read_day, read_flag, read_money, read_number

_MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class HistoryFile:
    """A CSV or Parquet file of what was asked for; a time comes before the order of its rows.

    Columns are read by their names; ``mapped`` says where they have others (``{"amount": "amount_usd"}``), and
    ``constants`` what is the same for every row (``{"role": "associate"}``) and wins.
    """

    path: str | Path
    mapped: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)


class Column(NamedTuple):
    """Where a part of a request is read: an expression, its type, and its name for people."""

    sql: str
    type: str
    shown: str


_WORDS = (
    *("recovery", "employee", "role", "site", "case", "receipt", "customer"),
    *("remedy", "category", "severity", "currency", "basis", "reason", "to"),
)
FIELDS = (*_WORDS, "amount", "bill", "granted", "note", "evidence", "occurred_on", "at", "day", "outcome")
_NEEDED = ("role", "remedy", "amount")

_EXPORTED = {
    "case": "case_id",
    "at": "asked_at",
    "role": "employee_role",
    "remedy": "remedy_asked",
    "amount": "amount_asked",
    "outcome": "decision",
    "to": "sent_to_role",
}
"""What an export of recoveries calls the parts of a request, where it has other names for them."""

_OUTCOMES = {
    "approved on the spot": "approve",
    "sent to a higher role": "escalate",
    "denied": "deny",
    **{one: one for one in ("approve", "escalate", "deny", "incomplete")},
}


def read_file(connection: Any, file: HistoryFile) -> str:
    """Make the relation ``given`` of a file, with the number of each row as ``_row``; its kind.

    ``entries`` and ``recoveries`` are exports of the log, anything else is a ``table``.
    Raises LogError where it cannot be read, InvalidRequest with every line that is no row.
    """
    path = Path(file.path)
    if not path.is_file():
        raise LogError(f"cannot read {path}", "no such file" if not path.exists() else "it is no file")
    ending, duckdb = path.suffix.lower(), duckdb_module()
    try:
        if ending == ".parquet":
            rows = (
                f"SELECT * EXCLUDE (file_row_number), file_row_number + 1 AS _row FROM read_parquet({text(str(path))}"
            )
            connection.execute(f"CREATE VIEW given AS {rows}, file_row_number = true)")
        elif ending in (".csv", ".tsv"):
            _read_csv(connection, path)
        elif ending == ".jsonl":
            return "entries"
        else:
            raise LogError(f"{path} is no history", "give a file that ends in `.csv`, `.parquet` or `.jsonl`")
        names = set(columns_of(connection))
        (empty,) = connection.execute("SELECT NOT EXISTS (SELECT 1 FROM given)").fetchone()
    except duckdb.Error as error:
        raise LogError(f"cannot read {path}: {str(error).splitlines()[0]}") from error
    if empty:
        raise LogError(f"{path} holds no request", "is it the right file?")
    if {"stream", "seq", "body"} <= names:
        return "entries"
    return "recoveries" if {"employee_role", "remedy_asked", "amount_asked"} <= names else "table"


def _read_csv(connection: Any, path: Path) -> None:
    options = "all_varchar = true, header = true, store_rejects = true, rejects_limit = 1000"
    connection.execute(
        f"CREATE TABLE given AS SELECT *, row_number() OVER () AS _row FROM read_csv({text(str(path))}, {options})"
    )
    found = connection.execute("SELECT line, error_type, error_message FROM reject_errors ORDER BY 1").fetchall()
    if found:
        raise InvalidRequest(
            Diagnostic(ILL_TYPED, "error", f"{path}:{line}", f"not a row: {kind.lower()}", _CSV_CURE)
            for line, kind, _ in found[:_MOST_PROBLEMS]
        )


_CSV_CURE = "put text that holds a comma or a line break in quotes"


def columns_of(connection: Any) -> dict[str, str]:
    """The columns of ``given`` with their types."""
    rows = connection.execute("DESCRIBE given").fetchall()
    return {name: kind for name, kind, *_ in rows if name != "_row"}


# --- which column is what ---------------------------------------------------------------------------------------------


def planned(
    file: HistoryFile, kind: str, columns: Mapping[str, str], draft: Policy, facts: Iterable[str]
) -> dict[str, Column]:
    """Where each part of a request is read. Raises InvalidRequest with everything that is wrong with it."""
    known = (*FIELDS, *facts)
    problems: list[Diagnostic] = []
    mapped = {_field(name): column for name, column in file.mapped.items()}
    constants = {_field(name): value for name, value in file.constants.items()}
    for name in dict.fromkeys((*mapped, *constants)):
        if name not in known:
            cure = did_you_mean(name, known)
            problems.append(Diagnostic(UNKNOWN_NAME, "error", name, f"`{name}` is no part of a request", cure))
    meant = {column.lower(): column for column in reversed(list(columns))}
    plan: dict[str, Column] = {}
    for name in known:
        other = _EXPORTED.get(name, name) if kind == "recoveries" else name
        usual = (
            [other, "id"]
            if name == "recovery"
            else [other, f"amount_{draft.currency}"]
            if name == "amount"
            else [other]
        )
        column = mapped.get(name) or next((meant[one.lower()] for one in usual if one.lower() in meant), None)
        if name in constants:
            plan[name] = Column(text(constants[name]), "VARCHAR", f"--set {name}")
        elif column is not None and column not in columns:
            problems.append(
                Diagnostic(UNKNOWN_NAME, "error", name, f"no column `{column}`", did_you_mean(column, columns))
            )
        elif column is not None:
            plan[name] = Column(word(column), columns[column], column)
        elif name in _NEEDED:
            problems.append(
                Diagnostic(MISSING, "error", name, f"no column gives the {name}", _cure(name, columns, draft))
            )
    if problems:
        raise InvalidRequest(problems)
    return plan


def _field(name: str) -> str:
    return "recovery" if name == "id" else name


def _cure(name: str, columns: Iterable[str], draft: Policy) -> str:
    close = get_close_matches(name, columns, n=1, cutoff=0.5)
    known = draft.words.known(name)
    value = known[0] if known else "100" if name == "amount" else "refund"
    return f"map it: {name}={close[0] if close else 'COLUMN'}; or set it for all: {name}={value}"


# --- from a cell to a value -------------------------------------------------------------------------------------------

Reader = Callable[[str], object]


class Parsed(NamedTuple):
    """A part of a request as SQL, and who says what is wrong with a text that gives NULL."""

    name: str
    column: Column
    sql: str
    reader: Reader


def make_asked(
    connection: Any, file: HistoryFile, kind: str, draft: Policy, facts: Mapping[str, str]
) -> tuple[list[LeftOut], list[str]]:
    """Make ``asked`` of ``given``: who is left out, and what is to be said. Raises InvalidRequest."""
    columns = columns_of(connection)
    plan = planned(file, kind, columns, draft, facts)
    _refuse_doubles(plan, facts)
    parsed = {one.name: one for one in _parsed(connection, plan, kind, draft, facts)}
    _refuse_unreadable(connection, file, parsed)

    def value(name: str, otherwise: str) -> str:
        return parsed[name].sql if name in parsed else otherwise

    granted = value("granted", "CAST(NULL AS BIGINT)")
    words = {name: value(name, "CAST(NULL AS VARCHAR)") for name in _WORDS}
    to, second = words["to"], Column("second_role", "VARCHAR", "second_role")
    if kind == "recoveries":
        column = Column("amount_granted", columns["amount_granted"], "amount_granted")
        amount = _money(connection, "granted", column, draft.currency)
        granted = f"CASE WHEN status IN ('granted', 'fulfilled') THEN {amount} ELSE 0 END"
        # The role that is asked by now; it is the first one where nobody moved it up and no second person was asked.
        to = f"CASE WHEN CAST(times_moved_up AS VARCHAR) = '0' AND {_plain(second)} IS NULL THEN {to} END"
    every_proof = [item for line in draft.requires for item in line.evidence] if kind == "recoveries" else []
    evidence = value("evidence", f"CAST([{', '.join(map(text, every_proof))}] AS VARCHAR[])")
    at = parsed.get("at")
    local = f"TRY_CAST({at.column.sql} AS TIMESTAMP)" if at else "CAST(NULL AS TIMESTAMP)"
    at_us = value("at", "CAST(NULL AS BIGINT)")
    connection.execute(
        f"""CREATE TABLE asked AS SELECT *, coalesce(at_us, epoch_us(local), epoch_us(CAST(day AS TIMESTAMP))) AS at_key
        FROM (SELECT _row AS place, {at_us} AS at_us, {local} AS local,
            {_day(value("day", "CAST(NULL AS DATE)"), local, draft)} AS day,
            coalesce({words["recovery"]}, CAST(_row AS VARCHAR)) AS recovery,
            {", ".join(f"{words[name]} AS {word(name)}" for name in _WORDS if name not in ("recovery", "to", "basis"))},
            coalesce({words["basis"]}, 'goodwill') AS basis, {to} AS then_to,
            {value("amount", "0")} AS amount, {value("bill", "CAST(NULL AS BIGINT)")} AS bill,
            {value("note", "true" if kind == "recoveries" else "false")} AS note, {evidence} AS evidence,
            {value("occurred_on", "CAST(NULL AS DATE)")} AS occurred_on,
            {value("outcome", "CAST(NULL AS VARCHAR)")} AS then_outcome, {granted} AS granted
            {"".join(f", {value(name, _NO_FACT[fact])} AS {fact_column(name)}" for name, fact in facts.items())}
        FROM given)"""
    )
    return _other_currency(connection, draft), list(_said(kind, columns, plan))


_NO_FACT = {"flag": "CAST(NULL AS BOOLEAN)", "one_of": "CAST(NULL AS VARCHAR)"} | dict.fromkeys(
    ("number", "money"), "CAST(NULL AS BIGINT)"
)


def _parsed(
    connection: Any, plan: Mapping[str, Column], kind: str, draft: Policy, facts: Mapping[str, str]
) -> Iterator[Parsed]:
    currency = draft.currency
    for name, column in plan.items():
        plain = _plain(column, kind)
        match facts.get(name, name):
            case "amount" | "bill" | "granted" | "money":
                yield Parsed(
                    name, column, _money(connection, name, column, currency), lambda raw: read_money(raw, currency)
                )
            case "number":
                whole = f"regexp_full_match({plain}, '0|-?[1-9][0-9]{{0,15}}')"
                yield Parsed(name, column, f"CASE WHEN {whole} THEN TRY_CAST({plain} AS BIGINT) END", read_number)
            case "flag":
                flag = f"CASE {plain} WHEN 'true' THEN true WHEN 'false' THEN false END"
                yield Parsed(name, column, flag, read_flag)
            case "note":
                yield Parsed(name, column, f"coalesce({plain} <> 'false', false)", str)
            case "evidence":
                if column.type.endswith("[]"):
                    yield Parsed(name, column, column.sql, str)
                else:
                    split = f"regexp_extract_all({plain}, '[^\\s,;]+')"
                    yield Parsed(name, column, split, str)
            case "occurred_on" | "day":
                exact = f"regexp_full_match({plain}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}')"
                yield Parsed(name, column, f"CASE WHEN {exact} THEN TRY_CAST({plain} AS DATE) END", read_day)
            case "at":
                yield Parsed(name, column, _instant(column, plain), _read_time)
            case "outcome":
                cases = " ".join(f"WHEN {text(shown)} THEN {text(one)}" for shown, one in _OUTCOMES.items())
                yield Parsed(name, column, f"CASE {plain} {cases} END", _read_outcome)
            case _:
                yield Parsed(name, column, plain, str)


def _plain(column: Column, kind: str = "") -> str:
    """The text of a cell, NULL where it is blank; the apostrophe that an export puts before a formula is taken off."""
    cell = f"nullif(trim(CAST({column.sql} AS VARCHAR)), '')"
    if kind != "recoveries":
        return cell
    return f"regexp_replace({cell}, '^''([=+@\\t\\r\uff1d\uff0b\uff0d\uff20-])', '\\1')"


def _instant(column: Column, plain: str) -> str:
    """UTC microseconds; NULL where a clock on the wall was meant, which has no zone."""
    if column.type == "BIGINT":
        return column.sql
    if column.type.startswith("TIMESTAMP WITH"):
        return f"epoch_us({column.sql})"
    zoned = f"regexp_matches({plain}, '[0-9]([Zz]|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$') AND {plain} LIKE '%:%'"
    return f"CASE WHEN {zoned} THEN epoch_us(TRY_CAST({plain} AS TIMESTAMPTZ)) END"


def _day(day: str, local: str, draft: Policy) -> str:
    """The business day of a row that has no instant: the one it names, or that of the clock on its wall."""
    return f"coalesce({day}, CAST({local} - to_seconds({day_start_seconds(draft.day_starts)}) AS DATE))"


def _read_time(raw: str) -> None:
    raise Problem("RP013", f"`{raw[:40]}` is not a time", "write it like `2026-11-21T14:05:00Z` or `2026-11-21 14:05`")


def _read_outcome(raw: str) -> None:
    raise Problem("RP003", f"`{raw[:40]}` is not an outcome", did_you_mean(raw, _OUTCOMES))


# --- money ------------------------------------------------------------------------------------------------------------


def _money(connection: Any, name: str, column: Column, currency: str) -> str:
    """Minor units of an amount, exactly; NULL where it is blank or none. No float comes near it.

    What is written plainly is read in SQL, everything else by the parser that reads policies.
    """
    digits = digits_of(currency)
    if column.type in _WHOLE_TYPES or column.type.startswith("DECIMAL"):
        cell = f"CAST({column.sql} AS VARCHAR)"
        plain = f"rtrim(rtrim({cell}, '0'), '.')" if not column.type.endswith((",0)", "INT", "INTEGER")) else cell
        plain = f"CASE WHEN {column.sql} = 0 THEN '0' ELSE {plain} END"
    else:
        plain = _plain(column)
    fraction = f"(\\.[0-9]{{1,{digits}}})?" if digits else ""
    usual = f"regexp_full_match({plain}, '(0|[1-9][0-9]{{0,{13 - digits}}}){fraction}')"
    odd = connection.execute(
        f"SELECT DISTINCT {plain} AS cell FROM given WHERE {plain} IS NOT NULL AND NOT {usual}"
    ).fetchall()
    minor = f"CAST(CAST({plain} AS DECIMAL(18, {digits})) * {10**digits} AS BIGINT)"
    read = {cell: amount for (cell,) in odd if (amount := _amount(cell, currency)) is not None}
    table = word(f"odd_{name}")
    connection.execute(f"CREATE OR REPLACE TABLE {table} (cell VARCHAR, minor BIGINT)")
    if read:
        connection.execute(f"INSERT INTO {table} SELECT unnest($1), unnest($2)", [list(read), list(read.values())])
    return f"CASE WHEN {usual} THEN {minor} ELSE (SELECT minor FROM {table} WHERE cell = {plain}) END"


_WHOLE_TYPES = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")


def _amount(cell: str, currency: str) -> int | None:
    try:
        return read_money(cell, currency)
    except Problem:
        return None


def _refuse_doubles(plan: Mapping[str, Column], facts: Mapping[str, str]) -> None:
    money = [name for name in ("amount", "bill", "granted") if name in plan]
    money += [name for name, kind in facts.items() if kind == "money" and name in plan]
    cure = "amounts are exact: write the column as DECIMAL(18, 2), or the file as CSV"
    inexact = [
        Diagnostic(ILL_TYPED, "error", name, f"the column `{plan[name].shown}` is a {plan[name].type}", cure)
        for name in money
        if plan[name].type in ("DOUBLE", "FLOAT")
    ]
    if inexact:
        raise InvalidRequest(inexact)


# --- what cannot be read ----------------------------------------------------------------------------------------------


def _refuse_unreadable(connection: Any, file: HistoryFile, parsed: Mapping[str, Parsed]) -> None:
    """Raises InvalidRequest with the first of the cells that cannot be read, and how many there are."""
    problems, rows, count = [], [], 0
    for one in parsed.values():
        blank = one.name == "amount"
        unread = f"{one.sql} IS NULL AND {_plain(one.column)} IS NOT NULL"
        if one.name == "at":
            unread += f" AND TRY_CAST({_plain(one.column)} AS TIMESTAMP) IS NULL"
        fits = f"{unread} OR {_plain(one.column)} IS NULL" if blank else unread
        if one.column.shown.startswith("--set"):
            fits = f"_row = 1 AND ({fits})"
        chosen = f"SELECT _row, {_plain(one.column)}, count(*) OVER () FROM given WHERE {fits}"
        found = connection.execute(f"{chosen} ORDER BY 1 LIMIT {_MOST_PROBLEMS}").fetchall()
        count += found[0][2] if found else 0
        rows += [(row, one, raw) for row, raw, _ in found]
    rows.sort(key=lambda found: found[0])
    lines = _lines(Path(file.path), [row for row, *_ in rows[:_MOST_PROBLEMS]])
    for row, one, raw in rows[:_MOST_PROBLEMS]:
        where = one.column.shown if one.column.shown.startswith("--set") else f"{lines[row]}: {one.column.shown}"
        problems.append(from_reader(where, _problem(one, raw)))
    if count > len(problems):
        problems.append(
            Diagnostic(ILL_TYPED, "error", str(file.path), f"and {count - len(problems):,} more such cells")
        )
    if problems:
        raise InvalidRequest(problems)


def _problem(one: Parsed, raw: str | None) -> Problem:
    try:
        one.reader(raw or "")
    except Problem as problem:
        return problem
    return Problem("RP006", f"`{(raw or '')[:40]}` cannot be read", "write it plainly")


def _lines(path: Path, rows: Sequence[int]) -> dict[int, str]:
    """Where rows stand: the line of a CSV file, which a quoted line break makes another than the row."""
    if path.suffix.lower() == ".parquet" or not rows:
        return {row: f"{path} row {row:,}" for row in rows}
    wanted, found = set(rows), {}
    with path.open(encoding="utf-8-sig", newline="", errors="replace") as file:
        sample = file.readline()
        file.seek(0)
        delimiter = max(",;\t|", key=sample.count)
        reader, row, begins = csv.reader(file, delimiter=delimiter), -1, 1
        for cells in reader:
            row += bool(cells)
            if row in wanted:
                found[row] = f"{path}:{begins}"
            if len(found) == len(wanted):
                break
            begins = reader.line_num + 1
    return {row: found.get(row, f"{path} row {row:,}") for row in rows}


# --- what is to be said -----------------------------------------------------------------------------------------------


def _other_currency(connection: Any, draft: Policy) -> list[LeftOut]:
    other = f"currency IS NOT NULL AND upper(currency) <> {text(draft.currency)}"
    found = connection.execute(
        f"SELECT upper(currency), count(*) FROM asked WHERE {other} GROUP BY 1 ORDER BY 2 DESC, 1"
    ).fetchall()
    connection.execute(f"DELETE FROM asked WHERE {other}")
    return [LeftOut(f"asked in {code}, and the draft decides in {draft.currency}", count) for code, count in found]


def _said(kind: str, columns: Iterable[str], plan: Mapping[str, Column]) -> Iterator[str]:
    if kind == "recoveries":
        yield (
            "an export of recoveries holds no evidence, note or facts: all proof is taken to be on file and facts to "
            "have their defaults; an export of entries holds them (`recovery log export --entries`)"
        )
        return
    read = {column.shown for column in plan.values()}
    others = [column for column in columns if column not in read]
    if others:
        yield f"columns that are not read: {', '.join(others)}"
    if "case" not in plan and "receipt" not in plan:
        yield "no column says which requests are of one case: each is taken as a case of its own"
    if "evidence" not in plan:
        yield "no column says what proof was on file: none is taken to have been (--set evidence=receipt)"
    if "outcome" not in plan:
        yield "no column says what was answered then: there is no before, but for --against"
