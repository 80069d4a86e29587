"""Which column of a row is which part of a request."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from recovery_cli.exits import Unusable
from recovery_cli.rows import read_json
from recovery_engine import InvalidRequest, Policy, RecoveryRequest, Usage, read_request

USAGE = tuple(field.name for field in fields(Usage))
REQUEST = (*(field.name for field in fields(RecoveryRequest) if field.name != "facts"), "currency")
NESTED = (*USAGE, "facts")
"""What holds a mapping: in CSV as JSON text."""


class Columns:
    """Turns a row into the parts of a request: constants first, then mapped columns, then columns by their names."""

    def __init__(self, policy: Policy, mapped: Mapping[str, str], constants: Mapping[str, str]) -> None:
        self.policy, self.mapped, self.constants = policy, mapped, constants
        self.known = (*REQUEST, *NESTED, *policy.facts)
        for name in (*mapped, *constants):
            if name not in self.known:
                raise Unusable(f"`{name}` is no part of a request and no fact", _close(name, self.known))
        self._refuse_wrong_constants()
        self.plan = lru_cache(maxsize=256)(self._plan)

    def request_parts(self, cells: Mapping[str, Any]) -> dict[str, Any]:
        """The parts of a request that a row gives."""
        parts: dict[str, Any] = dict(self.constants)
        for name, column in self.plan(tuple(cells)).items():
            cell = cells[column]
            if isinstance(cell, str):
                cell = _nested(cell) if name in NESTED else cell.strip()
            parts[name] = cell
        return parts

    def _plan(self, columns: tuple[str, ...]) -> dict[str, str]:
        """The column of each part of a request."""
        plan = {name: name for name in columns if name in self.known}
        in_currency = f"amount_{self.policy.currency}".lower()
        for column in columns if "amount" not in plan else ():
            if column.lower() == in_currency:
                plan["amount"] = column
        plan |= self.mapped
        return {name: column for name, column in plan.items() if column in columns and name not in self.constants}

    def refuse_if_missing(self, columns: tuple[str, ...]) -> None:
        """Every row would fail for the same reason: say it once. Raises Unusable."""
        for name, column in self.mapped.items():
            if column and column not in columns:
                raise Unusable(f"no column `{column}` for `{name}`", _close(column, columns))
        needed = ["role", "amount", *(["remedy"] if self.policy.remedies is not None else [])]
        for name in needed:
            if name not in self.plan(columns) and name not in self.constants:
                raise Unusable(f"no column gives the {name}", self._cure_for_missing(name, columns))

    def not_read(self, columns: Iterable[str]) -> dict[str, str]:
        """The columns that are passed through without being read, each with the part that may have been meant."""
        columns = tuple(columns)
        read = set(self.plan(columns).values())
        return {column: self._meant(column) for column in columns if column not in read}

    def renamed(self, columns: tuple[str, ...]) -> list[tuple[str, str]]:
        """Parts that are read from a column of another name."""
        return [(name, column) for name, column in self.plan(columns).items() if name != column]

    def _meant(self, column: str) -> str:
        free = [name for name in self.known if name not in self.constants and name not in self.mapped]
        close = get_close_matches(column.lower().replace(" ", "_").replace("-", "_"), free, n=1, cutoff=0.8)
        return close[0] if close and close[0] != column else ""

    def _cure_for_missing(self, name: str, columns: tuple[str, ...]) -> str:
        foreign = [column for column in columns if column.lower().startswith(f"{name}_")]
        if name == "amount" and foreign:
            return f"amounts are in {self.policy.currency}; if `{foreign[0]}` is too, --map amount={foreign[0]}"
        known = self.policy.words.known(name)
        say = f" or --{name} {known[0]}" if known else ""
        return f"say which does: --map {name}=COLUMN{say}; the columns are {', '.join(columns)}"

    def _refuse_wrong_constants(self) -> None:
        """What is wrong with a constant would be wrong in every row: say it once."""
        enough = {"role": self.policy.ladder[0], "amount": "0"}
        try:
            read_request(self.policy, enough | dict(self.constants))
        except InvalidRequest as invalid:
            wrong = [found for found in invalid.diagnostics if found.where in self.constants]
            if wrong:
                raise InvalidRequest(wrong) from None


def _nested(text: str) -> Any:
    try:
        return read_json(text)
    except (ValueError, RecursionError):
        return text  # reading the request says what belongs there


def _close(name: str, known: Iterable[str]) -> str:
    listed = list(known)
    close = get_close_matches(name.lower(), listed, n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else f"one of {', '.join(listed)}"
