"""Methods that look at values are counted on real tensors; what else a method does is never a count."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from harness import registry
from harness.backbones.decoder import DecoderBlock
from harness.counting.records import CountRecord, NotCounted
from harness.counting.run import count_one
from harness.fusion import Step
from harness.fusion_impls.token_insertion import TokenInsertion

from .keys import key

NAME = "looking"
OF_VALUES: dict[str, Callable[[Tensor], Tensor]] = {
    "item": lambda h_rd: h_rd if h_rd.sum().item() else h_rd * 1,
    "nonzero": lambda h_rd: h_rd.index_select(0, torch.ones(len(h_rd), device=h_rd.device).nonzero()[:, 0]),
    "mask": lambda h_rd: h_rd[torch.ones(len(h_rd), dtype=torch.bool, device=h_rd.device)],
    "where": lambda h_rd: h_rd[torch.where(torch.ones(len(h_rd), device=h_rd.device) > 0)],
    "unique": lambda h_rd: h_rd[torch.unique(torch.arange(len(h_rd), device=h_rd.device))],
    "numpy": lambda h_rd: h_rd * float(h_rd.float().numpy().size > 0),
}
Counting = Callable[[Callable[[Tensor], Tensor]], CountRecord]


@pytest.fixture
def counted() -> Iterator[Counting]:
    """Count token insertion whose layers end with a function of their output."""
    known = list(registry.methods)

    def count(after: Callable[[Tensor], Tensor]) -> CountRecord:
        class Looking(TokenInsertion):
            def layer(self, i: int, block: DecoderBlock, h_rd: Tensor, step: Step) -> Tensor:
                return after(super().layer(i, block, h_rd, step))

        registry.register_method(NAME)(Looking)
        return count_one(key(method=NAME, frames=2, size=32))

    yield count
    registry.methods.keep(known)


@pytest.mark.parametrize("operation", OF_VALUES)
def test_values_are_taken_from_real_tensors(operation: str, counted: Counting) -> None:
    record = counted(OF_VALUES[operation])
    assert record.peak is not None, record.outcome
    assert record.peak.substrate == "cpu"
    assert record.peak.reason is not None
    line = OF_VALUES[operation].__code__.co_firstlineno
    assert record.peak.reason.startswith(f"tests/counting/test_values.py:{line} needs the values of a tensor")
    assert f'`"{operation}": lambda' in record.peak.reason


def test_an_error_is_named_where_the_method_makes_it(counted: Counting) -> None:
    outcome = counted(lambda h_rd: h_rd + h_rd[:, :7]).outcome
    assert isinstance(outcome, NotCounted)
    assert outcome.message.startswith("RuntimeError at tests/counting/test_values.py:")


@pytest.mark.parametrize("status", [0, 7])
def test_a_method_that_ends_the_program_is_not_counted(status: int, counted: Counting) -> None:
    def leave(h_rd: Tensor) -> Tensor:
        raise SystemExit(status)

    outcome = counted(leave).outcome
    assert isinstance(outcome, NotCounted)
    assert outcome.message.startswith("SystemExit at tests/counting/test_values.py:")


def test_any_message_can_be_written(counted: Counting) -> None:
    def fail(h_rd: Tensor) -> Tensor:
        raise ValueError("half a \ud800 pair")

    assert "half a ? pair" in counted(fail).model_dump_json()
