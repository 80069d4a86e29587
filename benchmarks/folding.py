"""How fast history is decided in order, with case totals and a budget, beside folds that know no policy.

All decide the same rows: may it be settled on the spot, with what the case had and what the employee gave on the day.
Counted in CPU time, of all threads: other programs do not disturb it.
"""

import resource
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from time import process_time
from typing import Any, NamedTuple

import duckdb
import numpy as np

from benchmarks.report import PER_SECOND, Row
from recovery_engine import Policy, parse_policy
from recovery_engine.history.bench import Bench
from recovery_engine.history.coding import code
from recovery_engine.history.fold import Folding, fold_answers
from recovery_engine.rules.readings import Reading

DAYS = 90
SAMPLE = 2_000
SLOWEST_US = 0.5
"""Two million rows a second."""
CASE_LIMIT, LARGE_LIMIT, DAY_LIMIT = 5_000, 25_000, 200_000
SECTION = "history decided in order"

POLICY = f"""
policy: folding
currency: USD
ladder: [clerk, lead, manager]
remedies: [refund, voucher, comp_item, discount]
categories: [quality, delay, billing]
authority:
  - {{id: standard, up_to: {{total: [{CASE_LIMIT / 100}, {LARGE_LIMIT / 100}, unlimited]}}}}
budgets:
  - {{id: employee-day, per: employee, every: day, amount: {DAY_LIMIT / 100}}}
"""

# About 28 requests a day by each employee, and two of most cases: both limits bite.
MAKE = """CREATE TABLE history AS SELECT n, DATE '2026-01-01' + CAST(n * {days} // {rows} AS INTEGER) AS day,
    'E' || hash(n * 3) % ({rows} // 2500 + 1) AS employee,
    ['clerk', 'lead', 'manager'][CAST(1 + hash(n * 5) % 3 AS BIGINT)] AS role,
    'S' || hash(n * 7) % 300 AS site, 'C' || hash(n * 11) % ({rows} // 2 + 1) AS case_id, NULL::VARCHAR AS customer,
    ['refund', 'voucher', 'comp_item', 'discount'][CAST(1 + hash(n * 13) % 4 AS BIGINT)] AS remedy,
    ['quality', 'delay', 'billing'][CAST(1 + hash(n * 17) % 3 AS BIGINT)] AS category, NULL::VARCHAR AS severity,
    NULL::VARCHAR AS basis, CAST(100 + hash(n * 19) % 20000 AS BIGINT) AS amount, NULL::BIGINT AS bill,
    NULL::VARCHAR AS reason, FALSE AS note, NULL::VARCHAR[] AS evidence, NULL::DATE AS occurred_on
    FROM range({rows}) AS made(n)"""


class Simple(NamedTuple):
    """What a fold without a policy is told: the limit of who asks, in minor units, and the day of an employee."""

    limit: np.ndarray[Any, Any]
    case: np.ndarray[Any, Any]
    employee_day: np.ndarray[Any, Any]
    amount: np.ndarray[Any, Any]


def bare(limit: Any, case: Any, employee_day: Any, amount: Any, of_case: Any, of_day: Any, approved: Any) -> None:
    """One case total and one budget, and nothing else."""
    for row in range(len(amount)):
        total = of_case[case[row]] + amount[row]
        day = of_day[employee_day[row]] + amount[row]
        if total <= limit[row] and day <= DAY_LIMIT:
            approved[row] = True
            of_case[case[row]] = total
            of_day[employee_day[row]] = day


def in_python(simple: Simple) -> list[bool]:
    """The same with dictionaries."""
    of_case: dict[int, int] = defaultdict(int)
    of_day: dict[int, int] = defaultdict(int)
    approved = []
    for limit, case, day, amount in zip(*(column.tolist() for column in simple), strict=True):
        may = of_case[case] + amount <= limit and of_day[day] + amount <= DAY_LIMIT
        approved.append(may)
        if may:
            of_case[case] += amount
            of_day[day] += amount
    return approved


RUNNING = f"""SELECT sum(amount) OVER (PARTITION BY "case" ORDER BY n) <= "limit"
    AND sum(amount) OVER (PARTITION BY employee_day ORDER BY n) <= {DAY_LIMIT} AS approved FROM simple ORDER BY n"""


