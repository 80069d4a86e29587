"""A history decided in order: as if each request had been made of the policy, one after another."""

import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from random import Random
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from engines import DAY, Clock, opened
from hypothesis import given, settings
from one_by_one import FIRST, Asked, answered, history_of, one_by_one, some_requests
from strategies import RequestWriter, random_policy, randoms

from recovery_engine import InvalidRequest, Money, RecoveryRequest, parse_policy
from recovery_engine.history import coding, fold, loop
from recovery_engine.history.fold import fold_answers

pytestmark = pytest.mark.slow

HEAD = """
policy: shop
currency: USD
ladder: [clerk, lead, manager]
"""
EVERY_BUDGET = (
    HEAD
    + """
remedies: [refund, voucher, apology]
facts: {{hours: {{number: true}}, fare: {{money: true, default: 0.20}}}}
authority:
  - {{id: standard, up_to: {{total: [0.20, 0.30, unlimited], voucher: [0.10, 0.20, same]}}}}
ceilings:
  - {{id: half, when: {{remedy: refund}}, percent: 50, of: fare, binds_below: manager}}
  - {{id: each, when: {{remedy: [refund, voucher]}}, each: 0.07, per: hours, amount: 0.40}}
owed:
  - {{id: late, remedy: refund, percent: 33.33, of: fare}}
  - {{id: more, remedy: refund, each: 0.03, per: hours, on_top: true}}
budgets:
  - {{id: first, per: {per}, every: {every}, amount: 0.40}}
  - {{id: second, per: {per}, every: {every}, times: 2, binds_below: lead}}
  - {{id: third, when: {{remedy: [voucher, apology]}}, per: {per}, every: {every}, amount: 0.15, binds_below: manager}}
"""
)
EVERY = ("day", "week", "month", "year", "1 days", "2 days", "90 days")


def compare(random: Random, text: str, policy, count: int, days: int = 12, few: int = 3) -> None:
    asked = some_requests(random, RequestWriter(text, policy), count, days, few)
    connection = history_of(policy, asked)
    fold_answers(connection, policy)
    assert answered(connection, policy) == list(one_by_one(policy, asked))


@pytest.mark.parametrize("per", ["employee", "customer", "site", "organisation"])
@pytest.mark.parametrize("every", EVERY)
def test_budgets_hold_what_the_policy_itself_approved(per: str, every: str) -> None:
    text = EVERY_BUDGET.format(per=per, every=every)
    compare(Random(f"{per}{every}"), text, parse_policy(text, "shop.yaml"), 300)


@pytest.mark.parametrize("seed", range(40))
def test_a_history_is_decided_as_request_by_request(seed: int) -> None:
    random = Random(seed)
    compare(random, *random_policy(random), 120)


def test_the_same_answers_without_numba() -> None:
    random = Random(7)
    text = EVERY_BUDGET.format(per="customer", every="2 days")
    policy = parse_policy(text, "shop.yaml")
    asked = some_requests(random, RequestWriter(text, policy), 200, 12, 3)
    connection = history_of(policy, asked)

    with patch.object(fold, "compiled_run", lambda: loop.run):
        fold_answers(connection, policy)

    assert answered(connection, policy) == list(one_by_one(policy, asked))


def test_cases_and_customers_whose_hashes_meet_stay_apart() -> None:
    random = Random(9)
    text = EVERY_BUDGET.format(per="customer", every="2 days")
    policy = parse_policy(text, "shop.yaml")
    asked = some_requests(random, RequestWriter(text, policy), 200, 12, 3)
    connection, hashed = history_of(policy, asked), coding._hash

    def few(text: str, salt: int = 0) -> str:
        return f"{hashed(text, salt)} % 2" if salt < 2 else hashed(text, salt)

    with patch.object(coding, "_hash", few):
        fold_answers(connection, policy)

    assert answered(connection, policy) == list(one_by_one(policy, asked))


