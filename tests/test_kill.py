"""Writers are killed at any moment: what a caller was told stands, and what was under way can be asked again.

``RECOVERY_TEST_SCALE=20`` makes it a day of ten thousand requests on which the till is killed twenty times. The seed
(``RECOVERY_TEST_SEED=7`` is another) says what is asked and after how many answers each till is killed; what it was
doing just then is left to the machine.
"""

import os
import random
import select
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

import pytest
from engines import POLICY, ask, assert_whole, kind_of, opened, rows

from recovery_engine import RecoveryRequest

pytestmark = pytest.mark.slow

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))
SEED = int(os.environ.get("RECOVERY_TEST_SEED", "1"))
COUNT, KILLS, THREADS = 500 * SCALE, max(3, SCALE), 16
MOST_SILENT_S = 120
BUDGET = f"{POLICY}budgets:\n  - {{id: day, per: employee, every: day, amount: 100, binds_below: manager}}\n"

several = get_context("forkserver")
several.set_forkserver_preload(["recovery_engine.engine", "psycopg"])


class Told(NamedTuple):
    """What a caller was told: of which request, or of its fulfilment, where it stands, and if it was there before."""

    what: str
    outcome: str
    amount: int
    stream: str
    seq: int
    leaf: str
    replayed: str


class Life(NamedTuple):
    """A till is killed when it has told so many answers, after so many seconds more."""

    answers: int
    seconds: float


def requests(count: int, chance: random.Random) -> list[RecoveryRequest]:
    """A day's requests, most of them within the limits, at eight sites."""
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

    def tell(what: str, outcome: str, amount: int, answer: Any) -> None:
        receipt = answer.log_receipt
        told = Told(what, outcome, amount, receipt.stream, receipt.seq, receipt.leaf, str(answer.replayed))
        line = " ".join(map(str, told))
        os.write(telling.fileno(), f"{line}\n".encode())

    def serve(request: RecoveryRequest) -> None:
        decision = engine.request(request)
        tell(request.id, decision.outcome, request.amount.minor, decision)
        if decision.outcome == "approve":
            done = engine.fulfil(request.id, f"rf-{request.id}")
            tell(f"~fulfil/{request.id}", "fulfilled", 0, done)

    with opened(url, BUDGET, random=os.urandom, wait_s=60) as engine, ThreadPoolExecutor(threads) as cashiers:
        list(cashiers.map(serve, asked))


def run_till(url: str, asked: list[RecoveryRequest], threads: int, life: Life | None) -> list[Told]:
    """Run a till and kill it at the end of its life, or let it finish; what it told until then."""
    listening, telling = several.Pipe(duplex=False)
    process = several.Process(target=till, args=(url, asked, threads, telling))
    process.start()
    telling.close()
    heard, hangs = b"", False
    with listening:
        while life is None or heard.count(b"\n") < life.answers:
            hangs = not select.select([listening], [], [], MOST_SILENT_S)[0]
            if hangs or not (piece := os.read(listening.fileno(), 65_536)):
                break
            heard += piece
        if life is not None:
            time.sleep(life.seconds)
        if life is not None or hangs:
            process.kill()
        while piece := os.read(listening.fileno(), 65_536):
            heard += piece
    process.join(60)
    assert not hangs
    assert life is not None or process.exitcode == 0
    told = [Told(*line.split(" ")) for line in heard.decode().splitlines()]
    return [one._replace(amount=int(one.amount), seq=int(one.seq)) for one in told]


def day(url: str, count: int, kills: int, threads: int, seed: int) -> list[Told]:
    """A day on which the till is killed again and again, and each new one asks again what was not answered."""
    chance = random.Random(seed)
    asked = requests(count, chance)
    told: dict[str, Told] = {}
    lives = [Life(chance.randrange(2 * count // (kills + 1)), chance.uniform(0, 0.02)) for _ in range(kills)]
    for life in [*lives, None]:
        left = [
            request
            for request in asked
            if request.id not in told or (told[request.id].outcome == "approve" and f"~fulfil/{request.id}" not in told)
        ]
        assert left, "there is something left to ask, until the last"
        for answer in run_till(url, left, threads, life):
            known = told.setdefault(answer.what, answer)
            assert known[:-1] == answer[:-1], "an answer once told is the answer for ever"
    return list(told.values())


def assert_all_stands(url: str, told: list[Told], count: int) -> None:
    """Every acknowledged entry is there, each request has one, and the sums are what callers were told."""
    stored = {
        id: (stream, seq, bytes(leaf).hex())
        for id, stream, seq, leaf in rows(url, "SELECT request_id, stream, seq, leaf FROM recovery_log")
    }
    assert {answer.what: answer[3:-1] for answer in told}.items() <= stored.items()
    assert len([answer for answer in told if not answer.what.startswith("~")]) == count
    granted = sum(answer.amount for answer in told if answer.outcome == "approve")
    (given,) = rows(url, "SELECT sum(amount_minor) FROM recovery_usage WHERE subject LIKE 'employee:%'")[0]
    assert given == granted
    (decided,) = rows(url, "SELECT count(*) FROM recovery_log WHERE kind = 'decided'")[0]
    assert decided == count
    assert_whole(url)


@pytest.mark.parametrize("seed", [SEED], ids="seed {}".format)
def test_nothing_acknowledged_is_lost_or_doubled_when_the_writer_is_killed(
    log_url: str, seed: int, record_property: Any
) -> None:
    told = day(log_url, COUNT, KILLS, THREADS, seed)
    assert_all_stands(log_url, told, COUNT)
    caught = sum(answer.replayed == "True" for answer in told)
    record_property(
        "kill -9",
        f"{kind_of(log_url)}: {COUNT:,} requests from {THREADS} threads, killed {KILLS} times (seed {seed}): "
        f"{len(told):,} answers, {caught} of them stored but not told when the till died; all there once, sums as told",
    )


def test_a_till_that_is_killed_while_it_makes_the_log_leaves_nothing_half_made(log_url: str) -> None:
    asked = requests(3, random.Random(3))
    for turn in range(4 * SCALE):
        run_till(log_url, asked, 1, Life(0, 0.01 * turn))
    assert_all_stands(log_url, run_till(log_url, asked, 1, None), 3)
