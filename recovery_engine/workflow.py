"""What may happen to a recovery next: approve, decline, ask, answer, amend, withdraw, fulfil, void, move up, lapse.

Values in, values out. Whoever runs a command asks here first; an illegal step is NotAllowed, with the reason and what
would be allowed instead.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from recovery_engine.errors import NotAllowed
from recovery_engine.explain import DEFAULT_SENTENCES, sentence
from recovery_engine.model import GOODWILL, Decision, OwnLimit, Rung, Usage
from recovery_engine.money import Money, format_minor
from recovery_engine.phrases import in_words, moment
from recovery_engine.policy.schema import Policy

STATUS_AFTER = {"approve": "granted", "escalate": "pending", "deny": "denied"}
"""Where a recovery stands after it was decided."""

FOLLOWS: Mapping[str, tuple[str, ...]] = {
    "approved": ("pending",),
    "declined": ("pending",),
    "asked": ("pending",),
    "answered": ("pending",),
    "amended": ("pending",),
    "withdrawn": ("pending",),
    "joined": ("pending",),
    "lapsed": ("pending",),
    "moved_up": ("pending",),
    "fulfilled": ("granted",),
    "voided": ("granted",),
}
"""The steps, and where a recovery must stand for each."""

_BY_PEOPLE = ("approved", "declined", "asked", "answered", "amended", "withdrawn", "fulfilled", "voided")


class Standing(Protocol):
    """Where a recovery stands, as far as it matters here.

    ``agreed_*`` are what a first person agreed to, where a second one must still: ``approver`` is that first person,
    ``on_behalf`` who it was done for. ``question_us`` is when a question was put that nobody has answered (UTC us).
    """

    @property
    def recovery(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def employee(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def remedy(self) -> str: ...
    @property
    def currency(self) -> str: ...
    @property
    def asked_minor(self) -> int: ...
    @property
    def to_role(self) -> str | None: ...
    @property
    def second_role(self) -> str | None: ...
    @property
    def due_us(self) -> int | None: ...
    @property
    def question_us(self) -> int | None: ...
    @property
    def approver(self) -> str | None: ...
    @property
    def on_behalf(self) -> str | None: ...
    @property
    def agreed_remedy(self) -> str | None: ...
    @property
    def agreed_minor(self) -> int | None: ...
    @property
    def second_by(self) -> str | None: ...
    @property
    def granted_us(self) -> int | None: ...
    @property
    def fulfilled_us(self) -> int | None: ...
    @property
    def closed_us(self) -> int | None: ...
    @property
    def closed_by(self) -> str | None: ...


class Actor(NamedTuple):
    """Who acts, in which role. ``on_behalf`` is whose authority it is, where it was delegated."""

    employee: str
    role: str
    on_behalf: str | None = None
    own_limit: OwnLimit | None = None


class Delegation(NamedTuple):
    """Authority lent: from one person to another, in a role, for some sites and remedies (none named: all).

    ``cap`` is the most for one case, minor units of ``currency``, inclusive. From ``from_us`` to before ``until_us``,
    UTC microseconds. ``revoked_us`` is when it was taken back.
    """

    delegation: str
    by: str
    to: str
    role: str
    sites: tuple[str, ...]
    remedies: tuple[str, ...]
    cap_minor: int | None
    currency: str | None
    from_us: int
    until_us: int
    revoked_us: int | None = None


# --- may this follow? -------------------------------------------------------------------------------------------------


def require_follows(kind: str, standing: Standing) -> None:
    """Raises NotAllowed where a step cannot follow from where the recovery stands."""
    if standing.status not in FOLLOWS[kind]:
        raise NotAllowed(how_it_stands(standing), what_could(standing))
    if kind == "answered" and standing.question_us is None:
        raise NotAllowed(f"nobody has asked about `{standing.recovery}`", what_could(standing))
    if kind == "asked" and standing.question_us is not None:
        raise NotAllowed(f"a question about `{standing.recovery}` is open already", "wait for the answer, or decide")


def how_it_stands(standing: Standing) -> str:
    """What became of a recovery, by whom and when: whoever comes second learns who was first."""
    who, when = standing.closed_by, standing.closed_us
    if standing.status == "granted":
        who, when = standing.second_by or standing.approver, standing.granted_us
    elif standing.status == "fulfilled":
        who, when = None, standing.fulfilled_us
    if when is None:
        return f"`{standing.recovery}` is {standing.status}"
    by = f" by {who}" if who else ""
    return f"`{standing.recovery}` was {standing.status}{by} at {moment(when)}"


def what_could(standing: Standing) -> str:
    """What people may do with a recovery as it stands."""
    steps = [kind for kind in _BY_PEOPLE if standing.status in FOLLOWS[kind]]
    if standing.status == "pending":
        steps.remove("answered" if standing.question_us is None else "asked")
    return f"it could be {' or '.join(steps)}" if steps else "nothing can follow"


def first_asked(policy: Policy, standing: Standing, to: str) -> str:
    """The lowest role that was ever asked: *to* is that of the request, the second person's may be lower."""
    second = standing.second_role if is_agreed(standing) else None
    return min(to, second or to, key=policy.rank)


