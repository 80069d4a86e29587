"""`recovery log proof`: one entry, proved to somebody who has no log; and the check of such a proof."""

import json

import rich_click as click

from recovery_cli.commands.log.verify import vkey_option
from recovery_cli.databases import file_option
from recovery_cli.documents import document
from recovery_cli.exits import FINDINGS, FINE, Unusable
from recovery_cli.files import STANDARD_STREAM, opened, shown_name, write_text
from recovery_cli.options import json_option
from recovery_cli.render import plain, print_json
from recovery_cli.verbs import said
from recovery_engine import NoteError, check_proof, read_vkeys
from recovery_engine import proof as proof_of


@click.command("proof")
@click.argument("id", required=False)
@file_option("--database", envvar="RECOVERY_DATABASE", show_envvar=True, metavar="FILE|URL", help="Where the log is.")
@file_option("--checkpoint", "checkpoint_file", help="Lead to a checkpoint in this file; otherwise one in the log.")
@file_option("--out", default=STANDARD_STREAM, metavar="FILE|-", help="Where the proof goes; otherwise stdout.")
@file_option("--check", "proof_file", metavar="FILE|-", help="Check a proof instead.")
@vkey_option
@file_option("--entry", "entry_file", help="The entry that is proved, where the proof does not hold it.")
@click.option("--origin", metavar="NAME", help="The log it must be of, where a key signs for several.")
@json_option
@click.pass_context
def command(
    ctx: click.RichContext,
    id: str | None,
    database: str | None,
    checkpoint_file: str | None,
    out: str,
    proof_file: str | None,
    vkey_files: tuple[str, ...],
    entry_file: str | None,
    origin: str | None,
    as_json: bool,
) -> None:
    """Prove that an entry stood in the log when a checkpoint was signed, or check such a proof.

    ID is that of a recovery or of another entry. The proof holds the entry, so that whoever has the verifier key needs
    nothing else; any tool for c2sp.org/tlog-proof can check it, too.

    \b
    Examples:
      recovery log proof pos-7-123 --out pos-7-123.tlog-proof
      recovery log proof --check pos-7-123.tlog-proof --vkey log.key.vkey

    Exit codes: 0 proved, 1 it does not hold, 2 unusable input.
    """
    if bool(id) == bool(proof_file):
        raise click.UsageError("name the ID of an entry, or a proof to --check", ctx)
    if proof_file:
        if not vkey_files:
            raise click.UsageError("a proof counts by its signature: give --vkey, the file that keygen made", ctx)
        ctx.exit(_check(proof_file, vkey_files, entry_file, origin, as_json))
    if not database:
        raise click.UsageError("no database is named: give --database, or set RECOVERY_DATABASE", ctx)
    text = proof_of(database, id or "", checkpoint_file)
    if as_json:
        print_json({"id": id, "proof": text})
    else:
        write_text(out, text)


def _check(name: str, vkey_files: tuple[str, ...], entry_file: str | None, origin: str | None, as_json: bool) -> int:
    text, body = _text(name), _bytes(entry_file) if entry_file else None
    vkeys = [vkey for file in vkey_files for vkey in read_vkeys(file)]
    try:
        proven = check_proof(text, vkeys, body, origin)
    except NoteError as error:
        if as_json:
            print_json({"holds": False, "why": error.message, "help": error.help})
            return FINDINGS
        cure = f" ({error.help})" if error.help else ""
        return said(f"{shown_name(name)} does not hold: {error.message}{cure}", FINDINGS)
    if as_json:
        print_json({"holds": True, **document(proven), "entry": proven.entry})
        return FINE
    click.echo(
        f"it holds: number {proven.seq:,} of the {proven.size:,} entries that were signed for {plain(proven.origin)}"
    )
    click.echo(plain(json.dumps(proven.entry, indent=2, ensure_ascii=False)))
    return FINE


def _bytes(name: str) -> bytes:
    with opened(name) as stream:
        return stream.read()


def _text(name: str) -> str:
    try:
        return _bytes(name).decode()
    except UnicodeError:
        raise Unusable(f"{shown_name(name)}: not text", "is it the right file?") from None
