"""The Merkle tree of a stream: its roots, its proofs, and that nothing but the true proof is accepted."""

import doctest
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from hashlib import sha256
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery_engine.log import merkle
from recovery_engine.log.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    frontier_bytes,
    frontier_from,
    grown,
    inclusion_proof,
    leaf_hash,
    node_hash,
    range_root,
    root_from_inclusion,
    root_of,
    verify_consistency,
    verify_inclusion,
)

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))
SIZES = range(65)
LEAVES = [leaf_hash(b"entry %d" % number) for number in range(max(SIZES))]


# --- the definitions of RFC 9162, word for word ---


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of section 2.1.1."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"").digest()
    k = left_size(len(leaves))
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = left_size(len(leaves))
    if index < k:
        return [*naive_path(index, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(index - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(first: int, leaves: list[bytes], complete: bool = True) -> list[bytes]:
    """SUBPROOF of section 2.1.4.1; with *complete* it is PROOF."""
    if first == len(leaves):
        return [] if complete else [naive_root(leaves)]
    k = left_size(len(leaves))
    if first <= k:
        return [*naive_subproof(first, leaves[:k], complete), naive_root(leaves[k:])]
    return [*naive_subproof(first - k, leaves[k:], False), naive_root(leaves[:k])]


def left_size(size: int) -> int:
    k = 1
    while k * 2 < size:
        k *= 2
    return k


def reader(leaves: list[bytes]) -> Callable[[int, int], Iterator[bytes]]:
    return lambda start, stop: iter(leaves[start:stop])


def frontier_of(leaves: list[bytes]) -> list[bytes]:
    frontier: list[bytes] = []
    for size, leaf in enumerate(leaves):
        frontier = grown(size, frontier, leaf)
    return frontier


read = reader(LEAVES)
ROOTS = [naive_root(LEAVES[:size]) for size in SIZES]
PAIRS = [(first, second) for second in SIZES for first in range(second + 1)]
PLACES = [(index, size) for size in SIZES for index in range(size)]

# --- answers published for certificate transparency ---

# Source: testonly/constants.go and proof/verify_test.go of transparency-dev/merkle, from the CT reference tests.
CT_BODIES = [
    bytes.fromhex(body)
    for body in ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
]
CT_ROOTS = """
    e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
    6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d
    fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125
    aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77
    d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7
    4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4
    76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef
    ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c
    5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328
""".split()
L0, L1, L4, L6 = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
)
N01, N23, N45, N67, N03, N47 = (
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
)
CT_LEAVES = [leaf_hash(body) for body in CT_BODIES]


@pytest.mark.parametrize("size", range(9))
def test_the_roots_are_the_published_ones(size: int) -> None:
    assert root_of(frontier_of(CT_LEAVES[:size])).hex() == CT_ROOTS[size]


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [(0, 1, []), (0, 8, [L1, N23, N47]), (5, 8, [L4, N67, N03]), (2, 3, [N01]), (1, 5, [L0, N23, L4])],
)
def test_the_inclusion_proofs_are_the_published_ones(index: int, size: int, path: list[str]) -> None:
    proof = inclusion_proof(reader(CT_LEAVES), index, size)
    assert [node.hex() for node in proof] == path
    assert verify_inclusion(CT_LEAVES[index], index, size, proof, bytes.fromhex(CT_ROOTS[size]))


@pytest.mark.parametrize(
    ("first", "second", "path"),
    [(1, 1, []), (1, 8, [L1, N23, N47]), (6, 8, [N45, N67, N03]), (2, 5, [N23, L4]), (6, 7, [N45, L6, N03])],
)
def test_the_consistency_proofs_are_the_published_ones(first: int, second: int, path: list[str]) -> None:
    proof = consistency_proof(reader(CT_LEAVES), first, second)
    assert [node.hex() for node in proof] == path
    assert verify_consistency(first, second, proof, *(bytes.fromhex(CT_ROOTS[size]) for size in (first, second)))


# --- growing ---


def test_a_tree_grown_leaf_by_leaf_has_the_root_of_the_definition() -> None:
    assert [root_of(frontier_of(LEAVES[:size])) for size in SIZES] == ROOTS


def test_the_frontier_is_the_roots_of_the_perfect_trees_largest_first() -> None:
    for size in SIZES:
        expected, at = [], 0
        for bit in reversed(range(size.bit_length())):
            if size >> bit & 1:
                expected.append(naive_root(LEAVES[at : at + 2**bit]))
                at += 2**bit
        assert frontier_of(LEAVES[:size]) == expected


def test_growing_leaves_the_frontier_it_was_given_as_it_was() -> None:
    frontier = frontier_of(LEAVES[:7])
    before = list(frontier)
    assert grown(7, frontier, LEAVES[7]) == frontier_of(LEAVES[:8])
    assert frontier == before


def test_a_frontier_read_back_is_the_one_stored() -> None:
    for size in SIZES:
        frontier = frontier_of(LEAVES[:size])
        assert frontier_from(frontier_bytes(frontier), size) == frontier


def test_a_frontier_of_another_size_is_refused() -> None:
    for size in SIZES:
        frontier = frontier_of(LEAVES[:size])
        stored = frontier_bytes(frontier)
        for wrong in [stored + b"\0", stored[:-1] or b"\0", stored + bytes(32)]:
            with pytest.raises(ValueError, match="frontier"):
                frontier_from(wrong, size)
        with pytest.raises(ValueError, match="frontier"):
            grown(size, [*frontier, LEAVES[0]], LEAVES[0])
    for stored in [b"", bytes(32)]:
        with pytest.raises(ValueError, match="frontier"):
            frontier_from(stored, -1)


def test_growing_hashes_about_once_and_the_root_once_for_each_perfect_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []

    def counting(text: bytes) -> Any:
        hashed.append(text)
        return sha256(text)

    monkeypatch.setattr(merkle, "sha256", counting)
    frontier = [bytes(32)] * (2**20 - 1).bit_count()
    root_of(grown(2**20 - 1, frontier, LEAVES[0]))
    assert len(hashed) == 20
    hashed.clear()
    frontier_of(LEAVES)
    assert len(hashed) < len(LEAVES)


def test_the_hashes_of_a_node_are_not_a_leaf() -> None:
    left, right = LEAVES[:2]
    assert leaf_hash(left + right) != node_hash(left, right) == ROOTS[2]


# --- proofs that are true ---


def test_the_path_of_every_leaf_in_every_tree_is_the_one_of_the_definition_and_holds() -> None:
    for index, size in PLACES:
        path = inclusion_proof(read, index, size)
        assert path == naive_path(index, LEAVES[:size])
        assert root_from_inclusion(LEAVES[index], index, size, path) == ROOTS[size]
        assert verify_inclusion(LEAVES[index], index, size, path, ROOTS[size])


def test_the_path_between_any_two_trees_is_the_one_of_the_definition_and_holds() -> None:
    for first, second in PAIRS:
        path = consistency_proof(read, first, second)
        assert path == (naive_subproof(first, LEAVES[:second]) if first else [])
        assert verify_consistency(first, second, path, ROOTS[first], ROOTS[second])


@settings(max_examples=50 * SCALE, deadline=None, derandomize=True, database=None)
@given(bodies=st.lists(st.binary(max_size=80), min_size=1, max_size=300), pick=st.data())
def test_any_leaves_can_be_proved(bodies: list[bytes], pick: st.DataObject) -> None:
    leaves = [leaf_hash(body) for body in bodies]
    size = len(leaves)
    index = pick.draw(st.integers(0, size - 1))
    first = pick.draw(st.integers(0, size))
    root = root_of(frontier_of(leaves))
    assert root == naive_root(leaves) == range_root(reader(leaves), 0, size)
    path = inclusion_proof(reader(leaves), index, size)
    assert path == naive_path(index, leaves)
    assert verify_inclusion(leaves[index], index, size, path, root)
    path = consistency_proof(reader(leaves), first, size)
    assert verify_consistency(first, size, path, naive_root(leaves[:first]), root)


def test_a_proof_reads_each_leaf_at_most_once_in_few_ranges() -> None:
    asked: list[tuple[int, int]] = []

    def counted(start: int, stop: int) -> Iterator[bytes]:
        asked.append((start, stop))
        return iter(LEAVES[start:stop])

    for index, size in PLACES:
        asked.clear()
        inclusion_proof(counted, index, size)
        assert sorted(at for part in asked for at in range(*part)) == [at for at in range(size) if at != index]
        assert len(asked) <= size.bit_length()
    for first, second in PAIRS:
        asked.clear()
        consistency_proof(counted, first, second)
        read_at = [at for part in asked for at in range(*part)]
        assert len(read_at) == len(set(read_at)) <= second
        assert len(asked) <= second.bit_length() + 1


def test_a_proof_over_many_leaves_holds_few_of_them() -> None:
    size = 20_000 * SCALE

    def streamed(start: int, stop: int) -> Iterator[bytes]:
        return (at.to_bytes(32, "big") for at in range(start, stop))

    tracemalloc.start()
    try:
        inclusion_proof(streamed, 5, size)
        consistency_proof(streamed, size // 3, size)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 64 * 1024


# --- what cannot be asked ---


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 1), (5, 4), (0, -1)])
def test_a_leaf_that_is_not_in_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(read, index, size)
    with pytest.raises(ValueError, match="no leaf"):
        root_from_inclusion(LEAVES[0], index, size, [])
    assert not verify_inclusion(LEAVES[0], index, size, [], LEAVES[0])
    assert not verify_inclusion(EMPTY_ROOT, index, size, [], EMPTY_ROOT)


