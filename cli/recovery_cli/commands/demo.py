"""`recovery demo`: real complaints decided by real policies, put into a log, and what another limit would have done."""

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import rich_click as click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recovery_cli.answers import Answered, Kind, Tally, decide_rows
from recovery_cli.columns import Columns
from recovery_cli.commands.diff import answer_in_words
from recovery_cli.documents import document, row_document
from recovery_cli.listing import show_rows
from recovery_cli.options import html_option, json_option
from recovery_cli.pages import page_writer
from recovery_cli.policy_files import named_policy
from recovery_cli.render import STYLES, console, in_words, indented, note_lone_matcher, plain, print_json
from recovery_cli.rows import CSV, JSONL, Row, Rows, open_rows
from recovery_cli.way_up import Scene, scenes
from recovery_engine import (
    Decision,
    Money,
    Outcome,
    Policy,
    RecoveryEngine,
    RecoveryLog,
    diff_policies,
    read_request,
    shipped_policies,
    verify,
)

if TYPE_CHECKING:
    from recovery_engine import AuditRow, BackTest, Change, Report

NOT_REQUEST = ("policy", "story")
LOGGED = "hotel"
SETTLED = Kind("approve", None, None, ())
FIRST_US, MINUTE_US = 1_795_255_200_000_000, 60_000_000  # a Saturday morning in November 2026
BEFORE, AFTER = b'"request":{"amount":2800,', b'"request":{"amount":2300,'


DRAFT = "classic-raised.yaml"


@click.command("demo")
@html_option
@json_option
@click.pass_context
def command(ctx: click.RichContext, html: str | None, as_json: bool) -> None:
    """See real complaints decided by real policies.

    First 402 refunds that customers of an online shop asked for, under the classic limits of 100, 250 and 500; then
    complaints from a hotel and a restaurant, one by one, each with its reason; then the way up, with what the guest is
    told at every step; then the hotel's in a log, which is verified before and after one byte of its file is changed;
    then what would be different if the frontline might give 120. The files are in temporary folders and go with them;
    `--html` keeps the last answer as a page.

    \b
    Examples:
      recovery demo
      recovery demo --html what-if.html
      recovery demo --json
    """
    note_lone_matcher()
    write_page = page_writer(html, "backtest")
    tally = _tally_of("retail_refunds.csv", named_policy("classic"))
    question = _question("retail_refunds.csv", tally)
    answers = list(_complaints("complaints.jsonl"))
    way_up = list(scenes())
    logged = _logged("complaints.jsonl")
    if as_json:
        complaints = [{"story": story} | decision.as_dict() for story, decision in answers]
        print_json(
            {
                "retail": tally.as_dict(),
                "complaints": complaints,
                "way_up": [one._asdict() for one in way_up],
                "log": logged.as_dict(),
                "what_if": question.as_dict(),
            }
        )
        return
    out = console()
    out.print(Text("402 refunds asked of an online shop: frontline 100, supervisor 250, manager 500", "bold"))
    out.print(indented(tally.as_table()))
    out.print()
    out.print(Text("At a hotel and a restaurant", "bold"))
    for story, decision in answers:
        _show(out, story, decision)
    _show_way_up(out, way_up)
    _show_log(out, logged)
    _show_question(out, question)
    if html:
        write_page(_back_tested("retail_refunds.csv"))
    line = "what-if --role frontline --remedy refund --amount 150"
    out.print(f"\nAsk one yourself: {ctx.find_root().obj or 'recovery'} {line}", soft_wrap=True)


def _tally_of(name: str, policy: Policy) -> Tally:
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


@dataclass(frozen=True, slots=True)
class Logged:
    """What stands in a log, and what verifying it said before and after one byte was changed."""

    rows: "tuple[AuditRow, ...]"
    before: "Report"
    after: "Report"

    def as_dict(self) -> dict[str, object]:
        """The log for programs."""
        rows = [row_document(row) for row in self.rows]
        return {"recoveries": rows, "verify": document(self.before), "verify_after_one_byte": document(self.after)}


