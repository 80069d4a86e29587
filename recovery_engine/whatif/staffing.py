"""Whether the people of a staff directory suffice for the policies: what nobody could approve, before a customer asks.

Every kind of request at every site is decided for whoever is there, on a fresh case with all proof on file; and for
what is escalated, those are looked for who could approve it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import islice, product
from typing import NamedTuple

from recovery_engine.decide import compiled, decide
from recovery_engine.errors import Diagnostic, InvalidRequest, did_you_mean
from recovery_engine.model import NO_USAGE, Decision, FactValue, Outcome, OwnLimit, RecoveryRequest
from recovery_engine.money import MAX_MINOR, Money, format_minor
from recovery_engine.phrases import in_words
from recovery_engine.policy.own_limits import own_cell
from recovery_engine.policy.schema import ANYTHING, CeilingLine, Policy
from recovery_engine.policy.words import Problem
from recovery_engine.rules.cells import word_samples
from recovery_engine.rules.encoding import IN_NO_LIST, Word, word_classes
from recovery_engine.staff import Person, Staff
from recovery_engine.whatif.spans import Span, spans_in_words, without

NOBODY_ASKED, NOBODY_APPROVES, NO_SUCH_ROLE, NO_SUCH_SITE = "ST010", "ST011", "ST012", "ST013"
CHANGES_NOTHING, OTHER_CURRENCY, NOT_ALL = "ST014", "ST015", "ST016"

_MOST_SITUATIONS = 5_000
_MOST_SITES_NAMED = 8

APPROVER, SECOND = "approver", "second"


def check_staff(staff: Staff, policies: Iterable[Policy], day: date) -> tuple[Diagnostic, ...]:
    """What the people of a directory leave open under the policies in force on a business day.

    Sites at which nobody is asked or nobody could approve, roles and sites that no policy knows, own limits that change
    nothing. A directory that is a callback lists nobody, so that nothing can be found.
    """
    chosen = tuple(policies)
    found = list(_of_people(staff, chosen))
    for policy in chosen:
        found += _of_sites(staff, policy, day)
    return tuple(found)


# --- each person ------------------------------------------------------------------------------------------------------


def _of_people(staff: Staff, policies: tuple[Policy, ...]) -> Iterator[Diagnostic]:
    roles = tuple(dict.fromkeys(role for policy in policies for role in policy.ladder))
    listed = [policy.words.known("site") for policy in policies]
    any_site, sites = None in listed, {site for some in listed for site in some or ()}
    for person in staff.people:
        if person.role not in roles:
            problem = Problem(NO_SUCH_ROLE, f"`{person.role}` is on no ladder", did_you_mean(person.role, roles))
            yield staff.diagnostic(person, "role", problem)
        for site in person.sites or ():
            if not any_site and site not in sites:
                problem = Problem(NO_SUCH_SITE, f"no policy knows the site `{site}`", did_you_mean(site, sorted(sites)))
                yield staff.diagnostic(person, "sites", problem)
        if person.own_limit is not None:
            theirs = [policy for policy in policies if person.role in policy.ladder and _serves(policy, person)]
            yield from _of_own_limit(staff, person, person.own_limit, theirs)


def _serves(policy: Policy, person: Person) -> bool:
    known = policy.words.known("site")
    return known is None or person.sites is None or any(site in known for site in person.sites)


def _of_own_limit(staff: Staff, person: Person, own_limit: OwnLimit, policies: list[Policy]) -> Iterator[Diagnostic]:
    money = own_limit.at_most or own_limit.up_to
    assert money is not None
    for policy in policies:
        if policy.currency != money.currency:
            message = f"a limit in {money.currency}, and `{policy.policy}` decides in {policy.currency}"
            cure = "nothing this person asks for can be decided: keep a directory for each currency"
            yield staff.diagnostic(person, "limit", Problem(OTHER_CURRENCY, message, cure))
    same = [policy for policy in policies if policy.currency == money.currency]
    if same and not any(_changes(policy, policy.rank(person.role), own_limit) for policy in same):
        kind, may = ("at_most", "more than that") if own_limit.at_most else ("up_to", "less than that")
        message = f"`{kind}` changes nothing: no limit of {in_words(person.role)} is {may}"
        problem = Problem(CHANGES_NOTHING, message, "correct the amount, or delete the limit")
        yield staff.diagnostic(person, "limit", problem, "warning")


def _changes(policy: Policy, rank: int, own_limit: OwnLimit) -> bool:
    return any(
        own_cell(row, cells[rank], own_limit) != cells[rank]
        for line in policy.authority
        for row, cells in line.up_to.items()
    )


# --- each site --------------------------------------------------------------------------------------------------------


class Kind(NamedTuple):
    """People at a site who are alike in all that is decided about them, and how many they are."""

    rank: int
    own_limit: OwnLimit | None
    people: int


@dataclass
class _Gaps:
    """What was found at a site: amounts that nobody approves, by who asks ("" is whoever does) and what is lacking,
    each with an example; amounts that are settled, in some case, by who asks; amounts by the role that is asked.
    """

    unapproved: dict[tuple[str, str], dict[Span, str]] = field(default_factory=dict)
    settled: dict[str, set[Span]] = field(default_factory=dict)
    unasked: dict[str, set[Span]] = field(default_factory=dict)
    most: int | None = 0  # what somebody may give alone, None without limit
    cut_short: bool = False


def _of_sites(staff: Staff, policy: Policy, day: date) -> Iterator[Diagnostic]:
    rules = policy.with_owed((), {}).model_copy(update={"requires": (), "reason_codes": {}})  # all proof is on file
    classes, cuts = word_classes(rules), _cuts(rules)
    sites_by_message: dict[Problem, list[str]] = {}
    levels: dict[Problem, str] = {}
    known: dict[tuple[int, tuple[Kind, ...]], _Gaps] = {}
    alike: dict[tuple[str, str, str], Problem] = {}
    for site in _sites(staff, policy):
        kinds = _kinds(staff, policy, site, day)
        key = classes.get("site", {}).get(site or "", IN_NO_LIST), kinds
        if key not in known:
            known[key] = _Site(rules, site, kinds, classes, cuts).gaps()
        for level, problem in _said(policy, kinds, known[key], day):
            same = alike.setdefault((problem.code, problem.message, problem.help), problem)
            levels[same] = level
            sites_by_message.setdefault(same, []).append(site or "")
    for problem, sites in sites_by_message.items():
        where = f"at {_named(sites)}: " if any(sites) else ""
        placed = Problem(problem.code, f"{where}{problem.message}", problem.help)
        yield staff.diagnostic(None, "", placed, "warning" if levels[problem] == "warning" else "error")


def _sites(staff: Staff, policy: Policy) -> tuple[str | None, ...]:
    """The policy's sites; where it lists none, those that somebody is at, or a single one without a name."""
    known = policy.words.known("site")
    if known is None:
        known = tuple(dict.fromkeys(site for person in staff.people for site in person.sites or ()))
    return known or (None,)


