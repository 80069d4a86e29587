"""Requests that wait for an answer, and who answers them: a lead, another lead and a manager."""

from typing import Any

import pytest
from engines import DAY, POLICY, SECOND, START, rows

from recovery_engine import NotAllowed, RecoveryEngine

MINUTE = 60 * SECOND
TIMES = "  answer_within: {lead: 5 minutes, manager: 15 minutes}\n  fulfil_within: 2 days\n"
TIMED = f"{POLICY}escalation:\n{TIMES}"
EYES = f"{TIMED}four_eyes: [{{id: two, when: {{amount: over 50}}, second: manager}}]\n"
LEAD, OTHER, MANAGER = ({"by": "lea", "role": "lead"}, {"by": "leo", "role": "lead"}, {"by": "max", "role": "manager"})


def status(engine: RecoveryEngine, id: str = "r-1") -> str:
    state = engine.recovery(id)
    assert state is not None
    return state.status


def granted(engine: RecoveryEngine, id: str = "r-1") -> Any:
    """The remedy and dollars of a grant."""
    state = engine.recovery(id)
    assert state is not None
    assert state.status == "granted"
    return state.granted_remedy, (state.granted_minor or 0) / 100


def used(url: str, subject: str) -> int:
    """Dollars that count for a subject."""
    found = rows(url, f"SELECT coalesce(sum(amount_minor), 0) FROM recovery_usage WHERE subject = '{subject}'")
    return int(found[0][0]) // 100


def refused(why: str) -> Any:
    return pytest.raises(NotAllowed, match=why)


def lend(engine: RecoveryEngine, id: str = "d-1", **fields: Any) -> None:
    """Max, a manager, lends his authority to Lea for a day, unless *fields* say otherwise."""
    usual = {"by": "max", "to": "lea", "role": "manager", "until_us": START + DAY}
    engine.delegate(id, **(usual | fields))
