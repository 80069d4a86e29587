"""Requests sorted into cells by SQL, and each cell decided once, by the policy itself.

Every row of `history` gets the number of its cell: the codes of its words and the bands of its figures, as digits. One
request stands for all of a cell, whose ruling is constant. No rule is written a second time: what is in SQL only says
which rows are alike, and may tell apart more than the policy does.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from recovery_engine.decide import compiled
from recovery_engine.errors import Diagnostic, InvalidRequest
from recovery_engine.history.table import OUTCOMES, fact_column, text, word
from recovery_engine.model import NO_USAGE, FactValue, RecoveryRequest
from recovery_engine.money import Money
from recovery_engine.policy.schema import CeilingLine, Limit, Line, OwedLine, Policy
from recovery_engine.policy.words import Fact, Problem, read_new_word
from recovery_engine.rules.cells import BUILT_IN_WORDS, all_cuts
from recovery_engine.rules.encoding import IN_NO_LIST, NOT_GIVEN, word_classes
from recovery_engine.rules.fold import Ruling
from recovery_engine.rules.readings import ALL, Reading, named_remedies
from recovery_engine.rules.reference import Match
from recovery_engine.seats import Seat

Progress = Callable[[str, int, int | None], None]
"""Told, again and again, what is being done, how much of it is done, and of how much."""

_MOST_ODD = 1_000
"""Words of a field that are told apart though the policy does not know them; those beyond are taken for one."""


class Digit(NamedTuple):
    """One digit of the number of a cell: an expression that is at least 0, and below a base."""

    sql: str
    base: int


class Ruled(NamedTuple):
    """What a cell comes to, or why it cannot be decided; ``n`` is its first request."""

    n: int
    outcome: int | None
    to_rank: int | None
    second_rank: int | None
    needs: int
    problem: str


def decide_cells(connection: Any, policy: Policy, name: str, progress: Progress | None = None) -> str:
    """Decide every row of `history` as if its case and every budget had nothing before.

    Makes the tables *name* (cell, requests, outcome, to_rank, second_rank, needs, problem) and *name*_needs (id,
    items), and gives the number of a row's cell as SQL. What cannot be decided has a ``problem`` and no outcome.
    """
    number = _number([*_word_digits(connection, policy), *_figure_digits(connection, policy)])
    connection.execute(
        f"CREATE TABLE firsts AS SELECT cell, min(n) AS n, count(*) AS requests "
        f"FROM (SELECT {number} AS cell, n FROM history) GROUP BY cell"
    )
    needs: dict[tuple[str, ...], int] = {(): 0}
    ruled = list(_rulings(connection, policy, needs, progress))
    connection.execute(
        "CREATE TABLE ruled (n BIGINT, outcome UTINYINT, to_rank TINYINT, second_rank TINYINT, needs USMALLINT, "
        "problem VARCHAR)"
    )
    insert(connection, "ruled", ruled)
    connection.execute(f"CREATE TABLE {name} AS SELECT * EXCLUDE (n) FROM firsts JOIN ruled USING (n)")
    connection.execute("DROP TABLE firsts; DROP TABLE ruled")
    connection.execute(f"CREATE TABLE {name}_needs (id USMALLINT, items VARCHAR[])")
    insert(connection, f"{name}_needs", [(id, list(items)) for items, id in needs.items()])
    return number


def insert(connection: Any, table: str, rows: Sequence[Sequence[Any]]) -> None:
    """Put rows into a table: in one statement, because each costs more than a row."""
    if rows:
        columns = [list(column) for column in zip(*rows, strict=True)]
        unnested = ", ".join(f"unnest(${at})" for at in range(1, len(columns) + 1))
        connection.execute(f"INSERT INTO {table} SELECT {unnested}", columns)


# --- the number of a cell ---------------------------------------------------------------------------------------------


def _number(digits: Iterable[Digit]) -> str:
    """The number with these digits, as SQL; as many bits as it takes, and where 128 are too few, their text."""
    found = [digit for digit in digits if digit.base > 1]
    largest = math.prod(digit.base for digit in found)
    if largest >= 2**126:
        return f"concat_ws('.', {', '.join(digit.sql for digit in found)})"
    kind = "BIGINT" if largest < 2**62 else "HUGEINT"
    number = f"CAST(0 AS {kind})"
    for sql, base in found:
        number = f"({number} * {base} + {sql})"
    return number


def word_number(connection: Any, policy: Policy) -> str:
    """A number for each choice of words and proof that the policy may tell apart, as SQL."""
    return _number(_word_digits(connection, policy))


def _word_digits(connection: Any, policy: Policy) -> Iterator[Digit]:
    """What tells the words and the proof of rows of `history` apart that the policy may tell apart, and more."""
    odd = _odd_words(connection, policy)
    for name in _word_fields(policy):
        yield _of_words(_column(policy, name), _codes(policy, name), odd.get(name, ()))
    for name, fact in policy.facts.items():
        if fact.kind == "flag":
            yield Digit(f"coalesce(CAST({fact_column(name)} AS INTEGER), 2)", 3)
    for item in sorted({item for line in policy.requires for item in line.evidence}):
        yield Digit(f"coalesce(CAST(list_contains(evidence, {text(item)}) AS INTEGER), 0)", 2)
    yield Digit("coalesce(CAST(note AS INTEGER), 0)", 2)


def _figure_digits(connection: Any, policy: Policy) -> Iterator[Digit]:
    """What tells their figures apart."""
    cuts = all_cuts(policy)
    yield _of_amount(policy, cuts)
    for key in sorted(cuts, key=str):
        if key[0] == "number":
            yield _of_bands(_column(policy, str(key[1])), cuts[key])
        elif key[0] in ("slack", "due"):
            line = policy.by_id[str(key[1])]
            assert isinstance(line, CeilingLine | OwedLine)
            within, remedies = f"amount <= {_limit(connection, policy, line)}", _remedies(line)
            if remedies:
                within = f"remedy NOT IN ({', '.join(map(text, remedies))}) OR {within}"
            yield Digit(f"CASE WHEN {within} THEN 1 ELSE 0 END", 2)
    for name, fact in policy.facts.items():  # whether it is there where a line asks for it
        if fact.kind in ("number", "money") and fact.default is None:
            yield Digit(f"CASE WHEN {fact_column(name)} IS NULL THEN 1 ELSE 0 END", 2)


def _remedies(line: Line) -> tuple[str, ...]:
    """The remedies that a line is about; none named: all."""
    return (line.remedy,) if isinstance(line, OwedLine) else named_remedies(line)


def _of_amount(policy: Policy, cuts: Mapping[Reading, tuple[int, ...]]) -> Digit:
    """The band of the amount; the lines that one remedy is compared with cut no other's."""
    of_remedies: list[tuple[tuple[str, ...], tuple[int, ...]]] = [(ALL, (0,))]
    for key, values in cuts.items():
        if key[0] == "sum":
            of_remedies.append((tuple(key[1]), values))
        elif key[0] == "budget":
            of_remedies.append((named_remedies(policy.by_id[str(key[1])]), values))
    by_cuts: dict[tuple[int, ...], list[str]] = {}
    for remedy in dict.fromkeys(one for remedies, _ in of_remedies for one in remedies):
        own = {cut for remedies, values in of_remedies if remedies == ALL or remedy in remedies for cut in values}
        by_cuts.setdefault(tuple(sorted(own)), []).append(remedy)
    usual = _of_bands("amount", sorted({cut for remedies, values in of_remedies if remedies == ALL for cut in values}))
    digits = [(remedies, _of_bands("amount", own)) for own, remedies in by_cuts.items()]
    cases = " ".join(f"WHEN remedy IN ({', '.join(map(text, remedies))}) THEN {one.sql}" for remedies, one in digits)
    base = max(usual.base, *(one.base for _, one in digits), 0)
    return Digit(f"CASE {cases} ELSE {usual.sql} END" if cases else usual.sql, base)


