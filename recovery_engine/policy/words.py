"""The words a policy knows (roles, remedies, sites, facts, ...) and the readers that check a text against them.

A reader takes the text as it stands in the YAML file and returns a value, or raises ``Problem`` with a code, a message
and a cure. The same readers serve policies, tests inside policies, and requests from the command line.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from recovery_engine.errors import did_you_mean
from recovery_engine.model import GOODWILL, OWED
from recovery_engine.money import MAX_MINOR, NotAnAmount, parse_amount

WORD_FIELDS = ("remedy", "category", "severity", "site", "basis", "role")
MONEY_FIELDS = ("amount", "bill")
REQUEST_FIELDS = (
    *("id", "employee", "role", "site", "case", "receipt", "customer", "remedy", "category", "severity", "amount"),
    *("bill", "basis", "reason", "note", "evidence", "currency", "occurred_on"),
    *("customer_name", "customer_contact"),
)
USAGE_FIELDS = ("on_case", "owed_on_case", "used")
BUILT_IN = frozenset((*REQUEST_FIELDS, *USAGE_FIELDS, "facts", "total", "evidence", "own_limit"))

Interval = tuple[int | None, int | None]
"""Whole numbers from the first to the second, both included; None is open."""


class Problem(ValueError):
    """A text that cannot be read; the caller knows the place."""

    def __init__(self, code: str, message: str, help: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.help = code, message, help


@dataclass(frozen=True, slots=True)
class Fact:
    """Something the host knows and the rules may use. ``default`` is None where the host must say."""

    kind: Literal["one_of", "flag", "number", "money"]
    one_of: tuple[str, ...] = ()
    default: str | bool | int | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """Every word a policy lists. None stands for a list that is left out, which accepts any word."""

    currency: str
    ladder: tuple[str, ...] | None
    remedies: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None
    severities: tuple[str, ...] | None = None
    sites: Mapping[str, tuple[str, ...]] | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)
    line_ids: frozenset[str] = frozenset()
    budget_ids: frozenset[str] = frozenset()

    def known(self, name: str) -> tuple[str, ...] | None:
        """The words that the field *name* may hold, or None for any."""
        match name:
            case "remedy":
                return self.remedies
            case "category":
                return self.categories
            case "severity":
                return self.severities
            case "role":
                return self.ladder
            case "basis":
                return (GOODWILL, OWED)
            case "site" if self.sites is not None and all(self.sites.values()):
                return tuple(dict.fromkeys(site for group in self.sites.values() for site in group))
            case _ if name in self.facts and self.facts[name].kind == "one_of":
                return self.facts[name].one_of or None
        return None

    def is_number(self, name: str) -> bool:
        """Whether *name* holds a whole number or an amount."""
        return name in MONEY_FIELDS or (name in self.facts and self.facts[name].kind in ("number", "money"))

    def is_money(self, name: str) -> bool:
        """Whether *name* holds an amount of money."""
        return name in MONEY_FIELDS or (name in self.facts and self.facts[name].kind == "money")

    def is_flag(self, name: str) -> bool:
        """Whether *name* is a flag, true or false."""
        return name in self.facts and self.facts[name].kind == "flag"


def read_text(raw: object, what: str = "text") -> str:
    """A text that is not blank, without control characters."""
    if raw is None or raw == "":
        raise Problem("RP007", f"a blank where {what} belongs", f"write {what}, or leave the key out")
    if not isinstance(raw, str):
        raise Problem("RP007", f"a {_shape(raw)} where {what} belongs", f"write {what} as one text")
    if not raw.isprintable() and any(unicodedata.category(char) in _UNSEEN and char != "\n" for char in raw):
        raise Problem("RP013", "an invisible or control character in the text", "delete it")
    return raw


_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn")


def read_word(raw: object, what: str = "a word") -> str:
    """A name for a role, remedy, category, ...: one line of at most 64 characters."""
    text = read_text(raw, what)
    if len(text) > 64 or "\n" in text or text != text.strip():
        raise Problem("RP013", f"`{text[:40]}` is not a name", "a name is one line of at most 64 characters")
    return text


def read_id(raw: object) -> str:
    """The id of a line: letters, digits and ``. _ : @ / + ~ -``, at most 64, not beginning with ``~``."""
    text = read_text(raw, "an id")
    if not re.fullmatch(r"[A-Za-z0-9._:@/+-][A-Za-z0-9._:@/+~-]{0,63}", text):
        fixed = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")[:64]
        raise Problem("RP013", f"`{text[:40]}` is not an id", f"write `{fixed}`" if fixed else "use letters and digits")
    return text


_RESERVED = (("remedy", "total"), ("role", "next_role"))


def read_new_word(raw: object, name: str) -> str:
    """A word that a list of the policy adds to the field *name*."""
    return read_known(raw, name, Words("", None))


def read_evidence(raw: object) -> str:
    """A piece of evidence; a note and a reason code are proof of their own kind."""
    text = read_id(raw)
    if text in ("note", "reason"):
        cure = "write `note: true`" if text == "note" else "use `reason_codes`"
        raise Problem("RP012", f"`{text}` is not evidence", cure)
    return text


def read_known(raw: object, name: str, words: Words, what: str | None = None) -> str:
    """One of the words that the field *name* may hold."""
    what = what or {"one_of": name}.get(name, name)
    text = read_word(raw, f"a {what}")
    if (name, text) in _RESERVED:
        raise Problem("RP012", f"`{text}` has a meaning of its own", "choose another word")
    known = words.known(name)
    if known is not None and text not in known:
        raise Problem("RP003", f"unknown {what} `{text}`", did_you_mean(text, known))
    return text


def read_money(raw: object, currency: str) -> int:
    """An amount in major units, as minor units."""
    if raw is None or raw == "":
        raise Problem("RP006", "a blank where an amount belongs", "write an amount; `0` is at no cost")
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        cure = "a float is not exact: quote it" if isinstance(raw, float) else "write an amount such as `100.50`"
        raise Problem("RP006", f"a {_shape(raw)} is not an amount", cure)
    try:
        return parse_amount(str(raw), currency)
    except NotAnAmount as problem:
        raise Problem("RP006", problem.message, problem.help) from None


_WHOLE = r"0|-?[1-9][0-9]{0,15}"


def read_number(raw: object) -> int:
    """A whole number, written with the digits 0 to 9."""
    text = str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw
    if text is None or text == "":
        raise Problem("RP006", "a blank where a whole number belongs", "write a number such as `30`")
    if not isinstance(text, str):
        raise Problem("RP006", f"a {_shape(raw)} is not a whole number", "write a number such as `30`")
    if not re.fullmatch(_WHOLE, text) or abs(int(text)) > MAX_MINOR:
        plain = "".join(str(unicodedata.decimal(char, char)) for char in text)
        plain = re.sub(r"\.0+$", "", re.sub(r"[_ ,]", "", plain))
        plain = plain.lstrip("0") or "0" if plain.isdigit() else plain
        cure = f"write `{plain}`" if re.fullmatch(_WHOLE, plain) else "write a number such as `30`"
        raise Problem("RP006", f"`{text[:40]}` is not a whole number", cure)
    return int(text)


def read_flag(raw: object) -> bool:
    """``true`` or ``false``; the other spellings of YAML are refused, with the cure."""
    if isinstance(raw, bool):
        return raw
    if raw in ("true", "false"):
        return raw == "true"
    text = str(raw or "").lower()
    if text in ("yes", "on", "y", "1", "true"):
        raise Problem("RP006", f"`{raw}` is not true or false", "write `true`")
    if text in ("no", "off", "n", "0", "false"):
        raise Problem("RP006", f"`{raw}` is not true or false", "write `false`")
    raise Problem("RP006", f"`{str(raw or '')[:40]}` is not true or false", "write `true` or `false`")


def read_day(raw: object) -> date:
    """A day as ``2026-12-01``."""
    if isinstance(raw, date):
        return raw
    text = read_text(raw, "a day such as 2026-12-01")
    try:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise Problem("RP013", f"`{text[:40]}` is not a day", "write year-month-day, such as `2026-12-01`") from None


def read_fact(raw: object, fact: Fact, name: str, words: Words) -> str | bool | int:
    """The value of a fact; money as minor units."""
    match fact.kind:
        case "flag":
            return read_flag(raw)
        case "number":
            return read_number(raw)
        case "money":
            return read_money(raw, words.currency)
    return read_known(raw, name, words)


_COMPARISONS: tuple[tuple[str, Callable[[int], Interval]], ...] = (
    ("at least ", lambda value: (value, None)),
    ("at most ", lambda value: (None, value)),
    ("over ", lambda value: (value + 1, None)),
    ("under ", lambda value: (None, value - 1)),
)


def read_interval(raw: object, name: str, words: Words) -> Interval:
    """``over 50``, ``at least 50``, ``under 50``, ``at most 50``, ``from 10 to 20`` or a bare value."""

    def value(text: object) -> int:
        return read_money(text, words.currency) if words.is_money(name) else read_number(text)

    if not isinstance(raw, str):
        exact = value(raw)
        return (exact, exact)
    text = " ".join(raw.split())
    for prefix, interval in _COMPARISONS:
        if text.startswith(prefix):
            low, high = interval(value(text.removeprefix(prefix)))
            if words.is_money(name) and high is not None and high < 0:
                raise Problem("RP006", f"`{text[:40]}` holds nothing", "an amount is never negative")
            return (low, high)
    if text.startswith("from ") and " to " in text:
        low_text, _, high_text = text.removeprefix("from ").partition(" to ")
        low, high = value(low_text), value(high_text)
        if low > high:
            raise Problem("RP006", f"`{text[:40]}` holds nothing", f"write `from {high_text} to {low_text}`")
        return (low, high)
    cures = {">=": "at least", "<=": "at most", ">": "over", "<": "under", "more than": "over", "less than": "under"}
    for sign, cure in cures.items():
        if text.lower().startswith(sign):
            raise Problem(
                "RP006", f"`{text[:40]}` is not a comparison", f"write `{cure} {text[len(sign) :].strip()[:20]}`"
            )
    try:
        exact = value(text)
    except Problem as problem:
        if " " not in text:
            raise
        cure = "write `over 50`, `at least 50`, `under 50`, `at most 50`, `from 10 to 20` or `50`"
        raise Problem(
            "RP006", f"`{text[:40]}` is not a comparison", problem.help if text[:1].isdigit() else cure
        ) from None
    return (exact, exact)


def expand_sites(raw: object, words: Words) -> tuple[str, ...]:
    """The sites that a site or the name of a group stands for."""
    text = read_word(raw, "a site")
    if words.sites is None:
        return (text,)
    if text in words.sites:
        return words.sites[text]
    known = words.known("site") or ()
    if text not in known:
        raise Problem("RP003", f"unknown site `{text}`", did_you_mean(text, [*words.sites, *known]))
    return (text,)


def as_list(raw: object) -> list[object]:
    """A list as it is; a single value as a list of one."""
    return list(raw) if isinstance(raw, list | tuple | frozenset | set) else [raw]


def first_twice(items: Iterable[object]) -> int | None:
    """The index of the first item that stands a second time."""
    seen: set[object] = set()
    for index, item in enumerate(items):
        if item in seen:
            return index
        seen.add(item)
    return None


def _shape(raw: object) -> str:
    match raw:
        case dict():
            return "mapping"
        case list() | tuple():
            return "list"
        case bool():
            return "true or false"
        case float():
            return "float"
    return type(raw).__name__
