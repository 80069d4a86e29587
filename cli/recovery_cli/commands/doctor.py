"""`recovery doctor`: is this installation sound, and if not, what cures it?"""

import platform
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

import rich_click as click
from rich.text import Text

import recovery_engine
from recovery_cli.exits import FINDINGS, FINE
from recovery_cli.options import json_option
from recovery_cli.render import console, plain, print_json
from recovery_engine import (
    Money,
    Outcome,
    RecoveryRequest,
    __version__,
    load_policy,
    matcher_in_service,
    shipped_policies,
)

GOOD, NOTE, WRONG = "good", "note", "wrong"
STYLES = {GOOD: "green", NOTE: "yellow", WRONG: "red"}

DURABLE_RULES = "2.0.28"
NEEDED = (
    *("durable-rules", "pydantic", "sqlmodel", "cryptography", "click", "rich-click", "rich", "PyYAML", "babel"),
    "orjson",
)
OPTIONAL = {
    "psycopg": ("postgres", "logs in PostgreSQL", "PostgreSQL"),
    "duckdb": ("parquet", "exports as Parquet", "Parquet"),
}
"""What serves only some: the extra that brings it, what it is for, and in short."""
BUILD_IT = (
    "CPPFLAGS=-DPyEval_CallObject=PyObject_CallObject "
    "pip install --no-cache-dir --force-reinstall --no-deps durable-rules==2.0.28"
)
INSTALL_IT = "pip install --force-reinstall recovery-engine"
# The first release of each line without the WAL-reset bug, which can lose commits that were acknowledged.
WAL_IS_SAFE = ((3, 51, 3), (3, 50, 7), (3, 44, 6))


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, what that means, and the cure if it is wrong."""

    what: str
    level: str
    found: str
    means: str = ""
    cure: str = ""


@click.command("doctor")
@json_option
@click.pass_context
def command(ctx: click.RichContext, as_json: bool) -> None:
    """Say whether this installation is sound: versions, the rule engine, the database.

    \b
    Examples:
      recovery doctor
      recovery doctor --json

    Exit codes: 0 sound (notes do not count), 1 something is wrong.
    """
    findings = [finding for look in (_python, _packages, _optional, _sqlite, _matcher, _policies) for finding in look()]
    wrong = sum(finding.level == WRONG for finding in findings)
    if as_json:
        print_json({"sound": not wrong, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            _show(finding)
        click.echo("sound" if not wrong else f"{wrong} of {len(findings)} wrong")
    ctx.exit(FINDINGS if wrong else FINE)


def _show(finding: Finding) -> None:
    out = console()
    level, what = (f"{finding.level:<6}", STYLES[finding.level]), (f"{finding.what:<17}", "bold")
    said = "  ".join(plain(text) for text in (finding.found, finding.means) if text)
    out.print(Text.assemble(level, what, said), soft_wrap=True)
    if finding.cure:
        out.print(f"      cure: {finding.cure}", soft_wrap=True)


def _python() -> Iterator[Finding]:
    supported = (3, 11) <= sys.version_info[:2] <= (3, 13)
    cure = "" if supported else "use Python 3.11, 3.12 or 3.13"
    yield Finding("python", GOOD if supported else WRONG, platform.python_version(), "", cure)
    yield Finding("recovery-engine", GOOD, __version__)


def _packages() -> Iterator[Finding]:
    for name in NEEDED:
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Finding(name, WRONG, "missing", "", INSTALL_IT)
            continue
        if name == "durable-rules" and found != DURABLE_RULES:
            means = f"only {DURABLE_RULES} has been examined for what it gets wrong"
            yield Finding(name, WRONG, found, means, BUILD_IT)
        else:
            yield Finding(name, GOOD, found)


def _optional() -> Iterator[Finding]:
    for name, (extra, purpose, short) in OPTIONAL.items():
        try:
            yield Finding(name, GOOD, version(name), f"for {purpose}")
        except PackageNotFoundError:
            cure = f"pip install 'recovery-engine[{extra}]', if you want {short}"
            yield Finding(name, NOTE, "missing", f"only {purpose} need it", cure)


def _sqlite() -> Iterator[Finding]:
    module = _sqlite_module()
    found = tuple(int(part) for part in module.sqlite_version.split("."))
    shown = module.sqlite_version + ("" if module is sqlite3 else " (pysqlite3)")
    if wal_is_safe(found):
        yield Finding("SQLite", GOOD, shown, "the recovery log keeps a WAL journal, synchronous FULL")
    else:
        means = (
            "the recovery log keeps a DELETE journal, synchronous EXTRA: as safe as WAL and slower, because this "
            "SQLite has the WAL-reset bug"
        )
        yield Finding("SQLite", NOTE, shown, means, "`pip install pysqlite3` brings a newer one")


def _sqlite_module() -> ModuleType:
    """The SQLite that serves: the interpreter's own, or where that is too old pysqlite3, which brings a newer one."""
    if sqlite3.sqlite_version_info >= WAL_IS_SAFE[0]:
        return sqlite3
    try:
        newer = import_module("pysqlite3.dbapi2")
    except ImportError:
        return sqlite3
    return newer if newer.sqlite_version_info > sqlite3.sqlite_version_info else sqlite3


def wal_is_safe(found: tuple[int, ...]) -> bool:
    """Whether this version of SQLite has no WAL-reset bug."""
    return found >= WAL_IS_SAFE[0] or any(found[:2] == fixed[:2] and found >= fixed for fixed in WAL_IS_SAFE)


def _matcher() -> Iterator[Finding]:
    matcher, why_not = matcher_in_service()
    if matcher == "both":
        yield Finding("matcher", GOOD, "both", "durable-rules and the reference matcher decide, and must agree")
    else:
        means = f"the reference matcher decides alone: {why_not}"
        yield Finding("matcher", WRONG, matcher, means, BUILD_IT)


def _policies() -> Iterator[Finding]:
    """A decision whose answer is known: the whole way from a file to an outcome works."""
    decision = recovery_engine.decide(
        load_policy("classic"), RecoveryRequest("frontline", "refund", Money.of("100", "USD"))
    )
    sound = decision.outcome == Outcome.APPROVE
    found = f"{len(shipped_policies())} starters"
    if sound:
        yield Finding("policies", GOOD, found, "a trial request was decided as it should be")
    else:
        yield Finding("policies", WRONG, found, "a trial request was decided wrongly", INSTALL_IT)
