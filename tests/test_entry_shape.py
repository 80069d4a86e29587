"""The shape of an entry's bytes never says more than the fields do, and says it of the entries there are most of."""

import copy
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
from engines import entries
from making_logs import make

from recovery_engine.log.entry import Entry, decode, encode, problems
from recovery_engine.log.verification.shape import surely_well_made

pytestmark = pytest.mark.slow

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))
VALUES = [
    *(None, True, False, 0, 1, 2, -1, 86_399, 86_400, -86_400, 79_999, 10**15 - 1, 10**15, 2**53 - 1, 2**53, -(2**53)),
    *(
        "",
        "~",
        "~x",
        "x",
        "x" * 64,
        "x" * 65,
        "a b",
        'a"b',
        "a\\b",
        "Größe",
        "\u0007",
        "organisation",
        "site:",
        "site:~",
    ),
    *("USD", "usd", "2026-11-28", "2026-11-2८", "0" * 64, "A" * 64, "c_" + "0" * 20, "owed", "both", "approve", "host"),
    *([], [[]], [""], ["b", "a"], ["a", "a"], [["b", 1], ["a", 1]], [["a", 1], ["a", 2]], [["a", 1], ["a", 1]]),
    *([["a"]], [["a", "b", 1]], [["a", "b", -1, 2]], [["a", "owed", 1, 1]], [["x", "c", "b"]], [["x", "b", "c"]]),
    *({}, {"a": 1}, {"ä": 1}, {"a": [1]}, {"note": "0" * 64}, {"case": [], "budgets": []}),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    folder = tmp_path_factory.mktemp("shape")
    return entries(make(f"sqlite:///{folder / 'log.db'}", folder))


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every object and list inside, with each key and index in it."""
    inside = value.items() if type(value) is dict else enumerate(value) if type(value) is list else ()
    for key, item in list(inside):
        yield value, key
        yield from places(item)


def changed(entry: Entry, chance: random.Random) -> Entry:
    """One thing in it replaced, left out, put twice, moved, or another beside it."""
    entry = copy.deepcopy(entry)
    holder, key = chance.choice(list(places(entry)))
    match chance.randrange(5):
        case 0:
            del holder[key]
        case 1 if type(holder) is list:
            holder.append(chance.choice([*VALUES, holder[key]]))
        case 1:
            holder[chance.choice([key + "x", "for", "personal", "waived", "note", "due_us"])] = chance.choice(VALUES)
        case 2 if type(holder[key]) is list:
            holder[key].reverse()
        case _:
            holder[key] = chance.choice(VALUES)
    return entry


def test_no_entry_with_something_wrong_has_the_shape_of_a_good_one(written: list[Entry]) -> None:
    chance = random.Random(11)
    good, bad = 0, 0
    for _ in range(20_000 * SCALE):
        entry = changed(chance.choice(written), chance)
        body = encode(entry)
        wrong = list(problems(decode(body)))
        if surely_well_made(entry, body):
            assert wrong == [], (wrong, body)
            good += 1
        bad += bool(wrong)
    assert good > 500
    assert bad > 5_000


def test_what_the_engine_writes_again_and_again_is_told_by_its_shape(written: list[Entry]) -> None:
    told = {entry["kind"] for entry in written if surely_well_made(entry, encode(entry))}
    others = {entry["kind"] for entry in written if not surely_well_made(entry, encode(entry))}
    assert {"decided", "fulfilled", "voided"} <= told - others


@pytest.mark.parametrize("own_limit", [5, {}, {"at_most": -1}, {"at_most": 1, "up_to": 1}, {"more": 1}, {"up_to": 1}])
def test_an_own_limit_has_the_shape_that_it_must_have(written: list[Entry], own_limit: Any) -> None:
    entry = copy.deepcopy(next(entry for entry in written if entry["kind"] == "decided"))
    entry["request"]["own_limit"] = own_limit
    assert surely_well_made(entry, encode(entry)) == (list(problems(entry)) == [])


@pytest.mark.parametrize("kind", [None, 7, [], {}, "", "unheard"])
def test_an_unknown_kind_has_no_shape(kind: Any) -> None:
    assert not surely_well_made({"kind": kind}, encode({"kind": kind}))
