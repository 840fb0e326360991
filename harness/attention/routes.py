"""Which kernels attention runs through, chosen per device and dtype or forced, and the record of what ran.

- ``varlen``: torch's variable-length flash attention (CUDA, half precision): one call for all causal blocks
  of a pattern and one for all others.
- ``flash_attn``: the same through the flash-attn package.
- ``blocks``: torch's ``scaled_dot_product_attention``, one call for all blocks of equal lengths. Any device.
- ``reference``: the equation over a dense mask, eager. For tests.

``auto`` takes the first of ``varlen``, ``flash_attn``, ``blocks`` that can run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

import torch
from torch import Tensor

from harness.attention.builds import Build, asked_build, lack_of_flash
from harness.attention.grouped import attend_group
from harness.attention.pattern import Pattern, Plan
from harness.attention.record import record
from harness.attention.reference import attend_reference
from harness.attention.standin import varlen_kernel
from harness.attention.varlen import Kernel, attend_packed, find_package_kernel, find_torch_kernel, unmet
from harness.errors import UsageError

Route = Literal["auto", "varlen", "flash_attn", "blocks", "reference"]
ROUTES: tuple[Route, ...] = get_args(Route)

_PACKED: dict[Route, tuple[Callable[[], Kernel | None], str]] = {
    "varlen": (
        find_torch_kernel,
        "this torch has no torch.nn.attention.varlen; it needs torch 2.10 or newer",
    ),
    "flash_attn": (find_package_kernel, "the flash-attn package is not installed"),
}
_route: ContextVar[Route] = ContextVar("attention_route", default="auto")


@contextmanager
def using(route: Route) -> Iterator[None]:
    """Run every attention inside through ``route``. Raises UsageError for an unknown route.

    Attention inside raises UsageError where the route cannot run on the tensors that it gets.
    """
    if route not in ROUTES:
        raise UsageError(f"attention route {route!r} is not known; give one of {', '.join(ROUTES)}")
    token = _route.set(route)
    try:
        yield
    finally:
        _route.reset(token)


def attend(q_thd: Tensor, k_skd: Tensor, v_skd: Tensor, pattern: Pattern, scale: float) -> Tensor:
    """Attention of q [T, H, D] over k, v [S, K, D] under a pattern; returns [T, H, D], 0 for rows in no
    block."""
    route = _route.get()
    if route == "reference":
        record("reference", "eager", q_thd.device.type)
        return attend_reference(q_thd, k_skd, v_skd, pattern.dense_mask(), scale)
    build = asked_build()
    if build is not None:
        return _as_built(build, q_thd, k_skd, v_skd, pattern, scale)
    name, kernel = _kernel(route, q_thd)
    if kernel is None:
        return run_plan(pattern.grouped, q_thd, k_skd, v_skd, scale)
    if pattern.packed.packed:
        record(name, "flash", q_thd.device.type)
    return run_plan(pattern.packed, q_thd, k_skd, v_skd, scale, kernel)


def _as_built(
    build: Build, q_thd: Tensor, k_skd: Tensor, v_skd: Tensor, pattern: Pattern, scale: float
) -> Tensor:
    """Attention by the route that a build would take, its kernels stood in for."""
    if build != "cuda" or lack_of_flash(q_thd.dtype, q_thd.shape[2]) is not None:
        return run_plan(pattern.grouped, q_thd, k_skd, v_skd, scale)
    if pattern.packed.packed:
        record("varlen", "flash", build)
    return run_plan(pattern.packed, q_thd, k_skd, v_skd, scale, varlen_kernel)


def run_plan(
    plan: Plan, q_thd: Tensor, k_skd: Tensor, v_skd: Tensor, scale: float, kernel: Kernel | None = None
) -> Tensor:
    """Attention [T, H, D] by a plan; ``kernel`` runs its variable-length calls."""
    outputs = []
    if kernel is not None:
        outputs += [attend_packed(q_thd, k_skd, v_skd, packed, scale, kernel) for packed in plan.packed]
    outputs += [attend_group(q_thd, k_skd, v_skd, group, scale) for group in plan.groups]
    if not outputs:
        return torch.zeros_like(q_thd)
    output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    if plan.scatter is None:
        return output
    return torch.zeros_like(q_thd).index_copy(0, plan.scatter, output)


def _kernel(route: Route, q_thd: Tensor) -> tuple[Route, Kernel | None]:
    """The route that runs and its variable-length kernel, if it has one."""
    if route == "blocks":
        return route, None
    lack = unmet(q_thd)
    if route == "auto":
        found = [] if lack else [(name, find()) for name, (find, _) in _PACKED.items()]
        return next(((name, kernel) for name, kernel in found if kernel is not None), ("blocks", None))
    find, missing = _PACKED[route]
    kernel = find()
    if kernel is None or lack:
        raise UsageError(
            f"attention route {route!r} cannot run: {lack or missing}; use 'auto' or 'blocks' instead"
        )
    return route, kernel
