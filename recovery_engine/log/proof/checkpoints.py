"""Checkpoints: signed notes of how far each stream has come, for somebody else to keep.

Whoever holds one of yesterday sees today whether an entry from before was changed or taken away. It is signed with a
key that the database does not hold, and never in contradiction to the one before.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, select

from recovery_engine.errors import LogError, StoreBusy, TamperedLog
from recovery_engine.log.database import CommitLost, Row, Unavailable
from recovery_engine.log.merkle import EMPTY_ROOT, Leaves, grown, root_of
from recovery_engine.log.opening import database_problems
from recovery_engine.log.proof.anchors import (
    RESTORED,
    Lost,
    Signed,
    acknowledged,
    notes_in,
    origin_of,
    placed,
    reading,
    text_of,
    why,
)
from recovery_engine.log.proof.notes import (
    MAX_SIZE,
    Checkpoint,
    generate_key,
    join_notes,
    sign,
    stream_origin,
    verifier_key,
)
from recovery_engine.log.reading.export import whole_file
from recovery_engine.log.reading.queries import StreamHead, heads, streamed
from recovery_engine.log.tables import metadata
from recovery_engine.log.verification.snapshot import Progress
from recovery_engine.log.writing.creation import place_of

Told = Callable[[int], None]
"""Takes how many more entries are done."""

_LOG = metadata.tables["recovery_log"]
_CHECKPOINT = metadata.tables["recovery_checkpoint"]
_KEPT = "SELECT stream, size FROM recovery_checkpoint WHERE stream IN (?*)"
_AT_ONCE = 1_000
_VERIFY = "run `recovery log verify`"


# --- keys -------------------------------------------------------------------------------------------------------------


class Keys(NamedTuple):
    """Where a new key was written: the private one, and the verifier key, whose text is for everybody."""

    private_file: Path
    public_file: Path
    vkey: str


def keygen(name: str, file: str | Path) -> Keys:
    """Make a key to sign checkpoints with: *file*, for its owner's eyes only, and ``<file>.vkey`` to hand out.

    *name* is a web address without its scheme, such as ``shop.example/recovery``. Nothing is ever overwritten.
    Raises LogError, and NoteError for another *name*.
    """
    private, vkey = generate_key(name)
    keys = Keys(Path(file), Path(f"{file}.vkey"), vkey)
    _write_new(keys.public_file, vkey, 0o644)
    try:
        _write_new(keys.private_file, private, 0o600)
    except BaseException:
        keys.public_file.unlink()
        raise
    return keys


def _write_new(path: Path, text: str, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise LogError(f"{path} is already there", "a key is never overwritten; choose another name") from None
    except OSError as error:
        raise LogError(f"cannot write {path}: {why(error)}") from None
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(f"{text}\n")
            stream.flush()
            os.fsync(descriptor)
    except OSError as error:
        path.unlink()
        raise LogError(f"cannot write {path}: {why(error)}") from None


# --- checkpoints ------------------------------------------------------------------------------------------------------


class SignedCheckpoint(NamedTuple):
    """A stream of the log, how many entries it has, its root (hex), the note, and whether that was signed just now."""

    stream: str
    size: int
    root: str
    note: str
    new: bool


def checkpoint(
    database: str | Path,
    key_file: str | Path,
    out: str | Path | None = None,
    *,
    every: bool = False,
    keep: bool = True,
    progress: Progress | None = None,
) -> tuple[SignedCheckpoint, ...]:
    """Sign how far each stream has come that grew since its last note, or all of them where *every* is true.

    The tree of each stream is worked out again from its leaves, and must hold every checkpoint made before: the last
    notes, which are kept in ``<key_file>.notes``, and those in the log. The notes go there, into the log (unless *keep*
    is false: then the database is only read), and together into the file *out*, which must be new unless it holds
    *every* stream.
    Raises TamperedLog, LogError, NoteError; StoreBusy where the notes are signed but not in the log: the next run puts
    them there.
    """
    key_file, beside = Path(key_file), Path(f"{key_file}.notes")
    with placed(key_file):
        key = text_of(key_file).strip()
        vkey = verifier_key(key)
    if out is not None:
        _check_out(Path(out), [key_file, beside], every)
    with _alone(key_file):
        before = {one.checkpoint.origin: one for one in notes_in(beside, [vkey])} if beside.exists() else {}
        with reading(database) as connection:
            signed = _sign_all(connection, before, key, progress)
            missing = [] if not keep else _missing(connection, signed)
        after = before | {one.checkpoint.origin: one for one, _ in signed.values()}
        if after != before:
            _write_notes(beside, after.values())
        if missing:
            _keep(database, missing)
        chosen = {stream: one for stream, (one, new) in sorted(signed.items()) if new or every}
        if out is not None and chosen:
            _write_notes(Path(out), chosen.values())
    return tuple(
        SignedCheckpoint(stream, one.checkpoint.size, one.checkpoint.root.hex(), one.note, signed[stream][1])
        for stream, one in chosen.items()
    )


def _check_out(out: Path, ours: list[Path], every: bool) -> None:
    if out.exists() and any(path.exists() and path.samefile(out) for path in ours):
        raise LogError(f"{out} belongs to the key", "choose another file")
    if out.exists() and not every:
        # It may be the only note of a stream that did not grow since.
        cure = "give each checkpoint a file of its own, or let it hold every stream: `--all`"
        raise LogError(f"{out} is already there", cure)


@contextmanager
def _alone(key_file: Path) -> Iterator[None]:
    """Two runs with one key take turns, so that the second sees what the first has signed."""
    with key_file.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sign_all(
    connection: Connection, before: dict[str, Signed], key: str, progress: Progress | None
) -> dict[str, tuple[Signed, bool]]:
    """The note of each stream, and whether it is new. Raises TamperedLog."""
    log = origin_of(connection)
    found = {head.stream: head for head in heads(connection)}
    known = {origin.removeprefix(f"{log}/") for origin in before if origin.startswith(f"{log}/")}
    for table in (_LOG, _CHECKPOINT):
        known.update(connection.execute(select(table.c.stream).distinct()).scalars())
    for stream in known - found.keys():
        found[stream] = StreamHead(stream, 0, EMPTY_ROOT.hex(), "", 0)
    told = _added_up(progress, sum(head.size for head in found.values()))
    signed: dict[str, tuple[Signed, bool]] = {}
    for stream, head in sorted(found.items()):
        last = before.get(stream_origin(log, stream))
        root = _consistent_root(connection, head, last, told)
        if last and (last.checkpoint.size, last.checkpoint.root) == (head.size, root):
            signed[stream] = last, False
        elif head.size:
            made = Checkpoint(stream_origin(log, stream), head.size, root)
            signed[stream] = Signed(made, sign(made.text(), key)), True
    return signed


def _added_up(progress: Progress | None, total: int) -> Told:
    """Tells *progress* how many of all are done."""
    done = 0

    def told(more: int) -> None:
        nonlocal done
        done += more
        if progress:
            progress(done, total)

    return told


def _consistent_root(connection: Connection, head: StreamHead, last: Signed | None, told: Told) -> bytes:
    """The root of a stream, once it turns out to hold every checkpoint made before. Raises TamperedLog."""
    stream = head.stream
    rows = connection.execute(select(_CHECKPOINT.c.size, _CHECKPOINT.c.root).where(_CHECKPOINT.c.stream == stream))
    claims = [(size, bytes(root)) for size, root in rows]
    if last is not None:
        claims.append((last.checkpoint.size, last.checkpoint.root))
    count, roots = _roots(leaves_of(connection, stream)(0, MAX_SIZE), {size for size, _ in claims}, told)
    if count != head.size or roots[count].hex() != head.root:
        raise TamperedLog(f"the entries of stream `{stream}` are not those that its head speaks of", _VERIFY)
    # INVARIANT: nothing is signed that contradicts what was signed before, unless the log itself says what was lost.
    wrong = [(size, root) for size, root in claims if roots.get(size) != root]
    known = acknowledged(connection, stream) if wrong else set()
    for size, root in wrong:
        if (size, root.hex()) not in known:
            raise TamperedLog(str(Lost(stream, size, root, count)), RESTORED if size > count else _VERIFY)
    return roots[count]


def leaves_of(connection: Connection, stream: str) -> Leaves:
    """The leaf hashes of a stream."""

    def leaves(start: int, stop: int) -> Iterator[bytes]:
        fits = _LOG.c.stream == stream, _LOG.c.seq >= start, _LOG.c.seq < stop
        for (leaf,) in streamed(connection, select(_LOG.c.leaf).where(*fits).order_by(_LOG.c.seq)):
            yield bytes(leaf)

    return leaves


def _roots(leaves: Iterable[bytes], sizes: set[int], told: Told) -> tuple[int, dict[int, bytes]]:
    """How many leaves there are, and the root after each of *sizes* and after the last."""
    frontier: list[bytes] = []
    roots = {0: EMPTY_ROOT}
    count = 0
    for count, leaf in enumerate(leaves, 1):
        frontier = grown(count - 1, frontier, leaf)
        if count in sizes:
            roots[count] = root_of(frontier)
        if count % _AT_ONCE == 0:
            told(_AT_ONCE)
    told(count % _AT_ONCE)
    return count, roots | {count: root_of(frontier)}


def _write_notes(path: Path, signed: Iterable[Signed]) -> None:
    text = join_notes([one.note for one in sorted(signed, key=lambda one: one.checkpoint.origin)])
    with whole_file(path) as partial:
        partial.write_bytes(text.encode())


def _missing(connection: Connection, signed: dict[str, tuple[Signed, bool]]) -> list[Row]:
    """The rows of the notes that the log does not have."""
    kept = {tuple(row) for row in connection.execute(select(_CHECKPOINT.c.stream, _CHECKPOINT.c.size))}
    notes: list[Row] = [
        (stream, one.checkpoint.size, one.checkpoint.root, one.note) for stream, (one, _) in sorted(signed.items())
    ]
    return [row for row in notes if tuple(row[:2]) not in kept]


def _keep(database: str | Path, rows: list[Row]) -> None:
    """Put notes into the log, those that are not there yet. Raises LogError, StoreBusy."""
    place = place_of(database, own_clock=True)
    try:
        with database_problems(place.name), closing(place.writing()) as writing:
            writing.take_turn()
            try:
                writing.before([])
                streams = sorted({str(row[0]) for row in rows})
                _, (_, _, kept) = writing.begin([], [], [], [(_KEPT, (streams,))])
                known = {(stream, size) for stream, size in kept}
                if new := [row for row in rows if (row[0], row[1]) not in known]:
                    writing.finish([("recovery_checkpoint", new)])
            finally:
                writing.rollback()
                writing.end_turn()
    except (Unavailable, CommitLost) as error:
        message = f"{place.name}: the notes are signed, and the log did not take them: {error}"
        raise StoreBusy(message, "try again") from error
