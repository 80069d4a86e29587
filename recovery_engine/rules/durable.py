"""Ask durable-rules which rules are true for one flat message of whole numbers.

    network = Network([Rule("goodwill", ("and", ("==", "remedy", 3), (">=", "slack00", 0)))])
    network.fitting({"remedy": 3, "slack00": 250})     # frozenset({"goodwill"})

This is the only importer of durable-rules, and it talks to the C module alone: no Host, no threads, no Python
actions. Outside its limits that module hangs, crashes or answers wrongly: each limit is checked here first.
"""

import itertools
import json
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any, Literal, NamedTuple, TypeAlias, cast

try:
    import durable_rules_engine as engine
except ImportError as error:
    AVAILABLE, WHY_NOT = False, str(error)
else:
    AVAILABLE, WHY_NOT = True, ""

# A test of a field that the message lacks is not true, whatever its operator: `!=` neither.
# ("and",) is always true, ("or",) never.
Test: TypeAlias = tuple[Literal["==", "!=", "<", "<=", ">", ">="], str, int]
Expression: TypeAlias = Test | tuple[Literal["and", "or"], *tuple["Expression", ...]]


class Rule(NamedTuple):
    """A name and what must be true for it.

    Rules of different groups (other than 0) are never true together. This only decides how they are packed:
    the limits are counted from the tests themselves, so that a wrong group cannot overrun them.
    """

    name: str
    when: Expression
    group: int = 0


class RulesetTooLarge(Exception):
    """The rules ask for more than durable-rules can hold; the text says of what, ``rule`` which one, if it is one."""

    def __init__(self, text: str, rule: str = "") -> None:
        super().__init__(text)
        self.rule = rule


class MatcherFault(Exception):
    """durable-rules did not do what it promises. Nothing it said about this message may be believed."""


def _numbered(family: str, count: int) -> list[str]:
    return [f"{family}{number:02d}" for number in range(count)]


FIELDS: tuple[str, ...] = (
    "remedy",
    "category",
    "severity",
    "site",
    "basis",
    "bill",
    "bill_known",
    "total",
    *_numbered("fact", 100),
    *_numbered("known", 100),
    *_numbered("sum", 64),
    *_numbered("slack", 64),
    *_numbered("budget", 32),
    *_numbered("times", 32),
)
_FIELDS = frozenset(FIELDS)

# In every message, and tested by a rule of its own, which proves that the network ran.
_MARK = "mark"
_MARKED: Test = ("==", _MARK, 1)

# Every word that durable-rules itself looks for in a message or a rule.
_DURABLES_OWN = (
    *("sid", "id", "$s", "$i", "$m", "$time", "$pulse", "$timerName", "$baseTime", "$forward"),
    *("all", "any", "pri", "count", "cap", "dist", "name", "$and", "$or", "$not", "$all", "$any"),
    *("$lt", "$lte", "$gt", "$gte", "$eq", "$neq", "$ex", "$nex", "$mt", "$imt", "$iall", "$iany"),
    *("$add", "$sub", "$mul", "$div", "$l", "$r"),
)


def _hash(word: str) -> int:
    """All that durable-rules keeps of a field's name: 32-bit FNV-1a."""
    value = 0x811C9DC5
    for byte in word.encode():
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value


def _collisions(words: Iterable[str]) -> list[list[str]]:
    alike: dict[int, list[str]] = {}
    for word in words:
        alike.setdefault(_hash(word), []).append(word)
    return [same for same in alike.values() if len(same) > 1]


assert not _collisions((*FIELDS, _MARK, *_DURABLES_OWN)), "durable-rules would read one field as another"

# A whole number up to here is the same to every reader of JSON.
LARGEST = 2**53

# The limits of the C module's fixed tables, with room to spare. The number after each is where it breaks.
MOST_TESTS_BEHIND_ONE = 400  # 513: the search for a free place never ends. All fields share the table.
# 65: error 303. It is a stack of tests: one counts even if its rule fails later. Rules that share a test are
# true together, so this also stays far from 256 rules behind one test (a crash) and 128 `or`s (error 107).
MOST_TRUE_AT_ONCE = 48
MOST_BRACKETS = 15  # 16: error 113.
MOST_FIELDS = 200  # 255: error 302.
MOST_RULES = 1000  # 4,096: error 106. Each takes about 10 KB.

