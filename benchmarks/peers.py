"""Other engines that can answer the same question, each in its own language; one that is not installed is left out.

The rules are made from limits.py. What an engine cannot express is told to it by the host, and the table says so.
"""

import itertools
from collections.abc import Callable, Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any, NamedTuple

from benchmarks import limits
from benchmarks.contestants import APPROVE, DENY, SUMS, AnyContestant, Contestant, as_it_is, installed
from benchmarks.limits import LADDER
from benchmarks.stream import Case

RANK = "the role as its place in the ladder"
LADDER_WALK = "one question for each role, up the ladder"


class NotInstalled(NamedTuple):
    """A peer that this environment lacks."""

    name: str


def peers() -> list[AnyContestant | NotInstalled]:
    """Every peer, or that it is not there."""
    made: list[AnyContestant | NotInstalled] = []
    for name, make in PEERS.items():
        try:
            made.append(make())
        except ImportError:
            made.append(NotInstalled(name))
    return made


# --- the policy as an expression, in the form of a tree ---------------------------------------------------------------

Tree = Any
"""A figure, a text, a `Name`, or a tuple of an operator and its operands; `if` takes condition, then, ..., else."""


class Name(NamedTuple):
    """A value of the request."""

    of: str


def _limit(rank: int, remedy: str) -> Tree:
    """The limit of a row for one role: by scope, where the scopes differ."""
    by_scope = {scope: limits.limit(remedy, scope, rank) for scope in ("franchise", "major", "plain")}
    if len(set(by_scope.values())) == 1:
        return by_scope["plain"]
    franchise = ("and", ("in", Name("site"), limits.FRANCHISE), ("!=", Name("category"), "safety"))
    tree: list[Tree] = ["if", franchise, by_scope["franchise"]]
    if by_scope["major"] != by_scope["plain"]:
        tree += [("in", Name("severity"), limits.MAJOR), by_scope["major"]]
    return (*tree, by_scope["plain"])


def _may(rank: int) -> Tree:
    """When a role may approve: within the total, and within what its remedy is bound by."""
    own, bill, remedy = Name("own"), Name("bill"), Name("remedy")

    def bound(word: str) -> Tree:
        tests: list[Tree] = []
        if any(limits.limit(word, scope, rank) != limits.UNLIMITED for scope in ("plain", "major", "franchise")):
            tests.append(("<=", own, _limit(rank, word)))
        if word in limits.NEVER_OVER_BILL.remedies:
            tests.append(("<=", own, bill))
        if word in limits.HALF_THE_BILL.remedies and rank < limits.HALF_THE_BILL.binds_below:
            tests.append(("<=", ("*", 2, Name("gifts")), bill))
        if word in limits.SMALL_VOUCHERS.remedies and rank < limits.SMALL_VOUCHERS.binds_below:
            tests.append(("or", ("!=", Name("severity"), "minor"), ("<=", own, limits.MOST_SMALL_VOUCHERS)))
        return True if not tests else tests[0] if len(tests) == 1 else ("and", *tests)

    by_remedy: list[Tree] = ["if"]
    for word in limits.REMEDIES[:-1]:
        by_remedy += [("==", remedy, word), bound(word)]
    own_bound = (*by_remedy, bound(limits.REMEDIES[-1]))
    if limits.limit("", "plain", rank) == limits.UNLIMITED:
        return own_bound
    return ("and", ("<=", Name("total"), _limit(rank, "")), own_bound)


def _decision() -> Tree:
    """The lowest role from the requester's that may, in one expression."""
    tree: list[Tree] = ["if", ("or", Name("staff"), (">", Name("days"), limits.MOST_DAYS)), DENY]
    for rank, role in enumerate(LADDER):
        answer = ("if", ("==", Name("rank"), rank), APPROVE, role)
        tree += [("and", ("<=", Name("rank"), rank), _may(rank)), answer]
    return (*tree, DENY)


def _written(tree: Tree, operators: dict[str, str], yes: str = "true") -> str:
    """The tree as text, in a language with infix operators and `a ? b : c`."""
    match tree:
        case Name(of=name):
            return str(name)
        case bool():
            return yes
        case int():
            return str(tree)
        case str():
            return f"'{tree}'"
        case ("if", condition, then, *rest):
            other = rest[0] if len(rest) == 1 else ("if", *rest)
            parts = [_written(part, operators, yes) for part in (condition, then, other)]
            return f"({parts[0]} ? {parts[1]} : {parts[2]})"
        case ("in", field, words):
            return f"{_written(field, operators)} in [{', '.join(map(repr, words))}]"
        case (operator, *operands):
            word = operators.get(operator, operator)
            return f"({f' {word} '.join(_written(part, operators, yes) for part in operands)})"
    raise AssertionError(tree)


