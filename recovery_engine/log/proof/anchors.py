"""Anchors: what signed notes from outside show of a log, whether the log still holds it, and what to do where not."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, select

from recovery_engine.errors import LogError, TamperedLog
from recovery_engine.log.entry import ORGANISATION, decode
from recovery_engine.log.opening import database_problems, reader, shown
from recovery_engine.log.proof.notes import Checkpoint, NoteError, parse_checkpoint, split_notes, verify
from recovery_engine.log.tables import metadata
from recovery_engine.log.writing.group import Group, LogReceipt, Wanted

_LOG = metadata.tables["recovery_log"]
_VERIFY = "run `recovery log verify`"
RESTORED = "if a backup was restored, `recovery log reopen` says so in the log; otherwise find out who removed them"


class Anchor(NamedTuple):
    """What a signed note says: the stream ``origin`` had ``size`` entries under this ``root`` (32 bytes).

    The origin is that of the log, a slash, and the name of the stream.
    """

    origin: str
    size: int
    root: bytes


class Lost(NamedTuple):
    """What an anchor shows and the log does not hold: the stream had ``size`` entries; it has ``has`` now.

    Where it has as many or more they are other ones: a backup was restored and went on, or somebody changed them.
    """

    stream: str
    size: int
    root: bytes
    has: int

    def __str__(self) -> str:
        if self.has < self.size:
            return f"stream `{self.stream}` had {self.size:,} entries when it was signed, and has {self.has:,} now"
        return f"the first {self.size:,} entries of stream `{self.stream}` are not those that were signed"


class Signed(NamedTuple):
    """A checkpoint, and the note that signs it."""

    checkpoint: Checkpoint
    note: str


def read_anchor(file: str | Path, vkeys: Iterable[str]) -> list[Anchor]:
    """What the notes in a file say, each signed by one of *vkeys*. Raises LogError, NoteError."""
    return [Anchor(found.origin, found.size, found.root) for found, _ in notes_in(Path(file), vkeys)]


def read_vkeys(file: str | Path) -> list[str]:
    """The verifier keys in a file, one a line. Raises LogError."""
    found = [line.strip() for line in text_of(Path(file)).splitlines() if line.strip()]
    if not found:
        raise LogError(f"{file}: no verifier key in it", "`recovery log keygen` writes one into `<key>.vkey`")
    if any(line.startswith("PRIVATE") for line in found):
        raise LogError(f"{file}: a private key", "the verifier key that belongs to it is in `<key>.vkey`")
    return found


def notes_in(file: Path, vkeys: Iterable[str]) -> list[Signed]:
    """The notes in a file, each signed by one of *vkeys*. Raises LogError, NoteError."""
    vkeys = list(vkeys)
    with placed(file):
        return [Signed(parse_checkpoint(verify(note, vkeys)), note) for note in split_notes(text_of(file))]


def ahead(connection: Connection, anchors: Iterable[Anchor]) -> list[Lost]:
    """What *anchors* show and the log does not hold, unless a `reopened` entry says so. Raises LogError.

    It looks at the roots that stand beside the entries; whether those follow from the entries, `verify` says.
    """
    anchors, log = list(anchors), origin_of(connection)
    lost = [_lost(connection, _stream_of(anchor.origin, log), anchor) for anchor in anchors if anchor.size]
    return [one for one in lost if one is not None]


def lost_from(database: str | Path, anchors: Iterable[Anchor]) -> list[Lost]:
    """As ``ahead``, for the log in *database*. Raises LogError."""
    with reading(database) as connection:
        return ahead(connection, anchors)


def require_anchored(database: str | Path, anchors: Iterable[Anchor]) -> None:
    """Raises TamperedLog where the log in *database* lacks what an anchor shows, and no `reopened` says so."""
    for lost in lost_from(database, anchors):
        raise TamperedLog(f"{shown(database)}: {lost}", RESTORED)


def origin_of(connection: Connection) -> str:
    """The name of the log in checkpoints. Raises TamperedLog where its first entry cannot be read."""
    first = select(_LOG.c.body).where(_LOG.c.stream == ORGANISATION, _LOG.c.seq == 0)
    try:
        return str(decode(bytes(connection.execute(first).scalar_one_or_none() or b""))["origin"])
    except (ValueError, KeyError):
        raise TamperedLog("the first entry of the log cannot be read", _VERIFY) from None


def _stream_of(origin: str, log: str) -> str:
    stream = origin.removeprefix(f"{log}/")
    if stream == origin or not (stream == ORGANISATION or stream.startswith("site:")):
        raise LogError(f"the anchor is of `{origin}`, and this log is `{log}`", "give one of this log")
    return stream


def _lost(connection: Connection, stream: str, anchor: Anchor) -> Lost | None:
    at = select(_LOG.c.root).where(_LOG.c.stream == stream, _LOG.c.seq == anchor.size - 1)
    root = connection.execute(at).scalar()
    if root is not None and bytes(root) == anchor.root:
        return None
    if (anchor.size, anchor.root.hex()) in acknowledged(connection, stream):
        return None
    last = select(_LOG.c.seq).where(_LOG.c.stream == stream).order_by(_LOG.c.seq.desc()).limit(1)
    newest = connection.execute(last).scalar()
    return Lost(stream, anchor.size, anchor.root, 0 if newest is None else newest + 1)


def acknowledged(connection: Connection, stream: str) -> set[tuple[int, str]]:
    """The sizes and roots (hex) that the `reopened` entries of a stream say are lost."""
    chosen = select(_LOG.c.body).where(_LOG.c.stream == stream, _LOG.c.kind == "reopened")
    found = set()
    for (body,) in connection.execute(chosen):
        with suppress(ValueError, KeyError):
            entry = decode(bytes(body))
            found.add((int(entry["size"]), str(entry["root"])))
    return found


class Reopened(NamedTuple):
    """A loss, and the entry that says so."""

    lost: Lost
    receipt: LogReceipt


class Reopen:
    """Somebody answers for what a stream has lost, as after a restore; it goes on from what there is."""

    def __init__(self, lost: Lost, by: str | None) -> None:
        self.lost, self.by = lost, by
        self.id = f"~reopen/{lost.stream}/{lost.size}/{lost.root.hex()}"

    def wants(self, wanted: Wanted) -> None:
        wanted.ids.add(self.id)

    def locks(self, group: Group, wanted: Wanted) -> None:
        wanted.streams.add(self.lost.stream)

    def run(self, group: Group) -> Reopened:
        """Append `reopened`; the same again gives the same answer. Raises LogError."""
        if earlier := group.earlier(self.id):
            return Reopened(self.lost, earlier.receipt)
        stream, fields = self.lost.stream, {"size": self.lost.size, "root": self.lost.root.hex()}
        return Reopened(self.lost, group.append(stream, "reopened", self.id, self.by, fields, group.clock(stream)))


# --- files and databases ---


def why(error: OSError) -> str:
    """What an operating system refused, as it is said in messages."""
    return (error.strerror or str(error)).lower()


def text_of(file: Path) -> str:
    """The text of a file whose every byte counts. Raises LogError."""
    try:
        return file.read_bytes().decode()
    except OSError as error:
        raise LogError(f"cannot read {file}: {why(error)}") from None
    except UnicodeError:
        raise LogError(f"{file}: not text", "is it the right file?") from None


@contextmanager
def placed(place: str | Path) -> Iterator[None]:
    """What is wrong with a key or a note, said with the name of its file."""
    try:
        yield
    except NoteError as error:
        raise NoteError(f"{place}: {error.message}", error.help) from None


@contextmanager
def reading(database: str | Path) -> Iterator[Connection]:
    """A connection to the log that sees one state of it and cannot write. Raises LogError."""
    engine = reader(database)
    try:
        with database_problems(shown(database)), engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()
