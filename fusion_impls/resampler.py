"""Resampler: a fixed number of latents per frame is inserted into the text in place of the frame's tokens.

``kind=perceiver``: the Perceiver resampler (Flamingo, arXiv 2204.14198, section 2.1) as Idefics2 has it
before a joint self-attention (arXiv 2405.02246): RMS norms, SwiGLU, grouped keys; latents attend to the
frame's tokens and to themselves. ``kind=qformer``: BLIP-2's Q-Former (arXiv 2301.12597, sections 3.1 and
3.3): self-attention among the learned queries, cross-attention to the frame's tokens in every other block,
FFN, a linear layer at the end. Everything after is token insertion: one causal self-attention over text and
latents.

Where it deviates: both work in the language model's width, after the connector, and are trained with it from
random weights (BLIP-2 starts from BERT's).

Shapes: M image tokens, L latents per frame, R rows = text and latents, d model width. A session keeps the
keys and values of all text and all latents: linear in frames. They do not grow with the pixels, but the
resampler's working memory does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.backbones.decoder import Decoder
from harness.declared import Chunk, Kept, Seen, Sizes, Work, decoder_work
from harness.errors import UsageError
from harness.fusion import FusionConfig, FusionMethod, MemoryOrder, check_least
from harness.layout import Cursor, Layout, PackedSample, lay_out
from harness.parts.attention import Heads, init_like, rms_norm, spread_of
from harness.parts.perceiver import Perceiver, PerceiverShape
from harness.parts.qformer import QFormer
from harness.parts.resampling import resampled_samples
from harness.registry import register_method


@dataclass(frozen=True, slots=True, kw_only=True)
class ResamplerConfig(FusionConfig):
    """Idefics2 has 64 ``latents``, ``depth`` 3, 16 ``heads`` with 4 ``kv_heads`` and FFNs of 4 times the
    width (``ffn_factor``); BLIP-2 has 32 latents, depth 12, 12 heads and factor 4.

    ``heads`` and ``kv_heads`` none take the backbone's; the head width is the backbone's. A Q-Former has as
    many key as query heads. ``positions``: RoPE positions of a frame's latents, all at one of their own or,
    as in the papers, one each.
    """

    kind: Literal["perceiver", "qformer"] = "perceiver"
    latents: int = 4
    depth: int = 1
    heads: int | None = None
    kv_heads: int | None = None
    ffn_factor: int = 1
    positions: Literal["one_per_frame", "one_per_token"] = "one_per_frame"

    def __post_init__(self) -> None:
        names = ("latents", "depth", "heads", "kv_heads", "ffn_factor")
        check_least("resampler", self, dict.fromkeys(names, 1))
        if self.kind == "qformer" and self.kv_heads is not None:
            raise UsageError(
                f"resampler kv_heads={self.kv_heads} is for kind=perceiver; a Q-Former has as many key as "
                "query heads, so leave it out"
            )


@register_method("resampler")
class ResamplerInsertion(FusionMethod):
    summary = "frames resampled to a few latents by a Perceiver or a Q-Former, then inserted"
    paper = "arXiv 2405.02246; arXiv 2301.12597, section 3"
    memory = MemoryOrder(prefill_frames=1, prefill_pixels=1, streaming_frames=1, streaming_pixels=1)
    Config = ResamplerConfig

    def __init__(self, config: ResamplerConfig, decoder: Decoder) -> None:
        super().__init__(config, decoder)
        self.c = config
        heads = _heads(config, Heads.of(decoder.block(0).attention))
        width, inner, spread = decoder.width, config.ffn_factor * decoder.width, spread_of(decoder)
        self.resampler: Perceiver | QFormer
        if config.kind == "qformer":
            self.resampler = QFormer(width, config.latents, config.depth, heads, inner, spread)
        else:
            shape = PerceiverShape(
                latents=config.latents,
                depth=config.depth,
                heads=heads,
                inner=inner,
                activation="swiglu",
                norm=rms_norm(1e-6),
            )
            self.resampler = Perceiver(width, shape, spread)
        init_like(decoder, self)

    def keeps(self, seen: Seen, sizes: Sizes) -> Kept:
        """A key and a value of every text row and every latent in every layer."""
        per_row = sizes.layers * sizes.kv
        return Kept(text=per_row * seen.text, image=per_row * self.c.latents * seen.frames)

    def computes(self, chunk: Chunk, sizes: Sizes) -> Work:
        """Resampling, then token insertion of the latents."""
        inserted = decoder_work(chunk, sizes, per_frame=self.c.latents)
        return inserted + self.resampler.work(chunk.frames, chunk.now.tokens)

    def lay_out(self, samples: Sequence[PackedSample], cursors: Sequence[Cursor], width: int) -> Layout:
        resampled = resampled_samples(self.resampler, samples, width)
        return lay_out(resampled, cursors, width=width, positions=self.c.positions, inline=True)


def _heads(config: ResamplerConfig, backbone: Heads) -> Heads:
    """The resampler's heads; raises UsageError where key heads do not divide them."""
    count = config.heads or backbone.count
    if config.kind == "qformer":
        return Heads(count, count, backbone.width)
    kv = config.kv_heads or min(backbone.kv, count)
    if count % kv:
        raise UsageError(
            f"resampler heads={count} is no multiple of kv_heads={kv}; give a multiple, or set kv_heads"
        )
    return Heads(count, kv, backbone.width)
