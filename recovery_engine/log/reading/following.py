"""Every committed entry, for whoever acts on it elsewhere: a till, a chat bot, a ticketing system.

The subscriber keeps how far it has come, so that nothing is lost whichever side stops: what it had not put down yet
comes again. A stream is written under its lock, so that a lower seq never appears after a higher one.
"""

from collections.abc import Mapping
from heapq import merge

from sqlalchemy import Connection, select

from recovery_engine.errors import InvalidRequest, LogError
from recovery_engine.log.reading.queries import LogEntry
from recovery_engine.log.tables import metadata
from recovery_engine.policy.reading import ILL_TYPED, problem

Cursor = Mapping[str, int]
"""The seq of the last entry seen, by stream. A stream that is not in it was not seen yet."""

_AT_ONCE = 1_000
"""Entries read in one transaction, which ends before they are handed on: a slow subscriber must not hold it open."""

_LOG = metadata.tables["recovery_log"]
_STREAM = metadata.tables["recovery_stream"]


def read_cursor(given: object) -> dict[str, int]:
    """A copy of a cursor. Raises InvalidRequest where it is none."""
    if not isinstance(given, Mapping):
        message = f"a {type(given).__name__} where a cursor belongs"
        raise InvalidRequest([problem(ILL_TYPED, "after", message, "give the last seq seen, by stream")])
    if found := [
        problem(
            ILL_TYPED,
            "after",
            f"`{stream}: {seq}` is not the seq of the last entry seen of a stream",
            "give a whole number, or leave the stream out",
        )
        for stream, seq in given.items()
        if type(stream) is not str or type(seq) is not int or seq < 0
    ]:
        raise InvalidRequest(found)
    return dict(given)


def next_entries(connection: Connection, after: Cursor) -> list[LogEntry]:
    """Some of the entries after a cursor, in order in each stream; none where there are no more.

    Every stream that has more is among them. Raises LogError where the cursor is ahead of the log.
    """
    chosen = select(_STREAM.c.stream, _STREAM.c.size).where(_STREAM.c.size > 0)
    sizes = {str(stream): int(size) for stream, size in connection.execute(chosen.order_by(_STREAM.c.stream))}
    _require_behind(after, sizes)
    more = [stream for stream, size in sizes.items() if after.get(stream, -1) + 1 < size]
    if not more:
        return []
    share = max(1, _AT_ONCE // len(more))
    streams = [_some(connection, stream, after.get(stream, -1), share) for stream in more]
    return [entry for _, entry in merge(*streams, key=lambda one: one[0])]


def _require_behind(after: Cursor, sizes: Mapping[str, int]) -> None:
    """After a restore the log has fewer entries than the subscriber saw: new ones would be passed over unseen."""
    for stream, seq in after.items():
        if seq >= sizes.get(stream, 0):
            message = f"the cursor is at seq {seq} of `{stream}`, and the log has {sizes.get(stream, 0)} entries of it"
            raise LogError(message, "is it the cursor of another log, or was the log restored? begin again without it")


def _some(connection: Connection, stream: str, after: int, limit: int) -> list[tuple[int, LogEntry]]:
    """Entries of a stream, each with its time."""
    columns = (_LOG.c.at_us, _LOG.c.seq, _LOG.c.leaf, _LOG.c.body)
    chosen = select(*columns).where(_LOG.c.stream == stream, _LOG.c.seq > after).order_by(_LOG.c.seq).limit(limit)
    rows = connection.execute(chosen)
    return [(at_us, LogEntry(stream, seq, bytes(leaf).hex(), bytes(body))) for at_us, seq, leaf, body in rows]
