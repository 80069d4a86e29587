"""What a policy says: the parsed policy, frozen, and the shape its file must have.

Every scalar arrives as the text that stands in the file; the field types turn it into values with the policy's own
words as context. Amounts are minor units, percentages hundredths of a percent, times seconds.
"""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cached_property
from typing import Annotated, Any

import orjson
from pydantic import Field, PrivateAttr, model_validator

from recovery_engine.errors import did_you_mean
from recovery_engine.model import PolicyRef
from recovery_engine.policy.checked import Example, Promise
from recovery_engine.policy.declared import (
    NONE,
    SAME,
    UNLIMITED,
    Cell,
    Facts,
    ReasonCodes,
    Rows,
    Sites,
    Timezones,
)
from recovery_engine.policy.fields import (
    ANYTHING,
    KEY,
    TEXT,
    Amount,
    BudgetWhen,
    Categories,
    CeilingWhen,
    Clock,
    Conditions,
    Count,
    Currency,
    Day,
    Duration,
    Evidence,
    Flag,
    Frozen,
    GrantWhen,
    HigherRole,
    Id,
    Ladder,
    MoneyFact,
    NumberFact,
    Percent,
    Period,
    Problems,
    Remedies,
    Remedy,
    Severities,
    Text,
    Timezone,
    Unless,
    When,
    choice,
    mapping_of,
    pydantic_error,
    read_duration,
    reads,
)
from recovery_engine.policy.words import Fact, Problem, Words, read_known, read_text

__all__ = ["ANYTHING", "NONE", "SAME", "SECTIONS", "UNLIMITED", "Cell", "Conditions", "Example", "Policy", "Promise"]

PARENTS_OWN = ("currency", "ladder", "remedies", "categories", "severities")
"""What a policy that extends another may not say itself."""

SECTIONS = ("authority", "ceilings", "budgets", "owed", "deny", "requires", "four_eyes", "someone_else")
"""The lists of lines that decide, in the order in which people read them."""


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
    up_to: Rows


class Limit(Line):
    """A line that compares a sum with an amount, a percentage of a bill, or so much each; the smallest counts."""

    amount: Amount | None = None
    percent: Percent | None = Field(None, description="with `of`: percent of the bill or a money fact")
    of: MoneyFact | None = None
    each: Amount | None = Field(None, description="with `per`: an amount for each of a number fact")
    per: NumberFact | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> "Limit":
        problems = Problems()
        if (self.percent is None) != (self.of is None):
            problems.add((), Problem("RP005", "`percent` and `of` go together", "write `percent: 100, of: bill`"))
        if (self.each is None) != (self.per is None):
            problems.add((), Problem("RP005", "`each` and `per` go together", "write `each: 50, per: passengers`"))
        if self.amount is None and self.percent is None and self.each is None:
            cure = "add `amount`, `percent` and `of`, or `each` and `per`"
            problems.add((), Problem("RP005", "no limit in this line", cure))
        problems.raise_if_any()
        return self


class CeilingLine(Limit):
    """Not over this, whatever the authority; ``binds_below``: that role and above may."""

    when: CeilingWhen = ANYTHING
    binds_below: HigherRole | None = None


def _no_unless(raw: Any, _: Words) -> None:
    raise Problem("RP012", "a budget has no `unless`: it counts everything", "delete it")


_PER = ("employee", "customer", "site", "organisation")


class BudgetLine(Line):
    """What one employee, customer, site or the organisation may give or get in a period, as goodwill."""

    when: BudgetWhen = ANYTHING
    unless: Annotated[None, reads(_no_unless, {"not": {}})] = None
    per: Annotated[str, reads(choice(*_PER), {"enum": list(_PER)})]
    every: Period
    amount: Amount | None = None
    times: Count | None = Field(None, description="how many cases")
    binds_below: HigherRole | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> "BudgetLine":
        problems = Problems()
        if self.amount is None and self.times is None:
            problems.add((), Problem("RP005", "no limit in this budget", "add `amount` or `times`"))
        if self.times is not None and self.when.words:
            message = "a budget with `times` counts cases and may name no remedies"
            problems.add(("times",), Problem("RP012", message, "delete `when`, or split the budget in two"))
        problems.raise_if_any()
        return self


class OwedLine(Limit):
    """What the customer is due by law, contract or published promise."""

    when: GrantWhen = ANYTHING
    unless: GrantWhen | None = None
    remedy: Remedy
    on_top: Flag = Field(False, description="due besides what the case had as goodwill")
    source: Text | None = None


class DenyLine(Line):
    """Never: one line that fits is enough, and it binds owed money too."""


class RequiresLine(Line):
    """Proof that must be on file."""

    evidence: Evidence = ()
    note: Flag = False
    waivable_by: HigherRole | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> "RequiresLine":
        if not self.evidence and not self.note:
            cure = "add `evidence: [receipt]` or `note: true`"
            raise pydantic_error(Problem("RP005", "no proof is named", cure))
        return self


def _read_second(raw: Any, words: Words) -> str:
    return raw if raw == "next_role" else read_known(raw, "role", words)


