"""The real variable-length kernels against the dense reference, and a forward pass without waiting."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from harness.attention import Pattern, Route, attend, recording, using
from harness.attention.varlen import find_package_kernel, find_torch_kernel

from ..attention.cases import Case, cast, random_case, with_gradients
from ..attention.test_budgets import NAMES, OUTPUT_FACTOR, excess

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
KERNELS = {"varlen": find_torch_kernel, "flash_attn": find_package_kernel}


@pytest.fixture(params=["auto", "varlen", "flash_attn", "blocks"])
def route(request: pytest.FixtureRequest) -> Route:
    name: Route = request.param
    if name in KERNELS and KERNELS[name]() is None:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Raise where the host waits for the device."""
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


def on_gpu(case: Case) -> Case:
    pattern = case.pattern
    moved = Pattern(pattern.blocks, pattern.rows, pattern.keys, torch.device("cuda"))
    return Case(moved, case.heads, case.kv_heads, case.width)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("seed", range(20))
def test_kernels_keep_the_error_budget(route: Route, dtype: torch.dtype, seed: int) -> None:
    here = random_case(seed, width_of=8)
    there = on_gpu(here)

    def fast(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        with using(route):
            return attend(q, k, v, there.pattern, there.scale)

    inputs = here.inputs(seed)
    half = cast(inputs, dtype)
    exact = with_gradients(here.reference, inputs, seed)
    reference = with_gradients(here.reference, half, seed)
    q, k, v = half
    with recording() as seen:
        result = with_gradients(fast, (q.cuda(), k.cuda(), v.cuda()), seed)
    if there.pattern.packed.packed and route != "blocks":
        assert any(name.endswith("/flash:cuda") and not name.startswith("blocks") for name in seen)
    for name, a, b, c in zip(NAMES, result, reference, exact, strict=True):
        assert excess(a, b, c, OUTPUT_FACTOR, dtype) <= 1, name
    unseen = ~here.pattern.dense_mask().any(dim=1)
    assert not result[0][unseen].any()


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("seed", range(4))
def test_attention_never_waits_for_the_device(route: Route, seed: int) -> None:
    case = on_gpu(random_case(seed, width_of=8))
    shapes = [(case.pattern.rows, case.heads), *[(case.pattern.keys, case.kv_heads)] * 2]
    q, k, v = (torch.zeros(*s, case.width, device="cuda", dtype=torch.bfloat16) for s in shapes)
    with using(route):
        attend(q, k, v, case.pattern, case.scale)
