"""What callers are told of what stands in the log."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from recovery_engine.log.projection import RecoveryState
from recovery_engine.log.writing.group import LogReceipt
from recovery_engine.model import Alternative, Decision, Reason
from recovery_engine.money import Money
from recovery_engine.workflow import Delegation


class Before(NamedTuple):
    """What the case, or another of the same receipt, had been answered before."""

    recovery: str
    status: str
    remedy: str
    amount: Money


@dataclass(frozen=True, slots=True)
class RecordedDecision(Decision):
    """A decision that stands in the log.

    ``recovery`` is the id of the recovery, ``log_receipt`` where it stands: the caller keeps it. Both are None for an
    *incomplete* answer, which writes nothing. ``recovery`` is another one's id where somebody asked for the very same
    before and it is still pending: the two are one. ``due_us`` (UTC microseconds) is when an answer, or what was
    granted, is due. ``replayed``: the same request was answered before, and this is that answer. ``before`` are earlier
    answers on the same case.
    """

    recovery: str | None = None
    log_receipt: LogReceipt | None = None
    due_us: int | None = None
    replayed: bool = False
    before: tuple[Before, ...] = ()


@dataclass(frozen=True, slots=True)
class Recorded:
    """A later step of a recovery in the log. ``replayed``: it stood there already.

    ``state`` is where the recovery stands now; ``tell_customer`` is a sentence for the customer, with whom it is now.
    ``alternatives``: where somebody said no, what the requester may give at once instead, up to and including.
    """

    recovery: str
    log_receipt: LogReceipt
    replayed: bool
    state: RecoveryState
    tell_customer: str
    alternatives: tuple[Alternative, ...] = ()


class RecordedDelegation(NamedTuple):
    """A delegation as it stands, and its entry. ``replayed``: it stood there already."""

    delegation: Delegation
    log_receipt: LogReceipt
    replayed: bool


class Exchange(NamedTuple):
    """A question of an approver and its answer; texts are None where they were erased, the answer also while it is due.

    ``asked_us`` is in UTC microseconds; ``evidence`` came with the answer.
    """

    by: str
    asked_us: int
    question: str | None
    answered_by: str | None = None
    answer: str | None = None
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """A recovery that waits for an answer, with all that whoever answers needs to know, so that nobody asks twice.

    ``asked`` is the leaf of what is asked: given back with the approval, it binds it. ``because`` are the lines that
    sent it here. ``exchanges`` are questions and answers, ``before`` other answers on the same case or receipt,
    ``again`` who asked for the very same since. ``overdue``: the answer is late.
    """

    state: RecoveryState
    asked: str
    note: str | None
    customer_name: str | None
    customer_contact: str | None
    evidence: tuple[str, ...]
    facts: dict[str, bool | int | str | Money]
    because: tuple[Reason, ...]
    exchanges: tuple[Exchange, ...]
    before: tuple[RecoveryState, ...]
    again: tuple[str, ...]
    overdue: bool

    @property
    def amount(self) -> Money:
        """What is asked for."""
        return Money(self.state.asked_minor, self.state.currency)


class Promised(NamedTuple):
    """A grant, and how the word that was given stands: ``open``, ``overdue``, ``kept``, ``late`` or ``broken``."""

    state: RecoveryState
    standing: str

    @property
    def amount(self) -> Money:
        """What was granted."""
        return Money(self.state.granted_minor or 0, self.state.currency)


class Ticked(NamedTuple):
    """What silence did: the recoveries that moved up, were declined or lapsed; and the promises that are overdue."""

    steps: tuple[Recorded, ...]
    overdue: tuple[Promised, ...]


def alternatives_of(decision: Decision | None) -> Iterator[Alternative]:
    """What can be given at once: less of what was asked for, or something else."""
    if decision is None:
        return
    if decision.grantable_now is None or decision.grantable_now.minor:
        yield Alternative(decision.request.remedy, decision.grantable_now)
    yield from decision.alternatives
