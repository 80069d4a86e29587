"""Sets of whole numbers as ranges: what a box of requests allows one number to be."""

from collections.abc import Iterable

from recovery_engine.money import MAX_MINOR

Range = tuple[int, int]
"""From the first to the second, both included."""

Ranges = tuple[Range, ...]
"""Disjoint ranges that do not touch, the lowest first."""

ABSENT = -(2**60)
"""Stands for a number that is not given, such as a bill that is not on file."""

NOT_GIVEN: Range = (ABSENT, ABSENT)
NOTHING: Ranges = ()
LARGEST = MAX_MINOR


def united(ranges: Iterable[Range]) -> Ranges:
    """The same numbers in as few ranges as will do.

    >>> united([(101, 250), (1, 5), (6, 9)])
    ((1, 9), (101, 250))
    """
    made: list[Range] = []
    for low, high in sorted(ranges):
        if made and low <= made[-1][1] + 1:
            made[-1] = (made[-1][0], max(high, made[-1][1]))
        else:
            made.append((low, high))
    return tuple(made)


def common(one: Ranges, other: Ranges) -> Ranges:
    """The numbers in both.

    >>> common(((1, 9), (20, 30)), ((5, 22),))
    ((5, 9), (20, 22))
    """
    pairs = [(max(low, first), min(high, last)) for low, high in one for first, last in other]
    return united(pair for pair in pairs if pair[0] <= pair[1])


def within(one: Ranges, other: Ranges) -> bool:
    """Whether all of *one* is in *other*."""
    return all(any(first <= low and high <= last for first, last in other) for low, high in one)


def meet(one: Ranges, other: Ranges) -> bool:
    """Whether some number is in both."""
    return any(low <= last and first <= high for low, high in one for first, last in other)


def bands(lows: Iterable[int], range_: Range) -> list[Range]:
    """A range, cut before each of the numbers in it.

    >>> bands([101, 251, 9000], (1, 500))
    [(1, 100), (101, 250), (251, 500)]
    """
    low, high = range_
    starts = sorted({low, *(start for start in lows if low < start <= high)})
    return list(zip(starts, [start - 1 for start in starts[1:]] + [high], strict=True))
