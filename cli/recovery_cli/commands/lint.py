"""`recovery lint`: what is proven about policies over all requests, and what their owners should look at again."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import rich_click as click
from rich.text import Text

from recovery_cli.asking import what_if_command
from recovery_cli.exits import FINDINGS, FINE, UNUSABLE
from recovery_cli.options import complete_policy, json_option, listed
from recovery_cli.policy_files import UNREADABLE, expanded, policy_path
from recovery_cli.render import console, count, diagnostic_text, diagnostics_as_json, plain, print_json
from recovery_cli.sarif import Linted, sarif, workflow_commands
from recovery_engine import LINT_CODES, Lint, LintFinding, explained, lint_policy_file

LEVELS = ("error", "warning", "note")
ALL = "all"


def _codes(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Codes or their beginnings, several in one word allowed."""
    codes = [code.upper() for code in listed(given)]
    for code in codes:
        if not code.startswith("RP0") and not any(known.startswith(code) for known in LINT_CODES):
            raise click.BadParameter(f"no finding has the code `{code}`: `--explain all` lists them", ctx, param)
    return tuple(codes)


def _explain(ctx: click.Context, _: click.Parameter, code: str | None) -> None:
    if code is None or ctx.resilient_parsing:
        return
    if code.lower() == ALL:
        click.echo(explained(), nl=False)
    elif code.upper() in LINT_CODES:
        click.echo(explained(code.upper()), nl=False)
    else:
        raise click.BadParameter(f"no finding has the code `{code}`: one of {', '.join(LINT_CODES)}, or `{ALL}`")
    ctx.exit(FINE)


@click.command("lint")
@click.argument("files", nargs=-1, required=True, metavar="FILES...", shell_complete=complete_policy)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["pretty", "json", "github", "sarif"]),
    default="pretty",
    show_default=True,
    help="`github`: workflow commands, shown beside the lines of a pull request. `sarif`: SARIF 2.1.0.",
)
@click.option("--select", multiple=True, metavar="CODE", callback=_codes, help="Only these, or what begins so (RP11).")
@click.option("--ignore", multiple=True, metavar="CODE", callback=_codes, help="Not these. May be repeated.")
@click.option(
    "--fail-on",
    type=click.Choice(LEVELS),
    default="error",
    show_default=True,
    help="Exit 1 from this level up; notes are the lowest.",
)
@click.option(
    "--explain",
    metavar="CODE",
    is_eager=True,
    expose_value=False,
    callback=_explain,
    help="Say what to avoid, what to prefer, and why; `all` for every code.",
)
@json_option
@click.pass_context
def command(
    ctx: click.RichContext,
    files: tuple[str, ...],
    format_: str,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    fail_on: str,
    as_json: bool,
) -> None:
    """Read policies as a careful reviewer would, over every possible request, not a sample.

    Promises are proven, or broken by a request that is shown. Gaps, lines and limits without effect, ladders that go
    down, words and facts that nobody reads are found; each can be explained. Mistakes that `recovery check` finds
    are found too. FILES are policy files, folders of them, or names of starter policies.

    \b
    Examples:
      recovery lint my-policy.yaml
      recovery lint policies/ --fail-on warning --ignore RP141
      recovery lint policies/ --format sarif > lint.sarif
      recovery lint --explain RP110

    Exit codes: 0 nothing as grave as `--fail-on`, 1 findings, or not everything could be looked at, 2 a file cannot be
    read.
    """
    found = [(name, _chosen(lint_policy_file(policy_path(name)), select, ignore)) for name in _named(files)]
    SHOW["json" if as_json else format_](found)
    if any(lint.policy is None and lint.findings[0].diagnostic.code == UNREADABLE for _, lint in found):
        ctx.exit(UNUSABLE)
    grave = LEVELS[: LEVELS.index(fail_on) + 1]
    failed = any(level in grave for level in _levels(found))
    ctx.exit(FINDINGS if failed or not all(lint.complete for _, lint in found) else FINE)


def _named(files: Iterable[str]) -> list[str]:
    return [file for given in files for file in expanded(given)]


def _chosen(lint: Lint, select: tuple[str, ...], ignore: tuple[str, ...]) -> Lint:
    """Without the findings that are not wanted; mistakes are always wanted."""

    def wanted(finding: LintFinding) -> bool:
        code = finding.diagnostic.code
        return code.startswith(select or "RP") and not (ignore and code.startswith(ignore))

    return lint if lint.policy is None else replace(lint, findings=tuple(filter(wanted, lint.findings)))


# --- how it is shown --------------------------------------------------------------------------------------------------


def _pretty(found: Sequence[Linted]) -> None:
    out = console()
    for name, lint in found:
        for finding in lint.findings:
            out.print(diagnostic_text(finding.diagnostic), soft_wrap=True)
            if finding.shown_by:
                out.print(Text(f"        {plain(what_if_command(name, *finding.shown_by))}", "dim"), soft_wrap=True)
    click.echo(_summary(found))


def _levels(found: Sequence[Linted]) -> list[str]:
    return [finding.diagnostic.level for _, lint in found for finding in lint.findings]


def _summary(found: Sequence[Linted]) -> str:
    levels = _levels(found)
    counted = ", ".join(count(levels.count(level), level) for level in LEVELS)
    proven = sum(len(lint.proven) for _, lint in found)
    said = f"{count(len(found), 'policy')} read: {counted}; {count(proven, 'promise')} proven"
    cells = sum(lint.cells for _, lint in found)
    unusable = sum(lint.policy is None for _, lint in found)
    open_ = sum(not lint.complete for _, lint in found) - unusable
    if unusable or open_:
        left = [f"{count(unusable, 'policy')} not usable"] * bool(unusable) + [f"{open_} too large"] * bool(open_)
        return f"{said} (NOT complete: {', '.join(left)}; {count(cells, 'cell')} examined)"
    return f"{said} (complete: {count(cells, 'cell')} examined)"


def _github(found: Sequence[Linted]) -> None:
    for line in workflow_commands(found):
        click.echo(line)
    click.echo(_summary(found))


def _json(found: Sequence[Linted]) -> None:
    levels = _levels(found)
    print_json(
        {
            "complete": all(lint.complete for _, lint in found),
            "cells": sum(lint.cells for _, lint in found),
            **{f"{level}s": levels.count(level) for level in LEVELS},
            "files": [
                {
                    "file": name,
                    "complete": lint.complete,
                    "cells": lint.cells,
                    "proven": list(lint.proven),
                    "findings": [_finding_as_json(name, finding) for finding in lint.findings],
                }
                for name, lint in found
            ],
        }
    )


def _finding_as_json(name: str, finding: LintFinding) -> dict[str, object]:
    (shown,) = diagnostics_as_json([finding.diagnostic])
    return {**shown, "what_if": what_if_command(name, *finding.shown_by) if finding.shown_by else None}


SHOW: dict[str, Callable[[Sequence[Linted]], None]] = {
    "pretty": _pretty,
    "json": _json,
    "github": _github,
    "sarif": lambda found: print_json(sarif(found)),
}
