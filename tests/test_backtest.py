"""A back-test: what a draft would have said to history, read from the log, its exports, or any other file."""

import csv
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest
from making_history import written
from making_logs import FIRST, Making, asked, made

from recovery_engine import (
    BackTest,
    HistoryFile,
    InvalidRequest,
    LogError,
    Money,
    Outcome,
    Policy,
    PolicyError,
    RecoveryLog,
    backtest,
    parse_policy,
)
from recovery_engine.history.opening import history_of

pytestmark = pytest.mark.slow

COUNTER = """
policy: counter
version: "2"
effective: {from: 2030-01-01}
currency: USD
timezone: America/Chicago
day_starts: "04:00"
ladder: [associate, lead, manager]
remedies: [refund, voucher]
sites: [S1, S2]
facts: {days: {number: true, default: 0}}
authority:
  - {id: standard, up_to: {total: [100, 250, 500]}}
deny:
  - {id: late, when: {days: over 60}}
requires:
  - {id: receipt, when: {remedy: refund, amount: over 50}, evidence: [receipt]}
"""
HISTORY = """id,role,remedy,amount,evidence,days,employee,site,outcome,to,granted,at
a,associate,refund,100,receipt,3,ann,S1,approve,,100,2026-11-21T20:00:00Z
b,associate,refund,100.01,receipt,3,ann,S1,approve,,100.01,2026-11-22T09:59:59Z
c,associate,voucher,"$1,000.00",,3,bob,S2,escalate,manager,1000,2026-11-22T10:00:00Z
d,lead,refund,60,,3,bob,S2,deny,,0,2026-11-20T20:00:00Z
e,associate,voucher,20,,61,cy,S2,approve,,20,2026-11-23T20:00:00Z
"""


@pytest.fixture
def draft() -> Policy:
    return parse_policy(COUNTER)


def history(folder: Path, text: str = HISTORY) -> Path:
    path = folder / "history.csv"
    path.write_text(text, encoding="utf-8")
    return path


def refusals(error: pytest.ExceptionInfo[InvalidRequest]) -> list[str]:
    return [f"{found.where}: {found.message}" for found in error.value.diagnostics]


# --- what it says -----------------------------------------------------------------------------------------------------


def test_before_and_after_are_told_with_what_is_paid_without_a_second_look(draft: Policy, tmp_path: Path) -> None:
    found = backtest(draft, history(tmp_path))

    assert found.before is not None
    assert (found.before.on_the_spot, found.before.sent_to, found.before.denied) == (3, (("manager", 1),), 1)
    assert found.before.paid == Money.of("220.01", "USD")
    assert (found.after.on_the_spot, found.after.sent_to) == (1, (("lead", 1),))
    assert (found.after.denied, found.after.incomplete) == (2, 1)
    assert found.after.paid == Money.of("100", "USD")
    assert found.after.on_the_spot_rate == 0.2
    assert found.changed == 4
    assert {(shift.before.outcome, shift.after.outcome): shift.requests for shift in found.shifts} == {
        (Outcome.APPROVE, Outcome.APPROVE): 1,
        (Outcome.APPROVE, Outcome.ESCALATE): 1,
        (Outcome.ESCALATE, Outcome.DENY): 1,
        (Outcome.DENY, Outcome.INCOMPLETE): 1,
        (Outcome.APPROVE, Outcome.DENY): 1,
    }
    largest = found.changes[0]
    assert (largest.recovery, largest.amount, largest.before.to) == ("c", Money.of("1000", "USD"), "manager")
    assert [change.recovery for change in found.changes] == ["c", "b", "d", "e"]


def test_who_is_affected_most_comes_first(draft: Policy, tmp_path: Path) -> None:
    found = backtest(draft, history(tmp_path))

    assert [(one.word, one.requests, one.changed) for one in found.affected["employee"]] == [
        ("bob", 2, 2),
        ("ann", 2, 1),
        ("cy", 1, 1),
    ]
    (worst, _) = found.affected["site"]
    assert (worst.word, worst.on_the_spot_before, worst.on_the_spot) == ("S2", 1, 0)
    assert (worst.paid_before, worst.paid) == (Money.of("20", "USD"), Money.of("0", "USD"))


