"""A document as one page that needs no other file and no network, interactive where the browser allows it.

Every text is escaped by the template engine. Scripts run only where their hash is in the page's own policy,
so markup that came in with a name could not execute either; data travel compressed and encoded, as no markup.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from harness.errors import InfrastructureError
from harness.report.document import Block, Cell, Document, Figure, Section, Table
from harness.report.plots.model import HeatMap, Lines, Plot, StackedBars
from harness.report.render.interactive import SYMBOLS, charts
from harness.report.style import LAYERS, LEVELS, Look, looks
from harness.report.text import visible

LONG = 200
"""Characters from which a cell scrolls in a box of its own."""
FEW_ROWS = 12
"""A longer table is folded behind its caption."""
_NUMBER = re.compile(r"[-+]?\d[\d,]*(\.\d+)?")
_SHAPES = {
    "o": '<circle cx="6" cy="6" r="4.5"/>',
    "s": '<path d="M2 2h8v8H2z"/>',
    "D": '<path d="M6 .6 11.4 6 6 11.4.6 6z"/>',
    "^": '<path d="M6 1.2 11 10.5H1z"/>',
    "v": '<path d="M6 10.8 11 1.5H1z"/>',
    "P": '<path d="M4 1h4v3h3v4H8v3H4V8H1V4h3z"/>',
    "p": '<path d="M6 1 11 4.8 9.1 10.6H2.9L1 4.8z"/>',
}
assert _SHAPES.keys() == SYMBOLS.keys()


@dataclass(frozen=True, slots=True)
class Script:
    """A script that the page carries compressed, and its hash for the page's policy."""

    packed: str
    digest: str


