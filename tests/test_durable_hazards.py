"""What durable-rules 2.0.28 does outside its limits, and that our driver never takes it there.

Each test first shows the hazard on the raw library, in a process of its own with a time limit: should a later
durable-rules be cured, the test says so. Then it shows the guard.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from recovery_engine.rules import durable
from recovery_engine.rules.durable import (
    FIELDS,
    MOST_TRUE_AT_ONCE,
    MatcherFault,
    Network,
    Rule,
    RulesetTooLarge,
)

needs_durable = pytest.mark.skipif(not durable.AVAILABLE, reason=durable.WHY_NOT)

C_MODULE = """
import json, durable_rules_engine as d
def made(rules): return d.create_ruleset("raw", json.dumps(rules))
def one(test, **more): return {"all": [{"m": test}], **more}
def fired(handle, fact, ask=d.assert_fact):
    names = []
    _, state = ask(handle, fact if isinstance(fact, str) else json.dumps(fact))
    got = d.start_action_for_state(handle, state)
    got = got and got[1]
    while got:
        names.append(got[2 : got.index('"', 2)])
        got = d.complete_and_start_action(handle, state)
    return names
"""
PYTHON_CLASSES = """
import os, threading
from durable.lang import *
seen = []
"""
# Without os._exit, the endless timer threads of Host would still be running.
END = "\nsys.stdout.flush(); os._exit(0)"


def raw(code: str, seconds: float = 20, **environment: str) -> str:
    """What *code* prints, or its error, or how it ended."""
    try:
        ran = subprocess.run(
            [sys.executable, "-c", "import os, sys\n" + code],
            capture_output=True,
            text=True,
            timeout=seconds,
            env={**os.environ, **environment},
        )
    except subprocess.TimeoutExpired:
        return "hangs"
    if ran.returncode < 0:
        return "crashes"
    return (ran.stdout if ran.returncode == 0 else ran.stderr.splitlines()[-1]).strip()


def c_module(code: str, seconds: float = 20, **environment: str) -> str:
    return raw(C_MODULE + code, seconds, **environment)


def driver(code: str, seconds: float = 20, **environment: str) -> str:
    return raw("from recovery_engine.rules.durable import *\n" + code, seconds, **environment)


def python_classes(code: str) -> str:
    return raw(PYTHON_CLASSES + code + END)


@contextmanager
def network(*rules: Rule) -> Iterator[Network]:
    made = Network(rules)
    yield made
    made.close()


def all_of(*tests: Any) -> Any:
    return ("and", *tests)


BILL = Rule("bill", ("==", "bill", 1))


@needs_durable
@pytest.mark.parametrize("field", ['"bill"', 'f"field{i % 64}"'], ids=["one field", "many fields"])
def test_1_more_than_512_values_hang(field: str) -> None:
    code = f'made({{f"r{{i}}": one({{{field}: i}}) for i in range(513)}})'
    assert c_module(code, seconds=1.5) == "hangs"


@needs_durable
@pytest.mark.parametrize("fields", [1, 40], ids=["one field", "many fields"])
def test_1_so_many_values_are_split_over_rulesets(fields: int) -> None:
    code = f"""
fields = FIELDS[:{fields}]
rules = [Rule(f"r{{i}}", ("==", fields[i % len(fields)], i)) for i in range(1000)]
network = Network(rules)
print(network.rulesets, *network.fitting({{fields[900 % len(fields)]: 900}}))
"""
    assert driver(code) == "3 r900"


@needs_durable
def test_1_one_rule_with_so_many_values_is_refused_by_name() -> None:
    code = """
