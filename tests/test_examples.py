"""The example runs, and does what it shows: also when it crashes between an entry and its cursor."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from recovery_engine import Money, RecoveryEngine

FILE = Path(__file__).resolve().parent.parent / "examples/ticketing/ticketing.py"
MINUTE_US = 60_000_000


@pytest.fixture(scope="module")
def ticketing() -> ModuleType:
    """The module of the example."""
    spec = importlib.util.spec_from_file_location("ticketing", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ticketing"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def now() -> list[int]:
    return [1_795_255_200_000_000]


@pytest.fixture
def engine(tmp_path: Path, now: list[int]) -> Iterator[RecoveryEngine]:
    with RecoveryEngine.open(tmp_path / "recovery.db", "hotel", clock=lambda: now[0], environment={}) as engine:
        yield engine


def desk_with_a_complaint(ticketing: ModuleType, engine: RecoveryEngine, folder: Path):  # type: ignore[no-untyped-def]
    desk = ticketing.Desk(folder / "tickets.db", engine)
    desk.open_ticket("T-1", "guest-214", "A wedding party below the window until four")
    bill = {"bill": Money.of("410", "EUR"), "category": "noise", "severity": "major"}
    desk.offer("T-1", "emp-1", "front_desk", "discount", Money.of("120", "EUR"), **bill)
    return desk


def test_it_runs_as_its_readme_says(tmp_path: Path) -> None:
    said = subprocess.run([sys.executable, str(FILE)], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "guest is told: My shift supervisor will look after you personally, within 10 minutes" in said
    assert "supervisor sees: €120.00 for T-1 - A wedding party below the window until four" in said
    assert said.index("desk sees: promised") < said.index("desk sees: settled")


def test_the_queue_the_approval_and_the_notification(
    ticketing: ModuleType, engine: RecoveryEngine, tmp_path: Path
) -> None:
    desk = desk_with_a_complaint(ticketing, engine, tmp_path)
    assert desk.ticket("T-1")[3:] == ("waiting", "shift_supervisor")
    (waiting,) = desk.queue("shift_supervisor")
    assert desk.queue("duty_manager") == ()
    engine.ask(waiting.state.recovery, "Which room?", by="emp-20", role="shift_supervisor")
    desk.listen()
    assert desk.ticket("T-1").status == "question to the desk"
    engine.answer(waiting.state.recovery, "214")
    engine.approve(waiting.state.recovery, by="emp-20", role="shift_supervisor", asked=waiting.asked)
    desk.listen()
    assert desk.ticket("T-1")[3:] == ("promised", "the desk")
    assert desk.queue("shift_supervisor") == ()


def test_silence_is_seen_at_the_desk(
    ticketing: ModuleType, engine: RecoveryEngine, tmp_path: Path, now: list[int]
) -> None:
    desk = desk_with_a_complaint(ticketing, engine, tmp_path)
    now[0] += 11 * MINUTE_US
    engine.tick()
    desk.listen()
    assert desk.ticket("T-1")[3:] == ("waiting", "duty_manager")
    assert desk.messages("T-1")[-1] == "moved_up by the clock"


def test_after_a_crash_the_entry_comes_again_and_changes_nothing_twice(
    ticketing: ModuleType, engine: RecoveryEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = desk_with_a_complaint(ticketing, engine, tmp_path)
    engine.decline("T-1-0", "no room was free", by="emp-20", role="shift_supervisor")
    take = ticketing.Desk._take

    def crash(self: object, entry: object) -> None:
        take(self, entry)
        if b'"declined"' in entry.body:  # type: ignore[attr-defined]
            raise SystemError("the plug is pulled")

    monkeypatch.setattr(ticketing.Desk, "_take", crash)
    with pytest.raises(SystemError):
        desk.listen()
    assert desk.ticket("T-1").status == "waiting"
    desk.close()
    monkeypatch.undo()
    again = ticketing.Desk(tmp_path / "tickets.db", engine)
    assert again.listen() >= 1
    assert again.listen() == 0
    assert again.ticket("T-1").status == "declined"
    assert again.messages("T-1").count("declined by emp-20") == 1
