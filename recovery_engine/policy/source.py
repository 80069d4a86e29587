"""From YAML text to a Policy, or to every mistake in it, each with its place, a caret and a cure."""

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from pydantic import ValidationError

from recovery_engine.errors import Diagnostic, PolicyError, did_you_mean
from recovery_engine.policy import schema
from recovery_engine.policy.schema import NONE, SAME, SECTIONS, UNLIMITED, Policy
from recovery_engine.policy.words import Fact, Problem, Words, as_list

MAX_CHARACTERS = 1_000_000
_MAX_DEPTH = 12
_MAX_NODES = 100_000
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Path = tuple[str | int, ...]


@dataclass
class _Source:
    """A text, and where every key and value of it stands."""

    file: str
    lines: list[str]
    places: dict[Path, tuple[int, int, int]] = field(default_factory=dict)  # line and column from 0, length
    found: list[Diagnostic] = field(default_factory=list)

    def add(self, code: str, line: int, column: int, length: int, message: str, help: str = "") -> None:
        text = self.lines[line] if line < len(self.lines) else ""
        start = max(0, column - 90)  # a very long line is shown around the place
        shown, mark = text[start : start + 120].rstrip("\n"), column - start
        width = max(1, min(length, len(shown) - mark))
        number = str(line + 1).rjust(5)
        excerpt = f"{number} | {shown}\n{' ' * len(number)} | {' ' * mark}{'^' * width}" if text else ""
        where = f"{self.file}:{line + 1}:{column + 1}"
        self.found.append(Diagnostic(code, "error", where, message, help, excerpt, line + 1, column + 1))

    def add_at(self, path: Path, problem: Problem, level: str = "error") -> None:
        at = path
        while at not in self.places and at:
            at = at[:-1]
        line, column, length = self.places.get(at, (0, 0, 1))
        self.add(problem.code, line, column, length, problem.message, problem.help)
        if level == "warning":
            self.found[-1] = Diagnostic(
                **{name: getattr(self.found[-1], name) for name in Diagnostic.__slots__} | {"level": "warning"}
            )


def parse_policy(text: str, file: str = "<policy>") -> Policy:
    """Read a policy. Raises PolicyError with every mistake in it."""
    policy, diagnostics = check_policy(text, file)
    if policy is None:
        raise PolicyError(diagnostic for diagnostic in diagnostics if diagnostic.level == "error")
    return policy


def check_policy(text: str, file: str = "<policy>") -> tuple[Policy | None, tuple[Diagnostic, ...]]:
    """The policy, unless it has an error, and all diagnostics in the order of the file, warnings too."""
    source = _Source(file, [])
    tree = _read_tree(text, source)
    policy = _validate(tree, source) if tree is not None else None
    diagnostics = tuple(sorted(dict.fromkeys(source.found), key=lambda found: (found.line, found.column)))
    if any(diagnostic.level == "error" for diagnostic in diagnostics):
        return None, diagnostics
    return policy, diagnostics


def file_digest(text: str) -> str:
    """SHA-256 (hex) of the bytes of the file, comments and all; a dropped promise shows here."""
    return hashlib.sha256(text.encode()).hexdigest()


# --- text to tree -----------------------------------------------------------------------------------------------------


def _read_tree(text: str, source: _Source) -> dict[str, Any] | None:
    if len(text) > MAX_CHARACTERS:
        source.add(
            "RP001", 0, 0, 1, f"{len(text):,} characters is too long for a policy", f"at most {MAX_CHARACTERS:,}"
        )
        return None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    source.lines = text.split("\n")
    if not text.strip():
        source.add("RP001", 0, 0, 1, "an empty policy", "start from `policies/classic.yaml`")
        return None
    lines = [_clean_line(number, line, source) for number, line in enumerate(source.lines)]
    source.lines = lines
    # A syntax error ends the parser's work, so the block that holds it is blanked and the rest read again.
    for _ in range(50):
        source.places.clear()
        try:
            tree = _Composer("\n".join(lines) + "\n", source).compose()
            break
        except yaml.MarkedYAMLError as error:
            lines = _without_block(lines, _syntax_error(error, source))
            if not any(line.strip() for line in lines):
                return None
        except _Refused as refused:
            line, column, problem = refused.args
            source.add(problem.code, line, column, 1, problem.message, problem.help)
            return None
    else:
        return None
    if not isinstance(tree, dict):
        if not source.found:
            source.add("RP007", 0, 0, 1, "a policy is a mapping", "start with `policy: a-name`")
        return None
    return tree


