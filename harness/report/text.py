"""Numbers and names as text for every kind of output; names come from plugins and may hold anything."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable
from functools import cache

NO_DATA = "–"  # noqa: RUF001

_MARKDOWN = re.compile(r"([\\`*|~#$])")
_LINK = re.compile(r"(\[(?=[\^!xX \]])|\](?=[(\[]))")
"""Brackets that Markdown takes for a link, a footnote or a task; those of intervals stay."""
_BRACKET = re.compile(r"([\[\]])")
_START = re.compile(r"^(\[|[-+=](?=[\s=-]|$))|^(\d{1,9})([.)])(?=\s|$)")
"""What begins a list, a rule, a heading or a link's definition at the start of a line."""
_EDGE_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_UNSEEN = re.compile(
    "[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ud800-\udfff\ufeff\U000e0000-\U000e007f]"
)
"""Characters that cannot be seen but turn, hide or forge what stands beside them."""
_FORMULA_START = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
LONGEST_LABEL = 48
LONGEST_CELL = 400
LONGEST_PARAGRAPH = 4_000


def one_line(text: object) -> str:
    """The text on one line: control characters as a space, unseen ones by their number, as ``[U+202E]``."""
    line = _CONTROL.sub(" ", str(text)).strip()
    return _UNSEEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", line)


def shortened(text: object, longest: int = LONGEST_CELL) -> str:
    """The text on one line; one that is too long ends with how many characters are left out."""
    line = one_line(text)
    if len(line) <= longest:
        return line
    return f"{line[:longest].rstrip()} … ({len(line) - longest:,} more characters)"


def markdown(text: object) -> str:
    """One line of Markdown that shows the text as it is, inside a table as well."""
    return _LINK.sub(r"\\\1", _escaped(text))


def paragraph(text: object) -> str:
    """The same where it begins a line of its own."""

    def plain(found: re.Match[str]) -> str:
        return f"\\{found[1]}" if found[1] else f"{found[2]}\\{found[3]}"

    return _START.sub(plain, markdown(text))


def link_text(text: object) -> str:
    """The same between the brackets of a link."""
    return _BRACKET.sub(r"\\\1", _escaped(text))


def _escaped(text: object) -> str:
    line = html.escape(one_line(text), quote=False)
    return _EDGE_UNDERSCORE.sub(r"\\_", _MARKDOWN.sub(r"\\\1", line))


def code(text: object) -> str:
    """An inline code span, also for text with backticks; not for table cells, where a pipe would end it."""
    line = one_line(text)
    fence = _fence(line, 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def code_block(lines: Iterable[object], language: str = "") -> str:
    """A fenced block that nothing in its lines can end."""
    shown = [one_line(line) for line in lines]
    fence = _fence("\n".join(shown), 3)
    return "\n".join([f"{fence}{language}", *shown, fence])


def _fence(text: str, least: int) -> str:
    return "`" * max(least, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))


def csv_cell(value: object) -> object:
    """The value, with a leading apostrophe where a spreadsheet would take text for a formula."""
    if isinstance(value, str) and value.startswith(_FORMULA_START):
        return "'" + value
    return value


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties(family=["DejaVu Sans"]))).get_charmap())


def plot(text: object, longest: int = LONGEST_LABEL) -> str:
    """Text for a figure: no mathematics mode, no characters that the font lacks, not too long."""
    line = one_line(text)
    if len(line) > longest:
        line = line[: longest - 1] + "…"
    line = "".join(char if ord(char) in _glyphs() else "\N{WHITE SQUARE}" for char in line)
    # A legend drops labels that start with an underscore.
    line = "\N{ZERO WIDTH SPACE}" + line if line.startswith("_") else line
    return line.replace("$", r"\$")


_BIDI = re.compile(r"[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """One line without control characters; marks that turn the direction of what follows become boxes."""
    return _BIDI.sub("\N{WHITE SQUARE}", _CONTROL.sub(" ", text))


def known(value: object) -> bool:
    """Whether there is data: neither None nor a number that is not finite."""
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits, never in exponent form; no data as a dash."""
    if value is None or not math.isfinite(value):
        return NO_DATA
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{decimals}f}"


def share(value: float | None) -> str:
    """An accuracy, two decimals."""
    return NO_DATA if value is None or not math.isfinite(value) else f"{value:.2f}"


def interval(low: float | None, high: float | None) -> str:
    """Two accuracies in brackets."""
    return f"[{share(low)}, {share(high)}]"


def numbered(count: int, noun: str) -> str:
    """A count with its noun in the right form."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listed(items: list[str], joint: str = "and") -> str:
    """a, b and c."""
    return (
        items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {joint} {items[-1]}" if items else NO_DATA
    )


def some(items: list[str], most: int = 4) -> str:
    """a, b, c, d and 14 more; all of them where it is one more only."""
    return listed(items if len(items) <= most + 1 else [*items[:most], f"{len(items) - most} more"])


def parameters_text(counts: Iterable[float]) -> str:
    """``0.71 million parameters``, ``3.8 to 5.2 billion parameters``; below 100,000 as they are."""
    every = list(counts)
    scales = ((1e9, 1e9, " billion"), (1e5, 1e6, " million"), (0.0, 1.0, ""))
    unit, name = next((unit, name) for least, unit, name in scales if max(every) >= least)
    low, high = (number(count / unit, 2 if name else 3) for count in (min(every), max(every)))
    return f"{low if low == high else f'{low} to {high}'}{name} parameters"
