"""VoCo-LLaMA: the decoder's own attention compresses each image into a few tokens that stand behind it.

Paper: VoCo-LLaMA, arXiv 2406.12275. k learned VoCo tokens follow every image. All are rows of one causal
self-attention with one more rule: an image's tokens are seen by themselves and their VoCo tokens alone. So
text knows of images through VoCo tokens only, and an image's rows are of no use once they are computed.

What a row sees, up to itself: the text and VoCo tokens before it, and, if it is of an image or its VoCo
tokens, that image. The paper trains on one image at the start of the prompt; there the released code
(Yxxxb/VoCo-LLaMA) also hides what is before the image from the text after it. Here earlier text and VoCo
tokens stay in sight, as a stream of frames and questions needs.

Shapes: R rows = all text, image and VoCo tokens, k VoCo tokens per frame, d model width. A session keeps the
keys and values of text and VoCo tokens: k rows per frame, whatever its size; image rows are dropped at the
end of the pass that brought them. A pass needs memory linear in its pixels, and in its F frames a small
quadratic part: each frame attends to the VoCo tokens of all before it, k F^2 / 2 keys in total.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from harness.attention import Block, attend
from harness.backbones.decoder import Decoder, DecoderBlock
from harness.declared import Chunk, Kept, Seen, Sizes, Work, blocks_work
from harness.fusion import FusionConfig, FusionMethod, MemoryOrder, Step, check_least
from harness.layout import Cursor, Kind, Layout, PackedSample, Rows, lay_out, runs
from harness.parts.attention import spread_of
from harness.registry import register_method

COMPRESSED = "compressed"
"""Name of the pattern that hides images behind their VoCo tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoCoConfig(FusionConfig):
    """``tokens``: VoCo tokens per frame; the paper's main result has 1 for 576 image tokens.

    ``positions``: RoPE positions of a frame's tokens, all at one of their own or, as in the paper, one each.
    """

    tokens: int = 2
    positions: Literal["one_per_frame", "one_per_token"] = "one_per_frame"

    def __post_init__(self) -> None:
        check_least("voco", self, {"tokens": 1})


@register_method("voco")
class VoCo(FusionMethod):
    summary = "images inserted, but seen only by the few tokens behind them, which alone are kept"
    paper = "arXiv 2406.12275"
    memory = MemoryOrder(prefill_frames=2, prefill_pixels=1, streaming_frames=1, streaming_pixels=1)
    Config = VoCoConfig

    def __init__(self, config: VoCoConfig, decoder: Decoder) -> None:
        super().__init__(config, decoder)
        self.c = config
        self.voco_tokens = nn.Parameter(spread_of(decoder) * torch.randn(config.tokens, decoder.width))

    def lay_out(self, samples: Sequence[PackedSample], cursors: Sequence[Cursor], width: int) -> Layout:
        return lay_out(
            samples, cursors, width=width, positions=self.c.positions, inline=True, gists=self.c.tokens
        )

    def gist_embeddings(self) -> Tensor:
        return self.voco_tokens

    def begin(self, step: Step) -> None:
        blocks = compressed_blocks(step.layout.rows, step.cached)
        step.patterns[COMPRESSED] = step.pattern(blocks, step.cached + len(step.layout.rows))
        if step.state is not None:
            step.state.text.keep(step.state.text.columns["kind"] != Kind.IMAGE)

    def keeps(self, seen: Seen, sizes: Sizes) -> Kept:
        """Text and VoCo tokens; images are dropped."""
        per_row = sizes.layers * sizes.kv
        return Kept(text=per_row * seen.text, gist=per_row * self.c.tokens * seen.frames)

    def computes(self, chunk: Chunk, sizes: Sizes) -> Work:
        """All rows pass all weights. A frame's N + k rows see themselves and the lasting rows before them;
        text sees lasting rows."""
        k, tokens, now, pairs = self.c.tokens, chunk.now.tokens, chunk.now, 0
        for segment in chunk.segments():
            before = now.text_before(segment.window) + k * max(segment.window, 0)
            pairs += segment.arrives * (tokens + k) * (before + tokens + k)
            lasting = now.text_before(segment.window + 1) + k * (segment.window + 1)
            pairs += segment.text * lasting
        return blocks_work(chunk.rows(tokens + k), pairs, sizes)

    def layer(self, i: int, block: DecoderBlock, h_rd: Tensor, step: Step) -> Tensor:
        attention, x_rd = block.attention, block.normed(h_rd)
        q, k, v = attention.queries(x_rd, step.rope), attention.keys(x_rd, step.rope), attention.values(x_rd)
        if step.state is not None:
            k, v = step.state.text.extend(i, k, v)
        return block.ffn(h_rd + attention.output(attend(q, k, v, step.patterns[COMPRESSED], attention.scale)))


def compressed_blocks(rows: Rows, cached: int) -> list[Block]:
    """Causal attention in which an image is seen by its own and its VoCo tokens' rows only.

    ``cached`` rows of the one sample of a streaming state, all text or VoCo tokens, stand before the new ones
    among the keys.
    """
    lasting = rows.kind != Kind.IMAGE
    blocks: list[Block] = []
    for first, last in runs(rows.sample):
        seen = np.arange(cached)
        parts = runs(*(column[first:last] for column in (rows.branch, rows.frame, rows.kind == Kind.TEXT)))
        for start, stop in parts:
            own = first + np.arange(start, stop)
            blocks.append(Block(own, np.concatenate((seen, cached + own)), causal=True))
            if rows.branch[first + start] == 0:
                seen = np.concatenate((seen, cached + own[lasting[own]]))
    return blocks
