"""`recovery log` for auditors: list, show, stats, sample, report, export, on a log with a recovery of every kind."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from databases import new_role, postgres_admin
from small_logs import TOKEN, small_log

from recovery_cli import filtering, listing
from recovery_cli.commands import log as log_group
from recovery_cli.commands.log import report
from recovery_cli.main import cli
from recovery_engine import Filter, RecoveryLog
from recovery_engine.log.reading.filters import _FIXED

pytestmark = pytest.mark.slow

READERS = [
    ["list"],
    ["list", "--json"],
    ["show", "r-03"],
    ["stats"],
    ["sample", "20", "--seed", "7"],
    ["report", "--at-least", "10", "--month", "2026-11"],
    ["export", "--csv", "-"],
    ["export", "--entries", "--jsonl", "-"],
    ["clock"],
]
"""The verbs that only read, and leave the log as it is."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The log in an SQLite file that nobody writes to."""
    path = tmp_path_factory.mktemp("log") / "audit.db"
    small_log().write(f"sqlite:///{path}")
    return str(path)


@pytest.fixture
def log(file: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The log, named in the environment."""
    monkeypatch.setenv("RECOVERY_DATABASE", file)
    return file


def recovery(*args: str | Path, columns: int = 200) -> Result:
    return CliRunner().invoke(cli, ["log", *map(str, args)], env={"COLUMNS": str(columns)})


def answer(*args: str | Path) -> Any:
    said = recovery(*args, "--json")
    assert said.exit_code == 0, said.output
    return json.loads(said.stdout)


def listed(*args: str) -> list[str]:
    return [row["recovery"] for row in answer("list", *args)["recoveries"]]


# --- list ---


def test_the_list_has_a_line_for_each_recovery(log: str) -> None:
    lines = recovery("list").stdout.splitlines()
    assert len(lines) == 11
    assert " ".join(lines[3].split()) == (
        "2026-11-03 r-04 S002 emp-2 $450.00 refund granted $400.00 by mgr-1 employee-day standard"
    )
    assert any("waits for lead" in line for line in lines)
    assert any("declined by lead-1" in line for line in lines)
    assert any("voided by lead-1" in line for line in lines)


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (["--site", "S009"], ["r-11"]),
        (["--site", "S009", "--site", "S002"], ["r-02", "r-04", "r-11"]),
        (["--employee", "emp-2"], ["r-02", "r-04"]),
        (["--approver", "lead-1"], ["r-03"]),
        (["--customer", "K-2"], ["r-06"]),
        (["--customer", TOKEN["K-2"]], ["r-06"]),
        (["--case", "C-r-05"], ["r-05"]),
        (["--receipt", "R-1"], ["r-01"]),
        (["--remedy", "voucher"], ["r-07"]),
        (["--category", "quality"], ["r-04"]),
        (["--severity", "major"], ["r-03"]),
        (["--outcome", "deny"], ["r-07"]),
        (["--status", "lapsed", "--status", "declined"], ["r-05", "r-06"]),
        (["--role", "manager"], ["r-11"]),
        (["--line", "never-twice"], ["r-07"]),
        (["--amount-from", "100"], ["r-04", "r-11"]),
        (["--amount-from", "$100", "--amount-to", "200"], ["r-11"]),
        (["--amount-to", "5", "--currency", "USD"], ["r-07", "r-09"]),
        (["--from", "2026-11-06"], ["r-10", "r-11"]),
        (["--to", "2026-10-31"], ["r-01", "r-02"]),  # half past one in the night is still the day before
        (["--month", "2026-12"], ["r-11"]),
        (["--month", "2026-10", "--site", "S002"], ["r-02"]),
        (["--policy", "diner 2026.2", "--month", "2026-12"], ["r-11"]),
        (["--matcher", "fault"], []),
    ],
    ids=" ".join,
)
def test_a_filter_lists_what_fits(log: str, filter: list[str], expected: list[str]) -> None:
    assert listed(*filter) == expected


def test_nothing_that_fits_is_no_error(log: str) -> None:
    said = recovery("list", "--basis", "owed")
    assert (said.exit_code, said.stdout) == (0, "")
    assert "no recovery fits" in said.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--site", "S01"], "--site: error RQ001 no recovery in this log has the site `S01` (did you mean `S001`?)"),
        (["--outcome", "denied"], "did you mean `deny`?"),
        (["--employee", "emp-3"], "did you mean `emp-2`?"),
        (["--customer", "K-3"], "--customer: error RQ001"),
        (["--amount-from", "1e2"], "--amount-from: error RQ002 `1e2` is not an amount (write `100`)"),
        (["--amount-from", "9", "--amount-to", "8"], "--amount-to: error RQ002"),
        (["--from", "2026-11-30", "--to", "2026-11-01"], "--to: error RQ002"),
        (["--from", "30.11.2026"], "write it like `2026-11-30`"),
        (["--from", "2026-11-31"], "write it like `2026-11-30`"),
        (["--month", "2026-13"], "write it like `2026-11`"),
        (["--month", "2026-11", "--from", "2026-11-02"], "leave out --from and --to"),
        (["--currency", "USD"], "give one of them"),
        (["--limit", "-1"], "--limit"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_filter_that_cannot_be_is_named_by_its_option_with_a_cure(log: str, args: list[str], said: str) -> None:
    ended = recovery("list", *args)
    assert ended.exit_code == 2
    assert said in " ".join(ended.stderr.replace("│", " ").split())
    assert ended.stdout == ""


def test_every_mistake_in_a_filter_is_named_at_once_also_in_json(log: str) -> None:
    ended = recovery("list", "--site", "S01", "--remedy", "refnd", "--json")
    assert ended.exit_code == 2
    found = json.loads(ended.stdout)
    assert {problem["where"] for problem in found["problems"]} == {"--site", "--remedy"}


def test_a_long_list_is_cut_and_says_so(log: str) -> None:
    said = recovery("list", "--limit", "2")
    assert len(said.stdout.splitlines()) == 2
    assert "9 more; --all lists them" in said.stderr
    assert len(recovery("list", "--limit", "2", "--all").stdout.splitlines()) == 11
    cut = answer("list", "--limit", "2")
    assert (cut["count"], len(cut["recoveries"])) == (11, 2)


def test_rows_in_json_have_the_names_and_values_of_an_export(log: str) -> None:
    exported = [json.loads(line) for line in recovery("export", "--jsonl", "-").stdout.splitlines()]
    for row, columns in zip(answer("list")["recoveries"], exported, strict=True):
        row["deciding_lines"] = " ".join(row["deciding_lines"])
        assert row.keys() - columns.keys() == {"outcome"}  # an export says it in words
        assert {name: row[name] for name in row if name in columns}.items() <= columns.items()


def test_a_recovery_takes_two_lines_where_one_is_too_narrow(log: str, capsys: pytest.CaptureFixture[str]) -> None:
    with RecoveryLog.open(log) as opened, opened.recoveries(Filter(site="S002")) as rows:
        listing.show_rows(rows, folded=True)
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == "r-02  $25.00 refund  fulfilled"
    assert second == "  2026-10-31 S002 emp-2  standard"


# --- show ---


def test_the_story_is_told_in_order_and_in_words(log: str) -> None:
    told = recovery("show", "r-03").stdout
    assert "lead-1 (lead) approved $80.00 as refund" in told
    assert "had authority then, under policy diner 2026.2" in told
    assert told.index("asked for $80.00") < told.index("approved $80.00") < told.index("handed it over")


def test_the_story_for_programs_has_every_step(log: str) -> None:
    told = answer("show", "r-03")
    [one] = told["recoveries"]
    assert one["stands"]["status"] == "fulfilled"
    assert [step["kind"] for step in one["steps"]] == ["decided", "approved", "fulfilled"]
    assert one["steps"][1]["amount"] == "80.00"
    assert one["steps"][1]["at"].endswith("Z")


def test_what_is_not_there_is_said_with_what_is_near(log: str) -> None:
    said = recovery("show", "r-3")
    assert said.exit_code == 2
    assert "no recovery and no case `r-3`" in said.stderr
    assert "did you mean `r-0" in said.stderr


# --- stats, sample, report ---


def test_stats_add_up(log: str) -> None:
    said = " ".join(recovery("stats").stdout.split())
    assert "11 recoveries" in said
    assert "by outcome" in said
    found = answer("stats", "--status", "voided")
    assert found["recoveries"] == 1
    assert found["parts"]["currency"][0] == {
        **{"word": "USD", "recoveries": 1, "asked": "20.00", "granted": "0.00", "voided": "20.00"}
    }


def test_a_sample_is_drawn_again_from_its_seed(log: str) -> None:
    drawn = answer("sample", "9", "--seed", "audit-1")
    assert drawn == answer("sample", "9", "--seed", "audit-1")
    assert len(drawn["rows"]) == 9
    assert {stratum["drawn"] > 0 for stratum in drawn["strata"]} == {True}
    assert any(answer("sample", "9", "--seed", str(seed))["rows"] != drawn["rows"] for seed in range(5))


def test_a_seed_that_was_made_up_is_said(log: str) -> None:
    first = recovery("sample", "9")
    seed = first.stdout.splitlines()[-1].removeprefix("seed: ")
    assert recovery("sample", "9", "--seed", seed).stdout == first.stdout


def test_a_sample_too_small_for_one_of_each_kind_says_how_many_there_are(log: str) -> None:
    said = recovery("sample", "2", "--seed", "1")
    assert said.exit_code == 2
    assert "--size: error RQ002" in said.stderr
    assert "give at least" in said.stderr


def test_the_report_has_every_grant_of_the_month_above_the_amount(log: str) -> None:
    found = answer("report", "--at-least", "20", "--month", "2026-11")
    assert [row["recovery"] for row in found["grants"]] == ["r-03", "r-04", "r-08"]
    assert found["total"] == {"grants": 2, "granted": "480.00", "voids": 1, "voided": "20.00"}
    assert [one["person"] for one in found["by_approver"]] == ["emp-1", "lead-1", "mgr-1"]
    said = recovery("report", "--at-least", "$20", "--month", "2026-11").stdout
    assert said.startswith("Grants of $20.00 or more in 2026-11: 2, $480.00; voided 1, $20.00")
    assert "granted by mgr-1 (manager), with mgr-2" in said


def test_the_report_as_csv_is_safe_in_a_spreadsheet(log: str, tmp_path: Path) -> None:
    out = tmp_path / "november.csv"
    assert recovery("report", "--at-least", "20", "--month", "2026-11", "--csv", out).exit_code == 0
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [(row["recovery"], row["amount_granted"], row["status"]) for row in rows] == [
        ("r-03", "80.00", "fulfilled"), ("r-04", "400.00", "granted"), ("r-08", "20.00", "voided"),
    ]  # fmt: skip
    on_stdout = recovery("report", "--at-least", "20", "--month", "2026-11", "--csv", "-").stdout
    assert on_stdout == out.read_text()


@pytest.mark.parametrize("id", ["=1+1", "+1", "-1", "@SUM", "\t=1"])
def test_an_id_that_a_spreadsheet_would_take_for_a_formula_is_text(id: str) -> None:
    assert report._not_a_formula(id) == f"'{id}"
    assert report._not_a_formula("emp-1") == "emp-1"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--at-least", "20"], "--month"),
        (["--at-least", "-5", "--month", "2026-11"], "--at-least: error RQ002"),
        (["--at-least", "20", "--month", "November"], "--month: error RQ002"),
        (["--at-least", "20", "--month", "2026-11", "--json", "--csv", "-"], "both go to stdout"),
    ],
)
def test_a_report_that_cannot_be_made_says_why(log: str, args: list[str], said: str) -> None:
    ended = recovery("report", *args)
    assert ended.exit_code == 2
    assert said in ended.stderr


# --- export ---


def test_an_export_is_written_whole_and_says_how_much(log: str, tmp_path: Path) -> None:
    said = recovery("export", "--csv", tmp_path / "out.csv", "--site", "S001")
    assert said.stdout == ""
    assert f"wrote 8 recoveries to {tmp_path / 'out.csv'}" in said.stderr
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 9
    found = answer("export", "--jsonl", tmp_path / "out.jsonl")
    assert found == {"file": str(tmp_path / "out.jsonl"), "format": "jsonl", "rows": 11}


def test_entries_are_exported_as_the_bytes_they_are(log: str) -> None:
    lines = recovery("export", "--entries", "--jsonl", "-").stdout.encode().splitlines()
    with RecoveryLog.open(log) as opened, opened.entries() as entries:
        assert lines == [entry.body for entry in entries]


def test_the_whole_log_is_exported_as_one_file_that_reads_the_same(log: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    assert recovery("export", "--sqlite", copy).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["copy.db"]
    assert recovery("list", "--database", copy).stdout == recovery("list").stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "name one file"),
        (["--csv", "a", "--jsonl", "b"], "name one file"),
        (["--csv", "-", "--json"], "both go to stdout"),
        (["--sqlite", "x.db", "--site", "S001"], "takes the whole log"),
        (["--csv", "-", "--people"], "--people goes with --sqlite"),
        (["--csv", "no/where.csv"], "cannot write"),
    ],
)
def test_an_export_that_cannot_be_made_says_why(
    log: str, args: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = recovery("export", *args)
    assert ended.exit_code == 2
    assert said in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_export_never_takes_the_place_of_the_log(log: str) -> None:
    before = Path(log).read_bytes()
    for format in ("--csv", "--jsonl", "--parquet", "--sqlite"):
        assert recovery("export", format, log).exit_code == 2
    assert recovery("report", "--at-least", "1", "--month", "2026-11", "--csv", log).exit_code == 2
    assert Path(log).read_bytes() == before


# --- where the log is ---


@pytest.mark.parametrize(
    ("database", "said"),
    [
        ("gone.db", "there is no such file"),
        (".", "a folder, not a file"),
        ("text.db", "not an SQLite database"),
        ("empty.db", "an empty file"),
        ("mysql://host/log", "`mysql` is not a database"),
        ("postgresql://u:secret@/x?host=/nowhere", "is the server running"),
    ],
)
def test_what_holds_no_log_is_named_and_never_made(
    database: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.db").write_text("hello\n" * 99)
    Path("empty.db").touch()
    for verb in (["list"], ["show", "x"], ["verify"]):
        ended = recovery(*verb, "--database", database)
        assert ended.exit_code == 2
        assert said in ended.stderr
        assert "secret" not in ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.db", "text.db"]


def test_a_flag_wins_over_the_environment(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECOVERY_DATABASE", "gone.db")
    assert recovery("list").exit_code == 2
    assert recovery("list", "--database", file).exit_code == 0


def test_no_database_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (None, ""):
        monkeypatch.delenv("RECOVERY_DATABASE", raising=False)
        if name is not None:
            monkeypatch.setenv("RECOVERY_DATABASE", name)
        said = recovery("list")
        assert said.exit_code == 2
        assert "give --database, or set RECOVERY_DATABASE" in said.stderr


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Run as somebody whom permissions concern, where the tests run as root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_whoever_may_only_read_the_file_reads_all(log: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder = tmp_path / "medium"
    folder.mkdir()
    copy = folder / "audit.db"
    copy.write_bytes(Path(log).read_bytes())
    usual = {" ".join(verb): recovery(*verb).stdout for verb in READERS if verb != ["clock"]}
    copy.chmod(0o444)
    for path in (folder, *folder.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(0o555 if path == folder else 0o755)
    request.getfixturevalue("as_nobody")
    assert {name: recovery(*name.split(), "--database", copy).stdout for name in usual} == usual
    assert [path.name for path in folder.iterdir()] == ["audit.db"]


def test_an_auditor_who_may_only_select_reads_all(postgres_url: str, file: str) -> None:
    small_log().write(postgres_url)
    auditor = new_role(postgres_url, "auditor")
    with postgres_admin(postgres_url) as admin:
        admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {auditor}")
    url = postgres_url.replace("postgres@", f"{auditor}@")
    for verb in READERS:
        said = recovery(*verb, "--database", url)
        assert said.exit_code == 0, said.stderr
        if verb != ["clock"]:
            assert said.stdout == recovery(*verb, "--database", file).stdout
    said = recovery("forget", "K-1", "--ground", "asked", "--database", url)
    assert said.exit_code in (2, 75)
    assert listed("--customer", "K-1", "--database", url) == ["r-01", "r-03"]


# --- help and completion ---


@pytest.mark.parametrize("verb", log_group.VERBS)
def test_every_verb_has_help_with_an_example_and_json(verb: str) -> None:
    said = recovery(verb, "--help")
    assert said.exit_code == 0
    assert f"recovery log {verb}" in said.stdout.split("Examples:")[1]
    assert "--json" in said.stdout


def test_the_help_of_the_group_lists_every_verb() -> None:
    said = recovery("--help").stdout
    assert all(verb in said for verb in log_group.VERBS)


@pytest.mark.parametrize("args", [["log", "--help"], ["db", "--help"], ["log", "verfy"]])
def test_the_help_of_a_group_imports_nothing_of_the_library(args: list[str]) -> None:
    code = f"""if True:
        import sys
        from recovery_cli.main import main
        sys.argv = ["recovery", *{args!r}]
        try:
            main()
        except SystemExit:
            heavy = {{"recovery_engine", "sqlalchemy", "sqlmodel", "pydantic", "yaml"}}
            print(sorted(heavy & set(sys.modules)), file=sys.stderr)
    """
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    assert ended.stderr.splitlines()[-1].strip() == b"[]"


def test_an_unknown_verb_has_a_nearest_one() -> None:
    said = recovery("verfy")
    assert said.exit_code == 2
    assert "did you mean `verify`?" in said.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("recovery log ve", "verify"),
        ("recovery log list --out", "--outcome"),
        ("recovery log list --outcome es", "escalate"),
        ("recovery log list --status la", "lapsed"),
        ("recovery db st", "status"),
        ("recovery fulf", "fulfil"),
        ("recovery request --policies hot", "hotel"),
        ("recovery request --policies hotel --role f", "front_desk"),
        ("recovery request --policies hotel --fact kn", "knows_guest="),
    ],
)
def test_the_shell_completes_verbs_options_and_words(words: str, expected: str) -> None:
    env = {"_RECOVERY_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    said = CliRunner().invoke(cli, [], prog_name="recovery", env=env, complete_var="_RECOVERY_COMPLETE")
    assert expected in said.stdout


def test_the_words_that_are_completed_are_those_of_every_log() -> None:
    assert filtering.FIXED == _FIXED
