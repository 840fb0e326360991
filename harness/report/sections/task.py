"""One setting of a task: what the numbers bear in words, figures, and tables with their sources."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ParamSpec

import pandas as pd

from harness.published_models import METHOD
from harness.report.comparisons import Comparison, compare
from harness.report.document import Block, Figure, Items, Notice, Section, Source, Table, Text
from harness.report.evidence import Evidence
from harness.report.frame import SETTING, settings
from harness.report.kinds import KindTable, kind_table
from harness.report.made import made, made_section
from harness.report.metrics import metrics_table
from harness.report.plots.curves import curves, shown_facets
from harness.report.plots.kinds import kinds_heatmap
from harness.report.plots.model import Plot
from harness.report.plots.tradeoff import tradeoff
from harness.report.plots.turns import in_turns
from harness.report.points import Over, at, numeric, over_models, place_name, reference_point, rows_of
from harness.report.sections.models import SEVERAL_BACKBONES
from harness.report.setting_words import near_chance, setting_in_words
from harness.report.sources import PLACE, cells_source, joined, rounds_source, timing_source
from harness.report.tables import (
    accuracy_table,
    comparison_table,
    cost_table,
    growth_table,
    kinds_table,
    overview_table,
)
from harness.report.text import listed
from harness.report.timed import TimedSize, timed_curves, timed_sizes
from harness.timing.records import PHASES

_Given = ParamSpec("_Given")
PUBLISHED = "published models"
"""Stands for the backbones of a section that compares several of them."""
IN_TURNS = (
    "Accuracy against the time of the prefill, timed in turns and divided by one method's; bars are 95 % "
    "intervals. A ring: no other method has a prefill no longer and an accuracy no lower, and clearly so in "
    "one of them"
)
TURNS = (
    " (times: medians with quartiles over rounds in which the methods took turns, in one process a size, "
    "without vision encoding)"
)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is comparable: a task in one version and one configuration, measured in one way.

    ``stem`` begins the names of its figures and tables; ``place`` is where methods are compared.
    """

    title: str
    stem: str
    values: Mapping[str, object]
    cells: pd.DataFrame
    points: pd.DataFrame
    place: tuple[int, int, int] | None
    kinds: KindTable | None
    comparisons: tuple[Comparison, ...]
    timed: tuple[TimedSize, ...] = ()
    """Sizes at which methods took turns, so that their times are compared."""

    @property
    def published(self) -> bool:
        """Whether it is about published models, whose fusion is their own."""
        return bool((self.cells["method_name"] == METHOD).any())

    @property
    def timed_here(self) -> TimedSize | None:
        """The timing at the place where methods are compared."""
        return next((one for one in self.timed if one.place == self.place), None)


def setting_list(evidence: Evidence) -> list[Setting]:
    """The settings of a run in a stable order: of a task first the fused models, a backbone each, then all
    published models."""
    own = dict(zip(evidence.cells["digest"], evidence.cells["backbone"], strict=True))
    whole = set(evidence.cells.loc[evidence.cells["method_name"] == METHOD, "backbone"])
    found = list(settings(_as_one(evidence.cells, whole)))
    found.sort(key=lambda one: (str(one[0]["task"]), one[0]["backbone"] in {PUBLISHED, *whole}))
    names = _names([values for values, _ in found])
    kinds = _as_one(evidence.kinds, whole)
    stems: list[str] = []
    result = []
    for index, (values, rows) in enumerate(found):
        name = names[index]
        stems.append(_stem(name, stems))
        cells = rows.assign(backbone=rows["digest"].map(own))
        points = over_models(cells)
        place = reference_point(points)
        here = at(cells, place) if place is not None else cells.iloc[:0]
        result.append(
            Setting(
                title=name if names.count(name) == 1 else f"{name} ({names[: index + 1].count(name)})",
                stem=stems[-1],
                values=values,
                cells=cells,
                points=points,
                place=place,
                kinds=kind_table(_same_setting(kinds, values), place) if place is not None else None,
                comparisons=tuple(compare(here, evidence.samples)),
                timed=timed_sizes(cells, evidence.timings, evidence.defaults),
            )
        )
    return result


def _as_one(frame: pd.DataFrame, whole: Collection[str]) -> pd.DataFrame:
    """The frame with one name for the backbones ``whole`` of published models where they are several: what is
    compared of them is the model as it is."""
    if len(whole) < 2:
        return frame
    return frame.assign(backbone=frame["backbone"].where(~frame["backbone"].isin(whole), PUBLISHED))


