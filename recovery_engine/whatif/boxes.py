"""The boxes of a diagram that lead to the same leaf, as large as they can be made, each with a request in it.

A box is one whole number while it is worked on: a bit for every smallest part of every dimension that the diagram tells
apart, so that one box lies in another where no bit is its own.
"""

from collections.abc import Hashable, Iterator
from itertools import pairwise, product
from typing import NamedTuple

from recovery_engine.rules.encoding import Word
from recovery_engine.whatif.diagram import Box, Diagram, Leaf, Node, inside, joined
from recovery_engine.whatif.dimensions import BUDGET, COST, NUMBER, PROOF, ROLE, SHARE, SUM, TIMES, WORD, Space, Test
from recovery_engine.whatif.integers import NotSettled
from recovery_engine.whatif.ranges import united
from recovery_engine.whatif.witness import Witness, witness

# What is given up first when a box is made larger: what people think of last when they say which requests they mean.
_GIVEN_UP = (PROOF, TIMES, BUDGET, NUMBER, WORD, SHARE, COST, SUM, ROLE)

MOST_BOXES = 500_000


class Region(NamedTuple):
    """Requests that have the same leaf: a box that cannot be made larger, and one of them."""

    box: Box
    leaf: Leaf
    witness: Witness


class Regions(NamedTuple):
    """Regions that together are all requests of interest, and whether that could be shown."""

    found: tuple[Region, ...]
    complete: bool
    cells: int


def regions(diagram: Diagram, most: int = MOST_BOXES) -> Regions:
    """All requests of interest as few large boxes, which may overlap; incomplete after *most* boxes were looked at."""
    if not isinstance(diagram.root, Node):
        return _everything(diagram)
    bits = _Bits(diagram)
    found: dict[Leaf, list[tuple[int, Witness]]] = {}
    complete = True
    for looked_at, (small, leaf) in enumerate(bits.boxes()):
        if looked_at >= most:
            complete = False
            break
        known = found.setdefault(leaf, [])
        if any(not small & ~large for large, _ in known):
            continue
        try:
            one = one_of(diagram.space, bits.box(small))
        except NotSettled:
            complete = False
            continue
        if one is not None:
            large = bits.enlarged(small, leaf)
            found[leaf] = [(other, its) for other, its in known if other & ~large] + [(large, one)]
    chosen = [Region(bits.box(large), leaf, one) for leaf, known in found.items() for large, one in known]
    return Regions(tuple(chosen), complete, diagram.cells)


def _everything(diagram: Diagram) -> Regions:
    try:
        one = None if diagram.root is None else one_of(diagram.space, {})
    except NotSettled:
        return Regions((), False, diagram.cells)
    return Regions((Region({}, diagram.root, one),) if one else (), True, diagram.cells)


def one_of(space: Space, box: Box) -> Witness | None:
    """A request in a box, None where there can be none. Raises NotSettled."""
    return next((found for single in _single_ranges(box) if (found := witness(space, single)) is not None), None)


def first_of(diagram: Diagram, most: int = MOST_BOXES) -> Witness | None:
    """One request of interest in a diagram, or None. Raises NotSettled where *most* boxes do not tell."""
    unsettled = False
    for looked_at, box in enumerate(_paths(diagram.root, {})):
        if looked_at == most:
            raise NotSettled
        try:
            found = one_of(diagram.space, box)
        except NotSettled:
            unsettled = True
            continue
        if found is not None:
            return found
    if unsettled:
        raise NotSettled
    return None


def _paths(node: "Node | Leaf", box: Box) -> Iterator[Box]:
    if isinstance(node, Node):
        for label, lead in node.edges:
            if lead is not None:
                yield from _paths(lead, {**box, node.place: label})
    elif node is not None:
        yield box


def _single_ranges(box: Box) -> Iterator[Box]:
    """The same box, in parts whose numbers are one range each."""
    split = {place: [(range_,) for range_ in label] for place, label in box.items() if isinstance(label, tuple)}
    for chosen in product(*split.values()):
        yield {**box, **dict(zip(split, chosen, strict=True))}


