"""A policy ready to decide: requests with the same words sit together, and a cell once decided is remembered.

A seat gathers the requests with the same words, role and proof. The figures of a request fall into bands, which name
its cell; a ruling is constant on its cell, so that remembering it is exact.
"""

from bisect import bisect_left
from collections.abc import Mapping
from datetime import date
from operator import attrgetter
from typing import Any

from recovery_engine.errors import Diagnostic, InvalidRequest, PolicyError
from recovery_engine.explain import Explainer
from recovery_engine.model import FAULT, NO_USAGE, OWED, Decision, Outcome, RecoveryRequest, Rung, Usage
from recovery_engine.money import MAX_MINOR, Money
from recovery_engine.policy.reading import MISSING, problem, problems_of
from recovery_engine.policy.schema import Policy
from recovery_engine.policy.words import Problem, read_new_word
from recovery_engine.rules import durable, reference
from recovery_engine.rules.cells import BUILT_IN_WORDS, Meter, facts_read, may_fit, meters, used_lines
from recovery_engine.rules.encoding import IN_NO_LIST, NOT_GIVEN, Encoding, Word, word_classes
from recovery_engine.rules.fold import Bench, Proof, Ruling, fold
from recovery_engine.rules.readings import Reading
from recovery_engine.rules.reference import Match
from recovery_engine.rules.room import Room, Rooms

# What is remembered is bounded: a seat takes some 10 KB, a cell some 5.
_MOST_SEATS = 10_000
_MOST_CELLS = 20_000


def matcher_in_service() -> tuple[str, str]:
    """Which matchers serve, ``both`` or ``reference``, and why not both."""
    return ("both", "") if durable.AVAILABLE else ("reference", durable.WHY_NOT)


_KINDS = {"flag": "true or false", "number": "a whole number", "money": "an amount", "one_of": "a word"}

_RAW = attrgetter("role", "remedy", "basis", "category", "severity", "site")

# By identity, because 1 == True: a flag is true, false or not given, and nothing that merely equals one.
_FLAGS = {id(True): True, id(False): False, id(None): None}


class _AnyWord(dict[Any, int]):
    """Codes of words where the policy lists none: whatever is a word will do."""

    def __init__(self, codes: dict[Word, int], name: str) -> None:
        super().__init__(codes)
        self._name = name

    def __missing__(self, word: object) -> int:
        try:
            read_new_word(word, self._name)
        except Problem:
            raise KeyError(word) from None
        return IN_NO_LIST


