"""Qwen2.5-VL's vision tower (arXiv 2502.13923, section 2.1) as ``transformers`` computes it, one image per
frame.

Patches of 14 pixels, attention within windows in most blocks, and a merger that makes one token of 2 x 2
patches. The tower convolves two frames at a time; a single one is repeated, as for an image. Pixels are
normalised with CLIP's mean and deviation. A frame is never resized here: both sides must be multiples of 28.

Shapes: F frames, H and W pixels, P = H W / 14^2 patches of a frame, N = P / 4 tokens, D width.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor

from harness.attention import Block, Pattern, attend, to_device
from harness.backbones.precision import buffers_in_full_precision
from harness.encoders.base import Encoder, EncoderConfig
from harness.errors import UsageError
from harness.modelfiles import CONFIG, fill, read_json, read_tensors
from harness.registry import register_encoder

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's pixels in 0..1, red, green, blue (arXiv 2103.00020's released code)."""
_PREFIXES = ("model.visual.", "visual.")


@dataclass(frozen=True, slots=True, kw_only=True)
class QwenVisionConfig(EncoderConfig):
    """The fields of ``Qwen2_5_VLVisionConfig``; the defaults are those of Qwen2.5-VL-3B."""

    depth: int = 32
    hidden_size: int = 1280
    intermediate_size: int = 3420
    num_heads: int = 16
    out_hidden_size: int = 2048
    patch_size: int = 14
    spatial_merge_size: int = 2
    temporal_patch_size: int = 2
    window_size: int = 112
    fullatt_block_indexes: tuple[int, ...] = (7, 15, 23, 31)
    hidden_act: str = "silu"


