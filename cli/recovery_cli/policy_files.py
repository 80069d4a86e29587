"""Policies named on the command line: files, folders of files, and starter policies."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from recovery_engine import (
    Diagnostic,
    ExampleResult,
    Policy,
    PolicyError,
    check_policy_file,
    run_examples,
    shipped_policies,
)

UNREADABLE = "RP001"


@dataclass(frozen=True, slots=True)
class Checked:
    """One policy file: what is in it, what is wrong with it, and how its tests went."""

    name: str
    policy: Policy | None
    diagnostics: tuple[Diagnostic, ...]
    results: tuple[ExampleResult, ...]

    @property
    def unreadable(self) -> bool:
        """Whether there is no text to check at all."""
        return self.policy is None and any(found.code == UNREADABLE for found in self.diagnostics)


def policy_path(name: str) -> Path:
    """The file that a name stands for: a starter policy, unless a file (not a folder) has that name."""
    path = Path(name)
    return shipped_policies().get(name, path) if not _is_file(path) else path


def named_policy(name: str) -> Policy:
    """A policy by its file or starter name. Raises PolicyError with every mistake in it."""
    policy, diagnostics = _checked(name)
    if policy is None:
        raise PolicyError(found for found in diagnostics if found.level == "error")
    return policy


def checked_files(names: Iterable[str]) -> Iterator[Checked]:
    """Each policy, checked, with its embedded tests run. A folder stands for every ``*.yaml`` in it."""
    for name in (file for given in names for file in expanded(given)):
        policy, diagnostics = _checked(name)
        yield Checked(name, policy, diagnostics, run_examples(policy) if policy else ())


def expanded(name: str) -> list[str]:
    """The files of a folder, or the name itself."""
    folder = policy_path(name)
    files = sorted(str(file) for file in folder.glob("*.yaml")) if _is_folder(folder) else []
    return files or [name]


def _checked(name: str) -> tuple[Policy | None, tuple[Diagnostic, ...]]:
    path = policy_path(name)
    if _is_folder(path) and os.access(path, os.R_OK) and not any(path.glob("*.yaml")):
        message, cure = "no policy in it", "a policy is a file ending in `.yaml`"
        return None, (Diagnostic(UNREADABLE, "error", name, message, cure),)
    policy, diagnostics = check_policy_file(path)
    if policy is None and os.path.lexists(path):  # it is there: no other name is meant
        diagnostics = tuple(
            replace(found, help="") if "did you mean" in found.help and found.code == UNREADABLE else found
            for found in diagnostics
        )
    return policy, diagnostics


def _is_file(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
