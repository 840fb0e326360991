"""Real pictures that ship inside scikit-image and scikit-learn, cut into disjoint train and test halves.

Every picture is one class with a one-word name. Its train crops and its test crops come from the two sides of a
cut through the picture, so no pixel is seen in both. No picture shows a person.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from harness.errors import InfrastructureError
from harness.media.digits import Split
from harness.stream import Pixels

TRAIN_SHARE = 0.55
_LONGEST_PX = 480


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One bundled picture; ``cut`` is the axis along which train (left, top) and test (right, bottom) part."""

    name: str
    package: Literal["skimage.data", "sklearn.datasets.images"]
    file: str
    sha256: str
    licence: str
    credit: str
    cut: Literal["left/right", "top/bottom"] = "left/right"


def _skimage(name: str, file: str, sha256: str, licence: str, credit: str) -> Picture:
    return Picture(
        name=name, package="skimage.data", file=file, sha256=sha256, licence=licence, credit=credit
    )


PICTURES: tuple[Picture, ...] = (
    _skimage(
        "cat",
        "chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "CC0",
        "Stefan van der Walt",
    ),
    _skimage(
        "coffee",
        "coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        "CC0",
        "Rachel Michetti",
    ),
    _skimage(
        "coins",
        "coins.png",
        "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
        "no known copyright restrictions",
        "Brooklyn Museum",
    ),
    _skimage(
        "moon",
        "moon.png",
        "78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577",
        "not stated; shipped in the BSD-3-Clause package",
        "scikit-image",
    ),
    _skimage(
        "rocket",
        "rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        "public domain",
        "SpaceX",
    ),
    _skimage(
        "brick",
        "brick.png",
        "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
        "CC0",
        "CC0Textures, Bricks25",
    ),
    _skimage(
        "grass",
        "grass.png",
        "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
        "CC0",
        "linolafett",
    ),
    _skimage(
        "gravel",
        "gravel.png",
        "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
        "CC0",
        "CC0Textures, Gravel04",
    ),
    _skimage(
        "stars",
        "hubble_deep_field.jpg",
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
        "public domain",
        "NASA",
    ),
    _skimage(
        "page",
        "page.png",
        "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3",
        "not stated; shipped in the BSD-3-Clause package",
        "scikit-image",
    ),
    _skimage(
        "formula",
        "text.png",
        "bd84aa3a6e3c9887850d45d606c96b2e59433fbef50338570b63c319e668e6d1",
        "public domain",
        "Wikipedia, File:Corner.png",
    ),
    _skimage(
        "eye",
        "retina.jpg",
        "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
        "CC0",
        "Mikael Haggstrom",
    ),
    _skimage(
        "tissue",
        "ihc.png",
        "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
        "no known copyright restrictions",
        "CMMI",
    ),
    _skimage(
        "motorcycle",
        "motorcycle_left.png",
        "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
        "see Middlebury 2014 stereo benchmark",
        "Scharstein et al.",
    ),
    Picture(
        name="flower",
        package="sklearn.datasets.images",
        file="flower.jpg",
        sha256="a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
        licence="CC BY 2.0",
        credit="vultilion, flickr.com/photos/vultilion/6056698931",
    ),
    Picture(
        name="temple",
        package="sklearn.datasets.images",
        file="china.jpg",
        sha256="8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
        licence="CC BY 2.0",
        credit="danielbuechele, flickr.com/photos/danielbuechele/6061409035",
    ),
)
PICTURE_NAMES = tuple(picture.name for picture in PICTURES)


@lru_cache(maxsize=2)
def _regions(split: Split) -> tuple[Image.Image, ...]:
    """The split's side of every picture, RGB, its whole picture at most 480 px long."""
    regions = []
    for picture in PICTURES:
        data = (files(picture.package) / picture.file).read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != picture.sha256:
            raise InfrastructureError(
                f"picture {picture.file} of {picture.package} has SHA-256 {found[:12]}..., not "
                f"{picture.sha256[:12]}...; install the scikit-image and scikit-learn of constraints.txt"
            )
        regions.append(_side(data, picture, split))
    return tuple(regions)


def _side(data: bytes, picture: Picture, split: Split) -> Image.Image:
    whole = Image.open(io.BytesIO(data)).convert("RGB")
    whole.thumbnail((_LONGEST_PX, _LONGEST_PX), Image.Resampling.BOX)
    width, height = whole.size
    if picture.cut == "left/right":
        at = round(width * TRAIN_SHARE)
        return whole.crop((0, 0, at, height) if split == "train" else (at, 0, width, height))
    at = round(height * TRAIN_SHARE)
    return whole.crop((0, 0, width, at) if split == "train" else (0, at, width, height))


def crop(rng: np.random.Generator, index: int, height: int, width: int, split: Split) -> Pixels:
    """A random square crop of picture ``index``, mirrored half the time, as [height, width, 3]."""
    region = _regions(split)[index]
    side = rng.uniform(0.6, 1.0) * min(region.size)
    left, top = (rng.uniform(0, full - side) for full in region.size)
    box = (left, top, left + side, top + side)
    pixels = np.asarray(region.resize((width, height), Image.Resampling.HAMMING, box=box))
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    light = np.float32(rng.uniform(0.8, 1.15))
    return np.clip(pixels * light + 0.5, 0, 255).astype(np.uint8)


def picture_batch(
    rng: np.random.Generator, count: int, size: int, split: Split = "train"
) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Crops for pretraining a vision encoder: pixels [count, size, size, 3] uint8 and classes [count]."""
    classes = rng.integers(0, len(PICTURES), size=count)
    pixels = np.empty((count, size, size, 3), dtype=np.uint8)
    for index, picture in enumerate(classes.tolist()):
        pixels[index] = crop(rng, picture, size, size, split)
    return pixels, classes
