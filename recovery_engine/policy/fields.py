"""The field types of a policy: each reads the text in the file, and says in JSON Schema what it takes.

``Annotated[int, reads(reader, schema)]`` is a pydantic type whose reader gets the raw value and the policy's words, and
raises ``Problem``. A reader that looks inside its value collects what it finds in ``Problems``, so that one run reports
everything.
"""

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import date
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from recovery_engine.errors import did_you_mean
from recovery_engine.money import CURRENCIES
from recovery_engine.policy.words import (
    MONEY_FIELDS,
    WORD_FIELDS,
    Interval,
    Problem,
    Words,
    as_list,
    expand_sites,
    first_twice,
    read_day,
    read_evidence,
    read_flag,
    read_id,
    read_interval,
    read_known,
    read_money,
    read_new_word,
    read_number,
    read_text,
)

T = TypeVar("T")
Place = tuple[str | int, ...]
Reader = Callable[[Any, Words], Any]
Schema = dict[str, Any]

KEY = "[key]"
"""Ends a place that means a key, not its value."""


class Problems:
    """Collects what is wrong inside one value, each with its place below that value."""

    def __init__(self) -> None:
        self._found: list[InitErrorDetails] = []

    def read(self, place: Place, reader: Callable[..., T], *args: Any) -> T | None:
        """What the reader returns, or None after collecting its problem."""
        try:
            return reader(*args)
        except Problem as problem:
            self.add(place, problem)
        except ValidationError as error:  # from a reader that collected its own
            for detail in error.errors():
                found = Problem(detail["type"], detail["ctx"]["message"], detail["ctx"]["help"])
                self.add((*place, *detail["loc"]), found)
        return None

    def add(self, place: Place, problem: Problem) -> None:
        """Collect one problem."""
        self._found.append(InitErrorDetails(type=pydantic_error(problem), loc=place, input=None))

    def raise_if_any(self) -> None:
        """Raise all of them as one."""
        if self._found:
            raise ValidationError.from_exception_data("policy", self._found)


def pydantic_error(problem: Problem) -> PydanticCustomError:
    """A problem as pydantic carries it to the end of its run."""
    context = {"message": problem.message, "help": problem.help}
    return PydanticCustomError(problem.code, "{message}", context)


class reads:  # noqa: N801  (read as a verb: Annotated[int, reads(...)])
    """Makes pydantic read a field with a reader of ours."""

    def __init__(self, reader: Reader, schema: Schema) -> None:
        self._reader, self._schema = reader, schema

    def _read(self, raw: Any, info: core_schema.ValidationInfo) -> Any:
        problems = Problems()
        value = problems.read((), self._reader, raw, info.context)
        problems.raise_if_any()
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> Schema:
        return deepcopy(self._schema)  # pydantic adds the title and default of each field to it


class Frozen(BaseModel):
    """Every part of a policy: frozen, and without a key that is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


# --- JSON Schema ------------------------------------------------------------------------------------------------------

TEXT: Schema = {"type": "string"}
AMOUNT: Schema = {"type": ["number", "string"], "description": 'an amount in major units: 100, 100.50, "1,000.00"'}
TEXTS: Schema = {"type": "array", "items": TEXT, "minItems": 1, "uniqueItems": True}
ONE_OR_MORE: Schema = {"anyOf": [TEXT, TEXTS]}


def mapping_of(values: Schema) -> Schema:
    """A mapping whose keys are the author's own words."""
    return {"type": "object", "additionalProperties": values}


# --- single values ----------------------------------------------------------------------------------------------------


def known(name: str) -> Reader:
    """A reader for one of the words that the field *name* may hold."""
    return lambda raw, words: read_known(raw, name, words)


def choice(*choices: str) -> Reader:
    """A reader for one of a few words of the language itself."""

    def read(raw: Any, _: Words) -> str:
        text = read_text(raw, "a word")
        if text not in choices:
            raise Problem("RP003", f"unknown word `{text[:40]}`", did_you_mean(text, choices))
        return text

    return read


def _higher_role(raw: Any, words: Words) -> str:
    role = read_known(raw, "role", words)
    if words.ladder and role == words.ladder[0]:
        cure = "name a higher role, or delete the line"
        raise Problem("RP012", f"`{role}` is the lowest role, so this line would bind nobody", cure)
    return role


def _fact_of_kind(kind: str) -> Reader:
    def read(raw: Any, words: Words) -> str:
        name = read_text(raw, "the name of a fact")
        names = ["bill"] if kind == "money" else []
        names += [fact_name for fact_name, fact in words.facts.items() if fact.kind == kind]
        if name not in names:
            wanted = "`bill` or a money fact" if kind == "money" else "a number fact"
            raise Problem("RP003", f"`{name}` is not {wanted}", did_you_mean(name, names))
        return name

    return read


