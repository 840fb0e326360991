"""The first section: what a reader has to know, in words made from the numbers."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import groupby

import pandas as pd

from harness.plan import MethodKey
from harness.report.again import methods_option
from harness.report.counted import Crossing, Peaks, memory_crossings, scenes, video_peaks
from harness.report.document import Block, Commands, Items, Notice, Section, Text
from harness.report.evidence import Evidence
from harness.report.orders import declared_orders, orders_in_words
from harness.report.sections import budgets
from harness.report.sections.budgets import Ranked
from harness.report.sections.latency import PHASES, turns
from harness.report.sections.task import Setting
from harness.report.style import ordered
from harness.report.text import listed, numbered
from harness.report.verdicts import verdict
from harness.timing.crossings import Crossing as Turn

FRAMES_TO_COUNT = "1,16,60,300,900,1800,3600"
"""Videos of a second up to an hour, at a frame a second."""


def section(evidence: Evidence, settings: Sequence[Setting]) -> Section:
    """The summary of a run; every part is left out that the run has no numbers for."""
    found = budgets.ranked(settings)
    everything = scenes(evidence.counted, evidence.defaults)
    videos = [video_peaks(everything, mode)[:1] for mode in ("prefill", "stream")]
    counted = [peaks for one in videos for peaks in one]
    parts = [
        _advice(counted, found, evidence),
        _accuracy(settings, found),
        _crossings(counted, evidence),
        _checks(evidence),
        _missing(evidence, counted, found),
    ]
    return Section(
        title="Summary", blocks=tuple(_notices(evidence)), parts=tuple(part for part in parts if part)
    )


def _notices(evidence: Evidence) -> list[Block]:
    cells = evidence.cells
    if not len(cells) and not evidence.counted and not evidence.timings:
        return [Notice("There are no records in this run, so there is nothing to report.")]
    if len(cells) and not (cells["outcome"] == "ok").any():
        return [
            Notice(f"None of the {numbered(len(cells), 'cell')} was measured; the reasons are listed below.")
        ]
    return []


def _advice(counted: Sequence[Peaks], found: Sequence[Ranked], evidence: Evidence) -> Section | None:
    if not counted:
        return None
    texts = [text for peaks in counted for text in budgets.sentences(peaks, found)]
    tables = [
        budgets.table(peaks, found[0] if found else None, evidence, f"budget_{peaks.scene.key.mode}")
        for peaks in counted
    ]
    return Section(
        title="Which method for which budget",
        blocks=(Items(tuple(texts)), Notice(budgets.caveats(counted, found)), *tables),
    )


def _accuracy(settings: Sequence[Setting], found: Sequence[Ranked]) -> Section | None:
    texts = [f"{one.where}: {verdict(one.ranking, one.ranking.scores)}." for one in found]
    texts += [
        f"{setting.title}: the models have random weights. Their costs mean something, their accuracies do "
        "not."
        for setting in settings
        if (setting.cells["weights"] == "random").any()
    ]
    for one in found:
        single = [label for label, score in one.ranking.scores.items() if score.models < 2]
        if single and len(one.ranking.scores) > 1:
            texts.append(
                f"{one.setting.title}: no order is claimed that involves {listed(single)}: with one model "
                "there, the spread over seeds is not known."
            )
    return Section(title="Most accurate", blocks=(Items(tuple(texts)),)) if texts else None


def _crossings(counted: Sequence[Peaks], evidence: Evidence) -> Section | None:
    texts = [text for peaks in counted if (text := crossings_in_words(peaks)) is not None]
    texts += _latency_crossings(evidence)
    return Section(title="Where curves cross", blocks=(Items(tuple(texts)),)) if texts else None


def crossings_in_words(peaks: Peaks) -> str | None:
    """Where the methods cross the one that needs the most at the largest size; None with one method or one
    size."""
    if len(peaks.peaks) < 2 or len(peaks.frames) < 2:
        return None
    key = peaks.scene.key
    largest = peaks.at(peaks.frames[-1])
    dearest = max(largest, key=lambda label: largest[label])
    every = memory_crossings(peaks)
    mine = [one for one in every if dearest in (one.first, one.second)]
    where = f"Memory, {key.mode} with {key.backbone}, {peaks.frames[0]:,} to {peaks.frames[-1]:,} frames"
    if not mine:
        others = f"; {_pairs(len(every))}" if every else ", and no other two cross"
        return f"{where}: no method crosses {dearest}, which needs the most{others}."
    mine.sort(key=lambda one: (one.first != dearest, one.until, one.since))
    parts = [
        _crossing(list(group))
        for _, group in groupby(mine, key=lambda one: (one.first == dearest, one.until, one.since))
    ]
    rest = len(every) - len(mine)
    more = f" {_pairs(rest)} too (section Memory)." if rest else ""
    return f"{where}: {'; '.join(parts)}.{more}"


def _pairs(count: int) -> str:
    return f"{numbered(count, 'other pair')} {'crosses' if count == 1 else 'cross'}"


def _latency_crossings(evidence: Evidence) -> list[str]:
    """Those that involve the method that the others are divided by, and how many others there are."""
    if not evidence.timings:
        return []
    bases, mine, others = turns(evidence)
    groups: dict[tuple[str, ...], list[Turn]] = {}
    for one in mine:
        base = one.faster_before if one.faster_before in bases else one.faster_after
        where = (PHASES[one.phase], one.task, one.weights, one.resolution, base)
        groups.setdefault(where, []).append(one)
    texts = [_turns(where, found) for where, found in groups.items()]
    if others:
        texts.append(f"{numbered(len(others), 'other crossing')} of latencies: section Latency ratios.")
    return texts or [
        "Latency: no order of two methods turns with the number of frames in interleaved rounds."
    ]


def _turns(where: tuple[str, ...], found: Sequence[Turn]) -> str:
    """The crossings of one method's time of one phase, those at the same frames together."""
    phase, task, weights, resolution, base = where
    together: dict[tuple[str, str, int, int], list[str]] = {}
    for one in found:
        faster = one.faster_before == base
        words = ("faster", "slower") if faster else ("slower", "faster")
        other = one.faster_after if faster else one.faster_before
        together.setdefault((*words, one.before[-1], one.after[0]), []).append(other)
    parts = [
        f"{before} than {listed(others)} up to {numbered(until, 'frame')} and {after} from {since} on"
        for (before, after, until, since), others in sorted(together.items(), key=lambda item: item[0][2:])
    ]
    return (
        f"Latency of {phase}, timed in turns ({task}, {resolution} pixels, {weights} weights): {base} is "
        f"{'; '.join(parts)}."
    )


