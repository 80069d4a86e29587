"""History made ready: read from its source into `history`, decided by a draft, and put side by side with what was."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from recovery_engine.errors import Diagnostic, LogError, PolicyError
from recovery_engine.history import entries, files
from recovery_engine.history.cells import Progress, always, decide_cells
from recovery_engine.history.files import HistoryFile
from recovery_engine.history.needed import connected
from recovery_engine.history.table import OUTCOMES, LeftOut, facts_of, make_history, text
from recovery_engine.log.reading.recovery_log import RecoveryLog
from recovery_engine.policy.schema import Policy

Source = RecoveryLog | HistoryFile | str | Path
"""A log, open to read; a file of history; or the name of either."""


@dataclass(frozen=True, slots=True)
class History:
    """History in a database of its own, as ``history`` and, answered, as ``decided``.

    ``decided`` adds to each row: ``outcome``, ``to_role``, ``second_role``, ``needs``, ``paid`` by the draft,
    ``before_outcome``, ``before_to``, ``before_paid``, and ``changed``. Outcomes are places in ``OUTCOMES``; what was
    paid without a second look is in minor units.
    """

    connection: Any
    draft: Policy
    against: Policy | None
    in_force: Policy | None
    source: str
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    drawn: bool
    population: int
    cells: int
    folded: bool


class NothingAsked(LogError):
    """There is no request at all."""


class _Read(NamedTuple):
    """What was read: from where, who is left out, what is to be said, and the policy that most were decided by."""

    source: str
    left_out: list[LeftOut]
    notes: list[str]
    in_force: Policy | None = None


@contextmanager
def history_of(
    draft: Policy,
    source: Source,
    against: Policy | None = None,
    days: tuple[date | None, date | None] = (None, None),
    sample: tuple[int | None, str | int] = (None, 0),
    progress: Progress | None = None,
) -> Iterator[History]:
    """History, answered by *draft*, and by *against* or by itself. Raises InvalidRequest, LogError, PolicyError."""
    draft, policies = always(draft), [draft] if against is None else [draft, against]
    against = None if against is None else always(against)
    _refuse_misfits(policies)
    with TemporaryDirectory(prefix="recovery-") as folder, closing(connected(folder)) as connection:
        facts = facts_of(policies)
        read = _read(connection, source, draft, facts, Path(folder), progress)
        make_history(connection, draft, facts, days)
        population = count_of(connection)
        if sample[0] is not None:
            _keep(connection, _drawn(*sample))
        history = answer(connection, draft, against, read.source, progress)
        if not count_of(connection):
            raise _nothing(read.source, [*read.left_out, *history.left_out], days)
        yield replace(
            history,
            in_force=read.in_force,
            left_out=(*read.left_out, *history.left_out),
            notes=(*read.notes, *_about(days, sample, history.folded)),
            drawn=sample[0] is not None,
            population=population,
        )


def answer(
    connection: Any, draft: Policy, against: Policy | None, source: str, progress: Progress | None = None
) -> History:
    """Decide every row of ``history`` by one policy or two, and leave out what they cannot decide.

    Where every request is a case of its own and no budget counts, cells are all there is to it; otherwise the requests
    are gone through in their order.
    """
    policies = {"after": draft} | ({} if against is None else {"before": against})
    numbers = {name: decide_cells(connection, policy, name, progress) for name, policy in policies.items()}
    left_out = _leave_out(connection, numbers)
    together = _cases_meet(connection)
    folded = {name for name, policy in policies.items() if together or policy.budgets}
    for name in sorted(folded):
        _fold(connection, policies[name], name, progress)
    _make_decided(connection, draft, against, numbers, folded)
    cells, requests = count_of(connection, "after"), count_of(connection)
    return History(
        connection, draft, against, None, source, tuple(left_out), (), False, requests, cells, folded=bool(folded)
    )


def _refuse_misfits(policies: list[Policy]) -> None:
    """Two policies that decide the same rows must mean the same by a fact, and the same money."""
    first, *others = policies
    for other in others:
        found = [
            f"the fact `{name}` is not of the same kind in both"
            for name, fact in other.facts.items()
            if name in first.facts and first.facts[name].kind != fact.kind
        ]
        if first.currency != other.currency:
            found.append(f"one decides in {first.currency} and the other in {other.currency}")
        if found:
            cure = "they cannot decide the same history: name one that can"
            raise PolicyError(Diagnostic("RP017", "error", other.where(""), one, cure) for one in found)


def count_of(connection: Any, table: str = "history") -> int:
    """How many rows there are."""
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


# --- reading ----------------------------------------------------------------------------------------------------------


def _read(
    connection: Any, source: Source, draft: Policy, facts: dict[str, str], folder: Path, progress: Progress | None
) -> _Read:
    if isinstance(source, str | Path) and Path(source).suffix.lower() in (".csv", ".tsv", ".parquet", ".jsonl"):
        source = HistoryFile(source)
    if isinstance(source, HistoryFile):
        kind = files.read_file(connection, source)
        notes: list[str] = []
        if kind == "entries":
            notes += entries.read_exported(connection, Path(source.path), "given")
            left_out, said = entries.make_asked(connection, draft.currency, facts)
        else:
            left_out, said = files.make_asked(connection, source, kind, draft, facts)
        return _Read(str(source.path), left_out, notes + said)
    if isinstance(source, RecoveryLog):
        return _read_log(connection, source, draft, facts, folder, progress)
    with RecoveryLog.open(source) as log:
        return _read_log(connection, log, draft, facts, folder, progress)


def _read_log(
    connection: Any, log: RecoveryLog, draft: Policy, facts: dict[str, str], folder: Path, progress: Progress | None
) -> _Read:
    entries.read_log(connection, log, folder, progress)
    left_out, notes = entries.make_asked(connection, draft.currency, facts)
    usual = connection.execute("SELECT policy FROM asked GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1").fetchone()
    return _Read(log.name, left_out, notes, log.policy(usual[0]) if usual else None)


def _nothing(source: str, left_out: list[LeftOut], days: tuple[date | None, date | None]) -> LogError:
    if left_out:
        reasons = "; ".join(f"{one.requests:,}: {one.reason}" for one in left_out)
        return LogError(f"no request in {source} can be decided: {reasons}", "does the draft fit this history?")
    if any(days):
        return LogError(f"{source} holds no request on those days", "look at other days")
    return NothingAsked(f"{source} holds no request", "is it the right one?")


# --- who is in it -----------------------------------------------------------------------------------------------------


def _drawn(size: int | None, seed: str | int) -> str:
    """Whole cases, those with the lowest hash first, until there are enough requests."""
    return f"""coalesce(case_id, recovery) IN (SELECT name FROM (
        SELECT name, sum(requests) OVER (ORDER BY md5({text(f"{seed}")} || chr(10) || name), name
                                         ROWS UNBOUNDED PRECEDING) - requests AS earlier
        FROM (SELECT coalesce(case_id, recovery) AS name, count(*) AS requests FROM history GROUP BY 1))
        WHERE earlier < {size})"""


def _keep(connection: Any, condition: str) -> None:
    connection.execute(
        f"""CREATE TABLE kept AS SELECT * REPLACE (row_number() OVER (ORDER BY n) - 1 AS n)
        FROM history WHERE {condition} ORDER BY n; DROP TABLE history; ALTER TABLE kept RENAME TO history"""
    )


def _leave_out(connection: Any, numbers: dict[str, str]) -> list[LeftOut]:
    """Leave out what one of the policies cannot decide; why, and how many."""
    wrong = " UNION ALL ".join(f"SELECT requests FROM {name} WHERE problem <> ''" for name in numbers)
    (any_wrong,) = connection.execute(f"SELECT count(*) FROM ({wrong})").fetchone()
    if not any_wrong:
        return []
    reasons = [f"(SELECT nullif(problem, '') FROM {name} WHERE cell = {number})" for name, number in numbers.items()]
    connection.execute(f"CREATE TABLE odd AS SELECT n, coalesce({', '.join(reasons)}) AS reason FROM history")
    found = connection.execute(
        "SELECT reason, count(*) FROM odd WHERE reason IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
    ).fetchall()
    _keep(connection, "n NOT IN (SELECT n FROM odd WHERE reason IS NOT NULL)")
    connection.execute("DROP TABLE odd")
    return [LeftOut(*one) for one in found]


def _cases_meet(connection: Any) -> bool:
    """Whether some requests are of one case."""
    return bool(
        connection.execute(
            "SELECT count(*) FROM (SELECT 1 FROM history WHERE case_id IS NOT NULL GROUP BY case_id "
            "HAVING count(*) > 1 LIMIT 1)"
        ).fetchone()[0]
    )


# --- answers ----------------------------------------------------------------------------------------------------------


def _fold(connection: Any, policy: Policy, name: str, progress: Progress | None) -> None:
    from recovery_engine.history.fold import fold_answers

    fold_answers(connection, policy, progress)
    connection.execute(
        f"DROP TABLE IF EXISTS {name}_needs; ALTER TABLE needs RENAME TO {name}_needs; "
        f"ALTER TABLE answers RENAME TO {name}_answers"
    )


def _make_decided(
    connection: Any, draft: Policy, against: Policy | None, numbers: dict[str, str], folded: set[str]
) -> None:
    """Make ``answers``, ``needs`` and ``decided``."""
    joins = [
        f"JOIN {name}_answers AS {name} USING (n)" if name in folded else f"JOIN {name} ON {name}.cell = {number}"
        for name, number in numbers.items()
    ]
    after = "CASE after.outcome WHEN 1 THEN {} END"
    if against is None:
        cases = " ".join(f"WHEN '{outcome}' THEN {at}" for at, outcome in enumerate(OUTCOMES))
        outcome, to = f"CASE then_outcome {cases} END", "then_to"
        paid = "CASE then_outcome WHEN 'approve' THEN coalesce(granted, amount) ELSE 0 END"
    else:
        outcome, to = "before.outcome", _role("before.to_rank", against)
        paid = "CASE before.outcome WHEN 0 THEN amount ELSE 0 END"
    rows = " ".join(["FROM history", *joins])
    connection.execute(
        f"""CREATE VIEW answers AS SELECT n, after.outcome, after.to_rank, after.second_rank, after.needs {rows};
        CREATE VIEW needs AS SELECT * FROM after_needs;
        CREATE VIEW decided AS SELECT *, before_outcome IS NOT NULL AND (before_outcome <> outcome
                OR (outcome = 1 AND before_to IS NOT NULL AND before_to IS DISTINCT FROM to_role)) AS changed
        FROM (SELECT history.*, after.outcome, {after.format(_role("after.to_rank", draft))} AS to_role,
                     {_role("after.second_rank", draft)} AS second_role, after.needs,
                     CASE after.outcome WHEN 0 THEN amount ELSE 0 END AS paid,
                     {outcome} AS before_outcome, {to} AS before_to, {paid} AS before_paid {rows})"""
    )


def _role(rank: str, policy: Policy) -> str:
    cases = " ".join(f"WHEN {at} THEN {text(role)}" for at, role in enumerate(policy.ladder))
    return f"CASE {rank} {cases} END"


# --- what is to be said -----------------------------------------------------------------------------------------------


def _about(days: tuple[date | None, date | None], sample: tuple[int | None, str | int], folded: bool) -> Iterator[str]:
    if days[0] is not None and folded:
        yield f"what cases and budgets had before {days[0]} is not counted"
    if sample[0] is not None and folded:
        yield "whole cases were drawn, but budgets hold less of a sample than of everything: they stop less here"
