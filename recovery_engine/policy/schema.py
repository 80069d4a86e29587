"""What a policy says: the parsed policy, frozen, and the shape its file must have.

Every scalar arrives as the text that stands in the file; the validators turn it into values with the words of the
policy (``Words``) as context. Amounts become minor units, percentages hundredths of a percent, times seconds.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import cached_property
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from recovery_engine.errors import did_you_mean
from recovery_engine.model import NOBODY_GIVES, NOTHING_OWED, REASON_CODES, PolicyRef
from recovery_engine.money import CURRENCIES
from recovery_engine.policy.words import (
    BUILT_IN,
    MONEY_FIELDS,
    REQUEST_FIELDS,
    USAGE_FIELDS,
    WORD_FIELDS,
    Fact,
    Interval,
    Problem,
    Words,
    as_list,
    expand_sites,
    first_twice,
    read_day,
    read_fact,
    read_flag,
    read_id,
    read_interval,
    read_known,
    read_money,
    read_number,
    read_text,
    read_word,
)

SECTIONS = ("authority", "ceilings", "budgets", "owed", "deny", "requires", "four_eyes", "someone_else")
"""The lists of lines that decide, in the order in which people read them."""

NONE, SAME, UNLIMITED = "none", "same", "unlimited"
Cell = int | Literal["none", "same", "unlimited"]

T = TypeVar("T")


def _error(problem: Problem) -> PydanticCustomError:
    context = {"message": problem.message, "help": problem.help}
    return PydanticCustomError(problem.code, "{message}", context)  # type: ignore[arg-type]


def _details(loc: tuple[str | int, ...], problem: Problem) -> InitErrorDetails:
    return InitErrorDetails(type=_error(problem), loc=loc, input=None)


class Problems:
    """Collects what is wrong inside one value, so that all of it is reported at once."""

    def __init__(self) -> None:
        self.found: list[InitErrorDetails] = []

    def read(self, loc: tuple[str | int, ...], reader: Callable[..., T], *args: Any) -> T | None:
        try:
            return reader(*args)
        except Problem as problem:
            self.add(loc, problem)
            return None

    def add(self, loc: tuple[str | int, ...], problem: Problem) -> None:
        self.found.append(_details(loc, problem))

    def raise_if_any(self) -> None:
        if self.found:
            raise ValidationError.from_exception_data("policy", self.found)


def _reader(read: Callable[[Any, Words], Any]) -> BeforeValidator:
    def validate(raw: Any, info: ValidationInfo) -> Any:
        problems = Problems()
        value = problems.read((), read, raw, info.context)
        problems.raise_if_any()
        return value

    return BeforeValidator(validate)


def _list_reader(read: Callable[[Any, Words], Any], what: str, least: int = 0) -> BeforeValidator:
    def validate(raw: Any, info: ValidationInfo) -> Any:
        problems = Problems()
        if raw is None or raw == []:
            problems.add(
                (), Problem("RP007", f"an empty list of {what}", f"name at least {max(least, 1)}, or leave it out")
            )
        items = as_list(raw)
        values = [problems.read((index,), read, item, info.context) for index, item in enumerate(items if raw else [])]
        if (twice := first_twice(value for value in values if value is not None)) is not None:
            problems.add((twice,), Problem("RP008", f"`{items[twice]}` stands twice", "delete one"))
        problems.raise_if_any()
        return tuple(values)

    return BeforeValidator(validate)


def _known(name: str) -> Callable[[Any, Words], str]:
    return lambda raw, words: read_known(raw, name, words)


def _higher_role(raw: Any, words: Words) -> str:
    role = read_known(raw, "role", words)
    if words.ladder and role == words.ladder[0]:
        raise Problem(
            "RP012",
            f"`{role}` is the lowest role, so this line would bind nobody",
            "name a higher role, or delete the line",
        )
    return role


def _fact_of_kind(raw: Any, words: Words, kind: str) -> str:
    name = read_text(raw, "the name of a fact")
    names = [fact_name for fact_name, fact in words.facts.items() if fact.kind == kind]
    if kind == "money":
        names.insert(0, "bill")
    if name not in names:
        wanted = "`bill` or a money fact" if kind == "money" else "a number fact"
        raise Problem("RP003", f"`{name}` is not {wanted}", did_you_mean(name, names))
    return name


def _percent(raw: Any, _: Words) -> int:
    text = read_text(str(raw) if isinstance(raw, int) else raw, "a percentage").removesuffix("%").rstrip()
    match = re.fullmatch(r"(0|[1-9][0-9]{0,4})(?:\.([0-9]{1,2}))?", text)
    if match is None:
        raise Problem(
            "RP006", f"`{text[:40]}` is not a percentage", "write a number with at most two decimals, such as `12.5`"
        )
    return int(match[1]) * 100 + int((match[2] or "0").ljust(2, "0"))


_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


def _duration(raw: Any, _: Words) -> int:
    text = read_text(raw, "a time such as `15 minutes`")
    match = re.fullmatch(r"([1-9][0-9]{0,4}) (second|minute|hour|day)s?", text)
    if match is None:
        raise Problem("RP013", f"`{text[:40]}` is not a length of time", "write `15 minutes`, `4 hours` or `2 days`")
    return int(match[1]) * _SECONDS[match[2]]


def _every(raw: Any, _: Words) -> str:
    text = read_text(raw, "a period")
    if text in ("day", "week", "month", "year"):
        return text
    match = re.fullmatch(r"([1-9][0-9]{0,3}) days?", text)
    if match is None:
        raise Problem("RP013", f"`{text[:40]}` is not a period", "write `day`, `week`, `month`, `year` or `90 days`")
    return f"{match[1]} days"


def _choice(*choices: str) -> Callable[[Any, Words], str]:
    def read(raw: Any, _: Words) -> str:
        text = read_text(raw, "a word")
        if text not in choices:
            raise Problem("RP003", f"unknown word `{text[:40]}`", did_you_mean(text, choices))
        return text

    return read


def _count(raw: Any, _: Words) -> int:
    number = read_number(raw)
    if number < 0:
        raise Problem("RP006", f"`{raw}` is below zero", "write 0 or more")
    return number


def _currency(raw: Any, _: Words) -> str:
    text = read_text(raw, "a currency")
    if text not in CURRENCIES:
        raise Problem(
            "RP003",
            f"unknown currency `{text[:40]}`",
            did_you_mean(text, sorted(CURRENCIES)) if len(text) == 3 else "write an ISO 4217 code such as `USD`",
        )
    return text


def _timezone(raw: Any, _: Words) -> str:
    text = read_text(raw, "a time zone")
    try:
        ZoneInfo(text)
    except (ValueError, OSError):
        raise Problem(
            "RP013", f"unknown time zone `{text[:40]}`", "write an IANA name such as `America/Chicago`"
        ) from None
    return text


def _clock(raw: Any, _: Words) -> str:
    text = read_text(raw, "a time of day")
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise Problem(
            "RP013", f"`{text[:40]}` is not a time of day", 'write hours and minutes in quotes, such as "04:00"'
        )
    return text


_TEXT: dict[str, Any] = {"type": "string"}
_AMOUNT: dict[str, Any] = {
    "type": ["number", "string"],
    "description": 'an amount in major units: 100, 100.50, "1,000.00"',
}
_WORDS: dict[str, Any] = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}
_CONDITIONS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": ["string", "number", "boolean"]}, {"type": "array"}]},
    "description": "conditions joined with and; a list means any of these; numbers take over, at least, under, at most, from A to B",
}
_ROW: dict[str, Any] = {
    "type": ["number", "string"],
    "description": "an amount, 0 (only at no cost), none, unlimited or same",
}


def _typed(read: Callable[[Any, Words], Any], schema: dict[str, Any]) -> Any:
    return _reader(read), WithJsonSchema(schema)


Text = Annotated[str, *_typed(lambda raw, _: read_text(raw), _TEXT)]
Name = Annotated[str, *_typed(lambda raw, _: read_word(raw, "a name"), _TEXT)]
Id = Annotated[str, *_typed(lambda raw, _: read_id(raw), _TEXT)]
Role = Annotated[str, *_typed(_known("role"), _TEXT)]
HigherRole = Annotated[str, *_typed(_higher_role, _TEXT)]
Amount = Annotated[int, *_typed(lambda raw, words: read_money(raw, words.currency), _AMOUNT)]
Percent = Annotated[int, *_typed(_percent, {"type": ["number", "string"], "description": "at most two decimals"})]
Count = Annotated[int, *_typed(_count, {"type": "integer", "minimum": 0})]
Flag = Annotated[bool, *_typed(lambda raw, _: read_flag(raw), {"type": "boolean"})]
Day = Annotated[date, *_typed(lambda raw, _: read_day(raw), {"type": "string", "format": "date"})]
Duration = Annotated[int, *_typed(_duration, {"type": "string", "pattern": "^[1-9][0-9]* (second|minute|hour|day)s?$"})]
MoneyFact = Annotated[str, *_typed(lambda raw, words: _fact_of_kind(raw, words, "money"), _TEXT)]
NumberFact = Annotated[str, *_typed(lambda raw, words: _fact_of_kind(raw, words, "number"), _TEXT)]


def _words_of(what: str, least: int = 0) -> tuple[Any, Any]:
    return (
        _list_reader(lambda raw, _: read_word(raw, f"a {what}"), f"{what} words", least),
        WithJsonSchema({"type": "array", "items": _TEXT, "minItems": max(1, least), "uniqueItems": True}),
    )


class Frozen(BaseModel):
    """Every part of a policy: frozen, and without a key that is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


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


