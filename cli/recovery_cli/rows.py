"""Streams of rows, CSV or JSONL: read one at a time with their line numbers, written back with the answer."""

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from recovery_cli.exits import Unusable

CSV, JSONL = "csv", "jsonl"
EXTENSIONS = {".csv": CSV, ".tsv": CSV, ".txt": CSV, ".jsonl": JSONL, ".ndjson": JSONL, ".json": JSONL}
DELIMITERS = (",", ";", "\t")
LONGEST_LINE = 4_000_000
UTF_8 = "utf-8"


class Row(NamedTuple):
    """One row: the line it begins on, its cells by column, its own text if it is JSON, and why it is no row."""

    line: int
    cells: dict[str, Any]
    text: str = ""
    problem: str = ""
    help: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """A stream of rows; ``columns`` is None where every row brings its own."""

    format: str
    rows: Iterator[Row]
    columns: tuple[str, ...] | None = None
    delimiter: str = ","

    def __iter__(self) -> Iterator[Row]:
        return self.rows


class _Lines:
    """The lines of a stream as text, counted. Raises Unusable for what is not text."""

    def __init__(self, stream: BinaryIO, name: str, seen: Callable[[int], None], encoding: str) -> None:
        self._stream, self._name, self._seen, self._encoding = stream, name, seen, encoding
        self._waiting: list[str] = []
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._waiting:
            text = self._waiting.pop()
        else:
            text = self._read()
        self.number += 1
        return text

    def first(self) -> str:
        """The first line that is not blank, which will come again."""
        for text in self:
            if text.strip():
                self.number -= 1
                self._waiting.append(text)
                return text
        return ""

    def _read(self) -> str:
        raw = self._stream.readline(LONGEST_LINE + 1)
        if not raw:
            raise StopIteration
        place = f"{self._name}:{self.number + 1}"
        if len(raw) > LONGEST_LINE:
            raise Unusable(f"{place}: a line of more than {LONGEST_LINE:,} bytes", "is this a CSV or JSONL file?")
        self._seen(len(raw))
        try:
            return raw.decode("utf-8-sig" if self.number == 0 and self._encoding == UTF_8 else self._encoding)
        except UnicodeError:
            cure = "save the file as UTF-8 (in Excel: CSV UTF-8)"
            cure += ", or name what it is: --encoding cp1252" if self._encoding == UTF_8 else ""
            raise Unusable(f"{place}: not {self._encoding.upper()} text", cure) from None


def _known_encoding(name: str) -> str:
    """The codec of that name, if a line ends in it where it ends in ASCII. Raises Unusable."""
    try:
        if '"a,;\n'.encode(name) == b'"a,;\n':
            return codecs.lookup(name).name
    except (LookupError, UnicodeError, ValueError):
        pass
    raise Unusable(f"--encoding {name} cannot be read", "cp1252 and latin-1 can be; otherwise save the file as UTF-8")


def open_rows(
    stream: BinaryIO,
    name: str,
    format: str | None,
    seen: Callable[[int], None] = lambda count: None,
    encoding: str = UTF_8,
) -> Rows:
    """The rows of a stream; its format is looked up in its first line where it is not given. Raises Unusable."""
    lines = _Lines(stream, name, seen, _known_encoding(encoding))
    first = lines.first()
    if not first:
        raise Unusable(f"{name}: nothing in it", "the first line of a CSV file names its columns")
    if format is None:
        format = JSONL if first.lstrip().startswith("{") else CSV
    if format == JSONL:
        return Rows(JSONL, _jsonl_rows(lines))
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    columns = _columns(reader, name)
    return Rows(CSV, _csv_rows(reader, lines, columns), columns, delimiter)


def read_json(text: str | bytes) -> Any:
    """A JSON document; its numbers stay the text they are, because an amount of money is exact.

    Raises ValueError or RecursionError.
    """
    return json.loads(text, parse_float=str, parse_int=str)


def _columns(reader: Iterator[list[str]], name: str) -> tuple[str, ...]:
    try:
        names = next(reader)
    except csv.Error as error:
        raise Unusable(f"{name}:1: not CSV: {error}", "the first line names the columns") from None
    columns = tuple(column.strip() or f"column_{number}" for number, column in enumerate(names, 1))
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise Unusable(f"{name}:1: two columns are called `{twice[0]}`", "rename one")
    return columns


def _csv_rows(reader: Iterator[list[str]], lines: _Lines, columns: tuple[str, ...]) -> Iterator[Row]:
    while True:
        line = lines.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            until = f" (lines {line} to {lines.number} were read as one row)" if lines.number > line else ""
            yield Row(line, {}, problem=f"not CSV: {error}{until}", help="is a quote missing, or one too many?")
            continue
        if not cells:
            continue
        row = Row(line, dict(zip(columns, cells, strict=False)))
        if len(cells) != len(columns):
            problem = f"{len(cells)} cells for {len(columns)} columns"
            row = row._replace(problem=problem, help="put text that holds a comma or a line break in quotes")
        yield row


def _jsonl_rows(lines: _Lines) -> Iterator[Row]:
    for text in lines:
        if not text.strip():
            continue
        try:
            cells = read_json(text)
        except (ValueError, RecursionError) as error:
            yield Row(lines.number, {}, problem=f"not JSON: {error}", help="write one JSON object a line")
            continue
        if isinstance(cells, dict):
            yield Row(lines.number, cells, text.strip())
        else:
            yield Row(lines.number, {}, problem="not a JSON object", help="write one JSON object a line")


# --- written back -----------------------------------------------------------------------------------------------------


def csv_line(cells: list[Any], delimiter: str = ",") -> bytes:
    """One line of CSV."""
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter, lineterminator="\n").writerow([_cell(cell) for cell in cells])
    return line.getvalue().encode("utf-8", errors="backslashreplace")


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case tuple():
            return "; ".join(map(str, value))
        case list() | dict():
            return json.dumps(value, ensure_ascii=False)
    return str(value)


def json_line(row: Row, answer: dict[str, Any], renamed: Mapping[str, str]) -> bytes:
    """One line of JSONL. What came as JSON goes out as the very text it came as, with the answer behind it."""
    if row.text and renamed.keys().isdisjoint(row.cells):
        own, added = row.text[:-1].rstrip(), json.dumps(answer, ensure_ascii=False)[1:]
        line = f"{own}{', ' if row.cells else ''}{added}"
    else:
        given = {renamed.get(name, name): cell for name, cell in _as_it_came(row).items()}
        line = json.dumps(given | answer, ensure_ascii=False)
    return line.encode("utf-8", errors="backslashreplace") + b"\n"


def _as_it_came(row: Row) -> dict[str, Any]:
    """The cells with numbers as numbers, unless one is too long to be one."""
    try:
        return json.loads(row.text) if row.text else row.cells
    except ValueError:
        return row.cells
