"""No text of a picture lies on another: tested on what the committed reports draw."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawn
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from harness.report.contents import document
from harness.report.document import Figure
from harness.report.evidence import gather
from harness.report.plots.axes import share_axis
from harness.report.plots.model import Axis, Lines, Plot, Series
from harness.report.render.static import draw
from harness.report.style import looks
from harness.store import uncollected

ROOT = Path(__file__).parents[2]
TOUCHING = 0.75
"""Of a point; boxes of neighbouring ticks may touch."""


def texts(figure: Drawn) -> Iterator[Text]:
    """Everything written: labels of points, ticks, axes and panels, the title and its legend."""
    for axes in figure.axes:
        yield from (*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label)
        for along in (axes.xaxis, axes.yaxis):
            low, high = sorted(along.get_view_interval())
            ticks = zip(along.get_majorticklocs(), along.get_ticklabels(), strict=False)
            yield from (label for place, label in ticks if low <= place <= high)
    for legend in figure.legends:
        yield from (legend.get_title(), *legend.get_texts())


def overlapping(figure: Drawn) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes have more in common than an edge."""
    figure.draw_without_rendering()
    edge = TOUCHING * figure.dpi / 72
    boxes = [
        (text.get_text(), text.get_window_extent())
        for text in texts(figure)
        if text.get_visible() and text.get_text().strip()
    ]
    return [
        (one, other)
        for (one, box), (other, second) in itertools.combinations(boxes, 2)
        if (common := Bbox.intersection(box, second)) is not None and min(common.width, common.height) > edge
    ]


def labels(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def crowd(count: int) -> Plot:
    """Points one beside the other, each with the label that it would like."""
    axis = Axis(title="cost", low=0.0, high=1.0)
    near = [
        Series(name=f"m{i}", role="measured", method=f"m{i}", x=(0.5 + i / 1000,), y=(0.5,), labels=("8",))
        for i in range(count)
    ]
    far = Series(name="far", role="measured", method="far", x=(0.9,), y=(0.9,), labels=("16",))
    panel = Lines(title="", x=axis, y=share_axis("Accuracy"), series=(*near, far))
    return Plot(title="crowd", panels=(panel,))


def test_labels_that_find_no_place_are_left_out_and_the_others_stay() -> None:
    figure = draw(crowd(40), looks([(f"m{i}", f"m{i}") for i in range(40)] + [("far", "far")]))
    assert overlapping(figure) == []
    written = labels(figure.axes[0])
    assert 1 < written.count("8") < 40
    assert written.count("16") == 1
    alone = draw(crowd(1), looks([("m0", "m0"), ("far", "far")]))
    assert sorted(labels(alone.axes[0])) == ["16", "8"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reference", "ablation"])
def test_no_text_of_a_committed_picture_lies_on_another(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with uncollected():
        whole = document(gather(Path("results") / name), ())
    look = looks(whole.methods)
    figures = [block for block in whole.walk() if isinstance(block, Figure)]
    assert len(figures) > 3
    found = {figure.name: overlapping(draw(figure.plot, look)) for figure in figures}
    assert {figure: pairs for figure, pairs in found.items() if pairs} == {}
