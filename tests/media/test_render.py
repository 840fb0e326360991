"""What is drawn, and that drawing small equals drawing large, encoding, decoding and resizing."""

from __future__ import annotations

import numpy as np
import pytest

from harness.media.clips import draw_clips
from harness.media.clipset import draw_clip
from harness.media.digits import digit_bank
from harness.media.render import NATIVE_PX, draw_backdrops, render
from harness.media.resize import resize, resize_matrix
from harness.media.scenes import draw_scenes, pretraining_batch
from harness.media.video import decode, encode_h264


def _mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).mean())


@pytest.mark.parametrize("size", [16, 48, 64, 100])
def test_resize_is_the_matrix_that_the_renderer_uses(size: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size=(NATIVE_PX, NATIVE_PX, 3), dtype=np.uint8)
    matrix = resize_matrix(NATIVE_PX, size)
    expected = np.einsum("ih,hwc,jw->ijc", matrix, pixels.astype(np.float32), matrix)
    assert np.abs(resize(pixels, size, size) - expected).max() <= 2


def test_resize_keeps_what_already_fits_and_allows_any_shape() -> None:
    pixels = np.zeros((10, 20, 3), dtype=np.uint8)
    assert resize(pixels, 10, 20) is pixels
    assert resize(pixels, 33, 7).shape == (33, 7, 3)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (48, 48), (64, 32), (96, 96)])
def test_drawing_small_equals_drawing_large_and_resizing(height: int, width: int) -> None:
    rng = np.random.default_rng(4)
    bank = digit_bank("train")
    clips = draw_clips(rng, bank, ["changing", "moving"])
    clip, frame = np.repeat([0, 1], 8), np.tile(np.arange(0, 64, 8), 2)
    shown = clips.frames(clip, frame)
    small = render(rng, shown, clips.backdrops, clip, height, width, bank, 0.0)
    large = render(rng, shown, clips.backdrops, clip, NATIVE_PX, NATIVE_PX, bank, 0.0)
    resized = np.stack([resize(pixels, height, width) for pixels in large])
    assert _mean_difference(small, resized) < 1.0


@pytest.mark.parametrize("size", [32, 48, 64])
def test_training_frames_look_like_decoded_frames(size: int) -> None:
    """In grey levels of 255; about 1 of the difference is a common darkening by the colour conversion."""
    rng = np.random.default_rng(5)
    bank = digit_bank("test")
    clips = draw_clips(rng, bank, ["changing"])
    frames, zeros = np.arange(16), np.zeros(16, dtype=np.int64)
    shown = clips.frames(zeros, frames)
    raw = render(rng, shown, clips.backdrops, zeros, NATIVE_PX, NATIVE_PX, bank)
    decoded = [resize(pixels, size, size) for pixels, _ in decode(encode_h264(raw, 4), range(16), "test")]
    drawn = render(rng, shown, clips.backdrops, zeros, size, size, bank)
    assert _mean_difference(drawn, np.stack(decoded)) < 3.0
    contrast = drawn.astype(float).std() / np.stack(decoded).astype(float).std()
    assert 0.95 < contrast < 1.05


def test_a_digit_of_a_colour_is_drawn_in_that_colour_in_its_cell() -> None:
    rng = np.random.default_rng(6)
    bank = digit_bank("train")
    scenes = draw_scenes(rng, bank, np.ones((40, 4), dtype=bool))
    size = 96
    with_digits = render(rng, scenes, draw_backdrops(rng, 1), np.zeros(40, dtype=int), size, size, bank, 0.0)
    for scene, pixels in zip(range(40), with_digits, strict=True):
        for cell in range(9):
            colour = scenes.colour[scene, cell]
            row, column = divmod(cell, 3)
            part = pixels[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32].astype(int)
            brightest = part.reshape(-1, 3)[part.sum(axis=2).argmax()]
            if scenes.digit[scene, cell] == 10:
                assert brightest.max() < 130
            else:
                red, green, blue = brightest
                name = {0: blue > 110 and red > 110, 1: red > 1.5 * green, 2: green > 1.5 * red}
                name |= {3: blue > 1.5 * red, 4: red > 1.5 * blue and green > 1.5 * blue}
                assert name[colour], (scene, cell, colour, brightest)


def test_an_empty_batch_and_large_frames_are_drawn() -> None:
    rng = np.random.default_rng(0)
    bank = digit_bank("train")
    none = draw_scenes(rng, bank, np.ones((0, 4), dtype=bool))
    assert render(rng, none, draw_backdrops(rng, 0), np.zeros(0, int), 16, 16, bank).shape == (0, 16, 16, 3)
    one = draw_scenes(rng, bank, np.ones((1, 4), dtype=bool))
    assert render(rng, one, draw_backdrops(rng, 1), np.zeros(1, int), 224, 160, bank).shape == (
        1,
        224,
        160,
        3,
    )


def test_pretraining_batch_is_repeatable_and_labels_what_is_shown() -> None:
    pixels, digits, colours = pretraining_batch(np.random.default_rng(7), 64, 48)
    again, _, _ = pretraining_batch(np.random.default_rng(7), 64, 48)
    assert np.array_equal(pixels, again)
    assert pixels.shape == (64, 48, 48, 3)
    assert pixels.dtype == np.uint8
    assert set(np.unique(digits)) == set(range(11))
    assert set(np.unique(colours)) == set(range(5))
    assert (colours[digits == 10] == 0).all()
    cells = pixels.reshape(64, 3, 16, 3, 16, 3).max(axis=(2, 4)).max(axis=3).reshape(64, 9)
    still = slice(0, 56)
    assert cells[still][digits[still] < 10].min() > 90
    assert np.median(cells[still][digits[still] == 10]) < 90


def test_evaluation_clips_are_repeatable() -> None:
    truth, frames = draw_clip(5)
    again, same = draw_clip(5)
    assert truth == again
    assert np.array_equal(frames, same)
    assert frames.shape == (64, NATIVE_PX, NATIVE_PX, 3)
