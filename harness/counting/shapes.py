"""Operators on the meta device run once for each kind of arguments; after that their results are known.

torch computes the shapes of most results in Python, some 100 microseconds each, and the layers of a decoder
ask for the same ones again and again. What was seen once is made anew from its sizes, strides and dtype.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import Any

import torch
from torch import Tensor

_Geometry = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]
_MOST = 100_000
"""Results remembered at most; sizes that change with every step would fill the memory."""


class ShapeCache:
    """Runs operators on tensors without storage. Only fresh results are remembered: no views, nothing in
    place."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[bool, tuple[_Geometry, ...]]] = {}

    def __call__(self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not _fresh(func):
            return func(*args, **kwargs)
        key = _key(func, args, kwargs)
        if key is None:
            return func(*args, **kwargs)
        known = self._known.get(key)
        if known is not None:
            alone, geometries = known
            made = [torch.empty_strided(s, t, dtype=d, device="meta") for s, t, d in geometries]
            return made[0] if alone else tuple(made)
        result = func(*args, **kwargs)
        outputs = (result,) if isinstance(result, Tensor) else result
        if (
            len(self._known) < _MOST
            and isinstance(outputs, tuple)
            and all(isinstance(output, Tensor) and _plain(output) for output in outputs)
        ):
            geometries = tuple((tuple(o.shape), tuple(o.stride()), o.dtype) for o in outputs)
            self._known[key] = isinstance(result, Tensor), geometries
        return result


@cache
def _fresh(func: torch._ops.OpOverload) -> bool:
    """Whether an operator's results are tensors of its own, whose sizes follow from its arguments' sizes."""
    schema = func._schema
    return (
        bool(schema.returns)
        and all(one.alias_info is None and str(one.type) == "Tensor" for one in schema.returns)
        and all(one.alias_info is None for one in schema.arguments)
        and func is not torch.ops.aten._unsafe_view.default
        and func is not torch.ops.aten.lift_fresh_copy.default
    )


def _plain(tensor: Tensor) -> bool:
    """A tensor that fills its own storage."""
    return (
        type(tensor) is Tensor
        and tensor.is_meta
        and tensor.storage_offset() == 0
        and tensor.untyped_storage().nbytes() == _bytes_of(tensor)
    )


def _bytes_of(tensor: Tensor) -> int:
    """What ``torch.empty_strided`` takes for such a tensor."""
    if not tensor.numel():
        return 0
    last = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    return (last + 1) * tensor.element_size()


def _key(func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable | None:
    """What the sizes of a result follow from; None where there is more to it."""
    parts: list[Hashable] = [func]
    for value in (*args, *kwargs.items()):
        part = _part(value)
        if part is None:
            return None
        parts.append(part)
    return tuple(parts)


def _part(value: Any) -> Hashable | None:
    if isinstance(value, Tensor):
        if not value.is_meta or type(value) not in (Tensor, torch.nn.Parameter):
            return None
        return value.shape, value.stride(), value.dtype
    if value is None or isinstance(
        value, bool | int | float | str | torch.dtype | torch.device | torch.layout | torch.memory_format
    ):
        return type(value), value
    if isinstance(value, list | tuple):
        parts = tuple(_part(one) for one in value)
        return None if any(part is None for part in parts) else (type(value), parts)
    return None
