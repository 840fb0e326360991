"""Scenarios of the small backbone."""

from __future__ import annotations

from collections.abc import Mapping

from harness import registry
from harness.counting.records import CountKey, Kernels, Mode
from harness.models import full_config

registry.discover()
METHODS = tuple(registry.methods)
MODES: tuple[Mode, ...] = ("prefill", "decode", "stream", "train")


def key(
    mode: Mode = "prefill",
    method: str = "token_insertion",
    *,
    frames: int = 4,
    text_per_frame: int | None = None,
    size: int = 64,
    dtype: str = "bfloat16",
    kernels: Kernels = "cuda",
    backbone: str = "tiny-qwen3",
    settings: Mapping[str, object] | None = None,
) -> CountKey:
    """A scenario; streams have two text tokens a frame unless something else is asked for."""
    per_frame = (2 if mode == "stream" else 0) if text_per_frame is None else text_per_frame
    return CountKey(
        mode=mode,
        method=method,
        method_config=full_config(method, settings or {}),
        backbone=backbone,
        frames=frames,
        height=size,
        width=size,
        text=16,
        text_per_frame=per_frame,
        encode_batch=1,
        dtype=dtype,
        kernels=kernels,
        optimizer="adamw-foreach" if mode == "train" else None,
    )
