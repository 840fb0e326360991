"""The first section: what a reader has to know, in words made from the numbers."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import pandas as pd

from harness.answers import commonest_reason, without_score
from harness.plan import MethodKey
from harness.published_models import METHOD
from harness.records import OFTEN_UNPARSED
from harness.report.again import methods_option
from harness.report.counted import Peaks, scenes, video_peaks
from harness.report.document import Block, Commands, Items, Notice, Section, Text
from harness.report.evidence import Evidence
from harness.report.orders import declared_orders, orders_in_words
from harness.report.sections import budgets, turns
from harness.report.sections.budgets import Ranked
from harness.report.sections.introduction import introduction
from harness.report.sections.published import agreement
from harness.report.sections.task import Setting
from harness.report.style import ordered
from harness.report.text import listed, numbered, share, some
from harness.report.verdicts import little_in_words, rests_in_words, verdict
from harness.superseded import RANDOM

FRAMES_TO_COUNT = "1,16,60,300,900,1800,3600"
"""Videos of a second up to an hour, at a frame a second."""
BRACKETS = (
    "Brackets are 95 % intervals over questions, for the models that were trained. How much another training "
    "changes is not in them; it stands behind them as seeds, the least and the most accurate model. A lead "
    "is claimed only where every seed shows it."
)
LITTLE_LEARNED = (
    "The last-frame oracle knows the last frame and nothing before it, the blind one the question alone. To "
    "be hardly better is no verdict over a method: read it as undertrained here, or as barred from earlier "
    "images by construction."
)


def section(evidence: Evidence, settings: Sequence[Setting]) -> Section:
    """The summary of a run; every part is left out that the run has no numbers for."""
    found = budgets.ranked(settings)
    everything = scenes(evidence.counted, evidence.defaults)
    videos = [video_peaks(everything, mode)[:1] for mode in ("prefill", "stream")]
    counted = [peaks for one in videos for peaks in one]
    parts = [
        _advice(counted, found, evidence),
        _accuracy(settings, found),
        _budgets(counted, found, evidence),
        turns.section(counted, evidence),
        _checks(evidence),
        _missing(evidence, counted, found),
    ]
    return Section(
        title="Summary",
        blocks=(*_notices(evidence), *introduction(evidence)),
        parts=tuple(part for part in parts if part),
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
    trusted = Section(title="How far to trust this", blocks=(Items(tuple(budgets.trust(counted, found))),))
    return Section(
        title="Which method for which budget",
        blocks=(budgets.advice(counted, found, evidence),),
        parts=(trusted,),
    )


def _accuracy(settings: Sequence[Setting], found: Sequence[Ranked]) -> Section | None:
    texts = [text for one in found for text in _ranked(one)]
    if any(one.ranking.learned_little(label) for one in found for label in one.ranking.scores):
        texts.append(LITTLE_LEARNED)
    texts += [
        f"{setting.title}: the models have random weights. Their costs mean something, their accuracies do "
        "not."
        for setting in settings
        if (setting.cells["weights"] == "random").any()
    ]
    unclaimed: dict[frozenset[str], tuple[list[str], list[str]]] = {}
    for one in found:
        single = [label for label, score in one.ranking.scores.items() if score.models < 2]
        if single and len(one.ranking.scores) > 1:
            unclaimed.setdefault(frozenset(single), (single, []))[1].append(one.setting.title)
    texts += [
        f"{listed(titles)}: no order is claimed that involves {some(single)}: with one model there, the "
        "spread over seeds is not known."
        for single, titles in unclaimed.values()
    ]
    if not texts:
        return None
    blocks: list[Block] = [Text(BRACKETS)] if found else []
    return Section(title="Most accurate", blocks=(*blocks, Items(tuple(texts))))


def _ranked(one: Ranked) -> list[str]:
    """The verdict of one setting, what its lead rests on, and who has learned next to nothing."""
    labels = one.ranking.scores
    parts = [f"{one.where}: {verdict(one.ranking, labels)}."]
    parts += [text for text in (rests_in_words(one.ranking, labels), _balanced(one)) if text]
    little = little_in_words(one.ranking, labels)
    return [" ".join(parts), *([f"{one.where}, {little}."] if little else [])]


def _balanced(one: Ranked) -> str | None:
    """The mean over kinds, where some kinds are asked much more often than others."""
    kinds = one.setting.kinds
    if kinds is None or not kinds.unbalanced:
        return None
    means = kinds.balanced()
    ranks = sorted(means, key=lambda label: -means[label])
    asked = kinds.questions.values()
    text = f"Kinds have {min(asked):,} to {max(asked):,} questions; with every kind counted the same "
    text += f"{ranks[0]} has {share(means[ranks[0]])}"
    return f"{text} and {ranks[1]} {share(means[ranks[1]])}." if len(ranks) > 1 else f"{text}."


def _budgets(counted: Sequence[Peaks], found: Sequence[Ranked], evidence: Evidence) -> Section | None:
    if not counted:
        return None
    stream = next((peaks for peaks in counted if peaks.scene.key.mode == "stream"), None)
    tables = [
        budgets.table(
            peaks,
            found[0] if found else None,
            evidence,
            f"budget_{peaks.scene.key.mode}",
            stream if peaks is not stream else None,
        )
        for peaks in counted
    ]
    text = budgets.frame_by_frame(counted)
    return Section(
        title="Every length of video and every card",
        blocks=(*tables, *([Text(text)] if text else [])),
    )


def _checks(evidence: Evidence) -> Section | None:
    texts = orders_in_words(declared_orders(evidence.counted)) if evidence.counted else []
    texts += agreement(evidence)
    unfinished = _unfinished(evidence)
    texts += [unfinished] if unfinished else []
    texts += _unscored(evidence)
    texts += _unparsed(evidence.cells)
    return Section(title="Checks", blocks=(Items(tuple(texts)),)) if texts else None


def _unscored(evidence: Evidence) -> list[str]:
    """Questions that do not count, one line a task, of its worst cell."""
    cells = evidence.cells[evidence.cells["errors"] > 0]
    worst = cells.sort_values("errors", ascending=False, kind="stable").drop_duplicates("task")
    lines = []
    for row in worst.sort_values("task").to_dict("records"):
        outcomes = evidence.samples.get(row["digest"], ())
        why = commonest_reason(one.reason for one in without_score(outcomes))
        lines.append(
            f"Up to {row['errors']:,.0f} of {row['errors'] + row['questions']:,.0f} questions of a cell on "
            f"{row['task']} ({row['method']}) could not be asked or scored and do not count{why}; the files "
            "in samples/ name them."
        )
    return lines


def _unparsed(cells: pd.DataFrame) -> list[str]:
    """Methods that often did not answer in the form that was asked for, one line a task."""
    worst = cells[(cells["unparsed"] > OFTEN_UNPARSED * cells["questions"]) & (cells["weights"] != RANDOM)]
    worst = worst.sort_values("unparsed", ascending=False, kind="stable").drop_duplicates(["task", "method"])
    lines = []
    for task, rows in worst.groupby("task", sort=True):
        named = [
            f"{row.unparsed:,.0f} of {row.questions:,.0f} of {row.method}"
            for row in rows.itertuples(index=False)
        ]
        lines.append(
            f"More than {100 * OFTEN_UNPARSED:.0f} % of a cell's answers on {task} could not be parsed and "
            f"count as wrong: up to {some(named)}. They tell of the answers' form, not of what was seen."
        )
    return lines


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
    """The commands that add what this run does not have; none for a run without fusion methods."""
    keys: list[MethodKey] = [record.key for record in evidence.records]
    keys += [record.key for record in evidence.counted]
    keys += [method for record in evidence.timings for method in record.key.methods]
    keys = [key for key in keys if key.method != METHOD]
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
