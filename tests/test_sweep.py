"""A sweep is what a fold at every single value of the limit says, and names each value at which that changes."""

from dataclasses import replace
from random import Random

import pytest
from one_by_one import history_of, some_requests
from strategies import RequestWriter

from recovery_engine import InvalidRequest, Money, parse_policy
from recovery_engine.history.fold import fold_answers
from recovery_engine.history.sweep import SweepRange, SweepStep, curve, frontier, knee, limits_of

pytestmark = pytest.mark.slow

LIMITS = {
    "standard/total/clerk": ("0.12", "12"),
    "standard/total/lead": ("0.18", "12"),
    "standard/voucher/clerk": ("none", "12"),
    "again/refund/lead": ("0.10", "12"),
    "half/amount": ("0.14", "12"),
    "flat/amount": ("0.17", "12"),
}
OF_BUDGETS = {"person/amount": ("0.40", "12"), "guest/amount": ("0.30", "12"), "guest/times": ("2", "3")}


def policy_with(budgets: bool, **values: str):
    """The policy with these limits; the others are as in LIMITS."""
    return parse_policy(text_with(budgets, **values), "shop.yaml")


def text_with(budgets: bool, **values: str) -> str:
    at = {name: usual for name, (usual, _) in (LIMITS | OF_BUDGETS).items()} | values
    text = f"""
policy: shop
currency: USD
ladder: [clerk, lead, manager]
severities: [minor, major]
facts: {{fare: {{money: true, default: 0.30}}}}
authority:
  - {{id: standard, up_to: {{total: [{at["standard/total/clerk"]}, {at["standard/total/lead"]}, unlimited],
                            voucher: [{at["standard/voucher/clerk"]}, 0.15, unlimited]}}}}
  - {{id: again, when: {{severity: major}}, up_to: {{refund: [0.05, {at["again/refund/lead"]}, unlimited]}}}}
ceilings:
  - {{id: half, percent: 50, of: fare, amount: {at["half/amount"]}, binds_below: lead}}
  - {{id: flat, when: {{remedy: [voucher, refund]}}, amount: {at["flat/amount"]}, binds_below: manager}}
owed:
  - {{id: late, remedy: refund, percent: 20, of: fare}}
four_eyes:
  - {{id: large, when: {{amount: over 0.25}}, second: lead}}
"""
    if budgets:
        text += f"""
budgets:
  - {{id: person, per: employee, every: 3 days, amount: {at["person/amount"]}, binds_below: lead}}
  - {{id: guest, per: customer, every: month, amount: {at["guest/amount"]}, times: {at["guest/times"]},
     binds_below: manager}}
"""
    return text


def shown(limit: str, value: int) -> str:
    return str(value) if limit.endswith("/times") else Money(value, "USD").decimal


def asked(seed: str, budgets: bool, count: int):
    """The policy, and requests on so many cases that even a clerk's limits are not reached at once."""
    text = text_with(budgets)
    policy = parse_policy(text, "shop.yaml")
    return policy, some_requests(Random(seed), RequestWriter(text, policy), count, 9, 25)


def at(connection, budgets: bool, values: dict[str, int]) -> tuple[int, ...]:
    """What a fold with a policy of these limits says: how many of each outcome, and what was paid."""
    fold_answers(connection, policy_with(budgets, **{limit: shown(limit, value) for limit, value in values.items()}))
    (found,) = connection.execute(
        "SELECT count_if(outcome = 0), count_if(outcome = 1), count_if(outcome = 2), count_if(outcome = 3), "
        "coalesce(sum(amount) FILTER (outcome = 0), 0) FROM answers JOIN history USING (n)"
    ).fetchall()
    return found


def holding(steps: tuple[SweepStep, ...], value: int) -> tuple[int, ...]:
    """What the curve says of a value."""
    return [step for step in steps if step.values[0] <= value][-1][1:]


@pytest.mark.parametrize("limit", [*LIMITS, *OF_BUDGETS])
def test_the_curve_is_that_of_every_single_value(limit: str) -> None:
    policy, requests = asked(limit, True, 300 if limit == "standard/voucher/clerk" else 120)
    connection = history_of(policy, requests)
    last = 4 if limit.endswith("/times") else 16

    steps = curve(connection, policy, limits_of(policy, [SweepRange(limit, shown(limit, 0), shown(limit, last))], None))

    assert [holding(steps, value) for value in range(last + 1)] == [
        at(connection, True, {limit: value}) for value in range(last + 1)
    ]
    assert len(steps) > 1


@pytest.mark.parametrize("limit", LIMITS)
def test_where_no_request_depends_on_another_the_curve_is_the_same_in_two_folds(limit: str) -> None:
    policy, requests = asked(limit, False, 120)
    apart = [
        one._replace(request=replace(one.request, case=f"own-{n}", receipt=None)) for n, one in enumerate(requests)
    ]
    connection = history_of(policy, apart)
    limits = limits_of(policy, [SweepRange(limit, "0.03", "0.40")], None)

    at_once = curve(connection, policy, limits, depends=False)

    assert at_once == curve(connection, policy, limits, depends=True)
    assert len(at_once) > 1


def test_two_limits_are_swept_together() -> None:
    policy, requests = asked("two", True, 40)
    connection = history_of(policy, requests)
    first, second = "standard/total/clerk", "person/amount"

    steps = curve(
        connection,
        policy,
        limits_of(policy, [SweepRange(first, "0", "0.15"), SweepRange(second, "0.10", "0.30")], None),
    )

    for other in range(10, 31, 4):
        row = max(step.values[1] for step in steps if step.values[1] <= other)
        of_row = tuple(step for step in steps if step.values[1] == row)
        for value in range(0, 16, 3):
            assert holding(of_row, value) == at(connection, True, {first: value, second: other})


def test_the_knee_is_the_step_farthest_above_the_straight_line() -> None:
    steps = [
        SweepStep((value,), approved, 10 - approved, 0, 0, 0)
        for value, approved in ((10, 0), (20, 6), (30, 8), (50, 9))
    ]

    assert knee(steps) == 1
    assert knee([SweepStep((value,), value, 0, 0, 0, 0) for value in (1, 2, 3)]) is None
    assert knee(steps[:1]) is None


def test_the_frontier_holds_what_nothing_beats_in_both() -> None:
    steps = [
        SweepStep((at, at), approved, 0, 0, 0, paid)
        for at, (approved, paid) in enumerate(((5, 50), (6, 40), (4, 60), (9, 90)))
    ]

    assert frontier(steps) == (1, 3)


@pytest.mark.parametrize(
    ("limit", "first", "last", "problem"),
    [
        ("standrad/total/clerk", "0", "1", "no line `standrad` (did you mean `standard`?)"),
        ("standard/total/clark", "0", "1", "`standard/total/clark` is no limit of this policy"),
        ("late/amount", "0", "1", "`late` is not an authority line, a ceiling or a budget"),
        ("guest/times", "0", "1.5", "`1.5` is no number of cases"),
        ("person/amount", "2", "1", "1 is below 2"),
        ("person/amount", "x", "1", "`x` is not an amount"),
    ],
)
def test_a_limit_that_is_none_is_refused_with_the_cure(limit: str, first: str, last: str, problem: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        limits_of(parse_policy(text_with(True), "shop.yaml"), [SweepRange(limit, first, last)], None)

    assert problem in str(refused.value)
