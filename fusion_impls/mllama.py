"""Llama-3.2-Vision (mllama): whole cross-attention layers inserted between the decoder's own.

Paper: The Llama 3 Herd of Models, arXiv 2407.21783, section 7; norms, gates and places as in ``mllama`` of
``transformers``. Before blocks n-1, 2n-1, ... stands a layer with its own q, k, v, o (RMS norms of queries
and keys, grouped keys as in the backbone, no position), its own SwiGLU MLP of the backbone's width, and tanh
gates a = b = 0 at the start: ``h = h + tanh(a) attention(q=norm h, kv=y)``, then
``h = h + tanh(b) mlp(norm h)``. Image tokens y are not normed.

Text sees the last group of consecutive images (``group``). Text before the first image gets exactly 0 from
both parts, as in Meta's own implementation; ``transformers`` masks the MLP only and lets such text attend
uniformly to all images.

Shapes: R text rows, M image tokens, d model width. A session keeps the text's keys and values and those of
one group of images, computed once per image: constant where text parts the frames, else linear in frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from torch import Tensor, nn

from harness.attention import to_device
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
from harness.layout import Cursor, FrameSpan, Layout, PackedSample, lay_out
from harness.parts.attention import FeedForward, Heads, OwnAttention, init_like, norm_of
from harness.parts.gates import GatedBlock, gated_attention, gated_work, see_windows, slots
from harness.parts.window_cost import WindowCost
from harness.registry import register_method
from harness.state import FusionState, KeyValues
from harness.windows import without_unseen_images

SEES = "sees_an_image"


@dataclass(frozen=True, slots=True, kw_only=True)
class MllamaConfig(FusionConfig):
    """``every``: own layers for one cross-attention layer; the paper has 4.

    ``group``: images that are seen together. ``consecutive`` is the paper's: all without text between them;
    ``same_time`` asks for equal time stamps too, so that of a video only the last frame is seen.
    """

    every: int = 2
    group: Literal["consecutive", "same_time"] = "consecutive"

    def __post_init__(self) -> None:
        check_least("mllama", self, {"every": 1})


@register_method("mllama")
class Mllama(FusionMethod):
    summary = (
        "gated cross-attention layers with their own MLP before every n-th block; the last images' group"
    )
    paper = "arXiv 2407.21783, section 7"
    memory = MemoryOrder(prefill_frames=1, prefill_pixels=1, streaming_frames=1, streaming_pixels=1)
    Config = MllamaConfig

    def __init__(self, config: MllamaConfig, decoder: Decoder) -> None:
        super().__init__(config, decoder)
        self.c = config
        self.slots = slots("mllama", decoder, config.every, first=config.every - 1)
        width, norm = decoder.width, norm_of(decoder)
        heads = Heads.of(decoder.block(0).attention)
        inner = cast("nn.Linear", decoder.block(0).mlp.up_proj).out_features
        self.gated = nn.ModuleList(
            GatedBlock(
                width, OwnAttention(width, heads, qk_norm=norm), FeedForward(width, inner, "swiglu"), norm
            )
            for _ in self.slots
        )
        init_like(decoder, self)

    def lay_out(self, samples: Sequence[PackedSample], cursors: Sequence[Cursor], width: int) -> Layout:
        if self.c.group == "consecutive":
            samples = [_at_one_time(sample) for sample in samples]
        return lay_out(samples, cursors, width=width, positions="aside", inline=False)

    def new_state(self) -> FusionState:
        return FusionState(KeyValues(self.layers), extra={IMAGES: KeyValues(len(self.slots))})

    def begin(self, step: Step) -> None:
        step.layout = without_unseen_images(step.layout)
        see_windows(step)
        drop_past_windows(step, IMAGES)
        sees_r1 = to_device(step.layout.rows.window[:, None] >= 0, step.device)
        step.carried[SEES] = sees_r1.to(step.layout.images.tokens)

    def keeps(self, seen: Seen, sizes: Sizes) -> Kept:
        """The text, and one group of images."""
        group = self._grouped(seen)
        images = WindowCost().in_sight(group.frames) * group.tokens
        return Kept(text=sizes.layers * sizes.kv * seen.text, image=len(self.slots) * sizes.kv * images)

    def computes(self, chunk: Chunk, sizes: Sizes) -> Work:
        """The decoder on text; own layers with the backbone's heads and FFN on text and the groups seen."""
        groups = Chunk(self._grouped(chunk.past), self._grouped(chunk.now))
        alone = groups.now.frames == chunk.now.frames
        images = WindowCost().shown(chunk) * chunk.now.tokens if alone else chunk.images
        heads = Heads(sizes.heads, sizes.kv_heads, sizes.head_width)
        gated = gated_work(groups, images, sizes.width, heads, 3 * sizes.width * sizes.inner)
        return decoder_work(chunk, sizes) + gated.times(len(self.slots))

    def _grouped(self, seen: Seen) -> Seen:
        """The stream with consecutive images, those without text between them, as one."""
        if self.c.group != "consecutive" or seen.between or not seen.frames:
            return seen
        return replace(seen, frames=1, tokens=seen.images)

    def layer(self, i: int, block: DecoderBlock, h_rd: Tensor, step: Step) -> Tensor:
        slot = self.slots.get(i)
        if slot is not None:
            gated = cast("GatedBlock", self.gated[slot])
            h_rd = gated.feed(gated_attention(gated, slot, h_rd, step), step.carried[SEES])
        return super().layer(i, block, h_rd, step)


def _at_one_time(sample: PackedSample) -> PackedSample:
    """Frames without text between them share a window when their time stamps are equal; the connector has
    already told the model the times."""
    spans = (replace(span, time_s=0.0) if isinstance(span, FrameSpan) else span for span in sample.prefix)
    return replace(sample, prefix=tuple(spans))
