"""A policy as it is for one person, whose own limit differs from what the role may give."""

from collections import OrderedDict
from threading import Lock

from recovery_engine.model import OwnLimit
from recovery_engine.policy.declared import UNLIMITED, Cell
from recovery_engine.policy.schema import AuthorityLine, Policy

_MOST_KEPT = 256

_Kept = tuple[Policy, Policy]
_kept: OrderedDict[tuple[int, str, OwnLimit], _Kept] = OrderedDict()
_keeping = Lock()


def as_for(policy: Policy, role: str, own_limit: OwnLimit) -> Policy:
    """The policy for a requester of *role* who has an own limit; name, version and digest stay those of *policy*.

    Every authority row gets one more cell, the person's, which counts in the place of the role's for the requester
    alone: another person of the same role may what the role may. ``at_most`` lowers each amount above it, and
    ``unlimited``; ``up_to`` raises each amount of a ``total`` row that is below it. Both stay where a cell says
    ``none`` or ``same``. The same arguments get the same object, so that what is compiled for it is found again.
    """
    key = (id(policy), role, own_limit)  # INVARIANT: what is kept keeps *policy* alive, so that no other gets the id
    with _keeping:
        found = _kept.get(key)
        if found is None:
            found = _kept[key] = (policy, _derived(policy, role, own_limit))
            if len(_kept) > _MOST_KEPT:
                _kept.popitem(last=False)
        else:
            _kept.move_to_end(key)
    return found[1]


def _derived(policy: Policy, role: str, own_limit: OwnLimit) -> Policy:
    rank = policy.rank(role)
    lines = tuple(_with_own_cells(line, rank, own_limit) for line in policy.authority)
    return policy.with_own_cells(lines, rank)


def _with_own_cells(line: AuthorityLine, rank: int, own_limit: OwnLimit) -> AuthorityLine:
    rows = {row: (*cells, own_cell(row, cells[rank], own_limit)) for row, cells in line.up_to.items()}
    return line.model_copy(update={"up_to": rows})


def own_cell(row: str, cell: Cell, own_limit: OwnLimit) -> Cell:
    """What a cell of the role comes to for a person with an own limit."""
    at_most, up_to = own_limit
    if at_most is not None and (cell == UNLIMITED or (isinstance(cell, int) and cell > at_most.minor)):
        return at_most.minor
    if up_to is not None and row == "total" and isinstance(cell, int) and cell < up_to.minor:
        return up_to.minor
    return cell
