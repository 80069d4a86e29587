"""Which column of a row is which part of a request."""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from recovery_cli.exits import Unusable
from recovery_cli.rows import read_json
from recovery_engine import Diagnostic, InvalidRequest, Policy, RecoveryRequest, Usage, read_request

USAGE = tuple(field.name for field in fields(Usage))
REQUEST = (*(field.name for field in fields(RecoveryRequest) if field.name != "facts"), "currency")
NESTED = (*USAGE, "facts")
"""What holds a mapping: in CSV as JSON text."""
CONNECTING = {"case", "receipt", "customer", "employee"}
"""What several requests may have in common."""


class Columns:
    """Turns a row into the parts of a request: constants first, then mapped columns, then columns by their names."""

    def __init__(
        self,
        policy: Policy,
        mapped: Mapping[str, str],
        constants: Mapping[str, str],
        *,
        decimal_comma: bool = False,
    ) -> None:
        self.policy, self.mapped, self.constants = policy, mapped, constants
        self.known = (*REQUEST, *NESTED, *policy.facts)
        amounts = ("amount", "bill", *(name for name, fact in policy.facts.items() if fact.kind == "money"))
        self._with_comma = frozenset(amounts if decimal_comma else ())
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
                if name in self._with_comma:
                    cell = _with_point(name, cell)
            parts[name] = cell
        return parts

    def _plan(self, columns: tuple[str, ...]) -> dict[str, str]:
        """The column of each part of a request; capitals matter only where two columns differ by nothing else."""
        plan = {name: name for name in columns if name in self.known}
        meant = {name.lower(): name for name in reversed(self.known)}
        for column in columns:
            if column not in self.known and (name := meant.get(column.lower())) is not None:
                plan.setdefault(name, column)
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
        missing = [name for name in self._needed() if name not in self.plan(columns) and name not in self.constants]
        if missing:
            cures = [f"  {name}: {self._cure_for_missing(name, columns)}" for name in missing]
            listed = f"the columns are {', '.join(columns)}"
            raise Unusable("\n".join([f"no column gives {_all_of(missing)}; {listed}", *cures]))

    def _needed(self) -> list[str]:
        """The parts without which nothing is a request under this policy."""
        try:
            read_request(self.policy, {})
        except InvalidRequest as invalid:
            return [found.where for found in invalid.diagnostics]
        return []

    def leave_others_out(self, columns: tuple[str, ...]) -> bool:
        """Whether the rows are connected to each other, without saying what the others gave."""
        given = {*self.plan(columns), *self.constants}
        connected = self.policy.budgets or given & CONNECTING
        needed = {"on_case", *(["used"] if self.policy.budgets else [])}
        return bool(connected) and not needed <= given

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
        close = get_close_matches(_folded(column), free, n=1, cutoff=0.8)
        return close[0] if close and close[0] != column else ""

    def _cure_for_missing(self, name: str, columns: tuple[str, ...]) -> str:
        foreign = [column for column in columns if column.lower().startswith(f"{name}_")]
        if name == "amount" and foreign:
            return f"amounts are in {self.policy.currency}; if `{foreign[0]}` is too, --map amount={foreign[0]}"
        known = self.policy.words.known(name)
        constant = f"--{name} {known[0]}, or --set {name}={known[0]}" if known else f"--set {name}=VALUE"
        close = _closest(name, columns) or next((column for column in columns if name in column.lower()), "")
        if close:
            return f"did you mean the column `{close}`? --map {shlex.quote(f'{name}={close}')}; or {constant}"
        return f"--map {name}=COLUMN, or {constant}"

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
    close = _closest(name, listed)
    return f"did you mean `{close}`?" if close else f"one of {', '.join(listed)}"


def _closest(name: str, known: Iterable[str]) -> str:
    """The nearest of some names, whatever their capitals, or an empty text."""
    folded = {_folded(word): word for word in known}
    close = get_close_matches(_folded(name), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else ""


def _folded(name: str) -> str:
    return name.lower().replace(" ", "_").replace("-", "_")


def _all_of(names: list[str]) -> str:
    """``the amount, the role and the remedy``."""
    *first, last = (f"the {name}" for name in names)
    return f"{', '.join(first)} and {last}" if first else last


DECIMAL_COMMA = re.compile(r"-?(?:\d{1,3}(?:([.'\u00a0\u202f ])\d{3})(?:\1\d{3})*|\d+)(?:,\d+)?")


def _with_point(name: str, text: str) -> str:
    """An amount written ``1.234,50`` as ``1234.50``. Raises InvalidRequest where it is not written so."""
    if not text:
        return text
    if not DECIMAL_COMMA.fullmatch(text):
        message, cure = f"`{text[:40]}` is not an amount with a decimal comma", "write `1.234,50` or `120,50`"
        raise InvalidRequest([Diagnostic("RQ006", "error", name, message, cure)])
    whole, comma, cents = text.partition(",")
    return re.sub(r"[^\d-]", "", whole) + (f".{cents}" if comma else "")
