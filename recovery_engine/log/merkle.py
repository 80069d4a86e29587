"""The Merkle tree over the entries of a stream: its root, proof that an entry is in it, proof that it only grew.

Exactly the tree of RFC 9162, section 2.1 (the one of RFC 6962), with SHA-256, so that any tool for either can check
what is written here. Indexes count from 0, a size is a number of leaves, a range is half open, every hash is 32 bytes.

A tree that only grows needs no more than its *frontier*: the roots of the perfect trees it is made of, largest first,
one for each bit set in its size. Nothing here reads or writes; leaves come from a function that the caller passes in.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256

HASH_BYTES = 32

EMPTY_ROOT = sha256(b"").digest()

Leaves = Callable[[int, int], Iterable[bytes]]
"""Gives the leaf hashes from one index up to, but not including, another; it may read them one at a time."""


def leaf_hash(body: bytes) -> bytes:
    """The hash of a leaf that holds *body*."""
    return sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of the node above two nodes or leaves."""
    return sha256(b"\x01" + left + right).digest()


def grown(size: int, frontier: Sequence[bytes], leaf: bytes) -> list[bytes]:
    """The frontier after *leaf* (a hash) is added to a tree of *size* leaves; less than one hash on average.

    Raises ValueError when *frontier* is not one of a tree of that size.

    >>> two = grown(1, grown(0, [], leaf_hash(b"a")), leaf_hash(b"b"))
    >>> root_of(two) == node_hash(leaf_hash(b"a"), leaf_hash(b"b"))
    True
    """
    kept = len(frontier)
    if kept != size.bit_count():
        raise ValueError(f"a frontier of {kept} hashes is not one of a tree of {size}")
    while size & 1:
        kept -= 1
        leaf = sha256(b"\x01" + frontier[kept] + leaf).digest()
        size >>= 1
    return [*frontier[:kept], leaf]


def root_of(frontier: Sequence[bytes]) -> bytes:
    """The root of the tree with this frontier."""
    if not frontier:
        return EMPTY_ROOT
    root = frontier[-1]
    for left in frontier[-2::-1]:
        root = sha256(b"\x01" + left + root).digest()
    return root


def frontier_bytes(frontier: Sequence[bytes]) -> bytes:
    """The frontier as one value to store."""
    return b"".join(frontier)


def frontier_from(stored: bytes, size: int) -> list[bytes]:
    """The frontier of a tree of *size* leaves, as `frontier_bytes` wrote it; ValueError when the length is another."""
    if size < 0 or len(stored) != size.bit_count() * HASH_BYTES:
        raise ValueError(f"a frontier of {len(stored)} bytes is not one of a tree of {size}")
    return [stored[at : at + HASH_BYTES] for at in range(0, len(stored), HASH_BYTES)]


def range_root(leaves: Leaves, start: int, stop: int) -> bytes:
    """The root over the leaves *start* up to *stop*, holding no more than a frontier of them at a time.

    Raises ValueError when *leaves* gives more or fewer than it was asked for.
    """
    frontier: list[bytes] = []
    count = 0
    for count, leaf in enumerate(leaves(start, stop), 1):
        frontier = grown(count - 1, frontier, leaf)
    if count != stop - start:
        raise ValueError(f"{count} leaves from {start} up to {stop}, where there must be {stop - start}")
    return root_of(frontier)


# --- proving ---


def inclusion_proof(leaves: Leaves, index: int, size: int) -> list[bytes]:
    """The path from leaf *index* to the root of the tree of the first *size* leaves (RFC 9162, 2.1.3.1).

    Reads every other leaf once, in at most one range for each level. Raises ValueError when there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    return [range_root(leaves, *beside) for beside, _ in _way_down(index, size)][::-1]


def consistency_proof(leaves: Leaves, first: int, second: int) -> list[bytes]:
    """The path that shows that the first *first* of *second* leaves are still the same (RFC 9162, 2.1.4.1).

    It is empty when the sizes are equal or *first* is 0. Raises ValueError when *first* is larger or negative.
    """
    if not 0 <= first <= second:
        raise ValueError(f"a tree of {second} did not grow from one of {first}")
    if first in (0, second):
        return []
    ranges = []
    for beside, below in _way_down(first - 1, second):
        ranges.append(beside)
        if below[1] == first:
            ranges += [below] if below[0] else []
            break
    return [range_root(leaves, *part) for part in reversed(ranges)]


def _way_down(index: int, size: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """From the root down to leaf *index*: at each node the range beside the way, and the range the way goes into."""
    start, stop = 0, size
    while stop - start > 1:
        # The left side of a node is perfect: it has the largest power of two leaves that leaves one for the right.
        middle = start + (1 << ((stop - start - 1).bit_length() - 1))
        beside = (middle, stop) if index < middle else (start, middle)
        start, stop = (start, middle) if index < middle else (middle, stop)
        yield beside, (start, stop)


# --- checking ---


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that *path* leads to from *leaf*, the hash of leaf *index* (RFC 9162, 2.1.3.2).

    Raises ValueError when *path* is not one for this index and size.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    if not _all_hashes([leaf, *path]):
        raise ValueError(f"a hash is not {HASH_BYTES} bytes long")
    root = leaf
    for other, is_left in _sides(index, size - 1, path):
        root = node_hash(other, root) if is_left else node_hash(root, other)
    return root


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether *path* shows that *leaf*, a leaf hash, is number *index* in the tree of *size* leaves with this root."""
    try:
        return root_from_inclusion(leaf, index, size, path) == root
    except ValueError:
        return False


def verify_consistency(first: int, second: int, path: Sequence[bytes], first_root: bytes, second_root: bytes) -> bool:
    """Whether *path* shows that the tree of *second* leaves only added to the one of *first* (RFC 9162, 2.1.4.2)."""
    if not 0 <= first <= second or not _all_hashes([first_root, second_root, *path]):
        return False
    if first == second:
        return not path and first_root == second_root and (first > 0 or first_root == EMPTY_ROOT)
    if first == 0:
        return not path and first_root == EMPTY_ROOT
    if not path:
        return False
    # The proof leaves out the first tree where that is a perfect one, and so a node of the second.
    base, *rest = [first_root, *path] if first.bit_count() == 1 else path
    node, last = first - 1, second - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = base
    try:
        for other, is_left in _sides(node, last, rest):
            old = node_hash(other, old) if is_left else old
            new = node_hash(other, new) if is_left else node_hash(new, other)
    except ValueError:
        return False
    return old == first_root and new == second_root


def _sides(node: int, last: int, path: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each hash of *path* and whether it is the left one, going up from *node* on a level that ends with *last*.

    Raises ValueError when the path does not end at the root.
    """
    for other in path:
        if last == 0:
            raise ValueError("the path goes on above the root")
        is_left = node & 1 == 1 or node == last
        yield other, is_left
        # The last node of a level may have no sibling; then it stands for the node above it.
        while is_left and not node & 1:
            node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1
    if last:
        raise ValueError("the path ends below the root")


def _all_hashes(values: Sequence[bytes]) -> bool:
    # A value a byte too long beside one a byte too short would hash as two others do.
    return all(len(value) == HASH_BYTES for value in values)
