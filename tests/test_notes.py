"""Signed notes, checkpoints and proofs: the published examples hold, and a note that is not exact is refused."""

import base64
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery_engine import RecoveryError
from recovery_engine.log.merkle import EMPTY_ROOT, grown, inclusion_proof, leaf_hash, root_of
from recovery_engine.log.proof.notes import (
    Checkpoint,
    NoteError,
    Proof,
    generate_key,
    join_notes,
    parse_checkpoint,
    parse_proof,
    proof_text,
    sign,
    split_notes,
    stream_origin,
    verifier_key,
    verify,
    verify_proof,
)

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))
law = settings(max_examples=60 * SCALE, deadline=None, derandomize=True, database=None)

# Published: golang.org/x/mod/sumdb/note, its documentation and tests.
PETER_PRIVATE = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
SECRET = PETER_PRIVATE.split("+", 4)[4]
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_VALUE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
BY_PETER = f"— PeterNeumann {PETER_VALUE}\n"
BY_ENOCH = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
NOTE = f"{TEXT}\n{BY_PETER}"

# Published: c2sp.org/signed-note, and checkpoints of the Go checksum database.
FOO = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
FOO_NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
QUASIMODO = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
    "— quasimodo.example/salvatore "
    "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
)
SUMDB = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
SUMDB_NOTES = [
    "go.sum database tree\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— sum.golang.org "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n",
    "go.sum database tree\n6476701\nmb8QLQIs0Z0yP5Cstq6guj87oXWeC9gEM8oVikmm9Wk=\n\n— sum.golang.org "
    "Az3grsLX85Gz+s1SiTbgkuqxgItqFq7gsMUEyVnrsa9LM7Us9S+1xbFIGu95949rj4nPRYfvimWEPWL+o3GeoWwOoAw=\n",
]

PRINTED = {"exclude_categories": ["Cs"], "exclude_characters": [chr(code) for code in range(32)]}
names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="+"), min_size=1, max_size=30)
lines = st.text(st.characters(**PRINTED), min_size=1)
texts = st.lists(st.one_of(lines, st.just("")), min_size=1, max_size=6).map(lambda parts: "\n".join(parts) + "\n")
hashes = st.binary(min_size=32, max_size=32)
extensions = st.lists(lines, max_size=3).map(tuple)
checkpoints = st.builds(Checkpoint, lines, st.integers(0, 2**63 - 1), hashes, extensions)


def refusal(call: object, *arguments: object) -> str:
    """What *call* says when it refuses, as it must."""
    with pytest.raises(NoteError) as refused:
        call(*arguments)
    assert str(refused.value) == refused.value.message
    return refused.value.message


def flips(text: str) -> Iterator[tuple[int, str]]:
    """*text* with one character changed, in turn, and where; several ways for each at a larger scale."""
    for at, character in enumerate(text):
        for bit in range(min(SCALE, 7)):
            yield at, text[:at] + chr(ord(character) ^ 1 << bit) + text[at + 1 :]


def cuts(text: str) -> list[str]:
    """Every part of *text* that is not the whole."""
    ends = range(len(text) + 1)
    return [text[start:stop] for stop in ends for start in range(stop) if stop - start < len(text)]


# --- the published examples ---


def test_the_example_of_the_go_documentation_is_signed_the_same() -> None:
    assert verifier_key(PETER_PRIVATE) == PETER
    assert sign(TEXT, PETER_PRIVATE) == NOTE
    assert verify(NOTE, [PETER]) == TEXT


def test_the_example_with_two_signatures_holds_for_either_key_and_for_both() -> None:
    for known in [[PETER], [ENOCH], [PETER, ENOCH], [PETER, PETER, ENOCH]]:
        assert verify(f"{TEXT}\n{BY_PETER}{BY_ENOCH}", known) == TEXT


def test_the_example_of_c2sp_holds() -> None:
    assert verify(FOO_NOTE, [FOO]) == "This is an example message.\n"