@pytest.mark.parametrize(("first", "second"), [(2, 1), (1, 0), (-1, 1), (-2, -1)])
def test_a_tree_does_not_grow_from_a_larger_one(first: int, second: int) -> None:
    with pytest.raises(ValueError, match="did not grow"):
        consistency_proof(read, first, second)
    assert not verify_consistency(first, second, [], ROOTS[1], ROOTS[1])


def test_a_path_made_up_for_a_tree_that_cannot_be_is_refused() -> None:
    one, other = LEAVES[:2]
    assert not verify_consistency(3, 2, [one, other], one, node_hash(one, other))
    assert not verify_consistency(-1, 1, [one], one, one)
    assert not verify_consistency(-1, -1, [], EMPTY_ROOT, EMPTY_ROOT)


def test_a_reader_that_gives_too_few_leaves_or_too_many_is_noticed() -> None:
    for wrong in [lambda start, stop: LEAVES[start : stop - 1], lambda start, stop: LEAVES[start : stop + 1]]:
        with pytest.raises(ValueError, match="where there must be"):
            inclusion_proof(wrong, 0, 8)
        with pytest.raises(ValueError, match="where there must be"):
            consistency_proof(wrong, 4, 8)
    with pytest.raises(ValueError, match="0 leaves from 1 up to 2, where there must be 1"):
        inclusion_proof(lambda start, stop: [], 0, 2)