def _named(sites: list[str]) -> str:
    shown = ", ".join(f"`{site}`" for site in sites[:_MOST_SITES_NAMED])
    return shown + (f" and {len(sites) - _MOST_SITES_NAMED} more" if len(sites) > _MOST_SITES_NAMED else "")


def _kinds(staff: Staff, policy: Policy, site: str | None, day: date) -> tuple[Kind, ...]:
    """Whoever is at the site and can be decided about, the lowest rank first."""
    counted = Counter(
        (policy.rank(person.role), person.own_limit)
        for person in staff.people
        if person.acts_at(site, day) and person.role in policy.ladder and _in_currency(person, policy)
    )
    some = [Kind(rank, own_limit, min(count, 3)) for (rank, own_limit), count in counted.items()]
    return tuple(sorted(some, key=lambda kind: (kind.rank, str(kind.own_limit))))


def _in_currency(person: Person, policy: Policy) -> bool:
    return person.own_limit is None or all(
        money is None or money.currency == policy.currency for money in person.own_limit
    )


def _said(policy: Policy, kinds: tuple[Kind, ...], gaps: _Gaps, day: date) -> Iterator[tuple[str, Problem]]:
    """What was found at a site, in words, without its name."""
    if not kinds:
        cure = "enter who is there, or take the site out of the policy"
        yield "error", Problem(NOBODY_ASKED, f"nobody who may act is there on {day}", cure)
        return
    most = "any amount" if gaps.most is None else format_minor(gaps.most, policy.currency)
    alone = f"the most that anybody there may give alone is {most}"
    for (who, lacking), examples in sorted(gaps.unapproved.items(), key=lambda gap: gap[0][0] != ""):
        asks = f"when {who} asks" if who else "whoever asks"
        second = " for want of a second person" if lacking == SECOND else ""
        cure = f"enter {'another person who may agree' if second else 'somebody who may'}, for this site too"
        never = without(examples, gaps.settled.get(who, ()))
        at_times = without(examples, never)
        if never:
            amounts = spans_in_words(never, policy.currency)
            yield "error", Problem(NOBODY_APPROVES, f"{amounts} cannot be approved{second}, {asks}; {alone}", cure)
        if at_times:
            amounts = spans_in_words(at_times, policy.currency)
            such = next(example for span, example in examples.items() if without([span], at_times) != (span,))
            message = f"{amounts} cannot be approved{second} in some cases, such as {such}, {asks}; {alone}"
            yield "error", Problem(NOBODY_APPROVES, message, cure)
    for role, spans in gaps.unasked.items():
        amounts = spans_in_words(spans, policy.currency)
        message = f"no {in_words(role)} is there on {day}, who is asked for {amounts}"
        cure = f"enter {_a(role)} for this site, or it waits until somebody higher answers"
        yield "warning", Problem(NOBODY_ASKED, message, cure)
    if gaps.cut_short:
        message = f"only the first {_MOST_SITUATIONS:,} kinds of request were looked at"
        yield "warning", Problem(NOT_ALL, message, "the policy tells more apart than can be tried: split it")


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {in_words(word)}"


