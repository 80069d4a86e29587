"""Tests that a policy does not have yet: requests that let a line decide, or stand just beside a boundary."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any

from recovery_engine.decide import decide
from recovery_engine.errors import InvalidRequest
from recovery_engine.model import GOODWILL, NO_USAGE, Decision, Outcome
from recovery_engine.money import MAX_MINOR, decimal_text, digits_of, format_minor
from recovery_engine.phrases import in_words
from recovery_engine.policy.reading import read_request
from recovery_engine.policy.schema import CeilingLine, Line, OwedLine, Policy, RequiresLine
from recovery_engine.rules.cells import facts_read, may_fit, meters, used_lines, word_samples
from recovery_engine.rules.encoding import Word
from recovery_engine.rules.readings import due_of, left_under
from recovery_engine.seats import Compiled
from recovery_engine.whatif.coverage import (
    BEYOND,
    EXACTLY,
    NEARBY,
    NOT_REACHED,
    SIDES,
    UNTRIED,
    WITHIN,
    Boundary,
    BoundaryCoverage,
    Coverage,
    Goal,
    LineCoverage,
    Shown,
    SuggestedTest,
    boundaries,
    goals,
    in_words_of,
    shown_by,
    tried,
)

_MOST_TRIES, _TRIES_A_TURN = 2_000, 8
"""For one goal; what can be reached is mostly reached in a few."""

Given = dict[str, Any]
Words = Mapping[str, Word | None]


def cover_examples(policy: Policy, suggest: int = 0) -> Coverage:
    """What the tests of a policy show: which lines decided, which boundaries were tried on which sides.

    What no test shows is looked for, and where no request is found that shows it, that is said. Of the requests found,
    at most so many are suggested as tests, those that show most first. What they expect is what the policy decides
    today: they pass, and somebody should read whether that is meant.
    """
    search = _Search(policy)
    every = goals(policy)
    missing = [goal for goal in every if goal not in search.tried]
    # What stands beside a boundary of a line mostly shows the line deciding too.
    missing = [goal for goal in sorted(missing, key=lambda goal: isinstance(goal, str)) if search.reached(goal)]

    def state(goal: Goal) -> str:
        if goal in search.tried:
            return EXACTLY if search.tried[goal] else NEARBY
        return UNTRIED if goal in search.found else NOT_REACHED

    return Coverage(
        tuple(LineCoverage(goal, policy.where(goal), state(goal)) for goal in every if isinstance(goal, str)),
        tuple(
            BoundaryCoverage(
                boundary.line,
                policy.where(boundary.line),
                in_words_of(policy, boundary),
                boundary.role,
                state((boundary, WITHIN)),
                state((boundary, BEYOND)),
            )
            for boundary in search.boundaries
        ),
        tuple(islice(_suggested(policy, search, missing), suggest)),
        search.complete,
    )


def _suggested(policy: Policy, search: "_Search", missing: list[Goal]) -> Iterator[SuggestedTest]:
    names = {example.name for example in policy.tests}
    candidates, left = [search.found[goal] for goal in missing], set(missing)
    while left:
        given, shows = max(candidates, key=lambda candidate: len(left & candidate[1]))
        yield _as_test(policy, given, [goal for goal in missing if goal in left & shows], names)
        left -= shows


class _Search:
    """Looks for requests that reach what the tests of a policy do not."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.complete = policy, True
        self.compiled = Compiled(policy)
        self.compiled.encoding = None  # thousands are looked at: what is suggested is decided by both matchers
        self.tried = tried(policy, self.compiled)
        self.found: dict[Goal, tuple[Given, frozenset[Goal]]] = {}
        self.boundaries = tuple(boundaries(policy))
        self._samples = list(islice(self._words(), _MOST_TRIES))

    def reached(self, goal: Goal) -> bool:
        """Whether a request reaches it; ``found`` has it then."""
        for candidate in self.found.values():
            if goal in candidate[1]:
                self.found[goal] = candidate
                return True
        tries = self._tries(goal)
        for given in islice(tries, _MOST_TRIES):
            for request in self._with_and_without_proof(given, goal):
                shown = self._shown(request, self.boundaries)
                if shown and shown.goals.get(goal):
                    self.found[goal] = request, frozenset(shown.goals)
                    return True
        self.complete = self.complete and next(tries, None) is None
        return False

    def _shown(self, given: Given, among: Sequence[Boundary]) -> Shown | None:
        try:
            return shown_by(self.compiled, *read_request(self.policy, given), among)
        except InvalidRequest:
            return None

    def _with_and_without_proof(self, given: Given, goal: Goal) -> list[Given]:
        """The request with all the proof it needs, unless a line that asks for proof is the goal: then without first.

        Nothing where no proof would make it reach a boundary.
        """
        among = () if isinstance(goal, str) else goal[:1]
        shown = self._shown(given, among)
        if shown is None or (among and goal not in shown.goals):
            return []
        if not (needs := shown.decision.needs):
            return [given]
        proven = dict(given)
        if "note" in needs:
            proven["note"] = "What happened"
        if "reason" in needs:
            proven["reason"] = self.policy.reason_codes[given["category"]][0]
        if evidence := [item for item in needs if item not in ("note", "reason")]:
            proven["evidence"] = evidence
        line = self.policy.by_id.get(goal if isinstance(goal, str) else goal[0].line)
        return [given, proven] if line is None or isinstance(line, RequiresLine) else [proven, given]

    # --- what to try ---

    def _words(self) -> Iterator[Words]:
        known = self.policy.words.known
        for words in word_samples(self.policy, self.compiled.classes):
            if all(
                word is not None or name in self.policy.facts or known(name) is None for name, word in words.items()
            ):
                yield {"basis": GOODWILL, "remedy": (known("remedy") or ("refund",))[0], **words}

    def _tries(self, goal: Goal) -> Iterator[Given]:
        """Requests that may reach a goal, the plainest first: a few of all words before many of some."""
        streams = [self._tries_with(words, goal) for words in self._samples]
        while streams:
            turns = [(stream, list(islice(stream, _TRIES_A_TURN))) for stream in streams]
            for _, given in turns:
                yield from given
            streams = [stream for stream, given in turns if given]

    def _tries_with(self, words: Words, goal: Goal) -> Iterator[Given]:
        policy = self.policy
        boundary, side = (None, WITHIN) if isinstance(goal, str) else goal
        line = policy.by_id.get(goal if isinstance(goal, str) else goal[0].line)
        lines = [other for other in used_lines(policy, str(words["basis"])) if may_fit(other, words)]
        if line is not None and line not in lines:
            return
        numbers = self._numbers(lines, words, boundary, side)
        for chosen in product(*numbers.values()):
            # Every limit binds the lowest role, and conditions ask everybody alike.
            for role in (boundary.role or policy.ladder[0],) if boundary else policy.ladder:
                given = {"role": role, **{key: word for key, word in words.items() if word is not None}}
                if words["basis"] == GOODWILL:
                    del given["basis"]
                given |= {key: value for key, value in zip(numbers, chosen, strict=True) if value is not None}
                yield from self._amounts(given, words, line, boundary, side)

    def _numbers(
        self, lines: Iterable[Line], words: Words, boundary: Boundary | None, side: int
    ) -> dict[str, list[str | None]]:
        """What each number may be that these lines read: a value of every band, the plainest first; None: not given."""
        policy, cuts = self.policy, {meter.key: meter.cuts for meter in meters(self.policy, words)}
        numbers: dict[str, list[str | None]] = {}
        for name in dict.fromkeys(name for line in lines for name in facts_read(line)):
            if not policy.words.is_number(name) or name == "amount":
                continue
            is_money, key = policy.words.is_money(name), ("number", name)
            if boundary and boundary.reading == key:
                values: list[int | None] = [boundary.value(side)]
            else:
                plain = 100 * 10 ** digits_of(policy.currency) if is_money else 1
                values = [plain, *(cut + step for cut in cuts.get(key, ()) for step in (0, 1))]
                if name != "bill" and policy.facts[name].default is not None:
                    values.insert(0, None)
                elif name == "bill":
                    values.append(None)
            numbers[name] = [
                None if value is None else _plain(value, policy.currency) if is_money else str(value)
                for value in dict.fromkeys(values)
                if value is None or value >= 0 or not is_money
            ]
        return numbers

    def _amounts(
        self, given: Given, words: Words, line: Line | None, boundary: Boundary | None, side: int
    ) -> Iterator[Given]:
        """The request with an amount, and with what was used, so that the boundary's number is next to it."""
        kind = boundary.reading[0] if boundary else "number"
        target, unit = (boundary.value(side) if boundary else 0), 10 * 10 ** digits_of(self.policy.currency)
        if kind == "sum":
            yield self._asking(given, target)
        elif kind == "budget" and boundary:
            amount = min(target, unit)
            used = {"used": {boundary.line: {"amount": self._text(target - amount)}}} if target > amount else {}
            yield self._asking(given, amount) | used
        elif kind == "times" and boundary:
            on_case = {} if target else {"on_case": {given["remedy"]: self._text(1)}}
            used = {"used": {boundary.line: {"times": str(target - 1)}}} if target > 1 else {}
            yield self._asking(given, unit) | on_case | used
        elif kind in ("slack", "due"):
            assert isinstance(line, CeilingLine | OwedLine)
            left = left_under(self.policy, line) if isinstance(line, CeilingLine) else due_of(self.policy, line)
            try:
                request, _ = read_request(self.policy, self._asking(given, 0))
            except InvalidRequest:
                return
            if left(request, NO_USAGE) - target > 0:
                yield self._asking(given, left(request, NO_USAGE) - target)
        else:
            sums = [meter.cuts for meter in meters(self.policy, words) if meter.key[0] in ("sum", "budget")]
            for amount in dict.fromkeys([unit, *(cut + step for cuts in sums for cut in cuts for step in (0, 1)), 0]):
                yield self._asking(given, amount)

    def _asking(self, given: Given, amount: int) -> Given:
        return given | {"amount": self._text(min(max(amount, 0), MAX_MINOR))}

    def _text(self, minor: int) -> str:
        return _plain(minor, self.policy.currency)


