"""Small logs for the tests of what reads one: well-made entries, and the rows that follow from them, put in by hand."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, create_engine, event

from recovery_engine import Money, RecoveryRequest, Usage, Used, decide, parse_policy
from recovery_engine.log.entry import NO_LEAF, ORGANISATION, encode, problems, stream_of
from recovery_engine.log.merkle import frontier_bytes, grown, leaf_hash, root_of
from recovery_engine.log.opening import sqlite_module
from recovery_engine.log.projection import counted, lines_of, state_after, subjects_of
from recovery_engine.log.tables import SCHEMA_VERSION, metadata, statements
from recovery_engine.log.views import view_statements
from recovery_engine.policy.schema import canonical

POLICY = """
policy: diner
version: "2026.2"
effective: {from: 2026-01-01}
currency: USD
timezone: America/Chicago
day_starts: "05:00"
ladder: [associate, lead, manager]
remedies: [refund, voucher, apology]
categories: [delay, quality, safety]
severities: [minor, major]
sites: {city: [S001, S002, S003], airport: [S009]}
authority:
  - {id: standard, why: "Put it right at the table.", up_to: {total: [25, 100, 500]}}
budgets:
  - {id: employee-day, per: employee, every: day, amount: 60, binds_below: lead}
deny:
  - {id: never-twice, when: {category: safety, remedy: voucher}, say: We do not pay for safety with vouchers.}
four_eyes:
  - {id: two-people, when: {amount: over 400}, second: manager}
"""
ZONE = ZoneInfo("America/Chicago")
TOKEN = {"K-1": "c_" + "1" * 20, "K-2": "c_" + "2" * 20}


def microseconds(text: str) -> int:
    """UTC microseconds of a time at the site, such as ``2026-11-21 18:25:06.000500``."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp() * 1_000_000)


