"""Answering what somebody else asked for, decided afresh with the usage of this moment; and what silence does."""

from typing import NamedTuple

from recovery_engine.errors import InvalidRequest, NotAllowed
from recovery_engine.log.book import EVER, usage_of, usage_rows
from recovery_engine.log.entry import ORGANISATION, SEMANTICS, Entry
from recovery_engine.log.policies import InForce
from recovery_engine.log.projection import RecoveryState, case_subject, implied_subjects
from recovery_engine.log.requests import entry_own_limit, own_limit_from, request_from
from recovery_engine.log.writing.deciding import budget_rows, carried_by, counts_of, decided, verdict
from recovery_engine.log.writing.group import Earlier, Group, LogReceipt, Wanted
from recovery_engine.log.writing.later import (
    Done,
    OfWhoWasAsked,
    append_with_texts,
    as_known,
    day_at,
    joined_by,
    last_of,
    once_each,
    proof_in,
    require_role,
    step_fields,
    what_was_asked,
)
from recovery_engine.model import Decision, OwnLimit
from recovery_engine.policy.schema import Policy
from recovery_engine.staff import Staff
from recovery_engine.workflow import (
    Actor,
    Approval,
    after_silence,
    approval,
    capped_minor,
    due_after,
    hand_over_due,
    is_agreed,
    is_silent,
    require_approver,
    require_authority,
    require_delegation,
    require_follows,
    waived,
)


class _Weighed(NamedTuple):
    """An approval weighed: whose authority carries it, what usage it saw, what was decided."""

    carrier: Actor
    usage: dict[str, list[list[str | int]]]
    decision: Decision


