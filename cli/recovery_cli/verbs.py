"""Groups of commands: each command is imported only when it is used, and none ever ends in a traceback."""

import re
from collections.abc import Mapping
from copy import copy
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from recovery_cli.exits import BROKEN_PIPE, FAULT, INTERRUPTED, CannotWrite, ReaderLeft

if TYPE_CHECKING:
    from recovery_cli.refusals import Refusal

NAME = "recovery"
MOST_SHOWN = 20


class Verbs(click.RichGroup):
    """A group that imports a command only when it is used.

    *verbs* gives each verb its module in *package* and what it does; ``--help`` needs no more than this.
    """

    def __init__(self, *args: Any, verbs: Mapping[str, tuple[str, str]], package: str, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self.verbs, self.package = verbs, package

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.verbs:
            return None
        module, summary = self.verbs[cmd_name]
        if ctx.meta.get("listing"):
            return click.RichCommand(name=cmd_name, help=summary)
        command: click.Command = import_module(f"{self.package}.{module}").command
        return as_called(command, ctx.find_root().obj or NAME)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> Any:
        ctx.meta["listing"] = True
        return super().shell_complete(ctx, incomplete)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        ctx.meta["listing"] = True
        super().format_options(ctx, formatter)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in self.verbs and not args[0].startswith("-"):
            close = get_close_matches(args[0].lower(), self.verbs, n=1)
            cure = f"did you mean `{close[0]}`?" if close else f"one of {', '.join(self.verbs)}"
            raise click.UsageError(f"unknown command `{args[0]}`: {cure}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, Exit, click.Abort):
            raise
        except (Exception, KeyboardInterrupt) as error:
            ctx.exit(ended_by(error, ctx))


def as_called(command: click.Command, called: str) -> click.Command:
    """The command with its examples as they can be typed here."""
    if called != NAME and command.help:
        command = copy(command)
        command.help = re.sub(rf"(?m)(^\s+|\| ){NAME} ", lambda found: f"{found[1]}{called} ", str(command.help))
    return command


# --- how a run ends ---


def ended_by(error: BaseException, ctx: click.Context) -> int:
    """Say what ended the run, and the exit code for it."""
    match error:
        case KeyboardInterrupt():
            return INTERRUPTED
        case BrokenPipeError() | ReaderLeft():
            return BROKEN_PIPE
        case CannotWrite():
            return said(str(error), _fault_code(ctx))
        case OSError() if error.filename is None:
            return said(f"cannot write the output: {(error.strerror or str(error)).lower()}", _fault_code(ctx))
    from recovery_cli.refusals import refusal

    found = refusal(error)
    return _fault(error, ctx) if found is None else _refused(found, ctx)


def _fault_code(ctx: click.Context) -> int:
    """The exit code of a fault: another one where the usual one means something."""
    return int(ctx.meta.get("fault_code", FAULT))


def _refused(found: "Refusal", ctx: click.Context) -> int:
    from recovery_cli.render import print_json, show_diagnostics

    if ctx.meta.get("as_json"):
        print_json(found.as_dict())
        return found.code
    show_diagnostics(found.diagnostics[:MOST_SHOWN], to_stderr=True)
    if len(found.diagnostics) > MOST_SHOWN:
        click.echo(f"... and {len(found.diagnostics) - MOST_SHOWN} more; `recovery check` shows all", err=True)
    return said(f"{found.message} ({found.help})" if found.help else found.message, found.code)


def _fault(error: BaseException, ctx: click.Context) -> int:
    if ctx.find_root().params.get("traceback"):
        import traceback

        traceback.print_exception(error)
    first = (str(error).splitlines() or [""])[0][:200]
    return said(
        f"a fault of ours, not yours: {type(error).__name__}: {first}\n"
        "please report it, with what `recovery --traceback ...` prints for the same command",
        _fault_code(ctx),
    )


def said(message: str, code: int) -> int:
    """Say it on stderr; the exit code that was given."""
    from recovery_cli.render import plain

    click.echo(f"{NAME}: {plain(message)}", err=True)
    return code