def require_answerer(policy: Policy, standing: Standing, actor: Actor, lowest: str) -> None:
    """Raises NotAllowed where somebody may not decline or ask: the requester, and roles below the *lowest* asked.

    Moving up asks one more role and takes authority from nobody: who was asked before may still answer.
    """
    _require_another(standing, actor)
    if policy.rank(actor.role) < policy.rank(lowest):
        wanted = f"{in_words(lowest)} or above"
        raise NotAllowed(f"a {in_words(actor.role)} was not asked", f"{wanted} may answer `{standing.recovery}`")


def require_requester(standing: Standing, employee: str) -> None:
    """Raises NotAllowed where somebody else than the requester wants to take it back or change it."""
    if employee != standing.employee:
        raise NotAllowed(f"`{standing.recovery}` is {standing.employee}'s", "an approver may decline it instead")


def _require_another(standing: Standing, actor: Actor) -> None:
    for person, what in ((standing.employee, "asked for it"), (standing.approver, "agreed to it already")):
        if person is not None and person in (actor.employee, actor.on_behalf):
            raise NotAllowed(f"{person} {what}: `{standing.recovery}` needs another person", "ask somebody else")
    if standing.on_behalf is not None and standing.on_behalf in (actor.employee, actor.on_behalf):
        raise NotAllowed(f"it was agreed to in {standing.on_behalf}'s name already", "ask somebody else")


# --- approval ---------------------------------------------------------------------------------------------------------


def is_agreed(standing: Standing) -> bool:
    """Whether one person has agreed and only the second one is missing."""
    return standing.status == "pending" and standing.approver is not None


class Approval(NamedTuple):
    """What an approver asks to grant: at most what was asked, or was agreed to by the first person."""

    remedy: str
    amount_minor: int


def approval(standing: Standing, remedy: str | None, amount_minor: int | None) -> Approval:
    """What is granted where nothing, or less, or another remedy is named. Raises NotAllowed where it is more."""
    agreed = is_agreed(standing)
    most = standing.agreed_minor if agreed and standing.agreed_minor is not None else standing.asked_minor
    usual = (standing.agreed_remedy if agreed else None) or standing.remedy
    given = most if amount_minor is None else amount_minor
    if given > most:
        asked = format_minor(most, standing.currency)
        raise NotAllowed(
            f"more than the {asked} that was {'agreed to' if agreed else 'asked for'}", "grant that or less"
        )
    if agreed and remedy not in (None, usual):
        raise NotAllowed(f"{standing.approver} agreed to {in_words(usual)}", "agree to that, or decline it")
    return Approval(remedy or usual, given)


def require_approver(policy: Policy, standing: Standing, actor: Actor, joined: Iterable[str]) -> None:
    """Raises NotAllowed where somebody may not approve, whatever their limits: the requester, the same person twice.

    *joined* are those who asked for the very same. A second person needs the role that was asked for, not the limit.
    """
    _require_another(standing, actor)
    for person in joined:
        if person in (actor.employee, actor.on_behalf):
            message = f"{person} asked for it too: `{standing.recovery}` needs another person"
            raise NotAllowed(message, "ask somebody else")
    if is_agreed(standing):
        second = standing.second_role or policy.ladder[-1]
        cure = f"ask a {in_words(second)} or above"
        if actor.on_behalf is not None:
            raise NotAllowed("a second person agrees in their own name", cure)
        if policy.rank(actor.role) < policy.rank(second):
            message = f"{standing.approver} agreed to it, and a {in_words(actor.role)} cannot be the second person"
            raise NotAllowed(message, cure)
    elif policy.rank(actor.role) < policy.rank(standing.role):
        raise NotAllowed(
            f"a {in_words(actor.role)} cannot approve what a {in_words(standing.role)} asks for",
            f"ask a {in_words(standing.role)} or above",
        )


