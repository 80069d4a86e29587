"""`recovery log verify`: does the log agree with itself, and with what others keep of it?"""

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from rich.text import Text

from recovery_cli.databases import Command, database_option, file_option
from recovery_cli.documents import document
from recovery_cli.exits import BROKEN, DRIFTED, FINDINGS, FINE, NOT_ANCHORED, Unusable
from recovery_cli.options import json_option
from recovery_cli.progress import bar
from recovery_cli.render import console, count, plain, print_json
from recovery_engine import Anchor, read_anchor, read_vkeys
from recovery_engine import verify as verify_log

if TYPE_CHECKING:
    from recovery_engine import Report

VERDICTS = {"tampered": FINDINGS, "anchor": NOT_ANCHORED, "drift": DRIFTED}
"""The kinds of findings, the gravest first, with the exit code for each."""

SAID = {
    "tampered": ("tampered", "entries were changed behind the log's back; what was, others may still have: a backup, "
                 "an export, the hosts"),
    "anchor": ("not what was anchored", "if a backup was restored, `recovery log reopen` says so in the log"),
    "drift": ("drifted", "the entries are sound, and tables beside them are not: `recovery log rebuild`"),
}  # fmt: skip
STYLES = {"tampered": "red", "anchor": "red", "drift": "yellow"}
UNSEEN = (
    "nothing here shows whether the newest entries were removed: for that somebody else has to keep a checkpoint "
    "(`recovery log checkpoint`, `verify --anchor`)"
)


def vkey_option(command: Command) -> Command:
    """``--vkey``: the verifier keys that notes count by."""
    help = "A file of verifier keys, such as `KEY.vkey`. May be repeated."
    return file_option("--vkey", "vkey_files", multiple=True, help=help)(command)


def anchors_in(ctx: click.Context, files: tuple[str, ...], vkey_files: tuple[str, ...]) -> list[Anchor]:
    """What the notes in files say. Raises UsageError, LogError, NoteError."""
    if files and not vkey_files:
        raise click.UsageError("an anchor counts by its signature: give --vkey, the file that keygen made", ctx)
    vkeys = [vkey for file in vkey_files for vkey in read_vkeys(file)]
    return [anchor for file in files for anchor in read_anchor(file, vkeys)]


@click.command("verify")
@database_option
@file_option("--anchor", "anchor_files", multiple=True, help="A checkpoint kept elsewhere. May be repeated.")
@vkey_option
@click.option("--no-replay", is_flag=True, help="Do not make each decision again; much faster.")
@click.option("--without-people", is_flag=True, help="It is a copy made without people: do not look for their texts.")
@json_option
@click.pass_context
def command(
    ctx: click.RichContext,
    database: str,
    anchor_files: tuple[str, ...],
    vkey_files: tuple[str, ...],
    no_replay: bool,
    without_people: bool,
    as_json: bool,
) -> None:
    """Check every entry, every table beside the entries, and every decision; name the first bad place.

    \b
    Examples:
      recovery log verify --database shop.db
      recovery log verify --anchor november.notes --vkey log.key.vkey
      recovery log verify --no-replay --json
      recovery log verify --database copy-for-the-auditor.db --without-people

    Exit codes: 0 clean, 1 tampered, 2 unusable input, 3 tables drifted from the entries (`recovery log rebuild`), 4 the
    anchor is missing or ahead of the log, 70 fault.
    """
    ctx.meta["fault_code"] = BROKEN
    for name in anchor_files:
        if not Path(name).exists():
            raise Unusable(f"the anchor {name} is missing", "name the file that somebody else kept", code=NOT_ANCHORED)
    anchors = anchors_in(ctx, anchor_files, vkey_files)
    with bar("verifying") as told:
        report = verify_log(database, replay=not no_replay, texts=not without_people, anchors=anchors, progress=told)
    verdict = next((kind for kind in VERDICTS if report.has(kind)), None)  # type: ignore[arg-type]
    if as_json:
        print_json({"verdict": verdict or "clean", **document(report)})
    else:
        _show(report, verdict, anchored=bool(anchor_files))
    ctx.exit(VERDICTS[verdict] if verdict else FINE)


def _show(report: "Report", verdict: str | None, *, anchored: bool) -> None:
    out = console()
    for finding in report.findings:
        line = Text.assemble((f"{finding.kind:<10}", STYLES[finding.kind]), plain(str(finding)))
        out.print(line, soft_wrap=True)
    if report.found > len(report.findings):
        out.print(f"... and {report.found - len(report.findings):,} more")
    again = f", {count(report.replayed, 'decision')} made again" if report.replayed else ""
    never = f", {report.not_replayed:,} not (made by another version)" if report.not_replayed else ""
    out.print(f"{count(report.entries, 'entry')} in {count(report.streams, 'stream')}{again}{never}")
    for stream, tail in report.unanchored if anchored else ():
        if tail:
            out.print(f"not anchored: the newest {count(tail, 'entry')} of {plain(stream)}", soft_wrap=True)
    if verdict is None:
        out.print(Text("clean", "bold green"))
        if not anchored:
            click.echo(f"note: {UNSEEN}", err=True)
        return
    name, cure = SAID[verdict]
    out.print(Text.assemble((name, f"bold {STYLES[verdict]}"), f": {cure}"), soft_wrap=True)