# --- proofs that are false ---


def flips(value: bytes) -> Iterator[bytes]:
    """*value* with each of its bytes changed, one at a time."""
    for at in range(len(value)):
        yield value[:at] + bytes([value[at] ^ 1 << at % 8]) + value[at + 1 :]


def altered(path: list[bytes]) -> Iterator[list[bytes]]:
    """*path* with a byte changed, a hash missing, doubled, swapped or added, or a byte moved to the next hash."""
    for at, node in enumerate(path):
        yield from ([*path[:at], wrong, *path[at + 1 :]] for wrong in flips(node))
        yield path[:at] + path[at + 1 :]
        yield [*path[: at + 1], *path[at:]]
        yield [*path[:at], node[:-1], *path[at + 1 :]]
    for at, (one, other) in enumerate(pairwise(path)):
        if one != other:
            yield [*path[:at], other, one, *path[at + 2 :]]
        yield [*path[:at], one[:-1], one[-1:] + other, *path[at + 2 :]]
        yield [*path[:at], one + other, *path[at + 2 :]]
    for extra in [b"", bytes(32), EMPTY_ROOT, LEAVES[0]]:
        yield [*path, extra]
        yield [extra, *path]


FEW = [*range(1, 12 + 8 * (SCALE > 1)), 16, 17, 33]


@pytest.mark.parametrize("size", FEW)
def test_an_altered_inclusion_proof_is_refused(size: int) -> None:
    for index in range(size):
        leaf, root, path = LEAVES[index], ROOTS[size], inclusion_proof(read, index, size)
        assert not any(verify_inclusion(leaf, index, size, wrong, root) for wrong in altered(path))
        assert not any(verify_inclusion(wrong, index, size, path, root) for wrong in flips(leaf))
        assert not any(verify_inclusion(leaf, index, size, path, wrong) for wrong in flips(root))
        others = [other for other in range(-1, size + 1) if other != index]
        assert not any(verify_inclusion(leaf, other, size, path, root) for other in others)


@pytest.mark.parametrize("second", FEW)
def test_an_altered_consistency_proof_is_refused(second: int) -> None:
    for first in range(second + 1):
        old, new, path = ROOTS[first], ROOTS[second], consistency_proof(read, first, second)
        assert not any(verify_consistency(first, second, wrong, old, new) for wrong in altered(path))
        assert not any(verify_consistency(first, second, path, wrong, new) for wrong in flips(old))
        assert not any(verify_consistency(first, second, path, wrong, old) for wrong in flips(new) if first)
        if 0 < first < second:
            assert not any(verify_consistency(first, second, path, old, wrong) for wrong in flips(new))
            assert not verify_consistency(first, second, path, new, old)
            assert not verify_consistency(first, second, [], old, new)


def test_a_path_of_another_length_leads_to_no_root() -> None:
    for index, size in PLACES:
        path = inclusion_proof(read, index, size)
        with pytest.raises(ValueError, match="above the root"):
            root_from_inclusion(LEAVES[index], index, size, [*path, LEAVES[0]])
        if path:
            with pytest.raises(ValueError, match="below the root"):
                root_from_inclusion(LEAVES[index], index, size, path[:-1])
    assert not verify_inclusion(LEAVES[1], 0, 1, [LEAVES[0]], ROOTS[2])


