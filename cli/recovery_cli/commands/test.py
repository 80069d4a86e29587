"""`recovery test`: run the tests that policies carry; say what failed and why, and which lines no test decided."""

from collections.abc import Iterator, Sequence

import rich_click as click
from rich.text import Text

from recovery_cli.covering import coverage_as_json, show_coverage
from recovery_cli.exits import FINDINGS, FINE, UNUSABLE
from recovery_cli.files import keep_apart
from recovery_cli.junit import write_junit
from recovery_cli.options import complete_policy, json_option
from recovery_cli.policy_files import Checked, checked_files, expanded, policy_path
from recovery_cli.render import (
    console,
    count,
    diagnostic_text,
    diagnostics_as_json,
    indented,
    near,
    note_lone_matcher,
    plain,
    print_json,
    show_diagnostics,
)
from recovery_engine import Coverage, ExampleResult, cover_examples, never_decided


@click.command("test")
@click.argument("files", nargs=-1, required=True, metavar="FILES...", shell_complete=complete_policy)
@click.option("--strict", is_flag=True, help="A line that no test shows deciding is a finding too.")
@click.option("--junit", type=click.Path(dir_okay=False), metavar="FILE", help="Also write the results as JUnit XML.")
@click.option("--coverage", is_flag=True, help="Say which limits and conditions no test tries on both sides.")
@click.option("--suggest", type=click.IntRange(min=1), metavar="N", help="Write N tests that would show most of that.")
@click.option(
    "--fail-under",
    type=click.IntRange(0, 100),
    metavar="PERCENT",
    help="Less coverage than that, of lines or of boundaries, is a finding.",
)
@json_option
@click.pass_context
def command(
    ctx: click.RichContext,
    files: tuple[str, ...],
    strict: bool,
    junit: str | None,
    coverage: bool,
    suggest: int | None,
    fail_under: int | None,
    as_json: bool,
) -> None:
    """Run the tests inside policies.

    A failure shows what was expected, what came, which lines decided, and where the test stands. Lines that decided
    in no test are named: nobody has shown yet that they do what they are for. With --coverage, so are limits and ends
    of conditions that no test tries on both sides; with --suggest, tests that would, with what is decided today.

    \b
    Examples:
      recovery test my-policy.yaml
      recovery test policies/ --strict --junit results.xml
      recovery test my-policy.yaml --coverage --fail-under 90
      recovery test my-policy.yaml --suggest 5

    Exit codes: 0 all pass, 1 a test fails, a policy has mistakes or too little is covered, 2 a file cannot be read.
    """
    keep_apart("--junit", junit, [policy_path(name) for given in files for name in expanded(given)])
    note_lone_matcher()
    tested = list(checked_files(files))
    covers = coverage or suggest is not None or fail_under is not None
    covered = {
        checked.name: cover_examples(checked.policy, suggest or 0)
        for checked in tested
        if covers and checked.policy is not None
    }
    if as_json:
        print_json({"files": [_as_json(checked, covered.get(checked.name)) for checked in tested]})
    else:
        for checked in tested:
            _show(checked)
            if checked.name in covered:
                show_coverage(checked, covered[checked.name], suggest is not None)
        _show_summary(tested, strict)
    if junit:
        write_junit(junit, tested)
    if any(checked.unreadable for checked in tested):
        ctx.exit(UNUSABLE)
    too_little = any(
        min(found.lines_percent, found.boundaries_percent) < (fail_under or 0) for found in covered.values()
    )
    ctx.exit(FINDINGS if too_little or any(_has_findings(checked, strict) for checked in tested) else FINE)


def _has_findings(checked: Checked, strict: bool) -> bool:
    failed = checked.policy is None or not all(result.passed for result in checked.results)
    return failed or (strict and bool(_never(checked)))


def _never(checked: Checked) -> tuple[str, ...]:
    return never_decided(checked.policy, checked.results) if checked.policy else ()


def _show(checked: Checked) -> None:
    out = console()
    if checked.policy is None:
        show_diagnostics(checked.diagnostics)
        return
    passed = sum(result.passed for result in checked.results)
    failed = len(checked.results) - passed
    ran = f"{passed} passed" if checked.results else "no tests"
    text = Text(f"{checked.name}: ", "bold").append(ran, "green" if passed else "")
    out.print(text.append(f", {failed} failed", "red") if failed else text, soft_wrap=True)
    for result in checked.results:
        if not result.passed:
            _show_failure(result)
    never = _never(checked)
    if never:
        out.print(indented(Text("decided in no test: " + ", ".join(never), "yellow")))


def _show_failure(result: ExampleResult) -> None:
    out = console()
    where = (near(result.where), "dim")
    out.print(Text.assemble("  ", ("failed", "red"), f"  {plain(result.name)}  ", where), soft_wrap=True)
    for line in [*failure_lines(result), *map(diagnostic_text, result.problems)]:
        out.print(Text.assemble("    ", line), soft_wrap=True)


def failure_lines(result: ExampleResult) -> Iterator[Text]:
    """What was expected, what came, and which lines decided so."""
    for what, expected, got in result.differences:
        yield Text.assemble(f"{what}: expected ", (expected, "green"), ", got ", (got, "red"))
    if result.decision is not None:
        for reason in result.decision.because:
            yield Text.assemble("because ", plain(reason.text), (f" ({reason.line}, {near(reason.where)})", "dim"))


def _show_summary(tested: Sequence[Checked], strict: bool) -> None:
    results = [result for checked in tested for result in checked.results]
    failed = sum(not result.passed for result in results)
    unusable = sum(checked.policy is None for checked in tested)
    more = f", {count(unusable, 'policy')} not usable" if unusable else ""
    never = sum(len(_never(checked)) for checked in tested) if strict else 0
    more += f", {count(never, 'line')} decided in no test (a finding with --strict)" if never else ""
    ran = count(len(results), "test") if results else "no tests"
    click.echo(f"{ran} in {count(len(tested), 'policy')}: {failed} failed{more}")


def _as_json(checked: Checked, found: Coverage | None) -> dict[str, object]:
    return {
        "file": checked.name,
        "problems": diagnostics_as_json(checked.diagnostics),
        "never_decided": list(_never(checked)),
        "tests": [
            {
                "name": result.name,
                "where": result.where,
                "passed": result.passed,
                "differences": [
                    {"what": what, "expected": expected, "got": got} for what, expected, got in result.differences
                ],
                "problems": diagnostics_as_json(result.problems),
                "decision": result.decision.as_dict() if result.decision and not result.passed else None,
            }
            for result in checked.results
        ],
        **({"coverage": coverage_as_json(found)} if found else {}),
    }
