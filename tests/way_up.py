"""A shop whose escalations are answered, for tests: its policy, its clock, and its log checked when it closes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from engines import DAY, POLICY, SECOND, START, Clock, assert_whole, entries, opened

from recovery_engine import NotAllowed, RecoveryEngine

MINUTE = 60 * SECOND
TIMES = "escalation: {answer_within: {lead: 10 minutes, manager: 1 hour}, fulfil_within: 2 days}\n"
WAY_UP = POLICY + TIMES
FOUR_EYES = f"{WAY_UP}four_eyes:\n  - {{id: two-people, when: {{amount: over 200}}, second: manager}}\n"
SITE_DAY = "budgets:\n  - {id: site-day, per: site, every: day, amount: 300}\n"
PERSON_DAY = "budgets:\n  - {id: person-day, per: employee, every: day, amount: 300}\n"
CARD = "4111 1111 1111 1111"

LEAD: dict[str, Any] = {"by": "lead-1", "role": "lead"}
MANAGER: dict[str, Any] = {"by": "mgr-1", "role": "manager"}


@contextmanager
def shop(url: str, *policies: str) -> Iterator[tuple[RecoveryEngine, Clock]]:
    """An engine and its clock; at the end the log is checked from its first entry on."""
    clock = Clock()
    with opened(url, *(policies or (WAY_UP,)), clock=clock) as engine:
        yield engine, clock
    assert_whole(url)


def refused(call: Callable[..., Any], *values: Any, **named: Any) -> str:
    """What is said to a step that is not allowed."""
    with pytest.raises(NotAllowed) as refusal:
        call(*values, **named)
    return str(refusal.value)


def lend(engine: RecoveryEngine, id: str = "d1", **more: Any) -> Any:
    """mgr-1 lends a manager's authority to lead-1 for a day."""
    return engine.delegate(id, **{"by": "mgr-1", "to": "lead-1", "role": "manager", "until_us": START + DAY, **more})


def last(url: str, kind: str) -> dict[str, Any]:
    """The last entry of a kind."""
    return entries(url, kind)[-1]
