"""The shipped patch encoder: a small convolutional network, one token per 16 x 16 pixels.

Shapes: F frames, H and W pixels (multiples of 16), N = H W / 256 tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import torch
from torch import Tensor, nn

from harness.encoders.base import Encoder, EncoderConfig, digest_of
from harness.modelfiles import fill, read_tensors
from harness.registry import register_encoder

PATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchEncoderConfig(EncoderConfig):
    """``content`` channels of what is seen and ``position`` channels of where, per token."""

    stem: int = 32
    middle: int = 64
    content: int = 96
    position: int = 32


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv.weight)

    def forward(self, x_fchw: Tensor) -> Tensor:
        return x_fchw + cast("Tensor", self.conv(torch.relu(x_fchw)))


@register_encoder("patch")
class PatchEncoder(Encoder):
    """Strided convolutions to one token per patch, with each token's place in the image beside its content.

    Every token sees about 76 x 76 pixels around it; places are relative (0..1), so any size works.
    """

    Config = PatchEncoderConfig

    def __init__(self, config: PatchEncoderConfig) -> None:
        super().__init__(config)
        self.config = config
        self.net = nn.Sequential(
            nn.Conv2d(3, config.stem, 4, stride=4),
            nn.ReLU(),
            nn.Conv2d(config.stem, config.middle, 3, stride=2, padding=1),
            _Residual(config.middle),
            nn.ReLU(),
            nn.Conv2d(config.middle, config.content, 3, stride=2, padding=1),
            _Residual(config.content),
            nn.ReLU(),
            nn.Conv2d(config.content, config.content, 1),
        )
        self.norm = nn.LayerNorm(config.content)

    @property
    def width(self) -> int:
        return self.config.content + self.config.position

    @property
    def multiple(self) -> int:
        return PATCH

    def tokens(self, height: int, width: int) -> int:
        self.check_size(height, width)
        return (height // PATCH) * (width // PATCH)

    def forward(self, pixels_fhwc: Tensor) -> Tensor:
        """uint8 [F, H, W, 3] → [F, N, D]. Raises a UsageError for a size that patches do not divide."""
        height, width = pixels_fhwc.shape[1:3]
        self.check_size(height, width)
        dtype = self.norm.weight.dtype
        x_fchw = (pixels_fhwc.permute(0, 3, 1, 2).to(dtype) - 127.5) / 64.0
        tokens = self.norm(self.net(x_fchw).flatten(2).transpose(1, 2))
        place = places(height // PATCH, width // PATCH, self.config.position).to(tokens)
        return torch.cat((tokens, place.expand(len(tokens), -1, -1)), dim=-1)

    @property
    def digest(self) -> str:
        """SHA-256 (16 hex digits) of the weights alone, which is the name that shipped models know it by."""
        return digest_of(self.state_dict())

    @classmethod
    def from_checkpoint(cls, folder: Path) -> Self:
        """The weights that ``python -m harness.train.encoder`` wrote, at the default settings."""
        encoder = cls(PatchEncoderConfig())
        fill(encoder, read_tensors(folder), str(folder))
        return encoder


def places(rows: int, columns: int, channels: int) -> Tensor:
    """Sines and cosines of each token's centre in relative coordinates: [rows * columns, channels]."""
    quarter = channels // 4
    frequencies = torch.pi * 2.0 ** (torch.arange(quarter) / 2.0 - 1.0)
    y, x = torch.meshgrid(
        (torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns, indexing="ij"
    )
    angles = torch.stack((y, x), dim=-1).reshape(-1, 2, 1) * frequencies
    return torch.cat((angles.sin(), angles.cos()), dim=-1).reshape(rows * columns, 4 * quarter)
