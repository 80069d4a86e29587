"""A policy's text laid out: what is alike in columns, comments and words as they are. Only white space changes."""

from collections.abc import Sequence
from itertools import groupby

from recovery_engine.errors import PolicyError
from recovery_engine.policy.columns import align, chosen_column
from recovery_engine.policy.layers import Layer
from recovery_engine.policy.pieces import STEP, TextLine, lines_of, shown_width
from recovery_engine.policy.source import check_text
from recovery_engine.policy.tree import Source, read_tree


def laid_out(text: str, file: str, below: Sequence[Layer] = ()) -> str:
    """The text of a policy, laid out; *below* is what it extends. It says the same, and again it stays as it is.

    Roles and limits stand in columns, lines of one list under each other where the page is wide enough, every block
    two spaces further in than its key. Comments stay with what they are about, at most one blank line stays between.
    Raises PolicyError where the text is no policy.
    """
    policy, diagnostics = check_text(text, file, below)
    if policy is None:
        raise PolicyError(found for found in diagnostics if found.level == "error")
    ends_in = "\r\n" if "\r\n" in text else "\n"
    before = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    lines = lines_of(before)
    align(lines, policy.ladder)
    after = "\n".join(_written(lines))
    # INVARIANT: what is written over a file says what the file said.
    assert _says(after) == _says(before), "the layout would change what the policy says"
    assert "".join(after.split()) == "".join(before.split()), "the layout would change more than white space"
    return after.replace("\n", ends_in)


def _says(text: str) -> str:
    """Everything a reader of the file reads, in its order."""
    return repr(read_tree(text, Source("")))


def _written(lines: list[TextLine]) -> list[str]:
    code = _code(lines)
    _place_comments(lines, code)
    written: list[str] = []
    for line, shown in zip(lines, code, strict=True):
        if line.comment:
            at = line.comment_at or 0
            shown += " " * (at - shown_width(shown)) + line.comment
        if not line.blank or (written and written[-1]):
            written.append(shown)
    if lines[-1].kept:  # the text of a `|+` goes on to the end
        return written
    while written and not written[-1]:
        written.pop()
    return [*written, ""]


def _code(lines: list[TextLine]) -> list[str]:
    """Every line without its comment; inside brackets it goes on where the bracket's content began."""
    code: list[str] = []
    inside: list[tuple[int, int]] = []  # of every open bracket: where its content goes on, and where it may close
    for line in lines:
        closes = bool(line.pieces) and line.pieces[0].kind in ("]", "}")
        base = line.indent if line.indent is not None else inside[-1][closes] if inside else 0
        if not line.pieces and line.comment_at is None:
            line.comment_at = base
        shown = " " * base if line.pieces else ""
        for piece in line.pieces:
            shown += " " * piece.gap + piece.text
            if piece.kind in ("[", "{"):
                at = shown_width(shown)
                last = piece is line.pieces[-1]
                inside.append((base + STEP, base + STEP) if last else (at, at - 1))
            elif piece.kind in ("]", "}"):
                inside.pop()
        code.append(shown)
    return code


def _place_comments(lines: list[TextLine], code: list[str]) -> None:
    """Comments behind neighbouring lines stand in one column: the one they had, if there is room for it."""
    numbered = enumerate(lines)
    for free, run in groupby(numbered, lambda at: bool(at[1].comment) and at[1].comment_at is None):
        if free:
            together = list(run)
            least = max(shown_width(code[number]) for number, _ in together) + 2
            column = chosen_column([line.comment_was for _, line in together], least)
            for _, line in together:
                line.comment_at = column
