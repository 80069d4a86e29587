"""From YAML text to a Policy, or to every mistake in it, each with its place, a caret and a cure."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from recovery_engine.errors import Diagnostic, did_you_mean
from recovery_engine.model import FAULT, NOBODY_GIVES, NOTHING_OWED, REASON_CODES
from recovery_engine.money import CURRENCIES
from recovery_engine.policy import schema
from recovery_engine.policy.declared import SAME, UNLIMITED, Cell
from recovery_engine.policy.fields import KEY, Place
from recovery_engine.policy.layers import (
    ADDED_TO,
    UNUSABLE_PARENT,
    Layer,
    apart,
    laid_over,
    lay_over,
    words_over,
)
from recovery_engine.policy.schema import SECTIONS, Policy
from recovery_engine.policy.tree import Source, read_tree
from recovery_engine.policy.words import BUILT_IN, Fact, Problem, Words, as_list

Widening = Callable[[Policy], tuple[str, Problem] | None]
"""Why a policy may not be used with the one it extends, and the id of the line to blame, or ""."""


def check_text(
    text: str, file: str, below: Sequence[Layer] = (), widening: Widening | None = None
) -> tuple[Policy | None, tuple[Diagnostic, ...]]:
    """The policy, unless it has an error, and all diagnostics in the order of the file, warnings too.

    *below* is what it extends, nearest first, where the text does not hold that itself.
    """
    text, kept = apart(text)
    source, below = Source(file), kept or below
    tree = read_tree(text, source)
    policy, of_parents = None, tuple[Diagnostic, ...]()
    if tree is not None and isinstance(tree.get("extends"), str):
        parent, of_parents = _read_parent(str(tree["extends"]), source, below, widening)
        if parent is not None:
            policy = _read_policy(tree, source, parent, widening)
    elif tree is not None:
        policy = _read_policy(tree, source)
    diagnostics = (*sorted(dict.fromkeys(source.found), key=lambda found: (found.line, found.column)), *of_parents)
    if any(diagnostic.level == "error" for diagnostic in diagnostics):
        return None, diagnostics
    return policy, diagnostics


def sources_of(text: str, file: str, below: Sequence[Layer] = ()) -> tuple[Source, ...]:
    """Where everything stands in a policy's text, and in those of what it extends, nearest first."""
    text, kept = apart(text)
    sources = []
    for name, layer in ((file, text), *(kept or below)):
        if isinstance(layer, str):
            sources.append(Source(name))
            read_tree(layer, sources[-1])
    return tuple(sources)


def _read_parent(
    named: str, source: Source, below: Sequence[Layer], widening: Widening | None
) -> tuple[Policy | None, tuple[Diagnostic, ...]]:
    """The policy that a policy extends, or every mistake in it."""
    file, text = below[0] if below else ("", _NOT_READ)
    if isinstance(text, Problem):
        source.add_at(("extends",), text)
        return None, ()
    parent, diagnostics = check_text(text, file or named, below[1:], widening)
    errors = tuple(found for found in diagnostics if found.level == "error")
    if errors:
        message = f"`{named}`, which it extends, cannot be used: {len(errors)} error{'s' if len(errors) > 1 else ''}"
        source.add_at(("extends",), Problem(UNUSABLE_PARENT, message, "mend that policy first"))
    return parent, errors


_NOT_READ = Problem(
    UNUSABLE_PARENT, "what it extends was not read with it", "read the policy from its file: `load_policy(path)`"
)


def file_digest(text: str) -> str:
    """SHA-256 (hex) of the file's bytes, comments and all; a dropped promise shows here."""
    return hashlib.sha256(text.encode()).hexdigest()


