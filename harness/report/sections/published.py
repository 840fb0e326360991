"""Published figures, marked as such, and beside them what has an equal here: never in one ranking."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from harness import published
from harness.counting.records import CountRecord, Peak
from harness.published import Equals
from harness.report.document import Block, Cell, Column, Section, Source, Table, Text, cell
from harness.report.evidence import Evidence
from harness.report.labels import method_labels
from harness.report.made import made
from harness.report.points import at, rows_of
from harness.report.sections.budgets import Ranked, ranked
from harness.report.sections.task import Setting
from harness.report.sources import PLACE, cells_source, counted_source
from harness.report.text import NO_DATA, known, listed, number, numbered, parameters_text
from harness.units import bytes_text

GIB = 2**30
WARNING = (
    "The tables that are marked as published were measured by others: with other models, other data and "
    "other hardware. Their absolute figures cannot be compared with this report's. Where a quantity has an "
    "equal here, both stand in a table of their own that says first whether they are comparable: memory is, "
    "because the same session can be counted; accuracy is not."
)


def section(evidence: Evidence, settings: Sequence[Setting]) -> Section | None:
    """None where no method of the run is in a published table."""
    labels = method_labels([record.key for record in evidence.counted], evidence.defaults)
    present = {*evidence.cells["method"], *labels}
    names = [name for name in published.names() if present & {*published.equals(name).methods.values()}]
    if not names:
        return None
    ranks = ranked(settings)
    parts = [Section(title=name, blocks=tuple(_part(name, evidence, labels, ranks))) for name in names]
    return Section(title="Beside published figures", blocks=(Text(WARNING),), parts=tuple(parts))


def agreement(evidence: Evidence) -> list[str]:
    """How far counted memory is from published figures of the same session, in one sentence each."""
    labels = method_labels([record.key for record in evidence.counted], evidence.defaults)
    texts = []
    for name in published.names():
        frame, equals = published.read(name), published.equals(name)
        pairs = _sessions(frame, equals, evidence, labels)
        if pairs:
            tokens = sum(row["final_kv_tokens"] == peak.kv_tokens for row, _, peak in pairs)
            offs = [100 * (peak.peak_bytes / GIB / row["peak_gib"] - 1) for row, _, peak in pairs]
            low, high = f"{min(offs):+.1f}", f"{max(offs):+.1f}"
            texts.append(
                f"Against published measurements of the same session ({name}): counted peaks are "
                f"{low if low == high else f'{low} to {high}'} % off, and numbers of KV tokens are equal in "
                f"{tokens} of {numbered(len(pairs), 'row')}."
            )
    return texts


def _sessions(
    frame: pd.DataFrame, equals: Equals, evidence: Evidence, labels: Sequence[str]
) -> list[tuple[dict[str, Any], CountRecord, Peak]]:
    """The rows of a published table whose session was counted here."""
    if equals.scenario is None:
        return []
    found = [(row, _counted(row, equals, evidence, labels)) for row in rows_of(frame)]
    return [(row, one, one.peak) for row, one in found if one is not None and one.peak is not None]


def _part(name: str, evidence: Evidence, labels: Sequence[str], ranks: Sequence[Ranked]) -> list[Block]:
    frame, equals = published.read(name), published.equals(name)
    tables = (
        made("the table of the session", _session, name, frame, equals, evidence, labels),
        made("the table of changes", _relative, name, frame, equals, evidence, ranks),
        made("the published table", _as_published, name, frame),
    )
    return [table for table in tables if table is not None]


def _as_published(name: str, frame: pd.DataFrame) -> Table:
    numeric = [pd.api.types.is_numeric_dtype(frame[column]) for column in frame.columns]
    return Table(
        name=f"published_{name}",
        caption=f"Published elsewhere, not measured here: {published.source(name)}",
        columns=tuple(
            Column(str(column).replace("_", " "), numeric=is_number)
            for column, is_number in zip(frame.columns, numeric, strict=True)
        ),
        rows=tuple(
            tuple(
                Cell(f"{value:,}", float(value)) if is_number and known(value) else cell(_text(value))
                for value, is_number in zip(row.values(), numeric, strict=True)
            )
            for row in rows_of(frame)
        ),
    )


def _text(value: object) -> str:
    return str(value) if known(value) else NO_DATA


def _session(
    name: str, frame: pd.DataFrame, equals: Equals, evidence: Evidence, labels: Sequence[str]
) -> Table | None:
    """The same session counted: numbers of KV tokens and peaks."""
    pairs = _sessions(frame, equals, evidence, labels)
    rows = [
        (
            cell(equals.methods[row["model"]]),
            cell(f"{row['turns']:,}", row["turns"]),
            cell(f"{row['final_kv_tokens']:,}", row["final_kv_tokens"]),
            cell(f"{peak.kv_tokens:,}", peak.kv_tokens),
            cell(f"{row['peak_gib']:g} GiB", row["peak_gib"] * GIB),
            cell(bytes_text(peak.peak_bytes), peak.peak_bytes),
            cell(f"{peak.peak_bytes / GIB / row['peak_gib']:.3f}", peak.peak_bytes / GIB / row["peak_gib"]),
        )
        for row, _, peak in pairs
    ]
    if not rows:
        return None
    titles = ("turns", "KV tokens, published", "KV tokens, counted", "peak, published", "peak, counted")
    return Table(
        name=f"beside_{name}",
        caption="Comparable: the same session, counted here without a GPU, beside what was published; "
        "a ratio of 1 is agreement.",
        columns=(
            Column("method", numeric=False),
            *(Column(title) for title in titles),
            Column("counted / published"),
        ),
        rows=tuple(rows),
        methods=tuple(row[0].text for row in rows),
        source=counted_source(evidence, [record for _, record, _ in pairs]),
    )


def _counted(
    row: Mapping[str, Any], equals: Equals, evidence: Evidence, labels: Sequence[str]
) -> CountRecord | None:
    wanted = {**(equals.scenario or {}), "frames": row["turns"]}
    for record, label in zip(evidence.counted, labels, strict=True):
        same = all(getattr(record.key, field) == value for field, value in wanted.items())
        if same and label == equals.methods.get(row["model"]):
            return record
    return None


def _relative(
    name: str, frame: pd.DataFrame, equals: Equals, evidence: Evidence, ranks: Sequence[Ranked]
) -> Table | None:
    """Mean relative change against the baseline: over the published benchmarks, and on each task here."""
    base = equals.methods.get(equals.baseline or "")
    here = [one for one in ranks if base in one.ranking.scores]
    if base is None or not here:
        return None
    figures = frame.set_index("model").select_dtypes("number")
    changes = 100 * (figures / figures.loc[equals.baseline] - 1).mean(axis="columns")
    models = [model for model in figures.index if model in equals.methods and model != equals.baseline]
    if not any(equals.methods[model] in one.ranking.scores for one in here for model in models):
        return None
    sizes = [size for one in here for size in one.parameters]
    labels = {base, *(equals.methods[model] for model in models)}
    return Table(
        name=f"beside_{name}",
        caption=(
            f"Not comparable, and no check: accuracy relative to {base}, as a change in %, published as the "
            f"mean over {len(figures.columns)} benchmarks, here on this run's tasks. Models here have "
            f"{parameters_text(sizes)}, another training and other questions."
        ),
        columns=(
            Column("method", numeric=False),
            Column("published, mean"),
            *(Column(f"here: {one.where}") for one in here),
            Column("why they differ", numeric=False),
        ),
        rows=tuple(
            (
                cell(equals.methods[model]),
                cell(f"{changes[model]:+.1f} %", changes[model]),
                *(_change(one, equals.methods[model], base) for one in here),
                cell(_why(equals.methods[model], here)),
            )
            for model in models
        ),
        methods=tuple(equals.methods[model] for model in models),
        source=Source(
            records=tuple(
                command
                for one in here
                for command in cells_source(
                    evidence, _digests(one.setting, labels), named=PLACE, measure=False
                ).records
            )
        ),
    )


def _why(label: str, here: Sequence[Ranked]) -> str:
    """What is known of a method's accuracy here that keeps it from being compared."""
    if not any(label in one.ranking.scores for one in here):
        return "not measured here"
    little = [one.setting.title for one in here if one.ranking.learned_little(label)]
    if little:
        return f"hardly better than an oracle that sees less, here on {listed(little)}"
    return "other models, other training, other questions"


def _digests(setting: Setting, labels: Collection[str]) -> set[str]:
    """The cells of those methods where methods are compared."""
    assert setting.place is not None
    there = at(setting.cells, setting.place)
    return set(there.loc[there["method"].isin(list(labels)), "digest"])


def _change(one: Ranked, label: str, base: str) -> Cell:
    scores = one.ranking.scores
    if label not in scores or not scores[base].mean:
        return cell(NO_DATA)
    change = 100 * (scores[label].mean / scores[base].mean - 1)
    return cell(f"{'+' if change > 0 else ''}{number(change)} %", change)
