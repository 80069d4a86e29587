"""Two policies compared: the boxes, directions and masks that people are told of, and the command that tells them."""

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recovery_cli.main import cli
from recovery_engine import PolicyDiff, PolicyError, decide, diff_policies, load_policy, parse_policy, shipped_policies

HOTEL = shipped_policies()["hotel"]

SHOP = """
policy: shop
currency: USD
ladder: [clerk, lead, manager]
remedies: [refund, voucher]
authority:
  - {id: standard, up_to: {total: [100, 250, 500]}}
ceilings:
  - {id: bill, when: {remedy: refund}, percent: 50, of: bill}
budgets:
  - {id: day, per: employee, every: day, amount: 150, binds_below: lead}
deny:
  - {id: large, when: {amount: over 400}, say: No.}
"""


def compared(*edits: tuple[str, str], text: str = SHOP) -> PolicyDiff:
    draft = text
    for old, new in edits:
        assert old in draft
        draft = draft.replace(old, new)
    return diff_policies(parse_policy(text, "before"), parse_policy(draft, "after"))


def test_a_higher_limit_is_wider_for_just_the_amounts_between() -> None:
    found = compared(("[100, 250, 500]", "[120, 250, 500]"))
    assert found.complete
    assert found.directions == {"wider"}
    approved = [change for change in found.changes if str(change.after.outcome) == "approve"]
    assert {phrase for change in approved for phrase in change.where if "whole case" in phrase} == {
        "the whole case comes to $100.01 to $120.00"
    }
    assert all("clerk asks" in change.where for change in found.changes)


def test_a_change_carries_the_amounts_between_which_it_lies() -> None:
    raised = compared(("[100, 250, 500]", "[120, 250, 500]"))
    assert {ranges for change in raised.changes for what, ranges in change.sums if what == "the whole case"} == {
        ((10_001, 12_000),)
    }
    no_end = compared(
        ("deny:\n  - {id: large, when: {amount: over 400}, say: No.}", ""), ("250, 500", "250, unlimited")
    )
    assert any(ranges[-1] == (40_001, None) for change in no_end.changes for _, ranges in change.sums)


def test_an_added_proof_is_narrower_and_what_it_lacks_is_said() -> None:
    found = compared(("deny:", "requires:\n  - {id: slip, when: {amount: over 20}, evidence: [receipt]}\ndeny:"))
    assert found.directions <= {"narrower", "sideways"}
    assert any("without receipt on file" in change.where for change in found.changes)


def test_a_higher_share_changes_only_what_lies_between_the_shares() -> None:
    found = compared(("percent: 50", "percent: 60"))
    shares = {phrase for change in found.changes for phrase in change.where if "%" in phrase}
    assert shares == {"refund on the case, with what is owed, is over 50% of the bill but within 60% of the bill"}


def test_a_bill_that_is_not_on_file_is_over_every_share() -> None:
    assert not any(
        "not on file" in phrase
        for change in compared(("percent: 50", "percent: 60")).changes
        for phrase in change.where
    )


def test_earlier_money_is_told_from_a_fresh_case() -> None:
    """A day's budget of 150 stops a clerk who gives more at once: only a case in parts gets there."""
    found = compared(("[100, 250, 500]", "[300, 300, 500]"))
    approved = [change for change in found.changes if str(change.after.outcome) == "approve"]
    assert {change.fresh for change in approved} == {True, False}
    for change in approved:
        assert change.fresh == (change.witness.on_case == {} and change.witness.owed_on_case == {})


def test_every_witness_is_decided_as_the_change_says() -> None:
    before, after = parse_policy(SHOP), parse_policy(SHOP.replace("[100, 250, 500]", "[20, 300, 450]"))
    found = diff_policies(before, after)
    assert len(found.changes) > 3
    for change in found.changes:
        for policy, said in ((before, change.before), (after, change.after)):
            again = decide(policy, *change.witness.asked(policy))
            assert (again.outcome, again.to, again.lines) == (said.outcome, said.to, said.lines)


def test_the_masking_budget_of_the_hotel_is_shown() -> None:
    text = HOTEL.read_text(encoding="utf-8")
    (desk,) = re.findall(r"total: +\[ +30,", text)
    found = compared((desk, "total: [200,"), text=text)
    (edit,) = found.edits
    assert (edit.line, edit.kind, edit.silent) == ("per-incident", "changed", False)
    assert "desk-day" in (edit.masked_by or ())


def test_an_edit_that_changes_nothing_names_the_line_that_masks_it() -> None:
    found = compared(("[100, 250, 500]", "[100, 250, 450]"))
    assert found.changes == ()
    (edit,) = found.edits
    assert edit.silent
    assert edit.masked_by == ("large",)


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("  - {id: bill, when: {remedy: refund}, percent: 50, of: bill}", "  []", "removed"),
        ("authority:", "someone_else:\n  - {id: own, when: {amount: over 10}}\nauthority:", "added"),
        ("binds_below: lead}", "binds_below: manager}", "changed"),
    ],
)
def test_lines_that_differ_are_named(old: str, new: str, kind: str) -> None:
    text = SHOP if kind != "removed" else SHOP.replace("ceilings:\n", "ceilings:\n  - {id: cap, amount: 9000}\n")
    new = "" if kind == "removed" else new
    assert kind in {edit.kind for edit in compared((old, new), text=text).edits}


