"""Personal fields as commitments, so that an entry proves a value without holding it; and tokens for customers.

Whoever has salt and value can show that they are what the entry speaks of. Once both are deleted nobody can, and the
entry stays as it was.
"""

import hmac
import unicodedata
from collections.abc import Callable
from hashlib import sha256

PERSONAL_FIELDS = ("answer", "contact", "name", "note", "question")
"""The texts that never stand in an entry themselves, sorted."""


def kept_as(name: str, kind: str, seq: int) -> str:
    """What a text of an entry is kept under in ``recovery_personal``; one of a later step bears its seq too."""
    return name if kind == "decided" else f"{name}/{seq}"


SALT_BYTES = 32
_TOKEN_BYTES = 10


def commitment(salt: bytes, value: str) -> str:
    """SHA-256 of the salt and the UTF-8 bytes of the value in NFC, as 64 lower-case hex digits.

    Raises ValueError where the salt is not 32 bytes: a short one would let the value be guessed.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt of {len(salt)} bytes instead of {SALT_BYTES}")
    return sha256(salt + unicodedata.normalize("NFC", value).encode()).hexdigest()


def opens(commitment_hex: str, salt: bytes, value: str) -> bool:
    """Whether the commitment was made of this salt and value. A salt of another length than 32 bytes opens nothing."""
    if len(salt) != SALT_BYTES:
        return False
    return hmac.compare_digest(commitment_hex.encode(), commitment(salt, value).encode())


def new_token(random: Callable[[int], bytes]) -> str:
    """A customer's token, ``c_`` and 20 lower-case hex digits, from 10 bytes that *random* gives.

    >>> new_token(lambda size: bytes(range(size)))
    'c_00010203040506070809'
    """
    drawn = random(_TOKEN_BYTES)
    if len(drawn) != _TOKEN_BYTES:
        raise ValueError(f"{len(drawn)} random bytes instead of {_TOKEN_BYTES}")
    return f"c_{drawn.hex()}"
