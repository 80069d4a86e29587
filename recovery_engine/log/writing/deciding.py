"""Deciding with the log at hand: whose sums count, what an entry says of it, and making it again from the entry."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date
from typing import Any

from recovery_engine.decide import decide
from recovery_engine.errors import Diagnostic, InvalidRequest, PolicyError
from recovery_engine.log.book import usage_of
from recovery_engine.log.entry import ORGANISATION, Entry, stream_of
from recovery_engine.log.policies import InForce, Policies
from recovery_engine.log.projection import case_subject
from recovery_engine.log.requests import CASE_HAS_ANOTHER
from recovery_engine.log.writing.group import CaseRow, Group
from recovery_engine.model import GOODWILL, OWED, Decision, Outcome, RecoveryRequest, Rung, Usage
from recovery_engine.money import format_minor
from recovery_engine.policy.reading import ILL_TYPED, problem
from recovery_engine.policy.schema import BudgetLine, Policy
from recovery_engine.workflow import due_after, hand_over_due

_STANDS = ("receipt", "customer")
_OF_THE_CASE = (*_STANDS, "bill", "occurred_on", "category", "severity", "currency")
_OF_THE_RECEIPT = ("customer", "bill", "currency")


def another_value(
    rows: list[CaseRow], fields: dict[str, Any], currency: str, forgotten: Callable[[str], bool]
) -> Iterator[Diagnostic]:
    """What the case, or another of the same receipt, had another value for before.

    A case's own receipt and customer stand from the first request on, also where it has none. Whether a customer who
    was *forgotten* is the same one, nobody can tell.
    """
    for name in _OF_THE_CASE:
        given = fields.get(name)
        for row in rows:
            had, own = getattr(row, name), row.case == fields["case"]
            if had == given or not (own or name in _OF_THE_RECEIPT):
                continue
            if None in (had, given) and not (own and name in _STANDS):
                continue
            if name == "customer" and had and forgotten(had):
                continue
            whose = f"the case `{row.case}`" if own else f"the receipt `{row.receipt}`"
            shown = "another customer" if name == "customer" and had else f"`{_shown(name, had, currency)}`"
            message = f"{whose} has {shown if had is not None else f'no {name}'}"
            yield problem(CASE_HAS_ANOTHER, name, message, "give the same, or open another case")
            break


def _shown(name: str, value: Any, currency: str) -> str:
    return format_minor(value, currency) if name == "bill" else str(value)


def asked_for(fields: Entry) -> Entry:
    """What a request asks for, whoever asks."""
    return {name: value for name, value in fields.items() if name not in ("employee", "role", "own_limit", "note")}


def carried_by(
    request: Mapping[str, Any],
    *,
    employee: str,
    role: str,
    own_limit: dict[str, int] | None,
    proof: Iterable[str],
    remedy: str,
    amount: int,
) -> dict[str, Any]:
    """The request of an entry as if whoever's authority an approval stands on had asked for what is approved."""
    fields = {name: value for name, value in request.items() if name != "own_limit"}
    fields |= {"employee": employee, "role": role, "remedy": remedy, "amount": amount, "evidence": sorted(proof)}
    return fields if own_limit is None else {**fields, "own_limit": own_limit}


def counts_of(request: RecoveryRequest, bday: str, case_rows: list[list[str | int]]) -> Entry:
    """What the grant of a request adds to each subject it touches."""
    first = request.basis == GOODWILL and request.amount.minor > 0 and not counted_before(case_rows)
    return {
        "bday": bday,
        "remedy": request.remedy,
        "basis": request.basis,
        "currency": request.amount.currency,
        "amount": request.amount.minor,
        "times": int(first),
    }


def counted_before(case_rows: list[list[str | int]]) -> bool:
    """Whether a case had goodwill before, and so was counted."""
    return any(basis == GOODWILL for _, basis, _, _ in case_rows)


def budget_subject(
    line: BudgetLine, request: RecoveryRequest, token: str | None, stream: str, employee: str | None = None
) -> str:
    """Whose sums a budget adds up. Without a customer the receipt stands in, else the case."""
    match line.per:
        case "employee":
            return f"employee:{employee or request.employee}"
        case "site":
            return stream
        case "customer" if token:
            return f"customer:{token}"
        case "customer":
            return case_subject(request.case, request.receipt)
    return ORGANISATION


