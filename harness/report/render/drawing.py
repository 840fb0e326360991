"""Every picture of a report, drawn by processes beside this one."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future

from harness.crew import Crew, cores
from harness.report.canvas import Drawing
from harness.report.document import Document, Figure
from harness.report.plots.model import Plot
from harness.report.render.static import picture
from harness.report.style import Look, looks
from harness.store import uncollected

Drawn = Drawing | Exception
"""A picture, or why there is none."""

Wanted = tuple[Plot, Mapping[str, Look]]


class Drawers(Crew[Wanted, Drawn]):
    """Processes that draw, for the length of a with-block.

    They take a second or two to start, in which the caller can load the run. With one core there are none,
    and this process draws.
    """

    def __init__(self) -> None:
        super().__init__(draw, cores())

    def begin(self, whole: Document) -> dict[str, Future[Drawn]]:
        """Draw every figure of the document; returns at once.

        Awaiting a picture raises InfrastructureError where its process has died.
        """
        look = looks(whole.methods)
        figures = [block for block in whole.walk() if isinstance(block, Figure)]
        return {figure.name: self.submit((figure.plot, look), figure.name) for figure in figures}


def draw(wanted: Wanted) -> Drawn:
    """The picture of a plot, or what went wrong."""
    # Collecting garbage while a picture is drawn takes a fifth of the time.
    with uncollected():
        try:
            return picture(*wanted)
        except Exception as error:
            return error
