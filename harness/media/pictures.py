"""Real pictures that ship inside scikit-image and scikit-learn, cut into disjoint train and test halves.

Every picture is one class with a one-word name. Its train crops and its test crops come from the two sides
of a cut through the picture, so no pixel is seen in both. No picture shows a person.
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
    """One bundled picture.

    ``part`` (left, top, right, bottom, as shares) is what shows the thing; ``cut`` says along which axis
    it is divided into train (left or top) and test (right or bottom).
    """

    name: str
    package: Literal["skimage.data", "sklearn.datasets.images"]
    file: str
    sha256: str
    licence: str
    credit: str
    part: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    cut: Literal["left/right", "top/bottom"] = "left/right"


PICTURES: tuple[Picture, ...] = (
    Picture(
        name="cat",
        package="skimage.data",
        file="chelsea.png",
        sha256="596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        licence="CC0",
        credit="Stefan van der Walt",
    ),
    Picture(
        name="coffee",
        package="skimage.data",
        file="coffee.png",
        sha256="cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        licence="CC0",
        credit="Rachel Michetti",
        part=(0.15, 0.0, 0.85, 1.0),
    ),
    Picture(
        name="coins",
        package="skimage.data",
        file="coins.png",
        sha256="f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
        licence="no known copyright restrictions",
        credit="Brooklyn Museum",
    ),
    Picture(
        name="moon",
        package="skimage.data",
        file="moon.png",
        sha256="78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577",
        licence="not stated; shipped in the BSD-3-Clause package",
        credit="scikit-image",
    ),
    Picture(
        name="rocket",
        package="skimage.data",
        file="rocket.jpg",
        sha256="c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        licence="public domain",
        credit="SpaceX",
        part=(0.28, 0.0, 0.74, 1.0),
        cut="top/bottom",
    ),
    Picture(
        name="brick",
        package="skimage.data",
        file="brick.png",
        sha256="7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
        licence="CC0",
        credit="CC0Textures, Bricks25",
    ),
    Picture(
        name="grass",
        package="skimage.data",
        file="grass.png",
        sha256="b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
        licence="CC0",
        credit="linolafett",
    ),
    Picture(
        name="gravel",
        package="skimage.data",
        file="gravel.png",
        sha256="c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
        licence="CC0",
        credit="CC0Textures, Gravel04",
    ),
    Picture(
        name="stars",
        package="skimage.data",
        file="hubble_deep_field.jpg",
        sha256="3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
        licence="public domain",
        credit="NASA",
    ),
    Picture(
        name="page",
        package="skimage.data",
        file="page.png",
        sha256="341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3",
        licence="not stated; shipped in the BSD-3-Clause package",
        credit="scikit-image",
    ),
    Picture(
        name="formula",
        package="skimage.data",
        file="text.png",
        sha256="bd84aa3a6e3c9887850d45d606c96b2e59433fbef50338570b63c319e668e6d1",
        licence="public domain",
        credit="Wikipedia, File:Corner.png",
    ),
    Picture(
        name="eye",
        package="skimage.data",
        file="retina.jpg",
        sha256="38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
        licence="CC0",
        credit="Mikael Haggstrom",
    ),
    Picture(
        name="tissue",
        package="skimage.data",
        file="ihc.png",
        sha256="f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
        licence="no known copyright restrictions",
        credit="CMMI",
    ),
    Picture(
        name="motorcycle",
        package="skimage.data",
        file="motorcycle_left.png",
        sha256="db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
        licence="see Middlebury 2014 stereo benchmark",
        credit="Scharstein et al.",
    ),
    Picture(
        name="flower",
        package="sklearn.datasets.images",
        file="flower.jpg",
        sha256="a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
        licence="CC BY 2.0",
        credit="vultilion, flickr.com/photos/vultilion/6056698931",
        part=(0.12, 0.1, 0.85, 1.0),
    ),
    Picture(
        name="temple",
        package="sklearn.datasets.images",
        file="china.jpg",
        sha256="8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
        licence="CC BY 2.0",
        credit="danielbuechele, flickr.com/photos/danielbuechele/6061409035",
        part=(0.08, 0.05, 0.62, 1.0),
    ),
)
PICTURE_NAMES = tuple(picture.name for picture in PICTURES)


@lru_cache(maxsize=2)
def _regions(split: Split) -> tuple[Image.Image, ...]:
    """The split's side of every picture, RGB; the whole picture is at most 480 px long."""
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
    left, top, right, bottom = (round(share * whole.size[i % 2]) for i, share in enumerate(picture.part))
    whole = whole.crop((left, top, right, bottom))
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
    lit: Pixels = np.clip(pixels * light + 0.5, 0, 255).astype(np.uint8)
    return lit


def picture_batch(
    rng: np.random.Generator, count: int, size: int, split: Split = "train"
) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Crops for pretraining a vision encoder: pixels [count, size, size, 3] uint8 and classes [count]."""
    classes = rng.integers(0, len(PICTURES), size=count)
    pixels = np.empty((count, size, size, 3), dtype=np.uint8)
    for index, picture in enumerate(classes.tolist()):
        pixels[index] = crop(rng, picture, size, size, split)
    return pixels, classes
