"""Requests: what is wrong with one, all at once, and reading one from text: a CSV row, JSON, flags, a test."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

from recovery_engine.errors import Diagnostic, InvalidRequest, did_you_mean
from recovery_engine.model import FactValue, OwnLimit, RecoveryRequest, Usage, Used
from recovery_engine.money import MAX_MINOR, Money, format_minor
from recovery_engine.policy.schema import Policy
from recovery_engine.policy.words import (
    REQUEST_FIELDS,
    USAGE_FIELDS,
    Fact,
    Problem,
    Words,
    as_list,
    read_day,
    read_fact,
    read_id,
    read_known,
    read_money,
    read_number,
    read_text,
    read_word,
)

UNKNOWN_WORD, ILL_TYPED, MISSING, TOO_LARGE, UNKNOWN_NAME = "RQ001", "RQ002", "RQ003", "RQ004", "RQ005"

_CODES = {"RP003": UNKNOWN_WORD, "RP004": UNKNOWN_NAME, "RP005": MISSING}
"""A reader's code, said of a request; every other is an ill-typed value."""


def problem(code: str, name: str, message: str, help: str = "") -> Diagnostic:
    """A problem with one field of a request."""
    return Diagnostic(code, "error", name, message, help)


def from_reader(name: str, found: Problem) -> Diagnostic:
    """What a reader refused, as a problem with the field *name*."""
    return problem(_CODES.get(found.code, ILL_TYPED), name, found.message, found.help)


def problems_of(policy: Policy, request: RecoveryRequest, usage: Usage) -> Iterator[Diagnostic]:
    """Everything wrong with a request but the facts that its lines ask for."""
    words = policy.words
    for name in ("role", "remedy", "basis", "site", "category", "severity"):
        value = getattr(request, name)
        if value is None and name in ("site", "category", "severity"):
            continue
        if not isinstance(value, str):
            yield problem(ILL_TYPED, name, f"a {type(value).__name__} where a {name} belongs", "give it as text")
            continue
        yield from _tried(name, read_known, value, name, words)
    yield from _money_problems("amount", request.amount, policy.currency)
    if request.bill is not None:
        yield from _money_problems("bill", request.bill, policy.currency)
    if request.own_limit is not None:
        yield from own_limit_problems(request.own_limit, policy.currency)
    facts: object = request.facts
    if not isinstance(facts, Mapping):
        yield problem(ILL_TYPED, "facts", "facts are a mapping", "give {name: value}")
    else:
        for name, value in facts.items():
            if value is None and name in words.facts:
                continue  # not given
            if name not in words.facts:
                yield problem(
                    UNKNOWN_NAME,
                    _shown(name),
                    f"unknown fact `{_shown(name)}`",
                    did_you_mean(_shown(name), words.facts),
                )
            else:
                yield from _fact_problems(str(name), value, words.facts[name], words)
    yield from _reason_problems(policy, request)
    yield from _proof_problems(request)
    if request.occurred_on is not None and type(request.occurred_on) is not date:
        yield problem(ILL_TYPED, "occurred_on", "not a day", "give a datetime.date")
    yield from _usage_problems(usage, words)


def own_limit_problems(own_limit: object, currency: str) -> Iterator[Diagnostic]:
    """What is wrong with an own limit."""
    cure = "give OwnLimit(at_most=...) or OwnLimit(up_to=...)"
    if not isinstance(own_limit, OwnLimit):
        message = f"a {type(own_limit).__name__} where an own limit belongs"
        yield problem(ILL_TYPED, "own_limit", message, cure)
    elif own_limit.count(None) != 1:
        yield problem(ILL_TYPED, "own_limit", "an own limit says either `at_most` or `up_to`", cure)
    else:
        yield from _money_problems("own_limit", next(given for given in own_limit if given is not None), currency)


