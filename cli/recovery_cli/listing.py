"""Recoveries as people read them: one a line, or two where the terminal is narrow."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from recovery_cli.files import on_a_terminal
from recovery_cli.render import amount_of, console, in_words, plain

if TYPE_CHECKING:
    from recovery_engine import AuditRow

_AT_ONCE = 200
"""Rows that are aligned with each other."""
STYLES = {"granted": "green", "fulfilled": "green", "pending": "yellow", "denied": "red", "declined": "red"}
_GAP = "  "


def show_rows(rows: "Iterable[AuditRow]", *, folded: bool | None = None) -> None:
    """Print recoveries: day, id, site, employee, what was asked for, what became of it, the lines that decided.

    Where *folded* is true a recovery takes two lines if one is too narrow; left out, that is so on a terminal.
    """
    out, following = console(), iter(rows)
    folded = on_a_terminal("stdout") if folded is None else folded
    while some := list(islice(following, _AT_ONCE)):
        cells = [_cells(row) for row in some]
        widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
        narrow = folded and sum(widths) + len(_GAP) * len(widths) > out.width
        for row, texts in zip(some, cells, strict=True):
            for line in _two_lines(row, texts) if narrow else [_one_line(row, texts, widths)]:
                out.print(line, soft_wrap=not narrow)


def _cells(row: "AuditRow") -> list[str]:
    asked = amount_of(row.asked, row.remedy)
    texts = (row.bday, row.recovery, row.site or "-", row.employee, asked, became(row), " ".join(row.lines))
    return [plain(text) for text in texts]


def became(row: "AuditRow") -> str:
    """Where a recovery stands, in words: ``granted $400.00 by mgr-2``."""
    match row.status:
        case "granted" | "fulfilled" | "voided":
            other = "" if row.granted in (None, row.asked) else f" {row.granted}"
            by = row.closed_by if row.status == "voided" else row.approver
            return f"{row.status}{other}{f' by {by}' if by and by != row.employee else ''}"
        case "pending":
            return f"waits for {in_words(row.to_role or '')}"
        case "declined":
            return f"declined by {row.closed_by}"
    return row.status


def _one_line(row: "AuditRow", texts: list[str], widths: list[int]) -> Text:
    padded = [text + " " * (width - cell_len(text)) for text, width in zip(texts, widths, strict=True)]
    day, recovery, site, employee, asked, status, lines = padded
    style = STYLES.get(row.status, "")
    return Text.assemble(
        *(day, _GAP, (recovery, "bold"), _GAP, site, _GAP, employee, _GAP, asked, _GAP, (status, style), _GAP),
        (lines.rstrip(), "dim"),
    )


def _two_lines(row: "AuditRow", texts: list[str]) -> Iterator[Text]:
    day, recovery, site, employee, asked, status, lines = texts
    yield Text.assemble((recovery, "bold"), _GAP, asked, _GAP, (status, STYLES.get(row.status, "")))
    yield Text.assemble(_GAP, f"{day} {site} {employee}", _GAP, (lines, "dim"))
