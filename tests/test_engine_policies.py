"""Which policy is in force, and what time it is: both are what the log says."""

from pathlib import Path
from time import time
from unittest.mock import patch

import pytest
from engines import DAY, HOUR, POLICY, SECOND, START, Clock, ask, assert_whole, connected, entries, opened, rows

from recovery_engine import LogError, Outcome, PolicyError, RecoveryEngine, parse_policy
from recovery_engine.log.writing import store
from recovery_engine.policy.source import file_digest

KIND = POLICY.replace("100, 250, 500", "1000, 2500, 5000")
STRICT = POLICY.replace("100, 250, 500", "10, 20, 30")


def dated(policy: str, first: str, until: str = "") -> str:
    """The policy, in force on some days."""
    days = f"effective: {{from: {first}{', until: ' + until if until else ''}}}\n"
    return policy.replace("shop\n", f"shop\n{days}", 1)


def outcome(engine: RecoveryEngine, id: str, amount: int = 50, **fields: str) -> str:
    return str(engine.request(ask(id, amount, **fields)).outcome)


# --- policies ---------------------------------------------------------------------------------------------------------


def test_two_engines_with_different_folders_decide_alike(log_url: str) -> None:
    with opened(log_url, POLICY) as one, opened(log_url, STRICT) as other:
        assert outcome(one, "a") == outcome(other, "b") == "deny"
        assert one.policy("S1").digest == other.policy("S1").digest == parse_policy(STRICT).digest
        assert one.what_if(ask("", 50)).outcome == Outcome.DENY
    assert {entry["policy"] for entry in entries(log_url, "decided")} == {parse_policy(STRICT).digest}


def test_a_later_version_replaces_and_an_old_one_does_not_come_back(log_url: str) -> None:
    for text in (POLICY, STRICT, POLICY, "# as it was\n" + POLICY, STRICT):
        with opened(log_url, text) as engine:
            pass
    old, new = parse_policy(POLICY).digest, parse_policy(STRICT).digest
    loaded = [(entry["policy"], entry.get("replaces")) for entry in entries(log_url, "policy_loaded")]
    assert loaded == [(old, None), (new, old)]
    with opened(log_url) as engine:
        assert engine.policy().digest == new
    assert_whole(log_url)


def test_the_text_of_a_digest_is_kept_and_so_is_what_its_file_said_later(log_url: str) -> None:
    commented = POLICY + "# approved by the board\n"
    for text in (POLICY, commented, POLICY):
        with opened(log_url, text):
            pass
    digest = parse_policy(POLICY).digest
    kept = rows(log_url, "SELECT digest, source, yaml FROM recovery_policy ORDER BY seq")
    assert kept == [(digest, file_digest(text), text) for text in (POLICY, commented)]
    loaded = entries(log_url, "policy_loaded")
    assert [(entry["policy"], entry["source"]) for entry in loaded] == [row[:2] for row in kept]
    assert_whole(log_url)


def test_versions_take_turns_on_their_days(log_url: str) -> None:
    clock = Clock()
    with opened(log_url, dated(STRICT, "2026-11-01"), dated(KIND, "2026-11-23"), clock=clock) as engine:
        assert outcome(engine, "a") == "deny"
        clock.now_us += 2 * DAY
        assert outcome(engine, "b") == "approve"
    assert [entry["label"] for entry in entries(log_url, "policy_loaded")] == ["", ""]
    assert_whole(log_url)


def test_a_version_can_be_added_while_tills_are_open(log_url: str) -> None:
    clock = Clock()
    with opened(log_url, dated(STRICT, "2026-11-01"), clock=clock) as till:
        assert outcome(till, "a") == "deny"
        with opened(log_url, dated(KIND, "2026-11-21"), clock=clock):
            pass
        assert till.what_if(ask("", 50)).outcome == Outcome.APPROVE
        assert outcome(till, "b") == "approve"
        assert till.policy().digest == parse_policy(dated(KIND, "2026-11-21")).digest
    assert_whole(log_url)


def test_each_site_has_its_policy(log_url: str) -> None:
    city = POLICY + "sites: {all: [S1]}\n"
    airport = STRICT.replace("shop", "airport") + "sites: {all: [S9]}\n"
    with opened(log_url, city, airport) as engine:
        assert (outcome(engine, "a", site="S1"), outcome(engine, "b", site="S9")) == ("approve", "deny")
        assert (engine.policy("S1").policy, engine.policy("S9").policy) == ("shop", "airport")


def test_a_log_whose_policy_text_was_changed_is_not_used(tmp_path: Path) -> None:
    log = f"sqlite:///{tmp_path}/recovery.db"
    with opened(log, POLICY):
        pass
    with connected(log) as connection:
        connection.execute("DROP TRIGGER recovery_policy_no_update")
        connection.execute("UPDATE recovery_policy SET yaml = replace(yaml, '100', '999')")
    with opened(log) as engine:
        for asked in (engine.request, engine.what_if):
            with pytest.raises(LogError, match="another digest"):
                asked(ask("r-1"))


