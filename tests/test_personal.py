"""Commitments of personal fields: one salt and value open one, nothing else does; and tokens for customers."""

import doctest
import hashlib
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_engine.forbidden import forbidden
from recovery_engine.log import personal
from recovery_engine.log.personal import PERSONAL_FIELDS, commitment, new_token, opens

SALT = bytes(range(32))
salts = st.binary(min_size=32, max_size=32)


def test_a_commitment_is_the_sha_256_of_salt_and_value() -> None:
    assert commitment(SALT, "Ana") == hashlib.sha256(SALT + b"Ana").hexdigest()
    assert commitment(bytes(32), "") == "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
    assert commitment(SALT, "José") == hashlib.sha256(SALT + b"Jos\xc3\xa9").hexdigest()


@given(salts, st.text())
def test_salt_and_value_open_their_commitment(salt: bytes, value: str) -> None:
    made = commitment(salt, value)
    assert re.fullmatch("[0-9a-f]{64}", made)
    assert opens(made, salt, value)


@given(salts, st.text())
def test_two_ways_to_write_the_same_letters_are_one_value(salt: bytes, value: str) -> None:
    composed, decomposed = (unicodedata.normalize(form, value) for form in ("NFC", "NFD"))
    assert commitment(salt, composed) == commitment(salt, decomposed) == commitment(salt, value)


def test_compatible_letters_are_not_one_value() -> None:
    assert commitment(SALT, "\ufb01") != commitment(SALT, "fi")


@given(salts, salts, st.text(), st.text())
def test_another_salt_or_value_opens_nothing(salt: bytes, other: bytes, value: str, another: str) -> None:
    made = commitment(salt, value)
    assert opens(made, other, value) == (salt == other)
    assert opens(made, salt, another) == (unicodedata.normalize("NFC", another) == unicodedata.normalize("NFC", value))


def test_a_bit_moved_between_salt_and_value_opens_nothing() -> None:
    made = commitment(SALT, "Ana")
    assert not opens(made, SALT + b"A", "na")
    assert not opens(made, SALT[:-1], "\x1fAna")


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_a_salt_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match=f"a salt of {size} bytes instead of 32"):
        commitment(bytes(size), "Ana")
    assert not opens(hashlib.sha256(bytes(size) + b"Ana").hexdigest(), bytes(size), "Ana")


@pytest.mark.parametrize("altered", ["", "é" * 64, "0" * 64, "66687AADF862BD77"])
def test_what_is_no_commitment_opens_with_nothing(altered: str) -> None:
    assert not opens(altered, SALT, "Ana")
    assert not opens(commitment(SALT, "Ana").upper(), SALT, "Ana")


def test_the_comparison_takes_as_long_for_a_near_miss_as_for_a_far_one(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(personal.hmac, "compare_digest", lambda one, other: compared.append((one, other)) or True)
    assert opens("f" * 64, SALT, "Ana")
    assert compared == [(b"f" * 64, commitment(SALT, "Ana").encode())]


def test_the_personal_fields_are_sorted() -> None:
    assert PERSONAL_FIELDS == ("answer", "contact", "name", "note", "question")


@given(st.binary(min_size=10, max_size=10))
def test_a_token_holds_every_random_bit(drawn: bytes) -> None:
    sizes = []
    token = new_token(lambda size: sizes.append(size) or drawn)
    assert sizes == [10]
    assert re.fullmatch("c_[0-9a-f]{20}", token)
    assert bytes.fromhex(token[2:]) == drawn
    assert forbidden(token) is None


def test_a_source_that_gives_too_little_is_noticed() -> None:
    with pytest.raises(ValueError, match="4 random bytes instead of 10"):
        new_token(lambda _: b"four")


def test_the_examples_in_the_docstrings_run() -> None:
    assert doctest.testmod(personal).failed == 0
