"""Counted memory at the peak, by kind of tensor: a stack of bytes per method and size."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from types import MappingProxyType

from harness.counting.records import CountKey, CountRecord, Peak
from harness.report.labels import Defaults, method_labels, resolution_label
from harness.report.plots.model import Axis, Layer, Plot, StackedBars
from harness.report.style import ordered
from harness.report.text import number, numbered

MIB = 2**20
GIB = 2**30
MOST_COLUMNS = 4

KINDS = (
    "parameters",
    "buffers",
    "optimizer",
    "gradients",
    "inputs",
    "text_kv",
    "image_kv",
    "gist_kv",
    "method_state",
    "activations",
    "temporaries",
)
"""From what rests to what passes, which is the order of the layers from the bottom; others come last."""


def memory_by_kind(counted: Sequence[CountRecord], defaults: Defaults = MappingProxyType({})) -> Plot:
    """One panel per method (and mode, backbone and text, where they differ), one bar per size, in MiB or GiB.

    Records that were not counted are left out; for ``defaults`` see :func:`.frame.method_labels`.
    """
    labels = method_labels([record.key for record in counted], defaults)
    shown = [
        (record.key, label, record.peak)
        for record, label in zip(counted, labels, strict=True)
        if record.peak is not None
    ]
    order = ordered([(label, key.method) for key, label, _ in shown])
    groups: dict[tuple[str, str], list[tuple[CountKey, Peak]]] = {}
    differing = [len(set(words)) > 1 for words in zip(*(_scenario(key) for key, _, _ in shown), strict=True)]
    for key, label, peak in sorted(shown, key=lambda one: order.index(one[1])):
        what = ", ".join(itertools.compress(_scenario(key), differing))
        groups.setdefault((label, what), []).append((key, peak))
    top = max((peak.peak_bytes for _, _, peak in shown), default=MIB)
    unit, size = ("GiB", GIB) if top >= 4 * GIB else ("MiB", MIB)
    axis = Axis(title=f"Memory at the peak ({unit})", unit=unit, low=0.0, high=1.05 * top / size)
    kinds = _kinds([peak for _, _, peak in shown])
    panels = tuple(_panel(label, what, group, kinds, axis) for (label, what), group in groups.items())
    return Plot(
        title="Counted memory at the peak, by kind of tensor",
        panels=panels,
        columns=min(MOST_COLUMNS, max(len(panels), 1)),
        notes=("counted from the tensors of one phase; no GPU's allocator is involved",),
    )


def _scenario(key: CountKey) -> tuple[str, ...]:
    """What two bars beside each other must share, in words."""
    text = numbered(key.text, "text token")
    return (
        key.mode,
        key.backbone,
        key.dtype,
        f"{text} + {key.text_per_frame} a frame" if key.text_per_frame else text,
        f"{key.kernels} kernels",
        f"encoded {key.encode_batch} at once",
        key.optimizer or "no optimizer",
    )


def _kinds(peaks: Sequence[Peak]) -> list[str]:
    found = {kind for peak in peaks for kind, size in peak.at_peak.items() if size}
    return [kind for kind in KINDS if kind in found] + sorted(found - set(KINDS))


def _panel(
    label: str, what: str, group: list[tuple[CountKey, Peak]], kinds: Sequence[str], axis: Axis
) -> StackedBars:
    group = sorted(group, key=lambda one: (one[0].height * one[0].width, one[0].height, one[0].frames))
    sizes = {(key.height, key.width) for key, _ in group}
    size = GIB if axis.unit == "GiB" else MIB
    bars = [
        str(key.frames) if len(sizes) == 1 else f"{key.frames} × {resolution_label(key.height, key.width)}"  # noqa: RUF001
        for key, _ in group
    ]
    return StackedBars(
        title=f"{label}, {what}" if what else label,
        x="Frames" if len(sizes) == 1 else "Frames × pixels",  # noqa: RUF001
        y=axis,
        bars=tuple(bars),
        layers=tuple(
            Layer(
                name=kind.replace("_", " "),
                values=tuple(peak.at_peak.get(kind, 0) / size for _, peak in group),
                hover=tuple(_hover(label, kind, key, peak) for key, peak in group),
            )
            for kind in kinds
        ),
        method=label,
    )


def _hover(label: str, kind: str, key: CountKey, peak: Peak) -> str:
    size = peak.at_peak.get(kind, 0)
    return "\n".join(
        (
            label,
            f"{numbered(key.frames, 'frame')}, {resolution_label(key.height, key.width)} pixels",
            f"{kind.replace('_', ' ')}: {number(size / MIB)} MiB ({100 * size / peak.peak_bytes:.0f} %)",
            f"whole peak: {number(peak.peak_bytes / MIB)} MiB",
        )
    )
