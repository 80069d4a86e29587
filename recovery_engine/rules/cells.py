"""Cells: the regions of requests on which a policy cannot tell one request from another.

A policy tests each word against lists and each number against constants. Words in the same lists are one class, numbers
between neighbouring constants one band, and what the matchers find is constant on a cell (classes x bands).
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from recovery_engine.model import GOODWILL, OWED, RecoveryRequest, Usage
from recovery_engine.policy.schema import (
    ANYTHING,
    AuthorityLine,
    BudgetLine,
    CeilingLine,
    Conditions,
    Limit,
    Line,
    OwedLine,
    Policy,
)
from recovery_engine.rules.encoding import IN_NO_LIST, NOT_GIVEN, Word
from recovery_engine.rules.readings import (
    ALL,
    Left,
    Reading,
    SumReading,
    Words,
    amount_in,
    ceiling_sum,
    due_of,
    left_under,
    number_of,
    on_case,
    times_with,
)

Read = Callable[[int, RecoveryRequest, Usage], int | None]
"""A reading of one request: the amount in minor units, the request, the usage."""

BUILT_IN_WORDS = ("remedy", "category", "severity", "site", "basis")


@dataclass(frozen=True, slots=True)
class Meter:
    """One number that lines compare: how to read it, and the last value of every band but the highest.

    The band of a value is ``bisect_left(cuts, value)``.
    """

    key: Reading
    read: Read
    cuts: tuple[int, ...]

    @property
    def samples(self) -> tuple[int | None, ...]:
        """One value of every band, and None where the number may be unknown."""
        values: tuple[int | None, ...] = (*self.cuts, self.cuts[-1] + 1)
        return (None, *values) if self.key[0] == "number" else values


def used_lines(policy: Policy, basis: str) -> Iterator[Line]:
    """The lines that a request of this basis uses."""
    if basis == GOODWILL:
        yield from (*policy.authority, *policy.ceilings, *policy.budgets, *policy.four_eyes)
    else:
        yield from policy.owed
    yield from (*policy.deny, *policy.requires, *policy.someone_else)


def may_fit(line: Line, words: Words, names: Sequence[str] | None = None) -> bool:
    """Whether the line fits as far as its words go; only the words in *names* are looked at, if given."""

    def holds(asked: Conditions) -> bool:
        return all(
            words.get(name) in allowed for name, allowed in asked.words.items() if names is None or name in names
        )

    if isinstance(line, OwedLine) and line.remedy != words["remedy"]:
        return False
    if not holds(line.when):
        return False
    if line.unless is None or line.unless.numbers:
        return True
    if names is not None and any(name not in names for name in line.unless.words):
        return True
    return not holds(line.unless)


def facts_read(line: Line) -> Iterator[str]:
    """The bill and the facts that a line reads in ``when``, ``unless``, ``of`` or ``per``."""
    yield from line.when.names
    if line.unless is not None:
        yield from line.unless.names
    if isinstance(line, Limit):
        yield from (name for name in (line.of, line.per) if name)


Measured = tuple[Reading, Read, Iterable[int]]
"""What a line compares: the reading, how to read it, and the last values of bands."""


def meters(policy: Policy, words: Words) -> tuple[Meter, ...]:
    """What must be read about requests with these words."""
    cuts: dict[Reading, set[int]] = {}
    reads: dict[Reading, Read] = {}
    for line in used_lines(policy, str(words["basis"])):
        if may_fit(line, words):
            for key, read, values in (*_in_conditions(policy, line, words), *_in_limits(policy, line, words)):
                cuts.setdefault(key, set()).update(values)
                reads[key] = read
    return tuple(Meter(key, reads[key], tuple(sorted(cuts[key]))) for key in sorted(cuts, key=str) if cuts[key])


def all_cuts(policy: Policy) -> dict[Reading, tuple[int, ...]]:
    """Every number that some line compares, whatever the words, each with the last values of its bands."""
    cuts: dict[Reading, set[int]] = {}
    for basis in (GOODWILL, OWED):
        for line in used_lines(policy, basis):
            rows = {row for row in line.up_to if row != "total"} if isinstance(line, AuthorityLine) else set()
            for words in ({"basis": basis, "remedy": row} for row in rows or {""}):
                for key, _, values in (*_in_conditions(policy, line, words), *_in_limits(policy, line, words)):
                    cuts.setdefault(key, set()).update(values)
    return {key: tuple(sorted(values)) for key, values in cuts.items() if values}


def _in_conditions(policy: Policy, line: Line, words: Words) -> Iterator[Measured]:
    for asked in (line.when, line.unless or ANYTHING):
        for name, intervals in asked.numbers.items():
            ends = [low - 1 for low, _ in intervals if low is not None] + [
                high for _, high in intervals if high is not None
            ]
            if name == "amount":
                key = amount_in(line, str(words["basis"]))
                yield key, _sum(key), ends
            else:
                yield ("number", name), _number(policy, name), ends


def _in_limits(policy: Policy, line: Line, words: Words) -> Iterator[Measured]:
    match line:
        case AuthorityLine():
            remedy = str(words["remedy"])
            for row, remedies in (("total", ALL), (remedy, (remedy,))):
                key: SumReading = ("sum", remedies, GOODWILL)
                yield key, _sum(key), [cell for cell in line.up_to.get(row, ()) if isinstance(cell, int)]
        case CeilingLine() if line.of is None and line.per is None and line.amount is not None:
            yield ceiling_sum(line), _sum(ceiling_sum(line)), [line.amount]
        case CeilingLine():
            yield ("slack", line.id), _after(left_under(policy, line)), [-1]
        case BudgetLine():
            yield ("budget", line.id), _budget(line.id), [] if line.amount is None else [line.amount]
            yield ("times", line.id), _times(line), [] if line.times is None else [line.times]
        case OwedLine():
            yield ("due", line.id), _after(due_of(policy, line)), [-1]


def _sum(key: SumReading) -> Read:
    _, remedies, basis = key
    return lambda amount, request, usage: amount and amount + on_case(usage, remedies, basis)


def _number(policy: Policy, name: str) -> Read:
    value = number_of(policy, name)
    return lambda amount, request, usage: value(request)


def _after(left: Left) -> Read:
    """What a limit leaves after this grant; below zero it is exceeded."""
    return lambda amount, request, usage: amount and left(request, usage) - amount


def _budget(line: str) -> Read:
    def read(amount: int, request: RecoveryRequest, usage: Usage) -> int:
        used = usage.used.get(line)
        return amount if used is None else amount and amount + used.amount

    return read


def _times(line: BudgetLine) -> Read:
    return lambda amount, request, usage: times_with(line, usage) if amount else 0


# --- all cells --------------------------------------------------------------------------------------------------------


def word_samples(policy: Policy, classes: Mapping[str, Mapping[Word, int]]) -> Iterator[dict[str, Word | None]]:
    """One choice of words for every combination of classes that a request may have."""
    names = list(classes)
    choices: list[list[Word | None]] = []
    for name in names:
        by_code: dict[int, Word | None] = {}
        if name not in ("remedy", "basis"):
            by_code[NOT_GIVEN] = None
        for word, code in classes[name].items():
            by_code.setdefault(code, word)
        known = policy.words.known(name)
        listed: Sequence[Word] = (True, False) if policy.words.is_flag(name) else known or ("another word",)
        for word in listed:
            by_code.setdefault(classes[name].get(word, IN_NO_LIST), word)
        choices.append(list(by_code.values()))
    for combination in itertools.product(*choices):
        yield dict(zip(names, combination, strict=True))


def cells(policy: Policy, words: Words) -> Iterator[dict[Reading, int | None]]:
    """One set of readings for every cell with these words, whether or not a single request can have them all."""
    measured = meters(policy, words)
    for values in itertools.product(*(meter.samples for meter in measured)):
        yield dict(zip((meter.key for meter in measured), values, strict=True))
