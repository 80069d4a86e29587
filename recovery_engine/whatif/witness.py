"""One request of a box: something that can be asked of the policies, to show what they say."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

from recovery_engine.model import GOODWILL, OWED, FactValue, RecoveryRequest, Usage, Used
from recovery_engine.money import Money
from recovery_engine.policy.schema import Policy
from recovery_engine.rules.encoding import Word
from recovery_engine.rules.readings import BOTH
from recovery_engine.whatif.diagram import Box
from recovery_engine.whatif.dimensions import (
    ASKER,
    BUDGET,
    COSTS,
    HIGHEST_SHARE,
    NUMBER,
    OTHER,
    PROOF,
    SHARE,
    SUM,
    TIMES,
    WORD,
    Dimension,
    Space,
    Test,
)
from recovery_engine.whatif.integers import Row, solution
from recovery_engine.whatif.ranges import ABSENT, LARGEST, Range

_OTHERS = ("refund", "another", "something else", "anything", "whatever")
"""Of these one is taken for a word that no line names; the first only for a remedy."""


@dataclass(frozen=True)
class Witness:
    """A request, and what was used before it; amounts in minor units. ``fresh``: the case had nothing yet."""

    role: str
    basis: str
    words: Mapping[str, Word]
    numbers: Mapping[str, int]
    amount: int
    proof: frozenset[str]
    on_case: Mapping[str, int]
    owed_on_case: Mapping[str, int]
    budgets: Mapping[tuple[Any, ...], int]
    times: Mapping[tuple[Any, ...], int]

    @property
    def fresh(self) -> bool:
        """Whether it can be the first request of its case."""
        return not self.on_case and not self.owed_on_case

    def asked(self, policy: Policy) -> tuple[RecoveryRequest, Usage]:
        """The request and the usage as one of the policies reads them, without facts and budgets it does not have."""
        words, currency = dict(self.words), policy.currency
        facts: dict[str, FactValue] = {}
        for name, fact in policy.facts.items():
            value = words.get(name, self.numbers.get(name))
            if value is not None:
                facts[name] = Money(int(value), currency) if fact.kind == "money" else value
        codes = policy.reason_codes.get(str(words.get("category")), ())
        return RecoveryRequest(
            role=self.role,
            remedy=str(words["remedy"]),
            amount=Money(self.amount, currency),
            site=_text(words.get("site")),
            category=_text(words.get("category")),
            severity=_text(words.get("severity")),
            bill=Money(self.numbers["bill"], currency) if "bill" in self.numbers else None,
            basis=self.basis,
            reason=codes[0] if "reason" in self.proof and codes else None,
            note="as told by the customer" if "note" in self.proof else None,
            evidence=self.proof - {"reason", "note"},
            facts=facts,
        ), Usage(self.on_case, self.owed_on_case, self._used(policy))

    def _used(self, policy: Policy) -> dict[str, Used]:
        used = {}
        for line in policy.budgets:
            key = (line.per, line.every, tuple(sorted(map(str, line.when.words.get("remedy", ())))))
            held = Used(self.budgets.get(key, 0), self.times.get(key, 0))
            if held != Used():
                used[line.id] = held
        return used


def _text(word: Word | None) -> str | None:
    return None if word is None else str(word)


def witness(space: Space, box: Box) -> Witness | None:
    """A request in a box whose numbers are one range each; a fresh one if there is any. Raises NotSettled."""
    words = {}
    for place, dimension in enumerate(space.dimensions):
        if dimension.kind == WORD:
            allowed = box.get(place, space.domains[place])
            if not allowed:
                return None
            word = _first(space, str(dimension.key[1]), allowed)
            if word != "":
                words[str(dimension.key[1])] = word
    figures = _Figures(space, box, str(words["remedy"])).found()
    if figures is None:
        return None
    role = space.place(ASKER)
    return Witness(
        role=str(_first(space, "role", box.get(role, space.domains[role]))),
        basis=space.basis,
        words=words,
        proof=frozenset(
            str(dimension.key[0])
            for place, dimension in enumerate(space.dimensions)
            if dimension.kind == PROOF and box.get(place) == frozenset({True})
        ),
        **figures,
    )


def _first(space: Space, name: str, allowed: Test) -> Word:
    """The first in the policy's own order; a word that is not given last."""
    for policy in space.policies:
        for word in policy.words.known(name) or ():
            if word in allowed:
                return word
    some = sorted((word for word in allowed if isinstance(word, str | bool) and word not in ("", OTHER)), key=str)
    if some or OTHER not in allowed:
        return some[0] if some else ""
    named = zip(space.dimensions, space.domains, strict=True)
    return _unnamed(name, next(domain for dimension, domain in named if dimension.key[1:] == (name,)))


def _unnamed(name: str, domain: Test) -> str:
    """A word that no line names."""
    words = _OTHERS if name == "remedy" else _OTHERS[1:]
    return next(word for word in chain(words, map("no-{}".format, count())) if word not in domain)


