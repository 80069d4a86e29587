"""What no text may hold: card numbers, security codes, PINs; and which notes are ordinary."""

import doctest
import hashlib
import os
import random
import re
import sys
import unicodedata
import uuid
from itertools import pairwise

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from recovery_engine import forbidden as module
from recovery_engine.forbidden import CARD_NUMBER, PIN, SECURITY_CODE, forbidden

pytestmark = pytest.mark.slow

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))
often = settings(max_examples=300 * SCALE, deadline=None)

# Numbers that card networks and payment processors publish for testing.
PUBLISHED = """
    4111111111111111 4012888888881881 4242424242424242 4000056655665556 4222222222222 4917610000000000003
    5555555555554444 5105105105105100 2223003122003222 5200828282828210
    378282246310005 371449635398431 378734493671000
    6011111111111117 6011000990139424
    30569309025904 38520000023237 36227206271667
    3530111333300000 3566002020360505
    6200000000000005 6205500000000000004
    6759649826438453 6771798021000008 6304000000000000
""".split()
SIZES = [(19,), (4, 4, 4, 4, 3), (4, 6, 5), (4, 6, 4), (8, 8, 3), (6, 13), (5, 5, 5, 4), (2,) * 10, (1,) * 19]
GAPS = [
    *(" ", "  ", "\t", "\u00a0", "\u2009", "\u202f", "\u2007", "\u3000"),
    *("-", " - ", "- ", "\u2010", "\u2011", "\u2012", "\u2013", "\u2014", " \u2014 ", "\u2212", "\uff0d", "\u30fc"),
    *(".", "/", "\\", "|", "_", "\u00b7", "\uff0f", "\uff0e", "\u200b", "\u00ad", "\ufeff", "\u200b \u200b"),
]
AROUND = [
    *("", "card ", "R", "no.", "(", "x", "#", "éé", "paid 64.00, ", "2026-11-21 ", "7 ", "12/29 ", "999-", "0001 "),
    *("1.", "123456789012345678901 ", "a:", "CVV 12, ", "4\n", "line\n"),
]
AFTER = ["", " ", "R", " 12/29", "/123", ")", ".", ", thanks", " 64.00", "-000123", " 2026-11-21", ":4", "\n4111", "é"]


def luhn_sum(digits: str) -> int:
    """The sum of the Luhn check as the standard tells it, one digit after the other."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value if value < 10 else value - 9
    return total


def with_check_digit(digits: str) -> str:
    return next(digits + last for last in "0123456789" if luhn_sum(digits + last) % 10 == 0)


def grouped(digits: str, sizes: tuple[int, ...], gap: str) -> str:
    groups, start = [], 0
    for size in sizes:
        groups.append(digits[start : start + size])
        start += size
    return gap.join(group for group in [*groups, digits[start:]] if group)


@st.composite
def card_numbers(draw: st.DrawFn) -> str:
    issuer = draw(st.sampled_from("4 51 55 2221 2720 34 37 36 38 300 6011 65 62 3528 50 67 1 9 8 7".split()))
    length = draw(st.integers(13, 19))
    rest = draw(st.text("0123456789", min_size=length - 1 - len(issuer), max_size=length - 1 - len(issuer)))
    return with_check_digit(issuer + rest)


@st.composite
def written(draw: st.DrawFn, digits: str) -> str:
    """The digits in groups of any sizes, with any gap at any border."""
    borders = draw(st.sets(st.integers(1, len(digits) - 1)))
    pieces = [digits[at] + (draw(st.sampled_from(GAPS)) if at + 1 in borders else "") for at in range(len(digits))]
    return "".join(pieces)


def begins_as_a_time(text: str) -> bool:
    """Whether a group among its first digits is a date or a Unix time, which no issuer's numbers have there."""
    plain = re.sub(r"\D+", " ", unicodedata.normalize("NFKD", text))
    return bool(re.match(r"(\d ?){0,5}\b(20\d\d \d\d \d\d\b|\d\d \d\d 20\d\d\b|20\d{6}|1[6-9]\d{11})", plain))


# --- card numbers ---


@pytest.mark.parametrize("number", PUBLISHED)
def test_every_published_test_number_is_found_in_every_grouping(number: str) -> None:
    assert luhn_sum(number) % 10 == 0
    for sizes in SIZES:
        for gap in GAPS:
            assert forbidden(grouped(number, sizes, gap)) == CARD_NUMBER, (sizes, gap)