@pytest.mark.parametrize("note", SUMDB_NOTES)
def test_a_checkpoint_of_the_go_checksum_database_holds(note: str) -> None:
    checkpoint = parse_checkpoint(verify(note, [SUMDB]))
    assert checkpoint.origin == "go.sum database tree"
    assert checkpoint.size in (20852163, 6476701)
    assert checkpoint.text() == note.split("\n\n")[0] + "\n"


# --- keys ---


def test_a_new_key_signs_what_its_verifier_key_verifies() -> None:
    private, public = generate_key("shop.example/recovery")
    assert private.startswith("PRIVATE+KEY+shop.example/recovery+")
    assert public.startswith("shop.example/recovery+")
    assert verifier_key(private) == public
    assert verify(sign("hello\n", private), [public]) == "hello\n"
    assert generate_key("shop.example/recovery")[0] != private


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\u2003b", "a\u2028b", "a\nb", "a\u0001b", "\ud800"])
def test_a_name_with_spaces_plus_or_control_characters_is_refused(name: str) -> None:
    assert "is not a key name" in refusal(generate_key, name)
    key = FOO.replace("example.com/foo", name)
    assert refusal(verify, FOO_NOTE, [key])
    assert refusal(verify, FOO_NOTE.replace("example.com/foo", name), [FOO])


def test_a_verifier_key_with_any_character_changed_or_cut_is_refused() -> None:
    for key, note in [(PETER, NOTE), (FOO, FOO_NOTE), (SUMDB, SUMDB_NOTES[0])]:
        assert verify(note, [key])
        for wrong in [*(wrong for _, wrong in flips(key)), *cuts(key)]:
            assert "the verifier key" in refusal(verify, note, [wrong])


def test_a_private_key_with_any_character_changed_or_cut_is_refused_and_its_secret_is_not_shown() -> None:
    others = ["", f"PRIVATE+KEY+{SECRET}", SECRET, f" {PETER_PRIVATE}", f"{PETER_PRIVATE}\n", PETER]
    for wrong in [*(wrong for _, wrong in flips(PETER_PRIVATE)), *cuts(PETER_PRIVATE), *others]:
        with pytest.raises(NoteError) as refused:
            sign(TEXT, wrong)
        assert SECRET[8:28] not in refused.value.message + refused.value.help


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==", "is not base64 of 33 bytes"),
        ("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "is not an Ed25519 key for notes"),
        ("remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2", "is not an Ed25519 key for notes"),
        (PETER.replace("c74f20a3", "C74F20A3"), "does not match its id"),
        (PETER.replace("PeterNeumann", "EnochRoot"), "does not match its id"),
        (PETER_PRIVATE, "is not base64 of 33 bytes"),
    ],
)
def test_a_key_of_another_kind_is_refused(key: str, why: str) -> None:
    assert why in refusal(verify, NOTE, [PETER, key])


# --- notes ---


@law
@given(name=names, text=texts)
def test_any_text_that_is_signed_is_verified(name: str, text: str) -> None:
    private, public = generate_key(name)
    note = sign(text, private)
    assert verify(note, [public]) == text
    assert note.startswith(text)


def test_a_note_with_any_character_changed_is_refused() -> None:
    for key, note in [(PETER, NOTE), (FOO, FOO_NOTE), (SUMDB, SUMDB_NOTES[0])]:
        for _, wrong in flips(note):
            assert refusal(verify, wrong, [key])
        for at in range(len(note)):
            assert refusal(verify, note[:at], [key])
            assert refusal(verify, note[:at] + note[at + 1 :], [key])
            assert refusal(verify, f"{note[:at]}a{note[at:]}", [key])


@pytest.mark.parametrize(
    "end", ["", "\n", f"\n{BY_PETER[:-1]}", f"\n{BY_PETER[:-1]}x", f"\n{BY_PETER}\n", f"\n{BY_PETER}x\n"]
)
def test_what_is_not_a_text_and_signatures_is_refused(end: str) -> None:
    assert refusal(verify, f"{TEXT}{end}", [PETER])


def test_a_signature_of_nothing_is_no_note() -> None:
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(SECRET)[1:])
    value = base64.b64encode(bytes.fromhex("c74f20a3") + key.sign(b"")).decode()
    for before in ["", "x", "\n"]:
        assert refusal(verify, f"{before}— PeterNeumann {value}\n", [PETER])


