"""Whole numbers within bounds that satisfy some linear inequalities: found exactly, or shown not to exist.

Small values are tried first, because they make the better example. What that does not settle is settled by linear
programming in exact fractions (Chvátal, Linear Programming, 1983, chapters 2 and 3) with branch and bound.
"""

from collections.abc import Sequence
from fractions import Fraction

from recovery_engine.whatif.ranges import Range

Row = tuple[tuple[int, ...], int]
"""Coefficients c, one for each number, and a bound b: the sum of c times the number is at most b."""

MOST_VALUES = 200_000
_FEW_BRANCHES = 40
_MOST_DOUBLED = 12
_MOST_ROUNDS = 30


_Sparse = tuple[tuple[tuple[int, int], ...], int]
"""A row by the places and coefficients that are not 0."""


class NotSettled(Exception):
    """Too many cases to look at."""


def solution(bounds: Sequence[Range], rows: Sequence[Row], even: Sequence[int] = ()) -> list[int] | None:
    """Numbers within the bounds that satisfy all rows, or None if there are none. Raises NotSettled.

    Sums of others are better named last: they are divided first. *even*: the places of what percentages are of.
    """
    sparse = [(tuple((at, factor) for at, factor in enumerate(factors) if factor), bound) for factors, bound in rows]
    return _solution(list(bounds), sorted(sparse, key=lambda row: len(row[0])), even)


def _solution(bounds: list[Range], rows: Sequence[_Sparse], even: Sequence[int]) -> list[int] | None:
    narrowed = _narrowed(bounds, rows)
    if narrowed is None:
        return None
    small = narrowed
    for at in range(len(bounds)):
        tried = _narrowed([*small[:at], (small[at][0], small[at][0]), *small[at + 1 :]], rows)
        if tried is None:
            return _searched(narrowed, rows, even)
        small = tried
    values = [low for low, _ in small]
    return values if _satisfied(values, rows) else _searched(narrowed, rows, even)


def _satisfied(values: Sequence[int], rows: Sequence[_Sparse]) -> bool:
    return all(sum(factor * values[at] for at, factor in factors) <= bound for factors, bound in rows)


