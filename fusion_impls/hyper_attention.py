"""Hyper attention (mPLUG-Owl3): in a few blocks text cross-attends to all past images beside self-attention.

Paper: mPLUG-Owl3, arXiv 2408.04840. In a chosen block, with its own norm for text x and images y alike and
``q = RoPE(W_q norm x)`` computed once for both attentions:

- text: ``t = MHA(q | keys and values of the text so far)``, the block's self-attention before its output;
- image: ``m = MHA(q | RoPE(W_k' norm y), W_v' norm y)`` over all images so far, with own W_k', W_v', which
  start here from the block's. MI-RoPE: all tokens of an image are at the position of its placeholder;
- ``h = x + W_o((1 - g) t + g m)``, then the FFN. The other blocks see no images.

``fusion`` says how the two meet. ``row_gate``: ``g = sigmoid(w t)``, one number per row, computed from the
text: the paper's adaptive gate, whose shape and exact input were not at hand. ``channel_gate``:
``g = sigmoid(w)``, one learned number per channel, as in the released code of July 2024. ``one_softmax``: no
gate, one softmax over images and text, as in the release of November 2024. Gates start at w = 0, g = 1/2.

A row before the first image has g = 0: it is exactly self-attention, as in the released code.

``placeholder``: in the paper a special token stands in the text for each image, is a row of all blocks and
sees its image. Here it is a learned embedding. Without it, the image keeps its one position.

Shapes: R rows, M image tokens, H heads, D head width, d model width. A session keeps the text's keys and
values, and in the chosen blocks those of all images, computed once per image: linear in frames and pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from harness.attention import attend, to_device
from harness.backbones.decoder import Decoder, DecoderBlock, Projections
from harness.declared import Chunk, Kept, Seen, Sizes, Work
from harness.fusion import IMAGES, FusionConfig, FusionMethod, MemoryOrder, Step, kept
from harness.layout import Cursor, Layout, PackedSample, lay_out
from harness.parts.attention import spread_of
from harness.parts.past_images import (
    block_slots,
    check_layers,
    image_pairs,
    joint_attention,
    joint_pairs,
    see_past_images,
    see_past_jointly,
)
from harness.registry import register_method
from harness.state import FusionState, KeyValues

SEES = "sees_an_image"
MOST_SPREAD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class HyperAttentionConfig(FusionConfig):
    """``layers``: the blocks, counted from 0, that see images.

    mPLUG-Owl3-7B has 0, 8, 16, 24 (July 2024) or 6, 14, 22, 25 (November 2024) of 28. ``spread`` takes at
    most every second block and at most four, evenly from the first. ``fusion``, ``placeholder``: see above.
    """

    layers: Literal["spread"] | tuple[int, ...] = "spread"
    fusion: Literal["row_gate", "channel_gate", "one_softmax"] = "row_gate"
    placeholder: bool = True

    def __post_init__(self) -> None:
        if self.layers != "spread":
            check_layers("hyper_attention", self.layers)


class Gate(nn.Module):
    """g = sigmoid(w t) of one number per row, or sigmoid(w) of one per channel; 1/2 at the start."""

    def __init__(self, channels: int, by_row: bool) -> None:
        super().__init__()
        self.by_row = by_row
        self.weight = nn.Parameter(torch.zeros((1, channels) if by_row else channels))

    def forward(self, text_rhd: Tensor) -> Tensor:
        """The text attention's output [R, H, D] → [R, 1, 1] or [H, D]."""
        if self.by_row:
            return torch.sigmoid(text_rhd.flatten(1) @ self.weight.T)[:, None]
        return torch.sigmoid(self.weight).view(text_rhd.shape[1:])


