"""What an engine refuses: a used id, what no log can hold, what a case cannot be, a step that cannot follow."""

import os
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from engines import HEAD, LIMITS, POLICY, ask, assert_whole, dollars, entries, opened, rows, tables

from recovery_engine import (
    IdempotencyConflict,
    InvalidRequest,
    LogError,
    Money,
    NotAllowed,
    Outcome,
    OwnLimit,
    PolicyError,
    RecoveryEngine,
    RecoveryRequest,
)

pytestmark = pytest.mark.slow

FACTS = """
facts:
  days: {number: true, default: 0}
  staff: {flag: true, default: false}
  fare: {money: true}
  tier: {one_of: [gold, red], default: red}
"""


@pytest.fixture
def log(tmp_path: Path) -> str:
    """Where what is refused does not reach the database, one kind of database will do."""
    return f"sqlite:///{tmp_path / 'recovery.db'}"


@pytest.fixture
def engine(log: str) -> Iterator[RecoveryEngine]:
    with opened(log, POLICY + FACTS) as engine:
        yield engine
    assert_whole(log)


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecoveryEngine]:
    """One engine for all that is refused at once; when they are over its log is still empty."""
    log = tmp_path_factory.mktemp("log") / "recovery.db"
    with opened(log, POLICY + FACTS) as engine:
        before = tables(log)
        yield engine
        assert tables(log) == before


def full(**changed: Any) -> RecoveryRequest:
    """A request in which every field is given."""
    fields: dict[str, Any] = {
        **{"site": "S1", "receipt": "R-1", "customer": "K-1", "category": "delay", "severity": "minor"},
        **{"bill": dollars(64), "reason": "B01", "note": "cold", "evidence": {"receipt"}, "case": "C-1"},
        **{"facts": {"days": 1, "fare": dollars(30)}, "occurred_on": date(2026, 11, 20), "basis": "goodwill"},
        "own_limit": OwnLimit(at_most=dollars(95)),
    }
    return ask(changed.pop("id", "r-1"), changed.pop("amount", 18), **(fields | changed))


# --- a used id --------------------------------------------------------------------------------------------------------

ANOTHER: dict[str, Any] = {
    "role": "lead",
    "remedy": "voucher",
    "amount": "18.01",
    "employee": "emp-2",
    "site": "S2",
    "case": "C-2",
    "receipt": "R-2",
    "customer": "K-2",
    "category": "quality",
    "severity": "major",
    "bill": dollars(65),
    "basis": "owed",
    "reason": "B02",
    "note": None,
    "evidence": {"receipt", "photo"},
    "facts": {"days": 2, "fare": dollars(30)},
    "occurred_on": date(2026, 11, 19),
    "own_limit": OwnLimit(at_most=dollars(90)),
}


def test_another_value_is_tried_for_every_field() -> None:
    told = {"id", "customer_name", "customer_contact"}  # texts about a person are kept out of the comparison
    assert set(ANOTHER) == set(RecoveryRequest.__dataclass_fields__) - told


@pytest.mark.parametrize("field", ANOTHER)
def test_the_same_id_for_something_else_is_a_conflict(engine: RecoveryEngine, log: str, field: str) -> None:
    engine.request(full())
    before = tables(log)
    with pytest.raises(IdempotencyConflict, match="`r-1` was used before"):
        engine.request(full(**{field: ANOTHER[field]}))
    if field not in ("role", "remedy", "amount", "employee", "case", "basis"):
        with pytest.raises(IdempotencyConflict):
            engine.request(full(**{field: {} if field == "facts" else None if field != "evidence" else ()}))
    assert tables(log) == before
    assert engine.request(full()).replayed


def test_the_same_id_at_two_sites_is_a_conflict_on_both_databases(log_url: str) -> None:
    with opened(log_url, POLICY) as one, opened(log_url, POLICY) as other:
        one.request(ask("r-1", site="S1"))
        with pytest.raises(IdempotencyConflict):
            other.request(ask("r-1", site="S2"))
    assert_whole(log_url)