try: Network([Rule("sites", ("or", *(("==", "site", i) for i in range(600))))])
except RulesetTooLarge as too_large: print(too_large)
"""
    assert driver(code) == "`sites` has more than 400 different values compared side by side"


@needs_durable
def test_2_256_rules_sharing_a_test_crash() -> None:
    shared = 'made({{f"r{{i}}": one({{"bill": 1}}) for i in range({})}}); d.assert_fact(1, \'{{"bill": 1}}\')'
    assert c_module(shared.format(256)) == "crashes"
    assert c_module(shared.format(257)).endswith("error code: 108")
    guarded = 'print(len(Network([Rule(f"r{i}", ("==", "bill", 1)) for i in range(300)]).fitting({"bill": 1})))'
    assert driver(guarded) == "300"


@needs_durable
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (303, 'fired(made({f"r{i}": one({"$gte": {"bill": i}}) for i in range(65)}), {"bill": 99})'),
        # Not one of these rules is true: tests count, not rules.
        (
            303,
            'fired(made({f"r{i}": one({"$and": [{"$gte": {"bill": i}}, {"total": 1}]}) for i in range(65)}),'
            ' {"bill": 99, "total": 0})',
        ),
        (302, 'fired(made({"r": one({"bill": 1})}), {"bill": 1, **{f"f{i}": i for i in range(254)}})'),
        (
            304,
            'h = made({"r": {"all": [{f"m{i}": {"bill": i}} for i in range(17)]}})\n'
            'for i in range(17): fired(h, {"id": i + 1, "bill": i})',
        ),
    ],
    ids=["true rules", "true tests", "fields", "joined facts"],
)
def test_3_too_much_at_once_is_an_error(error: int, code: str) -> None:
    assert c_module(code).endswith(f"error code: {error}")


@needs_durable
def test_3_what_may_be_true_at_once_is_split_by_its_tests_not_by_its_group() -> None:
    tests_only = [Rule(f"r{i}", all_of((">=", "bill", i), ("==", "total", 1)), group=i) for i in range(100)]
    with network(*tests_only) as split:
        assert split.fitting({"bill": 99, "total": 0}) == set()
        assert len(split.fitting({"bill": 99, "total": 1})) == 100
    for more, rulesets in ((0, 1), (1, 2)):
        # The mark is one of those that are true.
        rules = [Rule(f"r{i}", (">=", "bill", i)) for i in range(MOST_TRUE_AT_ONCE - 1 + more)]
        with network(*rules) as full:
            assert full.rulesets == rulesets
            assert len(full.fitting({"bill": 99})) == len(rules)


@needs_durable
def test_3_rules_that_exclude_each_other_share_one_ruleset() -> None:
    rules = [
        Rule(f"{remedy}-{i}", all_of((">=", "bill", i), ("==", "remedy", remedy)), remedy)
        for remedy in range(1, 8)
        for i in range(40)
    ]
    with network(*rules) as one:
        assert one.rulesets == 1
        assert one.fitting({"bill": 1, "remedy": 5}) == {"5-0", "5-1"}


@needs_durable
def test_3_choices_are_counted_as_often_as_they_can_be_reached() -> None:
    either = [("or", (">=", f"sum{i:02d}", 0), (">=", f"slack{i:02d}", 0)) for i in range(6)]
    with pytest.raises(RulesetTooLarge, match="true at once"):
        Network([Rule("either", all_of(*either))])


@needs_durable
def test_3_a_message_of_too_many_fields_is_refused() -> None:
    with network(BILL) as bill, pytest.raises(ValueError, match="201 fields"):
        bill.fitting(dict.fromkeys(FIELDS[:201], 1))


@needs_durable
def test_4_names_are_told_apart_by_hash_alone() -> None:
    code = """
