"""What is taken out of a log is whole, safe to open, the same from every database, and can be proven by anybody."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pytest
from databases import fresh_database, new_role, postgres_admin
from small_logs import POLICY, TOKEN, microseconds, small_log, writing_engine
from sqlalchemy import text

from recovery_engine import InvalidRequest, LogError, Money, RecoveryEngine, RecoveryRequest
from recovery_engine.log.opening import sqlite_module
from recovery_engine.log.reading.filters import Filter
from recovery_engine.log.reading.recovery_log import RecoveryLog
from recovery_engine.log.tables import metadata
from recovery_engine.log.verification.verify import verify
from recovery_engine.log.views import AUDIT, ENTRY, MONEY

pytestmark = pytest.mark.slow

FORMATS = ["csv", "jsonl", "parquet"]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The small log, in each kind of database."""
    if request.param == "sqlite":
        yield small_log().write(f"sqlite:///{tmp_path_factory.mktemp('log')}/log.db")
        return
    with fresh_database(request.getfixturevalue("postgres_server")) as empty:
        yield small_log().write(empty)


@pytest.fixture
def log(url: str) -> Iterator[RecoveryLog]:
    with RecoveryLog.open(url) as opened:
        yield opened


def view(log: RecoveryLog, sql: str) -> list[dict[str, Any]]:
    """The rows of a view, money as the text that exports hold."""
    with log.transaction() as connection:
        found = [dict(row) for row in connection.execute(text(sql)).mappings()]
    money = {column.name for column in AUDIT if column.kind == MONEY}
    return [
        {name: f"{value:.2f}" if name in money and value is not None else value for name, value in row.items()}
        for row in found
    ]


def exported(log: RecoveryLog, what: Any, format: Any, wanted: Filter | None = None) -> bytes:
    out = io.BytesIO()
    log.export(what, format, out, wanted or Filter())
    return out.getvalue()


# --- recoveries and entries ---


def test_recoveries_as_csv_are_the_rows_of_the_view(log: RecoveryLog) -> None:
    found = list(csv.DictReader(io.StringIO(exported(log, "recoveries", "csv").decode())))
    shown = view(log, "SELECT * FROM recovery_audit ORDER BY business_day, asked_at, recovery")
    assert found == [{name: "" if cell is None else str(cell) for name, cell in row.items()} for row in shown]
    assert len(found) == 11


def test_recoveries_as_jsonl_are_the_rows_of_the_view(log: RecoveryLog) -> None:
    found = [json.loads(line) for line in exported(log, "recoveries", "jsonl").splitlines()]
    assert found == view(log, "SELECT * FROM recovery_audit ORDER BY business_day, asked_at, recovery")


def test_entries_as_jsonl_are_the_very_bytes_that_were_hashed(log: RecoveryLog) -> None:
    lines = exported(log, "entries", "jsonl").splitlines()
    assert [sha256(b"\0" + line).hexdigest() for line in lines] == [entry.leaf for entry in log.entries()]
    assert len(lines) == sum(small_log().sizes.values())


def test_entries_as_csv_are_the_rows_of_the_view(log: RecoveryLog) -> None:
    found = list(csv.DictReader(io.StringIO(exported(log, "entries", "csv").decode())))
    shown = view(log, "SELECT * FROM recovery_entry ORDER BY stream, seq")
    assert found == [{name: "" if cell is None else str(cell) for name, cell in row.items()} for row in shown]


def test_a_filter_leaves_the_other_recoveries_out_and_their_entries(log: RecoveryLog) -> None:
    wanted = Filter(status=("voided", "lapsed"))
    rows = [json.loads(line) for line in exported(log, "recoveries", "jsonl", wanted).splitlines()]
    entries = [json.loads(line) for line in exported(log, "entries", "jsonl", wanted).splitlines()]
    assert [row["recovery"] for row in rows] == ["r-06", "r-08"]
    assert [(entry["recovery"], entry["kind"]) for entry in entries] == [
        ("r-06", "decided"),
        ("r-06", "moved_up"),
        ("r-06", "lapsed"),
        ("r-08", "decided"),
        ("r-08", "voided"),
    ]
    assert exported(log, "recoveries", "csv", Filter(basis="owed")).count(b"\n") == 1


def test_a_filter_by_line_works_for_entries_too(log: RecoveryLog) -> None:
    lines = exported(log, "entries", "jsonl", Filter(line="employee-day", site="S002")).splitlines()
    assert {json.loads(line)["recovery"] for line in lines} == {"r-04"}


@pytest.mark.parametrize("what", ["recoveries", "entries"])
def test_every_database_gives_the_same_bytes(what: str, postgres_url: str, tmp_path: Path) -> None:
    urls = small_log().write(f"sqlite:///{tmp_path}/log.db"), small_log().write(postgres_url)
    for format in ("csv", "jsonl"):
        from_each = []
        for url in urls:
            with RecoveryLog.open(url) as log:
                from_each.append(exported(log, what, format))
        assert from_each[0] == from_each[1]


