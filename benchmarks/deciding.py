"""How fast a decision is: with its cell known, in full, on a new cell, and in other engines."""

import operator
import statistics
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from time import perf_counter_ns

from benchmarks.contestants import (
    BARE,
    DICTIONARY,
    DURABLE_RULES,
    FULL,
    IF_CHAIN,
    POLICY_FILE,
    AnyContestant,
    Asked,
    own_contestants,
    request_of,
)
from benchmarks.peers import NotInstalled, peers
from benchmarks.report import Row
from benchmarks.stream import Case, cases
from benchmarks.timing import NS_PER_US, Run, per_call, quiet, spread
from recovery_engine import Decision, Policy, decide, load_policy, read_request, shipped_policies
from recovery_engine.rules import reference
from recovery_engine.seats import Compiled

OUTCOME = "the outcome only (limit: 3 × dictionary)"
SEATED = "  of that the ruling, the request checked before"
FIRST = "its ruling, both matchers included"

KNOWN = "A decision whose cell is known"
NEW = "The first decision of a cell"
PEERS = "The same answers from other engines"

everything = operator.attrgetter("because", "flip", "alternatives", "tell_customer")
"""Reads what a decision works out only when somebody looks."""


def contestants() -> list[AnyContestant | NotInstalled]:
    """Everyone who is timed."""
    return [*own_contestants(), *peers()]


def present(everyone: list[AnyContestant | NotInstalled]) -> list[AnyContestant]:
    """Those who are installed."""
    return [one for one in everyone if not isinstance(one, NotInstalled)]


def answers(contestant: AnyContestant, stream: tuple[Case, ...]) -> list[str]:
    """What a contestant says to each request."""
    return [contestant.answer(contestant.decide(contestant.prepare(case))) for case in stream]


def disagreements(all_of_them: list[AnyContestant], stream: tuple[Case, ...]) -> Iterator[str]:
    """Every contestant that does not say what the first one says, with its first such request."""
    first, *others = all_of_them
    wanted = answers(first, stream)
    for other in others:
        for case, want, got in zip(stream, wanted, answers(other, stream), strict=True):
            if want != got:
                yield f"{other.name} says {got} and {first.name} says {want} to {case}"
                break


