"""The policy language, sentence by sentence: wrong input, identity, tests and promises (rules 9, 11, 12)."""

import hashlib
import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from recovery_engine import (
    NO_USAGE,
    InvalidRequest,
    Money,
    Policy,
    PolicyError,
    RecoveryRequest,
    Usage,
    Used,
    decide,
    never_decided,
    parse_policy,
    run_examples,
    shipped_policies,
)
from recovery_engine.policy.schema import canonical
from recovery_engine.policy.source import file_digest
from tests.asking import CLASSIC, HEAD, ask, says

LAKESIDE = (Path(__file__).parent / "policies/lakeside.yaml").read_text(encoding="utf-8")

WORDS = (
    HEAD
    + """
remedies: [refund, voucher]
categories: [delay, billing]
severities: [minor, major]
sites: {company: [S1, S2]}
facts:
  tier: {one_of: [silver, gold]}
  staff: {flag: true}
  days: {number: true}
  fare: {money: true}
  member: {flag: true, default: true}
authority: [{id: standard, up_to: {total: [100, 250, 500]}}]
reason_codes: {billing: [B01, B02]}
"""
)


def problems(policy: str | Policy, request: RecoveryRequest, usage: Usage = NO_USAGE) -> dict[str, str]:
    """What is wrong with a request, by field."""
    with pytest.raises(InvalidRequest) as refused:
        decide(parse_policy(policy) if isinstance(policy, str) else policy, request, usage)
    return {problem.where: f"{problem.message}; {problem.help}" for problem in refused.value.diagnostics}


def asked_for(policy: str, **fields: Any) -> set[str]:
    """What a request (about a delay) must still bring."""
    try:
        ask(policy, **{"amount": "1", "category": "delay"} | fields)
    except InvalidRequest as refused:
        return {problem.where for problem in refused.diagnostics}
    return set()


# --- 9. input errors --------------------------------------------------------------------------------------------------

PLAIN = RecoveryRequest("clerk", "refund", Money(100, "USD"))


def test_9_every_mistake_of_a_request_is_named_at_once_with_the_closest_match() -> None:
    wrong = RecoveryRequest(
        role="clrk",
        remedy="refnd",
        amount=Money(100, "EUR"),
        site="S9",
        category="billing",
        severity="majr",
        bill=Money(-5, "USD"),
        basis="goodwil",
        reason="B03",
        facts={"tier": "gold ", "staff": "yes", "days": 1.5, "fare": 500, "dayz": 3},
        occurred_on="2026-01-01",  # type: ignore[arg-type]
    )
    found = problems(WORDS, wrong)
    assert found["role"] == "unknown role `clrk`; did you mean `clerk`?"
    assert found["remedy"] == "unknown remedy `refnd`; did you mean `refund`?"
    assert found["severity"] == "unknown severity `majr`; did you mean `major`?"
    assert "did you mean `goodwill`?" in found["basis"]
    assert "unknown site `S9`" in found["site"]
    assert "EUR is not the policy's currency" in found["amount"]
    assert "below zero" in found["bill"]
    assert "`B03` is not a reason code for billing; did you mean" in found["reason"]
    assert "unknown fact `dayz`; did you mean `days`?" in found["dayz"]
    assert {"tier", "staff", "days", "fare", "occurred_on"} <= found.keys()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": 100}, "amount"),
        ({"amount": Money(1.0, "USD")}, "amount"),
        ({"amount": Money(True, "USD")}, "amount"),
        ({"amount": Money(-1, "USD")}, "amount"),
        ({"amount": Money(2**53, "USD")}, "amount"),
        ({"amount": Money(1, "JPY")}, "amount"),
        ({"bill": Money(1, "EUR")}, "bill"),
        ({"bill": "100"}, "bill"),
        ({"role": None}, "role"),
        ({"remedy": ["refund"]}, "remedy"),
        ({"remedy": ""}, "remedy"),
        ({"basis": "debt"}, "basis"),
        ({"site": 5}, "site"),
        ({"evidence": {5}}, "evidence"),
        ({"note": 5}, "note"),
        ({"facts": {"unknown": True}}, "unknown"),
        ({"facts": ["days"]}, "facts"),
        ({"occurred_on": 5}, "occurred_on"),
    ],
)
def test_9_what_is_ill_typed_never_becomes_a_decision(change: dict[str, Any], field: str) -> None:
    assert field in problems(CLASSIC, replace(PLAIN, **change))


