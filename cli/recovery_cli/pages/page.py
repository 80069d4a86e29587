"""What every page is built from: the skeleton, the look, and the parts that reports are written in.

A page is one file. It fetches nothing and runs nothing, and its content security policy forbids both.
"""

import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import NamedTuple

from markupsafe import Markup

from recovery_cli.render import count, plain

ROWS_AT_MOST = 200
"""Rows of a table that a page shows; how many are left out is said below it."""

_WHOLE = 20
"""Letters of a word, a day or a number that is not broken into lines in a table."""
_FIGURE = Markup(' class="figure"')


class Tile(NamedTuple):
    """One figure that matters: what it is, its value, and what to hold it against."""

    name: str
    value: str
    beside: str = ""


class Drawing(NamedTuple):
    """A chart as inline SVG, drawn once for a wide page and once for a phone."""

    wide: Markup
    narrow: Markup


class Section(NamedTuple):
    """A part of a page under a heading of its own."""

    heading: str
    parts: Sequence[Markup]


def page(kind: str, title: str, lead: str, sections: Sequence[Section], made_from: str) -> str:
    """The whole page: *kind* stands above the title, *lead* is the answer in a sentence, *made_from* the last line."""
    anchors = [f"{number}-{anchor(section.heading)}" for number, section in enumerate(sections, 1)]
    links = [made('<li><a href="#{}">{}</a></li>', at, one.heading) for at, one in zip(anchors, sections, strict=True)]
    return str(
        made(
            _SKELETON,
            style=Markup(files("recovery_cli.pages").joinpath("style.css").read_text(encoding="utf-8")),
            kind=kind,
            title=title,
            lead=lead,
            nav=made('<nav aria-label="On this page"><ul>{}</ul></nav>', joined(links)) if len(links) > 2 else "",
            main=joined(
                made(
                    '<section aria-labelledby="{0}"><h2 id="{0}">{1}</h2>\n{2}</section>\n',
                    at,
                    one.heading,
                    joined(one.parts),
                )
                for at, one in zip(anchors, sections, strict=True)
            ),
            made_from=made_from,
        )
    )


def tiles(figures: Iterable[Tile]) -> Markup:
    """The few figures that matter, large."""
    shown = (
        made(
            "<div><dt>{}</dt><dd><b>{}</b>{}</dd></div>",
            one.name,
            one.value,
            made(" <span>{}</span>", one.beside) if one.beside else "",
        )
        for one in figures
    )
    return made('<dl class="tiles">{}</dl>\n', joined(shown))


def paragraph(text: str | Markup) -> Markup:
    """A paragraph of text."""
    return made("<p>{}</p>\n", text)


def sentence(text: str) -> str:
    """What is said in lower case elsewhere, as a sentence of a page."""
    return f"{text[:1].upper()}{text[1:]}."


def listed(lines: Iterable[str | Markup]) -> Markup:
    """A list of sentences."""
    return made("<ul>{}</ul>\n", joined(made("<li>{}</li>", line) for line in lines))


def coloured(direction: str, text: str) -> Markup:
    """A text in the colour of a direction: wider, narrower or sideways, which the text says too."""
    return made('<span class="{}">{}</span>', direction, text)


def code(text: str) -> Markup:
    """Something to copy, such as a request for `what-if`."""
    words = (made('<span class="whole">{}</span>' if len(word) <= _WHOLE else "{}", word) for word in text.split(" "))
    return made("<code>{}</code>", Markup(" ").join(words))


def note(heading: str, *parts: Markup) -> Markup:
    """What a reader must know before believing the rest."""
    return made('<aside class="note"><h3>{}</h3>{}</aside>\n', heading, joined(parts))


def card(heading: str | Markup, *pairs: tuple[str, str | Markup]) -> Markup:
    """One thing with what there is to say about it, name by name."""
    named = joined(made("<dt>{}</dt><dd>{}</dd>", name, value) for name, value in pairs)
    return made('<article class="card"><h3>{}</h3><dl>{}</dl></article>\n', heading, named)


def details(summary: str, *parts: Markup) -> Markup:
    """What only some readers want: opened by a click or by Enter; printed where it is open."""
    return made("<details><summary>{}</summary>{}</details>\n", summary, joined(parts))


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str | Markup]], figures: int = 0) -> Markup:
    """A table whose first column names the row, and whose last *figures* columns hold figures."""
    words = len(columns) - figures
    head = joined(
        made('<th scope="col"{}>{}</th>', _FIGURE if at >= words else "", name) for at, name in enumerate(columns)
    )
    body = joined(
        made("<tr>{}</tr>\n", joined(_cell(at, cell, at >= words) for at, cell in enumerate(row)))
        for row in rows[:ROWS_AT_MOST]
    )
    left_out = len(rows) - ROWS_AT_MOST
    return made(
        '<div class="scroll" role="region" aria-label="{caption}" tabindex="0"><table><caption>{caption}</caption>\n'
        "<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n{rest}",
        caption=caption,
        head=head,
        body=body,
        rest=paragraph(f"{count(left_out, 'more row')} not shown here; --json has every one.") if left_out > 0 else "",
    )


def _cell(at: int, cell: str | Markup, is_figure: bool) -> Markup:
    whole = len(cell) <= _WHOLE and " " not in cell
    kind = _FIGURE if is_figure else Markup(' class="whole"') if whole else ""
    return made('<th scope="row"{}>{}</th>' if at == 0 else "<td{}>{}</td>", kind, cell)


def chart(title: str, in_words: str, drawing: Drawing, behind: Markup) -> Markup:
    """A chart with what it shows in words, for everybody, and the figures *behind* it in a table."""
    shown = (
        made('<div class="{}" role="img" aria-label="{}: {}">{}</div>', size, title, in_words, svg)
        for size, svg in (("wide", drawing.wide), ("narrow", drawing.narrow))
    )
    return made(
        '<figure><figcaption><h3>{}</h3><p>{}</p></figcaption>\n{}\n{}</figure>\n',
        title, in_words, joined(shown), details("The figures behind this picture", behind),
    )  # fmt: skip


def anchor(heading: str) -> str:
    """A heading as the id of its place."""
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def joined(parts: Iterable[Markup]) -> Markup:
    """Parts one after the other."""
    return Markup("").join(parts)


def made(form: str, *parts: str | Markup, **named: str | Markup) -> Markup:
    """*form* with its parts in their places: text escaped and without control characters, markup as it is."""
    return Markup(form).format(*map(_fit, parts), **{name: _fit(part) for name, part in named.items()})


def _fit(part: str | Markup) -> str | Markup:
    return part if isinstance(part, Markup) else plain(part)


_SKELETON = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} &ndash; {kind}</title>
<style>
{style}</style>
</head>
<body>
<header><p class="kind">{kind}</p><h1>{title}</h1><p class="lead">{lead}</p></header>
{nav}
<main>
{main}</main>
<footer><p>{made_from}</p></footer>
</body>
</html>
"""
