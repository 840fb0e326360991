"""What a run is about, in sentences below the title: what was measured, counted and timed, and where."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from harness.published_models import METHOD
from harness.report.document import Text
from harness.report.evidence import Evidence
from harness.report.points import numeric
from harness.report.text import known, listed, numbered, parameters_text


def introduction(evidence: Evidence) -> list[Text]:
    """One paragraph; none for a run without anything measured, counted or timed."""
    cells = evidence.cells
    ok = cells[cells["outcome"] == "ok"]
    texts = [_measured(ok)] if len(ok) else []
    counted = [record for record in evidence.counted if record.peak is not None]
    if counted:
        backbones = list(dict.fromkeys(record.key.backbone for record in counted))
        methods = {record.key.method for record in counted}
        texts.append(
            f"Counted without a GPU: the memory of {numbered(len(methods), 'method')} on {listed(backbones)}."
        )
    if evidence.timings:
        methods = {method.method for record in evidence.timings for method in record.key.methods}
        texts.append(f"Timed in turns: {numbered(len(methods), 'method')}.")
    return [Text(" ".join(texts))] if texts else []


def _measured(ok: pd.DataFrame) -> str:
    """Models, tasks, machines and days of the cells that were measured."""
    random = bool((ok["weights"] == "random").all())
    whole = ok["method_name"] == METHOD
    trained = ok[ok["extrapolated"].eq(other=False) & ~whole]["frames"]
    parts = [parameters_text(numeric(ok["parameters"]))]
    if random:
        parts.append("random weights")
    elif len(trained):
        parts.append(f"trained with up to {numbered(int(trained.max()), 'frame')}")
    seeds = sorted(set(ok["seed"]))
    parts.append(f"{'seed' if len(seeds) == 1 else 'seeds'} {listed([str(seed) for seed in seeds])}")
    questions = ok.assign(count=numeric(ok["questions"])).groupby("task", sort=True)["count"].max()
    tasks = [
        f"{task} ({numbered(int(count), 'question')})" if known(count) else str(task)
        for task, count in questions.items()
    ]
    return (
        f"Measured: {_models(ok[~whole], ok[whole])} "
        f"({', '.join(parts)}) with {listed(tasks)}, {_machines(ok)}, {_days(ok['started_at'])}."
    )


def _models(fused: pd.DataFrame, whole: pd.DataFrame) -> str:
    """Fusion methods with their backbones, and published models by name."""
    parts = []
    if len(fused):
        backbones = listed(sorted(set(fused["backbone"])))
        parts.append(f"{numbered(fused['method'].nunique(), 'method')} on {backbones}")
    if len(whole):
        names = sorted(set(whole["method"]))
        parts.append(f"{numbered(len(names), 'published model')}, {listed(names)}")
    return ", and ".join(parts)


def _machines(ok: pd.DataFrame) -> str:
    columns = ["env_cpu", "env_cpu_count", "env_gpu"]
    machines = ok[columns].astype(object).drop_duplicates()
    if len(machines) > 1:
        return f"on {len(machines)} machines (Provenance names them)"
    cpu, count, gpu = machines.iloc[0]
    return (
        f"on {gpu}" if known(gpu) and gpu else f"on {numbered(int(count), 'processor')} ({cpu}) without a GPU"
    )


def _days(started: Sequence[str] | pd.Series) -> str:
    days = sorted({str(moment)[:10] for moment in started})
    return f"on {days[0]}" if len(days) == 1 else f"from {days[0]} to {days[-1]}"
