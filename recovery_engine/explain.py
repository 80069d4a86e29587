"""The words of a decision: why, what would change it, what else can be given, and what to tell people.

All of it is worked out only when somebody looks, because a till wants its answer first.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from recovery_engine.errors import InvalidRequest
from recovery_engine.model import (
    FAULT,
    GOODWILL,
    NOBODY_GIVES,
    NOTHING_OWED,
    REASON_CODES,
    Alternative,
    Decision,
    Flip,
    Outcome,
    Reason,
    RecoveryRequest,
    Usage,
)
from recovery_engine.money import MAX_MINOR, Money, format_minor
from recovery_engine.policy.schema import (
    AuthorityLine,
    BudgetLine,
    CeilingLine,
    Conditions,
    DenyLine,
    FourEyesLine,
    Line,
    OwedLine,
    Policy,
    RequiresLine,
)
from recovery_engine.policy.words import Interval
from recovery_engine.rules.cells import Meter
from recovery_engine.rules.fold import Ruling
from recovery_engine.rules.readings import ALL, ceiling_sum, due_of, limit_of, on_case, times_with


class Decider(Protocol):
    """A policy ready to decide; ``rules`` is the policy with the owed lines that count."""

    policy: Policy
    rules: Policy

    def decide(self, request: RecoveryRequest, usage: Usage) -> Decision: ...
    def where(self, line: str) -> str: ...


class Seat(Protocol):
    """What is read about a request."""

    meters: tuple[Meter, ...]
    words: Mapping[str, str | bool | None]
    rank: int


DEFAULT_SENTENCES = {
    "approved": "We are putting this right now: {amount} as {remedy}.",
    "escalated": "I have asked my {role}; you will have an answer within {within}, and need not explain it again.",
    "denied": "I cannot do that, and here is why: {say}",
    "incomplete": "I can go on as soon as I have {say}.",
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


def in_words(name: str) -> str:
    """A role, remedy or fact as people say it: ``area_manager`` is `area manager`."""
    return name.replace("_", " ")


def duration(seconds: int) -> str:
    """``15 minutes``, ``4 hours``: the largest unit that divides it."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds} seconds"


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
        by_id = {line.id: line for line in self.decider.rules.lines()}
        return tuple(self._reason(name, by_id.get(name)) for name in lines)

    def _reason(self, name: str, line: Line | None) -> Reason:
        what, had, limit, text = "", None, None, ""
        match line:
            case AuthorityLine():
                row, had, limit, text = self._authority(line)
                what = "amount" if row else ""
            case CeilingLine():
                _, remedies, basis = ceiling_sum(line)
                what, had = "amount", self._sum(remedies, basis)
                limit = limit_of(self.decider.rules, line)(self.request)
                text = f"{limit_in_words(line, self.money)} is the ceiling" + (
                    f", here {self.money(limit)}; this would make {self.money(had)}"
                    if limit is not None
                    else "; no bill is on file"
                )
            case BudgetLine():
                what, had, limit, text = self._budget(line)
            case OwedLine():
                due = max(0, due_of(self.decider.rules, line)(self.request, self.usage))
                what, had, limit = "amount", self.request.amount.minor, due
                text = f"{limit_in_words(line, self.money)} is owed; {self.money(due)} of it is still due"
            case RequiresLine():
                proof = [*line.evidence, *(["a note"] if line.note else [])]
                waivable = f"; {in_words(line.waivable_by)} and above may do without" if line.waivable_by else ""
                text = f"{' and '.join(in_words(item) for item in proof)} must be on file{waivable}"
            case FourEyesLine():
                second = "the next role" if line.second == "next_role" else in_words(line.second)
                text = f"a second, different person must agree: {second} or above"
            case DenyLine():
                text = line.say or "never given"
            case None:
                text = self._without_line(name)
            case _:
                text = "the requester may not decide; another person of the same role may"
        if line is not None:
            asked = conditions_in_words(self.decider.rules, line)
            text = f"{text} (where {asked})" if asked else text
            text = f"{text}. {line.why}" if line.why else text
        return Reason(name, what, had, limit, self.decider.where(name), text)

    def _authority(self, line: AuthorityLine) -> tuple[str, int | None, int | None, str]:
        """The row of the line that counts here: of those that stop, the one furthest exceeded."""
        role = self.decider.policy.ladder[self.seat.rank]
        stopped = [stop.row for stop in self.ruling.stops if stop.line == line.id and stop.row]
        if self.ruling.outcome in (Outcome.DENY, Outcome.INCOMPLETE):
            role = self.decider.policy.ladder[-1]
        rows = stopped or [cap.row for cap in self.ruling.caps if cap.line == line.id and cap.row]
        found: list[tuple[int, str, int, int]] = []
        for row in rows:
            cell = line.up_to[row][self.decider.policy.rank(role)]
            if not isinstance(cell, int):
                if cell == "none":
                    return row, None, None, f"{in_words(role)} may not give {self._row(row)}"
                continue
            had = self._sum(ALL if row == "total" else (row,), GOODWILL)
            found.append((had - cell, row, had, cell))
        if not found:
            return "", None, None, f"{in_words(role)} may approve this without limit"
        _, row, had, cell = max(found)
        limit = self.money(cell) if cell else "nothing that costs"
        return (
            row,
            had,
            cell,
            f"{in_words(role)} may approve {limit} for one case ({self._row(row)}); this would make {self.money(had)}",
        )

    def _row(self, row: str) -> str:
        return "in all" if row == "total" else in_words(row)

    def _budget(self, line: BudgetLine) -> tuple[str, int, int, str]:
        per = {"employee": "one employee", "customer": "one customer", "site": "the site"}.get(
            line.per, "the organisation"
        )
        period = f"in {line.every}" if line.every.endswith("days") else f"a {line.every}"
        times = times_with(line, self.usage)
        if line.times is not None and times > line.times:
            cases = "case" if line.times == 1 else "cases"
            return "times", times, line.times, f"{line.times} {cases} {period} for {per}; this would be number {times}"
        used = self.usage.used.get(line.id)
        had, limit = (used.amount if used else 0) + self.request.amount.minor, line.amount or 0
        return "amount", had, limit, f"{self.money(limit)} {period} for {per}; this would make {self.money(had)}"

    def _without_line(self, name: str) -> str:
        if name == NOBODY_GIVES:
            return f"no line says who may give {in_words(self.request.remedy)}"
        if name == NOTHING_OWED:
            return "nothing is owed here"
        if name == REASON_CODES:
            codes = self.decider.policy.reason_codes.get(self.request.category or "", ())
            return f"{self.request.category} needs a reason code: {', '.join(codes)}"
        return "the rule engine could not be trusted here, so it goes to the top; the fault should be reported"

    def _sum(self, remedies: tuple[str, ...], basis: str) -> int:
        amount = self.request.amount.minor
        return amount and amount + on_case(self.usage, remedies, basis)

    def money(self, minor: int | None) -> str:
        """An amount in the policy's currency, for people."""
        return "no amount" if minor is None else format_minor(minor, self.decider.policy.currency)

    # --- what would change it ---

    def flip(self, decision: Decision) -> tuple[Flip, ...]:
        """Each single dimension in which some value would let the requester settle it, with the exact edge."""
        if decision.outcome == Outcome.APPROVE or FAULT in decision.lines:
            return ()
        return tuple(self._flips(decision))

    def _flips(self, decision: Decision) -> Iterator[Flip]:
        most = decision.grantable_now
        if most is not None and 0 < most.minor < self.request.amount.minor:
            all_below = all(
                self._approves(amount=replace(most, minor=minor)) for minor in self._edges_below(most.minor)
            )
            yield Flip("amount", f"{most} or less" if all_below else str(most))
        elif self._approves(amount=replace(self.request.amount, minor=0)):
            yield Flip("amount", "nothing: at no cost")
        if decision.needs and self._approves(**_with_proof(self.request, decision.needs)):
            yield Flip("evidence", "with " + ", ".join(in_words(item) for item in decision.needs))
        for meter in self.seat.meters:
            if meter.key[0] == "number":
                yield from self._number_flip(str(meter.key[1]), meter.cuts)
        if "bill" not in (meter.key[1] for meter in self.seat.meters if meter.key[0] == "number"):
            yield from self._number_flip("bill", ())
        for name in ("category", "severity", *self.decider.rules.facts):
            yield from self._word_flip(name)

    def _edges_below(self, most: int) -> list[int]:
        """Amounts in every band below *most*."""
        amount = self.request.amount.minor
        edges = {1}
        for meter in self.seat.meters:
            if meter.key[0] in ("sum", "slack", "budget", "due"):
                value = meter.read(amount, self.request, self.usage) or 0
                sign = -1 if meter.key[0] in ("slack", "due") else 1
                edges |= {
                    edge
                    for cut in meter.cuts
                    for edge in (amount + sign * (cut - value), amount + sign * (cut - value) + 1)
                }
        return [edge for edge in edges if 0 < edge <= most]

    def _number_flip(self, name: str, cuts: tuple[int, ...]) -> Iterator[Flip]:
        """The nearest values of a number, below and above, that would do."""
        is_money = self.decider.rules.words.is_money(name)
        raw = self.request.bill if name == "bill" else self.request.facts.get(name)
        now = raw.minor if isinstance(raw, Money) else raw
        candidates = {value for cut in cuts for value in (cut, cut + 1)} | set(self._ratio_edges(name))
        if is_money:
            candidates = {value for value in candidates if 0 <= value <= MAX_MINOR}
        below = [value for value in candidates if isinstance(now, int) and value < now]
        above = [value for value in candidates if not isinstance(now, int) or value > now]
        for values, word in ((sorted(below, reverse=True), "or less"), (sorted(above), "or more")):
            good = next((value for value in values if self._approves_number(name, value, is_money)), None)
            if good is not None:
                shown = self.money(good) if is_money else str(good)
                outermost = all(
                    self._approves_number(name, value, is_money)
                    for value in values
                    if (value > good) == (word == "or more")
                )
                yield Flip(name, f"{shown} {word}" if outermost else shown)

    def _ratio_edges(self, name: str) -> Iterator[int]:
        """The values of a bill, money or number fact at which a ceiling or what is owed just suffices."""
        rules, basis = self.decider.rules, self.request.basis
        for line in rules.ceilings if basis == GOODWILL else rules.owed:
            if isinstance(line, CeilingLine):
                _, remedies, of_basis = ceiling_sum(line)
                needed = self._sum(remedies, of_basis)
            else:
                needed = (
                    self.request.amount.minor
                    + (limit_of(rules, line)(self.request) or 0)
                    - due_of(rules, line)(self.request, self.usage)
                )
            if line.of == name and line.percent:
                yield from (-(-needed * 10000 // line.percent) + step for step in (-1, 0))
            if line.per == name and line.each:
                yield -(-needed // line.each)

    def _approves_number(self, name: str, value: int, is_money: bool) -> bool:
        given = Money(value, self.decider.policy.currency) if is_money else value
        if name == "bill":
            return self._approves(bill=given)
        return self._approves(facts={**self.request.facts, name: given})

    def _word_flip(self, name: str) -> Iterator[Flip]:
        rules = self.decider.rules
        if name not in self.seat.words:
            return
        words: tuple[str | bool, ...] = (True, False) if rules.words.is_flag(name) else rules.words.known(name) or ()
        now, good = self.seat.words[name], []
        for word in words:
            change = {name: word} if name in ("category", "severity") else {"facts": {**self.request.facts, name: word}}
            if word != now and self._approves(**change):
                good.append(str(word).lower() if isinstance(word, bool) else word)
        if good:
            yield Flip(name, " or ".join(good))

    def _approves(self, **changes: object) -> bool:
        try:
            request = replace(self.request, **changes)  # type: ignore[arg-type]
            return self.decider.decide(request, self.usage).outcome == Outcome.APPROVE
        except InvalidRequest:
            return False

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
        outcome, sentences = decision.outcome, self.decider.policy.escalation.tell_customer
        name = {Outcome.APPROVE: "approved", Outcome.ESCALATE: "escalated", Outcome.DENY: "denied"}.get(
            outcome, "incomplete"
        )
        within = self.decider.policy.escalation.answer_within.get(decision.to or "")
        template = sentences.get(name, DEFAULT_SENTENCES[name])
        if name not in sentences:
            if name == "escalated" and within is None:
                template = "I have asked my {role}; you need not explain it again."
            if name == "approved" and not self.request.amount.minor:
                template = "We are putting this right now: {remedy}."
        return template.format(
            role=in_words(decision.to or decision.request.role),
            within=duration(within) if within else "a short while",
            amount=decision.amount,
            remedy=in_words(self.request.remedy),
            say=self._say(decision),
        )

    def _say(self, decision: Decision) -> str:
        if decision.outcome == Outcome.INCOMPLETE:
            return ", ".join(in_words(item) for item in decision.needs)
        by_id = {line.id: line for line in self.decider.rules.lines()}
        spoken = [line.say for name in decision.lines if (line := by_id.get(name)) and line.say]
        if spoken:
            return " ".join(spoken)
        for name in decision.lines:
            sentence = _SAY.get(name) or _SAY.get(type(by_id.get(name)))
            if sentence:
                return sentence
        return "our rules do not allow it."

    def tell_employee(self, decision: Decision) -> str:
        """What to do now, in one sentence."""
        given = (
            f"{decision.amount} as {in_words(self.request.remedy)}"
            if self.request.amount.minor
            else in_words(self.request.remedy)
        )
        match decision.outcome:
            case Outcome.APPROVE:
                return f"Settle it now: give {given}."
            case Outcome.INCOMPLETE:
                return f"Ask for {', '.join(in_words(item) for item in decision.needs)}; then it can be decided."
            case Outcome.ESCALATE:
                role = in_words(decision.to or "")
                another = "another " if decision.to == self.request.role else "the "
                within = self.decider.policy.escalation.answer_within.get(decision.to or "")
                second = (
                    f" A second person must also agree: {in_words(decision.second)} or above."
                    if decision.second
                    else ""
                )
                return f"Ask {another}{role}{f', who answers within {duration(within)}' if within else ''}.{second}"
        return "This cannot be given." + (f" {self._now(decision)}" if self._now(decision) else "")

    def _now(self, decision: Decision) -> str:
        most = decision.grantable_now
        return f"You may give up to {most} of it now." if most is not None and most.minor else ""


def _with_proof(request: RecoveryRequest, needs: tuple[str, ...]) -> dict[str, object]:
    changes: dict[str, object] = {
        "evidence": frozenset(request.evidence) | {item for item in needs if item not in ("note", "reason")}
    }
    if "note" in needs:
        changes["note"] = "on file"
    return changes


# --- lines in words ---------------------------------------------------------------------------------------------------


def limit_in_words(line: CeilingLine | OwedLine, money: object) -> str:
    """``100% of bill``, ``€250.00 each for passengers``."""
    assert callable(money)
    parts = []
    if line.amount is not None:
        parts.append(money(line.amount))
    if line.percent is not None and line.of is not None:
        parts.append(f"{line.percent / 100:g}% of the {in_words(line.of)}")
    if line.each is not None and line.per is not None:
        parts.append(f"{money(line.each)} for each of {in_words(line.per)}")
    return parts[0] if len(parts) == 1 else f"the smaller of {' and '.join(parts)}"


def conditions_in_words(policy: Policy, line: Line) -> str:
    """When the line fits, as a phrase: ``severity is major or critical and not category is safety``."""
    when, unless = _asked(policy, line.when), _asked(policy, line.unless) if line.unless else ""
    if not unless:
        return when
    return f"{when} and not {unless}" if when else f"not {unless}"


def _asked(policy: Policy, asked: Conditions) -> str:
    parts = []
    for name, words in asked.words.items():
        parts.append(f"{in_words(name)} is {_any_of(_groups(policy, name, words))}")
    for name, intervals in asked.numbers.items():
        parts.append(f"{in_words(name)} is {_any_of([_interval(policy, name, interval) for interval in intervals])}")
    return " and ".join(parts)


def _groups(policy: Policy, name: str, words: tuple[str | bool, ...]) -> list[str]:
    """The words; where they are just the sites of a group, its name."""
    for group, sites in (policy.sites or {}).items() if name == "site" else ():
        if set(sites) == set(words):
            return [group]
    return [str(word).lower() if isinstance(word, bool) else in_words(word) for word in words]


def _interval(policy: Policy, name: str, interval: Interval) -> str:
    def shown(value: int) -> str:
        return format_minor(value, policy.currency) if policy.words.is_money(name) else str(value)

    low, high = interval
    if low == high and low is not None:
        return shown(low)
    if high is None:
        return f"at least {shown(low)}" if low is not None else "any"
    return f"at most {shown(high)}" if low is None else f"from {shown(low)} to {shown(high)}"


def _any_of(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"
