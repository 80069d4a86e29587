"""Every mistake in a policy is found in one run: where it is, what it is, and what to write instead (rule 13)."""

import re
from pathlib import Path

import pytest

from recovery_engine import Diagnostic, check_policy

POLICIES = Path(__file__).parent / "policies"
LAKESIDE = (POLICIES / "lakeside.yaml").read_text(encoding="utf-8")
FORTY = (POLICIES / "forty-mistakes.yaml").read_text(encoding="utf-8")


def marked(diagnostic: Diagnostic) -> str:
    """The text above the caret."""
    shown, carets = diagnostic.excerpt.split("\n")
    return shown[carets.index("^") : carets.rindex("^") + 1]


def mistakes(text: str) -> list[Diagnostic]:
    """The errors in a text, each checked to point at what it shows and to say what to do."""
    policy, found = check_policy(text, "some.yaml")
    errors = [diagnostic for diagnostic in found if diagnostic.level == "error"]
    assert (policy is None) == bool(errors)
    lines = text.split("\n")
    for error in errors:
        assert error.where == f"some.yaml:{error.line}:{error.column}"
        assert re.fullmatch(r"RP0\d\d", error.code)
        assert error.help, f"no cure: {error}"
        assert not error.message.endswith(".")
        assert lines[error.line - 1][error.column - 1 :].startswith(marked(error).rstrip()), str(error)
    return errors


def changed(old: str, new: str) -> str:
    """The policy of POLICY.md with one thing replaced."""
    assert LAKESIDE.count(old) == 1, old
    return LAKESIDE.replace(old, new)


def the_mistake(old: str, new: str) -> Diagnostic:
    """The only mistake after one thing was replaced; it lies in what was replaced."""
    found = mistakes(changed(old, new))
    assert len(found) == 1, "\n".join(map(str, found))
    first = LAKESIDE[: LAKESIDE.index(old)].count("\n") + 1
    assert first <= found[0].line <= first + new.count("\n"), str(found[0])
    return found[0]


def test_the_example_of_the_language_has_no_mistake() -> None:
    assert mistakes(LAKESIDE) == []


# --- all in one run ---------------------------------------------------------------------------------------------------

IN_FORTY = """
1:9 RP013 forty mistakes
3:19 RP013 2026-13-01
4:11 RP003 USB
5:11 RP013 America/Chicgo
6:13 RP003 nowhere
7:13 RP013 "25:00"
9:1 RP004 colour
11:29 RP008 refund
16:3 RP012 amount
17:3 RP013 Days
18:43 RP003 bronze
19:15 RP007 {
24:17 RP006 1e3
24:22 RP006 1_000
24:29 RP006 100.005
25:17 RP006 .inf
25:23 RP006 yes
25:28 RP006 -5
26:21 RP006
27:9 RP008 standard
28:20 RP007 [
30:38 RP003 led
30:49 RP003 refnd
32:12 RP012 remedy
32:38 RP003 majr
33:21 RP006 unlimitted
35:25 RP006 50.125
35:37 RP003 bil
36:43 RP012 associate
37:5 RP005 {
39:20 RP003 employe
39:36 RP013 fortnight
40:55 RP006 -3
40:82 RP012 category
42:33 RP003 delai
44:30 RP003 platinum
44:53 RP004 no
45:39 RP004 000
46:28 RP006 "> 50"
46:42 RP003 S003
48:32 RP006 from 100 to 50
49:28 RP013 a photo
49:51 RP003 boss
50:16 RP003 billing
52:23 RP003 maneger
54:25 RP013 5 mins
54:33 RP003 boss
55:15 RP003 approve
56:29 RP003 "Here is {ammount}"
56:50 RP004 declined
58:20 RP003 aprove
61:19 RP003 asociate
61:53 RP006 "1_00"
61:71 RP003 late
61:77 RP003 surprise
61:97 RP003 dya
62:27 RP003 leed
62:43 RP003 standart
63:5 RP005 n
"""


