"""Tiny policies, every request of a small domain as columns of a grid, and which of them lie in a box."""

from dataclasses import dataclass
from itertools import product
from random import Random

import numpy as np
from oracle import NO_BILL
from strategies import ROLES, PolicyWriter, flow

from recovery_engine import Money, Policy, RecoveryRequest, Usage, Used
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

CENTS = 12
"""The largest amount, bill, sum had and sum used."""

MOST_REQUESTS = 40_000
BOOKS = ("goodwill", "owed")
NAMES = (*ROLES, "chief", None)
PERIODS = ("day", "week", "month", "30 days")


class TinyWriter(PolicyWriter):
    """Policies of two or three roles, two remedies and figures up to 12 cents."""

    roles, remedies, categories, severities = (
        ("clerk", "lead", "manager"),
        ("refund", "voucher"),
        ("delay", "safety"),
        (),
    )
    evidence, largest = ("receipt", "photo"), CENTS

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.listed -= {"severities", "sites"}

    def period(self) -> str:
        return self.random.choice(PERIODS)

    def asked(self, names, least=0):
        return super().asked(tuple(name for name in names if name not in ("severity", "site")), least)

    def text(self) -> str:
        lines = [self.promise() for _ in range(self.random.randint(0, 2))]
        return super().text() + "".join(["promises:\n"] * bool(lines) + [f"  - {line}\n" for line in lines])

    def promise(self) -> str:
        line = self.asked(("remedy", "category", "basis", "amount", "bill"), least=1)
        if self.chance(0.4):
            line["when"]["role"] = self.some(self.ladder)
        outcomes = ("approve", "deny", "incomplete", {"escalate_to": self.random.choice(self.ladder)})
        return flow(line | {self.random.choice(("never", "always")): self.random.choice(outcomes)})


# --- a grid of requests -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grid:
    """Requests as columns. Of a word the column has its place in ``words``; None stands for one that is not given."""

    basis: str
    words: dict[str, list]
    columns: dict[object, np.ndarray]

    def __len__(self) -> int:
        return len(self.columns["amount"])

    def had(self, remedies, books) -> np.ndarray:
        """What the case had of some remedies, all if there are none, on some bases."""
        found = [
            column
            for key, column in self.columns.items()
            if key[0] == "had" and key[2] in books and (not remedies or key[1] in remedies)
        ]
        return sum(found, np.zeros(len(self), dtype=np.int64))

    def asked(self, at: int, policy: Policy) -> tuple[RecoveryRequest, Usage]:
        """One request of the grid, as a policy reads it."""
        row = {key: int(column[at]) for key, column in self.columns.items()}
        said = {name: vocabulary[row[name]] for name, vocabulary in self.words.items()}
        facts = {}
        for name, fact in policy.facts.items():
            value = said[name] if name in said else row.get(name, NO_BILL)
            if value is not None and value != NO_BILL:
                facts[name] = Money(value, policy.currency) if fact.kind == "money" else value
        proof = {key[1] for key in row if key[0] == "proof" and row[key]}
        codes = policy.reason_codes.get(said.get("category"), ())
        books = {book: {key[1]: row[key] for key in row if key[:1] == ("had",) and key[2] == book} for book in BOOKS}
        on_case = books["goodwill"] if row["counted"] else {}
        used = {}
        for line in policy.budgets:
            key = budget_key(line.per, line.every, line.when.words.get("remedy", ()))
            used[line.id] = Used(row["used", key], row["times", key])
        bill = row.get("bill", NO_BILL)
        return RecoveryRequest(
            role=said["role"],
            remedy=said["remedy"],
            amount=Money(row["amount"], policy.currency),
            site=said.get("site"),
            category=said.get("category"),
            severity=said.get("severity"),
            bill=None if bill == NO_BILL else Money(bill, policy.currency),
            basis=self.basis,
            reason=codes[0] if codes and "reason" in proof else None,
            note="told us so" if "note" in proof else None,
            evidence=frozenset(proof - {"note", "reason"}),
            facts=facts,
        ), Usage(on_case, {k: v for k, v in books["owed"].items() if v}, used)


def budget_key(per, every, remedies):
    return (per, every, tuple(sorted(map(str, remedies))))


