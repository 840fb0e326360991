"""Train and test never share an instance or a pixel."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from harness.errors import InfrastructureError
from harness.media import pictures
from harness.media.digits import digit_bank
from harness.media.pictures import PICTURES, crop, picture_batch


def test_every_digit_instance_is_in_exactly_one_split() -> None:
    train, test = digit_bank("train"), digit_bank("test")
    assert not set(train.rows) & set(test.rows)
    assert sorted([*train.rows, *test.rows]) == list(range(1797))
    assert len(test.rows) == round(0.2 * 1797)


def test_the_splits_share_no_image_even_by_content() -> None:
    train, test = digit_bank("train"), digit_bank("test")
    seen = {ink.tobytes() for ink in train.ink[:-1]}
    assert not seen & {ink.tobytes() for ink in test.ink[:-1]}


def test_drawn_instances_have_the_digit_asked_for() -> None:
    from sklearn.datasets import load_digits

    labels = load_digits().target
    bank = digit_bank("train")
    digit = np.random.default_rng(0).integers(0, 11, size=(50, 9))
    drawn = bank.draw(np.random.default_rng(1), digit)
    assert (drawn[digit == 10] == bank.blank).all()
    assert (labels[bank.rows[drawn[digit < 10]]] == digit[digit < 10]).all()


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_train_and_test_sides_of_a_picture_share_no_pixel(picture: pictures.Picture) -> None:
    """Cut a picture whose pixels tell their own coordinates."""
    y, x = np.mgrid[0:240, 0:240].astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.stack([y, x, 0 * x], axis=2)).save(buffer, "PNG")
    sides = [
        {
            tuple(pixel)
            for pixel in np.asarray(pictures._side(buffer.getvalue(), picture, split)).reshape(-1, 3)
        }
        for split in ("train", "test")
    ]
    assert not sides[0] & sides[1]
    assert min(len(side) for side in sides) > 5000


def test_crops_come_from_their_own_side(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = {"train": (250, 0, 0), "test": (0, 0, 250)}
    monkeypatch.setattr(
        pictures, "_regions", lambda split: tuple(Image.new("RGB", (90, 60), flat[split]) for _ in PICTURES)
    )
    rng = np.random.default_rng(0)
    assert crop(rng, 3, 20, 30, "train")[..., 2].max() == 0
    assert crop(rng, 3, 20, 30, "test")[..., 0].max() == 0


def test_picture_batch_is_repeatable_and_covers_every_class() -> None:
    pixels, classes = picture_batch(np.random.default_rng(3), 200, 16)
    again, _ = picture_batch(np.random.default_rng(3), 200, 16)
    assert pixels.shape == (200, 16, 16, 3)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, again)
    assert set(classes.tolist()) == set(range(len(PICTURES)))


def test_another_version_of_a_picture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = dataclasses.replace(PICTURES[0], sha256="0" * 64)
    monkeypatch.setattr(pictures, "PICTURES", (changed,))
    pictures._regions.cache_clear()
    try:
        with pytest.raises(InfrastructureError, match=r"chelsea\.png .* constraints\.txt"):
            pictures._regions("train")
    finally:
        pictures._regions.cache_clear()
