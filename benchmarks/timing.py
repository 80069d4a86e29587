"""Time contestants beside each other: passes in turn (A B C A B C), medians, because a busy machine slows all alike."""

import gc
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any, NamedTuple

NS_PER_US = 1000


@contextmanager
def quiet() -> Iterator[None]:
    """What is alive already is left out of garbage collection, which itself stays on."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


Run = tuple[Callable[[Any], object], Sequence[Any]]
"""A function, and what it is called with, one after the other."""


def per_call(runs: Mapping[str, Run], passes: int) -> dict[str, float]:
    """Microseconds a call of each, as the median of passes that take turns; one more goes before and does not count."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    with quiet():
        for _ in range(passes + 1):
            for name, (function, inputs) in runs.items():
                taken[name].append(_one_pass(function, inputs))
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def _one_pass(function: Callable[[Any], object], inputs: Sequence[Any]) -> float:
    start = perf_counter_ns()
    for item in inputs:
        function(item)
    return (perf_counter_ns() - start) / len(inputs) / NS_PER_US


class Spread(NamedTuple):
    """Microseconds of single calls: the middle one, and the one that 1 in 100 exceeds."""

    median: float
    p99: float


def spread(function: Callable[[Any], object], inputs: Sequence[Any], passes: int) -> Spread:
    """Each call timed by itself; medians over the passes, after one that does not count."""
    found = []
    with quiet():
        for _ in range(passes + 1):
            found.append(_spread_of(_each(function, inputs)))
    return Spread(statistics.median(one.median for one in found[1:]), statistics.median(one.p99 for one in found[1:]))


def _each(function: Callable[[Any], object], inputs: Sequence[Any]) -> list[int]:
    taken = []
    for item in inputs:
        start = perf_counter_ns()
        function(item)
        taken.append(perf_counter_ns() - start)
    return taken


def _spread_of(taken: Iterable[int]) -> Spread:
    ordered = sorted(taken)
    return Spread(
        ordered[len(ordered) // 2] / NS_PER_US, ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] / NS_PER_US
    )
