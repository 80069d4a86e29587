"""The charts of pages: matplotlib's, as inline SVG whose text is text and whose colours are the page's.

The same figures give the same bytes. Amounts are in minor units of a currency.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from textwrap import wrap
from typing import Any, NamedTuple
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from recovery_cli.pages.page import Drawing
from recovery_cli.render import plain
from recovery_engine import Money

# Each stands for a colour of style.css until the chart is drawn: no chart has a colour of its own.
_COLOURS = ("ink", "soft", "line", "paper", "then", "draft", "mark", "wider", "narrower", "sideways")
INK, SOFT, LINE, PAPER, THEN, DRAFT, MARK, WIDER, NARROWER, SIDEWAYS = (
    f"#0000{number:02x}" for number, _ in enumerate(_COLOURS, 1)
)
DIRECTIONS = {"wider": WIDER, "narrower": NARROWER, "sideways": SIDEWAYS}

_SIZES = {"wide": (7.4, 96), "narrow": (3.4, 42)}
"""The width of a chart in inches, and how many letters fit into it."""
_TEXT, _LINE = 9, 0.165
"""The size of letters in points, and the height of a line in inches."""
_POINTS_AT_MOST = 400
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "recovery",
    "text.parse_math": False,  # $20.00 is not a formula
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, and so measures the same everywhere
    "font.size": _TEXT,
}

Unit = Callable[[float], str]


def share(value: float) -> str:
    """``0.831`` as ``83.1%``."""
    return f"{value:.1%}"


def points(value: float) -> str:
    """A difference of shares: ``0.012`` as ``+1.2 points``."""
    text = f"{100 * value:+.1f} points"
    return text[1:] if float(text.split()[0]) == 0 else text


def number(value: float) -> str:
    """A count, or a rate with one decimal."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def money(currency: str) -> Unit:
    """Minor units as people write them, without cents that are none: ``$75``, ``$18.50``."""
    return lambda minor: re.sub(r"\.0+$", "", str(Money(round(minor), currency)))


class Mark(NamedTuple):
    """A place on the axis of amounts that has a name."""

    at: float
    name: str


class Pair(NamedTuple):
    """A figure as it was and as the draft would have it, with the interval of the latter where it is an estimate."""

    name: str
    then: float
    draft: float
    low: float | None = None
    high: float | None = None


class Estimate(NamedTuple):
    """A figure with its interval."""

    name: str
    value: float
    low: float
    high: float


class Bin(NamedTuple):
    """How many amounts lie from *low* up to below *high*."""

    low: int
    high: int
    holds: int


class Box(NamedTuple):
    """Amounts that belong together, as ranges that include both ends; None where there is no highest."""

    name: str
    ranges: Sequence[tuple[int, int | None]]
    direction: str


class Point(NamedTuple):
    """What two limits together cost and bring; *best* where no other pair is better in both."""

    cost: float
    gain: float
    best: bool
    name: str = ""


def step_curve(
    name: str, points: Sequence[tuple[int, float]], marks: Sequence[Mark], along: Unit, unit: Unit
) -> Drawing:
    """A measure against a limit: it stands still between the amounts at which history changes."""
    shown = _thinned(points)

    def draw(axes: Axes, letters: int) -> None:
        axes.step([at for at, _ in shown], [value for _, value in shown], where="post", color=DRAFT, linewidth=2)
        axes.margins(x=0.02, y=0.12)
        _vertical(axes, marks)
        _scale(axes.xaxis, along, letters, grid=False)
        _scale(axes.yaxis, unit, letters)

    return _drawn(name, draw, lambda _: 2.5 + 0.18 * len(marks))


def histogram(name: str, bins: Sequence[Bin], marks: Sequence[Mark], currency: str) -> Drawing:
    """How many amounts of each size there are, with the limits where they stand."""
    lows, widths = [one.low for one in bins], [one.high - one.low for one in bins]

    def draw(axes: Axes, letters: int) -> None:
        axes.bar(lows, [one.holds for one in bins], widths, align="edge", color=DRAFT, edgecolor=PAPER, linewidth=0.8)
        axes.margins(x=0.01)
        _vertical(axes, marks)
        _scale(axes.xaxis, money(currency), letters, grid=False)
        _scale(axes.yaxis, number, letters)

    return _drawn(name, draw, lambda _: 2.5 + 0.18 * len(marks))


