"""`recovery pending`: what waits for an answer, each with all that whoever answers needs to know."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import rich_click as click
from rich.table import Table
from rich.text import Text

from recovery_cli.databases import complete_recovery, database_option, writing
from recovery_cli.documents import document, in_utc, reason_document, state_document
from recovery_cli.exits import Unusable
from recovery_cli.options import complete_word, json_option
from recovery_cli.render import amount_of, console, in_words, near, plain, print_json
from recovery_cli.times import due
from recovery_engine import Money

if TYPE_CHECKING:
    from recovery_engine import Exchange, RecoveryEngine, RecoveryState, Waiting


@click.command("pending")
@click.argument("recovery", required=False, shell_complete=complete_recovery("pending"))
@database_option
@click.option("--role", metavar="WORD", shell_complete=complete_word, help="Only what was sent to this role.")
@click.option("--site", metavar="WORD", shell_complete=complete_word, help="Only what was asked for there.")
@click.option("--for", "employee", metavar="ID", help="Whose queue: without what they asked for or agreed to.")
@json_option
def command(
    recovery: str | None, database: str, role: str | None, site: str | None, employee: str | None, as_json: bool
) -> None:
    """Show what waits for an answer, the oldest due first, or one RECOVERY that does.

    Each with its whole story: who asked for what, why it came here, proof, note and facts, questions and answers, and
    what the case had been offered or refused before. In JSON `asked` is the hash of what is asked for: given back to
    `recovery approve --asked`, it makes sure that nothing has changed in between.

    \b
    Examples:
      recovery pending --database shop.db --role supervisor --site S001 --for emp-7
      recovery pending pos-7-123
      recovery pending --json | jq -r '.recoveries[] | [.recovery, .asked] | @tsv'

    Exit codes: 0 fine, also where nothing waits; 2 the RECOVERY does not wait or the database cannot be used.
    """
    with writing(database) as engine:
        found = engine.pending(recovery, role=role, site=site, employee=employee)
        if recovery and not found:
            raise _waits_not(engine, recovery)
    if as_json:
        print_json({"count": len(found), "recoveries": [_document(one) for one in found]})
        return
    out, now_us = console(), time.time_ns() // 1000
    for number, one in enumerate(found):
        if number:
            out.print()
        out.print(_headline(one, now_us))
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for label, content in _rows(one, alone=bool(recovery)):
            grid.add_row(label, content)
        out.print(grid)
    if not found:
        click.echo("nothing waits for an answer", err=True)


def _waits_not(engine: "RecoveryEngine", recovery: str) -> Unusable:
    state = engine.recovery(recovery)
    if state is None:
        return Unusable(f"there is no recovery `{recovery}`", "`recovery pending` lists those that wait")
    if state.status != "pending":
        return Unusable(f"`{recovery}` is {state.status}", f"`recovery case {state.case_id}` tells its story")
    return Unusable(f"`{recovery}` is not in this queue", "leave out --role, --site and --for")


def _document(one: "Waiting") -> dict[str, Any]:
    state = one.state
    agreed = None if state.agreed_minor is None else Money(state.agreed_minor, state.currency).decimal
    return {
        **state_document(state),
        "asked": one.asked,
        "overdue": one.overdue,
        "because": [reason_document(reason, state.currency) for reason in one.because],
        "remedy_agreed": state.agreed_remedy,
        "amount_agreed": agreed,
        "note": one.note,
        "customer_name": one.customer_name,
        "customer_contact": one.customer_contact,
        "evidence": list(one.evidence),
        "facts": document(one.facts),
        "exchanges": document(one.exchanges),
        "before": [state_document(before) for before in one.before],
        "again": list(one.again),
    }


def _headline(one: "Waiting", now_us: int) -> Text:
    state, text = one.state, Text()
    text.append(plain(state.recovery), "bold")
    text.append(f"  {amount_of(one.amount, plain(state.remedy))}  ")
    text.append(f"for the {plain(in_words(state.to_role or ''))}  ")
    if state.question_us is not None:
        text.append("waits for the answer to a question", "cyan")
    elif state.due_us is not None:
        text.append(due(state.due_us, now_us), "bold red" if one.overdue else "yellow")
    return text


def _rows(one: "Waiting", alone: bool) -> Iterator[tuple[str, str | Text]]:
    state = one.state
    words = [word for word in (state.category, state.severity, state.reason) if word]
    words += ["owed"] if state.basis == "owed" else []
    yield "asked by", plain(f"{state.employee} ({in_words(state.role)}), {in_utc(state.at_us)}")
    yield "case", plain(", ".join(_case(state)))
    if words:
        yield "for", plain(", ".join(map(in_words, words)))
    for number, reason in enumerate(one.because):
        told = Text.assemble(plain(reason.text), " ", (f"({reason.line}, {near(reason.where)})", "dim"))
        yield "" if number else "because", told
    if state.approver is not None:
        agreed = amount_of(Money(state.agreed_minor or 0, state.currency), plain(state.agreed_remedy or state.remedy))
        yield "agreed", plain(f"{state.approver} ({in_words(state.approver_role or '')}) to {agreed}; a second must")
    if one.evidence:
        yield "proof", plain(", ".join(map(in_words, one.evidence)))
    if one.note:
        yield "note", f"“{plain(one.note)}”"
    if one.customer_name or one.customer_contact:
        yield "customer", plain(", ".join(filter(None, (one.customer_name, one.customer_contact))))
    for number, (name, value) in enumerate(sorted(one.facts.items())):
        yield "" if number else "facts", plain(f"{in_words(name)}: {_fact(value)}")
    for exchange in one.exchanges:
        yield from _exchange(exchange)
    for number, before in enumerate(one.before):
        yield "" if number else "before", plain(_before(before))
    if one.again:
        yield "again", plain(f"{', '.join(one.again)} asked for the very same")
    if alone:
        yield (
            "to agree",
            plain(f"recovery approve {state.recovery} --by ... --role {state.to_role} --asked {one.asked}"),
        )


def _case(state: "RecoveryState") -> Iterator[str]:
    yield state.case_id
    yield f"site {state.site}" if state.site else "no site"
    if state.receipt:
        yield f"receipt {state.receipt}"
    if state.customer:
        yield f"customer {state.customer}"
    if state.bill_minor is not None:
        yield f"bill {Money(state.bill_minor, state.currency)}"
    if state.occurred_on:
        yield f"of {state.occurred_on}"


def _exchange(exchange: "Exchange") -> Iterator[tuple[str, str]]:
    yield "question", plain(f"{exchange.by}: {_text(exchange.question)}")
    if exchange.answered_by is not None:
        proof = f" (proof: {', '.join(map(in_words, exchange.evidence))})" if exchange.evidence else ""
        yield "answer", plain(f"{exchange.answered_by}: {_text(exchange.answer)}{proof}")


def _text(text: str | None) -> str:
    return "(erased)" if text is None else f"“{text}”"


def _before(state: "RecoveryState") -> str:
    asked = amount_of(Money(state.asked_minor, state.currency), plain(state.remedy))
    why = f": {state.closed_reason}" if state.closed_reason else ""
    by = f" by {state.closed_by}" if state.closed_by else ""
    return f"{state.recovery}, {asked}, {state.status}{by}{why}"


def _fact(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