def render(document: Document, pictures: Mapping[str, bytes]) -> str:
    """The page; ``pictures`` are a WebP image by the name of each figure.

    Raises InfrastructureError where the libraries that it carries are not what this was written for.
    """
    found = looks(document.methods)
    look = {label: found[label] for label, _ in document.methods}
    labels = {label: place for place, (label, _) in enumerate(document.methods)}
    plots = {block.name: charts(block.plot, look) for block in document.walk() if isinstance(block, Figure)}
    page_script = _asset("page.js")
    scripts = {"plotly": _plotly(), "tables": _tables()}
    digests = [_digest(page_script), *(script.digest for script in scripts.values())]
    writer = _Writer(labels=labels, looks=look, pictures=pictures)
    return (
        _environment()
        .get_template("page.html")
        .render(
            document=document,
            writer=writer,
            policy=" ".join(f"'sha256-{digest}'" for digest in digests),
            css=Markup(_asset("page.css")),
            script=Markup(page_script),
            packed={name: script.packed for name, script in scripts.items()},
            data=_packed(json.dumps(_shorter(plots), allow_nan=False, separators=(",", ":")).encode()),
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    """What the template asks about blocks."""

    labels: Mapping[str, int]
    looks: Mapping[str, Look]
    pictures: Mapping[str, bytes]

    def kind(self, block: Block) -> str:
        return type(block).__name__

    def index(self, label: str | None) -> int | None:
        return None if label is None else self.labels.get(label)

    def swatch(self, label: str) -> Markup:
        """The method's marker in its colour."""
        look = self.looks[label]
        return Markup(
            f'<svg class="swatch" viewBox="0 0 12 12" aria-hidden="true" style="--light:{look.color};'
            f'--dark:{look.dark}">{_SHAPES[look.marker]}</svg>'
        )

    def picture(self, name: str) -> str:
        return "data:image/webp;base64," + base64.b64encode(self.pictures[name]).decode()

    def owner(self, table: Table, row: int) -> int | None:
        return self.index(table.methods[row]) if table.methods else None

    def key(self, cell: Cell) -> str:
        """The number that a cell sorts by, empty where it has none."""
        if cell.key is not None:
            return f"{cell.key:.9g}"
        found = _NUMBER.match(cell.text)
        return found[0].replace(",", "") if found else ""

    def folded(self, table: Table) -> bool:
        return len(table.rows) > FEW_ROWS

    def long(self, text: str) -> bool:
        return len(text) > LONG

    def shown(self, text: str) -> str:
        return visible(text)

    def described(self, figure: Figure) -> str:
        """What the picture shows, for who cannot see it."""
        names = [visible(name)[:40] for name in figure.plot.methods()]
        words = f"{visible(figure.caption)}. {len(figure.plot.panels)} panels; methods: "
        return words + (", ".join(names) or "none") + "."

    def panels(self, figure: Figure) -> list[dict[str, Any]]:
        """Titles and methods of the charts that stand in for the picture."""
        result: list[dict[str, Any]] = []
        for panel in figure.plot.panels:
            what = panel.scale if isinstance(panel, HeatMap) else panel.y.title.replace("\n", " ")
            if isinstance(panel, StackedBars):
                words = {"what": panel.title, "where": panel.y.unit, "method": self.index(panel.method)}
            else:
                words = {"what": what, "where": panel.title, "method": None}
            result.append(words)
        return result

    def across(self, plot: Plot) -> int:
        """How many panels stand side by side where there is room."""
        lines = [panel for panel in plot.panels if isinstance(panel, Lines)]
        labelled = any(any(one.labels) for panel in lines for one in panel.series)
        if plot.scatters:
            return min(plot.columns, 2 if labelled else 3)
        return 3 if plot.columns == 2 and len(plot.panels) > 4 else max(plot.columns, 1)

    def layers(self, plot: Plot) -> list[tuple[str, str]]:
        """Kinds of a stack with their colours."""
        names = dict.fromkeys(
            (place, layer.name)
            for panel in plot.panels
            if isinstance(panel, StackedBars)
            for place, layer in enumerate(panel.layers)
        )
        return [(name, LAYERS[place % len(LAYERS)]) for place, name in names]

    def marks(self, plot: Plot) -> list[tuple[str, str]]:
        """What stands in the plot beside methods: a class for the sample, and words."""
        lines = [panel for panel in plot.panels if isinstance(panel, Lines)]
        series = [one for panel in lines for one in panel.series]
        levels = {one.name for one in series if one.role == "level"}
        found = [(f"level {name.replace(' ', '-')}", name) for name in LEVELS if name in levels]
        roles = {one.role for one in series}
        for role, words in (
            ("counted", "counted, not measured"),
            ("front", "Pareto front over all methods"),
            ("single", "single seeds"),
        ):
            found += [(role, words)] if role in roles else []
        found += [("ring", one.name) for one in series if one.role == "unbeaten"][:1]
        found += (
            [("hollow", "extrapolated beyond training")] if any(any(one.hollow) for one in series) else []
        )
        found += [("band", "95 % interval, or quartiles of times")] if any(one.low for one in series) else []
        found += [("failed", "failed at this size")] if any(panel.failures for panel in lines) else []
        return found

    def contents(self, document: Document) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
        """Anchors and titles, two levels deep."""
        for place, section in enumerate(document.sections):
            if self.empty(section):
                continue
            parts = [(f"s{place}-{inner}", part.title) for inner, part in enumerate(section.parts)]
            yield f"s{place}", section.title, parts

    def empty(self, section: Section) -> bool:
        return not section.blocks and not section.parts


@cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asset(name: str) -> str:
    return (resources.files("harness.report") / "assets" / name).read_text(encoding="utf-8")


def _shorter(value: Any) -> Any:
    """The same with seven significant digits, which is more than a screen shows."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {name: _shorter(inner) for name, inner in value.items()}
    return [_shorter(inner) for inner in value] if isinstance(value, list) else value


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, compresslevel=9, mtime=0)).decode()


@cache
def _plotly() -> Script:
    text = _library("plotly", "package_data/plotly.min.js")
    return Script(_packed(text.encode()), _digest(text))


@cache
def _tables() -> Script:
    """DataTables; the bundle is a module, whose exports a page's script could not reach."""
    bundle = _library("itables", "html/dt_bundle.js")
    text, count = re.subn(
        r"export\{[^}]*?([\w$]+) as default[^}]*\};?",
        lambda found: f"window.DataTable={found[1]};",
        bundle,
    )
    if count != 1:
        raise InfrastructureError(
            "itables' bundle has no default export, so this version does not fit; "
            "install the version that constraints.txt names"
        )
    text = f"(()=>{{{text}\n}})();"
    return Script(_packed(text.encode()), _digest(text))


def _library(package: str, path: str) -> str:
    try:
        return (resources.files(package) / path).read_text(encoding="utf-8")
    except (ModuleNotFoundError, OSError) as error:
        raise InfrastructureError(
            f"the report's page needs {path!r} of the package {package!r}: {error}; "
            f"install it (pip install -c constraints.txt {package})"
        ) from error
