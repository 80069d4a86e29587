"""A policy beside the one it extends: at its sites it may only be tighter, for every request there can be."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recovery_engine.decide import decide
from recovery_engine.model import GOODWILL, OWED, Decision, Outcome, PolicyRef, RecoveryRequest, Usage
from recovery_engine.money import Money, format_minor
from recovery_engine.phrases import in_words, proof_in_words
from recovery_engine.policy.schema import Policy
from recovery_engine.policy.words import Problem
from recovery_engine.whatif.boxes import first_of
from recovery_engine.whatif.diagram import Diagram, Leaf, TooLarge
from recovery_engine.whatif.diff import as_tight
from recovery_engine.whatif.dimensions import Denies, Eyes, Over, Proves, space
from recovery_engine.whatif.integers import NotSettled
from recovery_engine.whatif.standing import Answer, Cap, Standing
from recovery_engine.whatif.witness import Witness

WIDER = "RP032"


@dataclass(frozen=True)
class Widening:
    """A request that a policy is less strict about than the one it extends.

    ``line``: the line that makes it so, without which no request would be; empty where no line alone does.
    ``extended`` is what the extended policy decides, ``decided`` what this one does.
    """

    line: str
    witness: Witness
    extended: Decision
    decided: Decision


@dataclass(frozen=True)
class Tightening:
    """A policy compared with the one it ``extends``, over all requests at its sites: ``cells`` were examined.

    It is tighter everywhere where there is no ``widening`` and the comparison is ``complete``.
    """

    extends: PolicyRef
    widening: Widening | None
    complete: bool
    cells: int


def tightening(policy: Policy) -> Tightening | None:
    """Compare a policy with the one it extends; None where it extends none."""
    parent = policy.parent
    if parent is None:
        return None
    cells = 0
    for basis in (GOODWILL, OWED):
        try:
            diagram = _diagram(parent, policy, basis)
            cells += diagram.cells
            witness = first_of(diagram, _MOST_BOXES)
        except (NotSettled, TooLarge):
            return Tightening(parent.ref, None, False, cells)
        if witness is not None:
            extended, decided = (decide(one, *witness.asked(one)) for one in (parent, policy))
            return Tightening(parent.ref, Widening(_to_blame(parent, policy), witness, extended, decided), True, cells)
    return Tightening(parent.ref, None, True, cells)


def _diagram(parent: Policy, policy: Policy, basis: str) -> Diagram:
    """The requests that *policy* is less strict about than *parent*."""

    def ask(answers: tuple[Answer, ...], _: object) -> Leaf:
        extended, own = answers
        return None if as_tight(extended, own, policy.ladder) else True

    return Diagram(space((parent, policy), basis), ask, _is_settled, _MOST_NODES)


_MOST_NODES, _MOST_BOXES = 5_000, 500
"""A policy is loaded in a few seconds, or refused."""


def _is_settled(standings: Sequence[Standing]) -> bool:
    """Whether the second is as strict as the first whatever else becomes known; where not, the answers will tell."""
    extended, own = standings
    if own.denied or extended == own:
        return True
    further = set(own.open) - set(extended.open)
    return (
        not extended.denied
        and (extended.rows, extended.owed, extended.elsewhere) == (own.rows, own.owed, own.elsewhere)
        and set(extended.open) <= set(own.open)
        and all(isinstance(rule.effect, Denies | Over | Proves | Eyes) for rule in further)
        and extended.eyes <= own.eyes
        and extended.unproven <= own.unproven
        and not (extended.stopped & ~own.stopped or extended.own & ~own.own)
        and all(_stops_as_many(own, cap, *bound) for cap in extended.caps for bound in cap.bounds)
    )


def _stops_as_many(own: Standing, cap: Cap, place: int, limit: int) -> bool:
    """Whether over this limit everybody is stopped whom the cap stops."""
    others, mine = own.stopped, own.own
    for other in own.caps:
        if any(at == place and lower <= limit for at, lower in other.bounds):
            others, mine = others | other.others, mine | other.own
    return not (cap.others & ~others or cap.own & ~mine)


def _to_blame(parent: Policy, policy: Policy) -> str:
    """The first line without which the policy would be tighter everywhere."""
    for section in _MAY_WIDEN:
        for line in getattr(policy, section)[len(getattr(parent, section)) :]:
            if _is_tighter(parent, policy.without_line(section, line.id)):
                return str(line.id)
    return ""


_MAY_WIDEN = ("authority", "owed", "someone_else")
"""Every other line stops somebody or asks for more."""


def _is_tighter(parent: Policy, policy: Policy) -> bool:
    try:
        return all(first_of(_diagram(parent, policy, basis), _MOST_BOXES) is None for basis in (GOODWILL, OWED))
    except (NotSettled, TooLarge):
        return False


# --- in words ---------------------------------------------------------------------------------------------------------


def widening_of(policy: Policy) -> tuple[str, Problem] | None:
    """Why a policy may not be used beside the one it extends, and the line to blame; None where it may."""
    found = tightening(policy)
    if found is None or (found.complete and found.widening is None):
        return None
    name = found.extends.name
    if found.widening is None:
        message = f"whether this is tighter than `{name}` everywhere cannot be shown: too much to compare"
        return "", Problem(WIDER, message, "say it in fewer lines, or for fewer sites")
    wide = found.widening
    example = "; ".join(
        (
            _asked_in_words(*wide.witness.asked(policy)),
            f"by `{name}` {_answer_in_words(wide.extended)}",
            f"by this policy {_answer_in_words(wide.decided)}",
        )
    )
    what = f"`{wide.line}` makes this" if wide.line else "this is"
    message = f"{what} wider than `{name}`, which it extends: {example}"
    return wide.line, Problem(WIDER, message, f"a policy may only be tighter than what it extends: {_CURE}")


_CURE = "lower the limit, ask somebody higher, or delete the line"


def _asked_in_words(request: RecoveryRequest, usage: Usage) -> str:
    """``front desk asks for €40.00 as voucher (severity minor)``."""
    given = ", ".join(_details(request, usage))
    asked = f"{in_words(request.role)} asks for {request.amount} as {in_words(request.remedy)}"
    return f"{asked} ({given})" if given else asked


def _details(request: RecoveryRequest, usage: Usage) -> Iterator[str]:
    if request.basis == OWED:
        yield "owed"
    for name in ("site", "category", "severity", "bill"):
        if (value := getattr(request, name)) is not None:
            yield f"{name} {value}"
    for name, fact in request.facts.items():
        shown = str(fact).lower() if isinstance(fact, bool) else fact
        yield f"{in_words(name)} {shown}"
    proof = [*sorted(request.evidence), *(["note"] if request.note else []), *(["reason"] if request.reason else [])]
    if proof:
        yield f"{proof_in_words(proof)} on file"
    for basis, book in (("", usage.on_case), (" as owed", usage.owed_on_case)):
        for remedy, minor in book.items():
            yield f"{format_minor(minor, request.amount.currency)} of {in_words(remedy)} before{basis}"
    for budget, used in usage.used.items():
        amount = str(Money(used.amount, request.amount.currency))
        yield f"`{budget}` holds {amount} in {used.times} case{'' if used.times == 1 else 's'}"


def _answer_in_words(decision: Decision) -> str:
    """``it is approved on the spot``, ``manager must agree``."""
    match decision.outcome:
        case Outcome.APPROVE:
            return "it is approved on the spot"
        case Outcome.DENY:
            return "it is denied"
        case Outcome.INCOMPLETE:
            return f"it waits for {proof_in_words(decision.needs)}"
    asker = next(rung for rung in decision.rungs if rung.role == decision.request.role)
    people = [decision.second] if asker.may and decision.second else [decision.to, decision.second]
    return f"{' and '.join(in_words(role) for role in people if role)} must agree"
