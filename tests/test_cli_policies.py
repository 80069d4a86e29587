"""The verbs about policies: check, test, matrix, policies, schema; and doctor, completion, demo."""

import json
import sqlite3
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml
from click.testing import CliRunner, Result

from recovery_cli.commands import doctor
from recovery_cli.main import GROUPS, VERBS, cli
from recovery_engine import shipped_policies

SMALL = """
policy: small
currency: USD
ladder: [associate, manager]
authority:
  - {id: standard, up_to: {total: [100, 500]}}
deny:
  - {id: staff, when: {is_staff: true}, say: No.}
facts:
  is_staff: {flag: true}
tests:
  - name: up to the limit
    given: {role: associate, remedy: refund, amount: 100, is_staff: false}
    expect: approve
"""
WRONG_TEST = """
  - name: a hope
    given: {role: associate, remedy: refund, amount: 150, is_staff: false}
    expect: approve
"""
UNDECIDABLE_TEST = """
  - name: a gap
    given: {role: associate, remedy: refund, amount: 5}
    expect: approve
"""


def recovery(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, [*map(str, args)])


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL, encoding="utf-8")
    return path


# --- check ---


def test_starter_policies_have_no_mistakes() -> None:
    said = recovery("check", *shipped_policies(), "--strict")
    assert said.exit_code == 0, said.output
    assert "0 errors, 0 warnings" in said.stdout


def test_every_mistake_in_every_file_is_shown_with_a_caret_in_one_run(small: Path) -> None:
    other = small.with_name("other.yaml")
    small.write_text(SMALL.replace("currency: USD", "currency: USE").replace("flag: true", "flagg: true"))
    other.write_text(SMALL.replace("[100, 500]", "[100]"))
    said = recovery("check", small, other)
    assert said.exit_code == 1
    for part in ("small.yaml:3:", "small.yaml:10:", "other.yaml:6:", "^"):
        assert part in said.stdout
    assert "2 policies checked: 3 errors" in said.stdout


def test_a_test_that_cannot_be_decided_is_a_finding(small: Path) -> None:
    small.write_text(SMALL + UNDECIDABLE_TEST)
    said = recovery("check", small)
    assert said.exit_code == 1
    assert "test `a gap`: is_staff" in said.stdout
    assert "small.yaml:16" in said.stdout


def test_a_test_that_expects_something_else_is_not_checks_business(small: Path) -> None:
    small.write_text(SMALL + WRONG_TEST)
    assert recovery("check", small).exit_code == 0


def test_a_folder_stands_for_its_policies(small: Path) -> None:
    assert "1 policy checked" in recovery("check", small.parent).stdout


def test_a_file_that_cannot_be_read_is_unusable_but_the_others_are_checked(small: Path) -> None:
    small.write_text(SMALL.replace("currency: USD", "currency: USE"))
    said = recovery("check", "gone.yaml", small)
    assert said.exit_code == 2
    assert "gone.yaml" in said.stdout
    assert "small.yaml:3:" in said.stdout


def test_mistakes_are_json_where_json_is_asked_for(small: Path) -> None:
    small.write_text(SMALL.replace("currency: USD", "currency: USE"))
    said = recovery("check", small, "--json")
    found = json.loads(said.stdout)
    assert (said.exit_code, found["errors"], found["warnings"]) == (1, 1, 0)
    [problem] = found["files"][0]["problems"]
    assert (problem["level"], problem["line"]) == ("error", 3)


def test_a_warning_is_a_finding_only_when_strict(small: Path) -> None:
    small.write_text(SMALL.replace("total: [100, 500]", "total: [100, 500], voucher: [200, 500]"))
    said = recovery("check", small)
    assert "0 errors, 1 warning" in said.stdout
    assert said.exit_code == 0
    assert recovery("check", small, "--strict").exit_code == 1


# --- test ---


def test_passing_tests_are_counted_and_lines_never_decided_are_named(small: Path) -> None:
    said = recovery("test", small)
    assert said.exit_code == 0
    assert "1 passed" in said.stdout
    assert "decided in no test: staff" in said.stdout
    assert recovery("test", small, "--strict").exit_code == 1


def test_a_failure_shows_expected_got_why_and_where(small: Path) -> None:
    small.write_text(SMALL + WRONG_TEST)
    said = recovery("test", small)
    text = " ".join(said.stdout.split())
    assert said.exit_code == 1
    assert "failed a hope" in text
    assert "expected approve, got escalate to manager" in text
    assert "associate may approve $100.00" in text
    assert "small.yaml:16" in text
    assert "1 failed" in text


