"""A document as Markdown that reads as text and as GitHub shows it, with its pictures as files beside it."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from harness.report.document import (
    Block,
    Commands,
    Document,
    Figure,
    Files,
    Items,
    Notice,
    Section,
    Source,
    Table,
    Terms,
    Text,
)
from harness.report.text import (
    LONGEST_PARAGRAPH,
    code_block,
    link_text,
    markdown,
    one_line,
    paragraph,
    shortened,
)

LONGEST_TABLE = 24
"""Rows that are shown at once; a longer table is folded behind its caption."""


def render(document: Document) -> str:
    """The document's text; a figure NAME is at ``NAME.png`` and ``NAME.svg``, a table at ``tables/NAME``."""
    parts = [f"# {markdown(shortened(document.title))}", *_contents(document)]
    for section in document.sections:
        parts += _section(section, 2)
    return "\n\n".join(parts) + "\n"


def _contents(document: Document) -> Iterator[str]:
    """Links to the sections, by the anchors that GitHub and its like give their headings."""
    taken = Counter([_anchor(document.title)])
    links = []
    for section in document.sections:
        for depth, title in _titles(section, 0):
            anchor = _anchor(title)
            number = taken[anchor]
            taken[anchor] += 1
            if depth == 0:
                links.append(f"[{link_text(shortened(title))}](#{anchor}{f'-{number}' if number else ''})")
    if len(links) > 1:
        yield " · ".join(links)


def _titles(section: Section, depth: int) -> Iterator[tuple[int, str]]:
    yield depth, section.title
    for part in section.parts:
        yield from _titles(part, depth + 1)


def _anchor(title: str) -> str:
    return re.sub(r"[^\w -]", "", shortened(title).lower()).replace(" ", "-")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[bool]) -> str:
    """A Markdown table of texts that are Markdown already; columns are aligned left or right."""
    rule = ["---" if aligned else "---:" for aligned in left]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def _section(section: Section, level: int) -> Iterator[str]:
    yield f"{'#' * min(level, 6)} {markdown(shortened(section.title))}"
    for block in section.blocks:
        yield from _block(block)
    for part in section.parts:
        yield from _section(part, level + 1)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Text(text):
            yield paragraph(_whole(text))
        case Notice(text):
            yield f"**{markdown(_whole(text))}**"
        case Items(texts):
            yield "\n".join(f"- {paragraph(_whole(text))}" for text in texts)
        case Terms(terms):
            yield "\n".join(f"- *{markdown(term)}*: {markdown(_whole(text))}" for term, text in terms)
        case Commands(lines):
            yield code_block(lines, "console")
        case Files(files):
            yield "\n".join(f"- [{link_text(name)}]({name}): {markdown(what)}" for name, what in files)
        case Figure():
            caption = shortened(block.caption)
            yield f"![{link_text(caption)}]({block.name}.png)"
            yield f"{paragraph(caption)} ([SVG]({block.name}.svg))"
            yield from _source(block.source)
        case Table():
            yield from _table(block)
            yield from _source(block.source)


def _whole(text: str) -> str:
    """A paragraph of any length that people write; only a foreign text in it makes it longer."""
    return shortened(text, LONGEST_PARAGRAPH)


def _table(block: Table) -> Iterator[str]:
    files = f"([CSV](tables/{block.name}.csv), [LaTeX](tables/{block.name}.tex))"
    shown = table(
        [markdown(shortened(column.title)) for column in block.columns],
        [[markdown(shortened(cell.text)) for cell in row] for row in block.rows],
        [not column.numeric for column in block.columns],
    )
    if len(block.rows) <= LONGEST_TABLE:
        yield f"{paragraph(shortened(block.caption))} {files}"
        yield shown
    else:
        yield _folded(f"{shortened(block.caption)} {len(block.rows)} rows", f"{shown}\n\n{files}")


def _source(source: Source) -> Iterator[str]:
    if source.records or source.measure:
        lines = ["# the records"] * bool(source.records) + list(source.records)
        lines += ["# measured by"] * bool(source.measure) + list(source.measure)
        yield _folded("Where these numbers come from", code_block(lines, "console"))


def _folded(summary: str, content: str) -> str:
    """A part that opens on a click; the blank lines let Markdown read what is inside."""
    shown = html.escape(one_line(summary), quote=False)
    return f"<details><summary>{shown}</summary>\n\n{content}\n\n</details>"
