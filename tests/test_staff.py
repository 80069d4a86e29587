"""The staff directory: read from text with every mistake in it, and why somebody may not act."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from recovery_engine import (
    Money,
    OwnLimit,
    Person,
    PolicyError,
    Staff,
    decide,
    parse_policy,
    read_staff,
    read_staff_file,
)
from recovery_engine.model import RecoveryRequest
from tests.asking import CLASSIC

PEOPLE = """\
staff: lakeside
currency: USD
people:
  - {employee: emp-104, role: clerk, sites: [S1]}
  - {employee: emp-7, role: manager, from: 2026-01-01, until: 2026-12-31}
  - {employee: emp-9, role: lead, suspended: true, why: until the audit is done}
  - {employee: emp-12, role: lead, limit: {at_most: 60}, why: first month}
  - {employee: emp-13, role: clerk, limit: {up_to: 150}, why: ten years of good judgement}
"""
DAY = date(2026, 11, 28)


def day(text: str) -> date:
    return date.fromisoformat(text)


def mistakes(text: str, *policies: str) -> list[tuple[str, str]]:
    """The code of each mistake, and the words that its carets stand under."""
    with pytest.raises(PolicyError) as raised:
        read_staff(text, "staff.yaml", map(parse_policy, policies))
    found = []
    for diagnostic in raised.value.diagnostics:
        line, carets = (part.partition("| ")[2] for part in diagnostic.excerpt.split("\n"))
        found.append((diagnostic.code, line[carets.index("^") : carets.index("^") + carets.count("^")]))
        assert diagnostic.where == f"staff.yaml:{diagnostic.line}:{diagnostic.column}"
        assert diagnostic.help
    return found


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_directory_says_who_where_when_and_how_much() -> None:
    staff = read_staff(PEOPLE)
    assert staff.name == "lakeside"
    assert staff.people == (
        Person("emp-104", "clerk", ("S1",)),
        Person("emp-7", "manager", None, day("2026-01-01"), day("2026-12-31")),
        Person("emp-9", "lead", suspended=True, why="until the audit is done"),
        Person("emp-12", "lead", own_limit=OwnLimit(at_most=Money.of("60", "USD")), why="first month"),
        Person("emp-13", "clerk", own_limit=OwnLimit(up_to=Money.of("150", "USD")), why="ten years of good judgement"),
    )


def row(text: str, head: str = "staff: s\ncurrency: USD\n") -> str:
    return f"{head}people:\n  - {text}\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (row("{employee: e 1, role: lead}"), [("RP013", "e 1")]),
        (row("{employee: e1}"), [("RP005", "{")]),
        (row("{role: lead}"), [("RP005", "{")]),
        (row("{employee: e1, role: lead, rank: 2}"), [("RP004", "rank")]),
        (row("{employee: e1, role: lead, sites: []}"), [("RP007", "[")]),
        (row("{employee: e1, role: lead, sites: }"), [("RP007", "}")]),
        (row("{employee: e1, role: lead, sites: [S1, S1]}"), [("RP008", "S1")]),
        (row("{employee: e1, role: lead, from: 1.1.2026}"), [("RP013", "1.1.2026")]),
        (row("{employee: e1, role: lead, from: 2026-02-01, until: 2026-01-31}"), [("RP012", "2026-01-31")]),
        (row("{employee: e1, role: lead, suspended: yes, why: w}"), [("RP006", "yes")]),
        (row("{employee: e1, role: lead, suspended: true}"), [("RP005", "suspended")]),
        (row("{employee: e1, role: lead, limit: {at_most: 60}}"), [("RP005", "limit")]),
        (row("{employee: e1, role: lead, limit: {at_most: 60, up_to: 70}, why: w}"), [("RP007", "{")]),
        (row("{employee: e1, role: lead, limit: {atmost: 60}, why: w}"), [("RP004", "atmost")]),
        (row("{employee: e1, role: lead, limit: {at_most: 6.005}, why: w}"), [("RP006", "6.005")]),
        (row("{employee: e1, role: lead, limit: 60, why: w}"), [("RP007", "60")]),
        (row("{employee: e1, role: lead, limit: {up_to: 6}, why: w}", "staff: s\n"), [("RP005", "{")]),
        (row("{employee: e1, role: lead, limit: {up_to: 6}, why: w}", "staff: s\ncurrency: USE\n"), [("RP003", "USE")]),
        (row("e1"), [("RP007", "e1")]),
        (row("{employee: e1, role: lead}", "currency: USD\n"), [("RP005", "c")]),
        (row("{employee: e1, role: lead}", "staff: s\ncolour: x\n"), [("RP004", "colour")]),
        ("staff: s\npeople: []\n", [("RP007", "[")]),
        ("staff: s\n", [("RP005", "s")]),
        (row("{employee: &x e1, role: lead}"), [("RP009", "&")]),
    ],
)
def test_a_mistake_is_shown_at_its_place(text: str, found: list[tuple[str, str]]) -> None:
    shown = mistakes(text)
    assert [code for code, _ in shown] == [code for code, _ in found]
    assert all(
        words.startswith(start) or start.startswith(words) for (_, words), (_, start) in zip(shown, found, strict=True)
    )


def test_every_mistake_is_found_in_one_run() -> None:
    text = PEOPLE.replace("USD", "USE").replace("sites: [S1]", "sites: []").replace("role: manager", "role: ")
    assert [code for code, _ in mistakes(text)] == ["RP003", "RP007", "RP007"]


def test_a_text_that_is_no_directory_is_called_one() -> None:
    for text, said in (("", "an empty staff directory"), ("- a\n", "a staff directory is a mapping")):
        with pytest.raises(PolicyError, match=said):
            read_staff(text)


def test_an_employee_may_stand_in_rows_whose_days_do_not_overlap() -> None:
    def two(first: str, second: str) -> str:
        rows = [f"{{employee: e1, role: clerk, {first}}}", f"{{employee: e1, role: lead, {second}}}"]
        return "staff: s\npeople:\n" + "".join(f"  - {each}\n" for each in rows)

    staff = read_staff(two("until: 2026-06-30", "from: 2026-07-01"))
    roles = [staff.person("e1", day(on)).role for on in ("2026-06-30", "2026-07-01", "2030-01-01")]  # type: ignore[union-attr]
    assert roles == ["clerk", "lead", "lead"]
    for overlap in (("until: 2026-06-30", "from: 2026-06-30"), ("from: 2026-06-30", "until: 2026-07-30")):
        assert mistakes(two(*overlap)) == [("RP008", "e1")]
    assert mistakes(two("sites: [S1]", "sites: [S2]")) == [("RP008", "e1")]


def test_roles_and_sites_are_those_of_the_policies() -> None:
    listed = CLASSIC + "sites: [S1, S2]\n"
    read_staff(PEOPLE, policies=[parse_policy(listed)])
    wrong = PEOPLE.replace("clerk, sites: [S1]", "clark, sites: [S3]")
    assert mistakes(wrong, listed) == [("RP003", "clark"), ("RP003", "S3")]
    assert mistakes(wrong, listed, CLASSIC.replace("clerk", "cashier")) == [("RP003", "clark")]


def test_a_file_is_read_and_named(tmp_path: Path) -> None:
    path = tmp_path / "staff.yaml"
    path.write_text(PEOPLE, encoding="utf-8")
    assert read_staff_file(path).people == read_staff(PEOPLE).people
    with pytest.raises(PolicyError, match=r"did you mean .*staff\.yaml"):
        read_staff_file(tmp_path / "staf.yaml")
    path.write_bytes(b"staff: \xff")
    with pytest.raises(PolicyError, match="not UTF-8"):
        read_staff_file(path)
    with pytest.raises(PolicyError, match="cannot read it"):
        read_staff_file("classic")  # no starter policy is meant


# --- who may act ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (("emp-104", "clerk", "S1"), []),
        (("emp-104", None, "S1"), []),
        (("emp-104", "", "S1"), []),
        (("EMP-104", "clerk", "S1"), ["employee ST001"]),
        (("emp-7", "manager", None), []),
        (("emp-12", "lead", "anywhere"), []),
        (("emp-10", "clerk", "S1"), ["employee ST001"]),
        (("emp-9", "lead", "S1"), ["employee ST002"]),
        (("emp-104", "clerk", "S2"), ["site ST004"]),
        (("emp-104", "clerk", None), ["site ST004"]),
        (("emp-104", "manager", "S1"), ["role ST005"]),
        (("emp-104", "manager", "S2"), ["site ST004", "role ST005"]),
    ],
)
def test_why_somebody_may_not_act(asked: tuple[str, str | None, str | None], found: list[str]) -> None:
    problems = read_staff(PEOPLE).problems(*asked, DAY)
    assert [f"{problem.where} {problem.code}" for problem in problems] == found


@pytest.mark.parametrize(
    ("on", "said"),
    [
        ("2025-12-31", "emp-7 is not here before 2026-01-01"),
        ("2026-01-01", ""),
        ("2026-12-31", ""),
        ("2027-01-01", "emp-7 was here until 2026-12-31"),
    ],
)
def test_the_first_and_the_last_day_are_included(on: str, said: str) -> None:
    assert [problem.message for problem in read_staff(PEOPLE).problems("emp-7", None, "S1", day(on))] == [said] * bool(
        said
    )


def test_between_two_of_their_rows_it_is_the_last_one_that_is_told() -> None:
    people = [Person("e", "clerk", last_day=day("2026-03-31")), Person("e", "lead", first_day=day("2026-06-01"))]
    staff = Staff(people)
    assert [problem.message for problem in staff.problems("e", None, None, day("2026-05-01"))] == [
        "e was here until 2026-03-31"
    ]
    assert staff.person("e") is people[1]


def test_no_other_employee_is_suggested() -> None:
    (problem,) = read_staff(PEOPLE).problems("emp-103", "clerk", "S1", DAY)
    assert "emp-104" not in str(problem)


def test_a_hosts_own_directory_will_do() -> None:
    people = {"e": Person("e", "clerk", ("S1",)), "f": Person("other", "clerk")}
    staff = Staff.of(people.get)
    assert staff.person("e") is people["e"]
    assert staff.problems("e", "clerk", "S1", DAY) == []
    assert [problem.code for problem in staff.problems("x", "clerk", "S1", DAY)] == ["ST001"]
    assert staff.people == ()
    with pytest.raises(TypeError, match="answers `f`"):
        staff.person("f")


@pytest.mark.parametrize("answer", ["clerk", {"role": "clerk"}, 0, False])
def test_a_callback_that_answers_with_something_else_lets_nobody_act(answer: Any) -> None:
    with pytest.raises(TypeError):
        Staff.of(lambda _: answer).problems("e", "clerk", "S1", DAY)


def test_what_the_directory_says_goes_into_a_request() -> None:
    person = read_staff(PEOPLE).person("emp-12", DAY)
    assert person is not None
    request = RecoveryRequest(person.role, "refund", Money.of("61", "USD"), own_limit=person.own_limit)
    assert decide(parse_policy(CLASSIC), request).to == "manager"
