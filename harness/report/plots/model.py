"""What a plot shows, as plain data: panels with series, failures and axes. Two renderers draw it.

Nothing here has a colour: a method looks the same in every plot of a report (:mod:`harness.report.style`).
Texts are plain and may hold anything; each renderer makes them harmless. No data is left out or ``None``.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

Number = float | None

Role = Literal["measured", "counted", "single", "level", "front", "unbeaten"]
"""``measured`` and ``counted`` lines, ``single`` models as dots, a ``level`` that is no method's, the Pareto
``front`` as a line, and the points that are ``unbeaten`` as far as intervals tell, as rings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One direction of a panel: its title, the unit of hovered values, and the range, ends included.

    ``texts`` stand at ``ticks``; without ticks a renderer chooses them.
    """

    title: str
    unit: str = ""
    low: float
    high: float
    log2: bool = False
    ticks: tuple[float, ...] = ()
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points in the order in which a line joins them.

    ``low`` and ``high`` bound a band or a bar, ``x_low`` and ``x_high`` a bar along x; ``hollow`` marks
    extrapolated points; ``hover`` says all about a point; ``labels`` are written beside points. Each is empty
    or as long as ``x``.
    """

    name: str
    role: Role
    x: tuple[float, ...]
    y: tuple[float, ...]
    method: str | None = None
    low: tuple[Number, ...] = ()
    high: tuple[Number, ...] = ()
    x_low: tuple[Number, ...] = ()
    x_high: tuple[Number, ...] = ()
    hollow: tuple[bool, ...] = ()
    hover: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        beside = (self.low, self.high, self.x_low, self.x_high, self.hollow, self.hover, self.labels)
        lengths = {len(each) for each in beside}
        assert len(self.y) == len(self.x), self.name
        assert lengths <= {0, len(self.x)}, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A method failed at this ``x``; ``row`` says how far below the panel's top its mark stands."""

    method: str
    x: float
    text: str
    hover: str
    row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """A panel of series over two axes."""

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Shares in 0..1 by row and column, with what is written into each field.

    ``methods`` says whose each row is, None for rows that are no method's.
    """

    title: str
    scale: str
    rows: tuple[str, ...]
    methods: tuple[str | None, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[Number, ...], ...]
    texts: tuple[tuple[str, ...], ...]
    hover: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One kind's share of every bar."""

    name: str
    values: tuple[Number, ...]
    hover: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StackedBars:
    """Bars made of layers, the first at the bottom; ``method`` is whose they all are."""

    title: str
    x: str
    y: Axis
    bars: tuple[str, ...]
    layers: tuple[Layer, ...]
    method: str | None = None

    def __post_init__(self) -> None:
        assert all(len(layer.values) == len(self.bars) for layer in self.layers), self.title


Panel = Lines | HeatMap | StackedBars


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Panels in reading order, ``columns`` side by side; ``notes`` say where the numbers come from."""

    title: str
    panels: tuple[Panel, ...]
    columns: int = 1
    notes: tuple[str, ...] = ()

    @property
    def scatters(self) -> bool:
        """Whether both axes hold measures, and not sizes, so that panels need room."""
        series = [one for panel in self.panels if isinstance(panel, Lines) for one in panel.series]
        return any(any(one.labels) or one.role in ("front", "unbeaten") for one in series)

    def methods(self) -> tuple[str, ...]:
        """The methods that occur, each once, in the order of the panels."""
        found: dict[str, None] = {}
        for panel in self.panels:
            found |= dict.fromkeys(name for name in _methods(panel) if name is not None)
        return tuple(found)


def _methods(panel: Panel) -> list[str | None]:
    match panel:
        case Lines():
            return [one.method for one in panel.series] + [one.method for one in panel.failures]
        case HeatMap():
            return list(panel.methods)
        case StackedBars():
            return [panel.method]


def as_json(plot: Plot) -> dict[str, Any]:
    """The plot as JSON values, as golden files hold them; raises ValueError for infinity and NaN."""
    values: dict[str, Any] = dataclasses.asdict(plot)
    for values_of, panel in zip(values["panels"], plot.panels, strict=True):
        values_of["kind"] = type(panel).__name__
    _refuse_non_finite(values, plot.title)
    return values


def _refuse_non_finite(value: object, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"plot {where!r} holds {value}; leave points without data out, or give None")
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_non_finite(inner, f"{where}.{name}")
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _refuse_non_finite(inner, where)
