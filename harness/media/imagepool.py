"""The evaluation images of multi_image as a data set: test crops of pictures and scenes of test digits."""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from harness.errors import InfrastructureError
from harness.media.cache import cached_dataset
from harness.media.digits import digit_bank
from harness.media.imagesets import ImageTruth
from harness.media.pictures import PICTURES, crop
from harness.media.render import NATIVE_PX, draw_backdrops, render
from harness.media.scenes import draw_scenes
from harness.stream import Pixels

if TYPE_CHECKING:
    from datasets import Dataset

CROPS, SCENES = 32, 512
"""Crops of every picture, and scenes."""
_SEED = 317811
_QUALITY = 92
FINGERPRINT = "84f2cad002f698d1883934071565567d"
"""SHA-256 (32 hex digits) over truths and raw pixels, before JPEG."""


def draw_pool() -> tuple[list[ImageTruth], Pixels]:
    """Truths and raw images [n, 128, 128, 3]: CROPS of each picture in turn, then SCENES scenes."""
    rng = np.random.default_rng(_SEED)
    truths = [ImageTruth(index) for index in range(len(PICTURES)) for _ in range(CROPS)]
    crops = [crop(rng, truth.picture or 0, NATIVE_PX, NATIVE_PX, "test") for truth in truths]
    bank = digit_bank("test")
    scenes = draw_scenes(rng, bank, rng.random((SCENES, 4)) < 0.75)
    truths += [
        ImageTruth(None, tuple(digit), tuple(colour))
        for digit, colour in zip(scenes.digit.tolist(), scenes.colour.tolist(), strict=True)
    ]
    backdrops = draw_backdrops(rng, SCENES)
    drawn = render(rng, scenes, backdrops, np.arange(SCENES), NATIVE_PX, NATIVE_PX, bank)
    return truths, np.concatenate([np.stack(crops), drawn])


def _jpeg(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()


def build_pool() -> tuple[Dataset, str]:
    """The data set and its fingerprint."""
    from datasets import Dataset, DatasetInfo, Features, Value
    from datasets import Image as ImageFeature

    truths, images = draw_pool()
    state = hashlib.sha256()
    rows: dict[str, list[object]] = {"image": [], "what": [], "licence": [], "credit": [], "truth": []}
    for index, (truth, pixels) in enumerate(zip(truths, images, strict=True)):
        text = json.dumps([truth.picture, truth.digit, truth.colour], separators=(",", ":"))
        state.update(text.encode())
        state.update(pixels.tobytes())
        picture = None if truth.picture is None else PICTURES[truth.picture]
        rows["image"].append({"bytes": _jpeg(pixels), "path": f"image-{index:04d}.jpg"})
        rows["what"].append(picture.name if picture else "digits")
        rows["licence"].append(picture.licence if picture else "MIT; digits: CC BY 4.0")
        rows["credit"].append(
            picture.credit if picture else "UCI handwritten digits, E. Alpaydin and C. Kaynak"
        )
        rows["truth"].append(text)
    text_feature = Value("string")
    features = Features(
        {
            "image": ImageFeature(decode=False),
            **dict.fromkeys(("what", "licence", "credit", "truth"), text_feature),
        }
    )
    info = DatasetInfo(
        description="Crops of bundled pictures and scenes of handwritten digits", features=features
    )
    return Dataset.from_dict(rows, features=features, info=info), state.hexdigest()[:32]


def _checked() -> Dataset:
    dataset, fingerprint = build_pool()
    if fingerprint != FINGERPRINT:
        raise InfrastructureError(
            f"the images of multi_image come out as {fingerprint}, not as {FINGERPRINT}; "
            "install the numpy, pillow, scikit-learn and scikit-image of constraints.txt"
        )
    return dataset


def load_pool() -> tuple[list[ImageTruth], Dataset]:
    """The images' truths, and the data set that holds the files."""
    dataset = cached_dataset(f"multi_image-{_SEED}-{FINGERPRINT[:12]}", _checked)
    truths = []
    for text in dataset["truth"]:
        picture, digit, colour = json.loads(text)
        truths.append(ImageTruth(picture, tuple(digit), tuple(colour)))
    return truths, dataset
