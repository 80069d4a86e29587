"""A request as an entry holds it, and back; and what a log asks of one beyond what a policy asks."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from itertools import chain
from types import UnionType
from typing import Any
from unicodedata import is_normalized

from recovery_engine.errors import Diagnostic, InvalidRequest
from recovery_engine.forbidden import forbidden
from recovery_engine.log.entry import REFERENCE
from recovery_engine.model import GOODWILL, FactValue, OwnLimit, RecoveryRequest
from recovery_engine.money import Money
from recovery_engine.policy.reading import ILL_TYPED, MISSING, own_limit_problems, problem
from recovery_engine.policy.schema import Policy
from recovery_engine.policy.words import Problem, read_text, read_word

FORBIDDEN, CASE_HAS_ANOTHER = "RQ007", "RQ008"

_REFERENCES = ("id", "employee", "case", "receipt", "customer")
_NEEDED = ("id", "employee", "case")
_PERSONAL = {"contact": "customer_contact", "name": "customer_name", "note": "note"}
"""The field of an entry's ``personal``, and that of the request."""
_NOT_IN_ENTRIES = {*_PERSONAL.values(), "question", "answer", "say"}  # normalised where they are kept
_MOST_CHARACTERS = 20_000

_REFERENCE_CURE = "use at most 64 letters, digits and `. _ : @ / + ~ -`"


def request_problems(request: RecoveryRequest) -> Iterator[Diagnostic]:
    """What a log cannot take: missing or ill-formed references, and text that must never be stored."""
    for name in _REFERENCES:
        value: object = getattr(request, name)
        if value is None or value == "":
            if name in _NEEDED:
                yield problem(MISSING, name, f"no {name}", f"give one: {_REFERENCE_CURE}")
            elif value == "":
                yield problem(ILL_TYPED, name, f"a blank {name}", "leave it out")
            continue
        yield from reference_problems(name, value)
    if request.site is not None:
        yield from reference_problems("site", request.site)
    for name, value in _texts(request):
        if isinstance(value, str):
            yield from text_problems(name, value)
    yield from type_problems(request)
    for name in ("customer_name", "customer_contact"):
        if getattr(request, name) and not request.customer:
            yield problem(
                MISSING, "customer", f"no customer, and a {name}", "whoever has a name must be found to be forgotten"
            )


def type_problems(request: RecoveryRequest) -> Iterator[Diagnostic]:
    """What is of a type that no entry can hold."""
    for name, kinds, cure in _KINDS:
        value = getattr(request, name)
        if not isinstance(value, kinds):
            yield problem(ILL_TYPED, name, f"a {type(value).__name__} where {_article(name)} belongs", cure)
        elif isinstance(value, Money) and type(value.minor) is not int:
            yield problem(ILL_TYPED, name, "not a number of minor units", "use a whole number")
    if isinstance(request.evidence, frozenset) and not all(type(item) is str for item in request.evidence):
        yield problem(ILL_TYPED, "evidence", "evidence is a set of words", 'give {"receipt", "photo"}')
    if request.own_limit is not None and isinstance(request.amount, Money):
        yield from own_limit_problems(request.own_limit, request.amount.currency)
    if isinstance(request.facts, Mapping):
        for name, fact in request.facts.items():
            if type(name) is not str or not isinstance(fact, bool | int | str | Money | None):
                yield problem(
                    ILL_TYPED, str(name), f"a {type(fact).__name__} is no fact", "give a bool, int, text or Money"
                )


_TEXT, _MAYBE = (str,), (str, type(None))
_KINDS: tuple[tuple[str, tuple[type, ...], str], ...] = (
    *((name, _TEXT, "give it as text") for name in ("role", "remedy", "basis")),
    *((name, _MAYBE, "give it as text") for name in ("category", "severity", "reason", *_PERSONAL.values())),
    ("amount", (Money,), 'use Money.of("18.50", "USD")'),
    ("bill", (Money, type(None)), 'use Money.of("18.50", "USD")'),
    ("evidence", (frozenset,), 'give {"receipt", "photo"}'),
    ("facts", (Mapping,), "give {name: value}"),
    ("occurred_on", (date, type(None)), "give a datetime.date"),
)


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'aeo' else 'a'} {name}"