class Compiled:
    """A policy, its codes, its two matchers, and what they have already found."""

    def __init__(self, policy: Policy, owed_under: Policy | None = None) -> None:
        self.policy, self._owed_under = policy, owed_under
        self.rules = policy if owed_under is None else policy.with_owed(owed_under.owed, owed_under.facts)
        self.classes = word_classes(self.rules)
        self.encoding = _encoding(self.rules, self.classes)
        self.matcher = matcher_in_service()[0]
        self._seats: dict[tuple[Any, ...], Seat] = {}
        self._meters: dict[tuple[Reading, tuple[int, ...]], Meter] = {}
        self._seats_by_class: dict[tuple[Any, ...] | None, Seat] = {}
        self.cells = 0  # how many are remembered
        facts = self.rules.facts
        self._flags = tuple(name for name, fact in facts.items() if fact.kind == "flag")
        self._word_facts = tuple(name for name, fact in facts.items() if fact.kind == "one_of")
        self._codes = {name: self._codes_of(name) for name in (*BUILT_IN_WORDS, *self._word_facts)}
        self._numbers = tuple(
            (name, fact.kind == "money") for name, fact in facts.items() if fact.kind in ("number", "money")
        )
        self._fact_names = facts.keys()
        self._ranks = {role: rank for rank, role in enumerate(policy.ladder)}
        self._reads_reason = bool(policy.reason_codes)
        self._budget_ids = frozenset(line.id for line in policy.budgets)
        self._evidence = frozenset(item for line in policy.requires for item in line.evidence)

    def decide(self, request: RecoveryRequest, usage: Usage) -> Decision:
        """The whole decision on one request."""
        seat = self.seat(request, usage)
        ruling, room = seat.ruling(request, usage)
        policy, ladder = self.policy, self.policy.ladder
        most = room.most(request, usage)
        lines, rungs, due = ruling.lines, ruling.rungs, None
        if room.basis == OWED and lines != (FAULT,):
            lines, rungs, due = self._owed(seat, ruling, request, usage)
        return Decision(
            ruling.outcome,
            request,
            None if ruling.to is None else ladder[ruling.to],
            None if ruling.second is None else ladder[ruling.second],
            ruling.needs,
            lines,
            rungs,
            None if most is None else Money(most, policy.currency),
            due,
            policy.ref,
            self.matcher if lines != (FAULT,) else "fault",
            Explainer(self, seat, ruling, request, usage),
        )

    def _owed(
        self, seat: "Seat", ruling: Ruling, request: RecoveryRequest, usage: Usage
    ) -> tuple[tuple[str, ...], tuple[Rung, ...], Money]:
        """The deciding lines and rungs with only the owed line that counts, and what is due by it."""
        fitting = [cap.line for cap in ruling.caps]
        highest, due = seat.rooms.highest_owed(fitting, request, usage)

        def that_count(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(name for name in names if name not in fitting or name == highest)

        rungs = tuple(Rung(rung.role, that_count(rung.stopped_by)) for rung in ruling.rungs)
        return that_count(ruling.lines), rungs, Money(due, self.policy.currency)

    def where(self, line: str) -> str:
        """``file:line`` of a deciding line."""
        elsewhere = self._owed_under is not None and any(owed.id == line for owed in self._owed_under.owed)
        return (self._owed_under if elsewhere and self._owed_under else self.policy).where(line)

    # --- from a request to its seat ---

    def seat(self, request: RecoveryRequest, usage: Usage) -> "Seat":
        """The seat of a request that is valid. Raises InvalidRequest."""
        try:
            words = self._raw_words(request)
            seat = self._seats.get(words)
            classes = None if seat else self._key(request)
            valid = self._figures_valid(request) and (usage is NO_USAGE or self._usage_valid(usage))
        except (KeyError, TypeError, AttributeError):  # of another type, or not among the policy's words: say what
            found = self.problems(request, usage)
            if not found:
                raise
            raise InvalidRequest(found) from None
        if valid:
            seat = seat or self._take_seat(words, classes, request)
            if seat.has_facts(request):
                return seat
        raise InvalidRequest(self.problems(request, usage))

    def _raw_words(self, request: RecoveryRequest) -> tuple[Any, ...]:
        """Everything but the figures, as it stands in the request; raises TypeError where it is no text."""
        facts, reason, note = request.facts, request.reason, request.note
        for item in request.evidence if reason is None else (*request.evidence, reason):
            if type(item) is not str:
                raise TypeError(item)
        raw: list[Any] = [
            _RAW(request),
            request.evidence & self._evidence,  # type: ignore[operator]
            note is not None and str.strip(note) != "",
            reason if self._reads_reason else reason is not None,
        ]
        for name in self._word_facts:
            raw.append(facts.get(name))
        for name in self._flags:
            raw.append(_FLAGS[id(facts.get(name))])
        return tuple(raw)

    def _take_seat(self, words: tuple[Any, ...], classes: tuple[Any, ...] | None, request: RecoveryRequest) -> "Seat":
        """The seat of others of the same classes, or a new one."""
        if len(self._seats) >= _MOST_SEATS:
            self.forget()
        seat = self._seats_by_class.get(classes)
        if seat is None:
            seat = self._seats_by_class[classes] = Seat(self, request)
        self._seats[words] = seat
        return seat

    def forget(self) -> None:
        """Start again with nothing remembered; a seat in use is let go with its cells."""
        self._seats, self._seats_by_class, self._meters, self.cells = {}, {}, {}, 0

    def _key(self, request: RecoveryRequest) -> tuple[Any, ...]:
        """The classes of a request's words; raises KeyError or TypeError where a word is not known."""
        codes, facts = self._codes, request.facts
        if request.reason is not None and self._reads_reason:
            if request.reason not in self.rules.reason_codes.get(request.category or "", ()):
                raise KeyError(request.reason)
        return (
            self._ranks[request.role],
            *[codes[name][getattr(request, name)] for name in BUILT_IN_WORDS],
            *[codes[name][facts.get(name)] for name in self._word_facts],
            *[_FLAGS[id(facts.get(name))] for name in self._flags],
            request.evidence & self._evidence,  # type: ignore[operator]
            self.proof_of(request)[1:],
        )

    def _figures_valid(self, request: RecoveryRequest) -> bool:
        currency, amount, bill = self.policy.currency, request.amount, request.bill
        facts: Any = request.facts
        if type(amount.minor) is not int or not 0 <= amount.minor <= MAX_MINOR or amount.currency != currency:
            return False
        if bill is not None:
            if type(bill.minor) is not int or not 0 <= bill.minor <= MAX_MINOR or bill.currency != currency:
                return False
        for name, is_money in self._numbers:
            value = facts.get(name)
            if value is None:
                continue
            if is_money:
                if type(value) is not Money or value.currency != currency or type(value.minor) is not int:
                    return False
                if not 0 <= value.minor <= MAX_MINOR:
                    return False
            elif type(value) is not int or not -MAX_MINOR <= value <= MAX_MINOR:
                return False
        if type(facts) is not dict and not isinstance(facts, Mapping):
            return False
        if facts and not facts.keys() <= self._fact_names:
            return False
        return request.occurred_on is None or type(request.occurred_on) is date

    def _usage_valid(self, usage: Usage) -> bool:
        remedies, total = self._codes["remedy"], 0
        for sums in (usage.on_case, usage.owed_on_case):
            for remedy, amount in sums.items():
                remedies[remedy]
                if type(amount) is not int or amount < 0:
                    return False
                total += amount
        for used in usage.used.values():
            if type(used.amount) is not int or type(used.times) is not int or used.amount < 0 or used.times < 0:
                return False
            total = max(total, used.amount)
        return total <= MAX_MINOR and usage.used.keys() <= self._budget_ids

    def _codes_of(self, name: str) -> dict[Any, int]:
        """The code of every word that a field may hold; None too, where it may be left out."""
        classes, known = self.classes.get(name, {}), self.rules.words.known(name)
        codes: dict[Any, int] = (
            _AnyWord(classes, name) if known is None else {word: classes.get(word, IN_NO_LIST) for word in known}
        )
        if name not in ("remedy", "basis") and not (
            known is not None and name in BUILT_IN_WORDS and name in self.classes
        ):
            codes[None] = NOT_GIVEN
        return codes

    def words_of(self, request: RecoveryRequest) -> dict[str, Word | None]:
        """The words that lines test, defaults filled in."""
        words: dict[str, Word | None] = {name: getattr(request, name) for name in BUILT_IN_WORDS}
        for name, fact in self.rules.facts.items():
            if fact.kind in ("flag", "one_of"):
                value = request.facts.get(name)
                words[name] = fact.default if value is None else value  # type: ignore[assignment]
        return words

    def proof_of(self, request: RecoveryRequest) -> Proof:
        """What is on file."""
        note = request.note is not None and bool(request.note.strip())
        return Proof(frozenset(request.evidence), note, request.reason is not None)

    def facts_asked(self, words: Mapping[str, Word | None]) -> dict[str, str]:
        """The facts without default that requests with these words must bring, each with a line that reads it."""
        asked: dict[str, str] = {}
        for line in used_lines(self.rules, str(words["basis"])):
            if may_fit(line, words, BUILT_IN_WORDS):
                for name in facts_read(line):
                    if name in self.rules.facts and self.rules.facts[name].default is None:
                        asked.setdefault(name, line.id)
        return asked

    def problems(self, request: RecoveryRequest, usage: Usage) -> list[Diagnostic]:
        """Everything wrong with a request."""
        found = list(problems_of(self.rules, request, usage))
        for name in ("category", "severity", "site"):
            if getattr(request, name) is None and None not in self._codes[name]:
                known = ", ".join(f"`{word}`" for word in (self.rules.words.known(name) or ())[:8])
                found.append(problem(MISSING, name, f"no {name}, and the policy reads it", f"one of {known}"))
        if not any(diagnostic.where in ("basis", "facts") for diagnostic in found):
            for name, line in self.facts_asked(self.words_of(request)).items():
                if request.facts.get(name) is None:
                    cure = f"give {_KINDS[self.rules.facts[name].kind]}"
                    found.append(problem(MISSING, name, f"no {name}, and `{line}` reads it", cure))
        return list(dict.fromkeys(found))

    # --- from a cell to its ruling ---

    def same(self, meter: Meter) -> Meter:
        """The one meter of its kind: a till asks the same few again and again, and they stay at hand."""
        return self._meters.setdefault((meter.key, meter.cuts), meter)

    def found(self, words: Mapping[str, Word | None], readings: Mapping[Reading, int | None]) -> Match | str:
        """What both matchers find on a cell; where they do not agree or durable-rules fails, why."""
        found = reference.match(self.rules, words, readings)
        if self.encoding is None:
            return found
        try:
            durables = self.encoding.match(words, readings)
        except (durable.MatcherFault, ValueError, MemoryError) as error:
            return str(error) or type(error).__name__
        if durables == found:
            return found
        apart = ", ".join(sorted("/".join(map(str, finding)) for finding in durables ^ found))
        return f"the two matchers do not agree on {apart}"

    def faulty(self, why: str) -> Ruling:
        """Fail closed: nobody may on the spot, the top of the ladder is asked."""
        rungs = tuple(Rung(role, (FAULT,)) for role in self.policy.ladder)
        return Ruling(Outcome.ESCALATE, len(rungs) - 1, None, (), (FAULT,), rungs, (), (), True, why)


def _encoding(policy: Policy, classes: Mapping[str, Mapping[Word, int]]) -> Encoding | None:
    if not durable.AVAILABLE:
        return None
    try:
        return Encoding(policy, classes)
    except durable.RulesetTooLarge as too_large:
        subject = f"`{too_large.rule}`" if too_large.rule else "the policy"
        message = f"{subject} is too large to decide safely: {too_large}"
        cure = "split the policy, for example by group of sites, or name fewer words in one line"
        raise PolicyError([Diagnostic("RP015", "error", policy.where(too_large.rule), message, cure)]) from None


class Seat:
    """Where requests with the same words, role and proof sit: what to read about them, and the rulings so far."""

    def __init__(self, compiled: Compiled, request: RecoveryRequest) -> None:
        rules = compiled.rules
        self.compiled = compiled
        self.words: Mapping[str, Word | None] = compiled.words_of(request)
        self.rank = compiled.policy.rank(request.role)
        self.meters = tuple(compiled.same(meter) for meter in meters(rules, self.words))
        self.asked = tuple(compiled.facts_asked(self.words))
        self._bench = Bench(rules, self.words, self.rank, compiled.proof_of(request))
        self.rooms = Rooms(rules, self.words, self._bench)
        self._bands = tuple((meter.read, meter.cuts) for meter in self.meters)
        self._rulings: dict[tuple[int, ...], Ruled] = {}
        # On a case that had nothing yet, every sum is the amount: one band of all their cuts will do.
        sums = [meter for meter in self.meters if meter.key[0] in ("sum", "budget")]
        self._cuts = sorted({cut for meter in sums for cut in meter.cuts})
        self._other_bands = tuple((meter.read, meter.cuts) for meter in self.meters if meter not in sums)
        self._first_rulings: dict[tuple[int, ...], Ruled] = {}

    def has_facts(self, request: RecoveryRequest) -> bool:
        """Whether the facts that its lines read are all there."""
        facts = request.facts
        for name in self.asked:  # noqa: SIM110  (all() costs twice as much here, at every decision)
            if facts.get(name) is None:
                return False
        return True

    def ruling(self, request: RecoveryRequest, usage: Usage) -> "Ruled":
        """The ruling on the request's cell, from memory or by both matchers, and the room it leaves."""
        amount = request.amount.minor
        if usage.on_case or usage.owed_on_case or usage.used:
            rulings, bands, cell = self._rulings, self._bands, [int(amount == 0)]
        else:
            rulings, bands = self._first_rulings, self._other_bands
            cell = [bisect_left(self._cuts, amount) if amount else -1]
        for read, cuts in bands:
            value = read(amount, request, usage)
            cell.append(-1 if value is None else bisect_left(cuts, value))
        key = tuple(cell)
        return rulings.get(key) or self._rule(rulings, key, request, usage)

    def _rule(
        self, rulings: "dict[tuple[int, ...], Ruled]", cell: tuple[int, ...], request: RecoveryRequest, usage: Usage
    ) -> "Ruled":
        amount, compiled = request.amount.minor, self.compiled
        readings = {meter.key: meter.read(amount, request, usage) for meter in self.meters}
        ruling, match = self.rule_on(readings, amount == 0)
        ruled = ruling, self.rooms.room(readings, match, ruling)
        if not ruling.fault:  # a fault may pass: it is not remembered
            if compiled.cells >= _MOST_CELLS:
                compiled.forget()
            rulings[cell] = ruled
            compiled.cells += 1
        return ruled

    def rule_on(self, readings: Mapping[Reading, int | None], at_no_cost: bool) -> tuple[Ruling, Match]:
        """The ruling on the cell of these readings, and what both matchers find on it; it is not remembered."""
        return self.rule(self.compiled.found(self.words, readings), at_no_cost)

    def rule(self, match: Match | str, at_no_cost: bool) -> tuple[Ruling, Match]:
        """The ruling on a cell where this was found, or why nothing was; what is found is the same for every role."""
        if isinstance(match, str):
            return self.compiled.faulty(match), frozenset()
        return fold(self._bench, match, at_no_cost), match


Ruled = tuple[Ruling, Room]
