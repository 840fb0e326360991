"""State that a model's modules keep between passes in attributes of their own, one set per session.

Code of this kind streams one input at a time: its modules remember what the next pass needs, and a second
session would find what the first one left. Here the attributes in question are found by watching a pass, and
each session gets its own values of them. They are moved only when another session runs, so that a loop of
decoding steps pays nothing.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

Place = tuple[nn.Module, str]
"""A module and the name of one of its attributes."""
Values = dict[Place, Any]
_TORCH = frozenset(vars(nn.Module()))
_ABSENT = object()


def mapped(value: Any, of_tensor: Callable[[Tensor], Tensor], known: dict[int, Any] | None = None) -> Any:
    """A copy of a structure (lists, tuples, dicts, objects with attributes) with its tensors replaced.

    What is shared inside stays shared. Modules, classes, functions and plain values are taken over.
    """
    known = {} if known is None else known
    if id(value) in known:
        return known[id(value)][1]
    if isinstance(value, Tensor):
        out: Any = of_tensor(value)
    elif isinstance(value, list):
        out = []
        known[id(value)] = value, out
        out.extend(mapped(item, of_tensor, known) for item in value)
    elif isinstance(value, tuple):
        items = [mapped(item, of_tensor, known) for item in value]
        out = type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    elif isinstance(value, dict):
        out = copy.copy(value)
        known[id(value)] = value, out
        for name, item in value.items():
            out[name] = mapped(item, of_tensor, known)
    elif _is_plain(value):
        return value
    else:
        out = copy.copy(value)
        known[id(value)] = value, out
        for name, item in vars(value).items():
            vars(out)[name] = mapped(item, of_tensor, known)
    # The original is held too, so that its id is not given to another object meanwhile.
    known[id(value)] = value, out
    return out


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors of a structure, each once."""
    found: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        found[id(tensor)] = tensor
        return tensor

    mapped(value, note)
    return list(found.values())


class Window:
    """What the modules keep for one session; ``values`` are None while they are in the modules, or nowhere
    yet."""

    def __init__(self, values: Values | None = None) -> None:
        self.values = values
        self.open = False
        """Whether the class's streaming was started."""


class ModuleState:
    """Gives the modules of ``net`` the attributes of the session that runs."""

    def __init__(self, places: list[Place]) -> None:
        """The present values are those of a session that has run nothing."""
        self._places = places
        self._first = self._cloned(self._present())
        self._owner: weakref.ref[Window] | None = None

    @classmethod
    def watching(cls, net: nn.Module, steps: Iterator[None]) -> ModuleState:
        """Find the attributes that change during the steps, the last of which ends what the first began."""
        before = {place: _mark(value) for place, value in _attributes(net).items()}
        changed: dict[Place, None] = {}
        for _ in steps:
            now = _attributes(net)
            for place in {**before, **now}:
                if before.get(place, _ABSENT) != (_mark(now[place]) if place in now else _ABSENT):
                    changed[place] = None
        return cls(list(changed))

    def install(self, window: Window) -> None:
        """Make the modules those of a session."""
        owner = self._owner() if self._owner is not None else None
        if owner is window:
            return
        if owner is not None:
            owner.values = self._present()
        self._put(self._cloned(self._first) if window.values is None else window.values)
        window.values = None
        self._owner = weakref.ref(window, self._left)

    def values(self, window: Window) -> Values:
        """What the modules keep for a session, wherever it is now."""
        if self._owner is not None and self._owner() is window:
            return self._present()
        return window.values or {}

    def fork(self, window: Window) -> Window:
        """An independent copy, tensors included: the class may write into them."""
        values = self.values(window)
        copied = Window(self._cloned(values) if values else None)
        copied.open = window.open
        return copied

    def _left(self, ref: weakref.ref[Window]) -> None:
        # Nobody can ask for a dropped session's values again; what they hold is freed.
        if self._owner is ref:
            self._owner = None
            self._put(self._cloned(self._first))

    def _present(self) -> Values:
        return {(module, name): vars(module).get(name, _ABSENT) for module, name in self._places}

    def _cloned(self, values: Values) -> Values:
        known: dict[int, Any] = {}
        return {place: mapped(value, torch.clone, known) for place, value in values.items()}

    def _put(self, values: Values) -> None:
        for (module, name), value in values.items():
            if value is _ABSENT:
                vars(module).pop(name, None)
            else:
                vars(module)[name] = value


def _attributes(net: nn.Module) -> Values:
    return {
        (module, name): value
        for module in net.modules()
        for name, value in vars(module).items()
        if name not in _TORCH
    }


def _mark(value: Any, above: tuple[int, ...] = ()) -> Any:
    """Something that differs when a structure or one of its tensors has changed."""
    if isinstance(value, Tensor):
        return id(value), value.data_ptr(), tuple(value.shape)
    if id(value) in above:
        return id(value)
    above = (*above, id(value))
    if isinstance(value, list | tuple):
        return type(value), tuple(_mark(item, above) for item in value)
    if isinstance(value, dict):
        return type(value), tuple((repr(name), _mark(item, above)) for name, item in value.items())
    if isinstance(value, str | bytes | int | float | bool | None):
        return value
    if _is_plain(value):
        return id(value)
    return id(value), tuple((name, _mark(item, above)) for name, item in vars(value).items())


def _is_plain(value: Any) -> bool:
    """Whether a value is taken as one: it has no attributes of its own, or they are none of a stream's."""
    return isinstance(value, nn.Module | type) or callable(value) or not hasattr(value, "__dict__")
