"""`recovery decide`: a stream of requests in, the same rows with their answers out, and what they come to."""

import csv
import io
import json
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recovery_cli.commands.decide import BetweenRows
from recovery_cli.main import cli
from recovery_cli.rows import Row
from recovery_engine import shipped_policies

RETAIL = shipped_policies()["classic"].parent / "demo/retail_refunds.csv"
ANSWER = ["outcome", "to", "second", "because", "needs", "grantable_now", "due", "short_by", "tell_customer"]


def decide(*args: str | Path, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(cli, ["decide", *map(str, args)], input=stdin)


def frontline(stdin: str | bytes, *args: str) -> Result:
    return decide("--role", "frontline", *args, stdin=stdin)


def rows(result: Result, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(result.stdout), delimiter=delimiter))


def outcomes(result: Result) -> list[str]:
    return [row["outcome"] for row in rows(result)]


# --- what they come to ---


def test_402_real_refunds_under_the_classic_limits() -> None:
    said = decide(RETAIL, "--policy", "classic", "--role", "frontline", "--summary-only", "--json")
    summary = json.loads(said.stdout)
    assert said.exit_code == 0
    assert (summary["requests"], summary["amount"], summary["currency"]) == (402, "512706.88", "USD")
    counted = {(answer["outcome"], answer["to"]): answer["requests"] for answer in summary["answers"]}
    assert counted == {
        ("approve", None): 24,
        ("escalate", "supervisor"): 56,
        ("escalate", "manager"): 66,
        ("deny", None): 256,
    }


def test_every_real_refund_goes_to_the_role_that_was_worked_out_by_hand() -> None:
    expected = {"frontline": ("approve", ""), "above_all": ("deny", "")}
    for row in rows(decide(RETAIL, "--role", "frontline")):
        lowest = row["lowest_role_100_250_500"]
        assert (row["outcome"], row["to"]) == expected.get(lowest, ("escalate", lowest))


def test_the_summary_is_on_stderr_and_names_what_happened_in_words() -> None:
    said = decide(RETAIL, "--role", "frontline")
    for words in ("settled on the spot", "to the supervisor", "to the manager", "above everybody", "$512,706.88"):
        assert words in said.stderr
        assert words not in said.stdout


def test_sums_are_exact_where_floats_would_not_be() -> None:
    said = frontline("amount\n" + "0.10\n" * 1000 + "0.20\n" * 1000, "--summary-only", "--json")
    assert json.loads(said.stdout)["amount"] == "300.00"


def test_a_summary_alone_goes_to_stdout() -> None:
    said = frontline("amount\n5\n", "--summary-only")
    assert "settled on the spot" in said.stdout
    assert "settled" not in said.stderr


# --- columns ---


def test_input_columns_come_first_and_unchanged() -> None:
    said = frontline('ticket,amount,note\n" 7 ",120,"a, ""b"""\n')
    [row] = rows(said)
    assert list(row) == ["ticket", "amount", "note", *ANSWER]
    assert (row["ticket"], row["note"]) == (" 7 ", 'a, "b"')
    assert (row["outcome"], row["to"]) == ("escalate", "supervisor")
    assert (row["short_by"], row["grantable_now"]) == ("20.00", "100.00")


def test_a_column_named_for_the_currency_is_the_amount() -> None:
    said = frontline("amount_USD\n120\n")
    assert outcomes(said) == ["escalate"]
    assert "amount is read from the column `amount_USD`" in said.stderr


def test_an_amount_column_wins_over_one_named_for_the_currency() -> None:
    assert outcomes(frontline("amount_usd,amount\n900,5\n")) == ["approve"]


def test_amounts_in_another_currency_are_not_taken_for_the_policys() -> None:
    said = frontline("amount_eur\n5\n")
    assert said.exit_code == 2
    assert "amounts are in USD" in said.stderr


def test_a_column_is_mapped_by_name() -> None:
    said = frontline("total,amount\n5,900\n", "--map", "amount=total")
    assert outcomes(said) == ["approve"]


def test_a_field_may_be_read_from_no_column() -> None:
    given = "amount,currency\n5,dollars\n"
    assert outcomes(frontline(given)) == ["invalid"]
    assert outcomes(frontline(given, "--map", "currency=")) == ["approve"]


def test_a_constant_wins_over_a_column_and_says_so() -> None:
    said = frontline("role,amount\nmanager,120\n")
    assert rows(said)[0]["to"] == "supervisor"
    assert "the column `role` is not read" in said.stderr


def test_constants_take_facts_too() -> None:
    given = ("--policy", "restaurant", "--remedy", "voucher", "--category", "delay")
    constants = ("--set", "role=associate", "--set", "staff_meal=true")
    assert outcomes(decide(*given, *constants, stdin="amount\n5\n")) == ["deny"]


