"""The working set of one transaction: what was read under its locks, and what it will write."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from recovery_engine.errors import LogError
from recovery_engine.log.book import Book, UsageKey
from recovery_engine.log.calendar import iso_utc
from recovery_engine.log.database import COLUMNS, Head, Reading, Row, Statement
from recovery_engine.log.entry import NO_LEAF, ORGANISATION, VERSION, Entry, decode, encode
from recovery_engine.log.merkle import frontier_bytes, frontier_from, grown, leaf_hash, root_of
from recovery_engine.log.personal import new_token
from recovery_engine.log.policies import Policies, PolicyRow
from recovery_engine.log.projection import (
    RecoveryState,
    counted,
    delegation_from,
    delegation_row,
    lines_of,
    state_after,
)
from recovery_engine.workflow import Delegation

Random = Callable[[int], bytes]
"""Gives so many random bytes."""

BEHIND_US = 3_600 * 1_000_000
"""How far the clock may stand behind the last entry: the hour of a clock that was set by hand."""
AHEAD_US = 400 * 86_400 * 1_000_000
"""How far it may stand ahead: longer than any shop is closed."""


Reads = list[tuple[Statement, Callable[[list[Row]], None]]]
"""Statements, each with what takes its rows."""


class LogReceipt(NamedTuple):
    """What the caller keeps of an entry: where it stands, its leaf hash, and the root of the tree that ends with it.

    Hashes are lower-case hex; ``at_us`` is in UTC microseconds.
    """

    stream: str
    seq: int
    leaf: str
    root: str
    at_us: int


class Earlier(NamedTuple):
    """An entry that has the id already."""

    entry: Entry
    receipt: LogReceipt


def _earlier(row: Row) -> Earlier:
    _, body, leaf, root = row
    entry = decode(bytes(body))
    return Earlier(
        entry, LogReceipt(entry["stream"], entry["seq"], bytes(leaf).hex(), bytes(root).hex(), entry["at_us"])
    )


class CaseRow(NamedTuple):
    """What belongs to a case, as one of its recoveries has it."""

    case: str
    receipt: str | None
    customer: str | None
    currency: str
    bill: int | None
    occurred_on: str | None
    category: str | None
    severity: str | None
    recovery: str
    stream: str
    status: str
    remedy: str
    basis: str
    asked_minor: int


class Origin(NamedTuple):
    """What entry 0 says: the random identity of the log, its name in checkpoints, and what it tracks."""

    log: str
    origin: str
    tracks: tuple[str, ...]
    engine: str


class Moved(Exception):
    """What was read before the locks has changed: begin again."""


@dataclass(slots=True)
class Wanted:
    """What a group of commands reads and locks."""

    ids: set[str] = field(default_factory=set)
    recoveries: set[str] = field(default_factory=set)
    cases: set[str] = field(default_factory=set)
    receipts: set[str] = field(default_factory=set)
    references: set[str] = field(default_factory=set)
    subjects: set[str] = field(default_factory=set)
    books: set[tuple[str, str]] = field(default_factory=set)  # subjects, each with the first day it is added up from
    streams: set[str] = field(default_factory=set)


class _Stream:
    """The head of a stream while entries are added."""

    __slots__ = ("frontier", "last_at_us", "last_leaf", "name", "size")

    def __init__(self, head: Head) -> None:
        self.name, self.size, frontier, last_leaf, self.last_at_us = head
        self.last_leaf = last_leaf.hex()
        self.frontier = frontier_from(bytes(frontier), self.size)


_STATE = f"SELECT {', '.join(RecoveryState._fields)} FROM recovery_state WHERE "
_IDS = "SELECT request_id, body, leaf, root FROM recovery_log WHERE request_id IN (?*)"
_CASE_COLUMNS = {"case": "case_id", "bill": "bill_minor"}
_CASES = (
    f"SELECT {', '.join(_CASE_COLUMNS.get(name, name) for name in CaseRow._fields)} FROM recovery_state "
    "WHERE case_id IN (?*) OR receipt IN (?*)"
)
_REFERENCES = "SELECT reference, token FROM recovery_subject WHERE reference IN (?*)"
_TOKENS = "SELECT token FROM recovery_subject WHERE token IN (?*)"
_USAGE = (
    "SELECT ?, subject, remedy, basis, currency, CAST(SUM(amount_minor) AS BIGINT), CAST(SUM(times) AS BIGINT) "
    "FROM recovery_usage WHERE subject IN (?*) AND bday >= ? GROUP BY subject, remedy, basis, currency"
)
_MOST_FIRST_DAYS = 16  # that one statement adds up from; a database may take 500 at most
_POLICIES = f"SELECT {', '.join(PolicyRow._fields)} FROM recovery_policy ORDER BY seq"
_TEXTS = (
    "SELECT DISTINCT p.field FROM recovery_personal p JOIN recovery_state s ON s.recovery = p.recovery "
    "WHERE s.customer = ?"
)
_LATER = "SELECT request_id, body, leaf, root FROM recovery_log WHERE continues IN (?*) ORDER BY seq"
_DELEGATIONS = f"SELECT {', '.join(COLUMNS['recovery_delegation'])} FROM recovery_delegation"


def _usage_since(books: Mapping[str, list[str]]) -> Statement:
    """One statement for the sums of subjects from each first day on."""
    values = [value for first, subjects in books.items() for value in (first, subjects, first)]
    return " UNION ALL ".join([_USAGE] * len(books)), tuple(values)


class Group:
    """What the commands of one transaction see, and what they add.

    INVARIANT: whatever is read here is read under the locks, or cannot change; otherwise two tills could each give
    the last 20.00.
    """

    def __init__(
        self,
        reading: Reading,
        origin: Origin,
        policies: Policies,
        random: Random,
        engine: str,
    ) -> None:
        self._reading, self.origin, self.policies, self.random, self.engine = reading, origin, policies, random, engine
        self.now_us = 0
        self.known_tokens: dict[str, str] = {}  # by the host's reference
        self._new_tokens: set[str] = set()
        self._earlier: dict[str, Earlier] = {}
        self._states: dict[str, RecoveryState | None] = {}
        self._added: dict[str, list[Earlier]] = {}  # entries of this transaction, by recovery
        self._delegations: dict[str, Delegation] | None = None
        self._lent: dict[str, Delegation] = {}  # lent or taken back in this transaction
        self._cases: list[CaseRow] = []
        self._books: dict[str, dict[str, Book]] = {}  # by subject and first day
        self._versions: dict[str, int] = {}
        self._streams: dict[str, _Stream] = {}
        self.locked: set[str] = set()
        self.rows: dict[str, list[Row]] = {}
        self._usage: dict[tuple[str, ...], list[int]] = {}
        self._touched: dict[str, int] = {}
        self._moved: set[str] = set()
        self.erased: list[str] = []  # tokens

    @property
    def tracks(self) -> tuple[str, ...]:
        """What is added up beyond cases, customers, employees and sites."""
        return self.origin.tracks

    # --- reading ---

    def learn(self, wanted: Wanted, reads: Reads) -> None:
        """Add to *reads* what the group needs, each statement with what takes its rows."""
        if wanted.ids:
            reads.append(((_IDS, (sorted(wanted.ids),)), self._take_earlier))
        if wanted.recoveries:
            for recovery in wanted.recoveries:
                self._states.setdefault(recovery, None)
            reads.append(((f"{_STATE}recovery IN (?*)", (sorted(wanted.recoveries),)), self._take_states))
        if wanted.cases:
            reads.append(((_CASES, (sorted(wanted.cases), sorted(wanted.receipts))), self._take_cases))
        books: dict[str, list[str]] = {}  # the subjects by first day
        for subject, first in sorted(wanted.books):
            books.setdefault(first, []).append(subject)
        first_days = list(books)
        for at in range(0, len(first_days), _MOST_FIRST_DAYS):
            some = {first: books[first] for first in first_days[at : at + _MOST_FIRST_DAYS]}
            reads.append((_usage_since(some), partial(self._take_usage, some)))

    def _take_earlier(self, rows: list[Row]) -> None:
        for row in rows:
            self._earlier[row[0]] = _earlier(row)

    def _take_states(self, rows: list[Row]) -> None:
        for row in rows:
            self._states[row[0]] = RecoveryState(*row)

    def _take_cases(self, rows: list[Row]) -> None:
        self._cases.extend(CaseRow(*row) for row in rows)

    def take_tokens(self, rows: list[Row]) -> None:
        """Which token stands for which reference."""
        self.known_tokens.update((str(reference), str(token)) for reference, token in rows)

    def _take_usage(self, books: Mapping[str, Iterable[str]], rows: list[Row]) -> None:
        for first, subjects in books.items():
            for subject in subjects:
                self._books.setdefault(subject, {})[first] = Book(first)
        for first, subject, remedy, basis, currency, amount, times in rows:
            self._books[subject][first].add(UsageKey(first, remedy, basis, currency), amount, times)

    def take_locks(self, locked: Iterable[str], versions: list[Row], heads: list[Row]) -> None:
        """The versions and heads as they stood when the locks were had."""
        self.locked = set(locked)
        self._delegations = None  # what was read to know whom to lock may have been taken back since
        self._versions = {str(subject): ver for subject, ver in versions}
        for head in heads:
            if head[1]:  # a row without entries was only made to be locked
                self._streams[str(head[0])] = _Stream(Head(*head))

    def read(self, sql: str, *values: Any) -> list[Row]:
        """The rows of a statement."""
        return self._reading.batch([(sql, values)])[0]

    def read_policies(self) -> list[PolicyRow]:
        """Every policy the log holds."""
        return [PolicyRow(*row) for row in self._reading.batch([(_POLICIES, ())])[0]]

    def earlier(self, request_id: str) -> Earlier | None:
        """The entry that has this id, if any."""
        return self._earlier.get(request_id)

    def state(self, recovery: str) -> RecoveryState | None:
        """Where a recovery stands."""
        if recovery not in self._states:
            self._states[recovery] = None
            self._take_states(self.read(f"{_STATE}recovery IN (?*)", [recovery]))
        return self._states[recovery]

    def states(self, which: str, *values: Any) -> list[RecoveryState]:
        """Where the recoveries stand that fit a condition."""
        return [RecoveryState(*row) for row in self.read(_STATE + which, *values)]

    def streams(self) -> list[str]:
        """Every stream that has an entry."""
        return [str(name) for (name,) in self.read("SELECT stream FROM recovery_stream WHERE size > 0 ORDER BY stream")]

    def case(self, case: str, receipt: str | None) -> list[CaseRow]:
        """What the earlier recoveries of a case, and of others that share its receipt, say about it."""
        return [row for row in self._cases if row.case == case or (receipt and row.receipt == receipt)]

    def entries(self, recovery: str) -> list[Earlier]:
        """The entries about a recovery, in order: first the one that asked for it."""
        if recovery not in self._earlier:
            self._take_earlier(self.read(_IDS, [recovery]))
        added = self._added.get(recovery, [])
        new = {one.entry["id"] for one in added}
        stored = [_earlier(row) for row in self.read(_LATER, [recovery]) if row[0] not in new]
        later = [*stored, *[one for one in added if one.entry["kind"] != "decided"]]
        return [self._earlier[recovery], *later]

    def grant(self, recovery: str) -> Earlier:
        """The entry with which a recovery was granted."""
        return next(one for one in self.entries(recovery) if "counts" in one.entry)

    def delegations(self) -> dict[str, Delegation]:
        """Every delegation, by its id."""
        if self._delegations is None:
            self._delegations = {row[0]: delegation_from(row) for row in self.read(_DELEGATIONS)}
        return self._delegations

    def token(self, reference: str) -> str:
        """The token that stands for a customer; a new one where there is none yet."""
        if reference not in self.known_tokens:
            self.known_tokens[reference] = token = new_token(self.random)
            self._new_tokens.add(token)
        return self.known_tokens[reference]

    def linked(self, reference: str) -> str | None:
        """The token that stands for a customer, if anything is in the log under one."""
        token = self.known_tokens.get(reference)
        return None if token in self._new_tokens else token

    def is_forgotten(self, token: str) -> bool:
        """Whether nobody knows any more whom a token stands for."""
        return token not in self.known_tokens.values() and not self.read(_TOKENS, [token])

    def book(self, subject: str, first: str) -> Book:
        """What a subject already had, from a first day on."""
        book = self._books.get(subject, {}).get(first)
        if book is None:
            alone = {first: [subject]}
            self._take_usage(alone, self._reading.batch([_usage_since(alone)])[0])
            book = self._books[subject][first]
            for (of, *key), sums in self._usage.items():
                if of == subject and key[0] >= first:
                    book.add(UsageKey(*key), *sums)
        return book

    def head(self, stream: str) -> _Stream | None:
        """The head of a stream; None where it has no entry yet."""
        return self._streams.get(stream)

    def clock(self, stream: str) -> int:
        """The time of the next entry of a stream, UTC microseconds. Raises LogError where the clock cannot be right."""
        head = self.head(stream) or self.head(ORGANISATION)
        if head is None:
            return self.now_us
        now, last = self.now_us, head.last_at_us
        if now < last - BEHIND_US or (now > last + AHEAD_US and now > self._newest() + AHEAD_US):
            message = f"the clock says {iso_utc(now)}, and the last entry of `{head.name}` is of {iso_utc(last)}"
            raise LogError(message, "set the clock; if it is right, `recovery log clock --accept`")
        return max(now, last)

    def _newest(self) -> int:
        """The time of the newest entry anywhere."""
        return int(self.read("SELECT coalesce(max(last_at_us), 0) FROM recovery_stream")[0][0])

    def touches(self, subjects: Iterable[str]) -> list[list[str | int]]:
        """The subjects an entry touches, each with its next version."""
        return [[subject, self._versions.get(subject, 0) + 1] for subject in subjects]

    # --- writing ---

    def append(self, stream: str, kind: str, request_id: str, by: str | None, fields: Entry, at_us: int) -> LogReceipt:
        """Add an entry and what follows from it. Raises ValueError where it could not follow; then nothing is added."""
        head = self._streams.get(stream)
        opening = None if head else self._opening(stream, at_us)
        seq, prev = (head.size, head.last_leaf) if head else (1, leaf_hash(encode(opening or {})).hex())
        entry: Entry = {
            **{"v": VERSION, "stream": stream, "seq": seq, "prev": prev, "at_us": at_us},
            **{"id": request_id, "kind": kind, "by": by},
            **fields,
        }
        if not {subject for subject, _ in entry.get("touches", ())} <= self.locked:
            raise Moved
        recovery = entry.get("recovery")
        before = self.state(recovery) if recovery and kind != "decided" else None
        state = state_after(before, entry)
        body = encode(entry)
        receipt = self._add(head or self.open_stream(stream, at_us), entry, body)
        if recovery is not None and state is not None:
            self._states[recovery] = state
            self._moved.add(recovery)
            if kind == "decided":
                self._remember_case(state)
                self._put("recovery_line", *[(recovery, line) for line in lines_of(entry)])
        for subject, version in entry.get("touches", ()):
            self._versions[subject] = self._touched[subject] = version
        for subject, key, amount, times in counted(entry):
            for first, book in self._books.get(subject, {}).items():
                if key.bday >= first:
                    book.add(key, amount, times)
            sums = self._usage.setdefault((subject, *key), [0, 0])
            sums[0] += amount
            sums[1] += times
        return receipt

    def open_stream(self, stream: str, at_us: int) -> _Stream:
        """Add the first entry of a stream: which log it belongs to."""
        head = self._streams[stream] = _Stream(Head(stream, 0, b"", b"", at_us))
        entry = self._opening(stream, at_us)
        self._add(head, entry, encode(entry))
        return head

    def _opening(self, stream: str, at_us: int) -> Entry:
        return {
            **{"v": VERSION, "stream": stream, "seq": 0, "prev": NO_LEAF, "at_us": at_us},
            **{"id": f"~opened/{stream}", "kind": "opened", "by": None},
            **{"log": self.origin.log, "origin": self.origin.origin},
            **{"tracks": list(self.origin.tracks), "engine": self.engine},
        }

    def _add(self, head: _Stream, entry: Entry, body: bytes) -> LogReceipt:
        leaf = leaf_hash(body)
        head.frontier = grown(head.size, head.frontier, leaf)
        head.size += 1
        head.last_leaf, head.last_at_us = leaf.hex(), entry["at_us"]
        root = root_of(head.frontier)
        kind, recovery = entry["kind"], entry.get("recovery")
        continues = None if kind == "decided" else recovery
        self._put(
            "recovery_log",
            (head.name, entry["seq"], entry["id"], kind, entry["at_us"], continues, body, leaf, root),
        )
        receipt = LogReceipt(head.name, entry["seq"], head.last_leaf, root.hex(), entry["at_us"])
        self._earlier[entry["id"]] = Earlier(entry, receipt)
        if recovery is not None:
            self._added.setdefault(recovery, []).append(self._earlier[entry["id"]])
        return receipt

    def _remember_case(self, state: RecoveryState) -> None:
        self._cases.append(CaseRow._make([getattr(state, _CASE_COLUMNS.get(name, name)) for name in CaseRow._fields]))

    def link(self, reference: str) -> None:
        """Keep whom a new token stands for."""
        token = self.known_tokens[reference]
        if token in self._new_tokens:
            self._new_tokens.discard(token)
            self._put("recovery_subject", (token, reference))

    def keep_personal(self, rows: Iterable[Row]) -> None:
        """Keep what commitments open to: (recovery, field, salt, value)."""
        self._put("recovery_personal", *rows)

    def keep_delegation(self, delegation: Delegation) -> None:
        """Keep what was lent, or that it was taken back."""
        self.delegations()[delegation.delegation] = delegation
        self._lent[delegation.delegation] = delegation

    def keep_policy(self, row: PolicyRow) -> None:
        """Keep the text of a policy that was loaded."""
        self._put("recovery_policy", row)

    def about(self, token: str) -> list[str]:
        """The kinds of what is kept about the person that a token stands for, sorted."""
        found = {str(name) for (name,) in self.read(_TEXTS, token)}
        for recovery, name, *_ in self.rows.get("recovery_personal", ()):
            state = self._states[recovery]
            if state is not None and state.customer == token:
                found.add(name)
        return sorted({"customer", *found})

    def erase(self, token: str, reference: str) -> None:
        """Erase whom a token stands for, and every text about that person."""
        del self.known_tokens[reference]
        self.erased.append(token)

    def _put(self, table: str, *rows: Row) -> None:
        self.rows.setdefault(table, []).extend(rows)

    def inserts(self) -> list[tuple[str, list[Row]]]:
        """All that is to be written, table by table, the rows of shared tables in the order of their keys."""
        heads: list[Row] = [
            (name, head.size, frontier_bytes(head.frontier), bytes.fromhex(head.last_leaf), head.last_at_us)
            for name, head in sorted(self._streams.items())
            if any(row[0] == name for row in self.rows.get("recovery_log", ()))
        ]
        rows: dict[str, list[Row]] = {
            **self.rows,
            "recovery_subject": sorted(self.rows.get("recovery_subject", ()), key=lambda row: str(row[1])),
            "recovery_state": [state for name in sorted(self._moved) if (state := self._states[name]) is not None],
            "recovery_usage": [(*key, *sums) for key, sums in sorted(self._usage.items())],
            "recovery_subject_lock": [*sorted(self._touched.items())],
            "recovery_delegation": [delegation_row(self._lent[name]) for name in sorted(self._lent)],
            "recovery_stream": heads,
        }
        return [(table, added) for table, added in rows.items() if added]