def test_an_id_of_a_step_is_used_too(engine: RecoveryEngine) -> None:
    engine.request(ask("r-1"))
    engine.request(ask("r-2"))
    engine.fulfil("r-1", "rf-1", id="step-1")
    assert engine.fulfil("r-1", "rf-1", id="step-1").replayed
    for used in (
        lambda: engine.request(ask("step-1")),
        lambda: engine.fulfil("r-2", "rf-1", id="step-1"),
        lambda: engine.fulfil("r-2", id="r-1"),
        lambda: engine.void("r-1", "twice", by="emp-1", id="step-1"),
    ):
        with pytest.raises(IdempotencyConflict):
            used()


# --- what no log can hold ---------------------------------------------------------------------------------------------

ILL_TYPED: list[tuple[str, Any]] = [
    *(("amount", value) for value in (None, "18", 18, Money(None, "USD"), Money(1.5, "USD"), Money(True, "USD"))),
    *(("amount", value) for value in (Money(-5, "USD"), Money(2**60, "USD"), Money(5, "EUR"), Money(5, 5))),
    *(("bill", value) for value in ("64", 64, Money(1.5, "USD"), Money(-1, "USD"))),
    *(("facts", value) for value in (None, 5, [1], {5: 1}, {"days": 1.5}, {"days": [1]}, {"days": 2**60})),
    *(("facts", value) for value in ({"staff": 1}, {"fare": 5}, {"unknown": 1}, {"tier": 5}, {"tier": "blue"})),
    *(("evidence", value) for value in (5, {1}, [["a"]], {b"a"})),
    *(("occurred_on", value) for value in ("2026-11-20", 5, datetime(2026, 11, 20))),
    *((name, 5) for name in ("note", "customer_name", "customer_contact", "reason", "category", "severity")),
    *((name, b"x") for name in ("note", "customer_name", "customer_contact", "id", "employee", "case", "site")),
    *((name, value) for name in ("role", "remedy", "basis") for value in (None, 5, [], {})),
    *((name, value) for name in ("id", "employee", "case") for value in (None, "", 5)),
    *((name, value) for name in ("site", "receipt", "customer") for value in ("", 5, [])),
    ("note", "\ud800"),
    ("reason", "\ud800"),
    ("role", "cle\u0301rk"),
    ("note", "x" * 20_001),
]


@pytest.mark.parametrize(("field", "value"), ILL_TYPED, ids=lambda value: repr(value)[:30])
def test_an_ill_typed_field_is_named(refusing: RecoveryEngine, field: str, value: Any) -> None:
    request = full()
    object.__setattr__(request, field, value)
    for asked in (refusing.request, refusing.what_if):
        if asked == refusing.what_if and field == "id" and value in (None, ""):
            continue  # a question needs no id
        with pytest.raises(InvalidRequest) as refused:
            asked(request)
        names = {field, *map(str, value)} if type(value) is dict else {field}
        assert names & {found.where for found in refused.value.diagnostics}