def test_words_that_only_one_knows_are_not_compared_and_said_to_be_so() -> None:
    found = compared(("[refund, voucher]", "[refund, voucher, points]"))
    assert found.changes == ()
    assert found.only_after == ("remedy `points`",)


def test_other_words_for_the_same_budget_change_nothing() -> None:
    found = compared(("id: day", "id: per-day"))
    assert found.changes == ()
    assert [(edit.line, edit.kind) for edit in found.edits] == [("day", "removed"), ("per-day", "added")]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("currency: USD", "currency: EUR", "decides in USD, `shop` in EUR"),
        ("[clerk, lead, manager]", "[a, b, c]", "no role is on both ladders"),
    ],
)
def test_what_cannot_be_compared_is_said(old: str, new: str, said: str) -> None:
    text = SHOP.replace(", binds_below: lead", "")
    with pytest.raises(PolicyError, match=said):
        compared((old, new), text=text)


def test_facts_of_two_kinds_cannot_be_compared() -> None:
    facts = "facts: {days: {number: true, default: 0}}\n"
    with pytest.raises(PolicyError, match="the fact `days` is of two kinds"):
        compared(("{number: true, default: 0}", "{flag: true, default: false}"), text=SHOP + facts)


@pytest.mark.parametrize("name", shipped_policies())
def test_a_policy_decides_like_itself(name: str) -> None:
    policy = load_policy(name)
    found = diff_policies(policy, policy)
    assert (found.changes, found.edits, found.complete) == ((), (), True)


def test_too_many_changes_are_not_called_complete() -> None:
    before, after = parse_policy(SHOP), parse_policy(SHOP.replace("[100, 250, 500]", "[20, 300, 450]"))
    found = diff_policies(before, after, most=2)
    assert not found.complete


# --- the command ------------------------------------------------------------------------------------------------------


def recovery(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, [*map(str, args)])


@pytest.fixture
def drafts(tmp_path: Path) -> tuple[Path, Path]:
    before, after = tmp_path / "shop.yaml", tmp_path / "draft.yaml"
    before.write_text(SHOP, encoding="utf-8")
    after.write_text(SHOP.replace("[100, 250, 500]", "[120, 250, 500]"), encoding="utf-8")
    return before, after


def test_the_command_says_what_changes_and_shows_a_request(drafts: tuple[Path, Path]) -> None:
    shown = recovery("diff", *drafts)
    assert shown.exit_code == 0
    assert "wider" in shown.output
    assert "lead is asked → approved on the spot" in shown.output
    command = next(line for line in shown.output.splitlines() if "what-if" in line and "150" not in line)
    assert str(drafts[1]) in command


def test_the_shown_request_can_be_pasted(drafts: tuple[Path, Path]) -> None:
    found = json.loads(recovery("diff", *drafts, "--json").output)
    assert found["complete"] is True
    for change in found["changes"]:
        for command, said in zip(change["what_if"], (change["before"], change["after"]), strict=True):
            answer = json.loads(recovery(*shlex.split(command)[1:], "--json").output)
            assert (answer["outcome"], answer["to"], answer["second"]) == (said["outcome"], said["to"], said["second"])
            assert [reason["line"] for reason in answer["because"]] == said["lines"]


@pytest.mark.parametrize(("wanted", "code"), [("wider", 1), ("any", 1), ("narrower", 0), ("sideways", 0)])
def test_a_verdict_for_other_programs(drafts: tuple[Path, Path], wanted: str, code: int) -> None:
    assert recovery("diff", *drafts, "--fail-on", wanted).exit_code == code


def test_two_days_of_one_folder_are_compared(tmp_path: Path) -> None:
    days = "\neffective: {from: 2026-12-01, until: 2026-12-31}\n", "\neffective: {from: 2027-01-01}\n"
    (tmp_path / "a.yaml").write_text(SHOP + days[0], encoding="utf-8")
    (tmp_path / "b.yaml").write_text(SHOP.replace("[100,", "[120,") + days[1], encoding="utf-8")
    shown = recovery("diff", tmp_path, "--at", "2026-12-05", "--at", "2027-02-01")
    assert shown.exit_code == 0, shown.output
    assert "wider" in shown.output
    assert (
        "no request is decided differently"
        in recovery("diff", tmp_path, "--at", "2026-12-05", "--at", "2026-12-06").output
    )


@pytest.mark.parametrize("arguments", [[], ["x.yaml", "--at", "2026-12-01"], ["--at", "2026-12-01"]])
def test_what_was_forgotten_is_said(drafts: tuple[Path, Path], arguments: list[str]) -> None:
    shown = recovery("diff", drafts[0], *arguments)
    assert shown.exit_code == 2
    assert "--at" in shown.output


def test_few_are_shown_and_the_rest_counted(drafts: tuple[Path, Path]) -> None:
    shown = recovery("diff", *drafts, "--most", "1")
    assert "more: `--most" in shown.output
