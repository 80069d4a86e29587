"""Policies that extend another: what they may say, where each line stands, which decides, and that none is wider."""

import json
import shutil
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner
from engines import ask, assert_whole, entries, opened, rows

from recovery_cli.main import cli
from recovery_engine import (
    Diagnostic,
    InvalidRequest,
    Outcome,
    Policy,
    PolicyError,
    PolicyLibrary,
    RecoveryLog,
    check_policy,
    check_policy_file,
    decide,
    load_policy,
    parse_policy,
    read_request,
    tightening,
    verify,
)
from recovery_engine.policy.layers import above
from recovery_engine.policy.library import read_policies
from recovery_engine.policy.schema import canonical
from recovery_engine.whatif.diff import as_tight, direction
from recovery_engine.whatif.standing import Answer
from tests.asking import says

pytestmark = pytest.mark.slow

CHAIN = """policy: chain
version: "7"
effective: {from: 2026-01-01}
currency: USD
timezone: America/Chicago
timezones: {franchise: America/Denver}
owner: Head office
ladder: [clerk, lead, manager]
remedies: [refund, voucher]
categories: [delay, quality]
sites: {company: [S1, S2], franchise: [S8, S9]}
facts: {days: {number: true, default: 0}}
authority:
  - {id: standard, up_to: {total: [100, 250, 500]}}
  - {when: {site: company, category: delay}, up_to: {total: [120, same, same]}}
budgets:
  - {id: clerk-day, per: employee, every: day, amount: 300, binds_below: lead}
owed:
  - {id: late, when: {category: delay, days: at least 2}, remedy: voucher, amount: 20}
requires:
  - {id: receipt, when: {remedy: refund}, evidence: [receipt], waivable_by: manager}
four_eyes:
  - {id: two, when: {amount: over 200}, second: lead}
reason_codes: {quality: [Q1, Q2]}
escalation:
  answer_within: {lead: 5 minutes, manager: 15 minutes}
  on_silence: decline
promises:
  - {id: clerks-stop, never: approve, when: {role: clerk, amount: over 120}}
tests:
  - name: of the chain
    given: {role: clerk, site: S1, category: delay, remedy: voucher, amount: 20}
    expect: approve
"""
HOUSE = "policy: house\nextends: chain.yaml\n"


NEVER = "deny: [{id: never, when: {days: over 9}}]\n"


def folder(tmp_path: Path, **texts: str) -> Path:
    for name, text in ({"chain": CHAIN} | texts).items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def house(tmp_path: Path, text: str = "") -> Policy:
    return load_policy(folder(tmp_path, house=HOUSE + text) / "house.yaml")


def mistakes(tmp_path: Path, text: str, **others: str) -> list[Diagnostic]:
    policy, found = check_policy_file(folder(tmp_path, house=text, **others) / "house.yaml")
    assert policy is None
    return list(found)


def refused(tmp_path: Path, text: str) -> Diagnostic:
    (found,) = mistakes(tmp_path, HOUSE + text)
    assert found.code == "RP032"
    return found


# --- one policy -------------------------------------------------------------------------------------------------------


def test_own_lines_stand_after_those_of_the_parent(tmp_path: Path) -> None:
    policy = house(
        tmp_path, "authority: [{up_to: {total: [50, same, same]}}]\ndeny: [{id: never, when: {days: over 9}}]\n"
    )
    assert [line.id for line in policy.authority] == ["standard", "authority-2", "authority-3"]
    assert (policy.policy, policy.version, policy.owner, policy.currency) == ("house", None, "Head office", "USD")
    given = {"site": "S1", "category": "delay", "remedy": "voucher"}
    assert says(policy, amount=50, **given) == "approve"
    assert says(policy, amount=51, **given) == "lead because authority-3"
    assert says(policy, amount=5, days=10, **given) == "deny because never"


