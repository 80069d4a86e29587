"""Whether personal texts and the links to customers are those the entries speak of, and what was forgotten is gone."""

from collections.abc import Iterator
from contextlib import suppress

from recovery_engine.log.entry import ORGANISATION
from recovery_engine.log.personal import opens
from recovery_engine.log.verification.comparison import keyed, side_by_side
from recovery_engine.log.verification.findings import Wrong
from recovery_engine.log.verification.fold import Committed, Fold
from recovery_engine.log.verification.snapshot import Row, Snapshot


def texts(snapshot: Snapshot, fold: Fold, wrong: Wrong) -> None:
    """Compare ``recovery_personal``: every commitment opens, unless its customer was forgotten."""
    theirs = keyed(snapshot.table("recovery_personal", "recovery, field"), 2)
    for (recovery, field), committed, row in side_by_side(fold.commitments(), theirs):
        if committed is None:
            wrong(None, None, f"`recovery_personal` has a {field} of `{recovery}`, of which no entry speaks")
            continue
        place, forgotten = (committed.stream, committed.seq), committed.customer in fold.forgotten
        if row is None:
            if not forgotten:
                wrong(*place, f"the {field} of `{recovery}` is not in `recovery_personal`, and nobody was forgotten")
        elif forgotten:
            wrong(*place, f"the {field} of `{recovery}` is still there, and its customer was forgotten")
        elif not _opens(committed, row):
            wrong(*place, f"the {field} of `{recovery}` is not the one that was given")


def _opens(committed: Committed, row: Row) -> bool:
    with suppress(UnicodeError):
        return opens(committed.commitment, row[2], row[3])
    return False


def links(snapshot: Snapshot, fold: Fold, wrong: Wrong) -> None:
    """Compare ``recovery_subject``: a link for every customer in the entries who was not forgotten, and no other."""
    unknown = dict(fold.forgotten)

    def ours() -> Iterator[tuple[tuple[str], bool]]:
        for token in fold.tokens():
            yield (token,), unknown.pop(token, None) is not None

    theirs = keyed(snapshot.table("recovery_subject", "token"), 1)
    for (token,), forgotten, row in side_by_side(ours(), theirs):
        if forgotten is None:
            wrong(None, None, f"`recovery_subject` has `{token}`, of whom no entry speaks")
        elif forgotten and row is not None:
            wrong(ORGANISATION, fold.forgotten[token], f"`recovery_subject` has `{token}`, who was forgotten")
        elif not forgotten and row is None:
            wrong(None, None, f"`recovery_subject` lacks `{token}`, and nobody forgot them")
    for token, seq in unknown.items():
        wrong(ORGANISATION, seq, f"`{token}` was forgotten, and no other entry speaks of them")
