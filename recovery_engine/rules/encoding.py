"""The policy as rules for durable-rules: codes for words, fields for readings, one rule for each finding.

Words that stand in the same lists are one class and share a code. 0 is a word that is not given, 1 a word that no line
names; neither is in any list.
"""

import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import cast

from recovery_engine.model import GOODWILL, OWED
from recovery_engine.policy.schema import ANYTHING, CeilingLine, Conditions, Line, Policy
from recovery_engine.policy.words import Interval
from recovery_engine.rules.durable import Expression, Network, Rule, RulesetTooLarge
from recovery_engine.rules.readings import ALL, BOTH, Reading, Words, amount_in, ceiling_sum, clamp
from recovery_engine.rules.reference import Finding, Match

NOT_GIVEN, IN_NO_LIST = 0, 1
OWN = "own"
"""The basis of a sum in the request's own basis: one field for a line that serves both."""

Word = str | bool


def word_classes(policy: Policy) -> dict[str, dict[Word, int]]:
    """For each field that holds a word, the class of every word that some line names."""
    lists: dict[str, dict[tuple[Word, ...], None]] = {"remedy": {}, "basis": {(GOODWILL,): None, (OWED,): None}}
    for line in policy.lines():
        for asked in (line.when, line.unless or ANYTHING):
            for name, words in asked.words.items():
                lists.setdefault(name, {})[words] = None
    # A row and an owed line name one remedy; a budget and a ceiling add up the ones they name.
    rows = [row for line in policy.authority for row in line.up_to if row != "total"]
    for remedy in (*rows, *(line.remedy for line in policy.owed)):
        lists["remedy"][(remedy,)] = None
    for category in policy.reason_codes:
        lists.setdefault("category", {})[(category,)] = None
    classes: dict[str, dict[Word, int]] = {}
    for name, named in lists.items():
        codes: dict[tuple[bool, ...], int] = {}
        classes[name] = {}
        for word in dict.fromkeys(word for words in named for word in words):
            membership = tuple(word in words for words in named)
            classes[name][word] = codes.setdefault(membership, len(codes) + IN_NO_LIST + 1)
    return classes


