"""Decisions made again, from what their entries say they saw, under the policy of their digest."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from recovery_engine.decide import decide
from recovery_engine.errors import InvalidRequest, PolicyError
from recovery_engine.log.book import usage_of
from recovery_engine.log.entry import SEMANTICS, Entry
from recovery_engine.log.requests import request_from
from recovery_engine.log.verification.register import Register, Terms
from recovery_engine.log.writing.deciding import carried_by, verdict
from recovery_engine.model import FAULT, OWED, Decision
from recovery_engine.policy.schema import Policy
from recovery_engine.workflow import stopped_by, waived

FAULTY = "fault"
"""The matcher that an entry names where the two did not agree."""

_SAID = ("outcome", "to", "second", "because", "rungs")


class Carried(NamedTuple):
    """Whose authority an approval stands on: the approver's, or the first person's, with the proof from answers."""

    employee: str
    role: str
    own_limit: dict[str, int] | None
    proof: list[str]


class Replay:
    """Counts what was replayed and what could not be: decisions of an unknown version of ``decide``, and faults."""

    def __init__(self, register: Register) -> None:
        self._register = register
        self.replayed, self.not_replayed = 0, 0

    def decided(self, entry: Entry, terms: Terms) -> str | None:
        """How a `decided` entry differs from what is decided now; None where it does not."""
        if not _replayable(entry) or self._owes_by_an_unreadable_one(entry["request"]):
            self.not_replayed += 1
            return _otherwise_than_a_fault(entry, terms) if entry["matcher"] == FAULTY else None
        differs: str | None = None
        for decision in self._decisions(entry, terms, entry["request"]):
            if isinstance(decision, str):
                differs = differs or decision
                continue
            if decision.lines == (FAULT,):
                self.not_replayed += 1
                return None
            said = verdict(decision)
            other = [name for name in _SAID if said.get(name) != entry.get(name)]
            if not other:
                self.replayed += 1
                return None
            name = other[0]
            differs = f"`{name}` is {_shown(entry.get(name))}, and the policy gives {_shown(said.get(name))}"
        self.replayed += 1
        return differs

    def approved(self, entry: Entry, terms: Terms, asked: Entry, carried: Carried, agreed: bool) -> str | None:
        """Why an `approved` entry could not be as it is; None where there is no reason.

        *asked* is the entry that opened the recovery, *carried* whose authority it stands on; *agreed*: it is the
        second person's, who needs the role and not the limit.
        """
        if not _replayable(entry):
            self.not_replayed += 1
            return None
        self.replayed += 1
        fields = carried_by(
            asked["request"],
            employee=carried.employee,
            role=carried.role,
            own_limit=carried.own_limit,
            proof={*asked["request"].get("evidence", ()), *carried.proof},
            remedy=entry["remedy"],
            amount=entry["amount"],
        )
        differs: str | None = None
        for decision in self._decisions({**asked, "usage": entry["usage"]}, terms, fields):
            if isinstance(decision, str):
                differs = differs or decision
                continue
            if decision.lines == (FAULT,):
                self.not_replayed += 1
                return None
            found = self._approval_differs(entry, terms.policy, decision, carried.role, agreed)
            if found is None:
                return None
            differs = found
        return differs

    def _approval_differs(
        self, entry: Entry, policy: Policy, decision: Decision, role: str, agreed: bool
    ) -> str | None:
        if stops := stopped_by(policy, decision, role):
            return f"a {role} could not approve it, because of `{stops[0]}`"
        said = verdict(decision)
        second = None if agreed else decision.second
        expected = {"because": said["because"], "second": second, "waived": waived(policy, decision, role) or None}
        for name, value in expected.items():
            if entry.get(name) != value:
                return f"`{name}` is {_shown(entry.get(name))}, and the policy gives {_shown(value)}"
        return None

    def _decisions(self, entry: Entry, terms: Terms, fields: dict[str, Any]) -> Iterator[Decision | str]:
        """What may have been decided, or why nothing could be."""
        usage = usage_of(entry["usage"]["case"], entry["usage"]["budgets"])
        for owed_under in self._owed_under(terms, fields):
            try:
                request = request_from(terms.policy, entry["recovery"], fields, owed_under)
                yield decide(terms.policy, request, usage, owed_under=owed_under)
            except (InvalidRequest, PolicyError) as error:
                yield f"it cannot be decided: {error.diagnostics[0].message}"

    def _owed_under(self, terms: Terms, fields: dict[str, Any]) -> Iterator[Policy | None]:
        """The versions whose owed lines may have counted: the stream of policies and that of the site have no common
        order, so that any version loaded before or since, that holds the day, will do.
        """
        if fields.get("basis") == OWED and "occurred_on" in fields:
            yield from self._register.versions_on(terms.policy.policy, fields["occurred_on"])
        yield None

    def _owes_by_an_unreadable_one(self, fields: dict[str, Any]) -> bool:
        return fields.get("basis") == OWED and "occurred_on" in fields and None in self._register.by_digest.values()


def _replayable(entry: Entry) -> bool:
    return bool(entry["semantics"] == SEMANTICS and entry["matcher"] != FAULTY)


def _otherwise_than_a_fault(entry: Entry, terms: Terms) -> str | None:
    """A fault of the matchers asks the top of the ladder; it never approves."""
    top = terms.policy.ladder[-1]
    said = (entry["outcome"], entry.get("to"), entry["because"])
    return None if said == ("escalate", top, [[FAULT]]) else f"a fault of the matchers, and not `escalate` to {top}"


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"`{value}`"
