"""Policies named on the command line: files, folders of files, and starter policies."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from recovery_engine import Diagnostic, ExampleResult, Policy, check_policy_file, run_examples


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
        return self.policy is None and any(found.code == "RP001" for found in self.diagnostics)


def checked_files(names: Iterable[str]) -> Iterator[Checked]:
    """Each policy, checked, with its embedded tests run. A folder stands for every ``*.yaml`` in it."""
    for name in (file for given in names for file in _expanded(given)):
        policy, diagnostics = check_policy_file(name)
        yield Checked(name, policy, diagnostics, run_examples(policy) if policy else ())


def _expanded(name: str) -> Iterator[str]:
    folder = Path(name)
    files = sorted(str(file) for file in folder.glob("*.yaml")) if folder.is_dir() else []
    yield from files or [name]
