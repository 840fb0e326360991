"""Flamingo: each frame resampled to a few latents, gated cross-attention blocks between the decoder's blocks.

Paper: Flamingo, arXiv 2204.14198, sections 2.1 (Perceiver resampler), 2.2 (gated cross-attention) and 2.3 (a
text token sees the last image only). Before every n-th decoder block, with a = b = 0 at the start:
``h = h + tanh(a) attention(q=norm h, kv=latents)``, then ``h = h + tanh(b) ffn(norm h)``.
Text before the first image gets exactly 0 from the cross-attention; the FFN is not bound to images.

Idefics (arXiv 2306.16527) is the open variant: SwiGLU in the gated blocks, ReLU in the resampler, norms of
queries and keys. The place and kind of the other norms, which the paper does not give, are Idefics' too.

Where it deviates: a video is not one image of many frames with time embeddings in the resampler; each frame
is resampled alone (the connector has added its time), and a row sees the frames of its window.

Shapes: R text rows, M image tokens, L latents per frame, d model width. A session keeps the text's keys and
values and those of one window's latents, so its bytes grow neither with frames nor with pixels at fixed text;
the resampler's working memory grows with the pixels of the chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from torch import Tensor, nn

from harness.backbones.decoder import Decoder, DecoderBlock
from harness.declared import Chunk, Kept, Seen, Sizes, Work, decoder_work
from harness.fusion import (
    IMAGES,
    FusionConfig,
    FusionMethod,
    MemoryOrder,
    Step,
    check_least,
    drop_past_windows,
)
from harness.layout import Cursor, Layout, PackedSample, lay_out
from harness.parts.attention import (
    FeedForward,
    Heads,
    OwnAttention,
    init_like,
    layer_norm,
    norm_of,
    spread_of,
)
from harness.parts.gates import GatedBlock, gated_attention, gated_work, see_windows, slots
from harness.parts.perceiver import Perceiver, PerceiverShape
from harness.parts.resampling import resampled_images
from harness.parts.window_cost import WindowCost
from harness.registry import register_method
from harness.state import FusionState, KeyValues
from harness.windows import without_unseen_images


@dataclass(frozen=True, slots=True, kw_only=True)
class FlamingoConfig(FusionConfig):
    """The paper has 64 ``latents``, a resampler of ``depth`` 6 with 16 heads, FFNs of 4 times the width
    (``ffn_factor``) with squared ReLU, and gated blocks before every (3B), 4th (9B) or 7th (80B) block.

    Gated blocks stand before blocks 0, ``every``, 2 ``every``, ... ``resampler_heads`` none takes the
    backbone's number. Idefics has ``activation`` swiglu, ``resampler_activation`` relu and ``qk_norms``.
    """

    latents: int = 8
    depth: int = 1
    every: int = 2
    ffn_factor: int = 1
    resampler_heads: int | None = None
    activation: Literal["squared_relu", "swiglu"] = "squared_relu"
    resampler_activation: Literal["squared_relu", "relu"] = "squared_relu"
    qk_norms: bool = False

    def __post_init__(self) -> None:
        names = ("latents", "depth", "every", "ffn_factor", "resampler_heads")
        check_least("flamingo", self, dict.fromkeys(names, 1))


@register_method("flamingo")
class Flamingo(FusionMethod):
    summary = "frames resampled to latents; gated cross-attention and FFN before every n-th block"
    paper = "arXiv 2204.14198, sections 2.1-2.3"
    memory = MemoryOrder(prefill_frames=1, prefill_pixels=1, streaming_frames=0, streaming_pixels=1)
    Config = FlamingoConfig

    def __init__(self, config: FlamingoConfig, decoder: Decoder) -> None:
        super().__init__(config, decoder)
        self.c = config
        self.slots = slots("flamingo", decoder, config.every, first=0)
        width, count = decoder.width, Heads.of(decoder.block(0).attention)
        # Plain multi-head attention, also where the backbone groups its keys.
        heads = Heads(count.count, count.count, count.width)
        number = config.resampler_heads or heads.count
        resampler = PerceiverShape(
            latents=config.latents,
            depth=config.depth,
            heads=Heads(number, number, heads.width),
            inner=config.ffn_factor * width,
            activation=config.resampler_activation,
            norm=layer_norm(1e-5),
            qk_norm=layer_norm(1e-5) if config.qk_norms else None,
        )
        self.resampler = Perceiver(width, resampler, spread_of(decoder))
        norm = norm_of(decoder)
        self.gated = nn.ModuleList(
            GatedBlock(
                width,
                OwnAttention(width, heads, qk_norm=norm if config.qk_norms else None),
                FeedForward(width, config.ffn_factor * width, config.activation),
                norm,
            )
            for _ in self.slots
        )
        init_like(decoder, self)

    def lay_out(self, samples: Sequence[PackedSample], cursors: Sequence[Cursor], width: int) -> Layout:
        return lay_out(samples, cursors, width=width, positions="aside", inline=False)

    def new_state(self) -> FusionState:
        return FusionState(KeyValues(self.layers), extra={IMAGES: KeyValues(len(self.slots))})

    def begin(self, step: Step) -> None:
        seen = without_unseen_images(step.layout)
        step.layout = replace(seen, images=resampled_images(self.resampler, seen.images))
        see_windows(step)
        drop_past_windows(step, IMAGES)

    def keeps(self, seen: Seen, sizes: Sizes) -> Kept:
        """The text, and the latents of one window, a frame, for as many key heads as query heads."""
        latents = self.c.latents * WindowCost().in_sight(seen.frames)
        return Kept(
            text=sizes.layers * sizes.kv * seen.text,
            image=len(self.slots) * 2 * sizes.heads_width * latents,
        )

    def computes(self, chunk: Chunk, sizes: Sizes) -> Work:
        """The decoder on text; frames that are seen are resampled; gated blocks on text and latents."""
        shown, latents, width = WindowCost().shown(chunk), self.c.latents, sizes.width
        heads = Heads(sizes.heads, sizes.heads, sizes.head_width)
        ffn = (3 if self.c.activation == "swiglu" else 2) * width * self.c.ffn_factor * width
        seen = Chunk(replace(chunk.past, tokens=latents), replace(chunk.now, tokens=latents))
        gated = gated_work(seen, shown * latents, width, heads, ffn)
        resampled = self.resampler.work(shown, chunk.now.tokens)
        return decoder_work(chunk, sizes) + resampled + gated.times(len(self.slots))

    def layer(self, i: int, block: DecoderBlock, h_rd: Tensor, step: Step) -> Tensor:
        slot = self.slots.get(i)
        if slot is not None:
            gated = cast("GatedBlock", self.gated[slot])
            h_rd = gated.feed(gated_attention(gated, slot, h_rd, step))
        return super().layer(i, block, h_rd, step)