def _percent(raw: Any, _: Words) -> int:
    """Hundredths of a percent."""
    text = read_text(raw, "a percentage").removesuffix("%").rstrip()
    match = re.fullmatch(r"(0|[1-9][0-9]{0,4})(?:\.([0-9]{1,2}))?", text)
    if match is None:
        cure = "write a number with at most two decimals, such as `12.5`"
        raise Problem("RP006", f"`{text[:40]}` is not a percentage", cure)
    return int(match[1]) * 100 + int((match[2] or "0").ljust(2, "0"))


_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


def read_duration(raw: Any, _: Words) -> int:
    """Seconds, from ``15 minutes``, ``4 hours`` or ``2 days``."""
    text = read_text(raw, "a time such as `15 minutes`")
    match = re.fullmatch(r"([1-9][0-9]{0,4}) (second|minute|hour|day)s?", text)
    if match is None:
        raise Problem("RP013", f"`{text[:40]}` is not a length of time", "write `15 minutes`, `4 hours` or `2 days`")
    return int(match[1]) * _SECONDS[match[2]]


def _period(raw: Any, _: Words) -> str:
    text = read_text(raw, "a period")
    if text in ("day", "week", "month", "year"):
        return text
    match = re.fullmatch(r"([1-9][0-9]{0,3}) days?", text)
    if match is None:
        cure = "write `day`, `week`, `month`, `year` or `90 days`"
        raise Problem("RP013", f"`{text[:40]}` is not a period", cure)
    return f"{match[1]} days"


def _count(raw: Any, _: Words) -> int:
    number = read_number(raw)
    if number < 0:
        raise Problem("RP006", f"`{raw}` is below zero", "write 0 or more")
    return number


def _currency(raw: Any, _: Words) -> str:
    text = read_text(raw, "a currency")
    if text not in CURRENCIES:
        cure = "write an ISO 4217 code such as `USD`"
        raise Problem("RP003", f"unknown currency `{text[:40]}`", cure)
    return text


def read_timezone(raw: Any, _: Words) -> str:
    """The IANA name of a time zone."""
    text = read_text(raw, "a time zone")
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        close = did_you_mean(text, sorted(available_timezones()))
        cure = close if close.startswith("did") else "write an IANA name such as `America/Chicago`"
        raise Problem("RP013", f"unknown time zone `{text[:40]}`", cure) from None
    return text


def _clock(raw: Any, _: Words) -> str:
    text = read_text(raw, "a time of day")
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        cure = 'write hours and minutes in quotes, such as "04:00"'
        raise Problem("RP013", f"`{text[:40]}` is not a time of day", cure)
    return text


def list_of(reader: Reader, what: str) -> Reader:
    """A reader for a list without repetition; a single value is a list of one."""

    def read(raw: Any, words: Words) -> tuple[Any, ...]:
        if raw is None or raw == []:
            raise Problem("RP007", f"an empty list of {what}", "name at least one, or leave the key out")
        problems = Problems()
        items = as_list(raw)
        values = tuple(problems.read((index,), reader, item, words) for index, item in enumerate(items))
        if (twice := first_twice(value if value is not None else object() for value in values)) is not None:
            problems.add((twice,), Problem("RP008", f"`{items[twice]}` stands twice", "delete one"))
        problems.raise_if_any()
        return values

    return read


def _word_list(name: str) -> reads:
    return reads(list_of(lambda raw, _: read_new_word(raw, name), f"{name} words"), TEXTS)


_DURATION: Schema = {"type": "string", "pattern": "^[1-9][0-9]* (second|minute|hour|day)s?$"}
_PERIOD: Schema = {"type": "string", "pattern": "^(day|week|month|year|[1-9][0-9]* days?)$"}
_PERCENT: Schema = {"type": ["number", "string"], "description": "a percentage with at most two decimals"}

Text = Annotated[str, reads(lambda raw, _: read_text(raw), TEXT)]
Id = Annotated[str, reads(lambda raw, _: read_id(raw), TEXT)]
HigherRole = Annotated[str, reads(_higher_role, TEXT)]
Remedy = Annotated[str, reads(known("remedy"), TEXT)]
Amount = Annotated[int, reads(lambda raw, words: read_money(raw, words.currency), AMOUNT)]
Percent = Annotated[int, reads(_percent, _PERCENT)]
Count = Annotated[int, reads(_count, {"type": "integer", "minimum": 0})]
Flag = Annotated[bool, reads(lambda raw, _: read_flag(raw), {"type": "boolean"})]
Day = Annotated[date, reads(lambda raw, _: read_day(raw), {"type": "string", "format": "date"})]
Duration = Annotated[int, reads(read_duration, _DURATION)]
Period = Annotated[str, reads(_period, _PERIOD)]
MoneyFact = Annotated[str, reads(_fact_of_kind("money"), TEXT)]
NumberFact = Annotated[str, reads(_fact_of_kind("number"), TEXT)]
Currency = Annotated[str, reads(_currency, {"type": "string", "pattern": "^[A-Z]{3}$"})]
Timezone = Annotated[str, reads(read_timezone, TEXT)]
Clock = Annotated[str, reads(_clock, {"type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]$"})]
Evidence = Annotated[tuple[str, ...], reads(list_of(lambda raw, _: read_evidence(raw), "evidence"), ONE_OR_MORE)]
Ladder = Annotated[tuple[str, ...], _word_list("role")]
Remedies = Annotated[tuple[str, ...], _word_list("remedy")]
Categories = Annotated[tuple[str, ...], _word_list("category")]
Severities = Annotated[tuple[str, ...], _word_list("severity")]