h = made({"r": one({"amount_cents": 1})})
print(fired(h, {"qioajukp": 1}))
print(*(d.assert_fact(h, json.dumps({"id": id, "amount_cents": 1}))[0] for id in ("costarring", "liquid")))
"""
    assert c_module(code).splitlines() == ["['r']", "0 2"]  # 2: already observed


@needs_durable
def test_4_only_our_own_fields_are_taken_and_none_is_read_as_another() -> None:
    assert durable._collisions(("costarring", "bill", "liquid")) == [["costarring", "liquid"]]
    assert durable._collisions((*FIELDS, "sid", "id")) == []
    for field in ("sid", "id", "mark", "qioajukp", 'bill":1,"total'):
        with network(BILL) as bill, pytest.raises(ValueError, match="not one of the fields"):
            bill.fitting({"bill": 1, field: 1})
        with pytest.raises(ValueError, match="not one of the fields"):
            Network([Rule("r", ("==", field, 1))])


@needs_durable
@pytest.mark.parametrize(
    ("test", "fact"),
    [
        ('{"$lte": {"bill": 25000}}', '{"bill": "100000"}'),
        ('{"$lte": {"bill": 100}}', '{"bill": true}'),
        ('{"bill": True}', '{"bill": "true"}'),
        (f'{{"bill": {2**63 - 1}}}', f'{{"bill": {2**70}}}'),
        ('{"bill": None}', '{"bill": NaN}'),
    ],
)
def test_5_other_values_than_small_whole_numbers_are_compared_wrongly(test: str, fact: str) -> None:
    assert c_module(f"print(fired(made({{'r': one({test})}}), '{fact}'))") == "['r']"


@needs_durable
def test_5_a_number_with_an_exponent_is_an_error() -> None:
    assert c_module("fired(made({'r': one({'bill': 1})}), '{\"bill\": 1e16}')").endswith("error code: 204")


@needs_durable
@pytest.mark.parametrize("value", ["100000", True, 2**53 + 1, -(2**53) - 1, 1e16, 1.0, float("nan"), None])
def test_5_only_whole_numbers_within_2_to_the_53_are_taken(value: Any) -> None:
    with network(BILL) as bill, pytest.raises(ValueError, match="`bill` is "):
        bill.fitting({"bill": value})
    with pytest.raises(ValueError, match="`bill` is "):
        Network([Rule("r", ("==", "bill", value))])


@needs_durable
def test_6_the_1025th_session_is_out_of_memory() -> None:
    code = """
h = made({"r": one({"bill": 1})})
for i in range(1030):
    try: fired(h, {"bill": 1, "sid": f"s{i}"})
    except MemoryError: print(i + 1); break
"""
    assert c_module(code) == "1025"


@needs_durable
def test_6_any_number_of_questions_take_one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    states = set()

    def spied(call: Callable[..., Any]) -> Callable[..., Any]:
        def assert_fact(*arguments: Any) -> Any:
            outcome, state = call(*arguments)
            states.add(state)
            return outcome, state

        return assert_fact

    monkeypatch.setattr(durable.engine, "assert_fact", spied(durable.engine.assert_fact))
    with network(BILL) as bill:
        assert all(bill.fitting({"bill": 1, "total": i}) == {"bill"} for i in range(2000))
    assert len(states) == 1


# glibc fills fresh memory with this byte, so that reading what was never written is seen each time.
GARBAGE = {"MALLOC_PERTURB_": "165"}


@needs_durable
@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc for garbage in fresh memory")
def test_7_deleting_a_session_in_which_nothing_fired_crashes() -> None:
    code = 'h = made({"r": one({"bill": 1})}); fired(h, {"bill": 2}); d.delete_state(h, None)'
    assert c_module(code, **GARBAGE) == "crashes"
    guarded = """
network = Network([Rule("r", ("==", "bill", 1))])
network.close()
network = Network([Rule("r", ("==", "bill", 1))])
print(network.fitting({"bill": 2}))
network.close()
"""
    assert driver(guarded, **GARBAGE) == "frozenset()"


@needs_durable
def test_7_the_mark_proves_that_the_network_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    with network(BILL) as bill:
        start = durable.engine.start_action_for_state
        for spoilt in (
            lambda *_: None,
            lambda *given: ("", start(*given)[1].replace('"aa"', '"ab"')),
            lambda *given: ("", start(*given)[1][:-3]),
        ):
            monkeypatch.setattr(durable.engine, "start_action_for_state", spoilt)
            with pytest.raises(MatcherFault):
                bill.fitting({"bill": 1})
        monkeypatch.undo()
        assert bill.fitting({"bill": 1}) == {"bill"}


@needs_durable
def test_8_host_starts_threads_and_confuses_those_of_others() -> None:
    threads = "from durable.engine import Host\nHost()\nprint(threading.active_count())"
    assert python_classes(threads) == "3"
    late = """