def rows(count: int, passes: int) -> Iterator[Row]:
    """Every contestant over the same history. Raises AssertionError where two that must agree do not."""
    with closing(duckdb.connect()) as connection:
        connection.execute(MAKE.format(days=DAYS, rows=count))
        policy = parse_policy(POLICY, "folding.yaml")
        fold_answers(connection, policy)  # numba compiles
        whole = _median(lambda: fold_answers(connection, policy), passes)
        ours = connection.execute("SELECT outcome = 0 AS approved FROM answers ORDER BY n").fetchnumpy()["approved"]
        simple, loop = _simple(connection, policy, passes)
        fold = _compiled(simple)
        assert np.array_equal(fold(), ours), "the bare fold answers otherwise"
        numba = _median(fold, passes)
        in_order = _timed(lambda: in_python(simple))
        assert np.array_equal(in_order[1], ours), "the fold in Python answers otherwise"
        running = _timed(lambda: connection.execute(RUNNING).fetchnumpy()["approved"])
        short = 1 - np.count_nonzero(running[1]) / np.count_nonzero(ours)
        durable = _durable(policy, min(count, SAMPLE))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2

    def row(what: str, seconds: float, remark: str = "", limit_us: float | None = None) -> Row:
        us = 1e6 * seconds / count
        return Row(SECTION, what, us, PER_SECOND, limit_us=limit_us, x_raw=seconds / numba, remark=remark)

    yield row("numba, no policy", numba)
    yield row("the loop, rows as numbers", loop, limit_us=SLOWEST_US)
    yield row("a whole fold, from words to answers", whole, f"{count:,} rows; {most:.1f} GiB at most", SLOWEST_US)
    yield row("Python, no policy", in_order[0])
    yield row(
        "DuckDB, sum() over (...) <= limit", running[0], f"wrong: {100 * short:.1f} % too few are settled on the spot"
    )
    yield row("durable-rules, asked for each row", durable * count, f"of {min(count, SAMPLE):,} rows")


def _simple(connection: Any, policy: Policy, passes: int) -> tuple[Simple, float]:
    """What the folds without a policy are told, and how long our loop takes over the same numbers."""
    bench = Bench([policy])
    some, sizes = code(connection, bench)

    def run() -> None:
        folding = Folding(bench, sizes)
        for one in some:
            folding.fold(one)

    run()
    limits = np.array([CASE_LIMIT, LARGE_LIMIT, 2**53])
    by_seat = limits[[seat.rank for seat in bench.seats]]
    columns = [np.concatenate([getattr(one, name) for one in some]) for name in ("seat", "case", "day", "amount")]
    seat, case, day, amount = columns
    employee = np.concatenate([one.subjects[0] for one in some]).astype(np.int64)
    simple = Simple(by_seat[seat], case, employee * sizes.days + day, amount)
    numbers = {"n": np.arange(len(amount)), **simple._asdict()}
    connection.register("told", numbers)
    connection.execute("CREATE TABLE simple AS SELECT * FROM told")
    return simple, _median(run, passes)


def _compiled(simple: Simple) -> Callable[[], Any]:
    from numba import njit

    fold = njit(bare)

    def run() -> Any:
        approved = np.zeros(len(simple.amount), np.bool_)
        of_case = np.zeros(simple.case.max() + 1, np.int64)
        fold(*simple, of_case, np.zeros(simple.employee_day.max() + 1, np.int64), approved)
        return approved

    run()
    return run


def _durable(policy: Policy, count: int) -> float:
    """How long a row takes where the rule engine is asked for each: the sums are told, and nothing is remembered."""
    from recovery_engine.rules.encoding import Encoding, word_classes

    encoding = Encoding(policy, word_classes(policy))
    words = {"remedy": "refund", "category": "quality", "severity": None, "site": None, "basis": "goodwill"}
    total: Reading = ("sum", (), "goodwill")
    seconds, _ = _timed(
        lambda: [encoding.match(words, {total: sum_, ("budget", "employee-day"): sum_}) for sum_ in range(count)]
    )
    return seconds / count


def _timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = process_time()
    found = run()
    return process_time() - start, found


def _median(run: Callable[[], Any], passes: int) -> float:
    return statistics.median(_timed(run)[0] for _ in range(passes))
