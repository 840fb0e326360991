"""What a session of a published model keeps: a cache of ``transformers``, and bytes by kind."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import DynamicCache, PretrainedConfig

Flags = npt.NDArray[np.bool_]


class KvState:
    """Keys and values of every layer, which rows are images', and where the stream stands.

    ``image_layers`` are those whose cache holds images only (cross-attention); ``features`` [N, D] are image
    features that the layers project anew at every step.
    """

    def __init__(self, config: PretrainedConfig, image_layers: Iterable[int] = ()) -> None:
        self.cache: Any = DynamicCache(config=config)
        self.image_layers = frozenset(image_layers)
        self.is_image: Flags = np.zeros(0, dtype=np.bool_)
        self.position = 0
        """Position of the next row, where it is not the number of rows (M-RoPE)."""
        self.seen: tuple[int, ...] = ()
        """Numbers of the images that the next row sees (cross-attention)."""
        self.shown: tuple[int, ...] = ()
        """Tokens of each image that may be seen, its padding left out (cross-attention)."""
        self.features: Tensor | None = None

    def __len__(self) -> int:
        return len(self.is_image)

    def fork(self) -> KvState:
        """An independent continuation; storage is shared, since every update makes new tensors."""
        other = copy.copy(self)
        other.cache = copy.copy(self.cache)
        other.cache.layers = [copy.copy(layer) for layer in self.cache.layers]
        return other

    def grown(self, is_image: Flags) -> None:
        """Note the rows that a forward pass has added. Of windowed layers only the kept rows stay alive."""
        self.is_image = np.concatenate((self.is_image, is_image))
        for layer in self._filled():
            for name in ("keys", "values"):
                tensor = getattr(layer, name)
                if tensor.untyped_storage().nbytes() > tensor.numel() * tensor.element_size():
                    setattr(layer, name, tensor.clone(memory_format=torch.contiguous_format))

    def tensors(self) -> dict[str, list[Tensor]]:
        """The tensors kept, by where they are."""
        out = {"cache": [t for layer in self._filled() for t in (layer.keys, layer.values)]}
        if self.features is not None:
            out["features"] = [self.features]
        return out

    def bytes_by_kind(self) -> dict[str, int]:
        """Bytes kept, by what they represent: ``text_kv``, ``image_kv`` and, where there are, features."""
        out = {"text_kv": 0, "image_kv": 0}
        for index, layer in enumerate(self.cache.layers):
            if not _is_filled(layer):
                continue
            size = sum(t.numel() * t.element_size() for t in (layer.keys, layer.values))
            if index in self.image_layers:
                out["image_kv"] += size
                continue
            rows = layer.keys.shape[-2]
            images = int(self.is_image[len(self.is_image) - rows :].sum())
            out["image_kv"] += size // rows * images
            out["text_kv"] += size // rows * (rows - images)
        if self.features is not None:
            out["image_features"] = self.features.numel() * self.features.element_size()
        return out

    def _filled(self) -> list[Any]:
        return [layer for layer in self.cache.layers if _is_filled(layer)]


def _is_filled(layer: Any) -> bool:
    return bool(layer.is_initialized) and layer.keys.numel() > 0
