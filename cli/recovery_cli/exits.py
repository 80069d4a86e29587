"""How a run can end: the exit codes, and the exceptions that end one because of what was given."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recovery_engine import Diagnostic

FINE, FINDINGS, UNUSABLE, FAULT = 0, 1, 2, 3
DRIFTED, NOT_ANCHORED = 3, 4
"""Only of ``recovery log verify``, where a fault is ``BROKEN``."""
BROKEN, BUSY, UNKNOWN = 70, 75, 76
"""As in sysexits.h: EX_SOFTWARE; EX_TEMPFAIL, nothing was stored: try again; EX_PROTOCOL, nobody knows: ask again."""
INTERRUPTED, BROKEN_PIPE = 128 + 2, 128 + 13


class Unusable(Exception):
    """What was given cannot be used at all; ``help`` is the cure."""

    def __init__(
        self, message: str, help: str = "", diagnostics: "Iterable[Diagnostic]" = (), code: int = UNUSABLE
    ) -> None:
        super().__init__(message)
        self.message, self.help, self.diagnostics, self.code = message, help, tuple(diagnostics), code


class CannotWrite(Exception):
    """The place where the output goes does not take it: a full disk, a device that is gone."""


class ReaderLeft(Exception):
    """Nobody reads the output any more; not an OSError, which the log would take for one of its database."""


def cannot_write(name: str, error: OSError) -> CannotWrite:
    """The exception for *error* while writing to *name*."""
    return CannotWrite(f"cannot write {name}: {(error.strerror or str(error)).lower()}")
