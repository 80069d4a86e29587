"""Lint: what it says about all requests is true of them, judged by deciding many without what it found."""

import re
from dataclasses import replace
from random import Random

import pytest
from asking import CLASSIC, HEAD
from regions import answer
from strategies import LARGEST, RequestWriter, random_policy

from recovery_engine import (
    LINT_CODES,
    Lint,
    LintFinding,
    Money,
    Outcome,
    Policy,
    RecoveryRequest,
    Usage,
    decide,
    lint_policy,
    lint_policy_file,
    parse_policy,
    shipped_policies,
)
from recovery_engine.policy.schema import SECTIONS, Promise
from recovery_engine.whatif import diagram, seeking
from recovery_engine.whatif.lint_codes import BASE

pytestmark = pytest.mark.slow


def lint(text: str) -> Lint:
    found = lint_policy(text, "policy.yaml")
    assert found.policy is not None, [str(one.diagnostic) for one in found.findings]
    return found


def said(text: str, *codes: str) -> list[str]:
    """What is found, as ``line CODE message``."""
    return [
        f"{one.diagnostic.line} {one.diagnostic.code} {one.diagnostic.message}"
        for one in lint(text).findings
        if not codes or one.diagnostic.code in codes
    ]


# --- what a careful reviewer looks for ---


def test_a_promise_that_does_not_hold_is_broken_by_a_request_that_is_shown() -> None:
    text = CLASSIC + "promises:\n  - {id: lead-stops-at-200, never: approve, when: {role: lead, amount: over 200}}\n"
    (finding,) = [one for one in lint(text).findings if one.diagnostic.code == "RP101"]
    assert finding.diagnostic.message == (
        "`lead-stops-at-200` is broken: `lead` asks for $200.01 refund, and it is approved by `standard`"
    )
    assert finding.shown_by is not None
    assert decide(parse_policy(text), *finding.shown_by).outcome == Outcome.APPROVE
    assert lint(text).proven == ()


def test_a_promise_speaks_of_what_is_owed_only_where_it_says_so() -> None:
    owed = "owed:\n  - {id: late, remedy: refund, amount: 80}\n"
    never = "promises:\n  - {id: none, never: approve, when: {role: clerk, amount: from 60 to 70%s}}\n"
    small = HEAD + "authority:\n  - {id: standard, up_to: {total: [50, 250, 500]}}\n" + owed
    assert lint(small + never % "").proven == ("none",)
    assert said(small + never % ", basis: owed", "RP101") == [
        "9 RP101 `none` is broken: `clerk` asks for $60.00 refund as owed, and it is approved by `late`"
    ]
    assert said(small + never % ", basis: [goodwill, owed]", "RP101")


def test_a_promise_of_who_is_asked_is_kept_only_by_that_role() -> None:
    to_lead = "promises:\n  - {id: next, always: {escalate_to: lead}, when: {role: clerk, amount: from %s to 250}}\n"
    assert lint(CLASSIC + to_lead % "100.01").proven == ("next",)
    assert said(CLASSIC + to_lead % "100", "RP101") == [
        "7 RP101 `next` is broken: `clerk` asks for $100.00 refund, and it is approved by `standard`"
    ]


def test_a_promise_about_nothing_is_not_called_proven() -> None:
    text = CLASSIC + "promises:\n  - {id: x, always: deny, when: {role: clerk, bill: over 5}, unless: {role: clerk}}\n"
    assert said(text, "RP103") == ["7 RP103 `x` speaks of no request: nothing can fit its conditions"]
    assert lint(text).proven == ()


def test_a_line_that_is_masked_is_named_with_its_mask() -> None:
    text = CLASSIC + (
        "facts: {days: {number: true}}\n"
        "deny:\n  - {id: late, when: {days: over 60}}\n  - {id: very-late, when: {days: over 90}}\n"
    )
    assert said(text, "RP110") == ["9 RP110 `very-late` changes no decision: `late` masks it"]


def test_a_masked_denial_that_tells_the_customer_something_else_is_a_note() -> None:
    text = CLASSIC + (
        "facts: {days: {number: true}}\n"
        "deny:\n  - {id: late, when: {days: over 60}}\n  - {id: older, when: {days: over 90}, say: Too old}\n"
    )
    (finding,) = [one for one in lint(text).findings if one.diagnostic.code == "RP110"]
    assert finding.diagnostic.level == "note"
    assert finding.diagnostic.message.endswith("what the customer is told may differ")