def test_a_mistake_is_named_before_anything_is_written(log: RecoveryLog, tmp_path: Path) -> None:
    for arguments in (("recoverys", "csv"), ("recoveries", "cvs"), ("recoveries", "csv", Filter(site="S01"))):
        what, format, *wanted = arguments
        with pytest.raises(InvalidRequest, match="did you mean"):
            log.export(what, format, tmp_path / "out", *wanted)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


# --- spreadsheets ---


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\uff1d"])
def test_a_text_that_would_be_a_formula_is_defused_in_csv_only(start: str, tmp_path: Path) -> None:
    evil = f"{start}HYPERLINK(A1)"
    made = small_log()
    made.states["r-01"] = made.states["r-01"]._replace(reason=evil, case_id="-7", granted_minor=-500)
    with RecoveryLog.open(made.write(f"sqlite:///{tmp_path}/log.db")) as log:
        cells = next(csv.DictReader(io.StringIO(exported(log, "recoveries", "csv").decode(), newline="")))
        assert (cells["reason"], cells["case_id"]) == (f"'{evil}", "'-7")
        assert cells["amount_granted"] == "-5.00", "a number stays one"
        assert json.loads(exported(log, "recoveries", "jsonl").splitlines()[0])["reason"] == evil
        log.export("recoveries", "parquet", tmp_path / "out.parquet")
    (found,) = duckdb.sql(f"SELECT reason FROM '{tmp_path}/out.parquet' WHERE recovery = 'r-01'").fetchall()
    assert found == (evil,)


# --- parquet ---


def test_parquet_has_types_that_add_up(log: RecoveryLog, tmp_path: Path) -> None:
    assert log.export("recoveries", "parquet", tmp_path / "out.parquet") == 11
    table = duckdb.sql(f"SELECT * FROM '{tmp_path}/out.parquet'")
    types = dict(zip(table.columns, map(str, table.types), strict=True))
    assert table.columns == [column.name for column in AUDIT]
    assert types["amount_granted"] == "DECIMAL(20,4)"
    assert types["asked_at"] == types["granted_at"] == "TIMESTAMP WITH TIME ZONE"
    assert (types["business_day"], types["asked_local_time"], types["log_seq"]) == ("DATE", "TIMESTAMP", "BIGINT")
    chosen = "amount_granted, epoch_us(asked_at) AS asked_us, business_day, asked_local_time, closed_at, receipt"
    found = duckdb.sql(f"SELECT {chosen} FROM '{tmp_path}/out.parquet' WHERE recovery = 'r-03'")
    cells = dict(zip(found.columns, *found.fetchall(), strict=True))
    assert cells["amount_granted"] == Decimal("80")
    assert cells["asked_us"] == microseconds("2026-11-02 12:00")
    assert cells["business_day"] == date(2026, 11, 2)
    assert cells["asked_local_time"] == datetime(2026, 11, 2, 12)
    assert cells["closed_at"] is None
    assert cells["receipt"] is None


def test_parquet_holds_the_largest_and_the_finest_amounts(tmp_path: Path) -> None:
    made = small_log()
    for name, currency, minor in (("r-01", "JPY", 2**53 - 1), ("r-02", "CLF", 2**53 - 1), ("r-03", "KWD", 1)):
        made.states[name] = made.states[name]._replace(currency=currency, granted_minor=minor)
    with RecoveryLog.open(made.write(f"sqlite:///{tmp_path}/log.db")) as log:
        log.export("recoveries", "parquet", tmp_path / "out.parquet")
    amounts = duckdb.sql(f"SELECT amount_granted FROM '{tmp_path}/out.parquet' ORDER BY recovery").fetchall()[:3]
    assert amounts == [(Decimal(2**53 - 1),), (Decimal(2**53 - 1).scaleb(-4),), (Decimal("0.001"),)]


def test_entries_in_parquet_keep_their_bodies(log: RecoveryLog, tmp_path: Path) -> None:
    log.export("entries", "parquet", tmp_path / "out.parquet")
    table = duckdb.sql(f"SELECT leaf, body FROM '{tmp_path}/out.parquet' ORDER BY stream, seq")
    for leaf, body in table.fetchall():
        assert sha256(b"\0" + body.encode()).hexdigest() == leaf
    assert [column.name for column in ENTRY] == duckdb.sql(f"SELECT * FROM '{tmp_path}/out.parquet'").columns


