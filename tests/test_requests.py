"""A request that cannot be decided is refused with everything that is wrong with it, and never becomes a decision."""

from dataclasses import fields, replace
from datetime import date, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from recovery_engine import InvalidRequest, Money, RecoveryRequest, Usage, Used, decide, parse_policy, read_request
from recovery_engine.policy.reading import problems_of
from recovery_engine.seats import Compiled
from tests.strategies import Cases, randoms, some_cases
from tests.test_oracle import SCALE

POLICY = parse_policy(
    """
policy: shop
currency: USD
ladder: [associate, lead, manager]
remedies: [refund, voucher]
categories: [delay, quality]
severities: [minor, major]
sites: {company: [S001, S002], franchise: [S101]}
facts:
  customer_is_staff: {flag: true}
  tier: {one_of: [silver, gold]}
  days_since_visit: {number: true}
  fare: {money: true}
  spare: {number: true}
authority:
  - up_to: {total: [10, 50, unlimited]}
budgets:
  - {id: customer-day, per: customer, every: day, amount: 100, times: 3}
deny:
  - {id: staff, when: {customer_is_staff: true}}
  - {id: gold, when: {tier: gold, severity: major, site: S101}}
  - {id: late, when: {days_since_visit: over 60}}
  - {id: dear, when: {fare: over 1000}}
  - {id: voucher-delay, when: {remedy: voucher, category: delay, spare: 1}}
reason_codes: {delay: [D01, D02], quality: [Q01]}
""",
    "shop.yaml",
)


class Thing:
    """Something that belongs nowhere."""

    def __repr__(self) -> str:
        return "a thing"


THING = Thing()
FACTS = {"customer_is_staff": False, "tier": "silver", "days_since_visit": 3, "fare": Money(5000, "USD")}
GOOD = RecoveryRequest(
    role="associate",
    remedy="refund",
    amount=Money(500, "USD"),
    site="S001",
    category="delay",
    severity="minor",
    bill=Money(3000, "USD"),
    reason="D01",
    facts=FACTS,
)


def problems(request: RecoveryRequest, usage: Usage | None = None) -> dict[str, str]:
    """What is wrong with a request, by field: the message and the cure."""
    with pytest.raises(InvalidRequest) as refused:
        decide(POLICY, request, usage or Usage())
    assert all(found.level == "error" and found.code.startswith("RQ") for found in refused.value.diagnostics)
    return {found.where: f"{found.message} ({found.help})" for found in refused.value.diagnostics}


def without(name: str) -> dict[str, Any]:
    return {fact: value for fact, value in FACTS.items() if fact != name}


def test_a_request_in_order_is_decided() -> None:
    assert decide(POLICY, GOOD).outcome == "approve"


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("role", "asociate", "associate"),
        ("remedy", "refnud", "refund"),
        ("category", "dealy", "delay"),
        ("severity", "mino", "minor"),
        ("site", "S0001", "S001"),
        ("basis", "good-will", "goodwill"),
        ("reason", "D1", "D01"),
    ],
)
def test_an_unknown_word_is_answered_with_the_closest_one(name: str, wrong: str, right: str) -> None:
    found = problems(replace(GOOD, **{"reason": None, name: wrong}))
    assert set(found) == {name}
    assert f"did you mean `{right}`?" in found[name]


def test_an_unknown_word_in_a_fact_is_answered_with_the_closest_one() -> None:
    found = problems(replace(GOOD, facts=FACTS | {"tier": "golden"}))
    assert found == {"tier": found["tier"]}
    assert "did you mean `gold`?" in found["tier"]


def test_an_unknown_fact_is_answered_with_the_closest_one() -> None:
    found = problems(replace(GOOD, facts=FACTS | {"days_since_vist": 3}))
    assert set(found) == {"days_since_vist"}
    assert "did you mean `days_since_visit`?" in found["days_since_vist"]


def test_the_name_of_a_group_is_not_a_site() -> None:
    assert set(problems(replace(GOOD, site="company"))) == {"site"}


def test_a_reason_code_of_another_category_is_foreign() -> None:
    assert set(problems(replace(GOOD, reason="Q01"))) == {"reason"}


def test_usage_names_known_remedies_and_budgets() -> None:
    usage = Usage({"refnud": 5}, {"vouchr": 5}, {"customer-dya": Used(1, 1)})
    found = problems(GOOD, usage)
    assert set(found) == {"on_case", "owed_on_case", "used"}
    assert "did you mean `refund`?" in found["on_case"]
    assert "did you mean `voucher`?" in found["owed_on_case"]
    assert "did you mean `customer-day`?" in found["used"]


@pytest.mark.parametrize("name", ["category", "severity", "site"])
def test_a_word_that_a_line_reads_is_required(name: str) -> None:
    assert name in problems(replace(GOOD, **{name: None}, reason=None))


