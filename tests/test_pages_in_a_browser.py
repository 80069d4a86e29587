"""Pages as a browser shows them: on a desk, on a phone, in the dark, on paper, by keyboard and to a screen reader."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from browser import MISSING, WIDTHS, Tab, browser, opened_browser
from sample_pages import every_part, of_a_diff, of_history

pytestmark = [pytest.mark.slow, pytest.mark.skipif(browser() is None, reason=MISSING)]

PAGES = {"every part": every_part, "a diff": of_a_diff} | {
    f"a {report}": partial(of_history, report) for report in ("back-test", "sample", "sweep", "two limits")
}

ENOUGH_FOR_TEXT, ENOUGH_FOR_LARGE_TEXT, ENOUGH_FOR_SHAPES = 4.5, 3.0, 3.0
"""Least ratios of luminance. Source: WCAG 2.2, 1.4.3 and 1.4.11."""

# What is on the page, measured where it is: [text, colour, background, pixels of its letters].
CONTRASTS = """
(() => {
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (colour !== 'rgba(0, 0, 0, 0)') return colour;
    }
  };
  const seen = node => node.getClientRects().length > 0;
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement, look = getComputedStyle(node);
    if (walker.currentNode.data.trim() && seen(node))
      found.push([walker.currentNode.data, node.closest('svg') ? look.fill : look.color, behind(node),
                  parseFloat(look.fontSize)]);
  }
  for (const node of document.querySelectorAll('svg path, svg use, svg line, svg rect, svg circle')) {
    const look = getComputedStyle(node), style = node.getAttribute('style') || '';
    if (!seen(node) || node.closest('defs')) continue;
    for (const [part, of] of [['fill', look.fill], ['stroke', look.stroke]])
      if (of !== 'none' && !new RegExp(part + ': var\\\\(--(line|paper)\\\\)').test(style) && style.includes(part))
        found.push(['shape ' + style, of, behind(node), 0]);
  }
  return found;
})()
"""

DRAWINGS = """
[...document.querySelectorAll('figure')].map(figure => {
  const shown = [...figure.querySelectorAll('[role=img]')].filter(one => one.getClientRects().length);
  return shown.map(one => {
    const box = one.querySelector('svg').getBoundingClientRect();
    return [one.getAttribute('aria-label'), box.width, box.height];
  });
})
"""

TOO_WIDE = """
[...document.querySelectorAll('body *')]
  .filter(node => !node.closest('.scroll') && node.getClientRects().length && !node.closest('defs, clipPath'))
  .filter(node => !node.closest('svg') || node.tagName === 'text')
  .filter(node => node.getBoundingClientRect().right > screen.width + 0.5 || node.getBoundingClientRect().left < -0.5)
  .map(node => node.tagName + ' ' + node.textContent.slice(0, 60))
"""

TEXTS_OVER_TEXTS = """
[...document.querySelectorAll('svg')].flatMap(svg => {
  const texts = [...svg.querySelectorAll('text')].filter(text => text.getClientRects().length)
    .map(text => [text.textContent, text.getBoundingClientRect()]);
  return texts.flatMap(([one, a], at) => texts.slice(at + 1)
    .filter(([_, b]) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
                        Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4)
    .map(([other, _]) => one + ' over ' + other));
})
"""

HEADINGS = "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(node => Number(node.tagName[1]))"

# A browser may go round without leaving the page.
NEW_FOCUS = "document.activeElement !== document.body && !document.activeElement.dataset.reached"
ON_FOCUS = """
(() => {
  const node = document.activeElement, look = getComputedStyle(node);
  node.dataset.reached = "yes";
  return [node.tagName, node.textContent.slice(0, 40), look.outlineStyle, parseFloat(look.outlineWidth)];
})()
"""


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with opened_browser() as tab:
        yield tab


@pytest.fixture(scope="module", params=PAGES)
def shown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(PAGES[request.param](), encoding="utf-8")
    return path


def luminance(colour: str) -> float:
    """Of ``rgb(26, 86, 176)``. Source: WCAG 2.2, relative luminance."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (int(figure) / 255 for figure in re.findall(r"\d+", colour)[:3])
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def too_faint(found: list[Any]) -> set[tuple[str, str, str, float]]:
    """What cannot be told from what is behind it."""

    def enough(pixels: float) -> float:
        return ENOUGH_FOR_SHAPES if not pixels else ENOUGH_FOR_LARGE_TEXT if pixels >= 24 else ENOUGH_FOR_TEXT

    ratios = ((text, colour, behind, pixels, contrast(colour, behind)) for text, colour, behind, pixels in found)
    return {
        (text[:60], colour, behind, ratio) for text, colour, behind, pixels, ratio in ratios if ratio < enough(pixels)
    }


def test_it_opens_offline_and_asks_for_nothing(tab: Tab, shown: Path) -> None:
    tab.requests.clear()
    tab.complaints.clear()
    tab.open(shown)
    assert tab.requests == [shown.as_uri()]
    assert tab.complaints == []
    assert tab.script("document.documentElement.lang") == "en"
    assert tab.script("document.title")


