"""`recovery log stats`: what recoveries come to."""

from typing import TYPE_CHECKING, Any

import rich_click as click
from rich.text import Text

from recovery_cli.databases import database_option, reading
from recovery_cli.documents import document
from recovery_cli.filtering import asked, filter_options, wanted
from recovery_cli.options import json_option
from recovery_cli.render import Figures, console, count, in_words, indented, plain, print_json

if TYPE_CHECKING:
    from recovery_engine import Stats


@click.command("stats")
@database_option
@filter_options
@json_option
@click.pass_context
def command(ctx: click.RichContext, /, database: str, as_json: bool, **given: Any) -> None:
    """Add up what recoveries come to: by outcome, status, remedy, site and role. What was voided stands apart.

    \b
    Examples:
      recovery log stats --month 2026-11
      recovery log stats --site S001 --remedy voucher --json
    """
    with reading(database) as log:
        filter = wanted(ctx, log, given)
        with asked():
            stats = log.stats(filter)
    if as_json:
        print_json(document(stats) | {"on_the_spot_rate": stats.on_the_spot_rate})
    else:
        _show(stats)


def _show(stats: "Stats") -> None:
    out = console()
    rate = stats.on_the_spot_rate
    spot = "" if rate is None else f", {100 * rate:.1f} % approved on the spot"
    out.print(Text(f"{count(stats.recoveries, 'recovery')}{spot}", "bold"))
    medians = [f"a grant {money}" for money in stats.median_granted]
    medians += [f"{what} {_time(seconds)}" for what, seconds in (("an answer", stats.median_answer_s),
                                                                ("the hand-over", stats.median_fulfil_s))
                if seconds is not None]  # fmt: skip
    if medians:
        out.print(f"medians: {', '.join(medians)}")
    for name, parts in stats.parts.items():
        if not parts:
            continue
        out.print()
        out.print(Text(f"by {name}", "bold"))
        made = Figures("", "recoveries", "asked", "granted", "voided")
        for part in parts:
            voided = str(part.voided) if part.voided.minor else ""
            word = plain(in_words(part.word)) or "none"
            made.add_row(word, f"{part.recoveries:,}", str(part.asked), str(part.granted), voided)
        out.print(indented(made))


def _time(seconds: int) -> str:
    """``45 s``, ``12 min``, ``3 h``, ``2 days``: the largest of which there is a whole one."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds} s"
