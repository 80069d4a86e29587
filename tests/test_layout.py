"""A policy laid out says what it said; limits stand under the ladder, and every comment is where it was."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

from recovery_engine import Policy, PolicyError, check_policy, format_policy, parse_policy, shipped_policies
from recovery_engine.policy.columns import WIDEST
from recovery_engine.policy.tree import Source, read_tree
from tests.strategies import random_policy, randoms
from tests.untidy import Untidy

pytestmark = pytest.mark.slow

SHIPPED = shipped_policies()
LAKESIDE = Path(__file__).parent / "policies/lakeside.yaml"


def tree_of(text: str) -> dict[str, Any]:
    tree = read_tree(text, Source("policy.yaml"))
    assert tree is not None
    return tree


def says(policy: Policy) -> tuple[str, object]:
    """Everything in a policy, tests and promises too; not the lines it stands in."""
    return policy.digest, policy.model_dump()


def stays(text: str) -> str:
    """The text laid out, after showing that nothing but white space changed, and that it is laid out now."""
    after = format_policy(text)
    assert says(parse_policy(after)) == says(parse_policy(text))
    assert "".join(after.split()) == "".join(text.removeprefix("\ufeff").split())
    assert format_policy(after) == after
    return after


# --- the law ---


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(randoms)
def test_it_says_what_it_said_however_it_was_laid_out(random: Random) -> None:
    tree = tree_of(random_policy(random)[0])
    after = stays(Untidy(random).text(tree))
    assert tree_of(after) == tree
    assert all(line == line.rstrip(" ") for line in after.splitlines())


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_policy_written_carelessly_still_has_its_tests_and_promises(name: str) -> None:
    tree = tree_of(SHIPPED[name].read_text(encoding="utf-8"))
    for seed in range(3):
        after = stays(Untidy(Random(seed)).text(tree))
        assert tree_of(after) == tree


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_policies_are_laid_out(name: str) -> None:
    text = SHIPPED[name].read_text(encoding="utf-8")
    assert format_policy(text) == text


# --- columns ---

CARELESS = """
policy:   hotel
currency: EUR
ladder: [front_desk,shift_supervisor , duty_manager, general_manager]


remedies: [ refund,discount ]  # what we give
categories: [room,noise]
facts:
    knows_guest: { flag: true, default: false } # a relative
    days_since_checkout: {number: true, default: 0} # 0 in the house
# HOW MUCH



authority: # front_desk shift_supervisor duty_manager general_manager
- id: per-incident
  up_to:
    total: [30, 150, 600, unlimited]
    # money back starts with the supervisor
    refund: [none, same, same, same]
- id: major-failure
  when: {category: room}
  up_to:
    total: [60,300,same,same]
    # refund: [1, 2, 3, 4]
# NEVER MORE
ceilings:
- {id: never-over-bill, when: {remedy: [refund, discount]}, percent: 100, of: bill}
# half
- {id: half-the-bill, when: {remedy: discount}, percent: 50, of: bill, binds_below: duty_manager}
- {id: points-cap, when: {remedy: refund}, amount: 50, binds_below: general_manager}
promises:
- {id: a, never: approve, when: {role: front_desk, amount: over 100}}
- {id: bcd, always: approve, when: {role: general_manager, amount: at most 60}}
tests:
- name: a
  given: {role: front_desk, remedy: discount, amount: 5,
   on_case: {refund: 3}}
  expect: {deny: [never-over-bill]}
"""

LAID_OUT = """\
policy: hotel
currency: EUR
ladder: [front_desk, shift_supervisor, duty_manager, general_manager]

remedies:   [refund, discount]  # what we give
categories: [room, noise]
facts:
  knows_guest:         {flag: true, default: false}  # a relative
  days_since_checkout: {number: true, default: 0}    # 0 in the house
# HOW MUCH

authority:    # front_desk shift_supervisor duty_manager general_manager
  - id: per-incident
    up_to:
      total:  [         30,             150,         600,      unlimited]
      # money back starts with the supervisor
      refund: [       none,            same,        same,           same]
  - id: major-failure
    when: {category: room}
    up_to:
      total:  [         60,             300,        same,           same]
      # refund: [1, 2, 3, 4]
# NEVER MORE
ceilings:
  - {id: never-over-bill, when: {remedy: [refund, discount]}, percent: 100, of: bill}
  # half
  - {id: half-the-bill,   when: {remedy: discount},           percent:  50, of: bill, binds_below: duty_manager}
  - {id: points-cap,      when: {remedy: refund},             amount:   50,           binds_below: general_manager}
promises:
  - {id: a,   never: approve,  when: {role: front_desk,      amount: over 100}}
  - {id: bcd, always: approve, when: {role: general_manager, amount: at most 60}}
