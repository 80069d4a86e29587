"""`recovery backtest`: history decided again by a draft, and what would have been different."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from rich.text import Text

from recovery_cli.databases import file_option
from recovery_cli.documents import document
from recovery_cli.exits import FINDINGS, FINE
from recovery_cli.files import keep_apart
from recovery_cli.histories import history_options, read_day, source_of, watched
from recovery_cli.options import complete_policy, html_option, json_option
from recovery_cli.pages import page_writer
from recovery_cli.policy_files import named_policy, policy_path
from recovery_cli.render import Figures, console, count, in_words, indented, note_lone_matcher, plain, print_json
from recovery_engine import Money

if TYPE_CHECKING:
    from recovery_engine import Affected, Answered, Answers, BackTest

MOST_SHOWN = 10


@click.command("backtest")
@click.argument("draft", metavar="DRAFT", shell_complete=complete_policy)
@history_options
@click.option(
    "--against",
    metavar="FILE|NAME",
    shell_complete=complete_policy,
    help="A policy that decides the same beside it, in the place of what was decided then.",
)
@click.option("--from", "first_day", callback=read_day, metavar="DAY", help="The first business day.")
@click.option("--until", "last_day", callback=read_day, metavar="DAY", help="The last business day.")
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="Only about so many requests, whole cases.")
@click.option("--seed", default="0", show_default=True, metavar="TEXT", help="The same seed draws the same sample.")
@click.option("--is-a-sample", "is_sample", is_flag=True, help="The history is a sample itself: give intervals.")
@file_option("--changed", help="Write every request that is answered differently: .csv, .jsonl or .parquet.")
@click.option(
    "--fail-on-drop",
    type=click.FloatRange(min=0),
    metavar="POINTS",
    help="Exit 1 where the share settled on the spot falls by more percentage points than this.",
)
@html_option
@json_option
@click.pass_context
def command(
    ctx: click.RichContext,
    /,
    draft: str,
    database: str | None,
    history: str | None,
    mapped: dict[str, str],
    constants: dict[str, str],
    against: str | None,
    changed: str | None,
    fail_on_drop: float | None,
    html: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Decide history again by DRAFT, in the order it happened, and show what would have been different.

    What the draft approves on the spot counts against later requests of the case and against budgets; what it sends up,
    denies or finds incomplete uses up nothing. History is the log, an export of it, or a file that never saw our
    engine. The draft counts as in force all the time, whatever its days.

    \b
    Examples:
      recovery backtest draft.yaml --database shop.db
      recovery backtest draft.yaml --database shop.db --from 2026-10-01 \\
          --against hotel --changed changed.csv
      recovery backtest classic --history refunds.csv --map amount=refund_total \\
          --set role=frontline --set remedy=refund

    Exit codes: 0 done, 1 it falls further than --fail-on-drop, 2 the history or the draft cannot be used.
    """
    source = source_of(ctx, database, history, mapped, constants)
    read: list[str | Path] = [policy_path(draft), *([history] if history else [])]
    keep_apart("--changed", changed, read)
    keep_apart("--html", html, read)
    policy, other = named_policy(draft), named_policy(against) if against else None
    note_lone_matcher()
    write_page = page_writer(html, "backtest")
    report = tested(policy, source, other, changed, options)
    write_page(report)
    if as_json:
        print_json(report_as_json(report))
    elif not html:
        show(report)
    if changed:
        click.echo(f"wrote {count(report.changed, 'request')} to {changed}", err=True)
    drop = fail_on_drop is not None and _drop(report) > fail_on_drop
    ctx.exit(FINDINGS if drop else FINE)


def tested(policy: Any, source: Any, other: Any, changed: str | None, options: dict[str, Any]) -> "BackTest":
    """The back-test, with a bar where somebody watches."""
    from recovery_engine import backtest

    with watched("back-testing") as progress:
        return backtest(policy, source, other, changed=changed, progress=progress, **options)


def _drop(report: "BackTest") -> float:
    """By how many percentage points the share that is settled on the spot falls."""
    if report.before is None:
        return 0.0
    return 100 * (report.before.on_the_spot_rate - report.after.on_the_spot_rate)


# --- JSON -------------------------------------------------------------------------------------------------------------


def report_as_json(report: "BackTest") -> dict[str, Any]:
    found: dict[str, Any] = document(report)
    for name, side in (("before", report.before), ("after", report.after)):
        if side is not None:
            found[name] |= {"on_the_spot_rate": side.on_the_spot_rate, "sent_to": dict(side.sent_to)}
            if report.is_sample:
                found[name]["on_the_spot_interval"] = list(side.on_the_spot_interval)
    for name in ("first_day", "last_day"):
        found[name] = found[name] and found[name].isoformat()
    for change in found["changes"]:
        change["day"] = change["day"] and change["day"].isoformat()
    for around, one in zip(found["bunching"], report.bunching, strict=True):
        around |= {"expected": one.expected, "ratio": one.ratio, "is_clear": one.is_clear, "text": one.text}
    return found


# --- for people -------------------------------------------------------------------------------------------------------


