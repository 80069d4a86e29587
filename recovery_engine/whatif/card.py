"""The authority card: a policy on one page, for the terminal and for the wall behind the counter."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from recovery_engine.money import format_minor
from recovery_engine.phrases import (
    but,
    cases_in_words,
    conditions_in_words,
    duration,
    in_words,
    limit_in_words,
    period_in_words,
    required_in_words,
    second_in_words,
    with_conditions,
)
from recovery_engine.policy.declared import SAME, Cell
from recovery_engine.policy.fields import ANYTHING
from recovery_engine.policy.schema import (
    AuthorityLine,
    BudgetLine,
    CeilingLine,
    Line,
    OwedLine,
    Policy,
    RequiresLine,
)

L = TypeVar("L", bound=Line)


@dataclass(frozen=True, slots=True)
class CardTable:
    """What each role may approve alone where ``when`` holds (empty: always). A cell is text; "" means total only."""

    line: str
    when: str
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    why: str = ""


@dataclass(frozen=True, slots=True)
class CardSection:
    """A heading and its sentences, each with the id of its line."""

    heading: str
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Card:
    """A policy on one page: tables of authority by role, lowest first, then everything else in words."""

    policy: str
    version: str
    days: str
    digest: str
    ladder: tuple[str, ...]
    tables: tuple[CardTable, ...]
    sections: tuple[CardSection, ...]


def authority_card(policy: Policy) -> Card:
    """The card of a policy."""
    days = ""
    if policy.effective:
        until = f" until {policy.effective.until}" if policy.effective.until else ""
        days = f"from {policy.effective.from_}{until}"
    sections = tuple(section for section in _sections(policy) if section.lines)
    ladder = tuple(in_words(role) for role in policy.ladder)
    return Card(policy.policy, policy.version or "", days, policy.digest, ladder, tuple(_tables(policy)), sections)


def _tables(policy: Policy) -> Iterator[CardTable]:
    """One table for what always holds, and one for each line with conditions, on top of it."""
    always = [line for line in policy.authority if line.when == ANYTHING and line.unless is None]
    if always:
        yield CardTable(
            always[0].id, "", _rows(policy, always, always), " ".join(line.why for line in always if line.why)
        )
    for line in policy.authority:
        if line not in always:
            together = [other for other in policy.authority if other in always or other is line]
            yield CardTable(line.id, conditions_in_words(policy, line), _rows(policy, together, [line]), line.why or "")


def _rows(
    policy: Policy, lines: list[AuthorityLine], shown: list[AuthorityLine]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    in_force: dict[str, list[Cell | None]] = {}
    for line in lines:
        for row, cells in line.up_to.items():
            before = in_force.get(row, [None] * len(cells))
            in_force[row] = [before[at] if cell == SAME else cell for at, cell in enumerate(cells)]
    named = {row for line in shown for row in line.up_to}
    return tuple(
        ("in all" if row == "total" else in_words(row), tuple(_cell(policy, cell) for cell in cells))
        for row, cells in in_force.items()
        if row in named
    )


def _cell(policy: Policy, cell: Cell | None) -> str:
    match cell:
        case None:
            return ""
        case int():
            return format_minor(cell, policy.currency) if cell else "at no cost"
        case "none":
            return "not at all"
    return "unlimited"


def _sections(policy: Policy) -> Iterator[CardSection]:
    """Everything but authority, in words; lines of one kind under one heading."""

    def money(minor: int) -> str:
        return format_minor(minor, policy.currency)

    def listed(heading: str, lines: tuple[L, ...], say: Callable[[L], str]) -> CardSection:
        return CardSection(heading, tuple((line.id, with_conditions(policy, line, say(line))) for line in lines))

    def ceiling(line: CeilingLine) -> str:
        return f"{limit_in_words(line, money)}{but(line.binds_below, 'may')}"

    def budget(line: BudgetLine) -> str:
        limits = [] if line.amount is None else [money(line.amount)]
        limits += [] if line.times is None else [cases_in_words(line.times)]
        most = f"at most {' and '.join(limits)} {period_in_words(line)} for each {line.per}"
        return f"{most}{but(line.binds_below, 'may go over')}"

    def owed(line: OwedLine) -> str:
        return f"{in_words(line.remedy)}: {limit_in_words(line, money)}"

    def proof(line: RequiresLine) -> str:
        return f"{required_in_words(line)} on file{but(line.waivable_by, 'may do without')}"

    yield listed("Never over", policy.ceilings, ceiling)
    yield listed("In a period", policy.budgets, budget)
    yield listed("Owed: settle it at once", policy.owed, owed)
    yield listed("Never", policy.deny, lambda line: line.say or "not given")
    yield listed("Proof", policy.requires, proof)
    codes = policy.reason_codes.items()
    yield CardSection("Reason codes", tuple((name, f"{in_words(name)}: {', '.join(some)}") for name, some in codes))
    yield listed("Two people agree", policy.four_eyes, lambda line: f"second: {second_in_words(line)}")
    yield listed("Someone else decides", policy.someone_else, lambda line: "another person of the same role")
    yield CardSection("The way up", tuple(_way_up(policy)))


def _way_up(policy: Policy) -> Iterator[tuple[str, str]]:
    escalation = policy.escalation
    for role, seconds in escalation.answer_within.items():
        yield role, f"{in_words(role)} answers within {duration(seconds)}"
    if escalation.fulfil_within:
        within = duration(escalation.fulfil_within)
        yield "fulfil_within", f"what was granted is in the customer's hands within {within}"
