"""The later steps of a recovery: what they have in common, and those that people take without deciding anything."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import NamedTuple
from unicodedata import normalize

from recovery_engine.errors import IdempotencyConflict, InvalidRequest, NotAllowed, did_you_mean
from recovery_engine.log.calendar import business_day, offset_s, zone_of
from recovery_engine.log.entry import ORGANISATION, Entry
from recovery_engine.log.personal import commitment, kept_as, opens
from recovery_engine.log.projection import RecoveryState, implied_subjects
from recovery_engine.log.writing.group import Earlier, Group, LogReceipt, Wanted
from recovery_engine.model import Decision
from recovery_engine.policy.reading import ILL_TYPED, UNKNOWN_WORD, problem
from recovery_engine.policy.schema import Policy
from recovery_engine.staff import Staff
from recovery_engine.workflow import (
    Actor,
    due_after_answer,
    first_asked,
    require_answerer,
    require_follows,
    require_requester,
    what_could,
)


class Done(NamedTuple):
    """A step that stands in the log: where the recovery stands after it, and the policy it is under.

    ``instead`` is what the requester's own request would be answered now, where somebody said no.
    """

    receipt: LogReceipt
    replayed: bool
    state: RecoveryState
    policy: Policy
    instead: Decision | None = None


def ill_formed(error: ValueError) -> InvalidRequest:
    """What an entry cannot hold."""
    return InvalidRequest([problem(ILL_TYPED, "request", str(error), "give less")])


def day_at(policy: Policy, site: str, at_us: int) -> tuple[date, int]:
    """The business day and the UTC offset (seconds) of an instant, by the clock of a policy at a site."""
    utc_offset_s = offset_s(zone_of(policy, site or None), at_us)
    return business_day(at_us, utc_offset_s, policy.day_starts), utc_offset_s


def last_of(entries: Iterable[Earlier], *kinds: str) -> Earlier:
    """The last entry of some kinds."""
    return [one for one in entries if one.entry["kind"] in kinds][-1]


def what_was_asked(entries: Iterable[Earlier]) -> str:
    """The leaf of the entry that says what is asked for: the request, or the last that asks for less."""
    return last_of(entries, "decided", "amended").receipt.leaf


def proof_in(entries: list[Earlier]) -> list[str]:
    """The proof on file, sorted: what was given with the request, and with answers since."""
    given = entries[0].entry["request"].get("evidence", ())
    return sorted({*given, *[item for one in entries for item in one.entry.get("evidence", ())]})


def joined_by(entries: Iterable[Earlier]) -> tuple[str, ...]:
    """Who asked for the very same while it was pending."""
    return tuple(one.entry["by"] for one in entries if one.entry["kind"] == "joined")


def step_fields(policy: Policy, state: RecoveryState, at_us: int, of: str) -> Entry:
    """What the entry of every later step begins with; *of* is the leaf (hex) of what it answers."""
    day, utc_offset_s = day_at(policy, state.site, at_us)
    return {"recovery": state.recovery, "bday": day.isoformat(), "utc_offset_s": utc_offset_s, "of": of}


def require_role(policy: Policy, role: str) -> None:
    """Raises InvalidRequest where the ladder does not have the role."""
    if role not in policy.ladder:
        cure = did_you_mean(str(role), policy.ladder)
        raise InvalidRequest([problem(UNKNOWN_WORD, "role", f"unknown role `{role}`", cure)])


def once_each(kind: str, recovery: str, person: str) -> str:
    """The id of a step that a person takes once; no two are alike, although recoveries and people may have strokes."""
    return f"~{kind}/{recovery}/{person.replace('~', '~~').replace('/', '~-')}"


def as_known(group: Group, staff: Staff | None, actor: Actor, state: RecoveryState, policy: Policy) -> Actor:
    """The actor as the staff directory knows them, where there is one. Raises InvalidRequest where they may not act."""
    if staff is None:
        return actor
    day, _ = day_at(policy, state.site, group.clock(state.stream))
    person = staff.acting(actor.employee, actor.role, state.site or None, day)
    return actor._replace(role=person.role, own_limit=person.own_limit)


class Later:
    """A later step of a recovery. ``by`` left out is whoever asked for it."""

    kind: str

    def __init__(self, recovery: str, request_id: str | None, by: str | None) -> None:
        self.recovery, self.by = recovery, by
        self.id = request_id or ""
        self.texts: Mapping[str, str] = {}

    def wants(self, wanted: Wanted) -> None:
        """The command's own id, and where the recovery stands."""
        if self.id:
            wanted.ids.add(self.id)
        wanted.recoveries.add(self.recovery)

    def locks(self, group: Group, wanted: Wanted) -> None:
        """The stream of the recovery, and whoever the step touches."""
        state = group.state(self.recovery)
        if state is not None:
            wanted.streams.add(state.stream)
            wanted.subjects.update(self.subjects(group, state))

    def subjects(self, group: Group, state: RecoveryState) -> list[str]:
        """Whose usage is read or changed."""
        return []

    def content(self) -> Entry:
        """What the caller gave: the same under the same id is the same command."""
        return {}

    def of(self, group: Group, state: RecoveryState) -> str:
        """The leaf (hex) of the entry that is answered."""
        return what_was_asked(group.entries(self.recovery))

    def check(self, group: Group, state: RecoveryState, policy: Policy) -> None:
        """Raises NotAllowed where this person may not."""

    def fields(self, group: Group, state: RecoveryState, policy: Policy, at_us: int) -> Entry:
        """What the entry holds besides what every later step does, and the content."""
        return {}

    def signs(self, state: RecoveryState) -> str:
        """Who is named in the entry."""
        return state.employee if self.by is None else self.by

    def run(self, group: Group) -> Done:
        """Append the step. Raises NotAllowed, IdempotencyConflict, InvalidRequest, LogError."""
        state = group.state(self.recovery)
        if state is None:
            raise NotAllowed(f"there is no recovery `{self.recovery}`", "check the id")
        policy = group.policies.by_digest[state.policy]
        if earlier := group.earlier(self.id):
            return Done(self._again(group, earlier, self.signs(state)), True, state, policy)
        require_follows(self.kind, state)
        self.check(group, state, policy)
        at_us = group.clock(state.stream)
        fields = {
            **step_fields(policy, state, at_us, self.of(group, state)),
            **{name: value for name, value in self.content().items() if value is not None},
            **self.fields(group, state, policy, at_us),
        }
        receipt = append_with_texts(
            group, state.stream, self.kind, self.id, self.signs(state), fields, at_us, self.texts
        )
        after = group.state(self.recovery)
        assert after is not None
        return Done(receipt, False, after, policy)

    def _again(self, group: Group, earlier: Earlier, by: str) -> LogReceipt:
        entry = earlier.entry
        same = entry["kind"] == self.kind and entry["recovery"] == self.recovery and entry["by"] == by
        if not same or not self.is_same(entry) or not says_the_same(group, earlier, self.texts):
            message = f"the id `{self.id}` was used before, for something else"
            raise IdempotencyConflict(message, f"`{self.recovery}` was {entry['kind']} at seq {entry['seq']}")
        return earlier.receipt

    def is_same(self, entry: Entry) -> bool:
        """Whether an entry of this kind says what the caller gives."""
        return all(entry.get(name) == value for name, value in self.content().items())