@pytest.mark.parametrize("control", ["\0", "\x01", "\t", "\r", "\x1f", "\ud800"])
def test_a_control_character_is_refused_wherever_it_stands(control: str) -> None:
    for note in [f"{control}{NOTE}", NOTE.replace("\n", f"{control}\n"), f"{NOTE}— a{control} AAAAAAA=\n"]:
        assert "has the character" in refusal(verify, note, [PETER])


@pytest.mark.parametrize(
    "line",
    [
        *(f"— {name} AAAAAAA=" for name in ["Bad Name", " name", "na+me", "na\u2003me", ""]),
        *(f"— name{value}" for value in ["", " ", " AAAAAA==", " AAAAAAB=", " AAAA AAA=", " AAAAAAA=x", " AAAAAAA"]),
        *("name AAAAAAA=", "- name AAAAAAA=", "—name AAAAAAA="),
    ],
)
def test_a_line_that_is_no_signature_is_refused_beside_a_true_one(line: str) -> None:
    assert verify(f"{NOTE}— name AAAAAAA=\n", [PETER])
    for under in [f"{BY_PETER}{line}\n", f"{line}\n{BY_PETER}"]:
        assert "signature" in refusal(verify, f"{TEXT}\n{under}", [PETER])


def test_signatures_by_unknown_keys_are_ignored() -> None:
    renamed = BY_PETER.replace("PeterNeumann", "CarmenSandiego")
    other_id = BY_PETER.replace("x08g", "xxxx")
    cosigned = "— witness1.example " + base64.b64encode(bytes(76)).decode() + "\n"
    assert verify(f"{TEXT}\n{renamed}{other_id}{cosigned}{BY_PETER}{BY_ENOCH}{BY_ENOCH}", [PETER]) == TEXT


@pytest.mark.parametrize("known", [[], [ENOCH], [FOO, SUMDB]])
def test_a_note_that_no_known_key_signed_is_refused(known: list[str]) -> None:
    assert "none of the known keys" in refusal(verify, NOTE, known)


def test_a_wrong_signature_by_a_known_key_refuses_the_note_beside_a_right_one() -> None:
    wrong = BY_PETER.replace("ZJku", "ZJkv")
    longer = BY_PETER[:60] + "ABCD" + BY_PETER[60:]
    for note in [f"{BY_PETER}{wrong}", f"{wrong}{BY_PETER}", f"{BY_ENOCH}{wrong}", longer]:
        assert "is not what `PeterNeumann` signed" in refusal(verify, f"{TEXT}\n{note}", [PETER, ENOCH])


def test_the_same_signature_twice_counts_once() -> None:
    assert verify(f"{TEXT}\n{BY_PETER}{BY_PETER}", [PETER]) == TEXT


def test_a_note_has_a_hundred_signatures_at_most() -> None:
    others = "".join(f"— witness{number}.example AAAAAAA=\n" for number in range(99))
    assert verify(f"{TEXT}\n{BY_PETER}{others}", [PETER]) == TEXT
    assert "more than 100" in refusal(verify, f"{TEXT}\n{BY_PETER}{others}{BY_ENOCH}", [PETER])


def test_the_last_empty_line_separates_the_text() -> None:
    for text in ["\n", "\n\n", "a\n\nb\n", "a\n\n\n", f"{TEXT}\n{BY_ENOCH}"]:
        assert verify(sign(text, PETER_PRIVATE), [PETER]) == text


@pytest.mark.parametrize("text", ["", "no newline", "bell\x07\n", "carriage return\r\n", "tab\t\n", "half \ud800\n"])
def test_a_text_that_no_note_can_hold_is_not_signed(text: str) -> None:
    assert refusal(sign, text, PETER_PRIVATE)


def test_a_refusal_is_an_error_of_this_library_and_a_value_error() -> None:
    with pytest.raises(NoteError) as refused:
        verify("", [PETER])
    assert isinstance(refused.value, RecoveryError)
    assert isinstance(refused.value, ValueError)


# --- several notes in one file ---


