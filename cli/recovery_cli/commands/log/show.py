"""`recovery log show`: what happened to a recovery or in a case, in order and in words."""

import rich_click as click

from recovery_cli.databases import database_option, reading
from recovery_cli.documents import story_document
from recovery_cli.options import json_option
from recovery_cli.render import console, print_indented, print_json
from recovery_engine import story_lines


@click.command("show")
@click.argument("id")
@database_option
@json_option
def command(id: str, database: str, as_json: bool) -> None:
    """Tell the whole story of a recovery, or of every recovery of a case: who did what when, and why they might.

    ID is that of a recovery or of a case; a request that was joined to another is told with that one. Names, notes and
    texts are left to `recovery case`.

    \b
    Examples:
      recovery log show pos-7-123
      recovery log show C-88 --json
    """
    with reading(database) as log:
        story = log.story(id)
    if as_json:
        print_json({"about": story.about, "recoveries": [story_document(one) for one in story.recoveries]})
        return
    out = console()
    for line in story_lines(story):
        print_indented(out, line)
