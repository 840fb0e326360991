"""Vanilla cross-attention: text attends to the last image in layers of its own.

Paper: CASA, arXiv 2512.19535v2, equation 2 with windows: ``CA(x_t) = 1[t > K] MHA(x_t | y_1..y_N)`` and
``h = x + SA_text(norm x) + CA(norm x)``, then the FFN. No position, no gate; the cross-attention starts from
the self-attention's weights. A row sees the images of its window; text before the first image gets exactly 0.

Shapes: R text rows, M image tokens, d model width. Image tokens never enter the token stream; a session
keeps the text's keys and values and one window of images, so streaming memory does not grow with frames at
fixed text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from harness.attention import attend
from harness.backbones.decoder import Decoder, DecoderBlock, Projections
from harness.declared import Chunk, Kept, Seen, Sizes, Work, decoder_work
from harness.fusion import (
    IMAGES,
    FusionConfig,
    FusionMethod,
    MemoryOrder,
    Step,
    describe_images,
    drop_past_windows,
    image_keys,
    self_attention,
)
from harness.layout import Cursor, Layout, PackedSample, lay_out
from harness.parts.window_attention import window_keys
from harness.parts.window_cost import WindowCost
from harness.registry import register_method
from harness.state import FusionState, KeyValues
from harness.windows import Keys, Visible, window_blocks, without_unseen_images


@dataclass(frozen=True, slots=True, kw_only=True)
class VanillaCAConfig(FusionConfig):
    """No settings."""


@register_method("vanilla_ca")
class VanillaCA(FusionMethod):
    summary = "own cross-attention to the last window's images beside every self-attention"
    paper = "arXiv 2512.19535v2, equation 2"
    memory = MemoryOrder(prefill_frames=1, prefill_pixels=1, streaming_frames=0, streaming_pixels=1)
    Config = VanillaCAConfig

    def __init__(self, config: VanillaCAConfig, decoder: Decoder) -> None:
        super().__init__(config, decoder)
        self.cross = nn.ModuleList(decoder.block(i).attention.copy() for i in range(self.layers))

    def lay_out(self, samples: Sequence[PackedSample], cursors: Sequence[Cursor], width: int) -> Layout:
        return lay_out(samples, cursors, width=width, positions="aside", inline=False)

    def new_state(self) -> FusionState:
        return FusionState(KeyValues(self.layers), extra={IMAGES: KeyValues(self.layers)})

    def begin(self, step: Step) -> None:
        step.layout = without_unseen_images(step.layout)
        describe_images(step)
        keys = Keys(image_keys(step))
        step.carried[IMAGES] = step.layout.images.tokens
        step.patterns["window"] = step.pattern(window_blocks(step.layout.rows, keys, Visible()), len(keys))
        drop_past_windows(step, IMAGES)

    def keeps(self, seen: Seen, sizes: Sizes) -> Kept:
        """The text, and one window of images: a frame."""
        per_row = sizes.layers * sizes.kv
        return Kept(
            text=per_row * seen.text, image=per_row * WindowCost().in_sight(seen.frames) * seen.tokens
        )

    def computes(self, chunk: Chunk, sizes: Sizes) -> Work:
        """SA_text with all the text; CA with a row's own frame, q and o of text, k and v of images."""
        images = WindowCost().shown(chunk) * chunk.now.tokens
        cross = Work(
            linear=((chunk.text, sizes.to_qo), (images, sizes.to_kv)),
            attention=((WindowCost().row_pairs(chunk), sizes.heads_width),),
        )
        return decoder_work(chunk, sizes) + cross.times(sizes.layers)

    def layer(self, i: int, block: DecoderBlock, h_rd: Tensor, step: Step) -> Tensor:
        x_rd = block.normed(h_rd)
        cross = self._cross_attention(i, x_rd, step)
        return block.ffn(h_rd + self_attention(i, block.attention, x_rd, step) + cross)

    def _cross_attention(self, i: int, x_rd: Tensor, step: Step) -> Tensor:
        attention = cast("Projections", self.cross[i])
        k, v = window_keys(step, i, i, attention, text=None, rotate=False)
        q_rhd = attention.queries(x_rd, None)
        return attention.output(attend(q_rhd, k, v, step.patterns["window"], attention.scale))
