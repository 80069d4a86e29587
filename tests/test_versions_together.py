"""What is owed by the version of that day, beside everything else by the version of today: only where they fit."""

from datetime import date, datetime

import pytest

from recovery_engine import (
    InvalidRequest,
    Money,
    Outcome,
    Policy,
    PolicyError,
    PolicyLibrary,
    RecoveryRequest,
    decide,
    parse_policy,
)

VERSION = """
policy: trains
effective: {{from: {day}}}
currency: {currency}
ladder: [clerk, lead]
facts: {{late: {late}}}
authority: [{{up_to: {{total: [10, 20]}}}}]
owed: [{{id: {owed}, when: {{late: over 60}}, remedy: refund, amount: 250}}]
{more}
"""


def version(
    day: str, currency: str = "USD", late: str = "{number: true}", owed: str = "late-60", more: str = ""
) -> Policy:
    return parse_policy(VERSION.format(day=day, currency=currency, late=late, owed=owed, more=more), f"{day}.yaml")


OLD = version("2026-01-01")


def claim(amount: str, occurred_on: date | None, currency: str = "USD") -> RecoveryRequest:
    money, facts = Money.of(amount, currency), {"late": 61}
    return RecoveryRequest("clerk", "refund", money, basis="owed", facts=facts, occurred_on=occurred_on)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (version("2026-06-01", currency="EUR"), "owes in USD"),
        (version("2026-06-01", late="{money: true}"), "`late` is not of the same kind"),
        (version("2026-06-01", owed="late", more="deny: [{id: late-60, when: {late: over 600}}]"), "`late-60` names"),
    ],
)
def test_versions_that_do_not_go_together_are_refused(new: Policy, message: str) -> None:
    with pytest.raises(PolicyError, match=f"RP017.*{message}"):
        PolicyLibrary([OLD, new])
    request = claim("250", None, new.currency)
    with pytest.raises((PolicyError, InvalidRequest)):
        decide(new, request, owed_under=OLD)


def test_a_claim_about_last_month_is_owed_under_last_months_version() -> None:
    library = PolicyLibrary([OLD, version("2026-06-01", owed="late-90", more="").model_copy(update={"owed": ()})])
    request = claim("250", date(2026, 5, 31))
    decision = library.decide(date(2026, 6, 15), request)
    assert (decision.outcome, decision.lines) == (Outcome.APPROVE, ("late-60",))
    assert decision.because[0].where == "2026-01-01.yaml:8"


def test_what_has_not_occurred_yet_is_no_claim() -> None:
    library = PolicyLibrary([OLD])
    request = claim("1", date(2026, 3, 2))
    assert library.decide(date(2026, 3, 2), request).outcome == Outcome.APPROVE
    with pytest.raises(InvalidRequest, match="after the day of the request"):
        library.decide(date(2026, 3, 1), request)


def test_a_time_is_no_day() -> None:
    request = claim("1", datetime(2026, 3, 2))
    with pytest.raises(InvalidRequest, match="not a day"):
        PolicyLibrary([OLD]).decide(date(2026, 3, 2), request)


def test_two_versions_without_days_are_both_in_force() -> None:
    text = "policy: a\ncurrency: USD\nladder: [clerk]\nauthority: [{up_to: {total: [1]}}]\n"
    with pytest.raises(PolicyError, match="RP016"):
        PolicyLibrary([parse_policy(text), parse_policy(text)])
