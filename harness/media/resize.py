"""The one resizing of the harness: an antialiased area filter, for rendered, decoded and user media alike."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from harness.stream import Pixels

FILTER = Image.Resampling.HAMMING
"""Support of one output pixel on each side: averages areas like a box, without its dislocations."""


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Resize [H, W, 3] uint8 to [height, width, 3]; the aspect ratio is not kept."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), FILTER))


@lru_cache(maxsize=256)
def resize_matrix(source: int, target: int, smooth: bool = False) -> npt.NDArray[np.float32]:
    """The linear map [target, source] of :func:`resize` along one axis, read off the library's own filter.

    ``smooth`` takes the bilinear filter instead, for enlarging: it never overshoots.
    """
    identity = Image.fromarray(np.eye(source, dtype=np.float32))
    resized = identity.resize((source, target), Image.Resampling.BILINEAR if smooth else FILTER)
    matrix = np.array(resized, dtype=np.float32)
    matrix.setflags(write=False)
    return matrix
