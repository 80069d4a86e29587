"""However many processes approve at once: one wins, the other is told who and when, and no budget is overspent."""

import os
from collections import Counter
from multiprocessing import get_context
from typing import Any

import pytest
from answering import LEAD, MANAGER, OTHER, TIMED
from engines import Clock, ask, assert_whole, entries, opened, rows

from recovery_engine import RecoveryError, StoreBusy

pytestmark = pytest.mark.slow

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))
PAIRS = 15 * SCALE
PROCESSES, EACH, GRANTS = 3, 6 * SCALE, 5 * SCALE
BUDGET = f"{TIMED}budgets:\n  - {{id: month, per: site, every: month, amount: {150 * GRANTS}, binds_below: manager}}\n"

several = get_context("forkserver")
several.set_forkserver_preload(["recovery_engine.engine", "psycopg"])


def approver(url: str, who: dict[str, str], recoveries: list[str], start: Any, told: Any) -> None:
    """A process that answers, one after the other, what others answer at the same time."""
    said = []
    with opened(url, clock=Clock(), random=os.urandom, wait_s=60) as engine:
        for recovery in recoveries:
            start.wait(60)
            try:
                said.append((recovery, str(engine.approve(recovery, **who).state.status)))
            except StoreBusy:
                said.append((recovery, "busy"))
            except RecoveryError as error:
                said.append((recovery, f"{type(error).__name__}: {error}"))
    told.put((who["by"], said))


def answered(url: str, work: list[tuple[dict[str, str], list[str]]]) -> dict[str, list[tuple[str, str]]]:
    """What each process was told."""
    start, told = several.Barrier(len(work)), several.SimpleQueue()
    processes = [several.Process(target=approver, args=(url, who, ids, start, told)) for who, ids in work]
    for process in processes:
        process.start()
    said = dict(told.get() for _ in processes)
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(work)
    return said


def test_of_two_approvers_at_the_same_instant_one_wins_and_the_other_is_told_who_and_when(log_url: str) -> None:
    recoveries = [f"r-{number}" for number in range(PAIRS)]
    with opened(log_url, TIMED, clock=Clock()) as engine:
        for id in recoveries:
            engine.request(ask(id, 150))
    said = answered(log_url, [(LEAD, recoveries), (MANAGER, recoveries)])
    for (recovery, one), (_, other) in zip(said["lea"], said["max"], strict=True):
        lost = {"lea": other, "max": one}[winner := "lea" if one == "granted" else "max"]
        assert {one, other} == {"granted", lost}
        assert lost.startswith(f"NotAllowed: `{recovery}` was granted by {winner} at 2026-11-21 18:05:06 UTC")
    assert len(entries(log_url, "approved")) == PAIRS
    assert_whole(log_url)


def test_a_budget_for_so_many_grants_gives_so_many_whoever_approves_at_once(log_url: str) -> None:
    work = [[f"r-{process}-{turn}" for turn in range(EACH)] for process in range(PROCESSES)]
    with opened(log_url, BUDGET, clock=Clock()) as engine:
        for id in (id for ids in work for id in ids):
            assert engine.request(ask(id, 150, employee=f"e-{id}")).to == "lead"
    people: list[dict[str, str]] = [LEAD, OTHER, {"by": "lou", "role": "lead"}]
    said = answered(log_url, list(zip(people, work, strict=True)))
    outcomes = Counter(what.split(":")[0] for told in said.values() for _, what in told)
    assert outcomes == {"granted": GRANTS, "NotAllowed": PROCESSES * EACH - GRANTS}
    (spent,) = rows(log_url, "SELECT sum(amount_minor) FROM recovery_usage WHERE subject = 'site:S1'")[0]
    assert spent == GRANTS * 15_000
    assert_whole(log_url)


def test_a_first_and_a_second_person_at_once_are_two_whichever_comes_first(log_url: str) -> None:
    recoveries = [f"r-{number}" for number in range(PAIRS)]
    eyes = f"{TIMED}four_eyes: [{{id: two, second: manager}}]\n"
    with opened(log_url, eyes, clock=Clock()) as engine:
        for id in recoveries:
            engine.request(ask(id, 150))
    managers: list[dict[str, str]] = [MANAGER, {"by": "mia", "role": "manager"}]
    said = answered(log_url, [(who, recoveries) for who in managers])
    for (_, one), (_, other) in zip(said["max"], said["mia"], strict=True):
        assert {one, other} == {"pending", "granted"}
    assert {entry["by"] for entry in entries(log_url, "approved")} == {"max", "mia"}
    assert_whole(log_url)
