"""What counts against limits, added up from the entries as they come, in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from recovery_engine.log.book import EVER, UsageKey
from recovery_engine.log.verification.shelf import slots_for
from recovery_engine.model import GOODWILL

_MOST_SUMS = 40_000
_MOST_HELD = 100_000

_CREATE = (
    "CREATE TABLE sums (subject TEXT, bday TEXT, remedy TEXT, basis TEXT, currency TEXT, amount INTEGER, "
    "times INTEGER, PRIMARY KEY (subject, bday, remedy, basis, currency)) WITHOUT ROWID"
)
_ADD = (
    "INSERT INTO sums VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
    "SET amount = amount + excluded.amount, times = times + excluded.times"
)
_OF_SUBJECT = "SELECT bday, remedy, basis, currency, amount, times FROM sums WHERE subject = ? AND bday >= ?"
_ALL = (
    "SELECT subject, bday, remedy, basis, currency, amount, times FROM sums WHERE amount <> 0 OR times <> 0 "
    "ORDER BY subject, bday, remedy, basis, currency"
)

Sum = tuple[str, str, str, str, str, int, int]
"""Subject, business day, remedy, basis, currency, minor units, cases: a row of ``recovery_usage``."""
CaseRow = list[str | int]
"""Remedy, basis, minor units, cases: what a case had, as entries hold it."""


@dataclass(frozen=True, slots=True, eq=False)
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


class _Period:
    """What the period of a budget that begins on a day came to."""

    __slots__ = ("amount", "first", "times")

    def __init__(self, first: str) -> None:
        self.first, self.amount, self.times = first, 0, 0


class _Held:
    """The sums of a subject from a day on, and the period of each budget that was asked for last."""

    __slots__ = ("first", "periods", "sums")

    def __init__(self, first: str) -> None:
        self.first = first
        self.sums: dict[UsageKey, list[int]] = {}
        self.periods: dict[Span, _Period] = {}

    def add(self, key: UsageKey, amount: int, times: int) -> None:
        sums = self.sums.get(key)
        if sums is None:
            self.sums[key] = [amount, times]
        else:
            sums[0] += amount
            sums[1] += times
        for span, period in self.periods.items():
            if key.bday >= period.first:
                period.times += times
                if span.counts(key):
                    period.amount += amount

    def period(self, span: Span, first: str) -> _Period:
        found = _Period(first)
        for key, (amount, times) in self.sums.items():
            if key.bday >= first:
                found.times += times
                if span.counts(key):
                    found.amount += amount
        self.periods[span] = found
        return found


class Tally:
    """The sums of every subject. *keys* is about how many subjects there will be."""

    def __init__(self, file: Any, keys: int) -> None:
        self._execute, self._executemany = file.execute, file.executemany
        self._execute(_CREATE)
        self._slots = slots_for(keys)
        self._mask = len(self._slots) - 1
        self._added: dict[str, dict[UsageKey, list[int]]] = {}  # not in the file yet
        self._added_sums = 0
        self._held: dict[str, _Held] = {}  # asked for lately
        self._held_sums = 0

    def add(self, subject: str, key: UsageKey, amount: int, times: int) -> None:
        """Count one grant, or take one back."""
        sums = self._added.get(subject)
        if sums is None:
            sums = self._added[subject] = {}
        had = sums.get(key)
        if had is None:
            sums[key] = [amount, times]
            self._added_sums += 1
        else:
            had[0] += amount
            had[1] += times
        held = self._held.get(subject)
        if held is not None:
            held.add(key, amount, times)
            self._held_sums += 1
        if self._added_sums >= _MOST_SUMS:
            self._write()

    def _write(self) -> None:
        self._executemany(
            _ADD,
            (
                (subject, *key, amount, times)
                for subject in sorted(self._added)
                for key, (amount, times) in sorted(self._added[subject].items())
            ),
        )
        for subject in self._added:
            self._slots[hash(subject) & self._mask] = 1
        self._added, self._added_sums = {}, 0

    def used(self, subject: str, span: Span, first: str) -> tuple[int, int]:
        """What the period of a budget, from a first day (ISO) on, came to: minor units and cases."""
        held = self._held.get(subject)
        if held is None or held.first > first:
            held = self._read(subject, first)
            if held is None:
                return 0, 0
        period = held.periods.get(span)
        if period is None or period.first != first:
            period = held.period(span, first)
        return period.amount, period.times

    def case(self, subject: str) -> tuple[list[CaseRow], set[str]]:
        """What a case had, sorted, but for what came back to nothing; and in which currencies."""
        held = self._held.get(subject)
        if held is None or held.first > EVER:
            held = self._read(subject, EVER)
            if held is None:
                return [], set()
        sums: dict[tuple[str, str], list[int]] = {}
        currencies = set()
        for key, (amount, times) in held.sums.items():
            had = sums.setdefault((key.remedy, key.basis), [0, 0])
            had[0] += amount
            had[1] += times
            if amount or times:
                currencies.add(key.currency)
        return [[*key, *had] for key, had in sorted(sums.items()) if any(had)], currencies

    def _read(self, subject: str, first: str) -> _Held | None:
        """The sums of a subject from a day on; None where it never had any."""
        stored = self._slots[hash(subject) & self._mask]
        added = self._added.get(subject)
        if not stored and added is None:
            return None
        held = _Held(first)
        if stored:
            for *key, amount, times in self._execute(_OF_SUBJECT, (subject, first)):
                held.add(UsageKey(*key), amount, times)
        for usage_key, (amount, times) in (added or {}).items():
            if usage_key.bday >= first:
                held.add(usage_key, amount, times)
        if self._held_sums >= _MOST_HELD:
            self._held, self._held_sums = {}, 0
        self._held[subject] = held
        self._held_sums += len(held.sums) + 1
        return held

    def rows(self) -> Iterator[Sum]:
        """The sums that are not zero, in byte order."""
        self._write()
        return iter(self._execute(_ALL))
