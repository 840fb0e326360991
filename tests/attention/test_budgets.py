"""Every route against the dense reference, forward and backward, with error budgets from a float64 run.

The budget: ``err(fast) <= c * err(reference) + floor``. Both errors are Frobenius norms of the distance from
the same attention in float64; inputs are exact in every precision, so that the errors are rounding inside the
attention only.

``c`` is 2 for outputs and for bfloat16: the fast routes do the reference's operations in another order and
sum in float32, so their errors are at most of the same size, and 2 leaves room for the spread of small
samples. It is 6 for gradients in float32: the fused backward pass recomputes each weight as exp(score - L)
from the stored log-sum-exp L, whose own rounding (|L| up to about 8 at these sizes) the reference, which
keeps the weights, does not have. The floor is one rounding of the exact result (its norm times the unit
roundoff), for cases that the reference computes exactly by luck, as where every row sees one key.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.attention import attend, using
from harness.attention.routes import run_plan
from harness.attention.varlen import Kernel, package_kernel, torch_kernel

from .cases import (
    Attention,
    Case,
    cast,
    flash_attn_varlen_func,
    poisoned_memory,
    random_case,
    varlen_attn_2_10,
    varlen_attn_2_13,
    with_gradients,
)

OUTPUT_FACTOR = 2.0
GRADIENT_FACTOR = {torch.float32: 6.0, torch.bfloat16: 2.0}
NAMES = ("output", "gradient of q", "gradient of k", "gradient of v")
Runner = Callable[[Case], Attention]
seeds = st.integers(0, 2**20)
some = settings(max_examples=60, deadline=None, derandomize=True)


def blocks(case: Case) -> Attention:
    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with using("blocks"):
            return attend(q, k, v, case.pattern, case.scale)

    return run


def packed(kernel: Kernel) -> Runner:
    return lambda case: lambda q, k, v: run_plan(case.pattern.packed, q, k, v, case.scale, kernel)


ROUTES: dict[str, Runner] = {
    "blocks": blocks,
    "varlen-2.13": packed(torch_kernel(varlen_attn_2_13)),
    "varlen-2.10": packed(torch_kernel(varlen_attn_2_10)),
    "flash_attn": packed(package_kernel(flash_attn_varlen_func)),
}


def excess(fast: Tensor, reference: Tensor, exact: Tensor, factor: float, dtype: torch.dtype) -> float:
    """The error of the fast route over its budget, as a ratio; at most 1 when the budget is kept."""
    floor = float(exact.norm()) * torch.finfo(dtype).eps / 2
    budget = factor * float((reference - exact).norm()) + floor
    error = float((fast - exact).norm())
    return error / budget if budget else float(error > 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("route", ROUTES)
@some
@given(seed=seeds)
def test_errors_stay_within_the_reference_s_own(route: str, dtype: torch.dtype, seed: int) -> None:
    case = random_case(seed)
    exact_inputs = case.inputs(seed)
    inputs = cast(exact_inputs, dtype)
    exact = with_gradients(case.reference, exact_inputs, seed)
    reference = with_gradients(case.reference, inputs, seed)
    fast = with_gradients(ROUTES[route](case), inputs, seed)
    factors = [OUTPUT_FACTOR, *[GRADIENT_FACTOR[dtype]] * 3]
    ratios = {
        name: excess(a, b, c, factor, dtype)
        for name, a, b, c, factor in zip(NAMES, fast, reference, exact, factors, strict=True)
    }
    assert all(ratio <= 1 for ratio in ratios.values()), ratios


@pytest.mark.parametrize("route", ROUTES)
@some
@given(seed=seeds)
def test_every_route_is_the_reference_in_float64(route: str, seed: int) -> None:
    case = random_case(seed)
    inputs = case.inputs(seed)
    reference = with_gradients(case.reference, inputs, seed)
    fast = with_gradients(ROUTES[route](case), inputs, seed)
    for name, a, b in zip(NAMES, fast, reference, strict=True):
        assert float((a - b).abs().amax() if a.numel() else 0) < 1e-10, name


@pytest.mark.parametrize("route", ROUTES)
@some
@given(seed=seeds)
def test_rows_in_no_block_are_zero_even_in_poisoned_memory(route: str, seed: int) -> None:
    case = random_case(seed)
    inputs = cast(case.inputs(seed), torch.float32)
    with poisoned_memory():
        output, *gradients = with_gradients(ROUTES[route](case), inputs, seed)
    unseen = ~case.pattern.dense_mask().any(dim=1)
    assert not output[unseen].any()
    assert not gradients[0][unseen].any()
    assert all(torch.isfinite(x).all() for x in (output, *gradients))
