"""The log in plain words and decimal money, for accountants: the columns of the views, and of what is exported.

The views open as they are in the sqlite3 shell (3.38 and later), psql, Datasette and BI tools.
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from recovery_engine.money import CURRENCIES, digits_of

Dialect = Literal["sqlite", "postgresql"]
TEXT, MONEY, TIME, LOCAL, DAY, NUMBER = "text", "money", "time", "local", "day", "number"


class Shown(NamedTuple):
    """A column for people: its name, its kind, and the SQL of its value in either dialect."""

    name: str
    kind: str
    sqlite: str
    postgresql: str

    def sql(self, dialect: Dialect) -> str:
        """The expression in a dialect."""
        return self.sqlite if dialect == "sqlite" else self.postgresql


def _plain(name: str, source: str = "", kind: str = TEXT) -> Shown:
    return Shown(name, kind, source or f"s.{name}", source or f"s.{name}")


def _time(name: str, source: str) -> Shown:
    """UTC microseconds as ISO 8601, such as ``2026-11-21T20:25:06.123456Z``."""
    sqlite = f"strftime('%Y-%m-%dT%H:%M:%S', {source} / 1000000, 'unixepoch') || printf('.%06dZ', {source} % 1000000)"
    return Shown(name, TIME, sqlite, _postgresql_time(source, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))


def _local_time(name: str, source: str, offset: str) -> Shown:
    sqlite = f"strftime('%Y-%m-%d %H:%M:%S', {source} / 1000000 + {offset}, 'unixepoch')"
    return Shown(name, LOCAL, sqlite, _postgresql_time(f"({source} + {offset} * 1000000)", "YYYY-MM-DD HH24:MI:SS"))


def _postgresql_time(source: str, shape: str) -> str:
    return f"to_char(timestamp '1970-01-01' + {source} * interval '1 microsecond', '{shape}')"


def _money(name: str, source: str) -> Shown:
    """Minor units as decimal text with the digits of the row's currency, such as ``18.50``."""
    return Shown(name, MONEY, _by_digits(source, _sqlite_decimal), _by_digits(source, _postgresql_decimal))


def _by_digits(source: str, decimal: Callable[[str, int], str]) -> str:
    """The currencies of ISO 4217 by how many digits they have; two where nothing else is said."""
    cases = []
    for digits in sorted({digits_of(currency) for currency in CURRENCIES} - {2}):
        named = ", ".join(f"'{currency}'" for currency in sorted(CURRENCIES) if digits_of(currency) == digits)
        cases.append(f"WHEN s.currency IN ({named}) THEN {decimal(source, digits)}")
    return "\n    ".join([f"CASE WHEN {source} IS NULL THEN NULL", *cases, f"ELSE {decimal(source, 2)} END"])


def _sqlite_decimal(source: str, digits: int) -> str:
    unit = 10**digits
    sign = f"CASE WHEN {source} < 0 THEN '-' ELSE '' END"
    if not digits:
        return f"CAST({source} AS TEXT)"
    return f"printf('%s%d.%0{digits}d', {sign}, abs({source}) / {unit}, abs({source}) % {unit})"


def _postgresql_decimal(source: str, digits: int) -> str:
    return f"CAST(round(CAST({source} AS numeric) / {10**digits}, {digits}) AS text)"


def _of_policy(name: str, column: str) -> Shown:
    return _plain(name, f"(SELECT min(p.{column}) FROM recovery_policy AS p WHERE p.digest = s.policy)")


_LINES_SQLITE = """(SELECT group_concat(line, ' ') FROM
      (SELECT l.line AS line FROM recovery_line AS l WHERE l.recovery = s.recovery ORDER BY l.line))"""
_LINES_POSTGRESQL = (
    "(SELECT string_agg(l.line, ' ' ORDER BY l.line) FROM recovery_line AS l WHERE l.recovery = s.recovery)"
)

LINES = Shown("deciding_lines", TEXT, _LINES_SQLITE, _LINES_POSTGRESQL)
"""The ids of the lines that decided, sorted, a space between them."""

_DECISION = """CASE s.outcome WHEN 'approve' THEN 'approved on the spot' WHEN 'escalate' THEN 'sent to a higher role'
    WHEN 'deny' THEN 'denied' ELSE s.outcome END"""