def before_after(name: str, pairs: Sequence[Pair], unit: Unit, then: str, draft: str) -> Drawing:
    """Two bars for each figure, one under the other, each with its value and whose it is at its end."""
    names = [pair.name for pair in pairs]
    most = max((max(pair.then, pair.draft, pair.high or 0) for pair in pairs), default=0) or 1

    def draw(axes: Axes, letters: int) -> None:
        for pair, top in zip(pairs, _rows(axes, names, letters, 0.5), strict=True):
            axes.barh([top + 0.1, top + 0.29], [pair.then, pair.draft], 0.17, color=[THEN, DRAFT])
            if pair.low is not None and pair.high is not None:
                axes.plot([pair.low, pair.high], [top + 0.29] * 2, color=INK, linewidth=1.2)
            _beside(axes, f"{unit(pair.then)} {then}", pair.then, top + 0.1, THEN)
            _beside(axes, f"{unit(pair.draft)} {draft}", max(pair.draft, pair.high or 0), top + 0.29, DRAFT)
        room = (len(unit(most)) + 1 + max(len(then), len(draft))) / letters
        axes.set_xlim(0, most / (0.97 - room))
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)

    return _drawn(name, draw, lambda letters: _height(names, letters, 0.5))


def estimates(name: str, figures: Sequence[Estimate], unit: Unit, beside: Mark) -> Drawing:
    """A dot for each figure on the line of its interval, and what to hold them against."""
    names = [one.name for one in figures]
    low = min([one.low for one in figures] + [beside.at])
    high = max([one.high for one in figures] + [beside.at])

    def draw(axes: Axes, letters: int) -> None:
        for one, top in zip(figures, _rows(axes, names, letters, 0.3), strict=True):
            axes.plot([one.low, one.high], [top + 0.1] * 2, color=DRAFT, linewidth=2)
            axes.plot([one.value], [top + 0.1], "o", color=DRAFT, markersize=6)
            _beside(axes, unit(one.value), one.high, top + 0.1, INK)
        axes.set_xlim(low - (high - low) * 0.03, high + (high - low) * 8 / letters)
        _vertical(axes, [beside])
        _scale(axes.xaxis, unit, letters)

    return _drawn(name, draw, lambda letters: 0.5 + _height(names, letters, 0.3))


def boxes(name: str, found: Sequence[Box], currency: str) -> Drawing:
    """The amounts of each box as bars on one axis: an arrow where there is no end, a dot where it is one amount."""
    names = [box.name for box in found]
    ends = [end for box in found for range_ in box.ranges for end in range_ if end is not None]
    right = max(ends, default=0) * 1.15 or 100

    def draw(axes: Axes, letters: int) -> None:
        for box, top in zip(found, _rows(axes, names, letters, 0.34), strict=True):
            colour, at = DIRECTIONS[box.direction], top + 0.12
            for low, high in box.ranges:
                end, shape = (right, ">") if high is None else (high, "o" if high == low else "")
                axes.plot([low, end], [at, at], color=colour, linewidth=8, solid_capstyle="butt")
                axes.plot([end], [at], shape, color=colour, markersize=11 if high is None else 7, clip_on=False)
        axes.set_xlim(-right * 0.01, right)
        _scale(axes.xaxis, money(currency), letters)

    return _drawn(name, draw, lambda letters: 0.3 + _height(names, letters, 0.34))


def frontier(name: str, points: Sequence[Point], cost: str, gain: str, cost_unit: Unit, gain_unit: Unit) -> Drawing:
    """What every pair of limits costs and brings; those that no other beats are joined, and may have a name."""
    beaten = _apart([one for one in points if not one.best])
    best = sorted(one for one in points if one.best)

    def draw(axes: Axes, letters: int) -> None:
        axes.plot([one.cost for one in beaten], [one.gain for one in beaten], "o", color=THEN, markersize=3.5)
        axes.plot(
            [one.cost for one in best],
            [one.gain for one in best],
            "o-",
            color=DRAFT,
            markersize=6 if len(best) < 30 else 3,
            linewidth=1.5,
        )
        for one in best:
            axes.annotate(
                plain(one.name), (one.cost, one.gain), (0, -8), textcoords="offset points", va="top", color=INK
            )
        axes.margins(x=0.14, y=0.14)
        _scale(axes.xaxis, cost_unit, letters)
        _scale(axes.yaxis, gain_unit, letters)
        axes.set_xlabel(cost, color=SOFT)
        axes.set_title(gain, color=SOFT, loc="left", fontsize=_TEXT)

    return _drawn(name, draw, lambda _: 3.6)


# --- what charts have in common ---


def _beside(axes: Axes, text: str, at: float, height: float, colour: str) -> None:
    """A text to the right of a place."""
    axes.annotate(
        plain(text), (at, height), (5, 0), textcoords="offset points", va="center", color=colour, annotation_clip=False
    )


def _vertical(axes: Axes, marks: Sequence[Mark]) -> None:
    """A line at each mark, named above the chart; each name on a line of its own, as neighbours would overlap."""
    low, high = axes.get_xlim()
    for tier, mark in enumerate(reversed(marks)):
        axes.axvline(mark.at, color=MARK, linewidth=1.3, linestyle=(0, (4, 3)))
        right = (mark.at - low) > 0.5 * (high - low)
        axes.annotate(
            plain(mark.name),
            (mark.at, 1),
            (-4 if right else 4, 4 + 13 * tier),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            ha="right" if right else "left",
            color=MARK,
            annotation_clip=False,
        )


