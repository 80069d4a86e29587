"""Writers are killed at any moment: what a caller was told stands, and what was under way can be asked again.

``RECOVERY_TEST_SCALE=30`` makes it a day of ten thousand requests, with kills in proportion.
"""

import os
import random
import select
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

import pytest
from engines import POLICY, ask, assert_whole, opened, rows

from recovery_engine import RecoveryRequest

pytestmark = pytest.mark.slow

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))
BUDGET = f"{POLICY}budgets:\n  - {{id: day, per: employee, every: day, amount: 100, binds_below: manager}}\n"

several = get_context("forkserver")
several.set_forkserver_preload(["recovery_engine.engine", "psycopg"])


class Told(NamedTuple):
    """What a caller was told: of which request, or of its fulfilment, and where it stands."""

    what: str
    outcome: str
    amount: int
    stream: str
    seq: int
    leaf: str


def requests(count: int) -> list[RecoveryRequest]:
    """A day's requests, most of them within the limits, at eight sites."""
    chance = random.Random(count)
    return [
        ask(
            f"r-{number}",
            chance.choice((1, 5, 60, 120, 501)),
            site=f"S{chance.randrange(8)}",
            employee=f"emp-{chance.randrange(40)}",
            customer=f"K-{chance.randrange(60)}",
            note="cold",
        )
        for number in range(count)
    ]


def till(url: str, asked: list[RecoveryRequest], threads: int, telling: Any) -> None:
    """A process that asks, and fulfils what it was granted; it tells each answer as soon as it has it."""

    def tell(what: str, outcome: str, amount: int, receipt: Any) -> None:
        line = " ".join(map(str, Told(what, outcome, amount, receipt.stream, receipt.seq, receipt.leaf)))
        os.write(telling.fileno(), f"{line}\n".encode())

    def serve(request: RecoveryRequest) -> None:
        decision = engine.request(request)
        tell(request.id, decision.outcome, request.amount.minor, decision.log_receipt)
        if decision.outcome == "approve":
            done = engine.fulfil(request.id, f"rf-{request.id}")
            tell(f"~fulfil/{request.id}", "fulfilled", 0, done.log_receipt)

    with opened(url, BUDGET, random=os.urandom, wait_s=60) as engine, ThreadPoolExecutor(threads) as cashiers:
        list(cashiers.map(serve, asked))


def run_till(url: str, asked: list[RecoveryRequest], threads: int, killed_after_s: float | None) -> list[Told]:
    """Run a till and kill it after some time, or let it finish; what it told until then."""
    listening, telling = several.Pipe(duplex=False)
    process = several.Process(target=till, args=(url, asked, threads, telling))
    process.start()
    telling.close()
    until = time.monotonic() + (300 if killed_after_s is None else killed_after_s)
    heard = b""
    with listening:
        while select.select([listening], [], [], max(0, until - time.monotonic()))[0]:
            if not (piece := os.read(listening.fileno(), 65_536)):
                break
            heard += piece
        else:
            os.kill(process.pid or 0, signal.SIGKILL)
            while piece := os.read(listening.fileno(), 65_536):
                heard += piece
    process.join(60)
    assert killed_after_s is not None or process.exitcode == 0
    told = [line.split(" ") for line in heard.decode().splitlines()]
    return [
        Told(what, outcome, int(amount), stream, int(seq), leaf) for what, outcome, amount, stream, seq, leaf in told
    ]


def day(url: str, count: int, kills: int, threads: int, seed: int) -> list[Told]:
    """A day on which the till is killed again and again, and each new one asks again what was not answered."""
    chance = random.Random(seed)
    asked = requests(count)
    told: dict[str, Told] = {}
    lives: list[float | None] = [chance.uniform(0.02, 0.3) for _ in range(kills)]
    for life in [*lives, None]:
        left = [
            request
            for request in asked
            if request.id not in told or (told[request.id].outcome == "approve" and f"~fulfil/{request.id}" not in told)
        ]
        for answer in run_till(url, left, threads, life):
            known = told.setdefault(answer.what, answer)
            assert known == answer, "an answer once told is the answer for ever"
    return list(told.values())


def assert_all_stands(url: str, told: list[Told], count: int) -> None:
    """Every acknowledged entry is there, each request has one, and the sums are what callers were told."""
    stored = {
        id: (stream, seq, bytes(leaf).hex())
        for id, stream, seq, leaf in rows(url, "SELECT request_id, stream, seq, leaf FROM recovery_log")
    }
    assert {answer.what: answer[3:] for answer in told}.items() <= stored.items()
    assert len([answer for answer in told if not answer.what.startswith("~")]) == count
    granted = sum(answer.amount for answer in told if answer.outcome == "approve")
    (given,) = rows(url, "SELECT sum(amount_minor) FROM recovery_usage WHERE subject LIKE 'employee:%'")[0]
    assert given == granted
    (decided,) = rows(url, "SELECT count(*) FROM recovery_log WHERE kind = 'decided'")[0]
    assert decided == count
    assert_whole(url)


def test_nothing_acknowledged_is_lost_or_doubled_when_the_writer_is_killed(log_url: str) -> None:
    count = 330 * SCALE
    told = day(log_url, count, kills=max(3, SCALE * 2 // 3), threads=16, seed=SCALE)
    assert_all_stands(log_url, told, count)


def test_a_till_that_is_killed_while_it_makes_the_log_leaves_nothing_half_made(log_url: str) -> None:
    for turn in range(4 * SCALE):
        run_till(log_url, requests(3), 1, 0.01 * turn)
    assert_all_stands(log_url, run_till(log_url, requests(3), 1, None), 3)
