"""`verify` finds nothing in a log as the engine wrote it, names what differs, and `rebuild` cures what can be cured."""

import os
import random
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest
from databases import conninfo, new_role, postgres_admin
from forging import Forger, remembered
from making_logs import FIRST, Making, anchors_of, asked, made, make, signed

from recovery_engine import LogError, Money, TamperedLog
from recovery_engine.log.book import UsageKey
from recovery_engine.log.entry import KINDS, SEMANTICS
from recovery_engine.log.proof.anchors import Anchor
from recovery_engine.log.tables import PROJECTIONS, metadata
from recovery_engine.log.verification import findings, fold, register, shelf, tally
from recovery_engine.log.verification import verify as verifying
from recovery_engine.log.verification.findings import Report
from recovery_engine.log.verification.rebuild import rebuild
from recovery_engine.log.verification.verify import verify
from recovery_engine.log.writing import group

pytestmark = pytest.mark.slow

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))


@pytest.fixture(autouse=True)
def _each_policy_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register, "parse_stored", remembered)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A log with every kind of entry, in a file that no test changes."""
    folder = tmp_path_factory.mktemp("whole")
    return make(f"sqlite:///{folder / 'log.db'}", folder)


@pytest.fixture
def forger(whole: str, tmp_path: Path) -> Any:
    forger = Forger(whole, tmp_path / "forged.db")
    yield forger
    forger.close()


def found(report: Report) -> list[str]:
    return [str(finding) for finding in report.findings]


# --- nothing is wrong ---


def test_nothing_is_found_in_a_log_with_every_kind_of_entry(log_url: str, tmp_path: Path) -> None:
    make(log_url, tmp_path / "policies")
    report = verify(log_url)
    assert found(report) == []
    assert report.clean
    assert (report.streams, report.not_replayed) == (4, 0)


def test_the_log_of_these_tests_has_every_kind_of_entry(forger: Forger) -> None:
    assert {kind for (kind,) in forger.run("SELECT DISTINCT kind FROM recovery_log")} == set(KINDS)
    outcomes = set(forger.run("SELECT DISTINCT outcome, basis FROM recovery_state"))
    assert {("approve", "goodwill"), ("escalate", "goodwill"), ("deny", "owed"), ("approve", "owed")} <= outcomes


def test_nothing_is_found_where_what_is_joined_was_asked_under_another_version(tmp_path: Path) -> None:
    """The business day of a later step is that of the policy of the request, whatever is in force by then."""
    making = Making(f"sqlite:///{tmp_path / 'log.db'}", tmp_path)
    assert making.ask("r-1", "45", case="C-1") == "escalate"
    making.load(FIRST.replace('day_starts: "04:00"', 'day_starts: "06:00"'))
    assert making.ask("r-2", "45", case="C-1", employee="emp-2") == "escalate"
    making.engine.close()
    assert found(verify(making.url)) == []


def test_nothing_is_found_where_the_organisation_is_tracked(log_url: str, tmp_path: Path) -> None:
    make(log_url, tmp_path / "policies", tracks=("organisation",))
    assert found(verify(log_url)) == []


def test_a_report_says_what_was_gone_through(whole: str, forger: Forger) -> None:
    ((entries, size),) = forger.run("SELECT count(*), sum(length(body)) FROM recovery_log")
    ((deciding,),) = forger.run("SELECT count(*) FROM recovery_log WHERE kind IN ('decided', 'approved')")
    report = verify(whole)
    assert (report.entries, report.bytes, report.replayed) == (entries, size, deciding)
    assert {(head.stream, head.size) for head in report.heads} == set(
        forger.run("SELECT stream, count(*) FROM recovery_log GROUP BY stream")
    )


def test_the_heads_are_those_that_callers_were_given(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    making = Making(url, tmp_path)
    receipt = making.engine.request(asked("r-1")).log_receipt
    making.engine.close()
    assert receipt is not None
    assert (receipt.stream, receipt.seq + 1, receipt.root) in verify(url).heads


def test_without_replay_no_decision_is_made_again(whole: str) -> None:
    report = verify(whole, replay=False)
    assert (report.clean, report.replayed, report.not_replayed) == (True, 0, 0)


def test_progress_is_told_to_the_end(whole: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recovery_engine.log.verification.merge._TOLD_EVERY", 10)
    told: list[tuple[int, int]] = []
    report = verify(whole, progress=lambda done, total: told.append((done, total)))
    assert told == [*((done, report.entries) for done in range(10, report.entries, 10)), (report.entries,) * 2]


def test_where_there_is_no_log_it_says_so(tmp_path: Path) -> None:
    for call in (verify, rebuild):
        with pytest.raises(LogError, match="no such file"):
            call(tmp_path / "none.db")


# --- how it reads ---


def test_what_is_written_meanwhile_is_not_seen(log_url: str, tmp_path: Path) -> None:
    with made(log_url, tmp_path / "policies") as making:
        before = verify(log_url).entries
        written: list[str] = []

        def write(done: int, total: int) -> None:
            written.append(making.ask("meanwhile"))

        report = verify(log_url, progress=write)
        assert written
        assert (found(report), report.entries) == ([], before)
        assert verify(log_url).entries == before + 1


def test_a_role_that_may_only_read_can_verify(postgres_url: str, tmp_path: Path) -> None:
    make(postgres_url, tmp_path)
    auditor = new_role(postgres_url, "auditor")
    with postgres_admin(postgres_url) as admin:
        admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {auditor}")
    url = postgres_url.replace("postgres@", f"{auditor}@")
    assert auditor in conninfo(url)
    assert verify(url).clean
    with pytest.raises(LogError):
        rebuild(url)
    assert verify(url).clean


def test_a_file_that_may_only_be_read_can_be_verified(whole: str, tmp_path: Path) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    copy = folder / "log.db"
    forger = Forger(whole, copy)
    forger.close()
    copy.chmod(0o400)
    folder.chmod(0o500)
    assert verify(copy).clean
    assert [path.name for path in folder.iterdir()] == ["log.db"]


def _in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "_MOST_KEYS", 2)
    monkeypatch.setattr(fold, "_MOST_RECOVERIES", 2)
    monkeypatch.setattr(tally, "_MOST_ADDED", 3)
    monkeypatch.setattr(tally, "_MOST_PERIODS", 5)
    monkeypatch.setattr(verifying, "_MOST_ROWS", 1)
    monkeypatch.setattr(verifying, "_AT_LEAST", 1)


def test_what_is_put_aside_on_disk_comes_back(whole: str, forger: Forger, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory = verify(whole)
    forger.change("r-01", lambda entry: entry["counts"].update(amount=999))
    wrong_in_memory = forger.verify()
    _in_little_memory(monkeypatch)
    assert verify(whole) == in_memory
    assert forger.verify() == wrong_in_memory
    assert wrong_in_memory.found > 10


def test_what_is_put_aside_is_not_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shelf, "_CACHE_KIB", 1_000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shelved: shelf.Shelf[bytes] = shelf.Shelf(shelf.temporary_file(), "much", 1, 10)
    before = _resident_mib()
    for number in range(1_500):
        shelved.put(f"k{number}", bytes(20_000))
    assert sum(len(value) for _, value in shelved.items()) == 30_000_000
    assert _resident_mib() - before < 10
    assert list(tmp_path.iterdir()) == []


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def test_sums_are_those_of_a_plain_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is added, asked for and put aside, and although days go back and forth between time zones."""
    monkeypatch.setattr(tally, "_MOST_ADDED", 7)
    monkeypatch.setattr(tally, "_MOST_PERIODS", 11)
    monkeypatch.setattr(shelf, "_MOST_SLOTS", 2)
    counting = tally.Tally(shelf.temporary_file(), 1)
    spans = [tally.Span("week", frozenset(), "USD"), tally.Span("month", frozenset({"refund"}), "EUR")]
    chance, model = random.Random(3), list[tuple[str, UsageKey, int, int]]()
    for _ in range(1_500 * SCALE):
        subject, day = f"s{chance.randint(1, 6)}", f"2026-11-{chance.randint(1, 30):02}"
        basis, currency = chance.choice(["goodwill", "owed"]), chance.choice(["USD", "EUR"])
        key = UsageKey(day, chance.choice(["refund", "voucher"]), basis, currency)
        amount, times = chance.randint(-3, 3), chance.randint(0, 1)
        if chance.random() < 0.5:
            counting.add(subject, key, amount, times)
            model.append((subject, key, amount, times))
            continue
        had = [row for row in model if row[0] == subject]
        span = chance.choice(spans)
        since = [row for row in had if row[1].bday >= day]
        counts = [row for row in since if span.counts(row[1])]
        expected = sum(row[2] for row in counts), sum(row[3] for row in since)
        assert counting.used(subject, span, day) == expected
        rows, _ = counting.case(subject)
        assert sum(row[2] for row in rows) == sum(row[2] for row in had)
        assert sum(row[3] for row in rows) == sum(row[3] for row in had)
    sums = {(row[0], *row[1]): [0, 0] for row in model}
    for subject, key, amount, times in model:
        sums[subject, *key][0] += amount
        sums[subject, *key][1] += times
    assert list(counting.rows()) == [(*key, *both) for key, both in sorted(sums.items()) if any(both)]