def append_with_texts(
    group: Group,
    stream: str,
    kind: str,
    request_id: str,
    by: str | None,
    fields: Entry,
    at_us: int,
    texts: Mapping[str, str],
) -> LogReceipt:
    """Append an entry, its texts as commitments whose openings are kept where they can be erased."""
    salts = {name: group.random(32) for name in sorted(texts)}
    if texts:
        fields = {**fields, "personal": {name: commitment(salts[name], texts[name]) for name in salts}}
    try:
        receipt = group.append(stream, kind, request_id, by, fields, at_us)
    except ValueError as error:
        raise ill_formed(error) from None
    group.keep_personal(
        (fields["recovery"], kept_as(name, kind, receipt.seq), salts[name], normalize("NFC", texts[name]))
        for name in salts
    )
    return receipt


_SALTS = "SELECT salt FROM recovery_personal WHERE recovery IN (?*) AND field IN (?*)"


def says_the_same(group: Group, earlier: Earlier, texts: Mapping[str, str]) -> bool:
    """Whether an entry was made of these texts. Of what was forgotten nobody can tell, and it passes."""
    entry, receipt = earlier
    committed = entry.get("personal", {})
    if committed.keys() != texts.keys():
        return False
    for name, text in texts.items():
        kept = (entry["recovery"], kept_as(name, entry["kind"], receipt.seq))
        salts = [row[2] for row in group.rows.get("recovery_personal", ()) if row[:2] == kept]
        salts = salts or [row[0] for row in group.read(_SALTS, [kept[0]], [kept[1]])]
        if salts and not opens(committed[name], bytes(salts[0]), text):
            return False
    return True


