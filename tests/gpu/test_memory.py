"""Counted peaks against the allocator of a real card, for every method and mode."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.gpu.cards import Cuda, workspace_bytes
from benchmarks.gpu.cells import measure_cells
from benchmarks.gpu.choices import compare_choices
from benchmarks.gpu.records import Measured, path_of, read_record
from benchmarks.gpu_memory import main
from harness.errors import ExitCode

from ..counting.keys import METHODS, MODES, key

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("method", METHODS)
def test_every_difference_has_a_known_cause(method: str, tmp_path: Path) -> None:
    keys = [key(mode, method, frames=frames) for mode in MODES for frames in (1, 8)]
    measure_cells(keys, Cuda(), tmp_path, warmups=1)
    for asked in keys:
        outcome = read_record(path_of(tmp_path, asked)).outcome
        assert isinstance(outcome, Measured), outcome
        assert outcome.routes_seen == outcome.routes_counted
        for name, phase in outcome.phases.items():
            assert phase.verdict != "unnamed", (asked.mode, asked.frames, name, phase)


def test_matrix_products_keep_a_workspace() -> None:
    device = Cuda()
    workspace_bytes(device, torch.bfloat16)
    assert workspace_bytes(device, torch.bfloat16) == 0
    assert device.allocator.read().requested > 0


def test_kernels_are_chosen_as_believed() -> None:
    assert not [one for one in compare_choices(torch.device("cuda")) if one.believed != one.taken]


def test_the_command_measures_in_processes_of_its_own(tmp_path: Path) -> None:
    grid = ["--methods", "casa", "--modes", "decode", "--grid", "tiny-qwen3=64", "--frames", "1,2"]
    assert main([*grid, "--out", str(tmp_path)]) in (ExitCode.OK, ExitCode.REGRESSION)
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.glob("*.json"))) == 3
    assert (folder / "README.md").is_file()
