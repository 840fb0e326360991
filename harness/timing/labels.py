"""What the methods of a timing are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.plan import method_label
from harness.timing.records import TimingKey


def names_of(key: TimingKey) -> tuple[str, ...]:
    """One name per method of a key, each different, as on the command line."""
    return numbered([method_label(method) for method in key.methods])


def numbered(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels that tell copies apart: the second ``casa`` is ``casa #2``."""
    seen: Counter[str] = Counter()
    names = []
    for label in labels:
        seen[label] += 1
        names.append(label if seen[label] == 1 else f"{label} #{seen[label]}")
    return tuple(names)
