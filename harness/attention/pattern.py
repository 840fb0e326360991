"""Which rows attend to which, and the index tensors that the routes need, made once for all layers.

Shapes: T query rows, S key rows, n blocks that run together, lq and lk rows of one block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.attention.builds import asked_build
from harness.errors import UsageError

Index = npt.NDArray[np.int64]

OVERLAP, COPIES = 2, 8
"""Times the keys there are up to which runs of keys share a variable-length call, and other keys do."""
PIECE = 128
"""Query rows of a causal block that run at once where a mask is needed, so that no mask has more rows."""


@dataclass(frozen=True, slots=True)
class Block:
    """Query rows that attend to key rows.

    ``causal`` is aligned bottom-right: the last query sees every key, the one before it all but the last. In
    a causal block with a ``reach``, a query sees the first ``prefix`` keys, and of the others at most
    ``reach`` before its own. Raises UsageError for a causal block with fewer keys than queries.
    """

    queries: Index
    keys: Index
    causal: bool
    prefix: int = 0
    reach: int | None = None

    def __post_init__(self) -> None:
        if self.causal and 0 < len(self.keys) < len(self.queries):
            raise UsageError(
                f"a causal block has {len(self.queries)} queries and {len(self.keys)} keys, so its first "
                "queries would see nothing; give every query at least one key, or leave it out of the block"
            )


@dataclass(frozen=True, slots=True)
class Shape:
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

    @property
    def square(self) -> bool:
        """Plain causal attention of rows to themselves, which needs no mask."""
        return self.causal and self.lq == self.lk and self.reach is None

    def allowed(self, rows: int, device: torch.device) -> Tensor:
        """Which keys the last ``rows`` queries see: boolean [rows, lk]."""
        allowed = torch.ones(rows, self.lk, dtype=torch.bool, device=device)
        if not self.causal:
            return allowed
        allowed = allowed.tril(self.lk - rows)
        if self.reach is not None:
            near = torch.ones_like(allowed).triu(self.lk - rows - self.reach)
            near[:, : self.prefix] = True
            allowed &= near
        return allowed


@dataclass(frozen=True)
class Group:
    """Blocks of one shape, n of them. An index that is a run of consecutive rows is a slice."""

    n: int
    shape: Shape
    queries: slice | Tensor
    keys: slice | Tensor
    device: torch.device
    _masks: dict[torch.dtype, Tensor] = field(default_factory=dict)

    @property
    def masked(self) -> bool:
        return self.shape.causal and not self.shape.square

    @property
    def mask_rows(self) -> int:
        """Query rows that run at once. Every piece of a plain causal block has the end of one mask."""
        return min(self.shape.lq, PIECE) if self.shape.reach is None else self.shape.lq

    def mask(self, dtype: torch.dtype) -> Tensor:
        """What is added to the scores of the last ``mask_rows`` queries, [mask_rows, lk]: 0 or -inf."""
        found = self._masks.get(dtype)
        if found is None:
            allowed = self.shape.allowed(self.mask_rows, self.device)
            found = torch.zeros(allowed.shape, dtype=dtype, device=self.device)
            self._masks[dtype] = found.masked_fill_(~allowed, float("-inf"))
        return self._masks[dtype]


@dataclass(frozen=True)
class Packed:
    """Blocks of any lengths that run in one variable-length call, one after the other.

    ``cu_q`` and ``cu_k`` (int32 [n + 1]) say where each block's rows begin.
    """

    causal: bool
    queries: slice | Tensor
    keys: slice | Tensor
    cu_q: Tensor
    cu_k: Tensor
    max_q: int
    max_k: int
    pairs: int
    """Queries times keys, summed over the blocks: what the kernel's operations go by."""


@dataclass(frozen=True)
class Plan:
    """One way to run a pattern: variable-length calls, then groups of equal shapes, then the output's order.

    ``scatter`` says which row each computed row is, in the order of the calls; none when they are all rows
    in order.
    """

    packed: tuple[Packed, ...]
    groups: tuple[Group, ...]
    scatter: Tensor | None


