"""RecoveryEngine: a request in, a decision out, and not one of them lost."""

import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from threading import TIMEOUT_MAX, Lock
from typing import Any, Self, TypeVar

from recovery_engine.errors import InvalidRequest, LogError, NotAllowed, RecoveryError, did_you_mean
from recovery_engine.log.database import Reading
from recovery_engine.log.entry import ORGANISATION
from recovery_engine.log.projection import RecoveryState
from recovery_engine.log.proof.anchors import Anchor, Reopen, Reopened, lost_from, require_anchored
from recovery_engine.log.reading.queries import LogEntry
from recovery_engine.log.reading.recovery_log import RecoveryLog
from recovery_engine.log.requests import (
    amount_problems,
    command_problems,
    kind_problems,
    listed,
    reason_problems,
    reference_problems,
    refuse,
    request_problems,
    text_problems,
    word_problems,
)
from recovery_engine.log.writing.approving import Approve, Decline, Silent
from recovery_engine.log.writing.creation import Place, open_store
from recovery_engine.log.writing.delegating import Delegate, Revoke
from recovery_engine.log.writing.group import LogReceipt, Random
from recovery_engine.log.writing.later import Amend, Answer, Ask, Done, Fulfil, Void, Withdraw
from recovery_engine.log.writing.looks import (
    Delegations,
    OfCase,
    OfRecovery,
    PolicyNow,
    Promises,
    Queue,
    SilentNow,
    Streams,
)
from recovery_engine.log.writing.organisation import AcceptClock, Forget, Forgotten, LoadPolicies
from recovery_engine.log.writing.recorded import (
    Before,
    Promised,
    Recorded,
    RecordedDecision,
    RecordedDelegation,
    Ticked,
    Waiting,
    alternatives_of,
)
from recovery_engine.log.writing.steps import Request, Step
from recovery_engine.log.writing.store import Clock, Store
from recovery_engine.model import NO_USAGE, Alternative, Decision, RecoveryRequest
from recovery_engine.money import Money
from recovery_engine.policy.library import read_policies, read_staff_file
from recovery_engine.policy.reading import ILL_TYPED, UNKNOWN_WORD, problem, problems_of
from recovery_engine.policy.schema import Policy
from recovery_engine.staff import Staff
from recovery_engine.version import __version__
from recovery_engine.workflow import PROMISES, Actor, Delegation, tell_customer

Told = TypeVar("Told")

_OF_A_DECISION = tuple(field.name for field in fields(Decision))
_ORIGIN = re.compile(r"[A-Za-z0-9._:/-]{1,128}")


