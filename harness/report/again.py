"""The command lines that count and time the scenarios of a run again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence

from harness.counting.records import CountKey
from harness.errors import UsageError
from harness.plan import MethodKey, method_label
from harness.settings import join
from harness.spec import NamedSpec
from harness.timing.records import SYNTHETIC, TimingKey, TimingRecord


def count_again(keys: Iterable[CountKey]) -> list[str]:
    """One ``harness bench`` per combination of everything that a command line fixes for all of its scenarios.

    Plugins are not part of a record; the caller says so.
    """
    at_one_size: dict[str, list[CountKey]] = {}
    for key in keys:
        varied = {"mode", "method", "method_config", "frames", "optimizer"}
        shared = json.dumps(key.model_dump(mode="json", exclude=varied), sort_keys=True)
        at_one_size.setdefault(shared, []).append(key)
    grids: dict[str, list[CountKey]] = {}
    for group in at_one_size.values():
        grids.setdefault(_options(group, sizes=False), []).extend(group)
    return [f"harness bench {_options(group)}" for group in grids.values()]


def time_again(records: Sequence[TimingRecord], out: str) -> str:
    """The ``harness time`` of records that differ in frames, height and width only; sizes that are timed in
    ``out`` are kept and printed."""
    first = records[0].key
    random = all(method.weights == "random" for method in first.methods)
    options: dict[str, object] = {
        "--out": out,
        "--methods": join([_named(method) for method in first.methods], ","),
        "--task": None if first.task == SYNTHETIC else _task(first),
        "--frames": ",".join(str(frames) for frames in sorted({one.key.frames for one in records})),
        "--resolution": _sizes({(one.key.height, one.key.width) for one in records}),
        "--rounds": max(one.rounds for one in records),
        "--order-seed": records[0].order_seed or None,
        "--seed": first.seed,
        "--view-seed": first.view_seed,
        "--limit": first.limit or 0,
        "--backbone": first.backbone,
        "--weights": "random" if random else None,
        "--device": first.device,
        "--dtype": first.dtype,
        "--threads": first.threads,
    }
    synthetic = ["--synthetic"] if first.task == SYNTHETIC else []
    return shlex.join(["harness", "time", *_words(options), *synthetic])


def methods_option(keys: Iterable[MethodKey]) -> str:
    """What ``--methods`` takes for them, each once; a name that it cannot take stands as it is."""
    return join(list(dict.fromkeys(_named(key) for key in keys)), ",")


def _named(key: MethodKey) -> str:
    try:
        return method_label(key)
    except UsageError:
        return key.method


def _task(key: TimingKey) -> str:
    try:
        return str(NamedSpec(key.task, key.task_config))
    except UsageError:
        return key.task


def _options(keys: Sequence[CountKey], *, sizes: bool = True) -> str:
    first = keys[0]
    optimizers = [key.optimizer for key in keys if key.optimizer is not None]
    options: dict[str, object] = {
        "--methods": methods_option(keys),
        "--backbone": first.backbone,
        "--mode": ",".join(dict.fromkeys(key.mode for key in keys)),
        "--frames": ",".join(str(frames) for frames in sorted({key.frames for key in keys})),
        "--resolution": _sizes({(key.height, key.width) for key in keys}) if sizes else None,
        "--text": first.text,
        "--text-per-frame": first.text_per_frame or None,
        "--encode-batch": first.encode_batch if first.encode_batch > 1 else None,
        "--dtype": first.dtype,
        "--kernels": first.kernels,
        "--optimizer": optimizers[0] if optimizers else None,
    }
    return shlex.join(_words(options))


def _words(options: Mapping[str, object]) -> list[str]:
    return [word for name, value in options.items() if value is not None for word in (name, str(value))]


def _sizes(sizes: set[tuple[int, int]]) -> str:
    return ",".join(
        f"{height}x{width}" if height != width else f"{height}" for height, width in sorted(sizes)
    )
