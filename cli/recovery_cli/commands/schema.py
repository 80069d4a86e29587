"""`recovery schema`: what a policy file may hold, as JSON Schema, so that an editor completes and checks it."""

import json
import os

import rich_click as click

from recovery_cli.files import STANDARD_STREAM, keep_apart, write_text
from recovery_cli.options import DEFAULT_POLICY, json_option
from recovery_cli.policy_files import policy_path
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
    keep_apart("--output", output, [policy_path(os.environ.get("RECOVERY_POLICY") or DEFAULT_POLICY)])
    write_text(output, json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
