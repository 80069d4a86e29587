"""What was measured, as a table for people and as JSON for machines."""

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

UNITS = {"us": 1.0, "ms": 1000.0}
PER_SECOND = "/s"


@dataclass(frozen=True)
class Row:
    """One figure, in microseconds; None where there is nothing to measure, and ``remark`` says why.

    ``limit_us`` is the most it should be. With the unit ``/s`` it is shown as how many fit into a second. ``x_raw`` is
    the ratio to the plain driver, of the times or, where more is better, of the rates: at most ``most_x``, or at least
    ``least_x``; its spread is over the passes.
    """

    section: str
    what: str
    us: float | None
    unit: str = "us"
    limit_us: float | None = None
    x_dictionary: float | None = None
    x_decide: float | None = None
    x_raw: float | None = None
    x_raw_spread: tuple[float, float] | None = None
    most_x: float | None = None
    least_x: float | None = None
    remark: str = ""

    @property
    def verdict(self) -> str:
        """Whether it keeps its limit, where it has one."""
        if self.us is not None and self.limit_us is not None:
            return "kept" if self.us <= self.limit_us else "missed"
        if self.x_raw is not None and self.most_x is not None:
            return "kept" if self.x_raw <= self.most_x else "missed"
        if self.x_raw is not None and self.least_x is not None:
            return "kept" if self.x_raw >= self.least_x else "missed"
        return ""

    @property
    def limit(self) -> str:
        """What it should keep, in its own unit or as a ratio."""
        if self.limit_us is not None:
            return f"≤ {_figure(self.limit_us, self.unit)}"
        if self.most_x is not None:
            return f"≤ {_ratio(self.most_x)}"
        return f"≥ {_ratio(self.least_x)}" if self.least_x is not None else ""


Column = tuple[str, Callable[[Row], str]]

_MEASURED: Column = ("measured", lambda row: "–" if row.us is None else _figure(row.us, row.unit))
_LIMIT: Column = ("limit", lambda row: row.limit)
_BESIDE_PEERS: Sequence[Column] = (
    _MEASURED,
    ("× dictionary", lambda row: _ratio(row.x_dictionary)),
    ("× decide()", lambda row: _ratio(row.x_decide)),
    _LIMIT,
)
_BESIDE_DRIVERS: Sequence[Column] = (
    _MEASURED,
    ("× raw", lambda row: _ratio(row.x_raw)),
    ("of all passes", lambda row: " to ".join(map(_ratio, row.x_raw_spread or ()))),
    _LIMIT,
)


def show(rows: Sequence[Row], of_the_log: Sequence[Row], packages: Iterable[str]) -> None:
    """Print a table of decisions and one of the log, and below them what is to be said about their rows."""
    console = Console(width=None if Console().is_terminal else 150)
    console.print(_table("recovery-engine beside its peers", rows, _BESIDE_PEERS))
    _remarks(console, rows)
    console.print(_table("\nthe recovery log beside plain drivers", of_the_log, _BESIDE_DRIVERS))
    _remarks(console, of_the_log)
    console.print(Text(f"\n{machine()}; {', '.join(packages)}"), soft_wrap=True)
    console.print("Times are this machine's and this minute's; the ratios are what to compare.")


def _table(title: str, rows: Sequence[Row], columns: Sequence[Column]) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("what", no_wrap=True)
    for heading, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for at, row in enumerate(rows):
        if at == 0 or rows[at - 1].section != row.section:
            table.add_section()
            table.add_row(Text(row.section, style="bold"))
        colour = {"kept": "green", "missed": "red"}.get(row.verdict, "")
        cells = [shown(row) for _, shown in columns]
        table.add_row(f"  {row.what}", *cells, Text(row.verdict, style=colour))
    return table


def _remarks(console: Console, rows: Sequence[Row]) -> None:
    for row in rows:
        if row.remark:
            console.print(Text(f"{row.what.strip()}: {row.remark}"), soft_wrap=True)


def _figure(us: float, unit: str) -> str:
    return f"{1_000_000 / us:,.0f} /s" if unit == PER_SECOND else _time(us, unit)


def _time(us: float, unit: str) -> str:
    value = us / UNITS[unit]
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {'µs' if unit == 'us' else unit}"


def _ratio(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:,.0f} ×" if ratio >= 100 else f"{ratio:.1f} ×" if ratio >= 1 else f"{ratio:.2f} ×"


def machine() -> str:
    """Where it was measured, without naming the machine."""
    return (
        f"{os.cpu_count()} cores, {platform.system()}, {platform.python_implementation()} {platform.python_version()}"
    )


def as_json(rows: Sequence[Row], packages: Iterable[str]) -> dict[str, object]:
    """The same for a file."""
    return {
        "machine": machine(),
        "packages": list(packages),
        "rows": [{**asdict(row), "verdict": row.verdict} for row in rows],
    }
