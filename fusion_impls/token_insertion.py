"""Token insertion: image tokens stand in the text and are treated as text.

Paper: Visual Instruction Tuning (LLaVA), arXiv 2304.08485; CASA, arXiv 2512.19535, equation 1:
``SA(x_t) = MHA(x_t | x_1..x_K, y_1..y_N, x_{K+1}..x_t)``.

Shapes: R rows = all text and image tokens, d model width. Every row goes through every attention and FFN, and
all their keys and values stay in the cache: prefill and streaming memory are linear in frames and in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.backbones.decoder import Decoder
from harness.declared import Chunk, Kept, Seen, Sizes, Work, decoder_work
from harness.fusion import FusionConfig, FusionMethod, MemoryOrder
from harness.layout import Cursor, Layout, PackedSample, lay_out
from harness.registry import register_method


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInsertionConfig(FusionConfig):
    """``positions``: RoPE positions of a frame's tokens: all at one of their own, one each (LLaVA), or by row
    and column (``mrope``, Qwen2.5-VL)."""

    positions: Literal["one_per_frame", "one_per_token", "mrope"] = "one_per_frame"


@register_method("token_insertion")
class TokenInsertion(FusionMethod):
    summary = "image tokens inserted into the text, one joint causal self-attention"
    paper = "arXiv 2304.08485; arXiv 2512.19535, equation 1"
    memory = MemoryOrder(prefill_frames=1, prefill_pixels=1, streaming_frames=1, streaming_pixels=1)
    Config = TokenInsertionConfig

    def __init__(self, config: TokenInsertionConfig, decoder: Decoder) -> None:
        super().__init__(config, decoder)
        self.positions = config.positions

    def lay_out(self, samples: Sequence[PackedSample], cursors: Sequence[Cursor], width: int) -> Layout:
        return lay_out(samples, cursors, width=width, positions=self.positions, inline=True)

    def keeps(self, seen: Seen, sizes: Sizes) -> Kept:
        """A key and a value of every row in every layer."""
        per_row = sizes.layers * sizes.kv
        return Kept(text=per_row * seen.text, image=per_row * seen.images)

    def computes(self, chunk: Chunk, sizes: Sizes) -> Work:
        """Equation 1: every new row passes all weights and attends to all rows so far."""
        return decoder_work(chunk, sizes, per_frame=chunk.now.tokens)