def _narrowed(bounds: list[Range], rows: Sequence[_Sparse]) -> list[Range] | None:
    """Narrower bounds that keep every solution; None where there is none."""
    for _ in range(_MOST_ROUNDS):
        changed = False
        for factors, bound in rows:
            room = bound - sum([factor * bounds[at][factor < 0] for at, factor in factors])
            if room < 0:
                return None
            for at, factor in factors:
                low, high = bounds[at]
                if factor > 0:
                    if low + room // factor < high:
                        bounds[at], changed = (low, low + room // factor), True
                elif high - room // -factor > low:
                    bounds[at], changed = (high - room // -factor, high), True
        if not changed:
            break
    return bounds


def _searched(bounds: list[Range], rows: Sequence[_Sparse], even: Sequence[int]) -> list[int] | None:
    """By branching; then at round values, where percentages come out even; then through all values of one number."""
    try:
        return _branched(bounds, rows, _FEW_BRANCHES)
    except NotSettled:
        pass
    for doubled in range(_MOST_DOUBLED):
        round_ = 10_000 << doubled
        tried = list(bounds)
        for at in even:
            if tried[at][0] <= round_ <= tried[at][1]:
                tried[at] = (round_, round_)
        try:
            if tried != bounds and (found := _branched(tried, rows, _FEW_BRANCHES)) is not None:
                return found
        except NotSettled:
            pass
    return _scanned(bounds, rows, even, [MOST_VALUES])


def _scanned(bounds: list[Range], rows: Sequence[_Sparse], even: Sequence[int], left: list[int]) -> list[int] | None:
    """What percentages are of, one after the other at each of its values, the one that has the fewest first."""
    sizes = [(bounds[at][1] - bounds[at][0], at) for at in even if bounds[at][0] < bounds[at][1]]
    size, at = min(sizes, default=(left[0], 0))
    if size >= left[0]:
        raise NotSettled
    for value in range(bounds[at][0], bounds[at][1] + 1):
        left[0] -= 1
        narrowed = _narrowed([*bounds[:at], (value, value), *bounds[at + 1 :]], rows)
        if narrowed is None:
            continue
        try:
            found = _branched(narrowed, rows, _FEW_BRANCHES)
        except NotSettled:
            found = _scanned(narrowed, rows, even, left)
        if found is not None:
            return found
    return None


def _branched(bounds: list[Range], rows: Sequence[_Sparse], most: int) -> list[int] | None:
    waiting, branches = [bounds], 0
    while waiting:
        branches += 1
        if branches > most:
            raise NotSettled
        narrowed = _narrowed(list(waiting.pop()), rows)
        corner = None if narrowed is None else _corner(narrowed, rows)
        if narrowed is None or corner is None:
            continue
        part = next((at for at in reversed(range(len(corner))) if corner[at].denominator != 1), None)
        if part is None:
            return [int(value) for value in corner]
        low, high = narrowed[part]
        middle = corner[part].__floor__()
        for half in ((middle + 1, high), (low, middle)):
            waiting.append([*narrowed[:part], half, *narrowed[part + 1 :]])
    return None


def _corner(bounds: Sequence[Range], rows: Sequence[_Sparse]) -> list[Fraction] | None:
    """Fractions within the bounds that satisfy all rows, or None: phase one of the simplex method, by Bland's rule."""
    count = len(bounds)
    table: list[list[Fraction]] = []  # one row for each slack: its constant, then the factors of what is not basic
    for factors, bound in rows:
        table.append([Fraction(bound), *[Fraction(0)] * count, Fraction(1)])
        for at, factor in factors:
            table[-1][0] -= factor * bounds[at][0]
            table[-1][at + 1] = Fraction(-factor)
    for at, (low, high) in enumerate(bounds):
        table.append([Fraction(high - low), *(Fraction(-int(at == other)) for other in range(count)), Fraction(1)])
    names, basic = [*range(count), -1], [count + at for at in range(len(table))]  # -1 is how far a row is missed
    worst = min(range(len(table)), key=lambda at: table[at][0])
    if table[worst][0] < 0:
        _pivot(table, names, basic, worst, count)
        while -1 in basic:
            missed = table[basic.index(-1)]
            entering = min((at for at in range(count + 1) if missed[at + 1] < 0), key=names.__getitem__, default=None)
            if entering is None:
                break
            falling = [at for at in range(len(table)) if table[at][entering + 1] < 0]
            ratios = {at: table[at][0] / -table[at][entering + 1] for at in falling}
            least = min(ratios.values())
            leaving = min((at for at in falling if ratios[at] == least), key=lambda at: (basic[at] != -1, basic[at]))
            _pivot(table, names, basic, leaving, entering)
        if -1 in basic and table[basic.index(-1)][0] > 0:
            return None
    values = [Fraction(0)] * count
    for at, name in enumerate(basic):
        if 0 <= name < count:
            values[name] = table[at][0]
    return [low + value for (low, _), value in zip(bounds, values, strict=True)]


def _pivot(table: list[list[Fraction]], names: list[int], basic: list[int], leaving: int, entering: int) -> None:
    """One basic name changes places with one that is not."""
    row, factor = table[leaving], table[leaving][entering + 1]
    solved = [-value / factor for value in row]
    solved[entering + 1] = 1 / factor
    names[entering], basic[leaving] = basic[leaving], names[entering]
    for at, other in enumerate(table):
        if at != leaving and other[entering + 1]:
            share = other[entering + 1]
            table[at] = [value + share * new for value, new in zip(other, solved, strict=True)]
            table[at][entering + 1] = share * solved[entering + 1]
    table[leaving] = solved
