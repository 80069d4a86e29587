"""An entry of the log: canonical bytes, and what each kind must hold. Version 1 of this format is for ever.

Canonical JSON is RFC 8785. With text in NFC, ASCII keys and no floats, orjson with sorted keys writes the same bytes.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import orjson

from recovery_engine.log.personal import PERSONAL_FIELDS
from recovery_engine.money import MAX_MINOR

Entry = dict[str, Any]

VERSION = 1
MOST_BYTES = 65_535
SEMANTICS = 1
"""The version of ``decide``: raised only when the same inputs could give another answer."""

ORGANISATION = "organisation"
"""The stream of policies, delegations and erasures, and the subject of organisation-wide budgets."""

NO_LEAF = "0" * 64
"""What ``prev`` holds in the first entry of a stream."""

REFERENCE = re.compile(r"[A-Za-z0-9._:@/+~-]{1,64}")


def stream_of(site: str | None) -> str:
    """The stream of a site; requests without a site share an unnamed one."""
    return f"site:{site or ''}"


def encode(entry: Entry) -> bytes:
    """The canonical bytes. Raises ValueError where they would not be canonical or are too many."""
    try:
        body = orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise ValueError(f"what no entry can hold: {error}") from None
    if len(body) > MOST_BYTES:
        raise ValueError(f"an entry of {len(body):,} bytes; at most {MOST_BYTES:,} fit")
    _require_nfc(body)
    return body


def _require_nfc(body: bytes) -> None:
    if not body.isascii() and not unicodedata.is_normalized("NFC", body.decode()):
        raise ValueError("text that is not in Unicode normal form NFC")


def decode(body: bytes) -> Entry:
    """The entry in canonical bytes. Raises ValueError where they are not canonical JSON of this format."""
    if len(body) > MOST_BYTES:
        raise ValueError(f"{len(body):,} bytes; at most {MOST_BYTES:,} fit")
    try:
        entry = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ValueError("not JSON") from None
    if not isinstance(entry, dict) or orjson.dumps(entry, option=orjson.OPT_SORT_KEYS) != body:
        raise ValueError("not canonical JSON")
    _require_nfc(body)
    return entry


# --- what a value must look like --------------------------------------------------------------------------------------

Check = Callable[[Any], bool]


def _matches(pattern: str) -> Check:
    fits = re.compile(pattern).fullmatch
    return lambda value: type(value) is str and fits(value) is not None


def _text(value: Any) -> bool:
    return type(value) is str


def _amount(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_MINOR


def _whole(value: Any) -> bool:
    return type(value) is int and -MAX_MINOR <= value <= MAX_MINOR


def _one_of(*words: str) -> Check:
    return lambda value: type(value) is str and value in words


def _list_of(check: Check) -> Check:
    return lambda value: type(value) is list and all(map(check, value))


def _sorted(check: Check) -> Check:
    """In ascending order, nothing twice; rows are told apart by what stands first in them."""
    return lambda value: (
        type(value) is list and all(map(check, value)) and all(one < other for one, other in pairwise(value))
    )


def _row(*checks: Check) -> Check:
    def fits(value: Any) -> bool:
        if type(value) is not list or len(value) != len(checks):
            return False
        return all(check(item) for check, item in zip(checks, value, strict=True))

    return fits


def _rung(value: Any) -> bool:
    return type(value) is list and bool(value) and all(map(_text, value)) and value[1:] == sorted(value[1:])


def _reason(value: Any) -> bool:
    """``[line]``, ``[line, what, had]`` or ``[line, what, had, limit]``."""
    if type(value) is not list or len(value) not in (1, 3, 4) or not all(map(_text, value[:2])):
        return False
    return all(map(_whole, value[2:]))


def _mapping(check: Check) -> Check:
    def fits(value: Any) -> bool:
        return type(value) is dict and all(name.isascii() and check(item) for name, item in value.items())

    return fits


def _fact(value: Any) -> bool:
    return type(value) in (str, bool) or _whole(value)


def _own_limit(value: Any) -> bool:
    """``{"at_most": minor units}`` or ``{"up_to": minor units}``."""
    return type(value) is dict and list(value) in (["at_most"], ["up_to"]) and all(map(_amount, value.values()))


def _fields(required: str, optional: str = "") -> tuple[frozenset[str], frozenset[str]]:
    needed = frozenset(required.split())
    return needed, needed | frozenset(optional.split())


def _object(required: str, optional: str, checks: Mapping[str, Check]) -> Check:
    needed, known = _fields(required, optional)

    def fits(value: Any) -> bool:
        if type(value) is not dict or not needed <= value.keys() <= known:
            return False
        return all(checks[name](item) for name, item in value.items())

    return fits


_HASH = _matches("[0-9a-f]{64}")
_ID = _matches(r"[A-Za-z0-9._:@/+-][A-Za-z0-9._:@/+~-]{0,63}")
_COMMAND = _matches(r"[A-Za-z0-9._:@/+-][A-Za-z0-9._:@/+~-]{0,63}|~[A-Za-z0-9._:@/+~-]{1,199}")
_DAY = _matches(r"\d{4}-\d\d-\d\d")
_TOKEN = _matches("c_[0-9a-f]{20}")
_CURRENCY = _matches("[A-Z]{3}")
_BASIS = _one_of("goodwill", "owed")
_MATCHER = _one_of("both", "reference", "fault")

_REQUEST = _object(
    "employee role site case remedy amount currency",
    "receipt customer category severity bill evidence facts note reason basis occurred_on own_limit",
    {
        **dict.fromkeys(("employee", "case", "receipt"), _ID),
        **dict.fromkeys(("role", "site", "remedy", "category", "severity", "reason"), _text),
        **dict.fromkeys(("amount", "bill"), _amount),
        "own_limit": _own_limit,
        "currency": _CURRENCY,
        "customer": _TOKEN,
        "evidence": _sorted(_text),
        "facts": _mapping(_fact),
        "note": lambda value: value is True,
        "basis": _one_of("owed"),
        "occurred_on": _DAY,
    },
)

_COUNTS = _object(
    "bday remedy basis currency amount times",
    "",
    {
        "bday": _DAY,
        "remedy": _text,
        "basis": _BASIS,
        "currency": _CURRENCY,
        "amount": _whole,
        "times": lambda value: type(value) is int and value in (0, 1),
    },
)

_USAGE = _object(
    "case budgets",
    "",
    {
        "case": _sorted(_row(_text, _BASIS, _amount, _amount)),
        "budgets": _sorted(_row(_text, _amount, _amount)),
    },
)

FIELDS: Mapping[str, Check] = {
    "v": lambda value: type(value) is int and value == VERSION,
    "stream": _matches(r"organisation|site:([A-Za-z0-9._:@/+~-]{1,64})?"),
    "id": _COMMAND,
    "recovery": _ID,
    **dict.fromkeys(("prev", "of", "policy", "replaces", "source", "root"), _HASH),
    **dict.fromkeys(("seq", "at_us", "due_us", "from_us", "until_us", "amount", "cap", "step", "size"), _amount),
    **dict.fromkeys(("bday", "from", "until"), _DAY),
    **dict.fromkeys(("kind", "role", "to", "second", "reason", "name", "label", "origin", "engine"), _text),
    **dict.fromkeys(("remedy", "ground"), _text),
    **dict.fromkeys(("reference", "for"), _ID),
    "delegation": _COMMAND,
    "by": lambda value: value is None or _ID(value),
    "log": _matches("[0-9a-f]{32}"),
    "tracks": _sorted(_text),
    "utc_offset_s": lambda value: type(value) is int and abs(value) < 86_400,
    "role_from": _one_of("host", "directory"),
    "request": _REQUEST,
    "own_limit": _own_limit,
    "semantics": lambda value: type(value) is int and value >= 1,
    "matcher": _MATCHER,
    "outcome": _one_of("approve", "escalate", "deny"),
    "because": _sorted(_reason),
    "rungs": _list_of(_rung),
    "usage": _USAGE,
    "touches": _sorted(_row(_text, _amount)),
    "counts": _COUNTS,
    "personal": _object("", " ".join(PERSONAL_FIELDS), dict.fromkeys(PERSONAL_FIELDS, _HASH)),
    "evidence": _sorted(_text),
    "waived": _sorted(_text),
    "sites": _sorted(_text),
    "remedies": _sorted(_text),
    "currency": _CURRENCY,
    "person": _TOKEN,
    "fields": _sorted(_text),
}

_ALWAYS = "v stream seq prev at_us id kind by"
_ON_RECOVERY = f"{_ALWAYS} recovery bday utc_offset_s"
_DECIDING = f"{_ON_RECOVERY} role role_from policy semantics matcher engine usage because touches"

KINDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "opened": _fields(f"{_ALWAYS} log origin tracks engine"),
    "policy_loaded": _fields(f"{_ALWAYS} policy name label from source", "until replaces"),
    "decided": _fields(f"{_DECIDING} request outcome rungs", "counts due_us to second personal"),
    "approved": _fields(
        f"{_DECIDING} of remedy amount", "counts due_us second waived delegation for own_limit personal"
    ),
    "declined": _fields(f"{_ON_RECOVERY} of role reason", "personal"),
    "asked": _fields(f"{_ON_RECOVERY} of role", "personal"),
    "answered": _fields(f"{_ON_RECOVERY} of", "due_us evidence personal"),
    "amended": _fields(f"{_ON_RECOVERY} of amount"),
    "withdrawn": _fields(f"{_ON_RECOVERY} of", "reason"),
    "joined": _fields(f"{_ON_RECOVERY} of request", "to due_us personal"),
    "fulfilled": _fields(f"{_ON_RECOVERY} of", "reference personal"),
    "lapsed": _fields(f"{_ON_RECOVERY} of due_us"),
    "moved_up": _fields(f"{_ON_RECOVERY} of to step", "due_us"),
    "voided": _fields(f"{_ON_RECOVERY} of reason touches counts", "personal"),
    "delegated": _fields(f"{_ALWAYS} to role sites remedies from_us until_us touches", "cap currency"),
    "revoked": _fields(f"{_ALWAYS} delegation touches"),
    "forgotten": _fields(f"{_ALWAYS} person fields ground"),
    "clock_set": _fields(_ALWAYS),
    "reopened": _fields(f"{_ALWAYS} size root"),
}
"""The fields of each kind: those it must hold, and all it may hold."""


def problems(entry: Entry) -> Iterator[str]:
    """What is wrong with an entry taken by itself; nothing where it is well made."""
    kind = str(entry.get("kind"))
    if kind not in KINDS:
        yield f"unknown kind `{kind}`"
        return
    required, known = KINDS[kind]
    yield from (f"`{kind}` without `{name}`" for name in sorted(required - entry.keys()))
    yield from (f"unknown field `{name}` in `{kind}`" for name in sorted(entry.keys() - known))
    for name, value in entry.items():
        if name in FIELDS and not FIELDS[name](value):
            yield f"`{name}` is ill-formed"
    if "rungs" in entry and not entry["rungs"]:
        yield "`rungs` is empty"
