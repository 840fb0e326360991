"""One cell from job to measures."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from harness.errors import MediaError, UsageError
from harness.measure import NonFiniteError, cell
from harness.measure.cell import extrapolates, measure_cell
from harness.measure.latency import Repeats, measure_latency
from harness.plan import CellJob
from harness.records import Measures
from harness.task import Question, Score
from harness.vlm import FusedModel, TrainedRange
from tests.measure.pictures import Pictures
from tests.measured import memory_of

Job = Callable[..., CellJob]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time every phase twice only."""
    few = functools.partial(measure_latency, repeats=Repeats(least=2, most=2))
    monkeypatch.setattr(cell, "measure_latency", few)


def test_a_cell_of_every_method(method: str, job: Job, warnings: list[str]) -> None:
    result = measure_cell(job(method=method), warnings.append)
    measures = result.measures
    assert Measures.model_validate_json(measures.model_dump_json()) == measures
    assert len(result.samples) == 8
    assert measures.accuracy is not None
    assert measures.accuracy.scored + measures.accuracy.unparsed == 8
    assert measures.accuracy.oracles == {"blind": 0.5}
    assert list(measures.by_kind) == ["now", "then"]
    assert measures.extrapolated is None
    assert memory_of(measures).peak_bytes > memory_of(measures).resting_bytes > measures.parameters * 4
    assert sum(memory_of(measures).state_bytes.values()) > 0
    assert measures.prefill_flops is not None
    assert measures.prefill_flops > 0
    assert measures.attention_routes == ("blocks/flash:cpu",)
    assert {"loading", "frames", "answering 4/4", "memory", "latency"} <= set(warnings)


def test_methods_see_the_same_frames_and_share_them(job: Job, pictures: type[Pictures]) -> None:
    shown = [measure_cell(job(method=name), print).measures.frames_digest for name in ("casa", "vanilla_ca")]
    assert shown[0] == shown[1]
    assert len(pictures.drawn) == 1
    other = measure_cell(job(view_seed=1), print).measures.frames_digest
    assert other != shown[0]


def test_counted_bytes_and_flops_are_the_same_in_every_run(job: Job) -> None:
    first, second = (measure_cell(job(), print).measures for _ in range(2))
    assert memory_of(first).peak_bytes == memory_of(second).peak_bytes
    assert first.prefill_flops == second.prefill_flops
    assert first.accuracy == second.accuracy


def test_one_frame_is_a_cell_too(method: str, job: Job) -> None:
    measures = measure_cell(job(method=method, frames=1), print).measures
    assert measures.latency.per_frame is not None


def test_the_limit_reaches_the_task(job: Job) -> None:
    assert len(measure_cell(job(limit=1), print).samples) == 2


def test_logits_that_are_not_numbers_end_the_cell(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = FusedModel.encode
    monkeypatch.setattr(FusedModel, "encode", lambda self, pixels: encode(self, pixels) * float("nan"))
    with pytest.raises(NonFiniteError, match="NaN"):
        measure_cell(job(), print)


def test_a_failing_scorer_leaves_the_rest_measured(
    job: Job, pictures: type[Pictures], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Pictures, prediction: str, question: Question) -> Score:
        raise KeyError(question.id)

    monkeypatch.setattr(pictures, "score", fail)
    result = measure_cell(job(), print)
    assert result.measures.accuracy is not None
    assert (result.measures.accuracy.mean, result.measures.accuracy.errors) == (None, 8)
    assert {outcome.status for outcome in result.samples} == {"error"}
    assert memory_of(result.measures).peak_bytes > 0


def test_an_empty_task_is_an_error(job: Job) -> None:
    with pytest.raises(UsageError, match="no samples"):
        measure_cell(job(task_config={"clips": 0}), print)


def test_some_unreadable_media_are_counted_and_all_are_an_error(job: Job) -> None:
    result = measure_cell(job(task_config={"unreadable": 1}), print)
    assert result.measures.accuracy is not None
    assert result.measures.accuracy.errors == 2
    with pytest.raises(MediaError, match="ends too early"):
        measure_cell(job(task_config={"unreadable": 4}), print)


def test_a_plan_for_another_version_of_the_task_is_refused(job: Job) -> None:
    with pytest.raises(UsageError, match="version 1 of task"):
        measure_cell(job(task_version=1), print)


def test_a_cache_that_cannot_be_used_does_not_end_the_cell(job: Job, warnings: list[str]) -> None:
    made = job()
    made.cache_dir.write_text("in the way")
    assert len(measure_cell(made, warnings.append).samples) == 8
    assert any("cannot be written" in line for line in warnings)


def test_measures_are_json(job: Job) -> None:
    measures = measure_cell(job(), print).measures
    document = json.loads(measures.model_dump_json())
    assert isinstance(document["memory"]["peak_bytes"], int)
    assert len(document["latency"]["prefill"]["raw_ms"]) == 2


@pytest.mark.parametrize(
    ("frames", "height", "width", "expected"),
    [(8, 64, 64, False), (16, 48, 48, False), (17, 64, 64, True), (8, 16, 64, True), (8, 64, 128, True)],
)
def test_extrapolation_is_what_lies_outside_the_trained_range(
    job: Job, frames: int, height: int, width: int, expected: bool
) -> None:
    key = job(frames=frames, height=height, width=width).key
    trained = TrainedRange(tasks=(key.task,), max_frames=16, heights=(32, 64), widths=(32, 64))
    assert extrapolates(key, trained) is expected
    assert extrapolates(key, replace(trained, tasks=("another",))) is True
    assert extrapolates(key, None) is None


def test_the_process_keeps_no_inference_mode(job: Job) -> None:
    measure_cell(job(), print)
    assert not torch.is_inference_mode_enabled()