# --- facts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FACTS)
def test_a_fact_that_a_line_reads_is_asked_for(name: str) -> None:
    if name == "tier":  # read only of major failures at a franchise
        request = replace(GOOD, facts=without(name), severity="major", site="S101")
    else:
        request = replace(GOOD, facts=without(name))
    assert set(problems(request)) == {name}


def test_a_fact_is_not_asked_for_where_the_words_of_its_lines_do_not_fit() -> None:
    assert decide(POLICY, replace(GOOD, facts=without("tier"))).outcome == "approve"
    assert "spare" in problems(replace(GOOD, remedy="voucher"))


def test_a_fact_that_the_policy_does_not_ask_for_must_still_be_right() -> None:
    assert set(problems(replace(GOOD, facts=FACTS | {"spare": "one"}))) == {"spare"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("customer_is_staff", value) for value in (0, 1, 0.0, 1.0, "true", "yes", [], {}, THING)],
        *[("tier", value) for value in (1, True, 1.5, ["gold"], {"gold"}, THING, b"gold", "", " gold")],
        *[("days_since_visit", value) for value in (True, False, 3.0, "3", 2**63, -(2**63), [], THING)],
        *[("fare", value) for value in (50, 50.0, "50", True, [], THING, Money(1, "EUR"), Money(-1, "USD"))],
        *[("fare", Money(value, "USD")) for value in (1.0, True, "1", None, 2**63)],
    ],
)
def test_an_ill_typed_fact_is_refused(name: str, value: Any) -> None:
    assert set(problems(replace(GOOD, facts=FACTS | {name: value}))) == {name}


# --- money ------------------------------------------------------------------------------------------------------------

NOT_MONEY = [5, 5.0, True, "5.00", b"5", [], {}, THING, float("nan")]
NOT_MINOR = [5.0, True, "5", None, [], float("inf"), -1, 2**63, 2**53]


@pytest.mark.parametrize("name", ["amount", "bill"])
@pytest.mark.parametrize("value", [*NOT_MONEY, *(Money(minor, "USD") for minor in NOT_MINOR)], ids=repr)
def test_an_amount_that_is_not_one_is_refused(name: str, value: Any) -> None:
    assert set(problems(replace(GOOD, **{name: value}))) == {name}


def test_no_amount_is_refused() -> None:
    assert set(problems(replace(GOOD, amount=None))) == {"amount"}  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["amount", "bill"])
def test_another_currency_is_refused(name: str) -> None:
    found = problems(replace(GOOD, **{name: Money(500, "EUR")}))
    assert set(found) == {name}
    assert "USD" in found[name]


def test_the_largest_amount_that_can_be_exact_is_decided() -> None:
    assert decide(POLICY, replace(GOOD, amount=Money(2**53 - 1, "USD"))).outcome == "deny"


# --- everything, at once ----------------------------------------------------------------------------------------------


def test_every_problem_is_named_at_once() -> None:
    request = replace(
        GOOD,
        role="boss",
        remedy="gift",
        amount=Money(-5, "USD"),
        site="S999",
        category="dely",
        severity="huge",
        bill=Money(5, "EUR"),
        basis="charity",
        reason=5,  # type: ignore[arg-type]
        note=5,  # type: ignore[arg-type]
        facts={"customer_is_staff": 1, "tier": "tin", "days_since_visit": 3.0, "unheard_of": 1},
        occurred_on="2026-11-21",  # type: ignore[arg-type]
    )
    usage = Usage({"gift": 1}, {"refund": -1}, {"none": Used()})
    words = {
        "role",
        "remedy",
        "amount",
        "site",
        "category",
        "severity",
        "bill",
        "basis",
        "reason",
        "note",
        "occurred_on",
    }
    assert set(problems(request, usage)) >= words | {
        *("customer_is_staff", "tier", "days_since_visit", "unheard_of", "on_case", "owed_on_case", "used")
    }


JUNK = [
    None,
    0,
    1,
    -1,
    1.5,
    True,
    "",
    " ",
    "x",
    b"x",
    [],
    ["x"],
    [[]],
    {},
    {"x": 1},
    set(),
    THING,
    2**63,
    float("nan"),
]
TEXT_FIELDS = ("role", "remedy", "basis", "site", "category", "severity", "reason", "note", "occurred_on")


