"""`recovery watch`: a draft beside the policy in force, on live requests: each seen once, never enforced."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recovery_cli.main import cli
from recovery_engine import (
    InvalidRequest,
    LogError,
    Money,
    RecoveryEngine,
    RecoveryRequest,
    backtest,
    parse_policy,
    seen_in,
    shadow_report,
    verify,
)

pytestmark = pytest.mark.slow

POLICY = """
policy: counter
version: "3"
currency: USD
ladder: [associate, lead]
remedies: [refund]
authority:
  - {id: standard, up_to: {total: [100, 250]}}
budgets:
  - {id: day, per: employee, every: day, amount: 200, binds_below: lead}
"""
DRAFT = POLICY.replace("[100, 250]", "[60, 250]").replace("amount: 200", "amount: 90")


@pytest.fixture
def engine(log_url: str, tmp_path: Path) -> Iterator[RecoveryEngine]:
    """An engine with an empty log, on each database in turn; a draft lies beside its policy."""
    policy = tmp_path / "policies" / "counter.yaml"
    policy.parent.mkdir()
    policy.write_text(POLICY, encoding="utf-8")
    (tmp_path / "draft.yaml").write_text(DRAFT, encoding="utf-8")
    with RecoveryEngine.open(log_url, policy, environment={}) as opened:
        yield opened


def ask(engine: RecoveryEngine, id: str, amount: str) -> str:
    request = RecoveryRequest(
        id=id, employee="emp-1", role="associate", site="S001", case=f"C-{id}", remedy="refund",
        amount=Money.of(amount, "USD"),
    )  # fmt: skip
    return str(engine.request(request).outcome)


def watch(url: str, folder: Path, *args: str | Path) -> Result:
    out = folder / "shadow.jsonl"
    return CliRunner().invoke(
        cli, ["watch", str(folder / "draft.yaml"), "--database", url, "--out", str(out), *map(str, args)]
    )


def kept(folder: Path) -> list[tuple[str, str, str]]:
    lines = [json.loads(line) for line in (folder / "shadow.jsonl").read_text().splitlines()]
    return [(line["recovery"], line["before_outcome"], line["outcome"]) for line in lines]


def test_the_draft_is_asked_with_its_own_usage_and_never_enforced(
    engine: RecoveryEngine, log_url: str, tmp_path: Path
) -> None:
    """The draft refuses 80, so that its day still has room for 60, and has none for 60 more."""
    answers = [ask(engine, f"r-{number}", amount) for number, amount in enumerate(("80", "60", "60"))]
    shown = watch(log_url, tmp_path, "--once")
    assert shown.exit_code == 0, shown.output
    assert kept(tmp_path) == [
        ("r-0", "approve", "escalate"),
        ("r-1", "approve", "approve"),
        ("r-2", "approve", "escalate"),
    ]
    assert answers == ["approve"] * 3
    assert "r-1" not in shown.output
    assert "$80.00 refund: approve → escalate to lead" in shown.output
    assert verify(log_url).clean
    assert ask(engine, "r-3", "90") == "escalate"  # by the budget in force: 200 are used up


def test_each_request_is_kept_once_however_often_it_is_watched(
    engine: RecoveryEngine, log_url: str, tmp_path: Path
) -> None:
    assert watch(log_url, tmp_path, "--once").exit_code == 0  # nothing was asked yet
    ask(engine, "r-0", "80")
    for _ in range(2):
        assert watch(log_url, tmp_path, "--once").exit_code == 0
    ask(engine, "r-1", "20")
    watch(log_url, tmp_path, "--once")
    assert [line[0] for line in kept(tmp_path)] == ["r-0", "r-1"]


def test_the_beginning_of_a_line_that_a_killed_watch_left_is_put_right(
    engine: RecoveryEngine, log_url: str, tmp_path: Path
) -> None:
    ask(engine, "r-0", "80")
    ask(engine, "r-1", "20")
    watch(log_url, tmp_path, "--once")
    out = tmp_path / "shadow.jsonl"
    out.write_bytes(out.read_bytes()[:-20])
    assert watch(log_url, tmp_path, "--once").exit_code == 0
    assert [line[0] for line in kept(tmp_path)] == ["r-0", "r-1"]


def test_its_report_is_that_of_a_back_test(engine: RecoveryEngine, log_url: str, tmp_path: Path) -> None:
    for number, amount in enumerate(("80", "60", "60", "300", "12.50")):
        ask(engine, f"r-{number}", amount)
    watch(log_url, tmp_path, "--once")
    draft = parse_policy(DRAFT)
    seen, tested = shadow_report(draft, tmp_path / "shadow.jsonl"), backtest(draft, log_url)
    for name in ("before", "after", "changed", "shifts", "changes", "affected", "bins", "requests"):
        assert getattr(seen, name) == getattr(tested, name), name
    said = watch(log_url, tmp_path, "--report")
    assert said.exit_code == 0
    assert "5 requests decided again" in said.output
    assert json.loads(watch(log_url, tmp_path, "--report", "--json").output)["requests"] == 5


def test_a_file_of_another_draft_is_refused(engine: RecoveryEngine, log_url: str, tmp_path: Path) -> None:
    ask(engine, "r-0", "80")
    watch(log_url, tmp_path, "--once")
    (tmp_path / "draft.yaml").write_text(DRAFT.replace("[60,", "[70,"), encoding="utf-8")
    refused = watch(log_url, tmp_path, "--once")
    assert refused.exit_code == 2
    assert "of another draft" in refused.output
    assert len(kept(tmp_path)) == 1


@pytest.mark.parametrize("line", ["[1]", "no json", '{"recovery": "r-1"}'])
def test_a_file_that_is_no_shadow_is_refused(tmp_path: Path, line: str) -> None:
    out = tmp_path / "other.jsonl"
    out.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(InvalidRequest, match="not a line of"):
        seen_in(parse_policy(DRAFT), out)


def test_nothing_seen_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="holds no request"):
        shadow_report(parse_policy(DRAFT), tmp_path / "none.jsonl")


def test_what_comes_is_seen_as_it_comes_until_ctrl_c(engine: RecoveryEngine, log_url: str, tmp_path: Path) -> None:
    ask(engine, "r-0", "80")
    command = [sys.executable, "-m", "recovery_cli", "watch", str(tmp_path / "draft.yaml"), "--database", log_url]
    command += ["--out", str(tmp_path / "shadow.jsonl"), "--interval", "0.05", "--json"]
    default = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None}
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0, **default) as running:  # type: ignore[call-overload]
        assert json.loads(running.stdout.readline())["recovery"] == "r-0"
        ask(engine, "r-1", "20")
        assert json.loads(running.stdout.readline())["recovery"] == "r-1"
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)
    assert running.returncode == 130
    assert [line[0] for line in kept(tmp_path)] == ["r-0", "r-1"]