def test_a_test_that_cannot_be_decided_fails_and_says_why(small: Path) -> None:
    small.write_text(SMALL + UNDECIDABLE_TEST)
    said = recovery("test", small)
    assert said.exit_code == 1
    assert "is_staff" in said.stdout


def test_results_as_json_and_junit(small: Path, tmp_path: Path) -> None:
    small.write_text(SMALL + WRONG_TEST)
    junit = tmp_path / "results.xml"
    found = json.loads(recovery("test", small, "--json", "--junit", junit).stdout)["files"][0]
    assert found["never_decided"] == ["staff"]
    assert [test["passed"] for test in found["tests"]] == [True, False]
    assert found["tests"][1]["decision"]["to"] == "manager"
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert "got escalate to manager" in str(suite.findall("testcase")[1][0].get("message"))


def test_a_policy_with_mistakes_is_a_finding_and_an_unreadable_one_is_unusable(small: Path) -> None:
    small.write_text(SMALL.replace("currency: USD", "currency: USE"))
    assert recovery("test", small).exit_code == 1
    assert recovery("test", "gone.yaml").exit_code == 2


# --- matrix ---


def test_the_card_shows_every_role_and_limit() -> None:
    text = " ".join(recovery("matrix", "--policy", "classic").stdout.split())
    assert "frontline supervisor manager" in text
    assert "in all $100.00 $250.00 $500.00" in text


def test_the_card_as_json() -> None:
    card = json.loads(recovery("matrix", "--policy", "hotel", "--json").stdout)
    assert card["ladder"][0] == "front desk"
    assert card["digest"]


class Tags(HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]


def test_the_page_for_the_wall_is_one_file_that_fetches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "card.html"
    assert recovery("matrix", "--policy", "restaurant", "--html", path).exit_code == 0
    page = path.read_text(encoding="utf-8")
    seen = Tags()
    seen.feed(page)
    assert seen.links == []
    assert not {"script", "link", "img", "iframe"} & set(seen.tags)
    assert "url(" not in page
    assert "@import" not in page
    for part in ("@page", "@media print", "prefers-color-scheme: dark", "shift lead", "$75.00", "never-over-bill"):
        assert part in page


def test_nothing_in_a_policy_becomes_markup(small: Path) -> None:
    small.write_text(SMALL.replace("say: No.", "say: <script>alert(1)</script> & more"))
    page = recovery("matrix", "--policy", small, "--html", "-").stdout
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page


# --- policies and schema ---


def test_the_starter_policies_are_listed_one_line_each() -> None:
    said = recovery("policies").stdout
    for name in shipped_policies():
        assert sum(line.startswith(name) for line in said.splitlines()) == 1
    assert {policy["name"] for policy in json.loads(recovery("policies", "--json").stdout)} == set(shipped_policies())


def test_a_starter_policy_is_copied_but_never_over_another_file(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    assert recovery("policies", "hotel", "--output", path).exit_code == 0
    assert path.read_bytes() == shipped_policies()["hotel"].read_bytes()
    path.write_text("mine")
    said = recovery("policies", "hotel", "--output", path)
    assert said.exit_code == 2
    assert "--force" in said.stderr
    assert path.read_text() == "mine"
    assert recovery("policies", "hotel", "--output", path, "--force").exit_code == 0


def test_a_starter_policy_that_does_not_exist_has_a_nearest_one() -> None:
    said = recovery("policies", "hotl")
    assert said.exit_code == 2
    assert "did you mean `hotel`?" in said.stderr


def test_the_schema_accepts_the_starter_policies_and_refuses_a_typing_mistake(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    assert recovery("schema", "--output", path).exit_code == 0
    validator = jsonschema.Draft202012Validator(json.loads(path.read_text()))
    for file in shipped_policies().values():
        policy = yaml.safe_load(file.read_text(encoding="utf-8"))
        validator.validate(json.loads(json.dumps(policy, default=str)))
    assert list(validator.iter_errors({"policy": "x", "currency": "USD", "lader": ["a"]}))


# --- doctor ---


def test_the_doctor_names_every_version_and_the_matcher() -> None:
    found = json.loads(recovery("doctor", "--json").stdout)
    seen = {finding["what"]: finding for finding in found["findings"]}
    assert seen["python"]["found"] == ".".join(map(str, sys.version_info[:3]))
    assert {"recovery-engine", "durable-rules", "pydantic", "sqlmodel", "click", "matcher", "policies"} <= set(seen)


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 51, 3), True), ((3, 51, 2), False), ((3, 52, 0), True), ((3, 50, 7), True), ((3, 50, 6), False),
        ((3, 44, 6), True), ((3, 44, 5), False), ((3, 45, 9), False), ((3, 40, 1), False),
    ],
)  # fmt: skip
def test_wal_is_trusted_only_where_its_bug_is_mended(version: tuple[int, ...], safe: bool) -> None:
    assert doctor.wal_is_safe(version) is safe


