"""What all requests of a case have in common, and of cases that share a receipt: it does not change on the way."""

from collections.abc import Callable, Container
from typing import Any, NamedTuple

import orjson

from recovery_engine.log.entry import Entry
from recovery_engine.log.verification.shelf import Shelf

_OF_THE_CASE = ("bill", "occurred_on", "category", "severity", "currency")
_OF_THE_RECEIPT = ("bill", "currency")


class Facts(NamedTuple):
    """What was said so far: the receipt, every customer (None: nobody was named), and the rest, None if not yet."""

    receipt: str | None
    customers: list[str | None]
    values: list[Any]


# Packed at once: most cases are never asked about again, and bytes are no burden to the collector of garbage.
def _packed(facts: Facts) -> bytes:
    return orjson.dumps(tuple(facts))


class Cases:
    """The facts of cases and receipts. *keys* is about how many of them there will be."""

    def __init__(self, file: Any, keys: int, most: int) -> None:
        self._facts: Shelf[bytes] = Shelf(file, "cases", keys, most)
        self._doubtful: list[tuple[str, Callable[[str], None], str]] = []

    def take(self, request: Entry, wrong: Callable[[str], None]) -> None:
        """Compare a request with those before it."""
        case, receipt, customer = request["case"], request.get("receipt"), request.get("customer")
        values = [request.get(name) for name in _OF_THE_CASE]
        self._compare(f"case:{case}", Facts(receipt, [customer], values), _OF_THE_CASE, wrong)
        if receipt is not None:
            values = [request.get(name) for name in _OF_THE_RECEIPT]
            customers: list[str | None] = [] if customer is None else [customer]
            self._compare(f"receipt:{receipt}", Facts(receipt, customers, values), _OF_THE_RECEIPT, wrong)

    def _compare(self, key: str, given: Facts, names: tuple[str, ...], wrong: Callable[[str], None]) -> None:
        packed = self._facts.get(key)
        if packed is None:
            self._facts.put(key, _packed(given))
            return
        had = Facts._make(orjson.loads(packed))
        if had.receipt != given.receipt:
            wrong(_another("receipt", key))
        for customer in given.customers:
            for other in had.customers:
                if other == customer:
                    continue
                if other is None:
                    wrong(_another("customer", key))
                else:
                    # Who was forgotten may be the same; the streams of sites and of erasures have no common order.
                    self._doubtful.append((other, wrong, _another("customer", key)))
        for name, one, other in zip(names, had.values, given.values, strict=True):
            if one != other and None not in (one, other):
                wrong(_another(name, key))
        customers = [*had.customers, *[customer for customer in given.customers if customer not in had.customers]]
        values = [other if one is None else one for one, other in zip(had.values, given.values, strict=True)]
        if customers != had.customers or values != had.values:
            self._facts.put(key, _packed(Facts(had.receipt, customers, values)))

    def finish(self, forgotten: Container[str]) -> None:
        """Name the cases that went to another customer although the one before was not *forgotten*."""
        for customer, wrong, what in self._doubtful:
            if customer not in forgotten:
                wrong(what)


def _another(name: str, key: str) -> str:
    kind, _, reference = key.partition(":")
    return f"the {kind} `{reference}` had another {name} before"
