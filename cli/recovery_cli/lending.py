"""Delegations as people and programs read them."""

from typing import TYPE_CHECKING, Any

import rich_click as click
from rich.text import Text

from recovery_cli.documents import in_utc, iso, receipt_document
from recovery_cli.render import console, in_words, plain, print_indented
from recovery_engine import Money

if TYPE_CHECKING:
    from recovery_engine import Delegation, RecordedDelegation


def delegation_document(one: "Delegation") -> dict[str, Any]:
    """A delegation for programs. Lists that are empty mean all; `until_at` is not included."""
    cap = None if one.cap_minor is None or one.currency is None else Money(one.cap_minor, one.currency)
    return {
        "delegation": one.delegation,
        "by": one.by,
        "to": one.to,
        "role": one.role,
        "sites": list(one.sites),
        "remedies": list(one.remedies),
        "cap": None if cap is None else cap.decimal,
        "currency": one.currency,
        "from_at": iso(one.from_us),
        "until_at": iso(one.until_us),
        "revoked_at": iso(one.revoked_us),
    }


def recorded_document(recorded: "RecordedDelegation") -> dict[str, Any]:
    """A delegation as it stands now, and where the log has it."""
    receipt = receipt_document(recorded.log_receipt)
    return {**delegation_document(recorded.delegation), "replayed": recorded.replayed, "log_receipt": receipt}


def show_recorded(recorded: "RecordedDelegation") -> None:
    """What was lent or taken back, for people."""
    one, receipt = recorded.delegation, recorded.log_receipt
    what = "lent" if one.revoked_us is None else "revoked"
    again = ", as it was before" if recorded.replayed else ""
    click.echo(f"{plain(one.delegation)} is {what}{again}  [{receipt.stream} {receipt.seq}]")
    show_delegation(one, 0)


def show_delegation(one: "Delegation", now_us: int) -> None:
    """Two lines: who lends what to whom, and for what and how long. *now_us* 0: whether it is over does not matter."""
    out = console()
    told = Text.assemble((plain(one.delegation), "bold"), f"  {plain(_lent(one))}", (_over(one, now_us), "dim"))
    out.print(told, soft_wrap=not out.is_terminal)
    print_indented(out, f"  {_scope(one)}")


def _lent(one: "Delegation") -> str:
    return f"{one.by} lends {one.to} the authority of the {in_words(one.role)}"


def _over(one: "Delegation", now_us: int) -> str:
    if one.revoked_us is not None:
        return f", revoked {in_utc(one.revoked_us)}"
    if one.until_us <= now_us:
        return ", over"
    return ", not yet" if now_us and one.from_us > now_us else ""


def _scope(one: "Delegation") -> str:
    sites = f"at {', '.join(one.sites)}" if one.sites else "at every site"
    remedies = ", ".join(map(in_words, one.remedies)) if one.remedies else "every remedy"
    capped = one.cap_minor is not None and one.currency is not None
    cap = f", up to {Money(one.cap_minor or 0, one.currency or '')} for one case" if capped else ""
    return f"{sites}, {remedies}{cap}, from {in_utc(one.from_us)} until {in_utc(one.until_us)}"
