"""Whole numbers within bounds that satisfy some linear inequalities: found exactly, or shown not to exist.

Small values are tried first, because they make the better example. What that does not settle is settled by linear
programming in exact fractions (Chvátal, Linear Programming, 1983, chapters 2 and 3) with branch and bound.
"""

from collections.abc import Sequence
from fractions import Fraction

from recovery_engine.whatif.ranges import Range

Row = tuple[tuple[int, ...], int]
"""Coefficients c, one for each number, and a bound b: the sum of c times the number is at most b."""

MOST_BRANCHES = 400
_MOST_ROUNDS = 30


class NotSettled(Exception):
    """Too many cases to look at."""


def solution(bounds: Sequence[Range], rows: Sequence[Row]) -> list[int] | None:
    """Numbers within the bounds that satisfy all rows, or None if there are none. Raises NotSettled."""
    narrowed = _narrowed(list(bounds), rows)
    if narrowed is None:
        return None
    small = narrowed
    for at in range(len(bounds)):
        tried = _narrowed([*small[:at], (small[at][0], small[at][0]), *small[at + 1 :]], rows)
        if tried is None:
            return _searched(narrowed, rows)
        small = tried
    values = [low for low, _ in small]
    return values if _satisfied(values, rows) else _searched(narrowed, rows)


def _satisfied(values: Sequence[int], rows: Sequence[Row]) -> bool:
    return all(sum(map(int.__mul__, factors, values)) <= bound for factors, bound in rows)


def _narrowed(bounds: list[Range], rows: Sequence[Row]) -> list[Range] | None:
    """Narrower bounds that keep every solution; None where there is none."""
    for _ in range(_MOST_ROUNDS):
        changed = False
        for factors, bound in rows:
            least = sum(factor * bounds[at][factor < 0] for at, factor in enumerate(factors) if factor)
            for at, factor in enumerate(factors):
                if factor:
                    low, high = bounds[at]
                    room = bound - least + factor * bounds[at][factor < 0]
                    new = (low, min(high, room // factor)) if factor > 0 else (max(low, -(room // -factor)), high)
                    if new[0] > new[1]:
                        return None
                    if new != (low, high):
                        bounds[at], changed = new, True
        if not changed:
            break
    return bounds


def _searched(bounds: list[Range], rows: Sequence[Row]) -> list[int] | None:
    waiting, branches = [bounds], 0
    while waiting:
        branches += 1
        if branches > MOST_BRANCHES:
            raise NotSettled
        narrowed = _narrowed(list(waiting.pop()), rows)
        corner = None if narrowed is None else _corner(narrowed, rows)
        if narrowed is None or corner is None:
            continue
        part = next((at for at, value in enumerate(corner) if value.denominator != 1), None)
        if part is None:
            return [int(value) for value in corner]
        low, high = narrowed[part]
        middle = corner[part].__floor__()
        for half in ((middle + 1, high), (low, middle)):
            waiting.append([*narrowed[:part], half, *narrowed[part + 1 :]])
    return None


def _corner(bounds: Sequence[Range], rows: Sequence[Row]) -> list[Fraction] | None:
    """Fractions within the bounds that satisfy all rows, or None: phase one of the simplex method, by Bland's rule."""
    count = len(bounds)
    table: list[list[Fraction]] = []  # one row for each slack: its constant, then the factors of what is not basic
    for factors, bound in rows:
        shifted = bound - sum(factor * low for factor, (low, _) in zip(factors, bounds, strict=True))
        table.append([Fraction(shifted), *(Fraction(-factor) for factor in factors), Fraction(1)])
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
