"""Questions about real video: H.264 clips of handwritten digits that change, are talked about, and move."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from harness.errors import UsageError
from harness.media.clips import STYLES, Style, Truth, draw_clips
from harness.media.clipset import load_clips, load_truth
from harness.media.digits import digit_bank
from harness.media.oracles import Oracles, fit_oracles
from harness.media.questions import KINDS, choose, choose_by_quota, spoken, words
from harness.media.render import NOISE, render
from harness.media.resize import resize
from harness.media.samples import make_sample
from harness.media.sampling import CLIP_FPS, SAMPLER, check_frames, sample_frames
from harness.media.video import decode
from harness.registry import register_task
from harness.stream import Frame
from harness.task import Kind, Question, Sample, Score, Task, TaskConfig, View, exact_match

_STYLE_SHARES = (0.5, 0.25, 0.25)
_TRAINING_QUESTIONS = 9
_ORACLE_CLIPS = 400


@register_task("videoqa")
class VideoQA(Task):
    """See ``docs/design/data.md`` for what a clip shows and which questions are rejected."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config(TaskConfig):
        """``clips`` in the evaluation set; a view's ``limit`` takes the first of them."""

        clips: int = 256

        def __post_init__(self) -> None:
            if self.clips < 1:
                raise UsageError(f"clips={self.clips} leaves nothing to evaluate; give 1 or more")

    version: ClassVar[int] = 1
    summary: ClassVar[str] = (
        "questions about H.264 clips of handwritten digits: now, earlier, when, which way"
    )
    licence: ClassVar[str] = (
        "clips: MIT, as the harness; digits: CC BY 4.0 (UCI), shipped by scikit-learn (BSD-3)"
    )
    source: ClassVar[str] = "rendered from sklearn.datasets.load_digits, encoded and decoded with PyAV"
    kinds: ClassVar[Mapping[str, Kind]] = KINDS

    config: Config

    def check_view(self, view: View) -> None:
        """A clip cannot show more frames than it has."""
        check_frames(view.frames)

    def samples(self, view: View) -> Sequence[Sample]:
        """Decode the view's frames of every clip and ask about what they show."""
        self.check_view(view)
        count = self.config.clips if view.limit is None else min(view.limit, self.config.clips)
        if count < 1:
            raise UsageError(f"limit {view.limit} leaves no clip to evaluate; give 1 or more")
        oracles = _oracles(view.frames)
        return [_evaluation_sample(row, index, view, oracles) for index, row in enumerate(load_clips(count))]

    def training_samples(self, view: View, rng: np.random.Generator, count: int) -> Sequence[Sample]:
        """Fresh clips of train instances, drawn at the view's size without a codec, nine questions each."""
        check_frames(view.frames)
        styles = _draw_styles(rng, count)
        bank = digit_bank("train")
        clips = draw_clips(rng, bank, styles)
        indices = [sample_frames(rng, view.frames) for _ in styles]
        clip = np.repeat(np.arange(count), view.frames)
        noise = NOISE * rng.uniform(0.3, 1.6, size=count).astype(np.float32)[clip]
        shown = clips.frames(clip, np.array(indices, dtype=np.int64).reshape(-1))
        pixels = render(rng, shown, clips.backdrops, clip, view.height, view.width, bank, noise)
        samples = []
        for i, truth in enumerate(clips.truths):
            own = pixels[i * view.frames : (i + 1) * view.frames]
            frames = [Frame(image, at / CLIP_FPS) for image, at in zip(own, indices[i], strict=True)]
            drafts = choose(rng, truth, _seconds(indices[i]), _TRAINING_QUESTIONS)
            samples.append(make_sample(f"train-{i}", list(_items(truth, frames)), drafts))
        return samples

    def score(self, prediction: str, question: Question) -> Score:
        return exact_match(prediction, question)

    def vocabulary(self) -> frozenset[str]:
        return words()


def _draw_styles(rng: np.random.Generator, count: int) -> list[Style]:
    return [STYLES[i] for i in rng.choice(len(STYLES), size=count, p=_STYLE_SHARES).tolist()]


def _seconds(indices: Sequence[int]) -> list[int]:
    return sorted({index // CLIP_FPS for index in indices})


def _evaluation_sample(row: Mapping[str, object], index: int, view: View, oracles: Oracles) -> Sample:
    video, name = row["video"], str(row["clip"])
    assert isinstance(video, dict)
    truth = load_truth(str(row["truth"]))
    rng = np.random.default_rng([index, view.seed, view.frames])
    indices = sample_frames(rng, view.frames)
    shown = decode(video["bytes"], indices, name)
    frames = [Frame(resize(pixels, view.height, view.width), time) for pixels, time in shown]
    media = {
        "file": f"{name}.mp4",
        "sha256": row["sha256"],
        "style": truth.style,
        "sampler": SAMPLER,
        "sampler_seed": view.seed,
        "frames": indices,
        "seconds": [time for _, time in shown],
    }
    drafts = choose_by_quota(rng, truth, _seconds(indices))
    return make_sample(name, list(_items(truth, frames)), drafts, oracles, media)


def _items(truth: Truth, frames: Sequence[Frame]) -> Iterator[Frame | str]:
    """The frames, with a turn of text after each in a dialogue and no text at all elsewhere."""
    for frame in frames:
        yield frame
        if truth.turns:
            second = int(frame.time_s)
            yield spoken(truth.turns[second], second)


@lru_cache(maxsize=64)
def _oracles(frames: int) -> Oracles:
    """Tables fitted on fresh training questions at this number of frames."""
    rng = np.random.default_rng([1597, frames])
    truths = draw_clips(rng, digit_bank("train"), _draw_styles(rng, _ORACLE_CLIPS)).truths
    shown = [_seconds(sample_frames(rng, frames)) for _ in truths]
    return fit_oracles(
        draft
        for truth, seconds in zip(truths, shown, strict=True)
        for draft in choose(rng, truth, seconds, 9)
    )
