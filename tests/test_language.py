"""The policy language, sentence by sentence: money, limits, adding up, ratios and conditions (rules 1, 2, 3, 6, 8)."""

import pytest

from recovery_engine import InvalidRequest, PolicyError, parse_policy
from tests.asking import CLASSIC, HEAD, ask, says, up_to

RATES = HEAD + "facts: {fare: {money: true}, guests: {number: true}}\n"


def authority(*lines: str) -> str:
    return HEAD + "authority:\n" + "".join(f"  - {line}\n" for line in lines)


def also(*lines: str) -> str:
    """The classic policy with more lines."""
    return CLASSIC + "\n".join(lines) + "\n"


# --- 1. money ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["100", "100.0", "100.00", "$100", '"100.00"', "100 USD"])
def test_1_money_is_read_from_the_text_into_minor_units(written: str) -> None:
    policy = parse_policy(authority(f"up_to: {{total: [{written}, {written}, {written}]}}"))
    assert policy.authority[0].up_to["total"] == (10000, 10000, 10000)


def test_1_money_of_another_currency_has_its_own_digits() -> None:
    text = CLASSIC.replace("USD", "KWD").replace("250", "250.125")
    assert parse_policy(text).authority[0].up_to["total"] == (100000, 250125, 500000)
    assert parse_policy(CLASSIC.replace("USD", "JPY")).authority[0].up_to["total"] == (100, 250, 500)


@pytest.mark.parametrize("written", ["1e3", "1_000", "100.005", ".inf", "yes", "-5"])
def test_1_what_is_not_an_amount_is_refused_in_a_policy_and_in_a_request(written: str) -> None:
    with pytest.raises(PolicyError, match="RP006"):
        parse_policy(authority(f"up_to: {{total: [{written}, 500, 500]}}"))
    with pytest.raises(InvalidRequest, match="amount"):
        ask(CLASSIC, amount=written)


def test_1_a_float_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="a float is not an amount"):
        ask(CLASSIC, amount=18.5)


# --- 2. limits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "said"),
    [("99.99", "approve"), ("100", "approve"), ("100.01", "lead because standard")],
)
def test_2_a_limit_is_inclusive(amount: str, said: str) -> None:
    assert says(CLASSIC, amount=amount) == said


CELLS = authority("{id: cells, up_to: {total: [none, 0, unlimited]}}")


@pytest.mark.parametrize(
    ("role", "amount", "said"),
    [
        ("clerk", "0", "lead because cells"),
        ("clerk", "0.01", "manager because cells"),
        ("lead", "0", "approve"),
        ("lead", "0.01", "manager because cells"),
        ("manager", "90071992547409.91", "approve"),
    ],
)
def test_2_none_is_not_at_all_0_is_only_at_no_cost_unlimited_is_any_amount(role: str, amount: str, said: str) -> None:
    assert says(CELLS, role=role, amount=amount) == said


SAME = (
    HEAD
    + """
severities: [minor, major]
authority:
  - {id: standard, up_to: {total: [100, 250, 500]}}
  - {id: major, when: {severity: major}, up_to: {total: [150, same, same]}}
  - {id: later, when: {bill: over 900}, up_to: {total: [same, 300, same]}}
"""
)


@pytest.mark.parametrize(
    ("severity", "bill", "clerk", "lead", "manager"),
    [
        ("minor", "100", "100.00", "250.00", "500.00"),
        ("major", "100", "150.00", "250.00", "500.00"),
        ("minor", "901", "100.00", "300.00", "500.00"),
        ("major", "901", "150.00", "300.00", "500.00"),
    ],
)
def test_2_same_is_as_the_row_had_it_before_this_line_role_by_role(
    severity: str, bill: str, clerk: str, lead: str, manager: str
) -> None:
    for role, most in (("clerk", clerk), ("lead", lead), ("manager", manager)):
        assert up_to(SAME, role=role, amount="1", severity=severity, bill=bill) == most


SAME_OF_NONE = authority(
    "{id: standard, up_to: {total: [100, 250, 500]}}",
    "{id: dear, when: {bill: over 900}, up_to: {refund: [same, 20, same]}}",
)


def test_2_same_where_no_earlier_line_has_the_row_leaves_the_total_alone() -> None:
    assert up_to(SAME_OF_NONE, role="clerk", amount="1", bill="901") == "100.00"
    assert up_to(SAME_OF_NONE, role="lead", amount="1", bill="901") == "20.00"
    assert up_to(SAME_OF_NONE, role="manager", amount="1", bill="901") == "500.00"
    with pytest.raises(PolicyError, match="no earlier line has a row `refund` or `total`"):
        parse_policy(authority("up_to: {refund: [same, 20, 30]}"))


