"""A small ticketing system with recovery-engine inside: offers, an approver's queue, and notifications.

The desk keeps its tickets in a database of its own. What may be given is the engine's to say, and what became of it is
learnt from the log, entry by entry: whoever approves, declines or lets time go by, in whatever program, the ticket
knows. Run it: ``python examples/ticketing/ticketing.py``.
"""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from recovery_engine import LogEntry, Money, RecordedDecision, RecoveryEngine, RecoveryRequest, Waiting

TABLES = """
CREATE TABLE IF NOT EXISTS ticket (id TEXT PRIMARY KEY, guest TEXT, story TEXT, status TEXT, with_whom TEXT);
CREATE TABLE IF NOT EXISTS message (ticket TEXT, entry TEXT UNIQUE, text TEXT);
CREATE TABLE IF NOT EXISTS cursor (stream TEXT PRIMARY KEY, seq INTEGER);
"""

STATUS_AFTER = {
    "approved": "promised",
    "declined": "declined",
    "withdrawn": "withdrawn",
    "lapsed": "no answer",
    "fulfilled": "settled",
    "voided": "taken back",
    "asked": "question to the desk",
    "answered": "waiting",
    "moved_up": "waiting",
}
"""What a later step of a recovery makes of its ticket."""


class Ticket(NamedTuple):
    """A complaint at the desk. Its id is the case's, and that of what is offered begins with it."""

    id: str
    guest: str
    story: str
    status: str
    with_whom: str


class Desk:
    """The tickets of one site."""

    def __init__(self, tickets: Path, engine: RecoveryEngine, site: str | None = None) -> None:
        self.engine, self.site = engine, site
        self._store = sqlite3.connect(tickets)
        self._store.executescript(TABLES)

    def open_ticket(self, id: str, guest: str, story: str) -> None:
        """Somebody complains."""
        with self._store:
            self._store.execute("INSERT INTO ticket VALUES (?, ?, ?, 'open', 'the desk')", (id, guest, story))

    def offer(
        self, ticket: str, employee: str, role: str, remedy: str, amount: Money, **more: object
    ) -> RecordedDecision:
        """Ask the engine; the ticket says what came of it. Asked again after a crash, it gets the same answer."""
        guest, story = self._store.execute("SELECT guest, story FROM ticket WHERE id = ?", (ticket,)).fetchone()
        count = self._store.execute("SELECT count(*) FROM message WHERE ticket = ?", (ticket,)).fetchone()[0]
        request = RecoveryRequest(
            id=f"{ticket}-{count}",
            employee=employee,
            role=role,
            site=self.site,
            case=ticket,
            customer=guest,
            remedy=remedy,
            amount=amount,
            note=story,
            **more,  # type: ignore[arg-type]
        )
        decision = self.engine.request(request)
        status = {"approve": "promised", "escalate": "waiting", "deny": "declined"}.get(decision.outcome, "open")
        with self._store:
            self._now(ticket, status, decision.to or "the desk", f"{request.id}/asked", decision.tell_customer)
        return decision

    def queue(self, role: str) -> tuple[Waiting, ...]:
        """What waits for an answer of a role, the whole story in each."""
        return self.engine.pending(role=role, site=self.site)

    # --- what the log tells ---

    def listen(self) -> int:
        """Take what is new in the log; how many entries it was. The cursor is kept with what was made of the entry."""
        count = 0
        for entry in self._new_entries():
            with self._store:  # both or neither: after a crash the entry comes again, and changes nothing twice
                self._take(entry)
                self._store.execute("REPLACE INTO cursor VALUES (?, ?)", (entry.stream, entry.seq))
            count += 1
        return count

    def _new_entries(self) -> Iterator[LogEntry]:
        after = dict(self._store.execute("SELECT stream, seq FROM cursor").fetchall())
        yield from self.engine.entries(after=after)

    def _take(self, entry: LogEntry) -> None:
        said = json.loads(entry.body)
        state = self.engine.recovery(said["recovery"]) if "recovery" in said else None
        kind = said["kind"]
        if state is not None and kind in STATUS_AFTER:
            who = said.get("to") or said.get("second") or "the desk"
            status = "waiting" if "second" in said else STATUS_AFTER[kind]
            self._now(state.case_id, status, who, said["id"], f"{kind} by {said['by'] or 'the clock'}")

    def _now(self, ticket: str, status: str, who: str, entry: str, text: str) -> None:
        self._store.execute("UPDATE ticket SET status = ?, with_whom = ? WHERE id = ?", (status, who, ticket))
        self._store.execute("INSERT OR IGNORE INTO message VALUES (?, ?, ?)", (ticket, entry, text))

    # --- for the screen ---

    def ticket(self, id: str) -> Ticket:
        """A ticket as it stands."""
        return Ticket(*self._store.execute("SELECT * FROM ticket WHERE id = ?", (id,)).fetchone())

    def messages(self, id: str) -> list[str]:
        """What was said and done about a ticket, in order."""
        rows = self._store.execute("SELECT text FROM message WHERE ticket = ? ORDER BY rowid", (id,))
        return [text for (text,) in rows]

    def close(self) -> None:
        """Close the tickets; the engine is the caller's."""
        self._store.close()


def main(folder: Path) -> None:
    """A wedding party below the window, from the complaint to the discount on the bill."""
    with RecoveryEngine.open(folder / "recovery.db", "hotel", environment={}) as engine:
        desk = Desk(folder / "tickets.db", engine)
        desk.open_ticket("T-1", "guest-214", "A wedding party below the window until four")
        bill = {"bill": Money.of("410", "EUR"), "category": "noise", "severity": "major"}
        decision = desk.offer("T-1", "emp-1", "front_desk", "discount", Money.of("120", "EUR"), **bill)
        print("guest is told:", decision.tell_customer)
        for waiting in desk.queue("shift_supervisor"):
            print("supervisor sees:", waiting.amount, "for", waiting.state.case_id, "-", waiting.note)
            engine.approve(waiting.state.recovery, by="emp-20", role="shift_supervisor", asked=waiting.asked)
        desk.listen()
        print("desk sees:", desk.ticket("T-1").status)
        engine.fulfil(decision.recovery or "", reference="folio-214")
        desk.listen()
        print("desk sees:", desk.ticket("T-1").status)
        for message in desk.messages("T-1"):
            print("  ", message)
        desk.close()


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        main(Path(folder))
