"""Judges trees and proofs with pymerkle 7, in a process of its own: JSON on standard input, its verdicts on output.

In: `leaves`, the bodies; `inclusion`, a list of index, size, path, leaf and root; `consistency`, a list of first,
second, path, first_root and second_root. Bytes are hex. Out: `roots`, one for each size from 0; and, for each proof
asked about, `path`, what pymerkle itself gives, and `holds`, whether it accepts the one that it was shown.

pymerkle counts leaves from 1, puts the leaf itself first in a path, and takes the newer side of a consistency proof
apart down to a single leaf where RFC 9162 gives one hash for all of it. Here is the translation.
"""

import json
import sys
from typing import Any

from pymerkle import InclusionProof, InmemoryTree, InvalidProof
from pymerkle.proof import ConsistencyProof

Verdict = dict[str, Any]


def judge(question: dict[str, Any]) -> dict[str, Any]:
    tree = InmemoryTree("sha256")
    for body in question["leaves"]:
        tree.append_entry(bytes.fromhex(body))
    return {
        "roots": [tree.get_root(size).hex() for size in range(tree.get_size() + 1)],
        "inclusion": [inclusion(tree, **asked) for asked in question["inclusion"]],
        "consistency": [consistency(tree, **asked) for asked in question["consistency"]],
    }


def inclusion(tree: InmemoryTree, index: int, size: int, path: list[str], leaf: str, root: str) -> Verdict:
    own = tree.prove_inclusion(index + 1, size)
    shown = [bytes.fromhex(node) for node in [leaf, *path]]
    proof = InclusionProof("sha256", True, size, index + 1, own.rule, shown)
    return {"path": [node.hex() for node in own.path[1:]], "holds": holds(proof, leaf, root)}


def consistency(
    tree: InmemoryTree, first: int, second: int, path: list[str], first_root: str, second_root: str
) -> Verdict:
    own = tree.prove_consistency(first, second)
    if first == second:
        # Without a path there is nothing to show but the root itself.
        shown = [bytes.fromhex(node) for node in [second_root, *path]]
        proof = ConsistencyProof("sha256", True, second, first, own.rule, own.subset, shown)
        return {"path": [], "holds": holds(proof, first_root, second_root)}
    # The first tree's smallest perfect part; before it, the pieces of what stands to the right of that part.
    part = own.subset.index(1)
    newer = own.path[0]
    for piece in own.path[1:part]:
        newer = own.hasher.hash_pair(newer, piece)
    perfect = first.bit_count() == 1
    expected = [*([] if perfect else [own.path[part]]), newer, *own.path[part + 1 :]]
    verdict = {"path": [node.hex() for node in expected], "holds": False}
    base, *rest = [first_root, *path] if perfect else path or [""]
    if rest[:1] == [newer.hex()]:
        shown = [*own.path[:part], bytes.fromhex(base), *map(bytes.fromhex, rest[1:])]
        proof = ConsistencyProof("sha256", True, second, first, own.rule, own.subset, shown)
        verdict["holds"] = holds(proof, first_root, second_root)
    return verdict


def holds(proof: InclusionProof | ConsistencyProof, one: str, other: str) -> bool:
    try:
        proof.verify(bytes.fromhex(one), bytes.fromhex(other))
    except InvalidProof:
        return False
    return True


if __name__ == "__main__":
    json.dump(judge(json.load(sys.stdin)), sys.stdout)
