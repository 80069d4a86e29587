"""Dictionaries larger than memory: what was not asked for lately lies in a temporary SQLite file.

The file has no name any more, and goes away with its connection, however the program ends.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any, Generic, TypeVar

from recovery_engine.log.opening import sqlite_module

Value = TypeVar("Value")

_CACHE_KIB = 16_384
_MOST_SLOTS = 1 << 22


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
    return bytearray(min(_MOST_SLOTS, 1 << max(10, (4 * keys).bit_length())))


def _as_it_is(value: Any) -> Any:
    return value


_key = itemgetter(0)


class Shelf(Generic[Value]):
    """A dictionary with text for keys; at most about three times *most* of its values are in memory.

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
        self._put: dict[str, Value] = {}  # not in the file yet
        self._lately: dict[str, Value] = {}  # in the file as well, unless it was put again since
        self._execute(f"CREATE TABLE {name} (key TEXT PRIMARY KEY, value) WITHOUT ROWID")
        self._select = f"SELECT value FROM {name} WHERE key = ?"
        self._insert = f"INSERT OR REPLACE INTO {name} VALUES (?, ?)"
        self._all = f"SELECT key, value FROM {name} WHERE key >= ? ORDER BY key"

    def get(self, key: str) -> Value | None:
        """The value of a key; None where there is none."""
        value = self._put.get(key)
        if value is None:
            value = self._lately.get(key)
            if value is None and self._slots[hash(key) & self._mask]:
                value = self._read(key)
        return value

    def _read(self, key: str) -> Value | None:
        row = self._execute(self._select, (key,)).fetchone()
        if row is None:
            return None
        if len(self._lately) >= 2 * self._most:
            self._lately = {}
        value = self._lately[key] = self._unpack(row[0])
        return value

    def put(self, key: str, value: Value) -> None:
        """Give a key a value, instead of any it had."""
        self._put[key] = value
        if len(self._put) >= self._most:
            self._write()

    def _write(self) -> None:
        slots, mask, pack = self._slots, self._mask, self._pack
        self._executemany(self._insert, [(key, pack(value)) for key, value in sorted(self._put.items(), key=_key)])
        for key in self._put:
            slots[hash(key) & mask] = 1
        self._lately, self._put = self._put, {}

    def items(self, first: str = "") -> Iterator[tuple[str, Value]]:
        """Every key from *first* on with its value, in byte order."""
        for key, value in self.packed(first):
            yield key, self._unpack(value)

    def packed(self, first: str = "") -> Iterator[tuple[str, Any]]:
        """The same with the values as they are in the file."""
        self._write()
        return iter(self._execute(self._all, (first,)))
