"""Bytes that operators move, in cases whose answer is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from harness.measure.counted import CountedMemory
from harness.measure.flops import Operations, Traffic

X = 4 * 32 * 32
"""Bytes of a float32 matrix of 32 by 32."""


def moved(work: Callable[[Tensor], object], device: str = "cpu", of: str = "cpu") -> int:
    x, traffic = torch.ones(32, 32, device=device), Traffic(of)
    with torch.inference_mode(), CountedMemory(observers=[traffic]):
        work(x)
    return traffic.total


@pytest.mark.parametrize(("work", "matrices"), [
    (lambda x: x + 1, 2),
    (lambda x: x + x, 2),
    (lambda x: x @ x.t(), 3),
    (lambda x: x.add_(1), 1),
    (lambda x: x.mul_(x), 1),
    (lambda x: torch.cat([x, x]), 3),
    (lambda x: torch.where(x > 0, x, x), 1 + 0.25 + 0.25 + 1 + 1),
    (lambda x: x.sum(0, keepdim=True).expand(32, 32), 1 + 1 / 32),
    (lambda x: x[:16] + 1, 1),
    (lambda x: x.clone(), 2),
], ids=[str(n) for n in range(10)])  # fmt: skip
def test_every_distinct_input_and_output_moves_once(work: Callable[[Tensor], Tensor], matrices: int) -> None:
    assert moved(work) == matrices * X


@pytest.mark.parametrize("work", [
    lambda x: x.view(-1),
    lambda x: x.t()[3:],
    lambda x: x.unsqueeze(0).expand(4, 32, 32),
    lambda x: x.split(8),
    lambda x: torch.ops.aten._unsafe_view(x, [1024]),
    lambda x: x.detach(),
    lambda x: torch.empty_like(x),
    lambda x: x.new_empty(4096),
    lambda x: torch.empty(3, 4),
])  # fmt: skip
def test_views_and_uninitialised_memory_are_free(work: Callable[[Tensor], Tensor]) -> None:
    assert moved(work) == 0


def test_other_devices_do_not_count() -> None:
    assert moved(lambda x: x + 1, device="meta", of="meta") == 2 * X
    assert moved(lambda x: x + 1, device="cpu", of="meta") == 0


def test_operations_come_from_the_same_pass() -> None:
    operations, traffic = Operations(), Traffic("cpu")
    x = torch.ones(32, 32)
    with torch.inference_mode(), CountedMemory(observers=[operations, traffic]) as memory:
        x @ x + 1
    assert operations.total == 2 * 32**3
    assert traffic.total == 4 * X
    assert memory.peak_bytes == 2 * X
