"""State in the attributes of modules, one set per session."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from harness.published_models.modulestate import ModuleState, Window, mapped, tensors_in


class Pair(NamedTuple):
    first: Tensor
    second: int


class Counter(nn.Module):
    """Remembers inputs in a list inside an object, and how often it ran; ``scale`` never changes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = 2.0
        self.memory = SimpleNamespace(seen=[], total=None)
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        self.memory.seen.append(x)
        self.memory.total = x.clone() if self.memory.total is None else self.memory.total.add_(x)
        self.last = x
        total: Tensor = self.memory.total
        return self.scale * total


def watched(net: nn.Module) -> ModuleState:
    def steps() -> Iterator[None]:
        net(torch.ones(2))
        yield
        net.memory, net.runs = SimpleNamespace(seen=[], total=None), 0  # type: ignore[assignment]
        del net.last
        yield

    return ModuleState.watching(net, steps())


def test_every_session_has_its_own_values() -> None:
    net = nn.Sequential(Counter())
    state = watched(net[0])
    one, other = Window(), Window()
    for window, value in ((one, 1.0), (other, 10.0), (one, 2.0), (other, 20.0)):
        state.install(window)
        out = net(torch.full((2,), value))
    assert out.tolist() == [60.0, 60.0]
    state.install(one)
    assert net(torch.zeros(2)).tolist() == [6.0, 6.0]
    assert [len(state.values(window)) for window in (one, other)] == [3, 3]


def test_a_fork_is_a_copy_of_its_tensors() -> None:
    net = Counter()
    state, window = watched(net), Window()
    state.install(window)
    net(torch.ones(2))
    forked = state.fork(window)
    net(torch.ones(2))
    state.install(forked)
    assert net(torch.full((2,), 4.0)).tolist() == [10.0, 10.0]
    assert net.runs == 2


def test_a_dropped_session_is_forgotten() -> None:
    net = Counter()
    state, window = watched(net), Window()
    state.install(window)
    net(torch.ones(2))
    del window
    assert net.memory.seen == []
    assert not hasattr(net, "last")
    fresh = Window()
    assert state.values(fresh) == {}
    state.install(fresh)
    assert net(torch.ones(2)).tolist() == [2.0, 2.0]


def test_structures_are_copied_with_what_they_share() -> None:
    tensor, module = torch.ones(3), nn.Linear(1, 1)
    inside: dict[str, Any] = {"a": [tensor, Pair(tensor, 4)], "b": SimpleNamespace(x=tensor), "net": module}
    inside["b"].parent = inside
    copied = mapped(inside, torch.clone)
    assert copied is not inside
    assert copied["b"].parent is copied
    assert copied["a"][0] is copied["a"][1].first is copied["b"].x
    assert copied["a"][0] is not tensor
    assert copied["a"][1].second == 4
    assert copied["net"] is module
    assert inside["a"][0] is tensor
    assert len(tensors_in(inside)) == 1