class _Bits:
    """A diagram in bits: of each dimension a field, in it a bit for every part."""

    def __init__(self, diagram: Diagram) -> None:
        self._nodes = list(_nodes(diagram.root))
        numbers = {id(node): number for number, node in enumerate(self._nodes)}
        labels: dict[int, set[Test]] = {}
        for node in self._nodes:
            labels.setdefault(node.place, set()).update(label for label, _ in node.edges)
        self._parts = {place: parts(labels[place]) for place in sorted(labels)}
        self._bit: dict[int, int] = {}
        width = 0
        for place, some in self._parts.items():
            self._bit[place] = width
            width += len(some)
        self._all = (1 << width) - 1
        self._field = {place: ((1 << len(some)) - 1) << self._bit[place] for place, some in self._parts.items()}
        masks = {(place, label): self._mask(place, label) for place, some in labels.items() for label in some}
        # of each node: its field, and of each edge the bits and where it leads, a node or a leaf
        self._edges = [
            (
                self._field[node.place],
                [(masks[node.place, label], numbers.get(id(lead), -1), lead) for label, lead in node.edges],
            )
            for node in self._nodes
        ]
        kinds = [dimension.kind for dimension in diagram.space.dimensions]
        self._order = sorted(self._parts, key=lambda place: (_GIVEN_UP.index(kinds[place]), -place))

    def _mask(self, place: int, label: Test) -> int:
        return sum(1 << self._bit[place] + at for at, part in enumerate(self._parts[place]) if inside(part, label))

    def boxes(self) -> Iterator[tuple[int, Leaf]]:
        """Every box that leads to a leaf of interest; boxes do not overlap."""
        waiting: list[tuple[int, Leaf, int]] = [(0, None, self._all)]
        while waiting:
            number, leaf, box = waiting.pop()
            if number < 0:
                if leaf is not None:
                    yield box, leaf
                continue
            field, edges = self._edges[number]
            waiting += [(lead, leaf, box & ~field | mask) for mask, lead, leaf in edges]

    def enlarged(self, box: int, leaf: Leaf) -> int:
        """The box, larger in one dimension after the other while it leads to its leaf only."""
        for place in self._order:
            field = self._field[place]
            if field & ~box and self._leads_only_to(box & ~field | (field & ~box), leaf):
                box |= field
        for place in self._order:
            for at in range(len(self._parts[place])):
                bit = 1 << self._bit[place] + at
                if not bit & box and self._leads_only_to(box & ~self._field[place] | bit, leaf):
                    box |= bit
        return box

    def _leads_only_to(self, box: int, leaf: Leaf) -> bool:
        """Whether every possible request in a box has this leaf."""
        seen, waiting = {0}, [0]
        while waiting:
            for mask, lead, its in self._edges[waiting.pop()][1]:
                if mask & box:
                    if lead < 0:
                        if its != leaf:
                            return False
                    elif lead not in seen:
                        seen.add(lead)
                        waiting.append(lead)
        return True

    def box(self, bits: int) -> Box:
        """A box as people write it: what each dimension may be, where it is not anything."""
        return {
            place: joined(part for at, part in enumerate(some) if bits >> self._bit[place] + at & 1)
            for place, some in self._parts.items()
            if self._field[place] & ~bits
        }


def _nodes(root: "Node | Leaf") -> Iterator[Node]:
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Node) and id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting += [lead for _, lead in node.edges]


def parts(labels: set[Test]) -> list[Test]:
    """The smallest sets that some sets of one dimension tell apart, in order."""
    some = [label for label in labels if isinstance(label, frozenset)]
    if some:
        classes: dict[Hashable, set[Word]] = {}
        for word in frozenset[Word]().union(*some):
            classes.setdefault(tuple(word in label for label in some), set()).add(word)
        return sorted((frozenset(words) for words in classes.values()), key=lambda words: sorted(map(str, words)))
    ranges = [range_ for label in labels if isinstance(label, tuple) for range_ in label]
    edges = sorted({low for low, _ in ranges} | {high + 1 for _, high in ranges})
    pieces = [((low, beyond - 1),) for low, beyond in pairwise(edges)]
    return [piece for piece in pieces if inside(piece, united(ranges))]