# --- after a grant ----------------------------------------------------------------------------------------------------


class Fulfil(Later):
    """What was granted is in the customer's hands."""

    kind = "fulfilled"

    def __init__(self, recovery: str, reference: str | None, by: str | None, request_id: str | None) -> None:
        super().__init__(recovery, request_id or f"~fulfil/{recovery}", by)
        self.reference = reference

    def content(self) -> Entry:
        return {"reference": self.reference}

    def of(self, group: Group, state: RecoveryState) -> str:
        return group.grant(self.recovery).receipt.leaf


class Void(Later):
    """What was granted is taken back: the money counts no longer, the case still does."""

    kind = "voided"

    def __init__(self, recovery: str, reason: str, by: str, request_id: str | None) -> None:
        super().__init__(recovery, request_id or f"~void/{recovery}", by)
        self.reason = reason

    def content(self) -> Entry:
        return {"reason": self.reason}

    def of(self, group: Group, state: RecoveryState) -> str:
        return group.grant(self.recovery).receipt.leaf

    def subjects(self, group: Group, state: RecoveryState) -> list[str]:
        if state.approver is None:
            return []
        return implied_subjects(state, state.approver, ORGANISATION in group.tracks, state.on_behalf)

    def fields(self, group: Group, state: RecoveryState, policy: Policy, at_us: int) -> Entry:
        grant = group.grant(self.recovery).entry
        counts = {**grant["counts"], "amount": -grant["counts"]["amount"], "times": 0}
        return {"counts": counts, "touches": group.touches(subject for subject, _ in grant["touches"])}


# --- while it is pending ----------------------------------------------------------------------------------------------


class OfWhoWasAsked(Later):
    """What somebody does who was asked."""

    def __init__(self, recovery: str, actor: Actor, request_id: str | None, staff: Staff | None = None) -> None:
        super().__init__(recovery, request_id, actor.employee)
        self.actor, self.staff = actor, staff

    def signs(self, state: RecoveryState) -> str:
        """The one who acts: never is it taken for the requester's."""
        return self.actor.employee

    def check(self, group: Group, state: RecoveryState, policy: Policy) -> None:
        self.actor = as_known(group, self.staff, self.actor, state, policy)
        require_role(policy, self.actor.role)
        lowest = first_asked(policy, state, group.entries(self.recovery)[0].entry["to"])
        require_answerer(policy, state, self.actor, lowest)

    def is_same(self, entry: Entry) -> bool:
        """A role that is left out is the directory's, whatever it was then."""
        given = self.content() if self.actor.role else {**self.content(), "role": entry.get("role")}
        return all(entry.get(name) == value for name, value in given.items())