def test_what_is_left_out_is_the_parents_and_what_is_said_goes_before(tmp_path: Path) -> None:
    policy = house(
        tmp_path,
        "version: b\nsource: us\ntimezones: {company: America/New_York}\nfacts: {vip: {flag: true, default: false}}\n"
        "reason_codes: {delay: [D1]}\nescalation: {answer_within: {lead: 1 minute}, fulfil_within: 1 day}\n"
        "promises: [{never: deny, when: {amount: 0}}]\n",
    )
    assert (policy.version, policy.source, str(policy.effective and policy.effective.from_)) == (
        "b",
        "us",
        "2026-01-01",
    )
    assert policy.timezones == {"franchise": "America/Denver", "company": "America/New_York"}
    assert list(policy.facts) == ["days", "vip"]
    assert policy.reason_codes == {"quality": ("Q1", "Q2"), "delay": ("D1",)}
    assert policy.escalation.answer_within == {"lead": 60, "manager": 900}
    assert (policy.escalation.on_silence, policy.escalation.fulfil_within) == ("decline", 86_400)
    assert [promise.id for promise in policy.promises] == ["clerks-stop", "promises-2"]
    assert policy.tests == ()


def test_a_time_zone_of_its_own_is_for_all_its_sites(tmp_path: Path) -> None:
    policy = house(tmp_path, "sites: [franchise]\ntimezone: America/Phoenix\n")
    assert (policy.timezone, policy.timezones) == ("America/Phoenix", {})


def test_it_is_for_some_of_the_sites_of_the_parent_in_their_groups(tmp_path: Path) -> None:
    policy = house(tmp_path, "sites: [franchise, S2]\ndeny: [{id: not-here, when: {site: company, days: over 9}}]\n")
    assert policy.sites == {"company": ("S2",), "franchise": ("S8", "S9")}
    assert policy.by_id["not-here"].when.words["site"] == ("S2",)
    assert policy.timezones == {"franchise": "America/Denver"}


def test_the_digest_is_that_of_one_policy_that_says_it_all(tmp_path: Path) -> None:
    line = "  - {id: never, when: {days: over 9}}\n"
    whole = CHAIN.replace('policy: chain\nversion: "7"\n', "policy: house\n") + f"deny:\n{line}"
    policy = house(tmp_path, f"deny:\n{line}")
    assert canonical(policy) == canonical(parse_policy(whole))
    assert policy.extends == "chain.yaml"
    assert policy.parent is not None
    assert policy.parent.digest == parse_policy(CHAIN).digest


DIGESTS = {
    "airline-goodwill": "c789563d6b8a1bb733c13e01894a5608d4164dacbd05fd1ea89cf4108780a6a4",
    "classic": "b539647f870c7700f070c7d0e39b92f4fb32e03dd57d3c2f9a4ddde436a536f0",
    "eu261": "3a96315ea1fa020ca4f9490a05d849f88ae4502f148b3bc7f6b7d160917f2c86",
    "hotel": "54fe45afad8d10113d11970b719f2dbc77a688433b6075df46fb2bcd0d792002",
    "online-shop": "c062eb8d0f5254566bd0f906f512595c1c0b86fb78fb28e4dc14abcd76436405",
    "restaurant": "abcd3bec9b487b8e78f612e3b4ba0e6c8891ade1d7a32883ac3046faa29078a4",
    "uk-contact-centre": "f1b1064205e4bfa13caca3a0d2a2a821d977f265f5ab07bf0628bee767bbc46b",
    "uk-delay-repay": "36ee706d2b8b6c25ac6322af35b1527b6e7bd45c828479d5486e66dbeeab1a20",
}


def test_policies_that_extend_none_keep_the_digests_they_had() -> None:
    assert {name: load_policy(name).digest for name in DIGESTS} == DIGESTS


def test_each_line_is_placed_in_the_file_it_stands_in(tmp_path: Path) -> None:
    policy = house(tmp_path, NEVER + "tests:\n  - {name: x, given: {role: clerk}, expect: approve}\n")
    named = ("standard", "authority-2", "never", "tests-1", "extends")
    places = {name: Path(policy.where(name)).name for name in named}
    assert places == {
        "standard": "chain.yaml:14",
        "authority-2": "chain.yaml:15",
        "never": "house.yaml:3",
        "tests-1": "house.yaml:5",
        "extends": "house.yaml:2",
    }
    request, usage = read_request(
        policy, {"role": "clerk", "site": "S1", "category": "delay", "remedy": "voucher", "amount": 5, "days": 10}
    )
    assert [Path(reason.where).name for reason in decide(policy, request, usage).because] == ["house.yaml:3"]


