"""What each finding of `recovery lint` means: avoid, prefer, and why."""

from collections.abc import Mapping
from typing import Literal, NamedTuple


class LintCode(NamedTuple):
    """A kind of finding. ``avoid`` and ``prefer`` stand in the place of the blocks of the same names in BASE."""

    level: Literal["error", "warning", "note"]
    title: str
    why: str
    avoid: str = ""
    prefer: str = ""


BASE = """\
policy: corner-shop
currency: USD
ladder: [clerk, lead, manager]
remedies: [refund, voucher]
severities: [minor, major]
facts:
  delay_minutes: {number: true, default: 0}
  is_staff: {flag: true, default: false}
authority:
  - id: standard
    up_to: {total: [100, 250, 500]}
"""

LINT_CODES: Mapping[str, LintCode] = {
    "RP101": LintCode(
        "error",
        "a promise that is broken",
        "The board was told that this never happens. A request is shown to which it does.",
        """\
promises:
  - {id: clerks-stop-at-50, never: approve, when: {role: clerk, amount: over 50}}
""",
        """\
promises:
  - {id: clerks-stop-at-100, never: approve, when: {role: clerk, amount: over 100}}
""",
    ),
    "RP102": LintCode(
        "error",
        "a promise that could not be proven",
        "The policy tells more requests apart than can be looked at, or some of them could not be settled. What was"
        " not looked at is not said to hold: split the policy by sites or remedies.",
    ),
    "RP103": LintCode(
        "warning",
        "a promise that speaks of no request",
        "Nothing can fit its conditions, so that it says nothing, and whoever reads it believes that it does.",
        """\
promises:
  - {id: minor-ones-wait, never: approve, when: {severity: minor, amount: over 100}, unless: {severity: minor}}
""",
        """\
promises:
  - {id: minor-ones-wait, never: approve, when: {role: clerk, severity: minor, amount: over 100}}
""",
    ),
    "RP110": LintCode(
        "warning",
        "a line that changes no decision",
        "Without it every request is decided alike, because it never fits or because another line masks it. Its author"
        " believes that it does something. A `deny` line that is masked, and only says something else to the customer,"
        " is a note.",
        """\
deny:
  - {id: late, when: {delay_minutes: over 60}}
  - {id: very-late, when: {delay_minutes: over 90}}
""",
        """\
deny:
  - {id: late, when: {delay_minutes: over 60}}
""",
    ),
    "RP111": LintCode(
        "warning",
        "a ceiling or budget that can never bind",
        "Whatever is asked for, something else stops it first. The limit that people rely on is another one.",
        """\
ceilings:
  - {id: never-over-400, amount: 400}
  - {id: refunds, when: {remedy: refund}, amount: 450}
""",
        """\
ceilings:
  - {id: never-over-400, amount: 400}
  - {id: refunds, when: {remedy: refund}, amount: 300}
""",
    ),
    "RP112": LintCode(
        "note",
        "a row or cell that changes no decision",
        "The row says what is in force without it, or the limit cannot be reached. It may be there for the reader; a"
        " reader who goes by it is told of a freedom that is not there.",
        """\
authority:
  - id: standard
    up_to:
      total: [100, 250, 500]
      refund: [100, 250, 500]
""",
        """\
authority:
  - id: standard
    up_to:
      total: [100, 250, 500]
      refund: [50, 150, 500]
""",
    ),
    "RP113": LintCode(
        "note",
        "a part of a line that changes no decision",
        "A condition that always holds, an exception that never does, proof that another line asks for already. The"
        " shorter line says the same.",
        """\
deny:
  - {id: staff, when: {is_staff: true, severity: [minor, major]}}
""",
        """\
deny:
  - {id: staff, when: {is_staff: true}}
""",
    ),
    "RP120": LintCode(
        "warning",
        "a remedy that nobody can ever give",
        "It is offered at the till, and refused each time: no line has a row for it, or every cell says `none`.",
        """\
authority:
  - {id: standard, up_to: {refund: [100, 250, 500]}}
""",
        """\
authority:
  - {id: standard, up_to: {total: [100, 250, 500]}}
""",
    ),
    "RP121": LintCode(
        "warning",
        "requests for which no line has a row",
        "Nobody may give them anything, not even the top of the ladder, and nobody has written that it should be so."
        " Where it should, a `deny` line says it, and tells the customer why.",
        """\
authority:
  - {id: grave, when: {severity: major}, up_to: {total: [100, 250, 500]}}
""",
        """\
authority:
  - {id: standard, up_to: {total: [50, 100, 500]}}
  - {id: grave, when: {severity: major}, up_to: {total: [100, 250, same]}}
""",
    ),
    "RP122": LintCode(
        "note",
        "where the ladder ends",
        "Beyond this limit nobody may, and the customer is refused at once. It is often meant so.",
        """\
authority:
  - {id: standard, up_to: {total: [100, 250, 500]}}
""",
        """\
authority:
  - {id: standard, up_to: {total: [100, 250, unlimited]}}
""",
    ),
    "RP123": LintCode(
        "warning",
        "a single value between two lines",
        "One line fits below it and another above it, and for exactly this value neither does. At the counter it is the"
        " commonest value of all: the round one.",
        """\
requires:
  - {id: story, when: {amount: under 100}, note: true}
  - {id: receipt, when: {amount: over 100}, evidence: [receipt]}
""",
        """\
requires:
  - {id: story, when: {amount: at most 100}, note: true}
  - {id: receipt, when: {amount: over 100}, evidence: [receipt]}
""",
    ),
    "RP130": LintCode(
        "warning",
        "a ladder that goes down",
        "A higher role may not give what a lower one may. It is nearly always a slip, and a request then goes past the"
        " role that looks responsible.",
        """\
authority:
  - {id: standard, up_to: {total: [100, 250, 500]}}
  - {id: grave, when: {severity: major}, up_to: {total: [300, same, same]}}
""",
        """\
authority:
  - {id: standard, up_to: {total: [100, 250, 500]}}
  - {id: grave, when: {severity: major}, up_to: {total: [300, 300, same]}}
""",
    ),
    "RP131": LintCode(
        "note",
        "a role that is never asked",
        "What the roles below may not give, it may not give either: a rung that nobody steps on.",
        """\
authority:
  - {id: standard, up_to: {total: [100, 100, 500]}}
""",
        """\
authority:
  - {id: standard, up_to: {total: [100, 250, 500]}}
""",
    ),
    "RP140": LintCode(
        "warning",
        "a fact that no line reads",
        "The host works it out and hands it over, and nothing depends on it. Or the line that should read it is"
        " missing.",
        """\
facts:
  is_staff: {flag: true, default: false}
""",
        """\
facts:
  is_staff: {flag: true, default: false}
deny:
  - {id: staff, when: {is_staff: true}}
""",
    ),
    "RP141": LintCode(
        "note",
        "words that no line tells apart",
        "For the policy they are one word. That is right where reports need them; otherwise a line is missing, or the"
        " person at the counter chooses between words for nothing.",
        """\
severities: [minor, major]
""",
        """\
authority:
  - {id: standard, up_to: {total: [100, 250, 500], refund: [50, 250, 500]}}
requires:
  - {id: story, when: {severity: major}, note: true}
""",
    ),
    "RP150": LintCode(
        "warning",
        "a time to answer for a role that is never asked",
        "It times nothing. Perhaps another role was meant.",
        """\
escalation:
  answer_within: {clerk: 5 minutes, lead: 5 minutes, manager: 1 hour}
""",
        """\
escalation:
  answer_within: {lead: 5 minutes, manager: 1 hour}
""",
    ),
    "RP151": LintCode(
        "note",
        "a role that is asked and has no time to answer",
        "Others are timed, so that silence moves a request up. What this role does not answer waits for ever.",
        """\
escalation:
  answer_within: {lead: 5 minutes}
""",
        """\
escalation:
  answer_within: {lead: 5 minutes, manager: 1 hour}
""",
    ),
    "RP190": LintCode(
        "warning",
        "not everything was looked at",
        "The policy tells more requests apart here than can be looked at. What was not looked at is not said to be"
        " fine, and the analysis is not called complete: a policy for each group of sites or remedies can be.",
    ),
}


