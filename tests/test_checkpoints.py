"""Checkpoints, anchors and proofs: what somebody outside can hold against a log, and what is never signed."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from databases import new_role, postgres_admin
from small_logs import writing_engine

from recovery_engine import LogError, Money, RecoveryEngine, RecoveryRequest, TamperedLog
from recovery_engine.log.entry import decode
from recovery_engine.log.opening import sqlite_module
from recovery_engine.log.proof import checkpoints
from recovery_engine.log.proof.anchors import (
    Anchor,
    Lost,
    Reopen,
    ahead,
    lost_from,
    read_anchor,
    read_vkeys,
    reading,
    require_anchored,
)
from recovery_engine.log.proof.checkpoints import checkpoint, keygen
from recovery_engine.log.proof.notes import NoteError, split_notes
from recovery_engine.log.proof.proofs import check_proof, proof

pytestmark = pytest.mark.slow

POLICY = """
policy: shop
currency: USD
timezone: America/Chicago
ladder: [clerk, manager]
sites: {town: [S001, S002]}
authority:
  - {id: standard, up_to: {total: [100, 500]}}
"""
NAME = "shop.example/recovery"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(POLICY)
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return keygen(NAME, tmp_path / "log.key").private_file


@pytest.fixture
def vkeys(key: Path) -> list[str]:
    return read_vkeys(f"{key}.vkey")


@pytest.fixture
def log(log_url: str, policy: Path) -> str:
    """A log in each database in turn, with three recoveries at one site and one at another."""
    return made(log_url, policy, "r-0", "r-1", "r-2", "other")


@pytest.fixture
def file(tmp_path: Path, policy: Path) -> str:
    """The same in an SQLite file, where backups are copies."""
    return made(str(tmp_path / "shop.db"), policy, "r-0", "r-1", "r-2", "other")


def made(database: str, policy: Path, *recoveries: str) -> str:
    with RecoveryEngine.open(database, policy, origin=NAME, environment={}) as engine:
        for recovery in recoveries:
            ask(engine, recovery, "S002" if recovery == "other" else "S001")
    return database


def ask(engine: RecoveryEngine, recovery: str, site: str = "S001") -> None:
    amount = Money.of("10", "USD")
    engine.request(RecoveryRequest("clerk", "refund", amount, recovery, "emp-1", site, f"C-{recovery}"))


def ask_more(database: str | Path, *recoveries: str) -> None:
    with RecoveryEngine.open(database, environment={}) as engine:
        for recovery in recoveries:
            ask(engine, recovery)


def reopened(database: str | Path, lost: list[Lost], by: str = "owner-1") -> list[dict]:
    """What the entries say that answer for what was lost."""
    with RecoveryEngine.open(database, environment={}) as engine:
        receipts = [engine._store.run(Reopen(one, by)).receipt for one in lost]
    return [receipt._asdict() for receipt in receipts]


def copied(file: str | Path, to: str | Path) -> None:
    """A backup as SQLite makes one, or its restoring."""
    for ending in ("-wal", "-shm", "-journal"):
        Path(f"{to}{ending}").unlink(missing_ok=True)
    module = sqlite_module()
    with closing(module.connect(str(file))) as source, closing(module.connect(str(to))) as target:
        source.backup(target)


def spoil(database: str | Path, statement: str) -> None:
    """Change a log behind its back, guard-rails or not."""
    engine = writing_engine(str(database) if "://" in str(database) else f"sqlite:///{database}")
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").scalars().all()
            for name in names:
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            for table in ("recovery_log", "recovery_checkpoint"):
                connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        connection.exec_driver_sql(statement)
    engine.dispose()


# --- keys ---


def test_the_private_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys = keygen(NAME, tmp_path / "k")
    finally:
        os.umask(before)
    assert stat.S_IMODE(keys.private_file.stat().st_mode) == 0o600
    assert keys.public_file.name == "k.vkey"
    assert read_vkeys(keys.public_file) == [keys.vkey]
    assert keys.vkey.startswith(f"{NAME}+")
    assert "PRIVATE" not in keys.public_file.read_text()


@pytest.mark.parametrize("there", ["k", "k.vkey"])
def test_no_key_is_ever_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    with pytest.raises(LogError, match="already there"):
        keygen(NAME, tmp_path / "k")
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "precious"


def test_a_name_that_no_key_can_have_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(NoteError, match="not a key name"):
        keygen("my shop", tmp_path / "k")
    assert list(tmp_path.iterdir()) == []


# --- checkpoints ---


def test_the_first_checkpoint_has_a_note_for_every_stream(
    log: str, key: Path, vkeys: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "one.notes"
    signed = checkpoint(log, key, out)
    assert [(one.stream, one.size) for one in signed] == [("organisation", 2), ("site:S001", 4), ("site:S002", 2)]
    anchors = read_anchor(out, vkeys)
    assert [anchor.origin for anchor in anchors] == [f"{NAME}/{one.stream}" for one in signed]
    assert [anchor.root.hex() for anchor in anchors] == [one.root for one in signed]
    with reading(log) as connection:
        kept = connection.exec_driver_sql("SELECT stream, size, note FROM recovery_checkpoint ORDER BY stream").all()
    assert [tuple(row) for row in kept] == [(one.stream, one.size, one.note) for one in signed]


def test_after_that_only_the_streams_that_grew_are_signed(
    file: str, key: Path, vkeys: list[str], tmp_path: Path
) -> None:
    checkpoint(file, key)
    assert checkpoint(file, key, tmp_path / "none.notes") == ()
    assert not (tmp_path / "none.notes").exists()
    ask_more(file, "later")
    [signed] = checkpoint(file, key, tmp_path / "two.notes")
    assert (signed.stream, signed.size, signed.new) == ("site:S001", 5, True)
    assert len(read_anchor(tmp_path / "two.notes", vkeys)) == 1


def test_all_streams_may_stand_in_one_file_that_is_written_again_and_again(
    file: str, key: Path, tmp_path: Path
) -> None:
    out = tmp_path / "all.notes"
    assert [one.new for one in checkpoint(file, key, out, every=True)] == [True, True, True]
    ask_more(file, "later")
    assert [one.new for one in checkpoint(file, key, out, every=True)] == [False, True, False]
    assert len(split_notes(out.read_text())) == 3


def test_a_file_with_some_streams_is_not_overwritten_by_one_with_others(file: str, key: Path, tmp_path: Path) -> None:
    out = tmp_path / "one.notes"
    checkpoint(file, key, out)
    ask_more(file, "later")
    with pytest.raises(LogError, match="already there"):
        checkpoint(file, key, out)
    assert len(checkpoint(file, key, tmp_path / "two.notes")) == 1  # what was refused was not signed either


@pytest.mark.parametrize("ending", ["", ".notes"])
def test_neither_the_key_nor_its_notes_are_overwritten(file: str, key: Path, ending: str) -> None:
    checkpoint(file, key)
    ours = Path(f"{key}{ending}")
    before = ours.read_bytes()
    with pytest.raises(LogError, match="belongs to the key"):
        checkpoint(file, key, ours, every=True)
    assert ours.read_bytes() == before


def test_who_may_only_read_signs_without_keeping_the_notes_in_the_log(
    postgres_url: str, policy: Path, key: Path
) -> None:
    with RecoveryEngine.open(postgres_url, policy, environment={}) as engine:
        ask(engine, "r-1")
    auditor = new_role(postgres_url, "auditor")
    with postgres_admin(postgres_url) as admin:
        admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {auditor}")
    as_auditor = postgres_url.replace("postgres@", f"{auditor}@")
    assert len(checkpoint(as_auditor, key, keep=False)) == 2
    with reading(postgres_url) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM recovery_checkpoint").scalar() == 0
    assert checkpoint(postgres_url, key) == ()
    with reading(postgres_url) as connection:  # the next run that may write puts them there
        assert connection.exec_driver_sql("SELECT count(*) FROM recovery_checkpoint").scalar() == 2


def test_two_keys_may_sign_for_one_log(log: str, key: Path, tmp_path: Path) -> None:
    other = keygen("auditor.example", tmp_path / "other.key").private_file
    first, second = checkpoint(log, key), checkpoint(log, other)
    assert [one.root for one in first] == [one.root for one in second]
    assert [one.note for one in first] != [one.note for one in second]


def test_two_runs_at_once_sign_each_state_once(log: str, key: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: checkpoint(log, key), range(4)))
    assert sorted(len(signed) for signed in runs) == [0, 0, 0, 3]


def test_a_note_that_another_key_has_put_there_meanwhile_stays(file: str, key: Path, tmp_path: Path) -> None:
    first = checkpoint(file, key)
    with reading(file) as connection:
        rows = [tuple(row) for row in connection.exec_driver_sql("SELECT * FROM recovery_checkpoint").all()]
    checkpoints._keep(file, [(*row[:3], "another note") for row in rows])
    with reading(file) as connection:
        notes = connection.exec_driver_sql("SELECT note FROM recovery_checkpoint ORDER BY stream").scalars().all()
    assert notes == [one.note for one in first]


def test_progress_counts_every_entry(file: str, key: Path) -> None:
    seen: list[tuple[int, int]] = []
    checkpoint(file, key, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (8, 8)


# --- what is never signed ---


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE recovery_log SET leaf = root WHERE stream = 'site:S001' AND seq = 1",
        "DELETE FROM recovery_log WHERE stream = 'site:S001' AND seq = 3",
        "DELETE FROM recovery_log WHERE stream = 'site:S001' AND seq = 1",
        "UPDATE recovery_stream SET size = 3 WHERE stream = 'site:S001'",
        "UPDATE recovery_stream SET frontier = last_leaf WHERE stream = 'site:S001'",
        "DELETE FROM recovery_stream WHERE stream = 'site:S001'",
        "UPDATE recovery_checkpoint SET root = (SELECT leaf FROM recovery_log WHERE request_id = 'r-1')",
    ],
)
def test_a_log_that_contradicts_its_last_checkpoint_is_not_signed(file: str, key: Path, change: str) -> None:
    checkpoint(file, key)
    before = Path(f"{key}.notes").read_bytes()
    spoil(file, change)
    with pytest.raises(TamperedLog, match="stream `"):
        checkpoint(file, key)
    assert Path(f"{key}.notes").read_bytes() == before


def test_what_was_signed_elsewhere_is_not_contradicted_where_the_notes_file_is_lost(file: str, key: Path) -> None:
    checkpoint(file, key)
    Path(f"{key}.notes").unlink()
    spoil(file, "DELETE FROM recovery_log WHERE stream = 'site:S001' AND seq = 3")
    spoil(file, "DELETE FROM recovery_stream WHERE stream = 'site:S001'")
    with pytest.raises(TamperedLog):
        checkpoint(file, key)


def test_notes_that_the_key_did_not_sign_are_no_last_checkpoint(file: str, key: Path) -> None:
    checkpoint(file, key)
    notes = Path(f"{key}.notes")
    notes.write_text(notes.read_text().replace("\n4\n", "\n3\n"))
    with pytest.raises(NoteError, match=r"log\.key\.notes: the note is not what"):
        checkpoint(file, key)


# --- what an anchor shows ---


def test_a_log_that_only_grew_has_lost_nothing(file: str, key: Path, vkeys: list[str], tmp_path: Path) -> None:
    checkpoint(file, key, tmp_path / "a.notes")
    ask_more(file, "later")
    anchors = read_anchor(tmp_path / "a.notes", vkeys)
    assert lost_from(file, anchors) == []
    require_anchored(file, anchors)


def test_an_anchor_by_another_key_is_none(file: str, key: Path, tmp_path: Path) -> None:
    checkpoint(file, key, tmp_path / "a.notes")
    other = keygen(NAME, tmp_path / "other").vkey
    with pytest.raises(NoteError, match=r"a\.notes: none of the known keys signed"):
        read_anchor(tmp_path / "a.notes", [other])


def test_an_anchor_of_another_log_is_refused(file: str) -> None:
    for origin in ("elsewhere.example/site:S001", NAME, f"{NAME}/more/site:S001"):
        with pytest.raises(LogError, match="this log is"):
            lost_from(file, [Anchor(origin, 1, bytes(32))])


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff", b"a\n\nb\n"])
def test_a_file_that_holds_no_notes_is_named(tmp_path: Path, vkeys: list[str], content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises((LogError, NoteError), match=r"/x: "):
        read_anchor(tmp_path / "x", vkeys)


def test_after_a_restore_the_anchor_is_ahead_until_somebody_answers_for_it(
    file: str, key: Path, vkeys: list[str], tmp_path: Path
) -> None:
    copied(file, tmp_path / "backup.db")
    ask_more(file, "lost-1", "lost-2")
    checkpoint(file, key, tmp_path / "a.notes")
    copied(tmp_path / "backup.db", file)
    anchors = read_anchor(tmp_path / "a.notes", vkeys)
    [lost] = lost_from(file, anchors)
    assert (lost.stream, lost.size, lost.has) == ("site:S001", 6, 4)
    with pytest.raises(TamperedLog, match="had 6 entries when it was signed, and has 4 now"):
        require_anchored(file, anchors)
    with pytest.raises(TamperedLog, match="recovery log reopen"):
        checkpoint(file, key)

    [receipt] = reopened(file, [lost])

    assert (receipt["stream"], receipt["seq"]) == ("site:S001", 4)
    with reading(file) as connection:
        body = connection.exec_driver_sql("SELECT body FROM recovery_log WHERE kind = 'reopened'").scalar()
        assert ahead(connection, anchors) == []
    entry = decode(bytes(body))
    assert (entry["size"], entry["root"], entry["by"]) == (6, lost.root.hex(), "owner-1")
    assert [one.size for one in checkpoint(file, key)] == [5]
    ask_more(file, *[f"after-{number}" for number in range(4)])  # past the size that was lost
    assert [one.size for one in checkpoint(file, key)] == [9]
    require_anchored(file, anchors)


def test_answering_for_the_same_loss_again_writes_nothing(file: str, key: Path, vkeys: list[str]) -> None:
    lost = Lost("site:S001", 9, bytes(32), 4)
    assert reopened(file, [lost, lost])[0] == reopened(file, [lost])[0]


def test_a_restored_log_that_went_on_has_parted_from_the_anchor(
    file: str, key: Path, vkeys: list[str], tmp_path: Path
) -> None:
    copied(file, tmp_path / "backup.db")
    ask_more(file, "lost")
    checkpoint(file, key, tmp_path / "a.notes")
    copied(tmp_path / "backup.db", file)
    ask_more(file, "another", "and-another")
    anchors = read_anchor(tmp_path / "a.notes", vkeys)
    [lost] = lost_from(file, anchors)
    assert (lost.size, lost.has) == (5, 6)
    assert "the first 5 entries of stream `site:S001` are not those that were signed" in str(lost)
    reopened(file, [lost])
    assert lost_from(file, anchors) == []
    assert [one.size for one in checkpoint(file, key)] == [7]


def test_a_stream_that_is_gone_altogether_is_lost_and_can_be_reopened(
    policy: Path, key: Path, vkeys: list[str], tmp_path: Path
) -> None:
    file = made(str(tmp_path / "shop.db"), policy, "r-0")
    copied(file, tmp_path / "backup.db")
    with RecoveryEngine.open(file, environment={}) as engine:
        ask(engine, "other", "S002")
    checkpoint(file, key, tmp_path / "a.notes")
    copied(tmp_path / "backup.db", file)
    with pytest.raises(TamperedLog, match="S002"):
        checkpoint(file, key)
    lost = lost_from(file, read_anchor(tmp_path / "a.notes", vkeys))
    assert [(one.stream, one.has) for one in lost] == [("site:S002", 0)]
    assert [receipt["seq"] for receipt in reopened(file, lost)] == [1]
    assert [one.stream for one in checkpoint(file, key)] == ["site:S002"]


# --- proofs ---


def test_a_proof_shows_an_entry_to_somebody_without_the_log(log: str, key: Path, vkeys: list[str]) -> None:
    checkpoint(log, key)
    ask_more(log, "later")
    found = check_proof(proof(log, "r-1"), vkeys)
    assert (found.origin, found.stream, found.seq, found.size) == (f"{NAME}/site:S001", "site:S001", 2, 4)
    assert found.entry["request"]["case"] == "C-r-1"


def test_a_proof_may_lead_to_a_checkpoint_that_somebody_else_keeps(
    file: str, key: Path, vkeys: list[str], tmp_path: Path
) -> None:
    checkpoint(file, key, tmp_path / "old.notes")
    ask_more(file, "later")
    checkpoint(file, key)
    assert check_proof(proof(file, "r-1"), vkeys).size == 5
    assert check_proof(proof(file, "r-1", tmp_path / "old.notes"), vkeys).size == 4


def test_an_entry_that_no_checkpoint_covers_has_no_proof_yet(file: str, key: Path) -> None:
    with pytest.raises(LogError, match="no checkpoint covers `r-1` yet"):
        proof(file, "r-1")
    checkpoint(file, key)
    ask_more(file, "later")
    with pytest.raises(LogError, match="recovery log checkpoint"):
        proof(file, "later")
    with pytest.raises(LogError, match="no entry `gone`"):
        proof(file, "gone")


def test_there_is_no_proof_of_an_entry_that_was_changed(file: str, key: Path) -> None:
    checkpoint(file, key)
    spoil(file, "UPDATE recovery_log SET body = (SELECT body FROM recovery_log WHERE request_id = 'r-2') "
               "WHERE request_id = 'r-1'")  # fmt: skip
    with pytest.raises(TamperedLog):
        proof(file, "r-1")


def test_a_proof_whose_checkpoint_was_exchanged_is_none(file: str, key: Path) -> None:
    checkpoint(file, key)
    spoil(file, "UPDATE recovery_checkpoint SET root = (SELECT leaf FROM recovery_log WHERE request_id = 'r-1')")
    with pytest.raises(TamperedLog, match="agrees with its entries"):
        proof(file, "r-1")


def test_every_part_of_a_proof_counts(file: str, key: Path, vkeys: list[str]) -> None:
    checkpoint(file, key)
    text = proof(file, "r-1")
    check_proof(text, vkeys)
    for at in range(len(text)):
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        with pytest.raises(NoteError):
            check_proof(changed, vkeys)


def test_the_entry_may_be_given_beside_the_proof(file: str, key: Path, vkeys: list[str]) -> None:
    checkpoint(file, key)
    text = proof(file, "r-1")
    body = lines_of(file, "r-1")
    bare = "\n".join(line for line in text.split("\n") if not line.startswith("extra "))
    assert check_proof(bare, vkeys, body).seq == 2
    assert check_proof(bare, vkeys, body + b"\n").seq == 2  # a line of an export
    with pytest.raises(NoteError, match="does not hold the entry"):
        check_proof(bare, vkeys)
    with pytest.raises(NoteError):
        check_proof(text, vkeys, lines_of(file, "r-2"))


def test_a_proof_of_another_log_does_not_do(file: str, key: Path, vkeys: list[str]) -> None:
    checkpoint(file, key)
    text = proof(file, "r-1")
    check_proof(text, vkeys, origin=NAME)
    with pytest.raises(NoteError, match=r"not of `other\.example/site:S001`"):
        check_proof(text, vkeys, origin="other.example")


def lines_of(file: str, recovery: str) -> bytes:
    with reading(file) as connection:
        chosen = f"SELECT body FROM recovery_log WHERE request_id = '{recovery}'"
        return bytes(connection.exec_driver_sql(chosen).scalar() or b"")
