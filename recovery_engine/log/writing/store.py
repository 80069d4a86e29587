"""The one transaction: commands of many callers, taken in groups, decided in memory under locks, and committed at once.

One thread per process writes. A caller that gives up while it waits in line has surely stored nothing; once taken it
gets an answer, or is told that the outcome is unknown.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

from recovery_engine.errors import LogError, OutcomeUnknown, RecoveryError, StoreBusy
from recovery_engine.log.database import CommitLost, Reading, Refused, Row, Unavailable, Writing
from recovery_engine.log.entry import ORGANISATION, decode
from recovery_engine.log.policies import Policies
from recovery_engine.log.writing.group import Group, Moved, Origin, Random, Reads, Wanted
from recovery_engine.log.writing.steps import Step

Answer = TypeVar("Answer")
Clock = Callable[[], int]
"""Tells UTC microseconds."""

MOST_IN_A_GROUP = 64
_ATTEMPTS = 4
_FIRST_PAUSE_S = 0.05
_MOST_TRYING_S = 10.0

_REFERENCES = "SELECT reference, token FROM recovery_subject WHERE reference IN (?*)"
_OPENED = f"SELECT body FROM recovery_log WHERE stream = '{ORGANISATION}' AND seq = 0"
_FORGET_TEXTS = (
    "DELETE FROM recovery_personal WHERE recovery IN (SELECT recovery FROM recovery_state WHERE customer = ?)"
)
_FORGET_LINK = "DELETE FROM recovery_subject WHERE token = ?"

_LAST_US = 253_402_300_799_999_999  # the end of the year 9999

_WAITING, _TAKEN, _GIVEN_UP, _DONE = range(4)


class _Member:
    """A command in line, and what became of it."""

    __slots__ = ("answer", "answered", "error", "stage", "step")

    def __init__(self, step: Step[Any]) -> None:
        self.step, self.stage = step, _WAITING
        self.answer: Any = None
        self.error: BaseException | None = None
        self.answered = Lock()
        self.answered.acquire()

    def settle(self) -> None:
        self.stage = _DONE
        self.answered.release()


def whole_clock(clock: Clock | None) -> Clock:
    """The clock that counts. It raises LogError where it does not tell whole microseconds."""

    def tell() -> int:
        now = (clock or host_clock)()
        if type(now) is not int or not 0 <= now <= _LAST_US:
            raise LogError(f"the clock says {now!r}", "it must tell UTC microseconds, as a whole number")
        return now

    return tell


def origin_in(reading: Reading) -> Origin | None:
    """What the first entry of the log says; None where there is none."""
    rows = reading.batch([(_OPENED, ())])[0]
    if not rows:
        return None
    opened = decode(bytes(rows[0][0]))
    return Origin(opened["log"], opened["origin"], tuple(opened["tracks"]), opened["engine"])


def host_clock() -> int:
    """UTC microseconds by the clock of this machine."""
    return time.time_ns() // 1000


class Store:
    """The log of one database, open for writing. Safe to share between threads, not across a fork."""

    def __init__(
        self,
        connect: Callable[[], Writing],
        origin: Origin,
        engine: str,
        clock: Clock | None,
        random: Random,
        wait_s: float,
    ) -> None:
        self._connect, self.origin, self._engine, self._random, self._wait_s = connect, origin, engine, random, wait_s
        self._clock = whole_clock(clock)
        self._pid = os.getpid()
        self._database: Writing | None = None
        self._policies = Policies(())
        self._organisation_size = -1
        self._line: SimpleQueue[_Member | None] = SimpleQueue()
        self._mutex = Lock()
        self._closed = False
        self._writer = Thread(target=self._write, name="recovery-log", daemon=True)
        self._writer.start()

    # --- the callers' side ---

    def run(self, step: Step[Answer]) -> Answer:
        """Put a command in line and wait for its answer.

        Raises what the command raises; StoreBusy where nothing was stored, OutcomeUnknown where that is not known.
        """
        self._refuse_other_process()
        member = _Member(step)
        self._line.put(member)
        if not member.answered.acquire(timeout=self._wait_s):
            with self._mutex:
                if member.stage == _WAITING:
                    member.stage = _GIVEN_UP
                    raise StoreBusy(f"the log did not take it within {self._wait_s:g} seconds", "ask again")
            if not member.answered.acquire(timeout=_MOST_TAKEN_S):
                raise OutcomeUnknown("the database does not answer", "ask again with the same id to find out")
        if member.error is not None:
            raise member.error
        answer: Answer = member.answer
        return answer

    def look(self, step: Step[Answer], reading: Reading) -> Answer:
        """Run a command that appends nothing, on a read connection."""
        self._refuse_other_process()
        try:
            return self._looked(step, reading)
        finally:
            reading.rollback()

    def _looked(self, step: Step[Answer], reading: Reading) -> Answer:
        clock_us = reading.look()
        group = Group(reading, self.origin, self._policies, bytes, self._engine)
        group.policies = Policies(group.read_policies(), self._policies.by_digest)
        group.now_us = self._clock() if clock_us is None else clock_us
        wanted = Wanted()
        step.wants(wanted)
        early: Reads = []
        if wanted.references:
            early.append(((_REFERENCES, (sorted(wanted.references),)), group.take_tokens))
        _taken(early, reading.batch([statement for statement, _ in early]))
        step.locks(group, wanted)
        reads: Reads = []
        group.learn(wanted, reads)
        _taken(reads, reading.batch([statement for statement, _ in reads]))
        return step.run(group)

    def close(self) -> bool:
        """Let what was taken finish, refuse the rest, and close the connection; False in a forked process."""
        if self._pid != os.getpid():
            return False
        with self._mutex:
            closed, self._closed = self._closed, True
        if not closed:
            self._line.put(None)
            self._writer.join(timeout=_MOST_TAKEN_S)
        return True

    def _refuse_other_process(self) -> None:
        if self._pid != os.getpid():
            raise LogError("this engine was opened before a fork", "open one in each process")
        if self._closed:
            raise LogError("this engine is closed", "open another")

    # --- the writer's side ---

    def _write(self) -> None:
        last = False
        while not last:
            first = self._line.get()
            if first is None:
                break
            members = [first]
            try:
                self._reachable().take_turn()
                members, last = self._drain(first)
                self._serve(members)
            except Unavailable as error:
                members, last = self._drain(first)
                _fail(members, StoreBusy(f"the database cannot be reached: {error}", "ask again"))
            except BaseException as error:  # whatever goes wrong here, nobody waits for ever
                _fail(members, error)
            if self._database is not None:
                self._database.end_turn()
            for member in members:
                member.settle()
        self._refuse_the_rest()
        if self._database is not None:
            self._database.close()

    def _drain(self, first: _Member) -> tuple[list[_Member], bool]:
        """The members of the next group, and whether it is the last."""
        waiting, last = [first], False
        with suppress(Empty):
            while len(waiting) < MOST_IN_A_GROUP:
                following = self._line.get_nowait()
                if following is None:
                    last = True
                    break
                waiting.append(following)
        with self._mutex:
            members = [member for member in waiting if member.stage == _WAITING]
            for member in members:
                member.stage = _TAKEN
        return members, last

    def _refuse_the_rest(self) -> None:
        with suppress(Empty):
            while True:
                member = self._line.get_nowait()
                if member is not None:
                    member.error = StoreBusy("the engine was closed", "ask again")
                    member.settle()

    def _reachable(self) -> Writing:
        """The connection; a new one where the last was lost. Raises Unavailable."""
        if self._database is None:
            database = self._connect()
            try:
                found = origin_in(database)
            except database.errors() as error:
                database.close()
                raise Unavailable(str(error).strip()) from error
            if found != self.origin:
                database.close()
                if found is None:
                    raise Unavailable("the log is gone")
                raise LogError("another log stands in its place", "close this engine and open it again")
            self._organisation_size = -1
            self._database = database
        return self._database

    def _serve(self, members: list[_Member], lost: bool = False) -> None:
        """Run a group, and again where the database did not take it.

        Where it fails because of one of its members, each runs once more by itself, so that only the culprit fails.
        """
        why, until = "", time.monotonic() + _MOST_TRYING_S
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_FIRST_PAUSE_S * 2**attempt)
            try:
                self._transact(members)
                return
            except Unavailable as error:
                why = f"the database did not take it: {error}"
            except CommitLost as error:
                # The same commands again: a bare look-up could miss a first attempt that is still committing.
                lost, why = True, f"the answer to COMMIT was lost: {error}"
            except Exception as error:
                if len(members) > 1:
                    for member in members:
                        self._serve([member], lost)
                    return
                why = str(error) or "what it was about kept changing"
                if not lost and not isinstance(error, Moved) and (attempt or not isinstance(error, Refused)):
                    _fail(
                        members, LogError(f"the database refuses it: {error}") if isinstance(error, Refused) else error
                    )
                    return
            if time.monotonic() > until:
                break
        if lost:
            _fail(members, OutcomeUnknown(why, "ask again with the same id to find out"))
        else:
            _fail(members, StoreBusy(why, "ask again"))

    def _transact(self, members: list[_Member]) -> None:
        database = self._reachable()
        _fail(members, None)
        try:
            self._run(database, members)
        except BaseException as error:
            self._organisation_size = -1
            self._give_up(database)
            if isinstance(error, database.errors()):
                raise Unavailable(str(error).strip()) from error
            raise

    def _give_up(self, database: Writing) -> None:
        """End the transaction; where that is not sure, the connection with it."""
        try:
            if database.recovers:
                database.rollback()
                database.batch([("SELECT 1", ())])
                return
        except Exception:  # it is of no use any more
            pass
        self._database = None
        with suppress(Exception):
            database.close()

    def _run(self, database: Writing, members: list[_Member]) -> None:
        wanted = Wanted()
        for member in members:
            member.step.wants(wanted)
        group = Group(database, self.origin, self._policies, self._random, self._engine)
        group.now_us = self._clock()
        early: Reads = []
        references = sorted(wanted.references)
        if references:
            early.append(((_REFERENCES, (references,)), group.take_tokens))
        group.learn(Wanted(recoveries=wanted.recoveries), early)
        _taken(early, database.before([statement for statement, _ in early]))
        linked = dict(group.known_tokens)
        for member in members:
            member.step.locks(group, wanted)
        reads: Reads = []
        if references and not database.locks_first:
            reads.append(((_REFERENCES, (references,)), lambda rows: _unmoved(linked, rows)))
        group.learn(wanted, reads)
        subjects, streams = sorted(wanted.subjects), sorted(wanted.streams)
        others = [] if ORGANISATION in wanted.streams else [ORGANISATION]
        clock_us, (versions, heads, *rest) = database.begin(
            subjects, streams, others, [statement for statement, _ in reads]
        )
        if clock_us is not None:
            group.now_us = clock_us
        group.take_locks(subjects, versions, heads)
        _taken(reads, rest)
        self._refresh_policies(group)
        for member in members:
            try:
                member.answer = member.step.run(group)
            except RecoveryError as error:
                member.error = error
        inserts = group.inserts()
        if not inserts:
            database.rollback()
            return
        erase = [(sql, (token,)) for token in group.erased for sql in (_FORGET_TEXTS, _FORGET_LINK)]
        database.finish(inserts, erase)
        if erase:
            database.tidy()
        self._policies = group.policies

    def _refresh_policies(self, group: Group) -> None:
        """The policies in force are what the log says now."""
        head = group.head(ORGANISATION)
        size = head.size if head else 0
        if size != self._organisation_size:
            self._policies = group.policies = Policies(group.read_policies(), self._policies.by_digest)
            self._organisation_size = size


_MOST_TAKEN_S = 60.0


def _fail(members: list[_Member], error: BaseException | None) -> None:
    for member in members:
        member.error = error


def _taken(reads: Reads, results: list[list[Row]]) -> None:
    for (_, take), rows in zip(reads, results, strict=True):
        take(rows)


def _unmoved(before: dict[str, str], rows: list[Row]) -> None:
    if sorted(before.items()) != sorted(map(tuple, rows)):
        raise Moved
