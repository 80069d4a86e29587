"""All requests at once: a decision diagram over the dimensions of a space.

Every path from the top to a leaf is a box of requests that are decided alike under all of the policies. Standings that
are the same continue the same way, so that the diagram stays small where the number of cells is beyond counting. What
cannot be, such as a refund larger than all remedies together, is left out where two dimensions show it.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

from recovery_engine.rules.encoding import Word
from recovery_engine.rules.readings import BOTH
from recovery_engine.whatif.dimensions import (
    COST,
    HIGHEST_SHARE,
    PROOF,
    ROLE,
    SUM,
    Dimension,
    Space,
    Test,
)
from recovery_engine.whatif.ranges import ABSENT, LARGEST, Range, bands, united, within
from recovery_engine.whatif.standing import Answer, Reader, Standing, allowed, shares

Leaf = Hashable
"""What is asked about a box; None where it is of no interest."""

Ask = Callable[[tuple[Answer, ...], tuple[frozenset[int], ...]], Leaf]
"""From the answers of all policies, and the promises that speak of the request, to a leaf."""

Settled = Callable[[Sequence[Standing]], bool]
"""Whether nothing of interest can follow from these standings, one of each policy, all of which go on the same way."""

Box = dict[int, Test]
"""What requests have in common, by the place of a dimension; what is left out may be anything."""


class Node(NamedTuple):
    """A dimension, and where each of its values leads."""

    place: int
    edges: tuple[tuple[Test, "Node | Leaf"], ...]


class TooLarge(Exception):
    """The policies tell more requests apart than can be looked at."""


MOST_NODES = 400_000


class Diagram:
    """The diagram of a space for one question."""

    def __init__(self, space: Space, ask: Ask, settled: Settled | None = None, most: int = MOST_NODES) -> None:
        """Raises TooLarge."""
        self.space, self._ask, self._settled, self._most = space, ask, settled, most
        self._comparable = _comparable_from(space)
        self._readers = [Reader(space, number) for number in range(len(space.policies))]
        how = [(policy.ladder, defaults) for policy, defaults in zip(space.policies, space.defaults, strict=True)]
        self._alike = [how.index(one) for one in how]
        self._nodes: dict[Hashable, Node | Leaf] = {}
        self._same: dict[Hashable, Node] = {}
        self._coupled = _Coupled(space)
        self.role = next(place for place, dimension in enumerate(space.dimensions) if dimension.kind == ROLE)
        self.cells = 0
        self.root = self._from(tuple(reader.start() for reader in self._readers), -1, ())

    def _from(self, standings: tuple[Standing, ...], last: int, known: "Known") -> "Node | Leaf":
        if self._settled is not None and last >= self._comparable and self._settled(standings):
            return None
        ahead = {
            place
            for reader, standing in zip(self._readers, standings, strict=True)
            for place in reader.ahead(standing)
            if place > last
        }
        place = min(ahead, default=self.role)
        known = self._coupled.that_matter(known, ahead)
        key = (place, standings, known)
        if key not in self._nodes:
            if len(self._nodes) >= self._most:
                raise TooLarge
            self._nodes[key] = self._node(place, standings, known)
        return self._nodes[key]

    def _node(self, place: int, standings: tuple[Standing, ...], known: "Known") -> "Node | Leaf":
        leads: dict[Hashable, tuple[Node | Leaf, list[Test]]] = {}
        for label, value in self._choices(place, standings):
            if not self._coupled.possible(known, place, label):
                continue
            self.cells += 1
            moved = self._moved(standings, place, value)
            if place == self.role:
                answers = tuple(
                    reader.answer(standing, str(value)) for reader, standing in zip(self._readers, moved, strict=True)
                )
                lead = self._ask(answers, tuple(standing.promised for standing in moved))
            else:
                lead = self._from(moved, place, self._coupled.with_(known, place, label))
            leads.setdefault(id(lead) if isinstance(lead, Node) else ("leaf", lead), (lead, []))[1].append(label)
        if len(leads) == 1:
            lead, labels = next(iter(leads.values()))
            if joined(labels) == self.space.domains[place]:
                return lead
        edges = {which: (joined(labels), lead) for which, (lead, labels) in leads.items()}
        same = (place, frozenset((which, label) for which, (label, _) in edges.items()))
        return self._same.setdefault(same, Node(place, tuple(edges.values())))

    def _moved(self, standings: tuple[Standing, ...], place: int, value: Word | int) -> tuple[Standing, ...]:
        """The standings a step further; where two are the same, they go the same way."""
        gone: dict[tuple[int, Standing], Standing] = {}
        for alike, standing in zip(self._alike, standings, strict=True):
            if (alike, standing) not in gone:
                gone[alike, standing] = self._readers[alike].step(standing, place, value)
        return tuple(gone[one] for one in zip(self._alike, standings, strict=True))

    def _choices(self, place: int, standings: tuple[Standing, ...]) -> Iterator[tuple[Test, Word | int]]:
        """The values of a dimension that the policies tell apart here, and one of each."""
        domain, found = self.space.domains[place], list(zip(self._readers, standings, strict=True))
        tests = {test for reader, standing in found for test in reader.tests(standing, place)}
        if isinstance(domain, frozenset):
            ordered = sorted(domain, key=str)  # INVARIANT: the same policies give the same boxes in every run
            if self.space.dimensions[place].kind in (PROOF, ROLE):
                yield from ((frozenset({word}), word) for word in ordered)
                return
            classes: dict[tuple[bool, ...], list[Word]] = {}
            words_tested = [test for test in tests if isinstance(test, frozenset)]
            for word in ordered:
                classes.setdefault((word == "", *[word in test for test in words_tested]), []).append(word)
            for words in classes.values():
                yield frozenset(words), words[0]
        else:
            starts = {1} if self.space.dimensions[place].kind == COST else set()
            starts |= {limit + 1 for reader, standing in found for limit in reader.limits(standing, place)}
            for test in tests:
                if isinstance(test, tuple):
                    starts |= {start for low, high in test for start in (low, high + 1)}
            for whole in domain:
                yield from (((band,), band[0]) for band in bands(starts, whole))


def _comparable_from(space: Space) -> int:
    """The place from which on the same standings of all policies mean the same answers."""
    first, *others = space.policies
    if any(other.ladder != first.ladder for other in others):  # ranks have other names
        return len(space.dimensions)
    read = {place for defaults in space.defaults for place in defaults}
    return max((at for at in read if len({defaults.get(at) for defaults in space.defaults}) > 1), default=-1)


# --- sets of words or numbers -----------------------------------------------------------------------------------------


def joined(labels: Iterable[Test]) -> Test:
    """All words, or all numbers, of some sets of the same dimension."""
    first, *others = labels
    if isinstance(first, frozenset):
        return first.union(*others)  # type: ignore[arg-type]
    return united(range_ for label in (first, *others) for range_ in label)  # type: ignore[misc]


def inside(one: Test, other: Test) -> bool:
    """Whether one set is within the other."""
    if isinstance(one, frozenset):
        return one <= other  # type: ignore[operator]
    return within(one, other)  # type: ignore[arg-type]


# --- dimensions that depend on each other -----------------------------------------------------------------------------

Known = tuple[tuple[int, Range], ...]
"""What is known of sums and of numbers that shares are of, by place: from the least to the largest value."""


class _Coupled:
    """What two dimensions show to be impossible: a part above its whole, a share above what the bill allows."""

    def __init__(self, space: Space) -> None:
        self._dimensions = space.dimensions
        self._kind = [dimension.kind for dimension in space.dimensions]
        self._share = shares(space)
        sums = [place for place, kind in enumerate(self._kind) if kind == SUM]
        self._parts = {
            whole: frozenset(
                part for part in sums if part != whole and _is_part(self._dimensions[part], self._dimensions[whole])
            )
            for whole in sums
        }
        self._bases = frozenset(base for base, _, _ in self._share.values())

    def that_matter(self, known: Known, ahead: set[int]) -> Known:
        """What the dimensions ahead depend on."""
        if not known:
            return known
        shares = [self._share[place] for place in ahead if place in self._share]
        needed = {place for share in shares for place in share[:2]}
        sums = {place for place in ahead if self._kind[place] == SUM} | {counted for _, counted, _ in shares}
        needed |= sums
        for place in sums:
            needed |= self._parts[place] | {whole for whole, parts in self._parts.items() if place in parts}
        return tuple(one for one in known if one[0] in needed)

    def with_(self, known: Known, place: int, label: Test) -> Known:
        """With what one more dimension says."""
        if (self._kind[place] == SUM or place in self._bases) and isinstance(label, tuple):
            if label[0][0] != ABSENT:
                return (*known, (place, (label[0][0], label[-1][1])))
        return known

    def possible(self, known: Known, place: int, label: Test) -> bool:
        """Whether a request may have a value of the label here, for all that is known of other dimensions."""
        if not known or not isinstance(label, tuple):
            return True
        (low, high), ranges = (label[0][0], label[-1][1]), dict(known)
        if self._kind[place] == SUM:
            least, most = self._between(place, ranges)
            return low <= most and high >= least
        if place in self._share:
            base, counted, kind = self._share[place]
            if base not in ranges:
                return True
            (from_, to), (least, most) = ranges[base], self._between(counted, ranges)
            if high < HIGHEST_SHARE and least > allowed(kind, high, to):
                return False
            return low <= 0 or most > min(allowed(kind, low - 1, from_), allowed(kind, low - 1, to))
        return True

    def _between(self, place: int, ranges: dict[int, Range]) -> Range:
        """The least and the largest that a sum can be."""
        low, high = ranges.get(place, (1, LARGEST))
        for other, (least, most) in ranges.items():
            if self._kind[other] == SUM:
                if other in self._parts[place]:
                    low = max(low, least)
                elif place in self._parts[other]:
                    high = min(high, most)
        return low, high


def _is_part(part: Dimension, whole: Dimension) -> bool:
    """Whether what one sum adds up is among what another does."""
    few, many = (frozenset(str(word) for word in one.key[2]) for one in (part, whole))  # type: ignore[attr-defined]
    basis, other = part.key[3], whole.key[3]
    return (not many or (bool(few) and few <= many)) and other in (basis, BOTH)
