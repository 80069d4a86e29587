"""What concerns the whole organisation: policies, people who are forgotten, the clock."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from recovery_engine.errors import Diagnostic, InvalidRequest, LogError, NotAllowed, PolicyError
from recovery_engine.log.entry import ORGANISATION, REFERENCE, Entry
from recovery_engine.log.policies import FIRST_DAY, Policies, PolicyRow
from recovery_engine.log.writing.group import Group, LogReceipt, Wanted
from recovery_engine.policy.reading import ILL_TYPED, problem
from recovery_engine.policy.schema import Policy, canonical
from recovery_engine.policy.source import file_digest


class _OfOrganisation:
    """A command that goes into the stream of the organisation."""

    def __init__(self, request_id: str) -> None:
        self.id = request_id

    def wants(self, wanted: Wanted) -> None:
        wanted.ids.add(self.id)

    def locks(self, group: Group, wanted: Wanted) -> None:
        wanted.streams.add(ORGANISATION)


class LoadPolicies:
    """Versions of policies, each with its text, are put into the log; what the log holds decides from here on."""

    def __init__(self, read: Iterable[tuple[Policy, str]]) -> None:
        self.read = sorted(read, key=lambda each: _first_day(each[0]))

    def wants(self, wanted: Wanted) -> None:
        pass

    def locks(self, group: Group, wanted: Wanted) -> None:
        wanted.streams.add(ORGANISATION)

    def run(self, group: Group) -> list[LogReceipt]:
        """Append those that the log does not have, all or none.

        Raises PolicyError where one does not go with the others.
        """
        if found := [problem for policy, _ in self.read for problem in misfits(policy, ORGANISATION in group.tracks)]:
            raise PolicyError(found)
        head = group.head(ORGANISATION)
        rows = list(group.policies.rows)
        added: list[PolicyRow] = []
        for policy, text in self.read:
            row = _new_row(rows, policy, text, (head.size if head else 1) + len(added))
            if row is not None:
                rows.append(row)
                added.append(row)
        if not added:
            return []
        policies = Policies(rows, group.policies.by_digest)
        at_us = group.clock(ORGANISATION)
        receipts = []
        for row in added:
            receipts.append(group.append(ORGANISATION, "policy_loaded", _id_of(row, rows), None, _fields(row), at_us))
            group.keep_policy(row._replace(at_us=at_us))
        group.policies = policies
        return receipts


def _first_day(policy: Policy) -> str:
    return policy.effective.from_.isoformat() if policy.effective else FIRST_DAY


def _new_row(rows: list[PolicyRow], policy: Policy, text: str, seq: int) -> PolicyRow | None:
    """The row of a policy in the log; None where the log has it, or has it replaced."""
    source, first = file_digest(text), _first_day(policy)
    of_digest = [row for row in rows if row.digest == policy.digest]
    if any(row.source == source for row in of_digest):
        return None
    beside = [row for row in rows if (row.name, row.first_day) == (policy.policy, first)]
    replaces = beside[-1].digest if beside and beside[-1].digest != policy.digest else None
    if of_digest and replaces is not None:
        return None  # an old version does not come back by being in somebody's folder
    until = policy.effective.until if policy.effective else None
    last = None if until is None else until.isoformat()
    return PolicyRow(
        *(policy.digest, source, policy.policy, policy.version or "", first, last, replaces),
        *(seq, 0, canonical(policy).decode(), text),
    )


def _id_of(row: PolicyRow, rows: list[PolicyRow]) -> str:
    """One id for a digest; another where only the text around what decides is new."""
    first = next(each for each in rows if each.digest == row.digest)
    return f"~policy/{row.digest}" if first is row else f"~policy/{row.digest}/{row.source}"


def _fields(row: PolicyRow) -> Entry:
    fields: Entry = {"policy": row.digest, "name": row.name, "label": row.label, "from": row.first_day}
    fields |= {"source": row.source, "until": row.last_day, "replaces": row.replaces}
    return {name: value for name, value in fields.items() if value is not None}


LOG_CANNOT_SERVE = "RP018"


def misfits(policy: Policy, tracked: bool) -> Iterator[Diagnostic]:
    """Why a log cannot serve a policy that is right by itself."""
    for line in policy.budgets:
        if line.per == "organisation" and not tracked:
            message = f"`{line.id}` adds up the whole organisation, which this log does not track"
            cure = "open a new log with `tracks=('organisation',)`; every grant then waits for the one before it"
            yield Diagnostic(LOG_CANNOT_SERVE, "error", policy.where(line.id), message, cure)
    for site in policy.words.known("site") or ():
        if not REFERENCE.fullmatch(site):
            message = f"the site `{site}` cannot name a stream"
            cure = "use at most 64 letters, digits and `. _ : @ / + ~ -`"
            yield Diagnostic(LOG_CANNOT_SERVE, "error", policy.where(""), message, cure)


class Forgotten(NamedTuple):
    """Who was forgotten: the token that stands in the entries, the kinds of texts erased, and where it says so."""

    token: str
    fields: tuple[str, ...]
    log_receipt: LogReceipt


class Forget(_OfOrganisation):
    """A customer is forgotten: the link to the host's reference, and every personal text."""

    def __init__(self, reference: str, ground: str, by: str | None) -> None:
        super().__init__("")
        self.reference, self.ground, self.by = reference, ground, by

    def wants(self, wanted: Wanted) -> None:
        wanted.references.add(self.reference)

    def locks(self, group: Group, wanted: Wanted) -> None:
        super().locks(group, wanted)
        # Asked again after a lost answer, the link is gone: the first attempt knew the token.
        if token := group.linked(self.reference):
            self.id = f"~forget/{token}"
            wanted.subjects.add(f"customer:{token}")
        wanted.ids.add(self.id)

    def run(self, group: Group) -> Forgotten:
        """Erase and append. Raises NotAllowed where nobody is known by that reference."""
        if earlier := group.earlier(self.id):
            return Forgotten(earlier.entry["person"], tuple(earlier.entry["fields"]), earlier.receipt)
        token = group.linked(self.reference)
        if token is None:
            raise NotAllowed(f"nobody is known as `{self.reference}`", "check it; it may be forgotten already")
        at_us = group.clock(ORGANISATION)
        fields = group.about(token)
        entry: Entry = {"person": token, "fields": fields, "ground": self.ground}
        try:
            receipt = group.append(ORGANISATION, "forgotten", f"~forget/{token}", self.by, entry, at_us)
        except ValueError as error:
            raise InvalidRequest([problem(ILL_TYPED, "ground", str(error), "say it in fewer words")]) from None
        group.erase(token, self.reference)
        return Forgotten(token, tuple(fields), receipt)


class AcceptClock:
    """The clock is right, although it is far from the last entry of a stream."""

    def __init__(self, stream: str, by: str | None) -> None:
        self.stream, self.by = stream, by

    def wants(self, wanted: Wanted) -> None:
        pass

    def locks(self, group: Group, wanted: Wanted) -> None:
        wanted.streams.add(self.stream)

    def run(self, group: Group) -> LogReceipt | None:
        """Append `clock_set`, unless the clock is near enough."""
        head = group.head(self.stream)
        if head is None:
            raise NotAllowed(f"there is no stream `{self.stream}`", "")
        try:
            group.clock(self.stream)
        except LogError:
            request_id = f"~clock/{self.stream}/{head.size}"
            return group.append(self.stream, "clock_set", request_id, self.by, {}, group.now_us)
        return None
