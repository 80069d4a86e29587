"""From what the matchers found on a cell to a ruling: the outcome, every rung, and the lines that decided.

Reading rule 5 of the policy language, in its own order: the last fitting row counts, every ceiling and budget binds,
any deny line wins, and the lowest role that may, decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from recovery_engine.model import GOODWILL, NOBODY_GIVES, NOTHING_OWED, REASON_CODES, Outcome, Rung
from recovery_engine.policy.declared import NONE, SAME, UNLIMITED, Cell
from recovery_engine.policy.schema import BudgetLine, CeilingLine, FourEyesLine, Line, Policy, RequiresLine
from recovery_engine.rules.cells import may_fit, used_lines
from recovery_engine.rules.readings import Words
from recovery_engine.rules.reference import Match


class Proof(NamedTuple):
    """What is on file."""

    evidence: frozenset[str]
    note: bool
    reason: bool


class Stop(NamedTuple):
    """A line that stops a role; ``row`` where it is a row of an authority line."""

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
    ``fault``: why the matchers could not be believed.
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
    fault: str = ""


class Bench:
    """The lines that may fit requests with the same words, and who asks with what proof: ready to be folded."""

    def __init__(self, policy: Policy, words: Words, rank: int, proof: Proof) -> None:
        lines = [line for line in used_lines(policy, str(words["basis"])) if may_fit(line, words)]

        def ids(section: tuple[Line, ...]) -> tuple[str, ...]:
            return tuple(line.id for line in section if line in lines)

        def above(role: str | None) -> int:
            """The first rank that a line no longer binds."""
            return len(policy.ladder) if role is None else policy.rank(role)

        self.ladder, self.rank, self.proof = policy.ladder, rank, proof
        self.column = policy.column(rank)
        self.goodwill = words["basis"] == GOODWILL
        self.deny, self.someone_else = ids(policy.deny), ids(policy.someone_else)
        self.owed = () if self.goodwill else ids(policy.owed)
        authority = [line for line in reversed(policy.authority) if line in lines]
        self.rows = tuple(  # of each row the last line first
            tuple((Stop(line.id, row), line.up_to[row]) for line in authority if row in line.up_to)
            for row in ("total", str(words["remedy"]))
        )
        # (line as a stop, the first rank it no longer binds, whether it is a budget of one employee)
        self.bounds = tuple(
            (Stop(line.id), above(line.binds_below), isinstance(line, BudgetLine) and line.per == "employee")
            for line in lines
            if isinstance(line, CeilingLine | BudgetLine)
        )
        self.four_eyes = tuple((line.id, line.second) for line in lines if isinstance(line, FourEyesLine))
        # (line, the first rank that may do without, what is not on file)
        self.unproven = tuple(
            (line.id, above(line.waivable_by), items)
            for line in lines
            if isinstance(line, RequiresLine) and (items := tuple(_not_on_file(line, proof)))
        )
        self.free_rungs = tuple(Rung(role) for role in policy.ladder)
        self.reason_missing = words.get("category") in policy.reason_codes and not proof.reason


def _not_on_file(line: RequiresLine, proof: Proof) -> Iterator[str]:
    yield from (item for item in line.evidence if item not in proof.evidence)
    if line.note and not proof.note:
        yield "note"


def fold(bench: Bench, match: Match, at_no_cost: bool) -> Ruling:
    """The ruling on one cell."""
    case = _Case(bench, match, at_no_cost)
    given = case.answer(with_all_proof=False)
    full = case.answer(with_all_proof=True) if case.lacks_proof else given
    missing = [] if full.acting is None else case.missing(full.acting)
    outcome, lines = given.outcome, given.lines
    if outcome == Outcome.DENY and full.outcome != Outcome.DENY:
        outcome, lines = Outcome.INCOMPLETE, tuple([line for line, _ in missing])
    return Ruling(
        outcome,
        given.to,
        given.second,
        tuple(dict.fromkeys([item for _, items in missing for item in items])),
        lines,
        tuple(case.rungs()),
        given.stops,
        tuple(case.caps()),
        bench.goodwill and case.gives_nothing,
    )


class _Answer(NamedTuple):
    outcome: Outcome
    to: int | None
    second: int | None
    acting: int | None  # the role whose authority carries the outcome
    lines: tuple[str, ...]
    stops: tuple[Stop, ...] = ()


class _Case:
    """One cell: the lines that fit, and what stops each role."""

    def __init__(self, bench: Bench, match: Match, at_no_cost: bool) -> None:
        fitting, exceeded, covered = set(), set(), False
        for finding in match:
            if finding[0] == "fits":
                fitting.add(finding[1])
            elif finding[0] != "within":
                exceeded.add(finding[1])
                covered = covered or finding[0] == "covers"
        self.bench, self.rank, self.top = bench, bench.rank, len(bench.ladder) - 1
        self.denied = tuple([line for line in bench.deny if line in fitting])
        self.someone_else = tuple([line for line in bench.someone_else if line in fitting])
        self.owed = tuple([line for line in bench.owed if line in fitting])
        self.beyond = () if bench.goodwill or covered or at_no_cost else self.owed or (NOTHING_OWED,)
        self.four_eyes = [eyes for eyes in bench.four_eyes if eyes[0] in fitting and not at_no_cost]
        self.unproven = [proof for proof in bench.unproven if proof[0] in fitting]
        self.lacks_proof = bool(self.unproven) or bench.reason_missing
        self.bounds = [bound for bound in bench.bounds if bound[0].line in fitting]
        over = [bound for bound in self.bounds if bound[0].line in exceeded]
        self.own: list[tuple[Stop, Cell]] = []
        self.gives_nothing = True
        # What stops each role, but for proof; a budget of an employee only where the person is known: the requester.
        self.over: list[tuple[Stop, ...]] = [()] * len(bench.ladder)
        self.own_over: tuple[Stop, ...] = ()
        if bench.goodwill:
            rows = [[line for line in lines if line[0].line in fitting] for lines in bench.rows]
            for rank in range(len(bench.ladder)):
                in_force = _in_force(rows, rank)
                stops = _limits_over(in_force, match)
                self.over[rank] = (*stops, *[stop for stop, above, personal in over if rank < above and not personal])
                if rank == self.rank:
                    if bench.column != rank:  # an own limit is the requester's alone, not that of others of the role
                        in_force = _in_force(rows, bench.column)
                        stops = _limits_over(in_force, match)
                    self.own = in_force
                    self.gives_nothing = not in_force or NONE in [cell for _, cell in in_force]
                    self.own_over = (*stops, *[stop for stop, above, _ in over if rank < above])

    # --- rule 5 ---

    def answer(self, with_all_proof: bool) -> _Answer:
        """The outcome with what is on file, or with all the proof that could be asked for."""
        if self.denied:
            return _Answer(Outcome.DENY, None, None, None, self.denied)
        if self.beyond:
            return _Answer(Outcome.DENY, None, None, None, self.beyond, tuple(map(Stop, self.beyond)))
        eyes = tuple([line for line, _ in self.four_eyes])
        stops = self.stops(self.rank, with_all_proof, requester=True)
        if not stops and not self.someone_else:
            if not eyes:
                used = self.owed or tuple(dict.fromkeys([row.line for row, _ in self.own]))
                return _Answer(Outcome.APPROVE, None, None, self.rank, used)
            asked = self._second(self.rank)
            return _Answer(Outcome.ESCALATE, asked, asked, self.rank, eyes)
        # The same role may be asked where another person of it may: for someone else, and at the top.
        lowest = self.rank if self.someone_else or self.rank == self.top else self.rank + 1
        for to in range(lowest, self.top + 1):
            if not self.stops(to, with_all_proof, requester=False):
                because = dict.fromkeys((*self.someone_else, *[stop.line for stop in stops], *(() if stops else eyes)))
                second = self._second(to) if eyes else None
                return _Answer(Outcome.ESCALATE, to, second, to, tuple(because), stops)
        stops = self.stops(self.top, with_all_proof, requester=False)
        return _Answer(Outcome.DENY, None, None, None, tuple(dict.fromkeys([stop.line for stop in stops])), stops)

    def _second(self, first: int) -> int:
        """The highest second that a fitting line asks for; above the top there is another person of the top."""
        next_role, ladder = min(first + 1, self.top), self.bench.ladder
        return max(next_role if second == "next_role" else ladder.index(second) for _, second in self.four_eyes)

    def stops(self, rank: int, with_all_proof: bool, requester: bool) -> tuple[Stop, ...]:
        """What stops a role."""
        over = self.own_over if requester else self.over[rank]
        if with_all_proof or not self.lacks_proof:
            return over
        return (*over, *[Stop(line) for line, _ in self.missing(rank)])

    def missing(self, rank: int) -> list[tuple[str, tuple[str, ...]]]:
        """The proof that is not on file and that this role cannot waive, by line; nobody may waive a reason code."""
        found = [(line, items) for line, above, items in self.unproven if rank < above]
        return [*found, (REASON_CODES, ("reason",))] if self.bench.reason_missing else found

    # --- for people, and for what may still be given ---

    def rungs(self) -> Iterator[Rung]:
        """Every role, and all that stops it, the deny lines first."""
        for rank, role in enumerate(self.bench.ladder):
            requester = rank == self.rank
            stops = self.stops(rank, with_all_proof=False, requester=requester)
            others = self.someone_else if requester else ()
            if self.denied or self.beyond or others or stops:
                lines = (*self.denied, *others, *self.beyond, *[stop.line for stop in stops])
                yield Rung(role, tuple(dict.fromkeys(lines)))
            else:
                yield self.bench.free_rungs[rank]

    def caps(self) -> Iterator[Cap]:
        """What bounds the amount the requester may give."""
        yield from map(Cap, self.owed)
        for row, cell in self.own:
            if cell != UNLIMITED:
                yield Cap(row.line, row.row, cell)
        if self.bench.goodwill:
            for stop, above, _ in self.bounds:
                if self.rank < above:
                    yield Cap(stop.line)


def _in_force(rows: list[list[tuple[Stop, tuple[Cell, ...]]]], column: int) -> list[tuple[Stop, Cell]]:
    """The cells in force for a role or person: of each row the last one that fits, `same` looking further back."""
    found = []
    for lines in rows:
        for row, cells in lines:
            cell = cells[column]
            if cell != SAME:
                found.append((row, cell))
                break
    return found


def _limits_over(in_force: list[tuple[Stop, Cell]], match: Match) -> list[Stop]:
    """The rows that stop a role: what it may give is below what this would make."""
    if not in_force:
        return [Stop(NOBODY_GIVES)]
    found = []
    for row, cell in in_force:
        if type(cell) is int:
            if ("within", row.line, row.row, cell) not in match:
                found.append(row)
        elif cell == NONE:
            found.append(row)
    return found
