"""Money: what is an amount, what is not and what to write instead, and how an amount is shown."""

import doctest
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_engine import InvalidRequest, Money, money
from recovery_engine.money import (
    CURRENCIES,
    MAX_MINOR,
    NotAnAmount,
    decimal_text,
    digits_of,
    format_minor,
    parse_amount,
)

any_currency = st.sampled_from(sorted(CURRENCIES))
any_minor = st.integers(0, MAX_MINOR)


def cure(text: str, currency: str = "USD") -> str:
    """What to write instead; the text must be refused."""
    with pytest.raises(NotAnAmount) as refused:
        parse_amount(text, currency)
    assert "\n" not in str(refused.value).replace(text, "")
    return refused.value.help


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("100", "USD", 10000),
        ("100.5", "USD", 10050),
        ("100.50", "USD", 10050),
        ("$100", "USD", 10000),
        ("$ 100", "USD", 10000),
        ("1,000.00", "USD", 100000),
        ("$1,234,567.8", "USD", 123456780),
        ("USD 100", "USD", 10000),
        ("100 USD", "USD", 10000),
        ("100USD", "USD", 10000),
        (" 100 ", "USD", 10000),
        ("0", "USD", 0),
        ("0.00", "USD", 0),
        ("0.01", "USD", 1),
        ("¥1,000", "JPY", 1000),
        ("1.234", "KWD", 1234),
        ("1.2", "KWD", 1200),
        ("1.2345", "CLF", 12345),
        ("£5", "GBP", 500),
        ("€5.50", "EUR", 550),
        ("CA$5", "CAD", 500),
        ("$5", "CAD", 500),
        ("90071992547409.91", "USD", MAX_MINOR),
        ("9007199254740991", "JPY", MAX_MINOR),
    ],
)
def test_an_amount_is_read_exactly(text: str, currency: str, minor: int) -> None:
    assert parse_amount(text, currency) == minor
    assert Money.of(text, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("1e3", "1000"),
        ("1E+3", "1000"),
        ("1_000", "1000"),
        ("1 000", "1000"),
        ("1'000", "1000"),
        ("100.005", "100.00"),
        ("1,000.005", "1000.00"),
        ("1.000,00", "1000.00"),
        ("1.000.000,00", "1000000.00"),
        ("1,5", "1.5"),
        ("12,34", "12.34"),
        ("٣٠٠", "300"),  # Arabic-Indic digits
        ("\uff11\uff10\uff10", "100"),  # full-width digits
        ("0100", "100"),
        ("007", "7"),
        ("00", "0"),
        ("100.", "100"),
        (".50", "0.50"),
    ],
)
def test_what_is_nearly_an_amount_is_refused_with_the_amount(text: str, instead: str) -> None:
    assert cure(text) == f"write `{instead}`"
    assert parse_amount(instead, "USD") >= 0


@pytest.mark.parametrize("text", ["-5", "-0", "-$5", "$-5", "\u22125", "-.inf", "USD -5"])
def test_no_amount_is_negative(text: str) -> None:
    assert cure(text) == "an amount is never negative"


