"""Writes a small log for this folder, with whatever engine Python finds: README.md says how.

Only what every version of the engine can do is done here, and only by its public names.
"""

import gzip
import sqlite3
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recovery_engine import Money, RecoveryEngine, RecoveryRequest, checkpoint, keygen, read_anchor
from recovery_engine.log.tables import SCHEMA_VERSION, statements
from recovery_engine.log.views import view_statements

HERE = Path(__file__).resolve().parent
ORIGIN = "shop.example/recovery"
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
  - {id: all-month, per: organisation, every: month, amount: 9000}
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


@dataclass
class Clock:
    """Goes on by a second whenever it is asked."""

    now_us: int = START_US

    def __call__(self) -> int:
        self.now_us += 1_000_000
        return self.now_us


class Shop:
    """A host that keeps a log in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "log.db"
        self.clock, self._draw = Clock(), count()
        self.load(FIRST)

    def _random(self, length: int) -> bytes:
        return (sha256(f"corpus {next(self._draw)}".encode()).digest() * 2)[:length]

    def load(self, policy: str) -> None:
        """Open the log with this policy."""
        file = self.folder / "policy.yaml"
        file.write_text(policy, encoding="utf-8")
        self.engine = RecoveryEngine.open(
            self.file,
            file,
            origin=ORIGIN,
            tracks=("organisation",),
            clock=self.clock,
            random=self._random,
            environment={},
        )

    def ask(self, id: str, amount: str, **given: Any) -> None:
        """Ask for a refund because of a delay, unless *given* says otherwise."""
        fields = {"employee": "emp-1", "role": "associate", "site": "S001", "case": f"C-{id}", "remedy": "refund"}
        fields |= {"category": "delay", "amount": Money.of(amount, "USD")} | given
        self.engine.request(RecoveryRequest(id=id, **fields))


def write(shop: Shop) -> str:
    """Everything that hosts do in a few days, months and years; the verifier key of the checkpoints."""
    ask, key = shop.ask, shop.folder / "log.key"
    late = {"basis": "owed", "facts": {"delay_minutes": 90, "fare": Money.of("40", "USD")}}
    ask("r-01", "10", customer="K-1", receipt="R-1", bill=Money.of("64", "USD"), note="Waited an hour")
    shop.engine.fulfil("r-01", "rf-1")
    ask("r-02", "8", customer="K-1", receipt="R-1", bill=Money.of("64", "USD"), case="C-r-01", severity=None)
    shop.engine.void("r-02", "given twice", by="lead-1")
    ask("r-03", "20", site="S101", employee="emp-2", customer="K-1")
    ask("r-04", "80", customer="K-2", customer_name="Zoë", customer_contact="+1 555 0100")
    ask("r-05", "5", remedy="voucher", category="safety")
    ask("r-06", "95", receipt="R-6", employee="mgr-1", role="manager")
    ask("r-07", "450", employee="mgr-1", role="manager", site="S002", category="quality")
    ask("r-08", "30", occurred_on=date(2026, 11, 1), customer="K-3", **late)
    shop.engine.fulfil("r-08", by="lead-1")
    ask("r-09", "0", remedy="apology", site="S002")
    ask("r-10", "12", receipt="R-1", customer="K-1")
    ask("r-11", "25", employee="emp-3")
    ask("r-12", "25", employee="emp-3")
    ask("r-13", "25", employee="emp-3")  # more than a day's
    ask("r-14", "26", employee="emp-2", evidence=["photo"], note="Cold soup")
    shop.engine.forget("K-2", "asked to be", by="owner-1")
    checkpoint_of_all(shop, key)
    shop.clock.now_us += 4 * DAY_US
    shop.engine.close()
    shop.load(SECOND)
    ask("r-15", "20", occurred_on=date(2026, 11, 21), receipt="R-15", **late)
    ask("r-16", "30", occurred_on=date(2026, 11, 21), receipt="R-16", **late)
    ask("r-17", "18", customer="K-2")
    shop.engine.void("r-03", "sent back", by="emp-2")
    shop.clock.now_us += 8 * DAY_US
    ask("r-18", "15", site="S101", employee="emp-2", customer="K-1")
    ask("r-19", "7.35")
    lose_and_reopen(shop, key)
    shop.clock.now_us += 500 * DAY_US
    shop.engine.accept_clock(by="owner-1")
    ask("r-20", "24.99", customer="K-4", customer_name="Ann")
    checkpoint_of_all(shop, key)
    shop.engine.close()
    return (shop.folder / "log.key.vkey").read_text(encoding="utf-8")


def checkpoint_of_all(shop: Shop, key: Path) -> None:
    """Sign every stream, with notes in the log and beside it."""
    if not key.exists():
        keygen(ORIGIN, key)
    checkpoint(shop.file, key, every=True)


def lose_and_reopen(shop: Shop, key: Path) -> None:
    """A backup is put back, a signed entry is gone, and somebody answers for it."""
    shop.engine.close()
    backup = shop.folder / "backup.db"
    copy(shop.file, backup)
    shop.load(SECOND)
    shop.ask("r-lost", "3", site="S002")
    notes = shop.folder / "lost.notes"
    checkpoint(shop.file, key, notes, every=True)
    shop.engine.close()
    for ending in ("", "-wal", "-shm"):
        Path(f"{shop.file}{ending}").unlink(missing_ok=True)
    copy(backup, shop.file)
    Path(f"{key}.notes").unlink()  # whoever restores a backup has the notes of before, too
    shop.load(SECOND)
    vkeys = [Path(f"{key}.vkey").read_text(encoding="utf-8").strip()]
    assert shop.engine.reopen(read_anchor(notes, vkeys), by="owner-1")


def copy(source: Path, target: Path) -> None:
    """A copy of a whole database."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def keep(name: str, lines: Iterable[str]) -> None:
    """A file of this folder; the same lines give the same bytes."""
    text = "".join(f"{line}\n" for line in lines)
    (HERE / name).write_bytes(gzip.compress(text.encode(), mtime=0))


def main() -> None:
    """Write the three files of a log."""
    (name,) = sys.argv[1:]
    with TemporaryDirectory() as folder:
        shop = Shop(Path(folder))
        vkey = write(shop)
        with closing(sqlite3.connect(shop.file)) as log:
            keep(f"{name}-sqlite.sql.gz", log.iterdump())
    tables = (*statements("postgresql"), *view_statements("postgresql"))
    keep(f"{name}-postgresql.sql.gz", (f"{statement};" for statement in tables))
    (HERE / f"{name}.vkey").write_text(vkey, encoding="utf-8")
    print(f"{name}: a log with tables of version {SCHEMA_VERSION}")


if __name__ == "__main__":
    main()
