"""How long it takes before the first decision: loading a policy, and starting the command line."""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter_ns

from benchmarks.contestants import POLICY_FILE
from benchmarks.report import Row
from benchmarks.timing import NS_PER_US, per_call
from recovery_engine import load_policy

SECTION = "Getting ready"

_LOAD_ONCE = """
import sys, time
start = time.perf_counter_ns()
from recovery_engine import load_policy
imported = time.perf_counter_ns()
load_policy(sys.argv[1])
print(imported - start, time.perf_counter_ns() - imported)
"""


def rows(processes: int, passes: int) -> Iterator[Row]:
    """Every row about getting ready; each process is a new one."""
    imported, loaded = _in_new_processes(processes)
    lines = len(POLICY_FILE.read_text().splitlines())
    yield Row(SECTION, f"loading a policy of {lines} lines, the first", loaded, "ms", limit_us=150_000)
    warm = per_call({"load": (load_policy, [POLICY_FILE] * 3)}, passes)["load"]
    yield Row(SECTION, "loading it again", warm, "ms")
    yield Row(SECTION, "importing recovery_engine", imported, "ms")
    help_us = _command_line_help(processes)
    remark = "" if help_us is not None else "the command line is not installed"
    yield Row(SECTION, "recovery --help, the whole process", help_us, "ms", limit_us=250_000, remark=remark)
    yield Row(SECTION, "of that an empty Python process", _whole_process(["-c", ""], processes), "ms")


def _in_new_processes(count: int) -> tuple[float, float]:
    """Median microseconds for importing and for loading, each once a process."""
    found = []
    for _ in range(count):
        done = _python(["-c", _LOAD_ONCE, str(POLICY_FILE)])
        found.append([int(text) / NS_PER_US for text in done.stdout.split()])
    return statistics.median(one[0] for one in found), statistics.median(one[1] for one in found)


def _command_line_help(count: int) -> float | None:
    if find_spec("recovery_cli") is None:
        return None
    try:
        return _whole_process(["-m", "recovery_cli", "--help"], count)
    except subprocess.CalledProcessError:
        return None


def _whole_process(arguments: list[str], count: int) -> float:
    """Median microseconds from starting a Python process to its end."""
    taken = []
    for _ in range(count):
        start = perf_counter_ns()
        _python(arguments)
        taken.append((perf_counter_ns() - start) / NS_PER_US)
    return statistics.median(taken)


def _python(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    here = os.pathsep.join([str(Path(__file__).resolve().parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": here}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True, env=environment)
