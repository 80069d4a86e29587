"""`recovery watch`: a draft in the shadow of the policy in force, on live requests, never enforced."""

import json
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, BinaryIO

import rich_click as click
from rich.text import Text

from recovery_cli.commands.backtest import report_as_json, show
from recovery_cli.databases import file_option, reading
from recovery_cli.exits import FINE, cannot_write
from recovery_cli.files import keep_apart
from recovery_cli.histories import log_option
from recovery_cli.interrupts import BetweenRows
from recovery_cli.options import complete_policy, html_option, json_option
from recovery_cli.pages import page_writer
from recovery_cli.policy_files import named_policy, policy_path
from recovery_cli.render import console, in_words, note_lone_matcher, plain, print_json
from recovery_engine import Money, seen_in, shadow_report, shadowed

if TYPE_CHECKING:
    from recovery_engine import Policy, Shadowed


@click.command("watch")
@click.argument("draft", metavar="DRAFT", shell_complete=complete_policy)
@log_option
@file_option("--out", required=True, help="Where each request is kept, a line of JSON each; goes on where it ended.")
@click.option("--once", is_flag=True, help="End when there is nothing more.")
@click.option("--report", is_flag=True, help="Say what has been seen so far, and end.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.01),
    default=5.0,
    show_default=True,
    metavar="S",
    help="Seconds until it looks again.",
)
@html_option
@json_option
@click.pass_context
def command(
    ctx: click.RichContext,
    draft: str,
    database: str | None,
    out: str,
    once: bool,
    report: bool,
    interval: float,
    html: str | None,
    as_json: bool,
) -> None:
    """Decide every request that comes by DRAFT too, beside the policy in force, until Ctrl-C.

    The draft is never enforced and nothing is written to the log. It has the usage that it would have had itself, had
    it been in force all the time. What differs is shown as it comes; every request is kept in --out once, whatever is
    killed, and `--report` adds them up like a back-test.

    \b
    Examples:
      recovery watch draft.yaml --database shop.db --out shadow.jsonl
      recovery watch draft.yaml --database shop.db --out shadow.jsonl --once
      recovery watch draft.yaml --out shadow.jsonl --report --html shadow.html

    Exit codes: 0 nothing more (--once, --report), 2 the draft, the log or --out cannot be used, 130 Ctrl-C.
    """
    keep_apart("--out", out, [policy_path(draft)])
    keep_apart("--html", html, [policy_path(draft), out])
    policy = named_policy(draft)
    note_lone_matcher()
    if report:
        write_page = page_writer(html, "backtest")
        found = shadow_report(policy, out)
        write_page(found)
        if as_json:
            print_json(report_as_json(found))
        elif not html:
            show(found)
        ctx.exit(FINE)
    if not database:
        raise click.UsageError("no log is named: give --database", ctx)
    _watch(policy, database, out, None if once else interval, as_json)


def _watch(draft: "Policy", database: str, out: str, interval_s: float | None, as_json: bool) -> None:
    between, seen, size = BetweenRows(), set(seen_in(draft, out)), -1
    try:
        with ExitStack() as stack:
            log = stack.enter_context(reading(database))
            file = stack.enter_context(_appending(out))
            while True:
                now = sum(head.size for head in log.streams())
                if now != size:
                    for one in between.each(shadowed(draft, log, seen), read=True):
                        _keep(file, out, one)
                        seen.add(one.recovery)
                        _say(one, as_json)
                    size = now
                if interval_s is None:
                    return
                between.wait(interval_s)
    finally:
        between.over()


def _appending(name: str) -> BinaryIO:
    """The file, to go on behind its last whole line. Raises CannotWrite."""
    try:
        file = open(name, "a+b", buffering=0)  # noqa: SIM115  the caller closes it
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        return file
    except OSError as error:
        raise cannot_write(name, error) from None


def _keep(file: BinaryIO, name: str, one: "Shadowed") -> None:
    """Write a line, whole or not at all, and on the disk before it is shown. Raises CannotWrite."""
    before = os.fstat(file.fileno()).st_size
    try:
        if file.write(one.line) != len(one.line):
            raise OSError(28, "No space left on device")
        os.fsync(file.fileno())
    except OSError as error:
        os.ftruncate(file.fileno(), before)
        raise cannot_write(name, error) from None


def _say(one: "Shadowed", as_json: bool) -> None:
    if as_json:
        click.echo(one.line.decode(), nl=False)
    elif one.changed:
        found: dict[str, Any] = json.loads(one.line)
        asked = Money(found["amount"], found["currency"])
        was, now = _answer(found["before_outcome"], found["before_to"]), _answer(found["outcome"], found["to_role"])
        words = f"{found['day']}  {found['recovery']}  {asked} {in_words(found['remedy'])}: {was} → {now}"
        console().print(Text(plain(words)), soft_wrap=True)


def _answer(outcome: str, to: str | None) -> str:
    return f"{outcome} to {in_words(to)}" if to and outcome == "escalate" else outcome
