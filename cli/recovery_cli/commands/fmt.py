"""`recovery fmt`: lay policies out, limits in columns under the ladder; only white space changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff

import rich_click as click

from recovery_cli.exits import FINDINGS, FINE, UNUSABLE, Unusable
from recovery_cli.files import STANDARD_STREAM, opened, rewrite, shown_name
from recovery_cli.options import json_option
from recovery_cli.policy_files import UNREADABLE, expanded
from recovery_cli.render import count, diagnostics_as_json, print_json, show_diagnostics
from recovery_engine import Diagnostic, PolicyError, format_policy


@dataclass(frozen=True, slots=True)
class _Laid:
    """One file: what stands in it, what would stand in it laid out, and why it cannot be."""

    name: str
    before: str = ""
    after: str = ""
    problems: tuple[Diagnostic, ...] = ()

    @property
    def changes(self) -> bool:
        return self.before != self.after

    @property
    def diff(self) -> str:
        before, after = (text.splitlines(keepends=True) for text in (self.before, self.after))
        return "".join(unified_diff(before, after, self.name, f"{self.name}, laid out"))


@click.command("fmt")
@click.argument("files", nargs=-1, required=True, metavar="FILES...", type=click.Path())
@click.option("--check", is_flag=True, help="Write nothing; name the files that would change, and exit 1.")
@click.option("--diff", is_flag=True, help="Write nothing; show what would change, and exit 1.")
@click.option("--stdout", "to_stdout", is_flag=True, help="Write nothing; print the policies laid out.")
@json_option
@click.pass_context
def command(
    ctx: click.RichContext, files: tuple[str, ...], check: bool, diff: bool, to_stdout: bool, as_json: bool
) -> None:
    """Lay policies out: limits in columns under the ladder, comments where they are.

    FILES are policy files, folders of them, or - for stdin, which goes to stdout. Only white space changes: what a
    policy says and its digest stay as they are. A file with mistakes is left alone. Files are replaced whole or not
    at all.

    \b
    Examples:
      recovery fmt my-policy.yaml
      recovery fmt policies/ --check
      recovery fmt my-policy.yaml --diff
      recovery fmt - < my-policy.yaml

    Exit codes: 0 laid out, 1 with --check or --diff something would change, or mistakes, 2 a file cannot be read.
    """
    laid = [_laid_out(name) for given in files for name in expanded(given)]
    only_shown = check or diff or to_stdout
    written = [one for one in laid if one.changes and not only_shown and one.name != STANDARD_STREAM]
    for one in written:
        rewrite(one.name, one.after.encode())
    if as_json:
        print_json({"files": [_as_json(one, one in written, diff) for one in laid]})
    else:
        show_diagnostics((found for one in laid for found in one.problems), to_stderr=True)
        _show(laid, check, diff, to_stdout)
    if any(found.code == UNREADABLE for one in laid for found in one.problems):
        ctx.exit(UNUSABLE)
    would_change = (check or diff) and any(one.changes for one in laid)
    ctx.exit(FINDINGS if would_change or any(one.problems for one in laid) else FINE)


def _laid_out(name: str) -> _Laid:
    with opened(name) as stream:
        try:
            text = stream.read().decode()
        except UnicodeDecodeError:
            raise Unusable(f"{shown_name(name)} is not UTF-8 text", "save the file as UTF-8") from None
        except OSError as error:
            raise Unusable(f"cannot read {shown_name(name)}: {(error.strerror or str(error)).lower()}") from None
    try:
        return _Laid(name, text, format_policy(text, shown_name(name)))
    except PolicyError as error:
        return _Laid(name, problems=error.diagnostics)


def _show(laid: Sequence[_Laid], check: bool, diff: bool, to_stdout: bool) -> None:
    for one in (one for one in laid if not one.problems):
        if diff:
            click.echo(one.diff, nl=False)
        elif not check and (to_stdout or one.name == STANDARD_STREAM):
            click.echo(one.after, nl=False)
        elif one.changes:
            click.echo(f"{'would lay out' if check else 'laid out'} {shown_name(one.name)}")
    if not to_stdout and not diff and STANDARD_STREAM not in [one.name for one in laid]:
        changed = sum(one.changes for one in laid)
        click.echo(f"{count(len(laid), 'policy')}: {changed} {'would change' if check else 'changed'}")


def _as_json(one: _Laid, written: bool, diff: bool) -> dict[str, object]:
    shown = {"diff": one.diff} if diff else {}
    problems = diagnostics_as_json(one.problems)
    return {"file": one.name, "changes": one.changes, "written": written, **shown, "problems": problems}
