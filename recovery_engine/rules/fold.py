"""From what the matchers found on a cell to a ruling: the outcome, every rung, and the lines that decided.

Reading rule 5 of the policy language, in its own order: the last fitting row counts, every ceiling and budget binds,
any deny line wins, and the lowest role that may, decides.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from recovery_engine.model import GOODWILL, NOBODY_GIVES, NOTHING_OWED, REASON_CODES, Outcome, Rung
from recovery_engine.policy.declared import NONE, SAME, UNLIMITED, Cell
from recovery_engine.policy.schema import BudgetLine, CeilingLine, Line, Policy, RequiresLine
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


class _Answer(NamedTuple):
    outcome: Outcome
    to: int | None
    second: int | None
    acting: int | None  # the role whose authority carries the outcome
    lines: tuple[str, ...]
    stops: tuple[Stop, ...] = ()


def fold(policy: Policy, words: Words, match: Match, rank: int, at_no_cost: bool, proof: Proof) -> Ruling:
    """The ruling for a requester of *rank* with this *proof* on file."""
    case = _Case(policy, words, match, rank, at_no_cost, proof)
    given = case.answer(with_all_proof=False)
    full = case.answer(with_all_proof=True) if case.may_lack_proof else given
    missing = [] if full.acting is None else case.missing(full.acting)
    outcome, lines = given.outcome, given.lines
    if outcome == Outcome.DENY and full.outcome != Outcome.DENY:
        outcome, lines = Outcome.INCOMPLETE, tuple(line for line, _ in missing)
    return Ruling(
        outcome,
        given.to,
        given.second,
        tuple(dict.fromkeys(item for _, items in missing for item in items)),
        lines,
        tuple(case.rungs()),
        given.stops,
        tuple(case.caps()),
        case.gives_nothing,
    )


class _Case:
    """One cell, one requester: the lines that fit, and what stops each role."""

    def __init__(self, policy: Policy, words: Words, match: Match, rank: int, at_no_cost: bool, proof: Proof) -> None:
        self.policy, self.words, self.rank, self.proof = policy, words, rank, proof
        self.top = len(policy.ladder) - 1
        self.goodwill = words["basis"] == GOODWILL
        self.at_no_cost = at_no_cost
        self.match = match
        by_kind: dict[str | int, set[str | int]] = {
            "fits": set(),
            "within": set(),
            "over": set(),
            "often": set(),
            "covers": set(),
        }
        for finding in match:
            by_kind[finding[0]].add(finding[1])
        self.fitting, self.exceeded = by_kind["fits"], by_kind["over"] | by_kind["often"]
        self.denied = self._fit(policy.deny)
        self.someone_else = self._fit(policy.someone_else)
        self.requires = [line for line in policy.requires if line.id in self.fitting]
        self.may_lack_proof = bool(self.requires) or words.get("category") in policy.reason_codes
        self.owed = () if self.goodwill else self._fit(policy.owed)
        self.owed_covers = at_no_cost or bool(by_kind["covers"])
        self.four_eyes = [line for line in policy.four_eyes if line.id in self.fitting and not at_no_cost]
        bounds: tuple[CeilingLine | BudgetLine, ...] = (*policy.ceilings, *policy.budgets)
        self.bounds = [line for line in bounds if line.id in self.fitting]
        authority = [line for line in policy.authority if line.id in self.fitting]
        self.rows = [  # the last line first
            (row, [(line.id, line.up_to[row]) for line in reversed(authority) if row in line.up_to])
            for row in ("total", str(words["remedy"]))
        ]
        self.in_force = [self._in_force(at) for at in range(len(policy.ladder))]
        self.own = self.in_force[rank]
        self.gives_nothing = self.goodwill and (not self.own or any(cell == NONE for _, _, cell in self.own))
        # A budget per employee stops only the requester: on other rungs the person is not known yet.
        budgets = [line for line in self.bounds if isinstance(line, BudgetLine) and line.per == "employee"]
        self.over = [self._over(at, skipped=budgets) for at in range(len(policy.ladder))]
        self.own_over = self._over(rank, skipped=()) if budgets else self.over[rank]

    def _fit(self, lines: Iterable[Line]) -> tuple[str, ...]:
        return tuple(line.id for line in lines if line.id in self.fitting)

    # --- rule 5 ---

    def answer(self, with_all_proof: bool) -> _Answer:
        """The outcome with what is on file, or with all the proof that could be asked for."""
        if self.denied:
            return _Answer(Outcome.DENY, None, None, None, self.denied)
        if not self.goodwill and not self.owed_covers:
            beyond = self.owed or (NOTHING_OWED,)
            return _Answer(Outcome.DENY, None, None, None, beyond, tuple(map(Stop, beyond)))
        stops = self.stops(self.rank, with_all_proof, requester=True)
        if not stops and not self.someone_else:
            if not self.four_eyes:
                used = self.owed or tuple(dict.fromkeys(line for line, _, _ in self.own))
                return _Answer(Outcome.APPROVE, None, None, self.rank, used)
            asked = self._second(self.rank)
            return _Answer(Outcome.ESCALATE, asked, asked, self.rank, tuple(line.id for line in self.four_eyes))
        # The same role may be asked where another person of it may: for someone else, and at the top.
        lowest = self.rank if self.someone_else or self.rank == self.top else self.rank + 1
        for to in range(lowest, self.top + 1):
            if not self.stops(to, with_all_proof, requester=False):
                eyes = () if stops else tuple(line.id for line in self.four_eyes)
                because = dict.fromkeys((*self.someone_else, *(stop.line for stop in stops), *eyes))
                second = self._second(to) if self.four_eyes else None
                return _Answer(Outcome.ESCALATE, to, second, to, tuple(because), stops)
        stops = self.stops(self.top, with_all_proof, requester=False)
        return _Answer(Outcome.DENY, None, None, None, tuple(dict.fromkeys(stop.line for stop in stops)), stops)

    def _second(self, first: int) -> int:
        """The highest second that a fitting line asks for; above the top there is another person of the top."""
        next_role = min(first + 1, self.top)
        return max(
            next_role if line.second == "next_role" else self.policy.rank(line.second) for line in self.four_eyes
        )

    # --- what stops a role ---

    def stops(self, rank: int, with_all_proof: bool, requester: bool) -> tuple[Stop, ...]:
        """What stops a role; the requester's own budgets too where it is the requester."""
        found = self.own_over if requester else self.over[rank]
        if not self.may_lack_proof or with_all_proof:
            return found
        return (*found, *(Stop(line) for line, _ in self.missing(rank)))

    def _over(self, rank: int, skipped: Sequence[BudgetLine]) -> tuple[Stop, ...]:
        if not self.goodwill:
            return ()
        own = self.in_force[rank]
        found = [] if own else [Stop(NOBODY_GIVES)]
        for line, row, cell in own:
            if cell == NONE or (isinstance(cell, int) and ("within", line, row, cell) not in self.match):
                found.append(Stop(line, row))
        if self.exceeded:
            for bound in self.bounds:
                if bound.id in self.exceeded and bound not in skipped and self._binds(bound.binds_below, rank):
                    found.append(Stop(bound.id))
        return tuple(found)

    def _binds(self, binds_below: str | None, rank: int) -> bool:
        return binds_below is None or rank < self.policy.rank(binds_below)

    def missing(self, rank: int) -> list[tuple[str, tuple[str, ...]]]:
        """The proof that this role cannot waive and that is not on file, by line."""
        if not self.may_lack_proof:
            return []
        return missing_proof(self.policy, self.requires, self.words, self.proof, rank)

    def _in_force(self, rank: int) -> list[tuple[str, str, Cell]]:
        """The cells in force for a role: of each row the last one that fits, `same` looking further back."""
        found: list[tuple[str, str, Cell]] = []
        for row, lines in self.rows:
            for line, cells in lines:
                if cells[rank] != SAME:
                    found.append((line, row, cells[rank]))
                    break
        return found

    # --- for people, and for what may still be given ---

    def rungs(self) -> Iterator[Rung]:
        """Every role, and all that stops it, the deny lines first."""
        beyond = () if self.goodwill or self.owed_covers else self.owed or (NOTHING_OWED,)
        for rank, role in enumerate(self.policy.ladder):
            requester = rank == self.rank
            stops = self.stops(rank, with_all_proof=False, requester=requester)
            lines = [*self.denied, *(self.someone_else if requester else ()), *beyond, *[stop.line for stop in stops]]
            yield Rung(role, tuple(dict.fromkeys(lines)) if lines else ())

    def caps(self) -> Iterator[Cap]:
        """What bounds the amount the requester may give."""
        if not self.goodwill:
            yield from map(Cap, self.owed)
            return
        yield from (Cap(*own) for own in self.own if own[2] != UNLIMITED)
        yield from (Cap(bound.id) for bound in self.bounds if self._binds(bound.binds_below, self.rank))


def missing_proof(
    policy: Policy, requires: Iterable[RequiresLine], words: Words, proof: Proof, rank: int
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


def _not_on_file(line: RequiresLine, proof: Proof) -> Iterator[str]:
    yield from (item for item in line.evidence if item not in proof.evidence)
    if line.note and not proof.note:
        yield "note"
