"""The policy language, sentence by sentence: budgets, who decides, and what is owed (rules 4, 5, 7)."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from recovery_engine import InvalidRequest, PolicyError, decide, parse_policy, read_request
from tests.asking import CLASSIC, HEAD, answer, ask, says, up_to


def also(*lines: str) -> str:
    """The classic policy with more lines."""
    return CLASSIC + "\n".join(lines) + "\n"


def budget(line: str, *more: str) -> str:
    return also(f"budgets: [{{id: purse, {line}}}]", *more)


# --- 4. budgets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per", ["employee", "customer", "site", "organisation"])
@pytest.mark.parametrize(("amount", "fits"), [("19.99", True), ("20", True), ("20.01", False)])
def test_4_a_budget_holds_what_the_period_has_plus_this_grant(per: str, amount: str, fits: bool) -> None:
    text = budget(f"per: {per}, every: month, amount: 300")
    assert (says(text, amount=amount, used={"purse": {"amount": "280"}}) == "approve") is fits


@pytest.mark.parametrize("every", ["day", "week", "month", "year", "90 days", "1 day"])
def test_4_every_is_a_day_week_month_year_or_n_days(every: str) -> None:
    text = budget(f"per: site, every: {every}, amount: 5")
    assert says(text, amount="5") == "approve"
    assert says(text, amount="5.01") == "deny because purse"


@pytest.mark.parametrize(
    ("used", "on_case", "said"),
    [
        ({"times": 2}, {}, "approve"),
        ({"times": 3}, {}, "deny because purse"),
        ({"times": 3}, {"voucher": "5"}, "approve"),  # this case is one of the three
        ({"times": 4}, {"voucher": "5"}, "deny because purse"),
        ({"times": 3}, {"voucher": "0"}, "approve"),  # granted and voided: counted already
    ],
)
def test_4_times_counts_a_case_once_and_a_void_does_not_undo_it(
    used: dict[str, int], on_case: dict[str, str], said: str
) -> None:
    text = budget("per: customer, every: 90 days, times: 3")
    assert says(text, amount="1", on_case=on_case, used={"purse": used}) == said


def test_4_a_case_that_had_only_owed_money_is_not_counted_yet() -> None:
    text = budget("per: customer, every: 90 days, times: 3", "owed: [{remedy: refund, amount: 50}]")
    assert says(text, amount="1", owed_on_case={"refund": "5"}, used={"purse": {"times": 3}}) == "deny because purse"


def test_4_a_budget_with_times_names_no_remedies_and_one_by_amount_may() -> None:
    with pytest.raises(PolicyError, match="may name no remedies"):
        parse_policy(budget("per: customer, every: day, times: 3, when: {remedy: refund}"))
    text = budget("per: customer, every: day, amount: 5, when: {remedy: [refund, voucher]}")
    assert says(text, amount="6") == "deny because purse"
    assert says(text, amount="6", remedy="points") == "approve"


def test_4_an_employees_budget_stops_only_the_requesters_own_rung() -> None:
    text = budget("per: employee, every: day, amount: 50")
    spent = {"purse": {"amount": "45"}}
    assert says(text, amount="5", used=spent) == "approve"
    assert says(text, amount="5.01", used=spent) == "lead because purse"
    assert [rung.may for rung in ask(text, amount="5.01", used=spent).rungs] == [False, True, True]
    assert up_to(text, amount="9", used=spent) == "5.00"


def test_4_at_the_top_another_person_of_the_top_is_asked() -> None:
    text = budget("per: employee, every: day, amount: 50")
    spent = {"purse": {"amount": "45"}}
    assert says(text, role="manager", amount="5.01", used=spent) == "manager because purse"
    assert says(text, role="manager", amount="500.01", used=spent) == "deny because standard"


def test_4_a_budget_that_is_not_an_employees_stops_every_rung_it_binds() -> None:
    spent = {"purse": {"amount": "45"}}
    text = budget("per: site, every: day, amount: 50, binds_below: manager")
    assert says(text, amount="5.01", used=spent) == "manager because purse"
    assert says(budget("per: site, every: day, amount: 50"), amount="5.01", used=spent) == "deny because purse"


def test_4_an_employees_budget_binds_below_a_role_only() -> None:
    text = budget("per: employee, every: day, amount: 50, binds_below: lead")
    spent = {"purse": {"amount": "50"}}
    assert says(text, amount="1", used=spent) == "lead because purse"
    assert says(text, role="lead", amount="1", used=spent) == "approve"


def test_4_an_amount_and_times_in_one_budget_both_bind() -> None:
    text = budget("per: customer, every: 90 days, amount: 50, times: 2")
    assert says(text, amount="10", used={"purse": {"amount": "40", "times": 1}}) == "approve"
    assert says(text, amount="10.01", used={"purse": {"amount": "40", "times": 1}}) == "deny because purse"
    assert says(text, amount="1", used={"purse": {"amount": "4", "times": 2}}) == "deny because purse"


def test_4_owed_money_uses_up_no_budget() -> None:
    text = budget("per: site, every: day, amount: 5, times: 0", "owed: [{id: due, remedy: refund, amount: 50}]")
    assert says(text, amount="50", basis="owed", used={"purse": {"amount": "5", "times": 9}}) == "approve"


# --- 5. who decides ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("100", "approve"),
        ("100.01", "lead because standard"),
        ("250", "lead because standard"),
        ("250.01", "manager because standard"),
        ("500", "manager because standard"),
        ("500.01", "deny because standard"),
    ],
)
def test_5_it_goes_to_the_lowest_role_that_may_or_to_nobody(amount: str, said: str) -> None:
    assert says(CLASSIC, amount=amount) == said


def test_5_a_deny_line_wins_over_everything_and_all_that_fit_are_named() -> None:
    text = also(
        "deny: [{id: one, when: {bill: over 5}}, {id: two, when: {bill: over 6}}, {id: three, when: {bill: 1}}]",
        "requires: [{evidence: photo}]",
        "someone_else: [{when: {bill: over 5}}]",
    )
    for role in ("clerk", "manager"):
        assert says(text, role=role, amount="999", bill="7") == "deny because one two"


def test_5_without_proof_that_nobody_may_waive_it_is_incomplete_not_denied() -> None:
    text = also("requires: [{id: receipt, evidence: receipt}, {id: story, when: {amount: over 50}, note: true}]")
    assert says(text, amount="50") == "incomplete without receipt"
    assert says(text, amount="50.01") == "incomplete without note receipt"
    assert set(ask(text, amount="50.01").lines) == {"receipt", "story"}
    assert says(text, amount="50.01", evidence="receipt", note="A long story") == "approve"
    assert says(text, amount="50.01", evidence="receipt", note="  ") == "incomplete without note"


def test_5_what_proof_could_not_help_is_denied() -> None:
    text = also("requires: [{id: receipt, evidence: receipt}]")
    assert says(text, amount="500.01") == "deny because receipt standard"
    assert ask(text, amount="500.01").needs == ()


def test_5_proof_that_a_higher_role_may_waive_goes_up_and_is_named() -> None:
    text = also("requires: [{id: receipt, evidence: receipt, waivable_by: lead}]")
    decision = ask(text, amount="50")
    assert answer(decision) == "lead because receipt"
    assert decision.needs == ("receipt",)
    assert says(text, role="lead", amount="50") == "approve"
    assert says(text, amount="50", evidence="receipt") == "approve"


def test_5_needs_names_the_proof_for_the_best_outcome_that_proof_alone_can_reach() -> None:
    text = also(
        "requires:",
        "  - {id: receipt, evidence: receipt, waivable_by: lead}",
        "  - {id: photo, evidence: photo}",
    )
    assert ask(text, amount="300").needs == ("photo",)  # the manager, who may do without a receipt
    assert ask(text, amount="50").needs == ("receipt", "photo")  # the clerk, who may not
    assert ask(text, amount="50", evidence=["receipt", "photo"]).needs == ()
    assert says(text, amount="300", evidence="photo") == "manager because receipt standard"


@pytest.mark.parametrize(
    ("role", "amount", "said"),
    [
        ("clerk", "100", "clerk because own"),
        ("clerk", "100.01", "lead because own standard"),
        ("lead", "250", "lead because own"),
        ("manager", "500", "manager because own"),
        ("manager", "500.01", "deny because standard"),
    ],
)
def test_5_where_someone_else_fits_another_person_of_the_same_role_may(role: str, amount: str, said: str) -> None:
    text = also("someone_else: [{id: own, when: {bill: over 5}}]")
    assert says(text, role=role, amount=amount, bill="6") == said
    assert says(text, role=role, amount="1", bill="5") == "approve"


@pytest.mark.parametrize(
    ("second", "role", "amount", "said"),
    [
        ("manager", "clerk", "50", "approve"),
        ("manager", "clerk", "50.01", "manager and manager because two"),  # the clerk's agreement is on file
        ("manager", "lead", "250", "manager and manager because two"),
        ("clerk", "lead", "250", "clerk and clerk because two"),  # even where that is below
        ("next_role", "clerk", "51", "lead and lead because two"),
        ("next_role", "lead", "51", "manager and manager because two"),
        ("next_role", "manager", "51", "manager and manager because two"),  # another person of the top
        ("lead", "clerk", "101", "lead and lead because standard"),  # the lead is the first of the two
        ("next_role", "clerk", "101", "lead and manager because standard"),
        ("next_role", "clerk", "251", "manager and manager because standard"),
        ("lead", "manager", "501", "deny because standard"),
    ],
)
def test_5_four_eyes_ask_a_second_person(second: str, role: str, amount: str, said: str) -> None:
    text = also(f"four_eyes: [{{id: two, when: {{amount: over 50}}, second: {second}}}]")
    assert says(text, role=role, amount=amount) == said


def test_5_the_highest_second_of_the_fitting_lines_is_asked_and_all_of_them_named() -> None:
    text = also(
        "four_eyes:",
        "  - {id: two, when: {amount: over 20}, second: lead}",
        "  - {id: three, when: {amount: over 50}, second: manager}",
    )
    assert says(text, amount="50") == "lead and lead because two"
    assert says(text, amount="50.01") == "manager and manager because three two"


def test_5_the_second_person_needs_the_role_not_the_limit() -> None:
    text = also("four_eyes: [{id: two, second: clerk}]")
    assert says(text, role="manager", amount="500") == "clerk and clerk because two"


def test_5_someone_else_and_four_eyes_together_ask_two_others() -> None:
    text = also("someone_else: [{id: own}]", "four_eyes: [{id: two, second: lead}]")
    assert says(text, amount="50") == "clerk and lead because own two"
    assert says(text, amount="101") == "lead and lead because own standard"


def test_5_escalation_names_every_line_that_stops_the_requester_together() -> None:
    text = also(
        "ceilings: [{id: half, percent: 50, of: bill, binds_below: manager}]",
        "requires: [{id: receipt, evidence: receipt, waivable_by: lead}]",
    )
    assert says(text, amount="101", bill="10") == "manager because half receipt standard"
    assert says(text, amount="101", bill="1000", evidence="receipt") == "lead because standard"


def test_5_where_even_the_top_may_not_it_is_denied_for_the_lines_that_stop_the_top() -> None:
    text = also(
        "ceilings: [{id: hard, amount: 400}, {id: soft, amount: 50, binds_below: manager}]",
        "budgets: [{id: purse, per: employee, every: day, amount: 1}]",
    )
    assert says(text, amount="400.01") == "deny because hard"
    assert says(text, amount="500.01") == "deny because hard standard"


def test_5_every_rung_says_whether_it_may_and_what_stops_it() -> None:
    text = also("ceilings: [{id: soft, amount: 50, binds_below: manager}]")
    rungs = ask(text, amount="200").rungs
    assert [(rung.role, rung.may, rung.stopped_by) for rung in rungs] == [
        ("clerk", False, ("standard", "soft")),
        ("lead", False, ("soft",)),
        ("manager", True, ()),
    ]


CODES = (
    HEAD
    + """