def test_2_same_after_a_conditional_line_that_does_not_fit_is_nobodys() -> None:
    text = authority(
        "{id: dear, when: {bill: over 900}, up_to: {total: [1, 2, 3]}}",
        "{id: all, up_to: {total: [same, same, 9]}}",
    )
    assert up_to(text, amount="1", bill="901") == "1.00"
    assert says(text, amount="1", bill="900") == "manager because no-row"


def test_2_a_later_line_that_fits_replaces_an_earlier_one_row_by_row() -> None:
    text = authority(
        "{id: standard, up_to: {total: [100, 250, 500], refund: [50, 100, 500]}}",
        "{id: dear, when: {bill: over 900}, up_to: {refund: [80, 100, 500]}}",
    )
    assert up_to(text, amount="1", bill="900") == "50.00"
    assert up_to(text, amount="1", bill="901") == "80.00"
    assert up_to(text, amount="1", remedy="voucher", bill="901") == "100.00"
    assert says(text, amount="100.01", role="lead", bill="901") == "manager because dear"


def test_2_the_roles_a_mapping_does_not_name_are_as_the_role_below_and_the_lowest_none() -> None:
    text = authority("{id: named, up_to: {total: {lead: 50}}}")
    assert parse_policy(text).authority[0].up_to["total"] == ("none", 5000, 5000)
    assert says(text, amount="0") == "lead because named"
    assert says(text, amount="50", role="manager") == "approve"
    assert says(text, amount="50.01", role="manager") == "deny because named"


def test_2_a_remedy_with_neither_its_own_row_nor_a_total_is_nobodys_to_give() -> None:
    text = authority("{id: refunds, up_to: {refund: [1, 2, 3]}}")
    assert says(text, remedy="voucher", amount="0") == "deny because no-row"
    assert says(text, remedy="voucher", amount="1", role="manager") == "deny because no-row"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("ceilings: [{amount: 0}]", "approve"),
        ("ceilings: [{percent: 0, of: bill}]", "approve"),
        ("budgets: [{per: site, every: day, amount: 0, times: 0}]", "approve"),
        ("four_eyes: [{when: {amount: at least 0}, second: lead}]", "approve"),
        ("deny: [{id: never, when: {amount: 0}}]", "deny because never"),
        ("deny: [{id: never, when: {amount: over 0}}]", "approve"),
        ("requires: [{when: {amount: 0}, evidence: photo}]", "incomplete without photo"),
        ("requires: [{when: {amount: over 0}, evidence: photo}]", "approve"),
        ("someone_else: [{id: own, when: {amount: 0}}]", "clerk because own"),
    ],
)
def test_2_a_grant_of_0_adds_nothing_and_only_some_lines_can_stop_it(more: str, said: str) -> None:
    full = {"on_case": {"refund": "100"}, "used": {"budgets-1": {"amount": "5", "times": 9}} if "bud" in more else {}}
    assert says(also(more), amount="0", **full) == said


# --- 3. adding up -----------------------------------------------------------------------------------------------------

ROWS = authority("{id: standard, up_to: {total: [100, 250, 500], voucher: [25, 100, 250]}}")


@pytest.mark.parametrize(
    ("remedy", "amount", "on_case", "said"),
    [
        ("refund", "40", {"refund": "60"}, "approve"),
        ("refund", "40.01", {"refund": "60"}, "lead because standard"),
        ("refund", "40.01", {"voucher": "60"}, "lead because standard"),
        ("voucher", "5", {"voucher": "20"}, "approve"),
        ("voucher", "5.01", {"voucher": "20"}, "lead because standard"),
        ("voucher", "25", {"refund": "75"}, "approve"),
        ("voucher", "25", {"refund": "75.01"}, "lead because standard"),
    ],
)
def test_3_a_remedy_row_adds_up_its_remedy_and_total_adds_up_all(
    remedy: str, amount: str, on_case: dict[str, str], said: str
) -> None:
    assert says(ROWS, remedy=remedy, amount=amount, on_case=on_case) == said


DENIED = also("deny:", "  - {id: many, when: {remedy: [refund, voucher], amount: over 50}}")


@pytest.mark.parametrize(
    ("remedy", "amount", "on_case", "said"),
    [
        ("refund", "50", {}, "approve"),
        ("refund", "50.01", {}, "deny because many"),
        ("refund", "20", {"voucher": "30"}, "approve"),
        ("refund", "20.01", {"voucher": "30"}, "deny because many"),
        ("refund", "50", {"points": "30"}, "approve"),
        ("points", "60", {"refund": "30"}, "approve"),
    ],
)
def test_3_amount_in_a_when_is_the_sum_over_the_remedies_named(
    remedy: str, amount: str, on_case: dict[str, str], said: str
) -> None:
    assert says(DENIED, remedy=remedy, amount=amount, on_case=on_case) == said


