"""The command lines that measure the cells of a run again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import UsageError
from harness.records import Record
from harness.settings import join
from harness.spec import EvalSpec, NamedSpec


def reproduce(records: Sequence[Record]) -> list[str]:
    """One command per combination of everything that a command line fixes for all of its cells.

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
    return [_command(group) for group in groups.values()]


def _command(records: Sequence[Record]) -> str:
    keys = [record.key for record in records]
    first = keys[0]
    methods = dict.fromkeys(_named(key.method, key.method_config) for key in keys)
    sizes = sorted({(key.height, key.width) for key in keys})
    inputs = _inputs(records[0])
    options: dict[str, object] = {
        "--task": join([_named(first.task, first.task_config)], ","),
        "--methods": join(methods, ","),
        "--frames": _numbers({key.frames for key in keys}),
        "--resolution": ",".join(
            f"{height}x{width}" if height != width else f"{height}" for height, width in sizes
        ),
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
        for one in value if isinstance(value, list) else [value]:
            words += [] if one is None else [name, str(one)]
    return shlex.join(words)


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


def _named(name: str, config: Mapping[str, object]) -> str:
    """A name with its settings as the command line takes them; a name that it cannot take stands as it is."""
    try:
        return str(NamedSpec(name, config))
    except UsageError:
        return name


def _numbers(values: set[int]) -> str:
    return ",".join(str(value) for value in sorted(values))