def explained(code: str = "") -> str:
    """What a code means, as Markdown: avoid, prefer, why; without a code all of them."""
    if not code:
        return "\n".join([_HEAD, *(f"### {code}\n\n{_meaning(code)}" for code in LINT_CODES)])
    return f"{code} {_meaning(code)}"


def _meaning(code: str) -> str:
    meaning = LINT_CODES[code]
    examples = [(word, text) for word, text in (("Avoid", meaning.avoid), ("Prefer", meaning.prefer)) if text]
    shown = "".join(f"*{word}*\n\n```yaml\n{text}```\n\n" for word, text in examples)
    title = f"{meaning.title[0].upper()}{meaning.title[1:]}"
    return f"**{title}** ({meaning.level}).\n\n{shown}*Why*: {meaning.why}\n"


_HEAD = f"""\
# Findings of `recovery lint`

What `recovery lint` finds, in the order of its codes; `recovery lint --explain RP110` shows one. This page is made by
`recovery lint --explain all`. Mistakes have codes of their own: [DIAGNOSTICS.md](DIAGNOSTICS.md).

The fragments below stand in the place of the blocks with the same names in this policy:

```yaml
{BASE}```

| code | level | what |
|---|---|---|
{"".join(f"| [{code}](#{code.lower()}) | {one.level} | {one.title} |" + chr(10) for code, one in LINT_CODES.items())}"""