def test_a_hash_cut_at_another_byte_is_refused() -> None:
    """The same bytes under the node, but a leaf that is one byte short and a neighbour that is one byte long."""
    leaf, (other,) = LEAVES[1], [LEAVES[0]]
    assert node_hash(other + leaf[:1], leaf[1:]) == ROOTS[2]
    assert not verify_inclusion(leaf[1:], 1, 2, [other + leaf[:1]], ROOTS[2])
    assert not verify_consistency(1, 2, [leaf[1:]], other + leaf[:1], ROOTS[2])


def test_from_no_leaves_only_the_empty_tree_grew() -> None:
    assert verify_consistency(0, 0, [], EMPTY_ROOT, EMPTY_ROOT)
    assert verify_consistency(0, 5, [], EMPTY_ROOT, ROOTS[5])
    assert not verify_consistency(0, 5, [], ROOTS[1], ROOTS[5])
    assert not verify_consistency(0, 0, [], EMPTY_ROOT, ROOTS[1])
    assert not verify_consistency(0, 0, [], ROOTS[1], ROOTS[1])
    assert not verify_consistency(0, 5, [LEAVES[0]], EMPTY_ROOT, ROOTS[5])


@settings(max_examples=100 * SCALE, deadline=None, derandomize=True, database=None)
@given(size=st.integers(2, 64), pick=st.data())
def test_a_changed_entry_is_consistent_with_no_earlier_tree_that_held_it(size: int, pick: st.DataObject) -> None:
    changed = pick.draw(st.integers(0, size - 1))
    first = pick.draw(st.integers(changed + 1, size))
    leaves = [*LEAVES[:changed], leaf_hash(b"changed"), *LEAVES[changed + 1 : size]]
    path = consistency_proof(reader(leaves), first, size)
    assert not verify_consistency(first, size, path, ROOTS[first], naive_root(leaves))


# --- a second opinion ---

JUDGE = Path(__file__).parent / "judges/pymerkle_judge.py"


@pytest.mark.skipif(not find_spec("pymerkle"), reason="the judge, pymerkle, is not installed")
def test_pymerkle_agrees_on_roots_and_on_proofs_true_and_altered(record_property: Callable[..., None]) -> None:
    top = min(40 * SCALE, max(SIZES))
    bodies = [b"entry %d" % number for number in range(top)]
    inclusion, consistency = [], []
    for size in range(1, top + 1):
        for index in range(size):
            path = inclusion_proof(read, index, size)
            for wrong in sample(path, size + index):
                inclusion.append((LEAVES[index], index, size, wrong, ROOTS[size]))
            inclusion.append((LEAVES[index - 1], index, size, path, ROOTS[size]))
            inclusion.append((LEAVES[index], index, size, path, ROOTS[size - 1]))
        for first in range(1, size + 1):
            path = consistency_proof(read, first, size)
            for wrong in sample(path, size + first):
                consistency.append((first, size, wrong, ROOTS[first], ROOTS[size]))
            consistency.append((first, size, path, ROOTS[first - 1], ROOTS[size]))
            consistency.append((first, size, path, ROOTS[first], ROOTS[size - 1]))
    names = ["leaf", "index", "size", "path", "root"], ["first", "second", "path", "first_root", "second_root"]
    question = {
        "leaves": bodies,
        "inclusion": [dict(zip(names[0], asked, strict=True)) for asked in inclusion],
        "consistency": [dict(zip(names[1], asked, strict=True)) for asked in consistency],
    }
    verdict = ask(question)
    assert verdict["roots"] == [root.hex() for root in ROOTS[: top + 1]]
    for asked, told in zip(inclusion, verdict["inclusion"], strict=True):
        _, index, size, _, _ = asked
        assert verify_inclusion(*asked) == told["holds"]
        assert [node.hex() for node in inclusion_proof(read, index, size)] == told["path"]
    for asked, told in zip(consistency, verdict["consistency"], strict=True):
        first, second, _, _, _ = asked
        assert verify_consistency(*asked) == told["holds"]
        assert [node.hex() for node in consistency_proof(read, first, second)] == told["path"]
    for told in [verdict["inclusion"], verdict["consistency"]]:
        assert {proof["holds"] for proof in told} == {True, False}
    proofs = len(inclusion) + len(consistency)
    record_property("judged by pymerkle", f"{top} trees, {proofs:,} proofs, true and altered: the same verdicts")


def sample(path: list[bytes], turn: int) -> list[list[bytes]]:
    """The true path and three of its alterations, others at each turn."""
    wrong = list(altered(path))
    return [path, *(wrong[(turn * 31 + step * 17) % len(wrong)] for step in range(3))]


def ask(question: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(question, default=bytes.hex)
    answer = subprocess.run([sys.executable, JUDGE], input=text, capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)


def test_the_examples_in_the_module_are_true() -> None:
    assert doctest.testmod(merkle).failed == 0