class Approve(OfWhoWasAsked):
    """Somebody with authority for the whole case agrees: to all of it, to less, or to another remedy."""

    kind = "approved"

    def __init__(
        self,
        recovery: str,
        actor: Actor,
        *,
        remedy: str | None = None,
        amount_minor: int | None = None,
        seen: str | None = None,
        delegation: str | None = None,
        note: str | None = None,
        request_id: str | None = None,
        staff: Staff | None = None,
    ) -> None:
        super().__init__(recovery, actor, request_id or once_each("approve", recovery, actor.employee), staff)
        self.remedy, self.amount_minor, self.seen, self.delegation = remedy, amount_minor, seen, delegation
        self.texts = {"note": note} if note else {}
        self._weighed: _Weighed | None = None
        self._lenders_limit: OwnLimit | None = None

    def is_same(self, entry: Entry) -> bool:
        given = {"remedy": self.remedy, "amount": self.amount_minor}
        same = all(value is None or entry[name] == value for name, value in given.items())
        return same and entry.get("delegation") == self.delegation

    # --- who ---

    def _acting(self, group: Group) -> Actor:
        """Who approves, in whose name."""
        if self.delegation is None:
            return self.actor
        lent = group.delegations().get(self.delegation)
        if lent is None:
            raise NotAllowed(f"there is no delegation `{self.delegation}`", "check the id")
        return self.actor._replace(role=lent.role, on_behalf=lent.by, own_limit=self._lenders_limit)

    def _as_lent(self, group: Group, state: RecoveryState, policy: Policy, actor: Actor) -> Actor:
        """The delegate acts with at most what the lender could do today. Raises InvalidRequest, NotAllowed."""
        assert self.staff is not None
        assert actor.on_behalf is not None
        lender = as_known(group, self.staff, Actor(actor.on_behalf, ""), state, policy)
        if actor.role not in policy.ladder or policy.rank(lender.role) < policy.rank(actor.role):
            raise NotAllowed(f"{lender.employee} is {lender.role}, and lent {actor.role}", "ask somebody of that role")
        self._lenders_limit = lender.own_limit if lender.role == actor.role else None
        return self._acting(group)

    def _carrier(self, group: Group, state: RecoveryState) -> Actor:
        """Whose authority the grant stands on: the approver's, or the first person's where one agreed before."""
        if not is_agreed(state):
            return self._acting(group)
        assert state.approver is not None
        assert state.approver_role is not None
        first = self._agreement(group)
        own = first.get("own_limit", first.get("request", {}).get("own_limit"))
        own_limit = own_limit_from(own, state.currency) if own else None
        return Actor(state.approver, state.approver_role, state.on_behalf, own_limit)

    def _agreement(self, group: Group) -> Entry:
        """The entry with which the first person agreed."""
        return last_of(group.entries(self.recovery), "decided", "approved").entry

    def _require_lent(self, group: Group, state: RecoveryState, weighed: _Weighed, given: Approval, at_us: int) -> None:
        """What was lent must cover it now, also where the first person agreed with it and this is the second one."""
        name = self._agreement(group).get("delegation") if is_agreed(state) else self.delegation
        if name is not None:
            had = capped_minor(usage_of(weighed.usage["case"], []), state.basis)
            lent = group.delegations()[name]
            require_delegation(lent, state, weighed.carrier.employee, state.site, given, had, at_us)

    def subjects(self, group: Group, state: RecoveryState) -> list[str]:
        try:
            carrier = self._carrier(group, state)
        except NotAllowed:
            return []  # said again, to the caller, when it runs
        return implied_subjects(state, carrier.employee, ORGANISATION in group.tracks, carrier.on_behalf)

    # --- what ---

    def check(self, group: Group, state: RecoveryState, policy: Policy) -> None:
        self.actor = as_known(group, self.staff, self.actor, state, policy)
        actor = self._acting(group)
        if self.staff is not None and actor.on_behalf is not None:
            actor = self._as_lent(group, state, policy, actor)
        require_role(policy, actor.role)
        entries = group.entries(self.recovery)
        self._require_seen(entries)
        require_approver(policy, state, actor, joined_by(entries))
        given = approval(state, self.remedy, self.amount_minor)
        at_us = group.clock(state.stream)
        carrier = self._carrier(group, state)
        weighed = weigh(group, state, policy, entries, carrier, given, at_us)
        require_authority(policy, weighed.decision, carrier)
        self._require_lent(group, state, weighed, given, at_us)
        self._weighed, self._given = weighed, given

    def _require_seen(self, entries: list[Earlier]) -> None:
        """An approval is bound to what was asked. Since it can only have become less, one for more stands for that."""
        known = [one.receipt.leaf for one in entries if one.entry["kind"] in ("decided", "amended")]
        if self.seen is not None and self.seen not in known:
            raise NotAllowed("what is approved is not what was asked for", "look at it again, and approve that")

    def fields(self, group: Group, state: RecoveryState, policy: Policy, at_us: int) -> Entry:
        assert self._weighed is not None
        (carrier, usage, decision), given, acting = self._weighed, self._given, self._acting(group)
        second = None if is_agreed(state) else decision.second
        day, _ = day_at(policy, state.site, at_us)
        said = verdict(decision)
        fields: Entry = {
            "role": acting.role,
            "role_from": "host" if self.staff is None else "directory",
            "policy": policy.digest,
            "semantics": SEMANTICS,
            "matcher": said["matcher"],
            "engine": group.engine,
            "usage": usage,
            "because": said["because"],
            "touches": group.touches(
                implied_subjects(state, carrier.employee, ORGANISATION in group.tracks, carrier.on_behalf)
            ),
            "remedy": given.remedy,
            "amount": given.amount_minor,
        }
        if second is None:
            fields["counts"] = counts_of(decision.request, day.isoformat(), usage["case"])
            due_us = hand_over_due(policy, at_us)
        else:
            fields["second"] = second
            due_us = due_after(policy, second, at_us)
        more: Entry = {
            "due_us": due_us,
            "waived": waived(policy, decision, carrier.role) or None,
            "delegation": self.delegation,
            "for": acting.on_behalf,
            "own_limit": entry_own_limit(acting.own_limit) if acting.own_limit and not is_agreed(state) else None,
        }
        return fields | {name: value for name, value in more.items() if value is not None}


