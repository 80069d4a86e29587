"""How fast recoveries get into the log, each way beside what the plain driver does at best: same disk, same run.

Ours and the driver take turns (ours, raw, ours, raw); a ratio is the median of those of neighbouring passes. A pass
counts only when the log holds what the callers were told, and proves clean.
"""

import multiprocessing
import re
import secrets
import shutil
import statistics
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from multiprocessing.queues import Queue as ProcessQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from time import perf_counter_ns
from typing import Any, NamedTuple
from unittest.mock import patch

from benchmarks import raw_logs
from benchmarks.contestants import POLICY_FILE
from benchmarks.raw_logs import CALLERS, CONNECTIONS, NS_PER_S, Timed, file_system, recoveries
from benchmarks.report import Row
from benchmarks.timing import NS_PER_US
from recovery_engine import Money, RecoveryEngine, RecoveryLog, RecoveryRequest, verify
from recovery_engine.log.writing import sqlite
from tests.databases import Server, fresh_database, shared_server

ONE_CALLER = "SQLite, one caller"
GROUPS = f"SQLite, {CALLERS} callers, group commit"
GROUPS_WAIT = "  99 in 100 callers wait less"
MANY_SITES = f"PostgreSQL, {CONNECTIONS} connections, a site each"
HOT_SITE = f"PostgreSQL, {CONNECTIONS} connections, one hot site"

MOST_X_ONE_CALLER = 2.0
LEAST_X = 0.5
MOST_WAIT_US = 50_000
WARM_UP = 8
"""Requests of a process before the others start with it: by then the driver has prepared its statements."""

_SITES = ", ".join(f"S{number:03}" for number in range(raw_logs.SITES))
_BUDGETS = """
budgets:  # so wide that every request is granted: the contestants are to do the same work
  - {id: employee-day, per: employee, every: day,     amount: 1000000000, binds_below: lead}
  - {id: customer-90d, per: customer, every: 90 days, amount: 1000000000, times: 1000000}
  - {id: site-month,   per: site,     every: month,   amount: 1000000000}
"""


def policy_text() -> str:
    """The benchmark's policy with the sites of these recoveries, and a budget per employee, customer and site."""
    text, count = re.subn(r"company: \[[^]]*\]", f"company: [{_SITES}]", POLICY_FILE.read_text())
    assert count == 1
    return text + _BUDGETS


def requests(count: int, site: str = "", first: int = 0) -> list[RecoveryRequest]:
    """The recoveries of ``raw_logs`` as requests: a refund with employee, customer, receipt, bill and facts."""
    return [_request(one) for one in recoveries(count, site, first)]


def _request(one: raw_logs.Recovery) -> RecoveryRequest:
    customer, employee, receipt, _ = (subject.partition(":")[2] for subject in one.subjects)
    return RecoveryRequest(
        id=one.id,
        employee=employee,
        role="associate",
        site=one.site,
        case=f"C-{one.id}",
        receipt=receipt,
        customer=customer,
        remedy="refund",
        category="delay",
        severity="minor",
        amount=Money(one.amount_minor, "USD"),
        bill=Money(20_000, "USD"),
        facts={"customer_is_staff": False, "days_since_visit": 3},
    )


class Told(NamedTuple):
    """What callers were told: how many recoveries were granted, and how much money."""

    granted: int
    minor: int


def told(engine: RecoveryEngine, asked: Sequence[RecoveryRequest]) -> Told:
    """Ask for each in turn; all are granted."""
    for request in asked:
        decision = engine.request(request)
        assert decision.outcome == "approve", decision
    return Told(len(asked), sum(request.amount.minor for request in asked))


_HELD = (
    "SELECT count(*), sum(granted_minor) FROM recovery_state WHERE status = 'granted'",
    "SELECT sum(times), sum(amount_minor) FROM recovery_usage WHERE subject LIKE 'site:%'",
    "SELECT count(*), count(DISTINCT request_id) FROM recovery_log WHERE kind = 'decided'",
)


