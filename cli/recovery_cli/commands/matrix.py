"""`recovery matrix`: who may give what, on one page: for the terminal, or for the wall behind the counter."""

from dataclasses import asdict

import rich_click as click
from click.core import ParameterSource
from rich.text import Text

from recovery_cli.files import keep_apart, write_text
from recovery_cli.options import complete_policy, json_option, policy_option
from recovery_cli.page import line_to_name, page
from recovery_cli.policy_files import named_policy, policy_path
from recovery_cli.render import Figures, console, indented, plain, print_json
from recovery_engine import Card, CardTable, authority_card


@click.command("matrix")
@click.argument("policy", required=False, shell_complete=complete_policy)
@policy_option
@click.option("--html", metavar="FILE|-", help="Write a page to print and hang up; one file, works offline.")
@json_option
@click.pass_context
def command(ctx: click.RichContext, policy: str | None, policy_name: str, html: str | None, as_json: bool) -> None:
    """Show who may give what, and every rule around it.

    POLICY is a policy file or the name of a starter policy, the same as --policy.

    \b
    Examples:
      recovery matrix
      recovery matrix hotel
      recovery matrix my-policy.yaml --html card.html
      recovery matrix my-policy.yaml --html - | lp
    """
    if policy and ctx.get_parameter_source("policy_name") == ParameterSource.COMMANDLINE:
        raise click.UsageError("the policy is named twice: give POLICY or --policy", ctx)
    name = policy or policy_name
    keep_apart("--html", html, [policy_path(name)])
    card = authority_card(named_policy(name))
    if html:
        write_text(html, page(card))
    if as_json:
        print_json(asdict(card))
    elif not html:
        _show(card)


def _show(card: Card) -> None:
    out = console()
    dated = f"  {card.version} {card.days}".rstrip()
    out.print(Text.assemble((card.policy, "bold"), (dated, "dim")), soft_wrap=True)
    for shown in card.tables:
        out.print()
        _show_table(card, shown)
    for section in card.sections:
        out.print()
        out.print(Text(section.heading, "bold"))
        for line, sentence in section.lines:
            out.print(indented(Text.assemble(plain(sentence), (f"  {line_to_name(line, sentence)}", "dim"))))


def _show_table(card: Card, shown: CardTable) -> None:
    out = console()
    when = f"Where {shown.when}, for one case" if shown.when else "May give alone, for one case"
    out.print(Text.assemble((when, "bold"), (f"  {shown.line}", "dim")))
    made = Figures("", *card.ladder)
    for row, cells in shown.rows:
        made.add_row(row, *(cell or "as in all" for cell in cells))
    out.print(indented(made))
    if shown.why:
        out.print(indented(Text(plain(shown.why), "italic")))
