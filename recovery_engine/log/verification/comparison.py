"""What stands in the tables beside the entries, against what follows from them."""

from collections.abc import Iterable, Iterator
from typing import Any

from recovery_engine.log.database import COLUMNS
from recovery_engine.log.merkle import frontier_bytes
from recovery_engine.log.projection import RecoveryState, delegation_row
from recovery_engine.log.verification.chain import Chain
from recovery_engine.log.verification.findings import Wrong
from recovery_engine.log.verification.fold import Fold, surely_kept, unpack
from recovery_engine.log.verification.snapshot import Row, Snapshot

Key = tuple[Any, ...]


def side_by_side(ours: Iterable[tuple[Key, Any]], theirs: Iterable[tuple[Key, Any]]) -> Iterator[tuple[Key, Any, Any]]:
    """Each key of two sorted sequences with what both have of it; None where one has nothing."""
    left, right = iter(ours), iter(theirs)
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if one is not None and other is not None and one[0] == other[0]:
            yield one[0], one[1], other[1]
            one, other = next(left, None), next(right, None)
        elif one is not None and (other is None or _before(one[0], other[0])):
            yield one[0], one[1], None
            one = next(left, None)
        elif other is not None:
            yield other[0], None, other[1]
            other = next(right, None)


def _before(key: Key, other: Key) -> bool:
    try:
        return key < other
    except TypeError:  # a key of another type is none of ours
        return False


def keyed(rows: Iterable[Row], length: int) -> Iterator[tuple[Key, Row]]:
    """Each row with its first columns for a key."""
    for row in rows:
        yield tuple(row[:length]), row


def heads(snapshot: Snapshot, chains: Iterable[Chain], tampered: Wrong, drift: Wrong) -> None:
    """Compare ``recovery_stream``. A head ahead of its entries, or that ends with another, says that some are gone."""
    by_name = {chain.name: chain for chain in chains}
    for stream, size, frontier, last_leaf, last_at_us in snapshot.table("recovery_stream", "stream"):
        chain = by_name.pop(stream, None)
        if chain is None:
            if size:  # a row without entries was only made to be locked
                tampered(stream, 0, f"the stream had {size:,} entries, and none is there")
        elif size > chain.size:
            tampered(stream, chain.size, f"the stream had {size:,} entries, and {chain.size:,} are there")
        elif size == chain.size and last_leaf != bytes.fromhex(chain.last_leaf):
            tampered(stream, size - 1, "the last entry is not the one of which `recovery_stream` has the leaf")
        else:
            own = (chain.size, frontier_bytes(chain.frontier), bytes.fromhex(chain.last_leaf), chain.last_at_us)
            names = list(COLUMNS["recovery_stream"])[1:]
            _differ(
                "recovery_stream", stream, names, own, (size, frontier, last_leaf, last_at_us), (stream, None), drift
            )
    for name in by_name:
        drift(name, None, f"`recovery_stream` lacks `{name}`")


def _differ(
    table: str,
    key: str,
    names: Iterable[str],
    own: Row,
    beside: Row,
    place: tuple[str | None, int | None],
    drift: Wrong,
) -> None:
    for name, here, there in zip(names, own, beside, strict=True):
        if here != there:
            drift(*place, f"`{name}` of `{key}` in `{table}` is {_shown(there)}, and the entries say {_shown(here)}")


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"`{value.hex() if isinstance(value, bytes) else value}`"


