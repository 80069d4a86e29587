"""What only looks: nothing is locked, nothing is written."""

from collections.abc import Collection, Iterator

from recovery_engine.log.personal import kept_as
from recovery_engine.log.projection import RecoveryState
from recovery_engine.log.requests import request_from
from recovery_engine.log.writing.deciding import stored_decision
from recovery_engine.log.writing.group import Earlier, Group, Wanted
from recovery_engine.log.writing.later import joined_by, proof_in, what_was_asked
from recovery_engine.log.writing.recorded import Exchange, Promised, Waiting
from recovery_engine.policy.schema import Policy
from recovery_engine.workflow import Delegation, is_silent, promise


class _Look:
    """What only looks: nothing is locked."""

    def wants(self, wanted: Wanted) -> None:
        pass

    def locks(self, group: Group, wanted: Wanted) -> None:
        pass


class PolicyNow(_Look):
    """The policy in force now at a site."""

    def __init__(self, site: str | None) -> None:
        self.site = site

    def run(self, group: Group) -> Policy:
        return group.policies.at(group.now_us, self.site).policy


class OfRecovery(_Look):
    """Where a recovery stands."""

    def __init__(self, recovery: str) -> None:
        self.recovery = recovery

    def run(self, group: Group) -> RecoveryState | None:
        return group.state(self.recovery)


class OfCase(_Look):
    """Where the recoveries of a case stand."""

    def __init__(self, case: str) -> None:
        self.case = case

    def run(self, group: Group) -> tuple[RecoveryState, ...]:
        return tuple(sorted(group.states("case_id IN (?*)", [self.case]), key=_when_asked))


def _when_asked(state: RecoveryState) -> tuple[int, str, int]:
    return state.at_us, state.stream, state.seq


class Streams(_Look):
    """The names of the streams."""

    def run(self, group: Group) -> list[str]:
        return group.streams()


_PENDING = "status = 'pending'"
_TEXTS = "SELECT field, value FROM recovery_personal WHERE recovery IN (?*)"
_NEVER = 2**63


class Queue(_Look):
    """What waits for an answer, the oldest due first; of one role, one site, or one recovery."""

    def __init__(self, role: str | None, site: str | None, without: str | None, recovery: str | None = None) -> None:
        self.role, self.site, self.without, self.recovery = role, site, without, recovery

    def run(self, group: Group) -> tuple[Waiting, ...]:
        named = (" AND recovery IN (?*)", [self.recovery]) if self.recovery else ("",)
        states = [state for state in group.states(_PENDING + named[0], *named[1:]) if self._fits(state)]
        states.sort(key=lambda state: (state.due_us or _NEVER, state.at_us, state.recovery))
        return tuple(_waiting(group, state) for state in states)

    def _fits(self, state: RecoveryState) -> bool:
        mine = self.without in (state.employee, state.approver, state.on_behalf) if self.without else False
        return not mine and self.role in (None, state.to_role) and self.site in (None, state.site)


def _waiting(group: Group, state: RecoveryState) -> Waiting:
    entries = group.entries(state.recovery)
    first = entries[0].entry
    policy = group.policies.by_digest[state.policy]
    request = request_from(policy, state.recovery, first["request"])
    texts = {str(name): str(text) for name, text in group.read(_TEXTS, [state.recovery])}
    receipts = [state.receipt] if state.receipt else []
    alike = group.states("case_id IN (?*) OR receipt IN (?*)", [state.case_id], receipts)
    others = [other for other in alike if other.recovery != state.recovery]
    return Waiting(
        state,
        what_was_asked(entries),
        texts.get("note"),
        texts.get("name"),
        texts.get("contact"),
        tuple(proof_in(entries)),
        dict(request.facts),
        stored_decision(group.policies, first, request).because,
        tuple(_exchanges(entries, texts)),
        tuple(sorted(others, key=lambda other: (other.at_us, other.recovery))),
        joined_by(entries),
        is_silent(policy, state, group.now_us),
    )


def _exchanges(entries: list[Earlier], texts: dict[str, str]) -> Iterator[Exchange]:
    open_one: Exchange | None = None
    for entry, receipt in entries:
        if entry["kind"] == "asked":
            open_one = Exchange(entry["by"], entry["at_us"], texts.get(kept_as("question", "asked", receipt.seq)))
        elif entry["kind"] == "answered" and open_one is not None:
            answer = texts.get(kept_as("answer", "answered", receipt.seq))
            yield open_one._replace(answered_by=entry["by"], answer=answer, evidence=tuple(entry.get("evidence", ())))
            open_one = None
    if open_one is not None:
        yield open_one


class SilentNow(_Look):
    """The recoveries whose answer is overdue, the oldest first."""

    def run(self, group: Group) -> list[str]:
        policies = group.policies.by_digest
        late = [one for one in group.states(_PENDING) if is_silent(policies[one.policy], one, group.now_us)]
        return [one.recovery for one in sorted(late, key=lambda one: (one.due_us or 0, one.recovery))]


class Promises(_Look):
    """The grants, and how the word that was given with each stands; the first due first."""

    def __init__(self, standing: Collection[str], site: str | None) -> None:
        self.standing, self.site = standing, site

    def run(self, group: Group) -> tuple[Promised, ...]:
        statuses = sorted({_STATUS_OF[standing] for standing in self.standing})
        found = []
        for state in group.states("status IN (?*)", statuses):
            standing = promise(state.status, state.due_us, state.fulfilled_us, group.now_us)
            if standing in self.standing and self.site in (None, state.site):
                found.append(Promised(state, standing or ""))
        return tuple(sorted(found, key=lambda one: (one.state.due_us or _NEVER, one.state.recovery)))


_STATUS_OF = {"open": "granted", "overdue": "granted", "kept": "fulfilled", "late": "fulfilled", "broken": "voided"}


class Delegations(_Look):
    """Every delegation, those in force now, or those of a person."""

    def __init__(self, person: str | None, all_of_them: bool) -> None:
        self.person, self.all_of_them = person, all_of_them

    def run(self, group: Group) -> tuple[Delegation, ...]:
        found = [
            one
            for one in group.delegations().values()
            if self.person in (None, one.by, one.to)
            and (self.all_of_them or (one.revoked_us is None and group.now_us < one.until_us))
        ]
        return tuple(sorted(found, key=lambda one: (one.from_us, one.delegation)))
