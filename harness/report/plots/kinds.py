"""Accuracy by kind of question as a heat map."""

from __future__ import annotations

import pandas as pd

from harness.report.kinds import KindTable
from harness.report.plots.model import HeatMap, Plot
from harness.report.plots.notes import notes
from harness.report.text import interval, known, share


def kinds_heatmap(table: KindTable, cells: pd.DataFrame) -> Plot:
    """Accuracy of methods, chance and oracles by kind; ``cells`` are those of the table's place."""
    rows, kinds = list(table.accuracy.index), list(table.accuracy.columns)
    methods = set(table.low.index)
    values = [[float(value) if known(value) else None for value in table.accuracy.loc[row]] for row in rows]
    texts, hovers = [], []
    for row, known_values in zip(rows, values, strict=True):
        written, told = [], []
        for kind, value in zip(kinds, known_values, strict=True):
            text = share(value)
            hover = f"{row}\n{kind.replace('_', ' ')}\naccuracy {share(value)}"
            if row in methods and known(table.low.loc[row, kind]):
                bounds = interval(table.low.loc[row, kind], table.high.loc[row, kind])
                text, hover = f"{text}\n{bounds}", f"{hover}, 95 % {bounds}"
            written.append(text)
            told.append(f"{hover}\nn = {table.questions[kind]:,}")
        texts.append(tuple(written))
        hovers.append(tuple(told))
    panel = HeatMap(
        title="",
        scale="Accuracy",
        rows=tuple(rows),
        methods=tuple(row if row in methods else None for row in rows),
        columns=tuple(f"{kind.replace('_', ' ')}\n(n = {table.questions[kind]:,})" for kind in kinds),
        values=tuple(tuple(row) for row in values),
        texts=tuple(texts),
        hover=tuple(hovers),
    )
    return Plot(
        title=f"{cells['task'].iloc[0]}: accuracy by kind of question, {table.where}",
        panels=(panel,),
        notes=notes(cells),
    )
