"""`recovery void`: what was granted is taken back before it reached the customer."""

from typing import Any

import rich_click as click

from recovery_cli.commands.fulfil import answer, show
from recovery_cli.databases import database_option, writing
from recovery_cli.hosts import Fields, answer_lines, json_in, only, read_object, refuse_both
from recovery_cli.options import given_words, json_option
from recovery_cli.render import print_json
from recovery_engine import Recorded, RecoveryEngine

FIELDS = ("recovery", "reason", "by", "id")


@click.command("void")
@click.argument("recovery", required=False)
@database_option
@click.option("--reason", metavar="TEXT", help="Why, in a word or a sentence.")
@click.option("--by", metavar="ID", help="Who takes it back.")
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
    """Take back what was granted, before it reached the customer. The money counts no longer; the case still does.

    The same again gets the same answer. In JSON it has the fields `recovery`, `reason`, `by` and `id`.

    \b
    Examples:
      recovery void pos-7-123 --reason "given twice" --by emp-7
      recovery void --json-file void.json --json

    Exit codes: 0 done, 1 some lines were refused, 2 it cannot follow or the database cannot be used, 75 busy and
    nothing stored: ask again, 76 nobody knows: ask again.
    """
    refuse_both(ctx, json_file, json_lines)
    given = read_object(json_file, "a void", '{"recovery": "...", "reason": "...", "by": "..."}') if json_file else {}
    options = given_words(fields)
    with writing(database) as engine:
        if json_lines:
            ctx.exit(answer_lines(lambda line: answer(voided(engine, line)), options))
        recorded = voided(engine, given | options)
    if as_json:
        print_json(answer(recorded))
    else:
        show(recorded, "voided")


def voided(engine: RecoveryEngine, given: Fields) -> Recorded:
    """The entry for the fields of JSON. Raises as ``void`` does."""
    return engine.void(**only(given, FIELDS, ("recovery", "reason", "by")))
