"""The story of a recovery or a case: every step in order, who took it, and why they had the authority then.

What an entry says is told as it stands there. The words for its lines are worked out again from the policy text that
the log keeps, and used only where they come to the same figures as the entry.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import Connection, or_, select

from recovery_engine.errors import LogError, RecoveryError, TamperedLog
from recovery_engine.log.book import usage_of
from recovery_engine.log.entry import Entry, decode
from recovery_engine.log.personal import kept_as
from recovery_engine.log.policies import InForce, Policies, PolicyRow
from recovery_engine.log.reading.filters import STATE, Filter, alike
from recovery_engine.log.reading.queries import AuditRow, recoveries
from recovery_engine.log.requests import request_from
from recovery_engine.log.tables import metadata
from recovery_engine.log.writing.deciding import carried_by, decided
from recovery_engine.model import OWED, PolicyRef, Reason, Rung
from recovery_engine.money import Money
from recovery_engine.phrases import in_words, proof_in_words
from recovery_engine.workflow import agreed_by_asking, promise

_LOG = metadata.tables["recovery_log"]
_POLICY = metadata.tables["recovery_policy"]
_PERSONAL = metadata.tables["recovery_personal"]


@dataclass(frozen=True, slots=True)
class Step:
    """One entry about a recovery, and its id. What does not apply to its kind is None or empty.

    ``leaf`` is lower-case hex, times are UTC microseconds; ``at`` is the time on the wall there and then. ``by`` is
    None for the clock. ``because`` are the deciding lines with what they measured then; ``to`` is the role asked next.
    ``texts`` are the personal ones by name (``note``, ``question`` ...), None where they were erased; there are none
    unless they were asked for. ``evidence`` came with the step. ``carrier`` is whose authority an approval stands on,
    in the role ``carrier_role``: the approver's own, or that of whoever had agreed before.
    """

    stream: str
    seq: int
    leaf: str
    at_us: int
    utc_offset_s: int
    kind: str
    id: str
    by: str | None
    role: str | None = None
    outcome: str | None = None
    remedy: str | None = None
    amount: Money | None = None
    because: tuple[Reason, ...] = ()
    rungs: tuple[Rung, ...] = ()
    to: str | None = None
    second: str | None = None
    for_whom: str | None = None
    waived: tuple[str, ...] = ()
    due_us: int | None = None
    reason: str | None = None
    reference: str | None = None
    policy: PolicyRef | None = None
    evidence: tuple[str, ...] = ()
    delegation: str | None = None
    carrier: str | None = None
    carrier_role: str | None = None
    texts: Mapping[str, str | None] = field(default_factory=dict, hash=False)

    @property
    def at(self) -> datetime:
        """When, by the clock of the site."""
        return _local(self.at_us, self.utc_offset_s)

    @property
    def is_second(self) -> bool:
        """Whether this is the second person: somebody else had agreed before."""
        return self.carrier is not None and self.carrier != self.by


@dataclass(frozen=True, slots=True)
class RecoveryStory:
    """A recovery as it stands, its steps, and what had been asked for before on the case or the receipt."""

    row: AuditRow
    steps: tuple[Step, ...]
    before: tuple[AuditRow, ...] = ()

    def promise(self, now_us: int) -> str | None:
        """How the word given stands: ``open``, ``overdue``, ``kept``, ``late`` or ``broken``; None: there is none."""
        return promise(self.row.status, self.row.due_us, self.row.fulfilled_us, now_us)


@dataclass(frozen=True, slots=True)
class Story:
    """What happened under an id: one recovery, or all recoveries of a case in the order of asking."""

    about: str
    recoveries: tuple[RecoveryStory, ...]


def story(connection: Connection, about: str, whole_case: bool = False, people: bool = False) -> Story:
    """The story of the recovery, or else of the case, with the id *about*. Raises LogError where there is none.

    A request that was joined to another is told with that one. *whole_case* tells all of the case of a recovery too;
    *people* gives the personal texts.
    """
    found = select(STATE.c.recovery, STATE.c.case_id).where(or_(STATE.c.recovery == about, STATE.c.case_id == about))
    cases = {str(recovery): str(case) for recovery, case in connection.execute(found)}
    if not cases and (first := _joined_to(connection, about)):
        return replace(story(connection, first, whole_case, people), about=about)
    if not cases:
        cure = alike(connection, (STATE.c.recovery, STATE.c.case_id), about)
        raise LogError(f"no recovery and no case `{about}` in this log", cure)
    told = _Teller(_policies(connection), people)
    whole = about in cases.values() if whole_case else about not in cases
    rows = list(recoveries(connection, Filter(case=about if whole else cases[about])))
    chosen = [row for row in rows if whole or whole_case or row.recovery == about]
    return Story(
        about,
        tuple(
            RecoveryStory(row, tuple(told.steps(connection, row)), tuple(_before(connection, row, rows)))
            for row in chosen
        ),
    )


def _joined_to(connection: Connection, request_id: str) -> str | None:
    """The recovery that a request was joined to."""
    fits = (_LOG.c.request_id == request_id, _LOG.c.kind == "joined")
    return connection.execute(select(_LOG.c.continues).where(*fits)).scalar()


def _before(connection: Connection, row: AuditRow, of_case: list[AuditRow]) -> list[AuditRow]:
    """What was asked for earlier on the case, and on others that share its receipt."""
    known = {one.recovery: one for one in of_case}
    if row.receipt:
        known |= {one.recovery: one for one in recoveries(connection, Filter(receipt=row.receipt))}
    earlier = [one for one in known.values() if (one.at_us, one.seq) < (row.at_us, row.seq)]
    return sorted(earlier, key=lambda one: (one.at_us, one.seq, one.recovery))


def _policies(connection: Connection) -> Policies | None:
    """The policies of the log; None where their texts are no longer what they were."""
    columns = [_POLICY.c[name] for name in PolicyRow._fields]
    try:
        return Policies(PolicyRow._make(row) for row in connection.execute(select(*columns)))
    except RecoveryError:
        return None


class _Teller:
    """Turns entries into steps, with the words of the policies of the log."""

    def __init__(self, policies: Policies | None, people: bool) -> None:
        self.policies, self.people = policies, people

    def steps(self, connection: Connection, row: AuditRow) -> Iterator[Step]:
        """The steps of a recovery, in order."""
        mine = or_(_LOG.c.request_id == row.recovery, _LOG.c.continues == row.recovery)
        chosen = select(_LOG.c.stream, _LOG.c.seq, _LOG.c.leaf, _LOG.c.body).where(mine)
        before = _Before()
        texts = self._texts(connection, row.recovery)
        for stream, seq, leaf, body in connection.execute(chosen.order_by(_LOG.c.stream, _LOG.c.seq)).all():
            try:
                entry = decode(bytes(body))
                before = before.with_entry(entry)
                yield replace(self.step(entry, bytes(leaf).hex(), before), texts=_texts_of(entry, texts))
            except (ValueError, KeyError, TypeError) as error:
                raise TamperedLog(f"stream `{stream}`, seq {seq}: {error!r}", "run `recovery log verify`") from None

    def _texts(self, connection: Connection, recovery: str) -> dict[str, str] | None:
        if not self.people:
            return None
        chosen = select(_PERSONAL.c.field, _PERSONAL.c.value).where(_PERSONAL.c.recovery == recovery)
        return {str(name): str(text) for name, text in connection.execute(chosen)}

    def step(self, entry: Entry, leaf: str, before: "_Before") -> Step:
        """One entry, and what it builds on."""
        asked = before.asked(entry)
        carrier, carrier_role = (asked["employee"], asked["role"]) if entry["kind"] == "approved" else (None, None)
        decides, amount = "because" in entry, asked["amount"]
        return Step(
            entry["stream"],
            entry["seq"],
            leaf,
            entry["at_us"],
            entry["utc_offset_s"],
            entry["kind"],
            entry["id"],
            entry["by"],
            role=entry.get("role"),
            outcome=entry.get("outcome"),
            remedy=asked["remedy"] if decides else None,
            amount=Money(amount, asked["currency"]) if decides or "amount" in entry else None,
            because=tuple(self.reasons(entry, asked)) if decides else (),
            rungs=tuple(Rung(role, tuple(stops)) for role, *stops in entry.get("rungs", ())),
            to=entry.get("to"),
            second=entry.get("second"),
            for_whom=entry.get("for"),
            waived=tuple(entry.get("waived", ())),
            due_us=entry.get("due_us"),
            reason=entry.get("reason"),
            reference=entry.get("reference"),
            policy=self.ref(entry["policy"]) if decides else None,
            evidence=tuple(entry.get("evidence") or entry.get("request", {}).get("evidence", ())),
            delegation=entry.get("delegation"),
            carrier=carrier,
            carrier_role=carrier_role,
        )

    def ref(self, digest: str) -> PolicyRef:
        """A policy by its digest, with its name and version where the log has its text."""
        policy = self.policies.by_digest.get(digest) if self.policies else None
        return policy.ref if policy else PolicyRef("", "", digest)

    def reasons(self, entry: Entry, asked: Mapping[str, Any]) -> Iterator[Reason]:
        """The deciding lines as the entry has them, in words where the policy gives the same figures again."""
        told = {_figures(reason): reason for reason in self._again(entry, asked)}
        for figures in entry["because"]:
            reason = Reason(*figures)
            yield told.get(_figures(reason)) or reason._replace(text=_plainly(reason, asked["currency"]))

    def _again(self, entry: Entry, asked: Mapping[str, Any]) -> tuple[Reason, ...]:
        policies = self.policies
        policy = policies.by_digest.get(entry["policy"]) if policies else None
        if policies is None or policy is None:
            return ()
        in_force = InForce(policy, date.fromisoformat(entry["bday"]), entry["utc_offset_s"])
        usage = usage_of(entry["usage"]["case"], entry["usage"]["budgets"])
        try:
            request = request_from(policy, entry["recovery"], asked)
            return decided(policies, in_force, request, usage).because
        except RecoveryError:
            return ()


class _Before(NamedTuple):
    """What the entries of a recovery so far say: the request, who agreed first and with what limits, the proof."""

    request: Mapping[str, Any] = MappingProxyType({})
    first: Mapping[str, Any] | None = None
    proof: frozenset[str] = frozenset()

    def with_entry(self, entry: Entry) -> "_Before":
        """The same with one entry more."""
        if entry["kind"] == "decided":
            request = entry["request"]
            by_asking = agreed_by_asking(entry["outcome"], entry.get("second"), entry["role"], entry["rungs"])
            return _Before(request, request if by_asking else None, frozenset(request.get("evidence", ())))
        if entry["kind"] == "approved" and self.first is None:
            first = {"employee": entry["by"], "role": entry["role"]}
            return self._replace(first=first | {name: entry[name] for name in ("own_limit",) if name in entry})
        return self._replace(proof=self.proof | set(entry.get("evidence", ())))

    def asked(self, entry: Entry) -> dict[str, Any]:
        """What is decided in an entry, as if whoever's authority it stands on asked for it."""
        if entry["kind"] == "approved" and self.first is not None:
            return carried_by(
                self.request,
                employee=self.first["employee"],
                role=self.first["role"],
                own_limit=self.first.get("own_limit"),
                proof=self.proof,
                remedy=entry["remedy"],
                amount=entry["amount"],
            )
        return dict(self.request) | {name: entry[name] for name in ("remedy", "amount") if name in entry}