def check(database: str, *found: Told) -> None:
    """The log in *database* (a URL) holds what callers were *told*, nothing else, and proves clean."""
    granted, minor = sum(one.granted for one in found), sum(one.minor for one in found)
    with RecoveryLog.open(database) as log, log.transaction() as connection:
        held = [tuple(map(int, connection.exec_driver_sql(query.replace("%", "%%")).one())) for query in _HELD]
    assert held == [(granted, minor), (granted, minor), (granted, granted)], f"{held} instead of {granted}, {minor}"
    report = verify(database)
    assert report.clean, report.findings
    assert report.replayed == granted


# --- rows -------------------------------------------------------------------------------------------------------------


class Beside(NamedTuple):
    """One pass of ours and one of the driver, one after the other."""

    ours: Timed
    raw: Timed


Run = Callable[[], Timed]


def in_turn(ours: Run, raw: Run, passes: int) -> list[Beside]:
    """*passes* of both; one more goes before and does not count."""
    return [Beside(ours(), raw()) for _ in range(passes + 1)][1:]


def rows(folder: Path, count: int, passes: int) -> Iterator[Row]:
    """Every row about recording, on the disk of *folder*, with about *count* recoveries a pass."""
    section = f"Whole recoveries, on {file_system(folder)}"
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        place = Path(scratch)
        yield from _one_caller_rows(section, place, count, passes)
        yield from _group_rows(section, place, 4 * count, passes)
        with shared_server(place, folder) as server:
            yield from _postgres_rows(section, server, count, passes)


def _one_caller_rows(section: str, place: Path, count: int, passes: int) -> Iterator[Row]:
    alone = OneCaller(place, count)
    found = in_turn(alone.ours, alone.raw, passes)
    ours, raw = ([one[side].latency_us(0.5) for one in found] for side in (0, 1))
    ratios = [mine / theirs for mine, theirs in zip(ours, raw, strict=True)]
    what = f"median of single calls; the driver runs the same {alone.statements} statements, values ready"
    yield _beside(section, ONE_CALLER, ours, ratios, most_x=MOST_X_ONE_CALLER, remark=what)
    yield Row(section, "  sqlite3, the same statements", statistics.median(raw))


def _group_rows(section: str, place: Path, count: int, passes: int) -> Iterator[Row]:
    template = _template(place)

    def ours() -> Timed:
        return group_commit(_copy(template), count)

    found = in_turn(ours, lambda: raw_logs.sqlite_group_commit(place, count), passes)
    yield from _rates(section, GROUPS, "  sqlite3, entry and budget, group commit", found)
    waits = [one.ours.latency_us(0.99) for one in found]
    remark = f"{min(waits) / 1000:.1f} to {max(waits) / 1000:.1f} ms"
    yield Row(section, GROUPS_WAIT, statistics.median(waits), "ms", limit_us=MOST_WAIT_US, remark=remark)


def _postgres_rows(section: str, server: Server, count: int, passes: int) -> Iterator[Row]:
    own = [f"S{number:03}" for number in range(CONNECTIONS)]
    kinds: tuple[tuple[str, list[str], Callable[[str, int], Timed]], ...] = (
        (MANY_SITES, own, raw_logs.postgres_many_sites),
        (HOT_SITE, ["S001"] * CONNECTIONS, raw_logs.postgres_hot_site),
    )
    for what, sites, driver in kinds:
        found = [Beside(_in_postgres(server, sites, count), _with_driver(server, driver, count)) for _ in range(passes)]
        yield from _rates(section, what, "  psycopg, one statement a recovery", found)


def _in_postgres(server: Server, sites: Sequence[str], count: int) -> Timed:
    with fresh_database(server) as url:
        return in_processes(url, sites, count)


def _with_driver(server: Server, driver: Callable[[str, int], Timed], count: int) -> Timed:
    with fresh_database(server) as url:
        return driver(url, count)


