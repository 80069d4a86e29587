"""What can be told about a request, as dimensions of a space, and the lines of policies as tests on them.

A policy reads a request through a handful of values: its words, its numbers, sums of the case, shares of a bill, what a
budget holds, the proof on file, and who asks. Each is a dimension; a line tests each alone, so that whatever several
policies together can tell apart is a box. What they compare is named by content, not by the id of a line: a budget that
was renamed, or whose amount changed, still adds up the same money.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from recovery_engine.model import GOODWILL, OWED
from recovery_engine.policy.declared import Cell
from recovery_engine.policy.schema import (
    ANYTHING,
    AuthorityLine,
    BudgetLine,
    CeilingLine,
    Conditions,
    FourEyesLine,
    Limit,
    Line,
    OwedLine,
    Policy,
    Promise,
    RequiresLine,
    SomeoneElseLine,
)
from recovery_engine.rules.cells import BUILT_IN_WORDS, used_lines
from recovery_engine.rules.encoding import Word, word_classes
from recovery_engine.rules.readings import ALL, BOTH
from recovery_engine.whatif.ranges import LARGEST, NOT_GIVEN, NOTHING, Ranges

WORD, NUMBER, COST, SUM, SHARE, BUDGET, TIMES, PROOF, ROLE = range(9)
"""The kinds of dimension, in the order in which a request is looked at."""

OTHER = "\0other"
"""Any word that no line names, where the policy lists none."""

HIGHEST_SHARE = 2**62
"""Beyond every share: a bill that is not on file, or is too small."""


class Dimension(NamedTuple):
    """A kind and what it measures.

    WORD, NUMBER: (place, name). COST: whether it costs anything, 0 or 1. SUM: (.., remedies, basis), from 1 up.
    SHARE: (base, "percent" | "owed percent" | "each", sum): the least percentage (in hundredths) or amount each that
    would cover the sum. BUDGET, TIMES: (per, every, remedies). PROOF: an item. ROLE: who asks.
    """

    kind: int
    key: tuple[Hashable, ...]


COSTS = Dimension(COST, ())
ASKER = Dimension(ROLE, ())


def sum_of(remedies: tuple[str, ...], basis: str) -> Dimension:
    """The dimension of a sum; those over fewer remedies come first, of both bases last."""
    chosen = tuple(sorted(set(remedies)))
    return Dimension(SUM, (basis == BOTH, len(chosen) or LARGEST, chosen, basis))


Test = frozenset[Word] | Ranges
"""What a line allows in one dimension."""

Tests = tuple[tuple[int, Test], ...]
"""Tests by the place of their dimension, in that order."""

Bound = tuple[int, int]
"""The place of a dimension, and the largest value within the limit."""

Place = Callable[[Dimension], int]
"""Where a dimension stands in the order."""


class Rows(NamedTuple):
    """What an authority line gives: for each row its remedy or `total`, the place of its sum, and its cells by role."""

    rows: tuple[tuple[str, int, tuple[Cell, ...]], ...]


class Over(NamedTuple):
    """A ceiling or budget: it stops the roles below a rank where any of its bounds is exceeded."""

    bounds: frozenset[Bound]
    binds_below: int
    personal: bool = False


class Covers(NamedTuple):
    """An owed line: it covers the sum where it is within all bounds."""

    bounds: frozenset[Bound]


# INVARIANT: tuples of the same fields are equal whatever they are called; the last field keeps such effects apart.
class Denies(NamedTuple):
    """A deny line."""

    what: str = "denies"


class Proves(NamedTuple):
    """Proof that must be on file, but for the roles from a rank up: the places of its items."""

    waived_from: int
    items: frozenset[int]


class Eyes(NamedTuple):
    """A second person of this rank; -1 for the role above the first."""

    second: int
    what: str = "eyes"


class Elsewhere(NamedTuple):
    """Another person of the same role decides."""

    what: str = "elsewhere"


class Promised(NamedTuple):
    """A promise speaks of these requests."""

    number: int
    what: str = "promised"


Effect = Rows | Over | Covers | Denies | Proves | Eyes | Elsewhere | Promised


class Rule(NamedTuple):
    """What is left to test of a line, and what it does where it fits. ``unless`` is None where it cannot exclude."""

    when: Tests
    unless: Tests | None
    effect: Effect


@dataclass(frozen=True)
class Space:
    """The dimensions in which some policies of one currency read requests of one basis, and their lines as rules.

    ``domains`` has, for each dimension, every word or number that a request valid under all of them may have.
    ``defaults`` are what each policy takes a fact to be that is not given. ``roles`` are those on every ladder.
    """

    policies: tuple[Policy, ...]
    basis: str
    promises: tuple[Promise, ...]
    dimensions: tuple[Dimension, ...]
    domains: tuple[Test, ...]
    rules: tuple[tuple[Rule, ...], ...]
    defaults: tuple[Mapping[int, Word | int], ...]

    def place(self, dimension: Dimension) -> int:
        """Where a dimension stands in the order."""
        return self.dimensions.index(dimension)


def space(policies: Sequence[Policy], basis: str, promises: Sequence[Promise] = ()) -> Space:
    """The space in which some policies, and promises, can be looked at together."""
    used: set[Dimension] = {COSTS, ASKER, _word("remedy")}
    used |= {_word(name) for name in BUILT_IN_WORDS[1:4] for policy in policies if _must_have(policy, name)}

    def collect(dimension: Dimension) -> int:
        used.add(dimension)
        if dimension.kind == SHARE:
            base, _, counted = dimension.key
            used.update((base, counted))  # type: ignore[arg-type]
        return 0

    for policy in policies:
        list(_rules(policy, basis, promises, collect))
    dimensions = tuple(sorted(used))
    place = {dimension: number for number, dimension in enumerate(dimensions)}.__getitem__
    return Space(
        tuple(policies),
        basis,
        tuple(promises),
        dimensions,
        tuple(_domain(policies, promises, dimension) for dimension in dimensions),
        tuple(tuple(_rules(policy, basis, promises, place)) for policy in policies),
        tuple(_defaults(policy, dimensions) for policy in policies),
    )


def _word(name: str) -> Dimension:
    return Dimension(WORD, (BUILT_IN_WORDS.index(name) if name in BUILT_IN_WORDS else 9, name))


def _number(name: str) -> Dimension:
    return Dimension(NUMBER, (int(name != "bill"), name))


# --- the lines --------------------------------------------------------------------------------------------------------


def _rules(policy: Policy, basis: str, promises: Sequence[Promise], place: Place) -> Iterator[Rule]:
    top = len(policy.ladder)
    for line in used_lines(policy, basis):
        when = dict(_tests(line.when, basis, place))
        if isinstance(line, OwedLine):
            when[place(_word("remedy"))] = frozenset({line.remedy})
        unless = None if line.unless is None else _in_order(dict(_tests(line.unless, basis, place)))
        yield Rule(_in_order(when), unless, _effect(policy, line, place))
    if policy.reason_codes:
        when = {place(_word("category")): frozenset[Word](policy.reason_codes)}
        yield Rule(_in_order(when), None, Proves(top, frozenset({place(Dimension(PROOF, ("reason",)))})))
    for number, promise in enumerate(promises):
        if basis in promise.when.words.get("basis", (GOODWILL,)):
            unless = None if promise.unless is None else _in_order(dict(_tests(promise.unless, basis, place)))
            yield Rule(_in_order(dict(_tests(promise.when, basis, place))), unless, Promised(number))


def _in_order(tests: Mapping[int, Test]) -> Tests:
    return tuple(sorted(tests.items(), key=lambda test: test[0]))


def _tests(asked: Conditions, basis: str, place: Place) -> Iterator[tuple[int, Test]]:
    for name, words in asked.words.items():
        if name == "basis":
            if basis not in words:
                yield place(COSTS), NOTHING
        else:
            yield place(ASKER if name == "role" else _word(name)), frozenset(words)
    for name, intervals in asked.numbers.items():
        dimension = sum_of(_remedies(asked), basis) if name == "amount" else _number(name)
        yield (
            place(dimension),
            tuple((-LARGEST if low is None else low, LARGEST if high is None else high) for low, high in intervals),
        )


def _effect(policy: Policy, line: Line, place: Place) -> Effect:
    def above(role: str | None) -> int:
        return len(policy.ladder) if role is None else policy.rank(role)

    match line:
        case AuthorityLine():
            sums = {row: place(sum_of(ALL if row == "total" else (row,), GOODWILL)) for row in line.up_to}
            return Rows(tuple((row, sums[row], cells) for row, cells in sorted(line.up_to.items())))
        case CeilingLine():
            return Over(frozenset(_limits(line, sum_of(_remedies(line.when), BOTH), place)), above(line.binds_below))
        case BudgetLine():
            key = (line.per, line.every, tuple(sorted(_remedies(line.when))))
            limits = ((Dimension(BUDGET, key), line.amount), (Dimension(TIMES, key), line.times))
            bounds = frozenset((place(dimension), limit) for dimension, limit in limits if limit is not None)
            return Over(bounds, above(line.binds_below), line.per == "employee")
        case OwedLine():
            return Covers(frozenset(_limits(line, sum_of((line.remedy,), OWED if line.on_top else BOTH), place)))
        case RequiresLine():
            items = (*line.evidence, *(["note"] if line.note else []))
            return Proves(above(line.waivable_by), frozenset(place(Dimension(PROOF, (item,))) for item in items))
        case FourEyesLine():
            return Eyes(-1 if line.second == "next_role" else policy.rank(line.second))
        case SomeoneElseLine():
            return Elsewhere()
    return Denies()


def _remedies(asked: Conditions) -> tuple[str, ...]:
    """The remedies a line adds up."""
    return tuple(str(word) for word in asked.words.get("remedy", ALL))


def _limits(line: Limit, counted: Dimension, place: Place) -> Iterator[Bound]:
    if line.amount is not None:
        yield place(counted), line.amount
    if line.percent is not None and line.of is not None:
        kind = "owed percent" if isinstance(line, OwedLine) else "percent"
        yield place(Dimension(SHARE, (_number(line.of), kind, counted))), line.percent
    if line.each is not None and line.per is not None:
        yield place(Dimension(SHARE, (_number(line.per), "each", counted))), line.each


# --- what a valid request may have ------------------------------------------------------------------------------------


def _domain(policies: Sequence[Policy], promises: Sequence[Promise], dimension: Dimension) -> Test:
    match dimension.kind:
        case kind if kind == WORD:
            return _words(policies, promises, str(dimension.key[1]))
        case kind if kind == NUMBER:
            return _numbers(policies, str(dimension.key[1]))
        case kind if kind == COST:
            return ((0, 1),)
        case kind if kind == SHARE:
            return ((-1, HIGHEST_SHARE),)
        case kind if kind == PROOF:
            return frozenset({True, False})
        case kind if kind == ROLE:
            return frozenset(role for role in policies[0].ladder if all(role in policy.ladder for policy in policies))
    return ((int(dimension.kind != TIMES), LARGEST),)


def _words(policies: Sequence[Policy], promises: Sequence[Promise], name: str) -> frozenset[Word]:
    """The words that every policy accepts; ``""`` stands for one that is not given."""
    listed = [set(known) for policy in policies if (known := _known(policy, name)) is not None]
    words = set.intersection(*listed) if listed else {OTHER, *_named(policies, promises, name)}
    optional = not any(_must_have(policy, name) for policy in policies) if name in BUILT_IN_WORDS else False
    if (optional and name != "remedy") or _defaults_differ(policies, name):
        words.add("")
    return frozenset(words)


def _known(policy: Policy, name: str) -> Sequence[Word] | None:
    return (True, False) if policy.words.is_flag(name) else policy.words.known(name)


def _named(policies: Sequence[Policy], promises: Sequence[Promise], name: str) -> Iterator[Word]:
    """The words of a field that some line or promise names."""
    for policy in policies:
        yield from word_classes(policy).get(name, ())
    for promise in promises:
        for asked in (promise.when, promise.unless or ANYTHING):
            yield from asked.words.get(name, ())


def _must_have(policy: Policy, name: str) -> bool:
    """Whether a request must have the word: the policy lists it, and a line reads it."""
    return policy.words.known(name) is not None and name in word_classes(policy)


def _numbers(policies: Sequence[Policy], name: str) -> Ranges:
    money = any(policy.words.is_money(name) for policy in policies)
    known = (0 if money else -LARGEST, LARGEST)
    return (NOT_GIVEN, known) if name == "bill" or _defaults_differ(policies, name) else (known,)


def _defaults_differ(policies: Sequence[Policy], name: str) -> bool:
    """Whether a fact that is left out is something else under one policy than under another."""
    defaults = [policy.facts[name].default for policy in policies if name in policy.facts]
    return None not in defaults and len(set(defaults)) > 1


def _defaults(policy: Policy, dimensions: Sequence[Dimension]) -> dict[int, Word | int]:
    return {
        number: default
        for number, dimension in enumerate(dimensions)
        if dimension.kind in (WORD, NUMBER)
        and (fact := policy.facts.get(str(dimension.key[1]))) is not None
        and (default := fact.default) is not None
    }
