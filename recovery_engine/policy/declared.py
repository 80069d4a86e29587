"""The blocks in which a policy declares its own words: facts, sites, reason codes, time zones; and authority rows."""

import re
from typing import Annotated, Any, Literal

from recovery_engine.errors import did_you_mean
from recovery_engine.policy.fields import (
    KEY,
    ONE_OR_MORE,
    TEXT,
    TEXTS,
    Problems,
    Schema,
    mapping_of,
    read_timezone,
    reads,
)
from recovery_engine.policy.words import (
    BUILT_IN,
    Fact,
    Problem,
    Words,
    as_list,
    first_twice,
    read_fact,
    read_flag,
    read_id,
    read_known,
    read_money,
    read_word,
)

NONE, SAME, UNLIMITED = "none", "same", "unlimited"
Cell = int | Literal["none", "same", "unlimited"]
"""What a role may give alone: minor units, inclusive; nothing; as before this line; without limit."""

_KINDS = ("one_of", "flag", "number", "money")


def _mapping(raw: Any, what: str, example: str) -> dict[str, Any]:
    if not isinstance(raw, dict) or not raw:
        raise Problem("RP007", f"{what} are a mapping", f"write `{example}`")
    return raw


# --- facts ------------------------------------------------------------------------------------------------------------


def _read_facts(raw: Any, words: Words) -> dict[str, Fact]:
    problems = Problems()
    facts: dict[str, Fact] = {}
    for name, declaration in _mapping(raw, "facts", "{days_since_visit: {number: true}}").items():
        if name in BUILT_IN:
            problems.add((name, KEY), Problem("RP012", f"`{name}` is a built-in word", f"call it `the_{name}`"))
        elif not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
            cure = "use the letters a to z, digits and _"
            problems.add((name, KEY), Problem("RP013", f"`{name[:40]}` is not the name of a fact", cure))
        fact = problems.read((name,), _read_declaration, declaration, words)
        if fact is not None:
            facts[name] = fact
    problems.raise_if_any()
    return facts


def _read_declaration(raw: Any, words: Words) -> Fact:
    problems = Problems()
    kinds = [kind for kind in _KINDS if isinstance(raw, dict) and kind in raw]
    if len(kinds) != 1:
        cure = "write `{number: true}` or `{one_of: [a, b]}`"
        raise Problem("RP007", "a fact is one of `one_of`, `flag`, `number`, `money`", cure)
    for name in raw:
        if name not in (*_KINDS, "default"):
            cure = did_you_mean(name, (*_KINDS, "default"))
            problems.add((name, KEY), Problem("RP004", f"unknown key `{name}`", cure))
    kind = kinds[0]
    one_of: tuple[str, ...] = ()
    if kind == "one_of":
        one_of = problems.read((kind,), _read_members, raw[kind], read_word, "words") or ()
    elif problems.read((kind,), read_flag, raw[kind]) is False:
        problems.add((kind,), Problem("RP007", f"`{kind}: false` says nothing", f"write `{kind}: true`"))
    fact, default = Fact(kind, one_of), None  # type: ignore[arg-type]
    if "default" in raw:
        alone = Words(words.currency, words.ladder, facts={"default": fact})
        default = problems.read(("default",), read_fact, raw["default"], fact, "default", alone)
    problems.raise_if_any()
    return Fact(fact.kind, fact.one_of, default)


def _read_members(raw: Any, reader: Any, what: str) -> tuple[str, ...]:
    if raw is None or raw == []:
        raise Problem("RP007", f"an empty list of {what}", "name at least one")
    problems = Problems()
    items = as_list(raw)
    members = [problems.read((index,), reader, item) for index, item in enumerate(items)]
    if (twice := first_twice(member or object() for member in members)) is not None:
        problems.add((twice,), Problem("RP008", f"`{items[twice]}` stands twice", "delete one"))
    problems.raise_if_any()
    return tuple(member for member in members if member is not None)


# --- sites, reason codes, time zones ----------------------------------------------------------------------------------


def _read_sites(raw: Any, words: Words) -> dict[str, tuple[str, ...]]:
    if not isinstance(raw, dict):
        return {"all_sites": _read_members(raw, read_id, "sites")}
    problems = Problems()
    groups: dict[str, tuple[str, ...]] = {}
    for group, sites in _mapping(raw, "sites", "{company: [S001, S002]}").items():
        problems.read((group, KEY), read_word, group, "the name of a group")
        groups[group] = problems.read((group,), _read_members, sites, read_id, "sites") or ()
    first_group: dict[str, str] = {}
    for group, members in groups.items():
        if any(group in sites for sites in groups.values()):
            problems.add((group, KEY), Problem("RP008", f"`{group}` names both a group and a site", "rename one"))
        for index, site in enumerate(members):
            if first_group.setdefault(site, group) != group:
                message = f"`{site}` is in two groups, `{first_group[site]}` and `{group}`"
                problems.add((group, index), Problem("RP008", message, "a site belongs to one group"))
    problems.raise_if_any()
    return groups


def _read_reason_codes(raw: Any, words: Words) -> dict[str, tuple[str, ...]]:
    problems = Problems()
    codes: dict[str, tuple[str, ...]] = {}
    for category, items in _mapping(raw, "reason codes", "{billing: [B01, B02]}").items():
        problems.read((category, KEY), read_known, category, "category", words)
        codes[category] = problems.read((category,), _read_members, items, read_id, "codes") or ()
    problems.raise_if_any()
    return codes


