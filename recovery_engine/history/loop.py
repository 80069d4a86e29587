"""The sequential fold over whole numbers: each row in its turn, with the usage that the policy itself would have had.

No rule is known here. A row's numbers fall into bands, the bands are looked up in a tree of cells, and a cell not seen
before is handed back to be ruled on by the real matchers. numba compiles the loop where it is installed; without it the
same loop runs as it stands, some hundred times slower.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy.typing as npt

Array = npt.NDArray[Any]
Whole = Any
"""A whole number out of an array."""

ABSENT = -(2**62)
"""A number that is not on file."""
SUM, NUMBER, LEFT, BUDGET, TIMES = range(5)
"""The kinds of readings: of a case, of the row, what a limit leaves, and the two of a budget."""
NONE = -1
NEVER = 2**62
"""As the following value of a limit: none changes anything."""
_FAR = 2**61
"""Beyond every sum."""


class Rows(NamedTuple):
    """Some rows in order, a column each. Amounts are minor units, days count from the first of the history."""

    seat: Array  # -1: left out, because the policy cannot decide it
    case: Array
    day: Array
    amount: Array
    numbers: Array  # [number, row]
    subjects: Array  # [whose budget, row]


class Plan(NamedTuple):
    """What a policy reads, as tables. ``first_x[i]`` to ``first_x[i + 1]`` are the x of the i-th."""

    first_meter: Array  # by seat
    first_asked: Array
    code: Array  # remedy and basis: twice the class of the remedy, and one more where it is owed
    asked: Array  # numbers that must be there
    meters: Array  # [meter]: kind of reading, and of which tally, number, limit or window
    first_cut: Array
    cuts: Array
    tallies: Array  # [tally, code]: does it add up
    limits: Array  # [limit]: amount, percent, of, half, each, per (-1: none), tally
    windows: Array  # [window]: book, and the place of its first subject
    first_days: Array  # [window, day]
    books: Array  # [book]: whose, and the place of its first subject
    book_counts: Array  # [book, code]
    swept: Array  # [limit that is swept]: kind and of


class Cells(NamedTuple):
    """What was ruled so far: a tree of bands, whose leaves hold a ruling for each variant of the policy."""

    root: Array  # by seat; a node is the place of its first branch
    branch: Array  # the next node, and at last a leaf; -1: not seen yet
    rulings: Array  # [leaf, variant]
    approves: Array  # by ruling


class State(NamedTuple):
    """What was granted so far: of a case its grants by remedy and basis, of a subject its entries by day."""

    used: Array  # how many grants and entries there are
    last_grant: Array  # by case
    grant_before: Array
    grant_code: Array
    grant_amount: Array
    last_entry: Array  # by book and subject
    entry_before: Array
    entry_after: Array
    entry_day: Array
    entry_amount: Array
    entry_times: Array
    window_from: Array  # by window and subject: the first entry that counts, and what counts from there on
    window_amount: Array
    window_times: Array


class Found(NamedTuple):
    """What comes of it."""

    ruling: Array  # by row
    rows: Array  # by ruling
    granted: Array  # by ruling, minor units
    following: Array  # by limit that is swept: the next value of it at which some row is decided otherwise
    values: Array  # the readings of the last row, and their bands
    bands: Array


_Function = TypeVar("_Function", bound=Callable[..., Any])

# Nothing is allocated in the loop; without counting references to the columns it is eight times as fast.
_FAST: dict[str, Any] = {"_nrt": False}


def _called(function: _Function) -> _Function:
    """What the loop may call when it is compiled; where there is no numba, it stays what it is."""
    try:
        from numba.extending import register_jitable
    except ImportError:
        return function
    called: _Function = register_jitable(**_FAST)(function)
    return called


@_called
def _on_case(case: int, tally: int, plan: Plan, state: State) -> int:
    had, grant = 0, state.last_grant[case]
    while grant != NONE:
        if plan.tallies[tally, state.grant_code[grant]]:
            had += state.grant_amount[grant]
        grant = state.grant_before[grant]
    return had


@_called
def _counted(case: int, state: State) -> bool:
    """Whether the case had goodwill before."""
    grant = state.last_grant[case]
    while grant != NONE:
        if state.grant_code[grant] % 2 == 0:
            return True
        grant = state.grant_before[grant]
    return False


@_called
def _left(row: int, limit: int, rows: Rows, plan: Plan, state: State) -> Whole:
    """What a ceiling or an owed line leaves; nothing where what it reads is not on file."""
    amount, percent, of, half, each, per, tally = plan.limits[limit]
    allows = _FAR if amount == NONE else amount
    if of != NONE:
        base = rows.numbers[of, row]
        if base == ABSENT:
            return 0
        # In two parts, so that it stays below 2 ** 63.
        allows = min(allows, percent * (base // 10000) + (percent * (base % 10000) + half) // 10000)
    if per != NONE:
        count = rows.numbers[per, row]
        if count == ABSENT:
            return 0
        if count != 0 and each > _FAR // abs(count):
            allows = min(allows, _FAR if count > 0 else -_FAR)
        else:
            allows = min(allows, each * count)
    return allows - _on_case(rows.case[row], tally, plan, state)


@_called
def _move_window(row: int, window: int, rows: Rows, plan: Plan, state: State) -> Whole:
    """Let the window of the row's subject begin where it does on this day; its place in the state."""
    book = plan.windows[window, 0]
    subject = rows.subjects[plan.books[book, 0], row]
    at, first = plan.windows[window, 1] + subject, plan.first_days[window, rows.day[row]]
    entry = state.window_from[at]
    while entry != NONE and state.entry_day[entry] < first:
        state.window_amount[at] -= state.entry_amount[entry]
        state.window_times[at] -= state.entry_times[entry]
        entry = state.entry_after[entry]
    # Sites in other time zones: the next row may be of an earlier day.
    before = state.last_entry[plan.books[book, 1] + subject] if entry == NONE else state.entry_before[entry]
    while before != NONE and state.entry_day[before] >= first:
        state.window_amount[at] += state.entry_amount[before]
        state.window_times[at] += state.entry_times[before]
        entry, before = before, state.entry_before[before]
    state.window_from[at] = entry
    return at


