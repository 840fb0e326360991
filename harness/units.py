"""Bytes and numbers in words."""

from __future__ import annotations

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
_LARGEST_SHOWN = 999.5


def bytes_text(amount: float) -> str:
    """Three digits and a binary unit: ``5.9 GiB``, ``112 KiB``, ``0.5 bytes``."""
    unit = 0
    while abs(amount) >= _LARGEST_SHOWN and unit < len(_UNITS) - 1:
        amount /= 1024
        unit += 1
    return f"{amount:.3g} {_UNITS[unit]}"


def exact_bytes(amount: int) -> str:
    """The exact number, and the same in words where it is a long one."""
    return f"{amount:,} bytes" + (f" ({bytes_text(amount)})" if abs(amount) >= 1024 else "")
