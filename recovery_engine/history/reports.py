"""What a back-test comes to: added up in the database, handed out as values."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from recovery_engine.errors import LogError
from recovery_engine.history.bunching import Limit
from recovery_engine.history.needed import duckdb_module
from recovery_engine.history.opening import History
from recovery_engine.history.table import OUTCOMES, text
from recovery_engine.log.reading.export import whole_file
from recovery_engine.model import Outcome
from recovery_engine.money import Money, digits_of

_MOST_NAMED = 20
_BINS = 40
_Z = 1.959963984540054
"""95 in 100, on both sides."""


class Interval(NamedTuple):
    """Within this is the share of everything, with 95 in 100, where so much of a sample has it."""

    low: float
    high: float


def wilson(count: int, total: int) -> Interval:
    """Wilson's interval of a share. Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927), 209-212."""
    if not total:
        return Interval(0.0, 1.0)
    share, square = count / total, _Z * _Z
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = _Z * math.sqrt(share * (1 - share) / total + square / (4 * total * total)) / (1 + square / total)
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


class Answers(NamedTuple):
    """What one side says to all requests: how many of each answer, and what is paid without a second look."""

    requests: int
    on_the_spot: int
    sent_to: tuple[tuple[str, int], ...]
    denied: int
    incomplete: int
    paid: Money

    @property
    def sent_up(self) -> int:
        """How many are sent to another role."""
        return sum(count for _, count in self.sent_to)

    @property
    def on_the_spot_rate(self) -> float:
        """The share that is settled by whoever is asked first."""
        return self.on_the_spot / self.requests if self.requests else 0.0

    @property
    def on_the_spot_interval(self) -> Interval:
        """Where that share of everything is, if this is a sample."""
        return wilson(self.on_the_spot, self.requests)


class Answered(NamedTuple):
    """An outcome, and the role that is asked; "" where none is or nobody knows which."""

    outcome: Outcome
    to: str = ""


class Shift(NamedTuple):
    """Requests with one answer before and one after, and what they asked for."""

    before: Answered
    after: Answered
    requests: int
    asked: Money


class ChangedRequest(NamedTuple):
    """A request that is answered differently."""

    recovery: str
    day: Any
    employee: str | None
    role: str
    site: str | None
    remedy: str
    category: str | None
    amount: Money
    before: Answered
    after: Answered


class Affected(NamedTuple):
    """Requests with a word in common: how many are answered differently, settled on the spot and paid, then and now."""

    word: str
    requests: int
    changed: int
    on_the_spot_before: int
    on_the_spot: int
    paid_before: Money
    paid: Money


class Bin(NamedTuple):
    """Requests above ``low`` up to ``high`` (None: any), by outcome before and after; those of 0 are in the first."""

    low: Money
    high: Money | None
    before: Mapping[Outcome, int]
    after: Mapping[Outcome, int]


def add_up(history: History, limits: Sequence[Limit]) -> None:
    """Go through all requests once, and add up whatever is asked for later.

    Makes ``cube``, by answers, site, category and remedy; ``people``, by employee; and ``amounts``, by bands of amounts
    that end at every edge that somebody asks for.
    """
    edges = sorted({edge for limit in limits for edge in limit.edges} | set(bin_edges(history)))
    cases = " ".join(f"WHEN amount <= {edge} THEN {edge}" for edge in edges)
    answers = "outcome, before_outcome, changed"
    cube = f"{answers}, to_role, before_to, site, category, remedy"
    amounts = f"{answers}, role, remedy, top"
    history.connection.execute(
        f"""CREATE OR REPLACE TABLE added AS
        SELECT grouping(site, employee, role) AS part, {cube}, employee, role, top, count(*) AS requests,
               sum(amount)::BIGINT AS asked, sum(paid)::BIGINT AS paid, sum(before_paid)::BIGINT AS before_paid,
               count(*) FILTER (changed) AS differ, count(*) FILTER (outcome = 0) AS on_the_spot,
               count(*) FILTER (before_outcome = 0) AS spot_before
        FROM (SELECT *, CASE {cases} END AS top FROM decided)
        GROUP BY GROUPING SETS (({cube}), (employee), ({amounts}));
        CREATE OR REPLACE VIEW cube AS SELECT * FROM added WHERE part = 3;
        CREATE OR REPLACE VIEW people AS SELECT * FROM added WHERE part = 5;
        CREATE OR REPLACE VIEW amounts AS SELECT * FROM added WHERE part = 6"""
    )


