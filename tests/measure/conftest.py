"""Models, views and jobs to measure with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from harness import registry
from harness.collector import frozen
from harness.measure.cache import EntryCache
from harness.measure.views import EncodedView, load_view
from harness.measure.workload import Workload, pick_sample
from harness.models import build_model
from harness.plan import CellJob
from harness.records import CellKey
from harness.task import View
from harness.vlm import FusedModel
from tests.measure.pictures import NAME, Pictures

registry.discover()
METHODS = tuple(registry.methods)
BACKBONE = "tiny-qwen3"


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    """Every registered method in turn."""
    return str(request.param)


@pytest.fixture
def allocator_peak() -> Callable[[Callable[[], object]], int]:
    """Peak of the running sum of the CPU allocator's events while a function runs, in bytes."""

    def measure(work: Callable[[], object]) -> int:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            work()
        live = peak = 0
        for event in profiler.profiler.kineto_results.events():
            if event.name() == "[memory]":
                live += event.nbytes()
                peak = max(peak, live)
        return peak

    return measure


@pytest.fixture(scope="package", autouse=True)
def quick_collector() -> Iterator[None]:
    """Most regions here begin with a collection; what pytest and the libraries hold need not be searched."""
    with frozen():
        yield


@pytest.fixture
def pictures() -> Iterator[type[Pictures]]:
    """The task, registered for one test."""
    Pictures.drawn.clear()
    known = registry.tasks.names()
    registry.tasks.add(NAME, Pictures, __name__)
    yield Pictures
    registry.tasks.keep(known)


@pytest.fixture(scope="session")
def models() -> dict[str, FusedModel]:
    """One model with random weights per method."""
    return {method: build_model(method, {}, BACKBONE, 0) for method in METHODS}


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, warnings: list[str]) -> EntryCache:
    return EntryCache(tmp_path / "cache", warnings.append)


@pytest.fixture
def view(models: dict[str, FusedModel], cache: EntryCache) -> EncodedView:
    asked = View(frames=3, height=32, width=32)
    return load_view(NAME, Pictures(), asked, next(iter(models.values())), "cpu", cache)


@pytest.fixture
def workload(models: dict[str, FusedModel], view: EncodedView) -> Callable[[str], Workload]:
    sample = pick_sample(NAME, view.samples)

    def make(method: str) -> Workload:
        return Workload(
            model=models[method],
            stream=sample.stream,
            features=view.of(sample, "cpu"),
            question=sample.questions[0].prompt,
        )

    return make


def fused(load: Workload) -> FusedModel:
    """The model of a workload, which is a fused one here."""
    assert isinstance(load.model, FusedModel)
    return load.model


@pytest.fixture
def job(pictures: type[Pictures], tmp_path: Path) -> Callable[..., CellJob]:
    """A job of the test task with random weights; keyword arguments change its key."""

    def make(**changes: object) -> CellJob:
        settings = {"clips": 4, "questions": 2, "unreadable": 0, "path": ""}
        settings.update(changes.pop("task_config", {}))  # type: ignore[call-overload]
        values: dict[str, object] = {
            "task": NAME,
            "task_version": pictures.version,
            "task_config": settings,
            "method": METHODS[0],
            "method_config": {},
            "frames": 2,
            "height": 32,
            "width": 32,
            "backbone": BACKBONE,
            "weights": "random",
            "seed": 0,
            "view_seed": 0,
            "limit": None,
            "batch": 2,
            "dtype": "float32",
            "device": "cpu",
        }
        return CellJob(
            key=CellKey.model_validate(values | changes),
            weights_path=None,
            cache_dir=tmp_path / "cache",
            plugins=(),
            threads=torch.get_num_threads(),
        )

    return make
