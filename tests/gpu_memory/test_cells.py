"""A cell measured on a device that is this CPU: differences are planted, found and named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.cells import compare, count_cell, measure_cells
from benchmarks.gpu.records import Failed, Measured, Outcome, OutOfMemory, path_of, read_record
from harness.counting.building import build
from harness.counting.device import DevicePeaks, build_on, refill
from harness.counting.records import CountKey
from harness.measure.counted import INTERLUDE

from ..counting.keys import METHODS, MODES, key
from .fakes import FakeAllocator, FakeDevice

HOST_BYTES = 1024
"""At most, of token ids and an optimiser's step counts: here they lie where the device's tensors do."""
WORKSPACE, SCRATCH = 8 * 2**20, 3 * 2**20


def outcomes(keys: Sequence[CountKey], allocator: FakeAllocator, folder: Path) -> list[Outcome]:
    with allocator.watching():
        measure_cells(keys, FakeDevice(allocator), folder, warmups=1)
    return [read_record(path_of(folder, key)).outcome for key in keys]


@pytest.mark.parametrize("method", ["token_insertion", "hyper_attention", "pruning"])
def test_every_difference_is_found_and_named(method: str, tmp_path: Path) -> None:
    keys = [key(mode, method, frames=2) for mode in MODES]
    allocator = FakeAllocator(workspace=WORKSPACE, scratch=SCRATCH)
    for outcome in outcomes(keys, allocator, tmp_path):
        assert isinstance(outcome, Measured), outcome
        assert outcome.routes_seen == outcome.routes_counted
        assert outcome.workspace_bytes == WORKSPACE
        for name, phase in outcome.phases.items():
            assert phase.causes.workspaces == WORKSPACE
            assert phase.causes.outputs == 0
            assert abs(phase.unnamed_bytes) <= HOST_BYTES, name
            assert phase.verdict == "named"
            assert phase.fragmentation_bytes > 0
        inside = {name: phase for name, phase in outcome.phases.items() if phase.causes.scratch}
        assert inside.keys() & {"prefill", "token", "frame", "forward"}
        for phase in inside.values():
            assert 0 < phase.causes.scratch <= SCRATCH
            assert "mm" in phase.scratch_operator
    assert allocator.synchronized


def test_without_additions_everything_is_within_the_tolerance(tmp_path: Path) -> None:
    asked = key("stream", "vanilla_ca", frames=2)
    (outcome,) = outcomes([asked], FakeAllocator(), tmp_path)
    assert isinstance(outcome, Measured)
    assert {phase.verdict for phase in outcome.phases.values()} == {"within"}
    assert list(outcome.phases) == ["encode", "frame", "token"]


def test_what_has_no_cause_is_not_given_one(tmp_path: Path) -> None:
    allocator = FakeAllocator(workspace=WORKSPACE)
    allocator.lost = 10**6
    (outcome,) = outcomes([key("prefill", frames=2)], allocator, tmp_path)
    assert isinstance(outcome, Measured)
    for phase in outcome.phases.values():
        assert phase.verdict == "unnamed"
        assert abs(phase.unnamed_bytes - 10**6) <= HOST_BYTES


def test_out_of_memory_is_an_outcome_and_the_next_cell_is_measured(tmp_path: Path) -> None:
    large, small = key("prefill", frames=64), key("prefill", frames=1)
    first, second = outcomes([large, small], FakeAllocator(limit=5 * 2**20), tmp_path)
    assert isinstance(first, OutOfMemory)
    assert first.phase == "prefill"
    assert first.counted_peak_bytes > 5 * 2**20
    assert first.message == "CUDA out of memory. Tried to allocate"
    assert isinstance(second, Measured)


def test_an_error_is_an_outcome(tmp_path: Path) -> None:
    asked = key("prefill", frames=1).model_copy(update={"method": "no_such"})
    (outcome,) = outcomes([asked], FakeAllocator(), tmp_path)
    assert isinstance(outcome, Failed)
    assert "no_such" in outcome.message


def test_a_device_that_went_through_other_phases_is_refused() -> None:
    counts = count_cell(key("decode", frames=1))
    assert not isinstance(counts, Failed)
    with pytest.raises(RuntimeError, match="the counter \\['token'\\]"):
        compare(counts, {}, {}, {}, workspaces=0)


def test_a_phase_keeps_its_highest_reading_and_interludes_none() -> None:
    allocator = FakeAllocator()
    with allocator.watching():
        peaks = DevicePeaks(allocator)
        with peaks:
            torch.empty(2**20, dtype=torch.uint8)
            for size in (10, 1000, 100):
                peaks.begin_phase("token")
                torch.empty(size * 1024, dtype=torch.uint8)
                peaks.begin_phase(INTERLUDE)
                torch.empty(2**20, dtype=torch.uint8)
    assert list(peaks.phases) == ["token"]
    assert peaks.phases["token"].allocated_peak == 1000 * 1024


@pytest.mark.parametrize("method", METHODS)
def test_a_model_made_on_the_device_is_the_counted_one(method: str) -> None:
    asked = key("prefill", method)
    made, expected = build_on(asked, torch.device("cpu")), build(asked, "cpu")
    shapes = [
        {name: (p.shape, p.dtype, p.requires_grad) for name, p in model.named_parameters()}
        for model in (made, expected)
    ]
    assert shapes[0] == shapes[1]
    buffers = [{name: (b.shape, b.dtype) for name, b in m.named_buffers()} for m in (made, expected)]
    assert buffers[0] == buffers[1]
    refill(made)
    assert all(p.isfinite().all() and p.any() for p in made.parameters())
