"""The policies of a log for whoever checks it: what `recovery_policy` keeps, against what was loaded."""

from collections.abc import Iterator
from datetime import date
from hashlib import sha256
from typing import Any, NamedTuple

from recovery_engine.errors import PolicyError
from recovery_engine.log.calendar import day_start_seconds, window_first
from recovery_engine.log.entry import ORGANISATION, Entry
from recovery_engine.log.policies import FIRST_DAY, PolicyRow
from recovery_engine.log.verification.findings import Wrong
from recovery_engine.log.verification.snapshot import Snapshot
from recovery_engine.log.verification.tally import Span
from recovery_engine.policy.library import parse_stored
from recovery_engine.policy.schema import Policy
from recovery_engine.policy.source import file_digest

_MOST_DAYS = 1_000


class Budget(NamedTuple):
    """What one budget adds up on a business day."""

    line: str
    per: str
    span: Span
    first: str


class Terms:
    """A policy at hand, with what is asked of it again and again."""

    def __init__(self, policy: Policy, spans: dict[tuple[Any, ...], Span]) -> None:
        """*spans* are those of the other policies; one that is the same is taken from there."""
        self._spans = spans
        self.policy, self.currency = policy, policy.currency
        self.day_starts_s = day_start_seconds(policy.day_starts)
        days = policy.effective
        self.first_day = days.from_.isoformat() if days else FIRST_DAY
        self.last_day = days.until.isoformat() if days and days.until else None
        known = policy.words.known("site")
        self.sites = None if known is None else frozenset(known)
        self._budgets: dict[str, tuple[Budget, ...]] = {}

    def holds(self, day: str) -> bool:
        """Whether it could be in force on a business day (ISO); a later version may have ended it sooner."""
        return self.first_day <= day and (self.last_day is None or day <= self.last_day)

    def budgets(self, day: str) -> tuple[Budget, ...]:
        """What each budget adds up on a business day (ISO)."""
        found = self._budgets.get(day)
        if found is None:
            if len(self._budgets) >= _MOST_DAYS:
                self._budgets.clear()
            found = self._budgets[day] = tuple(self._on(date.fromisoformat(day)))
        return found

    def _on(self, day: date) -> Iterator[Budget]:
        for line in self.policy.budgets:
            named = (line.every, frozenset(map(str, line.when.words.get("remedy", ()))), self.currency)
            span = self._spans.setdefault(named, Span(*named))
            yield Budget(line.id, line.per, span, window_first(day, line.every).isoformat())


class Register:
    """Every policy that was loaded. ``by_digest`` holds None where a stored text cannot be read as the policy it is."""

    def __init__(self, snapshot: Snapshot, wrong: Wrong) -> None:
        self._wrong = wrong
        self._rows: dict[tuple[str, str], PolicyRow] = {}
        self._spoilt: dict[tuple[str, str], str] = {}
        self._spans: dict[tuple[Any, ...], Span] = {}
        self.by_digest: dict[str, Terms | None] = {}
        for values in snapshot.table("recovery_policy", "seq, digest, source"):
            self._read(PolicyRow(*values))
        self._last: dict[tuple[str, str], str] = {}

    def _read(self, row: PolicyRow) -> None:
        if not all(type(value) is str for value in (row.digest, row.source, row.name, row.canonical, row.yaml)):
            self._wrong(None, None, "`recovery_policy` has a row with a digest, name or text that is no text")
            return
        key = (row.digest, row.source)
        self._rows[key] = row
        policy, problem = _read_policy(row)
        if problem:
            self._spoilt[key] = problem
        if policy is not None and self.by_digest.get(row.digest) is None:
            self.by_digest[policy.digest] = Terms(policy, self._spans)
        self.by_digest.setdefault(row.digest, None)

    def loaded(self, entry: Entry) -> None:
        """Compare a `policy_loaded` entry with the row that must stand beside it."""
        key = (entry["policy"], entry["source"])
        row = self._rows.pop(key, None)
        beside = (entry["name"], entry["from"])
        before = self._last.get(beside)
        self._last[beside] = entry["policy"]
        if before == entry["policy"]:
            before = None
        if entry.get("replaces") != before:
            self._say(
                entry, f"`replaces` is not the policy `{entry['name']}` from {entry['from']} that was there before"
            )
        if row is None:
            self._say(entry, f"the policy {entry['policy'][:12]} is not in `recovery_policy`")
            return
        if key in self._spoilt:
            self._say(entry, self._spoilt[key])
        expected = {
            "name": entry["name"],
            "label": entry["label"],
            "first_day": entry["from"],
            "last_day": entry.get("until"),
            "replaces": entry.get("replaces"),
            "seq": entry["seq"],
            "at_us": entry["at_us"],
        }
        for name, value in expected.items():
            if getattr(row, name) != value:
                self._say(
                    entry, f"`{name}` in `recovery_policy` is `{getattr(row, name)}`, and the entry says `{value}`"
                )
        terms = self.by_digest.get(entry["policy"])
        if terms is not None and (terms.policy.policy, terms.policy.version or "", terms.first_day, terms.last_day) != (
            entry["name"],
            entry["label"],
            entry["from"],
            entry.get("until"),
        ):
            self._say(entry, f"the policy {entry['policy'][:12]} has another name, version or days")

    def _say(self, entry: Entry, what: str) -> None:
        self._wrong(ORGANISATION, entry["seq"], what)

    def finish(self) -> None:
        """Name the rows that no entry speaks of."""
        for digest, source in sorted(self._rows):
            self._wrong(
                None, None, f"`recovery_policy` has {digest[:12]} of file {source[:12]}, which was never loaded"
            )

    def versions_on(self, name: str, day: str) -> Iterator[Policy]:
        """Every version of a policy, ever loaded, that holds a day (ISO)."""
        for terms in self.by_digest.values():
            if terms is not None and terms.policy.policy == name and terms.holds(day):
                yield terms.policy


def _read_policy(row: PolicyRow) -> tuple[Policy | None, str]:
    """The policy in the stored text, if it is that of its digest, and what is wrong with the row."""
    try:
        policy = parse_stored(row.yaml, row.name)
        source = file_digest(row.yaml)
    except UnicodeError:
        return None, "`yaml` in `recovery_policy` is not text"
    except PolicyError as error:
        return None, f"`yaml` in `recovery_policy` cannot be read: {error.diagnostics[0].message}"
    if policy.digest != row.digest:
        return None, "`yaml` in `recovery_policy` gives another policy than its digest"
    if source != row.source:
        return policy, "`yaml` in `recovery_policy` is not the file of its digest"
    if sha256(row.canonical.encode("utf-8", "surrogateescape")).hexdigest() != row.digest:
        return policy, "`canonical` in `recovery_policy` is not the policy of its digest"
    return policy, ""
