"""The policies that the log holds, and which of them is in force: what the log says, not what a folder says."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import NamedTuple

from recovery_engine.errors import LogError
from recovery_engine.log.book import Window
from recovery_engine.log.calendar import business_day, offset_s, window_first, zone_of
from recovery_engine.policy.library import PolicyLibrary, parse_stored
from recovery_engine.policy.schema import BudgetLine, Policy

FIRST_DAY = date.min.isoformat()
"""The first day of a policy that names none."""


class PolicyRow(NamedTuple):
    """A row of ``recovery_policy``. Days are ISO, both included; ``replaces`` is a digest."""

    digest: str
    source: str
    name: str
    label: str
    first_day: str
    last_day: str | None
    replaces: str | None
    seq: int
    at_us: int
    canonical: str
    yaml: str


class InForce(NamedTuple):
    """A policy with the business day and the UTC offset (seconds) of an instant at a site."""

    policy: Policy
    day: date
    utc_offset_s: int


class Policies:
    """Every policy the log holds; the last one loaded for a name and first day counts.

    Raises LogError where a stored text does not give the policy of its digest.
    """

    def __init__(self, rows: Iterable[PolicyRow], known: Mapping[str, Policy] | None = None) -> None:
        self.rows = sorted(rows, key=lambda row: row.seq)
        self.by_digest = {row.digest: (known or {}).get(row.digest) or read_stored(row) for row in self.rows}
        self.library = PolicyLibrary([self.by_digest[row.digest] for row in current(self.rows)])
        self._windows: dict[tuple[str, date], tuple[tuple[BudgetLine, Window], ...]] = {}
        self._in_force: dict[tuple[int, str | None], InForce] = {}  # by second: days and clocks change on whole ones

    def at(self, at_us: int, site: str | None) -> InForce:
        """What is in force at an instant (UTC microseconds) at a site. Raises InvalidRequest."""
        key = (at_us // 1_000_000, site)
        found = self._in_force.get(key)
        if found is None:
            if len(self._in_force) >= _MOST_SECONDS:
                self._in_force.clear()
            found = self._in_force[key] = self._at(at_us, site)
        return found

    def _at(self, at_us: int, site: str | None) -> InForce:
        def day_of(policy: Policy) -> date:
            return business_day(at_us, offset_s(zone_of(policy, site), at_us), policy.day_starts)

        policy, day = self.library.in_force_at(day_of, site)
        return InForce(policy, day, offset_s(zone_of(policy, site), at_us))

    def windows(self, policy: Policy, day: date) -> tuple[tuple[BudgetLine, Window], ...]:
        """What each budget of a policy adds up on a business day."""
        key = (policy.digest, day)
        found = self._windows.get(key)
        if found is None:
            if len(self._windows) > _MOST_DAYS:
                self._windows.clear()
            found = self._windows[key] = tuple((line, budget_window(line, policy, day)) for line in policy.budgets)
        return found


_MOST_DAYS = _MOST_SECONDS = 1_000


def budget_window(line: BudgetLine, policy: Policy, day: date) -> Window:
    """What a budget adds up on a business day."""
    first = window_first(day, line.every).isoformat()
    return Window(first, tuple(map(str, line.when.words.get("remedy", ()))), policy.currency)


def current(rows: Iterable[PolicyRow]) -> list[PolicyRow]:
    """The rows that count: of those with one name and first day the last."""
    return list({(row.name, row.first_day): row for row in rows}.values())


def read_stored(row: PolicyRow) -> Policy:
    """The policy in a stored text."""
    policy = parse_stored(row.yaml, row.name)
    if policy.digest != row.digest:
        message = f"the stored text of policy `{row.name}` {row.label} gives another digest than {row.digest[:12]}"
        raise LogError(message, "run `recovery log verify`")
    return policy
