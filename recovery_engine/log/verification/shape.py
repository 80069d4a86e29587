"""Entries that are surely well made, told by the shape of their bytes; of all others `problems` says what is wrong.

Asking each field of each entry takes longer than hashing, reading and the tree together. A pattern per kind answers
for most entries at once. It may be narrower than the format (text without escapes, numbers of 15 digits), never wider.
"""

import re
from collections.abc import Callable, Container, Mapping
from functools import lru_cache
from operator import lt

from recovery_engine.log.entry import KINDS, Entry

_REFERENCE = "[A-Za-z0-9._:@/+~-]"
_ID = f'"(?!~){_REFERENCE}{{1,64}}"'
_COMMAND = f'(?:{_ID}|"~{_REFERENCE}{{1,199}}")'
_HASH = '"[0-9a-f]{64}"'
_DAY = r'"\d{4}-\d\d-\d\d"'
_CURRENCY = '"[A-Z]{3}"'
_TEXT = r'"[^"\\]*"'
_NUMBER = r"\d{1,15}"
_WHOLE = rf"-?{_NUMBER}"
_BASIS = '"(?:goodwill|owed)"'

# INVARIANT: the bytes are canonical JSON, which `decode` has seen. So a comma or bracket after a value is the one that
# belongs there: whatever comes next in a pattern could not follow the other.


def _list(item: str) -> str:
    return rf"\[(?:\]|(?:{item}[,\]])+)"


def _row(*items: str) -> str:
    return rf"\[{','.join(items)}\]"


def _object(required: Container[str], patterns: Mapping[str, str]) -> str:
    # `(?:x|)` is `(?:x)?`, and takes the matcher less time.
    fields = [
        rf'(?:"{name}":{pattern}[,}}]{"" if name in required else "|"})' for name, pattern in sorted(patterns.items())
    ]
    return rf"\{{{''.join(fields)}"


_REQUEST = {
    **dict.fromkeys(("case", "employee"), _ID),
    **dict.fromkeys(("role", "site", "remedy"), _TEXT),
    "amount": _NUMBER,
    "currency": _CURRENCY,
}
_OF_SOME_REQUESTS = {
    **dict.fromkeys(("category", "severity", "reason"), _TEXT),
    "bill": _NUMBER,
    "own_limit": rf'\{{"(?:at_most|up_to)":{_NUMBER}\}}',
    "receipt": _ID,
    "customer": '"c_[0-9a-f]{20}"',
    "evidence": _list(_TEXT),
    "facts": rf'\{{(?:\}}|(?:"[ !#-\[\]-~]*":(?:{_TEXT}|true|false|{_WHOLE})[,}}])+)',
    "note": "true",
    "basis": '"owed"',
    "occurred_on": _DAY,
}
_COUNTS = {
    "bday": _DAY,
    "remedy": _TEXT,
    "basis": _BASIS,
    "currency": _CURRENCY,
    "amount": _WHOLE,
    "times": "[01]",
}
_USAGE = {
    "case": _list(_row(_TEXT, _BASIS, _NUMBER, _NUMBER)),
    "budgets": _list(_row(_TEXT, _NUMBER, _NUMBER)),
}
_REASON = rf"\[{_TEXT}(?:,{_TEXT},{_WHOLE}(?:,{_WHOLE})?)?\]"

_COMMITMENTS = dict.fromkeys(("contact", "name", "note"), _HASH)

_FIELDS = {
    "v": "1",
    "stream": f'"(?:organisation|site:{_REFERENCE}{{0,64}})"',
    "id": _COMMAND,
    **dict.fromkeys(("recovery", "reference", "for"), _ID),
    **dict.fromkeys(("prev", "of", "policy"), _HASH),
    **dict.fromkeys(("seq", "amount", "step"), _NUMBER),
    **dict.fromkeys(("at_us", "due_us"), r"[1-8]\d{15}"),
    "bday": _DAY,
    **dict.fromkeys(("role", "to", "second", "reason", "engine", "remedy"), _TEXT),
    "by": f"(?:null|{_ID})",
    "utc_offset_s": r"-?(?:\d{1,4}|[1-7]\d{4})",
    "role_from": '"(?:host|directory)"',
    "request": _object(_REQUEST, {**_REQUEST, **_OF_SOME_REQUESTS}),
    "semantics": r"[1-9]\d{0,14}",
    "matcher": '"(?:both|reference|fault)"',
    "outcome": '"(?:approve|escalate|deny)"',
    "because": _list(_REASON),
    "rungs": rf"\[(?:\[{_TEXT}(?:,{_TEXT})*\][,\]])+",
    "usage": _object(_USAGE, _USAGE),
    "touches": _list(_row(_TEXT, _NUMBER)),
    "counts": _object(_COUNTS, _COUNTS),
    "personal": _object((), _COMMITMENTS),
}


@lru_cache(maxsize=len(KINDS))
def _fits(kind: str) -> Callable[[bytes], object]:
    """What tells whether bytes have the shape of a kind; of a kind with fields that have no pattern, none have."""
    required, known = KINDS[kind]
    if not required <= {"kind", *_FIELDS}:
        return lambda body: None
    patterns = {name: pattern for name, pattern in _FIELDS.items() if name in known}
    return re.compile(_object(required, {**patterns, "kind": f'"{kind}"'}).encode()).fullmatch


def surely_well_made(entry: Entry, body: bytes) -> bool:
    """Whether `problems` would find nothing in an entry with these canonical bytes. False says nothing."""
    kind = entry.get("kind")
    return type(kind) is str and kind in KINDS and _fits(kind)(body) is not None and _in_order(entry)


def _in_order(entry: Entry) -> bool:
    """Whether what must be sorted is."""
    sorted_ones = [entry[name] for name in ("touches", "because") if name in entry]
    if "usage" in entry:
        sorted_ones += entry["usage"].values()
    if "request" in entry and "evidence" in entry["request"]:
        sorted_ones.append(entry["request"]["evidence"])
    for items in sorted_ones:
        if len(items) > 1 and not all(map(lt, items, items[1:])):
            return False
    rungs = entry.get("rungs")
    return not rungs or max(map(len, rungs)) < 3 or all(rung[1:] == sorted(rung[1:]) for rung in rungs)
