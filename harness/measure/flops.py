"""Floating-point operations of a region, by torch's counter with the formula that it lacks for the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

_aten = torch.ops.aten


def _cpu_attention(
    query_shape: Any, key_shape: Any, value_shape: Any, *_: object, out_shape: Any = None, **__: object
) -> int:
    return int(sdpa_flop_count(query_shape, key_shape, value_shape))  # type: ignore[no-untyped-call]


def count_flops(work: Callable[[], object]) -> int | None:
    """Matrix products, convolutions and attention, 2 operations per multiply-add; None where torch cannot.

    A causal mask is not discounted.
    """
    counter = FlopCounterMode(
        display=False,
        custom_mapping={_aten._scaled_dot_product_flash_attention_for_cpu: _cpu_attention},
    )
    try:
        with counter:
            work()
    except NotImplementedError:
        return None
    return int(counter.get_total_flops())
