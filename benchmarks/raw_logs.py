"""What a log could do at best: plain drivers, values prepared beforehand, none of our code.

``python -m benchmarks.raw_logs [--count N] [--passes N] [--folder DISK]`` prints it.

Each function does a number of recoveries, checks that all are there, and says how long they took, so that a log of ours
can be measured beside it, on the same disk and in the same run.
"""

import argparse
import itertools
import multiprocessing
import os
import random
import statistics
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from hashlib import sha256
from multiprocessing.queues import Queue as ProcessQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from queue import Empty, SimpleQueue
from time import perf_counter_ns
from typing import Any, NamedTuple

import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.report import machine
from benchmarks.timing import NS_PER_US
from tests.databases import conninfo, fresh_database, shared_server

try:
    from pysqlite3 import dbapi2 as sqlite3
except ImportError:
    import sqlite3

NS_PER_S = 1_000_000_000
SEED = 2026

BODY_BYTES = 700
SITES, EMPLOYEES, CUSTOMERS = 20, 200, 5_000
BDAY = "2026-11-21"
LIMIT_MINOR = 10**15

CALLERS = 32
GROUP = 64
CONNECTIONS = 8


class Timed(NamedTuple):
    """How long all took from the first to the last, in seconds, and each by itself, in microseconds."""

    seconds: float
    latencies_us: Sequence[float]

    @property
    def per_second(self) -> float:
        """Recoveries in a second."""
        return len(self.latencies_us) / self.seconds

    def latency_us(self, share: float) -> float:
        """The latency that *share* of all stay within: 0.5 the median, 0.99 what one in a hundred exceeds."""
        ordered = sorted(self.latencies_us)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Recovery(NamedTuple):
    """One recovery, ready to be stored."""

    id: str
    site: str
    subjects: tuple[str, str, str, str]
    amount_minor: int
    at_us: int
    body: bytes
    leaf: bytes


def recoveries(count: int, site: str = "", first: int = 0) -> list[Recovery]:
    """*count* different ones, of many sites unless *site* is given, the same every time."""
    draw = random.Random(SEED + first)
    made = []
    for number in range(first, first + count):
        body = draw.randbytes(BODY_BYTES)
        where = site or f"S{draw.randrange(SITES):03}"
        who = f"employee:emp-{draw.randrange(EMPLOYEES)}", f"customer:c_{draw.randrange(CUSTOMERS):020x}"
        subjects = (who[1], who[0], f"receipt:R-{number}", f"site:{where}")
        leaf = sha256(b"\0" + body).digest()
        at_us = 1_795_301_906_000_000 + number
        made.append(Recovery(f"pos-7-{number:09}", where, subjects, draw.randrange(1, 5_000), at_us, body, leaf))
    return made


# --- SQLite: the statements of a recovery log, one caller -------------------------------------------------------------

STATE_COLUMNS = 30

