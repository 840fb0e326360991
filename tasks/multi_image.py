"""Questions across several images, with text between them: real pictures and scenes of handwritten digits."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from PIL import Image

from harness.errors import UsageError
from harness.media.digits import digit_bank
from harness.media.imagepool import CROPS, SCENES, load_pool
from harness.media.imagesets import (
    KINDS,
    MAX_IMAGES,
    NUMBER_WORDS,
    ImageTruth,
    Layout,
    candidates,
    draw_layout,
    draw_plan,
    words,
)
from harness.media.oracles import Oracles, fit_oracles
from harness.media.pictures import PICTURES, crop
from harness.media.questions import Draft
from harness.media.render import NOISE, draw_backdrops, render
from harness.media.resize import resize
from harness.media.samples import make_sample
from harness.media.scenes import Scenes, draw_scenes
from harness.registry import register_task
from harness.stream import Frame, Pixels
from harness.task import Kind, Question, Sample, Score, Task, TaskConfig, View, exact_match

_ORDER: tuple[Layout, ...] = ("scenes", "pair", "odd")
_TRAINING_QUESTIONS = 8
_QUOTA = 2
_ORACLE_SETS = 600


@register_task("multi_image")
class MultiImage(Task):
    """A view's ``frames`` are the images of a set; image i stands at i seconds, in a window of its own."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Config(TaskConfig):
        """``sets`` of images in the evaluation; a view's ``limit`` takes the first of them."""

        sets: int = 384

        def __post_init__(self) -> None:
            if self.sets < 1:
                raise UsageError(f"sets={self.sets} leaves nothing to evaluate; give 1 or more")

    version: ClassVar[int] = 1
    summary: ClassVar[str] = "questions across images: which shows it, same or not, more digits, odd one out"
    licence: ClassVar[str] = "; ".join(
        ["digits: CC BY 4.0 (UCI)", *(f"{p.name}: {p.licence} ({p.credit})" for p in PICTURES)]
    )
    source: ClassVar[str] = (
        "pictures that ship in scikit-image and scikit-learn; sklearn.datasets.load_digits"
    )
    kinds: ClassVar[Mapping[str, Kind]] = KINDS

    config: Config

    def check_view(self, view: View) -> None:
        """A set cannot have more images than the pool."""
        _check(view.frames)

    def samples(self, view: View) -> Sequence[Sample]:
        """Draw sets of images from the pool of test images."""
        self.check_view(view)
        count = self.config.sets if view.limit is None else min(view.limit, self.config.sets)
        if count < 1:
            raise UsageError(f"limit {view.limit} leaves no set to evaluate; give 1 or more")
        truths, dataset = load_pool()
        oracles = _oracles(view.frames)
        files = dataset["image"]
        samples = []
        for index in range(count):
            rng = np.random.default_rng([index, view.seed, view.frames])
            turn, place = divmod(index, min(len(_ORDER), view.frames))
            plan = draw_plan(rng, view.frames, _ORDER[place], turn)
            rows = _pick(rng, plan.pictures)
            pixels = [_open(files[row]["bytes"], view) for row in rows]
            drafts = []
            for found in candidates(plan, [truths[row] for row in rows]).values():
                drafts += [found[i] for i in rng.permutation(len(found))[:_QUOTA].tolist()]
            media = {"files": [files[row]["path"] for row in rows], "sampler_seed": view.seed}
            samples.append(make_sample(f"set-{index:04d}", _items(pixels), drafts, oracles, media))
        return samples

    def training_samples(self, view: View, rng: np.random.Generator, count: int) -> Sequence[Sample]:
        """Fresh sets of train crops and train digits, drawn at the view's size."""
        _check(view.frames)
        plans = [draw_plan(rng, view.frames, draw_layout(rng, view.frames)) for _ in range(count)]
        slots = [picture for plan in plans for picture in plan.pictures]
        scenes = _draw(rng, sum(picture is None for picture in slots))
        drawn = iter(zip(_truths(scenes), _render(rng, scenes, view), strict=True))
        images: list[tuple[ImageTruth, Pixels]] = [
            next(drawn)
            if picture is None
            else (ImageTruth(picture), crop(rng, picture, view.height, view.width, "train"))
            for picture in slots
        ]
        samples = []
        for index, plan in enumerate(plans):
            shown = images[index * view.frames : (index + 1) * view.frames]
            found = candidates(plan, [truth for truth, _ in shown])
            drafts = _choose(rng, found, _TRAINING_QUESTIONS)
            samples.append(make_sample(f"train-{index}", _items([pixels for _, pixels in shown]), drafts))
        return samples

    def score(self, prediction: str, question: Question) -> Score:
        return exact_match(prediction, question)

    def vocabulary(self) -> frozenset[str]:
        return words()


