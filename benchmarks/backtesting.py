"""How fast a history is decided again where every request is a case of its own, and beside what.

All contestants answer the same requests in the same DuckDB table, and must count the same answers. Ours is timed twice:
the answers alone, and the whole report.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import duckdb

from benchmarks import limits
from benchmarks.contestants import POLICY_FILE
from benchmarks.report import PER_SECOND, Row
from recovery_engine import Policy, load_policy
from recovery_engine.history.backtest import report_on
from recovery_engine.history.cells import always, requests
from recovery_engine.history.needed import connected
from recovery_engine.history.opening import answer
from recovery_engine.model import NO_USAGE
from recovery_engine.seats import Compiled

WANTED_US = 1 / 5
"""Five million rows a second."""
MOST_BYTES = 1_500_000_000
ON_A_SAMPLE = 20_000
SECTION = "A back-test: {:,} requests, each a case of its own"

Counted = dict[tuple[str, str], int]
"""How many requests have an outcome, by the role that is asked ("" where none is)."""

_HISTORY = """CREATE TABLE history AS
WITH drawn AS (SELECT i, {drawn} FROM range({count}) AS numbers(i))
SELECT i AS n, 1795000000000000 + i * 1000000 AS at_us, DATE '2026-11-18' + CAST(i // 86400 AS INTEGER) AS day,
    'r-' || i AS recovery, 'emp-' || (a % 5000) AS employee, {roles}[1 + b % 5] AS role,
    {sites}[1 + c % 5] AS site, CAST(NULL AS VARCHAR) AS case_id, CAST(NULL AS VARCHAR) AS customer,
    {remedies}[1 + d % 5] AS remedy, {categories}[1 + e % 7] AS category, {severities}[1 + f % 4] AS severity,
    'goodwill' AS basis, CAST(NULL AS VARCHAR) AS reason, CAST(100 + g % 30000 AS BIGINT) AS amount,
    CAST(1000 + h % 60000 AS BIGINT) AS bill, false AS note, ['receipt'] AS evidence,
    CAST(NULL AS DATE) AS occurred_on, CAST(h % 62 AS BIGINT) AS fact_days_since_visit, g % 50 = 0 AS
    fact_customer_is_staff, 'approve' AS then_outcome, CAST(NULL AS VARCHAR) AS then_to,
    CAST(100 + g % 30000 AS BIGINT) AS granted
FROM drawn"""


def make(connection: Any, count: int) -> None:
    """A history of *count* requests under the policy of the benchmark."""
    words = {
        "roles": limits.LADDER,
        "sites": limits.SITES,
        "remedies": limits.REMEDIES,
        "categories": limits.CATEGORIES,
        "severities": limits.SEVERITIES,
    }
    drawn = ", ".join(f"CAST(hash(i, {at}) % 1000003 AS BIGINT) AS {name}" for at, name in enumerate("abcdefgh"))
    connection.execute(_HISTORY.format(count=count, drawn=drawn, **{name: list(some) for name, some in words.items()}))


# --- contestants ------------------------------------------------------------------------------------------------------


def ours(connection: Any, policy: Policy) -> Counted:
    """Cells, each decided once, joined back and counted."""
    answer(connection, policy, None, "benchmark")
    counted = connection.execute("SELECT outcome, to_role, count(*) FROM decided GROUP BY ALL").fetchall()
    names = ("approve", "escalate", "deny", "incomplete")
    return {(names[outcome], to or ""): count for outcome, to, count in counted}


def whole(connection: Any, policy: Policy) -> Counted:
    """The same with everything that a report holds."""
    found = report_on(answer(connection, policy, None, "benchmark")).after
    counted = {("approve", ""): found.on_the_spot, ("deny", ""): found.denied}
    counted |= {("escalate", role): count for role, count in found.sent_to}
    return {said: count for said, count in counted.items() if count}


def limits_table(connection: Any, policy: Policy) -> Counted:
    """What people write by hand: a table of limits, joined; it knows this policy only, and none of its reasons."""
    scopes = ("plain", "major", "franchise")
    connection.execute("CREATE OR REPLACE TABLE limit_table (remedy VARCHAR, scope VARCHAR, most BIGINT[])")
    for remedy in limits.REMEDIES:
        for scope in scopes:
            own = [limits.limit(remedy, scope, rank) for rank in range(len(limits.LADDER))]
            totals = [limits.limit("", scope, rank) for rank in range(len(limits.LADDER))]
            both = [min(pair) for pair in zip(own, totals, strict=True)]
            connection.execute("INSERT INTO limit_table VALUES (?, ?, ?)", [remedy, scope, both])
    franchise = ", ".join(f"'{site}'" for site in limits.FRANCHISE)
    stages = " ".join(f"WHEN {rank} >= own AND amount <= most[{rank + 1}] AND {_under(rank)} THEN {rank}"
                      for rank in range(len(limits.LADDER)))  # fmt: skip
    roles = " ".join(f"WHEN '{role}' THEN {rank}" for rank, role in enumerate(limits.LADDER))
    rows = connection.execute(
        f"""SELECT denied, own = may AS spot, may, count(*) FROM (
            SELECT fact_customer_is_staff OR fact_days_since_visit > {limits.MOST_DAYS} AS denied, own,
                   CASE {stages} END AS may
            FROM (SELECT *, CASE role {roles} END AS own,
                         CASE WHEN site IN ({franchise}) AND category <> 'safety' THEN 'franchise'
                              WHEN severity IN ('major', 'critical') THEN 'major' ELSE 'plain' END AS scope
                  FROM history) JOIN limit_table USING (remedy, scope))
        GROUP BY ALL"""
    ).fetchall()
    counted: Counter[tuple[str, str]] = Counter()
    for denied, spot, may, count in rows:
        if denied or may is None:
            counted["deny", ""] += count
        else:
            counted[("approve", "") if spot else ("escalate", limits.LADDER[may])] += count
    return dict(counted)


def _under(rank: int) -> str:
    """The ceilings that bind a rank."""
    gifts = ", ".join(f"'{remedy}'" for remedy in limits.GIFTS)
    binding = ["(remedy <> 'refund' OR amount <= bill)"]
    if rank < limits.HALF_THE_BILL.binds_below:
        binding.append(f"(remedy NOT IN ({gifts}) OR 2 * amount <= bill)")
    if rank < limits.SMALL_VOUCHERS.binds_below:
        binding.append(f"(remedy <> 'voucher' OR severity <> 'minor' OR amount <= {limits.MOST_SMALL_VOUCHERS})")
    return " AND ".join(binding)


def row_by_row(connection: Any, policy: Policy) -> Counted:
    """Every request by durable-rules and the reference matcher, nothing remembered."""
    connection.execute(f"CREATE OR REPLACE TABLE sampled AS SELECT n FROM history LIMIT {ON_A_SAMPLE}")
    ready, ladder = Compiled(policy), policy.ladder
    counted: Counter[tuple[str, str]] = Counter()
    for _, request in requests(connection, policy, "sampled"):
        ready.forget()
        ruling, _ = ready.seat(request, NO_USAGE).ruling(request, NO_USAGE)
        counted[str(ruling.outcome), "" if ruling.to is None else ladder[ruling.to]] += 1
    return dict(counted)


WAYS: dict[str, Callable[[Any, Policy], Counted]] = {
    "back-test: every answer": ours,
    "back-test: the whole report": whole,
    "DuckDB joining a limits table": limits_table,
    "row by row, durable-rules and reference": row_by_row,
}
BY_CELLS, REPORT, JOIN, ONE_BY_ONE = WAYS


# --- measured, each in a new process ----------------------------------------------------------------------------------


def rows(count: int, passes: int) -> Iterator[Row]:
    """Every row about back-tests. Raises SystemExit where contestants do not count the same answers."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "made.duckdb")
        with duckdb.connect(str(file)) as connection:
            make(connection, count)
        runs = {way: [_run(way, file) for _ in range(passes)] for way in WAYS}
    wanted = runs[JOIN][0]["counted"]
    for way in (BY_CELLS, REPORT):
        if (found := runs[way][0]["counted"]) != wanted:
            raise SystemExit(f"{way} counts {found}, and the limits table {wanted}: nothing is timed")
    taken = {way: statistics.median(run["us"] / run["requests"] for run in some) for way, some in runs.items()}
    for way, us in taken.items():
        most = max(run["most_bytes"] for run in runs[way])
        some = f", on {runs[way][0]['requests']:,} of them" if way == ONE_BY_ONE else ""
        remark = f"{most / 1e6:,.0f} MB of memory at most{some}"
        ratio = None if way == JOIN else us / taken[JOIN]
        limit = WANTED_US if way in (BY_CELLS, REPORT) else None
        yield Row(SECTION.format(count), way, us, PER_SECOND, limit_us=limit, x_raw=ratio, remark=remark)


def _run(way: str, file: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.backtesting", way, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measured(way: str, file: Path) -> dict[str, Any]:
    """One contestant on a history that lies in a file of DuckDB, which stays as it is."""
    policy = always(load_policy(POLICY_FILE))
    with tempfile.TemporaryDirectory() as folder, connected(folder) as connection:
        connection.execute(f"ATTACH '{file}' AS made (READ_ONLY); CREATE VIEW history AS SELECT * FROM made.history")
        started = perf_counter_ns()
        counted = WAYS[way](connection, policy)
        us = (perf_counter_ns() - started) / 1_000
    said = {" ".join(answer).strip(): count for answer, count in sorted(counted.items())}
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"us": us, "requests": sum(counted.values()), "counted": said, "most_bytes": most}


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1], Path(sys.argv[2]))))
