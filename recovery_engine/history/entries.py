"""History from the log: its entries, from the database or as they were exported, in the one order they had."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from recovery_engine.errors import LogError
from recovery_engine.history.cells import Progress
from recovery_engine.history.table import FACT_TYPES, LeftOut, fact_column, text
from recovery_engine.log.reading.recovery_log import RecoveryLog
from recovery_engine.money import MAX_MINOR

_AT_ONCE = 20_000
_MOST_NAMED = 8
_MOST_ROUNDS = 10_000

_SHAPE = """{"stream": "VARCHAR", "seq": "BIGINT", "at_us": "BIGINT", "kind": "VARCHAR", "recovery": "VARCHAR",
 "policy": "VARCHAR", "outcome": "VARCHAR", "to": "VARCHAR", "counts": {"amount": "BIGINT"}, "touches": ["JSON"],
 "request": {"employee": "VARCHAR", "role": "VARCHAR", "site": "VARCHAR", "case": "VARCHAR", "receipt": "VARCHAR",
  "customer": "VARCHAR", "remedy": "VARCHAR", "category": "VARCHAR", "severity": "VARCHAR", "amount": "BIGINT",
  "currency": "VARCHAR", "bill": "BIGINT", "reason": "VARCHAR", "basis": "VARCHAR", "occurred_on": "DATE",
  "note": "BOOLEAN", "evidence": ["VARCHAR"], "facts": "JSON", "own_limit": "JSON"}}"""


def read_log(connection: Any, log: RecoveryLog, folder: Path, progress: Progress | None) -> None:
    """Make ``entry`` of every entry of a log, a few thousand at a time. Raises LogError where entries are missing."""
    total = sum(head.size for head in log.streams())
    lines, done = folder / "entries.jsonl", 0
    connection.execute(f"CREATE TABLE entry AS {_shaped('SELECT CAST(NULL AS JSON) AS body')} LIMIT 0")
    with log.entries() as rows:
        while some := list(islice(rows, _AT_ONCE)):
            with lines.open("wb") as file:
                file.writelines(entry.body + b"\n" for entry in some)
            connection.execute(f"INSERT INTO entry {_shaped(_lines(lines))}")
            done += len(some)
            if progress is not None:
                progress("reading the log", done, total)
    if holes := missing_entries(connection):
        raise LogError("; ".join(holes), "the log is not whole: run `recovery log verify`")


def _lines(path: Path) -> str:
    return f"SELECT json AS body FROM read_ndjson_objects({text(str(path))}, maximum_object_size = 1000000)"


def _shaped(bodies: str) -> str:
    return f"SELECT unnest(json_transform(body, {text(_SHAPE)})) FROM ({bodies})"


def read_exported(connection: Any, path: Path, relation: str) -> tuple[str, ...]:
    """Make ``entry`` of entries that were exported; what is to be said of them. *relation*: with a column ``body``."""
    bodies = _lines(path) if path.suffix == ".jsonl" else f"SELECT CAST(body AS JSON) AS body FROM {relation}"
    connection.execute(f"CREATE TABLE entry AS {_shaped(bodies)}")
    return tuple(f"{hole}: was the export filtered?" for hole in missing_entries(connection))


def missing_entries(connection: Any) -> list[str]:
    """What is missing: entries of a stream, or what came before on a subject."""
    (unplaced,) = connection.execute("SELECT count(*) FROM entry WHERE stream IS NULL OR seq IS NULL").fetchone()
    holes = [f"{unplaced:,} entries name no stream and seq"] if unplaced else []
    streams = connection.execute(
        "SELECT stream, max(seq) + 1 - count(DISTINCT seq), count(*) - count(DISTINCT seq) FROM entry "
        "WHERE stream IS NOT NULL GROUP BY 1 HAVING max(seq) + 1 <> count(*) ORDER BY 1"
    ).fetchall()
    for stream, holed, doubled in streams[:_MOST_NAMED]:
        if holed:
            (at,) = connection.execute(
                "SELECT min(seq + 1) FROM (SELECT -1 AS seq UNION ALL SELECT seq FROM entry WHERE stream = $1) AS one "
                "WHERE NOT EXISTS (SELECT 1 FROM entry WHERE stream = $1 AND entry.seq = one.seq + 1)",
                [stream],
            ).fetchone()
            holes.append(
                f"`{stream}` has no entry {at}" + (f", and {holed - 1:,} more are missing" if holed > 1 else "")
            )
        if doubled:
            holes.append(f"`{stream}` has {doubled:,} entries twice")
    return holes + ([f"and so in {len(streams) - _MOST_NAMED:,} more streams"] if len(streams) > _MOST_NAMED else [])


# --- one order --------------------------------------------------------------------------------------------------------


def put_in_order(connection: Any) -> None:
    """Give each entry a time and a place among those of that time, by which it comes after all that it came after.

    Streams are ordered by their seq and entries that touch the same subject by its version. Times mostly say so too;
    where a clock was behind, an entry is moved behind what it saw.
    """
    connection.execute(
        """CREATE TABLE link AS
        WITH touch AS (
            SELECT stream, seq, touched->>0 AS subject, CAST(touched->>1 AS BIGINT) AS ver
            FROM (SELECT stream, seq, unnest(touches) AS touched FROM entry))
        SELECT stream, seq, lag(stream) OVER before AS earlier_stream, lag(seq) OVER before AS earlier_seq
        FROM touch WINDOW before AS (PARTITION BY subject ORDER BY ver)
        QUALIFY earlier_seq IS NOT NULL AND earlier_stream <> stream"""
    )
    connection.execute("CREATE TABLE placed AS SELECT stream, seq, at_us AS at_key, 0 AS place FROM entry")
    for _ in range(_MOST_ROUNDS):
        if not _moved(connection):
            connection.execute("DROP TABLE link")
            return
    raise LogError("entries say of each other that each came first", "run `recovery log verify`")


def _moved(connection: Any) -> bool:
    """Move entries behind what they came after; whether there were any."""
    connection.execute(
        """CREATE OR REPLACE TABLE late AS
        WITH earlier AS (
            SELECT stream, seq, earlier_stream, earlier_seq FROM link
            UNION ALL SELECT stream, seq, stream, seq - 1 FROM entry WHERE seq > 0)
        SELECT own.stream, own.seq, max((before.at_key, before.place + 1)) AS least
        FROM earlier JOIN placed AS own USING (stream, seq)
        JOIN placed AS before ON before.stream = earlier_stream AND before.seq = earlier_seq
        WHERE (own.at_key, own.place) <= (before.at_key, before.place) GROUP BY ALL"""
    )
    (moved,) = connection.execute("SELECT count(*) FROM late").fetchone()
    if moved:
        connection.execute(
            "UPDATE placed SET at_key = least[1], place = least[2] FROM late "
            "WHERE placed.stream = late.stream AND placed.seq = late.seq"
        )
    return bool(moved)


# --- requests ---------------------------------------------------------------------------------------------------------


def make_asked(connection: Any, currency: str, facts: Mapping[str, str]) -> tuple[list[LeftOut], list[str]]:
    """Make ``asked`` of ``entry``: who is left out, and what is to be said."""
    put_in_order(connection)
    typed = {name: f"(facts->>{text('$.' + name)})" for name in facts}
    columns = [
        f", TRY_CAST({typed[name]} AS {FACT_TYPES[kind]}) AS {fact_column(name)}" for name, kind in facts.items()
    ]
    wrong = [f"WHEN {typed[name]} IS NOT NULL AND {fact_column(name)} IS NULL THEN {text(_other_kind(name, kind))}"
             for name, kind in facts.items()]  # fmt: skip
    wrong.append(
        f"WHEN currency <> {text(currency)} THEN 'asked in ' || currency || ', and the draft decides in {currency}'"
    )
    wrong.append(f"WHEN amount IS NULL OR amount NOT BETWEEN 0 AND {MAX_MINOR} THEN 'the entry holds no amount'")
    connection.execute(
        f"""CREATE TABLE asked AS
        SELECT *, CASE {" ".join(wrong)} END AS problem FROM (SELECT * {"".join(columns)} FROM (
            SELECT at_key, row_number() OVER (ORDER BY at_key, place, stream, seq) AS place, at_us,
                   CAST(NULL AS DATE) AS day, recovery, request.employee,
                   request.role, nullif(request.site, '') AS site, request."case", request.receipt, request.customer,
                   request.remedy, request.category, request.severity, coalesce(request.basis, 'goodwill') AS basis,
                   request.amount, request.currency, request.bill, request.reason,
                   coalesce(request.note, false) AS note, request.evidence,
                   request.occurred_on, outcome AS then_outcome, "to" AS then_to,
                   coalesce(granted, 0) AS granted, request.own_limit IS NOT NULL AS own_limit, policy, request.facts
            FROM entry JOIN placed USING (stream, seq)
            LEFT JOIN (SELECT recovery, sum(counts.amount) AS granted FROM entry GROUP BY 1) USING (recovery)
            WHERE kind = 'decided'))"""
    )
    connection.execute("DROP TABLE placed; DROP TABLE entry")
    return list(_left_out(connection)), list(_said(connection))


def _other_kind(name: str, kind: str) -> str:
    meant = {"flag": "true or false", "number": "a whole number", "money": "an amount"}.get(kind, "a word")
    return f"`{name}` is not {meant} there, and the draft says it is"


def _left_out(connection: Any) -> Iterator[LeftOut]:
    found: Iterable[tuple[str, int]] = connection.execute(
        "SELECT problem, count(*) FROM asked WHERE problem IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
    ).fetchall()
    yield from (LeftOut(*one) for one in found)
    connection.execute("DELETE FROM asked WHERE problem IS NOT NULL")


def _said(connection: Any) -> Iterator[str]:
    (own,) = connection.execute("SELECT count(*) FROM asked WHERE own_limit").fetchone()
    if own:
        yield f"{own:,} requests of people with a limit of their own are decided by what their role may give"
    yield "a log holds no request that was answered `incomplete`: whoever was sent for proof asked again"