def _cuts(rules: Policy) -> dict[str, frozenset[int]]:
    """The last value of every band of the bill and of the facts that are numbers, but the highest."""
    cuts: dict[str, set[int]] = {}
    for line in rules.lines():
        for asked in (line.when, line.unless or ANYTHING):
            for name, intervals in asked.numbers.items():
                if name != "amount":
                    ends = [low - 1 for low, _ in intervals if low is not None]
                    ends += [high for _, high in intervals if high is not None]
                    lowest = 0 if rules.words.is_money(name) else -MAX_MINOR
                    cuts.setdefault(name, set()).update(end for end in ends if lowest <= end < MAX_MINOR)
        if isinstance(line, CeilingLine):
            for basis in (line.of, line.per):
                if basis:
                    cuts.setdefault(basis, set())
    return {name: frozenset(ends) for name, ends in cuts.items()}


@dataclass(frozen=True)
class _Site:
    """One site with its people, under a policy that asks for no proof."""

    rules: Policy
    site: str | None
    kinds: tuple[Kind, ...]
    classes: Mapping[str, Mapping[Word, int]]
    cuts: Mapping[str, frozenset[int]]

    def gaps(self) -> _Gaps:
        gaps = _Gaps()
        if not self.kinds:
            return gaps
        situations = self.situations()
        for words, numbers in islice(situations, _MOST_SITUATIONS):
            for low, high in self.bands(words, numbers):
                self.look(gaps, words, numbers, (low, high))
        gaps.cut_short = next(situations, None) is not None
        return gaps

    def look(self, gaps: _Gaps, words: "_Words", numbers: "_Numbers", band: Span) -> None:
        """Decide for everybody there, on each side of what is reckoned by the bill or a fact."""
        amount = band[0] if band[1] is None else band[1]
        for figures in self.beside(numbers, amount):
            request = self.request(words, figures, amount)
            try:
                decided = {kind: self.decided(kind, request) for kind in self.kinds}
            except InvalidRequest:
                continue  # nobody could ask so
            lacking: dict[Kind, str] = {}
            settled = []
            for kind, decision in decided.items():
                if decision.outcome == Outcome.APPROVE:
                    gaps.most = None if gaps.most is None or decision.grantable_now is None else max(gaps.most, amount)
                    settled.append(kind)
                elif decision.outcome == Outcome.ESCALATE:
                    for role in (decision.to, decision.second):
                        if role and not any(one.rank == self.rules.rank(role) for one in self.kinds):
                            gaps.unasked.setdefault(role, set()).add(band)
                    lacks = self.lacking(kind, decided)
                    if lacks:
                        lacking[kind] = lacks
                    else:
                        settled.append(kind)
            for who in [*([""] if settled else []), *map(self.named, settled)]:
                gaps.settled.setdefault(who, set()).add(band)
            by_kind = {self.named(kind): lacks for kind, lacks in lacking.items()}
            if lacking and not settled:
                by_kind = {"": SECOND if set(lacking.values()) == {SECOND} else APPROVER}
            for who, lacks in by_kind.items():
                gaps.unapproved.setdefault((who, lacks), {}).setdefault(band, self.in_words(words, figures))

    def named(self, kind: Kind) -> str:
        """``a lead``, ``a lead whose own limit is $60.00``."""
        own = "".join(f" whose own limit is {money}" for money in kind.own_limit or () if money is not None)
        return _a(self.rules.ladder[kind.rank]) + own

    # --- who could approve it ---

    def lacking(self, asker: Kind, decided: Mapping[Kind, Decision]) -> str | None:
        """Whom an escalated request cannot find there: an approver or a second person; None where it finds both."""
        decision = decided[asker]
        if decision.rungs[asker.rank].may:  # the asker's own agreement is on file
            return None if self.anyone(decision.second, [asker]) else SECOND
        lacks = APPROVER
        for first in self.kinds:
            if first.rank < asker.rank or not _there(first, [asker]):
                continue
            if not self.may(decided[first], first.rank):
                continue
            second = decided[first].second
            if second is None or self.anyone(second, [asker, first]):
                return None
            lacks = SECOND
        return lacks

    def may(self, decision: Decision, rank: int) -> bool:
        """Whether a person may approve what somebody else asks for: `someone_else` is about the asker."""
        return set(decision.rungs[rank].stopped_by) <= {line.id for line in self.rules.someone_else}

    def anyone(self, role: str | None, besides: list[Kind]) -> bool:
        """Whether there is a person of a role or above, besides some."""
        least = 0 if role is None else self.rules.rank(role)
        return any(kind.rank >= least and _there(kind, besides) for kind in self.kinds)

    # --- what is asked for ---

    def decided(self, kind: Kind, request: RecoveryRequest) -> Decision:
        asked = {name: getattr(request, name) for name in _ASKED}
        role = self.rules.ladder[kind.rank]
        return decide(self.rules, RecoveryRequest(role=role, own_limit=kind.own_limit, **asked))

    def request(self, words: "_Words", numbers: "_Numbers", amount: int) -> RecoveryRequest:
        currency, facts = self.rules.currency, self.rules.facts
        given: dict[str, FactValue] = {name: word for name, word in words.items() if name in facts and word is not None}
        for name, value in numbers.items():
            if name in facts and value is not None:
                given[name] = Money(value, currency) if facts[name].kind == "money" else value
        for name, fact in facts.items():
            if fact.default is None and fact.kind in ("number", "money"):
                given.setdefault(name, Money(0, currency) if fact.kind == "money" else 0)
        bill = numbers.get("bill")
        return RecoveryRequest(
            role=self.rules.ladder[0],
            remedy=str(words["remedy"]),
            amount=Money(amount, currency),
            site=self.site,
            category=_text(words.get("category")),
            severity=_text(words.get("severity")),
            bill=None if bill is None else Money(bill, currency),
            facts=given,
        )

    def situations(self) -> Iterator[tuple["_Words", "_Numbers"]]:
        """Every combination of words and of bands of numbers that a request at this site may have."""
        told_apart = {name: codes for name, codes in self.classes.items() if name not in ("site", "basis")}
        choices: list[list[int | None]] = [
            [MAX_MINOR, *sorted(ends, reverse=True), *([None] if name == "bill" else [])]
            for name, ends in self.cuts.items()
        ]
        for words in word_samples(self.rules, told_apart):
            for values in product(*choices):
                yield words, dict(zip(self.cuts, values, strict=True))

    def bands(self, words: "_Words", numbers: "_Numbers") -> Iterator[Span]:
        """Amounts among which no line and no own limit tells one from another; 0 is a band of its own."""
        try:
            seat = compiled(self.rules).seat(self.request(words, numbers, 0), NO_USAGE)
        except InvalidRequest:
            return
        cuts = {cut for meter in seat.meters if meter.key[0] in ("sum", "budget") for cut in meter.cuts}
        cuts |= {money.minor for kind in self.kinds for money in kind.own_limit or () if money is not None}
        for ceiling in self.rules.ceilings:
            for name, at in ((ceiling.of, ceiling.percent), (ceiling.per, ceiling.each)):
                value = numbers.get(name or "")
                if at is not None and value is not None:
                    cuts.add(value * at // 10000 if name == ceiling.of else value * at)
        low = 0
        for cut in sorted({0, *(cut for cut in cuts if 0 < cut < MAX_MINOR)}):
            yield low, cut
            low = cut + 1
        yield low, None

    def beside(self, numbers: "_Numbers", amount: int) -> Iterator["_Numbers"]:
        """The figures as they are; and on both sides of where a ceiling begins to hold, within the same bands."""
        edges: dict[str, list[int | None]] = {name: [value] for name, value in numbers.items()}
        for ceiling in self.rules.ceilings:
            for name, each, unit in ((ceiling.of, ceiling.percent, 10000), (ceiling.per, ceiling.each, 1)):
                highest = numbers.get(name or "")
                if name and each and highest is not None:
                    edge = -(-unit * amount // each)
                    below = max((cut for cut in self.cuts[name] if cut < highest), default=-1)
                    edges[name] += [value for value in (edge - 1, edge) if below < value < highest]
        for values in product(*(dict.fromkeys(values) for values in edges.values())):
            yield dict(zip(edges, values, strict=True))

    def in_words(self, words: "_Words", numbers: "_Numbers") -> str:
        """``refund, severity major, bill $80.00``."""
        named = [] if self.rules.words.known("remedy") is None else [in_words(str(words["remedy"]))]
        for name, word in words.items():
            if name != "remedy" and word is not None:
                named.append(f"{in_words(name)} {str(word).lower() if isinstance(word, bool) else word}")
        for name, value in numbers.items():
            if value is None:
                named.append(f"no {in_words(name)}")
            elif value != MAX_MINOR:
                is_money = self.rules.words.is_money(name)
                named.append(f"{in_words(name)} {format_minor(value, self.rules.currency) if is_money else value}")
        return ", ".join(named) or "any"


_Words = Mapping[str, Word | None]
_Numbers = Mapping[str, int | None]
_ASKED = ("remedy", "amount", "site", "category", "severity", "bill", "facts")


def _there(kind: Kind, besides: list[Kind]) -> bool:
    """Whether there is one more person of a kind, besides some."""
    return kind.people > besides.count(kind)


def _text(word: Word | None) -> str | None:
    return word if isinstance(word, str) else None
