"""What the people of a directory leave open: found for every amount, before a customer asks."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from itertools import pairwise, permutations
from random import Random

import pytest
from hypothesis import Phase, given, settings

from recovery_engine import (
    Decision,
    InvalidRequest,
    Money,
    Outcome,
    OwnLimit,
    Person,
    Policy,
    RecoveryRequest,
    Staff,
    check_staff,
    decide,
    parse_policy,
    read_staff,
)
from recovery_engine.rules.encoding import word_classes
from recovery_engine.whatif import staffing
from recovery_engine.whatif.spans import joined, without
from tests.asking import CLASSIC, HEAD
from tests.strategies import EVIDENCE, LARGEST, RequestWriter, random_policy, randoms
from tests.test_oracle import SCALE

DAY = date(2026, 11, 28)
EVERYBODY = ("clerk", "lead", "manager")


def dollars(amount: int) -> Money:
    return Money.of(str(amount), "USD")


def at_most(amount: int) -> OwnLimit:
    return OwnLimit(at_most=dollars(amount))


def people(*roles: str) -> list[Person]:
    return [Person(f"e-{number}", role) for number, role in enumerate(roles)]


def found(policy: str, *persons: Person, day: date = DAY) -> list[str]:
    """Each finding: its code, and its message up to the first semicolon."""
    checked = check_staff(Staff(persons), [parse_policy(policy)], day)
    return [f"{one.code} {one.message.partition(';')[0]}" for one in checked]


# --- amounts that nobody can approve ----------------------------------------------------------------------------------


def test_where_every_role_is_there_nothing_is_left_open() -> None:
    assert found(CLASSIC, *people(*EVERYBODY)) == []


def test_without_a_manager_what_only_a_manager_may_is_open() -> None:
    assert found(CLASSIC, *people("clerk", "lead")) == [
        "ST011 $250.01 to $500.00 cannot be approved, whoever asks",
        "ST010 no manager is there on 2026-11-28, who is asked for $250.01 to $500.00",
    ]


def test_the_most_that_anybody_may_give_alone_is_told() -> None:
    (gap, _) = check_staff(Staff(people("clerk", "lead")), [parse_policy(CLASSIC)], DAY)
    assert gap.message.endswith("; the most that anybody there may give alone is $250.00")


def test_a_role_that_is_skipped_is_only_a_warning() -> None:
    checked = check_staff(Staff(people("clerk", "manager")), [parse_policy(CLASSIC)], DAY)
    assert [(one.code, one.level) for one in checked] == [("ST010", "warning")]
    assert checked[0].message == "no lead is there on 2026-11-28, who is asked for $100.01 to $250.00"


def test_an_own_limit_opens_a_gap_and_another_closes_it() -> None:
    limited = Person("e-9", "manager", own_limit=at_most(300))
    assert found(CLASSIC, *people("clerk", "lead"), limited) == [
        "ST011 $300.01 to $500.00 cannot be approved, whoever asks"
    ]
    higher = Person("e-9", "lead", own_limit=OwnLimit(up_to=dollars(400)))
    assert (
        found(CLASSIC, *people("clerk", "lead"), higher)[0]
        == "ST011 $400.01 to $500.00 cannot be approved, whoever asks"
    )


def test_the_gap_of_one_person_is_told_as_theirs() -> None:
    limited = Person("e-9", "lead", own_limit=at_most(60))
    another = "no manager is there on 2026-11-28, who is asked for $60.01 to $500.00"
    assert f"ST010 {another}" in found(CLASSIC, *people("clerk", "lead"), limited)  # the other lead may approve it
    theirs = "ST011 $60.01 to $100.00 cannot be approved, when a lead whose own limit is $60.00 asks"
    assert theirs in found(CLASSIC, *people("clerk"), limited)


@pytest.mark.parametrize(
    "away",
    [
        {"suspended": True},
        {"sites": ("elsewhere",)},
        {"last_day": date(2026, 11, 27)},
        {"first_day": date(2026, 11, 29)},
    ],
)
def test_who_is_away_approves_nothing(away: dict[str, object]) -> None:
    listed = CLASSIC + "sites: [S1, elsewhere]\n"
    manager = replace(people("manager")[0], **away)  # type: ignore[arg-type]
    rest = [replace(person, employee=f"r-{person.role}") for person in people("clerk", "lead")]
    assert any(
        "`S1`" in one and "$250.01 to $500.00 cannot be approved" in one for one in found(listed, manager, *rest)
    )


def test_four_eyes_need_two_people() -> None:
    eyes = CLASSIC + "four_eyes: [{id: two, when: {amount: over 200}, second: manager}]\n"
    for_a_second = "ST011 $250.01 to $500.00 cannot be approved for want of a second person, whoever asks"
    assert for_a_second not in found(eyes, *people("clerk", "clerk", "lead", "manager", "manager"))
    assert found(eyes, *people("clerk", "lead", "manager")) == [
        "ST011 $250.01 to $500.00 cannot be approved for want of a second person, whoever asks",
        "ST011 $200.01 to $250.00 cannot be approved for want of a second person, when a manager asks",
    ]


def test_someone_else_needs_another_person_also_at_the_top() -> None:
    family = CLASSIC + "facts: {knows: {flag: true}}\nsomeone_else: [{id: family, when: {knows: true}}]\n"
    assert found(family, *people("clerk", "lead", "manager", "manager")) == []
    assert found(family, *people(*EVERYBODY)) == [
        "ST011 up to $500.00 cannot be approved in some cases, such as knows true, when a manager asks"
    ]


def test_a_manager_at_the_top_with_a_limit_needs_another() -> None:
    limited = Person("e-9", "manager", own_limit=at_most(300))
    assert found(CLASSIC, *people("clerk", "lead", "manager"), limited) == []
    assert found(CLASSIC, *people("clerk", "lead"), limited)[0].startswith("ST011 $300.01 to $500.00")


def test_what_the_policy_refuses_is_no_gap() -> None:
    assert found(CLASSIC + "deny: [{id: never, when: {amount: over 250}}]\n", *people("clerk", "lead")) == []


def test_proof_that_is_missing_is_no_gap() -> None:
    proof = "requires: [{id: receipt, evidence: [receipt]}]\nreason_codes: {delay: [D1]}\n"
    assert found(CLASSIC + "categories: [delay]\n" + proof, *people(*EVERYBODY)) == []


def test_a_ceiling_by_the_bill_is_looked_at_on_both_sides() -> None:
    half = CLASSIC + "ceilings: [{id: half, percent: 50, of: bill, binds_below: manager}]\n"
    assert found(half, *people("clerk", "lead"))[1].startswith(
        "ST011 $0.01 to $250.00 cannot be approved in some cases"
    )
    whole = half.replace("binds_below: manager}", "binds_below: manager}, {id: whole, percent: 100, of: bill}")
    assert found(whole, *people("clerk", "lead"))[1].startswith(
        "ST011 $0.01 to $250.00 cannot be approved in some cases"
    )
    assert found(CLASSIC + "ceilings: [{id: whole, percent: 100, of: bill}]\n", *people(*EVERYBODY)) == []


def test_a_gap_in_some_cases_names_one() -> None:
    major = HEAD + (
        "severities: [minor, major]\nauthority:\n  - up_to: {total: [100, 250, 500]}\n"
        "  - {when: {severity: major}, up_to: {total: [0, 0, 500]}}\n"
    )
    assert found(major, *people("clerk", "lead"))[:2] == [
        "ST011 $250.01 to $500.00 cannot be approved, whoever asks",
        "ST011 $0.01 to $250.00 cannot be approved in some cases, such as severity major, whoever asks",
    ]


# --- sites ------------------------------------------------------------------------------------------------------------


def test_sites_with_the_same_gap_are_told_together() -> None:
    listed = CLASSIC + "sites: [S1, S2, S3]\n"
    persons = [*people("clerk", "lead"), Person("m", "manager", ("S2",))]
    assert found(listed, *persons)[0] == "ST011 at `S1`, `S3`: $250.01 to $500.00 cannot be approved, whoever asks"


def test_a_site_without_anybody_is_told() -> None:
    persons = [replace(person, sites=("S1",)) for person in people(*EVERYBODY)]
    assert found(CLASSIC + "sites: [S1, S2]\n", *persons) == [
        "ST010 at `S2`: nobody who may act is there on 2026-11-28"
    ]


def test_where_a_policy_lists_no_sites_those_of_the_people_are_looked_at() -> None:
    persons = [*people("clerk", "lead"), Person("m", "manager", ("S1",)), Person("c", "clerk", ("S2",))]
    assert found(CLASSIC, *persons)[0].startswith("ST011 at `S2`: $250.01")


def test_nobody_at_all_is_a_finding() -> None:
    assert found(CLASSIC) == ["ST010 nobody who may act is there on 2026-11-28"]


# --- each person ------------------------------------------------------------------------------------------------------

WRITTEN = """\
staff: shop
currency: USD
people:
  - {employee: a, role: clerk, sites: [S1, S9]}
  - {employee: b, role: lead}
  - {employee: c, role: manager}
  - {employee: d, role: boss}
  - {employee: f, role: lead, limit: {at_most: 250}, why: no reason}
  - {employee: g, role: lead, limit: {up_to: 250}, why: no reason}
  - {employee: h, role: lead, limit: {at_most: 249.99}, why: a reason}