def _money_problems(name: str, value: object, currency: str) -> Iterator[Diagnostic]:
    if not isinstance(value, Money):
        cure = f'use Money.of("18.50", "{currency}")'
        yield problem(ILL_TYPED, name, f"a {type(value).__name__} is not an amount of money", cure)
    elif value.currency != currency:
        yield problem(ILL_TYPED, name, f"{value.currency} is not the policy's currency", f"give it in {currency}")
    elif type(value.minor) is not int:
        yield problem(
            ILL_TYPED, name, f"a {type(value.minor).__name__} is not a number of minor units", "use a whole number"
        )
    elif value.minor < 0:
        yield problem(ILL_TYPED, name, f"{value} is below zero", "an amount is never negative")
    elif value.minor > MAX_MINOR:
        yield problem(TOO_LARGE, name, f"{value} is too large", f"at most {format_minor(MAX_MINOR, currency)}")


def _fact_problems(name: str, value: object, fact: Fact, words: Words) -> Iterator[Diagnostic]:
    if fact.kind == "money":
        yield from _money_problems(name, value, words.currency)
    elif fact.kind == "flag" and not isinstance(value, bool):
        yield problem(ILL_TYPED, name, f"`{_shown(value)}` is not true or false", "give a bool")
    elif fact.kind == "number" and type(value) is not int:
        yield problem(ILL_TYPED, name, f"`{_shown(value)}` is not a whole number", "give an int")
    elif fact.kind == "number" and abs(value) > MAX_MINOR:  # type: ignore[arg-type]
        yield problem(TOO_LARGE, name, f"{value} is too large", f"at most {MAX_MINOR}")
    elif fact.kind == "one_of":
        if isinstance(value, str):
            yield from _tried(name, read_known, value, name, words)
        else:
            yield problem(ILL_TYPED, name, f"a {type(value).__name__} where a word belongs", "give it as text")


def _reason_problems(policy: Policy, request: RecoveryRequest) -> Iterator[Diagnostic]:
    reason: object = request.reason
    if reason is not None and not isinstance(reason, str):
        yield problem(ILL_TYPED, "reason", "a reason code is text", "give it as text")
        return
    if reason is None or not policy.reason_codes:
        return
    category = request.category if isinstance(request.category, str) else ""
    codes = policy.reason_codes.get(category, ())
    if category not in (policy.categories or (category,)):  # reported already: any known code may be right
        codes = tuple(code for some in policy.reason_codes.values() for code in some)
    if reason not in codes:
        message = f"`{reason}` is not a reason code{f' for {category}' if category else ''}"
        yield problem(UNKNOWN_WORD, "reason", message, did_you_mean(reason, codes))


def _proof_problems(request: RecoveryRequest) -> Iterator[Diagnostic]:
    note: object = request.note
    if note is not None and not isinstance(note, str):
        yield problem(ILL_TYPED, "note", "a note is text", "give it as text")
    items: object = request.evidence
    if not isinstance(items, frozenset) or any(not isinstance(item, str) for item in items):
        yield problem(ILL_TYPED, "evidence", "evidence is a set of words", 'give {"receipt", "photo"}')


_BOOKS = dict.fromkeys(("on_case", "owed_on_case"), "minor units by remedy") | {"used": "Used by budget"}


def _usage_problems(usage: object, words: Words) -> Iterator[Diagnostic]:
    if not isinstance(usage, Usage):
        yield problem(ILL_TYPED, "usage", f"a {type(usage).__name__} is not a usage", "give a Usage, or leave it out")
        return
    books: dict[str, object] = {name: getattr(usage, name) for name in USAGE_FIELDS}
    for name, book in books.items():
        if not isinstance(book, Mapping):
            yield problem(ILL_TYPED, name, f"a {type(book).__name__} is not a mapping", f"give {_BOOKS[name]}")
            return
    total = 0
    for name in ("on_case", "owed_on_case"):
        for remedy, amount in getattr(usage, name).items():
            yield from _tried(name, read_known, remedy, "remedy", words)
            if type(amount) is int and amount >= 0:
                total += amount
            else:
                yield problem(
                    ILL_TYPED,
                    name,
                    f"`{_shown(amount)}` is not a number of minor units",
                    "use a whole number, 0 or more",
                )
    for budget, used in usage.used.items():
        if budget not in words.budget_ids:
            cure = did_you_mean(_shown(budget), sorted(words.budget_ids))
            yield problem(UNKNOWN_WORD, "used", f"unknown budget `{_shown(budget)}`", cure)
        if isinstance(used, Used) and all(type(figure) is int and figure >= 0 for figure in used):
            total = max(total, used.amount)
        else:
            yield problem(
                ILL_TYPED, "used", f"`{_shown(budget)}` holds no numbers", "use Used(amount=minor units, times=cases)"
            )
    if total > MAX_MINOR:
        yield problem(TOO_LARGE, "on_case", "the case already had more than can be added up exactly", "")


