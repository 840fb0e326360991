"""The command lines that measure the cells of a run again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from harness.errors import UsageError
from harness.plan import MethodKey
from harness.published_models import CHECKPOINT, METHOD, PublishedConfig
from harness.records import Record
from harness.report.grids import Backbone, Grid, grids_of, over_backbones
from harness.report.labels import resolution_label
from harness.settings import build_config, changed, join
from harness.spec import DEFAULT_BACKBONE, EvalSpec, MethodSpec, NamedSpec, TaskSpec

Configs = Mapping[str, Mapping[str, object]]
"""Default settings by method."""
_DEFAULTS = {
    "--view-seed": EvalSpec.view_seed,
    "--backbone": DEFAULT_BACKBONE,
    "--device": EvalSpec.device,
    "--dtype": EvalSpec.dtype,
    "--batch": EvalSpec.batch,
    "--threads": EvalSpec.threads,
}
"""Options that a command line need not give where they have these values."""


def reproduce(records: Sequence[Record], defaults: Configs = MappingProxyType({})) -> list[str]:
    """Commands that plan the cells of these records and no others, as few as grids need.

    What a command line need not say is left out: options at their defaults, and settings of methods that are
    those of ``defaults``.

    Plugins and folders of models, data and backbones stand as they were given, where the record tells them:
    those of schema 1 do not. The record holds the content's hash of every plugin.
    """
    checkpoints = {record.key.backbone for record in records if CHECKPOINT in record.key.method_config}
    groups: dict[str, list[Record]] = {}
    for record in records:
        shared = record.key.model_dump(
            mode="json", include={"dtype", "device", "batch", "limit", "view_seed"}
        )
        identity = [shared, record.key.weights == "random", record.environment.threads, _inputs(record)]
        groups.setdefault(json.dumps(identity, sort_keys=True), []).append(record)
    commands = []
    for group in groups.values():
        random = group[0].key.weights == "random"
        grids = grids_of([_place(record, checkpoints, defaults) for record in group])
        commands += [_command(group[0], grid) for grid in over_backbones(grids, random=random)]
    return commands


def _place(record: Record, checkpoints: Collection[str], defaults: Configs) -> Grid:
    """The record's cell as a grid of its own."""
    key, inputs = record.key, record.inputs
    places = {} if inputs is None else inputs.task_places
    folder = None if inputs is None else inputs.backbone
    backbone = Backbone(
        name=folder or key.backbone, published=key.backbone in checkpoints, registered=folder is None
    )
    return Grid(
        frames=(key.frames,),
        sizes=((key.height, key.width),),
        seeds=(key.seed,),
        methods=(_method(key, defaults.get(key.method, {})),),
        tasks=(_named(TaskSpec, key.task, {**key.task_config, **places}),),
        backbones=(backbone,),
    )


def _method(key: MethodKey, default: Mapping[str, object]) -> str:
    """The method as ``--methods`` takes it; the name of a checkpoint comes from its backbone."""
    if key.method == METHOD:
        given = {name: value for name, value in key.method_config.items() if name != CHECKPOINT}
        return str(MethodSpec(METHOD, changed(build_config(PublishedConfig, given, METHOD))))
    missing = object()
    config = {name: value for name, value in key.method_config.items() if value != default.get(name, missing)}
    return _named(MethodSpec, key.method, config)


def _command(first: Record, grid: Grid) -> str:
    """The command of a grid; ``first`` is any record of it."""
    key, inputs = first.key, _inputs(first)
    options: dict[str, object] = {
        "--task": join(grid.tasks, ","),
        "--methods": join(grid.methods, ","),
        "--frames": ",".join(map(str, grid.frames)),
        "--resolution": _resolutions(set(grid.sizes)),
        "--seed": ",".join(map(str, grid.seeds)),
        "--view-seed": key.view_seed,
        "--limit": key.limit,
        "--backbone": join([backbone.name for backbone in grid.backbones], ","),
        "--models": inputs["models"],
        "--plugin": inputs["plugins"],
        "--weights": "random" if key.weights == "random" else None,
        "--device": key.device,
        "--dtype": key.dtype,
        "--batch": key.batch,
        "--threads": first.environment.threads,
        "--timeout": inputs["timeout"],
    }
    words = ["harness", "eval"]
    for name, value in options.items():
        if value == _DEFAULTS.get(name):
            continue
        for one in value if isinstance(value, list) else [value]:
            words += [] if one is None else [name, str(one)]
    return shlex.join([*words, *(["--trust-remote-code"] if inputs["trust_remote_code"] else [])])


def _inputs(record: Record) -> dict[str, Any]:
    """What else the command line was given for all of its cells; a time limit where it was not the usual
    one."""
    inputs = record.inputs
    if inputs is None:
        return {"plugins": [], "models": [], "timeout": None, "trust_remote_code": False}
    return {
        "plugins": [plugin.path for plugin in inputs.plugins],
        "models": list(inputs.models),
        "timeout": None if inputs.timeout_s == EvalSpec.timeout_s else f"{inputs.timeout_s:g}",
        "trust_remote_code": inputs.trust_remote_code,
    }


def _resolutions(sizes: set[tuple[int, int]]) -> str:
    return ",".join(resolution_label(height, width) for height, width in sorted(sizes))


def _named(spec: type[NamedSpec], name: str, config: Mapping[str, object]) -> str:
    """A name with its settings as the command line takes them; a name that it cannot take stands as it is."""
    try:
        return str(spec(name, config))
    except UsageError:
        return name
