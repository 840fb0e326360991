"""Phases of a cell that may run out of memory: what others measured stays."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from harness.errors import is_out_of_memory
from harness.records import Phase, PhaseOutOfMemory

T = TypeVar("T")


class Phases:
    """Runs the phases of a cell on a device and notes those that did not fit."""

    def __init__(self, device: str, progress: Callable[[str], None]) -> None:
        self._device, self._progress = torch.device(device), progress
        self.out_of_memory: list[PhaseOutOfMemory] = []

    def run(self, phase: Phase, measure: Callable[[], T]) -> T | None:
        """What a phase measures, or None where memory was too small; any other error goes on."""
        on_cuda = self._device.type == "cuda"
        if on_cuda:
            torch.cuda.reset_peak_memory_stats(self._device)
        try:
            return measure()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            message = " ".join(f"{type(error).__name__}: {error}".split())
        # The exception is gone here, and with it the frames whose tensors filled the memory.
        live = torch.cuda.max_memory_allocated(self._device) if on_cuda else None
        self.out_of_memory.append(PhaseOutOfMemory(phase=phase, live_bytes=live, message=message))
        self._progress(f"out of memory: {phase}")
        gc.collect()
        if on_cuda:
            torch.cuda.empty_cache()
        return None
