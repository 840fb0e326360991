"""CASA in full: attention to the images and the text of a window beside, before or instead of self-attention.

Paper: CASA, arXiv 2512.19535. Its five differences between cross-attention and token insertion are settings,
each with the variant that bridges it:

- D1 ``parameters``: own projections, which start from the self-attention's, or the self-attention's own.
- D2 ``keys``: the window's images (equation 2: ``CA(x_t) = MHA(x_t | y_1..y_N)``) or its images and text
  (equation 4: ``CA^{t+v}(x_t) = MHA(x_t | y_1..y_N, x_{K+1}..x_t)``), under ``positions``; a row sees at most
  ``window_size`` text tokens before itself.
- D3 ``placement``: ``h = x + SA(norm x) + CA(norm x)`` (parallel), ``h = x + CA(norm x)`` before the block's
  self-attention, or instead of it (replace), in every n-th block (``every``).
- D4 ``image_updates``: image tokens pass the blocks' FFN, attend like a text row at their place, or both.
- D5 history: ``gists`` learned tokens per frame in the text, which see their window's images in CASA layers
  and are ordinary text elsewhere; ``pooled_gists`` vectors per frame, pooled with learned scores, which the
  rows of later windows attend to beside the current image; the images of the last ``windows`` windows, or all.

With D1-D5 all bridged it is token insertion. Text before the first image gets exactly 0 from images.

Shapes: R text and gist rows, M image tokens, d model width. A session keeps text and gists, one window's keys
(more with ``windows``) and k pooled keys per frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from harness.attention import attend
from harness.backbones.decoder import Decoder, DecoderBlock, Projections, Rope
from harness.errors import UsageError
from harness.fusion import (
    IMAGES,
    FusionConfig,
    FusionMethod,
    MemoryOrder,
    Step,
    cached_keys,
    describe_images,
    drop_past_windows,
    image_keys,
    self_attention,
)
from harness.layout import Cursor, ImagePositions, Kind, Layout, PackedSample, lay_out
from harness.parts.frames import frame_starts, per_frame
from harness.parts.pooling import ScoredPooling
from harness.registry import register_method
from harness.state import FusionState, KeyValues
from harness.windows import Keys, Visible, WindowKeys, image_blocks, window_blocks, without_unseen_images

WINDOW_TEXT, POOLED = "window_text_kv", "pooled_kv"


@dataclass(frozen=True, slots=True, kw_only=True)
class CASAConfig(FusionConfig):
    """The differences D1-D5 of the paper; the defaults are CA^{t+v} with two gist tokens per frame.

    ``positions`` none takes the paper's: no position for image keys, RoPE aside for image and text keys.
    """

    parameters: Literal["own", "shared"] = "own"
    keys: Literal["image", "image_text"] = "image_text"
    positions: Literal["nope"] | ImagePositions | None = None
    window_size: int | None = None
    placement: Literal["parallel", "before", "replace"] = "parallel"
    every: int = 1
    image_updates: Literal["none", "ffn", "attention", "both"] = "none"
    gists: int = 2
    pooled_gists: int = 0
    windows: int | Literal["all"] = 1

    def __post_init__(self) -> None:
        least = {"window_size": 0, "every": 1, "gists": 0, "pooled_gists": 0, "windows": 1}
        for name, number in least.items():
            value = getattr(self, name)
            if isinstance(value, int) and not number <= value <= 2**16:
                raise UsageError(f"casa {name}={value} is not usable; give {number} to {2**16}")
        if self.window_size is not None and self.keys == "image":
            raise UsageError("casa window_size bounds the text keys, and keys=image has none; leave it out")
        if self.windows == "all" and self.pooled_gists:
            raise UsageError("casa pooled_gists stand for images out of sight, and windows=all has none")


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
            raise UsageError(
                f"casa every={config.every} leaves no layer; the backbone has {self.layers} blocks"
            )
        copied = self.slots if config.parameters == "own" else ()
        self.cross = nn.ModuleList(decoder.block(i).attention.copy() for i in copied)
        self.gist_tokens = nn.Parameter(0.02 * torch.randn(config.gists, decoder.width))
        self.pool = ScoredPooling(decoder.width, config.pooled_gists) if config.pooled_gists else None
        default: ImagePositions | None = "aside" if config.keys == "image_text" else None
        named = None if config.positions == "nope" else config.positions
        self.positions = default if config.positions is None else named
        self.visible = Visible(None if config.windows == "all" else config.windows, config.window_size)
        self.ffn_on_images = config.image_updates in ("ffn", "both")
        self.images_attend = config.image_updates in ("attention", "both")
        shared = config.parameters == "shared" and config.placement == "parallel"
        # The self-attention's own text keys serve both where they are the same: then they are kept once.
        self.one_text_cache = shared and config.keys == "image_text" and self.positions is not None

    def lay_out(self, samples: Sequence[PackedSample], cursors: Sequence[Cursor], width: int) -> Layout:
        positions = self.positions or "aside"
        return lay_out(samples, cursors, width=width, positions=positions, inline=False, gists=self.c.gists)

    def gist_embeddings(self) -> Tensor:
        return self.gist_tokens

    def new_state(self) -> FusionState:
        names = (IMAGES, WINDOW_TEXT, POOLED)
        return FusionState(KeyValues(self.layers), extra={name: KeyValues(len(self.slots)) for name in names})

    def begin(self, step: Step) -> None:
        pooled = self._pooled_keys(step, self.pool) if self.pool is not None else None
        if not self.images_attend or self.visible.span == 1:
            step.layout = without_unseen_images(step.layout, self.visible.span)
        describe_images(step)
        images = step.layout.images
        keys = Keys(image_keys(step), self._text_keys(step), pooled)
        step.patterns["window"] = step.pattern(window_blocks(step.layout.rows, keys, self.visible), len(keys))
        if self.images_attend:
            blocks = image_blocks(step.layout.rows, images, keys, self.visible)
            step.patterns["image"] = step.pattern(blocks, len(keys), rows=len(images))
        step.carried["images"] = images.tokens

    def _text_keys(self, step: Step) -> WindowKeys | None:
        rows, images, state = step.layout.rows, step.layout.images, step.state
        if self.c.keys == "image":
            return None
        if state is None:
            return WindowKeys(rows.sample, rows.window, rows.frame, rows.branch)
        if not self.one_text_cache:
            state.extra[WINDOW_TEXT].describe(rows.kind, rows.window, rows.frame)
            return cached_keys(state.extra[WINDOW_TEXT])
        opened = np.concatenate((rows.window[:1], images.window[:1], [state.cursor.window])).min()
        first = np.searchsorted(state.text.columns["window"], self.visible.first(int(opened)))
        return cached_keys(state.text, int(first))

    def _pooled_keys(self, step: Step, pool: ScoredPooling) -> WindowKeys:
        images = step.layout.images
        starts, lengths = frame_starts(images)
        vectors = per_frame(pool, images.tokens, lengths)
        step.carried["pooled"] = torch.cat((images.tokens[:0], *vectors))
        rows = np.repeat(starts, self.c.pooled_gists)
        step.ropes["pooled"] = step.rope_at(images.position[rows])
        if step.state is None:
            return WindowKeys(images.sample[rows], images.window[rows], images.frame[rows], 0 * rows)
        buffer = step.state.extra[POOLED]
        buffer.describe(np.full(len(rows), int(Kind.GIST)), images.window[rows], images.frame[rows])
        return cached_keys(buffer)

    def layer(self, i: int, block: DecoderBlock, h_rd: Tensor, step: Step) -> Tensor:
        x_rd, slot = block.normed(h_rd), self.slots.get(i)
        if slot is None:
            h_rd = h_rd + self_attention(i, block.attention, x_rd, step)
        elif self.c.placement == "parallel":
            h_rd = h_rd + self._beside(i, slot, block, x_rd, step)
        else:
            h_rd = h_rd + self._instead(slot, block, x_rd, step)
            if self.c.placement == "before":
                h_rd = h_rd + self_attention(i, block.attention, block.normed(h_rd), step)
        if self.ffn_on_images:
            step.carried["images"] = block.ffn(step.carried["images"])
        return block.ffn(h_rd)

    def _beside(self, i: int, slot: int, block: DecoderBlock, x_rd: Tensor, step: Step) -> Tensor:
        """Self-attention and windowed attention on the same input; shared projections are computed once."""
        if self.c.parameters == "own":
            return self_attention(i, block.attention, x_rd, step) + self._instead(slot, block, x_rd, step)
        attention = block.attention
        plain_q, plain_k, v = (
            attention.queries(x_rd, None),
            attention.keys(x_rd, None),
            attention.values(x_rd),
        )
        q, k = attention.rotated(plain_q, step.rope), attention.rotated(plain_k, step.rope)
        all_k, all_v = (k, v) if step.state is None else step.state.text.extend(i, k, v)
        text = (all_k, all_v) if self.one_text_cache else self._kept_text(slot, plain_k, v, step)
        beside = self._window(slot, block, attention, q if self.positions else plain_q, text, step)
        return attention.output(attend(q, all_k, all_v, step.causal, attention.scale) + beside)

    def _instead(self, slot: int, block: DecoderBlock, x_rd: Tensor, step: Step) -> Tensor:
        own = self.c.parameters == "own"
        attention = cast("Projections", self.cross[slot]) if own else block.attention
        rope = step.rope if self.positions else None
        text = None
        if self.c.keys == "image_text":
            text = self._kept_text(slot, attention.keys(x_rd, rope), attention.values(x_rd), step)
        q_rhd = attention.queries(x_rd, rope)
        return attention.output(self._window(slot, block, attention, q_rhd, text, step))

    def _kept_text(self, slot: int, k: Tensor, v: Tensor, step: Step) -> tuple[Tensor, Tensor] | None:
        if self.c.keys == "image":
            return None
        return (k, v) if step.state is None else step.state.extra[WINDOW_TEXT].extend(slot, k, v)

    def _window(
        self,
        slot: int,
        block: DecoderBlock,
        attention: Projections,
        q_rhd: Tensor,
        text: tuple[Tensor, Tensor] | None,
        step: Step,
    ) -> Tensor:
        """Attention [R, H, D] to images, text and pooled gists; updates carried images that attend."""
        y_md = step.carried["images"]
        z_md = block.normed(y_md)
        rope = step.image_rope if self.positions else None
        parts = [self._kept(IMAGES, slot, attention, z_md, rope, step)]
        if self.pool is not None:
            rope_p = step.ropes["pooled"] if self.positions else None
            p = block.normed(step.carried["pooled"])
            parts.append(self._kept(POOLED, slot, attention, p, rope_p, step))
        if text is not None:
            # The self-attention's cache holds more text than windows see: its tail.
            seen = step.patterns["window"].keys - sum(len(k) for k, _ in parts)
            parts.insert(1, (text[0][len(text[0]) - seen :], text[1][len(text[1]) - seen :]))
        k, v = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        if self.images_attend:
            o_mhd = attend(attention.queries(z_md, rope), k, v, step.patterns["image"], attention.scale)
            step.carried["images"] = y_md + attention.output(o_mhd)
        return attend(q_rhd, k, v, step.patterns["window"], attention.scale)

    @staticmethod
    def _kept(
        name: str, slot: int, attention: Projections, x: Tensor, rope: Rope | None, step: Step
    ) -> tuple[Tensor, Tensor]:
        """Keys and values of the chunk's images or pooled gists after those that the state keeps."""
        k, v = attention.keys(x, rope), attention.values(x)
        return (k, v) if step.state is None else step.state.extra[name].extend(slot, k, v)

    def finish(self, step: Step) -> None:
        drop_past_windows(step, IMAGES, WINDOW_TEXT, span=self.visible.span)
