"""What can go wrong, as data (Diagnostic) and as a small tree of exceptions."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem: where it is, what it is, and how to cure it.

    ``where`` is ``file:line:column`` in a policy, or the name of a field in a request. ``line`` and ``column``
    count from 1 and are 0 where there is no text. ``excerpt`` is the source line with a caret under the place.
    """

    code: str
    level: Literal["error", "warning", "note"]
    where: str
    message: str
    help: str = ""
    excerpt: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        text = f"{self.where}: {self.level} {self.code} {self.message}"
        if self.excerpt:
            return f"{text}\n{self.excerpt}{' ' + self.help if self.help else ''}"
        return f"{text} ({self.help})" if self.help else text


class RecoveryError(Exception):
    """The root of everything this library raises on purpose."""


class _WithDiagnostics(RecoveryError):
    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(str(diagnostic) for diagnostic in self.diagnostics))


class PolicyError(_WithDiagnostics):
    """A policy cannot be used; ``diagnostics`` holds every mistake in it."""


class InvalidRequest(_WithDiagnostics):
    """A request cannot be decided as it stands; ``diagnostics`` holds every problem with it.

    It says nothing about the customer: a typing mistake never becomes a denial.
    """


class _WithHelp(RecoveryError):
    """One problem; ``help`` is the cure."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(f"{message} ({help})" if help else message)
        self.message, self.help = message, help


class IdempotencyConflict(_WithHelp):
    """The id was used before, for something else. Nothing was stored."""


class NotAllowed(_WithHelp):
    """The recovery is not where this step could follow; ``help`` says what could. Nothing was stored."""


class LogError(_WithHelp):
    """The log cannot be used as it is; ``help`` says what to do."""


class TamperedLog(LogError):
    """The log does not agree with itself: something was changed behind its back."""


class StoreBusy(LogError):
    """The database did not take it in time. Surely nothing was stored: ask again with the same id."""


class OutcomeUnknown(LogError):
    """The answer was lost on the way: it may be stored or not. Ask again with the same id to find out."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The cure for an unknown word: the closest known one, or the list of them when it is short."""
    choices = list(known)
    by_lower = {choice.lower(): choice for choice in choices}
    close = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{by_lower[close[0]]}`?"
    if not choices:
        return "none is declared"
    shown = ", ".join(f"`{choice}`" for choice in choices[:8])
    return f"one of {shown}" + (f" and {len(choices) - 8} more" if len(choices) > 8 else "")