def test_two_equal_lines_mask_each_other() -> None:
    text = CLASSIC + "four_eyes:\n  - {id: a, when: {amount: over 5}, second: lead}\n"
    text += "  - {id: b, when: {amount: over 5}, second: lead}\n"
    assert said(text, "RP110") == [
        "7 RP110 `a` changes no decision: `b` masks it",
        "8 RP110 `b` changes no decision: `a` masks it",
    ]


def test_an_owed_line_that_is_never_the_highest_changes_nothing() -> None:
    text = CLASSIC + "owed:\n  - {id: more, remedy: refund, amount: 80}\n  - {id: less, remedy: refund, amount: 60}\n"
    assert said(text, "RP110") == ["8 RP110 `less` changes no decision: `more` masks it"]


def test_limits_that_never_bind_are_found_whole_and_in_part() -> None:
    text = CLASSIC + (
        "ceilings:\n  - {id: cap, amount: 400}\n  - {id: high, when: {remedy: refund}, amount: 450}\n"
        "  - {id: half, when: {remedy: voucher}, amount: 410, percent: 50, of: bill}\n"
        "budgets:\n  - {id: month, per: customer, every: month, amount: 50, times: 2}\n"
        "  - {id: loose, per: customer, every: month, amount: 60}\n"
    )
    assert said(text, "RP111") == [
        "8 RP111 `high` can never bind: `cap` masks it",
        "9 RP111 `half` decides every request alike without `amount`",
        "12 RP111 `loose` can never bind: `month` masks it",
    ]


def test_a_cell_that_is_never_reached_is_told_from_one_that_repeats_the_total() -> None:
    text = HEAD + "authority:\n  - {id: standard, up_to: {total: [100, 250, 500], refund: [50, 250, 600]}}\n"
    assert said(text, "RP112") == [
        "5 RP112 `manager` never gets as far as $600.00 of `refund`: other limits stop it before"
    ]
    assert said(text, "RP020") == []  # it is proven, so that it need not be suspected


def test_the_end_of_the_ladder_is_a_note() -> None:
    assert said(CLASSIC) == ["5 RP122 `manager` is the last who may give `total`: beyond $500.00 it is denied"]
    assert said(CLASSIC.replace("500", "unlimited")) == []


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("deny:\n  - {id: x, when: {flagged: true}, unless: {tier: a, flagged: false}}", "`unless`"),
        ("deny:\n  - {id: x, when: {flagged: true, tier: [a, b]}}", "the condition on `tier`"),
        ("requires:\n  - {id: y, evidence: [r]}\n  - {id: x, when: {amount: over 5}, evidence: [r, p]}", "`r`"),
        ("requires:\n  - {id: y, note: true}\n  - {id: x, evidence: [r], note: true}", "`note`"),
        ("owed:\n  - {id: x, remedy: refund, amount: 80, on_top: true}", None),
        ("ceilings:\n  - {id: y, amount: 80}\n  - {id: x, amount: 50, binds_below: manager}", None),
    ],
)
def test_a_part_that_changes_nothing_is_found(line: str, what: str | None) -> None:
    text = CLASSIC + "facts: {flagged: {flag: true}, tier: {one_of: [a, b]}}\n" + line + "\n"
    found = [one.partition("`x` decides every request alike without ")[2] for one in said(text, "RP113")]
    assert found == ([what] if what else [])


def test_a_remedy_without_a_row_is_never_given() -> None:
    text = HEAD + "remedies: [refund, voucher]\nauthority:\n  - {id: standard, up_to: {refund: [100, 250, 500]}}\n"
    assert said(text, "RP120", "RP121") == ["4 RP120 nobody can ever give `voucher`"]
    assert said(text + "owed:\n  - {id: late, remedy: voucher, amount: 5}\n", "RP120") == []
    assert said(text.replace("refund: [", "voucher: [0, 0, 0], refund: ["), "RP120") == []  # at no cost it may be given


def test_a_denial_that_is_written_down_is_no_gap() -> None:
    text = CLASSIC + "deny:\n  - {id: no-vouchers, when: {remedy: voucher}}\n"
    assert said("remedies: [refund, voucher]\n" + text, "RP120", "RP121") == []


