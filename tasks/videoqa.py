"""Questions about real video: H.264 clips of handwritten digits that change, are talked about, and move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness.media.clips import STYLES, Style, Truth, draw_clips
from harness.media.digits import digit_bank
from harness.media.questions import KINDS, Draft, choose, spoken, words
from harness.media.render import NOISE, render
from harness.media.sampling import CLIP_FPS, check_frames, sample_frames
from harness.registry import register_task
from harness.stream import Frame, Pixels, Stream
from harness.task import Kind, Question, Sample, Score, Task, TaskConfig, View, exact_match

_STYLE_SHARES = (0.5, 0.25, 0.25)
_QUESTIONS = 9


@register_task("videoqa")
class VideoQA(Task):
    """See ``docs/design/data.md`` for what a clip shows and which questions are rejected."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config(TaskConfig):
        """``clips`` in the evaluation set; a view's ``limit`` takes the first of them."""

        clips: int = 256

    version: ClassVar[int] = 1
    summary: ClassVar[str] = (
        "questions about H.264 clips of handwritten digits: now, earlier, when, which way"
    )
    licence: ClassVar[str] = (
        "clips: MIT, as the harness; digits: CC BY 4.0 (UCI), shipped by scikit-learn (BSD-3)"
    )
    source: ClassVar[str] = "rendered from sklearn.datasets.load_digits, encoded and decoded with PyAV"
    kinds: ClassVar[Mapping[str, Kind]] = KINDS

    def samples(self, view: View) -> Sequence[Sample]:
        raise NotImplementedError

    def training_samples(self, view: View, rng: np.random.Generator, count: int) -> Sequence[Sample]:
        """Fresh clips of train instances, drawn at the view's size without a codec, nine questions each."""
        check_frames(view.frames)
        styles: list[Style] = ["changing"] * count
        if view.frames > 1:
            styles = [STYLES[i] for i in rng.choice(len(STYLES), size=count, p=_STYLE_SHARES).tolist()]
        bank = digit_bank("train")
        clips = draw_clips(rng, bank, styles)
        indices = [sample_frames(rng, view.frames) for _ in styles]
        clip = np.repeat(np.arange(count), view.frames)
        frame = np.array(indices).reshape(-1)
        noise = NOISE * rng.uniform(0.3, 1.3, size=count).astype(np.float32)[clip]
        shown = clips.frames(clip, frame)
        pixels = render(rng, shown, clips.backdrops, clip, view.height, view.width, bank, noise)
        return [
            _sample(rng, f"train-{i}", clips.truths[i], indices[i], pixels[i * view.frames :], _QUESTIONS)
            for i in range(count)
        ]

    def score(self, prediction: str, question: Question) -> Score:
        return exact_match(prediction, question)

    def vocabulary(self) -> frozenset[str]:
        return words()


def _sample(
    rng: np.random.Generator, name: str, truth: Truth, indices: list[int], pixels: Pixels, count: int
) -> Sample:
    items: list[Frame | str] = []
    for index, image in zip(indices, pixels, strict=False):
        items.append(Frame(image, index / CLIP_FPS))
        if truth.turns:
            second = index // CLIP_FPS
            items.append(spoken(truth.turns[second], second))
    seconds = sorted({index // CLIP_FPS for index in indices})
    drafts = choose(rng, truth, seconds, count)
    return Sample(
        id=name,
        stream=Stream.of(items),
        questions=tuple(_question(f"{name}-{i}", draft) for i, draft in enumerate(drafts)),
        group=name,
    )


def _question(name: str, draft: Draft) -> Question:
    return Question(
        id=name,
        kind=draft.kind,
        prompt=draft.prompt,
        answer=draft.answer,
        chance=1 / draft.options,
        choices=draft.choices,
    )
