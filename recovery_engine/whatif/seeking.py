"""One request of interest, or the proof that there is none: all requests are looked at, but no longer than needed."""

from collections.abc import Callable, Iterable, Sequence

from recovery_engine.model import GOODWILL, OWED
from recovery_engine.policy.schema import Policy
from recovery_engine.rules.cells import used_lines
from recovery_engine.rules.encoding import Word
from recovery_engine.whatif.boxes import one_of
from recovery_engine.whatif.diagram import Box, Diagram, Known, Leaf, Node, Settled, TooLarge
from recovery_engine.whatif.dimensions import Space, Test, space
from recovery_engine.whatif.integers import NotSettled
from recovery_engine.whatif.standing import Answer, Standing
from recovery_engine.whatif.witness import Witness

Asked = tuple[str, tuple[Answer, ...], tuple[frozenset[int], ...]]
"""Who asks, what each policy answers, and the promises that speak of it."""

Wanted = Callable[[Sequence[Asked]], Iterable[str]]
"""From what all roles are answered to one request: those whose request is of interest."""

MOST_IMPOSSIBLE = 2_000


class _FoundError(Exception):
    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self.witness = witness


class Search(Diagram):
    """Goes through all requests until one of interest is found. ``cells``: how many were examined."""

    def __init__(self, space: Space, wanted: Wanted, settled: Settled | None = None) -> None:
        """``found`` is the witness. Raises NotSettled or TooLarge where it is not known whether there is one."""
        self._wanted, self._path = wanted, list[tuple[int, Test]]()
        self._unsure, self._unsettled, self._impossible = False, False, 0
        self.found: Witness | None = None
        try:
            super().__init__(space, lambda answers, promised: None, settled)
        except _FoundError as found:
            self.found = found.witness
        if self.found is None and self._unsettled:
            raise NotSettled

    def _from(self, standings: tuple[Standing, ...], last: int, known: Known) -> "Node | Leaf":
        before, self._unsure = self._unsure, False
        lead = super()._from(standings, last, known)
        if self._unsure:
            # What is impossible the way it was reached may be possible another way: the newest entry is forgotten.
            self._nodes.popitem()
        self._unsure |= before
        return lead

    def _node(self, place: int, standings: tuple[Standing, ...], known: Known) -> "Node | Leaf":
        if place == self.role:
            self._look(standings, known)
            return None
        for label, value in sorted(self._choices(place, standings), key=_in_order):
            if self._coupled.possible(known, place, label):
                self.cells += 1
                self._path.append((place, label))
                self._from(self._moved(standings, place, value), place, self._coupled.with_(known, place, label))
                self._path.pop()
        return None

    def _look(self, standings: tuple[Standing, ...], known: Known) -> None:
        asked = []
        ladder = self.space.policies[0].ladder
        for role in sorted(map(str, self.space.domains[self.role]), key=ladder.index):
            self.cells += 1
            moved = self._moved(standings, self.role, role)
            answers = (reader.answer(standing, role) for reader, standing in zip(self._readers, moved, strict=True))
            asked.append((role, tuple(answers), tuple(standing.promised for standing in moved)))
        for role in self._wanted(asked):
            self._try({**dict(self._path), self.role: frozenset[Word]({role})})

    def _try(self, box: Box) -> None:
        try:
            found = one_of(self.space, box)
        except NotSettled:
            self._unsettled = True
        else:
            if found is not None:
                raise _FoundError(found)
        self._unsure = True
        self._impossible += 1
        if self._impossible > MOST_IMPOSSIBLE:
            raise TooLarge


def _in_order(choice: tuple[Test, Word | int]) -> list[str]:
    """Words by the alphabet, so that the same request is found every time; ranges stay in their order."""
    return sorted(map(str, choice[0])) if isinstance(choice[0], frozenset) else []


# --- what is looked for -----------------------------------------------------------------------------------------------


class Looking:
    """Searches, and how many cells they examined."""

    def __init__(self) -> None:
        self.cells = 0

    def first(self, space: Space, wanted: Wanted, settled: Settled | None = None) -> Witness | None:
        """One request of interest. Raises NotSettled or TooLarge."""
        search = Search(space, wanted, settled)
        self.cells += search.cells
        return search.found

    def difference(self, one: Policy, other: Policy, before: Callable[[Answer], bool] = bool) -> Witness | None:
        """One request that two policies decide differently, the first so that *before* holds."""

        def differ(asked: Sequence[Asked]) -> Iterable[str]:
            for role, answers, _ in asked:
                then, now = (answer._replace(why="") for answer in answers)
                if then != now and before(then):
                    yield role

        for basis in (GOODWILL, OWED):
            if tuple(used_lines(one, basis)) != tuple(used_lines(other, basis)):
                found = self.first(space((one, other), basis), differ, lambda both: both[0] == both[1])
                if found is not None:
                    return found
        return None
