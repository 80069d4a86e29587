"""Policies on disk: one file, or a folder of versions and which of them is in force on a day at a site."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from recovery_engine.decide import compiled, decide, owed_misfits
from recovery_engine.errors import Diagnostic, InvalidRequest, PolicyError, did_you_mean
from recovery_engine.model import NO_USAGE, OWED, Decision, RecoveryRequest, Usage
from recovery_engine.policy.layers import UNUSABLE_PARENT, Layer, above, extended, with_layers
from recovery_engine.policy.layout import laid_out
from recovery_engine.policy.reading import ILL_TYPED, MISSING, problem
from recovery_engine.policy.schema import Policy
from recovery_engine.policy.source import check_text
from recovery_engine.policy.words import Problem
from recovery_engine.staff import Staff, read_staff

if TYPE_CHECKING:
    from recovery_engine.whatif.lint import Lint

_MAX_BYTES = 4_000_000


def shipped_policies() -> dict[str, Path]:
    """The starter policies that come with the library, by name."""
    here = Path(__file__).resolve().parent.parent
    folder = next((place for place in (here / "policies", here.parent / "policies") if place.is_dir()), here)
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def check_policy(text: str, file: str = "<policy>") -> tuple[Policy | None, tuple[Diagnostic, ...]]:
    """The policy in a text, unless it has an error, and all diagnostics in the order of the file, warnings too."""
    return _checked(text, file)


def _checked(
    text: str, file: str, below: Sequence[Layer] = (), proven: bool = False
) -> tuple[Policy | None, tuple[Diagnostic, ...]]:
    policy, diagnostics = check_text(text, file, below, None if proven else _widening)
    if policy is not None:
        try:
            compiled(policy)
        except PolicyError as error:
            return None, (*diagnostics, *error.diagnostics)
    return policy, diagnostics


def _widening(policy: Policy) -> tuple[str, Problem] | None:
    from recovery_engine.whatif.tightening import widening_of  # most policies extend none, and load without it

    return widening_of(policy)


def parse_policy(text: str, file: str = "<policy>") -> Policy:
    """Read a policy from YAML text. Raises PolicyError with every mistake in it."""
    return _without_errors(*check_policy(text, file))


def parse_stored(text: str, name: str) -> Policy:
    """Read a policy from the text that a log keeps; what it extends is in there, and was compared when it was loaded.

    Raises PolicyError.
    """
    return _without_errors(*_checked(text, name, proven=True))


def check_policy_file(path: str | Path) -> tuple[Policy | None, tuple[Diagnostic, ...]]:
    """The policy in a file, unless it has an error, and every diagnostic. *path* may name a starter policy."""
    found = _text_in(path)
    return (None, (found,)) if isinstance(found, Diagnostic) else _checked(*found, _below(*found))


def lint_policy_file(path: str | Path) -> "Lint":
    """What `lint_policy` says about the policy in a file. *path* may name a starter policy."""
    from recovery_engine.whatif.lint import Lint, lint_policy
    from recovery_engine.whatif.lint_desk import LintFinding

    found = _text_in(path)
    if isinstance(found, Diagnostic):
        return Lint(None, (LintFinding(found),), complete=False)
    return lint_policy(*found, _below(*found))


def format_policy(text: str, file: str = "<policy>") -> str:
    """The text of a policy, laid out; it says the same, and laid out again it stays as it is.

    What it extends is looked for as seen from *file*. Raises PolicyError where the text is no policy.
    """
    return laid_out(text, file, _below(text, file))


def _text_in(path: str | Path) -> tuple[str, str] | Diagnostic:
    """The text of a policy file and the name it is shown by, or why it cannot be read."""
    shipped = shipped_policies()
    return _text_of(_file_of(path, shipped), str(path), "policy", shipped)


def _file_of(path: str | Path, shipped: Mapping[str, Path], named: str | None = None) -> Path:
    """The file at *path*, or the starter policy of the name that stands there."""
    file, name = Path(path), str(path) if named is None else named
    with suppress(OSError, ValueError):
        return shipped[name] if name in shipped and not file.is_file() else file
    return file


def _below(text: str, file: str) -> tuple[Layer, ...]:
    """The policies that a policy file extends, nearest first, each with its text or why that cannot be used."""
    layers: list[Layer] = []
    chain, shipped = [file], shipped_policies()
    while (named := extended(text)) is not None:
        path = _file_of(Path(chain[-1]).parent / named, shipped, named)
        again = [name for name in chain if _is_same(Path(name), path)]
        if again:
            way = " extends ".join(f"`{Path(name).name}`" for name in (*chain[chain.index(again[0]) :], again[0]))
            layers.append((str(path), Problem(UNUSABLE_PARENT, f"a circle: {way}", "one of them must extend none")))
            break
        found = _text_of(path, named, "policy", shipped)
        if isinstance(found, Diagnostic):
            what = f"`{named}`, which it extends, cannot be used: {found.message}"
            layers.append((str(path), Problem(UNUSABLE_PARENT, what, found.help)))
            break
        text = found[0]
        layers.append((found[1], text))
        chain.append(found[1])
    return tuple(layers)


def _is_same(one: Path, other: Path) -> bool:
    with suppress(OSError, ValueError):
        return one.resolve() == other.resolve()
    return False


def _text_of(file: Path, named: str, noun: str, known: Iterable[str] = ()) -> tuple[str, str] | Diagnostic:
    """The text of a file, *named* so by whoever wants it, and the name it is shown by; or why it cannot be read."""
    shown = str(file)
    try:
        if file.is_file() and file.stat().st_size > _MAX_BYTES:
            message = f"{file.stat().st_size:,} bytes is too large for a {noun}"
            return _unreadable(shown, message, "a policy is one page" if noun == "policy" else "split it in two")
        raw = file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        message = f"cannot read it: {(getattr(error, 'strerror', None) or str(error)).lower()}"
        names = [name for name in (*known, *map(str, _siblings(file))) if name != named]
        return _unreadable(shown, message, did_you_mean(named[:80], names))
    try:
        return raw.decode("utf-8"), shown
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return _unreadable(f"{shown}:{line}", "not UTF-8 text", "save the file as UTF-8", line)


def read_staff_file(path: str | Path, policies: Iterable[Policy] = ()) -> Staff:
    """Read a staff directory from a YAML file. Where *policies* are given, roles and sites must be theirs.

    Raises PolicyError with every mistake in it.
    """
    found = _text_of(Path(path), str(path), "staff directory")
    if isinstance(found, Diagnostic):
        raise PolicyError([found])
    return read_staff(*found, policies)


def read_policies(place: str | Path) -> list[tuple[Policy, str]]:
    """The policies in a file, a folder's ``*.yaml``, or a starter policy of that name, each with its text.

    The text of one that extends another holds that as well.

    Raises PolicyError with every mistake in every file.
    """
    folder = Path(place)
    files: list[str | Path] = [place]
    if folder.is_dir():
        files = [*sorted(folder.glob("*.yaml"))]
        if not files:
            raise PolicyError([_unreadable(str(folder), "no policy here", "a policy is a file ending in `.yaml`")])
    read: list[tuple[Policy, str]] = []
    problems: list[Diagnostic] = []
    for file in files:
        found = _text_in(file)
        if isinstance(found, Diagnostic):
            problems.append(found)
            continue
        below = _below(*found)
        policy, diagnostics = _checked(*found, below)
        problems.extend(diagnostic for diagnostic in diagnostics if diagnostic.level == "error")
        if policy is not None:
            read.append((policy, with_layers(found[0], below)))
    if problems:
        raise PolicyError(dict.fromkeys(problems))
    return read


def _siblings(file: Path) -> Iterator[Path]:
    try:
        yield from file.parent.glob("*.yaml")
    except (OSError, ValueError):
        return


def _unreadable(where: str, message: str, help: str, line: int = 0) -> Diagnostic:
    return Diagnostic("RP001", "error", where, message, help, line=line)


def _both_in_force(where: str, message: str, help: str) -> Diagnostic:
    return Diagnostic("RP016", "error", where, message, help)


def load_policy(path: str | Path) -> Policy:
    """Read a policy from a YAML file, or a starter policy by its name. Raises PolicyError with every mistake in it."""
    return _without_errors(*check_policy_file(path))


def _without_errors(policy: Policy | None, diagnostics: Iterable[Diagnostic]) -> Policy:
    if policy is None:
        raise PolicyError(diagnostic for diagnostic in diagnostics if diagnostic.level == "error")
    return policy


@dataclass(frozen=True, slots=True)
class _Version:
    policy: Policy
    first: date
    last: date
    sites: frozenset[str] | None  # None: any

    def holds(self, day: date) -> bool:
        return self.first <= day <= self.last

    def serves(self, site: str | None) -> bool:
        return site is None or self.sites is None or site in self.sites

    def extends(self, other: "_Version") -> bool:
        """Whether this is a policy that extends the other, or one that does."""
        return any(parent.policy == other.policy.policy for parent in above(self.policy))

    def stands_for(self, other: "_Version", site: str | None) -> bool:
        """Whether this decides in the place of another, which it extends; where no site is named, if for all sites."""
        return self.extends(other) and (site is not None or self.sites == other.sites)


class PolicyLibrary:
    """Versions of one or more policies; where one extends another, it decides in its place at its sites.

    Raises PolicyError where two would be in force for the same site and day.
    """

    def __init__(self, policies: Iterable[Policy]) -> None:
        self._versions = list(_dated(policies))
        if found := [*_overlaps(self._versions), *_misfits(self._versions), *_outdated(self._versions)]:
            raise PolicyError(found)

    @classmethod
    def open(cls, folder: str | Path) -> "PolicyLibrary":
        """Every ``*.yaml`` of a folder. Raises PolicyError with every mistake in every file."""
        return cls(policy for policy, _ in read_policies(folder))

    def in_force(self, day: date, site: str | None = None, name: str | None = None) -> Policy:
        """The one policy in force on a business day that lists the site (or lists none). Raises InvalidRequest."""
        found = [
            version
            for version in self._versions
            if version.holds(day) and name in (None, version.policy.policy) and version.serves(site)
        ]
        return self._only(found, day, site)

    def in_force_at(self, day_of: Callable[[Policy], date], site: str | None) -> tuple[Policy, date]:
        """The same at an instant, with its business day, which *day_of* tells by a policy's clock."""
        days = [(version, day_of(version.policy)) for version in self._versions if version.serves(site)]
        found = {id(version.policy): (version, day) for version, day in days if version.holds(day)}
        if not found:
            day = day_of(self._versions[-1].policy) if self._versions else date.min
            return self._only([], day, site), day
        policy = self._only([version for version, _ in found.values()], [*found.values()][-1][1], site)
        return policy, found[id(policy)][1]

    def _only(self, found: list[_Version], day: date, site: str | None) -> Policy:
        nearest = [version for version in found if not any(other.stands_for(version, site) for other in found)]
        if len(nearest) == 1:
            return nearest[0].policy
        if found:
            names = ", ".join(f"`{version.policy.policy}`" for version in nearest)
            raise InvalidRequest(
                [problem(MISSING, "site", f"no site, and {names} are in force on {day}", "name the site")]
            )
        where = f" at `{site}`" if site else ""
        sites = [site for version in self._versions for site in version.policy.words.known("site") or ()]
        raise InvalidRequest(
            [
                problem(
                    MISSING,
                    "site" if site else "day",
                    f"no policy is in force on {day}{where}",
                    did_you_mean(site or "", sites),
                )
            ]
        )

    def decide(self, day: date, request: RecoveryRequest, usage: Usage = NO_USAGE) -> Decision:
        """Decide a request made on a business day; what is owed follows the version of the day it occurred."""
        policy, occurred_on = self.in_force(day, request.site), request.occurred_on
        if request.basis != OWED or type(occurred_on) is not date:
            return decide(policy, request, usage)
        if occurred_on > day:
            found = problem(
                ILL_TYPED, "occurred_on", f"{occurred_on} is after the day of the request, {day}", "check the day"
            )
            raise InvalidRequest([found])
        return decide(policy, request, usage, owed_under=self.version_on(occurred_on, policy.policy))

    def on(self, day: date) -> tuple[Policy, ...]:
        """Every policy in force on a business day."""
        return tuple(version.policy for version in self._versions if version.holds(day))

    def version_on(self, day: date, name: str) -> Policy | None:
        """The version of a policy that is in force on a day."""
        return next((each.policy for each in self._versions if each.policy.policy == name and each.holds(day)), None)


