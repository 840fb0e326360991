"""The operators that stand in for CUDA's fused kernels: values, gradients, sizes and operations.

Shapes: T queries, S keys, n blocks of lq and lk, H heads, K key/value heads, D head width.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from harness.attention import Build, attend, attend_reference, kernels_of
from harness.attention import standin as standin_module
from harness.attention.builds import asked_build, fused_choice
from harness.attention.standin import sdpa_as
from harness.errors import UsageError

from .cases import Case, cast, random_case, with_gradients
from .test_budgets import excess

SCALE = 0.3
GRADIENT_FACTOR = 4.0
"""Errors of gradients, as a multiple of those of the reference's own in float32."""
VARLEN = torch.ops.vlm_fusion_harness.flash_varlen.default
VARLEN_BACKWARD = torch.ops.vlm_fusion_harness.flash_varlen_backward.default
FUSED = torch.ops.vlm_fusion_harness.fused_sdpa.default
FUSED_BACKWARD = torch.ops.vlm_fusion_harness.fused_sdpa_backward.default
Geometry = list[tuple[torch.Size, tuple[int, ...], torch.dtype]]


def random(*shapes: Sequence[int], dtype: torch.dtype = torch.float32, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(tuple(shape), generator=generator).to(dtype) for shape in shapes]


def cumulative(lengths: Sequence[int], device: str = "cpu") -> Tensor:
    return torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32, device=device)


def geometry(tensors: Sequence[Tensor]) -> Geometry:
    return [(x.shape, x.stride(), x.dtype) for x in tensors]


def bottom_right(lq: int, lk: int) -> Tensor:
    """Query i sees keys up to lk - lq + i."""
    return torch.arange(lk)[None] <= torch.arange(lk - lq, lk)[:, None]


def segments(q: Tensor, k: Tensor, v: Tensor, lq: list[int], lk: list[int], causal: bool) -> Tensor:
    """The equation over one dense mask of all segments."""
    blocks = [bottom_right(*pair) if causal else torch.ones(pair) for pair in zip(lq, lk, strict=True)]
    return attend_reference(q, k, v, torch.block_diag(*blocks).bool(), SCALE)


LENGTHS = [([5], [5]), ([3], [8]), ([1, 4, 2], [1, 6, 2]), ([7, 1], [9, 30])]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (6, 1)])
@pytest.mark.parametrize(("lq", "lk"), LENGTHS)
def test_variable_lengths_are_dense_attention(
    lq: list[int], lk: list[int], heads: tuple[int, int], causal: bool
) -> None:
    q, k, v = random((sum(lq), heads[0], 16), *[(sum(lk), heads[1], 16)] * 2)
    pairs = sum(a * b for a, b in zip(lq, lk, strict=True))
    output, *_ = VARLEN(q, k, v, cumulative(lq), cumulative(lk), pairs, causal, SCALE)
    torch.testing.assert_close(output, segments(q, k, v, lq, lk, causal), atol=2e-6, rtol=0)


