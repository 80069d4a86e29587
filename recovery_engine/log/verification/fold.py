"""Entry after entry, what follows from them, and whether each could follow from those before it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from recovery_engine.errors import NotAllowed
from recovery_engine.log.entry import ORGANISATION, Entry, decode
from recovery_engine.log.personal import kept_as
from recovery_engine.log.projection import (
    RecoveryState,
    counted,
    delegated,
    implied_subjects,
    lines_of,
    state_after,
)
from recovery_engine.log.verification.cases import Cases
from recovery_engine.log.verification.register import Register
from recovery_engine.log.verification.replay import Carried, Replay
from recovery_engine.log.verification.ruling import Ruling, Seen
from recovery_engine.log.verification.shelf import Shelf
from recovery_engine.log.verification.snapshot import Snapshot
from recovery_engine.log.verification.tally import Tally
from recovery_engine.log.writing.deciding import asked_for
from recovery_engine.workflow import FOLLOWS, Delegation, is_agreed, require_lendable

Wrong = Callable[[str], None]
"""Told what is wrong with the entry at hand."""

_MOST_KEYS = 20_000
_MOST_RECOVERIES = 5_000


class Kept(NamedTuple):
    """What is kept of a recovery.

    Where it stands, the leaves (hex) of the entries that say what is asked for, what granted it and what the last
    question is, who asked that, the deciding lines, the proof that came with answers, who was joined, and the own limit
    of whoever agreed first, with the id of the delegation it was done with.
    """

    state: RecoveryState
    lines: list[str]
    asked: str
    granted: str | None
    question: str | None
    asker: str | None
    proof: list[str]
    joined: list[str]
    own_limit: dict[str, int] | None
    lent: str | None = None


def _pack(kept: Kept) -> bytes:
    return orjson.dumps((tuple(kept.state), *kept[1:]))


def unpack(packed: bytes) -> Kept:
    """What is kept, from the bytes it is kept as."""
    state, *rest = orjson.loads(packed)
    return Kept(RecoveryState._make(state), *rest)


def surely_kept(packed: bytes, row: Sequence[Any], lines: list[Any]) -> bool:
    """Whether a row of ``recovery_state`` and lines are what is kept. False says nothing."""
    try:
        return packed.startswith(orjson.dumps((row, lines))[:-1] + b",")
    except TypeError:  # bytes, or text that is none
        return False


class Committed(NamedTuple):
    """A commitment to a personal text: whose it is (a token), and the entry it stands in."""

    commitment: str
    customer: str | None
    stream: str
    seq: int


def _pack_committed(committed: Committed) -> bytes:
    return orjson.dumps(tuple(committed))


def _unpack_committed(packed: bytes) -> Committed:
    return Committed._make(orjson.loads(packed))


class Fold:
    """What follows from the entries taken so far. *total* is how many there will be."""

    def __init__(self, file: Any, total: int, snapshot: Snapshot, register: Register, replay: Replay | None) -> None:
        self._snapshot, self._register = snapshot, register
        self._ids: Shelf[int] = Shelf(file, "ids", total, _MOST_KEYS)
        self.versions: Shelf[int] = Shelf(file, "versions", 2 * total, _MOST_KEYS)
        self.cases = Cases(file, 2 * total, _MOST_KEYS)
        self.recoveries: Shelf[Kept] = Shelf(file, "recoveries", total, _MOST_RECOVERIES, _pack, unpack)
        self.texts: Shelf[Committed] = Shelf(file, "texts", total, _MOST_KEYS, _pack_committed, _unpack_committed)
        self.tally = Tally(file, 2 * total)
        self._ruling = Ruling(self.tally, register, replay)
        self.forgotten: dict[str, int] = {}  # by token, the seq of the entry that says so
        self.reopened: dict[str, set[tuple[int, str]]] = {}  # by stream, the sizes and roots (hex) that are lost
        self.delegations: dict[str, Delegation] = {}
        self.identity: Entry | None = None  # what the first `opened` says: log, origin, tracks
        self._wrong: Wrong = _unheard

    def take(self, entry: Entry, leaf: str, wrong: Wrong) -> None:
        """Check an entry against those before it, and go on from it whatever is wrong with it."""
        self._wrong = self._ruling.wrong = wrong
        kind, stream = entry["kind"], entry["stream"]
        if self._ids.get(entry["id"]) is not None:
            wrong(f"the id `{entry['id']}` was used before")
        self._ids.put(entry["id"], 1)
        if (stream == ORGANISATION) != (kind in _OF_ORGANISATION) and kind not in _OF_ANY:
            wrong(f"`{kind}` in the stream `{stream}`")
        if entry["by"] is None and kind not in _BY_NOBODY:
            wrong(f"`{kind}` by nobody")
        if (kind == "opened") != (entry["seq"] == 0):
            wrong("the first entry of a stream is `opened`, and no other")
        if kind == "decided":
            self._decided(entry, leaf)
        elif kind in FOLLOWS:
            self._later(entry, leaf)
        elif kind == "policy_loaded":
            self._register.loaded(entry)
        elif kind == "delegated":
            self._delegated(entry)
        elif kind == "revoked":
            self._revoked(entry)
        elif kind == "forgotten":
            self.forgotten[entry["person"]] = entry["seq"]
        elif kind == "opened":
            self._opened(entry)
        elif kind == "reopened":
            self.reopened.setdefault(stream, set()).add((entry["size"], entry["root"]))
        for subject, key, amount, times in counted(entry):
            self.tally.add(subject, key, amount, times)

    def _opened(self, entry: Entry) -> None:
        if self.identity is None:
            self.identity = entry
        for name in ("log", "origin", "tracks"):
            if entry[name] != self.identity[name]:
                self._wrong(f"opened with another `{name}` than the stream `{self.identity['stream']}`")

    @property
    def tracked(self) -> bool:
        """Whether grants count for the organisation as a whole."""
        return self.identity is not None and ORGANISATION in self.identity["tracks"]

    # --- a recovery is asked for ---

    def _decided(self, entry: Entry, leaf: str) -> None:
        wrong, request, outcome = self._wrong, entry["request"], entry["outcome"]
        if entry["recovery"] != entry["id"]:
            wrong(f"the recovery is `{entry['recovery']}`, and the id `{entry['id']}`")
        if entry["stream"] != f"site:{request['site']}":
            wrong(f"the request of site `{request['site']}` stands in `{entry['stream']}`")
        if entry["by"] != request["employee"] or entry["role"] != request["role"]:
            wrong("`by` or `role` is not that of the request")
        if ("note" in request) != ("note" in entry.get("personal", ())):
            wrong("a note that was not kept, or kept and not given")
        self.cases.take(request, wrong)
        if ("counts" in entry) != (outcome == "approve"):
            wrong(f"`{outcome}` {'with' if 'counts' in entry else 'without'} `counts`")
            return
        state = state_after(None, entry)
        assert state is not None
        self._touches(entry, implied_subjects(state, request["employee"], self.tracked))
        self._ruling.decided(entry, Seen(state, (request["employee"],)))
        granted = leaf if outcome == "approve" else None
        kept = Kept(state, lines_of(entry), leaf, granted, None, None, [], [], request.get("own_limit"))
        self.recoveries.put(state.recovery, kept)
        self._commit(entry, state)

    def _touches(self, entry: Entry, implied: list[str]) -> None:
        if [subject for subject, _ in entry["touches"]] != implied:
            self._wrong(f"touches other subjects than {', '.join(f'`{subject}`' for subject in implied)}")

    # --- what may follow ---

    def _later(self, entry: Entry, leaf: str) -> None:
        wrong, kind = self._wrong, entry["kind"]
        kept = self.recoveries.get(entry["recovery"])
        if kept is None:
            wrong(f"`{kind}` of a recovery that was never asked for")
            return
        state = kept.state
        if entry["stream"] != state.stream:
            wrong(f"the recovery `{state.recovery}` stands in `{state.stream}`")
        try:
            after = state_after(state, entry)
        except ValueError as error:
            wrong(str(error))
            return
        assert after is not None
        if entry["of"] != _answers(kind, kept):
            wrong("`of` is not the leaf of the entry it answers")
        first = self._entry(state) if kind in _ASK_THE_FIRST else None
        if kind == "approved":
            kept = self._approved(entry, leaf, kept, first)
        else:
            self._ruling.later(entry, state, first)
        if kind == "voided":
            self._voided(entry, state)
        elif kind == "joined":
            self._joined(entry, state, first)
        elif kind in _SAYS:
            self._said(entry, kept)
        kept = kept._replace(
            state=after,
            asked=leaf if kind == "amended" else kept.asked,
            question=leaf if kind == "asked" else kept.question,
            asker=entry["by"] if kind == "asked" else kept.asker,
            proof=sorted({*kept.proof, *entry.get("evidence", ())}),
            joined=[*kept.joined, *([entry["by"]] if kind == "joined" else ())],
        )
        self.recoveries.put(state.recovery, kept)
        self._commit(entry, state)

    def _approved(self, entry: Entry, leaf: str, kept: Kept, first: Entry | None) -> Kept:
        wrong, state = self._wrong, kept.state
        if entry["policy"] != state.policy:
            wrong("approved under another policy than the request was made under")
        if ("counts" in entry) == ("second" in entry):
            wrong("`approved` with `counts` and a `second` still to come, or with neither")
        named = self.delegations.get(entry.get("delegation", ""))
        if (named.by if named else None) != entry.get("for") or ("delegation" in entry) != (named is not None):
            wrong("`for` is not who lent the authority")
        agreed = is_agreed(state)
        lent = self.delegations.get(kept.lent or "") if agreed else named
        by, role, behalf = (
            (state.approver or "", state.approver_role or "", state.on_behalf)
            if agreed
            else (entry["by"], entry["role"], entry.get("for"))
        )
        own = kept.own_limit if agreed else entry.get("own_limit")
        self._touches(entry, implied_subjects(state, by, self.tracked, behalf))
        seen = Seen(state, (by,) if behalf is None else (by, behalf))
        self._ruling.approved(entry, seen, first, Carried(by, role, own, kept.proof), lent, kept.joined)
        granted = leaf if "counts" in entry else None
        return kept._replace(granted=granted, own_limit=own, lent=lent.delegation if lent else None)

    def _joined(self, entry: Entry, state: RecoveryState, first: Entry | None) -> None:
        wrong, request = self._wrong, entry["request"]
        if first is not None and asked_for(request) != asked_for(first["request"] | {"amount": state.asked_minor}):
            wrong(f"it asks for something else than `{state.recovery}`")
        if entry["by"] != request["employee"]:
            wrong("`by` is not that of the request")
        if ("note" in request) != ("note" in entry.get("personal", ())):
            wrong("a note that was not kept, or kept and not given")
        if (entry.get("to"), entry.get("due_us")) != (state.to_role, state.due_us):
            wrong("`to` or `due_us` is not that of the recovery it joins")

    def _said(self, entry: Entry, kept: Kept) -> None:
        kind = entry["kind"]
        if list(entry.get("personal", ())) != [_SAYS[kind]]:
            self._wrong(f"`{kind}` without the {_SAYS[kind]}, or with another text")
        if kind == "answered" and entry["by"] == kept.asker:
            self._wrong(f"answered by {kept.asker}, who had asked")

    # --- authority that is lent ---

    def _delegated(self, entry: Entry) -> None:
        lent = delegated(entry)
        try:
            require_lendable(lent, self.delegations.values())
        except NotAllowed as error:
            self._wrong(error.message)
        if not entry["at_us"] < lent.until_us > lent.from_us:
            self._wrong("a delegation that is over before it begins")
        self._touches(entry, sorted(f"employee:{person}" for person in {lent.by, lent.to}))
        self.delegations[lent.delegation] = lent

    def _revoked(self, entry: Entry) -> None:
        lent = self.delegations.get(entry["delegation"])
        if lent is None:
            self._wrong(f"there is no delegation `{entry['delegation']}`")
            return
        if lent.revoked_us is not None or entry["by"] != lent.by:
            self._wrong("revoked twice, or by somebody else than who lent it")
        self._touches(entry, sorted(f"employee:{person}" for person in {lent.by, lent.to}))
        self.delegations[lent.delegation] = lent._replace(revoked_us=entry["at_us"])

    def _entry(self, state: RecoveryState) -> Entry | None:
        """The entry that opened a recovery, from the log."""
        try:
            return decode(self._snapshot.body(state.stream, state.seq) or b"")
        except ValueError:
            return None

    def _voided(self, entry: Entry, state: RecoveryState) -> None:
        self._touches(entry, implied_subjects(state, state.approver or "", self.tracked, state.on_behalf))
        taken_back = {
            "bday": state.granted_bday,
            "remedy": state.granted_remedy,
            "basis": state.basis,
            "currency": state.currency,
            "amount": -(state.granted_minor or 0),
            "times": 0,
        }
        if entry["counts"] != taken_back:
            self._wrong("`counts` does not take back what was granted")

    # --- people ---

    def _commit(self, entry: Entry, state: RecoveryState) -> None:
        for field, commitment in entry.get("personal", {}).items():
            committed = Committed(commitment, state.customer, entry["stream"], entry["seq"])
            kept = kept_as(field, entry["kind"], entry["seq"])
            self.texts.put(f"{state.recovery}\0{kept}", committed)

    def commitments(self) -> Iterator[tuple[tuple[str, str], Committed]]:
        """Every commitment to a personal text, by recovery and field, in byte order."""
        for key, committed in self.texts.items():
            recovery, _, field = key.partition("\0")
            yield (recovery, field), committed

    def tokens(self) -> Iterator[str]:
        """The token of every customer, in byte order."""
        for subject, _ in self.versions.items("customer:"):
            if not subject.startswith("customer:"):
                return
            yield subject.removeprefix("customer:")


_OF_ORGANISATION = {"policy_loaded", "delegated", "revoked", "forgotten"}
_OF_ANY = {"opened", "clock_set", "reopened"}
_BY_NOBODY = {*_OF_ANY, "policy_loaded", "forgotten", "moved_up", "lapsed", "declined"}
"""What nobody need be named for, or the clock does; whether it may decline, the policy says."""
_SAYS = {"asked": "question", "answered": "answer"}
_ASK_THE_FIRST = {"approved", "declined", "asked", "joined", "moved_up", "lapsed"}
"""The steps that are checked against the entry that opened the recovery."""


def _answers(kind: str, kept: Kept) -> str | None:
    """The leaf of the entry that a step answers."""
    if kind in ("fulfilled", "voided"):
        return kept.granted
    return kept.question if kind == "answered" else kept.asked


def _unheard(what: str) -> None:
    raise AssertionError(what)
