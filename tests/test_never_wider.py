"""Random policies that extend random policies: none that loads lets through more, and what is refused does."""

import os
from contextlib import suppress
from random import Random

import pytest
from strategies import CATEGORIES, FACTS, SITES, PolicyWriter, RequestWriter, flow

from recovery_engine import Decision, InvalidRequest, Outcome, Policy, PolicyError, RecoveryRequest, Usage, decide
from recovery_engine.policy.layers import with_layers
from recovery_engine.policy.library import check_policy, parse_stored
from recovery_engine.whatif import tightening as module
from recovery_engine.whatif.dimensions import Denies, Proves, Rule
from recovery_engine.whatif.standing import Cap, Standing
from recovery_engine.whatif.tightening import Tightening, tightening

pytestmark = pytest.mark.slow

SCALE = int(os.environ.get("RECOVERY_TEST_SCALE", "1"))
CHANCES = {
    "authority": 0.4,
    "ceilings": 0.4,
    "budgets": 0.3,
    "owed": 0.2,
    "deny": 0.4,
    "requires": 0.4,
    "four_eyes": 0.4,
    "someone_else": 0.15,
}


class ChildWriter(PolicyWriter):
    """Writes a policy, and one that extends it with some lines more."""

    def child(self) -> str:
        lines = ["policy: own", "extends: parent.yaml"]
        if "sites" in self.listed and self.chance(0.4):
            lines.append(f"sites: {flow(self.some([site for group in SITES.values() for site in group]))}")
        new = [name for name in FACTS if name not in self.facts and self.chance(0.5)]
        self.facts |= {name: FACTS[name] for name in new}
        if new:
            lines += ["facts:", *(f"  {name}: {self.declared(name)}" for name in new)]
        makers = (
            *(self.authority, self.ceiling, self.budget, self.owed, self.deny, self.requires, self.four_eyes),
            self.someone_else,
        )
        for make, (section, chance) in zip(makers, CHANCES.items(), strict=True):
            made = [make() for _ in range(2) if self.chance(chance)]
            if made:
                lines += [f"{section}:", *(f"  - {flow(self.with_id(line))}" for line in made)]
        if self.chance(0.2):
            lines.append(f"reason_codes: {flow({CATEGORIES[1]: ['Q1', 'Q2']})}")
        return "\n".join(lines) + "\n"


def pair(random: Random) -> tuple[str, Policy]:
    """The texts of a policy and the one it extends, and the policy, whether or not it is wider."""
    while True:
        writer = ChildWriter(random)
        parent = writer.text()
        both = with_layers(writer.child(), [("", parent)])
        with suppress(PolicyError):  # a line names a site that it is not for
            return both, parse_stored(both, "own.yaml")


# --- a judge of its own -----------------------------------------------------------------------------------------------


def needed(decision: Decision, ladder: tuple[str, ...]) -> list[int] | None:
    """The ranks of the other people who must agree, highest first; None where nobody's word is enough."""
    if decision.outcome in (Outcome.DENY, Outcome.INCOMPLETE):
        return None
    if decision.outcome == Outcome.APPROVE:
        return []
    asker = next(rung for rung in decision.rungs if rung.role == decision.request.role)
    roles = [decision.to, decision.second]
    if decision.second is not None and asker.may:
        roles = [decision.second]
    return sorted((ladder.index(role) for role in roles if role is not None), reverse=True)


def lets_through_more(parent: Decision, own: Decision, ladder: tuple[str, ...]) -> bool:
    then, now = needed(parent, ladder), needed(own, ladder)
    if now is None:
        return then is None and own.outcome == Outcome.INCOMPLETE and parent.outcome == Outcome.DENY
    if then is None or len(now) < len(then):
        return True
    return any(one < other for one, other in zip(now, then, strict=False))


def for_parent(policy: Policy, request: RecoveryRequest, usage: Usage) -> tuple[RecoveryRequest, Usage]:
    """The same request as one of the parent's, which knows fewer facts, budgets and reason codes."""
    parent = policy.parent
    assert parent is not None
    fields = {name: getattr(request, name) for name in ("role", "remedy", "amount", "site", "category", "severity")}
    fields |= {name: getattr(request, name) for name in ("bill", "basis", "note", "evidence")}
    known = not parent.reason_codes or request.category in parent.reason_codes
    facts = {name: value for name, value in request.facts.items() if name in parent.facts}
    asked = RecoveryRequest(**fields, reason=request.reason if known else None, facts=facts)
    budgets = {line.id for line in parent.budgets}
    used = {name: held for name, held in usage.used.items() if name in budgets}
    return asked, Usage(usage.on_case, usage.owed_on_case, used)


