"""From what the matchers found on a cell to a ruling: the outcome, every rung, and the lines that decided.

Reading rule 5 of the policy language, in its own order: the last fitting row counts, every ceiling and budget binds,
any deny line wins, and the lowest role that may, decides.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from recovery_engine.model import GOODWILL, NOBODY_GIVES, NOTHING_OWED, REASON_CODES, Outcome, Rung
from recovery_engine.policy.schema import NONE, SAME, UNLIMITED, AuthorityLine, Cell, Policy, RequiresLine
from recovery_engine.rules.readings import Words
from recovery_engine.rules.reference import Match


class Proof(NamedTuple):
    """What is on file."""

    evidence: frozenset[str]
    note: bool
    reason: bool


class Stop(NamedTuple):
    """A line that stops a rung; ``row`` where it is a row of an authority line."""

    line: str
    row: str = ""


class Cap(NamedTuple):
    """What bounds an amount: a row of an authority line with its limit, or a ceiling, budget or owed line."""

    line: str
    row: str = ""
    limit: Cell = 0


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is decided on a cell for one role and what is on file: everything but the figures.

    Roles are ranks. ``stops`` holds what stops the requester where that is why it goes up, or the top where nobody may.
    ``caps`` are what bounds the requester's own amount: authority rows (line, row, limit), ceilings and budgets that
    bind and owed lines that fit (line only). ``gives_nothing``: the requester's authority has no row or says `none`.
    """

    outcome: Outcome
    to: int | None
    second: int | None
    needs: tuple[str, ...]
    lines: tuple[str, ...]
    rungs: tuple[Rung, ...]
    stops: tuple[Stop, ...]
    caps: tuple[Cap, ...]
    gives_nothing: bool


def fold(policy: Policy, words: Words, match: Match, rank: int, at_no_cost: bool, proof: Proof) -> Ruling:
    """The ruling for a requester of *rank* with this *proof* on file."""
    fitting = _Fold(policy, words, match, rank, at_no_cost)
    actual, full = fitting.outcome(proof), fitting.outcome(None)
    needs_lines = () if full.acting is None else fitting.missing(proof, full.acting)
    needs = tuple(dict.fromkeys(item for _, items in needs_lines for item in items))
    lines = actual.lines
    outcome = actual.outcome
    if outcome == Outcome.DENY and full.outcome != Outcome.DENY:
        outcome = Outcome.INCOMPLETE
        lines = tuple(line for line, _ in needs_lines)
    return Ruling(
        outcome,
        actual.to,
        actual.second,
        needs,
        lines,
        tuple(
            Rung(role, tuple(dict.fromkeys(fitting.stopping(at, proof, at == rank))))
            for at, role in enumerate(policy.ladder)
        ),
        actual.stops,
        tuple(fitting.caps(rank)),
        fitting.gives_nothing(rank),
    )


class _Outcome(NamedTuple):
    outcome: Outcome
    to: int | None
    second: int | None
    acting: int | None  # the role whose authority carries the outcome
    lines: tuple[str, ...]
    stops: tuple[Stop, ...] = ()


