"""CASA in full: attention to the images and the text of a window beside, before or instead of self-attention.

Paper: CASA, arXiv 2512.19535. Its five differences between cross-attention and token insertion are settings,
each with the variant that bridges it:

- D1 ``parameters``: own projections, which start from the self-attention's, or the self-attention's own.
- D2 ``keys``: the window's images (equation 2: ``CA(x_t) = MHA(x_t | y_1..y_N)``) or its images and text
  (equation 4: ``CA^{t+v}(x_t) = MHA(x_t | y_1..y_N, x_{K+1}..x_t)``), under ``positions``; a row sees at most
  ``window_size`` text tokens before itself.
- D3 ``placement``: ``h = x + SA(norm x) + CA(norm x)`` (parallel), ``h = x + CA(norm x)`` before the block's
  self-attention, or instead of it (replace), in every n-th block (``every``).
- D4 ``image_updates``: image tokens pass the blocks' FFN, attend like text at their place, or both.
- D5 history: ``gists`` learned tokens per frame in the text, which see their window's images in CASA layers
  and are ordinary text elsewhere; ``pooled_gists`` vectors per frame, pooled with learned scores, which the
  rows of later windows attend to beside the current image; images of the last ``windows`` windows, or all.

With D1-D5 all bridged it is token insertion. Text before the first image gets exactly 0 from images.

R text and gist rows, M image tokens, width d. A session keeps text, gists, pooled gists and the last windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from harness.attention import attend
from harness.backbones.decoder import Decoder, DecoderBlock, Projections
from harness.declared import Chunk, Kept, Seen, Sizes, Work
from harness.errors import UsageError
from harness.fusion import (
    IMAGES,
    FusionConfig,
    FusionMethod,
    MemoryOrder,
    Step,
    check_least,
    describe_images,
    drop_past_windows,
    image_keys,
    kept,
    self_attention,
)
from harness.layout import Cursor, ImagePositions, Layout, PackedSample, lay_out
from harness.parts.pooling import POOLED, ScoredPooling
from harness.parts.window_attention import WINDOW_TEXT, KeyValue, text_keys, window_keys
from harness.parts.window_cost import bridged_computes, bridged_keeps
from harness.registry import register_method
from harness.state import FusionState, KeyValues
from harness.windows import Keys, Visible, image_blocks, window_blocks, without_unseen_images


@dataclass(frozen=True, slots=True, kw_only=True)
class CASAConfig(FusionConfig):
    """D1-D5; by default CA^{t+v} with two gist tokens per frame. ``positions`` none takes the paper's: no
    position for image keys alone, RoPE (``aside``) where the window's text is among the keys."""

    parameters: Literal["own", "shared"] = "own"
    keys: Literal["image", "image_text"] = "image_text"
    positions: Literal["nope", "aside", "one_per_frame", "one_per_token", "mrope"] | None = None
    window_size: int | None = None
    placement: Literal["parallel", "before", "replace"] = "parallel"
    every: int = 1
    image_updates: Literal["none", "ffn", "attention", "both"] = "none"
    gists: int = 2
    pooled_gists: int = 0
    windows: int | Literal["all"] = 1

    def __post_init__(self) -> None:
        check_least("casa", self, {"window_size": 0, "every": 1, "gists": 0, "pooled_gists": 0, "windows": 1})
        if self.window_size is not None and self.keys == "image":
            raise UsageError("casa window_size bounds the text keys, and keys=image has none; leave it out")
        if self.windows == "all" and self.pooled_gists:
            raise UsageError("casa pooled_gists stand for images out of sight; windows=all has none")

    @property
    def where(self) -> ImagePositions | None:
        """Where image keys stand; None without position."""
        if self.positions is None:
            return "aside" if self.keys == "image_text" else None
        return None if self.positions == "nope" else self.positions


