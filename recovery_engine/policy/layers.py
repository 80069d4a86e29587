"""A policy that extends another is laid over it: what it adds, and what is for the other to say."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from recovery_engine.policy.fields import KEY, Place, list_of
from recovery_engine.policy.schema import PARENTS_OWN, SECTIONS, Escalation, Policy
from recovery_engine.policy.tree import Source, read_tree
from recovery_engine.policy.words import Problem, Words, expand_sites

UNUSABLE_PARENT, PARENTS_TO_SAY = "RP030", "RP031"

ADDED_TO = (*SECTIONS, "promises")
"""The lists whose lines stand after the parent's."""

Layer = tuple[str, str | Problem]
"""A file that is extended, by name, with its text or why that cannot be read."""

_BELOW = "\n---\t# what it extends\n"  # a policy holds no tab, so that no text of one holds this


def with_layers(text: str, below: Iterable[Layer]) -> str:
    """The text of a policy and of every policy below it as one, which can be read without their files."""
    return _BELOW.join([text, *(str(layer) for _, layer in below)])


def apart(text: str) -> tuple[str, tuple[Layer, ...]]:
    """The text of a policy, and those of the policies below it that were kept with it."""
    first, *below = text.split(_BELOW)
    return first, tuple(("", layer) for layer in below)


def extended(text: str) -> str | None:
    """What a text says it extends."""
    tree = read_tree(text, Source("")) if "extends" in text else None
    named = (tree or {}).get("extends")
    return named if isinstance(named, str) else None


def lay_over(tree: dict[str, Any], source: Source, parent: Policy) -> None:
    """Make what an extending policy says readable as a policy, with the parent's words in the place of its own."""
    for name in PARENTS_OWN:
        if name in tree:
            _forbid(source, (name, KEY), f"`{name}` is for `{parent.policy}` to say, which this policy extends")
            del tree[name]
    for block, known in (("facts", parent.facts), ("reason_codes", parent.reason_codes)):
        for name in [name for name in _keys(tree.get(block)) if name in known]:
            _forbid(source, (block, name, KEY), f"`{name}` is in the {block.replace('_', ' ')} of `{parent.policy}`")
            del tree[block][name]
        if tree.get(block) == {}:
            del tree[block]
    if tree.get("policy") in [each.policy for each in (parent, *above(parent))]:
        message = f"`{tree['policy']}` is the name of what this policy extends, and its versions share it"
        source.add_at(("policy",), Problem(PARENTS_TO_SAY, message, "choose another name"))
    if parent.sites is not None and tree.get("sites") is not None:
        _choose_sites(tree, source, parent)
    tree |= {"currency": parent.currency, "ladder": list(parent.ladder)}


def _forbid(source: Source, place: Place, message: str) -> None:
    source.add_at(place, Problem(PARENTS_TO_SAY, message, "delete it here"))


def _keys(block: Any) -> Collection[Any]:
    return block if isinstance(block, dict) else ()


def above(policy: Policy) -> Iterator[Policy]:
    """What a policy extends, nearest first."""
    while policy.parent is not None:
        policy = policy.parent
        yield policy


def _choose_sites(tree: dict[str, Any], source: Source, parent: Policy) -> None:
    """The sites that a policy is for, in the groups of its parent."""
    raw = tree.pop("sites")
    if isinstance(raw, dict):
        cure = "write a list of them, such as `[franchise, S001]`"
        source.add_at(("sites",), Problem("RP007", f"sites and groups of `{parent.policy}` belong here", cure))
        return
    try:
        chosen = {site for sites in list_of(expand_sites, "sites")(raw, parent.words) for site in sites}
    except Problem as problem:
        source.add_at(("sites",), problem)
        return
    except ValidationError as error:
        for detail in error.errors():
            found = Problem(detail["type"], detail["ctx"]["message"], detail["ctx"]["help"])
            source.add_at(("sites", *detail["loc"]), found)
        return
    groups = {group: [site for site in sites if site in chosen] for group, sites in (parent.sites or {}).items()}
    tree["sites"] = {group: sites for group, sites in groups.items() if sites}


def words_over(parent: Policy, own: Words) -> Words:
    """The words of a policy that extends another."""
    known = parent.words
    return replace(
        known,
        sites=own.sites or known.sites,
        facts={**known.facts, **own.facts},
        line_ids=known.line_ids | own.line_ids,
        budget_ids=known.budget_ids | own.budget_ids,
    )


_OWN = ("version", "tests", "extends")
"""What is never taken over from the parent."""


def laid_over(parent: Policy, own: Policy, given: Collection[str]) -> Policy:
    """The one policy that a parent and what extends it are together; *given* are the keys of its file."""
    parts = {name: getattr(parent, name) for name in Policy.model_fields if name not in given and name not in _OWN}
    for name in ADDED_TO:
        parts[name] = (*getattr(parent, name), *getattr(own, name))
    for name in ("facts", "reason_codes"):
        parts[name] = getattr(parent, name) | getattr(own, name)
    sites = own.sites if "sites" in given else parent.sites
    kept = {} if "timezone" in given else parent.timezones
    parts["timezones"] = {group: zone for group, zone in kept.items() if group in (sites or ())} | own.timezones
    parts["escalation"] = _way_up(parent.escalation, own.escalation)
    policy = own.with_parts(**parts)
    policy._parent = parent
    policy._places.update(parent._places)
    return policy


def _way_up(parent: Escalation, own: Escalation) -> Escalation:
    said = {name: getattr(own, name) for name in own.model_fields_set}
    both = {name: getattr(parent, name) | value for name, value in said.items() if isinstance(value, dict)}
    return parent.model_copy(update=said | both)