def _read_policy(
    tree: dict[str, Any], source: Source, parent: Policy | None = None, widening: Widening | None = None
) -> Policy | None:
    given = frozenset(tree)
    if parent is not None:
        lay_over(tree, source, parent)
    _name_lines(tree, parent)
    _check_ids(tree, source, parent)
    _drop_blanks(tree, source)
    if parent is None and not source.lost and not tree.get("authority") and not tree.get("owed"):
        cure = "add `authority:` with a line such as `- up_to: {total: [100, 250, 500]}`"
        source.add_at((), Problem("RP005", "nobody may give anything", cure))
    words = _words(tree)
    try:
        policy = Policy.model_validate(tree, context=words if parent is None else words_over(parent, words))
    except ValidationError as error:
        for detail in error.errors():
            place, problem = _place_and_problem(detail)
            if not _is_due_to_a_lost_block(problem, source.lost):
                source.add_at(place, problem)
        return None
    if parent is not None:
        policy = laid_over(parent, policy, given)
        _move_down(source, parent)
    for place, problem in _same_without_before(policy):
        source.add_at(place, problem)
    for place, problem in (
        *_cells_above_total(policy, source),
        *_never_fitting(policy),
        *_same_after_conditions(policy),
        *_falling(policy),
    ):
        if place[:2] in source.places:  # not in a line of the parent
            source.warn_at(place, problem)
    policy._file = source.file
    policy._places.update((name, f"{source.file}:{line}") for name, line in _lines_of(policy, source))
    usable = all(found.level == "warning" for found in source.found)
    if widening is not None and usable and (found := widening(policy)):
        source.add_at(_place_of(policy, found[0]), found[1])
    return policy


def _move_down(source: Source, parent: Policy) -> None:
    """The places of a policy's own lines, counted with the parent's before them."""

    def moved(place: Place) -> Place:
        if len(place) > 1 and place[0] in ADDED_TO and isinstance(place[1], int):
            return (place[0], place[1] + len(getattr(parent, str(place[0]))), *place[2:])
        return place

    source.places = {moved(place): span for place, span in source.places.items()}


def _place_of(policy: Policy, line: str) -> Place:
    for section in SECTIONS:
        ids = [each.id for each in getattr(policy, section)]
        if line in ids:
            return section, ids.index(line)
    return ("extends",)


_MADE_BY_LOSS = (
    ("unknown name", {"facts"}),
    ("is not", {"facts"}),
    ("unknown line", set(SECTIONS)),
    ("unknown budget", {"budgets"}),
    ("unknown group", {"sites"}),
    ("is missing", set(Policy.model_fields)),
)


def _is_due_to_a_lost_block(problem: Problem, lost: set[str]) -> bool:
    """A block that could not be read is not missing, and what it names is not unknown."""
    return problem.code in ("RP003", "RP005") and any(
        words in problem.message and blocks & lost for words, blocks in _MADE_BY_LOSS
    )


def _lines_of(policy: Policy, source: Source) -> Iterator[tuple[str, int]]:
    """The line in the file of everything that a decision or a test result names."""
    places: dict[str, Place] = {f"tests-{index + 1}": ("tests", index) for index in range(len(policy.tests))}
    for section in ADDED_TO:
        places |= {line.id: (section, index) for index, line in enumerate(getattr(policy, section))}
    places |= {NOBODY_GIVES: ("authority", KEY), NOTHING_OWED: ("owed", KEY)}
    places |= {block: (block, KEY) for block in (REASON_CODES, "extends")}
    yield from ((name, source.line_of(place)) for name, place in places.items() if place in source.places)


# --- ids and words ----------------------------------------------------------------------------------------------------


def _items(tree: dict[str, Any], section: str) -> Iterator[tuple[int, dict[str, Any]]]:
    items = tree.get(section)
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            yield index, item


def _name_lines(tree: dict[str, Any], parent: Policy | None) -> None:
    """Give every line without an id the one it has by its place, after the parent's: ``authority-1``."""
    for section in ADDED_TO:
        before = 0 if parent is None else len(getattr(parent, section))
        for index, item in _items(tree, section):
            item.setdefault("id", f"{section}-{before + index + 1}")


def _drop_blanks(tree: dict[str, Any], source: Source) -> None:
    """Report every key that may be left out but stands there with nothing in it."""
    items: list[tuple[Place, dict[str, Any], Any]] = [((), tree, Policy)]
    for name, model in _MODELS.items():
        items += [((name, index), item, model) for index, item in _items(tree, name)]
        if isinstance(block := tree.get(name), dict):
            items.append(((name,), block, model))
    for place, item, model in items:
        for name, field in model.model_fields.items():
            key = field.alias or name
            if key in item and item[key] is None and not field.is_required():
                cure = (
                    "write a value or leave the key out; if a comma ended the value before it, put that one in quotes"
                )
                source.add_at((*place, key, KEY), Problem("RP007", f"a blank where the value of `{key}` belongs", cure))
                del item[key]


