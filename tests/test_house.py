"""The rules of the house: imports point down, the lower half touches nothing outside, every file can be read.

Each rule is a function from source text to complaints, and each is shown first that it does complain.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "recovery_engine"
COMMAND_LINE = ROOT / "cli/recovery_cli"

# Highest first. A module imports from lower layers and, in its own layer, from its own package only.
# A name stands for that module and for everything inside it, unless a longer name says otherwise.
LAYERS = [
    ["recovery_engine"],
    ["recovery_engine.engine"],
    ["recovery_engine.history"],
    ["recovery_engine.log.reading", "recovery_engine.log.verification", "recovery_engine.log.proof"],
    ["recovery_engine.log.writing"],
    ["recovery_engine.log"],
    ["recovery_engine.policy.library"],
    # Below this line: no file, clock, database, environment, randomness.
    ["recovery_engine.whatif", "recovery_engine.workflow"],
    ["recovery_engine.decide"],
    ["recovery_engine.seats"],
    ["recovery_engine.explain"],
    ["recovery_engine.flips"],
    ["recovery_engine.phrases"],
    ["recovery_engine.rules"],
    ["recovery_engine.staff"],
    ["recovery_engine.policy"],
    ["recovery_engine.model"],
    ["recovery_engine.money"],
    ["recovery_engine.errors", "recovery_engine.forbidden", "recovery_engine.version"],
]
LINE = 7
LAYER_OF = {name: height for height, names in enumerate(LAYERS) for name in names}

OUTSIDE = {
    *("fileinput", "glob", "io", "linecache", "logging", "os", "pathlib", "shelve", "shutil", "tempfile"),
    *("random", "secrets", "uuid"),
    *("signal", "time"),
    *("asyncio", "http", "multiprocessing", "socket", "sqlite3", "subprocess", "urllib"),
}
CLOCK = {"now", "utcnow", "today"}
OPENERS = {"open", "input", "__import__", "import_module"}
# Who alone may import it.
ONLY_IN = {
    "sqlmodel": "recovery_engine.log",
    "sqlalchemy": "recovery_engine.log",
    "click": "recovery_cli",
    "rich_click": "recovery_cli",
    "durable": "recovery_engine.rules.durable",
    "durable_rules_engine": "recovery_engine.rules.durable",
    "numba": "recovery_engine.history",
    "numpy": "recovery_engine.history",
    "matplotlib": "recovery_cli.pages.charts",
    "markupsafe": "recovery_cli.pages",
}
NO_NOUN = re.compile(r"utils?|helpers?|manager|process(_.*)?|data|info")
UNFINISHED = re.compile(r"\bTO[D]O\b|\bFIX[M]E\b|#.*\bXX[X]\b")
MACHINE_PATH = re.compile(r"(?<![\w./-])/(home|Users|root|work|mnt)/\w|\b[A-Z]:\\+Users\b")
LINES_AT_MOST = 500


def module_name(path: Path) -> str:
    base = COMMAND_LINE.parent if path.is_relative_to(COMMAND_LINE) else ROOT
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for top in (LIBRARY, COMMAND_LINE) for path in sorted(top.rglob("*.py"))}
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}
CODE = ["recovery_engine", "cli", "tests", "benchmarks"]
OURS = [path for top in CODE for path in sorted((ROOT / top).rglob("*.py"))]
TEXTS = OURS + [
    path
    for pattern in ("*.md", "*.toml", "Makefile", ".ci/run", "docs/**/*.md", "policies/**/*.yaml")
    for path in sorted(ROOT.glob(pattern))
]


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def layer(module: str) -> int | None:
    """How far down *module* stands; None for one that LAYERS does not place."""
    known = [name for name in LAYER_OF if within(module, name)]
    nearest = max(known, key=len, default="recovery_engine")
    placed = nearest != "recovery_engine" or module == "recovery_engine"
    return LAYER_OF[nearest] if placed else None


def imported(module: str, tree: ast.Module, modules: set[str], packages: set[str]) -> Iterator[tuple[int, str, str]]:
    """Each import anywhere in *tree*: its line, the module imported, the name taken from it ("" if none)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = module.split(".")[: None if module in packages else -1]
                up = up[: len(up) - (node.level - 1)]
                base = ".".join([*up, base] if base else up)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield (node.lineno, inner, "") if inner in modules else (node.lineno, base, alias.name)


# --- the rules ---


def wrong_direction(module: str, source: str, modules: set[str], packages: set[str]) -> list[str]:
    """The library imports downwards only, and each outside library has one home."""
    own_layer = layer(module)
    if within(module, "recovery_engine") and own_layer is None:
        return [f"{module} has no place in LAYERS"]
    complaints = []
    for line, target, _ in imported(module, ast.parse(source), modules, packages):
        home = ONLY_IN.get(target.split(".")[0])
        if home and not within(module, home):
            complaints.append(f"{module}:{line} imports {target}, which only {home} may")
        if within(module, "recovery_engine"):
            if target.split(".")[0] in {"recovery_cli", "tests", "benchmarks"}:
                complaints.append(f"{module}:{line} imports {target} from outside the library")
            elif within(target, "recovery_engine") and not may_import(module, target):
                complaints.append(f"{module}:{line} imports {target}, which is not below it")
    return complaints