@pytest.mark.parametrize("before", AROUND)
@pytest.mark.parametrize("after", AFTER)
def test_what_stands_around_a_card_number_does_not_hide_it(before: str, after: str) -> None:
    for number in ("4111 1111 1111 1111", "378282246310005"):
        text = f"{before}{number}{after}"
        assert forbidden(text) == CARD_NUMBER, text


def test_a_card_number_beside_a_date_or_an_expiry_is_found() -> None:
    assert forbidden("2026-11-21 4111 1111 1111 1111") == CARD_NUMBER
    assert forbidden("4111-1111-1111-1111 12/29") == CARD_NUMBER
    assert forbidden("R4111111111111111") == CARD_NUMBER
    assert forbidden("R4111111111111111A") == CARD_NUMBER
    assert forbidden("pos-7-4111111111111111-1") == CARD_NUMBER


@often
@given(st.data())
def test_any_card_number_is_found_in_any_grouping_with_anything_around_it(data: st.DataObject) -> None:
    text = data.draw(card_numbers().flatmap(written))
    assume(not begins_as_a_time(text))
    text = data.draw(st.sampled_from(AROUND)) + text + data.draw(st.sampled_from(AFTER))
    assert forbidden(text) == CARD_NUMBER


@often
@given(card_numbers(), st.text(), st.text("abcdefXYZ -:,\n"))
def test_a_card_number_is_found_in_any_text(number: str, before: str, after: str) -> None:
    assume(not begins_as_a_time(number))
    assert forbidden(f"{before}R{number}{after}") == CARD_NUMBER


def test_nineteen_digits_written_one_by_one_are_found() -> None:
    number = "4857607530847879386"  # no part of it passes the check
    assert forbidden(number) == CARD_NUMBER
    assert forbidden(" ".join(number)) == CARD_NUMBER


def test_any_decimal_digits_of_unicode_are_digits() -> None:
    zeros = [chr(code) for code in range(sys.maxunicode) if unicodedata.decimal(chr(code), None) == 0]
    assert len(zeros) > 50
    for zero in zeros:
        number = "".join(chr(ord(zero) + int(digit)) for digit in "4111111111111111")
        assert forbidden(number) == CARD_NUMBER, hex(ord(zero))
        assert forbidden(grouped(number, (4, 4, 4, 4), " ")) == CARD_NUMBER, hex(ord(zero))
        assert forbidden(f"PIN {number[:4]}") == PIN, hex(ord(zero))


def test_keycaps_circles_and_superscripts_are_digits() -> None:
    keycaps = "".join(f"{digit}\ufe0f\u20e3" for digit in "4111111111111111")
    superscripts = "4111111111111111".translate(str.maketrans("14", "\u00b9\u2074"))
    circles = "4111111111111111".translate(str.maketrans("14", "\u2460\u2463"))
    assert [forbidden(text) for text in (keycaps, superscripts, circles)] == [CARD_NUMBER] * 3


@pytest.mark.parametrize("category", ["Pd", "Zs"])
def test_every_dash_and_every_space_of_unicode_may_stand_between_groups(category: str) -> None:
    signs = [chr(code) for code in range(sys.maxunicode) if unicodedata.category(chr(code)) == category]
    assert len(signs) > 15
    for sign in signs:
        assert forbidden(grouped("4111111111111111", (4, 4, 4, 4), sign)) == CARD_NUMBER, hex(ord(sign))


LINE_ENDS = [
    "\n",
    "\r\n",
    "\r",
    "\n\n",
    "\u2028",
    "\u2029",
    "\x85",
    "\x0b",
    "\x0c",
    " \n\t",
    "\n-",
    "   ",
    " " * 40,
    "\u00a0" * 3,
]


@pytest.mark.parametrize("between", LINE_ENDS)
def test_a_card_number_over_several_lines_is_found(between: str) -> None:
    for number in ("4111111111111111", "378282246310005"):
        for sizes in ((4, 4, 4), (4, 6), (8,), (2,) * 8, (1,) * 15):
            assert forbidden(grouped(number, sizes, between)) == CARD_NUMBER, (number, sizes)
    first, second = "4111 1111", "1111-1111"
    for before, after in (
        ("card ", " 12/29"),
        ("7 ", " 64.00"),
        ("paid\n12.50\n", "\nthanks"),
        ("312 555 0142\n", "\n12"),
    ):
        assert forbidden(f"{before}{first}{between}{second}{after}") == CARD_NUMBER


