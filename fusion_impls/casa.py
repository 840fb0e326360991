"""CASA: attention to the window's images and the window's own text in layers of its own, with gist history.

Paper: CASA, arXiv 2512.19535, equation 4 (v1's layer; v2 calls it CA^{t+v}):
``CA^{t+v}(x_t) = MHA(x_t | y_1..y_N, x_{K+1}..x_t)``, which is token insertion inside the local window, and
``h = x + SA_text(norm x) + CA^{t+v}(norm x)``, then the FFN. Backbone's RoPE; a frame's tokens stand at the
position of the next text token, so text positions do not depend on image length. Starts from the
self-attention's weights.

History (D5): ``gists`` learned tokens follow every frame in the text. In the CASA layer a gist sees its
images only; in self-attention it is ordinary causal text, through which later text reaches old frames. Text
before the first image sees its own window's text and nothing of images.

Shapes: R text and gist rows, M image tokens, G gists, d model width. A session keeps text and gists
(O(frames x G)) and one window; with G = 0 streaming memory does not grow with frames at fixed text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from harness.attention import attend
from harness.backbones.decoder import Decoder, DecoderBlock, Projections
from harness.errors import UsageError
from harness.fusion import (
    IMAGES,
    WINDOW_TEXT,
    FusionConfig,
    FusionMethod,
    FusionState,
    KeyValues,
    MemoryOrder,
    Step,
    describe_images,
    drop_past_windows,
    image_keys,
    self_attention,
    text_keys,
)
from harness.layout import Cursor, Layout, PackedSample, lay_out, window_blocks, without_unseen_images
from harness.registry import register_method


@dataclass(frozen=True, slots=True, kw_only=True)
class CASAConfig(FusionConfig):
    """``gists``: learned history tokens per frame, 0 for none."""

    gists: int = 2

    def __post_init__(self) -> None:
        if self.gists < 0:
            raise UsageError(f"casa gists={self.gists} is negative; give 0 (no history) or more")


@register_method("casa")
class CASA(FusionMethod):
    summary = "joint attention to the window's images and text beside every self-attention, gist history"
    paper = "arXiv 2512.19535, equation 4 (CA^{t+v})"
    memory = MemoryOrder(prefill_frames=1, prefill_pixels=1, streaming_frames=1, streaming_pixels=1)
    Config = CASAConfig

    def __init__(self, config: CASAConfig, decoder: Decoder) -> None:
        super().__init__(config, decoder)
        self.gists = config.gists
        self.cross = nn.ModuleList(decoder.block(i).attention.copy() for i in range(self.layers))
        self.gist_tokens = nn.Parameter(0.02 * torch.randn(config.gists, decoder.width))

    def lay_out(self, samples: Sequence[PackedSample], cursors: Sequence[Cursor], width: int) -> Layout:
        layout = lay_out(samples, cursors, width=width, positions="aside", gists=self.gists)
        return without_unseen_images(layout)

    def gist_embeddings(self) -> Tensor:
        return self.gist_tokens

    def new_state(self) -> FusionState:
        extra = {IMAGES: KeyValues(self.layers), WINDOW_TEXT: KeyValues(self.layers)}
        return FusionState(KeyValues(self.layers), extra=extra)

    def begin(self, step: Step) -> None:
        rows = step.layout.rows
        describe_images(step)
        if step.state is not None:
            step.state.extra[WINDOW_TEXT].describe(rows.kind, rows.window, rows.frame)
        images, text = image_keys(step), text_keys(step)
        blocks = window_blocks(rows, images, text)
        step.patterns["window"] = step.pattern(blocks, keys=len(images.sample) + len(text.sample))

    def layer(self, i: int, block: DecoderBlock, h_rd: Tensor, step: Step) -> Tensor:
        x_rd = block.normed(h_rd)
        cross = self._window_attention(i, block, x_rd, step)
        return block.ffn(h_rd + self_attention(i, block.attention, x_rd, step) + cross)

    def _window_attention(self, i: int, block: DecoderBlock, x_rd: Tensor, step: Step) -> Tensor:
        attention = cast("Projections", self.cross[i])
        y_md = block.normed(step.layout.images.tokens)
        image_k, image_v = attention.keys(y_md, step.image_rope), attention.values(y_md)
        text_k, text_v = attention.keys(x_rd, step.rope), attention.values(x_rd)
        if step.state is not None:
            image_k, image_v = step.state.extra[IMAGES].extend(i, image_k, image_v)
            text_k, text_v = step.state.extra[WINDOW_TEXT].extend(i, text_k, text_v)
        k, v = torch.cat((image_k, text_k)), torch.cat((image_v, text_v))
        q = attention.queries(x_rd, step.rope)
        return attention.output(attend(q, k, v, step.patterns["window"], attention.scale))

    def finish(self, step: Step) -> None:
        drop_past_windows(step)
