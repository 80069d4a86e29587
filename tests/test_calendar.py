"""Business days at both sides of every border: midnight, a later start, clocks that change, the date line, years."""

import doctest
import os
import random
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from recovery_engine import parse_policy
from recovery_engine.log import calendar
from recovery_engine.log.calendar import (
    business_day,
    day_start_seconds,
    iso_utc,
    local_iso,
    offset_s,
    window_first,
    zone_of,
)

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))
often = settings(max_examples=300 * SCALE, deadline=None)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_US = 3_600_000_000

# Half-hour and two-hour changes, a skipped day, changes by decree, changes around Ramadan.
ZONES = """America/Chicago Europe/London Australia/Lord_Howe Pacific/Apia America/Sao_Paulo Africa/Casablanca
    Antarctica/Troll""".split()


def us(*when: int) -> int:
    """The microseconds of a moment in UTC."""
    return (datetime(*when, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)


def day_at(zone: str, at_us: int, day_starts: str = "00:00") -> str:
    return business_day(at_us, offset_s(zone, at_us), day_starts).isoformat()


def hours_of(zone: str, day: str, day_starts: str = "00:00") -> float:
    """How many hours count as a business day, looked at minute by minute."""
    noon = us(*date.fromisoformat(day).timetuple()[:3], 12)
    minutes = range(noon - 48 * HOUR_US, noon + 48 * HOUR_US, HOUR_US // 60)
    return sum(day_at(zone, at_us, day_starts) == day for at_us in minutes) / 60


# --- offsets ---


def offset_by_datetime(zone: str, at_us: int) -> int:
    offset = (EPOCH + timedelta(microseconds=at_us)).astimezone(ZoneInfo(zone)).utcoffset()
    return offset // timedelta(seconds=1)


@cache
def changes(zone: str) -> list[int]:
    """Every second from 1990 to 2037 at which the clocks of a zone change."""
    found = []
    hours = range(us(1990, 1, 1), us(2038, 1, 1), 6 * HOUR_US)
    offsets = [offset_by_datetime(zone, at_us) for at_us in hours]
    for index in range(1, len(offsets)):
        if offsets[index] != offsets[index - 1]:
            low, high = hours[index - 1] // 1_000_000, hours[index] // 1_000_000
            while high - low > 1:
                middle = (low + high) // 2
                same = offset_by_datetime(zone, middle * 1_000_000) == offsets[index - 1]
                low, high = (middle, high) if same else (low, middle)
            found.append(high)
    return found


@pytest.mark.parametrize("zone", ZONES)
def test_an_offset_is_right_to_the_microsecond_at_both_sides_of_every_change(zone: str) -> None:
    assert len(changes(zone)) > 20
    for second in changes(zone):
        before, after = second * 1_000_000 - 1, second * 1_000_000
        assert offset_s(zone, before) == offset_by_datetime(zone, before)
        assert offset_s(zone, after) == offset_by_datetime(zone, after)
        assert offset_s(zone, before) != offset_s(zone, after)


@pytest.mark.parametrize("zone", [*ZONES, "UTC", "Asia/Kolkata", "Asia/Kathmandu", "Pacific/Kiritimati"])
def test_an_offset_is_right_at_any_instant(zone: str) -> None:
    chance = random.Random(zone)
    for _ in range(2000 * SCALE):
        at_us = chance.randrange(us(1800, 1, 1), us(2200, 1, 1))
        assert offset_s(zone, at_us) == offset_by_datetime(zone, at_us)


def test_offsets_that_the_almanacs_give() -> None:
    assert offset_s("America/Chicago", us(2026, 11, 1, 7) - 1) == -5 * 3600
    assert offset_s("America/Chicago", us(2026, 11, 1, 7)) == -6 * 3600
    assert offset_s("Europe/London", us(2026, 3, 29, 1) - 1) == 0
    assert offset_s("Europe/London", us(2026, 3, 29, 1)) == 3600
    assert offset_s("Australia/Lord_Howe", us(2026, 4, 4, 15) - 1) == 11 * 3600
    assert offset_s("Australia/Lord_Howe", us(2026, 4, 4, 15)) == 10 * 3600 + 1800
    assert offset_s("Asia/Kathmandu", us(2026, 1, 1)) == 5 * 3600 + 45 * 60
    assert offset_s("Pacific/Kiritimati", us(2026, 1, 1)) == 14 * 3600
    assert offset_s("UTC", 0) == 0


def test_an_offset_may_have_seconds() -> None:
    assert offset_s("America/Chicago", us(1850, 1, 1)) == -(5 * 3600 + 50 * 60 + 36)
    assert offset_s("Africa/Monrovia", us(1971, 1, 1)) == -(44 * 60 + 30)


def test_an_unknown_zone_is_an_error() -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        offset_s("America/Nowhere", 0)


@pytest.mark.parametrize("at_us", [us(1, 1, 1) - 1, us(9999, 12, 31) + 24 * HOUR_US, 10**30, -(10**30)])
def test_an_instant_outside_the_calendar_is_an_error(at_us: int) -> None:
    for reader in (lambda: offset_s("UTC", at_us), lambda: business_day(at_us, 0, "00:00")):
        with pytest.raises(ValueError, match="the day is not in the years 1 to 9999"):
            reader()
    for reader in (lambda: iso_utc(at_us), lambda: local_iso(at_us, 0)):
        with pytest.raises(ValueError, match="the day is not in the years 1 to 9999"):
            reader()


def test_the_clock_of_a_zone_may_be_outside_the_calendar_before_utc_is() -> None:
    with pytest.raises(ValueError, match="years 1 to 9999"):
        offset_s("Asia/Tokyo", us(9999, 12, 31, 20))
    assert offset_s("UTC", us(9999, 12, 31, 20)) == 0


# --- business days ---


def test_a_day_starts_at_its_first_microsecond() -> None:
    assert business_day(us(2026, 11, 21) - 1, 0, "00:00") == date(2026, 11, 20)
    assert business_day(us(2026, 11, 21), 0, "00:00") == date(2026, 11, 21)
    assert business_day(us(2026, 11, 21, 4) - 1, 0, "04:00") == date(2026, 11, 20)
    assert business_day(us(2026, 11, 21, 4), 0, "04:00") == date(2026, 11, 21)


@often
@given(
    st.datetimes(),
    st.integers(-86_399, 86_399),
    st.integers(0, 1439).map(lambda minutes: f"{minutes // 60:02}:{minutes % 60:02}"),
)
@example(datetime(1970, 1, 1), 0, "00:00")
@example(datetime(1969, 12, 31, 23, 59, 59, 999_999), 0, "00:00")
@example(datetime(1, 1, 1), 3600, "01:00")
@example(datetime(9999, 12, 31, 23, 59, 59, 999_999), -1, "23:59")
def test_a_business_day_is_the_date_of_the_clock_or_the_day_before(now: datetime, ahead: int, day_starts: str) -> None:
    at_us = (now.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    try:
        clock = now + timedelta(seconds=ahead)
        day = clock.date() - timedelta(days=1 if clock.time() < time.fromisoformat(day_starts) else 0)
    except OverflowError:
        with pytest.raises(ValueError, match="years 1 to 9999"):
            business_day(at_us, ahead, day_starts)
    else:
        assert business_day(at_us, ahead, day_starts) == day


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/Chicago", "2026-03-07", 24),
        ("America/Chicago", "2026-03-08", 23),
        ("America/Chicago", "2026-11-01", 25),
        ("America/Chicago", "2026-11-02", 24),
        ("Europe/London", "2026-03-29", 23),
        ("Europe/London", "2026-10-25", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("Antarctica/Troll", "2026-03-29", 22),
        ("Antarctica/Troll", "2026-10-25", 26),
        ("America/Sao_Paulo", "2018-11-04", 23),
        ("UTC", "2026-03-29", 24),
    ],
)
def test_days_on_which_clocks_change_are_shorter_or_longer(zone: str, day: str, hours: float) -> None:
    assert hours_of(zone, day) == hours


def test_a_day_that_starts_at_four_has_the_change_of_the_next_morning() -> None:
    assert hours_of("America/Chicago", "2026-03-07", "04:00") == 23
    assert hours_of("America/Chicago", "2026-03-08", "04:00") == 24
    assert hours_of("America/Chicago", "2026-10-31", "04:00") == 25
    assert hours_of("America/Chicago", "2026-11-01", "04:00") == 24
    assert hours_of("Australia/Lord_Howe", "2026-10-03", "04:00") == 23.5
    assert day_at("America/Chicago", us(2026, 3, 8, 9) - 1, "04:00") == "2026-03-07"
    assert day_at("America/Chicago", us(2026, 3, 8, 9), "04:00") == "2026-03-08"
    assert day_at("America/Chicago", us(2026, 11, 1, 10) - 1, "04:00") == "2026-10-31"
    assert day_at("America/Chicago", us(2026, 11, 1, 10), "04:00") == "2026-11-01"


def test_a_start_that_the_clock_leaps_over_is_the_next_time_it_shows() -> None:
    three = us(2026, 3, 8, 8)  # the clock goes from 01:59:59 to 03:00
    assert day_at("America/Chicago", three - 1, "02:30") == "2026-03-07"
    assert day_at("America/Chicago", three, "02:30") == "2026-03-08"


def test_a_start_that_the_clock_shows_twice_begins_the_day_twice() -> None:
    first, second = us(2026, 11, 1, 6, 30), us(2026, 11, 1, 7, 30)  # 01:30, and an hour later 01:30 again
    days = [day_at("America/Chicago", at_us, "01:30") for at_us in (first - 1, first, second - 1, second)]
    assert days == ["2026-10-31", "2026-11-01", "2026-10-31", "2026-11-01"]


def test_the_same_instant_is_two_days_at_the_two_sides_of_the_date_line() -> None:
    at_us = us(2026, 11, 21, 10, 30)
    assert day_at("Pacific/Kiritimati", at_us) == "2026-11-22"
    assert day_at("UTC", at_us) == "2026-11-21"
    assert day_at("Pacific/Pago_Pago", at_us) == "2026-11-20"


def test_a_day_that_a_country_left_out_has_no_instant() -> None:
    assert hours_of("Pacific/Apia", "2011-12-29") == 24
    assert hours_of("Pacific/Apia", "2011-12-30") == 0
    assert hours_of("Pacific/Apia", "2011-12-31") == 24


@pytest.mark.parametrize(
    ("day_starts", "seconds"), [("00:00", 0), ("00:01", 60), ("04:00", 14_400), ("10:09", 36_540), ("23:59", 86_340)]
)
def test_the_start_of_a_day_in_seconds(day_starts: str, seconds: int) -> None:
    assert day_start_seconds(day_starts) == seconds


@pytest.mark.parametrize("text", ["", "4:00", "24:00", "04:60", "04:00:00", "04-00", "04:00\n", "\u0660\u0664:00"])
def test_what_is_no_time_of_day_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time of day"):
        day_start_seconds(text)


# --- zones of sites ---

POLICY = """
policy: hotels
currency: USD
timezone: America/Chicago
ladder: [frontline, manager]
authority: [{up_to: {total: [100, 250]}}]
"""


def test_a_site_has_the_zone_of_its_group_or_of_the_policy() -> None:
    policy = parse_policy(
        POLICY + "sites: {own: [S001], west: [S002, S003], east: [S004]}\n"
        "timezones: {west: America/Denver, east: America/New_York}\n"
    )
    zones = {site: zone_of(policy, site) for site in ("S001", "S002", "S003", "S004", "S999", None)}
    assert zones == {
        "S001": "America/Chicago",
        "S002": "America/Denver",
        "S003": "America/Denver",
        "S004": "America/New_York",
        "S999": "America/Chicago",
        None: "America/Chicago",
    }


def test_without_other_zones_every_site_has_that_of_the_policy() -> None:
    for sites in ("", "sites: [S001]\n", "sites: {own: [S001]}\n"):
        policy = parse_policy(POLICY + sites)
        assert zone_of(policy, "S001") == zone_of(policy, None) == "America/Chicago"


def test_a_policy_that_names_no_zone_counts_days_in_utc() -> None:
    policy = parse_policy(POLICY.replace("timezone: America/Chicago\n", ""))
    assert zone_of(policy, "S001") == "UTC"
    assert offset_s(zone_of(policy, "S001"), us(2026, 7, 1)) == 0


# --- windows ---


@pytest.mark.parametrize(
    ("day", "every", "first"),
    [
        ("2026-11-21", "day", "2026-11-21"),
        ("2026-11-21", "week", "2026-11-16"),
        ("2026-11-16", "week", "2026-11-16"),
        ("2026-11-22", "week", "2026-11-16"),
        ("2027-01-01", "week", "2026-12-28"),
        ("2026-11-21", "month", "2026-11-01"),
        ("2028-02-29", "month", "2028-02-01"),
        ("2028-03-31", "month", "2028-03-01"),
        ("2026-11-21", "year", "2026-01-01"),
        ("2028-12-31", "year", "2028-01-01"),
        ("2026-11-21", "1 days", "2026-11-21"),
        ("2026-11-21", "7 days", "2026-11-15"),
        ("2026-11-21", "90 days", "2026-08-24"),
        ("2028-03-01", "2 days", "2028-02-29"),
        ("2027-03-01", "2 days", "2027-02-28"),
        ("2028-12-31", "366 days", "2028-01-01"),
        ("0001-01-05", "week", "0001-01-01"),
        ("0001-01-05", "9999 days", "0001-01-01"),
        ("0001-01-01", "week", "0001-01-01"),
        ("9999-12-31", "week", "9999-12-27"),
    ],
)
def test_the_first_day_of_a_window(day: str, every: str, first: str) -> None:
    assert window_first(date.fromisoformat(day), every).isoformat() == first


@often
@given(st.dates(), st.integers(1, 9999))
def test_a_window_of_days_holds_so_many_days(day: date, days: int) -> None:
    assume(day.toordinal() >= days)
    assert (day - window_first(day, f"{days} days")).days + 1 == days


@often
@given(st.dates())
def test_a_week_is_the_week_of_iso_8601(day: date) -> None:
    first = window_first(day, "week")
    assert first.isocalendar()[:2] == day.isocalendar()[:2]
    assert first.isoweekday() == 1


@often
@given(st.dates(), st.dates(), st.sampled_from(["day", "week", "month", "year", "1 days", "90 days"]))
def test_a_later_day_never_has_an_earlier_window(one: date, other: date, every: str) -> None:
    early, late = sorted((one, other))
    assert window_first(early, every) <= window_first(late, every) <= late


def test_every_period_that_a_budget_may_name_has_a_window() -> None:
    periods = ["day", "week", "month", "year", "1 day", "1 days", "90 days", "9999 days"]
    lines = "".join(f"  - {{per: site, every: {period}, amount: 100}}\n" for period in periods)
    policy = parse_policy(f"{POLICY}budgets:\n{lines}")
    firsts = [window_first(date(2028, 3, 14), line.every).isoformat() for line in policy.budgets]
    assert firsts[:4] == ["2028-03-14", "2028-03-13", "2028-03-01", "2028-01-01"]
    assert firsts[4:] == ["2028-03-14", "2028-03-14", "2027-12-16", "2000-10-29"]


@pytest.mark.parametrize("every", ["", "days", "0 days", "-1 days", "10000 days", "quarter", "Week", "7 days "])
def test_what_is_no_period_is_an_error(every: str) -> None:
    with pytest.raises(ValueError, match="is not a period"):
        window_first(date(2026, 11, 21), every)


# --- as text ---


@often
@given(st.datetimes(timezones=st.just(UTC)))
def test_the_text_of_an_instant_is_the_instant(now: datetime) -> None:
    at_us = (now - EPOCH) // timedelta(microseconds=1)
    text = iso_utc(at_us)
    assert len(text) == 27
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == now


@often
@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)), st.integers(-86_399, 86_399))
@example(datetime(1969, 12, 31, 23, 59, 59, 999_999), -1)
@example(datetime(1850, 1, 1), -21_036)
def test_the_text_of_a_local_clock_is_the_second_that_has_begun(now: datetime, ahead: int) -> None:
    at_us = (now.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    clock = now.replace(microsecond=0, tzinfo=UTC).astimezone(timezone(timedelta(seconds=ahead)))
    assert local_iso(at_us, ahead) == clock.isoformat()


def test_local_clocks_as_text() -> None:
    assert local_iso(us(2026, 11, 22, 3, 8, 10), -21_600) == "2026-11-21T21:08:10-06:00"
    assert local_iso(us(2026, 11, 22, 3, 8, 10), 0) == "2026-11-22T03:08:10+00:00"
    assert local_iso(us(2026, 11, 22, 3, 8, 10), 20_700) == "2026-11-22T08:53:10+05:45"
    assert local_iso(us(1850, 1, 1), -21_036) == "1849-12-31T18:09:24-05:50:36"


def test_the_examples_in_the_docstrings_run() -> None:
    assert doctest.testmod(calendar).failed == 0
