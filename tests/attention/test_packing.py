"""Which blocks share a variable-length call: where they share keys, none copies many times the keys."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.attention import Block, Index, Pattern, attend, attend_reference, kernels_of
from harness.attention import pattern as pattern_module
from harness.attention.pattern import Packed
from harness.attention.routes import run_plan
from harness.attention.varlen import torch_kernel
from harness.measure.counted import CountedMemory

from .cases import CPU, varlen_attn_2_13

SCALE = 0.25


def growing(frames: int, tokens: int, words: int, *, spread: bool = False, causal: bool = False) -> Pattern:
    """The text after frame i sees frames 0 to i; ``spread``: but every other token of them."""
    keys = frames * tokens
    blocks = []
    for i in range(frames):
        queries = np.arange(i * words, (i + 1) * words)
        blocks.append(Block(queries, np.arange(0, (i + 1) * tokens, 2 if spread else 1), causal))
    return Pattern(blocks, frames * words, keys, CPU)


def key_count(packed: Packed) -> int:
    return int(packed.cu_k[-1])


def expect_bounded(pattern: Pattern) -> None:
    """Keys that are one run are read where they are; others are copied, a few times at most."""
    for packed in pattern.packed.packed:
        assert isinstance(packed.keys, slice) or key_count(packed) <= pattern_module.COPIES * pattern.keys
        assert len(packed.cu_q) == len(packed.cu_k)


def tensors(pattern: Pattern, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((pattern.rows, 4, 16), (pattern.keys, 2, 16), (pattern.keys, 2, 16))
    q, k, v = (torch.randn(shape, generator=generator) for shape in shapes)
    return q, k, v


def expect_dense(pattern: Pattern) -> None:
    q, k, v = tensors(pattern)
    output = run_plan(pattern.packed, q, k, v, SCALE, torch_kernel(varlen_attn_2_13))
    exact = attend_reference(q, k, v, pattern.dense_mask(), SCALE)
    torch.testing.assert_close(output, exact, atol=1e-5, rtol=0)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize(("frames", "tokens", "words"), [(1, 4, 2), (2, 4, 2), (9, 4, 2), (16, 6, 1)])
def test_a_growing_history_is_not_copied(
    frames: int, tokens: int, words: int, spread: bool, causal: bool
) -> None:
    pattern = growing(frames, tokens, words, spread=spread, causal=causal)
    expect_bounded(pattern)
    expect_dense(pattern)
    calls = pattern.packed.packed
    assert sum(packed.pairs for packed in calls) == sum(
        len(block.queries) * len(block.keys) for block in pattern.blocks
    )


def test_blocks_whose_keys_fit_together_run_in_one_call() -> None:
    windows = [Block(np.arange(2 * i, 2 * i + 2), np.arange(3 * i, 3 * i + 3), False) for i in range(20)]
    (packed,) = Pattern(windows, 40, 60, CPU).packed.packed
    assert key_count(packed) == 60
    assert packed.keys == slice(0, 60)


def test_runs_of_keys_have_a_call_each_and_others_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pattern_module, "COPIES", 1)
    pattern = growing(4, 4, 1)
    assert [packed.keys for packed in pattern.packed.packed] == [slice(0, 4 * (i + 1)) for i in range(4)]
    # 2, 4, 6 and 8 of 16 keys: those of the first three, 12, fit into one call.
    spread = growing(4, 4, 1, spread=True)
    assert [key_count(packed) for packed in spread.packed.packed] == [12, 8]


def test_questions_that_share_a_prefix_share_a_call() -> None:
    """Prefixes that do not overlap, and branches that see a prefix and themselves."""
    prefix, rows = np.arange(6), 6 + 3 * 2
    branches = [np.arange(6 + 2 * n, 8 + 2 * n) for n in range(3)]
    blocks = [Block(prefix, prefix, True)]
    blocks += [Block(branch, np.concatenate((prefix, branch)), True) for branch in branches]
    (packed,) = Pattern(blocks, rows, rows, CPU).packed.packed
    assert packed.cu_k.tolist() == [0, 6, 14, 22, 30] or key_count(packed) == 30


def counted_peak(frames: int) -> int:
    """Above the inputs, on the way through the attention of a growing history."""
    pattern = growing(frames, 32, 1)
    q, k, v = (x.to("meta", torch.bfloat16) for x in tensors(pattern))
    pattern.device = torch.device("meta")
    with kernels_of("cuda"), torch.inference_mode(), CountedMemory(device="meta", granule=1) as memory:
        attend(q, k, v, pattern, SCALE)
    return memory.peak_bytes


def test_memory_of_a_growing_history_is_linear_in_frames() -> None:
    few, more, many = (counted_peak(frames) for frames in (16, 32, 64))
    assert (many - more) / (more - few) < 2.1


@st.composite
def patterns(draw: st.DrawFn) -> Pattern:
    """Blocks over few keys that overlap in any way: runs, scattered keys, repeated histories."""
    keys = draw(st.integers(1, 24))
    blocks: list[Block] = []
    start = 0
    for _ in range(draw(st.integers(0, 8))):
        lk = draw(st.integers(1, keys))
        first = draw(st.integers(0, keys - lk))
        seen: Index = np.arange(first, first + lk)
        if draw(st.booleans()):
            seen = np.array(sorted(draw(st.sets(st.integers(0, keys - 1), min_size=lk, max_size=lk))))
        causal = draw(st.booleans())
        lq = draw(st.integers(1, lk if causal else 5))
        blocks.append(Block(np.arange(start, start + lq), seen.astype(np.int64), causal))
        start += lq
    return Pattern(blocks, start + draw(st.integers(0, 2)), keys, CPU)


@given(pattern=patterns())
def test_no_call_copies_more_keys_than_there_are(pattern: Pattern) -> None:
    expect_bounded(pattern)
    expect_dense(pattern)
