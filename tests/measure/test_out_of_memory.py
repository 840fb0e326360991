"""A phase that runs out of memory does not take with it what others measured."""

from __future__ import annotations

import functools
import gc
import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.cli.table import print_table
from harness.journal import journal_path
from harness.measure import cell, latency
from harness.measure.cell import measure_cell
from harness.measure.latency import Repeats, measure_latency
from harness.measure.phases import Phases
from harness.measure.workload import Workload
from harness.plan import CellJob
from harness.records import Environment, Failed, Measures, Ok, Phase, PhaseOutOfMemory
from harness.report.build import build_report
from harness.report.frame import records_to_frame
from harness.report.plots.curves import MEMORY, METRICS, curves
from harness.report.plots.model import Lines
from harness.report.points import over_models
from harness.report.tables import cost_table
from harness.session import Session
from harness.store import Store
from harness.vlm import FusedModel
from harness.worker import MEASURE, run_job
from tests.report import synthetic as s

Job = Callable[..., CellJob]
PHASES: tuple[Phase, ...] = ("memory", "encode", "prefill", "per_frame", "per_token", "flops")
FULL = "CUDA out of memory. Tried to allocate 3.00 GiB."


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time every phase twice only."""
    few = functools.partial(measure_latency, repeats=Repeats(least=2, most=2))
    monkeypatch.setattr(cell, "measure_latency", few)


def full(*given: Any, **named: Any) -> Any:
    raise torch.OutOfMemoryError(FULL)


def fill(monkeypatch: pytest.MonkeyPatch, phase: Phase) -> None:
    """Make a phase run out of memory."""
    places: dict[Phase, tuple[Any, str]] = {
        "memory": (cell, "measure_memory"),
        "encode": (latency, "encode_section"),
        "prefill": (latency, "_prefill_section"),
        "per_frame": (Workload, "before_last_frame"),
        "per_token": (Workload, "asked"),
        "flops": (cell, "count_flops"),
    }
    monkeypatch.setattr(*places[phase], full)


def parts(measures: Measures) -> dict[str, object]:
    return {
        "memory": measures.memory,
        **{phase: getattr(measures.latency, phase) for phase in PHASES[1:5]},
        "flops": measures.prefill_flops,
    }


@pytest.mark.parametrize("phase", PHASES)
def test_one_phase_is_missing_and_all_else_is_measured(
    phase: Phase, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(monkeypatch, phase)
    said: list[str] = []
    result = measure_cell(job(), said.append)
    measures = result.measures
    assert len(result.samples) == 8
    assert measures.accuracy is not None
    assert measures.accuracy.mean is not None
    assert {name for name, part in parts(measures).items() if part is None} == {phase}
    (noted,) = measures.out_of_memory
    assert (noted.phase, noted.live_bytes) == (phase, None)
    assert FULL in noted.message
    assert f"out of memory: {phase}" in said
    assert Measures.model_validate_json(measures.model_dump_json()) == measures


def test_a_prefill_that_never_fits_leaves_the_answers(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "append_stream", full)
    result = measure_cell(job(), print)
    assert result.measures.accuracy is not None
    assert result.measures.accuracy.mean is not None
    found = [one.phase for one in result.measures.out_of_memory]
    assert found == ["memory", "prefill", "per_frame", "per_token", "flops"]


def test_a_cell_with_the_encoder_s_time_alone_has_failed(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FusedModel, "answer", full)
    monkeypatch.setattr(Session, "append_stream", full)
    with pytest.raises(MemoryError, match=re.escape(FULL)):
        measure_cell(job(), print)


@pytest.mark.parametrize("phase", PHASES)
def test_another_error_still_ends_the_cell(phase: Phase, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(monkeypatch, phase)
    monkeypatch.setattr(torch, "OutOfMemoryError", ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        measure_cell(job(), print)


def test_what_filled_the_memory_is_released() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def measure() -> None:
        tensor = torch.zeros(8)
        held.append(weakref.ref(tensor))
        full(tensor)

    gc.disable()
    try:
        assert Phases("cpu", print).run("memory", measure) is None
        assert held[0]() is None
    finally:
        gc.enable()


def test_the_record_keeps_the_answers_and_names_the_phase(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(monkeypatch, "memory")
    store, planned = Store(tmp_path / "run").open(), job()
    record = run_job(planned, store, MEASURE, print, environment())
    assert isinstance(record.outcome, Ok)
    assert len(store.samples(planned.key.digest)) == 8
    assert not journal_path(store.samples_dir, planned.key.digest).exists()
    with (tmp_path / "table.txt").open("w") as file:
        print_table([record], file)
    (row,) = [
        line for line in (tmp_path / "table.txt").read_text().splitlines() if planned.key.method in line
    ]
    assert "out of memory" in row
    text = build_report(store.root).with_suffix(".md").read_text()
    assert "out of memory" in text
    assert "(out of memory in memory)" in text


def environment() -> Environment:
    return s.record(s.key()).environment


def test_a_report_marks_the_size_where_a_phase_did_not_fit() -> None:
    gone = PhaseOutOfMemory(phase="memory", live_bytes=None, message=FULL)
    records = [s.record(s.key("casa", frames=frames)) for frames in (2, 4)]
    place = s.key("casa", frames=8)
    partial = s.measures(place, memory=None, out_of_memory=(gone,))
    cells = records_to_frame([*records, s.record(place, Ok(measures=partial))])
    panels = [panel for panel in curves(cells, "frames").panels if isinstance(panel, Lines)]
    for metric, panel in zip(METRICS, panels, strict=True):
        (line,) = [one for one in panel.series if one.role == "measured"]
        marks = [(mark.x, mark.text) for mark in panel.failures]
        assert (line.x, marks) == (
            ((2.0, 4.0), [(8.0, "OOM")]) if metric is MEMORY else ((2.0, 4.0, 8.0), [])
        )
    assert "out of memory (memory)" in panels[METRICS.index(MEMORY)].failures[0].hover
    (row,) = [row for row in cost_table(over_models(cells), "t").rows if row[1].text.startswith("8")]
    assert row[3].text == "out of memory"
    assert row[6].text[0].isdigit()


def test_failed_cells_stay_failed(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell, "load_subject", full)
    store = Store(tmp_path / "run").open()
    record = run_job(job(), store, MEASURE, print, environment())
    assert isinstance(record.outcome, Failed)
    assert record.outcome.failure == "out_of_memory"
