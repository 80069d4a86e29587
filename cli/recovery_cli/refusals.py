"""What the library raises, as people, programs and scripts are told: a kind, a message, its cure, an exit code."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from recovery_cli.exits import BUSY, FINDINGS, UNKNOWN, UNUSABLE, Unusable
from recovery_cli.render import diagnostics_as_json
from recovery_engine import (
    Diagnostic,
    IdempotencyConflict,
    InvalidRequest,
    LogError,
    NotAllowed,
    OutcomeUnknown,
    PolicyError,
    RecoveryError,
    StoreBusy,
    TamperedLog,
)


class Refusal(NamedTuple):
    """Why something was not done. ``kind`` is one word for programs."""

    kind: str
    message: str
    help: str
    diagnostics: tuple[Diagnostic, ...]
    code: int

    def as_dict(self) -> dict[str, Any]:
        """The refusal, ready for JSON."""
        problems = diagnostics_as_json(self.diagnostics)
        return {"error": self.message, "kind": self.kind, "help": self.help, "problems": problems}


KINDS: list[tuple[type[BaseException], str, int]] = [
    (StoreBusy, "busy", BUSY),
    (OutcomeUnknown, "unknown", UNKNOWN),
    (TamperedLog, "tampered", FINDINGS),
    (IdempotencyConflict, "conflict", UNUSABLE),
    (NotAllowed, "not-allowed", UNUSABLE),
    (LogError, "log", UNUSABLE),
    (PolicyError, "policy", UNUSABLE),
    (InvalidRequest, "request", UNUSABLE),
    (Unusable, "input", UNUSABLE),
    (RecoveryError, "input", UNUSABLE),
]
"""The first that fits: each error with its kind and exit code."""

_SAID = {"policy": "the policy cannot be used", "request": "it cannot be done as it stands"}


def refusal(error: BaseException) -> Refusal | None:
    """What *error* comes to; None where it is a fault of ours."""
    for known, kind, code in KINDS:
        if isinstance(error, known):
            message = getattr(error, "message", "") or _SAID.get(kind, str(error))
            diagnostics: Iterable[Diagnostic] = getattr(error, "diagnostics", ())
            return Refusal(kind, message, getattr(error, "help", ""), tuple(diagnostics), getattr(error, "code", code))
    return None