class Pattern:
    """Which rows attend to which. Every query row is in at most one block; a row in none gets exactly 0."""

    def __init__(self, blocks: Sequence[Block], rows: int, keys: int, device: torch.device) -> None:
        self.blocks = [block for block in blocks if len(block.queries) and len(block.keys)]
        self.rows, self.keys, self.device = rows, keys, device

    @cached_property
    def grouped(self) -> Plan:
        """Blocks of equal shapes together."""
        return self._plan([], self.blocks)

    @cached_property
    def packed(self) -> Plan:
        """One variable-length call for all causal blocks and one for all others, or several where blocks
        share keys. Blocks that need a mask beyond causality (a bounded reach) run in groups."""
        plain = [block for block in self.blocks if Shape.of(block).reach is None]
        bounded = [block for block in self.blocks if Shape.of(block).reach is not None]
        sides = ([b for b in plain if b.causal == causal] for causal in (True, False))
        return self._plan([call for side in sides for call in self._calls(side)], bounded)

    def _calls(self, blocks: Sequence[Block]) -> Iterator[Sequence[Block]]:
        """Blocks that run in one call, so that no call copies many times the keys there are.

        Where every row sees all images before it, one call would copy a number of keys that is quadratic in
        the images. Blocks whose keys are runs that overlap that much have a call each, which reads them where
        they are. Others (questions that continue a prefix) share calls of up to ``COPIES`` times the keys.
        """
        runs: list[Block] = []
        others: list[Block] = []
        for block in blocks:
            is_run = int(block.keys[-1]) - int(block.keys[0]) + 1 == len(block.keys)
            (runs if is_run else others).append(block)
        together = runs
        if sum(len(block.keys) for block in runs) > OVERLAP * self.keys:
            yield from ([block] for block in runs)
            together = []
        count = sum(len(block.keys) for block in together)
        for block in others:
            if together and count + len(block.keys) > COPIES * self.keys:
                yield together
                together, count = [], 0
            together.append(block)
            count += len(block.keys)
        if together:
            yield together

    def dense_mask(self) -> Tensor:
        """The same pattern as a dense boolean mask [T, S], for tests and the reference route."""
        mask = torch.zeros(self.rows, self.keys, dtype=torch.bool, device=self.device)
        for block in self.blocks:
            queries, keys = (to_device(index, self.device) for index in (block.queries, block.keys))
            mask[queries[:, None], keys[None, :]] = Shape.of(block).allowed(len(queries), self.device)
        return mask

    def _plan(self, calls: Sequence[Sequence[Block]], others: Sequence[Block]) -> Plan:
        by_shape: dict[Shape, list[Block]] = {}
        for block in others:
            by_shape.setdefault(Shape.of(block), []).append(block)
        packed = tuple(self._pack(blocks) for blocks in calls)
        groups = tuple(
            Group(
                len(blocks),
                shape,
                self._joined([block.queries for block in blocks]),
                self._joined([block.keys for block in blocks]),
                self.device,
            )
            for shape, blocks in by_shape.items()
        )
        order = [block.queries for blocks in (*calls, *by_shape.values()) for block in blocks]
        return Plan(packed, groups, self._scatter(order))

    def _pack(self, blocks: Sequence[Block]) -> Packed:
        lq = np.array([len(block.queries) for block in blocks])
        lk = np.array([len(block.keys) for block in blocks])
        return Packed(
            blocks[0].causal,
            self._joined([block.queries for block in blocks]),
            self._joined([block.keys for block in blocks]),
            to_device(_cumulative(lq), self.device),
            to_device(_cumulative(lk), self.device),
            int(lq.max()),
            int(lk.max()),
            int(lq @ lk),
        )

    def _scatter(self, order: Sequence[Index]) -> Tensor | None:
        if not order:
            return None
        rows = self._joined(order)
        if isinstance(rows, Tensor):
            return rows
        if rows.stop - rows.start == self.rows:
            return None
        return to_device(np.arange(rows.start, rows.stop), self.device)

    def _joined(self, parts: Sequence[Index]) -> slice | Tensor:
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        first, last = int(rows[0]), int(rows[-1])
        ends_of_a_run = last - first + 1 == len(rows)
        if ends_of_a_run and (first == last or bool((rows[1:] - rows[:-1] == 1).all())):
            return slice(first, last + 1)
        return to_device(rows, self.device)


def to_device(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """The array on a device. A GPU's copy is from pinned memory: from pageable memory the host would wait."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    if asked_build() is not None and device.type == "cpu":
        return tensor.clone()  # In torch's own memory, as on any other device, where it is counted.
    return tensor.to(device)


def _cumulative(lengths: Index) -> npt.NDArray[np.int32]:
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
