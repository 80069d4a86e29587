"""The table `history`: one row for each request, in the order in which they happened.

``n``            0 to count - 1, the order
``at_us``        UTC microseconds; NULL where only the day is known
``day``          the business day under the draft's zone and ``day_starts``; NULL where nothing is known
``recovery``     its id, or its row number in a file
``employee role site``, and ``remedy category severity basis reason``: as in the request, NULL where not given
``case_id``      `receipt:` or `case:` and the reference: cases that share a receipt are one; NULL: a case of its own
``customer``     `customer:` and the reference; without one it is ``case_id``, and a budget of customers then adds up
                 all that the case had, also what other requests got there in a customer's name
``amount bill``  minor units        ``note evidence``  what was on file        ``occurred_on``
``fact_<name>``  each fact of the draft: BOOLEAN, BIGINT (money in minor units) or VARCHAR; NULL where not given
``then_outcome then_to granted``   what history says: the outcome, the role asked, and what was granted in the end
                 (minor units; 0 where nothing was or it was taken back); NULL where it does not say

What a policy says to each row stands in ``answers(n, outcome, to_rank, second_rank, needs)``: ``outcome`` is a place in
``OUTCOMES``, ranks are places on the ladder or NULL, ``needs`` is an id in ``needs(id, items)``.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, NamedTuple

from recovery_engine.log.calendar import day_start_seconds, offset_s
from recovery_engine.model import Outcome
from recovery_engine.policy.schema import Policy

OUTCOMES = (Outcome.APPROVE, Outcome.ESCALATE, Outcome.DENY, Outcome.INCOMPLETE)

COLUMNS = {
    "recovery": "VARCHAR",
    **dict.fromkeys(("employee", "role", "site", "remedy", "category", "severity", "basis", "reason"), "VARCHAR"),
    **dict.fromkeys(("amount", "bill"), "BIGINT"),
    "note": "BOOLEAN",
    "evidence": "VARCHAR[]",
    "occurred_on": "DATE",
    **dict.fromkeys(("then_outcome", "then_to"), "VARCHAR"),
    "granted": "BIGINT",
}
"""What ``asked`` gives as it is, beside its facts."""

FACT_TYPES = {"flag": "BOOLEAN", "number": "BIGINT", "money": "BIGINT", "one_of": "VARCHAR"}

_DAY_US = 86_400_000_000


class LeftOut(NamedTuple):
    """Requests that are left out of everything: why, and how many."""

    reason: str
    requests: int


def word(name: str) -> str:
    """A name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text as a literal of SQL."""
    return "'" + value.replace("'", "''") + "'"


def fact_column(name: str) -> str:
    """The column of a fact."""
    return word(f"fact_{name}")


def facts_of(policies: Iterable[Policy]) -> dict[str, str]:
    """The kind of every fact that some of the policies declare."""
    return {name: fact.kind for policy in policies for name, fact in policy.facts.items()}


def make_history(
    connection: Any, draft: Policy, facts: Mapping[str, str], days: tuple[date | None, date | None]
) -> None:
    """Make ``history`` of ``asked``, which is let go.

    ``asked`` has the columns of ``COLUMNS``, one for each fact, ``at_us``, ``day`` (counts where there is no time),
    ``case``, ``receipt``, ``customer``, and two by which it is put in order, ``at_key`` and ``place``.
    *days*: the first and the last business day, both included, where not all are wanted.
    """
    first, last = days
    fits = [f"bday >= DATE '{first}'"] if first else []
    fits += [f"bday <= DATE '{last}'"] if last else []
    case = "CASE WHEN receipt IS NOT NULL THEN 'receipt:' || receipt ELSE 'case:' || \"case\" END"
    columns = ", ".join([*map(word, COLUMNS), *map(fact_column, facts)])
    connection.execute(
        f"""CREATE TABLE history AS
        SELECT row_number() OVER (ORDER BY at_key, place) - 1 AS n, at_us, bday AS day, {case} AS case_id,
               coalesce('customer:' || customer, {case}) AS customer, {columns}
        FROM (SELECT *, {day_expression(connection, draft)} AS bday FROM asked)
        {"WHERE " + " AND ".join(fits) if fits else ""} ORDER BY n;
        DROP TABLE asked"""
    )


def day_expression(connection: Any, policy: Policy) -> str:
    """The business day of a row of ``asked`` under a policy, as SQL: of its time, or the day that it names."""
    first, last = connection.execute("SELECT min(at_us), max(at_us) FROM asked").fetchone()
    if first is None:
        return "day"
    by_zone: dict[str, list[str]] = {}
    for group in policy.timezones:
        of_group = (policy.sites or {}).get(group, ())
        by_zone.setdefault(policy.timezones[group], []).extend(map(text, of_group))
    ahead = _offset(policy.timezone, first, last)
    for zone, sites in by_zone.items():
        if sites:
            ahead = f"CASE WHEN site IN ({', '.join(sites)}) THEN {_offset(zone, first, last)} ELSE {ahead} END"
    seconds = f"(at_us // 1000000 + {ahead} - {day_start_seconds(policy.day_starts)})"
    # Floor division, also for the few hours of 1970 that local clocks put into 1969.
    days = f"CAST(({seconds} - (({seconds} % 86400) + 86400) % 86400) // 86400 AS INTEGER)"
    return f"CASE WHEN at_us IS NULL THEN day ELSE DATE '1970-01-01' + {days} END"


def _offset(zone: str, first_us: int, last_us: int) -> str:
    """How many seconds the clocks of a zone are ahead of UTC at ``at_us``, which lies within the two, as SQL."""
    changes: list[tuple[int, int]] = []
    at, offset = first_us, offset_s(zone, first_us)
    while at < last_us:
        then = min(at + _DAY_US, last_us)
        if offset_s(zone, then) != offset:
            low, high = at, then
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset_s(zone, middle) == offset else (low, middle)
            changes.append((high, offset))
            then, offset = high, offset_s(zone, high)
        at = then
    cases = " ".join(f"WHEN at_us < {change} THEN {before}" for change, before in changes)
    return f"CASE {cases} ELSE {offset} END" if cases else str(offset)