def weigh(
    group: Group,
    state: RecoveryState,
    policy: Policy,
    entries: list[Earlier],
    carrier: Actor,
    given: Approval,
    at_us: int,
) -> _Weighed:
    """Decide what is to be granted as if *carrier* asked for it, under the policy of the request and today's usage.

    What was lent counts for both, so that the larger of what both persons used up is what binds.
    """
    own_limit = entry_own_limit(carrier.own_limit) if carrier.own_limit is not None else None
    fields = carried_by(
        entries[0].entry["request"],
        employee=carrier.employee,
        role=carrier.role,
        own_limit=own_limit,
        proof=proof_in(entries),
        remedy=given.remedy,
        amount=given.amount_minor,
    )
    in_force = InForce(policy, *day_at(policy, state.site, at_us))
    request = request_from(policy, state.recovery, fields)
    case = group.book(case_subject(state.case_id, state.receipt), EVER)
    people = [carrier.employee, *([carrier.on_behalf] if carrier.on_behalf else [])]
    usage = {"case": usage_rows(case), "budgets": budget_rows(group, in_force, request, state.customer, people)}
    decision = decided(group.policies, in_force, request, usage_of(usage["case"], usage["budgets"]))
    return _Weighed(carrier, usage, decision)


class Decline(OfWhoWasAsked):
    """Somebody who was asked says no, with a reason."""

    kind = "declined"

    def __init__(
        self, recovery: str, reason: str, actor: Actor, request_id: str | None, staff: Staff | None = None
    ) -> None:
        super().__init__(recovery, actor, request_id or once_each("decline", recovery, actor.employee), staff)
        self.reason = reason

    def content(self) -> Entry:
        return {"role": self.actor.role, "reason": self.reason}

    def run(self, group: Group) -> Done:
        """Append it, and find out what could be given instead. Raises as every later step does."""
        done = super().run(group)
        return done._replace(instead=instead(group, done.state, done.policy))


def instead(group: Group, state: RecoveryState, policy: Policy) -> Decision | None:
    """What the requester's own request would be answered now: never a bare no. It tells, and is not relied upon."""
    asked = Approval(state.remedy, state.asked_minor)
    try:
        own = weigh(
            group, state, policy, group.entries(state.recovery), Actor(state.employee, state.role), asked, group.now_us
        )
    except InvalidRequest:
        return None
    return own.decision


class Silent:
    """Nobody has answered in time: the next role is asked, or it is declined or lapses. Never is it approved."""

    def __init__(self, recovery: str) -> None:
        self.recovery = recovery
        self.id = ""  # of the step that was tried: run again after a lost answer, it finds its own entry

    def wants(self, wanted: Wanted) -> None:
        """Where the recovery stands."""
        wanted.recoveries.add(self.recovery)
        if self.id:
            wanted.ids.add(self.id)

    def locks(self, group: Group, wanted: Wanted) -> None:
        """Its stream."""
        state = group.state(self.recovery)
        if state is not None:
            wanted.streams.add(state.stream)

    def run(self, group: Group) -> Done | None:
        """Append what follows; None where somebody answered meanwhile, or somebody else's tick was first."""
        state = group.state(self.recovery)
        if state is None:
            return None
        policy, at_us = group.policies.by_digest[state.policy], group.clock(state.stream)
        if earlier := group.earlier(self.id):
            return self._done(group, earlier.receipt, True, policy) if state.status in _AFTER_SILENCE else None
        if not is_silent(policy, state, at_us):
            return None
        entries = group.entries(self.recovery)
        able = [role for role, *stops in entries[0].entry["rungs"] if not stops]
        silence = after_silence(policy, state, able)
        require_follows(silence.kind, state)
        fields = step_fields(policy, state, at_us, what_was_asked(entries))
        self.id = f"~lapse/{self.recovery}"
        if silence.kind == "moved_up":
            self.id = f"~up/{self.recovery}/{state.moves + 1}"
            due_us = due_after(policy, silence.to, at_us)
            fields |= {"to": silence.to, "step": state.moves + 1} | ({} if due_us is None else {"due_us": due_us})
        elif silence.kind == "declined":
            self.id = f"~silence/{self.recovery}"
            fields |= {"role": state.to_role or policy.ladder[-1], "reason": "nobody answered in time"}
        else:
            fields["due_us"] = state.due_us
        receipt = append_with_texts(group, state.stream, silence.kind, self.id, None, fields, at_us, {})
        return self._done(group, receipt, False, policy)

    def _done(self, group: Group, receipt: LogReceipt, replayed: bool, policy: Policy) -> Done:
        after = group.state(self.recovery)
        assert after is not None
        said_no = after.status != "pending"
        return Done(receipt, replayed, after, policy, instead(group, after, policy) if said_no else None)


_AFTER_SILENCE = ("pending", "declined", "lapsed")
