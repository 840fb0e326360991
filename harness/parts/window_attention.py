"""The keys and values of windowed attention: images, text, pooled gists.

Shapes: S keys, K key/value heads, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.backbones.decoder import Projections
from harness.fusion import IMAGES, Step, cached_keys, kept
from harness.parts.pooling import POOLED
from harness.windows import Visible, WindowKeys

WINDOW_TEXT = "window_text_kv"
"""Name of the state buffer of the windows' text, where it is kept apart."""

KeyValue = tuple[Tensor, Tensor]
"""Keys and values, [S, K, D] each."""


def window_keys(
    step: Step, layer: int, slot: int, attention: Projections, text: KeyValue | None, rotate: bool
) -> KeyValue:
    """The keys and values that a pattern of :func:`harness.windows.window_blocks` numbers.

    Images and pooled gists are those that the step carries, under the norm of block ``layer``; those of the
    chunk are appended at ``slot`` of the state's buffers. ``text`` may hold more than the windows see; its
    tail is taken.
    """
    parts = []
    for name in (IMAGES, POOLED):
        if name in step.carried:
            rope = (step.image_rope if name == IMAGES else step.ropes[name]) if rotate else None
            z = step.decoder.block(layer).normed(step.carried[name])
            parts.append(kept(step, name, slot, attention.keys(z, rope), attention.values(z)))
    if text is not None:
        first = len(text[0]) + sum(len(k) for k, _ in parts) - step.patterns["window"].keys
        parts.insert(1, (text[0][first:], text[1][first:]))
    keys, values = zip(*parts, strict=True)
    return (torch.cat(keys), torch.cat(values)) if len(parts) > 1 else parts[0]


def text_keys(step: Step, visible: Visible, one_cache: bool) -> WindowKeys:
    """Attributes of the text keys that rows may see: those of the self-attention's own cache from the first
    visible window on, or of a buffer of their own, to which the chunk's are announced."""
    rows, state = step.layout.rows, step.state
    if state is None:
        return WindowKeys(rows.sample, rows.window, rows.frame, rows.branch)
    if one_cache:
        return cached_keys(state.text, visible.first_row(state.text.columns["window"], step.layout))
    state.extra[WINDOW_TEXT].describe(rows.kind, rows.window, rows.frame)
    return cached_keys(state.extra[WINDOW_TEXT])
