"""The command lines that measure the cells of a run again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from harness.errors import UsageError
from harness.plan import MethodKey, method_label
from harness.published_models import CHECKPOINT, METHOD, PublishedConfig
from harness.records import Record
from harness.report.frame import resolution_label
from harness.report.grids import Backbone, Grid, grids_of, over_backbones
from harness.settings import build_config, changed, join
from harness.spec import EvalSpec, MethodSpec, NamedSpec, TaskSpec
from harness.timing.records import SYNTHETIC, TimingRecord


def reproduce(records: Sequence[Record]) -> list[str]:
    """Commands that plan the cells of these records and no others, as few as grids need.

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
        grids = grids_of([_place(record, checkpoints) for record in group])
        commands += [_command(group[0], grid) for grid in over_backbones(grids, random=random)]
    return commands


def _place(record: Record, checkpoints: Collection[str]) -> Grid:
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
        methods=(_method(key),),
        tasks=(_named(TaskSpec, key.task, {**key.task_config, **places}),),
        backbones=(backbone,),
    )


def _method(key: MethodKey) -> str:
    """The method as ``--methods`` takes it; the name of a checkpoint comes from its backbone."""
    if key.method == METHOD:
        given = {name: value for name, value in key.method_config.items() if name != CHECKPOINT}
        return str(MethodSpec(METHOD, changed(build_config(PublishedConfig, given, METHOD))))
    try:
        return method_label(key)
    except UsageError:
        return key.method


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


def reproduce_timing(records: Sequence[TimingRecord]) -> list[str]:
    """One `harness time` command per combination of everything that a command line fixes for all its sizes.

    Plugins, folders of models and the run's own folder are not part of a record; the caller says so.
    """
    groups: dict[tuple[object, ...], list[TimingRecord]] = {}
    for record in records:
        size = record.key.height, record.key.width
        groups.setdefault((record.key.series, size, record.rounds, record.order_seed), []).append(record)
    merged: dict[tuple[object, ...], list[TimingRecord]] = {}
    for (series, _, rounds, order_seed), group in groups.items():
        frames = tuple(sorted(record.key.frames for record in group))
        merged.setdefault((series, frames, rounds, order_seed), []).extend(group)
    return [_timing_command(group) for group in merged.values()]


def _timing_command(records: Sequence[TimingRecord]) -> str:
    first = records[0].key
    synthetic = first.task == SYNTHETIC
    methods = [_named(MethodSpec, one.method, one.method_config) for one in first.methods]
    options: dict[str, object] = {
        "--task": None if synthetic else join([_named(TaskSpec, first.task, first.task_config)], ","),
        "--synthetic": "" if synthetic else None,
        "--methods": join(methods, ","),
        "--frames": _numbers({record.key.frames for record in records}),
        "--resolution": _resolutions({(record.key.height, record.key.width) for record in records}),
        "--rounds": records[0].rounds,
        "--order-seed": records[0].order_seed,
        "--seed": first.seed,
        "--view-seed": first.view_seed,
        "--limit": 0 if first.limit is None else first.limit,
        "--backbone": first.backbone,
        "--weights": "random" if all(method.weights == "random" for method in first.methods) else None,
        "--device": first.device,
        "--dtype": first.dtype,
        "--threads": first.threads,
    }
    words = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    return shlex.join(["harness", "time", *filter(None, words)])


def _resolutions(sizes: set[tuple[int, int]]) -> str:
    return ",".join(resolution_label(height, width) for height, width in sorted(sizes))


def _named(spec: type[NamedSpec], name: str, config: Mapping[str, object]) -> str:
    """A name with its settings as the command line takes them; a name that it cannot take stands as it is."""
    try:
        return str(spec(name, config))
    except UsageError:
        return name


def _numbers(values: set[int]) -> str:
    return ",".join(str(value) for value in sorted(values))
