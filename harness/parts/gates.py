"""Gated cross-attention blocks: the part that Flamingo and Llama-3.2-Vision share.

``h = h + tanh(a) attention(q=norm h, kv=y)``, then ``h = h + tanh(b) ffn(norm h)`` with a, b zero at the
start, so that a new block changes nothing (Flamingo, arXiv 2204.14198, section 2.2).

Shapes: R rows, S image keys, K key/value heads, D head width, d model width.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from harness.attention import Pattern
from harness.backbones.decoder import Decoder
from harness.declared import Chunk, Work
from harness.errors import UsageError
from harness.fusion import IMAGES, Step, describe_images, image_keys, kept
from harness.parts.attention import FeedForward, Heads, Norm, OwnAttention
from harness.parts.window_cost import WindowCost
from harness.windows import Keys, Visible, window_blocks


class GatedBlock(nn.Module):
    """Cross-attention and FFN with tanh gates; ``norm`` makes the norms before them."""

    def __init__(self, width: int, attention: OwnAttention, ffn: FeedForward, norm: Norm) -> None:
        super().__init__()
        self.norm, self.attention = norm(width), attention
        self.gate = nn.Parameter(torch.zeros(1))
        self.ffn_norm, self.ffn = norm(width), ffn
        self.ffn_gate = nn.Parameter(torch.zeros(1))

    def attend(self, h_rd: Tensor, k_skd: Tensor, v_skd: Tensor, pattern: Pattern) -> Tensor:
        """The gated cross-attention to image keys and values, with its residual: [R, d] → [R, d]."""
        x_rd = cast("Tensor", self.norm(h_rd))
        return h_rd + self.gate.tanh() * self.attention.attended(x_rd, k_skd, v_skd, pattern)

    def feed(self, h_rd: Tensor, rows_r1: Tensor | None = None) -> Tensor:
        """The gated FFN with its residual, [R, d] → [R, d]; nothing is added where ``rows_r1`` is 0."""
        y_rd = cast("Tensor", self.ffn(self.ffn_norm(h_rd)))
        return h_rd + self.ffn_gate.tanh() * (y_rd if rows_r1 is None else rows_r1 * y_rd)


def gated_work(chunk: Chunk, images: int, width: int, heads: Heads, ffn: int) -> Work:
    """What one gated block costs where the chunk's images are ``images`` rows: q, o and the FFN of ``ffn``
    weights on text, k and v of images; a text row attends to its own frame."""
    to_qo, to_kv = (2 * width * n * heads.width for n in (heads.count, heads.kv))
    return Work(
        linear=((chunk.text, to_qo + ffn), (images, to_kv)),
        attention=((WindowCost().row_pairs(chunk), heads.count * heads.width),),
    )


def slots(method: str, decoder: Decoder, every: int, first: int) -> dict[int, int]:
    """Blocks ``first``, ``first + every``, ... and the number of the gated block before each."""
    blocks = len(decoder.blocks)
    if first >= blocks:
        raise UsageError(
            f"{method} every={every} leaves no layer; the backbone has {blocks} blocks, so give "
            f"{blocks} or less"
        )
    return {i: n for n, i in enumerate(range(first, blocks, every))}


def see_windows(step: Step) -> None:
    """Announce the chunk's images and let every row see those of its own window."""
    describe_images(step)
    keys = Keys(image_keys(step))
    step.patterns[IMAGES] = step.pattern(window_blocks(step.layout.rows, keys, Visible()), len(keys))


def gated_attention(gated: GatedBlock, slot: int, h_rd: Tensor, step: Step) -> Tensor:
    """A block's gated cross-attention under the pattern of :func:`see_windows`: [R, d] → [R, d]."""
    y_md, attention = step.layout.images.tokens, gated.attention
    k, v = kept(step, IMAGES, slot, attention.keys(y_md), attention.values(y_md))
    return gated.attend(h_rd, k, v, step.patterns[IMAGES])