categories: [billing, delay]
authority: [{id: standard, up_to: {total: [100, 250, 500]}}]
reason_codes: {billing: [B01, B02]}
"""
)


def test_5_a_missing_reason_code_is_missing_proof_that_nobody_may_waive() -> None:
    for role in ("clerk", "manager"):
        decision = ask(CODES, role=role, amount="50", category="billing")
        assert (answer(decision), decision.lines) == ("incomplete without reason", ("reason_codes",))
    assert says(CODES, amount="50", category="billing", reason="B02") == "approve"
    assert says(CODES, amount="50", category="delay") == "approve"


# --- 7. owed ----------------------------------------------------------------------------------------------------------

OWED = (
    HEAD
    + """
remedies: [refund, voucher]
facts: {minutes: {number: true}, family: {flag: true, default: false}}
authority: [{id: standard, up_to: {total: [10, 20, 30]}}]
owed:
  - {id: late-60, when: {minutes: at least 60}, remedy: refund, amount: 50}
  - {id: late-120, when: {minutes: at least 120}, remedy: refund, amount: 100}
  - {id: drinks, when: {minutes: at least 120}, remedy: voucher, amount: 15, on_top: true}
"""
)


def owed(amount: str, minutes: int = 120, policy: str = OWED, **fields: object) -> str:
    return says(policy, basis="owed", amount=amount, minutes=minutes, **fields)


@pytest.mark.parametrize(
    ("minutes", "amount", "said"),
    [
        (59, "0.01", "deny because nothing-owed"),
        (60, "50", "approve"),
        (60, "50.01", "deny because late-60"),
        (119, "50.01", "deny because late-60"),
        (120, "100", "approve"),
        (120, "100.01", "deny because late-120"),
    ],
)
def test_7_the_highest_line_that_fits_is_what_is_due_and_anyone_may_settle_it(
    minutes: int, amount: str, said: str
) -> None:
    for role in ("clerk", "manager"):
        assert owed(amount, minutes, role=role) == said


def test_7_an_approval_names_the_line_that_owes_it() -> None:
    assert ask(OWED, basis="owed", amount="60", minutes=120).lines == ("late-120",)


@pytest.mark.parametrize(
    ("remedy", "on_case", "owed_on_case", "due"),
    [
        ("refund", {}, {}, "100.00"),
        ("refund", {"refund": "30"}, {}, "70.00"),
        ("refund", {}, {"refund": "30"}, "70.00"),
        ("refund", {"refund": "30"}, {"refund": "30"}, "40.00"),
        ("refund", {"voucher": "30"}, {}, "100.00"),
        ("refund", {"refund": "130"}, {}, "0.00"),
        ("voucher", {"voucher": "30"}, {}, "15.00"),  # on top of what it had as goodwill
        ("voucher", {"voucher": "30"}, {"voucher": "5"}, "10.00"),
    ],
)
def test_7_due_is_the_amount_less_what_the_case_already_had_of_the_remedy(
    remedy: str, on_case: dict[str, str], owed_on_case: dict[str, str], due: str
) -> None:
    fields = {"basis": "owed", "minutes": 120, "on_case": on_case, "owed_on_case": owed_on_case}
    assert ask(OWED, amount="0", remedy=remedy, **fields).due.decimal == due
    assert says(OWED, amount=due, remedy=remedy, **fields) == "approve"
    one_cent_more = str(Decimal(due) + Decimal("0.01"))
    assert says(OWED, amount=one_cent_more, remedy=remedy, **fields).startswith("deny because")


def test_7_beyond_it_is_denied_with_what_is_due_and_what_can_be_given_now() -> None:
    decision = ask(OWED, basis="owed", amount="130", minutes=120, on_case={"refund": "30"})
    assert answer(decision) == "deny because late-120"
    assert decision.due.decimal == "70.00"
    assert decision.grantable_now.decimal == "70.00"
    assert decision.because[0].short_by == 6000


def test_7_authority_ceilings_budgets_and_four_eyes_do_not_bind_what_is_owed() -> None:
    more = OWED + (
        "ceilings: [{amount: 1}]\nbudgets: [{id: purse, per: site, every: day, amount: 1, times: 0}]\n"
        "four_eyes: [{second: manager}]\n"
    )
    spent = {"purse": {"amount": "50", "times": 7}}
    assert owed("100", policy=more, used=spent, on_case={"voucher": "99"}) == "approve"


def test_7_deny_and_proof_and_someone_else_do() -> None:
    assert owed("1", policy=OWED + "deny: [{id: never}]\n") == "deny because never"
    assert owed("1", policy=OWED + "requires: [{id: proof, evidence: ticket}]\n") == "incomplete without ticket"
    waivable = OWED + "requires: [{id: proof, evidence: ticket, waivable_by: lead}]\n"
    assert owed("1", policy=waivable) == "lead because proof"
    someone = OWED + "someone_else: [{id: own, when: {family: true}}]\n"
    assert owed("1", policy=someone, family=True) == "clerk because own"
    assert owed("101", policy=someone, family=True) == "deny because late-120"


def test_7_without_a_line_for_the_remedy_nothing_is_owed() -> None:
    text = OWED.partition("  - {id: drinks")[0]
    assert says(text, basis="owed", remedy="voucher", amount="1") == "deny because nothing-owed"
    assert says(CLASSIC, basis="owed", amount="1") == "deny because nothing-owed"
    assert says(CLASSIC, basis="owed", amount="0") == "approve"


def test_7_owed_money_may_not_be_asked_beyond_by_splitting() -> None:
    assert owed("60", owed_on_case={"refund": "40"}) == "approve"
    assert owed("60.01", owed_on_case={"refund": "40"}) == "deny because late-120"


NEW = OWED + "effective: {from: 2026-06-01}\n"
OLD = NEW.replace("2026-06-01", "2026-01-01").replace("amount: 100}", "amount: 80}").replace("late-120", "old-120")


def test_7_owed_lines_come_from_the_version_of_the_day_it_occurred() -> None:
    new, old = parse_policy(NEW, "new.yaml"), parse_policy(OLD, "old.yaml")
    fields = {"role": "clerk", "remedy": "refund", "basis": "owed", "minutes": 120}
    request, usage = read_request(new, fields | {"amount": "90", "occurred_on": "2026-05-31"})
    decision = decide(new, request, usage, owed_under=old)
    assert (answer(decision), decision.due.decimal) == ("deny because old-120", "80.00")
    assert decision.because[0].where.startswith("old.yaml:")
    assert answer(decide(new, request, usage, owed_under=new)) == "approve"


def test_7_a_day_that_is_not_one_of_the_policys_days_owes_nothing() -> None:
    assert owed("90", policy=NEW, occurred_on="2026-06-01") == "approve"
    assert owed("90", policy=NEW, occurred_on="2026-05-31") == "deny because nothing-owed"
    until = NEW.replace("06-01}", "06-01, until: 2026-06-30}")
    assert owed("90", policy=until, occurred_on=date(2026, 6, 30)) == "approve"
    assert owed("90", policy=until, occurred_on=date(2026, 7, 1)) == "deny because nothing-owed"
    assert owed("90", occurred_on="1999-01-01") == "approve"  # a policy without days is always in force


def test_7_facts_that_only_the_earlier_version_knows_are_accepted_and_asked_for() -> None:
    old = parse_policy(OLD.replace("minutes", "lateness"))
    new = parse_policy(NEW)
    request, usage = read_request(new, {"role": "clerk", "remedy": "refund", "basis": "owed", "amount": "80"})
    with pytest.raises(InvalidRequest, match="no lateness, and `late-60` reads it"):
        decide(new, request, usage, owed_under=old)
    asked = replace(request, facts={"lateness": 120})
    assert answer(decide(new, asked, usage, owed_under=old)) == "approve"
    with pytest.raises(InvalidRequest, match="unknown fact `lateness`"):
        decide(new, asked, usage)
