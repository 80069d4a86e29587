"""`recovery demo`: real complaints decided by real policies, on one screen or two."""

from collections.abc import Iterator
from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recovery_cli.answers import Answered, Tally, decide_rows
from recovery_cli.columns import Columns
from recovery_cli.options import json_option
from recovery_cli.policy_files import named_policy
from recovery_cli.render import STYLES, console, in_words, indented, note_lone_matcher, plain, print_json
from recovery_cli.rows import CSV, JSONL, Row, Rows, open_rows
from recovery_engine import Decision, Outcome, shipped_policies

NOT_REQUEST = ("policy", "story")


@click.command("demo")
@json_option
@click.pass_context
def command(ctx: click.RichContext, as_json: bool) -> None:
    """See real complaints decided by real policies.

    First 402 refunds that customers of an online shop asked for, under the classic limits of 100, 250 and 500; then
    complaints from a hotel and a restaurant, one by one, each with its reason.

    \b
    Examples:
      recovery demo
      recovery demo --json
    """
    note_lone_matcher()
    tally = _tally_of("retail_refunds.csv")
    answers = list(_complaints("complaints.jsonl"))
    if as_json:
        complaints = [{"story": story} | decision.as_dict() for story, decision in answers]
        print_json({"retail": tally.as_dict(), "complaints": complaints})
        return
    out = console()
    out.print(Text("402 refunds asked of an online shop: frontline 100, supervisor 250, manager 500", "bold"))
    out.print(indented(tally.as_table()))
    out.print()
    out.print(Text("At a hotel and a restaurant", "bold"))
    for story, decision in answers:
        _show(out, story, decision)
    line = "what-if --role frontline --remedy refund --amount 150"
    out.print(f"\nAsk one yourself: {ctx.find_root().obj or 'recovery'} {line}", soft_wrap=True)


def _tally_of(name: str) -> Tally:
    policy = named_policy("classic")
    tally = Tally(policy)
    with (_folder() / name).open("rb") as stream:
        for answered in decide_rows(policy, open_rows(stream, name, CSV), Columns(policy, {}, {"role": "frontline"})):
            tally.add(answered)
    return tally


def _complaints(name: str) -> Iterator[tuple[str, Decision]]:
    with (_folder() / name).open("rb") as stream:
        for row in open_rows(stream, name, JSONL):
            decision = _decided(row).decision
            assert decision is not None, "every complaint of the demonstration can be decided"
            yield row.cells["story"], decision


def _decided(row: Row) -> Answered:
    policy = named_policy(row.cells["policy"])
    request = row._replace(cells={name: cell for name, cell in row.cells.items() if name not in NOT_REQUEST})
    return next(decide_rows(policy, Rows(JSONL, iter([request])), Columns(policy, {}, {})))


def _folder() -> Path:
    return shipped_policies()["classic"].parent / "demo"


def _show(out: Console, story: str, decision: Decision) -> None:
    """What happened, where it goes, and the first line that says so."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=10)
    grid.add_column()
    grid.add_row(Text(str(decision.outcome), STYLES[decision.outcome]), story)
    grid.add_row("", Text.assemble(f"{_what_now(decision)}: ", (_why(decision), "dim")))
    out.print(grid)


def _why(decision: Decision) -> str:
    """The first sentence of the line that decided."""
    return plain(decision.because[0].text.partition(". ")[0])


def _what_now(decision: Decision) -> str:
    role, amount = in_words(decision.request.role), f"{decision.amount} {in_words(decision.request.remedy)}"
    match decision.outcome:
        case Outcome.APPROVE:
            return f"{role} gives {amount}"
        case Outcome.INCOMPLETE:
            return f"{role} asks for {', '.join(decision.needs)}"
        case Outcome.DENY:
            return f"{role} may not give {amount}, nor may anybody"
    to = in_words(decision.to or "")
    return f"{amount} goes to {'another ' if decision.to == decision.request.role else 'the '}{to}"