def test_requests_that_no_row_is_for_are_a_gap_in_words() -> None:
    text = (
        HEAD
        + "severities: [minor, major]\nauthority:\n  - {id: a, when: {severity: major}, up_to: {total: [1, 2, 3]}}\n"
    )
    assert said(text, "RP121") == ["5 RP121 nobody may where severity is minor: no line has a row for it"]


def test_a_single_value_between_two_lines_is_found() -> None:
    text = CLASSIC + "requires:\n  - {id: a, when: {amount: under 100}, note: true}\n"
    hole = text + "  - {id: b, when: {amount: over 100}, evidence: [r]}\n"
    assert said(hole, "RP123") == ["7 RP123 neither `a` nor `b` fits where `amount` is exactly $100.00"]
    assert said(hole.replace("over 100", "at least 100"), "RP123") == []
    other = "  - {id: b, when: {amount: over 100, severity: major}, evidence: [r]}\n"
    apart = text.replace("under 100", "under 100, severity: minor") + other
    assert said(apart, "RP123") == []


def test_a_ladder_that_goes_down_shows_who_may_and_who_may_not() -> None:
    text = CLASSIC + "  - {id: grave, when: {severity: major}, up_to: {total: [300, same, same]}}\n"
    (finding,) = [one for one in lint(text).findings if one.diagnostic.code == "RP130"]
    assert finding.diagnostic.message == "`clerk` may give $250.01 refund and `lead`, which is higher, may not"
    assert finding.shown_by is not None
    request, usage = finding.shown_by
    policy = parse_policy(text)
    assert decide(policy, replace(request, role="clerk"), usage).outcome == Outcome.APPROVE
    assert decide(policy, request, usage).outcome == Outcome.ESCALATE


def test_a_rung_that_nobody_steps_on_is_a_note() -> None:
    assert said(CLASSIC.replace("250", "100"), "RP131") == [
        "3 RP131 `lead` is never asked: there is nothing that it may give and the roles below may not"
    ]


def test_times_to_answer_belong_to_those_who_are_asked() -> None:
    way_up = "escalation:\n  answer_within: {clerk: 5 minutes, lead: 5 minutes}\n"
    assert said(CLASSIC + way_up, "RP150", "RP151") == [
        "7 RP151 `manager` is asked and has no time to answer: what it does not answer waits for ever",
        "7 RP150 `clerk` has a time to answer, and is never asked",
    ]
    own = "someone_else:\n  - {id: own, when: {site: S1}}\n"
    assert said(CLASSIC + own + way_up, "RP150") == []


def test_facts_and_words_that_no_line_reads() -> None:
    text = HEAD + (
        "severities: [minor, major, grave]\ncategories: [delay, noise]\n"
        "facts: {age: {number: true}, tier: {one_of: [a, b, c]}}\n"
        "authority:\n  - {id: a, up_to: {total: [1, 2, 3]}}\n"
        "deny:\n  - {id: b, when: {severity: [minor, major], tier: a}}\n"
    )
    assert said(text, "RP140", "RP141") == [
        "4 RP141 no line tells apart `minor`, `major` of `severity`",
        "5 RP141 no line tells apart all words of `category`",
        "6 RP140 no line reads the fact `age`",
        "6 RP141 no line tells apart `b`, `c` of `tier`",
    ]


# --- complete or not ---


def test_what_was_cut_short_is_not_called_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    text = CLASSIC + "promises:\n  - {id: p, never: approve, when: {role: clerk, amount: over 100}}\n"
    assert lint(text).complete
    monkeypatch.setattr(diagram.Diagram.__init__, "__defaults__", (None, 1))
    found = lint(text)
    assert (found.complete, found.proven) == (False, ())
    assert {one.diagnostic.code for one in found.findings} >= {"RP102", "RP190"}


def test_the_cells_that_were_examined_are_counted() -> None:
    assert 0 < lint(CLASSIC).cells < lint(shipped_policies()["hotel"].read_text(encoding="utf-8")).cells


def test_of_a_policy_with_mistakes_only_these_are_told() -> None:
    found = lint_policy(CLASSIC.replace("ladder", "laddr"), "policy.yaml")
    assert found.policy is None
    assert not found.complete
    assert {one.diagnostic.level for one in found.findings} == {"error"}