def test_a_policy_beside_it_stands_in_for_what_was_decided_then(draft: Policy, tmp_path: Path) -> None:
    generous = parse_policy(COUNTER.replace("[100, 250, 500]", "[150, 250, 500]"))

    found = backtest(generous, history(tmp_path), draft)

    assert found.before is not None
    assert (found.before.on_the_spot, found.after.on_the_spot) == (1, 2)
    assert [change.recovery for change in found.changes] == ["b"]
    assert found.against == draft.ref


def test_bins_hold_every_request_before_and_after(draft: Policy, tmp_path: Path) -> None:
    found = backtest(draft, history(tmp_path))

    assert sum(sum(one.after.values()) for one in found.bins) == 5
    assert sum(one.before[Outcome.APPROVE] for one in found.bins) == 3
    assert found.bins[0].low == Money.of("0", "USD")
    assert found.bins[-1].high is None


def test_what_changes_is_written_as_it_happened(draft: Policy, tmp_path: Path) -> None:
    for ending in ("csv", "jsonl", "parquet"):
        out = tmp_path / f"changed.{ending}"
        backtest(draft, history(tmp_path), changed=out)
        rows = duckdb.sql(f"SELECT recovery, amount::VARCHAR, after, after_to FROM '{out}'").fetchall()
        assert rows == [
            ("d", "60.00", "incomplete", None),
            ("b", "100.01", "escalate", "lead"),
            ("c", "1000.00", "deny", None),
            ("e", "20.00", "deny", None),
        ]


def test_a_name_that_a_spreadsheet_would_run_is_written_as_text(draft: Policy, tmp_path: Path) -> None:
    out = tmp_path / "changed.csv"
    backtest(draft, history(tmp_path, HISTORY.replace("ann", "=cmd()")), changed=out)

    assert "'=cmd()" in {row["employee"] for row in csv.DictReader(out.open())}


def test_days_choose_by_the_business_day_of_the_draft(draft: Policy, tmp_path: Path) -> None:
    """Chicago's day begins at four: b is one second before it, and still of the 21st."""
    found = backtest(draft, history(tmp_path), first_day=date(2026, 11, 21), last_day=date(2026, 11, 21))

    assert (found.requests, found.first_day, found.last_day) == (2, date(2026, 11, 21), date(2026, 11, 21))


def test_a_sample_is_the_same_for_the_same_seed_and_has_an_interval(draft: Policy, tmp_path: Path) -> None:
    requests = [asked(f"r-{at}", "40", remedy="voucher", site="S1", category=None, role="lead") for at in range(200)]
    file = written(tmp_path, requests)

    def drawn(seed: str) -> tuple[str, ...]:
        with history_of(draft, file, sample=(50, seed)) as some:
            return tuple(one for (one,) in some.connection.execute("SELECT recovery FROM history").fetchall())

    found = backtest(draft, file, sample=50, seed="s")

    assert (found.requests, found.population, found.is_sample) == (50, 200, True)
    low, high = found.after.on_the_spot_interval
    assert found.after.on_the_spot_rate == 1.0
    assert 0.92 < low < 0.93
    assert high == 1.0
    assert drawn("s") == drawn("s") != drawn("t")


def test_requests_that_keep_just_below_a_limit_are_noticed(draft: Policy, tmp_path: Path) -> None:
    rows = ["role,remedy,amount", *[f"associate,voucher,{amount}" for amount in (*range(1, 91), *[99] * 40, 105)]]
    found = backtest(draft, history(tmp_path, "\n".join(rows) + "\n"))

    (limit,) = found.bunching
    assert (limit.role, limit.limit, limit.requests) == ("associate", Money.of("100", "USD"), 131)
    assert (limit.before, limit.just_below, limit.just_above, limit.beyond) == (10, 40, 1, 0)
    assert limit.is_clear
    assert "40 of 131 requests (30.5 %) are in the last 10 % below it" in limit.text
    assert any("people ask for what they may give" in note for note in found.notes)