def test_a_key_that_shares_its_slot_with_another_is_not_confused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "_MOST_SLOTS", 2)
    shelved: shelf.Shelf[int] = shelf.Shelf(shelf.temporary_file(), "numbers", 1, 3)
    model: dict[str, int] = {}
    chance = random.Random(7)
    for _ in range(2_000 * SCALE):
        key = f"k{chance.randint(1, 30)}"
        assert shelved.get(key) == model.get(key)
        if chance.random() < 0.5:
            model[key] = chance.randint(1, 9)
            shelved.put(key, model[key])
    assert list(shelved.items()) == sorted(model.items())
    assert len(model) == 30


ANYWHERE = FIRST.replace("sites: {city: [S001, S002], west: [S101]}\n", "").replace(
    "timezones: {west: America/Denver}\n", ""
)


@pytest.mark.parametrize("tracks", [(), ("organisation",)])
def test_streams_that_wait_for_each_other_come_into_one_order(
    tracks: tuple[str, ...], tmp_path: Path, record_property: Any
) -> None:
    """Employees and customers go from site to site, at many tills at once."""
    making = Making(f"sqlite:///{tmp_path / 'log.db'}", tmp_path, policy=ANYWHERE, tracks=tracks)

    def ask(number: int) -> None:
        chance = random.Random(number)
        site, employee = f"T{chance.randint(1, 25)}", f"emp-{chance.randint(1, 9)}"
        outcome = making.ask(f"r-{number}", "7", site=site, employee=employee, customer=f"K-{chance.randint(1, 9)}")
        if outcome == "approve" and chance.random() < 0.3:
            making.engine.void(f"r-{number}", "given twice", by=employee)

    with ThreadPoolExecutor(8) as callers:
        list(callers.map(ask, range(150 * SCALE)))
    making.engine.close()
    report = verify(making.url)
    assert found(report) == []
    assert report.streams == 26
    record_property("one order", f"{150 * SCALE:,} requests (a seed each) at 25 sites from 8 threads, merged and clean")


