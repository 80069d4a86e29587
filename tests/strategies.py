"""Random policies, as text, and random requests that keep close to their limits.

Everything is drawn from a ``random.Random``; a fixed seed gives the same thousands again.
"""

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random

from hypothesis import strategies as st

from recovery_engine import Money, Policy, RecoveryRequest, Usage, Used, check_policy
from recovery_engine.money import decimal_text, digits_of

ROLES = ("clerk", "lead", "manager", "director", "owner")
REMEDIES = ("refund", "voucher", "apology", "points")
CATEGORIES = ("delay", "quality", "safety")
SEVERITIES = ("minor", "major", "critical")
SITES = {"company": ("S1", "S2"), "franchise": ("S3", "S4")}
EVIDENCE = ("receipt", "photo", "report")
FACTS = {"member": "flag", "tier": "one_of", "days": "number", "fare": "money"}
TIERS = ("bronze", "silver", "gold")
LARGEST = 24
"""No figure of a random policy is above this, in minor units: small enough to try every amount."""


class PolicyWriter:
    """Writes one policy that ``check_policy`` accepts, with some of everything the language has."""

    roles, remedies, categories, severities = ROLES, REMEDIES, CATEGORIES, SEVERITIES
    known_facts, evidence, largest = FACTS, EVIDENCE, LARGEST

    def __init__(self, random: Random, rising: bool = False) -> None:
        """With *rising*, every row rises along the ladder and every ``amount`` is `over` or `at least`."""
        self.random, self.rising = random, rising
        self.currency = random.choice(("USD", "JPY", "BHD"))
        self.ladder = list(self.roles[: random.randint(2, len(self.roles))])
        self.listed = {name for name in ("remedies", "categories", "severities", "sites") if self.chance(0.8)}
        self.facts = {name: kind for name, kind in self.known_facts.items() if self.chance(0.6)}
        self.ids = 0

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def some(self, words: tuple[str, ...] | list[str]) -> list[str]:
        return self.random.sample(list(words), self.random.randint(1, max(1, len(words) - 1)))

    def money(self) -> str:
        return decimal_text(self.random.randint(0, self.largest), self.currency)

    def text(self) -> str:
        return "\n".join([*self.head(), *self.sections()]) + "\n"

    def head(self) -> list[str]:
        lines = ["policy: random", f"currency: {self.currency}", f"ladder: {flow(self.ladder)}"]
        lists = {"remedies": self.remedies, "categories": self.categories, "severities": self.severities}
        lines += [f"{name}: {flow(words)}" for name, words in lists.items() if name in self.listed]
        if "sites" in self.listed:
            lines.append(
                f"sites: {flow(SITES if self.chance(0.7) else [s for group in SITES.values() for s in group])}"
            )
        self.groups = "sites: {" in lines[-1]
        if self.facts:
            lines += ["facts:", *(f"  {name}: {self.declared(name)}" for name in self.facts)]
        return lines

    def declared(self, name: str) -> str:
        kind, default = self.facts[name], self.chance(0.5)
        body = {kind: list(TIERS) if kind == "one_of" else "true"}
        if default:
            body["default"] = {
                "flag": self.random.choice(("true", "false")),
                "one_of": self.random.choice(TIERS),
                "number": str(self.random.randint(0, 8)),
                "money": self.money(),
            }[kind]
        return flow(body)

    def sections(self) -> list[str]:
        makers = {
            "authority": (self.authority, 1, 4),
            "ceilings": (self.ceiling, 0, 3),
            "budgets": (self.budget, 0, 2),
            "owed": (self.owed, 0, 4),
            "deny": (self.deny, 0, 2),
            "requires": (self.requires, 0, 3),
            "four_eyes": (self.four_eyes, 0, 2),
            "someone_else": (self.someone_else, 0, 1),
        }
        self.rows_seen: set[str] = set()
        lines = []
        for section, (make, least, most) in makers.items():
            made = [make() for _ in range(self.random.randint(least, most))]
            if made:
                lines += [f"{section}:", *(f"  - {flow(self.with_id(line))}" for line in made)]
        if self.chance(0.3):
            lines.append(f"reason_codes: {flow({'delay': ['B1', 'B2'], 'safety': ['S1']})}")
        return lines

    def with_id(self, line: dict) -> dict:
        self.ids += 1
        return line if self.chance(0.3) else {"id": f"line-{self.ids}"} | line

    # --- lines ---

    def authority(self) -> dict:
        rows = {}
        names = [name for name in self.remedies if self.chance(0.3)]
        if not names or self.chance(0.7):
            names = ["total", *names]
        for name in names:
            with_total = "total" in self.rows_seen or (name != "total" and "total" in names)
            rows[name] = self.row(same=name in self.rows_seen or with_total)
        self.rows_seen |= set(rows)
        return self.asked(("category", "severity", "site", "bill")) | {"up_to": rows}

    def row(self, same: bool) -> list[str] | dict[str, str]:
        rising = sorted(self.random.randint(0, self.largest) for _ in self.ladder)
        cells = [decimal_text(limit, self.currency) for limit in rising]
        for at in range(len(cells)):
            if self.rising:
                break
            if self.chance(0.25):
                cells[at] = self.random.choice(("none", "unlimited", "0", *(["same"] * 4 if same else [])))
        if self.chance(0.3):
            cells[-1] = "unlimited"
        if self.rising and self.chance(0.2):
            cells[0] = "none"
        if self.chance(0.2):
            return {role: cell for role, cell in zip(self.ladder, cells, strict=True) if self.chance(0.7)} or {
                self.ladder[0]: cells[0]
            }
        return cells

    def ceiling(self) -> dict:
        return self.asked(("remedy", "category", "severity", "site", "basis", "bill")) | self.limit() | self.bound()

    def budget(self) -> dict:
        line = {"per": self.random.choice(("employee", "customer", "site", "organisation")), "every": self.period()}
        kinds = self.random.choice((("amount",), ("times",), ("amount", "times")))
        if "amount" in kinds:
            line["amount"] = self.money()
        if "times" in kinds:
            line["times"] = str(self.random.randint(0, 3))
        elif self.chance(0.5):
            line["when"] = {"remedy": self.some(self.remedies)}
        return line | self.bound()

    def period(self) -> str:
        return "90 days"

    def owed(self) -> dict:
        line = self.asked(("category", "severity", "site", "bill")) | {"remedy": self.random.choice(self.remedies[:2])}
        return line | self.limit() | ({"on_top": "true"} if self.chance(0.3) else {})

    def deny(self) -> dict:
        return self.asked(("remedy", "category", "severity", "site", "basis", "amount", "bill"), least=2)

    def requires(self) -> dict:
        line = self.asked(("remedy", "category", "severity", "site", "basis", "amount", "bill"))
        if self.chance(0.8):
            line["evidence"] = self.some(self.evidence)
        if "evidence" not in line or self.chance(0.3):
            line["note"] = "true"
        return line | ({"waivable_by": self.random.choice(self.ladder[1:])} if self.chance(0.5) else {})

    def four_eyes(self) -> dict:
        line = self.asked(("remedy", "category", "severity", "site", "basis", "amount", "bill"), least=1)
        return line | {"second": self.random.choice((*self.ladder, "next_role"))}

    def someone_else(self) -> dict:
        return self.asked(("remedy", "category", "severity", "site", "basis", "amount", "bill"), least=2)

    def limit(self) -> dict:
        kinds = self.some(["amount", "percent", "each"])
        line = {"amount": self.money()} if "amount" in kinds else {}
        if "percent" in kinds:
            bases = ["bill", *(["fare"] if "fare" in self.facts else [])]
            percent = self.random.choice(("0", "10", "12.5", "33.33", "50", "100", "150"))
            line |= {"percent": percent, "of": self.random.choice(bases)}
        if "each" in kinds and "days" in self.facts:
            line |= {"each": decimal_text(self.random.randint(0, 4), self.currency), "per": "days"}
        return line or {"amount": self.money()}

    def bound(self) -> dict:
        return {"binds_below": self.random.choice(self.ladder[1:])} if self.chance(0.5) else {}

    # --- conditions ---

    def asked(self, names: tuple[str, ...], least: int = 0) -> dict:
        line = {}
        for key, probability in (("when", 1 if least else 0.6), ("unless", 0.2)):
            usable = [name for name in names if key == "when" or name not in ("remedy", "amount")]
            usable += list(self.facts)
            if self.chance(probability):
                count = max(least if key == "when" else 1, self.random.choice((1, 1, 2, 3)))
                chosen = self.random.sample(usable, min(len(usable), count))
                line[key] = {name: self.condition(name) for name in chosen}
        return line

    def condition(self, name: str) -> str | list[str]:
        words = {"remedy": self.remedies, "category": self.categories, "severity": self.severities, "tier": TIERS}
        words |= {"basis": ("goodwill", "owed"), "member": ("true", "false")}
        words["site"] = [*SITES, "S1", "S3"] if "sites" in self.listed and self.groups else ["S1", "S2", "S3"]
        if name in words:
            return self.random.choice(words[name]) if self.chance(0.5) else self.some(words[name])
        return self.comparison(name) if self.chance(0.85) else [self.comparison(name), self.comparison(name)]

    def comparison(self, name: str) -> str:
        low, high = sorted(self.random.randint(0, 8 if name == "days" else self.largest) for _ in range(2))
        high = max(high, 1)  # nothing is under an amount of 0
        first, second = (str(low), str(high)) if name == "days" else (self.shown(low), self.shown(high))
        rising = (f"over {first}", f"at least {first}")
        if self.rising and name == "amount":
            return self.random.choice(rising)
        return self.random.choice((*rising, f"under {second}", f"at most {second}", first, f"from {first} to {second}"))

    def shown(self, minor: int) -> str:
        return decimal_text(minor, self.currency)


