"""Frames of noise, any number of them: for sizes that no clip has. Nothing can be answered from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from harness.stream import Frame, Stream
from harness.task import Kind, Question, Sample, Score, Task, View


class SyntheticFrames(Task):
    """One stream of noise, a frame a second and no text between them, and one question."""

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "uniform noise"
    licence: ClassVar[str] = "MIT"
    source: ClassVar[str] = "drawn from a seed"
    kinds: ClassVar[Mapping[str, Kind]] = {}

    def samples(self, view: View) -> Sequence[Sample]:
        """The one stream of a view; uint8 pixels [F, H, W, 3] follow from its seed."""
        rng = np.random.default_rng(view.seed)
        pixels_fhwc = rng.integers(256, size=(view.frames, view.height, view.width, 3), dtype=np.uint8)
        items = tuple(Frame(pixels, float(second)) for second, pixels in enumerate(pixels_fhwc))
        question = Question(
            id="0", kind="any", prompt="what digit is at topleft now ?", answer="0", chance=None
        )
        return [Sample(id="noise", stream=Stream(items), questions=(question,), group="noise")]

    def score(self, prediction: str, question: Question) -> Score:
        return Score(status="error")
