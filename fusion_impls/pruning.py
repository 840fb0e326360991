"""Pruning (FastV): token insertion whose least attended image tokens leave the model after an early layer.

Paper: An Image is Worth 1/2 Tokens After Layer 2 (FastV), arXiv 2403.06764: after layer K image tokens are
ranked by the attention that they receive, and the share R with the lowest rank is dropped from all later
layers; K = 2 and R = 50 % there. As in its released code (pkunlp-icler/FastV) the first K layers compute all
rows, the attention map is that of the last of them, averaged over heads, of one querying row; of n tokens
``round(n (1 - R))`` are kept, in their order and at their own positions. The paper's text averages over all
querying rows instead.

Shapes: R rows, C rows that are kept, F querying rows, n image rows that one of them ranks, S keys, H heads, K
key/value heads, D head width, d model width. A session keeps keys and values of all rows in the layers before
the cut and of the kept rows in the others. The hidden states that ``run`` returns are, for a dropped row,
those at the cut.

Deviations: the paper prunes one prompt with its image and lets its last token rank (``ranked_by="prompt"``);
what is kept of an image then depends on text after it, and on which rows come in one chunk. By default a
frame is ranked when it arrives, by the attention of its own last row, so that what is kept depends on the
past only. The paper prunes a trained model at inference; here training prunes as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from harness.attention import attend, to_device
from harness.backbones.decoder import Decoder, DecoderBlock
from harness.declared import Chunk, Kept, Seen, Sizes, Work
from harness.errors import UsageError
from harness.fusion import FusionConfig, FusionMethod, MemoryOrder, Step, kept
from harness.layout import Cursor, Layout, PackedSample, Rows, causal_blocks, lay_out
from harness.parts.ranking import most_attended, rankings
from harness.registry import register_method
from harness.state import FusionState, KeyValues

KEPT = "kept_kv"
"""Name of the later layers' state buffer, and of the kept rows' numbers [C], pattern and rotary positions."""
AT_CUT = "at_cut"
"""Name of the hidden states [R, d] that enter the later layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PruningConfig(FusionConfig):
    """``layer``: how many blocks compute all rows, the paper's K = 2.

    ``ratio``: share of image tokens that is dropped after them, the paper's R = 0.5. ``ranked_by``:
    ``frame``, each frame's tokens by its own last row; ``prompt``, the paper's, all image tokens of a chunk
    together by the last row of its prefix. ``positions``: as in token_insertion.
    """

    layer: int = 2
    ratio: float = 0.5
    ranked_by: Literal["frame", "prompt"] = "frame"
    positions: Literal["one_per_frame", "one_per_token"] = "one_per_frame"

    def __post_init__(self) -> None:
        if self.layer < 1:
            raise UsageError(f"pruning layer={self.layer} leaves no attention to rank by; give 1 or more")
        if not 0.0 <= self.ratio < 1.0:
            raise UsageError(f"pruning ratio={self.ratio} is not a share of tokens; give 0 or more, below 1")

    def kept(self, tokens: int) -> int:
        """How many of ``tokens`` image tokens that are ranked together are kept, at least one."""
        return max(1, round(tokens * (1 - self.ratio)))


