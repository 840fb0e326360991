"""What a report says before it is Markdown, HTML or LaTeX: sections of blocks of plain text.

No block holds markup. Names, messages and answers come from plugins and models and may hold anything; each
renderer in ``harness.report.render`` makes them harmless in its own language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from harness.report.plots.model import Plot
from harness.report.text import NO_DATA


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table: what is shown, and the number that it is sorted by where the text is none."""

    text: str
    key: float | None = None


Row = tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column's head; ``numeric`` ones are aligned right and sorted by number."""

    title: str
    numeric: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a block's numbers come from: the commands that list its records, and those that measure them."""

    records: tuple[str, ...] = ()
    measure: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table under a name that is a file's stem; ``methods`` says whose each row is, to switch it off."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    methods: tuple[str | None, ...] = ()
    source: Source = Source()

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.columns)]
        assert not wrong, (
            f"table {self.name!r}: a row has {len(wrong[0])} cells for {len(self.columns)} columns"
        )
        assert not self.methods or len(self.methods) == len(self.rows), self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A plot under a name that is a file's stem."""

    name: str
    caption: str
    plot: Plot
    source: Source = Source()


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A paragraph that must not be overlooked."""

    text: str


@dataclass(frozen=True, slots=True)
class Items:
    """A list of sentences."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """Words with their explanations."""

    terms: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Commands:
    """Command lines to copy."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Files:
    """Files beside the report, by name, with what they hold."""

    files: tuple[tuple[str, str], ...]


Block = Table | Figure | Text | Notice | Items | Terms | Commands | Files


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A titled part with blocks first and parts of its own after them.

    What is ``folded`` stands behind its title on a page until it is opened.
    """

    title: str
    folded: bool = False
    blocks: tuple[Block, ...] = ()
    parts: tuple[Section, ...] = ()

    def walk(self) -> Iterator[Block]:
        """Every block in reading order."""
        yield from self.blocks
        for part in self.parts:
            yield from part.walk()

    def mapped(self, change: Callable[[Block], Block]) -> Section:
        """The same with every block changed."""
        blocks = tuple(change(block) for block in self.blocks)
        return replace(self, blocks=blocks, parts=tuple(part.mapped(change) for part in self.parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A whole report; ``methods`` are (label, registered name) of all that occur, in the order of legends."""

    title: str
    sections: tuple[Section, ...]
    methods: tuple[tuple[str, str], ...] = field(default=())

    def walk(self) -> Iterator[Block]:
        """Every block in reading order."""
        for section in self.sections:
            yield from section.walk()

    def mapped(self, change: Callable[[Block], Block]) -> Document:
        """The same with every block changed."""
        return replace(self, sections=tuple(section.mapped(change) for section in self.sections))


def cell(text: str, key: float | None = None) -> Cell:
    """A cell; an empty text is shown as no data."""
    return Cell(text or NO_DATA, key)
