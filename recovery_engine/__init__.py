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
    load_policy,
    parse_policy,
    shipped_policies,
)
from recovery_engine.policy.reading import read_request
from recovery_engine.policy.schema import Policy, json_schema
from recovery_engine.seats import matcher_in_service
from recovery_engine.version import __version__
from recovery_engine.whatif.card import Card, CardSection, CardTable, authority_card
from recovery_engine.whatif.examples import ExampleResult, never_decided, run_examples

if TYPE_CHECKING:
    from recovery_engine.engine import Recorded, RecordedDecision, RecoveryEngine
    from recovery_engine.log.group import LogReceipt
    from recovery_engine.log.organisation import Forgotten
    from recovery_engine.log.projection import RecoveryState

# What keeps a log is imported when it is first asked for: whoever only decides need not wait for a database driver.
_LATER = {
    "Forgotten": "log.organisation",
    "LogReceipt": "log.group",
    "Recorded": "engine",
    "RecordedDecision": "engine",
    "RecoveryEngine": "engine",
    "RecoveryState": "log.projection",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = value
    return value


__all__ = [
    "NO_USAGE",
    "Alternative",
    "Card",
    "CardSection",
    "CardTable",
    "Decision",
    "Diagnostic",
    "ExampleResult",
    "Flip",
    "Forgotten",
    "IdempotencyConflict",
    "InvalidRequest",
    "LogError",
    "LogReceipt",
    "Money",
    "NotAllowed",
    "Outcome",
    "OutcomeUnknown",
    "Policy",
    "PolicyError",
    "PolicyLibrary",
    "PolicyRef",
    "Reason",
    "Recorded",
    "RecordedDecision",
    "RecoveryEngine",
    "RecoveryError",
    "RecoveryRequest",
    "RecoveryState",
    "Rung",
    "StoreBusy",
    "TamperedLog",
    "Usage",
    "Used",
    "__version__",
    "authority_card",
    "check_policy",
    "check_policy_file",
    "decide",
    "json_schema",
    "load_policy",
    "matcher_in_service",
    "never_decided",
    "parse_policy",
    "read_request",
    "run_examples",
    "shipped_policies",
]
