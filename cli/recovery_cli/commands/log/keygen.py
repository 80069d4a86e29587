"""`recovery log keygen`: a key to sign checkpoints with."""

import rich_click as click

from recovery_cli.databases import file_option
from recovery_cli.options import json_option
from recovery_cli.render import print_json
from recovery_engine import keygen


@click.command("keygen")
@click.argument("name")
@file_option("--out", required=True, help="The private key; the verifier key goes to FILE.vkey.")
@json_option
def command(name: str, out: str, as_json: bool) -> None:
    """Make a key to sign checkpoints with. Nothing is ever overwritten.

    NAME says whose it is: a web address without its scheme. Keep the private key where the database is not, and give
    the verifier key to whoever is to check.

    \b
    Examples:
      recovery log keygen shop.example/recovery --out log.key
    """
    keys = keygen(name, out)
    if as_json:
        print_json({"private_file": str(keys.private_file), "public_file": str(keys.public_file), "vkey": keys.vkey})
        return
    click.echo(f"the private key, for its owner alone: {keys.private_file}")
    click.echo(f"the verifier key, for everybody:      {keys.public_file}")
    click.echo(keys.vkey)
