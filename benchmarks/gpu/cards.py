"""The device under measurement, behind an interface that a test can stand in for."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch.nn.functional import linear

from benchmarks.gpu.records import Card
from harness.counting.device import Allocator, CudaAllocator
from harness.errors import InfrastructureError

SETTINGS = (
    "CUBLAS_WORKSPACE_CONFIG",
    "CUBLASLT_WORKSPACE_SIZE",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TORCH_CUBLASLT_UNIFIED_WORKSPACE",
)
_SIDE = 256


class Device(Protocol):
    """What a measurement needs of a device."""

    @property
    def device(self) -> torch.device: ...

    @property
    def allocator(self) -> Allocator: ...

    def card(self) -> Card: ...

    def running(self) -> AbstractContextManager[None]:
        """Around every scenario."""

    def empty(self) -> None:
        """Give what nobody holds back to the driver."""


class Cuda:
    """The first CUDA device. Raises InfrastructureError where there is none that can be read."""

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise InfrastructureError(
                "no CUDA device is at hand, and this compares with a CUDA allocator; run it on a machine "
                "with a GPU and torch's CUDA build (counting alone needs neither: `harness bench`)"
            )
        backend = torch.cuda.get_allocator_backend()
        if backend != "native":
            raise InfrastructureError(
                f"torch's allocator is {backend}, whose requests are not told; unset PYTORCH_ALLOC_CONF and "
                "PYTORCH_CUDA_ALLOC_CONF"
            )
        self.device = torch.device("cuda", 0)
        self.allocator: Allocator = CudaAllocator(self.device)

    def card(self) -> Card:
        about = torch.cuda.get_device_properties(self.device)
        return Card(
            name=about.name,
            capability=(about.major, about.minor),
            total_bytes=about.total_memory,
            settings={name: os.environ[name] for name in SETTINGS if name in os.environ},
        )

    def running(self) -> AbstractContextManager[None]:
        return nullcontext()

    def empty(self) -> None:
        torch.cuda.empty_cache()


def workspace_bytes(device: Device, dtype: torch.dtype) -> int:
    """What matrix products keep allocated once they ran, in the forward and in the backward pass.

    Each thread that asks has a workspace of its own, and a device's gradients have their own thread.
    """
    device.allocator.synchronize()
    before = device.allocator.read().requested
    _small_products(device.device, dtype)
    device.allocator.synchronize()
    return device.allocator.read().requested - before


def _small_products(device: torch.device, dtype: torch.dtype) -> None:
    x, weight = (torch.ones(_SIDE, _SIDE, device=device, dtype=dtype, requires_grad=True) for _ in range(2))
    bias = torch.ones(_SIDE, device=device, dtype=dtype, requires_grad=True)
    (linear(x, weight, bias) @ weight).sum().backward()  # type: ignore[no-untyped-call]
