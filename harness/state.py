"""What a session keeps between frames: named buffers of keys and values whose bytes can be counted.

Shapes: n new rows, K key/value heads, D head width.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.attention import Index, to_device
from harness.layout import Cursor, Kind


class KeyValues:
    """Keys and values of every layer for one growing set of rows, with the rows' attributes.

    Tensors are never changed in place, so a copy of the lists is a fork that shares storage.
    """

    COLUMNS = ("kind", "window", "frame")

    def __init__(self, layers: int) -> None:
        self.keys: list[Tensor | None] = [None] * layers
        self.values: list[Tensor | None] = [None] * layers
        self.columns: dict[str, Index] = {name: np.zeros(0, dtype=np.int64) for name in self.COLUMNS}
        self._described = False
        self._remaining: npt.NDArray[np.bool_] | None = None
        self._index: Tensor | None = None

    def __len__(self) -> int:
        return len(self.columns["kind"])

    def describe(self, kind: Index, window: Index, frame: Index) -> None:
        """Announce new rows, once per step, before the layers extend."""
        for name, new in zip(self.COLUMNS, (kind, window, frame), strict=True):
            self.columns[name] = np.concatenate((self.columns[name], new))
        self._described = True

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append [n, K, D] to a layer and return all its keys and values.

        Kept of them is what :meth:`keep` was told of before, so that no two layers hold dropped rows at once.
        """
        self._described = False
        all_k, all_v = _appended(self.keys[layer], k), _appended(self.values[layer], v)
        self.keys[layer], self.values[layer] = self._left_of(all_k), self._left_of(all_v)
        return all_k, all_v

    def keep(self, mask: npt.NDArray[np.bool_]) -> None:
        """Drop every row outside a boolean mask; the dropped rows' bytes are freed.

        Between :meth:`describe` and the layers (in ``begin``), each layer drops what it need not keep as soon
        as it has run; after the layers (in ``finish``), all of them drop it then.
        """
        if mask.all():
            return
        self._remaining = mask
        if not self._described:
            for store in (self.keys, self.values):
                for layer, tensor in enumerate(store):
                    store[layer] = None if tensor is None else self._left_of(tensor)
            self.settle()

    def settle(self) -> None:
        """Forget the attributes of rows that the layers have dropped. Called once after the layers."""
        if self._remaining is not None:
            self.columns = {name: column[self._remaining] for name, column in self.columns.items()}
        self._described, self._remaining, self._index = False, None, None

    def _left_of(self, tensor: Tensor) -> Tensor:
        if self._remaining is None:
            return tensor
        if self._index is None:
            self._index = to_device(np.flatnonzero(self._remaining), tensor.device)
        return tensor.index_select(0, self._index)

    def fork(self) -> KeyValues:
        copy = KeyValues(len(self.keys))
        copy.keys, copy.values, copy.columns = list(self.keys), list(self.values), dict(self.columns)
        return copy

    def tensors(self) -> list[Tensor]:
        return [tensor for tensor in (*self.keys, *self.values) if tensor is not None and tensor.numel()]

    def bytes_of(self, kind: Kind) -> int:
        """Bytes of the rows of one kind over all layers."""
        if not len(self):
            return 0
        per_row = sum(tensor.nbytes for tensor in self.tensors()) / len(self)
        return round(per_row * int((self.columns["kind"] == kind).sum()))


def _appended(old_skd: Tensor | None, new_nkd: Tensor) -> Tensor:
    """[S + n, K, D], each head's rows next to each other in memory, where decoding reads them fastest."""
    if old_skd is None or not old_skd.shape[0]:
        return new_nkd
    return torch.cat((old_skd.transpose(0, 1), new_nkd.transpose(0, 1)), dim=1).transpose(0, 1)


@dataclass
class FusionState:
    """What a session keeps between frames: named buffers whose bytes can be counted.

    ``text`` is the self-attention cache of everything in the token stream. ``extra`` holds a method's own
    buffers, for instance the current window's image keys and values.
    """

    text: KeyValues
    extra: dict[str, KeyValues] = field(default_factory=dict)
    cursor: Cursor = field(default_factory=Cursor)

    def buffers(self) -> dict[str, KeyValues]:
        return {"stream_kv": self.text, **self.extra}

    def tensors(self) -> dict[str, list[Tensor]]:
        """The real tensors of every buffer."""
        return {name: buffer.tensors() for name, buffer in self.buffers().items()}

    def bytes_by_kind(self) -> dict[str, int]:
        """Bytes kept, by what they represent: ``text_kv``, ``image_kv``, ``gist_kv``."""
        return {
            f"{kind.name.lower()}_kv": sum(buffer.bytes_of(kind) for buffer in self.buffers().values())
            for kind in Kind
        }

    def fork(self) -> Self:
        """An independent continuation; storage is shared until either side drops it."""
        return dataclasses.replace(
            self,
            text=self.text.fork(),
            extra={name: buffer.fork() for name, buffer in self.extra.items()},
        )
