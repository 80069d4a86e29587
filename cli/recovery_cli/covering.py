"""What `recovery test --coverage` and `--suggest` show."""

from dataclasses import asdict

import rich_click as click
from rich.text import Text

from recovery_cli.policy_files import Checked
from recovery_cli.render import console, count, in_words, indented, near, plain
from recovery_engine import BoundaryCoverage, Coverage

_UNTRIED, _NOT_REACHED = "untried", "not reached"


def show_coverage(checked: Checked, found: Coverage, suggests: bool) -> None:
    """What the tests of a policy show, what they leave open, and tests that would show it."""
    out = console()
    lines = [line for line in found.lines if line.tried != _NOT_REACHED]
    both = [one for one in found.boundaries if (one.within, one.beyond) != (_NOT_REACHED, _NOT_REACHED)]
    exact = sum({one.within, one.beyond} <= {"exactly", _NOT_REACHED} for one in both)
    decisive = sum(line.tried != _UNTRIED for line in lines)
    out.print(Text(f"{checked.name}: coverage", "bold"), soft_wrap=True)
    for text in (
        f"lines that decided: {found.lines_percent}% ({decisive} of {len(lines)})",
        f"boundaries tried on both sides: {found.boundaries_percent}% "
        f"({sum(not one.open for one in both)} of {len(both)}; {exact} exactly)",
    ):
        out.print(indented(Text(text)))
    for line in found.lines:
        if line.tried == _UNTRIED:
            out.print(indented(Text.assemble(f"{line.line}: decided in no test", (f"  {near(line.where)}", "dim"))))
    for one in found.boundaries:
        if one.open:
            out.print(indented(Text.assemble(f"{_named(one)}: {_open(one)}", (f"  {near(one.where)}", "dim"))))
    for what in unreached(found):
        out.print(indented(Text(what, "dim")))
    if not found.complete:
        out.print(indented(Text("the search was cut short: what is not reached might still be", "yellow")))
    if suggests:
        shown = "\n".join(test.text.rstrip("\n") for test in found.suggested)
        click.echo(f"# {count(len(found.suggested), 'test')} to paste under `tests:`\n{shown}".rstrip("\n"))


def unreached(found: Coverage) -> list[str]:
    """What no request was found to reach, in words."""
    said = [f"{line.line}: no request lets it decide" for line in found.lines if line.tried == _NOT_REACHED]
    for one in found.boundaries:
        sides = [side for side, tried in (("at or below", one.within), ("above", one.beyond)) if tried == _NOT_REACHED]
        if sides:
            said.append(f"{_named(one)}: no request reaches it" + (f" {sides[0]}" if len(sides) == 1 else ""))
    return said


def _named(one: BoundaryCoverage) -> str:
    return plain(f"{one.line}{f' of {in_words(one.role)}' if one.role else ''}, {one.what}")


def _open(one: BoundaryCoverage) -> str:
    if one.within == one.beyond:
        return "untried"
    return f"untried {'at or below' if one.within == _UNTRIED else 'above'}"


def coverage_as_json(found: Coverage) -> dict[str, object]:
    """The same, ready for JSON."""
    return asdict(found) | {
        "lines_percent": found.lines_percent,
        "boundaries_percent": found.boundaries_percent,
        "not_reached": unreached(found),
    }
