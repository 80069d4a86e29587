"""Commands with a staff directory: a role is the directory's, and may be left out."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recovery_cli.main import cli

STAFF = """
staff: shop
people:
  - {employee: emp-1, role: frontline}
  - {employee: sup-1, role: supervisor}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "staff.yaml").write_text(STAFF, encoding="utf-8")
    return tmp_path


def recovery(shop: Path, *words: str, **environment: str) -> Result:
    database = ["--database", str(shop / "shop.db")]
    return CliRunner(env=environment).invoke(cli, [*words, *database])


def request(shop: Path, *more: str, **environment: str) -> Result:
    asked = ["--policies", "classic", "--employee", "emp-1", "--case", "C-1", "--remedy", "refund", "--amount", "150"]
    return recovery(shop, "request", *asked, *more, **environment)


def test_roles_are_taken_from_the_directory(shop: Path) -> None:
    staff = ["--staff", str(shop / "staff.yaml")]
    assert "ESCALATE TO SUPERVISOR" in request(shop, "--id", "r-1", *staff).stdout
    said = recovery(shop, "approve", "r-1", "--by", "sup-1", *staff)
    assert (said.exit_code, "r-1 is granted" in said.stdout) == (0, True)


def test_another_role_than_the_directory_s_is_refused(shop: Path) -> None:
    said = request(shop, "--id", "r-1", "--role", "manager", RECOVERY_STAFF=str(shop / "staff.yaml"))
    assert said.exit_code == 2
    assert "emp-1 is frontline, not manager" in said.stderr


def test_without_a_directory_a_role_must_be_given(shop: Path) -> None:
    assert request(shop, "--id", "r-1", "--role", "frontline").exit_code == 0
    said = recovery(shop, "approve", "r-1", "--by", "sup-1")
    assert said.exit_code == 2
    assert "no role" in said.stderr


def test_a_directory_that_cannot_be_read_stops_the_command(shop: Path) -> None:
    said = request(shop, "--id", "r-1", "--staff", str(shop / "gone.yaml"))
    assert said.exit_code == 2
    assert "the staff directory cannot be used" in said.stderr
