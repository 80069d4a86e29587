"""What concerns the whole organisation: policies, people who are forgotten, the clock."""

from collections.abc import Iterator
from typing import NamedTuple

from recovery_engine.errors import Diagnostic, LogError, NotAllowed, PolicyError
from recovery_engine.log.book import NOTHING_READ
from recovery_engine.log.entry import ORGANISATION, REFERENCE, Entry
from recovery_engine.log.group import Group, LogReceipt, Wanted
from recovery_engine.log.policies import FIRST_DAY, Policies, PolicyRow
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


class LoadPolicy(_OfOrganisation):
    """A version of a policy is put into the log; what the log holds decides from here on."""

    def __init__(self, policy: Policy, text: str) -> None:
        self.policy, self.text, self.source = policy, text, file_digest(text)
        super().__init__(f"~policy/{policy.digest}")

    def run(self, group: Group) -> LogReceipt | None:
        """Append, unless the log has it. Raises PolicyError where it does not go with the others."""
        policy = self.policy
        if any((row.digest, row.source) == (policy.digest, self.source) for row in group.policies.rows):
            return None
        known = group.earlier(self.id) is not None
        if found := list(misfits(policy, ORGANISATION in group.origin.tracks)):
            raise PolicyError(found)
        days = policy.effective
        first = days.from_.isoformat() if days else FIRST_DAY
        until = days.until.isoformat() if days and days.until else None
        beside = [row for row in group.policies.rows if (row.name, row.first_day) == (policy.policy, first)]
        replaces = beside[-1].digest if beside and beside[-1].digest != policy.digest else None
        if known and replaces is not None:
            return None  # an old version does not come back by being in somebody's folder
        head = group.head(ORGANISATION)
        at_us = group.clock(ORGANISATION)
        row = PolicyRow(
            *(policy.digest, self.source, policy.policy, policy.version or "", first, until, replaces),
            *(head.size if head else 1, at_us, canonical(policy).decode(), self.text),
        )
        Policies([*group.policies.rows, row], {**group.policies.by_digest, policy.digest: policy})
        fields: Entry = {
            **{"policy": policy.digest, "name": policy.policy, "label": policy.version or ""},
            **{"from": first, "source": self.source},
        }
        if until is not None:
            fields["until"] = until
        if replaces is not None:
            fields["replaces"] = replaces
        request_id = f"{self.id}/{self.source}" if known else self.id
        receipt = group.append(ORGANISATION, "policy_loaded", request_id, None, fields, at_us)
        group.keep_policy(row)
        return receipt


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
            wanted.books[f"customer:{token}"] = NOTHING_READ
        wanted.ids.add(self.id)

    def run(self, group: Group) -> Forgotten:
        """Erase and append. Raises NotAllowed where nobody is known by that reference."""
        if earlier := group.earlier(self.id):
            return Forgotten(earlier.entry["person"], tuple(earlier.entry["fields"]), earlier.receipt)
        token = group.linked(self.reference)
        if token is None:
            raise NotAllowed(f"nobody is known as `{self.reference}`", "check it; it may be forgotten already")
        at_us = group.clock(ORGANISATION)
        fields = group.erase(token, self.reference)
        entry: Entry = {"person": token, "fields": fields, "ground": self.ground}
        receipt = group.append(ORGANISATION, "forgotten", f"~forget/{token}", self.by, entry, at_us)
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
