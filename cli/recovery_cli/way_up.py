"""The way up, as the demonstration shows it: what one person may not settle, answered, moved up, declined, promised."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from recovery_cli.render import in_words
from recovery_engine import Recorded, RecoveryEngine, read_request

POLICY = "hotel"
FIRST_US = 1_795_255_200_000_000  # a Saturday morning in November 2026
MINUTE_US, DAY_US = 60_000_000, 86_400_000_000

COMMON = {"role": "front_desk", "severity": "major", "bill": "640.00", "note": "Moved at midnight, no free room"}
ASKED = {
    "wedding": {"remedy": "discount", "amount": "120.00", "category": "noise", "employee": "emp-1"},
    "breakfast": {"remedy": "comp_item", "amount": "28.00", "category": "room", "employee": "emp-1"},
    "flood": {"remedy": "discount", "amount": "250.00", "category": "room", "evidence": "incident_report"},
    "bar": {"remedy": "refund", "amount": "100.00", "category": "service", "severity": "minor"},
}


class Scene(NamedTuple):
    """What happened, what was made of it, and what the customer was told."""

    what: str
    came: str
    told: str = ""


def scenes() -> Iterator[Scene]:
    """One answered, one declined with an alternative, one moved up by silence; a promise kept and one overdue."""
    now = [FIRST_US]
    with TemporaryDirectory(prefix="recovery-demo-") as folder:
        database = Path(folder) / "way-up.db"
        with RecoveryEngine.open(database, POLICY, clock=lambda: now[0], environment={}) as engine:
            for name, fields in ASKED.items():
                ids = {"id": name, "employee": "emp-2", "case": f"C-{name}"}
                engine.request(read_request(engine.policy(), {**COMMON, **ids, **fields})[0])
            yield from _answers(engine, now)


def _answers(engine: RecoveryEngine, now: list[int]) -> Iterator[Scene]:
    now[0] += 4 * MINUTE_US
    approved = engine.approve("wedding", by="emp-20", role="shift_supervisor")
    yield _scene("wedding party, €120.00 discount", "approved by the shift supervisor after 4 minutes", approved)
    declined = engine.decline("bar", "the bill was right", by="emp-20", role="shift_supervisor")
    other = declined.alternatives[0]
    instead = f"declined; instead up to {other.up_to} {in_words(other.remedy)} at once"
    yield _scene("a long wait at the bar, €100.00 refund", instead, declined)
    now[0] += 8 * MINUTE_US
    (moved,) = engine.tick().steps
    up = f"nobody answered in 10 minutes: now with the {in_words(moved.state.to_role or '')}"
    yield _scene("water in the room, €250.00 discount", up, moved)
    engine.fulfil("breakfast", "room-214")
    now[0] += DAY_US
    engine.tick()
    (kept,) = engine.promises("kept")
    yield Scene("breakfast on the house, €28.00", f"a promise {kept.standing}: handed over in time")
    (overdue,) = engine.promises("overdue")
    yield Scene("wedding party, €120.00 discount", f"a promise {overdue.standing}: nobody has handed it over in a day")


def _scene(what: str, came: str, recorded: Recorded) -> Scene:
    return Scene(what, came, recorded.tell_customer)