class _Fold:
    def __init__(self, policy: Policy, words: Words, match: Match, rank: int, at_no_cost: bool) -> None:
        self.policy, self.words, self.match, self.rank, self.at_no_cost = policy, words, match, rank, at_no_cost
        self.goodwill = words["basis"] == GOODWILL
        self.rows = list(self._rows_in_force()) if self.goodwill else []
        self.requires = [line for line in policy.requires if self.fits(line.id)]
        self.someone_else = [line.id for line in policy.someone_else if self.fits(line.id)]
        self.denied = [line.id for line in policy.deny if self.fits(line.id)]
        self.four_eyes = [line for line in policy.four_eyes if self.goodwill and not at_no_cost and self.fits(line.id)]
        self.owed = [line.id for line in policy.owed if not self.goodwill and self.fits(line.id)]

    def fits(self, line: str) -> bool:
        return ("fits", line) in self.match

    # --- rule 5 ---

    def outcome(self, proof: Proof | None) -> _Outcome:
        """The outcome with this proof on file; None is all proof."""
        if self.denied:
            return _Outcome(Outcome.DENY, None, None, None, tuple(self.denied))
        if not self.goodwill and not self.at_no_cost and not any(("covers", line) in self.match for line in self.owed):
            lines = tuple(self.owed or [NOTHING_OWED])
            return _Outcome(Outcome.DENY, None, None, None, lines, tuple(map(Stop, lines)))
        rank, top = self.rank, len(self.policy.ladder) - 1
        stops = self.stops(rank, proof, requester=True)
        used = tuple(dict.fromkeys(line for line, _, _ in self._own_rows(rank))) if self.goodwill else tuple(self.owed)
        if not stops and not self.someone_else:
            if not self.four_eyes:
                return _Outcome(Outcome.APPROVE, None, None, rank, used)
            second = self._second(rank)
            return _Outcome(Outcome.ESCALATE, second, second, rank, tuple(line.id for line in self.four_eyes))
        because = [*self.someone_else, *(stop.line for stop in stops)]
        if not stops:
            because += [line.id for line in self.four_eyes]
        # The same role may be asked where another person of it may: for someone else, and at the top.
        lowest = rank if self.someone_else or rank == top else rank + 1
        for to in range(lowest, top + 1):
            if not self.stops(to, proof, requester=False):
                second = self._second(to) if self.four_eyes else None
                return _Outcome(Outcome.ESCALATE, to, second, to, tuple(dict.fromkeys(because)), stops)
        stops = self.stops(top, proof, requester=False)
        return _Outcome(Outcome.DENY, None, None, None, tuple(dict.fromkeys(stop.line for stop in stops)), stops)

    def _second(self, first: int) -> int:
        top = len(self.policy.ladder) - 1
        return max(
            min(first + 1, top) if line.second == "next_role" else self.policy.rank(line.second)
            for line in self.four_eyes
        )

    # --- what stops a rung ---

    def stops(self, rank: int, proof: Proof | None, requester: bool) -> tuple[Stop, ...]:
        """What stops a role; budgets per employee only where the person is known."""
        found = list(self._limits_over(rank, requester))
        if proof is not None:
            found += [Stop(line) for line, _ in self.missing(proof, rank)]
        return tuple(found)

    def stopping(self, rank: int, proof: Proof, requester: bool) -> Iterator[str]:
        """The ids of every line that stops a rung, the deny lines first."""
        yield from self.denied
        if requester:
            yield from self.someone_else
        yield from (stop.line for stop in self.stops(rank, proof, requester))

    def _limits_over(self, rank: int, requester: bool) -> Iterator[Stop]:
        if not self.goodwill:
            if not self.at_no_cost and not any(("covers", line) in self.match for line in self.owed):
                yield from (Stop(line) for line in self.owed or [NOTHING_OWED])
            return
        own = list(self._own_rows(rank))
        if not own:
            yield Stop(NOBODY_GIVES)
        for line, row, cell in own:
            if cell == NONE or (isinstance(cell, int) and ("within", line, row, cell) not in self.match):
                yield Stop(line, row)
        for ceiling in self.policy.ceilings:
            if ("over", ceiling.id) in self.match and self._binds(ceiling.binds_below, rank):
                yield Stop(ceiling.id)
        for budget in self.policy.budgets:
            exceeded = ("over", budget.id) in self.match or ("often", budget.id) in self.match
            if exceeded and self._binds(budget.binds_below, rank) and (requester or budget.per != "employee"):
                yield Stop(budget.id)

    def _binds(self, binds_below: str | None, rank: int) -> bool:
        return binds_below is None or rank < self.policy.rank(binds_below)

    def missing(self, proof: Proof, rank: int) -> list[tuple[str, tuple[str, ...]]]:
        return missing_proof(self.policy, self.requires, self.words, proof, rank)

    # --- authority rows ---

    def _rows_in_force(self) -> Iterator[tuple[str, list[tuple[AuthorityLine, tuple[Cell, ...]]]]]:
        for row in ("total", str(self.words["remedy"])):
            lines = [
                (line, line.up_to[row]) for line in self.policy.authority if row in line.up_to and self.fits(line.id)
            ]
            yield row, lines

    def _own_rows(self, rank: int) -> Iterator[tuple[str, str, Cell]]:
        """The cells in force for a role: of each row the last one that fits, `same` looking further back."""
        for row, lines in self.rows:
            for line, cells in reversed(lines):
                if cells[rank] != SAME:
                    yield line.id, row, cells[rank]
                    break

    def caps(self, rank: int) -> Iterator[Cap]:
        if not self.goodwill:
            yield from map(Cap, self.owed)
            return
        yield from (Cap(line, row, cell) for line, row, cell in self._own_rows(rank) if cell != UNLIMITED)
        for bound in (*self.policy.ceilings, *self.policy.budgets):
            if self.fits(bound.id) and self._binds(bound.binds_below, rank):
                yield Cap(bound.id)

    def gives_nothing(self, rank: int) -> bool:
        own = list(self._own_rows(rank))
        return self.goodwill and (not own or any(cell == NONE for _, _, cell in own))


def missing_proof(
    policy: Policy, requires: list[RequiresLine], words: Words, proof: Proof, rank: int
) -> list[tuple[str, tuple[str, ...]]]:
    """The proof that a role cannot waive and that is not on file, by line: a missing reason code nobody may waive."""
    found = []
    for line in requires:
        waived = line.waivable_by is not None and rank >= policy.rank(line.waivable_by)
        if not waived and (items := tuple(_not_on_file(line, proof))):
            found.append((line.id, items))
    if words.get("category") in policy.reason_codes and not proof.reason:
        found.append((REASON_CODES, ("reason",)))
    return found


def _not_on_file(line: RequiresLine, proof: Proof) -> Iterable[str]:
    yield from (item for item in line.evidence if item not in proof.evidence)
    if line.note and not proof.note:
        yield "note"
