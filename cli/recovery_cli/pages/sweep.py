"""A sweep as a page: what one limit does at every value, and where the knee is; of two limits, which pairs are best."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from recovery_cli.pages import charts
from recovery_cli.pages.charts import Mark, Point, Unit, share
from recovery_cli.pages.page import Section, Tile, chart, listed, note, page, sentence, table, tiles
from recovery_cli.render import count
from recovery_engine import InvalidRequest, Money

if TYPE_CHECKING:
    from recovery_engine import Sweep, SweepStep, SweptLimit

_SENT_UP = "Sent up, per business day"
_ROWS_AT_MOST = 60
_ASKED_FOR = "people ask for what they may give: what they would ask for under another limit is in no history"


def sweep_page(found: "Sweep") -> str:
    """The page of a sweep."""
    sections = [*(_curve(found) if len(found.limits) == 1 else _pairs(found)), _cannot_show(found)]
    tried = "every value at which anything changes" if found.complete else f"{count(len(found.steps), 'value')} tried"
    return page(
        "Sweep",
        " and ".join(limit.limit for limit in found.limits),
        _lead(found),
        sections,
        f"{found.draft.name} {found.draft.version}, policy {found.draft.digest}. {count(found.requests, 'request')} of "
        f"{found.source}, {_days(found)}; {tried}.",
    )


def _days(found: "Sweep") -> str:
    return f"{found.days:,} business day{'' if found.days == 1 else 's'}" if found.days else "without days"


# --- figures of a step ---


def _unit(found: "Sweep", limit: "SweptLimit") -> Unit:
    return charts.number if limit.counts_cases else charts.money(found.currency)


def _values(found: "Sweep", step: "SweepStep") -> str:
    return " and ".join(_unit(found, limit)(value) for limit, value in zip(found.limits, step.values, strict=True))


def _sent_up(found: "Sweep", step: "SweepStep") -> float:
    """Per business day, or in all where history has no days."""
    per_day = found.escalations_per_day(step)
    return step.escalated if per_day is None else per_day


def _today(found: "Sweep") -> "int | None":
    """The value of the only limit as it is now, where it has one."""
    limit = found.limits[0]
    try:
        return int(limit.today) if limit.counts_cases else Money.of(limit.today, found.currency).minor
    except (InvalidRequest, ValueError):  # `none`, `same`, `unlimited`
        return None


def _at(found: "Sweep", value: int) -> "SweepStep | None":
    """The step in which a value of the only limit lies."""
    if not found.limits[0].first <= value <= found.limits[0].last:
        return None
    return max((step for step in found.steps if step.values[0] <= value), key=lambda step: step.values, default=None)


# --- the page ---


def _lead(found: "Sweep") -> str:
    first, last = found.steps[0], found.steps[-1]
    said = (
        f"{share(first.on_the_spot_rate)} of {count(found.requests, 'request')} would be settled on the spot at "
        f"{_values(found, first)}, {share(last.on_the_spot_rate)} at {_values(found, last)}."
    )
    if len(found.limits) > 1:
        return f"{said} {count(len(found.frontier), 'pair')} of values: no other settles more for less money."
    if found.knee is None:
        return f"{said} There is no knee: no value stands out."
    knee = found.steps[found.knee]
    rate = share(knee.on_the_spot_rate)
    return f"{said} The knee is at {_values(found, knee)}, with {rate}: beyond it, more of the limit brings less."


def _curve(found: "Sweep") -> Iterator[Section]:
    unit, today = _unit(found, found.limits[0]), _today(found)
    now = None if today is None else _at(found, today)
    knee = None if found.knee is None else found.steps[found.knee]
    marks = [Mark(today, f"today {unit(today)}")] if today is not None and now else []
    marks += [Mark(knee.values[0], f"knee {unit(knee.values[0])}")] if knee else []
    marks.sort()
    measures: list[tuple[str, str, Callable[[SweepStep], float], Unit]] = [
        ("rate", "Settled on the spot", lambda step: step.on_the_spot_rate, share),
        ("sent-up", _SENT_UP if found.days else "Sent up", lambda step: _sent_up(found, step), charts.number),
        ("paid", "Paid without a second look", lambda step: step.paid, charts.money(found.currency)),
    ]
    shown = knee or now
    parts = []
    if shown:
        at = "at the knee" if knee else "today"
        beside = [
            f"today {measure_unit(measure(now))}" if now and knee else "" for _, _, measure, measure_unit in measures
        ]
        parts.append(
            tiles(
                Tile(f"{title}, {at}", measure_unit(measure(shown)), then)
                for (_, title, measure, measure_unit), then in zip(measures, beside, strict=True)
            )
        )
    for name, title, measure, measure_unit in measures:
        points = [(step.values[0], measure(step)) for step in found.steps]
        (low, least), (high, most) = points[0], points[-1]
        said = f"From {measure_unit(least)} at {unit(low)} to {measure_unit(most)} at {unit(high)}."
        if knee:
            said += f" At the knee, {unit(knee.values[0])}: {measure_unit(measure(knee))}."
        points.append((found.limits[0].last, most))
        parts.append(
            chart(title, said, charts.step_curve(name, points, marks, unit, measure_unit), _table(found, found.steps))
        )
    yield Section("At every value", parts)


def _pairs(found: "Sweep") -> Iterator[Section]:
    best = set(found.frontier)
    named = {found.frontier[at] for at in (0, len(found.frontier) // 2, -1)} if found.frontier else set()
    points = [
        Point(step.paid, step.on_the_spot_rate, at in best, _values(found, step) if at in named else "")
        for at, step in enumerate(found.steps)
    ]
    frontier = [found.steps[at] for at in found.frontier]
    said = (
        f"Each dot is a pair of values, {found.limits[0].limit} first. The {count(len(frontier), 'pair')} on the line "
        "settle more on the spot than any other that costs no more."
    )
    units = charts.money(found.currency), share
    drawing = charts.frontier("pairs", points, "paid without a second look", "settled on the spot", *units)
    yield Section(
        "Two limits at once", [chart("What each pair costs and brings", said, drawing, _table(found, frontier))]
    )


def _table(found: "Sweep", steps: "Sequence[SweepStep]") -> Markup:
    heads = [" and ".join(limit.limit for limit in found.limits), "on the spot", "sent up", "denied", "paid"]
    picked = steps[:: -(-len(steps) // _ROWS_AT_MOST) or 1]
    rows = [
        [_values(found, step), share(step.on_the_spot_rate), charts.number(_sent_up(found, step)), f"{step.denied:,}",
         str(Money(step.paid, found.currency))]
        for step in picked
    ]  # fmt: skip
    some = "" if len(picked) == len(steps) else f" ({len(picked)} of {len(steps):,} steps; --json has every one)"
    return table(f"From this value on, until the next{some}", heads, rows, 4)


def _cannot_show(found: "Sweep") -> Section:
    left_out = [f"{count(one.requests, 'request')} left out: {one.reason}" for one in found.left_out]
    said = listed(map(sentence, [*left_out, *found.notes, _ASKED_FOR]))
    return Section("What history cannot show", [note("Before you believe it", said)])
