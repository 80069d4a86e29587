"""An engine answers as a model of a hundred lines does, whatever is asked in whatever order, and through crashes.

``RECOVERY_TEST_SCALE=100`` multiplies the number of lives, ``RECOVERY_TEST_SEED=7`` gives others. The seed stands in
the name of the test, so that lives that failed can be lived again.
"""

import os
import shutil
from contextlib import nullcontext, suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest
from engines import DAY, HOUR, SECOND, START, Clock, ask, assert_whole, opened, rows
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from log_model import ROLES, Asked, LogModel, Terms

from recovery_engine import RecoveryError

pytestmark = pytest.mark.slow

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))
SEEDED = pytest.mark.parametrize("first", [int(os.environ.get("RECOVERY_TEST_SEED", "1"))], ids="seed {}".format)

TERMS = [
    Terms(),
    Terms(employee_day=150),
    Terms(customer_30=200, customer_cases=2),
    Terms((50, 60, 400), 300, 250, 3, 700),
]


def text(terms: Terms) -> str:
    """A policy of these numbers. Its days are those of a zone six hours behind, and start at four."""
    return f"""
policy: shop
currency: USD
ladder: [clerk, lead, manager]
timezone: Etc/GMT+6
day_starts: "04:00"
authority: [{{id: standard, up_to: {{total: {list(terms.limits)}}}}}]
budgets:
  - {{id: employee, per: employee, every: day, amount: {terms.employee_day}}}
  - id: customer
    per: customer
    every: 30 days
    amount: {terms.customer_30}
    times: {terms.customer_cases}
    binds_below: manager
  - {{id: site, per: site, every: month, amount: {terms.site_month}}}
"""


IDS = st.integers(0, 30).map("r-{}".format)
CASES = st.integers(0, 7)
CUSTOMERS = ("K-0", "K-1", None)


def a_request(case: int, employee: int, role: str, site: int, remedy: str, amount: int) -> Asked:
    """A request whose case always has the same receipt and customer; some cases share a receipt."""
    receipt = f"R-{case // 2}" if case % 4 > 1 else None
    return Asked(f"C-{case}", receipt, CUSTOMERS[case % 3], f"e-{employee}", role, f"S{site}", remedy, amount)


REQUESTS = st.builds(
    a_request,
    case=CASES,
    employee=st.integers(0, 1),
    role=st.sampled_from(ROLES),
    site=st.integers(0, 1),
    remedy=st.sampled_from(("refund", "voucher")),
    amount=st.sampled_from((0, 1, 40, 60, 100, 101, 250, 501)),
)