def flow(value: object) -> str:
    """YAML on one line."""
    match value:
        case dict():
            return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(flow, value)) + "]"
    return str(value)


def random_policy(random: Random, rising: bool = False) -> tuple[str, Policy]:
    """The text of a policy, and the policy; it is always one that may be used."""
    text = PolicyWriter(random, rising).text()
    policy, diagnostics = check_policy(text, "random.yaml")
    assert policy is not None, f"{text}\n{[str(found) for found in diagnostics]}"
    return text, policy


# --- requests ---------------------------------------------------------------------------------------------------------


class RequestWriter:
    """Writes requests about one policy whose figures stand at, just below and just above its limits."""

    def __init__(self, text: str, policy: Policy) -> None:
        self.policy, self.words = policy, policy.words
        figures = {Decimal(figure) for figure in re.findall(r"\d+(?:\.\d+)?", text.partition("\nauthority:")[2])}
        largest = LARGEST if policy.policy == "random" else 10**7
        values = {int(figure * 10 ** digits_of(policy.currency)) for figure in figures}
        self.edges = sorted({value for value in values if value <= largest} | {0, 1, 4})
        self.counts = sorted({int(figure) for figure in figures if figure < 10**5} | {0})
        self.evidence = sorted({item for line in policy.requires for item in line.evidence} | {"receipt"})

    def request(self, random: Random, missing: float = 0.0) -> tuple[RecoveryRequest, Usage]:
        """A request and its usage; with the chance *missing*, a fact or required word is left out."""
        policy, remedy = self.policy, self.word(random, "remedy", REMEDIES)
        on_case = self.book(random, remedy) if random.random() < 0.5 else {}
        owed_on_case = self.book(random, remedy) if random.random() < 0.3 else {}
        amount = self.figure(random)
        if on_case and random.random() < 0.5:  # together with what the case had, just at a limit
            amount = max(0, amount - sum(on_case.values()))
        facts = {name: self.fact(random, name) for name in policy.facts}
        for name, fact in policy.facts.items():
            if random.random() < (0.3 if fact.default is not None else missing):
                del facts[name]
        category = self.optional(random, "category", CATEGORIES, missing)
        codes = policy.reason_codes.get(category or "", ())
        request = RecoveryRequest(
            role=random.choice(policy.ladder),
            remedy=remedy,
            amount=Money(0 if random.random() < 0.1 else amount, policy.currency),
            site=self.optional(random, "site", ("S1", "S2", "S3", "elsewhere"), missing),
            category=category,
            severity=self.optional(random, "severity", SEVERITIES, missing),
            bill=Money(self.figure(random), policy.currency) if random.random() < 0.8 else None,
            basis="owed" if policy.owed and random.random() < 0.3 else "goodwill",
            reason=random.choice(codes) if codes and random.random() < 0.7 else None,
            note=random.choice(("told us so", " ", None, "x")),
            evidence=frozenset(item for item in self.evidence if random.random() < 0.6),
            facts=facts,
        )
        used = {line.id: Used(self.figure(random), random.choice((0, 1, 2, 3, 4))) for line in policy.budgets}
        used = {name: figures for name, figures in used.items() if random.random() < 0.6}
        return request, Usage(on_case, owed_on_case, used)

    def figure(self, random: Random) -> int:
        """A limit, one minor unit less or more, or less by another limit."""
        edge = random.choice(self.edges)
        if random.random() < 0.2:
            edge -= random.choice(self.edges)
        if random.random() < 0.2:
            edge *= random.choice((1, 2, 3))
        return max(0, edge + random.choice((0, 0, 1, -1)))

    def book(self, random: Random, remedy: str) -> dict[str, int]:
        known = self.words.remedies or REMEDIES
        chosen = {name for name in known if random.random() < 0.3} | {remedy}
        return {name: random.choice((0, 1, self.figure(random))) for name in sorted(chosen)}

    def word(self, random: Random, name: str, otherwise: tuple[str, ...]) -> str:
        known = self.words.known(name)
        return random.choice(known) if known is not None else random.choice((*otherwise, "another"))

    def optional(self, random: Random, name: str, otherwise: tuple[str, ...], missing: float) -> str | None:
        rarely = missing if self.words.known(name) is not None else 0.2
        return None if random.random() < rarely else self.word(random, name, otherwise)

    def fact(self, random: Random, name: str) -> bool | int | str | Money:
        fact = self.policy.facts[name]
        match fact.kind:
            case "flag":
                return random.random() < 0.5
            case "one_of":
                return random.choice(fact.one_of)
            case "number":
                return max(-1, random.choice(self.counts) + random.choice((0, 1, -1)))
        return Money(self.figure(random), self.policy.currency)


# A seed, not hypothesis' own Random: a policy takes hundreds of draws, and drawing each by hypothesis costs seconds.
randoms = st.integers(0, 2**64 - 1).map(Random)


@dataclass(frozen=True)
class Cases:
    """A policy with requests about it."""

    text: str
    policy: Policy
    requests: tuple[tuple[RecoveryRequest, Usage], ...]

    def __repr__(self) -> str:
        return "\n".join([self.text, *(f"{request}\n{usage}" for request, usage in self.requests)])


def some_cases(count: int, rising: bool = False) -> st.SearchStrategy[Cases]:
    """A policy and *count* requests about it, none of which lacks anything."""

    def made(random: Random) -> Cases:
        text, policy = random_policy(random, rising)
        writer = RequestWriter(text, policy)
        return Cases(text, policy, tuple(writer.request(random) for _ in range(count)))

    return randoms.map(made)


def with_amount(request: RecoveryRequest, minor: int) -> RecoveryRequest:
    """The same request for another amount."""
    return replace(request, amount=replace(request.amount, minor=minor))
