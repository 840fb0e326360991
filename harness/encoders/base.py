"""The contract of a vision encoder: uint8 frames of one size → tokens, in a frozen network with a digest.

Shapes: F frames, H and W pixels, N tokens per frame, D width.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from harness.errors import UsageError
from harness.settings import config_json


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Base of an encoder's settings: enough to build it without its weights; every value fits JSON."""


class Encoder(nn.Module, ABC):
    """Base of a vision encoder: one config, one subclass, one ``@register_encoder``.

    A frame's tokens depend on that frame only, so frames can be encoded in any batches. The constructor makes
    random weights from torch's generator; it must work under ``torch.device("meta")``.
    """

    name: ClassVar[str]
    Config: ClassVar[type[EncoderConfig]]

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.settings = config

    @property
    @abstractmethod
    def width(self) -> int:
        """Channels D of a token."""

    @property
    @abstractmethod
    def multiple(self) -> int:
        """Both sides of a frame must be positive multiples of this many pixels."""

    @abstractmethod
    def tokens(self, height: int, width: int) -> int:
        """Tokens N of a frame of that many pixels; raises UsageError for a size that it refuses."""

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the tokens of a frame of that many pixels."""
        return height // self.multiple, width // self.multiple

    @abstractmethod
    def forward(self, pixels_fhwc: Tensor) -> Tensor:
        """uint8 [F, H, W, 3] → [F, N, D]. Raises UsageError for a size that it refuses."""

    @classmethod
    @abstractmethod
    def from_checkpoint(cls, folder: Path) -> Self:
        """Settings and weights of a published checkpoint folder; raises UsageError that names the file."""

    def check_size(self, height: int, width: int) -> None:
        """Raise a UsageError with the rule and the nearest sizes for a frame size that does not work."""
        step = self.multiple
        if height < step or width < step or height % step or width % step:
            near = sorted(set(product(_around(height, step), _around(width, step))))
            sizes = " or ".join(f"{h}x{w}" for h, w in near)
            raise UsageError(
                f"resolution {height}x{width} (height x width) does not fit the {self.name} encoder: both "
                f"sides must be positive multiples of {step} pixels; the nearest that fit: {sizes}"
            )

    @property
    def digest(self) -> str:
        """SHA-256 (16 hex digits) of type, settings and weights."""
        identity = json.dumps([self.name, config_json(self.settings)], sort_keys=True)
        return digest_of(self.state_dict(), identity)


def digest_of(tensors: Mapping[str, Tensor], identity: str = "") -> str:
    """SHA-256 (16 hex digits) of a text and of named tensors, as float32."""
    sha = hashlib.sha256(identity.encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(name.encode())
        sha.update(tensor.detach().cpu().to(torch.float32).contiguous().numpy().tobytes())
    return sha.hexdigest()[:16]


def _around(side: int, step: int) -> tuple[int, ...]:
    below = max(step, side // step * step)
    return (below,) if below >= side else (below, below + step)
