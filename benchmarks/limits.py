"""policy.yaml once more, by hand: the peers' rules are made of these figures and never of the parsed policy."""

from typing import NamedTuple

LADDER = ("associate", "lead", "manager", "area_manager", "executive")
REMEDIES = ("refund", "comp_item", "discount", "voucher", "fee_waiver")
CATEGORIES = ("wrong_item", "quality", "delay", "billing", "cleanliness", "staff_conduct", "safety")
SEVERITIES = ("minor", "moderate", "major", "critical")
SITES = ("S001", "S002", "S003", "S101", "S102")

FRANCHISE = ("S101", "S102")
MAJOR = ("major", "critical")
GIFTS = ("discount", "comp_item")
MOST_DAYS = 60
MOST_SMALL_VOUCHERS = 20_000

UNLIMITED = 10**12
NONE = -1  # every grant is above it


class Row(NamedTuple):
    """Limits by role, in minor units, on all remedies together or on one, where a scope holds."""

    remedy: str  # empty: all together
    scope: str  # plain, major or franchise; empty: everywhere
    limits: tuple[int, ...]


# The last line that fits replaces the earlier ones, so exactly one scope of a row holds: franchise, else major, else
# plain. Franchise is a site of it in any category but safety.
ROWS = (
    Row("", "plain", (10_000, 25_000, 50_000, 250_000, UNLIMITED)),
    Row("", "major", (15_000, 40_000, 50_000, 250_000, UNLIMITED)),
    Row("", "franchise", (5_000, 15_000, 50_000, 100_000, UNLIMITED)),
    Row("refund", "plain", (10_000, 25_000, 50_000, 250_000, UNLIMITED)),
    Row("refund", "major", (15_000, 40_000, 50_000, 250_000, UNLIMITED)),
    Row("refund", "franchise", (5_000, 15_000, 50_000, 250_000, UNLIMITED)),
    Row("comp_item", "", (4_000, 8_000, 20_000, 100_000, UNLIMITED)),
    Row("discount", "", (5_000, 10_000, 20_000, 100_000, UNLIMITED)),
    Row("voucher", "", (2_500, 10_000, 25_000, 50_000, 500_000)),
    Row("fee_waiver", "", (NONE, 10_000, 30_000, 150_000, UNLIMITED)),
)


class Ceiling(NamedTuple):
    """What binds every role below one of them."""

    line: str
    remedies: tuple[str, ...]
    binds_below: int  # a place in the ladder; its length: everyone


NEVER_OVER_BILL = Ceiling("never-over-bill", ("refund",), len(LADDER))
HALF_THE_BILL = Ceiling("half-the-bill", GIFTS, LADDER.index("area_manager"))
SMALL_VOUCHERS = Ceiling("small-vouchers", ("voucher",), LADDER.index("executive"))


def scope_of(severity: str, site: str, category: str) -> str:
    """Which scope of a row holds."""
    if site in FRANCHISE and category != "safety":
        return "franchise"
    return "major" if severity in MAJOR else "plain"


def limit(remedy: str, scope: str, rank: int) -> int:
    """The limit in force; without limit where the remedy has no row of its own."""
    for row in ROWS:
        if row.remedy == remedy and row.scope in ("", scope):
            return row.limits[rank]
    return UNLIMITED
