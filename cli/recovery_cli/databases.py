"""The database of the log as commands are told of it, opened to read, or to write."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import rich_click as click
from click.shell_completion import CompletionItem

from recovery_cli.options import complete_policy

if TYPE_CHECKING:
    from recovery_engine import RecoveryEngine, RecoveryLog, Staff

Command = TypeVar("Command", bound=Callable[..., Any])
_STAFF = "recovery_cli.staff"
MOST_OFFERED = 50
"""Ids among which a shell can choose."""


def _named(ctx: click.Context, _: click.Parameter, given: str | None) -> str:
    if not given and not ctx.resilient_parsing:
        raise click.UsageError("no database is named: give --database, or set RECOVERY_DATABASE", ctx)
    return given or ""


def _complete_file(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


def complete_recovery(status: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Completes to the recoveries of the log that stand so."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from recovery_engine import Filter, RecoveryError

        database = ctx.params.get("database") or os.environ.get("RECOVERY_DATABASE")
        if not database:
            return []
        try:
            with reading(database) as log, log.recoveries(Filter(status=status)) as rows:
                names = (row.recovery for row in rows if row.recovery.startswith(incomplete))
                return [CompletionItem(name) for name in islice(names, MOST_OFFERED)]
        except RecoveryError:
            return []

    return complete


def database_option(command: Command) -> Command:
    """``--database``: a file, or the URL of a database."""
    return click.option(
        "--database",
        envvar="RECOVERY_DATABASE",
        show_envvar=True,
        metavar="FILE|URL",
        callback=_named,
        shell_complete=_complete_file,
        help="Where the log is: a file, or `postgresql://...`.",
    )(command)


def policies_option(command: Command) -> Command:
    """``--policies``: a folder, a file, or the name of a starter policy."""
    return click.option(
        "--policies",
        envvar="RECOVERY_POLICIES",
        show_envvar=True,
        metavar="FOLDER|FILE|NAME",
        shell_complete=complete_policy,
        help="Policies to put into the log, where it does not have them yet.",
    )(command)


def _keep_staff(ctx: click.Context, _: click.Parameter, given: str | None) -> None:
    ctx.meta[_STAFF] = given


def staff_option(command: Command) -> Command:
    """``--staff``: a staff directory; ``staffed`` reads it."""
    return click.option(
        "--staff",
        envvar="RECOVERY_STAFF",
        show_envvar=True,
        metavar="FILE",
        expose_value=False,
        callback=_keep_staff,
        shell_complete=_complete_file,
        help="A staff directory: roles are then its own, and may be left out.",
    )(command)


def staffed() -> "Staff | None":
    """The staff directory of this command, where one is named. Raises Unusable."""
    from recovery_cli.staff_files import named_staff

    context = click.get_current_context(silent=True)
    kept: Staff | str | None = context.meta.get(_STAFF) if context else None
    if context is None or not kept:
        return None
    if isinstance(kept, str):  # once: a line of --json-lines is no reason to read it again
        kept = context.meta[_STAFF] = named_staff(kept)
    return kept


def file_option(*names: str, help: str, metavar: str = "FILE", **kw: Any) -> Callable[[Command], Command]:
    """An option that takes the name of a file."""
    return click.option(*names, metavar=metavar, shell_complete=_complete_file, help=help, **kw)


@contextmanager
def reading(database: str) -> "Iterator[RecoveryLog]":
    """The log, open only to read. Raises LogError."""
    from recovery_engine import RecoveryLog

    with RecoveryLog.open(database) as log:
        yield log


@contextmanager
def writing(database: str, policies: str | None = None, *, new: bool = False) -> "Iterator[RecoveryEngine]":
    """The log, open to write; where *new* is true and *policies* are named, one is made where there is none.

    Raises LogError, PolicyError.
    """
    from recovery_engine import RecoveryEngine

    makes = not _is_log(database, new, policies)
    # What was given here has won over the environment already.
    with RecoveryEngine.open(database, policies, staff=staffed(), environment={}) as engine:
        if makes:
            click.echo(f"note: made a new log in {_shown(database)}", err=True)
        yield engine


def _is_log(database: str, new: bool, policies: str | None) -> bool:
    """Whether there is a log. A wrong name must not make one: raises LogError where none is, unless one may be made."""
    from recovery_engine import LogError

    try:
        with reading(database):
            return True
    except LogError as error:
        if _made_whole(database, error):
            with reading(database):
                return True
        if new and policies:
            return False
        if new:
            raise LogError(error.message, "to make a new log, name its --policies") from None
        raise


def _made_whole(database: str, error: BaseException) -> bool:
    """Whether a write to the file had been cut off, which keeps readers out, and is undone now."""
    cause = error.__cause__
    name = str(getattr(getattr(cause, "orig", cause), "sqlite_errorname", ""))
    if not name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
        return False
    path = database.partition("://")[2].removeprefix("/") if "://" in database else database
    try:
        with closing(sqlite3.connect(f"file:{quote(str(Path(path).absolute()))}?mode=rw", uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        return False
    return True


def _shown(database: str) -> str:
    """A database as it may be shown: never with a password."""
    scheme, found, rest = database.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if found else database
