"""One size: load every method's model and the stream they share, then time them in rounds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from harness import registry
from harness.collector import frozen
from harness.errors import UsageError
from harness.loading import load_subject
from harness.measure.cache import EntryCache
from harness.measure.cell import load_task
from harness.measure.latency import Repeats, collect, encode_section, fusion_sections
from harness.measure.subject import Subject
from harness.measure.views import load_view
from harness.measure.workload import Workload, pick_sample
from harness.plan import CellJob
from harness.records import Timing
from harness.task import Sample, Task, View
from harness.timing.labels import names_of
from harness.timing.plan import TimingJob
from harness.timing.records import SYNTHETIC, MethodOutcome
from harness.timing.rounds import Progress, Sections, interleave
from harness.timing.synthetic import SyntheticFrames


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeResult:
    """What came of a size: an outcome per method, and what the methods share."""

    frames_digest: str | None
    encode: Timing | None
    outcomes: tuple[MethodOutcome, ...]


@torch.inference_mode()
def time_size(job: TimingJob, progress: Progress) -> SizeResult:
    """Time all methods of one size in this process. What a method raises is its outcome.

    Raises UsageError for a task without usable samples, MediaError when no medium could be read.
    """
    first = job.cells[0]
    torch.set_num_threads(first.threads)
    registry.discover(first.plugins)
    device = torch.device(first.key.device)
    progress("frames")
    stream = _Stream(first, progress)
    encode: list[Timing] = []

    def maker(cell: CellJob) -> Callable[[], Sections]:
        def make() -> Sections:
            workload = stream.workload(load_subject(cell))
            if not encode:
                encode.append(collect(encode_section(workload), device, Repeats()))
            return fusion_sections(workload)

        return make

    names = names_of(job.key)
    with frozen():
        outcomes = interleave(
            {name: maker(cell) for name, cell in zip(names, job.cells, strict=True)},
            device,
            rounds=job.rounds,
            order_seed=job.order_seed,
            progress=progress,
        )
    return SizeResult(
        frames_digest=stream.digest,
        encode=encode[0] if encode else None,
        outcomes=tuple(outcomes[name] for name in names),
    )


class _Stream:
    """The stream and question that all methods of a size are shown, encoded once per encoder."""

    def __init__(self, cell: CellJob, progress: Progress) -> None:
        key = cell.key
        self._key = key
        self._cache = EntryCache(cell.cache_dir / "views", progress)
        self._task: Task = SyntheticFrames() if key.task == SYNTHETIC else load_task(key, cell.task_places)
        self._view = View(
            frames=key.frames, height=key.height, width=key.width, seed=key.view_seed, limit=key.limit
        )
        self._encoded: dict[str, Tensor] = {}
        self._sample: Sample | None = None

    @property
    def digest(self) -> str | None:
        """One hash over the stream's frames, in order; None where no method came to see them."""
        if self._sample is None:
            return None
        names = "".join(frame.digest for frame in self._sample.stream.frames)
        return hashlib.sha256(names.encode()).hexdigest()[:16]

    def workload(self, model: Subject) -> Workload:
        """Raises UsageError for a model whose frames cannot be appended one by one."""
        if model.not_streamed is not None:
            raise UsageError(f"it has no time per appended frame: {model.not_streamed}; use `harness eval`")
        key, encoder = self._key, model.encoder_digest
        if encoder not in self._encoded:
            view = load_view(key.task, self._task, self._view, model, key.device, self._cache)
            self._sample = pick_sample(key.task, view.samples)
            self._encoded[encoder] = view.of(self._sample, "cpu")
        assert self._sample is not None
        return Workload(
            model=model,
            stream=self._sample.stream,
            features=self._encoded[encoder].to(key.device),
            question=self._sample.questions[0].prompt,
        )
