"""What a policy reads, as tables of whole numbers for the loop."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from recovery_engine.history.bench import Bench
from recovery_engine.history.loop import BUDGET, LEFT, NONE, NUMBER, SUM, TIMES, Array, Plan, State
from recovery_engine.log.calendar import window_first
from recovery_engine.model import GOODWILL, OWED
from recovery_engine.policy.schema import CeilingLine, OwedLine, Policy
from recovery_engine.rules.cells import all_cuts
from recovery_engine.rules.encoding import IN_NO_LIST
from recovery_engine.rules.readings import ALL, BOTH, Reading, SumReading, ceiling_sum, named_remedies
from recovery_engine.seats import Seat


class Book(NamedTuple):
    """Whose sums of which remedies (none named: all) are kept."""

    per: str
    remedies: tuple[str, ...]


class Window(NamedTuple):
    """A book over some days; budgets that differ in their limits alone share one."""

    book: Book
    every: str


class Sizes(NamedTuple):
    """How many days there are from the first one on, cases, and subjects of each kind."""

    first_day: date
    days: int
    cases: int
    subjects: Mapping[str, int]


def numbers_of(policy: Policy) -> list[str]:
    """The numbers that lines read, of the bill and facts, and those that must be on file."""
    read = {str(key[1]) for key in all_cuts(policy) if key[0] == "number"}
    for line in (*policy.ceilings, *policy.owed):
        read.update(name for name in (line.of, line.per) if name)
    read.update(name for name, fact in policy.facts.items() if fact.default is None)
    figures = ["bill", *[name for name, fact in policy.facts.items() if fact.kind in ("number", "money")]]
    return [name for name in figures if name in read]


def kept_for(policy: Policy) -> list[str]:
    """Whose sums some budget adds up, in the order of a row's subjects."""
    return list(dict.fromkeys(line.per for line in policy.budgets))


