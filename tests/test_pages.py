"""Pages are one file: nothing of what they are made from becomes markup, and the same figures give the same bytes."""

import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sample_pages import CURVE, every_part

from recovery_cli.pages import charts
from recovery_cli.pages.charts import Pair
from recovery_cli.pages.page import ROWS_AT_MOST, Section, page, paragraph, table

HERE = Path(__file__).resolve().parent
EMPTY = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Parts(HTMLParser):
    """The elements of a page, and whether each is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.ids += [str(value) for name, value in attrs if name == "id"]
        self.links += [str(value) for name, value in attrs if name in ("href", "src", "xlink:href")]
        self._open += [] if tag in EMPTY else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def sample() -> str:
    return every_part()


def test_a_page_asks_for_nothing_and_runs_nothing(sample: str) -> None:
    parts = Parts(sample)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(parts.tags)
    assert [link for link in parts.links if not link.startswith("#")] == []
    assert "@import" not in sample
    assert re.findall(r"url\((?!#)", sample) == []
    assert "default-src 'none'" in sample


def test_nothing_it_is_made_from_becomes_markup(sample: str) -> None:
    assert "<script" not in sample
    shown = page("<i>", "<b>a&b", "\x07<u>", [Section("<s>", [paragraph("<em>")])], "<q>")
    assert not {"i", "b", "u", "s", "em", "q"} & set(Parts(shown).tags)
    assert "\x07" not in shown
    assert "\\x07&lt;u&gt;" in shown


def test_every_id_is_there_once_and_every_link_leads_to_one(sample: str) -> None:
    parts = Parts(sample)
    assert [id for id, times in Counter(parts.ids).items() if times > 1] == []
    wanted = {link[1:] for link in parts.links} | set(re.findall(r"url\(#([^)]+)\)", sample))
    assert wanted <= set(parts.ids)


def test_the_same_figures_give_the_same_bytes(sample: str) -> None:
    code = "from sample_pages import every_part; import sys; sys.stdout.buffer.write(every_part().encode())"
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True, cwd=HERE)
    assert again.stdout == sample.encode()


def test_no_chart_has_a_colour_or_a_font_of_its_own(sample: str) -> None:
    drawn = "".join(re.findall(r"<svg.*?</svg>", sample, re.DOTALL))
    assert re.findall(r"#[0-9a-f]{3,8}\b(?!-)", re.sub(r'url\(#[^)]*\)|href="#[^"]*"', "", drawn)) == []
    assert "DejaVu" not in drawn
    assert {"var(--draft)", "var(--then)", "var(--mark)", "var(--wider)"} <= set(re.findall(r"var\(--\w+\)", drawn))


def test_texts_in_charts_are_texts_and_amounts_are_no_formulas(sample: str) -> None:
    assert "8,310 with the draft" in Parts(sample).texts
    drawn = charts.before_after("a", [Pair("$20.00 or $30.00\x00", 1, 2)], charts.number, "then", "now")
    assert [text for text in Parts(drawn.wide).texts if "$" in text] == ["$20.00 or $30.00\\x00"]


def test_two_charts_have_no_id_in_common() -> None:
    def drawn(name: str) -> str:
        both = charts.step_curve(name, CURVE, [], charts.money("USD"), charts.share)
        return both.wide + both.narrow

    both = Parts(drawn("one") + drawn("two")).ids
    assert len(both) == len(set(both)) > 0


def test_very_many_steps_keep_their_extremes() -> None:
    steps = [(at, 0.5) for at in range(100_000)]
    flat = charts.step_curve("many", steps, [], charts.money("USD"), charts.share)
    steps[54_321] = (54_321, 0.9)
    steep = charts.step_curve("many", steps, [], charts.money("USD"), charts.share)
    assert {"80%", "90%"} & set(Parts(steep.wide).texts)
    assert not {"80%", "90%"} & set(Parts(flat.wide).texts)
    assert len(steep.wide) < 60_000


def test_a_table_says_how_many_rows_it_leaves_out() -> None:
    rows = [[f"C-{at}"] for at in range(ROWS_AT_MOST + 2)]
    assert "2 more rows" in table("Cases", ["case"], rows)
    assert "more row" not in table("Cases", ["case"], rows[:ROWS_AT_MOST])


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (charts.share(0.8314), "83.1%"),
        (charts.points(0.0123), "+1.2 points"),
        (charts.points(-0.0123), "-1.2 points"),
        (charts.points(0.00001), "0.0 points"),
        (charts.number(1200), "1,200"),
        (charts.number(12.34), "12.3"),
        (charts.money("USD")(7500), "$75"),
        (charts.money("USD")(1850), "$18.50"),
        (charts.money("JPY")(100), "¥100"),
    ],
)
def test_figures_are_written_as_people_write_them(said: str, meant: str) -> None:
    assert said == meant