def test_a_chain_of_three_and_a_starter_policy(tmp_path: Path) -> None:
    room = "policy: till\nextends: house.yaml\nsites: [S9]\ndeny: [{id: closed, when: {amount: over 5}}]\n"
    folder(tmp_path, house=HOUSE + "sites: [franchise]\n", till=room, bar="policy: bar\nextends: hotel\n")
    policy = load_policy(tmp_path / "till.yaml")
    assert policy.sites == {"franchise": ("S9",)}
    assert [each.policy for each in above(policy)] == ["house", "chain"]
    assert load_policy(tmp_path / "bar.yaml").parent == load_policy("hotel")


# --- what it may not say ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("currency: USD\n", "3:1", "`currency` is for `chain` to say"),
        ("ladder: [clerk]\n", "3:1", "`ladder` is for `chain` to say"),
        ("remedies: [refund]\n", "3:1", "`remedies` is for `chain` to say"),
        ("categories: [x]\n", "3:1", "`categories` is for `chain` to say"),
        ("severities: [x]\n", "3:1", "`severities` is for `chain` to say"),
        ("facts: {days: {flag: true}}\n", "3:9", "`days` is in the facts of `chain`"),
        ("reason_codes: {quality: [Q1]}\n", "3:16", "`quality` is in the reason codes of `chain`"),
        ("deny: [{id: two, when: {days: 9}}]\n", "3:13", "the id `two` stands twice"),
        ("promises: [{id: clerks-stop, never: deny}]\n", "3:17", "the id `clerks-stop` stands twice"),
        ("sites: [S1, S7]\n", "3:13", "unknown site `S7`"),
        ("sites: {mine: [S1]}\n", "3:8", "sites and groups of `chain` belong here"),
        ("sites: []\n", "3:8", "an empty list of sites"),
        ("sites: [S1, S1]\n", "3:13", "`S1` stands twice"),
        ("sites: [S1]\ndeny: [{id: no, when: {site: S9}}]\n", "4:30", "unknown site `S9`"),
        ("deny: [{id: no, when: {colour: red}}]\n", "3:24", "unknown name `colour`"),
        ("authority: [{up_to: {total: [1, 2]}}]\n", "3:29", "2 cells for a ladder of 3"),
    ],
)
def test_what_is_for_the_parent_to_say_is_a_mistake_with_its_place(
    tmp_path: Path, text: str, place: str, said: str
) -> None:
    (found,) = mistakes(tmp_path, HOUSE + text)
    assert found.where == f"{tmp_path}/house.yaml:{place}"
    assert said in found.message
    assert found.help


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    text = "currency: USD\nfacts: {days: {flag: true}}\ndeny: [{id: two, when: {x: 1}}]\n"
    text = HOUSE.replace("house", "chain") + text
    assert [found.code for found in mistakes(tmp_path, text)] == ["RP031", "RP031", "RP031", "RP008", "RP003"]


@pytest.mark.parametrize(
    ("parent", "said"),
    [
        ("nowhere.yaml", "cannot read it: no such file"),
        ("house.yaml", "a circle: `house.yaml` extends `house.yaml`"),
        ("other.yaml", "`other.yaml`, which it extends, cannot be used: 2 errors"),
    ],
)
def test_a_parent_that_cannot_be_used_is_said_where_it_is_named(tmp_path: Path, parent: str, said: str) -> None:
    first, *others = mistakes(tmp_path, f"policy: house\nextends: {parent}\n", other=CHAIN.replace("up_to", "upto", 1))
    assert (first.code, first.where) == ("RP030", f"{tmp_path}/house.yaml:2:10")
    assert said in first.message
    assert [Path(found.where).name for found in others] == (
        ["other.yaml:14:5", "other.yaml:14:20"] if parent == "other.yaml" else []
    )


def test_a_circle_of_two_is_named(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "policy: house\nextends: other.yaml\n", other="policy: other\nextends: house.yaml\n")
    assert "a circle: `house.yaml` extends `other.yaml` extends `house.yaml`" in found[-1].message


def test_a_text_alone_has_nothing_to_extend() -> None:
    policy, (found,) = check_policy(HOUSE)
    assert (policy, found.code) == (None, "RP030")
    assert "load_policy" in found.help