def _read_conditions(allowed: tuple[str, ...], facts: bool, raw: Any, words: Words) -> Conditions:
    problems = Problems()
    if not isinstance(raw, dict) or not raw:
        raise Problem("RP007", "conditions are a mapping", "write `{severity: major}`, or leave the key out")
    read_words: dict[str, tuple[str | bool, ...]] = {}
    read_numbers: dict[str, tuple[Interval, ...]] = {}
    fact_names = tuple(words.facts) if facts else ()
    for name, value in raw.items():
        if name not in allowed and name not in fact_names:
            problems.add((name,), _misplaced(name, value, (*allowed, *fact_names)))
            continue
        values = as_list(value)
        if not values:
            problems.add((name,), Problem("RP007", "an empty list holds nothing", "name at least one value"))
        found: list[Any] = []
        for index, item in enumerate(values):
            if words.is_number(name):
                found.append(problems.read((name, index), read_interval, item, name, words))
            elif words.is_flag(name):
                found.append(problems.read((name, index), read_flag, item))
            elif name == "site":
                found.extend(problems.read((name, index), expand_sites, item, words) or ())
            else:
                found.append(problems.read((name, index), read_known, item, name, words))
        unique = dict.fromkeys(item for item in found if item is not None)
        if words.is_number(name):
            read_numbers[name] = tuple(
                sorted(unique, key=lambda ends: (ends[0] is not None, ends[0] or 0, ends[1] or 0))
            )
        else:
            read_words[name] = tuple(sorted(unique))
    problems.raise_if_any()
    return Conditions(words=dict(sorted(read_words.items())), numbers=dict(sorted(read_numbers.items())))


