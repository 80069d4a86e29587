"""Which column `recovery decide` takes for which part of a request, and what it says about it."""

import csv
import io

import pytest
from click.testing import CliRunner, Result

from recovery_cli.main import cli


def frontline(stdin: str | bytes, *args: str) -> Result:
    return decide("--role", "frontline", *args, stdin=stdin)


def decide(*args: str, stdin: str | bytes) -> Result:
    return CliRunner().invoke(cli, ["decide", *args], input=stdin)


def outcomes(result: Result) -> list[str]:
    return [row["outcome"] for row in csv.DictReader(io.StringIO(result.stdout))]


# --- each row on its own ---

ALONE = "note: each row is decided on its own"


@pytest.mark.parametrize("column", ["case", "receipt", "customer", "employee"])
@pytest.mark.parametrize("given", ["amount,{}\n5,x\n6,x\n", '{{"amount": "5", "{}": "x"}}\n{{"amount": "6"}}\n'])
def test_what_other_rows_gave_does_not_count_and_it_says_so(column: str, given: str) -> None:
    assert frontline(given.format(column)).stderr.count(ALONE) == 1


def test_budgets_do_not_count_across_rows_and_it_says_so() -> None:
    given = ("--policy", "restaurant", "--role", "associate", "--remedy", "voucher", "--category", "delay")
    assert decide(*given, stdin="amount\n5\n").stderr.count(ALONE) == 1


def test_rows_that_nothing_connects_have_no_such_note() -> None:
    assert ALONE not in frontline("amount\n5\n").stderr
    assert ALONE not in frontline('case,amount,on_case\nC1,5,"{""refund"": 60}"\n').stderr


# --- names of columns ---


@pytest.mark.parametrize("given", ["Amount,Occurred_On\n120,\n", '{"Amount": "120", "Occurred_On": null}\n'])
def test_capitals_in_a_column_name_do_not_matter(given: str) -> None:
    said = frontline(given, "--to", "csv")
    assert outcomes(said) == ["escalate"]
    assert said.stderr.count("amount is read from the column `Amount`") == 1


def test_the_column_of_the_very_name_wins() -> None:
    assert outcomes(frontline("AMOUNT,amount\n900,5\n")) == ["approve"]


def test_everything_that_is_missing_is_named_at_once_with_a_cure() -> None:
    said = decide("--policy", "hotel", stdin="refund_amount,Roles,x\n5,a,b\n")
    assert said.exit_code == 2
    for part in (
        "no column gives the amount, the role and the remedy",
        "did you mean the column `refund_amount`? --map amount=refund_amount",
        "did you mean the column `Roles`? --map role=Roles",
        "--map remedy=COLUMN",
        "--set remedy=refund",
    ):
        assert part in said.stderr


def test_a_mapped_column_that_is_not_there_has_a_nearest_one() -> None:
    said = frontline("Refund Total\n5\n", "--map", "amount=refund_total")
    assert "did you mean `Refund Total`?" in said.stderr


# --- European files ---


def test_amounts_with_a_decimal_comma() -> None:
    given = "amount;bill\n1.234,50;2.000\n120,50;\n99;\n1 000,00;\n"
    said = frontline(given, "--decimal-comma", "--to", "jsonl")
    assert said.exit_code == 0
    assert [line.split('"outcome": ')[1].split(",")[0] for line in said.stdout.splitlines()] == [
        '"deny"', '"escalate"', '"approve"', '"deny"',
    ]  # fmt: skip
    assert '"amount": "1.234,50"' in said.stdout


@pytest.mark.parametrize("amount", ["120.50", "1,234.50", "1.23", "12.34,5", "5,,0"])
def test_an_amount_that_can_be_read_in_two_ways_is_not_read(amount: str) -> None:
    said = frontline(f"amount;x\n{amount};\n", "--decimal-comma")
    assert said.exit_code == 1
    assert "decimal comma" in said.stderr


def test_json_has_no_decimal_comma() -> None:
    assert frontline('{"amount": 5.5}\n', "--decimal-comma").exit_code == 2


def test_another_encoding_is_read_when_it_is_named() -> None:
    given = "amount,note\n5,été\n".encode("cp1252")
    assert "--encoding cp1252" in frontline(given).stderr
    said = frontline(given, "--encoding", "cp1252")
    assert said.exit_code == 0
    assert "été" in said.stdout


@pytest.mark.parametrize("encoding", ["no-such", "utf-16", "rot13"])
def test_an_encoding_that_cannot_be_read_is_refused(encoding: str) -> None:
    said = frontline("amount\n5\n", "--encoding", encoding)
    assert said.exit_code == 2
    assert "UTF-8" in said.stderr
