"""The story of a recovery tells every step: when, by whom, and why they had the authority then."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from making_logs import FIRST, make
from small_logs import SmallLog, small_log, writing_engine
from sqlalchemy import text

from recovery_engine import LogError, Money, RecoveryEngine, RecoveryRequest, TamperedLog, parse_policy
from recovery_engine.log.reading.recovery_log import RecoveryLog
from recovery_engine.log.reading.story import story_lines

pytestmark = pytest.mark.slow


@pytest.fixture
def log(tmp_path: Path) -> Iterator[RecoveryLog]:
    with RecoveryLog.open(small_log().write(f"sqlite:///{tmp_path}/log.db")) as opened:
        yield opened


def told(log: RecoveryLog, about: str) -> str:
    digest = small_log().policy.digest[:12]
    return "\n".join(story_lines(log.story(about))).replace(digest, "DIGEST") + "\n"


GRANTED_HIGHER_UP = """\
r-03: $80.00 as refund asked for; fulfilled
  case C-r-03, site S001, customer c_11111111111111111111
  2026-11-02 12:00:00-06:00  emp-1 (associate) asked for $80.00 as refund (delay, major)  [site:S001 2]
      had not the authority to settle it alone: it went to the lead, under policy diner 2026.2 (DIGEST), because
        employee-day: $60.00 a day for one employee; this would make $80.00
        standard: associate may approve $25.00 for one case (in all); this would make $80.00. Put it right at the table.
      could approve it: lead, manager
      answer due by 2026-11-02 12:05:00-06:00
  2026-11-02 12:04:30-06:00  lead-1 (lead) approved $80.00 as refund  [site:S001 3]
      had authority then, under policy diner 2026.2 (DIGEST), because
        standard: lead may approve $100.00 for one case (in all); this would make $80.00. Put it right at the table.
  2026-11-02 12:10:00-06:00  emp-1 handed it over, reference rf-1  [site:S001 4]
