"""A run's report as a document: which sections there are, and in which order."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.document import Block, Document, Notice, Section
from harness.report.evidence import Evidence
from harness.report.made import made, made_section
from harness.report.sections import provenance, task
from harness.report.style import ordered
from harness.report.text import numbered


def document(evidence: Evidence, files: Sequence[tuple[str, str]]) -> Document:
    """The report of a run; ``files`` are the CSV files beside it with what they hold."""
    sections = [Section(title="Summary", blocks=tuple(_notices(evidence)))]
    found = made("what can be compared", task.setting_list, evidence)
    if isinstance(found, Notice):
        sections.append(Section(title="Tasks", blocks=(found,)))
    else:
        sections += [made_section(setting.title, task.section, setting, evidence) for setting in found]
    sections.append(made_section("Provenance", provenance.section, evidence, files))
    pairs = list(zip(evidence.cells["method"], evidence.cells["method_name"], strict=True))
    names = dict(pairs)
    return Document(
        title=f"Report of {evidence.run}",
        sections=tuple(sections),
        methods=tuple((label, names[label]) for label in ordered(pairs)),
    )


def _notices(evidence: Evidence) -> list[Block]:
    cells = evidence.cells
    if not len(cells):
        return [Notice("There are no records in this run, so there is nothing to report.")]
    if not (cells["outcome"] == "ok").any():
        return [
            Notice(f"None of the {numbered(len(cells), 'cell')} was measured; the reasons are listed below.")
        ]
    return []
