"""`recovery decide`: a stream of requests in, the same rows with their answers out, and what they come to."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import rich_click as click
from rich.console import Console

from recovery_cli.answers import ANSWER, Answered, Tally, answer, decide_rows, placed
from recovery_cli.columns import Columns
from recovery_cli.exits import FINDINGS, FINE, INTERRUPTED, CannotWrite, Unusable
from recovery_cli.files import STANDARD_STREAM, WholeLines, keep_apart, on_a_terminal, opened, shown_name
from recovery_cli.interrupts import BetweenRows
from recovery_cli.options import assignment_option, given_words, json_option, policy_option, request_words
from recovery_cli.policy_files import named_policy, policy_path
from recovery_cli.render import console, count, diagnostic_text, note_lone_matcher, plain, print_json
from recovery_cli.rows import CSV, EXTENSIONS, JSONL, UTF_8, Rows, csv_line, json_line, open_rows

MOST_NAMED = 50
FORMATS = click.Choice([CSV, JSONL])


@click.command("decide")
@click.argument("file", default=STANDARD_STREAM, metavar="[FILE|-]", type=click.Path(allow_dash=True))
@policy_option
@request_words
@assignment_option("--map", "mapped", "FIELD=COLUMN", "Read that column; `FIELD=` reads none.")
@assignment_option("--set", "constants", "FIELD=VALUE", "The same for every row; wins over columns.")
@click.option("--format", "format_", type=FORMATS, help="Of the input; otherwise by its name or first line.")
@click.option("--to", "to_format", type=FORMATS, help="Of the output; otherwise as the input.")
@click.option("--output", default=STANDARD_STREAM, metavar="FILE", help="Where the rows go; otherwise stdout.")
@click.option("--summary-only", is_flag=True, help="Write no rows; the summary goes to stdout.")
@click.option(
    "--max-problems",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    metavar="N",
    help="How many bad rows to show.",
)
@click.option("--decimal-comma", is_flag=True, help="Amounts in a CSV file are written `1.234,50`.")
@click.option("--encoding", default=UTF_8, show_default=True, metavar="NAME", help="Of the input, such as `cp1252`.")
@json_option
@click.pass_context
def command(
    ctx: click.RichContext,
    /,
    file: str,
    policy_name: str,
    mapped: dict[str, str],
    constants: dict[str, str],
    format_: str | None,
    to_format: str | None,
    output: str,
    summary_only: bool,
    max_problems: int,
    decimal_comma: bool,
    encoding: str,
    as_json: bool,
    **words: str | None,
) -> None:
    """Decide every request in a CSV or JSONL file, or from stdin.

    Columns are read by their names; those that name no part of a request are passed through. Each row is decided on
    its own, unless it brings `on_case`, `owed_on_case` or `used` (as JSON). A row with problems is reported, written
    with the outcome `invalid`, and does not stop the run. Rows go to stdout; notes and the summary to stderr.

    \b
    Examples:
      recovery decide refunds.csv --role frontline > decided.csv
      recovery decide refunds.csv --role frontline --map amount=refund_total
      recovery decide requests.jsonl --policy hotel --to csv --output out.csv
      recovery decide export.csv --role frontline --decimal-comma --encoding cp1252
      zcat year.csv.gz | recovery decide --role agent --summary-only --json

    Exit codes: 0 all decided, 1 some rows are invalid, 2 the input cannot be used, 130 stopped by Ctrl-C.
    A file is written as FILE.<number>.partial and gets its name when it is complete.
    """
    if summary_only and output != STANDARD_STREAM:
        raise click.UsageError("--summary-only writes no rows, and --output says where they go: give one of them", ctx)
    keep_apart("--output", output, [file, policy_path(policy_name)])
    policy = named_policy(policy_name)
    note_lone_matcher()
    columns = Columns(policy, mapped, constants | given_words(words), decimal_comma=decimal_comma)
    run = Run(file, columns, Tally(policy), max_problems)
    if file == STANDARD_STREAM and on_a_terminal("stdin"):
        run.note("reading requests from this terminal until Ctrl-D; to read a file, name it")
    with opened(file) as stream:
        shows = on_a_terminal("stderr") and (summary_only or output != STANDARD_STREAM or not on_a_terminal("stdout"))
        with _progress(stream, run.err, shows) as seen:
            named = format_ or EXTENSIONS.get(Path(file).suffix.lower())
            rows = open_rows(stream, shown_name(file), named, seen, encoding)
            if decimal_comma and rows.format != CSV:
                raise Unusable("--decimal-comma is for CSV", "JSON writes 120.50, as a number or as text")
            if rows.columns is not None:
                columns.refuse_if_missing(rows.columns)
                run.note_columns(rows.columns)
            stopped = _decide_all(run, rows, None if summary_only else output, to_format or rows.format)
    run.note_the_rest()
    rows_on_stdout = output == STANDARD_STREAM and not summary_only
    _summarise(run.tally, as_json, to_stderr=rows_on_stdout or not (as_json or summary_only))
    ctx.exit(INTERRUPTED if stopped else FINDINGS if run.tally.invalid else FINE)


@dataclass
class Run:
    """What a run has seen so far, and what it says about it on stderr."""

    file: str
    columns: Columns
    tally: Tally
    max_problems: int
    unread: dict[str, str] = field(default_factory=dict)
    noted_alone: bool = False
    noted_names: set[tuple[str, str]] = field(default_factory=set)
    err: Console = field(default_factory=lambda: console(to_stderr=True))

    def saw(self, answered: Answered) -> None:
        """Count a row, and report what is wrong with it."""
        self.tally.add(answered)
        if answered.problems and self.tally.invalid <= self.max_problems:
            for found in placed(answered, shown_name(self.file)):
                self.err.print(diagnostic_text(found), soft_wrap=True)

    def note(self, text: str) -> None:
        """A remark on stderr."""
        self.err.print(f"note: {plain(text)}", soft_wrap=True)

    def note_columns(self, columns: tuple[str, ...]) -> None:
        """Say which columns are read under another name, and which are not read."""
        self.note_renamed(columns)
        for column in columns:
            if (constant := self.columns.constants.get(column)) is not None:
                self.note(f"the column `{column}` is not read: {column} is `{constant}` everywhere")
            elif column in ANSWER:
                self.note(f"the column `{column}` is passed through as `input_{column}`")
        self.see_unread(columns)
        self.note_unread()
        self.note_alone(columns)

    def note_alone(self, columns: tuple[str, ...]) -> None:
        """Say once that rows do not count for each other, where somebody may think so."""
        if not self.noted_alone and self.columns.leave_others_out(columns):
            self.noted_alone = True
            self.note(
                "each row is decided on its own: what other rows of the same case, customer or employee gave does not "
                "count, unless columns `on_case` / `used` say so"
            )

    def note_renamed(self, columns: tuple[str, ...]) -> None:
        """Say, once for each, which parts are read from a column of another name."""
        for name, column in self.columns.renamed(columns):
            if (name, column) not in self.noted_names and len(self.noted_names) < MOST_NAMED:
                self.noted_names.add((name, column))
                self.note(f"{name} is read from the column `{column}`")

    def see_unread(self, columns: tuple[str, ...]) -> None:
        """Remember columns that are not read."""
        for column, meant in self.columns.not_read(columns).items():
            if len(self.unread) < MOST_NAMED:
                self.unread.setdefault(column, meant)

    def note_unread(self) -> None:
        """Name the columns that are passed through, with the name that may have been meant."""
        names = [name for name in self.unread if name not in self.columns.constants]
        if names:
            self.note("passed through without being read: " + ", ".join(names))
        for column, meant in self.unread.items():
            if meant:
                self.note(f"did you mean `{meant}` by the column `{column}`? --map {meant}={column}")

    def note_end(self, how: str, sink: WholeLines | None) -> None:
        """How far it came."""
        rows = self.tally.decided + self.tally.invalid
        if sink and not rows:
            sink.discard()
        kept = f"; they are in {sink.partial}" if sink and sink.partial and rows else ""
        self.note(f"{how}; {count(rows, 'row')} {'was' if rows == 1 else 'were'} decided{kept}")

    def note_the_rest(self) -> None:
        """How many bad rows were not shown."""
        rest = self.tally.invalid - self.max_problems
        if rest > 0:
            self.note(f"{count(rest, 'more invalid row')} not shown; each has its problems under `because`")


def _decide_all(run: Run, rows: Rows, output: str | None, to_format: str) -> bool:
    """Decide every row and write it. Whether it was stopped by Ctrl-C."""
    sink = None if output is None else WholeLines(output)
    between = BetweenRows()
    try:
        write = _row_writer(run, rows, sink, to_format)
        last: tuple[str, ...] | None = rows.columns
        for answered in decide_rows(run.columns.policy, between.each(rows), run.columns):
            if rows.columns is None and (keys := tuple(answered.row.cells)) != last:
                run.see_unread(last := keys)
                run.note_renamed(keys)
                run.note_alone(keys)
            run.saw(answered)
            write(answered)
        if sink:
            sink.finish()
    except KeyboardInterrupt:
        run.note_end("stopped", sink)
        return True
    except (Unusable, CannotWrite):
        run.note_end("not complete", sink)
        raise
    finally:
        between.over()
        if sink:
            sink.close()
    if rows.columns is None:
        run.note_unread()
    return False


def _row_writer(run: Run, rows: Rows, sink: WholeLines | None, to_format: str) -> Callable[[Answered], None]:
    if sink is None:
        return lambda answered: None
    if to_format == JSONL:
        renamed = {column: f"input_{column}" for column in ANSWER}
        return lambda answered: sink.write(json_line(answered.row, answer(answered), renamed))
    return _csv_writer(run, rows, sink)


def _csv_writer(run: Run, rows: Rows, sink: WholeLines) -> Callable[[Answered], None]:
    """Writes CSV. Its columns are those of the input, or of the first row where every row brings its own."""
    columns = rows.columns

    def write_columns() -> None:
        named = [f"input_{column}" if column in ANSWER else column for column in columns or ()]
        if len(set(named)) < len(named):
            raise Unusable("a column has the name of an answer, and its `input_` name is taken", "rename it")
        sink.write(csv_line([*named, *ANSWER], rows.delimiter))

    def write(answered: Answered) -> None:
        nonlocal columns
        if columns is None:
            columns = tuple(answered.row.cells)
            write_columns()
        for name in answered.row.cells.keys() - set(columns) if rows.columns is None else ():
            left_out(name)
        cells = [answered.row.cells.get(column) for column in columns]
        sink.write(csv_line([*cells, *answer(answered).values()], rows.delimiter))

    noted: set[str] = set()

    def left_out(name: str) -> None:
        if name not in noted and len(noted) < MOST_NAMED:
            noted.add(name)
            run.note(f"`{name}` is left out of the output: the first row does not have it")

    if columns is not None:
        write_columns()
    return write


def _summarise(tally: Tally, as_json: bool, *, to_stderr: bool) -> None:
    if not as_json:
        console(to_stderr=to_stderr).print(tally.as_table())
    elif to_stderr:
        import json

        click.echo(json.dumps(tally.as_dict(), indent=2, ensure_ascii=False), err=True)
    else:
        print_json(tally.as_dict())


@contextmanager
def _progress(stream: BinaryIO, err: Console, shows: bool) -> Iterator[Callable[[int], None]]:
    """A bar on stderr while it lasts, where somebody watches it."""
    if not shows:
        yield lambda read: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    try:
        total = os.fstat(stream.fileno()).st_size or None
    except OSError:
        total = None
    bar = (TextColumn("deciding"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*bar, console=err, transient=True) as progress:
        task = progress.add_task("deciding", total=total)
        yield lambda read: progress.advance(task, read)
