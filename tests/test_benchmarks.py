"""The benchmarks compare like with like, and run to the end. How fast anything is, no test says."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.contestants import POLICY_FILE, own_contestants, request_of
from benchmarks.deciding import FIRST, OUTCOME, answers, disagreements, present
from benchmarks.limits import LADDER
from benchmarks.peers import PEERS, NotInstalled, peers
from benchmarks.stream import cases
from recovery_engine import decide, load_policy

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
    assert {OUTCOME, FIRST} <= {row["what"] for row in figures["rows"]}
    assert "× dictionary" in done.stdout