def test_a_fact_is_read_from_its_column() -> None:
    given = ("--policy", "restaurant", "--role", "associate", "--remedy", "voucher", "--category", "delay")
    assert outcomes(decide(*given, stdin="amount,staff_meal\n5,true\n5,false\n")) == ["deny", "approve"]


def test_columns_that_are_not_read_are_named_with_what_may_have_been_meant() -> None:
    said = frontline("amount,shop,ocurred_on\n5,x,y\n")
    assert "passed through without being read: shop, ocurred_on" in said.stderr
    assert "did you mean `occurred_on`" in said.stderr
    assert "--map occurred_on=ocurred_on" in said.stderr


def test_a_row_may_bring_what_its_case_already_had() -> None:
    said = frontline('amount,on_case\n60,\n60,"{""refund"": 60.00}"\n60,lots\n')
    assert outcomes(said) == ["approve", "escalate", "invalid"]


def test_rows_are_decided_each_on_its_own() -> None:
    said = frontline("case,amount\nC1,60\nC1,60\n")
    assert outcomes(said) == ["approve", "approve"]


def test_an_input_column_with_the_name_of_an_answer_is_kept_under_another() -> None:
    [row] = rows(frontline("amount,outcome\n5,sad\n"))
    assert (row["input_outcome"], row["outcome"]) == ("sad", "approve")
    [row] = [json.loads(line) for line in frontline('{"amount": 5.00, "outcome": 1.50}\n').stdout.splitlines()]
    assert (row["input_outcome"], row["outcome"], row["amount"]) == (1.5, "approve", 5.0)


# --- rows that are wrong ---


def test_a_bad_row_is_reported_with_its_line_and_every_problem_and_does_not_stop_the_run() -> None:
    given = "role,amount\nfrontline,5\nfrontlin,1e3\nfrontline,7\n"
    said = decide(stdin=given)
    assert said.exit_code == 1
    assert outcomes(said) == ["approve", "invalid", "approve"]
    assert "stdin:3:" in said.stderr
    assert "did you mean `frontline`?" in said.stderr
    assert "write `1000`" in said.stderr
    because = rows(said)[1]["because"]
    assert "frontlin" in because
    assert "1e3" in because


def test_lines_are_counted_through_line_breaks_in_cells_and_blank_lines() -> None:
    said = frontline('amount,note\n5,"one\ntwo"\n\nx,\n')
    assert "stdin:5:" in said.stderr


@pytest.mark.parametrize("row", ["5", "5,a,b", '"5,a', '"5"x,a'])
def test_a_row_that_is_no_row_is_invalid(row: str) -> None:
    said = frontline(f"amount,note\n7,x\n{row}\n")
    assert said.exit_code == 1
    assert outcomes(said) == ["approve", "invalid"]
    assert "stdin:3:" in said.stderr


@pytest.mark.parametrize(
    "line", ["[1]", "{", "null", '{"amount": }', "[" * 50_000, '{"amount": NaN}', '{"amount": true}']
)
def test_a_line_that_is_no_request_is_invalid(line: str) -> None:
    said = frontline('{"amount": "5"}\n' + line + '\n{"amount": 7}\n')
    assert said.exit_code == 1
    assert [json.loads(line)["outcome"] for line in said.stdout.splitlines()] == ["approve", "invalid", "approve"]
    assert "stdin:2:" in said.stderr


def test_only_so_many_bad_rows_are_shown_and_the_rest_are_counted() -> None:
    said = frontline("amount\n" + "x\n" * 30, "--max-problems", "3")
    assert said.stderr.count("stdin:") == 3
    assert "27 more invalid rows" in said.stderr
    assert len(rows(said)) == 30


# --- input that cannot be used at all ---


@pytest.mark.parametrize(
    ("given", "cure"),
    [
        ("", "names its columns"),
        ("\n\n", "names its columns"),
        ("amount,amount\n5,5\n", "rename one"),
        ("price\n5\n", "--map amount=COLUMN"),
        (b"amount,note\n5,\xe9t\xe9\n", "CSV UTF-8"),
        (b"\xff\xfea\x00", "CSV UTF-8"),
        ('"amount\n5\n', "names the columns"),
        (b"amount\n" + b"5" * 4_000_001 + b"\n", "CSV or JSONL"),
    ],
)
def test_input_that_is_wholly_unusable_is_refused_with_the_cure(given: str | bytes, cure: str) -> None:
    said = frontline(given)
    assert said.exit_code == 2
    assert cure in said.stderr


@pytest.mark.parametrize(
    ("flags", "cure"),
    [
        (["--map", "amuont=x"], "did you mean `amount`?"),
        (["--map", "bill=amoun"], "did you mean `amount`?"),
        (["--set", "rolle=x"], "did you mean `role`?"),
        (["--set", "severity="], None),
        (["--basis", "owe"], "did you mean `owed`?"),
        (["--policy", "clasic"], "did you mean `classic`?"),
    ],
)
def test_flags_that_would_spoil_every_row_are_refused_once(flags: list[str], cure: str | None) -> None:
    said = frontline("amount\n5\n6\n", *flags)
    assert said.exit_code == (0 if cure is None else 2)
    assert cure is None or said.stderr.count(cure) == 1