def test_one_bad_policy_in_a_folder_loads_none(log_url: str) -> None:
    with pytest.raises(PolicyError):
        opened(log_url, POLICY, POLICY.replace("shop", "other-shop"))
    assert entries(log_url, "policy_loaded") == []


def test_policies_are_loaded_once_by_many(log_url: str) -> None:
    engines = [opened(log_url, dated(STRICT, "2026-11-01"), dated(KIND, "2026-11-23")) for _ in range(3)]
    for engine in engines:
        engine.close()
    assert len(entries(log_url, "policy_loaded")) == 2


# --- the clock --------------------------------------------------------------------------------------------------------


def test_a_clock_set_back_by_less_than_an_hour_is_held(log_url: str) -> None:
    clock = Clock()
    with opened(log_url, POLICY, clock=clock) as engine:
        for number, step in enumerate((0, -HOUR, -1, HOUR + 5 * SECOND)):
            clock.now_us = START + step
            outcome(engine, f"r-{number}")
    assert [entry["at_us"] - START for entry in entries(log_url, "decided")] == [0, 0, 0, HOUR + 5 * SECOND]
    assert_whole(log_url)


@pytest.mark.parametrize("years", [-10, -1, 2, 10])
def test_a_clock_that_cannot_be_right_is_refused_until_it_is_accepted(log_url: str, years: int) -> None:
    clock = Clock()
    with opened(log_url, POLICY, clock=clock) as engine:
        outcome(engine, "a")
        outcome(engine, "b", site="S2")
        clock.now_us = START + years * 366 * DAY
        for site in ("S1", "S2", "S3"):
            with pytest.raises(LogError, match="the clock says"):
                engine.request(ask(f"c-{site}", site=site))
        with pytest.raises(LogError, match="the clock says"):
            engine.fulfil("a")
        assert len(entries(log_url)) == 6
        receipts = engine.accept_clock(by="owner-1")
        # Ahead, one entry of the new time is enough for all streams; behind, each has to go back.
        accepted = ["organisation", "site:S1", "site:S2"] if years < 0 else ["organisation"]
        assert sorted(receipt.stream for receipt in receipts) == accepted
        assert engine.accept_clock() == []
        for site in ("S1", "S2", "S3"):
            outcome(engine, f"c-{site}", site=site)
        engine.fulfil("a")
    assert {entry["by"] for entry in entries(log_url, "clock_set")} == {"owner-1"}
    assert_whole(log_url)


def test_an_hour_behind_is_held_and_a_second_more_is_refused(log_url: str) -> None:
    clock = Clock()
    with opened(log_url, POLICY, clock=clock) as engine:
        clock.now_us = START - HOUR
        assert outcome(engine, "a") == "approve"
        clock.now_us = START - HOUR - 1
        with pytest.raises(LogError):
            outcome(engine, "b")
        clock.now_us = START + 400 * DAY
        assert outcome(engine, "c") == "approve"
        clock.now_us += 400 * DAY + 1
        with pytest.raises(LogError):
            outcome(engine, "d")
        assert engine.request(ask("c", 50)).replayed  # what stands is answered whatever the clock


def test_a_quiet_site_and_an_old_policy_need_no_accepted_clock_while_others_are_busy(log_url: str) -> None:
    clock = Clock()
    with opened(log_url, POLICY, clock=clock) as engine:
        for month in range(30):
            outcome(engine, f"busy-{month}", site="busy")
            clock.now_us += 30 * DAY
        assert outcome(engine, "first", site="new") == "approve"
        engine.request(ask("known", customer="K-1"))
        engine.forget("K-1", "asked for it")
    with opened(log_url, KIND, clock=clock) as engine:
        assert outcome(engine, "after", 500) == "approve"
    assert_whole(log_url)


def test_without_a_clock_it_is_the_one_of_the_machine_or_of_postgresql(log_url: str) -> None:
    with RecoveryEngine.open(log_url, "classic", environment={}) as engine:
        engine.request(ask("r-1", role="frontline"))
    now = rows(log_url, "SELECT at_us FROM recovery_log WHERE request_id = 'r-1'")[0][0]
    assert abs(now - time() * 1_000_000) < 60 * SECOND


def test_a_till_whose_clock_is_wrong_may_make_a_log_on_a_server_whose_clock_is_right(postgres_url: str) -> None:
    wrong = int(time() * 1_000_000) + 2 * HOUR
    with patch.object(store, "host_clock", lambda: wrong):
        RecoveryEngine.open(postgres_url, environment={}).close()
    with RecoveryEngine.open(postgres_url, "classic", environment={}) as engine:
        assert engine.request(ask("r-1", role="frontline")).outcome == Outcome.APPROVE


@pytest.mark.parametrize("now", [-1, 9 * 10**17, 2**63, 1.5], ids=str)
def test_a_clock_that_tells_no_time_is_refused_before_anything_is_written(tmp_path: Path, now: float) -> None:
    log = tmp_path / "recovery.db"
    with pytest.raises(LogError, match="the clock says"):
        opened(log, POLICY, clock=lambda: now)
    with opened(log, POLICY) as engine:
        assert outcome(engine, "a") == "approve"
    assert_whole(log)
