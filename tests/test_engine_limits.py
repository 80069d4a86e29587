"""What was given counts: per case, receipt, employee, customer and site, over business days, under any policy."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from engines import DAY, HOUR, POLICY, START, Clock, ask, assert_whole, dollars, entries, opened, rows

from recovery_engine import Money, Outcome, RecoveryEngine

pytestmark = pytest.mark.slow

TOP = "authority:\n  - {id: standard, up_to: {total: [10000, 20000, 50000]}}\n"
WIDE = "policy: shop\ncurrency: USD\nladder: [clerk, lead, manager]\n" + TOP


def budget(line: str, policy: str = WIDE) -> str:
    """A policy with one budget, which binds everybody."""
    return f"{policy}budgets:\n  - {{id: limit, {line}}}\n"


def at(text: str, zone: str = "UTC") -> int:
    """UTC microseconds of a wall-clock time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


def given(engine: RecoveryEngine, *requests: Any) -> list[str]:
    """The outcomes of requests, one after another."""
    return [str(engine.request(request).outcome) for request in requests]


@pytest.fixture
def engine(log_url: str) -> Iterator[RecoveryEngine]:
    with opened(log_url, POLICY) as engine:
        yield engine
    assert_whole(log_url)


# --- a case -----------------------------------------------------------------------------------------------------------


def test_splitting_over_requests_of_a_case_does_not_get_round_a_limit(engine: RecoveryEngine) -> None:
    split = [ask(f"r-{n}", 50, case="C-1", site=f"S{n}", employee=f"emp-{n}") for n in range(3)]
    assert given(engine, *split) == ["approve", "approve", "escalate"]


def test_cases_that_share_a_receipt_are_one(engine: RecoveryEngine) -> None:
    shared = [ask(f"r-{n}", 50, case=f"C-{n}", receipt="R-1") for n in range(3)]
    assert given(engine, *shared) == ["approve", "approve", "escalate"]
    assert given(engine, ask("r-9", 50, case="C-9", receipt="R-2")) == ["approve"]


def test_a_receipt_and_a_case_of_the_same_name_are_two(engine: RecoveryEngine) -> None:
    assert given(engine, ask("r-1", 100, case="X"), ask("r-2", 100, case="Y", receipt="X")) == ["approve", "approve"]


def test_what_waits_or_was_denied_counts_for_nothing(engine: RecoveryEngine) -> None:
    asked = [ask("r-1", 150, case="C-1"), ask("r-2", 501, case="C-1"), ask("r-3", 100, case="C-1")]
    assert given(engine, *asked) == ["escalate", "deny", "approve"]


def test_what_is_owed_uses_up_no_goodwill(log_url: str) -> None:
    owed = POLICY + "owed:\n  - {id: late, remedy: refund, amount: 80, on_top: true}\n"
    with opened(log_url, owed) as engine:
        claim = ask("r-1", 80, case="C-1", basis="owed")
        assert given(engine, claim, ask("r-2", 100, case="C-1")) == ["approve", "approve"]
        assert given(engine, ask("r-3", 1, case="C-1", basis="owed")) == ["deny"]
    assert [entry["counts"]["times"] for entry in entries(log_url, "decided") if "counts" in entry] == [0, 1]
    assert_whole(log_url)


def test_what_is_owed_uses_up_no_budget_either(log_url: str) -> None:
    policy = budget("per: customer, every: day, amount: 100") + (
        "owed:\n  - {id: late, remedy: refund, amount: 80, on_top: true}\n"
    )
    with opened(log_url, policy) as engine:
        for turn in range(3):
            assert given(engine, ask(f"o-{turn}", 80, customer="K-1", basis="owed")) == ["approve"]
        assert given(engine, ask("a", 60, customer="K-1"), ask("b", 41, customer="K-1")) == ["approve", "deny"]
    assert_whole(log_url)


def test_an_entry_says_what_its_decision_saw(engine: RecoveryEngine, log_url: str) -> None:
    given(engine, ask("r-1", 20, case="C-1"), ask("r-2", 30, case="C-1", remedy="voucher"), ask("r-3", 60, case="C-1"))
    seen = [entry["usage"]["case"] for entry in entries(log_url, "decided")]
    assert seen == [
        [],
        [["refund", "goodwill", 2000, 1]],
        [["refund", "goodwill", 2000, 1], ["voucher", "goodwill", 3000, 0]],
    ]


# --- budgets ----------------------------------------------------------------------------------------------------------


