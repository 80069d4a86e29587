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


PASS_US = 20_000
"""A pass goes over its inputs again until it has taken about this long; else the quick would pay for cold caches."""


def per_call(runs: Mapping[str, Run], passes: int) -> dict[str, float]:
    """Microseconds a call of each, as the median of passes that take turns; one more goes before and does not count."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    with quiet():
        first = {name: _one_pass(function, inputs) for name, (function, inputs) in runs.items()}
        times = {
            name: max(1, min(20, round(PASS_US / (first[name] * len(inputs))))) for name, (_, inputs) in runs.items()
        }
        for _ in range(passes):
            for name, (function, inputs) in runs.items():
                taken[name].append(_one_pass(function, inputs, times[name]))
    return {name: statistics.median(found) for name, found in taken.items()}


def _one_pass(function: Callable[[Any], object], inputs: Sequence[Any], times: int = 1) -> float:
    start = perf_counter_ns()
    for _ in range(times):
        for item in inputs:
            function(item)
    return (perf_counter_ns() - start) / len(inputs) / times / NS_PER_US


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
