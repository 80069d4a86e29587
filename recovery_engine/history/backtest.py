"""A back-test: history decided again by a draft, in the order it happened, and beside it what was decided then."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from recovery_engine.errors import InvalidRequest
from recovery_engine.history import reports
from recovery_engine.history.bunching import Bunching, bunching, limits_of
from recovery_engine.history.cells import Progress
from recovery_engine.history.opening import History, Source, count_of, history_of
from recovery_engine.history.reports import Affected, Answers, Bin, ChangedRequest, Shift
from recovery_engine.history.table import LeftOut
from recovery_engine.model import PolicyRef
from recovery_engine.policy.reading import ILL_TYPED, problem
from recovery_engine.policy.schema import Policy


@dataclass(frozen=True, slots=True)
class BackTest:
    """What a draft would have said to history. Amounts are Money, shares between 0 and 1.

    ``after`` is what the draft says, ``before`` what history says, or ``against`` where that was given; None where
    nothing says it. ``shifts`` are all pairs of answers with how many requests went from the one to the other;
    ``changes`` the largest that changed. ``affected`` is by `employee`, `site`, `category` and `remedy`. ``bins`` is a
    histogram of the amounts by answer. ``is_sample``: shares of it carry intervals. ``notes`` is what cannot be seen.
    """

    draft: PolicyRef
    against: PolicyRef | None
    source: str
    first_day: date | None
    last_day: date | None
    requests: int
    left_out: tuple[LeftOut, ...]
    after: Answers
    before: Answers | None
    changed: int
    shifts: tuple[Shift, ...]
    changes: tuple[ChangedRequest, ...]
    affected: Mapping[str, tuple[Affected, ...]]
    bins: tuple[Bin, ...]
    bunching: tuple[Bunching, ...]
    bunching_under: PolicyRef
    is_sample: bool
    population: int
    cells: int
    folded: bool
    notes: tuple[str, ...]


def backtest(
    draft: Policy,
    source: Source,
    against: Policy | None = None,
    *,
    first_day: date | None = None,
    last_day: date | None = None,
    sample: int | None = None,
    seed: str | int = 0,
    is_sample: bool = False,
    changed: str | Path | None = None,
    progress: Progress | None = None,
) -> BackTest:
    """Decide history again as *draft* would have, had it been in force all the time, and nothing before.

    What the draft approves on the spot counts against later requests of the case and against budgets; what it sends up,
    denies or finds incomplete uses up nothing. *against*: a policy that decides the same history beside it, in the
    place of what was decided then. *sample*: of so many requests, whole cases drawn by *seed*. *is_sample*: history
    itself is a sample. *changed*: a CSV, JSONL or Parquet file for every request that is answered differently.
    Raises InvalidRequest with every mistake in a file or an option, LogError where there is nothing to read.
    """
    _check_options(first_day, last_day, sample, changed)
    with history_of(draft, source, against, (first_day, last_day), (sample, seed), progress) as history:
        return report_on(history, is_sample, None if changed is None else Path(changed), progress)


def _check_options(first: date | None, last: date | None, sample: int | None, changed: str | Path | None) -> None:
    found = []
    if first and last and last < first:
        found.append(problem(ILL_TYPED, "until", f"{last} is before {first}", "`until` is the last day, included"))
    if sample is not None and sample < 1:
        found.append(problem(ILL_TYPED, "sample", f"a sample of {sample}", "give 1 or more, or leave it out"))
    if changed is not None and Path(changed).suffix.lower() not in (".csv", ".jsonl", ".parquet"):
        found.append(
            problem(ILL_TYPED, "changed", f"`{changed}` says no format", "end it in `.csv`, `.jsonl` or `.parquet`")
        )
    if found:
        raise InvalidRequest(found)


def report_on(
    history: History, is_sample: bool = False, changed: Path | None = None, progress: Progress | None = None
) -> BackTest:
    """What an answered history comes to."""
    steps = iter(range(1, 3))

    def told() -> None:
        if progress is not None:
            progress("adding up", next(steps), 2)

    known_to_them = history.against or history.in_force or history.draft
    limits = limits_of(known_to_them)
    reports.add_up(history, limits)
    told()
    if changed is not None:
        reports.write_changed(history, changed)
    first, last = history.connection.execute("SELECT min(day), max(day) FROM history").fetchone()
    report = BackTest(
        draft=history.draft.ref,
        against=history.against.ref if history.against else None,
        source=history.source,
        first_day=first,
        last_day=last,
        requests=count_of(history.connection),
        left_out=history.left_out,
        after=reports.after(history),
        before=reports.before(history),
        changed=reports.changed(history),
        shifts=reports.shifts(history),
        changes=reports.largest_changes(history),
        affected=reports.affected(history),
        bins=reports.bins(history),
        bunching=bunching(limits, history.draft.currency, reports.by_band(history)),
        bunching_under=known_to_them.ref,
        is_sample=is_sample or history.drawn,
        population=history.population,
        cells=history.cells,
        folded=history.folded,
        notes=(*history.notes, ASKED_FOR),
    )
    told()
    return report


ASKED_FOR = (
    "people ask for what they may give: what they would ask for under other limits is in no history, and the more "
    "requests keep just below a limit, the less a back-test says of another"
)
