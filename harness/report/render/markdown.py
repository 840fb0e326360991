"""A document as Markdown, with its pictures as files beside it."""

from __future__ import annotations

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
from harness.report.text import code, markdown


def render(document: Document) -> str:
    """The document's text; a figure NAME is at ``NAME.png`` and ``NAME.svg``."""
    parts = [f"# {markdown(document.title)}"]
    for section in document.sections:
        parts += _section(section, 2)
    return "\n\n".join(parts) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[bool]) -> str:
    """A Markdown table of texts that are Markdown already; columns are aligned left or right."""
    rule = ["---" if aligned else "---:" for aligned in left]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def _section(section: Section, level: int) -> Iterator[str]:
    yield f"{'#' * level} {markdown(section.title)}"
    for block in section.blocks:
        yield from _block(block)
    for part in section.parts:
        yield from _section(part, level + 1)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Text(text):
            yield markdown(text)
        case Notice(text):
            yield f"**{markdown(text)}**"
        case Items(texts):
            yield "\n".join(f"- {markdown(text)}" for text in texts)
        case Terms(terms):
            yield "\n".join(f"- *{markdown(term)}*: {markdown(text)}" for term, text in terms)
        case Commands(lines):
            yield "```console\n" + "\n".join(lines) + "\n```"
        case Files(files):
            yield "\n".join(f"- [{markdown(name)}]({name}): {markdown(what)}" for name, what in files)
        case Figure():
            caption = markdown(block.caption)
            yield f"![{caption}]({block.name}.png)\n\n{caption} ([SVG]({block.name}.svg))"
            yield from _source(block.source)
        case Table():
            yield markdown(block.caption)
            yield table(
                [markdown(column.title) for column in block.columns],
                [[markdown(cell.text) for cell in row] for row in block.rows],
                [not column.numeric for column in block.columns],
            )
            yield from _source(block.source)


def _source(source: Source) -> Iterator[str]:
    if source.records:
        yield "Records: " + ", ".join(code(line) for line in source.records)
