"""The commands that write: each names what it must see, checks, decides, and adds its entry.

A command runs inside the one transaction of its group; what it raises concerns its caller alone.
"""

from contextlib import suppress
from datetime import date
from typing import Any, NamedTuple, Protocol, TypeVar
from unicodedata import normalize

from recovery_engine.errors import IdempotencyConflict, InvalidRequest, NotAllowed
from recovery_engine.log.book import EVER, usage_of, usage_rows
from recovery_engine.log.calendar import business_day, offset_s, zone_of
from recovery_engine.log.entry import ORGANISATION, SEMANTICS, Entry, stream_of
from recovery_engine.log.personal import commitment
from recovery_engine.log.policies import InForce
from recovery_engine.log.projection import FOLLOWS, RecoveryState, case_subject, implied_subjects, subjects_of
from recovery_engine.log.requests import CASE_HAS_ANOTHER, entry_request, personal_of
from recovery_engine.log.writing.deciding import (
    another_value,
    budget_subject,
    counted_before,
    decided,
    due_us,
    stored_decision,
    verdict,
)
from recovery_engine.log.writing.group import Earlier, Group, LogReceipt, Wanted
from recovery_engine.model import GOODWILL, Decision, Outcome, RecoveryRequest
from recovery_engine.policy.reading import ILL_TYPED, problem
from recovery_engine.policy.schema import Policy

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


def _ill_formed(error: ValueError) -> InvalidRequest:
    return InvalidRequest([problem(ILL_TYPED, "request", str(error), "give less")])


# --- a recovery is asked for ------------------------------------------------------------------------------------------


class Answered(NamedTuple):
    """A decision, where it stands in the log (None: an incomplete request writes nothing), and whether it is old."""

    decision: Decision
    receipt: LogReceipt | None
    due_us: int | None
    replayed: bool


