"""The lines of a policy's text in pieces: every word, bracket and comma, and the comment behind them.

A piece is never changed. What a layout may choose is the column a line begins in and the spaces before each piece.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

STEP = 2
"""Spaces by which a block stands further in than what holds it."""

Place = tuple[str, ...]
"""The keys above a line and its own, with ``-`` for an item of a list: ``("authority", "-", "up_to", "total")``."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OPENERS, _CLOSERS = ("[", "{"), ("]", "}")
_SCALAR = "text"
_KINDS = {
    yaml.BlockEntryToken: "-",
    yaml.KeyToken: "?",
    yaml.ValueToken: ":",
    yaml.FlowSequenceStartToken: "[",
    yaml.FlowSequenceEndToken: "]",
    yaml.FlowMappingStartToken: "{",
    yaml.FlowMappingEndToken: "}",
    yaml.FlowEntryToken: ",",
}


@dataclass(slots=True)
class Piece:
    """What stands between spaces, the column it stood in, and how many spaces it is to have before it on its line."""

    text: str
    kind: str
    was: int
    gap: int = 0


@dataclass(slots=True)
class TextLine:
    """One line. ``indent`` is the column it is to begin in, None where it goes on inside brackets.

    ``levels`` are the blocks that are open at its end, each with its old and new column. ``comment_was`` is the column
    in which the comment stood, ``comment_at`` the one it must have. A ``kept`` line is part of a text, blank or not.
    """

    indent: int | None = None
    pieces: list[Piece] = field(default_factory=list)
    place: Place = ()
    levels: tuple[tuple[int, int], ...] = ()
    comment: str = ""
    comment_was: int = 0
    comment_at: int | None = None
    kept: bool = False

    @property
    def blank(self) -> bool:
        """Whether nothing stands on the line, not even as part of a text."""
        return not (self.pieces or self.comment or self.kept)


@dataclass(slots=True)
class _Block:
    kind: str  # `map`, `list`, or `bare`: a list as far in as its key
    was: int
    column: int
    key: str = "-"


def lines_of(text: str) -> list[TextLine]:
    """The lines of a text that is YAML."""
    return _Scan(text).lines


