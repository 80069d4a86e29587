"""The views say in plain words what the log holds, with money as numbers, alike on every database and in any tool."""

import csv
import io
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from databases import conninfo, fresh_database
from small_logs import SmallLog, small_log, writing_engine
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from recovery_engine.log.opening import reader
from recovery_engine.log.views import AUDIT, ENTRY
from recovery_engine.money import CURRENCIES, decimal_text

AMOUNTS = [0, 1, 5, 99, 100, 1_850, 123_456_789, 10**15 - 1, 2**53 - 1]
TIMES = [0, 1, 999_999, 1_000_000, 1_795_301_906_123_456, 1_795_301_906_000_001, 4_102_444_799_999_999]
OFFSETS = [0, -21_600, 20_700, 50_400]


def log_of_extremes() -> SmallLog:
    """The small log, and a recovery for each currency and amount, and for each time and offset."""
    log = small_log()
    state = log.states["r-01"]
    for currency in sorted(CURRENCIES):
        for amount in AMOUNTS:
            name = f"money-{currency}-{amount}"
            log.states[name] = state._replace(
                recovery=name, currency=currency, asked_minor=amount, granted_minor=amount, bill_minor=None
            )
    for at_us in TIMES:
        for offset in OFFSETS:
            name = f"time-{at_us}-{offset}"
            log.states[name] = state._replace(recovery=name, at_us=at_us, utc_offset_s=offset, due_us=None)
    return log


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The log of extremes, in each kind of database."""
    if request.param == "sqlite":
        yield log_of_extremes().write(f"sqlite:///{tmp_path_factory.mktemp('log')}/log.db")
        return
    with fresh_database(request.getfixturevalue("postgres_server")) as empty:
        yield log_of_extremes().write(empty)


@pytest.fixture
def log(url: str) -> Iterator[Connection]:
    with reader(url).begin() as connection:
        yield connection


def rows(log: Connection, sql: str) -> list[dict[str, Any]]:
    return [{name: exact(value) for name, value in row.items()} for row in log.execute(text(sql)).mappings()]


def exact(value: Any) -> Any:
    """A number with a point as the decimal that is shown of it."""
    return Decimal(str(value)) if isinstance(value, float) else value


def test_every_recovery_and_every_entry_is_one_row(log: Connection) -> None:
    for view, table in (("recovery_audit", "recovery_state"), ("recovery_entry", "recovery_log")):
        (counts,) = rows(log, f"SELECT (SELECT count(*) FROM {view}) AS v, (SELECT count(*) FROM {table}) AS t")
        assert counts["v"] == counts["t"] > 0


def test_a_recovery_reads_like_a_sentence(log: Connection) -> None:
    (row,) = rows(log, "SELECT * FROM recovery_audit WHERE recovery = 'r-04'")
    said = {name: value for name, value in row.items() if value is not None}
    policy = small_log().policy.digest
    assert said == {
        **{"recovery": "r-04", "case_id": "C-r-04", "site": "S002", "business_day": "2026-11-03"},
        **{"asked_at": "2026-11-03T18:00:00.000000Z", "asked_local_time": "2026-11-03 12:00:00"},
        **{"employee": "emp-2", "employee_role": "associate", "remedy_asked": "refund", "category": "quality"},
        **{"severity": "minor", "basis": "goodwill", "currency": "USD", "amount_asked": 450},
        **{"decision": "sent to a higher role", "deciding_lines": "employee-day standard", "status": "granted"},
        **{"sent_to_role": "manager", "second_role": "manager", "approved_by": "mgr-1", "approver_role": "manager"},
        **{"granted_at": "2026-11-03T19:00:00.000000Z", "granted_on": "2026-11-03", "remedy_granted": "refund"},
        **{"amount_granted": 400, "policy_name": "diner", "policy_version": "2026.2", "policy_digest": policy},
        **{
            "second_person": "mgr-2",
            "questions": 0,
            "times_moved_up": 0,
            "matcher": "both",
            "log_stream": "site:S002",
            "log_seq": 3,
        },
    }


def test_every_outcome_is_in_words(log: Connection) -> None:
    found = rows(log, "SELECT DISTINCT decision FROM recovery_audit ORDER BY decision")
    assert [row["decision"] for row in found] == ["approved on the spot", "denied", "sent to a higher role"]


def test_money_has_the_digits_of_its_currency(log: Connection) -> None:
    """SQLite, which has no decimals, keeps 15 digits."""
    found = rows(log, "SELECT * FROM recovery_audit WHERE recovery LIKE 'money-%'")
    assert len(found) == len(CURRENCIES) * len(AMOUNTS)
    for row in found:
        _, currency, amount = row["recovery"].split("-")
        money = Decimal(decimal_text(int(amount), currency))
        if log.dialect.name == "sqlite" and int(amount) >= 10**15:
            assert abs(row["amount_asked"] - money) < 1
        else:
            assert row["amount_asked"] == row["amount_granted"] == money
        assert row["bill"] is None


def test_money_is_found_sorted_and_added_up_by_its_amount(log: Connection) -> None:
    euros = "FROM recovery_audit WHERE recovery LIKE 'money-EUR-%'"
    (found,) = rows(log, f"SELECT count(*) AS all_, sum(CASE WHEN amount_asked > 1 THEN 1 END) AS more {euros}")
    assert found == {"all_": len(AMOUNTS), "more": len([amount for amount in AMOUNTS if amount > 100])}
    assert len(rows(log, f"SELECT recovery {euros} AND amount_asked = 18.5")) == 1
    ordered = [row["recovery"] for row in rows(log, f"SELECT recovery {euros} ORDER BY amount_asked")]
    assert ordered == [f"money-EUR-{amount}" for amount in sorted(AMOUNTS)]
    (total,) = rows(log, f"SELECT sum(amount_asked) AS total {euros} AND amount_asked < 20")
    assert total["total"] == Decimal("20.55")


def test_nothing_is_written_through_a_view(url: str) -> None:
    for view, column in (("recovery_audit", "case_id"), ("recovery_entry", "kind")):
        for sql in (
            f"UPDATE {view} SET {column} = 'x'",
            f"DELETE FROM {view}",
            f"INSERT INTO {view} ({column}) VALUES ('x')",
        ):
            with (
                pytest.raises(DBAPIError, match=r"is a view|is never changed"),
                writing_engine(url).begin() as connection,
            ):
                connection.execute(text(sql))


def test_times_are_exact_to_the_microsecond(log: Connection) -> None:
    found = rows(log, "SELECT * FROM recovery_audit WHERE recovery LIKE 'time-%'")
    assert len(found) == len(TIMES) * len(OFFSETS)
    for row in found:
        at_us, offset = map(int, row["recovery"].removeprefix("time-").split("-", 1))
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)
        assert row["asked_at"] == f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"
        local = at.astimezone(timezone(timedelta(seconds=offset)))
        assert row["asked_local_time"] == f"{local:%Y-%m-%d %H:%M:%S}"
        assert row["due_at"] is None


def test_an_entry_shows_who_and_about_what_and_its_body_as_text(log: Connection) -> None:
    made = {(row["stream"], row["seq"]): row for row in small_log().rows["recovery_log"]}
    found = rows(log, "SELECT * FROM recovery_entry")
    assert len(found) == len(made)
    for row in found:
        entry = made[row["stream"], row["seq"]]
        assert (row["id"], row["kind"], row["leaf"]) == (entry["request_id"], entry["kind"], entry["leaf"].hex())
        assert row["body"].encode() == entry["body"]
    steps = [row for row in found if row["recovery"] == "r-06"]
    assert [(row["kind"], row["done_by"]) for row in sorted(steps, key=lambda row: row["seq"])] == [
        ("decided", "emp-1"),
        ("moved_up", None),
        ("lapsed", None),
    ]


def test_customers_stand_there_as_tokens_only(log: Connection) -> None:
    shown = str(rows(log, "SELECT * FROM recovery_audit WHERE recovery LIKE 'r-%'"))
    shown += str(rows(log, "SELECT * FROM recovery_entry"))
    assert "c_11111111111111111111" in shown
    assert "K-1" not in shown
    assert "Ann" not in shown


def test_no_column_needs_quotes(log: Connection) -> None:
    for view, columns in (("recovery_audit", AUDIT), ("recovery_entry", ENTRY)):
        names = ", ".join(column.name for column in columns)
        assert rows(log, f"SELECT {names} FROM {view} LIMIT 1")


def test_the_columns_are_the_same_on_every_database(log: Connection) -> None:
    for view, columns in (("recovery_audit", AUDIT), ("recovery_entry", ENTRY)):
        (row,) = rows(log, f"SELECT * FROM {view} LIMIT 1")
        assert list(row) == [column.name for column in columns]


def test_both_databases_show_the_same(postgres_url: str, tmp_path: Path) -> None:
    shown = []
    for made in (small_log().write(f"sqlite:///{tmp_path}/log.db"), small_log().write(postgres_url)):
        with reader(made).begin() as log:
            shown.append(
                rows(log, "SELECT * FROM recovery_audit ORDER BY recovery")
                + rows(log, "SELECT * FROM recovery_entry ORDER BY stream, seq")
            )
    assert shown[0] == shown[1]


SPOILT = {
    "no JSON": b"{{",
    "nothing": b"",
    "no UTF-8": b'{"by":"\xff"}',
    "a zero byte": b'{"by":"\0"}',
    "no object": b'["by"]',
    "a text that cannot be told": b'{"by":"\\u0000"}',
    "half a character": b'{"by":"\\ud800"}',
    "too deep": b"[" * 60_000,
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_entry_does_not_hide_the_others(log_url: str, what: str) -> None:
    url = small_log().write(log_url)
    with writing_engine(url).begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(text("DROP TRIGGER recovery_log_no_update"))
        else:
            connection.execute(text("ALTER TABLE recovery_log DISABLE TRIGGER recovery_log_no_change"))
        spoil = text("UPDATE recovery_log SET body = :body WHERE request_id = 'r-03'")
        connection.execute(spoil, {"body": SPOILT[what]})
    with reader(url).begin() as log:  # what SQLite tells is not always text to its driver
        names = "stream, seq, id, recovery" if log.dialect.name == "sqlite" else "*"
        found = rows(log, f"SELECT {names} FROM recovery_entry")
    assert len(found) == len(small_log().rows["recovery_log"])
    for row in found:
        assert (row["recovery"] is None) == (row["id"] == "r-03" or row["stream"] == "organisation" or row["seq"] == 0)


# --- in anybody's tools ---


def told_by_shell(command: list[str]) -> list[dict[str, str]]:
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"})
    return list(csv.DictReader(io.StringIO(ran.stdout)))


def by_sqlite3(url: str, sql: str) -> list[dict[str, str]]:
    return told_by_shell(["sqlite3", "-csv", "-header", url.removeprefix("sqlite:///"), sql])


def by_psql(url: str, sql: str) -> list[dict[str, str]]:
    return told_by_shell(["psql", "--csv", "-c", sql, conninfo(url)])


@pytest.mark.parametrize(("tool", "kind", "ask"), [("sqlite3", "sqlite", by_sqlite3), ("psql", "postgresql", by_psql)])
def test_the_views_open_in_the_shell_of_the_database(
    tool: str,
    kind: str,
    ask: Callable[[str, str], list[dict[str, str]]],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"`{tool}` is not installed")
    empty = f"sqlite:///{tmp_path}/log.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    url = small_log().write(empty)
    row, *_ = ask(url, "SELECT * FROM recovery_audit WHERE recovery = 'r-11'")
    assert (float(row["amount_granted"]), row["asked_at"]) == (120.5, "2026-12-01T16:00:00.000000Z")
    assert len(ask(url, "SELECT * FROM recovery_audit WHERE amount_granted > 200")) == 1
    row, *_ = ask(url, "SELECT * FROM recovery_entry WHERE recovery = 'r-11'")
    assert (row["kind"], row["done_by"]) == ("decided", "mgr-1")
