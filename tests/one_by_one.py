"""Random histories: requests close to a policy's limits, of few cases, customers and people, so that limits bite."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from random import Random
from typing import Any, NamedTuple

import duckdb
from strategies import RequestWriter

from recovery_engine import InvalidRequest, Money, Policy, RecoveryRequest, Usage, Used, decide
from recovery_engine.log.calendar import window_first

OF_THE_CASE = ("category", "severity", "bill", "customer", "receipt", "occurred_on")
FIRST = date(2026, 11, 20)


class Asked(NamedTuple):
    """One request of a history, on a business day."""

    day: date
    request: RecoveryRequest


def some_requests(random: Random, writer: RequestWriter, count: int, days: int, few: int) -> list[Asked]:
    """*count* requests in order, over about *days*, by *few* people for as many customers and twice as many cases."""
    cases: dict[str, RecoveryRequest] = {}
    asked, day = [], FIRST
    for number in range(count):
        if random.random() < days / count:
            day += timedelta(random.choice((1, 1, 1, 2, 40, 100)))
        request, _ = writer.request(random)
        case = f"case-{random.randrange(2 * few)}"
        customer = random.choice((f"customer-{random.randrange(few)}", None))
        receipt = f"receipt-{random.randrange(few)}" if random.random() < 0.3 else None
        opened = cases.setdefault(case, replace(request, customer=customer, receipt=receipt))
        if receipt := opened.receipt:  # cases of one receipt have one customer and bill
            first = cases.setdefault(receipt, opened)
            opened = cases[case] = replace(opened, customer=first.customer, bill=first.bill)
        asked.append(
            Asked(
                day,
                replace(
                    request,
                    **{name: getattr(opened, name) for name in OF_THE_CASE},
                    id=f"r-{number}",
                    case=case,
                    employee=f"employee-{random.randrange(few)}",
                    site=request.site if random.random() < 0.9 else None,
                    reason=request.reason if request.category == opened.category else None,
                ),
            )
        )
    return asked


def history_of(policy: Policy, asked: Sequence[Asked]) -> Any:
    """A DuckDB connection with the table `history` of these requests."""
    connection = duckdb.connect(config={"threads": 1})
    kinds = {"flag": "BOOLEAN", "number": "BIGINT", "money": "BIGINT", "one_of": "VARCHAR"}
    facts = "".join(f', "fact_{name}" {kinds[fact.kind]}' for name, fact in policy.facts.items())
    connection.execute(
        "CREATE TABLE history (n BIGINT, day DATE, employee VARCHAR, role VARCHAR, site VARCHAR, case_id VARCHAR, "
        "customer VARCHAR, remedy VARCHAR, category VARCHAR, severity VARCHAR, basis VARCHAR, amount BIGINT, "
        f"bill BIGINT, reason VARCHAR, note BOOLEAN, evidence VARCHAR[], occurred_on DATE{facts})"
    )
    for n, (day, request) in enumerate(asked):
        case = case_of(request)
        given = [request.facts.get(name) for name in policy.facts]
        row = [n, day, request.employee, request.role, request.site, case, customer_of(request), request.remedy]
        row += [request.category, request.severity, request.basis, request.amount.minor]
        row += [request.bill and request.bill.minor, request.reason, bool(request.note and request.note.strip())]
        row += [sorted(request.evidence), request.occurred_on]
        row += [fact.minor if isinstance(fact, Money) else fact for fact in given]
        connection.execute(f"INSERT INTO history VALUES ({', '.join('?' * len(row))})", row)
    return connection


def case_of(request: RecoveryRequest) -> str:
    """The case for every sum."""
    return f"receipt:{request.receipt}" if request.receipt else f"case:{request.case}"


def customer_of(request: RecoveryRequest) -> str:
    """Whose budget of customers it is."""
    return f"customer:{request.customer}" if request.customer else case_of(request)


Told = tuple[str | None, str | None, str | None, tuple[str, ...]]
"""Outcome, role asked, second role, proof that is missing; no outcome where it cannot be decided."""
LEFT_OUT: Told = (None, None, None, ())


def answered(connection: Any, policy: Policy) -> list[Told]:
    """The table `answers`, in words."""
    needs = dict(connection.execute("SELECT id, items FROM needs").fetchall())
    outcomes = {None: None, **dict(enumerate(("approve", "escalate", "deny", "incomplete")))}
    rank = {None: None, **dict(enumerate(policy.ladder))}
    rows = connection.execute("SELECT * FROM answers ORDER BY n").fetchall()
    assert [n for n, *_ in rows] == list(range(len(rows)))
    return [(outcomes[out], rank[to], rank[second], tuple(needs[items])) for _, out, to, second, items in rows]


class Granted(NamedTuple):
    """What was approved on the spot."""

    day: date
    request: RecoveryRequest
    first: bool  # whether the case counts with it


def one_by_one(policy: Policy, asked: Sequence[Asked]) -> Iterator[Told]:
    """Each request decided with what was approved before, added up as plainly as can be."""
    granted: list[Granted] = []
    for day, request in asked:
        of_case = [one.request for one in granted if case_of(one.request) == case_of(request)]
        usage = Usage(
            _by_remedy(one for one in of_case if one.basis == "goodwill"),
            _by_remedy(one for one in of_case if one.basis == "owed"),
            {line.id: _used(line, day, request, granted) for line in policy.budgets},
        )
        try:
            decision = decide(policy, request, usage)
        except InvalidRequest:
            yield LEFT_OUT
            continue
        if decision.outcome == "approve":
            first = request.basis == "goodwill" and request.amount.minor > 0 and not usage.on_case
            granted.append(Granted(day, request, first))
        yield str(decision.outcome), decision.to, decision.second, decision.needs


def _by_remedy(requests: Iterator[RecoveryRequest]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for request in requests:
        if request.amount.minor:
            sums[request.remedy] = sums.get(request.remedy, 0) + request.amount.minor
    return sums


def _used(line: Any, day: date, request: RecoveryRequest, granted: list[Granted]) -> Used:
    whose = {
        "employee": lambda one: one.employee,
        "customer": customer_of,
        "site": lambda one: one.site or "",
        "organisation": lambda one: "",
    }[line.per]
    first, remedies = window_first(day, line.every), line.when.words.get("remedy")
    counted = [
        one
        for one in granted
        if one.day >= first and one.request.basis == "goodwill" and whose(one.request) == whose(request)
    ]
    amount = sum(one.request.amount.minor for one in counted if not remedies or one.request.remedy in remedies)
    return Used(amount, sum(one.first for one in counted))
