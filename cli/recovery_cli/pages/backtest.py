"""A back-test as a page: what a draft would have said to history, who is affected, and what history cannot show."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from markupsafe import Markup

from recovery_cli.pages import charts
from recovery_cli.pages.charts import Bin, Mark, Pair, share
from recovery_cli.pages.page import Section, Tile, chart, details, listed, note, page, paragraph, sentence, table, tiles
from recovery_cli.render import count, in_words
from recovery_engine import Money, Outcome

if TYPE_CHECKING:
    from recovery_engine import Affected, Answered, Answers, BackTest

_SPOT = "settled on the spot"
_BARS_AT_MOST = 8
_MARKS_AT_MOST = 4
_GROUPS = {"site": "sites", "category": "categories", "remedy": "remedies", "employee": "employees"}


def backtest_page(found: "BackTest") -> str:
    """The page of a back-test."""
    sections = [_in_short(found), _who_decides(found), _affected(found), _cannot_show(found), _changes(found)]
    return page(
        "Back-test",
        f"{in_words(found.draft.name)}, had it been in force",
        _lead(found),
        [section for section in sections if section.parts],
        f"{found.draft.name} {found.draft.version}, policy {found.draft.digest}. "
        f"{count(found.requests, 'request')} of {found.source}{_days(found)}, in {count(found.cells, 'cell')}; "
        + (
            "case totals and budgets as the draft would have had them."
            if found.folded
            else "no totals of cases or budgets were needed."
        ),
    )


def _beside(found: "BackTest") -> str:
    """Whose answers stand beside the draft's."""
    return in_words(found.against.name) if found.against else "then"


def _days(found: "BackTest") -> str:
    if found.first_day is None or found.last_day is None:
        return ""
    return f" from {found.first_day:%-d %B %Y} to {found.last_day:%-d %B %Y}"


def _lead(found: "BackTest") -> str:
    after, before = found.after, found.before
    spot, paid = f" instead of {share(before.on_the_spot_rate)}" if before else "", ""
    if before:
        less = after.paid < before.paid
        by = Money(abs(after.paid.minor - before.paid.minor), after.paid.currency)
        paid = f", {by} {'less' if less else 'more'}" if after.paid != before.paid else ", as much as before"
    return (
        f"{share(after.on_the_spot_rate)} of {count(after.requests, 'request')}{_days(found)} would have been settled "
        f"on the spot{spot}, and {after.paid} paid without a second look{paid}."
    )


def _in_short(found: "BackTest") -> Section:
    after, before, beside = found.after, found.before, _beside(found)
    interval = after.on_the_spot_interval
    of_sample = f"95 in 100: {share(interval.low)} to {share(interval.high)}" if found.is_sample else ""
    figures = [
        Tile(
            "Settled on the spot",
            share(after.on_the_spot_rate),
            f"{beside} {share(before.on_the_spot_rate)}" if before else "",
        ),
        Tile("Sent up", f"{after.sent_up:,}", f"{beside} {before.sent_up:,}" if before else ""),
        Tile("Paid without a second look", str(after.paid), f"{beside} {before.paid}" if before else ""),
        Tile("Answered differently", f"{found.changed:,}", f"of {count(after.requests, 'request')}"),
    ]
    parts = [tiles(figures)]
    if found.is_sample:
        drawn = f"This is a sample: {count(found.requests, 'request')}"
        parts.append(paragraph(f"{drawn}. Settled on the spot, {of_sample}."))
    if found.left_out:
        left_out = [sentence(f"{count(one.requests, 'request')}: {one.reason}") for one in found.left_out]
        parts.append(note("Left out of everything on this page", listed(left_out)))
    return Section("In short", parts)


def _who_decides(found: "BackTest") -> Section:
    after, before, beside = found.after, found.before, _beside(found)
    now = dict(_counts(after))
    then = dict(_counts(before)) if before else {}
    names = [*now, *(name for name in then if name not in now)]
    low, high = (after.requests * end for end in after.on_the_spot_interval)
    pairs = [Pair(name, then.get(name, 0), now.get(name, 0)) for name in names if then.get(name) or now.get(name)]
    if found.is_sample:
        pairs = [pair._replace(low=low, high=high) if pair.name == _SPOT else pair for pair in pairs]
    if not before:
        behind = table("Answers of the draft", ["answer", "requests", "share"], [
            [name, f"{now[name]:,}", share(now[name] / max(after.requests, 1))] for name in names], 2)  # fmt: skip
        return Section("Who decides", [behind])
    behind = table(
        "Answers, in requests",
        ["answer", beside, f"{beside}, share", "draft", "draft, share"],
        [
            [pair.name, f"{pair.then:,}", share(pair.then / max(before.requests, 1)), f"{pair.draft:,}",
             share(pair.draft / max(after.requests, 1))]
            for pair in pairs
        ],
        4,
    )  # fmt: skip
    largest = max(pairs, key=lambda pair: abs(pair.draft - pair.then))
    said = f"The largest change: {largest.name}, {largest.draft:,.0f} instead of {largest.then:,.0f}."
    drawing = charts.before_after("answers", pairs, charts.number, beside, "draft")
    shifts = [
        [f"{_in_words(one.before)}", _in_words(one.after), f"{one.requests:,}", str(one.asked)]
        for one in found.shifts
        if one.before != one.after
    ]
    parts = [chart("Answers, in requests", said, drawing, behind)]
    if shifts:
        parts.append(table("What became of what", [beside, "draft", "requests", "asked for"], shifts, 2))
    return Section("Who decides", parts)


