"""Peak memory by counting live tensor storages: exact at the level of tensors, the same on every machine.

A dispatch mode sees every operator. Each storage counts once, from the operator that made it until it is
freed, in whole multiples of a granule (512 bytes: the rounding of the CUDA caching allocator). What a kernel
allocates inside itself, fragmentation, and memory that is not torch's are outside of it. It works alike on
CPU and on ``meta`` tensors, which have sizes but no data.

Events are kept, not only counters, so that a tag given late (what a session holds after the region, for
example) still says what was live at the peak.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from functools import cache, partial
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness.measure.collector import collector_off

GRANULE = 512
TEMPORARY = "temporary"

# ``torch.tensor(...)`` allocates out of sight; its storage first shows up as the argument of one of these.
_FRESH: frozenset[object] = frozenset({torch.ops.aten.lift_fresh.default, torch.ops.aten.lift.default})


class _Storage:
    """A live storage: its number, its rounded bytes, and whether they are counted."""

    __slots__ = ("counted", "ref", "serial", "size")

    def __init__(self, serial: int, size: int, counted: bool) -> None:
        self.serial, self.size, self.counted = serial, size, counted
        self.ref: weakref.ref[torch.UntypedStorage] | None = None


class CountedMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of live storages inside a ``with`` block.

    Tag what is already there before entering: ``memory.tag(model, "parameters")``. A storage that nobody
    tagged and no operator inside made (NumPy's memory, an untagged constant) is not counted. The garbage
    collector is run once at the start and then off until the end, since the moment at which it breaks a cycle
    would move the peak.

    ``granule`` is in bytes; ``device`` restricts counting to one device type ("cpu", "meta", ...).
    """

    def __init__(self, *, granule: int = GRANULE, device: str | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.granule = granule
        self.device = device
        self._live: dict[int, _Storage] = {}
        self._kinds: dict[int, str] = {}
        self._base: dict[int, int] = {}
        self._events: list[tuple[int, int]] = []
        self._delta = 0
        self._peak_delta = 0
        self._peak_event = 0
        self._serial = 0
        self._phase = "before"
        self._quiet = collector_off()

    def __enter__(self) -> Self:
        if self._phase != "before":
            raise RuntimeError("a CountedMemory measures one region; make a new one for the next")
        self._quiet.__enter__()
        self._phase = "inside"
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(exc_type, exc_value, traceback)  # type: ignore[no-untyped-call]
        self._phase = "after"
        self._quiet.__exit__(exc_type, exc_value, traceback)

    @property
    def resting_bytes(self) -> int:
        """Tagged bytes that were live when the region began."""
        return sum(self._base.values())

    @property
    def live_bytes(self) -> int:
        """Bytes live now, or at the end of the region once it is over."""
        return self.resting_bytes + self._delta

    @property
    def peak_bytes(self) -> int:
        """The most bytes live at once inside the region, ``resting_bytes`` included."""
        return self.resting_bytes + self._peak_delta

    def tag(self, tensors: Iterable[Tensor] | nn.Module, kind: str) -> None:
        """Name what these tensors' storages are. Untagged storages made inside are ``temporary``.

        Tags given inside or after the region hold for the whole life of a storage.
        """
        for tensor in _tensors_of(tensors):
            if not self._watched(tensor):
                continue
            storage = tensor.untyped_storage()
            entry = self._live.get(storage._cdata) or self._register(storage, counted=False)
            if not entry.counted and self._phase != "after":
                # Nothing inside made it, so it was there before.
                entry.counted = True
                self._base[entry.serial] = entry.size
            self._kinds[entry.serial] = kind

    def at_peak(self) -> dict[str, int]:
        """Bytes by kind at the peak; the sum is ``peak_bytes``."""
        sizes = dict(self._base)
        for serial, change in self._events[: self._peak_event]:
            sizes[serial] = sizes.get(serial, 0) + change
        by_kind: dict[str, int] = {}
        for serial, size in sizes.items():
            if size:
                kind = self._kinds.get(serial, TEMPORARY)
                by_kind[kind] = by_kind.get(kind, 0) + size
        return by_kind

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if is_composite(func):
            # Inference mode shows composite operators whole; what they allocate on the way counts too.
            return self._decomposed(func, args, kwargs)
        if func not in _FRESH:
            # A view of an unseen storage would otherwise look like an allocation.
            for tensor in _flat(args):
                self._see(tensor, counted=False)
            for tensor in _flat(kwargs.values()):
                self._see(tensor, counted=False)
        result = func(*args, **kwargs)
        for tensor in _flat((result,)):
            self._see(tensor, counted=True)
        return result

    def _decomposed(self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        super().__enter__()  # type: ignore[no-untyped-call]
        try:
            return func.decompose(*args, **kwargs)
        finally:
            super().__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def _watched(self, tensor: Tensor) -> bool:
        return self.device is None or tensor.device.type == self.device

    def _rounded(self, storage: torch.UntypedStorage) -> int:
        return -(-storage.nbytes() // self.granule) * self.granule

    def _see(self, tensor: Tensor, *, counted: bool) -> None:
        if not self._watched(tensor):
            return
        storage = tensor.untyped_storage()
        entry = self._live.get(storage._cdata)
        if entry is None:
            # NumPy's memory cannot be resized: it is not torch's allocator that made it.
            entry = self._register(storage, counted=counted and storage.resizable())
            if entry.counted:
                self._record(entry.serial, entry.size)
            return
        size = self._rounded(storage)
        if size != entry.size:
            if entry.counted:
                self._record(entry.serial, size - entry.size)
            entry.size = size

    def _register(self, storage: torch.UntypedStorage, *, counted: bool) -> _Storage:
        key = storage._cdata
        entry = _Storage(self._serial, self._rounded(storage), counted)
        self._serial += 1
        entry.ref = weakref.ref(storage, partial(self._freed, key))
        self._live[key] = entry
        return entry

    def _freed(self, key: int, _ref: object) -> None:
        entry = self._live.pop(key)
        if not entry.counted:
            return
        if self._phase == "before":
            del self._base[entry.serial]
        elif self._phase == "inside":
            self._record(entry.serial, -entry.size)

    def _record(self, serial: int, change: int) -> None:
        self._events.append((serial, change))
        self._delta += change
        if self._delta > self._peak_delta:
            self._peak_delta = self._delta
            self._peak_event = len(self._events)


@cache
def is_composite(func: torch._ops.OpOverload) -> bool:
    """Whether an operator is made of others on every device; inference mode shows such operators whole."""
    name = func.name()  # type: ignore[no-untyped-call]
    return torch._C._dispatch_has_kernel_for_dispatch_key(name, "CompositeImplicitAutograd")


def storage_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the distinct storages behind the tensors, unrounded."""
    return sum({(s := tensor.untyped_storage())._cdata: s.nbytes() for tensor in tensors}.values())


def _tensors_of(tensors: Iterable[Tensor] | nn.Module) -> Iterator[Tensor]:
    if isinstance(tensors, nn.Module):
        yield from tensors.parameters()
        yield from tensors.buffers()
    else:
        yield from tensors


def _flat(values: Iterable[object]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _flat(value)
