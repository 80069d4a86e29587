"""`recovery schema`: what a policy file may hold, as JSON Schema, so that an editor completes and checks it."""

import json

import rich_click as click

from recovery_cli.files import STANDARD_STREAM, write_text
from recovery_cli.options import json_option
from recovery_engine import json_schema


@click.command("schema")
@click.option("--output", default=STANDARD_STREAM, metavar="FILE", help="Where it goes; otherwise stdout.")
@json_option
def command(output: str, as_json: bool) -> None:
    """Print the JSON Schema of a policy file.

    The starter policies name `recovery-policy.schema.json` in their first line: with that file beside them, editors
    that speak YAML complete words and underline mistakes while you type. (The schema is JSON with or without --json.)

    \b
    Examples:
      recovery schema --output recovery-policy.schema.json
      recovery schema | jq .title
    """
    write_text(output, json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
