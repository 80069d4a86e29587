"""What follows from the entries: where each recovery stands, and what counts against limits.

The store writes these rows beside each entry; `verify` works them out again and compares.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from recovery_engine.log.book import UsageKey
from recovery_engine.log.entry import ORGANISATION, Entry
from recovery_engine.model import GOODWILL
from recovery_engine.workflow import FOLLOWS, STATUS_AFTER, Delegation, agreed_by_asking


class RecoveryState(NamedTuple):
    """A row of ``recovery_state``. Amounts are minor units, times UTC microseconds, days ISO."""

    recovery: str
    stream: str
    seq: int
    at_us: int
    bday: str
    utc_offset_s: int
    employee: str
    role: str
    site: str
    case_id: str
    receipt: str | None
    customer: str | None
    remedy: str
    category: str | None
    severity: str | None
    reason: str | None
    basis: str
    currency: str
    asked_minor: int
    bill_minor: int | None
    occurred_on: str | None
    outcome: str
    status: str
    to_role: str | None
    second_role: str | None
    due_us: int | None
    policy: str
    matcher: str
    approver: str | None = None
    approver_role: str | None = None
    granted_us: int | None = None
    granted_bday: str | None = None
    granted_remedy: str | None = None
    granted_minor: int | None = None
    fulfilled_us: int | None = None
    reference: str | None = None
    closed_us: int | None = None
    closed_by: str | None = None
    closed_reason: str | None = None
    on_behalf: str | None = None
    second_by: str | None = None
    agreed_remedy: str | None = None
    agreed_minor: int | None = None
    question_us: int | None = None
    questions: int = 0
    moves: int = 0


def state_after(state: RecoveryState | None, entry: Entry) -> RecoveryState | None:
    """Where the recovery of *entry* stands after it; None for an entry about no recovery.

    Raises ValueError where the step could not follow.
    """
    kind = entry["kind"]
    if kind == "decided":
        if state is not None:
            raise ValueError(f"`{entry['recovery']}` was decided before")
        return _decided(entry)
    if kind not in FOLLOWS:
        return None
    if state is None:
        raise ValueError(f"`{kind}` of a recovery that was never asked for")
    if state.status not in FOLLOWS[kind]:
        raise ValueError(f"`{kind}` of a recovery that is {state.status}")
    return _STEPS[kind](state, entry)


def _decided(entry: Entry) -> RecoveryState:
    request, outcome = entry["request"], entry["outcome"]
    state = RecoveryState(
        entry["recovery"],
        entry["stream"],
        entry["seq"],
        entry["at_us"],
        entry["bday"],
        entry["utc_offset_s"],
        request["employee"],
        request["role"],
        request["site"],
        request["case"],
        request.get("receipt"),
        request.get("customer"),
        request["remedy"],
        request.get("category"),
        request.get("severity"),
        request.get("reason"),
        request.get("basis", GOODWILL),
        request["currency"],
        request["amount"],
        request.get("bill"),
        request.get("occurred_on"),
        outcome,
        STATUS_AFTER[outcome],
        entry.get("to"),
        entry.get("second"),
        entry.get("due_us"),
        entry["policy"],
        entry["matcher"],
        *(_grant(entry) if outcome == "approve" else ()),
    )
    if agreed_by_asking(outcome, entry.get("second"), entry["role"], entry["rungs"]):
        return _carried(state, entry)._replace(agreed_remedy=state.remedy, agreed_minor=state.asked_minor)
    return state


def _grant(entry: Entry) -> tuple[Any, ...]:
    """What a request that is approved at once says of the grant, in the order of the fields of a state."""
    counts = entry["counts"]
    return entry["by"], entry["role"], entry["at_us"], counts["bday"], counts["remedy"], counts["amount"]


def _carried(state: RecoveryState, entry: Entry) -> RecoveryState:
    """Whose authority the grant stands on, and in whose name it was used."""
    return state._replace(approver=entry["by"], approver_role=entry["role"], on_behalf=entry.get("for"))


def _granted(state: RecoveryState, entry: Entry) -> RecoveryState:
    counts = entry["counts"]
    return state._replace(
        status="granted",
        due_us=entry.get("due_us"),
        question_us=None,
        granted_us=entry["at_us"],
        granted_bday=counts["bday"],
        granted_remedy=counts["remedy"],
        granted_minor=counts["amount"],
    )


def _approved(state: RecoveryState, entry: Entry) -> RecoveryState:
    """Granted, where nobody else must agree; otherwise the second person is asked."""
    if state.approver is not None:
        return _granted(state._replace(second_by=entry["by"]), entry)
    carried = _carried(state, entry)
    if "counts" in entry:
        return _granted(carried, entry)
    return carried._replace(
        to_role=entry["second"],
        second_role=entry["second"],
        due_us=entry.get("due_us"),
        agreed_remedy=entry["remedy"],
        agreed_minor=entry["amount"],
        question_us=None,
    )


def _closed(state: RecoveryState, entry: Entry, status: str) -> RecoveryState:
    return state._replace(
        status=status,
        closed_us=entry["at_us"],
        closed_by=entry["by"],
        closed_reason=entry.get("reason"),
        question_us=None,
    )


def _moved_up(state: RecoveryState, entry: Entry) -> RecoveryState:
    return state._replace(to_role=entry["to"], due_us=entry.get("due_us"), moves=state.moves + 1)


def _asked(state: RecoveryState, entry: Entry) -> RecoveryState:
    return state._replace(question_us=entry["at_us"], questions=state.questions + 1)


def _answered(state: RecoveryState, entry: Entry) -> RecoveryState:
    return state._replace(question_us=None, due_us=entry.get("due_us"))


def _amended(state: RecoveryState, entry: Entry) -> RecoveryState:
    """For less than before; what was agreed to stands as far as it goes."""
    agreed = None if state.agreed_minor is None else min(state.agreed_minor, entry["amount"])
    return state._replace(asked_minor=entry["amount"], agreed_minor=agreed)


def _fulfilled(state: RecoveryState, entry: Entry) -> RecoveryState:
    return state._replace(status="fulfilled", fulfilled_us=entry["at_us"], reference=entry.get("reference"))


_STEPS: Mapping[str, Callable[[RecoveryState, Entry], RecoveryState]] = {
    "approved": _approved,
    "declined": lambda state, entry: _closed(state, entry, "declined"),
    "lapsed": lambda state, entry: _closed(state, entry, "lapsed"),
    "voided": lambda state, entry: _closed(state, entry, "voided"),
    "moved_up": _moved_up,
    "asked": _asked,
    "answered": _answered,
    "amended": _amended,
    "withdrawn": lambda state, entry: _closed(state, entry, "withdrawn"),
    "joined": lambda state, entry: state,
    "fulfilled": _fulfilled,
}


def delegation_from(row: Sequence[Any]) -> Delegation:
    """The delegation in a row of ``recovery_delegation``; its lists are joined by line ends, which no word has."""
    one = Delegation(*row)
    return one._replace(sites=tuple(str(row[4]).splitlines()), remedies=tuple(str(row[5]).splitlines()))


def delegation_row(one: Delegation) -> Sequence[Any]:
    """A row of ``recovery_delegation``."""
    return one._replace(sites="\n".join(one.sites), remedies="\n".join(one.remedies))  # type: ignore[arg-type]


def delegated(entry: Entry) -> Delegation:
    """What a `delegated` entry lends."""
    return Delegation(
        entry["id"],
        entry["by"],
        entry["to"],
        entry["role"],
        tuple(entry["sites"]),
        tuple(entry["remedies"]),
        entry.get("cap"),
        entry.get("currency"),
        entry["from_us"],
        entry["until_us"],
    )


def lines_of(entry: Entry) -> list[str]:
    """The deciding lines of an entry that opens a recovery."""
    return [reason[0] for reason in entry["because"]] if entry["kind"] == "decided" else []


def case_subject(case: str, receipt: str | None) -> str:
    """What the sums of a case are kept under: its receipt where it has one, so that cases that share one are one."""
    return f"receipt:{receipt}" if receipt else f"case:{case}"


def subjects_of(case: str, receipt: str | None, customer: str | None, by: str, stream: str) -> list[str]:
    """What a request reads and a grant counts for, in byte order. *stream* is also the name of the site's subject."""
    subjects = [case_subject(case, receipt), f"employee:{by}", stream]
    if customer:
        subjects.append(f"customer:{customer}")
    return sorted(subjects)


def implied_subjects(state: RecoveryState, by: str, tracked: bool, on_behalf: str | None = None) -> list[str]:
    """The subjects that a deciding entry of this recovery must touch, in byte order.

    What is granted in somebody's name counts for both.
    """
    subjects = set(subjects_of(state.case_id, state.receipt, state.customer, by, state.stream))
    if on_behalf is not None:
        subjects.add(f"employee:{on_behalf}")
    if tracked:
        subjects.add(ORGANISATION)
    return sorted(subjects)


def counted(entry: Entry) -> Iterator[tuple[str, UsageKey, int, int]]:
    """What an entry adds to each subject it touches: minor units and cases, by day, remedy, basis and currency."""
    counts = entry.get("counts")
    if counts is None or not (counts["amount"] or counts["times"]):
        return
    key = UsageKey(counts["bday"], counts["remedy"], counts["basis"], counts["currency"])
    for subject, _ in entry["touches"]:
        yield subject, key, counts["amount"], counts["times"]