def test_an_employee_has_a_budget_for_a_day(log_url: str, clock: Clock) -> None:
    with opened(log_url, budget("per: employee, every: day, amount: 100"), clock=clock) as engine:
        assert given(engine, ask("a", 60), ask("b", 41), ask("c", 40), ask("d", 60, employee="emp-2")) == [
            *("approve", "escalate", "approve", "approve"),
        ]
        clock.now_us += DAY
        assert given(engine, ask("e", 100), ask("f", 1)) == ["approve", "escalate"]
    assert_whole(log_url)


def test_a_site_has_a_budget_for_a_month(log_url: str, clock: Clock) -> None:
    with opened(log_url, budget("per: site, every: month, amount: 100"), clock=clock) as engine:
        assert given(engine, ask("a", 60), ask("b", 60), ask("c", 60, site="S2")) == ["approve", "deny", "approve"]
        clock.now_us = at("2026-11-30 23:59:59")
        assert given(engine, ask("d", 41), ask("e", 40)) == ["deny", "approve"]
        clock.now_us = at("2026-12-01 00:00:00")
        assert given(engine, ask("f", 100)) == ["approve"]


@pytest.mark.parametrize(
    ("fields", "other"),
    [
        ({"customer": "K-1"}, {"customer": "K-2"}),
        ({"customer": "K-1", "receipt": "R-1"}, {"customer": "K-2", "receipt": "R-2"}),
        ({"receipt": "R-1"}, {"receipt": "R-2"}),
        ({"case": "C-1"}, {"case": "C-2"}),
    ],
    ids=["customer", "customer before receipt", "receipt", "case"],
)
def test_a_customer_has_a_budget_and_without_one_receipt_or_case_stands_in(
    log_url: str, clock: Clock, fields: dict[str, str], other: dict[str, str]
) -> None:
    with opened(log_url, budget("per: customer, every: 3 days, amount: 100"), clock=clock) as engine:
        assert given(engine, ask("a", 60, **fields)) == ["approve"]
        clock.now_us += 2 * DAY
        assert given(engine, ask("b", 41, **fields), ask("c", 100, **other)) == ["deny", "approve"]
        clock.now_us += DAY
        assert given(engine, ask("d", 100, **fields)) == ["approve"]
    assert_whole(log_url)


def test_times_count_cases_and_a_void_does_not_undo_the_count(log_url: str) -> None:
    with opened(log_url, budget("per: customer, every: 90 days, times: 2")) as engine:
        first = [ask(f"a-{n}", 1, customer="K-1", case="C-1") for n in range(3)]
        assert given(engine, *first) == ["approve"] * 3
        engine.void("a-0", "mistake", by="emp-1")
        assert given(engine, ask("b", 1, customer="K-1", case="C-2")) == ["approve"]
        assert given(engine, ask("c", 1, customer="K-1", case="C-3")) == ["deny"]
        assert given(engine, ask("d", 1, customer="K-1", case="C-2")) == ["approve"]
        assert given(engine, ask("e", 0, customer="K-1", case="C-4", remedy="apology")) == ["approve"]
    times = rows(log_url, "SELECT sum(times) FROM recovery_usage WHERE subject LIKE 'customer:%'")
    assert times[0][0] == 2
    assert_whole(log_url)


def test_a_budget_of_some_remedies_adds_up_those(log_url: str) -> None:
    with opened(log_url, budget("per: employee, every: day, amount: 100, when: {remedy: [voucher, points]}")) as engine:
        assert given(
            engine,
            *(ask("a", 500), ask("b", 60, remedy="voucher"), ask("c", 41, remedy="points"), ask("d", 500)),
            ask("e", 40, remedy="points"),
        ) == ["approve", "approve", "escalate", "approve", "approve"]


def test_a_budget_adds_up_its_own_currency_and_counts_cases_in_all(log_url: str) -> None:
    limits = budget("per: customer, every: day, amount: 100, times: 2")
    here = limits + "sites: {here: [S1]}\n"
    abroad = limits.replace("shop", "abroad").replace("USD", "EUR") + "sites: {abroad: [E1]}\n"
    with opened(log_url, here, abroad) as engine:
        away = ask("a", customer="K-1", site="E1")
        object.__setattr__(away, "amount", Money.of("90", "EUR"))
        assert given(engine, away, ask("b", 100, customer="K-1")) == ["approve", "approve"]
        assert given(engine, ask("c", 1, customer="K-1", case="C-b")) == ["deny"]
        assert given(engine, ask("d", 1, customer="K-1")) == ["deny"]
        engine.void("b", "mistake", by="emp-1")
        assert given(engine, ask("e", 1, customer="K-1"), ask("f", 1, customer="K-1", case="C-b")) == [
            "deny",
            "approve",
        ]
    assert_whole(log_url)


