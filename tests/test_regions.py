"""Regions on random policies and edits: a request is decided differently just where it lies in one, and they are large.

What `decide` says is the judge; where a request lies is worked out by plain arithmetic.
"""

from random import Random

import pytest
from regions import answer, edited, lies_in
from strategies import RequestWriter, random_policy

from recovery_engine import Policy, RecoveryRequest, Usage, check_policy, diff_policies, load_policy, shipped_policies
from recovery_engine.whatif.boxes import Regions, parts, regions
from recovery_engine.whatif.diagram import Box, Diagram, Node, inside, joined
from recovery_engine.whatif.dimensions import Space, space

pytestmark = pytest.mark.slow

BASES = ("goodwill", "owed")


def policies_of(random: Random, edits: int = 2) -> tuple[str, Policy, Policy] | None:
    """A policy and an edit of it that can be used; not where an id names another budget afterwards."""
    text, before = random_policy(random)
    draft = text
    for _ in range(random.randint(1, edits)):
        draft = edited(random, draft, before.currency)
    after, _ = check_policy(draft, "after.yaml")
    if after is None:
        return None
    held = [{line.id: (line.per, line.every, line.when.words) for line in policy.budgets} for policy in (before, after)]
    same = all(held[0][name] == held[1][name] for name in held[0].keys() & held[1].keys())
    return (text, before, after) if same else None


def as_held(usage: Usage, before: Policy, after: Policy) -> tuple[Usage, Usage]:
    """The usage as each policy reads it; two budgets that add up the same money hold the same."""
    used, first = dict(usage.used), dict[object, str]()
    for line in before.budgets:
        one = first.setdefault((line.per, line.every, str(sorted(line.when.words.items()))), line.id)
        if one != line.id:
            used.pop(line.id, None)
            used |= {line.id: used[one]} if one in used else {}
    known = {line.id for line in after.budgets}
    mine = {name: held for name, held in used.items() if name in known}
    return Usage(usage.on_case, usage.owed_on_case, used), Usage(usage.on_case, usage.owed_on_case, mine)


def compared(before: Policy, after: Policy) -> dict[str, tuple[Space, Diagram, Regions]]:
    found = {}
    for basis in BASES:
        shared = space((before, after), basis)
        diagram = Diagram(shared, lambda both, _: None if both[0][:4] == both[1][:4] else (both[0][:4], both[1][:4]))
        found[basis] = shared, diagram, regions(diagram)
    return found


def said(leaf: tuple) -> tuple:
    return tuple((str(one[0]), *one[1:]) for one in leaf)


def check_edit(random: Random, requests: int) -> int:
    """How many requests of one edit were decided differently."""
    made = policies_of(random)
    if made is None:
        return 0
    text, before, after = made
    found, writer, changed = compared(before, after), RequestWriter(text, before), 0
    for _, _, all_ in found.values():
        assert all_.complete
        for region in all_.found:
            answers = tuple(answer(policy, *region.witness.asked(policy)) for policy in (before, after))
            assert answers == said(region.leaf), region
    for _ in range(requests):
        request, usage = writer.request(random)
        usages = as_held(usage, before, after)
        answers = tuple(answer(policy, request, held) for policy, held in zip((before, after), usages, strict=True))
        if None in answers:
            continue
        shared, _, all_ = found[request.basis]
        by_digest = {before.digest: usages[0], after.digest: usages[1]}
        inside_of = [region for region in all_.found if lies_in(shared, region.box, request, by_digest)]
        assert bool(inside_of) == (answers[0] != answers[1]), (request, usage, answers)
        assert all(said(region.leaf) == answers for region in inside_of)
        changed += answers[0] != answers[1]
    return changed


@pytest.mark.parametrize("seed", range(12))
def test_a_request_is_decided_differently_just_where_it_lies_in_a_region(seed: int) -> None:
    check_edit(Random(seed), 60)


@pytest.mark.slow
def test_and_so_it_is_for_many_more() -> None:
    assert sum(check_edit(Random(seed), 40) for seed in range(100, 140)) > 10


@pytest.mark.parametrize("seed", range(40, 52))
def test_the_diagram_of_one_policy_answers_as_decide_does(seed: int) -> None:
    random = Random(seed)
    text, policy = random_policy(random)
    writer = RequestWriter(text, policy)
    leaves = {}
    for basis in BASES:
        shared = space((policy,), basis)
        leaves[basis] = shared, Diagram(shared, lambda answers, _: answers[0][:4])
    for _ in range(60):
        request, usage = writer.request(random)
        usage = as_held(usage, policy, policy)[0]
        decided = answer(policy, request, usage)
        if decided is not None:
            shared, diagram = leaves[request.basis]
            assert said((leaf_of(shared, diagram, request, {policy.digest: usage}),)) == (decided,)


def leaf_of(shared: Space, diagram: Diagram, request: RecoveryRequest, usages: dict[str, Usage]) -> object:
    node = diagram.root
    while isinstance(node, Node):
        leads = [lead for label, lead in node.edges if lies_in(shared, {node.place: label}, request, usages)]
        assert len(leads) == 1, "a request goes one way"
        (node,) = leads
    return node


@pytest.mark.parametrize("seed", range(60, 68))
def test_compared_the_other_way_round_it_is_the_same_reversed(seed: int) -> None:
    made = policies_of(Random(seed))
    if made is not None:
        _, before, after = made
        there, back = diff_policies(before, after), diff_policies(after, before)
        turned = {"wider": "narrower", "narrower": "wider", "sideways": "sideways"}
        assert sorted((turned[one.direction], one.basis, one.where) for one in there.changes) == sorted(
            (one.direction, one.basis, one.where) for one in back.changes
        )


@pytest.mark.parametrize("name", ["hotel", "restaurant", "online-shop", "uk-delay-repay"])
def test_no_region_can_be_made_larger(name: str) -> None:
    """In each dimension alone, whatever is added has a request that is decided otherwise, as far as is known of it."""
    policy = load_policy(shipped_policies()[name])
    limits = policy.authority[0].up_to if policy.authority else {}
    row = next(iter(limits), None)
    if row is None:
        return
    raised = tuple(cell + 700 if isinstance(cell, int) else cell for cell in limits[row])
    line = policy.authority[0].model_copy(update={"up_to": {**limits, row: raised}})
    after = policy.with_parts(authority=(line, *policy.authority[1:]))
    for shared, diagram, all_ in compared(policy, after).values():
        for region in all_.found:
            for place, label in region.box.items():
                for part in parts(labels_at(diagram, place)):
                    if not inside(part, label):
                        larger: Box = {**region.box, place: joined([label, part])}
                        assert not leads_only_to(diagram.root, larger, region.leaf), (shared.dimensions[place], part)


def labels_at(diagram: Diagram, place: int) -> set:
    found, waiting, seen = set(), [diagram.root], set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, Node) and id(node) not in seen:
            seen.add(id(node))
            found |= {label for label, _ in node.edges} if node.place == place else set()
            waiting += [lead for _, lead in node.edges]
    return found


def leads_only_to(node: object, box: Box, leaf: object) -> bool:
    if not isinstance(node, Node):
        return node == leaf
    asked = box.get(node.place)
    return all(
        leads_only_to(lead, box, leaf)
        for label, lead in node.edges
        if asked is None or any(inside(part, asked) for part in parts({label, asked}) if inside(part, label))
    )
