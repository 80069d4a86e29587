"""`recovery completion`: the script that lets a shell complete verbs, options, and the words of the chosen policy."""

from pathlib import Path

import rich_click as click
from click.shell_completion import get_completion_class

from recovery_cli import completion as bash
from recovery_cli.options import json_option
from recovery_cli.render import print_json

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS), metavar="bash|zsh|fish")
@json_option
@click.pass_context
def command(ctx: click.RichContext, shell: str, as_json: bool) -> None:
    """Print the completion script for a shell.

    It completes roles, remedies, categories, facts and budgets too: those of the policy that --policy or
    RECOVERY_POLICY names.

    \b
    Examples:
      recovery completion bash >> ~/.bashrc
      recovery completion zsh >> ~/.zshrc
      recovery completion fish > ~/.config/fish/completions/recovery.fish
    """
    bash.use()
    completion = get_completion_class(shell)
    assert completion is not None, "click knows these three"
    name = Path(ctx.find_root().info_name or "recovery").name
    made = completion(ctx.find_root().command, {}, name, f"_{name.replace('-', '_').upper()}_COMPLETE")
    script = made.source_template % made.source_vars()
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script.strip())
