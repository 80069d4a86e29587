"""The commands that write: each names what it must see, checks, decides, and adds its entry.

A command runs inside the one transaction of its group; what it raises concerns its caller alone.
"""

from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, TypeVar

from recovery_engine.errors import IdempotencyConflict, InvalidRequest
from recovery_engine.log.book import EVER, usage_of, usage_rows
from recovery_engine.log.entry import ORGANISATION, SEMANTICS, Entry, stream_of
from recovery_engine.log.projection import RecoveryState, case_subject, subjects_of
from recovery_engine.log.requests import CASE_HAS_ANOTHER, entry_request, own_limit_from, personal_of
from recovery_engine.log.writing.deciding import (
    another_value,
    asked_for,
    budget_rows,
    budget_subject,
    counts_of,
    decided,
    due_us,
    stored_decision,
    verdict,
)
from recovery_engine.log.writing.group import CaseRow, Earlier, Group, LogReceipt, Wanted
from recovery_engine.log.writing.later import append_with_texts, step_fields, what_was_asked
from recovery_engine.model import Decision, Outcome, RecoveryRequest
from recovery_engine.policy.reading import problem
from recovery_engine.staff import Staff

Answer = TypeVar("Answer", covariant=True)


class Step(Protocol[Answer]):
    """A command."""

    def wants(self, wanted: Wanted) -> None:
        """Name what is looked up before the locks."""
        ...

    def locks(self, group: Group, wanted: Wanted) -> None:
        """Name the subjects to lock, each with the first day its sums must reach back to, and the streams."""
        ...

    def run(self, group: Group) -> Answer:
        """Check, decide and append. Raises RecoveryError; then nothing of it is added."""
        ...


# --- a recovery is asked for ------------------------------------------------------------------------------------------


class Answered(NamedTuple):
    """A decision, where it stands in the log (None: an incomplete request writes nothing), and whether it is old.

    ``recovery`` is the one it is about: another's, where an identical one was pending already. ``before`` is what the
    case, and others of its receipt, had been answered before.
    """

    decision: Decision
    receipt: LogReceipt | None
    due_us: int | None
    replayed: bool
    recovery: str | None = None
    before: tuple[CaseRow, ...] = ()