@pytest.mark.parametrize("name", [*TEXT_FIELDS, "facts", "amount", "bill"])
@pytest.mark.parametrize("value", JUNK, ids=repr)
def test_junk_in_a_field_is_refused_by_its_name_or_is_harmless(name: str, value: Any) -> None:
    try:
        decision = decide(POLICY, replace(GOOD, **{name: value}))
    except InvalidRequest as refused:
        named = {found.where for found in refused.diagnostics}
        assert name in named or (name == "facts" and named <= {"x", *FACTS})
    else:
        blank = value is None and name in ("site", "bill", "note", "reason", "occurred_on")
        assert blank or (name == "note" and isinstance(value, str)) or decision.outcome != "approve"


@pytest.mark.parametrize("value", [None, 5, [[]], [5], [None], {"receipt": 1}, THING, "receipt", b"receipt"], ids=repr)
def test_junk_as_evidence_is_refused_or_is_a_set_of_words(value: Any) -> None:
    try:
        decide(POLICY, replace(GOOD, evidence=value))
    except InvalidRequest as refused:
        wrong = {found.where for found in refused.diagnostics}
    else:
        wrong = set()
    evidence = value if isinstance(value, list | dict) else [value]
    assert wrong == (set() if all(isinstance(item, str) for item in evidence) else {"evidence"})


@pytest.mark.parametrize("name", ["on_case", "owed_on_case", "used"])
@pytest.mark.parametrize(
    "value", [None, 5, [], "x", THING, {"refund": None}, {"refund": 1.0}, {"refund": True}, {5: 5}]
)
def test_junk_as_usage_is_refused(name: str, value: Any) -> None:
    assert set(problems(GOOD, replace(Usage(), **{name: value}))) == {name}


@pytest.mark.parametrize(
    "value", [None, 5, (1, 2), [1, 2], {"amount": 1}, Used(1.0, 1), Used(1, True), Used(-1, 0), Used(0, -1)]
)
def test_junk_in_a_budget_is_refused(value: Any) -> None:
    assert set(problems(GOOD, Usage(used={"customer-day": value}))) == {"used"}


def test_an_instant_is_not_a_day() -> None:
    assert set(problems(replace(GOOD, occurred_on=datetime(2026, 11, 21)))) == {"occurred_on"}
    assert decide(POLICY, replace(GOOD, occurred_on=date(2026, 11, 21))).outcome == "approve"


# --- the fast path and the slow path never disagree -------------------------------------------------------------------


def junk(random: Random, cases: Cases) -> Any:
    words = [*cases.policy.ladder, "refund", "delay", "minor", "S1", "goodwill", "owed", "true", "silver", "B1"]
    money = Money(
        random.choice([0, 1, -1, 1.0, True, "1", 2**63, None]), random.choice([cases.policy.currency, "XAF", 5])
    )
    hashable = [item for item in JUNK if not isinstance(item, list | dict | set)]
    return random.choice([*JUNK, *words, money, money, {random.choice(hashable): random.choice(JUNK)}, Used(1, True)])


