"""Figures without pyplot: nothing global changes for a program that imports this package."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from harness.report.points import numeric, rows_of
from harness.report.text import listed, numbered, plot

PANEL_WIDTH = 3.1
PANEL_HEIGHT = 2.05
LEGEND_ROW = 0.16
DPI = 200
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
    "pdf.fonttype": 42,
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
    """A figure as PNG, 200 dots per inch, as SVG and as PDF; the same data give the same bytes."""

    png: bytes
    svg: bytes
    pdf: bytes


def render(figure: Figure) -> Drawing:
    """Draw the figure; it is laid out once for all formats."""
    bitmap, vector, page = BytesIO(), StringIO(), BytesIO()
    with style():
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        figure.savefig(bitmap, format="png", dpi=DPI, metadata={"Software": None})
        figure.savefig(vector, format="svg", metadata={"Date": None})
        figure.savefig(page, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    lines = [line.rstrip() for line in vector.getvalue().splitlines()]
    return Drawing(png=bitmap.getvalue(), svg=("\n".join(lines) + "\n").encode(), pdf=page.getvalue())


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


def add_footer(figure: Figure, cells: pd.DataFrame) -> None:
    """Where the numbers come from, in small print at the lower edge."""
    per_line = int(figure.get_figwidth() / 0.046)
    lines = [part for line in footer_lines(cells) for part in textwrap.wrap(line, per_line)]
    figure.supxlabel(
        "\n".join(plot(line, longest=per_line) for line in lines),
        fontsize=6,
        color=FAINT,
        x=0.01,
        ha="left",
    )


def footer_lines(cells: pd.DataFrame) -> list[str]:
    """Hardware, versions, commit, sample sizes and seeds of the successful cells (of all where none is)."""
    ok = cells[cells["outcome"] == "ok"]
    shown = ok if len(ok) else cells
    hardware = [
        " + ".join(part for part in (_text(row["env_cpu"]), _text(row["env_gpu"])) if part)
        + f", {numbered(row['env_threads'], 'thread')}"
        for row in rows_of(shown[["env_cpu", "env_gpu", "env_threads"]].drop_duplicates())
    ]
    versions = [
        f"harness {row['env_harness']}, commit {_text(row['env_commit'])[:10] or 'unknown'}"
        + ("+dirty" if row["env_dirty"] is True else "")
        for row in rows_of(shown[["env_harness", "env_commit", "env_dirty"]].drop_duplicates())
    ]
    torch = sorted(set(shown["env_torch"].astype(str)))
    seeds = sorted(set(shown["seed"]))
    return [
        "; ".join(hardware),
        f"torch {' / '.join(torch)}; " + "; ".join(versions),
        f"{_range(ok['questions'], 'question')} from {_range(ok['clips'], 'clip')} per cell; "
        f"{'seed' if len(seeds) == 1 else 'seeds'} {listed([str(seed) for seed in seeds])}",
    ]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _range(column: pd.Series, noun: str) -> str:
    values = numeric(column).dropna()
    if not len(values):
        return f"unknown number of {noun}s"
    low, high = int(values.min()), int(values.max())
    return numbered(low, noun) if low == high else f"{low:,} to {high:,} {noun}s"


def log2_x(axes: Axes, ticks: list[float], labels: list[str] | None = None) -> None:
    """A base-2 logarithmic x axis with ticks at the measured sizes only."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    texts = labels or [f"{tick:g}" for tick in ticks]
    axes.set_xticks(ticks, texts)
    low, high = min(ticks), max(ticks)
    margin = max((high / low) ** 0.06, 1.12)
    axes.set_xlim(low / margin, high * margin)


def log2_y(axes: Axes) -> None:
    """A base-2 logarithmic y axis with plain numbers."""
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_locator(LogLocator(base=2, numticks=8))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