def _fields(case: Case) -> dict[str, Any]:
    """The request as a flat mapping."""
    return {
        "rank": case.rank,
        "remedy": case.remedy,
        "category": case.category,
        "severity": case.severity,
        "site": case.site,
        "total": case.total,
        "own": case.own,
        "gifts": case.gifts,
        "bill": case.bill,
        "staff": case.staff,
        "days": case.days,
    }


# --- one expression ---------------------------------------------------------------------------------------------------


def datalogic() -> AnyContestant:
    """JSONLogic, compiled."""

    def rule(tree: Tree) -> Any:
        match tree:
            case Name(of=name):
                return {"var": name}
            case ("in", field, words):
                return {"in": [rule(field), list(words)]}
            case (operator, *operands):
                return {operator: [rule(part) for part in operands]}
        return tree

    compiled = import_module("datalogic_py").Engine().compile(rule(_decision()))
    return Contestant(
        "datalogic (JSONLogic)", installed("datalogic-py"), _fields, compiled.evaluate, as_it_is, f"{SUMS}, {RANK}"
    )


def zen_expression() -> AnyContestant:
    """The expression language of zen, compiled."""
    text = _written(_decision(), {})
    compiled = import_module("zen").compile_expression(text)
    return Contestant(
        "zen, one expression", installed("zen-engine"), _fields, compiled.evaluate, as_it_is, f"{SUMS}, {RANK}"
    )


def cel() -> AnyContestant:
    """Common Expression Language, compiled."""
    text = _written(_decision(), {"and": "&&", "or": "||"})
    program = import_module("cel").compile(text)
    return Contestant(
        "CEL", installed("common-expression-language"), _fields, program.execute, as_it_is, f"{SUMS}, {RANK}"
    )


# --- decision tables --------------------------------------------------------------------------------------------------


def zen_tables() -> AnyContestant:
    """zen's decision tables, as its editor draws them: who is needed by the total, by the remedy, by the bill."""
    return _zen_tables("zen, decision tables", {}, "")


def zen_tables_traced() -> AnyContestant:
    """The same, with a trace of how every table came to its row."""
    return _zen_tables("zen, decision tables with trace", {"trace": True}, "the row of every table")


def _zen_tables(name: str, options: dict[str, bool], explains: str) -> AnyContestant:
    # By a loader, which compiles once: create_decision() takes fifty times as long at every question.
    engine = import_module("zen").ZenEngine({"loader": {"type": "static", "content": {"policy": _decision_graph()}}})

    def decide(fields: dict[str, Any]) -> Any:
        return engine.evaluate("policy", fields, options)

    def answer(raw: Any) -> str:
        return str(raw["result"]["answer"])

    told = f"{SUMS}, {RANK}; limits must rise along the ladder"
    return Contestant(name, installed("zen-engine"), _fields, decide, answer, told, explains)


def _decision_graph() -> dict[str, Any]:
    nobody = len(LADDER)

    def table(name: str, measured: str, rows: Iterator[dict[str, str]]) -> dict[str, Any]:
        inputs = ["remedy", "severity", "site", "category", measured]
        columns = [{"id": field, "name": field, "field": field} for field in inputs]
        return {
            "id": name,
            "name": name,
            "type": "decisionTableNode",
            "content": {
                "hitPolicy": "first",
                "passThrough": True,
                "inputs": columns,
                "outputs": [{"id": "needs", "name": name, "field": name}],
                "rules": [
                    {"_id": f"{name}{at}", **{field: row.get(field, "") for field in (*inputs, "needs")}}
                    for at, row in enumerate(rows)
                ],
            },
        }

    def quoted(words: tuple[str, ...]) -> str:
        return ", ".join(f"'{word}'" for word in words)

    # First hit: the franchise's rows stand above those of a major failure, and they above the plain ones.
    order = {"franchise": 0, "major": 1, "plain": 2, "": 3}
    scopes = {
        "franchise": {"site": quoted(limits.FRANCHISE), "category": "$ != 'safety'"},
        "major": {"severity": quoted(limits.MAJOR)},
    }

    def rows(total: bool, measured: str) -> Iterator[dict[str, str]]:
        for row in sorted(limits.ROWS, key=lambda row: order[row.scope]):
            if total == (row.remedy == ""):
                where = {**scopes.get(row.scope, {}), **({"remedy": f"'{row.remedy}'"} if row.remedy else {})}
                for rank, most in enumerate(row.limits):
                    yield {**where, measured: "" if most == limits.UNLIMITED else f"<= {most}", "needs": str(rank)}
                if row.limits[-1] != limits.UNLIMITED:
                    yield {**where, "needs": str(nobody)}
        yield {"needs": "0"}

    by_bill = (
        f"(remedy == 'refund' and own > bill) ? {nobody}"
        f" : (remedy in [{quoted(limits.GIFTS)}] and 2 * gifts > bill) ? {limits.HALF_THE_BILL.binds_below}"
        f" : (remedy == 'voucher' and severity == 'minor' and own > {limits.MOST_SMALL_VOUCHERS})"
        f" ? {limits.SMALL_VOUCHERS.binds_below} : 0"
    )
    answer = (
        f"(staff or days > {limits.MOST_DAYS} or $.needed == {nobody}) ? 'deny'"
        f" : $.needed == rank ? 'approve' : [{quoted(LADDER)}][$.needed]"
    )
    expressions = [
        {"id": "needed", "key": "needed", "value": f"max([rank, by_total, by_remedy, {by_bill}])"},
        {"id": "answer", "key": "answer", "value": answer},
    ]
    nodes = [
        {"id": "request", "name": "request", "type": "inputNode"},
        table("by_total", "total", rows(True, "total")),
        table("by_remedy", "own", rows(False, "own")),
        {"id": "answer", "name": "answer", "type": "expressionNode", "content": {"expressions": expressions}},
        {"id": "response", "name": "response", "type": "outputNode"},
    ]
    edges = [
        {"id": f"{at}", "type": "edge", "sourceId": one["id"], "targetId": other["id"]}
        for at, (one, other) in enumerate(itertools.pairwise(nodes))
    ]
    return {"nodes": nodes, "edges": edges}