@pytest.mark.parametrize(
    "usage",
    [
        Usage(on_case={"refund": -1}),
        Usage(on_case={"refund": 1.5}),  # type: ignore[dict-item]
        Usage(on_case={"refund": True}),
        Usage(owed_on_case={"refund": 2**53}),
        Usage(used={"nobody": Used()}),
    ],
)
def test_9_usage_that_cannot_be_is_an_input_error(usage: Usage) -> None:
    assert problems(CLASSIC, PLAIN, usage)


@pytest.mark.parametrize(
    ("name", "value", "good"),
    [
        *[
            ("staff", 1, True),
            ("staff", "true", False),
            ("days", True, 1),
            ("days", "5", 5),
            ("days", 2**53, 2**53 - 1),
        ],
        *[("tier", "bronze", "gold"), ("tier", True, "silver"), ("fare", 5, Money(5, "USD"))],
    ],
)
def test_9_a_fact_is_of_its_kind(name: str, value: Any, good: Any) -> None:
    policy = parse_policy(WORDS)
    request = replace(PLAIN, category="delay")
    assert name in problems(policy, replace(request, facts={name: value}))
    assert decide(policy, replace(request, facts={name: good})).outcome == "approve"


READS = {
    "when: {staff: true}": "staff",
    "unless: {staff: true}": "staff",
    "when: {days: over 5}": "days",
    "when: {tier: gold}": "tier",
    "when: {fare: over 5}": "fare",
}


@pytest.mark.parametrize("condition", READS)
def test_9_a_fact_is_asked_for_where_a_line_reads_it(condition: str) -> None:
    assert asked_for(WORDS) == set()
    assert asked_for(WORDS + f"deny: [{{{condition}}}]\n") == {READS[condition]}


def test_9_a_fact_is_asked_for_where_a_limit_reads_it() -> None:
    assert asked_for(WORDS + "ceilings: [{percent: 50, of: fare}]\n") == {"fare"}
    assert asked_for(WORDS + "ceilings: [{each: 50, per: days}]\n") == {"days"}


@pytest.mark.parametrize(
    ("section", "fits"),
    [
        ("deny: [{when: {staff: true, remedy: voucher}}]", {"remedy": "voucher"}),
        ("deny: [{when: {staff: true, category: delay}}]", {"category": "delay"}),
        ("deny: [{when: {staff: true, severity: major}}]", {"severity": "major"}),
        ("deny: [{when: {staff: true, site: company}}]", {"site": "S2"}),
        ("deny: [{when: {staff: true, basis: owed}}]", {"basis": "owed"}),
        ("owed: [{when: {staff: true}, remedy: voucher, amount: 5}]", {"remedy": "voucher", "basis": "owed"}),
        ("ceilings: [{when: {staff: true, remedy: voucher}, amount: 50}]", {"remedy": "voucher"}),
        ("four_eyes: [{when: {staff: true, remedy: voucher}, second: lead}]", {"remedy": "voucher"}),
        ("deny: [{when: {staff: true}, unless: {severity: minor}}]", {"severity": "major"}),
    ],
)
def test_9_a_fact_is_asked_for_only_where_the_words_of_the_line_fit(section: str, fits: dict[str, str]) -> None:
    otherwise = {"remedy": "refund", "category": "billing", "severity": "minor", "site": "S3"}
    text = WORDS.replace("sites: {company: [S1, S2]}", "sites: {company: [S1, S2], others: [S3]}") + section + "\n"
    assert asked_for(text, **otherwise) == set()
    assert asked_for(text, **otherwise | fits) == {"staff"}


def test_9_a_line_of_the_other_basis_asks_for_nothing() -> None:
    text = (
        WORDS + "ceilings: [{when: {staff: true}, amount: 5}]\nowed: [{when: {days: 5}, remedy: refund, amount: 5}]\n"
    )
    assert asked_for(text) == {"staff"}
    assert asked_for(text, basis="owed") == {"days"}


def test_9_other_facts_do_not_spare_a_fact() -> None:
    """Only words of the request decide whether it is asked for, never another fact or a number."""
    text = WORDS + "deny: [{when: {staff: true, days: over 5, bill: over 5}}]\n"
    assert asked_for(text, days="1") == {"staff"}
    assert asked_for(text, staff=False) == {"days"}