_OPERATORS = {"!=": "$neq", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}


# --- the form of an expression ------------------------------------------------------------------------------


_ALWAYS: Expression = ("and",)
_NEVER: Expression = ("or",)


def _parts(expression: Expression) -> tuple[Expression, ...]:
    """What an `and` or `or` is made of; nothing for a test."""
    return expression[1:] if expression[0] in ("and", "or") else ()


def _checked_number(number: object, field: str) -> int:
    # By type, because a bool is an int to Python and something else to durable-rules.
    if type(number) is not int:
        raise ValueError(f"`{field}` is {number!r}, not a whole number")
    if not -LARGEST <= number <= LARGEST:
        raise ValueError(f"`{field}` is {number}, beyond ±2**53")
    return number


def _checked_test(test: Any) -> Test:
    if len(test) != 3 or test[0] not in ("==", *_OPERATORS):
        raise ValueError(f"{test!r} is not a test")
    word, field, number = test
    if field not in _FIELDS:
        raise ValueError(f"`{field}` is not one of the fields")
    return (word, field, _checked_number(number, field))


def _flat(expression: Expression) -> Expression:
    """The same, checked; with brackets only where `and` and `or` alternate, and nothing said twice."""
    word = expression[0]
    if word not in ("and", "or"):
        return _checked_test(expression)
    parts: dict[Expression, None] = {}
    for part in map(_flat, _parts(expression)):
        parts.update(dict.fromkeys(_parts(part) if part[0] == word else (part,)))
    for settled in (_ALWAYS, _NEVER):
        if settled in parts:
            return settled
    return next(iter(parts)) if len(parts) == 1 else cast("Expression", (word, *parts))


def _tests(expression: Expression) -> Iterator[Test]:
    if expression[0] in ("and", "or"):
        for part in _parts(expression):
            yield from _tests(part)
    else:
        yield cast("Test", expression)


def _brackets(expression: Expression) -> int:
    return (expression[0] in ("and", "or")) + sum(map(_brackets, _parts(expression)))


def _ordered(expression: Expression, equal: Counter[str], used: Counter[Expression]) -> Expression:
    """The same with `and` in the order that shares most: equality first, on the field most rules compare so.

    Two rules that want different remedies then part at their first test, and neither takes the other's room.
    """

    def place(part: Expression) -> tuple[int, int, str]:
        if part[0] in ("and", "or"):
            return (2, 0, "")
        field = cast("Test", part)[1]
        return (0, -equal[field], field) if part[0] == "==" else (1, -used[part], field)

    parts = [_ordered(part, equal, used) for part in _parts(expression)]
    if expression[0] == "and":
        parts.sort(key=place)
    return cast("Expression", (expression[0], *parts)) if parts else expression


def _as_json(expression: Expression) -> dict[str, Any]:
    if expression[0] in ("and", "or"):
        return {f"${expression[0]}": [_as_json(part) for part in _parts(expression)]}
    word, field, number = cast("Test", expression)
    return {field: number} if word == "==" else {_OPERATORS[word]: {field: number}}


# --- what fits into one ruleset -----------------------------------------------------------------------------


class _Node:
    """A test in the network that durable-rules builds (in `rete.c`): rules share their first tests."""

    def __init__(self) -> None:
        self.tests: dict[Test, _Node] = {}
        self.choices: list[_Node] = []  # where the `or`s that end here go on
        self.rules = 0  # how many rules end here

    def add(self, expression: Expression) -> "_Node":
        """Where *expression*, begun here, ends."""
        if expression[0] == "and":
            end = self
            for part in _parts(expression):
                end = end.add(part)
            return end
        if expression[0] == "or":
            joined = _Node()
            for part in _parts(expression):
                self.add(part).choices.append(joined)
            return joined
        return self.tests.setdefault(expression, _Node())

    def room(self, known: "dict[_Node, int]") -> int:
        """How many tests and rules behind this one may be true at once, for some message."""
        if self not in known:
            room = self.rules + sum(choice.room(known) for choice in self.choices)
            one_of: Counter[str] = Counter()
            for (word, field, _), node in self.tests.items():
                if word == "==":
                    one_of[field] = max(one_of[field], node.room(known))
                else:
                    room += node.room(known)
            known[self] = max(1, room + one_of.total())
        return known[self]


