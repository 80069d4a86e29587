"""What a shell offers when somebody presses the tab key."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from recovery_cli.main import cli


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a policy, and the command in it."""
    (tmp_path / "hours.yaml").touch()
    recovery = tmp_path / "recovery"
    recovery.write_text(f'#!/bin/sh\nexec {sys.executable} -m recovery_cli "$@"\n')
    recovery.chmod(0o755)
    script = CliRunner().invoke(cli, ["completion", "bash"], prog_name="recovery").stdout
    (tmp_path / "script").write_text(script)
    return tmp_path


def offered(folder: Path, *words: str) -> list[str]:
    """What bash offers for the last word, having split the line into these words."""
    line = " ".join(f"'{word}'" for word in words)
    code = f"""
        source ./script 2>/dev/null
        COMP_WORDS=(recovery {line}) COMP_CWORD={len(words)}
        _recovery_completion ./recovery 2>/dev/null
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path if entry)
    env = os.environ | {"PYTHONPATH": path}
    ended = subprocess.run(["bash", "-c", code], cwd=folder, capture_output=True, text=True, timeout=60, env=env)
    return ended.stdout.split()


@pytest.mark.parametrize(
    "words", [("what-if", "--policy", "ho"), ("check", "ho"), ("test", "ho"), ("matrix", "ho")], ids=" ".join
)
def test_starter_policies_and_files_are_offered_together(folder: Path, words: tuple[str, ...]) -> None:
    assert sorted(offered(folder, *words)) == ["hotel", "hours.yaml"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("what-if", "--policy", "=", "hot"), "hotel"),
        (
            (
                "what-if",
                "--policy=hot",
            ),
            "hotel",
        ),
        (("what-if", "--policy", "="), "hotel"),
        (("what-if", "--policy", "=", "hotel", "--role", "fr"), "front_desk"),
        (("what-if", "--policy", "=", "hotel", "--fact", "kn"), "knows_guest="),
        (("what-if", "--fact", "x", "=", "1", "--role", "fr"), "frontline"),
        (("decide", "--map", ""), "amount="),
        (("decide", "--map", "occ"), "occurred_on="),
        (("decide", "--set", "ro"), "role="),
        (("decide", "--policy", "hotel", "--map", "kn"), "knows_guest="),
    ],
)
def test_words_are_completed_however_bash_splits_the_line(folder: Path, words: tuple[str, ...], expected: str) -> None:
    assert expected in offered(folder, *words)
