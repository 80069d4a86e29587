"""A draft in the shadow of the policy in force: what it would have said to each request as it came, never enforced.

The log says what was asked and decided; the draft decides it again, with the usage it would have had itself. Nothing is
written to the log. What was seen is kept as lines of JSON, a request each, which can be reported on like a back-test.
"""

from collections.abc import Container, Iterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import orjson

from recovery_engine.errors import InvalidRequest, LogError
from recovery_engine.history.backtest import BackTest, report_on
from recovery_engine.history.cells import Progress, always
from recovery_engine.history.needed import connected, duckdb_module
from recovery_engine.history.opening import History, NothingAsked, Source, count_of, history_of
from recovery_engine.history.table import OUTCOMES, text
from recovery_engine.policy.reading import ILL_TYPED, problem
from recovery_engine.policy.schema import Policy

_COLUMNS = {
    **dict.fromkeys(("recovery", "day", "employee", "role", "site", "remedy", "category"), "VARCHAR"),
    "amount": "BIGINT",
    "before_outcome": "VARCHAR",
    "before_to": "VARCHAR",
    "before_paid": "BIGINT",
    "outcome": "VARCHAR",
    "to_role": "VARCHAR",
    "second_role": "VARCHAR",
    "paid": "BIGINT",
    "changed": "BOOLEAN",
}


class Shadowed(NamedTuple):
    """A request, what was decided, and what the draft says: as a line of JSON, amounts in minor units."""

    recovery: str
    changed: bool
    line: bytes


def shadowed(
    draft: Policy, source: Source, seen: Container[str] = (), progress: Progress | None = None
) -> Iterator[Shadowed]:
    """The requests of a log that were not *seen* before, in the order in which they happened.

    Raises LogError, PolicyError as ``backtest``; a log that holds no request yet has none.
    """
    with suppress(NothingAsked), history_of(draft, source, progress=progress) as history:
        yield from _lines(history, seen)


def _lines(history: History, seen: Container[str]) -> Iterator[Shadowed]:
    outcomes = [str(outcome) for outcome in OUTCOMES]
    rows = history.connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM decided ORDER BY n").fetchall()
    for row in rows:
        found = dict(zip(_COLUMNS, row, strict=True))
        if found["recovery"] in seen:
            continue
        for name in ("before_outcome", "outcome"):
            found[name] = None if found[name] is None else outcomes[found[name]]
        found |= {"day": found["day"] and found["day"].isoformat(), "currency": history.draft.currency}
        line = orjson.dumps(found | {"draft": history.draft.digest}) + b"\n"
        yield Shadowed(str(found["recovery"]), bool(found["changed"]), line)


def seen_in(draft: Policy, kept: str | Path) -> frozenset[str]:
    """The requests that a file of lines holds, none where there is no file. Raises InvalidRequest."""
    path = Path(kept)
    if not path.exists():
        return frozenset()
    seen, digest = set(), always(draft).digest
    *whole, _ = path.read_bytes().split(b"\n")  # a watch that was killed may leave the beginning of a line
    for number, line in enumerate(whole, 1):
        try:
            found = orjson.loads(line)
            seen.add(str(found["recovery"]))
            other = found["draft"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise _not_ours(path, number, "is not a line of `recovery watch`", "name another file") from None
        if other != digest:
            raise _not_ours(path, number, "is of another draft", "keep a file for each draft: name another")
    return frozenset(seen)


def _not_ours(path: Path, number: int, message: str, cure: str) -> InvalidRequest:
    return InvalidRequest([problem(ILL_TYPED, f"{path}:{number}", f"line {number} {message}", cure)])


def shadow_report(draft: Policy, kept: str | Path) -> BackTest:
    """What was seen comes to, like a back-test. Raises InvalidRequest, LogError."""
    if not seen_in(draft, kept):
        raise LogError(f"{kept} holds no request", "has anything been asked since the watch began?")
    with TemporaryDirectory(prefix="recovery-") as folder, closing(connected(folder)) as connection:
        _load(connection, Path(kept))
        count = count_of(connection)
        policy = always(draft)
        return report_on(History(connection, policy, None, None, str(kept), (), _NOTES, False, count, 0, folded=True))


_NOTES = ("the draft was only watched: what was decided is what the policy in force said",)


def _load(connection: Any, kept: Path) -> None:
    duckdb = duckdb_module()
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in _COLUMNS.items())
    places = " ".join(f"WHEN '{outcome}' THEN {place}" for place, outcome in enumerate(OUTCOMES))
    try:
        connection.execute(
            f"""CREATE TABLE decided AS SELECT row_number() OVER () - 1 AS n, * REPLACE (CAST(day AS DATE) AS day,
                   CASE before_outcome {places} END AS before_outcome, CASE outcome {places} END AS outcome)
            FROM read_json({text(str(kept))}, format = 'newline_delimited', columns = {{{columns}}});
            CREATE VIEW history AS SELECT * FROM decided"""
        )
    except duckdb.Error as error:
        raise LogError(f"cannot read {kept}: {str(error).splitlines()[0]}") from error
