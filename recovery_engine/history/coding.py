"""A history in whole numbers: words as seats, and cases, people and sites as counted, in one pass over it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from recovery_engine.errors import InvalidRequest
from recovery_engine.history.bench import Bench
from recovery_engine.history.cells import insert, requests, word_number
from recovery_engine.history.loop import ABSENT, NONE, Array, Rows, compiled, number_each
from recovery_engine.history.table import fact_column, word
from recovery_engine.history.tables import Sizes, kept_for, numbers_of
from recovery_engine.model import FactValue
from recovery_engine.money import MAX_MINOR, Money
from recovery_engine.policy.schema import Policy

CHUNK = 1_000_000
"""Rows that are asked for at a time."""

# Those whose sums are kept, as they are told apart: a row of no case is a case of its own, no site is one of its own.
_OWN = "'row:' || n"
_COUNTED = {
    "case": f"coalesce(case_id, {_OWN})",
    "employee": "coalesce(employee, '')",
    "customer": f"coalesce(customer, case_id, {_OWN})",
    "site": "coalesce(site, '')",
}


def code(connection: Any, bench: Bench) -> tuple[list[Rows], Sizes]:
    """The rows of ``history`` in order, in parts, and a seat on the bench for each choice of words in them.

    Tells how many days, cases and subjects there are.
    """
    policy = bench.policy
    first, last = connection.execute(
        "SELECT coalesce(min(day), DATE '1970-01-01'), coalesce(max(day), DATE '1970-01-01') FROM history"
    ).fetchone()
    words, read, whose = word_number(connection, policy), numbers_of(policy), kept_for(policy)
    (kind,) = connection.execute(f"SELECT any_value(typeof({words})) FROM history").fetchone()
    texts = {name: _COUNTED[name] for name in ("case", *whose) if name in _COUNTED}
    if kind != "BIGINT":
        texts["seat"] = f"CAST({words} AS VARCHAR)"
    taken = {"seat": words} | {name: _hash(text) for name, text in texts.items()}
    numbered = {name: Numbers() for name in taken}
    taken |= {"day": f"coalesce(day - DATE '{first}', 0)", "amount": "coalesce(amount, 0)"}
    taken |= {"valid": f"coalesce({_valid(policy)}, FALSE)"} | {
        f"number_{name}": _figure(policy, name) for name in read
    }
    parts: dict[str, list[Array]] = {name: [] for name in taken}
    for found in _fetched(connection, taken):
        for name, part in found.items():
            parts[name].append(numbered[name].of(part) if name in numbered else part)
    for name, text in texts.items():
        _no_two_alike(connection, text, numbered[name], parts[name])
    by_number = _seats(connection, bench, parts["seat"], numbered["seat"].count)
    rows = []
    while parts["day"]:
        some = {name: column.pop(0) for name, column in parts.items()}
        everybody = np.zeros(len(some["day"]), np.int32)
        subjects = [some.get(per, everybody) for per in whose]
        rows.append(
            Rows(
                np.where(some["valid"], by_number[some["seat"]], np.int32(NONE)),
                some["case"],
                some["day"].astype(np.int32),
                some["amount"],
                np.stack([some[f"number_{name}"] for name in read] or [np.zeros(0, np.int64)]),
                np.stack(subjects or [everybody[:0]]),
            )
        )
    sizes = {"organisation": 1} | {name: one.count for name, one in numbered.items()}
    return rows, Sizes(first, (last - first).days + 1, sizes["case"], sizes)


class Numbers:
    """Numbers for whole numbers of 64 bits, from 0 in the order in which they come."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin again with 0."""
        self.count = 0
        self._keys, self._places = np.zeros(0, np.int64), np.zeros(0, np.int32)

    def of(self, values: Array) -> Array:
        """The numbers of some more."""
        number, values = compiled(number_each), values.view(np.int64)
        room = 1 << (2 * (self.count + len(values))).bit_length()
        if room > len(self._keys):
            had = np.empty(self.count, np.int64)
            taken = self._places != NONE
            had[self._places[taken]] = self._keys[taken]
            self._keys, self._places = np.zeros(room, np.int64), np.full(room, NONE, np.int32)
            number(had, self._keys, self._places, 0, np.empty(len(had), np.int32))
        found = np.empty(len(values), np.int32)
        self.count = int(number(values, self._keys, self._places, self.count, found))
        return found


def _fetched(connection: Any, taken: Mapping[str, str]) -> Iterator[dict[str, Array]]:
    """What some expressions come to for all rows of ``history`` in order, some at a time."""
    (end,) = connection.execute("SELECT coalesce(max(n) + 1, 0) FROM history").fetchone()
    columns = ", ".join(f"{sql} AS {word(name)}" for name, sql in taken.items())
    for start in range(0, end, CHUNK):
        some = f"n >= {start} AND n < {start + CHUNK}"
        found = connection.execute(f"SELECT n AS place, {columns} FROM history WHERE {some}").fetchnumpy()
        places = found.pop("place")
        if np.any(places[1:] < places[:-1]):
            order = np.argsort(places)
            found = {name: part[order] for name, part in found.items()}
        yield found


def _hash(text: str, salt: int = 0) -> str:
    return f"hash('{salt}:' || {text})" if salt else f"hash({text})"


def _no_two_alike(connection: Any, text: str, numbered: Numbers, parts: list[Array]) -> None:
    """Number texts anew, by other hashes, for as long as two of them share one."""
    (different,) = connection.execute(f"SELECT count(DISTINCT {text}) FROM history").fetchone()
    for salt in count(1):
        if numbered.count == different:
            return
        numbered.forget()
        parts[:] = [numbered.of(found["hash"]) for found in _fetched(connection, {"hash": _hash(text, salt)})]


def _seats(connection: Any, bench: Bench, parts: list[Array], count: int) -> Array:
    """The seat of each of *count* choices of words, which the first row with it stands for; -1 where it has none."""
    policy = bench.policy
    firsts, end = np.full(count, NONE), sum(map(len, parts))
    for part in reversed(parts):
        end -= len(part)
        firsts[part[::-1]] = np.arange(end, end + len(part))[::-1]
    connection.execute("CREATE OR REPLACE TABLE firsts (n BIGINT)")
    insert(connection, "firsts", [(n,) for n in firsts.tolist()])
    # The figures are another's matter: any will do.
    figures: dict[str, FactValue] = {
        name: Money(0, policy.currency) if fact.kind == "money" else 0
        for name, fact in policy.facts.items()
        if fact.kind in ("number", "money")
    }
    seats: dict[int, int] = {}
    for n, request in requests(connection, policy, "firsts"):
        request = replace(request, amount=Money(0, policy.currency), bill=None, facts={**request.facts, **figures})
        try:
            seats[n] = bench.seat(request)
        except InvalidRequest:
            continue
    connection.execute("DROP TABLE firsts")
    return np.array([seats.get(n, NONE) for n in firsts.tolist()], np.int32)


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
