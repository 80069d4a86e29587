"""What an auditor asks for: a filter over recoveries, checked against the words that the log knows."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, FromClause, exists, func, or_, select

from recovery_engine.errors import Diagnostic, InvalidRequest, did_you_mean
from recovery_engine.log.tables import metadata
from recovery_engine.model import GOODWILL, OWED
from recovery_engine.money import Money
from recovery_engine.policy.reading import ILL_TYPED, UNKNOWN_WORD, problem
from recovery_engine.policy.schema import SECTIONS

Words = str | tuple[str, ...] | None
Condition = ColumnElement[bool]

STATE: FromClause = metadata.tables["recovery_state"].alias("s")
"""Where recoveries stand, by the name that the columns of views.py give it."""

_LINE = metadata.tables["recovery_line"]
_POLICY = metadata.tables["recovery_policy"]
_SUBJECT = metadata.tables["recovery_subject"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which recoveries; what is left out does not matter, and of several words any one will do.

    ``employee`` and ``role`` are of whoever asked. ``customer`` is a token of the log, or the host's reference.
    ``remedy`` is one asked for or given. Amounts, both included, are what was granted, or what was asked for where
    nothing was; they leave other currencies out. ``first_day`` and ``last_day``, both included, are business days of
    the asking. ``policy`` is a name, a version label, both with a space between, or the first letters (4 or more) of a
    digest. ``line`` is the id of a line that decided.
    """

    site: Words = None
    employee: Words = None
    approver: Words = None
    customer: Words = None
    case: Words = None
    receipt: Words = None
    remedy: Words = None
    category: Words = None
    severity: Words = None
    reason: Words = None
    basis: Words = None
    outcome: Words = None
    status: Words = None
    amount_from: Money | None = None
    amount_to: Money | None = None
    first_day: date | None = None
    last_day: date | None = None
    policy: Words = None
    line: Words = None
    role: Words = None
    matcher: Words = None


EVERYTHING = Filter()

OUTCOMES = ("approve", "escalate", "deny")
STATUSES = ("granted", "fulfilled", "voided", "pending", "declined", "withdrawn", "lapsed", "denied")

_MONEY = ("amount_from", "amount_to")
_DAYS = ("first_day", "last_day")
_TEXTS = tuple(field.name for field in fields(Filter) if field.name not in _MONEY + _DAYS)

_FIXED = {
    "basis": (GOODWILL, OWED),
    "outcome": OUTCOMES,
    "status": STATUSES,
    "matcher": ("both", "reference", "fault"),
}
"""The words of the log itself, which are known whether they occur or not."""

_DECLARED = {
    "role": "ladder",
    "remedy": "remedies",
    "category": "categories",
    "severity": "severities",
    "site": "sites",
    "reason": "reason_codes",
}
"""Where a policy lists its words: they are known too, even where no recovery has them yet."""

_COLUMNS: dict[str, tuple[ColumnElement[Any], ...]] = {
    **{name: (STATE.c[name],) for name in _TEXTS if name in STATE.c},
    "case": (STATE.c.case_id,),
    "remedy": (STATE.c.remedy, STATE.c.granted_remedy),
    "line": (_LINE.c.line,),
}

_MANY = ("employee", "approver", "case", "receipt")
"""Columns with so many different words that only those which begin alike are compared."""
_MOST_COMPARED = 5_000

AMOUNT = func.coalesce(STATE.c.granted_minor, STATE.c.asked_minor)


def conditions(connection: Connection, wanted: Filter) -> list[Condition]:
    """What a row of ``STATE`` must meet. Raises InvalidRequest with every mistake in the filter."""
    found = list(_ill_formed(wanted))
    wrong = {diagnostic.where for diagnostic in found}
    met: list[Condition] = []
    for name in _TEXTS:
        words = _tuple(getattr(wanted, name))
        if words and name not in wrong:
            condition, problems = _READERS.get(name, _any_of)(connection, name, words)
            met.append(condition)
            found.extend(problems)
    if found:
        raise InvalidRequest(found)
    return [*met, *_bounds(wanted)]


def _bounds(wanted: Filter) -> Iterator[Condition]:
    if wanted.first_day is not None:
        yield STATE.c.bday >= wanted.first_day.isoformat()
    if wanted.last_day is not None:
        yield STATE.c.bday <= wanted.last_day.isoformat()
    if wanted.amount_from is not None:
        yield wanted.amount_from.minor <= AMOUNT
    if wanted.amount_to is not None:
        yield wanted.amount_to.minor >= AMOUNT
    if bound := wanted.amount_from or wanted.amount_to:
        yield STATE.c.currency == bound.currency


# --- what is wrong with a filter by itself ----------------------------------------------------------------------------


def _tuple(words: Words) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else words or ()


def _ill_formed(wanted: Filter) -> Iterator[Diagnostic]:
    for name in _TEXTS:
        words: Any = getattr(wanted, name)
        listed = words if isinstance(words, tuple) else () if words is None else (words,)
        if not all(isinstance(word, str) and word for word in listed) or words == ():
            yield problem(ILL_TYPED, name, "not a text, nor a tuple of texts", f'give {name}="..."')
    for name in _MONEY:
        if not isinstance(getattr(wanted, name), Money | None):
            yield problem(ILL_TYPED, name, "not an amount of money", 'give Money.of("18.50", "USD")')
    for name in _DAYS:
        if type(getattr(wanted, name)) not in (date, type(None)):
            yield problem(ILL_TYPED, name, "not a day", "give a datetime.date")
    yield from _crossed(wanted)