@register_method("casa")
class CASA(FusionMethod):
    summary = "attention to the window's images and text in layers of its own, gist history; D1-D5 settable"
    paper = "arXiv 2512.19535, equations 2-4, section 3 (D1-D5)"
    memory = MemoryOrder(prefill_frames=1, prefill_pixels=1, streaming_frames=1, streaming_pixels=1)
    Config = CASAConfig

    def __init__(self, config: CASAConfig, decoder: Decoder) -> None:
        super().__init__(config, decoder)
        self.c = config
        last = config.every - 1
        self.slots = {i: n for n, i in enumerate(range(last, self.layers, config.every))}
        if not self.slots:
            raise UsageError(f"casa every={config.every} is not usable; there are {self.layers} blocks")
        copied = self.slots if config.parameters == "own" else ()
        self.cross = nn.ModuleList(decoder.block(i).attention.copy() for i in copied)
        self.gist_tokens = nn.Parameter(0.02 * torch.randn(config.gists, decoder.width))
        self.pool = ScoredPooling(decoder.width, config.pooled_gists) if config.pooled_gists else None
        self.positions = config.where
        self.visible = Visible(None if config.windows == "all" else config.windows, config.window_size)
        self.images_attend = config.image_updates in ("attention", "both")
        # Where the self-attention's text keys are those of the windows too, they are kept once.
        alike = (config.parameters, config.placement, config.keys) == ("shared", "parallel", "image_text")
        self.one_text_cache = alike and self.positions is not None

    def lay_out(self, samples: Sequence[PackedSample], cursors: Sequence[Cursor], width: int) -> Layout:
        where: ImagePositions = self.positions or "aside"
        return lay_out(samples, cursors, width=width, positions=where, inline=False, gists=self.c.gists)

    def gist_embeddings(self) -> Tensor:
        return self.gist_tokens

    def new_state(self) -> FusionState:
        extra = {name: KeyValues(len(self.slots)) for name in (IMAGES, WINDOW_TEXT, POOLED)}
        return FusionState(KeyValues(self.layers), extra)

    def begin(self, step: Step) -> None:
        pooled = self.pool.announce(step) if self.pool is not None else None
        if not self.images_attend or self.visible.span == 1:
            step.layout = without_unseen_images(step.layout, self.visible.span)
        describe_images(step)
        rows, images = step.layout.rows, step.layout.images
        text = text_keys(step, self.visible, self.one_text_cache) if self.c.keys == "image_text" else None
        keys = Keys(image_keys(step), text, pooled)
        step.patterns["window"] = step.pattern(window_blocks(rows, keys, self.visible), len(keys))
        if self.images_attend:
            blocks = image_blocks(rows, images, keys, self.visible)
            step.patterns["image"] = step.pattern(blocks, len(keys), rows=len(images))
        step.carried[IMAGES] = images.tokens
        drop_past_windows(step, IMAGES, WINDOW_TEXT, span=self.visible.span)

    def keeps(self, seen: Seen, sizes: Sizes) -> Kept:
        return bridged_keeps(self.c, seen, sizes)

    def computes(self, chunk: Chunk, sizes: Sizes) -> Work:
        return bridged_computes(self.c, chunk, sizes)

    def layer(self, i: int, block: DecoderBlock, h_rd: Tensor, step: Step) -> Tensor:
        x_rd, placement = block.normed(h_rd), self.c.placement
        if i not in self.slots:
            h_rd = h_rd + self_attention(i, block.attention, x_rd, step)
        elif placement == "parallel" and self.c.parameters == "shared":
            h_rd = h_rd + self._both_shared(i, x_rd, step)
        elif placement == "parallel":
            h_rd = h_rd + self_attention(i, block.attention, x_rd, step) + self._cross(i, x_rd, step)
        else:
            h_rd = h_rd + self._cross(i, x_rd, step)
            if placement == "before":
                h_rd = h_rd + self_attention(i, block.attention, block.normed(h_rd), step)
        if self.c.image_updates in ("ffn", "both"):
            step.carried[IMAGES] = block.ffn(step.carried[IMAGES])
        return block.ffn(h_rd)

    def _cross(self, i: int, x_rd: Tensor, step: Step) -> Tensor:
        slot, text, rope = self.slots[i], None, step.rope if self.positions else None
        attention = cast("Projections", self.cross[slot]) if self.cross else step.decoder.block(i).attention
        if self.c.keys == "image_text":
            text = kept(step, WINDOW_TEXT, slot, attention.keys(x_rd, rope), attention.values(x_rd))
        return attention.output(self._window(i, attention, attention.queries(x_rd, rope), text, step))

    def _both_shared(self, i: int, x_rd: Tensor, step: Step) -> Tensor:
        """Self-attention and windowed attention with the same projections, each computed once."""
        attention, text = step.decoder.block(i).attention, None
        q_nope, k_nope, v = attention.queries(x_rd, None), attention.keys(x_rd, None), attention.values(x_rd)
        q, k = attention.rotated(q_nope, step.rope), attention.rotated(k_nope, step.rope)
        all_k, all_v = (k, v) if step.state is None else step.state.text.extend(i, k, v)
        if self.one_text_cache:
            text = all_k, all_v
        elif self.c.keys == "image_text":
            text = kept(step, WINDOW_TEXT, self.slots[i], k_nope, v)
        windowed = self._window(i, attention, q if self.positions else q_nope, text, step)
        return attention.output(attend(q, all_k, all_v, step.causal, attention.scale) + windowed)

    def _window(
        self, i: int, attention: Projections, q_rhd: Tensor, text: KeyValue | None, step: Step
    ) -> Tensor:
        """Attention [R, H, D] of the rows to their windows; image tokens that attend are updated."""
        y_md, rotate = step.carried[IMAGES], self.positions is not None
        k, v = window_keys(step, i, self.slots[i], attention, text, rotate)
        if self.images_attend:
            z_md = step.decoder.block(i).normed(y_md)
            q_mhd = attention.queries(z_md, step.image_rope if rotate else None)
            o_mhd = attend(q_mhd, k, v, step.patterns["image"], attention.scale)
            step.carried[IMAGES] = y_md + attention.output(o_mhd)
        return attend(q_rhd, k, v, step.patterns["window"], attention.scale)
