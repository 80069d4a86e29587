"""Questions to the log: which recoveries, how many, a sample of them, what they come to.

Every function reads through a connection inside a transaction, so that all of its answers are of one state of the log;
answers that may be long are streamed.
"""

import calendar
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from heapq import heappush, heapreplace
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, case, func, literal_column, select

from recovery_engine.errors import InvalidRequest, TamperedLog, did_you_mean
from recovery_engine.log.merkle import frontier_from, root_of
from recovery_engine.log.policies import PolicyRow, read_stored
from recovery_engine.log.reading.filters import EVERYTHING, STATE, Condition, Filter, conditions
from recovery_engine.log.tables import metadata
from recovery_engine.log.views import LINES, Dialect
from recovery_engine.money import Money
from recovery_engine.policy.reading import ILL_TYPED, UNKNOWN_WORD, problem
from recovery_engine.policy.schema import Policy

_AT_ONCE = 1_000
"""Rows fetched together."""
_IN_ONE_LIST = 500

_LOG = metadata.tables["recovery_log"]
_STREAM = metadata.tables["recovery_stream"]


class AuditRow(NamedTuple):
    """A recovery as it stands: ``recovery_state``, and the ids of the lines that decided.

    Amounts are minor units of ``currency``, times UTC microseconds, days ISO. ``customer`` is a token.
    """

    recovery: str
    stream: str
    seq: int
    at_us: int
    bday: str
    utc_offset_s: int
    employee: str
    role: str
    site: str
    case_id: str
    receipt: str | None
    customer: str | None
    remedy: str
    category: str | None
    severity: str | None
    reason: str | None
    basis: str
    currency: str
    asked_minor: int
    bill_minor: int | None
    occurred_on: str | None
    outcome: str
    status: str
    to_role: str | None
    second_role: str | None
    due_us: int | None
    policy: str
    matcher: str
    approver: str | None
    approver_role: str | None
    granted_us: int | None
    granted_bday: str | None
    granted_remedy: str | None
    granted_minor: int | None
    fulfilled_us: int | None
    reference: str | None
    closed_us: int | None
    closed_by: str | None
    closed_reason: str | None
    on_behalf: str | None
    second_by: str | None
    agreed_remedy: str | None
    agreed_minor: int | None
    question_us: int | None
    questions: int
    moves: int
    lines: tuple[str, ...]

    @property
    def asked(self) -> Money:
        """What was asked for."""
        return Money(self.asked_minor, self.currency)

    @property
    def granted(self) -> Money | None:
        """What was granted, whether it was voided later or not."""
        return None if self.granted_minor is None else Money(self.granted_minor, self.currency)


def dialect_of(connection: Connection) -> Dialect:
    """Which SQL the connection speaks."""
    return "sqlite" if connection.dialect.name == "sqlite" else "postgresql"


def streamed(connection: Connection, statement: Select[Any]) -> Iterator[Sequence[Any]]:
    """The rows of a statement, fetched some at a time; it is sent at once."""
    rows: Iterable[Sequence[Any]] = connection.execute(statement.execution_options(yield_per=_AT_ONCE))
    return iter(rows)


def recoveries(connection: Connection, wanted: Filter = EVERYTHING, limit: int | None = None) -> Iterator[AuditRow]:
    """The recoveries that fit, by business day, time and id. Raises InvalidRequest with every mistake in the filter."""
    if limit is not None and limit < 0:
        raise InvalidRequest([problem(ILL_TYPED, "limit", f"{limit} recoveries", "give 0 or more, or leave it out")])
    return _audit_rows(connection, conditions(connection, wanted), limit)


def _audit_rows(connection: Connection, fits: list[Condition], limit: int | None = None) -> Iterator[AuditRow]:
    statement = in_order(_audit_columns(connection)).where(*fits).limit(limit)
    return map(_audit_row, streamed(connection, statement))


