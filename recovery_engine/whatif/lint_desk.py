"""What the checks of a policy share: its places, the questions asked about it, and how a finding is written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from recovery_engine.errors import Diagnostic
from recovery_engine.model import RecoveryRequest, Usage
from recovery_engine.money import format_minor
from recovery_engine.policy.fields import Place
from recovery_engine.policy.layers import ADDED_TO
from recovery_engine.policy.schema import Line, Policy
from recovery_engine.policy.tree import Source
from recovery_engine.policy.words import Problem
from recovery_engine.whatif.diagram import TooLarge
from recovery_engine.whatif.integers import NotSettled
from recovery_engine.whatif.lint_codes import LINT_CODES
from recovery_engine.whatif.seeking import Looking
from recovery_engine.whatif.standing import Answer
from recovery_engine.whatif.witness import Witness

Shown = tuple[RecoveryRequest, Usage]


@dataclass(frozen=True)
class LintFinding:
    """Something about a policy that its owner should know; ``shown_by``: a request, and what was used before it."""

    diagnostic: Diagnostic
    shown_by: Shown | None = None


class Desk:
    """One policy on the desk. ``cut``: the places about which a question had to be left open."""

    def __init__(self, policy: Policy, sources: Sequence[Source]) -> None:
        """*sources*: of the policy, and of what it extends, nearest first."""
        self.policy, self.looking = policy, Looking()
        self.cut: list[Place] = []
        self._sources = sources

    def finding(
        self,
        code: str,
        place: Place,
        message: str,
        help: str,
        shown_by: Shown | None = None,
        level: Literal["warning", "note"] | None = None,
    ) -> LintFinding:
        """A finding at a place in the file, by default of the level of its code."""
        source, own = self._found_at(place)
        found = source.diagnostic_at(own, Problem(code, message, help))
        return LintFinding(replace(found, level=level or LINT_CODES[code].level), shown_by)

    def named(self, section: str, index: int) -> Place:
        """The place of a line: its id, where it has one."""
        return (section, index, "id")

    def cell(self, index: int, row: str, rank: int) -> Place:
        """The place of a cell of an authority row, written as a list or by role."""
        place: Place = ("authority", index, "up_to", row)
        by_role = (*place, self.policy.ladder[rank])
        source, own = self._found_at(by_role)
        return by_role if own in source.places else (*place, rank)

    def line(self, place: Place) -> int:
        """The number of the line in the file that a finding at a place would name."""
        source, own = self._found_at(place)
        return source.diagnostic_at(own, Problem("", "")).line

    def _found_at(self, place: Place) -> tuple[Source, Place]:
        """The text in which something stands, and where: lines of what a policy extends come before its own."""
        policy, sources = self.policy, list(self._sources)
        while policy.parent is not None:
            source = sources.pop(0)
            if place[0] in ADDED_TO and len(place) > 1 and isinstance(place[1], int):
                before = len(getattr(policy.parent, place[0]))
                if place[1] >= before:
                    return source, (place[0], place[1] - before, *place[2:])
            elif place in source.places:
                return source, place
            policy = policy.parent
        return sources[0], place

    def money(self, minor: int) -> str:
        """An amount as people write it."""
        return format_minor(minor, self.policy.currency)

    # --- questions ---

    def difference(
        self, one: Policy, other: Policy, place: Place, before: Callable[[Answer], bool] = lambda _: True
    ) -> Witness | None:
        """A request that the first decides differently than the second, where there surely is one."""
        try:
            return self.looking.difference(one, other, before)
        except (NotSettled, TooLarge):
            self.cut.append(place)
            return None

    def same(self, one: Policy, other: Policy, place: Place) -> bool:
        """Whether two policies surely decide every request alike."""
        left_open = len(self.cut)
        return self.difference(one, other, place) is None and len(self.cut) == left_open

    # --- the policy, slightly changed ---

    def with_line(self, section: str, index: int, line: Line | None, of: Policy | None = None) -> Policy:
        """The policy with one line changed, or left out."""
        lines = getattr(of or self.policy, section)
        return self.policy.with_parts(**{section: (*lines[:index], *([line] if line else []), *lines[index + 1 :])})