def after(history: History) -> Answers:
    """What the draft says."""
    return _answers(history, "outcome", "to_role", "paid")


def before(history: History) -> Answers | None:
    """What history says, or the policy beside it; None where nothing does."""
    said = _answers(history, "before_outcome", "before_to", "before_paid")
    return said if said.requests else None


def _answers(history: History, outcome: str, to: str, paid: str) -> Answers:
    rows = history.connection.execute(
        f"SELECT {outcome}, {to}, sum(requests)::BIGINT, sum({paid})::BIGINT FROM cube "
        f"WHERE {outcome} IS NOT NULL GROUP BY 1, 2"
    ).fetchall()
    counts = dict.fromkeys(OUTCOMES, 0)
    sent: dict[str, int] = {}
    for one, role, count, _ in rows:
        counts[OUTCOMES[one]] += count
        if OUTCOMES[one] == Outcome.ESCALATE:
            sent[role or ""] = sent.get(role or "", 0) + count
    ladder = {role: rank for rank, role in enumerate(history.draft.ladder)}
    return Answers(
        sum(counts.values()),
        counts[Outcome.APPROVE],
        tuple(sorted(sent.items(), key=lambda one: (ladder.get(one[0], len(ladder)), one[0]))),
        counts[Outcome.DENY],
        counts[Outcome.INCOMPLETE],
        Money(sum(row[3] for row in rows), history.draft.currency),
    )


def shifts(history: History) -> tuple[Shift, ...]:
    """Every pair of answers, the changed ones first, the most frequent first."""
    rows = history.connection.execute(
        "SELECT before_outcome, CASE before_outcome WHEN 1 THEN before_to END AS was, outcome, to_role, "
        "sum(requests)::BIGINT, sum(asked)::BIGINT, changed FROM cube WHERE before_outcome IS NOT NULL "
        "GROUP BY ALL ORDER BY changed DESC, 5 DESC, 1, 2, 3, 4"
    ).fetchall()
    return tuple(
        Shift(_answer(was, was_to), _answer(now, to), count, Money(asked, history.draft.currency))
        for was, was_to, now, to, count, asked, _ in rows
    )


def _answer(outcome: int, to: str | None) -> Answered:
    return Answered(OUTCOMES[outcome], (to or "") if OUTCOMES[outcome] == Outcome.ESCALATE else "")


def changed(history: History) -> int:
    """How many are answered differently."""
    return int(history.connection.execute("SELECT coalesce(sum(requests), 0) FROM cube WHERE changed").fetchone()[0])


_CHANGE = "recovery, day, employee, role, site, remedy, category, amount, before_outcome, before_to, outcome, to_role"


def largest_changes(history: History) -> tuple[ChangedRequest, ...]:
    """The requests for most that are answered differently."""
    # Bands from the top until there are enough: few rows are then looked at.
    bands = history.connection.execute(
        "SELECT top, sum(requests)::BIGINT FROM amounts WHERE changed GROUP BY 1 ORDER BY top DESC NULLS FIRST"
    ).fetchall()
    enough = list(accumulate(count for _, count in bands))
    least = next((at for at, count in enumerate(enough) if count >= _MOST_NAMED), len(bands) - 1) + 1
    above = bands[least][0] if least < len(bands) else -1
    rows = history.connection.execute(
        f"SELECT {_CHANGE} FROM decided WHERE changed AND amount > {above} ORDER BY amount DESC, n LIMIT {_MOST_NAMED}"
    ).fetchall()
    currency = history.draft.currency
    return tuple(
        ChangedRequest._make((*words, Money(amount, currency), _answer(was, was_to), _answer(now, to)))
        for *words, amount, was, was_to, now, to in rows
    )


def affected(history: History) -> dict[str, tuple[Affected, ...]]:
    """Who is affected most, by employee, site, category and remedy."""
    sources = {"employee": "people", "site": "cube", "category": "cube", "remedy": "cube"}
    return {name: tuple(_affected(history, name, source)) for name, source in sources.items()}


def _affected(history: History, name: str, source: str) -> Iterator[Affected]:
    figures = ", ".join(
        f"sum({figure})::BIGINT"
        for figure in ("requests", "differ", "spot_before", "on_the_spot", "before_paid", "paid")
    )
    rows = history.connection.execute(
        f"SELECT {name}, {figures} FROM {source} WHERE {name} IS NOT NULL GROUP BY 1 ORDER BY 3 DESC, 2 DESC, 1 "
        f"LIMIT {_MOST_NAMED}"
    ).fetchall()
    currency = history.draft.currency
    for one, count, differ, spot_before, spot, paid_before, paid in rows:
        yield Affected(
            one, count, differ, spot_before, spot, Money(paid_before or 0, currency), Money(paid or 0, currency)
        )


