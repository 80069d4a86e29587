"""The public surface of the library: a name is added or taken away here, on purpose, or not at all."""

import enum
import inspect
from dataclasses import dataclass

import pydantic
import pytest

import recovery_engine

EXPECTED = [
    "LINT_CODES",
    "NO_USAGE",
    "Affected",
    "Alternative",
    "Anchor",
    "Answered",
    "Answers",
    "AuditRow",
    "BackTest",
    "Before",
    "Bin",
    "BoundaryCoverage",
    "Bunching",
    "Card",
    "CardSection",
    "CardTable",
    "Change",
    "ChangedRequest",
    "Coverage",
    "Decision",
    "Delegation",
    "Diagnostic",
    "Edit",
    "ExampleResult",
    "Exchange",
    "Filter",
    "Finding",
    "Flip",
    "Forgotten",
    "GrantReport",
    "Head",
    "HistoryFile",
    "IdempotencyConflict",
    "Interval",
    "InvalidRequest",
    "Keys",
    "LeftOut",
    "LineCoverage",
    "Lint",
    "LintCode",
    "LintFinding",
    "LogEntry",
    "LogError",
    "LogReceipt",
    "Lost",
    "Money",
    "NotAllowed",
    "NoteError",
    "Outcome",
    "OutcomeUnknown",
    "OwnLimit",
    "Part",
    "Person",
    "PersonTotal",
    "Policy",
    "PolicyDiff",
    "PolicyError",
    "PolicyLibrary",
    "PolicyRef",
    "Promised",
    "Proven",
    "Reason",
    "Recorded",
    "RecordedDecision",
    "RecordedDelegation",
    "RecoveryEngine",
    "RecoveryError",
    "RecoveryLog",
    "RecoveryRequest",
    "RecoveryState",
    "RecoveryStory",
    "Reopened",
    "Report",
    "Rung",
    "Sample",
    "Shadowed",
    "Shift",
    "SignedCheckpoint",
    "Staff",
    "Stats",
    "StoreBusy",
    "Story",
    "Stratum",
    "StreamHead",
    "SuggestedTest",
    "Sweep",
    "SweepRange",
    "SweepStep",
    "SweptLimit",
    "TamperedLog",
    "Ticked",
    "Tightening",
    "Upgraded",
    "Usage",
    "Used",
    "Waiting",
    "Widening",
    "__version__",
    "authority_card",
    "backtest",
    "check_policy",
    "check_policy_file",
    "check_proof",
    "check_staff",
    "checkpoint",
    "cover_examples",
    "decide",
    "diff_policies",
    "explained",
    "format_policy",
    "json_schema",
    "keygen",
    "lint_policy",
    "lint_policy_file",
    "load_policy",
    "matcher_in_service",
    "never_decided",
    "parse_policy",
    "proof",
    "read_anchor",
    "read_request",
    "read_staff",
    "read_staff_file",
    "read_vkeys",
    "rebuild",
    "run_examples",
    "seen_in",
    "shadow_report",
    "shadowed",
    "shipped_policies",
    "story_lines",
    "sweep",
    "tightening",
    "upgrade",
    "verify",
]


def test_the_public_names_are_the_agreed_ones() -> None:
    assert list(recovery_engine.__all__) == EXPECTED


@pytest.mark.parametrize("name", recovery_engine.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert hasattr(recovery_engine, name)


@pytest.mark.parametrize("name", recovery_engine.__all__)
def test_every_public_class_and_function_says_what_it_is_for(name: str) -> None:
    thing = getattr(recovery_engine, name)
    if inspect.isclass(thing) or inspect.isroutine(thing):
        assert own_docstring(thing), f"`{name}` has no docstring of its own"


def own_docstring(thing: object) -> str | None:
    """The docstring its author wrote: not inherited, and not the signature that `dataclass` writes."""
    text = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    if not text or text.startswith(f"{getattr(thing, '__name__', '')}("):
        return None
    return str(text)


def test_a_docstring_counts_only_if_somebody_wrote_it() -> None:
    class Written:
        """Said."""

    class Inherited(Written):
        pass

    class Unsaid(enum.Enum):
        ONE = 1

    @dataclass
    class Generated:
        one: int

    class Model(pydantic.BaseModel):
        one: int

    assert own_docstring(Written) == "Said."
    assert own_docstring(Inherited) is None
    assert own_docstring(Unsaid) is None
    assert own_docstring(Generated) is None
    assert own_docstring(Model) is None