def consistent(policy: Policy, usage: Usage) -> Usage:
    """The usage where budgets that add up the same hold the same."""
    held = {}
    for line in policy.budgets:
        held.setdefault((line.per, line.every, str(line.when)), usage.used.get(line.id))
    used = {line.id: held[line.per, line.every, str(line.when)] for line in policy.budgets}
    return Usage(usage.on_case, usage.owed_on_case, {name: figures for name, figures in used.items() if figures})


def compared(policy: Policy, request: RecoveryRequest, usage: Usage) -> tuple[Decision, Decision] | None:
    parent = policy.parent
    assert parent is not None
    try:
        own = decide(policy, request, usage)
    except InvalidRequest:
        return None
    return decide(parent, *for_parent(policy, request, usage)), own


def found_for(policy: Policy) -> Tightening:
    found = tightening(policy)
    assert found is not None
    return found


# --- the rules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", range(2))
def test_what_loads_is_never_wider_and_what_is_refused_is(part: int) -> None:
    random = Random(part)
    loaded = refused = tried = 0
    for _ in range(10 * SCALE):
        text, policy = pair(random)
        usable, found = check_policy(text, "own.yaml")
        widening = found_for(policy).widening
        if usable is None:
            (error,) = (one for one in found if one.level == "error")
            assert error.code == "RP032"
            if widening is None:
                assert "too much to compare" in error.message
                continue
            refused += 1
            parent, own = policy.parent, policy
            assert parent is not None
            asked = [decide(one, *widening.witness.asked(one)) for one in (parent, own)]
            assert lets_through_more(asked[0], asked[1], policy.ladder), text
            assert (widening.extended.outcome, widening.decided.outcome) == (asked[0].outcome, asked[1].outcome)
            continue
        loaded += 1
        assert widening is None
        writer = RequestWriter(text, policy)
        for _ in range(100):
            request, usage = writer.request(random)
            decisions = compared(policy, request, consistent(policy, usage))
            if decisions is not None:
                tried += 1
                assert not lets_through_more(*decisions, policy.ladder), f"{text}\n{request}\n{usage}"
    assert min(loaded, refused) > 0
    assert tried > 50


def test_what_is_settled_early_would_not_have_come_out_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(99)
    policies = [pair(random)[1] for _ in range(5 * SCALE)]
    early = [found_for(policy) for policy in policies]
    monkeypatch.setattr(module, "_is_settled", lambda standings: standings[0] == standings[1])
    pairs = [(one, found_for(policy)) for one, policy in zip(early, policies, strict=True) if one.complete]
    whole = [(one, late) for one, late in pairs if late.complete]
    assert len(whole) > 2
    assert all((one.widening is None) == (late.widening is None) for one, late in whole)
    assert sum(one.cells for one, _ in whole) < sum(late.cells for _, late in whole)


CAP = Cap(frozenset({(4, 100)}), 3, 3)
NEEDS = Proves(2, frozenset({9}))


@pytest.mark.parametrize(
    ("parent", "own"),
    [
        (Standing(), Standing(eyes=frozenset({1}))),
        (Standing(), Standing(unproven=frozenset({NEEDS}))),
        (Standing(), Standing(open=(Rule(((1, frozenset({"a"})),), None, Denies()),))),
        (Standing(stopped=1), Standing(stopped=3)),
        (Standing(own=1), Standing(own=3)),
        (Standing(caps=frozenset({CAP})), Standing(caps=frozenset({CAP._replace(bounds=frozenset({(4, 90)}))}))),
        (Standing(caps=frozenset({CAP})), Standing(caps=frozenset({CAP._replace(others=1)}), stopped=2)),
        (Standing(caps=frozenset({CAP._replace(own=1)})), Standing(caps=frozenset({CAP}))),
    ],
)
def test_a_standing_that_stops_more_is_settled_and_one_that_stops_less_is_not(parent: Standing, own: Standing) -> None:
    assert module._is_settled((parent, own))
    assert not module._is_settled((own, parent))


@pytest.mark.parametrize("seed", range(2))
def test_the_line_to_blame_is_one_without_which_it_is_tighter(seed: int) -> None:
    random = Random(seed)
    blamed = 0
    while blamed < 3:
        _, policy = pair(random)
        widening = found_for(policy).widening
        if widening is None or not widening.line:
            continue
        blamed += 1
        section = next(name for name in CHANCES if any(line.id == widening.line for line in getattr(policy, name)))
        lines = tuple(line for line in getattr(policy, section) if line.id != widening.line)
        assert found_for(policy.with_parts(**{section: lines})).widening is None
