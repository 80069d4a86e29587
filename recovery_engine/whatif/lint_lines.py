"""Checks line by line: what could be left out of a policy, and no request in the world would be decided differently."""

from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import Any, NamedTuple

from recovery_engine.model import Outcome
from recovery_engine.policy.declared import UNLIMITED
from recovery_engine.policy.fields import KEY, Place
from recovery_engine.policy.schema import (
    ANYTHING,
    SECTIONS,
    AuthorityLine,
    BudgetLine,
    Conditions,
    Limit,
    Line,
    OwedLine,
    RequiresLine,
)
from recovery_engine.whatif.lint_desk import Desk, LintFinding
from recovery_engine.whatif.standing import Answer

_LIMITS = ("ceilings", "budgets")


def lines(desk: Desk) -> Iterator[LintFinding]:
    """Lines that change no decision; of the others the parts that change none."""
    for section in SECTIONS:
        for index, line in enumerate(getattr(desk.policy, section)):
            place = desk.named(section, index)
            if desk.same(desk.policy, desk.with_line(section, index, None), place):
                yield _without_effect(desk, section, index, line)
                continue
            if isinstance(line, AuthorityLine):
                yield from _rows(desk, index, line)
            for part in _parts(line):
                place = (section, index, *part.place)
                if desk.same(desk.policy, desk.with_line(section, index, part.without), place):
                    message = f"`{line.id}` decides every request alike without {part.what}"
                    yield desk.finding(part.code, place, message, "leave it out, or write what it was to say")


def _without_effect(desk: Desk, section: str, index: int, line: Line) -> LintFinding:
    masks = " or ".join(f"`{name}`" for name in _masks(desk, section, line))
    code, what = ("RP111", "can never bind") if section in _LIMITS else ("RP110", "changes no decision")
    message = f"`{line.id}` {what}: {f'{masks} masks it' if masks else 'without it every request is decided alike'}"
    spoken = section == "deny" and line.say is not None and masks != ""
    cure = "delete it, or the line that masks it, but not both" if masks else "delete it, or write what it was to say"
    if spoken:
        message += "; what the customer is told may differ"
    return desk.finding(code, desk.named(section, index), message, cure, level="note" if spoken else None)


def _masks(desk: Desk, section: str, line: Line) -> Iterator[str]:
    """The lines without which this one would change a decision."""
    for other in SECTIONS:
        for mask in getattr(desk.policy, other):
            if mask.id != line.id:
                bare = desk.policy.without_line(other, mask.id)
                if desk.difference(bare, bare.without_line(section, line.id), (section,)) is not None:
                    yield mask.id


# --- rows and cells ---------------------------------------------------------------------------------------------------


def _rows(desk: Desk, index: int, line: AuthorityLine) -> Iterator[LintFinding]:
    for row, cells in line.up_to.items():
        place: Place = ("authority", index, "up_to", row, KEY)
        others = {name: its for name, its in line.up_to.items() if name != row}
        if others and desk.same(desk.policy, desk.with_line("authority", index, _with_rows(line, others)), place):
            message = f"the row `{row}` of `{line.id}` changes no decision"
            yield desk.finding("RP112", place, message, "leave it out, or write the limit that was meant")
            continue
        for rank, cell in enumerate(cells):
            if isinstance(cell, int):
                yield from _cell(desk, index, line, row, rank, cell)


def _cell(desk: Desk, index: int, line: AuthorityLine, row: str, rank: int, limit: int) -> Iterator[LintFinding]:
    """A limit that is never reached, because something else always stops the role before; or the end of the ladder."""
    place, role = desk.cell(index, row, rank), desk.policy.ladder[rank]

    def with_cell(cell: int | str) -> Any:
        cells = line.up_to[row]
        changed = _with_rows(line, {**line.up_to, row: (*cells[:rank], cell, *cells[rank + 1 :])})
        return desk.with_line("authority", index, changed)

    if rank == len(desk.policy.ladder) - 1 and limit:
        end = desk.difference(desk.policy, with_cell(UNLIMITED), place, _is_denied)
        if end is not None:
            message = f"`{role}` is the last who may give `{row}`: beyond {desk.money(limit)} it is denied"
            cure = "as it should be where nobody may give more; otherwise write `unlimited`"
            yield desk.finding("RP122", place, message, cure, end.asked(desk.policy))
            return
    if desk.same(desk.policy, with_cell(UNLIMITED), place) and (
        limit == 0 or desk.same(desk.policy, with_cell(limit - 1), place)
    ):
        message = f"`{role}` never gets as far as {desk.money(limit)} of `{row}`: other limits stop it before"
        yield desk.finding("RP112", place, message, "write what the role may really give, or lift the other limits")


def _with_rows(line: AuthorityLine, rows: Mapping[str, Any]) -> AuthorityLine:
    return line.model_copy(update={"up_to": dict(rows)})