def test_a_void_counts_on_the_day_of_the_grant(log_url: str, clock: Clock) -> None:
    with opened(log_url, budget("per: employee, every: day, amount: 100"), clock=clock) as engine:
        given(engine, ask("a", 100))
        clock.now_us += DAY
        given(engine, ask("b", 60))
        engine.void("a", "mistake", by="emp-1")
        assert given(engine, ask("c", 41), ask("d", 40)) == ["escalate", "approve"]
    (voided,) = entries(log_url, "voided")
    assert (voided["bday"], voided["counts"]["bday"]) == ("2026-11-22", "2026-11-21")
    assert_whole(log_url)


def test_the_organisation_has_a_budget_where_the_log_tracks_it(log_url: str) -> None:
    policy = budget("per: organisation, every: day, amount: 100")
    with opened(log_url, policy, tracks=["organisation"]) as engine:
        asked = [ask(f"r-{n}", 40, site=f"S{n}", employee=f"emp-{n}") for n in range(3)]
        assert given(engine, *asked) == ["approve", "approve", "deny"]
        engine.void("r-0", "mistake", by="emp-1")
        assert given(engine, ask("r-9", 60, site="S9")) == ["approve"]
    assert all("organisation" in dict(entry["touches"]) for entry in entries(log_url, "decided"))
    assert_whole(log_url)


def test_a_budget_changed_today_already_knows_this_month(log_url: str, clock: Clock) -> None:
    with opened(log_url, WIDE, clock=clock) as engine:
        given(engine, ask("a", 60, remedy="voucher", customer="K-1"))
        clock.now_us += 3 * DAY
        given(engine, ask("b", 30, customer="K-1", case="C-2"))
    for line, left in (
        ("per: employee, every: month, amount: 100", 10),
        ("per: site, every: year, amount: 120", 30),
        ("per: customer, every: 90 days, amount: 150, when: {remedy: voucher}", 90),
        ("per: customer, every: 2 days, amount: 100", 70),
        ("per: employee, every: week, amount: 95", 65),
    ):
        with opened(log_url, budget(line), clock=clock) as engine:
            room = engine.headroom(
                employee="emp-1", role="clerk", site="S1", customer="K-1", remedies=["voucher"], case="C-9"
            )
            assert room == (("voucher", dollars(left)),), line


def test_an_engine_that_stays_open_learns_of_a_longer_budget(log_url: str, clock: Clock) -> None:
    with opened(log_url, budget("per: employee, every: day, amount: 100"), clock=clock) as till:
        given(till, ask("a", 90))
        clock.now_us += 20 * DAY
        given(till, ask("b", 5))
        with opened(log_url, budget("per: employee, every: 60 days, amount: 100"), clock=clock):
            pass
        assert given(till, ask("c", 6), ask("d", 5)) == ["escalate", "approve"]
    assert_whole(log_url)


def test_two_engines_see_what_the_other_gave(log_url: str) -> None:
    policy = budget("per: employee, every: day, amount: 100")
    with opened(log_url, policy) as one, opened(log_url, policy) as other:
        assert given(one, ask("a", 40)) == ["approve"]
        assert given(other, ask("b", 40)) == ["approve"]
        assert given(one, ask("c", 21), ask("d", 10)) == ["escalate", "approve"]
        assert given(other, ask("e", 11), ask("f", 10)) == ["escalate", "approve"]
        one.void("b", "mistake", by="emp-1")
        assert given(other, ask("g", 41), ask("h", 40)) == ["escalate", "approve"]
    assert_whole(log_url)


# --- business days ----------------------------------------------------------------------------------------------------

TOKYO_CHICAGO = (
    WIDE
    + "timezone: America/Chicago\ntimezones: {abroad: Asia/Tokyo}\nsites: {home: [S1], abroad: [S2]}\n"
    + 'day_starts: "04:00"\n'
)


