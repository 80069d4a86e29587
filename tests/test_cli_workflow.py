"""The way up at the command line: the queue, answers, silence, promises, lent authority, the story of a case."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from recovery_cli import promising
from recovery_cli.commands import pending as pending_verb
from recovery_cli.main import cli
from recovery_engine import RecoveryEngine, read_request, verify

pytestmark = pytest.mark.slow

POLICY = """
policy: counter
version: "3"
currency: USD
ladder: [associate, lead, manager]
remedies: [refund, comp_item, voucher]
sites: {city: [S001, S002]}
categories: [delay, quality]
facts:
  days_since_visit: {number: true, default: 0}
  is_staff: {flag: true, default: false}
authority:
  - {id: standard, up_to: {total: [100, 250, 500]}}
four_eyes:
  - {id: two-people, when: {amount: over 200}, second: manager}
escalation:
  answer_within: {lead: 5 minutes, manager: 15 minutes}
  fulfil_within: 1 day
"""
USUAL = {"employee": "emp-1", "role": "associate", "remedy": "refund", "amount": "150", "site": "S001"}
MINUTE_US = 60_000_000
LEAD = ("--by", "lead-1", "--role", "lead")


class Log:
    """An empty log in a file. What was asked for in the past goes through the engine, with a clock of its own."""

    def __init__(self, folder: Path) -> None:
        self.path, self.policies = folder / "shop.db", folder / "counter.yaml"
        self.policies.write_text(POLICY, encoding="utf-8")
        self.ago(2 * 24 * 60).close()

    def asked_ago(self, minutes: int, id: str, **given: str) -> None:
        with self.ago(minutes) as engine:
            request, _ = read_request(engine.policy(), {**USUAL, "id": id, "case": f"C-{id}", **given})
            engine.request(request)

    def ago(self, minutes: int) -> RecoveryEngine:
        now_us = time.time_ns() // 1000 - minutes * MINUTE_US
        return RecoveryEngine.open(self.path, self.policies, clock=lambda: now_us, environment={})


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    made = Log(tmp_path)
    monkeypatch.setenv("RECOVERY_DATABASE", str(made.path))
    monkeypatch.delenv("RECOVERY_POLICIES", raising=False)
    return made


def recovery(*args: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, [*map(str, args)], input=stdin)


def answered(*args: str | Path, stdin: str | None = None) -> Any:
    """What a command answers in JSON."""
    said = recovery(*args, "--json", stdin=stdin)
    assert said.exit_code == 0, said.output
    return json.loads(said.stdout)


def refused(*args: str | Path, code: int = 2) -> Any:
    said = recovery(*args, "--json")
    assert said.exit_code == code, said.output
    return json.loads(said.stdout)


def ask(id: str, *more: str, **given: str) -> Any:
    fields = {"id": id, "case": f"C-{id}", **USUAL, **given}
    return answered("request", *[part for name, value in fields.items() for part in (f"--{name}", value)], *more)


def lines(*documents: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(document)}\n" for document in documents)


# --- the queue ---


def test_an_item_of_the_queue_has_the_whole_story(log: Log) -> None:
    ask("r-0", case="C-1", amount="20", customer="K-1")
    said_with = ("--evidence", "receipt", "--fact", "days_since_visit=2", "--note", "It was cold")
    known = {"case": "C-1", "customer": "K-1", "category": "quality", "customer-name": "Zoë"}
    ask("r-1", *said_with, **known)
    answered("ask", "r-1", *LEAD, "--question", "Which table?")
    answered("answer", "r-1", "--answer", "Table 7", "--evidence", "photo")
    ask("r-2", *said_with, **known, employee="emp-9")
    given = answered("pending")
    assert given["count"] == 1
    [one] = given["recoveries"]
    assert (one["recovery"], one["employee"], one["remedy_asked"], one["amount_asked"]) == (
        *("r-1", "emp-1", "refund", "150.00"),
    )
    assert (one["note"], one["customer_name"], one["evidence"]) == ("It was cold", "Zoë", ["photo", "receipt"])
    assert one["facts"] == {"days_since_visit": 2}
    assert [(why["line"], why["had"], why["limit"]) for why in one["because"]] == [("standard", "170.00", "100.00")]
    [exchange] = one["exchanges"]
    assert (exchange["by"], exchange["question"]) == ("lead-1", "Which table?")
    assert (exchange["answered_by"], exchange["answer"], exchange["evidence"]) == ("emp-1", "Table 7", ["photo"])
    assert [(before["recovery"], before["status"]) for before in one["before"]] == [("r-0", "granted")]
    assert (one["again"], one["overdue"]) == (["emp-9"], False)
    assert re.fullmatch("[0-9a-f]{64}", one["asked"])
    said = recovery("pending").stdout
    for words in ("$150.00 refund", "due in ", "emp-1 (associate)", "case C-1", "quality", "(standard, ",
                  "photo, receipt", "“It was cold”", "Zoë", "days since visit: 2", "lead-1: “Which table?”",
                  "emp-1: “Table 7” (proof: photo)", "r-0, $20.00 refund, granted",
                  "emp-9 asked for the very same"):  # fmt: skip
        assert words in re.sub(r" +", " ", said), words


def test_the_oldest_due_comes_first(log: Log) -> None:
    ask("r-new", amount="150")
    ask("r-up", amount="300")  # goes to the manager, who has longer
    assert [one["recovery"] for one in answered("pending")["recoveries"]] == ["r-new", "r-up"]


def test_the_queue_of_a_role_a_site_and_a_person(log: Log) -> None:
    ask("r-1")
    ask("r-2", site="S002", employee="lead-1", role="lead", amount="260")

    def names(*args: str) -> list[str]:
        return [one["recovery"] for one in answered("pending", *args)["recoveries"]]

    assert names("--role", "lead") == ["r-1"]
    assert names("--site", "S002") == ["r-2"]
    assert names("--for", "lead-1") == ["r-1"]
    assert names("r-2") == ["r-2"]
    assert refused("pending", "r-2", "--for", "lead-1")["error"] == "`r-2` is not in this queue"
    assert refused("pending", "r-9")["error"] == "there is no recovery `r-9`"
    answered("withdraw", "r-1")
    assert refused("pending", "r-1")["help"] == "`recovery case C-r-1` tells its story"
    answered("withdraw", "r-2")
    said = recovery("pending")
    assert (said.exit_code, said.stdout, said.stderr) == (0, "", "nothing waits for an answer\n")


def test_the_queue_fits_a_terminal_of_40_columns_and_has_no_colours_in_a_pipe(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("r-1", "--note", "A long story that does not fit into one line of a till")
    for coloured in (False, True):
        out = Console(width=40, force_terminal=coloured, record=True, markup=False, emoji=False, highlight=False)
        monkeypatch.setattr(pending_verb, "console", lambda out=out: out)
        said = recovery("pending", "r-1").stdout
        assert max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", said).splitlines())) <= 40
        assert ("\x1b[" in said) == coloured


# --- answers ---


def test_an_approval_is_bound_to_what_was_looked_at(log: Log) -> None:
    ask("r-1")
    [seen] = answered("pending", "r-1")["recoveries"]
    answered("amend", "r-1", "--amount", "140")
    assert "kind" in refused("approve", "r-1", *LEAD, "--amount", "145", "--asked", seen["asked"])
    [now] = answered("pending", "r-1")["recoveries"]
    given = answered("approve", "r-1", *LEAD, "--asked", now["asked"])
    assert (given["status"], given["amount"], given["currency"], given["remedy"]) == (
        "granted",
        "140.00",
        "USD",
        "refund",
    )
    assert given["tell_customer"] == "We are putting this right now: $140.00 as refund."
    assert (given["to"], given["replayed"], given["log_receipt"]["stream"]) == (None, False, "site:S001")
    assert given["due_at"] > given["log_receipt"]["at"]
    assert answered("approve", "r-1", *LEAD, "--asked", now["asked"]) == given | {"replayed": True}


def test_less_or_another_remedy_may_be_agreed_to(log: Log) -> None:
    ask("r-1")
    given = answered("approve", "r-1", *LEAD, "--amount", "80.50", "--remedy", "voucher", "--note", "A regular guest")
    assert (given["amount"], given["remedy"]) == ("80.50", "voucher")
    ask("r-2")
    said = recovery("approve", "r-2", *LEAD)
    assert re.fullmatch(
        r"r-2 is granted: \$150\.00 refund  \[site:S001 \d\]\n  the hand-over is due by \d{4}-.*Z\n"
        r"  say “We are putting this right now: \$150\.00 as refund\.”\n",
        said.stdout,
    )


def test_where_a_second_person_must_agree_it_waits_for_that_one(log: Log) -> None:
    ask("r-1", amount="230")
    given = answered("approve", "r-1", *LEAD)
    assert (given["status"], given["to"]) == ("pending", "manager")
    assert "lead-1 (lead) to $230.00 refund; a second must" in recovery("pending", "r-1").stdout
    [one] = answered("pending")["recoveries"]
    assert (one["amount_agreed"], one["remedy_agreed"], one["approved_by"]) == ("230.00", "refund", "lead-1")
    assert answered("approve", "r-1", "--by", "mgr-1", "--role", "manager")["status"] == "granted"
    assert "promised by lead-1 (lead) with mgr-1 on case C-r-1" in recovery("promises").stdout


def test_a_no_comes_with_its_reason_and_with_what_can_be_given_instead(log: Log) -> None:
    ask("r-1")
    given = answered("decline", "r-1", *LEAD, "--reason", "not our fault", "--say", "The rain was not ours.")
    assert given["status"] == "declined"
    assert given["tell_customer"].endswith("cannot agree to it. The rain was not ours.")
    assert {"remedy": "voucher", "up_to": "100.00"} in given["alternatives"]
    assert (
        "  instead, at once: refund up to $100.00"
        in recovery("decline", "r-1", *LEAD, "--reason", "not our fault").stdout
    )
    again = ask("r-2", case="C-r-1", amount="120")
    assert [(one["recovery"], one["status"], one["amount"]) for one in again["before"]] == [
        ("r-1", "declined", "150.00")
    ]


def test_a_question_stops_the_clock_until_it_is_answered(log: Log) -> None:
    ask("r-1")
    assert "r-1 waits for the answer to a question" in recovery("ask", "r-1", *LEAD, "--question", "A photo?").stdout
    assert "waits for the answer to a question" in recovery("pending").stdout
    assert refused("ask", "r-1", *LEAD, "--question", "And?")["kind"] == "not-allowed"
    assert answered("answer", "--json-file", "-", stdin='{"recovery": "r-1", "answer": "Yes", "evidence": "photo"}')
    assert answered("pending")["recoveries"][0]["exchanges"][0]["evidence"] == ["photo"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("approve", "r-1", "--by", "emp-1", "--role", "lead"), "emp-1"),
        (("approve", "gone", *LEAD, "--amount", "5"), "there is no recovery `gone`"),
        (("approve", "r-1", *LEAD, "--amount", "5,0"), "amount: error RQ002"),
        (("approve", "r-1", "--role", "lead"), "by: error RQ003 no by"),
        (("approve", "r-1", "--by", "lead-1"), "role: error RQ003 no role"),
        (("approve", "r-1", "--by", "lead-1", "--role", "leed"), "did you mean `lead`?"),
        (("decline", "r-1", *LEAD), "reason: error RQ003 no reason"),
        (("ask", "r-1", *LEAD), "question: error RQ003 no question"),
        (("answer", "r-1", "--answer", "Yes"), "nobody has asked about `r-1`"),
        (("amend", "r-1", "--amount", "200"), "only less"),
        (("amend", "r-1"), "amount: error RQ003 no amount"),
        (("withdraw", "r-1", "--by", "emp-2"), "emp-1"),
        (("fulfil", "r-1"), "`r-1` is pending"),
    ],
)
def test_a_step_that_cannot_be_taken_says_why_and_changes_nothing(log: Log, args: tuple[str, ...], said: str) -> None:
    ask("r-1")
    before = recovery("log", "list", "--json").stdout
    ended = recovery(*args)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert said in ended.stderr
    assert recovery("log", "list", "--json").stdout == before


@pytest.mark.parametrize(
    ("verb", "given", "said"),
    [
        ("approve", {"recovery": "r-1", "by": ["x"], "role": "lead"}, "`by` is not a text"),
        ("answer", {"recovery": "r-1", "answer": "x", "evidence": [1.5, {}]}, "`evidence` is not a list of texts"),
        ("decline", {"recovery": "r-1", "by": "l", "role": "lead", "reson": "x"}, "did you mean `reason`?"),
    ],
)
def test_json_that_is_wrong_is_said_field_by_field(log: Log, verb: str, given: dict[str, Any], said: str) -> None:
    ended = recovery(verb, "--json-file", "-", stdin=json.dumps(given))
    assert ended.exit_code == 2
    assert said in ended.stderr


def test_answers_may_come_a_line_each(log: Log) -> None:
    ask("r-1")
    ask("r-2")
    said = recovery(
        "approve", "--json-lines", *LEAD, stdin=lines({"recovery": "r-1", "amount": 99.5}, {"recovery": "x"})
    )
    first, second = map(json.loads, said.stdout.splitlines())
    assert (said.exit_code, first["amount"], second["kind"], second["recovery"]) == (1, "99.50", "not-allowed", "x")
    said = recovery("withdraw", "--json-lines", stdin=lines({"recovery": "r-2", "reason": "settled"}))
    assert (said.exit_code, json.loads(said.stdout)["status"]) == (0, "withdrawn")


def test_the_very_same_asked_for_again_is_joined_and_told_with_the_first(log: Log) -> None:
    first = ask("r-1", case="C-1")
    second = ask("r-2", case="C-1", employee="emp-2")
    assert (first["joined"], second["joined"], second["recovery"], second["id"]) == (False, True, "r-1", "r-2")
    said = recovery("log", "show", "r-2").stdout
    assert "emp-2 asked for the very same again, as r-2: the two are one  [site:S001 2]" in said
    assert "the two are one" in recovery("request", *(part for name, value in {**USUAL, "id": "r-3", "case": "C-1",
        "employee": "emp-3"}.items() for part in (f"--{name}", value))).stdout  # fmt: skip


# --- silence and promises ---


def test_a_tick_moves_up_what_nobody_answered_once(log: Log) -> None:
    log.asked_ago(6, "r-1")
    assert "overdue by " in recovery("pending").stdout
    assert answered("pending")["recoveries"][0]["overdue"]
    said = recovery("tick", "--quiet").stdout
    assert "r-1 waits for the manager  [site:S001 2]" in said
    assert "say “I have asked my manager" in said
    for quiet in (["--quiet"], ["--quiet", "--json"]):
        said = recovery("tick", *quiet)
        assert (said.exit_code, said.output) == (0, "")
    assert recovery("tick").stdout == "no request was left without an answer for too long\n"
    assert answered("tick") == {"steps": [], "overdue": []}
    assert verify(log.path).clean


def test_promises_say_who_promised_what_to_which_case_by_when_and_overdue_ones_come_first(log: Log) -> None:
    for id in ("r-old", "r-kept"):
        log.asked_ago(25 * 60, id, amount="20")
    ask("r-new", amount="30")
    answered("fulfil", "r-kept")
    given = answered("promises")
    assert [(one["recovery"], one["standing"], one["amount_granted"]) for one in given["promises"]] == [
        ("r-old", "overdue", "20.00"),
        ("r-new", "open", "30.00"),
    ]
    assert given["count"] == 2
    assert [one["recovery"] for one in answered("promises", "--overdue")["promises"]] == ["r-old"]
    assert [one["recovery"] for one in answered("promises", "--standing", "late")["promises"]] == ["r-kept"]
    assert answered("promises", "--site", "S002")["count"] == 0
    said = recovery("promises").stdout
    assert re.match(r"r-old  \$20\.00 refund  overdue by 1 h \d min\n", said)
    assert "  promised by emp-1 (associate) on case C-r-old at S001, by 2" in said
    assert "--standing: error RQ001 unknown `bogus`" in recovery("promises", "--standing", "bogus").stderr
    assert recovery("promises", "--overdue", "--standing", "late").exit_code == 2
    ticked = answered("tick")
    assert [one["recovery"] for one in ticked["overdue"]] == ["r-old"]
    assert "1 promise overdue:" in recovery("tick").stdout
    assert recovery("tick", "--quiet").output == ""


def test_promises_fit_a_terminal_of_40_columns(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    ask("r-1", amount="30")
    out = Console(width=40, force_terminal=True, markup=False, emoji=False, highlight=False, color_system=None)
    monkeypatch.setattr(promising, "console", lambda: out)
    assert max(map(len, recovery("promises").stdout.splitlines())) <= 40


# --- lent authority ---


def test_authority_is_lent_used_and_taken_back(log: Log) -> None:
    ask("r-1", amount="300")
    lend = ("delegate", "lent-1", "--by", "mgr-1", "--to", "lead-1", "--role", "manager", "--until", "2999-12-24")
    given = answered(*lend, "--cap", "400", "--sites", "S001", "--remedies", "refund, voucher")
    assert (given["delegation"], given["cap"], given["currency"], given["until_at"]) == (
        *("lent-1", "400.00", "USD", "2999-12-24T00:00:00.000000Z"),
    )
    assert (given["sites"], given["remedies"], given["revoked_at"]) == (["S001"], ["refund", "voucher"], None)
    assert answered(*lend, "--cap", "400", "--sites", "S001", "--remedies", "refund", "--remedies", "voucher")[
        "replayed"
    ]
    said = recovery("delegations", "lead-1").stdout
    assert "lent-1  mgr-1 lends lead-1 the authority of the manager\n" in said
    assert "  at S001, refund, voucher, up to $400.00 for one case, from " in said
    assert answered("delegations", "emp-1")["count"] == 0
    first = answered("approve", "r-1", *LEAD, "--delegation", "lent-1")
    assert (first["status"], first["to"]) == ("pending", "manager")
    assert (
        "lead-1 (manager for mgr-1) approved $300.00 as refund, by the delegation lent-1"
        in recovery("case", "r-1").stdout
    )
    assert refused("revoke", "lent-1", "--by", "emp-1")["kind"] == "not-allowed"
    assert answered("revoke", "lent-1", "--by", "mgr-1")["revoked_at"] is not None
    assert recovery("delegations").stderr == "nothing is lent\n"
    assert "the authority of the manager, revoked 2" in recovery("delegations", "--all").stdout


def test_authority_may_be_lent_through_json_and_in_a_currency(log: Log) -> None:
    document = {"id": "l-1", "by": "mgr-1", "to": "lead-1", "role": "manager", "until": "in 3 days", "sites": "S001",
                "cap": 100, "currency": "EUR", "from": "2999-01-01", "timezone": "America/Chicago"}  # fmt: skip
    said = recovery("delegate", "--json-lines", stdin=lines(document, document | {"until": "2999-01-02"}))
    over, lent = map(json.loads, said.stdout.splitlines())
    assert over["problems"][0]["message"] == "it would end before it begins"
    assert (lent["from_at"], lent["currency"], lent["sites"]) == ("2999-01-01T06:00:00.000000Z", "EUR", ["S001"])
    assert ", not yet" in recovery("delegations").stdout


# --- the story of a case ---


def test_a_case_is_told_as_one_story_with_its_texts_until_they_are_erased(log: Log) -> None:
    ask("r-0", case="C-1", amount="20", customer="K-1")
    ask("r-1", "--note", "It was cold", "--customer-name", "Zoë", case="C-1", customer="K-1")
    answered("ask", "r-1", *LEAD, "--question", "Which table?")
    answered("answer", "r-1", "--answer", "Table 7", "--evidence", "photo")
    answered("amend", "r-1", "--amount", "140")
    answered("approve", "r-1", *LEAD, "--note", "A regular guest")
    for about in ("C-1", "r-1"):
        said = recovery("case", about).stdout
        told = ("r-0: $20.00 as refund asked for; granted", "  the promise is open",
                "r-1: $140.00 as refund asked for; granted", "the customer: “Zoë”", "note: “It was cold”",
                "answer due by", "lead-1 (lead) had a question first", "“Which table?”", "emp-1 answered", "“Table 7”",
                "proof: photo", "emp-1 asked for less: $140.00", "lead-1 (lead) approved $140.00",
                "note: “A regular guest”")  # fmt: skip
        at = [said.index(part) for part in told]
        assert at == sorted(at)
        assert said.endswith("  the promise is open\n")
    given = answered("case", "C-1")
    assert (given["case"], [one["promise"] for one in given["recoveries"]]) == ("C-1", ["open", "open"])
    assert given["recoveries"][1]["steps"][1]["texts"] == {"question": "Which table?"}
    answered("log", "forget", "K-1", "--ground", "asked for it")
    said = recovery("case", "C-1").stdout
    assert said.count("(erased)") == 5
    assert "Zoë" not in said
    assert answered("case", "C-1")["recoveries"][1]["steps"][1]["texts"] == {"question": None}
    shown = recovery("log", "show", "r-1").stdout
    assert "Which table" not in shown
    assert "(erased)" not in shown


def test_the_story_of_one_recovery_names_what_came_before(log: Log) -> None:
    ask("r-0", case="C-1", receipt="R-1", amount="20")
    ask("r-1", case="C-2", receipt="R-1")
    assert "  before: r-0, $20.00 as refund; granted\n" in recovery("log", "show", "r-1").stdout
    assert "r-1: $150.00 as refund asked for; pending with the lead\n" in recovery("log", "show", "r-1").stdout
    given = answered("log", "show", "r-1")["recoveries"][0]
    assert [one["recovery"] for one in given["before"]] == ["r-0"]
    assert given["steps"][0]["texts"] == {}
    assert refused("case", "gone")["error"] == "no recovery and no case `gone` in this log"


# --- elsewhere ---


def test_ids_and_roles_are_completed(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    ask("r-1")
    ask("r-2", amount="20")

    def offered(*words: str) -> list[str]:
        line = ["recovery", *words]
        env = {"_RECOVERY_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(line), "COMP_CWORD": str(len(words))}
        said = CliRunner().invoke(cli, prog_name="recovery", env=env).stdout
        return [item.partition(",")[2] for item in said.split()]

    assert offered("approve", "r") == ["r-1"]
    assert offered("fulfil", "r") == ["r-2"]
    assert offered("approve", "r-1", "--role", "l") == []
    monkeypatch.setenv("RECOVERY_POLICIES", str(log.policies))
    assert offered("approve", "r-1", "--role", "l") == ["lead"]
    assert offered("promises", "--standing", "o") == ["overdue", "open"]
    monkeypatch.setenv("RECOVERY_DATABASE", "gone.db")
    assert offered("approve", "r") == []


@pytest.mark.parametrize(
    "verb", ["pending", "tick", "promises", "delegations", "case C-1", "approve r-1 --by a --role b"]
)
def test_no_verb_of_the_way_up_makes_a_log(verb: str, tmp_path: Path) -> None:
    said = recovery(*verb.split(), "--database", tmp_path / "typo.db")
    assert said.exit_code == 2
    assert "there is no such file" in said.stderr
    assert list(tmp_path.iterdir()) == []


def test_through_postgresql_the_way_up_is_the_same(
    log: Log, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def walked() -> list[Any]:
        said = [ask("r-1", case="C-1"), ask("r-2", case="C-1", employee="emp-2")]
        said.append(answered("ask", "r-1", *LEAD, "--question", "A photo?"))
        said.append(answered("answer", "r-1", "--answer", "Here", "--evidence", "photo"))
        said += [answered("pending"), answered("approve", "r-1", *LEAD), answered("promises"), answered("case", "C-1")]
        return said

    def without_times(value: Any) -> Any:
        if isinstance(value, dict):
            changing = ("log_receipt", "asked", "leaf", "at", "policy", "text", "tell_employee")
            return {name: without_times(item) for name, item in value.items()
                    if not name.endswith("_at") and name not in changing}  # fmt: skip
        return [without_times(item) for item in value] if isinstance(value, list) else value

    here = without_times(walked())
    monkeypatch.setenv("RECOVERY_DATABASE", postgres_url)
    RecoveryEngine.open(postgres_url, log.policies, environment={}).close()
    assert without_times(walked()) == here
