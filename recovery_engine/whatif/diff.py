"""Two policies compared: every request in the world that is decided differently, none other.

Requests are those that are valid under both. What differs is the outcome, who is asked, who must also agree, and what
proof is missing; the lines that decide may change without that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from recovery_engine.decide import decide
from recovery_engine.errors import Diagnostic, PolicyError
from recovery_engine.model import GOODWILL, OWED, Decision, Outcome, PolicyRef
from recovery_engine.policy.schema import SECTIONS, Line, Policy
from recovery_engine.whatif.boxes import MOST_BOXES, Region, regions
from recovery_engine.whatif.boxes_in_words import box_in_words, sums_of
from recovery_engine.whatif.diagram import Diagram, Leaf, TooLarge
from recovery_engine.whatif.dimensions import Space, space
from recovery_engine.whatif.integers import NotSettled
from recovery_engine.whatif.seeking import Asked, Looking
from recovery_engine.whatif.standing import Answer, Standing
from recovery_engine.whatif.witness import Witness

WIDER, NARROWER, SIDEWAYS = "wider", "narrower", "sideways"
NOT_COMPARABLE = "RP040"


class Change(NamedTuple):
    """Requests that are decided differently, all in the same way.

    ``direction``: ``wider`` where somebody may more, or it need not go as far up; ``narrower``; or ``sideways``.
    ``where``: which requests, as phrases that all hold. ``witness`` is one of them, ``before`` and ``after`` what is
    decided about it.
    """

    direction: str
    basis: str
    where: tuple[str, ...]
    witness: Witness
    before: Decision
    after: Decision
    sums: tuple[tuple[str, tuple[tuple[int, int | None], ...]], ...] = ()

    @property
    def fresh(self) -> bool:
        """Whether it can happen to a case that had nothing yet."""
        return self.witness.fresh


class Edit(NamedTuple):
    """A line that differs: it was added, removed or changed. ``silent``: that changes no decision.

    ``masked_by``: the lines that keep it from changing more; without any one of them it would. Where many lines differ,
    they are looked for only where an edit is silent: None says that nobody has looked.
    """

    line: str
    section: str
    kind: str
    silent: bool
    masked_by: tuple[str, ...] | None = ()


@dataclass(frozen=True)
class PolicyDiff:
    """Everything that two policies decide differently. ``complete``: whether nothing was left out.

    ``edits``: the lines that differ; ``settings``: the other blocks. ``only_before`` and ``only_after``: words that one
    of them knows; requests with such words are not compared. ``cells``: how many were examined.
    """

    before: PolicyRef
    after: PolicyRef
    changes: tuple[Change, ...]
    edits: tuple[Edit, ...]
    settings: tuple[str, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    complete: bool
    cells: int

    @property
    def directions(self) -> frozenset[str]:
        """The directions in which something changes."""
        return frozenset(change.direction for change in self.changes)


def diff_policies(before: Policy, after: Policy, most: int = MOST_BOXES) -> PolicyDiff:
    """Compare two policies over all requests. Raises PolicyError where they cannot be compared."""
    _check_comparable(before, after)
    changes: list[Change] = []
    complete, cells = True, 0
    for basis in (GOODWILL, OWED):
        shared = space((before, after), basis)
        try:
            found = regions(Diagram(shared, _differ, _all_alike), most)
        except TooLarge:
            complete = False
            continue
        complete, cells = complete and found.complete, cells + found.cells
        changes += [_change(shared, region) for region in found.found]
    changes.sort(key=_most_telling_first)
    edits = _Edits(before, after, changing=bool(changes)).all()
    only = [sorted(_listed(one) - _listed(other)) for one, other in ((before, after), (after, before))]
    settings = tuple(name for name in _SETTINGS if getattr(before, name) != getattr(after, name))
    return PolicyDiff(
        before.ref, after.ref, tuple(changes), edits, settings, tuple(only[0]), tuple(only[1]), complete, cells
    )


def _most_telling_first(change: Change) -> tuple[object, ...]:
    outcomes = [list(Outcome).index(decision.outcome) for decision in (change.after, change.before)]
    asked = [str(decision.to) for decision in (change.before, change.after)]
    return (WIDER, NARROWER, SIDEWAYS).index(change.direction), outcomes, asked, not change.fresh, len(change.where)


_LABELS = ("policy", "version", "effective", "extends", "owner", "source", "promises", "tests")
_SETTINGS = tuple(name for name in Policy.model_fields if name not in (*SECTIONS, *_LABELS))


# --- what counts as different -----------------------------------------------------------------------------------------


def _differ(answers: tuple[Answer, ...], promised: object) -> Leaf:
    before, after = (answer._replace(why="") for answer in answers)
    return None if before == after else (before, after)


def _all_alike(standings: Sequence[Standing]) -> bool:
    return all(standing == standings[0] for standing in standings)


def direction(before: Answer, after: Answer, ladder: Sequence[str]) -> str:
    """Whether what is decided is wider, narrower or neither: what it takes, of other people and of proof."""
    narrower, wider = as_tight(before, after, ladder), as_tight(after, before, ladder)
    if narrower != wider:
        return NARROWER if narrower else WIDER
    needs = before.needs, after.needs
    if before.outcome == Outcome.INCOMPLETE and needs[0] != needs[1]:
        return WIDER if needs[1] < needs[0] else NARROWER if needs[0] < needs[1] else SIDEWAYS
    return SIDEWAYS


def as_tight(before: Answer, after: Answer, ladder: Sequence[str]) -> bool:
    """Whether it takes as much as before or more: as many other people, none of a lower role; or nothing will do."""
    if before.outcome not in _ANSWERED or after.outcome not in _ANSWERED:
        level = {Outcome.INCOMPLETE: 1, Outcome.DENY: 2}
        return level.get(after.outcome, 0) >= level.get(before.outcome, 0)
    then, now = (_others(answer, ladder) for answer in (before, after))
    return len(now) >= len(then) and all(one >= other for one, other in zip(now, then, strict=False))


_ANSWERED = (Outcome.APPROVE, Outcome.ESCALATE)


def _others(answer: Answer, ladder: Sequence[str]) -> list[int]:
    """The ranks of the people who must agree, besides whoever asks, highest first."""
    roles = [answer.second] if answer.own else [answer.to, answer.second]
    ranks = (ladder.index(role) if role in ladder else len(ladder) for role in roles if role is not None)
    return sorted(ranks, reverse=True)


def _change(shared: Space, region: Region) -> Change:
    before, after = cast("tuple[Answer, Answer]", region.leaf)
    decided = [decide(policy, *region.witness.asked(policy)) for policy in shared.policies]
    for decision, answer in zip(decided, (before, after), strict=True):
        # INVARIANT: what is said about a whole region is what is decided about its witness.
        assert (decision.outcome, decision.to, decision.second, frozenset(decision.needs)) == answer[:4], region
    ladder = max(shared.policies, key=lambda policy: len(policy.ladder)).ladder
    where = box_in_words(shared, region.box)
    return Change(
        direction(before, after, ladder),
        shared.basis,
        where,
        region.witness,
        decided[0],
        decided[1],
        tuple(sums_of(shared, region.box)),
    )


def _check_comparable(before: Policy, after: Policy) -> None:
    found = []
    if before.currency != after.currency:
        found.append(
            ("currency", f"`{before.policy}` decides in {before.currency}, `{after.policy}` in {after.currency}")
        )
    for name in before.facts.keys() & after.facts.keys():
        if before.facts[name].kind != after.facts[name].kind:
            kinds = f"`{before.facts[name].kind}` and `{after.facts[name].kind}`"
            found.append(("facts", f"the fact `{name}` is of two kinds, {kinds}"))
    if not set(before.ladder) & set(after.ladder):
        found.append(("ladder", "no role is on both ladders, so that nobody can ask both"))
    cure = "compare versions that speak of the same money, facts and roles"
    if found:
        raise PolicyError(
            [Diagnostic(NOT_COMPARABLE, "error", after.where(place), text, cure) for place, text in found]
        )


def _listed(policy: Policy) -> set[str]:
    """Every word a policy lists, with what it is: requests with words that only one policy knows are not compared."""
    listed = {f"role `{role}`" for role in policy.ladder}
    for name in ("remedy", "category", "severity", "site", *policy.facts):
        listed |= {f"{name} `{word}`" for word in policy.words.known(name) or ()}
    listed |= {f"fact `{name}`" for name in policy.facts}
    return listed | {f"reason code `{code}`" for codes in policy.reason_codes.values() for code in codes}


# --- edits ------------------------------------------------------------------------------------------------------------


_MOST_PAIRS = 40
"""Of lines that differ, and limits that may mask them."""


class _Edits:
    """Line by line, what the second policy changes, and what keeps it from changing more."""

    def __init__(self, before: Policy, after: Policy, changing: bool) -> None:
        self._before, self._after, self._changing = before, after, changing
        self._looking = Looking()

    def all(self) -> tuple[Edit, ...]:
        differing = [(section, *one) for section in SECTIONS for one in self._differing(section)]
        limits = len(self._after.ceilings) + len(self._after.budgets)
        return tuple(self._edit(*one, look=len(differing) * limits <= _MOST_PAIRS) for one in differing)

    def _differing(self, section: str) -> Iterator[tuple[str, str, Line | None]]:
        """The id of each line that differs, how it does, and the line as it was."""
        then = {line.id: line for line in getattr(self._before, section)}
        now = {line.id: line for line in getattr(self._after, section)}
        for name in dict.fromkeys((*then, *now)):
            if name in then and name in now and _decides(then[name]) == _decides(now[name]):
                continue
            kind = "removed" if name not in now else "changed" if name in then else "added"
            yield name, kind, then.get(name)

    def _edit(self, section: str, name: str, kind: str, line: Line | None, look: bool) -> Edit:
        undone = self._undone(section, name, line)
        silent = not self._changing or self._same(undone, self._after)
        masks = tuple(self._masks(undone, name, silent)) if silent or look else None
        return Edit(name, section, kind, silent, masks)

    def _undone(self, section: str, name: str, line: Line | None) -> Policy:
        """The second policy with one line as the first has it."""
        lines = [other for other in getattr(self._after, section) if other.id != name]
        if line is not None:
            order = [other.id for other in getattr(self._before, section)]
            now = [other.id for other in getattr(self._after, section)]
            if name in now:
                place = now.index(name)
            else:
                earlier = order[: order.index(name)]
                place = max((at + 1 for at, other in enumerate(lines) if other.id in earlier), default=0)
            lines.insert(place, line)
        return self._after.with_parts(**{section: tuple(lines)})

    def _same(self, one: Policy, other: Policy) -> bool:
        try:
            return self._looking.difference(one, other) is None
        except (NotSettled, TooLarge):
            return False

    def _masks(self, undone: Policy, name: str, silent: bool) -> Iterator[str]:
        """The lines without which the edit would change requests that it does not change now."""
        sections = SECTIONS if silent else ("ceilings", "budgets")
        for section in sections:
            for line in getattr(self._after, section):
                if line.id != name:
                    bare = [policy.without_line(section, line.id) for policy in (undone, self._after)]
                    if silent:
                        if not self._same(*bare):
                            yield line.id
                    elif self._hides(undone, *bare):
                        yield line.id

    def _hides(self, undone: Policy, undone_bare: Policy, bare: Policy) -> bool:
        def hidden(asked: Sequence[Asked]) -> Iterator[str]:
            for role, answers, _ in asked:
                before, after, then, now = (answer._replace(why="") for answer in answers)
                if before == after and then != now:
                    yield role

        def settled(standings: Sequence[Standing]) -> bool:
            return standings[2] == standings[3]

        try:
            shared = space((undone, self._after, undone_bare, bare), GOODWILL)
            return self._looking.first(shared, hidden, settled) is not None
        except (NotSettled, TooLarge):
            return False


def _decides(line: Line) -> Line:
    return line.model_copy(update={"why": None, "say": None, **({"source": None} if hasattr(line, "source") else {})})
