"""Text that is hardly a policy: other YAML, other encodings, bombs, noise, and files that cannot be read (rule 13)."""

import itertools
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_engine import (
    Diagnostic,
    PolicyError,
    check_policy,
    check_policy_file,
    load_policy,
    parse_policy,
    shipped_policies,
)
from tests.durable_raw import needs_durable

ROOT = Path(__file__).resolve().parent.parent
LAKESIDE = (Path(__file__).parent / "policies/lakeside.yaml").read_text(encoding="utf-8")
SMALL = """policy: small
currency: USD
ladder: [clerk, lead, manager]
authority:
  - up_to: {total: [100, 250, 500]}
"""
SHIPPED = [path.read_text(encoding="utf-8") for path in shipped_policies().values()]


def errors(text: str) -> list[Diagnostic]:
    policy, found = check_policy(text)
    wrong = [diagnostic for diagnostic in found if diagnostic.level == "error"]
    assert (policy is None) == bool(wrong)
    return wrong


def codes(text: str) -> list[str]:
    return [error.code for error in errors(text)]


# --- other YAML -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\ufeff", "\ufeff \r\n"])
def test_an_empty_file_is_sent_to_the_smallest_policy(text: str) -> None:
    (found,) = errors(text)
    assert (found.code, found.message) == ("RP001", "an empty policy")
    assert "classic" in found.help


@pytest.mark.parametrize("text", ["# only a comment\n", "- a\n- b\n", "just text\n", "~\n", "5", "---\n", "[]"])
def test_what_is_no_mapping_is_no_policy(text: str) -> None:
    assert codes(text) == ["RP007"]


def test_a_byte_order_mark_and_the_line_ends_of_windows_change_nothing() -> None:
    plain = parse_policy(LAKESIDE)
    for other in ("\ufeff" + LAKESIDE, LAKESIDE.replace("\n", "\r\n"), LAKESIDE.replace("\n", "\r")):
        assert parse_policy(other) == plain
        assert parse_policy(other).where("late-60") == plain.where("late-60")


@pytest.mark.parametrize("mark", ["%YAML 1.1\n---\n", "---\n", "# first\n---\n"])
def test_one_document_may_say_where_it_begins(mark: str) -> None:
    assert parse_policy(mark + SMALL).digest == parse_policy(SMALL).digest


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b", "\x7f", "\x9b", "\ufeff", "\ufffe", "\ud800"])
def test_what_is_not_text_is_refused_wherever_it_stands(character: str) -> None:
    for text in (f"# {character}\n{SMALL}", SMALL + f"owner: a{character}b\n"):
        assert codes(text) == ["RP013"]


@pytest.mark.parametrize("end", ["\x85", "\u2028", "\u2029"])
def test_only_a_line_end_that_everybody_sees_ends_a_line(end: str) -> None:
    found = errors(f"# a comment{end}deny: []\n{SMALL}")
    assert [(error.code, error.line) for error in found] == [("RP013", 1)]


@pytest.mark.parametrize(
    "written", ["no", "yes", "on", "off", "y", "1e3", "1_000", "0777", "1:30", "2026-12-01", ".inf"]
)
def test_a_word_stays_the_text_it_is(written: str) -> None:
    """YAML 1.1 would read booleans, floats, octal and base sixty, and dates."""
    policy = parse_policy(SMALL + f"severities: [{written}, other]\ndeny:\n  - when: {{severity: {written}}}\n")
    assert policy.severities == (written, "other")
    assert policy.deny[0].when.words == {"severity": (written,)}


@pytest.mark.parametrize("written", ["null", "~", "Null", "NULL", ""])
def test_a_blank_word_is_refused_and_a_quoted_null_is_a_word(written: str) -> None:
    assert codes(SMALL + f"severities: [{written}, other]\n") == ["RP007"]
    if written:
        assert codes(SMALL + f'severities: ["{written}", other]\n') == []


