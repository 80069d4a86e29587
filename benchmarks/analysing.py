"""How long it takes to look at every possible request of a policy: lint, and diff against a policy without a line.

Counted in CPU time, which other programs do not disturb; the whole command is a new process, its start included.
"""

import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from time import process_time_ns

from benchmarks.report import Row
from recovery_engine import diff_policies, lint_policy, load_policy, shipped_policies
from recovery_engine.policy.schema import SECTIONS, Policy

SECTION = "Looking at every possible request of a starter policy, CPU time"
MOST_US = 1_000_000.0
"""A policy of 50 lines is linted within a second, the whole command."""


def _times_us(work: Callable[[], object], passes: int, clock: Callable[[], int]) -> float:
    times = []
    for _ in range(passes):
        start = clock()
        work()
        times.append((clock() - start) / 1000)
    return statistics.median(times)


def _children_ns() -> int:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round((used.ru_utime + used.ru_stime) * 1_000_000_000)


def _without_last_line(policy: Policy) -> Policy:
    section = next(name for name in reversed(SECTIONS) if getattr(policy, name))
    return policy.with_parts(**{section: getattr(policy, section)[:-1]})


def rows(passes: int) -> Iterator[Row]:
    """Every row about analysing the starter policies."""
    largest = ("", 0.0)
    for name, path in shipped_policies().items():
        text, policy = path.read_text(encoding="utf-8"), load_policy(path)
        found, other = lint_policy(text), _without_last_line(policy)
        assert found.complete, name
        lint_us = _times_us(lambda text=text: lint_policy(text), passes, process_time_ns)  # type: ignore[misc]
        largest = max(largest, (name, lint_us), key=lambda one: one[1])
        lines = len(list(policy.lines()))
        remark = f"{lines} lines, {len(found.proven)} promises, {found.cells:,} cells"
        yield Row(SECTION, f"{name}, lint", lint_us, unit="ms", remark=remark)
        diff_us = _times_us(
            lambda one=policy, two=other: diff_policies(one, two),  # type: ignore[misc]
            passes,
            process_time_ns,
        )
        remark = f"{diff_us / lint_us:.1f} × lint"
        yield Row(SECTION, f"{name}, diff without its last line", diff_us, unit="ms", remark=remark)
    command = [sys.executable, "-m", "recovery_cli", "lint", largest[0]]
    whole_us = _times_us(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True), passes, _children_ns)
    what = f"`recovery lint {largest[0]}`, the whole command"
    yield Row(SECTION, what, whole_us, unit="ms", limit_us=MOST_US)
