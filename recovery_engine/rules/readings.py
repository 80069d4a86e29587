"""What is measured about a request: the numbers that lines compare with their limits.

Adding up is always the same (reading rule 3): over the remedies the line names, all if it names none, on this case,
this grant included. A grant of zero adds nothing: every sum it is compared by reads 0.
"""

from collections.abc import Callable, Mapping

from recovery_engine.model import GOODWILL, OWED, RecoveryRequest, Usage
from recovery_engine.money import MAX_MINOR
from recovery_engine.policy.schema import BudgetLine, CeilingLine, Limit, Line, OwedLine, Policy

ALL: tuple[str, ...] = ()
"""The remedies of a sum over all remedies."""

BOTH = "both"
"""The basis of a sum over goodwill and owed together."""

Words = Mapping[str, str | bool | None]
NameReading = tuple[str, str]
SumReading = tuple[str, tuple[str, ...], str]
Reading = NameReading | SumReading
"""``("number", name)``, ``("slack" | "due" | "budget" | "times", line)``, or ``("sum", remedies, basis)``."""

NumberOf = Callable[[RecoveryRequest], int | None]
"""Reads one number of a request; None where it is not known."""


def amount_in(line: Line, basis: str) -> SumReading:
    """The sum that ``amount`` means in the ``when`` of a line: the request's own basis."""
    return ("sum", named_remedies(line), basis)


def ceiling_sum(line: CeilingLine) -> SumReading:
    """The sum a ceiling compares: goodwill and owed together."""
    return ("sum", named_remedies(line), BOTH)


def named_remedies(line: Line) -> tuple[str, ...]:
    """The remedies a line adds up."""
    return tuple(str(word) for word in line.when.words.get("remedy", ALL))


def number_of(policy: Policy, name: str) -> NumberOf:
    """A reader of the bill or of a number or money fact, in minor units; its default stands in."""
    if name == "bill":
        return lambda request: None if request.bill is None else request.bill.minor
    fact = policy.facts[name]
    default = fact.default if isinstance(fact.default, int) else None
    if fact.kind == "money":
        return lambda request: default if (value := request.facts.get(name)) is None else value.minor  # type: ignore[union-attr]
    return lambda request: default if (value := request.facts.get(name)) is None else value  # type: ignore[return-value]


def limit_of(policy: Policy, line: Limit) -> NumberOf:
    """A reader of what a ceiling allows or an owed line gives, in minor units: the smallest of what it names.

    None where the bill is not on file. An owed percentage is rounded half up; a ceiling's need not be, because
    ``10000 * total <= 100p * f`` in integers is the same as ``total <= floor(100p * f / 10000)``.
    """
    parts: list[NumberOf] = []
    if line.amount is not None:
        amount = line.amount
        parts.append(lambda request: amount)
    if line.percent is not None and line.of is not None:
        percent, base, half = line.percent, number_of(policy, line.of), 5000 if isinstance(line, OwedLine) else 0
        parts.append(lambda request: None if (of := base(request)) is None else (percent * of + half) // 10000)
    if line.each is not None and line.per is not None:
        each, count = line.each, number_of(policy, line.per)
        parts.append(lambda request: None if (per := count(request)) is None else each * per)
    return parts[0] if len(parts) == 1 else lambda request: _smallest([part(request) for part in parts])


def _smallest(limits: list[int | None]) -> int | None:
    known = [limit for limit in limits if limit is not None]
    return min(known) if len(known) == len(limits) else None


def on_case(usage: Usage, remedies: tuple[str, ...], basis: str) -> int:
    """What the case already had, in minor units."""
    had = 0
    if basis != OWED and usage.on_case:
        had += _added_up(usage.on_case, remedies)
    if basis != GOODWILL and usage.owed_on_case:
        had += _added_up(usage.owed_on_case, remedies)
    return had


def _added_up(book: Mapping[str, int], remedies: tuple[str, ...]) -> int:
    if remedies == ALL:
        return sum(book.values())
    return sum([book.get(remedy, 0) for remedy in remedies])


Left = Callable[[RecoveryRequest, Usage], int]
"""Reads what a limit leaves for this grant, in minor units; below zero where it is exceeded already."""


def left_under(policy: Policy, line: CeilingLine) -> Left:
    """A reader of what a ceiling leaves; nothing without a bill on file."""
    allows, (_, remedies, basis) = limit_of(policy, line), ceiling_sum(line)

    def left(request: RecoveryRequest, usage: Usage) -> int:
        limit = allows(request)
        return 0 if limit is None else limit - on_case(usage, remedies, basis)

    return left


def due_of(policy: Policy, line: OwedLine) -> Left:
    """A reader of what an owed line still leaves, in minor units: its amount less what the case had of its remedy.

    On either basis, or less owed only where it is on top. Negative where the case had more; 0 without a bill on file.
    """
    gives = limit_of(policy, line)

    def due(request: RecoveryRequest, usage: Usage) -> int:
        limit = gives(request)
        return 0 if limit is None else limit - had_of(line, usage)

    return due


def had_of(line: OwedLine, usage: Usage) -> int:
    """What counts against an owed line: what the case had of its remedy, on either basis unless it is on top."""
    return on_case(usage, (line.remedy,), OWED if line.on_top else BOTH)


def times_with(line: BudgetLine, usage: Usage) -> int:
    """The cases a budget would hold with this grant: a case counts once, on its first goodwill grant above zero."""
    used = usage.used.get(line.id)
    return (used.times if used else 0) + (0 if usage.on_case else 1)


def clamp(value: int) -> int:
    """Within the range the rule network holds exactly, and still beyond every limit where it was beyond them."""
    return max(-MAX_MINOR - 1, min(MAX_MINOR + 1, value))
