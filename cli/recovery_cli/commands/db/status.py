"""`recovery db status`: what a database holds, and whether this engine can use it."""

import json
from typing import TYPE_CHECKING, Any

import rich_click as click
from rich.table import Table

from recovery_cli.databases import database_option, reading
from recovery_cli.documents import in_utc, iso
from recovery_cli.options import json_option
from recovery_cli.render import Figures, console, plain, print_json

if TYPE_CHECKING:
    from recovery_engine import RecoveryLog, StreamHead

ORGANISATION = "organisation"


@click.command("status")
@database_option
@json_option
def command(database: str, as_json: bool) -> None:
    """Say which log a database holds, how far it has come, and which version its tables are of.

    Tables of a newer version are refused; for older ones it says what to run.

    \b
    Examples:
      recovery db status --database shop.db
      recovery db status --database postgresql://app@db/shop --json

    Exit codes: 0 this engine can use it, 2 it cannot.
    """
    with reading(database) as log:
        heads = log.streams()
        status = _status(log, heads)
    if as_json:
        print_json(status)
    else:
        _show(status, heads)


def _status(log: "RecoveryLog", heads: "tuple[StreamHead, ...]") -> dict[str, Any]:
    with log.transaction() as connection:
        version, made_by = connection.exec_driver_sql("SELECT version, engine FROM recovery_schema").one()
        kind = connection.dialect.name
    opened: dict[str, Any] = {}
    policies = []
    with log.entries(ORGANISATION) as entries:
        for entry in entries:
            body = json.loads(entry.body)
            if body["kind"] == "opened":
                opened = body
            elif body["kind"] == "policy_loaded":
                policies.append({name: body[name] for name in ("name", "label", "from", "policy")})
    return {
        "database": log.name,
        "kind": kind,
        "schema": version,
        "made_by": made_by,
        "log": opened.get("log"),
        "origin": opened.get("origin"),
        "tracks": opened.get("tracks"),
        "recoveries": log.count(),
        "entries": sum(head.size for head in heads),
        "streams": [
            {"stream": head.stream, "size": head.size, "last_at": iso(head.last_at_us), "root": head.root}
            for head in heads
        ],
        "policies": policies,
    }


def _show(status: dict[str, Any], heads: "tuple[StreamHead, ...]") -> None:
    out = console()
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    tracked = ", ".join(status["tracks"] or ()) or "nothing beyond cases, customers, employees and sites"
    rows = {
        "database": f"{status['database']}  ({status['kind']})",
        "tables": f"version {status['schema']}, made by engine {status['made_by']}",
        "log": f"{status['log']}, called {status['origin']} in checkpoints",
        "tracks": tracked,
        "holds": f"{status['recoveries']:,} recoveries, {status['entries']:,} entries",
    }
    for label, text in rows.items():
        grid.add_row(label, plain(text))
    for number, policy in enumerate(status["policies"]):
        named = f"{policy['name']} {policy['label']}".strip()
        grid.add_row("" if number else "policies", plain(f"{named} from {policy['from']}  ({policy['policy'][:12]})"))
    out.print(grid)
    out.print()
    made = Figures("stream", "entries", "last entry")
    for head in heads:
        made.add_row(plain(head.stream), f"{head.size:,}", in_utc(head.last_at_us))
    out.print(made)