SQLITE_TABLES = f"""
CREATE TABLE log (
  stream TEXT NOT NULL, seq INTEGER NOT NULL, request_id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
  at_us INTEGER NOT NULL, body BLOB NOT NULL, leaf BLOB NOT NULL, PRIMARY KEY (stream, seq)) STRICT;
CREATE TABLE state (
  recovery TEXT PRIMARY KEY, case_id TEXT NOT NULL, asked_minor INTEGER NOT NULL, at_us INTEGER NOT NULL,
  {", ".join(f"column_{number} TEXT" for number in range(4, STATE_COLUMNS))}) STRICT;
CREATE INDEX state_case ON state (case_id);
CREATE TABLE line (recovery TEXT NOT NULL, line TEXT NOT NULL, PRIMARY KEY (recovery, line)) STRICT, WITHOUT ROWID;
CREATE TABLE usage (
  subject TEXT NOT NULL, bday TEXT NOT NULL, remedy TEXT NOT NULL, basis TEXT NOT NULL, currency TEXT NOT NULL,
  amount_minor INTEGER NOT NULL, times INTEGER NOT NULL,
  PRIMARY KEY (subject, bday, remedy, basis, currency)) STRICT, WITHOUT ROWID;
CREATE TABLE subject (subject TEXT PRIMARY KEY, ver INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE stream (
  stream TEXT PRIMARY KEY, size INTEGER NOT NULL, frontier BLOB NOT NULL, last_leaf BLOB NOT NULL,
  last_at_us INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""

INSERT_LOG = "INSERT INTO log VALUES (?, ?, ?, 'decided', ?, ?, ?)"
INSERT_STATE = f"INSERT INTO state VALUES ({', '.join('?' * STATE_COLUMNS)})"
SEE_CASE = "SELECT recovery, asked_minor, at_us, column_4, column_5 FROM state WHERE case_id = ?"
SEE_VERSIONS = "SELECT subject, ver FROM subject WHERE subject IN (?, ?, ?, ?)"
SEE_USAGE = """SELECT subject, remedy, basis, currency, sum(amount_minor), sum(times) FROM usage
WHERE subject IN (?, ?, ?, ?) AND bday >= ? GROUP BY subject, remedy, basis, currency"""
SEE_HEAD = "SELECT size, frontier, last_leaf, last_at_us FROM stream WHERE stream = ?"
ADD_USAGE = """INSERT INTO usage VALUES (?, ?, 'refund', 'goodwill', 'USD', ?, 1) ON CONFLICT DO UPDATE SET
amount_minor = amount_minor + excluded.amount_minor, times = times + 1"""
ADD_VERSION = "INSERT INTO subject VALUES (?, 1) ON CONFLICT DO UPDATE SET ver = ver + 1"
MOVE_HEAD = """INSERT INTO stream VALUES (?, 1, ?, ?, ?) ON CONFLICT DO UPDATE SET
size = size + 1, frontier = excluded.frontier, last_leaf = excluded.last_leaf, last_at_us = excluded.last_at_us"""


def sqlite_one_caller(folder: Path, count: int) -> Timed:
    """One transaction per recovery, with the reads and writes of a recovery log, in a new database in *folder*."""
    with closing(_sqlite(folder, SQLITE_TABLES)) as database:
        asked = recoveries(count)
        taken, start = [], perf_counter_ns()
        for one in asked:
            begun = perf_counter_ns()
            _recover(database.execute, database.executemany, one)
            taken.append((perf_counter_ns() - begun) / NS_PER_US)
        seconds = (perf_counter_ns() - start) / NS_PER_S
        _check(database, "SELECT count(*), count(DISTINCT request_id) FROM log", (count, count))
        _check(database, "SELECT sum(amount_minor), sum(times) FROM usage", (4 * _total(asked), 4 * count))
    return Timed(seconds, taken)


def _recover(execute: Callable[..., Any], execute_many: Callable[..., Any], one: Recovery) -> None:
    stream = f"site:{one.site}"
    execute("BEGIN IMMEDIATE")
    execute("SELECT body FROM log WHERE request_id = ?", (one.id,)).fetchall()
    execute(SEE_CASE, (one.id,)).fetchall()
    execute(SEE_VERSIONS, one.subjects).fetchall()
    execute(SEE_USAGE, (*one.subjects, BDAY)).fetchall()
    execute(SEE_HEAD, ("organisation",)).fetchall()
    head = execute(SEE_HEAD, (stream,)).fetchall()
    seq = head[0][0] if head else 0
    execute(INSERT_LOG, (stream, seq, one.id, one.at_us, one.body, one.leaf))
    execute(INSERT_STATE, (one.id, one.id, one.amount_minor, one.at_us, *("as it stands",) * (STATE_COLUMNS - 4)))
    execute("INSERT INTO line VALUES (?, 'employee-day')", (one.id,))
    execute_many(ADD_USAGE, [(subject, BDAY, one.amount_minor) for subject in one.subjects])
    execute_many(ADD_VERSION, [(subject,) for subject in one.subjects])
    execute(MOVE_HEAD, (stream, one.leaf * 8, one.leaf, one.at_us))
    execute("COMMIT")


def _sqlite(folder: Path, tables: str) -> Any:
    file = Path(tempfile.mkdtemp(dir=folder)) / "raw.db"
    database = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    assert database.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
    database.execute("PRAGMA synchronous = FULL")
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    database.executescript(tables)
    return database


# --- SQLite: many callers, one writer ---------------------------------------------------------------------------------

GROUP_TABLES = """
CREATE TABLE log (
  id TEXT NOT NULL UNIQUE, site TEXT NOT NULL, at_us INTEGER NOT NULL, body BLOB NOT NULL, leaf BLOB NOT NULL) STRICT;