# --- conditions -------------------------------------------------------------------------------------------------------


class Conditions(Frozen):
    """What a ``when`` or ``unless`` asks, joined with *and*. Words are sorted, sites expanded, numbers intervals."""

    words: dict[str, tuple[str | bool, ...]] = {}
    numbers: dict[str, tuple[Interval, ...]] = {}

    @property
    def names(self) -> Iterator[str]:
        """Every field that is read."""
        yield from self.words
        yield from self.numbers


ANYTHING = Conditions()

_CONDITIONS: Schema = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": ["string", "number", "boolean"]}, {"type": "array"}]},
    "description": "conditions joined with and; a list means any of these; "
    "numbers take over, at least, under, at most, from A to B",
}


def _asks(*allowed: str, facts: bool = True) -> reads:
    """Conditions on these built-in words, and on facts."""

    def read(raw: Any, words: Words) -> Conditions:
        return raw if isinstance(raw, Conditions) else _read_conditions(raw, words, allowed, facts)

    return reads(read, _CONDITIONS)


def _read_conditions(raw: Any, words: Words, allowed: tuple[str, ...], facts: bool) -> Conditions:
    if not isinstance(raw, dict) or not raw:
        raise Problem("RP007", "conditions are a mapping", "write `{severity: major}`, or leave the key out")
    problems = Problems()
    asked_words: dict[str, tuple[str | bool, ...]] = {}
    asked_numbers: dict[str, tuple[Interval, ...]] = {}
    names = (*allowed, *(words.facts if facts else ()))
    for name, value in sorted(raw.items()):
        if name not in names:
            problems.add((name, KEY), misplaced(name, value, names))
            continue
        values = as_list(value)
        if not values:
            problems.add((name,), Problem("RP007", "an empty list holds nothing", "name at least one value"))
        found: list[Any] = []
        for index, item in enumerate(values):
            found.extend(problems.read((name, index), _read_condition, name, item, words) or ())
        if words.is_number(name):
            asked_numbers[name] = tuple(sorted(set(found), key=_by_ends))
        else:
            asked_words[name] = tuple(sorted(set(found)))
    problems.raise_if_any()
    return Conditions(words=asked_words, numbers=asked_numbers)


def _read_condition(name: str, item: Any, words: Words) -> tuple[Any, ...]:
    if words.is_number(name):
        return (read_interval(item, name, words),)
    if words.is_flag(name):
        return (read_flag(item),)
    return expand_sites(item, words) if name == "site" else (read_known(item, name, words),)


def _by_ends(interval: Interval) -> tuple[int, int, int, int]:
    """Open ends are outermost. INVARIANT: no two intervals are equal here, or a digest would not be the same twice."""
    low, high = interval
    return (low is not None, low or 0, high is None, high or 0)


def misplaced(name: str, value: Any, names: tuple[str, ...]) -> Problem:
    """A name that may not stand here: built-in, cut off by a comma, or unknown."""
    if name in (*WORD_FIELDS, *MONEY_FIELDS):
        takes = ", ".join(f"`{known_name}`" for known_name in names[:8])
        return Problem("RP012", f"`{name}` may not be tested here", f"what may be: {takes}")
    if value is None:
        cure = "a comma ended the value before it: put that value in quotes"
        return Problem("RP004", f"unknown name `{name}` with nothing in it", cure)
    return Problem("RP003", f"unknown name `{name}`", did_you_mean(name, names))


When = Annotated[Conditions, _asks("remedy", "category", "severity", "site", "basis", "amount", "bill")]
Unless = Annotated[Conditions, _asks("category", "severity", "site", "basis", "bill")]
GrantWhen = Annotated[Conditions, _asks("category", "severity", "site", "bill")]
CeilingWhen = Annotated[Conditions, _asks("remedy", "category", "severity", "site", "basis", "bill")]
BudgetWhen = Annotated[Conditions, _asks("remedy", facts=False)]
PromiseWhen = Annotated[Conditions, _asks("remedy", "category", "severity", "site", "basis", "amount", "bill", "role")]
