"""History as commands are told of it: the log, or a file; and a bar while it is gone through."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any, TypeVar

import rich_click as click
from click.core import ParameterSource

from recovery_cli.databases import file_option
from recovery_cli.options import assignment_option
from recovery_cli.progress import bar
from recovery_engine import HistoryFile

Command = TypeVar("Command", bound=Callable[..., Any])

log_option = click.option(
    "--database", envvar="RECOVERY_DATABASE", show_envvar=True, metavar="FILE|URL", help="The log."
)
_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    log_option,
    file_option("--history", help="A CSV or Parquet file instead: an export of the log, or any other history."),
    assignment_option("--map", "mapped", "FIELD=COLUMN", "Read that column of the file."),
    assignment_option("--set", "constants", "FIELD=VALUE", "The same for every row of the file; wins over columns."),
)


def history_options(command: Command) -> Command:
    """Where history is."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_day(ctx: click.Context, param: click.Parameter, given: str | None) -> date | None:
    """An option that is a day."""
    try:
        return date.fromisoformat(given) if given else None
    except ValueError:
        raise click.BadParameter(f"`{given}` is not a day: write it like 2026-12-01", ctx, param) from None


def source_of(
    ctx: click.Context, database: str | None, history: str | None, mapped: dict[str, str], constants: dict[str, str]
) -> HistoryFile | str:
    """The history that the options name."""
    if history:
        if database and ctx.get_parameter_source("database") is ParameterSource.COMMANDLINE:
            raise click.UsageError("--database and --history both say where history is: give one of them", ctx)
        return HistoryFile(history, mapped, constants)
    if mapped or constants:
        raise click.UsageError("--map and --set are about the columns of --history", ctx)
    if not database:
        raise click.UsageError("no history is named: give --database or --history", ctx)
    return database


@contextmanager
def watched(what: str) -> Iterator[Any]:
    """Takes the steps of a back-test, and shows a bar where somebody watches."""
    with bar(what) as told:
        yield None if told is None else lambda what, done, total: told(done, total)