def _check_ids(tree: dict[str, Any], source: Source, parent: Policy | None) -> None:
    first: dict[str, str] = {}
    if parent is not None:
        ids = (*parent.by_id, *(promise.id for promise in parent.promises))
        first = {name: f"in {parent.where(name)}" for name in ids}
    for section in ADDED_TO:
        for index, item in _items(tree, section):
            name, place = item["id"], (section, index, "id")
            if not isinstance(name, str):
                continue
            if name in first:
                cure = f"the first is {first[name]}"
                source.add_at(place, Problem("RP008", f"the id `{name}` stands twice", cure))
            if name in (NOBODY_GIVES, NOTHING_OWED, REASON_CODES, FAULT):
                source.add_at(place, Problem("RP012", f"the id `{name}` has a meaning of its own", "choose another"))
            first.setdefault(name, f"in line {source.line_of((section, index))}")
    named: dict[str, int] = {}
    for index, item in _items(tree, "tests"):
        name = item.get("name")
        if isinstance(name, str):
            if name in named:
                problem = Problem("RP008", "two tests have this name", f"the first is in line {named[name]}")
                source.add_at(("tests", index, "name"), problem)
            named.setdefault(name, source.line_of(("tests", index)))


def _words(tree: dict[str, Any]) -> Words:
    """The words as far as they can be read: a broken list must not make every use of its words look wrong."""
    currency = tree.get("currency")
    ids = [(section, item["id"]) for section in SECTIONS for _, item in _items(tree, section)]
    return Words(
        currency=currency if isinstance(currency, str) and currency in CURRENCIES else "USD",
        ladder=_texts(tree.get("ladder")),
        remedies=_texts(tree.get("remedies")),
        categories=_texts(tree.get("categories")),
        severities=_texts(tree.get("severities")),
        sites=_groups(tree.get("sites")),
        facts=_facts(tree.get("facts")),
        line_ids=frozenset(line for _, line in ids if isinstance(line, str)),
        budget_ids=frozenset(line for section, line in ids if section == "budgets" and isinstance(line, str)),
    )


def _texts(raw: Any) -> tuple[str, ...] | None:
    items = as_list(raw)
    texts = tuple(item for item in items if isinstance(item, str))
    return texts if texts and len(texts) == len(items) else None


def _groups(raw: Any) -> dict[str, tuple[str, ...]] | None:
    groups = raw if isinstance(raw, dict) else {} if raw is None else {"all_sites": raw}
    return {group: _texts(sites) or () for group, sites in groups.items()} or None


def _facts(raw: Any) -> dict[str, Fact]:
    facts: dict[str, Fact] = {}
    for name, declaration in raw.items() if isinstance(raw, dict) else ():
        if name in BUILT_IN:
            continue
        given = declaration if isinstance(declaration, dict) else {}
        kind = next((kind for kind in ("flag", "number", "money") if kind in given), "one_of")
        facts[name] = Fact(kind, _texts(given.get("one_of")) or ())  # type: ignore[arg-type]
    return facts


# --- pydantic's errors in our words -----------------------------------------------------------------------------------

_MODELS: dict[str, Any] = {
    "authority": schema.AuthorityLine,
    "ceilings": schema.CeilingLine,
    "budgets": schema.BudgetLine,
    "owed": schema.OwedLine,
    "deny": schema.DenyLine,
    "requires": schema.RequiresLine,
    "four_eyes": schema.FourEyesLine,
    "someone_else": schema.SomeoneElseLine,
    "promises": schema.Promise,
    "tests": schema.Example,
    "escalation": schema.Escalation,
    "effective": schema.Effective,
}
_SHAPES = {
    "tuple_type": ("a list", "write lines that begin with `- `, or leave the key out"),
}


