"""The authority card as one HTML page: printed on A4 it hangs behind the counter, on a screen it is light or dark."""

from collections.abc import Iterable
from html import escape

from recovery_engine import Card, CardSection, CardTable

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6470; --line: #d0d5db; --paper: #ffffff; --band: #f1f4f7;
        --mark: #0a6b4b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --soft: #9aa3ad; --line: #3a424b; --paper: #15181c; --band: #20252b; --mark: #5fd3a6; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem; max-width: 60rem; background: var(--paper); color: var(--ink);
       font: 16px/1.45 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { margin: 0; font-size: 1.9rem; }
h2 { margin: 1.6rem 0 .4rem; font-size: 1.1rem; }
.soft, .id { color: var(--soft); }
.id { font-size: .78rem; font-weight: 400; margin-left: .5rem; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; table-layout: fixed; }
th, td { padding: .5rem .7rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child { text-align: left; font-weight: 500; }
thead th { background: var(--band); font-weight: 600; }
td { font-size: 1.15rem; font-weight: 600; font-variant-numeric: tabular-nums; }
td.not { color: var(--soft); font-weight: 400; font-size: 1rem; }
td.free { color: var(--mark); }
.sections { columns: 22rem 2; column-gap: 2.5rem; margin-top: 1.6rem; }
.sections section { padding-bottom: 1.2rem; }
.sections h2 { margin-top: 0; }
section { break-inside: avoid; }
ul { margin: 0; padding-left: 1.1rem; }
li { margin: .25rem 0; }
footer { margin-top: 2rem; padding-top: .6rem; border-top: 1px solid var(--line); font-size: .78rem;
         color: var(--soft); overflow-wrap: anywhere; }
@page { size: A4; margin: 13mm; }
@media print {
  :root { --ink: #000; --soft: #444; --line: #999; --paper: #fff; --band: #eee; --mark: #000; color-scheme: light; }
  body { padding: 0; max-width: none; font-size: 9.5pt; line-height: 1.35; }
  h1 { font-size: 20pt; }
  h2 { font-size: 11.5pt; margin-top: 4mm; }
  header p { margin: 1mm 0; }
  table { min-width: 0 !important; }
  th, td { padding: 1.4mm 2mm; overflow-wrap: break-word; }
  td { font-size: 12pt; }
  footer { margin-top: 3mm; }
  .sections { margin-top: 4mm; }
  .sections section { padding-bottom: 2.5mm; }
  thead th { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  table, section, footer { break-inside: avoid; }
  .sections { columns: 2; }
}
"""

NO_AMOUNT = {"": ("as in all", "not"), "not at all": ("not at all", "not"), "unlimited": ("unlimited", "free")}


def page(card: Card) -> str:
    """The whole page; nothing on it is fetched from anywhere."""
    title = escape(_title(card))
    dated = escape(" ".join(part for part in (card.version, card.days) if part))
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}: who may give what</title>",
        f"<style>{STYLE}</style></head><body>",
        f'<header><h1>{title}</h1><p class="soft">Who may give what, on the spot. {dated}</p></header>',
        *(_table(card, table) for table in card.tables),
        '<div class="sections">',
        *(_section(section) for section in card.sections),
        "</div>",
        f"<footer>{escape(card.policy)} {dated} &middot; policy {escape(card.digest)}</footer>",
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _title(card: Card) -> str:
    words = card.policy.replace("-", " ").replace("_", " ")
    return words[:1].upper() + words[1:]


def _table(card: Card, table: CardTable) -> str:
    heading = f"Where {table.when}" if table.when else "May give alone, for one case"
    roles = "".join(f'<th scope="col">{escape(role)}</th>' for role in card.ladder)
    rows = "".join(_row(name, cells) for name, cells in table.rows)
    width = 8 + 7 * len(card.ladder)
    why = f'<p class="soft">{escape(table.why)}</p>' if table.why else ""
    return (
        f"<section><h2>{escape(heading)}{_id(table.line)}</h2>"
        f'<div class="scroll"><table style="min-width: {width}rem">'
        f'<thead><tr><th scope="col"></th>{roles}</tr></thead><tbody>{rows}</tbody></table></div>{why}</section>'
    )


def _row(name: str, cells: Iterable[str]) -> str:
    return f'<tr><th scope="row">{escape(name)}</th>{"".join(_cell(cell) for cell in cells)}</tr>'


def _cell(cell: str) -> str:
    text, kind = NO_AMOUNT.get(cell, (cell, ""))
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"


def _section(section: CardSection) -> str:
    lines = "".join(f"<li>{escape(text)}{_id(line_to_name(line, text))}</li>" for line, text in section.lines)
    return f"<section><h2>{escape(section.heading)}</h2><ul>{lines}</ul></section>"


def line_to_name(line: str, sentence: str) -> str:
    """The id to print beside a sentence: none where the sentence begins with it anyway."""
    return "" if sentence.startswith(line.replace("_", " ")) else line


def _id(line: str) -> str:
    return f'<span class="id">{escape(line)}</span>' if line else ""
