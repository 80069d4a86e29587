"""What the log says as JSON documents: amounts are decimal text, times ISO 8601 in UTC."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from recovery_engine import Money

if TYPE_CHECKING:
    from recovery_engine import AuditRow, LogReceipt, Reason, RecoveryState, RecoveryStory


def iso(at_us: int | None) -> str | None:
    """UTC microseconds as ISO 8601, such as ``2026-11-21T20:25:06.123456Z``."""
    if at_us is None:
        return None
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us):%Y-%m-%dT%H:%M:%S.%f}Z"


def in_utc(at_us: int) -> str:
    """UTC microseconds for people, such as ``2026-11-21 20:25:06Z``."""
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us):%Y-%m-%d %H:%M:%SZ}"


def document(value: Any) -> Any:
    """A value of the library, ready for JSON. ``granted_us`` becomes ``granted_at``, and ``at_us`` becomes ``at``."""
    if isinstance(value, Money):
        return value.decimal
    if isinstance(value, Mapping):
        return dict(_named(name, item) for name, item in value.items())
    if is_dataclass(value) and not isinstance(value, type):
        return dict(_named(field.name, getattr(value, field.name)) for field in fields(value))
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return document(value._asdict())
    if isinstance(value, tuple | list):
        return [document(item) for item in value]
    return value


def _named(name: str, value: Any) -> tuple[str, Any]:
    if name.endswith("_us"):
        return "at" if name == "at_us" else f"{name[:-3]}_at", iso(value)
    return name, document(value)


def reason_document(reason: "Reason", currency: str) -> dict[str, Any]:
    """A line that decided, as decisions have it: its figures are amounts where it measured one."""

    def figure(value: int | None) -> str | int | None:
        return Money(value, currency).decimal if reason.what == "amount" and value is not None else value

    figures = {"had": figure(reason.had), "limit": figure(reason.limit), "short_by": figure(reason.short_by)}
    return reason._asdict() | figures


def story_document(one: "RecoveryStory") -> dict[str, Any]:
    """The story of a recovery, with what came before it."""
    return {
        "stands": row_document(one.row),
        "before": [row_document(row) for row in one.before],
        "steps": document(one.steps),
    }


def receipt_document(receipt: "LogReceipt | None") -> dict[str, Any] | None:
    """Where an entry stands in the log; the host keeps it."""
    return None if receipt is None else dict(document(receipt))


def row_document(row: "AuditRow") -> dict[str, Any]:
    """A recovery as it stands, by the names that its columns have in exports."""
    return _columns(row, row.lines)


def state_document(state: "RecoveryState") -> dict[str, Any]:
    """A recovery as it stands, without the lines that decided."""
    columns = _columns(state, ())
    del columns["deciding_lines"]
    return columns


def _columns(row: "AuditRow | RecoveryState", lines: tuple[str, ...]) -> dict[str, Any]:
    granted = None if row.granted_minor is None else Money(row.granted_minor, row.currency)
    bill = None if row.bill_minor is None else Money(row.bill_minor, row.currency)
    columns: dict[str, Any] = document(
        {
            "recovery": row.recovery,
            "case_id": row.case_id,
            "site": row.site,
            "business_day": row.bday,
            "asked_us": row.at_us,
            "employee": row.employee,
            "employee_role": row.role,
            "customer": row.customer,
            "receipt": row.receipt,
            "remedy_asked": row.remedy,
            "category": row.category,
            "severity": row.severity,
            "reason": row.reason,
            "basis": row.basis,
            "occurred_on": row.occurred_on,
            "currency": row.currency,
            "amount_asked": Money(row.asked_minor, row.currency),
            "bill": bill,
            "outcome": row.outcome,
            "deciding_lines": lines,
            "status": row.status,
            "sent_to_role": row.to_role,
            "second_role": row.second_role,
            "due_us": row.due_us,
            "approved_by": row.approver,
            "approver_role": row.approver_role,
            "approved_in_name_of": row.on_behalf,
            "second_person": row.second_by,
            "question_open_since": iso(row.question_us),
            "questions": row.questions,
            "times_moved_up": row.moves,
            "granted_us": row.granted_us,
            "granted_on": row.granted_bday,
            "remedy_granted": row.granted_remedy,
            "amount_granted": granted,
            "fulfilled_us": row.fulfilled_us,
            "payment_reference": row.reference,
            "closed_us": row.closed_us,
            "closed_by": row.closed_by,
            "closed_reason": row.closed_reason,
            "policy_digest": row.policy,
            "matcher": row.matcher,
            "log_stream": row.stream,
            "log_seq": row.seq,
        }
    )
    return columns
