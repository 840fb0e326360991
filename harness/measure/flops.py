"""Floating-point operations of a region, by torch's formulas and the one that they lack for the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from harness.measure.counted import is_composite

_CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def count_flops(work: Callable[[], object]) -> int | None:
    """Matrix products, convolutions and attention, 2 operations per multiply-add; None where torch cannot.

    A causal mask is not discounted.
    """
    counter = _Counter()
    try:
        with counter:
            work()
    except NotImplementedError:
        return None
    return counter.total


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What ``torch.utils.flop_counter`` counts, without its module hooks, which need gradients."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func._overloadpacket)
        if formula is None and is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        result = func(*args, **kwargs)
        if func._overloadpacket is _CPU_ATTENTION:
            self.total += _attention(*args[:3])
        elif formula is not None:
            self.total += int(formula(*args, **kwargs, out_val=result))
        return result


def _attention(q: Tensor, k: Tensor, v: Tensor) -> int:
    """Scores and values of q [B, H, L, D], k [B, K, S, D], v [B, K, S, E]."""
    batch, heads, queries, width = q.shape
    return 2 * batch * heads * queries * k.shape[-2] * (width + v.shape[-1])
