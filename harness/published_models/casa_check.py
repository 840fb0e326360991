"""Whether a CASA checkpoint computes as a stream, here and now, what its own forward pass computes at once.

The adapter cannot know the code that a repository brings at some commit, so each loaded model is tried on a
small frame before anything is measured. A few small passes; nothing of them stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from harness.published_models.family import Chunk, Placed
from harness.published_models.own_code import other_commit
from harness.published_models.state import KvState
from harness.stream import Pixels

if TYPE_CHECKING:
    from harness.published_models.casa import Casa

_CLOSE = {torch.float64: 1e-5, torch.float32: 1e-3}
_CLOSE_IN_HALF = 0.05
"""Largest difference of logits that counts as rounding, relative to the largest logit."""
_TEXT, _QUESTION = "red", "which colour is it"


@torch.inference_mode()
def check_streaming(family: Casa, side: int) -> None:
    """Raise UsageError for a difference, for sessions that disturb each other, or for a frame without effect.

    ``side`` is the frames' height and width in pixels.
    """
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(2))
    expected = _at_once(family, first)
    one, other = family.new_state(), family.new_state()
    _watch(family, one, first)
    forked = one.fork()
    seen_other = _ask(family, _watch(family, other, second))
    seen, seen_by_fork = _ask(family, one), _ask(family, forked)
    _compare(seen, expected, "a session gives, item by item, other logits than one pass")
    _compare(seen_by_fork, expected, "a forked session gives other logits than one pass")
    if torch.equal(seen_other, seen):
        raise other_commit("a frame has no effect on the logits after it")


def _at_once(family: Casa, frame: Pixels) -> Tensor:
    turn = family.turn
    before, after = turn.image("", "text")
    head = torch.cat((turn.text(_TEXT, "start"), before))
    ids = torch.cat((head, after, turn.text(_QUESTION, "image"), turn.tail()))
    return family.whole(ids, family.prepared([frame]), [len(head)])[-1]


def _watch(family: Casa, state: KvState, frame: Pixels) -> KvState:
    features = family.encode([frame])[0]
    before, after = family.turn.image("", "text")
    family.run(Chunk(family.turn.text(_TEXT, "start"), ()), state)
    size = (frame.shape[0], frame.shape[1])
    family.run(Chunk(torch.cat((before, after)), (Placed(len(before), 0, features, size),)), state)
    return state


def _ask(family: Casa, state: KvState) -> Tensor:
    question = torch.cat((family.turn.text(_QUESTION, "image"), family.turn.tail()))
    return family.run(Chunk(question, ()), state)[-1]


def _compare(found: Tensor, expected: Tensor, what: str) -> None:
    limit = _CLOSE.get(expected.dtype, _CLOSE_IN_HALF)
    largest = float(expected.abs().max())
    difference = float((found - expected).abs().max())
    if not difference <= limit * largest:
        raise other_commit(f"{what} (by {difference:.3g}, where the largest is {largest:.3g})")
