"""A box of requests in the words of people: which requests these are."""

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from recovery_engine.model import GOODWILL, OWED
from recovery_engine.money import format_minor
from recovery_engine.phrases import in_words, proof_in_words
from recovery_engine.policy.schema import Policy
from recovery_engine.rules.encoding import Word
from recovery_engine.rules.readings import BOTH
from recovery_engine.whatif.diagram import Box
from recovery_engine.whatif.dimensions import (
    COST,
    HIGHEST_SHARE,
    NUMBER,
    OTHER,
    PROOF,
    ROLE,
    SHARE,
    SUM,
    TIMES,
    WORD,
    Dimension,
    Space,
    Test,
)
from recovery_engine.whatif.ranges import LARGEST, NOT_GIVEN, Ranges

_WHOSE = {"employee": "the employee gives", "customer": "the customer gets", "site": "the site gives"}
_COUNTED_AS = {GOODWILL: "", OWED: " as owed", BOTH: ", with what is owed,"}


def box_in_words(space: Space, box: Box) -> tuple[str, ...]:
    """What the requests of a box have in common, one phrase for each dimension: who asks first, proof last.

    A dimension that may be anything has none; every sum counts this grant.
    """
    order = sorted(box, key=lambda place: (space.dimensions[place].kind != ROLE, place))
    phrases = [_phrase(space, place, box[place]) for place in order]
    return (*filter(None, phrases), *_proof(space, box))


def sums_of(space: Space, box: Box) -> Iterator[tuple[str, tuple[tuple[int, int | None], ...]]]:
    """What sums of the case a box bounds, this grant counted: in words, and from and to what, both included.

    Minor units; None where there is no highest.
    """
    for place, label in box.items():
        dimension = space.dimensions[place]
        if dimension.kind == SUM and isinstance(label, tuple):
            yield _counted(dimension), tuple((low, None if high >= LARGEST else high) for low, high in label)


def _proof(space: Space, box: Box) -> Iterator[str]:
    for word, on_file in (("with", True), ("without", False)):
        places = [place for place, label in box.items() if space.dimensions[place].kind == PROOF and on_file in label]
        if places:
            yield f"{word} {proof_in_words(str(space.dimensions[place].key[0]) for place in places)} on file"


def _phrase(space: Space, place: int, label: Test) -> str:
    dimension, policy = space.dimensions[place], space.policies[0]
    kind, key = dimension

    def money(minor: int) -> str:
        return format_minor(minor, policy.currency)

    if isinstance(label, frozenset):
        if kind == ROLE:
            return f"{_either(in_words(role) for role in policy.ladder if role in label)} asks"
        return _words(space, place, label) if kind == WORD else ""
    if kind == NUMBER:
        return _number(space, str(key[1]), label)
    if kind == COST:
        return "it costs nothing" if label == ((0, 0),) else ""
    if kind == SUM:
        return f"{_counted(dimension)} {_come(dimension)} to {_amounts(label, money, 1)}"
    if kind == SHARE:
        return _share(dimension, label, money)
    per, period = str(key[0]), _period(str(key[1]))
    if kind == TIMES:
        return f"the {per} has {_amounts(label, str, 0)} case{'' if label == ((0, 1),) else 's'} {period}"
    remedies = [str(remedy) for remedy in key[2]]  # type: ignore[attr-defined]
    of = f" as {_either(map(in_words, remedies))}" if remedies else ""
    return f"what {_WHOSE.get(per, 'the organisation gives')} {period}{of} comes to {_amounts(label, money, 1)}"


def _words(space: Space, place: int, label: frozenset[Word]) -> str:
    name, policy = str(space.dimensions[place].key[1]), space.policies[0]
    domain = space.domains[place]
    assert isinstance(domain, frozenset)
    if label <= {True, False}:
        return f"{'' if True in label else 'not '}{in_words(name)}"
    others = domain - label
    negated = len(others) < len(label)
    shown = _named(policy, name, others if negated else label)
    return f"{in_words(name)} is {'not ' if negated else ''}{_either(shown)}"


def _named(policy: Policy, name: str, words: Iterable[Word]) -> Iterator[str]:
    """The words in the policy's order, a whole group of sites by its name."""
    left = set(words)
    for group, sites in (policy.sites or {}).items() if name == "site" else ():
        if set(sites) <= left and len(sites) > 1:
            left -= set(sites)
            yield group
    for word in policy.words.known(name) or sorted(left - {"", OTHER}, key=str):
        if word in left:
            yield in_words(str(word))
    if OTHER in left:
        yield "anything else"
    if "" in left:
        yield "not given"


def _number(space: Space, name: str, label: Ranges) -> str:
    policy = space.policies[0]
    is_money = any(one.words.is_money(name) for one in space.policies)
    given = tuple(range_ for range_ in label if range_ != NOT_GIVEN)
    if not given:
        return f"no {in_words(name)} on file" if name == "bill" else f"{in_words(name)} is not given"
    amounts = _amounts(given, (lambda minor: format_minor(minor, policy.currency)) if is_money else str, 0)
    named = "the bill" if name == "bill" else in_words(name)
    if amounts == "any amount":
        return f"{named} is on file"
    return f"{named} is {amounts}{' or not on file' if NOT_GIVEN in label else ''}"


def _counted(sum_: Dimension) -> str:
    remedies, basis = [in_words(str(word)) for word in sum_.key[2]], str(sum_.key[3])  # type: ignore[attr-defined]
    counted = f"{_joined(remedies, 'and')} on the case" if remedies else "the whole case"
    return counted + _COUNTED_AS[basis]


def _come(sum_: Dimension) -> str:
    return "come" if len(sum_.key[2]) > 1 else "comes"  # type: ignore[arg-type]


def _share(dimension: Dimension, label: Ranges, money: Callable[[int], str]) -> str:
    base, kind, counted = dimension.key
    assert isinstance(base, Dimension)
    assert isinstance(counted, Dimension)
    of = in_words(str(base.key[1]))

    def shown(share: int) -> str:
        if kind == "each":
            return f"{money(share)} for each of {of}"
        return f"{Decimal(share).scaleb(-2).normalize():f}% of the {of}"

    parts = []
    for low, high in label:
        over = f"over {shown(low - 1)}" if low > 0 else ""
        within = f"within {shown(high)}" if high < HIGHEST_SHARE else ""
        parts.append(" but ".join(filter(None, [over, within])))
    return f"{_counted(counted)} {'are' if _come(counted) == 'come' else 'is'} {_either(parts)}"


def _amounts(label: Ranges, shown: Callable[[int], str], least: int) -> str:
    """``$30.01 to $200.00``, ``at most 3``, ``5 or more``."""

    def one(low: int, high: int) -> str:
        if high >= LARGEST:
            return f"{shown(low)} or more" if low > least else "any amount"
        if low == high:
            return shown(low)
        return f"at most {shown(high)}" if low <= least else f"{shown(low)} to {shown(high)}"

    return _either(one(low, high) for low, high in label)


def _period(every: str) -> str:
    return f"in {every}" if every.endswith("days") else f"in a {every}"


def _either(parts: Iterable[str]) -> str:
    return _joined(list(parts), "or")


def _joined(parts: list[str], word: str) -> str:
    return f" {word} ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
