"""Whatever somebody with write access changes in a log, `verify` finds; and what it cannot find is said here.

``RECOVERY_TEST_SCALE=100`` tries every byte of every entry and every column of every row.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from forging import Forger, Original, first, remembered

from recovery_engine import LogError
from recovery_engine.log.proof.anchors import Anchor
from recovery_engine.log.tables import PROJECTIONS, metadata
from recovery_engine.log.verification import register
from recovery_engine.log.verification.verify import verify

pytestmark = pytest.mark.slow

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))


@pytest.fixture(autouse=True)
def _each_policy_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register, "parse_stored", remembered)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return Original(tmp_path_factory.mktemp("original"))


@pytest.fixture
def forger(original: Original, tmp_path: Path) -> Iterator[Forger]:
    with closing(Forger(original.file, tmp_path / "forged.db")) as forger:
        yield forger


# --- one byte, one column, one row ---


def test_every_byte_of_every_entry_counts(forger: Forger, record_property: Callable[..., None]) -> None:
    rows = forger.run("SELECT stream, seq, body FROM recovery_log ORDER BY stream, seq")
    places = [(stream, seq, body, at) for stream, seq, body in rows for at in range(len(body))]
    tried = places[:: max(1, 101 // SCALE)]
    sql = "UPDATE recovery_log SET body = ? WHERE stream = ? AND seq = ?"
    for number, (stream, seq, body, at) in enumerate(tried):
        flipped = bytearray(body)
        flipped[at] ^= (0x01, 0x20, 0x80)[number % 3]
        forger.run(sql, bytes(flipped), stream, seq)
        report = forger.verify()
        assert (report.findings[0].kind, report.findings[0].stream) == ("tampered", stream), (stream, seq, at)
        assert report.findings[0].seq == seq
        forger.run(sql, body, stream, seq)
    assert len(tried) >= 200
    assert forger.verify().clean
    record_property("alterations", f"{len(tried):,} of {len(places):,} bytes of entries, all found")


def test_every_column_of_every_table_counts(
    original: Original, forger: Forger, record_property: Callable[..., None]
) -> None:
    tried = 0
    for table in metadata.sorted_tables:
        rows = forger.run(f"SELECT * FROM {table.name}")
        assert rows, f"there is nothing in {table.name} to change"
        same = " AND ".join(f"{name} IS ?" for name in _names(table))
        insert = f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(table.columns))})"
        for row in rows[:: max(1, len(rows) * 2 // (5 * SCALE))]:
            for place, column in enumerate(table.columns):
                for other in _other_values(row[place], column):
                    changed = (*row[:place], other, *row[place + 1 :])
                    forger.run(f"DELETE FROM {table.name} WHERE {same}", *row)
                    forger.run(insert, *changed)
                    _assert_found(forger, original, table.name, column.name, row, other)
                    forger.run(f"DELETE FROM {table.name} WHERE {same}", *changed)
                    forger.run(insert, *row)
                    tried += 1
    assert tried >= 2 * sum(len(table.columns) for table in metadata.sorted_tables)
    assert forger.verify(keys=[original.vkey]).clean
    record_property("alterations", f"{tried:,} values of columns, in {len(metadata.tables)} tables, all found")


def _names(table: Any) -> list[str]:
    return [column.name for column in table.columns]


UNSEEN = {("recovery_subject", "reference")}
"""What only the host can tell: no entry knows whom a token stands for."""


def _other_values(value: Any, column: Any) -> Iterator[Any]:
    if value is None:
        yield 5 if column.type.python_type is int else "x"
        return
    if type(value) is int:
        yield value + 1_000
    elif type(value) is bytes:
        yield bytes([value[0] ^ 1]) + value[1:] if value else b"x"
    else:
        yield f"{value[:-1]}{'y' if value.endswith('x') else 'x'}"
    if column.nullable:
        yield None


def _assert_found(forger: Forger, original: Original, table: str, column: str, row: Any, other: Any) -> None:
    about = (table, column, row, other)
    try:
        report = forger.verify(keys=[original.vkey])
    except LogError:
        assert (table, column) == ("recovery_schema", "version"), about
        return
    if (table, column) in UNSEEN:
        assert report.clean, f"now found, and no exception any more: {about}"
        return
    assert not report.clean, about
    if table not in PROJECTIONS:
        assert report.findings[0].kind == "tampered", about
    elif table != "recovery_stream":
        assert report.findings[0].kind == "drift", about


def test_every_row_counts(original: Original, forger: Forger, record_property: Callable[..., None]) -> None:
    tried = 0
    for table in metadata.sorted_tables:
        rows = forger.run(f"SELECT * FROM {table.name}")
        same = " AND ".join(f"{name} IS ?" for name in _names(table))
        for row in rows[:: max(1, len(rows) // (12 * SCALE))]:
            forger.run(f"DELETE FROM {table.name} WHERE {same}", *row)
            if table.name == "recovery_checkpoint":
                assert forger.verify().clean  # what was signed is kept by others; this is a copy
            elif table.name == "recovery_schema":
                with pytest.raises(LogError):
                    forger.verify()
            else:
                report = forger.verify()
                wanted = "drift" if table.name in PROJECTIONS else "tampered"
                assert report.findings, (table.name, row)
                assert report.findings[0].kind == wanted, (table.name, row)
            forger.run(f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(row))})", *row)
            tried += 1
    assert tried >= 60
    record_property("alterations", f"{tried:,} rows taken away, all found but copies of checkpoints")


# --- rows of the log ---

_ROWS = "SELECT * FROM recovery_log ORDER BY stream, seq"


def test_an_entry_cannot_be_there_twice(forger: Forger, record_property: Callable[..., None]) -> None:
    rows, tried = forger.run(_ROWS), 0
    for stream, seq, id, *rest in rows:
        ((last,),) = forger.run("SELECT max(seq) FROM recovery_log WHERE stream = ?", stream)
        for place in (last + 1, last + 2, -1):
            forger.run("INSERT INTO recovery_log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", stream, place, f"{id}/2", *rest)
            assert first(forger.verify()).startswith(stream), (stream, seq, place)
            forger.run("DELETE FROM recovery_log WHERE request_id = ?", f"{id}/2")
            tried += 1
    assert tried >= 100
    record_property("alterations", f"{tried:,} entries doubled, all found")


def test_without_its_key_the_table_can_hold_a_row_twice_and_it_is_found(forger: Forger) -> None:
    forger.run("ALTER TABLE recovery_log RENAME TO original")
    forger.run("CREATE TABLE recovery_log AS SELECT * FROM original")
    assert forger.verify().clean
    for stream, seq in (("organisation", 0), ("site:S001", 27), ("site:S101", 3)):
        same = (stream, seq)
        forger.run("INSERT INTO recovery_log SELECT * FROM original WHERE stream = ? AND seq = ?", *same)
        assert forger.verify().has("tampered")
        forger.run("DELETE FROM recovery_log WHERE stream = ? AND seq = ?", *same)
        forger.run("INSERT INTO recovery_log SELECT * FROM original WHERE stream = ? AND seq = ?", *same)
    assert forger.verify().clean


def test_entries_cannot_change_places(forger: Forger, record_property: Callable[..., None]) -> None:
    rows, tried = forger.run(_ROWS), 0
    for one, other in [*pairwise(rows), *zip(rows, rows[11:], strict=False)]:
        # The whole row, the bytes alone, the bytes with their leaf.
        for first_column, end in ((2, 9), (6, 7), (6, 8)):
            _put(forger, (*one[:first_column], *other[first_column:end], *one[end:]))
            _put(forger, (*other[:first_column], *one[first_column:end], *other[end:]))
            found = forger.verify().findings[0]
            assert found.kind == "tampered"
            assert found.stream in (one[0], other[0])
            _put(forger, one)
            _put(forger, other)
            tried += 1
    assert tried >= 150
    assert forger.verify().clean
    record_property("alterations", f"{tried:,} pairs of entries swapped, all found")


def _put(forger: Forger, row: Any) -> None:
    """Put a row in the place of the one that has its stream and seq."""
    forger.run("UPDATE recovery_log SET request_id = request_id || '/moved' WHERE request_id = ?", row[2])
    forger.run(
        "UPDATE recovery_log SET request_id = ?, kind = ?, at_us = ?, continues = ?, body = ?, leaf = ?, root = ? "
        "WHERE stream = ? AND seq = ?",
        *(*row[2:], *row[:2]),
    )


def test_an_entry_cannot_move_to_another_stream(forger: Forger) -> None:
    streams = [stream for (stream,) in forger.run("SELECT stream FROM recovery_stream")]
    tried = 0
    for stream, seq, *_ in forger.run(_ROWS):
        for other in {*streams, "site:S003", ""} - {stream}:
            ((size,),) = forger.run("SELECT count(*) FROM recovery_log WHERE stream = ?", other)
            sql = "UPDATE recovery_log SET stream = ?, seq = ? WHERE stream = ? AND seq = ?"
            forger.run(sql, other, size, stream, seq)
            assert forger.verify().findings[0].kind == "tampered"
            forger.run(sql, stream, seq, other, size)
            tried += 1
    assert tried >= 150


def test_streams_of_two_logs_cannot_be_swapped(original: Original, forger: Forger, tmp_path: Path) -> None:
    """The same happened in both, to the microsecond; only what was drawn by chance differs."""
    other = Original(tmp_path, seed="other")
    with closing(Forger(other.file, tmp_path / "swapped.db")) as theirs:
        for stream in ("site:S001", "site:S002", "site:S101", "organisation"):
            with forger.for_a_moment():
                for table in ("recovery_log", "recovery_stream"):
                    forger.run(f"DELETE FROM {table} WHERE stream = ?", stream)
                    for row in theirs.run(f"SELECT * FROM {table} WHERE stream = ?", stream):
                        forger.run(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", *row)
                forger.reproject()
                report = forger.verify()
                assert "opened with another `log`" in first(report), stream
    assert forger.verify().clean


# --- the tail ---


def _cut(forger: Forger, stream: str, keep: int) -> None:
    forger.rewrite(stream, forger.entries(stream)[:keep])
    if not keep:
        forger.run("DELETE FROM recovery_stream WHERE stream = ?", stream)
    forger.run("DELETE FROM recovery_checkpoint WHERE stream = ? AND size > ?", stream, keep)
    forger.reproject()
    commitments = "SELECT 1 FROM recovery_log WHERE request_id = recovery"
    forger.run(f"DELETE FROM recovery_personal WHERE NOT EXISTS ({commitments})")
    token = "SELECT 1 FROM recovery_state WHERE customer = token"
    forger.run(f"DELETE FROM recovery_subject WHERE NOT EXISTS ({token})")
    if stream == "organisation":
        forger.run("DELETE FROM recovery_policy WHERE seq >= ?", keep)


def test_a_tail_taken_away_with_all_its_traces_is_seen_with_an_anchor(
    original: Original, forger: Forger, record_property: Callable[..., None]
) -> None:
    """Without one it is seen where a later entry elsewhere touched the same customer, employee or site."""
    seen, unseen = set(), set()
    for anchor in original.anchors:
        stream = anchor.origin.removeprefix("shop.example/recovery/")
        for keep in range(anchor.size):
            with forger.for_a_moment():
                _cut(forger, stream, keep)
                (seen if forger.verify().has("tampered") else unseen).add((stream, keep))
                report = forger.verify(anchors=original.anchors)
                assert report.has("anchor"), (stream, keep)
    assert ("site:S001", 1) in seen  # employees and customers came to other sites afterwards
    assert ("site:S001", 27) in unseen  # the newest entry of all
    assert len(seen) + len(unseen) == original.report.entries
    tried = f"{original.report.entries} tails taken away with all traces"
    record_property("alterations", f"{tried}: {len(seen)} found without an anchor, all with one")


def test_a_tail_taken_away_without_its_head_is_no_drift(forger: Forger) -> None:
    forger.run("DELETE FROM recovery_log WHERE stream = 'site:S001' AND seq = 27")
    assert "site:S001 27: the stream had 28 entries, and 27 are there" in first(forger.verify())


# --- people ---


def test_a_text_that_was_not_forgotten_must_be_there_and_open(forger: Forger) -> None:
    forger.run("UPDATE recovery_personal SET value = 'Ann waited a minute' WHERE recovery = 'r-01'")
    assert first(forger.verify()) == "site:S001 1: the note of `r-01` is not the one that was given"


STEP_TEXTS = {"question/16": "r-19", "answer/17": "r-19", "note/21": "r-20"}


@pytest.mark.parametrize("field", STEP_TEXTS)
def test_what_was_said_at_a_later_step_must_be_there_and_open(field: str, forger: Forger) -> None:
    name, _, seq = field.partition("/")
    mine = f"WHERE recovery = '{STEP_TEXTS[field]}' AND field = '{field}'"
    with forger.for_a_moment():
        forger.run(f"UPDATE recovery_personal SET value = value || '!' {mine}")
        said = f"site:S001 {seq}: the {field} of `{STEP_TEXTS[field]}` is not the one that was given"
        assert [str(finding) for finding in forger.verify().findings] == [said]
    with forger.for_a_moment():
        forger.run(f"DELETE FROM recovery_personal {mine}")
        assert first(forger.verify()).startswith(f"site:S001 {seq}: the {field} of `{STEP_TEXTS[field]}` is not in")
    for other in (name, f"{name}/{int(seq) + 1}", f"contact/{seq}", f"{field}/{seq}"):
        with forger.for_a_moment():
            forger.run(f"UPDATE recovery_personal SET field = '{other}' {mine}")
            assert forger.verify().has("tampered"), other


def test_what_was_asked_and_answered_cannot_change_places(forger: Forger) -> None:
    for value, salt in (("value", "salt"), ("value", "value"), ("salt", "salt")):
        with forger.for_a_moment():
            swapped = ", ".join(
                f"{column} = (SELECT {column} FROM recovery_personal AS other WHERE other.field = 'answer/17')"
                for column in {value, salt}
            )
            forger.run(f"UPDATE recovery_personal SET {swapped} WHERE field = 'question/16'")
            assert "site:S001 16: the question/16 of `r-19` is not the one" in first(forger.verify())


def test_a_note_of_an_approver_that_was_forgotten_must_not_come_back(forger: Forger) -> None:
    forger.run("INSERT INTO recovery_personal VALUES ('r-04', 'note/6', zeroblob(32), 'A regular guest')")
    assert first(forger.verify()) == (
        "site:S001 6: the note/6 of `r-04` is still there, and its customer was forgotten"
    )


def test_what_was_forgotten_must_not_come_back(forger: Forger) -> None:
    ((token,),) = forger.run("SELECT customer FROM recovery_state WHERE recovery = 'r-04'")
    assert forger.run("SELECT 1 FROM recovery_personal WHERE recovery = 'r-04'") == []
    forger.run("INSERT INTO recovery_personal VALUES ('r-04', 'name', zeroblob(32), 'Zoë')")
    forger.run("INSERT INTO recovery_subject VALUES (?, 'K-2 of old')", token)
    assert [str(finding) for finding in forger.verify().findings] == [
        "site:S001 5: the name of `r-04` is still there, and its customer was forgotten",
        f"organisation 5: `recovery_subject` has `{token}`, who was forgotten",
    ]


def test_text_that_is_no_text_is_found_and_nothing_breaks(forger: Forger) -> None:
    for table, column in (
        ("recovery_log", "request_id"),
        ("recovery_log", "stream"),
        ("recovery_state", "status"),
        ("recovery_personal", "value"),
        ("recovery_policy", "yaml"),
        ("recovery_policy", "canonical"),
        ("recovery_subject", "token"),
        ("recovery_usage", "subject"),
        ("recovery_checkpoint", "note"),
    ):
        with forger.for_a_moment():
            last = f"(SELECT {column} FROM {table} ORDER BY {column} DESC LIMIT 1)"
            forger.run(f"UPDATE {table} SET {column} = CAST(x'ff' AS TEXT) WHERE {column} = {last}")
            assert not forger.verify().clean, (table, column)


def test_values_of_other_types_are_found(forger: Forger, record_property: Callable[..., None]) -> None:
    """Whoever makes a table anew, without its types, can put anything anywhere."""
    tried = 0
    for table in metadata.sorted_tables:
        if table.name == "recovery_schema":
            continue
        with forger.for_a_moment():
            forger.run(f"ALTER TABLE {table.name} RENAME TO original")
            forger.run(f"CREATE TABLE {table.name} AS SELECT * FROM original")
            for column in _names(table):
                ((rowid, value),) = forger.run(f"SELECT rowid, {column} FROM {table.name} LIMIT 1")
                for other in (None, "x", b"x", 1.5, -3):
                    if value != other and (table.name, column) not in UNSEEN:
                        forger.run(f"UPDATE {table.name} SET {column} = ? WHERE rowid = ?", other, rowid)
                        assert not forger.verify().clean, (table.name, column, other)
                        tried += 1
                forger.run(f"UPDATE {table.name} SET {column} = ? WHERE rowid = ?", value, rowid)
    assert tried >= 400
    record_property("alterations", f"{tried:,} values of another type, all found")


def test_an_anchor_of_an_empty_stream_is_no_help_but_no_fault(original: Original) -> None:
    empty = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    assert verify(original.file, anchors=[Anchor("shop.example/recovery/site:S001", 0, empty)]).clean