CREATE TABLE budget (
  site TEXT NOT NULL, bday TEXT NOT NULL, amount_minor INTEGER NOT NULL, times INTEGER NOT NULL,
  PRIMARY KEY (site, bday)) STRICT, WITHOUT ROWID;
"""
INSERT_ENTRY = "INSERT INTO log VALUES (?, ?, ?, ?, ?)"
SPEND = f"""INSERT INTO budget VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET
amount_minor = amount_minor + excluded.amount_minor, times = times + 1
WHERE amount_minor + excluded.amount_minor <= {LIMIT_MINOR}"""


class Waiting(NamedTuple):
    """A recovery that a caller has queued; ``stored`` is released when it is on disk."""

    recovery: Recovery
    stored: threading.Lock


Waiters = SimpleQueue[Waiting | None]


def sqlite_group_commit(folder: Path, count: int, callers: int = CALLERS) -> Timed:
    """*callers* threads, each with one recovery at a time, and one writer that commits what waits, at most 64 at once.

    A recovery is an entry and an addition to a budget that keeps its limit.
    """
    asked = recoveries(count)
    queue: Waiters = SimpleQueue()
    taken: list[float] = []
    with closing(_sqlite(folder, GROUP_TABLES)) as database:
        writer = threading.Thread(target=_write_groups, args=[database, queue])
        calling = [threading.Thread(target=_call, args=[queue, asked[at::callers], taken]) for at in range(callers)]
        start = perf_counter_ns()
        for thread in (writer, *calling):
            thread.start()
        for thread in calling:
            thread.join()
        seconds = (perf_counter_ns() - start) / NS_PER_S
        queue.put(None)
        writer.join()
        _check(database, "SELECT count(*), count(DISTINCT id) FROM log", (count, count))
        _check(database, "SELECT sum(amount_minor), sum(times) FROM budget", (_total(asked), count))
    return Timed(seconds, taken)


def _call(queue: Waiters, asked: Sequence[Recovery], taken: list[float]) -> None:
    stored = threading.Lock()
    stored.acquire()
    for one in asked:
        begun = perf_counter_ns()
        queue.put(Waiting(one, stored))
        stored.acquire()
        taken.append((perf_counter_ns() - begun) / NS_PER_US)


def _write_groups(database: Any, queue: Waiters) -> None:
    while group := _drained(queue):
        database.execute("BEGIN IMMEDIATE")
        entries = []
        for one, _ in group:
            spent = database.execute(SPEND, (one.site, BDAY, one.amount_minor)).rowcount
            if spent == 1:
                entries.append((one.id, one.site, one.at_us, one.body, one.leaf))
        database.executemany(INSERT_ENTRY, entries)
        database.execute("COMMIT")
        for waiting in group:
            waiting.stored.release()


def _drained(queue: Waiters) -> list[Waiting]:
    """What waits, at most 64; waits for the first. Nothing where the callers have ended."""
    group: list[Waiting] = []
    waiting = queue.get()
    while waiting is not None:
        group.append(waiting)
        if len(group) == GROUP:
            break
        try:
            waiting = queue.get_nowait()
        except Empty:
            break
    return group


# --- PostgreSQL: one statement per recovery ---------------------------------------------------------------------------

POSTGRES_TABLES = """
CREATE TABLE log (
  site text COLLATE "C" NOT NULL, seq bigint NOT NULL, request_id text COLLATE "C" NOT NULL UNIQUE,
  at_us bigint NOT NULL, body bytea NOT NULL, leaf bytea NOT NULL, PRIMARY KEY (site, seq));
