"""Every command that a report gives for its records runs, and lists what its block shows and nothing else."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import typer

import harness.export.counted
import harness.export.tables
import harness.export.timed
from harness.cli import app
from harness.export import Selection, export_table
from harness.export.timed import FRAMES, both_ways
from harness.report.contents import document
from harness.report.document import Document, Figure, Table
from harness.report.evidence import Evidence, gather
from harness.report.plots.model import Lines
from harness.report.sections import latency
from harness.report.sources import cells_source, counted_source
from harness.store import Store, uncollected
from harness.timing.records import PHASES
from harness.timing.store import load_timings, open_timings, write_timing
from tests.counted import count_key, peak
from tests.counted import record as counted_record
from tests.report import made
from tests.report import synthetic as s
from tests.timing import made as timing

ROOT = Path(__file__).parents[2]
REFERENCE = Path("results/reference")
SCENE = ["mode", "backbone", "dtype", "kernels", "text_tokens", "text_per_frame_tokens", "encode_batch"]


def frame_of(command: str) -> pd.DataFrame:
    """The table that a command writes, parsed as the command line does."""
    program, name, *arguments = shlex.split(command)
    assert (program, name) == ("harness", "export")
    parser = typer.main.get_command(app).get_command(None, name)  # type: ignore[attr-defined]
    given = parser.make_context(name, list(arguments)).params
    options = {
        name: list(texts) for name, texts in given.items() if isinstance(texts, tuple | list) and texts
    }
    runs = [Path(run) for run in options.pop("runs")]
    return export_table(runs, given["table"], Selection.parse(options)).frame


@dataclass(frozen=True)
class Shown:
    evidence: Evidence
    whole: Document

    def blocks(self) -> list[Table | Figure]:
        return [block for block in self.whole.walk() if isinstance(block, Table | Figure)]

    def table(self, name: str) -> Table:
        (found,) = [block for block in self.blocks() if block.name == name]
        assert isinstance(found, Table)
        return found


@pytest.fixture(scope="module")
def shown() -> Iterator[Shown]:
    """The reference report; exports take what was loaded for it."""
    with pytest.MonkeyPatch.context() as patch, uncollected():
        patch.chdir(ROOT)
        evidence = gather(REFERENCE)
        answers = dict(evidence.samples)
        ratios = both_ways(evidence.timings, evidence.defaults)
        patch.setattr(
            harness.export.timed,
            "load_timings",
            lambda run: (evidence.timings, []) if run == REFERENCE else load_timings(run),
        )
        patch.setitem(
            FRAMES,
            "ratios",
            lambda records, defaults: ratios if records is evidence.timings else both_ways(records, defaults),
        )
        patch.setattr(harness.export.tables, "load_records", lambda run: (evidence.records, []))
        patch.setattr(harness.export.counted, "load_counted", lambda run: (evidence.counted, []))
        patch.setattr(Store, "samples", lambda store, digest: answers[digest])
        patch.setattr(Store, "clips", lambda store, digest: len({one.group for one in answers[digest]}))
        yield Shown(evidence, document(evidence, ()))


def test_every_command_of_the_reference_report_lists_records(shown: Shown) -> None:
    commands = dict.fromkeys(line for block in shown.blocks() for line in block.source.records)
    assert len(commands) > 15
    frames = {command: frame_of(command) for command in commands}
    assert all(len(frame) for frame in frames.values())
    for block in shown.blocks():
        for command in block.source.records:
            frame = frames[command]
            if "mode" in frame and block.name != "cells_beside_scenarios":
                assert len(frame[SCENE].drop_duplicates()) == 1, command
            if "method" in frame and isinstance(block, Table) and not block.name.startswith("beside_"):
                labels = {label for label in block.methods if label is not None}
                if labels and block.name.startswith("latency_"):
                    labels.add(latency.baseline(shown.evidence.timings, shown.evidence))
                if block.name == "memory_turns":
                    labels |= {column.title.rpartition(" ")[2] for column in block.columns[1:]}
                assert not labels or labels == set(frame["method"]) or "pairs" in block.name, command


def test_accuracies_are_the_means_of_the_cells_that_are_listed(shown: Shown) -> None:
    for task in ("videoqa", "multi_image"):
        table = shown.table(f"{task}_accuracy")
        (command,) = table.source.records
        places = frame_of(command).groupby(["method", "frames", "resolution"], sort=False)
        means: dict[object, float] = {place: float(cells.mean()) for place, cells in places["accuracy"]}
        assert len(means) == len(table.rows)
        for label, row in zip(table.methods, table.rows, strict=True):
            place = (label, row[1].key, row[2].text)
            if row[3].key is not None or not math.isnan(means[place]):
                assert row[3].key == pytest.approx(means[place]), place


def test_times_in_turns_are_the_medians_of_the_rounds_that_are_listed(shown: Shown) -> None:
    (figure,) = [block for block in shown.blocks() if block.name == "videoqa_by_frames"]
    assert isinstance(figure, Figure)
    (command,) = [line for line in figure.source.records if "--table timings" in line]
    medians = frame_of(command).groupby(["phase", "method", "frames"])["ms"].median()
    panels = [panel for panel in figure.plot.panels[2:] if isinstance(panel, Lines)]
    drawn = {
        (phase, one.method, x): y
        for phase, panel in zip(PHASES, panels, strict=True)
        for one in panel.series
        for x, y in zip(one.x, one.y, strict=True)
    }
    assert len(drawn) > 100
    assert drawn == pytest.approx(medians.to_dict())


def test_peaks_are_those_of_the_scenarios_that_are_listed(shown: Shown) -> None:
    names = [block.name for block in shown.blocks() if block.name.endswith("_peaks")]
    assert len(names) == 5
    for name in names:
        table = shown.table(name)
        (command,) = table.source.records
        frame = frame_of(command)
        listed = {
            (row["method"], f"{row['frames']:,}"): row["peak_bytes"]
            for row in frame.to_dict("records")
            if row["outcome"] == "ok"
        }
        assert len(listed) == (frame["outcome"] == "ok").sum()
        assert listed == {
            (label, column.title): cell.key
            for label, row in zip(table.methods, table.rows, strict=True)
            for column, cell in zip(table.columns[2:], row[2:], strict=True)
            if cell.key is not None
        }


def test_scenarios_beside_cells_and_beside_published_figures_are_exact(shown: Shown) -> None:
    *of_cells, of_counted = shown.table("cells_beside_scenarios").source.records
    cells = pd.concat([frame_of(command) for command in of_cells])
    counted = frame_of(of_counted)
    sizes = ["method", "backbone", "dtype", "frames", "height", "width"]
    pairs = cells[cells["outcome"] == "ok"].merge(counted, on=sizes)
    assert set(pairs["digest_x"]) == set(cells["digest"])
    assert set(pairs["digest_y"]) == set(counted["digest"])
    published = shown.table("beside_casa_v2_streaming_h100")
    (command,) = published.source.records
    assert set(frame_of(command)["peak_bytes"]) == {row[5].key for row in published.rows}


@pytest.fixture
def timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two series of sizes under the folder that tests call their run."""
    monkeypatch.chdir(tmp_path)
    run = Path("runs/a b")
    open_timings(run)
    for dtype in ("float32", "bfloat16"):
        for frames in (1, 4):
            times = {name: timing.around(middle) for name, middle in (("one", 2), ("two", 3), ("three", 4))}
            write_timing(run, timing.record(times, frames, dtype=dtype))
    return run


