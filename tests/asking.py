"""Small policies as text, and what they say to a request, in one short sentence."""

from typing import Any

from recovery_engine import Decision, Policy, decide, parse_policy, read_request

HEAD = "policy: small\ncurrency: USD\nladder: [clerk, lead, manager]\n"
CLASSIC = HEAD + "authority:\n  - {id: standard, up_to: {total: [100, 250, 500]}}\n"


def ask(policy: str | Policy, **fields: Any) -> Decision:
    """Decide a request of a clerk for a refund, unless the fields say otherwise."""
    parsed = parse_policy(policy) if isinstance(policy, str) else policy
    request, usage = read_request(parsed, {"role": "clerk", "remedy": "refund"} | fields)
    return decide(parsed, request, usage)


def answer(decision: Decision) -> str:
    """``approve``, ``lead because standard``, ``deny because too-late``, ``incomplete without receipt``."""
    match str(decision.outcome):
        case "approve":
            return "approve"
        case "escalate":
            asked = f"{decision.to} and {decision.second}" if decision.second else str(decision.to)
            return f"{asked} because {' '.join(sorted(decision.lines))}"
        case "deny":
            return f"deny because {' '.join(sorted(decision.lines))}"
    return f"incomplete without {' '.join(sorted(decision.needs))}"


def says(policy: str | Policy, **fields: Any) -> str:
    """What the policy answers to a request."""
    return answer(ask(policy, **fields))


def up_to(policy: str | Policy, **fields: Any) -> str:
    """The most that may be given now."""
    most = ask(policy, **fields).grantable_now
    return "unlimited" if most is None else most.decimal
