"""Decide a recovery request: approve on the spot, escalate to the lowest sufficient authority, or deny."""

from collections import OrderedDict
from datetime import date
from threading import Lock

from recovery_engine.errors import Diagnostic, InvalidRequest, PolicyError
from recovery_engine.model import NO_USAGE, OWED, Decision, RecoveryRequest, Usage
from recovery_engine.policy.own_limits import as_for
from recovery_engine.policy.reading import own_limit_problems
from recovery_engine.policy.schema import Policy
from recovery_engine.seats import Compiled

_MOST_POLICIES = 64


def decide(
    policy: Policy, request: RecoveryRequest, usage: Usage = NO_USAGE, *, owed_under: Policy | None = None
) -> Decision:
    """Apply *policy* to *request*. A deny line wins; otherwise the lowest role that may, decides.

    *usage* is what counts against limits before this grant. What is owed follows *owed_under*, the version in force on
    the day it occurred; left out, that is *policy* itself, or nothing where ``occurred_on`` is not one of its days.
    The requester's own limit counts in the place of the role's.
    Pure: no clock, no I/O. Raises InvalidRequest with every problem of the request.
    """
    elsewhere = _owed_elsewhere(policy, request, owed_under)
    if request.own_limit is not None:
        return _with_own_limit(policy, elsewhere, request, usage)
    return compiled(policy, elsewhere).decide(request, usage)


def _with_own_limit(policy: Policy, owed_under: Policy | None, request: RecoveryRequest, usage: Usage) -> Decision:
    own_limit = request.own_limit
    if own_limit is None or request.role not in policy.ladder or any(own_limit_problems(own_limit, policy.currency)):
        raise InvalidRequest(compiled(policy, owed_under).problems(request, usage))
    return compiled(as_for(policy, request.role, own_limit), owed_under, _compiled_personally).decide(request, usage)


def _owed_elsewhere(policy: Policy, request: RecoveryRequest, owed_under: Policy | None) -> Policy | None:
    """The policy whose owed lines count, where it is not *policy*; an empty one has no owed lines."""
    if request.basis != OWED:
        return None
    if owed_under is not None:
        return None if owed_under is policy else owed_under
    day, days = request.occurred_on, policy.effective
    if type(day) is not date or days is None or (days.from_ <= day and (days.until is None or day <= days.until)):
        return None
    return _NOTHING_OWED


_NOTHING_OWED = Policy.model_construct(policy="nothing-owed", currency="", ladder=())


# --- a policy, compiled -----------------------------------------------------------------------------------------------

_Kept = OrderedDict[tuple[int, int], Compiled]
_compiled: _Kept = OrderedDict()
_compiled_personally: _Kept = OrderedDict()
"""Those for people with limits of their own are kept apart: however many there are, the policies themselves stay."""
_compiling = Lock()


def compiled(policy: Policy, owed_under: Policy | None = None, kept: _Kept = _compiled) -> Compiled:
    """The policy made ready to decide. Raises PolicyError where the rule network cannot hold it."""
    key = (id(policy), id(owed_under))  # INVARIANT: a compiled policy keeps both alive, so that no other gets the id
    try:
        kept.move_to_end(key)  # the policies in service are the last to go
        return kept[key]
    except KeyError:
        if owed_under is not None and (found := owed_misfits(policy, owed_under)):
            raise PolicyError(found) from None
        ready = Compiled(policy, owed_under)
    with _compiling:
        ready = kept.setdefault(key, ready)
        while len(kept) > _MOST_POLICIES:
            kept.popitem(last=False)
    return ready


def owed_misfits(policy: Policy, owed_under: Policy) -> list[Diagnostic]:
    """What keeps the owed lines of an earlier version from being used beside the rest of *policy*."""
    if not owed_under.owed:
        return []
    found = []
    if policy.currency != owed_under.currency:
        found.append(
            f"`{policy.policy}` owes in {owed_under.currency} under one version and decides in {policy.currency}"
        )
    for name, fact in owed_under.facts.items():
        ours = policy.facts.get(name, fact)
        if (ours.kind, ours.one_of) != (fact.kind, fact.one_of):
            found.append(f"the fact `{name}` is not of the same kind in the version that owes")
    others = {line.id for line in policy.lines()} - {line.id for line in policy.owed}
    for line in owed_under.owed:
        if line.id in others:
            found.append(f"the id `{line.id}` names an owed line in one version and another line in this one")
    cure = "choose another name; what a name means stays while claims of that time may come"
    return [Diagnostic("RP017", "error", policy.where(""), message, cure) for message in found]
