"""The Perceiver resampler: learned latents that attend to a frame's tokens and to themselves.

Source: Flamingo, arXiv 2204.14198, section 2.1: in every layer ``x = x + attention(q=x, kv=[y, x])``, then
``x = x + ffw(x)``. The norms before attention (latents and tokens apart), before the FFN and at the end are
those of Idefics (arXiv 2306.16527), which Idefics2 (arXiv 2405.02246) keeps, as RMS norms.

Shapes: M image tokens of F frames, L latents of each, d width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from harness.attention import Index, Pattern
from harness.declared import Work
from harness.parts.attention import Activation, FeedForward, Heads, Norm, OwnAttention
from harness.parts.resampling import latent_pattern, repeated


@dataclass(frozen=True, slots=True, kw_only=True)
class PerceiverShape:
    """``inner`` is the FFN's width; ``qk_norm`` makes norms of each head's queries and keys."""

    latents: int
    depth: int
    heads: Heads
    inner: int
    activation: Activation
    norm: Norm
    qk_norm: Norm | None = None


class PerceiverLayer(nn.Module):
    """Attention of latents to tokens and latents, then the FFN, each with its residual."""

    def __init__(self, width: int, shape: PerceiverShape) -> None:
        super().__init__()
        self.latent_norm, self.token_norm = shape.norm(width), shape.norm(width)
        self.attention = OwnAttention(width, shape.heads, qk_norm=shape.qk_norm)
        self.ffn_norm = shape.norm(width)
        self.ffn = FeedForward(width, shape.inner, shape.activation)

    def forward(self, x_ld: Tensor, y_md: Tensor, pattern: Pattern) -> Tensor:
        """Latents [F L, d] and tokens [M, d] → latents [F L, d]."""
        z_ld = cast("Tensor", self.latent_norm(x_ld))
        both = torch.cat((cast("Tensor", self.token_norm(y_md)), z_ld))
        x_ld = x_ld + cast("Tensor", self.attention(z_ld, both, pattern))
        return x_ld + cast("Tensor", self.ffn(self.ffn_norm(x_ld)))


class Perceiver(nn.Module):
    """L latents per frame from its tokens; the latents start with a standard deviation of ``spread``."""

    def __init__(self, width: int, shape: PerceiverShape, spread: float) -> None:
        super().__init__()
        self.shape = shape
        self.latents = nn.Parameter(spread * torch.randn(shape.latents, width))
        self.layers = nn.ModuleList(PerceiverLayer(width, shape) for _ in range(shape.depth))
        self.norm = shape.norm(width)

    def forward(self, y_md: Tensor, lengths: Index) -> Tensor:
        """Tokens [M, d] of frames of the given lengths → latents [F L, d]."""
        pattern = latent_pattern(lengths, len(self.latents), y_md.device, tokens=True, own=True)
        x_ld = repeated(self.latents, len(lengths))
        for layer in self.layers:
            x_ld = layer(x_ld, y_md, pattern)
        return cast("Tensor", self.norm(x_ld))

    def work(self, frames: int, tokens: int) -> Work:
        """What F frames of N tokens cost: L queries per frame against N + L keys, then the FFN on L rows."""
        shape, width = self.shape, self.latents.shape[1]
        latents, heads = frames * shape.latents, shape.heads
        to_qo, to_kv = (2 * width * n * heads.width for n in (heads.count, heads.kv))
        ffn = (3 if shape.activation == "swiglu" else 2) * width * shape.inner
        pairs = latents * (tokens + shape.latents)
        return Work(
            linear=(
                (latents, shape.depth * (to_qo + ffn)),
                (frames * tokens + latents, shape.depth * to_kv),
            ),
            attention=((shape.depth * pairs, heads.count * heads.width),),
        )