with ruleset("a"):
    @when_all(m.bill >= 0)
    def action(c): seen.append(c.m.bill)
post("a", {"bill": 10**9})
late = []
def ask(first):
    for i in range(first, first + 2000):
        post("a", {"bill": i})
        if i not in seen[-50:]: late.append(i)
threads = [threading.Thread(target=ask, args=(k * 10000,)) for k in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(late) > 0)
"""
    assert python_classes(late) == "True"


@needs_durable
def test_8_threads_may_share_a_network() -> None:
    rules = [Rule(f"r{i}", ("==", "bill", i)) for i in range(50)]
    with network(*rules) as shared, ThreadPoolExecutor(8) as threads:
        bills = [i % 50 for i in range(4000)]
        answers = threads.map(lambda bill: shared.fitting({"bill": bill}), bills)
        assert list(answers) == [{f"r{bill}"} for bill in bills]


@needs_durable
def test_8_asking_starts_no_thread_and_loads_none_of_the_python_classes() -> None:
    code = """
import threading
Network([Rule("r", ("==", "bill", 1))]).fitting({"bill": 1})
print(threading.active_count(), "durable" in sys.modules)
"""
    assert driver(code) == "1 False"


@needs_durable
def test_9_an_exception_in_an_action_vanishes() -> None:
    code = """
with ruleset("a"):
    @when_all(m.bill == 1)
    def action(c): raise KeyboardInterrupt("stop")
print("stop" in post("a", {"bill": 1})["exception"])
"""
    assert python_classes(code) == "True"


@needs_durable
@pytest.mark.parametrize("call", ["start_action_for_state", "complete_and_start_action", "retract_fact"])
def test_9_ctrl_c_reaches_the_caller_and_leaves_nothing_behind(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with network(BILL) as bill:
        monkeypatch.setattr(durable.engine, call, interrupted)
        with pytest.raises(KeyboardInterrupt):
            bill.fitting({"bill": 1})
        monkeypatch.undo()
        assert bill.fitting({"bill": 2}) == set()


@needs_durable
def test_10_an_action_with_two_parameters_never_completes() -> None:
    code = """
with ruleset("a"):
    @when_all(m.bill >= 1)
    def action(c, complete): seen.append(c.m.bill)
for i in range(1, 4):
    post("a", {"bill": i})
print(seen)
"""
    assert python_classes(code) == "[1]"  # the driver has no actions: test_8 shows that it never loads them


@needs_durable
def test_11_post_fires_one_rule_and_an_id_counts_once() -> None:
    code = """
