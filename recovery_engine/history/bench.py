"""Seats for the rows of a history, and the rulings on the cells that the loop hands back.

Who asks with which words and proof sits on a seat, as in ``recovery_engine.seats``; the rulings are made there, by the
real matchers. Variants of a policy, which differ in a limit alone, share seats and cells and have a ruling each.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recovery_engine.history.loop import ABSENT, NONE, Array, Cells
from recovery_engine.history.table import OUTCOMES
from recovery_engine.model import NO_USAGE, Outcome, RecoveryRequest
from recovery_engine.policy.schema import Policy
from recovery_engine.rules.readings import Reading
from recovery_engine.seats import Compiled, Seat


class Answer(NamedTuple):
    """What is decided on a cell: a place in OUTCOMES, two ranks, the number of a list of proof; -1 is none."""

    outcome: int
    to: int = NONE
    second: int = NONE
    needs: int = 0


LEFT_OUT = Answer(NONE)
"""Of what a policy cannot decide: it has an unknown word, lacks a fact, or a figure is out of range."""

Cuts = tuple[tuple[Reading, tuple[int, ...]], ...]
"""What is read on a seat, each with the last value of every band but the highest."""


class Bench:
    """Seats, and what was ruled on them so far."""

    def __init__(self, variants: Sequence[Policy]) -> None:
        self.policy = variants[0]
        self.seats: list[Seat] = []
        self.meters: list[Cuts] = []
        self.answers = [LEFT_OUT]
        self.needs: list[tuple[str, ...]] = [()]
        self._compiled = [Compiled(policy) for policy in variants]
        self._variants: list[list[Seat]] = []
        self._numbers: dict[int, int] = {}
        self._leaves = self._branches = 0
        nothing = np.zeros(0, np.int32)
        self.cells = Cells(nothing, nothing, np.zeros((0, len(variants)), np.int32), np.zeros(1, np.bool_))

    @property
    def classes(self) -> dict[str | bool, int]:
        """The class of every remedy that some line names."""
        return self._compiled[0].classes["remedy"]

    def seat(self, request: RecoveryRequest) -> int:
        """The number of the seat of a request, whatever its figures. Raises InvalidRequest."""
        variants = [compiled.seat(request, NO_USAGE) for compiled in self._compiled]
        number = self._numbers.setdefault(id(variants[0]), len(self.seats))
        if number == len(self.seats):
            cuts: dict[Reading, set[int]] = {}
            for seat in variants:
                for meter in seat.meters:
                    cuts.setdefault(meter.key, set()).update(meter.cuts)
            self.seats.append(variants[0])
            self._variants.append(variants)
            self.meters.append(tuple((key, tuple(sorted(cuts[key]))) for key in cuts))
            root = self._node(2)
            self.cells = self.cells._replace(root=np.append(self.cells.root, np.int32(root)))
        return number

    def rule(self, seat: int, values: Array, bands: Array) -> None:
        """Rule on a cell for every variant, from the readings of one of its rows, and remember it by its bands."""
        meters = self.meters[seat]
        readings = {
            key: None if value == ABSENT else value for (key, _), value in zip(meters, values.tolist(), strict=False)
        }
        widths = [len(cuts) + (2 if key[0] == "number" else 1) for key, cuts in meters]
        place = int(self.cells.root[seat] + bands[0])
        for band, width in zip(bands[1:].tolist(), widths, strict=False):
            node = int(self.cells.branch[place])
            if node == NONE:
                node = self._node(width)
                self.cells.branch[place] = node
            place = node + band
        if self._leaves == len(self.cells.rulings):
            self.cells = self.cells._replace(rulings=_longer(self.cells.rulings, 0))
        self.cells.branch[place] = self._leaves
        self.cells.rulings[self._leaves] = [self._ruling(one, readings, bands[0] == 0) for one in self._variants[seat]]
        self._leaves += 1

    def _node(self, width: int) -> int:
        node, self._branches = self._branches, self._branches + width
        while self._branches > len(self.cells.branch):
            self.cells = self.cells._replace(branch=_longer(self.cells.branch, NONE))
        return node

    def _ruling(self, seat: Seat, readings: dict[Reading, int | None], at_no_cost: bool) -> int:
        ruling, _ = seat.rule_on(readings, at_no_cost)
        if ruling.needs not in self.needs:
            self.needs.append(ruling.needs)
        to, second = (NONE if rank is None else rank for rank in (ruling.to, ruling.second))
        answer = Answer(OUTCOMES.index(ruling.outcome), to, second, self.needs.index(ruling.needs))
        if answer not in self.answers:
            self.answers.append(answer)
            approves = [answer.outcome == OUTCOMES.index(Outcome.APPROVE) for answer in self.answers]
            self.cells = self.cells._replace(approves=np.array(approves))
        return self.answers.index(answer)


def _longer(column: Array, fill: int) -> Array:
    return np.concatenate([column, np.full((max(256, len(column)), *column.shape[1:]), fill, column.dtype)])
