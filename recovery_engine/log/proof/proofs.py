"""Proofs: that an entry stood in the log when a checkpoint was signed, for somebody who has no database."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, select

from recovery_engine.errors import LogError, TamperedLog
from recovery_engine.log.entry import Entry, decode
from recovery_engine.log.merkle import inclusion_proof, leaf_hash, verify_inclusion
from recovery_engine.log.proof.anchors import origin_of, placed, reading, text_of
from recovery_engine.log.proof.checkpoints import leaves_of
from recovery_engine.log.proof.notes import (
    NoteError,
    parse_checkpoint,
    parse_proof,
    proof_text,
    split_notes,
    stream_origin,
    verify,
    verify_proof,
)
from recovery_engine.log.tables import metadata

_LOG = metadata.tables["recovery_log"]
_CHECKPOINT = metadata.tables["recovery_checkpoint"]


def proof(database: str | Path, about: str, checkpoint_file: str | Path | None = None) -> str:
    """A proof of the entry with the id *about*, such as a recovery, as a text that holds the entry too.

    It leads to the newest checkpoint of its stream in *checkpoint_file*, or else in the log. Whether that is rightly
    signed, whoever checks the proof finds out. Raises LogError, TamperedLog, NoteError.
    """
    with reading(database) as connection:
        return _proof(connection, about, checkpoint_file)


def _proof(connection: Connection, about: str, file: str | Path | None) -> str:
    chosen = select(_LOG.c.stream, _LOG.c.seq, _LOG.c.body).where(_LOG.c.request_id == about)
    row = connection.execute(chosen).first()
    if row is None:
        raise LogError(f"no entry `{about}` in this log", "give the id of a recovery or of another entry")
    stream, seq, body = row
    origin = stream_origin(origin_of(connection), stream)
    given = _of_log(connection, stream) if file is None else _of_file(Path(file), origin)
    covering = [(size, root, note) for size, root, note in given if size > seq]
    if not covering:
        raise LogError(f"no checkpoint covers `{about}` yet", "make one: `recovery log checkpoint`")
    held = [one for one in covering if _holds(connection, stream, *one[:2])]
    if not held:
        message = f"no checkpoint of stream `{stream}` agrees with its entries"
        raise TamperedLog(message, "run `recovery log verify`")
    size, root, note = max(held)
    try:
        path = inclusion_proof(leaves_of(connection, stream), seq, size)
    except ValueError as error:
        raise TamperedLog(f"stream `{stream}`: {error}", "run `recovery log verify`") from None
    if not verify_inclusion(leaf_hash(bytes(body)), seq, size, path, root):
        message = f"the entries of stream `{stream}` are not those that were signed"
        raise TamperedLog(message, "run `recovery log verify`")
    return proof_text(seq, path, note, bytes(body))


_Noted = Iterator[tuple[int, bytes, str]]


def _of_log(connection: Connection, stream: str) -> _Noted:
    columns = _CHECKPOINT.c.size, _CHECKPOINT.c.root, _CHECKPOINT.c.note
    for size, root, note in connection.execute(select(*columns).where(_CHECKPOINT.c.stream == stream)):
        yield size, bytes(root), note


def _of_file(file: Path, origin: str) -> _Noted:
    with placed(file):
        for note in split_notes(text_of(file)):
            found = parse_checkpoint(note[: note.rindex("\n\n") + 1])
            if found.origin == origin:
                yield found.size, found.root, note


def _holds(connection: Connection, stream: str, size: int, root: bytes) -> bool:
    at = select(_LOG.c.root).where(_LOG.c.stream == stream, _LOG.c.seq == size - 1)
    found = connection.execute(at).scalar()
    return found is not None and bytes(found) == root


class Proven(NamedTuple):
    """What a proof shows: the entry, and the checkpoint it is under. ``root`` is lower-case hex."""

    origin: str
    stream: str
    seq: int
    size: int
    root: str
    entry: Entry


def check_proof(text: str, vkeys: Iterable[str], body: bytes | None = None, origin: str | None = None) -> Proven:
    """What a proof shows, once all of it holds: signature, path and place.

    *body* is the entry, where the proof does not hold it itself; *origin* the name the log must have, where the keys
    sign for more than one. Raises NoteError.
    """
    found, vkeys = parse_proof(text), list(vkeys)
    body = found.extra if body is None else body.removesuffix(b"\n")
    if body is None:
        raise NoteError("the proof does not hold the entry", "give the entry too")
    try:
        entry = decode(body)
        stream, seq = str(entry["stream"]), entry["seq"]
    except (ValueError, KeyError) as error:
        raise NoteError(f"what the proof is about is not an entry: {error}") from None
    signed = parse_checkpoint(verify(found.checkpoint_note, vkeys)).origin
    expected = stream_origin(origin if origin is not None else signed.removesuffix(f"/{stream}"), stream)
    checkpoint = verify_proof(text, body, vkeys, expected)
    if seq != found.index:
        raise NoteError(f"the entry says that it is number {seq}, and the proof that it is number {found.index}")
    return Proven(checkpoint.origin, stream, found.index, checkpoint.size, checkpoint.root.hex(), entry)
