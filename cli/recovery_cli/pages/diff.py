"""The diff of two policies as a page: every kind of request that is decided differently, and where it lies in money."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from recovery_cli.asking import what_if_command
from recovery_cli.commands.diff import answer_in_words, shared_phrases
from recovery_cli.pages import charts
from recovery_cli.pages.charts import Box
from recovery_cli.pages.page import (
    Section,
    Tile,
    card,
    chart,
    code,
    coloured,
    listed,
    made,
    note,
    page,
    paragraph,
    table,
    tiles,
)
from recovery_cli.render import count

if TYPE_CHECKING:
    from recovery_engine import Change, Policy, PolicyDiff, PolicyRef

MEANING = {
    "wider": "somebody may more at once, or it goes less far up",
    "narrower": "somebody may less at once, or it goes further up",
    "sideways": "neither, or both",
}
_DRAWN_AT_MOST = 8
_CARDS_AT_MOST = 100


def diff_page(found: "PolicyDiff", policies: "tuple[Policy, Policy]", names: tuple[str, str]) -> str:
    """The page of a diff of two policies, which are called by their names on the command line."""
    sections = [_in_short(found), _changes(found, policies[1], names[1]), _edits(found)]
    return page(
        "Policy diff",
        f"From {names[0]} to {names[1]}",
        _lead(found),
        [section for section in sections if section.parts],
        f"{_version(found.before)} compared with {_version(found.after)}, in {count(found.cells, 'cell')}.",
    )


def _version(ref: "PolicyRef") -> str:
    return f"{ref.name} {ref.version} (policy {ref.digest})"


def _lead(found: "PolicyDiff") -> str:
    if not found.changes:
        said = "No request is decided differently"
        return f"{said}." if found.complete else f"{said}, among those that could be compared; that is not all of them."
    kinds = f"{count(len(found.changes), 'kind')} of requests"
    if not found.complete:
        return f"At least {kinds} are decided differently; not everything could be compared."
    verb = "is" if len(found.changes) == 1 else "are"
    return f"{kinds} {verb} decided differently; every other request there can be is decided as before."


def _in_short(found: "PolicyDiff") -> Section:
    counted = Counter(change.direction for change in found.changes)
    parts = [
        tiles(Tile(direction.capitalize(), f"{counted[direction]:,}", said) for direction, said in MEANING.items())
    ]
    if not found.complete:
        parts.append(
            note("Not complete", paragraph("There is too much to compare: more may change than is shown here."))
        )
    left_out = [
        f"Only the policy {when} knows {', '.join(words)}."
        for when, words in (("before", found.only_before), ("after", found.only_after))
        if words
    ]
    if left_out:
        parts.append(note("Requests with these words are not compared", listed(left_out)))
    return Section("In short", parts)


def _changes(found: "PolicyDiff", policy: "Policy", name: str) -> Section:
    shared = shared_phrases(found.changes)
    boxes = [box for box in (_box(*one, shared) for one in enumerate(found.changes, 1)) if box]
    parts = [paragraph(f"All of them: {', '.join(shared)}.")] if shared else []
    if boxes:
        drawn = boxes[:_DRAWN_AT_MOST]
        more = f" {count(len(boxes) - len(drawn), 'more change')} described below." if len(boxes) > len(drawn) else ""
        rows = [[box.name, " or ".join(_range(range_, policy.currency) for range_ in box.ranges)] for box in boxes]
        parts.append(
            chart(
                "Where the changes lie, in money",
                f"Each bar is the amounts between which the answer changes.{more}",
                charts.boxes("changes", drawn, policy.currency),
                table("Amounts between which the answer changes", ["change", "amounts"], rows, 1),
            )
        )
    for number, change in enumerate(found.changes[:_CARDS_AT_MOST], 1):
        parts.append(_card(number, change, shared, what_if_command(name, *change.witness.asked(policy))))
    if len(found.changes) > _CARDS_AT_MOST:
        left = count(len(found.changes) - _CARDS_AT_MOST, "more change")
        parts.append(paragraph(f"{left} not shown here; --json has every one."))
    return Section("What is decided differently", parts)


def _box(number: int, change: "Change", shared: Sequence[str]) -> Box | None:
    """A change on the axis of money, by that of its sums which says most about it; None where it is about no sum."""
    if not change.sums:
        return None
    what, ranges = max(change.sums, key=lambda one: (one[1][0][0] > 1, one[1][-1][1] is not None))
    others = [phrase for phrase in _own(change, shared) if not phrase.startswith(what)]
    return Box(f"{number} {change.direction}, {what}: {', '.join(others)}".rstrip(": "), ranges, change.direction)


def _own(change: "Change", shared: Sequence[str]) -> list[str]:
    owed = ["what is owed"] if change.basis == "owed" else []
    return owed + [phrase for phrase in change.where if phrase not in shared] or ["every such request"]


def _range(range_: tuple[int, int | None], currency: str) -> str:
    unit, (low, high) = charts.money(currency), range_
    return f"{unit(low)} or more" if high is None else unit(low) if low == high else f"{unit(low)} to {unit(high)}"


def _card(number: int, change: "Change", shared: Sequence[str], command: str) -> Markup:
    return card(
        made("{} {}: {} &rarr; {}", str(number), coloured(change.direction, change.direction.capitalize()),
             answer_in_words(change.before), answer_in_words(change.after)),
        ("which", listed(_own(change, shared))),
        ("decided by", made("{} &rarr; {}", _lines(change.before.lines), _lines(change.after.lines))),
        ("on a case", "that is new" if change.fresh else "that had something before"),
        ("one of them", code(command)),
    )  # fmt: skip


def _lines(lines: tuple[str, ...]) -> str:
    return ", ".join(lines) or "no line"


def _edits(found: "PolicyDiff") -> Section:
    rows = [
        [edit.line, edit.section, edit.kind, _reach(edit.silent, edit.masked_by), ", ".join(edit.masked_by or ())]
        for edit in found.edits
    ]
    parts = [table("Lines that differ", ["line", "block", "how", "changes", "kept from more by"], rows)] if rows else []
    if found.settings:
        parts.append(paragraph(f"These blocks differ too: {', '.join(found.settings)}."))
    return Section("Lines that differ", parts)


def _reach(silent: bool, masked_by: tuple[str, ...] | None) -> str:
    if silent:
        return "no decision"
    return "decisions" if masked_by is None or not masked_by else "decisions, less than it might"
