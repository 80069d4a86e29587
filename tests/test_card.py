"""The authority card: a policy on one page."""

from pathlib import Path

import pytest

from recovery_engine import Card, authority_card, load_policy, parse_policy, shipped_policies
from tests.asking import CLASSIC, HEAD

LAKESIDE = load_policy(Path(__file__).parent / "policies/lakeside.yaml")
CARD = authority_card(LAKESIDE)


def table(card: Card, line: str) -> dict[str, tuple[str, ...]]:
    (found,) = [table for table in card.tables if table.line == line]
    return dict(found.rows)


def section(card: Card, heading: str) -> dict[str, str]:
    return {line: text for part in card.sections if part.heading == heading for line, text in part.lines}


def test_the_card_says_whose_it_is_and_from_when() -> None:
    assert (CARD.policy, CARD.version, CARD.digest) == ("lakeside-service-recovery", "2026.12", LAKESIDE.digest)
    assert CARD.days == "from 2026-12-01"
    assert CARD.ladder == ("associate", "lead", "manager", "area manager", "executive")


def test_what_always_holds_is_the_first_table() -> None:
    assert [made.line for made in CARD.tables] == ["standard", "major-failure", "franchise"]
    assert CARD.tables[0].when == ""
    assert table(CARD, "standard") == {
        "in all": ("$100.00", "$250.00", "$500.00", "$2,500.00", "unlimited"),
        "refund": ("$100.00", "$250.00", "$500.00", "$2,500.00", "unlimited"),
        "comp item": ("$40.00", "$80.00", "$200.00", "$1,000.00", "unlimited"),
        "voucher": ("$25.00", "$100.00", "$250.00", "$250.00", "$5,000.00"),  # unnamed: as the role below
        "fee waiver": ("not at all", "$100.00", "$300.00", "$1,500.00", "unlimited"),
    }


def test_same_is_shown_as_what_it_stands_for() -> None:
    assert table(CARD, "major-failure") == {
        "in all": ("$150.00", "$400.00", "$500.00", "$2,500.00", "unlimited"),
        "refund": ("$150.00", "$400.00", "$500.00", "$2,500.00", "unlimited"),
    }


def test_a_table_says_when_it_holds_and_why() -> None:
    _, major, franchise = CARD.tables
    assert major.when in ("severity is major or critical", "severity is critical or major")
    assert major.why == "A guest we let down badly should not have to wait for a manager."
    assert franchise.when == "site is franchise and not category is safety"
    assert table(CARD, "franchise") == {"in all": ("$50.00", "$150.00", "$500.00", "$1,000.00", "unlimited")}


@pytest.mark.parametrize(
    ("heading", "line", "text"),
    [
        ("Never over", "never-over-bill", "100% of the bill (where remedy is refund)"),
        ("Never over", "small-gifts", "$50.00 (where remedy is points)"),
        ("In a period", "employee-day", "at most $300.00 a day for each employee; lead and above may go over"),
        ("In a period", "customer-90d", "at most $400.00 and 3 cases in 90 days for each customer; manager and above"),
        (
            "Owed: settle it at once",
            "late-60",
            "refund: 100% of the fare (where category is delay and",
        ),
        ("Owed: settle it at once", "cancelled", "voucher: $100.00 for each of passengers (where"),
        ("Never", "staff-purchase", "Staff purchases go through HR. (where customer is staff is true)"),
        ("Proof", "photo", "photo on file; manager and above may do without (where category is"),
        ("Proof", "story", "a note on file (where amount is over $200.00)"),
        ("Reason codes", "billing", "billing: B01, B02"),
        ("Two people agree", "two-above-1000", "second: manager or above (where amount is"),
        ("Someone else decides", "own-family", "another person of the same role (where knows customer is true)"),
        ("The way up", "area_manager", "area manager answers within 4 hours"),
        ("The way up", "fulfil_within", "in the customer's hands within 2 days"),
    ],
)
def test_everything_else_is_in_words(heading: str, line: str, text: str) -> None:
    assert text in section(CARD, heading)[line]


def test_every_line_that_decides_is_on_the_card() -> None:
    for policy in [LAKESIDE, *map(load_policy, shipped_policies())]:
        card = authority_card(policy)
        shown = {made.line for made in card.tables} | {line for part in card.sections for line, _ in part.lines}
        always = [
            line.id for line in policy.authority if not line.when.words and not line.when.numbers and not line.unless
        ]
        assert {line.id for line in policy.lines()} - shown <= set(always[1:])
        assert all(part.lines for part in card.sections)
        assert all(len(cells) == len(card.ladder) for made in card.tables for _, cells in made.rows)


def test_later_lines_that_always_hold_are_one_table_with_the_first() -> None:
    text = (
        HEAD
        + """
severities: [minor, major]
authority:
  - {id: first, up_to: {total: [100, 250, 500], voucher: [10, 20, 0]}}
  - {id: major, when: {severity: major}, up_to: {total: [same, 300, same]}}
  - {id: last, up_to: {voucher: [same, 50, none]}}
"""
    )
    card = authority_card(parse_policy(text))
    assert [made.line for made in card.tables] == ["first", "major"]
    assert table(card, "first") == {
        "in all": ("$100.00", "$250.00", "$500.00"),
        "voucher": ("$10.00", "$50.00", "not at all"),
    }
    assert table(card, "major") == {"in all": ("$100.00", "$300.00", "$500.00")}


def test_the_card_of_the_smallest_policy_is_one_table() -> None:
    card = authority_card(parse_policy(CLASSIC.replace("500", "0")))
    assert table(card, "standard") == {"in all": ("$100.00", "$250.00", "at no cost")}
    assert card.sections == ()
    assert (card.version, card.days) == ("", "")


def test_the_last_day_is_shown_where_there_is_one() -> None:
    text = CLASSIC + "effective: {from: 2026-01-01, until: 2026-06-30}\n"
    assert authority_card(parse_policy(text)).days == "from 2026-01-01 until 2026-06-30"