@register_method("pruning")
class Pruning(FusionMethod):
    summary = "token insertion that drops the least attended image tokens after an early layer (FastV)"
    paper = "arXiv 2403.06764"
    memory = MemoryOrder(prefill_frames=1, prefill_pixels=1, streaming_frames=1, streaming_pixels=1)
    Config = PruningConfig

    def __init__(self, config: PruningConfig, decoder: Decoder) -> None:
        super().__init__(config, decoder)
        if config.layer >= self.layers:
            raise UsageError(
                f"pruning layer={config.layer} leaves no later block of {self.layers} to save in; "
                f"give 1 to {self.layers - 1}"
            )
        self.cut, self.positions, self.tokens_kept = config.layer, config.positions, config.kept
        self.prompt_dependent = config.ranked_by == "prompt"

    def lay_out(self, samples: Sequence[PackedSample], cursors: Sequence[Cursor], width: int) -> Layout:
        return lay_out(samples, cursors, width=width, positions=self.positions, inline=True)

    def new_state(self) -> FusionState:
        return FusionState(KeyValues(self.cut), extra={KEPT: KeyValues(self.layers - self.cut)})

    def keeps(self, seen: Seen, sizes: Sizes) -> Kept:
        """All rows in the layers before the cut, text and the kept image tokens after it."""
        first, later = self.cut * sizes.kv, (sizes.layers - self.cut) * sizes.kv
        image = first * seen.images + later * self._left(seen)
        return Kept(text=(first + later) * seen.text, image=image)

    def computes(self, chunk: Chunk, sizes: Sizes) -> Work:
        """Token insertion of all rows, then of the kept ones; a ranking is one row's scores of all keys."""
        now, past, later = chunk.now, chunk.past, sizes.layers - self.cut
        rows, keys, images = chunk.rows(now.tokens), now.rows(now.tokens), self._left_of(chunk.frames, now)
        left, rankings = chunk.text + images, chunk.frames
        if self.prompt_dependent:
            rankings = min(1, rankings)
        pairs = self.cut * rows * keys + later * left * (left + past.text + self._left(past))
        return Work(
            linear=((rows, self.cut * sizes.block), (left, later * sizes.block)),
            attention=((pairs, sizes.heads_width),),
            other=rankings * keys * sizes.heads_width if images < chunk.images else 0,
        )

    def _left(self, seen: Seen) -> int:
        return self._left_of(seen.frames - seen.apart, seen) + self._left_of(seen.apart, seen)

    def _left_of(self, frames: int, seen: Seen) -> int:
        """Image tokens kept of so many frames that came together; the prompt ranks all of them as one."""
        if not frames:
            return 0
        if self.prompt_dependent:
            return self.tokens_kept(frames * seen.tokens)
        return frames * self.tokens_kept(seen.tokens)

    def layer(self, i: int, block: DecoderBlock, h_rd: Tensor, step: Step) -> Tensor:
        if i < self.cut - 1:
            return super().layer(i, block, h_rd, step)
        if i == self.cut - 1:
            return self._ranking_layer(i, block, h_rd, step)
        if i == self.cut:
            step.carried[AT_CUT] = h_rd
            h_rd = h_rd.index_select(0, step.carried[KEPT])
        h_cd = self._pruned_layer(i, block, h_rd, step)
        return h_cd if i < self.layers - 1 else step.carried[AT_CUT].index_copy(0, step.carried[KEPT], h_cd)

    def _ranking_layer(self, i: int, block: DecoderBlock, h_rd: Tensor, step: Step) -> Tensor:
        """The last block that computes all rows; its attention says which are kept."""
        attention, x_rd = block.attention, block.normed(h_rd)
        q, k, v = attention.queries(x_rd, step.rope), attention.keys(x_rd, step.rope), attention.values(x_rd)
        if step.state is not None:
            k, v = step.state.text.extend(i, k, v)
        self._choose(step, q.detach(), k.detach(), attention.scale)
        return block.ffn(h_rd + attention.output(attend(q, k, v, step.causal, attention.scale)))

    def _pruned_layer(self, i: int, block: DecoderBlock, h_cd: Tensor, step: Step) -> Tensor:
        attention, x_cd, rope = block.attention, block.normed(h_cd), step.ropes[KEPT]
        k, v = kept(step, KEPT, i - self.cut, attention.keys(x_cd, rope), attention.values(x_cd))
        o = attend(attention.queries(x_cd, rope), k, v, step.patterns[KEPT], attention.scale)
        return block.ffn(h_cd + attention.output(o))

    def _choose(self, step: Step, q_rhd: Tensor, k_skd: Tensor, scale: float) -> None:
        """Choose the kept rows, and note how later layers attend among them.

        How many image rows are kept follows from counts, which ones is known on the device only. So the first
        rows of every ranking stand in for the chosen ones: sample and branch are the same, and within a frame
        so are kind, window and frame.
        """
        rows = step.layout.rows
        stand_in, ranked, chosen = np.ones(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool), []
        for ranking in rankings(rows, together=self.prompt_dependent):
            count = self.tokens_kept(ranking.rows.shape[1])
            if count == ranking.rows.shape[1]:
                continue
            ranked[ranking.rows] = True
            stand_in[ranking.rows[:, count:]] = False
            chosen += most_attended(ranking, count, q_rhd, k_skd, step.cached, scale)
        others = to_device(np.flatnonzero(~ranked), step.device)
        index = torch.cat((others, *chosen)).sort().values
        step.carried[KEPT] = index
        cos, sin = step.rope
        step.ropes[KEPT] = cos.index_select(0, index), sin.index_select(0, index)
        self._announce(step, Rows(*(getattr(rows, f.name)[stand_in] for f in dataclasses.fields(Rows))))

    def _announce(self, step: Step, rows: Rows) -> None:
        """Tell the later layers' buffer of the kept rows, and make the pattern of those layers."""
        cached = 0
        if step.state is not None:
            buffer = step.state.extra[KEPT]
            cached = len(buffer)
            buffer.describe(rows.kind, rows.window, rows.frame)
        step.patterns[KEPT] = step.pattern(causal_blocks(rows, cached), cached + len(rows), len(rows))
