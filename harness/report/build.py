"""Write a run's report: HTML, Markdown, LaTeX, CSV, PNG and SVG."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

import pandas as pd

from harness.errors import InfrastructureError
from harness.report.canvas import Drawing
from harness.report.contents import document
from harness.report.document import Block, Document, Figure
from harness.report.evidence import Evidence, gather
from harness.report.frame import SETTING, settings
from harness.report.made import made
from harness.report.points import over_models
from harness.report.render import html
from harness.report.render.drawing import Drawers
from harness.report.render.texts import FOLDER, stale, texts
from harness.report.text import csv_cell
from harness.store import uncollected

CSV_FILES = {
    "cells.csv": "one row per cell, every measure, units in the column names",
    "kinds.csv": "one row per cell and kind of question",
    "points.csv": "one row per point of the tables and figures: means and medians over models, with spreads",
}

TEXT_FILES = {
    "report.tex": "this report as LaTeX, which compiles on its own",
    "tables": "every table alone, as LaTeX to put into a paper and as CSV",
}

LISTED = tuple((CSV_FILES | TEXT_FILES).items())
"""The files that a report names as its own."""

PAGE = "report.html"


def build_report(run_dir: Path, out: Path | None = None) -> Path:
    """Write the report of a run into ``out``, by default ``<run_dir>/report``; returns the Markdown's path.

    The page is ``PAGE`` beside it. Records that cannot be loaded are listed in the report. Raises UsageError
    for a folder that is not a run's and InfrastructureError when the report cannot be written; an older
    report stays whole then.
    """
    with uncollected():
        files = _made(run_dir)
    folder = run_dir / "report" if out is None else out
    _write(folder, files)
    return folder / "report.md"


def _made(run_dir: Path) -> dict[str, bytes]:
    """The content of every file, the texts last."""
    with Drawers() as drawers:
        evidence = gather(run_dir)
        whole = document(evidence, LISTED)
        drawn = drawers.begin(whole)
        # While the pictures are drawn. The texts need no picture, only to know that all could be drawn.
        data = data_files(evidence)
        written = texts(whole)
        tried = {name: drawing.result() for name, drawing in drawn.items()}
    drawings = {name: drawing for name, drawing in tried.items() if isinstance(drawing, Drawing)}
    if len(drawings) < len(tried):
        whole = without_failed(whole, tried)
        written = texts(whole)
    files: dict[str, bytes] = {}
    for name, drawing in drawings.items():
        files |= {f"{name}.png": drawing.png, f"{name}.svg": drawing.svg}
    pictures = {name: drawing.webp for name, drawing in drawings.items()}
    page = html.render(whole, pictures).encode()
    return files | data | {PAGE: page} | written


def data_files(evidence: Evidence) -> dict[str, bytes]:
    """The CSV files of all records, kinds and points."""
    frames = {"cells.csv": evidence.cells, "kinds.csv": evidence.kinds, "points.csv": _all_points(evidence)}
    return {name: _csv(frame).encode() for name, frame in frames.items()}


def without_failed(whole: Document, tried: Mapping[str, Drawing | Exception]) -> Document:
    """The document with a notice in place of each figure that could not be drawn."""

    def result(figure: Figure) -> Figure:
        drawing = tried[figure.name]
        if isinstance(drawing, Exception):
            raise drawing
        return figure

    def change(block: Block) -> Block:
        return made(f"the figure {block.name}", result, block) if isinstance(block, Figure) else block

    return whole.mapped(change)


def _all_points(evidence: Evidence) -> pd.DataFrame:
    """The points of every setting behind the columns of the setting."""
    frames = []
    for setting, cells in settings(evidence.cells):
        points = over_models(cells)
        columns = pd.DataFrame([setting] * len(points), index=points.index)
        frames.append(pd.concat([columns, points], axis=1))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(SETTING))


def _csv(frame: pd.DataFrame) -> str:
    buffer = StringIO()
    safe = (
        frame.convert_dtypes().astype(object).map(csv_cell).rename(columns=lambda name: str(csv_cell(name)))
    )
    safe.to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue()


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write every file under a temporary name first, then rename them all, the texts last."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".tmp-") as temporary:
            for name, content in files.items():
                path = Path(temporary) / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
                path.chmod(0o644)
            put_in_place(Path(temporary), folder, list(files))
    except OSError as error:
        raise InfrastructureError(
            f"cannot write the report to {str(folder)!r}: {error.strerror or error}; "
            "make room or choose another folder with --out"
        ) from error


def put_in_place(source: Path, folder: Path, names: Sequence[str]) -> None:
    """Rename a report's files from one folder into another, in that order; tables of an older report go."""
    (folder / FOLDER).mkdir(exist_ok=True)
    for name in names:
        os.replace(source / name, folder / name)
    for path in stale(folder, set(names)):
        path.unlink(missing_ok=True)
