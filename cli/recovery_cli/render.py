"""What people see: consoles that know when not to colour, problems with their places, a decision on one screen."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import rich_click as click
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from recovery_engine import Decision, Diagnostic, Money, Outcome, Reason, matcher_in_service

STYLES = {
    Outcome.APPROVE: "bold green",
    Outcome.ESCALATE: "bold yellow",
    Outcome.DENY: "bold red",
    Outcome.INCOMPLETE: "bold cyan",
}
LEVELS = {"error": "red", "warning": "yellow", "note": "cyan"}


def console(*, to_stderr: bool = False) -> Console:
    """A console that colours only a terminal, and not where NO_COLOR is set."""
    colours = None if "NO_COLOR" in os.environ else "auto"
    return Console(
        file=sys.stderr if to_stderr else sys.stdout,
        color_system=colours,  # type: ignore[arg-type]
        markup=False,
        emoji=False,
        highlight=False,
    )


def plain(text: str) -> str:
    """The text with every invisible or control character shown as its number, so that input cannot steer a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


def in_words(name: str) -> str:
    """A role or remedy as people say it."""
    return name.replace("_", " ")


def near(where: str) -> str:
    """``file:line`` with the file named from the current folder, where it lies inside it."""
    try:
        return os.fspath(Path(where).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return where


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def note_lone_matcher() -> None:
    """Say on stderr that only one matcher decides, where that is so."""
    if matcher_in_service()[0] != "both":
        click.echo("note: the reference matcher decides alone; `recovery doctor` says why", err=True)


# --- problems ---


def diagnostics_as_json(diagnostics: Iterable[Diagnostic]) -> list[dict[str, object]]:
    """Problems, ready for JSON."""
    names = ("code", "level", "where", "line", "column", "message", "help")
    return [{name: getattr(found, name) for name in names} for found in diagnostics]


def diagnostic_text(found: Diagnostic) -> Text:
    """The place, the problem, the text with a caret under it, and the cure."""
    text = Text()
    text.append(f"{plain(near(found.where))}: ", "bold")
    text.append(f"{found.level} ", LEVELS[found.level])
    text.append(f"{found.code} {plain(found.message)}")
    if found.excerpt:
        text.append("\n" + plain(found.excerpt), "cyan")
        text.append(f" {plain(found.help)}" if found.help else "")
    elif found.help:
        text.append(f" ({plain(found.help)})")
    return text


def show_diagnostics(diagnostics: Iterable[Diagnostic], *, to_stderr: bool = False) -> None:
    """Every problem, each as wide as it is: an excerpt must not be folded away from its caret."""
    out = console(to_stderr=to_stderr)
    for found in diagnostics:
        out.print(diagnostic_text(found), soft_wrap=True)


def count(number: int, noun: str) -> str:
    """``1 error``, ``2 errors``."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"


# --- a decision ---


def show_decision(decision: Decision) -> None:
    """The whole answer for the employee, on one screen."""
    out = console()
    out.print(_headline(decision))
    out.print(Text(plain(decision.tell_employee)))
    out.print()
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, content in _rows(decision):
        grid.add_row(label, content)
    out.print(grid)


def answer_in_words(decision: Decision) -> str:
    """``approve``, ``escalate to supervisor, and a second person: manager``."""
    to = f" to {in_words(decision.to)}" if decision.to else ""
    second = f", and a second person: {in_words(decision.second)}" if decision.second else ""
    return f"{decision.outcome}{to}{second}"


def _headline(decision: Decision) -> Text:
    request = decision.request
    text = Text()
    text.append(answer_in_words(decision).upper(), STYLES[decision.outcome])
    basis = " owed" if request.basis == "owed" else ""
    text.append(f"  {decision.amount} {in_words(plain(request.remedy))}{basis}, asked by {in_words(request.role)}")
    text.append(f"  [{decision.policy.name} {decision.policy.version}]", "dim")
    return text


def _rows(decision: Decision) -> Iterable[tuple[str, RenderableType]]:
    for at, reason in enumerate(decision.because):
        yield "because" if at == 0 else "", _reason(reason)
    if decision.needs:
        yield "needs", ", ".join(in_words(item) for item in decision.needs)
    yield "who may", _rungs(decision)
    for at, flip in enumerate(decision.flip):
        yield "you could if" if at == 0 else "", f"{in_words(flip.name)}  {plain(flip.change)}"
    if decision.due is not None:
        yield "still owed", str(decision.due)
    yield "you can give", _most(decision.grantable_now) + f" of {in_words(plain(decision.request.remedy))} at once"
    others = [f"{in_words(other.remedy)} {up_to(other.up_to)}" for other in decision.alternatives]
    if others:
        yield "or instead", ", ".join(others)
    yield "say", f"“{plain(decision.tell_customer)}”"


def _most(money: Money | None) -> str:
    if money is None:
        return "any amount"
    return f"up to {money}" if money.minor else "nothing"


def amount_of(amount: Money, remedy: str) -> str:
    """``$18.50 refund``, or the remedy alone where it costs nothing."""
    return f"{amount} {in_words(remedy)}" if amount.minor else in_words(remedy)


def up_to(money: Money | None) -> str:
    """The most that can be given of something, after its name."""
    return "without limit" if money is None else f"up to {money}" if money.minor else "at no cost"


def _reason(reason: Reason) -> Text:
    return Text.assemble(plain(reason.text), " ", (f"({reason.line}, {near(reason.where)})", "dim"))


def _rungs(decision: Decision) -> Table:
    table = Table.grid(padding=(0, 2))
    for rung in decision.rungs:
        asked = " (you)" if rung.role == decision.request.role else ""
        may = Text("may", "green") if rung.may else Text("stopped by " + ", ".join(rung.stopped_by), "red")
        table.add_row(f"{in_words(rung.role)}{asked}", may)
    return table


# --- tables ---


LABELS_NEED = 12


class Figures:
    """A table of labels and figures. No figure is ever cut: labels fold, and where even that is not enough the figures
    of a row stand one below the other."""

    def __init__(self, *columns: str) -> None:
        self.columns = columns
        self.rows: list[tuple[tuple[str, ...], str]] = []

    def add_row(self, *cells: str, style: str = "") -> None:
        """A label and its figures."""
        self.rows.append((cells, style))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        named = [self.columns, *(cells for cells, _ in self.rows)]
        label, *figures = (max(map(cell_len, column)) for column in zip(*named, strict=True))
        room = options.max_width - sum(figures) - len(self.columns)
        yield self._side_by_side() if room >= min(label, LABELS_NEED) else self._below_each_other()

    def _side_by_side(self) -> Table:
        made = Table(header_style="bold", box=None, pad_edge=False)
        for number, name in enumerate(self.columns):
            made.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=number > 0)
        for cells, style in self.rows:
            made.add_row(*cells, style=style)
        return made

    def _below_each_other(self) -> Table:
        made = Table.grid(padding=(0, 2, 0, 0))
        made.add_column(overflow="fold")
        made.add_column(justify="right", no_wrap=True)
        for (label, *figures), style in self.rows:
            made.add_row(Text(label, "bold"), style=style)
            for name, figure in zip(self.columns[1:], figures, strict=True):
                if figure:
                    made.add_row(f"  {name}", figure, style=style)
        return made


def indented(content: RenderableType) -> Padding:
    """A part of something named above it."""
    return Padding(content, (0, 0, 0, 2))


def print_indented(out: Console, line: str) -> None:
    """A line of plain text; where a terminal is too narrow for it, what follows is indented as it is."""
    text = line.lstrip(" ")
    if out.is_terminal:
        out.print(Padding(Text(plain(text)), (0, 0, 0, len(line) - len(text))))
    else:
        out.print(plain(line), soft_wrap=True)
