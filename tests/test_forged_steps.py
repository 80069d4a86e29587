"""Steps that an engine without one of its rules would write, with every hash and row that follows: `verify` tells.

With its rules the same commands leave a log in which nothing is found.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from forging import Entry, Forger, remembered
from making_logs import DAY_US, FIRST, Making

from recovery_engine import Money, NotAllowed
from recovery_engine.log.verification import register
from recovery_engine.log.verification.verify import verify
from recovery_engine.log.writing import approving, later
from recovery_engine.workflow import Approval, Silence

pytestmark = pytest.mark.slow

POLICY = (
    FIRST.replace("[associate, lead, manager]", "[associate, lead, manager, director]")
    .replace("[25, 100, 500]", "[25, 100, 500, 900]")
    .replace(
        "deny:\n",
        "requires:\n  - {id: proof, when: {category: quality}, evidence: [photo], waivable_by: manager}\ndeny:\n",
    )
)
WHEN_SILENT_NO = POLICY.replace("escalation:\n", "escalation:\n  on_silence: decline\n")

Steps = Callable[[Making], Any]


@pytest.fixture(autouse=True)
def _each_policy_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register, "parse_stored", remembered)


def usd(amount: int) -> Money:
    return Money.of(amount, "USD")


# --- what people do ---


def asks(amount: int = 80, **given: Any) -> Steps:
    """emp-1 asks for something that a lead may give, unless it is more."""
    return lambda making: making.ask(**{"id": "r-1", "amount": str(amount), **given})


def approves(by: str, role: str, **given: Any) -> Steps:
    return lambda making: making.engine.approve("r-1", by=by, role=role, **given)


def lends(by: str = "mgr-1", to: str = "lead-1", days: int = 7, **given: Any) -> Steps:
    """Somebody lends the authority of a manager."""
    lent = {"id": f"{by}-to-{to}", "role": "manager", **given}
    return lambda making: making.engine.delegate(by=by, to=to, until_us=making.clock.now_us + days * DAY_US, **lent)


def revokes() -> Steps:
    return lambda making: making.engine.revoke(LENT, by="mgr-1")


def declines(by: str, role: str) -> Steps:
    return lambda making: making.engine.decline("r-1", "not our fault", by=by, role=role)


def puts_a_question(by: str = "lead-2", role: str = "lead") -> Steps:
    return lambda making: making.engine.ask("r-1", "Is there a photo?", by=by, role=role)


def answers(by: str = "emp-1", **given: Any) -> Steps:
    return lambda making: making.engine.answer("r-1", "Here it is", by=by, **given)


def days_go_by(days: float) -> Steps:
    return lambda making: making.later(days)


def nobody_answers(minutes: int = 6) -> Steps:
    def silence(making: Making) -> None:
        making.clock.now_us += minutes * 60_000_000
        making.engine.tick()

    return silence


LENT = "mgr-1-to-lead-1"
BY_LENT = approves("lead-1", "lead", delegation=LENT)


# --- an engine without a rule ---


def anything(*_: Any) -> None:
    """A rule that lets everything pass."""


def as_given(standing: Any, remedy: str | None, amount_minor: int | None) -> Approval:
    """Whatever an approver names."""
    return Approval(remedy or standing.remedy, standing.asked_minor if amount_minor is None else amount_minor)


def _weighed_without_a_second(*args: Any) -> Any:
    weighed = WEIGH(*args)
    return weighed._replace(decision=replace(weighed.decision, second=None))


WEIGH, VERDICT, DUE_AFTER_ANSWER = approving.weigh, approving.verdict, later.due_after_answer

APPROVER = {"approving.require_approver": anything}
AUTHORITY = {"approving.require_authority": anything}
DELEGATION = {"approving.require_delegation": anything}
NO_MORE = {"approving.approval": as_given}
ANSWERER = {"later.require_answerer": anything}
REQUESTER = {"later.require_requester": anything}
FOLLOWS = {"later.require_follows": anything}
DUE = {"approving.is_silent": lambda *_: True, "looks.is_silent": lambda *_: True}


def says_after_silence(kind: str, to: str | None = None) -> dict[str, Any]:
    return {"approving.after_silence": lambda *_: Silence(kind, to)}


class Forgery(NamedTuple):
    """The rules that an engine did without, what was done with it, and what is found."""

    without: dict[str, Any]
    steps: tuple[Steps, ...]
    found: str
    policy: str = POLICY


ASKED_TWICE = (asks(case="C-1"), asks(id="r-2", case="C-1", employee="lead-9"))
IN_QUESTION = (asks(), puts_a_question())
FIRST_OF_TWO = (asks(95), approves("lead-1", "lead"))

FORGERIES = {
    # who approves
    "who asked": Forgery(APPROVER, (asks(), approves("emp-1", "lead")), "emp-1 asked for it"),
    "who asked, with what was lent": Forgery(
        APPROVER,
        (asks(), lends(to="emp-1"), approves("emp-1", "associate", delegation="mgr-1-to-emp-1")),
        "emp-1 asked for it",
    ),
    "in the name of who asked": Forgery(
        APPROVER,
        (asks(), lends(by="emp-1"), approves("lead-1", "lead", delegation="emp-1-to-lead-1")),
        "emp-1 asked for it",
    ),
    "who asked for the very same": Forgery(
        APPROVER, (*ASKED_TWICE, approves("lead-9", "lead")), "lead-9 asked for it too: `r-1` needs another person"
    ),
    "in the name of who asked for the very same": Forgery(
        APPROVER,
        (*ASKED_TWICE, lends(by="lead-9"), approves("lead-1", "lead", delegation="lead-9-to-lead-1")),
        "lead-9 asked for it too: `r-1` needs another person",
    ),
    "who asked for the very same, after a question": Forgery(
        APPROVER,
        (*ASKED_TWICE, puts_a_question(), answers(), approves("lead-9", "lead")),
        "lead-9 asked for it too: `r-1` needs another person",
    ),
    "a role below": Forgery(
        APPROVER | AUTHORITY,
        (asks(150, role="lead", employee="lead-9"), approves("emp-2", "associate")),
        "a associate cannot approve what a lead asks for",
    ),
    "a role without the authority": Forgery(
        AUTHORITY, (asks(150), approves("lead-1", "lead")), "a lead could not approve it, because of `standard`"
    ),
    # what is approved
    "more than was asked": Forgery(
        NO_MORE,
        (asks(), approves("lead-1", "lead", amount=usd(81))),
        "more than the $80.00 that was asked for",
    ),
    "more than what it came down to": Forgery(
        NO_MORE,
        (
            asks(),
            lambda making: making.engine.amend("r-1", usd(70)),
            approves("lead-1", "lead", amount=usd(80)),
        ),
        "more than the $70.00 that was asked for",
    ),
    "without what a manager waived": Forgery(
        {"approving.waived": lambda *_: []},
        (asks(20, category="quality", evidence=["receipt"]), approves("mgr-1", "manager")),
        "`waived` is nothing, and the policy gives `['proof']`",
    ),
    "with what nobody waived": Forgery(
        {"approving.waived": lambda *_: ["proof"]},
        (asks(), approves("lead-1", "lead")),
        "`waived` is `['proof']`, and the policy gives nothing",
    ),
    "for other reasons": Forgery(
        {"approving.verdict": lambda decision: VERDICT(decision) | {"because": [["late"]]}},
        (asks(), approves("lead-1", "lead")),
        "`because` is `[['late']]`, and the policy gives `[['standard', 'amount', 8000, 10000]]`",
    ),
    # the second person
    "no second person": Forgery(
        {"approving.weigh": _weighed_without_a_second},
        FIRST_OF_TWO,
        "`second` is nothing, and the policy gives `manager`",
    ),
    "one person twice": Forgery(
        APPROVER, (*FIRST_OF_TWO, approves("lead-1", "manager", id="again")), "lead-1 agreed to it already"
    ),
    "who lent it to the first": Forgery(
        APPROVER,
        (asks(95), lends(), BY_LENT, approves("mgr-1", "manager")),
        "it was agreed to in mgr-1's name already",
    ),
    "the second by what was lent": Forgery(
        APPROVER,
        (*FIRST_OF_TWO, lends(to="lead-2"), approves("lead-2", "lead", delegation="mgr-1-to-lead-2")),
        "a second person agrees in their own name",
    ),
    "a second of too low a role": Forgery(
        APPROVER, (*FIRST_OF_TWO, approves("lead-2", "lead")), "a lead cannot be the second person"
    ),
    "more than the first agreed to": Forgery(
        NO_MORE,
        (asks(95), approves("lead-1", "lead", amount=usd(92)), approves("mgr-1", "manager", amount=usd(95))),
        "more than the $92.00 that was agreed to",
    ),
    "another remedy than the first agreed to": Forgery(
        NO_MORE, (*FIRST_OF_TWO, approves("mgr-1", "manager", remedy="voucher")), "lead-1 agreed to refund"
    ),
    "on authority that is used up": Forgery(
        AUTHORITY,
        (
            asks(95, receipt="R-1"),
            approves("lead-1", "lead"),
            asks(10, id="r-2", receipt="R-1"),
            approves("mgr-1", "manager"),
        ),
        "a lead could not approve it, because of `standard`",
    ),
    # lent authority
    "revoked": Forgery(DELEGATION, (asks(), lends(), revokes(), BY_LENT), f"the delegation `{LENT}` was revoked"),
    "over": Forgery(DELEGATION, (lends(), days_go_by(8), asks(), BY_LENT), f"`{LENT}` is not in force now"),
    "not yet begun": Forgery(
        DELEGATION,
        (
            asks(),
            lambda making: lends(from_us=making.clock.now_us + DAY_US)(making),
            BY_LENT,
        ),
        f"`{LENT}` is not in force now",
    ),
    "passed on": Forgery(
        DELEGATION,
        (asks(), lends(), approves("lead-2", "lead", delegation=LENT)),
        f"the delegation `{LENT}` is lead-1's, and is not passed on",
    ),
    "beyond its cap": Forgery(
        DELEGATION, (asks(), lends(cap=usd(70)), BY_LENT), f"`{LENT}` goes to $70.00 for one case, with what it had"
    ),
    "beyond its cap, with what the case had": Forgery(
        DELEGATION,
        (asks(10, id="r-2", case="C-1"), asks(case="C-1"), lends(cap=usd(85)), BY_LENT),
        f"`{LENT}` goes to $85.00 for one case, with what it had",
    ),
    "capped in other money": Forgery(
        DELEGATION, (asks(), lends(cap=Money.of(500, "EUR")), BY_LENT), f"`{LENT}` is capped in EUR"
    ),
    "for another site": Forgery(
        DELEGATION, (asks(), lends(sites=["S002"]), BY_LENT), f"`{LENT}` is not for the site `S001`"
    ),
    "for another remedy": Forgery(
        DELEGATION, (asks(), lends(remedies=["voucher"]), BY_LENT), f"`{LENT}` is not for refund"
    ),
    "in a circle": Forgery(
        {"delegating.require_lendable": anything},
        (lends(), lends(by="lead-1", to="lead-2"), lends(by="lead-2", to="mgr-1")),
        "mgr-1 has lent authority to lead-2, directly or by others",
    ),
    "passed on before it is lent": Forgery(
        {"delegating.require_lendable": anything},
        (lends(by="lead-1", to="lead-2"), lends()),
        "lead-1 has lent that authority to lead-2",
    ),
    "to oneself": Forgery(
        {"delegating.require_lendable": anything}, (lends(to="mgr-1"),), "mgr-1 has that authority already"
    ),
    # saying no, asking back
    "declined by who asked": Forgery(ANSWERER, (asks(), declines("emp-1", "lead")), "emp-1 asked for it"),
    "declined by a role never asked": Forgery(
        ANSWERER, (asks(150), declines("lead-1", "lead")), "a lead was not asked"
    ),
    "declined by who had agreed": Forgery(
        ANSWERER, (*FIRST_OF_TWO, declines("lead-1", "lead")), "lead-1 agreed to it already"
    ),
    "a question of a role never asked": Forgery(
        ANSWERER, (asks(150), puts_a_question("lead-1", "lead")), "a lead was not asked"
    ),
    "asked twice": Forgery(
        FOLLOWS, (*IN_QUESTION, puts_a_question("lead-3")), "a question about `r-1` is open already"
    ),
    "answered by who had asked": Forgery(
        {"later.Answer.check": anything}, (*IN_QUESTION, answers(by="lead-2")), "answered by lead-2, who had asked"
    ),
    "answered without a question": Forgery(
        FOLLOWS, (*IN_QUESTION, answers(), answers(id="again")), "nobody has asked about `r-1`"
    ),
    "answered, and time does not go on": Forgery(
        {"later.due_after_answer": lambda *args: DUE_AFTER_ANSWER(*args) + 1},
        (*IN_QUESTION, answers()),
        "`due_us` is not what the policy gives",
    ),
    # changing one's mind
    "amended to more": Forgery(
        {"later.Amend.check": anything},
        (asks(), lambda making: making.engine.amend("r-1", usd(90))),
        "amended to more than was asked for",
    ),
    "amended by another": Forgery(
        REQUESTER, (asks(), lambda making: making.engine.amend("r-1", usd(70), by="emp-2")), "`r-1` is emp-1's"
    ),
    "withdrawn by another": Forgery(
        REQUESTER, (asks(), lambda making: making.engine.withdraw("r-1", by="emp-2")), "`r-1` is emp-1's"
    ),
    "joined to another request": Forgery(
        {"steps.asked_for": lambda fields: None},
        (asks(case="C-1"), asks(85, id="r-2", case="C-1", employee="emp-2")),
        "it asks for something else than `r-1`",
    ),
    # silence
    "moved up too early": Forgery(DUE, (asks(), nobody_answers(4)), "`moved_up` before the answer was due"),
    "moved up in the middle of a question": Forgery(
        DUE, (*IN_QUESTION, nobody_answers()), "`moved_up` before the answer was due"
    ),
    "moved up past a role": Forgery(
        says_after_silence("moved_up", "director"), (asks(), nobody_answers()), "silence gives `moved_up` to manager"
    ),
    "lapsed although somebody may": Forgery(
        says_after_silence("lapsed"), (asks(), nobody_answers()), "silence gives `moved_up` to manager"
    ),
    "declined where the next is asked": Forgery(
        says_after_silence("declined"), (asks(), nobody_answers()), "silence gives `moved_up` to manager"
    ),
    "asked the next where it is declined": Forgery(
        says_after_silence("moved_up", "manager"),
        (asks(), nobody_answers()),
        "silence gives `declined`",
        WHEN_SILENT_NO,
    ),
}
"""By who approves, or what happened."""


def _made(folder: Path, forgery: Forgery) -> str:
    folder.mkdir()
    making = Making(f"sqlite:///{folder / 'log.db'}", folder, policy=forgery.policy)
    with closing(making.engine):
        for step in forgery.steps:
            step(making)
    return making.url


@pytest.mark.parametrize("name", FORGERIES)
def test_what_only_an_engine_without_a_rule_writes_is_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgery = FORGERIES[name]
    with suppress(NotAllowed):
        _made(tmp_path / "honest", forgery)
    assert verify(tmp_path / "honest" / "log.db").clean
    with monkeypatch.context() as patched:
        for rule, instead in forgery.without.items():
            patched.setattr(f"recovery_engine.log.writing.{rule}", instead)
        forged = _made(tmp_path / "forged", forgery)
    findings = verify(forged).findings
    assert forgery.found in "\n".join(map(str, findings))
    assert {finding.kind for finding in findings} == {"tampered"}


# --- written by hand, where no rule of the engine stands in the way ---


@pytest.fixture
def forger(tmp_path: Path) -> Iterator[Forger]:
    """A log with an approval that rests on the proof in an answer, one that waives it, and a decline by silence."""
    steps = (
        asks(20, category="quality", evidence=["receipt"]),
        puts_a_question("mgr-2", "manager"),
        answers(evidence=["photo"]),
        approves("lead-1", "lead"),
        asks(20, id="r-2", category="quality", evidence=["receipt"]),
        lambda making: making.engine.ask("r-2", "Is there a photo?", by="mgr-2", role="manager"),
        lambda making: making.engine.answer("r-2", "There is none"),
        lambda making: making.engine.approve("r-2", by="mgr-1", role="manager"),
        asks(80, id="r-3"),
        nobody_answers(),
        lends(),
        revokes(),
    )
    made = _made(tmp_path / "made", Forgery({}, steps, "", WHEN_SILENT_NO))
    assert verify(made).clean
    with closing(Forger(made, tmp_path / "forged.db")) as forger:
        yield forger


def _found(forger: Forger, id: str, change: Callable[[Entry], Any]) -> str:
    forger.forge(id, change)
    return "\n".join(map(str, forger.verify().findings))


def test_proof_slipped_into_an_answer_is_found_where_an_approval_waives_it(forger: Forger) -> None:
    found = _found(forger, "~answer/r-2/1", lambda entry: entry.update(evidence=["photo"]))
    assert "`waived` is `['proof']`, and the policy gives nothing" in found


def test_proof_taken_out_of_an_answer_is_found_where_an_approval_rests_on_it(forger: Forger) -> None:
    found = _found(forger, "~answer/r-1/1", lambda entry: entry.pop("evidence"))
    assert "a lead could not approve it, because of `proof`" in found


def test_silence_declines_for_the_role_that_was_asked(forger: Forger) -> None:
    found = _found(forger, "~silence/r-3", lambda entry: entry.update(role="manager"))
    assert "the silence of a manager, and a lead was asked" in found


def test_what_is_lent_is_revoked_once(forger: Forger) -> None:
    entries = forger.entries("organisation")
    people = [[subject, version + 1] for subject, version in entries[-1]["touches"]]
    forger.rewrite("organisation", [*entries, {**entries[-1], "id": "again", "touches": people}])
    forger.reproject()
    assert "revoked twice, or by somebody else than who lent it" in str(forger.verify().findings[0])
