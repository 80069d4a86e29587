"""A careful reading of a policy: what is proven about all requests, and what its owner should look at again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from recovery_engine.decide import compiled
from recovery_engine.errors import PolicyError
from recovery_engine.policy.layers import Layer
from recovery_engine.policy.schema import Policy
from recovery_engine.policy.source import check_text, sources_of
from recovery_engine.whatif.lint_desk import Desk, LintFinding
from recovery_engine.whatif.lint_lines import holes, lines
from recovery_engine.whatif.lint_whole import gaps, ladder, promises, words
from recovery_engine.whatif.tightening import widening_of

CHECKS: tuple[Callable[[Desk], Iterator[LintFinding]], ...] = (promises, lines, holes, gaps, ladder, words)

_PROVEN_INSTEAD = {"RP110": "RP021", "RP111": "RP021", "RP112": "RP020", "RP130": "RP023"}
"""What is proven here, and what `check` suspects of the same line."""


@dataclass(frozen=True)
class Lint:
    """What was found, mistakes included, in the order of the file.

    ``proven``: the promises that hold for every request. ``cells``: how many were examined. ``complete``: whether
    every question was settled; where not, a finding says which were not.
    """

    policy: Policy | None
    findings: tuple[LintFinding, ...]
    proven: tuple[str, ...] = ()
    complete: bool = True
    cells: int = 0


def lint_policy(text: str, file: str = "<policy>", below: Sequence[Layer] = ()) -> Lint:
    """Everything that can be said about the policy in a text; about one with mistakes, only these.

    *below* is what it extends, nearest first, where the text does not hold that itself.
    """
    policy, checked = check_text(text, file, below, widening_of)
    if policy is not None:
        try:
            compiled(policy)
        except PolicyError as error:
            policy, checked = None, (*checked, *error.diagnostics)
    if policy is None:
        return Lint(None, tuple(map(LintFinding, checked)), complete=False)
    desk = Desk(policy, sources_of(text, file, below))
    found = [finding for check in CHECKS for finding in check(desk)]
    found += [_left_open(desk, place) for place in dict.fromkeys(desk.cut)]
    proven_of = {(_PROVEN_INSTEAD.get(one.diagnostic.code), one.diagnostic.line) for one in found}
    found += [LintFinding(one) for one in checked if (one.code, one.line) not in proven_of]
    found.sort(key=lambda one: (one.diagnostic.line, one.diagnostic.column, one.diagnostic.code))
    unproven = {one.diagnostic.line for one in found if one.diagnostic.code in ("RP101", "RP102", "RP103")}
    proven = tuple(
        promise.id
        for index, promise in enumerate(policy.promises)
        if desk.line(desk.named("promises", index)) not in unproven
    )
    complete = not desk.cut and not any(one.diagnostic.code == "RP102" for one in found)
    return Lint(policy, tuple(found), proven, complete, desk.looking.cells)


def _left_open(desk: Desk, place: tuple[str | int, ...]) -> LintFinding:
    message = "not everything could be looked at here: the policy tells too many requests apart"
    return desk.finding("RP190", place, message, "a policy for each group of sites or remedies can be looked at whole")
