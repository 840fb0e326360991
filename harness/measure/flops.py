"""Floating-point operations and memory traffic of a region, operator by operator.

Operations come from torch's formulas, the one that they lack for the CPU, and those of the kernels that
stand in for CUDA's (:mod:`harness.attention.standin`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from harness.measure.counted import flat, is_composite

_EMPTY = frozenset(
    {
        torch.ops.aten.empty,
        torch.ops.aten.empty_like,
        torch.ops.aten.empty_permuted,
        torch.ops.aten.empty_strided,
        torch.ops.aten.new_empty,
        torch.ops.aten.new_empty_strided,
    }
)
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
    return counter.operations.total


class Operations:
    """Sums the floating-point operations of what it is shown."""

    def __init__(self) -> None:
        self.total = 0

    def __call__(
        self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        formula = flop_registry.get(func._overloadpacket)
        if func._overloadpacket is _CPU_ATTENTION:
            self.total += _attention(*args[:3])
        elif formula is not None:
            self.total += int(formula(*args, **kwargs, out_val=result))


class Traffic:
    """Sums the bytes that operators read and write: every distinct input and output of each, once.

    This is what eager execution moves; views and uninitialised memory move nothing. A kernel that fuses
    several moves less.
    """

    def __init__(self, device: str) -> None:
        self.device, self.total = device, 0

    def __call__(
        self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        if _moves_nothing(func):
            return
        seen: set[int] = set()
        for tensor in flat((args, tuple(kwargs.values()), result)):
            if tensor.device.type == self.device and id(tensor) not in seen:
                seen.add(id(tensor))
                self.total += tensor.numel() * tensor.element_size()


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What ``torch.utils.flop_counter`` counts, without its module hooks, which need gradients."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = Operations()

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func._overloadpacket not in flop_registry and is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        result = func(*args, **kwargs)
        self.operations(func, args, kwargs, result)
        return result


@cache
def _moves_nothing(func: torch._ops.OpOverload) -> bool:
    """Whether an operator only gives its input another shape, or memory that nothing is written to."""
    if func is torch.ops.aten._unsafe_view.default or func._overloadpacket in _EMPTY:
        return True
    returns = func._schema.returns
    return bool(returns) and all(
        one.alias_info is not None and not one.alias_info.is_write for one in returns
    )


def _attention(q: Tensor, k: Tensor, v: Tensor) -> int:
    """Scores and values of q [B, H, L, D], k [B, K, S, D], v [B, K, S, E]."""
    batch, heads, queries, width = q.shape
    return 2 * batch * heads * queries * k.shape[-2] * (width + v.shape[-1])