def test_amounts_spread_evenly_are_not_taken_for_bunching(draft: Policy, tmp_path: Path) -> None:
    rows = ["role,remedy,amount", *[f"associate,voucher,{amount}" for amount in range(1, 400)]]

    (limit,) = backtest(draft, history(tmp_path, "\n".join(rows) + "\n")).bunching

    assert not limit.is_clear


# --- the log and its exports ------------------------------------------------------------------------------------------


@pytest.fixture
def log(log_url: str, tmp_path: Path) -> Iterator[str]:
    with made(log_url, tmp_path / "policies"):
        yield log_url


def figures(found: BackTest) -> tuple[object, ...]:
    return found.requests, found.before, found.after, found.changed, found.first_day, found.last_day


def test_the_log_and_its_exported_entries_say_the_same(log: str, tmp_path: Path) -> None:
    draft = parse_policy(FIRST)
    with RecoveryLog.open(log) as opened:
        found = backtest(draft, opened)
        assert found.before is not None
        assert (found.requests, found.before.on_the_spot) == (20, 11)
        for format in ("jsonl", "csv", "parquet"):
            out = tmp_path / f"entries.{format}"
            opened.export("entries", format, out)  # type: ignore[arg-type]
            assert figures(backtest(draft, out)) == figures(found)
    assert found.bunching_under.name == "diner"


def test_an_export_of_recoveries_says_what_it_lacks(log: str, tmp_path: Path) -> None:
    draft = parse_policy(FIRST)
    for format in ("csv", "parquet"):
        out = tmp_path / f"recoveries.{format}"
        with RecoveryLog.open(log) as opened:
            opened.export("recoveries", format, out)  # type: ignore[arg-type]
            whole = backtest(draft, opened)
        found = backtest(draft, out)
        assert found.before is not None
        assert whole.before is not None
        assert (found.requests, found.before.on_the_spot, found.before.paid) == (20, 11, whole.before.paid)
        assert (found.first_day, found.last_day) == (whole.first_day, whole.last_day)
        assert any("holds no evidence, note or facts" in note for note in found.notes)


def test_entries_come_in_the_order_in_which_they_saw_each_other(tmp_path: Path) -> None:
    """A clock that was behind: what was asked later at another site has an earlier time."""
    making = Making(f"sqlite:///{tmp_path}/log.db", tmp_path / "policies")
    making.ask("first", "20", receipt="R-1", site="S001")
    making.clock.now_us -= 600_000_000
    making.ask("second", "20", receipt="R-1", site="S002")
    making.engine.close()
    with history_of(parse_policy(FIRST), f"sqlite:///{tmp_path}/log.db") as found:
        rows = found.connection.execute("SELECT recovery, at_us FROM history ORDER BY n").fetchall()

    assert [name for name, _ in rows] == ["first", "second"]
    assert rows[0][1] > rows[1][1]


def test_what_was_voided_was_not_granted(log: str) -> None:
    with history_of(parse_policy(FIRST), log) as found:
        rows = dict(found.connection.execute("SELECT recovery, granted FROM history").fetchall())

    assert (rows["r-01"], rows["r-02"], rows["r-04"], rows["r-07"]) == (1000, 0, 7000, 0)


def test_a_filtered_export_says_what_is_missing(log: str, tmp_path: Path) -> None:
    out = tmp_path / "entries.jsonl"
    with RecoveryLog.open(log) as opened:
        opened.export("entries", "jsonl", out)
    lines = [line for line in out.read_text().splitlines() if '"seq":3,"stream":"site:S001"' not in line]
    out.write_text("\n".join(lines) + "\n")

    notes = backtest(parse_policy(FIRST), out).notes

    assert "`site:S001` has no entry 3: was the export filtered?" in notes


def test_a_log_with_a_hole_is_refused(tmp_path: Path) -> None:
    import sqlite3

    with made(f"sqlite:///{tmp_path}/log.db", tmp_path / "policies"):
        pass
    with sqlite3.connect(tmp_path / "log.db") as spoilt:
        spoilt.execute("DROP TRIGGER recovery_log_no_delete")
        spoilt.execute("DELETE FROM recovery_log WHERE stream = 'site:S001' AND seq IN (3, 5)")

    with pytest.raises(LogError, match="`site:S001` has no entry 3, and 1 more are missing"):
        backtest(parse_policy(FIRST), f"sqlite:///{tmp_path}/log.db")


