"""Block attention: the one entry through which every method attends.

A pattern is a list of *blocks*: some query rows against some key rows, causal or not. A window of CASA, a
whole sequence, a question that branches off a shared prefix: each is one block, so nothing ever needs a
dense mask over all rows and no padding is computed. Blocks of equal lengths run together.

Shapes: T query rows, S key rows, H heads, K key/value heads, D head width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

Route = Literal["blocks", "reference"]
Index = npt.NDArray[np.int64]

_route: ContextVar[Route] = ContextVar("attention_route", default="blocks")
_recorder: ContextVar[set[str] | None] = ContextVar("attention_recorder", default=None)


@contextmanager
def using(route: Route) -> Iterator[None]:
    """Run every attention inside through ``route``: "blocks" (fast) or "reference" (dense mask, eager)."""
    token = _route.set(route)
    try:
        yield
    finally:
        _route.reset(token)


@contextmanager
def recording() -> Iterator[set[str]]:
    """Collect the names of the routes that attention takes inside."""
    seen: set[str] = set()
    token = _recorder.set(seen)
    try:
        yield seen
    finally:
        _recorder.reset(token)


@dataclass(frozen=True, slots=True)
class Block:
    """Query rows that attend to key rows. ``causal`` is aligned bottom-right: the last query sees every
    key."""

    queries: Index
    keys: Index
    causal: bool


@dataclass(frozen=True, slots=True)
class _Group:
    """Blocks with equal lengths: n of them, each lq queries against lk keys."""

    n: int
    lq: int
    lk: int
    causal: bool
    queries: Tensor
    keys: Tensor


class Pattern:
    """Which rows attend to which. Every query row is in at most one block; a row in none gets exactly 0."""

    def __init__(self, blocks: Sequence[Block], rows: int, keys: int, device: torch.device) -> None:
        self.blocks = [block for block in blocks if len(block.queries) and len(block.keys)]
        self.rows, self.keys, self.device = rows, keys, device

    @cached_property
    def groups(self) -> list[_Group]:
        by_shape: dict[tuple[int, int, bool], list[Block]] = {}
        for block in self.blocks:
            causal = block.causal and len(block.queries) > 1
            by_shape.setdefault((len(block.queries), len(block.keys), causal), []).append(block)
        return [
            _Group(
                len(blocks),
                lq,
                lk,
                causal,
                self._index([block.queries for block in blocks]),
                self._index([block.keys for block in blocks]),
            )
            for (lq, lk, causal), blocks in by_shape.items()
        ]

    @cached_property
    def scatter(self) -> Tensor | None:
        """Where each group's output rows belong; None when they are all rows in order."""
        rows = [group.queries for group in self.groups]
        joined = torch.cat(rows) if rows else torch.zeros(0, dtype=torch.long, device=self.device)
        identity = len(joined) == self.rows and bool(
            (joined == torch.arange(self.rows, device=self.device)).all()
        )
        return None if identity else joined

    def dense_mask(self) -> Tensor:
        """The same pattern as a dense boolean mask [T, S], for tests and the reference route."""
        mask = torch.zeros(self.rows, self.keys, dtype=torch.bool, device=self.device)
        for block in self.blocks:
            lq, lk = len(block.queries), len(block.keys)
            allowed = torch.ones(lq, lk, dtype=torch.bool, device=self.device)
            if block.causal:
                allowed = allowed.tril(lk - lq)
            queries, keys = torch.from_numpy(block.queries), torch.from_numpy(block.keys)
            mask[queries[:, None].to(self.device), keys[None, :].to(self.device)] = allowed
        return mask

    def _index(self, parts: Sequence[Index]) -> Tensor:
        return torch.from_numpy(np.concatenate(parts)).to(self.device)


def attend(q_thd: Tensor, k_skd: Tensor, v_skd: Tensor, pattern: Pattern, scale: float) -> Tensor:
    """Attention of q [T, H, D] over k, v [S, K, D] under a pattern; returns [T, H, D], 0 for rows in no
    block."""
    route = _route.get()
    seen = _recorder.get()
    if seen is not None:
        seen.add(f"{route}:{q_thd.device.type}")
    if route == "reference":
        return attend_reference(q_thd, k_skd, v_skd, pattern.dense_mask(), scale)
    outputs = [_attend_group(q_thd, k_skd, v_skd, group, scale) for group in pattern.groups]
    if not outputs:
        return torch.zeros_like(q_thd)
    output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    if pattern.scatter is None:
        return output
    return torch.zeros_like(q_thd).index_copy(0, pattern.scatter, output)


def attend_reference(q_thd: Tensor, k_skd: Tensor, v_skd: Tensor, mask_ts: Tensor, scale: float) -> Tensor:
    """The equation itself: softmax(q k^T scale + mask) v over a dense mask; a row that sees nothing gets
    0."""
    repeat = q_thd.shape[1] // k_skd.shape[1]
    k_shd = k_skd.repeat_interleave(repeat, dim=1)
    v_shd = v_skd.repeat_interleave(repeat, dim=1)
    scores = torch.einsum("thd,shd->hts", q_thd, k_shd) * scale
    scores = scores.masked_fill(~mask_ts, float("-inf"))
    sees = mask_ts.any(dim=1)
    weights = torch.softmax(scores.masked_fill(~sees[None, :, None], 0.0), dim=-1)
    output = torch.einsum("hts,shd->thd", weights, v_shd)
    return output * sees[:, None, None].to(output.dtype)


def _attend_group(q_thd: Tensor, k_skd: Tensor, v_skd: Tensor, group: _Group, scale: float) -> Tensor:
    heads, kv_heads, width = q_thd.shape[1], k_skd.shape[1], q_thd.shape[2]
    q = _gather(q_thd, group.queries).view(group.n, group.lq, heads, width).transpose(1, 2)
    k = _gather(k_skd, group.keys).view(group.n, group.lk, kv_heads, width).transpose(1, 2)
    v = _gather(v_skd, group.keys).view(group.n, group.lk, kv_heads, width).transpose(1, 2)
    square = group.lq == group.lk
    mask = None
    if group.causal and not square:
        mask = torch.ones(group.lq, group.lk, dtype=torch.bool, device=q.device).tril(group.lk - group.lq)
    output = scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=group.causal and square, scale=scale, enable_gqa=heads != kv_heads
    )
    return output.transpose(1, 2).reshape(group.n * group.lq, heads, width)


def _gather(rows: Tensor, index: Tensor) -> Tensor:
    """``rows[index]``, without a copy when the index is a run of consecutive rows."""
    length = index.shape[0]
    if length == 0 or rows.device.type != "cpu":
        return rows.index_select(0, index)
    first, last = int(index[0]), int(index[-1])
    if last - first + 1 == length and bool((index.diff() == 1).all()):
        return rows[first : last + 1]
    return rows.index_select(0, index)
