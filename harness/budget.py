"""What a card leaves for tensors."""

from __future__ import annotations

from typing import Final

from harness.errors import UsageError
from harness.units import parse_bytes

RESERVE: Final = "1GiB"
"""Kept free by default for what is no tensor: the CUDA context, workspaces, fragmentation."""


def usable_bytes(card: str, reserve: str = RESERVE) -> int:
    """Bytes of a card's memory that tensors may take. Raises UsageError where none is left."""
    budget = parse_bytes(card) - (parse_bytes(reserve) if reserve.strip() != "0" else 0)
    if budget <= 0:
        raise UsageError(f"nothing of --gpu {card} is left beside --reserve {reserve}; give a larger card")
    return budget