def _texts_of(entry: Entry, kept: Mapping[str, str] | None) -> dict[str, str | None]:
    """The personal texts of an entry; None for one that was erased. A later step keeps its own under its seq."""
    if kept is None:
        return {}
    kind, seq = entry["kind"], entry["seq"]
    return {name: kept.get(kept_as(name, kind, seq)) for name in sorted(entry.get("personal", ()))}


def _figures(reason: Reason) -> tuple[str, str, int | None, int | None]:
    return reason.line, reason.what if reason.had is not None else "", reason.had, reason.limit


def _plainly(reason: Reason, currency: str) -> str:
    def shown(figure: int) -> str:
        return str(Money(figure, currency)) if reason.what == "amount" else str(figure)

    if reason.had is None:
        return "it applied"
    limit = "" if reason.limit is None else f"; the limit was {shown(reason.limit)}"
    return f"this would make {shown(reason.had)}{limit}"


# --- in words ---------------------------------------------------------------------------------------------------------


def story_lines(told: Story, now_us: int | None = None) -> Iterator[str]:
    """The story as lines for people; what belongs to a step is indented below it.

    With *now_us* (UTC microseconds) it also tells how the word stands that was given with a grant.
    """
    here = {one.row.recovery for one in told.recoveries}
    for number, one in enumerate(told.recoveries):
        if number:
            yield ""
        yield from _heading(one.row)
        for earlier in one.before:
            if earlier.recovery not in here:
                yield f"  before: {earlier.recovery}, {_given(earlier.asked, earlier.remedy)}; {_stands(earlier)}"
        for step in one.steps:
            yield f"  {_time(step.at)}  {_who(step)} {_did(step, one.row)}  [{step.stream} {step.seq}]"
            yield from (f"      {line}" for line in _details(step))
        if now_us is not None and (standing := one.promise(now_us)):
            yield f"  the promise is {standing}"


