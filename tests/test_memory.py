"""What is remembered is exact and bounded: never an answer of other words, other figures or another caller."""

import gc

import pytest

from recovery_engine import (
    InvalidRequest,
    Money,
    Outcome,
    PolicyError,
    RecoveryRequest,
    Usage,
    decide,
    load_policy,
    parse_policy,
    read_request,
)
from recovery_engine.decide import compiled
from recovery_engine.rules.durable import Network
from recovery_engine.seats import Compiled

HUNDRED = """
policy: hundred
currency: USD
ladder: [clerk, lead]
facts: {knows: {flag: true, default: false}}
authority: [{up_to: {total: [100, 250]}}]
someone_else: [{id: family, when: {knows: true}}]
"""


def refund(amount: str, remedy: str = "refund", **more: object) -> RecoveryRequest:
    return RecoveryRequest(role="clerk", remedy=remedy, amount=Money.of(amount, "USD"), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["total"])
def test_the_name_of_a_row_is_no_remedy(word: str) -> None:
    policy = parse_policy(HUNDRED)
    with pytest.raises(InvalidRequest, match="a meaning of its own"):
        decide(policy, refund("0", word))
    on_case = Usage(on_case={"gift": 100_000})
    assert decide(policy, refund("100"), on_case).outcome == Outcome.DENY
    with pytest.raises(PolicyError, match="RP012"):
        parse_policy(HUNDRED.replace("facts:", "remedies: [refund, total]\nfacts:"))


@pytest.mark.parametrize("word", [" refund", "a\nb", "\x00x", "a\u200bb", "", "x" * 65])
def test_what_is_no_word_is_no_remedy_even_where_any_word_will_do(word: str) -> None:
    with pytest.raises(InvalidRequest):
        decide(parse_policy(HUNDRED), refund("1", word))


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"amount": "240", "facts": {"role": "lead"}}, "role"),
        ({"amount": "240", "facts": {"amount": "1"}}, "amount"),
        ({"amount": "40", "facts": {"evidence": "receipt"}}, "evidence"),
        ({"amount": "40", "knows": "true", "facts": {"knows": "false"}}, "knows"),
        ({"amount": "40", "facts": 7}, "facts"),
        ({"amount": "40", "facts": "knows"}, "facts"),
    ],
)
def test_facts_stand_in_for_nothing_else(fields: dict[str, object], name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_request(parse_policy(HUNDRED), {"role": "clerk", "remedy": "refund", **fields})
    assert [diagnostic.where for diagnostic in caught.value.diagnostics] == [name]


@pytest.mark.parametrize("fields", ["amount=5", None, 7, [("amount", "5")]])
def test_a_request_is_a_mapping(fields: object) -> None:
    with pytest.raises(InvalidRequest, match="a request is a mapping"):
        read_request(parse_policy(HUNDRED), fields)  # type: ignore[arg-type]


def test_a_remedy_is_guessed_only_where_none_is_read() -> None:
    classic = load_policy("classic")
    assert read_request(classic, {"role": "frontline", "amount": "90"})[0].remedy == "refund"
    by_remedy = HUNDRED.replace("{total: [100, 250]}", "{refund: [100, 250], points: [5, 10]}")
    with pytest.raises(InvalidRequest, match="no remedy"):
        read_request(parse_policy(by_remedy), {"role": "clerk", "amount": "90"})


def test_a_decision_is_explained_by_what_was_given() -> None:
    had, facts = {"refund": 6000}, {"knows": False}
    decision = decide(parse_policy(HUNDRED), refund("60", facts=facts), Usage(on_case=had))
    had["refund"], facts["knows"] = 0, True
    assert decision.because[0].had == 12_000
    assert [flip.change for flip in decision.flip] == ["$40.00 or less"]


def test_a_fault_tells_its_own_story(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = Compiled(parse_policy(HUNDRED))
    assert ready.encoding is not None
    said = iter(["first", "second"])

    def fail(*_: object) -> None:
        raise ValueError(next(said))

    monkeypatch.setattr(ready.encoding, "match", fail)
    first, second = (ready.decide(refund(amount), Usage()) for amount in ("1", "200"))
    assert (first.outcome, second.outcome) == (Outcome.ESCALATE, Outcome.ESCALATE)
    assert "first" in first.because[0].text
    assert "second" in second.because[0].text


def test_memory_is_bounded_and_forgetting_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recovery_engine.seats._MOST_SEATS", 3)
    monkeypatch.setattr("recovery_engine.seats._MOST_CELLS", 4)
    policies_kept = compiled.__globals__
    monkeypatch.setitem(policies_kept, "_MOST_POLICIES", 2)
    policies = [parse_policy(HUNDRED.replace("100, 250", f"{limit}, 250")) for limit in (50, 100, 200)]
    for _ in range(3):
        for limit, policy in zip((5000, 10_000, 20_000), policies, strict=True):
            for remedy in ("refund", "gift", "voucher", "flowers", "apology"):
                for minor in (0, 1, limit, limit + 1):
                    request = RecoveryRequest("clerk", remedy, Money(minor, "USD"))
                    wanted = Outcome.APPROVE if minor <= limit else Outcome.ESCALATE
                    assert decide(policy, request).outcome == wanted
            ready = compiled(policy)
            assert len(ready._seats) <= 3
            assert ready.cells <= 4
            assert len(policies_kept["_compiled"]) <= 2


def test_the_cells_of_one_seat_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recovery_engine.seats._MOST_CELLS", 4)
    limits = ", ".join(str(limit) for limit in range(10, 40))
    roles = ", ".join(f"r{number}" for number in range(30))
    text = f"policy: tall\ncurrency: USD\nladder: [{roles}]\nauthority: [{{up_to: {{total: [{limits}]}}}}]\n"
    ready = Compiled(parse_policy(text))
    for amount in range(10, 40):
        decision = ready.decide(RecoveryRequest("r0", "refund", Money.of(amount, "USD")), Usage())
        assert decision.to == (f"r{amount - 10}" if amount > 10 else None)
        remembered = [len(seat._rulings) + len(seat._first_rulings) for seat in ready._seats.values()]
        assert sum(remembered) <= 4


def test_the_policy_in_service_is_not_the_one_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(compiled.__globals__, "_MOST_POLICIES", 2)
    served = parse_policy(HUNDRED)
    ready = compiled(served)
    for limit in range(101, 106):
        parse_policy(HUNDRED.replace("100, 250", f"{limit}, 250"))
        assert compiled(served) is ready


def test_a_policy_that_is_let_go_gives_its_rulesets_back(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Network] = []
    close = Network.close

    def seen_closing(network: Network) -> None:
        closed.append(network)
        close(network)

    monkeypatch.setattr(Network, "close", seen_closing)
    ready = Compiled(parse_policy(HUNDRED))
    assert ready.encoding is not None
    network = ready.encoding._network
    del ready
    gc.collect()
    assert network in closed
