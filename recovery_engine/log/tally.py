"""What counts against limits, added up from the entries as they come, in bounded memory."""

from collections.abc import Iterator
from typing import Any

from recovery_engine.log.book import Book, UsageKey
from recovery_engine.log.shelf import slots_for

_MOST_SUMS = 40_000
_MOST_IN_BOOKS = 100_000

_CREATE = (
    "CREATE TABLE sums (subject TEXT, bday TEXT, remedy TEXT, basis TEXT, currency TEXT, amount INTEGER, "
    "times INTEGER, PRIMARY KEY (subject, bday, remedy, basis, currency)) WITHOUT ROWID"
)
_ADD = (
    "INSERT INTO sums VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
    "SET amount = amount + excluded.amount, times = times + excluded.times"
)
_OF_SUBJECT = (
    "SELECT bday, remedy, basis, currency, amount, times FROM sums WHERE subject = ? AND bday >= ? "
    "ORDER BY bday, remedy, basis, currency"
)
_ALL = (
    "SELECT subject, bday, remedy, basis, currency, amount, times FROM sums WHERE amount <> 0 OR times <> 0 "
    "ORDER BY subject, bday, remedy, basis, currency"
)

Sum = tuple[str, str, str, str, str, int, int]
"""Subject, business day, remedy, basis, currency, minor units, cases: a row of ``recovery_usage``."""


class Tally:
    """The sums of every subject. *keys* is about how many subjects there will be."""

    def __init__(self, file: Any, keys: int) -> None:
        self._execute, self._executemany = file.execute, file.executemany
        self._execute(_CREATE)
        self._slots = slots_for(keys)
        self._mask = len(self._slots) - 1
        self._added: dict[str, dict[UsageKey, list[int]]] = {}  # not in the file yet
        self._added_sums = 0
        self._books: dict[str, Book] = {}
        self._in_books = 0

    def add(self, subject: str, key: UsageKey, amount: int, times: int) -> None:
        """Count one grant, or take one back."""
        sums = self._added.setdefault(subject, {})
        had = sums.get(key)
        if had is None:
            sums[key] = [amount, times]
            self._added_sums += 1
        else:
            had[0] += amount
            had[1] += times
        book = self._books.get(subject)
        if book is not None:
            book.add(key, amount, times)
            self._in_books += 1
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

    def book(self, subject: str, first: str) -> Book | None:
        """What a subject had, from a first day (ISO) on; None where it had nothing."""
        book = self._books.get(subject)
        if book is None or book.first > first:
            if not self._slots[hash(subject) & self._mask] and subject not in self._added:
                return None
            book = self._read(subject, first)
        return book

    def _read(self, subject: str, first: str) -> Book:
        book = Book(first)
        if self._slots[hash(subject) & self._mask]:
            for *key, amount, times in self._execute(_OF_SUBJECT, (subject, first)):
                book.add(UsageKey(*key), amount, times)
        for key, (amount, times) in self._added.get(subject, {}).items():
            if key.bday >= first:
                book.add(key, amount, times)
        if self._in_books >= _MOST_IN_BOOKS:
            self._books, self._in_books = {}, 0
        self._books[subject] = book
        self._in_books += len(book.rows) + 1
        return book

    def rows(self) -> Iterator[Sum]:
        """The sums that are not zero, in byte order."""
        self._write()
        return iter(self._execute(_ALL))