def _word_fields(policy: Policy) -> list[str]:
    return ["role", *BUILT_IN_WORDS, "reason", *(name for name, fact in policy.facts.items() if fact.kind == "one_of")]


def _column(policy: Policy, name: str) -> str:
    return fact_column(name) if name in policy.facts else word(name)


def _codes(policy: Policy, name: str) -> dict[str, int]:
    """A code for every word that the policy knows in a field; those that it cannot tell apart share one."""
    if name == "role":
        return {role: rank for rank, role in enumerate(policy.ladder)}
    if name == "reason":
        codes = dict.fromkeys(code for codes in policy.reason_codes.values() for code in codes)
        return {code: number for number, code in enumerate(codes)}
    classes = word_classes(policy).get(name, {})
    known = policy.words.known(name)
    return {str(one): classes.get(one, 1) for one in (*(known or ()), *(classes if known is None else ()))}


def _of_words(column: str, codes: dict[str, int], odd: tuple[str, ...]) -> Digit:
    """The code of a word, of its own for each odd one; two more for other words and for none."""
    least = max(codes.values(), default=-1) + 1
    coded = codes | {one: least + at for at, one in enumerate(odd)}
    other = least + len(odd)
    # The most usual code needs no comparison where every word has one; which it is does not matter here.
    cases = " ".join(f"WHEN {text(one)} THEN {code}" for one, code in coded.items())
    rest = f"CASE WHEN {column} IS NULL THEN {other + 1} ELSE {other} END"
    return Digit(f"CASE {column} {cases} ELSE {rest} END" if cases else rest, other + 2)