class FourEyesLine(Line):
    """A second, different person of this role or above must also agree; ``next_role``: the one above the first."""

    second: Annotated[str, reads(_read_second, TEXT)]


class SomeoneElseLine(Line):
    """The requester may not decide, but another person of the same role may."""


class Effective(Frozen):
    """The business days on which the policy is in force, both included."""

    from_: Day = Field(alias="from")
    until: Day | None = None

    @model_validator(mode="after")
    def _goes_forward(self) -> "Effective":
        if self.until is not None and self.until < self.from_:
            raise pydantic_error(Problem("RP012", "`until` is before `from`", "`until` is the last day, included"))
        return self


# --- the way up -------------------------------------------------------------------------------------------------------

PLACEHOLDERS = ("role", "within", "amount", "remedy", "say")
SENTENCES = ("approved", "escalated", "denied", "incomplete")


def _read_times_by_role(raw: Any, words: Words) -> dict[str, int]:
    if not isinstance(raw, dict):
        raise Problem("RP007", "times are a mapping by role", "write `{manager: 15 minutes}`")
    problems = Problems()
    times: dict[str, int] = {}
    for role, value in raw.items():
        problems.read((role, KEY), read_known, role, "role", words)
        times[role] = problems.read((role,), read_duration, value, words) or 0
    problems.raise_if_any()
    return times


def _read_sentences(raw: Any, _: Words) -> dict[str, str]:
    if not isinstance(raw, dict):
        raise Problem("RP007", "sentences are a mapping", 'write `{approved: "We are putting this right now."}`')
    problems = Problems()
    for name, text in raw.items():
        if name not in SENTENCES:
            cure = did_you_mean(name, SENTENCES)
            problems.add((name, KEY), Problem("RP004", f"unknown sentence `{name}`", cure))
        problems.read((name,), _read_sentence, text)
    problems.raise_if_any()
    return dict(raw)


def _read_sentence(raw: Any) -> str:
    text = read_text(raw, "a sentence")
    pieces = text.replace("}", "{").split("{")  # every second piece is a placeholder
    if text.count("{") != text.count("}") or len(pieces) % 2 == 0:
        raise Problem("RP013", "a brace without its partner", "placeholders are written {amount}")
    for placeholder in pieces[1::2]:
        if placeholder not in PLACEHOLDERS:
            raise Problem("RP003", f"unknown placeholder `{placeholder}`", did_you_mean(placeholder, PLACEHOLDERS))
    if text != "".join(f"{{{piece}}}" if at % 2 else piece for at, piece in enumerate(pieces)):
        raise Problem("RP013", "a brace without its partner", "placeholders are written {amount}")
    return text


_ON_SILENCE = ("next_role", "decline")
_ON_QUESTION = ("pause", "run")


class Escalation(Frozen):
    """The way up: how long a role has, what silence does, when a grant must be in the customer's hands."""

    answer_within: Annotated[dict[str, int], reads(_read_times_by_role, mapping_of(TEXT))] = {}
    on_silence: Annotated[str, reads(choice(*_ON_SILENCE), {"enum": list(_ON_SILENCE)})] = "next_role"
    on_question: Annotated[str | None, reads(choice(*_ON_QUESTION), {"enum": list(_ON_QUESTION)})] = None
    fulfil_within: Duration | None = None
    tell_customer: Annotated[dict[str, str], reads(_read_sentences, mapping_of(TEXT))] = {}


# --- the policy -------------------------------------------------------------------------------------------------------