def listed(value: object) -> tuple[Any, ...]:
    """What a caller lists. One word is a list of one, and so is what is no list: it is named as ill-typed."""
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes) else (value,)


def kind_problems(name: str, kind: type | UnionType, *values: object) -> Iterator[Diagnostic]:
    """What is not of a *kind*: a class, or ``str | None`` for a word that may be left out."""
    for value in values:
        if not isinstance(value, kind):
            cure = f"use `{kind.__name__}`" if isinstance(kind, type) else "give it as text"
            yield problem(ILL_TYPED, name, f"a {type(value).__name__} where {_article(name)} belongs", cure)


def reference_problems(name: str, *values: object) -> Iterator[Diagnostic]:
    """What is wrong with references or ids that a host gives."""
    for value in values:
        if type(value) is not str:
            yield problem(
                ILL_TYPED, name, f"a {type(value).__name__} where {_article(name)} belongs", "give it as text"
            )
        elif reason := forbidden(value):  # first of all: no message may repeat it
            yield problem(FORBIDDEN, name, f"it {reason}", "card data is never stored: give another reference")
        elif not REFERENCE.fullmatch(value):
            yield problem(ILL_TYPED, name, f"`{value[:40]}` is not a reference", _REFERENCE_CURE)
        elif value.startswith("~"):
            yield problem(ILL_TYPED, name, f"`{value}` begins with `~`, which the log keeps for itself", "drop the `~`")


def text_problems(name: str, *values: object) -> Iterator[Diagnostic]:
    """What is wrong with free texts; blank ones are none."""
    for value in values:
        if not isinstance(value, str):
            yield problem(
                ILL_TYPED, name, f"a {type(value).__name__} where {_article(name)} belongs", "give it as text"
            )
        elif len(value) > _MOST_CHARACTERS:
            yield problem(ILL_TYPED, name, f"{len(value):,} characters", f"at most {_MOST_CHARACTERS:,}")
        elif reason := forbidden(value):
            yield problem(FORBIDDEN, name, f"it {reason}", "card data is never stored: take it out")
        elif value:
            try:
                read_text(value)
            except Problem as found:
                yield problem(ILL_TYPED, name, found.message, found.help)
            if name not in _NOT_IN_ENTRIES and not is_normalized("NFC", value):
                yield problem(ILL_TYPED, name, "text that is not in Unicode normal form NFC", "normalise it")


def refuse(*found: Iterable[Diagnostic]) -> None:
    """Raises InvalidRequest where there is anything to refuse."""
    if problems := list(chain.from_iterable(found)):
        raise InvalidRequest(problems)


def command_problems(needed: Mapping[str, object], **others: object) -> Iterator[Diagnostic]:
    """What is wrong with the ids and references of a command: those that are *needed*, and *others* if given."""
    for name, value in needed.items():
        if value is None or value == "":
            nobody = name == "by"
            yield problem(MISSING, name, "nobody is named" if nobody else f"no {name}", f"give one: {_REFERENCE_CURE}")
        else:
            yield from reference_problems(name, value)
    for name, value in others.items():
        if value is not None:
            yield from reference_problems(name, value)


def amount_problems(amount: object, needed: bool = False) -> Iterator[Diagnostic]:
    """What is wrong with an amount, if one is given."""
    if (needed or amount is not None) and (
        not isinstance(amount, Money) or type(amount.minor) is not int or amount.minor < 0
    ):
        yield problem(ILL_TYPED, "amount", "not an amount", 'give Money.of("18.50", "USD")')


def reason_problems(reason: object, name: str = "reason") -> Iterator[Diagnostic]:
    """What is wrong with a text that must be given."""
    if type(reason) is not str or not reason.strip():
        yield problem(MISSING, name, f"no {name}", "say why, in a word or a sentence")
    else:
        yield from text_problems(name, reason)


def word_problems(name: str, *words: object) -> Iterator[Diagnostic]:
    """What is wrong with names such as those of remedies, as a policy lists them."""
    for word in words:
        if found := list(text_problems(name, word)):
            yield from found
            continue
        try:
            read_word(word, f"a {name}")
        except Problem as one:
            yield problem(ILL_TYPED, name, one.message, one.help)


