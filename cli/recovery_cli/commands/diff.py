"""`recovery diff`: every request in the world that two policies decide differently."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

import rich_click as click
from rich.console import Console
from rich.text import Text

from recovery_cli.asking import what_if_command
from recovery_cli.exits import FINDINGS, FINE, Unusable
from recovery_cli.files import keep_apart
from recovery_cli.options import complete_policy, html_option, json_option
from recovery_cli.pages import page_writer
from recovery_cli.policy_files import named_policy, policy_path
from recovery_cli.render import console, count, in_words, indented, plain, print_json
from recovery_engine import Change, Decision, Edit, Outcome, Policy, PolicyDiff, PolicyLibrary, diff_policies

DIRECTIONS = {"wider": "green", "narrower": "red", "sideways": "yellow"}


@click.command("diff")
@click.argument("before", metavar="BEFORE", shell_complete=complete_policy)
@click.argument("after", required=False, metavar="[AFTER]", shell_complete=complete_policy)
@click.option(
    "--at",
    "days",
    multiple=True,
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DAY",
    help="Two days, given one after the other: compare what is in force on them in the folder BEFORE.",
)
@click.option("--name", metavar="POLICY", help="With `--at`: which policy, where the folder holds several.")
@click.option(
    "--fail-on",
    type=click.Choice([*DIRECTIONS, "any"]),
    multiple=True,
    help="Exit 1 where something changes so. May be repeated.",
)
@click.option("--most", type=click.IntRange(1), default=25, show_default=True, help="How many changes to show.")
@html_option
@json_option
@click.pass_context
def command(
    ctx: click.RichContext,
    before: str,
    after: str | None,
    days: tuple[object, ...],
    name: str | None,
    fail_on: tuple[str, ...],
    most: int,
    html: str | None,
    as_json: bool,
) -> None:
    """Compare two policies over every possible request, not a sample.

    Each change says which requests it is about, what was decided and what will be, which lines decide, and shows one
    such request. Wider: somebody may more at once, or it need not go as far up. Edits that change nothing are named,
    with the lines that mask them.

    \b
    Examples:
      recovery diff policy.yaml draft.yaml
      recovery diff policy.yaml draft.yaml --fail-on wider
      recovery diff policies/ --at 2026-12-01 --at 2027-01-01
      recovery diff hotel draft.yaml --html changes.html

    Exit codes: 0 compared, 1 something changes that `--fail-on` names, or not everything could be compared and
    `--fail-on` is given, 2 a policy cannot be used.
    """
    names, policies = _chosen(before, after, days, name)
    keep_apart("--html", html, names)
    write_page = page_writer(html, "diff")
    found = diff_policies(*policies)
    write_page(found, policies, names)
    if as_json:
        print_json(document(found, policies, names))
    elif not html:
        _show(found, policies, names, most)
    if fail_on:
        failed = not found.complete or (found.changes if "any" in fail_on else found.directions & set(fail_on))
        ctx.exit(FINDINGS if failed else FINE)


def _chosen(
    before: str, after: str | None, days: tuple[object, ...], name: str | None
) -> tuple[tuple[str, str], tuple[Policy, Policy]]:
    if not days:
        if after is None:
            raise Unusable("one policy alone cannot be compared", "name two policies, or a folder and two days: `--at`")
        return (before, after), (named_policy(before), named_policy(after))
    if after is not None or len(days) != 2:
        raise Unusable(
            "`--at` compares one folder on two days", "recovery diff policies/ --at 2026-12-01 --at 2027-01-01"
        )
    library = PolicyLibrary.open(policy_path(before))
    then, now = (library.in_force(day.date(), name=name) for day in days)  # type: ignore[attr-defined]
    return (then.where("").rpartition(":")[0], now.where("").rpartition(":")[0]), (then, now)


# --- for people -------------------------------------------------------------------------------------------------------


def _show(found: PolicyDiff, policies: tuple[Policy, Policy], names: tuple[str, str], most: int) -> None:
    out = console()
    _show_verdict(out, found)
    common = shared_phrases(found.changes)
    if common:
        out.print(indented(Text.assemble("in all of them: ", plain(", ".join(common)))))
    left = most
    for key, group in groupby(found.changes, key=lambda change: (change.direction, _step(change))):
        changes = list(group)
        out.print(Text.assemble("\n", (f"{key[0]:<9}", f"bold {DIRECTIONS[key[0]]}"), key[1]))
        for change in changes[:left]:
            _show_change(out, change, common, policies, names)
        left = max(0, left - len(changes))
    if len(found.changes) > most:
        out.print(f"\n{len(found.changes) - most} more: `--most {len(found.changes)}` or `--json` shows all")
    for edit in found.edits:
        if edit.silent or edit.masked_by:
            out.print(_edit_in_words(edit, bool(found.changes)), soft_wrap=True)
    if found.settings:
        out.print(f"\nthese blocks differ too: {', '.join(found.settings)}", soft_wrap=True)
    for what, words in (("before", found.only_before), ("after", found.only_after)):
        if words:
            out.print(
                f"not compared, because only the policy {what} knows them: {plain(', '.join(words))}", soft_wrap=True
            )


def _show_verdict(out: Console, found: PolicyDiff) -> None:
    counted = Counter(change.direction for change in found.changes)
    parts = [f"{counted[direction]} {direction}" for direction in DIRECTIONS if counted[direction]]
    said = (
        f"{count(len(found.changes), 'change')}: {', '.join(parts)}" if parts else "no request is decided differently"
    )
    shown = f"all requests compared, {found.cells:,} cells" if found.complete else "NOT complete: too much to compare"
    out.print(Text.assemble((said, "bold"), f" ({shown})"))


def shared_phrases(changes: Sequence[Change]) -> list[str]:
    """The phrases that all changes share, in order; none where there is one change only."""
    if len(changes) < 2:
        return []
    return [phrase for phrase in changes[0].where if all(phrase in change.where for change in changes)]


def _step(change: Change) -> str:
    return f" {answer_in_words(change.before)} → {answer_in_words(change.after)}"


def answer_in_words(decision: Decision) -> str:
    """``approved on the spot``, ``manager is asked, and lead as second``."""
    if decision.outcome == Outcome.APPROVE:
        return "approved on the spot"
    if decision.outcome == Outcome.DENY:
        return "denied"
    if decision.outcome == Outcome.INCOMPLETE:
        return f"incomplete without {', '.join(decision.needs)}"
    if decision.second is not None and decision.second == decision.to and decision.rungs[_rank(decision)].may:
        return f"approved if a second person agrees, {in_words(decision.second)} or above"
    second = f", then {in_words(decision.second)} as second" if decision.second else ""
    same = "another " if decision.to == decision.request.role else ""
    return f"{same}{in_words(str(decision.to))} is asked{second}"


def _rank(decision: Decision) -> int:
    return [rung.role for rung in decision.rungs].index(decision.request.role)


def _show_change(
    out: Console, change: Change, common: list[str], policies: tuple[Policy, Policy], names: tuple[str, str]
) -> None:
    own = [phrase for phrase in change.where if phrase not in common]
    where = plain(", ".join(own) or ("all of them" if common else "every request"))
    owed = "owed: " if change.basis == "owed" else ""
    later = "" if change.fresh else "  (only where the case had something before)"
    out.print(indented(Text.assemble(owed, where, (later, "dim"))))
    lines = " → ".join(", ".join(decision.lines) for decision in (change.before, change.after))
    out.print(indented(indented(Text.assemble(("by ", "dim"), plain(lines)))))
    command = what_if_command(names[1], *change.witness.asked(policies[1]))
    out.print(Text.assemble("    ", (plain(command), "dim")), soft_wrap=True)


def _edit_in_words(edit: Edit, changing: bool) -> Text:
    masks = ", ".join(f"`{line}`" for line in edit.masked_by or ())
    name = f"`{edit.line}` ({edit.section}, {edit.kind})"
    if edit.silent:
        why = f"; masked by {masks}" if masks else ""
        return Text.assemble("\n", name, (" changes nothing", "yellow"), why)
    return Text(f"\n{name} would reach further without {masks}")


# --- for programs -----------------------------------------------------------------------------------------------------


def document(found: PolicyDiff, policies: tuple[Policy, Policy], names: tuple[str, str]) -> dict[str, object]:
    """Everything that was found, for programs."""
    return {
        "before": _ref(found, "before"),
        "after": _ref(found, "after"),
        "complete": found.complete,
        "cells": found.cells,
        "changes": [
            {
                "direction": change.direction,
                "basis": change.basis,
                "where": list(change.where),
                "fresh": change.fresh,
                "before": _answer(change.before),
                "after": _answer(change.after),
                "what_if": [
                    what_if_command(name, *change.witness.asked(policy))
                    for name, policy in zip(names, policies, strict=True)
                ],
            }
            for change in found.changes
        ],
        "edits": [
            {"line": edit.line, "section": edit.section, "kind": edit.kind, "silent": edit.silent}
            | {"masked_by": None if edit.masked_by is None else list(edit.masked_by)}
            for edit in found.edits
        ],
        "settings": list(found.settings),
        "only_before": list(found.only_before),
        "only_after": list(found.only_after),
    }


def _ref(found: PolicyDiff, name: str) -> dict[str, str]:
    ref = getattr(found, name)
    return {"name": ref.name, "version": ref.version, "digest": ref.digest}


def _answer(decision: Decision) -> dict[str, object]:
    return {
        "outcome": str(decision.outcome),
        "to": decision.to,
        "second": decision.second,
        "needs": list(decision.needs),
        "lines": list(decision.lines),
    }
