"""Whatever is asked, answered, lent, left unanswered or crashed, in whatever order: it goes as a plain model says.

``RECOVERY_TEST_SCALE=100`` multiplies the number of lives.
"""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest
from databases import quick_place
from engines import DAY, HOUR, SECOND, Clock, ask, assert_whole, dollars, entries, opened, rows
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from workflow_model import EYES_OVER, LIMITS, OWN_DAY, ROLES, Lent, WorkflowModel

from recovery_engine import RecoveryError

pytestmark = pytest.mark.slow

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))
BEGINS = 1_793_500_000_000_000
"""Saturday, 2026-10-31, 21:26 in Chicago: the night in which the clocks go back, two days before other limits."""

POLICIES = [
    f"""
policy: shop
effective: {{from: {first}}}
currency: USD
timezone: America/Chicago
day_starts: "04:00"
ladder: [clerk, lead, manager]
authority: [{{id: standard, up_to: {{total: {list(limits)}}}}}]
budgets: [{{id: own, per: employee, every: day, amount: {OWN_DAY}, binds_below: manager}}]
four_eyes: [{{id: two, when: {{amount: over {EYES_OVER}}}, second: manager}}]
escalation: {{answer_within: {{lead: 1 hour, manager: 4 hours}}, fulfil_within: 2 days}}
"""
    for first, limits in LIMITS.items()
]

