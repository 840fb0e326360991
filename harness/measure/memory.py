"""Peak memory of a prefill and the bytes of the streaming state.

On a CPU tensors are counted (see :mod:`harness.measure.counted`); on CUDA the allocator is read. The host's
high-water mark is recorded beside both; it holds the interpreter and all libraries.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from harness.collector import collector_off
from harness.errors import HarnessError
from harness.measure.counted import GRANULE, CountedMemory, storage_bytes
from harness.measure.workload import Workload, synchronize
from harness.records import Memory

if TYPE_CHECKING:
    from harness.measure.subject import SubjectSession


def measure_memory(workload: Workload) -> Memory:
    """The prefill's peak after one full-size warm-up, batch 1, and what a session holds after all frames."""
    workload.prefill(workload.model.session())
    device = workload.features.device
    reset_host_peak()
    if device.type == "cuda":
        source, peak, resting, reserved = "cuda", *_cuda_peak(workload, device)
    else:
        counted = count_prefill(workload)
        source, peak, resting, reserved = "counted", counted.peak_bytes, counted.resting_bytes, None
    host = host_peak_bytes()
    return Memory(
        source="cuda" if source == "cuda" else "counted",
        peak_bytes=peak,
        resting_bytes=resting,
        reserved_bytes=reserved,
        host_peak_bytes=host,
        state_bytes=state_bytes(workload.watched()),
    )


def count_prefill(workload: Workload, granule: int = GRANULE) -> CountedMemory:
    """Run one prefill and count it; kinds at the peak are parameters, input, state and temporaries."""
    memory = CountedMemory(granule=granule, device=workload.features.device.type)
    memory.tag([*workload.model.parameters(), *workload.model.buffers()], "parameters")
    memory.tag([workload.features], "input")
    with memory:
        session = workload.model.session()
        workload.prefill(session)
    memory.tag([tensor for tensors in session.state_tensors().values() for tensor in tensors], "state")
    return memory


def _cuda_peak(workload: Workload, device: torch.device) -> tuple[int, int, int]:
    """Allocated peak, allocated at rest, reserved peak."""
    with collector_off():
        synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        resting = torch.cuda.memory_allocated(device)
        workload.prefill(workload.model.session())
        synchronize(device)
        return torch.cuda.max_memory_allocated(device), resting, torch.cuda.max_memory_reserved(device)


def state_bytes(session: SubjectSession) -> dict[str, int]:
    """What the session says it keeps, by kind, checked against the storages of its tensors.

    Raises HarnessError when a method keeps more or less alive than it reports, for example a slice of a
    larger tensor.
    """
    reported = session.state_bytes()
    held = storage_bytes(tensor for tensors in session.state_tensors().values() for tensor in tensors)
    if sum(reported.values()) != held:
        raise HarnessError(
            f"the session reports {sum(reported.values())} bytes of state but its tensors keep {held} alive; "
            "store copies instead of views, and count every buffer once"
        )
    return reported


def reset_host_peak() -> None:
    """Lower the process's high-water mark to what is resident now, where the system lets it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def host_peak_bytes() -> int | None:
    """The process's high-water mark (VmHWM), or None where the system does not tell."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None
