"""The same commands, clock, ids and random bytes give the same entries on SQLite and PostgreSQL, to the last byte."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from engines import DAY, POLICY, SECOND, Clock, ask, assert_whole, dollars, entries, opened, rows, tables

from recovery_engine import RecoveryEngine, RecoveryError

pytestmark = pytest.mark.slow

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))

WORDS = """
remedies: [refund, voucher, apology]
categories: [delay, quality]
sites: {near: [S1, S2], far: [S9]}
timezone: America/Chicago
timezones: {far: Asia/Tokyo}
day_starts: "04:00"
facts: {days: {number: true, default: 0}, tier: {one_of: [gold, "Größe 😀", "ﬀ"], default: gold}}
owed:
  - {id: late, when: {category: delay}, remedy: refund, percent: 50, of: bill}
requires:
  - {id: photo, when: {category: quality}, evidence: [photo]}
escalation: {answer_within: {lead: 5 minutes}, fulfil_within: 2 days}
"""
BUDGETS = """budgets:
  - {id: day, per: employee, every: day, amount: 150, binds_below: manager}
  - {id: customer, per: customer, every: 90 days, amount: 200, times: 3, binds_below: manager}
  - {id: month, per: site, every: month, amount: 900}
"""
VERSIONS = [
    POLICY + WORDS,
    POLICY + WORDS + BUDGETS,
    POLICY.replace("250", "260") + WORDS + BUDGETS.replace("150", "120"),
]


def a_request(chance: random.Random, number: int) -> Any:
    """Any request; some have something wrong with them, some repeat an id."""
    case = chance.randrange(12)
    fields = {
        "site": chance.choice(["S1", "S1", "S2", "S9", "S7"]),
        "case": f"C-{case}",
        "receipt": f"R-{case // 2}" if case % 3 else None,
        "customer": f"K-{case % 5}" if case % 4 else None,
        "employee": f"emp-{chance.randrange(3)}",
        "role": chance.choice(["clerk", "clerk", "lead", "manager"]),
        "remedy": chance.choice(["refund", "refund", "voucher", "apology"]),
        "category": "delay" if case < 9 else "quality",
        "evidence": chance.choice([(), {"photo"}]),
        "basis": chance.choice(["goodwill", "goodwill", "goodwill", "owed"]),
        "bill": dollars(80),
        "note": chance.choice([None, "Crème brûlée\u0301 kalt"]),
        "customer_name": chance.choice([None, "Ann"]),
        "facts": chance.choice([{}, {"days": -(2**53) + 1, "tier": "Größe 😀"}, {"tier": "ﬀ"}]),
    }
    id = f"r-{number}" if chance.random() < 0.9 else f"r-{number // 2}"
    return ask(id, chance.choice([0, "0.01", 7, 30, 60, 101, 300, 600]), **fields)


def steps(chance: random.Random, count: int) -> Iterator[tuple[str, Any]]:
    """The commands of a life."""
    for number in range(count):
        kind = chance.choice(["request"] * 12 + ["fulfil", "fulfil", "void", "forget", "clock", "clock", "policy"])
        recovery = f"r-{chance.randrange(number + 1)}"
        match kind:
            case "request":
                yield kind, a_request(chance, number)
            case "fulfil":
                yield kind, (recovery, chance.choice([None, f"rf-{number}"]))
            case "void":
                yield kind, (recovery, chance.choice(["given twice", "falsch gebucht: 5 € zu viel"]))
            case "forget":
                yield kind, f"K-{chance.randrange(5)}"
            case "clock":
                yield kind, chance.choice([SECOND, 3_599 * SECOND, -1_800 * SECOND, DAY, 29 * DAY])
            case "policy":
                yield kind, chance.choice(VERSIONS)
    # Whatever chance brought, every life has seen each kind of step.
    last = {"role": "manager", "employee": "emp-last", "customer": "K-last", "category": "delay"}
    yield "request", ask("r-fulfilled", 0, **last)
    yield "fulfil", ("r-fulfilled", "rf-last")
    yield "request", ask("r-voided", 0, **last)
    yield "void", ("r-voided", "given twice")
    yield "forget", "K-last"


def live(url: str, seed: int, count: int) -> list[str]:
    """A life in a log: what each command was answered."""
    chance, clock = random.Random(seed), Clock()
    engine = opened(url, VERSIONS[0], clock=clock, seed=seed, origin="same.example")
    said = []
    for number, (kind, what) in enumerate(steps(chance, count)):
        try:
            match kind:
                case "clock":
                    clock.now_us += what
                case "policy":
                    engine.close()
                    engine = opened(url, what, clock=clock, seed=seed + number, origin="same.example")
                case "request":
                    said.append(repr(engine.request(what).as_dict()))
                case "forget":
                    said.append(repr(engine.forget(what, "asked for it", by="dpo")))
                case "fulfil":
                    said.append(repr(engine.fulfil(*what)))
                case "void":
                    said.append(repr(engine.void(*what, by="lead-1")))
        except RecoveryError as error:
            said.append(repr(error))
    said.append(repr(headrooms(engine)))
    engine.close()
    return said


def headrooms(engine: RecoveryEngine) -> Any:
    room = {"role": "clerk", "category": "delay", "bill": dollars(80)}
    return [engine.headroom(employee=f"emp-{n}", site=site, **room) for n in range(3) for site in ("S1", "S2")]


SEEDS = range(2 * SCALE)


@pytest.mark.parametrize("seed", SEEDS)
def test_both_databases_hold_the_same_bytes(seed: int, tmp_path: Path, postgres_url: str, record_property: Any) -> None:
    lite = f"sqlite:///{tmp_path / 'recovery.db'}"
    count = 150
    assert live(lite, seed, count) == live(postgres_url, seed, count)
    stored = "SELECT stream, seq, body, leaf, root FROM recovery_log ORDER BY stream, seq"
    ours, theirs = ([tuple(map(bytes_or_same, row)) for row in rows(url, stored)] for url in (lite, postgres_url))
    assert ours == theirs
    assert bare(tables(lite)) == bare(tables(postgres_url))
    assert len({entry["kind"] for entry in entries(lite)}) == 6
    for entry, (_, _, body, _, _) in zip(entries(lite), ours, strict=True):
        assert rfc8785.dumps(entry) == body
    assert_whole(lite)
    assert_whole(postgres_url)
    if seed == SEEDS[-1]:
        record_property("same bytes", f"{len(SEEDS)} lives of {count} commands (seeds 0 to {seed}), on both databases")


def bytes_or_same(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def bare(found: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    return {name: sorted((tuple(map(bytes_or_same, row)) for row in table), key=repr) for name, table in found.items()}


def test_another_seed_gives_other_bytes(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path / str(seed)}" for seed in range(2)]
    for url in urls:
        with opened(url, POLICY, seed=urls.index(url)):
            pass
    assert len({entries(url, "opened")[0]["log"] for url in urls}) == 2
