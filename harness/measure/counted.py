"""Peak memory by counting live tensor storages: exact at the level of tensors, the same on every machine.

A dispatch mode sees every operator. Each storage counts once, from the operator that made it until it is
freed, in whole multiples of a granule (512 bytes: the rounding of the CUDA caching allocator). What a kernel
allocates inside itself, fragmentation, and memory that is not torch's are outside of it. It works alike on
CPU and on ``meta`` tensors, which have sizes but no data.

Events are kept, not only counters, so that a tag given late (what a session holds after the region, for
example) still says what was live at the peak. A region may be told in *phases*, each with a peak of its own,
and its layers *marked*: what lives across a mark is an activation, what does not is temporary.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from types import TracebackType
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness.collector import collector_off
from harness.sites import calling_line

GRANULE = 512
TEMPORARIES, ACTIVATIONS = "temporaries", "activations"
INTERLUDE = "interlude"
Kind = str | Mapping[str, int]
"""What a storage is; or several kinds that share it, each with its weight (rows, for instance)."""

# ``torch.tensor(...)`` allocates out of sight; its storage first shows up as the argument of one of these.
_FRESH: frozenset[object] = frozenset({torch.ops.aten.lift_fresh.default, torch.ops.aten.lift.default})


class Observer(Protocol):
    """Sees every operator of a region after it ran, on the way to the count."""

    def __call__(
        self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None: ...


class Execute(Protocol):
    """Runs an operator."""

    def __call__(self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...


@dataclass(slots=True)
class Origin:
    """Where a storage comes from: the operator and line that made it (empty for what was there before), the
    shape and dtype that it was first seen with, and between which marks it lived."""

    operator: str
    where: str
    shape: tuple[int, ...]
    dtype: str
    born: int
    died: int | None = None


@dataclass(frozen=True, slots=True)
class Live:
    """A storage at the peak."""

    size: int
    kind: str
    origin: Origin


class _Storage:
    """A live storage: its number, its rounded bytes, and whether they are counted."""

    __slots__ = ("counted", "ref", "serial", "size")

    def __init__(self, serial: int, size: int, counted: bool) -> None:
        self.serial, self.size, self.counted = serial, size, counted
        self.ref: weakref.ref[torch.UntypedStorage] | None = None


@dataclass(slots=True)
class _PhasePeak:
    delta: int
    event: int


class CountedMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of live storages inside a ``with`` block.

    Tag what is already there before entering: ``memory.tag(model, "parameters")``. A storage that nobody
    tagged and no operator inside made (NumPy's memory, an untagged constant) is not counted. The garbage
    collector is run once at the start and then off until the end, since the moment at which it breaks a cycle
    would move the peak.

    ``granule`` is in bytes; ``device`` restricts counting to one device type ("cpu", "meta", ...).
    ``observers`` see the same operators, so that operations and traffic come from the same pass. ``execute``
    runs an operator in place of torch, with the same result.
    """

    def __init__(
        self,
        *,
        granule: int = GRANULE,
        device: str | None = None,
        observers: Sequence[Observer] = (),
        execute: Execute | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.granule = granule
        self.device = device
        self.observers = tuple(observers)
        self._execute = execute
        self._live: dict[int, _Storage] = {}
        self._origins: list[Origin] = []
        self._kinds: dict[int, Kind] = {}
        self._base: dict[int, int] = {}
        self._events: list[tuple[int, int]] = []
        self._delta = 0
        self._phases: dict[str, _PhasePeak] = {"": _PhasePeak(0, 0)}
        self._here = self._phases[""]
        self._marks = 0
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
        return self.resting_bytes + max(peak.delta for peak in self._counted().values())

    @property
    def phases(self) -> dict[str, int]:
        """The peak bytes of every named phase, in their order."""
        return {name: self.resting_bytes + peak.delta for name, peak in self._counted().items() if name}

    @property
    def peak_phase(self) -> str:
        """The first phase that reaches the peak; empty outside of any."""
        return max(self._counted(), key=lambda name: self._phases[name].delta)

    def _counted(self) -> dict[str, _PhasePeak]:
        return {name: peak for name, peak in self._phases.items() if name != INTERLUDE}

    def begin_phase(self, name: str) -> None:
        """What follows is a phase of that name, until the next one begins. The peaks of an ``INTERLUDE`` are
        nobody's: what it leaves alive counts on, what it took on the way does not."""
        self._here = self._phases.setdefault(name, _PhasePeak(self._delta, len(self._events)))
        self._raise_peak()
        self.mark()

    def mark(self) -> None:
        """A boundary between layers: what lives across it is an activation."""
        self._marks += 1

    def tag(self, tensors: Iterable[Tensor] | nn.Module, kind: Kind) -> None:
        """Name what these tensors' storages are. Untagged storages made inside are ``temporaries``, or
        ``activations`` where they live across a mark.

        Tags given inside or after the region hold for the whole life of a storage.
        """
        for tensor in _tensors_of(tensors):
            if not self._watched(tensor):
                continue
            storage = tensor.untyped_storage()
            entry = self._live.get(storage._cdata) or self._register(storage, tensor, counted=False)
            if not entry.counted and self._phase != "after":
                # Nothing inside made it, so it was there before.
                entry.counted = True
                self._base[entry.serial] = entry.size
            self._kinds[entry.serial] = kind

    def at_peak(self) -> dict[str, int]:
        """Bytes by kind at the peak; the sum is ``peak_bytes``."""
        by_kind: dict[str, int] = {}
        for live in self.live_at_peak():
            by_kind[live.kind] = by_kind.get(live.kind, 0) + live.size
        return by_kind

    def live_at_peak(self) -> list[Live]:
        """The storages at the peak; one of several kinds comes once for each."""
        sizes = dict(self._base)
        for serial, change in self._events[: self._phases[self.peak_phase].event]:
            sizes[serial] = sizes.get(serial, 0) + change
        return [
            Live(part, kind, self._origins[serial])
            for serial, size in sizes.items()
            if size
            for kind, part in self._shares(serial, size)
        ]

    def peak_origin(self) -> Origin | None:
        """What was allocated last of what lives at the peak; None where nothing was.

        That is what reached the peak, but where a phase begins at it and only frees.
        """
        freed: set[int] = set()
        for serial, change in reversed(self._events[: self._phases[self.peak_phase].event]):
            if change > 0 and serial not in freed:
                return self._origins[serial]
            freed.add(serial)
        return None

    def _shares(self, serial: int, size: int) -> list[tuple[str, int]]:
        kind = self._kinds.get(serial)
        if kind is None:
            origin = self._origins[serial]
            last = self._marks if origin.died is None else origin.died
            return [(ACTIVATIONS if last > origin.born else TEMPORARIES, size)]
        if isinstance(kind, str):
            return [(kind, size)]
        total = sum(kind.values())
        shares = {name: size * weight // total for name, weight in kind.items() if weight}
        greatest = max(shares, key=lambda name: shares[name])
        shares[greatest] += size - sum(shares.values())
        return list(shares.items())

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
            for tensor in flat(args):
                self._see(tensor, counted=False)
            for tensor in flat(kwargs.values()):
                self._see(tensor, counted=False)
        result = func(*args, **kwargs) if self._execute is None else self._execute(func, args, kwargs)
        for tensor in flat((result,)):
            self._see(tensor, counted=True, func=func)
        for observe in self.observers:
            observe(func, args, kwargs, result)
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

    def _see(self, tensor: Tensor, *, counted: bool, func: torch._ops.OpOverload | None = None) -> None:
        if not self._watched(tensor):
            return
        storage = tensor.untyped_storage()
        entry = self._live.get(storage._cdata)
        if entry is None:
            # NumPy's memory cannot be resized: it is not torch's allocator that made it.
            entry = self._register(storage, tensor, counted=counted and storage.resizable(), func=func)
            if entry.counted:
                self._record(entry.serial, entry.size)
            return
        size = self._rounded(storage)
        if size != entry.size:
            if entry.counted:
                self._record(entry.serial, size - entry.size)
            entry.size = size

    def _register(
        self,
        storage: torch.UntypedStorage,
        tensor: Tensor,
        *,
        counted: bool,
        func: torch._ops.OpOverload | None = None,
    ) -> _Storage:
        key = storage._cdata
        entry = _Storage(len(self._origins), self._rounded(storage), counted)
        entry.ref = weakref.ref(storage, partial(self._freed, key))
        self._live[key] = entry
        operator, where = ("", "") if func is None or not counted else (str(func), calling_line())
        shape, dtype = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
        self._origins.append(Origin(operator, where, shape, dtype, self._marks))
        return entry

    def _freed(self, key: int, _ref: object) -> None:
        entry = self._live.pop(key)
        if not entry.counted:
            return
        if self._phase == "before":
            del self._base[entry.serial]
        elif self._phase == "inside":
            self._origins[entry.serial].died = self._marks
            self._record(entry.serial, -entry.size)

    def _record(self, serial: int, change: int) -> None:
        self._events.append((serial, change))
        self._delta += change
        self._raise_peak()

    def _raise_peak(self) -> None:
        if self._delta > self._here.delta:
            self._here.delta, self._here.event = self._delta, len(self._events)


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


def flat(values: Iterable[object]) -> Iterator[Tensor]:
    """The tensors among an operator's arguments or results, lists of them included."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from flat(value)
