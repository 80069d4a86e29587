"""A small log with every kind of entry, made by the engine itself, with a clock and a source of chance of its own."""

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

from recovery_engine import Money, RecoveryEngine, RecoveryRequest
from recovery_engine.log.proof.anchors import Anchor
from recovery_engine.log.proof.checkpoints import checkpoint, keygen
from recovery_engine.log.verification.findings import Report
from recovery_engine.log.writing.group import Group, Wanted

DAY_US = 86_400_000_000
START_US = 1_795_000_000_000_000  # 2026-11-18T11:06:40Z

FIRST = """
policy: diner
version: "1"
effective: {from: 2026-01-01}
currency: USD
timezone: America/Chicago
timezones: {west: America/Denver}
day_starts: "04:00"
ladder: [associate, lead, manager]
remedies: [refund, voucher, apology]
categories: [delay, quality, safety]
sites: {city: [S001, S002], west: [S101]}
facts:
  delay_minutes: {number: true, default: 0}
  fare: {money: true, default: 0}
authority:
  - {id: standard, up_to: {total: [25, 100, 500]}}
budgets:
  - {id: employee-day, per: employee, every: day, amount: 60, binds_below: lead}
  - {id: customer-90d, per: customer, every: 90 days, amount: 150, times: 3, binds_below: manager}
  - {id: site-month, per: site, every: month, amount: 5000}
owed:
  - {id: late, when: {category: delay, delay_minutes: at least 60}, remedy: refund, percent: 100, of: fare}
deny:
  - {id: never, when: {category: safety, remedy: voucher}, say: We do not pay for safety with vouchers.}
four_eyes:
  - {id: two-people, when: {amount: over 90}, second: manager}
escalation:
  answer_within: {lead: 5 minutes, manager: 15 minutes}
  fulfil_within: 2 days
"""
SECOND = FIRST.replace('"1"', '"2"').replace("2026-01-01", "2026-11-21").replace("percent: 100", "percent: 50")
CORRECTED = SECOND.replace("[25, 100, 500]", "[30, 100, 500]").replace('"2"', '"2b"')
WITH_ORGANISATION = "  - {id: all-month, per: organisation, every: month, amount: 9000}\n"


@dataclass
class Ticking:
    """A clock that goes on by a second whenever it is asked."""

    now_us: int = START_US

    def __call__(self) -> int:
        self.now_us += 1_000_000
        return self.now_us


def chance(seed: str = "") -> Callable[[int], bytes]:
    """Random bytes that are the same in every run."""
    count = 0

    def random(length: int) -> bytes:
        nonlocal count
        count += 1
        return (sha256(f"{seed}{count}".encode()).digest() * 2)[:length]

    return random


def asked(id: str, amount: str = "10", **given: Any) -> RecoveryRequest:
    """A request for a refund because of a delay, unless *given* says otherwise."""
    fields = {"employee": "emp-1", "role": "associate", "site": "S001", "case": f"C-{id}", "remedy": "refund"}
    fields |= {"category": "delay", "amount": Money.of(amount, "USD")} | given
    return RecoveryRequest(id=id, **fields)


class ByHand:
    """A command of these tests. *fields* makes the entry's own fields from the group, once everything is locked."""

    def __init__(
        self,
        stream: str,
        kind: str,
        id: str,
        by: str | None,
        fields: Callable[[Group], dict[str, Any]],
        recovery: str | None = None,
        subjects: Iterable[str] = (),
    ) -> None:
        self.stream, self.kind, self.id, self.by, self.fields = stream, kind, id, by, fields
        self.recovery, self.subjects = recovery, tuple(subjects)

    def wants(self, wanted: Wanted) -> None:
        wanted.ids.add(self.id)
        if self.recovery:
            wanted.recoveries.add(self.recovery)

    def locks(self, group: Group, wanted: Wanted) -> None:
        wanted.subjects.update(self.subjects)
        wanted.streams.add(self.stream)

    def run(self, group: Group) -> Any:
        at_us = group.clock(self.stream)
        return group.append(self.stream, self.kind, self.id, self.by, self.fields(group), at_us)


class Making:
    """A log in the making."""

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        policy: str = FIRST,
        tracks: tuple[str, ...] = (),
        seed: str = "",
        now_us: int = START_US,
    ) -> None:
        self.clock, self.tracks, self.folder = Ticking(now_us), tracks, folder
        folder.mkdir(exist_ok=True)
        self.url, self._random = url, chance(seed)
        self.engine = self._open(policy)

    def _open(self, text: str) -> RecoveryEngine:
        if self.tracks:
            text = text.replace("owed:\n", f"{WITH_ORGANISATION}owed:\n")
        file = self.folder / "policy.yaml"
        file.write_text(text)
        return RecoveryEngine.open(
            self.url,
            file,
            origin="shop.example/recovery",
            tracks=self.tracks,
            clock=self.clock,
            random=self._random,
            environment={},
        )

    def load(self, text: str) -> None:
        """Another version of the policy comes into the log."""
        self.engine.close()
        self.engine = self._open(text)

    def later(self, days: float) -> None:
        """Let time go by."""
        self.clock.now_us += int(days * DAY_US)

    def ask(self, id: str, amount: str = "10", **given: Any) -> str:
        """Ask for something; the outcome."""
        return str(self.engine.request(asked(id, amount, **given)).outcome)

    def silence(self, minutes: int) -> None:
        """Nobody answers for so long, and the clock does what follows."""
        self.clock.now_us += minutes * 60_000_000
        assert self.engine.tick().steps

    def reopen(self, stream: str, size: int) -> None:
        """The stream goes on although an anchor had more."""
        fields = {"size": size, "root": "a" * 64}
        step = ByHand(stream, "reopened", f"~reopen/{stream}/{size}", "owner-1", lambda group: fields)
        self.engine._store.run(step)