h = made({"a": one({"bill": 1}), "b": one({"bill": 1})})
print(fired(h, {"bill": 1}, d.assert_event), fired(h, {"id": 1, "bill": 1}))
print(d.assert_fact(h, '{"id": 1, "bill": 1}')[0])
"""
    assert c_module(code).splitlines() == ["['a'] ['a', 'b']", "2"]
    nobody = 'with ruleset("a"):\n    @when_all(m.bill == 1)\n    def action(c): pass\npost("a", {"bill": 2})'
    assert "MessageNotHandledException" in python_classes(
        nobody.replace("post(", "try: post(") + "\nexcept Exception as e: print(repr(e))"
    )


@needs_durable
def test_11_all_rules_fire_every_time() -> None:
    with network(BILL, Rule("also", (">=", "bill", 1)), Rule("always", ("and",)), Rule("never", ("or",))) as both:
        for _ in range(3):
            assert both.fitting({"bill": 1}) == {"bill", "also", "always"}
            assert both.fitting({"bill": 0}) == {"always"}
            assert both.fitting({}) == {"always"}
    with network() as empty:
        assert empty.fitting({"bill": 1}) == set()


@needs_durable
def test_11_a_fact_left_behind_is_a_fault_and_then_forgotten() -> None:
    with network(BILL) as bill:
        durable.engine.assert_fact(bill._rulesets[0]._handle, '{"id":1,"mark":1}')
        with pytest.raises(MatcherFault, match="outcome 2"):
            bill.fitting({"bill": 1})
        assert bill.fitting({"bill": 1}) == {"bill"}


@needs_durable
def test_12_priorities_wrap_patterns_surprise_and_absence_loops() -> None:
    wrapped = 'print(fired(made({"a": one({"bill": 1}, pri=1), "b": one({"bill": 1}, pri=65536)}), {"bill": 1}))'
    assert c_module(wrapped) == "['b', 'a']"
    pattern = 'print(*(fired(made({"r": one({"$mt": {"bill": "^a$"}})}), {"bill": t}) for t in ("a", "^a$")))'
    assert c_module(pattern) == "[] ['r']"
    absent = """
with ruleset("a"):
    @when_all(-m.absent)
    def action(c):
        seen.append(1)
        if len(seen) > 1000:
            print("loops", flush=True)
            os._exit(0)
post("a", {"bill": 2})
"""
    assert python_classes(absent) == "loops"


@needs_durable
def test_12_none_of_them_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[Any] = []
    create = durable.engine.create_ruleset

    def spied(name: str, rules: str) -> Any:
        handed.append(json.loads(rules, object_pairs_hook=lambda pairs: pairs))
        return create(name, rules)

    monkeypatch.setattr(durable.engine, "create_ruleset", spied)
    operators = [Rule(word, (word, "bill", 1)) for word in ("==", "!=", "<", "<=", ">", ">=")]
    with network(*operators, Rule("or", ("or", ("==", "bill", 1), all_of(("<", "bill", 1), ("!=", "site", 2))))):
        pass

    def keys(part: Any) -> Iterator[str]:
        for item in part if isinstance(part, list) else ():
            if isinstance(item, tuple):
                yield item[0]
                yield from keys(item[1])
            else:
                yield from keys(item)

    ours = {"r", "all", "cap", "bill", "site", "mark", "$neq", "$lt", "$lte", "$gt", "$gte", "$or", "$and"}
    assert {key for key in keys(handed) if len(key) != 2} == ours


@needs_durable
def test_13_a_ruleset_deleted_with_its_session_alive_is_never_freed() -> None:
    code = """
def size(): return int(open("/proc/self/statm").read().split()[1]) * 4
for i in range(60):
    h = made({f"r{i}": one({"bill": i}) for i in range(60)}); fired(h, {"bill": 1}); d.delete_ruleset(h)
    if i == 9: before = size()
print(size() - before)
"""
    if sys.platform == "linux":
        assert int(c_module(code)) > 10_000
        guarded = """
def size(): return int(open("/proc/self/statm").read().split()[1]) * 4
for i in range(60):
    network = Network([Rule(f"r{i}", ("==", "bill", i)) for i in range(60)])
    network.fitting({"bill": 1})
    network.close()
    if i == 9: before = size()
print(size() - before)
"""
        assert int(driver(guarded)) < 2_000


@needs_durable
def test_13_the_python_classes_refuse_a_name_twice_and_free_none() -> None:
    code = """
from durable.engine import Host
host = Host()
rules = lambda: {"a": {"r": {"all": [{"m": {"bill": 1}}], "run": lambda c: None}}}
host.set_rulesets(rules())
try: host.register_rulesets(rules())
except Exception as error: print(error)
print([name for name in dir(host) if "delete" in name and "ruleset" in name])
"""
    assert python_classes(code).splitlines() == ["Ruleset with name a already registered", "[]"]


@needs_durable
def test_13_a_closed_network_is_gone_and_refuses_to_answer() -> None:
    closed = Network([BILL])
    handle = closed._rulesets[0]._handle
    closed.close()
    closed.close()
    with pytest.raises(MatcherFault, match="closed"):
        closed.fitting({"bill": 1})
    with pytest.raises(durable.engine.error, match="111"):
        durable.engine.assert_fact(handle, '{"mark":1}')


def test_14_without_the_extension_the_module_still_imports_and_says_why() -> None:
    code = """
