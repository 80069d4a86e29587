"""`recovery staff check`: what the people leave open, found before a customer does."""

from datetime import date

import rich_click as click

from recovery_cli.exits import FINDINGS, FINE, Unusable
from recovery_cli.filtering import Day
from recovery_cli.options import complete_policy, json_option
from recovery_cli.policy_files import expanded, named_policy
from recovery_cli.render import count, diagnostics_as_json, print_json, show_diagnostics
from recovery_cli.staff_files import named_staff
from recovery_engine import Policy, PolicyLibrary, check_staff


@click.command("check")
@click.argument("staff", metavar="STAFF", type=click.Path())
@click.option(
    "--policy",
    "policies",
    multiple=True,
    required=True,
    metavar="FILE|FOLDER|NAME",
    shell_complete=complete_policy,
    help="A policy file, a folder of them, or the name of a starter policy. May be repeated.",
)
@click.option(
    "--day",
    type=Day(),
    default=date.today,
    show_default="today",
    metavar="DAY",
    help="The business day whose people and policies are looked at.",
)
@json_option
@click.pass_context
def command(ctx: click.RichContext, staff: str, policies: tuple[str, ...], day: date, as_json: bool) -> None:
    """Find what the people of a staff directory leave open, before a customer does.

    For every site and every kind of request it is decided for whoever is there, and for what is escalated, it is
    looked for somebody who could approve it there: amounts that nobody can, roles that are asked and not there,
    unknown roles and sites, limits of people's own that change nothing.

    \b
    Examples:
      recovery staff check staff.yaml --policy policies/
      recovery staff check staff.yaml --policy hotel --day 2026-12-24
      recovery staff check staff.yaml --policy hotel --json

    Exit codes: 0 nothing is left open, 1 findings, 2 the directory or a policy cannot be used.
    """
    people = named_staff(staff)
    in_force = _in_force(policies, day)
    found = check_staff(people, in_force, day)
    errors = sum(diagnostic.level == "error" for diagnostic in found)
    if as_json:
        print_json(
            {
                **{"staff": people.name, "day": day.isoformat(), "people": len(people.people)},
                "policies": [{"name": policy.policy, "digest": policy.digest} for policy in in_force],
                **{"errors": errors, "warnings": len(found) - errors, "problems": diagnostics_as_json(found)},
            }
        )
    else:
        show_diagnostics(found)
        checked = f"{count(len(people.people), 'row')} checked for {day}"
        click.echo(f"{checked}: {count(errors, 'error')}, {count(len(found) - errors, 'warning')}")
    ctx.exit(FINDINGS if found else FINE)


def _in_force(names: tuple[str, ...], day: date) -> tuple[Policy, ...]:
    read = [named_policy(file) for name in names for file in expanded(name)]
    in_force = PolicyLibrary(read).on(day)
    if not in_force:
        raise Unusable(f"no policy is in force on {day}", "give another --policy, or another --day")
    return in_force