def test_an_old_sqlite_is_a_note_because_a_safe_journal_is_used_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_sqlite_module", lambda: sqlite3)
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.45.1")
    [finding] = doctor._sqlite()
    assert finding.level == "note"
    assert "DELETE" in finding.means


def test_a_matcher_that_serves_alone_is_wrong_and_has_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "matcher_in_service", lambda: ("reference", "no extension"))
    said = recovery("doctor")
    assert said.exit_code == 1
    assert "no extension" in said.stdout
    assert "CPPFLAGS=-DPyEval_CallObject=PyObject_CallObject pip install" in said.stdout


def test_a_missing_package_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NEEDED", ("no-such-package",))
    assert recovery("doctor").exit_code == 1


# --- completion and demo ---


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_asks_recovery(shell: str) -> None:
    said = CliRunner().invoke(cli, ["completion", shell], prog_name="recovery")
    assert said.exit_code == 0
    assert "_RECOVERY_COMPLETE" in said.stdout


def test_the_demo_fits_in_seventy_lines_and_shows_every_outcome() -> None:
    said = recovery("demo")
    assert said.exit_code == 0
    assert len(said.stdout.splitlines()) <= 70
    for words in ("$512,706.88", "approve", "escalate", "incomplete", "deny"):
        assert words in said.stdout
    found = json.loads(recovery("demo", "--json").stdout)
    assert found["retail"]["requests"] == 402
    assert {case["outcome"] for case in found["complaints"]} == {"approve", "escalate", "incomplete", "deny"}


def test_the_demo_shows_the_way_up() -> None:
    said = " ".join(recovery("demo").stdout.split())
    assert "approved by the shift supervisor after 4 minutes" in said
    assert "nobody answered in 10 minutes: now with the duty manager" in said
    assert "declined; instead up to €30.00" in said
    assert "a promise kept" in said
    assert "a promise overdue" in said
    assert "within 30 minutes" in said  # what the guest is told is with whom it is now, and by when
    assert len(json.loads(recovery("demo", "--json").stdout)["way_up"]) == 5


def test_the_demo_ends_with_a_log_whose_verifying_names_the_place_of_one_changed_byte() -> None:
    said = " ".join(recovery("demo").stdout.split())
    assert "verify: 6 entries, clean" in said
    assert "verify: tampered, site: 1:" in said
    found = json.loads(recovery("demo", "--json").stdout)["log"]
    assert [row["recovery"] for row in found["recoveries"]] == ["hotel-1", "hotel-2", "hotel-4"]
    assert found["verify"]["found"] == 0
    assert {(one["stream"], one["seq"]) for one in found["verify_after_one_byte"]["findings"]} >= {("site:", 1)}


def test_the_demo_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert recovery("demo").exit_code == 0
    assert list(tmp_path.iterdir()) == []


# --- all of them ---


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example_and_json(verb: str) -> None:
    said = recovery(verb, "--help")
    assert said.exit_code == 0
    assert "Examples:" in said.stdout
    assert f"recovery {verb}" in said.stdout.split("Examples:")[1]
    assert "--json" in said.stdout


def test_the_help_lists_every_verb() -> None:
    said = recovery("--help").stdout
    assert all(verb in said for verb in VERBS)


def test_every_verb_has_its_place_in_the_help() -> None:
    assert sorted(verb for verbs in GROUPS.values() for verb in verbs) == sorted(VERBS)
    said = recovery("--help").stdout
    assert all(name in said for name in GROUPS)
    assert "─ Commands ─" not in said


def test_an_unknown_verb_has_a_nearest_one() -> None:
    said = recovery("chekc")
    assert said.exit_code == 2
    assert "did you mean `check`?" in said.stderr
