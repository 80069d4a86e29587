"""What the policy has to say of an entry: its day, when it is due, the usage it saw, what it counts, the decision."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from recovery_engine.errors import NotAllowed
from recovery_engine.log.entry import ORGANISATION, Entry
from recovery_engine.log.projection import RecoveryState, case_subject
from recovery_engine.log.verification.register import Register, Terms
from recovery_engine.log.verification.replay import Carried, Replay
from recovery_engine.log.verification.tally import CaseRow, Tally
from recovery_engine.model import GOODWILL, OWED
from recovery_engine.workflow import (
    Actor,
    Delegation,
    after_silence,
    approval,
    due_after,
    due_after_answer,
    first_asked,
    hand_over_due,
    is_agreed,
    is_silent,
    require_answerer,
    require_approver,
    require_delegation,
    require_follows,
    require_requester,
)

_OF_THE_CLOCK = ("moved_up", "lapsed")


class Seen(NamedTuple):
    """Whose usage a deciding entry saw: that of the recovery's case, customer and site, and of who decided.

    Of several people, one of whom lent the other authority, the larger sums.
    """

    state: RecoveryState
    employees: tuple[str, ...]


@lru_cache(maxsize=1_000)
def _day(number: int) -> str:
    """A day, counted from 1970-01-01, in ISO form."""
    return date.fromordinal(date(1970, 1, 1).toordinal() + number).isoformat()


def _unheard(what: str) -> None:
    raise AssertionError(what)


class Ruling:
    """Checks entries against the policies of a register and the sums of a tally; *replay* makes decisions again."""

    def __init__(self, tally: Tally, register: Register, replay: Replay | None) -> None:
        self._tally, self._register, self._replay = tally, register, replay
        self.wrong: Callable[[str], None] = _unheard

    def decided(self, entry: Entry, seen: Seen) -> None:
        """Check a `decided` entry."""
        terms = self._terms(entry["policy"])
        if terms is None:
            self._count_as_not_replayed()
            return
        request, outcome = entry["request"], entry["outcome"]
        self._day(entry, terms)
        if not terms.holds(entry["bday"]) or not (terms.sites is None or request["site"] in ("", *terms.sites)):
            self.wrong(f"the policy {entry['policy'][:12]} was not in force there and then")
        if request.get("basis") == OWED and request.get("occurred_on", "") > entry["bday"]:
            self.wrong("`occurred_on` is after the day of the request")
        case_rows = self._usage(entry, terms, seen)
        self._counts(entry, seen.state, case_rows, request["remedy"], request["amount"])
        due_us = None
        if outcome == "escalate":
            due_us = due_after(terms.policy, entry.get("to"), entry["at_us"])
        elif outcome == "approve":
            due_us = hand_over_due(terms.policy, entry["at_us"])
        self._due(entry, due_us)
        if self._replay is not None and (differs := self._replay.decided(entry, terms)):
            self.wrong(differs)

    def approved(
        self,
        entry: Entry,
        seen: Seen,
        asked: Entry | None,
        carried: Carried,
        lent: Delegation | None,
        joined: list[str],
    ) -> None:
        """Check an `approved` entry against what was *asked*, and *joined* by others.

        *lent* is what the carried authority was lent by.
        """
        terms, state = self._terms(entry["policy"]), seen.state
        if terms is None:
            self._count_as_not_replayed()
            return
        self._day(entry, terms)
        policy = terms.policy
        if entry["role"] not in policy.ladder or entry.get("second", entry["role"]) not in policy.ladder:
            self.wrong("a role that the policy does not know")
            return
        case_rows = self._usage(entry, terms, seen)
        self._counts(entry, state, case_rows, entry["remedy"], entry["amount"])
        at_us = entry["at_us"]
        self._due(
            entry, hand_over_due(policy, at_us) if "counts" in entry else due_after(policy, entry["second"], at_us)
        )
        with self._allowed():
            require_approver(policy, state, Actor(entry["by"], entry["role"], entry.get("for")), joined)
            given = approval(state, entry["remedy"], entry["amount"])
            if lent is not None:
                had = sum(int(row[2]) for row in case_rows if row[1] == state.basis)
                require_delegation(lent, state, carried.employee, state.site, given, had, entry["at_us"])
                if lent.role != carried.role:
                    self.wrong(f"approved as {carried.role}, and {lent.role} was lent")
        if self._replay is not None and asked is not None:
            if differs := self._replay.approved(entry, terms, asked, carried, is_agreed(state)):
                self.wrong(differs)

    @contextmanager
    def _allowed(self) -> Iterator[None]:
        try:
            yield
        except NotAllowed as error:
            self.wrong(error.message)

    def _count_as_not_replayed(self) -> None:
        if self._replay is not None:
            self._replay.not_replayed += 1

    def later(self, entry: Entry, state: RecoveryState, first: Entry | None) -> None:
        """Check a step that reads and grants nothing; *first* is the entry that opened the recovery."""
        terms = self._terms(state.policy)
        if terms is None:
            return
        self._day(entry, terms)
        kind, policy, by = entry["kind"], terms.policy, entry["by"]
        with self._allowed():
            require_follows(kind, state)
            if by is None or kind in _OF_THE_CLOCK:
                self._silence(entry, state, terms, first)
            elif kind in ("declined", "asked") and first is not None:
                if entry["role"] not in policy.ladder:
                    self.wrong("a role that the policy does not know")
                    return
                require_answerer(policy, state, Actor(by, entry["role"]), first_asked(policy, state, first["to"]))
            elif kind in ("withdrawn", "amended"):
                require_requester(state, by)
        if kind == "amended" and not 0 < entry["amount"] < state.asked_minor:
            self.wrong("amended to more than was asked for")
        if kind == "answered":
            self._due(entry, due_after_answer(policy, state, entry["at_us"]))

    def _silence(self, entry: Entry, state: RecoveryState, terms: Terms, first: Entry | None) -> None:
        """What the clock did: only when nobody had answered in time, and only what the policy says then."""
        policy, kind = terms.policy, entry["kind"]
        if entry["by"] is not None or kind not in (*_OF_THE_CLOCK, "declined"):
            self.wrong(f"`{kind}` by {entry['by'] or 'nobody'}")
        if not is_silent(policy, state, entry["at_us"]):
            self.wrong(f"`{kind}` before the answer was due")
        if first is None:
            return
        able = [role for role, *stops in first["rungs"] if not stops]
        silence = after_silence(policy, state, able)
        if (silence.kind, silence.to) != (kind, entry.get("to")):
            self.wrong(f"silence gives `{silence.kind}`{f' to {silence.to}' if silence.to else ''}")
        if kind == "moved_up":
            self._due(entry, due_after(policy, entry["to"], entry["at_us"]))
            if entry["step"] != state.moves + 1:
                self.wrong(f"`step` is {entry['step']}, and it must be {state.moves + 1}")
        elif kind == "lapsed" and entry["due_us"] != state.due_us:
            self.wrong("`due_us` is not when the answer was due")
        elif kind == "declined" and entry["role"] != (asked := state.to_role or policy.ladder[-1]):
            self.wrong(f"the silence of a {entry['role']}, and a {asked} was asked")

    def _terms(self, digest: str) -> Terms | None:
        """The policy of a digest; None where its text cannot be read, which was said where it was loaded."""
        try:
            return self._register.by_digest[digest]
        except KeyError:
            self.wrong(f"the policy {digest[:12]} is not in the log")
            return None

    def _day(self, entry: Entry, terms: Terms) -> None:
        day = _day((entry["at_us"] // 1_000_000 + entry["utc_offset_s"] - terms.day_starts_s) // 86_400)
        if entry["bday"] != day:
            self.wrong(f"the business day is {entry['bday']}, and by its time it is {day}")

    def _due(self, entry: Entry, due_us: int | None) -> None:
        if entry.get("due_us") != due_us:
            self.wrong("`due_us` is not what the policy gives")

    # --- usage ---

    def _usage(self, entry: Entry, terms: Terms, seen: Seen) -> list[CaseRow]:
        """Compare what a deciding entry saw with the sums of the entries before it; what the case had."""
        state, used = seen.state, entry["usage"]
        subject = case_subject(state.case_id, state.receipt)
        case_rows, currencies = self._tally.case(subject)
        if used["case"] != case_rows:
            self.wrong(f"it saw {used['case']} on the case, and the entries before it come to {case_rows}")
        if currencies - {terms.currency}:
            self.wrong("the case had another currency before")
        budget_rows = []
        for line, per, span, first in terms.budgets(entry["bday"]):
            amount, times = self._tally.used(_subject_of(per, seen, subject), span, first)
            if per == "employee" and len(seen.employees) > 1:
                other = self._tally.used(f"employee:{seen.employees[1]}", span, first)
                amount, times = max(amount, other[0]), max(times, other[1])
            if amount or times:
                budget_rows.append([line, amount, times])
        budget_rows.sort()
        if used["budgets"] != budget_rows:
            self.wrong(f"it saw {used['budgets']} in budgets, and the entries before it come to {budget_rows}")
        return case_rows

    def _counts(self, entry: Entry, state: RecoveryState, case_rows: list[CaseRow], remedy: str, amount: int) -> None:
        counts = entry.get("counts")
        if counts is None:
            return
        first = state.basis == GOODWILL and amount > 0 and all(basis != GOODWILL for _, basis, _, _ in case_rows)
        expected = {
            "bday": entry["bday"],
            "remedy": remedy,
            "basis": state.basis,
            "currency": state.currency,
            "amount": amount,
            "times": int(first),
        }
        if counts != expected:
            self.wrong(f"`counts` is {counts}, and it must be {expected}")


def _subject_of(per: str, seen: Seen, case: str) -> str:
    """Whose sums a budget adds up. Without a customer the receipt or the case stands in."""
    state = seen.state
    if per == "employee":
        return f"employee:{seen.employees[0]}"
    if per == "site":
        return state.stream
    if per == "customer":
        return f"customer:{state.customer}" if state.customer else case
    return ORGANISATION