class Encoding:
    """One policy in durable-rules. ``match`` finds what ``reference.match`` finds."""

    def __init__(self, policy: Policy, classes: Mapping[str, Mapping[Word, int]]) -> None:
        """Raises RulesetTooLarge, naming the line, where the policy is beyond what durable-rules can hold safely."""
        self._policy = policy
        self._classes = classes
        self._word_fields: dict[str, str] = {}
        self._taken: dict[Reading, str] = {}
        self._fields: dict[Reading, tuple[str, ...]] = {}
        self._findings: dict[str, Finding] = {}
        try:
            self._network = Network(list(self._rules()))
        except RulesetTooLarge as too_large:
            finding = self._findings.get(too_large.rule, ("", ""))
            raise RulesetTooLarge(str(too_large), str(finding[1])) from None
        weakref.finalize(self, self._network.close)

    def match(self, words: Words, readings: Mapping[Reading, int | None]) -> Match:
        """Every finding about one cell, by durable-rules. Raises MatcherFault.

        A number that is not measured is left out: the lines that read it do not fit by their words.
        """
        message = {}
        for name, field in self._word_fields.items():
            word = words.get(name)
            message[field] = NOT_GIVEN if word is None else self._classes[name].get(word, IN_NO_LIST)
        for reading, value in readings.items():
            for field in self._fields_of(reading):
                message[field] = 0 if value is None else clamp(value)
                if reading[0] == "number":
                    message[_known(field)] = 0 if value is None else 1
        findings = self._findings
        return frozenset([findings[name] for name in self._network.fitting(message)])

    def _fields_of(self, reading: Reading) -> tuple[str, ...]:
        """The fields that hold a reading: a sum may be asked for by its basis, and as the request's own."""
        fields = self._fields.get(reading)
        if fields is None:
            keys = (reading, (*reading[:2], OWN)) if reading[0] == "sum" and reading[2:] != (BOTH,) else (reading,)
            fields = tuple(self._taken[key] for key in keys if key in self._taken)
            self._fields[reading] = fields
        return fields

    # --- rules ---

    def _rules(self) -> Iterator[Rule]:
        policy = self._policy
        for line in (*policy.deny, *policy.requires, *policy.someone_else):
            yield self._rule(("fits", line.id), self._fits(line))
        goodwill: Expression = ("==", self._word_field("basis"), self._classes["basis"][GOODWILL])
        for line in (*policy.authority, *policy.ceilings, *policy.budgets, *policy.four_eyes):
            yield self._rule(("fits", line.id), ("and", goodwill, self._fits(line)))
        for authority in policy.authority:
            for row, cells in authority.up_to.items():
                total = self._field(("sum", ALL if row == "total" else (row,), GOODWILL))
                fits = self._fits(authority) if row == "total" else ("and", self._is_remedy(row), self._fits(authority))
                for limit in dict.fromkeys(cell for cell in cells if isinstance(cell, int)):
                    within: Expression = ("<=", total, limit)
                    group = 0 if row == "total" else self._classes["remedy"][row]
                    yield self._rule(("within", authority.id, row, limit), ("and", goodwill, fits, within), group)
        for ceiling in policy.ceilings:
            yield self._rule(("over", ceiling.id), ("and", goodwill, self._fits(ceiling), self._over(ceiling)))
        for budget in policy.budgets:
            for kind, reading, limit_or_none in (("over", "budget", budget.amount), ("often", "times", budget.times)):
                if limit_or_none is not None:
                    over: Expression = (">", self._field((reading, budget.id)), limit_or_none)
                    yield self._rule((kind, budget.id), ("and", goodwill, self._fits(budget), over))
        owed: Expression = ("==", self._word_field("basis"), self._classes["basis"][OWED])
        for owing in policy.owed:
            fits = ("and", owed, self._is_remedy(owing.remedy), self._fits(owing))
            yield self._rule(("fits", owing.id), fits, self._classes["remedy"][owing.remedy])
            covered: Expression = (">=", self._field(("due", owing.id)), 0)
            yield self._rule(("covers", owing.id), ("and", fits, covered), self._classes["remedy"][owing.remedy])

    def _rule(self, finding: Finding, when: Expression, group: int = 0) -> Rule:
        name = str(len(self._findings))
        self._findings[name] = finding
        return Rule(name, when, group)

    def _over(self, line: CeilingLine) -> Expression:
        if line.of is None and line.per is None:
            assert line.amount is not None
            return (">", self._field(ceiling_sum(line)), line.amount)
        return ("<", self._field(("slack", line.id)), 0)

    def _is_remedy(self, remedy: str) -> Expression:
        return ("==", self._word_field("remedy"), self._classes["remedy"][remedy])

    def _fits(self, line: Line) -> Expression:
        when = self._all_of(line, line.when)
        return when if line.unless is None else ("and", when, self._not_all_of(line, line.unless))

    def _all_of(self, line: Line, asked: Conditions) -> Expression:
        tests: list[Expression] = []
        for name, words in asked.words.items():
            field = self._word_field(name)
            tests.append(_any(("==", field, code) for code in self._codes(name, words)))
        for name, intervals in asked.numbers.items():
            field, known = self._number_field(line, name)
            inside = _any(_inside(field, interval) for interval in intervals)
            tests.append(("and", ("==", known, 1), inside) if known else inside)
        return _all(tests)

    def _not_all_of(self, line: Line, asked: Conditions) -> Expression:
        tests: list[Expression] = []
        for name, words in asked.words.items():
            field = self._word_field(name)
            tests.append(_all(("!=", field, code) for code in self._codes(name, words)))
        for name, intervals in asked.numbers.items():
            field, known = self._number_field(line, name)
            outside = _all(_outside(field, interval) for interval in intervals)
            tests.append(("or", ("==", known, 0), outside) if known else outside)
        return _any(tests)

    def _codes(self, name: str, words: tuple[Word, ...]) -> list[int]:
        return sorted({self._classes[name][word] for word in words})

    # --- fields ---

    def _number_field(self, line: Line, name: str) -> tuple[str, str]:
        """The field of a number, and the field that says whether it is known; a sum always is."""
        if name == "amount":
            return self._field(amount_in(line, OWN)), ""
        field = self._field(("number", name))
        return field, _known(field)

    def _word_field(self, name: str) -> str:
        field = self._word_fields.get(name)
        if field is None:
            field = self._word_fields[name] = name if name in _WORDS else self._next("fact")
        return field

    def _field(self, reading: Reading) -> str:
        field = self._taken.get(reading)
        if field is None:
            family = {"number": "fact", "due": "slack"}.get(reading[0], reading[0])
            field = self._taken[reading] = "bill" if reading == ("number", "bill") else self._next(family)
        return field

    def _next(self, family: str) -> str:
        taken = sum(field.startswith(family) for field in (*self._taken.values(), *self._word_fields.values()))
        size, what = _FAMILIES[family]
        if taken >= size:
            raise RulesetTooLarge(f"the policy reads more than {size} {what}")
        return f"{family}{taken:02d}"


_WORDS = ("remedy", "category", "severity", "site", "basis")
_FAMILIES = {
    "fact": (100, "facts"),
    "sum": (64, "different sums"),
    "slack": (64, "limits by bill or number"),
    "budget": (32, "budgets by amount"),
    "times": (32, "budgets by cases"),
}


def _known(field: str) -> str:
    return "bill_known" if field == "bill" else field.replace("fact", "known")


def _all(parts: Iterable[Expression]) -> Expression:
    return cast("Expression", ("and", *parts))


def _any(parts: Iterable[Expression]) -> Expression:
    return cast("Expression", ("or", *parts))


def _inside(field: str, interval: Interval) -> Expression:
    low, high = interval
    if low is not None and low == high:
        return ("==", field, low)
    above: tuple[Expression, ...] = () if low is None else ((">=", field, low),)
    below: tuple[Expression, ...] = () if high is None else (("<=", field, high),)
    return _all(above + below)


def _outside(field: str, interval: Interval) -> Expression:
    low, high = interval
    if low is not None and low == high:
        return ("!=", field, low)
    below: tuple[Expression, ...] = () if low is None else (("<", field, low),)
    above: tuple[Expression, ...] = () if high is None else ((">", field, high),)
    return _any(below + above)
