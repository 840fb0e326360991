"""Peaks of measured cells beside counted scenarios of the same size: how far the two are apart."""

from __future__ import annotations

from collections import defaultdict

from harness.counting.records import CountRecord
from harness.report.document import Column, Source, Table, cell
from harness.report.evidence import Evidence
from harness.report.labels import method_labels
from harness.report.points import rows_of
from harness.report.sources import cells_source, counted_source
from harness.report.text import numbered

_SCENARIO = tuple[str, str, str, str, int, int, int]


def beside_cells(evidence: Evidence) -> Table | None:
    """Per task, method and source of a cell's peak the range of cell / scenario; None without a pair."""
    scenarios = _scenarios(evidence)
    ratios: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    sizes: dict[tuple[str, str, str], set[tuple[int, str]]] = defaultdict(set)
    digests: dict[str, set[str]] = defaultdict(set)
    used: list[CountRecord] = []
    ok = evidence.cells[evidence.cells["outcome"] == "ok"]
    for row in rows_of(ok):
        kernels = "cuda" if str(row["device"]).startswith("cuda") else "cpu"
        place: _SCENARIO = (
            row["method"],
            row["backbone"],
            row["dtype"],
            kernels,
            row["frames"],
            row["height"],
            row["width"],
        )
        if place in scenarios:
            group = (row["task"], row["method"], row["memory_source"])
            ratios[group].append(row["peak_bytes"] / _peak(scenarios[place]))
            digests[row["task"]].add(row["digest"])
            used.append(scenarios[place])
            sizes[group].add((row["frames"], row["resolution"]))
    if not ratios:
        return None
    cells = [cells_source(evidence, of_task, measure=False) for of_task in digests.values()]
    return Table(
        name="cells_beside_scenarios",
        caption=(
            "Peaks of cells divided by the counted prefill of the same method, backbone, frames and "
            "resolution. A cell's question, and the text between its frames, are the task's own; a "
            "scenario's text is fixed."
        ),
        columns=(
            Column("task", numeric=False),
            Column("method", numeric=False),
            Column("source of the cells' peaks", numeric=False),
            Column("sizes"),
            Column("least ratio"),
            Column("largest ratio"),
        ),
        rows=tuple(
            (
                cell(task),
                cell(method),
                cell(_SOURCES.get(memory, memory)),
                cell(numbered(len(sizes[task, method, memory]), "size"), len(sizes[task, method, memory])),
                cell(f"{min(values):.3f}", min(values)),
                cell(f"{max(values):.3f}", max(values)),
            )
            for (task, method, memory), values in ratios.items()
        ),
        methods=tuple(method for _, method, _ in ratios),
        source=Source(
            records=tuple(
                command for one in (*cells, counted_source(evidence, used)) for command in one.records
            ),
        ),
    )


_SOURCES = {"counted": "live tensors on a CPU", "cuda": "a GPU's allocator"}


def _scenarios(evidence: Evidence) -> dict[_SCENARIO, CountRecord]:
    """The counted prefills without text between the frames."""
    labels = method_labels([record.key for record in evidence.counted], evidence.defaults)
    found: dict[_SCENARIO, CountRecord] = {}
    for record, label in zip(evidence.counted, labels, strict=True):
        key = record.key
        if record.peak is not None and key.mode == "prefill" and not key.text_per_frame:
            place = (label, key.backbone, key.dtype, key.kernels, key.frames, key.height, key.width)
            found[place] = record
    return found


def _peak(record: CountRecord) -> int:
    assert record.peak is not None
    return record.peak.peak_bytes
