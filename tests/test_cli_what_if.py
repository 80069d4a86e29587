"""`recovery what-if`: one hypothetical request, answered for the person at the counter."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recovery_cli.main import cli

POLICY = """
policy: counter
version: "3"
currency: USD
ladder: [associate, lead, manager]
remedies: [refund, comp_item, voucher]
categories: [delay, quality]
facts:
  days_since_visit: {number: true, default: 0}
  is_staff: {flag: true, default: false}
authority:
  - id: standard
    up_to:
      total: [100, 250, 500]
      voucher: [25, 100, 250]
budgets:
  - {id: customer-90d, per: customer, every: 90 days, amount: 400, times: 3, binds_below: manager}
deny:
  - {id: staff, when: {is_staff: true}, say: Staff purchases go through HR.}
requires:
  - {id: receipt, when: {remedy: refund}, evidence: [receipt]}
"""


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("counter.yaml").write_text(POLICY, encoding="utf-8")
    return "counter.yaml"


def recovery(*args: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(cli, args, input=stdin)


def ask(policy: str, *args: str, stdin: str | bytes | None = None) -> Result:
    words = ("--role", "associate", "--remedy", "refund", "--evidence", "receipt")
    return recovery("what-if", "--policy", policy, *words, *args, stdin=stdin)


def answer(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_one_cent_over_goes_to_the_lead_with_the_reason_and_its_place(policy: str) -> None:
    said = ask(policy, "--amount", "100.01")
    assert said.exit_code == 0
    assert "ESCALATE TO LEAD" in said.stdout
    assert "standard" in said.stdout
    assert "counter.yaml:12" in said.stdout
    assert "$100.00 or less" in said.stdout


def test_the_answer_says_what_can_be_given_now_what_else_and_what_to_say(policy: str) -> None:
    said = ask(policy, "--amount", "150").stdout
    assert "up to $100.00 of refund at once" in said
    assert "voucher up to $25.00" in said
    assert "I have asked my lead" in said


def test_every_rung_says_whether_it_may(policy: str) -> None:
    lines = [" ".join(line.split()) for line in ask(policy, "--amount", "150").stdout.splitlines()]
    assert "who may associate (you) stopped by standard" in lines
    assert "lead may" in lines
    assert "manager may" in lines


def test_the_answer_fits_on_one_screen(policy: str) -> None:
    lines = ask(policy, "--amount", "150").stdout.splitlines()
    assert len(lines) <= 23
    assert max(len(line) for line in lines) <= 80


def test_the_json_answer_is_the_whole_decision(policy: str) -> None:
    decision = answer(ask(policy, "--amount", "150", "--json"))
    assert decision["outcome"] == "escalate"
    assert decision["to"] == "lead"
    assert decision["grantable_now"] == "100.00"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (["--amount", "100"], 0),
        (["--amount", "150"], 10),
        (["--amount", "5", "--fact", "is_staff=true"], 20),
    ],
)
def test_the_exit_status_is_the_outcome_only_when_asked_for(policy: str, given: list[str], status: int) -> None:
    assert ask(policy, *given).exit_code == 0
    assert ask(policy, *given, "--exit-status").exit_code == status


def test_an_incomplete_request_says_what_it_needs(policy: str) -> None:
    said = recovery(
        "what-if", "--policy", policy, "--role", "lead", "--remedy", "refund", "--amount", "5", "--exit-status"
    )
    assert said.exit_code == 30
    assert "needs         receipt" in said.stdout


def test_what_the_case_already_had_counts(policy: str) -> None:
    assert answer(ask(policy, "--amount", "60", "--json"))["outcome"] == "approve"
    assert answer(ask(policy, "--amount", "60", "--on-case", "comp_item=60", "--json"))["to"] == "lead"


def test_what_a_budget_already_holds_counts(policy: str) -> None:
    used = answer(ask(policy, "--amount", "20", "--used", "customer-90d=amount:1,000.00,times:1", "--json"))
    assert used["to"] == "manager"
    times = answer(ask(policy, "--amount", "20", "--used", "customer-90d=times:3", "--json"))
    assert times["to"] == "manager"


def test_every_problem_is_named_at_once_with_its_cure(policy: str) -> None:
    request = ("--role", "asociate", "--remedy", "refnd", "--amount", "1e3", "--fact", "is_staf=true")
    said = recovery("what-if", "--policy", policy, *request)
    assert said.exit_code == 2
    assert said.stdout == ""
    for part in ("did you mean `associate`?", "did you mean `refund`?", "write `1000`", "did you mean `is_staff`?"):
        assert part in said.stderr


def test_problems_are_json_where_json_is_asked_for(policy: str) -> None:
    said = ask(policy, "--amount", "1e3", "--category", "dely", "--json")
    assert said.exit_code == 2
    problems = json.loads(said.stdout)["problems"]
    assert {problem["where"] for problem in problems} == {"amount", "category"}


def test_a_request_without_an_amount_is_told_so(policy: str) -> None:
    said = ask(policy)
    assert said.exit_code == 2
    assert "amount: error" in said.stderr


def test_a_policy_that_cannot_be_used_shows_its_mistakes(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(POLICY.replace("remedy: refund}", "remedy: refnd}"), encoding="utf-8")
    said = ask(str(broken), "--amount", "5")
    assert said.exit_code == 2
    assert "broken.yaml:21:" in said.stderr
    assert "^" in said.stderr
    assert "did you mean `refund`?" in said.stderr


def test_the_policy_may_come_from_the_environment(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOVERY_POLICY", policy)
    said = recovery("what-if", "--role", "associate", "--remedy", "voucher", "--amount", "30", "--json")
    assert answer(said)["to"] == "lead"


def test_without_a_policy_the_classic_one_answers() -> None:
    said = recovery("what-if", "--role", "frontline", "--amount", "250.01", "--json")
    assert answer(said)["to"] == "manager"


# --- from JSON ---


def test_a_request_may_come_as_json_and_flags_win(policy: str, tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_text('{"role": "associate", "remedy": "refund", "evidence": ["receipt"], "amount": 60.10}')
    assert answer(recovery("what-if", "--policy", policy, "--json-file", str(request), "--json"))["amount"] == "60.10"
    over = answer(recovery("what-if", "--policy", policy, "--json-file", str(request), "--amount", "70", "--json"))
    assert over["amount"] == "70.00"


def test_an_amount_in_json_is_never_a_float(policy: str) -> None:
    given = '{"role": "manager", "remedy": "refund", "evidence": ["receipt"], "amount": 0.1000000000000000055}'
    said = recovery("what-if", "--policy", policy, "--json-file", "-", stdin=given)
    assert said.exit_code == 2
    assert "has more than 2 decimals" in said.stderr


def test_facts_in_json_and_in_flags_are_joined(policy: str) -> None:
    given = '{"role": "manager", "remedy": "voucher", "amount": "5", "facts": {"is_staff": false}}'
    said = recovery("what-if", "--policy", policy, "--json-file", "-", "--fact", "is_staff=true", "--json", stdin=given)
    assert answer(said)["outcome"] == "deny"


@pytest.mark.parametrize(
    "given",
    [
        *(b"", b"[]", b"{", b'"x"', b"\xff\xfe", b"[" * 100_000),
        b'{"facts": 3, "role": "lead"}',
        b'{"role": "lead", "remedy": "voucher", "amount": ' + b"9" * 5000 + b"}",
    ],
)
def test_json_that_is_no_request_is_refused_and_never_a_traceback(policy: str, given: bytes) -> None:
    said = recovery("what-if", "--policy", policy, "--json-file", "-", stdin=given)
    assert said.exit_code == 2
    assert said.stderr
    assert "Traceback" not in said.output


@pytest.mark.parametrize(
    ("flags", "cure"),
    [
        (["--fact", "is_staff"], "write NAME=VALUE"),
        (["--fact", "is_staff=true", "--fact", "is_staff=false"], "given twice"),
        (["--used", "customer-90=times:1"], "did you mean `customer-90d`?"),
        (["--used", "customer-90d=lots"], "amount: 50"),
        (["--on-case", "refnd=5"], "did you mean `refund`?"),
        (["--rol", "lead"], "--role"),
        (["--fact", "foo=1"], "foo: error RQ005 unknown fact `foo` (one of `days_since_visit`, `is_staff`)"),
    ],
)
def test_a_flag_that_cannot_be_read_names_the_cure(policy: str, flags: list[str], cure: str) -> None:
    said = ask(policy, "--amount", "5", *flags)
    assert said.exit_code == 2
    assert cure in " ".join(said.stderr.replace("│", " ").split())


def test_text_from_outside_cannot_steer_the_terminal(policy: str) -> None:
    said = recovery("what-if", "--policy", policy, "--role", "\x1b[31mboss", "--remedy", "refund", "--amount", "5")
    assert said.exit_code == 2
    assert "\x1b" not in said.output
