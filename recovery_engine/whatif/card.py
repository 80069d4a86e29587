"""The authority card: a policy on one page, for the terminal and for the wall behind the counter."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from recovery_engine.explain import conditions_in_words, duration, in_words, limit_in_words
from recovery_engine.money import format_minor
from recovery_engine.policy.schema import ANYTHING, SAME, AuthorityLine, BudgetLine, Cell, Line, Policy, RequiresLine


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
    def money(minor: int) -> str:
        return format_minor(minor, policy.currency)

    def listed(heading: str, lines: tuple[Line, ...], say: Callable[[Line], str]) -> CardSection:
        return CardSection(heading, tuple((line.id, _with_conditions(policy, line, say(line))) for line in lines))

    def but(role: str | None, words: str) -> str:
        return f"; {in_words(role)} and above {words}" if role else ""

    def budget(line: BudgetLine) -> str:
        every = f"in {line.every}" if line.every.endswith("days") else f"a {line.every}"
        limits = [money(line.amount)] if line.amount is not None else []
        limits += [f"{line.times} case{'' if line.times == 1 else 's'}"] if line.times is not None else []
        return f"at most {' and '.join(limits)} {every} for each {line.per}{but(line.binds_below, 'may go over')}"

    def requires(line: RequiresLine) -> str:
        items = [in_words(item) for item in line.evidence] + (["a written note"] if line.note else [])
        return f"{' and '.join(items)} on file{but(line.waivable_by, 'may do without')}"

    yield listed(
        "Never over", policy.ceilings, lambda line: f"{limit_in_words(line, money)}{but(line.binds_below, 'may')}"
    )  # type: ignore[arg-type,attr-defined]
    yield listed("In a period", policy.budgets, budget)  # type: ignore[arg-type]
    yield listed(
        "Owed: settle it at once", policy.owed, lambda line: f"{in_words(line.remedy)}: {limit_in_words(line, money)}"
    )  # type: ignore[arg-type,attr-defined]
    yield listed("Never", policy.deny, lambda line: line.say or "not given")
    yield listed("Proof", policy.requires, requires)  # type: ignore[arg-type]
    codes = tuple(
        (category, f"{in_words(category)}: {', '.join(codes)}") for category, codes in policy.reason_codes.items()
    )
    yield CardSection("Reason codes", codes)
    yield listed(
        "Two people agree",
        policy.four_eyes,
        lambda line: f"second: {'the next role' if line.second == 'next_role' else in_words(line.second)} or above",  # type: ignore[attr-defined]
    )
    yield listed("Someone else decides", policy.someone_else, lambda line: "another person of the same role")
    escalation = policy.escalation
    answers = tuple(
        (role, f"{in_words(role)} answers within {duration(seconds)}")
        for role, seconds in escalation.answer_within.items()
    )
    fulfil = (
        (("fulfil_within", f"what was granted is in the customer's hands within {duration(escalation.fulfil_within)}"),)
        if escalation.fulfil_within
        else ()
    )
    yield CardSection("The way up", answers + fulfil)


def _with_conditions(policy: Policy, line: Line, text: str) -> str:
    asked = conditions_in_words(policy, line)
    return f"{text} (where {asked})" if asked else text