def test_white_space_of_every_kind_is_seen_through() -> None:
    signs = [chr(code) for code in range(sys.maxunicode) if chr(code).isspace()]
    assert len(signs) > 25
    for sign in signs:
        assert forbidden(grouped("4111111111111111", (4, 4, 4), sign)) == CARD_NUMBER, hex(ord(sign))


@often
@given(card_numbers(), st.integers(0, 12), st.integers(1, 9))
def test_a_number_with_one_wrong_digit_is_no_card(number: str, at: int, by: int) -> None:
    wrong = number[:at] + str((int(number[at]) + by) % 10) + number[at + 1 :]
    assert forbidden(wrong) is None


@often
@given(st.text("0123456789 -./aB\u0661\u200b", max_size=200))
@example("1234 5678 9012")
@example("1 2 3 4 5 6 7 8 9 0 1 2")
def test_a_text_with_fewer_than_13_digits_is_never_a_card(text: str) -> None:
    digits = [at for at, char in enumerate(text) if char.isdecimal()]
    few = text if len(digits) < 13 else text[: digits[12]]
    assert forbidden(few) is None


def test_twelve_digits_are_no_card_even_when_they_pass_the_check() -> None:
    for number in range(100):
        assert forbidden(with_check_digit(f"4000000{number:04}")) is None


@often
@given(st.integers(20, 40), st.text("0123456789", min_size=40, max_size=40), st.sampled_from(PUBLISHED))
def test_an_unbroken_run_of_20_or_more_digits_is_no_card(length: int, digits: str, number: str) -> None:
    assert forbidden((number + digits)[:length]) is None
    assert forbidden(digits[:length] + number) is None


def test_zeros_are_no_card_number() -> None:
    for length in range(1, 40):
        assert forbidden("0" * length) is None
    assert forbidden("0000 0000 0000 0000") is None


def test_zeros_in_front_are_padding() -> None:
    assert forbidden("0000000000018") is None
    assert forbidden("pos-0000000000000018") is None
    assert forbidden("000" + "4111111111111111") == CARD_NUMBER


@often
@given(st.text(min_size=1), st.sampled_from(["4111111111111111", "cvv 123", "PIN 123456"]))
def test_the_reason_never_repeats_the_text(around: str, secret: str) -> None:
    reason = forbidden(f"{around} {secret}")
    assert reason in (CARD_NUMBER, SECURITY_CODE, PIN)
    assert not any(char.isdigit() for char in reason)


# --- ids and ordinary notes ---


def many_ids(form: str, count: int) -> list[str]:
    chance = random.Random(form)

    def digits(size: int) -> str:
        return "".join(chance.choices("0123456789", k=size))

    letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    makers = {
        "uuid": lambda: str(uuid.UUID(int=chance.getrandbits(128))),
        "uuid behind a prefix": lambda: f"till-7/{uuid.UUID(int=chance.getrandbits(128))}",
        "uuid in hex": lambda: uuid.UUID(int=chance.getrandbits(128)).hex,
        "object id": lambda: chance.randbytes(12).hex(),
        "sha-1": lambda: hashlib.sha1(chance.randbytes(8)).hexdigest(),
        "sha-256": lambda: hashlib.sha256(chance.randbytes(8)).hexdigest(),
        "token": lambda: "c_" + chance.randbytes(10).hex(),
        "ulid": lambda: "01" + "".join(chance.choices(letters, k=24)),
        "till and number": lambda: f"pos-{chance.randrange(1, 99)}-{digits(6)}",
        "site, day, number": lambda: f"S{digits(3)}-202{digits(1)}11{chance.randrange(10, 31)}-{digits(6)}",
        "dashed day": lambda: f"S{digits(3)}-202{digits(1)}-11-{chance.randrange(10, 31)}-{digits(6)}",
        "day and time": lambda: f"202{digits(1)}1121{digits(6)}",
        "unix milliseconds": lambda: f"till3-17{digits(11)}",
        "unix microseconds": lambda: f"17{digits(14)}",
        "time with zone": lambda: f"2026-11-{chance.randrange(10, 31)}T10:{digits(2)}:{digits(2)}.{digits(6)}Z",
        "five-digit site": lambda: f"1{digits(4)}-17{digits(11)}",
        "number and token": lambda: f"1{digits(6)}-{uuid.UUID(int=chance.getrandbits(128))}",
        "number and day": lambda: f"1{digits(9)} 2026-11-{chance.randrange(10, 31)}",
        "number and european day": lambda: f"1{digits(9)} {chance.randrange(10, 31)}.11.2026",
        "european day and number": lambda: f"{chance.randrange(10, 31)}/11/2026 {digits(6)}",
        "list": lambda: ",".join(digits(3) for _ in range(6)),
        "times": lambda: f"{digits(4)} 10:{digits(2)} {digits(4)} 11:{digits(2)} {digits(4)}",
        "iban": lambda: f"DE{digits(20)}",
    }
    return [makers[form]() for _ in range(count)]


