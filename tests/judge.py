"""Every request of a grid decided at once: the judge of regions, gaps and promises.

The rules of POLICY.md are worked out on whole columns, from the text of a policy, and share nothing with the library's
own.
"""

from decimal import Decimal
from functools import lru_cache

import numpy as np
from oracle import BUILT_IN, NO_BILL, SECTIONS, PlainPolicy
from tiny import BOOKS, NAMES, Grid, budget_key

from recovery_engine.whatif.ranges import ABSENT


@lru_cache(4)
def _plain(text: str) -> PlainPolicy:
    return PlainPolicy(text)


class Judge:
    """What one policy says to every request of a grid."""

    def __init__(self, text: str, grid: Grid) -> None:
        self.policy, self.grid, self.columns = _plain(text), grid, grid.columns
        self.ladder, self.goodwill = self.policy.ladder, grid.basis == "goodwill"
        self.cost = self.columns["amount"] > 0
        self.none = np.zeros(len(grid), dtype=bool)
        self.rank = np.array([self.ladder.index(role) for role in grid.words["role"]])[self.columns["role"]]
        self.fitting = {section: self._fitting(section) for section in SECTIONS}

    def _fitting(self, section):
        lines = self.policy.lines(section)
        if section in ("authority", "ceilings", "budgets", "four_eyes") and not self.goodwill:
            lines = []
        if section == "owed" and self.goodwill:
            lines = []
        return [(line, self.fits(line) & self.same_remedy(line)) for line in lines]

    def same_remedy(self, line):
        if "remedy" not in line:
            return ~self.none
        return np.array([word == line["remedy"] for word in self.grid.words["remedy"]])[self.columns["remedy"]]

    def fits(self, line):
        fits = self.all_hold(line.get("when", {}))
        return fits & ~self.all_hold(line["unless"]) if "unless" in line else fits

    def all_hold(self, asked):
        held = ~self.none
        for name, values in asked.items():
            held = held & self.holds(name, values if isinstance(values, list) else [values], asked)
        return held

    def holds(self, name, values, asked):
        if name == "basis":
            return self.none | (self.grid.basis in values)
        if name in self.grid.words:
            allowed = values if name == "role" else self.policy.allowed(name, values)
            return np.array([self.said(name, word) in allowed for word in self.grid.words[name]])[self.columns[name]]
        if name == "amount":
            actual = np.where(self.cost, self.total(asked.get("remedy"), (self.grid.basis,)), 0)
        else:
            actual = self.number(name)
        compared = self.none
        for value in values:
            compared = compared | self.compares(name, value, actual)
        return compared & (actual != NO_BILL)

    def said(self, name, word):
        if word is None:
            word = self.policy.facts.get(name, {}).get("default") if name not in BUILT_IN else None
        return str(word).lower() if isinstance(word, bool) else word

    def compares(self, name, text, actual):
        word, _, figure = text.rpartition(" ")
        if word.startswith("from "):
            low, high = word.split()[1], figure
            return (self.policy.number(name, low) <= actual) & (actual <= self.policy.number(name, high))
        limit = self.policy.number(name, figure)
        return {
            "over": actual > limit,
            "at least": actual >= limit,
            "under": actual < limit,
            "at most": actual <= limit,
            "": actual == limit,
        }[word]

    def number(self, name):
        column = self.columns[name]
        default = None if name == "bill" else self.policy.facts[name].get("default")
        return column if default is None else np.where(column == NO_BILL, self.policy.number(name, default), column)

    def total(self, names, books):
        names = [names] if isinstance(names, str) else names or []
        return self.columns["amount"] + self.grid.had(names, books)

    def within(self, line, counted, half):
        """Whether the sum is within everything the line names."""
        held = ~self.none
        if "amount" in line:
            held = held & (counted <= self.policy.minor(line["amount"]))
        if "percent" in line:
            base, hundredths = self.number(line["of"]), int(Decimal(line["percent"]) * 100)
            held = held & (base != NO_BILL) & (counted <= (hundredths * base + half) // 10000)
        if "each" in line:
            held = held & (counted <= self.policy.minor(line["each"]) * self.number(line["per"]))
        return held

    # --- who is stopped (rules 2 to 7), for each role: those asked, and those asking ---

    def stopped(self, rank):
        if not self.goodwill:
            return self.none, self.none
        found, cells = self.none, dict[str, np.ndarray]()
        for remedy, row in self.rows():
            cells[row] = np.where(remedy, self.cell(row, rank), ABSENT)
        limits = np.array(list(cells.values()))
        found = (limits == ABSENT).all(0) | (limits == -1).any(0)
        for row, limit in cells.items():
            over = self.total(None if row == "total" else row, ("goodwill",)) > limit
            found = found | (self.cost & (limit >= 0) & over)
        own = found
        for line, fits in self.fitting["ceilings"]:
            if self.binds(line, "binds_below", rank):
                over = self.cost & fits & ~self.within(line, self.total(line.get("when", {}).get("remedy"), BOOKS), 0)
                found, own = found | over, own | over
        for line, fits in self.fitting["budgets"]:
            if self.binds(line, "binds_below", rank):
                names = line.get("when", {}).get("remedy", [])
                key = budget_key(line["per"], line["every"], [names] if isinstance(names, str) else names)
                over = self.none
                if "amount" in line:
                    over = self.columns["used", key] + self.columns["amount"] > self.policy.minor(line["amount"])
                if "times" in line:
                    over = over | (self.columns["times", key] + 1 - self.columns["counted"] > int(line["times"]))
                over = over & fits & self.cost
                own = own | over
                found = found if line["per"] == "employee" else found | over
        return found, own

    def rows(self):
        yield ~self.none, "total"
        for at, remedy in enumerate(self.grid.words["remedy"]):
            yield self.columns["remedy"] == at, remedy

    def cell(self, row, rank):
        """The cell in force: -1 for none, ABSENT where there is none at all."""
        found = np.full(len(self.grid), ABSENT)
        for line, fits in self.fitting["authority"]:
            cells = line["up_to"].get(row, ["same"] * len(self.ladder))
            if isinstance(cells, dict):
                named = ["none"]
                for role in self.ladder:
                    named.append(cells.get(role, named[-1]))
                cells = named[1:]
            if cells[rank] != "same":
                said = {"none": -1, "unlimited": 2**60}.get(cells[rank])
                found = np.where(fits, self.policy.minor(cells[rank]) if said is None else said, found)
        return found

    def binds(self, line, key, rank):
        return key not in line or rank < self.ladder.index(line[key])

    def unproven(self):
        """The proof that is missing: each with the rank from which it may be waived."""
        top = len(self.ladder)
        for line, fits in self.fitting["requires"]:
            evidence = line.get("evidence", [])
            items = {evidence} if isinstance(evidence, str) else {*evidence}
            items |= {"note"} if line.get("note") == "true" else set()
            for item in items:
                rank = self.ladder.index(line["waivable_by"]) if "waivable_by" in line else top
                yield item, rank, fits & (self.columns["proof", item] == 0)
        codes = self.policy.raw.get("reason_codes", {})
        lacks = np.array([word in codes for word in self.grid.words["category"]])[self.columns["category"]]
        yield "reason", top, lacks & (self.columns["proof", "reason"] == 0)

    # --- the outcome (rule 5) ---

    def answers(self) -> tuple[np.ndarray, np.ndarray]:
        """A number for each request that stands for its answer, and whether it is denied because nobody may."""
        proofs, top = list(self.unproven()), len(self.ladder) - 1
        denied = self.any_of("deny")
        if not self.goodwill:
            covered = ~self.cost
            for line, fits in self.fitting["owed"]:
                books = ("owed",) if line.get("on_top") == "true" else BOOKS
                covered = covered | (fits & self.within(line, self.total(line["remedy"], books), 5000))
            denied = denied | ~covered
        stops = [self.stopped(rank) for rank in range(top + 1)]
        lacking = [self._lacking(proofs, rank) for rank in range(top + 1)]
        given = self._who(denied, [(a | lack, b | lack) for (a, b), lack in zip(stops, lacking, strict=True)])
        full = self._who(denied, stops)
        outcome = np.where((given[0] == 1) & (full[0] != 1), 2, given[0])
        needs = np.zeros(len(self.grid), dtype=np.int64)
        for item, rank, lacks in proofs:
            needs |= np.where(lacks & (full[3] >= 0) & (full[3] < rank), self.bit(item), 0)
        by_rank = np.array([NAMES.index(role) for role in (*self.ladder, None)])
        to, second = by_rank[given[1]], by_rank[given[2]]
        return ((outcome * 16 + to) * 16 + second) * 4096 + needs, (outcome == 1) & ~denied

    def any_of(self, section):
        found = self.none
        for _, fits in self.fitting[section]:
            found = found | fits
        return found

    def _lacking(self, proofs, rank):
        found = self.none
        for _, waived, lacks in proofs:
            found = found | lacks if rank < waived else found
        return found

    def bit(self, item):
        return 1 << sorted(key[1] for key in self.columns if key[0] == "proof").index(item)

    def _who(self, denied, stops):
        """Outcome (approve, deny, -, escalate), the ranks asked (-1 for nobody), and whose authority carries it."""
        top, rank = len(self.ladder) - 1, self.rank
        elsewhere = self.any_of("someone_else")
        eyes = [(line["second"], fits & self.cost) for line, fits in self.fitting["four_eyes"]]

        def second(first):
            found = np.full(len(rank), -1)
            for said, fits in eyes:
                asked = min(first + 1, top) if said == "next_role" else self.ladder.index(said)
                found = np.where(fits, np.maximum(found, asked), found)
            return found

        outcome = np.full(len(rank), 1)
        to, also, acting = (np.full(len(rank), -1) for _ in range(3))
        for asked in range(top, -1, -1):
            may = ~stops[asked][0] & (asked >= rank + (~elsewhere & (rank < top)))
            outcome, to, also = np.where(may, 3, outcome), np.where(may, asked, to), np.where(may, second(asked), also)
            acting = np.where(may, asked, acting)
        for own in range(top + 1):
            may = (rank == own) & ~stops[own][1] & ~elsewhere
            both = second(own)
            outcome = np.where(may, np.where(both >= 0, 3, 0), outcome)
            to, also, acting = np.where(may, both, to), np.where(may, both, also), np.where(may, own, acting)
        outcome, to, also = np.where(denied, 1, outcome), np.where(denied, -1, to), np.where(denied, -1, also)
        return outcome, to, also, np.where(denied, -1, acting)

    # --- promises ---

    def broken(self, answers: np.ndarray) -> list[np.ndarray]:
        """Of each promise, in which requests it does not hold."""
        outcome, to = answers >> 20, answers >> 16 & 15
        found = []
        for promise in self.policy.raw.get("promises", []):
            speaks = self.fits({key: promise[key] for key in ("when", "unless") if key in promise})
            bases = promise.get("when", {}).get("basis", "goodwill")
            speaks = speaks & (self.grid.basis in bases)
            said = promise.get("never", promise.get("always"))
            if isinstance(said, dict):
                happens = (outcome == 3) & (to == NAMES.index(said["escalate_to"]))
            else:
                happens = outcome == {"approve": 0, "deny": 1, "incomplete": 2}[said]
            found.append(speaks & (happens if "never" in promise else ~happens))
        return found
