"""Who is timed: a dictionary, an if-chain, durable-rules' C module, and recovery-engine. The peers are in peers.py."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import recovery_engine
from benchmarks import limits
from benchmarks.limits import LADDER
from benchmarks.stream import Case
from recovery_engine import Decision, Money, Policy, RecoveryRequest, Usage, load_policy
from recovery_engine.decide import compiled
from recovery_engine.model import NO_USAGE, Outcome
from recovery_engine.rules.durable import Expression, Network, Rule
from recovery_engine.rules.fold import Ruling

POLICY_FILE = Path(__file__).with_name("policy.yaml")

DENY, APPROVE = "deny", "approve"

DICTIONARY, IF_CHAIN, DURABLE_RULES = "dictionary", "if-chain", "durable-rules (C module)"
BARE, FULL = "recovery-engine, outcome only", "recovery-engine, decide()"

Input = TypeVar("Input")
Raw = TypeVar("Raw")


@dataclass(frozen=True)
class Contestant(Generic[Input, Raw]):
    """One way to decide. Only ``decide`` is timed.

    ``answer`` turns what it gives into ``approve``, ``deny`` or the role that is asked. ``host`` says what the caller
    works out for it; ``explains`` what it can say about its answer, beyond the answer.
    """

    name: str
    package: str
    prepare: Callable[[Case], Input]
    decide: Callable[[Input], Raw]
    answer: Callable[[Raw], str]
    host: str = ""
    explains: str = ""


AnyContestant = Contestant[Any, Any]

OURS = f"recovery-engine {recovery_engine.__version__}"

SUMS = "sums on the case"


def installed(package: str) -> str:
    """A package with its version."""
    return f"{package} {version(package)}"


def as_it_is(answer: str) -> str:
    """The answer of a contestant that already speaks our words."""
    return answer


def own_contestants() -> list[AnyContestant]:
    """Those that need nothing but what the library itself needs."""
    policy = load_policy(POLICY_FILE)
    return [dictionary(), if_chain(), durable_rules(), bare(policy), full(policy)]


# --- a dictionary: from the words to the limits, then comparing -------------------------------------------------------

Limits = tuple[str, int, int, int, int]
"""The answer if these hold: most in total, most of this remedy, percent of the bill for it, and for all gifts."""

ANY_PERCENT = 10**9


def _limits_by_words() -> dict[tuple[str, str, str, str, str], tuple[Limits, ...]]:
    table, same = {}, dict[tuple[Limits, ...], tuple[Limits, ...]]()
    for words in itertools.product(LADDER, limits.REMEDIES, limits.SEVERITIES, limits.SITES, limits.CATEGORIES):
        role, remedy, severity, site, category = words
        scope, first = limits.scope_of(severity, site, category), LADDER.index(role)
        rungs = []
        for rank in range(first, len(LADDER)):
            small = remedy == "voucher" and severity == "minor" and rank < limits.SMALL_VOUCHERS.binds_below
            most_own = min(limits.limit(remedy, scope, rank), limits.MOST_SMALL_VOUCHERS if small else limits.UNLIMITED)
            half = remedy in limits.GIFTS and rank < limits.HALF_THE_BILL.binds_below
            rungs.append(
                (
                    APPROVE if rank == first else LADDER[rank],
                    limits.limit("", scope, rank),
                    most_own,
                    100 if remedy == "refund" else ANY_PERCENT,
                    50 if half else ANY_PERCENT,
                )
            )
        ladder = tuple(rungs)
        table[words] = same.setdefault(ladder, ladder)  # equal ones once: what is small stays near
    return table


def dictionary() -> AnyContestant:
    """The floor: nothing that knows the words and the figures can do less."""
    table = _limits_by_words()

    def decide(case: Case) -> str:
        if case.staff or case.days > limits.MOST_DAYS:
            return DENY
        total, own, gifts, bill = case.total, case.own, case.gifts, case.bill
        for answer, most_total, most_own, percent_own, percent_gifts in table[
            case.role, case.remedy, case.severity, case.site, case.category
        ]:
            if (
                total <= most_total
                and own <= most_own
                and 100 * own <= percent_own * bill
                and 100 * gifts <= percent_gifts * bill
            ):
                return answer
        return DENY

    return Contestant(DICTIONARY, "", _summed, decide, as_it_is, SUMS)


_SUMMED = ("total", "own", "gifts", "rank")


def _summed(case: Case) -> Case:
    """The case with its sums worked out, so that reading them costs what reading a field costs."""
    for field in _SUMMED:
        getattr(case, field)
    return case


# --- an if-chain, as somebody in a hurry would write it ---------------------------------------------------------------


def if_chain() -> AnyContestant:
    """The policy as code."""
    return Contestant(IF_CHAIN, "", _summed, _ask_upwards, as_it_is, SUMS)


def _ask_upwards(case: Case) -> str:
    if case.staff or case.days > 60:
        return DENY
    for rank in range(case.rank, len(LADDER)):
        if _may(case, rank):
            return APPROVE if rank == case.rank else LADDER[rank]
    return DENY


def _may(case: Case, rank: int) -> bool:
    franchise = case.site in ("S101", "S102") and case.category != "safety"
    major = not franchise and case.severity in ("major", "critical")
    if rank == 0:
        most = 5_000 if franchise else 15_000 if major else 10_000
    elif rank == 1:
        most = 15_000 if franchise else 40_000 if major else 25_000
    elif rank == 2:
        most = 50_000
    elif rank == 3:
        most = 100_000 if franchise else 250_000
    else:
        most = limits.UNLIMITED
    if case.total > most:
        return False
    if case.remedy == "refund":
        return case.own <= (250_000 if rank == 3 else most) and case.own <= case.bill
    if case.remedy == "voucher":
        if case.severity == "minor" and rank < 4 and case.own > 20_000:
            return False
        return case.own <= (2_500, 10_000, 25_000, 50_000, 500_000)[rank]
    if case.remedy == "fee_waiver":
        return case.own <= (-1, 10_000, 30_000, 150_000, limits.UNLIMITED)[rank]
    if rank < 3 and 2 * case.gifts > case.bill:
        return False
    if case.remedy == "discount":
        return case.own <= (5_000, 10_000, 20_000, 100_000, limits.UNLIMITED)[rank]
    return case.own <= (4_000, 8_000, 20_000, 100_000, limits.UNLIMITED)[rank]


# --- durable-rules' C module ------------------------------------------------------------------------------------------


def durable_rules() -> AnyContestant:
    """One rule for each limit; it says which roles are stopped, and the host takes the lowest that is not."""
    rules = list(_rules())
    network = Network([Rule(f"{at}", when) for at, (_, when) in enumerate(rules)])
    stopped_by = {f"{at}": rank for at, (rank, _) in enumerate(rules)}
    everyone = -1

    def prepare(case: Case) -> tuple[int, dict[str, int]]:
        return case.rank, {
            "remedy": limits.REMEDIES.index(case.remedy),
            "severity": limits.SEVERITIES.index(case.severity),
            "category": limits.CATEGORIES.index(case.category),
            "site": limits.SITES.index(case.site),
            "total": case.total,
            "sum00": case.own,
            "slack00": case.bill - case.own,
            "slack01": case.bill - 2 * case.gifts,
            "fact00": int(case.staff),
            "fact01": case.days,
        }

    def decide(asked: tuple[int, dict[str, int]]) -> str:
        first, message = asked
        stopped = {stopped_by[name] for name in network.fitting(message)}
        if everyone in stopped:
            return DENY
        for rank in range(first, len(LADDER)):
            if rank not in stopped:
                return APPROVE if rank == first else LADDER[rank]
        return DENY

    return Contestant(
        DURABLE_RULES,
        installed("durable-rules"),
        prepare,
        decide,
        as_it_is,
        f"{SUMS}, words as numbers, what the bill leaves, the way up the ladder",
        "the limits that are exceeded",
    )


def _rules() -> list[tuple[int, Expression]]:
    """The rank that a rule stops (-1: everyone), and when."""

    def one_of(field: str, known: tuple[str, ...], words: tuple[str, ...]) -> Expression:
        return cast("Expression", ("or", *(("==", field, known.index(word)) for word in words)))

    def none_of(field: str, known: tuple[str, ...], words: tuple[str, ...]) -> Expression:
        return cast("Expression", ("and", *(("!=", field, known.index(word)) for word in words)))

    def remedy(*words: str) -> Expression:
        return one_of("remedy", limits.REMEDIES, words)

    safety = limits.CATEGORIES.index("safety")
    franchise: Expression = ("and", one_of("site", limits.SITES, limits.FRANCHISE), ("!=", "category", safety))
    elsewhere: Expression = ("or", none_of("site", limits.SITES, limits.FRANCHISE), ("==", "category", safety))
    always: Expression = ("and",)
    scopes: dict[str, Expression] = {
        "": always,
        "franchise": franchise,
        "major": ("and", elsewhere, one_of("severity", limits.SEVERITIES, limits.MAJOR)),
        "plain": ("and", elsewhere, none_of("severity", limits.SEVERITIES, limits.MAJOR)),
    }
    rules: list[tuple[int, Expression]] = [(-1, ("==", "fact00", 1)), (-1, (">", "fact01", limits.MOST_DAYS))]
    for row in limits.ROWS:
        measured = "sum00" if row.remedy else "total"
        for rank, limit in enumerate(row.limits):
            if limit != limits.UNLIMITED:
                where = remedy(row.remedy) if row.remedy else always
                rules.append((rank, ("and", where, scopes[row.scope], (">", measured, limit))))
    minor = limits.SEVERITIES.index("minor")
    over: tuple[tuple[limits.Ceiling, Expression], ...] = (
        (limits.NEVER_OVER_BILL, ("<", "slack00", 0)),
        (limits.HALF_THE_BILL, ("<", "slack01", 0)),
        (limits.SMALL_VOUCHERS, ("and", ("==", "severity", minor), (">", "sum00", limits.MOST_SMALL_VOUCHERS))),
    )
    for ceiling, exceeded in over:
        rules += [(rank, ("and", remedy(*ceiling.remedies), exceeded)) for rank in range(ceiling.binds_below)]
    return rules


# --- recovery-engine --------------------------------------------------------------------------------------------------

Asked = tuple[RecoveryRequest, Usage]


def request_of(case: Case) -> Asked:
    """The case as recovery-engine takes it."""
    request = RecoveryRequest(
        role=case.role,
        remedy=case.remedy,
        amount=Money(case.amount, "USD"),
        site=case.site,
        category=case.category,
        severity=case.severity,
        bill=Money(case.bill, "USD"),
        facts={"customer_is_staff": case.staff, "days_since_visit": case.days},
    )
    return request, Usage(on_case=case.had) if case.had else NO_USAGE


def bare(policy: Policy) -> AnyContestant:
    """The outcome only: a valid request's seat, and the ruling on its cell."""
    ready = compiled(policy)

    def decide(asked: Asked) -> Ruling:
        request, usage = asked
        return ready.seat(request, usage).ruling(request, usage)[0]

    def answer(ruling: Ruling) -> str:
        return LADDER[ruling.to] if ruling.to is not None else str(ruling.outcome)

    return Contestant(BARE, OURS, request_of, decide, answer, explains="the lines that decided")


def full(policy: Policy) -> AnyContestant:
    """The whole of ``decide()``."""

    def decide(asked: Asked) -> Decision:
        request, usage = asked
        return recovery_engine.decide(policy, request, usage)

    def answer(decision: Decision) -> str:
        return decision.to if decision.outcome == Outcome.ESCALATE and decision.to else str(decision.outcome)

    explains = "lines, amounts, ladder, what can be given now, what would change it, what to say"
    return Contestant(FULL, OURS, request_of, decide, answer, explains=explains)
