"""What the command makes of where it is: narrow terminals, folders, another matcher, the path it was started with."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recovery_cli import main, render
from recovery_cli.commands import doctor
from recovery_cli.main import cli
from recovery_engine import shipped_policies
from recovery_engine.log import opening
from recovery_engine.log.writing import sqlite

pytestmark = pytest.mark.slow

CLASSIC = shipped_policies()["classic"]
RETAIL = CLASSIC.parent / "demo/retail_refunds.csv"


def recovery(*args: str | Path, columns: int = 80) -> Result:
    return CliRunner().invoke(cli, [*map(str, args)], env={"COLUMNS": str(columns)})


# --- only the reference matcher ---


@pytest.mark.parametrize(
    "args", ["what-if --role frontline --amount 5", "decide --role frontline -", "test classic", "demo"]
)
def test_a_matcher_that_serves_alone_is_noted_once(args: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "matcher_in_service", lambda: ("reference", "no extension"))
    said = CliRunner().invoke(cli, args.split(), input="amount\n5\n")
    assert said.exit_code == 0
    assert said.stderr.count("recovery doctor") == 1


def test_two_matchers_need_no_note() -> None:
    assert "doctor" not in recovery("what-if", "--role", "frontline", "--amount", "5").stderr


# --- narrow terminals ---


def figures(text: str) -> list[str]:
    return sorted(re.findall(r"[$€]?\d[\d,]*(?:\.\d+)?(?: %)?", text))


@pytest.mark.parametrize(
    "args",
    [
        ["decide", RETAIL, "--role", "frontline", "--summary-only"],
        ["demo"],
        ["matrix", "--policy", "classic"],
        ["matrix", "--policy", "hotel"],
        ["matrix", "--policy", "restaurant"],
    ],
)
def test_no_figure_is_cut_in_a_narrow_terminal(args: list[str | Path]) -> None:
    wide, narrow = recovery(*args, columns=200), recovery(*args, columns=40)
    assert set(figures(wide.stdout)) == set(figures(narrow.stdout))
    lines = [line.rstrip() for line in narrow.stdout.splitlines() if "what-if" not in line]  # that one is to be copied
    assert max(map(len, lines)) <= 40
    assert "…" not in narrow.stdout


# --- policies and folders ---


def test_the_card_takes_a_policy_by_name() -> None:
    assert recovery("matrix", "hotel").stdout == recovery("matrix", "--policy", "hotel").stdout
    assert recovery("matrix", "hotel", "--policy", "classic").exit_code == 2


@pytest.mark.parametrize(
    "args",
    [
        "check hotel",
        "test hotel",
        "matrix hotel",
        "policies hotel",
        "decide --policy hotel --role front_desk --remedy x",
    ],
)
def test_a_folder_does_not_stand_before_a_starter_policy(
    args: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = recovery(*args.split())
    Path("hotel").mkdir()
    there = recovery(*args.split())
    assert (there.exit_code, there.stdout) == (here.exit_code, here.stdout)


def test_a_folder_without_policies_says_so(tmp_path: Path) -> None:
    for verb in ("check", "test"):
        said = recovery(verb, tmp_path)
        assert said.exit_code == 2
        assert "no policy in it" in said.stdout


def test_a_file_that_may_not_be_read_is_not_suggested_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.mkdir()  # cannot be read either, whoever runs this test
    for said in (recovery("check", path / "."), recovery("what-if", "--policy", path, "--role", "x", "--amount", "5")):
        assert said.exit_code == 2
        assert "did you mean" not in said.output


# --- test ---

LIMITS = "policy: bare\ncurrency: USD\nladder: [a, b]\nauthority:\n  - {id: all, up_to: {total: [1, 2]}}\n"


def test_a_policy_without_tests_says_so(tmp_path: Path) -> None:
    path = tmp_path / "bare.yaml"
    path.write_text(LIMITS)
    assert "no tests" in recovery("test", path).stdout


def test_the_last_line_says_why_strict_is_not_content(tmp_path: Path) -> None:
    path = tmp_path / "bare.yaml"
    path.write_text(LIMITS)
    said = recovery("test", path, "--strict")
    assert said.exit_code == 1
    assert "1 line decided in no test" in said.stdout.splitlines()[-1]
    assert "--strict" in said.stdout.splitlines()[-1]


# --- doctor ---


@pytest.mark.parametrize("version", ["3.45.1", "3.51.3"])
def test_the_doctor_says_what_sqlite_is_for(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor._sqlite_module(), "sqlite_version", version)
    [finding] = doctor._sqlite()
    assert "recovery log" in finding.means
    assert ("DELETE" if version == "3.45.1" else "WAL") in finding.means


def test_the_doctor_looks_at_the_very_sqlite_that_the_log_uses() -> None:
    assert doctor._sqlite_module() is opening.sqlite_module()
    for version in [(3, minor, patch) for minor in range(40, 56) for patch in range(10)]:
        assert doctor.wal_is_safe(version) is sqlite.wal_is_safe(version)


# --- what it is called here ---


def started(path: str, *args: str, on_path: str = "") -> str:
    """The output of a run that was started as *path*."""
    code = f"import sys; sys.argv[0] = {path!r}; from recovery_cli.main import main; main()"
    env = os.environ | {"PATH": on_path}
    return subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, timeout=60, text=True, env=env
    ).stdout


def test_where_it_is_not_on_the_path_it_is_called_as_it_was_started(tmp_path: Path) -> None:
    inside = str(Path.cwd() / "venv/bin/recovery")
    assert "venv/bin/recovery what-if" in started(inside, "demo").splitlines()[-1]
    assert str(Path.cwd()) not in started(inside, "demo").splitlines()[-1]
    assert "  venv/bin/recovery demo" in started(inside, "demo", "--help")
    assert "  venv/bin/recovery demo" in started(inside, "--help")
    assert "| venv/bin/recovery decide" in started(inside, "decide", "--help")
    assert "/opt/x/recovery what-if" in started("/opt/x/recovery", "demo").splitlines()[-1]
    (tmp_path / "recovery").touch(mode=0o755)
    assert ": recovery what-if" in started(inside, "demo", on_path=str(tmp_path)).splitlines()[-1]


def test_started_as_a_module_it_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert main.called(str(Path(main.__file__).with_name("__main__.py"))) == "python -m recovery_cli"
