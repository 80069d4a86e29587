"""What an auditor asks of a log is answered alike on every database, and a mistake in a question is named."""

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from hashlib import sha256
from os import environ
from pathlib import Path
from statistics import median_low
from typing import Any

import pytest
from databases import fresh_database, postgres_admin
from small_logs import TOKEN, SmallLog, microseconds, small_log, writing_engine
from sqlalchemy import text

from recovery_engine import InvalidRequest, LogError, Money
from recovery_engine.log.opening import sqlite_module
from recovery_engine.log.reading.filters import Filter
from recovery_engine.log.reading.queries import AuditRow, recoveries
from recovery_engine.log.reading.recovery_log import RecoveryLog
from recovery_engine.log.tables import metadata

SCALE = int(environ.get("RECOVERY_TEST_SCALE", "1"))
ALL = [f"r-{number:02}" for number in range(1, 12)]


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


def usd(amount: str) -> Money:
    return Money.of(amount, "USD")


def ids(rows: Iterator[AuditRow]) -> list[str]:
    return [row.recovery for row in rows]


def complaints(log: RecoveryLog, **wanted: Any) -> str:
    with pytest.raises(InvalidRequest) as error:
        log.recoveries(Filter(**wanted))
    return str(error.value)


# --- which recoveries ---


def test_recoveries_come_by_business_day_then_time_then_id(log: RecoveryLog) -> None:
    rows = list(log.recoveries())
    assert [row.recovery for row in rows] == ALL
    assert rows[1].bday == "2026-10-31", "half past one at night still belongs to the day before"
    assert rows[7].at_us == rows[8].at_us


def test_a_row_holds_every_column_of_the_state_and_the_deciding_lines(log: RecoveryLog) -> None:
    state = metadata.tables["recovery_state"]
    assert AuditRow._fields == (*[column.name for column in state.columns], "lines")
    row = next(log.recoveries(Filter(case="C-r-03")))
    assert (row.asked, row.granted, row.lines) == (usd("80"), usd("80"), ("employee-day", "standard"))
    assert (row.customer, row.approver, row.status) == (TOKEN["K-1"], "lead-1", "fulfilled")
    assert next(log.recoveries(Filter(case="C-r-10"))).granted is None


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(), "01 02 03 04 05 06 07 08 09 10 11"),
        (Filter(site="S002"), "02 04"),
        (Filter(site=("S002", "S009")), "02 04 11"),
        (Filter(employee="emp-2"), "02 04"),
        (Filter(approver="lead-1"), "03"),
        (Filter(customer="K-1"), "01 03"),
        (Filter(customer=TOKEN["K-1"]), "01 03"),
        (Filter(customer=("K-1", TOKEN["K-2"])), "01 03 06"),
        (Filter(case="C-r-04"), "04"),
        (Filter(receipt="R-1"), "01"),
        (Filter(remedy="voucher"), "07"),
        (Filter(category="quality"), "04"),
        (Filter(severity="major"), "03"),
        (Filter(basis="owed"), ""),
        (Filter(outcome="deny"), "07"),
        (Filter(status=("lapsed", "pending")), "06 10"),
        (Filter(role="manager"), "11"),
        (Filter(matcher="both"), "01 02 03 04 05 06 07 08 09 10 11"),
        (Filter(line="employee-day"), "03 04"),
        (Filter(line=("employee-day", "never-twice")), "03 04 07"),
        (Filter(policy="diner"), "01 02 03 04 05 06 07 08 09 10 11"),
        (Filter(first_day=date(2026, 11, 5)), "07 08 09 10 11"),
        (Filter(last_day=date(2026, 10, 31)), "01 02"),
        (Filter(first_day=date(2026, 11, 4), last_day=date(2026, 11, 4)), "06"),
        (Filter(amount_from=usd("80"), amount_to=usd("120.50")), "03 11"),
        (Filter(amount_from=usd("400.01")), ""),
        (Filter(amount_to=usd("5")), "07 09"),
        (Filter(amount_from=Money.of("1", "EUR")), ""),
        (Filter(site="S001", status="granted", last_day=date(2026, 11, 1)), "01"),
    ],
    ids=str,
)
def test_a_filter_finds_what_fits(log: RecoveryLog, wanted: Filter, found: str) -> None:
    assert ids(log.recoveries(wanted)) == [f"r-{number}" for number in found.split()]
    assert log.count(wanted) == len(found.split())


