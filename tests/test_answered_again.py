"""Each command of the way up given twice, lost on its way, and on both databases: one entry, the same bytes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from answering import EYES, LEAD, MANAGER, MINUTE, OTHER, TIMED, lend
from engines import DAY, START, Clock, ask, assert_whole, dollars, entries, opened, rows

from recovery_engine import IdempotencyConflict, RecoveryEngine
from recovery_engine.log.database import CommitLost
from recovery_engine.log.writing import store
from recovery_engine.workflow import FOLLOWS

pytestmark = pytest.mark.slow


@pytest.fixture
def engine(log_url: str, clock: Clock) -> Iterator[RecoveryEngine]:
    """An engine whose leads have five minutes and managers fifteen; its log is checked when the test is over."""
    with opened(log_url, TIMED, clock=clock) as engine:
        yield engine
    assert_whole(log_url)


# --- the same again ---------------------------------------------------------------------------------------------------


def commands(engine: RecoveryEngine) -> dict[str, tuple[Any, Any]]:
    """Each command as it is given twice under one id, and with other content."""
    for number in range(6):
        engine.request(ask(f"r-{number}", 150))
    engine.ask("r-4", "Is there a photo?", **LEAD)
    lend(engine, "d-0")
    return {
        "approve": (
            lambda: engine.approve("r-0", amount=dollars(120), id="one", **LEAD),
            lambda: engine.approve("r-0", amount=dollars(121), id="one", **LEAD),
        ),
        "decline": (
            lambda: engine.decline("r-1", "not ours", id="one", **LEAD),
            lambda: engine.decline("r-1", "closed", id="one", **LEAD),
        ),
        "ask": (
            lambda: engine.ask("r-2", "A photo?", id="one", **LEAD),
            lambda: engine.ask("r-2", "A photo?", id="one", **OTHER),
        ),
        "answer": (
            lambda: engine.answer("r-4", "Here", evidence=["photo"], id="one"),
            lambda: engine.answer("r-4", "Here", evidence=["receipt"], id="one"),
        ),
        "amend": (
            lambda: engine.amend("r-3", dollars(120), id="one"),
            lambda: engine.amend("r-3", dollars(121), id="one"),
        ),
        "withdraw": (
            lambda: engine.withdraw("r-5", "settled", id="one"),
            lambda: engine.withdraw("r-5", "closed", id="one"),
        ),
        "delegate": (lambda: lend_as(engine, "leo"), lambda: lend_as(engine, "lea")),
        "revoke": (
            lambda: engine.revoke("d-0", by="max", id="one"),
            lambda: engine.revoke("d-0", by="lea", id="one"),
        ),
    }


def lend_as(engine: RecoveryEngine, to: str) -> Any:
    return engine.delegate("one", by="mia", to=to, role="manager", until_us=START + DAY)


COMMANDS = ("approve", "decline", "ask", "answer", "amend", "withdraw", "delegate", "revoke")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_same_command_again_gets_the_stored_answer(
    engine: RecoveryEngine, log_url: str, clock: Clock, command: str
) -> None:
    once, otherwise = commands(engine)[command]
    first = once()
    before = entries(log_url)
    clock.now_us += DAY
    again = once()
    assert (first.replayed, again.replayed) == (False, True)
    assert first.log_receipt == again.log_receipt
    with pytest.raises(IdempotencyConflict, match="`one` was used before, for something else"):
        otherwise()
    with pytest.raises(IdempotencyConflict):
        engine.request(ask("one", 10))
    assert entries(log_url) == before


def test_ids_with_strokes_in_them_are_not_mixed_up(engine: RecoveryEngine) -> None:
    for id in ("a", "a/b"):
        engine.request(ask(id, 150))
    engine.approve("a", by="b/c", role="lead")
    assert not engine.approve("a/b", by="c", role="lead").replayed


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_whose_commit_was_lost_is_found_again(engine: RecoveryEngine, log_url: str, command: str) -> None:
    once, _ = commands(engine)[command]
    database: Any = engine._store._database
    finish, lost = database.finish, []

    def lose(*given: Any) -> None:
        finish(*given)
        if not lost:
            lost.append(True)
            raise CommitLost("the line went dead")

    with patch.object(database, "finish", lose), patch.object(store, "_FIRST_PAUSE_S", 0.0):
        done = once()
    assert done.replayed
    assert len([entry for entry in entries(log_url) if entry["id"] == "one"]) == 1


def test_a_question_without_an_id_whose_commit_was_lost_is_found_again(engine: RecoveryEngine, log_url: str) -> None:
    engine.request(ask("r-1", 150))
    database: Any = engine._store._database
    finish, lost = database.finish, []

    def lose(*given: Any) -> None:
        finish(*given)
        lost.append(True)
        if len(lost) in (1, 3):
            raise CommitLost("the line went dead")

    with patch.object(database, "finish", lose), patch.object(store, "_FIRST_PAUSE_S", 0.0):
        assert engine.ask("r-1", "Is there a photo?", **LEAD).state.questions == 1
        lost[:] = [True, True]
        assert engine.answer("r-1", "Here").state.question_us is None
    assert [len(entries(log_url, kind)) for kind in ("asked", "answered")] == [1, 1]


# --- the same on both databases ---------------------------------------------------------------------------------------


def story(url: str) -> list[Any]:
    """A life in which every step is taken; what was answered."""
    clock, said = Clock(ticks=True), []
    with opened(url, EYES, clock=clock, origin="same.example") as engine:
        for number in range(8):
            said.append(engine.request(ask(f"r-{number}", 40 + 30 * number, customer=f"K-{number}", note="cold")))
        said.append(engine.request(ask("again", 130, case="C-r-3", customer="K-3", note="colder")))
        lend(engine, cap=dollars(400), remedies=["refund"])
        said += [
            engine.approve("r-1", note="fine", **MANAGER),
            engine.ask("r-3", "Größe?", **LEAD),
            engine.answer("r-3", "40", evidence=["photo"]),
            engine.amend("r-3", dollars(120)),
            engine.approve("r-3", delegation="d-1", **LEAD),
            engine.approve("r-3", by="mia", role="manager"),
            engine.decline("r-4", "nein", **LEAD),
            engine.withdraw("r-5"),
            engine.revoke("d-1", by="max"),
            engine.fulfil("r-3", "rf-1"),
            engine.void("r-1", "not ours", by="emp-1"),
        ]
        for minutes in (6, 16, 16):
            clock.now_us += minutes * MINUTE
            said.append(engine.tick())
        said.append(engine.forget("K-3", "asked for it"))
        said += [engine.pending(), engine.promises(*PROMISED), engine.delegations(all_of_them=True)]
    return said


PROMISED = ("open", "overdue", "kept", "late", "broken")


def test_a_story_of_every_step_is_the_same_to_the_last_byte(tmp_path: Path, postgres_url: str) -> None:
    lite = f"sqlite:///{tmp_path / 'recovery.db'}"
    assert list(map(repr, story(lite))) == list(map(repr, story(postgres_url)))
    stored = "SELECT stream, seq, body, leaf, root FROM recovery_log ORDER BY stream, seq"
    ours, theirs = ([tuple(map(repr, map(plain, row))) for row in rows(url, stored)] for url in (lite, postgres_url))
    assert ours == theirs
    assert {entry["kind"] for entry in entries(lite)} >= {*FOLLOWS, "delegated", "revoked", "forgotten"}
    for url in (lite, postgres_url):
        assert_whole(url)


def plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value