def tables(bench: Bench, sizes: Sizes, swept: Iterable[Reading] = ()) -> tuple[Plan, State]:
    """The tables for the seats of a bench, and a state in which nothing was granted."""
    policy = bench.policy
    windows: dict[str, Window] = {
        line.id: Window(Book(line.per, named_remedies(line)), line.every) for line in policy.budgets
    }
    periods = list(dict.fromkeys(windows.values()))
    books = list(dict.fromkeys(window.book for window in periods))
    book_places = [0, *accumulate(sizes.subjects[book.per] for book in books)]
    window_places = [0, *accumulate(sizes.subjects[window.book.per] for window in periods)]
    meters = [meter for of_seat in bench.meters for meter in of_seat]
    keys = dict.fromkeys([*[key for key, _ in meters], *swept])
    limits = [key for key in keys if key[0] in ("slack", "due")]
    counted = {key: _counted(policy, key) for key in keys if key[0] in ("sum", "slack", "due")}
    tallies = list(dict.fromkeys(counted.values()))
    numbers, whose = numbers_of(policy), kept_for(policy)

    def coded(key: Reading) -> tuple[int, int]:
        match key[0]:
            case "number":
                return NUMBER, numbers.index(str(key[1]))
            case "sum":
                return SUM, tallies.index(counted[key])
            case "budget" | "times" as kind:
                return BUDGET if kind == "budget" else TIMES, periods.index(windows[str(key[1])])
        return LEFT, limits.index(key)

    def limit(key: Reading) -> list[int]:
        line = policy.by_id[str(key[1])]
        assert isinstance(line, CeilingLine | OwedLine)
        half = 5000 if isinstance(line, OwedLine) else 0
        of, per = (NONE if name is None else numbers.index(name) for name in (line.of, line.per))
        amount, tally = NONE if line.amount is None else line.amount, tallies.index(counted[key])
        return [amount, line.percent or 0, of, half, line.each or 0, per, tally]

    def adds_up(tally: SumReading) -> list[bool]:
        _, remedies, basis = tally
        named = [bench.classes[remedy] for remedy in remedies]
        return [
            (remedies == ALL or code // 2 in named) and basis in (BOTH, OWED if code % 2 else GOODWILL)
            for code in range(2 * (max(bench.classes.values(), default=IN_NO_LIST) + 1))
        ]

    asked = [[numbers.index(name) for name in seat.asked if name in numbers] for seat in bench.seats]
    days = [sizes.first_day + timedelta(day) for day in range(sizes.days)]
    plan = Plan(
        first_meter=_starts(bench.meters),
        first_asked=_starts(asked),
        code=_table([_code(bench, seat) for seat in bench.seats], np.int32),
        asked=_table([number for one in asked for number in one], np.int32),
        meters=_table([coded(key) for key, _ in meters], np.int32, 2),
        first_cut=_starts([cuts for _, cuts in meters]),
        cuts=_table([cut for _, cuts in meters for cut in cuts]),
        tallies=_table([adds_up(tally) for tally in tallies], np.bool_, 1),
        limits=_table([limit(key) for key in limits], np.int64, 7),
        windows=_table(
            [[books.index(window.book), place] for window, place in zip(periods, window_places, strict=False)],
            np.int64,
            2,
        ),
        first_days=_table(
            [[(window_first(day, window.every) - sizes.first_day).days for day in days] for window in periods],
            np.int32,
            1,
        ),
        books=_table(
            [[whose.index(book.per), place] for book, place in zip(books, book_places, strict=False)], np.int64, 2
        ),
        book_counts=_table([adds_up(("sum", book.remedies, GOODWILL)) for book in books], np.bool_, 1),
        swept=_table([coded(key) for key in swept], np.int32, 2),
    )
    nobody = np.full(window_places[-1], NONE, np.int32)
    return plan, State(
        used=np.zeros(2, np.int64),
        last_grant=np.full(sizes.cases, NONE, np.int32),
        grant_before=np.zeros(0, np.int32),
        grant_code=np.zeros(0, np.int16),
        grant_amount=np.zeros(0, np.int64),
        last_entry=np.full(book_places[-1], NONE, np.int32),
        entry_before=np.zeros(0, np.int32),
        entry_after=np.zeros(0, np.int32),
        entry_day=np.zeros(0, np.int32),
        entry_amount=np.zeros(0, np.int64),
        entry_times=np.zeros(0, np.int32),
        window_from=nobody,
        window_amount=np.zeros(len(nobody), np.int64),
        window_times=np.zeros(len(nobody), np.int32),
    )


def with_room(state: State, grants: int, entries: int) -> State:
    """The same state with room for so many grants and entries more."""
    had, entered = state.used.tolist()
    longer = {}
    for name, column in state._asdict().items():
        need = had + grants if name.startswith("grant_") else entered + entries if name.startswith("entry_") else 0
        if need > len(column):
            more = max(need, len(column) * 3 // 2) - len(column)
            longer[name] = np.concatenate([column, np.zeros(more, column.dtype)])
    return state._replace(**longer)


def _counted(policy: Policy, key: Reading) -> SumReading:
    """What a reading of a case adds up."""
    if len(key) == 3:
        return key
    line = policy.by_id[key[1]]
    if isinstance(line, OwedLine):
        return ("sum", (line.remedy,), OWED if line.on_top else BOTH)
    assert isinstance(line, CeilingLine)
    return ceiling_sum(line)


def _code(bench: Bench, seat: Seat) -> int:
    """Twice the class of the remedy, and one more where it is owed."""
    return 2 * bench.classes.get(str(seat.words["remedy"]), IN_NO_LIST) + (seat.words["basis"] == OWED)


def _starts(lists: Iterable[Sequence[object]]) -> Array:
    """Where each of some lists begins when all stand in one, and where the last ends."""
    return np.array([0, *accumulate(map(len, lists))], np.int32)


def _table(rows: Sequence[Any], kind: type = np.int64, width: int = 0) -> Array:
    """An array; of *width* columns where there is no row to tell."""
    return np.array(rows, kind) if rows else np.zeros((0, width) if width else 0, kind)