def test_forty_mistakes_are_reported_in_one_run() -> None:
    found = [f"{error.line}:{error.column} {error.code} {marked(error)}".rstrip() for error in mistakes(FORTY)]
    assert found == IN_FORTY.strip().split("\n")
    assert len(found) > 40


def test_mistakes_come_in_the_order_of_the_file_and_once_each() -> None:
    found = mistakes(FORTY)
    assert [(error.line, error.column) for error in found] == sorted((error.line, error.column) for error in found)
    assert len(set(found)) == len(found)


# --- one at a time ----------------------------------------------------------------------------------------------------

EFFECTIVE = "effective: {from: 2026-12-01}"
OWNER = "owner: Director of Guest Experience"
STAFF = "customer_is_staff: {flag: true}"
TOTAL = "[     100,  250,    500,        2500, unlimited]   # all"
VOUCHER = "{associate: 25, lead: 100, manager: 250, executive: 5000}"
MAJOR = "when: {severity: [major, critical]}"
OVER_BILL = "percent: 100, of: bill}\n"
GIFTS = "{id: small-gifts,     when: {remedy: points}, amount: 50}"
EMPLOYEE_DAY = "per: employee, every: day,     amount: 300,"
DELAY = "delay_minutes: at least 60}"
STAFF_SAY = "say: Staff purchases go through HR."
APPROVED = '{amount} as {remedy}."'
THIRD = "expect: {escalate_to: manager, because: [customer-90d]}"

