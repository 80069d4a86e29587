"""What would let the requester settle it: the nearest change in each single dimension, everything else as it is.

A candidate is a value next to an edge of the request's cell. Each is decided again, so what is said is true.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from recovery_engine.errors import InvalidRequest
from recovery_engine.model import GOODWILL, Decision, Flip, Outcome, RecoveryRequest, Usage
from recovery_engine.money import MAX_MINOR, Money, format_minor
from recovery_engine.phrases import proof_in_words
from recovery_engine.policy.schema import CeilingLine, OwedLine, Policy
from recovery_engine.rules.cells import Meter
from recovery_engine.rules.readings import ceiling_sum, had_of, number_of, on_case


class Decider(Protocol):
    """A policy ready to decide; ``rules`` is the policy with the owed lines that count."""

    policy: Policy
    rules: Policy

    def decide(self, request: RecoveryRequest, usage: Usage) -> Decision: ...
    def where(self, line: str) -> str: ...


class Seat(Protocol):
    """What is read about a request, and the rank of the requester."""

    meters: tuple[Meter, ...]
    rank: int


@dataclass(slots=True)
class Flipper:
    """Looks for flips of one decision."""

    decider: Decider
    seat: Seat
    request: RecoveryRequest
    usage: Usage

    def flips(self, decision: Decision) -> Iterator[Flip]:
        """Amount and proof first: they are what an employee can change. Then what would have to be otherwise."""
        yield from self._amount(decision.grantable_now)
        if decision.needs and self._approves(**self._with_proof(decision.needs)):
            yield Flip("evidence", f"with {proof_in_words(decision.needs)}")
        facts = self.decider.rules.facts
        for name in ("bill", *(name for name, fact in facts.items() if fact.kind in ("number", "money"))):
            yield from self._number(name)
        for name in (
            "category",
            "severity",
            *(name for name, fact in facts.items() if fact.kind in ("flag", "one_of")),
        ):
            yield from self._word(name)

    def _amount(self, most: Money | None) -> Iterator[Flip]:
        if most is not None and 0 < most.minor < self.request.amount.minor:
            below = [Money(minor, most.currency) for minor in self._edges_below(most.minor)]
            all_below = all(self._approves(amount=amount) for amount in below)
            yield Flip("amount", f"{most} or less" if all_below else str(most))
        elif self.request.amount.minor and self._approves(amount=replace(self.request.amount, minor=0)):
            yield Flip("amount", f"{replace(self.request.amount, minor=0)}, at no cost")

    def _edges_below(self, most: int) -> list[int]:
        """An amount in every band below *most*."""
        amount, edges = self.request.amount.minor, {1}
        for meter in self.seat.meters:
            if meter.key[0] in ("sum", "slack", "budget", "due"):
                sign = -1 if meter.key[0] in ("slack", "due") else 1
                value = meter.read(amount, self.request, self.usage) or 0
                steps = [sign * (cut - value) for cut in meter.cuts]
                edges |= {amount + step + one for step in steps for one in (-1, 0, 1)}
        return [edge for edge in edges if 0 < edge <= most]

    # --- numbers ---

    def _number(self, name: str) -> Iterator[Flip]:
        """The nearest value below, and the nearest above, that would do."""
        is_money = self.decider.rules.words.is_money(name)
        lowest = 0 if is_money else -MAX_MINOR
        candidates = sorted({value for value in self._edges(name) if lowest <= value <= MAX_MINOR})
        now = number_of(self.decider.rules, name)(self.request)
        if now is None:
            yield from self._nearest(name, candidates, "or more", is_money)
        else:
            below = [value for value in reversed(candidates) if value < now]
            above = [value for value in candidates if value > now]
            yield from self._nearest(name, below, "or less", is_money)
            yield from self._nearest(name, above, "or more", is_money)

    def _nearest(self, name: str, values: list[int], onward: str, is_money: bool) -> Iterator[Flip]:
        """The first of these values that would do, and whether all after it would do too."""
        good = [self._approves_number(name, value, is_money) for value in values]
        if True in good:
            first = good.index(True)
            shown = format_minor(values[first], self.decider.policy.currency) if is_money else str(values[first])
            yield Flip(name, f"{shown} {onward}" if all(good[first:]) else shown)

    def _edges(self, name: str) -> Iterator[int]:
        """The values on both sides of every edge of this number, where lines compare it or a limit depends on it."""
        for meter in self.seat.meters:
            if meter.key == ("number", name):
                yield from (value for cut in meter.cuts for value in (cut, cut + 1))
        rules = self.decider.rules
        lines: Iterable[CeilingLine | OwedLine] = rules.ceilings if self.request.basis == GOODWILL else rules.owed
        for line in lines:
            needed = self._needed(line)
            if line.of == name and line.percent:
                half = 5000 if isinstance(line, OwedLine) else 0  # what is owed is rounded half up
                edge = -(-(10000 * needed - half) // line.percent)
                yield from (edge - 1, edge)
            if line.per == name and line.each:
                edge = -(-needed // line.each)
                yield from (edge - 1, edge)

    def _needed(self, line: CeilingLine | OwedLine) -> int:
        """What a ceiling would have to allow, or an owed line to give, for this grant."""
        if isinstance(line, CeilingLine):
            _, remedies, basis = ceiling_sum(line)
            return self.request.amount.minor + on_case(self.usage, remedies, basis)
        return self.request.amount.minor + had_of(line, self.usage)

    def _approves_number(self, name: str, value: int, is_money: bool) -> bool:
        given = Money(value, self.decider.policy.currency) if is_money else value
        if name == "bill":
            return self._approves(bill=given)
        return self._approves(facts={**self.request.facts, name: given})

    # --- words ---

    def _word(self, name: str) -> Iterator[Flip]:
        known = self.decider.rules.words
        given = getattr(self.request, name) if name in ("category", "severity") else self.request.facts.get(name)
        now = known.facts[name].default if given is None and name in known.facts else given
        words: tuple[str | bool, ...] = (True, False) if known.is_flag(name) else known.known(name) or ()
        good = [word for word in words if word != now and self._approves(**self._with(name, word))]
        if good:
            yield Flip(name, " or ".join(str(word).lower() if isinstance(word, bool) else word for word in good))

    def _with(self, name: str, word: str | bool) -> dict[str, object]:
        return {name: word} if name in ("category", "severity") else {"facts": {**self.request.facts, name: word}}

    def _approves(self, **changes: object) -> bool:
        try:
            request = replace(self.request, **changes)  # type: ignore[arg-type]
            return self.decider.decide(request, self.usage).outcome == Outcome.APPROVE
        except InvalidRequest:
            return False

    def _with_proof(self, needs: tuple[str, ...]) -> dict[str, object]:
        """The proof that is missing, on file; one reason code of the category is as good as another."""
        codes = self.decider.policy.reason_codes.get(self.request.category or "", ())
        evidence = frozenset(self.request.evidence) | {item for item in needs if item not in ("note", "reason")}
        changes: dict[str, object] = {"evidence": evidence}
        if "note" in needs:
            changes["note"] = "on file"
        if "reason" in needs and codes:
            changes["reason"] = codes[0]
        return changes
