"""`recovery request / fulfil / void`: JSON in, JSON out, exit codes that scripts can use."""

import json
import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from recovery_cli.main import cli
from recovery_engine import OutcomeUnknown, RecoveryEngine, StoreBusy, TamperedLog, verify
from recovery_engine.log.opening import sqlite_module

pytestmark = pytest.mark.slow

POLICY = """
policy: counter
version: "3"
currency: USD
ladder: [associate, lead, manager]
remedies: [refund, comp_item]
categories: [delay, quality]
facts:
  days_since_visit: {number: true, default: 0}
  is_staff: {flag: true, default: false}
authority:
  - {id: standard, up_to: {total: [100, 250, 500]}}
budgets:
  - {id: employee-day, per: employee, every: day, amount: 150, binds_below: lead}
deny:
  - {id: staff, when: {is_staff: true}, say: Staff purchases go through HR.}
requires:
  - {id: receipt, when: {remedy: refund}, evidence: [receipt]}
escalation:
  answer_within: {lead: 5 minutes, manager: 15 minutes}
  fulfil_within: 1 day
"""
USUAL = {"employee": "emp-1", "role": "associate", "remedy": "comp_item", "amount": "20.00"}


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "counter.yaml").write_text(POLICY, encoding="utf-8")
    return folder


