"""What to count: a grid of scenarios over methods, modes, frames and resolutions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from harness.counting.records import Kernels, Mode
from harness.errors import UsageError
from harness.spec import DEFAULT_BACKBONE, DType, MethodSpec, check_choice, check_numbers

OPTIMIZERS = ("adamw-foreach", "adamw-loop", "sgd")
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True, kw_only=True)
class CountSpec:
    """A grid of scenarios. Raises UsageError when constructed with a value that cannot be used.

    Names are checked when the grid is planned, since plugins may add to them.
    """

    methods: tuple[MethodSpec, ...] = ()
    """Empty: every registered method."""
    backbone: str = DEFAULT_BACKBONE
    modes: tuple[Mode, ...] = ("prefill",)
    frames: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Ascending, each once."""
    resolutions: tuple[tuple[int, int], ...] = ((64, 64),)
    """Height and width in pixels."""
    text: int = 16
    text_per_frame: int = 0
    kv_tokens: int | None = None
    """Rows that the token stream's cache holds when ``decode`` goes on from it: the fixed text is as long as
    that takes. None takes ``text``."""
    encode_batch: int = 1
    dtype: DType = "bfloat16"
    kernels: Kernels = "cuda"
    optimizer: str = "adamw-foreach"
    """Of training steps; CUDA's default is the foreach flavour."""
    plugins: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for name, numbers, least in (("frames", self.frames, 1), ("text", (self.text,), 1)):
            check_numbers(name, numbers, least)
        check_numbers("text-per-frame", (self.text_per_frame,), 0)
        check_numbers("encode-batch", (self.encode_batch,), 1)
        if self.kv_tokens is not None:
            check_numbers("kv-tokens", (self.kv_tokens,), 1)
            if self.modes != ("decode",):
                raise UsageError(f"kv-tokens is for decode alone, but the modes are {', '.join(self.modes)}")
        check_ascending("frames", self.frames)
        if not self.resolutions:
            raise UsageError("no resolution is given; give at least one, for example 224 or 448x896")
        for size in self.resolutions:
            check_numbers("resolution", size, 1)
        if not self.modes:
            raise UsageError(f"no mode is given; give at least one of {', '.join(MODES)}")
        for mode in self.modes:
            check_choice("mode", mode, MODES)
        check_choice("dtype", self.dtype, get_args(DType))
        check_choice("kernels", self.kernels, get_args(Kernels))
        check_choice("optimizer", self.optimizer, OPTIMIZERS)


def check_ascending(name: str, numbers: Sequence[int]) -> None:
    """Raise a UsageError for numbers that do not rise: growth is read from one to the next."""
    for before, after in itertools.pairwise(numbers):
        if after <= before:
            raise UsageError(
                f"{name} {','.join(map(str, numbers))} do not rise ({after} after {before}); "
                "give each once, from the least to the greatest"
            )
