"""`recovery promises`: what was granted and is not in the customer's hands yet, what is overdue first."""

import rich_click as click
from click.shell_completion import CompletionItem

from recovery_cli.databases import database_option, writing
from recovery_cli.filtering import asked
from recovery_cli.options import complete_word, json_option
from recovery_cli.promising import STANDINGS, overdue_first, promise_document, show_promises
from recovery_cli.render import print_json


def _complete_standing(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in STANDINGS if word.startswith(incomplete)]


@click.command("promises")
@database_option
@click.option("--overdue", is_flag=True, help="Only what should have been handed over by now.")
@click.option(
    "--standing",
    multiple=True,
    metavar="WORD",
    shell_complete=_complete_standing,
    help="`open`, `overdue`, `kept`, `late` or `broken`; left out: open and overdue. May be repeated.",
)
@click.option("--site", metavar="WORD", shell_complete=complete_word, help="Only what was asked for there.")
@json_option
@click.pass_context
def command(
    ctx: click.RichContext, database: str, overdue: bool, standing: tuple[str, ...], site: str | None, as_json: bool
) -> None:
    """List who promised what on which case, and by when: what was granted is a promise until it is handed over.

    \b
    Examples:
      recovery promises --database shop.db
      recovery promises --overdue --site S001
      recovery promises --standing late --standing broken --json
    """
    if overdue and standing:
        raise click.UsageError("--overdue is a standing: leave out one of them", ctx)
    with writing(database) as engine, asked():
        found = overdue_first(engine.promises(*(("overdue",) if overdue else standing), site=site))
    if as_json:
        print_json({"count": len(found), "promises": [promise_document(one) for one in found]})
        return
    show_promises(found)
    if not found:
        click.echo("no such promise" if overdue or standing else "every promise is kept", err=True)
