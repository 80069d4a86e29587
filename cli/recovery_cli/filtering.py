"""The options that say which recoveries are meant, and the filter they come to."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click
from click.shell_completion import CompletionItem

from recovery_cli.exits import Unusable
from recovery_engine import InvalidRequest, Money

if TYPE_CHECKING:
    from recovery_engine import Filter, RecoveryLog

Command = TypeVar("Command", bound=Callable[..., Any])

WORDS = {
    "site": "Where it was asked for.",
    "employee": "Who asked.",
    "role": "In which role.",
    "approver": "Who granted it.",
    "customer": "A token of the log, or your own reference.",
    "case": "The case.",
    "receipt": "The purchase.",
    "remedy": "Asked for or given.",
    "category": "What kind of thing went wrong.",
    "severity": "How bad it was.",
    "reason": "The reason code.",
    "basis": "`goodwill` or `owed`.",
    "outcome": "`approve`, `escalate` or `deny`.",
    "status": "Where it stands: `granted`, `fulfilled`, `voided`, `pending` ...",
    "policy": "By name, version, or the start of the digest.",
    "line": "A line of the policy that decided.",
    "matcher": "`both`, `reference` or `fault`.",
}
"""The filters that are words, with their help; each may be given more than once, and any one will do."""

FIXED = {
    "basis": ("goodwill", "owed"),
    "outcome": ("approve", "escalate", "deny"),
    "status": ("granted", "fulfilled", "voided", "pending", "declined", "withdrawn", "lapsed", "denied"),
    "matcher": ("both", "reference", "fault"),
}
_OPTIONS = {"first_day": "--from", "last_day": "--to", "amount_from": "--amount-from", "amount_to": "--amount-to"}


class Day(click.ParamType):  # type: ignore[type-arg]
    """A day, as ISO 8601 writes it."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        try:
            if re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
                return date.fromisoformat(value)
        except ValueError:
            pass
        self.fail(f"`{value}` is not a day: write it like `2026-11-30`", param, ctx)


def complete_fixed(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The words that every log has."""
    return [CompletionItem(word) for word in FIXED.get(str(param.name), ()) if word.startswith(incomplete)]


def filter_options(command: Command) -> Command:
    """``--site``, ``--from``, ``--amount-from`` ...: which recoveries."""
    options = [
        click.option("--from", "first_day", type=Day(), metavar="DAY", help="First business day of the asking."),
        click.option("--to", "last_day", type=Day(), metavar="DAY", help="Last business day of the asking."),
        click.option("--month", metavar="MONTH", help="A month instead, such as `2026-11`."),
        click.option("--amount-from", metavar="AMOUNT", help="Granted, or asked for where nothing was; at least."),
        click.option("--amount-to", metavar="AMOUNT", help="At most."),
        currency_option,
    ]
    for name, help in WORDS.items():
        options.append(
            click.option(
                f"--{name}", name, multiple=True, metavar="WORD", shell_complete=complete_fixed, help=help
            )
        )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def currency_option(command: Command) -> Command:
    """``--currency``: of the amounts among the options."""
    help = "Of these amounts; needed where the log has several."
    return click.option("--currency", metavar="CODE", help=help)(command)


def wanted(ctx: click.Context, log: "RecoveryLog", given: dict[str, Any]) -> "Filter":
    """The filter that the options come to. Raises UsageError, Unusable."""
    from recovery_engine import Filter

    first, last = given["first_day"], given["last_day"]
    if given["month"]:
        if first or last:
            raise click.UsageError("--month says from when to when: leave out --from and --to", ctx)
        first, last = _days_of(given["month"])
    words = {name: given[name] for name in WORDS if given[name]}
    amounts = {name: given[name] for name in ("amount_from", "amount_to") if given[name]}
    if amounts:
        currency = currency_of(log, given["currency"])
        with asked():
            words |= {name: read_amount(name, text, currency) for name, text in amounts.items()}
    elif given["currency"]:
        raise click.UsageError("--currency is of --amount-from and --amount-to: give one of them", ctx)
    return Filter(first_day=first, last_day=last, **words)


def read_amount(name: str, text: str, currency: str) -> Money:
    """An amount in an option. Raises InvalidRequest."""
    try:
        return Money.of(text, currency)
    except InvalidRequest as invalid:
        raise InvalidRequest([replace(found, where=name) for found in invalid.diagnostics]) from None


def _days_of(month: str) -> tuple[date, date]:
    try:
        if not re.fullmatch(r"\d{4}-\d\d", month, re.ASCII):
            raise ValueError
        first = date.fromisoformat(f"{month}-01")
    except ValueError:
        raise Unusable(f"`{month}` is not a month", "write it like `2026-11`") from None
    return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def currency_of(log: "RecoveryLog", given: str | None) -> str:
    """The currency of the amounts among the options: the log's, where it has one only. Raises Unusable."""
    if given:
        return given
    known = [part.word for part in log.stats().parts["currency"]]
    if len(known) != 1:
        has = f"this log has {', '.join(known)}" if known else "this log has no amounts yet"
        raise Unusable(f"{has}: in which currency is the amount?", f"--currency {known[0] if known else 'USD'}")
    return known[0]


@contextmanager
def asked() -> Iterator[None]:
    """What is wrong with a filter, said with the names of the options."""
    try:
        yield
    except InvalidRequest as invalid:
        found = [replace(one, where=_OPTIONS.get(one.where, f"--{one.where}")) for one in invalid.diagnostics]
        raise Unusable("the log cannot be asked so", "", found) from None
