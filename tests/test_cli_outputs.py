"""Where the command writes: never over what it reads, never into another run's file, never past a reader who left."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recovery_cli.files import WholeLines
from recovery_cli.main import GROUPS, VERBS, cli
from recovery_engine import shipped_policies

pytestmark = pytest.mark.slow


def recovery(*args: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, [*map(str, args)], input=stdin)


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    path = tmp_path / "requests.csv"
    path.write_text("amount\n5\n")
    return path


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_bytes(shipped_policies()["classic"].read_bytes())
    return path


# --- two runs at once ---


def test_two_runs_with_the_same_output_write_a_file_each(tmp_path: Path) -> None:
    first, second = (WholeLines(str(tmp_path / "out.csv")) for _ in range(2))
    first.write(b"first 1\n")
    second.write(b"second 1\n")
    first.write(b"first 2\n")
    first.finish()
    assert (tmp_path / "out.csv").read_bytes() == b"first 1\nfirst 2\n"
    second.finish()
    assert (tmp_path / "out.csv").read_bytes() == b"second 1\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_run_that_stops_names_the_very_file_that_holds_its_rows(tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    said = CliRunner().invoke(
        cli, ["decide", "--role", "frontline", "--output", str(output)], input=b"amount\n5\n\xff\n"
    )
    [part] = tmp_path.iterdir()
    assert part.name in said.stderr
    assert part.name.startswith("out.csv.")
    assert part.name.endswith(".partial")
    assert not output.exists()


def test_a_run_that_decided_nothing_leaves_nothing_behind(tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    CliRunner().invoke(cli, ["decide", "--role", "frontline", "--output", str(output)], input=b"amount\n\xff\n")
    assert list(tmp_path.iterdir()) == []


# --- over its own input ---


@pytest.mark.parametrize(
    "line",
    [
        "decide IN --policy POLICY --role frontline --output IN",
        "decide IN --policy POLICY --role frontline --output POLICY",
        "decide IN --policy POLICY --role frontline --output LINK",
        "matrix --policy POLICY --html POLICY",
        "matrix POLICY --html LINK",
        "test POLICY --junit POLICY",
        "test FOLDER --junit POLICY",
        "policies hotel --force --output HOTEL",
    ],
)
def test_an_output_is_never_written_over_an_input_or_the_policy(line: str, requests: Path, policy: Path) -> None:
    link = policy.with_name("link.yaml")
    link.symlink_to(requests if "IN" in line.split() else policy)
    places = {
        "IN": requests,
        "POLICY": policy,
        "LINK": link,
        "FOLDER": policy.parent,
        "HOTEL": shipped_policies()["hotel"],
    }
    before = {path: path.read_bytes() for path in (requests, policy, shipped_policies()["hotel"])}
    said = recovery(*(places.get(word, word) for word in line.split()))
    assert said.exit_code == 2
    assert "would overwrite" in said.stderr
    assert before == {path: path.read_bytes() for path in before}


def test_the_schema_is_not_written_over_the_policy_in_use(policy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOVERY_POLICY", str(policy))
    said = recovery("schema", "--output", policy)
    assert said.exit_code == 2
    assert "would overwrite" in said.stderr


def test_a_file_that_stdin_is_read_from_is_not_written_over(requests: Path) -> None:
    args = [sys.executable, "-m", "recovery_cli", "decide", "--role", "frontline", "--output", str(requests)]
    with requests.open("rb") as stdin:
        ended = subprocess.run(args, stdin=stdin, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert requests.read_text() == "amount\n5\n"


# --- where the summary goes ---


def test_the_json_summary_goes_to_stdout_where_the_rows_do_not(requests: Path, tmp_path: Path) -> None:
    said = recovery("decide", requests, "--role", "frontline", "--json", "--output", tmp_path / "out.csv")
    assert json.loads(said.stdout)["decided"] == 1
    assert "decided" not in said.stderr


def test_no_rows_and_a_file_for_the_rows_contradict_each_other(requests: Path, tmp_path: Path) -> None:
    said = recovery("decide", requests, "--role", "frontline", "--summary-only", "--output", tmp_path / "out.csv")
    assert said.exit_code == 2
    assert "--summary-only" in said.stderr
    assert not (tmp_path / "out.csv").exists()


def test_the_number_of_problems_shown_is_not_below_zero(requests: Path) -> None:
    assert recovery("decide", requests, "--role", "frontline", "--max-problems", "-1").exit_code == 2
    assert recovery("decide", requests, "--role", "frontline", "--max-problems", "0").exit_code == 0


# --- a reader who left ---

ARGS = {
    "what-if": "what-if --role frontline --amount 5",
    "decide": "decide --role frontline policies/demo/retail_refunds.csv",
    "check": "check classic",
    "backtest": "backtest --help",
    "test": "test classic",
    "lint": "lint classic",
    "watch": "watch --help",
    "diff": "diff classic policies/demo/classic-raised.yaml",
    "fmt": "fmt --check policies",
    "completion": "completion bash",
    "sweep": "sweep --help",
    **{verb: f"{verb} --help" for verb in VERBS if verb in GROUPS["For the customer"] + GROUPS["The way up"]},
}


@pytest.mark.parametrize("args", [*(ARGS.get(verb, verb) for verb in VERBS), "--help", "--version", "what-if --help"])
def test_a_reader_who_left_ends_every_command_alike(args: str) -> None:
    line = f"{sys.executable} -m recovery_cli {args} | true"
    folder = shipped_policies()["classic"].parent.parent
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], cwd=folder, capture_output=True, timeout=60, check=False
    )
    assert ended.returncode == 141
    assert b"Traceback" not in ended.stderr
    assert b"Exception ignored" not in ended.stderr
