"""What the tests of a policy show: which lines decided, and which limits and ends of conditions were tried.

A boundary lies between the last value on one side and the first on the other. A side is tried by a test whose value is
on it with no other boundary of the same number between, exactly where it is the value next to the boundary.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from recovery_engine.errors import InvalidRequest
from recovery_engine.model import GOODWILL, NOTHING_OWED, OWED, REASON_CODES, Decision, RecoveryRequest, Usage
from recovery_engine.money import format_minor
from recovery_engine.phrases import cases_in_words, in_words, limit_in_words, period_in_words
from recovery_engine.policy.reading import read_request
from recovery_engine.policy.schema import (
    ANYTHING,
    AuthorityLine,
    BudgetLine,
    CeilingLine,
    Line,
    OwedLine,
    Policy,
)
from recovery_engine.rules.cells import may_fit, used_lines
from recovery_engine.rules.readings import ALL, Reading, amount_in, ceiling_sum
from recovery_engine.rules.reference import fits
from recovery_engine.seats import Compiled

WITHIN, BEYOND = 0, 1
EXACTLY, NEARBY, UNTRIED, NOT_REACHED = "exactly", "nearby", "untried", "not reached"
SIDES = ("at or below", "above")


_LIMITS = ("slack", "due", "budget", "times")


class Boundary(NamedTuple):
    """Where a line begins to say something else: between ``last`` and the next value of a number.

    ``what`` is the row, the limit or the number of a condition; ``role`` whose cell it is, "" where it is everybody's.
    ``last`` is in minor units, cases or what the fact counts. A limit by bill or by number is measured by what it
    leaves: the last value beyond it is -1, and ``falls`` says that being within means more.
    """

    line: str
    what: str
    role: str
    reading: Reading
    last: int

    @property
    def is_limit(self) -> bool:
        """Whether it is a limit, not the end of a condition."""
        return bool(self.role) or self.reading[0] in _LIMITS or self.what == "limit" != self.reading[1]

    @property
    def falls(self) -> bool:
        """Whether the values above ``last`` are within."""
        return self.reading[0] in ("slack", "due")

    def value(self, side: int) -> int:
        """The value next to the boundary on a side."""
        return self.last + (side != self.falls)


Goal = str | tuple[Boundary, int]
"""What a test can show: the id of a line that decides, or one side of a boundary."""


@dataclass(frozen=True, slots=True)
class LineCoverage:
    """Whether a line decided in a test (``exactly``), did not (``untried``), or no request was found that lets it."""

    line: str
    where: str
    tried: str


@dataclass(frozen=True, slots=True)
class BoundaryCoverage:
    """How each side of a boundary was tried: ``exactly``, ``nearby``, ``untried``, or ``not reached`` by any request.

    ``what`` names it in words, ``role`` is whose limit it is, "" where it is everybody's.
    """

    line: str
    where: str
    what: str
    role: str
    within: str
    beyond: str

    @property
    def open(self) -> bool:
        """Whether a side that can be tried is not."""
        return UNTRIED in (self.within, self.beyond)


@dataclass(frozen=True, slots=True)
class SuggestedTest:
    """A test that shows what no test shows yet: its text under ``tests:``, and what it shows, in words."""

    name: str
    text: str
    shows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the tests of a policy show, and tests that would show more.

    Where it is not ``complete``, the search for requests was cut short: what is not reached might still be.
    """

    lines: tuple[LineCoverage, ...]
    boundaries: tuple[BoundaryCoverage, ...]
    suggested: tuple[SuggestedTest, ...]
    complete: bool

    @property
    def lines_percent(self) -> int:
        """Of the lines that can decide, those that did in a test; whole percents, rounded down."""
        return _percent(line.tried == EXACTLY for line in self.lines if line.tried != NOT_REACHED)

    @property
    def boundaries_percent(self) -> int:
        """Of the boundaries that can be tried, those tried on every side that can; whole percents, rounded down."""
        out_of_reach = (NOT_REACHED, NOT_REACHED)
        return _percent(not one.open for one in self.boundaries if (one.within, one.beyond) != out_of_reach)


def _percent(held: Iterable[bool]) -> int:
    counted = list(held)
    return 100 * sum(counted) // len(counted) if counted else 100


def boundaries(policy: Policy) -> Iterator[Boundary]:
    """Every boundary of a policy, in the order of its lines."""
    for line in policy.lines():
        yield from dict.fromkeys((*_limits(policy, line), *_ends(policy, line)))


def _limits(policy: Policy, line: Line) -> Iterator[Boundary]:
    match line:
        case AuthorityLine():
            for row, cells in line.up_to.items():
                reading: Reading = ("sum", ALL if row == "total" else (row,), GOODWILL)
                for role, cell in zip(policy.ladder, cells, strict=True):
                    if isinstance(cell, int):
                        yield Boundary(line.id, row, role, reading, cell)
        case CeilingLine() if line.of is None and line.per is None and line.amount is not None:
            yield Boundary(line.id, "limit", "", ceiling_sum(line), line.amount)
        case CeilingLine():
            yield Boundary(line.id, "limit", "", ("slack", line.id), -1)
        case BudgetLine():
            if line.amount is not None:
                yield Boundary(line.id, "limit", "", ("budget", line.id), line.amount)
            if line.times is not None:
                yield Boundary(line.id, "times", "", ("times", line.id), line.times)
        case OwedLine():
            yield Boundary(line.id, "limit", "", ("due", line.id), -1)


