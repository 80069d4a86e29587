"""`recovery log follow`: every committed entry at least once, in order in each stream, whoever is killed meanwhile."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner, Result

from recovery_cli.commands.log import follow as follow_verb
from recovery_cli.main import cli
from recovery_engine import InvalidRequest, LogEntry, LogError, Money, RecoveryEngine, RecoveryLog, RecoveryRequest
from recovery_engine.log.reading import following

pytestmark = pytest.mark.slow

POLICY = """
policy: counter
version: "3"
currency: USD
ladder: [associate, lead]
remedies: [refund]
authority:
  - {id: standard, up_to: {total: [100, 250]}}
"""


@pytest.fixture
def engine(log_url: str, tmp_path: Path) -> Iterator[RecoveryEngine]:
    """An engine with an empty log, on each database in turn."""
    policy = tmp_path / "counter.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    with RecoveryEngine.open(log_url, policy, environment={}) as opened:
        yield opened


def ask(engine: RecoveryEngine, id: str, site: str = "S001") -> None:
    engine.request(
        RecoveryRequest(
            id=id,
            employee="emp-1",
            role="associate",
            site=site,
            case=f"C-{id}",
            remedy="refund",
            amount=Money.of("5", "USD"),
        )
    )


def follow(url: str, *args: str | Path) -> Result:
    return CliRunner().invoke(cli, ["log", "follow", "--database", url, *map(str, args)])


def followed(url: str, *args: str | Path) -> list[Any]:
    said = follow(url, "--json", "--once", *args)
    assert said.exit_code == 0, said.output
    return [json.loads(line) for line in said.stdout.splitlines()]


def places(entries: list[LogEntry]) -> list[tuple[str, int]]:
    return [(entry.stream, entry.seq) for entry in entries]


def in_order(seen: list[tuple[str, int]]) -> bool:
    """Whether each stream is told from its first entry to its last, without a gap."""
    streams = {stream for stream, _ in seen}
    return all(
        [seq for name, seq in seen if name == stream] == list(range(sum(name == stream for name, _ in seen)))
        for stream in streams
    )


# --- the library ---


def test_every_entry_comes_once_in_order_and_then_it_ends(engine: RecoveryEngine, log_url: str) -> None:
    for number in range(5):
        ask(engine, f"r-{number}", site=f"S00{number % 2}")
    with RecoveryLog.open(log_url) as log:
        told = list(log.follow())
        assert in_order(places(told))
        assert sorted(told) == sorted(log.entries())
        assert list(engine.entries()) == told


def test_it_goes_on_behind_a_cursor_and_finds_new_streams(engine: RecoveryEngine, log_url: str) -> None:
    ask(engine, "r-1")
    cursor = {entry.stream: entry.seq for entry in engine.entries()}
    assert list(engine.entries(cursor)) == []
    ask(engine, "r-2")
    ask(engine, "r-3", site="S999")
    new = places(list(engine.entries(after=cursor)))
    assert sorted(new) == [("site:S001", 2), ("site:S999", 0), ("site:S999", 1)]
    assert cursor == {"organisation": 1, "site:S001": 1}


def test_a_busy_stream_does_not_keep_the_others_waiting(
    engine: RecoveryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_AT_ONCE", 4)
    for number in range(20):
        ask(engine, f"r-{number}")
    ask(engine, "r-late", site="S002")
    told = places(list(engine.entries()))
    assert in_order(told)
    assert len(told) == 25
    assert told.index(("site:S002", 0)) < 6


def test_what_comes_meanwhile_is_waited_for(engine: RecoveryEngine, log_url: str) -> None:
    ask(engine, "r-1")
    with RecoveryLog.open(log_url) as log:
        coming = log.follow(interval_s=0.01)
        before = [next(coming) for _ in range(4)]
        writing = Thread(target=lambda: (time.sleep(0.2), ask(engine, "r-2", "S002")))
        writing.start()
        later = [next(coming) for _ in range(2)]
        writing.join()
    assert places([*before, *later])[-2:] == [("site:S002", 0), ("site:S002", 1)]


def test_a_slow_subscriber_holds_no_transaction_open(engine: RecoveryEngine, log_url: str) -> None:
    ask(engine, "r-1")
    with RecoveryLog.open(log_url) as log:
        coming = log.follow()
        next(coming)
        assert log._engine.pool.status() == "NullPool"
        ask(engine, "r-2")
        assert ("site:S001", 2) in places(list(coming))  # seen, although it was committed after the first was read


@pytest.mark.parametrize("after", [{"site:S001": "1"}, {"site:S001": -1}, {"site:S001": True}, {1: 1}])
def test_a_cursor_that_is_none_is_said(engine: RecoveryEngine, after: dict[str, int]) -> None:
    with pytest.raises(InvalidRequest, match="last entry seen"):
        list(engine.entries(after))


@pytest.mark.parametrize("after", [{"site:S001": 2}, {"site:S777": 0}])
def test_a_cursor_ahead_of_the_log_is_refused_rather_than_passing_over_what_comes(
    engine: RecoveryEngine, after: dict[str, int]
) -> None:
    ask(engine, "r-1")
    with pytest.raises(LogError, match="was the log restored"):
        list(engine.entries(after))


# --- the command ---


def test_a_line_has_where_it_stands_and_the_entry_itself(engine: RecoveryEngine, log_url: str) -> None:
    ask(engine, "r-1")
    told = followed(log_url)
    assert [(one["stream"], one["seq"], one["kind"], one["recovery"]) for one in told] == [
        ("organisation", 0, "opened", None),
        ("organisation", 1, "policy_loaded", None),
        ("site:S001", 0, "opened", None),
        ("site:S001", 1, "decided", "r-1"),
    ]
    assert list(told[0]) == ["stream", "seq", "leaf", "kind", "at", "recovery", "entry"]
    with RecoveryLog.open(log_url) as log:
        assert [(json.loads(entry.body), entry.leaf) for entry in log.follow()] == [
            (one["entry"], one["leaf"]) for one in told
        ]
        said = follow(log_url, "--json", "--once").stdout_bytes
        assert all(b'"entry": ' + entry.body + b"}\n" in said for entry in log.follow())
    assert "  site:S001 1  decided  r-1  emp-1\n" in follow(log_url, "--once").stdout


def test_the_cursor_is_kept_and_moved_on(engine: RecoveryEngine, log_url: str, tmp_path: Path) -> None:
    cursor = tmp_path / "pos.cursor"
    ask(engine, "r-1")
    assert len(followed(log_url, "--after", cursor)) == 4
    assert json.loads(cursor.read_text()) == {"organisation": 1, "site:S001": 1}
    assert followed(log_url, "--after", cursor) == []
    ask(engine, "r-2")
    assert [one["recovery"] for one in followed(log_url, "--after", cursor)] == ["r-2"]
    cursor.write_text("")
    assert len(followed(log_url, "--after", cursor)) == 5
    assert [path.name for path in tmp_path.glob("pos*")] == ["pos.cursor"]


@pytest.mark.parametrize("text", ["[1]", "{", "12", '{"site:S001": "x"}'])
def test_a_file_that_holds_no_cursor_is_left_as_it_is(
    engine: RecoveryEngine, log_url: str, tmp_path: Path, text: str
) -> None:
    cursor = tmp_path / "pos.cursor"
    cursor.write_text(text)
    said = follow(log_url, "--json", "--once", "--after", cursor)
    assert (said.exit_code, said.stdout) == (2, "")
    assert said.stderr
    assert json.loads(cursor.read_text()) == json.loads(text) if text != "{" else cursor.read_text() == text


def test_a_place_that_takes_no_cursor_is_said_before_anything_is_written(
    engine: RecoveryEngine, log_url: str, tmp_path: Path
) -> None:
    said = follow(log_url, "--json", "--once", "--after", tmp_path / "gone" / "pos.cursor")
    assert (said.exit_code, said.stdout) == (3, "")
    assert "cannot write" in said.stderr


def test_the_cursor_never_stands_before_what_was_written(
    engine: RecoveryEngine, log_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor, written = tmp_path / "pos.cursor", []

    def write(line: bytes) -> None:
        if len(written) == 3:
            raise BrokenPipeError
        assert sum(seq + 1 for seq in json.loads(cursor.read_text()).values()) <= len(written)
        written.append(json.loads(line))

    monkeypatch.setattr(follow_verb, "KEPT_EVERY_S", -1.0)
    monkeypatch.setattr(follow_verb, "_write", write)
    ask(engine, "r-1")
    assert follow(log_url, "--json", "--once", "--after", cursor).exit_code == 141
    assert json.loads(cursor.read_text()) == {"organisation": 1, "site:S001": 0}


# --- as a process ---


def started(url: str, *args: str | Path, **kw: Any) -> subprocess.Popen[bytes]:
    env = os.environ | {"PYTHONUNBUFFERED": ""}
    command = [sys.executable, "-m", "recovery_cli", "log", "follow", "--database", url, "--json", *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, bufsize=0, **kw)


def test_ctrl_c_ends_it_with_whole_lines_and_the_cursor_behind_the_last(
    engine: RecoveryEngine, log_url: str, tmp_path: Path
) -> None:
    cursor = tmp_path / "pos.cursor"
    ask(engine, "r-1")
    take_ctrl_c = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None}
    with started(log_url, "--after", cursor, "--interval", "60", **take_ctrl_c) as running:
        assert running.stdout is not None
        for _ in range(4):
            assert running.stdout.readline().endswith(b"}\n")
        running.send_signal(signal.SIGINT)
        rest, said = running.communicate(timeout=50)  # less than until it would look again
    assert (running.returncode, rest, said) == (130, b"", b"")
    assert json.loads(cursor.read_text()) == {"organisation": 1, "site:S001": 1}


ENTRIES, KILLS = 240, 4


def test_killed_in_the_middle_again_and_again_it_repeats_and_never_loses(
    engine: RecoveryEngine, log_url: str, tmp_path: Path, record_property: Any
) -> None:
    cursor = tmp_path / "pos.cursor"

    def write() -> None:
        for number in range(ENTRIES):
            ask(engine, f"r-{number}", site=f"S{number // 60}")  # a new stream from time to time
            time.sleep(0.02)

    writing = Thread(target=write)
    writing.start()
    seen: list[tuple[str, int]] = []
    for number in range(KILLS):
        with started(log_url, "--after", cursor, "--interval", "0.01") as running:
            assert running.stdout is not None
            for _ in range(7 + 11 * number):
                one = json.loads(running.stdout.readline())
                seen.append((one["stream"], one["seq"]))
            running.kill()
            rest = running.stdout.read()
        whole = [json.loads(line) for line in rest.split(b"\n")[:-1]]
        seen += [(one["stream"], one["seq"]) for one in whole]
    writing.join()
    seen += [(one["stream"], one["seq"]) for one in followed(log_url, "--after", cursor)]
    with RecoveryLog.open(log_url) as log:
        assert set(seen) == set(places(list(log.entries())))
    last: dict[str, int] = {}
    for stream, seq in seen:
        assert seq <= last.get(stream, -1) + 1  # it repeats, and never leaps
        last[stream] = seq
    record_property("entries seen across kills", f"{len(seen)} for {len(set(seen))}")
    assert followed(log_url, "--after", cursor) == []