def _tried(name: str, reader: Any, *args: Any) -> Iterator[Diagnostic]:
    try:
        reader(*args)
    except Problem as found:
        yield from_reader(name, found)


def _shown(value: object) -> str:
    """A value as text, whatever it is: what is wrong with it may be that it cannot be shown."""
    return str(value) if type(value) in (str, int, float, bool) else f"a {type(value).__name__}"


# --- from text --------------------------------------------------------------------------------------------------------


def read_request(policy: Policy, fields: Mapping[str, Any]) -> tuple[RecoveryRequest, Usage]:
    """A request and the usage with it, from fields and facts given flat, as text, numbers or booleans.

    Takes the fields of RecoveryRequest, the policy's facts, ``currency``, and the usage as ``on_case``,
    ``owed_on_case`` and ``used``. Blank fields count as not given; facts may also come in a mapping ``facts``. A policy
    in which no line reads the remedy needs none named.
    Raises InvalidRequest with every problem, each with the nearest right word.
    """
    given: object = fields
    if not isinstance(given, Mapping):
        raise InvalidRequest([problem(ILL_TYPED, "request", "a request is a mapping", "give {field: value}")])
    reader = _RequestReader(policy, given)
    request, usage = reader.read()
    if reader.found:
        raise InvalidRequest(reader.found)
    assert request is not None
    return request, usage


