"""How fast a whole log is proved, beside hashing the same bytes; each time in a process of its own, for its memory.

Both are counted in CPU time: the file has just been written and is in memory, and other programs do not disturb it.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Any, NamedTuple
from unittest.mock import patch

from benchmarks.raw_logs import NS_PER_S, hashing, sqlite3
from benchmarks.recording import policy_text, requests
from benchmarks.report import Row
from recovery_engine import RecoveryEngine, verify
from recovery_engine.log.proof.anchors import reading
from recovery_engine.log.verification import chain
from recovery_engine.log.verification.chain import Chain
from recovery_engine.log.verification.snapshot import Snapshot
from recovery_engine.log.writing.steps import Request
from recovery_engine.log.writing.store import _Member

MOST_X_CHAIN, MOST_X_ALL_BUT_REPLAY = 30.0, 100.0

AT_ONCE = 500
APART_US = 8_000_000
"""A recovery every eight seconds: a million of them take three months."""
FIRST_US = 1_795_301_906_000_000
ROWS = 10_000


# --- a long log, made quickly -----------------------------------------------------------------------------------------


def make(file: Path, count: int) -> None:
    """A log of *count* recoveries in *file*: the engine's own transactions, with many recoveries in each."""
    now_us = FIRST_US

    def clock() -> int:
        nonlocal now_us
        now_us += AT_ONCE * APART_US
        return now_us

    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder, "policy.yaml")
        policy.write_text(policy_text())
        with RecoveryEngine.open(file, policy, clock=clock, environment={}) as engine:
            for first in range(0, count, AT_ONCE):
                asked = requests(min(AT_ONCE, count - first), first=first)
                members = [_Member(Request(request)) for request in asked]
                engine._store._serve(members)
                assert all(member.answer and member.error is None for member in members), members[0].error


# --- what is measured, each in a new process --------------------------------------------------------------------------


class Proved(NamedTuple):
    """How many entries, in how many nanoseconds of CPU time, and the most memory the process had, in bytes."""

    entries: int
    ns: int
    most_bytes: int


def _hashed(file: str) -> tuple[int, int]:
    """SHA-256 of every entry, already in memory some thousands at a time: reading them does not count."""
    entries, ns = 0, 0
    with closing(sqlite3.connect(file)) as connection:
        cursor = connection.execute("SELECT body FROM recovery_log")
        while rows := cursor.fetchmany(ROWS):
            bodies = [body for (body,) in rows]
            start = process_time_ns()
            hashing(bodies)
            ns += process_time_ns() - start
            entries += len(rows)
    return entries, ns


def _chained(file: str) -> tuple[int, int]:
    """Bytes, fields, hashes and tree of every stream, reading them included."""
    found: list[Any] = []
    start = process_time_ns()
    with reading(file) as connection:
        snapshot = Snapshot(connection.connection.dbapi_connection, False)
        chains = [
            Chain(snapshot, name, 1_000, lambda seq, what: found.append((seq, what))) for name in snapshot.streams()
        ]
        for one in chains:
            while (row := one.row()) is not None:
                assert one.take(row)
    assert not found, found[0]
    return sum(one.size for one in chains), process_time_ns() - start


def _tree_alone(file: str) -> tuple[int, int]:
    """The same, without asking of each entry whether its fields are well made."""
    with patch.object(chain, "problems", lambda entry: iter(())):
        return _chained(file)


def _all_but_replay(file: str) -> tuple[int, int]:
    return _verified(file, replay=False)


def _replayed(file: str) -> tuple[int, int]:
    return _verified(file, replay=True)


def _verified(file: str, replay: bool) -> tuple[int, int]:
    start = process_time_ns()
    report = verify(file, replay=replay)
    ns = process_time_ns() - start
    assert report.clean, report.findings
    assert not replay or report.replayed > 0.99 * report.entries - 100
    return report.entries, ns


WAYS: dict[str, Callable[[str], tuple[int, int]]] = {
    "hashlib, the same bytes": _hashed,
    "bytes, chain and tree": _tree_alone,
    "  and the fields of each entry": _chained,
    "everything but replay": _all_but_replay,
    "with replay": _replayed,
}


def _most_bytes() -> int:
    """The most memory this program had. What `getrusage` says includes what the parent had before it began."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except FileNotFoundError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    (most_kib,) = (int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return most_kib * 1024


def proved(file: Path, way: str) -> Proved:
    """Go through the log in *file* in one of the WAYS."""
    here = os.pathsep.join([str(Path(__file__).resolve().parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "benchmarks.proving", way, str(file)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "PYTHONPATH": here}
    )
    return Proved(*json.loads(done.stdout))


# --- rows -------------------------------------------------------------------------------------------------------------

_MOST_X = {"bytes, chain and tree": MOST_X_CHAIN, "everything but replay": MOST_X_ALL_BUT_REPLAY}


def rows(folder: Path, count: int, passes: int) -> Iterator[Row]:
    """Every row about proving a log of *count* recoveries, on the disk of *folder*."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        file = Path(scratch, "long.db")
        start = perf_counter_ns()
        make(file, count)
        made_s = (perf_counter_ns() - start) / NS_PER_S
        found: dict[str, list[Proved]] = {way: [] for way in WAYS}
        for _ in range(passes):
            for way, times in found.items():
                times.append(proved(file, way))
        size = file.stat().st_size
    section = f"Proving a log of {count:,} recoveries, CPU time an entry"
    (floor, *others) = found
    entries = {one.entries for times in found.values() for one in times}
    assert len(entries) == 1, entries
    assert entries.pop() > count
    yield Row(
        section,
        floor,
        _us_each(found[floor]),
        remark=f"made in {made_s:,.0f} s, {count / made_s:,.0f} a second, {size / 1024**2:,.0f} MiB",
    )
    for way in others:
        ratios = [mine.ns / theirs.ns for mine, theirs in zip(found[way], found[floor], strict=True)]
        most = max(one.most_bytes for one in found[way])
        yield Row(
            section,
            way,
            _us_each(found[way]),
            x_raw=statistics.median(ratios),
            x_raw_spread=(min(ratios), max(ratios)),
            most_x=_MOST_X.get(way),
            remark=f"at most {most / 1024**2:,.0f} MiB of memory",
        )


def _us_each(times: Sequence[Proved]) -> float:
    return statistics.median(one.ns / one.entries for one in times) / 1000


if __name__ == "__main__":
    entries, ns = WAYS[sys.argv[1]](sys.argv[2])
    print(json.dumps([entries, ns, _most_bytes()]))