class Ask(OfWhoWasAsked):
    """Somebody who was asked has a question first."""

    kind = "asked"

    def __init__(
        self, recovery: str, question: str, actor: Actor, request_id: str | None, staff: Staff | None = None
    ) -> None:
        super().__init__(recovery, actor, request_id, staff)
        self.texts = {"question": question}

    def content(self) -> Entry:
        return {"role": self.actor.role}

    def locks(self, group: Group, wanted: Wanted) -> None:
        super().locks(group, wanted)
        state = group.state(self.recovery)
        # Once and for all: run again after a lost answer, it must find its own entry.
        self.id = (
            self.id or self._open_one(group, state) or f"~ask/{self.recovery}/{state.questions + 1 if state else 1}"
        )
        wanted.ids.add(self.id)

    def _open_one(self, group: Group, state: RecoveryState | None) -> str | None:
        """The id of the open question, where it is this one: the caller asks again, whose answer was lost."""
        if state is None or state.question_us is None:
            return None
        last = last_of(group.entries(self.recovery), "asked")
        signed = last.entry["by"] == self.signs(state)
        same = signed and self.is_same(last.entry) and says_the_same(group, last, self.texts)
        return str(last.entry["id"]) if same else None


class Answer(Later):
    """An answer to the question, perhaps with more proof. The approver's time runs on from where it stood still."""

    kind = "answered"

    def __init__(
        self, recovery: str, answer: str, evidence: Iterable[str], by: str | None, request_id: str | None
    ) -> None:
        super().__init__(recovery, request_id, by)
        self.texts = {"answer": answer}
        self.evidence = sorted(set(evidence))

    def content(self) -> Entry:
        return {"evidence": self.evidence or None}

    def locks(self, group: Group, wanted: Wanted) -> None:
        super().locks(group, wanted)
        state = group.state(self.recovery)
        self.id = self.id or f"~answer/{self.recovery}/{state.questions if state else 0}"
        wanted.ids.add(self.id)

    def of(self, group: Group, state: RecoveryState) -> str:
        return last_of(group.entries(self.recovery), "asked").receipt.leaf

    def check(self, group: Group, state: RecoveryState, policy: Policy) -> None:
        asked = last_of(group.entries(self.recovery), "asked").entry
        if asked["by"] == self.signs(state):
            raise NotAllowed(f"{asked['by']} asked; somebody else must answer", f"{state.employee} could")

    def fields(self, group: Group, state: RecoveryState, policy: Policy, at_us: int) -> Entry:
        due_us = due_after_answer(policy, state, at_us)
        return {} if due_us is None else {"due_us": due_us}


class _OfRequester(Later):
    """What only the requester may do."""

    def check(self, group: Group, state: RecoveryState, policy: Policy) -> None:
        require_requester(state, self.signs(state))


class Withdraw(_OfRequester):
    """The requester takes it back."""

    kind = "withdrawn"

    def __init__(self, recovery: str, reason: str | None, by: str | None, request_id: str | None) -> None:
        super().__init__(recovery, request_id or f"~withdraw/{recovery}", by)
        self.reason = reason

    def content(self) -> Entry:
        return {"reason": self.reason}


class Amend(_OfRequester):
    """The requester asks for less. What was agreed to stands as far as it goes; anything else is another request."""

    kind = "amended"

    def __init__(self, recovery: str, amount_minor: int, by: str | None, request_id: str | None) -> None:
        super().__init__(recovery, request_id or f"~amend/{recovery}/{amount_minor}", by)
        self.amount_minor = amount_minor

    def content(self) -> Entry:
        return {"amount": self.amount_minor}

    def check(self, group: Group, state: RecoveryState, policy: Policy) -> None:
        super().check(group, state, policy)
        if not 0 < self.amount_minor < state.asked_minor:
            raise NotAllowed("only less than was asked for can be asked for instead", what_could(state))