def _check(images: int) -> None:
    if not 1 <= images <= MAX_IMAGES:
        raise UsageError(f"{images} images are asked of multi_image; ask for 1 to {MAX_IMAGES}")


def _pick(rng: np.random.Generator, pictures: Sequence[int | None]) -> list[int]:
    """Rows of the pool for a plan, none twice in a set."""
    crops = [rng.permutation(CROPS).tolist() for _ in PICTURES]
    scenes = rng.permutation(SCENES).tolist()
    first_scene = CROPS * len(PICTURES)
    return [first_scene + scenes.pop() if p is None else p * CROPS + crops[p].pop() for p in pictures]


def _open(data: bytes, view: View) -> Pixels:
    return resize(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), view.height, view.width)


def _draw(rng: np.random.Generator, count: int) -> Scenes:
    return draw_scenes(rng, digit_bank("train"), rng.random((count, 4)) < 0.75)


def _truths(scenes: Scenes) -> list[ImageTruth]:
    pairs = zip(scenes.digit.tolist(), scenes.colour.tolist(), strict=True)
    return [ImageTruth(None, tuple(digit), tuple(colour)) for digit, colour in pairs]


def _render(rng: np.random.Generator, scenes: Scenes, view: View) -> Pixels:
    count = len(scenes)
    noise = NOISE * rng.uniform(0.3, 1.6, size=count).astype(np.float32)
    backdrops = draw_backdrops(rng, count)
    bank = digit_bank("train")
    return render(rng, scenes, backdrops, np.arange(count), view.height, view.width, bank, noise)


def _choose(rng: np.random.Generator, found: dict[str, list[Draft]], count: int) -> list[Draft]:
    """Up to ``count`` different questions, kinds in turn and in random order."""
    lists = [[drafts[i] for i in rng.permutation(len(drafts)).tolist()] for drafts in found.values()]
    chosen: list[Draft] = []
    while lists and len(chosen) < count:
        for place in rng.permutation(len(lists)).tolist():
            chosen.append(lists[place].pop())
        lists = [drafts for drafts in lists if drafts]
    return chosen[:count]


def _items(pixels: Sequence[Pixels]) -> list[Frame | str]:
    items: list[Frame | str] = []
    for index, image in enumerate(pixels):
        items += [f"image {NUMBER_WORDS[index]} :", Frame(image, float(index))]
    return items


@lru_cache(maxsize=16)
def _oracles(images: int) -> Oracles:
    """Tables fitted on fresh training questions about this number of images."""
    rng = np.random.default_rng([1597, images])
    asked: list[Draft] = []
    plans = [draw_plan(rng, images, draw_layout(rng, images)) for _ in range(_ORACLE_SETS)]
    drawn = iter(_truths(_draw(rng, sum(p is None for plan in plans for p in plan.pictures))))
    for plan in plans:
        truths = [next(drawn) if picture is None else ImageTruth(picture) for picture in plan.pictures]
        asked += _choose(rng, candidates(plan, truths), _TRAINING_QUESTIONS)
    return fit_oracles(asked)
