"""The reference matcher: which lines fit, and which limits hold, in plain words.

It is the second opinion on durable-rules and must stay obvious: no tables, no codes, one comparison a line.
A match is a set of findings: ``("fits", line)``, ``("within", line, row, limit)`` where a row's sum is within an
authority limit, ``("over", line)`` and ``("often", line)`` where a ceiling or budget is exceeded by amount or by
number of cases, ``("covers", line)`` where what is owed by that line covers the amount.
"""

from collections.abc import Mapping

from recovery_engine.model import GOODWILL
from recovery_engine.policy.schema import Conditions, Line, Policy
from recovery_engine.rules.readings import ALL, Reading, Words, amount_in, ceiling_sum

Finding = tuple[str | int, ...]
Match = frozenset[Finding]


def match(policy: Policy, words: Words, readings: Mapping[Reading, int | None]) -> Match:
    """Every finding about one cell: *words* by name, *readings* of the numbers."""
    found: list[Finding] = []

    def fitting(lines: tuple[Line, ...]) -> list[Line]:
        fit = [line for line in lines if fits(line, words, readings)]
        found.extend(("fits", line.id) for line in fit)
        return fit

    for section in (policy.deny, policy.requires, policy.someone_else):
        fitting(section)
    if words["basis"] == GOODWILL:
        fitting(policy.four_eyes)
        _goodwill(policy, words, readings, found, fitting)
    else:
        for line in policy.owed:
            if line.remedy == words["remedy"] and fits(line, words, readings):
                found.append(("fits", line.id))
                if _number(readings, ("due", line.id)) >= 0:
                    found.append(("covers", line.id))
    return frozenset(found)


def _goodwill(policy, words, readings, found, fitting) -> None:  # type: ignore[no-untyped-def]
    remedy = words["remedy"]
    fitting(policy.authority)
    for line in policy.authority:
        if ("fits", line.id) in found:
            for row, remedies in (("total", ALL), (remedy, (remedy,))):
                total = readings.get(("sum", remedies, GOODWILL))
                for cell in line.up_to.get(row, ()):
                    if isinstance(cell, int) and total is not None and total <= cell:
                        found.append(("within", line.id, row, cell))
    fitting(policy.ceilings)
    for ceiling in policy.ceilings:
        if ("fits", ceiling.id) in found:
            if ceiling.of is None and ceiling.per is None:
                over = _number(readings, ceiling_sum(ceiling)) > ceiling.amount
            else:
                over = _number(readings, ("slack", ceiling.id)) < 0
            if over:
                found.append(("over", ceiling.id))
    fitting(policy.budgets)
    for budget in policy.budgets:
        if ("fits", budget.id) in found:
            if budget.amount is not None and _number(readings, ("budget", budget.id)) > budget.amount:
                found.append(("over", budget.id))
            if budget.times is not None and _number(readings, ("times", budget.id)) > budget.times:
                found.append(("often", budget.id))


def fits(line: Line, words: Words, readings: Mapping[Reading, int | None]) -> bool:
    """Whether all of ``when`` holds and not all of ``unless``."""
    own_sum = readings.get(amount_in(line, str(words["basis"])))
    if not _holds(line.when, words, readings, own_sum):
        return False
    return line.unless is None or not _holds(line.unless, words, readings, own_sum)


def _holds(asked: Conditions, words: Words, readings: Mapping[Reading, int | None], own_sum: int | None) -> bool:
    for name, allowed in asked.words.items():
        if words.get(name) not in allowed:
            return False
    for name, intervals in asked.numbers.items():
        value = own_sum if name == "amount" else readings.get(("number", name))
        if value is None or not any(_inside(value, low, high) for low, high in intervals):
            return False
    return True


def _inside(value: int, low: int | None, high: int | None) -> bool:
    return (low is None or low <= value) and (high is None or value <= high)


def _number(readings: Mapping[Reading, int | None], key: Reading) -> int:
    value = readings.get(key)
    assert value is not None, key
    return value