def recoveries(snapshot: Snapshot, fold: Fold, drift: Wrong) -> None:
    """Compare ``recovery_state`` and ``recovery_line``."""
    states = keyed(snapshot.table("recovery_state", "recovery"), 1)
    lines = _Beside(snapshot.table("recovery_line", "recovery, line"))
    ours = (((recovery,), packed) for recovery, packed in fold.recoveries.packed())
    for (recovery,), packed, row in side_by_side(ours, states):
        if packed is None:
            drift(None, None, f"`recovery_state` has `{recovery}`, and no entry asks for it")
            continue
        before, found = list(lines.before(recovery)), lines.of(recovery)
        if row is not None and not before and surely_kept(packed, row, found):
            continue
        kept = unpack(packed)
        place = (kept.state.stream, kept.state.seq)
        if row is None:
            drift(*place, f"`recovery_state` lacks `{recovery}`")
        elif tuple(row) != kept.state:
            _differ("recovery_state", recovery, RecoveryState._fields, kept.state, row, place, drift)
        _lines_of_nothing(before, drift)
        if found != sorted(kept.lines):
            drift(*place, f"`recovery_line` has {found} of `{recovery}`, and the entries say {sorted(kept.lines)}")
    _lines_of_nothing(lines.rest(), drift)


def _lines_of_nothing(rows: Iterable[Row], drift: Wrong) -> None:
    for recovery, line in rows:
        drift(None, None, f"`recovery_line` has `{line}` of `{recovery}`, and no entry asks for it")


class _Beside:
    """Rows of ``recovery_line``, taken recovery by recovery beside others."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = iter(rows)
        self._next = next(self._rows, None)

    def before(self, recovery: str) -> Iterator[Row]:
        """The rows of recoveries before this one."""
        while self._next is not None and _before((self._next[0],), (recovery,)):
            yield self._next
            self._next = next(self._rows, None)

    def of(self, recovery: str) -> list[Any]:
        """The lines of a recovery."""
        lines = []
        while self._next is not None and self._next[0] == recovery:
            lines.append(self._next[1])
            self._next = next(self._rows, None)
        return lines

    def rest(self) -> Iterator[Row]:
        """All that is left."""
        while self._next is not None:
            yield self._next
            self._next = next(self._rows, None)


def usage(snapshot: Snapshot, fold: Fold, drift: Wrong) -> None:
    """Compare ``recovery_usage``. A row whose sums came back to zero may be there or not."""
    theirs = (row for row in snapshot.table("recovery_usage", "subject, bday, remedy, basis, currency") if any(row[5:]))
    for key, own, row in side_by_side(keyed(fold.tally.rows(), 5), keyed(theirs, 5)):
        if own == row:
            continue
        name = " ".join(map(str, key))
        if own is None:
            drift(None, None, f"`recovery_usage` has {tuple(row[5:])} for `{name}`, and the entries none")
        elif row is None:
            drift(None, None, f"`recovery_usage` lacks `{name}`")
        else:
            _differ("recovery_usage", name, ("amount_minor", "times"), own[5:], row[5:], (None, None), drift)


def versions(snapshot: Snapshot, fold: Fold, drift: Wrong) -> None:
    """Compare ``recovery_subject_lock``; a subject at 0 was only made to be locked."""
    theirs = (row for row in snapshot.table("recovery_subject_lock", "subject") if row[1])
    ours = (((subject,), (subject, version)) for subject, version in fold.versions.items())
    for (subject,), own, row in side_by_side(ours, keyed(theirs, 1)):
        at, there = own[1] if own else 0, row[1] if row else 0
        if at != there:
            drift(None, None, f"`ver` of `{subject}` in `recovery_subject_lock` is {there}, and the entries say {at}")


def delegations(snapshot: Snapshot, fold: Fold, drift: Wrong) -> None:
    """Compare ``recovery_delegation``."""
    ours = (((name,), tuple(delegation_row(fold.delegations[name]))) for name in sorted(fold.delegations))
    theirs = keyed(snapshot.table("recovery_delegation", "delegation"), 1)
    for (name,), own, row in side_by_side(ours, theirs):
        if own is None:
            drift(None, None, f"`recovery_delegation` has `{name}`, and no entry lends it")
        elif row is None:
            drift(None, None, f"`recovery_delegation` lacks `{name}`")
        else:
            _differ("recovery_delegation", name, COLUMNS["recovery_delegation"], own, row, (None, None), drift)
