"""Decide a history in the order it happened, with the usage that the policy itself would have had.

Case totals and budgets depend on what was granted before, and a refused grant uses up nothing: a running sum over the
rows would be wrong. So the rows go through one after another, as whole numbers; each distinct cell is ruled on once.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from recovery_engine.history.bench import Answer, Bench
from recovery_engine.history.cells import Progress, always, insert
from recovery_engine.history.coding import code
from recovery_engine.history.loop import NEVER, Array, Found, Rows, compiled_run
from recovery_engine.history.tables import Sizes, tables, with_room
from recovery_engine.policy.schema import Policy
from recovery_engine.rules.readings import Reading


def fold_answers(connection: Any, policy: Policy, progress: Progress | None = None) -> None:
    """Decide every row of ``history`` in order, and make the tables ``answers`` and ``needs`` of `history.table`.

    What the policy approves on the spot counts against its case totals and budgets from then on; what it sends up,
    denies or finds incomplete uses up nothing. It is taken to be in force on every day. What it cannot decide has no
    outcome. People's own limits are not in a history and do not count. What is asked again while it waits is decided
    again, where an engine would join the two.
    """
    bench = Bench([always(policy)])
    parts, sizes = code(connection, bench)
    folding, rows = Folding(bench, sizes), sum(len(some.seat) for some in parts)
    connection.execute(
        "CREATE OR REPLACE TABLE answers "
        "(n BIGINT, outcome UTINYINT, to_rank TINYINT, second_rank TINYINT, needs USMALLINT)"
    )
    done = 0
    while parts:
        some = parts.pop(0)
        rulings, end = folding.fold(some), done + len(some.seat)
        columns = [np.array(column, np.int16)[rulings] for column in zip(*bench.answers, strict=True)]
        connection.register("folded", {"n": np.arange(done, end)} | dict(zip(Answer._fields, columns, strict=True)))
        connection.execute(
            'INSERT INTO answers SELECT n, nullif(outcome, -1), nullif("to", -1), nullif(second, -1), needs FROM folded'
        )
        connection.unregister("folded")
        done = end
        if progress is not None:
            progress("deciding in order", done, rows)
    connection.execute("CREATE OR REPLACE TABLE needs (id USMALLINT, items VARCHAR[])")
    insert(connection, "needs", [(id, list(items)) for id, items in enumerate(bench.needs)])


class Folding:
    """A history on its way through the loop: what was granted so far, and how many rows came to each answer.

    Answers are places in ``bench.answers``. *swept* are the readings that are compared with limits that are swept,
    *limits* their values.
    """

    def __init__(self, bench: Bench, sizes: Sizes, swept: Sequence[Reading] = (), limits: Sequence[int] = ()) -> None:
        self._bench, self._run = bench, compiled_run()
        self._plan, self._state = tables(bench, sizes, swept)
        self._limits = np.array(limits, np.int64)
        most = 1 + max(len(swept), *map(len, bench.meters), 0)
        self._found = Found(
            np.zeros(0, np.int32),
            np.zeros(64, np.int64),
            np.zeros(64, np.int64),
            np.full(len(limits), NEVER, np.int64),
            np.zeros(most, np.int64),
            np.zeros(most, np.int32),
        )

    @property
    def rows(self) -> Array:
        """How many rows came to each answer."""
        return self._found.rows

    @property
    def granted(self) -> Array:
        """What was granted by each answer, in minor units."""
        return self._found.granted

    @property
    def following(self) -> Array:
        """Of each limit that is swept, the next value at which a row would be decided otherwise."""
        return self._found.following

    def fold(self, rows: Rows) -> Array:
        """The answers to the next rows, as places in ``bench.answers``."""
        bench, count = self._bench, len(rows.seat)
        self._state = with_room(self._state, count, count * len(self._plan.books))
        found = self._found = self._found._replace(ruling=np.zeros(count, np.int32))
        row = 0
        while (row := self._run(row, self._limits, rows, self._plan, bench.cells, self._state, found)) < count:
            bench.rule(int(rows.seat[row]), found.values, found.bands)
            if len(bench.answers) > len(found.rows):
                more = np.zeros(len(found.rows), np.int64)
                found = self._found = found._replace(
                    rows=np.concatenate([found.rows, more]), granted=np.concatenate([found.granted, more])
                )
        return found.ruling