def _ends(policy: Policy, line: Line) -> Iterator[Boundary]:
    """The ends of a line's number conditions; those of an amount for each basis on which the line may fit."""
    asked = [*line.when.numbers.items(), *(line.unless or ANYTHING).numbers.items()]
    bases = [basis for basis in (GOODWILL, OWED) if line in used_lines(policy, basis)]
    bases = bases if policy.owed else bases[:1]
    for name, intervals in asked:
        for low, high in intervals:
            for last in (None if low is None else low - 1, high):
                for counted in (bases if name == "amount" else bases[:1]) if last is not None else ():
                    reading: Reading = amount_in(line, counted) if name == "amount" else ("number", name)
                    yield Boundary(line.id, name, "", reading, last or 0)


def in_words_of(policy: Policy, boundary: Boundary) -> str:
    """``total, at most €30.00``; ``days since checkout, 60 or 61``."""
    line = policy.by_id[boundary.line]

    def money(minor: int) -> str:
        return format_minor(minor, policy.currency)

    match line:
        case CeilingLine() | OwedLine() if boundary.what == "limit":
            return limit_in_words(line, money)
        case BudgetLine() if boundary.what == "limit":
            return f"{money(boundary.last)} {period_in_words(line)}"
        case BudgetLine():
            return f"{cases_in_words(boundary.last)} {period_in_words(line)}"
        case AuthorityLine() if boundary.role:
            return f"{'in all' if boundary.what == 'total' else in_words(boundary.what)}, {money(boundary.last)}"
    shown = money if policy.words.is_money(boundary.what) else str
    owed = " owed" if boundary.reading[-1] == OWED else ""
    return f"{in_words(boundary.what)}{owed}, {shown(boundary.last)} or {shown(boundary.last + 1)}"


# --- what one request shows -------------------------------------------------------------------------------------------


class Shown(NamedTuple):
    """What one decision shows: the goals it reaches, each with whether exactly."""

    decision: Decision
    goals: dict[Goal, bool]


def shown_by(compiled: Compiled, request: RecoveryRequest, usage: Usage, among: Sequence[Boundary]) -> Shown:
    """What deciding a request shows about the lines and these boundaries. Raises InvalidRequest."""
    decision = compiled.decide(request, usage)
    goals: dict[Goal, bool] = dict.fromkeys(decision.lines, True)
    for boundary, side, exactly in _touched(compiled, request, usage, among):
        goals[boundary, side] = exactly
    return Shown(decision, goals)


def _touched(
    compiled: Compiled, request: RecoveryRequest, usage: Usage, among: Sequence[Boundary]
) -> Iterator[tuple[Boundary, int, bool]]:
    """The boundaries that a request stands beside, where being on their other side would mean something else."""
    policy, seat, amount = compiled.policy, compiled.seat(request, usage), request.amount.minor
    ruling, _ = seat.ruling(request, usage)
    cuts = {meter.key: meter.cuts for meter in seat.meters}
    values = {meter.key: meter.read(amount, request, usage) for meter in seat.meters}
    denied = {line.id for line in policy.deny}.intersection(ruling.lines)
    caps = {(cap.line, cap.row) for cap in ruling.caps} if not denied else set()
    for boundary in among:
        value, ends = values.get(boundary.reading), cuts.get(boundary.reading, ())
        if value is None or boundary.last not in ends:
            continue
        above = bisect_left(ends, value) - ends.index(boundary.last)
        exactly = value == boundary.last + above
        # What is given at no cost is held against no limit: it is on a side only where zero is next to the boundary.
        if above not in (0, 1) or not (exactly or amount or boundary.reading[0] == "number"):
            continue
        if boundary.is_limit:
            row = boundary.what if boundary.role else ""
            matters = (boundary.line, row) in caps and boundary.role in ("", request.role)
        else:
            line = policy.by_id[boundary.line]
            moot = denied - {line.id} or (NOTHING_OWED in ruling.lines and not isinstance(line, OwedLine))
            matters = not moot and line in used_lines(policy, request.basis) and may_fit(line, seat.words)
            beside = [{**values, boundary.reading: boundary.last + step} for step in (0, 1)] if matters else []
            matters = matters and len({fits(line, seat.words, readings) for readings in beside}) == 2
        if matters:
            yield boundary, int((above == 1) != boundary.falls), exactly


# --- what the tests show ----------------------------------------------------------------------------------------------


def tried(policy: Policy, compiled: Compiled) -> dict[Goal, bool]:
    """Everything that the tests of a policy show, each with whether exactly."""
    found: dict[Goal, bool] = {}
    among = tuple(boundaries(policy))
    for example in policy.tests:
        try:
            shown = shown_by(compiled, *read_request(policy, example.given), among)
        except InvalidRequest:  # `recovery test` says so
            continue
        for goal, exactly in shown.goals.items():
            found[goal] = exactly or found.get(goal, False)
    return found


def goals(policy: Policy) -> list[Goal]:
    """Everything that tests of a policy could show, in the order of its lines."""
    lines = [line.id for line in policy.lines()] + ([REASON_CODES] if policy.reason_codes else [])
    return [*lines, *((boundary, side) for boundary in boundaries(policy) for side in (WITHIN, BEYOND))]
