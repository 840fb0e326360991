"""How methods look: the same colour and marker in every figure, whatever else is in the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.published_models import METHOD

SHIPPED = (
    "token_insertion",
    "vanilla_ca",
    "casa",
    "resampler",
    "flamingo",
    "mllama",
    "hyper_attention",
    "no_visual_self_attention",
    "voco",
    "pruning",
    "streaming_eviction",
)
"""Methods with a fixed place in the palette; the others follow in alphabetical order."""

PALETTE = (
    "#0173b2",
    "#de8f05",
    "#029e73",
    "#d55e00",
    "#cc78bc",
    "#ca9161",
    "#56b4e9",
    "#a89900",
    "#6a3d9a",
    "#7f3b08",
    "#c51b7d",
)
"""Seaborn's colour-blind palette without its grey, which is for reference lines, and two darker colours."""

DARK_PALETTE = (
    "#3d9fe0",
    "#f0a63a",
    "#2cc295",
    "#f07a3a",
    "#e09ad3",
    "#dbb08a",
    "#8fd0f5",
    "#cfc02c",
    "#a983d8",
    "#c98550",
    "#ee6aa9",
)
"""The same hues, lighter, for a dark background."""

LAYERS = (
    "#4c566a",
    "#8a94a8",
    "#b8863b",
    "#d9b46c",
    "#9aa77f",
    "#2f7fb8",
    "#7db8dc",
    "#4aa58f",
    "#a6d3c5",
    "#c25a4b",
    "#e6a398",
)
"""Kinds of memory from the bottom of a stack, apart from the methods' colours."""

MARKERS = ("o", "s", "D", "^", "v", "P", "p")

Dashes = tuple[int, tuple[float, ...]]
EXTRAPOLATED_LINE: Dashes = (0, (1, 1.6))
COUNTED_LINE: Dashes = (0, (4.5, 2))


@dataclass(frozen=True, slots=True)
class Reference:
    """A level that is not a method's."""

    label: str
    color: str
    line: Dashes
    width: float

    def line_style(self) -> dict[str, Any]:
        """Keyword arguments for a matplotlib line."""
        return {"color": self.color, "linestyle": self.line, "linewidth": self.width}


REFERENCES: dict[str, Reference] = {
    "oracle_blind": Reference("blind oracle", "#bdbdbd", (0, (4, 1.5)), 2.6),
    "chance": Reference("chance", "#3d3d3d", (0, (1, 1.4)), 1.0),
    "oracle_last_frame": Reference("last-frame oracle", "#4a4a4a", (0, (3, 1.5, 1, 1.5)), 1.0),
}
"""By column. The blind oracle is wide and light, and chance thin and dark, because they often coincide."""

LEVELS = {reference.label: reference for reference in REFERENCES.values()}
"""By what a legend calls them."""

FAILURES = {
    "out_of_memory": "OOM",
    "crash": "crash",
    "timeout": "timeout",
    "non_finite": "NaN",
    "error": "error",
}


@dataclass(frozen=True, slots=True)
class Look:
    """Colour on white, colour on dark, and marker of one label. Lines are solid where measured."""

    color: str
    dark: str
    marker: str


def looks(labels: Sequence[tuple[str, str]]) -> dict[str, Look]:
    """The look of each (label, method name): colour by name; a further config has another marker.

    Where all are configs of one method, colour is by label, as it is for published models.
    """
    labels = [(label, label if name == METHOD else name) for label, name in labels]
    if len(labels) > 2 and len({name for _, name in labels}) == 1:
        labels = [(label, label) for label, _ in labels]
    others = sorted({name for _, name in labels} - set(SHIPPED))
    place = {name: index for index, name in enumerate((*SHIPPED, *others))}
    variants: dict[str, list[str]] = {}
    for label, name in sorted(set(labels)):
        variants.setdefault(name, []).append(label)
    return {
        label: Look(
            color=PALETTE[place[name] % len(PALETTE)],
            dark=DARK_PALETTE[place[name] % len(PALETTE)],
            marker=MARKERS[(place[name] + index) % len(MARKERS)],
        )
        for name, variant in variants.items()
        for index, label in enumerate(variant)
    }


UNKNOWN = Look("#666666", "#a0a0a0", "o")
"""Of a label that is not among a report's methods."""


def ordered(labels: Sequence[tuple[str, str]]) -> list[str]:
    """The labels in the order of legends and tables: shipped methods first, then by name."""
    rank = {name: index for index, name in enumerate(SHIPPED)}
    unique = sorted(set(labels), key=lambda pair: (rank.get(pair[1], len(SHIPPED)), pair[1], pair[0]))
    return [label for label, _ in unique]
