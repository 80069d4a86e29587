"""`recovery check`: every mistake in policies, each with its place and its cure, in one run."""

from collections.abc import Iterator
from dataclasses import replace

import rich_click as click

from recovery_cli.exits import FINDINGS, FINE, UNUSABLE
from recovery_cli.options import complete_policy, json_option
from recovery_cli.policy_files import Checked, checked_files
from recovery_cli.render import count, diagnostics_as_json, print_json, show_diagnostics
from recovery_engine import Diagnostic, tightening


@click.command("check")
@click.argument("files", nargs=-1, required=True, metavar="FILES...", shell_complete=complete_policy)
@click.option("--strict", is_flag=True, help="Count warnings as findings.")
@json_option
@click.pass_context
def command(ctx: click.RichContext, files: tuple[str, ...], strict: bool, as_json: bool) -> None:
    """Find every mistake in policies, and in the tests inside them.

    FILES are policy files, folders of them, or names of starter policies. What a test expects is not compared
    here: that is `recovery test`. One that `extends` another is compared with it over every possible request.

    \b
    Examples:
      recovery check my-policy.yaml
      recovery check policies/ --strict
      recovery check my-policy.yaml --json

    Exit codes: 0 no mistakes (warnings do not count without --strict), 1 mistakes, 2 a file cannot be read.
    """
    found = [(checked, [*checked.diagnostics, *_in_tests(checked)]) for checked in checked_files(files)]
    everything = [diagnostic for _, diagnostics in found for diagnostic in diagnostics]
    errors = sum(diagnostic.level == "error" for diagnostic in everything)
    warnings = len(everything) - errors
    if as_json:
        listed = [
            {"file": checked.name, "extends": _extends(checked), "problems": diagnostics_as_json(problems)}
            for checked, problems in found
        ]
        print_json({"errors": errors, "warnings": warnings, "files": listed})
    else:
        show_diagnostics(everything)
        for checked, _ in found:
            if (extends := _extends(checked)) is not None:
                click.echo(f"{checked.name} extends {extends['name']}: tighter everywhere, {extends['cells']} cells")
        click.echo(f"{count(len(found), 'policy')} checked: {count(errors, 'error')}, {count(warnings, 'warning')}")
    if any(checked.unreadable for checked, _ in found):
        ctx.exit(UNUSABLE)
    ctx.exit(FINDINGS if errors or (strict and warnings) else FINE)


def _extends(checked: Checked) -> dict[str, object] | None:
    """What a usable policy extends; it was found to be tighter everywhere, or it would not be usable."""
    found = tightening(checked.policy) if checked.policy else None
    return None if found is None else {"name": found.extends.name, "digest": found.extends.digest, "cells": found.cells}


def _in_tests(checked: Checked) -> Iterator[Diagnostic]:
    """Why the requests of tests could not be decided, placed at the test."""
    for result in checked.results:
        for problem in result.problems:
            message = f"test `{result.name}`: {problem.where}: {problem.message}"
            yield replace(problem, where=result.where, message=message)
