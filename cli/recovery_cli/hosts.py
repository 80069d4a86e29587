"""JSON in, JSON out, for hosts that are not written in Python: one object, or line by line through an open process."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, BinaryIO, NamedTuple, TypeVar

import rich_click as click

from recovery_cli.databases import file_option
from recovery_cli.exits import FINDINGS, FINE, Unusable
from recovery_cli.files import on_a_terminal, opened, shown_name
from recovery_cli.interrupts import BetweenRows
from recovery_cli.refusals import Refusal, refusal
from recovery_cli.rows import LONGEST_LINE, read_json
from recovery_engine import Diagnostic, InvalidRequest

Command = TypeVar("Command", bound=Callable[..., Any])
Fields = dict[str, Any]
Answer = Callable[[Fields], dict[str, Any]]


def json_in(command: Command) -> Command:
    """``--json-file`` and ``--json-lines``."""
    command = click.option(
        "--json-lines",
        is_flag=True,
        help="Read an object a line from stdin and answer each with a line at once, as long as there are any.",
    )(command)
    return file_option("--json-file", metavar="FILE|-", help="One object in JSON; options win over it.")(command)


def refuse_both(ctx: click.Context, json_file: str | None, json_lines: bool) -> None:
    """Raises UsageError where both ways in are named."""
    if json_file and json_lines:
        raise click.UsageError("--json-file holds one object, --json-lines many: give one of them", ctx)


def read_object(name: str, what: str, example: str) -> Fields:
    """The JSON object in a file, or on stdin for ``-``. Raises Unusable."""
    cure = f"write {example}"
    with opened(name) as stream:
        try:
            given = read_json(stream.read())
        except (ValueError, RecursionError) as error:
            raise Unusable(f"{shown_name(name)}: not JSON: {error}", cure) from None
    if not isinstance(given, dict):
        raise Unusable(f"{shown_name(name)}: {what} is a JSON object", cure)
    return given


def only(given: Fields, known: tuple[str, ...], needed: tuple[str, ...] = ()) -> Fields:
    """The fields that were given, without blanks. Raises InvalidRequest for others, and for missing ones."""
    found = [Diagnostic("RQ005", "error", name, f"unknown field `{name}`", _near(name, known)) for name in given
             if name not in known]  # fmt: skip
    filled = {name: value for name, value in given.items() if value not in (None, "")}
    found += [Diagnostic("RQ003", "error", name, f"no {name}", "give one") for name in needed if name not in filled]
    if found:
        raise InvalidRequest(found)
    return filled


def _near(name: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(name.lower(), known, n=1)
    return f"did you mean `{close[0]}`?" if close else f"one of {', '.join(known)}"


# --- a line each ------------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """A line of input: the object on it, or what keeps it from being one."""

    number: int
    given: Fields
    problem: str = ""


def answer_lines(answer: Answer, options: Mapping[str, Any]) -> int:
    """Answer each line of stdin with one of stdout, at once; the exit code. *options* win over every line.

    A line that cannot be answered is answered with its error, and the run goes on.
    """
    refused = False
    if on_a_terminal("stdin"):
        click.echo("note: reading objects from this terminal, one a line, until Ctrl-D", err=True)
    between = BetweenRows()
    try:
        for line in between.each(_lines(sys.stdin.buffer)):
            document = _answered(line, answer, options)
            refused |= "error" in document
            sys.stdout.buffer.write(json.dumps(document, ensure_ascii=False).encode(errors="backslashreplace") + b"\n")
            sys.stdout.buffer.flush()
    finally:
        between.over()
    return FINDINGS if refused else FINE


def _answered(line: Line, answer: Answer, options: Mapping[str, Any]) -> dict[str, Any]:
    try:
        if line.problem:
            raise Unusable(line.problem, "write one JSON object a line")
        return answer(line.given | dict(options))
    except Exception as error:  # each line has its answer, whatever goes wrong with one
        fault = f"a fault of ours, not yours: {type(error).__name__}: {error}"
        found = refusal(error) or Refusal("fault", fault, "please report it", (), FINDINGS)
        names = {name: line.given[name] for name in ("id", "recovery") if isinstance(line.given.get(name), str)}
        return {"line": line.number, **names, **found.as_dict()}


def _lines(stream: BinaryIO) -> Iterator[Line]:
    number = 0
    while raw := stream.readline(LONGEST_LINE + 1):
        number += 1
        if len(raw) > LONGEST_LINE:
            while raw and not raw.endswith(b"\n"):
                raw = stream.readline(LONGEST_LINE)
            yield Line(number, {}, f"a line of more than {LONGEST_LINE:,} bytes")
        elif raw.strip():
            yield _line(number, raw)


def _line(number: int, raw: bytes) -> Line:
    try:
        given = read_json(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeError:
        return Line(number, {}, "not UTF-8 text")
    except (ValueError, RecursionError) as error:
        return Line(number, {}, f"not JSON: {error}")
    return Line(number, given) if isinstance(given, dict) else Line(number, {}, "not a JSON object")