def _audit_columns(connection: Connection) -> Select[Any]:
    lines: ColumnElement[Any] = literal_column(LINES.sql(dialect_of(connection))).label("lines")
    return select(*[STATE.c[name] for name in AuditRow._fields[:-1]], lines).select_from(STATE)


def in_order(statement: Select[Any]) -> Select[Any]:
    """The order in which recoveries are told."""
    return statement.order_by(STATE.c.bday, STATE.c.at_us, STATE.c.recovery)


def _audit_row(row: Sequence[Any]) -> AuditRow:
    *columns, lines = row
    return AuditRow._make([*columns, tuple((lines or "").split())])


def count(connection: Connection, wanted: Filter = EVERYTHING) -> int:
    """How many recoveries fit. Raises InvalidRequest with every mistake in the filter."""
    statement = select(func.count()).select_from(STATE).where(*conditions(connection, wanted))
    return int(connection.execute(statement).scalar_one())


# --- a sample ---------------------------------------------------------------------------------------------------------


class Stratum(NamedTuple):
    """Recoveries that were decided alike and stand alike: how many there are, and how many were drawn."""

    outcome: str
    status: str
    population: int
    drawn: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Recoveries drawn by chance, in proportion to their strata, from each at least one.

    Whoever has the log and the seed draws the same: in each stratum those come first whose SHA-256 of the seed, a line
    feed and their id is lowest.
    """

    seed: str
    population: int
    strata: tuple[Stratum, ...]
    rows: tuple[AuditRow, ...]


def sample(connection: Connection, wanted: Filter, size: int, seed: str | int) -> Sample:
    """Draw *size* recoveries of those that fit, or all where there are fewer. Raises InvalidRequest."""
    fits = conditions(connection, wanted)
    lowest: dict[tuple[str, str], list[tuple[int, str]]] = {}
    sizes: dict[tuple[str, str], int] = {}
    chosen = select(STATE.c.outcome, STATE.c.status, STATE.c.recovery).where(*fits)
    for outcome, status, recovery in streamed(connection, chosen):
        key = outcome, status
        sizes[key] = sizes.get(key, 0) + 1
        _keep_lowest(lowest.setdefault(key, []), size, -rank(seed, recovery), recovery)
    drawn = _shares(sizes, size)
    names = [name for key in drawn for _, name in sorted(lowest[key], reverse=True)[: drawn[key]]]
    strata = tuple(Stratum(*key, sizes[key], drawn[key]) for key in sorted(sizes))
    return Sample(str(seed), sum(sizes.values()), strata, _rows_named(connection, names))


def rank(seed: str | int, recovery: str) -> int:
    """The place of a recovery in the order of a draw; lower ones come first."""
    return int.from_bytes(sha256(f"{seed}\n{recovery}".encode()).digest(), "big")


def _keep_lowest(heap: list[tuple[int, str]], size: int, negative_rank: int, recovery: str) -> None:
    if len(heap) < size:
        heappush(heap, (negative_rank, recovery))
    elif heap and negative_rank > heap[0][0]:
        heapreplace(heap, (negative_rank, recovery))


def _shares(sizes: Mapping[tuple[str, str], int], size: int) -> dict[tuple[str, str], int]:
    """How many to draw from each stratum: in proportion by largest remainder, one at least. Raises InvalidRequest."""
    if size < max(1, len(sizes)):
        kinds = ", ".join(f"{outcome}/{status}" for outcome, status in sorted(sizes))
        cure = f"give at least {max(1, len(sizes))}" + (f": there are {kinds}" if kinds else "")
        raise InvalidRequest([problem(ILL_TYPED, "size", f"a sample of {size} cannot hold one of each kind", cure)])
    population = sum(sizes.values())
    if population <= size:
        return dict(sizes)
    quotas = {key: divmod(size * number, population) for key, number in sizes.items()}
    shares = {key: max(1, whole) for key, (whole, _) in quotas.items()}
    over = sum(shares.values()) - size
    whole_ones = [key for key, (whole, _) in quotas.items() if whole]
    for key in sorted(whole_ones, key=lambda key: (-quotas[key][1], key))[: max(0, -over)]:
        shares[key] += 1
    for _ in range(over):
        shares[max(shares, key=lambda key: (shares[key], key))] -= 1
    return shares


def _rows_named(connection: Connection, names: list[str]) -> tuple[AuditRow, ...]:
    lists = [names[at : at + _IN_ONE_LIST] for at in range(0, len(names), _IN_ONE_LIST)]
    rows = chain.from_iterable(_audit_rows(connection, [STATE.c.recovery.in_(listed)]) for listed in lists)
    return tuple(sorted(rows, key=lambda row: (row.bday, row.at_us, row.recovery)))


# --- what they come to ------------------------------------------------------------------------------------------------


class Part(NamedTuple):
    """Recoveries with one word in common, in one currency. What was voided is not in ``granted``."""

    word: str
    recoveries: int
    asked: Money
    granted: Money
    voided: Money


@dataclass(frozen=True, slots=True)
class Stats:
    """What recoveries come to. ``parts`` are by ``currency outcome status remedy site role``, sorted by word.

    Medians are the lower of two in the middle: of what was granted (voids included), by currency; of the seconds from
    asking to the answer, of those that were sent up and answered; and from the grant to its fulfilment.
    """

    recoveries: int
    on_the_spot: int
    parts: Mapping[str, tuple[Part, ...]]
    median_granted: tuple[Money, ...]
    median_answer_s: int | None
    median_fulfil_s: int | None

    @property
    def on_the_spot_rate(self) -> float | None:
        """The share that was approved by whoever was asked first; None where there is nothing to share."""
        return self.on_the_spot / self.recoveries if self.recoveries else None


_GRANTED = STATE.c.granted_minor
_STANDS = STATE.c.status.in_(("granted", "fulfilled"))
_VOIDED = STATE.c.status == "voided"
_FIGURES: tuple[ColumnElement[Any], ...] = (
    literal_column("1"),
    STATE.c.asked_minor,
    case((_STANDS, _GRANTED), else_=0),
    case((_VOIDED, _GRANTED), else_=0),
)
_REMEDY = func.coalesce(STATE.c.granted_remedy, STATE.c.remedy)
_GROUPS: dict[str, ColumnElement[Any]] = {
    "currency": STATE.c.currency,
    "outcome": STATE.c.outcome,
    "status": STATE.c.status,
    "remedy": _REMEDY,
    "site": STATE.c.site,
    "role": STATE.c.role,
}


def stats(connection: Connection, wanted: Filter = EVERYTHING) -> Stats:
    """What the recoveries that fit come to. Raises InvalidRequest with every mistake in the filter."""
    fits = conditions(connection, wanted)
    sums: dict[str, dict[tuple[str, str], list[int]]] = {name: {} for name in _GROUPS}
    for words, figures in _alike(connection, fits).items():
        for name, word in zip(_GROUPS, words, strict=True):
            _add(sums[name].setdefault((word, words[0]), [0, 0, 0, 0]), figures)
    parts = {name: tuple(_part(*key, *sums[name][key]) for key in sorted(sums[name])) for name in _GROUPS}
    return Stats(
        sum(part.recoveries for part in parts["currency"]),
        sum(part.recoveries for part in parts["outcome"] if part.word == "approve"),
        parts,
        tuple(_median_granted(connection, fits, [part.word for part in parts["currency"]])),
        _median_s(connection, [*fits, STATE.c.outcome == "escalate"], _ANSWERED_US - STATE.c.at_us),
        _median_s(connection, fits, STATE.c.fulfilled_us - STATE.c.granted_us),
    )


def _alike(connection: Connection, fits: list[Condition]) -> dict[tuple[str, ...], list[int]]:
    """The figures of the recoveries with the same words; PostgreSQL adds most of them up itself."""
    words = list(_GROUPS.values())
    if dialect_of(connection) == "sqlite":  # whose driver may keep all that it sorts in memory
        rows = streamed(connection, select(*words, *_FIGURES).where(*fits))
    else:
        rows = streamed(connection, select(*words, *map(func.sum, _FIGURES)).where(*fits).group_by(*words))
    sums: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        _add(sums.setdefault(tuple(row[: len(words)]), [0, 0, 0, 0]), row[len(words) :])
    return sums


def _add(so_far: list[int], figures: Sequence[Any]) -> None:
    so_far[:] = [one + int(other or 0) for one, other in zip(so_far, figures, strict=True)]


_ANSWERED_US = func.coalesce(STATE.c.granted_us, case((STATE.c.status == "declined", STATE.c.closed_us)))


def _part(word: str, currency: str, recoveries: int, asked: int, granted: int, voided: int) -> Part:
    return Part(word, recoveries, Money(asked, currency), Money(granted, currency), Money(voided, currency))


def _median_granted(connection: Connection, fits: list[Condition], currencies: list[str]) -> Iterator[Money]:
    for currency in currencies:
        median = _median(connection, [*fits, STATE.c.currency == currency], _GRANTED)
        if median is not None:
            yield Money(median, currency)


def _median_s(connection: Connection, fits: list[Condition], us: ColumnElement[Any]) -> int | None:
    median = _median(connection, fits, us)
    return None if median is None else median // 1_000_000


def _median(connection: Connection, fits: list[Condition], figure: ColumnElement[Any]) -> int | None:
    given = select(func.count(figure)).select_from(STATE).where(*fits)
    below = (connection.execute(given).scalar_one() - 1) // 2
    middle = select(figure).where(*fits, figure.is_not(None)).order_by(figure).limit(1).offset(max(0, below))
    return connection.execute(middle).scalar()


# --- every grant of at least so much ----------------------------------------------------------------------------------


class PersonTotal(NamedTuple):
    """What one person granted, or asked for and was granted; voids are counted apart."""

    person: str
    grants: int
    granted: Money
    voids: int
    voided: Money


@dataclass(frozen=True, slots=True)
class GrantReport:
    """Every grant of a month that comes to at least an amount: by whom, approved by whom, why; a void is shown as such.

    ``grants`` can be gone through once, by business day of the grant, time and id. Months and days are business days
    of the grant, which is the site's day.
    """

    least: Money
    month: str
    total: PersonTotal
    by_employee: tuple[PersonTotal, ...]
    by_approver: tuple[PersonTotal, ...]
    grants: Iterator[AuditRow]


def at_least(connection: Connection, least: Money, month: str) -> GrantReport:
    """Every grant of at least *least* in *month*, such as ``2026-11``. Raises InvalidRequest."""
    first, last = _days_of(month)
    fits: list[Condition] = [
        STATE.c.granted_bday >= first.isoformat(),
        STATE.c.granted_bday <= last.isoformat(),
        STATE.c.currency == least.currency,
        least.minor <= _GRANTED,
    ]
    by_employee = _totals(connection, fits, STATE.c.employee, least.currency)
    by_approver = _totals(connection, fits, STATE.c.approver, least.currency)
    ordered = _audit_columns(connection).order_by(STATE.c.granted_bday, STATE.c.granted_us, STATE.c.recovery)
    grants = map(_audit_row, streamed(connection, ordered.where(*fits)))
    return GrantReport(least, month, _sum_of(by_employee, least.currency), by_employee, by_approver, grants)


def _days_of(month: str) -> tuple[date, date]:
    if re.fullmatch(r"\d{4}-\d\d", month, re.ASCII) and 1 <= int(month[5:]) <= 12 and int(month[:4]):
        first = date.fromisoformat(f"{month}-01")
        return first, first.replace(day=calendar.monthrange(first.year, first.month)[1])
    raise InvalidRequest([problem(ILL_TYPED, "month", f"`{month}` is not a month", "write it like `2026-11`")])


_PERSON_SUMS: tuple[ColumnElement[Any], ...] = (
    func.sum(case((_STANDS, 1), else_=0)),
    func.sum(case((_STANDS, _GRANTED), else_=0)),
    func.sum(case((_VOIDED, 1), else_=0)),
    func.sum(case((_VOIDED, _GRANTED), else_=0)),
)


def _totals(
    connection: Connection, fits: list[Condition], person: ColumnElement[Any], currency: str
) -> tuple[PersonTotal, ...]:
    rows = connection.execute(select(person, *_PERSON_SUMS).where(*fits).group_by(person).order_by(person))
    return tuple(_person_total(name, currency, *map(int, sums)) for name, *sums in rows)


def _person_total(name: str, currency: str, grants: int, granted: int, voids: int, voided: int) -> PersonTotal:
    return PersonTotal(name, grants, Money(granted, currency), voids, Money(voided, currency))


def _sum_of(totals: tuple[PersonTotal, ...], currency: str) -> PersonTotal:
    figures = [(one.grants, one.granted.minor, one.voids, one.voided.minor) for one in totals]
    return _person_total("", currency, *[sum(column) for column in zip(*figures, (0, 0, 0, 0), strict=False)])


# --- the entries themselves -------------------------------------------------------------------------------------------


class LogEntry(NamedTuple):
    """An entry: where it stands, its leaf hash in lower-case hex, and its canonical bytes."""

    stream: str
    seq: int
    leaf: str
    body: bytes


def policy(connection: Connection, digest: str) -> Policy | None:
    """The policy of a digest, from its text in the log. Raises LogError where that text gives another."""
    table = metadata.tables["recovery_policy"]
    columns = [table.c[name] for name in PolicyRow._fields]
    row = connection.execute(select(*columns).where(table.c.digest == digest).limit(1)).first()
    return None if row is None else read_stored(PolicyRow(*row))


class StreamHead(NamedTuple):
    """How far a stream has come. Hashes are lower-case hex, the time of the last entry is in UTC microseconds."""

    stream: str
    size: int
    root: str
    last_leaf: str
    last_at_us: int


def entries(connection: Connection, stream: str | None = None, after: int | None = None) -> Iterator[LogEntry]:
    """The entries of one stream or of all, in order; *after*: only those whose seq is higher. Raises InvalidRequest."""
    if stream is not None:
        known = connection.execute(select(_STREAM.c.stream).order_by(_STREAM.c.stream)).scalars().all()
        if stream not in known:
            cure = did_you_mean(stream, known) if known else ""
            raise InvalidRequest([problem(UNKNOWN_WORD, "stream", f"no stream `{stream}` in this log", cure)])
    fits = [] if stream is None else [_LOG.c.stream == stream]
    fits += [] if after is None else [_LOG.c.seq > after]
    chosen = select(_LOG.c.stream, _LOG.c.seq, _LOG.c.leaf, _LOG.c.body).where(*fits)
    rows = streamed(connection, chosen.order_by(_LOG.c.stream, _LOG.c.seq))
    return (LogEntry(name, seq, bytes(leaf).hex(), bytes(body)) for name, seq, leaf, body in rows)


def heads(connection: Connection) -> tuple[StreamHead, ...]:
    """Every stream, by name. Raises TamperedLog where what is kept of one cannot be."""
    columns = [_STREAM.c[name] for name in ("stream", "size", "frontier", "last_leaf", "last_at_us")]
    return tuple(_head(*row) for row in connection.execute(select(*columns).order_by(_STREAM.c.stream)))


def _head(stream: str, size: int, frontier: bytes, last_leaf: bytes, last_at_us: int) -> StreamHead:
    try:
        root = root_of(frontier_from(bytes(frontier), size))
    except ValueError as error:
        raise TamperedLog(f"stream `{stream}`: {error}", "run `recovery log verify`") from None
    return StreamHead(stream, size, root.hex(), bytes(last_leaf).hex(), last_at_us)