def _clean_line(number: int, line: str, source: _Source) -> str:
    for match in re.finditer("\t", line):
        source.add("RP010", number, match.start(), 1, "a tab", "use spaces")
        break
    if not unicodedata.is_normalized("NFC", line):
        column = next(index for index in range(len(line)) if not unicodedata.is_normalized("NFC", line[: index + 1]))
        source.add(
            "RP011",
            number,
            column,
            1,
            "text that is not in Unicode normal form NFC",
            "type the character again, or convert the file to NFC",
        )
        line = unicodedata.normalize("NFC", line)
    forbidden = re.compile("[^\\t\\x20-\\x7e\\x85\\xa0-\\ud7ff\\ue000-\\ufefe\\uff00-\\ufffd\\U00010000-\\U0010ffff]")
    if (match := forbidden.search(line)) is not None:
        source.add("RP013", number, match.start(), 1, f"the character U+{ord(match[0]):04X} is not text", "delete it")
    return forbidden.sub(" ", line).replace("\t", " ")


class _Refused(Exception):
    """The file cannot be read on: line, column (from 0), problem."""


class _Composer:
    """Builds dicts, lists and texts from YAML events, with the place of each; takes no shortcuts for the author."""

    def __init__(self, text: str, source: _Source) -> None:
        self.events = yaml.parse(text, Loader=_LOADER)
        self.source = source
        self.nodes = 0

    def compose(self) -> Any:
        tree: Any = None
        documents = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents == 2:
                    raise _Refused(
                        event.start_mark.line,
                        event.start_mark.column,
                        Problem("RP007", "a second document", "one policy per file: delete the `---`"),
                    )
            elif isinstance(event, yaml.NodeEvent):
                tree = self._node(event, ())
        return tree

    def _node(self, event: yaml.Event, path: Path) -> Any:
        mark = event.start_mark
        self.nodes += 1
        if self.nodes > _MAX_NODES or len(path) > _MAX_DEPTH:
            raise _Refused(
                mark.line,
                mark.column,
                Problem("RP001", "nested too deep or too large for a policy", "a policy is one page"),
            )
        self._refuse_shortcuts(event)
        same_line = event.end_mark.line == mark.line
        self.source.places[path] = (mark.line, mark.column, event.end_mark.column - mark.column if same_line else 1)
        if isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0]
            return None if plain and event.value in ("", "~", "null", "Null", "NULL") else event.value
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(child := next(self.events), yaml.SequenceEndEvent):
                items.append(self._node(child, (*path, len(items))))
            return items
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        return None  # an alias, already reported

    def _mapping(self, path: Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(key_event := next(self.events), yaml.MappingEndEvent):
            mark, end = key_event.start_mark, key_event.end_mark
            key = self._node(key_event, (*path, "[key]"))
            if not isinstance(key, str):
                self.source.add("RP007", mark.line, mark.column, 1, "a key that is not a word", "write `key: value`")
                key = f"[{len(mapping)}]"
            twice = key in mapping
            if twice:
                first = self.source.places[(*path, key, "[key]")][0] + 1
                self.source.add(
                    "RP008", mark.line, mark.column, len(key), f"`{key}` stands twice", f"the first is in line {first}"
                )
            if key == "<<":
                self.source.add("RP009", mark.line, mark.column, 2, "a merge key", "write the lines out")
            child = (*path, f"{key}[again]") if twice else (*path, key)
            self.source.places[(*child, "[key]")] = (
                mark.line,
                mark.column,
                end.column - mark.column if end.line == mark.line else 1,
            )
            value = self._node(next(self.events), child)
            if not twice and key != "<<":
                mapping[key] = value
        return mapping

    def _refuse_shortcuts(self, event: yaml.Event) -> None:
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            self.source.add(
                "RP009",
                mark.line,
                mark.column,
                len(event.anchor) + 1,
                f"an alias `*{event.anchor}`",
                "write the value out",
            )
        elif event.anchor is not None:
            self.source.add(
                "RP009", mark.line, mark.column, len(event.anchor) + 1, f"an anchor `&{event.anchor}`", "delete it"
            )
        if getattr(event, "tag", None) is not None:
            self.source.add(
                "RP009",
                mark.line,
                mark.column,
                len(event.tag),
                f"a tag `{event.tag}`",
                "delete it, quote the text if need be",
            )


def _syntax_error(error: yaml.MarkedYAMLError, source: _Source) -> int:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    line = min(line, len(source.lines) - 1)
    problem = str(error.problem or error.context or "not YAML")
    cure = "check the brackets, colons and indentation of this line and the one before"
    text = source.lines[line]
    if ": " in text[column:] or "mapping values" in problem:
        cure = "a text with a colon needs quotes; so does one that begins with a special character"
    if "expected the node content" in problem or re.search(r"[\[,]\s*,", text):
        cure = "a blank between commas: write `none`, `0`, `same` or `unlimited`"
    if "quoted scalar" in problem or "quoted scalar" in str(error.context):
        cure = "close the quote"
    source.add("RP002", line, column, 1, f"not YAML: {problem}", cure)
    return error.context_mark.line if error.context_mark and error.context_mark.line < line else line


def _without_block(lines: list[str], bad: int) -> list[str]:
    """The lines with the top-level block around line *bad* blanked out."""

    def starts_block(line: str) -> bool:
        return bool(line) and line[0] not in " #-]}"

    first = bad
    while first > 0 and not starts_block(lines[first]):
        first -= 1
    last = bad + 1
    while last < len(lines) and not starts_block(lines[last]):
        last += 1
    return [*lines[:first], *[""] * (last - first), *lines[last:]]


# --- tree to policy ---------------------------------------------------------------------------------------------------


def _validate(tree: dict[str, Any], source: _Source) -> Policy | None:
    syntax_failed = any(found.code == "RP002" for found in source.found)
    for section in (*SECTIONS, "promises"):
        for index, item in enumerate(tree.get(section) or () if isinstance(tree.get(section), list) else ()):
            if isinstance(item, dict) and "id" not in item:
                item["id"] = f"{section}-{index + 1}"
    _check_ids(tree, source)
    policy = None
    try:
        policy = Policy.model_validate(tree, context=_words(tree))
    except ValidationError as error:
        for detail in error.errors():
            _add_detail(detail, source, syntax_failed)
    if not syntax_failed and not (tree.get("authority") or tree.get("owed")):
        source.add_at(
            (),
            Problem(
                "RP005",
                "nobody may give anything",
                "add `authority:` with a line such as `- up_to: {total: [100, 250, 500]}`",
            ),
        )
    if policy is None:
        return None
    for path, problem, level in [*_same_without_before(policy), *_cells_above_total(policy)]:
        source.add_at(path, problem, level)
    policy._file = source.file
    for section in SECTIONS:
        for index, line in enumerate(getattr(policy, section)):
            policy._places[line.id] = source.places[(section, index)][0] + 1
    for section in ("reason_codes", "tests"):
        if (section, "[key]") in source.places:
            policy._places[section] = source.places[(section, "[key]")][0] + 1
    for index in range(len(policy.tests)):
        policy._places[f"tests-{index + 1}"] = source.places[("tests", index)][0] + 1
    policy._places["no-row"] = source.places.get(("authority", "[key]"), (0, 0, 0))[0] + 1
    policy._places["nothing-owed"] = source.places.get(("owed", "[key]"), (0, 0, 0))[0] + 1
    return policy


def _words(tree: dict[str, Any]) -> Words:
    """The words as far as they can be read: a broken list must not make every use of its words look wrong."""

    def listed(name: str) -> tuple[str, ...] | None:
        items = tree.get(name)
        return tuple(item for item in items if isinstance(item, str)) if isinstance(items, list) and items else None

    currency = tree.get("currency")
    currency = currency if isinstance(currency, str) and currency in schema.CURRENCIES else "USD"
    ladder = listed("ladder")
    facts: dict[str, Fact] = {}
    declared = tree.get("facts")
    for name, declaration in (declared if isinstance(declared, dict) else {}).items():
        kinds = [
            kind
            for kind in ("one_of", "flag", "number", "money")
            if isinstance(declaration, dict) and kind in declaration
        ]
        one_of = as_list(declaration["one_of"]) if kinds == ["one_of"] else []
        facts[name] = Fact(kinds[0] if kinds else "one_of", tuple(word for word in one_of if isinstance(word, str)))  # type: ignore[arg-type]
    raw_sites = tree.get("sites")
    groups = (
        raw_sites if isinstance(raw_sites, dict) else {"all_sites": raw_sites} if isinstance(raw_sites, list) else None
    )
    sites = {
        group: tuple(site for site in as_list(members) if isinstance(site, str)) for group, members in groups.items()
    } if groups else None  # fmt: skip
    ids = [
        (section, item["id"])
        for section in SECTIONS
        for item in _items(tree, section)
        if isinstance(item.get("id"), str)
    ]
    return Words(
        currency, ladder, listed("remedies"), listed("categories"), listed("severities"), sites, facts, {},
        frozenset(line for _, line in ids), frozenset(line for section, line in ids if section == "budgets"),
    )  # fmt: skip


def _items(tree: dict[str, Any], section: str) -> list[dict[str, Any]]:
    items = tree.get(section)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _check_ids(tree: dict[str, Any], source: _Source) -> None:
    seen: dict[str, int] = {}
    for section in (*SECTIONS, "promises"):
        items = tree.get(section)
        for index, item in enumerate(items if isinstance(items, list) else ()):
            name = item.get("id") if isinstance(item, dict) else None
            if not isinstance(name, str):
                continue
            path: Path = (section, index, "id")
            line = source.places.get(path, source.places.get((section, index), (0, 0, 0)))[0] + 1
            if name in seen:
                source.add_at(
                    path, Problem("RP008", f"the id `{name}` stands twice", f"the first is in line {seen[name]}")
                )
            elif name in ("no-row", "nothing-owed", "reason_codes", "matcher-fault"):
                source.add_at(path, Problem("RP012", f"the id `{name}` has a meaning of its own", "choose another"))
            seen.setdefault(name, line)


def _add_detail(detail: Any, source: _Source, syntax_failed: bool) -> None:
    loc, kind = tuple(detail["loc"]), detail["type"]
    if kind.startswith("RP"):
        source.add_at(loc, Problem(kind, detail["ctx"]["message"], detail["ctx"]["help"]))
    elif kind == "missing":
        if not (syntax_failed and len(loc) == 1):
            source.add_at(loc[:-1], Problem("RP005", f"`{loc[-1]}` is missing", f"add `{loc[-1]}: ...`"))
    elif kind == "extra_forbidden":
        names = _known_keys(loc)
        blank = detail["input"] is None and len(loc) > 1
        cure = (
            "a comma ended the value before it: put that value in quotes"
            if blank
            else did_you_mean(str(loc[-1]), names)
        )
        source.add_at((*loc, "[key]"), Problem("RP004", f"unknown key `{loc[-1]}`", cure))
    else:
        shapes = {
            "dict_type": "a mapping",
            "model_type": "a mapping",
            "tuple_type": "a list",
            "none_required": "nothing",
        }
        wanted = shapes.get(kind, "something else")
        what = "a blank" if detail["input"] is None else f"a {'text' if isinstance(detail['input'], str) else 'value'}"
        cure = (
            "write `- id: ...` lines below it, or leave the key out"
            if kind == "tuple_type"
            else "write `key: value` pairs"
        )
        source.add_at(loc, Problem("RP007", f"{what} where {wanted} belongs", cure))


_MODELS: dict[str, Any] = {
    "authority": schema.AuthorityLine, "ceilings": schema.CeilingLine, "budgets": schema.BudgetLine, "owed": schema.OwedLine,
    "deny": schema.DenyLine, "requires": schema.RequiresLine, "four_eyes": schema.FourEyesLine,
    "someone_else": schema.SomeoneElseLine, "promises": schema.Promise, "tests": schema.Example,
    "escalation": schema.Escalation, "effective": schema.Effective,
}  # fmt: skip


def _known_keys(loc: Path) -> list[str]:
    model = Policy if len(loc) == 1 else _MODELS.get(str(loc[0]), Policy)
    return [field.alias or name for name, field in model.model_fields.items()]


Found = tuple[Path, Problem, str]


def _same_without_before(policy: Policy) -> Iterator[Found]:
    seen: set[str] = set()
    for index, line in enumerate(policy.authority):
        for row, cells in line.up_to.items():
            if SAME in cells and row not in seen and (row == "total" or "total" not in seen | set(line.up_to)):
                at = cells.index(SAME)
                cure = "write the amount; `same` repeats what an earlier line has for this row"
                yield (
                    ("authority", index, "up_to", row, at),
                    Problem("RP012", f"`same`, but no earlier line has a row `{row}` or `total`", cure),
                    "error",
                )
        seen |= set(line.up_to)


def _cells_above_total(policy: Policy) -> Iterator[Found]:
    """Warn where a remedy cell is above the total in force with it: the total will stop it first."""
    totals: tuple[schema.Cell, ...] | None = None
    for index, line in enumerate(policy.authority):
        own = line.up_to.get("total")
        if own is not None:
            before = totals or own
            own = tuple(before[at] if cell == SAME else cell for at, cell in enumerate(own))
            totals = own
        for row, cells in line.up_to.items():
            for at, cell in enumerate(cells if row != "total" and totals else ()):
                assert totals is not None
                if _size(cell) > _size(totals[at]):
                    role = policy.ladder[at]
                    message = f"`{row}` gives {role} more than the total in force with it"
                    yield (
                        ("authority", index, "up_to", row, at),
                        Problem("RP020", message, "the total stops it first: lower this cell or raise the total"),
                        "warning",
                    )


def _size(cell: schema.Cell) -> float:
    match cell:
        case int():
            return cell
        case str() if cell == UNLIMITED:
            return float("inf")
        case str() if cell == NONE:
            return -1
    return -2
