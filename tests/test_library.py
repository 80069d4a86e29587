"""Policies on disk: versions by day and site, what may not be side by side, and the starter policies themselves."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from recovery_engine import (
    InvalidRequest,
    PolicyError,
    PolicyLibrary,
    check_policy_file,
    load_policy,
    never_decided,
    parse_policy,
    read_request,
    run_examples,
    shipped_policies,
)
from tests.asking import answer
from tests.test_schema import as_an_editor_reads_it, problems

LAKESIDE = Path(__file__).parent / "policies/lakeside.yaml"

STARTERS = sorted(shipped_policies())


def version(begins: str, until: str = "", name: str = "house", sites: str = "", **limits: str) -> str:
    """A policy in force from a day, whose clerk may give so much."""
    days = f"from: {begins}, until: {until}" if until else f"from: {begins}"
    clerk = limits.get("clerk", "100")
    listed = f"sites: {sites}\n" if sites else ""
    return (
        f"policy: {name}\nversion: v{begins}\neffective: {{{days}}}\ncurrency: USD\nladder: [clerk, lead, manager]\n"
        f"{listed}authority: [{{id: standard, up_to: {{total: [{clerk}, 250, 500]}}}}]\n"
    )


def library(*texts: str) -> PolicyLibrary:
    return PolicyLibrary(parse_policy(text, f"p{number}.yaml") for number, text in enumerate(texts))


def day(text: str) -> date:
    return date.fromisoformat(text)


def in_force(books: PolicyLibrary, on: str, site: str | None = None) -> str:
    policy = books.in_force(day(on), site)
    return f"{policy.policy} {policy.version}"


# --- days -------------------------------------------------------------------------------------------------------------


def test_a_version_is_in_force_until_the_day_before_the_next() -> None:
    books = library(version("2026-06-01"), version("2026-01-01"), version("2026-09-01"))
    assert in_force(books, "2026-01-01") == "house v2026-01-01"
    assert in_force(books, "2026-05-31") == "house v2026-01-01"
    assert in_force(books, "2026-06-01") == "house v2026-06-01"
    assert in_force(books, "2026-08-31") == "house v2026-06-01"
    assert in_force(books, "2036-09-01") == "house v2026-09-01"


def test_no_version_for_a_day_is_an_input_error() -> None:
    books = library(version("2026-02-01", "2026-02-28"), version("2026-06-01"))
    assert in_force(books, "2026-02-28") == "house v2026-02-01"
    for missing in ("2026-01-31", "2026-03-01", "2026-05-31"):
        with pytest.raises(InvalidRequest, match=f"no policy is in force on {missing}"):
            books.in_force(day(missing))


def test_a_policy_without_days_is_always_in_force() -> None:
    always = version("2026-01-01").replace("effective: {from: 2026-01-01}\n", "")
    assert library(always).in_force(date(1990, 1, 1)).policy == "house"


@pytest.mark.parametrize(
    ("first", "second", "overlap"),
    [
        (version("2026-01-01", "2026-06-30"), version("2026-07-01"), False),
        (version("2026-01-01", "2026-07-01"), version("2026-07-01"), True),
        (version("2026-01-01"), version("2026-01-01"), True),
        (version("2026-01-01", "2026-12-31"), version("2026-03-01", "2026-03-31"), True),
        (version("2026-01-01"), version("2026-03-01"), False),
    ],
)
def test_versions_of_one_policy_may_not_overlap(first: str, second: str, overlap: bool) -> None:
    for texts in ((first, second), (second, first)):
        if overlap:
            with pytest.raises(PolicyError, match="two versions of `house` are in force on"):
                library(*texts)
        else:
            library(*texts)


# --- sites ------------------------------------------------------------------------------------------------------------


def test_a_request_falls_to_the_one_policy_that_lists_its_site() -> None:
    books = library(
        version("2026-01-01", name="north", sites="{all: [N1, N2]}"),
        version("2026-01-01", name="south", sites="[S1, S2]"),
    )
    assert in_force(books, "2026-05-01", "N2").startswith("north")
    assert in_force(books, "2026-05-01", "S1").startswith("south")
    with pytest.raises(InvalidRequest, match="at `X1`"):
        books.in_force(date(2026, 5, 1), "X1")
    with pytest.raises(InvalidRequest, match="did you mean `N1`"):
        books.in_force(date(2026, 5, 1), "N11")
    with pytest.raises(InvalidRequest, match="no site, and `north`, `south` are in force"):
        books.in_force(date(2026, 5, 1))


def test_two_policies_that_list_one_site_on_one_day_are_a_mistake() -> None:
    north = version("2026-01-01", name="north", sites="[N1, X1]")
    south = version("2026-06-01", name="south", sites="[S1, X1]")
    with pytest.raises(PolicyError, match="`north` and `south` are both in force at X1 on 2026-06-01"):
        library(north, south)
    library(version("2026-01-01", "2026-05-31", name="north", sites="[N1, X1]"), south)


def test_a_policy_that_lists_no_sites_serves_all_and_stands_beside_none() -> None:
    everywhere = version("2026-01-01")
    assert in_force(library(everywhere), "2026-05-01", "anywhere") == "house v2026-01-01"
    with pytest.raises(PolicyError, match="are both in force at"):
        library(everywhere, version("2026-01-01", name="south", sites="[S1]"))


def test_another_version_may_list_other_sites() -> None:
    books = library(version("2026-01-01", sites="[S1]"), version("2026-06-01", sites="[S1, S2]"))
    assert in_force(books, "2026-06-01", "S2") == "house v2026-06-01"
    with pytest.raises(InvalidRequest, match="at `S2`"):
        books.in_force(date(2026, 5, 31), "S2")


# --- deciding ---------------------------------------------------------------------------------------------------------

EARLY = version("2026-01-01") + (
    "facts: {lateness: {number: true}}\n"
    "owed: [{id: early, when: {lateness: at least 30}, remedy: refund, amount: 40}]\n"
)
LATE = version("2026-06-01", clerk="10") + "owed: [{id: late, remedy: refund, amount: 20}]\n"


def asked(books: PolicyLibrary, on: str, **fields: object) -> str:
    request, usage = read_request(
        books.in_force(day(on)), {"role": "clerk", "remedy": "refund", "amount": "20"} | fields
    )
    return answer(books.decide(day(on), request, usage))


def test_goodwill_follows_the_day_of_the_request() -> None:
    books = library(EARLY, LATE)
    assert asked(books, "2026-05-31", occurred_on="2026-01-05") == "approve"
    assert asked(books, "2026-06-01", occurred_on="2026-01-05") == "lead because standard"


def test_what_is_owed_follows_the_day_it_occurred_and_the_facts_of_that_day() -> None:
    books = library(EARLY, LATE)
    june = date(2026, 6, 10)
    fields = {"role": "clerk", "remedy": "refund", "amount": "40", "basis": "owed", "occurred_on": "2026-05-31"}
    request, _ = read_request(books.in_force(june), fields)
    with pytest.raises(InvalidRequest, match="no lateness, and `early` reads it"):
        books.decide(june, request)
    late_enough = replace(request, facts={"lateness": 30})
    assert answer(books.decide(june, late_enough)) == "approve"
    assert asked(books, "2026-06-10", basis="owed", occurred_on="2026-06-01") == "approve"
    assert asked(books, "2026-06-10", basis="owed", occurred_on="2026-06-01", amount="20.01") == "deny because late"
    assert asked(books, "2026-06-10", basis="owed") == "approve"  # today, where no day is given


def test_what_occurred_on_a_day_without_a_version_is_not_owed() -> None:
    assert asked(library(LATE), "2026-06-10", basis="owed", occurred_on="2026-05-31") == "deny because nothing-owed"
    ended = library(EARLY.replace("from: 2026-01-01", "from: 2026-01-01, until: 2026-01-31"), LATE)
    assert asked(ended, "2026-06-10", basis="owed", occurred_on="2026-02-01") == "deny because nothing-owed"


def test_a_request_on_a_day_without_a_version_is_an_input_error() -> None:
    with pytest.raises(InvalidRequest, match="no policy is in force"):
        asked(library(LATE), "2026-05-31")


# --- a folder ---------------------------------------------------------------------------------------------------------


def test_a_folder_is_read_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(version("2026-01-01"))
    (tmp_path / "b.yaml").write_text(version("2026-06-01"))
    (tmp_path / "notes.txt").write_text("not a policy")
    books = PolicyLibrary.open(tmp_path)
    assert in_force(books, "2026-05-31") == "house v2026-01-01"
    assert in_force(PolicyLibrary.open(str(tmp_path)), "2026-06-01") == "house v2026-06-01"


def test_every_mistake_in_every_file_of_a_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(version("2026-01-01").replace("USD", "USB"))
    (tmp_path / "b.yaml").write_text(version("2026-06-01") + "colour: blue\nflavour: mint\n")
    with pytest.raises(PolicyError) as refused:
        PolicyLibrary.open(tmp_path)
    found = [(Path(problem.where.partition(":")[0]).name, problem.code) for problem in refused.value.diagnostics]
    assert found == [("a.yaml", "RP003"), ("b.yaml", "RP004"), ("b.yaml", "RP004")]


@pytest.mark.parametrize(("name", "said"), [("empty", "no policy here"), ("missing", "cannot read it")])
def test_a_folder_without_a_policy_is_a_mistake(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PolicyError, match=said):
        PolicyLibrary.open(tmp_path / name)


# --- the starter policies ---------------------------------------------------------------------------------------------


def test_a_starter_policy_is_loaded_by_its_name() -> None:
    assert load_policy("classic").policy == "classic"
    assert load_policy("classic").digest == load_policy(shipped_policies()["classic"]).digest


def test_a_file_of_that_name_comes_before_the_starter_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "classic").write_text(version("2026-01-01", name="ours"))
    monkeypatch.chdir(tmp_path)
    assert load_policy("classic").policy == "ours"


def test_the_smallest_useful_policy_is_shipped() -> None:
    policy = load_policy("classic")
    assert len(policy.ladder) == 3
    assert [line.up_to for line in policy.authority] == [{"total": (10000, 25000, 50000)}]
    assert policy.remedies is None


@pytest.mark.parametrize("name", STARTERS)
def test_a_starter_policy_has_no_mistake_and_says_where_its_figures_come_from(name: str) -> None:
    policy, found = check_policy_file(shipped_policies()[name])
    assert found == ()
    assert policy is not None
    assert policy.policy == name
    assert policy.source
    assert policy.effective
    assert policy.owner
    assert all(line.source for line in policy.owed)


@pytest.mark.parametrize("name", STARTERS)
def test_every_test_of_a_starter_policy_passes_and_every_line_decides_in_one(name: str) -> None:
    policy = load_policy(name)
    results = run_examples(policy)
    assert [result.name for result in results if not result.passed] == []
    assert never_decided(policy, results) == ()
    names = [result.name for result in results]
    assert len(set(names)) == len(names)
    assert {str(result.decision.outcome) for result in results if result.decision} >= {"approve", "escalate", "deny"}


def test_the_example_of_the_language_is_valid_by_the_schema() -> None:
    assert problems(as_an_editor_reads_it(LAKESIDE)) == []
