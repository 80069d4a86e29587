"""Promises as people and programs read them: who promised what on which case, by when, and how the word stands."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.text import Text

from recovery_cli.documents import in_utc, state_document
from recovery_cli.render import amount_of, console, in_words, plain, print_indented
from recovery_cli.times import due

if TYPE_CHECKING:
    from recovery_engine import Promised

STYLES = {"overdue": "bold red", "late": "yellow", "broken": "red", "kept": "green"}
STANDINGS = ("overdue", "open", "broken", "late", "kept")
"""How a word that was given can stand: what somebody should look at first, first."""


def overdue_first(promises: "Iterable[Promised]") -> "list[Promised]":
    """The promises in the order in which somebody should look at them."""
    return sorted(promises, key=lambda one: STANDINGS.index(one.standing))


def promise_document(one: "Promised") -> dict[str, Any]:
    """A promise for programs."""
    return {"standing": one.standing, **state_document(one.state)}


def show_promises(promises: "Iterable[Promised]") -> None:
    """Two lines for each: what and how it stands, and who promised it by when."""
    out, now_us = console(), time.time_ns() // 1000
    for one in promises:
        state = one.state
        what = amount_of(one.amount, plain(state.granted_remedy or state.remedy))
        stands = due(state.due_us, now_us) if one.standing in ("open", "overdue") and state.due_us else one.standing
        style = STYLES.get(one.standing, "")
        told = Text.assemble((plain(state.recovery), "bold"), f"  {what}  ", (stands, style))
        out.print(told, soft_wrap=not out.is_terminal)
        print_indented(out, f"  {_promised(one)}")


def _promised(one: "Promised") -> str:
    state = one.state
    second = f" with {state.second_by}" if state.second_by else ""
    whose = f" for {state.on_behalf}" if state.on_behalf else ""
    who = f"{state.approver} ({in_words(state.approver_role or '')}{whose}){second}"
    where = f" at {state.site}" if state.site else ""
    by = f", by {in_utc(state.due_us)}" if state.due_us is not None else ", at no set time"
    done = f", handed over {in_utc(state.fulfilled_us)}" if state.fulfilled_us is not None else ""
    return f"promised by {who} on case {state.case_id}{where}{by}{done}"