def _misfits(versions: list[_Version]) -> Iterator[Diagnostic]:
    """What keeps the owed lines of one version from being used beside the rest of a later one."""
    for later in versions:
        for earlier in versions:
            if earlier.policy.policy == later.policy.policy and earlier.first < later.first:
                yield from owed_misfits(later.policy, earlier.policy)


def _outdated(versions: list[_Version]) -> Iterator[Diagnostic]:
    """Policies that extend another version than is in force beside them: nobody compared them with that one."""
    for one in versions:
        parents = {parent.policy: parent for parent in above(one.policy)}
        for other in versions:
            parent, day = parents.get(other.policy.policy), max(one.first, other.first)
            if parent is None or day > min(one.last, other.last) or parent.digest == other.policy.digest:
                continue
            message = f"`{one.policy.policy}` extends another version of `{parent.policy}` than is in force on {day}"
            cure = "end it with `until` the day before, and let its next version extend that one"
            yield Diagnostic("RP017", "error", one.policy.where("extends"), message, cure)


def _dated(policies: Iterable[Policy]) -> Iterator[_Version]:
    """Each version with its days: without `until`, up to the day before the next version of the same policy."""
    named: dict[str, list[Policy]] = {}
    for policy in policies:
        named.setdefault(policy.policy, []).append(policy)
    for versions in named.values():
        versions.sort(key=_first)
        for policy, following in zip(versions, [*versions[1:], None], strict=True):
            until = policy.effective.until if policy.effective else None
            if until is None:
                until = date.max if following is None else _day_before(_first(following), not_before=_first(policy))
            known = policy.words.known("site")
            yield _Version(policy, _first(policy), until, None if known is None else frozenset(known))


def _first(policy: Policy) -> date:
    return policy.effective.from_ if policy.effective else date.min


def _day_before(day: date, not_before: date) -> date:
    return not_before if day <= not_before else day - timedelta(days=1)


def _overlaps(versions: list[_Version]) -> Iterator[Diagnostic]:
    for index, one in enumerate(versions):
        for other in versions[index + 1 :]:
            if one.last < other.first or other.last < one.first:
                continue
            if one.extends(other) or other.extends(one):
                continue
            ours, theirs = one.policy, other.policy
            if ours.policy == theirs.policy:
                message = f"two versions of `{ours.policy}` are in force on {max(one.first, other.first)}"
                yield _both_in_force(theirs.where(""), message, "end one with `until` before the other begins")
                continue
            our_sites, their_sites = ours.words.known("site"), theirs.words.known("site")
            shared = [site for site in our_sites or their_sites or ["any"] if other.serves(site) and one.serves(site)]
            if shared:
                day = max(one.first, other.first)
                message = f"`{ours.policy}` and `{theirs.policy}` are both in force at {shared[0]} on {day}"
                yield _both_in_force(theirs.where(""), message, "list each site in one policy only")