def reference_4d(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """[n, H, lq, D], one block after the other."""
    each = zip(q, k, v, strict=True)
    parts = [attend_reference(*(x.transpose(0, 1) for x in one), mask, SCALE) for one in each]
    return torch.stack([part.transpose(0, 1) for part in parts])


@pytest.mark.parametrize("kind", ["plain", "causal", "masked"])
@pytest.mark.parametrize("build", get_args(Build))
@pytest.mark.parametrize("lk", [7, 16])
def test_equal_lengths_are_dense_attention_in_every_build(build: Build, kind: str, lk: int) -> None:
    lq = lk if kind == "causal" else 7
    q, k, v = random((2, 4, lq, 8), *[(2, 2, lk, 8)] * 2)
    allowed = torch.ones(lq, lk, dtype=torch.bool) if kind == "plain" else bottom_right(lq, lk)
    mask = torch.zeros(lq, lk).masked_fill(~allowed, -torch.inf) if kind == "masked" else None
    output, _ = sdpa_as(build, q, k, v, mask, kind == "causal", SCALE)
    torch.testing.assert_close(output, reference_4d(q, k, v, allowed), atol=2e-6, rtol=0)


def within_budget(run: Callable[..., Tensor], reference: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Output and gradients in float32 are as close to float64 as the reference's own."""
    doubles = (inputs[0].double(), inputs[1].double(), inputs[2].double())
    exact = with_gradients(reference, doubles, seed=1)
    singles = cast(doubles, torch.float32)
    plain, ours = (with_gradients(one, singles, seed=1) for one in (reference, run))
    over = [excess(*x, GRADIENT_FACTOR, torch.float32) for x in zip(ours, plain, exact, strict=True)]
    assert max(over) <= 1, over


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("lq", "lk"), LENGTHS)
def test_gradients_of_variable_lengths(lq: list[int], lk: list[int], causal: bool) -> None:
    pairs = sum(a * b for a, b in zip(lq, lk, strict=True))

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        output: Tensor = VARLEN(q, k, v, cumulative(lq), cumulative(lk), pairs, causal, SCALE)[0]
        return output

    def reference(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return segments(q, k, v, lq, lk, causal)

    within_budget(run, reference, *random((sum(lq), 4, 8), *[(sum(lk), 2, 8)] * 2))


@pytest.mark.parametrize("efficient", [True, False])
@pytest.mark.parametrize("kind", ["plain", "causal", "masked", "boolean"])
def test_gradients_of_equal_lengths(kind: str, efficient: bool) -> None:
    lq, lk = (6, 6) if kind == "causal" else (6, 9)
    allowed = torch.ones(lq, lk, dtype=torch.bool) if kind == "plain" else bottom_right(lq, lk)
    added = torch.zeros(lq, lk).masked_fill(~allowed, -torch.inf)
    mask = {"masked": added, "boolean": allowed}.get(kind)

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        output: Tensor = FUSED(q, k, v, mask, kind == "causal", SCALE, efficient, 32)[0]
        return output

    def reference(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return reference_4d(q, k, v, allowed)

    within_budget(run, reference, *random((2, 4, lq, 8), *[(2, 2, lk, 8)] * 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("seed", range(6))
def test_a_pattern_as_cuda_would_run_it_is_the_dense_reference(seed: int, dtype: torch.dtype) -> None:
    """Through the entry of all methods, with blocks of odd lengths, bounded ones among them."""
    case: Case = random_case(seed, width_of=8)
    inputs = case.inputs(seed)
    exact = case.reference(*inputs)
    reference = case.reference(*cast(inputs, dtype)).double()
    with kernels_of("cuda"):
        ours = attend(*cast(inputs, dtype), case.pattern, case.scale)
    assert excess(ours.double(), reference, exact, 2.0, dtype) <= 1


HALF = torch.bfloat16


def meta(*shapes: Sequence[int], dtype: torch.dtype = HALF) -> list[Tensor]:
    return [torch.empty(tuple(shape), dtype=dtype, device="meta") for shape in shapes]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("causal", [True, False])
def test_variable_lengths_have_the_sizes_of_torchs_own(dtype: torch.dtype, causal: bool) -> None:
    pytest.importorskip("torch.nn.attention.varlen")
    q, k, v = meta((11, 4, 16), *[(13, 2, 16)] * 2, dtype=dtype)
    cu_q, cu_k = (cumulative(lengths, "meta") for lengths in ([4, 7], [5, 8]))
    ours = VARLEN(q, k, v, cu_q, cu_k, 76, causal, SCALE)
    window = [-1, 0 if causal else -1]
    options: dict[str, Any] = {"scale": SCALE, "window_size": window, "enable_gqa": True}
    theirs = torch.ops.torch_attn._varlen_attn(q, k, v, cu_q, cu_k, 7, 8, False, **options)
    assert geometry(ours) == geometry(theirs)
    back = VARLEN_BACKWARD(ours[0], q, k, v, *ours[:2], cu_q, cu_k, 76, causal, SCALE)
    theirs = torch.ops.torch_attn._varlen_attn_backward(
        ours[0], q, k, v, *theirs[:2], cu_q, cu_k, 7, 8, False, theirs[2], SCALE, window
    )
    assert geometry(back) == geometry(theirs)


def by_rows(tensors: list[Tensor]) -> list[Tensor]:
    """[n, l, H, D] seen as [n, H, l, D], as attention of rows has them."""
    return [x.transpose(1, 2) for x in tensors]


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("lq", [1, 31, 32, 33])
@pytest.mark.parametrize("order", [list, by_rows])
def test_the_efficient_kernel_has_the_sizes_of_torchs_own(
    lq: int, trained: bool, order: Callable[[list[Tensor]], list[Tensor]]
) -> None:
    shapes = ((2, 3, lq, 16), (2, 3, 40, 16)) if order is list else ((2, lq, 3, 16), (2, 40, 3, 16))
    q, k, v = order(meta(shapes[0], shapes[1], shapes[1], dtype=torch.float32))
    rows = standin_module._lse_rows(*(x.requires_grad_(trained) for x in (q, k, v)), efficient=True)
    q, k, v = (x.detach() for x in (q, k, v))
    ours = FUSED(q, k, v, None, False, SCALE, True, rows)
    theirs = torch.ops.aten._scaled_dot_product_efficient_attention(q, k, v, None, trained, scale=SCALE)
    # Where nothing is to be written, only the number of bytes is compared.
    compared = [one for one in zip(ours, theirs, strict=True) if one[1].numel()]
    assert geometry([a for a, _ in compared]) == geometry([b for _, b in compared])
    assert ours[1].numel() == theirs[1].numel()
    back = FUSED_BACKWARD(ours[0], q, k, v, *ours[:2], None, False, SCALE, True)
    theirs = torch.ops.aten._scaled_dot_product_efficient_attention_backward(
        ours[0], q, k, v, None, *theirs, 0.0, [True, True, True, False]
    )
    assert geometry(back) == geometry(theirs[:3])


@pytest.mark.parametrize("order", [list, by_rows])
def test_the_flash_kernel_has_the_sizes_of_torchs_own(
    order: Callable[[list[Tensor]], list[Tensor]],
) -> None:
    q, k, v = order(meta(*[(2, 4, 10, 16)] * 3))
    ours = FUSED(q, k, v, None, True, SCALE, False, standin_module._lse_rows(q, k, v, efficient=False))
    theirs = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, True, scale=SCALE)
    out, lse, *_, seed, offset, _ = theirs
    assert geometry(ours) == geometry([out, lse, seed, offset])
    back = FUSED_BACKWARD(out, q, k, v, out, lse, None, True, SCALE, False)
    assert geometry(back) == geometry([q, k, v])


@pytest.mark.parametrize("trained", [True, False])
def test_what_the_efficient_kernel_keeps_follows_from_gradients(
    trained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def noted(*arguments: Any) -> Any:
        asked.append(arguments[-1])
        return FUSED(*arguments)

    monkeypatch.setattr(standin_module, "_fused", noted)
    q, k, v = (x.requires_grad_(trained) for x in random(*[(1, 2, 5, 8)] * 3))
    sdpa_as("cuda", q, k, v, None, False, SCALE)
    with torch.no_grad():
        sdpa_as("cuda", q, k, v, None, False, SCALE)
    assert asked == [32 if trained else 0, 0]


def test_a_mask_is_aligned_for_the_efficient_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    masks: list[Tensor] = []

    def noted(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, *rest: Any) -> Any:
        masks.append(mask)
        return FUSED(q, k, v, mask, *rest)

    monkeypatch.setattr(standin_module, "_fused", noted)
    for lk in (16, 13):
        q, k, v = random((1, 2, 5, 8), *[(1, 2, lk, 8)] * 2)
        sdpa_as("cuda", q, k, v, torch.zeros(5, lk), False, SCALE)
    assert [mask.stride(0) for mask in masks] == [16, 16]
    assert [mask.shape[1] for mask in masks] == [16, 13]


def packed_arguments(dtype: torch.dtype = torch.float32) -> tuple[Any, ...]:
    q, k, v = random((7, 4, 8), *[(11, 2, 8)] * 2, dtype=dtype)
    return q, k, v, cumulative([3, 4]), cumulative([5, 6]), 39, True, SCALE


@pytest.mark.parametrize("efficient", [True, False])
def test_torch_finds_nothing_wrong_with_the_operators(efficient: bool) -> None:
    # Schema, sizes without storage, and the registration for autograd; tracing is nothing that is used here.
    checks = ("test_schema", "test_faketensor", "test_autograd_registration")
    packed = packed_arguments()
    torch.library.opcheck(VARLEN, packed, test_utils=checks)
    out, lse, _ = VARLEN(*packed)
    torch.library.opcheck(VARLEN_BACKWARD, (out, *packed[:3], out, lse, *packed[3:]), test_utils=checks)
    q, k, v = random(*[(2, 3, 6, 8)] * 3)
    equal = (q, k, v, None, True, SCALE, efficient, 32 if efficient else 6)
    torch.library.opcheck(FUSED, equal, test_utils=checks)
    out, lse, *_ = FUSED(*equal)
    back = (out, q, k, v, out, lse, None, True, SCALE, efficient)
    torch.library.opcheck(FUSED_BACKWARD, back, test_utils=checks)


def operations(func: Any, arguments: tuple[Any, ...]) -> int:
    return int(flop_registry[func.overloadpacket](*arguments, out_val=None))


def test_operations_are_two_per_multiply_add() -> None:
    packed = packed_arguments()
    pairs, heads, width = 3 * 5 + 4 * 6, 4, 8
    products = {"forward": 2, "backward": 5}
    once = 2 * pairs * heads * width
    assert operations(VARLEN, packed) == products["forward"] * once
    q = packed[0]
    back = (q, *packed[:3], q, q, *packed[3:])
    assert operations(VARLEN_BACKWARD, back) == products["backward"] * once
    q, k, v = random((2, 4, 6, 8), *[(2, 2, 9, 8)] * 2)
    once = 2 * 2 * 6 * 9 * 4 * 8
    equal = (q, k, v, None, False, SCALE, True, 32)
    assert operations(FUSED, equal) == products["forward"] * once
    back = (q, q, k, v, q, q, None, False, SCALE, True)
    assert operations(FUSED_BACKWARD, back) == products["backward"] * once


@pytest.mark.parametrize(("dtype", "width", "kv_heads", "lk", "masked", "causal", "kernel"), [
    (torch.bfloat16, 64, 4, 6, False, True, "flash"),
    (torch.float16, 64, 2, 6, False, True, "flash"),
    (torch.bfloat16, 256, 4, 9, False, False, "flash"),
    (torch.bfloat16, 64, 4, 9, False, True, "efficient"),
    (torch.bfloat16, 64, 4, 9, True, False, "efficient"),
    (torch.bfloat16, 264, 4, 6, False, False, "efficient"),
    (torch.bfloat16, 20, 4, 6, False, False, "efficient"),
    (torch.float32, 64, 4, 6, False, True, "efficient"),
    (torch.float32, 64, 4, 9, True, False, "efficient"),
    (torch.float32, 64, 2, 6, False, False, "math"),
    (torch.bfloat16, 64, 2, 9, True, False, "math"),
    (torch.bfloat16, 20, 2, 9, False, False, "math"),
    (torch.float64, 64, 4, 6, False, False, "math"),
])  # fmt: skip
def test_the_kernel_that_torchs_cuda_build_takes(
    dtype: torch.dtype, width: int, kv_heads: int, lk: int, masked: bool, causal: bool, kernel: str
) -> None:
    q, k = meta((2, 4, 6, width), (2, kv_heads, lk, width), dtype=dtype)
    mask = torch.zeros(6, lk, dtype=dtype, device="meta") if masked else None
    assert fused_choice(q, k, mask, causal) == kernel
    assert sdpa_as("cuda", q, k, k, mask, causal, SCALE)[1] == kernel
    assert sdpa_as("cuda-math", q, k, k, mask, causal and lk == 6, SCALE)[1] == "math"


def test_unknown_kernels_are_refused() -> None:
    message = "'rocm' are not known; give one of cuda, cuda-math, cpu"
    with pytest.raises(UsageError, match=message), kernels_of("rocm"):  # type: ignore[arg-type]
        pass
    assert asked_build() is None


def test_a_build_holds_inside_and_ends_with_it() -> None:
    with kernels_of("cuda"):
        with pytest.raises(ZeroDivisionError), kernels_of("cpu"):
            _ = 1 / 0
        assert asked_build() == "cuda"
    assert asked_build() is None