# What is replaced, by what, the code, what the caret marks, what the message says and what the cure says.
MISTAKES = [
    # the head
    ("policy: lakeside-service-recovery", "policy:", "RP007", "", "a blank where an id belongs", "write an id"),
    ("policy: lakeside-service-recovery", 'policy: "~x"', "RP013", '"~x"', "`~x` is not an id", "write `x`"),
    ("policy: lakeside-service-recovery", "policy: [a]", "RP007", "[", "a list where an id belongs", "write"),
    ('version: "2026.12"', 'versoin: "2026.12"', "RP004", "versoin", "unknown key", "did you mean `version`?"),
    ('version: "2026.12"', "version: {a: 1}", "RP007", "{", "a mapping where text belongs", "write"),
    (EFFECTIVE, "effective: 2026-12-01", "RP007", "2026-12-01", "a text where a mapping belongs", "key: value"),
    (EFFECTIVE, "effective: {until: 2026-12-31}", "RP005", "{", "`from` is missing", "add `from: ...`"),
    (EFFECTIVE, "effective: {from: 2026-12-01, until: 2026-11-30}", "RP012", "{", "is before `from`", "last day"),
    (EFFECTIVE, "effective: {from: 01/12/2026}", "RP013", "01/12/2026", "is not a day", "year-month-day"),
    (EFFECTIVE, "effective: {from: 2026-02-30}", "RP013", "2026-02-30", "is not a day", "year-month-day"),
    (EFFECTIVE, "effective: {from: 2026-12-01, till: 2026-12-31}", "RP004", "till", "unknown key", "`until`"),
    ("currency: USD", "currency: usd", "RP003", "usd", "unknown currency", "ISO 4217"),
    ("currency: USD", "currency: $", "RP003", "$", "unknown currency", "ISO 4217"),
    ("timezone: America/Chicago", "timezone: America/Chicgo", "RP013", "America/Chicgo", "unknown", "America/Chicago"),
    ("timezone: America/Chicago", "timezone: ../etc/passwd", "RP013", "../etc/passwd", "unknown time zone", "IANA"),
    ("{franchise: America/Denver}", "{S101: America/Denver}", "RP003", "S101", "unknown group of sites", "`franchise`"),
    ("{franchise: America/Denver}", "{franchise: Denver}", "RP013", "Denver", "unknown time zone", "America/Denver"),
    ('day_starts: "04:00"', "day_starts: 4", "RP013", "4", "`4` is not a time of day", '"04:00"'),
    ('day_starts: "04:00"', "day_starts: 24:00", "RP013", "24:00", "is not a time of day", '"04:00"'),
    (OWNER, "owner: [a, b]", "RP007", "[", "a list where text belongs", "write"),
    (OWNER, "owner: Director: Guests", "RP002", ":", "not YAML: mapping values", "a text with a colon needs quotes"),
    (OWNER, 'owner: "a\u200bb"', "RP013", '"a\u200bb"', "an invisible or control character", "delete it"),
    # the words
    ("critical]\nsites", "critical, minor]\nsites", "RP008", "minor", "`minor` stands twice", "delete one"),
    ("[minor, moderate", "[minor, , moderate", "RP007", "", "a blank where a severity belongs", "write a severity"),
    ("[minor, moderate", f"[minor, {'x' * 65}, moderate", "RP013", "x" * 65, "is not a name", "at most 64"),
    ("[S101, S102]", "[S101, company]", "RP008", "company", "names both a group and a site", "rename one"),
    ("[S101, S102]", "[S101, S101, S102]", "RP008", "S101", "`S101` stands twice", "delete one"),
    ("[S101, S102]", "[]", "RP007", "[", "an empty list of sites", "name at least one"),
    ("[S101, S102]", "[S101, S 102]", "RP013", "S 102", "is not an id", "write `S-102`"),
    # facts
    (STAFF, "customer_is_staff: {flag: yes}", "RP006", "yes", "`yes` is not true or false", "write `true`"),
    (STAFF, "customer_is_staff: {flag: false}", "RP007", "false", "`flag: false` says nothing", "write `flag: true`"),
    (STAFF, "customer_is_staff: {flag: true, number: true}", "RP007", "{", "a fact is one of", "{number: true}"),
    (STAFF, "customer_is_staff: {flag: true, defualt: true}", "RP004", "defualt", "unknown key", "`default`"),
    (STAFF, "customer_is_staff: {flag: true, default: no}", "RP006", "no", "is not true or false", "write `false`"),
    (STAFF, "customer_is_staff: {flag: true, default: }", "RP006", "", "is not true or false", "`true` or `false`"),
    (STAFF, f"{STAFF}\n  Days: {{number: true}}", "RP013", "Days", "is not the name of a fact", "a to z"),
    (STAFF, f"{STAFF}\n  bill: {{money: true}}", "RP012", "bill", "`bill` is a built-in word", "call it `the_bill`"),
    (STAFF, f"{STAFF}\n  facts:\n    flag: true", "RP012", "facts", "`facts` is a built-in word", "`the_facts`"),
    ("{number: true, default: 0}", "{number: true, default: 1.5}", "RP006", "1.5", "whole number", "such as `30`"),
    ("fare:              {money: true}", "fare: {money: true, default: 1e3}", "RP006", "1e3", "", "write `1000`"),
    ("gold], default: regular", "gold], default: Regular", "RP003", "Regular", "unknown default", "`regular`"),
    # authority
    (TOTAL, TOTAL.replace("2500", "2,500"), "RP007", "[", "6 cells for a ladder of 5", "put amounts with a comma"),
    (TOTAL, TOTAL.replace(", unlimited", ""), "RP007", "[", "4 cells for a ladder of 5", "the roles are associate"),
    (TOTAL, TOTAL.replace("2500", ""), "RP006", "", "a blank cell", "`0`, `none`, `unlimited` or `same`"),
    (TOTAL, TOTAL.replace("2500", "~"), "RP006", "~", "a blank cell", "`none`"),
    (TOTAL, TOTAL.replace("2500", "25e2"), "RP006", "25e2", "`25e2` is not an amount", "write `2500`"),
    (TOTAL, TOTAL.replace("2500", "2_500"), "RP006", "2_500", "`2_500` is not an amount", "write `2500`"),
    (TOTAL, TOTAL.replace("2500", "02500"), "RP006", "02500", "`02500` is not an amount", "write `2500`"),
    (TOTAL, TOTAL.replace("2500", "0x9C4"), "RP006", "0x9C4", "is not an amount", "such as `100`"),
    (TOTAL, TOTAL.replace("2500", "41:40"), "RP006", "41:40", "is not an amount", "such as `100`"),
    (TOTAL, TOTAL.replace("2500", "2500.001"), "RP006", "2500.001", "more than 2 decimals", "write `2500.00`"),
    (TOTAL, TOTAL.replace("2500", "-2500"), "RP006", "-2500", "is not an amount", "never negative"),
    (TOTAL, TOTAL.replace("2500", ".inf"), "RP006", ".inf", "is not an amount", "such as `100`"),
    (TOTAL, TOTAL.replace("2500", "2500 EUR"), "RP006", "2500 EUR", "is in EUR", "amounts here are in USD"),
    (TOTAL, TOTAL.replace("2500", "Unlimited"), "RP006", "Unlimited", "is not a cell", "did you mean `unlimited`?"),
    (TOTAL, TOTAL.replace("2500", "yes"), "RP006", "yes", "`yes` is not a cell", "`none`, `same`, `unlimited`"),
    (TOTAL, TOTAL.replace("2500", "[1]"), "RP006", "[", "a list is not an amount", "write an amount"),
    (TOTAL, TOTAL.replace("100", "same"), "RP012", "same", "no earlier line has a row `total`", "write the amount"),
    (TOTAL, "100   # all", "RP007", "100", "a row is one cell for every role", "[100, 100, 100, 100, 100]"),
    ("comp_item:       [ ", "comp_itm:       [ ", "RP003", "comp_itm", "unknown remedy", "did you mean `comp_item`?"),
    ("comp_item:       [ ", "refund:       [ ", "RP008", "refund", "`refund` stands twice", "the first is in line 34"),
    (VOUCHER, "{associat: 25}", "RP003", "associat", "unknown role", "did you mean `associate`?"),
    (VOUCHER, "{associate: 25, lead: }", "RP006", "", "a blank cell", "`none`"),
    (VOUCHER, "{}", "RP007", "{", "", "write"),
    (MAJOR, "when: {severity: [major, critcal]}", "RP003", "critcal", "unknown severity", "did you mean `critical`?"),
    (MAJOR, "when: {severety: major}", "RP003", "severety", "unknown name", "did you mean `severity`?"),
    (MAJOR, "when: {remedy: refund}", "RP012", "remedy", "`remedy` may not be tested here", "`category`"),
    (MAJOR, "when: {amount: over 5}", "RP012", "amount", "`amount` may not be tested here", "`category`"),
    (MAJOR, "when: {basis: owed}", "RP012", "basis", "`basis` may not be tested here", "`category`"),
    (MAJOR, "when: {role: lead}", "RP012", "role", "`role` may not be tested here", "`category`"),
    (MAJOR, "unless: {remedy: refund}", "RP012", "remedy", "`remedy` may not be tested here", "`category`"),
    (MAJOR, "when: {}", "RP007", "{", "conditions are a mapping", "or leave the key out"),
    (MAJOR, "when:", "RP007", "when", "a blank where the value of `when` belongs", "leave the key out"),
    (MAJOR, "unless:", "RP007", "unless", "a blank", "leave the key out"),
    (MAJOR, "when: major", "RP007", "major", "conditions are a mapping", "{severity: major}"),
    (MAJOR, "when: {severity: []}", "RP007", "[", "an empty list holds nothing", "at least one"),
    (MAJOR, "when: {severity: }", "RP007", "", "a blank where a severity belongs", "write a severity"),
    (MAJOR, "when: {severity: {major: 1}}", "RP007", "{", "a mapping where a severity belongs", "write"),
    (MAJOR, "when: {site: franchis}", "RP003", "franchis", "unknown site", "did you mean `franchise`?"),
    (MAJOR, 'when: {bill: "1 000"}', "RP006", '"1 000"', "", "write `1000`"),
    # ceilings and budgets
    (OVER_BILL, "percent: 100}\n", "RP005", "{", "`percent` and `of` go together", "percent: 100, of: bill"),
    (OVER_BILL, "percent: 1e2, of: bill}\n", "RP006", "1e2", "is not a percentage", "at most two decimals"),
    (OVER_BILL, "percent: 12.345, of: bill}\n", "RP006", "12.345", "is not a percentage", "at most two decimals"),
    (OVER_BILL, "percent: -5, of: bill}\n", "RP006", "-5", "is not a percentage", "`12.5`"),
    (OVER_BILL, "percent: 100, of: passengers}\n", "RP003", "passengers", "not `bill` or a money fact", "`fare`"),
    (OVER_BILL, "each: 5, per: fare}\n", "RP003", "fare", "is not a number fact", "`passengers`"),
    (OVER_BILL, "each: 5}\n", "RP005", "{", "`each` and `per` go together", "per: passengers"),
    (OVER_BILL, "why: too much}\n", "RP005", "{", "no limit in this line", "add `amount`"),
    (GIFTS, "small-gifts", "RP007", "small-gifts", "a text where a mapping belongs", "`key: value`"),
    (GIFTS, "", "RP007", "", "a blank where a mapping belongs", "`key: value`"),
    (GIFTS, "{id: small gifts, amount: 5}", "RP013", "small gifts", "is not an id", "write `small-gifts`"),
    (GIFTS, "{id: standard, amount: 5}", "RP008", "standard", "the id `standard` stands twice", "in line 31"),
    (GIFTS, "{id: no-row, amount: 5}", "RP012", "no-row", "has a meaning of its own", "choose another"),
    (GIFTS, "{id: x, amount: 5, binds_below: associate}", "RP012", "associate", "the lowest role", "a higher role"),
    (GIFTS, "{id: x, amount: 5, binds_below: boss}", "RP003", "boss", "unknown role", "one of `associate`"),
    (GIFTS, "{id: x, amount: 5, binds_below: }", "RP007", "binds_below", "a blank", "leave the key out"),
    (GIFTS, "{id: x, amount: , percent: 5, of: bill}", "RP007", "amount", "a blank", "write a value"),
    (GIFTS, "{id: x, amount: 5, when: {amount: over 5}}", "RP012", "amount", "may not be tested here", "`remedy`"),
    (GIFTS, "{id: x, amount: 5, unless: {remedy: points}}", "RP012", "remedy", "may not be tested here", "`category`"),
    (EMPLOYEE_DAY, "per: person, every: day, amount: 300,", "RP003", "person", "unknown word", "`employee`"),
    (EMPLOYEE_DAY, "per: employee, every: 0 days, amount: 300,", "RP013", "0 days", "is not a period", "`90 days`"),
    (EMPLOYEE_DAY, "per: employee, every: 90, amount: 300,", "RP013", "90", "is not a period", "`90 days`"),
    (EMPLOYEE_DAY, "per: employee, amount: 300,", "RP005", "{", "`every` is missing", "add `every: ...`"),
    (EMPLOYEE_DAY, "per: employee, every: day,", "RP005", "{", "no limit in this budget", "add `amount` or `times`"),
    ("amount: 400,  times: 3", "amount: 400,  times: 2.5", "RP006", "2.5", "is not a whole number", "such as `30`"),
    ("amount: 400,  times: 3", "amount: 400,  times: -1", "RP006", "-1", "is below zero", "0 or more"),
    ("amount: 400,  times: 3", "amount: 400,  times: three", "RP006", "three", "is not a whole number", "`30`"),
    ("amount: 400,  times: 3", "amount: 400,  times: ", "RP007", "times", "a blank", "write a value"),
    ("amount: 400,  times: 3", "times: 3, when: {remedy: refund}", "RP012", "3", "may name no remedies", "split"),
    ("amount: 400,  times: 3", "amount: 4, when: {severity: minor}", "RP012", "severity", "may not be", "`remedy`"),
    # owed and numbers
    ("remedy: refund, percent: 100, of: fare,", "percent: 100, of: fare,", "RP005", "{", "`remedy` is missing", "add"),
    ("remedy: refund, percent: 100, of: fare,", "remedy: refund,", "RP005", "{", "no limit in this line", "`amount`"),
    (DELAY, "delay_minutes: at least 60.5}", "RP006", "at least 60.5", "is not a whole number", "such as `30`"),
    (DELAY, "delay_minutes: atleast 60}", "RP006", "atleast 60", "is not a comparison", "`at least 50`"),
    (DELAY, 'delay_minutes: ">= 60"}', "RP006", '">= 60"', "is not a comparison", "write `at least 60`"),
    (DELAY, "delay_minutes: more than 60}", "RP006", "more than 60", "is not a comparison", "write `over 60`"),
    (DELAY, "delay_minutes: from 60}", "RP006", "from 60", "is not a comparison", "`from 10 to 20`"),
    (DELAY, "delay_minutes: from 60 to 50}", "RP006", "from 60 to 50", "holds nothing", "write `from 50 to 60`"),
    (DELAY, "delay_minutes: 1_000}", "RP006", "1_000", "is not a whole number", "write `1000`"),
    (DELAY, "delay_minutes: 060}", "RP006", "060", "is not a whole number", "write `60`"),
    (DELAY, "delay_minutes: 1:30}", "RP006", "1:30", "is not a whole number", "such as `30`"),
    ("on_top: true", "on_top: yes", "RP006", "yes", "is not true or false", "write `true`"),
    ("on_top: true", "on_topp: true", "RP004", "on_topp", "unknown key", "did you mean `on_top`?"),
    # deny, proof, other people
    ("{customer_is_staff: true},", "{customer_is_staff: TRUE},", "RP006", "TRUE", "not true or false", "write `true`"),
    ("{customer_is_staff: true},", "{customer_is_staff: 1},", "RP006", "1", "not true or false", "write `true`"),
    (STAFF_SAY, "say: {a: b}", "RP007", "{", "a mapping where text belongs", "write"),
    (STAFF_SAY, "say: Sorry: no", "RP002", ":", "not YAML", "a text with a colon needs quotes"),
    ("[photo], waivable_by: manager}", "[photo, photo]}", "RP008", "photo", "`photo` stands twice", "delete one"),
    ("[photo], waivable_by: manager}", "[]}", "RP007", "[", "an empty list of evidence", "name at least one"),
    ("[photo], waivable_by: manager}", "[photo], waivable_by: associate}", "RP012", "associate", "lowest", "higher"),
    ("evidence: [photo], waivable_by: manager}", "waivable_by: manager}", "RP005", "{", "no proof", "add `evidence"),
    ("note: true}", "note: a story}", "RP006", "a story", "is not true or false", "`true` or `false`"),
    ("{billing: [B01, B02], safety", "{billing: [B01, B01], safety", "RP008", "B01", "stands twice", "delete one"),
    ("{billing: [B01, B02], safety", "{biling: [B01], safety", "RP003", "biling", "unknown category", "`billing`"),
    ("{billing: [B01, B02], safety", "{billing: , safety", "RP007", "", "an empty list of codes", "at least one"),
    ("second: manager}", "second: next_rol}", "RP003", "next_rol", "unknown role", "one of `associate`"),
    (", second: manager}", "}", "RP005", "{", "`second` is missing", "add `second: ...`"),
    ("{knows_customer: true}}", "{knows_customer: true}, second: lead}", "RP004", "second", "unknown key", "`when`"),
    # the way up
    ("lead: 5 minutes,", "lead: 5,", "RP013", "5", "is not a length of time", "`15 minutes`"),
    ("lead: 5 minutes,", "leed: 5 minutes,", "RP003", "leed", "unknown role", "did you mean `lead`?"),
    ("on_silence: next_role", "on_silence: approve", "RP003", "approve", "unknown word", "`decline`"),
    ("fulfil_within: 2 days", "fulfil_within: soon", "RP013", "soon", "is not a length of time", "`2 days`"),
    ("fulfil_within: 2 days", "fulfill_within: 2 days", "RP004", "fulfill_within", "unknown key", "`fulfil_within`"),
    ("denied:    \"I", "refused:    \"I", "RP004", "refused", "unknown sentence", "one of `approved`"),
    # promises and tests
    ("never: approve, when", "nevr: approve, when", "RP004", "nevr", "unknown key", "did you mean `never`?"),
    ("never: approve, when", "never: {escalate_to: boss}, when", "RP003", "boss", "unknown role", "`lead`"),
    ("never: approve, when", "never: approve, always: deny, when", "RP005", "{", "either `never` or `always`", "write"),
    ("{role: associate, amount: over 250}", "{role: associte}", "RP003", "associte", "unknown role", "`associate`"),
    (
        "- name: nobody refunds more than was paid",
        "- name: splitting a refund does not get round the limit",
        "RP008",
        "splitting a refund does not get round the limit",
        "two tests have this name",
        "the first is in line",
    ),
    ("amount: 100.01, bill: 300", "amount: 100.011, bill: 300", "RP006", "100.011", "more than 2", "write `100.01`"),
    ("amount: 100.01, bill: 300", "amont: 100.01, bill: 300", "RP003", "amont", "unknown name", "mean `amount`?"),
    ("on_case: {refund: 60}", "on_case: {refnd: 60}", "RP003", "refnd", "unknown remedy", "did you mean `refund`?"),
    ("on_case: {refund: 60}", "on_case: {refund: -60}", "RP006", "-60", "is not an amount", "never negative"),
    ("on_case: {refund: 60}", "on_case: 60", "RP007", "60", "`on_case` is a mapping", "{refund: 60}"),
    ("used: {customer-90d: {times: 3}}", "used: {customer: {times: 3}}", "RP003", "customer", "unknown", "-90d`?"),
    (THIRD, "expect: escalate", "RP007", "escalate", "is not an expectation", "`{escalate_to: lead}`"),
    (THIRD, "expect: {because: [customer-90d]}", "RP005", "{", "expects exactly one outcome", "name one of"),
    (THIRD, "expect: {escalate_to: manager, deny: [receipt]}", "RP005", "{", "exactly one outcome", "name one of"),
    (THIRD, "expect: {escalate_to: manager, becuse: []}", "RP004", "becuse", "unknown expectation", "`because`?"),
    (THIRD, "expect: {escalate_to: manager, grantable_now: lots}", "RP006", "lots", "is not an amount", "such as"),
    (THIRD, "expect: {approve: false}", "RP007", "false", "says nothing", "the outcome that is expected"),
    ("{deny: [never-over-bill]}", "{deny: [never-over]}", "RP003", "never-over", "unknown line", "`never-over-bill`?"),
    # YAML's own short cuts
    ("# 1. WHO", "\t# 1. WHO", "RP010", "\t", "a tab", "use spaces"),
    ("ladder: [associate,", "ladder: &roles [associate,", "RP009", "&roles [", "an anchor `&roles`", "delete it"),
    ("ladder: [associate,", "ladder: !!set [associate,", "RP009", "!!set [", "a tag", "delete it"),
    ("- id: franchise\n", "- <<: {id: franchise}\n", "RP009", "<<", "a merge key", "write the lines out"),
    ("- id: franchise\n", "- id: franchise\n    id: twice\n", "RP008", "id", "`id` stands twice", "in line 44"),
    ("deny:\n", "deny:\n---\n", "RP007", "-", "a second document", "delete the `---`"),
    (OWNER, "owner: l'expe\u0301rience", "RP011", "\u0301", "not in Unicode normal form NFC", "convert"),
    (OWNER, "owner: a\x00b", "RP013", "\x00", "U+0000 is not text", "delete it"),
    (OWNER, "owner: a\ud800b", "RP013", "\ud800", "U+D800 is not text", "delete it"),
    (OWNER, "owner: a\ufeffb", "RP013", "\ufeff", "U+FEFF is not text", "delete it"),
    (OWNER, "owner: a\u202eb", "RP013", "\u202e", "U+202E is not text", "delete it"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "code", "token", "message", "cure"),
    MISTAKES,
    ids=[ascii(new)[:60] for _, new, *_ in MISTAKES],
)
def test_a_mistake_is_shown_where_it_is_with_its_cure(
    old: str, new: str, code: str, token: str, message: str, cure: str
) -> None:
    found = the_mistake(old, new)
    assert (found.code, marked(found).strip(" ,}]") if not token else marked(found)) == (code, token)
    assert message in found.message
    assert cure in found.help


