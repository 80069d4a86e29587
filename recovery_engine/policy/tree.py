"""YAML text as plain dicts, lists and texts, with the place of each; nothing is guessed and no shortcut is taken.

YAML 1.1 reads `no` as false, `1_000` as a thousand and `1e3` as a float. Here every scalar stays the text it is.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from recovery_engine.errors import Diagnostic
from recovery_engine.policy.fields import KEY, Place
from recovery_engine.policy.words import Problem

MAX_CHARACTERS = 1_000_000
_MAX_DEPTH = 12
_MAX_NODES = 100_000
_MAX_ATTEMPTS = 60
_MOST_LOST_BLOCKS = 8  # a file with more broken blocks is no policy at all
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What YAML accepts as text, without what it takes for a line break and editors do not show, and without marks that
# make text read in another order than it stands.
_TEXT = "\t\x20-\x7e\xa0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff"
_NOT_TEXT = re.compile(f"[^{_TEXT}]")


@dataclass
class Source:
    """A text, where every key and value of it stands, and what has been found wrong with it."""

    file: str
    lines: list[str] = field(default_factory=list)
    places: dict[Place, tuple[int, int, int]] = field(default_factory=dict)  # line and column from 0, length
    found: list[Diagnostic] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)  # the blocks that could not be read
    noun: str = "policy"
    begins: str = "policy: a-name"

    def add(self, line: int, column: int, length: int, problem: Problem) -> None:
        """Report a problem at a line and column, both from 0."""
        self.found.append(self._diagnostic(line, column, length, problem))

    def _diagnostic(self, line: int, column: int, length: int, problem: Problem) -> Diagnostic:
        text = self.lines[line] if line < len(self.lines) else ""
        start = max(0, column - 90)  # a very long line is shown around the place
        shown, mark = text[start : start + 120], column - start
        number = str(line + 1).rjust(5)
        carets = "^" * max(1, min(length, len(shown) - mark))
        excerpt = f"{number} | {shown}\n{' ' * len(number)} | {' ' * mark}{carets}" if text.strip() else ""
        where = f"{self.file}:{line + 1}:{column + 1}"
        return Diagnostic(problem.code, "error", where, problem.message, problem.help, excerpt, line + 1, column + 1)

    def diagnostic_at(self, place: Place, problem: Problem) -> Diagnostic:
        """A problem at a key or value, or at the nearest thing around it that has a place."""
        while place not in self.places and place:
            place = place[:-1]
        return self._diagnostic(*self.places.get(place, (0, 0, 1)), problem)

    def add_at(self, place: Place, problem: Problem) -> None:
        """Report a problem at a key or value, or at the nearest thing around it that has a place."""
        self.found.append(self.diagnostic_at(place, problem))

    def warn_at(self, place: Place, problem: Problem) -> None:
        """The same, as a warning."""
        self.add_at(place, problem)
        self.found[-1] = replace(self.found[-1], level="warning")

    def line_of(self, place: Place) -> int:
        """The number of a line, from 1."""
        return self.places.get(place, (0, 0, 0))[0] + 1


def read_tree(text: str, source: Source) -> dict[str, Any] | None:
    """The mapping in the text; None, with the reason in *source*, where there is none."""
    if len(text) > MAX_CHARACTERS:
        message = f"{len(text):,} characters is too long for a {source.noun}"
        source.add(0, 0, 1, Problem("RP001", message, f"at most {MAX_CHARACTERS:,}"))
        return None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        cure = "start from `policies/classic.yaml`" if source.noun == "policy" else f"start with `{source.begins}`"
        source.add(0, 0, 1, Problem("RP001", f"an empty {source.noun}", cure))
        return None
    source.lines = text.split("\n")
    source.lines = lines = [_clean_line(number, line, source) for number, line in enumerate(source.lines)]
    # A syntax error ends the parser's work, so the block that holds it is blanked and the rest is read again.
    for _ in range(_MAX_ATTEMPTS):
        source.places.clear()
        try:
            return _as_mapping(_Composer("\n".join(lines) + "\n", source).compose(), source)
        except yaml.MarkedYAMLError as error:
            if len(source.lost) == _MOST_LOST_BLOCKS:
                return None
            lines = _with_blank_marked(lines, error) or _without_block(lines, _report_syntax(error, source), source)
        except _RefusedError as refused:
            source.add(*refused.at, 1, refused.problem)
            return None
    return None


def _as_mapping(tree: Any, source: Source) -> dict[str, Any] | None:
    if not isinstance(tree, dict):
        if not source.found:
            source.add(0, 0, 1, Problem("RP007", f"a {source.noun} is a mapping", f"start with `{source.begins}`"))
        return None
    return tree


def _clean_line(number: int, line: str, source: Source) -> str:
    if (column := line.find("\t")) >= 0:
        source.add(number, column, 1, Problem("RP010", "a tab", "use spaces"))
    if not unicodedata.is_normalized("NFC", line):
        column = next(at for at in range(len(line)) if not unicodedata.is_normalized("NFC", line[: at + 1]))
        cure = "type the character again, or convert the file to NFC"
        source.add(number, column, 1, Problem("RP011", "text that is not in Unicode normal form NFC", cure))
        line = unicodedata.normalize("NFC", line)
    if strange := _NOT_TEXT.search(line):
        message = f"the character U+{ord(strange[0]):04X} is not text"
        source.add(number, strange.start(), 1, Problem("RP013", message, "delete it"))
    return _NOT_TEXT.sub(" ", line).replace("\t", " ")


# --- from events to values --------------------------------------------------------------------------------------------


class _RefusedError(Exception):
    """The file cannot be read on."""

    def __init__(self, at: tuple[int, int], problem: Problem) -> None:
        super().__init__(problem.message)
        self.at, self.problem = at, problem


def _span(event: Any) -> tuple[int, int, int]:
    """Line and column from 0, and the length on that line."""
    start, end = event.start_mark, event.end_mark
    return start.line, start.column, end.column - start.column if end.line == start.line else 1


class _Composer:
    def __init__(self, text: str, source: Source) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._source = source
        self._nodes = 0

    def compose(self) -> Any:
        tree, documents = None, 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents == 2:
                    cure = f"one {self._source.noun} per file: delete the `---`"
                    problem = Problem("RP007", "a second document", cure)
                    raise _RefusedError(_span(event)[:2], problem)
            elif isinstance(event, yaml.NodeEvent):
                tree = self._node(event, ())
        return tree

    def _node(self, event: Any, place: Place) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES or len(place) > _MAX_DEPTH:
            cure = "a policy is one page" if self._source.noun == "policy" else "split it in two"
            problem = Problem("RP001", f"nested too deep or too large for a {self._source.noun}", cure)
            raise _RefusedError(_span(event)[:2], problem)
        self._report_shortcuts(event)
        self._source.places[place] = _span(event)
        if isinstance(event, yaml.ScalarEvent):
            blank = event.implicit[0] and event.value in ("", "~", "null", "Null", "NULL")
            return None if blank else event.value
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(child := next(self._events), yaml.SequenceEndEvent):
                items.append(self._node(child, (*place, len(items))))
            return items
        return self._mapping(place) if isinstance(event, yaml.MappingStartEvent) else None

    def _mapping(self, place: Place) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            span = _span(event)
            key = self._node(event, (*place, KEY, KEY))
            if not isinstance(key, str):
                self._source.add(*span, Problem("RP007", "a key that is not a word", "write `key: value`"))
                key = f"[{len(mapping)}]"
            if key == "<<":
                self._source.add(*span, Problem("RP009", "a merge key", "write the lines out"))
            child = (*place, key)
            if key in mapping:
                cure = f"the first is in line {self._source.line_of((*child, KEY))}"
                self._source.add(*span, Problem("RP008", f"`{key}` stands twice", cure))
                child = (*place, f"{key}, again")
            self._source.places[(*child, KEY)] = span
            value = self._node(next(self._events), child)
            if key != "<<":
                mapping.setdefault(key, value)
        return mapping

    def _report_shortcuts(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._source.add(*_span(event), Problem("RP009", f"an alias `*{event.anchor}`", "write the value out"))
        elif event.anchor is not None:
            self._source.add(*_span(event), Problem("RP009", f"an anchor `&{event.anchor}`", "delete it"))
        if getattr(event, "tag", None) is not None:
            self._source.add(*_span(event), Problem("RP009", f"a tag `{event.tag}`", "delete it, or quote the text"))


# --- syntax errors ----------------------------------------------------------------------------------------------------


def _report_syntax(error: yaml.MarkedYAMLError, source: Source) -> int:
    """Report the error; the line, from 0, where what went wrong began."""
    mark = error.problem_mark or error.context_mark
    line, column = (min(mark.line, len(source.lines) - 1), mark.column) if mark else (0, 0)
    text, problem = source.lines[line], str(error.problem or error.context or "unreadable")
    cure = "check the brackets, colons and indentation here and in the line before"
    if "quoted scalar" in f"{problem} {error.context}":
        cure = "close the quote"
    elif text[column : column + 1] == ":":
        cure = "a text with a colon needs quotes; so does one that begins with a special character"
    elif "',' or" in problem:
        cure = "close the bracket or brace that was opened before, or put a comma between"
    elif "node content" in problem or re.search(r"[\[,]\s*,", text):
        cure = "a blank between commas: write `none`, `0`, `same` or `unlimited`"
    elif "mapping values" in problem or ": " in text[column:]:
        cure = "a text with a colon needs quotes; so does one that begins with a special character"
    source.add(line, column, 1, Problem("RP002", f"not YAML: {problem}", cure))
    began = error.context_mark  # at column 0 it is the whole file that began there
    return began.line if began and began.column and began.line < line else line


def _with_blank_marked(lines: list[str], error: yaml.MarkedYAMLError) -> list[str]:
    """Where a comma follows a comma: the lines with a null between them, which its reader reports as a blank."""
    mark = error.problem_mark
    if mark is None or mark.line >= len(lines) or "node content" not in str(error.problem):
        return []
    line, at = lines[mark.line], mark.column
    if line[at : at + 1] != ",":
        return []
    before = line[: at - 1] if line[at - 1 : at] == " " else line[:at]
    return [*lines[: mark.line], f"{before}~{line[at:]}", *lines[mark.line + 1 :]]


def _without_block(lines: list[str], bad: int, source: Source) -> list[str]:
    """The lines with the top-level block around line *bad* blanked out."""

    def begins(line: str) -> bool:
        return bool(line) and line[0] not in " #-]}"

    first, last = bad, bad + 1
    while first > 0 and not begins(lines[first]):
        first -= 1
    while last < len(lines) and not begins(lines[last]):
        last += 1
    source.lost.add(lines[first].partition(":")[0])
    return [*lines[:first], *[""] * (last - first), *lines[last:]]
