"""Run the tests that a policy carries: what each expected, what it got, and why; and which lines never decided."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from recovery_engine.decide import decide
from recovery_engine.errors import Diagnostic, InvalidRequest
from recovery_engine.model import REASON_CODES, Decision, Outcome
from recovery_engine.money import Money
from recovery_engine.policy.reading import read_request
from recovery_engine.policy.schema import UNLIMITED, Example, Policy


@dataclass(frozen=True, slots=True)
class ExampleResult:
    """One test, run. ``differences`` holds (what, expected, got); ``problems`` why the request could not be decided."""

    name: str
    where: str
    decision: Decision | None
    differences: tuple[tuple[str, str, str], ...] = ()
    problems: tuple[Diagnostic, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether everything that was expected came true."""
        return not self.differences and not self.problems


def run_examples(policy: Policy) -> tuple[ExampleResult, ...]:
    """Run every embedded test of a policy."""
    return tuple(
        _run(policy, example, policy.where(f"tests-{index + 1}")) for index, example in enumerate(policy.tests)
    )


def never_decided(policy: Policy, results: Iterable[ExampleResult]) -> tuple[str, ...]:
    """The lines that no test showed deciding, in the order of the file; those of what it extends have tests there."""
    decided = {line for result in results if result.decision is not None for line in result.decision.lines}
    if policy.parent is not None:
        decided |= {*policy.parent.by_id, *([REASON_CODES] if policy.parent.reason_codes else [])}
    lines = [line.id for line in policy.lines()] + ([REASON_CODES] if policy.reason_codes else [])
    return tuple(line for line in lines if line not in decided)


def _run(policy: Policy, example: Example, where: str) -> ExampleResult:
    try:
        request, usage = read_request(policy, example.given)
        decision = decide(policy, request, usage)
    except InvalidRequest as invalid:
        return ExampleResult(example.name, where, None, problems=invalid.diagnostics)
    return ExampleResult(example.name, where, decision, tuple(_differences(example, decision)))


def _differences(example: Example, decision: Decision) -> Iterator[tuple[str, str, str]]:
    expect = example.expect
    if expect.approve:
        wanted, wanted_lines = "approve", None
    elif expect.escalate_to is not None:
        wanted, wanted_lines = f"escalate to {expect.escalate_to}", None
    elif expect.deny is not None:
        wanted, wanted_lines = "deny", expect.deny
    else:
        wanted, wanted_lines = "incomplete", None
    got = f"escalate to {decision.to}" if decision.outcome == Outcome.ESCALATE else str(decision.outcome)
    if wanted != got:
        yield "outcome", wanted, got
        return
    for what, ids in (("deny", wanted_lines), ("because", expect.because)):
        if ids is not None and set(ids) != set(decision.lines):
            yield what, _listed(ids), _listed(decision.lines)
    for what, items in (("incomplete", expect.incomplete), ("needs", expect.needs)):
        if items is not None and set(items) != set(decision.needs):
            yield what, _listed(items), _listed(decision.needs)
    if expect.second is not None and expect.second != decision.second:
        yield "second", expect.second, decision.second or "nobody"
    if expect.grantable_now is not None:
        most = decision.grantable_now
        if expect.grantable_now != (UNLIMITED if most is None else most.minor):
            unlimited = expect.grantable_now == UNLIMITED
            wanted = UNLIMITED if unlimited else str(Money(int(expect.grantable_now), decision.amount.currency))
            yield "grantable_now", wanted, str(most or UNLIMITED)


def _listed(ids: Iterable[str]) -> str:
    return ", ".join(sorted(ids)) or "nothing"
