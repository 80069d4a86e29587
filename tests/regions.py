"""Where a request stands in a space, worked out by plain arithmetic; and edits of a policy's text."""

import re
from random import Random

from strategies import decimal_text

from recovery_engine import InvalidRequest, Policy, RecoveryRequest, Usage, decide
from recovery_engine.policy.schema import BudgetLine
from recovery_engine.whatif.diagram import Box
from recovery_engine.whatif.dimensions import (
    BUDGET,
    COST,
    HIGHEST_SHARE,
    NUMBER,
    OTHER,
    PROOF,
    ROLE,
    SHARE,
    SUM,
    TIMES,
    Dimension,
    Space,
)
from recovery_engine.whatif.ranges import ABSENT


def answer(policy: Policy, request: RecoveryRequest, usage: Usage) -> tuple | None:
    """What is decided, as the regions compare it; None where the request is not one of the policy's."""
    try:
        decision = decide(policy, request, usage)
    except InvalidRequest:
        return None
    return str(decision.outcome), decision.to, decision.second, frozenset(decision.needs)


def summed(request: RecoveryRequest, usage: Usage, remedies: tuple[str, ...], basis: str) -> int:
    had = 0
    for name, book in (("goodwill", usage.on_case), ("owed", usage.owed_on_case)):
        if basis in (name, "both"):
            had += sum(amount for remedy, amount in book.items() if not remedies or remedy in remedies)
    return had + request.amount.minor


def budget_of(policies: tuple[Policy, ...], key: tuple) -> tuple[Policy, BudgetLine]:
    for policy in policies:
        for line in policy.budgets:
            if (line.per, line.every, tuple(sorted(map(str, line.when.words.get("remedy", ()))))) == key:
                return policy, line
    raise AssertionError(key)


def lies_in(space: Space, box: Box, request: RecoveryRequest, usages: dict[str, Usage]) -> bool:
    """Whether a request is in a box; the usage by the digest of the policy that reads it."""
    usage = usages[space.policies[0].digest]
    return all(_holds(space, space.dimensions[place], label, request, usage, usages) for place, label in box.items())


def _holds(space: Space, dimension: Dimension, label, request: RecoveryRequest, usage: Usage, usages) -> bool:
    policy = space.policies[0]
    key = dimension.key

    def inside(value: int) -> bool:
        return any(low <= value <= high for low, high in label)

    match dimension.kind:
        case kind if kind == NUMBER:
            return inside(_number(policy, request, key[1]))
        case kind if kind == COST:
            return inside(int(request.amount.minor > 0))
        case kind if kind == SUM:
            return inside(summed(request, usage, key[2], key[3]))
        case kind if kind == SHARE:
            base, how, counted = key
            had, of = summed(request, usage, counted.key[2], counted.key[3]), _number(policy, request, base.key[1])
            return any(_share(how, low, high, had, of) for low, high in label)
        case kind if kind == BUDGET:
            owner, line = budget_of(space.policies, key)
            held = usages[owner.digest].used.get(line.id)
            return inside(request.amount.minor + (held.amount if held else 0))
        case kind if kind == TIMES:
            owner, line = budget_of(space.policies, key)
            held = usages[owner.digest].used.get(line.id)
            return inside((held.times if held else 0) + (0 if usage.on_case else 1))
        case kind if kind == PROOF:
            on_file = {*request.evidence}
            on_file |= {"note"} if request.note and request.note.strip() else set()
            on_file |= {"reason"} if request.reason is not None else set()
            return (key[0] in on_file) in label
        case kind if kind == ROLE:
            return request.role in label
    name = key[1]
    if name in policy.facts:
        word = request.facts.get(name)
        word = policy.facts[name].default if word is None else word
    else:
        word = getattr(request, name)
    place = space.place(dimension)
    known = "" if word is None else word if word in space.domains[place] else OTHER
    return known in label


def _number(policy: Policy, request: RecoveryRequest, name: str) -> int:
    value = request.bill if name == "bill" else request.facts.get(name)
    if value is None:
        default = policy.facts[name].default if name in policy.facts else None
        return ABSENT if default is None else default
    return value if isinstance(value, int) else value.minor


def _share(how: str, low: int, high: int, had: int, of: int) -> bool:
    """Whether the least share that covers what was had is in a range of shares."""

    def covers(share: int) -> bool:
        if share >= HIGHEST_SHARE:
            return True
        if share < 0 or of == ABSENT:
            return False
        limit = share * of if how == "each" else (share * of + 5000 * (how == "owed percent")) // 10000
        return had <= limit

    return covers(high) and not covers(low - 1)


def edited(random: Random, text: str, currency: str) -> str:
    """The text of a policy with one figure, word or line changed; it may be one that cannot be used."""
    head, mark, body = text.partition("\nauthority:")
    lines = body.split("\n")
    places = [at for at, line in enumerate(lines) if line.startswith("  - ")]
    at = random.choice(places)
    kind = random.random()
    if kind < 0.2:
        del lines[at]
    elif kind < 0.8:
        figures = list(re.finditer(r"(?<![\w.-])\d+(?:\.\d+)?(?![\w.-])", lines[at]))
        if figures:
            found = random.choice(figures)
            new = found[0] if "." not in found[0] else decimal_text(random.randint(0, 24), currency)
            new = str(random.randint(0, 9)) if "." not in found[0] else new
            lines[at] = lines[at][: found.start()] + new + lines[at][found.end() :]
    else:
        words = [
            ("minor", "major"),
            ("delay", "quality"),
            ("lead", "manager"),
            ("over", "at least"),
            ("receipt", "photo"),
        ]
        old, new = random.choice(words)
        lines[at] = lines[at].replace(old, new)
    return head + mark + "\n".join(lines)


def edited_above(random: Random, text: str) -> str:
    """The text of a policy with its words changed: another default, one word less, a role renamed, ids renamed."""
    head, mark, body = text.partition("\nauthority:")
    lines = head.split("\n")
    kind = random.choice(("default", "listed", "unlisted", "role", "ladder", "ids"))
    if kind == "default":
        at = [at for at, line in enumerate(lines) if "default:" in line]
        if at:
            line = random.choice(at)
            new = random.choice(("true", "false", "bronze", "silver", "gold", *map(str, range(9))))
            lines[line] = re.sub(r"default: [\w.]+", f"default: {new}", lines[line])
    elif kind in ("listed", "unlisted"):
        at = [at for at, line in enumerate(lines) if re.match(r"(remedies|categories|severities):", line)]
        if at:
            line = random.choice(at)
            lines[line] = re.sub(r"\[(\w+), ", "[", lines[line])
            if kind == "unlisted":
                del lines[line]
    elif kind == "role":
        return re.sub(r"\blead\b", "chief", text)
    elif kind == "ladder":
        lines = [re.sub(r"ladder: \[(\w+), (\w+)", r"ladder: [\2, \1", line) for line in lines]
    else:
        return re.sub(r"\bline-", "rule-", text)
    return "\n".join(lines) + mark + body
