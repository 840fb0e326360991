"""Attention of text to all past images in chosen blocks, alone or in one softmax with the text.

Shapes: R rows, S image keys (cached ones first, then the chunk's), K key/value heads, D head width, d model
width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from harness.attention import attend
from harness.backbones.decoder import Decoder
from harness.declared import Chunk
from harness.errors import UsageError
from harness.fusion import IMAGES, Step, cached_keys, describe_images, image_keys
from harness.layout import Kind, Rows
from harness.windows import Keys, Visible, WindowKeys, window_blocks

JOINT = "joint"
"""Name of the pattern over all past images, then the text."""


def check_layers(method: str, layers: Sequence[int]) -> None:
    """Raise a UsageError unless ``layers`` are the numbers of some blocks in rising order."""
    if not layers or any(i < 0 for i in layers) or list(layers) != sorted(set(layers)):
        raise UsageError(
            f"{method} layers={'/'.join(map(str, layers))} is not usable; give the numbers of one or more "
            "blocks, from 0 on, in rising order and each once"
        )


def block_slots(method: str, layers: Sequence[int], decoder: Decoder) -> dict[int, int]:
    """The chosen blocks' numbers and their places among them; raises UsageError for a block that is not
    there."""
    count = len(decoder.blocks)
    if layers[-1] >= count:
        raise UsageError(
            f"{method} layers={'/'.join(map(str, layers))} is not usable: the backbone has {count} blocks; "
            f"give numbers from 0 to {count - 1}"
        )
    return {i: n for n, i in enumerate(layers)}


def see_past_images(step: Step) -> None:
    """Announce the chunk's images, and let every row see all images of its sample so far."""
    describe_images(step)
    keys = Keys(image_keys(step))
    blocks = window_blocks(_all_as_text(step.layout.rows), keys, Visible(span=None))
    step.patterns[IMAGES] = step.pattern(blocks, len(keys))


def see_past_jointly(step: Step) -> None:
    """Announce the chunk's images, and let every row see all images and all text of its sample so far."""
    describe_images(step)
    rows = _all_as_text(step.layout.rows)
    if step.state is None:
        text = WindowKeys(rows.sample, rows.window, rows.frame, rows.branch)
    else:
        text = cached_keys(step.state.text)
    keys = Keys(image_keys(step), text)
    step.patterns[JOINT] = step.pattern(window_blocks(rows, keys, Visible(span=None)), len(keys))


def joint_attention(layer: int, x_rd: Tensor, k_skd: Tensor, v_skd: Tensor, step: Step) -> Tensor:
    """A block's self-attention with image keys and values in the same softmax: [R, d] → [R, d].

    Runs under the pattern of :func:`see_past_jointly`; the text's keys and values are cached.
    """
    attention = step.decoder.block(layer).attention
    q, k, v = (
        attention.queries(x_rd, step.rope),
        attention.keys(x_rd, step.rope),
        attention.values(x_rd),
    )
    if step.state is not None:
        k, v = step.state.text.extend(layer, k, v)
    k, v = torch.cat((k_skd, k)), torch.cat((v_skd, v))
    return attention.output(attend(q, k, v, step.patterns[JOINT], attention.scale))


def joint_pairs(chunk: Chunk, per_frame: int = 0) -> int:
    """Pairs of a block whose rows see all images and all rows so far; frames have ``per_frame`` rows in the
    text. By arithmetic alone."""
    now, pairs = chunk.now, 0
    for segment in chunk.segments():
        frames = segment.window + 1
        keys = frames * (now.tokens + per_frame) + now.text_before(segment.window + 1)
        pairs += (segment.text + segment.arrives * per_frame) * keys
    return pairs


def image_pairs(chunk: Chunk, per_frame: int = 0) -> int:
    """Pairs of rows with all images so far."""
    return sum(
        (segment.text + segment.arrives * per_frame) * (segment.window + 1) * chunk.now.tokens
        for segment in chunk.segments()
    )


def _all_as_text(rows: Rows) -> Rows:
    """Tokens that stand for an image in the text see what text at their place sees."""
    return replace(rows, kind=np.full_like(rows.kind, int(Kind.TEXT)))
