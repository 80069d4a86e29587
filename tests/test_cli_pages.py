"""`--html`: the page of a report, beside or instead of what the terminal says."""

import html
import json
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sample_pages import FRONTLINE, hotel_draft, of_history, of_no_difference, write_history

from recovery_cli.main import cli

pytestmark = pytest.mark.slow

VERBS = ["diff", "backtest", "sweep"]


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


def test_the_page_of_a_back_test_says_what_changes_and_what_history_cannot_show(tmp_path: Path) -> None:
    history, path = write_history(tmp_path / "history.csv"), tmp_path / "page.html"
    ran = recovery("backtest", "classic", "--history", history, "--html", path)
    assert (ran.exit_code, ran.stdout) == (0, "")
    said = json.loads(recovery("backtest", "classic", "--history", history, "--json").stdout)
    text = text_of(path.read_text(encoding="utf-8"))
    assert f"{100 * said['after']['on_the_spot_rate']:.1f}% of {said['requests']:,} requests" in text
    assert f"{said['after']['on_the_spot']:,} draft" in text
    assert "People ask for what they may give" in text
    assert "Frontline, limit $100.00" in text
    assert "3 requests: " in text
    assert text.count("95 in 100") == 0
    assert "95 in 100" in text_of(of_history("sample"))


def test_the_page_of_a_sweep_marks_the_limit_of_today_and_the_knee(tmp_path: Path) -> None:
    history, path = write_history(tmp_path / "history.csv"), tmp_path / "page.html"
    asked = ["sweep", FRONTLINE, "--from", "0", "--to", "249", "--history", history]
    ran = recovery(*asked, "--html", path)
    assert (ran.exit_code, ran.stdout) == (0, "")
    text = text_of(path.read_text(encoding="utf-8"))
    said = json.loads(recovery(*asked, "--json").stdout)
    assert "today $100" in text
    assert f"The knee is at ${said['steps'][said['knee']]['values'][0]}" in text
    assert f"of {len(said['steps']):,} steps" in text


@pytest.mark.parametrize(
    "asked", [["backtest", "classic"], ["sweep", FRONTLINE, "--from", "0", "--to", "10"]], ids=["backtest", "sweep"]
)
def test_the_page_never_takes_the_place_of_history(tmp_path: Path, asked: list[str]) -> None:
    history = write_history(tmp_path / "history.csv", 10)
    before = history.read_bytes()
    ran = recovery(*asked, "--history", history, "--html", history)
    assert ran.exit_code == 2
    assert history.read_bytes() == before


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", page))