def _too_much(whens: Sequence[Expression]) -> str:
    """What is too much for one ruleset, in the policy author's words; empty if nothing is."""
    if len(whens) > MOST_RULES:
        return f"more than {MOST_RULES} rules"
    root = _Node()
    for when in (_MARKED, *whens):
        if _brackets(when) > MOST_BRACKETS:
            return f"more than {MOST_BRACKETS} nested conditions in one rule"
        root.add(when).rules += 1
    if len({field for when in whens for _, field, _ in _tests(when)}) > MOST_FIELDS:
        return f"more than {MOST_FIELDS} different fields"

    room: dict[_Node, int] = {}
    root.room(room)
    for node in room:
        if len(node.tests) > MOST_TESTS_BEHIND_ONE:
            return f"more than {MOST_TESTS_BEHIND_ONE} different values compared side by side"
    if room[root] > MOST_TRUE_AT_ONCE:
        return f"more than {MOST_TRUE_AT_ONCE} conditions that may be true at once"
    return ""


def _packed(rules: Sequence[tuple[str, Expression]]) -> Iterator[list[tuple[str, Expression]]]:
    """*rules* in lots that fit into one ruleset each: every time, as many of the next rules as will go."""
    start = 0
    while start < len(rules):
        # A lot that is too large stays so with one rule more, hence the search by halves.
        fits, beyond = 0, len(rules) - start + 1
        attempt = beyond - 1
        while beyond - fits > 1:
            if _too_much([when for _, when in rules[start : start + attempt]]):
                beyond = attempt
            else:
                fits = attempt
            attempt = (fits + beyond) // 2
        if not fits:
            name, when = rules[start]
            raise RulesetTooLarge(_too_much([when]), name)
        yield list(rules[start : start + fits])
        start += fits


def _in_turn(rules: Sequence[Rule]) -> list[Rule]:
    """The rules of no group, then the first of each group, the second of each, and so on.

    Groups exclude each other, so that a ruleset holds most when it holds some of each.
    """
    seen: Counter[int] = Counter()
    places = []
    for rule in rules:
        if rule.group:
            seen[rule.group] += 1
        places.append(seen[rule.group] if rule.group else 0)
    return [rule for _, rule in sorted(zip(places, rules, strict=True), key=lambda pair: pair[0])]


# --- one ruleset of the C module ----------------------------------------------------------------------------

# Two letters for each rule, so that the fired ones stand at equal distances in the answer.
_LETTERS = tuple(itertools.product(string.ascii_letters, repeat=2))
_numbers = itertools.count(1)

# One fact at a time, so one id will do: were an earlier fact left, durable-rules would say "observed", not 0.
_ID = '"id":1'
_RETRACT = f"{{{_ID}}}"
_OK = 0


