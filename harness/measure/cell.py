"""One cell: load the model and the view, then measure accuracy, memory, latency and FLOPs in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from harness import registry
from harness.attention import recording
from harness.collector import frozen
from harness.errors import UsageError
from harness.journal import Journal
from harness.loading import load_subject
from harness.measure.accuracy import aggregates, answer_all, by_kind, summarise
from harness.measure.cache import EntryCache
from harness.measure.flops import count_flops
from harness.measure.latency import measure_latency
from harness.measure.memory import measure_memory
from harness.measure.phases import Phases
from harness.measure.views import EncodedView, load_view
from harness.measure.workload import Workload, pick_sample
from harness.records import CellKey, Measures, SampleOutcome
from harness.settings import build_config
from harness.task import Task, View

if TYPE_CHECKING:
    from harness.measure.subject import Subject
    from harness.plan import CellJob
    from harness.vlm import TrainedRange

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What came of a cell: its measures, and one outcome per question."""

    measures: Measures
    samples: tuple[SampleOutcome, ...]


@torch.inference_mode()
def measure_cell(job: CellJob, progress: Progress) -> CellResult:
    """Measure one cell in this process.

    Raises NonFiniteError for NaN or infinite logits, UsageError for a task without usable samples, MediaError
    when no medium could be read, and whatever the model raises.
    """
    torch.set_num_threads(job.threads)
    registry.require(job.plugins)
    key = job.key
    progress("loading")
    task = load_task(key, job.task_places)
    model = load_subject(job)
    if model.not_streamed is not None:
        progress(f"no time per frame: {model.not_streamed}")
    progress("frames")
    cache = EntryCache(job.cache_dir / "views", progress)
    asked = View(frames=key.frames, height=key.height, width=key.width, seed=key.view_seed, limit=key.limit)
    view = load_view(key.task, task, asked, model, key.device, cache)
    with frozen():
        return _measure(key, task, model, view, Journal(job.journal, view.frames_digest), progress)


def _measure(
    key: CellKey, task: Task, model: Subject, view: EncodedView, journal: Journal, progress: Progress
) -> CellResult:
    workload = _workload(key, model, view)
    with recording() as routes:
        outcomes = answer_all(
            model, task, view, device=key.device, batch=key.batch, progress=progress, journal=journal
        )
        progress("memory")
        phases = Phases(key.device, progress)
        memory = phases.run("memory", lambda: measure_memory(workload))
    progress("latency")
    latency = measure_latency(workload, phases)
    accuracy = summarise(outcomes)
    fused = (accuracy.mean, memory, latency.prefill, latency.per_frame, latency.per_token)
    if phases.out_of_memory and all(part is None for part in fused):
        # The encoder's time alone says nothing of the method.
        raise MemoryError(phases.out_of_memory[0].message)
    measures = Measures(
        parameters=model.parameter_count(),
        accuracy=accuracy,
        by_kind=by_kind(outcomes),
        aggregates=aggregates(task, outcomes, progress),
        extrapolated=extrapolates(key, model.trained_on),
        memory=memory,
        latency=latency,
        prefill_flops=phases.run("flops", lambda: count_flops(lambda: workload.prefill(model.session()))),
        frames_digest=view.frames_digest,
        attention_routes=tuple(sorted(routes)),
        out_of_memory=tuple(phases.out_of_memory),
    )
    return CellResult(measures=measures, samples=tuple(outcomes))


def _workload(key: CellKey, model: Subject, view: EncodedView) -> Workload:
    sample = pick_sample(key.task, view.samples)
    return Workload(
        model=model,
        stream=sample.stream,
        features=view.of(sample, key.device),
        question=model.prompt(sample.questions[0]),
    )


def load_task(key: CellKey, places: Mapping[str, str] | None = None) -> Task:
    """The task that a key names, its data at ``places``; raises UsageError when it has another version by
    now."""
    cls = registry.tasks.get(key.task)
    if cls.version != key.task_version:
        raise UsageError(
            f"the cell asks for version {key.task_version} of task {key.task!r}, "
            f"but version {cls.version} is installed; plan the run again"
        )
    return cls(build_config(cls.Config, {**key.task_config, **(places or {})}, f"task {key.task!r}"))


def extrapolates(key: CellKey, trained_on: TrainedRange | None) -> bool | None:
    """Whether task, frames or size lie outside what the weights were trained on; None without weights."""
    if trained_on is None:
        return None
    inside = (
        key.task in trained_on.tasks
        and key.frames <= trained_on.max_frames
        and min(trained_on.heights) <= key.height <= max(trained_on.heights)
        and min(trained_on.widths) <= key.width <= max(trained_on.widths)
    )
    return not inside