AT = st.integers(0, 100)
PEOPLE = st.integers(0, 4).map("p-{}".format)
ROLE = st.sampled_from(ROLES)
AMOUNTS = st.sampled_from((20, 60, 101, 150, 201, 240, 300, 500, 601))
STEPS = st.sampled_from((SECOND, HOUR // 2, HOUR, HOUR, 4 * HOUR, 8 * HOUR, DAY, 27 * DAY))
STATES = "SELECT recovery, status, to_role, asked_minor, due_us, question_us FROM recovery_state"
SEEN: Counter[str] = Counter()


class Life(RuleBasedStateMachine):
    """The life of a log; ``place()`` gives an empty database for each."""

    place: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory(dir=quick_place())
        self.url = self.place(self.folder.name)
        self.clock, self.model = Clock(BEGINS), WorkflowModel(BEGINS)
        self.engine = opened(self.url, *POLICIES, clock=self.clock)
        self.numbers, self.dropped = count(), list[Any]()
        self.last: tuple[Callable[[], Any], Any] | None = None

    def check(self, what: str, call: Callable[[], Any], expected: str) -> None:
        """The engine says what the model says; said again with the same id, it is the same answer."""
        try:
            done = call()
        except RecoveryError as error:
            said = type(error).__name__
        else:
            state = getattr(done, "state", None)
            said = state.status if state else "done"
            self.last = call, done.log_receipt
        SEEN[f"{what}: {said}"] += 1
        assert said == expected, (what, expected)

    def pick(self, at: int) -> str:
        """A recovery; more often than not one that waits."""
        ids = [id for id, one in self.model.recoveries.items() if one.status == "pending" or at % 7 == 0]
        ids = ids or list(self.model.recoveries)
        return sorted(ids)[at % len(ids)]

    def id(self) -> str:
        return f"id-{next(self.numbers):04}"

    @rule(case=st.integers(0, 5), site=st.integers(0, 1), employee=PEOPLE, role=ROLE, amount=AMOUNTS)
    def request(self, case: int, site: int, employee: str, role: str, amount: int) -> None:
        id, fields = self.id(), {"case": f"C-{case}", "site": f"S{site}", "employee": employee, "role": role}
        expected = self.model.request(id, fields["case"], fields["site"], employee, role, amount)
        decision = self.engine.request(ask(id, amount, **fields))
        recovery = decision.recovery or ""
        state = self.engine.recovery(recovery)
        assert state is not None
        said = state.status if recovery == id else f"joined {recovery}"
        SEEN[f"request: {said.split()[0]}"] += 1
        assert said == expected

    @rule(asked=st.lists(st.tuples(st.integers(0, 5), PEOPLE, AMOUNTS), min_size=2, max_size=5))
    def clerks_ask(self, asked: list[tuple[int, str, int]]) -> None:
        for case, employee, amount in asked:
            self.request(case, 0, employee, "clerk", amount)

    known = precondition(lambda self: self.model.recoveries)

    @known
    @rule(at=AT, managers=st.permutations([f"p-{number}" for number in range(5)]))
    def managers_approve(self, at: int, managers: list[str]) -> None:
        """One after the other, until somebody grants it or all were asked."""
        recovery = self.pick(at)
        for by in managers:
            if self.model.recoveries[recovery].status == "pending":
                self.approved(recovery, by, "manager", None, None)

    @known
    @rule(at=AT, by=PEOPLE, role=st.sampled_from((*ROLES, "manager")), less=st.sampled_from((None, None, 20, 101, 240)))
    def approve(self, at: int, by: str, role: str, less: int | None) -> None:
        self.approved(self.pick(at), by, role, less, None)

    @precondition(lambda self: self.model.recoveries and self.model.lent)
    @rule(at=AT, lent=AT, by=PEOPLE, passed_on=st.sampled_from((False, False, False, True)), role=ROLE)
    def approve_in_a_name(self, at: int, lent: int, by: str, passed_on: bool, role: str) -> None:
        delegation = sorted(self.model.lent)[lent % len(self.model.lent)]
        by = by if passed_on else self.model.lent[delegation].to
        self.approved(self.pick(at), by, role, None, delegation)

    def approved(self, recovery: str, by: str, role: str, less: int | None, delegation: str | None) -> None:
        expected, id = self.model.approve(recovery, by, role, less, delegation), self.id()
        amount = None if less is None else dollars(less)
        self.check(
            "approve in a name" if delegation else "approve",
            lambda: self.engine.approve(recovery, by=by, role=role, amount=amount, delegation=delegation, id=id),
            expected,
        )
        one = self.model.recoveries[recovery]
        if expected == "granted":
            limit = one.limits[ROLES.index(one.carrier_role)]
            assert self.model.on_case(one.case) <= limit, "a grant above the authority it stands on"

    @known
    @rule(at=AT, by=PEOPLE, role=ROLE, what=st.sampled_from(("ask", "ask", "decline")))
    def answer_otherwise(self, at: int, by: str, role: str, what: str) -> None:
        recovery, id = self.pick(at), self.id()
        expected = self.model.says(recovery, by, role, what)
        self.check(what, lambda: getattr(self.engine, what)(recovery, "why", by=by, role=role, id=id), expected)

    @known
    @rule(at=AT, other=PEOPLE, mine=st.booleans(), what=st.sampled_from(("answer", "answer", "amend", "withdraw")))
    def requester(self, at: int, other: str, mine: bool, what: str) -> None:
        recovery, id = self.pick(at), self.id()
        one = self.model.recoveries[recovery]
        by, amount = one.employee if mine or what == "answer" else other, one.asked - 10 * (at % 3)
        given: Any = dollars(amount) if what == "amend" else "here"
        expected = self.model.requester(recovery, by, what, amount)
        self.check(what, lambda: getattr(self.engine, what)(recovery, given, by=by, id=id), expected)

    @known
    @rule(at=AT, status=st.sampled_from(("fulfilled", "voided")))
    def after_a_grant(self, at: int, status: str) -> None:
        recovery, id = sorted(self.model.recoveries)[at % len(self.model.recoveries)], self.id()
        command = self.engine.fulfil if status == "fulfilled" else self.engine.void
        expected = self.model.after_grant(recovery, status)
        self.check(status, lambda: command(recovery, "rf-1", by="p-0", id=id), expected)

    @precondition(lambda self: len(self.model.lent) < 3)
    @rule(by=PEOPLE, to=PEOPLE, role=ROLE, cap=st.sampled_from((150, 10_000)), time=st.sampled_from((HOUR, 3 * DAY)))
    def delegate(self, by: str, to: str, role: str, cap: int, time: int) -> None:
        id, now = self.id(), self.clock.now_us
        expected = self.model.delegate(id, Lent(by, to, role, cap, now, now + time))
        terms: Any = {"by": by, "to": to, "role": role, "cap": dollars(cap), "until_us": now + time}
        self.check("delegate", lambda: self.engine.delegate(id, **terms), expected)

    @precondition(lambda self: self.model.lent)
    @rule(at=AT, by=PEOPLE)
    def revoke(self, at: int, by: str) -> None:
        delegation, id = sorted(self.model.lent)[at % len(self.model.lent)], self.id()
        expected = self.model.revoke(delegation, by)
        self.check("revoke", lambda: self.engine.revoke(delegation, by=by, id=id), expected)

    @precondition(lambda self: self.last)
    @rule()
    def say_it_again(self) -> None:
        assert self.last is not None
        call, receipt = self.last
        done = call()
        assert (done.replayed, done.log_receipt) == (True, receipt)

    @rule(step=STEPS)
    def move_clock(self, step: int) -> None:
        self.clock.now_us += step
        self.model.now += step

    @rule()
    def tick(self) -> None:
        steps = self.engine.tick().steps
        said = {one.recovery: f"{one.state.status} {one.state.to_role}" for one in steps}
        SEEN.update(f"tick: {one.state.status}" for one in steps)
        assert said == self.model.tick()

    @rule()
    def crash(self) -> None:
        """The process is gone without a word; another finds what it left on the disk."""
        self.dropped.append(self.engine)
        if self.url.startswith("sqlite"):
            old, new = Path(self.url.removeprefix("sqlite:///")), Path(self.folder.name, f"{next(self.numbers)}.db")
            for ending in ("", "-wal"):
                with suppress(FileNotFoundError):
                    shutil.copyfile(f"{old}{ending}", f"{new}{ending}")
            self.url = f"sqlite:///{new}"
        self.engine = opened(self.url, clock=self.clock, seed=next(self.numbers))
        self.last = None

    @invariant()
    def it_stands_as_in_the_model(self) -> None:
        stored = rows(
            self.url, "SELECT recovery, status, to_role, asked_minor, due_us, question_us FROM recovery_state"
        )
        known = self.model.recoveries
        assert {row[0]: row[1] for row in stored} == {id: one.status for id, one in known.items()}
        waiting = {row[0]: row[2:] for row in stored if row[1] == "pending"}
        assert waiting == {
            id: (one.to, one.asked * 100, one.due, one.question) for id, one in known.items() if one.status == "pending"
        }
        usage = "SELECT subject, sum(amount_minor) FROM recovery_usage GROUP BY subject"
        sums = Counter({subject: int(amount) // 100 for subject, amount in rows(self.url, usage)})
        expected: Counter[str] = Counter()
        for one in known.values():
            subjects = [f"case:{one.case}", f"site:{one.site}", *(f"employee:{person}" for person in one.carriers)]
            expected.update(dict.fromkeys(subjects, one.granted))
        assert +sums == +expected

    def teardown(self) -> None:
        for engine in (*self.dropped, self.engine):
            engine.close()
        assert_whole(self.url)
        assert_nobody_was_their_own_approver(entries(self.url))
        self.folder.cleanup()


def assert_nobody_was_their_own_approver(log: list[dict[str, Any]]) -> None:
    """Who asked, who agreed and in whose name are different people; what is granted is so once, and by a person."""
    people = {entry["id"]: [entry["by"]] for entry in log if entry["kind"] == "decided"}
    grants: Counter[str] = Counter(entry["recovery"] for entry in log if entry.get("counts", {}).get("amount", 0) > 0)
    assert not [recovery for recovery, times in grants.items() if times > 1]
    for entry in log:
        if entry["kind"] == "approved":
            agreed = [entry["by"], *([entry["for"]] if "for" in entry else [])]
            assert None not in agreed
            assert not set(agreed) & set(people[entry["recovery"]])
            people[entry["recovery"]] += agreed


def live(place: Any, lives: int, commands: int) -> None:
    class Here(Life):
        pass

    Here.place = staticmethod(place)
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=lives,
            stateful_step_count=commands,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=SCALE == 1,
            phases=(Phase.generate,),  # a life takes long enough to live once: no shrinking
            print_blob=True,
        ),
    )


def tell(record_property: Any) -> None:
    text = ", ".join(f"{name} {times:,}" for name, times in sorted(SEEN.items()))
    record_property("commands of the way up, and what they were answered", text)


def test_the_way_up_on_sqlite_is_that_of_the_model(record_property: Any) -> None:
    SEEN.clear()
    live(lambda folder: f"sqlite:///{folder}/recovery.db", 12 * SCALE, 50)
    tell(record_property)


def test_the_way_up_on_postgresql_is_that_of_the_model(places: Any, record_property: Any) -> None:
    SEEN.clear()
    live(places, 3 * SCALE, 30)
    tell(record_property)
