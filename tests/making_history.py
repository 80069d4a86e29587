"""Histories for back-tests: requests written to files as somebody who never saw our engine would have them."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from recovery_engine import Money, RecoveryRequest

_PLAIN = ("id", "employee", "role", "site", "case", "receipt", "customer", "remedy", "category", "severity", "basis")


def written(folder: Path, requests: Iterable[RecoveryRequest], times: Iterable[str] = ()) -> Path:
    """A CSV file of requests, in their order; *times* are told as ``at``."""
    rows = [_row(request) for request in requests]
    for row, at in zip(rows, times, strict=False):
        row["at"] = at
    names = list(dict.fromkeys(name for row in rows for name in row))
    path = folder / "history.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


def _row(request: RecoveryRequest) -> dict[str, Any]:
    row: dict[str, Any] = {name: value for name in _PLAIN if (value := getattr(request, name))}
    row |= {"amount": request.amount.decimal, "evidence": " ".join(sorted(request.evidence)), "note": request.note}
    row |= {"bill": request.bill.decimal if request.bill else None, "reason": request.reason}
    return row | {name: _fact(value) for name, value in request.facts.items()}


def _fact(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.decimal if isinstance(value, Money) else str(value)
