"""Findings in the formats of others: SARIF 2.1.0, and the workflow commands of GitHub Actions."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from recovery_cli.render import near
from recovery_engine import LINT_CODES, Diagnostic, Lint, __version__, explained

Linted = tuple[str, Lint]
"""What was named on the command line, and what was found."""

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_SEVERITY = {"error": "error", "warning": "warning", "note": "recommendation"}
_COMMAND = {"error": "error", "warning": "warning", "note": "notice"}


def _diagnostics(found: Iterable[Linted]) -> Iterator[Diagnostic]:
    for _, lint in found:
        yield from (finding.diagnostic for finding in lint.findings)


def _file(found: Diagnostic) -> str:
    """The file of a finding, from the current folder where it lies inside it, with forward slashes."""
    where = found.where
    if found.line:
        for number in (found.column, found.line):
            where = where.removesuffix(f":{number}")
    return Path(near(where)).as_posix()


# --- SARIF ------------------------------------------------------------------------------------------------------------


def sarif(found: Sequence[Linted]) -> dict[str, object]:
    """One run with every finding. GitHub follows a finding from push to push by its fingerprint."""
    diagnostics = list(_diagnostics(found))
    codes = sorted({one.code for one in diagnostics} | set(LINT_CODES))
    seen = Counter[str]()
    driver = {
        "name": "recovery lint",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_rule(code) for code in codes],
    }
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "invocations": [{"executionSuccessful": all(lint.complete for _, lint in found)}],
                "results": [_result(one, codes.index(one.code), seen) for one in diagnostics],
            }
        ],
    }


def _rule(code: str) -> dict[str, object]:
    meaning = LINT_CODES.get(code)
    title = meaning.title if meaning else "a mistake that `recovery check` finds"
    why = meaning.why if meaning else "The policy says something else than its author meant, or nothing at all."
    level = meaning.level if meaning else "error"
    return {
        "id": code,
        "shortDescription": {"text": title},
        "fullDescription": {"text": why},
        "help": {"text": why, **({"markdown": explained(code)} if meaning else {})},
        "defaultConfiguration": {"level": level},
        "properties": {"precision": "very-high", "problem.severity": _SEVERITY[level], "tags": ["policy"]},
    }


def _result(found: Diagnostic, rule: int, seen: Counter[str]) -> dict[str, object]:
    file = _file(found)
    uri = quote(file) if not Path(file).is_absolute() else Path(file).as_uri()
    physical: dict[str, object] = {"artifactLocation": {"uri": uri}}
    if found.line:
        physical["region"] = {"startLine": found.line, "startColumn": found.column or 1}
    return {
        "ruleId": found.code,
        "ruleIndex": rule,
        "level": found.level,
        "message": {"text": f"{found.message} ({found.help})" if found.help else found.message},
        "locations": [{"physicalLocation": physical}],
        "partialFingerprints": {"primaryLocationLineHash": _fingerprint(found, file, seen)},
    }


def _fingerprint(found: Diagnostic, file: str, seen: Counter[str]) -> str:
    """The same as long as the line says the same, wherever it stands; what is found twice is numbered."""
    line = found.excerpt.partition("\n")[0].partition("|")[2].strip()
    mark = hashlib.sha256(f"{found.code}\0{file}\0{line}\0{found.message}".encode()).hexdigest()[:16]
    seen[mark] += 1
    return f"{mark}:{seen[mark]}"


# --- GitHub Actions ---------------------------------------------------------------------------------------------------


def workflow_commands(found: Iterable[Linted]) -> Iterator[str]:
    """``::warning file=...,line=...,col=...,title=RP110::...`` for every finding."""
    for one in _diagnostics(found):
        at = {"file": _file(one), **({"line": one.line, "col": one.column} if one.line else {}), "title": one.code}
        properties = ",".join(f"{name}={_escaped(str(value), ':,')}" for name, value in at.items())
        text = f"{one.message} ({one.help})" if one.help else one.message
        yield f"::{_COMMAND[one.level]} {properties}::{_escaped(text)}"


def _escaped(text: str, more: str = "") -> str:
    """As the workflow commands of GitHub Actions want it: https://github.com/actions/toolkit, core/src/command.ts."""
    for char in ("%", "\r", "\n", *more):
        text = text.replace(char, f"%{ord(char):02X}")
    return text
