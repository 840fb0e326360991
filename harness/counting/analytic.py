"""What a phase should take by arithmetic: from the method's declaration and the model's config alone.

The counter sees what the code does; this says what the method's equations ask for. They share no code, so a
cache that keeps too much, or a declaration that promises too little, shows as a difference.

- ``kv_bytes``: what the session keeps at the end; exact.
- ``flops``: matrix products and attention, 2 per multiply-add, a causal mask not discounted; after a training
  step 3 times the forward pass. Kernels that skip what the mask hides do less; positions and norms are left
  out.
- ``bytes_moved``: the least that any execution moves: the weights that some row meets read once, what is kept
  of keys and values read or written once, features, embeddings and logits. A training step reads the weights
  twice and writes their gradients. How often eager execution moves more is counted / analytic, at least 1.

As in the counter, vision encoding is left out, and of a streamed turn there are the frame's arrival and one
token.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from harness.connector import TIME_FEATURES
from harness.counting.records import Cost, CountKey
from harness.declared import Chunk, Seen, Sizes, Work
from harness.vlm import FusedModel

TOLERANCE = 0.02
"""Share by which counted bytes of keys and values may differ from the declared ones."""
BACKWARD = 3
"""Forward passes that a training step is worth: each product has two in the backward pass."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What a scenario counts: chunks of a stream, frames that pass the connector, rows that pass the head."""

    chunks: tuple[Chunk, ...]
    frames: int
    logits: int

    @property
    def end(self) -> Seen:
        return self.chunks[-1].now


def expected(key: CountKey, model: FusedModel) -> Cost | None:
    """The analytic cost of a scenario; None where the method declares none."""
    sizes, phase = Sizes.of(model.decoder), phase_of(key, model.encoder.tokens(key.height, key.width))
    kept = model.fusion.keeps(phase.end, sizes)
    if kept is None:
        return None
    training, itemsize = key.mode == "train", getattr(torch, key.dtype).itemsize
    kv_bytes = 0 if training else itemsize * kept.total
    works = [model.fusion.computes(chunk, sizes) for chunk in phase.chunks]
    declared = [work for work in works if work is not None]
    if len(declared) < len(works):
        return Cost(kv_bytes=kv_bytes, flops=None, bytes_moved=None)
    beside, passes = _beside(model, phase, sizes), BACKWARD if training else 1
    flops = beside.flops + sum(work.flops for work in declared)
    weights = beside.weights + (
        # A training step's chunks, prefix and branch, are one pass, which the longer one reads for both.
        max(work.weights for work in declared) if training else sum(work.weights for work in declared)
    )
    moved = model.encoder.width * phase.frames * phase.end.tokens + _vocabulary(model) * phase.logits
    for chunk, work in zip(phase.chunks, declared, strict=True):
        # After a chunk that attends, whatever is kept was written by it or read.
        after = model.fusion.keeps(chunk.now, sizes) if work.attends else None
        moved += chunk.text * sizes.width + (0 if after is None else after.total)
    return Cost(kv_bytes=kv_bytes, flops=passes * flops, bytes_moved=itemsize * (passes * weights + moved))


def phase_of(key: CountKey, tokens: int) -> Phase:
    """The chunks of a scenario whose frames have so many tokens (:mod:`harness.counting.scenario`)."""
    turn, frames = key.text_per_frame, key.frames
    begun = Seen(before=1)
    shown = Seen(frames=frames, tokens=tokens, before=1, between=turn, after=turn)
    asked = replace(shown, after=turn + key.text)
    if key.mode == "prefill":
        return Phase((Chunk(Seen(), begun), Chunk(begun, asked)), frames, 1)
    if key.mode == "decode":
        return Phase((Chunk(asked, replace(asked, after=asked.after + 1)),), 0, 1)
    if key.mode == "train":
        return Phase((Chunk(Seen(), shown), Chunk(shown, asked)), frames, key.text)
    streamed = replace(shown, before=1 + key.text, apart=1)
    arrived = replace(streamed, after=0)
    past = replace(streamed, frames=frames - 1, after=turn if frames > 1 else 0, apart=0)
    if not turn:
        return Phase((Chunk(past, arrived),), 1, 0)
    nearly = replace(streamed, after=turn - 1)
    return Phase((Chunk(past, arrived), Chunk(nearly, streamed)), 1, 1)


def _beside(model: FusedModel, phase: Phase, sizes: Sizes) -> Work:
    """The connector on the phase's frames and their times, and the head."""
    tokens = phase.frames * phase.end.tokens
    return Work(
        linear=(
            (tokens, model.encoder.width * sizes.width),
            (phase.frames, TIME_FEATURES * sizes.width),
            (phase.logits, _vocabulary(model) * sizes.width),
        )
    )


def _vocabulary(model: FusedModel) -> int:
    return model.decoder.head.out_features
