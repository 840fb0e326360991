"""From a timing specification to sizes, each with the job of every method."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import product
from typing import Self

from harness import registry
from harness.errors import UsageError
from harness.plan import CellJob, PlannedTask, job_of, key_of, plan_tasks
from harness.planned_models import plan_models
from harness.records import CellKey
from harness.refusals import Refusals
from harness.registry import BrokenPlugin
from harness.timing.records import SYNTHETIC, TimedMethod, TimingKey
from harness.timing.spec import TimingSpec
from harness.timing.synthetic import SyntheticFrames


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingJob:
    """All that a process needs to time one size: a cell's job per method; they differ in their model only."""

    cells: tuple[CellJob, ...]
    rounds: int
    order_seed: int

    @property
    def key(self) -> TimingKey:
        one = self.cells[0].key
        shared = set(TimingKey.model_fields) & set(CellKey.model_fields)
        methods = tuple(
            TimedMethod(
                method=cell.key.method, method_config=cell.key.method_config, weights=cell.key.weights
            )
            for cell in self.cells
        )
        return TimingKey(methods=methods, threads=self.cells[0].threads, **one.model_dump(include=shared))

    def to_json(self) -> str:
        cells = [cell.to_json() for cell in self.cells]
        return json.dumps({"cells": cells, "rounds": self.rounds, "order_seed": self.order_seed})

    @classmethod
    def from_json(cls, text: str) -> Self:
        document = json.loads(text)
        document["cells"] = tuple(CellJob.from_json(cell) for cell in document["cells"])
        return cls(**document)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingPlan:
    """One job per size, and the plugins that could not be imported."""

    jobs: tuple[TimingJob, ...]
    broken: tuple[BrokenPlugin, ...]


def make_timing_plan(spec: TimingSpec) -> TimingPlan:
    """Resolve every name and setting and find the weights; resolutions outermost.

    Raises UsageError for an unknown name or setting, for a method without weights (a comparison with one side
    missing is none) and for a size that the task or an encoder refuses. Raises InfrastructureError for a
    device that is not there.
    """
    grid = spec.grid
    broken = registry.require(spec.plugins)
    task = (
        PlannedTask(SYNTHETIC, SyntheticFrames.version, {}, {})
        if spec.task is None
        else plan_tasks((spec.task,), None, broken)[0]
    )
    models = plan_models(grid, broken).models
    for model in models:
        if model.missing is not None:
            raise UsageError(model.missing)
    refusals, jobs = Refusals(), []
    for (height, width), frames in product(spec.resolutions, spec.frames):
        cells = []
        for model in models:
            key = key_of(task, model, grid, frames=frames, height=height, width=width)
            refused = refusals.of(None if spec.task is None else task, model, key)
            if refused is not None:
                raise UsageError(refused)
            cells.append(job_of(model, key, grid, task.places))
        jobs.append(TimingJob(cells=tuple(cells), rounds=spec.rounds, order_seed=spec.order_seed))
    return TimingPlan(jobs=tuple(jobs), broken=tuple(broken))
