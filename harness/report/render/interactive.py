"""Plots for plotly in a page: its traces and layouts as JSON values, one chart per panel.

Colours come in pairs, for a light and a dark page, in each trace's ``meta``; the page paints them. Plotly
takes a few tags in its texts for markup, so names from outside are escaped here.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.report.plots.axes import HEADROOM
from harness.report.plots.model import Axis, HeatMap, Lines, Number, Panel, Plot, Series, StackedBars
from harness.report.style import LAYERS, LEVELS, UNKNOWN, Look
from harness.report.text import visible

SYMBOLS = {
    "o": "circle",
    "s": "square",
    "D": "diamond",
    "^": "triangle-up",
    "v": "triangle-down",
    "P": "cross",
    "p": "pentagon",
}
"""Matplotlib's markers by plotly's names."""

LONGEST_LINE = 72
LONGEST_NAME = 26
LEVELS_ON_DARK = {"chance": "#c9ccd2", "blind oracle": "#5b616c", "last-frame oracle": "#b4b8c0"}
FRONT = ("#9a9a9a", "#7d838f")
RING = ("#8a8a8a", "#9aa0ab")

Trace = dict[str, Any]


def charts(shown: Plot, looks: Mapping[str, Look]) -> list[dict[str, Any]]:
    """One chart per panel: ``traces``, ``layout`` and ``method`` (an index into ``looks``, or None)."""
    index = {label: place for place, label in enumerate(looks)}
    return [_chart(panel, looks, index) for panel in shown.panels]


def escaped(text: str, longest: int = LONGEST_LINE) -> str:
    """Lines of text as plotly's markup that shows them as they are, each cut where it is too long."""
    lines = (visible(line) for line in text.split("\n"))
    cut = (line if len(line) <= longest else line[: longest - 1] + "…" for line in lines)
    return "<br>".join(html.escape(line, quote=False) for line in cut)


def _chart(panel: Panel, looks: Mapping[str, Look], index: Mapping[str, int]) -> dict[str, Any]:
    match panel:
        case Lines():
            traces = [trace for series in panel.series for trace in _series(series, looks)]
            traces += _failures(panel, looks)
            layout: dict[str, Any] = {"xaxis": _axis(panel.x, titled=True), "yaxis": _axis(panel.y)}
            owner = None
        case HeatMap():
            traces, layout, owner = [_heat(panel, index)], _heat_layout(panel), None
        case StackedBars():
            traces = list(_layers(panel))
            layout = {
                "barmode": "stack",
                "bargap": 0.28,
                "yaxis": _axis(panel.y),
                "xaxis": _categories(panel),
            }
            owner = panel.method
    for trace in traces:
        meta = trace["meta"]
        meta["method"] = index.get(meta["method"]) if meta["method"] is not None else None
    return {"traces": traces, "layout": layout, "method": None if owner is None else index.get(owner)}


def _meta(role: str, method: str | None, light: str, dark: str) -> dict[str, Any]:
    return {"role": role, "method": method, "light": light, "dark": dark}


def _axis(axis: Axis, *, titled: bool = False) -> dict[str, Any]:
    values: dict[str, Any] = {"range": [axis.low, axis.high]}
    if axis.log2:
        values = {"type": "log", "range": [math.log10(axis.low), math.log10(axis.high)]}
    if axis.ticks:
        values |= {
            "tickvals": list(axis.ticks),
            "ticktext": [escaped(text, LONGEST_NAME) for text in axis.texts],
        }
    if titled:
        values["title"] = {"text": escaped(axis.title)}
    return values


def _series(series: Series, looks: Mapping[str, Look]) -> Iterator[Trace]:
    base: Trace = {"type": "scatter", "x": list(series.x), "y": list(series.y)}
    hover: Trace = {"hoverinfo": "text", "hovertext": [escaped(text) for text in series.hover]}
    if series.role == "level":
        level = LEVELS[series.name]
        colors = level.color, LEVELS_ON_DARK[series.name]
        line = {"width": level.width, "dash": ",".join(f"{2 * step}px" for step in level.line[1])}
        yield base | hover | {"mode": "lines", "line": line, "meta": _meta("level", None, *colors)}
        return
    if series.role == "front":
        line = {"width": 5, "shape": "hv"}
        meta = _meta("front", None, *FRONT)
        yield base | {"mode": "lines", "line": line, "opacity": 0.45, "hoverinfo": "skip", "meta": meta}
        return
    if series.role == "unbeaten":
        ring = {"symbol": "circle-open", "size": 18, "opacity": 0.7, "line": {"width": 2.4}}
        meta = _meta("unbeaten", None, *RING)
        yield base | {"mode": "markers", "marker": ring, "hoverinfo": "skip", "meta": meta}
        return
    look = looks.get(series.method or "", UNKNOWN)
    meta = _meta(series.role, series.method, look.color, look.dark)
    symbol = SYMBOLS[look.marker]
    if series.role == "single":
        marker = {"symbol": symbol, "size": 4.5, "opacity": 0.5}
        yield base | hover | {"mode": "markers", "marker": marker, "meta": meta}
    elif series.role == "counted":
        yield (
            base
            | hover
            | {
                "mode": "lines+markers",
                "line": {"width": 1.6, "dash": "6px,3px"},
                "marker": {"symbol": "line-ew-open", "size": 7},
                "meta": meta,
            }
        )
    else:
        yield from _measured(series, base | hover, symbol, meta)


