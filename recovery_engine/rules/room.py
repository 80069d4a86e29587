"""How much a role may still give: what every limit that binds it leaves, less the amounts some line forbids."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from recovery_engine.model import GOODWILL, RecoveryRequest, Usage
from recovery_engine.money import MAX_MINOR
from recovery_engine.policy.schema import BudgetLine, CeilingLine, Line, OwedLine, Policy
from recovery_engine.policy.words import Interval
from recovery_engine.rules.cells import may_fit, used_lines
from recovery_engine.rules.fold import Bench, Ruling
from recovery_engine.rules.readings import (
    ALL,
    Left,
    Reading,
    Words,
    amount_in,
    due_of,
    left_under,
    named_remedies,
    on_case,
    times_with,
)
from recovery_engine.rules.reference import Match, fits


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


class Rooms:
    """Makes the rooms of a seat's cells; what does not differ between them is prepared once."""

    def __init__(self, policy: Policy, words: Words, bench: Bench) -> None:
        self._words, self._basis = words, str(words["basis"])
        self._reason_missing = bench.reason_missing
        self._blocking = _blocking_lines(policy, words, bench)
        self._left: dict[str, Left] = {}
        for line in used_lines(policy, self._basis):
            if may_fit(line, words) and (left := _left_by(policy, line)) is not None:
                self._left[line.id] = left

    def room(self, readings: Mapping[Reading, int | None], match: Match, ruling: Ruling) -> Room:
        """The room of the requester on a cell."""
        rows = [(ALL if cap.row == "total" else (cap.row,), cap.limit) for cap in ruling.caps if cap.row]
        limits = tuple((remedies, limit) for remedies, limit in rows if isinstance(limit, int))
        forbidden = []
        is_open = not ruling.gives_nothing and not self._reason_missing
        for line in self._blocking:
            intervals = line.when.numbers.get("amount")
            if intervals is None:
                is_open = is_open and ("fits", line.id) not in match
            elif fits(line, self._words, {**readings, amount_in(line, self._basis): _any_inside(intervals)}):
                forbidden.append((named_remedies(line), intervals))
        lefts = [self._left[cap.line] for cap in ruling.caps if not cap.row]
        others = tuple(lefts) if self._basis == GOODWILL else (_highest(lefts),)
        lowest = min([limit for _, limit in limits], default=MAX_MINOR)
        return Room(is_open, lowest, limits, others, tuple(forbidden), self._basis)

    def highest_owed(self, lines: Iterable[str], request: RecoveryRequest, usage: Usage) -> tuple[str | None, int]:
        """Of the owed lines that fit, the one that leaves most, and how much; the first in the file of equals."""
        dues = [(self._left[line](request, usage), line) for line in lines]
        most, name = max(dues, key=lambda due: due[0], default=(0, None))
        return name, max(0, most)


def _left_by(policy: Policy, line: Line) -> Left | None:
    """What a ceiling, a budget or an owed line leaves; no other line leaves an amount."""
    match line:
        case CeilingLine():
            return left_under(policy, line)
        case BudgetLine():
            return _budget_left(line)
        case OwedLine():
            return due_of(policy, line)
    return None


def _highest(lefts: list[Left]) -> Left:
    return lambda request, usage: max([left(request, usage) for left in lefts], default=0)


def _blocking_lines(policy: Policy, words: Words, bench: Bench) -> tuple[Line, ...]:
    """The lines that take an approval from this role wherever they fit."""
    lines: list[Line] = [*policy.deny, *policy.someone_else]
    if bench.goodwill:
        lines += policy.four_eyes
    unproven = [line for line, above, _ in bench.unproven if bench.rank < above]
    lines += [line for line in policy.requires if line.id in unproven]
    return tuple(line for line in lines if may_fit(line, words))


def _any_inside(intervals: tuple[Interval, ...]) -> int:
    low, high = intervals[0]
    return low if low is not None else high if high is not None else 0


def _budget_left(line: BudgetLine) -> Left:
    name, amount, times = line.id, MAX_MINOR if line.amount is None else line.amount, line.times

    def left(request: RecoveryRequest, usage: Usage) -> int:
        if times is not None and times_with(line, usage) > times:
            return 0
        used = usage.used.get(name)
        return amount if used is None or line.amount is None else amount - used.amount

    return left
