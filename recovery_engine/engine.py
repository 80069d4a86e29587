"""RecoveryEngine: a request in, a decision out, and not one of them lost."""

import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from threading import TIMEOUT_MAX, Lock
from typing import Any, Self, TypeVar

from recovery_engine.errors import Diagnostic, InvalidRequest, LogError, RecoveryError
from recovery_engine.log.database import Reading
from recovery_engine.log.entry import ORGANISATION
from recovery_engine.log.projection import RecoveryState
from recovery_engine.log.proof.anchors import Anchor, Reopen, Reopened, lost_from, require_anchored
from recovery_engine.log.requests import reference_problems, request_problems, text_problems
from recovery_engine.log.writing.creation import Place, open_store
from recovery_engine.log.writing.group import LogReceipt, Random
from recovery_engine.log.writing.looks import OfCase, OfRecovery, PolicyNow, Streams
from recovery_engine.log.writing.organisation import AcceptClock, Forget, Forgotten, LoadPolicies
from recovery_engine.log.writing.steps import Fulfil, Request, Step, Void
from recovery_engine.log.writing.store import Clock, Store
from recovery_engine.model import NO_USAGE, Alternative, Decision, RecoveryRequest
from recovery_engine.money import Money
from recovery_engine.policy.library import read_policies
from recovery_engine.policy.reading import MISSING, problem, problems_of
from recovery_engine.policy.schema import Policy
from recovery_engine.version import __version__

Answer = TypeVar("Answer")

_ORIGIN = re.compile(r"[A-Za-z0-9._:/-]{1,128}")


@dataclass(frozen=True, slots=True)
class RecordedDecision(Decision):
    """A decision that stands in the log.

    ``recovery`` is the id of the recovery, ``log_receipt`` where it stands: the caller keeps it. Both are None for an
    *incomplete* answer, which writes nothing. ``due_us`` (UTC microseconds) is when an answer, or what was granted, is
    due. ``replayed``: the same request was answered before, and this is that answer.
    """

    recovery: str | None = None
    log_receipt: LogReceipt | None = None
    due_us: int | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """A later step of a recovery in the log. ``replayed``: it stood there already."""

    recovery: str
    log_receipt: LogReceipt
    replayed: bool