def _counts(said: "Answers") -> Iterator[tuple[str, int]]:
    yield _SPOT, said.on_the_spot
    for role, requests in said.sent_to:
        yield f"sent to {in_words(role)}" if role else "sent up", requests
    yield "denied", said.denied
    yield "incomplete", said.incomplete


def _in_words(answer: "Answered") -> str:
    words = {Outcome.APPROVE: "on the spot", Outcome.DENY: "denied", Outcome.INCOMPLETE: "incomplete"}
    return words.get(answer.outcome, f"sent to {in_words(answer.to)}" if answer.to else "sent up")


def _affected(found: "BackTest") -> Section:
    parts = []
    for name, plural in _GROUPS.items():
        rows = found.affected.get(name, ())
        behind = _affected_table(name, rows, _beside(found))
        differ = [row for row in rows if row.changed][:_BARS_AT_MOST]
        if not differ or len(rows) == 1 or name == "employee" or not found.before:
            parts += [details(f"By {name}", behind)] if rows else []
            continue
        pairs = [
            Pair(_named(name, row.word), row.on_the_spot_before / row.requests, row.on_the_spot / row.requests)
            for row in differ
        ]
        first = differ[0]
        said = (
            f"Most is answered differently for {_named(name, first.word)}: {first.changed:,} of "
            f"{count(first.requests, 'request')}. The most affected {plural} are first."
        )
        drawing = charts.before_after(name, pairs, share, _beside(found), "draft")
        parts.append(chart(f"Settled on the spot, by {name}", said, drawing, behind))
    return Section("Who is affected", parts)


def _named(name: str, word: str) -> str:
    """A word of a policy as people say it; the name of a site or a person as it is."""
    return in_words(word) if name in ("remedy", "category") else word


def _affected_table(name: str, rows: "tuple[Affected, ...]", beside: str) -> Markup:
    heads = [
        name,
        "requests",
        "changed",
        f"on the spot, {beside}",
        "on the spot, draft",
        f"paid, {beside}",
        "paid, draft",
    ]
    cells = [
        [_named(name, row.word), f"{row.requests:,}", f"{row.changed:,}", share(row.on_the_spot_before / row.requests),
         share(row.on_the_spot / row.requests), str(row.paid_before), str(row.paid)]
        for row in rows
    ]  # fmt: skip
    return table(f"By {name}, most changes first", heads, cells, 6)


def _cannot_show(found: "BackTest") -> Section:
    clear = [one.text for one in found.bunching if one.is_clear]
    warned = clear or ["no limit has clearly more requests just below it than chance explains"]
    parts = [note("Before you believe it", listed(map(sentence, [*found.notes, *warned]))), _amounts(found)]
    if found.bunching:
        heads = ["limit", "of", "requests", "just below", "expected", "just above"]
        rows = [
            [f"{one.limit}", " ".join(filter(None, (in_words(one.role), in_words(one.remedy)))), f"{one.requests:,}",
             f"{one.just_below:,}", f"{one.expected:,.0f}", f"{one.just_above:,}"]
            for one in found.bunching
        ]  # fmt: skip
        parts.append(details("Requests around each limit", table("A tenth of the limit wide", heads, rows, 4)))
    return Section("What history cannot show", parts)


def _amounts(found: "BackTest") -> Markup:
    """What was asked for, in bars; what is above all of them is in the last."""
    currency = found.bins[0].low.currency
    unit, ends = charts.money(currency), [one.high.minor for one in found.bins if one.high]
    bars = [Bin(high - ends[0], high, sum(one.after.values())) for high, one in zip(ends, found.bins, strict=False)]
    above = sum(sum(one.after.values()) for one in found.bins if not one.high)
    limits: dict[int, str] = {}
    for one in sorted(found.bunching, key=lambda one: (not one.is_clear, -one.requests)):
        if one.limit.minor <= ends[-1]:
            limits.setdefault(one.limit.minor, f"{in_words(one.role)} {one.limit}")
    marks = [Mark(at, name) for at, name in sorted([*limits.items()][:_MARKS_AT_MOST])]
    most = max(bars, key=lambda bar: bar.holds)
    said = (
        f"The highest bar is {count(most.holds, 'request')} for more than {unit(most.low)} and up to "
        f"{unit(most.high)}; {above:,} for more than {unit(ends[-1])} are not drawn."
    )
    rows = [[f"over {unit(bar.low)} up to {unit(bar.high)}", f"{bar.holds:,}"] for bar in bars]
    behind = table("Requests by amount", ["amount", "requests"], [*rows, [f"over {unit(ends[-1])}", f"{above:,}"]], 1)
    drawing = charts.histogram("amounts", bars, marks, currency)
    return chart("What was asked for, and the limits", said, drawing, behind)


def _changes(found: "BackTest") -> Section:
    heads = ["recovery", "day", "site", "who", "for", _beside(found), "draft", "amount"]
    rows = [
        [one.recovery, str(one.day or ""), one.site or "", one.employee or in_words(one.role),
         ", ".join(filter(None, (in_words(one.remedy), in_words(one.category or "")))),
         _in_words(one.before), _in_words(one.after), str(one.amount)]
        for one in found.changes
    ]  # fmt: skip
    return Section(
        "The largest that change",
        [table("Requests answered differently, largest first", heads, rows, 1)] if rows else [],
    )
