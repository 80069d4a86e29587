"""`recovery case`: a case as one story, so that nobody has to tell it twice."""

import time

import rich_click as click

from recovery_cli.databases import database_option, reading
from recovery_cli.documents import story_document
from recovery_cli.options import json_option
from recovery_cli.render import console, print_indented, print_json
from recovery_engine import story_lines


@click.command("case")
@click.argument("case")
@database_option
@json_option
def command(case: str, database: str, as_json: bool) -> None:
    """Tell a CASE as one story: every recovery asked for, each step, questions and answers, what was promised.

    With names, notes and texts, as far as they were not erased; `recovery log show` tells it without them. CASE may be
    the id of one of its recoveries.

    \b
    Examples:
      recovery case C-88
      recovery case pos-7-123 --json
    """
    with reading(database) as log:
        story = log.story(case, whole_case=True, people=True)
    now_us = time.time_ns() // 1000
    if as_json:
        told = [story_document(one) | {"promise": one.promise(now_us)} for one in story.recoveries]
        print_json({"case": story.recoveries[0].row.case_id, "recoveries": told})
        return
    out = console()
    for line in story_lines(story, now_us):
        print_indented(out, line)
