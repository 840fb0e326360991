"""From a specification to cells: the full grid in a fixed order, each with its identity.

Methods vary fastest, so that the methods of one view are measured next to each other, under the same
conditions of the machine, and share its decoded frames.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from harness import registry
from harness.errors import InfrastructureError, UsageError
from harness.inputs import inputs_of
from harness.published_models import CHECKPOINT, METHOD, NOT_PUBLISHED, PublishedConfig
from harness.records import CellKey, Inputs
from harness.settings import build_config, changed, config_json, settings_of, split_places
from harness.spec import EvalSpec, MethodSpec, TaskSpec

if TYPE_CHECKING:
    from harness.backbones import BackboneSpec
    from harness.published_models.planning import PublishedPlan
    from harness.registry import BrokenPlugin, Registry

NO_WEIGHTS = "none"
"""Stands for the weights' digest in the key of a cell that is skipped for want of trained weights."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CellJob:
    """All that a worker needs to measure one cell. ``weights_path`` None means random weights, of the shapes
    that ``backbone_path`` gives where the backbone is a folder. ``task_places`` are the task's settings that
    say where its data lies; ``journal`` is set by the worker: the file that gets each answer as it is given.
    ``trust_remote_code`` lets a published model run code of its own."""

    key: CellKey
    weights_path: Path | None
    cache_dir: Path
    plugins: tuple[Path, ...]
    threads: int
    backbone_path: Path | None = None
    inputs: Inputs | None = None
    """For the record; None where the cell file does not tell."""
    task_places: Mapping[str, str] = field(default_factory=dict)
    journal: Path | None = None
    trust_remote_code: bool = False

    def to_json(self) -> str:
        document = {
            "key": self.key.model_dump(mode="json"),
            "weights_path": None if self.weights_path is None else str(self.weights_path),
            "cache_dir": str(self.cache_dir),
            "plugins": [str(plugin) for plugin in self.plugins],
            "threads": self.threads,
            "backbone_path": None if self.backbone_path is None else str(self.backbone_path),
            "inputs": None if self.inputs is None else self.inputs.model_dump(mode="json"),
            "task_places": dict(self.task_places),
            "trust_remote_code": self.trust_remote_code,
        }
        return json.dumps(document, indent=1)

    @classmethod
    def from_json(cls, text: str) -> CellJob:
        """The inverse of :meth:`to_json`; raises UsageError for anything else."""
        try:
            document = json.loads(text)
            weights, backbone = document["weights_path"], document.get("backbone_path")
            inputs = document.get("inputs")
            return cls(
                key=CellKey.model_validate(document["key"]),
                weights_path=None if weights is None else Path(weights),
                cache_dir=Path(document["cache_dir"]),
                plugins=tuple(Path(plugin) for plugin in document["plugins"]),
                threads=int(document["threads"]),
                backbone_path=None if backbone is None else Path(backbone),
                inputs=None if inputs is None else Inputs.model_validate(inputs),
                task_places={str(name): str(at) for name, at in document.get("task_places", {}).items()},
                trust_remote_code=document.get("trust_remote_code") is True,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedModel:
    """A method on a backbone: what a cell's key says of it, where its weights lie, and why there are none."""

    method: str
    method_config: dict[str, Any]
    backbone: str
    seed: int
    weights: str
    weights_path: Path | None
    backbone_path: Path | None
    inputs: Inputs
    missing: str | None

    def job(self, key: CellKey, spec: EvalSpec, places: Mapping[str, str] = MappingProxyType({})) -> CellJob:
        """The job of a cell of this model."""
        return CellJob(
            key=key,
            weights_path=self.weights_path,
            cache_dir=spec.cache.absolute(),
            plugins=tuple(plugin.absolute() for plugin in spec.plugins),
            threads=spec.threads,
            backbone_path=self.backbone_path,
            inputs=self.inputs,
            task_places=places,
            trust_remote_code=spec.trust_remote_code,
        )


@dataclass(frozen=True, slots=True)
class _Method:
    spec: MethodSpec
    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """A task with its settings; ``places`` say where its data lie and are no part of a cell's identity."""

    name: str
    version: int
    config: dict[str, Any]
    places: dict[str, str]

    @property
    def key(self) -> dict[str, Any]:
        """What a cell's key says of it."""
        return {"task": self.name, "task_version": self.version, "task_config": self.config}


@dataclass(frozen=True, slots=True)
class _Backbone:
    """What ``CellKey.backbone`` says, the folder that it came from, and whether that is a whole model: fused
    here, or published."""

    name: str
    folder: Path | None = None
    fused: bool = False
    published: PublishedPlan | None = None


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
    tasks = plan_tasks(spec.tasks, spec.data, broken)
    models = plan_models(spec, broken)
    cells: dict[str, PlannedCell] = {}
    for task in tasks:
        for view in _views(spec):
            for model in models:
                key = CellKey(
                    **task.key,
                    **view,
                    method=model.method,
                    method_config=model.method_config,
                    backbone=model.backbone,
                    weights=model.weights,
                    seed=model.seed,
                    view_seed=spec.view_seed,
                    limit=spec.limit,
                    batch=spec.batch,
                    dtype=spec.dtype,
                    device=spec.device,
                )
                planned = PlannedCell(job=model.job(key, spec, task.places), skip=model.missing)
                cells.setdefault(key.digest, planned)
    return Plan(cells=tuple(cells.values()), broken=tuple(broken))


def plan_models(spec: EvalSpec, broken: Sequence[BrokenPlugin]) -> list[PlannedModel]:
    """Every method for every seed, methods innermost, with the weights that are there.

    Raises UsageError for an unknown name or setting, InfrastructureError for a device that is not there.
    """
    backbone = _backbone(spec, broken)
    chosen = spec.methods or _default_methods(backbone)
    if not chosen:
        raise UsageError("no fusion method is registered; add one with --plugin FILE")
    methods = [_method(method, backbone, broken) for method in chosen]
    require_device(spec.device)
    inputs = inputs_of(spec, backbone.folder)
    models = []
    for seed in spec.seeds:
        for method in methods:
            found = _weights(method, seed, spec, backbone)
            models.append(
                PlannedModel(
                    method=method.spec.name,
                    method_config=method.config,
                    backbone=backbone.name,
                    seed=seed,
                    weights=found.digest,
                    weights_path=found.path,
                    backbone_path=backbone.folder,
                    inputs=inputs,
                    missing=found.missing,
                )
            )
    return models


def lookup(known: Registry[T], name: str, broken: Sequence[BrokenPlugin]) -> T:
    """The registered item; an unknown name is answered with near matches and the plugins that broke."""
    try:
        return known.get(name)
    except UsageError as error:
        if not broken:
            raise
        plugins = "; ".join(f"plugin {plugin.source} ({plugin.error})" for plugin in broken)
        raise UsageError(f"{error}; what could not be imported is missing: {plugins}") from None


def lookup_backbone(name: str, broken: Sequence[BrokenPlugin]) -> BackboneSpec:
    """The backbone of a registered name or of a folder."""
    from harness.backbones import is_folder, resolve

    return resolve(name) if is_folder(name) else lookup(registry.backbones, name, broken)


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


class MethodKey(Protocol):
    """What a key says of a method: its registered name and every field of its config."""

    @property
    def method(self) -> str: ...
    @property
    def method_config(self) -> dict[str, Any]: ...


def method_label(key: MethodKey) -> str:
    """The key's method with the settings that differ from its defaults, as on the command line.

    A published model is shown under its checkpoint's name, a method that is not registered here with all its
    settings.
    """
    name, settings = key.method, dict(key.method_config)
    if key.method == METHOD:
        name = str(settings.pop(CHECKPOINT, METHOD))
    if key.method == METHOD or key.method in registry.methods:
        known = PublishedConfig if key.method == METHOD else registry.methods.get(key.method).Config
        with contextlib.suppress(UsageError):
            settings = changed(build_config(known, settings, key.method))
    return str(MethodSpec(name, settings))


def _views(spec: EvalSpec) -> Iterator[dict[str, Any]]:
    for height, width in spec.resolutions:
        for frames in spec.frames:
            yield {"frames": frames, "height": height, "width": width}


def plan_tasks(
    specs: Sequence[TaskSpec], data: Path | None, broken: Sequence[BrokenPlugin]
) -> list[PlannedTask]:
    """The tasks with their settings; ``data`` goes to those that can be told where theirs lies.

    Raises UsageError for an unknown name or setting, and for ``data`` that no task takes.
    """
    found = [(task, lookup(registry.tasks, task.name, broken)) for task in specs]
    takers = [task.name for task, cls in found if "data" in {one.name for one in settings_of(cls.Config)}]
    if data is not None and not takers:
        names = ", ".join(task.name for task in specs)
        raise UsageError(f"data={str(data)!r} is given, but {names} makes its own data; leave it out")
    tasks = []
    for task, cls in found:
        given = dict(task.config)
        if data is not None and task.name in takers:
            given.setdefault("data", str(data))
        identity, places = split_places(build_config(cls.Config, given, f"task {task.name!r}"))
        tasks.append(PlannedTask(task.name, cls.version, identity, places))
    return tasks


def _method(spec: MethodSpec, backbone: _Backbone, broken: Sequence[BrokenPlugin]) -> _Method:
    known = PublishedConfig if spec.name == METHOD else lookup(registry.methods, spec.name, broken).Config
    config = build_config(known, spec.config, f"method {spec.name!r}")
    own = {}
    if backbone.published is not None and spec.name == METHOD:
        own = {CHECKPOINT: backbone.published.checkpoint.title}
    return _Method(MethodSpec(spec.name, changed(config)), {**own, **config_json(config)})


def _backbone(spec: EvalSpec, broken: Sequence[BrokenPlugin]) -> _Backbone:
    from harness.backbones import is_folder
    from harness.published_models.names import is_published

    name = spec.backbone
    if is_published(name):
        from harness.published_models.planning import PublishedPlan

        published = PublishedPlan.of(spec)
        return _Backbone(published.checkpoint.name, published.checkpoint.folder, published=published)
    found = lookup_backbone(name, broken)
    return _Backbone(found.name, found.folder, found.fused) if is_folder(name) else _Backbone(name)


def _default_methods(backbone: _Backbone) -> tuple[MethodSpec, ...]:
    """A whole model's own method, else every registered one."""
    if backbone.published is not None:
        return (MethodSpec(METHOD),)
    if backbone.folder is None or not backbone.fused:
        return tuple(MethodSpec(name) for name in registry.methods)
    from harness.modelfiles import read_config

    config = read_config(backbone.folder)
    return (MethodSpec(config.method, config.method_config),)


def _weights(method: _Method, seed: int, spec: EvalSpec, backbone: _Backbone) -> _Weights:
    if backbone.published is not None:
        missing = backbone.published.why_not(method.spec.name, seed)
        digest = NO_WEIGHTS if missing else backbone.published.digest
        return _Weights(digest, None if digest in (NO_WEIGHTS, "random") else backbone.folder, missing)
    if method.spec.name == METHOD:
        return _Weights(NO_WEIGHTS, missing=NOT_PUBLISHED.format(backbone=spec.backbone))
    if spec.weights == "random":
        return _Weights("random")
    from harness import models

    own = (backbone.folder,) if backbone.folder is not None and backbone.fused else ()
    path = models.find_weights(method.spec.name, method.config, backbone.name, seed, (*own, *spec.models))
    if path is not None:
        return _Weights(models.weights_digest(path), path.resolve())
    settings = " ".join(str(method.spec).replace(":", " ", 1).split("+"))
    return _Weights(
        NO_WEIGHTS,
        missing=f"no trained weights for {settings} seed {seed}{_how_to_get(method, seed, backbone)}, "
        "or measure cost only with --weights random",
    )


def _how_to_get(method: _Method, seed: int, backbone: _Backbone) -> str:
    """How to come by the weights of a method on a backbone."""
    of = f"--method {shlex.quote(str(method.spec))}"
    if backbone.folder is None:
        return f"; train them with `harness train {of} --seed {seed} --out DIR` and pass --models DIR"
    if backbone.fused:
        from harness.modelfiles import read_config

        found = read_config(backbone.folder)
        return (
            f" in {backbone.folder}, which holds {found.method} seed {found.seed} only; "
            f"leave out --methods and give --seed {found.seed}"
        )
    folder = shlex.quote(str(backbone.folder))
    return (
        f" on {backbone.name}; make them with "
        f"`harness graft {of} --backbone {folder} --seed {seed} --out DIR` and pass --models DIR"
    )
