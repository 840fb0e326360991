"""The record of which kernels attention ran through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_recorder: ContextVar[set[str] | None] = ContextVar("attention_recorder", default=None)


@contextmanager
def recording() -> Iterator[set[str]]:
    """Collect the names of the kernels that attention runs inside, as "route/kernel:device".

    The kernel is torch's choice for ``blocks`` (flash, efficient, cudnn or math), flash for ``varlen`` and
    ``flash_attn``, and eager for ``reference``. A pattern without any block runs, and names, nothing.
    """
    seen: set[str] = set()
    token = _recorder.set(seen)
    try:
        yield seen
    finally:
        _recorder.reset(token)


def is_recording() -> bool:
    return _recorder.get() is not None


def record(route: str, kernel: str, device: str) -> None:
    """Note one kernel; nothing outside of ``recording``."""
    seen = _recorder.get()
    if seen is not None:
        seen.add(f"{route}/{kernel}:{device}")