@pytest.mark.parametrize(
    "text",
    [
        "severities: &words [a, b]\n",
        "severities: [a, b]\ncategories: *words\n",
        "owner: &name Ann\nsource: *name\n",
        "owner: !!str Ann\n",
        "owner: !python/object/apply:os.system [ls]\n",
        "<<: {owner: Ann}\n",
        "facts: {a: {<<: {flag: true}}}\n",
    ],
)
def test_short_cuts_of_yaml_are_refused(text: str) -> None:
    assert "RP009" in codes(SMALL + text)


@pytest.mark.parametrize("text", ["? [a, b]\n: 5\n", "{a: 1}: 5\n", "? {}\n", "? - a\n  - b\n: c\n"])
def test_a_key_is_a_word(text: str) -> None:
    assert "RP007" in codes(SMALL + text)


def test_what_stands_twice_is_refused_however_it_is_quoted() -> None:
    for again in ("owner: b", '"owner": b', "'owner': b", '"\\u006fwner": b'):
        (found,) = errors(SMALL + f"owner: a\n{again}\n")
        assert (found.code, found.help) == ("RP008", "the first is in line 6")


@pytest.mark.parametrize(
    ("text", "help"),
    [
        ("deny:\n  - {when: {bill: over 1,000}}\n", "quotes"),
        ("deny:\n  - {say: Sorry, no}\n", "quotes"),
        ("deny:\n  - {say: Sorry, no, why: because}\n", "quotes"),
        ("ceilings:\n  - {amount: 1,000}\n", "quotes"),
        ("promises:\n  - {never: approve, when: {amount: over 1,000}}\n", "quotes"),
    ],
)
def test_a_comma_that_yaml_takes_for_a_separator_gets_quote_it(text: str, help: str) -> None:
    assert any(help in error.help for error in errors(SMALL + text))


def test_a_comma_in_quotes_is_read() -> None:
    policy = parse_policy(SMALL + 'deny:\n  - {say: "Sorry, no", when: {bill: "over 1,000"}}\n')
    assert policy.deny[0].say == "Sorry, no"
    assert policy.deny[0].when.numbers == {"bill": ((100001, None),)}


# --- too much ---------------------------------------------------------------------------------------------------------

DOUBLED = [f"{name}: &{name} [*{before}, *{before}]\n" for before, name in itertools.pairwise("abcdefghijkl")]
BOMB = "a: &a [x, x]\n" + "".join(DOUBLED)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 10_000_000,
        SMALL + "# comment\n" * 1_000_000,
        SMALL + "owner: [" + "a, " * 300_000 + "a]\n",
        SMALL + "owner: " + "[" * 100_000 + "]" * 100_000 + "\n",
        SMALL + "owner: " + "{" * 100_000,
        SMALL + "{a: " * 100_000,
        "- " * 100_000,
        "? " * 100_000,
        "a:\n" * 100_000,
        "".join(f"{' ' * depth}a:\n" for depth in range(1000)),
        BOMB,
        "\t" * 100_000 + "\n" + "\t\n" * 10_000,
        "é" * 100_000,
        "e\u0301" * 100_000,
        "&a " * 10_000,
        '"' + "\\u0041" * 100_000,
        SMALL + "severities: [" + ", ".join(f"s{i}" for i in range(20_000)) + "]\n",
        "[,\n" * 5_000,
    ],
    ids=lambda text: ascii(text[-40:]),
)
def test_a_bomb_is_refused_in_a_moment(text: str) -> None:
    began = time.perf_counter()
    check_policy(text)
    assert time.perf_counter() - began < 3