@pytest.mark.parametrize("name", sorted(shipped_policies()))
def test_the_starter_policies_have_nothing_but_notes(name: str) -> None:
    found = lint_policy_file(name)
    assert found.complete
    assert found.policy is not None
    assert found.proven == tuple(promise.id for promise in found.policy.promises)
    assert {one.diagnostic.level for one in found.findings} <= {"note"}


# --- judged by deciding ---


def requests(text: str, policy: Policy, random: Random, count: int) -> list[tuple[RecoveryRequest, Usage]]:
    writer = RequestWriter(text, policy)
    return [writer.request(random) for _ in range(count)]


def undone(policy: Policy, finding: LintFinding) -> Policy | None:
    """The policy without what a finding says changes nothing, by its words alone."""
    said = finding.diagnostic.message
    if found := re.match(r"`([\w-]+)` (?:changes no decision|can never bind)", said):
        return policy.with_parts(
            **{name: tuple(one for one in getattr(policy, name) if one.id != found[1]) for name in SECTIONS}
        )
    if found := re.match(r"the row `(\w+)` of `([\w-]+)` changes", said):
        row, line = found[1], found[2]
        return policy.with_parts(
            authority=tuple(
                one.model_copy(update={"up_to": {name: its for name, its in one.up_to.items() if name != row}})
                if one.id == line
                else one
                for one in policy.authority
            )
        )
    if found := re.match(r"`([\w-]+)` decides every request alike without (.*)$", said):
        return policy.with_parts(
            **{
                name: tuple(
                    _without_part(one, found[2]) if one.id == found[1] else one for one in getattr(policy, name)
                )
                for name in SECTIONS
            }
        )
    return None


def _without_part(line, part: str):
    if found := re.match(r"the condition on `(\w+)`", part):
        words = {name: its for name, its in line.when.words.items() if name != found[1]}
        numbers = {name: its for name, its in line.when.numbers.items() if name != found[1]}
        return line.model_copy(update={"when": line.when.model_copy(update={"words": words, "numbers": numbers})})
    if found := re.match(r"`(\w+)` in `(\w+)`", part):
        words = {**line.when.words}
        words[found[2]] = tuple(word for word in words[found[2]] if str(word).lower() != found[1])
        return line.model_copy(update={"when": line.when.model_copy(update={"words": words})})
    name = part.strip("`")
    if name in ("receipt", "photo", "report"):
        return line.model_copy(update={"evidence": tuple(item for item in line.evidence if item != name)})
    also = {"percent": "of", "each": "per"}.get(name, name)
    return line.model_copy(update=dict.fromkeys((name, also), False if name in ("note", "on_top") else None))


@pytest.mark.parametrize("seed", range(8))
def test_what_is_said_to_change_nothing_changes_no_decision(seed: int) -> None:
    random = Random(seed)
    text, policy = random_policy(random)
    asked = requests(text, policy, random, 150)
    for finding in lint(text).findings:
        other = undone(policy, finding)
        if other is not None:
            for request, usage in asked:
                then, now = answer(policy, request, usage), answer(other, request, usage)
                assert then is None or now is None or then == now, (str(finding.diagnostic), request, usage)


@pytest.mark.parametrize("seed", range(12))
def test_a_line_of_which_nothing_is_said_does_change_a_decision(seed: int) -> None:
    text, policy = random_policy(Random(seed))
    found = lint(text)
    silent = {
        one.diagnostic.message.split("`")[1] for one in found.findings if one.diagnostic.code in ("RP110", "RP111")
    }
    looking = seeking.Looking()
    for section in SECTIONS:
        for line in getattr(policy, section):
            left = tuple(one for one in getattr(policy, section) if one.id != line.id)
            bare = policy.with_parts(**{section: left})
            if found.complete and line.id not in silent:
                witness = looking.difference(policy, bare)
                assert witness is not None
                assert answer(policy, *witness.asked(policy)) != answer(bare, *witness.asked(bare))


