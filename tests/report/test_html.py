"""The page as text: complete without scripts, safe with any name, and nothing that it would have to fetch."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from harness.report.document import (
    Cell,
    Column,
    Document,
    Figure,
    Files,
    Items,
    Notice,
    Section,
    Source,
    Table,
    Text,
)
from harness.report.plots.model import Axis, Lines, Plot, Series
from harness.report.render import html
from harness.report.render.interactive import charts, escaped
from harness.report.style import looks
from tests.report.test_plots import PLOTS

EVIL = '</script><script>x()</script>"><img src=x onerror=y()> \u2028\u202e {{ 7*7 }}'
METHODS = (("casa", "casa"), (EVIL, EVIL))


def axis(title: str) -> Axis:
    return Axis(title=title, low=1.0, high=8.0, log2=True, ticks=(2.0,), texts=(EVIL,))


PLOT = Plot(
    title=EVIL,
    panels=(
        Lines(
            title=EVIL,
            x=axis(EVIL),
            y=axis("y"),
            series=(Series(name=EVIL, role="measured", method=EVIL, x=(2.0,), y=(4.0,), hover=(EVIL,)),),
        ),
    ),
    notes=(EVIL,),
)
TABLE = Table(
    name="t",
    caption=EVIL,
    columns=(Column("method", numeric=False), Column(EVIL), Column("n")),
    rows=(
        (Cell(EVIL), Cell("1,000 [900, 1,100]"), Cell("7", 7.0)),
        (Cell("casa"), Cell("–"), Cell("x" * 5000)),  # noqa: RUF001
    ),
    methods=(EVIL, "casa"),
    source=Source(records=(f"harness export {EVIL}",), measure=("harness eval",)),
)
DOCUMENT = Document(
    title=EVIL,
    methods=METHODS,
    sections=(
        Section(title="Empty"),
        Section(
            title=EVIL,
            blocks=(Text(EVIL), Notice(EVIL), Items((EVIL,)), Files((("a b.csv", EVIL),)), TABLE),
            parts=(Section(title="Deep", blocks=(Figure(name="f", caption=EVIL, plot=PLOT),)),),
        ),
    ),
)
PAGE = html.render(DOCUMENT, {"f": b"webp"})


class Elements(HTMLParser):
    """Every element with its attributes, and the text of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            attributes, text = self.scripts[-1]
            self.scripts[-1] = attributes, text + data


ELEMENTS = Elements()
ELEMENTS.feed(PAGE)


def test_names_become_no_markup() -> None:
    assert [tag for tag, _ in ELEMENTS.found].count("script") == 4
    assert all(not name.startswith("on") for _, attributes in ELEMENTS.found for name in attributes)
    assert "\u202e" not in PAGE
    assert "\u2028" not in PAGE
    assert "{{ 7*7 }}" in PAGE


def test_nothing_is_fetched() -> None:
    for tag, attributes in ELEMENTS.found:
        for name in ("src", "href", "srcset", "data", "action"):
            value = attributes.get(name) or ""
            assert value.startswith(("data:", "#", "./")) or not value, (tag, value)
    assert "url(" not in re.search(r"<style>(.*?)</style>", PAGE, flags=re.S)[1]  # type: ignore[index]


def test_the_policy_names_the_scripts_that_run_and_no_others() -> None:
    (policy,) = [
        attributes["content"] or ""
        for tag, attributes in ELEMENTS.found
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    allowed = set(re.findall(r"sha256-([^']+)", policy))
    texts = [
        text if "type" not in attributes else gzip.decompress(base64.b64decode(text)).decode()
        for attributes, text in ELEMENTS.scripts
        if attributes.get("id") != "data"
    ]
    assert {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts} == allowed
    assert "unsafe" not in policy.partition("style-src")[0]


def test_cells_say_what_they_sort_by() -> None:
    cells = [attributes for tag, attributes in ELEMENTS.found if tag == "td"]
    assert [cell.get("data-order") for cell in cells] == [None, "1000", "7", None, "", ""]


def test_rows_and_columns_of_a_method_are_marked() -> None:
    rows = [attributes.get("data-m") for tag, attributes in ELEMENTS.found if tag == "tr"]
    assert rows == [None, "1", "0"]
    heads = [attributes.get("data-m") for tag, attributes in ELEMENTS.found if tag == "th"]
    assert heads == [None, "1", None]


def test_an_empty_section_has_no_heading_and_pictures_have_words() -> None:
    assert ">Empty<" not in PAGE
    (picture,) = [attributes for tag, attributes in ELEMENTS.found if tag == "img"]
    assert "1 panels; methods:" in (picture["alt"] or "")


def test_the_data_of_plots_are_strict_json_and_a_number_that_is_none_is_refused() -> None:
    (packed,) = [text for attributes, text in ELEMENTS.scripts if attributes.get("id") == "data"]
    text = gzip.decompress(base64.b64decode(packed)).decode()
    json.loads(text, parse_constant=lambda name: pytest.fail(name))
    broken = Series(name="n", role="measured", method="casa", x=(1.0,), y=(math.nan,))
    plot = Plot(title="", panels=(Lines(title="", x=axis("x"), y=axis("y"), series=(broken,)),))
    figure = Figure(name="f", caption="", plot=plot)
    document = Document(title="", methods=METHODS, sections=(Section(title="s", blocks=(figure,)),))
    with pytest.raises(ValueError, match="JSON"):
        html.render(document, {"f": b""})


def test_the_same_document_gives_the_same_page() -> None:
    assert html.render(DOCUMENT, {"f": b"webp"}) == PAGE


def test_texts_of_plots_are_shown_as_they_are() -> None:
    assert escaped("<b>a</b>\n&lt;") == "&lt;b&gt;a&lt;/b&gt;<br>&amp;lt;"
    assert escaped("x" * 100, 10) == "x" * 9 + "…"


@pytest.mark.parametrize("name", PLOTS)
def test_charts_hold_the_points_of_the_plot(name: str) -> None:
    plot = PLOTS[name]()
    look = looks([(label, label) for label in plot.methods()])
    order = list(look)
    for panel, chart in zip(plot.panels, charts(plot, look), strict=True):
        traces = chart["traces"]
        if not isinstance(panel, Lines):
            continue
        for role in ("measured", "counted", "single", "level", "front"):
            drawn = [(t["meta"]["method"], t["x"], t["y"]) for t in traces if t["meta"]["role"] == role]
            wanted = [one for one in panel.series if one.role == role]
            assert drawn == [
                (order.index(one.method) if one.method else None, list(one.x), list(one.y)) for one in wanted
            ]
        crosses = [(t["x"][0], t["text"][0]) for t in traces if t["meta"]["role"] == "failure"]
        assert crosses == [(one.x, one.text) for one in panel.failures]


def test_a_library_that_does_not_fit_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    html._tables.cache_clear()
    monkeypatch.setattr(html, "_library", lambda *_: "export{a as b}")
    with pytest.raises(InfrastructureError, match="constraints"):
        html._tables()
    monkeypatch.undo()
    with pytest.raises(InfrastructureError, match="pip install"):
        html._library("itables", str(Path("no") / "such.js"))
