"""What was signed of a log, inside it and outside, against the log as it is."""

from collections.abc import Iterable, Mapping

from recovery_engine.log.merkle import EMPTY_ROOT
from recovery_engine.log.proof.anchors import Anchor
from recovery_engine.log.proof.notes import NoteError, parse_checkpoint, stream_origin
from recovery_engine.log.proof.notes import verify as verify_note
from recovery_engine.log.verification.chain import Chain
from recovery_engine.log.verification.findings import Wrong
from recovery_engine.log.verification.snapshot import Snapshot

_CHECKPOINTS = (
    "SELECT c.stream, c.size, c.root, c.note, l.root FROM recovery_checkpoint c "
    "LEFT JOIN recovery_log l ON l.stream = c.stream AND l.seq = c.size - 1 ORDER BY c.stream, c.size"
)

Lost = Mapping[str, set[tuple[int, str]]]
"""By stream, the sizes and roots (hex) of which a `reopened` entry says that they are lost."""


def checkpoints(snapshot: Snapshot, origin: str, lost: Lost, keys: Iterable[str], wrong: Wrong) -> None:
    """Compare ``recovery_checkpoint`` with the trees, and its notes with its columns; their signatures where *keys*
    (verifier keys) are given.
    """
    keys = tuple(keys)
    for stream, size, root, note, own_root in snapshot.scan(_CHECKPOINTS):
        try:
            text = verify_note(note, keys) if keys else note[: note.rfind("\n\n") + 1]
            said = parse_checkpoint(text)
            if (said.origin, said.size, said.root) != (stream_origin(origin, stream), size, root):
                wrong(stream, size - 1, f"the note of the checkpoint of {size:,} entries is about something else")
        except (NoteError, UnicodeError) as error:
            wrong(stream, size - 1, f"the note of the checkpoint of {size:,} entries is none: {error}")
        if (own_root or (EMPTY_ROOT if size == 0 else None)) != root and not _is_lost(lost, stream, size, root):
            wrong(stream, size - 1, f"the checkpoint of {size:,} entries has another root than the entries")


def _is_lost(lost: Lost, stream: str, size: int, root: bytes) -> bool:
    return (size, root.hex()) in lost.get(stream, ())


def anchored(
    snapshot: Snapshot,
    origin: str,
    lost: Lost,
    chains: Iterable[Chain],
    anchors: Iterable[Anchor],
    tampered: Wrong,
    missing: Wrong,
) -> tuple[tuple[str, int], ...]:
    """Compare with anchors kept outside; gives each stream with the number of its entries that no anchor covers."""
    sizes = {chain.name: chain.size for chain in chains}
    covered = dict.fromkeys(sizes, 0)
    for anchor in anchors:
        stream = anchor.origin.removeprefix(stream_origin(origin, ""))
        if anchor.origin != stream_origin(origin, stream):
            missing(None, None, f"an anchor is of `{anchor.origin}`, and this log is `{origin}`")
            continue
        size = sizes.get(stream, 0)
        if _is_lost(lost, stream, anchor.size, anchor.root):
            continue
        if anchor.size > size:
            missing(stream, size, f"the stream had {anchor.size:,} entries when it was anchored, and has {size:,} now")
        elif (snapshot.root(stream, anchor.size - 1) if anchor.size else EMPTY_ROOT) != anchor.root:
            tampered(stream, anchor.size - 1, f"the first {anchor.size:,} entries are not those that were anchored")
        else:
            covered[stream] = max(covered.get(stream, 0), anchor.size)
    return tuple((stream, sizes[stream] - covered[stream]) for stream in sorted(sizes))