"""


def test_a_grant_from_higher_up_is_told_step_by_step(log: RecoveryLog) -> None:
    assert told(log, "r-03") == GRANTED_HIGHER_UP


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ("r-01", "receipt R-1"),
        ("r-02", "2026-11-01 01:30:00-05:00  emp-2 (associate) asked for $25.00"),
        ("r-02", "2026-11-01 09:00:00-06:00  emp-1 handed it over"),  # the clocks went back in between
        ("r-04", "r-04: $450.00 as refund asked for, $400.00 as refund granted; granted"),
        ("r-04", "a second person had to agree, manager or above"),
        ("r-04", "mgr-2 (manager) approved $400.00 as refund"),
        ("r-05", "lead-1 (lead) declined it: not-our-fault"),
        ("r-06", "the clock moved it up to the manager, because nobody had answered"),
        ("r-06", "the clock let it lapse, because nobody had answered"),
        ("r-07", "was told no, under policy diner 2026.2 (DIGEST), because"),
        ("r-07", "never-twice: We do not pay for safety with vouchers."),
        ("r-08", "lead-1 voided it: given twice"),
        ("r-09", "asked for apology (delay, minor)"),
        ("r-10", "could approve it: lead, manager"),
    ],
)
def test_every_step_is_in_words(log: RecoveryLog, about: str, said: str) -> None:
    assert said in told(log, about)


def test_steps_are_values_too(log: RecoveryLog) -> None:
    (one,) = log.story("r-03").recoveries
    asked, approved, fulfilled = one.steps
    assert (asked.kind, asked.outcome, asked.to, asked.amount) == ("decided", "escalate", "lead", Money(8_000, "USD"))
    assert [(reason.line, reason.had, reason.limit) for reason in asked.because] == [
        ("employee-day", 8_000, 6_000),
        ("standard", 8_000, 2_500),
    ]
    assert [rung.role for rung in asked.rungs if rung.may] == ["lead", "manager"]
    assert (approved.by, approved.role) == ("lead-1", "lead")
    assert approved.at == datetime(2026, 11, 2, 12, 4, 30, tzinfo=timezone(timedelta(hours=-6)))
    assert approved.policy == small_log().policy.ref
    assert (fulfilled.reference, fulfilled.because, fulfilled.policy) == ("rf-1", (), None)
    assert [entry.leaf for entry in log.entries("site:S001") if entry.seq in (2, 3, 4)] == [
        step.leaf for step in one.steps
    ]


def test_a_case_tells_all_its_recoveries_in_order(tmp_path: Path) -> None:
    made = SmallLog()
    made.ask("b-1", "2026-11-02 12:00", case="C-7")
    made.ask("a-2", "2026-11-03 12:00", case="C-7", remedy="voucher")
    made.ask("a-3", "2026-11-03 12:00", case="C-8")
    with RecoveryLog.open(made.write(f"sqlite:///{tmp_path}/log.db")) as log:
        assert [one.row.recovery for one in log.story("C-7").recoveries] == ["b-1", "a-2"]
        assert told(log, "C-7").split("\n\n")[1].startswith("a-2: ")
        assert [one.row.recovery for one in log.story("a-2").recoveries] == ["a-2"]


def test_an_id_that_is_both_means_the_recovery(tmp_path: Path) -> None:
    made = SmallLog()
    made.ask("x-1", "2026-11-02 12:00", case="x-2")
    made.ask("x-2", "2026-11-03 12:00", case="x-3")
    with RecoveryLog.open(made.write(f"sqlite:///{tmp_path}/log.db")) as log:
        assert [one.row.recovery for one in log.story("x-2").recoveries] == ["x-2"]


def test_an_unknown_id_is_named_with_the_nearest(log: RecoveryLog) -> None:
    with pytest.raises(LogError, match=r"no recovery and no case `r-33` in this log \(did you mean `r-03`\?\)"):
        log.story("r-33")
    with pytest.raises(LogError, match=r"no recovery and no case `9999` in this log$"):
        log.story("9999")


# --- a story never says more than the entries ---


def changed(tmp_path: Path, *statements: str) -> RecoveryLog:
    url = small_log().write(f"sqlite:///{tmp_path}/log.db")
    with writing_engine(url).begin() as connection:
        for table in ("recovery_log", "recovery_policy"):
            connection.execute(text(f"DROP TRIGGER {table}_no_update"))
        for statement in statements:
            connection.execute(text(statement))
    return RecoveryLog.open(url)


def test_figures_that_the_policy_does_not_give_again_are_told_as_they_stand(tmp_path: Path) -> None:
    made = small_log()
    made.ask("r-12", "2026-12-02 12:00", "30")
    made.approve("r-12", "2026-12-02 12:01", "lead-1", "lead", because=[["standard", "amount", 3_000, 4_000], ["x"]])
    with RecoveryLog.open(made.write(f"sqlite:///{tmp_path}/log.db")) as log:
        assert "  standard: this would make $30.00; the limit was $40.00\n        x: it applied" in told(log, "r-12")


def test_without_the_policy_text_the_figures_still_stand(tmp_path: Path) -> None:
    with changed(
        tmp_path, "UPDATE recovery_policy SET yaml = replace(yaml, '[25, 100, 500]', '[26, 100, 500]')"
    ) as log:
        said = told(log, "r-03")
    assert "under policy unknown (DIGEST), because" in said
    assert "standard: this would make $80.00; the limit was $25.00" in said


def test_an_entry_that_is_none_is_tampering(tmp_path: Path) -> None:
    for spoilt in ("x'7b7d'", "x'ff'", "CAST('[]' AS BLOB)"):
        (tmp_path / spoilt).mkdir()
        update = f"UPDATE recovery_log SET body = {spoilt} WHERE request_id = 'r-03'"
        with changed(tmp_path / spoilt, update) as log, pytest.raises(TamperedLog, match="stream `site:S001`, seq 2"):
            log.story("r-03")


# --- with the engine itself ---


POLICY = """
policy: claims
version: "7"
currency: EUR
timezone: Europe/Vienna
ladder: [agent, lead]
remedies: [refund, voucher]
categories: [delay]
facts: {minutes: {number: true}, fare: {money: true}}
authority:
  - {id: standard, up_to: {total: [50, 300]}}
budgets:
  - {id: customer-month, per: customer, every: month, amount: 70}
owed:
  - {id: late, when: {category: delay, minutes: at least 60}, remedy: refund, percent: 25, of: fare}