def speaks_of(promise: Promise, policy: Policy, request: RecoveryRequest, usage: Usage) -> bool:
    """Whether a promise is about a request, by plain arithmetic."""
    words = {name: getattr(request, name) for name in ("role", "remedy", "category", "severity", "site", "basis")}

    def value(name: str, asked) -> int | None:
        if name == "amount":
            if not request.amount.minor:
                return 0
            had = usage.on_case if request.basis == "goodwill" else usage.owed_on_case
            chosen = asked.words.get("remedy")
            return request.amount.minor + sum(its for of, its in had.items() if not chosen or of in chosen)
        given = request.bill if name == "bill" else request.facts.get(name, policy.facts[name].default)
        return given.minor if isinstance(given, Money) else given

    def fits(asked) -> bool:
        for name, allowed in asked.words.items():
            default = policy.facts[name].default if name in policy.facts else None
            if words.get(name, request.facts.get(name, default)) not in allowed:
                return False
        for name, intervals in asked.numbers.items():
            number = value(name, asked)
            if number is None or not any(
                (low is None or low <= number) and (high is None or number <= high) for low, high in intervals
            ):
                return False
        return True

    if request.basis not in promise.when.words.get("basis", ("goodwill",)):
        return False
    return fits(promise.when) and not (promise.unless is not None and fits(promise.unless))


def kept(promise: Promise, policy: Policy, request: RecoveryRequest, usage: Usage) -> bool:
    decision = decide(policy, request, usage)
    got = {str(decision.outcome), f"{decision.outcome}_to:{decision.to}"}
    return promise.never not in got if promise.never else promise.always in got


def a_promise(random: Random, policy: Policy) -> str:
    """A random promise about few requests, so that some hold and some do not."""
    outcome = random.choice(("approve", "deny", "incomplete", f"{{escalate_to: {random.choice(policy.ladder)}}}"))
    asked = [f"role: {random.choice(policy.ladder)}"]
    if random.random() < 0.7:
        minor = random.randint(0, LARGEST)
        shown = Money(minor, policy.currency).decimal
        asked.append(f"amount: {random.choice(('over', 'at most', 'at least'))} {shown}")
    if random.random() < 0.5:
        asked.append(f"remedy: {random.choice(('refund', '[refund, voucher]'))}")
    if random.random() < 0.3:
        asked.append(f"basis: {random.choice(('owed', '[goodwill, owed]'))}")
    unless = random.choice(("", "", ", unless: {category: delay}"))
    return f"  - {{{random.choice(('never', 'never', 'always'))}: {outcome}, when: {{{', '.join(asked)}}}{unless}}}\n"


@pytest.mark.parametrize("seed", range(16))
def test_promises_are_proven_or_broken_as_deciding_says(seed: int) -> None:
    random = Random(seed)
    text, policy = random_policy(random)
    text += "promises:\n" + "".join(a_promise(random, policy) for _ in range(4))
    found = lint(text)
    assert found.policy is not None
    policy = found.policy
    asked = [one for one in requests(text, policy, random, 120) if answer(policy, *one) is not None]
    verdicts = {
        one.diagnostic.message.split("`")[1]: one for one in found.findings if one.diagnostic.code in ("RP101", "RP103")
    }
    for promise in policy.promises:
        about = [one for one in asked if speaks_of(promise, policy, *one)]
        finding = verdicts.get(promise.id)
        if finding is None:
            assert not found.complete or promise.id in found.proven
            assert all(kept(promise, policy, *one) for one in about)
        elif finding.diagnostic.code == "RP103":
            assert about == []
        else:
            assert finding.shown_by is not None
            assert speaks_of(promise, policy, *finding.shown_by)
            assert not kept(promise, policy, *finding.shown_by)


# --- what each code means ---


def with_blocks(fragment: str) -> str:
    """The policy of LINT.md with a fragment in the place of its blocks."""

    def top(text: str) -> dict[str, str]:
        return {
            piece.partition(":")[0]: piece for piece in re.split(r"^(?=[a-z_]+:)", text, flags=re.M) if piece.strip()
        }

    return "".join((top(BASE) | top(fragment)).values())


@pytest.mark.parametrize("code", [code for code, meaning in LINT_CODES.items() if meaning.avoid])
def test_what_to_avoid_is_found_and_what_to_prefer_is_not(code: str) -> None:
    meaning = LINT_CODES[code]
    assert meaning.level in {
        one.diagnostic.level for one in lint(with_blocks(meaning.avoid)).findings if one.diagnostic.code == code
    }
    assert said(with_blocks(meaning.prefer), code) == []