def test_line_breaks_quotes_and_the_longest_entry_come_through(tmp_path: Path) -> None:
    made = small_log()
    odd = ['"', "a\nb", "a\r\nb", ",", '","\r', '"\n"', "\u2028", "caf\u00e9", "a'b"]
    first = made.states["r-01"]
    for number in range(5_000):
        name = f"s-{number:04}"
        made.states[name] = first._replace(recovery=name, reason=odd[number % len(odd)], closed_reason="\n" * 300)
    long = b'{"a":"' + b'\\"' * 32_000 + b'"}'
    made.rows["recovery_log"][-1] |= {"body": long}
    with RecoveryLog.open(made.write(f"sqlite:///{tmp_path}/log.db")) as log:
        log.export("recoveries", "parquet", tmp_path / "out.parquet")
        log.export("entries", "parquet", tmp_path / "entries.parquet")
        text_rows = io.StringIO(exported(log, "recoveries", "csv").decode(), newline="")
        by_csv = {row["recovery"]: row["reason"] for row in csv.DictReader(text_rows)}
    by_parquet = dict(duckdb.sql(f"SELECT recovery, reason FROM '{tmp_path}/out.parquet'").fetchall())
    assert len(by_csv) == len(by_parquet) == len(made.states)
    for name, state in made.states.items():
        assert by_parquet[name] == state.reason
        assert by_csv[name] == (state.reason or "")
    (length,) = duckdb.sql(f"SELECT max(length(body)) FROM '{tmp_path}/entries.parquet'").fetchall()
    assert length == (len(long),)


