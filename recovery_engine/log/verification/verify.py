"""Prove a log: its entries against each other, and everything that stands beside them against the entries."""

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from recovery_engine.errors import RecoveryError
from recovery_engine.log.entry import ORGANISATION
from recovery_engine.log.proof.anchors import Anchor, reading
from recovery_engine.log.verification import comparison, people, signed
from recovery_engine.log.verification.chain import Chain, Link
from recovery_engine.log.verification.findings import Finding, Findings, Head, Report, Wrong
from recovery_engine.log.verification.fold import Fold
from recovery_engine.log.verification.merge import Merge
from recovery_engine.log.verification.register import Register
from recovery_engine.log.verification.replay import Replay
from recovery_engine.log.verification.shelf import temporary_file
from recovery_engine.log.verification.snapshot import Progress, Snapshot

__all__ = ["Examined", "Finding", "Head", "Report", "compare_projections", "examine", "verify"]

_MOST_ROWS = 8_192
"""Rows of entries in memory, of all streams together, unless there are more than a quarter as many streams."""
_AT_LEAST, _AT_MOST = 4, 1_000


@dataclass(frozen=True, slots=True)
class Examined:
    """The entries of a log, gone through."""

    fold: Fold
    chains: tuple[Chain, ...]
    replay: Replay
    findings: Findings

    @property
    def origin(self) -> str:
        """The name of the log in checkpoints."""
        return str(self.fold.identity["origin"]) if self.fold.identity else ""

    def report(self, unanchored: tuple[tuple[str, int], ...] | None = None) -> Report:
        """What there is to say of it; *unanchored* left out: no entry is anchored."""
        if unanchored is None:
            unanchored = tuple((chain.name, chain.size) for chain in sorted(self.chains, key=lambda chain: chain.name))
        return Report(
            entries=sum(chain.size for chain in self.chains),
            streams=len(self.chains),
            bytes=sum(chain.bytes for chain in self.chains),
            replayed=self.replay.replayed,
            not_replayed=self.replay.not_replayed,
            findings=self.findings.first(),
            found=self.findings.count,
            unanchored=unanchored,
            heads=tuple(Head(chain.name, chain.size, chain.root.hex()) for chain in self.chains),
        )


def verify(
    database: str | Path,
    *,
    replay: bool = True,
    texts: bool = True,
    anchors: Iterable[Anchor] = (),
    keys: Iterable[str] = (),
    progress: Progress | None = None,
) -> Report:
    """Check the whole log in *database*, in one state of it and in bounded memory.

    *anchors* are what signed notes kept elsewhere say (``read_anchor``); *keys* are verifier keys that must have signed
    the notes kept in the log. Without *replay* no decision is made again; without *texts* nobody looks for what is kept
    about people, which a copy may leave out. Raises LogError where there is no log that can be read; what is wrong with
    one that can is in the report.
    """
    with reading(database) as connection:
        raw: Any = connection.connection.dbapi_connection
        snapshot = Snapshot(raw, connection.dialect.name == "postgresql")
        with closing(temporary_file()) as file:
            examined = examine(snapshot, file, replay, progress)
            fold, chains = examined.fold, examined.chains
            tampered, drift = examined.findings.of("tampered"), examined.findings.of("drift")
            _schema(snapshot, fold, tampered)
            if texts:
                _holds("personal", tampered, people.texts, snapshot, fold, tampered)
                _holds("subject", tampered, people.links, snapshot, fold, tampered)
            told = (snapshot, examined.origin, fold.reopened)
            _holds("checkpoint", tampered, signed.checkpoints, *told, keys, tampered)
            unanchored = signed.anchored(*told, chains, anchors, tampered, examined.findings.of("anchor"))
            compare_projections(snapshot, examined, drift)
            return examined.report(unanchored)


def examine(snapshot: Snapshot, file: Any, replay: bool, progress: Progress | None) -> Examined:
    """Go through the entries and the policies they speak of. *file* is where what follows from them is kept."""
    findings, total = Findings(), snapshot.total()
    tampered = findings.of("tampered")
    register = Register(snapshot, tampered)
    again = Replay(register)
    fold = Fold(file, total, snapshot, register, again if replay else None)
    names = sorted(snapshot.streams(), key=lambda name: (name != ORGANISATION, name))
    at_once = max(_AT_LEAST, min(_AT_MOST, _MOST_ROWS // max(1, len(names))))
    chains = tuple(Chain(snapshot, name, at_once, partial(tampered, name)) for name in names)

    def take(chain: Chain, link: Link) -> None:
        seq = link.entry["seq"]
        wrong = partial(chain.wrong, seq)
        try:
            fold.take(link.entry, link.leaf, wrong)
        except (ValueError, LookupError, TypeError, ArithmeticError, RecoveryError) as error:
            wrong(f"nothing can follow from it: {error}")

    Merge(chains, fold.versions, take, progress, total).run()
    if ORGANISATION not in names:
        tampered(ORGANISATION, 0, "the stream is missing")
    if (reached := sum(chain.size for chain in chains)) != total:
        tampered(None, None, f"`recovery_log` has {total:,} rows, and {reached:,} can be reached by stream and seq")
    fold.cases.finish(fold.forgotten)
    register.finish()
    _holds("stream", tampered, comparison.heads, snapshot, chains, tampered, findings.of("drift"))
    return Examined(fold, chains, again, findings)


def compare_projections(snapshot: Snapshot, examined: Examined, drift: Wrong) -> None:
    """Compare every projection with what follows from the entries; the heads of streams were compared before."""
    _holds("state", drift, comparison.recoveries, snapshot, examined.fold, drift)
    _holds("usage", drift, comparison.usage, snapshot, examined.fold, drift)
    _holds("subject_lock", drift, comparison.versions, snapshot, examined.fold, drift)
    _holds("delegation", drift, comparison.delegations, snapshot, examined.fold, drift)


def _holds(table: str, wrong: Wrong, compare: Callable[..., None], *args: Any) -> None:
    """Compare a table; a value of a type that its columns cannot have is a finding too, and ends it."""
    try:
        compare(*args)
    except (TypeError, AttributeError, ValueError) as error:
        wrong(None, None, f"`recovery_{table}` holds what no log can hold: {error}")


def _schema(snapshot: Snapshot, fold: Fold, wrong: Wrong) -> None:
    """``recovery_schema`` names the engine that made the log, as its first entry does."""
    engines = [engine for _, engine in snapshot.rows("SELECT version, engine FROM recovery_schema")]
    expected = [fold.identity["engine"]] if fold.identity else []
    if engines != expected:
        wrong(ORGANISATION, 0, f"`recovery_schema` names {engines}, and the entry {expected}")