def may_import(module: str, target: str) -> bool:
    own, other = layer(module), layer(target)
    if own is None or other is None:
        return False
    same_package = module.split(".")[:2] == target.split(".")[:2]
    return own < other or (own == other and same_package)


def touches_outside(module: str, source: str, modules: set[str], packages: set[str]) -> list[str]:
    """Below the line nothing reads or writes a file, the clock, a database, the environment, or chance."""
    own_layer = layer(module)
    if own_layer is None or own_layer < LINE:
        return []
    tree = ast.parse(source)
    complaints = []
    clocks = {"datetime", "date"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            clocks |= {a.asname for a in node.names if a.asname and a.name in {"datetime", "date"}}
    for line, target, _ in imported(module, tree, modules, packages):
        if target.split(".")[0] in OUTSIDE:
            complaints.append(f"{module}:{line} imports {target}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in CLOCK and last_name(node.value) in clocks:
            complaints.append(f"{module}:{node.lineno} reads the clock")
        if isinstance(node, ast.Call) and last_name(node.func) in OPENERS:
            complaints.append(f"{module}:{node.lineno} calls {last_name(node.func)}()")
    return complaints


def last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def goes_round_the_public_names(module: str, source: str, public: set[str], modules: set[str]) -> list[str]:
    """The command line takes from the library what any other host can take."""
    tree = ast.parse(source)
    complaints = []
    for line, target, name in imported(module, tree, modules, PACKAGES):
        if target == "recovery_engine" and name and name not in public:
            complaints.append(f"{module}:{line} imports {name}, which is not public")
        elif target.startswith("recovery_engine."):
            complaints.append(f"{module}:{line} imports {target} instead of a public name")
    library = {"recovery_engine"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            library |= {a.asname for a in node.names if a.asname and a.name == "recovery_engine"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in library and node.attr not in public:
                complaints.append(f"{module}:{node.lineno} uses {node.attr}, which is not public")
    return complaints


def public_names() -> set[str]:
    """`recovery_engine.__all__`, read without importing the library."""
    for node in ast.walk(ast.parse((LIBRARY / "__init__.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and [last_name(target) for target in node.targets] == ["__all__"]:
            return set(ast.literal_eval(node.value))
    raise AssertionError("recovery_engine/__init__.py has no plain `__all__ = [...]`")


# --- the rules hold ---


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    assert wrong_direction(module, MODULES[module].read_text(encoding="utf-8"), set(MODULES), PACKAGES) == []


@pytest.mark.parametrize("module", MODULES)
def test_below_the_line_nothing_touches_the_outside(module: str) -> None:
    assert touches_outside(module, MODULES[module].read_text(encoding="utf-8"), set(MODULES), PACKAGES) == []


@pytest.mark.parametrize("module", [name for name in MODULES if within(name, "recovery_cli")])
def test_the_command_line_uses_public_names_only(module: str) -> None:
    source = MODULES[module].read_text(encoding="utf-8")
    assert goes_round_the_public_names(module, source, public_names(), set(MODULES)) == []


def test_every_module_is_named_by_a_noun_of_the_domain() -> None:
    parts = {part for path in OURS for part in path.relative_to(ROOT).with_suffix("").parts}
    assert sorted(part for part in parts if NO_NOUN.fullmatch(part)) == []


def test_nothing_is_left_unfinished() -> None:
    assert [place for path in OURS for place in lines_with(UNFINISHED, path)] == []


def test_no_path_of_one_machine_is_written_down() -> None:
    assert [place for path in TEXTS for place in lines_with(MACHINE_PATH, path)] == []


def test_no_file_is_too_long_to_read() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines()) for path in OURS}
    assert {name: length for name, length in lengths.items() if length > LINES_AT_MOST} == {}


def lines_with(pattern: re.Pattern[str], path: Path) -> list[str]:
    place = path.relative_to(ROOT)
    lines = path.read_text(encoding="utf-8").splitlines()
    return [f"{place}:{number}: {line}" for number, line in enumerate(lines, 1) if pattern.search(line)]


# --- the rules bite ---

SOME_MODULES = {
    "recovery_engine",
    "recovery_engine.decide",
    "recovery_engine.engine",
    "recovery_engine.errors",
    "recovery_engine.log",
    "recovery_engine.log.writing.store",
    "recovery_engine.model",
    "recovery_engine.money",
    "recovery_engine.policy",
    "recovery_engine.policy.library",
    "recovery_engine.policy.schema",
    "recovery_engine.policy.source",
    "recovery_engine.rules",
    "recovery_engine.rules.durable",
    "recovery_engine.rules.reference",
    "recovery_engine.whatif",
    "recovery_engine.whatif.lint",
    "recovery_engine.workflow",
}
SOME_PACKAGES = {f"recovery_engine{part}" for part in ("", ".log", ".policy", ".rules", ".whatif")}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("recovery_engine.decide", "from recovery_engine.policy.library import Library"),
        ("recovery_engine.decide", "from recovery_engine import engine"),
        ("recovery_engine.decide", "from recovery_engine import Money"),
        ("recovery_engine.decide", "from . import workflow"),
        ("recovery_engine.decide", "def late():\n    from .log.store import Store"),
        ("recovery_engine.decide", "import recovery_cli.main"),
        ("recovery_engine.errors", "from recovery_engine.money import Money"),
        ("recovery_engine.policy.schema", "from .library import Library"),
        ("recovery_engine.policy.schema", "from ..rules import reference"),
        ("recovery_engine.rules.reference", "from durable.lang import ruleset"),
        ("recovery_engine.workflow", "from recovery_engine.whatif import lint"),
        ("recovery_engine.engine", "import sqlmodel"),
        ("recovery_engine.log.writing.store", "import click"),
        ("recovery_engine.somewhere", ""),
        ("recovery_cli.main", "from sqlmodel import Session"),
    ],
)
def test_an_import_that_points_up_or_aside_is_noticed(module: str, source: str) -> None:
    assert wrong_direction(module, source, SOME_MODULES, SOME_PACKAGES)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("recovery_engine", "from recovery_engine.engine import RecoveryEngine"),
        ("recovery_engine.decide", "from recovery_engine import money\nfrom .policy.schema import Policy"),
        ("recovery_engine.log", "from .store import Store"),
        ("recovery_engine.log.writing.store", "import sqlmodel\nfrom ..policy.library import Library"),
        ("recovery_engine.policy.library", "from pathlib import Path\nfrom .source import load_policy"),
        ("recovery_engine.policy.source", "import yaml\nfrom recovery_engine.policy.schema import Policy"),
        ("recovery_engine.rules.durable", "import durable_rules_engine\nfrom durable import lang"),
        ("recovery_engine.whatif.lint", "from recovery_engine.decide import decide"),
        ("recovery_cli.main", "import rich_click as click\nfrom recovery_engine import Money"),
    ],
)
def test_an_import_that_points_down_is_fine(module: str, source: str) -> None:
    assert wrong_direction(module, source, SOME_MODULES, SOME_PACKAGES) == []


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "from os import environ",
        "from pathlib import Path",
        "import time",
        "import sqlite3",
        "def pick():\n    import random",
        "from datetime import datetime\nnow = datetime.now()",
        "from datetime import date as day\nclock = day.today",
        "import datetime as dt\nnow = dt.datetime.now(dt.UTC)",
        "import datetime as dt\nnow = dt.date.today()",
        "text = open('policy.yaml').read()",
    ],
)
def test_touching_the_outside_below_the_line_is_noticed(source: str) -> None:
    assert touches_outside("recovery_engine.decide", source, SOME_MODULES, SOME_PACKAGES)
    assert touches_outside("recovery_engine.log.writing.store", source, SOME_MODULES, SOME_PACKAGES) == []


