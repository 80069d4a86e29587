"""`recovery backtest`: what a draft would have said to history, at the command line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from making_logs import made

from recovery_cli.main import cli

CLASSIC = ("--set", "role=frontline", "--set", "remedy=refund")
ROWS = "when,case,refund_total,given\n2026-11-20,C-1,90,approve\n2026-11-21,C-2,110,approve\n2026-11-21,C-3,600,deny\n"
MAPPED = ("--map", "amount=refund_total", "--map", "day=when", "--map", "outcome=given")


def recovery(*args: str) -> Result:
    return CliRunner().invoke(cli, ["backtest", *args], env={"RECOVERY_DATABASE": ""})


@pytest.fixture
def refunds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("refunds.csv").write_text(ROWS)
    return "refunds.csv"


def test_a_file_is_decided_again_and_shown_beside_what_was_decided(refunds: str) -> None:
    said = recovery("classic", "--history", refunds, *MAPPED, *CLASSIC)

    assert said.exit_code == 0, said.output
    assert "3 requests decided again by classic 2026.1, 2026-11-20 to 2026-11-21, from refunds.csv" in said.stdout
    assert "1 (33.3 %) are answered differently than then" in said.stdout
    assert "-33.3 points" in said.stdout
    assert "approve → escalate to supervisor" in said.stdout
    assert "people ask for what they may give" in " ".join(said.stdout.split())


def test_for_programs_it_is_one_document(refunds: str) -> None:
    said = recovery("classic", "--history", refunds, *MAPPED, *CLASSIC, "--json", "--is-a-sample")

    found = json.loads(said.stdout)
    assert (found["requests"], found["changed"], found["after"]["paid"]) == (3, 1, "90.00")
    assert found["after"]["sent_to"] == {"supervisor": 1}
    assert found["before"]["on_the_spot_rate"] == pytest.approx(2 / 3)
    assert found["before"]["on_the_spot_interval"] == pytest.approx([0.208, 0.939], abs=0.001)
    assert found["first_day"] == "2026-11-20"


def test_a_fall_beyond_what_is_allowed_ends_with_one(refunds: str) -> None:
    asked = ("classic", "--history", refunds, *MAPPED, *CLASSIC)

    assert recovery(*asked, "--fail-on-drop", "33").exit_code == 1
    assert recovery(*asked, "--fail-on-drop", "34").exit_code == 0


def test_without_a_before_it_says_so(refunds: str) -> None:
    said = recovery("classic", "--history", refunds, "--map", "amount=refund_total", *CLASSIC)

    assert "nothing says what was decided then: name a policy with --against" in said.stdout
    assert "settled on the spot" in said.stdout


def test_the_list_of_changes_goes_to_a_file_that_is_not_the_history(refunds: str) -> None:
    said = recovery("classic", "--history", refunds, *MAPPED, *CLASSIC, "--changed", "changed.csv")
    assert "wrote 1 request to changed.csv" in said.stderr
    assert len(Path("changed.csv").read_text().splitlines()) == 2

    assert recovery("classic", "--history", refunds, *MAPPED, *CLASSIC, "--changed", refunds).exit_code == 2
    assert Path(refunds).read_text() == ROWS


def test_the_log_is_read_and_never_written(tmp_path: Path) -> None:
    with made(f"sqlite:///{tmp_path}/log.db", tmp_path / "policies"):
        pass
    before = (tmp_path / "log.db").read_bytes()

    said = recovery("classic", "--database", f"{tmp_path}/log.db", "--against", str(tmp_path / "policies/policy.yaml"))

    assert said.exit_code == 2  # classic knows none of the roles
    assert "unknown role `associate`" in said.stderr
    said = recovery(str(tmp_path / "policies/policy.yaml"), "--database", f"{tmp_path}/log.db", "--from", "2026-11-19")
    assert said.exit_code == 0, said.output
    assert "what cases and budgets had before 2026-11-19 is not counted" in " ".join(said.stdout.split())
    assert (tmp_path / "log.db").read_bytes() == before


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("classic",), "no history is named"),
        (("classic", "--database", "a.db", "--history", "b.csv"), "both say where history is"),
        (("classic", "--database", "a.db", "--set", "role=frontline"), "are about the columns of --history"),
        (("classic", "--database", "a.db", "--from", "May"), "is not a day"),
        (("classic", "--history", "none.csv"), "no such file"),
        (("clasic", "--history", "none.csv"), "did you mean `classic`?"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_cure(args: tuple[str, ...], said: str) -> None:
    found = recovery(*args)

    assert found.exit_code == 2
    assert said in " ".join(found.stderr.replace("│", " ").split())