def shown_width(text: str) -> int:
    """The columns that a text takes on a screen."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else not unicodedata.combining(char) for char in text)


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text.split("\n")
        self.lines = [TextLine() for _ in self.text]
        self._ends = [0] * len(self.text)  # where the pieces of each line end
        self._blocks: list[_Block] = []
        self._brackets = 0
        self._after_key = False
        for token in yaml.scan(text + "\n", Loader=_LOADER):
            self._take(token)
        self._find_comments()

    # --- from tokens to pieces ---

    def _take(self, token: Any) -> None:
        """Keep the stack of blocks, and cut the token out of its lines."""
        kind = _KINDS.get(type(token), _SCALAR)
        blocks, top = self._blocks, self._blocks[-1] if self._blocks else None
        if isinstance(token, yaml.BlockMappingStartToken | yaml.BlockSequenceStartToken):
            of = "map" if isinstance(token, yaml.BlockMappingStartToken) else "list"
            blocks.append(_Block(of, token.start_mark.column, self._inside()))
            return
        if top and top.kind == "bare" and (kind == "?" or isinstance(token, yaml.BlockEndToken)) and not self._brackets:
            blocks.pop()
        if isinstance(token, yaml.BlockEndToken):
            blocks.pop()
            return
        if top and top.kind == "map" and kind == "-":
            blocks.append(_Block("bare", token.start_mark.column, self._inside()))
        if token.start_mark.index != token.end_mark.index:
            self._cut(token, kind)
        self._brackets += (kind in _OPENERS) - (kind in _CLOSERS)
        self._after_key = kind == "?"

    def _inside(self) -> int:
        return self._blocks[-1].column + STEP if self._blocks else 0

    def _cut(self, token: Any, kind: str) -> None:
        first, last = token.start_mark.line, token.end_mark.line
        is_key = self._after_key and not self._brackets and bool(self._blocks)
        if is_key and isinstance(token, yaml.ScalarToken):
            self._blocks[-1].key = token.value
        if isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):
            head = re.match(r"[|>][-+0-9]*", self.text[first][token.start_mark.column :])
            assert head is not None
            self._put(first, token.start_mark.column, head[0], kind, is_key)
            self._keep_block_text(first, head[0])
            return
        for number in range(first, last + 1):
            start = token.start_mark.column if number == first else 0
            end = token.end_mark.column if number == last else len(self.text[number])
            text = self.text[number][start:end]
            if number > first:  # what a text begins its next line with is no part of it
                start += len(text) - len(text.lstrip(" "))
                text = text.lstrip(" ")
            if number < last:  # nor what it ends it with, but for a space behind a backslash
                text = re.sub(r"(?<!\\) +$", "", text)
            self.lines[number].kept = number > first and not text
            if text:
                self._put(number, start, text, kind, is_key and number == first)

    def _put(self, number: int, column: int, text: str, kind: str, is_key: bool) -> None:
        line = self.lines[number]
        if not line.pieces:
            own = is_key or kind in ("-", "?", ":")
            outside = self._blocks[-1].column if own and self._blocks else self._inside()
            line.indent = None if self._brackets else outside
            line.place = tuple(block.key for block in self._blocks)
        line.pieces.append(Piece(text, kind, column, _gap(line.pieces[-1].kind, kind) if line.pieces else 0))
        line.levels = tuple((block.was, block.column) for block in self._blocks)
        self._ends[number] = column + len(text)

    def _keep_block_text(self, head: int, style: str) -> None:
        """The lines of a text under ``|`` or ``>``: moved as one, so that what stands further in stays so."""
        around = self._blocks[-1] if self._blocks else _Block("map", 0, 0)
        below = range(head + 1, len(self.text))
        given = re.search(r"[0-9]", style)
        first = next((number for number in below if self.text[number].strip(" ")), None)
        if given:
            was, column = around.was + int(given[0]), around.column + int(given[0])
        else:
            was, column = (0 if first is None else _indent(self.text[first])), self._inside()
            was = was if was > around.was else 10**6  # no text at all, only blank lines
        last = head
        for number in below:
            line = self.text[number]
            if line.strip(" ") and _indent(line) < was:
                break
            if line[was:] or "+" in style:
                last = number
        for number in range(head + 1, last + 1):
            rest = self.text[number][was:]
            self.lines[number].kept = True
            if rest:
                self.lines[number].pieces = [Piece(rest, _SCALAR, was)]
                self.lines[number].indent = column
                self.lines[number].levels = self.lines[head].levels
            self._ends[number] = len(self.text[number])

    # --- comments ---

    def _find_comments(self) -> None:
        for line, text, end in zip(self.lines, self.text, self._ends, strict=True):
            rest = text[end:].strip(" ")
            if rest:
                assert rest.startswith("#"), f"`{rest}` is no piece and no comment"
                line.comment, line.comment_was = rest, end + text[end:].index("#")
        after: TextLine | None = None
        for number in reversed(range(len(self.lines))):
            line = self.lines[number]
            if line.comment and not line.pieces:
                before = next((above for above in reversed(self.lines[:number]) if above.pieces), None)
                line.indent = _comment_indent(line.comment_was, before, after)
            elif line.pieces:
                after = line


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _gap(before: str, kind: str) -> int:
    if before in _OPENERS or (kind in (",", ":", *_CLOSERS) and before != ":"):
        return 0
    return 1


def _comment_indent(was: int, before: TextLine | None, after: TextLine | None) -> int | None:
    """A comment belongs to what follows, unless it stands further in: then to a block that ends there."""
    follows = -1 if after is None else after.pieces[0].was
    if after is None or (was > follows and after.indent is not None):
        for old, new in reversed(before.levels if before else ()):
            if follows < old <= was:
                return new
    return 0 if after is None else after.indent


def is_whole(pieces: list[Piece]) -> bool:
    """Whether every bracket that opens in these pieces closes in them, and the last piece closes the first."""
    depth = 0
    for at, piece in enumerate(pieces):
        depth += (piece.kind in _OPENERS) - (piece.kind in _CLOSERS)
        if depth <= 0 and at < len(pieces) - 1:
            return False
    return depth == 0 and bool(pieces)


def entries(pieces: list[Piece]) -> Iterator[list[Piece]]:
    """What stands between the commas of a list or mapping that is whole, brackets and commas left out."""
    depth, entry = 0, list[Piece]()
    for piece in pieces[1:-1]:
        depth += (piece.kind in _OPENERS) - (piece.kind in _CLOSERS)
        if piece.kind == "," and not depth:
            yield entry
            entry = []
        else:
            entry.append(piece)
    if entry:
        yield entry


def pieces_width(pieces: list[Piece]) -> int:
    """The columns that pieces on one line take, from the first of the first."""
    return sum(piece.gap + shown_width(piece.text) for piece in pieces) - (pieces[0].gap if pieces else 0)