def _misplaced(name: str, value: Any, names: tuple[str, ...]) -> Problem:
    if name in (*WORD_FIELDS, *MONEY_FIELDS):
        return Problem(
            "RP012",
            f"`{name}` may not be tested here",
            "conditions here take " + ", ".join(f"`{known}`" for known in names[:8]),
        )
    if value is None:
        return Problem(
            "RP004", f"unknown condition `{name}`", "a comma ended the value before it: put that value in quotes"
        )
    return Problem("RP003", f"unknown condition `{name}`", did_you_mean(name, names))


def _conditions(*allowed: str, facts: bool = True) -> Any:
    return Annotated[
        Conditions,
        _reader(
            lambda raw, words: raw if isinstance(raw, Conditions) else _read_conditions(allowed, facts, raw, words)
        ),
        WithJsonSchema(_CONDITIONS),
    ]


When = _conditions("remedy", "category", "severity", "site", "basis", "amount", "bill")
Unless = _conditions("category", "severity", "site", "basis", "bill")
GrantWhen = _conditions("category", "severity", "site", "bill")
CeilingWhen = _conditions("remedy", "category", "severity", "site", "basis", "bill")
BudgetWhen = _conditions("remedy", facts=False)
PromiseWhen = _conditions("remedy", "category", "severity", "site", "basis", "amount", "bill", "role")


class Line(Frozen):
    """What every line has: an id, conditions, and words for people."""

    id: Id = ""
    when: When = ANYTHING
    unless: Unless | None = None
    why: Text | None = Field(None, description="why the line is there, for people")
    say: Text | None = Field(None, description="what the customer may be told; never a limit")


class AuthorityLine(Line):
    """How much each role may approve alone, for one case, counting what the case already had."""

    when: GrantWhen = ANYTHING
    unless: GrantWhen | None = None
    up_to: Annotated[
        dict[str, tuple[Cell, ...]],
        BeforeValidator(lambda raw, info: _read_rows(raw, info.context)),
        WithJsonSchema(
            {
                "type": "object",
                "description": "row `total` or a remedy: one cell per role of the ladder, or a mapping by role",
                "additionalProperties": {
                    "anyOf": [{"type": "array", "items": _ROW}, {"type": "object", "additionalProperties": _ROW}]
                },
            }
        ),
    ]


def _read_rows(raw: Any, words: Words) -> dict[str, tuple[Cell, ...]]:
    problems = Problems()
    rows: dict[str, tuple[Cell, ...]] = {}
    if not isinstance(raw, dict) or not raw:
        problems.add((), Problem("RP007", "limits are a mapping", "write `{total: [100, 250, 500]}`"))
        raw = {}
    for name, cells in raw.items():
        if name != "total":
            problems.read((name, "[key]"), _row_name, name, cells, words)
        if isinstance(cells, dict):
            rows[name] = _row_by_role(name, cells, words, problems)
        elif isinstance(cells, list):
            rows[name] = tuple(
                problems.read((name, index), _cell, cell, words) or 0 for index, cell in enumerate(cells)
            )
            if words.ladder and len(cells) != len(words.ladder):
                problems.add((name,), _wrong_length(cells, words.ladder))
        else:
            problems.add(
                (name,),
                Problem(
                    "RP007",
                    "a row is one cell for every role",
                    f"write `[{', '.join(['100'] * len(words.ladder or 'xxx'))}]`",
                ),
            )
    problems.raise_if_any()
    return rows