"""


def test_what_is_wrong_with_a_row_is_shown_in_it() -> None:
    checked = check_staff(read_staff(WRITTEN, "s.yaml"), [parse_policy(CLASSIC + "sites: [S1]\n")], DAY)
    assert [(one.code, one.level, one.line) for one in checked] == [
        ("ST013", "error", 4),
        ("ST012", "error", 7),
        ("ST014", "warning", 8),
        ("ST014", "warning", 9),
    ]
    assert all(one.where == f"s.yaml:{one.line}:{one.column}" and "^" in one.excerpt for one in checked)


def test_a_limit_in_another_currency_lets_nobody_be_decided() -> None:
    checked = check_staff(read_staff(WRITTEN), [parse_policy(CLASSIC.replace("USD", "EUR"))], DAY)
    assert [one.code for one in checked] == ["ST012", "ST015", "ST015", "ST015"]


def test_a_finding_about_all_of_them_stands_where_the_people_begin() -> None:
    (first, *_) = check_staff(
        read_staff("staff: s\npeople:\n  - {employee: a, role: clerk}\n", "s.yaml"), [parse_policy(CLASSIC)], DAY
    )
    assert (first.where, first.excerpt) == ("s.yaml:2:1", "")


def test_what_is_not_looked_at_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staffing, "_MOST_SITUATIONS", 1)
    major = CLASSIC + "severities: [minor, major]\ndeny: [{id: no, when: {severity: major, amount: over 5}}]\n"
    assert found(major, *people(*EVERYBODY))[-1].startswith("ST016 only the first 1 kinds")


# --- nothing is missed ------------------------------------------------------------------------------------------------


def some_people(random: Random, policy: Policy) -> list[Person]:
    persons = []
    for number in range(random.randint(1, 3)):
        kind = random.choice((None, None, "at_most", "up_to"))
        money = Money(random.randint(0, LARGEST), policy.currency)
        own_limit = OwnLimit(**{kind: money}) if kind else None
        persons.append(Person(f"e-{number}", random.choice(policy.ladder), own_limit=own_limit))
    return persons


def requests(random: Random, text: str, policy: Policy) -> Iterator[RecoveryRequest]:
    """Requests on a fresh case with all proof on file."""
    writer = RequestWriter(text, policy)
    for _ in range(60):
        request, _ = writer.request(random)
        codes = policy.reason_codes.get(request.category or "", (None,))
        yield replace(
            request,
            basis="goodwill",
            note="so it was",
            reason=codes[0],
            evidence=frozenset((*EVIDENCE, *writer.evidence)),
        )


def lacking(policy: Policy, request: RecoveryRequest, asker: Person, others: list[Person]) -> bool:
    """Whether nobody among the others could approve it, each of them tried in every part."""
    decision = by(policy, request, asker)
    if decision.outcome != Outcome.ESCALATE:
        return False

    def at_least(person: Person, role: str | None) -> bool:
        return role is None or policy.rank(person.role) >= policy.rank(role)

    if stops(decision, asker) == set():
        return not any(at_least(person, decision.second) for person in others)
    elsewhere = {line.id for line in policy.someone_else}
    for first, second in permutations([*others, None], 2):
        if first is None or not at_least(first, asker.role):
            continue
        answer = by(policy, request, first)
        if stops(answer, first) <= elsewhere:
            if answer.second is None or (second is not None and at_least(second, answer.second)):
                return False
    return True


def by(policy: Policy, request: RecoveryRequest, person: Person) -> Decision:
    return decide(policy, replace(request, role=person.role, own_limit=person.own_limit))


def stops(decision: Decision, person: Person) -> set[str]:
    return next(set(rung.stopped_by) for rung in decision.rungs if rung.role == person.role)


@settings(max_examples=6 * SCALE, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(randoms)
def test_what_nobody_could_approve_is_always_found(random: Random) -> None:
    text, policy = random_policy(random)
    while len(word_classes(policy)) > 4:  # one that tells little apart: all of it is tried
        text, policy = random_policy(random)
    persons = some_people(random, policy)
    reported = spans_by_site(policy, persons)
    for request in requests(random, text, policy):
        for asker in persons:
            try:
                lacks = lacking(policy, request, asker, [person for person in persons if person is not asker])
            except InvalidRequest:
                continue
            if lacks:
                spans = reported(request.site)
                assert any(
                    low <= request.amount.minor and (high is None or request.amount.minor <= high)
                    for low, high in spans
                ), f"{text}\n{persons}\n{request}"


def spans_by_site(policy: Policy, persons: list[Person]):  # type: ignore[no-untyped-def]
    """What is reported for a site, by site."""
    seen: dict[str | None, list[tuple[int, int | None]]] = {}
    rules = policy.with_owed((), {}).model_copy(update={"requires": (), "reason_codes": {}})
    classes, cuts = word_classes(rules), staffing._cuts(rules)

    def reported(site: str | None) -> list[tuple[int, int | None]]:
        if site not in seen:
            kinds = staffing._kinds(Staff(persons), policy, site, DAY)
            gaps = staffing._Site(rules, site, kinds, classes, cuts).gaps()
            seen[site] = [span for examples in gaps.unapproved.values() for span in examples]
        return seen[site]

    return reported


def test_spans_are_sets_of_amounts() -> None:
    random = Random(4)
    for _ in range(300):
        ours, theirs = ([some_span(random) for _ in range(random.randint(0, 4))] for _ in range(2))
        assert amounts(joined(ours)) == amounts(ours)
        assert amounts(without(ours, theirs)) == amounts(ours) - amounts(theirs)
        assert all(one[1] is not None and one[1] + 1 < other[0] for one, other in pairwise(joined(ours)))


def some_span(random: Random) -> tuple[int, int | None]:
    low = random.randint(0, 12)
    return low, random.choice((None, low, low + random.randint(0, 5)))


def amounts(spans: object) -> set[int]:
    return {at for low, high in spans for at in range(low, 31 if high is None else high + 1)}  # type: ignore[attr-defined]
