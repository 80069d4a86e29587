"""An engine with a staff directory: roles are facts and not claims, and own limits count."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from engines import DAY, POLICY, Clock, ask, assert_whole, dollars, entries, opened

from recovery_engine import (
    IdempotencyConflict,
    InvalidRequest,
    NotAllowed,
    OwnLimit,
    Person,
    PolicyError,
    RecoveryEngine,
    Staff,
)

PEOPLE = [
    Person("emp-1", "clerk", sites=("S1",)),
    Person("emp-2", "clerk", own_limit=OwnLimit(at_most=dollars(60)), why="first month"),
    Person("emp-3", "clerk", own_limit=OwnLimit(up_to=dollars(150)), why="ten good years"),
    Person("lead-1", "lead"),
    Person("lead-2", "lead", own_limit=OwnLimit(at_most=dollars(120)), why="first month"),
    Person("mgr-1", "manager", last_day=date(2026, 11, 30)),
    Person("mgr-2", "manager", suspended=True, why="until the audit is done"),
    Person("mgr-3", "manager"),
]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(log_url: str, clock: Clock) -> Iterator[RecoveryEngine]:
    with opened(log_url, POLICY, clock=clock, staff=Staff(PEOPLE)) as engine:
        yield engine
    assert_whole(log_url)


def codes(error: pytest.ExceptionInfo[InvalidRequest]) -> list[str]:
    return [found.code for found in error.value.diagnostics]


def test_a_claimed_role_must_be_the_directory_s(engine: RecoveryEngine, log_url: str) -> None:
    with pytest.raises(InvalidRequest, match="emp-1 is clerk, not manager") as error:
        engine.request(ask("r-1", 400, role="manager"))
    assert codes(error) == ["ST005"]
    assert engine.request(ask("r-1", 90)).outcome == "approve"
    assert engine.request(ask("r-2", 90, role="")).outcome == "approve"  # left out: the directory's
    assert [(one["role"], one["role_from"]) for one in entries(log_url, "decided")] == [("clerk", "directory")] * 2


def test_strangers_the_suspended_and_people_of_other_sites_may_not_ask(engine: RecoveryEngine) -> None:
    for request, code in (
        (ask("r-1", employee="emp-9"), "ST001"),
        (ask("r-1", employee="mgr-2", role="manager"), "ST002"),
        (ask("r-1", site="S2"), "ST004"),
    ):
        with pytest.raises(InvalidRequest) as error:
            engine.request(request)
        assert codes(error) == [code]


def test_an_own_limit_counts_for_what_one_may_alone(engine: RecoveryEngine) -> None:
    assert engine.request(ask("r-1", 61, employee="emp-2")).to == "lead"
    assert engine.request(ask("r-2", 150, employee="emp-3")).outcome == "approve"
    assert engine.what_if(ask("", 151, employee="emp-3")).to == "lead"


def test_the_same_request_gets_the_same_answer_whatever_the_directory_says_by_now(log_url: str) -> None:
    with opened(log_url, POLICY, staff=Staff(PEOPLE)) as engine:
        assert engine.request(ask("r-1", 140, employee="emp-3", role="")).outcome == "approve"
    promoted = Staff([replace(one, role="lead", own_limit=None) for one in PEOPLE])
    with opened(log_url, staff=promoted) as engine:
        again = engine.request(ask("r-1", 140, employee="emp-3", role=""))
        assert (again.outcome, again.replayed) == ("approve", True)
        with pytest.raises(IdempotencyConflict):
            engine.request(ask("r-1", 141, employee="emp-3", role=""))
    assert_whole(log_url)


def test_an_approver_has_the_role_and_the_limit_of_the_directory(engine: RecoveryEngine, log_url: str) -> None:
    engine.request(ask("r-1", 130))
    with pytest.raises(InvalidRequest, match="emp-3 is clerk, not manager"):
        engine.approve("r-1", by="emp-3", role="manager")
    with pytest.raises(NotAllowed, match="120"):
        engine.approve("r-1", by="lead-2")
    assert engine.approve("r-1", by="lead-1").state.approver_role == "lead"
    (entry,) = entries(log_url, "approved")
    assert (entry["role"], entry["role_from"]) == ("lead", "directory")


def test_an_approver_with_a_limit_of_their_own_leaves_it_in_the_entry(engine: RecoveryEngine, log_url: str) -> None:
    engine.request(ask("r-1", 110))
    engine.approve("r-1", by="lead-2")
    assert entries(log_url, "approved")[0]["own_limit"] == {"at_most": 12_000}


def test_who_left_or_is_suspended_answers_nothing(engine: RecoveryEngine, clock: Clock) -> None:
    engine.request(ask("r-1", 300))
    with pytest.raises(InvalidRequest, match="until the audit is done"):
        engine.decline("r-1", "no", by="mgr-2")
    clock.now_us += 10 * DAY
    with pytest.raises(InvalidRequest, match="was here until 2026-11-30"):
        engine.approve("r-1", by="mgr-1")
    assert engine.decline("r-1", "no", by="mgr-3").state.closed_by == "mgr-3"
    assert engine.decline("r-1", "no", by="mgr-3").replayed


def test_one_lends_what_one_has_and_while_one_has_it(engine: RecoveryEngine, clock: Clock) -> None:
    until_us = clock.now_us + 30 * DAY
    with pytest.raises(InvalidRequest, match="lead-1 is lead, not manager"):
        engine.delegate("d-1", by="lead-1", to="emp-3", role="manager", until_us=until_us)
    with pytest.raises(InvalidRequest, match="suspended"):
        engine.delegate("d-1", by="mgr-2", to="lead-1", role="manager", until_us=until_us)
    engine.delegate("d-1", by="mgr-1", to="lead-1", role="manager", until_us=until_us)
    engine.request(ask("r-1", 300))
    engine.request(ask("r-2", 300))
    assert engine.approve("r-1", by="lead-1", delegation="d-1").state.on_behalf == "mgr-1"
    clock.now_us += 10 * DAY
    with pytest.raises(InvalidRequest, match="mgr-1 was here until 2026-11-30"):
        engine.approve("r-2", by="lead-1", delegation="d-1")


def test_lent_authority_goes_as_far_as_the_lender_s_own(engine: RecoveryEngine, clock: Clock) -> None:
    engine.delegate("d-1", by="lead-2", to="emp-3", role="lead", until_us=clock.now_us + DAY)
    engine.request(ask("r-1", 130))
    with pytest.raises(NotAllowed, match="120"):
        engine.approve("r-1", by="emp-3", delegation="d-1")
    assert engine.approve("r-1", by="emp-3", delegation="d-1", amount=dollars(120)).state.granted_minor == 12_000


def test_a_host_s_own_directory_is_asked_outside_the_transaction(log_url: str) -> None:
    asked: list[str] = []

    def person(employee: str) -> Person | None:
        asked.append(employee)
        return next((one for one in PEOPLE if one.employee == employee), None)

    with opened(log_url, POLICY, staff=Staff.of(person)) as engine:
        engine.request(ask("r-1", 90))
        assert asked == ["emp-1"]
        with pytest.raises(InvalidRequest, match="nobody in the staff directory"):
            engine.request(ask("r-2", 90, employee="emp-77"))
    assert_whole(log_url)


def test_a_file_is_a_directory_and_the_environment_wins(tmp_path: Path) -> None:
    file = tmp_path / "staff.yaml"
    file.write_text("staff: shop\npeople:\n  - {employee: emp-1, role: lead}\n", encoding="utf-8")
    with opened(tmp_path / "a.db", POLICY, environment={"RECOVERY_STAFF": str(file)}) as engine:
        assert engine.request(ask("r-1", 200, role="")).outcome == "approve"
    file.write_text("staff: shop\npeople:\n  - {employee: emp-1}\n", encoding="utf-8")
    with pytest.raises(PolicyError, match="`role` is missing"):
        opened(tmp_path / "b.db", POLICY, staff=file)


def test_who_no_longer_has_the_role_has_lent_nothing(log_url: str, clock: Clock) -> None:
    with opened(log_url, POLICY, clock=clock, staff=Staff(PEOPLE)) as engine:
        engine.delegate("d-1", by="mgr-3", to="lead-1", role="manager", until_us=clock.now_us + DAY)
        engine.request(ask("r-1", 300))
    demoted = Staff([replace(one, role="lead") if one.employee == "mgr-3" else one for one in PEOPLE])
    refused = pytest.raises(NotAllowed, match="mgr-3 is lead, and lent manager")
    with opened(log_url, clock=clock, staff=demoted) as engine, refused:
        engine.approve("r-1", by="lead-1", delegation="d-1")
    assert_whole(log_url)