@pytest.mark.parametrize("width", WIDTHS)
def test_every_chart_is_seen_once_and_has_a_name(tab: Tab, shown: Path, width: str) -> None:
    tab.open(shown, WIDTHS[width])
    drawings = tab.script(DRAWINGS)
    assert drawings
    for [(name, wide, high)] in drawings:
        assert name
        assert wide > 0.8 * min(WIDTHS[width] - 32, 900)
        assert high > 60
    told = [name for role, name in tab.named() if role in ("image", "img")]
    assert told == [name for [(name, _, _)] in drawings]


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out_and_no_text_lies_over_another(tab: Tab, shown: Path, width: str) -> None:
    tab.open(shown, WIDTHS[width])
    assert tab.script("document.documentElement.scrollWidth") <= WIDTHS[width]
    assert tab.script(TOO_WIDE) == []
    assert tab.script(TEXTS_OVER_TEXTS) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_texts_in_charts_are_large_enough_to_read(tab: Tab, shown: Path, width: str) -> None:
    tab.open(shown, WIDTHS[width])
    heights = "[...document.querySelectorAll('svg text')].map(text => text.getBoundingClientRect().height)"
    assert min(height for height in tab.script(heights) if height) > 11


@pytest.mark.parametrize("look", ["light", "dark", "paper"])
def test_everything_can_be_told_from_what_is_behind_it(tab: Tab, shown: Path, look: str) -> None:
    tab.open(shown, dark=look != "light", media="print" if look == "paper" else "")
    found = tab.script(CONTRASTS)
    assert {pixels for _, _, _, pixels in found} > {0}
    assert too_faint(found) == set()


def test_the_dark_page_is_dark_and_paper_is_white(tab: Tab, shown: Path) -> None:
    behind = "getComputedStyle(document.body).backgroundColor"
    tab.open(shown)
    assert luminance(tab.script(behind)) > 0.9
    inks = {colour for _, colour, _, _ in tab.script(CONTRASTS)}
    tab.look(dark=True)
    assert luminance(tab.script(behind)) < 0.05
    assert inks & {colour for _, colour, _, _ in tab.script(CONTRASTS)} == set()
    tab.look(dark=True, media="print")
    assert tab.script(behind) == "rgb(255, 255, 255)"


def test_headings_go_down_one_step_at_a_time(tab: Tab, shown: Path) -> None:
    tab.open(shown)
    levels = tab.script(HEADINGS)
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_table_says_what_it_is_and_what_its_heads_are_for(tab: Tab, shown: Path) -> None:
    tab.open(shown)
    assert tab.script("document.querySelectorAll('table').length > 0")
    assert tab.script("document.querySelectorAll('table:not(:has(> caption:not(:empty)))').length") == 0
    assert tab.script("document.querySelectorAll('th:not([scope=col], [scope=row])').length") == 0
    assert tab.script("document.querySelectorAll('tr:not(:has(th))').length") == 0


def test_the_keyboard_reaches_everything_that_opens_and_scrolls(tab: Tab, shown: Path) -> None:
    tab.open(shown)
    reached: list[list[Any]] = []
    while (tab.press("Tab") or True) and tab.script(NEW_FOCUS):
        reached.append(tab.script(ON_FOCUS))
        if reached[-1][0] == "SUMMARY":
            tab.press("Enter")
    assert [text for tag, text, style, width in reached if style == "none" or width < 2] == []
    tags = [tag for tag, *_ in reached]
    assert tags.count("SUMMARY") == tab.script("document.querySelectorAll('details').length") > 0
    assert tags.count("A") == tab.script("document.querySelectorAll('a').length")
    assert tags.count("DIV") == tab.script("document.querySelectorAll('.scroll').length")
    assert tab.script("document.querySelectorAll('details:not([open])').length") == 0


def test_it_prints_on_a_few_sheets_of_a4(tab: Tab, shown: Path) -> None:
    tab.open(shown)
    printed = tab.printed()
    sheets = re.findall(rb"/Type /Page\b", printed)
    figures, cards = (tab.script(f"document.querySelectorAll('{one}').length") for one in ("figure", ".card"))
    assert 1 <= len(sheets) <= 2 + figures + cards / 3
    sizes = {tuple(map(float, box.split())) for box in re.findall(rb"/MediaBox \[([^\]]+)\]", printed)}
    assert {(round(wide), round(high)) for _, _, wide, high in sizes} == {(595, 842)}


# --- the checks bite ---


def test_what_is_too_faint_is_noticed() -> None:
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    grey, white = "rgb(150, 150, 150)", "rgb(255, 255, 255)"
    assert too_faint([["text", grey, white, 14.0]])
    assert too_faint([["shape", "rgb(211, 216, 222)", white, 0]])
    assert not too_faint([["text", "rgb(89, 98, 109)", white, 14.0]])


SPOILT: dict[str, tuple[str, str, Callable[[Tab], object]]] = {
    "a picture from elsewhere": (
        "<main>",
        '<main><img src="https://example.org/a.png" alt="">',
        lambda tab: tab.complaints,
    ),
    "a script": ("<main>", "<main><script>1</script>", lambda tab: tab.complaints),
    "something too wide": ("<main>", '<main><p style="width: 2000px">a</p>', lambda tab: tab.script(TOO_WIDE)),
    "a text over another": (
        "<main>",
        '<main><svg viewBox="0 0 99 9"><text y="9">one</text><text y="9">two</text></svg>',
        lambda tab: tab.script(TEXTS_OVER_TEXTS),
    ),
    "a shape too faint": ("--then: #69737f", "--then: #dddddd", lambda tab: too_faint(tab.script(CONTRASTS))),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_page_is_noticed(tab: Tab, tmp_path: Path, what: str) -> None:
    place, spoilt, noticed = SPOILT[what]
    path = tmp_path / "page.html"
    path.write_text(every_part().replace(place, spoilt, 1), encoding="utf-8")
    tab.complaints.clear()
    tab.open(path, WIDTHS["phone"])
    assert noticed(tab)