# --- a test as text ---------------------------------------------------------------------------------------------------


def _plain(minor: int, currency: str) -> str:
    """An amount as people write it into a policy: ``30``, ``30.01``."""
    whole, _, rest = decimal_text(minor, currency).partition(".")
    return f"{whole}.{rest}" if rest.strip("0") else whole


_ORDER = ("role", "remedy", "category", "severity", "site", "basis", "amount", "bill")


def _as_test(policy: Policy, given: Given, reached: Iterable[Goal], names: set[str]) -> SuggestedTest:
    decision = decide(policy, *read_request(policy, given))
    shows = tuple(_shows(policy, goal) for goal in reached)
    money = format_minor(decision.amount.minor, policy.currency)
    name = f"{in_words(given['role'])} asks for {money} as {in_words(given['remedy'])}, {_answer(decision)}; {shows[0]}"
    numbered, count = name, 2
    while numbered in names:
        numbered, count = f"{name} ({count})", count + 1
    names.add(numbered)
    ordered = {key: given[key] for key in (*_ORDER, *given) if key in given}
    lines = [f"name: {_flow(numbered)}", f"given: {_flow(ordered)}", f"expect: {_flow(_expected(decision))}"]
    return SuggestedTest(numbered, "  - " + "\n    ".join(lines) + "\n", shows)


