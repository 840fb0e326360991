"""Clips, sampled frames, and the rule that a history question must not leak."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.media.clips import LAST_SECOND, STYLES, Truth, draw_clips
from harness.media.digits import EMPTY, digit_bank
from harness.media.motion import approach
from harness.media.questions import KINDS, Draft, admit, candidates, choose, spoken, words
from harness.media.sampling import CLIP_FPS, CLIP_SECONDS, sample_frames
from harness.media.scenes import CELLS, COLOURS, CORNERS, MIDDLE

NEEDED = {"last_frame", "fine_detail"}


def _truths(count: int = 240) -> tuple[Truth, ...]:
    styles = [STYLES[i % 3] for i in range(count)]
    return draw_clips(np.random.default_rng(8), digit_bank("train"), styles).truths


def _seconds(seed: int, frames: int) -> list[int]:
    return sorted({index // CLIP_FPS for index in sample_frames(np.random.default_rng(seed), frames)})


@given(seed=st.integers(0, 10_000), frames=st.integers(1, 64))
def test_sampled_frames_are_distinct_ordered_and_end_in_the_last_second(seed: int, frames: int) -> None:
    indices = sample_frames(np.random.default_rng(seed), frames)
    seconds = [index // CLIP_FPS for index in indices]
    assert indices == sorted(set(indices))
    assert len(indices) == frames
    assert indices[0] >= 0
    assert seconds[-1] == LAST_SECOND
    assert len(set(seconds)) == min(frames, CLIP_SECONDS)


@pytest.mark.parametrize("frames", [0, 65, 1000])
def test_more_frames_than_a_clip_has_name_the_maximum(frames: int) -> None:
    with pytest.raises(UsageError, match="1 to 64"):
        sample_frames(np.random.default_rng(0), frames)


def test_early_and_late_seconds_are_equally_likely() -> None:
    counts = Counter(second for seed in range(600) for second in _seconds(seed, 6)[:-1])
    assert set(counts) == set(range(LAST_SECOND))
    assert max(counts.values()) < 1.4 * min(counts.values())


def test_a_moving_digit_rests_in_the_middle_in_the_last_second_and_starts_a_cell_away() -> None:
    frames = np.arange(CLIP_SECONDS * CLIP_FPS)
    for direction in range(4):
        shift = approach(np.full(frames.shape, direction), frames, LAST_SECOND * CLIP_FPS)
        distance = np.abs(shift).max(axis=1)
        assert (shift[LAST_SECOND * CLIP_FPS :] == 0).all()
        assert distance[0] == 43
        assert (np.diff(distance) <= 0).all()


def test_nothing_stands_beside_the_middle_of_a_moving_clip() -> None:
    for truth in _truths():
        if truth.style == "moving":
            for digits in truth.digit:
                shown = {cell for cell in range(9) if digits[cell] != EMPTY}
                assert shown <= {MIDDLE, *CORNERS}


def test_directions_do_not_depend_on_what_the_last_second_shows() -> None:
    truths = draw_clips(np.random.default_rng(1), digit_bank("train"), ["moving"] * 2000).truths
    table = np.zeros((5, 4))
    for truth in truths:
        assert truth.direction is not None
        table[truth.colour[LAST_SECOND][MIDDLE], truth.direction] += 1
    assert (np.abs(table[1:] / table[1:].sum(axis=1, keepdims=True) - 0.25) < 0.09).all()


def _last_frame_says(truth: Truth, prompt: str) -> str | None:
    """An own reading of a question about the past, asked of the last second."""
    parts = prompt.split()
    if parts[:3] == ["what", "digit", "was"]:
        what = parts[4] if parts[3] == "at" else parts[3]
        cell = CELLS.index(what) if parts[3] == "at" else truth.cell_of(LAST_SECOND, COLOURS.index(what))
        if cell is not None and truth.digit[LAST_SECOND][cell] != EMPTY:
            return str(truth.digit[LAST_SECOND][cell])
    if parts[:2] == ["when", "was"]:
        digit = truth.digit_of(LAST_SECOND, COLOURS.index(parts[2]))
        return f"{LAST_SECOND:02d}" if digit == int(parts[3]) else None
    return None


@pytest.mark.parametrize("frames", [1, 2, 4, 8, 16, 40])
def test_no_history_question_leaks(frames: int) -> None:
    """Scan every question of many clips and read its leak off the truth anew."""
    asked = Counter[str]()
    for index, truth in enumerate(_truths()):
        seconds = _seconds(index, frames)
        for kind, drafts in candidates(truth, seconds).items():
            asked[kind] += len(drafts)
            assert frames >= KINDS[kind].min_frames
            for draft in drafts:
                if KINDS[kind].needs in NEEDED:
                    continue
                assert draft.answer != _last_frame_says(truth, draft.prompt)
                named = [int(word) for word in draft.prompt.split() if len(word) == 2 and word.isdigit()]
                assert set(named) <= set(seconds[:-1]), "asks of a second that is not shown"
    expected = {kind for kind, about in KINDS.items() if frames >= about.min_frames}
    assert set(asked) == expected
    assert frames == 1 or sum(asked.values()) > 3000


def test_a_planted_leak_is_rejected() -> None:
    digits = tuple("0123456789")
    prompt = "what digit was red at second 05 ?"
    assert admit(Draft("past", prompt, "7", "3", digits, 10), 4)
    assert not admit(Draft("past", prompt, "7", "7", digits, 10), 4)
    assert not admit(Draft("past", prompt, "7", "3", digits, 10), 1)
    assert not admit(Draft("when", "when was red 7 ?", "05", "none", digits, 1), 4)
    assert not admit(Draft("when", "when was red 7 ?", "05", "none", digits, 2), 3)
    assert admit(Draft("now", "what digit is red now ?", "7", "7", digits, 10), 1)


def test_a_colour_that_keeps_its_digit_is_not_asked_about_as_history() -> None:
    """A planted clip: red is 7 throughout, so only blue, which changes, may be asked about."""
    digit = [[7, second % 10, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY] for second in range(16)]
    colour = [[1, 3, 0, 0, 0, 0, 0, 0, 0] for _ in range(16)]
    found = candidates(Truth("changing", digit, colour), list(range(16)))
    assert not [draft for draft in found["past"] if "red" in draft.prompt]
    assert not [draft for draft in found["past_position"] if "topleft" in draft.prompt]
    blue = {draft.prompt.split()[-2] for draft in found["past"]}
    assert blue == {f"{second:02d}" for second in range(15) if second != 5}


def test_when_has_one_answer_among_the_shown_seconds() -> None:
    for index, truth in enumerate(_truths()):
        seconds = _seconds(index, 8)
        for draft in candidates(truth, seconds).get("when", []):
            colour, digit = COLOURS.index(draft.prompt.split()[2]), int(draft.prompt.split()[3])
            matches = [second for second in seconds if truth.digit_of(second, colour) == digit]
            assert [f"{second:02d}" for second in matches] == [draft.answer]
            assert draft.options == 7


def test_dialogue_questions_are_answered_by_the_text_and_unspoken_ones_are_not() -> None:
    for index, truth in enumerate(_truths()):
        if truth.style != "dialogue":
            continue
        seconds = _seconds(index, 8)
        turns = {second: spoken(truth.turns[second], second) for second in seconds}
        found = candidates(truth, seconds)
        for draft in found.get("dialogue", []):
            said = draft.prompt.replace("was", "is", 1) + " " + draft.answer
            assert said in turns.values()
        for draft in found.get("unspoken", []):
            second = int(draft.prompt.split()[-2])
            assert turns[second].split()[-1] != draft.answer
        for draft in found.get("now", []):
            subject = turns[LAST_SECOND].split(" is ")[1].split(" at second")[0]
            assert f" {subject.split()[-1]} " not in draft.prompt


def test_answers_are_near_uniform() -> None:
    rng = np.random.default_rng(2)
    answers: dict[str, Counter[str]] = {}
    for index, truth in enumerate(_truths(900)):
        for draft in choose(rng, truth, _seconds(index, 8), 9):
            if draft.choices[0] == "0":
                answers.setdefault(draft.kind, Counter())[draft.answer] += 1
    assert len(answers) == 7
    for kind, counts in answers.items():
        assert max(counts.values()) / counts.total() < 0.16, (kind, counts)


def test_the_vocabulary_covers_every_word() -> None:
    known = words()
    for index, truth in enumerate(_truths()):
        for drafts in candidates(truth, _seconds(index, 16)).values():
            for draft in drafts:
                assert {*draft.prompt.split(), draft.answer, *draft.choices} <= known
        for second, turn in enumerate(truth.turns):
            assert set(spoken(turn, second).split()) <= known
