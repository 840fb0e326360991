"""The Q-Former: learned queries under BERT's blocks, with attention to a frame's tokens in every other block.

Source: BLIP-2, arXiv 2301.12597, section 3.1; norms after each residual, biases and GELU as in BERT. Without
its text branch, which serves pretraining only. A linear layer at the end projects to the language model
(section 3.3).

Shapes: M image tokens of F frames, L latents (learned queries) of each, d width.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from harness.attention import Index, Pattern
from harness.declared import Work
from harness.parts.attention import FeedForward, Heads, OwnAttention
from harness.parts.resampling import latent_pattern, repeated

CROSS_EVERY = 2
EPS = 1e-12


class QFormerBlock(nn.Module):
    """Self-attention among a frame's latents, with ``cross`` attention to its tokens, then the FFN."""

    def __init__(self, width: int, heads: Heads, inner: int, cross: bool) -> None:
        super().__init__()
        self.attention = OwnAttention(width, heads, bias=True)
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.cross = OwnAttention(width, heads, bias=True) if cross else None
        self.cross_norm = nn.LayerNorm(width, eps=EPS) if cross else None
        self.ffn = FeedForward(width, inner, "gelu", bias=True)
        self.ffn_norm = nn.LayerNorm(width, eps=EPS)

    def forward(self, x_ld: Tensor, y_md: Tensor, own: Pattern, tokens: Pattern) -> Tensor:
        """Latents [F L, d] and tokens [M, d] → latents [F L, d]."""
        x_ld = cast("Tensor", self.norm(x_ld + self.attention(x_ld, x_ld, own)))
        if self.cross is not None and self.cross_norm is not None:
            x_ld = self.cross_norm(x_ld + self.cross(x_ld, y_md, tokens))
        return cast("Tensor", self.ffn_norm(x_ld + self.ffn(x_ld)))


class QFormer(nn.Module):
    """L latents per frame from its tokens; the latents start with a standard deviation of ``spread``."""

    def __init__(self, width: int, latents: int, depth: int, heads: Heads, inner: int, spread: float) -> None:
        super().__init__()
        self.heads, self.inner = heads, inner
        self.latents = nn.Parameter(spread * torch.randn(latents, width))
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.layers = nn.ModuleList(
            QFormerBlock(width, heads, inner, cross=i % CROSS_EVERY == 0) for i in range(depth)
        )
        self.project = nn.Linear(width, width)

    def forward(self, y_md: Tensor, lengths: Index) -> Tensor:
        """Tokens [M, d] of frames of the given lengths → latents [F L, d]."""
        return cast("Tensor", self.project(self.queries(y_md, lengths)))

    def queries(self, y_md: Tensor, lengths: Index) -> Tensor:
        """The last block's output, before the projection: [F L, d]."""
        count, device = len(self.latents), y_md.device
        own = latent_pattern(lengths, count, device, tokens=False, own=True)
        tokens = latent_pattern(lengths, count, device, tokens=True, own=False)
        x_ld = self.norm(repeated(self.latents, len(lengths)))
        for layer in self.layers:
            x_ld = layer(x_ld, y_md, own, tokens)
        return cast("Tensor", x_ld)

    def work(self, frames: int, tokens: int) -> Work:
        """What F frames of N tokens cost: L queries per frame among themselves in every block, against N
        tokens in every other one, FFNs, and the projection."""
        count, width = self.latents.shape
        latents, depth = frames * count, len(self.layers)
        crosses, side = -(-depth // CROSS_EVERY), 2 * width * self.heads.count * self.heads.width
        pairs = latents * (depth * count + crosses * tokens)
        inside = depth * (2 * side + 2 * width * self.inner) + crosses * side + width**2
        return Work(
            linear=((latents, inside), (frames * tokens, crosses * side)),
            attention=((pairs, self.heads.count * self.heads.width),),
        )