@pytest.mark.parametrize("key", ["policy", "currency", "ladder"])
def test_a_key_that_every_policy_needs_is_missed(key: str) -> None:
    found = mistakes(re.sub(rf"^{key}: .*\n", "", LAKESIDE, count=1, flags=re.MULTILINE))
    assert f"`{key}` is missing" in [error.message for error in found]
    assert f"add `{key}: ...`" in [error.help for error in found]
    assert len(found) == 1, found


def test_a_key_mistyped_is_unknown_and_the_right_one_missing() -> None:
    missing, unknown = mistakes(changed("    up_to: {total: [50,", "    up_too: {total: [50,"))
    assert (missing.message, missing.line) == ("`up_to` is missing", 44)
    assert (marked(unknown), unknown.line, unknown.help) == ("up_too", 47, "did you mean `up_to`?")


def test_a_policy_under_which_nobody_may_give_anything_is_a_mistake() -> None:
    (found,) = mistakes("policy: p\ncurrency: USD\nladder: [a, b, c]\n")
    assert (found.code, found.message) == ("RP005", "nobody may give anything")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("remedies:   [refund, replacement, comp_item, discount, voucher, points, fee_waiver, apology]", "remedies:"),
        (EFFECTIVE, "effective:"),
        (EFFECTIVE, "effective: {from: 2026-12-01, until: }"),
        ("fulfil_within: 2 days", "fulfil_within:"),
        ("waivable_by: manager}", "waivable_by: }"),
        (STAFF_SAY, "say: "),
        (STAFF_SAY, "say: Sorry, why"),
    ],
)
def test_a_blank_is_a_mistake_and_never_means_left_out(old: str, new: str) -> None:
    assert "RP0" in str(the_mistake(old, new))


