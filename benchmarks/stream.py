"""The requests that every contestant answers: seeded, and mostly within a cent of some limit."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from benchmarks import limits

SEED = 2026


@dataclass(frozen=True)
class Case:
    """One request, in minor units. ``had`` is what the case already had, by remedy."""

    role: str
    remedy: str
    category: str
    severity: str
    site: str
    amount: int
    bill: int
    staff: bool
    days: int
    had: Mapping[str, int]

    # Adding up is the host's work for every contestant but recovery-engine: this grant included.

    @cached_property
    def total(self) -> int:
        """All remedies of the case together."""
        return self.amount + sum(self.had.values())

    @cached_property
    def own(self) -> int:
        """What the case has of this remedy."""
        return self.amount + self.had.get(self.remedy, 0)

    @cached_property
    def gifts(self) -> int:
        """Discounts and complimentary items together."""
        return self.amount + sum(self.had.get(remedy, 0) for remedy in limits.GIFTS)

    @cached_property
    def rank(self) -> int:
        """The role as its place in the ladder, the lowest 0."""
        return limits.LADDER.index(self.role)


def cases(count: int, seed: int = SEED) -> tuple[Case, ...]:
    """The first *count* requests of the stream."""
    return tuple(_stream(count, random.Random(seed)))


def _stream(count: int, draw: random.Random) -> Iterator[Case]:
    edges = sorted({limit for row in limits.ROWS for limit in row.limits if 0 < limit < limits.UNLIMITED})
    for _ in range(count):
        remedy = draw.choice(limits.REMEDIES)
        had = {} if draw.random() < 0.6 else {draw.choice(limits.REMEDIES): draw.choice((1_000, 2_500, 5_000))}
        # The amount that takes the case to an edge, one cent more or less, or anything.
        edge = draw.choice(edges) - sum(had.values()) + draw.choice((-1, 0, 0, 1))
        amount = edge if edge > 0 and draw.random() < 0.8 else draw.randrange(1, 300_000)
        yield Case(
            role=draw.choice(limits.LADDER),
            remedy=remedy,
            category=draw.choice(limits.CATEGORIES),
            severity=draw.choice(limits.SEVERITIES),
            site=draw.choice(limits.SITES),
            amount=amount,
            bill=max(0, draw.choice((amount, 2 * amount, 2 * amount, 5 * amount)) + draw.choice((-1, 0, 0, 1))),
            staff=draw.random() < 0.03,
            days=draw.choice((0, 3, 30, 59, 60, 60, 61)),
            had=had,
        )
