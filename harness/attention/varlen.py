"""Variable-length kernels: blocks of any lengths in one call, packed one after the other without padding.

Everything but the kernel itself runs on any device, so it is tested with an eager kernel of the same
signature.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor

from harness.attention.builds import lack_of_flash
from harness.attention.grouped import take
from harness.attention.pattern import Packed


class Kernel(Protocol):
    """Variable-length attention of packed q [T, H, D] over packed k, v [S, K, D]: [T, H, D]."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, packed: Packed, scale: float) -> Tensor: ...


def attend_packed(
    q_thd: Tensor, k_skd: Tensor, v_skd: Tensor, packed: Packed, scale: float, kernel: Kernel
) -> Tensor:
    """Attention of the packed blocks' rows, block after block."""
    q, k, v = take(q_thd, packed.queries), take(k_skd, packed.keys), take(v_skd, packed.keys)
    return kernel(q, k, v, packed, scale)


def torch_kernel(function: Callable[..., Any]) -> Kernel:
    """``torch.nn.attention.varlen.varlen_attn`` of any version, adapted to what its signature has.

    Causality is ``is_causal`` (torch 2.10) or ``window_size=(-1, 0)``; both are aligned bottom-right. Without
    ``scale`` the queries are scaled instead, and without ``enable_gqa`` the key heads are repeated.
    """
    known = frozenset(inspect.signature(function).parameters)

    def run(q: Tensor, k: Tensor, v: Tensor, packed: Packed, scale: float) -> Tensor:
        options: dict[str, object] = {}
        if "window_size" in known:
            options["window_size"] = (-1, 0) if packed.causal else (-1, -1)
        else:
            options["is_causal"] = packed.causal
        if "scale" in known:
            options["scale"] = scale
        elif scale != q.shape[2] ** -0.5:
            q = q * (scale * q.shape[2] ** 0.5)
        if "enable_gqa" in known:
            options["enable_gqa"] = q.shape[1] != k.shape[1]
        else:
            repeat = q.shape[1] // k.shape[1]
            k, v = (x.repeat_interleave(repeat, dim=1) if repeat > 1 else x for x in (k, v))
        output: Tensor = function(q, k, v, packed.cu_q, packed.cu_k, packed.max_q, packed.max_k, **options)
        return output

    return run


def package_kernel(function: Callable[..., Any]) -> Kernel:
    """``flash_attn_varlen_func`` of the flash-attn package (2.1 or newer: causal is aligned bottom-right)."""

    def run(q: Tensor, k: Tensor, v: Tensor, packed: Packed, scale: float) -> Tensor:
        output: Tensor = function(
            q,
            k,
            v,
            cu_seqlens_q=packed.cu_q,
            cu_seqlens_k=packed.cu_k,
            max_seqlen_q=packed.max_q,
            max_seqlen_k=packed.max_k,
            softmax_scale=scale,
            causal=packed.causal,
        )
        return output

    return run


@cache
def find_torch_kernel() -> Kernel | None:
    """torch's own kernel, where this version of torch has one."""
    if importlib.util.find_spec("torch.nn.attention.varlen") is None:
        return None
    from torch.nn.attention.varlen import varlen_attn

    return torch_kernel(varlen_attn)


@cache
def find_package_kernel() -> Kernel | None:
    """The flash-attn package's kernel, where it is installed."""
    if importlib.util.find_spec("flash_attn") is None:
        return None
    from flash_attn import flash_attn_varlen_func  # type: ignore[import-not-found,unused-ignore]

    return package_kernel(flash_attn_varlen_func)


def unmet(q_thd: Tensor) -> str | None:
    """Which of the flash kernels' needs the queries do not meet, in words; none when they meet all."""
    if q_thd.device.type != "cuda":
        return f"the tensors are on {q_thd.device.type}; it needs a CUDA device"
    lack = lack_of_flash(q_thd.dtype, q_thd.shape[2])
    if lack is None and _capability(q_thd.device.index) < (8, 0):
        return "the GPU is older than Ampere; it needs compute capability 8.0"
    return lack


@cache
def _capability(index: int) -> tuple[int, int]:
    return torch.cuda.get_device_capability(index)
