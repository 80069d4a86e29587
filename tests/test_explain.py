"""What a decision says in words: why and by how much, what would change it, what else can be given, what to say."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from recovery_engine import (
    Alternative,
    Decision,
    Flip,
    InvalidRequest,
    Money,
    Outcome,
    Policy,
    RecoveryRequest,
    Usage,
    decide,
    load_policy,
    shipped_policies,
)
from tests.asking import CLASSIC, ask
from tests.strategies import RequestWriter

FILE = Path(__file__).parent / "policies/lakeside.yaml"
LAKESIDE = load_policy(FILE)
LATE = {"role": "associate", "site": "S001", "remedy": "refund", "category": "delay", "severity": "minor"}
LATE |= {"bill": "300", "evidence": ["receipt"], "days_since_visit": 0, "customer_is_staff": False}


def late(amount: str, **fields: Any) -> Decision:
    """An associate at Lakeside asks for a refund after a delay."""
    return ask(LAKESIDE, **LATE | {"amount": amount} | fields)


# --- why --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "line", "short_by", "said"),
    [
        ({"amount": "100.01"}, "standard", 1, "associate may approve $100.00 for one case"),
        ({"amount": "60", "on_case": {"refund": "60"}}, "standard", 2000, "this would make $120.00"),
        ({"amount": "30", "remedy": "voucher"}, "standard", 500, "associate may approve $25.00 for one case (voucher)"),
        ({"amount": "0", "remedy": "fee_waiver"}, "standard", None, "associate may not give fee waiver"),
        ({"amount": "150.01", "severity": "major"}, "major-failure", 1, "should not have to wait for a manager"),
        ({"amount": "60", "bill": "50"}, "never-over-bill", 1000, "here $50.00; this would make $60.00"),
        ({"amount": "60", "bill": None}, "never-over-bill", None, "no bill is on file"),
        ({"amount": "20", "used": {"employee-day": {"amount": "290"}}}, "employee-day", 1000, "$300.00 a day for one"),
        ({"amount": "20", "used": {"customer-90d": {"times": 4}}}, "customer-90d", 2, "would be number 5"),
        ({"amount": "20", "used": {"customer-90d": {"amount": "390"}}}, "customer-90d", 1000, "$400.00 in 90 days"),
        ({"amount": "20", "customer_is_staff": True}, "staff-purchase", None, "Staff purchases go through HR."),
        ({"amount": "20", "evidence": []}, "receipt", None, "receipt must be on file; lead and above may do without"),
        ({"amount": "20", "knows_customer": True}, "own-family", None, "another person of the same role may"),
        ({"amount": "20", "category": "billing"}, "reason_codes", None, "billing needs a reason code: B01, B02"),
        (
            {"amount": "50", "basis": "owed", "delay_minutes": 60, "fare": "40"},
            "late-60",
            1000,
            "$40.00 of it is still due",
        ),
        ({"amount": "50", "basis": "owed", "delay_minutes": 59, "fare": "40"}, "nothing-owed", None, "nothing is owed"),
    ],
)
def test_a_reason_says_what_was_measured_and_by_how_much_it_fell_short(
    fields: dict[str, Any], line: str, short_by: int | None, said: str
) -> None:
    (reason,) = late(**fields).because
    assert (reason.line, reason.short_by) == (line, short_by)
    assert said in reason.text
    file, _, number = reason.where.rpartition(":")
    assert file == str(FILE)
    shown = FILE.read_text(encoding="utf-8").splitlines()[int(number) - 1]
    assert line in shown or line == "nothing-owed", shown


def test_a_reason_names_the_conditions_of_its_line_in_words() -> None:
    (reason,) = late("60", category="quality").because
    assert reason.line == "photo"
    assert "category is quality or wrong item" in reason.text
    assert "$50.0" in reason.text


def test_where_even_the_top_may_not_the_reason_speaks_of_the_top() -> None:
    (reason,) = ask(CLASSIC, amount="600").because
    assert reason.text == "manager may approve $500.00 for one case (in all); this would make $600.00"
    assert reason.short_by == 10000


def test_where_two_people_must_agree_the_second_is_named() -> None:
    (reason,) = late("1000.01", role="executive", bill="5000", note="A long story").because
    assert reason.line == "two-above-1000"
    assert "a second, different person must agree: manager or above" in reason.text


def test_an_approval_names_the_rows_used_and_is_short_by_nothing() -> None:
    (reason,) = late("100").because
    assert (reason.line, reason.had, reason.limit, reason.short_by) == ("standard", 10000, 10000, 0)


# --- what would change it ---------------------------------------------------------------------------------------------


def flips(decision: Decision) -> dict[str, str]:
    return dict(decision.flip)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"amount": "100.01"}, {"amount": "$100.00 or less", "severity": "major or critical"}),
        ({"amount": "60", "on_case": {"refund": "60"}}, {"amount": "$40.00 or less", "severity": "major or critical"}),
        ({"amount": "60", "bill": "50"}, {"amount": "$50.00 or less", "bill": "$60.00 or more"}),
        ({"amount": "60", "bill": None}, {"amount": "$0.00, at no cost", "bill": "$60.00 or more"}),
        (
            {"amount": "80", "remedy": "discount", "bill": "100"},
            {"amount": "$50.00 or less", "bill": "$160.00 or more"},
        ),
        ({"amount": "20", "days_since_visit": 61}, {"days_since_visit": "60 or less"}),
        ({"amount": "20", "knows_customer": True}, {"knows_customer": "false"}),
        ({"amount": "20", "evidence": []}, {"evidence": "with receipt"}),
        ({"amount": "20", "customer_is_staff": True}, {"customer_is_staff": "false"}),
        ({"amount": "20", "customer_is_staff": True, "days_since_visit": 61}, {}),
        ({"amount": "100"}, {}),
        (
            {"amount": "50", "basis": "owed", "delay_minutes": 60, "fare": "40"},
            {"amount": "$40.00 or less", "fare": "$50.00 or more"},
        ),
        (
            {"amount": "40", "basis": "owed", "delay_minutes": 59, "fare": "40"},
            {"amount": "$0.00, at no cost", "delay_minutes": "60 or more"},
        ),
    ],
)
def test_a_flip_is_the_exact_edge_in_one_dimension(fields: dict[str, Any], expected: dict[str, str]) -> None:
    assert flips(late(**fields)) == expected


def test_one_cent_beyond_a_flip_is_not_approved() -> None:
    assert late("80", remedy="discount", bill="160").outcome == Outcome.APPROVE
    assert late("80", remedy="discount", bill="159.99").outcome != Outcome.APPROVE
    assert late("20", days_since_visit=60).outcome == Outcome.APPROVE


def test_a_flip_of_a_range_in_the_middle_names_its_nearest_value_without_or_less() -> None:
    text = CLASSIC + "deny: [{id: low, when: {amount: under 20}}, {id: high, when: {amount: over 30}}]\n"
    assert flips(ask(text, amount="50")) == {"amount": "$30.00"}


def test_a_flip_of_the_number_of_guests() -> None:
    text = CLASSIC + "facts: {guests: {number: true}}\nceilings: [{id: each, each: 7.50, per: guests}]\n"
    assert flips(ask(text, amount="30.01", guests=4)) == {"amount": "$30.00 or less", "guests": "5 or more"}


# --- what else --------------------------------------------------------------------------------------------------------


def test_alternatives_are_other_remedies_within_the_requesters_own_authority() -> None:
    decision = late("60", on_case={"refund": "80"})
    assert decision.grantable_now == Money(2000, "USD")
    assert decision.alternatives == tuple(
        Alternative(remedy, Money(2000, "USD"))
        for remedy in ("replacement", "comp_item", "discount", "voucher", "points", "apology")
    )


def test_an_alternative_that_costs_nothing_is_offered_and_a_refund_of_nothing_is_not() -> None:
    rows = "total: [0, 250, 500], refund: [none, 250, 500], apology: [0, 0, 0]"
    text = CLASSIC.replace("total: [100, 250, 500]", rows).replace(
        "authority", "remedies: [refund, voucher, apology]\nauthority"
    )
    assert ask(text, amount="5").alternatives == (Alternative("apology", Money(0, "USD")),)


def test_what_is_beyond_what_is_owed_is_shown_as_goodwill_that_can_be_asked_for() -> None:
    decision = late("50", basis="owed", delay_minutes=60, fare="40")
    assert decision.due == decision.grantable_now == Money(4000, "USD")
    assert Alternative("refund", Money(10000, "USD")) in decision.alternatives


def test_a_policy_that_lists_no_remedies_has_none_to_offer() -> None:
    assert ask(CLASSIC, amount="101").alternatives == ()


# --- what to say ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"amount": "20"}, "We are putting this right now: $20.00 as refund."),
        ({"amount": "20", "remedy": "comp_item"}, "We are putting this right now: $20.00 as comp item."),
        ({"amount": "150"}, "I have asked my lead; you will have an answer within 5 minutes, and need not explain"),
        (
            {"amount": "600", "bill": "900", "note": "so"},
            "I have asked my area manager; you will have",
        ),
        (
            {"amount": "2600", "bill": "9000", "note": "so"},
            "I have asked my executive; you will have an",
        ),
        ({"amount": "5", "days_since_visit": 61}, "here is why: Claims close 60 days after the visit."),
        ({"amount": "60", "bill": "50"}, "here is why: it is more than we can give for this purchase."),
        ({"amount": "250", "role": "executive"}, "I can go on as soon as I have"),
        ({"amount": "50", "basis": "owed", "delay_minutes": 5, "fare": "40"}, "nothing is owed for this"),
    ],
)
def test_the_customer_is_told_in_the_policys_own_words(fields: dict[str, Any], said: str) -> None:
    assert said in late(**fields).tell_customer


def test_every_placeholder_is_filled_in() -> None:
    text = CLASSIC + (
        "escalation:\n  answer_within: {lead: 90 seconds}\n  tell_customer:\n"
        '    approved: "{amount}, {remedy}"\n    escalated: "{role} {within} {amount} {remedy}"\n'
        '    denied: "{say} {role}"\n    incomplete: "first {say}"\n'
        "deny: [{id: no, when: {bill: 7}, say: So it is.}]\nrequires: [{when: {bill: 8}, evidence: photo}]\n"
    )
    assert ask(text, amount="5", remedy="comp_item").tell_customer == "$5.00, comp item"
    assert ask(text, amount="150").tell_customer == "lead 90 seconds $150.00 refund"
    assert ask(text, amount="5", bill="7").tell_customer == "So it is. clerk"
    assert ask(text, amount="5", bill="8").tell_customer == "first photo"


def test_without_sentences_of_its_own_a_policy_has_plain_ones() -> None:
    assert ask(CLASSIC, amount="5").tell_customer == "We are putting this right now: $5.00 as refund."
    assert ask(CLASSIC, amount="0", remedy="apology").tell_customer == "We are putting this right now: apology."
    assert ask(CLASSIC, amount="150").tell_customer == "I have asked my lead; you need not explain it again."
    assert ask(CLASSIC, amount="999").tell_customer == (
        "I cannot do that, and here is why: it is more than we can give for this."
    )


@pytest.mark.parametrize(
    ("amount", "fields", "said"),
    [
        ("20", {}, "Settle it now: give $20.00 as refund."),
        ("0", {"remedy": "apology"}, "Settle it now: give apology."),
        ("150", {}, "Ask the lead, who answers within 5 minutes."),
        ("20", {"knows_customer": True}, "Ask another associate."),
        ("60", {"bill": "50"}, "You may give up to $50.00 of it now."),
        ("5", {"days_since_visit": 61}, "This cannot be given."),
        ("20", {"category": "billing"}, "Ask for a reason code; then it can be decided."),
        (
            "1500",
            {"role": "executive", "bill": "5000", "note": "so"},
            "a second person must agree: manager or above.",
        ),
    ],
)
def test_the_employee_is_told_what_to_do_now(amount: str, fields: dict[str, Any], said: str) -> None:
    assert said in late(amount, **fields).tell_employee


# --- over many requests -----------------------------------------------------------------------------------------------

POLICIES = {name: load_policy(name) for name in shipped_policies()} | {"lakeside": LAKESIDE}


def decisions(name: str, count: int) -> Iterator[tuple[Policy, RecoveryRequest, Usage, Decision]]:
    """Random requests near the limits of a policy, with the same seed every time."""
    policy, random = POLICIES[name], Random(name)
    text = (FILE if name == "lakeside" else shipped_policies()[name]).read_text(encoding="utf-8")
    writer = RequestWriter(text, policy)
    made = 0
    while made < count:
        request, usage = writer.request(random)
        try:
            yield policy, request, usage, decide(policy, request, usage)
        except InvalidRequest:
            continue
        made += 1


def amounts_in(text: str) -> set[str]:
    return set(re.findall(r"\d[\d,]*(?:\.\d+)?", text))


@pytest.mark.parametrize("name", POLICIES)
def test_the_customer_is_never_shown_a_limit(name: str) -> None:
    for policy, request, _, decision in decisions(name, 120):
        spoken = [line.say or "" for line in policy.lines()]
        sentence = decision.tell_customer
        assert not re.search(r"[{}]", sentence)
        for line in spoken:
            sentence = sentence.replace(line, "") if line else sentence
        sentence = re.sub(r"\d+ (second|minute|hour|day)s?", "", sentence)
        assert amounts_in(sentence) <= amounts_in(str(request.amount)), sentence


@pytest.mark.parametrize("name", POLICIES)
def test_it_is_never_a_bare_no(name: str) -> None:
    seen = set()
    for policy, _, _, decision in decisions(name, 120):
        seen.add(decision.outcome)
        if decision.outcome == Outcome.APPROVE:
            continue
        assert decision.because
        for reason in decision.because:
            assert reason.text
            assert re.fullmatch(r".+\.yaml:[1-9]\d*", reason.where)
        if decision.outcome == Outcome.ESCALATE:
            assert decision.to in policy.ladder
            assert decision.to is not None
            assert decision.to.replace("_", " ") in decision.tell_employee
        elif decision.outcome == Outcome.INCOMPLETE:
            assert decision.needs
            assert all(item.replace("_", " ") in decision.tell_employee for item in decision.needs)
        else:
            says = decision.tell_customer.partition("why: ")[2] or decision.tell_customer
            assert len(says) > 10
            assert "None" not in says
            worth = [other for other in decision.alternatives if other.up_to is None or other.up_to.minor]
            assert decision.tell_employee != "This cannot be given." or not worth
    assert len(seen) >= 3


@pytest.mark.parametrize("name", POLICIES)
def test_a_decision_is_ready_for_json_and_the_same_each_time(name: str) -> None:
    for policy, request, usage, decision in decisions(name, 40):
        shown = decision.as_dict()
        text = json.dumps(shown, allow_nan=False)
        assert json.loads(text) == shown
        assert json.dumps(decide(policy, request, usage).as_dict()) == text
        assert list(shown)[:4] == ["outcome", "to", "second", "needs"]


def test_amounts_in_json_are_decimal_text_and_unlimited_is_a_word() -> None:
    shown = late("100.01").as_dict()
    assert shown["amount"] == "100.01"
    assert shown["currency"] == "USD"
    assert shown["grantable_now"] == "100.00"
    assert shown["because"][0]["short_by"] == "0.01"  # type: ignore[index]
    assert shown["rungs"][1] == {"role": "lead", "may": True, "stopped_by": []}  # type: ignore[index]
    assert shown["policy"] == {"name": "lakeside-service-recovery", "version": "2026.12", "digest": LAKESIDE.digest}
    assert shown["flip"][0] == Flip("amount", "$100.00 or less")._asdict()  # type: ignore[index]
    top = ask(CLASSIC.replace("500]", "unlimited]"), role="manager", amount="9")
    assert top.as_dict()["grantable_now"] == "unlimited"
