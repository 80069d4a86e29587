"""`recovery staff`: what the people leave open, and who they are."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recovery_cli.commands import staff
from recovery_cli.main import cli

PEOPLE = """\
staff: lakeside
currency: USD
people:
  - {employee: emp-104, role: frontline, sites: [S1]}
  - {employee: emp-7, role: manager, until: 2026-12-31}
  - {employee: emp-9, role: supervisor, suspended: true, why: until the audit is done}
  - {employee: emp-12, role: supervisor, limit: {at_most: 60}, why: first month}
"""


def recovery(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, ["staff", *map(str, args)])


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "staff.yaml"
    path.write_text(PEOPLE, encoding="utf-8")
    return path


def test_nothing_left_open_is_fine(people: Path) -> None:
    said = recovery("check", people, "--policy", "classic", "--day", "2026-12-31")
    assert (said.exit_code, said.stdout) == (0, "4 rows checked for 2026-12-31: 0 errors, 0 warnings\n")


def test_what_is_left_open_is_a_finding(people: Path) -> None:
    said = recovery("check", people, "--policy", "classic", "--day", "2027-01-01")
    assert said.exit_code == 1
    assert "error ST011 at `S1`: $100.01 to $500.00 cannot be approved, whoever asks" in said.stdout
    assert "warning ST010 at `S1`: no manager is there on 2027-01-01" in said.stdout
    assert said.stdout.endswith("4 rows checked for 2027-01-01: 2 errors, 1 warning\n")


def test_a_mistake_in_the_file_is_shown_with_a_caret(people: Path) -> None:
    people.write_text(PEOPLE.replace("suspended: true", "suspendid: true"), encoding="utf-8")
    for verb in (["check", people, "--policy", "classic"], ["show", people]):
        said = recovery(*verb)
        assert said.exit_code == 2
        assert "RP004 unknown key `suspendid`" in said.stderr
        assert "^^^^^^^^^ did you mean `suspended`?" in said.stderr
        assert "the staff directory cannot be used" in said.stderr


def test_a_policy_that_cannot_be_used_is_told(people: Path, tmp_path: Path) -> None:
    assert recovery("check", people, "--policy", tmp_path / "gone.yaml").exit_code == 2
    assert recovery("check", people).exit_code == 2


def test_a_day_without_a_policy_is_told(people: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    head = "policy: p\neffective: {from: 2027-01-01}\ncurrency: USD\nladder: [frontline]\n"
    text = f"{head}authority: [{{up_to: {{total: [5]}}}}]\n"
    policy.write_text(text, encoding="utf-8")
    said = recovery("check", people, "--policy", policy, "--day", "2026-12-31")
    assert said.exit_code == 2
    assert "no policy is in force on 2026-12-31" in said.stderr


def test_findings_in_json(people: Path) -> None:
    said = recovery("check", people, "--policy", "classic", "--day", "2027-01-01", "--json")
    told = json.loads(said.stdout)
    assert said.exit_code == 1
    assert (told["staff"], told["day"], told["people"]) == ("lakeside", "2027-01-01", 4)
    assert (told["errors"], told["warnings"]) == (2, 1)
    assert [problem["code"] for problem in told["problems"]] == ["ST011", "ST011", "ST010"]


def test_the_people_as_a_table(people: Path) -> None:
    said = CliRunner(env={"COLUMNS": "160"}).invoke(cli, ["staff", "show", str(people)])
    lines = [" ".join(line.split()) for line in said.stdout.splitlines()]
    assert (said.exit_code, lines) == (
        0,
        [
            "who role sites days own limit why",
            "emp-104 frontline S1 always",
            "emp-7 manager every site until 2026-12-31",
            "emp-9 supervisor every site suspended until the audit is done",
            "emp-12 supervisor every site always at most $60.00 first month",
        ],
    )


def test_the_people_in_json(people: Path) -> None:
    told = json.loads(recovery("show", people, "--json").stdout)
    assert told["people"][0]["sites"] == ["S1"]
    assert told["people"][1]["until"] == "2026-12-31"
    assert (told["people"][3]["limit"], told["people"][3]["currency"]) == ({"at_most": "60.00"}, "USD")


@pytest.mark.parametrize("verb", staff.VERBS)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    said = recovery(verb, "--help").stdout
    assert f"recovery staff {verb} staff.yaml" in said
    assert "Exit codes:" in said
