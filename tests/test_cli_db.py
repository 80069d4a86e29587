"""`recovery db`: what a database holds, and whether this engine can use it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from engines import ask, opened
from small_logs import writing_engine

from recovery_cli.commands import db
from recovery_cli.main import cli
from recovery_engine.log.tables import SCHEMA_VERSION

pytestmark = pytest.mark.slow

POLICY = """
policy: shop
version: "7"
currency: USD
ladder: [clerk]
authority:
  - {id: standard, up_to: {total: [100]}}
"""


@pytest.fixture
def log(log_url: str) -> str:
    """A log in each database in turn."""
    with opened(log_url, POLICY, origin="shop.example", tracks=("organisation",)) as engine:
        engine.request(ask("r-1"))
    return log_url


def recovery(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, ["db", *map(str, args)], env={"COLUMNS": "120"})


def set_version(url: str, version: int) -> None:
    engine = writing_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE recovery_schema SET version = {version}")
    engine.dispose()


def test_the_status_names_the_log_its_tables_policies_and_streams(log: str) -> None:
    said = recovery("status", "--database", log)
    assert said.exit_code == 0
    for part in (
        f"version {SCHEMA_VERSION}",
        "shop.example",
        "organisation",
        "shop 7",
        "1 recoveries, 4 entries",
        "site:S1",
    ):
        assert part in said.stdout
    found = json.loads(recovery("status", "--database", log, "--json").stdout)
    kind = log.split(":")[0].split("+")[0]
    assert (found["kind"], found["schema"], found["origin"]) == (kind, SCHEMA_VERSION, "shop.example")
    assert [(one["stream"], one["size"]) for one in found["streams"]] == [("organisation", 2), ("site:S1", 2)]
    assert [one["label"] for one in found["policies"]] == ["7"]


def test_tables_of_a_newer_version_are_refused_and_of_an_older_one_say_what_to_run(log: str) -> None:
    newer, older = SCHEMA_VERSION + 1, SCHEMA_VERSION - 1
    for version, cure in ((newer, "install a newer recovery-engine"), (older, "run `recovery db upgrade --database")):
        set_version(log, version)
        for verb in (["db", "status"], ["log", "list"], ["log", "verify"], ["fulfil", "r-1"]):
            said = CliRunner().invoke(cli, [*verb, "--database", log])
            assert said.exit_code == 2
            assert f"version {version}" in said.stderr
            assert cure in said.stderr


def test_no_log_is_no_status(tmp_path: Path) -> None:
    said = recovery("status", "--database", tmp_path / "gone.db")
    assert said.exit_code == 2
    assert "there is no such file" in said.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", db.VERBS)
def test_every_verb_has_help_with_an_example_and_json(verb: str) -> None:
    said = recovery(verb, "--help")
    assert said.exit_code == 0
    assert f"recovery db {verb}" in said.stdout.split("Examples:")[1]
    assert "--json" in said.stdout