@pytest.mark.parametrize(
    "form",
    [
        *("uuid", "uuid behind a prefix", "uuid in hex", "object id", "sha-1", "sha-256", "token", "ulid"),
        *("till and number", "site, day, number", "dashed day", "day and time", "unix milliseconds"),
        *("unix microseconds", "time with zone", "iban", "five-digit site", "number and token", "number and day"),
        *("number and european day", "european day and number", "list", "times"),
    ],
)
def test_ids_that_machines_make_are_never_refused(form: str) -> None:
    count = 20000 if form in ("uuid", "uuid in hex", "object id", "sha-256", "token") else 2000
    assert [text for text in many_ids(form, count * SCALE) if forbidden(text)] == []


def test_ids_that_would_read_as_a_card_if_they_were_not_ids() -> None:
    assert forbidden("c_ab4111111111111111cd") is None
    assert forbidden("c_ab4111111111111111cde") == CARD_NUMBER
    assert forbidden("ab41111111-1111-1111-abcdabcdabcd") == CARD_NUMBER
    assert forbidden("41111111-1111-1111-abcd-abcdabcdabcd") is None


def test_what_begins_with_a_date_is_no_card() -> None:
    for number in range(100):
        dated, no_date = (with_check_digit(f"{day}{number:07}") for day in ("20261121", "20261321"))
        assert forbidden(dated) is None
        assert forbidden(f"S001-{dated[:8]}-{dated[8:]}") is None
        assert forbidden(no_date) == CARD_NUMBER


def test_a_unix_time_has_13_or_16_digits() -> None:
    for size in range(13, 20):
        text = with_check_digit("179530190612345678"[: size - 1])
        assert forbidden(text) == (None if size in (13, 16) else CARD_NUMBER), text


def test_a_date_within_a_card_number_is_chance() -> None:
    assert forbidden("35660020 20360505") == CARD_NUMBER
    assert forbidden("3566-0020-20360505") == CARD_NUMBER
    assert forbidden("3566-0020-2036-05-05") == CARD_NUMBER
    assert forbidden(f"620000 {with_check_digit('620000' + '179530190612')[6:]}") == CARD_NUMBER


NOTES = """
The guest waited 50 minutes for a pizza; table 12 of 40, paid 64.00.
Call back at +1 312 555 0142 after 17:30
call 312-555-0142 / 312-555-0199
+49 30 901820, +44 20 7946 0958, 0044 20 7946 0958
order 100-2233445, booking ref X7K2PQ, confirmation 4471 9921 02
2026-11-21 10:30 to 2026-11-24 11:00, room 412
21.11.2026 10.30, Zimmer 412, 3 Nächte à 189,00 €
11/21/2026 flight UA1234 delayed 3 h 45 min, seat 12A
IBAN DE89370400440532013000
IBAN DE89 3704 0044 0532 0130 00
GB29 NWBK 6016 1331 9268 19
card ending 1111, auth 004471
**** **** **** 1111
411111******1111
12.50 + 13.75 + 20.00 = 46.25
rooms 101, 102, 103, 104, 105 and 106
EAN 4006381333931
invoice 2026/000123 of 2026-11-21
v2.11.0, build 20261121.4471
2 x 18.50, 1 x 7.25, total 44.25 USD
meter 00012345 kWh
the guest pinned 1234 posts and spins 1500 plates
pineapple 2000 g, spin 1234, Pinot 2019, pins 1200 pieces, opinion 4000
PIN pad 3 broken, PIN pad 1044 replaced
the PIN entry failed 3 times; order 1234
lost the PIN. 1234 Main Street
PIN letter posted on 2026-11-21; PIN changed 2026-11-21; CVC 2026-11-21
pine 2000 g, Pinto 1234, pines 1500, pinno 1234
security code asked for, none given; table 123
chip and PIN, 64.00
case CID-4471 and case CSC_1234
acid 1234, decid 123, cvxv 123
CVV mismatch at till 104
gate code 4471, promo code 1234
SMS verification 123456
security code 123456 sent by SMS
"""


@pytest.mark.parametrize("note", NOTES.strip().splitlines())
def test_ordinary_notes_are_not_refused(note: str) -> None:
    assert forbidden(note) is None


