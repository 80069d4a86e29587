"""What was measured, as a table for people and as JSON for machines."""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

UNITS = {"us": 1.0, "ms": 1000.0}


@dataclass(frozen=True)
class Row:
    """One figure, in microseconds; None where there is nothing to measure, and ``remark`` says why.

    ``limit_us`` is the most it should be.
    """

    section: str
    what: str
    us: float | None
    unit: str = "us"
    limit_us: float | None = None
    x_dictionary: float | None = None
    x_decide: float | None = None
    remark: str = ""

    @property
    def verdict(self) -> str:
        """Whether it keeps its limit, where it has one."""
        if self.us is None or self.limit_us is None:
            return ""
        return "kept" if self.us <= self.limit_us else "missed"


def show(rows: Sequence[Row], packages: Iterable[str]) -> None:
    """Print one table, and below it what is to be said about its rows."""
    table = Table(title="recovery-engine beside its peers", title_justify="left", header_style="bold")
    table.add_column("what", no_wrap=True)
    for heading in ("measured", "× dictionary", "× decide()", "limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for at, row in enumerate(rows):
        if at == 0 or rows[at - 1].section != row.section:
            table.add_section()
            table.add_row(Text(row.section, style="bold"))
        colour = {"kept": "green", "missed": "red"}.get(row.verdict, "")
        table.add_row(
            f"  {row.what}",
            _time(row.us, row.unit) if row.us is not None else "–",
            _ratio(row.x_dictionary),
            _ratio(row.x_decide),
            _time(row.limit_us, row.unit) if row.limit_us is not None else "",
            Text(row.verdict, style=colour),
        )
    console = Console(width=None if Console().is_terminal else 120)
    console.print(table)
    for row in rows:
        if row.remark:
            console.print(Text(f"{row.what.strip()}: {row.remark}"), soft_wrap=True)
    console.print(Text(f"\n{machine()}; {', '.join(packages)}"), soft_wrap=True)
    console.print("Times are this machine's and this minute's; the ratios are what to compare.")


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