def test_9_a_default_stands_in_for_a_fact_and_can_be_overruled() -> None:
    text = WORDS + "deny: [{id: members, when: {member: true}}]\n"
    assert says(text, amount="1", category="delay") == "deny because members"
    assert says(text, amount="1", category="delay", member=False) == "approve"


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("category", "delay", "when: {category: delay}"),
        ("severity", "minor", "when: {severity: minor}"),
        ("site", "S1", "when: {site: S1}"),
        ("site", "S1", "when: {site: company}"),
        ("severity", "minor", "unless: {severity: minor}"),
    ],
)
def test_9_a_category_severity_or_site_that_the_policy_lists_and_a_line_reads_is_required(
    name: str, value: str, line: str
) -> None:
    bare = WORDS.replace("reason_codes: {billing: [B01, B02]}\n", "")
    assert asked_for(bare, category=None) == set()
    assert asked_for(bare + f"deny: [{{{line}}}]\n", category=None) == {name}
    assert asked_for(bare + f"deny: [{{{line}}}]\n", **{"category": None, name: value}) == set()


def test_9_a_category_that_reason_codes_read_is_required() -> None:
    assert asked_for(WORDS, category=None) == {"category"}


def test_9_a_word_that_no_list_names_may_be_left_out() -> None:
    text = CLASSIC + "deny: [{id: late, when: {category: delay}}]\n"
    assert says(text, amount="1") == "approve"
    assert says(text, amount="1", category="anything at all") == "approve"
    assert says(text, amount="1", category="delay") == "deny because late"


# --- 11. identity -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*shipped_policies(), "lakeside"])
def test_11_the_digest_is_that_of_the_canonical_json(name: str) -> None:
    text = LAKESIDE if name == "lakeside" else shipped_policies()[name].read_text(encoding="utf-8")
    policy = parse_policy(text)
    assert rfc8785.dumps(json.loads(canonical(policy))) == canonical(policy)
    assert hashlib.sha256(canonical(policy)).hexdigest() == policy.digest


def digest(text: str) -> str:
    return parse_policy(text).digest


SAME_MEANING = {
    "comments": re.sub(r"(?m)\s+# .*$", "", LAKESIDE).replace("policy:", "# a comment\npolicy:", 1),
    "blank lines": LAKESIDE.replace("\n\n", "\n\n\n"),
    "line ends": LAKESIDE.replace("\n", "\r\n"),
    "quotes": LAKESIDE.replace("currency: USD", 'currency: "USD"'),
    "blocks for braces": LAKESIDE.replace("effective: {from: 2026-12-01}", "effective:\n  from: 2026-12-01"),
    "order of keys": LAKESIDE.replace("{id: small-gifts,     when: {remedy: points}, amount: 50}", "@").replace(
        "@", "{amount: 50, when: {remedy: points}, id: small-gifts}"
    ),
    "order of words in a condition": LAKESIDE.replace("severity: [major, critical]", "severity: [critical, major]"),
    "a word for a list of one": LAKESIDE.replace("when: {category: [quality, wrong_item], ", "@").replace(
        "@", "when: {category: [wrong_item, quality], "
    ),
    "sites for their group": LAKESIDE.replace("when: {site: franchise}", "when: {site: [S101, S102]}"),
    "another spelling of an amount": LAKESIDE.replace("amount: 6000,", 'amount: "$6,000.00",'),
    "another spelling of a comparison": LAKESIDE.replace("delay_minutes: at least 60}", "delay_minutes: over 59}"),
    "the end of the file without tests": LAKESIDE.partition("# 12. EXAMPLES")[0],
    "no promises": LAKESIDE.partition("# 11. PROMISES")[0] + "tests:" + LAKESIDE.partition("\ntests:")[2],
}


@pytest.mark.parametrize("change", SAME_MEANING)
def test_11_what_decides_nothing_leaves_the_digest_as_it_is(change: str) -> None:
    changed = SAME_MEANING[change]
    assert changed != LAKESIDE
    assert digest(changed) == digest(LAKESIDE)
    assert file_digest(changed) != file_digest(LAKESIDE)


