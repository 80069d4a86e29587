"""A back-test answers every request of history as the engine does, one request at a time."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from making_history import written
from making_logs import Ticking
from strategies import RequestWriter, random_policy, randoms

from recovery_engine import InvalidRequest, LogError, Outcome, Policy, RecoveryEngine, RecoveryRequest, decide
from recovery_engine.history.opening import History, history_of
from recovery_engine.history.table import OUTCOMES

pytestmark = pytest.mark.slow

Said = tuple[str, Outcome, str | None, str | None, tuple[str, ...]]


def without_budgets(random: Random) -> tuple[str, Policy]:
    while True:
        text, policy = random_policy(random)
        if not policy.budgets:
            return text, policy


def some_requests(random: Random, text: str, policy: Policy, count: int, missing: float) -> list[RecoveryRequest]:
    writer = RequestWriter(text, policy)
    made = (writer.request(random, missing)[0] for _ in range(count))
    return [
        replace(request, id=f"r-{at}", case=f"C-{at}", employee=f"emp-{random.randint(1, 3)}")
        for at, request in enumerate(made)
    ]


def answered(history: History) -> list[Said]:
    ladder = history.draft.ladder
    rows: list[tuple[Any, ...]] = history.connection.execute(
        "SELECT recovery, answers.outcome, to_rank, second_rank, items FROM answers "
        "JOIN needs ON needs.id = answers.needs JOIN history USING (n) ORDER BY n"
    ).fetchall()
    roles: list[str | None] = [*ladder, None]
    return [
        (
            recovery,
            OUTCOMES[outcome],
            roles[-1 if to is None else to],
            roles[-1 if second is None else second],
            (*items,),
        )
        for recovery, outcome, to, second, items in rows
    ]


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(randoms)
def test_cases_of_their_own_are_decided_as_one_by_one_and_those_that_cannot_be_are_counted(random: Random) -> None:
    text, policy = without_budgets(random)
    requests = some_requests(random, text, policy, 60, missing=0.1)
    expected: list[Said] = []
    invalid = 0
    for request in requests:
        try:
            decision = decide(policy, request)
        except InvalidRequest:
            invalid += 1
        else:
            expected.append((request.id, decision.outcome, decision.to, decision.second, decision.needs))

    with TemporaryDirectory() as folder:
        file = written(Path(folder), requests)
        if not expected:
            with pytest.raises(LogError, match="can be decided"), history_of(policy, file):
                pass
            return
        with history_of(policy, file) as history:
            assert answered(history) == expected
            assert sum(one.requests for one in history.left_out) == invalid
            assert not history.folded


@settings(max_examples=10, deadline=None, derandomize=True, database=None)
@given(randoms)
def test_it_is_what_the_engine_says_to_the_same_requests(random: Random) -> None:
    text, policy = without_budgets(random)
    requests = some_requests(random, text, policy, 12, missing=0.0)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "draft.yaml").write_text(text)
        url = f"sqlite:///{folder}/log.db"
        with closing(RecoveryEngine.open(url, folder / "draft.yaml", clock=Ticking(), environment={})) as engine:
            said = [engine.request(request) for request in requests]
        expected = [(one.request.id, one.outcome, one.to, one.second, one.needs) for one in said]

        with history_of(policy, written(folder, requests)) as history:
            assert answered(history) == expected
        logged = [one for one in expected if one[1] != Outcome.INCOMPLETE]
        if not logged:
            return
        with history_of(policy, folder / "log.db") as history:  # the log that the engine kept of them
            assert answered(history) == logged
            assert history.connection.execute("SELECT count(*) FROM decided WHERE changed").fetchone() == (0,)
