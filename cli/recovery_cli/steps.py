"""A later step of a recovery as a command: options or JSON in; where it stands, and what to tell the customer, out."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import rich_click as click

from recovery_cli.databases import complete_recovery, staff_option, staffed, writing
from recovery_cli.documents import in_utc, iso, receipt_document
from recovery_cli.hosts import Fields, answer_lines, json_in, only, read_object, refuse_both
from recovery_cli.options import complete_word, given_words, json_option
from recovery_cli.render import amount_of, in_words, plain, print_json, up_to
from recovery_engine import Alternative, Diagnostic, InvalidRequest, Money, NotAllowed, Recorded, RecoveryEngine

Command = TypeVar("Command", bound=Callable[..., Any])
LISTS = ("evidence", "sites", "remedies")
"""The fields that are lists; one text stands for a list of it."""


def step_document(recorded: Recorded) -> dict[str, Any]:
    """A later step for programs. ``due_at`` is when an answer or the hand-over is due."""
    state = recorded.state
    waits = state.status == "pending"
    return {
        "recovery": recorded.recovery,
        "status": state.status,
        "to": state.to_role if waits else None,
        "due_at": iso(state.due_us) if state.status in ("pending", "granted") else None,
        "remedy": (None if waits else state.granted_remedy) or state.remedy,
        "amount": _amount(recorded).decimal,
        "currency": state.currency,
        "alternatives": [
            {"remedy": one.remedy, "up_to": "unlimited" if one.up_to is None else one.up_to.decimal}
            for one in recorded.alternatives
        ],
        "tell_customer": recorded.tell_customer,
        "replayed": recorded.replayed,
        "log_receipt": receipt_document(recorded.log_receipt),
    }


def show_step(recorded: Recorded) -> None:
    """A later step for people."""
    state, receipt = recorded.state, recorded.log_receipt
    again = ", as it was before" if recorded.replayed else ""
    click.echo(f"{plain(recorded.recovery)} {_stands(recorded)}{again}  [{receipt.stream} {receipt.seq}]")
    if state.due_us is not None and state.status in ("pending", "granted") and state.question_us is None:
        what = "an answer" if state.status == "pending" else "the hand-over"
        click.echo(f"  {what} is due by {in_utc(state.due_us)}")
    if recorded.alternatives:
        click.echo(f"  instead, at once: {', '.join(map(_instead, recorded.alternatives))}")
    click.echo(f"  say “{plain(recorded.tell_customer)}”")


def _stands(recorded: Recorded) -> str:
    state = recorded.state
    if state.status == "granted":
        return f"is granted: {amount_of(_amount(recorded), plain(state.granted_remedy or state.remedy))}"
    if state.status != "pending":
        return f"is {state.status}"
    if state.question_us is not None:
        return "waits for the answer to a question"
    second = ", the second person" if state.approver is not None else ""
    return f"waits for the {plain(in_words(state.to_role or ''))}{second}"


def _amount(recorded: Recorded) -> Money:
    state = recorded.state
    granted = state.granted_minor if state.status != "pending" else None
    return Money(state.asked_minor if granted is None else granted, state.currency)


def _instead(other: Alternative) -> str:
    return f"{plain(in_words(other.remedy))} {up_to(other.up_to)}"


# --- taken from the command line, or from JSON ------------------------------------------------------------------------


class Step(NamedTuple):
    """A step: what it is called, an example of it in JSON, its fields and those it needs, and what takes it.

    ``of_staff`` are those of the needed that a staff directory knows, where there is one. ``document`` and ``show`` are
    what came of it for programs and for people.
    """

    noun: str
    example: str
    fields: tuple[str, ...]
    needs: tuple[str, ...]
    take: Callable[[RecoveryEngine, Fields], Any]
    of_staff: tuple[str, ...] = ()
    document: Callable[[Any], dict[str, Any]] = step_document
    show: Callable[[Any], None] = show_step


def recovery_argument(status: str) -> Callable[[Command], Command]:
    """RECOVERY; *status* is where one must stand for the step."""
    return click.argument("recovery", required=False, shell_complete=complete_recovery(status))


def approver_options(command: Command) -> Command:
    """``--by`` and ``--role`` of somebody who was asked."""
    role = click.option(
        "--role", metavar="WORD", shell_complete=complete_word, help="In which role: one of the ladder."
    )
    return click.option("--by", metavar="ID", help="Who answers for it.")(role(staff_option(command)))


def step_options(command: Command) -> Command:
    """``--id``, JSON in and JSON out."""
    id_option = click.option("--id", metavar="ID", help="Of this command; otherwise one is made for it.")
    return id_option(json_in(json_option(command)))


def taken(
    ctx: click.Context,
    step: Step,
    /,
    *,
    database: str,
    json_file: str | None,
    json_lines: bool,
    as_json: bool,
    **fields: Any,
) -> None:
    """Take a step from options, from one object, or from one a line; and say what came of it."""
    refuse_both(ctx, json_file, json_lines)
    given = read_object(json_file, step.noun, step.example) if json_file else {}
    options = given_words(fields)
    with writing(database) as engine:
        if json_lines:
            ctx.exit(answer_lines(lambda line: step.document(_taken(engine, step, line)), options))
        recorded = _taken(engine, step, given | options)
    if as_json:
        print_json(step.document(recorded))
    else:
        step.show(recorded)


def _taken(engine: RecoveryEngine, step: Step, given: Fields) -> Any:
    """What stands in the log for the fields of JSON. Raises as the engine does."""
    needs = tuple(name for name in step.needs if name not in step.of_staff or staffed() is None)
    fields = {
        name: [value] if name in LISTS and isinstance(value, str) else value
        for name, value in only(given, step.fields, needs).items()
    }
    wrong = [name for name, value in fields.items() if not (_is_texts(value) if name in LISTS else _is_text(value))]
    if wrong:
        raise InvalidRequest([_ill_typed(name) for name in wrong])
    return step.take(engine, fields)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _ill_typed(name: str) -> Diagnostic:
    what, example = ("a list of texts", '["photo"]') if name in LISTS else ("a text", '"..."')
    return Diagnostic("RQ006", "error", name, f"`{name}` is not {what}", f"write {example}")


def with_amount(engine: RecoveryEngine, given: Fields) -> Fields:
    """The fields, with the amount in the currency of the recovery. Raises NotAllowed, InvalidRequest."""
    if "amount" not in given:
        return given
    state = engine.recovery(given["recovery"])
    if state is None:
        raise NotAllowed(f"there is no recovery `{given['recovery']}`", "check the id")
    return given | {"amount": Money.of(given["amount"], state.currency)}