def budget_rows(
    group: Group, in_force: InForce, request: RecoveryRequest, token: str | None, people: Iterable[str]
) -> list[list[str | int]]:
    """What each budget's period already holds, as an entry has it; of several *people* the larger sums."""
    stream = stream_of(request.site)
    rows: list[list[str | int]] = []
    for line, window in group.policies.windows(in_force.policy, in_force.day):
        subjects = [budget_subject(line, request, token, stream, person) for person in people]
        sums = [group.book(subject, window.first).used(window) for subject in subjects]
        amount, times = max(used.amount for used in sums), max(used.times for used in sums)
        if amount or times:
            rows.append([line.id, amount, times])
    return sorted(rows)


def decided(policies: Policies, in_force: InForce, request: RecoveryRequest, usage: Usage) -> Decision:
    """Decide under the policy in force; what is owed follows the version of the day it occurred."""
    policy, occurred_on = in_force.policy, request.occurred_on
    if request.basis != OWED or type(occurred_on) is not date:
        return decide(policy, request, usage)
    if occurred_on > in_force.day:
        message = f"{occurred_on} is after the day of the request, {in_force.day}"
        raise InvalidRequest([problem(ILL_TYPED, "occurred_on", message, "check the day")])
    return decide(policy, request, usage, owed_under=policies.library.version_on(occurred_on, policy.policy))


def replayed(policies: Policies, entry: Entry, request: RecoveryRequest) -> Decision | None:
    """The decision of an entry, made again under the policy of its digest; None where it now comes out otherwise.

    What is owed may follow any version that was ever in force on the day it occurred: the streams of policies and of
    sites have no common order.
    """
    policy = policies.by_digest[entry["policy"]]
    usage = usage_of(entry["usage"]["case"], entry["usage"]["budgets"])
    for owed_under in _owed_under(policies, policy, request):
        with suppress(InvalidRequest, PolicyError):
            decision = decide(policy, request, usage, owed_under=owed_under)
            found = verdict(decision)
            if all(entry.get(name) == found.get(name) for name in VERDICT if name != "matcher"):
                return decision
    return None


def _owed_under(policies: Policies, policy: Policy, request: RecoveryRequest) -> Iterator[Policy | None]:
    day = request.occurred_on
    if request.basis != OWED or day is None:
        yield None
        return
    yield policies.library.version_on(day, policy.policy)
    for other in policies.by_digest.values():
        if other.policy == policy.policy and other.effective and other.effective.from_ <= day:
            yield other
    yield None


def stored_decision(policies: Policies, entry: Entry, request: RecoveryRequest) -> Decision:
    """The decision that an entry holds, with the words of the policy it was made under."""
    policy = policies.by_digest[entry["policy"]]
    usage = usage_of(entry["usage"]["case"], entry["usage"]["budgets"])
    return replace(
        replayed(policies, entry, request) or decide(policy, replace(request, basis=GOODWILL), usage),
        request=request,
        outcome=Outcome(entry["outcome"]),
        to=entry.get("to"),
        second=entry.get("second"),
        lines=tuple(reason[0] for reason in entry["because"]),
        rungs=tuple(Rung(role, tuple(stops)) for role, *stops in entry["rungs"]),
        matcher=entry["matcher"],
    )


def due_us(policy: Policy, decision: Decision, at_us: int) -> int | None:
    """When an answer, or what was granted, is due: UTC microseconds."""
    if decision.outcome == Outcome.ESCALATE:
        return due_after(policy, decision.to, at_us)
    return hand_over_due(policy, at_us) if decision.outcome == Outcome.APPROVE else None


VERDICT = ("outcome", "to", "second", "because", "rungs", "matcher")


def verdict(decision: Decision) -> Entry:
    """What an entry says of a decision."""
    fields: Entry = {
        "outcome": str(decision.outcome),
        "matcher": decision.matcher,
        "because": sorted([_reason(*figures) for figures in decision.explanation.figures(decision.lines)]),
        "rungs": [[rung.role, *sorted(rung.stopped_by)] for rung in decision.rungs],
    }
    if decision.to is not None:
        fields["to"] = decision.to
    if decision.second is not None:
        fields["second"] = decision.second
    return fields


def _reason(line: str, what: str, had: int | None, limit: int | None) -> list[Any]:
    if had is None:
        return [line]
    return [line, what, had] if limit is None else [line, what, had, limit]
