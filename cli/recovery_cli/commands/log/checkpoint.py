"""`recovery log checkpoint`: how far the log has come, signed, for somebody else to keep."""

import rich_click as click

from recovery_cli.databases import database_option, file_option
from recovery_cli.documents import document
from recovery_cli.files import STANDARD_STREAM, keep_apart
from recovery_cli.options import json_option
from recovery_cli.progress import bar
from recovery_cli.render import count, plain, print_json
from recovery_engine import checkpoint


@click.command("checkpoint")
@database_option
@file_option("--key", "key_file", required=True, help="The private key that `keygen` made.")
@file_option("--out", default=STANDARD_STREAM, metavar="FILE|-", help="Where the notes go; otherwise stdout.")
@click.option("--all", "every", is_flag=True, help="Also the last notes of streams that did not grow.")
@click.option("--read-only", is_flag=True, help="Do not keep the notes in the log too.")
@json_option
@click.pass_context
def command(
    ctx: click.RichContext, database: str, key_file: str, out: str, every: bool, read_only: bool, as_json: bool
) -> None:
    """Sign how far each stream has come that grew since its last checkpoint: one file, one note for each.

    Hand the file to somebody else, or put it where you cannot change it. A checkpoint that contradicts an earlier one
    is never signed; the last notes are kept beside the key, in KEY.notes.

    \b
    Examples:
      recovery log checkpoint --key log.key --out 2026-11-30.notes
      recovery log checkpoint --key log.key --all --out latest.notes
      recovery log checkpoint --key log.key --read-only | mail -s checkpoint auditor@example.com

    Exit codes: 0 signed, or nothing has grown; 1 the log contradicts an earlier checkpoint; 2 unusable input; 75 busy:
    the notes are signed, and the next run puts them into the log.
    """
    file = None if out == STANDARD_STREAM else out
    keep_apart("--out", file, [database])
    with bar("signing") as told:
        signed = checkpoint(database, key_file, file, every=every, keep=not read_only, progress=told)
    if as_json:
        print_json({"file": file if signed else None, "checkpoints": document(signed)})
        return
    if not signed:
        click.echo("nothing has grown since the last checkpoint", err=True)
    elif file is None:
        click.echo("\n".join(one.note for one in signed), nl=False)
    for one in signed:
        again = "" if one.new else ", as signed before"
        click.echo(f"{count(one.size, 'entry')} in {plain(one.stream)}{again}", err=True)
    if file and signed:
        click.echo(f"wrote {file}", err=True)
