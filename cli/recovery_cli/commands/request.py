"""`recovery request`: a remedy is asked for, decided under the policy in force, and stands in the log for good."""

from typing import Any

import rich_click as click

from recovery_cli.columns import USAGE
from recovery_cli.commands.what_if import EXIT_STATUS
from recovery_cli.databases import database_option, policies_option, staff_option, staffed, writing
from recovery_cli.documents import document, iso, receipt_document
from recovery_cli.exits import FINE
from recovery_cli.hosts import Fields, answer_lines, json_in, read_object, refuse_both
from recovery_cli.options import assignment_option, given_words, joined_facts, json_option, listed, request_words
from recovery_cli.render import amount_of, note_lone_matcher, plain, print_json, show_decision
from recovery_engine import Diagnostic, InvalidRequest, RecordedDecision, RecoveryEngine, read_request

EXAMPLE = '{"id": "...", "employee": "...", "case": "...", "role": "...", "amount": "18.50"}'

TEXTS = {
    "id": ("ID", "Of this request, made before it is sent; the same again gets the same answer."),
    "employee": ("ID", "Who asks."),
    "case": ("ID", "What went wrong: one visit, order or stay."),
    "receipt": ("ID", "The purchase; cases that share one are one case."),
    "customer": ("ID", "Your own reference for the customer."),
    "amount": ("AMOUNT", "How much is asked for, such as `18.50`."),
    "bill": ("AMOUNT", "What the customer paid."),
    "reason": ("CODE", "A reason code of the policy."),
    "note": ("TEXT", "What happened, in a sentence; kept where it can be erased."),
    "customer_name": ("TEXT", "Kept where it can be erased."),
    "customer_contact": ("TEXT", "Kept where it can be erased."),
    "occurred_on": ("DAY", "When it went wrong, as `2026-12-01`."),
}


def _texts(command: Any) -> Any:
    for name, (metavar, help) in reversed(TEXTS.items()):
        command = click.option(f"--{name.replace('_', '-')}", name, metavar=metavar, help=help)(command)
    return command


@click.command("request")
@database_option
@policies_option
@staff_option
@_texts
@request_words
@click.option("--evidence", multiple=True, metavar="ITEM", help="Proof on file, such as `receipt`. May be repeated.")
@assignment_option("--fact", "fact", "NAME=VALUE", "A fact of the policy.")
@json_in
@click.option("--exit-status", is_flag=True, help="Exit 0 approve, 10 escalate, 20 deny, 30 incomplete.")
@json_option
@click.pass_context
def command(
    ctx: click.RichContext,
    /,
    database: str,
    policies: str | None,
    json_file: str | None,
    json_lines: bool,
    exit_status: bool,
    as_json: bool,
    fact: dict[str, str],
    evidence: tuple[str, ...],
    **fields: Any,
) -> None:
    """Ask for a remedy. It is decided now, with all that was used up so far, and written to the log for good.

    When it says approve it stands in the log and may be paid. An incomplete request writes nothing. In JSON a request
    has the fields of the options, `facts` among them or beside them, and amounts as text. With --json-lines a host
    keeps one process open: a request a line, an answer a line, and `error` in the answer to a line that is wrong.

    \b
    Examples:
      recovery request --database shop.db --policies classic --id pos-7-123 \\
          --employee emp-104 --case C-88 --role frontline --remedy refund --amount 80
      recovery request --json-file request.json --exit-status --json
      recovery request --json-lines < requests.jsonl > answers.jsonl

    Exit codes: 0 decided (or see --exit-status), 1 some lines were refused, 2 the request, the policies or the
    database cannot be used, 75 busy and nothing stored: ask again, 76 nobody knows: ask again with the same id.
    """
    refuse_both(ctx, json_file, json_lines)
    if json_lines and (exit_status or fields["id"]):
        raise click.UsageError("--json-lines answers many requests: leave out --id and --exit-status", ctx)
    given = read_object(json_file, "a request", EXAMPLE) if json_file else {}
    options = given_words(fields) | ({"evidence": listed(evidence)} if evidence else {})
    note_lone_matcher()
    with writing(database, policies, new=True) as engine:
        if json_lines:
            ctx.exit(answer_lines(lambda line: answer(decided(engine, line, fact)), options))
        decision = decided(engine, given | options, fact)
    if as_json:
        print_json(answer(decision))
    else:
        _show(decision)
    ctx.exit(EXIT_STATUS[decision.outcome] if exit_status else FINE)


def decided(engine: RecoveryEngine, given: Fields, facts: dict[str, str]) -> RecordedDecision:
    """The answer to a request in the fields of JSON; *facts* win over those in it. Raises as ``request`` does."""
    found = [
        Diagnostic("RQ005", "error", name, f"`{name}` is not yours to give: the log adds it up", "leave it out")
        for name in USAGE
        if name in given
    ]
    if found:
        raise InvalidRequest(found)
    given = given | {"facts": joined_facts(given.get("facts"), facts)}
    people, employee = staffed(), given.get("employee")
    if people is not None and not given.get("role") and isinstance(employee, str):
        person = people.person(employee)
        given |= {"role": person.role} if person is not None else {}
    site = given.get("site")
    policy = engine.policy(site if isinstance(site, str) and site else None)
    request, _ = read_request(policy, given)
    return engine.request(request)


def answer(decision: RecordedDecision) -> dict[str, Any]:
    """The answer for programs. ``due`` is what is still owed; ``due_at`` is when an answer or the hand-over is due.

    ``joined``: the very same was asked for before and still waits; ``recovery`` is that one.
    """
    return decision.as_dict() | {
        "id": decision.request.id,
        "recovery": decision.recovery,
        "joined": _joined(decision),
        "replayed": decision.replayed,
        "due_at": iso(decision.due_us),
        "before": document(decision.before),
        "log_receipt": receipt_document(decision.log_receipt),
    }


def _joined(decision: RecordedDecision) -> bool:
    return decision.recovery not in (None, decision.request.id)


def _show(decision: RecordedDecision) -> None:
    show_decision(decision)
    click.echo()
    receipt = decision.log_receipt
    if receipt is None:
        click.echo("not in the log: an incomplete request writes nothing")
        return
    for before in decision.before:
        click.echo(plain(f"before: {before.recovery}, {amount_of(before.amount, before.remedy)}, {before.status}"))
    if _joined(decision):
        click.echo(f"the very same waits for an answer already, as {plain(decision.recovery or '')}: the two are one")
    again = ", as answered before" if decision.replayed else ""
    click.echo(f"in the log: {plain(decision.recovery or '')}  [{receipt.stream} {receipt.seq}]{again}")
