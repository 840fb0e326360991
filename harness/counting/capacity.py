"""How many frames, or turns of a live session, fit on a card: a search over counted peaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from harness.backbones import resolve
from harness.collector import frozen
from harness.counting.building import make_shapes
from harness.counting.records import CountKey, CountRecord
from harness.counting.run import count_one, naming, scenarios
from harness.counting.spec import CountSpec

Progress = Callable[[str], None]
MOST_TOKENS, MOST_FRAMES = 2**22, 2**14
"""Of the largest stream that is tried: its layout takes the host some 10 seconds and half a GiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The largest number of frames at which a scenario's peak fits.

    ``frames`` 0: not even one fits. ``limit`` says what ends it: the card, or that no larger stream was
    tried (``tried``), or that a scenario could not be counted (``failed``, with its ``message``).
    """

    key: CountKey
    """At ``frames``, or at one frame where none fits."""
    frames: int
    peak_bytes: int | None
    """At ``frames``, or at one frame where none fits."""
    limit: Literal["card", "tried", "failed"]
    counted: int
    """Peaks that were counted on the way."""
    message: str | None = None


def capacities(spec: CountSpec, budget_bytes: int, progress: Progress = lambda line: None) -> list[Capacity]:
    """The capacity of every method, mode and resolution of a grid, whatever its frames."""
    encoder = make_shapes(resolve(spec.backbone).encoder)
    found = []
    for key in scenarios(replace(spec, frames=(1,))):
        tokens = encoder.tokens(key.height, key.width)

        def peak(frames: int, key: CountKey = key) -> CountRecord:
            at = key.model_copy(update={"frames": frames})
            progress(naming(at))
            return count_one(at)

        with frozen():
            found.append(largest(key, peak, budget_bytes, max(1, min(MOST_FRAMES, MOST_TOKENS // tokens))))
    return found


def largest(key: CountKey, count: Callable[[int], CountRecord], budget_bytes: int, most: int) -> Capacity:
    """Search for the largest number of frames up to ``most`` whose peak is at most the budget.

    Peaks do not fall with frames, so two neighbours of which one fits and one does not are the answer. The
    next guess is where the straight line through the ends meets the budget, or the middle where that does
    not halve the gap.
    """
    peaks: dict[int, int] = {}

    def peak(frames: int) -> int:
        if frames not in peaks:
            record = count(frames)
            if record.peak is None:
                raise _NotCountedError(getattr(record.outcome, "message", ""))
            peaks[frames] = record.peak.peak_bytes
        return peaks[frames]

    def result(
        frames: int, limit: Literal["card", "tried", "failed"], message: str | None = None
    ) -> Capacity:
        at = max(frames, 1)
        return Capacity(
            key=key.model_copy(update={"frames": at}),
            frames=frames,
            peak_bytes=peaks.get(at),
            limit=limit,
            counted=len(peaks),
            message=message,
        )

    try:
        if peak(1) > budget_bytes:
            return result(0, "card")
        low, high = 1, 2
        while high <= most and peak(high) <= budget_bytes:
            low, high = high, high * 4
        if high > most:
            if peak(most) <= budget_bytes:
                return result(most, "tried")
            high = most
        interpolate = True
        while high - low > 1:
            gap, middle = high - low, (low + high) // 2
            slope = (peak(high) - peak(low)) / gap
            guess = low + int((budget_bytes - peak(low)) / slope) if interpolate and slope > 0 else middle
            guess = min(max(guess, low + 1), high - 1)
            low, high = (guess, high) if peak(guess) <= budget_bytes else (low, guess)
            interpolate = high - low <= gap // 2 or not interpolate
    except _NotCountedError as error:
        return result(0, "failed", str(error))
    return result(low, "card")


class _NotCountedError(Exception):
    """A scenario on the way has no peak."""
