"""Lent authority is looked at again when a second person agrees, and a queue is without what one may not answer."""

from typing import Any

import pytest
from engines import ask, dollars, entries, opened
from way_up import CARD, FOUR_EYES, LEAD, lend, refused, shop

from recovery_engine import InvalidRequest
from recovery_engine.log.verification.verify import verify
from recovery_engine.log.writing.approving import Approve, Decline
from recovery_engine.log.writing.later import Ask
from recovery_engine.workflow import Actor


def test_what_was_lent_is_looked_at_again_when_the_second_person_agrees(log_url: str) -> None:
    with shop(log_url, FOUR_EYES) as (engine, _):
        lend(engine, cap=dollars(450))
        for name in ("r1", "r2"):
            engine.request(ask(name, 240, case="C-1", note=name))
        engine.request(ask("r3", 230, case="C-1"))
        engine.approve("r1", delegation="d1", **LEAD)
        engine.approve("r3", delegation="d1", **LEAD)  # nothing is granted on the case yet
        engine.approve("r1", by="mgr-2", role="manager")
        assert "goes to $450.00 for one case" in refused(engine.approve, "r3", by="mgr-2", role="manager")
        engine.revoke("d1", by="mgr-1")
        said = refused(engine.approve, "r3", amount=dollars(205), by="mgr-2", role="manager")
        assert "was revoked" in said


def test_verify_says_so_where_what_was_lent_did_not_cover_it_any_more(
    log_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Approve, "_require_lent", lambda *_: None)
    with opened(log_url, FOUR_EYES) as engine:
        lend(engine)
        engine.request(ask("r1", 240))
        engine.approve("r1", delegation="d1", **LEAD)
        engine.revoke("d1", by="mgr-1")
        engine.approve("r1", by="mgr-2", role="manager")
    (finding,) = verify(log_url).findings
    assert "the delegation `d1` was revoked" in str(finding)


def test_a_queue_is_without_what_was_agreed_to_in_one_s_name(log_url: str) -> None:
    with shop(log_url, FOUR_EYES) as (engine, _):
        lend(engine)
        engine.request(ask("r1", 240))
        engine.approve("r1", delegation="d1", **LEAD)
        assert engine.pending(employee="mgr-1") == ()
        assert len(engine.pending(employee="mgr-2")) == 1


def test_a_card_number_is_refused_in_what_the_customer_may_be_told(log_url: str) -> None:
    with shop(log_url, FOUR_EYES) as (engine, _):
        engine.request(ask("r1", 150))
        with pytest.raises(InvalidRequest, match="RQ007"):
            engine.decline("r1", "no", say=f"back to {CARD}", **LEAD)


def test_a_role_or_an_amount_that_is_none_is_a_mistake_of_the_host(log_url: str) -> None:
    with shop(log_url, FOUR_EYES) as (engine, _):
        engine.request(ask("r1", 150))
        with pytest.raises(InvalidRequest, match="unknown role"):
            engine.approve("r1", by="lead-1", role=None)  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="not an amount"):
            engine.amend("r1", None)  # type: ignore[arg-type]


def test_whoever_asked_for_the_very_same_does_not_approve_it(log_url: str) -> None:
    with shop(log_url, FOUR_EYES) as (engine, _):
        engine.request(ask("r1", 150, case="C-1"))
        assert engine.request(ask("r2", 150, case="C-1", employee="emp-5")).recovery == "r1"
        assert "emp-5 asked for it too" in refused(engine.approve, "r1", by="emp-5", role="lead")
        assert engine.approve("r1", **LEAD).state.status == "granted"


@pytest.mark.parametrize("by", [None, "", 5, ["lead-1"]])
@pytest.mark.parametrize("id", [None, "k-1"])
def test_a_step_of_nobody_is_refused_before_anything_else(log_url: str, by: Any, id: str | None) -> None:
    with shop(log_url, FOUR_EYES) as (engine, _):
        engine.request(ask("r1", 150))
        lend(engine)
        until_us, before = engine.delegations()[0].until_us, entries(log_url)
        for step in (
            lambda **one: engine.approve("r1", role="manager", id=id, **one),
            lambda **one: engine.decline("r1", "no", role="manager", id=id, **one),
            lambda **one: engine.ask("r1", "why", role="manager", id=id, **one),
            lambda **one: engine.void("r1", "no", id=id, **one),
            lambda **one: engine.revoke("d1", id=id, **one),
            lambda **one: engine.delegate(id or "d2", to="lead-2", role="manager", until_us=until_us, **one),
        ):
            with pytest.raises(InvalidRequest) as found:
                step(by=by)
            (problem,) = found.value.diagnostics
            assert problem.where == "by"
            assert by or problem.message == "nobody is named"
        assert entries(log_url) == before


def test_what_a_step_is_about_is_named(log_url: str) -> None:
    nothing: Any = None
    with shop(log_url, FOUR_EYES) as (engine, _):
        for step in (
            engine.fulfil,
            engine.withdraw,
            lambda it: engine.answer(it, "so"),
            lambda it: engine.amend(it, it),
        ):
            with pytest.raises(InvalidRequest, match="no recovery"):
                step(nothing)
        with pytest.raises(InvalidRequest) as found:
            engine.delegate(nothing, by=nothing, to=nothing, role=nothing, until_us=0)
        assert [problem.where for problem in found.value.diagnostics] == ["id", "by", "to", "role"]


def test_an_approver_s_step_is_never_signed_by_the_requester(log_url: str) -> None:
    nobody: Any = Actor("", "manager")
    with shop(log_url, FOUR_EYES) as (engine, _):
        engine.request(ask("r1", 150))
        state = engine.recovery("r1")
        assert state is not None
        assert Approve("r1", nobody).signs(state) == Decline("r1", "no", nobody, None).signs(state) == ""
        assert Ask("r1", "why", nobody, None).signs(state) == ""


def test_ids_that_differ_in_case_are_two_people(log_url: str) -> None:
    with shop(log_url, FOUR_EYES) as (engine, _):
        engine.request(ask("r1", 150))
        assert "emp-1 asked for it" in refused(engine.approve, "r1", by="emp-1", role="lead")
        assert engine.approve("r1", by="EMP-1", role="lead").state.approver == "EMP-1"