AUDIT: tuple[Shown, ...] = (
    _plain("recovery"),
    _plain("case_id"),
    _plain("site"),
    _plain("business_day", "s.bday", DAY),
    _time("asked_at", "s.at_us"),
    _local_time("asked_local_time", "s.at_us", "s.utc_offset_s"),
    _plain("employee"),
    _plain("employee_role", "s.role"),
    _plain("customer"),
    _plain("receipt"),
    _plain("remedy_asked", "s.remedy"),
    _plain("category"),
    _plain("severity"),
    _plain("reason"),
    _plain("basis"),
    _plain("occurred_on", kind=DAY),
    _plain("currency"),
    _money("amount_asked", "s.asked_minor"),
    _money("bill", "s.bill_minor"),
    _plain("decision", _DECISION),
    LINES,
    _plain("status"),
    _plain("sent_to_role", "s.to_role"),
    _plain("second_role"),
    _time("due_at", "s.due_us"),
    _plain("approved_by", "s.approver"),
    _plain("approver_role"),
    _plain("approved_in_name_of", "s.on_behalf"),
    _plain("second_person", "s.second_by"),
    _time("question_open_since", "s.question_us"),
    _plain("questions", kind=NUMBER),
    _plain("times_moved_up", "s.moves", NUMBER),
    _time("granted_at", "s.granted_us"),
    _plain("granted_on", "s.granted_bday", DAY),
    _plain("remedy_granted", "s.granted_remedy"),
    _money("amount_granted", "s.granted_minor"),
    _time("fulfilled_at", "s.fulfilled_us"),
    _plain("payment_reference", "s.reference"),
    _time("closed_at", "s.closed_us"),
    _plain("closed_by"),
    _plain("closed_reason"),
    _of_policy("policy_name", "name"),
    _of_policy("policy_version", "label"),
    _plain("policy_digest", "s.policy"),
    _plain("matcher"),
    _plain("log_stream", "s.stream"),
    _plain("log_seq", "s.seq", NUMBER),
)
"""One row per recovery, from ``recovery_state AS s``."""


# The views must still show the other entries when somebody has spoilt one.


def _of_body(name: str, field: str) -> Shown:
    body = "CAST(s.body AS TEXT)"
    sqlite = f"CASE WHEN json_valid({body}) THEN json_extract({body}, '$.{field}') END"
    return Shown(name, TEXT, sqlite, f"recovery_entry_field(s.body, '{field}')")


# PostgreSQL cannot be asked beforehand whether bytes are UTF-8, or JSON of which every text can be told.
_ENTRY_FIELD = """CREATE OR REPLACE FUNCTION recovery_entry_field(body bytea, field text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT AS
$$ BEGIN RETURN convert_from(body, 'UTF8')::json ->> field; EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$"""
_ENTRY_TEXT = """CREATE OR REPLACE FUNCTION recovery_entry_text(body bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT AS
$$ BEGIN RETURN convert_from(body, 'UTF8'); EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$"""


ENTRY: tuple[Shown, ...] = (
    _plain("stream"),
    _plain("seq", kind=NUMBER),
    _time("at", "s.at_us"),
    _plain("kind"),
    _plain("id", "s.request_id"),
    _of_body("done_by", "by"),
    _of_body("recovery", "recovery"),
    Shown("leaf", TEXT, "lower(hex(s.leaf))", "encode(s.leaf, 'hex')"),
    Shown("body", TEXT, "CAST(s.body AS TEXT)", "recovery_entry_text(s.body)"),
)
"""One row per entry, from ``recovery_log AS s``; ``by`` is called ``done_by``, because BY is a word of SQL."""


VIEWS = ("recovery_audit", "recovery_entry")


def view_statements(dialect: Dialect) -> Iterator[str]:
    """The statements that make the views ``recovery_audit`` and ``recovery_entry``."""
    if dialect == "postgresql":
        yield from (_ENTRY_FIELD, _ENTRY_TEXT)
    for view, table, columns in (
        ("recovery_audit", "recovery_state", AUDIT),
        ("recovery_entry", "recovery_log", ENTRY),
    ):
        listed = ",\n  ".join(f"{_in_view(column, dialect)} AS {column.name}" for column in columns)
        yield f"CREATE VIEW {view} AS SELECT\n  {listed}\nFROM {table} AS s"
        if dialect == "postgresql":  # it would write through a view that is as simple as these
            yield (
                f"CREATE TRIGGER {view}_no_change INSTEAD OF INSERT OR UPDATE OR DELETE ON {view} "
                "FOR EACH ROW EXECUTE FUNCTION recovery_never_changed()"
            )


def _in_view(column: Shown, dialect: Dialect) -> str:
    """Money is a number in the views: of texts, SQLite calls every one more than 100, and sorts 80.00 after 120.00."""
    sql = column.sql(dialect)
    return f"CAST({sql} AS NUMERIC)" if column.kind == MONEY else sql
