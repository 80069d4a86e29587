"""Every call of the way up may be made again: the same has the stored answer, another under its id conflicts."""

from collections.abc import Callable
from typing import Any

import pytest
from engines import SECOND, ask, dollars, entries
from way_up import LEAD, MANAGER, lend, shop

from recovery_engine import IdempotencyConflict, RecoveryEngine

Call = Callable[[RecoveryEngine], Any]


def _revoked(engine: RecoveryEngine, by: str = "mgr-1") -> Any:
    return engine.revoke("d0", by=by, id="x")


CALLS: dict[str, tuple[Call, Call]] = {
    "approve": (
        lambda engine: engine.approve("r1", amount=dollars(110), id="x", **LEAD),
        lambda engine: engine.approve("r1", amount=dollars(111), id="x", **LEAD),
    ),
    "approve another": (
        lambda engine: engine.approve("r1", id="x", **LEAD),
        lambda engine: engine.approve("r2", id="x", **LEAD),
    ),
    "approve as another": (
        lambda engine: engine.approve("r1", id="x", **LEAD),
        lambda engine: engine.approve("r1", id="x", by="lead-2", role="lead"),
    ),
    "approve in a name": (
        lambda engine: engine.approve("r1", id="x", **LEAD),
        lambda engine: engine.approve("r1", id="x", delegation="d0", **LEAD),
    ),
    "decline": (
        lambda engine: engine.decline("r1", "no", **LEAD),
        lambda engine: engine.decline("r1", "never", **LEAD),
    ),
    "ask": (
        lambda engine: engine.ask("r1", "Which table?", id="x", **LEAD),
        lambda engine: engine.ask("r1", "Which table?", id="x", **MANAGER),
    ),
    "answer": (
        lambda engine: engine.answer("r2", "Table 12"),
        lambda engine: engine.answer("r2", "Table 12", evidence=["photo"]),
    ),
    "amend": (
        lambda engine: engine.amend("r1", dollars(110), id="x"),
        lambda engine: engine.amend("r1", dollars(105), id="x"),
    ),
    "withdraw": (lambda engine: engine.withdraw("r1", "settled"), lambda engine: engine.withdraw("r1", "other")),
    "fulfil": (lambda engine: engine.fulfil("r0", "rf-1"), lambda engine: engine.fulfil("r0", "rf-2")),
    "void": (
        lambda engine: engine.void("r0", "given twice", by="emp-1"),
        lambda engine: engine.void("r0", "a mistake", by="emp-1"),
    ),
    "delegate": (lambda engine: lend(engine, "x"), lambda engine: lend(engine, "x", cap=dollars(1))),
    "revoke": (lambda engine: _revoked(engine), lambda engine: lend(engine, "x")),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_same_call_again_has_the_stored_answer_and_another_under_its_id_conflicts(log_url: str, name: str) -> None:
    call, other = CALLS[name]
    with shop(log_url) as (engine, clock):
        lend(engine, "d0")
        engine.request(ask("r0", 10))
        for recovery in ("r1", "r2"):
            engine.request(ask(recovery, 120))
        engine.ask("r2", "Which table?", **LEAD)
        first = call(engine)
        clock.now_us += SECOND
        again = call(engine)
        assert (first.replayed, again.replayed, again.log_receipt) == (False, True, first.log_receipt)
        size = len(entries(log_url))
        with pytest.raises(IdempotencyConflict, match="was used before, for something else"):
            other(engine)
        assert len(entries(log_url)) == size
