"""Spans of amounts: joined, taken from each other, and in words."""

from collections.abc import Iterable

from recovery_engine.money import format_minor

Span = tuple[int, int | None]
"""Minor units from the first to the second, both included; None is open."""

_BEYOND = 2**62


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same amounts in as few spans as will do, the lowest first.

    >>> joined([(101, 250), (251, None), (1, 5)])
    ((1, 5), (101, None))
    """
    made: list[list[int]] = []
    for low, end in sorted((low, _BEYOND if high is None else high) for low, high in spans):
        if made and low <= made[-1][1] + 1:
            made[-1][1] = max(made[-1][1], end)
        else:
            made.append([low, end])
    return tuple((low, None if end == _BEYOND else end) for low, end in made)


def without(spans: Iterable[Span], others: Iterable[Span]) -> tuple[Span, ...]:
    """The amounts of some spans that are in none of the others.

    >>> without([(1, None)], [(5, 9), (20, None)])
    ((1, 4), (10, 19))
    """
    left = [(low, _BEYOND if high is None else high) for low, high in joined(spans)]
    for first, last in joined(others):
        end = _BEYOND if last is None else last
        pieces = [piece for low, high in left for piece in ((low, min(high, first - 1)), (max(low, end + 1), high))]
        left = [(low, high) for low, high in pieces if low <= high]
    return joined((low, None if high == _BEYOND else high) for low, high in left)


def spans_in_words(spans: Iterable[Span], currency: str) -> str:
    """Amounts for people.

    >>> spans_in_words([(25001, 50000), (100001, None)], "USD")
    '$250.01 to $500.00 and $1,000.01 or more'
    """
    return " and ".join(_in_words(low, high, currency) for low, high in joined(spans))


def _in_words(low: int, high: int | None, currency: str) -> str:
    if high is None:
        return f"{format_minor(low, currency)} or more" if low else "any amount"
    if not low:
        return f"up to {format_minor(high, currency)}" if high else "what costs nothing"
    shown = format_minor(low, currency)
    return shown if low == high else f"{shown} to {format_minor(high, currency)}"
