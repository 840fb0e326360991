"""A document as files of text: the whole as Markdown and LaTeX, every table as LaTeX and CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from harness.report.document import Document, Table
from harness.report.render import latex, markdown
from harness.report.render.latextable import MARK
from harness.report.text import csv_cell

FOLDER = "tables"
"""Where the files of single tables are, below the report's folder."""


def texts(document: Document) -> dict[str, bytes]:
    """Every file by its path below the report's folder, the Markdown last."""
    tables = [block for block in document.walk() if isinstance(block, Table)]
    files = {f"{FOLDER}/{table.name}.csv": table_csv(table) for table in tables}
    files |= {f"{FOLDER}/{name}.tex": text for name, text in latex.tables(document).items()}
    files |= {"report.tex": latex.render(document), "report.md": markdown.render(document)}
    return {name: text.encode("utf-8", "backslashreplace") for name, text in files.items()}


def table_csv(table: Table) -> str:
    """The table's texts in full; behind a column whose cells have numbers to sort by, a column of these."""
    keyed = [any(row[index].key is not None for row in table.rows) for index in range(len(table.columns))]
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    heads = [(column.title, f"{column.title} (number)") for column in table.columns]
    writer.writerow(_safe(heads, keyed))
    for row in table.rows:
        writer.writerow(_safe([(cell.text, cell.key) for cell in row], keyed))
    return buffer.getvalue()


def _safe(pairs: Sequence[tuple[str, str | float | None]], keyed: Sequence[bool]) -> list[object]:
    """Texts that no spreadsheet runs, each with its number where the column has any."""
    return [
        csv_cell(int(part) if isinstance(part, float) and part.is_integer() else part)
        for pair, has_number in zip(pairs, keyed, strict=True)
        for part in pair[: 1 + has_number]
    ]


def stale(folder: Path, written: set[str]) -> list[Path]:
    """Files of tables that an older report left in its folder and that are not among those written now.

    Only what a report wrote is named: LaTeX that bears its mark, and the CSV beside it.
    """
    found = []
    for path in sorted((folder / FOLDER).glob("*.tex")):
        if f"{FOLDER}/{path.name}" not in written and _marked(path):
            found += [path, path.with_suffix(".csv")]
    return found


def _marked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MARK)) == MARK.encode()
    except OSError:
        return False