@pytest.mark.parametrize(
    ("site", "local", "day"),
    [
        ("S1", "2026-11-21 03:59:59", "2026-11-20"),
        ("S1", "2026-11-21 04:00:00", "2026-11-21"),
        ("S2", "2026-11-21 03:59:59", "2026-11-20"),
        ("S2", "2026-11-21 04:00:00", "2026-11-21"),
        ("S1", "2027-01-01 03:59:59", "2026-12-31"),
        ("S1", "2026-11-01 04:00:00", "2026-11-01"),  # an hour after the clock was set back
        ("S1", "2027-03-14 03:59:59", "2027-03-13"),  # the clock was set forward
    ],
)
def test_a_business_day_follows_the_zone_of_the_site_and_the_hour_it_starts(
    log_url: str, site: str, local: str, day: str
) -> None:
    zone = {"S1": "America/Chicago", "S2": "Asia/Tokyo"}[site]
    clock = Clock(at(local, zone))
    with opened(log_url, budget("per: employee, every: day, amount: 100", TOKYO_CHICAGO), clock=clock) as engine:
        given(engine, ask("a", 100, site=site))
    (entry,) = entries(log_url, "decided")
    offset = datetime.fromtimestamp(clock.now_us // 1_000_000, UTC).astimezone(ZoneInfo(zone)).utcoffset()
    assert offset is not None
    assert (entry["bday"], entry["counts"]["bday"], entry["utc_offset_s"]) == (day, day, offset.total_seconds())


def test_a_day_has_25_hours_when_the_clock_is_set_back(log_url: str) -> None:
    clock = Clock(at("2026-10-31 04:00:00", "America/Chicago"))
    with opened(log_url, budget("per: employee, every: day, amount: 100", TOKYO_CHICAGO), clock=clock) as engine:
        assert given(engine, ask("a", 100)) == ["approve"]
        clock.now_us += 25 * HOUR - 1
        assert given(engine, ask("b", 1)) == ["escalate"]
        clock.now_us += 1
        assert given(engine, ask("c", 100)) == ["approve"]
    assert_whole(log_url)


def test_a_grant_dated_tomorrow_in_another_zone_counts_today_too(log_url: str) -> None:
    clock = Clock(at("2026-11-21 14:00:00", "America/Chicago"))  # in Tokyo it is already the 22nd
    with opened(log_url, budget("per: employee, every: day, amount: 100", TOKYO_CHICAGO), clock=clock) as engine:
        assert given(engine, ask("a", 60, site="S2")) == ["approve"]
        assert given(engine, ask("b", 41, site="S1"), ask("c", 40, site="S1")) == ["escalate", "approve"]
        assert given(engine, ask("d", 41, site="S2"), ask("e", 40, site="S2")) == ["escalate", "approve"]
    days = {entry["site"]: day for entry, day in ((e["request"], e["bday"]) for e in entries(log_url, "decided"))}
    assert days == {"S1": "2026-11-21", "S2": "2026-11-22"}
    assert_whole(log_url)


def test_the_largest_window_there_can_be_is_served(log_url: str) -> None:
    with opened(log_url, budget("per: employee, every: 3650 days, amount: 100")) as engine:
        assert given(engine, ask("a", 60), ask("b", 41)) == ["approve", "escalate"]


def test_budgets_of_more_periods_than_one_statement_reads(log_url: str, clock: Clock) -> None:
    policy = WIDE + "budgets:\n"
    policy += "".join(f"  - {{id: d{n:02}, per: employee, every: {n} days, amount: {200 - n}}}\n" for n in range(1, 33))
    with opened(log_url, policy, clock=clock) as engine:
        assert given(engine, ask("a", 60)) == ["approve"]
        clock.now_us += 20 * DAY
        assert given(engine, ask("b", 109), ask("c", 108)) == ["escalate", "approve"]
    assert entries(log_url, "decided")[1]["usage"]["budgets"] == [[f"d{n:02}", 6000, 1] for n in range(21, 33)]
    assert_whole(log_url)


def test_a_headroom_is_what_the_tightest_budget_leaves(log_url: str) -> None:
    policy = (
        budget("per: employee, every: day, amount: 100") + "  - {id: month, per: site, every: month, amount: 130}\n"
    )
    clock = Clock(START)
    with opened(log_url, policy, clock=clock) as engine:
        given(engine, ask("a", 90))
        room = {"employee": "emp-1", "role": "clerk", "site": "S1"}
        assert engine.headroom(**room) == (("refund", dollars(10)),)
        assert engine.headroom(**(room | {"employee": "emp-2"})) == (("refund", dollars(40)),)
        assert engine.headroom(**(room | {"site": "S2", "employee": "emp-2"})) == (("refund", dollars(100)),)
        assert engine.what_if(ask("", 11)).outcome == Outcome.ESCALATE