def rows(everyone: list[AnyContestant | NotInstalled], requests: int, passes: int) -> Iterator[Row]:
    """Every row about deciding. Nothing is timed before all contestants agree."""
    stream = cases(requests)
    timed = present(everyone)
    if differing := list(disagreements(timed, stream)):
        raise SystemExit("\n".join(["the contestants do not decide alike, so nothing is timed", *differing]))
    policy, asked = load_policy(POLICY_FILE), [request_of(case) for case in stream]
    ready = Compiled(policy)
    seated = [(ready.seat(*one), *one) for one in asked]
    runs: dict[str, Run] = {one.name: (one.decide, [one.prepare(case) for case in stream]) for one in timed}
    times = per_call({**runs, SEATED: (lambda one: one[0].ruling(one[1], one[2]), seated)}, passes)
    floor, whole = times[DICTIONARY], times[FULL]

    def beside(section: str, what: str, us: float) -> Row:
        return Row(section, what, us, x_dictionary=us / floor, x_decide=us / whole)

    def ask(one: Asked) -> Decision:
        return decide(policy, *one)

    each = spread(ask, asked, passes)
    read = per_call({"": (lambda one: everything(ask(one)), asked)}, max(1, passes // 2))[""]
    slowest, slowest_us = max(_on_shipped_policies(passes).items(), key=lambda item: item[1])
    yield beside(KNOWN, "dictionary look-up (the floor)", floor)
    yield beside(KNOWN, IF_CHAIN, times[IF_CHAIN])
    yield replace(beside(KNOWN, OUTCOME, times[BARE]), limit_us=3 * floor)
    yield beside(KNOWN, SEATED, times[SEATED])
    yield replace(beside(KNOWN, "decide(), median of single calls", each.median), limit_us=15)
    yield replace(beside(KNOWN, "decide(), 99 in 100 take less", each.p99), limit_us=50)
    yield beside(KNOWN, "decide(), then reading all it carries", read)
    of_all = "the slowest of the starter policies, each on its own tests"
    yield replace(beside(KNOWN, f"decide() on {slowest}", slowest_us), remark=of_all)
    yield from _first_of_a_cell(policy, asked, passes, times[DURABLE_RULES])
    for one in everyone:
        if isinstance(one, NotInstalled):
            yield Row(PEERS, one.name, None, remark="not installed")
        elif one.name not in (DICTIONARY, IF_CHAIN, BARE, FULL):
            remark = f"says why: {one.explains or 'no'}; told by the host: {one.host}"
            yield replace(beside(PEERS, one.name, times[one.name]), remark=remark)


def _on_shipped_policies(passes: int) -> dict[str, float]:
    """Microseconds for ``decide()`` on the tests that each starter policy carries."""
    runs = {}
    for name, path in shipped_policies().items():
        policy = load_policy(path)
        given = [(policy, *read_request(policy, example.given)) for example in policy.tests]
        if given:
            runs[name] = (lambda one: decide(*one), given * 20)
    return per_call(runs, passes)


# --- the first decision of a cell -------------------------------------------------------------------------------------


def _first_of_a_cell(policy: Policy, asked: list[Asked], passes: int, durable_alone: float) -> Iterator[Row]:
    """Rulings on fresh seats, so that each is the first of its cell; and their parts, each on fresh seats as well."""
    ready, of_a_seat = Compiled(policy), dict[int, Asked]()
    for request, usage in asked:
        of_a_seat.setdefault(id(ready.seat(request, usage)), (request, usage))
    taken = defaultdict[str, list[float]](list)
    with quiet():
        for counts in (False, *[True] * passes):
            for run in (_rulings, _parts):
                for name, us in run(Compiled(policy), list(of_a_seat.values())).items():
                    if counts:
                        taken[name].append(us)
    median = {name: statistics.median(times) for name, times in taken.items()}
    parts = ("the reference matcher", "durable-rules")
    cells = f"each the first of {len(of_a_seat)} cells"
    yield Row(NEW, FIRST, median["ruling"], limit_us=60, remark=cells)
    for name in parts:
        yield Row(NEW, f"  of that {name}", median[name])
    rest = median["ruling"] - sum(median[name] for name in parts)
    yield Row(NEW, "  of that reading, the fold, the room", max(0.0, rest))
    yield Row(NEW, "and where the words are new as well, their seat", median["seat"])
    yield Row(NEW, "durable-rules' C module alone, these limits", durable_alone)


def _rulings(ready: Compiled, asked: list[Asked]) -> dict[str, float]:
    """Median microseconds for a new seat, and for the first ruling on it."""
    seat_ns, ruling_ns, seats = [], [], []
    for request, usage in asked:
        start = perf_counter_ns()
        seats.append(ready.seat(request, usage))
        seat_ns.append(perf_counter_ns() - start)
    for seat, (request, usage) in zip(seats, asked, strict=True):
        start = perf_counter_ns()
        seat.ruling(request, usage)
        ruling_ns.append(perf_counter_ns() - start)
    return {"seat": statistics.median(seat_ns) / NS_PER_US, "ruling": statistics.median(ruling_ns) / NS_PER_US}


def _parts(ready: Compiled, asked: list[Asked]) -> dict[str, float]:
    """Median microseconds for the two matchers, each on new seats."""
    taken = defaultdict[str, list[int]](list)
    for seat, (request, usage) in [(ready.seat(*one), one) for one in asked]:
        readings = {meter.key: meter.read(request.amount.minor, request, usage) for meter in seat.meters}
        start = perf_counter_ns()
        found = reference.match(ready.rules, seat.words, readings)
        matched = perf_counter_ns()
        agreed = ready.encoding is None or ready.encoding.match(seat.words, readings) == found
        taken["durable-rules"].append(perf_counter_ns() - matched)
        taken["the reference matcher"].append(matched - start)
        assert agreed
    return {name: statistics.median(times) / NS_PER_US for name, times in taken.items()}