def _names(found: Sequence[Mapping[str, object]]) -> list[str]:
    """The task of each setting, with the backbone where the task has several."""
    backbones: dict[object, set[object]] = {}
    for values in found:
        backbones.setdefault(values["task"], set()).add(values["backbone"])
    return [
        str(values["task"])
        if len(backbones[values["task"]]) == 1
        else f"{values['task']} {'with' if values['backbone'] == PUBLISHED else 'on'} {values['backbone']}"
        for values in found
    ]


def section(setting: Setting, evidence: Evidence) -> Section:
    """The section of one setting."""
    blocks: list[Block] = [
        Text(_setting_line(setting)),
        made("the summary", _summary, setting),
    ]
    if setting.cells["backbone"].nunique() > 1:
        blocks.append(Text(SEVERAL_BACKBONES))
    if setting.place is not None:
        blocks.append(made("the overview", _overview, setting, evidence))
    parts = [
        made_section(title, part, setting, evidence)
        for title, part in (
            ("Against frames and resolution", _curves),
            ("The task's own metrics", _metrics),
            ("Accuracy against memory and latency", _trade_offs),
            ("By kind of question", _kinds),
            ("Pairs of methods, question by question", _pairs),
        )
    ]
    return Section(title=setting.title, blocks=tuple(blocks), parts=tuple(part for part in parts if part))


def _summary(setting: Setting) -> Items:
    lines = setting_in_words(setting.cells, setting.points, setting.place, setting.comparisons, setting.timed)
    return Items(tuple(lines))


def _overview(setting: Setting, evidence: Evidence) -> Table:
    assert setting.place is not None
    source, timed = _source(setting, evidence, here=True), setting.timed_here
    if timed is not None:
        source = joined([source, timing_source(evidence, {timed.record.key.digest}, PHASES, (timed.base,))])
    return overview_table(setting.points, setting.place, setting.stem, source, timed)


def _metrics(setting: Setting, evidence: Evidence) -> Section | None:
    table = metrics_table(setting.cells, setting.stem, _source(setting, evidence))
    return None if table is None else Section(title="The task's own metrics", blocks=(table,))


def _figure(
    name: str,
    caption: str,
    source: Source,
    plot: Callable[_Given, Plot],
    *given: _Given.args,
    **named: _Given.kwargs,
) -> Block:
    """The figure, or a notice with the reason where its plot cannot be made."""
    shown = made(f"the figure {name}", plot, *given, **named)
    return (
        shown if isinstance(shown, Notice) else Figure(name=name, caption=caption, plot=shown, source=source)
    )


def _curves(setting: Setting, evidence: Evidence) -> Section | None:
    cells, points = setting.cells, setting.points
    if not (cells["outcome"] == "ok").any():
        return None
    source = _source(setting, evidence)
    overs: tuple[Over, ...] = ("frames", "resolution") if cells["resolution"].nunique() > 1 else ("frames",)
    blocks = [_curves_over(over, setting, evidence, source) for over in overs]
    if numeric(points["accuracy"]).notna().any():
        blocks.append(made("the table of accuracies", accuracy_table, points, setting.stem, source))
    blocks.append(made("the table of costs", cost_table, points, setting.stem, source))
    if points.loc[points["models"] > 0, "frames"].nunique() > 1:
        blocks.append(made("the table of growth", growth_table, points, setting.stem, source))
    return Section(title="Against frames and resolution", blocks=tuple(blocks))


def _curves_over(over: Over, setting: Setting, evidence: Evidence, source: Source) -> Block:
    """The figure against ``over``, with times in turns where there are curves of them."""
    found = timed_curves(setting.cells, evidence.timings, evidence.defaults, over)
    facets = shown_facets(rows_of(setting.points), over)
    timed = {facet: found[facet] for facet in facets if facet in found}
    caption = f"Accuracy, peak memory and times of single cells against {over}"
    if timed:
        where = "" if len(timed) == len(facets) else "; times of single cells where a panel does not say so"
        caption = f"Accuracy, peak memory and times in turns against {over}{TURNS}{where}"
        source = joined([source, *(rounds_source(evidence, sizes) for sizes in timed.values())])
    return _figure(
        f"{setting.stem}_by_{over}",
        caption,
        source,
        curves,
        setting.cells,
        over,
        evidence.counted,
        evidence.defaults,
        timed,
    )


