"""A task of random pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.stream import Frame, Item, Pixels, Stream
from harness.task import Kind, Question, Sample, Score, Task, TaskConfig, View, exact_match

NAME = "pictures-for-tests"


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesConfig(TaskConfig):
    clips: int = 4
    questions: int = 2
    unreadable: int = 0
    path: str = ""


class Pictures(Task):
    """Random pixels; the first frame of all clips is the same one. ``drawn`` counts calls of ``samples``."""

    Config: ClassVar[type[TaskConfig]] = PicturesConfig
    version = 3
    summary = "random pictures"
    licence = "MIT"
    source = "drawn"
    kinds: ClassVar = {
        "now": Kind(description="about the last frame", needs="last_frame"),
        "then": Kind(description="about an earlier frame", needs="pixel_history"),
    }
    drawn: ClassVar[list[View]] = []

    def samples(self, view: View) -> Sequence[Sample]:
        self.drawn.append(view)
        config = self.config
        assert isinstance(config, PicturesConfig)
        rng = np.random.default_rng(view.seed)
        first = rng.integers(0, 256, (view.height, view.width, 3), dtype=np.uint8)
        clips = config.clips if view.limit is None else min(config.clips, view.limit)
        return [self._sample(index, config, first, view, rng) for index in range(clips)]

    def _sample(
        self, index: int, config: PicturesConfig, first: Pixels, view: View, rng: np.random.Generator
    ) -> Sample:
        if index < config.unreadable:
            return Sample(
                id=f"clip{index}",
                stream=Stream(()),
                questions=self._questions(config),
                group=f"clip{index}",
                media={"error": "the file ends too early"},
            )
        shape = (view.height, view.width, 3)
        items: list[Item | str] = []
        for time in range(view.frames):
            pixels = first if time == 0 else rng.integers(0, 256, shape, dtype=np.uint8)
            items += [f"frame {time}", Frame(pixels, float(time))]
        return Sample(
            id=f"clip{index}",
            stream=Stream.of(items),
            questions=self._questions(config),
            group=f"clip{index}",
            media={"frames": np.arange(view.frames), "seconds": (0.0, 1.5)},
        )

    def _questions(self, config: PicturesConfig) -> tuple[Question, ...]:
        return tuple(
            Question(
                id=f"q{number}",
                kind="now" if number % 2 == 0 else "then",
                prompt="what digit is red ?",
                answer="3",
                chance=0.25,
                oracles={"blind": "3" if number == 0 else "4"},
            )
            for number in range(config.questions)
        )

    def score(self, prediction: str, question: Question) -> Score:
        return exact_match(prediction, question)
