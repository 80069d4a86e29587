"""What a host gives by mistake, of any type and at any place: InvalidRequest with every problem, never a raw error."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from engines import DAY, START, ask, dollars, opened
from way_up import CARD, FOUR_EYES, LEAD

from recovery_engine import IdempotencyConflict, InvalidRequest, NotAllowed, RecoveryEngine

pytestmark = pytest.mark.slow

ODD: tuple[Any, ...] = (None, 3, -1.5, "", "x", "a b", b"x", [], [[]], {}, {"x": "y"}, [None, 3], object(), True)

ABOUT: dict[str, Any] = {"recovery": "r-1", "by": "lead-1", "role": "lead", "id": "k-1"}
BY_REQUESTER: dict[str, Any] = {"recovery": "r-1", "by": "emp-1", "id": "k-1"}

CALLS: dict[str, dict[str, Any]] = {
    "request": {"request": ask("r-9")},
    "what_if": {"request": ask("r-9")},
    "headroom": {"employee": "emp-1", "role": "clerk", "site": "S1", "remedies": ["refund"]},
    "policy": {"site": "S1"},
    "fulfil": {"recovery": "r-0", "reference": "p-1", "by": "emp-1", "id": "k-1"},
    "void": {"recovery": "r-0", "reason": "twice", "by": "emp-1", "id": "k-1"},
    "approve": {**ABOUT, "amount": dollars(9), "remedy": "refund", "asked": None, "delegation": None, "note": "yes"},
    "decline": {**ABOUT, "reason": "no", "say": "sorry"},
    "ask": {**ABOUT, "question": "why?"},
    "answer": {"recovery": "r-2", "answer": "so", "by": "emp-1", "evidence": ["photo"], "id": "k-1"},
    "amend": {**BY_REQUESTER, "amount": dollars(120)},
    "withdraw": {**BY_REQUESTER, "reason": "settled"},
    "pending": {"recovery": "r-1", "role": "lead", "site": "S1", "employee": "emp-1"},
    "promises": {"site": "S1"},
    "delegate": {
        **{"id": "d-1", "by": "mgr-1", "to": "lead-1", "role": "manager", "until_us": START + DAY, "from_us": START},
        **{"sites": ["S1"], "remedies": ["refund"], "cap": dollars(100)},
    },
    "revoke": {"delegation": "d-0", "by": "mgr-1", "id": "k-1"},
    "delegations": {"person": "mgr-1"},
    "forget": {"customer": "K-1", "ground": "asked to", "by": "dpo"},
    "accept_clock": {"by": "dpo"},
    "reopen": {"anchors": [], "by": "dpo"},
    "recovery": {"recovery": "r-1"},
    "case": {"case": "C-1"},
    "entries": {"after": {}},
}


@pytest.fixture
def engine(log_url: str) -> Iterator[RecoveryEngine]:
    """One recovery that is granted, one that is pending, one with a question, and something lent."""
    with opened(log_url, FOUR_EYES) as engine:
        engine.request(ask("r-0", 50, customer="K-1"))
        engine.request(ask("r-1", 150))
        engine.request(ask("r-2", 150))
        engine.ask("r-2", "a photo?", **LEAD)
        engine.delegate("d-0", by="mgr-1", to="lead-2", role="manager", until_us=START + DAY)
        yield engine


def called(engine: RecoveryEngine, name: str, **given: Any) -> None:
    told = getattr(engine, name)(**given)
    if name == "entries":
        list(told)


@pytest.mark.parametrize("name", CALLS)
def test_whatever_is_given_it_is_an_answer_or_a_refusal_in_words(engine: RecoveryEngine, name: str) -> None:
    for parameter in CALLS[name]:
        for odd in ODD:
            with suppress(InvalidRequest, NotAllowed, IdempotencyConflict):
                called(engine, name, **CALLS[name] | {parameter: odd})


def test_every_public_call_is_tried() -> None:
    about_itself = {"open", "close", "tick"}
    assert {name for name in vars(RecoveryEngine) if not name.startswith("_")} - about_itself == set(CALLS)


@pytest.mark.parametrize(
    ("name", "given", "places"),
    [
        ("answer", {"evidence": None}, ["evidence"]),
        ("answer", {"evidence": [[], "photo", 3], "by": 5, "answer": ""}, ["by", "answer", "evidence", "evidence"]),
        ("promises", {"site": []}, ["site"]),
        ("delegate", {"sites": None, "remedies": [None, 3], "by": None}, ["by", "remedy", "remedy", "site"]),
        ("delegate", {"sites": [["S1"], "a b"], "remedies": 3, "cap": 5}, ["amount", "remedy", "site", "site"]),
        ("headroom", {"remedies": None, "employee": None}, ["employee", "remedy"]),
        ("headroom", {"remedies": ["refund", [], 3]}, ["remedy", "remedy"]),
        ("reopen", {"anchors": None, "by": 3}, ["anchor", "by"]),
        ("reopen", {"anchors": "xy"}, ["anchor"]),
        ("entries", {"after": "x"}, ["after"]),
        ("entries", {"after": {"site:S1": -1, 3: 4, "organisation": 0}}, ["after", "after"]),
        ("request", {"request": "x"}, ["request"]),
        ("what_if", {"request": "x"}, ["request"]),
        ("approve", {"note": 5, "remedy": [], "amount": 5}, ["note", "remedy", "amount"]),
        ("decline", {"say": [], "reason": None}, ["reason", "say"]),
        ("withdraw", {"reason": []}, ["reason"]),
        ("pending", {"role": 3, "site": []}, ["role", "site"]),
    ],
)
def test_everything_that_is_of_the_wrong_kind_is_named_at_once(
    engine: RecoveryEngine, name: str, given: dict[str, Any], places: list[str]
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        called(engine, name, **CALLS[name] | given)
    assert [problem.where for problem in refused.value.diagnostics] == places


def test_every_standing_that_there_is_not_is_named(engine: RecoveryEngine) -> None:
    odd: Any = (None, "open", [], "overdu")
    with pytest.raises(InvalidRequest) as refused:
        engine.promises(*odd)
    assert [problem.message for problem in refused.value.diagnostics] == [
        "unknown `None`",
        "unknown `[]`",
        "unknown `overdu`",
    ]


def test_one_word_is_a_list_of_one(engine: RecoveryEngine) -> None:
    assert engine.headroom(employee="emp-1", role="clerk", remedies="voucher")[0].remedy == "voucher"
    engine.answer("r-2", "so", evidence="photo")
    assert engine.delegate("d-1", by="mgr-1", to="lead-1", role="manager", until_us=START + DAY, sites="S1")


def test_a_card_number_in_a_text_of_a_kind_of_its_own_is_found(engine: RecoveryEngine) -> None:
    class Typed(str):
        """Text that a host's form gives."""

    with pytest.raises(InvalidRequest, match="RQ007"):
        engine.request(ask("r-9", note=Typed(CARD)))