@register_method("hyper_attention")
class HyperAttention(FusionMethod):
    summary = "in a few blocks the self-attention's queries also attend to all past images; sigmoid gate"
    paper = "arXiv 2408.04840"
    memory = MemoryOrder(prefill_frames=1, prefill_pixels=1, streaming_frames=1, streaming_pixels=1)
    Config = HyperAttentionConfig

    def __init__(self, config: HyperAttentionConfig, decoder: Decoder) -> None:
        super().__init__(config, decoder)
        self.c = config
        layers = spread(self.layers) if config.layers == "spread" else config.layers
        self.slots = block_slots("hyper_attention", layers, decoder)
        self.images = nn.ModuleList(_keys_and_values(decoder.block(i).attention) for i in self.slots)
        gated = () if config.fusion == "one_softmax" else self.slots
        channels = [cast("nn.Linear", decoder.block(i).attention.q_proj).out_features for i in gated]
        self.gates = nn.ModuleList(Gate(n, by_row=config.fusion == "row_gate") for n in channels)
        self.placeholders = nn.Parameter(
            spread_of(decoder) * torch.randn(int(config.placeholder), decoder.width)
        )

    def lay_out(self, samples: Sequence[PackedSample], cursors: Sequence[Cursor], width: int) -> Layout:
        # An image beside the text is at the position of what follows it, here its placeholder.
        if self.c.placeholder:
            return lay_out(samples, cursors, width=width, positions="aside", inline=False, gists=1)
        return lay_out(samples, cursors, width=width, positions="one_per_frame", inline=False)

    def gist_embeddings(self) -> Tensor:
        return self.placeholders

    def new_state(self) -> FusionState:
        return FusionState(KeyValues(self.layers), extra={IMAGES: KeyValues(len(self.slots))})

    def begin(self, step: Step) -> None:
        if self.c.fusion == "one_softmax":
            see_past_jointly(step)
        else:
            see_past_images(step)
            sees_r11 = to_device(step.layout.rows.frame >= 0, step.device)[:, None, None]
            step.carried[SEES] = sees_r11.to(step.layout.images.tokens)

    def keeps(self, seen: Seen, sizes: Sizes) -> Kept:
        """Text and placeholders in all blocks, all images in the chosen ones."""
        per_row = sizes.layers * sizes.kv
        return Kept(
            text=per_row * seen.text,
            image=len(self.slots) * sizes.kv * seen.images,
            gist=per_row * self.c.placeholder * seen.frames,
        )

    def computes(self, chunk: Chunk, sizes: Sizes) -> Work:
        """Rows pass all weights, images own k and v in the chosen blocks. There rows attend to text and
        images, in one softmax or apart; a gate per row is a product with H D weights."""
        slots, marks = len(self.slots), int(self.c.placeholder)
        rows = chunk.rows(marks)
        causal, joint = rows * chunk.now.rows(marks), joint_pairs(chunk, marks)
        if self.c.fusion != "one_softmax":
            joint = causal + image_pairs(chunk, marks)
        gates = slots * sizes.heads_width if self.c.fusion == "row_gate" else 0
        return Work(
            linear=((rows, sizes.layers * sizes.block + gates), (chunk.images, slots * sizes.to_kv)),
            attention=(((sizes.layers - slots) * causal + slots * joint, sizes.heads_width),),
        )

    def layer(self, i: int, block: DecoderBlock, h_rd: Tensor, step: Step) -> Tensor:
        if i not in self.slots:
            return super().layer(i, block, h_rd, step)
        slot, x_rd = self.slots[i], block.normed(h_rd)
        own, z_md = cast("Projections", self.images[slot]), block.normed(step.layout.images.tokens)
        k, v = kept(step, IMAGES, slot, own.keys(z_md, step.image_rope), own.values(z_md))
        if self.c.fusion == "one_softmax":
            return block.ffn(h_rd + joint_attention(i, x_rd, k, v, step))
        return block.ffn(h_rd + self._gated(i, x_rd, k, v, step))

    def _gated(self, i: int, x_rd: Tensor, k_skd: Tensor, v_skd: Tensor, step: Step) -> Tensor:
        """Self-attention and attention to image keys and values under one gate: [R, d] → [R, d]."""
        attention = step.decoder.block(i).attention
        q, k, v = attention.queries(x_rd, step.rope), attention.keys(x_rd, step.rope), attention.values(x_rd)
        if step.state is not None:
            k, v = step.state.text.extend(i, k, v)
        text_rhd = attend(q, k, v, step.causal, attention.scale)
        image_rhd = attend(q, k_skd, v_skd, step.patterns[IMAGES], attention.scale)
        gate = self.gates[self.slots[i]](text_rhd) * step.carried[SEES]
        return attention.output(text_rhd + gate * (image_rhd - text_rhd))


def spread(blocks: int) -> tuple[int, ...]:
    """At most every second of so many blocks and at most four, evenly from the first."""
    return tuple(range(0, blocks, max(2, -(-blocks // MOST_SPREAD))))


def _keys_and_values(attention: Projections) -> Projections:
    """A copy of an attention that makes keys and values only."""
    own = attention.copy()
    for name in ("q_proj", "q_norm", "o_proj"):
        delattr(own, name)
    return own
