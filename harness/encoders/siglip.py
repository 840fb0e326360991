"""SigLIP's vision tower (arXiv 2303.15343) as ``transformers`` computes it: the normalised last layer, one
token per patch.

Pixels are scaled to [-1, 1] (mean and deviation 0.5). Positions are a learned grid for images of
``image_size``; for any other size it is interpolated bicubically, as ``transformers`` does. The pooling head
is left out.

Shapes: F frames, H and W pixels (multiples of the patch), N = H W / patch^2 tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, cast

from torch import Tensor

from harness.encoders.base import Encoder, EncoderConfig
from harness.errors import UsageError
from harness.modelfiles import CONFIG, fill, read_json, read_tensors
from harness.registry import register_encoder

_LEFT_OUT = ("head.", "embeddings.position_ids")
"""The pooling head, and the numbers of positions that old checkpoints hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiglipConfig(EncoderConfig):
    """The fields of ``SiglipVisionConfig``; the defaults are those of SigLIP base, patch 16, 224 pixels."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    image_size: int = 224
    patch_size: int = 16
    hidden_act: str = "gelu_pytorch_tanh"
    layer_norm_eps: float = 1e-6


@register_encoder("siglip")
class SiglipEncoder(Encoder):
    """``SiglipVisionModel`` without its pooling head."""

    Config = SiglipConfig

    def __init__(self, config: SiglipConfig) -> None:
        from transformers import SiglipVisionConfig, SiglipVisionModel

        super().__init__(config)
        self.config = config
        values: dict[str, Any] = {field.name: getattr(config, field.name) for field in fields(config)}
        self.tower = SiglipVisionModel(SiglipVisionConfig(**values, vision_use_head=False))

    @property
    def width(self) -> int:
        return self.config.hidden_size

    @property
    def multiple(self) -> int:
        return self.config.patch_size

    def tokens(self, height: int, width: int) -> int:
        self.check_size(height, width)
        return (height // self.multiple) * (width // self.multiple)

    def forward(self, pixels_fhwc: Tensor) -> Tensor:
        """uint8 [F, H, W, 3] → [F, N, D]. Raises UsageError for a size that it refuses."""
        height, width = pixels_fhwc.shape[1:3]
        self.check_size(height, width)
        weight = next(self.parameters())
        x_fchw = pixels_fhwc.permute(0, 3, 1, 2).to(weight.dtype) / 127.5 - 1.0
        native = height == width == self.config.image_size
        output = self.tower(pixel_values=x_fchw, interpolate_pos_encoding=not native)
        return cast("Tensor", output.last_hidden_state)

    @classmethod
    def from_checkpoint(cls, folder: Path) -> Self:
        """The vision tower of a SigLIP folder (``model_type`` siglip or siglip_vision_model)."""
        document = read_json(folder / CONFIG)
        encoder = cls(_vision_config(document, folder))
        tensors = read_tensors(folder, ("vision_model.",))
        tower = {name: tensor for name, tensor in tensors.items() if not name.startswith(_LEFT_OUT)}
        fill(encoder.tower, tower, str(folder))
        return encoder


def _vision_config(document: dict[str, Any], folder: Path) -> SiglipConfig:
    from transformers import SiglipVisionConfig

    kind = document.get("model_type")
    if kind not in ("siglip", "siglip_vision_model"):
        raise UsageError(
            f"{folder / CONFIG} is of model_type {kind!r}, not siglip; give the folder of a SigLIP checkpoint"
        )
    given = document.get("vision_config", {}) if kind == "siglip" else document
    full = SiglipVisionConfig(**{k: v for k, v in given.items() if k != "model_type"})
    for field, wanted in (("num_channels", 3), ("attention_dropout", 0.0)):
        if getattr(full, field) != wanted:
            raise UsageError(
                f"{folder / CONFIG} has {field}={getattr(full, field)}; only {wanted} is supported"
            )
    return SiglipConfig(**{field.name: getattr(full, field.name) for field in fields(SiglipConfig)})