@pytest.mark.parametrize(
    "source",
    [
        "import threading\nlock = threading.Lock()",
        "from datetime import datetime, time, timedelta\ndef later(now: datetime): return now + timedelta(1)",
        "def due(request): return request.now",
    ],
)
def test_times_and_locks_as_values_are_fine_below_the_line(source: str) -> None:
    assert touches_outside("recovery_engine.decide", source, SOME_MODULES, SOME_PACKAGES) == []


@pytest.mark.parametrize(
    "source",
    [
        "from recovery_engine.decide import decide",
        "from recovery_engine import decide_all",
        "from recovery_engine import engine",
        "import recovery_engine.policy.schema",
        "import recovery_engine as library\nlibrary.policy",
    ],
)
def test_the_command_line_reaching_inside_is_noticed(source: str) -> None:
    assert goes_round_the_public_names("recovery_cli.main", source, {"Money", "decide"}, SOME_MODULES)


def test_a_public_name_may_be_called_as_its_module() -> None:
    source = "import recovery_engine\nfrom recovery_engine import Money\nrecovery_engine.decide(Money)"
    assert goes_round_the_public_names("recovery_cli.main", source, {"Money", "decide"}, SOME_MODULES) == []


@pytest.mark.parametrize("path", ["/ho" + "me/ann/p.yaml", "C:" + "\\Users\\ann", "see /ro" + "ot/notes"])
def test_a_machine_path_is_noticed(path: str) -> None:
    assert MACHINE_PATH.search(path)


@pytest.mark.parametrize("text", ["# TO" + "DO later", "x = 1  # XX" + "X", "FIX" + "ME"])
def test_an_unfinished_place_is_noticed(text: str) -> None:
    assert UNFINISHED.search(text)


def test_the_currency_that_is_none_is_not_an_unfinished_place() -> None:
    assert not UNFINISHED.search('Money.of("5", "XX' + 'X")')
