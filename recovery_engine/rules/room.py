"""How much a role may still give: what every limit that binds it leaves, less the amounts some line forbids."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from recovery_engine.model import GOODWILL, OWED, RecoveryRequest, Usage
from recovery_engine.money import MAX_MINOR
from recovery_engine.policy.schema import BudgetLine, CeilingLine, Line, OwedLine, Policy
from recovery_engine.policy.words import Interval
from recovery_engine.rules.fold import Cap, Proof, Ruling, missing_proof
from recovery_engine.rules.readings import (
    ALL,
    Reading,
    Words,
    amount_in,
    ceiling_sum,
    due_of,
    limit_of,
    named_remedies,
    on_case,
    times_with,
)
from recovery_engine.rules.reference import fits

Left = Callable[[RecoveryRequest, Usage], int]
"""What a limit leaves, in minor units; below zero where it is exceeded already."""


@dataclass(frozen=True, slots=True)
class Room:
    """The most that may be given, worked out from the figures of a request; everything else is settled on its cell."""

    open: bool
    authority: int  # the lowest authority limit, for a case that had nothing yet
    rows: tuple[tuple[tuple[str, ...], int], ...]
    others: tuple[Left, ...]
    forbidden: tuple[tuple[tuple[str, ...], tuple[Interval, ...]], ...]
    basis: str

    def most(self, request: RecoveryRequest, usage: Usage) -> int | None:
        """The largest amount, in minor units, inclusive, that would be approved; None without limit, 0 for nothing."""
        if not self.open:
            return 0
        most = self.authority
        if usage.on_case:
            for remedies, limit in self.rows:
                most = min(most, limit - on_case(usage, remedies, GOODWILL))
        for left in self.others:
            most = min(most, left(request, usage))
        if self.forbidden and most > 0:
            most = self._outside_forbidden(most, usage)
        return None if most >= MAX_MINOR else max(0, most)

    def _outside_forbidden(self, most: int, usage: Usage) -> int:
        """The largest amount up to *most* whose sums fall into no forbidden interval."""
        lowered = True
        while lowered and most > 0:
            lowered = False
            for remedies, intervals in self.forbidden:
                had = on_case(usage, remedies, self.basis)
                for low, high in intervals:
                    if (low is None or low <= most + had) and (high is None or most + had <= high):
                        most, lowered = (0 if low is None else low - 1 - had), True
        return most


def room_of(
    policy: Policy, words: Words, readings: Mapping[Reading, int | None], ruling: Ruling, rank: int, proof: Proof
) -> Room:
    """The room of a role on a cell."""
    basis = str(words["basis"])
    by_id = {line.id: line for line in policy.lines()}
    rows = [(ALL if cap.row == "total" else (cap.row,), cap.limit) for cap in ruling.caps if cap.row]
    limits = [(remedies, limit) for remedies, limit in rows if isinstance(limit, int)]
    forbidden = []
    is_open = not ruling.gives_nothing
    for line in _blocking(policy, basis, rank, proof):
        intervals = line.when.numbers.get("amount", ())
        inside = {**readings, amount_in(line, basis): _any_inside(intervals)} if intervals else readings
        if fits(line, words, inside):
            forbidden.append((named_remedies(line), intervals))
            is_open = is_open and bool(intervals)
    if missing_proof(policy, [], words, proof, rank):
        is_open = False
    others = tuple(_left(policy, by_id[cap.line]) for cap in ruling.caps if not cap.row and basis == GOODWILL)
    if basis == OWED:
        owed = tuple(line for line in policy.owed if Cap(line.id) in ruling.caps)
        others = (lambda request, usage: max((due_of(policy, line, request, usage) for line in owed), default=0),)
    lowest = min((limit for _, limit in limits), default=MAX_MINOR)
    return Room(is_open, lowest, tuple(limits), others, tuple(forbidden), basis)


def _blocking(policy: Policy, basis: str, rank: int, proof: Proof) -> Iterator[Line]:
    """The lines that take an approval from this role wherever they fit."""
    yield from (*policy.deny, *policy.someone_else)
    if basis == GOODWILL:
        yield from policy.four_eyes
    yield from (line for line in policy.requires if missing_proof(policy, [line], {}, proof, rank))


def _any_inside(intervals: tuple[Interval, ...]) -> int:
    low, high = intervals[0]
    return low if low is not None else high if high is not None else 0


def _left(policy: Policy, line: Line) -> Left:
    match line:
        case CeilingLine():
            _, remedies, basis = ceiling_sum(line)  # type: ignore[misc]

            def ceiling_left(request: RecoveryRequest, usage: Usage) -> int:
                limit = limit_of(policy, line, request)
                return 0 if limit is None else limit - on_case(usage, remedies, basis)

            return ceiling_left
        case BudgetLine():

            def budget_left(request: RecoveryRequest, usage: Usage) -> int:
                if line.times is not None and times_with(line, usage) > line.times:
                    return 0
                used = usage.used.get(line.id)
                return MAX_MINOR if line.amount is None else line.amount - (used.amount if used else 0)

            return budget_left
    raise AssertionError(line)


def highest_owed(policy: Policy, lines: tuple[str, ...], request: RecoveryRequest, usage: Usage) -> OwedLine | None:
    """Of the owed lines that fit, the one that leaves most: it says what is due; the first in the file of equals."""
    fitting = [line for line in policy.owed if line.id in lines]
    return max(fitting, key=lambda line: due_of(policy, line, request, usage), default=None)