def _place_and_problem(detail: Any) -> tuple[Place, Problem]:
    place, kind, raw = tuple(detail["loc"]), detail["type"], detail["input"]
    if kind.startswith("RP"):
        return place, Problem(kind, detail["ctx"]["message"], detail["ctx"]["help"])
    if kind == "missing":
        return place[:-1], Problem("RP005", f"`{place[-1]}` is missing", f"add `{place[-1]}: ...`")
    if kind == "extra_forbidden":
        model = Policy if len(place) == 1 else _MODELS.get(str(place[0]), Policy)
        cure = did_you_mean(str(place[-1]), [known.alias or name for name, known in model.model_fields.items()])
        if raw is None and len(place) > 1:
            cure = "a comma ended the value before it: put that value in quotes"
        return (*place, KEY), Problem("RP004", f"unknown key `{place[-1]}`", cure)
    wanted, cure = _SHAPES.get(kind, ("a mapping", "write `key: value` pairs"))
    found = "a blank" if raw is None else "a text" if isinstance(raw, str) else "something else"
    return place, Problem("RP007", f"{found} where {wanted} belongs", cure)


# --- what only the whole shows ----------------------------------------------------------------------------------------


def _same_without_before(policy: Policy) -> Iterator[tuple[Place, Problem]]:
    """`same` repeats what an earlier line has for the row; without one, only `total` counts, and must be there."""
    seen: set[str] = set()
    for index, line in enumerate(policy.authority):
        for row, cells in line.up_to.items():
            if SAME in cells and row not in seen and (row == "total" or "total" not in seen | set(line.up_to)):
                message = f"`same`, but no earlier line has a row `{row}`{'' if row == 'total' else ' or `total`'}"
                place = ("authority", index, "up_to", row, cells.index(SAME))
                yield place, Problem("RP012", message, "write the amount")
        seen |= set(line.up_to)


def _cells_above_total(policy: Policy, source: Source) -> Iterator[tuple[Place, Problem]]:
    """A remedy cell above the total in force with it: the total will stop it first."""
    totals: tuple[Cell, ...] = ()
    for index, line in enumerate(policy.authority):
        if "total" in line.up_to:
            own = line.up_to["total"]
            totals = tuple(totals[at] if cell == SAME and totals else cell for at, cell in enumerate(own))
        for row, cells in line.up_to.items():
            for at, (cell, total) in enumerate(zip(cells, totals, strict=False)):
                if row != "total" and SAME not in (cell, total) and _size(cell) > _size(total):
                    message = f"`{row}` gives {policy.ladder[at]} more than the total in force with it"
                    cure = "the total stops it first: lower this cell or raise the total"
                    place: Place = ("authority", index, "up_to", row)
                    by_role = (*place, policy.ladder[at])
                    yield by_role if by_role in source.places else (*place, at), Problem("RP020", message, cure)


def _never_fitting(policy: Policy) -> Iterator[tuple[Place, Problem]]:
    """Lines that bind goodwill only, for what is owed only."""
    for section in ("ceilings", "four_eyes"):
        for index, line in enumerate(getattr(policy, section)):
            if line.when.words.get("basis") == ("owed",):
                cure = "delete the line, or write the limit into the `owed` line"
                yield (section, index), Problem("RP021", f"`{line.id}` never fits: it does not bind what is owed", cure)


def _same_after_conditions(policy: Policy) -> Iterator[tuple[Place, Problem]]:
    """A total that says `same` where every earlier total has conditions: elsewhere there is no total at all."""
    always = False
    for index, line in enumerate(policy.authority):
        total = line.up_to.get("total", ())
        if SAME in total and not always:
            message = "`same`, but every earlier `total` has conditions: where they do not hold, there is no total"
            place = ("authority", index, "up_to", "total", total.index(SAME))
            yield place, Problem("RP022", message, "write the amount, or put a line without conditions first")
        always = always or (bool(total) and SAME not in total and line.when == schema.ANYTHING and line.unless is None)


def _falling(policy: Policy) -> Iterator[tuple[Place, Problem]]:
    """A row in which a higher role may give less than a lower one."""
    for index, line in enumerate(policy.authority):
        for row, cells in line.up_to.items():
            for at in range(1, len(cells)):
                lower, higher = cells[at - 1], cells[at]
                if SAME not in (lower, higher) and _size(higher) < _size(lower):
                    message = f"{policy.ladder[at]} may give less of `{row}` than {policy.ladder[at - 1]}"
                    place: Place = ("authority", index, "up_to", row)
                    yield (
                        (*place, at),
                        Problem("RP023", message, "limits rise along the ladder: is one of them a slip?"),
                    )


def _size(cell: Cell) -> float:
    return float(cell) if isinstance(cell, int) else float("inf") if cell == UNLIMITED else -1.0
