"""`recovery policies`: the starter policies, one line each, and a copy of one to start from."""

from pathlib import Path

import rich_click as click
from rich.text import Text

from recovery_cli.exits import Unusable
from recovery_cli.files import STANDARD_STREAM, keep_apart, write_text
from recovery_cli.options import complete_policy, json_option
from recovery_cli.policy_files import named_policy
from recovery_cli.render import console, in_words, print_json
from recovery_engine import Policy, shipped_policies


@click.command("policies")
@click.argument("name", required=False, shell_complete=complete_policy)
@click.option("--output", metavar="FILE", help="Copy the policy there; `-` is stdout.")
@click.option("--force", is_flag=True, help="Replace a file that is already there.")
@json_option
def command(name: str | None, output: str | None, force: bool, as_json: bool) -> None:
    """List the starter policies, or print or copy one of them to start from.

    \b
    Examples:
      recovery policies
      recovery policies hotel
      recovery policies hotel --output my-policy.yaml
    """
    if name is None:
        if output:
            raise Unusable("which policy is to be copied?", f"one of {', '.join(shipped_policies())}")
        _list(as_json)
        return
    if name not in shipped_policies():
        named_policy(name)  # says which name is close, where it is no file either
        raise Unusable(f"{name} is not a starter policy", f"one of {', '.join(shipped_policies())}")
    keep_apart("--output", output, [shipped_policies()[name]])
    text = shipped_policies()[name].read_text(encoding="utf-8")
    if as_json:
        print_json({"name": name, "text": text})
        if not output:
            return
    write_text(output or STANDARD_STREAM, text, only_if_new=not force)
    if output and output != STANDARD_STREAM:
        schema = Path(output).with_name("recovery-policy.schema.json")
        click.echo(f"for your editor:  recovery schema --output {schema}", err=True)
        click.echo(f"when you change it:  recovery check {output} && recovery test {output}", err=True)


def _list(as_json: bool) -> None:
    policies = {name: named_policy(name) for name in shipped_policies()}
    if as_json:
        print_json([_as_json(name, policy) for name, policy in policies.items()])
        return
    out = console()
    for name, policy in policies.items():
        ladder = ", ".join(in_words(role) for role in policy.ladder)
        line = Text.assemble((f"{name:<19}", "bold"), f"{policy.currency}  ", (ladder, "dim"))
        out.print(line, no_wrap=True, overflow="ellipsis")
    out.print("\nlook at one:     recovery matrix --policy hotel")
    out.print("start from one:  recovery policies hotel --output my-policy.yaml")


def _as_json(name: str, policy: Policy) -> dict[str, object]:
    return {
        "name": name,
        "version": policy.version,
        "currency": policy.currency,
        "ladder": list(policy.ladder),
        "source": policy.source,
        "path": str(shipped_policies()[name]),
    }
