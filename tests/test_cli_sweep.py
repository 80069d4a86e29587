"""`recovery sweep`: a step curve for people, for programs and for a spreadsheet."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recovery_cli.main import cli

ROWS = """day,case,employee,amount
2026-12-01,C-1,emp-1,80
2026-12-01,C-2,emp-1,120
2026-12-02,C-3,emp-1,120.01
2026-12-02,C-1,emp-1,60
2026-12-03,C-4,emp-2,150
2026-12-03,C-5,emp-2,400
"""
LIMIT = "authority-1/total/frontline"


@pytest.fixture
def history(tmp_path: Path) -> Path:
    file = tmp_path / "refunds.csv"
    file.write_text(ROWS)
    return file


def swept(history: Path, *args: str | Path, limit: str = LIMIT) -> Result:
    usual = ["sweep", limit, "--history", history, "--set", "role=frontline", "--set", "remedy=refund"]
    return CliRunner().invoke(cli, [*map(str, usual), *map(str, args)])


def test_each_step_stands_where_history_changes(history: Path) -> None:
    said = swept(history, "--from", "100", "--to", "200", "--json")

    found = json.loads(said.stdout)
    steps = [(*step["values"], step["approved"], step["escalated"], step["paid"]) for step in found["steps"]]
    assert steps == [
        ("100.00", 1, 5, "80.00"),
        ("120.00", 2, 4, "200.00"),
        ("120.01", 3, 3, "320.01"),
        ("140.00", 4, 2, "380.01"),  # what the case had counts: 80 and 60
        ("150.00", 5, 1, "530.01"),
    ]
    assert found["complete"]
    assert found["steps"][0]["on_the_spot_rate"] == pytest.approx(1 / 6)
    assert found["steps"][found["knee"]]["values"] == ["120.01"]


def test_people_see_the_curve_and_its_knee(history: Path) -> None:
    said = swept(history, "--from", "100", "--to", "200")

    assert "6 requests decided again" in said.stdout
    assert "history changes at 4 values, and nowhere between them" in said.stdout
    assert "knee at 120.01" in said.stdout


def test_a_curve_that_was_cut_says_so(history: Path) -> None:
    said = swept(history, "--from", "100", "--to", "200", "--steps", "3")

    assert "only these values were tried" in said.stdout
    assert [line.split()[0] for line in said.stdout.splitlines() if "%" in line] == ["100.00", "150.00", "200.00"]


def test_every_step_goes_to_a_spreadsheet(history: Path, tmp_path: Path) -> None:
    file = tmp_path / "steps.csv"

    swept(history, "--from", "100", "--to", "200", "--csv", file)

    rows = list(csv.DictReader(file.open()))
    assert [row[LIMIT] for row in rows] == ["100.00", "120.00", "120.01", "140.00", "150.00"]
    assert [row["knee"] for row in rows] == ["False", "False", "True", "False", "False"]


def test_two_limits_show_what_nothing_beats(history: Path) -> None:
    other = ["--and", "authority-1/total/manager", "--and-from", "400", "--and-to", "500"]

    said = swept(history, "--from", "100", "--to", "200", *other, "--json")

    found = json.loads(said.stdout)
    assert [limit["limit"] for limit in found["limits"]] == [LIMIT, "authority-1/total/manager"]
    assert found["knee"] is None
    assert len(found["frontier"]) == 5


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--from", "1", "--to", "2", "--and", "x"], "--and, --and-from and --and-to go together"),
        (["--from", "2", "--to", "1"], "1 is below 2"),
        (["--from", "x", "--to", "1"], "`x` is not an amount"),
    ],
)
def test_what_cannot_be_swept_is_refused(history: Path, args: list[str], said: str) -> None:
    refused = swept(history, *args)

    assert refused.exit_code == 2
    assert said in refused.stderr