def _shows(policy: Policy, goal: Goal) -> str:
    if isinstance(goal, str):
        return f"{goal} decides"
    boundary, side = goal
    whose = f" of {in_words(boundary.role)}" if boundary.role else ""
    return f"{boundary.line}{whose}, {in_words_of(policy, boundary)}: {SIDES[side]}"


def _answer(decision: Decision) -> str:
    match decision.outcome:
        case Outcome.APPROVE:
            return "which is approved"
        case Outcome.ESCALATE:
            return f"which goes to {in_words(decision.to or '')}"
        case Outcome.DENY:
            return "which is denied"
    return "which lacks proof"


def _expected(decision: Decision) -> dict[str, Any]:
    because = {"because": list(decision.lines)}
    match decision.outcome:
        case Outcome.APPROVE:
            return {"approve": "true", **because}
        case Outcome.ESCALATE:
            second = {"second": decision.second} if decision.second else {}
            return {"escalate_to": decision.to, **second, **because}
        case Outcome.DENY:
            return {"deny": list(decision.lines)}
    return {"incomplete": list(decision.needs), **because}


_UNQUOTED = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]*( [A-Za-z0-9_./+;()-]+)*")


def _flow(value: Any) -> str:
    """YAML on one line."""
    match value:
        case dict():
            return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_flow, value)) + "]"
        case bool():
            return str(value).lower()
    text = str(value)
    if _UNQUOTED.fullmatch(text) and text.lower() not in ("null", "none"):
        return text
    return text if re.fullmatch(r"-?[0-9.]+", text) else json.dumps(text, ensure_ascii=False)
