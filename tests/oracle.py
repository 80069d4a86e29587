"""POLICY.md in the plainest Python: the judge of the engine.

It decides from the text of the policy, line by line, and shares no code with the library: no cells, no bands, no
codes, no memo. What may be granted is found by trying. A line that says nothing clear about an amount raises KeyError.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

import yaml

SECTIONS = ("authority", "ceilings", "budgets", "owed", "deny", "requires", "four_eyes", "someone_else")
GOODWILL_ONLY = ("authority", "ceilings", "budgets", "four_eyes")
BUILT_IN = ("remedy", "category", "severity", "site", "basis")
DIGITS = {"JPY": 0, "USD": 2, "EUR": 2, "GBP": 2, "BHD": 3}
UNLIMITED, NO_BILL = 10**15, -(10**15)


@dataclass(frozen=True)
class Answer:
    outcome: str
    to: str | None = None
    second: str | None = None
    needs: frozenset = frozenset()
    because: frozenset = frozenset()


class PlainPolicy:
    """The text of a policy, with ids filled in and nothing else understood yet."""

    def __init__(self, text):
        self.text, self.raw = text, yaml.load(text, getattr(yaml, "CBaseLoader", yaml.BaseLoader))
        self.ladder, self.facts = self.raw["ladder"], self.raw.get("facts", {})
        for section in SECTIONS:
            for index, line in enumerate(self.raw.get(section, []), 1):
                line.setdefault("id", f"{section}-{index}")

    def lines(self, section):
        return self.raw.get(section, [])

    def kind(self, name):
        if name in ("amount", "bill"):
            return "money"
        return "word" if name in BUILT_IN else next(kind for kind in self.facts[name] if kind != "default")

    def minor(self, text):
        return int(Decimal(text) * 10 ** DIGITS[self.raw["currency"]])

    def number(self, name, text):
        return self.minor(text) if self.kind(name) == "money" else int(text)

    def allowed(self, name, values):
        """The words that a condition allows; a group of sites stands for its sites."""
        groups = self.raw.get("sites", {})
        if name != "site" or not isinstance(groups, dict):
            return values
        return [site for value in values for site in groups.get(value, [value])]

    def holds(self, name, values, actual):
        """Whether one condition holds; a list means any of these."""
        values = values if isinstance(values, list) else [values]
        if self.kind(name) not in ("money", "number"):
            return actual in self.allowed(name, values)
        return actual is not None and any(self._compares(name, value, actual) for value in values)

    def _compares(self, name, text, actual):
        if match := re.fullmatch(r"from (\S+) to (\S+)", text):
            return self.number(name, match[1]) <= actual <= self.number(name, match[2])
        word, _, figure = text.rpartition(" ")
        limit = self.number(name, figure)
        return {
            "over": actual > limit,
            "at least": actual >= limit,
            "under": actual < limit,
            "at most": actual <= limit,
            "": actual == limit,
        }[word]


class Case:
    """One request with its usage, for any amount."""

    def __init__(self, policy, request, usage):
        self.policy, self.request, self.usage = policy, request, usage
        self.basis, self.remedy, self.ladder = request.basis, request.remedy, policy.ladder
        self.rank = policy.ladder.index(request.role)
        self.known = {name: getattr(request, name) for name in BUILT_IN}
        self.known["bill"] = None if request.bill is None else request.bill.minor
        self.known |= {name: self._fact(name) for name in policy.facts}
        self.proof = set(request.evidence) | ({"note"} if (request.note or "").strip() else set())
        self.proof |= {"reason"} if request.reason is not None else set()
        self.fitting = {name: [line for line in policy.lines(name) if self._fits(name, line)] for name in SECTIONS}

    def _fact(self, name):
        declared, given = self.policy.facts[name], self.request.facts.get(name)
        if given is None:
            if "default" not in declared:
                return None
            text = declared["default"]
            return self.policy.number(name, text) if self.policy.kind(name) in ("number", "money") else text
        if isinstance(given, bool):
            return str(given).lower()
        return getattr(given, "minor", given)

    # --- which lines fit (rule 8) ---

    def _in_use(self, section, line):
        """Whether this basis uses the line, for this remedy."""
        if section == "owed":
            return self.basis == "owed" and line["remedy"] == self.remedy
        return section not in GOODWILL_ONLY or self.basis == "goodwill"

    def _fits(self, section, line):
        """Whether the line fits, its condition on ``amount`` aside."""
        when, unless = line.get("when", {}), line.get("unless")
        if not self._in_use(section, line) or not self._all_hold(when):
            return False
        return unless is None or not self._all_hold(unless)

    def _all_hold(self, asked):
        return all(self.policy.holds(name, asked[name], self.known[name]) for name in asked if name != "amount")

    def fits(self, section, amount):
        """The lines that fit a grant of *amount*; in a `when` it is the sum, but 0 for a grant of 0 (rules 2, 3)."""
        own = self.usage.on_case if self.basis == "goodwill" else self.usage.owed_on_case
        for line in self.fitting[section]:
            when = line.get("when", {})
            total = amount and amount + had(own, when.get("remedy"))
            if "amount" not in when or self.policy.holds("amount", when["amount"], total):
                yield line

    def facts_asked(self):
        """The facts without default that the request must bring (rule 9)."""
        for section in SECTIONS:
            for line in self.policy.lines(section):
                when, unless = line.get("when", {}), line.get("unless", {})
                words = self._all_hold({name: when[name] for name in when if name in BUILT_IN})
                excluded = unless and set(unless) <= set(BUILT_IN) and self._all_hold(unless)
                if self._in_use(section, line) and words and not excluded:
                    reads = {*when, *unless, line.get("of"), line.get("per") if section != "budgets" else None}
                    yield from (n for n in reads if n in self.policy.facts and "default" not in self.policy.facts[n])

    def words_required(self):
        """The category, severity and site, where the policy lists them and some line reads them (rule 9)."""
        lists = {"category": "categories", "severity": "severities", "site": "sites"}
        read = {
            name
            for s in SECTIONS
            for line in self.policy.lines(s)
            for name in {**line.get("when", {}), **line.get("unless", {})}
        }
        read |= {"category"} if "reason_codes" in self.policy.raw else set()
        return {name for name, listed in lists.items() if listed in self.policy.raw and name in read}

    # --- what stops a role (rules 2 to 7) ---

    def stops(self, rank, amount, proof, requester):
        """The lines that stop a role; budgets per employee only where the person is known (rule 4)."""
        found = {line for line, _ in self.proof_missing(rank, amount, proof)}
        if self.basis == "owed":
            due, line = self.due()
            return found | ({line} if amount > due else set())
        rows = self.rows(rank)
        if not rows:
            found.add("no-row")
        for row, (cell, line) in rows.items():
            total = amount + had(self.usage.on_case, None if row == "total" else row)
            if cell == "none" or (cell != "unlimited" and amount and total > self.policy.minor(cell)):
                found.add(line)
        if not amount:
            return found
        for line in self.fitting["ceilings"]:
            names = line.get("when", {}).get("remedy")
            total = amount + had(self.usage.on_case, names) + had(self.usage.owed_on_case, names)
            if self.binds(line, "binds_below", rank) and not all(total <= limit for limit in self.limits(line, 0)):
                found.add(line["id"])
        for line in self.fitting["budgets"]:
            used = self.usage.used.get(line["id"])
            spent, times = (used.amount, used.times) if used else (0, 0)
            times += not self.usage.on_case
            over = "amount" in line and spent + amount > self.policy.minor(line["amount"])
            often = "times" in line and times > int(line["times"])
            if (over or often) and self.binds(line, "binds_below", rank) and (requester or line["per"] != "employee"):
                found.add(line["id"])
        return found

    def binds(self, line, key, rank):
        return key not in line or rank < self.ladder.index(line[key])

    def rows(self, rank):
        """The authority rows in force for a role: a later line replaces an earlier one, row by row (rule 2)."""
        found = {}
        for line in self.fitting["authority"]:
            for row in {"total", self.remedy} & set(line["up_to"]):
                cells = line["up_to"][row]
                if isinstance(cells, dict):
                    named = ["none"]
                    for role in self.ladder:
                        named.append(cells.get(role, named[-1]))
                    cells = named[1:]
                if cells[rank] != "same":
                    found[row] = (cells[rank], line["id"])
        return found

    def limits(self, line, half):
        """What the line allows, one limit for each way it names; below everything where no bill is on file (rule 6)."""
        if "amount" in line:
            yield self.policy.minor(line["amount"])
        if "percent" in line:
            base, hundredths = self.known[line["of"]], int(Decimal(line["percent"]) * 100)
            yield NO_BILL if base is None else (hundredths * base + half) // 10000
        if "each" in line:
            yield self.policy.minor(line["each"]) * self.known[line["per"]]

    def due(self):
        """What is still due, and by which line: the one that leaves most, the first of equals (rule 7)."""
        best = None
        for line in self.fitting["owed"]:
            limits = list(self.limits(line, 5000))
            left = min(limits) - had(self.usage.owed_on_case, line["remedy"])
            left -= 0 if line.get("on_top") == "true" else had(self.usage.on_case, line["remedy"])
            if NO_BILL in limits:
                left = 0
            if best is None or left > best[0]:
                best = (left, line["id"])
        return (0, "nothing-owed") if best is None else (max(0, best[0]), best[1])

    def proof_missing(self, rank, amount, proof):
        for line in self.fits("requires", amount):
            evidence = line.get("evidence", [])
            asked = set(evidence if isinstance(evidence, list) else [evidence])
            asked |= {"note"} if line.get("note") == "true" else set()
            if asked - proof and self.binds(line, "waivable_by", rank):
                yield line["id"], asked - proof
        if self.request.category in self.policy.raw.get("reason_codes", {}) and "reason" not in proof:
            yield "reason_codes", {"reason"}

    # --- the outcome (rule 5) ---

    def outcome(self, amount, proof):
        """The answer with this proof on file, and the rank whose authority carries it."""
        top, rank = len(self.ladder) - 1, self.rank
        if denied := {line["id"] for line in self.fits("deny", amount)}:
            return Answer("deny", because=frozenset(denied)), None
        if self.basis == "owed" and amount > self.due()[0]:
            return Answer("deny", because=frozenset({self.due()[1]})), None
        others = {line["id"] for line in self.fits("someone_else", amount)}
        pairs = list(self.fits("four_eyes", amount)) if amount else []
        stopped = self.stops(rank, amount, proof, requester=True)

        def second(first):
            asked = [
                first + 1 if line["second"] == "next_role" else self.ladder.index(line["second"]) for line in pairs
            ]
            return self.ladder[min(top, max(asked))] if asked else None

        why = frozenset(others | stopped | (set() if stopped else {line["id"] for line in pairs}))
        if not others and not stopped:
            if pairs:
                return Answer("escalate", second(rank), second(rank), because=why), rank
            used = {line for _, line in self.rows(rank).values()} if self.basis == "goodwill" else {self.due()[1]}
            return Answer("approve", because=frozenset(used - {"nothing-owed"})), rank
        for other in range(rank if others or rank == top else rank + 1, top + 1):
            if not self.stops(other, amount, proof, requester=False):
                return Answer("escalate", self.ladder[other], second(other), because=why), other
        return Answer("deny", because=frozenset(self.stops(top, amount, proof, requester=False))), None

    def answer(self):
        """The whole answer to the amount asked for."""
        amount = self.request.amount.minor
        everything = self.proof | {"note", "reason"} | self._all_evidence()
        (given, _), (best, acting) = self.outcome(amount, self.proof), self.outcome(amount, everything)
        behind = [] if acting is None else list(self.proof_missing(acting, amount, self.proof))
        needs = frozenset(item for _, items in behind for item in items)
        if given.outcome == "deny" and best.outcome != "deny":
            return Answer("incomplete", needs=needs, because=frozenset(line for line, _ in behind))
        return Answer(given.outcome, given.to, given.second, needs, given.because)

    def _all_evidence(self):
        found = [line.get("evidence", []) for line in self.policy.lines("requires")]
        return {item for items in found for item in (items if isinstance(items, list) else [items])}

    def rungs(self):
        """Every role with the lines that stop it; someone_else stops the requester, deny everybody."""
        amount = self.request.amount.minor
        for rank, role in enumerate(self.ladder):
            found = {line["id"] for line in self.fits("deny", amount)}
            if rank == self.rank:
                found |= {line["id"] for line in self.fits("someone_else", amount)}
            yield role, frozenset(found | self.stops(rank, amount, self.proof, rank == self.rank))

    # --- what may be granted, by trying ---

    def approves(self, amount):
        return self.outcome(amount, self.proof)[0].outcome == "approve"

    def grantable_now(self):
        """The largest amount that is approved; None without limit, 0 for nothing."""
        most = next((amount for amount in sorted(self.edges(), reverse=True) if self.approves(amount)), 0)
        return None if most == UNLIMITED else most

    def edges(self):
        """Every amount at which anything could change, and its neighbours."""
        sums = {had(book, names) for names in self._named() for book in (self.usage.on_case, self.usage.owed_on_case)}
        sums |= {had(self.usage.on_case, names) + had(self.usage.owed_on_case, names) for names in self._named()}
        sums |= {0} | {used.amount for used in self.usage.used.values()}
        found = {0, 1, UNLIMITED, self.due()[0]}
        for limit in self._limits_named():
            found |= {limit - total + step for total in sums for step in (-1, 0, 1)}
        return {amount for amount in found if 0 <= amount <= UNLIMITED}

    def _named(self):
        yield from (None, self.remedy)
        for section in ("ceilings", "deny", "requires", "four_eyes", "someone_else"):
            yield from (line.get("when", {}).get("remedy") for line in self.fitting[section])

    def _limits_named(self):
        yield from (self.policy.minor(cell) for cell, _ in self.rows(self.rank).values() if cell[0].isdigit())
        for line in (*self.fitting["ceilings"], *self.fitting["budgets"]):
            yield from self.limits({name: line[name] for name in line if name != "per" or "each" in line}, 0)
        for section in ("deny", "requires", "four_eyes", "someone_else"):
            for line in self.fitting[section]:
                yield from map(self.policy.minor, re.findall(r"\d[\d.]*", str(line.get("when", {}).get("amount", ""))))


def had(book, names):
    """What the case already had of the remedies named; of all, if none is."""
    return sum(
        amount
        for remedy, amount in book.items()
        if names is None or remedy in ([names] if isinstance(names, str) else names)
    )