def test_an_empty_log_is_refused(tmp_path: Path) -> None:
    Making(f"sqlite:///{tmp_path}/log.db", tmp_path / "policies").engine.close()

    with pytest.raises(LogError, match="holds no request"):
        backtest(parse_policy(FIRST), f"sqlite:///{tmp_path}/log.db")


# --- who is left out --------------------------------------------------------------------------------------------------


def test_requests_that_the_draft_cannot_decide_are_counted_by_reason(draft: Policy, tmp_path: Path) -> None:
    odd = ("f,associate,vouchr,10,,0,ann,S1,,,,", "g,chief,refund,10,,0,ann,S1,,,,", "h,lead,refund,1,,0,ann,S9,,,,")
    found = backtest(draft, history(tmp_path, HISTORY + "\n".join(odd)))

    assert found.requests == 5
    assert {(one.requests, one.reason) for one in found.left_out} == {
        (1, "unknown remedy `vouchr` (did you mean `voucher`?)"),
        (1, "unknown role `chief`"),
        (1, "unknown site `S9`"),
    }


def test_a_draft_with_a_new_fact_that_history_lacks_decides_nothing(tmp_path: Path) -> None:
    asking = COUNTER.replace("default: 0", "").replace("{number: true, }", "{number: true}").replace("days", "visits")

    with pytest.raises(LogError, match="no visits, and `late` reads it"):
        backtest(parse_policy(asking), history(tmp_path))


def test_another_currency_is_left_out_and_counted(draft: Policy, tmp_path: Path) -> None:
    rows = "role,remedy,amount,currency\nlead,voucher,5,USD\nlead,voucher,7,EUR\nlead,voucher,8,eur\n"

    found = backtest(draft, history(tmp_path, rows))

    assert [tuple(one) for one in found.left_out] == [("asked in EUR, and the draft decides in USD", 2)]
    assert found.requests == 1


def test_policies_that_mean_different_things_by_a_fact_are_not_compared(draft: Policy, tmp_path: Path) -> None:
    other = parse_policy(COUNTER.replace("{number: true, default: 0}", "{money: true, default: 0}"))

    with pytest.raises(PolicyError, match="the fact `days` is not of the same kind in both"):
        backtest(draft, history(tmp_path), other)


# --- files that cannot be used ----------------------------------------------------------------------------------------


def test_every_cell_that_cannot_be_read_is_named_with_its_line(draft: Policy, tmp_path: Path) -> None:
    text = HISTORY.replace('"$1,000.00"', '"1\n2"').replace("a,associate,refund,100,", "a,associate,refund,1e3,")
    text = text.replace(",61,", ",many,").replace("2026-11-20T20:00:00Z", "yesterday").replace("deny", "no")

    with pytest.raises(InvalidRequest) as refused:
        backtest(draft, history(tmp_path, text))

    path = tmp_path / "history.csv"
    assert refusals(refused) == [
        f"{path}:2: amount: `1e3` is not an amount",
        f"{path}:4: amount: `1\n2` is not an amount",
        f"{path}:6: at: `yesterday` is not a time",
        f"{path}:6: outcome: `no` is not an outcome",
        f"{path}:7: days: `many` is not a whole number",
    ]


def test_a_blank_amount_is_a_mistake_and_a_blank_bill_is_not(draft: Policy, tmp_path: Path) -> None:
    rows = "role,remedy,amount,bill\nlead,voucher,,5\nlead,voucher,5,\n"

    with pytest.raises(InvalidRequest, match="a blank where an amount belongs"):
        backtest(draft, history(tmp_path, rows))