sys.modules["durable_rules_engine"] = None
from recovery_engine.rules.durable import *
from recovery_engine.rules import durable
print(durable.AVAILABLE, durable.WHY_NOT)
try: Network([])
except MatcherFault as fault: print(fault)
"""
    assert raw(code).splitlines() == [
        "False import of durable_rules_engine halted; None in sys.modules",
        "durable-rules cannot be imported: import of durable_rules_engine halted; None in sys.modules",
    ]


# Two that the list in DURABLE_RULES.md does not have.


@needs_durable
def test_16_brackets_in_one_rule_are_an_error() -> None:
    nested = """
test = {"bill": 1}
for i in range(16): test = {"$or" if i % 2 else "$and": [test, {"total": i}]}
made({"r": one(test)})
"""
    assert c_module(nested).endswith("error code: 113")
    when: Any = ("==", "bill", 1)
    for i in range(16):
        when = ("or" if i % 2 else "and", when, ("==", "total", i))
    with pytest.raises(RulesetTooLarge, match="nested"):
        Network([Rule("deep", when)])


@needs_durable
def test_129_choices_behind_one_test_are_an_error() -> None:
    choices = """
either = {"$or": [{"total": 1}, {"site": 1}]}
made({f"r{i}": one({"$and": [{"bill": 1}, either]}) for i in range(400)})
"""
    assert c_module(choices).endswith("error code: 107")
    either = ("or", ("==", "total", 1), ("==", "site", 1))
    with network(*(Rule(f"r{i}", all_of(("==", "bill", 1), either)) for i in range(200))) as many:
        assert len(many.fitting({"bill": 1, "site": 1})) == 200


# The answers themselves.

COMPARED: dict[str, Callable[[int, int], bool]] = {
    "==": int.__eq__,
    "!=": int.__ne__,
    "<": int.__lt__,
    "<=": int.__le__,
    ">": int.__gt__,
    ">=": int.__ge__,
}
SOME_FIELDS = ("remedy", "site", "total", "slack00", "fact99")
EDGES = (0, 2**53, -(2**53), 2**53 - 1, 1 - 2**53, 2**31, -(2**31), 2**32)


def true(when: Any, message: dict[str, int]) -> bool:
    if when[0] == "and":
        return all(true(part, message) for part in when[1:])
    if when[0] == "or":
        return any(true(part, message) for part in when[1:])
    return when[1] in message and COMPARED[when[0]](message[when[1]], when[2])


@needs_durable
@pytest.mark.parametrize("seed", range(4))
def test_every_shape_of_expression_is_answered_as_python_answers_it(seed: int) -> None:
    chance = random.Random(seed)

    def number() -> int:
        return chance.choice(EDGES) if chance.random() < 0.3 else chance.randint(-3, 3)

    def expression(depth: int) -> Any:
        if not depth or chance.random() < 0.35:
            return (chance.choice(list(COMPARED)), chance.choice(SOME_FIELDS), number())
        parts = chance.randint(0 if chance.random() < 0.1 else 1, 3)
        return (chance.choice(["and", "or"]), *(expression(depth - 1) for _ in range(parts)))

    for _ in range(100):
        rules = [Rule(f"r{i}", expression(chance.randint(0, 4))) for i in range(chance.randint(1, 10))]
        try:
            made = Network(rules)
        except RulesetTooLarge:
            continue
        for _ in range(40):
            message = {field: number() for field in SOME_FIELDS if chance.random() < 0.8}
            assert made.fitting(message) == {rule.name for rule in rules if true(rule.when, message)}
        made.close()
