"""How durable-rules 2.0.28 behaves from call to call (threads, errors, actions, the life of a ruleset), and our driver.

Each test first shows the hazard on the raw library, then the guard; the numbers are those of DURABLE_RULES.md. At the
end, every shape of expression is answered as Python answers it.
"""

import json
import random
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from recovery_engine.rules import durable
from recovery_engine.rules.durable import MatcherFault, Network, Rule, RulesetTooLarge
from tests.durable_raw import BILL, all_of, c_module, driver, needs_durable, network, python_classes, raw


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
