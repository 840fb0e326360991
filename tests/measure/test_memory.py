"""Memory of the real methods against the allocator, and the state's bytes against its storages."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from harness.attention import using
from harness.errors import HarnessError
from harness.measure.counted import storage_bytes
from harness.measure.memory import (
    count_prefill,
    host_peak_bytes,
    measure_memory,
    reset_host_peak,
    state_bytes,
)
from harness.measure.subject import SubjectSession
from harness.measure.workload import Workload
from harness.session import Session
from tests.measure.conftest import fused

AllocatorPeak = Callable[[Callable[[], object]], int]


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def tensors_of(session: SubjectSession) -> list[Tensor]:
    return [tensor for tensors in session.state_tensors().values() for tensor in tensors]


def test_the_counted_peak_equals_the_allocators(
    method: str, workload: Callable[[str], Workload], allocator_peak: AllocatorPeak
) -> None:
    load = workload(method)
    load.prefill(load.model.session())
    counted = count_prefill(load, granule=1)
    allocated = allocator_peak(lambda: load.prefill(load.model.session()))
    assert counted.peak_bytes - counted.resting_bytes == allocated > 0


def test_a_larger_peak_equals_the_allocators_where_every_operator_is_seen(
    method: str, workload: Callable[[str], Workload], allocator_peak: AllocatorPeak
) -> None:
    load = workload(method)
    wide = load.features.repeat(1, 64, 1)  # 256 tokens a frame: attention is at the peak.
    load = Workload(model=load.model, stream=load.stream, features=wide, question=load.question)
    with using("reference"):
        counted = count_prefill(load, granule=1)
        allocated = allocator_peak(lambda: load.prefill(load.model.session()))
    assert counted.peak_bytes - counted.resting_bytes == allocated > 0


def test_memory_is_the_same_in_every_repeat(method: str, workload: Callable[[str], Workload]) -> None:
    first, second = (measure_memory(workload(method)) for _ in range(2))
    assert first.source == "counted"
    assert first.reserved_bytes is None
    assert first.model_dump(exclude={"host_peak_bytes"}) == second.model_dump(exclude={"host_peak_bytes"})


def test_what_rests_is_the_model_and_the_features(method: str, workload: Callable[[str], Workload]) -> None:
    load = workload(method)
    counted = count_prefill(load, granule=1)
    model = [*load.model.parameters(), *load.model.buffers()]
    assert counted.resting_bytes == storage_bytes([*model, load.features])
    kinds = counted.at_peak()
    # A method that drops rows at the end of a pass copies what it keeps: after the peak.
    assert set(kinds) - {"state"} == {"parameters", "input", "temporaries"}
    assert sum(kinds.values()) == counted.peak_bytes


def test_nothing_but_the_state_outlives_a_prefill(method: str, workload: Callable[[str], Workload]) -> None:
    load = workload(method)
    counted = count_prefill(load, granule=1)
    outlived = counted.live_bytes - counted.resting_bytes - storage_bytes(tensors_of(load.asked()))
    last_row = fused(load).decoder.width * 4  # What the next token's logits are made from.
    assert outlived == last_row


def test_a_planted_leak_in_a_method_is_seen(
    method: str, workload: Callable[[str], Workload], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = workload(method)
    clean = count_prefill(load)
    kept: list[Tensor] = []
    fusion = type(fused(load).fusion)
    layer = fusion.layer

    def leaking(self: object, i: int, block: object, h_rd: Tensor, step: object) -> Tensor:
        kept.append(h_rd * 1.0)
        return layer(self, i, block, h_rd, step)  # type: ignore[arg-type]

    monkeypatch.setattr(fusion, "layer", leaking)
    leaky = count_prefill(load)
    assert leaky.peak_bytes > clean.peak_bytes
    assert leaky.live_bytes - clean.live_bytes >= storage_bytes(kept)


def test_state_bytes_are_those_of_the_tensors(method: str, workload: Callable[[str], Workload]) -> None:
    session = workload(method).watched()
    assert sum(state_bytes(session).values()) == storage_bytes(tensors_of(session)) > 0


def test_a_session_that_keeps_more_than_it_reports_is_refused(
    method: str, workload: Callable[[str], Workload]
) -> None:
    session = workload(method).watched()
    assert isinstance(session, Session)
    larger = torch.zeros(1000, *session.state.text.keys[0].shape[1:])  # type: ignore[union-attr]
    session.state.text.keys[0] = larger[: len(session.state.text)]
    with pytest.raises(HarnessError, match="store copies instead of views"):
        state_bytes(session)


def test_the_hosts_peak_follows_what_is_allocated() -> None:
    reset_host_peak()
    before = host_peak_bytes()
    if before is None:
        pytest.skip("this system has no VmHWM")
    block = torch.ones(16 << 20)
    after = host_peak_bytes()
    assert after is not None
    assert after - before > block.nbytes // 2
