"""Dictionaries larger than memory: what was not asked for lately lies in a temporary SQLite file.

The file has no name any more, and goes away with its connection, however the program ends.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from recovery_engine.log.opening import sqlite_module

Value = TypeVar("Value")

_CACHE_KIB = 32_768
_MOST_SLOTS = 1 << 25


def temporary_file() -> Any:
    """A connection to an SQLite file of our own, in the folder for temporary files (TMPDIR)."""
    # Not SQLite's own temporary file: how a driver was built may keep that in memory, however large it gets.
    descriptor, path = tempfile.mkstemp(prefix="recovery-")
    os.close(descriptor)
    try:
        connection = sqlite_module().connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        connection.execute("BEGIN EXCLUSIVE")
    finally:
        os.unlink(path)
    return connection


def slots_for(keys: int) -> bytearray:
    """As many slots as tell which of so many keys may lie in a file; their number is a power of two.

    A key whose slot, that of its hash, is 0 was never put there, and need not be looked for.
    """
    return bytearray(min(_MOST_SLOTS, 1 << max(10, (8 * keys).bit_length())))


def _as_it_is(value: Any) -> Any:
    return value


class Shelf(Generic[Value]):
    """A dictionary with text for keys; at most twice *most* of its values are in memory.

    *keys* is about how many there will be. Where values are no numbers, *pack* and *unpack* turn them into bytes and
    back; a value that was got is not changed but put again.
    """

    def __init__(
        self,
        file: Any,
        name: str,
        keys: int,
        most: int,
        pack: Callable[[Value], Any] = _as_it_is,
        unpack: Callable[[Any], Value] = _as_it_is,
    ) -> None:
        self._execute, self._executemany = file.execute, file.executemany
        self._most, self._pack, self._unpack = most, pack, unpack
        self._slots = slots_for(keys)
        self._mask = len(self._slots) - 1
        # Two generations: what is asked for while it is old is young again, the rest leaves with the old ones.
        self._young: dict[str, Value] = {}
        self._old: dict[str, Value] = {}
        self._unwritten: set[str] = set()
        self._execute(f"CREATE TABLE {name} (key TEXT PRIMARY KEY, value) WITHOUT ROWID")
        self._select = f"SELECT value FROM {name} WHERE key = ?"
        self._insert = f"INSERT OR REPLACE INTO {name} VALUES (?, ?)"
        self._all = f"SELECT key, value FROM {name} WHERE key >= ? ORDER BY key"

    def get(self, key: str) -> Value | None:
        """The value of a key; None where there is none."""
        value = self._young.get(key)
        if value is not None:
            return value
        value = self._old.get(key)
        if value is None:
            if not self._slots[hash(key) & self._mask]:
                return None
            row = self._execute(self._select, (key,)).fetchone()
            if row is None:
                return None
            value = self._unpack(row[0])
        if len(self._young) >= self._most:
            self._age()
        self._young[key] = value
        return value

    def put(self, key: str, value: Value) -> None:
        """Give a key a value, instead of any it had."""
        if len(self._young) >= self._most:
            self._age()
        self._unwritten.add(key)
        self._young[key] = value

    def _age(self) -> None:
        self._write({key: old for key, old in self._old.items() if key not in self._young})
        self._old, self._young = self._young, {}

    def _write(self, values: dict[str, Value]) -> None:
        rows = [(key, self._pack(values[key])) for key in sorted(values.keys() & self._unwritten)]
        self._executemany(self._insert, rows)
        for key, _ in rows:
            self._slots[hash(key) & self._mask] = 1
        self._unwritten.difference_update(values)

    def items(self, first: str = "") -> Iterator[tuple[str, Value]]:
        """Every key from *first* on with its value, in byte order."""
        self._write(self._old | self._young)
        for key, value in self._execute(self._all, (first,)):
            yield key, self._unpack(value)
