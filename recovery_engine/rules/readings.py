"""What is measured about a request: the numbers that lines compare with their limits.

Adding up is always the same (reading rule 3): over the remedies the line names, all if it names none, on this case,
this grant included. A grant of zero adds nothing: every sum it is compared by reads 0.
"""

from collections.abc import Mapping

from recovery_engine.model import GOODWILL, OWED, Money, RecoveryRequest, Usage
from recovery_engine.money import MAX_MINOR
from recovery_engine.policy.schema import BudgetLine, CeilingLine, Limit, Line, OwedLine, Policy

ALL: tuple[str, ...] = ()
"""The remedies of a sum over all remedies."""

BOTH = "both"
"""The basis of a sum over goodwill and owed together."""

Words = Mapping[str, str | bool | None]
Reading = tuple[str, str] | tuple[str, tuple[str, ...], str]
"""``("number", name)``, ``("sum", remedies, basis)``, ``("slack" | "due" | "budget" | "times", line)``."""


def amount_in(line: Line, basis: str) -> Reading:
    """The sum that ``amount`` means in the ``when`` of a line: the request's own basis."""
    return ("sum", named_remedies(line), basis)


def ceiling_sum(line: CeilingLine) -> Reading:
    """The sum a ceiling compares: goodwill and owed together."""
    return ("sum", named_remedies(line), BOTH)


def named_remedies(line: Line) -> tuple[str, ...]:
    """The remedies a line adds up."""
    return tuple(str(word) for word in line.when.words.get("remedy", ALL))


def number(policy: Policy, request: RecoveryRequest, name: str) -> int | None:
    """The bill or a fact as a whole number or minor units; None where it is not known."""
    value = request.bill if name == "bill" else request.facts.get(name)
    if value is None and name in policy.facts:
        default = policy.facts[name].default
        return default if isinstance(default, int) else None
    return value.minor if isinstance(value, Money) else value  # type: ignore[return-value]


def on_case(usage: Usage, remedies: tuple[str, ...], basis: str) -> int:
    """What the case already had, in minor units."""
    books = {GOODWILL: (usage.on_case,), OWED: (usage.owed_on_case,), BOTH: (usage.on_case, usage.owed_on_case)}[basis]
    return sum(sum(book.values()) if remedies == ALL else sum(book.get(name, 0) for name in remedies) for book in books)


def limit_of(policy: Policy, line: Limit, request: RecoveryRequest) -> int | None:
    """What a ceiling allows or an owed line gives, in minor units: the smallest of what it names.

    None where the bill is not on file. An owed percentage is rounded half up; a ceiling's need not be, because
    ``10000 * total <= 100p * f`` in integers is the same as ``total <= floor(100p * f / 10000)``.
    """
    limits = [] if line.amount is None else [line.amount]
    if line.percent is not None and line.of is not None:
        base = number(policy, request, line.of)
        if base is None:
            return None
        half = 5000 if isinstance(line, OwedLine) else 0
        limits.append((line.percent * base + half) // 10000)
    if line.each is not None and line.per is not None:
        count = number(policy, request, line.per)
        if count is None:
            return None
        limits.append(line.each * count)
    return min(limits)


def had_of(line: OwedLine, usage: Usage) -> int:
    """What counts against an owed line: what the case had of its remedy, on either basis unless it is on top."""
    return on_case(usage, (line.remedy,), OWED if line.on_top else BOTH)


def due_of(policy: Policy, line: OwedLine, request: RecoveryRequest, usage: Usage) -> int:
    """What an owed line still leaves, in minor units; negative where the case had more, 0 without a bill on file."""
    limit = limit_of(policy, line, request)
    return 0 if limit is None else limit - had_of(line, usage)


def times_with(line: BudgetLine, usage: Usage) -> int:
    """The cases a budget would hold with this grant: a case counts once, on its first goodwill grant above zero."""
    used = usage.used.get(line.id)
    return (used.times if used else 0) + (0 if usage.on_case else 1)


def clamp(value: int) -> int:
    """Within the range the rule network holds exactly; only the sign of what is clamped is ever asked."""
    return max(-MAX_MINOR, min(MAX_MINOR, value))