def _is_denied(answer: Answer) -> bool:
    return answer.outcome == Outcome.DENY


# --- other parts ------------------------------------------------------------------------------------------------------


class _Part(NamedTuple):
    """What could be left out: a code, its place in the line, its words, and the line without it."""

    code: str
    place: Place
    what: str
    without: Line


def _parts(line: Line) -> Iterator[_Part]:
    def changed(**fields: Any) -> Line:
        return line.model_copy(update=fields)

    if line.unless is not None:
        yield _Part("RP113", ("unless", KEY), "`unless`", changed(unless=None))
    for name, left in _conditions(line.when):
        if not (isinstance(line, BudgetLine) and name == "remedy"):
            yield _Part("RP113", ("when", name, KEY), f"the condition on `{name}`", changed(when=left))
    for name, word, left in _words(line.when):
        if name != "site":  # a group stands for its sites
            yield _Part("RP113", ("when", name), f"`{str(word).lower()}` in `{name}`", changed(when=left))
    for name in ("binds_below", "waivable_by"):
        if getattr(line, name, None) is not None:
            yield _Part("RP113", (name, KEY), f"`{name}`", changed(**{name: None}))
    if isinstance(line, OwedLine) and line.on_top:
        yield _Part("RP113", ("on_top", KEY), "`on_top`", changed(on_top=False))
    if isinstance(line, RequiresLine) and len(line.evidence) + line.note > 1:
        for item in line.evidence:
            others = tuple(other for other in line.evidence if other != item)
            yield _Part("RP113", ("evidence",), f"`{item}`", changed(evidence=others))
        if line.note:
            yield _Part("RP113", ("note", KEY), "`note`", changed(note=False))
    for name, also in _limits(line):
        yield _Part("RP111", (name, KEY), f"`{name}`", changed(**dict.fromkeys((name, *also))))


def _limits(line: Line) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The limits of a line that has several, each with the field that goes with it."""
    several: dict[str, tuple[str, ...]] = {}
    if isinstance(line, Limit):
        several = {"amount": (), "percent": ("of",), "each": ("per",)}
    elif isinstance(line, BudgetLine):
        several = {"amount": (), "times": ()}
    given = {name: also for name, also in several.items() if getattr(line, name) is not None}
    yield from given.items() if len(given) > 1 else ()


def _conditions(asked: Conditions) -> Iterator[tuple[str, Conditions]]:
    for name in asked.names:
        words = {other: its for other, its in asked.words.items() if other != name}
        numbers = {other: its for other, its in asked.numbers.items() if other != name}
        yield name, ANYTHING.model_copy(update={"words": words, "numbers": numbers})


def _words(asked: Conditions) -> Iterator[tuple[str, str | bool, Conditions]]:
    for name, words in asked.words.items():
        for word in words if len(words) > 1 else ():
            left = tuple(other for other in words if other != word)
            yield name, word, asked.model_copy(update={"words": {**asked.words, name: left}})


# --- between two lines ------------------------------------------------------------------------------------------------


def holes(desk: Desk) -> Iterator[LintFinding]:
    """Single values that two lines leave out between them: `under 100` and `over 100`, and nothing for 100."""
    for section in SECTIONS:
        for below, above in permutations(enumerate(getattr(desk.policy, section)), 2):
            for name in below[1].when.numbers:
                for value in _between(below[1].when, above[1].when, name):
                    place: Place = (section, below[0], "when", name, KEY)
                    if not _is_covered(desk, section, name, value) and all(
                        desk.difference(desk.policy, desk.with_line(section, at, _with_value(line, name, value)), place)
                        for at, line in (below, above)
                    ):
                        is_money = name in ("amount", "bill") or desk.policy.words.is_money(name)
                        shown = desk.money(value) if is_money else str(value)
                        message = f"neither `{below[1].id}` nor `{above[1].id}` fits where `{name}` is exactly {shown}"
                        yield desk.finding("RP123", place, message, "write `at most` or `at least` in one of them")


def _between(below: Conditions, above: Conditions, name: str) -> Iterator[int]:
    """The values that lie alone between an end of one and a beginning of the other, where both may fit otherwise."""
    meet = all(set(words) & set(above.words.get(other, words)) for other, words in below.words.items())
    begins = {low for low, _ in above.numbers.get(name, ()) if low is not None}
    for _, high in below.numbers[name] if meet else ():
        if high is not None and high + 2 in begins:
            yield high + 1


def _is_covered(desk: Desk, section: str, name: str, value: int) -> bool:
    intervals = [one for line in getattr(desk.policy, section) for one in line.when.numbers.get(name, ())]
    return any((low is None or low <= value) and (high is None or value <= high) for low, high in intervals)


def _with_value(line: Line, name: str, value: int) -> Line:
    numbers = {**line.when.numbers, name: (*line.when.numbers[name], (value, value))}
    return line.model_copy(update={"when": line.when.model_copy(update={"numbers": numbers})})
