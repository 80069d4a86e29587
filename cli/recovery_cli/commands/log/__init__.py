"""`recovery log`: the verbs of whoever reads the log, proves it, or looks after it."""

import rich_click as click

from recovery_cli.verbs import Verbs

VERBS = {
    "list": ("list", "List recoveries, those that fit a filter."),
    "show": ("show", "Tell the whole story of a recovery or a case."),
    "follow": ("follow", "Write every entry as it comes, for what acts on it."),
    "stats": ("stats", "Add up what recoveries come to."),
    "sample": ("sample", "Draw recoveries by chance, so that others draw the same."),
    "report": ("report", "Report every grant of a month above an amount."),
    "export": ("export", "Write recoveries or entries as CSV, JSONL, Parquet or SQLite."),
    "verify": ("verify", "Prove that the log agrees with itself, and with what others keep."),
    "keygen": ("keygen", "Make a key to sign checkpoints with."),
    "checkpoint": ("checkpoint", "Sign how far the log has come, for somebody else to keep."),
    "proof": ("proof", "Prove one entry to somebody who has no log, or check such a proof."),
    "forget": ("forget", "Erase who a customer is; the entries stay."),
    "rebuild": ("rebuild", "Work the tables out again from the entries."),
    "clock": ("clock", "Accept a clock that stands far from the last entries."),
    "reopen": ("reopen", "Answer for what was lost in a restore, and go on."),
}
"""Every verb with its module and what it does."""


@click.group("log", cls=Verbs, verbs=VERBS, package="recovery_cli.commands.log")
def command() -> None:
    """Read the log, prove it, look after it.

    The verbs that read (list to verify, and proof) work on a file that may only be read, and with a role that may only
    SELECT. Each answers in JSON with --json.

    \b
    Examples:
      recovery log list --database shop.db --outcome deny --month 2026-11
      recovery log show pos-7-123
      recovery log verify --anchor november.notes --vkey log.key.vkey

    Exit codes: 0 fine, 1 the log was changed behind its back, 2 unusable input, 3 fault, 75 busy: try again, 76 nobody
    knows whether it was stored: try again. `verify` has its own.
    """