# --- policies that allow or forbid ------------------------------------------------------------------------------------


class Forbids(NamedTuple):
    """One line that forbids: whom (empty: everyone), what (empty: everything), and when."""

    line: str
    role: str
    remedy: str
    when: Tree


def _forbidding() -> Iterator[Forbids]:
    franchise = ("in", Name("site"), limits.FRANCHISE)
    safety = ("==", Name("category"), "safety")
    major = ("in", Name("severity"), limits.MAJOR)
    elsewhere = ("or", ("not", franchise), safety)
    scopes: dict[str, tuple[Tree, ...]] = {
        "": (),
        "franchise": (franchise, ("!=", Name("category"), "safety")),
        "major": (major, elsewhere),
        "plain": (("not", major), elsewhere),
    }
    yield Forbids("staff-purchase", "", "", Name("staff"))
    yield Forbids("too-late", "", "", (">", Name("days"), limits.MOST_DAYS))
    for row in limits.ROWS:
        for rank, most in enumerate(row.limits):
            if most != limits.UNLIMITED:
                over = (">", Name("own" if row.remedy else "total"), most)
                name = f"{row.remedy or 'total'}-{row.scope or 'any'}-{LADDER[rank]}"
                yield Forbids(name, LADDER[rank], row.remedy, ("and", over, *scopes[row.scope]))
    small = ("and", ("==", Name("severity"), "minor"), (">", Name("own"), limits.MOST_SMALL_VOUCHERS))
    exceeded: tuple[tuple[limits.Ceiling, Tree], ...] = (
        (limits.NEVER_OVER_BILL, (">", Name("own"), Name("bill"))),
        (limits.HALF_THE_BILL, (">", ("*", 2, Name("gifts")), Name("bill"))),
        (limits.SMALL_VOUCHERS, small),
    )
    for ceiling, over in exceeded:
        for remedy in ceiling.remedies:
            for role in LADDER[: ceiling.binds_below] if ceiling.binds_below < len(LADDER) else ("",):
                yield Forbids(f"{ceiling.line}-{remedy}-{role or 'all'}", role, remedy, over)


def _walk_up(may: Callable[[Any], bool], case: Case, asked: list[Any]) -> str:
    """Ask for each role from the requester's upwards."""
    for rank, question in enumerate(asked, case.rank):
        if may(question):
            return APPROVE if rank == case.rank else LADDER[rank]
    return DENY


