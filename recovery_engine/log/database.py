"""What the store asks of a database, and the columns it writes. SQL is written once, with ``?`` for a value.

``IN (?*)`` stands for any of a list of values.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from recovery_engine.log.projection import RecoveryState

Row = Sequence[Any]
Statement = tuple[str, tuple[Any, ...]]


class Head(NamedTuple):
    """A row of ``recovery_stream``."""

    stream: str
    size: int
    frontier: bytes
    last_leaf: bytes
    last_at_us: int


TEXT, WHOLE, BYTES = "text", "int8", "bytea"

_STATE_NUMBERS = {"seq", "utc_offset_s", "questions", "moves"} | {
    name for name in RecoveryState._fields if name.endswith(("_us", "_minor"))
}

COLUMNS: dict[str, dict[str, str]] = {
    "recovery_log": {
        "stream": TEXT,
        "seq": WHOLE,
        "request_id": TEXT,
        "kind": TEXT,
        "at_us": WHOLE,
        "continues": TEXT,
        "body": BYTES,
        "leaf": BYTES,
        "root": BYTES,
    },
    "recovery_stream": {"stream": TEXT, "size": WHOLE, "frontier": BYTES, "last_leaf": BYTES, "last_at_us": WHOLE},
    "recovery_state": {name: WHOLE if name in _STATE_NUMBERS else TEXT for name in RecoveryState._fields},
    "recovery_line": {"recovery": TEXT, "line": TEXT},
    "recovery_usage": {
        "subject": TEXT,
        "bday": TEXT,
        "remedy": TEXT,
        "basis": TEXT,
        "currency": TEXT,
        "amount_minor": WHOLE,
        "times": WHOLE,
    },
    "recovery_subject_lock": {"subject": TEXT, "ver": WHOLE},
    "recovery_delegation": {
        "delegation": TEXT,
        "by_employee": TEXT,
        "to_employee": TEXT,
        "role": TEXT,
        "sites": TEXT,
        "remedies": TEXT,
        "cap_minor": WHOLE,
        "currency": TEXT,
        "from_us": WHOLE,
        "until_us": WHOLE,
        "revoked_us": WHOLE,
    },
    "recovery_subject": {"token": TEXT, "reference": TEXT},
    "recovery_personal": {"recovery": TEXT, "field": TEXT, "salt": BYTES, "value": TEXT},
    "recovery_policy": {
        "digest": TEXT,
        "source": TEXT,
        "name": TEXT,
        "label": TEXT,
        "first_day": TEXT,
        "last_day": TEXT,
        "replaces": TEXT,
        "seq": WHOLE,
        "at_us": WHOLE,
        "canonical": TEXT,
        "yaml": TEXT,
    },
    "recovery_checkpoint": {"stream": TEXT, "size": WHOLE, "root": BYTES, "note": TEXT},
}
"""The columns that are written, in order, with their PostgreSQL types."""

_KEYS = {
    "recovery_stream": "stream",
    "recovery_state": "recovery",
    "recovery_subject_lock": "subject",
    "recovery_delegation": "delegation",
    "recovery_usage": "subject, bday, remedy, basis, currency",
}


def on_conflict(table: str) -> str:
    """What becomes of a row whose key exists: usage adds up, other projections move on, all else is an error."""
    if table not in _KEYS:
        return ""
    if table == "recovery_usage":
        changes = [f"{name} = recovery_usage.{name} + excluded.{name}" for name in ("amount_minor", "times")]
    else:
        keys = _KEYS[table].split(", ")
        changes = [f"{name} = excluded.{name}" for name in COLUMNS[table] if name not in keys]
    return f" ON CONFLICT ({_KEYS[table]}) DO UPDATE SET {', '.join(changes)}"


class Reading(Protocol):
    """A connection inside a transaction, as the working set of a group reads it."""

    def batch(self, statements: Iterable[Statement]) -> list[list[Row]]:
        """The rows of each statement, in one round trip where the database is elsewhere."""
        ...

    def look(self) -> int | None:
        """Begin a transaction that sees one state and writes nothing; the database's own clock where it counts."""
        ...

    def rollback(self) -> None:
        """Give the transaction up, whatever state it is in."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Writing(Reading, Protocol):
    """The connection of the one writer of a process.

    ``locks_first``: what ``before`` reads is under the locks already. ``recovers``: it can be used on after an error.
    """

    locks_first: bool
    recovers: bool

    def take_turn(self) -> None:
        """Wait for the other processes, where they wait in line."""
        ...

    def end_turn(self) -> None:
        """Let the next process have its turn."""
        ...

    def before(self, statements: Iterable[Statement]) -> list[list[Row]]:
        """Reads from before the locks: only what cannot change may be taken from them. Raises Unavailable."""
        ...

    def begin(
        self, subjects: list[str], streams: list[str], others: list[str], statements: Iterable[Statement]
    ) -> tuple[int | None, list[list[Row]]]:
        """Begin, lock subjects and then streams (both sorted), then read. Raises Unavailable.

        Gives the database's own clock where it is the one that counts, then the versions of the subjects, the heads of
        *streams* and of *others*, and the rows of each statement.
        """
        ...

    def finish(self, inserts: Iterable[tuple[str, list[Row]]], statements: Iterable[Statement] = ()) -> None:
        """Write the rows of each table, run the statements, and commit.

        Raises CommitLost where nobody knows whether it was committed, Unavailable or Refused where it surely was not.
        """
        ...

    def tidy(self) -> None:
        """Leave as little as can be of what was erased."""
        ...

    def errors(self) -> type[Exception]:
        """The root of what the driver raises."""
        ...


class CommitLost(Exception):
    """The answer to COMMIT did not arrive."""


class Unavailable(Exception):
    """The database did not take the transaction; surely nothing was stored, and it may take it another time."""


class Refused(Exception):
    """The database refuses what one of the commands would write; surely nothing was stored."""
