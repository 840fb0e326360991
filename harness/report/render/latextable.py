"""Tables for LaTeX: a bare ``tabular`` for papers, and long tables that are fitted to the page.

A column of numbers whose decimal points would not stand below each other is set as ``r@{}l``, split before
the point: what stands behind it, an interval for instance, may be any text.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from harness.report.document import Table
from harness.report.render.latextext import latex, width
from harness.report.text import shortened

MARK = "% A table of a harness report; it needs \\usepackage[T1]{fontenc} and \\usepackage{array,booktabs}."
"""The first line of every file with a table, by which a later report knows its own."""

PORTRAIT_PT, LANDSCAPE_PT = 470.0, 710.0
GAP_PT = 8.0
SIZES = (("footnotesize", 8.0), ("scriptsize", 7.0))
LONGEST_CELL, LONGEST_HEAD = 300, 100
PROSE_PT, LEAST_PROSE_PT = 150.0, 85.0
"""A column of words is broken where it would be wider than the first, and never narrower than the second."""
_LONGEST_UNBROKEN = 12
_SHORTEST_HEAD = 8
"""Characters that a line of a column's head may always have."""
_LONGEST_WHOLE = 24
"""Characters of a part of a name, or of a word, from which on it is broken anywhere."""
_NAME_PARTS = re.compile(r" |(?<=[_:/.+-])")
_NUMBER = re.compile("([+\N{MINUS SIGN}]?\\d[\\d,]*)(.*)")
_HYPHEN_MINUS = re.compile(r"(?<![\w.-])-(?=\d)")
_INTERVAL = re.compile(r"\[([^\[\], ]+), ([^\[\], ]+)\]")