@law
@given(found=st.lists(checkpoints, min_size=1, max_size=5))
def test_checkpoints_joined_in_a_file_come_out_again_each_whole(found: list[Checkpoint]) -> None:
    notes = [sign(checkpoint.text(), PETER_PRIVATE) for checkpoint in found]
    joined = join_notes(notes)
    assert split_notes(joined) == notes
    assert [parse_checkpoint(verify(note, [PETER])) for note in split_notes(joined)] == found
    assert all(note in joined for note in notes)


def test_a_file_of_several_notes_is_no_note_itself() -> None:
    joined = join_notes([NOTE, *SUMDB_NOTES])
    assert joined == f"{NOTE}\n{SUMDB_NOTES[0]}\n{SUMDB_NOTES[1]}"
    for key in [PETER, SUMDB]:
        assert refusal(verify, joined, [key])


@pytest.mark.parametrize(
    "notes", [[], [""], [QUASIMODO], [NOTE, QUASIMODO], [NOTE[:-1]], [f"{NOTE}\n"], [f"{NOTE}\n{FOO_NOTE}"]]
)
def test_notes_that_would_not_come_out_again_are_not_joined(notes: list[str]) -> None:
    assert refusal(join_notes, notes)


@pytest.mark.parametrize(
    "file",
    [
        *("", "\n", "\n\n", TEXT, f"{TEXT}\n", NOTE[:-1], f"{NOTE}\n", f"\n{NOTE}", f"\n\n{BY_PETER}", f"{NOTE}{NOTE}"),
        *(f"{NOTE}\n{rest}" for rest in [f"\n{NOTE}", BY_PETER, TEXT, f"{TEXT}\n", f"{BY_PETER}\n{TEXT}"]),
    ],
)
def test_a_file_that_is_not_notes_is_refused(file: str) -> None:
    assert refusal(split_notes, file)


# --- checkpoints ---


@law
@given(checkpoint=checkpoints)
def test_a_checkpoint_is_read_back_as_it_was_written(checkpoint: Checkpoint) -> None:
    assert parse_checkpoint(checkpoint.text()) == checkpoint


def test_a_checkpoint_is_an_origin_a_size_and_a_root() -> None:
    checkpoint = Checkpoint(stream_origin("shop.example/recovery", "site:S001"), 0, EMPTY_ROOT)
    assert checkpoint.text() == "shop.example/recovery/site:S001\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"


ROOT = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


@pytest.mark.parametrize(
    "text",
    [
        *("", "\n", f"o\n1\n{ROOT}", f"o\n1\n{ROOT}x", f"o\n{ROOT}\n", f"\n1\n{ROOT}\n", f"o\n\n1\n{ROOT}\n"),
        *(f"o\n1\n{ROOT}\n{line}\n" for line in ["", "line\n", "line\x1b", "line\r"]),
        *(f"o\r\n1\r\n{ROOT}\r\n", f"o\to\n1\n{ROOT}\n"),
    ],
)
def test_a_checkpoint_of_other_lines_is_refused(text: str) -> None:
    assert refusal(parse_checkpoint, text)


@pytest.mark.parametrize(
    "size",
    ["", "01", "00", "-1", "+1", " 1", "1 ", "1_0", "1.0", "0x1", "x", "\uff11", "\u00b2", str(2**63), "9" * 5000],
)
def test_a_size_written_otherwise_is_refused(size: str) -> None:
    assert parse_checkpoint(f"o\n{2**63 - 1}\n{ROOT}\n").size == 2**63 - 1
    assert "the size" in refusal(parse_checkpoint, f"o\n{size}\n{ROOT}\n")


@pytest.mark.parametrize(
    "root",
    [
        *("", ROOT[:-1], f"{ROOT}=", f" {ROOT}", ROOT[4:], f"AAAA{ROOT}", EMPTY_ROOT.hex()),
        *(ROOT.replace("FU=", "FV="), ROOT.replace("+", "-").replace("/", "_")),
    ],
)
def test_a_root_written_otherwise_is_refused(root: str) -> None:
    assert "the root" in refusal(parse_checkpoint, f"o\n1\n{root}\n")