"""


def request(id: str, amount: str, **given: Any) -> RecoveryRequest:
    fields: dict[str, Any] = {"employee": "emp-1", "role": "agent", "case": "C-1", "remedy": "refund"}
    fields |= {"category": "delay", "customer": "K-9", "facts": {"minutes": 90, "fare": Money.of("120", "EUR")}}
    return RecoveryRequest(id=id, amount=Money.of(amount, "EUR"), **fields | given)


def test_what_the_engine_decided_is_told_in_the_words_it_used_then(log_url: str, tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "claims.yaml").write_text(POLICY)
    with RecoveryEngine.open(log_url, tmp_path / "policies") as engine:
        answers = {
            "a-1": engine.request(request("a-1", "40", note="Ann waited")),
            "a-2": engine.request(request("a-2", "30", case="C-2", remedy="voucher")),
            "a-3": engine.request(request("a-3", "30", case="C-3", basis="owed")),
            "a-4": engine.request(request("a-4", "60", case="C-4", customer=None)),
            "a-5": engine.request(request("a-5", "31", case="C-5", basis="owed", customer="K-8")),
        }
        engine.fulfil("a-3", reference="rf-3")
        engine.void("a-1", "given-twice", by="lead-1")
    with RecoveryLog.open(log_url) as log:
        for recovery, decision in answers.items():
            (one,) = log.story(recovery).recoveries
            assert one.steps[0].outcome == decision.outcome
            assert {reason[:4]: reason.text for reason in one.steps[0].because} == {
                reason[:4]: reason.text for reason in decision.because
            }
            assert one.steps[0].policy == decision.policy
        assert "emp-1 handed it over, reference rf-3" in told(log, "a-3")
        assert "lead-1 voided it: given-twice" in told(log, "C-1")
        assert "Ann" not in told(log, "C-1")


# --- the way up ---


@pytest.fixture(scope="module")
def way_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecoveryLog]:
    folder = tmp_path_factory.mktemp("way-up")
    with RecoveryLog.open(make(f"sqlite:///{folder / 'log.db'}", folder)) as opened:
        yield opened


BY_LENT_AUTHORITY = """\
r-19: $85.00 as refund asked for; granted
  case C-r-19, site S001, receipt R-19, customer c_2c624232cdd221771294
  TIME  emp-1 (associate) asked for $89.00 as refund (delay)  [site:S001 15]
      had not the authority to settle it alone: it went to the lead, under policy diner 1 (DIGEST), because
        employee-day: $60.00 a day for one employee; this would make $111.00
        standard: associate may approve $25.00 for one case (in all); this would make $89.00
      could approve it: lead, manager
      answer due by TIME
  TIME  lead-3 (lead) had a question first  [site:S001 16]
  TIME  emp-1 answered  [site:S001 17]
      proof: photo
      answer due by TIME
  TIME  emp-1 asked for less: $85.00  [site:S001 18]
  TIME  lead-1 (manager for mgr-1) approved $85.00 as refund, by the delegation lent-1  [site:S001 19]
      had authority then, under policy diner 1 (DIGEST), because
        standard: manager may approve $500.00 for one case (in all); this would make $85.00
      hand-over due by TIME