def _logged(name: str) -> Logged:
    minutes = count()
    with TemporaryDirectory(prefix="recovery-demo-") as folder:
        database = Path(folder) / "demo.db"
        with RecoveryEngine.open(
            database, LOGGED, clock=lambda: FIRST_US + next(minutes) * MINUTE_US, environment={}
        ) as engine:
            for number, cells in enumerate(_cells_of(name, LOGGED), 1):
                ids = {"id": f"hotel-{number}", "employee": f"emp-{number}", "case": f"C-{number}"}
                engine.request(read_request(engine.policy(), cells | ids)[0])
        with RecoveryLog.open(database) as log, closing(log.recoveries()) as found:
            rows = tuple(found)
        return Logged(rows, verify(database), _changed(database))


def _changed(database: Path) -> "Report":
    """What verifying says once one byte of an entry is another."""
    content = database.read_bytes()
    for found in re.finditer(re.escape(BEFORE), content):  # SQLite may leave a stale copy of a page in the file
        database.write_bytes(content[: found.start()] + AFTER + content[found.end() :])
        report = verify(database)
        if not report.clean:
            return report
    raise AssertionError("the entry stands in the file")


def _cells_of(name: str, policy: str) -> Iterator[dict[str, object]]:
    """The requests of one policy."""
    with (_folder() / name).open("rb") as stream:
        for row in open_rows(stream, name, JSONL):
            if row.cells["policy"] == policy:
                yield {name: cell for name, cell in row.cells.items() if name not in NOT_REQUEST}


def _show_log(out: Console, logged: Logged) -> None:
    out.print()
    out.print(Text("The hotel's in a log, where an incomplete request leaves no trace", "bold"))
    show_rows(logged.rows, folded=True)
    out.print(f"verify: {logged.before.entries} entries, {'clean' if logged.before.clean else 'not clean'}")
    out.print("one byte of the file changed: hotel-1 was for 28.00, now it says 23.00")
    first = logged.after.findings[0]
    out.print(Text.assemble("verify: ", (f"{first.kind}, ", "red"), plain(str(first))))


def _show_way_up(out: Console, way_up: list[Scene]) -> None:
    out.print()
    out.print(Text("The way up: answered, declined with an alternative, moved up by silence; promises", "bold"))
    for one in way_up:
        out.print(Text(f"{one.what}: {one.came}"))
        if one.told:
            out.print(Text(f"  “{one.told}”", "dim"))


@dataclass(frozen=True, slots=True)
class Question:
    """What another limit changes: over every request there can be, and for the refunds of the shop."""

    changes: "tuple[Change, ...]"
    now: Tally
    then: Tally

    @property
    def more(self) -> tuple[int, Money]:
        """How many more are settled on the spot, and the money they come to."""
        rows, minor = ([getattr(tally, name)[SETTLED] for tally in (self.now, self.then)] for name in ("rows", "minor"))
        return rows[1] - rows[0], Money(minor[1] - minor[0], self.now.policy.currency)

    def as_dict(self) -> dict[str, object]:
        """The answer for programs."""
        changes = [{"direction": change.direction, "where": list(change.where)} for change in self.changes]
        return {"changes": changes, "more_on_the_spot": self.more[0], "more_money": self.more[1].decimal}


def _question(name: str, now: Tally) -> Question:
    draft = named_policy(str(_folder() / DRAFT))
    return Question(diff_policies(now.policy, draft).changes, now, _tally_of(name, draft))


def _show_question(out: Console, question: Question) -> None:
    out.print()
    out.print(Text("What if the frontline might give 120 in the place of 100?", "bold"))
    for change in question.changes:
        was, will = (answer_in_words(decision) for decision in (change.before, change.after))
        out.print(f"of all requests, only these: {', '.join(change.where)}: {was} → {will}")
    count_, money = question.more
    out.print(f"of the shop's 402, {count_} more ({money}) would be settled on the spot")


def _back_tested(name: str) -> "BackTest":
    from recovery_engine import HistoryFile, backtest

    constants = {"role": "frontline", "remedy": "refund"}
    history = HistoryFile(_folder() / name, {"amount": "amount_usd"}, constants)
    return backtest(named_policy(str(_folder() / DRAFT)), history, named_policy("classic"))


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