def _measured(series: Series, base: Trace, symbol: str, meta: dict[str, Any]) -> Iterator[Trace]:
    x, y = list(series.x), list(series.y)
    bars: Trace = {}
    known = [
        place
        for place, (low, high) in enumerate(zip(series.low, series.high, strict=True))
        if low is not None and high is not None
    ]
    if len(x) > 1 and known:
        yield {
            "type": "scatter",
            "x": [x[i] for i in known] + [x[i] for i in reversed(known)],
            "y": [series.high[i] for i in known] + [series.low[i] for i in reversed(known)],
            "mode": "lines",
            "fill": "toself",
            "line": {"width": 0},
            "hoverinfo": "skip",
            "meta": meta | {"role": "band"},
        }
    elif known:
        bars |= {"error_y": _bar(series.low, series.high, y)}
    if series.x_low and series.x_high:
        bars |= {"error_x": _bar(series.x_low, series.x_high, x)}
    hollow = list(series.hollow) or [False] * len(x)
    solid = [None if outside else value for outside, value in zip(hollow, y, strict=True)]
    line: Trace = {
        "type": "scatter",
        "x": x,
        "mode": "lines",
        "hoverinfo": "skip",
        "meta": meta | {"role": "line"},
    }
    if any(value is not None for value in solid) and len(x) > 1:
        yield line | {"y": solid, "line": {"width": 2}}
    dotted = [i for i in range(len(x) - 1) if hollow[i] or hollow[i + 1]]
    if dotted:
        yield line | {
            "x": [value for i in dotted for value in (x[i], x[i + 1], None)],
            "y": [value for i in dotted for value in (y[i], y[i + 1], None)],
            "line": {"width": 2, "dash": "2px,3px"},
        }
    marker = {
        "symbol": [f"{symbol}-open" if outside else symbol for outside in hollow],
        "size": 8,
        "line": {"width": 1.6},
    }
    points = base | bars | {"mode": "markers", "marker": marker, "meta": meta}
    if series.labels:
        points |= {"mode": "markers+text", "text": [escaped(text) for text in series.labels]}
        points |= {"textposition": "top center", "textfont": {"size": 10}}
    yield points


def _bar(low: Sequence[Number], high: Sequence[Number], middle: Sequence[float]) -> dict[str, Any]:
    """A bar around every value, none where a bound is not known."""
    up = [0.0 if most is None else most - value for most, value in zip(high, middle, strict=True)]
    down = [0.0 if least is None else value - least for least, value in zip(low, middle, strict=True)]
    look = {"type": "data", "symmetric": False, "thickness": 1.2, "width": 0}
    return look | {"array": up, "arrayminus": down}


def _failures(panel: Lines, looks: Mapping[str, Look]) -> list[Trace]:
    traces = []
    for one in panel.failures:
        look = looks.get(one.method, UNKNOWN)
        share = 0.955 - HEADROOM * one.row
        axis = panel.y
        height = (
            axis.low * (axis.high / axis.low) ** share
            if axis.log2
            else axis.low + share * (axis.high - axis.low)
        )
        traces.append(
            {
                "type": "scatter",
                "x": [one.x],
                "y": [height],
                "mode": "markers+text",
                "text": [escaped(one.text, LONGEST_NAME)],
                "textposition": "middle left",
                "textfont": {"size": 10},
                "marker": {"symbol": "x", "size": 9},
                "hoverinfo": "text",
                "hovertext": [escaped(one.hover)],
                "meta": _meta("failure", one.method, look.color, look.dark),
            }
        )
    return traces


def _heat(panel: HeatMap, index: Mapping[str, int]) -> Trace:
    """Rows are numbered from the top; the page leaves out those of hidden methods."""
    return {
        "type": "heatmap",
        "z": [list(row) for row in panel.values],
        "text": [[escaped(text) for text in row] for row in panel.texts],
        "texttemplate": "%{text}",
        "textfont": {"size": 11},
        "hovertext": [[escaped(text) for text in row] for row in panel.hover],
        "hoverinfo": "text",
        "zmin": 0,
        "zmax": 1,
        "xgap": 2,
        "ygap": 2,
        "showscale": False,
        "meta": {
            "role": "heat",
            "method": None,
            "names": [escaped(row, LONGEST_NAME) for row in panel.rows],
            "methods": [None if label is None else index.get(label) for label in panel.methods],
        },
    }


def _heat_layout(panel: HeatMap) -> dict[str, Any]:
    names = [_broken(column) for column in panel.columns]
    ticks = {"tickmode": "array", "tickvals": list(range(len(names))), "ticktext": names, "tickangle": 0}
    return {
        "xaxis": ticks | {"side": "top", "showgrid": False, "ticks": "", "automargin": True},
        "yaxis": {"autorange": "reversed", "showgrid": False, "ticks": "", "automargin": True},
    }


def _broken(name: str) -> str:
    """A head in short lines: broken at its first space, and where it is broken already."""
    first, *rest = name.split("\n")
    return escaped("\n".join([first.replace(" ", "\n", 1), *rest]), LONGEST_NAME // 2)


def _layers(panel: StackedBars) -> Iterator[Trace]:
    places: Sequence[int] = range(len(panel.bars))
    for place, layer in enumerate(panel.layers):
        color = LAYERS[place % len(LAYERS)]
        yield {
            "type": "bar",
            "x": list(places),
            "y": list(layer.values),
            "hoverinfo": "text",
            "hovertext": [escaped(text) for text in layer.hover],
            "textposition": "none",
            "meta": _meta("layer", None, color, color),
        }


def _categories(panel: StackedBars) -> dict[str, Any]:
    return {
        "tickmode": "array",
        "tickvals": list(range(len(panel.bars))),
        "ticktext": [escaped(bar, LONGEST_NAME) for bar in panel.bars],
        "title": {"text": escaped(panel.x)},
        "showgrid": False,
    }