class Life(RuleBasedStateMachine):
    """The life of a log; ``place()`` gives an empty database for each."""

    place: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.url = self.place(self.folder.name)
        self.clock, self.model = Clock(), LogModel(START)
        self.tokens: dict[str, str] = {}
        self.engine = opened(self.url, clock=self.clock)
        self.dropped: list[Any] = []
        self.crashes = count()
        self.model.heads["organisation"] = (1, START)

    def answer(self, call: Any) -> str:
        """What the engine answers, as the model says it."""
        try:
            answered = call()
        except RecoveryError as error:
            return type(error).__name__
        word = " ".join(filter(None, (str(getattr(answered, "outcome", "done")), getattr(answered, "to", None))))
        receipt, replayed = getattr(answered, "log_receipt", None), getattr(answered, "replayed", False)
        if receipt and not replayed:
            assert (
                receipt.seq
                == rows(self.url, "SELECT max(seq) FROM recovery_log WHERE stream = " + f"'{receipt.stream}'")[0][0]
            )
        return f"again {word}" if replayed else word

    @initialize(terms=st.sampled_from(TERMS))
    def first_policy(self, terms: Terms) -> None:
        self.load(terms)

    @rule(terms=st.sampled_from(TERMS))
    def load(self, terms: Terms) -> None:
        self.engine.close()
        expected = self.model.load(terms)
        with suppress(RecoveryError) if expected == "LogError" else nullcontext():
            self.engine = opened(self.url, text(terms), clock=self.clock, seed=next(self.crashes))
            assert expected != "LogError"
            return
        self.engine = opened(self.url, clock=self.clock, seed=next(self.crashes))

    @precondition(lambda self: self.model.terms)
    @rule(id=IDS, asked=REQUESTS)
    def request(self, id: str, asked: Asked) -> None:
        given = asked._asdict()
        request = ask(id, given.pop("amount"), note="cold", **given)
        assert self.answer(lambda: self.engine.request(request)) == self.model.request(id, asked)
        if (known := self.model.recoveries.get(id)) and known.customer:
            found = rows(self.url, f"SELECT customer FROM recovery_state WHERE recovery = '{id}'")
            assert self.tokens.setdefault(known.customer, found[0][0]) == found[0][0]

    @precondition(lambda self: self.model.recoveries)
    @rule(at=st.integers(0, 100))
    def ask_again(self, at: int) -> None:
        id = sorted(self.model.recoveries)[at % len(self.model.recoveries)]
        self.request(id, self.model.recoveries[id].asked)

    @precondition(lambda self: self.model.terms)
    @rule(asked=st.lists(REQUESTS, min_size=1, max_size=4))
    def ask_more(self, asked: list[Asked]) -> None:
        for one in asked:
            self.request(f"m-{next(self.crashes)}", one)

    def known(self, at: int) -> str:
        """A recovery of the log, or one that is not there."""
        ids = [*sorted(self.model.recoveries), "nobody"]
        return ids[at % len(ids)]

    @rule(at=st.integers(0, 100), reference=st.sampled_from((None, "rf-1")))
    def fulfil(self, at: int, reference: str | None) -> None:
        id = self.known(at)
        assert self.answer(lambda: self.engine.fulfil(id, reference)) == self.model.fulfil_or_void(
            id, "fulfilled", reference
        )

    @rule(at=st.integers(0, 100), reason=st.sampled_from(("mistake", "given twice")))
    def void(self, at: int, reason: str) -> None:
        id = self.known(at)
        assert self.answer(lambda: self.engine.void(id, reason, by="b-1")) == self.model.fulfil_or_void(
            id, "voided", reason
        )

    @rule(customer=st.sampled_from(("K-0", "K-1")))
    def forget(self, customer: str) -> None:
        assert self.answer(lambda: self.engine.forget(customer, "asked for it")) == self.model.forget(customer)

    @rule(step=st.sampled_from((SECOND, HOUR, 8 * HOUR, DAY, 29 * DAY, -SECOND, -HOUR // 2, -HOUR, 401 * DAY)))
    def move_clock(self, step: int) -> None:
        self.clock.now_us += step
        self.model.now_us += step

    @rule()
    def accept_clock(self) -> None:
        assert len(self.engine.accept_clock()) == self.model.accept_clock()

    @rule()
    def crash(self) -> None:
        """The process is gone without a word; another finds what it left on the disk."""
        self.dropped.append(self.engine)
        if self.url.startswith("sqlite"):
            old, new = Path(self.url.removeprefix("sqlite:///")), Path(self.folder.name, f"{next(self.crashes)}.db")
            for ending in ("", "-wal"):
                with suppress(FileNotFoundError):
                    shutil.copyfile(f"{old}{ending}", f"{new}{ending}")
            self.url = f"sqlite:///{new}"
        self.engine = opened(self.url, clock=self.clock, seed=next(self.crashes))

    @invariant()
    def sums_and_states_are_the_model_s(self) -> None:
        usage = "SELECT subject, sum(amount_minor), sum(times) FROM recovery_usage GROUP BY subject"
        stored = {subject: (int(amount) // 100, int(times)) for subject, amount, times in rows(self.url, usage)}
        expected = {}
        for one in self.model.recoveries.values():
            for subject in one.subjects:
                kind, _, name = subject.partition(":")
                expected[f"customer:{self.tokens[name]}" if kind == "customer" else subject] = self.model.sums(subject)
        assert {name: sums for name, sums in stored.items() if any(sums)} == {
            name: sums for name, sums in expected.items() if any(sums)
        }
        states = dict(rows(self.url, "SELECT recovery, status FROM recovery_state"))
        assert states == {id: one.status for id, one in self.model.recoveries.items()}
        heads = rows(self.url, "SELECT stream, size, last_at_us FROM recovery_stream WHERE size > 0")
        assert {stream: (size, at) for stream, size, at in heads} == self.model.heads

    def teardown(self) -> None:
        for engine in (*self.dropped, self.engine):
            engine.close()
        assert_whole(self.url)
        self.folder.cleanup()


def live(place: Any, lives: int, commands: int, first: int) -> str:
    """Live so many lives, the same for the same seed; what was lived."""
    began = count()

    @seed(first)
    class Here(Life):
        def __init__(self) -> None:
            next(began)
            super().__init__()

    Here.place = staticmethod(place)
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=lives,
            stateful_step_count=commands,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            phases=(Phase.generate,),  # a life takes long enough to live once: no shrinking
            print_blob=True,
        ),
    )
    return f"{next(began):,} lives of {commands} commands (seed {first})"


@SEEDED
def test_an_engine_on_sqlite_lives_as_the_model_does(first: int, record_property: Any) -> None:
    lived = live(lambda folder: f"sqlite:///{folder}/recovery.db", 15 * SCALE, 40, first)
    record_property("the model", f"sqlite: {lived}, as the model says")


@SEEDED
def test_an_engine_on_postgresql_lives_as_the_model_does(places: Any, first: int, record_property: Any) -> None:
    record_property("the model", f"postgresql: {live(places, 4 * SCALE, 25, first)}, as the model says")