# --- amounts ----------------------------------------------------------------------------------------------------------


def bin_edges(history: History) -> list[int]:
    """The upper ends of the bins, in round steps; 1 in 100 may be above the last."""
    (most,) = history.connection.execute("SELECT coalesce(quantile_disc(amount, 0.99), 0) FROM history").fetchone()
    step = next(size for size in _round_steps() if size * _BINS >= most)
    return [step * at for at in range(1, max(1, -(-most // step)) + 1)]


def _round_steps() -> Iterator[int]:
    size = 1
    while True:
        yield from (size, 2 * size, 5 * size)
        size *= 10


def bins(history: History) -> tuple[Bin, ...]:
    """How many requests for how much have which answer."""
    edges, currency = bin_edges(history), history.draft.currency
    tops: list[int | None] = [*edges, None]
    counts = [(dict.fromkeys(OUTCOMES, 0), dict.fromkeys(OUTCOMES, 0)) for _ in tops]
    rows = history.connection.execute(
        "SELECT top, before_outcome, outcome, sum(requests)::BIGINT FROM amounts GROUP BY ALL"
    )
    for top, was, now, count in rows.fetchall():
        at = next((at for at, edge in enumerate(edges) if top is not None and top <= edge), len(edges))
        if was is not None:
            counts[at][0][OUTCOMES[was]] += count
        counts[at][1][OUTCOMES[now]] += count
    lows = [0, *edges]
    return tuple(
        Bin(Money(low, currency), None if high is None else Money(high, currency), *both)
        for low, high, both in zip(lows, tops, counts, strict=True)
    )


def by_band(history: History) -> dict[tuple[str, str], dict[int, int]]:
    """Requests by role and remedy, and by the upper end of their band; those above all are under a very high one."""
    rows = history.connection.execute(
        f"SELECT role, remedy, coalesce(top, {2**53}), sum(requests)::BIGINT FROM amounts GROUP BY ALL"
    )
    found: dict[tuple[str, str], dict[int, int]] = {}
    for role, remedy, top, count in rows.fetchall():
        found.setdefault((role, remedy), {})[top] = count
    return found


# --- the list ---------------------------------------------------------------------------------------------------------

_FORMATS = {".csv": "FORMAT csv, HEADER", ".jsonl": "FORMAT json", ".parquet": "FORMAT parquet, COMPRESSION zstd"}


def write_changed(history: History, path: Path) -> None:
    """Write every request that is answered differently, in the order in which they happened. Raises LogError."""
    ending, digits, duckdb = path.suffix.lower(), digits_of(history.draft.currency), duckdb_module()
    unit = 10**digits
    amount = (
        f"(amount // {unit})::VARCHAR || '.' || lpad((amount % {unit})::VARCHAR, {digits}, '0')"
        if digits
        else "amount::VARCHAR"
    )
    if ending == ".parquet":
        amount = f"CAST({amount} AS DECIMAL(20, {digits}))"
    outcome = "CASE {} " + " ".join(f"WHEN {at} THEN '{one}'" for at, one in enumerate(OUTCOMES)) + " END"

    def cell(name: str) -> str:
        formula = f"regexp_matches({name}, '^[=+@\\t\\r\uff1d\uff0b\uff0d\uff20-]')"
        return f"CASE WHEN {formula} THEN '''' || {name} ELSE {name} END AS {name}" if ending == ".csv" else name

    words = ", ".join(map(cell, ("recovery", "employee", "role", "site", "remedy", "category")))
    rows = f"""SELECT {words}, day, {amount} AS amount, {text(history.draft.currency)} AS currency,
        {outcome.format("before_outcome")} AS before, CASE before_outcome WHEN 1 THEN before_to END AS before_to,
        {outcome.format("outcome")} AS after, to_role AS after_to FROM decided WHERE changed ORDER BY n"""
    try:
        with whole_file(path) as partial:
            history.connection.execute(f"COPY ({rows}) TO {text(str(partial))} ({_FORMATS[ending]})")
    except duckdb.Error as error:
        raise LogError(f"cannot write {path}: {str(error).splitlines()[0]}") from error
