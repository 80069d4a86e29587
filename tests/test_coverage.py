"""What the tests of a policy show: lines that decide, limits tried on both sides; and what would show the rest."""

import json
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner, Result

from recovery_cli.main import cli
from recovery_engine import Coverage, cover_examples, parse_policy, run_examples, shipped_policies
from tests.strategies import random_policy

pytestmark = pytest.mark.slow

POLICY = """\
policy: small
currency: EUR
ladder: [clerk, lead]
remedies: [refund, voucher]
facts:
  days: {number: true, default: 0}
authority:
  - {id: standard, up_to: {total: [30, 100]}}
ceilings:
  - {id: within-bill, when: {remedy: refund}, percent: 50, of: bill}
budgets:
  - {id: monthly, per: customer, every: month, amount: 200, times: 3, binds_below: lead}
deny:
  - {id: too-late, when: {days: over 60}}
requires:
  - {id: receipt, when: {amount: over 25}, evidence: [receipt]}
tests:
"""


def examples(*given: str) -> str:
    return "".join(f"  - {{name: t{at}, given: {{{text}}}, expect: approve}}\n" for at, text in enumerate(given))


def covered(*given: str, policy: str = POLICY, suggest: int = 0) -> Coverage:
    """The coverage by tests of these requests; what they expect does not count."""
    return cover_examples(parse_policy(policy + (examples(*given) or "  []\n")), suggest)


def sides(found: Coverage, line: str, what: str = "", role: str = "") -> tuple[str, str]:
    (one,) = (one for one in found.boundaries if (one.line, one.role) == (line, role) and what in one.what)
    return one.within, one.beyond


VOUCHER = "role: clerk, remedy: voucher, amount: "


# --- lines ---


def test_a_line_is_shown_by_a_test_in_which_it_decides() -> None:
    state = {line.line: line.tried for line in covered(f"{VOUCHER}30.01, evidence: [receipt]").lines}
    assert state == {
        "standard": "exactly",
        "within-bill": "untried",
        "monthly": "untried",
        "too-late": "untried",
        "receipt": "untried",
    }


def test_without_tests_nothing_is_shown_and_everything_can_be() -> None:
    found = covered()
    assert (found.lines_percent, found.boundaries_percent, found.complete) == (0, 0, True)
    assert {state for one in found.boundaries for state in (one.within, one.beyond)} == {"untried"}


# --- boundaries ---


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        (["30", "30.01"], ("exactly", "exactly")),
        (["30"], ("exactly", "untried")),
        (["28", "31"], ("nearby", "nearby")),
        (["20"], ("untried", "untried")),
        (["28", "30", "150"], ("exactly", "untried")),
        (["0"], ("untried", "untried")),
    ],
)
def test_a_limit_is_tried_by_amounts_with_no_other_limit_between(amounts: list[str], expected: tuple[str, str]) -> None:
    found = covered(*(f"{VOUCHER}{amount}, evidence: [receipt]" for amount in amounts))
    assert sides(found, "standard", role="clerk") == expected


def test_a_limit_is_tried_by_its_own_role_only() -> None:
    found = covered("role: lead, remedy: voucher, amount: 30", "role: lead, remedy: voucher, amount: 30.01")
    assert sides(found, "standard", role="clerk") == ("untried", "untried")


def test_what_is_denied_anyway_tries_no_limit() -> None:
    found = covered(f"{VOUCHER}30, days: 61", f"{VOUCHER}30.01, days: 61")
    assert sides(found, "standard", role="clerk") == ("untried", "untried")
    assert sides(found, "receipt") == ("untried", "untried")
    assert sides(found, "too-late") == ("untried", "exactly")


def test_what_was_given_before_counts_toward_a_limit() -> None:
    found = covered(f"{VOUCHER}5, on_case: {{voucher: 25}}", f"{VOUCHER}5.01, on_case: {{refund: 25}}")
    assert sides(found, "standard", role="clerk") == ("exactly", "exactly")


def test_a_part_of_the_bill_is_tried_where_just_all_of_it_is_left() -> None:
    refund = "role: clerk, remedy: refund, bill: 40, amount: "
    assert sides(covered(f"{refund}20"), "within-bill") == ("exactly", "untried")
    assert sides(covered(f"{refund}20.01"), "within-bill") == ("untried", "exactly")
    assert sides(covered(f"{refund}7"), "within-bill") == ("nearby", "untried")
    assert sides(covered(f"{VOUCHER}20, bill: 40"), "within-bill") == ("untried", "untried")


def test_a_budget_has_a_boundary_for_its_amount_and_one_for_its_cases() -> None:
    found = covered(f"{VOUCHER}10, used: {{monthly: {{amount: 190, times: 3}}}}")
    assert sides(found, "monthly", "€200.00") == ("exactly", "untried")
    assert sides(found, "monthly", "3 cases") == ("untried", "exactly")


def test_a_role_that_a_limit_does_not_bind_does_not_try_it() -> None:
    found = covered("role: lead, remedy: voucher, amount: 10, used: {monthly: {amount: 190, times: 3}}")
    assert sides(found, "monthly", "€200.00") == ("untried", "untried")


