"""Whole numbers that satisfy inequalities, against trying all of them and against z3."""

from itertools import product
from random import Random

import pytest
import z3

from recovery_engine.whatif.integers import NotSettled, solution

LARGEST = 2**53 - 1


def satisfies(values, bounds, rows) -> bool:
    within = all(low <= value <= high for value, (low, high) in zip(values, bounds, strict=True))
    return within and all(sum(map(int.__mul__, factors, values)) <= bound for factors, bound in rows)


def by_z3(bounds, rows) -> str:
    solver = z3.Solver()
    solver.set("timeout", 2000)
    numbers = [z3.Int(f"x{at}") for at in range(len(bounds))]
    for number, (low, high) in zip(numbers, bounds, strict=True):
        solver.add(number >= low, number <= high)
    for factors, bound in rows:
        solver.add(z3.Sum([factor * number for factor, number in zip(factors, numbers, strict=True)]) <= bound)
    return str(solver.check())


def small_system(random: Random):
    count = random.randint(1, 4)
    bounds = [(low, low + random.randint(0, 6)) for low in [random.randint(-3, 3) for _ in range(count)]]
    rows = []
    for _ in range(random.randint(0, 5)):
        factors = tuple(random.choice((0, 0, 1, -1, random.randint(-7, 7))) for _ in range(count))
        rows.append((factors, random.randint(-10, 10)))
        if random.random() < 0.2:  # an equality
            rows.append((tuple(-factor for factor in factors), -rows[-1][1]))
    return bounds, rows


@pytest.mark.parametrize("seed", range(4))
def test_small_systems_have_a_solution_exactly_if_trying_finds_one(seed: int) -> None:
    random = Random(seed)
    for _ in range(700):
        bounds, rows = small_system(random)
        tried = any(satisfies(values, bounds, rows) for values in product(*(range(a, b + 1) for a, b in bounds)))
        found = solution(bounds, rows, range(len(bounds)))
        assert (found is not None) == tried, (bounds, rows, found)
        assert found is None or satisfies(found, bounds, rows), (bounds, rows, found)


def shares(percent: int, of: tuple[int, int], summed: tuple[int, int], atoms: int, owed: bool = False):
    """A sum of an amount and what the case had, more than a percentage of a bill but within a hundredth more."""
    half, bill, total = 5000 * owed, 1 + atoms, 2 + atoms
    bounds = [(1, LARGEST), *[(0, LARGEST)] * atoms, of, summed]

    def row(factors):
        return tuple(factors.get(at, 0) for at in range(len(bounds)))

    added = dict.fromkeys(range(1 + atoms), 1)
    rows = [(row(added | {total: -1}), 0), (row(dict.fromkeys(added, -1) | {total: 1}), 0)]
    rows += [(row({total: 10000, bill: -percent - 1}), half), (row({total: -10000, bill: percent}), -half - 1)]
    return bounds, rows, [bill]


@pytest.mark.parametrize("owed", [False, True])
@pytest.mark.parametrize("atoms", [0, 1, 4])
@pytest.mark.parametrize("percent", [5000, 3333, 9999, 12500])
def test_near_parallel_percentages_are_settled(percent: int, atoms: int, owed: bool) -> None:
    for most in (3, 60, 2500, 4999, 5001, 10_001, LARGEST):
        bounds, rows, even = shares(percent, (0, LARGEST), (1, most), atoms, owed)
        found = solution(bounds, rows, even)
        assert by_z3(bounds, rows) == ("unsat" if found is None else "sat"), (most, found)
        assert found is None or satisfies(found, bounds, rows)
        if most < 100:  # and by trying: a bill for every sum
            some = any(
                percent * of + 5000 * owed < 10_000 * total <= (percent + 1) * of + 5000 * owed
                for total in range(1, most + 1)
                for of in range(4 * most)
            )
            assert (found is not None) == some


def test_large_random_systems_agree_with_z3() -> None:
    random, settled = Random(7), 0
    for _ in range(120):
        percents = [random.choice((5000, 4999, 3333, random.randint(1, 20_000))) for _ in range(2)]
        low = random.choice((1, random.randint(1, 5000)))
        high = random.choice((LARGEST, low, low + random.randint(0, 60)))
        of = random.choice(((0, LARGEST), (low, 2 * low), (-3, LARGEST)))
        bounds, rows, even = shares(percents[0], of, (low, high), random.randint(0, 4), random.random() < 0.5)
        further = [0] * len(bounds)
        further[0], further[even[0]] = 10_000, -percents[1]
        rows.append((tuple(further), random.choice((0, 5000))))
        found = solution(bounds, rows, even)
        judged = by_z3(bounds, rows)
        settled += judged != "unknown"
        assert judged in ("unknown", "unsat" if found is None else "sat"), (bounds, rows, found)
        assert found is None or satisfies(found, bounds, rows)
    assert settled > 100


def test_what_cannot_be_settled_is_said() -> None:
    # A power of two is no multiple of three, but no bound shows it, and nothing says which number to try.
    rows = [((3, 6), 2**40), ((-3, -6), -(2**40))]
    with pytest.raises(NotSettled):
        solution([(0, LARGEST), (0, LARGEST)], rows)