def _row_name(name: str, cells: Any, words: Words) -> str:
    if cells is None:
        raise Problem("RP004", f"unknown row `{name}`", "a comma ended the value before it: put that value in quotes")
    known = words.remedies
    if known is not None and name not in known:
        raise Problem("RP003", f"unknown remedy `{name}`", did_you_mean(name, ("total", *known)))
    return read_word(name, "a remedy")


def _wrong_length(cells: list[Any], ladder: tuple[str, ...]) -> Problem:
    split = any(re.fullmatch(r"\d{3}(\.\d+)?", str(cell)) for cell in cells[1:]) and len(cells) > len(ladder)
    cure = (
        "put amounts with a comma in quotes, or leave the comma out" if split else f"the roles are {', '.join(ladder)}"
    )
    return Problem("RP007", f"{len(cells)} cells for a ladder of {len(ladder)}", cure)


def _cell(raw: Any, words: Words) -> Cell:
    if raw is None or raw == "":
        raise Problem("RP006", "a blank cell", "write an amount, `0`, `none`, `unlimited` or `same`")
    if raw in (NONE, SAME, UNLIMITED):
        return raw  # type: ignore[no-any-return]
    try:
        return read_money(raw, words.currency)
    except Problem:
        if isinstance(raw, str) and raw.isalpha():
            raise Problem("RP006", f"`{raw[:40]}` is not a cell", did_you_mean(raw, (NONE, SAME, UNLIMITED))) from None
        raise


def _row_by_role(name: str, cells: dict[str, Any], words: Words, problems: Problems) -> tuple[Cell, ...]:
    named: dict[str, Cell] = {}
    for role, cell in cells.items():
        problems.read((name, role, "[key]"), read_known, role, "role", words)
        named[role] = problems.read((name, role), _cell, cell, words) or 0
    row: list[Cell] = []
    for role in words.ladder or ():  # a role that is not named is as the role below, the lowest ones `none`
        row.append(named.get(role, row[-1] if row else NONE))
    return tuple(row)


class Limit(Line):
    """A line that compares a sum with an amount, a percentage of a bill, or so much each; the smallest counts."""

    amount: Amount | None = None
    percent: Percent | None = Field(None, description="with `of`: percent of the bill or a money fact")
    of: MoneyFact | None = None
    each: Amount | None = Field(None, description="with `per`: an amount for each of a number fact")
    per: NumberFact | None = None

    @model_validator(mode="after")
    def _complete(self) -> "Limit":
        problems = Problems()
        if (self.percent is None) != (self.of is None):
            problems.add((), Problem("RP005", "`percent` and `of` go together", "write `percent: 100, of: bill`"))
        if (self.each is None) != (self.per is None):
            problems.add((), Problem("RP005", "`each` and `per` go together", "write `each: 50, per: passengers`"))
        if self.amount is None and self.percent is None and self.each is None:
            problems.add(
                (), Problem("RP005", "no limit in this line", "add `amount`, `percent` and `of`, or `each` and `per`")
            )
        problems.raise_if_any()
        return self


class CeilingLine(Limit):
    """Not over this, whatever the authority; ``binds_below``: that role and above may."""

    when: CeilingWhen = ANYTHING
    binds_below: HigherRole | None = None


class BudgetLine(Line):
    """What one employee, customer, site or the organisation may give or get in a period, as goodwill."""

    when: BudgetWhen = ANYTHING
    unless: None = None
    per: Annotated[
        str,
        *_typed(
            _choice("employee", "customer", "site", "organisation"),
            {"enum": ["employee", "customer", "site", "organisation"]},
        ),
    ]
    every: Annotated[str, *_typed(_every, {"type": "string", "pattern": "^(day|week|month|year|[1-9][0-9]* days?)$"})]
    amount: Amount | None = None
    times: Count | None = Field(None, description="how many cases")
    binds_below: HigherRole | None = None

    @model_validator(mode="after")
    def _complete(self) -> "BudgetLine":
        problems = Problems()
        if self.amount is None and self.times is None:
            problems.add((), Problem("RP005", "no limit in this budget", "add `amount` or `times`"))
        if self.times is not None and self.when.words:
            problems.add(
                ("times",),
                Problem(
                    "RP012",
                    "a budget with `times` counts cases and may name no remedies",
                    "delete `when`, or split the budget in two",
                ),
            )
        problems.raise_if_any()
        return self


class OwedLine(Limit):
    """What the customer is due by law, contract or published promise."""

    when: GrantWhen = ANYTHING
    unless: GrantWhen | None = None
    remedy: Annotated[str, *_typed(_known("remedy"), _TEXT)]
    on_top: Flag = Field(False, description="due besides what the case had as goodwill")
    source: Text | None = None


