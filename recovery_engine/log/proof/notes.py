"""Signed notes: the checkpoints of a log and the proofs of its entries, in formats that other people's tools can read.

As published by C2SP: a *signed note* is a text and the signatures under it (c2sp.org/signed-note), a *checkpoint* is a
note that says how many leaves a tree has and what its root is (c2sp.org/tlog-checkpoint), a *proof* is a checkpoint
with the path from an entry to its root (c2sp.org/tlog-proof@v1). Keys are written as golang.org/x/mod/sumdb/note does.

What a note says counts only after `verify`. Everything here is text whose every byte counts: read a file as bytes and
decode it as UTF-8, because a file opened as text has its line ends changed.
"""

import base64
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from recovery_engine.errors import RecoveryError
from recovery_engine.log.merkle import HASH_BYTES, leaf_hash, verify_inclusion

MAX_SIZE = 2**63 - 1  # In leaves; other tools hold sizes in a signed 64-bit number.
_PRIVATE = "PRIVATE+KEY+"
_ED25519 = b"\x01"
_SIGNATURE = "\N{EM DASH} "
_MAX_SIGNATURES = 100  # As in Go; the format asks for 16 or more.
_PROOF = "c2sp.org/tlog-proof@v1"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
# Control characters other than newline, and lone surrogates, which UTF-8 cannot hold.
_NOT_IN_A_NOTE = re.compile("[\x00-\x09\x0b-\x1f\ud800-\udfff]")


class NoteError(RecoveryError, ValueError):
    """A key, note, checkpoint or proof that cannot be read, or that does not hold; ``help`` says what to do."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.message, self.help = message, help


# --- keys ---


def generate_key(name: str) -> tuple[str, str]:
    """A new key as two texts: the private one, to sign with, and the verifier key, for everybody.

    *name* should be a web address without its scheme (`shop.example/recovery`), so that no two keys share one.
    Raises NoteError when it is empty or has spaces, control characters or `+`.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not _is_key_name(name):
        raise NoteError(f"`{name}` is not a key name", "give one without spaces, control characters and `+`")
    key = Ed25519PrivateKey.generate()
    private_key = _PRIVATE + _key_text(name, key.public_key().public_bytes_raw(), key.private_bytes_raw())
    return private_key, verifier_key(private_key)


def verifier_key(private_key: str) -> str:
    """The verifier key that belongs to *private_key*. Raises NoteError when that is not one."""
    name, public, _ = _signer(private_key)
    return _key_text(name, public, public)


def _is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(map(str.isspace, name)) and not _NOT_IN_A_NOTE.search(name)


