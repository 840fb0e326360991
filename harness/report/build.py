"""Write a run's report: Markdown, CSV, PNG and SVG."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from harness import registry
from harness.errors import InfrastructureError
from harness.records import Ok, Record, SampleOutcome
from harness.report.canvas import render
from harness.report.command import reproduce
from harness.report.comparisons import Samples, compare
from harness.report.curves import curves
from harness.report.figures import accuracy_against_memory, kinds_heatmap
from harness.report.frame import SETTING, kinds_to_frame, records_to_frame, settings
from harness.report.kinds import kind_table
from harness.report.markdown import Section, report
from harness.report.points import at, over_models, reference_point
from harness.report.text import csv_cell
from harness.settings import build_config, config_json
from harness.store import Problem, Store, load_records

CSV_FILES = {
    "cells.csv": "one row per cell, every measure, units in the column names",
    "kinds.csv": "one row per cell and kind of question",
    "points.csv": "one row per point of the tables and figures: means and medians over models, with spreads",
}


def build_report(run_dir: Path, out: Path | None = None) -> Path:
    """Write the report of a run into ``out``, by default ``<run_dir>/report``; returns the Markdown's path.

    Records that cannot be loaded are listed in the report. Raises UsageError for a folder that is not a run's
    and InfrastructureError when the report cannot be written; an older report stays whole then.
    """
    records, problems = load_records(run_dir)
    samples, without = _load_samples(run_dir, records)
    clips = {digest: len({one.group for one in outcomes}) for digest, outcomes in samples.items()}
    defaults = _defaults({record.key.method for record in records})
    cells, kinds = records_to_frame(records, clips, defaults), kinds_to_frame(records, defaults)
    figures: dict[str, Figure] = {}
    sections = []
    for setting, rows in settings(cells):
        section, drawn = _section(setting, rows, _same_setting(kinds, setting), samples, taken=set(figures))
        sections.append(section)
        figures |= drawn
    frames = {"cells.csv": cells, "kinds.csv": kinds, "points.csv": _all_points(sections)}
    text = report(cells, _titled(sections), [*problems, *without], reproduce(records), CSV_FILES)
    files: dict[str, bytes] = {}
    for name, figure in figures.items():
        drawing = render(figure)
        files |= {f"{name}.png": drawing.png, f"{name}.svg": drawing.svg}
    files |= {name: _csv(frame).encode() for name, frame in frames.items()}
    folder = run_dir / "report" if out is None else out
    _write(folder, files | {"report.md": text.encode()})
    return folder / "report.md"


def _defaults(methods: set[str]) -> dict[str, dict[str, object]]:
    """The default configs of the methods that are known here."""
    registry.discover()
    configs = {name: registry.methods.get(name).Config for name in methods if name in registry.methods}
    return {name: config_json(build_config(config, {}, name)) for name, config in configs.items()}


def _load_samples(run_dir: Path, records: Sequence[Record]) -> tuple[Samples, list[Problem]]:
    store = Store(run_dir)
    samples: dict[str, tuple[SampleOutcome, ...]] = {}
    problems = []
    for record in records:
        digest = record.key.digest
        if isinstance(record.outcome, Ok) and record.outcome.measures.accuracy is not None:
            try:
                samples[digest] = store.samples(digest)
            except (OSError, ValueError) as error:
                reason = (
                    f"the answers to single questions cannot be read: {' '.join(str(error).split())[:200]}"
                )
                problems.append(Problem(store.sidecar(digest), reason))
    return samples, problems


def _section(
    setting: dict[str, object], cells: pd.DataFrame, kinds: pd.DataFrame, samples: Samples, taken: set[str]
) -> tuple[Section, dict[str, Figure]]:
    points = over_models(cells)
    place = reference_point(points)
    table = kind_table(kinds, place) if place is not None else None
    here = at(cells, place) if place is not None else cells.iloc[:0]
    stem = _stem(str(setting["task"]), taken)
    drawn: dict[str, tuple[str, Figure]] = {}
    if (cells["outcome"] == "ok").any():
        caption = "Accuracy, peak memory and latency against"
        drawn[f"{stem}_by_frames"] = (f"{caption} frames", curves(cells, "frames"))
        if cells["resolution"].nunique() > 1:
            drawn[f"{stem}_by_resolution"] = (f"{caption} resolution", curves(cells, "resolution"))
        if table is not None:
            caption = f"Accuracy by kind of question at {table.where}"
            drawn[f"{stem}_by_kind"] = (caption, kinds_heatmap(table, here))
        if place is not None:
            caption = "Accuracy against peak memory above resting; numbers are frames"
            drawn[f"{stem}_accuracy_memory"] = (caption, accuracy_against_memory(cells))
    section = Section(
        title=str(setting["task"]),
        setting=setting,
        cells=cells,
        points=points,
        place=place,
        kinds=table,
        comparisons=compare(here, samples),
        figures={caption: name for name, (caption, _) in drawn.items()},
    )
    return section, {name: figure for name, (_, figure) in drawn.items()}


def _stem(task: str, taken: set[str]) -> str:
    """A file name for a task; numbered where another section has it."""
    base = re.sub(r"[^A-Za-z0-9-]+", "_", task).strip("_")[:60] or "task"
    stems = {name.rsplit("_by_frames", 1)[0] for name in taken if name.endswith("_by_frames")}
    number = 1
    stem = base
    while stem in stems:
        number += 1
        stem = f"{base}-{number}"
    return stem


def _titled(sections: Sequence[Section]) -> list[Section]:
    """Sections of the same task are numbered."""
    titles = [section.title for section in sections]
    return [
        section
        if titles.count(section.title) == 1
        else replace(section, title=f"{section.title} ({titles[: index + 1].count(section.title)})")
        for index, section in enumerate(sections)
    ]


def _same_setting(frame: pd.DataFrame, setting: Mapping[str, object]) -> pd.DataFrame:
    same = pd.Series(data=True, index=frame.index)
    for name in SETTING:
        same &= frame[name] == setting[name]
    return frame[same]


def _all_points(sections: Sequence[Section]) -> pd.DataFrame:
    """The points of every section behind the columns of its setting."""
    frames = []
    for section in sections:
        setting = pd.DataFrame([section.setting] * len(section.points), index=section.points.index)
        frames.append(pd.concat([setting, section.points], axis=1))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(SETTING))


def _csv(frame: pd.DataFrame) -> str:
    buffer = StringIO()
    safe = (
        frame.convert_dtypes().astype(object).map(csv_cell).rename(columns=lambda name: str(csv_cell(name)))
    )
    safe.to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue()


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write every file under a temporary name first, then rename them all, the last one last."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".tmp-") as temporary:
            for name, content in files.items():
                path = Path(temporary) / name
                path.write_bytes(content)
                path.chmod(0o644)
            for name in files:
                os.replace(Path(temporary) / name, folder / name)
    except OSError as error:
        raise InfrastructureError(
            f"cannot write the report to {str(folder)!r}: {error.strerror or error}; "
            "make room or choose another folder with --out"
        ) from error