@pytest.fixture
def log(policies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty log, named in the environment with its policies."""
    path = tmp_path / "shop.db"
    monkeypatch.setenv("RECOVERY_DATABASE", str(path))
    monkeypatch.setenv("RECOVERY_POLICIES", str(policies))
    RecoveryEngine.open(path, policies, environment={}).close()
    return path


def recovery(*args: str | Path, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(cli, [*map(str, args)], input=stdin)


def flags(recovery_id: str, **given: str) -> list[str]:
    fields = {"id": recovery_id, "case": f"C-{recovery_id}", **USUAL, **given}
    return [part for name, value in fields.items() for part in (f"--{name.replace('_', '-')}", value)]


def ask(recovery_id: str, *more: str, **given: str) -> Result:
    return recovery("request", *flags(recovery_id, **given), *more)


def answer(said: Result) -> Any:
    return json.loads(said.stdout)


def asked(recovery_id: str, *more: str, **given: str) -> Any:
    said = ask(recovery_id, "--json", *more, **given)
    assert said.exit_code == 0, said.output
    return answer(said)


def lines(*documents: Any) -> str:
    return "".join(f"{document if isinstance(document, str) else json.dumps(document)}\n" for document in documents)


# --- request ---


def test_what_is_approved_stands_in_the_log(log: Path) -> None:
    given = asked("r-1")
    assert (given["outcome"], given["id"], given["recovery"], given["replayed"]) == ("approve", "r-1", "r-1", False)
    receipt = given["log_receipt"]
    assert (receipt["stream"], receipt["seq"]) == ("site:", 1)
    assert len(receipt["leaf"]) == len(receipt["root"]) == 64
    assert receipt["at"].endswith("Z")
    assert given["due_at"] > receipt["at"]
    assert given["due"] is None  # what is still owed is another matter
    [row] = answer(recovery("log", "list", "--json"))["recoveries"]
    assert (row["recovery"], row["amount_granted"]) == ("r-1", "20.00")


def test_the_answer_for_people_says_where_it_stands(log: Path) -> None:
    said = ask("r-1")
    assert "APPROVE" in said.stdout
    assert "in the log: r-1  [site: 1]" in said.stdout
    assert "in the log: r-1  [site: 1], as answered before" in ask("r-1").stdout


def test_the_same_request_again_gets_the_same_answer(log: Path) -> None:
    first, again = asked("r-1"), asked("r-1")
    assert again.pop("replayed") is True
    first.pop("replayed")
    assert again == first


def test_what_was_given_before_counts(log: Path) -> None:
    assert [asked(f"r-{number}", amount="50")["outcome"] for number in range(4)] == ["approve"] * 3 + ["escalate"]


def test_an_incomplete_request_leaves_no_trace(log: Path) -> None:
    given = asked("r-1", remedy="refund")
    assert (given["outcome"], given["needs"], given["recovery"], given["log_receipt"]) == (
        *("incomplete", ["receipt"]),
        *(None, None),
    )
    assert "an incomplete request writes nothing" in ask("r-1", remedy="refund").stdout
    assert answer(recovery("log", "list", "--json"))["count"] == 0
    assert asked("r-1", "--evidence", "receipt", remedy="refund")["outcome"] == "approve"


@pytest.mark.parametrize(
    ("given", "more", "status"),
    [
        ({}, [], 0),
        ({"amount": "101"}, [], 10),
        ({}, ["--fact", "is_staff=true"], 20),
        ({"remedy": "refund"}, [], 30),
    ],
)
def test_the_exit_status_is_the_outcome_only_when_asked_for(
    log: Path, given: dict[str, str], more: list[str], status: int
) -> None:
    assert ask("r-1", "--exit-status", *more, **given).exit_code == status
    assert ask("r-2", *more, **given).exit_code == 0


def test_a_request_may_come_as_json_with_facts_flat_or_nested_and_flags_win(log: Path, tmp_path: Path) -> None:
    flat = {**USUAL, "id": "r-1", "case": "C-1", "is_staff": False, "amount": 12.5}
    nested = {**USUAL, "id": "r-2", "case": "C-2", "facts": {"is_staff": False, "days_since_visit": 3}}
    file = tmp_path / "request.json"
    file.write_text(json.dumps(flat))
    assert answer(recovery("request", "--json-file", file, "--json"))["amount"] == "12.50"
    assert answer(recovery("request", "--json-file", "-", "--json", stdin=json.dumps(nested)))["outcome"] == "approve"
    won = recovery("request", "--json-file", file, "--id", "r-3", "--fact", "is_staff=true", "--json")
    assert won.exit_code == 2
    assert "given twice" in won.stdout
    won = recovery("request", "--json-file", "-", "--id", "r-3", "--fact", "is_staff=true", "--json",
                   stdin=json.dumps(nested))  # fmt: skip
    assert (answer(won)["id"], answer(won)["outcome"]) == ("r-3", "deny")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"id": "~x"}, "id: error RQ002"),
        ({"id": "a b"}, "is not a reference"),
        ({"case": "4111111111111111"}, "card data is never stored"),
        ({"role": "asociate"}, "did you mean `associate`?"),
        ({"category": "dely"}, "did you mean `delay`?"),
    ],
)
def test_a_request_that_cannot_be_is_named_with_its_cure(log: Path, given: dict[str, str], said: str) -> None:
    ended = ask("r-1", **given)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert said in ended.stderr
    assert ask("r-1", "--json", **given).exit_code == 2


def test_what_the_log_adds_up_is_not_for_the_host_to_give(log: Path) -> None:
    given = {**USUAL, "id": "r-1", "case": "C-1", "used": {"employee-day": {"amount": "0"}}}
    said = recovery("request", "--json-file", "-", stdin=json.dumps(given))
    assert said.exit_code == 2
    assert "used: error RQ005 `used` is not yours to give: the log adds it up (leave it out)" in said.stderr


def test_an_id_that_was_used_for_something_else_is_a_conflict(log: Path) -> None:
    asked("r-1")
    said = ask("r-1", "--json", amount="21")
    assert said.exit_code == 2
    assert answer(said)["kind"] == "conflict"


# --- where the log is ---


def test_a_new_log_is_made_only_where_policies_are_named(policies: Path, tmp_path: Path) -> None:
    database = tmp_path / "new.db"
    said = recovery("request", "--database", database, *flags("r-1"))
    assert said.exit_code == 2
    assert "to make a new log, name its --policies" in said.stderr
    assert not database.exists()
    said = recovery("request", "--database", database, "--policies", policies, *flags("r-1"))
    assert said.exit_code == 0
    assert f"made a new log in {database}" in said.stderr
    assert "made a new log" not in recovery("request", "--database", database, *flags("r-2")).stderr


@pytest.mark.parametrize(
    "verb", ["fulfil x", "void x --reason y --by z", "log forget x --ground y", "log clock --accept"]
)
def test_no_other_verb_makes_a_log(verb: str, policies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOVERY_POLICIES", str(policies))
    said = recovery(*verb.split(), "--database", tmp_path / "typo.db")
    assert said.exit_code == 2
    assert "there is no such file" in said.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["policies"]


def test_tables_of_somebody_else_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "host.db"
    with closing(sqlite3.connect(path)) as host:
        host.execute("PRAGMA journal_mode=WAL")
        host.execute("CREATE TABLE orders (id)")
        for verb in (["fulfil", "x"], ["request", *flags("r-1")], ["log", "rebuild"]):
            said = recovery(*verb, "--database", path)
            assert said.exit_code == 2
            assert "no recovery log here" in said.stderr
        assert host.execute("SELECT name FROM sqlite_master").fetchall() == [("orders",)]


def test_a_write_that_was_cut_off_is_undone_by_the_next_command_that_writes(log: Path, tmp_path: Path) -> None:
    asked("r-1")
    cut = tmp_path / "cut.db"
    with closing(sqlite_module().connect(str(log), isolation_level=None)) as writer:
        for statement in ("PRAGMA journal_mode=DELETE", "PRAGMA cache_size=2", "BEGIN", "CREATE TABLE junk (x)"):
            writer.execute(statement)
        for _ in range(200):
            writer.execute("INSERT INTO junk VALUES (randomblob(900))")
        for ending in ("", "-journal"):
            shutil.copy(f"{log}{ending}", f"{cut}{ending}")
    assert recovery("log", "list", "--database", cut).exit_code == 2
    assert recovery("fulfil", "r-1", "--database", cut).exit_code == 0
    assert recovery("log", "list", "--database", cut).exit_code == 0
    assert verify(cut).clean


def test_flags_win_over_the_environment(log: Path, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(POLICY.replace("[100, 250, 500]", "[1, 250, 500]"))
    said = ask("r-1", "--json", "--database", str(tmp_path / "b.db"), "--policies", str(tmp_path / "other.yaml"))
    assert answer(said)["outcome"] == "escalate"
    assert asked("r-1")["outcome"] == "approve"


def test_policies_that_cannot_be_used_show_their_mistakes(log: Path, policies: Path) -> None:
    (policies / "counter.yaml").write_text(POLICY.replace("remedy: refund}", "remedy: refnd}"))
    said = ask("r-1")
    assert said.exit_code == 2
    assert "did you mean `refund`?" in said.stderr


# --- fulfil and void ---


def test_what_was_granted_is_handed_over_once(log: Path) -> None:
    asked("r-1")
    first = answer(recovery("fulfil", "r-1", "--reference", "rf-9", "--json"))
    assert (first["recovery"], first["replayed"], first["log_receipt"]["seq"]) == ("r-1", False, 2)
    again = answer(recovery("fulfil", "r-1", "--reference", "rf-9", "--json"))
    assert again == first | {"replayed": True}
    assert "r-1 is fulfilled, as it was before  [site: 2]" in recovery("fulfil", "r-1", "--reference", "rf-9").stdout
    other = recovery("fulfil", "r-1", "--reference", "rf-10", "--json")
    assert (other.exit_code, answer(other)["kind"]) == (2, "conflict")


def test_what_was_granted_can_be_taken_back_until_it_is_handed_over(log: Path) -> None:
    asked("r-1")
    asked("r-2")
    said = recovery("void", "r-1", "--reason", "given twice", "--by", "lead-1").stdout
    assert said == "r-1 is voided  [site: 3]\n  say “We have taken $20.00 as comp item back.”\n"
    recovery("fulfil", "r-2")
    said = recovery("void", "r-2", "--reason", "too late", "--by", "lead-1", "--json")
    assert (said.exit_code, answer(said)["kind"]) == (2, "not-allowed")
    assert "fulfilled" in answer(said)["error"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["fulfil"], "recovery: error RQ003 no recovery"),
        (["fulfil", "gone"], "there is no recovery `gone`"),
        (["void", "r-1"], "reason: error RQ003 no reason"),
        (["void", "r-1", "--reason", "x"], "by: error RQ003 no by"),
        (["fulfil", "--json-file", "-"], "unknown field `referense` (did you mean `reference`?)"),
        (["fulfil", "--json-file", "-", "--json-lines"], "give one of them"),
        (["request", "--json-lines", "--id", "x"], "leave out --id"),
    ],
)
def test_a_step_that_cannot_be_taken_says_why(log: Path, args: list[str], said: str) -> None:
    ended = recovery(*args, stdin='{"recovery": "r-1", "referense": "x"}')
    assert ended.exit_code == 2
    assert said in ended.stderr


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (StoreBusy("full", "ask again"), 75, "busy"),
        (OutcomeUnknown("gone", "ask again"), 76, "unknown"),
        (TamperedLog("changed"), 1, "tampered"),
    ],
)
def test_scripts_can_tell_what_to_do_from_the_exit_code(
    log: Path, error: Exception, code: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(RecoveryEngine, "fulfil", fails)
    said = recovery("fulfil", "r-1", "--json")
    assert (said.exit_code, answer(said)["kind"]) == (code, kind)
    assert recovery("fulfil", "r-1").exit_code == code


# --- a line each ---


def test_every_line_has_its_answer_in_order_and_wrong_ones_do_not_stop_the_run(log: Path) -> None:
    good = [{**USUAL, "id": f"r-{number}", "case": f"C-{number}"} for number in range(3)]
    given = lines(good[0], "not json", [1], {"id": "x"}, "", good[1], good[0], good[0] | {"amount": "1"}, good[2])
    said = recovery("request", "--json-lines", stdin=given)
    assert said.exit_code == 1
    answers = [json.loads(line) for line in said.stdout.splitlines()]
    assert [one.get("outcome", one.get("kind")) for one in answers] == [
        *("approve", "input", "input", "request", "approve", "approve", "conflict", "approve"),
    ]
    assert [one["line"] for one in answers if "error" in one] == [2, 3, 4, 8]
    assert (answers[3]["id"], answers[5]["replayed"]) == ("x", True)
    assert {problem["where"] for problem in answers[3]["problems"]} >= {"role", "amount"}


def test_lines_that_are_no_text_or_without_end_are_answered_too(log: Path) -> None:
    good = lines({**USUAL, "id": "r-1", "case": "C-1"}).encode()
    given = b"\xff\xfe\n" + b"x" * 4_100_000 + b"\n" + b"[" * 50_000 + b"\n" + good.rstrip(b"\n")
    said = recovery("request", "--json-lines", stdin=given)
    answers = [json.loads(line) for line in said.stdout.splitlines()]
    assert ["error" in one for one in answers] == [True, True, True, False]


def test_no_lines_at_all_are_fine(log: Path) -> None:
    said = recovery("request", "--json-lines", stdin="")
    assert (said.exit_code, said.stdout) == (0, "")


def test_options_stand_for_what_every_line_would_say(log: Path) -> None:
    said = recovery("request", "--json-lines", *flags("", site="")[2:-2], "--case", "C-1", stdin=lines({"id": "r-1"}))
    assert json.loads(said.stdout)["outcome"] == "approve"


def test_a_fault_of_ours_on_one_line_is_answered_as_such(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RecoveryEngine, "fulfil", lambda *_, **__: 1 / 0)
    said = recovery("fulfil", "--json-lines", stdin=lines({"recovery": "r-1"}, {"recovery": "r-2"}))
    answers = [json.loads(line) for line in said.stdout.splitlines()]
    assert [(one["kind"], one["recovery"]) for one in answers] == [("fault", "r-1"), ("fault", "r-2")]
    assert said.exit_code == 1


def test_hand_overs_and_voids_may_come_as_lines(log: Path) -> None:
    asked("r-1")
    asked("r-2")
    said = recovery("fulfil", "--json-lines", stdin=lines({"recovery": "r-1", "reference": "rf-1"}, {"recovery": "x"}))
    assert ["error" in json.loads(line) for line in said.stdout.splitlines()] == [False, True]
    said = recovery("void", "--json-lines", "--by", "lead-1", stdin=lines({"recovery": "r-2", "reason": "twice"}))
    assert json.loads(said.stdout)["recovery"] == "r-2"


# --- as processes ---

RECOVERY = [sys.executable, "-m", "recovery_cli"]


def started(log: Path, *args: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    env |= {"RECOVERY_DATABASE": str(log)}
    return subprocess.Popen(
        [*RECOVERY, *args], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, env=env,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )  # fmt: skip


def test_a_host_keeps_one_process_open_and_gets_each_answer_at_once(log: Path) -> None:
    with started(log, "request", "--json-lines") as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for number in range(3):
            running.stdin.write(lines({**USUAL, "id": f"r-{number}", "case": f"C-{number}"}).encode())
            assert select.select([running.stdout], [], [], 30)[0], "no answer comes"
            assert json.loads(running.stdout.readline())["recovery"] == f"r-{number}"
        running.send_signal(signal.SIGINT)
        rest, said = running.communicate(timeout=30)
    assert (running.returncode, rest) == (130, b"")
    assert b"Traceback" not in said


def test_two_hosts_write_into_one_log_at_once(log: Path, tmp_path: Path) -> None:
    files = []
    for host in ("a", "b"):
        file = tmp_path / f"{host}.jsonl"
        file.write_text(lines(*[{**USUAL, "id": f"{host}-{n}", "case": f"C-{host}-{n}", "employee": f"emp-{n}"}
                                for n in range(25)]))  # fmt: skip
        files.append(file)
    running = [
        subprocess.Popen([*RECOVERY, "request", "--json-lines"], stdin=file.open(), stdout=subprocess.PIPE)
        for file in files
    ]
    answers = [json.loads(line) for one in running for line in one.communicate(timeout=60)[0].splitlines()]
    assert {one.get("outcome") for one in answers} <= {"approve", "escalate"}
    assert len({one["recovery"] for one in answers}) == 50
    assert verify(log).clean


def test_a_reader_who_goes_away_ends_the_run_and_what_was_answered_stands(log: Path, tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    file.write_text(lines(*[{**USUAL, "id": f"r-{n}", "case": f"C-{n}"} for n in range(200)]))
    line = f"{' '.join(RECOVERY)} request --json-lines < {file} | head -2"
    ended = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, timeout=60, check=False)
    assert ended.returncode == 141
    assert ended.stderr == b""
    seen = [json.loads(line)["recovery"] for line in ended.stdout.splitlines()]
    assert seen == ["r-0", "r-1"]
    assert answer(recovery("log", "list", "--json"))["count"] >= 2
    assert verify(log).clean


def test_a_request_through_postgresql_gets_the_same_answer(
    log: Path, policies: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = [asked("r-1"), answer(recovery("fulfil", "r-1", "--json"))]
    monkeypatch.setenv("RECOVERY_DATABASE", postgres_url)
    said = ask("r-1", "--json")
    assert "made a new log in postgresql" in said.stderr
    there = [json.loads(said.stdout), answer(recovery("fulfil", "r-1", "--json"))]
    for one in (*here, *there):
        for name in ("log_receipt", "due_at"):
            one.pop(name, None)
    assert there == here