def _heading(row: AuditRow) -> Iterator[str]:
    given = [f"case {row.case_id}", f"site {row.site}" if row.site else "no site"]
    given += [f"receipt {row.receipt}"] if row.receipt else []
    given += [f"customer {row.customer}"] if row.customer else []
    asked, granted = _given(row.asked, row.remedy), _given(row.granted, row.granted_remedy)
    less = f", {granted} granted" if row.granted and granted != asked else ""
    yield f"{row.recovery}: {asked} asked for{less}; {_stands(row)}"
    yield f"  {', '.join(given)}"


def _stands(row: AuditRow) -> str:
    return f"pending with the {in_words(row.to_role)}" if row.status == "pending" and row.to_role else row.status


def _given(amount: Money | None, remedy: str | None) -> str:
    """``$18.50 as refund``, or the remedy alone where it costs nothing."""
    return f"{amount} as {in_words(remedy or '')}" if amount and amount.minor else in_words(remedy or "")


def _local(at_us: int, utc_offset_s: int) -> datetime:
    utc = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)
    return utc.astimezone(timezone(timedelta(seconds=utc_offset_s)))


def _time(at: datetime) -> str:
    return at.isoformat(" ", "seconds")


def _who(step: Step) -> str:
    if step.by is None:
        return "the clock"
    acting = f" for {step.for_whom}" if step.for_whom else ""
    return f"{step.by} ({in_words(step.role)}{acting})" if step.role else step.by