class _Ruleset:
    def __init__(self, rules: Sequence[tuple[str, Expression]]) -> None:
        # The mark has the first letters and stands last: it is then the last to fire, also where a rule that
        # is always true shares its test.
        lettered = list(zip(_LETTERS[1:], rules, strict=False))
        self._names = {letters: name for letters, (name, _) in lettered}
        whens = [(letters, when) for letters, (_, when) in lettered] + [(_LETTERS[0], _MARKED)]
        self.fields = frozenset(field for _, when in whens for _, field, _ in _tests(when)) - {_MARK}
        # One action for all rules, by repeating the key "all": every rule that is true is then in one answer,
        # which costs half of asking for one after the other. `cap` is how many an answer may hold.
        bodies = [f'"all":[{{"{"".join(letters)}":{json.dumps(_as_json(when))}}}]' for letters, when in whens]
        name = f"recovery-{next(_numbers)}"
        self._handle: int = engine.create_ruleset(name, f'{{"r":{{{",".join(bodies)},"cap":65535}}}}')
        # A session in which no rule fired yet crashes the process when deleted. The mark alone is enough.
        self._deletable = False
        self.fired(self.posted(()))
        self._deletable = True

    def posted(self, fields: Iterable[str]) -> str:
        """A template of the message; of *fields*, it holds those that this ruleset tests."""
        tested = [f',"{field}":%({field})d' for field in fields if field in self.fields]
        return f'{{"{_MARK}":1,{_ID}{"".join(tested)}}}'

    def fired(self, message: str) -> Iterable[str]:
        """The names of the rules true for *message*; some may come twice."""
        try:
            outcome, state = engine.assert_fact(self._handle, message)
            answer = engine.start_action_for_state(self._handle, state) if outcome == _OK else None
            if answer is None or engine.complete_and_start_action(self._handle, state) is not None:
                raise MatcherFault(f"durable-rules did not answer once, with everything (outcome {outcome})")
            engine.retract_fact(self._handle, _RETRACT)
        except BaseException as error:
            # Ctrl-C as well: half a run left behind would be part of the next answer.
            self._forget()
            if isinstance(error, engine.error | MemoryError):
                raise MatcherFault(f"durable-rules: {error}") from error
            raise
        return self._read(answer[1], message)

    def _read(self, answer: str, message: str) -> Iterable[str]:
        # {"r":[{"aa":message},{"cd":message},...]} with the last one fired first. The mark is the first field
        # of the message, so it is looked at last: where it stands in front, the rest has been looked at.
        step = len(message) + len('{"aa":},')
        first, second = answer[8::step], answer[9::step]
        fitting = [self._names.get(letters) for letters in zip(first[1:], second[1:], strict=True)]
        whole = len(answer) == step * len(first) + len('{"r":[]}') - 1
        if not whole or first[:1] + second[:1] != "aa" or None in fitting:
            self._forget()
            raise MatcherFault("durable-rules gave an answer that cannot be read")
        return cast("list[str]", fitting)

    def _forget(self) -> None:
        """A new session for the next message."""
        if self._deletable:
            with suppress(engine.error):  # there may be none
                engine.delete_state(self._handle, None)

    def close(self) -> None:
        # The session first: with the ruleset gone, nothing could free it.
        self._forget()
        engine.delete_ruleset(self._handle)


# --- all the rules ------------------------------------------------------------------------------------------


class Network:
    """Some rules, compiled by durable-rules; split over as many rulesets as its limits demand.

    Threads may share one: they take turns.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        """Raises RulesetTooLarge if one rule alone is beyond a limit, ValueError if a rule is malformed."""
        if not AVAILABLE:
            raise MatcherFault(f"durable-rules cannot be imported: {WHY_NOT}")
        flat = [(rule.name, _flat(rule.when)) for rule in _in_turn(rules)]
        used = Counter[Expression](test for _, when in flat for test in _tests(when))
        equal = Counter(field for _, when in flat for word, field, _ in _tests(when) if word == "==")
        ordered = [
            (name, _MARKED if when == _ALWAYS else _ordered(when, equal, used)) for name, when in flat if when != _NEVER
        ]
        self._lock = Lock()
        self._closed = False
        self._rulesets = [_Ruleset(lot) for lot in list(_packed(ordered))]
        # For each set of fields that came so far: what is posted to each ruleset.
        self._templates: dict[tuple[str, ...], list[tuple[_Ruleset, str]]] = {}

    @property
    def rulesets(self) -> int:
        """How many posts one question costs."""
        return len(self._rulesets)

    def fitting(self, message: Mapping[str, int]) -> frozenset[str]:
        """The names of all the rules true for *message*, whose numbers are whole and within ±2**53."""
        for field, number in message.items():
            if type(number) is not int or not -LARGEST <= number <= LARGEST:
                _checked_number(number, field)
        fields = tuple(message)
        with self._lock:
            if self._closed:
                raise MatcherFault("the network is closed")
            templates = self._templates.get(fields) or self._new_templates(fields)
            return frozenset(itertools.chain(*[ruleset.fired(text % message) for ruleset, text in templates]))

    def _new_templates(self, fields: tuple[str, ...]) -> list[tuple[_Ruleset, str]]:
        for field in fields:
            if field not in _FIELDS:
                raise ValueError(f"`{field}` is not one of the fields")
        if len(fields) > MOST_FIELDS:
            raise ValueError(f"a message of {len(fields)} fields; {MOST_FIELDS} are the most")
        if len(self._templates) == 256:
            self._templates.clear()
        self._templates[fields] = made = [(ruleset, ruleset.posted(fields)) for ruleset in self._rulesets]
        return made

    def close(self) -> None:
        """Give the memory back. A closed network refuses to answer."""
        with self._lock:
            self._closed = True
            while self._rulesets:
                self._rulesets.pop().close()
            self._templates.clear()