class _Figures:
    """The amount, what the case had, and the numbers of a request, as unknowns of linear inequalities."""

    def __init__(self, space: Space, box: Box, remedy: str) -> None:
        self.space, self.box, self.remedy = space, box, remedy
        self.sums = [
            dimension
            for place, dimension in enumerate(space.dimensions)
            if dimension.kind == SUM and (place in box or dimension in self._shared())
        ]
        self.atoms = self._atoms()
        self.bases = [
            dimension
            for place, dimension in enumerate(space.dimensions)
            if dimension.kind == NUMBER and self._is_given(place, dimension)
        ]

    def _shared(self) -> list[Dimension]:
        shares = (self.space.dimensions[place] for place in self.box)
        return [share.key[2] for share in shares if share.kind == SHARE]  # type: ignore[misc]

    def _is_given(self, place: int, number: Dimension) -> bool:
        """A bill where it matters; every fact that has a value."""
        shares = (self.space.dimensions[place].key for place in self.box)
        if place not in self.box and number.key[1] == "bill":
            return any(number in share for share in shares)
        return self._range(place) != (ABSENT, ABSENT)

    def _range(self, place: int) -> Range:
        label = self.box.get(place) or self.space.domains[place][-1:]  # type: ignore[index]
        assert isinstance(label, tuple)
        return label[0]

    def _atoms(self) -> list[tuple[str, str]]:
        """A remedy and a basis for every way in which what the case had counts in some sums and not in others."""
        domain = self.space.domains[self.space.place(_REMEDY)]
        atoms: dict[tuple[bool, ...], tuple[str, str]] = {}
        remedies = [_unnamed("remedy", domain) if word == OTHER else word for word in sorted(map(str, domain))]
        for remedy in (self.remedy, *remedies):
            for basis in (self.space.basis, OWED if self.space.basis == GOODWILL else GOODWILL):
                counted = tuple(_counts(one, remedy, basis) for one in self.sums)
                if any(counted):
                    atoms.setdefault(counted, (remedy, basis))
        return list(atoms.values())

    def found(self) -> dict[str, Any] | None:
        """The figures of a request, on a fresh case if that can be."""
        return self._with([], fresh=True) or self._with(self.atoms, fresh=False)

    def _with(self, atoms: list[tuple[str, str]], fresh: bool) -> dict[str, Any] | None:
        box, dimensions = self.box, self.space.dimensions
        cost = box.get(self.space.place(COSTS))
        free = cost == ((0, 0),)
        most = min((self._range(place)[1] for place in box if dimensions[place].kind == BUDGET), default=LARGEST)
        times = {dimensions[place].key: self._range(place) for place in box if dimensions[place].kind == TIMES}
        if fresh and not free and any(high < 1 for _, high in times.values()):
            return None
        ranges = [(0, 0) if free else (1, most), *[(0, LARGEST)] * len(atoms)]
        known = [self._range(self.space.place(base)) for base in self.bases]
        usual = [(max(low, min(0, high)), high) for low, high in known]  # nobody thinks of a number below zero first
        sums = [self._range(self.space.place(one)) for one in self.sums]
        rows = list(self._rows(atoms))
        bases = range(len(ranges), len(ranges) + len(known))
        values = None
        if ranges[0][0] <= ranges[0][1]:
            tried = (solution(ranges + some + sums, rows, bases) for some in (usual, known))
            values = next((one for one in tried if one is not None), None)
        if values is None:
            return None
        amount, had = values[0], dict(zip(atoms, values[1:], strict=False))
        on_case = {remedy: sum_ for (remedy, basis), sum_ in had.items() if basis == GOODWILL and sum_}
        if not fresh and any(high < 1 for _, high in times.values()) and not on_case:
            on_case = {self.remedy: 0}  # granted and voided: the case is counted already
        return {
            "amount": amount,
            "numbers": {
                str(base.key[1]): value for base, value in zip(self.bases, values[1 + len(atoms) :], strict=False)
            },
            "on_case": on_case,
            "owed_on_case": {remedy: sum_ for (remedy, basis), sum_ in had.items() if basis == OWED and sum_},
            "budgets": {
                dimensions[place].key: max(0, self._range(place)[0] - amount)
                for place in box
                if dimensions[place].kind == BUDGET
            },
            "times": {key: max(0, low - (not on_case)) for key, (low, _) in times.items()},
        }

    def _rows(self, atoms: list[tuple[str, str]]) -> Iterable[Row]:
        """The inequalities that the box means, over the amount, the atoms, the bases and the sums."""
        first_sum = 1 + len(atoms) + len(self.bases)
        count = first_sum + len(self.sums)

        def row(factors: Mapping[int, int]) -> tuple[int, ...]:
            return tuple(factors.get(at, 0) for at in range(count))

        added = {
            at: frozenset({0, *[1 + number for number, atom in enumerate(atoms) if _counts(counted, *atom)]})
            for at, counted in enumerate(self.sums, first_sum)
        }
        for at, those in added.items():
            yield row(dict.fromkeys(those, 1) | {at: -1}), 0
            yield row(dict.fromkeys(those, -1) | {at: 1}), 0
            # Follows from the others, but saves trying much: a part is no more than the whole.
            yield from ((row({at: 1, whole: -1}), 0) for whole, more in added.items() if those < more)
        for place in self.box:
            dimension = self.space.dimensions[place]
            if dimension.kind == SHARE:
                base, kind, counted = dimension.key
                low, high = self._range(place)
                unit, half = (1, 0) if kind == "each" else (10000, 5000 if kind == "owed percent" else 0)
                of = 1 + len(atoms) + self.bases.index(base)  # type: ignore[arg-type]
                total = first_sum + self.sums.index(counted)  # type: ignore[arg-type]
                if high < HIGHEST_SHARE:
                    yield row({total: unit, of: -high}), half
                if low > 0:
                    yield row({total: -unit, of: low - 1}), -half - 1


_REMEDY = Dimension(WORD, (0, "remedy"))


def _counts(counted: Dimension, remedy: str, basis: str) -> bool:
    """Whether what the case had of a remedy on a basis is in a sum."""
    _, _, remedies, adds = counted.key
    return adds in (basis, BOTH) and (not remedies or remedy in remedies)  # type: ignore[operator]
