"""`recovery log` for those who prove a log and look after it: verify, checkpoint, proof, forget, rebuild and so on."""

import json
import os
import pty
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from engines import DAY, START, Clock, ask, opened
from small_logs import writing_engine

from recovery_cli.commands.log import verify as verify_command
from recovery_cli.main import cli
from recovery_engine import check_proof, read_anchor, read_vkeys
from recovery_engine.log.opening import sqlite_module

pytestmark = pytest.mark.slow

POLICY = """
policy: shop
currency: USD
ladder: [clerk, manager]
authority:
  - {id: standard, up_to: {total: [100, 500]}}
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log with three recoveries, named in the environment; the folder is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECOVERY_DATABASE", "shop.db")
    path = tmp_path / "shop.db"
    fill(path, "r-1", "r-2", "r-3")
    return path


@pytest.fixture
def key(log: Path) -> str:
    assert recovery("keygen", "shop.example/recovery", "--out", "log.key").exit_code == 0
    return "log.key"


def fill(database: str | Path, *recoveries: str) -> None:
    with opened(database, POLICY, clock=Clock(ticks=True), origin="shop.example/recovery") as engine:
        for name in recoveries:
            engine.request(ask(name, customer="K-1", note="Ann waited"))


def recovery(*args: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["log", *map(str, args)], input=stdin)


def recovery_of(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


def answer(said: Result) -> Any:
    return json.loads(said.stdout)


def spoil(database: str | Path, statement: str) -> None:
    """Change a log behind its back, guard-rails or not."""
    engine = writing_engine(str(database) if "://" in str(database) else f"sqlite:///{database}")
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            found = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").scalars().all()
            for name in found:
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            connection.exec_driver_sql("ALTER TABLE recovery_log DISABLE TRIGGER USER")
        connection.exec_driver_sql(statement)
    engine.dispose()


def copied(file: Path, to: Path) -> None:
    """A backup as SQLite makes one, or its restoring."""
    with closing(sqlite_module().connect(str(file))) as source, closing(sqlite_module().connect(str(to))) as target:
        source.backup(target)


# --- verify ---


def test_a_clean_log_is_clean_and_the_honest_exception_is_printed(log: Path) -> None:
    said = recovery("verify")
    assert said.exit_code == 0
    assert said.stdout.splitlines()[-1] == "clean"
    assert "3 decisions made again" in said.stdout
    assert "somebody else has to keep a checkpoint" in said.stderr
    found = answer(recovery("verify", "--json"))
    assert (found["verdict"], found["entries"], found["found"]) == ("clean", 6, 0)
    assert "made again" not in recovery("verify", "--no-replay").stdout


def test_an_entry_that_was_changed_is_named_by_its_place(log_url: str) -> None:
    fill(log_url, "r-1", "r-2")
    spoil(log_url, "UPDATE recovery_log SET body = (SELECT body FROM recovery_log WHERE request_id = 'r-1') "
                   "WHERE request_id = 'r-2'")  # fmt: skip
    said = recovery("verify", "--database", log_url)
    assert said.exit_code == 1
    assert said.stdout.splitlines()[0].startswith("tampered  site:S1 2: ")
    found = answer(recovery("verify", "--database", log_url, "--json"))
    assert (found["verdict"], found["findings"][0]["seq"]) == ("tampered", 2)


def test_tables_that_drifted_have_their_own_code_and_a_cure_that_works(log: Path) -> None:
    spoil(log, "UPDATE recovery_state SET status = 'voided' WHERE recovery = 'r-2'")
    said = recovery("verify")
    assert said.exit_code == 3
    assert "recovery log rebuild" in said.stdout
    done = recovery("rebuild")
    assert done.exit_code == 0, done.output
    assert "was wrong: " in done.stdout
    assert "rebuilt from 6 entries" in done.stdout
    assert recovery("verify").exit_code == 0
    assert answer(recovery("rebuild", "--json")) == {"entries": 6, "found": 0, "findings": []}


def test_a_log_whose_entries_were_changed_is_not_rebuilt(log: Path) -> None:
    spoil(log, "DELETE FROM recovery_log WHERE request_id = 'r-3'")
    said = recovery("rebuild")
    assert said.exit_code == 1
    assert "site:S1" in said.stderr


def test_an_anchor_covers_what_was_there_when_it_was_signed(log: Path, key: str) -> None:
    recovery("checkpoint", "--key", key, "--out", "a.notes")
    fill(log, "r-4")
    said = recovery("verify", "--anchor", "a.notes", "--vkey", "log.key.vkey")
    assert said.exit_code == 0
    assert "not anchored: the newest 1 entry of site:S1" in said.stdout
    assert said.stderr == ""


def test_the_newest_entries_cannot_be_removed_unseen_where_an_anchor_is_kept(log: Path, key: str) -> None:
    copied(log, Path("backup.db"))
    fill(log, "r-4")
    recovery("checkpoint", "--key", key, "--out", "a.notes")
    copied(Path("backup.db"), log)
    assert recovery("verify").exit_code == 0
    said = recovery("verify", "--anchor", "a.notes", "--vkey", "log.key.vkey")
    assert said.exit_code == 4
    assert "recovery log reopen" in said.stdout
    assert answer(recovery("verify", "--anchor", "a.notes", "--vkey", "log.key.vkey", "--json"))["verdict"] == "anchor"


def test_an_anchor_that_is_missing_has_the_code_of_one_that_is_ahead(log: Path, key: str) -> None:
    said = recovery("verify", "--anchor", "gone.notes", "--vkey", "log.key.vkey")
    assert said.exit_code == 4
    assert "the anchor gone.notes is missing" in said.stderr
    assert answer(recovery("verify", "--anchor", "gone.notes", "--json"))["error"] == "the anchor gone.notes is missing"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--anchor", "a.notes"], "give --vkey"),
        (["--anchor", "a.notes", "--vkey", "gone"], "cannot read gone"),
        (["--anchor", "a.notes", "--vkey", "a.notes"], "the verifier key is not base64"),
        (["--anchor", "a.notes", "--vkey", "log.key"], "log.key: a private key (the verifier key"),
        (["--anchor", "log.key", "--vkey", "log.key.vkey"], "log.key: the note"),
        (["--anchor", "a.notes", "--vkey", "other.key.vkey"], "none of the known keys signed"),
        (["--database", "gone.db"], "there is no such file"),
    ],
)
def test_what_cannot_be_used_to_verify_is_never_a_verdict(log: Path, key: str, args: list[str], said: str) -> None:
    recovery("checkpoint", "--key", key, "--out", "a.notes")
    recovery("keygen", "other.example", "--out", "other.key")
    ended = recovery("verify", *args)
    assert ended.exit_code == 2
    assert said in " ".join(ended.stderr.replace("│", " ").split())
    assert "clean" not in ended.stdout


def test_a_fault_is_not_taken_for_a_verdict(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_command, "verify_log", lambda *_, **__: 1 / 0)
    said = recovery("verify")
    assert said.exit_code == 70
    assert "a fault of ours" in said.stderr


def test_a_bar_is_shown_to_people_only(log: Path) -> None:
    assert b"verifying" in in_a_terminal("log", "verify")
    ended = subprocess.run([sys.executable, "-m", "recovery_cli", "log", "verify"], capture_output=True, timeout=60)
    assert b"verifying" not in ended.stderr
    assert b"\x1b" not in ended.stdout + ended.stderr


def in_a_terminal(*args: str) -> bytes:
    """What a person sees in a narrow terminal."""
    outer, inner = pty.openpty()
    env = os.environ | {"TERM": "xterm-256color", "COLUMNS": "40", "LINES": "24"}
    command = [sys.executable, "-m", "recovery_cli", *args]
    seen = b""
    with subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, env=env):
        os.close(inner)
        try:
            while chunk := os.read(outer, 65536):
                seen += chunk
        except OSError:  # Linux says EIO when the other side is gone
            pass
    os.close(outer)
    return seen


# --- keys, checkpoints, proofs ---


def test_a_key_is_made_once(log: Path) -> None:
    made = answer(recovery("keygen", "shop.example", "--out", "k", "--json"))
    assert made["vkey"] == Path("k.vkey").read_text().strip()
    assert "PRIVATE" not in json.dumps(made)
    assert Path("k").stat().st_mode & 0o777 == 0o600
    before = Path("k").read_text()
    said = recovery("keygen", "shop.example", "--out", "k")
    assert said.exit_code == 2
    assert "never overwritten" in said.stderr
    assert Path("k").read_text() == before


def test_a_checkpoint_goes_to_stdout_or_into_a_file_of_its_own(log: Path, key: str) -> None:
    said = recovery("checkpoint", "--key", key)
    Path("piped.notes").write_text(said.stdout)
    anchors = read_anchor("piped.notes", read_vkeys("log.key.vkey"))
    assert [anchor.origin for anchor in anchors] == [
        "shop.example/recovery/organisation",
        "shop.example/recovery/site:S1",
    ]
    said = recovery("checkpoint", "--key", key, "--out", "b.notes")
    assert (said.exit_code, said.stdout) == (0, "")
    assert "nothing has grown" in said.stderr
    assert not Path("b.notes").exists()
    assert recovery("checkpoint", "--key", key, "--all", "--out", "b.notes").exit_code == 0
    assert Path("b.notes").read_text() == Path("piped.notes").read_text()
    fill(log, "r-4")
    said = recovery("checkpoint", "--key", key, "--out", "b.notes")
    assert said.exit_code == 2
    assert "--all" in said.stderr
    found = answer(recovery("checkpoint", "--key", key, "--json", "--out", "c.notes"))
    assert [(one["stream"], one["size"], one["new"]) for one in found["checkpoints"]] == [("site:S1", 5, True)]


def test_a_log_that_contradicts_its_last_checkpoint_is_not_signed(log: Path, key: str) -> None:
    recovery("checkpoint", "--key", key)
    spoil(log, "UPDATE recovery_log SET leaf = root WHERE request_id = 'r-1'")
    said = recovery("checkpoint", "--key", key)
    assert said.exit_code == 1
    assert "site:S1" in said.stderr


def test_an_entry_is_proved_to_somebody_without_the_log(log: Path, key: str) -> None:
    recovery("checkpoint", "--key", key)
    said = recovery("proof", "r-2", "--out", "r-2.tlog-proof")
    assert said.exit_code == 0
    log.unlink()
    said = recovery("proof", "--check", "r-2.tlog-proof", "--vkey", "log.key.vkey")
    assert said.exit_code == 0
    assert said.stdout.startswith(
        "it holds: number 2 of the 4 entries that were signed for shop.example/recovery/site:S1"
    )
    found = answer(recovery("proof", "--check", "r-2.tlog-proof", "--vkey", "log.key.vkey", "--json"))
    assert (found["holds"], found["entry"]["id"], found["entry"]["at_us"] > START) == (True, "r-2", True)


def test_a_proof_is_written_with_the_line_ends_it_has(log: Path, key: str) -> None:
    recovery("checkpoint", "--key", key, "--out", "a.notes")
    for more in ([], ["--checkpoint", "a.notes"]):
        text = recovery("proof", "r-1", *more).stdout
        assert check_proof(text, read_vkeys("log.key.vkey")).entry["id"] == "r-1"


def test_a_proof_that_does_not_hold_says_why(log: Path, key: str) -> None:
    recovery("checkpoint", "--key", key)
    text = recovery("proof", "r-2").stdout
    Path("wrong").write_text(text.replace("index 2", "index 1"))
    Path("entry").write_text("{}")
    for args in (["wrong"], ["wrong", "--origin", "x"], ["wrong", "--entry", "entry"]):
        said = recovery("proof", "--check", *args, "--vkey", "log.key.vkey")
        assert said.exit_code == 1
        assert "wrong does not hold: " in said.stderr
    assert answer(recovery("proof", "--check", "wrong", "--vkey", "log.key.vkey", "--json"))["holds"] is False


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ([], 2, "name the ID of an entry"),
        (["r-1", "--check", "x"], 2, "name the ID of an entry"),
        (["--check", "x"], 2, "give --vkey"),
        (["--check", "x", "--vkey", "log.key.vkey"], 2, "cannot read x"),
        (["gone"], 2, "no entry `gone`"),
        (["r-1"], 2, "no checkpoint covers `r-1` yet"),
    ],
)
def test_a_proof_that_cannot_be_made_or_read_says_why(
    log: Path, key: str, args: list[str], code: int, said: str
) -> None:
    ended = recovery("proof", *args)
    assert (ended.exit_code, ended.stdout) == (code, "")
    assert said in ended.stderr


# --- forget, clock, reopen ---


def test_to_forget_erases_and_prints_what_it_does_not_reach(log: Path) -> None:
    said = recovery("forget", "K-1", "--ground", "asked for it", "--by", "dpo-1")
    assert said.exit_code == 0, said.output
    assert "erased: customer, note" in said.stdout
    for limit in ("who comes back is a new customer", "your own systems", "backups"):
        assert limit in said.stdout
    assert recovery("verify").exit_code == 0
    again = recovery("forget", "K-1", "--ground", "asked for it")
    assert again.exit_code == 2
    assert "forgotten already" in again.stderr


def test_to_forget_for_programs(log: Path) -> None:
    done = answer(recovery("forget", "K-1", "--ground", "asked for it", "--json"))
    assert done["token"].startswith("c_")
    assert done["fields"] == ["customer", "note"]
    assert done["log_receipt"]["stream"] == "organisation"
    assert len(done["limits"]) == 3


def test_a_clock_that_stands_far_off_is_accepted_by_somebody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOVERY_DATABASE", str(tmp_path / "shop.db"))
    with opened(tmp_path / "shop.db", POLICY, clock=Clock(START + 10_000 * DAY)) as engine:
        engine.request(ask("r-1"))
    assert "behind" in recovery("clock").stdout
    assert [one["stream"] for one in answer(recovery("clock", "--json"))["streams"]] == ["organisation", "site:S1"]
    assert "the clock says" in recovery_of("fulfil", "r-1").stderr

    said = recovery("clock", "--accept", "--by", "owner-1")

    assert said.exit_code == 0
    assert said.stdout.count("accepted") == 2
    assert answer(recovery("clock", "--accept", "--json")) == {"accepted": []}
    assert recovery_of("fulfil", "r-1").exit_code == 0
    assert recovery("verify").exit_code == 0
    assert recovery("clock", "--by", "owner-1").exit_code == 2


def test_after_a_restore_the_log_goes_on_once_somebody_answers_for_it(log: Path, key: str) -> None:
    copied(log, Path("backup.db"))
    fill(log, "r-4")
    recovery("checkpoint", "--key", key, "--out", "a.notes")
    anchor = ["--anchor", "a.notes", "--vkey", "log.key.vkey"]
    assert "nothing is lost" in recovery("reopen", *anchor, "--by", "owner-1").stdout
    copied(Path("backup.db"), log)
    assert recovery("checkpoint", "--key", key).exit_code == 1

    said = recovery("reopen", *anchor, "--by", "owner-1")

    assert said.exit_code == 0, said.output
    assert "stream `site:S1` had 5 entries when it was signed, and has 4 now: acknowledged  [site:S1 4]" in said.stdout
    assert recovery("verify", *anchor).exit_code == 0
    assert recovery("checkpoint", "--key", key).exit_code == 0
    assert answer(recovery("reopen", *anchor, "--by", "owner-1", "--json")) == {"reopened": []}


def test_nobody_reopens_a_log_with_an_anchor_of_another(log: Path, key: str, tmp_path: Path) -> None:
    with opened(tmp_path / "other.db", POLICY, origin="elsewhere.example") as engine:
        engine.request(ask("x"))
    recovery("checkpoint", "--database", "other.db", "--key", key, "--out", "other.notes")
    said = recovery("reopen", "--anchor", "other.notes", "--vkey", "log.key.vkey", "--by", "owner-1")
    assert said.exit_code == 2
    assert "this log is `shop.example/recovery`" in said.stderr


@pytest.mark.parametrize(
    "verb", ["verify", "rebuild", "checkpoint --key log.key --all", "proof r-1", "clock", "keygen a.example --out k2"]
)
def test_a_reader_who_left_is_no_error(verb: str, log: Path, key: str) -> None:
    recovery("checkpoint", "--key", key)
    line = f"{sys.executable} -m recovery_cli log {verb} | true"
    ended = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, timeout=60, check=False)
    assert ended.returncode == 141
    assert b"Traceback" not in ended.stderr