@_called
def _reading(row: int, kind: int, of: int, rows: Rows, plan: Plan, state: State) -> Whole:
    if kind == NUMBER:
        return rows.numbers[of, row]
    amount = rows.amount[row]
    if amount == 0:  # a grant of zero adds nothing
        return 0
    if kind == SUM:
        return amount + _on_case(rows.case[row], of, plan, state)
    if kind == LEFT:
        return _left(row, of, rows, plan, state) - amount
    at = _move_window(row, of, rows, plan, state)
    if kind == BUDGET:
        return amount + state.window_amount[at]
    return state.window_times[at] + (0 if _counted(rows.case[row], state) else 1)


@_called
def _band(value: int, first: int, end: int, cuts: Array) -> int:
    """How many of the cuts are below the value."""
    low, high = first, end
    while low < high:
        middle = (low + high) // 2
        if cuts[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low - first


@_called
def _enter(row: int, book: int, times: int, rows: Rows, plan: Plan, state: State) -> None:
    """Count a grant in the book of a subject, on its day."""
    subject, day, amount = rows.subjects[plan.books[book, 0], row], rows.day[row], rows.amount[row]
    last = plan.books[book, 1] + subject
    before, after = state.last_entry[last], NONE
    while before != NONE and state.entry_day[before] > day:
        before, after = state.entry_before[before], before
    if before != NONE and state.entry_day[before] == day:
        entry = before
        state.entry_amount[entry] += amount
        state.entry_times[entry] += times
    else:
        entry = state.used[1]
        state.used[1] += 1
        state.entry_day[entry], state.entry_amount[entry], state.entry_times[entry] = day, amount, times
        state.entry_before[entry], state.entry_after[entry] = before, after
        if before != NONE:
            state.entry_after[before] = entry
        if after != NONE:
            state.entry_before[after] = entry
        else:
            state.last_entry[last] = entry
    for window in range(len(plan.windows)):
        if plan.windows[window, 0] == book:
            at = plan.windows[window, 1] + subject
            first = state.window_from[at]
            if first != NONE and day >= state.entry_day[first]:
                state.window_amount[at] += amount
                state.window_times[at] += times


@_called
def _grant(row: int, rows: Rows, plan: Plan, state: State) -> None:
    """Count a grant: for its case, and as goodwill for whoever has a budget."""
    case, code, amount = rows.case[row], plan.code[rows.seat[row]], rows.amount[row]
    if len(plan.books):
        times = 0 if _counted(case, state) else 1
        for book in range(len(plan.books)):
            if plan.book_counts[book, code]:
                _enter(row, book, times, rows, plan, state)
    grant = state.last_grant[case]
    while grant != NONE and state.grant_code[grant] != code:
        grant = state.grant_before[grant]
    if grant != NONE:
        state.grant_amount[grant] += amount
        return
    grant = state.used[0]
    state.used[0] += 1
    state.grant_code[grant], state.grant_amount[grant] = code, amount
    state.grant_before[grant] = state.last_grant[case]
    state.last_grant[case] = grant


@_called
def _leaf(row: int, rows: Rows, plan: Plan, cells: Cells, state: State, found: Found) -> Whole:
    """The cell of a row, or -1 where it is not seen before; its readings and bands are in *found* then."""
    seat, amount = rows.seat[row], rows.amount[row]
    first, end = plan.first_meter[seat], plan.first_meter[seat + 1]
    found.bands[0] = 0 if amount == 0 else 1
    node = cells.branch[cells.root[seat] + found.bands[0]]
    for meter in range(first, end):
        value = _reading(row, plan.meters[meter, 0], plan.meters[meter, 1], rows, plan, state)
        band = 0
        if value != ABSENT:
            band = _band(value, plan.first_cut[meter], plan.first_cut[meter + 1], plan.cuts)
            if plan.meters[meter, 0] == NUMBER:
                band += 1
        found.values[meter - first] = value
        found.bands[meter - first + 1] = band
        if node != NONE:
            node = cells.branch[node + band]
    return node


def run(start: int, limits: Array, rows: Rows, plan: Plan, cells: Cells, state: State, found: Found) -> int:
    """Decide the rows from *start* on. Returns the row whose cell must be ruled on first, or how many rows there are.

    *limits* are the values of the limits that are swept, for which the rulings have a variant each way.
    """
    for row in range(start, len(rows.seat)):
        seat = rows.seat[row]
        for place in range(plan.first_asked[seat], plan.first_asked[seat + 1]) if seat != NONE else range(0):
            if rows.numbers[plan.asked[place], row] == ABSENT:
                seat = NONE
        if seat == NONE:
            found.ruling[row] = 0
            found.rows[0] += 1
            continue
        leaf = _leaf(row, rows, plan, cells, state, found)
        if leaf == NONE:
            return row
        variant = 0
        for swept in range(len(limits)):
            value = _reading(row, plan.swept[swept, 0], plan.swept[swept, 1], rows, plan, state)
            found.values[swept] = value
            if value <= limits[swept]:
                variant += 1 << swept
        ruling = cells.rulings[leaf, variant]
        for swept in range(len(limits)):
            value = found.values[swept]
            if limits[swept] < value < found.following[swept]:
                # The limits before it are swept within each of its values: whatever they say then.
                for before in range(1 << swept):
                    other = (variant >> swept << swept) + before
                    if cells.rulings[leaf, other] != cells.rulings[leaf, other + (1 << swept)]:
                        found.following[swept] = value
        found.ruling[row] = ruling
        found.rows[ruling] += 1
        if cells.approves[ruling]:
            found.granted[ruling] += rows.amount[row]
            if rows.amount[row] > 0:
                _grant(row, rows, plan, state)
    return len(rows.seat)


def number_each(values: Array, keys: Array, places: Array, count: int, found: Array) -> int:
    """Number some values, those not seen before from *count* on. Returns how many there are then.

    *keys* and *places* are a table with open addressing, of a power of two, never more than half full; -1: empty.
    """
    mask = len(keys) - 1
    for row in range(len(values)):
        value = values[row]
        at = value & mask
        while places[at] != NONE and keys[at] != value:
            at = (at + 1) & mask
        if places[at] == NONE:
            keys[at], places[at] = value, count
            count += 1
        found[row] = places[at]
    return count


@lru_cache
def compiled(function: Callable[..., Any]) -> Any:
    """A loop compiled by numba, once and for all where it can keep it; where there is no numba, as it stands."""
    try:
        from numba import njit
    except ImportError:
        return function
    try:
        return njit(cache=True, **_FAST)(function)
    except RuntimeError:  # no folder to keep it in
        return njit(**_FAST)(function)


def compiled_run() -> Any:
    """The loop over the rows, compiled."""
    return compiled(run)