class DenyLine(Line):
    """Never: one line that fits is enough, and it binds owed money too."""


class RequiresLine(Line):
    """Proof that must be on file."""

    evidence: Annotated[
        tuple[str, ...], _list_reader(lambda raw, _: read_id(raw), "evidence"), WithJsonSchema(_WORDS)
    ] = ()
    note: Flag = False
    waivable_by: HigherRole | None = None

    @model_validator(mode="after")
    def _complete(self) -> "RequiresLine":
        problems = Problems()
        if not self.evidence and not self.note:
            problems.add((), Problem("RP005", "no proof is named", "add `evidence: [receipt]` or `note: true`"))
        problems.raise_if_any()
        return self


class FourEyesLine(Line):
    """A second, different person of this role or above must also agree; ``next_role``: the one above the first."""

    second: Annotated[
        str, *_typed(lambda raw, words: raw if raw == "next_role" else read_known(raw, "role", words), _TEXT)
    ]


class SomeoneElseLine(Line):
    """The requester may not decide, but another person of the same role may."""


class Effective(Frozen):
    """The business days on which the policy is in force, both included."""

    from_: Day = Field(alias="from")
    until: Day | None = None

    @model_validator(mode="after")
    def _forwards(self) -> "Effective":
        if self.until is not None and self.until < self.from_:
            raise _error(Problem("RP012", "`until` is before `from`", "`until` is the last day, included"))
        return self


class Escalation(Frozen):
    """The way up: how long a role has, what silence does, when a grant must be in the customer's hands."""

    answer_within: Annotated[
        dict[str, int],
        BeforeValidator(lambda raw, info: _by_role(raw, info.context)),
        WithJsonSchema({"type": "object", "additionalProperties": _TEXT}),
    ] = {}
    on_silence: Annotated[str, *_typed(_choice("next_role", "decline"), {"enum": ["next_role", "decline"]})] = (
        "next_role"
    )
    fulfil_within: Duration | None = None
    tell_customer: Annotated[
        dict[str, str],
        BeforeValidator(lambda raw, info: _templates(raw)),
        WithJsonSchema({"type": "object", "additionalProperties": _TEXT}),
    ] = {}


def _by_role(raw: Any, words: Words) -> dict[str, int]:
    problems = Problems()
    if not isinstance(raw, dict):
        problems.add((), Problem("RP007", "times are a mapping by role", "write `{manager: 15 minutes}`"))
        raw = {}
    times: dict[str, int] = {}
    for role, value in raw.items():
        problems.read((role, "[key]"), read_known, role, "role", words)
        times[role] = problems.read((role,), _duration, value, words) or 0
    problems.raise_if_any()
    return times


TEMPLATE_FIELDS = ("role", "within", "amount", "remedy", "say")


def _templates(raw: Any) -> dict[str, str]:
    problems = Problems()
    names = ("approved", "escalated", "denied", "incomplete")
    if not isinstance(raw, dict):
        problems.add(
            (), Problem("RP007", "sentences are a mapping", 'write `{approved: "We are putting this right now."}`')
        )
        raw = {}
    for name, text in raw.items():
        if name not in names:
            problems.add((name, "[key]"), Problem("RP004", f"unknown sentence `{name}`", did_you_mean(name, names)))
            continue
        if problems.read((name,), read_text, text) is None:
            continue
        for placeholder in re.findall(r"\{([^{}]*)\}", text):
            if placeholder not in TEMPLATE_FIELDS:
                problems.add(
                    (name,),
                    Problem(
                        "RP003", f"unknown placeholder `{{{placeholder}}}`", did_you_mean(placeholder, TEMPLATE_FIELDS)
                    ),
                )
        if "{" in re.sub(r"\{[^{}]*\}", "", text) or "}" in re.sub(r"\{[^{}]*\}", "", text):
            problems.add((name,), Problem("RP013", "a brace without its partner", "placeholders are written {amount}"))
    problems.raise_if_any()
    return dict(raw)


class Promise(Frozen):
    """A statement proven for every possible case: these requests are never, or always, decided so."""

    id: Id = ""
    never: Annotated[str | None, BeforeValidator(lambda raw, info: _outcome(raw, info.context))] = None
    always: Annotated[str | None, BeforeValidator(lambda raw, info: _outcome(raw, info.context))] = None
    when: PromiseWhen = ANYTHING
    unless: PromiseWhen | None = None
    why: Text | None = None

    @model_validator(mode="after")
    def _one(self) -> "Promise":
        if (self.never is None) == (self.always is None):
            raise _error(Problem("RP005", "a promise says either `never` or `always`", "write `never: approve`"))
        return self