class Request:
    """Somebody asks for a remedy; the policy in force decides. ``request`` has been checked by ``request_problems``."""

    def __init__(self, request: RecoveryRequest, dry: bool = False) -> None:
        self.request, self.dry, self.stream = request, dry, stream_of(request.site)

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
        known = group.case(request.case, request.receipt)
        if found := list(another_value(known, fields, policy.currency, group.is_forgotten)):
            raise InvalidRequest(found)
        case = group.book(case_subject(request.case, request.receipt), EVER)
        if case.currencies() - {policy.currency}:
            message = f"the case had {', '.join(sorted(case.currencies()))} before"
            raise InvalidRequest([problem(CASE_HAS_ANOTHER, "currency", message, "open another case")])
        usage = {"case": usage_rows(case), "budgets": _budget_rows(group, in_force, request, token)}
        decision = decided(group.policies, in_force, request, usage_of(usage["case"], usage["budgets"]))
        if self.dry or decision.outcome == Outcome.INCOMPLETE:
            return Answered(decision, None, None, False)
        due = due_us(policy, decision, at_us)
        entry = {
            "recovery": request.id,
            "bday": in_force.day.isoformat(),
            "utc_offset_s": in_force.utc_offset_s,
            "role": request.role,
            "role_from": "host",
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
            first = request.basis == GOODWILL and request.amount.minor > 0 and not counted_before(usage["case"])
            entry["counts"] = {
                "bday": entry["bday"],
                "remedy": request.remedy,
                "basis": request.basis,
                "currency": policy.currency,
                "amount": request.amount.minor,
                "times": int(first),
            }
        texts = personal_of(request)
        salts = {name: group.random(32) for name in sorted(texts)}
        if texts:
            entry["personal"] = {name: commitment(salts[name], texts[name]) for name in salts}
        try:
            receipt = group.append(self.stream, "decided", request.id, request.employee, entry, at_us)
        except ValueError as error:
            raise _ill_formed(error) from None
        if request.customer:
            group.link(request.customer)
        group.keep_personal((request.id, name, salts[name], normalize("NFC", texts[name])) for name in salts)
        return Answered(decision, receipt, due, False)

    def _again(self, group: Group, earlier: Earlier, fields: dict[str, Any]) -> Answered:
        """The stored answer, where the same is asked again."""
        entry, receipt = earlier
        if entry["kind"] != "decided" or not _same_request(group, entry["request"], fields):
            message = f"the id `{self.request.id}` was used before, for something else"
            raise IdempotencyConflict(message, "make a new id for each request, before sending it")
        decision = stored_decision(group.policies, entry, self.request)
        return Answered(decision, receipt, entry.get("due_us"), True)


def _same_request(group: Group, stored: dict[str, Any], given: dict[str, Any]) -> bool:
    if stored == given:
        return True
    # Once a customer is forgotten nobody can tell any more whether it is the same one.
    before, now = stored.get("customer"), given.get("customer")
    if before is None or now is None or {**stored, "customer": now} != given:
        return False
    return group.is_forgotten(before)


def _budget_rows(group: Group, in_force: InForce, request: RecoveryRequest, token: str | None) -> list[list[str | int]]:
    stream = stream_of(request.site)
    rows: list[list[str | int]] = []
    for line, window in group.policies.windows(in_force.policy, in_force.day):
        subject = budget_subject(line, request, token, stream)
        book = group.book(subject, window.first)
        used = book.used(window)
        if used.amount or used.times:
            rows.append([line.id, *used])
    return sorted(rows)


# --- what may follow --------------------------------------------------------------------------------------------------


class _Later:
    """A later step of a recovery."""

    kind: str

    def __init__(self, recovery: str, request_id: str, by: str | None) -> None:
        self.recovery, self.id, self.by = recovery, request_id, by

    def wants(self, wanted: Wanted) -> None:
        wanted.ids.add(self.id)
        wanted.recoveries.add(self.recovery)

    def locks(self, group: Group, wanted: Wanted) -> None:
        state = group.state(self.recovery)
        if state is not None:
            wanted.streams.add(state.stream)
            wanted.subjects.update(self.subjects(group, state))

    def subjects(self, group: Group, state: RecoveryState) -> list[str]:
        return []

    def fields(self, group: Group, state: RecoveryState, grant: Entry) -> Entry:
        """What the entry holds besides what every later step does."""
        raise NotImplementedError

    def content(self) -> Entry:
        """What the caller gave: the same under the same id is the same command."""
        raise NotImplementedError

    def run(self, group: Group) -> tuple[LogReceipt, bool]:
        """Append the step. Raises NotAllowed, IdempotencyConflict, LogError."""
        state = group.state(self.recovery)
        if state is None:
            raise NotAllowed(f"there is no recovery `{self.recovery}`", "check the id")
        if earlier := group.earlier(self.id):
            return self._again(earlier, self.by or state.employee), True
        if state.status not in FOLLOWS[self.kind]:
            raise NotAllowed(f"`{self.recovery}` is {state.status}", _what_could(state))
        leaf, grant = group.grant(self.recovery)
        at_us = group.clock(state.stream)
        policy = group.policies.by_digest[state.policy]
        day, utc_offset_s = day_at(policy, state.site, at_us)
        fields = {
            "recovery": self.recovery,
            "bday": day.isoformat(),
            "utc_offset_s": utc_offset_s,
            "of": leaf,
            **{name: value for name, value in self.content().items() if value is not None},
            **self.fields(group, state, grant),
        }
        try:
            return group.append(state.stream, self.kind, self.id, self.by or state.employee, fields, at_us), False
        except ValueError as error:
            raise _ill_formed(error) from None

    def _again(self, earlier: Earlier, by: str) -> LogReceipt:
        entry = earlier.entry
        same = entry["kind"] == self.kind and entry["recovery"] == self.recovery and entry["by"] == by
        if not same or any(entry.get(name) != value for name, value in self.content().items()):
            message = f"the id `{self.id}` was used before, for something else"
            raise IdempotencyConflict(message, f"`{self.recovery}` was {entry['kind']} at seq {entry['seq']}")
        return earlier.receipt


def _what_could(state: RecoveryState) -> str:
    steps = [kind for kind, from_ in FOLLOWS.items() if state.status in from_]
    return f"it could be {' or '.join(steps)}" if steps else "nothing can follow"


class Fulfil(_Later):
    """What was granted is in the customer's hands."""

    kind = "fulfilled"

    def __init__(self, recovery: str, reference: str | None, by: str | None, request_id: str | None) -> None:
        super().__init__(recovery, request_id or f"~fulfil/{recovery}", by)
        self.reference = reference

    def content(self) -> Entry:
        return {"reference": self.reference}

    def fields(self, group: Group, state: RecoveryState, grant: Entry) -> Entry:
        return {}


class Void(_Later):
    """What was granted is taken back: the money counts no longer, the case still does."""

    kind = "voided"

    def __init__(self, recovery: str, reason: str, by: str, request_id: str | None) -> None:
        super().__init__(recovery, request_id or f"~void/{recovery}", by)
        self.reason = reason

    def content(self) -> Entry:
        return {"reason": self.reason}

    def subjects(self, group: Group, state: RecoveryState) -> list[str]:
        if state.approver is None:
            return []
        return implied_subjects(state, state.approver, ORGANISATION in group.tracks)

    def fields(self, group: Group, state: RecoveryState, grant: Entry) -> Entry:
        counts = {**grant["counts"], "amount": -grant["counts"]["amount"], "times": 0}
        return {"counts": counts, "touches": group.touches(subject for subject, _ in grant["touches"])}


def day_at(policy: Policy, site: str, at_us: int) -> tuple[date, int]:
    """The business day and the UTC offset (seconds) of an instant, by the clock of a policy at a site."""
    utc_offset_s = offset_s(zone_of(policy, site or None), at_us)
    return business_day(at_us, utc_offset_s, policy.day_starts), utc_offset_s