class RecoveryEngine:
    """The policy, the log and what was used up so far, together. Safe to share between threads, not across a fork."""

    def __init__(self, store: Store, place: Place, database: str | Path) -> None:
        self._store, self._place, self._database = store, place, database
        self._reading: Reading | None = None
        self._read_lock = Lock()

    @classmethod
    def open(
        cls,
        database: str | Path | None = None,
        policies: str | Path | None = None,
        *,
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
        read = read_policies(policies) if policies else []
        store, place = open_store(database, __version__, clock, random, wait_s, origin, tracks)
        engine = cls(store, place, database)
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
        decision, receipt, due_us, replayed = self._store.run(Request(request))
        values = {field.name: getattr(decision, field.name) for field in fields(Decision)}
        return RecordedDecision(
            **values,
            recovery=receipt and request.id,
            log_receipt=receipt,
            due_us=due_us,
            replayed=replayed,
        )

    def what_if(self, request: RecoveryRequest) -> Decision:
        """What would be decided now, with all that was used up so far; it leaves no trace. ``id`` may be left out."""
        request = replace(request, id=request.id or "what-if")
        self._check(request)
        return self._look(Request(request, dry=True)).decision

    def _check(self, request: RecoveryRequest) -> None:
        """Raises InvalidRequest; where the log finds something wrong, with what the policy finds as well."""
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
        self, *, employee: str, role: str, site: str | None = None, remedies: Iterable[str] = (), **known: Any
    ) -> tuple[Alternative, ...]:
        """What an employee may give now, per remedy, up to and including an amount (None: without limit).

        *known* are other fields of RecoveryRequest: the case, the customer, the bill, facts. Left out, it is a fresh
        case of an unknown customer. *remedies*: those asked about; left out, all that the policy lists. Raises
        InvalidRequest.
        """
        policy = self.policy(site)
        amount = Money(0, policy.currency)
        found = []
        asked_about = (remedies,) if isinstance(remedies, str) else tuple(remedies)
        for remedy in asked_about or policy.remedies or ("refund",):
            asked = {"case": "what-if", **known, "employee": employee, "role": role, "site": site, "remedy": remedy}
            decision = self.what_if(RecoveryRequest(amount=amount, **asked))
            found.append(Alternative(remedy, decision.grantable_now))
        return tuple(found)

    def policy(self, site: str | None = None) -> Policy:
        """The policy in force now at a site. Raises InvalidRequest where there is none."""
        return self._look(PolicyNow(site))

    # --- what follows ---

    def fulfil(
        self, recovery: str, reference: str | None = None, *, by: str | None = None, id: str | None = None
    ) -> Recorded:
        """What was granted is in the customer's hands; *reference* is the payment's. *by*: left out, who asked for it.

        The same again gets the same answer. Raises NotAllowed, IdempotencyConflict, InvalidRequest, LogError.
        """
        _refuse(_command_problems(recovery=recovery, reference=reference, by=by, id=id))
        receipt, replayed = self._store.run(Fulfil(recovery, reference, by, id))
        return Recorded(recovery, receipt, replayed)

    def void(self, recovery: str, reason: str, *, by: str, id: str | None = None) -> Recorded:
        """What was granted is taken back before it reached the customer: the money counts no longer, the case does.

        Raises as ``fulfil`` does.
        """
        given: str | None = by
        missing = [] if given else [problem(MISSING, "by", "nobody takes it back", "say who does")]
        _refuse([*missing, *_command_problems(recovery=recovery, by=given or None, id=id), *_reason_problems(reason)])
        receipt, replayed = self._store.run(Void(recovery, reason, by, id))
        return Recorded(recovery, receipt, replayed)

    def forget(self, customer: str, ground: str, *, by: str | None = None) -> Forgotten:
        """Erase who a customer is: the link to the host's reference, and every name, contact and note.

        The entries stay, under a token that nobody can resolve any more. Raises NotAllowed where nobody is known by
        that reference.
        """
        _refuse([*_command_problems(customer=customer, by=by), *_reason_problems(ground, "ground")])
        return self._store.run(Forget(customer, ground, by))

    def accept_clock(self, *, by: str | None = None) -> list[LogReceipt]:
        """Say that the clock is right, although it stands far from the last entries; one `clock_set` in each stream."""
        _refuse(_command_problems(by=by))
        receipts = [self._store.run(AcceptClock(stream, by)) for stream in self._look(Streams())]
        return [receipt for receipt in receipts if receipt is not None]

    def reopen(self, anchors: Iterable[Anchor], *, by: str | None = None) -> list[Reopened]:
        """Answer for what checkpoints kept elsewhere show and the log lost, as after a restore; it goes on from here.

        One `reopened`, with the lost size and root, in each stream concerned.
        """
        _refuse(_command_problems(by=by))
        lost = lost_from(self._database, anchors)
        return [self._store.run(Reopen(one, by)) for one in lost]

    # --- reading ---

    def recovery(self, recovery: str) -> RecoveryState | None:
        """Where a recovery stands; None where there is none of that id."""
        return self._look(OfRecovery(recovery))

    def case(self, case: str) -> tuple[RecoveryState, ...]:
        """The recoveries of a case, in the order they were asked for."""
        return self._look(OfCase(case))

    def _look(self, step: Step[Answer]) -> Answer:
        with self._read_lock:
            try:
                return self._looked(step)
            except RecoveryError:
                raise
            except Exception:  # the connection was lost; another one may do
                pass
            try:
                return self._looked(step)
            except RecoveryError:
                raise
            except Exception as error:
                raise LogError(f"{self._place.name}: cannot read: {error}", "ask again") from error

    def _looked(self, step: Step[Answer]) -> Answer:
        self._reading = reading = self._reading or self._place.reading()
        try:
            return self._store.look(step, reading)
        except RecoveryError:
            raise
        except Exception:
            self._reading = None
            reading.close()
            raise


def _refuse(found: Iterable[Diagnostic]) -> None:
    problems = list(found)
    if problems:
        raise InvalidRequest(problems)


def _command_problems(**references: str | None) -> Iterator[Diagnostic]:
    for name, value in references.items():
        if value is not None:
            yield from reference_problems(name, value)


def _reason_problems(reason: object, name: str = "reason") -> Iterator[Diagnostic]:
    if type(reason) is not str or not reason.strip():
        yield problem(MISSING, name, f"no {name}", "say why, in a word or a sentence")
    else:
        yield from text_problems(name, reason)
