"""The values that go into a decision and come out of it. All are frozen; amounts inside are integer minor units."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import NamedTuple, Protocol

from recovery_engine.money import Money, decimal_text

GOODWILL, OWED = "goodwill", "owed"
NOBODY_GIVES = "no-row"
NOTHING_OWED = "nothing-owed"
REASON_CODES = "reason_codes"
FAULT = "matcher-fault"


class Outcome(StrEnum):
    """What a decision says. Approve always means: it may be paid now."""

    APPROVE = "approve"
    ESCALATE = "escalate"
    DENY = "deny"
    INCOMPLETE = "incomplete"


FactValue = bool | int | str | Money


class OwnLimit(NamedTuple):
    """What one person may give alone for one case, where it is not what the role may: exactly one of the two.

    ``at_most``: less than the role; no limit of the policy gives more. ``up_to``: more than the role, for all remedies
    together; rows of single remedies, ceilings, budgets, proof and four eyes bind as they do.
    """

    at_most: Money | None = None
    up_to: Money | None = None


@dataclass(frozen=True, slots=True)
class RecoveryRequest:
    """One remedy asked for on one case. What is wrong with it is found by ``decide``, all at once.

    ``amount`` and ``bill`` are in the policy's currency; an amount of zero is something given at no cost, such as an
    apology. ``basis`` is ``goodwill`` or ``owed``. ``receipt`` is a stable reference to the purchase: cases that share
    one are one case. ``customer`` is the host's own reference; ``customer_name``, ``customer_contact`` and ``note``
    are about a person, and a log keeps them where they can be erased. ``facts`` are what the host knows: bools for
    flags, ints for numbers, Money for money, str for words. ``occurred_on`` is the day the thing went wrong; what is
    owed follows the rules of that day. ``own_limit`` is the requester's own, where it is not the role's.
    """

    role: str
    remedy: str
    amount: Money
    id: str = ""
    employee: str = ""
    site: str | None = None
    case: str = ""
    receipt: str | None = None
    customer: str | None = None
    category: str | None = None
    severity: str | None = None
    bill: Money | None = None
    basis: str = GOODWILL
    reason: str | None = None
    note: str | None = None
    customer_name: str | None = None
    customer_contact: str | None = None
    evidence: Iterable[str] = frozenset()
    facts: Mapping[str, FactValue] = field(default_factory=dict)
    occurred_on: date | None = None
    own_limit: OwnLimit | None = None

    def __post_init__(self) -> None:
        if type(self.evidence) is not frozenset:
            items = (self.evidence,) if isinstance(self.evidence, str) else self.evidence
            with suppress(TypeError):  # what is no set of words is found by `decide`, with everything else
                object.__setattr__(self, "evidence", frozenset(items))
        _keep_own(self, "facts")


class Used(NamedTuple):
    """What a budget's period already holds: an amount in minor units, and a number of cases."""

    amount: int = 0
    times: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What counts against limits before this grant. Amounts are minor units per remedy; left out means none.

    A remedy named in ``on_case`` with 0 was granted as goodwill and voided: the case is already counted. What was given
    at no cost is not named.
    ``used`` is keyed by the id of the budget.
    """

    on_case: Mapping[str, int] = field(default_factory=dict)
    owed_on_case: Mapping[str, int] = field(default_factory=dict)
    used: Mapping[str, Used] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _keep_own(self, "on_case", "owed_on_case", "used")


def _keep_own(value: object, *names: str) -> None:
    """Copy the caller's mappings: a decision is explained later, by what was given and not by what became of it."""
    for name in names:
        given = getattr(value, name)
        if isinstance(given, Mapping):
            object.__setattr__(value, name, dict(given))


NO_USAGE = Usage()


class Reason(NamedTuple):
    """One line that decided: what it measured, what it would have come to, and the limit, where there is one.

    ``what`` is ``amount`` (minor units) or ``times`` (cases) where ``had`` and ``limit`` are given; ``had`` counts
    this grant. ``where`` is ``file:line``, ``text`` is the line in words.
    """

    line: str
    what: str = ""
    had: int | None = None
    limit: int | None = None
    where: str = ""
    text: str = ""

    @property
    def short_by(self) -> int | None:
        """By how much the request fell short: minor units, or cases where ``what`` is ``times``."""
        if self.had is None or self.limit is None:
            return None
        return max(0, self.had - self.limit)


class Rung(NamedTuple):
    """One role of the ladder: may it approve this, and which lines stop it."""

    role: str
    stopped_by: tuple[str, ...] = ()

    @property
    def may(self) -> bool:
        """Whether this role may approve."""
        return not self.stopped_by