OTHER_MEANING = [
    ("policy: lakeside", "policy: lakside"),
    ('"2026.12"', '"2026.13"'),
    ("from: 2026-12-01", "from: 2026-12-02"),
    ("timezone: America/Chicago", "timezone: America/Denver"),
    ('"04:00"', '"04:01"'),
    ("[associate, lead, manager, area_manager,", "[associate, lead, area_manager, manager,"),
    ("points, fee_waiver", "points, gift, fee_waiver"),
    ("[minor, moderate,", "[minor, middling,"),
    ("[S101, S102]", "[S101, S102, S103]"),
    ("knows_customer:    {flag: true, default: false}", "knows_customer:    {flag: true, default: true}"),
    ("[     100,  250,    500,        2500, unlimited]   # all", "[  100.01,  250,    500,        2500, unlimited]  #"),
    ("severity: [major, critical]", "severity: [major]"),
    ("unless: {category: safety}", "unless: {category: quality}"),
    ("percent: 50, of: bill", "percent: 50.01, of: bill"),
    ("binds_below: area_manager}\n  - {id: small", "binds_below: manager}\n  - {id: small"),
    ("every: 90 days", "every: 91 days"),
    ("times: 3, ", "times: 4, "),
    ("delay_minutes: at least 60}", "delay_minutes: over 60}"),
    ("on_top: true}", "on_top: false}"),
    ("{customer_is_staff: true}, ", "{customer_is_staff: false}, "),
    ("go through HR.", "go through HR"),
    ("evidence: [photo]", "evidence: [picture]"),
    ("note: true}", "note: true, waivable_by: lead}"),
    ("safety: [S01]}", "safety: [S02]}"),
    ("second: manager}", "second: lead}"),
    ("lead: 5 minutes", "lead: 6 minutes"),
    ("on_silence: next_role", "on_silence: decline"),
    ("{id: own-family", "{id: family"),
    ("  - {id: own-family, when: {knows_customer: true}}", "  - {id: own-family}"),
]


DECIDING = LAKESIDE.partition("# 11. PROMISES")[0]


@pytest.mark.parametrize(("old", "new"), OTHER_MEANING)
def test_11_whatever_decides_changes_the_digest(old: str, new: str) -> None:
    assert DECIDING.count(old) == 1
    assert digest(DECIDING.replace(old, new)) != digest(LAKESIDE)


def test_11_the_order_of_the_ladder_and_of_lines_is_part_of_the_meaning() -> None:
    turned = CLASSIC.replace("[clerk, lead, manager]", "[lead, clerk, manager]")
    assert digest(turned) != digest(CLASSIC)
    two = CLASSIC + "  - {id: a, up_to: {total: [1, 2, 3]}}\n  - {id: b, up_to: {total: [4, 5, 6]}}\n"
    assert digest(two) != digest(two.replace("id: a, up_to: {total: [1, 2, 3]}", "id: c, up_to: {total: [1, 2, 3]}"))


# --- 12. tests and promises -------------------------------------------------------------------------------------------


def result(given: str, expect: str, more: str = "") -> list[tuple[str, str, str]]:
    policy = parse_policy(CLASSIC + more + f"tests:\n  - name: one\n    given: {given}\n    expect: {expect}\n")
    (found,) = run_examples(policy)
    assert not found.problems, found.problems
    assert found.passed == (not found.differences)
    assert found.where.endswith(f":{CLASSIC.count(chr(10)) + more.count(chr(10)) + 2}")
    return list(found.differences)


