"""Sets of images, real pictures and digit scenes mixed, and questions across them.

With two images, the last one settles which of them shows a thing: such questions need three.

Layouts. ``scenes``: mostly digit scenes, every picture a different one. ``pair``: two of the images are
pictures, the same one or not with equal odds. ``odd``: all images show one picture except one image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from harness.media.digits import EMPTY
from harness.media.pictures import PICTURE_NAMES
from harness.media.questions import DIGIT_WORDS, NOTHING, Draft
from harness.media.scenes import CELLS, COLOURS
from harness.task import Kind

Layout = Literal["scenes", "pair", "odd"]
_ONE_TO_EIGHT = ("one", "two", "three", "four", "five", "six", "seven", "eight")
_NINE_ON = ("nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen")
NUMBER_WORDS: tuple[str, ...] = (*_ONE_TO_EIGHT, *_NINE_ON)
MAX_IMAGES = len(NUMBER_WORDS)
_SCENE_SHARE: dict[Layout, float] = {"scenes": 0.75, "pair": 0.5, "odd": 0.0}
_LEAST_DIFFERENCE = 2

KINDS: dict[str, Kind] = {
    "in_image": Kind(description="what one named image shows", needs="any"),
    "which_digit": Kind(
        description="the one image with a digit of a colour", needs="several_images", min_frames=3
    ),
    "which_picture": Kind(description="the one image of a picture", needs="several_images", min_frames=3),
    "same": Kind(
        description="whether two images show the same picture", needs="several_images", min_frames=2
    ),
    "compare_counts": Kind(
        description="which of two images before the last has more digits",
        needs="several_images",
        min_frames=3,
    ),
    "odd_one_out": Kind(
        description="the one image that shows another picture than the rest",
        needs="several_images",
        min_frames=3,
    ),
    "read_across": Kind(
        description="the digit in one image at the place of a colour in another",
        needs="several_images",
        min_frames=2,
    ),
}


@dataclass(frozen=True, slots=True)
class ImageTruth:
    """What one image shows: a picture (an index into PICTURES), or a scene's digits and colours by cell."""

    picture: int | None
    digit: tuple[int, ...] = ()
    colour: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        return sum(digit != EMPTY for digit in self.digit)


@dataclass(frozen=True, slots=True)
class Plan:
    """Pictures by slot (None is a scene), the layout, and its pair or its odd image."""

    layout: Layout
    pictures: tuple[int | None, ...]
    special: tuple[int, ...] = ()


def draw_layout(rng: np.random.Generator, images: int) -> Layout:
    """A layout that this number of images allows, each with equal odds."""
    layouts: tuple[Layout, ...] = ("scenes", "pair", "odd")
    return layouts[int(rng.integers(min(images, len(layouts))))]


def draw_plan(rng: np.random.Generator, images: int, layout: Layout, turn: int | None = None) -> Plan:
    """Decide which slots show which picture.

    The odd image, and whether a pair is the same, are drawn; ``turn`` = 0, 1, 2... makes them take turns
    instead, so that an evaluation's answers are balanced.
    """
    turn = int(rng.integers(2 * MAX_IMAGES * images)) if turn is None else turn
    fresh = rng.permutation(len(PICTURE_NAMES)).tolist()
    pictures: list[int | None] = [
        None if rng.random() < _SCENE_SHARE[layout] else fresh.pop() for _ in range(images)
    ]
    special: tuple[int, ...] = ()
    if layout == "odd":
        odd = turn % images
        common, other = rng.permutation(len(PICTURE_NAMES))[:2].tolist()
        pictures = [other if i == odd else common for i in range(images)]
        special = (odd,)
    elif layout == "pair":
        first, second = sorted(rng.permutation(images)[:2].tolist())
        taken = {p for i, p in enumerate(pictures) if i not in (first, second)}
        free = [p for p in rng.permutation(len(PICTURE_NAMES)).tolist() if p not in taken]
        pictures[first], pictures[second] = free[0], free[turn % 2]
        special = (first, second)
    return Plan(layout, tuple(pictures), special)


def candidates(plan: Plan, truths: Sequence[ImageTruth]) -> dict[str, list[Draft]]:
    """Every question about a set, by kind."""
    found: dict[str, list[Draft]] = {}
    for draft in _drafts(plan, truths):
        if len(truths) >= KINDS[draft.kind].min_frames:
            found.setdefault(draft.kind, []).append(draft)
    return found