# --- what cannot be replayed ---


def test_a_decision_of_other_semantics_counts_as_not_replayed(forger: Forger) -> None:
    forger.change("r-01", lambda entry: entry.update(semantics=SEMANTICS + 1))
    report = forger.verify()
    assert (report.clean, report.not_replayed) == (True, 1)


def test_a_decision_of_the_plain_matcher_alone_is_replayed(forger: Forger) -> None:
    forger.change("r-01", lambda entry: entry.update(matcher="reference"))
    forger.reproject()
    report = forger.verify()
    assert (report.clean, report.not_replayed) == (True, 0)


def test_a_fault_of_the_matchers_asks_the_top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    making = Making(url, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("recovery_engine.seats.Compiled.found", lambda *_: "they do not agree")
        assert making.ask("r-1") == "escalate"
    making.engine.close()
    report = verify(url)
    assert (report.clean, report.not_replayed) == (True, 1)
    forger = Forger(url, tmp_path / "forged.db")
    forger.change("r-1", lambda entry: entry.update(to="lead", due_us=entry["at_us"] + 300_000_000))
    assert any("fault of the matchers" in finding for finding in found(forger.verify()))
    forger.close()


# --- anchors ---


def test_an_anchor_that_the_log_holds_covers_its_entries(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    with made(url, tmp_path) as making:
        anchors = anchors_of(verify(url))
        assert dict(verify(url, anchors=anchors).unanchored) == dict.fromkeys(
            ("organisation", "site:S001", "site:S002", "site:S101"), 0
        )
        making.ask("newer")
        report = verify(url, anchors=anchors)
        assert (report.clean, dict(report.unanchored)["site:S001"]) == (True, 1)


def test_without_an_anchor_every_entry_is_unanchored(whole: str) -> None:
    report = verify(whole)
    assert report.unanchored == tuple((head.stream, head.size) for head in report.heads)


def test_an_anchor_ahead_of_the_log_is_a_finding_of_its_own(whole: str) -> None:
    anchors = [anchor._replace(size=anchor.size + 2) for anchor in anchors_of(verify(whole))]
    report = verify(whole, anchors=anchors)
    assert [finding.kind for finding in report.findings] == ["anchor"] * 4
    assert "had 12 entries when it was anchored, and has 10 now" in found(report)[0]


def test_an_anchor_of_another_log_is_a_finding(whole: str) -> None:
    report = verify(whole, anchors=[Anchor("other.example/recovery/site:S001", 1, b"r" * 32)])
    assert [finding.kind for finding in report.findings] == ["anchor"]


def test_an_anchor_with_another_root_shows_that_entries_were_changed(whole: str) -> None:
    anchors = [anchor._replace(root=b"r" * 32) for anchor in anchors_of(verify(whole))]
    report = verify(whole, anchors=anchors)
    assert [finding.kind for finding in report.findings] == ["tampered"] * 4


def test_an_anchor_whose_loss_is_acknowledged_is_no_finding(whole: str) -> None:
    lost = Anchor("shop.example/recovery/site:S002", 7, bytes.fromhex("a" * 64))
    report = verify(whole, anchors=[lost])
    assert report.clean
    assert dict(report.unanchored)["site:S002"] == 4
    assert not verify(whole, anchors=[lost._replace(origin="shop.example/recovery/site:S101")]).clean


def test_checkpoints_in_the_log_agree_with_it(log_url: str, tmp_path: Path) -> None:
    make(log_url, tmp_path / "policies")
    vkey = signed(log_url, tmp_path)
    assert verify(log_url).clean
    assert verify(log_url, keys=[vkey]).clean


# --- drift and rebuild ---


def test_a_projection_that_drifted_is_named_and_rebuilt(log_url: str, tmp_path: Path) -> None:
    with made(log_url, tmp_path / "policies") as making:
        run = _runner(making)
        before = {name: run(f"SELECT * FROM {name}") for name in sorted(metadata.tables)}
        run("UPDATE recovery_state SET status = 'voided' WHERE recovery = 'r-11'")
        run("DELETE FROM recovery_line WHERE recovery = 'r-05'")
        run("UPDATE recovery_usage SET amount_minor = amount_minor - 1 WHERE subject = 'site:S001'")
        run("UPDATE recovery_subject_lock SET ver = ver + 1 WHERE subject = 'site:S101'")
        run("DELETE FROM recovery_stream WHERE stream = 'site:S002'")
        run("UPDATE recovery_delegation SET revoked_us = NULL WHERE delegation = 'lent-2'")
    report = verify(log_url)
    assert {finding.kind for finding in report.findings} == {"drift"}
    named = "\n".join(found(report))
    assert "`status` of `r-11` in `recovery_state` is `voided`, and the entries say `granted`" in named
    assert "`revoked_us` of `lent-2` in `recovery_delegation` is nothing, and the entries say `" in named
    for table in PROJECTIONS:
        assert table in named
    assert rebuild(log_url) == report
    assert verify(log_url).clean
    reopened = Making(log_url, tmp_path / "again", now_us=making.clock.now_us)
    after = {name: _runner(reopened)(f"SELECT * FROM {name}") for name in sorted(metadata.tables)}
    reopened.engine.close()
    assert _comparable(after) == _comparable(before)


def _comparable(tables: dict[str, list[Any]]) -> dict[str, list[str]]:
    """Rows as text, without those that only serve to be locked."""
    tables["recovery_subject_lock"] = [row for row in tables["recovery_subject_lock"] if row[1]]
    return {name: sorted(map(str, rows)) for name, rows in tables.items()}


def _runner(making: Making) -> Any:
    """Runs a statement on a connection of its own."""
    writing = making.engine._place.writing()

    def run(sql: str) -> list[Any]:
        cursor = writing.connection.execute(sql)
        return cursor.fetchall() if cursor.description else []

    return run


def test_every_projection_can_be_written_anew(whole: str, tmp_path: Path) -> None:
    forger = Forger(whole, tmp_path / "emptied.db")
    rows = {name: sorted(forger.run(f"SELECT * FROM {name}"), key=str) for name in PROJECTIONS}
    for name in PROJECTIONS:
        assert rows[name], name
        forger.run(f"DELETE FROM {name}")
    assert forger.verify().has("drift")
    rebuild(forger.path)
    assert {name: sorted(forger.run(f"SELECT * FROM {name}"), key=str) for name in PROJECTIONS} == rows
    assert forger.verify().clean
    forger.close()


def test_a_log_that_was_tampered_with_is_not_rebuilt(forger: Forger) -> None:
    forger.run("UPDATE recovery_state SET status = 'denied'")
    forger.run("UPDATE recovery_log SET at_us = at_us + 1 WHERE request_id = 'r-05'")
    before = forger.run("SELECT * FROM recovery_state")
    with pytest.raises(TamperedLog, match="site:S001 7: `at_us`"):
        rebuild(forger.path)
    assert forger.run("SELECT * FROM recovery_state") == before


def test_an_engine_goes_on_after_a_rebuild(log_url: str, tmp_path: Path) -> None:
    with made(log_url, tmp_path / "policies") as before:
        pass
    rebuild(log_url)
    making = Making(log_url, tmp_path / "again", now_us=before.clock.now_us)
    assert making.ask("after") == "approve"
    making.engine.close()
    assert verify(log_url).clean


def test_rows_that_only_serve_to_be_locked_are_no_drift(forger: Forger) -> None:
    forger.run("INSERT INTO recovery_subject_lock VALUES ('employee:nobody', 0)")
    forger.run("INSERT INTO recovery_stream VALUES ('site:S003', 0, x'', x'', 0)")
    assert forger.verify().clean


def test_sums_that_came_back_to_zero_may_be_there_or_not(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    making = Making(url, tmp_path)
    late = {"basis": "owed", "facts": {"delay_minutes": 90, "fare": Money.of("40", "USD")}}
    assert making.ask("r-1", "40", **late) == "approve"
    making.engine.void("r-1", "given twice", by="emp-1")
    making.engine.close()
    forger = Forger(url, tmp_path / "copy.db")
    assert forger.run("SELECT count(*) FROM recovery_usage WHERE amount_minor = 0 AND times = 0") == [(3,)]
    assert forger.verify().clean
    forger.run("DELETE FROM recovery_usage")
    assert forger.verify().clean
    forger.close()


# --- independent of the store ---


@pytest.mark.parametrize("lost", ["customer:", "employee:", "receipt:", "site:"])
def test_a_store_that_forgets_to_count_is_found_out(lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = group.counted

    def forgetful(entry: Any) -> Any:
        return (row for row in counted(entry) if not row[0].startswith(lost))

    url = f"sqlite:///{tmp_path / 'log.db'}"
    making = Making(url, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(group, "counted", forgetful)
        for number in range(2):
            making.ask(f"r-{number}", customer="K-1", receipt="R-1")
    making.engine.close()
    report = verify(url)
    assert report.has("tampered")  # the second request saw too little
    assert report.has("drift")
    assert any(f"lacks `{lost}" in finding for finding in found(report))


def test_findings_are_cut_short_but_counted(forger: Forger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "MOST_FINDINGS", 5)
    forger.run("UPDATE recovery_log SET at_us = at_us + 1")
    report = forger.verify()
    assert (len(report.findings), report.found) == (5, report.entries)
    assert (report.findings[0].stream, report.findings[0].seq) == ("organisation", 0)


def test_an_entry_whose_policy_cannot_be_read_is_not_replayed_but_the_policy_is_named(forger: Forger) -> None:
    ((body,),) = forger.run("SELECT body FROM recovery_log WHERE request_id = 'r-01'")
    digest = orjson.loads(body)["policy"]
    forger.run("UPDATE recovery_policy SET yaml = yaml || '\n  - nonsense' WHERE digest = ?", digest)
    report = forger.verify()
    assert [str(finding)[:43] for finding in report.findings] == ["organisation 1: `yaml` in `recovery_policy`"]
    assert report.not_replayed > 10