def _scale(axis: Axis, unit: Unit, letters: int, *, grid: bool = True) -> None:
    """Round figures on an axis, as many as there is room for; ``90%`` and not ``90.0%``."""
    axis.set_major_locator(MaxNLocator(8 if letters > 60 else 4, steps=[1, 2, 2.5, 5, 10], integer=unit is number))
    axis.set_major_formatter(FuncFormatter(lambda value, _: re.sub(r"\.0(?=%|$)", "", unit(value))))
    if grid:
        axis.grid(color=LINE, linewidth=0.7)


def _rows(axes: Axes, names: Sequence[str], letters: int, room: float) -> Iterator[float]:
    """The name of each row over its whole width, and where the room below it begins; in inches from the top."""
    axes.set_ylim(_height(names, letters, room), 0)
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)
    top = 0.0
    for name in names:
        lines = _lines(name, letters)
        place = axes.get_yaxis_transform()
        axes.annotate("\n".join(lines), (0, top), xycoords=place, va="top", color=INK, annotation_clip=False)
        top += _LINE * len(lines)
        yield top
        top += room


def _height(names: Sequence[str], letters: int, room: float) -> float:
    """Of all rows, in inches."""
    return sum(_LINE * len(_lines(name, letters)) + room for name in names)


def _lines(name: str, letters: int) -> list[str]:
    return wrap(plain(name), letters, max_lines=2, placeholder=" …")


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Of very many steps the first and last, least and greatest of each stretch that is narrower than a line."""
    if len(points) <= _POINTS_AT_MOST:
        return list(points)
    length = -(-4 * len(points) // _POINTS_AT_MOST)
    kept = []
    for start in range(0, len(points), length):
        stretch = points[start : start + length]
        values = [value for _, value in stretch]
        places = {0, len(stretch) - 1, values.index(min(values)), values.index(max(values))}
        kept += [stretch[at] for at in sorted(places)]
    return kept


def _apart(points: Sequence[Point]) -> list[Point]:
    """Of points that would cover each other, one."""
    wide = max((one.cost for one in points), default=0) or 1
    high = max((one.gain for one in points), default=0) or 1
    return list({(round(80 * one.cost / wide), round(60 * one.gain / high)): one for one in points}.values())


def _drawn(name: str, draw: Callable[[Axes, int], None], height: Callable[[int], float]) -> Drawing:
    return Drawing(
        *(_svg(f"{name}-{size}", draw, width, height(letters), letters) for size, (width, letters) in _SIZES.items())
    )


def _svg(name: str, draw: Callable[[Axes, int], None], width: float, height: float, letters: int) -> Markup:
    with rc_context(_SETTINGS):
        figure = Figure((width, height), layout="constrained", facecolor="none")
        axes = figure.add_subplot(facecolor="none")
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(SOFT)
        axes.tick_params(colors=SOFT, length=3)
        axes.set_axisbelow(True)
        draw(axes, letters)
        written = StringIO()
        unsaid = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(written, format="svg", metadata=unsaid)
    return _inline(written.getvalue(), name)


def _inline(svg: str, name: str) -> Markup:
    """An <svg> for inside a page: only ids that are used, unique on the page; fonts and colours are the page's."""
    root = ElementTree.fromstring(svg)
    for parent in root.iter():
        for child in [child for child in parent if _local(child.tag) in ("metadata", "style")]:
            parent.remove(child)
        parent.tag, parent.tail = _local(parent.tag), None
        parent.text = parent.text if parent.tag == "text" else None
        parent.attrib = {_local(key): value for key, value in parent.attrib.items()}
        if "style" in parent.attrib:
            parent.set("style", _in_page_style(parent.attrib["style"]))
    root.attrib = {"viewBox": root.attrib["viewBox"]}
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', ElementTree.tostring(root, encoding="unicode")))
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)
        for key in ("id", "href", "clip-path"):
            if key in element.attrib:
                element.set(key, re.sub(r"^(url\(#|#|)", rf"\g<1>{name}-", element.attrib[key]))
    return Markup(ElementTree.tostring(root, encoding="unicode", short_empty_elements=False))


def _local(name: str) -> str:
    """A name without its namespace: a page needs none."""
    return name.rpartition("}")[2]


def _in_page_style(style: str) -> str:
    style = re.sub(r"font-family: [^;]*; ?", "", style)
    return re.sub(r"#0000([0-9a-f]{2})", lambda found: f"var(--{_COLOURS[int(found[1], 16) - 1]})", style)