def grid_of(random: Random, policies: tuple[Policy, ...], basis: str, most: int = MOST_REQUESTS) -> Grid:
    """A grid about some policies: as many of its dimensions in full as fit, the others at one value."""
    first, *others = policies
    domains: dict[object, list] = {"amount": list(range(CENTS + 1)), ("proof", "note"): [0, 1]}
    words: dict[str, list] = {"role": [r for r in first.ladder if all(r in other.ladder for other in others)]}
    for name in ("remedy", "category", "severity", "site"):
        listed = [set(known) for policy in policies if (known := policy.words.known(name)) is not None]
        words[name] = sorted(set.intersection(*listed) if listed else {*_named(policies, name), "another"})
        if name != "remedy" and not any(_must_have(policy, name) for policy in policies):
            words[name] += [None]
    for name in {name for policy in policies for name in policy.facts}:
        facts = [policy.facts[name] for policy in policies if name in policy.facts]
        absent = all(fact.default is not None for fact in facts)
        if facts[0].kind in ("flag", "one_of"):
            lists = [(True, False) if fact.kind == "flag" else fact.one_of for fact in facts]
            words[name] = [word for word in lists[0] if all(word in other for other in lists)] + [None] * absent
        else:
            values = range(-2, 6) if facts[0].kind == "number" else range(CENTS + 1)
            domains[name] = [*values] + [NO_BILL] * absent
    domains |= {name: list(range(len(known))) for name, known in words.items()}
    domains["bill"] = [NO_BILL, *range(CENTS + 1)]
    domains["counted"] = [0, 1]
    for remedy, book in product(words["remedy"], BOOKS):
        domains["had", remedy, book] = list(range(CENTS + 1))
    for line in (line for policy in policies for line in policy.budgets):
        key = budget_key(line.per, line.every, line.when.words.get("remedy", ()))
        domains["used", key], domains["times", key] = list(range(CENTS + 1)), list(range(4))
    for item in {item for policy in policies for line in policy.requires for item in line.evidence}:
        domains["proof", item] = [0, 1]
    domains["proof", "reason"] = [0, 1]
    if not all(domains.values()):
        raise ValueError("the policies have no request in common")
    count, order = len(domains["amount"]), sorted(domains.keys() - {"amount"}, key=str)
    random.shuffle(order)
    for key in order:
        if count * len(domains[key]) > most:
            often = 0 if key[0] == "had" and random.random() < 0.6 else None
            domains[key] = [random.choice(domains[key]) if often is None else often]
        count *= len(domains[key])
    shape = np.indices([len(domain) for domain in domains.values()], dtype=np.int32).reshape(len(domains), -1)
    columns = {
        key: np.array(domain, dtype=np.int64)[at] for (key, domain), at in zip(domains.items(), shape, strict=True)
    }
    had = sum(column for key, column in columns.items() if key[0] == "had" and key[2] == "goodwill")
    columns["counted"] = columns["counted"] | (had > 0)  # what was granted is counted; 0 where it was voided since
    return Grid(basis, words, columns)


def _named(policies, name):
    """The words of a field that some line names, where no policy lists any."""
    for policy in policies:
        for line in (*policy.lines(), *policy.promises):
            for asked in (line.when, line.unless):
                yield from asked.words.get(name, ()) if asked is not None else ()
        if name == "remedy":
            yield from (row for line in policy.authority for row in line.up_to if row != "total")
            yield from (line.remedy for line in policy.owed)


def _must_have(policy: Policy, name: str) -> bool:
    asked = [part for line in policy.lines() for part in (line.when, line.unless) if part is not None]
    read = any(name in part.words for part in asked) or (name == "category" and bool(policy.reason_codes))
    return read and policy.words.known(name) is not None


# --- regions on a grid ------------------------------------------------------------------------------------------------


class Inside:
    """Which requests of a grid lie in a box."""

    def __init__(self, space: Space, grid: Grid) -> None:
        self.space, self.grid, self.columns = space, grid, grid.columns
        self._known: dict[object, np.ndarray] = {}

    def __call__(self, box: Box) -> np.ndarray:
        """As packed bits."""
        found = np.full((len(self.grid) + 7) // 8, 255, dtype=np.uint8)
        for place, label in box.items():
            if (place, label) not in self._known:
                self._known[place, label] = np.packbits(self._holds(self.space.dimensions[place], label))
            found = found & self._known[place, label]
        return found

    def _holds(self, dimension: Dimension, label) -> np.ndarray:
        kind, key, columns = dimension.kind, dimension.key, self.columns
        if kind == SHARE:
            return self._share(*key, label)
        if kind == PROOF:
            return np.isin(columns["proof", key[0]], [int(on_file) for on_file in label])
        if kind == NUMBER:
            value = self._number(key[1])
        elif kind == COST:
            value = columns["amount"] > 0
        elif kind == SUM:
            value = self._sum(dimension)
        elif kind == BUDGET:
            value = columns["used", key] + columns["amount"]
        elif kind == TIMES:
            value = columns["times", key] + 1 - columns["counted"]
        else:
            name = "role" if kind == ROLE else key[1]
            held = np.array([self._word(dimension, name, word) in label for word in self.grid.words[name]])
            return held[columns[name]]
        held = np.zeros(len(self.grid), dtype=bool)
        for low, high in label:
            held |= (low <= value) & (value <= high)
        return held

    def _word(self, dimension: Dimension, name: str, word):
        domain = self.space.domains[self.space.place(dimension)]
        if word is None:
            word = "" if "" in domain else self._default(name)
        return word if word in domain else OTHER

    def _default(self, name: str):
        defaults = {policy.facts[name].default for policy in self.space.policies if name in policy.facts}
        return next(iter(defaults), None)

    def _number(self, name: str) -> np.ndarray:
        column = self.columns[name]
        missing = ABSENT
        if name != "bill" and self.space.domains[self.space.place(Dimension(NUMBER, (1, name)))][0][0] != ABSENT:
            missing = self._default(name)
        return column if missing is None else np.where(column == NO_BILL, missing, column)

    def _sum(self, dimension: Dimension) -> np.ndarray:
        remedies, basis = dimension.key[2:]
        return self.columns["amount"] + self.grid.had(remedies, BOOKS if basis == "both" else (basis,))

    def _share(self, base: Dimension, how: str, counted: Dimension, label) -> np.ndarray:
        had, of = self._sum(counted), self._number(base.key[1])
        held = np.zeros(len(self.grid), dtype=bool)

        def covers(share: int) -> np.ndarray:
            if share < 0 or share >= HIGHEST_SHARE:
                return np.full(len(self.grid), share >= HIGHEST_SHARE)
            known = np.where(of == ABSENT, 0, of)
            limit = share * known if how == "each" else (share * known + 5000 * (how == "owed percent")) // 10000
            return (of != ABSENT) & (had <= limit)

        for low, high in label:
            held |= covers(high) & ~covers(low - 1)
        return held
