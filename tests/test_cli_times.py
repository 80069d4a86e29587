"""Times as people give them on the command line, and how far away one is."""

from datetime import UTC, datetime

import pytest

from recovery_cli.times import apart, due, read_time
from recovery_engine import InvalidRequest

MINUTE_US = 60_000_000
NOW_US = int(datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("text", "zone", "at"),
    [
        ("2026-12-24", "UTC", "2026-12-24T00:00:00"),
        ("2026-12-24", "America/Chicago", "2026-12-24T06:00:00"),
        ("2026-12-24T18:00", "Europe/Berlin", "2026-12-24T17:00:00"),
        ("2026-12-24T18:00-06:00", "UTC", "2026-12-25T00:00:00"),
        ("2026-12-24 18:00:30Z", "Europe/Berlin", "2026-12-24T18:00:30"),
        ("in 3 days", "Europe/Berlin", "2026-12-01T12:00:00"),
        ("in 1 hour", "UTC", "2026-11-28T13:00:00"),
    ],
)
def test_times_are_read_as_people_give_them(text: str, zone: str, at: str) -> None:
    assert read_time("until", text, zone, NOW_US) == int(datetime.fromisoformat(f"{at}+00:00").timestamp()) * 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "24.12.2026",
        "2026-13-01",
        "in 3 moons",
        "tomorrow",
        "2026-12-24T25:00",
        "in 999999 weeks",
        "9999-12-31T23:00-06:00",
    ],
)
def test_a_time_that_is_none_is_said_with_its_cure(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused_as:
        read_time("until", text, "UTC", NOW_US)
    [found] = refused_as.value.diagnostics
    assert (found.where, "in 3 days" in found.help) == ("until", True)


def test_a_zone_that_is_none_is_said() -> None:
    with pytest.raises(InvalidRequest, match="Chikago"):
        read_time("until", "2026-12-24", "America/Chikago", NOW_US)
    assert read_time("until", "in 3 days", "America/Chikago", NOW_US) > NOW_US


def test_how_far_away_a_time_is() -> None:
    assert due(0, 3 * 3_600_000_000 + 5 * MINUTE_US) == "overdue by 3 h 5 min"
    assert due(MINUTE_US * 12 + 1, 0) == "due in 12 min"
    assert [apart(us * 1_000_000) for us in (45, -90, 7200, 200_000)] == ["45 s", "1 min", "2 h 0 min", "2 d 7 h"]