class SmallLog:
    """Entries and rows in the making; times are the site's."""

    def __init__(self, policy: str = POLICY) -> None:
        self.text, self.policy = policy, parse_policy(policy)
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in metadata.tables}
        self.rows["recovery_schema"] = [{"version": SCHEMA_VERSION, "engine": "0.1.0"}]
        self.frontiers: dict[str, list[bytes]] = {}
        self.sizes: dict[str, int] = {}
        self.heads: dict[str, tuple[str, int]] = {}
        self.states: dict[str, Any] = {}
        self.leaves: dict[str, str] = {}
        self.versions: dict[str, int] = {}
        self.usage: dict[tuple[str, ...], list[int]] = {}
        self.load_policy("2026-01-01 00:00")

    def load_policy(self, at: str) -> None:
        """The policy comes into the log."""
        digest, when = self.policy.digest, microseconds(at)
        source = "5" * 64
        row: dict[str, Any] = {"policy": digest, "name": self.policy.policy, "label": "2026.2", "from": "2026-01-01"}
        seq = self.add(ORGANISATION, "policy_loaded", f"~policy/{digest}", "owner-1", when, **row, source=source)
        self.rows["recovery_policy"].append(
            {
                **{"digest": digest, "source": source, "name": row["name"], "label": row["label"]},
                **{"first_day": row["from"], "last_day": None, "replaces": None, "seq": seq, "at_us": when},
                **{"canonical": canonical(self.policy).decode(), "yaml": self.text},
            }
        )

    def add(self, stream: str, kind: str, id: str, by: str | None, at_us: int, **fields: Any) -> int:
        """Append an entry with the rows that follow from it; its seq."""
        if stream not in self.sizes:
            self.sizes[stream], self.frontiers[stream], self.heads[stream] = 0, [], (NO_LEAF, 0)
            opened = {"log": "ab" * 16, "origin": "test", "tracks": [], "engine": "0.1.0"}
            if kind != "opened":
                self.add(stream, "opened", f"~opened/{stream}", None, at_us, **opened)
        seq = self.sizes[stream]
        entry = {"v": 1, "stream": stream, "seq": seq, "prev": self.heads[stream][0], "at_us": at_us}
        entry |= {"id": id, "kind": kind, "by": by, **fields}
        assert list(problems(entry)) == []
        body = encode(entry)
        leaf = leaf_hash(body)
        self.frontiers[stream] = grown(seq, self.frontiers[stream], leaf)
        self.sizes[stream], self.heads[stream] = seq + 1, (leaf.hex(), at_us)
        row = {"stream": stream, "seq": seq, "request_id": id, "kind": kind, "at_us": at_us, "body": body, "leaf": leaf}
        row |= {"continues": None if kind == "decided" else entry.get("recovery")}
        self.rows["recovery_log"].append(row | {"root": root_of(self.frontiers[stream])})
        self._project(entry)
        return seq

    def _project(self, entry: dict[str, Any]) -> None:
        recovery = entry.get("recovery")
        if recovery:
            state = state_after(self.states.get(recovery), entry)
            assert state is not None
            self.states[recovery] = state
            self.leaves[recovery] = self.heads[entry["stream"]][0]
            self.rows["recovery_line"] += [{"recovery": recovery, "line": line} for line in lines_of(entry)]
        for subject, key, amount, times in counted(entry):
            sums = self.usage.setdefault((subject, *key), [0, 0])
            sums[0], sums[1] = sums[0] + amount, sums[1] + times

    def _later(self, recovery: str, kind: str, by: str | None, at: str, id: str, **fields: Any) -> None:
        when = microseconds(at)
        local = {"recovery": recovery, "bday": business_day(when), "utc_offset_s": offset_s(when)}
        self.add(self.states[recovery].stream, kind, id, by, when, **local, of=self.leaves[recovery], **fields)

    def _touches(self, subjects: list[str]) -> list[list[str | int]]:
        for subject in subjects:
            self.versions[subject] = self.versions.get(subject, 0) + 1
        return [[subject, self.versions[subject]] for subject in subjects]

    # --- what happens to recoveries ---

    def ask(self, recovery: str, at: str, amount: str = "10", usage: Usage | None = None, **given: Any) -> str:
        """Somebody asks for a refund, unless *given* says otherwise; the outcome."""
        when = microseconds(at)
        fields = {"employee": "emp-1", "role": "associate", "remedy": "refund", "case": f"C-{recovery}"}
        fields |= {"site": "S001", "category": "delay", "severity": "minor"} | given
        request = RecoveryRequest(amount=Money.of(amount, self.policy.currency), id=recovery, **fields)
        decision = decide(self.policy, request, usage or Usage())
        entry_fields = {name: value for name, value in fields.items() if value is not None}
        if "customer" in entry_fields:
            entry_fields["customer"] = self.link(fields["customer"])
        entry_fields |= {"amount": request.amount.minor, "currency": request.amount.currency}
        used = usage or Usage()
        entry: dict[str, Any] = {
            "recovery": recovery,
            "bday": business_day(when),
            "utc_offset_s": offset_s(when),
            **{"role": request.role, "role_from": "host", "request": entry_fields, "policy": self.policy.digest},
            **{"semantics": 1, "matcher": decision.matcher, "engine": "0.1.0", "outcome": str(decision.outcome)},
            "because": because(decision),
            "rungs": [[rung.role, *sorted(rung.stopped_by)] for rung in decision.rungs],
            "usage": {
                "case": sorted([remedy, "goodwill", amount, 1] for remedy, amount in used.on_case.items()),
                "budgets": sorted([name, *sums] for name, sums in used.used.items()),
            },
        }
        for name in ("to", "second"):
            if getattr(decision, name):
                entry[name] = getattr(decision, name)
        if entry["outcome"] == "escalate":
            entry["due_us"] = when + 300_000_000
        stream = stream_of(request.site)
        customer = entry_fields.get("customer")
        subjects = subjects_of(request.case, request.receipt, customer, request.employee, stream)
        entry["touches"] = self._touches(subjects)
        if entry["outcome"] == "approve":
            entry["counts"] = self._counts(entry["bday"], request.remedy, request.amount.minor)
        self.add(stream, "decided", recovery, request.employee, when, **entry)
        return entry["outcome"]

    def _counts(self, bday: str, remedy: str, minor: int, times: int = 1) -> dict[str, Any]:
        counts = {"bday": bday, "remedy": remedy, "basis": "goodwill", "currency": self.policy.currency}
        return counts | {"amount": minor, "times": times}

    def approve(self, recovery: str, at: str, by: str, role: str, amount: str | None = None, **given: Any) -> None:
        """Somebody higher approves what was asked for, or less."""
        state, when = self.states[recovery], microseconds(at)
        minor = state.asked_minor if amount is None else Money.of(amount, state.currency).minor
        decided = {
            **{"role": role, "role_from": "directory", "policy": state.policy, "semantics": 1, "matcher": "both"},
            **{"engine": "0.1.0", "usage": {"case": [], "budgets": []}, "remedy": state.remedy, "amount": minor},
            "because": [["standard", "amount", minor, {"lead": 10_000, "manager": 50_000}[role]]],
            "touches": self._touches(
                subjects_of(state.case_id, None, state.customer, state.approver or by, state.stream)
            ),
        }
        if "second" not in given:
            decided["counts"] = self._counts(business_day(when), state.remedy, minor)
        self._later(recovery, "approved", by, at, f"~approve/{recovery}/{by}", **decided | given)

    def decline(self, recovery: str, at: str, by: str, role: str, reason: str) -> None:
        """Somebody higher says no."""
        self._later(recovery, "declined", by, at, f"~decline/{recovery}/{by}", role=role, reason=reason)

    def move_up(self, recovery: str, at: str, to: str, step: int = 1) -> None:
        """Nobody answered in time: the next role is asked."""
        due_us = microseconds(at) + 300_000_000
        self._later(recovery, "moved_up", None, at, f"~up/{recovery}/{step}", to=to, step=step, due_us=due_us)

    def lapse(self, recovery: str, at: str) -> None:
        """Nobody answered at all."""
        self._later(recovery, "lapsed", None, at, f"~lapse/{recovery}", due_us=self.states[recovery].due_us)

    def fulfil(self, recovery: str, at: str, reference: str = "rf-1") -> None:
        """The customer has it."""
        self._later(recovery, "fulfilled", "emp-1", at, f"~fulfil/{recovery}", reference=reference)

    def void(self, recovery: str, at: str, by: str = "emp-1", reason: str = "given twice") -> None:
        """It is taken back."""
        state = self.states[recovery]
        counts = self._counts(state.granted_bday, state.granted_remedy, -state.granted_minor, 0)
        touches = self._touches(subjects_of(state.case_id, None, state.customer, by, state.stream))
        self._later(recovery, "voided", by, at, f"~void/{recovery}", reason=reason, touches=touches, counts=counts)

    def link(self, reference: str) -> str:
        """The token of a customer."""
        row = {"token": TOKEN[reference], "reference": reference}
        if row not in self.rows["recovery_subject"]:
            self.rows["recovery_subject"].append(row)
        return TOKEN[reference]

    def keep_personal(self, recovery: str, field: str, value: str) -> None:
        """A text about a person."""
        row = {"recovery": recovery, "field": field, "salt": b"s" * 32, "value": value}
        self.rows["recovery_personal"].append(row)

    # --- into a database ---

    def write(self, url: str) -> str:
        """Make the tables in an empty database and fill them; its URL."""
        engine = writing_engine(url)
        dialect = "sqlite" if engine.dialect.name == "sqlite" else "postgresql"
        with engine.begin() as connection:
            for statement in (*statements(dialect), *view_statements(dialect)):
                connection.connection.driver_connection.execute(statement)
            for name, rows in self.table_rows().items():
                if rows:
                    connection.execute(metadata.tables[name].insert(), rows)
        engine.dispose()
        return url

    def table_rows(self) -> dict[str, list[dict[str, Any]]]:
        """Every row by table."""
        rows = dict(self.rows)
        rows["recovery_state"] = [state._asdict() for state in self.states.values()]
        rows["recovery_stream"] = [
            {
                **{"stream": name, "size": size, "frontier": frontier_bytes(self.frontiers[name])},
                **{"last_leaf": bytes.fromhex(self.heads[name][0]), "last_at_us": self.heads[name][1]},
            }
            for name, size in self.sizes.items()
        ]
        names = ("subject", "bday", "remedy", "basis", "currency")
        rows["recovery_usage"] = [
            dict(zip(names, key, strict=True)) | {"amount_minor": sums[0], "times": sums[1]}
            for key, sums in self.usage.items()
        ]
        rows["recovery_subject_lock"] = [{"subject": name, "ver": ver} for name, ver in self.versions.items()]
        return rows


