"""A run's report as a document: which sections there are, and in which order."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.document import Document, Notice, Section
from harness.report.evidence import Evidence
from harness.report.labels import method_labels
from harness.report.made import made, made_section
from harness.report.sections import latency, memory, models, provenance, published, summary, task
from harness.report.style import ordered
from harness.timing.frame import labels_of


def document(evidence: Evidence, files: Sequence[tuple[str, str]]) -> Document:
    """The report of a run; ``files`` are the CSV files beside it with what they hold."""
    sections: list[Section | None] = []
    found = made("what can be compared", task.setting_list, evidence)
    if isinstance(found, Notice):
        sections.append(Section(title="Tasks", blocks=(found,)))
        found = []
    sections.insert(0, made_section("Summary", summary.section, evidence, found))
    sections.append(made_section(models.TITLE, models.section, evidence))
    sections += [made_section(setting.title, task.section, setting, evidence) for setting in found]
    sections.append(made_section("Memory", memory.section, evidence, found))
    sections.append(made_section("Latency ratios", latency.section, evidence))
    sections.append(made_section("Beside published figures", published.section, evidence, found))
    sections.append(made_section("Provenance", provenance.section, evidence, files))
    pairs = list(zip(evidence.cells["method"], evidence.cells["method_name"], strict=True))
    counted = [record.key for record in evidence.counted]
    labels = method_labels(counted, evidence.defaults)
    pairs += [(label, key.method) for label, key in zip(labels, counted, strict=True)]
    for record, names_ in zip(evidence.timings, labels_of(evidence.timings, evidence.defaults), strict=True):
        pairs += [(label, one.method) for label, one in zip(names_, record.key.methods, strict=True)]
    names = dict(pairs)
    return Document(
        title=f"Report of {evidence.run}",
        sections=tuple(one for one in sections if one is not None),
        methods=tuple((label, names[label]) for label in ordered(pairs)),
    )
