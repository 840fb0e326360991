"""The command lines that count the scenarios of a run again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence

from harness.counting.records import CountKey
from harness.plan import method_label
from harness.settings import join


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


def _options(keys: Sequence[CountKey], *, sizes: bool = True) -> str:
    first = keys[0]
    optimizers = [key.optimizer for key in keys if key.optimizer is not None]
    found = sorted({(key.height, key.width) for key in keys})
    resolution = ",".join(f"{height}x{width}" if height != width else f"{height}" for height, width in found)
    options: dict[str, object] = {
        "--methods": join(list(dict.fromkeys(method_label(key) for key in keys)), ","),
        "--backbone": first.backbone,
        "--mode": ",".join(dict.fromkeys(key.mode for key in keys)),
        "--frames": ",".join(str(frames) for frames in sorted({key.frames for key in keys})),
        "--resolution": resolution if sizes else None,
        "--text": first.text,
        "--text-per-frame": first.text_per_frame or None,
        "--encode-batch": first.encode_batch if first.encode_batch > 1 else None,
        "--dtype": first.dtype,
        "--kernels": first.kernels,
        "--optimizer": optimizers[0] if optimizers else None,
    }
    return shlex.join(
        [word for name, value in options.items() if value is not None for word in (name, str(value))]
    )