"""


def told_of_the_way_up(log: RecoveryLog, about: str) -> str:
    said = "\n".join(story_lines(log.story(about))).replace(parse_policy(FIRST).digest[:12], "DIGEST") + "\n"
    return re.sub(r"2026-11-\d\d \d\d:\d\d:\d\d-06:00", "TIME", said)


def test_a_question_its_answer_and_lent_authority_are_told(way_up: RecoveryLog) -> None:
    assert told_of_the_way_up(way_up, "r-19") == BY_LENT_AUTHORITY


@pytest.mark.parametrize(
    ("about", "said"),
    [
        (
            "r-20",
            "emp-2 asked for the very same again, as r-21: the two are one  [site:S001 21]\n      answer due by",
        ),
        ("r-20", "emp-1 took it back: settled otherwise"),
        ("r-06", "lead-2 (lead) approved $95.00 as refund  [site:S001 9]"),
        ("r-06", "mgr-1 (manager) approved $95.00 as refund, as the second person  [site:S001 10]"),
        (
            "r-06",
            "lead-2 (lead) had authority then, under policy diner 1 (DIGEST), because\n        two-people: a second",
        ),
        ("r-08", "the clock moved it up to the manager, because nobody had answered"),
    ],
)
def test_every_step_of_the_way_up_is_in_words(way_up: RecoveryLog, about: str, said: str) -> None:
    assert said in told_of_the_way_up(way_up, about)


def test_what_was_joined_is_told_with_what_it_joined(way_up: RecoveryLog) -> None:
    assert way_up.story("r-21").recoveries == way_up.story("r-20").recoveries


def test_what_people_wrote_is_in_no_story(way_up: RecoveryLog) -> None:
    every = "".join(told_of_the_way_up(way_up, about) + repr(way_up.story(about)) for about in ("r-04", "r-19", "r-20"))
    for words in ("photo?", "Here it is", "Rain", "Came back", "regular guest", "Zoë"):
        assert words not in every


def test_steps_of_the_way_up_are_values_too(way_up: RecoveryLog) -> None:
    (lent,) = way_up.story("r-19").recoveries
    _, question, answer, amended, approved = lent.steps
    assert (question.kind, question.by, question.role, question.amount) == ("asked", "lead-3", "lead", None)
    assert (answer.by, answer.evidence) == ("emp-1", ("photo",))
    assert amended.amount == Money(8_500, "USD")
    assert (approved.role, approved.for_whom, approved.delegation) == ("manager", "mgr-1", "lent-1")
    assert (approved.carrier, approved.carrier_role, approved.is_second) == ("lead-1", "manager", False)
    (joined,) = [step for step in way_up.story("r-20").recoveries[0].steps if step.kind == "joined"]
    assert (joined.id, joined.by) == ("r-21", "emp-2")
    first, second = way_up.story("r-06").recoveries[0].steps[1:]
    assert (first.is_second, second.is_second, second.carrier, second.carrier_role) == (False, True, "lead-2", "lead")


TWO_PEOPLE = POLICY + "four_eyes:\n  - {id: two, when: {amount: over 30}, second: lead}\n"
PROOF = "requires:\n  - {id: proof, when: {amount: over 10}, evidence: [photo], waivable_by: lead}\n"


def test_the_second_person_is_told_on_the_authority_of_who_asked(log_url: str, tmp_path: Path) -> None:
    (tmp_path / "claims.yaml").write_text(TWO_PEOPLE)
    with RecoveryEngine.open(log_url, tmp_path / "claims.yaml") as engine:
        assert engine.request(request("a-1", "40")).outcome == "escalate"
        engine.approve("a-1", by="lead-1", role="lead")
    with RecoveryLog.open(log_url) as log:
        story = told(log, "a-1")
    assert "lead-1 (lead) approved €40.00 as refund, as the second person" in story
    assert "emp-1 (agent) had authority then" in story


def test_reasons_are_told_with_the_proof_of_an_answer(log_url: str, tmp_path: Path) -> None:
    """With the photo a lead could approve what had gone to the head for want of it."""
    three = POLICY.replace("[agent, lead]", "[agent, lead, head]").replace("[50, 300]", "[50, 300, 900]")
    (tmp_path / "claims.yaml").write_text(three + PROOF.replace("waivable_by: lead", "waivable_by: head"))
    with RecoveryEngine.open(log_url, tmp_path / "claims.yaml") as engine:
        assert engine.request(request("a-1", "60", customer=None)).to == "head"
        engine.ask("a-1", "Is there a photo?", by="head-1", role="head")
        engine.answer("a-1", "Here", evidence=["photo"])
        engine.approve("a-1", by="lead-1", role="lead")
    with RecoveryLog.open(log_url) as log:
        assert "standard: lead may approve €300.00 for one case (in all); this would make €60.00" in told(log, "a-1")


def test_a_waiver_is_told(log_url: str, tmp_path: Path) -> None:
    (tmp_path / "claims.yaml").write_text(POLICY + PROOF)
    with RecoveryEngine.open(log_url, tmp_path / "claims.yaml") as engine:
        engine.request(request("a-1", "60", customer=None, evidence={"receipt"}))
        engine.approve("a-1", by="lead-1", role="lead")
    with RecoveryLog.open(log_url) as log:
        assert "did without proof" in told(log, "a-1")
