"""`recovery lint` at the command line: what it shows, in four formats, and how it ends."""

import json
import re
from pathlib import Path

import pytest
from asking import CLASSIC
from click.testing import CliRunner, Result
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as Sarif

from recovery_cli.main import cli
from recovery_engine import LINT_CODES

ROOT = Path(__file__).resolve().parent.parent
BROKEN = "promises:\n  - {id: p, never: approve, when: {role: lead, amount: over 200}}\n"
UNREAD = "facts: {age: {number: true}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lint(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["lint", *arguments], env={"COLUMNS": "200"})


def test_a_finding_shows_its_place_its_text_and_the_request_that_proves_it(folder: Path) -> None:
    (folder / "shop.yaml").write_text(CLASSIC + BROKEN)
    ran = lint("shop.yaml", "--ignore", "RP122")
    assert ran.exit_code == 1
    assert ran.output.splitlines() == [
        "shop.yaml:7:10: error RP101 `p` is broken: `lead` asks for $200.01 refund, and it is approved by `standard`",
        "    7 |   - {id: p, never: approve, when: {role: lead, amount: over 200}}",
        "      |          ^ change the lines that decide so, or the promise",
        "        recovery what-if --policy shop.yaml --role lead --remedy refund --amount 200.01",
        ran.output.splitlines()[-1],
    ]
    assert re.fullmatch(
        r"1 policy read: 1 error, 0 warnings, 0 notes; 0 promises proven \(complete: [\d,]+ cells examined\)",
        ran.output.splitlines()[-1],
    )


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 0),
        (["--fail-on", "warning"], 1),
        (["--fail-on", "note"], 1),
        (["--fail-on", "warning", "--ignore", "RP140"], 0),
        (["--fail-on", "warning", "--ignore", "rp14,RP122"], 0),
        (["--fail-on", "warning", "--select", "RP1", "--ignore", "RP14"], 0),
        (["--fail-on", "warning", "--select", "RP110"], 0),
        (["--fail-on", "note", "--select", "RP12"], 1),
    ],
)
def test_how_it_ends_depends_on_the_level_and_the_chosen_codes(folder: Path, options: list[str], code: int) -> None:
    (folder / "shop.yaml").write_text(CLASSIC + UNREAD)
    assert lint("shop.yaml", *options).exit_code == code


def test_mistakes_are_shown_whatever_is_selected_and_it_is_not_called_complete(folder: Path) -> None:
    (folder / "shop.yaml").write_text(CLASSIC.replace("ladder", "laddr"))
    ran = lint("shop.yaml", "--select", "RP110")
    assert ran.exit_code == 1
    assert "RP004 unknown key `laddr`" in ran.output
    assert "NOT complete: 1 policy not usable" in ran.output


def test_what_was_cut_short_fails_even_where_its_finding_is_ignored(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recovery_engine.whatif.diagram import Diagram

    (folder / "shop.yaml").write_text(CLASSIC)
    monkeypatch.setattr(Diagram.__init__, "__defaults__", (None, 1))
    ran = lint("shop.yaml", "--ignore", "RP190")
    assert ran.exit_code == 1
    assert "NOT complete: 1 too large" in ran.output


def test_a_file_that_is_not_there_and_an_unknown_code_are_unusable(folder: Path) -> None:
    assert lint("nowhere.yaml").exit_code == 2
    (folder / "shop.yaml").write_text(CLASSIC)
    ran = lint("shop.yaml", "--ignore", "RP199")
    assert ran.exit_code == 2
    assert "`RP199`" in ran.output


def test_as_json_every_finding_has_its_place_and_its_request(folder: Path) -> None:
    (folder / "shop.yaml").write_text(CLASSIC + BROKEN)
    for options in (["--json"], ["--format", "json"]):
        document = json.loads(lint("shop.yaml", *options).output)
        assert (document["complete"], document["errors"], document["notes"]) == (True, 1, 1)
        (file,) = document["files"]
        (first, _) = sorted(file["findings"], key=lambda one: one["code"])
        assert (first["code"], first["line"], first["column"]) == ("RP101", 7, 10)
        assert first["what_if"].startswith("recovery what-if --policy shop.yaml --role lead")


def test_for_github_every_finding_is_one_escaped_command(folder: Path) -> None:
    name = "a,b:c%d.yaml"
    (folder / name).write_text(CLASSIC + UNREAD)
    first, second, summary = lint(name, "--format", "github").output.splitlines()
    assert first == (
        "::notice file=a%2Cb%3Ac%25d.yaml,line=5,col=46,title=RP122::`manager` is the last who may give `total`: "
        "beyond $500.00 it is denied (as it should be where nobody may give more; otherwise write `unlimited`)"
    )
    assert second.startswith(
        "::warning file=a%2Cb%3Ac%25d.yaml,line=6,col=9,title=RP140::no line reads the fact `age` ("
    )
    assert summary.startswith("1 policy read: 0 errors, 1 warning, 1 note;")


def sarif(*arguments: str) -> dict:
    return json.loads(lint(*arguments, "--format", "sarif").output)


def test_sarif_is_as_its_schema_says_and_has_what_github_needs(folder: Path) -> None:
    (folder / "my shop.yaml").write_text(CLASSIC + UNREAD + BROKEN)
    (folder / "broken.yaml").write_text("policy: [")
    document = sarif("my shop.yaml", "broken.yaml", "nowhere.yaml", "hotel")
    Sarif.model_validate(document)
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert {rule["id"] for rule in rules} >= set(LINT_CODES)
    assert run["invocations"] == [{"executionSuccessful": False}]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        (location,) = result["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"]
        assert result["partialFingerprints"]["primaryLocationLineHash"]
    mine = [result for result in run["results"] if result["ruleId"] == "RP140"]
    assert mine[0]["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "my%20shop.yaml"},
                "region": {"startLine": 6, "startColumn": 9},
            }
        }
    ]


def test_a_finding_is_followed_when_its_line_moves(folder: Path) -> None:
    def marks() -> set[str]:
        results = sarif("shop.yaml")["runs"][0]["results"]
        found = [result["partialFingerprints"]["primaryLocationLineHash"] for result in results]
        assert len(set(found)) == len(found)
        return set(found)

    (folder / "shop.yaml").write_text(CLASSIC + UNREAD)
    before = marks()
    (folder / "shop.yaml").write_text("# ours\n\n" + CLASSIC + UNREAD)
    assert marks() == before


def test_a_code_is_explained_with_what_to_avoid_and_prefer() -> None:
    ran = lint("--explain", "rp110")
    assert ran.exit_code == 0
    assert ran.output.startswith("RP110 **A line that changes no decision** (warning).")
    assert all(word in ran.output for word in ("*Avoid*", "*Prefer*", "*Why*"))
    assert lint("--explain", "RP999").exit_code == 2


def test_the_page_of_codes_is_what_the_command_says() -> None:
    assert (ROOT / "docs/LINT.md").read_text(encoding="utf-8") == lint("--explain", "all").output
