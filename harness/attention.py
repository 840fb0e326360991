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
from typing import Literal, Self

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
    """Query rows that attend to key rows.

    ``causal`` is aligned bottom-right: the last query sees every key, the one before it all but the last. In
    a causal block with a ``reach``, a query sees the first ``prefix`` keys, and of the others at most
    ``reach`` before its own.
    """

    queries: Index
    keys: Index
    causal: bool
    prefix: int = 0
    reach: int | None = None


@dataclass(frozen=True, slots=True)
class _Shape:
    """What blocks must share to run together: lq queries against lk keys under one mask."""

    lq: int
    lk: int
    causal: bool
    prefix: int
    reach: int | None

    @classmethod
    def of(cls, block: Block) -> Self:
        lq, lk = len(block.queries), len(block.keys)
        reach = block.reach if block.causal and block.reach is not None else None
        if reach is not None and reach >= lk - 1 - block.prefix:
            reach = None
        causal = block.causal and (lq > 1 or reach is not None)
        return cls(lq, lk, causal, block.prefix if reach is not None else 0, reach)

    def mask(self, device: torch.device) -> Tensor:
        allowed = torch.ones(self.lq, self.lk, dtype=torch.bool, device=device)
        if not self.causal:
            return allowed
        allowed = allowed.tril(self.lk - self.lq)
        if self.reach is not None:
            near = torch.ones_like(allowed).triu(self.lk - self.lq - self.reach)
            near[:, : self.prefix] = True
            allowed &= near
        return allowed


@dataclass(frozen=True)
class _Group:
    """Blocks of one shape, n of them. An index that is a run of consecutive rows is a slice."""

    n: int
    shape: _Shape
    queries: slice | Tensor
    keys: slice | Tensor
    device: torch.device

    @property
    def square(self) -> bool:
        """Plain causal attention of rows to themselves, which needs no mask."""
        return self.shape.causal and self.shape.lq == self.shape.lk and self.shape.reach is None

    @cached_property
    def mask(self) -> Tensor | None:
        """[lq, lk], the same for all layers; None where the kernel needs none."""
        return self.shape.mask(self.device) if self.shape.causal and not self.square else None


class Pattern:
    """Which rows attend to which. Every query row is in at most one block; a row in none gets exactly 0."""

    def __init__(self, blocks: Sequence[Block], rows: int, keys: int, device: torch.device) -> None:
        self.blocks = [block for block in blocks if len(block.queries) and len(block.keys)]
        self.rows, self.keys, self.device = rows, keys, device

    @cached_property
    def groups(self) -> list[_Group]:
        return [
            _Group(
                len(blocks),
                shape,
                self._index([block.queries for block in blocks]),
                self._index([block.keys for block in blocks]),
                self.device,
            )
            for shape, blocks in self._by_shape.items()
        ]

    @cached_property
    def scatter(self) -> Tensor | None:
        """Where each group's output rows belong; None when they are all rows in order."""
        rows = [block.queries for blocks in self._by_shape.values() for block in blocks]
        joined = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
        if len(joined) == self.rows and bool((joined == np.arange(self.rows)).all()):
            return None
        return torch.from_numpy(joined).to(self.device)

    @cached_property
    def _by_shape(self) -> dict[_Shape, list[Block]]:
        found: dict[_Shape, list[Block]] = {}
        for block in self.blocks:
            found.setdefault(_Shape.of(block), []).append(block)
        return found

    def dense_mask(self) -> Tensor:
        """The same pattern as a dense boolean mask [T, S], for tests and the reference route."""
        mask = torch.zeros(self.rows, self.keys, dtype=torch.bool, device=self.device)
        for block in self.blocks:
            queries, keys = torch.from_numpy(block.queries), torch.from_numpy(block.keys)
            allowed = _Shape.of(block).mask(self.device)
            mask[queries[:, None].to(self.device), keys[None, :].to(self.device)] = allowed
        return mask

    def _index(self, parts: Sequence[Index]) -> slice | Tensor:
        joined = np.concatenate(parts)
        first, last = int(joined[0]), int(joined[-1])
        if last - first + 1 == len(joined) and bool((np.diff(joined) == 1).all()):
            return slice(first, last + 1)
        return torch.from_numpy(joined).to(self.device)


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
    shape = group.shape
    q = q_thd[group.queries].view(group.n, shape.lq, heads, width).transpose(1, 2)
    k = k_skd[group.keys].view(group.n, shape.lk, kv_heads, width).transpose(1, 2)
    v = v_skd[group.keys].view(group.n, shape.lk, kv_heads, width).transpose(1, 2)
    output = scaled_dot_product_attention(
        q, k, v, attn_mask=group.mask, is_causal=group.square, scale=scale, enable_gqa=heads != kv_heads
    )
    return output.transpose(1, 2).reshape(group.n * shape.lq, heads, width)