def test_two_telephone_numbers_are_not_one_card() -> None:
    chance = random.Random(1)
    phones = [f"312 555 {chance.randrange(10000):04}" for _ in range(500)]
    for between in (" / ", "\n", "    ", ", ", "; ", " or "):
        assert not any(forbidden(between.join(pair)) for pair in pairwise(phones))


def test_lists_of_short_numbers_are_not_one_card() -> None:
    chance = random.Random(2)
    for size in (20, 500):
        phones = [f"030 {chance.randrange(10**6):06}" for _ in range(size)]
        prices = [f"{number} x {chance.randrange(100)}.{chance.randrange(100):02}" for number in range(size)]
        days = [f"2026-11-{chance.randrange(10, 31)} 10:30" for _ in range(size)]
        rooms = [f"{chance.randrange(1000)}, {chance.randrange(1000)}" for _ in range(size)]
        for lines in (phones, prices, days, rooms):
            assert forbidden("\n".join(lines)) is None


# --- codes ---


@pytest.mark.parametrize(
    "text",
    [
        *("CVV 123", "cvv: 123", "CVV=1234", "cvv123", "CVV2 123", "CVV2: 1234", "cvc 999", "CVC2 999", "CVN 123"),
        *("CID 1234", "CID: 1234", "CSC 123", "csc=123", "security code 123", "Security code is 123", "(CVV) 123"),
        *("CVV (on the back) 123", "cvv on the back of the card: 123", "CVV code is 123", "the CVV was '123'"),
        *("cvv 1 2 3", "CVV #123", "my_cvv=123", "cvv_code: 123", "CVV\n123", "card verification value 123"),
        *("Prüfnummer 123", "Kartenprüfnummer: 123", "Kreditkartenpruefnummer 123", "Sicherheitscode lautet 123"),
        *("cryptogramme visuel : 123", "code de sécurité 123", "código de seguridad 123", "código de segurança: 123"),
        *(
            "codice di sicurezza 123",
            "beveiligingscode 123",
            "\uff23\uff36\uff36 \uff11\uff12\uff13",
            "CVV\u00a0123",
            "CVV 123, exp 12/29",
        ),
    ],
)
def test_a_security_code_is_found(text: str) -> None:
    assert forbidden(text) == SECURITY_CODE
    assert forbidden(f"Paid at table 12. {text} and left") == SECURITY_CODE


@pytest.mark.parametrize(
    "text",
    [
        *("PIN 1234", "pin: 1234", "pin code is 1234", "PIN=1234", "PIN1234", "pin#1234", "PIN (1234)", "PIN no. 1234"),
        *(
            'my pin is "1234"',
            "PIN - 1234",
            "PIN number: 123456",
            "PIN-1234",
            "my_pin=1234",
            "pincode 1234",
            "PIN20261121",
        ),
        *(
            "PIN changed to 1234",
            "PIN 123456789012",
            "PIN 12 34",
            "pin 1-2-3-4",
            "PIN\n1234",
            "PIN\u200b1234",
            "PIN20261121",
        ),
        *("PİN 1234", "Die PIN lautet 1234", "Geheimzahl 1234", "code secret : 1234", "code confidentiel est 1234"),
        *("clave secreta 1234", "PIN número 1234", "PIN nº 1234", "codice segreto è 1234", "PIN-Code: 1234"),
    ],
)
def test_a_pin_is_found(text: str) -> None:
    assert forbidden(text) == PIN
    assert forbidden(f"Paid at table 12; {text}, left") == PIN


def test_codes_have_their_lengths() -> None:
    found = {size: (forbidden(f"CVV {'1' * size}"), forbidden(f"PIN {'1' * size}")) for size in range(1, 15)}
    assert [size for size, (cvv, _) in found.items() if cvv == SECURITY_CODE] == [3, 4]
    assert [size for size, (_, pin) in found.items() if pin == PIN] == list(range(4, 13))


def test_the_word_must_stand_alone() -> None:
    for word in ("spin", "xpin", "9pin", "épin"):
        assert forbidden(f"{word} 1234") is None
    assert forbidden("spin 12, pin 1234") == PIN


def test_a_card_number_is_named_before_its_code() -> None:
    assert forbidden("4111 1111 1111 1111, CVV 123") == CARD_NUMBER


def test_an_empty_text_is_allowed() -> None:
    assert forbidden("") is None


def test_the_examples_in_the_docstrings_run() -> None:
    assert doctest.testmod(module).failed == 0
