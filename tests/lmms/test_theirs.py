"""What lmms-eval's code leaves behind is put back, whatever it is."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.lmms.theirs import TheirError, contained

pytestmark = pytest.mark.lmms


def state() -> tuple[object, ...]:
    settings = torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype()
    states = random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()
    return *states, os.getcwd(), *settings


def meddle(folder: Path) -> list[float]:
    os.chdir(folder)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_grad_enabled(not torch.is_grad_enabled())
    torch.set_default_dtype(torch.float64)
    return [random.random(), float(np.random.random()), float(torch.rand(()))]


def test_generators_and_the_folder_are_as_they_were(tmp_path: Path) -> None:
    before = state()
    with contained(seed=3):
        drawn = meddle(tmp_path)
    assert state() == before
    with contained(seed=3):
        assert meddle(tmp_path) == drawn
    with contained(seed=4):
        assert meddle(tmp_path) != drawn


def test_after_an_exit_too(tmp_path: Path) -> None:
    before = state()
    with pytest.raises(TheirError, match="gave up: 3"), contained():
        sys.exit(str(3 if meddle(tmp_path) else 4))
    assert state() == before