def test_a_file_of_ten_megabytes_is_not_even_read(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_bytes(b"a" * 10_000_000)
    began = time.perf_counter()
    policy, (found,) = check_policy_file(large)
    assert policy is None
    assert (found.code, found.message) == ("RP001", "10,000,000 bytes is too large for a policy")
    assert time.perf_counter() - began < 0.5


SITES = [f"S{number}" for number in range(600)]
LARGE = {
    "a line for each of 600 sites": f"sites: [{', '.join(SITES)}]\nceilings:\n"
    + "".join(f"  - {{when: {{site: {site}}}, amount: {at}}}\n" for at, site in enumerate(SITES, 1)),
    "300 lines of authority": "".join(f"  - up_to: {{total: [{at}, {at + 1}, {at + 2}]}}\n" for at in range(1, 301)),
    "300 conditional lines of authority": "".join(
        f"  - {{when: {{bill: over {at}}}, up_to: {{total: [{at}, {at + 1}, {at + 2}]}}}}\n" for at in range(1, 301)
    ),
    "70 ceilings by ratio": "ceilings:\n" + "".join(f"  - {{percent: {at}, of: bill}}\n" for at in range(1, 71)),
    "64 ceilings by ratio": "ceilings:\n" + "".join(f"  - {{percent: {at}, of: bill}}\n" for at in range(1, 65)),
    "40 budgets": "budgets:\n" + "".join(f"  - {{per: site, every: {at} days, amount: {at}}}\n" for at in range(1, 41)),
    "32 budgets": "budgets:\n" + "".join(f"  - {{per: site, every: {at} days, times: {at}}}\n" for at in range(1, 33)),
    "120 facts": "facts:\n"
    + "".join(f"  f{at}: {{number: true, default: 0}}\n" for at in range(120))
    + "deny:\n"
    + "".join(f"  - when: {{f{at}: over 5}}\n" for at in range(120)),
    "70 sums": f"remedies: [{', '.join(f'r{at}' for at in range(70))}]\nceilings:\n"
    + "".join(f"  - {{when: {{remedy: [r{at}, r{at - 1}]}}, amount: 5}}\n" for at in range(1, 70)),
    "one line of 600 ranges": f"deny:\n  - when: {{bill: [{', '.join(str(2 * at) for at in range(600))}]}}\n",
    "a line that names 600 sites": f"sites: [{', '.join(SITES)}]\n"
    + f"deny:\n  - when: {{site: [{', '.join(SITES[1:])}]}}\n",
    "600 words in lists of their own": f"sites: [{', '.join(SITES)}]\ndeny:\n"
    + f"  - when: {{site: [{', '.join(SITES)}]}}\n"
    + "".join(f"  - when: {{site: {site}, bill: over 5}}\n" for site in SITES),
    "200 lines of everything": "deny:\n"
    + "".join(f"  - when: {{amount: over {at}}}\n" for at in range(1, 201))
    + "requires:\n"
    + "".join(f"  - {{when: {{amount: over {at}}}, evidence: [e{at}]}}\n" for at in range(1, 201)),
    "a condition of 40 flags, each with two ranges": "facts:\n"
    + "".join(f"  n{at}: {{number: true, default: 0}}\n" for at in range(40))
    + f"deny:\n  - when: {{{', '.join(f'n{at}: [under 3, over 9]' for at in range(40))}}}\n",
}

DECIDE = """
import sys
from recovery_engine import Money, PolicyError, RecoveryRequest, decide, load_policy
try: policy = load_policy(sys.argv[1])
except PolicyError as error:
    print(*(found.code for found in error.diagnostics), error)
    sys.exit()
site = (policy.words.known("site") or [None])[-1]
remedy = (policy.remedies or ["refund"])[-1]
decision = decide(policy, RecoveryRequest("clerk", remedy, Money(100, "USD"), site=site, bill=Money(10**6, "USD")))
print("decided", decision.matcher)
"""


@pytest.mark.parametrize("name", LARGE)
def test_a_large_policy_is_decided_by_both_matchers_or_refused_by_name(name: str, tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_text(SMALL + LARGE[name])
    ran = subprocess.run(
        [sys.executable, "-c", DECIDE, str(file)], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
    )
    assert ran.returncode == 0, ran.stderr
    if ran.stdout.startswith("RP015 "):
        assert "split the policy" in ran.stdout
    else:
        assert ran.stdout.strip() in ("decided both", "decided reference")


@needs_durable
def test_a_line_that_is_too_large_is_named_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_text(SMALL + "deny:\n  - {id: small}\n" + LARGE["one line of 600 ranges"].removeprefix("deny:\n"))
    policy, (found,) = check_policy_file(file)
    assert policy is None
    assert (found.code, found.where) == ("RP015", f"{file}:8")
    assert "`deny-2`" in found.message


# --- noise ------------------------------------------------------------------------------------------------------------


@given(st.text(max_size=200))
def test_no_text_is_too_strange_to_be_answered(text: str) -> None:
    errors(text)


@given(st.text(alphabet=" \n-:,{}[]&*!|>'\"%@`#?~abc0159.\\\t\u00e9\u0301", max_size=60))
def test_no_yaml_is_too_strange_to_be_answered(text: str) -> None:
    errors(text)
    errors(SMALL + text)


NOISE = [*" \n\n-:,{}[]&*!|>'\"%#?~09.\t\u0301\u2028\x00", "\n  - ", ": ", "  ", "none", "same", "{}", "[]", "- - "]


@pytest.mark.parametrize("seed", range(12))
def test_a_policy_with_slips_of_the_hand_is_answered_and_never_half_used(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(8):
        text = chance.choice(SHIPPED)
        for _ in range(chance.choice((1, 1, 1, 3))):
            at = chance.randrange(len(text))
            until = at + chance.choice((0, 1, 1, 5, 30))
            text = text[:at] + chance.choice(("", chance.choice(NOISE))) + text[until:]
        for found in errors(text):
            assert found.line >= 1, found
            assert found.column >= 1, found
            assert found.help, found


# --- files ------------------------------------------------------------------------------------------------------------


def the_error(path: str | Path) -> Diagnostic:
    policy, (found,) = check_policy_file(path)
    assert policy is None
    assert found.code == "RP001"
    with pytest.raises(PolicyError) as refused:
        load_policy(path)
    assert refused.value.diagnostics == (found,)
    return found


def test_a_file_that_is_missing_gets_the_name_of_a_sibling(tmp_path: Path) -> None:
    (tmp_path / "lakeside.yaml").write_text(LAKESIDE, encoding="utf-8")
    found = the_error(tmp_path / "lakside.yaml")
    assert "no such file" in found.message
    assert found.help == f"did you mean `{tmp_path / 'lakeside.yaml'}`?"


def test_a_starter_policy_that_is_missing_gets_its_name() -> None:
    assert the_error("clasic").help == "did you mean `classic`?"


def test_a_file_that_is_not_utf_8_is_shown_where_it_stops_being_so(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes((SMALL + "owner: Jos").encode() + b"\xe9\n")
    found = the_error(file)
    assert (found.where, found.message, found.line) == (f"{file}:6", "not UTF-8 text", 6)
    assert found.help == "save the file as UTF-8"
    file.write_bytes(SMALL.encode("utf-16"))
    assert the_error(file).message == "not UTF-8 text"


def test_a_folder_is_not_a_policy(tmp_path: Path) -> None:
    assert "directory" in the_error(tmp_path).message


@pytest.mark.parametrize("name", ["", ".", "a\x00b", "x" * 5000, "no/such/folder/policy.yaml"])
def test_a_name_that_no_file_can_have_is_an_error_like_any_other(name: str) -> None:
    the_error(name)


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret.yaml"
    file.write_text(SMALL)

    def refused(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refused)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert the_error(file).message == "cannot read it: permission denied"


def test_a_mistake_in_a_file_names_the_file_and_the_line(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(SMALL + "colour: blue\n")
    policy, (found,) = check_policy_file(str(file))
    assert policy is None
    assert str(found).startswith(f"{file}:6:1: error RP004 unknown key `colour`\n    6 | colour: blue\n")
