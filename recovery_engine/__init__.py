"""recovery-engine: decide on the spot what an employee may do for a customer who was let down, and log it for good."""

from importlib import import_module
from typing import TYPE_CHECKING

from recovery_engine.decide import decide
from recovery_engine.errors import (
    Diagnostic,
    IdempotencyConflict,
    InvalidRequest,
    LogError,
    NotAllowed,
    OutcomeUnknown,
    PolicyError,
    RecoveryError,
    StoreBusy,
    TamperedLog,
)
from recovery_engine.model import (
    NO_USAGE,
    Alternative,
    Decision,
    Flip,
    Outcome,
    OwnLimit,
    PolicyRef,
    Reason,
    RecoveryRequest,
    Rung,
    Usage,
    Used,
)
from recovery_engine.money import Money
from recovery_engine.policy.library import (
    PolicyLibrary,
    check_policy,
    check_policy_file,
    format_policy,
    lint_policy_file,
    load_policy,
    parse_policy,
    read_staff_file,
    shipped_policies,
)
from recovery_engine.policy.reading import read_request
from recovery_engine.policy.schema import Policy, json_schema
from recovery_engine.seats import matcher_in_service
from recovery_engine.staff import Person, Staff, read_staff
from recovery_engine.version import __version__
from recovery_engine.whatif.card import Card, CardSection, CardTable, authority_card
from recovery_engine.whatif.coverage import BoundaryCoverage, Coverage, LineCoverage, SuggestedTest
from recovery_engine.whatif.examples import ExampleResult, never_decided, run_examples
from recovery_engine.whatif.staffing import check_staff
from recovery_engine.whatif.suggesting import cover_examples
from recovery_engine.workflow import Delegation

if TYPE_CHECKING:
    from recovery_engine.engine import RecoveryEngine
    from recovery_engine.history.backtest import BackTest, backtest
    from recovery_engine.history.bunching import Bunching
    from recovery_engine.history.files import HistoryFile
    from recovery_engine.history.reports import Affected, Answered, Answers, Bin, ChangedRequest, Interval, Shift
    from recovery_engine.history.shadow import Shadowed, seen_in, shadow_report, shadowed
    from recovery_engine.history.sweep import Sweep, SweepRange, SweepStep, SweptLimit, sweep
    from recovery_engine.history.table import LeftOut
    from recovery_engine.log.projection import RecoveryState
    from recovery_engine.log.proof.anchors import Anchor, Lost, Reopened, read_anchor, read_vkeys
    from recovery_engine.log.proof.checkpoints import Keys, SignedCheckpoint, checkpoint, keygen
    from recovery_engine.log.proof.notes import NoteError
    from recovery_engine.log.proof.proofs import Proven, check_proof, proof
    from recovery_engine.log.reading.filters import Filter
    from recovery_engine.log.reading.queries import (
        AuditRow,
        GrantReport,
        LogEntry,
        Part,
        PersonTotal,
        Sample,
        Stats,
        Stratum,
        StreamHead,
    )
    from recovery_engine.log.reading.recovery_log import RecoveryLog
    from recovery_engine.log.reading.story import RecoveryStory, Story, story_lines
    from recovery_engine.log.verification.rebuild import rebuild
    from recovery_engine.log.verification.upgrade import Upgraded, upgrade
    from recovery_engine.log.verification.verify import Finding, Head, Report, verify
    from recovery_engine.log.writing.group import LogReceipt
    from recovery_engine.log.writing.organisation import Forgotten
    from recovery_engine.log.writing.recorded import (
        Before,
        Exchange,
        Promised,
        Recorded,
        RecordedDecision,
        RecordedDelegation,
        Ticked,
        Waiting,
    )
    from recovery_engine.whatif.diff import Change, Edit, PolicyDiff, diff_policies
    from recovery_engine.whatif.lint import Lint, lint_policy
    from recovery_engine.whatif.lint_codes import LINT_CODES, LintCode, explained
    from recovery_engine.whatif.lint_desk import LintFinding
    from recovery_engine.whatif.tightening import Tightening, Widening, tightening

# What keeps a log is imported when it is first asked for: whoever only decides need not wait for a database driver.
_LATER = {
    "Affected": "history.reports",
    "Anchor": "log.proof.anchors",
    "Answered": "history.reports",
    "Answers": "history.reports",
    "AuditRow": "log.reading.queries",
    "BackTest": "history.backtest",
    "Before": "log.writing.recorded",
    "Bin": "history.reports",
    "Bunching": "history.bunching",
    "Change": "whatif.diff",
    "ChangedRequest": "history.reports",
    "Edit": "whatif.diff",
    "Exchange": "log.writing.recorded",
    "Filter": "log.reading.filters",
    "Finding": "log.verification.verify",
    "Forgotten": "log.writing.organisation",
    "GrantReport": "log.reading.queries",
    "Head": "log.verification.verify",
    "HistoryFile": "history.files",
    "Interval": "history.reports",
    "Keys": "log.proof.checkpoints",
    "LINT_CODES": "whatif.lint_codes",
    "LeftOut": "history.table",
    "Lint": "whatif.lint",
    "LintCode": "whatif.lint_codes",
    "LintFinding": "whatif.lint_desk",
    "LogEntry": "log.reading.queries",
    "LogReceipt": "log.writing.group",
    "Lost": "log.proof.anchors",
    "NoteError": "log.proof.notes",
    "Part": "log.reading.queries",
    "PersonTotal": "log.reading.queries",
    "PolicyDiff": "whatif.diff",
    "Promised": "log.writing.recorded",
    "Proven": "log.proof.proofs",
    "Recorded": "log.writing.recorded",
    "RecordedDecision": "log.writing.recorded",
    "RecordedDelegation": "log.writing.recorded",
    "RecoveryEngine": "engine",
    "RecoveryLog": "log.reading.recovery_log",
    "RecoveryState": "log.projection",
    "RecoveryStory": "log.reading.story",
    "Reopened": "log.proof.anchors",
    "Report": "log.verification.verify",
    "Sample": "log.reading.queries",
    "Shadowed": "history.shadow",
    "Shift": "history.reports",
    "SignedCheckpoint": "log.proof.checkpoints",
    "Stats": "log.reading.queries",
    "Story": "log.reading.story",
    "Stratum": "log.reading.queries",
    "StreamHead": "log.reading.queries",
    "Sweep": "history.sweep",
    "SweepRange": "history.sweep",
    "SweepStep": "history.sweep",
    "SweptLimit": "history.sweep",
    "Ticked": "log.writing.recorded",
    "Tightening": "whatif.tightening",
    "Upgraded": "log.verification.upgrade",
    "Waiting": "log.writing.recorded",
    "Widening": "whatif.tightening",
    "backtest": "history.backtest",
    "check_proof": "log.proof.proofs",
    "checkpoint": "log.proof.checkpoints",
    "diff_policies": "whatif.diff",
    "explained": "whatif.lint_codes",
    "keygen": "log.proof.checkpoints",
    "lint_policy": "whatif.lint",
    "proof": "log.proof.proofs",
    "read_anchor": "log.proof.anchors",
    "read_vkeys": "log.proof.anchors",
    "rebuild": "log.verification.rebuild",
    "seen_in": "history.shadow",
    "shadow_report": "history.shadow",
    "shadowed": "history.shadow",
    "story_lines": "log.reading.story",
    "sweep": "history.sweep",
    "tightening": "whatif.tightening",
    "upgrade": "log.verification.upgrade",
    "verify": "log.verification.verify",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = value
    return value


__all__ = [
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
