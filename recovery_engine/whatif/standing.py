"""What is still open about a request while it is looked at dimension by dimension, under one policy.

A standing holds only what can still matter: a line that cannot fit any more is gone, one that fits has become what it
does, limits that stop nobody new are dropped. Requests with the same standing are decided alike from there on, so that
a whole world of requests has few standings. The answer at the end is reading rule 5, as `rules/fold.py` has it for one
request; the tests hold the two together.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from recovery_engine.model import GOODWILL, Outcome
from recovery_engine.policy.declared import NONE, SAME
from recovery_engine.rules.encoding import Word
from recovery_engine.whatif.dimensions import (
    COST,
    NUMBER,
    PROOF,
    SHARE,
    SUM,
    WORD,
    Bound,
    Covers,
    Denies,
    Dimension,
    Elsewhere,
    Eyes,
    Over,
    Promised,
    Proves,
    Rows,
    Rule,
    Space,
    Test,
)
from recovery_engine.whatif.ranges import ABSENT, NOTHING

BY_LINE, BY_NOBODY = "a line denies it", "nobody may"
"""Why a request is denied."""


class Answer(NamedTuple):
    """What is decided. Roles by name; ``needs``: the proof that is missing; ``why``: of a denial.

    ``own``: whoever asks could give it alone, but for the second person.
    """

    outcome: Outcome
    to: str | None = None
    second: str | None = None
    needs: frozenset[str] = frozenset()
    why: str = ""
    own: bool = False


class Cap(NamedTuple):
    """A limit that stops some roles where any bound is exceeded; ``own``: when they ask for themselves."""

    bounds: frozenset[Bound]
    others: int
    own: int


class Standing(NamedTuple):
    """Where a request stands. Sets of roles are bits, the lowest role the lowest.

    ``open``: lines that may still fit. ``rows``: authority lines in the order of the file, no tests left where they
    fit, None once what they say has become caps. ``stopped`` and ``own``: who may not give it, who may not when asking
    for it. ``owed``: what may still cover the amount, None where nothing need.
    """

    open: tuple[Rule, ...] = ()
    rows: tuple[Rule, ...] | None = None
    caps: frozenset[Cap] = frozenset()
    stopped: int = 0
    own: int = 0
    denied: str = ""
    elsewhere: bool = False
    eyes: frozenset[int] = frozenset()
    unproven: frozenset[Proves] = frozenset()
    owed: frozenset[frozenset[Bound]] | None = None
    promised: frozenset[int] = frozenset()


class Reader:
    """Moves the standings of one policy along the dimensions of a space."""

    def __init__(self, space: Space, number: int) -> None:
        self.space, self.policy = space, space.policies[number]
        self._rules, self._defaults = space.rules[number], space.defaults[number]
        self._kinds = [dimension.kind for dimension in space.dimensions]
        self._remedy = [dimension.key[1:] for dimension in space.dimensions].index(("remedy",))
        self._cost = self._kinds.index(COST)
        self._shares = shares(space)
        self._everybody = (1 << len(self.policy.ladder)) - 1

    def start(self) -> Standing:
        """Everything open."""
        goodwill = self.space.basis == GOODWILL
        start = Standing(rows=() if goodwill else None, owed=None if goodwill else frozenset())
        return self._settled(start, self._rules, -1)

    # --- what comes next ---

    def ahead(self, standing: Standing) -> Iterator[int]:
        """Places of dimensions that something still reads, the first of them among others."""
        rules = (*standing.open, *(standing.rows or ()))
        for rule in rules:
            yield from (tests[0][0] for tests in (rule.when, rule.unless) if tests)
        if standing.rows:
            yield self._remedy
        limits = [cap.bounds for cap in standing.caps] + list(standing.owed or ())
        limits += [rule.effect.bounds for rule in rules if isinstance(rule.effect, Over | Covers)]
        for place in {place for bounds in limits for place, _ in bounds}:
            yield place
            if place in self._shares:
                yield self._shares[place][0]
        counts = any(self._kinds[place] == SUM for rule in standing.open for place, _ in rule.when)
        if counts or standing.caps or standing.eyes or standing.owed is not None:
            yield self._cost
        for proof in standing.unproven:
            yield from proof.items

    def tests(self, standing: Standing, place: int) -> Iterator[Test]:
        """What is tested in a dimension: values that pass the same tests need not be told apart."""
        for rule in (*standing.open, *(standing.rows or ())):
            yield from (tests[0][1] for tests in (rule.when, rule.unless) if tests and tests[0][0] == place)
            if place == self._remedy and isinstance(rule.effect, Rows):
                yield from (frozenset({row}) for row, _, _ in rule.effect.rows)

    def limits(self, standing: Standing, place: int) -> Iterator[int]:
        """The limits in a dimension: the largest values within."""
        for bounds in (*(cap.bounds for cap in standing.caps), *(standing.owed or ())):
            yield from (limit for at, limit in bounds if at == place)

    # --- one step ---

    def step(self, standing: Standing, place: int, value: Word | int) -> Standing:
        """The standing when the value in one dimension is known; ``""`` and ABSENT are values that are not given."""
        kind = self._kinds[place]
        known = self._defaults.get(place, value) if kind in (WORD, NUMBER) and value in ("", ABSENT) else value
        rules = [
            tested
            for rule in (*standing.open, *(standing.rows or ()))
            if (tested := _tested(rule, place, known)) is not None
        ]
        if place == self._remedy:
            rules = [_of_remedy(rule, str(value)) for rule in rules]
        elif kind == NUMBER and value == ABSENT:
            standing, rules = self._reckoned(standing, rules, place, None if known == ABSENT else int(known))
        elif kind == COST and not value:
            standing = standing._replace(caps=frozenset(), eyes=frozenset(), owed=None)
            rules = [free for rule in rules if (free := self._at_no_cost(rule)) is not None]
        elif kind == PROOF:
            standing = standing._replace(unproven=_with_proof(standing.unproven, place, bool(value)))
        elif COST < kind < PROOF:
            standing = _bounded(standing, place, int(value))
        return self._settled(standing, rules, place)

    def _reckoned(
        self, standing: Standing, rules: list[Rule], base: int, known: int | None
    ) -> tuple[Standing, list[Rule]]:
        """With the shares of a number that is not given: what its default allows; without one, nothing."""

        def fixed(bounds: frozenset[Bound]) -> frozenset[Bound]:
            return frozenset(
                (self._shares[place][1], 0 if known is None else allowed(self._shares[place][2], limit, known))
                if place in self._shares and self._shares[place][0] == base
                else (place, limit)
                for place, limit in bounds
            )

        caps = frozenset(cap._replace(bounds=fixed(cap.bounds)) for cap in standing.caps)
        owed = None if standing.owed is None else frozenset(map(fixed, standing.owed))
        return standing._replace(caps=caps, owed=owed), [
            rule._replace(effect=rule.effect._replace(bounds=fixed(rule.effect.bounds)))
            if isinstance(rule.effect, Over | Covers)
            else rule
            for rule in rules
        ]

    def _at_no_cost(self, rule: Rule) -> Rule | None:
        """What is left of a line where every sum reads 0; None where it cannot fit or does nothing."""
        sums = [test for place, test in rule.when if self._kinds[place] == SUM]
        if isinstance(rule.effect, Over | Covers | Eyes) or not all(_passes(test, 0) for test in sums):
            return None
        return rule._replace(when=tuple(test for test in rule.when if self._kinds[test[0]] != SUM))

    def _settled(self, standing: Standing, rules: Iterable[Rule], place: int) -> Standing:
        """The standing with every line that fits turned into what it does, and without what can no longer matter."""
        caps, unproven, eyes, owed = set(standing.caps), set(standing.unproven), set(standing.eyes), standing.owed
        elsewhere, denied, promised = standing.elsewhere, standing.denied, set(standing.promised)
        open_, rows = [], []
        for rule in rules:
            if rule.unless == () or any(test in (NOTHING, frozenset()) for _, test in rule.when):
                continue
            effect = rule.effect
            if isinstance(effect, Rows):
                rows.append(rule)
            elif rule.when or rule.unless:
                open_.append(rule)
            elif isinstance(effect, Denies):
                denied = BY_LINE
            elif isinstance(effect, Over):
                below = (1 << effect.binds_below) - 1
                caps.add(Cap(effect.bounds, 0 if effect.personal else below, below))
            elif isinstance(effect, Covers):
                owed = frozenset({*(owed or ()), effect.bounds})
            elif isinstance(effect, Proves):
                unproven.add(effect)
            elif isinstance(effect, Eyes):
                eyes.add(effect.second)
            elif isinstance(effect, Elsewhere):
                elsewhere = True
            elif isinstance(effect, Promised):
                promised.add(effect.number)
        stopped, own, left = standing.stopped, standing.own, standing.rows
        if left is not None:
            left = tuple(_not_replaced(rows))
            if place >= self._remedy and not any(rule.when or rule.unless for rule in left):
                stops, limits = self._limits(left)
                stopped, own, left, caps = stopped | stops, own | stops, None, caps | limits
        if owed == frozenset() and place >= self._cost:
            denied = BY_LINE
        if stopped == self._everybody:
            denied = denied or BY_NOBODY
        if denied == BY_LINE or (denied and not any(isinstance(rule.effect, Denies) for rule in open_)):
            promises = tuple(rule for rule in open_ if isinstance(rule.effect, Promised))
            return Standing(open=promises, denied=denied, promised=frozenset(promised))
        return Standing(
            tuple(dict.fromkeys(open_)),
            left,
            _that_matter(caps, stopped, own),
            stopped,
            own,
            denied,
            elsewhere,
            frozenset(eyes),
            frozenset(unproven),
            owed,
            frozenset(promised),
        )

    def _limits(self, rows: tuple[Rule, ...]) -> tuple[int, set[Cap]]:
        """What the rows in force say: the roles that may give nothing, and the limits of the others."""
        stopped, masks = 0, dict[Bound, int]()
        for rank in range(len(self.policy.ladder)):
            cells = {}
            for rule in rows:
                assert isinstance(rule.effect, Rows)
                for row, place, limits in rule.effect.rows:
                    if limits[rank] != SAME:
                        cells[row] = place, limits[rank]
            if not cells or NONE in [cell for _, cell in cells.values()]:
                stopped |= 1 << rank
            for place, cell in cells.values():
                if isinstance(cell, int):
                    masks[place, cell] = masks.get((place, cell), 0) | 1 << rank
        return stopped, {Cap(frozenset({bound}), mask, mask) for bound, mask in masks.items()}

    # --- the answer ---

    def answer(self, standing: Standing, role: str) -> Answer:
        """Reading rule 5, when everything is known; *role* asks."""
        if standing.denied:
            return Answer(Outcome.DENY, why=standing.denied)
        rank = self.policy.rank(role)
        outcome, to, second, _ = self._who(standing, rank, standing.unproven)
        full, _, _, acting = self._who(standing, rank, frozenset())
        needs = [proof.items for proof in standing.unproven if acting is not None and acting < proof.waived_from]
        if outcome == Outcome.DENY and full != Outcome.DENY:
            outcome = Outcome.INCOMPLETE
        ladder, items = self.policy.ladder, frozenset[int]().union(*needs)
        return Answer(
            outcome,
            None if to is None else ladder[to],
            None if second is None else ladder[second],
            frozenset(str(self.space.dimensions[item].key[0]) for item in items),
            BY_NOBODY if outcome == Outcome.DENY else "",
            outcome == Outcome.ESCALATE and self._may_alone(standing, rank, standing.unproven),
        )

    def _may_alone(self, standing: Standing, rank: int, unproven: frozenset[Proves]) -> bool:
        """Whether whoever asks may give it, alone or with a second person."""
        stopped = standing.elsewhere or standing.own >> rank & 1
        return not stopped and all(rank >= proof.waived_from for proof in unproven)

    def _who(
        self, standing: Standing, rank: int, unproven: frozenset[Proves]
    ) -> tuple[Outcome, int | None, int | None, int | None]:
        """The outcome, who is asked, who must also agree, and whose authority carries it."""
        top = len(self.policy.ladder) - 1

        def may(role: int) -> bool:
            return not standing.stopped >> role & 1 and all(role >= proof.waived_from for proof in unproven)

        def second(first: int) -> int:
            return max(min(first + 1, top) if eyes < 0 else eyes for eyes in standing.eyes)

        if self._may_alone(standing, rank, unproven):
            if not standing.eyes:
                return Outcome.APPROVE, None, None, rank
            return Outcome.ESCALATE, second(rank), second(rank), rank
        for to in range(rank if standing.elsewhere or rank == top else rank + 1, top + 1):
            if may(to):
                return Outcome.ESCALATE, to, second(to) if standing.eyes else None, to
        return Outcome.DENY, None, None, None


def allowed(kind: str, share: int, base: int) -> int:
    """The largest sum, in minor units, that a share of a number covers (reading rule 6)."""
    if kind == "each":
        return share * base
    return (share * base + (5000 if kind == "owed percent" else 0)) // 10000


def shares(space: Space) -> dict[int, tuple[int, int, str]]:
    """Of each share, by its place, the places of its number and its sum, and its kind."""
    found = {}
    for place, dimension in enumerate(space.dimensions):
        if dimension.kind == SHARE:
            base, kind, counted = dimension.key
            assert isinstance(base, Dimension)
            assert isinstance(counted, Dimension)
            found[place] = space.place(base), space.place(counted), str(kind)
    return found


def _passes(test: Test, value: Word | int) -> bool:
    if isinstance(test, frozenset):
        return value in test
    return any(low <= value <= high for low, high in test)  # type: ignore[operator]


def _tested(rule: Rule, place: int, value: Word | int) -> Rule | None:
    """What is left of a line when one value is known; None where it cannot fit any more."""
    when, unless = rule.when, rule.unless
    if when and when[0][0] == place:
        if not _passes(when[0][1], value):
            return None
        when = when[1:]
    if unless and unless[0][0] == place:
        unless = unless[1:] if _passes(unless[0][1], value) else None
    return rule if when is rule.when and unless is rule.unless else Rule(when, unless, rule.effect)


def _of_remedy(rule: Rule, remedy: str) -> Rule:
    """An authority line with the rows that a remedy reads."""
    if not isinstance(rule.effect, Rows):
        return rule
    return rule._replace(effect=Rows(tuple(row for row in rule.effect.rows if row[0] in ("total", remedy))))


def _not_replaced(rules: list[Rule]) -> Iterator[Rule]:
    """The authority lines, without the rows that lines further down replace for every role."""
    replaced: dict[str, set[int]] = {}
    kept = []
    for rule in reversed(rules):
        assert isinstance(rule.effect, Rows)
        rows = [row for row in rule.effect.rows if len(replaced.get(row[0], ())) < len(row[2])]
        if not rule.when and not rule.unless:
            for row, _, cells in rows:
                replaced.setdefault(row, set()).update(at for at, cell in enumerate(cells) if cell != SAME)
        if rows:
            kept.append(rule._replace(effect=Rows(tuple(rows))))
    return reversed(kept)


def _with_proof(unproven: frozenset[Proves], item: int, on_file: bool) -> frozenset[Proves]:
    if not on_file:
        return unproven
    left = (proof._replace(items=proof.items - {item}) for proof in unproven)
    return frozenset(proof for proof in left if proof.items)


def _bounded(standing: Standing, place: int, value: int) -> Standing:
    """With what a sum, share or budget comes to: who is stopped by it, and what is covered."""
    caps, stopped, own, owed = set[Cap](), standing.stopped, standing.own, standing.owed
    for cap in standing.caps:
        left = _left(cap.bounds, place, value)
        if left is None:
            stopped, own = stopped | cap.others, own | cap.own
        elif left:
            caps.add(cap._replace(bounds=left))
    if owed is not None:
        lefts = {_left(bounds, place, value) for bounds in owed}
        owed = None if frozenset() in lefts else frozenset(left for left in lefts if left)
    return standing._replace(caps=frozenset(caps), stopped=stopped, own=own, owed=owed)


def _left(bounds: frozenset[Bound], place: int, value: int) -> frozenset[Bound] | None:
    """The bounds still to be looked at; None where one is exceeded."""
    if any(at == place and value > limit for at, limit in bounds):
        return None
    return frozenset(bound for bound in bounds if bound[0] != place)


def _that_matter(caps: set[Cap], stopped: int, own: int) -> frozenset[Cap]:
    """The caps that stop somebody who is not stopped already or by a lower limit of the same."""
    kept = set()
    before: dict[int, tuple[int, int]] = {}
    single = sorted((min(cap.bounds), cap.others, cap.own) for cap in caps if len(cap.bounds) == 1)
    for (place, limit), others, mine in single:
        had_others, had_mine = before.get(place, (stopped, own))
        before[place] = had_others | others, had_mine | mine
        if others & ~had_others or mine & ~had_mine:
            kept.add(Cap(frozenset({(place, limit)}), others & ~had_others, mine & ~had_mine))
    for cap in caps:
        if len(cap.bounds) > 1 and (cap.others & ~stopped or cap.own & ~own):
            kept.add(cap._replace(others=cap.others & ~stopped, own=cap.own & ~own))
    return frozenset(kept)
