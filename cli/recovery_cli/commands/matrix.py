"""`recovery matrix`: who may give what, on one page: for the terminal, or for the wall behind the counter."""

from dataclasses import asdict

import rich_click as click
from rich.text import Text

from recovery_cli.files import write_text
from recovery_cli.options import json_option, policy_option
from recovery_cli.page import line_to_name, page
from recovery_cli.render import console, indented, plain, print_json, table
from recovery_engine import Card, CardTable, authority_card, load_policy


@click.command("matrix")
@policy_option
@click.option("--html", metavar="FILE|-", help="Write a page to print and hang up; one file, works offline.")
@json_option
def command(policy_name: str, html: str | None, as_json: bool) -> None:
    """Show who may give what, and every rule around it.

    \b
    Examples:
      recovery matrix
      recovery matrix --policy hotel
      recovery matrix --policy my-policy.yaml --html card.html
      recovery matrix --policy my-policy.yaml --html - | lp
    """
    card = authority_card(load_policy(policy_name))
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
    made = table("", *card.ladder, right=card.ladder)
    for row, cells in shown.rows:
        made.add_row(row, *(cell or "as in all" for cell in cells))
    out.print(indented(made))
    if shown.why:
        out.print(indented(Text(plain(shown.why), "italic")))
