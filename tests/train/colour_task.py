"""A task for tests, as a plugin would bring it: which colour does the last frame have?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from harness.registry import register_task
from harness.stream import Frame, Stream
from harness.task import Kind, Question, Sample, Score, Task, View, exact_match

COLOURS = {"red": (220, 20, 20), "green": (20, 220, 20), "blue": (20, 20, 220), "yellow": (220, 220, 20)}


@register_task("colour")
class ColourTask(Task):
    version = 1
    summary = "the colour of the last frame, plain or among others"
    licence = "MIT"
    source = "generated"
    kinds: ClassVar[Mapping[str, Kind]] = {
        "last": Kind(description="the last frame's colour", needs="last_frame")
    }

    def samples(self, view: View) -> Sequence[Sample]:
        return self._draw(view, np.random.default_rng([7, view.seed]), view.limit or 24, "test")

    def training_samples(self, view: View, rng: np.random.Generator, count: int) -> Sequence[Sample]:
        return self._draw(view, rng, count, "train")

    def score(self, prediction: str, question: Question) -> Score:
        return exact_match(prediction, question)

    def vocabulary(self) -> frozenset[str]:
        return frozenset({*COLOURS, "now", "?"})

    def _draw(self, view: View, rng: np.random.Generator, count: int, split: str) -> list[Sample]:
        samples = []
        for number, own in enumerate(rng.spawn(count)):
            names = own.choice(list(COLOURS), size=view.frames)
            frames = []
            for second, name in enumerate(names):
                noise = own.normal(0, 12, (view.height, view.width, 3))
                pixels = np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)
                frames.append(Frame(pixels, float(second)))
            question = Question(
                id=f"{split}-{number}-last",
                kind="last",
                prompt="red now ?",
                answer=str(names[-1]),
                chance=0.25,
                choices=tuple(COLOURS),
                oracles={"blind": "red", "last_frame": str(names[-1])},
            )
            sample_id = f"{split}-{number}"
            samples.append(
                Sample(id=sample_id, stream=Stream.of(frames), questions=(question,), group=sample_id)
            )
        return samples