OWED = "owed: [{id: due, remedy: refund, amount: 80, on_top: true}]"


def test_3_ceilings_add_up_goodwill_and_owed_together() -> None:
    text = also("ceilings: [{id: cap, amount: 90}]", OWED)
    assert says(text, amount="60", owed_on_case={"refund": "30"}) == "approve"
    assert says(text, amount="60.01", owed_on_case={"refund": "30"}) == "deny because cap"
    assert says(text, amount="30", on_case={"refund": "30"}, owed_on_case={"refund": "30"}) == "approve"
    assert says(text, amount="30.01", on_case={"refund": "30"}, owed_on_case={"refund": "30"}) == "deny because cap"


def test_3_authority_adds_up_goodwill_only() -> None:
    assert says(also(OWED), amount="100", owed_on_case={"refund": "80"}) == "approve"


def test_3_elsewhere_amount_adds_up_the_requests_own_basis() -> None:
    text = also(OWED, "deny: [{id: large, when: {amount: over 60}}]")
    assert says(text, amount="60", owed_on_case={"refund": "20"}) == "approve"
    assert says(text, amount="40.01", on_case={"refund": "20"}, owed_on_case={"refund": "9"}) == "deny because large"
    assert says(text, amount="40", basis="owed", owed_on_case={"refund": "20"}, on_case={"refund": "9"}) == "approve"
    assert says(text, amount="40.01", basis="owed", owed_on_case={"refund": "20"}) == "deny because large"


# --- 6. ratios --------------------------------------------------------------------------------------------------------


def rates(*lines: str) -> str:
    return RATES + "authority:\n  - {id: standard, up_to: {total: [100, 250, 500]}}\n" + "\n".join(lines)


@pytest.mark.parametrize(
    ("amount", "bill", "said"),
    [
        ("9.99", "80.00", "approve"),
        ("10.00", "80.00", "approve"),
        ("10.01", "80.00", "deny because eighth"),
        ("10.00", "79.99", "deny because eighth"),
        ("0.01", "0.08", "approve"),
        ("0.01", "0.07", "deny because eighth"),
    ],
)
def test_6_a_ceiling_by_percent_holds_in_integers(amount: str, bill: str, said: str) -> None:
    assert says(also("ceilings: [{id: eighth, percent: 12.5, of: bill}]"), amount=amount, bill=bill) == said


@pytest.mark.parametrize(("fare", "due"), [("0.99", "0.50"), ("1.00", "0.50"), ("1.01", "0.51"), ("0.03", "0.02")])
def test_6_what_is_owed_is_rounded_half_up(fare: str, due: str) -> None:
    text = rates("owed: [{id: half, percent: 50, of: fare, remedy: refund}]")
    assert ask(text, basis="owed", amount="0", fare=fare).due.decimal == due


def test_6_each_per_multiplies_and_the_smallest_of_several_counts() -> None:
    text = rates("ceilings: [{id: cap, amount: 70, percent: 50, of: fare, each: 20, per: guests}]")
    assert up_to(text, amount="1", fare="200", guests="4") == "70.00"
    assert up_to(text, amount="1", fare="100", guests="4") == "50.00"
    assert up_to(text, amount="1", fare="200", guests="3") == "60.00"
    assert says(text, amount="60", fare="200", guests="3") == "approve"
    assert says(text, amount="60.01", fare="200", guests="3") == "deny because cap"


def test_6_no_bill_on_file_is_over_the_ceiling_and_nothing_owed() -> None:
    text = also(
        "ceilings: [{id: cap, percent: 100, of: bill}]", "owed: [{id: due, percent: 5, of: bill, remedy: refund}]"
    )
    assert says(text, amount="0.01") == "deny because cap"
    assert ask(text, amount="1", basis="owed").due.minor == 0
    assert ask(text, amount="1", basis="owed", bill="100").due.minor == 500


def test_6_a_missing_fact_is_an_input_error() -> None:
    with pytest.raises(InvalidRequest, match="no fare, and `cap` reads it"):
        ask(rates("ceilings: [{id: cap, percent: 50, of: fare}]"), amount="1")


# --- 8. when ----------------------------------------------------------------------------------------------------------

WORDS = (
    HEAD
    + """
categories: [delay, quality, safety]
severities: [minor, major]
sites: {company: [S1, S2], franchise: [S3]}
facts: {tier: {one_of: [silver, gold]}, staff: {flag: true}, days: {number: true, default: 0}}
authority: [{id: standard, up_to: {total: [100, 250, 500]}}]
"""
)
GIVEN = {"amount": "1", "category": "delay", "severity": "minor", "site": "S1", "tier": "gold", "staff": False}


