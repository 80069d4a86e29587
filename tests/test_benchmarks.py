"""The benchmarks compare like with like, and run to the end. How fast anything is, no test says."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import proving
from benchmarks.contestants import POLICY_FILE, own_contestants, request_of
from benchmarks.deciding import FIRST, OUTCOME, answers, disagreements, present
from benchmarks.limits import LADDER
from benchmarks.peers import PEERS, NotInstalled, peers
from benchmarks.recording import (
    GROUPS,
    GROUPS_WAIT,
    HOT_SITE,
    MANY_SITES,
    ONE_CALLER,
    OneCaller,
    Told,
    check,
    policy_text,
    requests,
    told,
)
from benchmarks.report import Row
from benchmarks.stream import cases
from recovery_engine import RecoveryEngine, decide, load_policy

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
STREAM = cases(400)


def test_all_contestants_give_the_same_answers() -> None:
    everyone = [*own_contestants(), *present(peers())]

    assert list(disagreements(everyone, STREAM)) == []


def test_a_contestant_that_differs_is_named_with_the_request() -> None:
    dictionary, *_ = own_contestants()
    generous = replace(dictionary, name="generous", decide=lambda case: "approve")

    (found,) = disagreements([dictionary, generous], STREAM)

    assert "generous says approve and dictionary says" in found
    assert "Case(role=" in found


def test_the_stream_reaches_every_answer_and_every_line() -> None:
    dictionary, *_ = own_contestants()
    policy = load_policy(POLICY_FILE)
    decisions = [decide(policy, *request_of(case)) for case in STREAM]

    assert set(Counter(answers(dictionary, STREAM))) == {"approve", "deny", *LADDER[1:]}
    assert {line for decision in decisions for line in decision.lines} == {line.id for line in policy.lines()}


def test_the_stream_is_the_same_every_time() -> None:
    assert cases(50) == cases(50)


def test_a_peer_that_is_missing_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "casbin", None)

    assert len(peers()) == len(PEERS)
    assert NotInstalled("casbin") in peers()


def test_the_quick_run_comes_to_its_end_and_writes_its_figures(tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--json", str(tmp_path / "figures.json")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
    )

    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    of_the_log = {ONE_CALLER, GROUPS, GROUPS_WAIT, MANY_SITES, HOT_SITE, *proving.WAYS}
    assert {OUTCOME, FIRST} | of_the_log <= {row["what"] for row in figures["rows"]}
    assert "× dictionary" in done.stdout
    assert "× raw" in done.stdout


# --- what is measured did its work ------------------------------------------------------------------------------------


def test_the_driver_alone_ends_with_the_very_entries_of_the_engine(tmp_path: Path) -> None:
    alone = OneCaller(tmp_path, 5)

    assert len(alone.ours().latencies_us) == len(alone.raw().latencies_us) == 5


def test_a_log_that_lacks_what_callers_were_told_is_not_timed(tmp_path: Path) -> None:
    file = tmp_path / "log.db"
    (tmp_path / "policy.yaml").write_text(policy_text())
    with RecoveryEngine.open(file, tmp_path / "policy.yaml", environment={}) as engine:
        given = told(engine, requests(3))

    check(f"sqlite:///{file}", given)
    with pytest.raises(AssertionError, match="instead of 4"):
        check(f"sqlite:///{file}", given, Told(1, 0))
    with pytest.raises(AssertionError, match="instead of 3"):
        check(f"sqlite:///{file}", given._replace(minor=given.minor + 1))


@pytest.mark.parametrize("way", proving.WAYS)
def test_every_way_of_proving_goes_through_all_entries(tmp_path: Path, way: str) -> None:
    proving.make(tmp_path / "long.db", 20)

    entries, _ = proving.WAYS[way](str(tmp_path / "long.db"))

    assert entries > 20


@pytest.mark.parametrize(
    ("ratio", "limit", "verdict"),
    [
        (2.0, {"most_x": 2.0}, "kept"),
        (2.1, {"most_x": 2.0}, "missed"),
        (0.5, {"least_x": 0.5}, "kept"),
        (0.4, {"least_x": 0.5}, "missed"),
        (9.0, {}, ""),
    ],
)
def test_a_ratio_keeps_its_limit_from_the_right_side(ratio: float, limit: dict[str, float], verdict: str) -> None:
    assert Row("log", "what", 1.0, x_raw=ratio, **limit).verdict == verdict
