"""The words of a decision: why, what would change it, what else can be given, and what to tell people.

All of it is worked out only when somebody looks, because a till wants its answer first.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from recovery_engine.errors import InvalidRequest
from recovery_engine.flips import Decider, Flipper, Seat
from recovery_engine.model import (
    FAULT,
    GOODWILL,
    NOBODY_GIVES,
    NOTHING_OWED,
    REASON_CODES,
    Alternative,
    Decision,
    Figures,
    Flip,
    Outcome,
    Reason,
    RecoveryRequest,
    Usage,
)
from recovery_engine.money import Money, format_minor
from recovery_engine.phrases import (
    but,
    cases_in_words,
    duration,
    in_words,
    limit_in_words,
    period_in_words,
    proof_in_words,
    required_in_words,
    second_in_words,
    with_conditions,
)
from recovery_engine.policy.schema import (
    AuthorityLine,
    BudgetLine,
    CeilingLine,
    DenyLine,
    FourEyesLine,
    Line,
    OwedLine,
    Policy,
    RequiresLine,
)
from recovery_engine.rules.fold import Ruling
from recovery_engine.rules.readings import ALL, ceiling_sum, due_of, limit_of, on_case, times_with

DEFAULT_SENTENCES = {
    "approved": "We are putting this right now: {amount} as {remedy}.",
    "escalated": "I have asked my {role}; you will have an answer within {within}, and need not explain it again.",
    "denied": "I cannot do that, and here is why: {say}",
    "incomplete": "I can go on as soon as I have {say}.",
    "asked": "My {role} is looking into it and needs one more thing from me; you need not explain it again.",
    "declined": "I am sorry: my {role} has looked into it and cannot agree to it.",
    "lapsed": "I am sorry: I could not get an answer for you in time.",
    "withdrawn": "We are not going on with this.",
    "fulfilled": "It is done: {amount} as {remedy}.",
    "voided": "We have taken {amount} as {remedy} back.",
}
_SENTENCE_OF = {Outcome.APPROVE: "approved", Outcome.ESCALATE: "escalated", Outcome.DENY: "denied"}
_UNTIMED = "I have asked my {role}; you need not explain it again."


def sentence(policy: Policy, what: str, role: str, asked: str | None, amount: Money, remedy: str, say: str) -> str:
    """The policy's sentence for the customer, or the usual one, filled in; it never shows a limit.

    *what* is ``approved``, ``escalated``, ``denied``, ``incomplete`` or a later step. *role* is as people say it;
    *asked* is the role whose time to answer is told. What costs nothing is named without its amount.
    """
    within = policy.escalation.answer_within.get(asked or "")
    template = policy.escalation.tell_customer.get(what)
    if template is None:
        template = _UNTIMED if what == "escalated" and within is None else DEFAULT_SENTENCES[what]
        if not amount.minor:
            template = template.replace("{amount} as ", "")
    return template.format(
        role=role,
        within=duration(within) if within else "a short while",
        amount=amount,
        remedy=in_words(remedy),
        say=say,
    )


_PER = {
    "employee": "one employee",
    "customer": "one customer",
    "site": "the site",
    "organisation": "the organisation",
}

_SAY = {
    NOBODY_GIVES: "this is not something we can give.",
    NOTHING_OWED: "nothing is owed for this under the published terms.",
    AuthorityLine: "it is more than we can give for this.",
    CeilingLine: "it is more than we can give for this purchase.",
    BudgetLine: "we have already given what we can for now.",
    OwedLine: "it is more than is owed under the published terms.",
    DenyLine: "our rules do not allow it.",
}


Measured = tuple[str, int | None, int | None, Callable[[], str]]
"""What a line measures, what it would come to, its limit, and what says all of it in words."""


@dataclass(slots=True)
class Explainer:
    """Explains one decision."""

    decider: Decider
    seat: Seat
    ruling: Ruling
    request: RecoveryRequest
    usage: Usage

    # --- why ---

    def because(self, lines: tuple[str, ...]) -> tuple[Reason, ...]:
        """A reason for each deciding line."""
        by_id = self.decider.rules.by_id
        return tuple(self._reason(name, by_id.get(name)) for name in lines)

    def figures(self, lines: tuple[str, ...]) -> tuple[Figures, ...]:
        """What ``because`` says without its words."""
        by_id = self.decider.rules.by_id
        return tuple((name, *self._measured(name, by_id.get(name))[:3]) for name in lines)

    def _reason(self, name: str, line: Line | None) -> Reason:
        what, had, limit, words = self._measured(name, line)
        text = words()
        if line is not None:
            text = with_conditions(self.decider.rules, line, text)
            text = f"{text}. {line.why}" if line.why else text
        return Reason(name, what, had, limit, self.decider.where(name), text)

    def _measured(self, name: str, line: Line | None) -> Measured:
        """What a line measures, what it would come to, its limit, and all of it in words."""
        match line:
            case None:
                return "", None, None, lambda: self._without_line(name)
            case AuthorityLine():
                return self._authority(line)
            case CeilingLine():
                return self._ceiling(line)
            case BudgetLine():
                return self._budget(line)
            case OwedLine():
                return self._owed(line)
        return "", None, None, lambda: self._asked(line)

    def _asked(self, line: Line) -> str:
        """A line that measures nothing, in words."""
        match line:
            case RequiresLine():
                waivable = but(line.waivable_by, "may do without")
                return f"{required_in_words(line)} must be on file{waivable}"
            case FourEyesLine():
                return f"a second, different person must agree: {second_in_words(line)}"
            case DenyLine():
                return line.say or "never given"
        return "the requester may not decide; another person of the same role may"

    def _owed(self, line: OwedLine) -> Measured:
        due = max(0, due_of(self.decider.rules, line)(self.request, self.usage))

        def words() -> str:
            return f"{limit_in_words(line, self.money)} is owed; {self.money(due)} of it is still due"

        return "amount", self.request.amount.minor, due, words

    def _authority(self, line: AuthorityLine) -> Measured:
        """The row of the line that counts: of those that stop the requester, or the top, the one furthest exceeded."""
        policy = self.decider.policy
        rank = len(policy.ladder) - 1 if self.ruling.outcome == Outcome.DENY else self.seat.rank
        column = rank if self.ruling.outcome == Outcome.DENY else policy.column(rank)
        role = policy.ladder[rank]
        stopped = [stop.row for stop in self.ruling.stops if stop.line == line.id and stop.row]
        rows = stopped or [cap.row for cap in self.ruling.caps if cap.line == line.id and cap.row]
        cells = {row: line.up_to[row][column] for row in rows}
        never = [row for row, cell in cells.items() if cell == "none"]
        if never:
            what = "anything" if "total" in never else in_words(never[0])
            return "", None, None, lambda: f"{in_words(role)} may not give {what}"
        if not self.request.amount.minor:
            return "", None, None, lambda: f"{in_words(role)} may give this at no cost"
        found = [
            (self._sum(ALL if row == "total" else (row,), GOODWILL) - cell, row, cell)
            for row, cell in cells.items()
            if isinstance(cell, int)
        ]
        if not found:
            return "", None, None, lambda: f"{in_words(role)} may approve this without limit"
        over, row, limit = max(found)

        def words() -> str:
            may = f"{in_words(role)} may approve {self.money(limit) if limit else 'nothing that costs'} for one case"
            if limit != line.up_to[row][rank]:
                may = f"{self.request.employee or 'this person'}'s own limit is {self.money(limit)} for one case"
            return f"{may} ({_row(row)}); this would make {self.money(limit + over)}"

        return "amount", limit + over, limit, words

    def _ceiling(self, line: CeilingLine) -> Measured:
        _, remedies, basis = ceiling_sum(line)
        had, limit = self._sum(remedies, basis), limit_of(self.decider.rules, line)(self.request)

        def words() -> str:
            here = "no bill is on file"
            if limit is not None:
                here = f"here {self.money(limit)}; this would make {self.money(had)}"
            return f"{limit_in_words(line, self.money)} is the ceiling, {here}"

        return "amount", had, limit, words

    def _budget(self, line: BudgetLine) -> Measured:
        def whose() -> str:
            return f"{period_in_words(line)} for {_PER[line.per]}"

        times = times_with(line, self.usage)
        if line.times is not None and times > line.times:
            most = line.times
            return "times", times, most, lambda: f"{cases_in_words(most)} {whose()}; this would be number {times}"
        used = self.usage.used.get(line.id)
        had, limit = (used.amount if used else 0) + self.request.amount.minor, line.amount or 0
        return "amount", had, limit, lambda: f"{self.money(limit)} {whose()}; this would make {self.money(had)}"

    def _without_line(self, name: str) -> str:
        if name == NOBODY_GIVES:
            return f"no line says who may give {in_words(self.request.remedy)}"
        if name == NOTHING_OWED:
            return "nothing is owed here"
        if name == REASON_CODES:
            codes = self.decider.policy.reason_codes.get(self.request.category or "", ())
            return f"{self.request.category} needs a reason code: {', '.join(codes)}"
        return f"the rule engine could not be trusted here, so it goes to the top; please report: {self.ruling.fault}"

    def _sum(self, remedies: tuple[str, ...], basis: str) -> int:
        amount = self.request.amount.minor
        return amount and amount + on_case(self.usage, remedies, basis)

    def money(self, minor: int) -> str:
        """An amount in the policy's currency, for people."""
        return format_minor(minor, self.decider.policy.currency)

    # --- what would change it ---

    def flip(self, decision: Decision) -> tuple[Flip, ...]:
        """Each single dimension in which some value would let the requester settle it, with the exact edge."""
        if decision.outcome == Outcome.APPROVE or FAULT in decision.lines:
            return ()
        return tuple(Flipper(self.decider, self.seat, self.request, self.usage).flips(decision))

    # --- what else ---

    def alternatives(self) -> tuple[Alternative, ...]:
        """Other remedies the requester may give at once, as goodwill; 0 means something at no cost."""
        found = []
        currency = self.decider.policy.currency
        for remedy in self.decider.policy.remedies or ():
            if remedy == self.request.remedy and self.request.basis == GOODWILL:
                continue
            try:
                request = replace(self.request, remedy=remedy, basis=GOODWILL, amount=Money(0, currency))
                decision = self.decider.decide(request, self.usage)
            except InvalidRequest:
                continue  # another fact would have to be asked for first
            most = decision.grantable_now
            if most is None or most.minor or (decision.outcome == Outcome.APPROVE and self._only_at_no_cost(decision)):
                found.append(Alternative(remedy, most))
        return tuple(found)

    def _only_at_no_cost(self, decision: Decision) -> bool:
        """Whether the row of the remedy says 0: an apology is worth offering, a refund of nothing is not."""
        explainer = decision.explanation
        assert isinstance(explainer, Explainer)
        return any(cap.row == decision.request.remedy and cap.limit == 0 for cap in explainer.ruling.caps)

    # --- what to say ---

    def tell_customer(self, decision: Decision) -> str:
        """The policy's sentence for this outcome, filled in; it never shows a limit."""
        name = _SENTENCE_OF.get(decision.outcome, "incomplete")
        to = decision.to or self.request.role
        role = "colleague" if decision.to == self.request.role else in_words(to)
        said = self._say(decision)
        return sentence(self.decider.policy, name, role, decision.to, decision.amount, self.request.remedy, said)

    def _say(self, decision: Decision) -> str:
        if decision.outcome == Outcome.INCOMPLETE:
            return proof_in_words(decision.needs)
        by_id = self.decider.rules.by_id
        spoken = [line.say for name in decision.lines if (line := by_id.get(name)) and line.say]
        if spoken:
            return " ".join(spoken)
        for name in decision.lines:
            line = by_id.get(name)
            if isinstance(line, CeilingLine) and limit_of(self.decider.rules, line)(self.request) is None:
                return "I cannot see the bill for this purchase."
            sentence = _SAY.get(name) or _SAY.get(type(line))
            if sentence:
                return sentence
        return "our rules do not allow it."

    def tell_employee(self, decision: Decision) -> str:
        """What to do now, in one or two sentences."""
        match decision.outcome:
            case Outcome.APPROVE:
                amount = f"{decision.amount} as " if decision.amount.minor else ""
                return f"Settle it now: give {amount}{in_words(self.request.remedy)}."
            case Outcome.INCOMPLETE:
                return f"Ask for {proof_in_words(decision.needs)}; then it can be decided."
            case Outcome.ESCALATE:
                now = f"Ask {self._whom(decision)}."
            case Outcome.DENY:
                now = "This cannot be given."
        return " ".join(filter(None, (now, self._instead(decision))))

    def _whom(self, decision: Decision) -> str:
        another = "another" if decision.to == self.request.role else "the"
        within = self.decider.policy.escalation.answer_within.get(decision.to or "")
        time = f", who answers within {duration(within)}" if within else ""
        second = f"; a second person must agree: {in_words(decision.second)} or above" if decision.second else ""
        return f"{another} {in_words(decision.to or '')}{time}{second}"

    def _instead(self, decision: Decision) -> str:
        """What can be given at once: less of it, or something else."""
        most = decision.grantable_now
        if most is not None and most.minor:
            return f"You may give up to {most} of it now."
        other = next((other for other in decision.alternatives if other.up_to is None or other.up_to.minor), None)
        if other is None:
            return ""
        return f"You may give {in_words(other.remedy)}{f' up to {other.up_to}' if other.up_to else ''} now."


def _row(row: str) -> str:
    return "in all" if row == "total" else in_words(row)
