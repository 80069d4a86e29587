"""Engines as tests want them: a clock set by hand, chance that repeats, requests in few words, the log read back."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any
from unittest.mock import patch

import psycopg
from databases import conninfo

from recovery_engine import Money, RecoveryEngine, RecoveryRequest
from recovery_engine.log.entry import NO_LEAF, decode, problems
from recovery_engine.log.opening import sqlite_module, sqlite_path
from recovery_engine.log.projection import counted, state_after
from recovery_engine.log.tables import metadata

HEAD = "policy: shop\ncurrency: USD\nladder: [clerk, lead, manager]\n"
LIMITS = "authority:\n  - {id: standard, up_to: {total: [100, 250, 500]}}\n"
POLICY = HEAD + LIMITS

SECOND, HOUR, DAY = 1_000_000, 3_600_000_000, 86_400_000_000
START = 1_795_284_306_000_000
"""Saturday, 2026-11-21 18:05:06 UTC, in microseconds."""


class Clock:
    """Tells the time it was set to, in UTC microseconds, and moves a second on each time it is read if it *ticks*."""

    def __init__(self, now_us: int = START, ticks: bool = False) -> None:
        self.now_us, self.ticks = now_us, ticks

    def __call__(self) -> int:
        self.now_us += SECOND * self.ticks
        return self.now_us


def opened(database: str | Path, *policies: str, clock: Any = None, seed: int = 0, **more: Any) -> RecoveryEngine:
    """An engine that has loaded the texts *policies*; *clock* left out stands still at START."""
    with TemporaryDirectory() as folder:
        for number, text in enumerate(policies):
            Path(folder, f"{number}.yaml").write_text(text, encoding="utf-8")
        options = {"random": Random(seed).randbytes, "environment": {}} | more
        return RecoveryEngine.open(database, folder if policies else None, clock=clock or Clock(), **options)


def dollars(amount: str | int) -> Money:
    """So many US dollars."""
    return Money.of(str(amount), "USD")


def ask(id: str, amount: str | int = 10, **fields: Any) -> RecoveryRequest:
    """A clerk asks for a refund, on a case of its own, unless *fields* say otherwise."""
    usual = {"role": "clerk", "employee": "emp-1", "site": "S1", "case": f"C-{id}", "remedy": "refund"}
    return RecoveryRequest(id=id, amount=dollars(amount), **(usual | fields))


def kind_of(url: str) -> str:
    """The kind of a database, as reports name it: ``sqlite`` or ``postgresql``."""
    return url.partition(":")[0].partition("+")[0]


# --- the log, read back without the engine ----------------------------------------------------------------------------


@contextmanager
def connected(database: str | Path) -> Iterator[Any]:
    """A connection of our own to the database: it commits at the end."""
    path = sqlite_path(database)
    if path is None:
        with psycopg.connect(conninfo(str(database))) as connection:
            yield connection
    else:
        with closing(sqlite_module().connect(str(path))) as connection, connection:
            yield connection


def rows(database: str | Path, sql: str) -> list[tuple[Any, ...]]:
    """What a query finds."""
    with connected(database) as connection:
        return [tuple(row) for row in connection.execute(sql).fetchall()]


def entries(database: str | Path, kind: str = "") -> list[dict[str, Any]]:
    """Every entry, or those of a kind, by stream and seq."""
    found = [decode(bytes(body)) for (body,) in rows(database, "SELECT body FROM recovery_log ORDER BY stream, seq")]
    return [entry for entry in found if kind in ("", entry["kind"])]


def tables(database: str | Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table. Rows that PostgreSQL made only to lock them are left out: nothing follows from them."""
    found = {name: sorted(rows(database, f"SELECT * FROM {name}"), key=repr) for name in metadata.tables}
    found["recovery_subject_lock"] = [row for row in found["recovery_subject_lock"] if row[1]]
    found["recovery_stream"] = [row for row in found["recovery_stream"] if row[1]]
    return found


def merkle_root(leaves: list[bytes]) -> bytes:
    """The root by the definition in RFC 9162, 2.1.1."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"").digest()
    middle = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha256(b"\x01" + merkle_root(leaves[:middle]) + merkle_root(leaves[middle:])).digest()


def assert_whole(database: str | Path) -> None:
    """The entries are a chain and a tree for each stream, and the tables are what follows from them."""
    log = rows(database, "SELECT stream, seq, request_id, kind, at_us, body, leaf, root FROM recovery_log")
    states: dict[str, Any] = {}
    usage: dict[tuple[str, ...], list[int]] = {}
    touched: dict[str, list[int]] = {}
    leaves: dict[str, list[bytes]] = {}
    for stream, seq, request_id, kind, at_us, body, leaf, root in sorted(log):
        entry = decode(bytes(body))
        known = leaves.setdefault(stream, [])
        assert list(problems(entry)) == []
        assert seq == len(known)
        assert entry["prev"] == (known[-1].hex() if known else NO_LEAF)
        assert sha256(b"\x00" + bytes(body)).digest() == bytes(leaf)
        known.append(bytes(leaf))
        assert merkle_root(known) == bytes(root)
        held = [entry[name] for name in ("stream", "seq", "id", "kind", "at_us")]
        assert held == [stream, seq, request_id, kind, at_us]
        if "recovery" in entry:
            states[entry["recovery"]] = state_after(states.get(entry["recovery"]), entry)
        for subject, version in entry.get("touches", ()):
            touched.setdefault(subject, []).append(version)
        for subject, key, amount, times in counted(entry):
            sums = usage.setdefault((subject, *key), [0, 0])
            sums[0], sums[1] = sums[0] + amount, sums[1] + times
    stored = tables(database)
    assert [bytes(row[3]) for row in sorted(stored["recovery_stream"])] == [leaves[name][-1] for name in sorted(leaves)]
    assert sorted(stored["recovery_state"], key=repr) == sorted(map(tuple, states.values()), key=repr)
    assert sorted(stored["recovery_usage"]) == sorted((*key, *sums) for key, sums in usage.items())
    assert all(sorted(versions) == list(range(1, len(versions) + 1)) for versions in touched.values())
    assert dict(stored["recovery_subject_lock"]) == {subject: len(versions) for subject, versions in touched.items()}
    if find_spec("recovery_engine.log.verification.verify"):
        verify = import_module("recovery_engine.log.verification.verify").verify
        findings = verify(database).findings
        assert not findings, findings


# --- many callers at once ---------------------------------------------------------------------------------------------


def together(engine: RecoveryEngine, *calls: Callable[[], Any]) -> list[Any]:
    """What *calls* return or raise, made by as many threads and served, in this order, as one group."""
    store: Any = engine._store
    answers: list[Any] = [None] * len(calls)
    arrived, go_on = Event(), Event()

    def take_turn() -> None:
        arrived.set()
        assert go_on.wait(60)

    def call(number: int) -> None:
        try:
            answers[number] = calls[number]()
        except BaseException as error:
            answers[number] = error

    threads = [Thread(target=call, args=(number,), daemon=True) for number in range(len(calls))]
    with patch.object(store._database, "take_turn", take_turn):
        for number, thread in enumerate(threads):
            thread.start()
            assert arrived.wait(60)  # the first is in the writer's hands
            while store._line.qsize() < number:
                thread.join(0.001)
        go_on.set()
        for thread in threads:
            thread.join(60)
    return answers


def names(answers: list[Any]) -> list[str]:
    """Each answer in a word: the outcome, or the name of the error."""
    return [
        type(one).__name__ if isinstance(one, BaseException) else str(getattr(one, "outcome", "done"))
        for one in answers
    ]