def test_a_policy_is_named_by_name_label_both_or_digest(log: RecoveryLog) -> None:
    digest = small_log().policy.digest
    for word in ("diner", "2026.2", "diner 2026.2", digest[:4], digest[:12].upper(), digest):
        assert log.count(Filter(policy=word)) == 11
    assert "no recovery in this log has the policy" in complaints(log, policy=digest[:3])


def test_of_two_currencies_one_is_looked_at(tmp_path: Path) -> None:
    log = small_log()
    log.states["r-01"] = log.states["r-01"]._replace(currency="JPY", granted_minor=8000)
    with RecoveryLog.open(log.write(f"sqlite:///{tmp_path}/log.db")) as opened:
        assert ids(opened.recoveries(Filter(amount_from=usd("80"), amount_to=usd("80")))) == ["r-03"]
        assert ids(opened.recoveries(Filter(amount_from=Money(8000, "JPY")))) == ["r-01"]
        assert [part.word for part in opened.stats().parts["currency"]] == ["JPY", "USD"]
        assert [total.currency for total in opened.stats().median_granted] == ["JPY", "USD"]


def test_a_limit_stops_the_list(log: RecoveryLog) -> None:
    assert ids(log.recoveries(limit=3)) == ALL[:3]
    assert ids(log.recoveries(limit=0)) == []
    with pytest.raises(InvalidRequest, match="-1 recoveries"):
        log.recoveries(limit=-1)


# --- mistakes in a question ---


def test_every_unknown_word_is_named_with_the_nearest_known_one(log: RecoveryLog) -> None:
    said = complaints(
        log, site="S01", line="standrd", policy="2026.1", employee="emp-3", outcome="aprove", remedy=("refund", "refnd")
    )
    for word in ("`S001`", "`standard`", "`2026.2`", "`emp-2`", "`approve`", "`refund`"):
        assert f"did you mean {word}?" in said
    assert said.count("no recovery in this log has the") == 6


def test_a_word_that_only_the_policy_knows_finds_nothing_and_is_no_mistake(log: RecoveryLog) -> None:
    for wanted in (Filter(site="S003"), Filter(line="two-people"), Filter(status="withdrawn"), Filter(matcher="fault")):
        assert log.count(wanted) == 0


def test_an_id_that_looks_like_no_other_is_just_unknown(log: RecoveryLog) -> None:
    assert complaints(log, case="9999") == "case: error RQ001 no recovery in this log has the case `9999`"


