"""Business days: which day it is for the books of a site, and the first day of a budget's window.

Instants are integer microseconds since 1970 in UTC, offsets whole seconds that the clock is ahead of UTC. Only
``offset_s`` asks the tables of time zones; the rest is arithmetic with integers and will give the same answer in ten
years, whatever time zones have become by then.
"""

import re
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from recovery_engine.policy.schema import Policy

_SECOND = 1_000_000  # in microseconds
_DAY = 86_400  # in seconds
_EPOCH = datetime(1970, 1, 1)
_EPOCH_DAY = _EPOCH.toordinal()
_LAST_DAY = date.max.toordinal()
_OUTSIDE = "the day is not in the years 1 to 9999"


def zone_of(policy: Policy, site: str | None) -> str:
    """The IANA name of the time zone in which a policy counts the days of a site; None is no site in particular."""
    for group, zone in policy.timezones.items():
        if site in (policy.sites or {}).get(group, ()):
            return zone
    return policy.timezone


def offset_s(zone: str, at_us: int) -> int:
    """How many seconds the clocks of an IANA zone are ahead of UTC at an instant; behind is negative.

    Raises ZoneInfoNotFoundError for a zone that this machine does not know, ValueError for a clock outside the years 1
    to 9999.
    """
    clocks = _clocks(zone)
    try:
        # Clocks change on whole seconds only, so the second that has begun decides.
        offset = datetime.fromtimestamp(at_us // _SECOND, clocks).utcoffset()
    except (OverflowError, ValueError):
        raise ValueError(_OUTSIDE) from None
    assert offset is not None
    return offset.days * _DAY + offset.seconds


_clocks = lru_cache(maxsize=1024)(ZoneInfo)


def business_day(at_us: int, utc_offset_s: int, day_starts: str) -> date:
    """The date on a clock that far ahead of UTC, or the day before while that clock shows less than *day_starts*.

    Raises ValueError outside the years 1 to 9999.

    >>> business_day(1_795_301_906_123_456, -21_600, "04:00").isoformat()
    '2026-11-21'
    """
    seconds = at_us // _SECOND + utc_offset_s - day_start_seconds(day_starts)
    day = seconds // _DAY + _EPOCH_DAY
    if not 1 <= day <= _LAST_DAY:
        raise ValueError(_OUTSIDE)
    return date.fromordinal(day)


@lru_cache(maxsize=1440)
def day_start_seconds(day_starts: str) -> int:
    """The seconds from midnight to a time of day, ``HH:MM`` from 00:00 to 23:59. Raises ValueError for other texts."""
    if not re.fullmatch("([01][0-9]|2[0-3]):[0-5][0-9]", day_starts):
        raise ValueError(f"`{day_starts[:40]}` is not a time of day")
    hours, minutes = day_starts.split(":")
    return int(hours) * 3600 + int(minutes) * 60


def window_first(day: date, every: str) -> date:
    """The first day of the window of a budget that ends on *day*, never before 0001-01-01.

    *every* is what a budget says: ``day``, ``week`` (from Monday), ``month``, ``year``, or ``90 days``: that day and
    the 89 before it. Raises ValueError for anything else.

    >>> window_first(date(2026, 11, 21), "week").isoformat()
    '2026-11-16'
    """
    match every:
        case "day":
            return day
        case "week":
            return _days_before(day, day.weekday())
        case "month":
            return day.replace(day=1)
        case "year":
            return day.replace(month=1, day=1)
    if (days := re.fullmatch("([1-9][0-9]{0,3}) days", every)) is None:
        raise ValueError(f"`{every[:40]}` is not a period")
    return _days_before(day, int(days[1]) - 1)


def _days_before(day: date, days: int) -> date:
    return date.fromordinal(max(day.toordinal() - days, 1))


def iso_utc(at_us: int) -> str:
    """An instant as text, to the microsecond. Raises ValueError outside the years 1 to 9999.

    >>> iso_utc(1_795_316_890_123_456)
    '2026-11-22T03:08:10.123456Z'
    """
    return _clock_at(at_us).isoformat(timespec="microseconds") + "Z"


def local_iso(at_us: int, utc_offset_s: int) -> str:
    """What a clock that far ahead of UTC shows at an instant, to the second that has begun, and how far it is ahead.

    Raises ValueError outside the years 1 to 9999.

    >>> local_iso(1_795_316_890_123_456, -21_600)
    '2026-11-21T21:08:10-06:00'
    """
    clock = _clock_at(at_us + utc_offset_s * _SECOND).isoformat(timespec="seconds")
    minutes, seconds = divmod(abs(utc_offset_s), 60)
    sign = "-" if utc_offset_s < 0 else "+"
    return f"{clock}{sign}{minutes // 60:02}:{minutes % 60:02}" + (f":{seconds:02}" if seconds else "")


def _clock_at(us: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=us)
    except OverflowError:
        raise ValueError(_OUTSIDE) from None
