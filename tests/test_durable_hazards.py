"""What durable-rules 2.0.28 does beyond the limits of its tables and values, and that our driver never takes it there.

Each test first shows the hazard on the raw library, in a process of its own with a time limit: should a later
durable-rules be cured, the test says so. Then it shows the guard. The numbers are those of DURABLE_RULES.md; how it
behaves from call to call (8 to 14) stands in test_durable_network.py.
"""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from recovery_engine.rules import durable
from recovery_engine.rules.durable import (
    AVAILABLE,
    FIELDS,
    MOST_TRUE_AT_ONCE,
    WHY_NOT,
    MatcherFault,
    Network,
    Rule,
    RulesetTooLarge,
)
from tests.durable_raw import BILL, all_of, c_module, driver, needs_durable, network


def test_durable_rules_serves_here() -> None:
    """So that a test left out because it is missing cannot pass for one that was run."""
    assert AVAILABLE, WHY_NOT


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
except RulesetTooLarge as too_large: print(too_large.rule, too_large, sep=": ")
"""
    assert driver(code) == "sites: more than 400 different values compared side by side"


@needs_durable
def test_2_256_rules_sharing_a_test_write_past_the_end_of_a_list() -> None:
    shared = 'made({{f"r{{i}}": one({{"bill": 1}}) for i in range({})}}); d.assert_fact(1, \'{{"bill": 1}}\')'
    assert c_module(shared.format(256)) in ("crashes", "")  # undefined: the damage need not be noticed
    assert c_module(shared.format(257)).endswith(("crashes", "error code: 108"))
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
