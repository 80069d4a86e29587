"""Every call of the way up may be made again: the same has the stored answer, another under its id conflicts."""

from collections.abc import Callable
from typing import Any

import pytest
from engines import SECOND, ask, dollars, entries
from way_up import LEAD, MANAGER, lend, refused, shop

from recovery_engine import IdempotencyConflict, RecoveryEngine

pytestmark = pytest.mark.slow

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


def test_the_same_question_again_has_the_stored_answer_without_an_id_too(log_url: str) -> None:
    with shop(log_url) as (engine, _):
        engine.request(ask("r1", 120, customer="K-1"))
        first = engine.ask("r1", "Which table?", **LEAD)
        again = engine.ask("r1", "Which table?", **LEAD)
        assert (again.replayed, again.log_receipt) == (True, first.log_receipt)
        assert "is open already" in refused(engine.ask, "r1", "And when?", **LEAD)
        engine.answer("r1", "Table 12")
        assert not engine.ask("r1", "Which table?", **LEAD).replayed  # put once more, now that it was answered


TEXTS: dict[str, Callable[[RecoveryEngine, str], Any]] = {
    "question": lambda engine, text: engine.ask("r1", text, id="x", **LEAD),
    "answer": lambda engine, text: engine.answer("r2", text),
    "note": lambda engine, text: engine.approve("r1", note=text, **LEAD),
}


@pytest.mark.parametrize("text", TEXTS)
def test_another_text_under_the_same_id_conflicts_until_it_is_forgotten(log_url: str, text: str) -> None:
    call = TEXTS[text]
    with shop(log_url) as (engine, _):
        for name in ("r1", "r2"):
            engine.request(ask(name, 120, customer="K-1"))
        engine.ask("r2", "Which table?", **LEAD)
        first = call(engine, "Zoe\u0301 said so")
        assert call(engine, "Zo\u00e9 said so").replayed  # the same text in another Unicode form
        with pytest.raises(IdempotencyConflict):
            call(engine, "Zoe did not")
        engine.forget("K-1", "asked to be")
        assert call(engine, "Zoe did not").log_receipt == first.log_receipt  # nobody can tell any more


def test_an_approval_in_a_name_is_another_than_one_in_ones_own(log_url: str) -> None:
    with shop(log_url) as (engine, _):
        lend(engine)
        engine.request(ask("r1", 120))
        engine.approve("r1", delegation="d1", **LEAD)
        with pytest.raises(IdempotencyConflict):
            engine.approve("r1", **LEAD)
