"""Random patterns and tensors of odd sizes, and eager stand-ins for the variable-length kernels.

Shapes: T query rows, S key rows, H heads, K key/value heads, D head width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.attention import Block, Pattern, attend_reference

CPU = torch.device("cpu")
LONGEST = 70
Inputs = tuple[Tensor, Tensor, Tensor]
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """A pattern and the heads that attend under it."""

    pattern: Pattern
    heads: int
    kv_heads: int
    width: int

    @property
    def scale(self) -> float:
        return 1.3 / math.sqrt(self.width)

    def inputs(self, seed: int) -> Inputs:
        """q [T, H, D], k and v [S, K, D] in float64, holding values that bfloat16 represents exactly."""
        generator = torch.Generator().manual_seed(seed)
        shapes = (
            (self.pattern.rows, self.heads, self.width),
            (self.pattern.keys, self.kv_heads, self.width),
            (self.pattern.keys, self.kv_heads, self.width),
        )
        q, k, v = (torch.randn(shape, generator=generator).bfloat16().double() for shape in shapes)
        return q, k, v

    def reference(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend_reference(q, k, v, self.pattern.dense_mask(), self.scale)


def random_case(seed: int, *, bounded: bool = True, width_of: int = 1, device: torch.device = CPU) -> Case:
    """Blocks of 1 to 70 rows in random order; some rows in no block; keys shared between blocks."""
    rng = np.random.default_rng(seed)
    lengths = [_length(rng) for _ in range(rng.integers(0, 6))]
    if lengths and rng.random() < 0.5:
        lengths += [lengths[0]] * 2
    rows, keys = sum(lengths) + int(rng.integers(0, 4)), LONGEST + int(rng.integers(1, 60))
    order = np.arange(rows) if rng.random() < 0.5 else rng.permutation(rows)
    blocks, start = [], 0
    for lq in lengths:
        queries = order[start : start + lq]
        start += lq
        blocks.append(_block(rng, queries, keys, bounded))
    kv_heads, ratio = int(rng.integers(1, 4)), int(rng.choice([1, 2, 3, 5]))
    width = width_of * int(rng.integers(1, 1 + 40 // width_of))
    return Case(Pattern(blocks, rows, keys, device), kv_heads * ratio, kv_heads, width)


def _length(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.3 else int(rng.integers(1, LONGEST + 1))


def _block(rng: np.random.Generator, queries: np.ndarray, keys: int, bounded: bool) -> Block:
    causal = bool(rng.random() < 0.6)
    lq = len(queries)
    lk = int(rng.integers(lq if causal else 1, min(keys, 2 * LONGEST) + 1))
    if causal and rng.random() < 0.3:
        lk = lq
    if rng.random() < 0.5:
        first = int(rng.integers(0, keys - lk + 1))
        seen = np.arange(first, first + lk)
    else:
        seen = rng.permutation(keys)[:lk]
    if bounded and causal and rng.random() < 0.4:
        prefix = int(rng.integers(0, lk - lq + 1))
        return Block(queries, seen, True, prefix=prefix, reach=int(rng.integers(0, lk)))
    return Block(queries, seen, causal)


def cast(inputs: Inputs, dtype: torch.dtype) -> Inputs:
    q, k, v = inputs
    return q.to(dtype), k.to(dtype), v.to(dtype)


def with_gradients(run: Attention, inputs: Inputs, seed: int) -> list[Tensor]:
    """The output and the gradients of q, k, v under one random upstream gradient, all in float64."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    output = run(*leaves)
    upstream = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed)).bfloat16()
    if output.requires_grad:
        output.backward(upstream.to(output))  # type: ignore[no-untyped-call]
    gradients = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
    return [x.detach().double().cpu() for x in (output, *gradients)]


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """Uninitialised memory holds NaN inside, so that whatever nobody wrote shows up."""
    before = torch.are_deterministic_algorithms_enabled()
    options: Any = torch.utils.deterministic
    filled = options.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    options.fill_uninitialized_memory = True
    try:
        assert torch.empty(3).isnan().all()
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        options.fill_uninitialized_memory = filled


def _eager(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu: tuple[Tensor, Tensor],
    longest: tuple[int, int],
    causal: bool,
    scale: float,
) -> Tensor:
    """Variable-length attention, one sequence after the other; refuses what a real kernel cannot read."""
    for bounds, rows, most in zip(cu, (q, k), longest, strict=True):
        assert bounds.dtype == torch.int32
        assert bounds[0] == 0
        assert bounds[-1] == len(rows)
        assert int(bounds.diff().min()) >= 1
        assert int(bounds.diff().max()) == most
    assert all(x.stride(-1) == 1 for x in (q, k, v))
    outputs = []
    for (a, b), (c, d) in zip(*(zip(x[:-1].tolist(), x[1:].tolist(), strict=True) for x in cu), strict=True):
        mask = torch.ones(b - a, d - c, dtype=torch.bool)
        mask = mask.tril((d - c) - (b - a)) if causal else mask
        outputs.append(attend_reference(q[a:b], k[c:d], v[c:d], mask, scale))
    return torch.cat(outputs)


def varlen_attn_2_13(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
) -> Tensor:
    """``torch.nn.attention.varlen.varlen_attn`` as of torch 2.13, without what nothing here uses."""
    assert enable_gqa or query.shape[1] == key.shape[1]
    assert window_size in ((-1, -1), (-1, 0))
    scale = query.shape[2] ** -0.5 if scale is None else scale
    cu, longest = (cu_seq_q, cu_seq_k), (max_q, max_k)
    return _eager(query, key, value, cu, longest, window_size == (-1, 0), scale)


def varlen_attn_2_10(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    is_causal: bool = False,
    return_aux: None = None,
) -> Tensor:
    """The same as of torch 2.10: no scale, no grouped queries."""
    assert query.shape[1] == key.shape[1]
    cu, longest = (cu_seq_q, cu_seq_k), (max_q, max_k)
    return _eager(query, key, value, cu, longest, is_causal, query.shape[2] ** -0.5)


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
) -> Tensor:
    """The flash-attn package's function (2.1 and later) with the options that are used here."""
    assert dropout_p == 0.0
    scale = q.shape[2] ** -0.5 if softmax_scale is None else softmax_scale
    return _eager(q, k, v, (cu_seqlens_q, cu_seqlens_k), (max_seqlen_q, max_seqlen_k), causal, scale)
