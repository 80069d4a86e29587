"""One stream, read entry by entry: its bytes, hashes and tree, and the columns that stand beside the bytes."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any, NamedTuple

from recovery_engine.log.entry import NO_LEAF, Entry, decode, problems
from recovery_engine.log.merkle import grown, root_of
from recovery_engine.log.verification.shape import surely_well_made
from recovery_engine.log.verification.snapshot import LOWEST, Row, Snapshot

Wrong = Callable[[int | None, str], None]
"""Told what is wrong with the entry at a seq."""


class Link(NamedTuple):
    """An entry that is well made, and its leaf in hex."""

    entry: Entry
    leaf: str


class Chain:
    """A stream as far as it is read. ``size`` counts its entries, ``bytes`` those of their bodies."""

    def __init__(self, snapshot: Snapshot, name: str, at_once: int, wrong: Wrong) -> None:
        self.name, self._snapshot, self._at_once, self.wrong = name, snapshot, at_once, wrong
        self.size, self.bytes = 0, 0
        self.frontier: list[bytes] = []
        self.last_leaf, self.last_at_us = NO_LEAF, 0
        self.held: Link | None = None  # taken from the stream, and waiting for what other streams hold
        self._next_seq, self._after = 0, LOWEST
        self._root_agreed = True
        self._rows: list[Row] = []
        self._more = True

    @property
    def root(self) -> bytes:
        """The root of the tree over what was read."""
        return root_of(self.frontier)

    def row(self) -> Row | None:
        """The next row; None at the end of the stream."""
        if not self._rows:
            if not self._more:
                return None
            self._rows = self._snapshot.entries(self.name, self._after, self._at_once)
            self._more = len(self._rows) == self._at_once
            if not self._rows:
                return None
            self._after = self._rows[-1][0]
            self._rows.reverse()
        return self._rows.pop()

    def take(self, row: Row) -> Link | None:
        """Check a row against its own bytes and the entries before it; None where no entry can be read from it."""
        seq, request_id, kind, at_us, continues, body, leaf, root = row
        wrong = self.wrong
        if type(seq) is not int or type(body) is not bytes:
            wrong(None, f"a row whose seq is {seq!r} and whose entry is of type {type(body).__name__}")
            return None
        if seq != self._next_seq:
            missing = "is missing" if seq == self._next_seq + 1 else f"to {seq - 1} are missing"
            wrong(self._next_seq, missing if seq > self._next_seq else f"a row of seq {seq}")
        self._next_seq = seq + 1
        own_leaf = sha256(b"\x00" + body).digest()
        if own_leaf != leaf:
            wrong(seq, "`leaf` is not the hash of the entry")
        before, last_at_us = self.last_leaf, self.last_at_us
        self._grow(seq, own_leaf, root)
        self.bytes += len(body)
        try:
            entry = decode(body)
        except (ValueError, TypeError) as error:
            wrong(seq, f"not an entry: {error}")
            return None
        if not surely_well_made(entry, body):
            found = next(problems(entry), None)
            if found is not None:
                wrong(seq, found)
                return None
        if entry["stream"] != self.name or entry["seq"] != seq:
            wrong(seq, f"holds the entry of `{entry['stream']}`, seq {entry['seq']}")
        if entry["prev"] != before:
            wrong(seq, "`prev` is not the leaf before it")
        own_continues = None if entry["kind"] == "decided" else entry.get("recovery")
        if request_id != entry["id"] or kind != entry["kind"] or at_us != entry["at_us"] or continues != own_continues:
            self._columns_differ(row, entry, own_continues)
        self.last_at_us = entry["at_us"]
        if self.last_at_us < last_at_us and entry["kind"] != "clock_set":
            wrong(seq, "earlier than the entry before it, and no `clock_set`")
        return Link(entry, self.last_leaf)

    def _grow(self, seq: int, leaf: bytes, root: Any) -> None:
        self.frontier = grown(self.size, self.frontier, leaf)
        self.size += 1
        self.last_leaf = leaf.hex()
        agrees = root_of(self.frontier) == root
        # After an entry that was changed or taken away no root is right: said once.
        if not agrees and self._root_agreed:
            self.wrong(seq, "`root` is not that of the tree that ends here")
        self._root_agreed = agrees

    def _columns_differ(self, row: Row, entry: Entry, continues: str | None) -> None:
        names = ("request_id", "kind", "at_us", "continues")
        for name, beside, inside in zip(
            names, row[1:5], (entry["id"], entry["kind"], entry["at_us"], continues), strict=True
        ):
            if beside != inside:
                self.wrong(entry["seq"], f"`{name}` is `{beside}`, and the entry says `{inside}`")