def because(decision: Any) -> list[list[Any]]:
    """The deciding lines as an entry holds them."""
    return sorted([part for part in reason[:4] if part not in (None, "")] for reason in decision.because)


def offset_s(at_us: int) -> int:
    """The offset of the site's clock from UTC, seconds."""
    offset = datetime.fromtimestamp(at_us / 1_000_000, ZONE).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def business_day(at_us: int) -> str:
    """The site's business day, which starts at five."""
    return (datetime.fromtimestamp(at_us / 1_000_000, ZONE) - timedelta(hours=5)).date().isoformat()


def writing_engine(url: str) -> Engine:
    """An engine that writes, on the driver that knows STRICT tables."""
    if not url.startswith("sqlite"):
        return create_engine(url)
    engine = create_engine(url, module=sqlite_module())

    @event.listens_for(engine, "connect")
    def _as_the_store_does(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")

    return engine


def small_log() -> SmallLog:
    """A log with one recovery of every kind, at two sites, over two months."""
    log = SmallLog()
    log.ask("r-01", "2026-10-31 12:00", "10", customer="K-1", receipt="R-1")
    log.ask("r-02", "2026-11-01 01:30", "25", employee="emp-2", site="S002")  # before five: still October 31
    log.fulfil("r-02", "2026-11-01 09:00", "rf-2")
    log.ask("r-03", "2026-11-02 12:00", "80", customer="K-1", severity="major")
    log.approve("r-03", "2026-11-02 12:04:30", "lead-1", "lead")
    log.fulfil("r-03", "2026-11-02 12:10")
    log.ask("r-04", "2026-11-03 12:00", "450", employee="emp-2", site="S002", category="quality")
    log.approve("r-04", "2026-11-03 12:05", "mgr-1", "manager", second="manager")
    log.approve("r-04", "2026-11-03 13:00", "mgr-2", "manager", "400")
    log.ask("r-05", "2026-11-03 14:00", "30")
    log.decline("r-05", "2026-11-03 14:02", "lead-1", "lead", "not-our-fault")
    log.ask("r-06", "2026-11-04 14:00", "30", customer="K-2")
    log.move_up("r-06", "2026-11-04 14:05", "manager")
    log.lapse("r-06", "2026-11-04 14:10")
    log.ask("r-07", "2026-11-05 10:00", "5", remedy="voucher", category="safety")
    log.ask("r-08", "2026-11-05 11:00", "20", usage=Usage(used={"employee-day": Used(2_000, 1)}))
    log.void("r-08", "2026-11-05 11:20", "lead-1")
    log.ask("r-09", "2026-11-05 11:00", "0", remedy="apology")  # at the same time as r-08
    log.ask("r-10", "2026-11-06 10:00", "26")
    log.ask("r-11", "2026-12-01 10:00", "120.50", role="manager", employee="mgr-1", site="S009")
    log.keep_personal("r-01", "note", "Ann waited an hour")
    return log