def test_who_asks_must_be_known() -> None:
    said = decide(stdin="amount\n5\n")
    assert said.exit_code == 2
    assert "--role frontline" in said.stderr


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    said = decide(tmp_path / "gone.csv", "--role", "frontline")
    assert said.exit_code == 2
    assert "gone.csv: no such file" in said.stderr


# --- formats ---


def test_json_rows_pass_through_as_the_very_text_they_came_as() -> None:
    given = '{"amount": 18.50, "x": [1.10, "é"], "big": 123456789012345678901234567890}'
    line = frontline(given + "\n").stdout.rstrip("\n")
    assert line.startswith(given[:-1] + ", ")
    assert json.loads(line)["outcome"] == "approve"


def test_an_empty_object_is_a_row_too() -> None:
    [line] = frontline("{}\n", "--set", "amount=5").stdout.splitlines()
    assert json.loads(line)["outcome"] == "approve"


def test_csv_becomes_jsonl_and_jsonl_becomes_csv() -> None:
    as_json = frontline("amount,shop\n5,x\n", "--to", "jsonl")
    row = json.loads(as_json.stdout)
    assert (row["shop"], row["outcome"], row["because"]) == ("x", "approve", ["authority-1"])
    as_csv = frontline('{"amount": 5.10, "vip": true}\n{"amount": 6, "late": 1}\n', "--to", "csv")
    assert [(row["amount"], row["vip"]) for row in rows(as_csv)] == [("5.10", "true"), ("6", "")]
    assert "`late` is left out" in as_csv.stderr


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_the_delimiter_of_a_spreadsheet_is_found_and_kept(delimiter: str) -> None:
    said = frontline(f"amount{delimiter}shop\n5{delimiter}a,b\n")
    [row] = rows(said, delimiter)
    assert (row["shop"], row["outcome"]) == ("a,b", "approve")


def test_the_mark_that_excel_puts_first_is_no_part_of_the_first_column() -> None:
    assert outcomes(frontline(b"\xef\xbb\xbfamount\r\n5\r\n")) == ["approve"]


def test_the_format_follows_the_name_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text('\n{"amount": "5"}\n')
    said = decide(path, "--role", "frontline")
    assert json.loads(said.stdout)["outcome"] == "approve"


def test_half_a_character_in_json_does_not_stop_the_run() -> None:
    given = '{"amount": "5", "shop": "\\ud800"}\n{"amount": "\\ud800"}\n{"amount": "7"}\n'
    for flags in ((), ("--to", "csv")):
        said = frontline(given, *flags)
        assert said.exit_code == 1
        assert len(said.stdout.splitlines()) == 3 + len(flags) // 2


# --- files ---


def test_a_file_gets_its_name_when_it_is_complete(tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    said = decide(RETAIL, "--role", "frontline", "--output", output)
    assert said.stdout == ""
    assert len(output.read_text().splitlines()) == 403
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_run_that_fails_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    output.write_text("precious\n")
    said = frontline(b"amount\n5\n\xff\n", "--output", str(output))
    assert said.exit_code == 2
    assert output.read_text() == "precious\n"


def test_an_output_that_cannot_be_opened_is_refused_before_anything_is_decided(tmp_path: Path) -> None:
    said = frontline("amount\n5\n", "--output", str(tmp_path / "no/where.csv"))
    assert said.exit_code == 2
    assert "cannot write" in said.stderr


# --- what cannot happen half ---


def test_ctrl_c_lets_the_row_in_hand_be_finished() -> None:
    between = BetweenRows()
    try:
        rows_in_hand = between.each([Row(1, {}), Row(2, {})])
        assert next(rows_in_hand).line == 1
        signal.raise_signal(signal.SIGINT)  # while the first row is in hand: nothing happens to it
        with pytest.raises(KeyboardInterrupt):
            next(rows_in_hand)
    finally:
        between.over()


def test_ctrl_c_twice_does_not_wait() -> None:
    between = BetweenRows()
    try:
        next(between.each([Row(1, {})]))
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        between.over()


@pytest.mark.parametrize("verb", [["decide"], ["what-if", "--amount", "5", "--json-file", "-"]])
def test_names_from_outside_cannot_steer_the_terminal(verb: list[str]) -> None:
    given = json.dumps({"role": "frontline", "amount": "5", "\x1b[31mred": 1}) + "\n"
    said = CliRunner().invoke(cli, verb, input=given)
    assert "red" in said.stderr
    assert "\x1b" not in said.stderr