CREATE TABLE budget (
  site text COLLATE "C" NOT NULL, bday text COLLATE "C" NOT NULL, amount_minor bigint NOT NULL, times bigint NOT NULL,
  PRIMARY KEY (site, bday));
"""
RECOVER = f"""
WITH spent AS (
  INSERT INTO budget VALUES (%(site)s, '{BDAY}', %(amount)s, 1) ON CONFLICT (site, bday) DO UPDATE SET
    amount_minor = budget.amount_minor + excluded.amount_minor, times = budget.times + 1
    WHERE budget.amount_minor + excluded.amount_minor <= {LIMIT_MINOR}
  RETURNING times)
INSERT INTO log SELECT %(site)s, times, %(id)s, %(at_us)s, %(body)s, %(leaf)s FROM spent RETURNING seq"""


def postgres_many_sites(url: str, count: int, connections: int = CONNECTIONS) -> Timed:
    """About *count* recoveries from as many processes as *connections*, each at a site of its own, in autocommit.

    *url* names an empty PostgreSQL database.
    """
    return _postgres(url, [f"S{number:03}" for number in range(connections)], count)


def postgres_hot_site(url: str, count: int, connections: int = CONNECTIONS) -> Timed:
    """The same, all at one site: each waits for the one before it to be on disk."""
    return _postgres(url, ["S001"] * connections, count)


def _postgres(url: str, sites: Sequence[str], count: int) -> Timed:
    each = count // len(sites)
    with psycopg.connect(conninfo(url), autocommit=True) as admin:
        admin.execute(POSTGRES_TABLES.encode())
        context = multiprocessing.get_context("spawn")
        together, found = context.Barrier(len(sites)), context.Queue()
        processes = [
            context.Process(target=_append, args=[conninfo(url), site, number * each, each, together, found])
            for number, site in enumerate(sites)
        ]
        for process in processes:
            process.start()
        stints = [found.get() for _ in processes]
        for process in processes:
            process.join()
        _check(admin, "SELECT count(*), count(DISTINCT request_id) FROM log", (each * len(sites),) * 2)
        _check(admin, "SELECT sum(times) FROM budget", (each * len(sites),))
    seconds = (max(end for _, end, _ in stints) - min(start for start, _, _ in stints)) / NS_PER_S
    return Timed(seconds, [latency for _, _, latencies in stints for latency in latencies])


Stint = tuple[int, int, list[float]]
"""Of one process: when it started and ended, by a clock that all share, and the latencies of its recoveries."""


def _append(url: str, site: str, first: int, each: int, together: Barrier, found: "ProcessQueue[Stint]") -> None:
    asked = [one._asdict() | {"amount": one.amount_minor} for one in recoveries(each, site, first)]
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        together.wait()
        taken, start = [], perf_counter_ns()
        for one in asked:
            begun = perf_counter_ns()
            cursor.execute(RECOVER, one, prepare=True).fetchall()
            taken.append((perf_counter_ns() - begun) / NS_PER_US)
        found.put((start, perf_counter_ns(), taken))


# --- hashing, and the disk by itself ----------------------------------------------------------------------------------


def hashing(bodies: Iterable[bytes]) -> float:
    """Seconds to hash *bodies*, one after the other."""
    start = perf_counter_ns()
    for body in bodies:
        sha256(body).digest()
    return (perf_counter_ns() - start) / NS_PER_S


def hash_entries(count: int) -> Timed:
    """Hash *count* entries of the usual size."""
    seconds = hashing(itertools.islice(itertools.cycle(one.body for one in recoveries(1_000)), count))
    return Timed(seconds, [seconds / count * 1_000_000] * count)


def disk_alone(folder: Path, count: int) -> Timed:
    """Append 4 KiB and wait until they are on disk, which each commit has to do at least once."""
    taken, start, block = [], perf_counter_ns(), bytes(4096)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(count):
            begun = perf_counter_ns()
            file.write(block)
            os.fdatasync(file.fileno())
            taken.append((perf_counter_ns() - begun) / NS_PER_US)
    return Timed((perf_counter_ns() - start) / NS_PER_S, taken)


def file_system(folder: Path) -> str:
    """The kind of file system that *folder* is on, where the system says it."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    except FileNotFoundError:
        return "a file system of unknown kind"
    above = [folder.resolve(), *folder.resolve().parents]
    _, kind = max((len(mount), kind) for _, mount, kind, *_ in mounts if Path(mount) in above)
    return kind