@pytest.mark.parametrize(
    "text",
    [
        *(".inf", "inf", "Infinity", ".nan", "NaN", "yes", "no", "true", "on", "null", "~", "", " ", "$", "USD", "abc"),
        *("1:30", "190:20:30", "0x10", "0o17", "0b1", "1/2", "½", "²", "(5)", "+5", "1k", "5.-", "100,-", "1e-3"),
        *("1,0000", "1000,00", "10,00,000", "100.00.00", "$$5", "$100 USD", "5 USD USD", "A$5", "usd 5", "5 dollars"),
        *("1\n", "\t1", "1\u200b", "1\u00a0000", "1e99", "1e999999999", "100\u066b50"),
    ],
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    assert cure(text) == "write an amount of USD such as `100` or `100.50`"


@pytest.mark.parametrize(
    ("text", "currency", "instead"),
    [
        ("100.5", "JPY", "100"),
        ("100.0", "JPY", "100"),
        ("1.2345", "KWD", "1.234"),
        ("1.23456", "CLF", "1.2345"),
        ("1.005", "EUR", "1.00"),
        ("100.", "JPY", "100"),
    ],
)
def test_a_currency_has_its_own_number_of_decimals(text: str, currency: str, instead: str) -> None:
    assert cure(text, currency) == f"write `{instead}`"


def test_the_example_of_an_amount_fits_the_currency() -> None:
    assert cure("some", "JPY") == "write whole JPY such as `100`"
    assert cure("some", "KWD") == "write an amount of KWD such as `100` or `100.50`"


@pytest.mark.parametrize("text", ["EUR 100", "100 EUR", "NZD 5", "5 CHF"])
def test_the_code_of_another_currency_is_named(text: str) -> None:
    with pytest.raises(NotAnAmount, match=f"is in {re.findall('[A-Z]{3}', text)[0]}"):
        parse_amount(text, "USD")
    assert cure(text) == "amounts here are in USD"


@pytest.mark.parametrize(
    ("text", "currency"), [("€5", "USD"), ("£5", "USD"), ("¥5", "USD"), ("$5", "EUR"), ("$5", "GBP")]
)
def test_the_sign_of_another_currency_is_refused(text: str, currency: str) -> None:
    assert cure(text, currency)


@pytest.mark.parametrize("text", ["90071992547409.92", str(2**53), str(2**63), str(2**64), "9" * 5000])
def test_the_largest_amount_is_the_last_one_json_holds_exactly(text: str) -> None:
    assert cure(text) == "at most $90,071,992,547,409.91"


@given(st.text(alphabet="0123456789.,_ e+-$€'USDJPY٣\uff13", max_size=20), st.sampled_from(["USD", "JPY", "KWD"]))
def test_a_cure_is_itself_an_amount(text: str, currency: str) -> None:
    try:
        minor = parse_amount(text, currency)
    except NotAnAmount as refused:
        if instead := re.fullmatch(r"write `(.*)`", refused.help):
            assert parse_amount(instead[1], currency) >= 0
    else:
        assert 0 <= minor <= MAX_MINOR


@pytest.mark.parametrize("text", ["100,5", "1e15", "1,50", "1e99"])
def test_a_cure_is_itself_an_amount_in_yen_too(text: str) -> None:
    for currency in ("USD", "JPY"):
        if instead := re.fullmatch(r"write `(.*)`", cure(text, currency)):
            assert parse_amount(instead[1], currency) >= 0


# --- of objects -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "minor"), [("18.50", 1850), (18, 1800), (Decimal("18.5"), 1850), (Decimal("1E+3"), 100000), (0, 0)]
)
def test_money_is_made_of_text_whole_numbers_and_decimals(given: Any, minor: int) -> None:
    assert Money.of(given, "USD") == Money(minor, "USD")


@pytest.mark.parametrize("given", [18.5, 18.0, True, False, None, b"18", ["18"], 1 + 0j])
def test_money_is_never_made_of_a_float_or_anything_else(given: Any) -> None:
    with pytest.raises(InvalidRequest, match=f"not a {type(given).__name__}") as refused:
        Money.of(given, "USD")
    (problem,) = refused.value.diagnostics
    assert (problem.code, problem.where, problem.help) == ("RQ002", "amount", "quote it")


@pytest.mark.parametrize(
    "given", [-1, Decimal(-1), Decimal("1.005"), Decimal("NaN"), Decimal("Infinity"), 2**63, Decimal("1E+400"), "1e3"]
)
def test_money_is_not_made_of_what_is_not_an_amount(given: Any) -> None:
    with pytest.raises(InvalidRequest, match="amount: error RQ002"):
        Money.of(given, "USD")


@pytest.mark.parametrize("currency", ["FOO", "usd", "", "US", "DOLLAR"])
def test_money_is_not_made_of_an_unknown_currency(currency: str) -> None:
    with pytest.raises(InvalidRequest, match="currency"):
        Money.of("5", currency)


