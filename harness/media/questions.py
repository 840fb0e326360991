"""Questions about a clip, made after its frames were drawn, so that the frames shown answer each of them.

A draft carries the answer which the last frame would give to the same question. :func:`admit` rejects a
history question whose answer leaks: the last frame gives it, or the number of frames fixes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.media.clips import LAST_SECOND, Style, Truth, Turn
from harness.media.digits import EMPTY
from harness.media.motion import DIRECTIONS, STARTS
from harness.media.scenes import CELLS, COLOURS
from harness.task import Kind

DIGIT_WORDS = tuple(str(digit) for digit in range(10))
SECOND_WORDS = tuple(f"{second:02d}" for second in range(LAST_SECOND + 1))
START_WORDS = tuple(CELLS[cell] for cell in STARTS)
NOTHING = "none"
LATEST_START = 9
"""Motion is asked where a shown second is at most this: the digit is still half a cell from the middle."""

KINDS: dict[str, Kind] = {
    "now": Kind(description="what is where in the last frame", needs="last_frame"),
    "right_of": Kind(description="the digit right of a coloured one in the last frame", needs="fine_detail"),
    "past": Kind(
        description="the digit of a colour at an earlier second", needs="pixel_history", min_frames=2
    ),
    "past_position": Kind(
        description="the digit in a cell at an earlier second, distractors included",
        needs="pixel_history",
        min_frames=2,
    ),
    "last_seen": Kind(
        description="the last digit of a colour that the last frame does not show",
        needs="pixel_history",
        min_frames=2,
    ),
    "when": Kind(
        description="the one earlier second at which a colour was a digit",
        needs="pixel_history",
        min_frames=4,
    ),
    "motion": Kind(
        description="which way a digit moved that ends in the middle", needs="pixel_history", min_frames=2
    ),
    "dialogue": Kind(
        description="about an earlier second, answered by the dialogue's text",
        needs="text_history",
        min_frames=2,
    ),
    "unspoken": Kind(
        description="about an earlier second of a dialogue that never spoke of it",
        needs="pixel_history",
        min_frames=2,
    ),
}
_WEIGHTS: dict[str, float] = {"now": 0.7, "right_of": 3.0, "when": 1.5}
"""Shares of kinds in a clip's questions, 1 where not named: more of what takes longest to learn."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A question before it is admitted: ``last_answer`` is what the last frame alone says to it.

    ``options`` is the number of possible answers: a guess's odds.
    """

    kind: str
    prompt: str
    answer: str
    last_answer: str
    choices: tuple[str, ...]
    options: int


def admit(draft: Draft, frames: int) -> bool:
    """Whether a draft tests what its kind says at this number of frames."""
    kind = KINDS[draft.kind]
    if frames < kind.min_frames or draft.options < 2:
        return False
    return kind.needs in ("last_frame", "fine_detail") or draft.answer != draft.last_answer


def _word(digit: int | None) -> str:
    return NOTHING if digit is None else DIGIT_WORDS[digit]


def _digit(kind: str, prompt: str, answer: int, last: int | None) -> Draft:
    return Draft(kind, prompt, DIGIT_WORDS[answer], _word(last), DIGIT_WORDS, 10)


def spoken(turn: Turn, second: int) -> str:
    """The words of a dialogue's turn."""
    subject = COLOURS[turn.index] if turn.about == "colour" else f"at {CELLS[turn.index]}"
    return f"what digit is {subject} at second {SECOND_WORDS[second]} ? {turn.digit}"


def _now(truth: Truth, seconds: Sequence[int]) -> Iterator[Draft]:
    for cell in range(9):
        digit, colour = truth.digit[LAST_SECOND][cell], truth.colour[LAST_SECOND][cell]
        if digit != EMPTY:
            yield _digit("now", f"what digit is at {CELLS[cell]} now ?", digit, digit)
        if colour:
            name = COLOURS[colour]
            yield _digit("now", f"what digit is {name} now ?", digit, digit)
            if truth.style != "moving":
                where = CELLS[cell]
                yield Draft("now", f"where is {name} now ?", where, where, CELLS, len(CELLS))


def _right_of(truth: Truth, seconds: Sequence[int]) -> Iterator[Draft]:
    for cell in (0, 1, 3, 4, 6, 7):
        colour, digit = truth.colour[LAST_SECOND][cell], truth.digit[LAST_SECOND][cell + 1]
        if colour and digit != EMPTY:
            yield _digit("right_of", f"what digit is right of {COLOURS[colour]} now ?", digit, digit)


def _about_past(kind: str, truth: Truth, second: int, about: str, index: int) -> Draft | None:
    """The draft "what digit was ... at second t ?", None where nothing was there."""
    look = truth.digit_of if about == "colour" else truth.digit_at
    digit = look(second, index)
    if digit is None:
        return None
    subject = COLOURS[index] if about == "colour" else f"at {CELLS[index]}"
    prompt = f"what digit was {subject} at second {SECOND_WORDS[second]} ?"
    return _digit(kind, prompt, digit, look(LAST_SECOND, index))


def _past(truth: Truth, seconds: Sequence[int]) -> Iterator[Draft]:
    for second in seconds[:-1]:
        for colour in range(1, 5):
            draft = _about_past("past", truth, second, "colour", colour)
            if draft:
                yield draft


def _past_position(truth: Truth, seconds: Sequence[int]) -> Iterator[Draft]:
    for second in seconds[:-1]:
        for cell in range(9):
            draft = _about_past("past_position", truth, second, "cell", cell)
            if draft:
                yield draft


