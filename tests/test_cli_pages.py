"""`--html`: the page of a report, beside or instead of what the terminal says."""

import html
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sample_pages import hotel_draft, of_no_difference

from recovery_cli.main import cli

VERBS = ["diff"]


def recovery(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, [*map(str, args)])


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    path = tmp_path / "draft.yaml"
    path.write_text(hotel_draft(), encoding="utf-8")
    return path


@pytest.mark.parametrize("verb", VERBS)
def test_help_tells_of_the_page(verb: str) -> None:
    assert "--html" in recovery(verb, "--help").stdout


def test_the_page_of_a_diff_tells_each_change_and_how_to_ask_one(draft: Path, tmp_path: Path) -> None:
    path = tmp_path / "changes.html"
    ran = recovery("diff", "hotel", draft, "--html", path)
    assert (ran.exit_code, ran.stdout) == (0, "")
    page = path.read_text(encoding="utf-8")
    assert "front desk asks" in page
    assert '<span class="wider">Wider</span>: shift supervisor is asked &rarr; approved on the spot' in page
    text = text_of(page)
    assert f"recovery what-if --policy {draft} --role front_desk" in text
    assert "decisions, less than it might" in page
    assert "every other request there can be is decided as before" in page


def test_the_page_goes_to_stdout_too_and_the_verdict_stays(draft: Path) -> None:
    ran = recovery("diff", "hotel", draft, "--html", "-", "--fail-on", "wider")
    assert ran.exit_code == 1
    assert ran.stdout.startswith("<!doctype html>")


def test_the_page_never_takes_the_place_of_a_policy(draft: Path) -> None:
    before = draft.read_bytes()
    ran = recovery("diff", "hotel", draft, "--html", draft)
    assert ran.exit_code == 2
    assert "would overwrite" in ran.stderr
    assert draft.read_bytes() == before


def test_where_nothing_changes_the_page_says_so_and_has_no_chart() -> None:
    page = of_no_difference()
    assert "No request is decided differently." in page
    assert "<svg" not in page


def test_without_matplotlib_it_says_what_to_install(
    draft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("matplotlib", "recovery_cli.pages."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ran = recovery("diff", "hotel", draft, "--html", tmp_path / "page.html")
    assert ran.exit_code == 2
    assert "pip install 'recovery-engine[whatif]'" in ran.stderr
    assert not (tmp_path / "page.html").exists()


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", page))
