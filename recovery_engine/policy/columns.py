"""Columns: what stands alike in neighbouring lines of a policy stands under each other."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from recovery_engine.policy.pieces import Piece, TextLine, entries, is_whole, pieces_width, shown_width

WIDEST = 130
"""Lines are set apart into columns up to this width; a line that is wider by itself does not count."""

_CELL = re.compile(r"-?[0-9][0-9.,_]*%?|none|same|unlimited")
_TABLES = ("facts", "sites", "timezones", "reason_codes", "answer_within", "tell_customer", "up_to")
_WORD_LISTS = ("ladder", "remedies", "categories", "severities", "sites")
_ROW = ("authority", "-", "up_to")

Row = list[list[Piece]]
"""The entries of a mapping on one line."""


def align(lines: list[TextLine], ladder: Sequence[str]) -> None:
    """Choose the spaces before the pieces of lines that are to stand in columns."""
    for run in _runs(lines, _is_entry):
        _align_values(run)
    for run in _runs(lines, _is_item):
        _align_items(run)
    _align_authority(lines, ladder)


def _runs(lines: Iterable[TextLine], belongs: Callable[[TextLine], bool]) -> Iterator[list[TextLine]]:
    """Lines that belong together: at one place, with nothing between them but comments."""
    seen = (line for line in lines if line.pieces or not line.comment)
    for (_, apart), run in groupby(seen, lambda line: (line.place[:-1], not belongs(line))):
        if not apart:
            yield list(run)


# --- `key: value` in lines of their own -------------------------------------------------------------------------------


def _is_entry(line: TextLine) -> bool:
    if len(line.pieces) < 3 or line.pieces[1].kind != ":" or line.indent is None:
        return False
    if len(line.place) == 1:
        return line.place[0] in _WORD_LISTS and line.pieces[2].kind == "["
    return line.place[-2] in _TABLES


def _align_values(run: list[TextLine]) -> None:
    widest = max(shown_width(line.pieces[0].text) for line in run)
    for line in run:
        line.pieces[2].gap = widest - shown_width(line.pieces[0].text) + 1


# --- `- {key: value, ...}` one under the other ------------------------------------------------------------------------


def _is_item(line: TextLine) -> bool:
    return (
        len(line.pieces) > 3
        and [piece.kind for piece in line.pieces[:2]] == ["-", "{"]
        and is_whole(line.pieces[1:])
        and all(len(entry) > 2 and entry[1].kind == ":" for entry in entries(line.pieces[1:]))
    )


def _align_items(run: list[TextLine]) -> None:
    """As many columns, from the left, as the page is wide enough for."""
    rows = [list(entries(line.pieces[1:])) for line in run]
    slots = _slots(rows)
    before = [(piece, piece.gap) for line in run for piece in line.pieces]
    widths = [pieces_width(line.pieces) + (line.indent or 0) for line in run]
    for count in range(len(slots), 0, -1):
        _align_rows(rows, slots[:count])
        now = [pieces_width(line.pieces) + (line.indent or 0) for line in run]
        if all(width <= WIDEST or compact > WIDEST for width, compact in zip(now, widths, strict=True)):
            return
        for piece, gap in before:
            piece.gap = gap


def _slots(rows: list[Row]) -> list[set[str]]:
    """The keys in each column: in the order of all rows, and side by side where no row has both."""
    slots: list[set[str]] = []
    for row in rows:
        own, at = {entry[0].text for entry in row}, 0
        for entry in row:
            key = entry[0].text
            found = next((index for index, slot in enumerate(slots) if key in slot), None)
            if found is not None and found < at:  # in another order than in a line above: there are no columns
                return []
            if found is None:
                found = at
                if at == len(slots) or slots[at] & own:
                    slots.insert(at, set())
                slots[at].add(key)
            at = found + 1
    return slots


def _align_rows(rows: list[Row], slots: list[set[str]]) -> None:
    ends = [-2] * len(rows)  # as if a comma and a space stood before the first entry
    for slot in slots:
        having = [(at, entry) for at, row in enumerate(rows) for entry in row if entry[0].text in slot]
        _align_within([entry for _, entry in having])
        start = max(ends[at] for at, _ in having) + 2
        for at, entry in having:
            entry[0].gap = start - ends[at] - 1 if start else 0
            ends[at] = start + pieces_width(entry)


def _align_within(column: Row) -> None:
    """Numbers to the right, cells of authority too, and the same keys in mappings under each other."""
    values = [entry[2:] for entry in column]
    if all(len(value) == 1 and _CELL.fullmatch(value[0].text) for value in values):
        widest = max(map(pieces_width, column))
        for entry in column:
            entry[2].gap += widest - pieces_width(entry)
    alike: dict[tuple[str, ...], list[Row]] = {}
    for value in values:
        if value[0].kind == "{" and is_whole(value):
            row = list(entries(value))
            if all(len(entry) > 2 and entry[1].kind == ":" for entry in row):
                alike.setdefault(tuple(entry[0].text for entry in row), []).append(row)
    for keys, rows in alike.items():
        if len(set(keys)) == len(keys):
            _align_rows(rows, [{key} for key in keys])
    lists = [list(entries(value)) for value in values if value[0].kind == "[" and is_whole(value)]
    if len(lists) == len(values) and len({len(cells) for cells in lists}) == 1 and all(map(_are_cells, lists)):
        _align_cells(lists, [0] * len(lists[0]), 0)


def _are_cells(cells: Row) -> bool:
    return all(len(cell) == 1 and _CELL.fullmatch(cell[0].text) for cell in cells)


def _align_cells(lists: list[Row], least: Sequence[int], margin: int) -> list[int]:
    """Cells to the right in columns at least so wide, the first after a margin; the width of each column."""
    widths = [
        max([least[at], *(shown_width(cells[at][0].text) + (at > 0) for cells in lists)]) for at in range(len(least))
    ]
    for cells in lists:
        for at, (cell,) in enumerate(cells):
            cell.gap = widths[at] - shown_width(cell.text) + (0 if at else margin)
    return widths


# --- authority, under the ladder --------------------------------------------------------------------------------------


def _align_authority(lines: list[TextLine], ladder: Sequence[str]) -> None:
    """Every row that names all roles under the comment that names them, if there is one."""
    rows = [
        line
        for line in lines
        if line.place[:-1] == _ROW and line.pieces[0].kind == "text" and is_whole(line.pieces[2:])
    ]
    rows = [line for line in rows if _are_cells(cells := list(entries(line.pieces[2:]))) and len(cells) == len(ladder)]
    if not rows:
        return
    first, last = lines.index(rows[0]), lines.index(rows[-1])
    top = max((at for at, line in enumerate(lines[:first]) if line.place == ("authority",)), default=first)
    names = " ".join(ladder).split()
    heads = [line for line in lines[top:last] if line.comment and line.comment.lstrip("#").split() == names]
    ends = [(line.indent or 0) + shown_width(line.pieces[0].text) for line in rows]
    ends += [(line.indent or 0) + pieces_width(line.pieces) for line in heads if line.pieces]
    column = chosen_column([line.pieces[2].was for line in rows], max(ends) + 2)
    for line in rows:
        line.pieces[2].gap = column - (line.indent or 0) - shown_width(line.pieces[0].text) - 1
    lists = [list(entries(line.pieces[2:])) for line in rows]
    widths = _align_cells(lists, [shown_width(role) if heads else 0 for role in ladder], 1 if heads else 0)
    for line in heads:
        named = zip(ladder, widths, strict=True)
        line.comment = "#" + "".join(" " * (1 + width - shown_width(role)) + role for role, width in named)
        line.comment_at = column


def chosen_column(were: Sequence[int], least: int) -> int:
    """The column in which they all stood already, if there is room; otherwise the first in which there is."""
    return were[0] if len(set(were)) == 1 and were[0] >= least else least
