"""The reference matcher: which lines fit, and which limits hold, in plain words.

It is the second opinion on durable-rules and must stay obvious: no tables, no codes, one comparison a line.
A match is a set of findings: ``("fits", line)``, ``("within", line, row, limit)`` where a row's sum is within an
authority limit, ``("over", line)`` and ``("often", line)`` where a ceiling or budget is exceeded by amount or by
number of cases, ``("covers", line)`` where what is owed by that line covers the amount.
"""

from collections.abc import Iterator, Mapping

from recovery_engine.model import GOODWILL
from recovery_engine.policy.schema import Conditions, Line, Policy
from recovery_engine.rules.readings import ALL, Reading, Words, amount_in, ceiling_sum

Finding = tuple[str | int, ...]
Match = frozenset[Finding]
Readings = Mapping[Reading, int | None]


def match(policy: Policy, words: Words, readings: Readings) -> Match:
    """Every finding about one cell: *words* by name, *readings* of the numbers."""
    goodwill = words["basis"] == GOODWILL
    found: list[Finding] = []
    sections = [policy.deny, policy.requires, policy.someone_else, *([policy.four_eyes] if goodwill else [])]
    found += [("fits", line.id) for section in sections for line in section if fits(line, words, readings)]
    found += _goodwill(policy, words, readings) if goodwill else _owed(policy, words, readings)
    return frozenset(found)


def _goodwill(policy: Policy, words: Words, readings: Readings) -> Iterator[Finding]:
    remedy = str(words["remedy"])
    for line in policy.authority:
        if fits(line, words, readings):
            yield "fits", line.id
            for row, remedies in (("total", ALL), (remedy, (remedy,))):
                for cell in line.up_to.get(row, ()):
                    if isinstance(cell, int) and _number(readings, ("sum", remedies, GOODWILL)) <= cell:
                        yield "within", line.id, row, cell
    for ceiling in policy.ceilings:
        if fits(ceiling, words, readings):
            yield "fits", ceiling.id
            if ceiling.of is None and ceiling.per is None:
                assert ceiling.amount is not None
                if _number(readings, ceiling_sum(ceiling)) > ceiling.amount:
                    yield "over", ceiling.id
            elif _number(readings, ("slack", ceiling.id)) < 0:
                yield "over", ceiling.id
    for budget in policy.budgets:
        if fits(budget, words, readings):
            yield "fits", budget.id
            if budget.amount is not None and _number(readings, ("budget", budget.id)) > budget.amount:
                yield "over", budget.id
            if budget.times is not None and _number(readings, ("times", budget.id)) > budget.times:
                yield "often", budget.id


def _owed(policy: Policy, words: Words, readings: Readings) -> Iterator[Finding]:
    for line in policy.owed:
        if line.remedy == words["remedy"] and fits(line, words, readings):
            yield "fits", line.id
            if _number(readings, ("due", line.id)) >= 0:
                yield "covers", line.id


def fits(line: Line, words: Words, readings: Readings) -> bool:
    """Whether all of ``when`` holds and not all of ``unless``."""
    if not _holds(line, line.when, words, readings):
        return False
    return line.unless is None or not _holds(line, line.unless, words, readings)


def _holds(line: Line, asked: Conditions, words: Words, readings: Readings) -> bool:
    for name, allowed in asked.words.items():
        if words.get(name) not in allowed:
            return False
    for name, intervals in asked.numbers.items():
        key = amount_in(line, str(words["basis"])) if name == "amount" else ("number", name)
        value = readings.get(key)
        if value is None or not any(_inside(value, low, high) for low, high in intervals):
            return False
    return True


def _inside(value: int, low: int | None, high: int | None) -> bool:
    return (low is None or low <= value) and (high is None or value <= high)


def _number(readings: Readings, key: Reading) -> int:
    value = readings[key]
    assert value is not None, key
    return value
