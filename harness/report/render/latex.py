"""A document as LaTeX: a file that compiles on its own, and every table as one to ``\\input`` in a paper."""

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
    Table,
    Terms,
    Text,
)
from harness.report.render.latextable import GAP_PT, long_tables, tabular
from harness.report.render.latextext import code, latex
from harness.report.text import LONGEST_PARAGRAPH, shortened

_LEVELS = ("section", "subsection", "subsubsection", "paragraph")
_LONGEST_TITLE = 120
_PREAMBLE = rf"""\documentclass[10pt,a4paper]{{article}}
\usepackage[T1]{{fontenc}}
\usepackage[utf8]{{inputenc}}
\usepackage{{lmodern,textcomp}}
\usepackage[a4paper,margin=22mm]{{geometry}}
\usepackage{{array,booktabs,longtable,pdflscape,graphicx}}
\usepackage[font=small,labelfont=bf,justification=raggedright,singlelinecheck=false]{{caption}}
\usepackage[hidelinks]{{hyperref}}
\setlength{{\tabcolsep}}{{{GAP_PT / 2:g}pt}}
\setlength{{\LTcapwidth}}{{\textwidth}}
\setlength{{\parindent}}{{0pt}}
\setlength{{\parskip}}{{4pt plus 1pt}}
\emergencystretch=4em"""


def render(document: Document) -> str:
    """The document's text; a figure NAME is at ``NAME.png``."""
    parts = [
        _PREAMBLE,
        rf"\title{{{latex(shortened(document.title, _LONGEST_TITLE))}}}",
        "\\date{}\n\\begin{document}\n\\maketitle\n\\setcounter{tocdepth}{2}\n\\tableofcontents",
    ]
    for section in document.sections:
        parts += filter(None, _section(section, 0))
    return "\n\n".join([*parts, r"\end{document}"]) + "\n"


def tables(document: Document) -> dict[str, str]:
    """Every table's name with its ``tabular``."""
    return {block.name: tabular(block) for block in document.walk() if isinstance(block, Table)}


def _section(section: Section, level: int) -> Iterator[str]:
    title = shortened(section.title, _LONGEST_TITLE)
    yield rf"\{_LEVELS[min(level, len(_LEVELS) - 1)]}{{{latex(title)}}}"
    for block in section.blocks:
        yield from _block(block)
    for part in section.parts:
        yield from _section(part, level + 1)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Text(text):
            yield _paragraph(text)
        case Notice(text):
            yield rf"\textbf{{{_paragraph(text)}}}"
        case Items(texts):
            yield from _list("itemize", [rf"\item {_paragraph(text)}" for text in texts])
        case Terms(terms):
            yield from _list(
                "description", [rf"\item[{{{latex(term)}}}] {_paragraph(text)}" for term, text in terms]
            )
        case Commands(lines):
            yield from _commands(lines)
        case Files(files):
            yield from _list("itemize", [rf"\item {code(name)}: {latex(what)}" for name, what in files])
        case Figure():
            yield _figure(block)
            yield _records(block.source.records)
        case Table():
            yield from long_tables(block, _records(block.source.records))


def _paragraph(text: str) -> str:
    return latex(shortened(text, LONGEST_PARAGRAPH))


def _list(kind: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield "\n".join([rf"\begin{{{kind}}}\setlength{{\itemsep}}{{0pt}}", *items, rf"\end{{{kind}}}"])


def _figure(figure: Figure) -> str:
    """The picture with its caption, not floating, so that it stays in its section and both on one page."""
    caption = latex(shortened(figure.caption))
    picture = rf"\includegraphics[width=\linewidth,height=0.78\textheight,keepaspectratio]{{{figure.name}}}"
    return "\n".join(
        [
            r"\begin{minipage}{\linewidth}\centering",
            picture,
            rf"\captionof{{figure}}{{{caption}}}",
            r"\end{minipage}",
        ]
    )


def _records(commands: Sequence[str]) -> str:
    shown = ", ".join(code(shortened(line)) for line in commands)
    return rf"{{\footnotesize\raggedright Records: {shown}\par}}" if commands else ""


def _commands(lines: Sequence[str]) -> Iterator[str]:
    shown = [code(shortened(line, LONGEST_PARAGRAPH)) for line in lines]
    yield from _list("itemize", [rf"\item[] \raggedright\footnotesize {line}" for line in shown])
