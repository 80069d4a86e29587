"""What only looks: nothing is locked, nothing is written."""

from recovery_engine.log.projection import RecoveryState
from recovery_engine.log.writing.group import Group, Wanted
from recovery_engine.policy.schema import Policy


class _Look:
    """What only looks: nothing is locked."""

    def wants(self, wanted: Wanted) -> None:
        pass

    def locks(self, group: Group, wanted: Wanted) -> None:
        pass


class PolicyNow(_Look):
    """The policy in force now at a site."""

    def __init__(self, site: str | None) -> None:
        self.site = site

    def run(self, group: Group) -> Policy:
        return group.policies.at(group.now_us, self.site).policy


class OfRecovery(_Look):
    """Where a recovery stands."""

    def __init__(self, recovery: str) -> None:
        self.recovery = recovery

    def run(self, group: Group) -> RecoveryState | None:
        return group.state(self.recovery)


class OfCase(_Look):
    """Where the recoveries of a case stand."""

    def __init__(self, case: str) -> None:
        self.case = case

    def run(self, group: Group) -> tuple[RecoveryState, ...]:
        return tuple(group.states_of_case(self.case))


class Streams(_Look):
    """The names of the streams."""

    def run(self, group: Group) -> list[str]:
        return group.streams()
