"""From a specification to cells: the full grid in a fixed order, each with its identity.

Methods vary fastest, so that the methods of one view are measured next to each other, under the same
conditions of the machine, and share its decoded frames.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from harness import registry
from harness.errors import UsageError
from harness.inputs import given
from harness.lookup import lookup
from harness.planned_models import PlannedModel, plan_models
from harness.published_models import CHECKPOINT, METHOD, PublishedConfig
from harness.records import CellKey, Inputs
from harness.refusals import Refusals
from harness.settings import build_config, changed, settings_of, split_places
from harness.spec import EvalSpec, MethodSpec, TaskSpec

if TYPE_CHECKING:
    from harness.registry import BrokenPlugin


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
    """Distinct cells in the order in which they are measured, and the plugins that could not be imported.

    ``left_out`` says which methods and seeds are not planned on which of several backbones.
    """

    cells: tuple[PlannedCell, ...]
    broken: tuple[BrokenPlugin, ...]
    left_out: str | None = None


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


def make_plan(spec: EvalSpec) -> Plan:
    """Resolve every name and setting, find the weights, and lay out the grid.

    Raises UsageError for an unknown name or setting, InfrastructureError for a device that is not there.
    """
    broken = registry.require(spec.plugins)
    tasks = plan_tasks(spec.tasks, spec.data, broken)
    models = plan_models(spec, broken)
    refusals = Refusals()
    cells: dict[str, PlannedCell] = {}
    for task in tasks:
        for view in _views(spec):
            for model in models.models:
                key = key_of(task, model, spec, **view)
                refused = refusals.of(task, model, key)
                planned = PlannedCell(
                    job=job_of(model, key, spec, task.places), skip=refused or model.missing
                )
                cells.setdefault(key.digest, planned)
    refusals.check()
    return Plan(cells=tuple(cells.values()), broken=tuple(broken), left_out=models.left_out)


def key_of(
    task: PlannedTask, model: PlannedModel, spec: EvalSpec, *, frames: int, height: int, width: int
) -> CellKey:
    """The key of a model's cell on a task, at one view of the grid."""
    return CellKey(
        **task.key,
        frames=frames,
        height=height,
        width=width,
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


def job_of(
    model: PlannedModel, key: CellKey, spec: EvalSpec, places: Mapping[str, str] = MappingProxyType({})
) -> CellJob:
    """The job of a cell of a model, with its task's data at ``places``."""
    told = {name: given(Path(at)) for name, at in places.items() if at}
    return CellJob(
        key=key,
        weights_path=model.weights_path,
        cache_dir=spec.cache.absolute(),
        plugins=tuple(plugin.absolute() for plugin in spec.plugins),
        threads=spec.threads,
        backbone_path=model.backbone_path,
        inputs=model.inputs.model_copy(update={"task_places": told}),
        task_places=places,
        trust_remote_code=spec.trust_remote_code,
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

    It is the folder of their data, or holds one for each that is named after the task (``chartqa`` for
    ``lmms:chartqa``). Raises UsageError for an unknown name or setting, for ``data`` that no task takes, and
    where only some tasks have a folder of their own.
    """
    found = [(task, lookup(registry.tasks, task.name, broken)) for task in specs]
    takers = [task.name for task, cls in found if "data" in {one.name for one in settings_of(cls.Config)}]
    if data is not None and not takers:
        names = ", ".join(task.name for task in specs)
        raise UsageError(f"data={str(data)!r} is given, but {names} makes its own data; leave it out")
    wanting = [task.name for task in specs if task.name in takers and "data" not in task.config]
    folders = {} if data is None else _folders(wanting, data)
    tasks = []
    for task, cls in found:
        config = dict(task.config)
        if task.name in folders:
            config.setdefault("data", str(folders[task.name]))
        identity, places = split_places(build_config(cls.Config, config, f"task {task.name!r}"))
        tasks.append(PlannedTask(task.name, cls.version, identity, places))
    return tasks


def _folders(tasks: Sequence[str], data: Path) -> dict[str, Path]:
    """Where the data of each task lies: in a folder of its own below ``data``, else in ``data``."""
    own = {name: data / name.rpartition(":")[2] for name in tasks}
    there = [name for name, folder in own.items() if folder.is_dir()]
    if not there:
        return dict.fromkeys(tasks, data)
    for name, folder in own.items():
        if name not in there:
            raise UsageError(
                f"data={str(data)!r} holds a folder for {', '.join(there)}, but no folder "
                f"{folder.name!r} for {name}; name its folder so, or give --task {name}+data=DIR"
            )
    return own