def test_a_line_that_is_no_row_is_named(draft: Policy, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as refused:
        backtest(draft, history(tmp_path, HISTORY + "f,lead,voucher,5\n"))

    assert f"{tmp_path}/history.csv:7" in str(refused.value)


def test_columns_that_are_missing_are_all_named_with_what_may_be_meant(draft: Policy, tmp_path: Path) -> None:
    file = history(tmp_path, "kind,amount_eur\nrefund,5\n")

    with pytest.raises(InvalidRequest) as refused:
        backtest(draft, HistoryFile(file, mapped={"bill": "billed", "amnt": "kind"}))

    assert refusals(refused) == [
        "amnt: `amnt` is no part of a request",
        "role: no column gives the role",
        "remedy: no column gives the remedy",
        "amount: no column gives the amount",
        "bill: no column `billed`",
    ]


def test_a_column_of_doubles_is_refused_and_decimals_and_whole_numbers_are_exact(draft: Policy, tmp_path: Path) -> None:
    out = tmp_path / "history.parquet"
    row = "SELECT 'lead' AS role, 'voucher' AS remedy, {} AS amount"
    duckdb.sql(f"COPY ({row.format('0.1::DOUBLE')}) TO '{out}'")
    with pytest.raises(InvalidRequest, match="the column `amount` is a DOUBLE"):
        backtest(draft, out)

    for amount, minor in {
        "18.5::DECIMAL(20,4)": 1850,
        "250": 25000,
        "0.07::DECIMAL(9,2)": 7,
        "'$1,234.5'": 123450,
    }.items():
        duckdb.sql(f"COPY ({row.format(amount)}) TO '{out}'")
        with history_of(draft, out) as found:
            assert found.connection.execute("SELECT amount FROM history").fetchone() == (minor,)

    duckdb.sql(f"COPY ({row.format('0.005::DECIMAL(9,3)')}) TO '{out}'")
    with pytest.raises(InvalidRequest, match=r"row 1: amount: .*more than 2 decimals"):
        backtest(draft, out)


def test_constants_and_mapped_columns_make_requests_of_any_file(tmp_path: Path) -> None:
    """Three rows of published retail refunds, which know nothing of roles."""
    rows = "case,customer,order,paid_back_to,amount_usd\nT-2-0,yusuf,#W1,credit,1285.12\n"
    rows += "T-5-1,mei,#W2,paypal,45.13\nT-11-3,mia,#W3,paypal,158.89\n"
    classic = parse_policy("policy: p\ncurrency: USD\nladder: [frontline, supervisor, manager]\n"
                           "authority:\n  - up_to: {total: [100, 250, 500]}\n")  # fmt: skip
    file = HistoryFile(history(tmp_path, rows), constants={"role": "frontline", "remedy": "refund"})

    found = backtest(classic, file)

    assert (found.after.on_the_spot, found.after.sent_to, found.after.denied) == (1, (("supervisor", 1),), 1)
    assert found.before is None
    assert "columns that are not read: order, paid_back_to" in found.notes


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("none.csv", None, "no such file"),
        ("history.txt", "x", "is no history"),
        ("empty.csv", "role,remedy,amount\n", "holds no request"),
        ("not.parquet", "x", "cannot read"),
    ],
)
def test_a_file_that_is_no_history_is_refused(
    draft: Policy, tmp_path: Path, name: str, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)

    with pytest.raises(LogError, match=said):
        backtest(draft, HistoryFile(tmp_path / name))


def test_options_that_mean_nothing_are_refused_together(draft: Policy, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as refused:
        backtest(
            draft,
            history(tmp_path),
            first_day=date(2026, 2, 1),
            last_day=date(2026, 1, 1),
            sample=0,
            changed=tmp_path / "changed.txt",
        )

    assert [found.where for found in refused.value.diagnostics] == ["until", "sample", "changed"]


def test_it_tells_how_far_it_is(draft: Policy, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []

    backtest(draft, history(tmp_path), progress=lambda *done: told.append(done))

    assert {what for what, _, _ in told} == {"deciding cells", "adding up"}


def test_people_with_limits_of_their_own_are_told_of(tmp_path: Path) -> None:
    from recovery_engine import OwnLimit

    making = Making(f"sqlite:///{tmp_path}/log.db", tmp_path / "policies")
    making.ask("r-1", "20", own_limit=OwnLimit(at_most=Money.of("5", "USD")))
    making.engine.close()

    found = backtest(parse_policy(FIRST), f"sqlite:///{tmp_path}/log.db")

    assert found.after.on_the_spot == 1
    assert any("1 requests of people with a limit of their own" in note for note in found.notes)
