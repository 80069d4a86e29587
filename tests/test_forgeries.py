"""Forgeries in which every hash is made to fit: what finds them, and what only a witness outside can find."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from forging import Entry, Forger, Original, first, remembered
from making_logs import DAY_US

from recovery_engine.log.entry import SEMANTICS
from recovery_engine.log.verification import register
from recovery_engine.log.verification.verify import verify

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _each_policy_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register, "parse_stored", remembered)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return Original(tmp_path_factory.mktemp("original"))


@pytest.fixture
def forger(original: Original, tmp_path: Path) -> Iterator[Forger]:
    with closing(Forger(original.file, tmp_path / "forged.db")) as forger:
        yield forger


# --- one entry changed ---


def _raised(entry: Entry) -> None:
    entry["request"]["amount"] = entry["counts"]["amount"] = 2_000
    entry["because"][0][2] = 2_000


def _grant(entry: Entry) -> None:
    """Grant what is owed, so that no budget tells."""
    counts = {"bday": entry["bday"], "remedy": "refund", "basis": "owed", "currency": "USD"}
    counts |= {"amount": 3_000, "times": 0}
    entry.update(outcome="approve", counts=counts, due_us=entry["at_us"] + 2 * DAY_US)


def _asked(entry: Entry, **fields: Any) -> None:
    entry["request"].update(fields)


def _become(entry: Entry, kind: str, fields: Entry) -> None:
    """Make an entry one of another kind."""
    kept = {name: entry[name] for name in ("v", "stream", "seq", "prev", "at_us", "id", "by")}
    entry.clear()
    entry.update(kept, kind=kind, **fields)


OPENED: Entry = {"log": "0" * 32, "origin": "x", "tracks": [], "engine": "0.1.0"}
FORGOTTEN: Entry = {"person": "c_" + "0" * 20, "fields": [], "ground": "none"}


Change = Callable[[Entry], Any]

FORGERIES: dict[str, tuple[str, Change, str]] = {
    # what it counts
    "an amount raised with its counts": ("r-01", _raised, "site:S001 3: it saw [['refund', 'goodwill', 1000, 1]]"),
    "counts without the request": ("r-11", lambda e: e["counts"].update(amount=1), "`counts` is"),
    "counted as no case": ("r-16", lambda e: e["counts"].update(times=0), "`counts` is"),
    "nothing counted": ("r-16", lambda e: e.pop("counts"), "`approve` without `counts`"),
    "a void on another day": ("~void/r-02", lambda e: e["counts"].update(bday="2026-11-17"), "does not take back"),
    "a void of more": ("~void/r-02", lambda e: e["counts"].update(amount=-900), "does not take back"),
    "a void that undoes the case": ("~void/r-02", lambda e: e["counts"].update(times=1), "does not take back"),
    "a void that touches less": ("~void/r-02", lambda e: e["touches"].pop(), "touches other subjects"),
    # when
    "another day of business": ("r-16", lambda e: e.update(bday="2028-04-12"), "the business day is"),
    "another time zone": ("r-16", lambda e: e.update(utc_offset_s=-43_200), "the business day is"),
    "a later due time": ("r-07", lambda e: e.update(due_us=e["due_us"] + 1), "`due_us` is not what the policy"),
    "no due time": ("r-07", lambda e: e.pop("due_us"), "`due_us` is not what the policy"),
    "a time before the last": ("r-16", lambda e: e.update(at_us=e["at_us"] - 10**15), "earlier than the entry"),
    "a policy not yet in force": ("r-12", lambda e: e.update(bday="2026-11-20"), "was not in force"),
    # what it saw
    "usage that was not there": ("r-16", lambda e: e["usage"]["case"].append(["refund", "goodwill", 1, 1]), "it saw"),
    "usage left out": ("r-11", lambda e: e["usage"]["budgets"].pop(0), "in budgets"),
    "usage of a case left out": ("r-02", lambda e: e["usage"]["case"].pop(0), "on the case"),
    # who and where
    "a customer left out": ("r-15", lambda e: e["request"].pop("customer"), "touches other subjects"),
    "another employee": ("r-15", lambda e: _asked(e, employee="emp-9"), "`by` or `role`"),
    "asked by somebody else": ("r-15", lambda e: e.update(by="emp-9"), "`by` or `role`"),
    "another role": ("r-16", lambda e: e.update(role="lead"), "`by` or `role`"),
    "another site": ("r-16", lambda e: _asked(e, site="S002"), "the request of site `S002`"),
    "another receipt of the case": ("r-02", lambda e: _asked(e, receipt="R-9"), "had another receipt"),
    "another customer of the case": ("r-02", lambda e: _asked(e, customer="c_" + "0" * 20), "had another customer"),
    "another category of the case": ("r-02", lambda e: _asked(e, category="quality"), "had another category"),
    "another customer of the receipt": ("r-11", lambda e: _asked(e, customer="c_" + "0" * 20), "the receipt `R-1` had"),
    "another bill of the receipt": ("r-11", lambda e: _asked(e, bill=9_900), "the receipt `R-1` had another bill"),
    "a note that was not given": ("r-16", lambda e: _asked(e, note=True), "a note that was not kept"),
    # in what order
    "a subject number again": ("r-16", lambda e: e["touches"][-1].__setitem__(1, 2), "came before it"),
    "a subject number left out": ("r-16", lambda e: e["touches"][-1].__setitem__(1, 99), "cannot come before it"),
    # what it is about
    "a policy that is not there": ("r-16", lambda e: e.update(policy="f" * 64), "is not in the log"),
    "another id than the recovery": ("r-16", lambda e: e.update(recovery="r-99"), "the recovery is `r-99`"),
    "a fulfilment of something else": ("~fulfil/r-01", lambda e: e.update(of="0" * 64), "`of` is not the leaf"),
    "a void of the request": ("~void/r-03", lambda e: e.update(of="0" * 64), "`of` is not the leaf"),
    "a fulfilment of nothing": ("~fulfil/r-01", lambda e: e.update(recovery="r-77"), "never asked for"),
    "a void of what lapsed": ("~void/r-03", lambda e: e.update(recovery="r-08"), "of a recovery that is lapsed"),
    # approvals
    "approved by who asked": ("~approve/r-04/lead-1", lambda e: e.update(by="emp-1"), "emp-1 asked for it"),
    "approved for who asked": ("~approve/r-04/lead-1", lambda e: e.update({"for": "emp-1"}), "emp-1 asked for it"),
    "approved for more": ("~approve/r-04/lead-1", lambda e: e.update(amount=9_000), "more than the $80.00 that"),
    "approved twice by one": ("~approve/r-06/mgr-1", lambda e: e.update(by="lead-2"), "lead-2 agreed to it already"),
    "approved under another policy": ("~approve/r-04/lead-1", lambda e: e.update(policy="f" * 64), "another policy"),
    "approved by no role": ("~approve/r-04/lead-1", lambda e: e.update(role="king"), "that the policy does not know"),
    "approved with a second to come": ("~approve/r-04/lead-1", lambda e: e.update(second="lead"), "a `second` still"),
    "a second person of too low a role": ("~approve/r-06/mgr-1", lambda e: e.update(role="lead"), "a lead cannot be"),
    "approved on usage left out": ("~approve/r-06/mgr-1", lambda e: e["usage"]["budgets"].clear(), "in budgets"),
    "approved and due later": ("~approve/r-04/lead-1", lambda e: e.update(due_us=1), "`due_us` is not what"),
    "approved, touching less": ("~approve/r-04/lead-1", lambda e: e["touches"].pop(0), "touches other subjects"),
    "approved on another day": ("~approve/r-04/lead-1", lambda e: e.update(bday="2026-11-17"), "the business day is"),
    "approved and counted less": ("~approve/r-04/lead-1", lambda e: e["counts"].update(amount=1), "`counts` is"),
    "declined on another day": ("~decline/r-07/lead-1", lambda e: e.update(bday="2026-11-17"), "the business day is"),
    "a lapse before it was due": ("~lapse/r-08", lambda e: e.update(due_us=1), "`due_us` is not when"),
    "moved down": ("~up/r-08/1", lambda e: e.update(to="associate"), "silence gives `moved_up` to manager"),
    "moved up and due later": ("~up/r-08/1", lambda e: e.update(due_us=e["due_us"] + 1), "`due_us` is not what"),
    "moved up for the second time": ("~up/r-08/1", lambda e: e.update(step=2), "`step` is 2, and it must be 1"),
    "approved by nobody": ("~approve/r-04/lead-1", lambda e: e.update(by=None), "`approved` by nobody"),
    # questions, second thoughts
    "a question by nobody": ("~ask/r-19/1", lambda e: e.update(by=None), "`asked` by nobody"),
    "a question without words": ("~ask/r-19/1", lambda e: e.pop("personal"), "`asked` without the question"),
    "an answer without words": ("~answer/r-19/1", lambda e: e.pop("personal"), "`answered` without the answer"),
    "an answer to the request": ("~answer/r-19/1", lambda e: e.update(of="0" * 64), "`of` is not the leaf"),
    "answered, with more time": ("~answer/r-19/1", lambda e: e.update(due_us=e["due_us"] + 1), "`due_us` is not what"),
    "answered, without end": ("~answer/r-19/1", lambda e: e.pop("due_us"), "`due_us` is not what"),
    "answered on another day": ("~answer/r-19/1", lambda e: e.update(bday="2026-11-17"), "the business day is"),
    "asked on another day": ("~ask/r-19/1", lambda e: e.update(bday="2026-11-17"), "the business day is"),
    "amended upwards": ("~amend/r-19/8500", lambda e: e.update(amount=9_000), "amended to more than was asked for"),
    "amended by nobody": ("~amend/r-19/8500", lambda e: e.update(by=None), "`amended` by nobody"),
    "withdrawn by another": ("~withdraw/r-20", lambda e: e.update(by="emp-2"), "`r-20` is emp-1's"),
    "withdrawn on another day": ("~withdraw/r-20", lambda e: e.update(bday="2026-11-17"), "the business day is"),
    # joined
    "joined by another": ("r-21", lambda e: e.update(by="emp-3"), "`by` is not that of the request"),
    "joined for more": ("r-21", lambda e: _asked(e, amount=4_600), "it asks for something else than `r-20`"),
    "joined for another receipt": ("r-21", lambda e: _asked(e, receipt="R-2"), "it asks for something else"),
    "joined to one that is closed": ("r-21", lambda e: e.update(recovery="r-19"), "of a recovery that is granted"),
    "joined with another role asked": ("r-21", lambda e: e.update(to="manager"), "`to` or `due_us` is not that of"),
    "joined and due later": ("r-21", lambda e: e.update(due_us=e["due_us"] + 1), "`to` or `due_us` is not that of"),
    "joined with a note not given": ("r-21", lambda e: e["request"].pop("note"), "a note that was not kept"),
    "joined on another day": ("r-21", lambda e: e.update(bday="2026-11-17"), "the business day is"),
    # lent authority
    "lent by another": ("lent-1", lambda e: e.update(by="mgr-2"), "`for` is not who lent the authority"),
    "lent to another": ("lent-1", lambda e: e.update(to="lead-4"), "`lent-1` is lead-4's, and is not passed on"),
    "lent in a lower role": ("lent-1", lambda e: e.update(role="lead"), "approved as manager, and lead was lent"),
    "lent for another site": ("lent-1", lambda e: e.update(sites=["S002"]), "`lent-1` is not for the site `S001`"),
    "lent up to less": ("lent-1", lambda e: e.update(cap=8_499), "`lent-1` goes to $84.99 for one case"),
    "lent for a moment": ("lent-1", lambda e: e.update(until_us=e["from_us"] + 1), "`lent-1` is not in force now"),
    "lent and over": ("lent-2", lambda e: e.update(until_us=e["from_us"]), "over before it begins"),
    "lent, touching one alone": ("lent-2", lambda e: e["touches"].pop(), "touches other subjects"),
    "lent in a circle": ("lent-2", lambda e: e.update(by="lead-1", to="mgr-1"), "mgr-1 has lent authority to lead-1"),
    "revoked by another": ("~revoke/lent-2", lambda e: e.update(by="lead-2"), "by somebody else than who lent it"),
    "revoked, touching one alone": ("~revoke/lent-2", lambda e: e["touches"].pop(), "touches other subjects"),
    "revoked without being lent": ("~revoke/lent-2", lambda e: e.update(delegation="x"), "there is no delegation `x`"),
    "approved with another loan": ("~approve/r-19/lead-1", lambda e: e.update(delegation="lent-2"), "is lead-2's"),
    "approved with no loan": ("~approve/r-19/lead-1", lambda e: e.update(delegation="x"), "`for` is not who lent"),
    "approved with a loan unnamed": ("~approve/r-19/lead-1", lambda e: e.pop("delegation"), "`for` is not who lent"),
    "approved in nobody's name": ("~approve/r-19/lead-1", lambda e: e.pop("for"), "`for` is not who lent"),
    "approved in another name": ("~approve/r-19/lead-1", lambda e: e.update({"for": "x"}), "`for` is not who lent"),
    # the log itself
    "another log": ("~opened/site:S101", lambda e: e.update(log="0" * 32), "opened with another `log`"),
    "another origin": ("~opened/site:S101", lambda e: e.update(origin="x"), "opened with another `origin`"),
    "tracks more": ("~opened/site:S101", lambda e: e.update(tracks=["organisation"]), "opened with another `tracks`"),
    "a field of our own": ("r-16", lambda e: e.update(more=1), "unknown field `more`"),
    "a number that is none": ("r-16", lambda e: e.update(due_us=True), "`due_us` is ill-formed"),
    "a kind in the wrong stream": ("r-16", lambda e: _become(e, "forgotten", FORGOTTEN), "`forgotten` in the stream"),
    "opened again": ("r-16", lambda e: _become(e, "opened", OPENED), "the first entry of a stream is `opened`"),
    "an occurrence to come": ("r-13", lambda e: _asked(e, occurred_on="2026-12-24"), "after the day of the request"),
}
"""By what was done: the id of the entry, what was changed, and what it is found by, without replay."""

REPLAYED: dict[str, tuple[str, Change, str]] = {
    "a denial made a grant": ("r-14", _grant, "`outcome` is `approve`"),
    "other reasons": ("r-16", lambda e: e["because"].append(["two-people"]), "`because` is"),
    "other rungs": ("r-16", lambda e: e["rungs"][0].append("standard"), "`rungs` is"),
    "other facts": ("r-13", lambda e: _asked(e, facts={"delay_minutes": 5, "fare": 4_000}), "`outcome` is `approve`"),
    "an unknown word": ("r-16", lambda e: _asked(e, category="weather"), "it cannot be decided"),
    "nobody second to ask": ("r-06", lambda e: e.pop("second"), "`second` is nothing"),
    "an approver without a limit": (
        "~approve/r-04/lead-1",
        lambda e: e.update(role="associate"),
        "could not approve",
    ),
}
"""The same, of what only replay finds."""


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_with_every_hash_made_to_fit_is_found(name: str, forger: Forger) -> None:
    id, change, what = FORGERIES[name]
    forger.forge(id, change)
    report = forger.verify(replay=False)
    assert what in "\n".join(str(finding) for finding in report.findings if finding.kind == "tampered")


@pytest.mark.parametrize("name", REPLAYED)
def test_a_forged_decision_is_found_by_replay(name: str, forger: Forger) -> None:
    id, change, what = REPLAYED[name]
    forger.forge(id, change)
    assert not forger.verify(replay=False).has("tampered"), "it is found without replay"
    assert what in first(forger.verify())


def test_a_decision_hides_from_replay_only_where_everybody_sees_it(forger: Forger) -> None:
    def grant_unseen(entry: Entry) -> None:
        _grant(entry)
        entry.update(semantics=SEMANTICS + 1)

    forger.forge("r-14", grant_unseen)
    report = forger.verify()
    assert (report.clean, report.not_replayed) == (True, 1)


# --- entries taken out and put in ---


def test_an_entry_taken_out_of_the_middle_is_found_however_well_it_is_hidden(forger: Forger) -> None:
    """Unless nothing after it builds on it, such as on the end of a recovery: then only a witness tells."""
    tried = 0
    for stream in ("organisation", "site:S001", "site:S101"):
        entries = forger.entries(stream)
        for place in range(1, len(entries) - 1):
            if entries[place]["kind"] in ("clock_set", "declined", "fulfilled", "lapsed", "withdrawn"):
                continue
            with forger.for_a_moment():
                forger.run("DELETE FROM recovery_checkpoint")
                forger.rewrite(stream, [*entries[:place], *entries[place + 1 :]])
                forger.reproject()
                assert forger.verify().has("tampered"), entries[place]["id"]
                tried += 1
    assert tried >= 20


def test_an_entry_put_in_between_is_found_however_well_it_is_hidden(forger: Forger) -> None:
    tried = 0
    entries = forger.entries("site:S001")
    for entry in entries[1:]:
        if "touches" in entry:
            with forger.for_a_moment():
                forger.run("DELETE FROM recovery_checkpoint")
                twin = {**entry, "id": f"{entry['id']}-again", "recovery": f"{entry['recovery']}-again"}
                forger.rewrite("site:S001", [*entries[: entry["seq"]], twin, *entries[entry["seq"] :]])
                forger.reproject()
                assert forger.verify().has("tampered"), entry["id"]
                tried += 1
    assert tried >= 10


# --- witnesses ---


def test_what_nothing_else_speaks_of_is_found_only_with_an_anchor(original: Original, forger: Forger) -> None:
    """A forger who makes everything anew, with what it says of itself, is told from the truth only by a witness."""
    forger.forge("~fulfil/r-01", lambda entry: entry.update(reference="rf-999"))
    assert forger.verify().clean
    report = forger.verify(anchors=original.anchors)
    assert "site:S001 27: the first 28 entries are not those that were anchored" in first(report)


def test_a_checkpoint_in_the_log_is_a_witness_too(forger: Forger) -> None:
    forger.change("~fulfil/r-01", lambda entry: entry.update(reference="rf-999"))
    forger.reproject()
    assert "the checkpoint of 28 entries has another root" in first(forger.verify())


def test_a_checkpoint_signed_with_another_key_is_found(original: Original, tmp_path: Path) -> None:
    other = Original(tmp_path)
    assert verify(original.file, keys=[original.vkey]).clean
    assert "none of the known keys signed" in first(verify(original.file, keys=[other.vkey]))
