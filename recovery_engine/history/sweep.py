"""What history would have looked like at every value of one limit of a policy, or of two: exactly, step by step.

A fold at one value also finds the next one at which some row would be decided otherwise; between the two nothing
changes. So the curve is that of all values, however few were tried. Where no row depends on another, all steps come out
of two folds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from recovery_engine.errors import Diagnostic, InvalidRequest, did_you_mean
from recovery_engine.history.bench import Bench
from recovery_engine.history.cells import Progress, always
from recovery_engine.history.coding import code
from recovery_engine.history.fold import Folding
from recovery_engine.history.loop import NEVER, Array, Rows
from recovery_engine.history.opening import Source, count_of, history_of
from recovery_engine.history.table import OUTCOMES, LeftOut
from recovery_engine.history.tables import Sizes
from recovery_engine.model import GOODWILL, Outcome, PolicyRef
from recovery_engine.money import MAX_MINOR, Money
from recovery_engine.policy.reading import ILL_TYPED, UNKNOWN_WORD, problem
from recovery_engine.policy.schema import AuthorityLine, BudgetLine, CeilingLine, Policy
from recovery_engine.rules.readings import ALL, Reading, ceiling_sum


class SweepRange(NamedTuple):
    """A limit to sweep, as text: ``LINE/ROW/ROLE``, ``LINE/amount`` or ``LINE/times``, and its first and last value."""

    limit: str
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class SweptLimit:
    """One limit: its name, what it is now, and from where to where it was swept, both included.

    Values are minor units, or cases where ``counts_cases``. ``today`` is text: an amount, a number, or `none`,
    `same`, `unlimited`.
    """

    limit: str
    today: str
    first: int
    last: int
    counts_cases: bool


class SweepStep(NamedTuple):
    """What history comes to from these values of the limits on, until the next step.

    ``paid`` is what was paid without a second look, in minor units.
    """

    values: tuple[int, ...]
    approved: int
    escalated: int
    denied: int
    incomplete: int
    paid: int

    @property
    def on_the_spot_rate(self) -> float:
        """The share that is settled on the spot."""
        return self.approved / (self.approved + self.escalated + self.denied + self.incomplete)


@dataclass(frozen=True, slots=True)
class Sweep:
    """A step curve, and where its knee is.

    ``steps`` are in the order of their values; of two limits, the first moves fastest. ``complete``: nothing changes
    between two steps; otherwise only these values were tried, evenly apart. ``knee``: the place of the step that lies
    farthest above the straight line from the first to the last (Kneedle: Satopää and others, "Finding a Kneedle in a
    Haystack", 2011), on-the-spot rate against value; None where none lies above it, and of two limits. ``frontier``:
    the places of the steps that no other beats in both, more on the spot for less money, by money. ``days`` are
    business days with a request.
    """

    draft: PolicyRef
    currency: str
    source: str
    limits: tuple[SweptLimit, ...]
    requests: int
    days: int
    first_day: date | None
    last_day: date | None
    left_out: tuple[LeftOut, ...]
    steps: tuple[SweepStep, ...]
    complete: bool
    knee: int | None
    frontier: tuple[int, ...]
    notes: tuple[str, ...]

    def escalations_per_day(self, step: SweepStep) -> float | None:
        """How many requests are sent up on a business day; None where history has no days."""
        return step.escalated / self.days if self.days else None


def sweep(
    draft: Policy,
    source: Source,
    *ranges: SweepRange,
    steps: int | None = None,
    first_day: date | None = None,
    last_day: date | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Decide history again with every value of one or two limits of *draft*, as ``backtest`` does with one.

    *steps*: try only so many values of each limit, evenly apart. Raises InvalidRequest with every mistake in a range,
    LogError where there is nothing to read.
    """
    limits = limits_of(draft, ranges, steps)
    with history_of(draft, source, days=(first_day, last_day), progress=progress) as history:
        found = curve(history.connection, draft, limits, steps, progress, depends=history.folded)
        days, first, last = history.connection.execute(
            "SELECT count(DISTINCT day), min(day), max(day) FROM history"
        ).fetchone()
        return Sweep(
            draft.ref,
            draft.currency,
            history.source,
            tuple(SweptLimit(one.name, one.today, one.first, one.last, one.reading[0] == "times") for one in limits),
            count_of(history.connection),
            days,
            first,
            last,
            history.left_out,
            found,
            steps is None,
            knee(found) if len(limits) == 1 else None,
            frontier(found),
            history.notes,
        )


def curve(
    connection: Any,
    draft: Policy,
    limits: Sequence["Limit"],
    steps: int | None = None,
    progress: Progress | None = None,
    *,
    depends: bool = True,
) -> tuple[SweepStep, ...]:
    """Every step, or those of so many values of each limit. *depends*: rows depend on what was granted before."""
    bench = Bench(_variants(always(draft), limits))
    rows, sizes = code(connection, bench)
    return tuple(_Folds(bench, sizes, rows, limits).steps(depends, steps, progress))


# --- the limits -------------------------------------------------------------------------------------------------------


class Limit(NamedTuple):
    """A limit that is swept."""

    name: str
    line: str
    row: str  # of an authority line; otherwise the field
    rank: int
    reading: Reading
    today: str
    first: int
    last: int


def limits_of(draft: Policy, ranges: Sequence[SweepRange], steps: int | None) -> list[Limit]:
    """The limits that are meant. Raises InvalidRequest with every mistake."""
    found: list[Diagnostic] = []
    limits = []
    for one in ranges:
        try:
            limits.append(_limit(draft, one))
        except InvalidRequest as invalid:
            found += invalid.diagnostics
    if len({limit.name for limit in limits}) < len(limits):
        found.append(problem(ILL_TYPED, "limit", "one limit twice", "name two"))
    if steps is not None and steps < 2:
        found.append(problem(ILL_TYPED, "steps", f"{steps} steps are no curve", "give 2 or more, or leave it out"))
    if found:
        raise InvalidRequest(found)
    return limits


def _limit(draft: Policy, asked: SweepRange) -> Limit:
    name = asked.limit.partition("/")[0]
    line = draft.by_id.get(name)
    kinds = "an authority line, a ceiling or a budget"
    if not isinstance(line, AuthorityLine | CeilingLine | BudgetLine):
        sweepable = [one.id for one in (*draft.authority, *draft.ceilings, *draft.budgets)]
        what = f"no line `{name}`" if line is None else f"`{name}` is not {kinds}"
        raise _refused(UNKNOWN_WORD, what, did_you_mean(name, sweepable) or f"name {kinds}")
    names = _names(draft, line)
    if asked.limit not in names:
        cure = did_you_mean(asked.limit, list(names)) or f"one of {', '.join(f'`{one}`' for one in list(names)[:6])}"
        raise _refused(UNKNOWN_WORD, f"`{asked.limit}` is no limit of this policy", cure)
    row, rank, reading, today = names[asked.limit]
    first, last = (_value(draft, reading, text) for text in (asked.first, asked.last))
    if last < first:
        raise _refused(ILL_TYPED, f"{asked.last} is below {asked.first}", "give the lower value first")
    return Limit(asked.limit, name, row, rank, reading, today, first, last)


def _names(draft: Policy, line: AuthorityLine | CeilingLine | BudgetLine) -> dict[str, tuple[str, int, Reading, str]]:
    """The limits of a line by their names: row or field, rank, what is compared with it, and what it is now."""
    found: dict[str, tuple[str, int, Reading, str]] = {}

    def shown(value: int | str) -> str:
        return Money(value, draft.currency).decimal if isinstance(value, int) else value

    if isinstance(line, AuthorityLine):
        for row, cells in line.up_to.items():
            reading: Reading = ("sum", ALL if row == "total" else (row,), GOODWILL)
            for rank, role in enumerate(draft.ladder):
                found[f"{line.id}/{row}/{role}"] = (row, rank, reading, shown(cells[rank]))
        return found
    if line.amount is not None:
        reading = ceiling_sum(line) if isinstance(line, CeilingLine) else ("budget", line.id)
        found[f"{line.id}/amount"] = ("amount", 0, reading, shown(line.amount))
    if isinstance(line, BudgetLine) and line.times is not None:
        found[f"{line.id}/times"] = ("times", 0, ("times", line.id), str(line.times))
    return found


def _value(draft: Policy, reading: Reading, text: str) -> int:
    if reading[0] != "times":
        return Money.of(text, draft.currency).minor
    if not text.isdecimal() or int(text) > MAX_MINOR:
        raise _refused(ILL_TYPED, f"`{text}` is no number of cases", "give a whole number such as 3")
    return int(text)


def _refused(kind: str, message: str, cure: str) -> InvalidRequest:
    return InvalidRequest([problem(kind, "limit", message, cure)])


def _variants(draft: Policy, limits: Sequence[Limit]) -> list[Policy]:
    """The policy with each limit exceeded or held by every sum: of limit k, the k-th bit says that it holds."""
    variants = [draft]
    for limit in limits:
        variants = [_with(one, limit, value) for value in (0, MAX_MINOR) for one in variants]
    return variants


def _with(draft: Policy, limit: Limit, value: int) -> Policy:
    """The policy with another value of a limit."""
    section = {AuthorityLine: "authority", CeilingLine: "ceilings", BudgetLine: "budgets"}[
        type(draft.by_id[limit.line])
    ]
    lines: list[Any] = []
    for line in getattr(draft, section):
        if line.id != limit.line:
            lines.append(line)
        elif isinstance(line, AuthorityLine):
            cells = list(line.up_to[limit.row])
            cells[limit.rank] = value
            lines.append(line.model_copy(update={"up_to": {**line.up_to, limit.row: tuple(cells)}}))
        elif isinstance(line, CeilingLine) and (line.of or line.per):
            # The smallest counts: as two ceilings, each can be compared by itself.
            lines.append(line.model_copy(update={"amount": None}))
            bare = {"id": f"{line.id}/amount", "amount": value, "percent": None, "of": None, "each": None, "per": None}
            lines.append(line.model_copy(update=bare))
        else:
            lines.append(line.model_copy(update={limit.row: value}))
    other = draft.model_copy(update={section: tuple(lines)})
    for name in ("digest", "ref", "words", "by_id"):
        other.__dict__.pop(name, None)
    return other


# --- the steps --------------------------------------------------------------------------------------------------------


class _Folds:
    """A history, in whole numbers, that is folded again and again."""

    def __init__(self, bench: Bench, sizes: Sizes, rows: list[Rows], limits: Sequence[Limit]) -> None:
        self._bench, self._sizes, self._rows, self._limits = bench, sizes, rows, limits
        self._following = [NEVER] * len(limits)

    def steps(self, depends: bool, most: int | None, progress: Progress | None) -> Iterator[SweepStep]:
        """Every step, or those of so many values. *depends*: rows depend on what was granted before."""
        if len(self._limits) == 1 and not depends and most is None:
            return self._all_at_once()
        tried = [_evenly(limit, most) if most else [] for limit in self._limits]
        return self._along(len(self._limits) - 1, [limit.first for limit in self._limits], tried, progress)

    def _along(
        self, at: int, values: list[int], tried: list[list[int]], progress: Progress | None
    ) -> Iterator[SweepStep]:
        """The steps of the limits up to the one *at*, with these values of those after it."""
        limit = self._limits[at]
        values[at] = limit.first
        while values[at] <= limit.last:
            if progress is not None and limit is self._limits[-1]:
                progress("sweeping", values[at] - limit.first, limit.last - limit.first + 1)
            self._following[at] = NEVER
            if at == 0:
                yield self._step(values)
            else:
                yield from self._along(at - 1, values, tried, progress)
            above = [one for one in tried[at] if one > values[at]]
            values[at] = above[0] if above else limit.last + 1 if tried[at] else self._following[at]

    def _step(self, values: Sequence[int]) -> SweepStep:
        """What history comes to with these values; ``_following`` learns the next ones at which that changes."""
        folding = Folding(self._bench, self._sizes, [limit.reading for limit in self._limits], values)
        for some in self._rows:
            folding.fold(some)
        self._following = [min(one) for one in zip(self._following, folding.following.tolist(), strict=True)]
        return self._counted(values, folding.rows, folding.granted)

    def _all_at_once(self) -> Iterator[SweepStep]:
        """The steps where no row depends on another: each has the amount from which on it is held, and two answers."""
        (limit,) = self._limits
        amounts = np.concatenate([some.amount for some in self._rows])
        below, above = (self._rulings(value) for value in (0, MAX_MINOR))
        matters = below != above
        counted = np.where(amounts <= limit.first, above, below)
        count = len(self._bench.answers)
        rows = np.bincount(counted, minlength=count)
        granted = np.zeros(count, np.int64)
        np.add.at(granted, counted, amounts)
        yield self._counted([limit.first], rows, granted)
        order = np.flatnonzero(matters & (amounts > limit.first) & (amounts <= limit.last))
        order = order[np.argsort(amounts[order], kind="stable")]
        for at, row in enumerate(order):
            amount = int(amounts[row])
            for ruling, sign in ((below[row], -1), (above[row], 1)):
                rows[ruling] += sign
                granted[ruling] += sign * amount
            if at + 1 == len(order) or amounts[order[at + 1]] != amount:
                yield self._counted([amount], rows, granted)

    def _rulings(self, value: int) -> Array:
        folding = Folding(self._bench, self._sizes, [self._limits[0].reading], [value])
        return np.concatenate([folding.fold(some) for some in self._rows])

    def _counted(self, values: Sequence[int], rows: Array, granted: Array) -> SweepStep:
        by_outcome = [0] * len(OUTCOMES)
        paid = 0
        for place, answer in enumerate(self._bench.answers):
            if answer.outcome >= 0:
                by_outcome[answer.outcome] += int(rows[place])
                if OUTCOMES[answer.outcome] == Outcome.APPROVE:
                    paid += int(granted[place])
        approved, escalated, denied, incomplete = by_outcome
        return SweepStep(tuple(values), approved, escalated, denied, incomplete, paid)


def _evenly(limit: Limit, count: int) -> list[int]:
    """So many values from the first to the last, as evenly apart as whole numbers can be."""
    return sorted({limit.first + (limit.last - limit.first) * at // (count - 1) for at in range(count)})


def knee(steps: Sequence[SweepStep]) -> int | None:
    """The place of the step farthest above the chord, in whole numbers."""
    (first,), (last,) = steps[0].values, steps[-1].values
    rise = steps[-1].approved - steps[0].approved
    above = [(step.approved - steps[0].approved) * (last - first) - (step.values[0] - first) * rise for step in steps]
    most = max(above)
    return above.index(most) if most > 0 else None


def frontier(steps: Sequence[SweepStep]) -> tuple[int, ...]:
    """The places of steps that none beats: by money, and each with more on the spot than all that are cheaper."""
    found: list[int] = []
    for place in sorted(range(len(steps)), key=lambda place: (steps[place].paid, -steps[place].approved)):
        if not found or steps[place].approved > steps[found[-1]].approved:
            found.append(place)
    return tuple(found)
