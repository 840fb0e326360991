"""Counted scenarios in groups of which the peaks stand beside each other, and where these cross."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from harness.counting.records import CountKey, CountRecord, NotCounted, Peak
from harness.report.labels import Defaults, method_labels, resolution_label
from harness.report.style import ordered
from harness.report.text import numbered


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Scenarios that differ in method, frames and resolution only; ``key`` is one of them."""

    key: CountKey
    records: tuple[CountRecord, ...]
    labels: tuple[str, ...]
    """Of the records, one each."""

    @property
    def on_card(self) -> bool:
        """Whether a card's attention kernels were counted, so that the peak says what fits on one."""
        return self.key.kernels != "cpu"

    @property
    def methods(self) -> list[str]:
        """The labels in the order of legends."""
        names = [record.key.method for record in self.records]
        return ordered(list(zip(self.labels, names, strict=True)))

    @property
    def parameters(self) -> int:
        """Of the largest model that was counted; 0 where none was."""
        return max((record.peak.parameters for record in self.records if record.peak), default=0)

    @property
    def setting(self) -> str:
        """What all scenarios share, in words."""
        key = self.key
        text = numbered(key.text, "text token")
        text += f" and {key.text_per_frame} after every frame" if key.text_per_frame else ""
        parts = [key.mode, key.backbone, key.dtype, f"{key.kernels} kernels", text]
        parts += [f"{key.encode_batch} frames encoded at once"] if key.encode_batch > 1 else []
        return ", ".join([*parts, key.optimizer] if key.optimizer else parts)

    def sizes(self) -> list[tuple[int, int]]:
        """Heights and widths in pixels, from the fewest pixels."""
        found = {(record.key.height, record.key.width) for record in self.records}
        return sorted(found, key=lambda size: (size[0] * size[1], size))

    def at(self, size: tuple[int, int]) -> Peaks:
        """The peaks at one resolution."""
        peaks: dict[str, dict[int, Peak]] = {}
        missing: dict[str, dict[int, str]] = {}
        for record, label in zip(self.records, self.labels, strict=True):
            if (record.key.height, record.key.width) != size:
                continue
            if isinstance(record.outcome, NotCounted):
                missing.setdefault(label, {})[record.key.frames] = record.outcome.message
            else:
                peaks.setdefault(label, {})[record.key.frames] = record.outcome.peak
        return Peaks(
            scene=self,
            size=size,
            peaks={label: dict(sorted(peaks[label].items())) for label in self.methods if label in peaks},
            missing=missing,
        )


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """One scene at one resolution: counted peaks by label and frames, and why others are missing."""

    scene: Scene
    size: tuple[int, int]
    peaks: Mapping[str, Mapping[int, Peak]]
    missing: Mapping[str, Mapping[int, str]]

    @property
    def pixels(self) -> str:
        return resolution_label(*self.size)

    @property
    def frames(self) -> list[int]:
        """Every number of frames that at least one method was counted at."""
        return sorted({frames for peaks in self.peaks.values() for frames in peaks})

    def at(self, frames: int) -> dict[str, int]:
        """Peak bytes by label."""
        return {label: peaks[frames].peak_bytes for label, peaks in self.peaks.items() if frames in peaks}


def scenes(counted: Sequence[CountRecord], defaults: Defaults) -> list[Scene]:
    """The scenes of a run: larger models first, then by mode."""
    labels = method_labels([record.key for record in counted], defaults)
    groups: dict[str, list[tuple[CountRecord, str]]] = {}
    for record, label in zip(counted, labels, strict=True):
        shared = record.key.model_copy(
            update={"method": "", "method_config": {}, "frames": 0, "height": 0, "width": 0}
        )
        groups.setdefault(shared.digest, []).append((record, label))
    found = [
        Scene(
            key=members[0][0].key,
            records=tuple(record for record, _ in members),
            labels=tuple(label for _, label in members),
        )
        for members in groups.values()
    ]
    return sorted(found, key=lambda one: (-one.parameters, one.setting))


def video_peaks(found: Sequence[Scene], mode: str) -> list[Peaks]:
    """What answers for a card: card kernels, no text between the frames; per backbone the resolution with the
    most numbers of frames, larger models first."""
    best: dict[str, Peaks] = {}
    for scene in found:
        if scene.on_card and scene.key.mode == mode and not scene.key.text_per_frame:
            for size in scene.sizes():
                peaks = scene.at(size)
                known = best.get(scene.key.backbone)
                if peaks.peaks and (known is None or len(peaks.frames) > len(known.frames)):
                    best[scene.key.backbone] = peaks
    return list(best.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """``first`` needs less than ``second`` at ``until`` frames and more at ``since``, neighbours among the
    counted sizes; by the straight lines between, they are equal at about ``about`` frames."""

    first: str
    second: str
    until: int
    since: int
    about: float


def memory_crossings(peaks: Peaks) -> list[Crossing]:
    """Every crossing of two methods' peaks over the frames at which both were counted."""
    found = []
    for one, other in combinations(peaks.peaks, 2):
        common = [frames for frames in peaks.peaks[one] if frames in peaks.peaks[other]]
        differences = [
            (frames, peaks.peaks[one][frames].peak_bytes - peaks.peaks[other][frames].peak_bytes)
            for frames in common
        ]
        for (until, before), (since, after) in pairwise([pair for pair in differences if pair[1]]):
            if (before < 0) != (after < 0):
                about = until + (since - until) * abs(before) / (abs(before) + abs(after))
                first, second = (one, other) if before < 0 else (other, one)
                found.append(Crossing(first=first, second=second, until=until, since=since, about=about))
    return found