def denies(condition: str, **fields: object) -> bool:
    """Whether a deny line with this condition fits."""
    said = says(WORDS + f"deny: [{{id: line, {condition}}}]\n", **GIVEN | fields)
    assert said in ("approve", "deny because line")
    return said != "approve"


def test_8_conditions_are_joined_with_and() -> None:
    both = "when: {category: delay, severity: major}"
    assert denies(both, severity="major")
    assert not denies(both)
    assert not denies(both, severity="major", category="quality")


def test_8_a_list_means_any_of_these() -> None:
    assert denies("when: {category: [delay, quality]}")
    assert denies("when: {category: [delay, quality]}", category="quality")
    assert not denies("when: {category: [delay, quality]}", category="safety")
    assert denies("when: {days: [1, over 5]}", days=6)
    assert denies("when: {days: [1, over 5]}", days=1)
    assert not denies("when: {days: [1, over 5]}", days=5)


def test_8_unless_excludes_where_all_its_conditions_hold() -> None:
    line = "when: {category: delay}, unless: {severity: major, tier: gold}"
    assert denies(line)
    assert denies(line, severity="major", tier="silver")
    assert not denies(line, severity="major")
    assert denies("unless: {site: franchise}")
    assert not denies("unless: {site: franchise}", site="S3")


@pytest.mark.parametrize(
    ("compared", "holds", "fails"),
    [
        ("over 5", (6, 99), (-1, 5)),
        ("at least 5", (5, 6), (4, 0)),
        ("under 5", (4, -3), (5, 6)),
        ("at most 5", (5, 0), (6, 99)),
        ("from 3 to 5", (3, 4, 5), (2, 6)),
        ("5", (5,), (4, 6)),
        ("-2", (-2,), (2, -1)),
    ],
)
def test_8_numbers_are_compared_at_both_sides_of_the_edge(
    compared: str, holds: tuple[int, ...], fails: tuple[int, ...]
) -> None:
    assert all(denies(f"when: {{days: {compared}}}", days=days) for days in holds)
    assert not any(denies(f"when: {{days: {compared}}}", days=days) for days in fails)


@pytest.mark.parametrize(
    ("compared", "holds", "fails"),
    [
        ("over 50", "50.01", "50"),
        ("at least 50", "50", "49.99"),
        ("under 50", "49.99", "50"),
        ("at most 50", "50", "50.01"),
        ('"from 40 to $1,050.00"', "1050", "1050.01"),
        ("50", "50", "50.01"),
    ],
)
def test_8_money_is_compared_at_both_sides_of_the_edge(compared: str, holds: str, fails: str) -> None:
    assert denies(f"when: {{bill: {compared}}}", bill=holds)
    assert not denies(f"when: {{bill: {compared}}}", bill=fails)
    assert not denies(f"when: {{bill: {compared}}}")


def test_8_site_takes_a_site_or_a_group() -> None:
    assert denies("when: {site: company}", site="S2")
    assert not denies("when: {site: company}", site="S3")
    assert denies("when: {site: [franchise, S1]}", site="S3")
    assert not denies("when: {site: [franchise, S1]}", site="S2")


def test_8_a_fact_is_tested_like_a_word_of_its_own() -> None:
    assert denies("when: {tier: gold, staff: false}")
    assert not denies("when: {tier: silver}")
    assert not denies("when: {staff: true}")
    assert denies("when: {staff: [true, false]}")


def test_8_basis_may_be_tested_where_both_are_decided() -> None:
    line = "when: {basis: owed}"
    assert not denies(line)
    text = WORDS + f"deny: [{{id: line, {line}}}]\nowed: [{{remedy: refund, amount: 5}}]\n"
    assert says(text, **GIVEN, basis="owed") == "deny because line"


def test_8_all_the_evidence_of_a_line_is_needed() -> None:
    text = also("requires: [{id: proof, evidence: [photo, receipt]}]")
    assert says(text, amount="1") == "incomplete without photo receipt"
    assert says(text, amount="1", evidence=["photo"]) == "incomplete without receipt"
    assert says(text, amount="1", evidence=["photo", "receipt", "more"]) == "approve"


def test_8_a_line_without_an_id_has_one_by_its_place() -> None:
    text = also("deny:", "  - {when: {bill: over 5}}", "  - {id: named, when: {bill: over 6}}", "  - {when: {bill: 9}}")
    assert says(text, amount="1", bill="9") == "deny because deny-1 deny-3 named"
    with pytest.raises(PolicyError, match="the id `deny-1` stands twice"):
        parse_policy(also("deny: [{when: {bill: 5}}, {id: deny-1}]"))
