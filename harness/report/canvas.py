"""Figures without pyplot: nothing global changes for a program that imports this package."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from PIL import Image

from harness.report.plots.model import Axis as Direction
from harness.report.text import plot

PANEL_WIDTH = 3.1
PANEL_HEIGHT = 2.05
LEGEND_ROW = 0.16
DPI = 200
MOST_PIXELS = 1000
"""Width of a page's picture."""
INK = "#333333"
FAINT = "#666666"

_STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "svg.hashsalt": "harness",
    "svg.fonttype": "path",
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The look of every figure, for the length of a with-block."""
    with mpl.rc_context(_STYLE):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches that lays itself out around titles, legends and the footer."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure as PNG (200 dots per inch) and SVG, and small for a page; equal data, equal bytes."""

    png: bytes
    svg: bytes
    webp: bytes


def lay_out(figure: Figure) -> None:
    """Settle where everything stands, without drawing it."""
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)


def render(figure: Figure) -> Drawing:
    """Draw the figure; it is laid out once for all formats."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    vector = StringIO()
    with style():
        lay_out(figure)
        # Without an engine nothing is laid out again; "none" would leave one that does nothing.
        figure.set_layout_engine(None)
        canvas.draw()  # type: ignore[no-untyped-call]
        figure.savefig(vector, format="svg", metadata={"Date": None})
    lines = [line.rstrip() for line in vector.getvalue().splitlines()]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    image = Image.fromarray(pixels).convert("RGB")
    bitmap = BytesIO()
    image.save(bitmap, "PNG", compress_level=4, dpi=(DPI, DPI))
    return Drawing(
        png=bitmap.getvalue(),
        svg=("\n".join(lines) + "\n").encode(),
        webp=_small(image),
    )


def _small(image: Image.Image) -> bytes:
    """The picture as WebP, a fraction of the PNG.

    Fewer colours without loss take as much, and merge those of methods.
    """
    scale = min(1.0, MOST_PIXELS / image.width)
    size = round(image.width * scale), round(image.height * scale)
    image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    small = BytesIO()
    image.save(small, "WEBP", quality=50, method=4)
    return small.getvalue()


def add_header(figure: Figure, title: str, handles: Sequence[Line2D | Patch]) -> None:
    """The title with the legend under it, as many entries side by side as fit; the figure grows."""
    longest = max((len(str(handle.get_label())) for handle in handles), default=0)
    columns = max(1, int(figure.get_figwidth() // (0.055 * longest + 0.5)))
    columns = min(columns, max(len(handles), 1))
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * -(-len(handles) // columns))
    figure.legend(
        handles=list(handles),
        title=title,
        title_fontsize=10,
        loc="outside upper center",
        ncol=columns,
    )


def add_footer(figure: Figure, notes: Sequence[str]) -> None:
    """Where the numbers come from, in small print at the lower edge."""
    per_line = int(figure.get_figwidth() / 0.046)
    lines = [part for line in notes for part in textwrap.wrap(line, per_line)]
    figure.supxlabel(
        "\n".join(plot(line, longest=per_line) for line in lines),
        fontsize=6,
        color=FAINT,
        x=0.01,
        ha="left",
    )


def apply(axes: Axes, axis: Direction, direction: Literal["x", "y"]) -> None:
    """The range, scale and ticks of one direction."""
    along = axes.xaxis if direction == "x" else axes.yaxis
    if axis.log2:
        (axes.set_xscale if direction == "x" else axes.set_yscale)("log", base=2)
    if axis.ticks:
        along.set_major_locator(FixedLocator(list(axis.ticks)))
        along.set_major_formatter(FixedFormatter([plot(text) for text in axis.texts]))
    along.set_minor_locator(NullLocator())
    (axes.set_xlim if direction == "x" else axes.set_ylim)(axis.low, axis.high)