tests:
  - name: a
    given: {role: front_desk, remedy: discount, amount: 5,
            on_case: {refund: 3}}
    expect: {deny: [never-over-bill]}
"""


def test_limits_stand_under_the_ladder_and_lines_of_one_list_under_each_other() -> None:
    assert stays(CARELESS) == LAID_OUT


def small(*lines: str) -> str:
    head = ("policy: small", "currency: USD", "ladder: [clerk, lead]", "remedies: [refund, voucher]")
    return "\n".join([*head, *lines]) + "\n"


ROWS = ("authority:", "  - up_to:", "      total: [5, 1000]", "      voucher: [none, 7]")


def test_without_the_roles_above_them_cells_are_only_as_wide_as_they_must_be() -> None:
    assert stays(small(*ROWS)).splitlines()[-2:] == ["      total:   [   5, 1000]", "      voucher: [none,    7]"]


def test_columns_an_author_set_further_apart_stay_there() -> None:
    apart = ("authority:            # clerk lead", "  - up_to:")
    rows = ("      total:          [   5, 1000]          # both", "      voucher:        [none,    7]          # ours")
    after = stays(small(*apart, *rows)).splitlines()
    assert after[-4:] == [
        "authority:            # clerk  lead",
        "  - up_to:",
        "      total:          [     5, 1000]        # both",
        "      voucher:        [  none,    7]        # ours",
    ]


def test_a_role_of_wide_letters_takes_the_columns_it_takes_on_a_screen() -> None:
    text = small(*ROWS).replace("clerk", "係員").replace("authority:", "authority: # 係員 lead")
    assert stays(text).splitlines()[-4:] == [
        "authority:     # 係員  lead",
        "  - up_to:",
        "      total:   [    5, 1000]",
        "      voucher: [ none,    7]",
    ]


def test_a_list_too_wide_for_columns_has_as_many_as_there_is_room_for() -> None:
    deny = [
        f"  - {{id: a, when: {{remedy: refund, amount: over 5}}, say: {'never and ' * 4}never}}",
        "  - {id: b-much-longer-id, when: {remedy: [refund, voucher], amount: over 1000}, say: no}",
    ]
    after = stays(small(*ROWS, "deny:", *deny)).splitlines()[-2:]
    assert len(after[0]) <= WIDEST
    assert after[0].index("when:") == after[1].index("when:")
    assert after[0].index("say:") < after[1].index("say:")


def test_lines_whose_keys_stand_in_another_order_have_no_columns() -> None:
    deny = ("  - {id: a,  say: x, when: {remedy: refund}}", "  - {when: {remedy: voucher}, id: long}")
    after = stays(small(*ROWS, "deny:", *deny)).splitlines()[-2:]
    assert after == ["  - {id: a, say: x, when: {remedy: refund}}", deny[1]]


# --- what is easily lost ---


def test_a_text_of_several_lines_keeps_its_lines() -> None:
    text = small(*ROWS) + "owner: |+\n     Operations\n       Director\n\n\n"
    assert stays(text).endswith("owner: |+\n  Operations\n    Director\n\n\n")
    assert stays(small("source: 'one", "", "      two'", *ROWS)).splitlines()[4:7] == ["source: 'one", "", "  two'"]


def test_a_space_behind_a_backslash_at_the_end_of_a_line_is_part_of_the_text() -> None:
    assert '"one\\ \n  two"' in stays(small('source: "one\\  ', '     two"', *ROWS))


def test_line_ends_of_windows_and_its_mark_do_no_harm() -> None:
    after = format_policy("\ufeff" + CARELESS.replace("\n", "\r\n"))
    assert after == LAID_OUT.replace("\n", "\r\n")


def test_a_comment_that_stands_further_in_belongs_to_what_ends_there() -> None:
    text = small(*ROWS, "      # of the rows", "  # of the lines", "# of what follows", "deny:", "  # first")
    text += "  - {when: {remedy: refund}}\n# the end\n"
    after = stays(text).splitlines()
    assert after[8:12] == ["      # of the rows", "  # of the lines", "# of what follows", "deny:"]
    assert after[12:] == ["  # first", "  - {when: {remedy: refund}}", "# the end"]


def test_a_text_that_is_no_policy_is_refused_with_every_mistake() -> None:
    text = small("autority: []", "deny: [")
    with pytest.raises(PolicyError) as refused:
        format_policy(text, "mine.yaml")
    errors = [found for found in check_policy(text, "mine.yaml")[1] if found.level == "error"]
    assert [*refused.value.diagnostics] == errors
    assert len(errors) > 1


def test_a_hotel_of_fifty_sites_is_laid_out_too() -> None:
    stays(LAKESIDE.read_text(encoding="utf-8"))
