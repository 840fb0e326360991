"""No visual self-attention: images are keys and values of the decoder's own attention and never query.

Papers: NAAViT and SAISA, arXiv 2502.02458; EE-MLLM's composite attention, arXiv 2408.11795; ViCA, arXiv
2602.07574. With the block's own norm and projections and RoPE, one softmax over all past images and text:
``h_t = x_t + MHA(norm x_t | norm y_1..y_N, norm x_1..x_t)``, then the FFN. Images y are rows of no attention.

What an image token is in block i (``image_updates``):

- ``none``: always the connector's output y. ViCA, whose image tokens bypass attention and FFN, and whose text
  sees them in few blocks only (``layers``), at positions as if they were inserted (released code,
  EIT-NLP/ViCA: blocks 0, 1, 7, 8, 9, 10, 11, 14 of the 32 of LLaVA-1.5-7B).
- ``ffn``: y after the FFNs of blocks 0 to i-1, ``y = y + ffn(norm y)``. EE-MLLM, which reuses each layer's
  weights to align images, and NAAViT, token insertion without attention among image tokens. That is a reading
  of both papers' summaries; their equations were not at hand.
- ``mlp``: the block's own two-layer GELU MLP of the connector's output. SAISA (released code,
  icip-cas/SAISA), which has these MLPs in place of the connector; here they stand behind it, since the
  connector carries the time.

Token insertion differs in one term: there image tokens also add their attention's output. The two agree on
text alone, and in a decoder of one block on all text.

Shapes: M image tokens, d model width. A session keeps the text's keys and values, and those of all images
in the chosen ``layers``, computed once per image: linear in frames and pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor, nn

from harness.backbones.decoder import Decoder, DecoderBlock
from harness.declared import Chunk, Kept, Seen, Sizes, Work
from harness.fusion import IMAGES, FusionConfig, FusionMethod, MemoryOrder, Step, kept
from harness.layout import Cursor, ImagePositions, Layout, PackedSample, lay_out
from harness.parts.attention import FeedForward, init_like
from harness.parts.past_images import (
    block_slots,
    check_layers,
    joint_attention,
    joint_pairs,
    see_past_jointly,
)
from harness.registry import register_method
from harness.state import FusionState, KeyValues


@dataclass(frozen=True, slots=True, kw_only=True)
class NoVisualSelfAttentionConfig(FusionConfig):
    """``layers``: the blocks, counted from 0, in which text sees images; in the others it sees text alone.

    ``positions``: RoPE positions of a frame's tokens; the papers' are ``one_per_token``.
    """

    layers: Literal["all"] | tuple[int, ...] = "all"
    image_updates: Literal["none", "ffn", "mlp"] = "none"
    positions: ImagePositions = "one_per_frame"

    def __post_init__(self) -> None:
        if self.layers != "all":
            check_layers("no_visual_self_attention", self.layers)


@register_method("no_visual_self_attention")
class NoVisualSelfAttention(FusionMethod):
    summary = "images as keys and values of the decoder's own attention, in one softmax with text; no queries"
    paper = "arXiv 2502.02458; arXiv 2408.11795; arXiv 2602.07574"
    memory = MemoryOrder(prefill_frames=1, prefill_pixels=1, streaming_frames=1, streaming_pixels=1)
    Config = NoVisualSelfAttentionConfig

    def __init__(self, config: NoVisualSelfAttentionConfig, decoder: Decoder) -> None:
        super().__init__(config, decoder)
        self.c = config
        layers = tuple(range(self.layers)) if config.layers == "all" else config.layers
        self.slots = block_slots("no_visual_self_attention", layers, decoder)
        width, own = decoder.width, self.slots if config.image_updates == "mlp" else ()
        self.mlps = nn.ModuleList(FeedForward(width, width, "gelu", bias=True) for _ in own)
        init_like(decoder, self)

    def lay_out(self, samples: Sequence[PackedSample], cursors: Sequence[Cursor], width: int) -> Layout:
        return lay_out(samples, cursors, width=width, positions=self.c.positions, inline=False)

    def new_state(self) -> FusionState:
        return FusionState(KeyValues(self.layers), extra={IMAGES: KeyValues(len(self.slots))})

    def begin(self, step: Step) -> None:
        see_past_jointly(step)
        step.carried[IMAGES] = step.layout.images.tokens

    def keeps(self, seen: Seen, sizes: Sizes) -> Kept:
        """The text in all blocks, all images in the chosen ones."""
        return Kept(text=sizes.layers * sizes.kv * seen.text, image=len(self.slots) * sizes.kv * seen.images)

    def computes(self, chunk: Chunk, sizes: Sizes) -> Work:
        """Text passes all weights; an image token k and v of the chosen blocks, and what updates it: FFNs up
        to the last of them, or an MLP of d x d and d x d in each."""
        slots, updates = len(self.slots), self.c.image_updates
        other = slots * sizes.to_kv + (max(self.slots) * sizes.ffn if updates == "ffn" else 0)
        mlps = slots * 2 * sizes.width**2 if updates == "mlp" else 0
        pairs = (sizes.layers - slots) * chunk.text * chunk.now.text + slots * joint_pairs(chunk)
        return Work(
            linear=((chunk.text, sizes.layers * sizes.block), (chunk.images, mlps)),
            attention=((pairs, sizes.heads_width),),
            other=other * chunk.images,
        )

    def layer(self, i: int, block: DecoderBlock, h_rd: Tensor, step: Step) -> Tensor:
        y_md, slot = step.carried[IMAGES], self.slots.get(i)
        if self.c.image_updates == "ffn" and i < max(self.slots):
            step.carried[IMAGES] = block.ffn(y_md)
        if slot is None:
            return super().layer(i, block, h_rd, step)
        if self.mlps:
            y_md = cast("Tensor", self.mlps[slot](y_md))
        z_md = block.normed(y_md)
        k, v = block.attention.keys(z_md, step.image_rope), block.attention.values(z_md)
        k, v = kept(step, IMAGES, slot, k, v)
        return block.ffn(h_rd + joint_attention(i, block.normed(h_rd), k, v, step))
