"""What checking a log finds, and the report of it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

Wrong = Callable[[str | None, int | None, str], None]
"""Told what is wrong, with the stream and seq of the entry it is about, where there is one."""

Kind = Literal["tampered", "anchor", "drift"]

MOST_FINDINGS = 100


class Finding(NamedTuple):
    """What is wrong, and where: with the entry *seq* of *stream*, or None where no single one is to blame.

    ``tampered``: the entries do not agree with themselves, or with what only they can vouch for. ``anchor``: the log
    lacks what an anchor shows. ``drift``: only a projection differs, and a rebuild cures it.
    """

    kind: Kind
    stream: str | None
    seq: int | None
    what: str

    def __str__(self) -> str:
        place = f"{self.stream}" if self.seq is None else f"{self.stream} {self.seq}"
        return self.what if self.stream is None else f"{place}: {self.what}"


class Head(NamedTuple):
    """How far a stream has come: its entries, and the root (hex) of the tree over them."""

    stream: str
    size: int
    root: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked and what was found: at most 100 findings of ``found``, the first bad place first.

    ``not_replayed`` counts decisions that this version cannot make again. ``unanchored`` has for each stream the number
    of its entries that no anchor covers: removal of the newest of them would not be seen.
    """

    entries: int
    streams: int
    bytes: int
    replayed: int
    not_replayed: int
    findings: tuple[Finding, ...]
    found: int
    unanchored: tuple[tuple[str, int], ...]
    heads: tuple[Head, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.found

    def has(self, kind: Kind) -> bool:
        """Whether something of a kind was found."""
        return any(finding.kind == kind for finding in self.findings)


class Findings:
    """What was found so far, by kind."""

    def __init__(self) -> None:
        self._found: dict[Kind, list[Finding]] = {"tampered": [], "anchor": [], "drift": []}
        self.count = 0

    def add(self, kind: Kind, stream: str | None, seq: int | None, what: str) -> None:
        """Add one; of each kind only the first are kept."""
        self.count += 1
        if len(self._found[kind]) < MOST_FINDINGS:
            self._found[kind].append(Finding(kind, stream, seq, what))

    def of(self, kind: Kind) -> Callable[[str | None, int | None, str], None]:
        """What adds findings of a kind."""
        return partial(self.add, kind)

    def first(self) -> tuple[Finding, ...]:
        """The first of them, the gravest kind first."""
        return tuple(finding for found in self._found.values() for finding in found)[:MOST_FINDINGS]
