"""Real handwritten digits, split by instance before anything else is done with them.

Source: scikit-learn's copy of the UCI "Optical Recognition of Handwritten Digits" test set: 1,797 images of
8 x 8 pixels with 17 grey levels (BSD-3 package; data CC BY 4.0, E. Alpaydin and C. Kaynak, 1998).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Split = Literal["train", "test"]
EMPTY = 10
"""Digit label of a cell that shows nothing."""
INK_LEVELS = 16
_SPLIT_SEED = 20240917
_TEST_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class DigitBank:
    """The instances of one split, sorted by digit; one blank instance is appended for empty cells.

    ``ink`` is [n + 1, 8, 8] float32, whole numbers in 0..16; ``rows`` [n] are row numbers in
    scikit-learn's set; instances of digit d are ``first[d] .. first[d] + count[d] - 1``.
    """

    ink: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]

    @property
    def blank(self) -> int:
        return len(self.rows)

    def draw(self, rng: np.random.Generator, digit: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """A uniformly drawn instance for every entry of ``digit`` (0..9, or EMPTY)."""
        first = np.append(self.first, self.blank)
        count = np.append(self.count, 1)
        drawn: npt.NDArray[np.int64] = (rng.random(digit.shape) * count[digit]).astype(np.int64)
        return first[digit] + drawn


@lru_cache(maxsize=2)
def digit_bank(split: Split) -> DigitBank:
    """The digits of a split: every fifth instance of a fixed shuffle is for testing."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(labels))
    cut = round(len(labels) * _TEST_SHARE)
    rows = np.sort(order[:cut] if split == "test" else order[cut:])
    rows = rows[np.argsort(labels[rows], kind="stable")]
    ink = np.zeros((len(rows) + 1, 8, 8), dtype=np.float32)
    ink[:-1] = images[rows].reshape(-1, 8, 8)
    count = np.bincount(labels[rows], minlength=10)
    return DigitBank(ink=ink, rows=rows, first=np.cumsum(count) - count, count=count)