def _read_timezones(raw: Any, words: Words) -> dict[str, str]:
    problems = Problems()
    groups = tuple(words.sites or ())
    for group, zone in _mapping(raw, "time zones", "{franchise: America/Denver}").items():
        if group not in groups:
            cure = did_you_mean(group, groups)
            problems.add((group, KEY), Problem("RP003", f"unknown group of sites `{group}`", cure))
        problems.read((group,), read_timezone, zone, words)
    problems.raise_if_any()
    return dict(raw)


# --- authority rows ---------------------------------------------------------------------------------------------------


def _read_rows(raw: Any, words: Words) -> dict[str, tuple[Cell, ...]]:
    problems = Problems()
    rows: dict[str, tuple[Cell, ...]] = {}
    for name, cells in _mapping(raw, "limits", "{total: [100, 250, 500]}").items():
        problems.read((name, KEY), _read_row_name, name, cells, words)
        if cells is not None or name == "total" or name in (words.remedies or (name,)):
            rows[name] = problems.read((name,), _read_row, cells, words) or ()
    problems.raise_if_any()
    return rows


def _read_row_name(name: str, cells: Any, words: Words) -> str:
    known = words.remedies
    if name != "total" and known is not None and name not in known:
        if cells is None:
            cure = "a comma ended the value before it: put that value in quotes"
            raise Problem("RP004", f"unknown row `{name}` with nothing in it", cure)
        raise Problem("RP003", f"unknown remedy `{name}`", did_you_mean(name, ("total", *known)))
    return read_word(name, "a remedy")


def _read_row(raw: Any, words: Words) -> tuple[Cell, ...]:
    problems = Problems()
    if isinstance(raw, dict) and raw:
        row = _row_by_role(raw, words, problems)
    elif isinstance(raw, list):
        row = tuple(problems.read((index,), _read_cell, cell, words) or 0 for index, cell in enumerate(raw))
        if words.ladder and len(raw) != len(words.ladder):
            problems.add((), _wrong_length(raw, words.ladder))
    else:
        example = ", ".join(["100"] * len(words.ladder or "abc"))
        message = "a blank where a row belongs" if not raw else "a row is one cell for every role"
        raise Problem("RP007", message, f"write `[{example}]`")
    problems.raise_if_any()
    return row


def _row_by_role(cells: dict[str, Any], words: Words, problems: Problems) -> tuple[Cell, ...]:
    """A role that is not named is as the role below, the lowest ones `none`."""
    named: dict[str, Cell] = {}
    for role, cell in cells.items():
        problems.read((role, KEY), read_known, role, "role", words)
        named[role] = problems.read((role,), _read_cell, cell, words) or 0
    row: list[Cell] = []
    for role in words.ladder or ():
        row.append(named.get(role, row[-1] if row else "none"))
    return tuple(row)


def _wrong_length(cells: list[Any], ladder: tuple[str, ...]) -> Problem:
    split = len(cells) > len(ladder) and any(re.fullmatch(r"\d{3}(\.\d+)?", str(cell)) for cell in cells[1:])
    in_quotes = "put amounts with a comma in quotes, or leave the comma out"
    cure = in_quotes if split else f"the roles are {', '.join(ladder)}"
    return Problem("RP007", f"{len(cells)} cells for a ladder of {len(ladder)}", cure)


def _read_cell(raw: Any, words: Words) -> Cell:
    if raw is None or raw == "":
        raise Problem("RP006", "a blank cell", "write an amount, `0`, `none`, `unlimited` or `same`")
    if raw in (NONE, SAME, UNLIMITED):
        return raw  # type: ignore[no-any-return]
    try:
        return read_money(raw, words.currency)
    except Problem:
        if isinstance(raw, str) and raw.isalpha():
            raise Problem("RP006", f"`{raw[:40]}` is not a cell", did_you_mean(raw, (NONE, SAME, UNLIMITED))) from None
        raise


_CELL: Schema = {"type": ["number", "string"], "description": "an amount, 0 (only at no cost), none, unlimited or same"}
_ROWS: Schema = {
    **mapping_of({"anyOf": [{"type": "array", "items": _CELL}, mapping_of(_CELL)]}),
    "description": "row `total` or a remedy: one cell per role of the ladder, or a mapping by role",
}
_FACT: Schema = {
    "type": "object",
    "properties": {
        "one_of": TEXTS,
        "flag": {"const": True},
        "number": {"const": True},
        "money": {"const": True},
        "default": {"type": ["string", "boolean", "number"]},
    },
    "additionalProperties": False,
}

Facts = Annotated[dict[str, Fact], reads(_read_facts, mapping_of(_FACT))]
Sites = Annotated[dict[str, tuple[str, ...]], reads(_read_sites, {"anyOf": [mapping_of(ONE_OR_MORE), TEXTS]})]
ReasonCodes = Annotated[dict[str, tuple[str, ...]], reads(_read_reason_codes, mapping_of(ONE_OR_MORE))]
Timezones = Annotated[dict[str, str], reads(_read_timezones, mapping_of(TEXT))]
Rows = Annotated[dict[str, tuple[Cell, ...]], reads(_read_rows, _ROWS)]
