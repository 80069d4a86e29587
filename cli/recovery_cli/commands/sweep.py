"""`recovery sweep`: what history would have looked like at every value of one limit, or of two."""

import csv
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from rich.bar import Bar
from rich.table import Table
from rich.text import Text

from recovery_cli.databases import file_option
from recovery_cli.documents import document
from recovery_cli.exits import FINE
from recovery_cli.files import keep_apart, write_text
from recovery_cli.histories import history_options, read_day, source_of, watched
from recovery_cli.options import html_option, json_option, policy_option
from recovery_cli.pages import page_writer
from recovery_cli.policy_files import named_policy, policy_path
from recovery_cli.render import console, count, indented, note_lone_matcher, plain, print_json
from recovery_engine import Money, SweepRange

if TYPE_CHECKING:
    from recovery_engine import Sweep, SweepStep

MOST_SHOWN = 16
BAR_WIDTH = 20


@click.command("sweep")
@click.argument("limit", metavar="LINE/ROW/ROLE")
@click.option("--from", "first", required=True, metavar="AMOUNT", help="The first value, such as `50`.")
@click.option("--to", "last", required=True, metavar="AMOUNT", help="The last value, included.")
@click.option("--and", "other", metavar="LINE/ROW/ROLE", help="A second limit, swept together with the first.")
@click.option("--and-from", "other_first", metavar="AMOUNT", help="Its first value.")
@click.option("--and-to", "other_last", metavar="AMOUNT", help="Its last value, included.")
@policy_option
@history_options
@click.option("--since", "first_day", callback=read_day, metavar="DAY", help="The first business day.")
@click.option("--until", "last_day", callback=read_day, metavar="DAY", help="The last business day.")
@click.option("--steps", type=click.IntRange(min=2), metavar="N", help="Try only N values of each, evenly apart.")
@file_option("--csv", "csv_file", help="Write every step to a CSV file, `-` for stdout.")
@html_option
@json_option
@click.pass_context
def command(
    ctx: click.RichContext,
    /,
    limit: str,
    first: str,
    last: str,
    other: str | None,
    other_first: str | None,
    other_last: str | None,
    policy_name: str,
    database: str | None,
    history: str | None,
    mapped: dict[str, str],
    constants: dict[str, str],
    csv_file: str | None,
    html: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Show what history would have looked like at every value of one limit: settled on the spot, sent up, paid.

    LINE/ROW/ROLE is a cell of an authority line, such as standard/total/associate; LINE/amount is that of a ceiling or
    budget, LINE/times the number of cases of a budget. Every amount at which history changes is a step, and nothing
    changes between two. The knee is the step farthest above the straight line from the first to the last.

    \b
    Examples:
      recovery sweep standard/total/frontline --from 50 --to 300 \\
          --policy classic --database shop.db
      recovery sweep employee-day/amount --from 100 --to 500 --policy hotel \\
          --history refunds.csv --csv steps.csv
      recovery sweep standard/total/frontline --from 50 --to 300 \\
          --and standard/total/manager --and-from 100 --and-to 900 \\
          --steps 12 --database shop.db

    Exit codes: 0 done, 2 the history, the policy or the limit cannot be used.
    """
    source = source_of(ctx, database, history, mapped, constants)
    read: list[str | Path] = [policy_path(policy_name), *([history] if history else [])]
    keep_apart("--csv", csv_file, read)
    keep_apart("--html", html, read)
    ranges = [SweepRange(limit, first, last)]
    if other is not None and other_first is not None and other_last is not None:
        ranges.append(SweepRange(other, other_first, other_last))
    elif (other, other_first, other_last) != (None, None, None):
        raise click.UsageError("--and, --and-from and --and-to go together", ctx)
    policy = named_policy(policy_name)
    note_lone_matcher()
    write_page = page_writer(html, "sweep")
    found = swept(policy, source, ranges, options)
    if csv_file:
        write_text(csv_file, _as_csv(found))
    write_page(found)
    if as_json:
        print_json(_as_json(found))
    elif csv_file != "-" and not html:
        show(found)
    ctx.exit(FINE)


def swept(policy: Any, source: Any, ranges: list[SweepRange], options: dict[str, Any]) -> "Sweep":
    """The sweep, with a bar where somebody watches."""
    from recovery_engine import sweep

    with watched("sweeping") as progress:
        return sweep(policy, source, *ranges, progress=progress, **options)


# --- for programs -----------------------------------------------------------------------------------------------------


def _as_json(found: "Sweep") -> dict[str, Any]:
    written: dict[str, Any] = document(found)
    for name in ("first_day", "last_day"):
        written[name] = written[name] and written[name].isoformat()
    for limit, one in zip(written["limits"], found.limits, strict=True):
        for name in ("first", "last"):
            limit[name] = _value(found, one.counts_cases, getattr(one, name))
    written["steps"] = list(_rows(found))
    return written


def _as_csv(found: "Sweep") -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*[one.limit for one in found.limits], *_FIGURES])
    for row in _rows(found):
        writer.writerow([*row["values"], *[row[name] for name in _FIGURES]])
    return text.getvalue()


_FIGURES = (
    *("approved", "escalated", "denied", "incomplete", "paid", "on_the_spot_rate", "escalations_per_day"),
    *("knee", "frontier"),
)


def _rows(found: "Sweep") -> Iterator[dict[str, Any]]:
    best = set(found.frontier)
    for at, step in enumerate(found.steps):
        values = zip(found.limits, step.values, strict=True)
        yield {
            **step._asdict(),
            "values": [_value(found, limit.counts_cases, value) for limit, value in values],
            "paid": Money(step.paid, found.currency).decimal,
            "on_the_spot_rate": step.on_the_spot_rate,
            "escalations_per_day": found.escalations_per_day(step),
            "knee": at == found.knee,
            "frontier": at in best,
        }


def _value(found: "Sweep", counts_cases: bool, value: int) -> str | int:
    return value if counts_cases else Money(value, found.currency).decimal


# --- for people -------------------------------------------------------------------------------------------------------


def show(found: "Sweep") -> None:
    """The curve, or of two limits the frontier, as a table with bars."""
    out = console()
    days = f", {found.first_day} to {found.last_day}" if found.first_day else ""
    swept_over = " and ".join(f"{plain(one.limit)} (now {one.today})" for one in found.limits)
    decided = (f"{count(found.requests, 'request')} decided again", "bold")
    out.print(Text.assemble(decided, f" with {swept_over}{days}, from {plain(found.source)}"), soft_wrap=True)
    two = len(found.limits) == 2
    places = list(found.frontier if two else range(len(found.steps)))
    if two:
        out.print(
            f"{count(len(found.steps), 'step')}; no other value gives more on the spot for less money than these:"
        )
    elif found.complete:
        out.print(f"history changes at {count(len(found.steps) - 1, 'value')}, and nowhere between them")
    if not found.complete:
        out.print(Text("only these values were tried: what changes between them is not known", "yellow"))
    shown = _some(places, found.knee)
    out.print()
    out.print(indented(_table(found, shown)))
    if len(shown) < len(places):
        out.print(f"\n{len(shown)} of {len(places)} are shown: --csv or --json gives them all")
    if found.knee is not None:
        values = _words(found, found.steps[found.knee])
        out.print(Text(f"\nknee at {values}: beyond it, each further step brings less than the whole way does", "bold"))
    elif not two:
        out.print("\nno knee: no step lies above the straight line from the first to the last")
    for one in found.left_out:
        out.print(Text(f"left out: {count(one.requests, 'request')}: {plain(one.reason)}", "yellow"))
    for note in found.notes:
        out.print(indented(Text(f"- {plain(note)}")))


def _some(places: list[int], knee: int | None) -> list[int]:
    """At most so many of them: the first, the last and the knee, and the others evenly between."""
    if len(places) <= MOST_SHOWN:
        return places
    some = {places[(len(places) - 1) * at // (MOST_SHOWN - 2)] for at in range(MOST_SHOWN - 1)}
    return sorted(some | ({knee} if knee is not None else set()), key=places.index)


def _words(found: "Sweep", step: "SweepStep") -> str:
    values = zip(found.limits, step.values, strict=True)
    return " and ".join(str(_value(found, limit.counts_cases, value)) for limit, value in values)


def _table(found: "Sweep", places: list[int]) -> Table:
    made = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("from", "on the spot", "", "sent up a day", "paid at once", ""):
        made.add_column(heading, justify="left" if heading == "" else "right", no_wrap=heading != "from")
    for place in places:
        step = found.steps[place]
        daily = found.escalations_per_day(step)
        made.add_row(
            _words(found, step),
            f"{100 * step.on_the_spot_rate:.1f} %",
            Bar(1, 0, step.on_the_spot_rate, width=BAR_WIDTH),
            "" if daily is None else f"{daily:,.1f}",
            str(Money(step.paid, found.currency)),
            Text("knee" if place == found.knee else "", "bold"),
        )
    return made