def test_a_cell_above_the_total_is_a_warning_and_the_policy_is_used() -> None:
    policy, (warning, falling) = check_policy(changed("comp_item:       [      40", "comp_item:       [     101"))
    assert policy is not None
    assert (falling.code, falling.level, marked(falling)) == ("RP023", "warning", "80")
    assert (warning.code, warning.level, marked(warning)) == ("RP020", "warning", "101")
    assert "`comp_item` gives associate more than the total" in warning.message


def test_a_list_that_cannot_be_read_does_not_make_its_words_look_wrong() -> None:
    found = mistakes(changed("area_manager, executive]\n", "area_manager, [executive]]\n"))
    assert [error.line for error in found] == [12]


def test_a_block_that_cannot_be_read_hides_nothing_else_and_blames_nothing_else() -> None:
    broken = changed(MAJOR, "when: {severity: [major, critical}").replace("on_silence: next_role", "on_silence: maybe")
    assert [(error.code, marked(error)) for error in mistakes(broken)] == [("RP002", "}"), ("RP003", "maybe")]
    at_top = changed("ceilings:\n", "ceilings: {}\n")
    found = mistakes(at_top)
    assert [error.code for error in found] == ["RP002"]
    assert found[0].line - at_top[: at_top.index("ceilings: {}")].count("\n") in (1, 2, 3)
