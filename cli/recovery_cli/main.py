"""The `recovery` command: finds the verb, runs it, and turns whatever ends it into one clear line and an exit code."""

import os
import re
import shutil
import sys
from collections.abc import Callable
from copy import copy
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NoReturn

import rich_click as click
from click.exceptions import Exit

from recovery_cli.exits import BROKEN_PIPE, FAULT, FINE, INTERRUPTED, UNUSABLE, CannotWrite, Unusable

VERBS = {
    "what-if": ("what_if", "Decide one request that nobody has made; it leaves no trace."),
    "decide": ("decide", "Decide a stream of requests from a CSV or JSONL file."),
    "matrix": ("matrix", "Show who may give what: the authority card, also for the wall."),
    "check": ("check", "Find every mistake in policies."),
    "test": ("test", "Run the tests that policies carry."),
    "policies": ("policies", "List the starter policies, or copy one to start from."),
    "schema": ("schema", "Print the JSON Schema of a policy, for editors."),
    "doctor": ("doctor", "Say whether this installation is sound."),
    "completion": ("completion", "Print the completion script for a shell."),
    "demo": ("demo", "See real complaints decided by real policies."),
}
"""Every verb with its module in ``commands`` and what it does; ``--help`` needs no more than this."""

MOST_SHOWN = 20
NAME = "recovery"


class Verbs(click.RichGroup):
    """A group that imports a command only when it is used, and never ends in a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, summary = VERBS[cmd_name]
        if ctx.meta.get("listing"):
            return click.RichCommand(name=cmd_name, help=summary)
        command: click.Command = import_module(f"recovery_cli.commands.{module}").command
        return _as_called(command, ctx.find_root().obj or NAME)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        ctx.meta["listing"] = True
        super().format_options(ctx, formatter)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            close = get_close_matches(args[0].lower(), VERBS, n=1)
            cure = f"did you mean `{close[0]}`?" if close else f"one of {', '.join(VERBS)}"
            raise click.UsageError(f"unknown command `{args[0]}`: {cure}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, Exit, click.Abort):
            raise
        except (Exception, KeyboardInterrupt) as error:
            ctx.exit(ended_by(error, ctx))


def _as_called(command: click.Command, called: str) -> click.Command:
    """The command with its examples as they can be typed here."""
    if called != NAME and command.help:
        command = copy(command)
        command.help = re.sub(rf"(?m)(^\s+|\| ){NAME} ", lambda found: f"{found[1]}{called} ", str(command.help))
    return command


def called(started_as: str) -> str:
    """What to type for this command: its name where the shell finds it, otherwise the path it was started with."""
    if shutil.which(NAME):
        return NAME
    if os.path.basename(started_as) == "__main__.py":
        return "python -m recovery_cli"
    try:
        near = os.path.relpath(started_as)
    except OSError:  # the current folder is gone
        return started_as
    return started_as if near.startswith(os.pardir) else near


def ended_by(error: BaseException, ctx: click.Context) -> int:
    """Say what ended the run, and the exit code for it."""
    match error:
        case KeyboardInterrupt():
            return INTERRUPTED
        case BrokenPipeError():
            return BROKEN_PIPE
        case CannotWrite():
            return _said(str(error), FAULT)
        case Unusable():
            return _refused(error, ctx)
        case OSError() if error.filename is None:
            return _said(f"cannot write the output: {(error.strerror or str(error)).lower()}", FAULT)
    from recovery_engine import InvalidRequest, PolicyError

    if isinstance(error, PolicyError):
        return _refused(Unusable("the policy cannot be used", "", error.diagnostics), ctx)
    if isinstance(error, InvalidRequest):
        return _refused(Unusable("the request cannot be decided as it stands", "", error.diagnostics), ctx)
    return _fault(error, ctx)


def _refused(error: Unusable, ctx: click.Context) -> int:
    from recovery_cli.render import diagnostics_as_json, print_json, show_diagnostics

    if ctx.meta.get("as_json"):
        problems = diagnostics_as_json(error.diagnostics)
        print_json({"error": error.message, "help": error.help, "problems": problems})
        return UNUSABLE
    show_diagnostics(error.diagnostics[:MOST_SHOWN], to_stderr=True)
    if len(error.diagnostics) > MOST_SHOWN:
        click.echo(f"... and {len(error.diagnostics) - MOST_SHOWN} more; `recovery check` shows all", err=True)
    return _said(f"{error.message} ({error.help})" if error.help else error.message, UNUSABLE)


def _fault(error: BaseException, ctx: click.Context) -> int:
    if ctx.params.get("traceback"):
        import traceback

        traceback.print_exception(error)
    first = (str(error).splitlines() or [""])[0][:200]
    return _said(
        f"a fault of ours, not yours: {type(error).__name__}: {first}\n"
        "please report it, with what `recovery --traceback ...` prints for the same command",
        FAULT,
    )


def _said(message: str, code: int) -> int:
    from recovery_cli.render import plain

    click.echo(f"recovery: {plain(message)}", err=True)
    return code


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from recovery_engine import __version__

        click.echo(f"recovery {__version__}")
        ctx.exit()


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Say which version this is.",
)
@click.option("--traceback", is_flag=True, envvar="RECOVERY_TRACEBACK", help="Show where a fault happened.")
def cli(traceback: bool) -> None:
    """May I put this right, now? Ask a policy, and read why.

    \b
    Examples:
      recovery demo
      recovery what-if --role frontline --remedy refund --amount 150
      recovery decide refunds.csv --policy classic --role frontline
      recovery matrix --policy hotel --html card.html

    Exit codes: 0 fine, 1 findings, 2 unusable input, 3 fault.
    """


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    _stand_in_for_closed_streams()
    _never_fail_for_want_of_a_letter()
    if f"_{NAME.upper()}_COMPLETE" in os.environ:
        from recovery_cli import completion

        completion.use()
    if "NO_COLOR" in os.environ:
        import rich_click.rich_click as look

        look.COLOR_SYSTEM = None  # NO_COLOR asks for no colour; bold and dim escapes are left out with it
    sys.exit(_written(_ended))


def _ended() -> int:
    """Run the command line; its exit code."""
    try:
        name = called(sys.argv[0])
        _as_called(cli, name).main(prog_name=NAME, obj=name)
    except SystemExit as ended:
        if _for_want_of_a_reader(ended):
            return BROKEN_PIPE
        return ended.code if isinstance(ended.code, int) else FINE if ended.code is None else FAULT


def _for_want_of_a_reader(error: BaseException | None) -> bool:
    """Whether a closed pipe is behind it: click and rich both leave with 1 then."""
    while error is not None and not isinstance(error, BrokenPipeError):
        error = error.__context__
    return error is not None


def _stand_in_for_closed_streams() -> None:
    """Started with `>&-` there is no stdout at all: what is written to it then goes nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  open until the end


def _never_fail_for_want_of_a_letter() -> None:
    """Where the terminal's character set lacks a letter, its number is shown."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _written(run: Callable[[], int]) -> int:
    """The exit code once everything is written; what cannot be is let go of, silently where a pipe is closed."""
    code = FINE
    try:
        code = run()
        sys.stdout.flush()
        return code
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes once more when it ends
        if isinstance(error, BrokenPipeError):
            return BROKEN_PIPE
        return code or _said(f"cannot write the output: {(error.strerror or str(error)).lower()}", FAULT)


if __name__ == "__main__":
    main()