@pytest.mark.parametrize(
    ("given", "expect", "wrong"),
    [
        ("amount: 100", "approve", ()),
        ("amount: 100", "{approve: true, because: [standard], grantable_now: 100}", ()),
        ("amount: 100.01", "approve", ("outcome", "approve", "escalate to lead")),
        ("amount: 100.01", "{escalate_to: lead}", ()),
        ("amount: 100.01", "{escalate_to: manager}", ("outcome", "escalate to manager", "escalate to lead")),
        ("amount: 100.01", "{escalate_to: lead, because: [cap]}", ("because", "cap", "standard")),
        ("amount: 600", "{deny: [standard]}", ("deny", "standard", "cap, standard")),
        ("amount: 600", "{deny: [standard, cap]}", ()),
        ("amount: 600", "{deny: [cap, standard]}", ()),
        ("amount: 90, remedy: voucher", "{incomplete: [photo]}", ()),
        ("amount: 90, remedy: voucher", "{incomplete: [receipt]}", ("incomplete", "receipt", "photo")),
        ("amount: 90, remedy: voucher", "{incomplete: photo, needs: [photo], because: [proof]}", ()),
        ("amount: 5, bill: 900", "{escalate_to: lead, second: lead}", ()),
        ("amount: 5, bill: 900", "{escalate_to: lead, second: manager}", ("second", "manager", "lead")),
        ("amount: 5, on_case: {refund: 60}", "{approve: true, grantable_now: 40}", ()),
        (
            "amount: 5, on_case: {refund: 60}",
            "{approve: true, grantable_now: 41}",
            ("grantable_now", "$41.00", "$40.00"),
        ),
        ("amount: 5, owed_on_case: {refund: 590}", "{deny: [cap]}", ()),
        ("amount: 5, used: {purse: {amount: 636, times: 1}}", "{deny: [purse]}", ()),
        ("amount: 5, used: {purse: {times: 1}}", "approve", ()),
        ("amount: 5, used: {purse: {times: 2}}", "{deny: [purse]}", ()),
        ("amount: 5, used: {purse: {times: 2}}, on_case: {refund: 0}", "approve", ()),
    ],
)
def test_12_a_test_compares_what_it_names_and_sets_as_wholes(given: str, expect: str, wrong: tuple[str, ...]) -> None:
    more = (
        (
            "ceilings: [{id: cap, amount: 590}]\n"
            "budgets: [{id: purse, per: customer, every: day, amount: 60, times: 2, binds_below: lead}]\n"
            "requires: [{id: proof, when: {remedy: voucher}, evidence: photo}]\n"
            "four_eyes: [{id: two, when: {bill: over 500}, second: lead}]\n"
        )
        .replace(", binds_below: lead", "")
        .replace("amount: 60,", "amount: 600,")
    )
    more = more.replace("amount: 600, times", "amount: 64, times") if "amount: 60," in given else more
    given = given if "remedy" in given else f"{given}, remedy: refund"
    assert result(f"{{role: clerk, {given}}}", expect, more) == ([wrong] if wrong else [])


def test_12_a_test_whose_request_is_wrong_says_so_and_does_not_pass() -> None:
    policy = parse_policy(
        WORDS + "deny: [{when: {staff: true}}]\ntests: [{name: a, given: {role: clerk}, expect: approve}]\n"
    )
    (found,) = run_examples(policy)
    assert not found.passed
    assert {problem.where for problem in found.problems} >= {"amount", "remedy"}


def test_12_lines_that_no_test_showed_deciding_are_named_in_the_order_of_the_file() -> None:
    policy = parse_policy(LAKESIDE)
    silent = never_decided(policy, run_examples(policy))
    assert silent[:3] == ("major-failure", "franchise", "half-the-bill")
    assert silent[-1] == "reason_codes"
    assert not {"standard", "customer-90d", "never-over-bill"} & set(silent)


def test_12_the_example_of_the_language_passes_its_own_tests() -> None:
    results = run_examples(parse_policy(LAKESIDE))
    assert len(results) == 4
    assert all(found.passed for found in results)


@pytest.mark.parametrize("outcome", ["approve", "deny", "incomplete", "{escalate_to: lead}"])
@pytest.mark.parametrize("word", ["never", "always"])
def test_12_a_promise_says_never_or_always_one_outcome(word: str, outcome: str) -> None:
    line = f"promises: [{{{word}: {outcome}, when: {{role: [clerk, lead], basis: owed, amount: over 5}}}}]\n"
    (promise,) = parse_policy(CLASSIC + line).promises
    assert getattr(promise, word) == outcome.strip("{}").replace(": ", ":")
    assert promise.id == "promises-1"
    assert promise.when.words == {"role": ("clerk", "lead"), "basis": ("owed",)}


@pytest.mark.parametrize(
    "line",
    ["{when: {role: clerk}}", "{never: approve, always: deny}", "{never: escalate}", "{never: {escalate_to: boss}}"],
)
def test_12_a_promise_that_says_nothing_or_two_things_is_a_mistake(line: str) -> None:
    with pytest.raises(PolicyError):
        parse_policy(CLASSIC + f"promises: [{line}]\n")


def test_12_a_day_may_be_given_as_text_or_as_a_day() -> None:
    for day in ("2026-12-01", date(2026, 12, 1)):
        assert ask(CLASSIC, amount="1", occurred_on=day).request.occurred_on == date(2026, 12, 1)
