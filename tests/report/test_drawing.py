"""Pictures that processes beside this one draw."""

from __future__ import annotations

import os

import pytest

from harness.report.canvas import Drawing
from harness.report.document import Document, Figure, Section
from harness.report.render import drawing
from tests.report.test_plots import PLOTS


def _document(count: int) -> Document:
    plot = PLOTS["memory"]()
    figures = tuple(Figure(name=f"figure_{one}", caption="A caption.", plot=plot) for one in range(count))
    sections = (Section(title="Figures", blocks=figures),)
    return Document(title="A report", sections=sections, methods=(("casa", "casa"),))


def test_processes_draw_what_this_one_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(cores: set[int]) -> dict[str, drawing.Drawn]:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
        with drawing.Drawers() as drawers:
            return {name: one.result() for name, one in drawers.begin(_document(3)).items()}

    alone, beside = drawn({0}), drawn({0, 1})
    assert beside == alone
    assert [*beside] == ["figure_0", "figure_1", "figure_2"]
    assert all(isinstance(one, Drawing) for one in beside.values())
