"""Checks that only the whole shows: promises, gaps, the ladder, the way up, and words that nobody reads."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from recovery_engine.decide import decide
from recovery_engine.model import GOODWILL, OWED, Decision, Outcome, RecoveryRequest, Usage
from recovery_engine.phrases import in_words
from recovery_engine.policy.declared import Cell
from recovery_engine.policy.fields import KEY
from recovery_engine.policy.schema import ANYTHING, AuthorityLine, Conditions, DenyLine, Policy
from recovery_engine.rules.cells import facts_read
from recovery_engine.rules.encoding import IN_NO_LIST, word_classes
from recovery_engine.whatif.boxes import regions
from recovery_engine.whatif.boxes_in_words import box_in_words
from recovery_engine.whatif.diagram import Diagram, Leaf, TooLarge
from recovery_engine.whatif.dimensions import space
from recovery_engine.whatif.integers import NotSettled
from recovery_engine.whatif.lint_desk import Desk, LintFinding
from recovery_engine.whatif.promises import prove
from recovery_engine.whatif.seeking import Asked
from recovery_engine.whatif.standing import Answer
from recovery_engine.whatif.witness import Witness

# --- promises ---------------------------------------------------------------------------------------------------------


def promises(desk: Desk) -> Iterator[LintFinding]:
    """Promises that do not hold for every request, or speak of none."""
    for index, promise in enumerate(desk.policy.promises):
        place, proof = desk.named("promises", index), prove(desk.policy, promise, desk.looking)
        if proof.verdict == "refuted" and proof.request is not None and proof.usage is not None and proof.decision:
            message = f"`{promise.id}` is broken: {_asks(proof.request)}, and {decided_in_words(proof.decision)}"
            cure = "change the lines that decide so, or the promise"
            yield desk.finding("RP101", place, message, cure, (proof.request, proof.usage))
        elif proof.verdict == "open":
            message = f"`{promise.id}` could not be proven: the policy tells too many requests apart"
            yield desk.finding("RP102", place, message, "split the policy, or promise less at once")
        elif proof.verdict == "empty":
            message = f"`{promise.id}` speaks of no request: nothing can fit its conditions"
            yield desk.finding("RP103", place, message, "correct the conditions, or delete the promise")


def _asks(request: RecoveryRequest) -> str:
    owed = " as owed" if request.basis == OWED else ""
    return f"`{request.role}` asks for {request.amount} {in_words(request.remedy)}{owed}"


def decided_in_words(decision: Decision) -> str:
    """``it is approved by `standard```, ``it goes to `lead` because of `standard```."""
    lines = ", ".join(f"`{line}`" for line in decision.lines)
    match decision.outcome:
        case Outcome.APPROVE:
            return f"it is approved by {lines}" if lines else "it is approved"
        case Outcome.ESCALATE:
            return f"it goes to `{decision.to}` because of {lines}"
        case Outcome.DENY:
            return f"it is denied because of {lines}"
    return f"it is incomplete because of {lines}"


# --- gaps -------------------------------------------------------------------------------------------------------------

MOST_GAPS = 5
"""How many gaps are shown; the first says how many there are."""


def gaps(desk: Desk) -> Iterator[LintFinding]:
    """Remedies that nobody can ever give, and requests for which no authority line has a row."""
    never = []
    open_ = desk.policy.with_parts(deny=())
    for at, remedy in enumerate(desk.policy.remedies or ()):
        if any(line.remedy == remedy for line in desk.policy.owed):
            continue
        only = ANYTHING.model_copy(update={"words": {"remedy": (remedy,), "basis": (GOODWILL,)}})
        denied = DenyLine.model_construct(id="nobody", when=only, unless=None, why=None, say=None)
        if desk.same(open_, open_.with_parts(deny=(denied,)), ("remedies", at)):
            never.append(remedy)
            message, cure = f"nobody can ever give `{remedy}`", "add a row for it, or a `total`; or do not list it"
            yield desk.finding("RP120", ("remedies", at), message, cure)
    if desk.policy.authority:
        yield from _rowless(desk, _given(desk.policy, never))


def _given(policy: Policy, never: Sequence[str]) -> Conditions:
    if not never:
        return ANYTHING
    given = tuple(remedy for remedy in policy.remedies or () if remedy not in never)
    return ANYTHING.model_copy(update={"words": {"remedy": given}})


def _rowless(desk: Desk, when: Conditions) -> Iterator[LintFinding]:
    """What would be decided otherwise if a first line let everybody give anything: there, no line has a row."""
    rows: dict[str, tuple[Cell, ...]] = {"total": tuple("unlimited" for _ in desk.policy.ladder)}
    first = AuthorityLine.model_construct(id="first", when=when, unless=None, why=None, say=None, up_to=rows)
    other = desk.policy.with_parts(authority=(first, *desk.policy.authority))
    shared = space((desk.policy, other), GOODWILL)

    def rowless(answers: tuple[Answer, ...], _: object) -> Leaf:
        return True if answers[0].outcome == Outcome.DENY and answers[1] != answers[0] else None

    try:
        if desk.difference(desk.policy, other, ("authority", KEY), lambda answer: answer.outcome == Outcome.DENY):
            diagram = Diagram(shared, rowless, lambda both: both[0] == both[1])
            found = regions(diagram)
            desk.looking.cells += diagram.cells
            for region in found.found[:MOST_GAPS]:
                yield _gap(desk, box_in_words(shared, region.box), region.witness, len(found.found))
            if not found.complete:
                desk.cut.append(("authority", KEY))
    except (NotSettled, TooLarge):
        desk.cut.append(("authority", KEY))


def _gap(desk: Desk, where: tuple[str, ...], witness: Witness, count: int) -> LintFinding:
    more = f" (one of {count} gaps)" if count > 1 else ""
    message = f"nobody may where {', '.join(where)}: no line has a row for it{more}"
    cure = "put a line without conditions first, with a `total`"
    return desk.finding("RP121", ("authority", KEY), message, cure, witness.asked(desk.policy))


# --- the ladder and the way up ----------------------------------------------------------------------------------------


def ladder(desk: Desk) -> Iterator[LintFinding]:
    """Roles that may less than one below them, roles that are never asked, and answers that are or are not timed."""
    seen: set[str] = set()
    fallen: set[str] = set()
    policy = desk.policy

    def falls(asked: Sequence[Asked]) -> Iterable[str]:
        by_role = {role: answer for role, (answer,), _ in asked}
        lower = False
        for role in policy.ladder:
            answer = by_role[role]
            seen.update(filter(None, (answer.to, answer.second)))
            if lower and answer.outcome != Outcome.APPROVE and role not in fallen:
                yield role
            lower = lower or answer.outcome == Outcome.APPROVE

    try:
        for basis in (GOODWILL, OWED):
            one = space((policy,), basis)
            while (witness := desk.looking.first(one, falls)) is not None:
                fallen.add(witness.role)
                yield _falls(desk, *witness.asked(policy))
    except (NotSettled, TooLarge):
        desk.cut.append(("ladder", KEY))
        return
    yield from _never_asked(desk, seen)
    yield from _times(desk, seen)


def _falls(desk: Desk, request: RecoveryRequest, usage: Usage) -> LintFinding:
    policy = desk.policy
    decision = decide(policy, request, usage)
    rank = policy.rank(request.role)
    lower = next(
        role
        for role in reversed(policy.ladder[:rank])
        if decide(policy, replace(request, role=role), usage).outcome == Outcome.APPROVE
    )
    section, index = next(
        (("authority", at) for at, line in enumerate(policy.authority) if line.id in decision.lines), ("ladder", 0)
    )
    message = (
        f"`{lower}` may give {request.amount} {in_words(request.remedy)} and `{request.role}`, which is higher, may not"
    )
    place = desk.named(section, int(index)) if section == "authority" else ("ladder", KEY)
    return desk.finding("RP130", place, message, "let limits rise along the ladder", (request, usage))


def _never_asked(desk: Desk, seen: set[str]) -> Iterator[LintFinding]:
    for rank, role in enumerate(desk.policy.ladder):
        if rank and role not in seen:
            message = f"`{role}` is never asked: there is nothing that it may give and the roles below may not"
            cure = "give it a higher limit than the role below, or take it off the ladder"
            yield desk.finding("RP131", ("ladder", rank), message, cure)


def _times(desk: Desk, seen: set[str]) -> Iterator[LintFinding]:
    way_up, policy = desk.policy.escalation, desk.policy
    lowest = min((policy.rank(role) for role in seen), default=len(policy.ladder))
    for role in way_up.answer_within:
        after_silence = way_up.on_silence == "next_role" and policy.rank(role) > lowest
        if role not in seen and not after_silence:
            place = ("escalation", "answer_within", role, KEY)
            yield desk.finding("RP150", place, f"`{role}` has a time to answer, and is never asked", "delete it")
    for role in policy.ladder if way_up.answer_within else ():
        if role in seen and role not in way_up.answer_within:
            message = f"`{role}` is asked and has no time to answer: what it does not answer waits for ever"
            yield desk.finding("RP151", ("escalation", "answer_within", KEY), message, f"add `{role}: 1 day`")


# --- words ------------------------------------------------------------------------------------------------------------


def words(desk: Desk) -> Iterator[LintFinding]:
    """Facts that no line reads, and words that no line tells apart."""
    policy = desk.policy
    read = {name for line in policy.lines() for name in facts_read(line)}
    for name in policy.facts:
        if name not in read:
            message = f"no line reads the fact `{name}`"
            yield desk.finding("RP140", ("facts", name, KEY), message, "delete it, or write the line that needs it")
    classes = word_classes(policy)
    lists = {"remedies": "remedy", "categories": "category", "severities": "severity"}
    lists |= {name: name for name, fact in policy.facts.items() if fact.kind == "one_of" and name in read}
    for block, name in lists.items():
        alike: dict[int, list[str]] = {}
        for word in policy.words.known(name) or ():
            alike.setdefault(classes.get(name, {}).get(word, IN_NO_LIST), []).append(word)
        place = (block, KEY) if block in _BLOCKS else ("facts", name, KEY)
        for some in alike.values():
            if len(some) > 1:
                every = "all words" if len(alike) == 1 else ", ".join(f"`{word}`" for word in some)
                message = f"no line tells apart {every} of `{name}`"
                yield desk.finding("RP141", place, message, "as it should be where they serve reports only")


_BLOCKS = ("remedies", "categories", "severities")
