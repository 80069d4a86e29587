"""`recovery staff show`: the people of a staff directory, as a table."""

from typing import Any

import rich_click as click
from rich.table import Table
from rich.text import Text

from recovery_cli.options import json_option
from recovery_cli.render import console, in_words, plain, print_json
from recovery_cli.staff_files import named_staff
from recovery_engine import OwnLimit, Person


@click.command("show")
@click.argument("staff", metavar="STAFF", type=click.Path())
@json_option
def command(staff: str, as_json: bool) -> None:
    """List the people of a staff directory: who, in which role, where, when, with which limit of their own, and why.

    \b
    Examples:
      recovery staff show staff.yaml
      recovery staff show staff.yaml --json

    Exit codes: 0 shown, 2 the directory cannot be used.
    """
    people = named_staff(staff)
    if as_json:
        print_json({"staff": people.name, "people": [_as_dict(person) for person in people.people]})
        return
    made = Table(header_style="bold", box=None, pad_edge=False)
    for name in ("who", "role", "sites", "days", "own limit", "why"):
        made.add_column(name, overflow="fold")
    for person in people.people:
        made.add_row(*map(_cell, _cells(person)), style="dim" if person.suspended else "")
    console().print(made)


def _cell(text: str) -> Text:
    return Text(plain(text))


def _cells(person: Person) -> tuple[str, ...]:
    sites = "every site" if person.sites is None else ", ".join(person.sites)
    days = "suspended" if person.suspended else _days(person)
    return person.employee, in_words(person.role), sites, days, _limit(person.own_limit), person.why


def _days(person: Person) -> str:
    first = f"from {person.first_day}" if person.first_day else ""
    last = f"until {person.last_day}" if person.last_day else ""
    return f"{first} {last}".strip() or "always"


def _limit(own_limit: OwnLimit | None) -> str:
    if own_limit is None:
        return ""
    return f"at most {own_limit.at_most}" if own_limit.at_most is not None else f"up to {own_limit.up_to}"


def _as_dict(person: Person) -> dict[str, Any]:
    limit = person.own_limit._asdict() if person.own_limit else {}
    return {
        "employee": person.employee,
        "role": person.role,
        "sites": None if person.sites is None else list(person.sites),
        "from": person.first_day and person.first_day.isoformat(),
        "until": person.last_day and person.last_day.isoformat(),
        "suspended": person.suspended,
        "limit": {name: money.decimal for name, money in limit.items() if money is not None} or None,
        "currency": next((money.currency for money in limit.values() if money is not None), None),
        "why": person.why,
    }
