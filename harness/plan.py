"""From a specification to cells: the full grid in a fixed order, each with its identity.

Methods vary fastest, so that the methods of one view are measured next to each other, under the same
conditions of the machine, and share its decoded frames.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness import registry
from harness.errors import InfrastructureError, UsageError
from harness.records import CellKey
from harness.settings import build_config, changed, config_json
from harness.spec import EvalSpec, MethodSpec, TaskSpec

if TYPE_CHECKING:
    from harness.registry import BrokenPlugin, Registry

NO_WEIGHTS = "none"
"""Stands for the weights' digest in the key of a cell that is skipped for want of trained weights."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CellJob:
    """All that a worker needs to measure one cell. ``weights_path`` None means random weights."""

    key: CellKey
    weights_path: Path | None
    cache_dir: Path
    plugins: tuple[Path, ...]
    threads: int

    def to_json(self) -> str:
        document = {
            "key": self.key.model_dump(mode="json"),
            "weights_path": None if self.weights_path is None else str(self.weights_path),
            "cache_dir": str(self.cache_dir),
            "plugins": [str(plugin) for plugin in self.plugins],
            "threads": self.threads,
        }
        return json.dumps(document, indent=1)

    @classmethod
    def from_json(cls, text: str) -> CellJob:
        """The inverse of :meth:`to_json`; raises UsageError for anything else."""
        try:
            document = json.loads(text)
            weights = document["weights_path"]
            return cls(
                key=CellKey.model_validate(document["key"]),
                weights_path=None if weights is None else Path(weights),
                cache_dir=Path(document["cache_dir"]),
                plugins=tuple(Path(plugin) for plugin in document["plugins"]),
                threads=int(document["threads"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise UsageError(f"this is not a cell file ({reason}); `harness eval` writes them") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCell:
    """A cell to measure, or the reason why it is skipped."""

    job: CellJob
    skip: str | None = None

    @property
    def key(self) -> CellKey:
        return self.job.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Distinct cells in the order in which they are measured, and the plugins that could not be imported."""

    cells: tuple[PlannedCell, ...]
    broken: tuple[BrokenPlugin, ...]


@dataclass(frozen=True, slots=True)
class _Method:
    spec: MethodSpec
    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Weights:
    """What ``CellKey.weights`` says, where the weights lie, and why there are none."""

    digest: str
    path: Path | None = None
    missing: str | None = None


def make_plan(spec: EvalSpec) -> Plan:
    """Resolve every name and setting, find the weights, and lay out the grid.

    Raises UsageError for an unknown name or setting, InfrastructureError for a device that is not there.
    """
    broken = registry.discover(spec.plugins)
    tasks = [(name, _task(name, broken)) for name in spec.tasks]
    chosen = spec.methods or tuple(MethodSpec(name) for name in registry.methods)
    if not chosen:
        raise UsageError("no fusion method is registered; add one with --plugin FILE")
    methods = [_method(method, broken) for method in chosen]
    lookup(registry.backbones, spec.backbone, broken)
    require_device(spec.device)
    weights = {
        (index, seed): _weights(method, seed, spec)
        for index, method in enumerate(methods)
        for seed in spec.seeds
    }
    cells: dict[str, PlannedCell] = {}
    for task_name, (version, task_config) in tasks:
        for view in _views(spec):
            for seed in spec.seeds:
                for index, method in enumerate(methods):
                    found = weights[index, seed]
                    key = CellKey(
                        task=task_name.name,
                        task_version=version,
                        task_config=task_config,
                        method=method.spec.name,
                        method_config=method.config,
                        backbone=spec.backbone,
                        weights=found.digest,
                        seed=seed,
                        view_seed=spec.view_seed,
                        limit=spec.limit,
                        batch=spec.batch,
                        dtype=spec.dtype,
                        device=spec.device,
                        **view,
                    )
                    cells.setdefault(key.digest, _cell(key, found, spec))
    return Plan(cells=tuple(cells.values()), broken=tuple(broken))


def lookup(known: Registry[T], name: str, broken: Sequence[BrokenPlugin]) -> T:
    """The registered item; an unknown name is answered with near matches and the plugins that broke."""
    try:
        return known.get(name)
    except UsageError as error:
        if not broken:
            raise
        plugins = "; ".join(f"plugin {plugin.source} ({plugin.error})" for plugin in broken)
        raise UsageError(f"{error}; what could not be imported is missing: {plugins}") from None


def require_device(device: str) -> None:
    """Raise InfrastructureError unless torch can use the device."""
    if device == "cpu":
        return
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    index = int(device.partition(":")[2] or 0)
    if index >= count:
        raise InfrastructureError(
            f"device {device!r} is not there: torch {torch.__version__} sees {count} CUDA device(s); "
            "use --device cpu, or install a torch build with CUDA on a machine with a GPU"
        )


def method_label(key: CellKey) -> str:
    """The cell's method with the settings that differ from its defaults, as on the command line.

    A method that is not registered here is shown with all its settings.
    """
    settings = key.method_config
    if key.method in registry.methods:
        with contextlib.suppress(UsageError):
            settings = changed(build_config(registry.methods.get(key.method).Config, settings, key.method))
    return str(MethodSpec(key.method, settings))


def _views(spec: EvalSpec) -> Iterator[dict[str, int]]:
    for height, width in spec.resolutions:
        for frames in spec.frames:
            yield {"frames": frames, "height": height, "width": width}


def _task(spec: TaskSpec, broken: Sequence[BrokenPlugin]) -> tuple[int, dict[str, Any]]:
    task = lookup(registry.tasks, spec.name, broken)
    config = build_config(task.Config, spec.config, f"task {spec.name!r}")
    return task.version, config_json(config)


def _method(spec: MethodSpec, broken: Sequence[BrokenPlugin]) -> _Method:
    method = lookup(registry.methods, spec.name, broken)
    config = build_config(method.Config, spec.config, f"method {spec.name!r}")
    return _Method(MethodSpec(spec.name, changed(config)), config_json(config))


def _weights(method: _Method, seed: int, spec: EvalSpec) -> _Weights:
    if spec.weights == "random":
        return _Weights("random")
    from harness import models

    path = models.find_weights(method.spec.name, method.config, spec.backbone, seed, spec.models)
    if path is not None:
        return _Weights(models.weights_digest(path), path.resolve())
    settings = " ".join(str(method.spec).replace(":", " ", 1).split("+"))
    train = f"harness train --method {shlex.quote(str(method.spec))} --seed {seed} --out DIR"
    return _Weights(
        NO_WEIGHTS,
        missing=f"no trained weights for {settings} seed {seed}; train them with `{train}` "
        "and pass --models DIR, or measure cost only with --weights random",
    )


def _cell(key: CellKey, weights: _Weights, spec: EvalSpec) -> PlannedCell:
    job = CellJob(
        key=key,
        weights_path=weights.path,
        cache_dir=spec.cache.absolute(),
        plugins=tuple(plugin.absolute() for plugin in spec.plugins),
        threads=spec.threads,
    )
    return PlannedCell(job=job, skip=weights.missing)
