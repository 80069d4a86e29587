"""The two matchers agree on every cell of every shipped policy, and would not if one comparison in either were wrong.

The counts are printed at the end of every run.
"""

import ast
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import pytest

from recovery_engine import Policy, load_policy, parse_policy, shipped_policies
from recovery_engine.rules import encoding, reference
from recovery_engine.rules.cells import Meter, cells, meters, word_samples
from recovery_engine.rules.encoding import word_classes

Match = Callable[[Mapping[str, Any], Mapping[Any, int | None]], Any]


def both_ends(meter: Meter) -> list[int | None]:
    """The values on both sides of every cut; None where the number may be unknown."""
    values = sorted({value for cut in meter.cuts for value in (cut, cut + 1)})
    return [None, *values] if meter.key[0] == "number" else [*values]


def edges(policy: Policy) -> Iterator[tuple[dict[str, Any], dict[Any, int | None]]]:
    """The words and readings at both ends of every band, in every combination: each cell, at all its corners."""
    for words in word_samples(policy, word_classes(policy)):
        measured = meters(policy, words)
        for values in itertools.product(*map(both_ends, measured)):
            yield words, dict(zip((meter.key for meter in measured), values, strict=True))


@pytest.mark.parametrize("name", shipped_policies())
def test_the_matchers_agree_on_every_cell(name: str, record_property: Callable[[str, object], None]) -> None:
    policy = load_policy(name)
    classes = word_classes(policy)
    durable_match = encoding.Encoding(policy, classes).match
    counted = sum(1 for words in word_samples(policy, classes) for _ in cells(policy, words))
    corners = 0
    for words, readings in edges(policy):
        corners += 1
        assert durable_match(words, readings) == reference.match(policy, words, readings), (words, readings)
    assert corners >= counted > 0
    record_property("cells", f"{name}: {counted:,} cells, {corners:,} corners")


# --- one wrong comparison is found ------------------------------------------------------------------------------------

EVERY_COMPARISON = """
policy: every-comparison
currency: JPY
ladder: [clerk, lead]
remedies: [refund, voucher, points]
categories: [delay, quality, safety]
severities: [minor, major]
facts:
  member: {flag: true}
  days: {number: true}
authority:
  - {id: rows, up_to: {total: [10, 20], refund: [5, 20]}}
  - {id: words, when: {category: [delay, quality]}, unless: {severity: major}, up_to: {total: [3, 9]}}
ceilings:
  - {id: sum, when: {remedy: voucher}, amount: 7}
  - {id: bill, when: {remedy: refund}, percent: 50, of: bill}
budgets:
  - {id: spent, per: customer, every: day, amount: 8, times: 2}
owed:
  - {id: late, when: {category: delay}, remedy: refund, amount: 6}
deny:
  - {id: flag, when: {member: true}, unless: {category: safety}}
  - {id: low, when: {days: at least 4, category: quality}}
  - {id: high, when: {days: at most 4, category: safety}}
  - {id: exact, when: {days: 9}}
  - {id: outside, when: {severity: minor}, unless: {days: [from 2 to 6, 8]}}
requires:
  - {id: much, when: {amount: from 5 to 12}, note: true}
four_eyes:
  - {id: more, when: {amount: over 15}, second: lead}
someone_else:
  - {id: own, when: {basis: owed, severity: major}}
"""

OPPOSITE = {
    ast.LtE: ast.Lt,
    ast.Lt: ast.LtE,
    ast.GtE: ast.Gt,
    ast.Gt: ast.GtE,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
WRONG = {"<=": "<", "<": "<=", ">=": ">", ">": ">=", "==": "!=", "!=": "=="}


def comparisons(module: ModuleType) -> list[ast.AST]:
    """Every comparison that a matcher makes: the reference in Python, the encoding by telling durable-rules."""
    return [node for node in ast.walk(ast.parse(inspect.getsource(module))) if _is_comparison(module, node)]


def _is_comparison(module: ModuleType, node: ast.AST) -> bool:
    if module is reference:
        return isinstance(node, ast.Compare) and type(node.ops[0]) in OPPOSITE
    return (
        isinstance(node, ast.Tuple)
        and bool(node.elts)
        and isinstance(node.elts[0], ast.Constant)
        and node.elts[0].value in WRONG
    )


def with_one_wrong(module: ModuleType, number: int) -> ModuleType:
    """The module with one of its comparisons turned into its neighbour."""
    tree = ast.parse(inspect.getsource(module))
    node = [node for node in ast.walk(tree) if _is_comparison(module, node)][number]
    match node:
        case ast.Compare():
            node.ops[0] = OPPOSITE[type(node.ops[0])]()
        case ast.Tuple(elts=[ast.Constant() as word, *_]):
            word.value = WRONG[str(word.value)]
    broken = ModuleType(f"{module.__name__} with comparison {number} wrong")
    exec(compile(tree, broken.__name__, "exec"), broken.__dict__)
    return broken


def names(module: ModuleType) -> list[str]:
    """What stands in the source where each comparison is, to name the test."""
    return [f"{number}: {ast.unparse(node)[:60]}" for number, node in enumerate(comparisons(module))]


def disagree(policy: Policy, one: Match, other: Match) -> bool:
    for words, readings in edges(policy):
        try:
            if one(words, readings) != other(words, readings):
                return True
        except (KeyError, AssertionError, TypeError):  # a wrong comparison may also stumble
            return True
    return False


@pytest.fixture(scope="module")
def policy() -> Policy:
    return parse_policy(EVERY_COMPARISON, "every-comparison.yaml")


def by_reference(policy: Policy, module: Any = reference) -> Match:
    return lambda words, readings: module.match(policy, words, readings)


def by_durable(policy: Policy, module: Any = encoding) -> Match:
    return module.Encoding(policy, word_classes(policy)).match


def test_right_comparisons_agree(policy: Policy) -> None:
    assert not disagree(policy, by_reference(policy), by_durable(policy))


@pytest.mark.parametrize("name", names(reference))
def test_a_wrong_comparison_in_the_reference_is_found(policy: Policy, name: str) -> None:
    broken = with_one_wrong(reference, int(name.partition(":")[0]))
    assert disagree(policy, by_reference(policy, broken), by_durable(policy))


@pytest.mark.parametrize("name", names(encoding))
def test_a_wrong_comparison_in_the_encoding_is_found(policy: Policy, name: str) -> None:
    broken = with_one_wrong(encoding, int(name.partition(":")[0]))
    assert disagree(policy, by_reference(policy), by_durable(policy, broken))


def test_every_kind_of_comparison_is_among_them() -> None:
    in_reference, in_encoding = " ".join(names(reference)), " ".join(names(encoding))
    for kind in ("GOODWILL)) <= cell", "> ceiling.amount", "'slack'", "> budget.amount", "> budget.times", "'due'"):
        assert kind in in_reference
    for kind in ("not in allowed", "low <= value", "value <= high"):
        assert kind in in_reference
    for kind in ("'<='", "'>'", "'<'", "'>='", "'=='", "'!='"):
        assert kind in in_encoding