# --- shown ------------------------------------------------------------------------------------------------------------


@given(any_minor, any_currency)
def test_what_is_written_is_read_back(minor: int, currency: str) -> None:
    amount = Money(minor, currency)
    assert parse_amount(decimal_text(minor, currency), currency) == minor
    assert Money.of(amount.decimal, currency) == amount
    assert Money.of(str(amount).replace("\u00a0", " "), currency) == amount


@pytest.mark.parametrize(
    ("minor", "currency", "plain", "shown"),
    [
        (1850, "USD", "18.50", "$18.50"),
        (185000, "USD", "1850.00", "$1,850.00"),
        (0, "USD", "0.00", "$0.00"),
        (5, "USD", "0.05", "$0.05"),
        (-5, "USD", "-0.05", "-$0.05"),
        (123456789, "EUR", "1234567.89", "€1,234,567.89"),
        (1234567, "JPY", "1234567", "¥1,234,567"),
        (1234567, "KWD", "1234.567", "KWD 1,234.567"),
        (5, "CLF", "0.0005", "CLF 0.0005"),
        (500, "CHF", "5.00", "CHF 5.00"),
    ],
)
def test_an_amount_is_shown_to_people_and_to_machines(minor: int, currency: str, plain: str, shown: str) -> None:
    assert decimal_text(minor, currency) == plain
    assert format_minor(minor, currency) == shown
    assert str(Money(minor, currency)) == shown
    assert Money(minor, currency).decimal == plain


def test_amounts_of_one_currency_are_ordered() -> None:
    assert sorted([Money(2, "USD"), Money(1, "USD")]) == [Money(1, "USD"), Money(2, "USD")]


# --- ISO 4217 ---------------------------------------------------------------------------------------------------------

# List one of ISO 4217, column "minor unit", typed in from the standard and not from the code.
NO_DECIMALS = {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV"}
NO_DECIMALS |= {"XAF", "XOF", "XPF"}
THREE_DECIMALS = {"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"}
FOUR_DECIMALS = {"CLF", "UYW"}


def test_the_digits_of_every_currency_are_those_of_iso_4217() -> None:
    for currency in CURRENCIES:
        digits = {currency in NO_DECIMALS: 0, currency in THREE_DECIMALS: 3, currency in FOUR_DECIMALS: 4}
        assert digits_of(currency) == digits.get(True, 2), currency
    assert NO_DECIMALS | THREE_DECIMALS | FOUR_DECIMALS <= CURRENCIES


def test_where_cash_has_fewer_decimals_than_accounts_iso_4217_counts() -> None:
    for currency in ("HUF", "CZK", "COP", "IDR", "IRR", "LBP", "MGA", "MRU", "RSD", "TWD", "ALL", "AFN"):
        assert digits_of(currency) == 2


def test_withdrawn_and_invented_codes_are_not_currencies() -> None:
    assert not CURRENCIES & {"XXX", "XTS", "XAU", "XAG", "DEM", "FRF", "ITL", "HRK", "USB", "SLL", "VEF", "ZWL", "BTC"}
    assert all(re.fullmatch("[A-Z]{3}", currency) for currency in CURRENCIES)
    assert len(CURRENCIES) > 150


def test_the_examples_in_the_module_run() -> None:
    results = doctest.testmod(money)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize(("text", "currency"), [("$100", "EUR"), ("£5", "USD"), ("100€", "GBP"), ("¥500", "USD")])
def test_a_foreign_sign_is_said_to_be_one(text: str, currency: str) -> None:
    with pytest.raises(NotAnAmount, match=f"is not in {currency}"):
        parse_amount(text, currency)


@pytest.mark.parametrize(("text", "currency"), [("100€", "EUR"), ("100 €", "EUR"), ("$100", "CAD"), ("CA$100", "CAD")])
def test_a_sign_may_stand_before_or_after(text: str, currency: str) -> None:
    assert parse_amount(text, currency) == 10_000
