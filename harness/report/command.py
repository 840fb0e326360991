"""The command lines that measure the cells of a run again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence

from harness.errors import UsageError
from harness.records import Record
from harness.settings import join
from harness.spec import NamedSpec


def reproduce(records: Sequence[Record]) -> list[str]:
    """One command per combination of everything that a command line fixes for all of its cells.

    Plugins and folders of models are not part of a record; the caller says so.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        shared = record.key.model_dump(
            mode="json",
            include={"task", "task_config", "backbone", "dtype", "device", "batch", "limit", "view_seed"},
        )
        identity = [shared, record.key.weights == "random", record.environment.threads]
        groups.setdefault(json.dumps(identity, sort_keys=True), []).append(record)
    return [_command(group) for group in groups.values()]


def _command(records: Sequence[Record]) -> str:
    keys = [record.key for record in records]
    first = keys[0]
    methods = dict.fromkeys(_named(key.method, key.method_config) for key in keys)
    sizes = sorted({(key.height, key.width) for key in keys})
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
        "--backbone": first.backbone,
        "--weights": "random" if first.weights == "random" else None,
        "--device": first.device,
        "--dtype": first.dtype,
        "--batch": first.batch,
        "--threads": records[0].environment.threads,
    }
    words = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    return shlex.join(["harness", "eval", *words])


def _named(name: str, config: Mapping[str, object]) -> str:
    """A name with its settings as the command line takes them; a name that it cannot take stands as it is."""
    try:
        return str(NamedSpec(name, config))
    except UsageError:
        return name


def _numbers(values: set[int]) -> str:
    return ",".join(str(value) for value in sorted(values))