def _outcome(raw: Any, words: Words) -> str:
    problems = Problems()
    if isinstance(raw, dict) and list(raw) == ["escalate_to"]:
        role = problems.read(("escalate_to",), read_known, raw["escalate_to"], "role", words)
        problems.raise_if_any()
        return f"escalate_to:{role}"
    outcome = problems.read((), _choice("approve", "deny", "incomplete"), raw, words)
    problems.raise_if_any()
    return outcome or ""


class Expect(Frozen):
    """What a test expects; only what is named is compared, ``because`` and ids as whole sets."""

    approve: bool = False
    escalate_to: Role | None = None
    deny: tuple[str, ...] | None = None
    incomplete: tuple[str, ...] | None = None
    because: tuple[str, ...] | None = None
    needs: tuple[str, ...] | None = None
    second: Role | None = None
    grantable_now: int | Literal["unlimited"] | None = None


def _read_expect(raw: Any, words: Words) -> dict[str, Any]:
    problems = Problems()
    if raw == "approve":
        return {"approve": True}
    fields = tuple(Expect.model_fields)
    if not isinstance(raw, dict):
        cure = "write `approve`, `{escalate_to: lead}`, `{deny: [line]}` or `{incomplete: [proof]}`"
        raise Problem("RP007", f"`{str(raw or '')[:40]}` is not an expectation", cure)
    found: dict[str, Any] = {}
    ids = (*sorted(words.line_ids), NOBODY_GIVES, NOTHING_OWED, REASON_CODES)
    for name, value in raw.items():
        if name not in fields:
            problems.add((name, "[key]"), Problem("RP004", f"unknown expectation `{name}`", did_you_mean(name, fields)))
        elif name == "approve":
            found[name] = problems.read((name,), read_flag, value)
        elif name in ("escalate_to", "second"):
            found[name] = problems.read((name,), read_known, value, "role", words)
        elif name == "grantable_now":
            found[name] = value if value == UNLIMITED else problems.read((name,), read_money, value, words.currency)
        else:
            items = as_list(value)
            found[name] = tuple(str(problems.read((name, index), read_id, item)) for index, item in enumerate(items))
            for index, item in enumerate(items):
                if name in ("deny", "because") and isinstance(item, str) and item not in ids:
                    problems.add((name, index), Problem("RP003", f"unknown line `{item}`", did_you_mean(item, ids)))
    outcomes = [name for name in ("approve", "escalate_to", "deny", "incomplete") if name in found]
    if len(outcomes) != 1:
        problems.add(
            (),
            Problem(
                "RP005", "a test expects exactly one outcome", "name one of approve, escalate_to, deny, incomplete"
            ),
        )
    problems.raise_if_any()
    return found


def _read_given(raw: Any, words: Words) -> dict[str, Any]:
    """The request of a test, still as text, with unknown names and words found; deciding it finds the rest."""
    problems = Problems()
    if not isinstance(raw, dict):
        raise Problem(
            "RP007", "`given` is a mapping of request fields and facts", "write `{role: ..., remedy: ..., amount: ...}`"
        )
    names = (*REQUEST_FIELDS, *USAGE_FIELDS, *words.facts)
    for name, value in raw.items():
        if name not in names:
            problems.add((name, "[key]"), _misplaced(name, value, names))
        elif name in ("on_case", "owed_on_case"):
            for remedy, amount in value.items() if isinstance(value, dict) else ():
                problems.read((name, remedy, "[key]"), read_known, remedy, "remedy", words)
                problems.read((name, remedy), read_money, amount, words.currency)
        elif name == "used":
            for budget in value if isinstance(value, dict) else ():
                if budget not in words.budget_ids:
                    cure = did_you_mean(budget, sorted(words.budget_ids))
                    problems.add((name, budget, "[key]"), Problem("RP003", f"unknown budget `{budget}`", cure))
        elif name in words.facts:
            problems.read((name,), read_fact, value, words.facts[name], name, words)
        elif name in WORD_FIELDS:
            problems.read((name,), read_known, value, name, words)
        elif name in MONEY_FIELDS:
            problems.read((name,), read_money, value, words.currency)
    problems.raise_if_any()
    return raw


class Example(Frozen):
    """One embedded test: a request, and what is expected of it."""

    name: Text
    given: Annotated[dict[str, Any], _reader(_read_given), WithJsonSchema({"type": "object"})]
    expect: Annotated[
        Expect, _reader(_read_expect), WithJsonSchema({"anyOf": [{"const": "approve"}, {"type": "object"}]})
    ]