def _crossed(wanted: Filter) -> Iterator[Diagnostic]:
    low, high, first, last = wanted.amount_from, wanted.amount_to, wanted.first_day, wanted.last_day
    if isinstance(low, Money) and isinstance(high, Money):
        if low.currency != high.currency:
            message = f"from {low.currency} to {high.currency}"
            yield problem(ILL_TYPED, "amount_to", message, "give both in one currency")
        elif high < low:
            yield problem(ILL_TYPED, "amount_to", f"{high} is less than {low}", "exchange the two")
    if type(first) is date and type(last) is date and last < first:
        yield problem(ILL_TYPED, "last_day", f"{last} is before {first}", "exchange the two")


# --- words, as the log knows them -------------------------------------------------------------------------------------

_Read = tuple[Condition, list[Diagnostic]]


def _any_of(connection: Connection, name: str, words: tuple[str, ...]) -> _Read:
    """Rows with one of the words in a column, and the words that nobody knows."""
    condition = or_(*[column.in_(words) for column in _COLUMNS[name]])
    if name in _FIXED:
        unknown = [word for word in words if word not in _FIXED[name]]
        return condition, [_unknown(name, word, did_you_mean(word, _FIXED[name])) for word in unknown]
    unknown = [word for word in words if not _occurs(connection, name, word)]
    declared = _declared(connection, name) if unknown else set()
    unknown = [word for word in unknown if word not in declared]
    return condition, [_unknown(name, word, _nearest(connection, name, word, declared)) for word in unknown]


def _unknown(name: str, word: str, cure: str) -> Diagnostic:
    return problem(UNKNOWN_WORD, name, f"no recovery in this log has the {name} `{word}`", cure)


def _occurs(connection: Connection, name: str, word: str) -> bool:
    columns = _COLUMNS[name]
    return any(connection.execute(select(column).where(column == word).limit(1)).first() for column in columns)


def _nearest(connection: Connection, name: str, word: str, declared: set[str]) -> str:
    """The cure for a word that nobody knows."""
    if name in _MANY:
        return alike(connection, _COLUMNS[name], word)
    found = [connection.execute(select(column).distinct().limit(_MOST_COMPARED)) for column in _COLUMNS[name]]
    known = declared.union(*[rows.scalars() for rows in found]) - {None}
    return did_you_mean(word, sorted(known)) if known else ""


def alike(connection: Connection, columns: Iterable[ColumnElement[Any]], word: str) -> str:
    """Did you mean another id that begins like *word*; nothing where none is near."""
    known: set[str] = set()
    for column in columns:
        begins = column.startswith(word[:2], autoescape=True)
        known.update(connection.execute(select(column).where(begins).distinct().limit(_MOST_COMPARED)).scalars())
    cure = did_you_mean(word, sorted(known))
    return cure if cure.startswith("did") else ""


def _declared(connection: Connection, name: str) -> set[str]:
    """The words that the policies of the log list under a name."""
    found: set[str] = set()
    if name not in _DECLARED and name != "line":
        return found
    for text in connection.execute(select(_POLICY.c.canonical)).scalars():
        policy = orjson.loads(text)
        if name == "line":
            found.update(line["id"] for section in SECTIONS for line in policy.get(section) or ())
        else:
            found.update(_flat(policy.get(_DECLARED[name]) or ()))
    return found


def _flat(listed: Iterable[Any]) -> Iterator[str]:
    """The words of a list, or of pairs of a group and its words."""
    for item in listed:
        if isinstance(item, list):
            yield from item[1]
        else:
            yield item


def _by_line(connection: Connection, name: str, words: tuple[str, ...]) -> _Read:
    _, problems = _any_of(connection, name, words)
    fits = _LINE.c.recovery == STATE.c.recovery, _LINE.c.line.in_(words)
    return exists().where(*fits), problems


def _by_customer(connection: Connection, name: str, words: tuple[str, ...]) -> _Read:
    """Recoveries of customers named by token or, while the log knows it, by the host's reference."""
    tokens: list[str] = []
    problems = []
    for word in words:
        if _occurs(connection, name, word):
            tokens.append(word)
        elif found := connection.execute(select(_SUBJECT.c.token).where(_SUBJECT.c.reference == word)).scalar():
            tokens.append(found)
        else:
            # No other customer is named here: whose reference looks alike is nobody's business.
            problems.append(_unknown(name, word, "give a token or a reference; one that was forgotten leads nowhere"))
    return STATE.c.customer.in_(tokens), problems


def _by_policy(connection: Connection, name: str, words: tuple[str, ...]) -> _Read:
    rows = connection.execute(select(_POLICY.c.digest, _POLICY.c.name, _POLICY.c.label).distinct()).all()
    digests: set[str] = set()
    problems = []
    for word in words:
        meant = {digest for digest, *names in rows if _names_policy(word, digest, *names)}
        digests |= meant
        if not meant:
            known = sorted({text for _, *names in rows for text in names if text})
            problems.append(_unknown(name, word, did_you_mean(word, known) if known else ""))
    return STATE.c.policy.in_(sorted(digests)), problems


def _names_policy(word: str, digest: str, name: str, label: str) -> bool:
    return word in (name, label, f"{name} {label}") or (len(word) >= 4 and digest.startswith(word.lower()))


_READERS: dict[str, Callable[[Connection, str, tuple[str, ...]], _Read]] = {
    "line": _by_line,
    "customer": _by_customer,
    "policy": _by_policy,
}
