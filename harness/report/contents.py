"""A run's report as a document: which sections there are, and in which order."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.document import Document
from harness.report.evidence import Evidence
from harness.report.frame import method_labels
from harness.report.sections import latency, memory, provenance, published, summary, task
from harness.report.style import ordered
from harness.timing.frame import labels_of


def document(evidence: Evidence, files: Sequence[tuple[str, str]]) -> Document:
    """The report of a run; ``files`` are the CSV files beside it with what they hold."""
    found = task.setting_list(evidence)
    sections = [summary.section(evidence, found)]
    sections += [task.section(setting, evidence) for setting in found]
    further = (memory.section(evidence, found), latency.section(evidence), published.section(evidence, found))
    sections += [one for one in further if one is not None]
    sections.append(provenance.section(evidence, files))
    pairs = list(zip(evidence.cells["method"], evidence.cells["method_name"], strict=True))
    counted = [record.key for record in evidence.counted]
    labels = method_labels(counted, evidence.defaults)
    pairs += [(label, key.method) for label, key in zip(labels, counted, strict=True)]
    for record, names_ in zip(evidence.timings, labels_of(evidence.timings, evidence.defaults), strict=True):
        pairs += [(label, one.method) for label, one in zip(names_, record.key.methods, strict=True)]
    names = dict(pairs)
    return Document(
        title=f"Report of {evidence.run}",
        sections=tuple(sections),
        methods=tuple((label, names[label]) for label in ordered(pairs)),
    )
