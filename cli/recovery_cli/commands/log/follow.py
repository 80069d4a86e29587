"""`recovery log follow`: every entry as it comes, for whatever acts on it: a till, a chat bot, a ticketing system."""

import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from recovery_cli.databases import database_option, file_option, reading
from recovery_cli.documents import in_utc, iso
from recovery_cli.exits import Unusable, cannot_write
from recovery_cli.interrupts import BetweenRows
from recovery_cli.options import json_option
from recovery_cli.render import in_words, plain

if TYPE_CHECKING:
    from recovery_engine import LogEntry, RecoveryLog

KEPT_EVERY_S = 0.1
"""How long the cursor may stand behind what was written, while there is more: a crash repeats that much."""


@click.command("follow")
@database_option
@file_option("--after", help="Where the cursor is kept: go on behind it, and move it on. Made where there is none.")
@click.option("--once", is_flag=True, help="End when there is nothing more.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.01),
    default=1.0,
    show_default=True,
    metavar="S",
    help="Seconds until it looks again.",
)
@json_option
@click.pass_context
def command(
    ctx: click.RichContext, database: str, after: str | None, once: bool, interval: float, as_json: bool
) -> None:
    """Write every committed entry, one a line, in order in each stream, and go on as new ones come, until Ctrl-C.

    With --after each comes at least once, whatever is killed: the cursor, an object of the last seq by stream, is
    written after the line, so that a crash repeats lines and never loses one. In JSON a line has `stream`, `seq`,
    `leaf`, `kind`, `at`, `recovery` (null where it is about none) and the `entry` itself.

    \b
    Examples:
      recovery log follow --database shop.db
      recovery log follow --json --after pos.cursor | ./tell-the-tills
      recovery log follow --json --after mail.cursor --once

    Exit codes: 0 nothing more (--once), 2 the cursor is of another log or the database cannot be read, 130 Ctrl-C.
    """
    ctx.meta["as_json"] = False  # stdout holds entries and nothing else: problems go to stderr
    cursor = _Cursor(after)
    between = BetweenRows()
    try:
        with reading(database) as log:
            cursor.keep()
            for entry in between.each(_entries(log, cursor, None if once else interval, between), read=True):
                _write(_json_line(entry) if as_json else _line(entry))
                cursor.moved(entry)
    finally:
        between.over()
        cursor.keep()


def _entries(
    log: "RecoveryLog", cursor: "_Cursor", interval_s: float | None, between: BetweenRows
) -> "Iterator[LogEntry]":
    while True:
        yield from log.follow(cursor.seen)
        cursor.keep()
        if interval_s is None:
            return
        between.wait(interval_s)


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def _json_line(one: "LogEntry") -> bytes:
    entry: dict[str, Any] = json.loads(one.body)
    head = {
        "stream": one.stream,
        "seq": one.seq,
        "leaf": one.leaf,
        "kind": entry["kind"],
        "at": iso(entry["at_us"]),
        "recovery": entry.get("recovery"),
    }
    # The entry goes out as the very bytes that its leaf is the hash of.
    return json.dumps(head)[:-1].encode() + b', "entry": ' + one.body + b"}\n"


def _line(one: "LogEntry") -> bytes:
    entry: dict[str, Any] = json.loads(one.body)
    words = (in_utc(entry["at_us"]), f"{one.stream} {one.seq}", in_words(entry["kind"]))
    about = [str(entry[name]) for name in ("recovery", "by") if entry.get(name)]
    return f"{plain('  '.join([*words, *about]))}\n".encode(errors="backslashreplace")


class _Cursor:
    """How far the subscriber has come, in a file where one is named."""

    def __init__(self, name: str | None) -> None:
        self._name = name
        self.seen: dict[str, int] = _read(name) if name else {}
        self._kept: dict[str, int] | None = None
        self._kept_at = 0.0

    def moved(self, entry: "LogEntry") -> None:
        """An entry was written, and its line is on its way."""
        self.seen[entry.stream] = entry.seq
        if time.monotonic() - self._kept_at > KEPT_EVERY_S:
            self.keep()

    def keep(self) -> None:
        """Put the cursor into its file, whole or not at all. Raises CannotWrite."""
        if self._name is None or self._kept == self.seen:
            return
        path = Path(os.path.realpath(self._name))
        partial = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
        try:
            with open(partial, "x", encoding="utf-8") as file:
                file.write(json.dumps(self.seen) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise cannot_write(self._name, error) from None
        self._kept, self._kept_at = dict(self.seen), time.monotonic()


def _read(name: str) -> dict[str, int]:
    """The cursor in a file; one that is not there, or is empty, has seen nothing. Raises Unusable."""
    try:
        text = Path(name).read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Unusable(f"cannot read {name}: {(error.strerror or str(error)).lower()}") from None
    try:
        given = json.loads(text) if text.strip() else {}
        if isinstance(given, dict):
            return given
    except (ValueError, RecursionError):
        pass
    raise Unusable(f"{name}: not a cursor", 'it holds the last seq by stream, such as {"site:S001": 12}')