def _read_fact_declaration(raw: Any, words: Words) -> Fact:
    problems = Problems()
    kinds = ("one_of", "flag", "number", "money")
    named = [kind for kind in kinds if isinstance(raw, dict) and kind in raw]
    if len(named) != 1:
        raise Problem(
            "RP007",
            "a fact is one of `one_of`, `flag`, `number`, `money`",
            "write `{number: true}` or `{one_of: [a, b]}`",
        )
    for name in raw:
        if name not in (*kinds, "default"):
            problems.add(
                (name, "[key]"), Problem("RP004", f"unknown key `{name}`", did_you_mean(name, (*kinds, "default")))
            )
    kind = named[0]
    one_of: tuple[str, ...] = ()
    if kind == "one_of":
        items = as_list(raw[kind]) if raw[kind] else []
        one_of = tuple(str(problems.read((kind, index), read_word, item)) for index, item in enumerate(items))
        if not one_of:
            problems.add((kind,), Problem("RP007", "an empty list of words", "name at least one"))
        if (twice := first_twice(one_of)) is not None:
            problems.add((kind, twice), Problem("RP008", f"`{one_of[twice]}` stands twice", "delete one"))
    elif problems.read((kind,), read_flag, raw[kind]) is False:
        problems.add((kind,), Problem("RP007", f"`{kind}: false` says nothing", f"write `{kind}: true`"))
    fact = Fact(kind, one_of)  # type: ignore[arg-type]
    if "default" in raw:
        one_fact = Words(words.currency, words.ladder, facts={"default": fact})
        fact = Fact(
            fact.kind, one_of, problems.read(("default",), read_fact, raw["default"], fact, "default", one_fact)
        )
    problems.raise_if_any()
    return fact


def _read_facts(raw: Any, words: Words) -> dict[str, Fact]:
    problems = Problems()
    facts: dict[str, Fact] = {}
    if not isinstance(raw, dict):
        raise Problem("RP007", "facts are a mapping", "write `{days_since_visit: {number: true}}`")
    for name, declaration in raw.items():
        if name in BUILT_IN:
            problems.add(
                (name, "[key]"), Problem("RP012", f"`{name}` is a built-in word", f"call the fact `the_{name}`")
            )
        elif not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
            problems.add(
                (name, "[key]"),
                Problem("RP013", f"`{name[:40]}` is not the name of a fact", "use a to z, digits and _"),
            )
        try:
            facts[name] = _read_fact_declaration(declaration, words)
        except Problem as problem:
            problems.add((name,), problem)
        except ValidationError as error:
            for detail in error.errors():
                problems.add(
                    (name, *detail["loc"]), Problem(detail["type"], detail["ctx"]["message"], detail["ctx"]["help"])
                )
    problems.raise_if_any()
    return facts


def _read_groups(raw: Any, words: Words) -> dict[str, tuple[str, ...]]:
    problems = Problems()
    groups: dict[str, tuple[str, ...]] = {}
    sections = raw if isinstance(raw, dict) else {"all_sites": raw}
    for group, sites in sections.items():
        loc: tuple[str | int, ...] = (group,) if isinstance(raw, dict) else ()
        problems.read((*loc, "[key]"), read_word, group, "the name of a group")
        items = as_list(sites) if sites else []
        groups[group] = tuple(str(problems.read((*loc, index), read_id, item)) for index, item in enumerate(items))
        if not items:
            problems.add(loc, Problem("RP007", "an empty list of sites", "name at least one"))
        if (twice := first_twice(groups[group])) is not None:
            problems.add((*loc, twice), Problem("RP008", f"`{groups[group][twice]}` stands twice", "delete one"))
        if group in (site for others in groups.values() for site in others):
            problems.add((*loc, "[key]"), Problem("RP008", f"`{group}` names both a group and a site", "rename one"))
    problems.raise_if_any()
    return groups


def _read_reason_codes(raw: Any, words: Words) -> dict[str, tuple[str, ...]]:
    problems = Problems()
    codes: dict[str, tuple[str, ...]] = {}
    if not isinstance(raw, dict):
        raise Problem("RP007", "reason codes are a mapping by category", "write `{billing: [B01, B02]}`")
    for category, items in raw.items():
        problems.read((category, "[key]"), read_known, category, "category", words)
        values = as_list(items) if items else []
        codes[category] = tuple(
            str(problems.read((category, index), read_id, item)) for index, item in enumerate(values)
        )
        if not values:
            problems.add((category,), Problem("RP007", "an empty list of codes", "name at least one"))
    problems.raise_if_any()
    return codes


def _read_timezones(raw: Any, words: Words) -> dict[str, str]:
    problems = Problems()
    if not isinstance(raw, dict):
        raise Problem("RP007", "time zones are a mapping by group of sites", "write `{franchise: America/Denver}`")
    groups = tuple(words.sites or ())
    for group, zone in raw.items():
        if group not in groups:
            problems.add(
                (group, "[key]"), Problem("RP003", f"unknown group of sites `{group}`", did_you_mean(group, groups))
            )
        problems.read((group,), _timezone, zone, words)
    problems.raise_if_any()
    return dict(raw)


