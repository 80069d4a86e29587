"""`recovery fmt`: what it writes, what it leaves alone, and what it says."""

import json
import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recovery_cli.main import cli
from recovery_engine import format_policy, shipped_policies

CARELESS = "policy:   small\ncurrency: USD\nladder: [clerk,lead]\nauthority:\n- up_to: {total: [5,9]} # each\n"
LAID_OUT = "policy: small\ncurrency: USD\nladder: [clerk, lead]\nauthority:\n  - up_to: {total: [5, 9]}  # each\n"


def fmt(*args: str | Path, given: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["fmt", *map(str, args)], input=given)


@pytest.fixture
def careless(tmp_path: Path) -> Path:
    path = tmp_path / "careless.yaml"
    path.write_text(CARELESS, encoding="utf-8")
    return path


def test_a_file_is_laid_out_and_keeps_its_mode(careless: Path) -> None:
    careless.chmod(0o640)
    said = fmt(careless)
    assert (said.exit_code, careless.read_text(encoding="utf-8")) == (0, LAID_OUT)
    assert stat.S_IMODE(careless.stat().st_mode) == 0o640
    assert f"laid out {careless}" in said.stdout
    assert [path.name for path in careless.parent.iterdir()] == ["careless.yaml"]


def test_what_is_laid_out_is_not_written_again(careless: Path) -> None:
    fmt(careless)
    before = careless.stat()
    assert "0 changed" in fmt(careless).stdout
    assert (careless.stat().st_ino, careless.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_link_stays_a_link(careless: Path) -> None:
    link = careless.parent / "linked.yaml"
    link.symlink_to(careless)
    fmt(link)
    assert link.is_symlink()
    assert careless.read_text(encoding="utf-8") == LAID_OUT


@pytest.mark.parametrize("option", ["--check", "--diff"])
def test_it_can_be_asked_without_writing(option: str, careless: Path) -> None:
    said = fmt(careless, option)
    assert (said.exit_code, careless.read_text(encoding="utf-8")) == (1, CARELESS)
    assert str(careless) in said.stdout
    assert ("-ladder: [clerk,lead]" in said.stdout) == (option == "--diff")
    fmt(careless)
    assert fmt(careless, option).exit_code == 0


def test_the_shipped_policies_pass_the_check() -> None:
    said = fmt("--check", *shipped_policies().values())
    assert (said.exit_code, said.stdout) == (0, f"{len(shipped_policies())} policies: 0 would change\n")


def test_stdin_goes_to_stdout_and_a_file_may(careless: Path) -> None:
    assert fmt("-", given=CARELESS).stdout == LAID_OUT
    assert fmt("--stdout", careless).stdout == LAID_OUT
    assert careless.read_text(encoding="utf-8") == CARELESS
    assert fmt("-", "--check", given=CARELESS).exit_code == 1


def test_a_file_with_mistakes_is_left_alone_and_the_others_are_not(careless: Path) -> None:
    wrong = careless.parent / "wrong.yaml"
    wrong.write_text("policy:   x\ncurrency: USD\nladder: [clerk,lead]\nautority: []\n", encoding="utf-8")
    said = fmt(careless.parent)
    assert said.exit_code == 1
    assert "unknown key `autority`" in said.stderr
    assert wrong.read_text(encoding="utf-8").startswith("policy:   x\n")
    assert careless.read_text(encoding="utf-8") == LAID_OUT


def test_json_says_what_became_of_each_file(careless: Path) -> None:
    (checked,) = json.loads(fmt(careless, "--check", "--diff", "--json").stdout)["files"]
    assert (checked["changes"], checked["written"], checked["problems"]) == (True, False, [])
    assert "+ladder: [clerk, lead]" in checked["diff"]
    (done,) = json.loads(fmt(careless, "--json").stdout)["files"]
    assert (done["file"], done["changes"], done["written"]) == (str(careless), True, True)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    assert fmt(tmp_path / "nothing.yaml").exit_code == 2
    (tmp_path / "latin.yaml").write_bytes(b"policy: caf\xe9\n")
    said = fmt(tmp_path / "latin.yaml")
    assert said.exit_code == 2
    assert "UTF-8" in said.stderr
    (tmp_path / "empty.yaml").write_text("", encoding="utf-8")
    assert fmt(tmp_path / "empty.yaml").exit_code == 2


def test_a_full_disk_leaves_the_file_as_it_was(careless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    said = fmt(careless)
    assert said.exit_code != 0
    assert "no space left" in said.stderr
    assert careless.read_text(encoding="utf-8") == CARELESS
    assert [path.name for path in careless.parent.iterdir()] == ["careless.yaml"]


def test_what_the_layout_would_change_is_never_written(careless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recovery_engine.policy.layout._written", lambda lines: [LAID_OUT.replace("5", "6")])
    said = fmt(careless)
    assert said.exit_code == 3
    assert careless.read_text(encoding="utf-8") == CARELESS


def test_only_one_layout_is_written_for_the_library_and_the_command_line(careless: Path) -> None:
    assert fmt("--stdout", careless).stdout == format_policy(CARELESS)