class Policy(Frozen):
    """A whole policy, parsed. Its identity is ``digest``; ``where(id)`` names the place of a line in its file."""

    policy: Id = Field(description="the name of the policy; its versions share it")
    version: Text | None = Field(None, description="a label for people; identity is the digest")
    effective: Effective | None = Field(None, description="the business days on which it is in force")
    currency: Currency = Field(description="ISO 4217 code; every amount in the file is in it")
    timezone: Timezone = Field("UTC", description="IANA name: when a business day starts and ends")
    timezones: Timezones = Field({}, description="other time zones, by group of sites")
    day_starts: Clock = Field("00:00", description="the time at which a business day starts")
    extends: Text | None = Field(None, description="a policy that this one only tightens: a file, or a starter policy")
    owner: Text | None = Field(None, description="who answers for this policy")
    source: Text | None = Field(None, description="where the figures come from")
    ladder: Ladder = Field(description="roles, lowest authority first")
    remedies: Remedies | None = Field(None, description="what may be given; left out: any word")
    categories: Categories | None = Field(None, description="what goes wrong; left out: any word")
    severities: Severities | None = Field(None, description="how badly; left out: any word")
    sites: Sites | None = Field(None, description="sites by group, or a list; left out: any site")
    facts: Facts = Field({}, description="what the host knows and the rules may use")
    authority: tuple[AuthorityLine, ...] = Field((), description="how much each role may approve alone, for one case")
    ceilings: tuple[CeilingLine, ...] = Field((), description="not over this; every one that fits applies")
    budgets: tuple[BudgetLine, ...] = Field((), description="limits over time; every one that fits applies")
    owed: tuple[OwedLine, ...] = Field((), description="what is due by law, contract or promise: settle it at once")
    deny: tuple[DenyLine, ...] = Field((), description="never; one line that fits is enough")
    requires: tuple[RequiresLine, ...] = Field((), description="proof that must be on file")
    reason_codes: ReasonCodes = Field({}, description="categories that need one of these codes as the reason")
    four_eyes: tuple[FourEyesLine, ...] = Field((), description="a second, different person must also agree")
    someone_else: tuple[SomeoneElseLine, ...] = Field((), description="another person of the same role decides")
    escalation: Escalation = Field(Escalation(), description="the way up, and what to tell the customer")
    promises: tuple[Promise, ...] = Field((), description="statements about every possible case")
    tests: tuple[Example, ...] = Field((), description="examples, run by `recovery test`; they decide nothing")

    _file: str = PrivateAttr("")
    _places: dict[str, str] = PrivateAttr(default_factory=dict)
    _parent: "Policy | None" = PrivateAttr(None)
    _own_rank: int | None = PrivateAttr(None)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON of what decides: tests, promises, `extends` and layout are left out."""
        return hashlib.sha256(canonical(self)).hexdigest()

    @cached_property
    def ref(self) -> PolicyRef:
        """Name, version and digest."""
        return PolicyRef(self.policy, self.version or "", self.digest)

    @cached_property
    def words(self) -> Words:
        """Every word the policy lists."""
        return Words(
            currency=self.currency,
            ladder=self.ladder,
            remedies=self.remedies,
            categories=self.categories,
            severities=self.severities,
            sites=self.sites,
            facts=self.facts,
            line_ids=frozenset(line.id for line in self.lines()),
            budget_ids=frozenset(line.id for line in self.budgets),
        )

    @cached_property
    def by_id(self) -> dict[str, Line]:
        """The lines that decide, by their ids."""
        return {line.id: line for line in self.lines()}

    def lines(self) -> Iterator[Line]:
        """Every line that decides, in the order of the file's sections."""
        for section in SECTIONS:
            yield from getattr(self, section)

    def where(self, line: str) -> str:
        """``file:line`` of a line that decides, in whichever file it stands, or of the section that stands for it."""
        return self._places.get(line, f"{self._file}:1")

    @property
    def parent(self) -> "Policy | None":
        """The policy that this one extends; its lines are among the lines of this one."""
        return self._parent

    def with_owed(self, lines: tuple[OwedLine, ...], facts: dict[str, Fact]) -> "Policy":
        """The same policy with other owed lines and the facts they read; an intermediate with a digest of its own."""
        return self.with_parts(owed=lines, facts=facts | self.facts)

    def with_parts(self, **parts: Any) -> "Policy":
        """The same policy with other parts, which are taken as they are; it has a digest of its own."""
        other = self.model_copy(update=parts)
        for name in ("digest", "ref", "words", "by_id"):
            other.__dict__.pop(name, None)
        return other

    def without_line(self, section: str, name: str) -> "Policy":
        """The same policy without one of its lines."""
        return self.with_parts(**{section: tuple(line for line in getattr(self, section) if line.id != name)})

    def with_own_cells(self, lines: tuple[AuthorityLine, ...], rank: int) -> "Policy":
        """The same policy, by the same digest, whose authority rows end with the cell of one person of a rank."""
        ref = self.ref  # worked out here, it is copied
        personal = self.model_copy(update={"authority": lines})
        personal.__dict__.pop("by_id", None)
        personal._own_rank = rank
        assert personal.ref is ref
        return personal

    def column(self, rank: int) -> int:
        """The place of the requester's cell in an authority row: that of the role, or past all roles an own one."""
        return len(self.ladder) if rank == self._own_rank else rank

    def rank(self, role: str) -> int:
        """The place of a role on the ladder, the lowest being 0."""
        return self.ladder.index(role)


def canonical(policy: Policy) -> bytes:
    """The RFC 8785 bytes of what decides. Keys that people choose become sorted pairs, so that keys stay ASCII."""
    return orjson.dumps(_plain(policy), option=orjson.OPT_SORT_KEYS)


def _plain(value: Any) -> Any:
    match value:
        case Frozen():
            names = [name for name in type(value).model_fields if name not in ("tests", "promises", "extends")]
            return {name.rstrip("_"): _plain(field) for name in names if (field := getattr(value, name)) is not None}
        case Fact():
            return {"kind": value.kind, "one_of": value.one_of, "default": value.default}
        case Mapping():
            return [[key, _plain(value[key])] for key in sorted(value)]
        case tuple() | list():
            return [_plain(item) for item in value]
        case date():
            return value.isoformat()
    return value


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a policy file, for editors."""
    schema = Policy.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "recovery-engine policy",
        "required": ["policy"],
        "if": {"required": ["extends"]},
        "then": {"properties": dict.fromkeys(PARENTS_OWN, False)},
        "else": {"required": schema["required"]},
    }