def _did(step: Step, row: AuditRow) -> str:
    match step.kind:
        case "decided":
            words = [word for word in (row.category, row.severity, row.reason) if word]
            words += ["owed"] if row.basis == OWED else []
            for_what = f" ({', '.join(map(in_words, words))})" if words else ""
            return f"asked for {_given(step.amount, step.remedy)}{for_what}"
        case "approved":
            lent = f", by the delegation {step.delegation}" if step.delegation else ""
            second = ", as the second person" if step.is_second else ""
            return f"approved {_given(step.amount, step.remedy)}{lent}{second}"
        case "asked":
            return "had a question first"
        case "answered":
            return "answered"
        case "amended":
            return f"asked for less: {step.amount}"
        case "joined":
            return f"asked for the very same again, as {step.id}: the two are one"
        case "withdrawn":
            return "took it back" + (f": {step.reason}" if step.reason else "")
        case "moved_up":
            return f"moved it up to the {in_words(step.to or '')}, because nobody had answered"
        case "lapsed":
            return "let it lapse, because nobody had answered"
        case "fulfilled":
            return "handed it over" + (f", reference {step.reference}" if step.reference else "")
    return f"{in_words(step.kind)} it" + (f": {step.reason}" if step.reason else "")


_SAID = {"note": "note:", "name": "the customer:", "contact": "to be reached at:", "question": "", "answer": ""}
"""What stands before a personal text."""


def _details(step: Step) -> Iterator[str]:
    for name, text in step.texts.items():
        yield f"{_SAID[name]} {'(erased)' if text is None else f'“{text}”'}".strip()
    if step.evidence:
        yield f"proof: {proof_in_words(step.evidence)}"
    if step.policy is not None:
        yield f"{_verdict(step)}, under {_policy(step.policy)}, because"
        yield from (f"  {reason.line}: {reason.text}" for reason in step.because)
    if step.waived:
        yield f"did without {proof_in_words(step.waived)}"
    if step.outcome == "escalate":
        able = [in_words(rung.role) for rung in step.rungs if rung.may]
        yield f"could approve it: {', '.join(able) if able else 'nobody'}"
    if step.due_us is not None and step.kind != "lapsed":
        what = "answer" if step.to or step.second or step.kind == "answered" else "hand-over"
        yield f"{what} due by {_time(_local(step.due_us, step.utc_offset_s))}"


def _verdict(step: Step) -> str:
    second = f"; a second person had to agree, {in_words(step.second)} or above" if step.second else ""
    match step.outcome:
        case "escalate":
            return f"had not the authority to settle it alone: it went to the {in_words(step.to or '')}{second}"
        case "deny":
            return "was told no"
    if step.is_second:
        return f"{step.carrier} ({in_words(step.carrier_role or '')}) had authority then"
    return f"had authority then{second}"


def _policy(policy: PolicyRef) -> str:
    named = " ".join(filter(None, (policy.name, policy.version)))
    return f"policy {named or 'unknown'} ({policy.digest[:12]})"
