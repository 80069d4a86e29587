"""A history in whole numbers: words as seats, and cases, people and sites as counted, worked out by DuckDB."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from recovery_engine.errors import InvalidRequest
from recovery_engine.history.bench import Bench
from recovery_engine.history.cells import insert, requests, word_number
from recovery_engine.history.loop import ABSENT, NONE, Array, Rows
from recovery_engine.history.table import fact_column, word
from recovery_engine.history.tables import Sizes, kept_for, numbers_of
from recovery_engine.model import FactValue
from recovery_engine.money import MAX_MINOR, Money
from recovery_engine.policy.schema import Policy

CHUNK = 1_000_000
"""Rows in memory at a time."""

# Those whose sums are kept, as they are told apart: a row of no case is a case of its own, no site is one of its own.
_OWN = "'row:' || n"
_COUNTED = {
    "case": f"coalesce(case_id, {_OWN})",
    "employee": "coalesce(employee, '')",
    "customer": f"coalesce(customer, case_id, {_OWN})",
    "site": "coalesce(site, '')",
}


def code(connection: Any, bench: Bench) -> tuple[int, Sizes]:
    """Make the table ``coded`` of ``history``, and a seat on the bench for each choice of words in it.

    Tells how many rows it has, and of how many days, cases and subjects.
    """
    policy = bench.policy
    rows, first, last = connection.execute(
        "SELECT count(*), coalesce(min(day), DATE '1970-01-01'), coalesce(max(day), DATE '1970-01-01') FROM history"
    ).fetchone()
    key = _seat_rows(connection, bench)
    counted = ["case", *[per for per in kept_for(policy) if per in _COUNTED]]
    sizes = {"organisation": 1} | {name: _number(connection, name) for name in counted}
    columns = [f"n, CASE WHEN {_valid(policy)} THEN coalesce(seat, {NONE}) ELSE {NONE} END AS seat"]
    columns += [f"coalesce(day, DATE '{first}') - DATE '{first}' AS day, coalesce(amount, 0) AS amount"]
    columns += [f'counted_{name}.number AS "{name}"' for name in counted]
    columns += [f"{_figure(policy, name)} AS number_{name}" for name in numbers_of(policy)]
    joins = [f"JOIN counted_{name} ON {_COUNTED[name]} = counted_{name}.name" for name in counted]
    connection.execute(
        f"CREATE OR REPLACE TABLE coded AS SELECT {', '.join(columns)} "
        f"FROM (SELECT *, {key} AS seat_key FROM history) LEFT JOIN seats USING (seat_key) {' '.join(joins)}"
    )
    for table in ("seats", *[f"counted_{name}" for name in counted]):
        connection.execute(f"DROP TABLE {table}")
    return rows, Sizes(first, (last - first).days + 1, sizes["case"], sizes)


def chunks(connection: Any, policy: Policy) -> Iterator[tuple[Array, Rows]]:
    """The rows of ``coded`` in order, some at a time, each with its place in the history."""
    (end,) = connection.execute("SELECT coalesce(max(n) + 1, 0) FROM coded").fetchone()
    names, whose = ["n", "seat", "case", "day", "amount"], kept_for(policy)
    numbers = [f"number_{name}" for name in numbers_of(policy)]
    taken = ", ".join(word(name) for name in (*names, *numbers, *[per for per in whose if per in _COUNTED]))
    for start in range(0, end, CHUNK):
        some = f"n >= {start} AND n < {start + CHUNK}"
        found = connection.execute(f"SELECT {taken} FROM coded WHERE {some} ORDER BY n").fetchnumpy()
        everybody = np.zeros(len(found["n"]), np.int32)
        yield (
            found["n"],
            Rows(
                found["seat"],
                found["case"],
                found["day"],
                found["amount"],
                np.stack([found[name] for name in numbers]),
                np.stack([found.get(per, everybody) for per in whose or ["organisation"]]),
            ),
        )


def _number(connection: Any, name: str) -> int:
    """Number those whose sums are kept; how many there are."""
    connection.execute(
        f"CREATE OR REPLACE TABLE counted_{name} AS SELECT name, CAST(row_number() OVER () - 1 AS INTEGER) "
        f"AS number FROM (SELECT DISTINCT {_COUNTED[name]} AS name FROM history)"
    )
    (count,) = connection.execute(f"SELECT count(*) FROM counted_{name}").fetchone()
    return int(count)


def _seat_rows(connection: Any, bench: Bench) -> str:
    """Make the table ``seats(seat_key, seat)`` of those that have one; the key as SQL."""
    policy = bench.policy
    key = word_number(connection, policy)
    connection.execute(
        f"CREATE OR REPLACE TABLE firsts AS SELECT seat_key, min(n) AS n "
        f"FROM (SELECT {key} AS seat_key, n FROM history) GROUP BY seat_key"
    )
    # The figures are another's matter: any will do.
    figures: dict[str, FactValue] = {
        name: Money(0, policy.currency) if fact.kind == "money" else 0
        for name, fact in policy.facts.items()
        if fact.kind in ("number", "money")
    }
    seated = []
    for n, request in requests(connection, policy, "firsts"):
        request = replace(request, amount=Money(0, policy.currency), bill=None, facts={**request.facts, **figures})
        try:
            seated.append((n, bench.seat(request)))
        except InvalidRequest:
            continue
    connection.execute("CREATE OR REPLACE TABLE seated (n BIGINT, seat INTEGER)")
    insert(connection, "seated", seated)
    connection.execute(
        "CREATE OR REPLACE TABLE seats AS SELECT seat_key, seat FROM firsts JOIN seated USING (n);"
        "DROP TABLE firsts; DROP TABLE seated"
    )
    return key


def _valid(policy: Policy) -> str:
    """Whether the figures of a row are what a policy can decide, as SQL."""
    parts = [f"amount BETWEEN 0 AND {MAX_MINOR}", f"coalesce(bill, 0) BETWEEN 0 AND {MAX_MINOR}"]
    for name, fact in policy.facts.items():
        if fact.kind in ("number", "money"):
            least = 0 if fact.kind == "money" else -MAX_MINOR
            parts.append(f"coalesce({fact_column(name)}, 0) BETWEEN {least} AND {MAX_MINOR}")
    return " AND ".join(parts)


def _figure(policy: Policy, name: str) -> str:
    """A number of a row, as SQL; its default stands in."""
    if name == "bill":
        return f"coalesce(bill, {ABSENT})"
    default = policy.facts[name].default
    return f"coalesce({fact_column(name)}, {ABSENT if default is None else int(default)})"