def test_a_checkpoint_that_could_not_be_read_back_is_not_made() -> None:
    for line in ["", "a\nb", "a\r", "\ud800"]:
        assert "one line" in refusal(Checkpoint, line, 1, EMPTY_ROOT)
        assert "one line" in refusal(Checkpoint, "a", 1, EMPTY_ROOT, ("b", line))
    for size, root in [(-1, EMPTY_ROOT), (2**63, EMPTY_ROOT), (1, EMPTY_ROOT[1:]), (1, EMPTY_ROOT + b"\0")]:
        assert "leaves and a root" in refusal(Checkpoint, "a", size, root)


# --- proofs ---

BODIES = [b'{"seq":%d}' % number for number in range(11)]
LEAVES = [leaf_hash(body) for body in BODIES]
ORIGIN = stream_origin("shop.example/recovery", "site:S001")
INDEX = 6


def path_of(index: int) -> list[bytes]:
    return inclusion_proof(lambda start, stop: LEAVES[start:stop], index, len(LEAVES))


def signed_checkpoint(origin: str = ORIGIN) -> str:
    frontier: list[bytes] = []
    for size, leaf in enumerate(LEAVES):
        frontier = grown(size, frontier, leaf)
    return sign(Checkpoint(origin, len(LEAVES), root_of(frontier)).text(), PETER_PRIVATE)


def test_a_proof_shows_the_entry_and_no_other() -> None:
    for index, body in enumerate(BODIES):
        proof = proof_text(index, path_of(index), signed_checkpoint())
        assert verify_proof(proof, body, [PETER], ORIGIN).size == len(BODIES)
        for other in BODIES:
            if other != body:
                assert f"is not number {index}" in refusal(verify_proof, proof, other, [PETER], ORIGIN)


def test_a_proof_is_written_as_published() -> None:
    proof = proof_text(INDEX, path_of(INDEX), signed_checkpoint(), b"for the auditor")
    hashes = "".join(f"{base64.b64encode(node).decode()}\n" for node in path_of(INDEX))
    extra = "extra Zm9yIHRoZSBhdWRpdG9y\n"
    assert proof == f"c2sp.org/tlog-proof@v1\n{extra}index 6\n{hashes}\n{signed_checkpoint()}"
    assert proof_text(INDEX, path_of(INDEX), signed_checkpoint()) == proof.replace(extra, "")


def test_a_proof_in_a_tree_of_one_has_no_path() -> None:
    checkpoint = sign(Checkpoint(ORIGIN, 1, LEAVES[0]).text(), PETER_PRIVATE)
    proof = proof_text(0, [], checkpoint)
    assert proof == f"c2sp.org/tlog-proof@v1\nindex 0\n\n{checkpoint}"
    assert verify_proof(proof, BODIES[0], [PETER], ORIGIN).size == 1


@law
@given(
    index=st.integers(0, 2**63 - 1),
    path=st.lists(hashes, max_size=8).map(tuple),
    checkpoint=checkpoints,
    extra=st.none() | st.binary(max_size=20),
)
def test_a_proof_is_read_back_as_it_was_written(
    index: int, path: tuple[bytes, ...], checkpoint: Checkpoint, extra: bytes | None
) -> None:
    note = sign(checkpoint.text(), PETER_PRIVATE)
    assert parse_proof(proof_text(index, path, note, extra)) == Proof(index, path, note, extra)


def test_a_proof_with_any_character_changed_is_refused_but_for_the_extra_line() -> None:
    proof = proof_text(INDEX, path_of(INDEX), signed_checkpoint(), b"extra")
    value = range(proof.index("extra ") + len("extra "), proof.index("\nindex"))
    for at, wrong in flips(proof):
        if at not in value:
            assert refusal(verify_proof, wrong, BODIES[INDEX], [PETER], ORIGIN)


def test_a_proof_for_the_same_entry_in_another_stream_is_refused() -> None:
    elsewhere = stream_origin("shop.example/recovery", "site:S002")
    proof = proof_text(INDEX, path_of(INDEX), signed_checkpoint(elsewhere))
    assert verify_proof(proof, BODIES[INDEX], [PETER], elsewhere)
    assert "`shop.example/recovery/site:S002`, not of" in refusal(verify_proof, proof, BODIES[INDEX], [PETER], ORIGIN)


