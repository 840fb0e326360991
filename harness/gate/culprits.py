"""Which lines' tensors make the difference between two peaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.counting.records import Alive
from harness.units import bytes_text

_Line = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Culprit:
    """Tensors alive at a peak, and what they take more than at the peak compared with.

    ``grown_bytes`` is None where there is nothing to compare with.
    """

    alive: Alive
    grown_bytes: int | None

    def __str__(self) -> str:
        alive = self.alive
        shape = "x".join(map(str, alive.shape)) or "scalar"
        grown = self.grown_bytes or 0
        change = f", {'+' if grown > 0 else '-'}{bytes_text(abs(grown))}" if grown else ""
        origin = f" by {alive.operator}" if alive.operator else ""
        where = f" at {alive.where}" if alive.where else ""
        count = f"{alive.count} tensors" if alive.count > 1 else "1 tensor"
        return (
            f"{bytes_text(alive.bytes)}{change}: {count}, {alive.kind}, up to {shape} {alive.dtype}"
            f"{origin}{where}"
        )


def culprits(now: Sequence[Alive], before: Iterable[Alive] | None = None) -> tuple[Culprit, ...]:
    """The tensors at a peak, those that grew most first.

    Lines move when a file is edited, so groups are compared by file, operator, kind and dtype; what one
    file's equal operators grew is told once, with the largest of them.
    """
    if before is None:
        return tuple(Culprit(alive, None) for alive in now)
    then: Counter[_Line] = Counter()
    for alive in before:
        then[_line(alive)] += alive.bytes
    sums: Counter[_Line] = Counter()
    for alive in now:
        sums[_line(alive)] += alive.bytes
    found, told = [], set()
    for alive in sorted(now, key=lambda one: -one.bytes):
        line = _line(alive)
        found.append(Culprit(alive, None if line in told else sums[line] - then[line]))
        told.add(line)
    return tuple(sorted(found, key=lambda one: -(one.grown_bytes or 0)))


def _line(alive: Alive) -> _Line:
    return alive.where.rpartition(":")[0], alive.operator, alive.kind, alive.dtype