def test_the_end_of_a_condition_is_tried_on_both_sides() -> None:
    found = covered(f"{VOUCHER}25", f"{VOUCHER}25.01", f"{VOUCHER}5, days: 60", f"{VOUCHER}5, days: 90")
    assert sides(found, "receipt", "amount") == ("exactly", "exactly")
    assert sides(found, "too-late", "days, 60 or 61") == ("exactly", "nearby")


@pytest.mark.parametrize("rest", ["remedy: refund", "bill: over 10"])
def test_an_end_counts_only_where_the_rest_of_the_line_fits(rest: str) -> None:
    policy = POLICY.replace("{days: over 60}", f"{{days: over 60, {rest}}}")
    found = covered(f"{VOUCHER}5, days: 60, bill: 10", policy=policy)
    assert sides(found, "too-late", "days") == ("untried", "untried")


def test_what_no_request_reaches_is_named() -> None:
    later = "  - {id: later, up_to: {total: [20, same]}}\nceilings:"
    found = covered(policy=POLICY.replace("ceilings:", later))
    assert sides(found, "standard", role="clerk") == ("not reached", "not reached")
    assert sides(found, "standard", role="lead") == ("untried", "untried")
    assert found.complete


# --- suggestions ---


def with_suggestions(text: str, suggest: int = 1_000) -> tuple[str, Coverage]:
    """The text with the suggested tests pasted below its own, and the coverage then, after showing that they pass."""
    before = cover_examples(parse_policy(text.removesuffix("tests:\n")), suggest)
    pasted = text + "".join(test.text for test in before.suggested)
    policy = parse_policy(pasted)
    assert [result.name for result in run_examples(policy) if not result.passed] == []
    return pasted, cover_examples(policy, suggest)


@pytest.mark.parametrize("name", shipped_policies())
def test_pasted_until_nothing_is_left_they_cover_a_shipped_policy(name: str) -> None:
    text = shipped_policies()[name].read_text(encoding="utf-8")
    _, after = with_suggestions(text)
    assert (after.lines_percent, after.boundaries_percent, after.suggested, after.complete) == (100, 100, (), True)
    bare = text.partition("\ntests:")[0] + "\ntests:\n"
    _, from_nothing = with_suggestions(bare)
    assert (from_nothing.lines_percent, from_nothing.boundaries_percent, from_nothing.suggested) == (100, 100, ())
    unreached = [one.line for one in from_nothing.boundaries if "not reached" in (one.within, one.beyond)]
    assert unreached == (["photo"] if name == "online-shop" else [])  # what is owed for a late delivery needs no photo


def test_each_of_them_shows_more_and_the_first_shows_most() -> None:
    text, counts = POLICY, [open_states(covered())]
    while (found := cover_examples(parse_policy(text.removesuffix("tests:\n")), 1)).suggested:
        text, after = with_suggestions(text, 1)
        assert len(found.suggested[0].shows) == counts[-1] - open_states(after)
        counts.append(open_states(after))
    steps = [before - after for before, after in pairwise(counts)]
    assert counts[-1] == 0
    assert steps[0] == max(steps)
    assert min(steps) >= 1


def open_states(found: Coverage) -> int:
    states = [line.tried for line in found.lines]
    states += [state for one in found.boundaries for state in (one.within, one.beyond)]
    return states.count("untried")


@pytest.mark.parametrize("seed", range(3))
def test_suggested_tests_of_any_policy_pass_and_leave_nothing_that_can_be_shown(seed: int) -> None:
    text, _ = random_policy(Random(seed))
    _, after = with_suggestions(text + "tests:\n")
    assert after.suggested == ()
    assert (after.lines_percent, after.boundaries_percent) == (100, 100)


# --- the command line ---


def recovery(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, ["test", *map(str, args)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    expect = "{escalate_to: lead, because: [standard]}"
    path.write_text(
        POLICY + f"  - {{name: one, given: {{{VOUCHER}30.01, evidence: [receipt]}}, expect: {expect}}}\n",
        encoding="utf-8",
    )
    return path


def test_coverage_names_what_is_open(file: Path) -> None:
    said = recovery(file, "--coverage").stdout
    assert "lines that decided: 20% (1 of 5)" in said
    assert "standard of clerk, in all, €30.00: untried at or below" in said
    assert recovery(file).stdout.count("boundaries") == 0


def test_too_little_coverage_is_a_finding_where_asked(file: Path) -> None:
    assert recovery(file, "--coverage").exit_code == 0
    assert recovery(file, "--fail-under", "1").exit_code == 1
    assert recovery("classic", "--fail-under", "100").exit_code == 0


def test_suggestions_can_be_pasted(file: Path) -> None:
    said = recovery(file, "--suggest", "3").stdout
    head, _, rest = said.partition("# 3 tests to paste under `tests:`\n")
    assert head
    pasted = rest.rpartition("    expect: ")[0] + "    expect: " + rest.rpartition("    expect: ")[2].splitlines()[0]
    file.write_text(file.read_text(encoding="utf-8") + pasted + "\n", encoding="utf-8")
    assert "4 passed" in recovery(file).stdout
    (shown,) = json.loads(recovery(file, "--suggest", "2", "--json").stdout)["files"]
    assert len(shown["coverage"]["suggested"]) == 2
    assert shown["coverage"]["boundaries_percent"] > 0