def test_a_proof_under_an_unknown_key_or_a_text_that_is_no_checkpoint_is_refused() -> None:
    proof = proof_text(INDEX, path_of(INDEX), signed_checkpoint())
    assert "none of the known keys" in refusal(verify_proof, proof, BODIES[INDEX], [ENOCH], ORIGIN)
    assert "checkpoint" in refusal(verify_proof, proof_text(INDEX, [], NOTE), BODIES[INDEX], [PETER], ORIGIN)


FIRST, H = "c2sp.org/tlog-proof@v1", base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "lines",
    [["c2sp.org/tlog-proof@v2", "index 0"], [f" {FIRST}", "index 0"], ["index 0"], [], [FIRST], [FIRST, "extra AA=="]]
    + [[FIRST, "index 0", "extra AA=="], [FIRST, "extra AA==", "extra AA==", "index 0"], [FIRST, H, "index 0"]]
    + [[FIRST, extra, "index 0"] for extra in ["extra", "extra A", "extra AB==", "extra  AA==", "Extra AA=="]]
    + [
        [FIRST, index]
        for index in ["0", "index", "index ", "index  0", "index 00", "index -1", f"index {2**63}", "Index 0"]
    ]
    + [[FIRST, "index 0", node] for node in [H[4:], f"AAAA{H}", f"{H} ", f"{H}{H}", f"{H}\r"]],
)
def test_a_proof_written_otherwise_is_refused(lines: list[str]) -> None:
    assert parse_proof("\n".join([FIRST, "extra AA==", "index 0", H, "", NOTE]))
    assert refusal(parse_proof, "\n".join([*lines, "", NOTE]))


@pytest.mark.parametrize("note", ["", "\n", TEXT, NOTE[:-1], f"\r{NOTE}"])
def test_a_proof_without_a_note_is_refused(note: str) -> None:
    assert refusal(parse_proof, f"c2sp.org/tlog-proof@v1\nindex 0\n\n{note}")
    assert refusal(proof_text, 0, [], note)


@pytest.mark.parametrize(("index", "path"), [(-1, []), (2**63, []), (0, [b""]), (0, [bytes(31)]), (0, [bytes(33)])])
def test_a_proof_that_could_not_be_read_back_is_not_made(index: int, path: list[bytes]) -> None:
    assert refusal(proof_text, index, path, NOTE)


# --- a second opinion ---

# A public key for openssl: the SubjectPublicKeyInfo of RFC 8410 around the 32 bytes of the verifier key.
SPKI = bytes.fromhex("302a300506032b6570032100")


@pytest.mark.skipif(not shutil.which("openssl"), reason="the judge, openssl, is not installed")
def test_openssl_verifies_the_signature_with_the_verifier_key_alone(tmp_path: Path) -> None:
    private, public = generate_key("shop.example/recovery")
    note = sign(Checkpoint(ORIGIN, 4211, EMPTY_ROOT).text(), private)
    assert openssl_accepts(tmp_path, note, public)
    assert openssl_accepts(tmp_path, NOTE, PETER)
    assert not openssl_accepts(tmp_path, note.replace("4211", "4212"), public)
    assert not openssl_accepts(tmp_path, note, generate_key("shop.example/recovery")[1])


def openssl_accepts(folder: Path, note: str, vkey: str) -> bool:
    text, _, signature = note.rpartition("\n\n")
    folder.joinpath("text").write_bytes(f"{text}\n".encode())
    folder.joinpath("signature").write_bytes(base64.b64decode(signature.split()[-1])[4:])
    folder.joinpath("key.der").write_bytes(SPKI + base64.b64decode(vkey.split("+", 2)[2])[1:])
    words = "openssl pkeyutl -verify -pubin -inkey key.der -keyform DER -rawin -in text -sigfile signature".split()
    return subprocess.run(words, cwd=folder, capture_output=True, check=False).returncode == 0