def every_kind(making: Making) -> None:
    """Write every kind of entry, at three sites, over two versions of the policy and a month's end."""
    ask = making.ask
    assert ask("r-01", "10", customer="K-1", receipt="R-1", bill=Money.of("64", "USD"), note="An hour") == "approve"
    making.engine.fulfil("r-01", "rf-1")
    assert ask("r-02", "8", customer="K-1", receipt="R-1", case="C-r-01") == "approve"
    making.engine.void("r-02", "given twice", by="lead-1")
    assert ask("r-03", "20", site="S101", employee="emp-2", customer="K-1") == "approve"
    assert ask("r-04", "80", customer="K-2", customer_name="Zoë", customer_contact="+1 555 0100") == "escalate"
    approve, ask_back = making.engine.approve, making.engine.ask
    approve("r-04", by="lead-1", role="lead", amount=Money.of("70", "USD"), note="A regular guest")
    assert ask("r-05", "5", remedy="voucher", category="safety") == "deny"
    assert ask("r-06", "95", receipt="R-6") == "escalate"
    approve("r-06", by="lead-2", role="lead")
    approve("r-06", by="mgr-1", role="manager")
    assert ask("r-07", "26") == "escalate"
    making.engine.decline("r-07", "not our fault", by="lead-1", role="lead")
    assert ask("r-08", "30", site="S101", employee="emp-2") == "escalate"
    making.silence(6)  # moves up
    making.silence(16)  # lapses
    late = {"basis": "owed", "facts": {"delay_minutes": 90, "fare": Money.of("40", "USD")}}
    assert ask("r-09", "40", occurred_on=date(2026, 11, 1), customer="K-3", **late) == "approve"
    assert ask("r-10", "0", remedy="apology", site="S002") == "approve"
    assert ask("r-18", "0", remedy="apology", site="S002", case="C-r-10") == "approve"
    assert ask("r-11", "12", receipt="R-1", customer="K-1") == "approve"  # another case, the same receipt
    lend = {"by": "mgr-1", "role": "manager", "sites": ["S001"], "until_us": making.clock.now_us + 7 * DAY_US}
    making.engine.delegate("lent-1", to="lead-1", cap=Money.of("100", "USD"), **lend)
    making.engine.delegate("lent-2", to="lead-2", remedies=["voucher"], **lend)
    making.engine.revoke("lent-2", by="mgr-1")
    assert ask("r-19", "89", customer="K-3", receipt="R-19", note="Rain came in") == "escalate"
    ask_back("r-19", "Is there a photo?", by="lead-3", role="lead")
    making.engine.answer("r-19", "Here it is", evidence=["photo"])
    making.engine.amend("r-19", Money.of("85", "USD"))
    approve("r-19", by="lead-1", role="lead", delegation="lent-1")
    assert ask("r-20", "45", case="C-20", receipt="R-20") == "escalate"
    assert ask("r-21", "45", case="C-20", receipt="R-20", employee="emp-2", note="Came back") == "escalate"
    making.engine.withdraw("r-20", "settled otherwise")
    making.engine.forget("K-2", "asked to be", by="owner-1")
    making.later(4)
    making.load(SECOND)
    making.load(CORRECTED)
    making.load(f"{CORRECTED}# said better\n")
    assert ask("r-12", "28", customer="K-2") == "approve"
    assert ask("r-17", "1", case="C-r-04", customer="K-2") == "escalate"  # nobody can tell that this is the same one
    assert ask("r-13", "30", occurred_on=date(2026, 11, 1), receipt="R-13", **late) == "approve"
    assert ask("r-14", "30", occurred_on=date(2026, 11, 21), receipt="R-14", **late) == "deny"
    making.engine.void("r-03", "sent back", by="emp-2")
    making.later(8)  # into another month
    assert ask("r-15", "15", site="S101", employee="emp-2", customer="K-1") == "approve"
    making.later(500)
    making.engine.accept_clock(by="owner-1")
    making.reopen("site:S002", 7)
    assert ask("r-16", "30", evidence={"photo"}) == "approve"


def signed(url: str, folder: Path) -> str:
    """Keep a signed checkpoint of every stream in the log; the verifier key."""
    key = folder / "log.key"
    vkey = keygen("shop.example/recovery", key).vkey
    checkpoint(url, key, every=True)
    return vkey


def anchors_of(report: Report) -> list[Anchor]:
    """What a checkpoint would say of a log now."""
    return [
        Anchor(f"shop.example/recovery/{head.stream}", head.size, bytes.fromhex(head.root)) for head in report.heads
    ]


@contextmanager
def made(url: str, folder: Path, **options: Any):
    """A log with every kind of entry, still open."""
    making = Making(url, folder, **options)
    try:
        every_kind(making)
        yield making
    finally:
        making.engine.close()


def make(url: str, folder: Path, **options: Any) -> str:
    """Write a log with every kind of entry into the empty database at *url*, and close it; the URL."""
    with made(url, folder, **options):
        pass
    return url