def stopped_by(policy: Policy, decision: Decision, role: str) -> tuple[str, ...]:
    """The lines that stop an approver of *role*; *decision* is that of their own request for it.

    ``someone_else`` is about who asked: it does not stop another person.
    """
    about_the_requester = {line.id for line in policy.someone_else}
    return tuple(line for line in _rung(decision.rungs, role).stopped_by if line not in about_the_requester)


def require_authority(policy: Policy, decision: Decision, actor: Actor) -> None:
    """Raises NotAllowed where *actor* may not grant this for the whole case, with the lines that stop it."""
    lines = stopped_by(policy, decision, actor.role)
    if not lines:
        return
    because = "; ".join(f"{reason.line}: {reason.text}" for reason in decision.explanation.because(lines))
    whose = f"{actor.on_behalf}'s" if actor.on_behalf else "the"
    raise NotAllowed(f"{whose} authority of a {in_words(actor.role)} does not cover it: {because}", _instead(decision))


def _instead(decision: Decision) -> str:
    able = [rung.role for rung in decision.rungs if rung.may]
    most = decision.grantable_now
    could = []
    if most is not None and most.minor and most.minor < decision.amount.minor:
        could.append(f"grant up to {most}")
    if able and able[-1] != decision.request.role:
        could.append(f"ask {' or '.join(in_words(role) for role in able if role != decision.request.role)}")
    return ", or ".join([*could, "decline it"])


def waived(policy: Policy, decision: Decision, role: str) -> list[str]:
    """The proof lines that *role* does without, sorted: they stop the lowest role, and not this one."""
    lowest, own = decision.rungs[0].stopped_by, _rung(decision.rungs, role).stopped_by
    return sorted(line.id for line in policy.requires if line.id in lowest and line.id not in own)


def _rung(rungs: Iterable[Rung], role: str) -> Rung:
    return next(rung for rung in rungs if rung.role == role)


def agreed_by_asking(outcome: str, second: str | None, role: str, rungs: Iterable[Sequence[str]]) -> bool:
    """Whether whoever asked could have granted it, but for the second person: their agreement is on file.

    *rungs* are as in an entry: each role, then what stops it.
    """
    return outcome == "escalate" and second is not None and [role] in [list(rung) for rung in rungs]


# --- silence ----------------------------------------------------------------------------------------------------------


class Silence(NamedTuple):
    """What follows when nobody has answered in time: ``moved_up`` to a role, ``declined`` or ``lapsed``."""

    kind: str
    to: str | None = None


def is_silent(policy: Policy, standing: Standing, now_us: int) -> bool:
    """Whether an answer is overdue. While a question is open the clock stands still, unless the policy lets it run."""
    if standing.status != "pending" or standing.due_us is None or standing.due_us > now_us:
        return False
    return standing.question_us is None or policy.escalation.on_question == "run"


def after_silence(policy: Policy, standing: Standing, able: Collection[str]) -> Silence:
    """Silence never approves: the next role above that may (*able*) is asked, or it is declined; at the top it lapses.

    A second person needs only the role, so that every role above will do.
    """
    if policy.escalation.on_silence == "decline":
        return Silence("declined")
    asked = standing.to_role or policy.ladder[-1]
    for role in policy.ladder[policy.rank(asked) + 1 :]:
        if role in able or is_agreed(standing):
            return Silence("moved_up", role)
    return Silence("lapsed")


def due_after(policy: Policy, role: str | None, at_us: int) -> int | None:
    """When the answer of a role is due, UTC microseconds; None where the policy gives it all the time it wants."""
    seconds = policy.escalation.answer_within.get(role or "")
    return None if seconds is None else at_us + seconds * 1_000_000


def hand_over_due(policy: Policy, at_us: int) -> int | None:
    """When what was granted must be in the customer's hands, UTC microseconds; None where the policy does not say."""
    seconds = policy.escalation.fulfil_within
    return None if seconds is None else at_us + seconds * 1_000_000


def due_after_answer(policy: Policy, standing: Standing, at_us: int) -> int | None:
    """When the approver's answer is due once their question is answered: the clock stood still meanwhile."""
    if standing.due_us is None or standing.question_us is None or policy.escalation.on_question == "run":
        return standing.due_us
    return standing.due_us + max(0, at_us - standing.question_us)