class Policy(Frozen):
    """A whole policy, parsed. Its identity is ``digest``; ``where(id)`` names the place of a line in its file."""

    policy: Id
    version: Text | None = Field(None, description="a label for people; identity is the digest")
    effective: Effective | None = None
    currency: Annotated[str, *_typed(_currency, {"type": "string", "pattern": "^[A-Z]{3}$"})]
    timezone: Annotated[str, *_typed(_timezone, _TEXT)] = "UTC"
    timezones: Annotated[dict[str, str], _reader(_read_timezones), WithJsonSchema({"type": "object"})] = {}
    day_starts: Annotated[str, *_typed(_clock, _TEXT)] = "00:00"
    owner: Text | None = None
    source: Text | None = Field(None, description="where the figures come from")
    ladder: Annotated[tuple[str, ...], *_words_of("role")] = Field(description="roles, lowest authority first")
    remedies: Annotated[tuple[str, ...] | None, *_words_of("remedy")] = None
    categories: Annotated[tuple[str, ...] | None, *_words_of("category")] = None
    severities: Annotated[tuple[str, ...] | None, *_words_of("severity")] = None
    sites: Annotated[
        dict[str, tuple[str, ...]] | None,
        _reader(_read_groups),
        WithJsonSchema(
            {"anyOf": [{"type": "object", "additionalProperties": _WORDS}, {"type": "array", "items": _TEXT}]}
        ),
    ] = None
    facts: Annotated[
        dict[str, Fact],
        _reader(_read_facts),
        WithJsonSchema({"type": "object", "additionalProperties": {"type": "object"}}),
    ] = {}
    authority: tuple[AuthorityLine, ...] = ()
    ceilings: tuple[CeilingLine, ...] = ()
    budgets: tuple[BudgetLine, ...] = ()
    owed: tuple[OwedLine, ...] = ()
    deny: tuple[DenyLine, ...] = ()
    requires: tuple[RequiresLine, ...] = ()
    reason_codes: Annotated[
        dict[str, tuple[str, ...]],
        _reader(_read_reason_codes),
        WithJsonSchema({"type": "object", "additionalProperties": _WORDS}),
    ] = {}
    four_eyes: tuple[FourEyesLine, ...] = ()
    someone_else: tuple[SomeoneElseLine, ...] = ()
    escalation: Escalation = Escalation()
    promises: tuple[Promise, ...] = ()
    tests: tuple[Example, ...] = ()

    _file: str = PrivateAttr("")
    _places: dict[str, int] = PrivateAttr(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON of what decides: tests and promises are left out, layout too."""
        return hashlib.sha256(canonical(self)).hexdigest()

    @cached_property
    def ref(self) -> PolicyRef:
        """Name, version and digest."""
        return PolicyRef(self.policy, self.version or "", self.digest)

    @cached_property
    def words(self) -> Words:
        """Every word the policy lists."""
        return Words(
            self.currency, self.ladder, self.remedies, self.categories, self.severities, self.sites, self.facts, self.reason_codes,
            frozenset(line.id for line in self.lines()), frozenset(line.id for line in self.budgets),
        )  # fmt: skip

    def lines(self) -> Iterator[Line]:
        """Every line that decides, in the order of the file's sections."""
        for section in SECTIONS:
            yield from getattr(self, section)

    def where(self, line: str) -> str:
        """``file:line`` of a line that decides, or of the section that stands for it."""
        number = self._places.get(line, 1)
        return f"{self._file}:{number}"

    def with_owed(self, lines: "tuple[OwedLine, ...]", facts: dict[str, Fact]) -> "Policy":
        """The same policy with other owed lines and the facts they read; an intermediate, with a digest of its own."""
        merged = self.model_copy(update={"owed": lines, "facts": facts | self.facts})
        for name in ("digest", "ref", "words"):
            merged.__dict__.pop(name, None)
        return merged

    def rank(self, role: str) -> int:
        """The place of a role on the ladder, the lowest being 0."""
        return self.ladder.index(role)


def canonical(policy: Policy) -> bytes:
    """The RFC 8785 bytes of what decides. Keys that people choose become sorted pairs, so keys stay ASCII."""
    return orjson.dumps(_plain(policy), option=orjson.OPT_SORT_KEYS)


def _plain(value: Any) -> Any:
    match value:
        case Policy() | Frozen():
            fields = {
                name: getattr(value, name) for name in type(value).model_fields if name not in ("tests", "promises")
            }
            return {name.rstrip("_"): _plain(field) for name, field in fields.items() if field is not None}
        case Fact():
            return _plain({"kind": value.kind, "one_of": value.one_of, "default": value.default})
        case Mapping():
            return [[key, _plain(value[key])] for key in sorted(value)]
        case tuple() | list():
            return [_plain(item) for item in value]
        case date():
            return value.isoformat()
    return value


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a policy file, for editors."""
    return Policy.model_json_schema()
