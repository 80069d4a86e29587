"""The documents are true: their code runs, their policies load, their commands answer as shown, their links lead on."""

import ast
import contextlib
import doctest
import io
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import recovery_engine
from recovery_engine import (
    Diagnostic,
    InvalidRequest,
    PolicyError,
    check_policy,
    check_policy_file,
    decide,
    read_request,
    run_examples,
)

ROOT = Path(__file__).resolve().parent.parent
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "policies").rglob("*.md"))]
DIAGNOSTICS = ROOT / "docs/DIAGNOSTICS.md"
LINT = ROOT / "docs/LINT.md"
CODE = re.compile(r"\b(?:R[PQ]|ST)[0-9]{3}\b")
_, WHY_NOT_BOTH = recovery_engine.matcher_in_service()
MODULES = [module.name for module in pkgutil.walk_packages(recovery_engine.__path__, "recovery_engine.")]


class Block(NamedTuple):
    """A fenced block: its language, the number of its first line, and its text."""

    language: str
    line: int
    text: str


def blocks(markdown: str) -> Iterator[Block]:
    """Every fenced block, in order."""
    language, first = "", 0
    lines: list[str] | None = None
    for number, line in enumerate(markdown.splitlines(), 1):
        if not line.startswith("```"):
            if lines is not None:
                lines.append(line)
        elif lines is None:
            language, first, lines = line.removeprefix("```").strip(), number + 1, []
        else:
            yield Block(language, first, "\n".join(lines) + "\n")
            lines = None
    assert lines is None, f"the block of line {first - 1} does not end"


def blocks_of(path: Path, language: str) -> list[Block]:
    return [block for block in blocks(path.read_text(encoding="utf-8")) if block.language == language]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def alike(shown: str, got: str) -> bool:
    """Whether *got* is what is *shown*, where ``...`` stands for anything; blanks at line ends do not count."""

    def trimmed(text: str) -> str:
        return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())

    pattern = ".*".join(re.escape(piece) for piece in trimmed(shown).split("..."))
    return re.fullmatch(pattern, trimmed(got), re.DOTALL) is not None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the starter policies in it, and the directory of STAFF.md, to work in."""
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    people = blocks_of(ROOT / "docs/STAFF.md", "yaml")[0].text
    (tmp_path / "staff.yaml").write_text(people, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- Python ---


def run_python(block: Block, file: str, names: dict[str, Any]) -> list[str]:
    """Run a block statement by statement; where what it prints is not what its ``# ->`` comments show, say so."""
    if ">>>" in block.text:
        return run_doctest(block, file, names)
    complaints = []
    lines = block.text.splitlines()
    statements = ast.parse(block.text).body
    begins = [statement.lineno for statement in statements[1:]] + [len(lines) + 1]
    for statement, next_begins in zip(statements, begins, strict=True):
        said = [line.split("# -> ", 1)[1] for line in lines[statement.lineno - 1 : next_begins - 1] if "# -> " in line]
        # A value that is shown is printed as a prompt would print it.
        tree: ast.Interactive | ast.Module = ast.Interactive([statement]) if said else ast.Module([statement], [])
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(tree, file, "single" if said else "exec"), names)
        if not alike("\n".join(said), out.getvalue()):
            place = f"{file}:{block.line + statement.lineno - 1}"
            complaints.append(f"{place} shows\n{said}\nand prints\n{out.getvalue()}")
    return complaints


def run_doctest(block: Block, file: str, names: dict[str, Any]) -> list[str]:
    test = doctest.DocTestParser().get_doctest(block.text, names, file, file, block.line)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    complaints: list[str] = []
    runner.run(test, out=complaints.append, clear_globs=False)
    names.update(test.globs)
    return complaints


@pytest.mark.parametrize("path", DOCS, ids=name_of)
def test_the_python_in_the_documents_runs_and_prints_what_is_shown(path: Path, folder: Path) -> None:
    if path == DIAGNOSTICS and WHY_NOT_BOTH:
        pytest.skip(WHY_NOT_BOTH)  # only durable-rules finds a policy too large
    names: dict[str, Any] = {"__name__": "document"}
    assert [said for block in blocks_of(path, "python") for said in run_python(block, name_of(path), names)] == []


@pytest.mark.parametrize("module", ["recovery_engine", *MODULES])
def test_the_examples_in_docstrings_are_true(module: str) -> None:
    assert doctest.testmod(import_module(module)).failed == 0


# --- policies ---

POLICIES = [
    pytest.param(block.text, id=f"{name_of(path)}:{block.line}")
    for path in DOCS
    for block in blocks_of(path, "yaml")
    if block.text.startswith("policy:")
]


