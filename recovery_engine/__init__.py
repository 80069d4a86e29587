"""recovery-engine: decide on the spot what an employee may do for a customer who was let down."""

from recovery_engine.decide import decide
from recovery_engine.errors import Diagnostic, InvalidRequest, PolicyError, RecoveryError
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
from recovery_engine.whatif.card import Card, CardSection, CardTable, authority_card
from recovery_engine.whatif.examples import ExampleResult, never_decided, run_examples

__version__ = "0.1.0"

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
    "InvalidRequest",
    "Money",
    "Outcome",
    "Policy",
    "PolicyError",
    "PolicyLibrary",
    "PolicyRef",
    "Reason",
    "RecoveryError",
    "RecoveryRequest",
    "Rung",
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