_Widths = tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column's texts, with ``head`` as the lines of its title where the column has its natural width.

    ``parts`` are the texts before and after the decimal point, None where the column needs no split.
    Widths are in points: ``natural`` of the longest text, ``least`` of the longest piece that is not broken.
    """

    title: str
    head: tuple[str, ...]
    numeric: bool
    texts: tuple[str, ...]
    parts: tuple[tuple[str, str] | None, ...] | None
    natural: float
    least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """How one piece of a table goes on a page; a width of None is the natural one."""

    indexes: tuple[int, ...]
    widths: _Widths
    size: tuple[str, float]
    landscape: bool


def tabular(table: Table) -> str:
    """The table as a file to ``\\input``: nothing but a ``tabular``."""
    size = SIZES[0]
    columns = _columns(table, size[1])
    widths = tuple(PROSE_PT if _prose(column) else None for column in columns)
    fit = _Fit(indexes=tuple(range(len(columns))), widths=widths, size=size, landscape=False)
    lines = [MARK, rf"\begin{{tabular}}{{{_preamble(columns, fit)}}}", r"\toprule", _head(columns, fit)]
    lines += [r"\midrule", *_body(table, columns, fit), r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def long_tables(table: Table, note: str = "") -> Iterator[str]:
    """The table for a report's page: smaller, across or in several pieces where it is wide.

    ``note`` is LaTeX that stands below it, on the same page.
    """
    pieces = _fitted(table)
    for number, fit in enumerate(pieces):
        every = _columns(table, fit.size[1])
        columns = [every[index] for index in fit.indexes]
        caption = shortened(table.caption, LONGEST_CELL)
        caption += f" Columns, part {number + 1} of {len(pieces)}." if len(pieces) > 1 else ""
        count = sum(2 if _split(column, at) else 1 for column, at in zip(columns, fit.widths, strict=True))
        head = _head(columns, fit)
        lines = [
            rf"\begin{{longtable}}{{{_preamble(columns, fit)}}}",
            rf"\caption{{{latex(caption)}}}\\",
            rf"\toprule {head} \midrule \endfirsthead",
            rf"\toprule {head} \midrule \endhead",
            rf"\midrule \multicolumn{{{count}}}{{r@{{}}}}{{continued on the next page}}\\ \endfoot",
            r"\bottomrule \endlastfoot",
            *_body(table, columns, fit),
            r"\end{longtable}",
        ]
        text = "\n".join([rf"{{\{fit.size[0]}", *lines, "}", *([note] if note else [])])
        yield f"\\begin{{landscape}}\n{text}\n\\end{{landscape}}" if fit.landscape else text


def _columns(table: Table, size: float) -> list[_Column]:
    wide = partial(width, size=size)
    columns = []
    for index, column in enumerate(table.columns):
        texts = tuple(_shown(row[index].text, column.numeric) for row in table.rows)
        title = shortened(column.title, LONGEST_HEAD).replace(" %", "\N{NO-BREAK SPACE}%")
        parts = _parts(texts) if column.numeric else None
        natural = max((wide(text) for text in texts), default=0.0)
        if parts is not None:
            pairs = [pair for pair in parts if pair]
            split = max(wide(pair[0]) for pair in pairs) + max(wide(pair[1]) for pair in pairs)
            natural = max(natural, split)
        pieces = [piece for text in (*texts, title) for piece in text.split(" ")]
        least = max((wide(piece) for piece in pieces if len(piece) <= _LONGEST_UNBROKEN), default=0.0)
        if any(len(piece) > _LONGEST_UNBROKEN for piece in pieces):
            kept = [piece for piece in pieces if "\N{NO-BREAK SPACE}" in piece and len(piece) < 24]
            least = max(least, wide("m" * _LONGEST_UNBROKEN), *(wide(piece) for piece in kept), 0.0)
        natural = max(natural, *(wide(word) for word in title.split(" ") if len(word) < 24), 2 * size)
        whole = [len(part) for part in _NAME_PARTS.split(title) if len(part) < _LONGEST_WHOLE]
        head = _lines(title, max(int(natural / wide("n")), _SHORTEST_HEAD, *whole))
        natural = max(natural, *(wide(line) for line in head), 0.0)
        columns.append(
            _Column(
                title=title,
                head=tuple(head),
                numeric=column.numeric,
                texts=texts,
                parts=parts,
                natural=natural,
                least=min(least, natural),
            )
        )
    return columns


def _lines(title: str, most: int) -> list[str]:
    """A column's title in lines of at most ``most`` characters: between words, else behind the signs that
    names are made with, else anywhere."""
    lines: list[str] = []
    for line in textwrap.wrap(title, most, break_long_words=False, break_on_hyphens=False):
        parts = [line] if len(line) <= most else [part for part in _NAME_PARTS.split(line) if part]
        row = ""
        for part in parts:
            if row and len(row + part) > most:
                lines += textwrap.wrap(row, most, break_on_hyphens=False)
                row = ""
            row += part
        lines += textwrap.wrap(row, most, break_on_hyphens=False)
    return lines


def _shown(text: str, numeric: bool) -> str:
    """The text of a cell; numbers with a minus sign, their intervals in one piece."""
    line = shortened(text, LONGEST_CELL)
    if numeric:
        line = _HYPHEN_MINUS.sub("\N{MINUS SIGN}", line)
        line = _INTERVAL.sub("[\\1,\N{NO-BREAK SPACE}\\2]", line)
    return line


def _parts(texts: Sequence[str]) -> tuple[tuple[str, str] | None, ...] | None:
    """Every text before and after its decimal point, None for what is no number.

    None for all where they stand below each other without: where what follows is equally long everywhere.
    """
    found = [_NUMBER.fullmatch(text) for text in texts]
    parts = tuple((match[1], match[2]) if match else None for match in found)
    lengths = {len(part[1]) for part in parts if part}
    return parts if len(lengths) > 1 else None


def _prose(column: _Column) -> bool:
    return not column.numeric and column.natural > PROSE_PT


def _split(column: _Column, at: float | None) -> bool:
    return column.parts is not None and at is None


def _fitted(table: Table) -> list[_Fit]:
    """The first layout that fits: upright, then across, then with numbers broken as well, then in pieces."""
    for landscape in (False, True):
        for size in SIZES:
            columns = _columns(table, size[1])
            least = [
                column.natural if column.numeric else min(column.natural, LEAST_PROSE_PT)
                for column in columns
            ]
            widths = _shared(columns, least, LANDSCAPE_PT if landscape else PORTRAIT_PT)
            if widths is not None:
                indexes = tuple(range(len(columns)))
                return [_Fit(indexes=indexes, widths=widths, size=size, landscape=landscape)]
    size = SIZES[-1]
    columns = _columns(table, size[1])
    return [
        _Fit(indexes=indexes, widths=widths, size=size, landscape=True)
        for indexes, widths in _pieces(columns)
    ]


def _shared(columns: Sequence[_Column], least: Sequence[float], room: float) -> _Widths | None:
    """Widths within the room, none below its least; the widest are cut first. None where that is too wide."""
    room -= GAP_PT * (len(columns) - 1)
    naturals = [column.natural for column in columns]
    if sum(naturals) <= room and not any(natural > room / 2 for natural in naturals):
        return tuple(None for _ in columns)
    if sum(least) > room:
        return None
    low, high = 0.0, room
    for _ in range(40):
        middle = (low + high) / 2
        total = sum(max(few, min(most, middle)) for few, most in zip(least, naturals, strict=True))
        low, high = (middle, high) if total <= room else (low, middle)
    widths = [max(few, min(most, low)) for few, most in zip(least, naturals, strict=True)]
    return tuple(None if given >= most else given for given, most in zip(widths, naturals, strict=True))


def _pieces(columns: Sequence[_Column]) -> list[tuple[tuple[int, ...], _Widths]]:
    """Groups of columns that fit across, the first column in each of them."""
    least = [min(column.least, LEAST_PROSE_PT) for column in columns]
    pieces: list[tuple[tuple[int, ...], _Widths]] = []
    group = [0]
    for index in range(1, len(columns)):
        needed = sum(least[at] + GAP_PT for at in (*group, index))
        if needed > LANDSCAPE_PT and len(group) > 1:
            pieces.append(_piece(columns, least, group))
            group = [0]
        group.append(index)
    return [*pieces, _piece(columns, least, group)]


def _piece(
    columns: Sequence[_Column], least: Sequence[float], group: Sequence[int]
) -> tuple[tuple[int, ...], _Widths]:
    chosen = [columns[index] for index in group]
    widths = _shared(chosen, [least[index] for index in group], LANDSCAPE_PT)
    assert widths is not None, "a first column and one more fit"
    return tuple(group), widths


def _preamble(columns: Sequence[_Column], fit: _Fit) -> str:
    kinds = []
    for column, at in zip(columns, fit.widths, strict=True):
        if at is not None:
            ragged = r"\raggedleft" if column.numeric else r"\raggedright"
            kinds.append(rf">{{{ragged}\arraybackslash}}p{{{at:.1f}pt}}")
        elif _split(column, at):
            kinds.append("r@{}l")
        else:
            kinds.append("r" if column.numeric else "l")
    return f"@{{}}{' '.join(kinds)}@{{}}"


def _head(columns: Sequence[_Column], fit: _Fit) -> str:
    titles = [_title(column, at) for column, at in zip(columns, fit.widths, strict=True)]
    return " & ".join(titles) + r" \\"


def _title(column: _Column, at: float | None) -> str:
    if at is not None:
        return latex(column.title)
    side = "r" if column.numeric else "l"
    shown = r"\\".join(latex(line) for line in column.head)
    if len(column.head) > 1:
        shown = rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{shown}\end{{tabular}}"
    return rf"\multicolumn{{2}}{{r}}{{{shown}}}" if _split(column, at) else shown


def _body(table: Table, columns: Sequence[_Column], fit: _Fit) -> Iterator[str]:
    grouped = len({row[0].text for row in table.rows}) < len(table.rows)
    for index, row in enumerate(table.rows):
        if grouped and index and row[0].text != table.rows[index - 1][0].text:
            yield r"\addlinespace"
        cells = [_cell(column, index, at) for column, at in zip(columns, fit.widths, strict=True)]
        yield " & ".join(cells) + r" \\"


def _cell(column: _Column, index: int, at: float | None) -> str:
    if column.parts is None or at is not None:
        return latex(column.texts[index])
    pair = column.parts[index]
    if pair is None:
        return rf"\multicolumn{{2}}{{r}}{{{latex(column.texts[index])}}}"
    # TeX drops a space at the start of a cell.
    space = "~" if pair[1].startswith(" ") else ""
    return f"{latex(pair[0])} & {space}{latex(pair[1])}"
