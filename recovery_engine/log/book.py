"""What one subject (a case, customer, employee, site) already had: the sums that any budget can be added up from."""

from collections.abc import Iterable
from typing import NamedTuple

from recovery_engine.model import GOODWILL, OWED, Usage, Used

EVER = ""
"""As the first day of a book: nothing is left out."""


class UsageKey(NamedTuple):
    """What sums are kept by. ``bday`` is an ISO day."""

    bday: str
    remedy: str
    basis: str
    currency: str


class Window(NamedTuple):
    """What a budget adds up: from a business day on (no last one), some remedies (none named: all), a currency."""

    first: str
    remedies: tuple[str, ...]
    currency: str


class Book:
    """The sums of one subject from a first day on, in minor units and cases."""

    __slots__ = ("_windows", "first", "rows")

    def __init__(self, first: str) -> None:
        self.first = first
        self.rows: dict[UsageKey, Used] = {}
        self._windows: dict[Window, Used] = {}

    def add(self, key: UsageKey, amount: int, times: int) -> None:
        """Count one grant, or take one back."""
        had = self.rows.get(key, _NOTHING)
        self.rows[key] = Used(had.amount + amount, had.times + times)
        for window, used in self._windows.items():
            if key.bday >= window.first:
                counts = _counts(window, key)
                self._windows[window] = Used(used.amount + (amount if counts else 0), used.times + times)

    def used(self, window: Window) -> Used:
        """What a budget's period already holds. The book must reach back to its first day."""
        assert self.first <= window.first
        found = self._windows.get(window)
        if found is None:
            if len(self._windows) >= _MOST_WINDOWS:
                self._windows.clear()
            rows = [(key, used) for key, used in self.rows.items() if key.bday >= window.first]
            amount = sum([used.amount for key, used in rows if _counts(window, key)])
            found = self._windows[window] = Used(amount, sum([used.times for _, used in rows]))
        return found

    def by_remedy(self) -> dict[tuple[str, str], Used]:
        """The sums over all days and currencies by (remedy, basis), those that are not all zero."""
        sums: dict[tuple[str, str], Used] = {}
        for key, used in self.rows.items():
            had = sums.get((key.remedy, key.basis), _NOTHING)
            sums[key.remedy, key.basis] = Used(had.amount + used.amount, had.times + used.times)
        return {key: used for key, used in sums.items() if used != _NOTHING}

    def currencies(self) -> set[str]:
        """The currencies in which anything counts."""
        return {key.currency for key, used in self.rows.items() if used != _NOTHING}


_NOTHING = Used()
_MOST_WINDOWS = 64


def _counts(window: Window, key: UsageKey) -> bool:
    """Whether an amount counts against a budget: goodwill, of its currency and remedies."""
    return (
        key.basis == GOODWILL
        and key.currency == window.currency
        and (not window.remedies or key.remedy in window.remedies)
    )


def usage_rows(case: Book | None) -> list[list[str | int]]:
    """What the case had, as an entry holds it: sorted [remedy, basis, minor units, times]."""
    if case is None or not case.rows:
        return []
    return [[remedy, basis, *used] for (remedy, basis), used in sorted(case.by_remedy().items())]


def usage_of(case_rows: Iterable[list[str | int]], budget_rows: Iterable[list[str | int]]) -> Usage:
    """The usage that a decision sees, from the rows of an entry."""
    goodwill: dict[str, int] = {}
    owed: dict[str, int] = {}
    for remedy, basis, amount, _ in case_rows:
        (owed if basis == OWED else goodwill)[str(remedy)] = int(amount)
    return Usage(goodwill, owed, {str(name): Used(int(amount), int(times)) for name, amount, times in budget_rows})