@settings(max_examples=60 * SCALE, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(some_cases(20), randoms)
def test_a_request_is_decided_if_and_only_if_nothing_is_wrong_with_it(cases: Cases, random: Random) -> None:
    warm = Compiled(cases.policy)
    apart = ("facts", "evidence", "own_limit")  # an own limit is looked at before: it needs another policy
    names = [field.name for field in fields(RecoveryRequest) if field.name not in apart]
    for request, usage in cases.requests:
        warm.decide(request, usage)
        for _ in range(random.randint(1, 2)):
            where = random.choice([*names, *(["facts"] * 4), "usage"])
            if where == "facts":
                name = random.choice([*cases.policy.facts, "unheard_of", ""])
                request = replace(request, facts={**request.facts, name: junk(random, cases)})
            elif where == "usage":
                part = random.choice(["on_case", "owed_on_case", "used"])
                book = {random.choice(["refund", "budgets-1", 5]): junk(random, cases)}
                usage = replace(usage, **{part: random.choice([book, junk(random, cases)])})
            else:
                request = replace(request, **{where: junk(random, cases)})
        outcomes = [outcome_of(engine, request, usage) for engine in (warm, Compiled(cases.policy))]
        assert outcomes[0] == outcomes[1] != frozenset()
        wrong = {found.where for found in problems_of(cases.policy, request, usage)}
        if outcomes[0] is None:
            assert not wrong, f"decided in spite of {wrong}: {request} {usage}"
        else:
            assert wrong <= outcomes[0]


def outcome_of(engine: Compiled, request: RecoveryRequest, usage: Usage) -> frozenset[str] | None:
    """The fields that are wrong, or None where the request was decided."""
    try:
        engine.decide(request, usage)
    except InvalidRequest as refused:
        return frozenset(found.where for found in refused.diagnostics)
    return None


# --- requests from text -----------------------------------------------------------------------------------------------

GIVEN = {
    "role": "associate",
    "remedy": "refund",
    "amount": "5",
    "site": "S001",
    "category": "delay",
    "severity": "minor",
    "reason": "D01",
    "customer_is_staff": "false",
    "days_since_visit": "3",
    "fare": "50",
}


def refused(**changes: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as invalid:
        read_request(POLICY, {**GIVEN, **changes})
    return {found.where: f"{found.message} ({found.help})" for found in invalid.value.diagnostics}


def test_a_request_in_text_is_read() -> None:
    request, usage = read_request(POLICY, {**GIVEN, "bill": "$1,000.00", "on_case": {"refund": "1.50"}})
    assert (request.amount, request.bill) == (Money(500, "USD"), Money(100_000, "USD"))
    assert (request.facts["customer_is_staff"], request.facts["days_since_visit"]) == (False, 3)
    assert usage.on_case == {"refund": 150}
    assert decide(POLICY, request, usage).outcome == "approve"


NOT_AMOUNTS = ["1e3", "100.005", "NaN", "inf", ".inf", "1_00", "-5", "1.000,00", "yes", "0x10", "5 EUR", "€5", "1,00"]
NOT_AMOUNTS += ["5.", ".5", "+5", "5,0", "1 000", "00", "05", "9" * 40, "five", "5\n", "\u00a05", "½", "5%"]
ARABIC_FIVE, DEVANAGARI_FIVE = "\u0665", "\u096b"


@pytest.mark.parametrize("text", [*NOT_AMOUNTS, ARABIC_FIVE, DEVANAGARI_FIVE])
@pytest.mark.parametrize("name", ["amount", "bill", "fare"])
def test_a_text_that_is_not_exactly_an_amount_is_refused(name: str, text: str) -> None:
    found = refused(**{name: text})
    assert set(found) == {name}
    assert not found[name].endswith("()"), "every refusal names a cure"


@pytest.mark.parametrize("value", [1.5, float("nan"), True, [], ["5"], {"minor": 5}, THING])
def test_an_amount_is_not_taken_from_anything_else(value: Any) -> None:
    assert set(refused(amount=value)) == {"amount"}


@pytest.mark.parametrize("blank", ["", None])
def test_a_blank_amount_is_an_amount_not_given(blank: Any) -> None:
    assert set(refused(amount=blank)) == {"amount"}
    assert read_request(POLICY, {**GIVEN, "bill": blank})[0].bill is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *[
            ("days_since_visit", text)
            for text in ("3.0", "three", ARABIC_FIVE, "1_0", "1e2", "03", "+3", "9" * 20, "true", " ")
        ],
        *[("customer_is_staff", text) for text in ("yes", "no", "1", "0", "TRUE", "on", "staff", 1, 0)],
        *[("tier", text) for text in ("Gold ", "tin", 5)],
        *[
            ("occurred_on", text)
            for text in ("21.11.2026", "2026-13-01", "2026-1-1", "yesterday", "2026-11-2" + ARABIC_FIVE, 5)
        ],
        *[("currency", text) for text in ("EUR", "usd", 5)],
        *[("on_case", text) for text in ("5", {"gift": 5}, {"refund": 1.5}, {"refund": "-1"}, [])],
        *[("used", text) for text in ({"none": {}}, {"customer-day": 5}, {"customer-day": {"times": "-1"}}, "x")],
        *[("role", text) for text in ("boss", 5, [])],
    ],
)
def test_a_text_of_another_kind_is_refused(name: str, text: Any) -> None:
    assert set(refused(**{name: text})) == {name}


def test_everything_wrong_in_a_text_is_named_at_once() -> None:
    found = refused(role="asociate", amount="1e3", severity="mino", fare="x", days_since_visit="x", unheard_of="1")
    assert set(found) == {"role", "amount", "severity", "fare", "days_since_visit", "unheard_of"}
    assert "write `1000`" in found["amount"]


@pytest.mark.parametrize("name", ["role", "remedy", "amount"])
def test_what_every_request_needs_is_asked_for(name: str) -> None:
    with pytest.raises(InvalidRequest) as invalid:
        read_request(POLICY, {field: value for field, value in GIVEN.items() if field != name})
    assert [found.where for found in invalid.value.diagnostics] == [name]


@settings(max_examples=300 * SCALE, deadline=None, derandomize=True, database=None)
@given(
    st.dictionaries(st.sampled_from([*GIVEN, "used", "on_case", "evidence", "note", "facts"]), st.sampled_from(JUNK))
)
def test_reading_junk_is_an_invalid_request_or_a_request(junk: dict[str, Any]) -> None:
    try:
        decision = decide(POLICY, *read_request(POLICY, {**GIVEN, **junk}))
    except InvalidRequest as invalid:
        wrong = invalid.diagnostics
    else:
        wrong = (decision,)
    assert wrong, "refused with a reason, or decided"