# --- delegation -------------------------------------------------------------------------------------------------------


def require_delegation(
    delegation: Delegation,
    standing: Standing,
    employee: str,
    site: str,
    given: Approval,
    on_case_minor: int,
    at_us: int,
) -> None:
    """Raises NotAllowed where a delegation does not cover an approval; *on_case_minor* is what the case had before."""
    name = f"the delegation `{delegation.delegation}`"
    if employee != delegation.to:
        raise NotAllowed(f"{name} is {delegation.to}'s, and is not passed on", "ask for one of your own")
    if delegation.revoked_us is not None:
        raise NotAllowed(f"{name} was revoked", f"ask {delegation.by}")
    if not delegation.from_us <= at_us < delegation.until_us:
        raise NotAllowed(f"{name} is not in force now", f"ask {delegation.by}")
    if delegation.sites and site not in delegation.sites:
        raise NotAllowed(f"{name} is not for the site `{site}`", f"it is for {', '.join(delegation.sites)}")
    if delegation.remedies and given.remedy not in delegation.remedies:
        raise NotAllowed(f"{name} is not for {in_words(given.remedy)}", f"it is for {', '.join(delegation.remedies)}")
    if delegation.cap_minor is not None:
        if delegation.currency != standing.currency:
            raise NotAllowed(f"{name} is capped in {delegation.currency}", f"this is about {standing.currency}")
        if given.amount_minor and on_case_minor + given.amount_minor > delegation.cap_minor:
            most = format_minor(delegation.cap_minor, standing.currency)
            raise NotAllowed(f"{name} goes to {most} for one case, with what it had", "grant less, or decline it")


def require_lendable(new: Delegation, others: Iterable[Delegation]) -> None:
    """Raises NotAllowed where lent authority would be passed on, or come back to whom it came from.

    It is about times that overlap, and does not ask which of two was lent first.
    """
    if new.by == new.to:
        raise NotAllowed(f"{new.by} has that authority already", "delegate to another person")
    live = [
        one for one in others if one.revoked_us is None and one.from_us < new.until_us and new.from_us < one.until_us
    ]
    reached, frontier = {new.to}, [new.to]
    while frontier:
        person = frontier.pop()
        for one in live:
            if one.by == person and one.to not in reached:
                reached.add(one.to)
                frontier.append(one.to)
    if new.by in reached:
        raise NotAllowed(
            f"{new.to} has lent authority to {new.by}, directly or by others",
            "revoke that, or delegate to another person",
        )
    for one in live:
        if (one.to, one.role) == (new.by, new.role):
            raise NotAllowed(f"{one.by} lent {new.by} that authority, and it is not passed on", f"ask {one.by}")
        if (one.by, one.role) == (new.to, new.role):
            message = f"{new.to} has lent that authority to {one.to}, and what is lent is not passed on"
            raise NotAllowed(message, f"revoke that, or delegate to {one.to} or another person")


def capped_minor(usage: Usage, basis: str) -> int:
    """What of the case counts against the cap of a delegation: what it had on the same basis, minor units."""
    return sum((usage.on_case if basis == GOODWILL else usage.owed_on_case).values())


# --- promises ---------------------------------------------------------------------------------------------------------


PROMISES = ("open", "overdue", "kept", "late", "broken")


def promise(status: str, due_us: int | None, fulfilled_us: int | None, now_us: int) -> str | None:
    """How a word given stands: ``open``, ``overdue``, ``kept``, ``late`` or ``broken``; None where none was given."""
    if status == "voided":
        return "broken"
    if status == "fulfilled":
        return "late" if due_us is not None and fulfilled_us is not None and fulfilled_us > due_us else "kept"
    if status == "granted":
        return "overdue" if due_us is not None and due_us < now_us else "open"
    return None


# --- what to say ------------------------------------------------------------------------------------------------------


def tell_customer(policy: Policy, what: str, role: str | None, amount: Money, remedy: str, say: str = "") -> str:
    """A sentence for the customer after a step, with whom it is with and by when; it never shows a limit.

    *what* is ``approved``, ``escalated``, ``denied``, or a later step. *say* is what the customer may be told of why.
    """
    told = say or "our rules do not allow it."
    said = sentence(policy, what, in_words(role or "colleague"), role, amount, remedy, told)
    template = policy.escalation.tell_customer.get(what, DEFAULT_SENTENCES[what])
    return f"{said} {say}" if say and "{say}" not in template else said
