"""The counted peak, in cases whose answer is known and against torch's own allocator events."""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.measure.counted import CountedMemory, storage_bytes

KIB = 1024


def block(kib: int) -> Tensor:
    return torch.empty(kib * KIB, dtype=torch.uint8)


def test_peak_is_the_most_bytes_live_at_once() -> None:
    with CountedMemory() as memory:
        first = block(4)
        second = block(8)
        del first
        third = block(2)
        del second, third
    assert memory.peak_bytes == 12 * KIB
    assert memory.live_bytes == 0
    assert memory.resting_bytes == 0


def test_resting_bytes_count_each_tagged_storage_once() -> None:
    model = nn.Linear(64, 64, bias=False)
    view = model.weight.t()
    memory = CountedMemory()
    memory.tag(model, "parameters")
    memory.tag([view, model.weight], "parameters")
    with memory:
        pass
    assert memory.resting_bytes == memory.peak_bytes == 64 * 64 * 4
    assert memory.at_peak() == {"parameters": 64 * 64 * 4}


def test_views_and_in_place_operators_are_free() -> None:
    base = block(8)
    memory = CountedMemory()
    memory.tag([base], "input")
    with memory:
        view = base[1024:].view(-1, 64)
        view.add_(1)
        base.zero_()
        base.t()
    assert memory.peak_bytes == 8 * KIB


def test_a_storage_that_nobody_tagged_is_not_an_allocation() -> None:
    weight = torch.randn(64, 64)
    with CountedMemory() as memory:
        weight.t()
        weight.add_(1)
    assert memory.peak_bytes == 0


def test_a_view_keeps_its_storage_alive() -> None:
    with CountedMemory() as memory:
        whole = block(8)
        part = whole[:16]
        del whole
        assert memory.live_bytes == 8 * KIB
        del part
        assert memory.live_bytes == 0


def test_sizes_are_rounded_up_to_the_granule() -> None:
    with CountedMemory() as rounded:
        kept = [torch.empty(1, dtype=torch.uint8), torch.empty(513, dtype=torch.uint8), torch.empty(0)]
    with CountedMemory(granule=1) as exact:
        kept += [torch.empty(1, dtype=torch.uint8), torch.empty(513, dtype=torch.uint8), torch.empty(0)]
    assert rounded.peak_bytes == 512 + 1024
    assert exact.peak_bytes == 514


def test_a_tensor_made_from_python_numbers_is_counted() -> None:
    with CountedMemory() as memory:
        kept = torch.tensor([1.0] * 1024)
    assert memory.peak_bytes == kept.untyped_storage().nbytes() == 4 * KIB


def test_memory_of_numpy_is_not_counted() -> None:
    with CountedMemory() as memory:
        index = torch.from_numpy(np.arange(1000))
        copied = index.clone()
    assert memory.peak_bytes == copied.untyped_storage().nbytes() + 192  # 8000 rounded up to 8192


def test_resize_is_followed() -> None:
    with CountedMemory() as memory:
        tensor = block(1)
        tensor.resize_(16 * KIB)
    assert memory.live_bytes == 16 * KIB


def test_freeing_what_rested_lowers_live_bytes_but_not_resting() -> None:
    held = [block(8)]
    memory = CountedMemory()
    memory.tag(held, "input")
    with memory:
        held.clear()
        assert memory.live_bytes == 0
        kept = block(4)
    assert memory.resting_bytes == 8 * KIB
    assert memory.peak_bytes == 8 * KIB
    assert memory.live_bytes == storage_bytes([kept])


def test_what_dies_before_the_region_does_not_rest() -> None:
    memory = CountedMemory()
    memory.tag([block(8)], "input")
    with memory:
        pass
    assert memory.resting_bytes == 0


def test_kinds_at_the_peak_sum_to_it_and_late_tags_count() -> None:
    parameters = block(2)
    memory = CountedMemory()
    memory.tag([parameters], "parameters")
    with memory:
        state = block(4)
        scratch = block(16)
        del scratch
        after = block(1)
    memory.tag([state, after], "state")
    assert memory.at_peak() == {"parameters": 2 * KIB, "state": 4 * KIB, "temporaries": 16 * KIB}
    assert sum(memory.at_peak().values()) == memory.peak_bytes


def test_one_device_at_a_time() -> None:
    with CountedMemory(device="meta") as memory:
        sizes = torch.ones(1000)
        data = torch.empty(256, 256, device="meta")
        product = data @ data
    assert sizes.device.type == "cpu"
    assert memory.live_bytes == 2 * 256 * 256 * 4
    assert memory.peak_bytes == storage_bytes([data, product])


def test_a_planted_leak_is_visible() -> None:
    leak: list[Tensor] = []

    def step(leaking: bool) -> None:
        hidden = torch.randn(64, 64) @ torch.randn(64, 64)
        if leaking:
            leak.append(hidden)

    with CountedMemory() as clean:
        for _ in range(5):
            step(leaking=False)
    with CountedMemory() as leaky:
        for _ in range(5):
            step(leaking=True)
    assert clean.live_bytes == 0
    assert leaky.live_bytes == 5 * 64 * 64 * 4
    assert leaky.peak_bytes == clean.peak_bytes + 4 * 64 * 64 * 4


def test_cycles_live_until_the_end_and_the_collector_is_restored() -> None:
    assert gc.isenabled()
    with CountedMemory() as memory:
        assert not gc.isenabled()
        for _ in range(10):
            cycle: list[object] = [block(4)]
            cycle.append(cycle)
    assert gc.isenabled()
    assert memory.peak_bytes == 40 * KIB


def test_the_collector_is_restored_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), CountedMemory():
        _ = 1 / 0
    assert gc.isenabled()


def test_a_region_is_measured_once() -> None:
    memory = CountedMemory()
    with memory:
        pass
    with pytest.raises(RuntimeError, match="one region"), memory:
        pass


@pytest.mark.parametrize("mode", ["training", "no_grad", "inference"])
def test_equals_the_allocator_on_a_small_network(
    mode: str, allocator_peak: Callable[[Callable[[], object]], int]
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Embedding(50, 32), nn.Linear(32, 96), nn.GELU(), nn.LayerNorm(96), nn.Linear(96, 50)
    )
    ids = torch.randint(0, 50, (7, 13))

    def work() -> None:
        with torch.set_grad_enabled(mode != "no_grad"), torch.inference_mode(mode == "inference"):
            logits = model(ids)
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten())
            if mode == "training":
                loss.backward()  # type: ignore[no-untyped-call]
        model.zero_grad(set_to_none=True)

    work()
    memory = CountedMemory(granule=1)
    memory.tag(model, "parameters")
    memory.tag([ids], "input")
    with memory:
        work()
    assert memory.peak_bytes - memory.resting_bytes == allocator_peak(work) > 0