def _total(asked: Sequence[Recovery]) -> int:
    return sum(one.amount_minor for one in asked)


def _check(database: Any, query: str, expected: tuple[int, ...]) -> None:
    found = tuple(database.execute(query).fetchone())
    assert found == expected, f"{query}: {found} instead of {expected}"


# --- the table --------------------------------------------------------------------------------------------------------


def main() -> None:
    """Measure everything in turn, some passes, and print medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.raw_logs", description=__doc__)
    parser.add_argument("--count", type=int, default=4_000, help="recoveries a pass")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="a folder on the disk to use")
    arguments = parser.parse_args()
    if file_system(arguments.folder) in ("tmpfs", "ramfs"):
        parser.error(f"`{arguments.folder}` is in memory: name a --folder on a disk")
    scratch = tempfile.TemporaryDirectory(dir=arguments.folder)
    with scratch as folder, shared_server(Path(folder), arguments.folder) as server:
        found = _passes(Path(folder), server, arguments.count, arguments.passes)
    _show(found, f"{arguments.folder}, {file_system(arguments.folder)}")


def _passes(scratch: Path, server: Any, count: int, passes: int) -> dict[str, list[Timed]]:
    def in_postgres(run: Callable[[str, int], Timed]) -> Timed:
        with fresh_database(server) as url:
            return run(url, count)

    runs: dict[str, Callable[[], Timed]] = {
        "append 4 KiB and fdatasync": lambda: disk_alone(scratch, count),
        "SQLite, a log's statements, one caller": lambda: sqlite_one_caller(scratch, count),
        f"SQLite, group commit, {CALLERS} callers": lambda: sqlite_group_commit(scratch, 4 * count),
        f"PostgreSQL, {CONNECTIONS} connections, a site each": lambda: in_postgres(postgres_many_sites),
        f"PostgreSQL, {CONNECTIONS} connections, one hot site": lambda: in_postgres(postgres_hot_site),
        f"hashlib, entries of {BODY_BYTES} bytes": lambda: hash_entries(25 * count),
    }
    found: dict[str, list[Timed]] = {name: [] for name in runs}
    for _ in range(passes):
        for name, run in runs.items():
            found[name].append(run())
    return found


def _show(found: dict[str, list[Timed]], where: str) -> None:
    table = Table(title="What plain drivers do: medians of the passes", title_justify="left", header_style="bold")
    table.add_column("what", no_wrap=True)
    for heading in ("a second", "slowest", "fastest pass", "median µs", "p99 µs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, passes in found.items():
        rates = sorted(one.per_second for one in passes)
        figures = [statistics.median(rates), rates[0], rates[-1]]
        figures += [statistics.median(one.latency_us(share) for one in passes) for share in (0.5, 0.99)]
        table.add_row(name, *(f"{figure:,.0f}" if figure >= 10 else f"{figure:.2f}" for figure in figures))
    console = Console(width=None if Console().is_terminal else 120)
    console.print(table)
    console.print(f"{machine()}; SQLite {sqlite3.sqlite_version}, WAL + FULL; on {where}", soft_wrap=True)


if __name__ == "__main__":
    main()