@pytest.mark.parametrize("text", POLICIES)
def test_the_policies_in_the_documents_load_and_pass_their_tests(tmp_path: Path, text: str) -> None:
    (tmp_path / "policy.yaml").write_text(text, encoding="utf-8")
    policy, found = check_policy_file(tmp_path / "policy.yaml")
    assert found == ()
    assert policy is not None
    assert [result.name for result in run_examples(policy) if not result.passed] == []


# --- commands ---


class Command(NamedTuple):
    """A command as typed, its line, and what is shown below it."""

    line: int
    typed: str
    shown: str


def commands(block: Block) -> Iterator[Command]:
    """Each ``$ ...`` of a block; a backslash continues it."""
    lines = block.text.splitlines()
    starts = [at for at, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        typed, at = lines[start].removeprefix("$ "), start + 1
        while typed.endswith("\\"):
            typed, at = typed.removesuffix("\\") + lines[at].strip(), at + 1
        yield Command(block.line + start, typed, "\n".join(lines[at:end]))


COMMANDS = [
    pytest.param(command, id=f"{name_of(path)}:{command.line}")
    for path in DOCS
    for block in blocks_of(path, "console")
    for command in commands(block)
    if command.typed.startswith("recovery ")
]


def run_recovery(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "cli")])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RECOVERY_")}
    return subprocess.run(
        [sys.executable, "-m", "recovery_cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env=environment | {"PYTHONPATH": path, "NO_COLOR": "1", "COLUMNS": "120", "PYTHONUTF8": "1"},
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_in_the_documents_answer_as_shown(command: Command, folder: Path) -> None:
    if "doctor" in command.typed and WHY_NOT_BOTH:
        pytest.skip(WHY_NOT_BOTH)  # the doctor has to complain then
    ran = run_recovery(shlex.split(command.typed, comments=True)[1:], folder)
    said = ran.stdout + ran.stderr
    if command.shown.strip():
        assert ran.returncode in (0, 1), said
        assert alike(command.shown, said), said
    else:
        assert ran.returncode == 0, said


def test_the_demonstration_runs(folder: Path) -> None:
    ran = run_recovery(["demo"], folder)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout


# --- README, links, codes ---


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150


def test_every_make_target_in_the_readme_exists() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = [block.text for block in blocks(readme)] + re.findall(r"`([^`\n]+)`", readme)
    named = {target for text in code for target in re.findall(r"\bmake ([a-z]+)\b", text)}
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert named
    assert named <= targets


def without_blocks(markdown: str) -> str:
    return re.sub(r"^```.*?^```", "", markdown, flags=re.DOTALL | re.MULTILINE)


def anchors(markdown: str) -> set[str]:
    """What a link may name after ``#``: headings, as GitHub spells them."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(markdown), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path: Path) -> Iterator[str]:
    """Relative links that lead to no file, or to no heading of it."""
    text = without_blocks(path.read_text(encoding="utf-8"))
    for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        if not target.exists():
            yield f"{name_of(path)}: no file for {link}"
        elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
            yield f"{name_of(path)}: no heading for {link}"


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    assert list(broken_links(path)) == []


def codes_in_source() -> set[str]:
    files = [*(ROOT / "recovery_engine").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]
    return {
        code for file in files for code in re.findall(r'"((?:R[PQ]|ST)[0-9]{3})"', file.read_text(encoding="utf-8"))
    }


def sections(path: Path = DIAGNOSTICS) -> dict[str, str]:
    """The section of each code in DIAGNOSTICS.md or LINT.md."""
    pieces = re.split(r"^### ((?:R[PQ]|ST)[0-9]{3})$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def test_every_code_is_documented_and_every_documented_code_exists() -> None:
    assert set(sections() | sections(LINT)) == codes_in_source()
    assert sections().keys().isdisjoint(sections(LINT))


def test_no_document_names_a_code_that_does_not_exist() -> None:
    named = {(name_of(path), code) for path in TEXTS for code in CODE.findall(path.read_text(encoding="utf-8"))}
    assert {(path, code) for path, code in named if code not in codes_in_source()} == set()


# --- avoid and prefer ---


def top_level(text: str) -> dict[str, str]:
    """The blocks of a policy by name, each with its text."""
    pieces = re.split(r"^(?=[a-z_]+:)", text, flags=re.MULTILINE)
    return {piece.partition(":")[0]: piece for piece in pieces if piece.strip()}


def checked(fragment: str) -> tuple[Diagnostic, ...]:
    """What is found in the policy of DIAGNOSTICS.md with a fragment in the place of the blocks of its names."""
    base = next(block.text for block in blocks_of(DIAGNOSTICS, "yaml"))
    return check_policy("".join((top_level(base) | top_level(fragment)).values()))[1]


FRAGMENTS = {
    code: [block.text for block in blocks(section) if block.language == "yaml"]
    for code, section in sections().items()
    if "```yaml" in section
}


@pytest.mark.parametrize("code", FRAGMENTS)
def test_what_to_avoid_is_found_and_what_to_prefer_is_fine(code: str) -> None:
    avoid, prefer = FRAGMENTS[code]
    assert code in {found.code for found in checked(avoid)}
    assert checked(prefer) == ()


@pytest.mark.parametrize("code", sorted(codes_in_source()))
def test_every_code_says_why(code: str) -> None:
    assert "*Why*:" in (sections() | sections(LINT))[code]


# --- the tables of POLICY_LANGUAGE.md ---


def table_after(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table after a line that contains *heading*, without its head."""
    lines = text[text.index(heading) :].splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


LANGUAGE = (ROOT / "docs/POLICY_LANGUAGE.md").read_text(encoding="utf-8")


def test_the_worked_answers_are_the_engines() -> None:
    text = next(block.text for block in blocks(LANGUAGE) if block.text.startswith("policy: lakeside"))
    policy, _ = check_policy(text)
    assert policy is not None
    rows = table_after(LANGUAGE, "With the complete example, for a refund of a $300 bill")
    assert rows
    for who, amount, answer, because in rows:
        fields = {
            **{"role": "associate", "site": "S001", "remedy": "refund", "category": "delay", "severity": "minor"},
            **{"bill": "300", "days_since_visit": "0", "customer_is_staff": "false", "amount": amount},
            "evidence": "" if "no receipt" in who else "receipt",
            "note": "it was cold" if "with a note" in who else "",
        }
        decision = decide(policy, *read_request(policy, fields))
        said = str(decision.outcome) + (f" to {decision.to}" if decision.to else "")
        said += "".join(f", needs `{item}`" for item in decision.needs)
        assert (answer, because) == (said, ", ".join(f"`{line}`" for line in decision.lines))


def test_every_block_of_a_policy_is_in_the_table() -> None:
    documented = {name for row in table_after(LANGUAGE, "## Every block") for name in re.findall(r"`(\w+)`", row[0])}
    fields = {name.rstrip("_") for name in recovery_engine.Policy.model_fields}
    assert documented == fields


def test_the_amounts_that_are_said_to_be_amounts_are() -> None:
    rows = table_after(LANGUAGE, "One parser serves policies, requests and the command line.")
    for good, bad, _ in rows:
        for text in re.findall(r"`([^`]+)`", good):
            recovery_engine.Money.of(text.strip('"'), "USD")
        for text in re.findall(r"`([^`]+)`", bad):
            if text == "1,000":  # two cells of a list; as a text of its own it is an amount
                continue
            with pytest.raises(InvalidRequest):
                recovery_engine.Money.of(text, "USD")


# --- the checks bite ---


@pytest.mark.parametrize(
    ("shown", "got", "same"),
    [
        ("a ... c", "a b c\n", True),
        ("a\n...\nd", "a  \nb\nc\nd", True),
        ("a", "a\nb", False),
        ("...", "", True),
        ("", "something", False),
        ("$1.00", "$1x00", False),
    ],
)
def test_shown_output_is_compared_with_what_was_said(shown: str, got: str, same: bool) -> None:
    assert alike(shown, got) == same


def test_a_block_that_prints_something_else_is_noticed() -> None:
    def said(text: str) -> list[str]:
        return run_python(Block("python", 1, text), "document.md", {})

    assert said("print(1)  # -> 1\n") == []
    assert said("for i in (1, 2):\n    print(i)\n# -> 1\n# -> 2\n") == []
    assert said("1 + 1  # -> 2\n") == []
    assert said(">>> 1 + 1\n2\n") == []
    assert said("print(1)  # -> 2\n")
    assert said("print(1)\n")
    assert said("x = 1  # -> 1\n")
    assert said(">>> 1 + 1\n3\n")


def test_a_broken_link_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# One: two\n[a](page.md) [b](#one-two) [c](gone.md) [d](#three) [e](https://example.org/x)\n")
    assert len(list(broken_links(page))) == 2


def test_a_wrong_policy_raises_with_every_mistake() -> None:
    with pytest.raises(PolicyError) as raised:
        recovery_engine.parse_policy("policy: a b\ncurrency: USB\nladder: [a]\n")
    assert len(raised.value.diagnostics) == 3