def _texts(request: RecoveryRequest) -> Iterator[tuple[str, object]]:
    for name in ("role", "remedy", "category", "severity", "reason", "note", "customer_name", "customer_contact"):
        yield name, getattr(request, name)
    for item in request.evidence if isinstance(request.evidence, frozenset) else ():
        yield "evidence", item
    if isinstance(request.facts, Mapping):
        for name, value in request.facts.items():
            yield str(name), value


def entry_request(request: RecoveryRequest, token: str | None) -> dict[str, Any]:
    """The request as its entry holds it: what is not given or usual is left out, and so is what is personal."""
    amount = request.amount
    fields: dict[str, Any] = {
        "employee": request.employee,
        "role": request.role,
        "site": request.site or "",
        "case": request.case,
        "remedy": request.remedy,
        "amount": amount.minor,
        "currency": amount.currency,
    }
    for name in ("receipt", "category", "severity", "reason"):
        if (value := getattr(request, name)) is not None:
            fields[name] = value
    if token is not None:
        fields["customer"] = token
    if request.bill is not None:
        fields["bill"] = request.bill.minor
    if request.evidence:
        fields["evidence"] = sorted(request.evidence)
    if facts := {name: _fact(value) for name, value in request.facts.items() if value is not None}:
        fields["facts"] = facts
    if request.note is not None and request.note.strip():
        fields["note"] = True
    if request.basis != GOODWILL:
        fields["basis"] = request.basis
    if request.occurred_on is not None:
        fields["occurred_on"] = request.occurred_on.isoformat()
    if request.own_limit is not None:
        fields["own_limit"] = entry_own_limit(request.own_limit)
    return fields


def entry_own_limit(own_limit: OwnLimit) -> dict[str, int]:
    """An own limit as an entry holds it: ``{"at_most": minor units}``."""
    return {name: money.minor for name, money in own_limit._asdict().items() if money is not None}


def _fact(value: FactValue) -> bool | int | str:
    return value.minor if isinstance(value, Money) else value


def request_from(
    policy: Policy, recovery: str, fields: Mapping[str, Any], also: Policy | None = None
) -> RecoveryRequest:
    """The request that an entry holds, as ``decide`` takes it under *policy*; *also* knows the facts it owes by."""
    currency = fields["currency"]
    kinds = {**(also.facts if also else {}), **policy.facts}
    facts: dict[str, FactValue] = {
        name: Money(value, currency) if name in kinds and kinds[name].kind == "money" else value
        for name, value in fields.get("facts", {}).items()
    }
    bill, occurred_on, own_limit = fields.get("bill"), fields.get("occurred_on"), fields.get("own_limit")
    return RecoveryRequest(
        id=recovery,
        role=fields["role"],
        remedy=fields["remedy"],
        amount=Money(fields["amount"], currency),
        employee=fields["employee"],
        site=fields["site"] or None,
        case=fields["case"],
        receipt=fields.get("receipt"),
        customer=fields.get("customer"),
        category=fields.get("category"),
        severity=fields.get("severity"),
        bill=None if bill is None else Money(bill, currency),
        basis=fields.get("basis", GOODWILL),
        reason=fields.get("reason"),
        note="on file" if fields.get("note") else None,
        evidence=frozenset(fields.get("evidence", ())),
        facts=facts,
        occurred_on=None if occurred_on is None else date.fromisoformat(occurred_on),
        own_limit=None if own_limit is None else own_limit_from(own_limit, currency),
    )


def own_limit_from(fields: Mapping[str, int], currency: str) -> OwnLimit:
    """The own limit that an entry holds."""
    return OwnLimit(**{name: Money(minor, currency) for name, minor in fields.items()})


def personal_of(request: RecoveryRequest) -> dict[str, str]:
    """The personal texts of a request, by the name their commitment bears."""
    texts = {name: getattr(request, field) for name, field in _PERSONAL.items()}
    return {name: text for name, text in texts.items() if text is not None and text.strip()}