@register_encoder("qwen2.5-vl")
class QwenVisionEncoder(Encoder):
    """``Qwen2_5_VisionTransformerPretrainedModel``."""

    Config = QwenVisionConfig

    def __init__(self, config: QwenVisionConfig) -> None:
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
        from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
        from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
            Qwen2_5_VisionTransformerPretrainedModel,
        )

        super().__init__(config)
        self.config = config
        values: dict[str, Any] = {field.name: getattr(config, field.name) for field in fields(config)}
        values["fullatt_block_indexes"] = list(config.fullatt_block_indexes)
        self.tower = Qwen2_5_VisionTransformerPretrainedModel(Qwen2_5_VLVisionConfig(**values))
        # The tower's own path for kernels without segments calls attention once for every window.
        ALL_ATTENTION_FUNCTIONS.register(_ATTENTION, _segmented)
        self.tower.config._attn_implementation = _ATTENTION

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        with buffers_in_full_precision(self.tower):
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # not annotated there
        return self

    @property
    def width(self) -> int:
        return self.config.out_hidden_size

    @property
    def multiple(self) -> int:
        return self.config.patch_size * self.config.spatial_merge_size

    def tokens(self, height: int, width: int) -> int:
        self.check_size(height, width)
        return (height // self.multiple) * (width // self.multiple)

    def forward(self, pixels_fhwc: Tensor) -> Tensor:
        """uint8 [F, H, W, 3] → [F, N, D]. Raises UsageError for a size that it refuses."""
        frames, height, width = pixels_fhwc.shape[:3]
        self.check_size(height, width)
        weight, config = next(self.parameters()), self.config
        patches = pack(normalised(pixels_fhwc, weight.dtype), config)
        sides = [1, height // config.patch_size, width // config.patch_size]
        grid_f3 = torch.tensor([sides], device="cpu").expand(frames, 3)
        output = self.tower(patches, grid_thw=grid_f3, **self._layout_of(grid_f3, weight.device))
        return cast("Tensor", output.pooler_output).view(frames, -1, self.width)

    def _layout_of(self, grid_f3: Tensor, device: torch.device) -> dict[str, object]:
        """What the tower would derive from its grid on the device, and the patterns of its attention."""
        from transformers.vision_utils import (
            get_vision_cu_seqlens,
            get_vision_position_ids,
            get_vision_window_index,
        )

        config = self.config
        with torch.device("cpu"):
            position_ids = get_vision_position_ids(grid_f3, config.spatial_merge_size)
            window_index, bounds = get_vision_window_index(
                grid_f3, config.spatial_merge_size, config.window_size, config.patch_size
            )
            frames = get_vision_cu_seqlens(grid_f3)
        windows, whole = _segments(bounds, device), _segments(frames, device)
        return {
            "position_ids": to_device(position_ids.numpy(), device),
            "window_index": to_device(window_index.numpy(), device),
            "cu_window_seqlens": bounds,
            "cu_seqlens": frames,
            "max_window_seqlen": _longest(bounds),
            "max_seqlen": _longest(frames),
            # Where both are of one length, every frame is one window.
            "segments": {_longest(bounds): windows, _longest(frames): whole},
        }

    @classmethod
    def from_checkpoint(cls, folder: Path) -> Self:
        """The vision tower of a Qwen2.5-VL folder: ``visual.*`` or ``model.visual.*``."""
        document = read_json(folder / CONFIG)
        encoder = cls(_vision_config(document, folder))
        fill(encoder.tower, read_tensors(folder, _PREFIXES), str(folder))
        return encoder


_ATTENTION = "vlm_fusion_flash_segments"
"""The tower hands segments over to attention whose name holds "flash"."""


def _segmented(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    max_length_q: int,
    segments: dict[int, Pattern],
    **_unused: object,
) -> tuple[Tensor, None]:
    """The tower's attention [1, H, T, D] → [1, T, H, D], through the harness's own."""
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    return attend(q, k, v, segments[max_length_q], scaling)[None], None


def _segments(bounds: Tensor, device: torch.device) -> Pattern:
    """Every segment attends to itself."""
    cuts = bounds.tolist()
    runs = [np.arange(a, b) for a, b in itertools.pairwise(cuts)]
    return Pattern([Block(run, run, causal=False) for run in runs], cuts[-1], cuts[-1], device)


def _longest(bounds: Tensor) -> int:
    return int((bounds[1:] - bounds[:-1]).max())


def normalised(pixels_fhwc: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 [F, H, W, 3] → CLIP's normalised channels [F, H, W, 3]."""
    mean, deviation = (
        to_device(np.array(values, dtype=np.float32), pixels_fhwc.device) for values in (MEAN, DEVIATION)
    )
    return ((pixels_fhwc.float() / 255.0 - mean) / deviation).to(dtype)


def pack(x_fhwc: Tensor, config: QwenVisionConfig) -> Tensor:
    """Frames [F, H, W, C] → patches [F P, C T p p], T times the same frame.

    Patches that the merger joins stand together: rows of merged tokens, columns of merged tokens, then the
    rows and columns within each.
    """
    patch, merge = config.patch_size, config.spatial_merge_size
    frames, height, width, channels = x_fhwc.shape
    rows, columns = height // (patch * merge), width // (patch * merge)
    x = x_fhwc.reshape(frames, rows, merge, patch, columns, merge, patch, channels)
    x = x.permute(0, 1, 4, 2, 5, 7, 3, 6)[:, :, :, :, :, :, None]
    x = x.expand(*x.shape[:6], config.temporal_patch_size, patch, patch)
    return x.reshape(frames * rows * columns * merge * merge, -1)


def _vision_config(document: dict[str, Any], folder: Path) -> QwenVisionConfig:
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig

    kind = document.get("model_type")
    if kind != "qwen2_5_vl" or not isinstance(document.get("vision_config"), dict):
        raise UsageError(
            f"{folder / CONFIG} is of model_type {kind!r}, not qwen2_5_vl with a vision_config; "
            "give the folder of a Qwen2.5-VL checkpoint"
        )
    given = {k: v for k, v in document["vision_config"].items() if k != "model_type"}
    full = Qwen2_5_VLVisionConfig(**given)
    values = {field.name: getattr(full, field.name) for field in fields(QwenVisionConfig)}
    values["fullatt_block_indexes"] = tuple(full.fullatt_block_indexes)
    return QwenVisionConfig(**values)
