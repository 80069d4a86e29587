"""A request as the command that asks about it."""

import shlex
from collections.abc import Iterator

from recovery_engine import Money, RecoveryRequest, Usage


def what_if_command(policy: str, request: RecoveryRequest, usage: Usage, called: str = "recovery") -> str:
    """The `what-if` command line that asks a policy (a file or starter name) about a request."""
    return shlex.join([called, "what-if", "--policy", policy, *_options(request, usage)])


def _options(request: RecoveryRequest, usage: Usage) -> Iterator[str]:
    currency = request.amount.currency

    def amount(minor: int) -> str:
        return Money(minor, currency).decimal

    yield from ("--role", request.role, "--remedy", request.remedy, "--amount", request.amount.decimal)
    for name in ("site", "category", "severity", "reason", "note"):
        value = getattr(request, name)
        if value is not None:
            yield from (f"--{name}", value)
    if request.bill is not None:
        yield from ("--bill", request.bill.decimal)
    if request.basis != "goodwill":
        yield from ("--basis", request.basis)
    for item in sorted(request.evidence):
        yield from ("--evidence", item)
    for name, fact in request.facts.items():
        shown = str(fact).lower() if isinstance(fact, bool) else fact.decimal if isinstance(fact, Money) else str(fact)
        yield from ("--fact", f"{name}={shown}")
    for remedy, minor in usage.on_case.items():
        yield from ("--on-case", f"{remedy}={amount(minor)}")
    for remedy, minor in usage.owed_on_case.items():
        yield from ("--owed-on-case", f"{remedy}={amount(minor)}")
    for budget, used in usage.used.items():
        yield from ("--used", f"{budget}=amount:{amount(used.amount)},times:{used.times}")
