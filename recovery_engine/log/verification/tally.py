"""What counts against limits, added up from the entries as they come, in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from recovery_engine.log.book import UsageKey
from recovery_engine.log.verification.shelf import slots_for
from recovery_engine.model import GOODWILL

_MOST_ADDED = 40_000
_MOST_PERIODS = 20_000
_NOTHING = (0, 0)

_CREATE = (
    "CREATE TABLE sums (subject TEXT, bday TEXT, remedy TEXT, basis TEXT, currency TEXT, amount INTEGER, "
    "times INTEGER, PRIMARY KEY (subject, bday, remedy, basis, currency)) WITHOUT ROWID"
)
_ADD = (
    "INSERT INTO sums VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
    "SET amount = amount + excluded.amount, times = times + excluded.times"
)
_OF_SUBJECT = "SELECT bday, remedy, basis, currency, amount, times FROM sums WHERE subject = ?"
_ALL = (
    "SELECT subject, bday, remedy, basis, currency, amount, times FROM sums WHERE amount <> 0 OR times <> 0 "
    "ORDER BY subject, bday, remedy, basis, currency"
)

Sum = tuple[str, str, str, str, str, int, int]
"""Subject, business day, remedy, basis, currency, minor units, cases: a row of ``recovery_usage``."""
Added = tuple[UsageKey, int, int]
"""What a grant counts for a subject: minor units, cases."""
CaseRow = list[str | int]
"""Remedy, basis, minor units, cases: what a case had, as entries hold it."""


@dataclass(frozen=True, eq=False)
class Span:
    """What a budget adds up, but for the day from which it does: its period, remedies (none named: all), currency."""

    every: str
    remedies: frozenset[str]
    currency: str

    def counts(self, key: UsageKey) -> bool:
        """Whether an amount counts: goodwill, in the currency and by a remedy of the budget. Cases always do."""
        return (
            key.basis == GOODWILL
            and key.currency == self.currency
            and (not self.remedies or key.remedy in self.remedies)
        )

    # A long period has a row for each of its days: SQLite adds them up in less time than it takes to read them.

    @cached_property
    def sql(self) -> str:
        """The same from the file, after `words`: for a subject and a first day."""
        remedies = f" AND remedy IN ({', '.join('?' * len(self.remedies))})" if self.remedies else ""
        return (
            f"SELECT ifnull(sum(CASE WHEN basis = ? AND currency = ?{remedies} THEN amount ELSE 0 END), 0), "
            "ifnull(sum(times), 0) FROM sums WHERE subject = ? AND bday >= ?"
        )

    @cached_property
    def words(self) -> tuple[str, ...]:
        """What `sql` is told first."""
        return (GOODWILL, self.currency, *self.remedies)


class _Period:
    """What the period of a budget that begins on a day came to."""

    __slots__ = ("amount", "first", "times")

    def __init__(self, first: str) -> None:
        self.first, self.amount, self.times = first, 0, 0

    def add(self, span: Span, key: UsageKey, amount: int, times: int) -> None:
        if key.bday >= self.first:
            self.times += times
            if span.counts(key):
                self.amount += amount


_NONE = _Period("")


class Tally:
    """The sums of every subject. *keys* is about how many subjects there will be."""

    def __init__(self, file: Any, keys: int) -> None:
        self._execute, self._executemany = file.execute, file.executemany
        self._execute(_CREATE)
        self._slots = slots_for(keys)
        self._mask = len(self._slots) - 1
        self._added: dict[str, list[Added]] = {}  # by subject; not in the file yet
        self._added_count = 0
        self._periods: dict[str, dict[Span, _Period]] = {}  # by subject; asked for lately
        self._period_count = 0

    def add(self, subject: str, key: UsageKey, amount: int, times: int) -> None:
        """Count one grant, or take one back."""
        added = self._added.get(subject)
        if added is None:
            self._added[subject] = [(key, amount, times)]
        else:
            added.append((key, amount, times))
        periods = self._periods.get(subject)
        if periods is not None:
            for span, period in periods.items():
                period.add(span, key, amount, times)
        self._added_count += 1
        if self._added_count >= _MOST_ADDED:
            self._write()

    def _write(self) -> None:
        self._executemany(
            _ADD,
            [
                (subject, *key, amount, times)
                for subject in sorted(self._added)
                for key, amount, times in _summed(self._added[subject])
            ],
        )
        for subject in self._added:
            self._slots[hash(subject) & self._mask] = 1
        self._added, self._added_count = {}, 0

    def used(self, subject: str, span: Span, first: str) -> tuple[int, int]:
        """What the period of a budget, from a first day (ISO) on, came to: minor units and cases."""
        periods = self._periods.get(subject)
        period = None if periods is None else periods.get(span)
        if period is None or period.first != first:
            period = self._period(subject, span, first)
        return period.amount, period.times

    def _period(self, subject: str, span: Span, first: str) -> _Period:
        stored, added = self._slots[hash(subject) & self._mask], self._added.get(subject)
        if not stored and added is None:
            return _NONE
        period = _Period(first)
        if stored:
            period.amount, period.times = self._execute(span.sql, (*span.words, subject, first)).fetchone()
        for one in added or ():
            period.add(span, *one)
        if self._period_count >= _MOST_PERIODS:
            self._periods, self._period_count = {}, 0
        self._periods.setdefault(subject, {})[span] = period
        self._period_count += 1
        return period

    def case(self, subject: str) -> tuple[list[CaseRow], set[str]]:
        """What a case had, sorted, but for what came back to nothing; and in which currencies."""
        stored, added = self._slots[hash(subject) & self._mask], self._added.get(subject)
        if not stored and added is None:
            return [], set()
        rows = self._execute(_OF_SUBJECT, (subject,)) if stored else ()
        all_of_them = [(UsageKey(*key), amount, times) for *key, amount, times in rows] + (added or [])
        sums: dict[tuple[str, str], list[int]] = {}
        currencies = set()
        for key, amount, times in _summed(all_of_them):
            had = sums.setdefault((key.remedy, key.basis), [0, 0])
            had[0] += amount
            had[1] += times
            if amount or times:
                currencies.add(key.currency)
        return [[*key, *had] for key, had in sorted(sums.items()) if any(had)], currencies

    def rows(self) -> Iterator[Sum]:
        """The sums that are not zero, in byte order."""
        self._write()
        return iter(self._execute(_ALL))


def _summed(added: list[Added]) -> list[Added]:
    """The same in as few as there are keys, in their order."""
    if len(added) < 2:
        return added
    sums: dict[UsageKey, tuple[int, int]] = {}
    for key, amount, times in added:
        had = sums.get(key, _NOTHING)
        sums[key] = (had[0] + amount, had[1] + times)
    return [(key, *both) for key, both in sorted(sums.items())]
