"""Each thing that `verify` can say, about the smallest change that deserves it."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from forging import Entry, Forger, Original, remembered

from recovery_engine.log.verification import register

pytestmark = pytest.mark.slow


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


def _sql(*statements: str) -> Callable[[Forger], Any]:
    return lambda forger: [forger.run(statement) for statement in statements]


def _untyped(table: str, *statements: str) -> Callable[[Forger], Any]:
    """The table made anew without types and keys, and then changed."""
    made = (f"ALTER TABLE {table} RENAME TO original", f"CREATE TABLE {table} AS SELECT * FROM original")
    return _sql(*made, *statements)


def _change(id: str, change: Callable[[Entry], Any]) -> Callable[[Forger], Any]:
    return lambda forger: forger.change(id, change)


def _policy(id_end: str, **fields: Any) -> Callable[[Forger], Any]:
    """Change what an entry says of the policy it loaded."""

    def change(forger: Forger) -> None:
        ids = [entry["id"] for entry in forger.entries("organisation") if entry["kind"] == "policy_loaded"]
        chosen = {"first": ids[0], "second": ids[1], "third": ids[2]}[id_end]
        forger.change(chosen, lambda entry: entry.update(fields))

    return change


def _unchained(forger: Forger) -> None:
    """An entry that does not name the leaf before it, although tree, leaves and every later `prev` fit."""
    entries = forger.entries("site:S002")
    forger.rewrite("site:S002", entries, unchained=2)


def _twice(forger: Forger) -> None:
    _untyped("recovery_log")(forger)
    entries = forger.entries("site:S001")
    forger.rewrite("site:S001", [*entries, {**entries[2], "at_us": entries[-1]["at_us"]}])


def _elsewhere(forger: Forger) -> None:
    """A recovery of one site is fulfilled in the stream of another."""
    entries = forger.entries("site:S002")
    (step,) = [entry for entry in forger.entries("site:S001") if entry["id"] == "~fulfil/r-01"]
    moved = {**step, "id": "fulfil-r-06", "recovery": "r-06", "at_us": entries[-1]["at_us"]}
    forger.rewrite("site:S002", [*entries, moved])


_INTO_STATE = "INSERT INTO recovery_state SELECT 'r-00', {} FROM recovery_state WHERE recovery = 'r-01'"

SAID: dict[str, tuple[str, Callable[[Forger], Any]]] = {
    # streams
    "site:S001 3: is missing": ("tampered", _sql("DELETE FROM recovery_log WHERE stream = 'site:S001' AND seq = 3")),
    "site:S001 3: to 5 are missing": (
        "tampered",
        _sql("DELETE FROM recovery_log WHERE stream = 'site:S001' AND seq IN (3, 4, 5)"),
    ),
    "site:S001 3: not an entry: not JSON": (
        "tampered",
        _sql("UPDATE recovery_log SET body = x'7b' WHERE stream = 'site:S001' AND seq = 3"),
    ),
    "site:S002 4: holds the entry of `site:S101`, seq 1": (
        "tampered",
        _sql("UPDATE recovery_log SET stream = 'site:S002', seq = 4 WHERE stream = 'site:S101' AND seq = 1"),
    ),
    "site:S002 2: `prev` is not the leaf before it": ("tampered", _unchained),
    "site:S001: a row whose seq is 2 and whose entry is of type str": (
        "tampered",
        _untyped("recovery_log", "UPDATE recovery_log SET body = 'x' WHERE stream = 'site:S001' AND seq = 2"),
    ),
    "`recovery_log` has 49 rows, and 48 can be reached by stream and seq": (
        "tampered",
        _untyped("recovery_log", "UPDATE recovery_log SET seq = NULL WHERE request_id = 'r-16'"),
    ),
    "organisation 0: the stream is missing": (
        "tampered",
        _sql(
            "DELETE FROM recovery_log WHERE stream = 'organisation'",
            "DELETE FROM recovery_stream WHERE stream = 'organisation'",
        ),
    ),
    "site:S002 0: the stream had 4 entries, and none is there": (
        "tampered",
        _sql("DELETE FROM recovery_log WHERE stream = 'site:S002'"),
    ),
    "the last entry is not the one of which `recovery_stream` has the leaf": (
        "tampered",
        _sql("UPDATE recovery_stream SET last_leaf = zeroblob(32) WHERE stream = 'site:S002'"),
    ),
    "organisation 0: `recovery_schema` names ['9'], and the entry": (
        "tampered",
        _sql("UPDATE recovery_schema SET engine = '9'"),
    ),
    # entries
    "the id `~fulfil/r-01` was used before": ("tampered", _twice),
    "the recovery `r-06` stands in `site:S001`": ("tampered", _elsewhere),
    "nothing can follow from it": ("tampered", _change("r-16", lambda entry: entry.update(bday="2026-99-99"))),
    "the case had another currency before": (
        "tampered",
        _change("r-01", lambda entry: entry["counts"].update(currency="EUR")),
    ),
    "the case `C-r-10` had another customer before": (
        "tampered",
        _change("r-18", lambda entry: entry["request"].update(customer="c_" + "0" * 20)),
    ),
    "`delegated` by nobody": ("tampered", _change("lent-2", lambda entry: entry.update(by=None))),
    # policies
    "`replaces` is not the policy `diner` from 2026-11-21": ("tampered", _policy("third", replaces="0" * 64)),
    "organisation 1: the policy b": ("tampered", _sql("DELETE FROM recovery_policy WHERE seq = 1")),
    "has another name, version or days": ("tampered", _policy("second", label="9")),
    "which was never loaded": ("tampered", _policy("first", source="0" * 64)),
    "`recovery_policy` has a row with a digest, name or text that is no text": (
        "tampered",
        _untyped("recovery_policy", "UPDATE recovery_policy SET source = NULL WHERE seq = 1"),
    ),
    # people
    "`recovery_personal` has a note of `r-02`, of which no entry speaks": (
        "tampered",
        _sql("INSERT INTO recovery_personal VALUES ('r-02', 'note', zeroblob(32), 'x')"),
    ),
    "the note of `r-01` is not in `recovery_personal`, and nobody was forgotten": (
        "tampered",
        _sql("DELETE FROM recovery_personal"),
    ),
    "the question/16 of `r-19` is not in `recovery_personal`, and nobody was forgotten": (
        "tampered",
        _sql("DELETE FROM recovery_personal WHERE field = 'question/16'"),
    ),
    "`recovery_personal` has a answer/16 of `r-19`, of which no entry speaks": (
        "tampered",
        _sql("UPDATE recovery_personal SET field = 'answer/16' WHERE field = 'answer/17'"),
    ),
    "`recovery_personal` holds what no log can hold": (
        "tampered",
        _untyped("recovery_personal", "UPDATE recovery_personal SET salt = 5"),
    ),
    "`recovery_subject` has `c_x`, of whom no entry speaks": (
        "tampered",
        _sql("INSERT INTO recovery_subject VALUES ('c_x', 'K-x')"),
    ),
    "`recovery_subject` lacks `c_": ("tampered", _sql("DELETE FROM recovery_subject")),
    "was forgotten, and no other entry speaks of them": (
        "tampered",
        lambda forger: forger.change(
            next(entry["id"] for entry in forger.entries("organisation") if entry["kind"] == "forgotten"),
            lambda entry: entry.update(person="c_" + "0" * 20),
        ),
    ),
    # checkpoints
    "the note of the checkpoint of 4 entries is about something else": (
        "tampered",
        _sql(
            "UPDATE recovery_checkpoint SET note = "
            "(SELECT note FROM recovery_checkpoint WHERE stream = 'organisation') WHERE stream = 'site:S002'"
        ),
    ),
    "the note of the checkpoint of 4 entries is none": (
        "tampered",
        _sql("UPDATE recovery_checkpoint SET note = 'x' WHERE stream = 'site:S002'"),
    ),
    "the checkpoint of 4 entries has another root than the entries": (
        "tampered",
        _sql("UPDATE recovery_checkpoint SET root = zeroblob(32) WHERE stream = 'site:S002'"),
    ),
    # projections
    "`recovery_stream` lacks `site:S002`": ("drift", _sql("DELETE FROM recovery_stream WHERE stream = 'site:S002'")),
    "`size` of `site:S002` in `recovery_stream` is `3`, and the entries say `4`": (
        "drift",
        _sql("UPDATE recovery_stream SET size = 3 WHERE stream = 'site:S002'"),
    ),
    "`frontier` of `site:S002` in `recovery_stream`": (
        "drift",
        _sql("UPDATE recovery_stream SET frontier = x'00' WHERE stream = 'site:S002'"),
    ),
    "site:S001 1: `recovery_state` lacks `r-01`": (
        "drift",
        _sql("DELETE FROM recovery_state WHERE recovery = 'r-01'"),
    ),
    "`recovery_state` has `r-00`, and no entry asks for it": (
        "drift",
        lambda forger: forger.run(
            _INTO_STATE.format(", ".join(name for _, name, *_ in forger.run("PRAGMA table_info(recovery_state)")[1:]))
        ),
    ),
    "`recovery_line` has `x` of `r-00`, and no entry asks for it": (
        "drift",
        _sql("INSERT INTO recovery_line VALUES ('r-00', 'x')"),
    ),
    "`recovery_line` has `x` of `r-99`, and no entry asks for it": (
        "drift",
        _sql("INSERT INTO recovery_line VALUES ('r-99', 'x')"),
    ),
    "`recovery_line` has ['standard', 'x'] of `r-01`, and the entries say ['standard']": (
        "drift",
        _sql("INSERT INTO recovery_line VALUES ('r-01', 'x')"),
    ),
    "`recovery_usage` has (5, 0) for `site:S009 2026-11-18 refund goodwill USD`, and the entries none": (
        "drift",
        _sql("INSERT INTO recovery_usage VALUES ('site:S009', '2026-11-18', 'refund', 'goodwill', 'USD', 5, 0)"),
    ),
    "`recovery_usage` lacks `case:C-r-03 2026-11-18 refund goodwill USD`": (
        "drift",
        _sql("DELETE FROM recovery_usage WHERE subject = 'case:C-r-03'"),
    ),
    "`times` of `case:C-r-03 2026-11-18 refund goodwill USD` in `recovery_usage` is `9`": (
        "drift",
        _sql("UPDATE recovery_usage SET times = 9 WHERE subject = 'case:C-r-03'"),
    ),
    "`recovery_delegation` has `lent-9`, and no entry lends it": (
        "drift",
        _sql(
            "INSERT INTO recovery_delegation SELECT 'lent-9', by_employee, to_employee, role, sites, remedies, "
            "cap_minor, currency, from_us, until_us, revoked_us FROM recovery_delegation WHERE delegation = 'lent-1'"
        ),
    ),
    "`recovery_delegation` lacks `lent-1`": (
        "drift",
        _sql("DELETE FROM recovery_delegation WHERE delegation = 'lent-1'"),
    ),
    "`cap_minor` of `lent-1` in `recovery_delegation` is `90000`, and the entries say `10000`": (
        "drift",
        _sql("UPDATE recovery_delegation SET cap_minor = 90000 WHERE delegation = 'lent-1'"),
    ),
    "`revoked_us` of `lent-2` in `recovery_delegation` is nothing, and the entries say `": (
        "drift",
        _sql("UPDATE recovery_delegation SET revoked_us = NULL"),
    ),
    "`ver` of `site:S009` in `recovery_subject_lock` is 1, and the entries say 0": (
        "drift",
        _sql("INSERT INTO recovery_subject_lock VALUES ('site:S009', 1)"),
    ),
    "`ver` of `site:S002` in `recovery_subject_lock` is 0, and the entries say 2": (
        "drift",
        _sql("DELETE FROM recovery_subject_lock WHERE subject = 'site:S002'"),
    ),
}
"""What is said, its kind, and what was done."""


@pytest.mark.parametrize("said", SAID)
def test_it_is_said(said: str, forger: Forger) -> None:
    kind, change = SAID[said]
    change(forger)
    report = forger.verify()
    assert said in "\n".join(str(finding) for finding in report.findings if finding.kind == kind)
    assert report.has("tampered") == (kind == "tampered")