def test_a_history_that_is_not_stored_in_order_is_decided_in_order() -> None:
    random = Random(13)
    text = EVERY_BUDGET.format(per="employee", every="day")
    policy = parse_policy(text, "shop.yaml")
    asked = some_requests(random, RequestWriter(text, policy), 200, 12, 3)
    connection = history_of(policy, asked)
    connection.execute("CREATE TABLE other AS FROM history ORDER BY hash(n); DROP TABLE history")
    connection.execute("ALTER TABLE other RENAME TO history")

    with patch.object(coding, "CHUNK", 64):
        fold_answers(connection, policy)

    assert answered(connection, policy) == list(one_by_one(policy, asked))


def test_where_numba_is_not_installed_the_loop_runs_as_it_stands() -> None:
    program = "import sys; sys.modules['numba'] = None; from recovery_engine.history import loop; "
    program += "print(loop.compiled_run() is loop.run)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "True\n"


def test_a_business_day_that_comes_late_still_counts() -> None:
    """Sites in other time zones: the next row may be of the day before."""
    random = Random(11)
    text = EVERY_BUDGET.format(per="customer", every="2 days")
    policy = parse_policy(text, "shop.yaml")
    asked = some_requests(random, RequestWriter(text, policy), 300, 30, 3)
    asked = [one._replace(day=one.day - timedelta(random.choice((0, 0, 1)))) for one in asked]
    connection = history_of(policy, asked)

    fold_answers(connection, policy)

    assert answered(connection, policy) == list(one_by_one(policy, asked))


def test_what_a_policy_cannot_decide_has_no_answer_and_uses_up_nothing() -> None:
    text = HEAD + (
        "facts: {fare: {money: true}}\nremedies: [refund]\n"
        "authority:\n  - {id: standard, up_to: {total: [5, 10, 20]}}\n"
        "ceilings:\n  - {id: fare, percent: 100, of: fare}\n"
    )
    policy = parse_policy(text, "shop.yaml")
    usual = RecoveryRequest("clerk", "refund", Money.of("3", "USD"), case="C-1", facts={"fare": Money.of("9", "USD")})
    odd = [replace(usual, remedy="gold"), replace(usual, facts={}), replace(usual, role="king")]
    asked = [Asked(FIRST, request) for request in (usual, *odd, replace(usual, amount=Money.of("2", "USD")), usual)]
    connection = history_of(policy, asked)

    fold_answers(connection, policy)

    outcomes = [outcome for outcome, *_ in answered(connection, policy)]
    assert outcomes == ["approve", None, None, None, "approve", "escalate"]


@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(randoms)
def test_it_is_what_an_engine_says_to_the_same_requests(random: Random) -> None:
    """Whatever is sent up is declined, so that what is asked again is decided again."""
    text, policy = random_policy(random)
    asked = some_requests(random, RequestWriter(text, policy), 25, 6, 2)
    clock = Clock()
    tracks = ["organisation"] if any(line.per == "organisation" for line in policy.budgets) else []
    said, kept = [], []
    with TemporaryDirectory() as folder, opened(f"{folder}/log.db", text, clock=clock, tracks=tracks) as engine:
        last = asked[0].day
        for day, request in asked:
            if day > last + timedelta(390):  # an engine takes a clock that goes further ahead for a wrong one
                break
            clock.now_us = max(clock.now_us + 1, _noon_us(day))
            try:
                decision = engine.request(request)
            except InvalidRequest:
                continue
            last = day
            kept.append(Asked(day, request))
            said.append((str(decision.outcome), decision.to, decision.second, decision.needs))
            if decision.outcome == "escalate":
                engine.withdraw(decision.recovery, by=request.employee)

    connection = history_of(policy, kept)
    fold_answers(connection, policy)

    assert answered(connection, policy) == said


def _noon_us(day: date) -> int:
    return (day.toordinal() - date(1970, 1, 1).toordinal()) * DAY + DAY // 2