def _trade_offs(setting: Setting, evidence: Evidence) -> Section | None:
    if setting.place is None:
        return None
    figures = [
        _figure(
            f"{setting.stem}_accuracy_memory",
            "Accuracy against peak memory above resting; numbers are frames",
            _source(setting, evidence),
            tradeoff,
            setting.cells,
            "memory",
        )
    ]
    cells = setting.cells
    timed, there = _timed_cells(setting)
    if timed:
        bases = tuple(dict.fromkeys(one.base for one in timed))
        source = joined(
            [
                cells_source(evidence, set(there["digest"])),
                timing_source(evidence, {one.record.key.digest for one in timed}, ("prefill",), bases),
            ]
        )
        figures.append(_figure(f"{setting.stem}_accuracy_turns", IN_TURNS, source, in_turns, there, timed))
        cells = cells.drop(there.index)
    if numeric(cells["accuracy"]).notna().any():
        where = "Sizes that were not timed in turns: a" if timed else "A"
        figures.append(
            _figure(
                f"{setting.stem}_accuracy_latency",
                f"{where}ccuracy against the time to first token of single cells, each timed in a process of "
                "its own: no front, since such times differ by chance too; numbers are frames",
                cells_source(evidence, set(cells["digest"])),
                tradeoff,
                cells,
                "latency",
            )
        )
    return Section(title="Accuracy against memory and latency", blocks=tuple(figures))


def _timed_cells(setting: Setting) -> tuple[list[TimedSize], pd.DataFrame]:
    """The sizes that were timed in turns and have accuracies, and their cells."""
    cells = setting.cells
    timed = [one for one in setting.timed if numeric(at(cells, one.place)["accuracy"]).notna().any()]
    places = {one.place for one in timed}
    sizes = cells[["frames", "height", "width"]].itertuples(index=False, name=None)
    return timed, cells[[size in places for size in sizes]]


def _kinds(setting: Setting, evidence: Evidence) -> Section | None:
    if setting.kinds is None or setting.place is None:
        return None
    source = _source(setting, evidence, here=True, table="kinds")
    figure = _figure(
        f"{setting.stem}_by_kind",
        f"Accuracy by kind of question at {setting.kinds.where}",
        source,
        kinds_heatmap,
        setting.kinds,
        at(setting.cells, setting.place),
    )
    table = made("the table of kinds", kinds_table, setting.kinds, setting.stem, source)
    blocks: list[Block] = [figure, table]
    lines = near_chance(setting.kinds)
    blocks += [Items(tuple(lines))] if lines else []
    return Section(title="By kind of question", blocks=tuple(blocks))


def _pairs(setting: Setting, evidence: Evidence) -> Section | None:
    if not setting.comparisons or setting.place is None:
        return None
    source = _source(setting, evidence, here=True, table="answers")
    return Section(
        title="Pairs of methods, question by question",
        blocks=(
            Text(f"Compared at {place_name(setting.place)}."),
            made("the table of pairs", comparison_table, setting.comparisons, setting.stem, source),
        ),
    )


def _source(setting: Setting, evidence: Evidence, *, here: bool = False, table: str = "cells") -> Source:
    """The records of the setting, at its place only where ``here``."""
    if here and setting.place is not None:
        there = at(setting.cells, setting.place)
        return cells_source(evidence, set(there["digest"]), table, named=PLACE)
    return cells_source(evidence, set(setting.cells["digest"]), table)


def _setting_line(setting: Setting) -> str:
    shown = {name: value for name, value in setting.values.items() if name != "task" and value != "{}"}
    if shown["backbone"] == PUBLISHED:
        shown["backbone"] = listed(sorted(set(setting.cells["backbone"])))
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())


def _stem(name: str, taken: list[str]) -> str:
    """A file name for a section; numbered where another section has it."""
    base = re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_")[:60] or "task"
    number = 1
    stem = base
    while stem in taken:
        number += 1
        stem = f"{base}-{number}"
    return stem


def _same_setting(frame: pd.DataFrame, setting: Mapping[str, object]) -> pd.DataFrame:
    same = pd.Series(data=True, index=frame.index)
    for name in SETTING:
        same &= frame[name] == setting[name]
    return frame[same]