class _RequestReader:
    def __init__(self, policy: Policy, fields: Mapping[str, Any]) -> None:
        self.policy, self.words = policy, policy.words
        self.found: list[Diagnostic] = []
        given = dict(fields)
        # Facts may be given in a mapping of their own, which must not stand in for anything else.
        nested = given.pop("facts", None)
        if isinstance(nested, Mapping):
            for name in nested:
                if name not in self.words.facts:
                    cure = did_you_mean(_shown(name), self.words.facts)
                    self.found.append(problem(UNKNOWN_NAME, _shown(name), f"unknown fact `{_shown(name)}`", cure))
                elif name in given:
                    self.found.append(problem(ILL_TYPED, name, "given twice: by itself and in `facts`", "delete one"))
                else:
                    given[name] = nested[name]
        elif nested is not None and nested != "":
            self.found.append(problem(ILL_TYPED, "facts", "facts are a mapping", "give {name: value}"))
        self.given = {name: value for name, value in given.items() if value is not None and value != ""}

    def read(self) -> tuple[RecoveryRequest | None, Usage]:
        words, given = self.words, self.given
        names = (*REQUEST_FIELDS, *USAGE_FIELDS, *words.facts)
        for name in given:
            if name not in names:
                self.found.append(problem(UNKNOWN_NAME, name, f"unknown field `{name}`", did_you_mean(name, names)))
        self.take("currency", read_known_currency, words.currency)
        if "amount" not in given:
            self.found.append(problem(MISSING, "amount", "no amount", "give one such as `18.50`; `0` is at no cost"))
        if "role" not in given:
            self.found.append(problem(MISSING, "role", "no role", did_you_mean("", words.ladder or ())))
        if "remedy" not in given and _reads_remedies(self.policy):
            self.found.append(problem(MISSING, "remedy", "no remedy", did_you_mean("", words.remedies or ("refund",))))
        values: dict[str, Any] = {
            name: self.take(name, read_known, name, words)
            for name in ("role", "remedy", "site", "category", "severity", "basis")
        }
        values |= {
            name: self.take(name, read_text)
            for name in (
                "id",
                "employee",
                "case",
                "receipt",
                "customer",
                "reason",
                "note",
                "customer_name",
                "customer_contact",
            )
        }
        values["occurred_on"] = self.take("occurred_on", read_day)
        for name in ("amount", "bill"):
            minor = self.take(name, read_money, words.currency)
            values[name] = None if minor is None else Money(minor, words.currency)
        facts: dict[str, FactValue] = {}
        for name, fact in words.facts.items():
            value = self.take(name, read_fact, fact, name, words)
            if value is not None:
                facts[name] = Money(int(value), words.currency) if fact.kind == "money" else value
        evidence = self.take("evidence", _read_evidence) or frozenset()
        usage = Usage(self.sums("on_case"), self.sums("owed_on_case"), self.used())
        if any(values[name] is None for name in ("role", "amount")):
            return None, usage
        values["remedy"] = values["remedy"] or "refund"  # only where no line reads it: any word will do
        given_values = {name: value for name, value in values.items() if value is not None}
        request = RecoveryRequest(facts=facts, evidence=evidence, **given_values)
        self.found.extend(_reason_problems(self.policy, request))
        return request, usage

    def take(self, name: str, reader: Any, *args: Any) -> Any:
        if name not in self.given:
            return None
        try:
            return reader(self.given[name], *args)
        except Problem as found:
            self.found.append(from_reader(name, found))
            return None

    def sums(self, name: str) -> dict[str, int]:
        sums: dict[str, int] = {}
        for remedy, amount in self.mapping(name):
            self.found.extend(_tried(name, read_known, remedy, "remedy", self.words))
            try:
                sums[str(remedy)] = read_money(amount, self.words.currency)
            except Problem as found:
                self.found.append(from_reader(name, found))
        return sums

    def used(self) -> dict[str, Used]:
        used: dict[str, Used] = {}
        for budget, figures in self.mapping("used"):
            if budget not in self.words.budget_ids:
                cure = did_you_mean(str(budget), sorted(self.words.budget_ids))
                self.found.append(problem(UNKNOWN_WORD, "used", f"unknown budget `{budget}`", cure))
            if not isinstance(figures, Mapping) or set(figures) - {"amount", "times"}:
                self.found.append(
                    problem(ILL_TYPED, "used", f"`{budget}` is not {{amount, times}}", "write `{amount: 50, times: 2}`")
                )
                continue
            try:
                amount, times = (
                    read_money(figures.get("amount", 0), self.words.currency),
                    read_number(figures.get("times", 0)),
                )
                if times < 0:
                    raise Problem("RP006", f"`{times}` cases", "write 0 or more")
                used[str(budget)] = Used(amount, times)
            except Problem as found:
                self.found.append(from_reader("used", found))
        return used

    def mapping(self, name: str) -> Iterable[tuple[Any, Any]]:
        value = self.given.get(name, {})
        if isinstance(value, Mapping):
            return value.items()
        self.found.append(problem(ILL_TYPED, name, f"`{name}` is a mapping", "write `{refund: 60}`"))
        return ()


def _reads_remedies(policy: Policy) -> bool:
    """Whether it matters which remedy is asked for."""
    rows = {row for line in policy.authority for row in line.up_to} - {"total"}
    return bool(policy.remedies or rows or policy.owed or any("remedy" in line.when.words for line in policy.lines()))


def read_known_currency(raw: object, currency: str) -> str:
    """The policy's own currency, or a problem."""
    text = read_word(raw, "a currency")
    if text != currency:
        raise Problem("RP013", f"{text} is not the policy's currency", f"give amounts in {currency}")
    return text


def _read_evidence(raw: object) -> frozenset[str]:
    items = raw.replace(",", " ").split() if isinstance(raw, str) else as_list(raw)
    return frozenset(read_id(item) for item in items)
