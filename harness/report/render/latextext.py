"""Text made harmless for LaTeX with T1 fonts: nothing in it is a command, and every long word can be broken.

What the fonts lack is shown by its number, as ``[U+6F22]``.
"""

from __future__ import annotations

from itertools import chain

from harness.report.text import one_line

_COMMANDS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "\N{NO-BREAK SPACE}": "~",
    "\N{EN DASH}": r"\textendash{}",
    "\N{EM DASH}": r"\textemdash{}",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    "\N{MINUS SIGN}": "$-$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\le$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\ge$",
    "\N{ALMOST EQUAL TO}": r"$\approx$",
    "\N{INFINITY}": r"$\infty$",
    "\N{GREEK SMALL LETTER MU}": r"$\mu$",
}
_LACKING = {0x126, 0x127, 0x138, 0x13F, 0x140, 0x149, 0x166, 0x167}
_LETTERS = {
    chr(number)
    for number in chain(range(0x20, 0x7F), range(0xA1, 0xA8), range(0xA9, 0xAD), range(0xAE, 0x17F))
    if number not in _LACKING
} | set("\u2018\u2019\u201c\u201d\u201e\u2020\u2021\u2022\u2030\u20ac\u2122\u2190\u2191\u2192\u2193")
"""What T1 and TS1 fonts have and ``inputenc`` reads."""

_LONG_WORD = 16
_UNBROKEN = 10
_BREAK = r"\allowbreak{}"
_BREAK_AFTER = frozenset("_/.,:;=+-|\\@()[]")


def latex(text: object) -> str:
    """One line of LaTeX that shows the text as it is."""
    shown = " ".join(_word(word) for word in one_line(text).split(" "))
    # A bracket after a line's end in a table, or a star, would be read as an argument of that command.
    return "{}" + shown if shown.startswith(("[", "*")) else shown


def code(text: object) -> str:
    """The text as it is typed, in a typewriter font."""
    return rf"\texttt{{{latex(text).replace(chr(39), chr(92) + 'textquotesingle{}')}}}"


def _word(word: str) -> str:
    breakable = len(word) > _LONG_WORD
    parts: list[str] = []
    since = 0
    for index, char in enumerate(word):
        parts.append(_shown(char))
        # Two of these would become another character: -- a dash, ,, and '' quotes.
        if word[index + 1 : index + 2] == char and char in "-,'":
            parts.append("{}")
        since = 0 if char in _BREAK_AFTER else since + 1
        if breakable and index + 1 < len(word) and (char in _BREAK_AFTER or since == _UNBROKEN):
            parts.append(_BREAK)
            since = 0
    return "".join(parts)


def _shown(char: str) -> str:
    known = _COMMANDS.get(char)
    if known is not None:
        return known
    return char if char in _LETTERS else f"[U+{ord(char):04X}]"


_EM = (
    dict.fromkeys("ilj.,:;|'![]()", 0.28)
    | dict.fromkeys("ftrI/ \N{NO-BREAK SPACE}", 0.39)
    | dict.fromkeys("0123456789", 0.5)
    | dict.fromkeys("wmMW@+%\N{MINUS SIGN}", 0.83)
)


def width(text: str, size: float) -> float:
    """About how wide the text is in a font of that size, in points; rather too wide than too narrow."""
    ems = 0.0
    for char in text:
        unknown = 0.76 if char.isupper() else 0.55
        ems += _EM.get(char, unknown if char in _LETTERS or char in _COMMANDS else 4.2)
    # Small fonts of the family are wider than their size says.
    return ems * size * (1.14 if size < 8 else 1.07)
