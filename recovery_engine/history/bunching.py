"""People ask for what they may give: how many requests stand just below a limit, against those around it.

A back-test cannot show what people would ask for under another limit. Where they keep to the one they have, history
holds too few of the requests that a higher one would bring, and says so only here.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from recovery_engine.money import Money
from recovery_engine.policy.schema import Policy

WINDOW_PERCENT = 10
_LEAST = 5
_SURE = 0.01


class Limit(NamedTuple):
    """A limit of a role, of one remedy or of all ("")."""

    role: str
    remedy: str
    minor: int

    @property
    def edges(self) -> tuple[int, int, int, int, int]:
        """Two windows below, the limit, two above: each so many percent of the limit wide, its upper end included."""
        width = self.minor * WINDOW_PERCENT // 100
        return (
            self.minor - 2 * width,
            self.minor - width,
            self.minor,
            self.minor + width,
            self.minor + 2 * width,
        )


class Bunching(NamedTuple):
    """What stands around one limit, in requests: the two windows below it and the two above, each a tenth of it wide.

    ``expected`` would be in the last window below if the numbers went on as around it: two thirds of the window before
    and one third of the second above. ``p`` is the chance (one-sided, binomial at 1/2) that so much more of the two
    windows below is in the last one, times the number of limits looked at.
    """

    role: str
    remedy: str
    limit: Money
    requests: int
    before: int
    just_below: int
    just_above: int
    beyond: int
    p: float

    @property
    def expected(self) -> float:
        """How many would be in the last window below the limit."""
        return (2 * self.before + self.beyond) / 3

    @property
    def share(self) -> float:
        """The share of all requests of the role (and remedy) in the last window below the limit."""
        return self.just_below / self.requests if self.requests else 0.0

    @property
    def expected_share(self) -> float:
        """What that share would be."""
        return self.expected / self.requests if self.requests else 0.0

    @property
    def ratio(self) -> float:
        """How many times as many as in the window before; halves keep it finite (MEASURES: just below the limit)."""
        return (self.just_below + 0.5) / (self.before + 0.5)

    @property
    def is_clear(self) -> bool:
        """Whether people keep to this limit, beyond chance."""
        return self.just_below >= _LEAST and self.p < _SURE and self.just_below > self.expected

    @property
    def text(self) -> str:
        """It in words."""
        what = f" of {self.remedy}" if self.remedy else ""
        return (
            f"{self.role}, limit {self.limit}{what}: {self.just_below:,} of {self.requests:,} requests "
            f"({100 * self.share:.1f} %) are in the last {WINDOW_PERCENT} % below it, where the numbers around it "
            f"would put {self.expected:,.0f} ({100 * self.expected_share:.1f} %); {self.just_above:,} are just above"
        )


def limits_of(policy: Policy) -> tuple[Limit, ...]:
    """Every amount of an authority row, by role: those are the limits that people know."""
    found = {
        Limit(role, "" if row == "total" else row, cell): None
        for line in policy.authority
        for row, cells in line.up_to.items()
        for role, cell in zip(policy.ladder, cells, strict=False)
        if isinstance(cell, int) and cell * WINDOW_PERCENT >= 100
    }
    return tuple(sorted(found, key=lambda one: (policy.rank(one.role), one.remedy, one.minor)))


def bunching(
    limits: Sequence[Limit], currency: str, counts: Mapping[tuple[str, str], Mapping[int, int]]
) -> tuple[Bunching, ...]:
    """What stands around each limit. *counts*: requests by (role, remedy) and by the highest amount of their band."""
    found = list(_around(limits, currency, counts))
    return tuple(one._replace(p=min(1.0, one.p * len(found))) for one in found)


def _around(
    limits: Iterable[Limit], currency: str, counts: Mapping[tuple[str, str], Mapping[int, int]]
) -> Iterator[Bunching]:
    for limit in limits:
        of_it = [
            bands for (role, remedy), bands in counts.items() if role == limit.role and limit.remedy in ("", remedy)
        ]
        requests = sum(sum(bands.values()) for bands in of_it)
        if not requests:
            continue
        edges = limit.edges
        windows = [
            sum(count for bands in of_it for top, count in bands.items() if low < top <= high)
            for low, high in pairwise(edges)
        ]
        before, below, above, beyond = windows
        p = at_least(below, before + below)
        yield Bunching(
            limit.role, limit.remedy, Money(limit.minor, currency), requests, before, below, above, beyond, p
        )


def at_least(heads: int, tosses: int) -> float:
    """The chance of so many heads or more; above a thousand tosses by the normal curve, which is close enough there."""
    if tosses <= 1_000:
        return float(sum(math.comb(tosses, one) for one in range(heads, tosses + 1)) / 2**tosses)
    return 0.5 * math.erfc((heads - 0.5 - tosses / 2) / math.sqrt(tosses / 2))
