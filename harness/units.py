"""Bytes and numbers in words."""

from __future__ import annotations

import re

from harness.errors import UsageError

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
_DECIMAL = ("", "k", "M", "G", "T", "P", "E")
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


def operations_text(amount: float) -> str:
    """Three digits and a decimal unit: ``1.93 TFLOP``."""
    unit = 0
    while amount >= _LARGEST_SHOWN and unit < len(_DECIMAL) - 1:
        amount /= 1000
        unit += 1
    return f"{amount:.3g} {_DECIMAL[unit]}FLOP"


def parse_bytes(text: str) -> int:
    """``80GB`` (decimal, as cards are sold), ``80GiB``, ``512m`` (binary), or plain bytes.

    Raises UsageError for anything else.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)(b?)\s*", text, re.IGNORECASE)
    if found is None or (found[3] and not found[2]):
        raise UsageError(f"{text!r} is no size of memory; write for example 80GB, 24GiB or 512MiB")
    power = " kmgt".index(found[2].lower() or " ")
    amount = int(float(found[1]) * (1000 if found[4] and not found[3] else 1024) ** power)
    if amount < 1:
        raise UsageError(f"{text!r} is no memory at all; give a size above 0")
    if not found[2] and not found[4] and amount < 2**20:
        raise UsageError(f"{text!r} is {amount} bytes; give a unit, as in {text.strip()}GB")
    return amount