@pytest.mark.parametrize("name", ["id", "employee", "case", "receipt", "customer", "site"])
@pytest.mark.parametrize("value", ["a b", "ä", "a\n", "x" * 65, "~r", "a;b", "a'b", "a\0b", "4111111111111111"])
def test_what_is_no_reference_is_refused(refusing: RecoveryEngine, name: str, value: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        refusing.request(full(**{name: value}))
    assert {found.where for found in refused.value.diagnostics} == {name}


def test_a_reference_may_have_64_letters_digits_and_marks(engine: RecoveryEngine, log: str) -> None:
    long = {
        name: f"{name}._:@/+~-" + "x" * (56 - len(name)) for name in ("employee", "case", "receipt", "customer", "site")
    }
    assert engine.request(ask("A" * 64, **long)).outcome == Outcome.APPROVE
    engine.void("A" * 64, "all at most lengths", by="B" * 64)


CARD = "paid with 4111 1111 1111 1111"


@pytest.mark.parametrize(
    "field", ["note", "customer_name", "customer_contact", "reason", "category", "evidence", "facts"]
)
def test_a_card_number_is_refused_in_every_text_and_never_repeated(refusing: RecoveryEngine, field: str) -> None:
    given = {"evidence": {CARD}, "facts": {"tier": CARD}}.get(field, CARD)
    with pytest.raises(InvalidRequest) as refused:
        refusing.request(full(**{field: given}))
    assert "RQ007" in {found.code for found in refused.value.diagnostics}
    assert "4111" not in str(refused.value)


def test_a_card_number_is_refused_in_every_step(engine: RecoveryEngine) -> None:
    engine.request(ask("r-1"))
    for asked in (
        lambda: engine.fulfil("r-1", "4111111111111111"),
        lambda: engine.fulfil("r-1", by="4111111111111111"),
        lambda: engine.void("r-1", CARD, by="emp-1"),
        lambda: engine.forget("K-1", CARD),
        lambda: engine.what_if(full(note=CARD)),
    ):
        with pytest.raises(InvalidRequest) as refused:
            asked()
        assert "4111" not in str(refused.value)


def test_all_that_is_wrong_is_said_at_once(refusing: RecoveryEngine) -> None:
    with pytest.raises(InvalidRequest) as refused:
        refusing.request(full(id="", employee="a b", note=CARD, amount=1, site="~x"))
    assert {found.where for found in refused.value.diagnostics} >= {"id", "employee", "note", "site"}


def test_a_request_that_does_not_fit_into_an_entry_is_refused_and_opens_no_stream(log: str) -> None:
    with opened(log, POLICY) as engine:
        before = tables(log)
        with pytest.raises(InvalidRequest, match="65,535"):
            engine.request(ask("r-1", evidence={letter * 19_000 for letter in "abcd"}))
        assert tables(log) == before
        assert engine.request(ask("r-1")).outcome == Outcome.APPROVE


@pytest.mark.parametrize("by", ["~x", "x y", "", "4111111111111111", 5])
def test_who_acts_is_a_reference_everywhere(engine: RecoveryEngine, by: Any) -> None:
    engine.request(ask("r-1", customer="K-1"))
    for asked in (
        lambda: engine.fulfil("r-1", by=by),
        lambda: engine.void("r-1", "why", by=by),
        lambda: engine.forget("K-1", "why", by=by),
        lambda: engine.accept_clock(by=by),
    ):
        with pytest.raises(InvalidRequest):
            asked()


@pytest.mark.parametrize("reason", ["", "  ", None, 5, "\ud800", "e\u0301", "x" * 20_001])
def test_a_void_and_forgetting_need_a_reason_in_plain_text(engine: RecoveryEngine, log: str, reason: Any) -> None:
    engine.request(ask("r-1", customer="K-1"))
    before = tables(log)
    for asked in (lambda: engine.void("r-1", reason, by="emp-1"), lambda: engine.forget("K-1", reason)):
        with pytest.raises(InvalidRequest):
            asked()
    assert tables(log) == before


def test_who_takes_a_grant_back_is_named(engine: RecoveryEngine) -> None:
    engine.request(ask("r-1"))
    with pytest.raises(InvalidRequest) as refused:
        engine.void("r-1", "given twice", by=None)  # type: ignore[arg-type]
    assert [found.where for found in refused.value.diagnostics] == ["by"]


# --- what a case cannot be --------------------------------------------------------------------------------------------

OF_A_CASE = ("receipt", "customer", "bill", "occurred_on", "category", "severity")


@pytest.mark.parametrize("field", OF_A_CASE)
def test_what_belongs_to_a_case_cannot_become_something_else(log_url: str, field: str) -> None:
    with opened(log_url, POLICY + FACTS) as engine:
        engine.request(full())
        for asked in (engine.request, engine.what_if):
            with pytest.raises(InvalidRequest) as refused:
                asked(full(id="r-2", **{field: ANOTHER[field]}))
            assert [(found.code, found.where) for found in refused.value.diagnostics] == [("RQ008", field)]
            assert "K-1" not in str(refused.value)
            assert "c_" not in str(refused.value)
        engine.request(full(id="r-3"))
    assert [entry["id"] for entry in entries(log_url, "decided")] == ["r-1", "r-3"]


@pytest.mark.parametrize("field", ["receipt", "customer"])
def test_receipt_and_customer_stand_from_the_first_request_on(engine: RecoveryEngine, field: str) -> None:
    engine.request(full(case="with"))
    engine.request(full(case="without", id="r-2", **{field: None}))
    for id, case, value in (("r-3", "with", None), ("r-4", "without", ANOTHER[field])):
        with pytest.raises(InvalidRequest) as refused:
            engine.request(full(id=id, case=case, **{field: value}))
        assert [found.where for found in refused.value.diagnostics] == [field]


@pytest.mark.parametrize("field", ["bill", "occurred_on", "category", "severity"])
def test_what_was_not_known_of_a_case_may_be_learned_later_and_then_stands(engine: RecoveryEngine, field: str) -> None:
    engine.request(full(**{field: None}))
    engine.request(full(id="r-2"))
    engine.request(full(id="r-3", **{field: None}))
    with pytest.raises(InvalidRequest):
        engine.request(full(id="r-4", **{field: ANOTHER[field]}))


def test_a_case_has_one_currency_under_all_policies(log: str) -> None:
    euros = POLICY.replace("shop", "euro-shop").replace("USD", "EUR") + "sites: {euros: [E1]}\n"
    with opened(log, POLICY + "sites: {dollars: [S1]}\n", euros) as engine:
        engine.request(ask("r-1", case="C-1", receipt="R-1"))
        for case in ("C-1", "C-2"):
            there = ask("r-2", case=case, receipt="R-1", site="E1")
            object.__setattr__(there, "amount", Money.of("5", "EUR"))
            with pytest.raises(InvalidRequest) as refused:
                engine.request(there)
            assert {found.code for found in refused.value.diagnostics} == {"RQ008"}


# --- a step that cannot follow ----------------------------------------------------------------------------------------

STEPS: dict[str, Callable[[RecoveryEngine, str], Any]] = {
    "fulfil": lambda engine, recovery: engine.fulfil(recovery, "rf-1"),
    "void": lambda engine, recovery: engine.void(recovery, "given twice", by="lead-1"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("amount", "status"), [(150, "pending"), (501, "denied")])
def test_only_what_was_granted_can_be_fulfilled_or_voided(log_url: str, step: str, amount: int, status: str) -> None:
    with opened(log_url, POLICY) as engine:
        engine.request(ask("r-1", amount))
        with pytest.raises(NotAllowed, match=f"`r-1` is {status}"):
            STEPS[step](engine, "r-1")
        with pytest.raises(NotAllowed, match="no recovery `nobody`"):
            STEPS[step](engine, "nobody")


@pytest.mark.parametrize(("first", "second"), [("fulfil", "void"), ("void", "fulfil")])
def test_what_is_fulfilled_or_voided_stays_so(log_url: str, first: str, second: str) -> None:
    with opened(log_url, POLICY) as engine:
        engine.request(ask("r-1"))
        STEPS[first](engine, "r-1")
        before = tables(log_url)
        with pytest.raises(NotAllowed, match="nothing can follow"):
            STEPS[second](engine, "r-1")
        assert STEPS[first](engine, "r-1").replayed
        assert tables(log_url) == before


def test_a_step_again_with_other_content_is_a_conflict(engine: RecoveryEngine) -> None:
    for id in ("r-1", "r-2", "r-3"):
        engine.request(ask(id))
    engine.fulfil("r-1", "rf-1")
    engine.fulfil("r-2")
    engine.void("r-3", "given twice", by="lead-1")
    for asked in (
        lambda: engine.fulfil("r-1", "rf-2"),
        lambda: engine.fulfil("r-1"),
        lambda: engine.fulfil("r-1", "rf-1", by="emp-2"),
        lambda: engine.fulfil("r-2", "rf-1"),
        lambda: engine.void("r-3", "wrong guest", by="lead-1"),
        lambda: engine.void("r-3", "given twice", by="lead-2"),
    ):
        with pytest.raises(IdempotencyConflict):
            asked()
    assert engine.fulfil("r-2", by="emp-1").replayed  # left out, it is who asked


def test_nobody_is_forgotten_who_is_not_known(engine: RecoveryEngine, log: str) -> None:
    engine.request(ask("r-1", customer="K-1"))
    before = tables(log)
    with pytest.raises(NotAllowed, match="nobody is known"):
        engine.forget("K-2", "asked for it")
    with pytest.raises(InvalidRequest):
        engine.request(ask("r-2", customer="K-2", role="nobody"))
    with pytest.raises(NotAllowed):
        engine.forget("K-2", "asked for it")
    assert tables(log) == before
    engine.forget("K-1", "asked for it")
    with pytest.raises(NotAllowed):
        engine.forget("K-1", "asked for it")


# --- opening ----------------------------------------------------------------------------------------------------------


def test_a_forked_child_is_refused_and_its_parent_goes_on(log_url: str) -> None:
    with opened(log_url, POLICY) as engine:
        engine.request(ask("r-1"))
        engine.recovery("r-1")
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            said = []
            for asked in (lambda: engine.request(ask("r-2")), lambda: engine.recovery("r-1"), engine.accept_clock):
                try:
                    asked()
                except LogError as error:
                    said.append("fork" in str(error))
                except BaseException:
                    said.append(False)
            engine.close()
            os.write(writing, b"refused" if said == [True] * 3 else repr(said).encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reading, 100) == b"refused"
        assert engine.recovery("r-1") is not None
        assert engine.request(ask("r-2")).outcome == Outcome.APPROVE
        os.close(reading)
        os.close(writing)
    assert_whole(log_url)


def test_organisation_budgets_need_a_log_that_tracks_them(log_url: str) -> None:
    budget = POLICY + "budgets: [{id: all, per: organisation, every: day, amount: 100}]\n"
    with pytest.raises(PolicyError, match="tracks=") as refused:
        opened(log_url, budget)
    assert [found.code for found in refused.value.diagnostics] == ["RP018"]
    assert entries(log_url, "policy_loaded") == []
    with opened(log_url, POLICY, tracks=["organisation"]) as engine:  # too late for this log
        assert engine.request(ask("r-1")).outcome == Outcome.APPROVE
    assert [entry["tracks"] for entry in entries(log_url, "opened")] == [[], []]


def test_only_the_organisation_can_be_tracked(log: str) -> None:
    with pytest.raises(LogError, match="moods"):
        opened(log, POLICY, tracks=["moods"])


@pytest.mark.parametrize("site", ["S 1", "Größe", "x" * 65])
def test_a_policy_whose_sites_cannot_name_a_stream_is_refused(log: str, site: str) -> None:
    with pytest.raises(PolicyError, match="is not an id"):
        opened(log, f"{POLICY}sites: {{all: ['{site}']}}\n")


def test_a_policy_that_overlaps_with_one_in_the_log_is_refused(log_url: str) -> None:
    other = POLICY.replace("shop", "other-shop")
    with opened(log_url, POLICY):
        pass
    with pytest.raises(PolicyError, match="both in force"):
        opened(log_url, other)
    assert len(entries(log_url, "policy_loaded")) == 1


def test_mistakes_in_a_policy_make_no_log(tmp_path: Path) -> None:
    with pytest.raises(PolicyError):
        opened(tmp_path / "recovery.db", HEAD + LIMITS + "ladders: [a]\n")
    assert not (tmp_path / "recovery.db").exists()


@pytest.mark.parametrize("database", ["sqlite://", "sqlite:///:memory:", "mysql://host/db", "no/such/folder/r.db"])
def test_a_place_where_no_log_can_be_is_a_log_error(database: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LogError):
        opened(database, POLICY)


def test_without_any_policy_nothing_is_decided(log: str) -> None:
    with opened(log) as engine:
        for asked in (engine.request, engine.what_if):
            with pytest.raises(InvalidRequest, match="no policy"):
                asked(ask("r-1"))
        assert [entry["kind"] for entry in entries(log)] == ["opened"]


def test_a_site_no_policy_lists_is_refused(log_url: str) -> None:
    with opened(log_url, f"{POLICY}sites: {{all: [S1, S2]}}\n") as engine:
        with pytest.raises(InvalidRequest, match="S3"):
            engine.request(ask("r-1", site="S3"))
        assert engine.request(ask("r-1", site="S2")).outcome == Outcome.APPROVE
    assert rows(log_url, "SELECT stream FROM recovery_stream WHERE size > 0 ORDER BY 1") == [
        ("organisation",),
        ("site:S2",),
    ]
