"""How a run can end: the exit codes, and the exception that ends one because of what was given."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recovery_engine import Diagnostic

FINE, FINDINGS, UNUSABLE, FAULT = 0, 1, 2, 3
INTERRUPTED, BROKEN_PIPE = 128 + 2, 128 + 13


class Unusable(Exception):
    """What was given cannot be used at all; ``help`` is the cure."""

    def __init__(self, message: str, help: str = "", diagnostics: "Iterable[Diagnostic]" = ()) -> None:
        super().__init__(message)
        self.message, self.help, self.diagnostics = message, help, tuple(diagnostics)


class CannotWrite(Exception):
    """The place where the output goes does not take it: a full disk, a device that is gone."""


def cannot_write(name: str, error: OSError) -> CannotWrite:
    """The exception for *error* while writing to *name*."""
    return CannotWrite(f"cannot write {name}: {(error.strerror or str(error)).lower()}")
