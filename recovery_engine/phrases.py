"""Lines of a policy in the words of people: for reasons, and for the authority card."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from recovery_engine.money import digits_of, format_minor
from recovery_engine.policy.fields import Conditions
from recovery_engine.policy.schema import BudgetLine, CeilingLine, FourEyesLine, Line, OwedLine, Policy, RequiresLine
from recovery_engine.policy.words import Interval


def in_words(name: str) -> str:
    """A role, remedy or fact as people say it: ``area_manager`` is `area manager`."""
    return name.replace("_", " ")


def proof_in_words(items: Iterable[str]) -> str:
    """``photo, receipt and a note``."""
    named = {"note": "a note", "reason": "a reason code"}
    words = [named.get(item, in_words(item)) for item in items]
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def duration(seconds: int) -> str:
    """``15 minutes``, ``4 hours``: the largest unit that divides it."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds} seconds"


def moment(at_us: int) -> str:
    """An instant (UTC microseconds) to the second: ``2026-11-21 18:05:06 UTC``."""
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us):%Y-%m-%d %H:%M:%S} UTC"


def limit_in_words(line: CeilingLine | OwedLine, money: Callable[[int], str]) -> str:
    """``100% of bill``, ``€250.00 each for passengers``."""
    parts = []
    if line.amount is not None:
        parts.append(money(line.amount))
    if line.percent is not None and line.of is not None:
        parts.append(f"{Decimal(line.percent).scaleb(-2).normalize():f}% of the {in_words(line.of)}")
    if line.each is not None and line.per is not None:
        parts.append(f"{money(line.each)} for each of {in_words(line.per)}")
    return parts[0] if len(parts) == 1 else f"the smaller of {' and '.join(parts)}"


def required_in_words(line: RequiresLine) -> str:
    """The proof a line asks for: ``photo and a note``."""
    return proof_in_words([*line.evidence, *(["note"] if line.note else [])])


def second_in_words(line: FourEyesLine) -> str:
    """``manager or above``, ``the next role or above``."""
    return f"{'the next role' if line.second == 'next_role' else in_words(line.second)} or above"


def period_in_words(line: BudgetLine) -> str:
    """``a month``, ``in 90 days``."""
    return f"in {line.every}" if line.every.endswith("days") else f"a {line.every}"


def cases_in_words(times: int) -> str:
    """``1 case``, ``3 cases``."""
    return f"{times} case{'' if times == 1 else 's'}"


def but(role: str | None, may: str) -> str:
    """What a role and those above it may all the same; nothing where no role is named."""
    return f"; {in_words(role)} and above {may}" if role else ""


def with_conditions(policy: Policy, line: Line, text: str) -> str:
    """What a line says, and where it fits."""
    asked = conditions_in_words(policy, line)
    return f"{text} (where {asked})" if asked else text


def conditions_in_words(policy: Policy, line: Line) -> str:
    """When the line fits, as a phrase: ``severity is major or critical and not category is safety``."""
    unless = _asked(policy, line.unless) if line.unless else ""
    if unless:
        unless = f"not ({unless})" if " and " in unless else f"not {unless}"
    return " and ".join(filter(None, [_asked(policy, line.when), unless]))


def _asked(policy: Policy, asked: Conditions) -> str:
    parts = []
    for name, words in asked.words.items():
        parts.append(f"{in_words(name)} is {_any_of(_groups(policy, name, words))}")
    for name, intervals in asked.numbers.items():
        parts.append(f"{in_words(name)} is {_any_of([_interval(policy, name, interval) for interval in intervals])}")
    return " and ".join(parts)


def _groups(policy: Policy, name: str, words: tuple[str | bool, ...]) -> list[str]:
    """The words; where they are just the sites of a group, its name."""
    for group, sites in (policy.sites or {}).items() if name == "site" else ():
        if set(sites) == set(words):
            return [group]
    return [str(word).lower() if isinstance(word, bool) else in_words(word) for word in words]


def _interval(policy: Policy, name: str, interval: Interval) -> str:
    def shown(value: int) -> str:
        return format_minor(value, policy.currency) if policy.words.is_money(name) else str(value)

    low, high = interval
    if low == high and low is not None:
        return shown(low)
    if high is None and low is not None:
        whole = policy.words.is_money(name) and (low - 1) % 10 ** digits_of(policy.currency) == 0
        return f"over {shown(low - 1)}" if whole else f"at least {shown(low)}"
    if high is None:
        return "any"
    return f"at most {shown(high)}" if low is None else f"from {shown(low)} to {shown(high)}"


def _any_of(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"