def test_an_unknown_customer_does_not_bring_up_another_one(log: RecoveryLog) -> None:
    said = complaints(log, customer="K-3")
    assert "K-3" in said
    assert "K-1" not in said


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"site": 5}, "site: error RQ002 not a text"),
        ({"site": ()}, "site: error RQ002 not a text"),
        ({"site": ["S001"]}, "site: error RQ002 not a text"),
        ({"site": ("S001", "")}, "site: error RQ002 not a text"),
        ({"amount_from": "80"}, "amount_from: error RQ002 not an amount of money"),
        ({"first_day": "2026-11-01"}, "first_day: error RQ002 not a day"),
        ({"first_day": date(2026, 2, 1), "last_day": date(2026, 1, 1)}, "2026-01-01 is before 2026-02-01"),
        ({"amount_from": usd("5"), "amount_to": usd("4")}, "$4.00 is less than $5.00"),
        ({"amount_from": usd("5"), "amount_to": Money.of("9", "EUR")}, "from USD to EUR"),
        ({"site": 5, "first_day": 5, "remedy": "refnd"}, "refnd"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(log: RecoveryLog, wanted: dict[str, Any], message: str) -> None:
    assert message in complaints(log, **wanted)


def test_all_mistakes_are_told_at_once(log: RecoveryLog) -> None:
    assert len(complaints(log, site=5, first_day=5, amount_to="5", remedy="refnd").splitlines()) == 4


# --- a sample ---


def test_a_sample_can_be_drawn_again_by_anybody(log: RecoveryLog) -> None:
    drawn = log.sample(size=9, seed="audit 2026")
    assert drawn == log.sample(size=9, seed="audit 2026")
    assert drawn.population == 11
    rows = list(log.recoveries())
    for stratum in drawn.strata:
        alike = [row.recovery for row in rows if (row.outcome, row.status) == (stratum.outcome, stratum.status)]
        alike.sort(key=lambda name: sha256(f"audit 2026\n{name}".encode()).digest())
        chosen = [row.recovery for row in drawn.rows if row.recovery in alike]
        assert set(chosen) == set(alike[: stratum.drawn])
        assert stratum.population == len(alike)
    assert [row.recovery for row in drawn.rows] == sorted(row.recovery for row in drawn.rows)


def test_both_databases_and_no_others_give_this_sample(log: RecoveryLog) -> None:
    assert [row.recovery[2:] for row in log.sample(size=9, seed=1).rows] == "02 03 04 05 06 07 08 10 11".split()


def test_another_seed_draws_others(log: RecoveryLog) -> None:
    seeds = [log.sample(Filter(status="granted"), size=2, seed=seed) for seed in range(20)]
    assert {row.recovery for drawn in seeds for row in drawn.rows} == {"r-01", "r-04", "r-09", "r-11"}


def test_of_few_all_are_drawn(log: RecoveryLog) -> None:
    assert [row.recovery for row in log.sample(size=100, seed=1).rows] == ALL
    assert log.sample(Filter(basis="owed"), size=5, seed=1).rows == ()


def test_a_sample_without_one_of_each_kind_is_refused(log: RecoveryLog) -> None:
    with pytest.raises(InvalidRequest, match="give at least 9: there are approve/fulfilled"):
        log.sample(size=8, seed=1)
    with pytest.raises(InvalidRequest, match="a sample of 0"):
        log.sample(Filter(basis="owed"), size=0, seed=1)


def many(count: int) -> SmallLog:
    """A log of so many recoveries, of which one in a hundred is denied and the last one is pending."""
    log = small_log()
    first = log.states["r-01"]
    log.states, log.rows["recovery_line"] = {}, []
    for number in range(count):
        name = f"m-{number:07}"
        state = first._replace(recovery=name, at_us=first.at_us + number, case_id=f"C-{number}")
        if number % 100 == 0:
            state = state._replace(outcome="deny", status="denied")
        log.states[name] = state
        log.rows["recovery_line"].append({"recovery": name, "line": "standard"})
    log.states[name] = state._replace(outcome="escalate", status="pending")
    return log


def test_a_sample_is_proportional_with_at_least_one_of_each(tmp_path: Path) -> None:
    with RecoveryLog.open(many(2_001).write(f"sqlite:///{tmp_path}/log.db")) as log:
        for size in (3, 10, 57, 200, 1_999):
            drawn = log.sample(size=size, seed="x")
            assert len(drawn.rows) == sum(stratum.drawn for stratum in drawn.strata) == size
            for stratum in drawn.strata:
                fair = size * stratum.population / 2_001
                assert 1 <= stratum.drawn <= stratum.population
                assert fair - 3 < stratum.drawn < max(1, fair) + 1


# --- what they come to ---


def test_stats_add_up(log: RecoveryLog) -> None:
    rows = list(log.recoveries())
    told = log.stats()
    assert (told.recoveries, told.on_the_spot, told.on_the_spot_rate) == (11, 5, 5 / 11)
    words = {
        "outcome": lambda row: row.outcome,
        "status": lambda row: row.status,
        "remedy": lambda row: row.granted_remedy or row.remedy,
        "site": lambda row: row.site,
        "role": lambda row: row.role,
        "currency": lambda row: row.currency,
    }
    assert set(told.parts) == set(words)
    for name, word in words.items():
        parts = {part.word: part for part in told.parts[name]}
        assert {word: part.recoveries for word, part in parts.items()} == Counter(map(word, rows))
        for part in parts.values():
            mine = [row for row in rows if word(row) == part.word]
            stands = [row.granted_minor or 0 for row in mine if row.status in ("granted", "fulfilled")]
            voided = [row.granted_minor or 0 for row in mine if row.status == "voided"]
            assert part.asked.minor == sum(row.asked_minor for row in mine)
            assert (part.granted.minor, part.voided.minor) == (sum(stands), sum(voided))


def test_medians_are_of_what_was_given_and_of_how_long_it_took(log: RecoveryLog) -> None:
    rows, told = list(log.recoveries()), log.stats()
    assert told.median_granted == (Money(median_low(row.granted_minor for row in rows if row.granted), "USD"),)
    assert told.median_answer_s == median_low([270, 3_600, 120]), "r-03 and r-04 were granted, r-05 declined"
    assert told.median_fulfil_s == median_low([27_000, 330])


def test_of_nothing_there_is_no_rate_and_no_median(log: RecoveryLog) -> None:
    told = log.stats(Filter(basis="owed"))
    assert (told.recoveries, told.on_the_spot_rate, told.median_granted) == (0, None, ())
    assert (told.median_answer_s, told.median_fulfil_s) == (None, None)


# --- the report of every grant of at least so much ---


def test_the_report_lists_every_grant_of_the_month_that_comes_to_so_much(log: RecoveryLog) -> None:
    report = log.at_least(usd("20"), "2026-11")
    rows = list(report.grants)
    assert [(row.recovery, row.employee, row.approver, row.status) for row in rows] == [
        ("r-03", "emp-1", "lead-1", "fulfilled"),
        ("r-04", "emp-2", "mgr-1", "granted"),
        ("r-08", "emp-1", "emp-1", "voided"),
    ]
    assert rows[0].lines == ("employee-day", "standard")


def test_the_report_adds_up_by_person_and_counts_voids_apart(log: RecoveryLog) -> None:
    report = log.at_least(usd("20"), "2026-11")
    assert [total[:3] for total in report.by_employee] == [("emp-1", 1, usd("80")), ("emp-2", 1, usd("400"))]
    assert [total[3:] for total in report.by_employee] == [(1, usd("20")), (0, usd("0"))]
    assert [total.person for total in report.by_approver] == ["emp-1", "lead-1", "mgr-1"]
    assert (report.total.grants, report.total.granted, report.total.voided) == (2, usd("480"), usd("20"))
    assert ids(report.grants) == ["r-03", "r-04", "r-08"]


def test_the_month_is_of_business_days_of_the_grant(log: RecoveryLog) -> None:
    assert ids(log.at_least(usd("25"), "2026-10").grants) == ["r-02"], "granted on November 1, before the day began"
    assert ids(log.at_least(usd("25.01"), "2026-10").grants) == []
    assert ids(log.at_least(usd("0"), "2026-12").grants) == ["r-11"]
    assert ids(log.at_least(Money.of("1", "EUR"), "2026-11").grants) == []


def test_what_was_asked_for_in_one_month_and_granted_in_the_next_is_of_the_next(tmp_path: Path) -> None:
    made = SmallLog()
    made.ask("e-1", "2026-11-30 23:00", "80")
    made.approve("e-1", "2026-12-01 08:00", "lead-1", "lead")
    with RecoveryLog.open(made.write(f"sqlite:///{tmp_path}/log.db")) as log:
        assert ids(log.at_least(usd("80"), "2026-11").grants) == []
        assert ids(log.at_least(usd("80"), "2026-12").grants) == ["e-1"]


@pytest.mark.parametrize("month", ["2026-13", "2026-00", "2026-1", "November", "2026-11-01", "0000-01", ""])
def test_what_is_no_month_is_refused(log: RecoveryLog, month: str) -> None:
    with pytest.raises(InvalidRequest, match="is not a month"):
        log.at_least(usd("20"), month)


# --- the entries ---


def test_entries_come_whole_and_in_order(log: RecoveryLog) -> None:
    found = list(log.entries())
    assert [(entry.stream, entry.seq) for entry in found] == sorted((entry.stream, entry.seq) for entry in found)
    assert len(found) == sum(small_log().sizes.values())
    for entry in found:
        assert entry.leaf == sha256(b"\0" + entry.body).hexdigest()


def test_entries_of_one_stream_after_what_one_has(log: RecoveryLog) -> None:
    assert [entry.seq for entry in log.entries("site:S002")] == [0, 1, 2, 3, 4, 5]
    assert [entry.seq for entry in log.entries("site:S002", after=3)] == [4, 5]
    with pytest.raises(InvalidRequest, match="did you mean `site:S002`"):
        log.entries("site:S02")


def test_streams_say_how_far_they_have_come(log: RecoveryLog) -> None:
    made = small_log()
    heads = {head.stream: head for head in log.streams()}
    assert {name: head.size for name, head in heads.items()} == made.sizes
    for name, head in heads.items():
        *_, last = log.entries(name)
        assert head.last_leaf == last.leaf
        assert head.root == made.rows["recovery_log"][-1]["root"].hex() or name != "site:S009"


def test_a_frontier_that_cannot_be_is_tampering(tmp_path: Path) -> None:
    url = small_log().write(f"sqlite:///{tmp_path}/log.db")
    with writing_engine(url).begin() as connection:
        connection.execute(text("UPDATE recovery_stream SET size = size + 1 WHERE stream = 'site:S002'"))
    with RecoveryLog.open(url) as log, pytest.raises(LogError, match="stream `site:S002`"):
        log.streams()


# --- reading a long log ---


def test_a_long_log_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    count = 30_000 * SCALE
    with RecoveryLog.open(many(count).write(f"sqlite:///{tmp_path}/log.db")) as log:
        log.stats(), log.count(), log.sample(size=10, seed=1)
        tracemalloc.start()
        assert sum(1 for _ in log.recoveries()) == count
        log.stats(), log.sample(size=10, seed=1)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 8_000_000


def test_a_server_sends_rows_as_they_are_asked_for(postgres_url: str) -> None:
    with RecoveryLog.open(small_log().write(postgres_url)) as log, log.transaction() as connection:
        rows = recoveries(connection)
        next(rows)
        assert connection.execute(text("SELECT count(*) FROM pg_cursors")).scalar_one() == 1


def test_whoever_stops_early_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    small_log().write(f"sqlite:///{path}")

    def somebody_can_write() -> bool:
        with closing(sqlite_module().connect(str(path), timeout=0)) as writer:
            try:
                writer.execute("PRAGMA journal_mode=DELETE")  # where readers are in the way of writers
                writer.execute("BEGIN EXCLUSIVE")
            except sqlite_module().OperationalError:
                return False
            return True

    assert somebody_can_write()
    with RecoveryLog.open(path) as log:
        for _ in log.recoveries():
            break
        assert somebody_can_write(), "what nobody holds any more is closed"
        rows = log.recoveries()
        next(rows)
        assert not somebody_can_write()
        rows.close()
        assert somebody_can_write()
        with log.entries() as rows:
            next(rows)
            assert not somebody_can_write()
        assert somebody_can_write()
        grants = log.at_least(usd("1"), "2026-11").grants
        assert len(list(grants)) == 3
        assert somebody_can_write(), "whoever reads to the end has closed it"
        assert list(grants) == []
        left_open = log.recoveries()
        assert not somebody_can_write()
    assert somebody_can_write(), "closing the log closes what is open"
    assert list(left_open) == []


def test_a_damaged_file_is_a_log_error(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    many(2_000).write(f"sqlite:///{path}")
    with RecoveryLog.open(path) as log:
        half = path.stat().st_size // 2
        with path.open("r+b") as file:
            file.seek(half)
            file.write(b"\xff" * 40_000)
        with pytest.raises(LogError, match=r"log\.db: .*malformed.*take it from a backup"):
            list(log.recoveries())


def test_a_server_that_goes_away_is_a_log_error(postgres_url: str) -> None:
    with RecoveryLog.open(many(3_000).write(postgres_url)) as log:
        rows = log.recoveries()
        next(rows)
        with postgres_admin(postgres_url) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        with pytest.raises(LogError, match=r"test_.*terminat"):
            list(rows)
        assert list(rows) == []
        assert log.count() == 3_000


def test_times_of_the_small_log_are_the_sites() -> None:
    assert microseconds("2026-11-21 14:25:06.123456") == 1_795_292_706_123_456
