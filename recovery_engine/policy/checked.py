"""The blocks of a policy that decide nothing: promises, proven for every case, and tests, run as examples."""

from typing import Annotated, Any, Literal

from pydantic import model_validator

from recovery_engine.errors import did_you_mean
from recovery_engine.model import NOBODY_GIVES, NOTHING_OWED, REASON_CODES
from recovery_engine.policy.declared import UNLIMITED
from recovery_engine.policy.fields import (
    ANYTHING,
    KEY,
    TEXT,
    Frozen,
    Id,
    Problems,
    PromiseWhen,
    Schema,
    Text,
    choice,
    misplaced,
    pydantic_error,
    reads,
)
from recovery_engine.policy.words import (
    MONEY_FIELDS,
    REQUEST_FIELDS,
    USAGE_FIELDS,
    WORD_FIELDS,
    Problem,
    Words,
    as_list,
    read_fact,
    read_flag,
    read_id,
    read_known,
    read_money,
)


def _read_outcome(raw: Any, words: Words) -> str:
    if isinstance(raw, dict) and list(raw) == ["escalate_to"]:
        problems = Problems()
        role = problems.read(("escalate_to",), read_known, raw["escalate_to"], "role", words)
        problems.raise_if_any()
        return f"escalate_to:{role}"
    return str(choice("approve", "deny", "incomplete")(raw, words))


_OUTCOME: Schema = {
    "anyOf": [
        {"enum": ["approve", "deny", "incomplete"]},
        {"type": "object", "properties": {"escalate_to": TEXT}, "required": ["escalate_to"]},
    ]
}
PromisedOutcome = Annotated[str, reads(_read_outcome, _OUTCOME)]


class Promise(Frozen):
    """A statement about every possible case: these requests are never, or always, decided so.

    An outcome is ``approve``, ``deny``, ``incomplete`` or ``escalate_to:<role>``.
    """

    id: Id = ""
    never: PromisedOutcome | None = None
    always: PromisedOutcome | None = None
    when: PromiseWhen = ANYTHING
    unless: PromiseWhen | None = None
    why: Text | None = None

    @model_validator(mode="after")
    def _says_one(self) -> "Promise":
        if (self.never is None) == (self.always is None):
            problem = Problem("RP005", "a promise says either `never` or `always`", "write `never: approve`")
            raise pydantic_error(problem)
        return self


class Expect(Frozen):
    """What a test expects; only what is named is compared, ids as whole sets, amounts in minor units."""

    approve: bool = False
    escalate_to: str | None = None
    deny: tuple[str, ...] | None = None
    incomplete: tuple[str, ...] | None = None
    because: tuple[str, ...] | None = None
    needs: tuple[str, ...] | None = None
    second: str | None = None
    grantable_now: int | Literal["unlimited"] | None = None


_OUTCOMES = ("approve", "escalate_to", "deny", "incomplete")


def _read_expect(raw: Any, words: Words) -> Expect:
    if raw == "approve":
        return Expect(approve=True)
    if not isinstance(raw, dict):
        cure = "write `approve`, `{escalate_to: lead}`, `{deny: [line]}` or `{incomplete: [proof]}`"
        raise Problem("RP007", f"`{str(raw or '')[:40]}` is not an expectation", cure)
    problems = Problems()
    found: dict[str, Any] = {}
    for name, value in raw.items():
        if name not in Expect.model_fields:
            cure = did_you_mean(name, tuple(Expect.model_fields))
            problems.add((name, KEY), Problem("RP004", f"unknown expectation `{name}`", cure))
        else:
            found[name] = problems.read((name,), _read_expected, name, value, words)
    if len([name for name in _OUTCOMES if name in found]) != 1:
        cure = f"name one of {', '.join(_OUTCOMES)}"
        problems.add((), Problem("RP005", "a test expects exactly one outcome", cure))
    problems.raise_if_any()
    return Expect(**found)


def _read_expected(name: str, value: Any, words: Words) -> Any:
    match name:
        case "approve":
            if not read_flag(value):
                raise Problem("RP007", "`approve: false` says nothing", "name the outcome that is expected")
            return True
        case "escalate_to" | "second":
            return read_known(value, "role", words)
        case "grantable_now":
            return value if value == UNLIMITED else read_money(value, words.currency)
    problems = Problems()
    ids = (*sorted(words.line_ids), NOBODY_GIVES, NOTHING_OWED, REASON_CODES) if name in ("deny", "because") else None
    items = as_list(value)
    read = tuple(problems.read((index,), _read_line_or_proof, item, ids) for index, item in enumerate(items))
    problems.raise_if_any()
    return read


def _read_line_or_proof(item: Any, ids: tuple[str, ...] | None) -> str:
    text = read_id(item)
    if ids is not None and text not in ids:
        raise Problem("RP003", f"unknown line `{text}`", did_you_mean(text, ids))
    return text


def _read_given(raw: Any, words: Words) -> dict[str, Any]:
    """The request of a test, still as text, with unknown names and words found; deciding it finds the rest."""
    if not isinstance(raw, dict):
        cure = "write `{role: ..., remedy: ..., amount: ...}`"
        raise Problem("RP007", "`given` is a mapping of request fields and facts", cure)
    problems = Problems()
    names = (*REQUEST_FIELDS, *USAGE_FIELDS, *words.facts)
    for name, value in raw.items():
        if name not in names:
            problems.add((name, KEY), misplaced(name, value, names))
        else:
            problems.read((name,), _read_given_value, name, value, words)
    problems.raise_if_any()
    return raw


def _read_given_value(name: str, value: Any, words: Words) -> None:
    if name in words.facts:
        read_fact(value, words.facts[name], name, words)
    elif name in WORD_FIELDS:
        read_known(value, name, words)
    elif name in MONEY_FIELDS:
        read_money(value, words.currency)
    elif name in USAGE_FIELDS:
        if not isinstance(value, dict):
            cure = "write `{budget: {amount: 50}}`" if name == "used" else "write `{refund: 60}`"
            raise Problem("RP007", f"`{name}` is a mapping", cure)
        problems = Problems()
        for key, figures in value.items():
            if name == "used":
                problems.read((key, KEY), _read_budget, key, words)
            else:
                problems.read((key, KEY), read_known, key, "remedy", words)
                problems.read((key,), read_money, figures, words.currency)
        problems.raise_if_any()


def _read_budget(name: str, words: Words) -> str:
    if name not in words.budget_ids:
        raise Problem("RP003", f"unknown budget `{name}`", did_you_mean(name, sorted(words.budget_ids)))
    return name


_EXPECT: Schema = {
    "anyOf": [
        {"const": "approve"},
        {"type": "object", "properties": {name: {} for name in Expect.model_fields}, "additionalProperties": False},
    ]
}


class Example(Frozen):
    """One embedded test: a request with its usage, and what is expected of it."""

    name: Text
    given: Annotated[dict[str, Any], reads(_read_given, {"type": "object"})]
    expect: Annotated[Expect, reads(_read_expect, _EXPECT)]
