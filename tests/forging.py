"""Somebody with write access and no scruples: changes a log in an SQLite file behind the back of every guard-rail."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from making_logs import anchors_of, make, signed

from recovery_engine.log.merkle import frontier_bytes, grown, leaf_hash, root_of
from recovery_engine.log.opening import sqlite_module
from recovery_engine.log.verification import register
from recovery_engine.log.verification.findings import Report
from recovery_engine.log.verification.rebuild import insert, projections
from recovery_engine.log.verification.shelf import temporary_file
from recovery_engine.log.verification.snapshot import Snapshot
from recovery_engine.log.verification.verify import examine, verify

Entry = dict[str, Any]


class Forger:
    """A copy of a log, without its triggers, and what can be done to it."""

    def __init__(self, log: str | Path, copy: Path) -> None:
        module = sqlite_module()
        self.path = copy
        self.db = module.connect(str(copy), isolation_level=None)
        with closing(module.connect(str(log).removeprefix("sqlite:///"))) as original:
            original.backup(self.db)
        self.db.execute("PRAGMA journal_mode=MEMORY")
        self.db.execute("PRAGMA synchronous=OFF")
        for (trigger,) in self.db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            self.db.execute(f"DROP TRIGGER {trigger}")

    def close(self) -> None:
        self.db.close()

    def verify(self, **options: Any) -> Report:
        return verify(self.path, **options)

    def run(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.db.execute(sql, values).fetchall()

    @contextmanager
    def for_a_moment(self) -> Iterator[None]:
        """What is done inside is undone afterwards."""
        before = sqlite_module().connect(":memory:")
        self.db.backup(before)
        try:
            yield
        finally:
            before.backup(self.db)
            before.close()

    def entries(self, stream: str) -> list[Entry]:
        """The entries of a stream."""
        rows = self.run("SELECT body FROM recovery_log WHERE stream = ? ORDER BY seq", stream)
        return [json.loads(body) for (body,) in rows]

    def find(self, id: str) -> Entry:
        """The entry with this id."""
        ((body,),) = self.run("SELECT body FROM recovery_log WHERE request_id = ?", id)
        found: Entry = json.loads(body)
        return found

    def rewrite(self, stream: str, entries: list[Entry], unchained: int | None = None) -> None:
        """Put other entries into a stream, with every hash, column, root and the head made to fit.

        The entry with the seq *unchained* names another leaf before it.
        """
        self.run("DELETE FROM recovery_log WHERE stream = ?", stream)
        frontier: list[bytes] = []
        prev, leaf = "0" * 64, b""
        for seq, entry in enumerate(entries):
            entry = {**entry, "stream": stream, "seq": seq, "prev": "f" * 64 if seq == unchained else prev}
            body = orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
            leaf = leaf_hash(body)
            frontier, prev = grown(seq, frontier, leaf), leaf.hex()
            continues = None if entry["kind"] == "decided" else entry.get("recovery")
            self.run(
                "INSERT INTO recovery_log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(stream, seq, entry["id"], entry["kind"], entry["at_us"], continues, body, leaf, root_of(frontier)),
            )
        self.run(
            "UPDATE recovery_stream SET size = ?, frontier = ?, last_leaf = ?, last_at_us = ? WHERE stream = ?",
            *(len(entries), frontier_bytes(frontier), leaf, entries[-1]["at_us"] if entries else 0, stream),
        )

    def change(self, id: str, change: Callable[[Entry], Any]) -> None:
        """Change an entry and forge everything after it in its stream, `of` of the steps that answer it too."""
        stream = self.find(id)["stream"]
        entries = self.entries(stream)
        before = {entry["id"]: leaf_hash(_bytes(entry)).hex() for entry in entries}
        change(next(entry for entry in entries if entry["id"] == id))
        prev, now = "0" * 64, {}
        for entry in entries:
            entry["prev"] = prev
            if "of" in entry:
                entry["of"] = next((now[id] for id, leaf in before.items() if leaf == entry["of"]), entry["of"])
            prev = now[entry["id"]] = leaf_hash(_bytes(entry)).hex()
        self.rewrite(stream, entries)

    def reproject(self) -> None:
        """Make every projection what the entries now say."""
        with closing(temporary_file()) as file:
            examined = examine(Snapshot(self.db, False), file, False, None)
            for table, rows in projections(examined):
                self.run(f"DELETE FROM {table}")
                insert(self.db, False, table, rows)

    def forge(self, id: str, change: Callable[[Entry], Any]) -> None:
        """Change an entry, all hashes after it, and every projection; take away the checkpoints that would tell."""
        self.change(id, change)
        self.run("DELETE FROM recovery_checkpoint")
        self.reproject()


def _bytes(entry: Entry) -> bytes:
    return orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)


class Original:
    """A log with every kind of entry and signed checkpoints, and what is known of it outside."""

    def __init__(self, folder: Path, seed: str = "") -> None:
        self.file = folder / f"log{seed}.db"
        make(f"sqlite:///{self.file}", folder / f"policies{seed}", seed=seed)
        self.vkey = signed(f"sqlite:///{self.file}", folder / f"policies{seed}")
        self.report = verify(self.file, keys=[self.vkey])
        assert self.report.clean
        self.anchors = anchors_of(self.report)


def first(report: Report) -> str:
    """The first bad place."""
    assert report.findings, "nothing was found"
    return str(report.findings[0])


remembered = lru_cache(register.parse_stored)
"""Reads a policy once for a thousand runs."""