# --- tighter everywhere -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "deny: [{id: no, when: {category: quality}}]\n",
        "authority: [{up_to: {total: [none, 100, same]}}]\n",
        "requires: [{id: note, when: {amount: over 5}, note: true}]\n",
        "four_eyes: [{id: all, when: {amount: over 5}, second: next_role}]\n",
        "ceilings: [{id: bill, percent: 50, of: bill}]\n",
        "budgets: [{id: month, per: site, every: month, amount: 900, times: 3}]\n",
        "reason_codes: {delay: [D1]}\n",
        "facts: {vip: {flag: true}}\ndeny: [{id: no, when: {vip: true}}]\n",
        "owed: [{id: later, when: {category: delay, days: at least 5}, remedy: voucher, amount: 10}]\n",
        "sites: [franchise]\nauthority: [{up_to: {total: [80, same, same]}}]\n",
        # a line that gives more where another takes it back
        "authority: [{up_to: {total: [400, 400, same]}}, {up_to: {total: [90, 200, same]}}]\n",
        "authority: [{up_to: {total: [400, same, same]}}]\ndeny: [{id: no, when: {amount: over 0}}]\n",
    ],
)
def test_what_takes_more_people_or_proof_or_gives_less_is_tighter(tmp_path: Path, text: str) -> None:
    found = tightening(house(tmp_path, text))
    assert found is not None
    assert (found.complete, found.widening, found.extends.name) == (True, None, "chain")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("authority: [{id: more, up_to: {total: [101, same, same]}}]\n", "more", "clerk asks for $100.01"),
        ("authority: [{id: free, up_to: {voucher: [0, same, same], total: [unlimited, same, same]}}]\n", "free", ""),
        ("owed: [{id: gift, remedy: voucher, amount: 5}]\n", "gift", "(owed, "),
        (
            "owed: [{id: top, when: {category: delay, days: 3}, remedy: voucher, amount: 20, on_top: true}]\n",
            "top",
            "before",
        ),
        ("someone_else: [{id: peer, when: {amount: over 5}}]\n", "peer", "by this policy clerk must agree"),
    ],
)
def test_what_is_wider_is_refused_at_its_line_with_an_example(tmp_path: Path, text: str, line: str, said: str) -> None:
    found = refused(tmp_path, "version: x\ndeny: [{id: fine, when: {days: over 9}}]\n" + text)
    assert found.line == 5
    assert f"`{line}` makes this wider than `chain`" in found.message
    assert "by `chain`" in found.message
    assert said in found.message


def test_whoever_asks_may_not_be_one_of_two_where_two_others_had_to_be(tmp_path: Path) -> None:
    """The same roles are asked before and after, but of two managers only one is left."""
    pair = (
        "policy: chain\ncurrency: USD\nladder: [lead, manager]\nauthority: [{up_to: {total: [100, 500]}}]\n"
        "four_eyes: [{id: two, when: {amount: over 0}, second: manager}]\n"
    )
    (found,) = mistakes(tmp_path, HOUSE + "authority: [{id: more, up_to: {total: [200, same]}}]\n", chain=pair)
    assert "lead asks for $100.01" in found.message
    assert "by `chain` manager and manager must agree; by this policy manager must agree" in found.message


LADDER = ("clerk", "lead", "manager")
APPROVED, DENIED = Answer(Outcome.APPROVE), Answer(Outcome.DENY)
WAITS = Answer(Outcome.INCOMPLETE, needs=frozenset({"receipt"}))


def asks(to: str, second: str | None = None, own: bool = False) -> Answer:
    return Answer(Outcome.ESCALATE, to, second, own=own)


@pytest.mark.parametrize(
    ("looser", "tighter"),
    [
        (APPROVED, asks("clerk")),
        (APPROVED, WAITS),
        (asks("lead"), asks("manager")),
        (asks("lead"), asks("lead", "lead")),
        (asks("lead", "lead"), asks("lead", "manager")),
        (asks("manager", "manager", own=True), asks("lead", "manager")),
        (asks("manager", "manager", own=True), asks("manager", "manager")),
        (asks("manager", "manager"), WAITS),
        (WAITS, DENIED),
        (asks("manager"), DENIED),
    ],
)
def test_more_people_higher_roles_proof_and_denials_are_tighter(looser: Answer, tighter: Answer) -> None:
    assert as_tight(looser, tighter, LADDER)
    assert not as_tight(tighter, looser, LADDER)
    assert as_tight(tighter, tighter, LADDER)
    assert (direction(looser, tighter, LADDER), direction(tighter, looser, LADDER)) == ("narrower", "wider")


