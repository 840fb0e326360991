"""Which route runs, what is recorded, and the index tensors that all layers share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.attention import Block, Index, Pattern, Route, attend, attend_reference, recording, using
from harness.attention import pattern as pattern_module
from harness.attention import routes as routes_module
from harness.attention.grouped import attend_group
from harness.attention.pattern import PIECE
from harness.attention.routes import run_plan
from harness.attention.varlen import Kernel, torch_kernel
from harness.errors import UsageError

from .cases import CPU, poisoned_memory, random_case, varlen_attn_2_10, varlen_attn_2_13

SCALE = 0.25


def rows(*bounds: int) -> np.ndarray:
    return np.arange(*bounds)


def inputs(
    pattern: Pattern, heads: int = 4, kv_heads: int = 2, width: int = 16
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (pattern.rows, heads, width), *[(pattern.keys, kv_heads, width)] * 2
    q, k, v = (torch.randn(shape, generator=generator) for shape in shapes)
    return q, k, v


MIXED = [
    Block(rows(0, 5), rows(0, 9), causal=True),
    Block(rows(5, 6), rows(3, 9), causal=True),
    Block(rows(6, 9), rows(0, 4), causal=False),
    Block(rows(9, 12), rows(0, 9), causal=True, prefix=2, reach=1),
]


def mixed() -> Pattern:
    return Pattern(MIXED, 13, 9, CPU)


def close(fast: Tensor, pattern: Pattern, tensors: tuple[Tensor, Tensor, Tensor]) -> None:
    exact = attend_reference(*tensors, pattern.dense_mask(), SCALE)
    torch.testing.assert_close(fast, exact, atol=1e-5, rtol=0)


@pytest.mark.parametrize("route", ["auto", "blocks", "reference"])
def test_a_cpu_takes_blocks_unless_told_otherwise(route: Route) -> None:
    pattern = mixed()
    tensors = inputs(pattern)
    with using(route), recording() as seen:
        close(attend(*tensors, pattern, SCALE), pattern, tensors)
    assert seen == {"reference/eager:cpu" if route == "reference" else "blocks/flash:cpu"}


def test_the_recorded_kernel_is_the_one_that_ran() -> None:
    pattern = mixed()
    tensors = inputs(pattern)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), recording() as seen:
        attend(*tensors, pattern, SCALE)
    assert seen == {"blocks/math:cpu"}


@pytest.mark.parametrize("route", ["varlen", "flash_attn"])
def test_an_impossible_forced_route_is_an_error_with_its_reason(route: Route) -> None:
    pattern = mixed()
    with (
        using(route),
        pytest.raises(UsageError, match=f"'{route}' cannot run: the tensors are on cpu; it needs"),
    ):
        attend(*inputs(pattern), pattern, SCALE)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_module, "unmet", lambda q_thd: None)
    monkeypatch.setitem(routes_module._PACKED, "flash_attn", (lambda: None, "it is not installed"))
    pattern = mixed()
    with using("flash_attn"), pytest.raises(UsageError, match="it is not installed; use 'auto' or 'blocks'"):
        attend(*inputs(pattern), pattern, SCALE)


def test_an_unknown_route_is_an_error() -> None:
    with pytest.raises(UsageError, match="'dense' is not known; give one of auto, varlen"), using("dense"):  # type: ignore[arg-type]
        pass


def always(kernel: Kernel | None) -> Kernel | None:
    return kernel


def test_automatic_choice_falls_through_to_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = torch_kernel(varlen_attn_2_13)
    monkeypatch.setattr(routes_module, "unmet", lambda q_thd: None)
    pattern = mixed()
    tensors = inputs(pattern)
    recorded = []
    for varlen, flash_attn in ((kernel, kernel), (None, kernel), (None, None)):
        monkeypatch.setitem(routes_module._PACKED, "varlen", (partial(always, varlen), ""))
        monkeypatch.setitem(routes_module._PACKED, "flash_attn", (partial(always, flash_attn), ""))
        with recording() as seen:
            close(attend(*tensors, pattern, SCALE), pattern, tensors)
        recorded.append(seen)
    # The block with a bounded reach needs a mask, which no variable-length kernel takes.
    assert recorded == [
        {"varlen/flash:cpu", "blocks/flash:cpu"},
        {"flash_attn/flash:cpu", "blocks/flash:cpu"},
        {"blocks/flash:cpu"},
    ]


@pytest.mark.parametrize(("device", "dtype", "width", "reason"), [
    ("cpu", torch.bfloat16, 64, "are on cpu"),
    ("cuda", torch.float32, 64, "are torch.float32"),
    ("cuda", torch.bfloat16, 20, "width is 20"),
    ("cuda", torch.float16, 264, "width is 264"),
    ("cuda", torch.float16, 64, "older than Ampere"),
])  # fmt: skip
def test_what_flash_kernels_need(
    monkeypatch: pytest.MonkeyPatch, device: str, dtype: torch.dtype, width: int, reason: str
) -> None:
    from harness.attention import varlen

    class Queries:
        shape = (1, 1, width)
        device: torch.device
        dtype: torch.dtype

    queries: Any = Queries()
    queries.device, queries.dtype = torch.device(device, 0), dtype
    monkeypatch.setattr(varlen, "_capability", lambda index: (7, 5))
    assert reason in str(varlen.unmet(queries))
    monkeypatch.setattr(varlen, "_capability", lambda index: (8, 0))
    assert (varlen.unmet(queries) is None) == ("Ampere" in reason)


def test_one_call_for_causal_blocks_and_one_for_the_others() -> None:
    pattern = mixed()
    causal, other = pattern.packed.packed
    assert (causal.causal, causal.cu_q.tolist(), causal.cu_k.tolist()) == (True, [0, 5, 6], [0, 9, 15])
    assert (causal.max_q, causal.max_k) == (5, 9)
    assert (other.causal, other.cu_q.tolist(), other.cu_k.tolist()) == (False, [0, 3], [0, 4])
    assert causal.queries == slice(0, 6)
    assert isinstance(causal.keys, Tensor)
    assert [group.shape.reach for group in pattern.packed.groups] == [1]


def test_the_installed_kernel_takes_what_the_adapter_gives() -> None:
    installed = pytest.importorskip("torch.nn.attention.varlen").varlen_attn
    signature = inspect.signature(installed)
    pattern = mixed()
    tensors = inputs(pattern)

    def checked(*arguments: Any, **options: Any) -> Tensor:
        signature.bind(*arguments, **options)
        stand_in: Callable[..., Tensor] = (
            varlen_attn_2_13 if "window_size" in signature.parameters else varlen_attn_2_10
        )
        return stand_in(*arguments, **options)

    checked.__signature__ = signature  # type: ignore[attr-defined]
    close(run_plan(pattern.packed, *tensors, SCALE, torch_kernel(checked)), pattern, tensors)


def test_index_tensors_and_masks_are_made_once_for_all_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Index] = []
    original = pattern_module.to_device

    def counted(array: Index, device: torch.device) -> Tensor:
        made.append(array)
        return original(array, device)

    monkeypatch.setattr(pattern_module, "to_device", counted)
    pattern = mixed()
    tensors, kernel = inputs(pattern), torch_kernel(varlen_attn_2_13)
    counts, masks = [], []
    for _ in range(2):
        attend(*tensors, pattern, SCALE)
        run_plan(pattern.packed, *tensors, SCALE, kernel)
        counts.append(len(made))
        masks.append([dict(group._masks) for group in pattern.grouped.groups])
    assert counts[0] == counts[1] > 0
    assert any(masks[0])
    assert all(b[dtype] is a[dtype] for a, b in zip(*masks, strict=True) for dtype in b)


@pytest.mark.parametrize(
    ("lq", "lk"), [(PIECE, PIECE + 1), (PIECE + 1, PIECE + 2), (3 * PIECE + 7, 4 * PIECE)]
)
def test_a_long_causal_block_runs_in_pieces_under_one_small_mask(lq: int, lk: int) -> None:
    pattern = Pattern([Block(rows(lq), rows(lk), causal=True)], lq, lk, CPU)
    tensors = inputs(pattern)
    with poisoned_memory():
        output = attend_group(*tensors, pattern.grouped.groups[0], SCALE)
    close(output, pattern, tensors)
    assert pattern.grouped.groups[0].mask(torch.float32).shape == (PIECE, lk)


def test_a_square_causal_block_needs_no_mask() -> None:
    pattern = Pattern([Block(rows(300), rows(300), causal=True)], 300, 300, CPU)
    tensors = inputs(pattern)
    close(attend(*tensors, pattern, SCALE), pattern, tensors)
    assert not pattern.grouped.groups[0]._masks


@pytest.mark.parametrize("plan", ["grouped", "packed"])
def test_a_pattern_without_blocks_is_zero(plan: str) -> None:
    empty = np.zeros(0, dtype=np.int64)
    pattern = Pattern([Block(rows(2), empty, causal=False), Block(empty, rows(3), causal=True)], 2, 3, CPU)
    with poisoned_memory():
        output = run_plan(getattr(pattern, plan), *inputs(pattern), SCALE, torch_kernel(varlen_attn_2_13))
    assert output.shape == (2, 4, 16)
    assert not output.any()


def test_a_causal_block_with_more_queries_than_keys_is_refused() -> None:
    with pytest.raises(UsageError, match="3 queries and 2 keys"):
        Block(rows(3), rows(2), causal=True)


def sees(block: Block, query: int, key: int) -> bool:
    """A block's definition, one pair at a time."""
    own = len(block.keys) - len(block.queries) + query
    if not block.causal or key > own:
        return not block.causal
    return block.reach is None or key < block.prefix or own - key <= block.reach


@pytest.mark.parametrize("seed", range(30))
def test_the_dense_mask_is_the_definition_written_out(seed: int) -> None:
    pattern = random_case(seed).pattern
    expected = torch.zeros(pattern.rows, pattern.keys, dtype=torch.bool)
    for block in pattern.blocks:
        for i, row in enumerate(block.queries.tolist()):
            seen = [key for j, key in enumerate(block.keys.tolist()) if sees(block, i, j)]
            expected[row, seen] = True
    assert torch.equal(pattern.dense_mask(), expected)
