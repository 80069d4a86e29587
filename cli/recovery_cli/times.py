"""Times as people give them, and how far away one is."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from recovery_engine import Diagnostic, InvalidRequest

_IN = re.compile(r"in\s+(\d{1,6})\s+(minute|hour|day|week)s?", re.ASCII)
_GIVEN = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
_CURE = "write `2026-12-24`, `2026-12-24T18:00`, `2026-12-24T18:00-06:00`, or `in 3 days`"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def read_time(name: str, text: str, zone: str, now_us: int) -> int:
    """A time as UTC microseconds: a day begins at 00:00 in *zone*. Raises InvalidRequest, which blames *name*."""
    try:
        return (_read(text.strip(), zone, now_us) - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        raise InvalidRequest([Diagnostic("RQ006", "error", name, f"`{text[:40]}` is not a time", _CURE)]) from None


def _read(text: str, zone: str, now_us: int) -> datetime:
    """In UTC, in which it must be one too. Raises ValueError, OverflowError, InvalidRequest."""
    if found := _IN.fullmatch(text):
        return _EPOCH + now_us * _MICROSECOND + timedelta(**{f"{found[2]}s": int(found[1])})
    if not _GIVEN.fullmatch(text):
        raise ValueError
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=_zone(zone))).astimezone(UTC)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        message = f"unknown time zone `{name[:40]}`"
        raise InvalidRequest([Diagnostic("RQ002", "error", "timezone", message, "write `America/Chicago`")]) from None


def apart(us: int) -> str:
    """How long *us* microseconds are, forwards or back: ``2 d 3 h``, ``3 h 5 min``, ``12 min``, ``45 s``."""
    seconds = abs(us) // 1_000_000
    minutes, hours = seconds // 60, seconds // 3600
    if hours >= 24:
        return f"{hours // 24} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds} s"


def due(due_us: int, now_us: int) -> str:
    """``due in 12 min``, ``overdue by 3 h 5 min``."""
    return f"due in {apart(due_us - now_us)}" if due_us > now_us else f"overdue by {apart(now_us - due_us)}"
