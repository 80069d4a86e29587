"""Rows decided one by one, the answer to each as it is written out, and what they come to."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import recovery_engine
from recovery_cli.columns import Columns
from recovery_cli.render import Figures, in_words, plain
from recovery_cli.rows import Row
from recovery_engine import Decision, Diagnostic, InvalidRequest, Money, Outcome, Policy, read_request

INVALID = "invalid"
ANSWER = ("outcome", "to", "second", "because", "needs", "grantable_now", "due", "short_by", "tell_customer")


class Answered(NamedTuple):
    """A row, and its decision or the problems with it."""

    row: Row
    decision: Decision | None
    problems: tuple[Diagnostic, ...] = ()


def decide_rows(policy: Policy, rows: Iterable[Row], columns: Columns) -> Iterator[Answered]:
    """Decide each row on its own; a row with problems does not stop the others."""
    for row in rows:
        if row.problem:
            yield Answered(row, None, (Diagnostic("RQ006", "error", "row", row.problem, row.help),))
            continue
        try:
            yield Answered(row, recovery_engine.decide(policy, *read_request(policy, columns.request_parts(row.cells))))
        except InvalidRequest as invalid:
            yield Answered(row, None, invalid.diagnostics)


def answer(answered: Answered) -> dict[str, Any]:
    """The answer to a row, by column of ANSWER. A row with problems has them under ``because``."""
    decision = answered.decision
    if decision is None:
        problems = tuple(_in_one_line(found) for found in answered.problems)
        return dict.fromkeys(ANSWER) | {"outcome": INVALID, "because": problems, "needs": ()}
    most, currency = decision.grantable_now, decision.amount.currency
    short = [reason.short_by for reason in decision.because if reason.what == "amount" and reason.short_by]
    return {
        "outcome": str(decision.outcome),
        "to": decision.to,
        "second": decision.second,
        "because": decision.lines,
        "needs": decision.needs,
        "grantable_now": "unlimited" if most is None else most.decimal,
        "due": decision.due.decimal if decision.due else None,
        "short_by": Money(max(short), currency).decimal if short else None,
        "tell_customer": decision.tell_customer,
    }


def _in_one_line(found: Diagnostic) -> str:
    return f"{found.where}: {found.message}" + (f" ({found.help})" if found.help else "")


def placed(answered: Answered, source: str) -> list[Diagnostic]:
    """The problems of a row, each with the line of the input it stands on."""
    return [
        replace(found, where=f"{source}:{answered.row.line}", message=f"{found.where}: {found.message}")
        for found in answered.problems
    ]


# --- what they come to ------------------------------------------------------------------------------------------------


class Kind(NamedTuple):
    """Answers that are counted together; ``lines`` only where nobody may."""

    outcome: str
    to: str | None = None
    second: str | None = None
    lines: tuple[str, ...] = ()


@dataclass
class Tally:
    """How many rows got which answer, and how much money they ask for: exact, in minor units."""

    policy: Policy
    rows: Counter[Kind] = field(default_factory=Counter)
    minor: Counter[Kind] = field(default_factory=Counter)
    invalid: int = 0

    def add(self, answered: Answered) -> None:
        """Count one row."""
        decision = answered.decision
        if decision is None:
            self.invalid += 1
            return
        lines = decision.lines if decision.outcome == Outcome.DENY else ()
        kind = Kind(str(decision.outcome), decision.to, decision.second, lines)
        self.rows[kind] += 1
        self.minor[kind] += decision.amount.minor

    @property
    def decided(self) -> int:
        """How many rows were decided."""
        return self.rows.total()

    def money(self, kind: Kind | None = None) -> Money:
        """What was asked for, in one kind of answer or in all."""
        return Money(self.minor.total() if kind is None else self.minor[kind], self.policy.currency)

    def kinds(self) -> list[Kind]:
        """From the spot up the ladder, then what nobody may, then what lacks proof."""
        order = [str(outcome) for outcome in Outcome]
        ladder = list(self.policy.ladder)
        return sorted(
            self.rows, key=lambda kind: (order.index(kind.outcome), ladder.index(kind.to) if kind.to else -1, kind)
        )

    def in_words(self, kind: Kind) -> str:
        """An answer as people say it."""
        match kind.outcome:
            case Outcome.APPROVE:
                return "settled on the spot"
            case Outcome.ESCALATE:
                second = f", and a second person: {in_words(kind.second)}" if kind.second else ""
                return f"to the {in_words(kind.to or '')}{second}"
            case Outcome.INCOMPLETE:
                return "proof is missing"
        above = set(kind.lines) <= {line.id for line in self.policy.authority}
        return f"{'above everybody' if above else 'refused'} (deny, by {', '.join(kind.lines)})"

    def as_table(self) -> Figures:
        """The summary for people."""
        made = Figures("", "requests", "share", "money")
        for kind in self.kinds():
            share = f"{100 * self.rows[kind] / self.decided:.1f} %"
            made.add_row(plain(self.in_words(kind)), f"{self.rows[kind]:,}", share, str(self.money(kind)))
        if self.invalid:
            made.add_row("invalid, not decided", f"{self.invalid:,}", "", "", style="red")
        made.add_row("in all", f"{self.decided + self.invalid:,}", "", str(self.money()), style="bold")
        return made

    def as_dict(self) -> dict[str, object]:
        """The summary for programs; amounts are decimal text."""
        settled = sum(rows for kind, rows in self.rows.items() if kind.outcome == Outcome.APPROVE)
        return {
            "policy": _ref(self.policy),
            "requests": self.decided + self.invalid,
            "decided": self.decided,
            "invalid": self.invalid,
            "currency": self.policy.currency,
            "amount": self.money().decimal,
            "on_the_spot_rate": round(settled / self.decided, 4) if self.decided else None,
            "answers": [
                kind._asdict() | {"requests": self.rows[kind], "amount": self.money(kind).decimal}
                for kind in self.kinds()
            ],
        }


def _ref(policy: Policy) -> dict[str, str]:
    return {"name": policy.ref.name, "version": policy.ref.version, "digest": policy.ref.digest}