class RecoveryEngine:
    """The policy, the log and what was used up so far, together. Safe to share between threads, not across a fork."""

    def __init__(self, store: Store, place: Place, database: str | Path, staff: Staff | None = None) -> None:
        self._store, self._place, self._database, self._staff = store, place, database, staff
        self._reading: Reading | None = None
        self._read_lock = Lock()

    @classmethod
    def open(
        cls,
        database: str | Path | None = None,
        policies: str | Path | None = None,
        *,
        staff: Staff | str | Path | None = None,
        anchors: Iterable[Anchor] = (),
        origin: str | None = None,
        tracks: Iterable[str] = (),
        wait_s: float = 5.0,
        clock: Clock | None = None,
        random: Random = secrets.token_bytes,
        environment: Mapping[str, str] = os.environ,
    ) -> Self:
        """Open the log in *database*, made where there is none, and load what is new in *policies*.

        *database* is ``sqlite:///file.db``, a path, or ``postgresql+psycopg://...``; *policies* a folder, a file, or
        the name of a starter policy. RECOVERY_DATABASE and RECOVERY_POLICIES in *environment* win over both. A version
        loaded before stays: what the log holds is in force, whoever opens it.

        *staff* is a staff directory, a file of one, or ``Staff.of(callback)``; RECOVERY_STAFF wins over it. With one,
        roles are facts and not claims: a role may be left out (""), and another than the directory's is refused.
        *anchors* are what checkpoints kept elsewhere say (``read_anchor``): a log that lacks what they show is refused
        with TamperedLog until ``reopen`` answers for it.
        A new log is named *origin* in checkpoints, and *tracks* (``organisation``) what organisation-wide budgets need.
        *wait_s* is how long a caller waits in line (seconds); *clock* tells UTC microseconds, left out: PostgreSQL's
        own, or this machine's.
        Raises LogError, PolicyError, TamperedLog.
        """
        database = environment.get("RECOVERY_DATABASE") or database
        policies = environment.get("RECOVERY_POLICIES") or policies
        if not database:
            raise LogError("no database is named", "give one such as `sqlite:///recovery.db`, or set RECOVERY_DATABASE")
        if unknown := set(tracks) - {ORGANISATION}:
            raise LogError(f"cannot track `{sorted(unknown)[0]}`", f"`{ORGANISATION}` is all there is to track")
        if origin is not None and not _ORIGIN.fullmatch(origin):
            raise LogError(
                f"`{origin[:40]}` cannot name a log", "use letters, digits and `. _ : / -`, such as `example.com/log`"
            )
        if not 0 <= wait_s <= TIMEOUT_MAX:
            raise LogError(f"cannot wait {wait_s} seconds", "give a number of seconds such as 5")
        staff = environment.get("RECOVERY_STAFF") or staff
        read = read_policies(policies) if policies else []
        people = staff if isinstance(staff, Staff | None) else read_staff_file(staff)
        store, place = open_store(database, __version__, clock, random, wait_s, origin, tracks)
        engine = cls(store, place, database, people)
        try:
            if anchors := tuple(anchors):
                require_anchored(database, anchors)
            if read:
                store.run(LoadPolicies(read))
        except BaseException:
            engine.close()
            raise
        return engine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish what was taken, and close the connections. Callers in line get StoreBusy."""
        if not self._store.close():
            return  # in a forked process the connections are the parent's
        with self._read_lock:
            if self._reading is not None:
                self._reading.close()
                self._reading = None

    # --- deciding ---

    def request(self, request: RecoveryRequest) -> RecordedDecision:
        """Decide a request and put it into the log. When it says approve, it stands there and may be paid now.

        ``request.id`` is made by the host before it sends, and is the id of the recovery; the same request again gets
        the same answer. Raises InvalidRequest with every problem, IdempotencyConflict, StoreBusy (nothing was stored;
        ask again), OutcomeUnknown (ask again with the same id), LogError.
        """
        self._check(request)
        decision, receipt, due_us, replayed, recovery, known = self._store.run(
            Request(request, staff=self._known(request.employee))
        )
        values = {name: getattr(decision, name) for name in _OF_A_DECISION}
        before = [Before(one.recovery, one.status, one.remedy, Money(one.asked_minor, one.currency)) for one in known]
        return RecordedDecision(
            **values, recovery=recovery, log_receipt=receipt, due_us=due_us, replayed=replayed, before=tuple(before)
        )

    def what_if(self, request: RecoveryRequest) -> Decision:
        """What would be decided now, with all that was used up so far; it leaves no trace. ``id`` may be left out."""
        refuse(kind_problems("request", RecoveryRequest, request))
        request = replace(request, id=request.id or "what-if")
        self._check(request)
        return self._look(Request(request, dry=True, staff=self._known(request.employee))).decision

    def _check(self, request: RecoveryRequest) -> None:
        """Raises InvalidRequest; where the log finds something wrong, with what the policy finds as well."""
        refuse(kind_problems("request", RecoveryRequest, request))
        found = list(request_problems(request))
        if not found:
            return
        with suppress(RecoveryError):
            site = request.site if isinstance(request.site, str) else None
            named = {diagnostic.where for diagnostic in found}
            also = problems_of(self.policy(site), request, NO_USAGE)
            found += [diagnostic for diagnostic in also if diagnostic.where not in named]
        raise InvalidRequest(found)

    def headroom(
        self, *, employee: str, role: str = "", site: str | None = None, remedies: Iterable[str] = (), **known: Any
    ) -> tuple[Alternative, ...]:
        """What an employee may give now, per remedy, up to and including an amount (None: without limit).

        *known* are other fields of RecoveryRequest: the case, the customer, the bill, facts. Left out, it is a fresh
        case of an unknown customer. *remedies*: those asked about; left out, all that the policy lists. Raises
        InvalidRequest.
        """
        policy = self.policy(site)
        known = {"id": "what-if", "case": "what-if", **known, "employee": employee, "role": role, "site": site}
        known["amount"] = Money(0, policy.currency)
        asked_about = listed(remedies) or policy.remedies or ("refund",)
        requests = [RecoveryRequest(remedy=remedy, **known) for remedy in asked_about]
        refuse(dict.fromkeys(problem for one in requests for problem in request_problems(one)))
        return tuple(Alternative(one.remedy, self.what_if(one).grantable_now) for one in requests)

    def policy(self, site: str | None = None) -> Policy:
        """The policy in force now at a site. Raises InvalidRequest where there is none."""
        return self._look(PolicyNow(site), site=site)

    # --- what follows ---

    def fulfil(
        self, recovery: str, reference: str | None = None, *, by: str | None = None, id: str | None = None
    ) -> Recorded:
        """What was granted is in the customer's hands; *reference* is the payment's. *by*: left out, who asked for it.

        The same again gets the same answer. Raises NotAllowed, IdempotencyConflict, InvalidRequest, LogError.
        """
        refuse(command_problems({"recovery": recovery}, reference=reference, by=by, id=id))
        return self._done("fulfilled", self._store.run(Fulfil(recovery, reference, by, id)))

    def void(self, recovery: str, reason: str, *, by: str, id: str | None = None) -> Recorded:
        """What was granted is taken back before it reached the customer: the money counts no longer, the case does.

        Raises as ``fulfil`` does.
        """
        refuse(command_problems({"recovery": recovery, "by": by}, id=id), reason_problems(reason))
        return self._done("voided", self._store.run(Void(recovery, reason, by, id)))

    # --- the way up ---

    def approve(
        self,
        recovery: str,
        *,
        by: str,
        role: str = "",
        amount: Money | None = None,
        remedy: str | None = None,
        asked: str | None = None,
        delegation: str | None = None,
        note: str | None = None,
        id: str | None = None,
    ) -> Recorded:
        """Somebody with authority agrees to what is pending; with *amount* to less, with *remedy* to another one.

        The authority of *role* must cover the whole case, with the usage of this moment, under the policy version the
        request was made under. Where four eyes are asked it is then pending with the second person (``state.status``).
        *asked* is the leaf of what the approver looked at (``Waiting.asked``): given, the approval is bound to it.
        *delegation* is the id of lent authority; the role is then the lent one, and *role* what they are themselves.
        Raises NotAllowed, IdempotencyConflict, InvalidRequest, LogError.
        """
        refuse(
            command_problems({"recovery": recovery, "by": by}, delegation=delegation, id=id),
            () if note is None else text_problems("note", note),
            () if remedy is None else word_problems("remedy", remedy),
            amount_problems(amount),
        )
        lent = self.delegations(by) if delegation and self._staff is not None else ()
        lenders = [one.by for one in lent if one.delegation == delegation]
        minor = None if amount is None else self._minor(amount, recovery)
        step = Approve(
            recovery,
            Actor(by, role),
            remedy=remedy,
            amount_minor=minor,
            seen=asked,
            delegation=delegation,
            note=note,
            request_id=id,
            staff=self._known(by, *lenders),
        )
        return self._done("approved", self._store.run(step))

    def decline(
        self, recovery: str, reason: str, *, by: str, role: str = "", say: str | None = None, id: str | None = None
    ) -> Recorded:
        """Somebody who was asked says no, for a *reason*; *say* is what the customer may be told of it.

        Raises as ``approve`` does.
        """
        found = command_problems({"recovery": recovery, "by": by}, id=id)
        refuse(found, reason_problems(reason), () if say is None else text_problems("say", say))
        step = Decline(recovery, reason, Actor(by, role), id, self._known(by))
        return self._done("declined", self._store.run(step), say or "")

    def ask(self, recovery: str, question: str, *, by: str, role: str = "", id: str | None = None) -> Recorded:
        """Somebody who was asked has a question first; meanwhile the clock of silence stands still, unless the policy
        says otherwise (``on_question: run``). Raises as ``approve`` does.
        """
        refuse(command_problems({"recovery": recovery, "by": by}, id=id), reason_problems(question, "question"))
        return self._done("asked", self._store.run(Ask(recovery, question, Actor(by, role), id, self._known(by))))

    def answer(
        self,
        recovery: str,
        answer: str,
        *,
        by: str | None = None,
        evidence: Iterable[str] = (),
        id: str | None = None,
    ) -> Recorded:
        """Answer the question, perhaps with more proof. *by* left out: who asked for it. Raises as ``approve`` does."""
        evidence, found = listed(evidence), command_problems({"recovery": recovery}, by=by, id=id)
        refuse(found, reason_problems(answer, "answer"), text_problems("evidence", *evidence))
        return self._done("answered", self._store.run(Answer(recovery, answer, evidence, by, id)))

    def amend(self, recovery: str, amount: Money, *, by: str | None = None, id: str | None = None) -> Recorded:
        """Ask for less; what was agreed to stands as far as it goes. For anything else withdraw it and ask anew."""
        refuse(command_problems({"recovery": recovery}, by=by, id=id), amount_problems(amount, needed=True))
        return self._done("amended", self._store.run(Amend(recovery, self._minor(amount, recovery), by, id)))

    def withdraw(
        self, recovery: str, reason: str | None = None, *, by: str | None = None, id: str | None = None
    ) -> Recorded:
        """The requester takes back what is pending. Raises as ``approve`` does."""
        refuse(
            command_problems({"recovery": recovery}, by=by, id=id),
            () if reason in (None, "") else reason_problems(reason),
        )
        return self._done("withdrawn", self._store.run(Withdraw(recovery, reason, by, id)))

    def tick(self) -> Ticked:
        """Do what is due now: silent requests move up, are declined or lapse; and say which promises are overdue.

        Safe to run as often as one likes, from several machines at once.
        """
        steps = []
        for recovery in self._look(SilentNow()):
            done = self._store.run(Silent(recovery))
            if done is not None:
                moved = done.state.status == "pending"
                steps.append(self._done("moved_up" if moved else done.state.status, done))
        return Ticked(tuple(steps), self.promises("overdue"))

    def pending(
        self,
        recovery: str | None = None,
        *,
        role: str | None = None,
        site: str | None = None,
        employee: str | None = None,
    ) -> tuple[Waiting, ...]:
        """What waits for an answer, or one *recovery* that does; the oldest due first, each with its whole story.

        *role*: what was sent to that role. *employee*: without what this person asked for or agreed to already,
        or somebody in their name.
        """
        asked = {"recovery": recovery, "role": role, "site": site, "employee": employee}
        return self._look(Queue(role, site, employee, recovery), **asked)

    def promises(self, *standing: str, site: str | None = None) -> tuple[Promised, ...]:
        """What was granted and not handed over yet, the first due first; or what is ``overdue``, ``kept``, ``late`` or
        ``broken``.
        """
        unknown = [f"{one}" for one in standing if one not in PROMISES]
        found = [problem(UNKNOWN_WORD, "standing", f"unknown `{one}`", did_you_mean(one, PROMISES)) for one in unknown]
        refuse(found)
        return self._look(Promises(standing or ("open", "overdue"), site), site=site)

    def delegate(
        self,
        id: str,
        *,
        by: str,
        to: str,
        role: str,
        until_us: int,
        from_us: int | None = None,
        sites: Iterable[str] = (),
        remedies: Iterable[str] = (),
        cap: Money | None = None,
    ) -> RecordedDelegation:
        """Lend the authority of *role*, which *by* has, to another person, until before *until_us* (UTC microseconds).

        *from_us* left out is now. *sites*, *remedies* left out: all. *cap* is the most for one case, inclusive. Lent
        authority is not passed on. Raises NotAllowed, InvalidRequest, IdempotencyConflict, LogError.
        """
        sites, remedies = listed(sites), listed(remedies)
        found = command_problems({"id": id, "by": by, "to": to}), amount_problems(cap), word_problems("role", role)
        refuse(*found, word_problems("remedy", *remedies), reference_problems("site", *sites))
        step = Delegate(
            id,
            by=by,
            to=to,
            role=role,
            sites=sites,
            remedies=remedies,
            cap=cap,
            from_us=from_us,
            until_us=until_us,
            staff=self._known(by, to),
        )
        return RecordedDelegation(*self._store.run(step))

    def revoke(self, delegation: str, *, by: str, id: str | None = None) -> RecordedDelegation:
        """Take lent authority back; what was approved with it stands. Raises as ``delegate`` does."""
        refuse(command_problems({"delegation": delegation, "by": by}, id=id))
        return RecordedDelegation(*self._store.run(Revoke(delegation, by, id)))

    def delegations(self, person: str | None = None, *, all_of_them: bool = False) -> tuple[Delegation, ...]:
        """What is lent now or later, by or to a person; with *all_of_them* also what is over or was revoked."""
        return self._look(Delegations(person, all_of_them), person=person)

    def _known(self, *employees: str | None) -> Staff | None:
        return None if self._staff is None else self._staff.only(*employees)

    def _minor(self, amount: Money, recovery: str) -> int:
        state = self.recovery(recovery)
        if state is None:
            raise NotAllowed(f"there is no recovery `{recovery}`", "check the id")
        if amount.currency != state.currency:
            message = f"{amount.currency}, and `{recovery}` is in {state.currency}"
            raise InvalidRequest([problem(ILL_TYPED, "amount", message, f"give it in {state.currency}")])
        return amount.minor

    def _done(self, what: str, done: Done, say: str = "") -> Recorded:
        state = done.state
        granted = state.status in ("granted", "fulfilled", "voided") and state.granted_minor is not None
        amount = state.granted_minor if granted and state.granted_minor is not None else state.asked_minor
        remedy = (state.granted_remedy if granted else None) or state.remedy
        # Where it stands now: a step that is told again may long have been followed by others.
        sentence = "approved" if state.status == "granted" else state.status
        if state.status == "pending":
            sentence = "asked" if what == "asked" and state.question_us is not None else "escalated"
        said = tell_customer(done.policy, sentence, state.to_role, Money(amount, state.currency), remedy, say)
        return Recorded(state.recovery, done.receipt, done.replayed, state, said, tuple(alternatives_of(done.instead)))

    # --- people, and what concerns the whole log ---

    def forget(self, customer: str, ground: str, *, by: str | None = None) -> Forgotten:
        """Erase who a customer is: the link to the host's reference, and every name, contact and note.

        The entries stay, under a token that nobody can resolve any more. Raises NotAllowed where nobody is known by
        that reference.
        """
        refuse(command_problems({"customer": customer}, by=by), reason_problems(ground, "ground"))
        return self._store.run(Forget(customer, ground, by))

    def accept_clock(self, *, by: str | None = None) -> list[LogReceipt]:
        """Say that the clock is right, although it stands far from the last entries; one `clock_set` in each stream."""
        refuse(command_problems({}, by=by))
        receipts = [self._store.run(AcceptClock(stream, by)) for stream in self._look(Streams())]
        return [receipt for receipt in receipts if receipt is not None]

    def reopen(self, anchors: Iterable[Anchor], *, by: str | None = None) -> list[Reopened]:
        """Answer for what checkpoints kept elsewhere show and the log lost, as after a restore; it goes on from here.

        One `reopened`, with the lost size and root, in each stream concerned.
        """
        anchors = listed(anchors)
        refuse(kind_problems("anchor", Anchor, *anchors), command_problems({}, by=by))
        lost = lost_from(self._database, anchors)
        return [self._store.run(Reopen(one, by)) for one in lost]

    # --- reading ---

    def recovery(self, recovery: str) -> RecoveryState | None:
        """Where a recovery stands; None where there is none of that id."""
        return self._look(OfRecovery(recovery), recovery=recovery)

    def case(self, case: str) -> tuple[RecoveryState, ...]:
        """The recoveries of a case, in the order they were asked for."""
        return self._look(OfCase(case), case=case)

    def entries(self, after: Mapping[str, int] | None = None) -> Iterator[LogEntry]:
        """Every committed entry after a cursor (the last seq seen, by stream), as ``RecoveryLog.follow`` gives them."""
        with RecoveryLog.open(self._database) as log:
            yield from log.follow(after)

    def _look(self, step: Step[Told], **words: object) -> Told:
        """What *step* finds; *words* are the texts it looks for, or None. Raises InvalidRequest, LogError."""
        refuse(found for name, value in words.items() for found in kind_problems(name, str | None, value))
        with self._read_lock:
            for again in (True, False):  # where the connection was lost, another one may do
                try:
                    return self._looked(step)
                except RecoveryError:
                    raise
                except Exception as error:
                    if not again:
                        raise LogError(f"{self._place.name}: cannot read: {error}", "ask again") from error
        raise AssertionError("it was read, or said why not")

    def _looked(self, step: Step[Told]) -> Told:
        self._reading = reading = self._reading or self._place.reading()
        try:
            return self._store.look(step, reading)
        except RecoveryError:
            raise
        except Exception:
            self._reading = None
            reading.close()
            raise
