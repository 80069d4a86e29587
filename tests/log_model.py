"""The recovery log as a few plain dictionaries: what an engine must answer, and what must then be in the log."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import NamedTuple

HOUR, DAY = 3_600_000_000, 86_400_000_000
ROLES, STANDS = ("clerk", "lead", "manager"), ("granted", "fulfilled")


class Terms(NamedTuple):
    """The numbers of a policy: dollars per case and role, an employee's day, a customer's 30 days, a site's month."""

    limits: tuple[int, int, int] = (100, 250, 500)
    employee_day: int = 10**6
    customer_30: int = 10**6
    customer_cases: int = 10**6
    site_month: int = 10**6


class Asked(NamedTuple):
    """A request: whole dollars; receipt and customer may be missing."""

    case: str
    receipt: str | None
    customer: str | None
    employee: str
    role: str
    site: str
    remedy: str
    amount: int


@dataclass
class Recovery:
    """What became of a request. ``customer`` is who asked, apart from whoever used the reference before."""

    asked: Asked
    outcome: str
    customer: str | None
    day: date
    times: int
    subjects: tuple[str, ...]
    status: str
    done: str | None = None


@dataclass
class LogModel:
    """The log. Every command answers in a word, ``again`` before it where it was answered before."""

    now_us: int
    terms: list[Terms] = field(default_factory=list)
    recoveries: dict[str, Recovery] = field(default_factory=dict)
    heads: dict[str, tuple[int, int]] = field(default_factory=dict)  # stream -> entries, time of the last
    people: dict[str, int] = field(default_factory=dict)  # reference -> how often it was forgotten
    linked: set[str] = field(default_factory=set)

    def append(self, stream: str, at_us: int | None) -> str:
        if at_us is None:
            return "LogError"
        self.heads[stream] = self.heads.get(stream, (1, 0))[0] + 1, at_us
        return "done"

    def _time(self, stream: str) -> int | None:
        _, last = self.heads.get(stream) or self.heads["organisation"]
        known = last - HOUR <= self.now_us <= max(at for _, at in self.heads.values()) + 400 * DAY
        return max(self.now_us, last) if known else None

    def load(self, terms: Terms) -> str:
        if terms in self.terms:
            return "known"
        if (answer := self.append("organisation", self._time("organisation"))) == "done":
            self.terms.append(terms)
        return answer

    def accept_clock(self) -> int:
        before = list(self.heads.values())
        for stream in sorted(self.heads):
            if self._time(stream) is None:
                self.append(stream, self.now_us)
        return sum(head != now for head, now in zip(before, self.heads.values(), strict=True))

    def request(self, id: str, asked: Asked) -> str:
        if known := self.recoveries.get(id):
            forgotten = asked.customer and known.customer and known.customer not in self.linked
            same = asked == known.asked or (forgotten and asked == known.asked._replace(customer=asked.customer))
            return f"again {known.outcome}" if same else "IdempotencyConflict"
        stream = f"site:{asked.site}"
        if (at := self._time(stream)) is None:
            return "LogError"
        who = asked.customer and f"{asked.customer}#{self.people.get(asked.customer, 0)}"
        if any(self._of_another(other, asked, who) for other in self.recoveries.values()):
            return "InvalidRequest"
        day = date(1970, 1, 1) + timedelta((at // 1_000_000 - 10 * 3_600) // 86_400)
        case = f"receipt:{asked.receipt}" if asked.receipt else f"case:{asked.case}"
        subjects = (case, f"employee:{asked.employee}", stream, *([f"customer:{who}"] if who else []))
        first = asked.amount > 0 and not self.sums(case)[1]
        outcome = self._decided(asked, day, case, f"customer:{who}" if who else case, first)
        status = {"approve": "granted", "deny": "denied"}.get(outcome, "pending")
        self.recoveries[id] = Recovery(asked, outcome, who, day, int(first and outcome == "approve"), subjects, status)
        self.linked |= {who} - {None}
        self.append(stream, at)
        return outcome

    def _of_another(self, other: Recovery, asked: Asked, who: str | None) -> bool:
        """Whether the case, or its receipt, belongs to another customer; of one who was forgotten nobody can tell."""
        same_case, same_receipt = other.asked.case == asked.case, other.asked.receipt == asked.receipt is not None
        if other.customer is None or who is None:
            return same_case and other.customer != who
        return (same_case or same_receipt) and other.customer != who and other.customer in self.linked

    def _decided(self, asked: Asked, day: date, case: str, customer: str, first: bool) -> str:
        terms = self.terms[-1]
        over_all = self.sums(f"site:{asked.site}", day.replace(day=1))[0] + asked.amount > terms.site_month
        amount, cases = self.sums(customer, day - timedelta(29))
        over_customer = amount + asked.amount > terms.customer_30 or cases + first > terms.customer_cases
        over_own = self.sums(f"employee:{asked.employee}", day)[0] + asked.amount > terms.employee_day
        total = self.sums(case)[0] + asked.amount
        within = [total <= limit and not over_all for limit in terms.limits]
        may, own = [*(one and not over_customer for one in within[:2]), within[2]], ROLES.index(asked.role)
        if asked.amount == 0 or (may[own] and not over_own):
            return "approve"
        # At the top it is another person of the top who is asked.
        return next((f"escalate {ROLES[rung]}" for rung in range(min(own + 1, 2), 3) if may[rung]), "deny")

    def sums(self, subject: str, first: date = date.min) -> tuple[int, int]:
        """Dollars and cases that count for a subject from a day on."""
        held = [one for one in self.recoveries.values() if subject in one.subjects and one.day >= first]
        return sum(one.asked.amount * (one.status in STANDS) for one in held), sum(one.times for one in held)

    def fulfil_or_void(self, recovery: str, status: str, content: str | None) -> str:
        known = self.recoveries.get(recovery)
        if known is None or known.status not in ("granted", status):
            return "NotAllowed"
        if known.status == status:
            return "again done" if known.done == content else "IdempotencyConflict"
        stream = f"site:{known.asked.site}"
        if (answer := self.append(stream, self._time(stream))) == "done":
            known.status, known.done = status, content
        return answer

    def forget(self, customer: str) -> str:
        who = f"{customer}#{self.people.get(customer, 0)}"
        if who not in self.linked:
            return "NotAllowed"
        if (answer := self.append("organisation", self._time("organisation"))) == "done":
            self.linked.discard(who)
            self.people[customer] = self.people.get(customer, 0) + 1
        return answer