class Flip(NamedTuple):
    """One change, alone, that would let the requester settle it: ``amount``, ``100.00 or less``."""

    name: str
    change: str


class Alternative(NamedTuple):
    """Another remedy the requester may give at once, up to and including an amount (None: without limit)."""

    remedy: str
    up_to: Money | None


Figures = tuple[str, str, int | None, int | None]
"""The start of a Reason: line, what, had, limit."""


class Explanation(Protocol):
    """The slower half of a decision, worked out when somebody looks."""

    def because(self, lines: tuple[str, ...]) -> tuple[Reason, ...]: ...
    def figures(self, lines: tuple[str, ...]) -> tuple[Figures, ...]: ...
    def flip(self, decision: "Decision") -> tuple[Flip, ...]: ...
    def alternatives(self) -> tuple[Alternative, ...]: ...
    def tell_customer(self, decision: "Decision") -> str: ...
    def tell_employee(self, decision: "Decision") -> str: ...


@dataclass(frozen=True, slots=True)
class PolicyRef:
    """Which policy decided: its name, version label, and the digest that is its identity."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to a request: never a bare no.

    ``to`` is the role asked when escalated; ``second`` the role of a second, different person who must also agree.
    ``needs`` is the proof still missing for the best outcome that proof alone can reach. ``lines`` are the ids of the
    deciding lines. ``grantable_now`` is the most the requester may give of this remedy at once, inclusive; None means
    without limit. ``due`` is what is still owed, for requests of that basis. ``matcher`` says which matchers served:
    ``both``, ``reference`` (durable-rules is not installed) or ``fault``.
    """

    outcome: Outcome
    request: RecoveryRequest
    to: str | None
    second: str | None
    needs: tuple[str, ...]
    lines: tuple[str, ...]
    rungs: tuple[Rung, ...]
    grantable_now: Money | None
    due: Money | None
    policy: PolicyRef
    matcher: str
    explanation: Explanation = field(repr=False, compare=False)

    @property
    def amount(self) -> Money:
        """The amount that was asked for."""
        return self.request.amount

    @property
    def because(self) -> tuple[Reason, ...]:
        """The deciding lines, each with its place, its text in words, and by how much the request fell short."""
        return self.explanation.because(self.lines)

    @property
    def flip(self) -> tuple[Flip, ...]:
        """Single changes that would let the requester settle it, nearest kind first; empty when approved."""
        return self.explanation.flip(self)

    @property
    def alternatives(self) -> tuple[Alternative, ...]:
        """Other remedies within the requester's own authority, with the most of each."""
        return self.explanation.alternatives()

    @property
    def tell_customer(self) -> str:
        """A sentence for the customer; it never shows a limit."""
        return self.explanation.tell_customer(self)

    @property
    def tell_employee(self) -> str:
        """A sentence for the employee: what to do now."""
        return self.explanation.tell_employee(self)

    def as_dict(self) -> dict[str, object]:
        """Everything the decision carries, ready for JSON; amounts are decimal text, numbers of cases are ints."""

        currency = self.amount.currency

        def text(money: Money | None) -> str | None:
            return None if money is None else money.decimal

        def figure(reason: Reason, value: int | None) -> str | int | None:
            return decimal_text(value, currency) if reason.what == "amount" and value is not None else value

        return {
            "outcome": str(self.outcome),
            "to": self.to,
            "second": self.second,
            "needs": list(self.needs),
            "because": [
                reason._asdict()
                | {"had": figure(reason, reason.had), "limit": figure(reason, reason.limit)}
                | {"short_by": figure(reason, reason.short_by)}
                for reason in self.because
            ],
            "rungs": [{"role": rung.role, "may": rung.may, "stopped_by": list(rung.stopped_by)} for rung in self.rungs],
            "flip": [flip._asdict() for flip in self.flip],
            "grantable_now": "unlimited" if self.grantable_now is None else text(self.grantable_now),
            "alternatives": [
                {"remedy": other.remedy, "up_to": "unlimited" if other.up_to is None else text(other.up_to)}
                for other in self.alternatives
            ],
            "due": text(self.due),
            "tell_customer": self.tell_customer,
            "tell_employee": self.tell_employee,
            "amount": text(self.amount),
            "currency": currency,
            "policy": {"name": self.policy.name, "version": self.policy.version, "digest": self.policy.digest},
            "matcher": self.matcher,
        }