def _rates(section: str, what: str, driver: str, found: Sequence[Beside]) -> Iterator[Row]:
    ours, raw = ([1_000_000 / one[side].per_second for one in found] for side in (0, 1))
    ratios = [theirs / mine for mine, theirs in zip(ours, raw, strict=True)]
    yield _beside(section, what, ours, ratios, unit="/s", least_x=LEAST_X)
    yield Row(section, driver, statistics.median(raw), "/s")


def _beside(
    section: str, what: str, us: Sequence[float], ratios: Sequence[float], unit: str = "us", **rest: Any
) -> Row:
    return Row(
        section,
        what,
        statistics.median(us),
        unit,
        x_raw=statistics.median(ratios),
        x_raw_spread=(min(ratios), max(ratios)),
        **rest,
    )


# --- SQLite, one caller -----------------------------------------------------------------------------------------------

Statement = tuple[bool, str, Any]
"""Whether it is run with many rows of values, the SQL, the values."""


class _Recorder:
    """A connection that writes down every statement it is given."""

    def __init__(self, connection: Any, statements: list[Statement]) -> None:
        self._connection, self._statements = connection, statements

    def execute(self, sql: str, values: Any = ()) -> Any:
        self._statements.append((False, sql, values))
        return self._connection.execute(sql, values)

    def executemany(self, sql: str, values: Any) -> Any:
        self._statements.append((True, sql, values))
        return self._connection.executemany(sql, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@contextmanager
def recorded() -> Iterator[list[Statement]]:
    """Every statement that logs opened here give their databases."""
    statements: list[Statement] = []
    connect = sqlite.connect
    with patch.object(sqlite, "connect", lambda path: _Recorder(connect(path), statements)):
        yield statements


class OneCaller:
    """One request after the other; and sqlite3 alone with exactly the statements and values of such a run."""

    def __init__(self, place: Path, count: int) -> None:
        self._template, self._count = _template(place), count
        file = _copy(self._template)
        with recorded() as statements:
            self._run(file)
        self._transactions = list(_transactions(statements))
        assert len(self._transactions) == count
        self._heads = _heads(file)
        self.statements = round(statistics.mean(map(len, self._transactions)))

    def ours(self) -> Timed:
        """The engine, on a log of its own."""
        return self._run(_copy(self._template))

    def _run(self, file: Path) -> Timed:
        asked, taken = requests(self._count), []
        with RecoveryEngine.open(file, environment={}) as engine:
            engine.policy()
            start = perf_counter_ns()
            for request in asked:
                begun = perf_counter_ns()
                engine.request(request)
                taken.append((perf_counter_ns() - begun) / NS_PER_US)
            seconds = (perf_counter_ns() - start) / NS_PER_S
        check(f"sqlite:///{file}", Told(len(asked), sum(request.amount.minor for request in asked)))
        return Timed(seconds, taken)

    def raw(self) -> Timed:
        """The driver alone, on a copy of the same log; afterwards it holds the very same entries."""
        file, taken = _copy(self._template), []
        with closing(sqlite.connect(file)) as connection:
            ready = [
                [(connection.executemany if many else connection.execute, sql, values) for many, sql, values in one]
                for one in self._transactions
            ]
            start = perf_counter_ns()
            for transaction in ready:
                begun = perf_counter_ns()
                for run, sql, values in transaction:
                    run(sql, values).fetchall()
                taken.append((perf_counter_ns() - begun) / NS_PER_US)
            seconds = (perf_counter_ns() - start) / NS_PER_S
        assert _heads(file) == self._heads
        return Timed(seconds, taken)


def _transactions(statements: Sequence[Statement]) -> Iterator[list[Statement]]:
    started = [at for at, (_, sql, _) in enumerate(statements) if sql == "BEGIN IMMEDIATE"]
    for start, end in zip(started, [*started[1:], len(statements)], strict=True):
        transaction = list(statements[start:end])
        assert transaction[-1][1] == "COMMIT", transaction[-1]
        yield transaction


def _heads(file: Path) -> list[Any]:
    with closing(raw_logs.sqlite3.connect(file)) as connection:
        found: list[Any] = connection.execute("SELECT * FROM recovery_stream ORDER BY stream").fetchall()
    return found


def _template(place: Path) -> Path:
    """A log that holds the policy and no recovery, in a new folder in *place*."""
    folder = Path(tempfile.mkdtemp(dir=place))
    (folder / "policy.yaml").write_text(policy_text())
    file = folder / "empty.db"
    RecoveryEngine.open(file, folder / "policy.yaml", environment={}).close()
    return file


def _copy(template: Path) -> Path:
    return Path(shutil.copyfile(template, template.with_name(f"{secrets.token_hex(8)}.db")))


# --- SQLite, many callers ---------------------------------------------------------------------------------------------


def group_commit(file: Path, count: int, callers: int = CALLERS) -> Timed:
    """*count* recoveries from as many threads as *callers*, each with one request at a time, into the log in *file*."""
    asked = requests(count)
    taken: list[float] = []
    sums: list[Told] = []

    def call(own: Sequence[RecoveryRequest]) -> None:
        latencies = []
        for request in own:
            begun = perf_counter_ns()
            engine.request(request)
            latencies.append((perf_counter_ns() - begun) / NS_PER_US)
        taken.extend(latencies)
        sums.append(Told(len(own), sum(request.amount.minor for request in own)))

    with RecoveryEngine.open(file, environment={}) as engine:
        engine.policy()
        calling = [threading.Thread(target=call, args=[asked[at::callers]]) for at in range(callers)]
        start = perf_counter_ns()
        for thread in calling:
            thread.start()
        for thread in calling:
            thread.join()
        seconds = (perf_counter_ns() - start) / NS_PER_S
    check(f"sqlite:///{file}", *sums)
    return Timed(seconds, taken)


# --- PostgreSQL, many processes ---------------------------------------------------------------------------------------

_several = multiprocessing.get_context("forkserver")
_several.set_forkserver_preload(["benchmarks.recording", "psycopg"])


class Stint(NamedTuple):
    """Of one process: when it started and ended, by a clock that all share, its latencies, what it was told."""

    start_ns: int
    end_ns: int
    latencies_us: list[float]
    told: Told


def in_processes(url: str, sites: Sequence[str], count: int) -> Timed:
    """About *count* recoveries into the empty database at *url*, from a process with an engine for each of *sites*."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(policy_text())
        file.flush()
        RecoveryEngine.open(url, file.name, environment={}).close()
    each = count // len(sites)
    together, found = _several.Barrier(len(sites)), _several.Queue()
    processes = [
        _several.Process(target=_ask, args=[url, site, number * (each + WARM_UP), each, together, found], daemon=True)
        for number, site in enumerate(sites)
    ]
    for process in processes:
        process.start()
    stints = [found.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    check(url, *(stint.told for stint in stints))
    seconds = (max(stint.end_ns for stint in stints) - min(stint.start_ns for stint in stints)) / NS_PER_S
    return Timed(seconds, [latency for stint in stints for latency in stint.latencies_us])


def _ask(url: str, site: str, first: int, each: int, together: Barrier, found: "ProcessQueue[Stint]") -> None:
    asked = requests(each + WARM_UP, site, first)
    with RecoveryEngine.open(url, environment={}) as engine:
        warmed = told(engine, asked[:WARM_UP])
        together.wait(timeout=60)
        taken, start = [], perf_counter_ns()
        for request in asked[WARM_UP:]:
            begun = perf_counter_ns()
            engine.request(request)
            taken.append((perf_counter_ns() - begun) / NS_PER_US)
        end = perf_counter_ns()
    minor = sum(request.amount.minor for request in asked[WARM_UP:])
    found.put(Stint(start, end, taken, Told(warmed.granted + each, warmed.minor + minor)))
