"""Whose attention kernels run: those of the tensors' own device, or those that another build would choose.

Counting memory without a GPU needs the sizes that CUDA's kernels allocate, from the very code that a GPU
would run. Inside ``kernels_of("cuda")`` attention takes the route that it would take on CUDA, and the kernel
is stood in for by an operator of the same inputs and outputs (:mod:`harness.attention.standin`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

import torch
from torch import Tensor

from harness.errors import UsageError

Build = Literal["cuda", "cuda-math", "cpu"]
BUILDS: tuple[Build, ...] = get_args(Build)

HALF = (torch.float16, torch.bfloat16)
WIDEST_HEAD = 256
"""Head width up to which flash attention's kernels exist; it must be a multiple of 8."""

_build: ContextVar[Build | None] = ContextVar("attention_build", default=None)


@contextmanager
def kernels_of(build: Build) -> Iterator[None]:
    """Run every attention inside as a build would: ``cuda``, ``cuda-math`` (its math route by force) or
    ``cpu``, on tensors of a CPU or of the meta device. Raises UsageError for an unknown build."""
    if build not in BUILDS:
        raise UsageError(f"kernels {build!r} are not known; give one of {', '.join(BUILDS)}")
    token = _build.set(build)
    try:
        yield
    finally:
        _build.reset(token)


def asked_build() -> Build | None:
    """The build asked for; None where the tensors' own device decides."""
    return _build.get()


def lack_of_flash(dtype: torch.dtype, width: int) -> str | None:
    """Which of the flash kernels' needs a dtype and a head width do not meet, in words; none when they do."""
    if dtype not in HALF:
        return f"the tensors are {dtype}; it needs float16 or bfloat16"
    if width % 8 or width > WIDEST_HEAD:
        return f"the head width is {width}; it needs a multiple of 8 up to {WIDEST_HEAD}"
    return None


def fused_choice(q: Tensor, k: Tensor, mask: Tensor | None, causal: bool) -> str:
    """What torch's CUDA build runs ``scaled_dot_product_attention`` through: flash, efficient or math.

    The first in this order whose needs are met (torch's ``sdp_utils.cpp``). Flash takes half precision, no
    mask, heads up to 256 wide and no causal attention of other lengths than its keys'. Memory-efficient
    takes single precision and masks too, but no grouped heads. cuDNN is left out.
    """
    grouped, square = q.shape[1] != k.shape[1], q.shape[2] == k.shape[2]
    if lack_of_flash(q.dtype, q.shape[3]) is None and mask is None and (square or not causal):
        return "flash"
    if not grouped and q.dtype in (*HALF, torch.float32):
        return "efficient"
    return "math"