def _drafts(plan: Plan, truths: Sequence[ImageTruth]) -> Iterator[Draft]:
    last = len(truths) - 1
    numbers = NUMBER_WORDS[: len(truths)]
    for image, truth in enumerate(truths):
        yield from _in_image(image, truth, image == last)
    yield from _which(truths, numbers)
    scenes = [i for i, truth in enumerate(truths) if truth.picture is None]
    for a, b in combinations(scenes, 2):
        if b != last:
            yield from _compare(a, b, truths)
        yield from _read_across(a, b, truths)
        yield from _read_across(b, a, truths)
    if plan.layout == "pair":
        a, b = plan.special
        answer = "yes" if plan.pictures[a] == plan.pictures[b] else "no"
        prompt = f"do image {numbers[a]} and image {numbers[b]} show the same picture ?"
        yield Draft("same", prompt, answer, NOTHING, ("yes", "no"), 2)
    if plan.layout == "odd":
        prompt = "which image is the odd one out ?"
        yield Draft("odd_one_out", prompt, numbers[plan.special[0]], NOTHING, numbers, len(numbers))


def _in_image(image: int, truth: ImageTruth, is_last: bool) -> Iterator[Draft]:
    number = NUMBER_WORDS[image]
    if truth.picture is not None:
        answer = PICTURE_NAMES[truth.picture]
        last = answer if is_last else NOTHING
        prompt = f"what does image {number} show ?"
        yield Draft("in_image", prompt, answer, last, PICTURE_NAMES, len(PICTURE_NAMES))
        return
    for cell, colour in enumerate(truth.colour):
        if colour:
            answer = DIGIT_WORDS[truth.digit[cell]]
            prompt = f"what digit is {COLOURS[colour]} in image {number} ?"
            yield Draft("in_image", prompt, answer, answer if is_last else NOTHING, DIGIT_WORDS, 10)


def _which(truths: Sequence[ImageTruth], numbers: tuple[str, ...]) -> Iterator[Draft]:
    """Images told apart by what only one of them shows."""
    shown: dict[tuple[str, str], list[int]] = {}
    for image, truth in enumerate(truths):
        if truth.picture is not None:
            what = ("which_picture", f"the {PICTURE_NAMES[truth.picture]}")
            shown.setdefault(what, []).append(image)
        for cell, colour in enumerate(truth.colour):
            if colour:
                what = ("which_digit", f"a {COLOURS[colour]} {truth.digit[cell]}")
                shown.setdefault(what, []).append(image)
    for (kind, thing), images in shown.items():
        if len(images) == 1:
            answer = numbers[images[0]]
            last = answer if images[0] == len(truths) - 1 else NOTHING
            yield Draft(kind, f"which image shows {thing} ?", answer, last, numbers, len(numbers))


def _compare(a: int, b: int, truths: Sequence[ImageTruth]) -> Iterator[Draft]:
    """Never with the last image: its own count would often settle it."""
    more = truths[a].count - truths[b].count
    if abs(more) < _LEAST_DIFFERENCE:
        return
    words = NUMBER_WORDS[a], NUMBER_WORDS[b]
    prompt = f"which has more digits image {words[0]} or image {words[1]} ?"
    yield Draft("compare_counts", prompt, words[0] if more > 0 else words[1], NOTHING, words, 2)


def _read_across(a: int, b: int, truths: Sequence[ImageTruth]) -> Iterator[Draft]:
    for cell in range(len(CELLS)):
        colour, digit = truths[a].colour[cell], truths[b].digit[cell]
        if colour and digit != EMPTY:
            first, second = NUMBER_WORDS[a], NUMBER_WORDS[b]
            prompt = f"what digit in image {second} is at the place of {COLOURS[colour]} in image {first} ?"
            yield Draft("read_across", prompt, DIGIT_WORDS[digit], NOTHING, DIGIT_WORDS, 10)


def words() -> frozenset[str]:
    """Every word of every prompt, answer and caption."""
    fixed = (
        "image : ? what does show digit is in which shows the a has more digits or at place of do and same "
        "picture odd one out yes no"
    )
    return frozenset([*fixed.split(), *PICTURE_NAMES, *COLOURS[1:], *DIGIT_WORDS, *NUMBER_WORDS])