def _of_bands(column: str, cuts: Sequence[int]) -> Digit:
    """The band of a number, 0 to the number of cuts; one more for none."""
    cases = " ".join(f"WHEN {column} <= {cut} THEN {band}" for band, cut in enumerate(cuts))
    return Digit(f"CASE {cases} WHEN {column} IS NULL THEN {len(cuts) + 1} ELSE {len(cuts)} END", len(cuts) + 2)


def _limit(connection: Any, policy: Policy, line: Limit) -> str:
    """What a ceiling allows, or an owed line gives, as SQL: see ``readings.limit_of``."""
    parts = []
    if line.amount is not None:
        parts.append(str(line.amount))
    if line.percent is not None and line.of is not None:
        half = 5000 if isinstance(line, OwedLine) else 0
        parts.append(f"(({_product(connection, policy, line.of, line.percent)} + {half}) // 10000)")
    if line.each is not None and line.per is not None:
        parts.append(_product(connection, policy, line.per, line.each))
    # `least` would pass over a part that is not known; nothing is left then.
    unknown = " OR ".join(f"{part} IS NULL" for part in parts)
    allowed = parts[0] if len(parts) == 1 else f"least({', '.join(parts)})"  # of one part, not every SQL has a least
    return f"CASE WHEN {unknown} THEN 0 ELSE {allowed} END"


def _product(connection: Any, policy: Policy, name: str, times: int) -> str:
    """A number of the request so many times over, in 128 bits where 64 may not do."""
    column, fact = _column(policy, name), policy.facts.get(name)
    if fact is not None and fact.default is not None:
        column = f"coalesce({column}, {int(fact.default)})"
    (largest,) = connection.execute(f"SELECT coalesce(max(abs({column})), 0) FROM history").fetchone()
    return f"{column}{'::HUGEINT' if largest * max(times, 1) >= 2**62 else ''} * {times}"


# --- words nobody knows -----------------------------------------------------------------------------------------------


_PLAIN = "[A-Za-z0-9]([A-Za-z0-9._ /-]{0,62}[A-Za-z0-9])?"
"""What surely is a word wherever any will do, but for those that have a meaning of their own."""


def _odd_words(connection: Any, policy: Policy) -> dict[str, tuple[str, ...]]:
    """By field, what stands in it that the policy takes for no word of its own: each will have its own reason."""
    odd: dict[str, tuple[str, ...]] = {}
    for name in _word_fields(policy):
        column, listed = _column(policy, name), ", ".join(map(text, _codes(policy, name)))
        fits = [f"{column} NOT IN ({listed})"] if listed else []
        if anything := policy.words.known(name) is None and (name != "reason" or not policy.reason_codes):
            fits.append(f"({column} IN ('total', 'next_role') OR NOT regexp_full_match({column}, {text(_PLAIN)}))")
        found = connection.execute(
            # Each word once, before it is looked at: OFFSET keeps the filter outside.
            f"SELECT {column} FROM (SELECT DISTINCT {column} FROM history OFFSET 0) "
            f"WHERE {' AND '.join([f'{column} IS NOT NULL', *fits])} ORDER BY 1"
        ).fetchall()
        words = [one for (one,) in found if not (anything and _is_word(one, name))]
        if words:
            odd[name] = tuple(words[:_MOST_ODD])
    return odd