def test_parquet_without_duckdb_says_what_to_install(log: RecoveryLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(LogError, match=r"pip install 'recovery-engine\[parquet\]'"):
        exported(log, "recoveries", "parquet")


def test_parquet_can_be_written_to_a_stream_and_under_an_odd_name(log: RecoveryLog, tmp_path: Path) -> None:
    odd = tmp_path / "it's 100% odd"
    odd.mkdir()
    log.export("recoveries", "parquet", odd / "it's.parquet")
    (odd / "stream.parquet").write_bytes(exported(log, "recoveries", "parquet"))
    for name in ("it's.parquet", "stream.parquet"):
        assert duckdb.read_parquet(str(odd / name)).select("recovery").fetchall()[10] == ("r-11",)
    assert sorted(path.name for path in odd.iterdir()) == ["it's.parquet", "stream.parquet"]


# --- never half written ---


class Pulled(Exception):
    """The plug, so to speak."""


def pull(_: int) -> None:
    raise Pulled


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_that_is_stopped_leaves_what_was_there(log: RecoveryLog, format: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("of last month")
    with pytest.raises(Pulled):
        log.export("recoveries", format, out, progress=pull)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert out.read_text() == "of last month"
    log.export("recoveries", format, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert out.read_bytes() != b"of last month"


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_tells_how_far_it_is(log: RecoveryLog, format: Any, tmp_path: Path) -> None:
    told: list[int] = []
    assert log.export("recoveries", format, tmp_path / "out", progress=told.append) == 11
    assert told[-1] == 11


@pytest.mark.parametrize("format", FORMATS)
def test_what_cannot_be_written_is_a_log_error(log: RecoveryLog, format: Any, tmp_path: Path) -> None:
    with pytest.raises(LogError, match="cannot write"):
        log.export("recoveries", format, tmp_path / "no" / "such" / "folder")


@pytest.mark.parametrize("format", FORMATS)
def test_a_database_is_never_written_over(format: Any, tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    small_log().write(f"sqlite:///{path}")
    before = path.read_bytes()
    with RecoveryLog.open(path) as log, pytest.raises(LogError, match="is a database"):
        log.export("recoveries", format, path)
    assert path.read_bytes() == before


def test_a_link_keeps_leading_where_it_led(log: RecoveryLog, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "real" / "out.csv")
    log.export("recoveries", "csv", tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real" / "out.csv").read_bytes().count(b"\n") == 12


# --- the whole log as one file ---


def contents(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite_module().connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in metadata.tables}


def schema(path: Path) -> set[tuple[str, str]]:
    with closing(sqlite_module().connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return set(connection.execute("SELECT type, sql FROM sqlite_master WHERE sql IS NOT NULL"))


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """The small log as an SQLite file."""
    path = tmp_path / "original.db"
    small_log().write(f"sqlite:///{path}")
    return path


def test_a_copy_has_every_row_and_every_guard_rail(log: RecoveryLog, original: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    rows = log.export_sqlite(copy, people=True)
    assert contents(copy) == contents(original)
    assert schema(copy) == schema(original)
    assert rows == sum(map(len, contents(original).values()))


def test_people_stay_behind_unless_asked_for(log: RecoveryLog, original: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    log.export_sqlite(copy)
    without = contents(original) | {"recovery_subject": [], "recovery_personal": []}
    assert contents(copy) == without
    raw = copy.read_bytes()
    assert b"Ann" not in raw
    assert b"K-1" not in raw
    assert TOKEN["K-1"].encode() in raw


def test_a_copy_is_one_file_that_needs_nothing_beside_it(log: RecoveryLog, tmp_path: Path) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    copy = folder / "copy.db"
    log.export_sqlite(copy)
    assert copy.read_bytes()[18:20] == b"\x01\x01", "no write-ahead log"
    with RecoveryLog.open(copy) as copied:
        assert list(copied.recoveries()) == list(log.recoveries())
        assert list(copied.entries()) == list(log.entries())
        assert copied.streams() == log.streams()
    assert [path.name for path in folder.iterdir()] == ["copy.db"]


def test_a_copy_cannot_be_written_by_mistake(log: RecoveryLog, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    log.export_sqlite(copy)
    assert copy.stat().st_mode & 0o777 == 0o444
    copy.chmod(0o644)
    with closing(sqlite_module().connect(str(copy))) as writing:
        for write in ("UPDATE recovery_log SET kind = 'x'", "DELETE FROM recovery_policy"):
            with pytest.raises(sqlite_module().IntegrityError, match="is never changed"):
                writing.execute(write)


def test_a_copy_with_people_in_it_is_for_its_owner_alone(log: RecoveryLog, tmp_path: Path) -> None:
    log.export_sqlite(tmp_path / "copy.db", people=True)
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o400


@pytest.mark.parametrize("ending", ["", "-wal", "-journal", "-shm"])
def test_a_copy_takes_nobodys_place(log: RecoveryLog, ending: str, tmp_path: Path) -> None:
    (tmp_path / f"copy.db{ending}").write_text("somebody's")
    with pytest.raises(LogError, match=f"copy.db{ending} is already there"):
        log.export_sqlite(tmp_path / "copy.db")
    assert (tmp_path / f"copy.db{ending}").read_text() == "somebody's"


def test_a_copy_that_is_stopped_leaves_nothing(log: RecoveryLog, tmp_path: Path) -> None:
    with pytest.raises(Pulled):
        log.export_sqlite(tmp_path / "copy.db", progress=pull)
    assert list(tmp_path.iterdir()) == []


def test_a_copy_that_cannot_be_written_is_a_log_error(log: RecoveryLog, tmp_path: Path) -> None:
    with pytest.raises(LogError, match="cannot write"):
        log.export_sqlite(tmp_path / "no" / "folder" / "copy.db")


def test_what_is_wrong_with_a_log_is_wrong_with_its_copy(original: Path, tmp_path: Path) -> None:
    with writing_engine(f"sqlite:///{original}").begin() as connection:
        connection.execute(text("DROP TRIGGER recovery_log_no_delete"))
        connection.execute(text("DELETE FROM recovery_log WHERE stream = 'site:S001' AND seq = 3"))
    with RecoveryLog.open(original) as log:
        log.export_sqlite(tmp_path / "copy.db", people=True)
    assert contents(tmp_path / "copy.db") == contents(original)


def test_a_copy_proves_like_the_original(log_url: str, tmp_path: Path) -> None:
    policies = tmp_path / "policy.yaml"
    policies.write_text(POLICY)
    with RecoveryEngine.open(log_url, policies) as engine:
        for number in range(3):
            given: dict[str, Any] = {"employee": "emp-1", "role": "associate", "site": "S001", "case": f"C-{number}"}
            given |= {"remedy": "refund", "category": "delay", "severity": "minor", "customer": "K-1", "note": "Ann"}
            engine.request(RecoveryRequest(id=f"a-{number}", amount=Money.of("12", "USD"), **given))
        engine.void("a-1", "given-twice", by="lead-1")
    with RecoveryLog.open(log_url) as log:
        log.export_sqlite(tmp_path / "copy.db", people=True)
    original, copied = verify(log_url), verify(tmp_path / "copy.db")
    assert copied.findings == original.findings == ()
    assert copied.heads == original.heads


def test_an_auditor_who_may_not_see_people_can_copy_the_log(postgres_url: str, tmp_path: Path) -> None:
    small_log().write(postgres_url)
    auditor = new_role(postgres_url, "auditor")
    with postgres_admin(postgres_url) as admin:
        admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {auditor}")
        admin.execute(f"REVOKE ALL ON recovery_subject, recovery_personal FROM {auditor}")
    with RecoveryLog.open(postgres_url.replace("postgres@", f"{auditor}@")) as log:
        log.export_sqlite(tmp_path / "copy.db")
        assert log.count(Filter(customer=TOKEN["K-1"])) == 2
        with pytest.raises(LogError, match="ask for `GRANT SELECT`"):
            log.count(Filter(customer="K-1"))
        with pytest.raises(LogError, match="ask for `GRANT SELECT`"):
            log.export_sqlite(tmp_path / "people.db", people=True)
    assert [path.name for path in tmp_path.iterdir()] == ["copy.db"]