def test_one_higher_instead_of_two_is_neither() -> None:
    two, one = asks("clerk", "lead"), asks("manager")
    assert not as_tight(two, one, LADDER)
    assert not as_tight(one, two, LADDER)


def test_of_two_lines_that_both_widen_none_is_to_blame_alone(tmp_path: Path) -> None:
    found = refused(
        tmp_path, "owed:\n  - {id: one, remedy: refund, amount: 5}\n  - {id: two-more, remedy: voucher, amount: 5}\n"
    )
    assert found.line == 2
    assert "this is wider than `chain`" in found.message


def test_elsewhere_the_parent_may_be_wider_or_not(tmp_path: Path) -> None:
    """At the company's sites delays have a higher limit; what is tighter than that is compared where it counts."""
    line = "authority: [{id: delays, when: {category: delay}, up_to: {total: [120, same, same]}}]\n"
    assert house(tmp_path, "sites: [company]\n" + line).sites == {"company": ("S1", "S2")}
    refused(tmp_path, "sites: [franchise]\n" + line)


def test_a_parent_that_is_itself_too_wide_is_refused(tmp_path: Path) -> None:
    wide = "policy: wide\nextends: chain.yaml\nauthority: [{up_to: {total: [200, 300, 500]}}]\n"
    first, second = mistakes(tmp_path, "policy: house\nextends: wide.yaml\n", wide=wide)
    assert (first.code, second.code) == ("RP030", "RP032")


def test_what_cannot_be_compared_to_the_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recovery_engine.whatif.tightening._MOST_NODES", 0)
    found = refused(tmp_path, "authority: [{when: {site: S1}, up_to: {voucher: [5, same, same]}}]\n")
    assert "cannot be shown: too much to compare" in found.message


# --- which one decides ------------------------------------------------------------------------------------------------


def in_force(books: PolicyLibrary, site: str | None, day: date = date(2026, 5, 1)) -> str:
    return books.in_force(day, site).policy


def test_at_its_sites_it_decides_in_the_place_of_its_parent(tmp_path: Path) -> None:
    till = "policy: till\nextends: house.yaml\nsites: [S9]\n"
    books = PolicyLibrary.open(folder(tmp_path, house=HOUSE + "sites: [franchise]\n", till=till))
    assert [in_force(books, site) for site in ("S1", "S8", "S9")] == ["chain", "house", "till"]
    with pytest.raises(InvalidRequest, match="no site, and `chain`, `house`, `till` are in force"):
        in_force(books, None)


def test_for_all_sites_it_decides_where_none_is_named(tmp_path: Path) -> None:
    assert in_force(PolicyLibrary.open(folder(tmp_path, house=HOUSE)), None) == "house"


def test_it_decides_on_its_own_days(tmp_path: Path) -> None:
    books = PolicyLibrary.open(folder(tmp_path, house=HOUSE + "effective: {from: 2026-06-01, until: 2026-06-30}\n"))
    days = (date(2026, 5, 31), date(2026, 6, 1), date(2026, 6, 30), date(2026, 7, 1))
    assert [in_force(books, "S1", day) for day in days] == ["chain", "house", "house", "chain"]


def test_two_that_extend_one_may_not_share_a_site(tmp_path: Path) -> None:
    other = "policy: other\nextends: chain.yaml\nsites: [S8, S1]\n"
    with pytest.raises(PolicyError, match="`house` and `other` are both in force at S8"):
        PolicyLibrary.open(folder(tmp_path, house=HOUSE + "sites: [franchise]\n", other=other))


