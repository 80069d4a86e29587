"""Options that several commands share, and the words they complete to."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import rich_click as click
from click.shell_completion import CompletionItem

from recovery_cli.exits import Unusable

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_POLICY = "classic"

REQUEST_WORDS = {
    "role": "Who asks: a role of the ladder.",
    "remedy": "What is to be given.",
    "site": "Where.",
    "category": "What kind of thing went wrong.",
    "severity": "How bad it was.",
    "basis": "`goodwill`, unless it is `owed`.",
    "currency": "Of all amounts; must be the policy's.",
}
"""The parts of a request that are words, each an option, with its help."""


def _chosen_policy(ctx: click.Context) -> Any:
    """The policy that the words are completed from, or None if it cannot be used."""
    from recovery_cli.policy_files import expanded, named_policy
    from recovery_engine import PolicyError

    try:
        if any(param.name in ("policies", "database") for param in ctx.command.params):
            name = ctx.params.get("policies") or os.environ.get("RECOVERY_POLICIES")
            return named_policy(expanded(name)[0]) if name else None
        return named_policy(ctx.params.get("policy_name") or os.environ.get("RECOVERY_POLICY") or DEFAULT_POLICY)
    except PolicyError:
        return None


def _beginning(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def complete_word(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The roles, remedies, ... of the chosen policy."""
    policy = _chosen_policy(ctx)
    if policy is None:
        return []
    words = (policy.currency,) if param.name == "currency" else policy.words.known(str(param.name)) or ()
    return _beginning(words, incomplete)


def complete_assignment(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names that may stand before the ``=``: facts, remedies, budgets, or the parts of a request."""
    policy = _chosen_policy(ctx)
    if policy is None:
        return []
    names: Iterable[str] = {
        "used": [line.id for line in policy.budgets],
        "on_case": policy.words.known("remedy") or (),
        "owed_on_case": policy.words.known("remedy") or (),
    }.get(str(param.name), policy.facts)
    if param.name in ("mapped", "constants"):
        from recovery_cli.columns import NESTED, REQUEST

        names = (*REQUEST, *NESTED, *policy.facts)
    return _beginning((f"{name}=" for name in names), incomplete)


def complete_policy(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The starter policies, and files."""
    from recovery_engine import shipped_policies

    return [*_beginning(shipped_policies(), incomplete), CompletionItem(incomplete, type="file")]


def policy_option(command: Command) -> Command:
    """``--policy``: a file, or the name of a starter policy."""
    return click.option(
        "--policy",
        "policy_name",
        default=DEFAULT_POLICY,
        envvar="RECOVERY_POLICY",
        metavar="FILE|NAME",
        show_default=True,
        show_envvar=True,
        shell_complete=complete_policy,
        help="A policy file, or the name of a starter policy.",
    )(command)


def _remember_json(ctx: click.Context, _: click.Parameter, wanted: bool) -> bool:
    ctx.meta["as_json"] = wanted  # problems are then told as JSON too, wherever they are found
    return wanted


def json_option(command: Command) -> Command:
    """``--json``: the answer for programs."""
    return click.option(
        "--json", "as_json", is_flag=True, is_eager=True, callback=_remember_json, help="Answer in JSON, for programs."
    )(command)


def html_option(command: Command) -> Command:
    """``--html``: a page for people."""
    help = "Write a page with charts to read, print and send on; one file, works offline."
    return click.option("--html", metavar="FILE|-", help=help)(command)


def request_words(command: Command) -> Command:
    """``--role``, ``--remedy``, ...: the parts of a request that are words."""
    for name, help in reversed(REQUEST_WORDS.items()):
        command = click.option(f"--{name}", metavar="WORD", shell_complete=complete_word, help=help)(command)
    return command


def assignments(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """``NAME=VALUE`` options as a mapping; each name once."""
    found: dict[str, str] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise click.BadParameter(f"`{text}` has no `=`: write {param.metavar}", ctx, param)
        if name.strip() in found:
            raise click.BadParameter(f"`{name.strip()}` is given twice: give it once", ctx, param)
        found[name.strip()] = value.strip()
    return found


def assignment_option(flag: str, name: str, metavar: str, help: str) -> Callable[[Command], Command]:
    """An option that takes ``NAME=VALUE`` and may be repeated."""
    return click.option(
        flag,
        name,
        multiple=True,
        metavar=metavar,
        callback=assignments,
        shell_complete=complete_assignment,
        help=f"{help} May be repeated.",
    )


def given_words(words: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, without those left out."""
    return {name: value for name, value in words.items() if value not in (None, (), [], {})}


def listed(texts: Iterable[str]) -> list[str]:
    """The words of an option that may be repeated, each of which may hold several."""
    return [word for text in texts for word in re.split(r"[\s,]+", text) if word]


def joined_facts(given: Any, flags: dict[str, str]) -> dict[str, Any]:
    """Facts from JSON and from flags, which win. Raises Unusable."""
    if given is not None and not isinstance(given, Mapping):
        raise Unusable("`facts` is a mapping", 'write {"facts": {"days_since_visit": 3}}')
    return dict(given or {}) | flags