def _crossing(group: Sequence[Crossing]) -> str:
    """Crossings of one method between the same two sizes."""
    firsts, seconds = ([getattr(one, side) for one in group] for side in ("first", "second"))
    first, second = listed(list(dict.fromkeys(firsts))), listed(list(dict.fromkeys(seconds)))
    verb = "needs" if len(set(firsts)) == 1 else "need"
    low, high = min(one.about for one in group), max(one.about for one in group)
    about = f"{low:,.0f}" if round(low) == round(high) else f"{low:,.0f} to {high:,.0f}"
    return (
        f"{first} {verb} less than {second} up to {numbered(group[0].until, 'frame')} and more from "
        f"{group[0].since:,} on (equal at about {about})"
    )


def _checks(evidence: Evidence) -> Section | None:
    texts = orders_in_words(declared_orders(evidence.counted)) if evidence.counted else []
    unfinished = _unfinished(evidence)
    texts += [unfinished] if unfinished else []
    unscored = evidence.cells["errors"].fillna(0).max() if len(evidence.cells) else 0
    if unscored > 0:
        texts.append(
            f"Up to {numbered(int(unscored), 'question')} of a cell could not be asked or scored (media that "
            "cannot be read, for instance) and do not count; the files in `samples` name them."
        )
    return Section(title="Checks", blocks=(Items(tuple(texts)),)) if texts else None


def _unfinished(evidence: Evidence) -> str | None:
    """What failed, was skipped or could not be counted, in one line."""
    cells = evidence.cells
    parts = []
    failed = cells[cells["outcome"] == "failed"]
    if len(failed):
        kinds = failed.groupby("failure").size().sort_index()
        named = listed([f"{count} {str(kind).replace('_', ' ')}" for kind, count in kinds.items()])
        parts.append(f"{len(failed)} of {numbered(len(cells), 'cell')} failed ({named}; {_methods(failed)})")
    skipped = cells[cells["outcome"] == "skipped"]
    if len(skipped):
        parts.append(f"{numbered(len(skipped), 'cell')} skipped ({_methods(skipped)})")
    missing = [record.key.method for record in evidence.counted if record.peak is None]
    if missing:
        total = numbered(len(evidence.counted), "counted scenario")
        parts.append(f"{len(missing)} of {total} could not be counted ({listed(sorted(set(missing)))})")
    return f"Not finished: {'; '.join(parts)}. Provenance has the reasons." if parts else None


def _methods(cells: pd.DataFrame) -> str:
    return listed(ordered(list(zip(cells["method"], cells["method_name"], strict=True))))


def _missing(evidence: Evidence, counted: Sequence[Peaks], found: Sequence[Ranked]) -> Section | None:
    """The commands that add what this run does not have; none for a run without records."""
    keys: list[MethodKey] = [record.key for record in evidence.records]
    keys += [record.key for record in evidence.counted]
    keys += [method for record in evidence.timings for method in record.key.methods]
    if not keys:
        return None
    methods = shlex.join(["--methods", methods_option(keys)])
    run = shlex.quote(evidence.run)
    lacks, commands = [], []
    if not counted:
        lacks.append("which method fits on which card")
        commands.append(
            f"harness bench {methods} --backbone qwen2.5-vl-3b --mode prefill,stream "
            f"--frames {FRAMES_TO_COUNT} --resolution 448 --out {run}"
        )
    if not found:
        lacks.append("accuracies of trained models")
        commands.append(f"harness eval --task videoqa {methods} --seed 0,1,2 --out {run}")
    if not evidence.timings:
        lacks.append("how many times longer one method takes than another")
        commands.append(f"harness time {methods} --frames 1,2,4,8,16 --out {run}")
    if not lacks:
        return None
    text = f"This run does not say {listed(lacks)}; this adds it:"
    return Section(title="What is missing", blocks=(Text(text), Commands(tuple(commands))))