class Request:
    """Somebody asks for a remedy; the policy in force decides. ``request`` has been checked by ``request_problems``."""

    def __init__(self, request: RecoveryRequest, dry: bool = False, staff: Staff | None = None) -> None:
        self.request, self.dry, self.stream, self.staff = request, dry, stream_of(request.site), staff

    def wants(self, wanted: Wanted) -> None:
        """The id, the case and the customer."""
        if not self.dry:
            wanted.ids.add(self.request.id)
        wanted.cases.add(self.request.case)
        if self.request.receipt:
            wanted.receipts.add(self.request.receipt)
        if self.request.customer:
            wanted.references.add(self.request.customer)

    def locks(self, group: Group, wanted: Wanted) -> None:
        """The case, and whoever is touched; the sums of the budgets that are likely in force."""
        request = self.request
        case, token = case_subject(request.case, request.receipt), None
        if request.customer:
            token = group.token(request.customer)
        wanted.subjects.update(self._subjects(group, token))
        wanted.subjects.add(f"case:{request.case}")  # also where a receipt stands in: two may open it at once
        wanted.streams.add(self.stream)
        wanted.books.add((case, EVER))
        with suppress(InvalidRequest):
            policy, day, _ = group.policies.at(group.now_us, request.site)
            for line, window in group.policies.windows(policy, day):
                wanted.books.add((budget_subject(line, request, token, self.stream), window.first))

    def _subjects(self, group: Group, token: str | None) -> list[str]:
        request = self.request
        subjects = subjects_of(request.case, request.receipt, token, request.employee, self.stream)
        return sorted([*subjects, ORGANISATION]) if ORGANISATION in group.tracks else subjects

    def run(self, group: Group) -> Answered:
        """Decide; every answer but *incomplete* is an entry. Raises InvalidRequest, IdempotencyConflict, LogError."""
        request = self.request
        token = group.token(request.customer) if request.customer else None
        fields = entry_request(request, token)
        if not self.dry and (earlier := group.earlier(request.id)):
            return self._again(group, earlier, fields)
        at_us = group.clock(self.stream)
        in_force = group.policies.at(at_us, request.site)
        policy = in_force.policy
        if self.staff is not None:
            person = self.staff.acting(request.employee, request.role, request.site, in_force.day)
            request = replace(request, role=person.role, own_limit=person.own_limit)
            fields = entry_request(request, token)
        known = group.case(request.case, request.receipt)
        if found := list(another_value(known, fields, policy.currency, group.is_forgotten)):
            raise InvalidRequest(found)
        case = group.book(case_subject(request.case, request.receipt), EVER)
        if case.currencies() - {policy.currency}:
            message = f"the case had {', '.join(sorted(case.currencies()))} before"
            raise InvalidRequest([problem(CASE_HAS_ANOTHER, "currency", message, "open another case")])
        usage = {"case": usage_rows(case), "budgets": budget_rows(group, in_force, request, token, [request.employee])}
        decision = decided(group.policies, in_force, request, usage_of(usage["case"], usage["budgets"]))
        if self.dry or decision.outcome == Outcome.INCOMPLETE:
            return Answered(decision, None, None, False, None, tuple(known))
        if decision.outcome == Outcome.ESCALATE and (pending := self._pending(group, known, fields)):
            return self._join(group, pending, fields, at_us)
        due = due_us(policy, decision, at_us)
        entry = {
            "recovery": request.id,
            "bday": in_force.day.isoformat(),
            "utc_offset_s": in_force.utc_offset_s,
            "role": request.role,
            "role_from": "host" if self.staff is None else "directory",
            "request": fields,
            "policy": policy.digest,
            "semantics": SEMANTICS,
            "engine": group.engine,
            "usage": usage,
            "touches": group.touches(self._subjects(group, token)),
            **verdict(decision),
        }
        if due is not None:
            entry["due_us"] = due
        if decision.outcome == Outcome.APPROVE:
            entry["counts"] = counts_of(request, in_force.day.isoformat(), usage["case"])
        texts = personal_of(request)
        receipt = append_with_texts(group, self.stream, "decided", request.id, request.employee, entry, at_us, texts)
        if request.customer:
            group.link(request.customer)
        return Answered(decision, receipt, due, False, request.id, tuple(known))

    def _pending(self, group: Group, known: list[CaseRow], fields: Entry) -> RecoveryState | None:
        """The recovery at this site that waits for an answer to the very same; nobody shall have to answer twice."""
        for row in sorted(known, key=lambda row: row.recovery):  # the same one on every database
            state = group.state(row.recovery) if row.stream == self.stream and row.status == "pending" else None
            if state is not None and state.status == "pending":
                asked = group.entries(row.recovery)[0].entry["request"] | {"amount": state.asked_minor}
                if asked_for(asked) == asked_for(fields):
                    return state
        return None

    def _join(self, group: Group, pending: RecoveryState, fields: Entry, at_us: int) -> Answered:
        """Put on record that it was asked for again; the answer to the first is the answer to this one too."""
        entries = group.entries(pending.recovery)
        policy = group.policies.by_digest[pending.policy]
        entry = {**step_fields(policy, pending, at_us, what_was_asked(entries)), "request": fields}
        entry |= {"to": pending.to_role} if pending.to_role is not None else {}
        entry |= {"due_us": pending.due_us} if pending.due_us is not None else {}
        request, texts = self.request, personal_of(self.request)
        receipt = append_with_texts(group, self.stream, "joined", request.id, request.employee, entry, at_us, texts)
        return self._joined(group, entry, receipt, False)

    def _joined(self, group: Group, entry: Entry, receipt: LogReceipt, replayed: bool) -> Answered:
        first = group.entries(entry["recovery"])[0].entry
        decision = replace(stored_decision(group.policies, first, self.request), to=entry.get("to"))
        return Answered(decision, receipt, entry.get("due_us"), replayed, entry["recovery"])

    def _again(self, group: Group, earlier: Earlier, fields: dict[str, Any]) -> Answered:
        """The stored answer, where the same is asked again."""
        entry, receipt = earlier
        stored = entry.get("request")
        if self.staff is not None and stored is not None:  # what the directory said then, it need not say any more
            own = own_limit_from(stored["own_limit"], stored["currency"]) if "own_limit" in stored else None
            self.request = replace(self.request, role=self.request.role or stored["role"], own_limit=own)
            fields = entry_request(self.request, fields.get("customer"))
        if entry["kind"] == "joined" and _same_request(group, entry["request"], fields):
            return self._joined(group, entry, receipt, True)
        if entry["kind"] != "decided" or not _same_request(group, entry["request"], fields):
            message = f"the id `{self.request.id}` was used before, for something else"
            raise IdempotencyConflict(message, "make a new id for each request, before sending it")
        decision, request_id = stored_decision(group.policies, entry, self.request), self.request.id
        return Answered(decision, receipt, entry.get("due_us"), True, request_id)


def _same_request(group: Group, stored: dict[str, Any], given: dict[str, Any]) -> bool:
    if stored == given:
        return True
    # Once a customer is forgotten nobody can tell any more whether it is the same one.
    before, now = stored.get("customer"), given.get("customer")
    if before is None or now is None or {**stored, "customer": now} != given:
        return False
    return group.is_forgotten(before)