def cedar() -> AnyContestant:
    """Cedar: one permit, and a forbid for each limit; policies and entities parsed once."""
    cedarpy = import_module("cedarpy")

    def written(tree: Tree) -> str:
        match tree:
            case Name(of=name):
                return f"context.{name}"
            case str():
                return f'"{tree}"'
            case int():
                return str(tree)
            case ("in", field, words):
                return f"[{', '.join(map(written, words))}].contains({written(field)})"
            case ("not", part):
                return f"!({written(part)})"
            case (operator, *operands):
                word = {"and": "&&", "or": "||"}.get(operator, operator)
                return f"({f' {word} '.join(map(written, operands))})"
        raise AssertionError(tree)

    lines = ['@id("anyone") permit(principal, action == Action::"grant", resource);']
    for line in _forbidding():
        who = f'principal == Role::"{line.role}"' if line.role else "principal"
        what = f'resource == Remedy::"{line.remedy}"' if line.remedy else "resource"
        lines.append(
            f'@id("{line.line}") forbid({who}, action == Action::"grant", {what}) when {{ {written(line.when)} }};'
        )
    policies = cedarpy.PolicySet.from_str("\n".join(lines))
    entities = cedarpy.Entities.from_json_str("[]")

    def prepare(case: Case) -> tuple[Case, list[dict[str, Any]]]:
        context = {name: value for name, value in _fields(case).items() if name not in ("rank", "remedy")}
        action = {"action": 'Action::"grant"', "resource": f'Remedy::"{case.remedy}"', "context": context}
        return case, [{"principal": f'Role::"{role}"', **action} for role in LADDER[case.rank :]]

    def may(question: dict[str, Any]) -> bool:
        return bool(cedarpy.is_authorized(question, policies, entities).allowed)

    return Contestant(
        "Cedar",
        installed("cedarpy"),
        prepare,
        lambda asked: _walk_up(may, *asked),
        as_it_is,
        f"{SUMS}, {LADDER_WALK}",
        "the policies that decided",
    )


CASBIN_MODEL = """
[request_definition]
r = role, remedy, case

[policy_definition]
p = role, remedy, scope, measured, most, eft

[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))

[matchers]
m = (p.role == "*" || r.role == p.role) && (p.remedy == "*" || r.remedy == p.remedy) \\
    && (p.scope == "*" || r.case.scope == p.scope) && over(r.case, p.measured, p.most)
"""


def casbin() -> AnyContestant:
    """casbin: a line that allows, and one that denies for each limit.

    Lines hold words and figures only: a condition in a line, by `eval()`, is parsed again at every question, which was
    tried and takes ten to twenty times as long.
    """
    engine = import_module("casbin")

    def over(case: SimpleNamespace, measured: str, most: str) -> bool:
        return measured == "*" or getattr(case, measured) > int(most)

    model = engine.Model()
    model.load_model_from_text(CASBIN_MODEL)
    enforcer = engine.Enforcer(model)
    enforcer.add_function("over", over)
    enforcer.add_policy("*", "*", "*", "*", "0", "allow")
    for line in _casbin_lines():
        enforcer.add_policy(*line, "deny")

    def prepare(case: Case) -> tuple[Case, list[tuple[Any, ...]]]:
        values = SimpleNamespace(
            scope=limits.scope_of(case.severity, case.site, case.category),
            total=case.total,
            own=case.own,
            staff=int(case.staff),
            days=case.days,
            own_beyond_bill=case.own - case.bill,
            gifts_beyond_half=2 * case.gifts - case.bill,
            own_when_minor=case.own if case.severity == "minor" else 0,
        )
        return case, [(role, case.remedy, values) for role in LADDER[case.rank :]]

    def may(question: tuple[Any, ...]) -> bool:
        return bool(enforcer.enforce(*question))

    return Contestant(
        "casbin",
        installed("casbin"),
        prepare,
        lambda asked: _walk_up(may, *asked),
        as_it_is,
        f"{SUMS}, site and severity as one word, what is beyond the bill, comparing, {LADDER_WALK}",
        "the line that decided",
    )


def _casbin_lines() -> Iterator[tuple[str, str, str, str, str]]:
    yield "*", "*", "*", "staff", "0"
    yield "*", "*", "*", "days", str(limits.MOST_DAYS)
    for row in limits.ROWS:
        for rank, most in enumerate(row.limits):
            if most != limits.UNLIMITED:
                yield LADDER[rank], row.remedy or "*", row.scope or "*", "own" if row.remedy else "total", str(most)
    for ceiling, measured, most in (
        (limits.NEVER_OVER_BILL, "own_beyond_bill", 0),
        (limits.HALF_THE_BILL, "gifts_beyond_half", 0),
        (limits.SMALL_VOUCHERS, "own_when_minor", limits.MOST_SMALL_VOUCHERS),
    ):
        for remedy in ceiling.remedies:
            for role in LADDER[: ceiling.binds_below]:
                yield role, remedy, "*", measured, str(most)


PEERS: dict[str, Callable[[], AnyContestant]] = {
    "datalogic (JSONLogic)": datalogic,
    "zen, one expression": zen_expression,
    "CEL": cel,
    "zen, decision tables": zen_tables,
    "zen, decision tables with trace": zen_tables_traced,
    "Cedar": cedar,
    "casbin": casbin,
}