def _key_id(name: str, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def _key_text(name: str, public: bytes, material: bytes) -> str:
    return f"{name}+{_key_id(name, public).hex()}+{base64.b64encode(_ED25519 + material).decode()}"


def _key_parts(text: str, what: str) -> tuple[str, bytes]:
    """The name and the 32 bytes in the text of a key; its id is not checked yet. No message shows a part of it."""
    name, _, rest = text.partition("+")
    material = _decoded(rest.partition("+")[2], what, 33)
    if not _is_key_name(name) or material[:1] != _ED25519:
        raise NoteError(f"{what} is not an Ed25519 key for notes", "copy it again, whole")
    return name, material[1:]


def _signer(private_key: str) -> tuple[str, bytes, Callable[[bytes], bytes]]:
    """The name of the key, the public key, and what signs with it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    name, secret = _key_parts(private_key.removeprefix(_PRIVATE), "the private key")
    key = Ed25519PrivateKey.from_private_bytes(secret)
    public = key.public_key().public_bytes_raw()
    if private_key != _PRIVATE + _key_text(name, public, secret):
        raise NoteError(f"the private key of `{name}` does not match its id", "copy it again, whole")
    return name, public, key.sign


def _known(vkeys: Iterable[str]) -> dict[tuple[str, bytes], bytes]:
    known: dict[tuple[str, bytes], bytes] = {}
    for vkey in vkeys:
        name, public = _key_parts(vkey, "the verifier key")
        if vkey != _key_text(name, public, public):
            raise NoteError(f"the verifier key of `{name}` does not match its id", "copy it again, whole")
        known[name, _key_id(name, public)] = public
    return known


# --- notes ---


def sign(text: str, private_key: str) -> str:
    """The note of *text*, which ends with a newline, and the signature under it. Raises NoteError."""
    name, public, signed = _signer(private_key)
    _check_characters(text, "the text")
    if not text.endswith("\n"):
        raise NoteError("the text does not end with a newline")
    value = base64.b64encode(_key_id(name, public) + signed(text.encode())).decode()
    return f"{text}\n{_SIGNATURE}{name} {value}\n"


def verify(note: str, vkeys: Iterable[str]) -> str:
    """The text of *note*, once one or more of the verifier keys turn out to have signed it. Raises NoteError.

    Signatures by other keys are ignored, as the format demands: they may be by witnesses. A wrong signature by one of
    *vkeys* refuses the note, even beside a right one.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    known = _known(vkeys)
    text, signatures = _parted(note)
    ours = [(name, known[name, key_id], value) for name, key_id, value in signatures if (name, key_id) in known]
    if not ours:
        raise NoteError("none of the known keys signed the note", "give the verifier key of a name under it")
    for name, public, value in ours:
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(value, text.encode())
        except InvalidSignature:
            raise NoteError(f"the note is not what `{name}` signed", "find out who changed it") from None
    return text


def _parted(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """The text of a note and its signatures, none of them verified, as name, key id and value."""
    _check_characters(note, "the note")
    blank = note.rfind("\n\n")
    if blank < 0 or not note.endswith("\n"):
        raise NoteError("the note is not a text, an empty line and signatures")
    lines = note[blank + 2 : -1].split("\n")
    if len(lines) > _MAX_SIGNATURES:
        raise NoteError(f"the note has more than {_MAX_SIGNATURES} signatures")
    return note[: blank + 1], [_signature(line, number) for number, line in enumerate(lines, 1)]


def _signature(line: str, number: int) -> tuple[str, bytes, bytes]:
    name, _, encoded = line.removeprefix(_SIGNATURE).partition(" ")
    raw = _decoded(encoded, f"signature {number} of the note")
    if not line.startswith(_SIGNATURE) or not _is_key_name(name) or len(raw) <= 4:
        raise NoteError(f"signature {number} of the note is not one", f"write it as `{_SIGNATURE}name base64`")
    return name, raw[:4], raw[4:]


def join_notes(notes: Sequence[str]) -> str:
    """One text of one or more notes with an empty line between them; each is a whole note when cut out again.

    Their texts must have no empty lines, as those of checkpoints have none: then every empty line ends either a text
    or the signatures under it. Raises NoteError for other notes, and for none.
    """
    joined = "\n".join(notes)
    if split_notes(joined) != list(notes):
        raise NoteError("a note with an empty line in its text cannot stand beside others")
    return joined


def split_notes(joined: str) -> list[str]:
    """The notes that `join_notes` put together, in their order, none of them verified. Raises NoteError."""
    *blocks, rest = f"{joined}\n".split("\n\n")
    if rest or len(blocks) % 2 or any(block[:1] in ("", "\n") for block in blocks):
        raise NoteError("the notes are not texts and signatures in turn, with one empty line after each")
    notes = [f"{text}\n\n{under}\n" for text, under in zip(blocks[::2], blocks[1::2], strict=True)]
    for note in notes:
        _parted(note)
    return notes


# --- checkpoints and proofs ---


def stream_origin(origin: str, stream: str) -> str:
    """The origin of one stream of a log: `shop.example/recovery` and `site:S001`, with a slash between them."""
    return f"{origin}/{stream}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tree named *origin* has *size* leaves and this *root* (32 bytes); *extensions* are lines not meant for us.

    Raises NoteError for values that no checkpoint can hold.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extensions):
            if not line or "\n" in line or _NOT_IN_A_NOTE.search(line):
                raise NoteError("the origin and each extension of a checkpoint is one line, not empty, of plain text")
        if not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_BYTES:
            raise NoteError(f"a checkpoint has from 0 to {MAX_SIZE} leaves and a root of {HASH_BYTES} bytes")

    def text(self) -> str:
        """The text to sign."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, self.size, root, *self.extensions))


def parse_checkpoint(text: str) -> Checkpoint:
    """The checkpoint in the text of a note, as `verify` gives it. Raises NoteError."""
    lines = text[:-1].split("\n")
    if not text.endswith("\n") or len(lines) < 3:
        raise NoteError("the checkpoint is not an origin, a size and a root, each on a line")
    origin, size, root, *extensions = lines
    return Checkpoint(origin, _number(size, "the size"), _decoded(root, "the root", HASH_BYTES), tuple(extensions))


@dataclass(frozen=True, slots=True)
class Proof:
    """Where an entry is in its tree (from 0), the path to the root, and the note that signs it, all unverified.

    *extra* is what the maker of the proof added, for people to read; nothing vouches for it.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint_note: str
    extra: bytes | None = None


def proof_text(index: int, path: Sequence[bytes], checkpoint_note: str, extra: bytes | None = None) -> str:
    """A proof as text; its file should end with `.tlog-proof`. Raises NoteError for values that no proof can hold."""
    words = [] if extra is None else [f"extra {base64.b64encode(extra).decode()}"]
    nodes = [base64.b64encode(node).decode() for node in path]
    text = "\n".join([_PROOF, *words, f"index {index}", *nodes, "", checkpoint_note])
    if parse_proof(text) != Proof(index, tuple(path), checkpoint_note, extra):
        raise NoteError("the proof would be read as another one", f"every hash of its path is {HASH_BYTES} bytes long")
    return text


def parse_proof(text: str) -> Proof:
    """The parts of a proof, none of them verified. Raises NoteError."""
    head, _, note = text.partition("\n\n")
    first, *lines = head.split("\n")
    if first != _PROOF:
        raise NoteError("the text is not a proof", f"the first line of one is `{_PROOF}`")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = _decoded(lines.pop(0).removeprefix("extra "), "the extra line")
    if not lines or not lines[0].startswith("index "):
        raise NoteError("the proof has no index line")
    path = tuple(_decoded(line, f"hash {number} of the path", HASH_BYTES) for number, line in enumerate(lines[1:], 1))
    _parted(note)
    return Proof(_number(lines[0].removeprefix("index "), "the index"), path, note, extra)


def verify_proof(proof: str, body: bytes, vkeys: Iterable[str], origin: str) -> Checkpoint:
    """The signed checkpoint that *proof* shows the entry *body* to be in. Raises NoteError when anything is wrong.

    One key signs for all streams of a log, so say which *origin* the tree must have: `stream_origin` of the stream
    that the entry names. The format leaves this to the reader, and without it a proof would do for another stream.
    """
    found = parse_proof(proof)
    checkpoint = parse_checkpoint(verify(found.checkpoint_note, vkeys))
    if checkpoint.origin != origin:
        raise NoteError(f"the checkpoint is of `{checkpoint.origin}`, not of `{origin}`")
    if not verify_inclusion(leaf_hash(body), found.index, checkpoint.size, found.path, checkpoint.root):
        raise NoteError(f"the entry is not number {found.index} of the {checkpoint.size} under the checkpoint")
    return checkpoint


def _check_characters(text: str, what: str) -> None:
    if found := _NOT_IN_A_NOTE.search(text):
        raise NoteError(f"{what} has the character U+{ord(found[0]):04X}", "newline is the only control character")


def _decoded(text: str, what: str, size: int | None = None) -> bytes:
    """The bytes of a base64 text as an encoder writes it; *size* is how many there must be."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raw = b""
    if base64.b64encode(raw).decode() != text or size not in (None, len(raw)):
        raise NoteError(f"{what} is not base64" + (f" of {size} bytes" if size else ""))
    return raw


def _number(text: str, what: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > MAX_SIZE:
        raise NoteError(f"{what} is not a decimal number below 2**63", "write it without sign and leading zeros")
    return int(text)
