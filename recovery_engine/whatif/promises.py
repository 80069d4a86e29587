"""Promises: each proven for every possible request, or refuted by one."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from recovery_engine.decide import decide
from recovery_engine.model import GOODWILL, OWED, Decision, RecoveryRequest, Usage
from recovery_engine.policy.schema import Policy, Promise
from recovery_engine.whatif.diagram import TooLarge
from recovery_engine.whatif.dimensions import Promised, space
from recovery_engine.whatif.integers import NotSettled
from recovery_engine.whatif.seeking import Asked, Looking
from recovery_engine.whatif.standing import Answer, Standing


class Proof(NamedTuple):
    """What became of a promise; ``empty``: no request is meant by it, ``open``: too much to look at.

    A refutation shows a request, what was used before it, and what is decided.
    """

    promise: Promise
    verdict: Literal["proven", "refuted", "empty", "open"]
    request: RecoveryRequest | None = None
    usage: Usage | None = None
    decision: Decision | None = None


def prove(policy: Policy, promise: Promise, looking: Looking) -> Proof:
    """Whether a promise holds for every request that it speaks of."""
    try:
        return _proof(policy, promise, looking)
    except (NotSettled, TooLarge):
        return Proof(promise, "open")


def _proof(policy: Policy, promise: Promise, looking: Looking) -> Proof:
    def breaking(asked: Sequence[Asked]) -> Iterable[str]:
        return [role for role, (answer,), (speaks,) in asked if speaks and breaks(promise, answer)]

    def meant(asked: Sequence[Asked]) -> Iterable[str]:
        return [role for role, _, (speaks,) in asked if speaks]

    spaces = [space((policy,), basis, (promise,)) for basis in (GOODWILL, OWED)]
    for one in spaces:
        witness = looking.first(one, breaking, _speaks_no_more)
        if witness is not None:
            request, usage = witness.asked(policy)
            decision = decide(policy, request, usage)
            # INVARIANT: what refutes a promise is what the engine itself decides.
            assert breaks(promise, decision), (promise, request, usage)
            return Proof(promise, "refuted", request, usage, decision)
    some = any(looking.first(one, meant, _speaks_no_more) is not None for one in spaces)
    return Proof(promise, "proven" if some else "empty")


def breaks(promise: Promise, decided: Answer | Decision) -> bool:
    """Whether this is not what was promised about the request."""
    said = str(decided.outcome)
    kept = (promise.never or promise.always) in (said, f"{said}_to:{decided.to}")
    return kept == (promise.never is not None)


def _speaks_no_more(standings: Sequence[Standing]) -> bool:
    (standing,) = standings
    return not standing.promised and not any(isinstance(rule.effect, Promised) for rule in standing.open)
