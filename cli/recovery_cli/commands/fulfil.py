"""`recovery fulfil`: what was granted is in the customer's hands."""

from typing import Any

import rich_click as click

from recovery_cli.databases import database_option, writing
from recovery_cli.documents import receipt_document
from recovery_cli.hosts import Fields, answer_lines, json_in, only, read_object, refuse_both
from recovery_cli.options import given_words, json_option
from recovery_cli.render import plain, print_json
from recovery_engine import Recorded, RecoveryEngine

FIELDS = ("recovery", "reference", "by", "id")


@click.command("fulfil")
@click.argument("recovery", required=False)
@database_option
@click.option("--reference", metavar="ID", help="Of the payment, the voucher, the new order.")
@click.option("--by", metavar="ID", help="Who handed it over; otherwise who asked for it.")
@click.option("--id", metavar="ID", help="Of this command; otherwise made from the recovery's.")
@json_in
@json_option
@click.pass_context
def command(
    ctx: click.RichContext,
    /,
    database: str,
    json_file: str | None,
    json_lines: bool,
    as_json: bool,
    **fields: Any,
) -> None:
    """Say that what was granted is in the customer's hands. The same again gets the same answer.

    In JSON it has the fields `recovery`, `reference`, `by` and `id`.

    \b
    Examples:
      recovery fulfil pos-7-123 --reference rf-9
      recovery fulfil pos-7-123 --by emp-104 --json
      recovery fulfil --json-lines < handed-over.jsonl

    Exit codes: 0 done, 1 some lines were refused, 2 it cannot follow or the database cannot be used, 75 busy and
    nothing stored: ask again, 76 nobody knows: ask again.
    """
    refuse_both(ctx, json_file, json_lines)
    given = read_object(json_file, "a hand-over", '{"recovery": "...", "reference": "..."}') if json_file else {}
    options = given_words(fields)
    with writing(database) as engine:
        if json_lines:
            ctx.exit(answer_lines(lambda line: answer(fulfilled(engine, line)), options))
        recorded = fulfilled(engine, given | options)
    if as_json:
        print_json(answer(recorded))
    else:
        show(recorded, "fulfilled")


def fulfilled(engine: RecoveryEngine, given: Fields) -> Recorded:
    """The entry for the fields of JSON. Raises as ``fulfil`` does."""
    return engine.fulfil(**only(given, FIELDS, ("recovery",)))


def answer(recorded: Recorded) -> dict[str, Any]:
    """A later step for programs."""
    receipt = receipt_document(recorded.log_receipt)
    return {"recovery": recorded.recovery, "replayed": recorded.replayed, "log_receipt": receipt}


def show(recorded: Recorded, what: str) -> None:
    """A later step for people."""
    receipt = recorded.log_receipt
    again = ", as it was before" if recorded.replayed else ""
    click.echo(f"{plain(recorded.recovery)} is {what}{again}  [{receipt.stream} {receipt.seq}]")