def _is_word(one: str, name: str) -> bool:
    if name == "reason":  # whatever it is, nobody reads it
        return True
    try:
        read_new_word(one, name)
    except Problem:
        return False
    return True


# --- from a cell to its ruling ----------------------------------------------------------------------------------------


def _rulings(
    connection: Any, policy: Policy, needs: dict[tuple[str, ...], int], progress: Progress | None
) -> Iterator[Ruled]:
    """The ruling on each cell, of the request that stands for it."""
    ready, found = compiled(policy), _Found()
    (total,) = connection.execute("SELECT count(*) FROM firsts").fetchone()
    for done, (n, request) in enumerate(requests(connection, policy, "firsts")):
        if progress is not None and done % 1_000 == 0:
            progress("deciding cells", done, total)
        try:
            seat = ready.seat(request, NO_USAGE)
        except InvalidRequest as invalid:
            yield Ruled(n, None, None, None, 0, "; ".join(dict.fromkeys(map(_said, invalid.diagnostics))))
        else:
            ruling = _ruling(seat, request, found)
            asked_for = needs.setdefault(ruling.needs, len(needs))
            yield Ruled(n, OUTCOMES.index(ruling.outcome), ruling.to, ruling.second, asked_for, "")


_Found = dict[tuple[Any, ...], Match | str]
"""What the matchers found, by words and bands: the same for every role and whatever proof is on file."""


def _ruling(seat: Seat, request: RecoveryRequest, found: _Found) -> Ruling:
    amount = request.amount.minor
    readings = {meter.key: meter.read(amount, request, NO_USAGE) for meter in seat.meters}
    bands = [-1 if (value := readings[meter.key]) is None else bisect_left(meter.cuts, value) for meter in seat.meters]
    classes = [
        NOT_GIVEN if (word := seat.words[name]) is None else of_words.get(word, IN_NO_LIST)
        for name, of_words in seat.compiled.classes.items()
    ]
    key = (amount == 0, *classes, *bands)
    match = found.get(key)
    if match is None:
        match = found[key] = seat.compiled.found(seat.words, readings)
    return seat.rule(match, amount == 0)[0]


def _said(found: Diagnostic) -> str:
    return f"{found.message} ({found.help})" if found.help.startswith("did you mean") else found.message


_PARTS = ("role", *BUILT_IN_WORDS, "reason", "amount", "bill", "note", "evidence")


def requests(connection: Any, policy: Policy, chosen: str = "history") -> Iterator[tuple[int, RecoveryRequest]]:
    """The rows of `history` whose ``n`` stands in the table *chosen*, in order, as ``decide`` takes them."""
    columns = ", ".join([*_PARTS, *map(fact_column, policy.facts)])
    wanted = "" if chosen == "history" else f"SEMI JOIN {chosen} USING (n)"
    rows = connection.cursor().execute(f"SELECT n, {columns} FROM history {wanted} ORDER BY n")
    while some := rows.fetchmany(10_000):
        for n, *row in some:
            parts = dict(zip(_PARTS, row, strict=False))
            facts = zip(policy.facts.items(), row[len(_PARTS) :], strict=True)
            yield n, _request(policy.currency, parts, facts)


def _request(currency: str, parts: dict[str, Any], facts: Iterable[tuple[tuple[str, Fact], Any]]) -> RecoveryRequest:
    given: dict[str, FactValue] = {
        name: Money(value, currency) if fact.kind == "money" else value
        for (name, fact), value in facts
        if value is not None
    }
    bill = parts["bill"]
    parts |= {
        "amount": Money(parts["amount"], currency),
        "bill": None if bill is None else Money(bill, currency),
        "basis": parts["basis"] or "goodwill",
        "note": "on file" if parts["note"] else None,
        "evidence": frozenset(parts["evidence"] or ()),
        "facts": given,
    }
    return RecoveryRequest(**parts)


def always(policy: Policy) -> Policy:
    """The same policy without its days: history is decided as if it had been in force all the time."""
    if policy.effective is None:
        return policy
    ref = policy.ref  # worked out here, it is copied
    timeless = policy.model_copy(update={"effective": None})
    assert timeless.ref is ref
    return timeless