def _last_seen(truth: Truth, seconds: Sequence[int]) -> Iterator[Draft]:
    for colour in range(1, 5):
        seen = [truth.digit_of(second, colour) for second in seconds[-4:]]
        earlier = [digit for digit in seen[:-1] if digit is not None]
        if seen[-1] is None and earlier:
            yield _digit("last_seen", f"what digit was {COLOURS[colour]} last ?", earlier[-1], None)


def _when(truth: Truth, seconds: Sequence[int]) -> Iterator[Draft]:
    for colour in range(1, 5):
        digits = [truth.digit_of(second, colour) for second in seconds]
        for digit in sorted({d for d in digits if d is not None}):
            if digits.count(digit) == 1 and digits[-1] != digit:
                answer = SECOND_WORDS[seconds[digits.index(digit)]]
                prompt = f"when was {COLOURS[colour]} {digit} ?"
                yield Draft("when", prompt, answer, NOTHING, SECOND_WORDS, len(seconds) - 1)


def _motion(truth: Truth, seconds: Sequence[int]) -> Iterator[Draft]:
    if truth.direction is None or seconds[0] > LATEST_START:
        return
    colour = COLOURS[truth.colour[LAST_SECOND][CELLS.index("middle")]]
    way, start = DIRECTIONS[truth.direction], START_WORDS[truth.direction]
    yield Draft("motion", f"which way did {colour} move ?", way, NOTHING, DIRECTIONS, 4)
    yield Draft("motion", f"where did {colour} start ?", start, "middle", START_WORDS, 4)


def _dialogue(truth: Truth, seconds: Sequence[int]) -> Iterator[Draft]:
    for second in seconds[:-1]:
        turn = truth.turns[second]
        draft = _about_past("dialogue", truth, second, turn.about, turn.index)
        if draft:
            yield draft


def _unspoken(truth: Truth, seconds: Sequence[int]) -> Iterator[Draft]:
    for second in seconds[:-1]:
        turn = truth.turns[second]
        for colour in range(1, 5):
            draft = _about_past("unspoken", truth, second, "colour", colour)
            # Equal to what was said of that second: the text would give it away.
            if draft and draft.answer != DIGIT_WORDS[turn.digit]:
                yield draft


_MAKERS: dict[str, Callable[[Truth, Sequence[int]], Iterator[Draft]]] = {
    "now": _now,
    "right_of": _right_of,
    "past": _past,
    "past_position": _past_position,
    "last_seen": _last_seen,
    "when": _when,
    "motion": _motion,
    "dialogue": _dialogue,
    "unspoken": _unspoken,
}
BY_STYLE: dict[Style, tuple[str, ...]] = {
    "changing": ("now", "right_of", "past", "past_position", "last_seen", "when"),
    "dialogue": ("now", "right_of", "dialogue", "unspoken"),
    "moving": ("now", "motion"),
}


_QUOTAS: dict[Style, dict[str, int]] = {
    "changing": {"now": 2, "right_of": 3, "past": 2, "past_position": 2, "last_seen": 2, "when": 2},
    "dialogue": {"now": 1, "right_of": 2, "dialogue": 4, "unspoken": 4},
    "moving": {"now": 1, "motion": 2},
}


def candidates(truth: Truth, seconds: Sequence[int]) -> dict[str, list[Draft]]:
    """Every admitted question about a clip of which the given seconds are shown (in order, up to 15)."""
    found: dict[str, list[Draft]] = {}
    for kind in BY_STYLE[truth.style]:
        drafts = [draft for draft in _MAKERS[kind](truth, seconds) if admit(draft, len(seconds))]
        if truth.turns and kind == "now":
            drafts = [draft for draft in drafts if not _just_said(truth, draft)]
        if drafts:
            found[kind] = drafts
    return found


def _just_said(truth: Truth, draft: Draft) -> bool:
    """Whether the last turn of the dialogue already answers the question."""
    turn = truth.turns[LAST_SECOND]
    subject = COLOURS[turn.index] if turn.about == "colour" else CELLS[turn.index]
    return f" {subject} " in draft.prompt


def choose(rng: np.random.Generator, truth: Truth, seconds: Sequence[int], count: int) -> list[Draft]:
    """Up to ``count`` different questions, kinds drawn by their weights."""
    found = candidates(truth, seconds)
    kinds = list(found)
    if not kinds:
        return []
    weights = np.array([_WEIGHTS.get(kind, 1.0) for kind in kinds])
    for drafts in found.values():
        rng.shuffle(drafts)
    chosen: list[Draft] = []
    for index in rng.choice(len(kinds), size=3 * count, p=weights / weights.sum()).tolist():
        if found[kinds[index]] and len(chosen) < count:
            chosen.append(found[kinds[index]].pop())
    return chosen


def choose_by_quota(rng: np.random.Generator, truth: Truth, seconds: Sequence[int]) -> list[Draft]:
    """The evaluation's questions about a clip: up to a fixed number of every kind."""
    chosen: list[Draft] = []
    for kind, drafts in candidates(truth, seconds).items():
        for index in rng.permutation(len(drafts))[: _QUOTAS[truth.style][kind]].tolist():
            chosen.append(drafts[index])
    return chosen


@lru_cache(maxsize=1)
def words() -> frozenset[str]:
    """Every word of every prompt, answer and turn."""
    fixed = "what digit is at now ? where right of was second last when which way did move start"
    return frozenset(
        [*fixed.split(), *CELLS, *COLOURS[1:], *DIGIT_WORDS, *SECOND_WORDS, *DIRECTIONS, *START_WORDS]
    )
