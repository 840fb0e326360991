"""The command lines that measure the cells of a run again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from harness.errors import UsageError
from harness.records import Record
from harness.report.frame import resolution_label
from harness.settings import join
from harness.spec import EvalSpec, NamedSpec
from harness.timing.records import SYNTHETIC, TimingRecord

_DEFAULTS = {
    "--view-seed": EvalSpec.view_seed,
    "--backbone": EvalSpec.backbone,
    "--device": EvalSpec.device,
    "--dtype": EvalSpec.dtype,
    "--batch": EvalSpec.batch,
    "--threads": EvalSpec.threads,
}
"""Options that a command line need not give where they have these values."""


def reproduce(
    records: Sequence[Record], defaults: Mapping[str, Mapping[str, object]] = MappingProxyType({})
) -> list[str]:
    """One command per combination of everything that a command line fixes for all of its cells.

    What a command line need not say is left out: options at their defaults, and settings of methods that are
    those of ``defaults``, the default configs by method.

    Plugins, folders of models and a backbone's folder stand as they were given, where the record tells them:
    those of schema 1 do not. The record holds the content's hash of every plugin.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        shared = record.key.model_dump(
            mode="json",
            include={"task", "task_config", "backbone", "dtype", "device", "batch", "limit", "view_seed"},
        )
        identity = [shared, record.key.weights == "random", record.environment.threads, _inputs(record)]
        groups.setdefault(json.dumps(identity, sort_keys=True), []).append(record)
    return [_command(group, defaults) for group in groups.values()]


def _command(records: Sequence[Record], defaults: Mapping[str, Mapping[str, object]]) -> str:
    keys = [record.key for record in records]
    first = keys[0]
    methods = dict.fromkeys(
        _named(key.method, _differing(key.method_config, defaults.get(key.method, {}))) for key in keys
    )
    inputs = _inputs(records[0])
    options: dict[str, object] = {
        "--task": join([_named(first.task, first.task_config)], ","),
        "--methods": join(methods, ","),
        "--frames": _numbers({key.frames for key in keys}),
        "--resolution": _resolutions({(key.height, key.width) for key in keys}),
        "--seed": _numbers({key.seed for key in keys}),
        "--view-seed": first.view_seed,
        "--limit": first.limit,
        "--backbone": inputs["backbone"] or first.backbone,
        "--models": inputs["models"],
        "--plugin": inputs["plugins"],
        "--weights": "random" if first.weights == "random" else None,
        "--device": first.device,
        "--dtype": first.dtype,
        "--batch": first.batch,
        "--threads": records[0].environment.threads,
        "--timeout": inputs["timeout"],
    }
    words = ["harness", "eval"]
    for name, value in options.items():
        if value == _DEFAULTS.get(name):
            continue
        for one in value if isinstance(value, list) else [value]:
            words += [] if one is None else [name, str(one)]
    return shlex.join(words)


def _differing(config: Mapping[str, object], default: Mapping[str, object]) -> dict[str, object]:
    missing = object()
    return {name: value for name, value in config.items() if value != default.get(name, missing)}


def _inputs(record: Record) -> dict[str, Any]:
    """What else the command line was given; a time limit only where it was not the usual one."""
    inputs = record.inputs
    if inputs is None:
        return {"plugins": [], "models": [], "backbone": None, "timeout": None}
    return {
        "plugins": [plugin.path for plugin in inputs.plugins],
        "models": list(inputs.models),
        "backbone": inputs.backbone,
        "timeout": None if inputs.timeout_s == EvalSpec.timeout_s else f"{inputs.timeout_s:g}",
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
    options: dict[str, object] = {
        "--task": None if synthetic else join([_named(first.task, first.task_config)], ","),
        "--synthetic": "" if synthetic else None,
        "--methods": join([_named(method.method, method.method_config) for method in first.methods], ","),
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


def _named(name: str, config: Mapping[str, object]) -> str:
    """A name with its settings as the command line takes them; a name that it cannot take stands as it is."""
    try:
        return str(NamedSpec(name, config))
    except UsageError:
        return name


def _numbers(values: set[int]) -> str:
    return ",".join(str(value) for value in sorted(values))
