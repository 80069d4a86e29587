"""The `recovery` command: the verbs, and the streams it is started with."""

import os
import shutil
import sys
from collections.abc import Callable
from typing import NoReturn

import rich_click as click

from recovery_cli.exits import BROKEN_PIPE, FAULT, FINE
from recovery_cli.verbs import NAME, Verbs, as_called, said

VERBS = {
    "what-if": ("what_if", "Decide one request that nobody has made; it leaves no trace."),
    "decide": ("decide", "Decide a stream of requests from a CSV or JSONL file."),
    "request": ("request", "Ask for a remedy: decided now, and in the log for good."),
    "pending": ("pending", "Show what waits for an answer, each with its whole story."),
    "approve": ("approve", "Agree to what is pending, to less, or to another remedy."),
    "decline": ("decline", "Say no to what is pending, for a reason."),
    "ask": ("ask", "Ask whoever asked, before you decide."),
    "answer": ("answer", "Answer the approver's question."),
    "amend": ("amend", "Ask for less than before."),
    "withdraw": ("withdraw", "Take back what is pending."),
    "tick": ("tick", "Do what is due now: move up what nobody answered."),
    "delegate": ("delegate", "Lend authority for a time."),
    "revoke": ("revoke", "Take lent authority back."),
    "delegations": ("delegations", "List who lends authority to whom."),
    "fulfil": ("fulfil", "Say that what was granted is in the customer's hands."),
    "void": ("void", "Take back what was granted."),
    "promises": ("promises", "List what was promised and is not handed over yet."),
    "case": ("case", "Tell a case as one story."),
    "log": ("log", "Read the log, prove it, look after it: list, show, verify, export ..."),
    "db": ("db", "Look at the database that holds the log."),
    "staff": ("staff", "Look at a staff directory: who may act, and what they leave open."),
    "matrix": ("matrix", "Show who may give what: the authority card, also for the wall."),
    "check": ("check", "Find every mistake in policies."),
    "lint": ("lint", "Read policies carefully: promises proven, gaps, lines without effect."),
    "diff": ("diff", "Compare two policies over every possible request."),
    "test": ("test", "Run the tests that policies carry."),
    "backtest": ("backtest", "Decide history again by a draft: what would have been different."),
    "sweep": ("sweep", "Show what history comes to at every value of one limit, or of two."),
    "fmt": ("fmt", "Lay policies out: limits in columns, comments where they are."),
    "watch": ("watch", "See what a draft would say to live requests, never enforced."),
    "policies": ("policies", "List the starter policies, or copy one to start from."),
    "schema": ("schema", "Print the JSON Schema of a policy, for editors."),
    "doctor": ("doctor", "Say whether this installation is sound."),
    "completion": ("completion", "Print the completion script for a shell."),
    "demo": ("demo", "See real complaints decided by real policies."),
}
"""Every verb with its module in ``commands`` and what it does; ``--help`` needs no more than this."""


GROUPS = {
    "May I?": ("what-if", "decide", "matrix"),
    "For the customer": ("request", "answer", "amend", "withdraw", "fulfil", "void", "promises", "case"),
    "The way up": ("pending", "approve", "decline", "ask", "tick", "delegate", "revoke", "delegations"),
    "The log": ("log", "db"),
    "What if?": ("diff", "backtest", "sweep", "watch"),
    "Policies": ("check", "lint", "test", "fmt", "policies", "schema", "staff"),
    "This installation": ("doctor", "completion", "demo"),
}
"""The verbs as ``--help`` shows them."""


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


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from recovery_engine import __version__

        click.echo(f"recovery {__version__}")
        ctx.exit()


@click.group(
    NAME,
    cls=Verbs,
    verbs=VERBS,
    package="recovery_cli.commands",
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "rich_help_config": {
            "command_groups": {NAME: [{"name": name, "commands": [*of]} for name, of in GROUPS.items()]}
        },
    },
)
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
      recovery request --database shop.db --policies hotel --json-lines
      recovery log list --database shop.db --outcome deny

    Exit codes: 0 fine, 1 findings, 2 unusable input, 3 fault, 75 busy: ask again, 76 nobody knows: ask again.
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
        as_called(cli, name).main(prog_name=NAME, obj=name)
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
        return code or said(f"cannot write the output: {(error.strerror or str(error)).lower()}", FAULT)


if __name__ == "__main__":
    main()