def test_it_must_extend_the_version_that_is_in_force_beside_it(tmp_path: Path) -> None:
    later = CHAIN.replace("2026-01-01", "2027-01-01").replace("500]", "400]")
    folder(tmp_path, house=HOUSE, later=later)
    with pytest.raises(PolicyError, match="`house` extends another version of `chain` than is in force on 2027-01-01"):
        PolicyLibrary.open(tmp_path)
    folder(tmp_path, house2=HOUSE.replace("chain.yaml", "later.yaml"))
    books = PolicyLibrary.open(tmp_path)
    assert books.in_force(date(2027, 1, 1), "S1").digest != books.in_force(date(2026, 12, 31), "S1").digest


# --- the log ----------------------------------------------------------------------------------------------------------


def test_a_log_says_all_without_the_file_of_the_parent(log_url: str, tmp_path: Path) -> None:
    own = "policy: house\nextends: 0.yaml\nsites: [S8]\nauthority: [{id: less, up_to: {total: [10, same, same]}}]\n"
    with opened(log_url, CHAIN, own) as engine:  # the files are gone from here on
        outcomes = [
            str(engine.request(ask(f"r-{site}", 50, site=site, remedy="voucher", category="delay")).outcome)
            for site in ("S1", "S8")
        ]
    assert outcomes == ["approve", "escalate"]
    with opened(log_url) as engine:
        assert (engine.policy("S8").policy, engine.policy("S1").policy) == ("house", "chain")
        assert engine.policy("S8").where("less") == "house:4"
        assert engine.policy("S8").where("standard") == "0.yaml:14"
        asked = ask("r-9", 20, site="S8", remedy="voucher", category="delay")
        assert engine.request(asked).lines == ("less",)
    assert verify(log_url).findings == ()
    assert_whole(log_url)
    assert {entry["policy"] for entry in entries(log_url, "decided")} == {
        digest for (digest,) in rows(log_url, "SELECT digest FROM recovery_policy")
    }
    with RecoveryLog.open(log_url) as log:
        assert "less" in str(log.story("r-S8"))


def test_the_text_that_a_log_keeps_gives_both_files_back(tmp_path: Path) -> None:
    text = HOUSE + "deny: [{id: no, when: {days: over 9}}]"
    kept = {policy.policy: stored for policy, stored in read_policies(folder(tmp_path, house=text))}
    assert kept["chain"] == CHAIN
    assert kept["house"].startswith(text)
    assert kept["house"].endswith(CHAIN)
    shutil.rmtree(tmp_path)
    assert parse_policy(kept["house"]).by_id.keys() > {"no", "standard"}
    wider = kept["house"].replace("deny: [{id: no, when: {days: over 9}}]", "owed: [{remedy: refund, amount: 1}]")
    assert [found.code for found in check_policy(wider)[1]] == ["RP032"]


# --- the command line -------------------------------------------------------------------------------------------------


def recovery(*arguments: object) -> str:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments]).output


def test_check_says_that_it_is_tighter_and_how_much_was_compared(tmp_path: Path) -> None:
    file = folder(tmp_path, house=HOUSE + "deny: [{id: no, when: {days: over 9}}]\n") / "house.yaml"
    assert "extends chain: tighter everywhere, " in recovery("check", file)
    (said,) = json.loads(recovery("check", file, "--json"))["files"]
    assert said["extends"]["name"] == "chain"
    assert said["extends"]["digest"] == parse_policy(CHAIN).digest
    (said,) = json.loads(recovery("check", tmp_path / "chain.yaml", "--json"))["files"]
    assert said["extends"] is None


def test_it_is_an_ordinary_policy_to_every_command(tmp_path: Path) -> None:
    given = "{role: clerk, site: S1, category: delay, remedy: voucher, amount: 5, days: 10}"
    text = HOUSE + NEVER + f"tests:\n  - {{name: t, given: {given}, expect: {{deny: [never]}}}}\n"
    file = folder(tmp_path, house=text) / "house.yaml"
    assert "1 test in 1 policy: 0 failed" in recovery("test", file)
    assert "decided in no test" not in recovery("test", file)
    assert "standard" in recovery("matrix", file)
    assert "1 policy: 0 would change" in recovery("fmt", "--check", file)
    assert "narrower" in recovery("diff", tmp_path / "chain.yaml", file)
    asked = ("--role", "clerk", "--site", "S1", "--category", "delay", "--amount", "5", "--fact", "days=10")
    assert "never" in recovery("what-if", "--policy", file, "--remedy", "voucher", *asked)
