"""The life of a recovery as a few plain rules: what each command must be answered, and where each recovery stands."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

HOUR = 3_600_000_000
ROLES = ("clerk", "lead", "manager")
WITHIN = {"lead": HOUR, "manager": 4 * HOUR}
LIMITS = {date(2026, 1, 1): (100, 250, 500), date(2026, 11, 2): (50, 150, 600)}
"""By the first day they are in force."""
OWN_DAY, EYES_OVER = 300, 200
"""What an employee below a manager may give in a day, and over how much for a whole case a manager must agree too."""


@dataclass
class Recovery:
    """Where a request stands. ``carriers``: whose authority it is granted on, and who lent it."""

    case: str
    site: str
    employee: str
    role: str
    asked: int
    limits: tuple[int, int, int]
    status: str = "pending"
    to: str | None = None
    first_to: str = ""
    due: int | None = None
    question: int | None = None
    carriers: tuple[str, ...] = ()
    carrier_role: str = ""
    agreed: int = 0
    granted: int = 0
    day: date = date.min
    able: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()


class Lent(NamedTuple):
    """Authority lent."""

    by: str
    to: str
    role: str
    cap: int
    begins: int
    ends: int


@dataclass
class WorkflowModel:
    """Every recovery, and what was lent. An answer is a word; ``NotAllowed`` changes nothing."""

    now: int
    recoveries: dict[str, Recovery] = field(default_factory=dict)
    lent: dict[str, Lent] = field(default_factory=dict)

    def day(self) -> date:
        """The business day in Chicago; it begins at four, by the clock on the wall."""
        utc = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self.now)
        return (utc.astimezone(ZoneInfo("America/Chicago")).replace(tzinfo=None) - timedelta(hours=4)).date()

    def on_case(self, case: str) -> int:
        return sum(one.granted for one in self.recoveries.values() if one.case == case)

    def of_today(self, person: str) -> int:
        mine = [one for one in self.recoveries.values() if person in one.carriers and one.day == self.day()]
        return sum(one.granted for one in mine)

    def may(self, one: Recovery, people: Iterable[str], role: str, amount: int) -> bool:
        """Whether so much may be granted on the authority of a role, for the whole case, with the usage of now."""
        rank = ROLES.index(role)
        own = rank == 2 or max(self.of_today(person) for person in people) + amount <= OWN_DAY
        return own and self.on_case(one.case) + amount <= one.limits[rank]

    def _granted(self, one: Recovery, amount: int) -> str:
        one.status, one.granted, one.day, one.question = "granted", amount, self.day(), None
        return "granted"

    def request(self, id: str, case: str, site: str, employee: str, role: str, amount: int) -> str:
        limits = max((day, numbers) for day, numbers in LIMITS.items() if day <= self.day())[1]
        one, rank = Recovery(case, site, employee, role, amount, limits), ROLES.index(role)
        one.able = tuple(to for to in ROLES if self.on_case(case) + amount <= limits[ROLES.index(to)])
        if self.may(one, [employee], role, amount):
            one.carriers, one.carrier_role, one.agreed = (employee,), role, amount
            if self.on_case(case) + amount <= EYES_OVER:
                self.recoveries[id] = one
                return self._granted(one, amount)
            one.to = "manager"
        else:
            above = [to for to in ROLES[min(rank + 1, 2) :] if to in one.able]
            one.to, one.status = (above[0], "pending") if above else (None, "denied")
        if one.to:
            for name, other in sorted(self.recoveries.items()):
                if other.status == "pending" and (other.case, other.site, other.asked) == (case, site, amount):
                    self.recoveries[name].joined += (employee,)
                    return f"joined {name}"
            one.first_to, one.due = one.to, self.now + WITHIN[one.to]
        self.recoveries[id] = one
        return one.status

    def approve(self, id: str, by: str, role: str, amount: int | None, delegation: str | None) -> str:
        one, people = self.recoveries[id], (by,)
        if delegation:
            lent = self.lent.get(delegation)
            if lent is None or lent.to != by or not lent.begins <= self.now < lent.ends:
                return "NotAllowed"
            role, people = lent.role, (by, lent.by)
        if one.status != "pending" or {one.employee, *one.joined, *one.carriers} & set(people):
            return "NotAllowed"
        given = amount or (one.agreed if one.carriers else one.asked)
        if one.carriers:
            second = not delegation and role == "manager" and given <= one.agreed
            if not second or not self.may(one, one.carriers, one.carrier_role, given):
                return "NotAllowed"
            return self._granted(one, given)
        if given > one.asked or ROLES.index(role) < ROLES.index(one.role) or not self.may(one, people, role, given):
            return "NotAllowed"
        if delegation and self.on_case(one.case) + given > self.lent[delegation].cap:
            return "NotAllowed"
        one.carriers, one.carrier_role, one.agreed = people, role, given
        if self.on_case(one.case) + given <= EYES_OVER:
            return self._granted(one, given)
        one.to, one.due, one.question = "manager", self.now + WITHIN["manager"], None
        return "pending"

    def says(self, id: str, by: str, role: str, what: str) -> str:
        """Who was asked declines, or has a question."""
        one = self.recoveries[id]
        asked = one.status == "pending" and ROLES.index(role) >= ROLES.index(one.first_to)
        if not asked or {one.employee, *one.carriers} & {by} or (what == "ask" and one.question is not None):
            return "NotAllowed"
        if what == "ask":
            one.question = self.now
        else:
            one.status = "declined"
        return one.status

    def requester(self, id: str, by: str, what: str, amount: int = 0) -> str:
        """Who asked answers, asks for less, or takes it back."""
        one = self.recoveries[id]
        wrong = one.status != "pending" or (what != "answer" and by != one.employee)
        if wrong or (what == "answer" and one.question is None) or (what == "amend" and amount >= one.asked):
            return "NotAllowed"
        if what == "answer" and one.question is not None:
            one.due, one.question = (one.due or 0) + self.now - one.question, None
        elif what == "amend":
            one.asked, one.agreed = amount, min(one.agreed, amount)
        else:
            one.status = "withdrawn"
        return one.status

    def after_grant(self, id: str, status: str) -> str:
        one = self.recoveries[id]
        if one.status != "granted":
            return "NotAllowed"
        one.status, one.granted = status, one.granted if status == "fulfilled" else 0
        return status

    def tick(self) -> dict[str, str]:
        """What silence does: where each silent one stands then."""
        moved = {}
        for id, one in self.recoveries.items():
            if one.status == "pending" and one.question is None and one.due is not None and one.due <= self.now:
                above = [to for to in ROLES[ROLES.index(one.to or "") + 1 :] if one.carriers or to in one.able]
                if above:
                    one.to, one.due = above[0], self.now + WITHIN[above[0]]
                else:
                    one.status = "lapsed"
                moved[id] = f"{one.status} {one.to}"
        return moved

    def delegate(self, id: str, new: Lent) -> str:
        live = [one for one in self.lent.values() if one.begins < new.ends and new.begins < one.ends]
        seen, found = {new.to}, True
        while found:
            found = bool(more := {one.to for one in live if one.by in seen} - seen)
            seen |= more
        passed_on = any(one.role == new.role and (one.to == new.by or one.by == new.to) for one in live)
        if new.by in seen or passed_on:
            return "NotAllowed"
        self.lent[id] = new
        return "done"

    def revoke(self, id: str, by: str) -> str:
        if id not in self.lent or self.lent[id].by != by:
            return "NotAllowed"
        del self.lent[id]
        return "done"