def test_ratios_list_themselves_and_their_rounds(timed: Path) -> None:
    section = latency.section(made.evidence(timings=gather(timed).timings))
    assert section is not None
    tables = [block for block in section.walk() if isinstance(block, Table)]
    assert len(tables) == 6
    for table in tables:
        ratios, rounds = (frame_of(command) for command in table.source.records)
        cells = [cell.key for row in table.rows for cell in row[1:]]
        assert sorted(ratios["ratio"]) == pytest.approx(sorted(filter(None, cells)))
        assert set(ratios["digest"]) == set(rounds["digest"])
        assert len(rounds) == 3 * 2 * 7
        assert set(rounds["phase"]) == {table.name.removeprefix("latency_1_").removeprefix("latency_2_")}


def listed(commands: Sequence[str]) -> list[str]:
    (command,) = commands
    return command.removeprefix("harness export 'runs/a b' ").split(" ")


def test_what_tells_records_apart_is_asked_for_and_nothing_else() -> None:
    alike, other = s.key("casa", limit=None), s.key("casa", limit=3)
    run = made.evidence([s.record(one) for one in (alike, s.key("casa", seed=1, limit=None), other)])
    assert listed(cells_source(run, {alike.digest}).records) == [
        "--task", "videoqa", "--where", "limit=all", "--seed", "0",
    ]  # fmt: skip
    assert listed(cells_source(run, {alike.digest, other.digest}).records) == [
        "--task", "videoqa", "--seed", "0",
    ]  # fmt: skip


def test_optimizers_that_are_none_and_records_that_nothing_tells_apart() -> None:
    keys = [
        count_key("casa", frames=frames, optimizer=optimizer)
        for frames, optimizer in ((1, None), (2, None), (2, "sgd"), (1, "sgd"))
    ]
    run = made.evidence(counted=[counted_record(key, peak(1)) for key in keys])
    (without,) = counted_source(run, [run.counted[0], run.counted[1]]).records
    assert without.endswith("--where optimizer= --resolution 64")
    (crossed,) = counted_source(run, [run.counted[0], run.counted[2]]).records
    digests = ",".join(sorted(key.digest for key in (keys[0], keys[2])))
    assert crossed.endswith(f"--where digest={digests}")