def show(report: "BackTest") -> None:
    """The whole report."""
    out = console()
    for text in _heading(report):
        out.print(text, soft_wrap=True)
    out.print()
    out.print(indented(_sides(report)))
    for one in report.left_out:
        out.print(Text(f"left out: {count(one.requests, 'request')}: {plain(one.reason)}", "yellow"))
    if report.changed:
        _show_changes(report)
    if report.before is not None:
        for name, parts in report.affected.items():
            if any(part.changed for part in parts):
                out.print(Text(f"\nby {name}, the most affected first", "bold"))
                out.print(indented(_affected(name, parts)))
    _show_bunching(report)
    out.print(Text("\nwhat this does not show", "bold"))
    for note in report.notes:
        out.print(indented(Text(f"- {plain(note)}")))


def _heading(report: "BackTest") -> Iterator[Text]:
    days = f", {report.first_day} to {report.last_day}" if report.first_day else ""
    of_all = f" of {report.population:,}" if report.population > report.requests and report.is_sample else ""
    requests = count(report.requests, "request").replace(" ", f"{of_all} ", 1)
    yield Text.assemble((f"{requests} decided again", "bold"), f" by {plain(report.draft.name)} ",
                        f"{plain(report.draft.version)}{days}, from {plain(report.source)}")  # fmt: skip
    if report.before is None:
        yield Text("nothing says what was decided then: name a policy with --against", "yellow")
        return
    than = f"by {plain(report.against.name)} {plain(report.against.version)}" if report.against else "then"
    share = 100 * report.changed / report.requests
    yield Text(f"{report.changed:,} ({share:.1f} %) are answered differently than {than}")


def _sides(report: "BackTest") -> Figures:
    sides = [side for side in (report.before, report.after) if side is not None]
    made = Figures("", *(["before", "after", "change"] if len(sides) == 2 else ["after"]))

    def row(what: str, figures: list[int]) -> None:
        change = [f"{figures[1] - figures[0]:+,}"] if len(figures) == 2 else []
        made.add_row(what, *(f"{figure:,}" for figure in figures), *change)

    row("settled on the spot", [side.on_the_spot for side in sides])
    rates = [_rate(side, report.is_sample) for side in sides]
    points = [f"{100 * (sides[1].on_the_spot_rate - sides[0].on_the_spot_rate):+.1f} points"] if len(sides) == 2 else []
    made.add_row("  that is", *rates, *points)
    for role in dict.fromkeys(role for side in sides for role, _ in side.sent_to):
        row(f"sent up to {in_words(plain(role)) or 'some role'}", [dict(side.sent_to).get(role, 0) for side in sides])
    row("denied", [side.denied for side in sides])
    row("incomplete: proof is missing", [side.incomplete for side in sides])
    paid = [str(side.paid) for side in sides]
    more = Money(sides[-1].paid.minor - sides[0].paid.minor, sides[0].paid.currency)
    difference = [("+" if more.minor > 0 else "") + str(more)] if len(sides) == 2 else []
    made.add_row("paid without a second look", *paid, *difference)
    return made


def _rate(side: "Answers", is_sample: bool) -> str:
    rate = f"{100 * side.on_the_spot_rate:.1f} %"
    if not is_sample:
        return rate
    low, high = side.on_the_spot_interval
    return f"{rate} ({100 * low:.1f} to {100 * high:.1f})"


def _words(answer: "Answered") -> str:
    to = f" to {in_words(plain(answer.to))}" if answer.to else ""
    return f"{answer.outcome}{to}"


def _show_changes(report: "BackTest") -> None:
    out = console()
    out.print(Text("\nwhat changes", "bold"))
    made = Figures("", "requests", "asked for")
    for shift in [shift for shift in report.shifts if shift.before != shift.after][:MOST_SHOWN]:
        made.add_row(f"{_words(shift.before)} → {_words(shift.after)}", f"{shift.requests:,}", str(shift.asked))
    out.print(indented(made))
    out.print(Text("\nthe largest of them", "bold"))
    made = Figures("", "amount", "before", "after")
    for change in report.changes[:MOST_SHOWN]:
        who = " ".join(str(word) for word in (change.day, change.employee or in_words(change.role)) if word)
        made.add_row(
            plain(f"{change.recovery}  {who}"), str(change.amount), _words(change.before), _words(change.after)
        )
    out.print(indented(made))


def _affected(name: str, parts: "tuple[Affected, ...]") -> Figures:
    made = Figures("", "requests", "changed", "on the spot", "before", "paid at once", "before")
    for part in parts[:MOST_SHOWN]:
        if part.changed:
            figures = (part.requests, part.changed, part.on_the_spot, part.on_the_spot_before)
            word = plain(part.word if name == "employee" else in_words(part.word))
            made.add_row(word, *(f"{one:,}" for one in figures), str(part.paid), str(part.paid_before))
    return made


def _show_bunching(report: "BackTest") -> None:
    clear = [one for one in report.bunching if one.is_clear]
    if not clear:
        return
    out = console()
    out.print(Text(f"\npeople keep to the limits of {plain(report.bunching_under.name)}", "bold"))
    for one in clear[:MOST_SHOWN]:
        out.print(indented(Text(plain(one.text))))
